//! How far a long reading is, on stderr when that is a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

use crate::human;
use crate::source::history::Progress;

/// A shorter reading says nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// One line that is written over and over, and wiped at the end.
pub(super) struct Meter {
    started: Instant,
    is_terminal: bool,
    shown: bool,
}

impl Meter {
    pub(super) fn start() -> Self {
        Self { started: Instant::now(), is_terminal: io::stderr().is_terminal(), shown: false }
    }

    pub(super) fn show(&mut self, progress: Progress) {
        if self.is_terminal && self.started.elapsed() >= PATIENCE {
            self.shown = true;
            write(&format!("\r{}\x1b[K", said(progress)));
        }
    }

    pub(super) fn wipe(&mut self) {
        if std::mem::take(&mut self.shown) {
            write("\r\x1b[K");
        }
    }
}

/// When nobody can be told there is nothing to do about it.
fn write(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

fn said(Progress { done, total }: Progress) -> String {
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
