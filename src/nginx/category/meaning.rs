//! What a category of error-log entries means, what usually causes it, and what a few lines say that their words do not.

use crate::event::log::{Category, ErrorEntry, Level};

/// A category explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// What happened.
    pub says: &'static str,
    /// What usually causes it, the most frequent first.
    pub causes: &'static [&'static str],
}

const fn meaning(says: &'static str, causes: &'static [&'static str]) -> Meaning {
    Meaning { says, causes }
}

/// One row a category.
static MEANINGS: [(Category, Meaning); 17] = [
    (
        Category::Handshake,
        meaning(
            "the upgrade itself went wrong inside nginx",
            &["auth_request inherits the Upgrade headers: clear them in the auth location"],
        ),
    ),
    (
        Category::UpstreamConnect,
        meaning(
            "nginx could not open a connection to the backend; the client got 502",
            &[
                "the backend is down or restarting",
                "wrong address or port",
                "a socket's permissions, or its accept queue is full",
            ],
        ),
    ),
    (
        Category::UpstreamTimeout,
        meaning(
            "the backend was too slow, or a tunnel was silent for too long",
            &[
                "a tunnel without pings outlived proxy_read_timeout (60 s unless set)",
                "the backend is overloaded: slow to accept or to answer the handshake",
                "packets to the backend are dropped by a firewall",
            ],
        ),
    ),
    (
        Category::UpstreamClosed,
        meaning(
            "the backend closed or reset the connection",
            &[
                "the backend crashed, was restarted or was killed",
                "the backend's own limit or timeout",
                "a middlebox in between",
            ],
        ),
    ),
    (
        Category::UpstreamProtocol,
        meaning(
            "nginx could not read the backend's answer; the client got 502",
            &["the backend speaks another protocol on that port", "response headers larger than proxy_buffer_size"],
        ),
    ),
    (
        Category::TlsUpstream,
        meaning(
            "TLS between nginx and the backend failed",
            &[
                "https:// to a plain port",
                "the backend's certificate expired or is not trusted",
                "the backend needs proxy_ssl_server_name on",
            ],
        ),
    ),
    (
        Category::TlsClient,
        meaning(
            "TLS between the client and nginx failed",
            &[
                "scanners and plain HTTP on the TLS port",
                "clients that are too old",
                "a certificate that the client does not trust",
            ],
        ),
    ),
    (
        Category::ClientClosed,
        meaning(
            "the client closed, reset or stopped reading; seldom nginx's fault",
            &[
                "users leave, phones lose their network",
                "the client gave up waiting: look at the backend's latency",
                "a middlebox cut an idle connection",
            ],
        ),
    ),
    (
        Category::ClientProtocol,
        meaning(
            "the client's request could not be read; it got 400",
            &[
                "scanners",
                "wss:// sent to a plain port or the other way round",
                "a load balancer's PROXY protocol that this listener does not expect",
            ],
        ),
    ),
    (
        Category::Capacity,
        meaning(
            "something ran out: connections, descriptors, memory, disk or ports",
            &["every tunnel takes two of worker_connections and two descriptors", "worker_rlimit_nofile or the disk"],
        ),
    ),
    (
        Category::Limits,
        meaning(
            "a configured limit refused a request",
            &[
                "limit_conn counts tunnels as long as they are open",
                "limit_req hit by reconnecting clients",
                "too large headers: cookies",
            ],
        ),
    ),
    (
        Category::NameResolution,
        meaning(
            "the name of a backend did not resolve",
            &["proxy_pass with a variable and no resolver", "the name server is down or does not know the name"],
        ),
    ),
    (
        Category::AccessAuth,
        meaning(
            "a request was denied by rule or for want of credentials",
            &[
                "allow and deny",
                "an expired login: the client should sign in again",
                "an auth_request backend that fails",
            ],
        ),
    ),
    (
        Category::RoutingStatic,
        meaning(
            "a file or a redirect was wrong: the request did not reach a backend",
            &["no location for the path, so that it fell through to files", "a rewrite that goes in circles"],
        ),
    ),
    (
        Category::Http2Quic,
        meaning(
            "the framing of HTTP/2 or QUIC failed",
            &[
                "WebSockets over HTTP/2 (RFC 8441), which nginx does not speak: clients fall back to HTTP/1.1",
                "scanners",
            ],
        ),
    ),
    (
        Category::LifecycleConfig,
        meaning(
            "nginx started, stopped, was reloaded or complained about its configuration",
            &["a reload: old workers keep their tunnels until they end or worker_shutdown_timeout cuts them"],
        ),
    ),
    (Category::Other, meaning("nothing that is known to matter to WebSockets", &[])),
];

/// What the entries of `category` mean.
#[must_use]
pub fn of(category: Category) -> Meaning {
    let row = MEANINGS.iter().find(|(c, _)| *c == category);
    row.map_or(meaning("", &[]), |(_, meaning)| *meaning)
}

/// What a line says about a tunnel that its words do not: a cut and a slow answer, a client's reset and a backend's are
/// written in the same words.
#[must_use]
pub fn remark(entry: &ErrorEntry) -> Option<&'static str> {
    if entry.action.as_deref() != Some("proxying upgraded connection") {
        return None;
    }
    // nginx writes what befalls the client's connection at info and what befalls the backend's at error
    // (core/ngx_connection.c, ngx_connection_error); an idle cut counts as the client's (http/ngx_http_upstream.c,
    // ngx_http_upstream_process_upgraded).
    match (entry.errno, entry.level) {
        (Some(110), _) if entry.message.starts_with("upstream timed out") => Some(
            "nginx cut this tunnel because neither side said anything for proxy_read_timeout (or nginx could not write for proxy_send_timeout)",
        ),
        (Some(104), Level::Error) => Some("at level error the reset came from the backend"),
        (Some(104), Level::Info) => Some("at level info the reset came from the client"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nginx::error::{entry, parse};
    use crate::time::Timestamp;

    fn read(line: &str) -> ErrorEntry {
        entry(&parse(line.as_bytes()).expect("an entry"), line.as_bytes(), Timestamp::default())
    }

    #[test]
    fn every_category_is_explained_in_short_words() {
        for category in Category::ALL {
            let m = of(category);
            assert!(!m.says.is_empty() && m.says.len() < 100, "{category:?}");
            assert!(category == Category::Other || !m.causes.is_empty(), "{category:?}");
        }
    }

    #[test]
    fn the_level_tells_who_reset_a_tunnel() {
        let reset = |level: &str| {
            read(&format!(
                "2026/11/21 02:02:31 [{level}] 7#8: *42 recv() failed (104: Connection reset by peer) while proxying upgraded \
                connection, client: 192.0.2.1, server: a, request: \"GET /ws HTTP/1.1\", upstream: \"http://10.0.0.7:80/ws\""
            ))
        };
        assert!(remark(&reset("error")).is_some_and(|r| r.contains("backend")));
        assert!(remark(&reset("info")).is_some_and(|r| r.contains("client")));
        let handshake = "2026/11/21 02:02:31 [error] 7#8: *42 upstream timed out (110: Connection timed out) while reading \
            response header from upstream, client: 192.0.2.1, server: a";
        assert_eq!(remark(&read(handshake)), None, "a slow answer is no cut");
    }
}
