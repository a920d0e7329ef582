//! The phrases that nginx writes after ` while `, with the side of the proxy on which each of them happens.

use crate::event::log::{Category, Level};

/// On which side of nginx something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Between nginx and the backend.
    Upstream,
    /// Between the client and nginx.
    Client,
    /// Either: in a tunnel nginx tells the sides apart by the level alone.
    Either,
    /// In the framing of HTTP/2 or QUIC.
    Http2,
    /// While a name was looked up.
    Resolver,
    /// Elsewhere in nginx.
    Inside,
}

/// What nginx was doing when it wrote a line.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    /// The words after ` while `.
    pub phrase: &'static str,
    /// Where that happens.
    pub side: Side,
}

const fn action(phrase: &'static str, side: Side) -> Action {
    Action { phrase, side }
}

/// Every `log->action` of nginx (grep -r 'action = "' src), in byte order for the binary search.
pub static ACTIONS: &[Action] = &[
    action("SSL handshaking", Side::Client),
    action("SSL handshaking to upstream", Side::Upstream),
    action("accepting new connection", Side::Inside),
    action("closing request", Side::Client),
    action("connecting to upstream", Side::Upstream),
    action("creating quic connection", Side::Http2),
    action("decrypting packet", Side::Http2),
    action("handling decrypted packet", Side::Http2),
    action("handling frames", Side::Http2),
    action("handling initial packet", Side::Http2),
    action("handling payload", Side::Http2),
    action("handling quic input", Side::Http2),
    action("handling quic packet", Side::Http2),
    action("in auth state", Side::Client),
    action("in delay pipelining state", Side::Client),
    action("in http auth state", Side::Inside),
    action("in resolving client address", Side::Resolver),
    action("in resolving client hostname", Side::Resolver),
    action("in starttls state", Side::Client),
    action("initializing session", Side::Client),
    action("keepalive", Side::Client),
    action("logging request", Side::Inside),
    action("logging to syslog", Side::Inside),
    action("parsing frames", Side::Http2),
    action("parsing quic long header", Side::Http2),
    action("parsing quic packet", Side::Http2),
    action("passing connection to port", Side::Inside),
    action("preparing ack", Side::Http2),
    action("prereading client data", Side::Client),
    action("processing HTTP/2 connection", Side::Http2),
    action("proxying", Side::Either),
    action("proxying and reading from client", Side::Client),
    action("proxying and reading from upstream", Side::Upstream),
    action("proxying and sending to client", Side::Client),
    action("proxying and sending to upstream", Side::Upstream),
    action("proxying connection", Side::Either),
    action("proxying upgraded connection", Side::Either),
    action("reading PROXY protocol", Side::Client),
    action("reading client pipelined request line", Side::Client),
    action("reading client request", Side::Client),
    action("reading client request headers", Side::Client),
    action("reading client request line", Side::Client),
    action("reading response from upstream", Side::Upstream),
    action("reading response header from upstream", Side::Upstream),
    action("reading upstream", Side::Upstream),
    action("requesting certificate status", Side::Inside),
    action("resolving", Side::Resolver),
    action("returning text", Side::Client),
    action("sending AUTH to upstream", Side::Upstream),
    action("sending HELO/EHLO to upstream", Side::Upstream),
    action("sending LOGIN command to upstream", Side::Upstream),
    action("sending MAIL FROM to upstream", Side::Upstream),
    action("sending PROXY protocol header to upstream", Side::Upstream),
    action("sending RCPT TO to upstream", Side::Upstream),
    action("sending XCLIENT to upstream", Side::Upstream),
    action("sending client HELO/EHLO to upstream", Side::Upstream),
    action("sending client greeting line", Side::Client),
    action("sending early hints to client", Side::Client),
    action("sending flv to client", Side::Client),
    action("sending frames", Side::Http2),
    action("sending mp4 to client", Side::Client),
    action("sending password to upstream", Side::Upstream),
    action("sending request to upstream", Side::Upstream),
    action("sending response to client", Side::Client),
    action("sending to client", Side::Client),
    action("sending user name to upstream", Side::Upstream),
    action("updating keys", Side::Http2),
    action("waiting for request", Side::Client),
];

/// The action that `phrase` is, if nginx knows it. `accepting new connection on ADDR` counts with its address.
#[must_use]
pub fn find(phrase: &[u8]) -> Option<&'static Action> {
    let phrase = if phrase.starts_with(ACCEPTING) { &ACCEPTING[..ACCEPTING.len() - 4] } else { phrase };
    let at = ACTIONS.binary_search_by(|a| a.phrase.as_bytes().cmp(phrase)).ok()?;
    ACTIONS.get(at)
}

/// `ngx_accept_log_error` adds the listen address to the phrase (event/ngx_event_accept.c).
const ACCEPTING: &[u8] = b"accepting new connection on ";

/// The side on which a system call or TLS call failed. The level comes first: nginx logs a broken backend connection as
/// an error and a broken client connection as info (ngx_connection_error in core/ngx_connection.c, ngx_ssl_connection_error
/// in event/ngx_event_openssl.c), while both legs of a tunnel share one phrase and a subrequest leaves its own behind.
/// Only a handshake, a name lookup and HTTP/2 name their connection for certain.
#[must_use]
pub fn side(level: Level, action: Option<&[u8]>) -> Side {
    let by_level = match level {
        Level::Error => Side::Upstream,
        Level::Info => Side::Client,
        _ => Side::Either,
    };
    let Some(action) = action.and_then(find) else { return by_level };
    match action.side {
        Side::Upstream | Side::Client if action.phrase.starts_with("SSL handshaking") => action.side,
        Side::Http2 | Side::Resolver | Side::Inside => action.side,
        by_action if by_level == Side::Either => by_action,
        _ => by_level,
    }
}

/// The class of a line whose message no table knows: what nginx was doing says the most.
#[must_use]
pub fn likely_category(level: Level, action: &[u8]) -> Category {
    match action {
        b"connecting to upstream" => return Category::UpstreamConnect,
        b"SSL handshaking to upstream" => return Category::TlsUpstream,
        b"SSL handshaking" => return Category::TlsClient,
        b"logging request" | b"logging to syslog" => return Category::Other,
        _ if action.starts_with(ACCEPTING) => return Category::Capacity,
        _ if action.starts_with(b"reading client request") => return Category::ClientProtocol,
        _ if action.starts_with(b"reading ") && action.ends_with(b"upstream") => return Category::UpstreamProtocol,
        _ => {}
    }
    match find(action).map_or(Side::Inside, |a| if a.side == Side::Either { side(level, Some(action)) } else { a.side })
    {
        Side::Upstream => Category::UpstreamClosed,
        Side::Client => Category::ClientClosed,
        Side::Http2 => Category::Http2Quic,
        Side::Resolver => Category::NameResolution,
        Side::Either | Side::Inside => Category::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phrase_is_found_and_none_is_made_up() {
        for a in ACTIONS {
            assert_eq!(find(a.phrase.as_bytes()).map(|f| f.phrase), Some(a.phrase));
        }
        assert!(find(b"accepting new connection on 0.0.0.0:80").is_some());
        assert!(find(b"waiting").is_none());
        assert!(find(b"waiting for request ").is_none());
    }

    #[test]
    fn the_level_tells_the_side_of_a_tunnel() {
        let tunnel = Some(&b"proxying upgraded connection"[..]);
        assert_eq!(side(Level::Error, tunnel), Side::Upstream);
        assert_eq!(side(Level::Info, tunnel), Side::Client);
        assert_eq!(side(Level::Alert, tunnel), Side::Either);
        assert_eq!(side(Level::Error, Some(b"sending to client")), Side::Upstream, "a subrequest left its phrase");
        assert_eq!(side(Level::Crit, Some(b"reading upstream")), Side::Upstream);
        assert_eq!(side(Level::Crit, Some(b"SSL handshaking")), Side::Client);
        assert_eq!(side(Level::Info, Some(b"SSL handshaking to upstream")), Side::Upstream);
    }
}
