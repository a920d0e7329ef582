//! The demo site: a table of its routes, and the same table written as an nginx.conf that a real nginx accepts.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use super::script::{FEED_TIMEOUT, Pace};

/// `server_name`, and what the clients write into `Host`.
pub(super) const SERVER_NAME: &str = "demo.test";

/// Which backend a route leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upstream {
    /// Serves `/ws`.
    Main,
    /// Serves `/feed`.
    Feed,
    /// Serves `/chat`.
    Chat,
    /// Serves `/admin/live`, and is stopped for a while by the script.
    Admin,
}

impl Upstream {
    /// All of them, in the order of `Addresses::backends`. One each, because only the backend's address tells which
    /// location a socket belongs to.
    pub(super) const ALL: [Self; 4] = [Self::Main, Self::Feed, Self::Chat, Self::Admin];
}

/// One `location`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The prefix.
    pub(super) path: &'static str,
    /// Where it leads.
    pub(super) upstream: Upstream,
    /// Its own `proxy_read_timeout`, before the pace; `None` leaves nginx's default of 60 s.
    pub(super) read_timeout: Option<Duration>,
    /// It has a `proxy_set_header X-Real-IP` of its own, which pushes out all those of the server: the upgrade is lost.
    pub(super) own_headers: bool,
    /// How often the backend says something by itself.
    pub(super) push: Option<Duration>,
}

/// The site.
pub(super) static ROUTES: [Route; 4] = [
    Route {
        path: "/ws",
        upstream: Upstream::Main,
        read_timeout: Some(Duration::from_secs(3600)),
        own_headers: false,
        push: Some(Duration::from_secs(3)),
    },
    Route { path: "/feed", upstream: Upstream::Feed, read_timeout: Some(FEED_TIMEOUT), own_headers: false, push: None },
    Route {
        path: "/chat",
        upstream: Upstream::Chat,
        read_timeout: None,
        own_headers: true,
        push: Some(Duration::from_secs(2)),
    },
    Route {
        path: "/admin/live",
        upstream: Upstream::Admin,
        read_timeout: None,
        own_headers: false,
        push: Some(Duration::from_secs(1)),
    },
];

impl Route {
    /// The effective `proxy_read_timeout`.
    pub(super) fn effective_timeout(&self, pace: Pace) -> Duration {
        self.read_timeout.map_or(Duration::from_secs(60), |t| pace.real(t))
    }
}

/// The location that nginx would choose for a path: the longest prefix. `None` is `location /`, which answers 404.
pub(super) fn route(path: &str) -> Option<&'static Route> {
    ROUTES.iter().filter(|r| path.starts_with(r.path)).max_by_key(|r| r.path.len())
}

/// Where everything listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    /// The proxy.
    pub(super) proxy: SocketAddr,
    /// The backends, in the order of [`Upstream::ALL`].
    pub(super) backends: [SocketAddr; 4],
}

impl Addresses {
    /// The address of a backend.
    pub(super) fn of(&self, upstream: Upstream) -> SocketAddr {
        self.backends[upstream as usize]
    }
}

/// The log format of the demo: everything that tells about a tunnel. `logfile::AccessLine` writes the same fields.
pub(super) const LOG_FORMAT: &str = "$remote_addr [$time_iso8601] \"$request\" st=$status us=\"$upstream_status\" \
rt=$request_time uct=\"$upstream_connect_time\" uht=\"$upstream_header_time\" urt=\"$upstream_response_time\" \
bs=$bytes_sent bbs=$body_bytes_sent rl=$request_length ubs=\"$upstream_bytes_sent\" ubr=\"$upstream_bytes_received\" \
ua=\"$upstream_addr\" up=\"$http_upgrade\" co=\"$http_connection\" sup=\"$sent_http_upgrade\" \
comp=\"$request_completion\" proto=$server_protocol c=$connection cr=$connection_requests ssl=\"$ssl_protocol\"";

/// The whole nginx.conf. Paths are relative to the prefix (`nginx -p FOLDER`).
pub(super) fn conf(at: Addresses, pace: Pace) -> String {
    let mut text = format!(
        "# Written by `wspulse demo`. Paths are relative to this folder:
#   nginx -t -p FOLDER -c FOLDER/nginx.conf
worker_processes 1;
pid nginx.pid;
error_log logs/error.log info;

events {{
    worker_connections 256;
}}

http {{
    log_format ws '{LOG_FORMAT}';
    access_log logs/access.log ws;
    server_tokens off;

    client_body_temp_path tmp/body;
    proxy_temp_path tmp/proxy;
    fastcgi_temp_path tmp/fastcgi;
    uwsgi_temp_path tmp/uwsgi;
    scgi_temp_path tmp/scgi;

    map $http_upgrade $connection_upgrade {{
        default upgrade;
        '' close;
    }}

    server {{
        listen {};
        server_name {SERVER_NAME};

        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
",
        at.proxy
    );
    for r in &ROUTES {
        text.push_str(&location(r, at, pace));
    }
    text.push_str("\n        location / {\n            return 404;\n        }\n    }\n}\n");
    text
}

fn location(r: &Route, at: Addresses, pace: Pace) -> String {
    let mut text = format!("\n        location {} {{\n            proxy_pass http://{};\n", r.path, at.of(r.upstream));
    if r.own_headers {
        text.push_str("            proxy_set_header X-Real-IP $remote_addr;\n");
    }
    if let Some(t) = r.read_timeout {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "            proxy_read_timeout {};", nginx_time(pace.real(t)));
    }
    text.push_str("        }\n");
    text
}

/// A time in nginx's syntax with the largest whole unit.
fn nginx_time(d: Duration) -> String {
    match (d.as_millis(), d.as_secs()) {
        (ms, s) if ms % 1000 == 0 && s > 0 && s % 3600 == 0 => format!("{}h", s / 3600),
        (ms, s) if ms % 1000 == 0 => format!("{s}s"),
        (ms, _) => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Addresses { proxy: at(18080), backends: [at(19001), at(19002), at(19003), at(19004)] }
    }

    #[test]
    fn the_longest_prefix_wins_and_the_rest_is_nobodys() {
        assert_eq!(route("/ws").map(|r| r.path), Some("/ws"));
        assert_eq!(route("/admin/live/cpu").map(|r| r.path), Some("/admin/live"));
        assert_eq!(route("/admin").map(|r| r.path), None);
        assert_eq!(route("").map(|r| r.path), None);
    }

    #[test]
    fn the_conf_says_what_the_table_says() {
        let text = conf(addresses(), Pace::new(1));
        for line in [
            "listen 127.0.0.1:18080;",
            "location /admin/live {\n            proxy_pass http://127.0.0.1:19004;\n        }",
            "location /feed {\n            proxy_pass http://127.0.0.1:19002;\n            proxy_read_timeout 8s;\n",
            "location /ws {\n            proxy_pass http://127.0.0.1:19001;\n            proxy_read_timeout 1h;\n",
            "location /chat {\n            proxy_pass http://127.0.0.1:19003;\n            proxy_set_header X-Real-IP $remote_addr;\n",
            "error_log logs/error.log info;",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(conf(addresses(), Pace::new(5)).contains("proxy_read_timeout 1600ms;"), "a pace that divides badly");
    }
}
