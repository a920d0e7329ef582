//! The pages of `docs/` that `wspulse explain` prints, one row a name.

/// What a page is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The group that it is listed in.
    pub(super) group: &'static str,
    /// Its public name.
    pub(super) id: &'static str,
    /// The page, in Markdown.
    pub(super) page: &'static str,
}

macro_rules! findings {
    ($($group:literal: [$($id:literal),* $(,)?])*) => {
        &[$($(Row { group: $group, id: $id, page: include_str!(concat!("../../../docs/findings/", $id, ".md")) },)*)*]
    };
}

/// All findings, in the order of the public list.
pub(super) static FINDINGS: &[Row] = findings! {
    "Handshake and route": [
        "upgrade-header-missing",
        "connection-header-missing",
        "connection-header-wrong",
        "upgrade-header-wrong-value",
        "headers-lost-by-inheritance",
        "http-version-too-old",
        "connection-upgrade-hardcoded",
        "upgrade-in-subrequest",
        "backend-rejects-handshake",
        "origin-rejected",
        "auth-required",
        "access-denied",
        "not-a-websocket-endpoint",
        "redirected",
        "uri-rewritten",
        "location-mismatch",
        "subprotocol-mismatch",
        "accept-mismatch",
        "bad-handshake-response",
        "http2-no-websocket",
        "handshake-slow",
        "wrong-server-block",
        "host-header-rejected",
        "query-dropped",
    ]
    "Upstream": [
        "backend-refused",
        "backend-unreachable",
        "backend-connect-timeout",
        "backend-handshake-timeout",
        "backend-closed-early",
        "backend-bad-response",
        "backend-header-too-big",
        "no-live-upstreams",
        "backend-permission-denied",
        "backend-socket-missing",
        "upstream-name-unresolved",
        "resolver-missing",
        "upstream-tls-scheme-mismatch",
        "upstream-tls-untrusted",
        "upstream-tls-expired",
        "upstream-tls-name-mismatch",
        "upstream-tls-failed",
        "backend-half-dead",
    ]
    "Tunnel life": [
        "idle-timeout-cuts",
        "timeout-zero",
        "heartbeat-races-timeout",
        "backend-reset",
        "backend-went-away",
        "backend-closed-with-code",
        "client-reset",
        "stalled-reader",
        "reload-cuts",
        "worker-crash",
        "max-age-cuts",
        "middlebox-cuts",
        "workers-draining",
        "half-open-tunnels",
        "close-wait-pile",
    ]
    "Client TLS": [
        "tls-expired",
        "tls-expires-soon",
        "tls-untrusted",
        "tls-name-mismatch",
        "tls-handshake-failed",
        "plain-to-tls-port",
        "tls-to-plain-port",
    ]
    "Capacity and limits": [
        "worker-connections-exhausted",
        "worker-connections-low",
        "fds-exhausted",
        "ephemeral-ports-exhausted",
        "listen-queue-full",
        "limit-conn",
        "limit-req",
        "headers-too-large",
        "reconnect-storm",
        "disk-full",
    ]
    "Reach": [
        "dns-failure",
        "connect-refused",
        "connect-timeout",
        "http-proxy-failed",
        "proxy-protocol-mismatch",
    ]
    "Configuration and sight": [
        "config-invalid",
        "config-not-reloaded",
        "ineffective-setting",
        "upgrade-any-protocol",
        "error-log-hides-evidence",
        "error-log-unreadable",
        "nginx-not-running",
        "blind-without-privilege",
    ]
};

/// The categories of error-log lines: one page, a section each.
pub(super) static CATEGORIES: &str = include_str!("../../../docs/categories.md");
/// The close codes: one page, a section each.
pub(super) static CLOSE_CODES: &str = include_str!("../../../docs/close-codes.md");
