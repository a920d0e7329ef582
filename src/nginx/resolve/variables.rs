//! What a text with variables becomes for a WebSocket handshake: `$http_upgrade` is `websocket`, maps are followed.

use std::collections::{BTreeMap, HashMap};

use super::include::{Node, Notes};
use super::steps;
use crate::event::route::pattern;
use crate::event::route::script::{Map, Piece, operands, pieces};

/// A map that leads to a map that leads to a map: nginx ends it with an error, this program after so many.
const MAX_CHAIN: usize = 16;
/// Longer values cannot be told: maps and `set`s that double one another would fill the memory.
const MAX_VALUE: usize = 64 * 1024;

/// The request whose values are asked for (RFC 6455, section 4.1): what every handshake has in common.
const HANDSHAKE: [(&str, &str); 6] = [
    ("http_upgrade", "websocket"),
    ("http_connection", "Upgrade"),
    ("http_sec_websocket_version", "13"),
    ("request_method", "GET"),
    ("server_protocol", "HTTP/1.1"),
    ("content_length", ""),
];

/// Variables that `set` gave a value in a block or around it; `None` when the value cannot be told.
pub(super) type Sets = BTreeMap<String, Option<String>>;

/// All maps of the configuration.
#[derive(Default)]
pub(super) struct Variables {
    pub(super) maps: BTreeMap<String, Map>,
    memo: HashMap<String, Option<String>>,
}

impl Variables {
    /// Takes in `map SOURCE $NAME { ... }`.
    pub(super) fn add_map(&mut self, node: &Node, notes: &mut Notes) {
        let (Some(source), Some(name)) = (node.arg(0), node.arg(1).and_then(|n| n.strip_prefix('$'))) else {
            notes.on(node, "\"map\" takes a source and a variable");
            return;
        };
        let hostnames = node.nodes().iter().any(|n| n.name() == "hostnames" && n.args().is_empty());
        let mut map = Map::new(source);
        for entry in node.nodes() {
            let Some(value) = entry.arg(0) else { continue };
            map.add(entry.name(), value, hostnames);
        }
        self.maps.insert(name.to_ascii_lowercase(), map);
    }

    /// The variable of a map that gives `upgrade` for a handshake and something else where none is wished, the usual name
    /// before others.
    pub(super) fn upgrade_map(&mut self) -> Option<String> {
        const USUAL: &str = "connection_upgrade";
        let mut names: Vec<String> = self.maps.keys().cloned().collect();
        names.sort_unstable_by_key(|n| (n != USUAL, n.clone()));
        let fits = |this: &mut Self, name: &str| {
            let plain = this.maps.get(name).and_then(|m| m.find(""));
            plain.is_some_and(|f| !f.value.eq_ignore_ascii_case("upgrade"))
                && this.maps.get(name).is_some_and(|m| m.source.eq_ignore_ascii_case("$http_upgrade"))
                && this.variable(name, None, 0).is_some_and(|v| v.eq_ignore_ascii_case("upgrade"))
        };
        names.into_iter().find(|n| fits(self, n)).map(|n| format!("${n}"))
    }

    /// The text for a WebSocket handshake; `None` when a variable in it cannot be told.
    pub(super) fn evaluate(&mut self, text: &str, sets: &Sets) -> Option<String> {
        self.text(text, Some(sets), 0)
    }

    fn text(&mut self, text: &str, sets: Option<&Sets>, depth: usize) -> Option<String> {
        let mut out = String::new();
        for piece in pieces(text) {
            match piece {
                Piece::Text(t) => out.push_str(t),
                Piece::Variable(name) => out.push_str(&self.variable(&name.to_ascii_lowercase(), sets, depth)?),
            }
            if out.len() > MAX_VALUE {
                return None;
            }
        }
        Some(out)
    }

    /// The value of one variable, named in lower case.
    fn variable(&mut self, name: &str, sets: Option<&Sets>, depth: usize) -> Option<String> {
        if let Some(set) = sets.and_then(|s| s.get(name)) {
            return set.clone();
        }
        if let Some((_, value)) = HANDSHAKE.iter().find(|(n, _)| *n == name) {
            return Some((*value).to_owned());
        }
        if let Some(known) = self.memo.get(name) {
            return known.clone();
        }
        if depth >= MAX_CHAIN {
            return None;
        }
        // A map is asked without the `set`s of one block: its answer is kept for all blocks.
        let source = self.maps.get(name)?.source.clone();
        let value = self
            .text(&source, None, depth + 1)
            .and_then(|key| self.maps.get(name).and_then(|m| m.find(&key)).map(|f| f.value.to_owned()))
            .and_then(|value| self.text(&value, None, depth + 1));
        self.memo.insert(name.to_owned(), value.clone());
        value
    }

    /// Whether the condition of an `if` holds for a WebSocket handshake; `None` when that cannot be told.
    pub(super) fn condition(&mut self, node: &Node, sets: &Sets) -> Option<bool> {
        let words = steps::condition(node)?;
        let (left, operator, right) = operands(&words)?;
        let left = self.evaluate(left.starts_with('$').then_some(left)?, sets)?;
        match operator {
            "" => Some(!left.is_empty() && left != "0"),
            "=" => Some(left == self.evaluate(right, sets)?),
            "!=" => Some(left != self.evaluate(right, sets)?),
            "~" | "!~" => Some(pattern(right, false)?.is_match(&left) != operator.starts_with('!')),
            "~*" | "!~*" => Some(pattern(right, true)?.is_match(&left) != operator.starts_with('!')),
            _ => None,
        }
    }
}
