//! Rows of the kernel's socket tables as a filter sees them.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use super::super::entries::spanned;
use super::super::filter::Fields;
use crate::event::socket::{Listener, SocketRow, UnixListener, UnixRow, UnixState};

/// A connection, and whether it is one of a client: its local port is one that nginx listens on.
pub(super) struct Leg<'a> {
    pub(super) row: &'a SocketRow,
    pub(super) of_client: Option<bool>,
}

impl Leg<'_> {
    /// Time since data last came or went.
    fn idle(&self) -> Option<Duration> {
        let info = self.row.info?;
        let ms = info.last_received_ms?.min(info.last_sent_ms?);
        Some(Duration::from_millis(u64::from(ms)))
    }

    fn rtt(&self) -> Option<Duration> {
        Some(Duration::from_micros(u64::from(self.row.info?.rtt_us?)))
    }
}

impl Fields for Leg<'_> {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        let row = self.row;
        let address = |addr: SocketAddr| Some(Cow::Owned(addr.to_string()));
        match key {
            "client" if self.of_client == Some(true) => address(row.peer),
            "upstream" if self.of_client == Some(false) => address(row.peer),
            "peer" => address(row.peer),
            "local" => address(row.local),
            "state" => Some(Cow::Borrowed(row.state.word())),
            "timer" => row.timer.map(|t| Cow::Borrowed(t.word())),
            "rtt" => spanned(self.rtt()),
            "idle" => spanned(self.idle()),
            "worker" | "queue" | "retransmits" | "bytes" => self.number(key).map(|n| Cow::Owned(n.to_string())),
            _ => None,
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        let info = self.row.info.as_ref();
        match key {
            "worker" => self.row.pid.map(f64::from),
            "queue" => Some(f64::from(self.row.recv_q) + f64::from(self.row.send_q)),
            "rtt" => self.rtt().map(|d| d.as_secs_f64()),
            "idle" => self.idle().map(|d| d.as_secs_f64()),
            "retransmits" => info?.retransmits.map(f64::from),
            "bytes" => info.and_then(|i| Some((i.bytes_received? + i.bytes_acked?) as f64)),
            _ => None,
        }
    }
}

impl Fields for Listener {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        match key {
            "local" => Some(Cow::Owned(self.local.to_string())),
            "state" => Some(Cow::Borrowed("listen")),
            "queue" => Some(Cow::Owned(self.queue.to_string())),
            _ => None,
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        (key == "queue").then(|| f64::from(self.queue))
    }
}

impl Fields for UnixRow {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        match key {
            "upstream" | "peer" => Some(Cow::Borrowed(&self.path)),
            "state" => Some(Cow::Borrowed(match self.state {
                UnixState::Waiting => "waiting",
                UnixState::Open => "open",
                UnixState::PeerClosed => "peer-closed",
            })),
            "worker" => self.pid.map(|p| Cow::Owned(p.to_string())),
            "queue" => self.recv_q.map(|n| Cow::Owned(n.to_string())),
            _ => None,
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        match key {
            "worker" => self.pid.map(f64::from),
            "queue" => self.recv_q.map(f64::from),
            _ => None,
        }
    }
}

impl Fields for UnixListener {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        match key {
            "upstream" | "local" => Some(Cow::Borrowed(&self.path)),
            "state" => Some(Cow::Borrowed("listen")),
            "queue" => self.queue.map(|n| Cow::Owned(n.to_string())),
            _ => None,
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.queue.filter(|_| key == "queue").map(f64::from)
    }
}

/// The address of a backend to which connections wait for stray segments.
pub(super) struct Waits(pub(super) SocketAddr);

impl Fields for Waits {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        match key {
            "upstream" | "peer" => Some(Cow::Owned(self.0.to_string())),
            "state" => Some(Cow::Borrowed("time-wait")),
            _ => None,
        }
    }

    fn number(&self, _: &str) -> Option<f64> {
        None
    }
}
