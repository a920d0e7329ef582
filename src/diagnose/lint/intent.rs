//! Whether a location is meant for WebSockets, by its own words.

use crate::event::site::{Header, Location, Matching};

use super::super::faults::{has_upgrade_token, is_connection, is_upgrade};
use super::super::finding::{Confidence, Evidence};
use super::super::look::short;

/// Why a location is taken for one of WebSockets, and how sure that is.
pub(super) struct Intent {
    pub(super) confidence: Confidence,
    pub(super) evidence: Evidence,
}

/// Names under which hardly anything but WebSockets is served.
const NAMES: [&str; 6] = ["ws", "wss", "websocket", "websockets", "socket.io", "websockify"];
/// Names that often, but not always, stand for WebSockets.
const HINTS: [&str; 8] = ["cable", "sockjs", "signalr", "stomp", "engine.io", "faye", "ws", "websocket"];

/// The reason why a proxied location is meant for WebSockets; `None` where nothing says so. `neighbour_carries` is what
/// [`carries`] says of its server.
pub(super) fn intent(l: &Location, neighbour_carries: bool) -> Option<Intent> {
    let pass = l.proxy_pass.as_ref()?;
    let found = |confidence, evidence| Some(Intent { confidence, evidence });
    let sent = |h: &Header| Evidence::config(&h.place, format!("proxy_set_header {} {}", h.name, h.value));
    match l.header("upgrade") {
        // Somebody took it out on purpose.
        Some(h) if h.value.is_empty() => return None,
        Some(h) => return found(Confidence::Certain, sent(h)),
        None => {}
    }
    let connection = l.header("connection");
    if let Some(h) = connection.filter(|h| says_upgrade(h)) {
        return found(Confidence::Certain, sent(h));
    }
    let named = name(l);
    if let Some((Confidence::Likely, word)) = named {
        return found(Confidence::Likely, Evidence::config(&l.place, format!("location {}: {word}", l.path)));
    }
    // Where somebody wrote an empty Connection, plain requests with keep-alive are meant.
    let is_plain = connection.is_some_and(|h| h.value.is_empty());
    let lost = l.lost_headers.iter().rev().find(|h| is_upgrade(h) && !h.value.is_empty());
    if let Some(h) = lost.filter(|_| !is_plain) {
        let said = format!("{} sets {} {} for the locations in it", short(&h.place), h.name, h.value);
        let evidence = Evidence::config(&h.place, said);
        // Where a neighbour carries them, this location may well be a plain one.
        let confidence = if neighbour_carries { Confidence::Possible } else { Confidence::Likely };
        return found(confidence, evidence);
    }
    if let Some((_, word)) = named {
        return found(Confidence::Possible, Evidence::config(&l.place, format!("location {}: {word}", l.path)));
    }
    let host = pass.value.split_once("://").map_or(pass.value.as_str(), |(_, rest)| rest);
    let word = tokens(host).find(|w| NAMES.contains(w));
    let by_backend =
        word.map(|_| Evidence::config(pass.place.as_ref().unwrap_or(&l.place), format!("proxy_pass {}", pass.value)));
    by_backend.and_then(|e| found(Confidence::Possible, e))
}

/// The path ends as those of WebSockets do.
pub(super) fn is_named_so(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|last| ["ws", "wss", "websocket", "websockets"].contains(&last))
}

/// `Connection: upgrade`, said so and not merely passed on.
fn says_upgrade(h: &Header) -> bool {
    is_connection(h)
        && !h.value.eq_ignore_ascii_case("$http_connection")
        && h.for_websocket.as_deref().is_some_and(has_upgrade_token)
}

/// What the path or pattern tells.
fn name(l: &Location) -> Option<(Confidence, String)> {
    let path = l.path.to_ascii_lowercase();
    let is_pattern = matches!(l.matching, Matching::Regex | Matching::RegexNoCase);
    let plain = if is_pattern { without_escapes(&path) } else { path };
    let likely = if is_pattern {
        let apart = |c: char| matches!(c, '/' | '^' | '$' | '(' | ')' | '|' | '?' | '*' | '+' | ':');
        plain.split(apart).find(|part| NAMES.contains(part)).map(str::to_owned)
    } else {
        plain.trim_start_matches('@').split('/').find(|part| NAMES.contains(part)).map(str::to_owned)
    };
    let said = |word: String| format!("\"{word}\" in the path is a name of WebSockets");
    if let Some(word) = likely {
        return Some((Confidence::Likely, said(word)));
    }
    let hint = tokens(&plain).find(|w| HINTS.contains(w)).map(str::to_owned);
    hint.map(|word| (Confidence::Possible, said(word)))
}

/// A pattern without its classes (`\w`), and with `\.` as the dot that it means.
fn without_escapes(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => out.extend(chars.next().map(|c| if c.is_alphanumeric() { ' ' } else { c })),
            (c, false) => out.push(c),
        }
    }
    out
}

fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').filter(|w| !w.is_empty())
}

/// Some location passes Upgrade on, or bears a name of WebSockets: one that has lost its headers and bears none may well be
/// a plain one.
pub(super) fn carries(all: &[Location]) -> bool {
    all.iter().any(|l| {
        let is_named = || l.proxy_pass.is_some() && matches!(name(l), Some((Confidence::Likely, _)));
        l.forwards_upgrade() || is_named() || carries(&l.locations)
    })
}
