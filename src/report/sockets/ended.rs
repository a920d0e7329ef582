//! Tunnels that ended: how, as far as the socket tables and a line of the error log tell, and what speaks for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::figure;
use super::row::{TunnelRow, masters};
use crate::event::log::{ErrorEntry, Level, Text};
use crate::model::Model;
use crate::model::connections::{ClosedTunnel, TunnelState, Upstream};
use crate::model::errors::kept::Kept;
use crate::model::legs::Side;
use crate::model::tunnels::End;

/// What nginx says in the error log while a tunnel is up (http/ngx_http_upstream.c, `ngx_http_upstream_process_upgraded`).
const TUNNEL: &str = "proxying upgraded connection";
/// A line tells whole seconds, and is written before the socket is closed.
const CLOCKS: Duration = Duration::from_secs(2);

/// The end of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How long ago.
    pub ago: Duration,
    /// How, as far as that shows.
    pub how: End,
    /// The `proxy_read_timeout` that it had been silent for, where that ended it.
    pub timeout: Option<Duration>,
    /// What was seen of its legs last.
    pub seen: String,
    /// The line of the error log that tells of it, and whether it may tell of another tunnel of that client just as well.
    pub line: Option<(String, bool)>,
    /// Bytes to the client and from the client.
    pub bytes: Option<(u64, u64)>,
}

/// The tunnels that ended and are still remembered, the latest first.
#[must_use]
pub fn ended(model: &Model) -> Vec<TunnelRow> {
    let closed = &model.connections.closed;
    if closed.is_empty() {
        return Vec::new();
    }
    let lines = Lines::of(model);
    let masters = masters(model);
    let row = |c: &ClosedTunnel| TunnelRow {
        nginx: c.worker.and_then(|w| masters.get(&w).copied()),
        ..gone(model, c, &lines)
    };
    closed.iter().rev().map(row).collect()
}

fn gone(model: &Model, c: &ClosedTunnel, lines: &Lines) -> TunnelRow {
    let line = lines.of_tunnel(c);
    // The tables show what the kernel did, and a line what nginx says of it: it knows resets, which leave nothing to see.
    let how = line.filter(|l| only(model, c, &l.entry)).and_then(|l| told(&l.entry)).unwrap_or(c.how);
    let ended = Ended {
        ago: model.now.since(c.at),
        how,
        timeout: c.read_timeout.filter(|_| how == End::Timeout),
        seen: seen(c),
        line: line.map(|l| (l.entry.raw.to_string(), !only(model, c, &l.entry))),
        bytes: c.bytes,
    };
    TunnelRow {
        id: c.id,
        at: model.now,
        client_addr: c.client,
        upstream_addr: Some(c.upstream.clone()),
        client: None,
        upstream: None,
        unix: None,
        pair: c.pair,
        worker: c.worker,
        nginx: None,
        location: c.location.clone(),
        state: TunnelState::Closing,
        age: Some((c.age, c.age_is_lower_bound)),
        idle: c.idle,
        down: None,
        up: None,
        rtt: None,
        retransmits: None,
        left: None,
        timeout: c.read_timeout,
        cut_by: None,
        left_at_most: None,
        trouble: None,
        probe: None,
        ended: Some(ended),
    }
}

/// What the last looks at its legs showed.
fn seen(c: &ClosedTunnel) -> String {
    let client = c.client_state.unwrap_or("not known");
    let legs = format!("client leg {client}, backend leg {}", c.upstream_state);
    let odd = c.odd.map_or_else(String::new, |(side, what)| format!(", {}: {}", side_word(side), what.word()));
    let gone = match c.first_gone {
        Some(Side::Client) => "; the client leg was gone first".to_owned(),
        Some(Side::Upstream) => "; the backend leg was gone while the client leg still stood".to_owned(),
        None => format!("; both gone {} later", crate::human::latency(c.within)),
    };
    format!("{legs}{odd}{gone}")
}

pub(super) const fn side_word(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Upstream => "backend",
    }
}

/// The kept lines about tunnels, by the client's address.
struct Lines(HashMap<Text, Vec<Arc<Kept>>>);

impl Lines {
    fn of(model: &Model) -> Self {
        let mut by_client: HashMap<Text, Vec<Arc<Kept>>> = HashMap::new();
        for line in model.errors.kept() {
            if line.entry.action.as_deref() != Some(TUNNEL) {
                continue;
            }
            if let Some(client) = line.entry.client.clone() {
                by_client.entry(client).or_default().push(line);
            }
        }
        Self(by_client)
    }

    fn of_tunnel(&self, c: &ClosedTunnel) -> Option<&Kept> {
        let lines = self.0.get(c.client?.ip().to_string().as_str())?;
        lines.iter().rev().map(AsRef::as_ref).find(|l| fits(c, &l.entry))
    }
}

/// The line may tell of this end.
fn fits(c: &ClosedTunnel, e: &ErrorEntry) -> bool {
    let near = c.at.since(e.at) <= c.within + CLOCKS && e.at.since(c.at) <= CLOCKS;
    let peer = match &c.upstream {
        Upstream::Tcp(address) => address.to_string(),
        Upstream::Unix(path) => path.to_string(),
    };
    let client = c.client.is_some_and(|a| e.client.as_deref() == Some(a.ip().to_string().as_str()));
    client && near && c.worker.is_none_or(|w| w == e.pid) && e.peer().is_none_or(|p| p == peer)
}

/// No other tunnel that ended fits the line as well.
fn only(model: &Model, c: &ClosedTunnel, e: &ErrorEntry) -> bool {
    model.connections.closed.iter().filter(|other| fits(other, e)).all(|other| other.id == c.id)
}

/// How a tunnel ended by nginx's own words. The level tells the side: what fails towards the client is info.
fn told(e: &ErrorEntry) -> Option<End> {
    let broken = e.message.starts_with("recv() failed") || e.message.starts_with("send() failed");
    match e.errno {
        Some(104 | 32) if broken && e.level <= Level::Error => Some(End::Reset(Side::Upstream)),
        Some(104 | 32) if broken => Some(End::Reset(Side::Client)),
        _ if e.message.starts_with("upstream timed out") => Some(End::Timeout),
        _ if e.message.starts_with("client timed out") => Some(End::Stalled),
        _ => None,
    }
}

impl Ended {
    /// One clause.
    #[must_use]
    pub fn said(&self) -> String {
        let ago = figure::span(self.ago);
        match (self.how, self.timeout) {
            (End::Timeout, Some(timeout)) => {
                format!("{ago} ago, silent for its proxy_read_timeout of {}", figure::span(timeout))
            }
            (End::Unknown, _) => format!("{ago} ago, between two looks: who ended it is not known"),
            (how, _) => format!("{ago} ago, {}", how.word()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::log::ErrorBatch;
    use crate::model::tunnels::Confidence;
    use crate::time::Timestamp;

    fn closed(id: u64, port: u16) -> ClosedTunnel {
        ClosedTunnel {
            id,
            at: Timestamp::from_secs(100),
            client: Some(([10, 0, 0, 1], port).into()),
            upstream: Upstream::Tcp(([10, 0, 0, 7], 8080).into()),
            worker: Some(7),
            location: None,
            read_timeout: Some(Duration::from_secs(60)),
            pair: Confidence::Certain,
            age: Duration::from_secs(9),
            age_is_lower_bound: false,
            idle: None,
            bytes: None,
            client_state: Some("established"),
            upstream_state: "established",
            first_gone: None,
            odd: None,
            within: Duration::from_secs(1),
            how: End::Unknown,
        }
    }

    /// How the first of these ended, and whether a line was found for it alone, given one line of the log.
    fn told_by(tunnels: Vec<ClosedTunnel>, change: fn(&mut ErrorEntry)) -> (End, Option<bool>) {
        let mut entry = ErrorEntry {
            at: Timestamp::from_secs(99),
            level: Level::Error,
            category: crate::event::log::Category::Other,
            pid: 7,
            connection: None,
            message: "recv() failed".into(),
            errno: Some(104),
            ssl: None,
            action: Some(TUNNEL.into()),
            client: Some("10.0.0.1".into()),
            server: None,
            request: None,
            subrequest: None,
            upstream: Some("http://10.0.0.7:8080/ws".into()),
            host: None,
            raw: "the line".into(),
        };
        change(&mut entry);
        let mut model = Model::new("h");
        model.now = Timestamp::from_secs(101);
        model.errors.apply(&ErrorBatch { entries: vec![entry], ..ErrorBatch::default() }, &model.places);
        model.connections.closed.extend(tunnels);
        let rows = ended(&model);
        let first = rows.last().and_then(|r| r.ended.clone()).expect("it ended");
        (first.how, first.line.map(|(_, shared)| !shared))
    }

    #[test]
    fn a_line_of_the_error_log_tells_a_reset_and_of_which_side() {
        let one = || vec![closed(1, 40_001)];
        assert_eq!(told_by(one(), |_| {}), (End::Reset(Side::Upstream), Some(true)));
        assert_eq!(told_by(one(), |e| e.level = Level::Info), (End::Reset(Side::Client), Some(true)));
        let timed_out = |e: &mut ErrorEntry| (e.message, e.errno) = ("upstream timed out".into(), Some(110));
        assert_eq!(told_by(one(), timed_out), (End::Timeout, Some(true)));
        assert_eq!(told_by(one(), |e| e.pid = 8), (End::Unknown, None), "another worker's");
        assert_eq!(told_by(one(), |e| e.at = Timestamp::from_secs(90)), (End::Unknown, None), "another moment's");
        let elsewhere = |e: &mut ErrorEntry| e.upstream = Some("http://10.0.0.8:8080/ws".into());
        assert_eq!(told_by(one(), elsewhere), (End::Unknown, None), "another backend's");
    }

    #[test]
    fn a_line_that_fits_two_tunnels_of_one_client_decides_for_neither() {
        let both = vec![closed(1, 40_001), closed(2, 40_002)];
        assert_eq!(told_by(both, |_| {}), (End::Unknown, Some(false)));
    }

    #[test]
    fn an_end_is_told_as_far_as_it_shows() {
        let said = |how, timeout: Option<u64>| {
            let (ago, timeout) = (Duration::from_secs(12), timeout.map(Duration::from_secs));
            Ended { ago, how, timeout, seen: String::new(), line: None, bytes: None }.said()
        };
        assert_eq!(said(End::Timeout, Some(60)), "12s ago, silent for its proxy_read_timeout of 1m0s");
        assert_eq!(said(End::Client, Some(60)), "12s ago, client closed");
        assert_eq!(said(End::Unknown, None), "12s ago, between two looks: who ended it is not known");
    }
}
