//! The filter of a pane: the one language of all faces, with the names of the pane's own facts.

use std::borrow::Cow;

use ratatui::text::Span;

use crate::report::filter::{Fields, Key};
use crate::report::sockets;

use super::narrow;
use super::pane::Pane;
use super::panes::{findings, handshakes};
use super::table::{Column, Sort};
use super::text::Look;
use super::theme;

pub use crate::report::filter::Filter;

/// Reads what was typed for a pane; `None` when that is nothing.
///
/// # Errors
/// One sentence about what cannot be understood, and where.
pub fn parse(pane: Pane, text: &str) -> Result<Option<Filter>, String> {
    Filter::parse(text, &keys(pane)).map_err(|e| e.to_string())
}

/// What the filter of a pane can name.
#[must_use]
pub fn keys(pane: Pane) -> Vec<Key> {
    match pane {
        Pane::Handshakes => of_columns(&handshakes::COLUMNS),
        Pane::Connections => sockets::KEYS.to_vec(),
        Pane::Errors => narrow::KEYS.to_vec(),
        Pane::Findings => of_columns(&findings::COLUMNS),
        Pane::Timeline => Vec::new(),
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
        (!text.is_empty() && text != theme::NONE).then_some(Cow::Owned(text))
    }

    fn number(&self, key: &str) -> Option<f64> {
        match (self.column(key)?.sort)(self.row) {
            Sort::Number(n) => Some(n),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pane_knows_its_own_keys() {
        assert!(parse(Pane::Connections, "idle>30s client:10.0.0.0/8 retransmits>0 left<10s").is_ok());
        assert!(parse(Pane::Handshakes, "rtt>50ms now:open p99<1s again>2").is_ok());
        assert!(parse(Pane::Errors, "category:upstream level=error client:10.0.0.0/8 errno=111 /reset/").is_ok());
        assert!(parse(Pane::Findings, "severity:critical said:backend").is_ok());
        let said = parse(Pane::Errors, "rtt>50ms").expect_err("no such column");
        assert!(said.starts_with("rtt>50ms: there is no key 'rtt', at 0; known here are category, level"), "{said}");
    }
}
