//! The directives of nginx that matter here or stand in nearly every configuration: where each may stand, what it takes, and
//! since which release it exists. From the `ngx_command_t` tables of nginx's modules; directives that are not in the table are
//! passed over, because a module may know them.

use super::context::Context::{self, Events, Http, If, LimitExcept, Location, Main, Server, ServerIf, Upstream};
use crate::event::site::Version;

/// What a value must be, where nginx looks at it while reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Any,
    /// `on` or `off`.
    Flag,
    /// A time span in milliseconds.
    Time,
    /// A time span in seconds.
    Seconds,
    /// A size: `8k`, `1m`.
    Size,
    /// A number.
    Number,
    /// A block instead of a semicolon.
    Block,
}

/// One directive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) places: &'static [Context],
    /// The least and the most arguments.
    pub(super) args: (usize, usize),
    /// A second one at the same level is refused.
    pub(super) once: bool,
    pub(super) value: Value,
    /// The first release that has it.
    pub(super) since: Option<Version>,
    /// The first release that has it no more.
    pub(super) until: Option<Version>,
}

impl Known {
    const fn once(mut self) -> Self {
        self.once = true;
        self
    }

    const fn since(mut self, minor: u16, patch: u16) -> Self {
        self.since = Some(Version { major: 1, minor, patch });
        self
    }

    const fn until(mut self, minor: u16, patch: u16) -> Self {
        self.until = Some(Version { major: 1, minor, patch });
        self
    }
}

/// As many arguments as one likes.
const MANY: usize = 2048;

const fn of(name: &'static str, places: &'static [Context], least: usize, most: usize, value: Value) -> Known {
    Known { name, places, args: (least, most), once: false, value, since: None, until: None }
}

const HSL: &[Context] = &[Http, Server, Location];
const HSLI: &[Context] = &[Http, Server, Location, If];
const HS: &[Context] = &[Http, Server];
const REWRITE: &[Context] = &[Server, ServerIf, Location, If];

use Value::{Any, Block, Flag, Number, Seconds, Size, Time};

/// All of them.
const KNOWN: &[Known] = &[
    // core, events
    of("events", &[Main], 0, 0, Block).once(),
    of("http", &[Main], 0, 0, Block).once(),
    of("user", &[Main], 1, 2, Any).once(),
    of("pid", &[Main], 1, 1, Any).once(),
    of("daemon", &[Main], 1, 1, Flag).once(),
    of("master_process", &[Main], 1, 1, Flag).once(),
    of("worker_processes", &[Main], 1, 1, Any).once(),
    of("worker_rlimit_nofile", &[Main], 1, 1, Number).once(),
    of("worker_shutdown_timeout", &[Main], 1, 1, Time).once().since(11, 11),
    of("load_module", &[Main], 1, 1, Any),
    of("error_log", &[Main, Http, Server, Location], 1, MANY, Any),
    of("worker_connections", &[Events], 1, 1, Number).once(),
    of("multi_accept", &[Events], 1, 1, Flag).once(),
    of("accept_mutex", &[Events], 1, 1, Flag).once(),
    of("use", &[Events], 1, 1, Any).once(),
    // http core
    of("server", &[Http], 0, 0, Block),
    of("location", &[Server, Location], 1, 2, Block),
    of("limit_except", &[Location], 1, MANY, Block),
    of("types", HSL, 0, 0, Block),
    of("map", &[Http], 2, 2, Block),
    of("geo", &[Http], 1, 2, Block),
    of("split_clients", &[Http], 2, 2, Block),
    of("upstream", &[Http], 1, 1, Block),
    of("listen", &[Server], 1, MANY, Any),
    of("server_name", &[Server], 1, MANY, Any),
    of("root", HSLI, 1, 1, Any).once(),
    of("alias", &[Location], 1, 1, Any).once(),
    of("default_type", HSL, 1, 1, Any).once(),
    of("try_files", &[Server, Location], 2, MANY, Any).once(),
    of("error_page", HSLI, 2, MANY, Any),
    of("internal", &[Location], 0, 0, Any),
    of("sendfile", HSLI, 1, 1, Flag).once(),
    of("tcp_nopush", HSL, 1, 1, Flag).once(),
    of("tcp_nodelay", HSL, 1, 1, Flag).once(),
    of("server_tokens", HSL, 1, 1, Any).once(),
    of("client_max_body_size", HSL, 1, 1, Size).once(),
    of("client_body_timeout", HSL, 1, 1, Time).once(),
    of("client_header_timeout", HS, 1, 1, Time).once(),
    of("client_body_buffer_size", HSL, 1, 1, Size).once(),
    of("large_client_header_buffers", HS, 2, 2, Any).once(),
    of("keepalive_timeout", HSL, 1, 2, Any).once(),
    of("keepalive_requests", HSL, 1, 1, Number).once(),
    of("send_timeout", HSL, 1, 1, Time).once(),
    of("lingering_timeout", HSL, 1, 1, Time).once(),
    of("reset_timedout_connection", HSL, 1, 1, Flag).once(),
    of("resolver_timeout", HSL, 1, 1, Time).once(),
    of("server_names_hash_bucket_size", &[Http], 1, 1, Number).once(),
    of("types_hash_max_size", HSL, 1, 1, Number).once(),
    of("satisfy", HSL, 1, 1, Any).once(),
    of("allow", &[Http, Server, Location, LimitExcept], 1, 1, Any),
    of("deny", &[Http, Server, Location, LimitExcept], 1, 1, Any),
    of("auth_basic", &[Http, Server, Location, LimitExcept], 1, 1, Any).once(),
    of("auth_basic_user_file", &[Http, Server, Location, LimitExcept], 1, 1, Any).once(),
    of("auth_request", HSL, 1, 1, Any).once(),
    of("add_header", HSLI, 2, 3, Any),
    of("expires", HSLI, 1, 2, Any).once(),
    of("gzip", HSLI, 1, 1, Flag).once(),
    of("index", HSL, 1, MANY, Any),
    of("log_format", &[Http], 2, MANY, Any),
    of("access_log", &[Http, Server, Location, If, LimitExcept], 1, MANY, Any),
    of("limit_conn_zone", &[Http], 2, 2, Any),
    of("limit_conn", HSL, 2, 2, Any),
    of("limit_req_zone", &[Http], 3, 4, Any),
    of("limit_req", HSL, 1, 3, Any),
    // rewrite
    of("if", &[Server, Location], 1, MANY, Block),
    of("set", REWRITE, 2, 2, Any),
    of("return", REWRITE, 1, 2, Any),
    of("rewrite", REWRITE, 2, 3, Any),
    of("break", REWRITE, 0, 0, Any),
    of("rewrite_log", &[Http, Server, ServerIf, Location, If], 1, 1, Flag).once(),
    // proxy
    of("proxy_pass", &[Location, If, LimitExcept], 1, 1, Any).once(),
    of("tunnel_pass", &[Location, If, LimitExcept], 0, 1, Any).once().since(31, 0),
    of("proxy_set_header", HSL, 2, 2, Any),
    of("proxy_hide_header", HSL, 1, 1, Any),
    of("proxy_pass_header", HSL, 1, 1, Any),
    of("proxy_http_version", HSL, 1, 1, Any).once(),
    of("proxy_read_timeout", HSL, 1, 1, Time).once(),
    of("proxy_send_timeout", HSL, 1, 1, Time).once(),
    of("proxy_connect_timeout", HSL, 1, 1, Time).once(),
    of("proxy_next_upstream_timeout", HSL, 1, 1, Time).once(),
    of("proxy_next_upstream_tries", HSL, 1, 1, Number).once(),
    of("proxy_buffering", HSL, 1, 1, Flag).once(),
    of("proxy_request_buffering", HSL, 1, 1, Flag).once(),
    of("proxy_buffer_size", HSL, 1, 1, Size).once(),
    of("proxy_buffers", HSL, 2, 2, Any).once(),
    of("proxy_socket_keepalive", HSL, 1, 1, Flag).once().since(15, 6),
    of("proxy_ignore_client_abort", HSL, 1, 1, Flag).once(),
    of("proxy_intercept_errors", HSL, 1, 1, Flag).once(),
    of("proxy_pass_request_headers", HSL, 1, 1, Flag).once(),
    of("proxy_pass_request_body", HSL, 1, 1, Flag).once(),
    of("proxy_ssl_server_name", HSL, 1, 1, Flag).once(),
    of("proxy_ssl_name", HSL, 1, 1, Any).once(),
    of("proxy_ssl_verify", HSL, 1, 1, Flag).once(),
    of("proxy_ssl_verify_depth", HSL, 1, 1, Number).once(),
    of("proxy_redirect", HSL, 1, 2, Any),
    of("proxy_bind", HSL, 1, 2, Any).once(),
    // TLS, HTTP/2
    of("ssl", HS, 1, 1, Flag).once().until(25, 1),
    of("ssl_certificate", HS, 1, 1, Any),
    of("ssl_certificate_key", HS, 1, 1, Any),
    of("ssl_session_timeout", HS, 1, 1, Seconds).once(),
    of("ssl_prefer_server_ciphers", HS, 1, 1, Flag).once(),
    of("ssl_reject_handshake", HS, 1, 1, Flag).once().since(19, 4),
    of("http2", HS, 1, 1, Flag).once().since(25, 1),
    of("http3", HS, 1, 1, Flag).once().since(25, 0),
    // upstream
    of("server", &[Upstream], 1, MANY, Any),
    of("keepalive", &[Upstream], 1, 2, Any).once(),
    of("keepalive_timeout", &[Upstream], 1, 1, Time).once(),
    of("keepalive_requests", &[Upstream], 1, 1, Number).once(),
    of("keepalive_time", &[Upstream], 1, 1, Time).once().since(19, 10),
    of("least_conn", &[Upstream], 0, 0, Any),
    of("ip_hash", &[Upstream], 0, 0, Any),
    of("hash", &[Upstream], 1, 2, Any),
    of("random", &[Upstream], 0, 2, Any),
    of("zone", &[Upstream], 1, 2, Any),
];

/// All rows of the table; a name may have several, for places that have little in common.
pub(super) fn all() -> impl Iterator<Item = &'static Known> {
    KNOWN.iter()
}
