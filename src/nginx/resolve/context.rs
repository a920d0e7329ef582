//! Which directive may stand where; nginx refuses a configuration in which one stands elsewhere.

use super::include::{Node, Notes};

/// The kinds of blocks that are looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    Main,
    Http,
    Server,
    Location,
    /// `if` in a location.
    If,
    /// `if` in a server.
    ServerIf,
}

use Context::{Http, If, Location, Main, Server, ServerIf};

/// The directives that this program reads, with their contexts (the `ngx_command_t` tables of nginx's modules).
const CONTEXTS: [(&str, &[Context]); 23] = [
    ("events", &[Main]),
    ("http", &[Main]),
    ("worker_shutdown_timeout", &[Main]),
    ("worker_connections", &[]),
    ("error_log", &[Main, Http, Server, Location]),
    ("log_format", &[Http]),
    ("map", &[Http]),
    ("upstream", &[Http]),
    ("server", &[Http]),
    ("access_log", &[Http, Server, Location, If]),
    ("listen", &[Server]),
    ("server_name", &[Server]),
    ("location", &[Server, Location]),
    ("internal", &[Location]),
    ("if", &[Server, Location]),
    ("set", &[Server, Location, If, ServerIf]),
    ("return", &[Server, Location, If, ServerIf]),
    ("proxy_pass", &[Location, If]),
    ("proxy_set_header", &[Http, Server, Location]),
    ("proxy_http_version", &[Http, Server, Location]),
    ("proxy_read_timeout", &[Http, Server, Location]),
    ("proxy_send_timeout", &[Http, Server, Location]),
    ("proxy_connect_timeout", &[Http, Server, Location]),
];

/// Notes every directive of a block that may not stand in it.
pub(super) fn check(block: &[Node], here: Context, notes: &mut Notes) {
    for directive in block {
        let known = CONTEXTS.iter().find(|(name, _)| *name == directive.name());
        if known.is_some_and(|(_, places)| !places.contains(&here)) {
            notes.on(directive, format!("\"{}\" directive is not allowed here", directive.name()));
        }
    }
}
