//! Where errors and requests are written.

use std::collections::BTreeMap;

use super::include::{Node, Notes};
use crate::event::log::Level;
use crate::event::process::BuildDefaults;
use crate::event::site::{AccessLog, ErrorLog, Escape};

/// Further logs are not taken in: each one is compared with all before it, and followed.
const MAX_LOGS: usize = 1_000;

/// The logs met so far, without repeats.
pub(super) struct Logs<'a> {
    build: &'a BuildDefaults,
    formats: BTreeMap<String, (String, Escape)>,
    pub(super) errors: Vec<ErrorLog>,
    pub(super) accesses: Vec<AccessLog>,
}

impl<'a> Logs<'a> {
    pub(super) fn new(build: &'a BuildDefaults) -> Self {
        Self { build, formats: BTreeMap::new(), errors: Vec::new(), accesses: Vec::new() }
    }

    /// The log of a configuration whose main level names none.
    pub(super) fn default_error_log(&mut self) {
        let path = self.path(&self.build.error_log_path);
        self.add_error(ErrorLog { path, level: Level::Error, place: None });
    }

    /// The log of a server that names none.
    pub(super) fn default_access_log(&mut self) {
        let path = self.path(&self.build.http_log_path);
        let (format, pattern, escape) = ("combined".to_owned(), None, Escape::Default);
        self.add_access(AccessLog { path, format, pattern, escape, buffered: false, place: None });
    }

    fn path(&self, written: &str) -> String {
        if written == "stderr" { written.to_owned() } else { self.build.absolute(written) }
    }

    /// `error_log PATH [LEVEL];`
    pub(super) fn error_log(&mut self, node: &Node, notes: &mut Notes) {
        let Some(written) = node.arg(0) else { return };
        if written == "off" {
            notes.on(node, "\"error_log off\" does not switch the log off: it writes to a file named off");
        }
        let level = match node.arg(1) {
            None => Level::Error,
            // debug_http and its kin narrow the debug log down (ngx_log.c).
            Some(word) if word.starts_with("debug_") => Level::Debug,
            Some(word) => Level::from_word(word.as_bytes()).unwrap_or_else(|| {
                notes.on(node, format!("invalid log level \"{word}\""));
                Level::Error
            }),
        };
        let special = written.starts_with("syslog:") || written.starts_with("memory:");
        let path = if special { written.to_owned() } else { self.path(written) };
        self.add_error(ErrorLog { path, level, place: Some(node.place.clone()) });
    }

    /// One file, one entry: the one that lets most through, because that is what will be found in it.
    fn add_error(&mut self, log: ErrorLog) {
        let full = self.errors.len() >= MAX_LOGS;
        match self.errors.iter_mut().find(|l| l.path == log.path) {
            Some(known) if log.level > known.level => *known = log,
            Some(_) => {}
            None if full => {}
            None => self.errors.push(log),
        }
    }

    /// `log_format NAME [escape=MODE] PIECE...;`
    pub(super) fn log_format(&mut self, node: &Node, notes: &mut Notes) {
        let Some(name) = node.arg(0) else { return };
        let mut pieces = node.args().get(1..).unwrap_or_default();
        let mut escape = Escape::Default;
        if let Some(mode) = pieces.first().and_then(|w| w.text.strip_prefix("escape=")) {
            escape = match mode {
                "json" => Escape::Json,
                "none" => Escape::None,
                "default" => Escape::Default,
                other => {
                    notes.on(node, format!("unknown log format escaping \"{other}\""));
                    Escape::Default
                }
            };
            pieces = pieces.get(1..).unwrap_or_default();
        }
        let pattern = pieces.iter().map(|w| w.text.as_str()).collect();
        self.formats.insert(name.to_owned(), (pattern, escape));
    }

    /// `access_log PATH [FORMAT [buffer=..] [gzip] ..];` or `access_log off;`. Formats must be known by now.
    pub(super) fn access_log(&mut self, node: &Node, notes: &mut Notes) {
        let Some(written) = node.arg(0) else { return };
        if written == "off" {
            return;
        }
        let syslog = written.starts_with("syslog:");
        if !syslog && written.contains('$') {
            notes.unclear(node, "the path of this access log holds variables: its files are not followed");
            return;
        }
        let options = node.args().get(1..).unwrap_or_default();
        let format = options.first().map(|w| w.text.as_str()).filter(|w| !w.contains('='));
        let format = format.unwrap_or("combined").to_owned();
        let known = self.formats.get(&format).cloned();
        if known.is_none() && format != "combined" {
            notes.on(node, format!("unknown log format \"{format}\""));
        }
        let (pattern, escape) = known.map_or((None, Escape::Default), |(p, e)| (Some(p), e));
        let late = |w: &str| w.starts_with("buffer=") || w == "gzip" || w.starts_with("gzip=");
        let buffered = options.iter().any(|w| late(&w.text));
        let path = if syslog { written.to_owned() } else { self.path(written) };
        self.add_access(AccessLog { path, format, pattern, escape, buffered, place: Some(node.place.clone()) });
    }

    fn add_access(&mut self, log: AccessLog) {
        let known = self.accesses.iter().any(|l| l.path == log.path && l.format == log.format);
        if !known && self.accesses.len() < MAX_LOGS {
            self.accesses.push(log);
        }
    }
}
