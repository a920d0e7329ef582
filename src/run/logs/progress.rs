//! How far a long reading is, in words.

use crate::human;
use crate::source::history::Progress;

pub(super) fn said(Progress { done, total }: Progress) -> String {
    match total.filter(|t| *t > 0) {
        Some(total) => {
            let percent = u128::from(done.min(total)) * 100 / u128::from(total);
            format!("reading: {percent} %, {}B of {}B", human::scaled(done), human::scaled(total))
        }
        None => format!("reading: {}B", human::scaled(done)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_has_no_percentage() {
        assert_eq!(said(Progress { done: 250_000, total: Some(1_000_000) }), "reading: 25 %, 250kB of 1.0MB");
        assert_eq!(said(Progress { done: 250_000, total: None }), "reading: 250kB");
        assert_eq!(said(Progress { done: 0, total: Some(0) }), "reading: 0B");
    }
}
