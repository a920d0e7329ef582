//! Where the configuration sets the timers that cut tunnels: what stands behind a deadline.

use std::time::Duration;

use crate::event::site::{Location, Place, Server, Site};
use crate::model::Model;
use crate::model::deadline::Cut;

use super::tunnel::TunnelRow;

/// Locations that are looked at; a configuration may have any number.
const MOST: usize = 1_000;

/// One timer of one location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// The location's prefix or pattern.
    path: String,
    /// Which one.
    cut: Cut,
    /// How long it runs.
    after: Duration,
    /// The line that sets it; `None`: nginx's default.
    pub place: Option<Place>,
}

/// The timers of all locations that lead to a backend.
#[must_use]
pub fn timers(model: &Model) -> Vec<Timer> {
    let locations = model.site.iter().flat_map(Site::locations).filter(|(_, l)| !l.peers.is_empty());
    let of = |(_, l): (&Server, &Location)| {
        [(Cut::Read, &l.read_timeout), (Cut::Send, &l.send_timeout)].map(|(cut, setting)| Timer {
            path: l.path.clone(),
            cut,
            after: setting.value,
            place: setting.place.clone(),
        })
    };
    locations.take(MOST).flat_map(of).collect()
}

/// The timer that cuts a tunnel; `None` where its location is not known, or is known from several servers that differ.
#[must_use]
pub fn of<'a>(timers: &'a [Timer], row: &TunnelRow) -> Option<&'a Timer> {
    named(timers, row.location.as_deref()?, row.cut_by?, row.timeout?)
}

fn named<'a>(timers: &'a [Timer], path: &str, directive: &str, after: Duration) -> Option<&'a Timer> {
    let mut fits = timers.iter().filter(|t| t.path == path && t.after == after && t.cut.directive() == directive);
    let first = fits.next()?;
    fits.all(|t| t == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_traced_to_its_line_unless_two_lines_could_be_meant() {
        let timer = |path: &str, cut, s, line| Timer {
            path: path.to_owned(),
            cut,
            after: Duration::from_secs(s),
            place: Some(Place { file: "a.conf".to_owned(), line }),
        };
        let all = [timer("/ws", Cut::Read, 60, 3), timer("/ws", Cut::Send, 60, 4), timer("/feed", Cut::Read, 60, 5)];
        let found = |timers: &[Timer], cut: Cut, s| {
            let timer = named(timers, "/ws", cut.directive(), Duration::from_secs(s));
            timer.and_then(|t| t.place.as_ref()).map(|p| p.line)
        };
        assert_eq!(found(&all, Cut::Read, 60), Some(3));
        assert_eq!(found(&all, Cut::Send, 60), Some(4));
        assert_eq!(found(&all, Cut::Read, 8), None, "the configuration has changed since");
        let twice = [timer("/ws", Cut::Read, 60, 3), timer("/ws", Cut::Read, 60, 9)];
        assert_eq!(found(&twice, Cut::Read, 60), None, "two servers have a location of that name");
    }
}
