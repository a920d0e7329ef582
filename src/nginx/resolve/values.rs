//! Values that nginx refuses while it reads a directive, beyond what the table of directives says.

use super::context::Context;
use super::include::Node;
use crate::event::site::Version;

/// The first release with `proxy_http_version 2` (CHANGES of 1.29.4).
const HTTP_2_UPSTREAM: Version = v(29, 4);
/// The first release with `keepalive 0`, and with `local` beside the number (CHANGES of 1.29.7).
const KEEPALIVE_OFF: Version = v(29, 7);
/// The first release with `resolve` and `service` in an upstream (CHANGES of 1.27.3).
const RESOLVE: Version = v(27, 3);
/// The first release with `listen .. quic` (CHANGES of 1.25.0).
const QUIC: Version = v(25, 0);

const fn v(minor: u16, patch: u16) -> Version {
    Version { major: 1, minor, patch }
}

/// Why nginx refuses what this directive is given. A `version` is given only where it is known, and only of nginx itself.
pub(super) fn refused(node: &Node, here: Context, version: Option<Version>) -> Result<(), String> {
    match (node.name(), here) {
        ("proxy_http_version", _) => http_version(node, version),
        ("keepalive", Context::Upstream) => keepalive(node, version),
        ("server", Context::Upstream) => peer(node, version),
        ("listen", Context::Server) => listen(node, version),
        ("return", _) => return_code(node),
        ("set", _) => variable(node),
        ("if", _) => condition(node),
        ("proxy_pass", _) => url(node),
        ("location", _) => modifier(node),
        ("rewrite", _) => flag(node),
        ("worker_processes", _) => processes(node),
        ("access_log", _) => switched_off(node),
        ("map", _) => entries(node),
        _ => Ok(()),
    }?;
    match node.name() {
        "proxy_set_header" | "proxy_pass" | "add_header" | "set" | "return" | "map" | "access_log" => {
            node.args().iter().try_for_each(|w| variables(&w.text))
        }
        _ => Ok(()),
    }
}

/// Every `$` begins a name (http/ngx_http_script.c, `ngx_http_script_compile`).
fn variables(text: &str) -> Result<(), String> {
    for after in text.split('$').skip(1) {
        let (name, is_open) = match after.strip_prefix('{') {
            Some(inner) => (inner, !inner.contains('}')),
            None => (after, false),
        };
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return Err("invalid variable name".to_owned());
        }
        if is_open {
            return Err(format!("the closing bracket in \"{name}\" variable is missing"));
        }
    }
    Ok(())
}

fn processes(node: &Node) -> Result<(), String> {
    let text = node.arg(0).unwrap_or_default();
    let is_number = text.parse::<u32>().is_ok() && text.bytes().all(|b| b.is_ascii_digit());
    if text == "auto" || is_number { Ok(()) } else { Err(invalid(node, text)) }
}

fn switched_off(node: &Node) -> Result<(), String> {
    match (node.arg(0), node.arg(1)) {
        (Some("off"), Some(more)) => Err(format!("invalid parameter \"{more}\"")),
        _ => Ok(()),
    }
}

fn entries(map: &Node) -> Result<(), String> {
    for entry in map.nodes() {
        let is_word = matches!(entry.name(), "hostnames" | "volatile") && entry.args().is_empty();
        if entry.is_block {
            return Err("unexpected \"{\" in \"map\"".to_owned());
        }
        if entry.args().len() != 1 && !is_word {
            return Err(format!("invalid number of the map parameters after \"{}\"", entry.name()));
        }
        entry.args().iter().try_for_each(|w| variables(&w.text))?;
    }
    Ok(())
}

/// `what` came with `since`, and this is older.
fn gate(what: &str, since: Version, version: Option<Version>) -> Result<(), String> {
    match version {
        Some(v) if v < since => Err(format!("{what}: nginx {v} does not know it, {since} was the first to")),
        _ => Ok(()),
    }
}

fn invalid(node: &Node, text: &str) -> String {
    format!("invalid value \"{text}\" in \"{}\" directive", node.name())
}

fn http_version(node: &Node, version: Option<Version>) -> Result<(), String> {
    match node.arg(0) {
        None | Some("1.0" | "1.1") => Ok(()),
        Some("2") => gate(&invalid(node, "2"), HTTP_2_UPSTREAM, version),
        Some(other) => Err(invalid(node, other)),
    }
}

fn keepalive(node: &Node, version: Option<Version>) -> Result<(), String> {
    let text = node.arg(0).unwrap_or_default();
    match text.parse::<i64>() {
        Ok(0) => gate(&invalid(node, text), KEEPALIVE_OFF, version)?,
        Ok(n) if n > 0 => {}
        _ => return Err(invalid(node, text)),
    }
    match node.arg(1) {
        Some("local") => gate("invalid number of arguments in \"keepalive\" directive", KEEPALIVE_OFF, version),
        Some(other) => Err(format!("invalid parameter \"{other}\"")),
        None => Ok(()),
    }
}

fn peer(node: &Node, version: Option<Version>) -> Result<(), String> {
    for word in node.args().iter().skip(1).map(|w| w.text.as_str()) {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = ["weight=", "max_conns=", "max_fails="].iter().find_map(|p| word.strip_prefix(p));
        let time = word.strip_prefix("fail_timeout=").map(|t| super::time::parse_seconds(t).is_some());
        if number.is_some_and(|n| !is_number(n)) || word == "weight=0" || time == Some(false) {
            return Err(format!("invalid parameter \"{word}\""));
        }
        if word == "resolve" || word.starts_with("service=") {
            gate(&format!("invalid parameter \"{word}\""), RESOLVE, version)?;
        }
    }
    Ok(())
}

/// Parameters of `listen` by name; those with a value by their name and `=` (http/ngx_http_core_module.c,
/// `ngx_http_core_listen`).
const LISTEN: [&str; 21] = [
    "default_server",
    "default",
    "bind",
    "ssl",
    "http2",
    "spdy",
    "quic",
    "proxy_protocol",
    "deferred",
    "reuseport",
    "multipath",
    "setfib=",
    "fastopen=",
    "backlog=",
    "rcvbuf=",
    "sndbuf=",
    "accept_filter=",
    "ipv6only=",
    "so_keepalive=",
    "protocol=",
    "mptcp",
];

fn listen(node: &Node, version: Option<Version>) -> Result<(), String> {
    for word in node.args().iter().skip(1).map(|w| w.text.as_str()) {
        if word == "quic" {
            gate("invalid parameter \"quic\"", QUIC, version)?;
        }
        let is_known = LISTEN.iter().any(|k| word == *k || (k.ends_with('=') && word.starts_with(k)));
        // Forks know more of them.
        if version.is_some() && !is_known {
            return Err(format!("invalid parameter \"{word}\""));
        }
    }
    Ok(())
}

/// `return CODE [TEXT]`, `return URL` (http/modules/ngx_http_rewrite_module.c, `ngx_http_rewrite_return`).
fn return_code(node: &Node) -> Result<(), String> {
    let text = node.arg(0).unwrap_or_default();
    let is_code = text.parse::<u16>().is_ok_and(|n| n <= 999) && text.bytes().all(|b| b.is_ascii_digit());
    let is_url = ["http://", "https://", "$scheme"].iter().any(|p| text.to_ascii_lowercase().starts_with(p));
    if is_code || (is_url && node.args().len() == 1) {
        return Ok(());
    }
    Err(format!("invalid return code \"{text}\""))
}

fn variable(node: &Node) -> Result<(), String> {
    let name = node.arg(0).unwrap_or_default();
    if name.len() > 1 && name.starts_with('$') { Ok(()) } else { Err(format!("invalid variable name \"{name}\"")) }
}

/// `if (...)`: the parentheses may stand apart (`ngx_http_rewrite_if_condition`).
fn condition(node: &Node) -> Result<(), String> {
    let (first, last) = (node.arg(0).unwrap_or_default(), node.args().last().map_or("", |w| &w.text));
    if first.starts_with('(') && last.ends_with(')') && node.args().len() + first.len() > 2 {
        return Ok(());
    }
    Err(format!("invalid condition \"{first}\""))
}

fn url(node: &Node) -> Result<(), String> {
    let url = node.arg(0).unwrap_or_default();
    let lower = url.to_ascii_lowercase();
    if url.contains('$') || lower.starts_with("http://") || lower.starts_with("https://") {
        return Ok(());
    }
    Err("invalid URL prefix".to_owned())
}

fn modifier(node: &Node) -> Result<(), String> {
    match (node.arg(0), node.args().len()) {
        (Some(other), 2) if !matches!(other, "=" | "^~" | "~" | "~*") => {
            Err(format!("invalid location modifier \"{other}\""))
        }
        _ => Ok(()),
    }
}

fn flag(node: &Node) -> Result<(), String> {
    match node.arg(2) {
        None | Some("last" | "break" | "redirect" | "permanent") => Ok(()),
        Some(other) => Err(format!("invalid parameter \"{other}\"")),
    }
}
