//! The filter of a pane: the one language of all faces, with the names of the pane's own facts.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;

use ratatui::text::Span;

use crate::report::entries::ERROR_KEYS;
use crate::report::filter::{self, Completion, Fields, Key, Wrong};
use crate::report::sockets;

use super::happenings;
use super::narrow;
use super::pane::Pane;
use super::panes::{findings, handshakes};
use super::snapshot::Snapshot;
use super::state::ScreenState;
use super::table::{Column, Sort};
use super::text::Look;
use super::theme;

pub use crate::report::filter::Filter;

/// Rows whose values are offered: with a hundred thousand nobody waits for the last ones.
const ROWS: usize = 10_000;
/// Values that are offered at most, and how many letters they may have.
const VALUES: usize = 100;
const LONGEST_VALUE: usize = 60;

/// Reads what was typed for a pane; `None` when that is nothing.
///
/// # Errors
/// What cannot be understood, and where.
pub fn parse(pane: Pane, text: &str) -> Result<Option<Filter>, Wrong> {
    Filter::parse(text, &keys(pane))
}

/// How a filter of a pane may go on behind `head`; its values are those that the pane's rows have.
#[must_use]
pub fn complete(snap: &Snapshot, state: &ScreenState, pane: Pane, head: &str) -> Completion {
    filter::complete(head, &keys(pane), &|key| values(snap, state, pane, key))
}

/// The values that a key has in the rows of a pane, the most frequent first.
fn values(snap: &Snapshot, state: &ScreenState, pane: Pane, key: &Key) -> Vec<String> {
    fn of<'a, F: Fields>(rows: impl Iterator<Item = F> + 'a, key: &Key) -> Vec<String> {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for text in rows.take(ROWS).filter_map(|row| row.text(key.name).map(|t| bare(key, &t))) {
            if text.chars().count() <= LONGEST_VALUE {
                *counts.entry(text).or_default() += 1;
            }
        }
        let mut all: Vec<(usize, String)> = counts.into_iter().map(|(text, n)| (n, text)).collect();
        all.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        all.into_iter().take(VALUES).map(|(_, text)| text).collect()
    }
    let look = &state.look(snap.now);
    match pane {
        Pane::Handshakes => {
            of(snap.endpoints.iter().map(|row| Shown { columns: &handshakes::COLUMNS, row, look }), key)
        }
        Pane::Connections => of(snap.tunnels.rows.iter(), key),
        Pane::Errors => of(snap.lines.iter().rev().map(|l| narrow::Facts(l)), key),
        Pane::Findings => of(snap.findings.iter().map(|row| Shown { columns: &findings::COLUMNS, row, look }), key),
        Pane::Timeline => of(happenings::rows(&snap.past).into_iter(), key),
    }
}

/// An address without its port: one client has many.
fn bare(key: &Key, text: &str) -> String {
    let addr = text.parse::<SocketAddr>().ok().filter(|_| key.name == "client");
    addr.map_or_else(|| text.to_owned(), |a| a.ip().to_string())
}

/// What the filter of a pane can name.
#[must_use]
pub fn keys(pane: Pane) -> Vec<Key> {
    match pane {
        Pane::Handshakes => of_columns(&handshakes::COLUMNS),
        Pane::Connections => sockets::KEYS.to_vec(),
        Pane::Errors => ERROR_KEYS.to_vec(),
        Pane::Findings => of_columns(&findings::COLUMNS),
        Pane::Timeline => happenings::KEYS.to_vec(),
    }
}

/// Each column that has something to say is a key.
#[must_use]
pub fn of_columns<R>(columns: &[Column<R>]) -> Vec<Key> {
    let drawn = |c: &&Column<R>| !matches!(c.key, "pulse" | "spark" | "share" | "phases" | "history");
    columns.iter().filter(drawn).map(|c| Key::new(c.key, c.kind)).collect()
}

/// A row as its columns show it.
pub struct Shown<'a, R: 'static> {
    /// The columns.
    pub columns: &'a [Column<R>],
    /// The row.
    pub row: &'a R,
    /// How it is shown.
    pub look: &'a Look,
}

impl<R> Shown<'_, R> {
    fn column(&self, key: &str) -> Option<&Column<R>> {
        self.columns.iter().find(|c| c.key == key)
    }
}

impl<R> Fields for Shown<'_, R> {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        let spans: Vec<Span<'static>> = (self.column(key)?.cell)(self.row, self.look, usize::from(u16::MAX));
        let text: String = spans.iter().map(|s| s.content.as_ref()).collect();
        (!text.is_empty() && text != theme::NONE).then(|| Cow::Owned(without_sign(&text).to_owned()))
    }

    fn number(&self, key: &str) -> Option<f64> {
        match (self.column(key)?.sort)(self.row) {
            Sort::Number(n) => Some(n),
            _ => None,
        }
    }
}

/// `open` of `● open`: a sign is there for the eye.
fn without_sign(text: &str) -> &str {
    let is_sign = |c: char| !c.is_ascii() && !c.is_alphanumeric();
    let behind = text.split_once(' ').filter(|(sign, _)| sign.chars().all(is_sign)).map(|(_, rest)| rest.trim_start());
    behind.filter(|rest| !rest.is_empty()).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pane_knows_its_own_keys() {
        assert!(parse(Pane::Connections, "idle>30s client:10.0.0.0/8 retransmits>0 left<10s").is_ok());
        assert!(parse(Pane::Handshakes, "rtt>50ms now:open p99<1s again>2").is_ok());
        assert!(parse(Pane::Errors, "category:upstream level=error client:10.0.0.0/8 errno=111 /reset/").is_ok());
        assert!(parse(Pane::Findings, "severity=critical said:backend").is_ok());
        assert!(parse(Pane::Timeline, "what:reload category:upstream").is_ok());
        let said = parse(Pane::Errors, "rtt>50ms").expect_err("no such column").to_string();
        assert!(said.starts_with("rtt>50ms: there is no key 'rtt', at 0; known here are category, level"), "{said}");
    }

    #[test]
    fn a_sign_is_no_part_of_a_value() {
        for (text, bare) in [("● open", "open"), ("✖ 426", "426"), ("/ws x", "/ws x"), ("日 x", "日 x"), ("● ", "● ")]
        {
            assert_eq!(without_sign(text), bare);
        }
    }
}
