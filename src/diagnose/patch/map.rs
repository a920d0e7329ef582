//! The map of `$connection_upgrade` added where nginx looks for it: in the `http` block, or at the top of a file of servers.

use std::fmt::Write as _;

use crate::event::site::{Location, Site};
use crate::nginx::conf::{self, Body, Directive};

use super::{File, Patch, Trees};

/// The name that nginx's own documentation gives it.
pub(in crate::diagnose) const VARIABLE: &str = "$connection_upgrade";

/// The lines of the map; the second ones are a step deeper.
const LINES: [&str; 4] = ["map $http_upgrade $connection_upgrade {", "default upgrade;", "'' close;", "}"];

/// No map of the configuration has that variable yet, as far as everything was read.
pub(in crate::diagnose) fn is_free(trees: &Trees<'_>) -> bool {
    let mut sources = trees.site.sources.iter().filter(|(_, s)| s.text.contains(VARIABLE));
    is_whole(trees.site) && !sources.any(|(name, _)| trees.tree(name).is_some_and(|t| defined(&t.directives)))
}

/// The texts of all files are known.
fn is_whole(site: &Site) -> bool {
    site.files.iter().all(|f| site.sources.contains_key(f))
}

/// Nothing that was read could give the variable a value, and everything was read.
pub(in crate::diagnose) fn is_undefined(site: &Site) -> bool {
    let name = VARIABLE.trim_start_matches('$');
    let uses = |text: &str| text.contains(name) && mentioned(&conf::parse(text.as_bytes()).directives, name);
    is_whole(site) && !site.sources.values().any(|s| uses(&s.text))
}

/// A directive other than one that sends the variable names it: `map`, `set`, `js_set`, a group of a pattern, Lua.
fn mentioned(all: &[Directive], name: &str) -> bool {
    all.iter().any(|d| {
        let sends = matches!(d.name(), "proxy_set_header" | "grpc_set_header" | "add_header" | "log_format");
        (!sends && d.words.iter().any(|w| w.text.contains(name)))
            || matches!(d.body, Body::Raw(_))
            || mentioned(d.block().unwrap_or_default(), name)
    })
}

fn defined(all: &[Directive]) -> bool {
    let is_map = |d: &Directive| d.name() == "map" && d.args().get(1).is_some_and(|w| w.text == VARIABLE);
    all.iter().any(|d| is_map(d) || (d.name() == "http" && defined(d.block().unwrap_or_default())))
}

/// These lines are the map, among others.
pub(super) fn is_written_by(lines: &str) -> bool {
    lines.contains(LINES[0])
}

impl Patch<'_> {
    /// Adds the map for `location`: in the file of its server, else wherever the `http` block is.
    pub(in crate::diagnose) fn add_map(&mut self, location: &Location) {
        let first = std::iter::once(location.place.file.clone());
        let names: Vec<String> = first.chain(self.trees.site.files.iter().cloned()).collect();
        let done = names.iter().find_map(|name| self.file(name)?.add_map());
        self.spoilt |= done.is_none();
    }
}

impl File<'_> {
    fn add_map(&mut self) -> Option<()> {
        let top = |name: &str| self.tree.directives.iter().find(|d| d.name() == name && d.block().is_some());
        let ending = if self.text.contains("\r\n") { "\r\n" } else { "\n" };
        let (at, text) = if let Some(http) = top("http") {
            let Body::Block(inner) = &http.body else { return None };
            let words_end = http.words.last()?.span.end;
            let brace = words_end + self.text.get(words_end..)?.find('{')? + 1;
            let line_end = brace + self.text.get(brace..)?.find('\n')? + 1;
            // Something stands behind the brace: the whole block is a line.
            if inner.first().is_some_and(|d| d.span.start < line_end) {
                return None;
            }
            let indent = self.indent_inside(http, inner)?;
            let step = if indent.starts_with('\t') { "\t" } else { "    " };
            (line_end, written(&indent, step, ending))
        } else {
            let server = top("server")?;
            let step = if self.text.contains("\n\t") { "\t" } else { "    " };
            let start = self.text.get(..server.span.start)?.rfind('\n').map_or(0, |i| i + 1);
            let start = above_comments(self.text, start);
            (start, format!("{}{ending}", written("", step, ending)))
        };
        if !self.edits.iter().any(|(range, t)| range.start == at && *t == text) {
            self.edits.push((at..at, text));
        }
        Some(())
    }
}

fn written(indent: &str, step: &str, ending: &str) -> String {
    let mut out = String::new();
    for (i, line) in LINES.iter().enumerate() {
        let deeper = if matches!(i, 1 | 2) { step } else { "" };
        let _ = write!(out, "{indent}{deeper}{line}{ending}");
    }
    out
}

/// The start of the comment lines that stand directly above the line at `start`: they speak of it.
fn above_comments(text: &str, mut start: usize) -> usize {
    while let Some(before) = text.get(..start).and_then(|t| t.strip_suffix('\n')) {
        let line = before.rfind('\n').map_or(0, |i| i + 1);
        if !before.get(line..).is_some_and(|l| l.trim_start().starts_with('#')) {
            break;
        }
        start = line;
    }
    start
}
