//! Legs on ports that were asked for by number: known without any nginx that tells what they are for.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::socket::SocketDelta;
use crate::model::legs::Leg;
use crate::time::Timestamp;

/// Every connection with one of these ports at either end.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    ports: BTreeSet<u16>,
    legs: BTreeMap<u64, Leg>,
}

impl Watched {
    /// Watches these ports.
    #[must_use]
    pub fn new(ports: impl IntoIterator<Item = u16>) -> Self {
        Self { ports: ports.into_iter().collect(), legs: BTreeMap::new() }
    }

    /// Folds one delta in.
    pub fn apply(&mut self, at: Timestamp, delta: &SocketDelta) {
        if delta.full {
            let still: BTreeSet<u64> = delta.rows.iter().map(|r| r.cookie).collect();
            self.legs.retain(|cookie, _| still.contains(cookie));
        }
        for cookie in &delta.closed {
            self.legs.remove(cookie);
        }
        let asked = |port: u16| self.ports.contains(&port);
        for row in delta.rows.iter().filter(|r| asked(r.local.port()) || asked(r.peer.port())) {
            match self.legs.get_mut(&row.cookie) {
                // A number that stands in for a cookie may come again with another connection.
                Some(leg) if (leg.row.local, leg.row.peer) == (row.local, row.peer) => leg.renew(row, at, delta.since),
                _ => {
                    self.legs.insert(row.cookie, Leg::new(row, at, delta.since));
                }
            }
        }
    }

    /// The connections there are.
    pub fn legs(&self) -> impl Iterator<Item = &Leg> {
        self.legs.values()
    }
}
