//! Tunnels added up by what they have in common.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use super::super::filter::{Fields, Key, Kind};
use super::figure;
use super::row::TunnelRow;
use crate::human;
use crate::time::Timestamp;

/// What tunnels are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// The client's address without its port.
    Client,
    /// The backend's address.
    Upstream,
    /// The location.
    Location,
    /// The worker.
    Worker,
    /// The state.
    State,
}

impl By {
    /// All of them, in the order in which the screen goes round.
    pub const ALL: [Self; 5] = [Self::Client, Self::Upstream, Self::Location, Self::Worker, Self::State];

    /// Its name, which is that of the key in a filter.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Location => "location",
            Self::Worker => "worker",
            Self::State => "state",
        }
    }

    /// The one behind it; `None` behind the last.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Self::ALL.get(Self::ALL.iter().position(|b| *b == self)? + 1).copied()
    }

    fn name(self, t: &TunnelRow) -> Option<String> {
        match self {
            Self::Client => t.client_addr.map(|a| a.ip().to_string()),
            _ => t.text(self.word()).map(Cow::into_owned),
        }
    }
}

/// What a sort or a table can name in a group.
pub const GROUP_KEYS: [Key; 7] = [
    Key::new("name", Kind::Text),
    Key::new("tunnels", Kind::Amount),
    Key::new("received", Kind::Amount),
    Key::new("sent", Kind::Amount),
    Key::new("down", Kind::Amount),
    Key::new("up", Kind::Amount),
    Key::new("left", Kind::Span),
];

/// Tunnels that have something in common. A sum is over those of which the figure is known, and unknown when there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupRow {
    /// Stable while the group lives.
    pub id: u64,
    /// What they have in common; `None` for those of which it is not known.
    pub name: Option<String>,
    /// How many they are.
    pub tunnels: usize,
    /// Payload bytes from the clients.
    pub received: Option<u64>,
    /// Payload bytes to the clients.
    pub sent: Option<u64>,
    /// Bytes a second to the clients.
    pub down: Option<f64>,
    /// Bytes a second from the clients.
    pub up: Option<f64>,
    /// The least time left among them, at the moment of their rows.
    pub left: Option<Duration>,
    /// That moment.
    pub at: Timestamp,
}

impl GroupRow {
    /// The least time left among them at a later moment.
    #[must_use]
    pub fn left_at(&self, now: Timestamp) -> Option<Duration> {
        self.left.map(|left| left.saturating_sub(now.since(self.at)))
    }
}

/// The living ones of `tunnels` grouped, by name; those of which it is not known last.
#[must_use]
pub fn groups<'a>(tunnels: impl Iterator<Item = &'a TunnelRow>, by: By) -> Vec<GroupRow> {
    let mut groups: BTreeMap<Option<String>, GroupRow> = BTreeMap::new();
    for t in tunnels.filter(|t| t.ended.is_none()) {
        let name = by.name(t);
        let group = groups.entry(name).or_insert_with_key(|n| GroupRow {
            id: id(n.as_deref()),
            name: n.clone(),
            ..GroupRow::default()
        });
        (group.tunnels, group.at) = (group.tunnels + 1, t.at);
        let bytes = t.bytes();
        group.sent = sum(group.sent, bytes.map(|b| b.0), u64::saturating_add);
        group.received = sum(group.received, bytes.map(|b| b.1), u64::saturating_add);
        group.down = sum(group.down, t.down, |a, b| a + b);
        group.up = sum(group.up, t.up, |a, b| a + b);
        group.left = sum(group.left, t.left, Duration::min);
    }
    let mut rows: Vec<GroupRow> = groups.into_values().collect();
    if rows.first().is_some_and(|r| r.name.is_none()) {
        rows.rotate_left(1);
    }
    rows
}

/// The same name has the same number for as long as the program runs.
fn id(name: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

fn sum<T>(a: Option<T>, b: Option<T>, add: fn(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(add(a, b)),
        (a, b) => a.or(b),
    }
}

impl Fields for GroupRow {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        match key {
            "name" => self.name.as_deref().map(Cow::Borrowed),
            "tunnels" => Some(Cow::Owned(human::grouped(self.tunnels as u64))),
            "left" => self.left.map(|d| Cow::Owned(figure::span(d))),
            _ => self.number(key).map(|n| Cow::Owned(figure::amount(n))),
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        match key {
            "tunnels" => Some(self.tunnels as f64),
            "received" => self.received.map(|n| n as f64),
            "sent" => self.sent.map(|n| n as f64),
            "down" => self.down,
            "up" => self.up,
            "left" => self.left.map(|d| d.as_secs_f64()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::row;
    use super::*;

    #[test]
    fn sums_are_over_what_is_known_and_the_least_time_left_counts() {
        let mut tunnels = [row("10.0.0.1:1"), row("10.0.0.1:2"), row("10.0.0.2:1")];
        (tunnels[0].down, tunnels[1].down) = (Some(5.0), Some(2.5));
        (tunnels[0].up, tunnels[1].up) = (Some(1.0), None);
        (tunnels[0].left, tunnels[1].left) = (Some(Duration::from_secs(9)), Some(Duration::from_secs(3)));
        let groups = groups(tunnels.iter(), By::Client);
        let names: Vec<_> = groups.iter().map(|g| (g.name.as_deref(), g.tunnels)).collect();
        assert_eq!(names, [(Some("10.0.0.1"), 2), (Some("10.0.0.2"), 1)]);
        assert_eq!(
            (groups[0].down, groups[0].up, groups[0].left),
            (Some(7.5), Some(1.0), Some(Duration::from_secs(3)))
        );
        assert_eq!((groups[1].down, groups[1].sent, groups[1].left), (None, None, None), "unknown is not zero");
        let by_location = super::groups(tunnels.iter(), By::Location);
        assert_eq!(by_location.last().map(|g| (&g.name, g.tunnels)), Some((&None, 3)));
        let rounds: Vec<By> = std::iter::successors(Some(By::Client), |b| b.next()).collect();
        assert_eq!(rounds, By::ALL);
    }
}
