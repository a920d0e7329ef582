//! Hosts that are unusual and well: nothing may be said against them.

use std::time::Duration;

use super::super::backend::{Deed, Play, Then, answer, echo, strict};
use super::super::row::{MAP, On, Row, WS, at, fine, ws};
use super::super::world::Client;

pub fn rows() -> Vec<Row> {
    let mut rows = headers();
    rows.extend(routes());
    rows.extend(upstreams());
    rows.extend(logs());
    rows.extend(listeners());
    rows.extend(pasts());
    rows.extend(recovered());
    rows
}

fn headers() -> Vec<Row> {
    vec![
        fine("plain").server(ws("/ws", "")).on(On::Both),
        fine("http-version-unset").on(On::New).ws_location(
            "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;",
        ),
        fine("hard-coded-upgrade").only_http("").ws_location(
            "proxy_http_version 1.1; proxy_set_header Upgrade websocket; proxy_set_header Connection \"Upgrade\";",
        ),
        fine("a-list-of-tokens").ws_location(
            "proxy_http_version 1.1; proxy_set_header upgrade $http_upgrade; proxy_set_header CONNECTION \"keep-alive, Upgrade\";",
        ),
        fine("the-client-s-own-connection-header").ws_location(
            "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection;",
        ),
        fine("a-map-in-an-include")
            .only_http("include maps/*.conf;")
            .file("maps/upgrade.conf", MAP)
            .server(ws("/ws", "")),
        fine("a-map-of-a-map")
            .only_http(
                "map $http_upgrade $ws_upgrade { default ''; ~*^websocket$ websocket; } \
                 map $ws_upgrade $ws_connection { default upgrade; '' close; }",
            )
            .ws_location(
                "proxy_http_version 1.1; proxy_set_header Upgrade $ws_upgrade; proxy_set_header Connection $ws_connection;",
            ),
        fine("headers-set-by-variables").server("set $up upgrade;").ws_location(
            "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $up;",
        ),
        fine("everything-inherited").http(WS).ws_location(""),
        fine("everything-in-includes")
            .file("conf.d/app.inc", "location /ws { include snippets/pass.conf; include snippets/ws.conf; }")
            .file("snippets/pass.conf", "proxy_pass http://127.0.0.1:{B};")
            .file("snippets/ws.conf", WS)
            .server("include conf.d/*.inc;"),
    ]
}

fn routes() -> Vec<Row> {
    vec![
        fine("a-regex").server(format!("location /w {{ root html; }} {}", ws("~* \"^/(ws|chat-[0-9]{1,3})$\"", ""))),
        fine("nested")
            .server(format!("location /app/ {{ root html; {} }}", ws("/app/ws", "")))
            .url("ws://127.0.0.1:{P}/app/ws")
            .direct("ws://127.0.0.1:{B}/app/ws"),
        fine("a-named-location").server(format!(
            "location /ws {{ try_files /nothing @app; }} location @app {{ proxy_pass http://127.0.0.1:{{B}}; {WS} }}"
        )),
        fine("a-prefix-that-is-stripped-on-purpose")
            .script(|a| if a.uri() == "/chat" { echo(a) } else { answer(404, "", "") })
            .server(at("/ws/", "http://127.0.0.1:{B}/", WS))
            .url("ws://127.0.0.1:{P}/ws/chat")
            .direct("ws://127.0.0.1:{B}/chat"),
        fine("a-rewrite-that-is-right")
            .script(|a| if a.uri() == "/chat" { echo(a) } else { answer(404, "", "") })
            .server(ws("/ws/", "rewrite ^/ws/(.*)$ /$1 break;"))
            .url("ws://127.0.0.1:{P}/ws/chat")
            .direct("ws://127.0.0.1:{B}/chat"),
        fine("a-query-passed-on-with-variables")
            .script(|a| if a.uri().ends_with("?t=1") { echo(a) } else { answer(401, "", "") })
            .server(format!("set $b 127.0.0.1:{{B}}; {}", at("/ws", "http://$b/ws$is_args$args", WS)))
            .url("ws://127.0.0.1:{P}/ws?t=1")
            .direct("ws://127.0.0.1:{B}/ws?t=1"),
        fine("two-servers-by-host")
            .server("location / { proxy_pass http://127.0.0.1:{B2}; }")
            .second(Play::Tcp(|_| answer(200, "", "shop")))
            .named("www.example.test")
            .servers(format!("server {{ listen 127.0.0.1:{{P}}; server_name *.example.test; {} }}", ws("/ws", "")))
            .url("ws://chat.example.test:{P}/ws")
            .flags(&["--resolve", "chat.example.test:{P}:127.0.0.1"]),
        fine("if-blocks").server(ws(
            "/ws",
            "if ($http_user_agent ~* \"badbot\") { return 403; } if ($request_method !~ ^(GET|POST)$) { return 405; }",
        )),
        fine("error-pages").server(format!(
            "error_page 502 503 504 /50x.html; location = /50x.html {{ root html; }} error_page 401 = @login; \
             location @login {{ return 302 /login; }} {}",
            ws("/ws", "proxy_intercept_errors on;")
        )),
        fine("an-auth-request-with-cleared-headers")
            .second(Play::Tcp(|_| answer(204, "", "")))
            .server(format!(
                "location = /auth {{ internal; proxy_pass http://127.0.0.1:{{B2}}; proxy_pass_request_body off; \
                 proxy_set_header Content-Length \"\"; proxy_set_header Upgrade \"\"; proxy_set_header Connection \"\"; }} {}",
                ws("/ws", "auth_request /auth;")
            )),
        fine("a-mirror-of-plain-requests")
            .second(Play::Tcp(|_| answer(200, "", "")))
            .server(format!(
                "location = /mirror {{ internal; proxy_pass http://127.0.0.1:{{B2}}; proxy_set_header Upgrade \"\"; }} {}",
                ws("/ws", "mirror /mirror;")
            )),
        fine("other-locations-without-headers").server(format!(
            "{} {} location / {{ root html; }}",
            at("/api", "http://127.0.0.1:{B}", ""),
            ws("/ws", "")
        )),
    ]
}

fn upstreams() -> Vec<Row> {
    vec![
        fine("a-unix-socket")
            .backend(Play::Unix(echo))
            .no_direct()
            .server(at("/ws", "http://unix:{DIR}/app.sock", WS))
            .given(|w| {
                use std::os::unix::fs::PermissionsExt as _;
                std::fs::set_permissions(w.path("app.sock"), std::fs::Permissions::from_mode(0o777)).expect("rights");
                w.is_answered(101);
            }),
        fine("a-name-resolved-at-run-time")
            .second(Play::Names)
            .server(format!(
                "resolver 127.0.0.1:{{B2}} ipv6=off valid=5s; set $app app.lab.test; {}",
                at("/ws", "http://$app:{B}", WS)
            )),
        fine("an-address-in-a-variable").server(format!("set $app 127.0.0.1:{{B}}; {}", at("/ws", "http://$app", WS))),
        fine("upstream-keepalive")
            .http("upstream app { server 127.0.0.1:{B}; keepalive 16; }")
            .server(at("/ws", "http://app", WS)),
        fine("a-backup-that-is-down")
            .second(Play::Nobody)
            .http("upstream app { server 127.0.0.1:{B}; server 127.0.0.1:{B2} backup; }")
            .server(at("/ws", "http://app", WS)),
        fine("a-peer-taken-out")
            .second(Play::Nobody)
            .http("upstream app { ip_hash; server 127.0.0.1:{B}; server 127.0.0.1:{B2} down; }")
            .server(at("/ws", "http://app", WS)),
        fine("split-clients")
            .second(Play::Tcp(echo))
            .http(
                "split_clients $remote_addr$request_id $app { 50% a; * b; } upstream a { server 127.0.0.1:{B}; } \
                 upstream b { server 127.0.0.1:{B2}; }",
            )
            .server(at("/ws", "http://$app", WS)),
        fine("two-nginx-in-a-row")
            .server(at("/ws", "http://127.0.0.1:{P2}", WS))
            .servers(format!("server {{ listen 127.0.0.1:{{P2}}; server_name inner.test; {} }}", ws("/ws", ""))),
        fine("tls-to-the-backend")
            .backend(Play::Tls("backend", echo))
            .no_direct()
            .server(at(
                "/ws",
                "https://127.0.0.1:{B}",
                &format!(
                    "{WS} proxy_ssl_verify on; proxy_ssl_trusted_certificate {{CERTS}}/ca.crt; proxy_ssl_name backend.test; \
                     proxy_ssl_server_name on;"
                ),
            )),
        fine("a-subprotocol-agreed")
            .script(|a| match echo(a) {
                Deed::Open(then, _) => Deed::Open(then, "Sec-WebSocket-Protocol: mqtt\r\n".to_owned()),
                other => other,
            })
            .server(ws("/ws", ""))
            .flags(&["--subprotocol", "mqtt"]),
        fine("a-slow-handshake")
            .script(|a| {
                std::thread::park_timeout(Duration::from_millis(1_200));
                echo(a)
            })
            .server(ws("/ws", ""))
            .told(&["handshake-slow"]),
        fine("the-server-pings-before-the-timeout")
            .script(|a| strict(a, Then::Speaks(Duration::from_millis(400))))
            .server(ws("/ws", "proxy_read_timeout 2s;"))
            .level("info")
            .flags(&["--hold", "2500ms"])
            .given(|w| w.hold(3)),
    ]
}

fn logs() -> Vec<Row> {
    vec![
        fine("a-log-in-json").http(
            "log_format json escape=json '{ \"t\": \"$time_iso8601\", \"status\": \"$status\", \"uri\": \"$request_uri\", \"rt\": \"$request_time\" }';",
        )
        .log("logs/access.log json")
        .server(ws("/ws", "")),
        fine("no-access-log").log("off").server(ws("/ws", "")),
        fine("errors-to-stderr").level("stderr warn").server(ws("/ws", "")),
        fine("errors-to-syslog").level("syslog:server=127.0.0.1:1,facility=local7 warn").server(ws("/ws", "")),
        fine("long-timeouts-at-level-crit")
            .level("crit")
            .server(ws("/ws", "proxy_read_timeout 7d; proxy_send_timeout 7d; proxy_connect_timeout 75s;")),
        fine("a-log-for-the-location-alone").log("off").server(ws("/ws", "access_log logs/ws.log; error_log logs/ws-error.log info;")),
    ]
}

fn listeners() -> Vec<Row> {
    const TRUSTED: [&str; 4] = ["--resolve", "example.test:{P}:127.0.0.1", "--cacert", "{CERTS}/ca.crt"];
    const CERT: &str = "ssl_certificate {CERTS}/good.crt; ssl_certificate_key {CERTS}/good.key;";
    let tls = |name| fine(name).url("wss://example.test:{P}/ws").flags(&TRUSTED).given(|_| {});
    vec![
        fine("ipv6").listen("[::1]:{P}").url("ws://[::1]:{P}/ws").server(ws("/ws", "")).given(|_| {}),
        fine("a-wildcard-listen").listen("{P} default_server").server(ws("/ws", "")).named("_"),
        tls("tls").listen("127.0.0.1:{P} ssl").server(format!("{CERT} {}", ws("/ws", ""))),
        tls("http2-beside-http1-since-1-25")
            .on(On::New)
            .listen("127.0.0.1:{P} ssl")
            .server(format!("http2 on; {CERT} {}", ws("/ws", ""))),
        tls("http2-beside-http1-before")
            .on(On::Old)
            .listen("127.0.0.1:{P} ssl http2")
            .server(format!("{CERT} {}", ws("/ws", ""))),
        fine("a-balancer-that-speaks-the-proxy-protocol")
            .listen("127.0.0.1:{P} proxy_protocol")
            .server(format!("set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol; {}", ws("/ws", "")))
            .flags(&["--proxy-protocol", "v1"])
            .given(|_| {}),
    ]
}

/// Outages that are over, and other ways of looking.
fn recovered() -> Vec<Row> {
    vec![
        fine("a-backend-that-was-started-again").server(ws("/ws", "")).given(|w| {
            w.backends[0].exit();
            w.is_answered(502);
            w.backends[0].revive();
            w.is_answered(101);
        }),
        fine("yesterday-s-outage").file("logs/error.log", YESTERDAY).server(ws("/ws", "")),
        fine("nobody-asked").unasked().server(ws("/ws", "")).given(|w| {
            w.hold(3);
            w.is_answered(101);
        }),
        fine("an-error-log-that-nobody-may-read")
            .apart()
            .without_rights()
            .server(ws("/ws", ""))
            .given(|w| {
                use std::os::unix::fs::PermissionsExt as _;
                std::fs::set_permissions(w.path("logs/error.log"), std::fs::Permissions::from_mode(0o600)).expect("ours");
                w.is_answered(101);
            })
            .told(&["error-log-unreadable"]),
        fine("a-file-touched-after-the-start").server(ws("/ws", "")).given(|w| {
            w.age();
            w.rewrite("example.test", "example.test");
            w.is_answered(101);
        }),
        fine("limits-that-only-watch")
            .http(
                "limit_conn_zone $server_name zone=all:1m; limit_conn_dry_run on; limit_req_zone $server_name zone=r:1m rate=1r/m; \
                 limit_req_dry_run on;",
            )
            .server(ws("/ws", "limit_conn all 1; limit_req zone=r;"))
            .given(|w| {
                w.hold(3);
                w.is_answered(101);
                w.has("dry run", 2);
            }),
        fine("requests-that-are-only-delayed")
            .level("warn")
            .http("limit_req_zone $server_name zone=r:1m rate=20r/s;")
            .server(ws("/ws", "limit_req zone=r burst=50;"))
            .given(|w| {
                (0..4).for_each(|_| w.is_answered(101));
                w.has("delaying request", 1);
            }),
        fine("credentials-that-are-right")
            .file("users", "app:{PLAIN}secret")
            .server(ws("/ws", "auth_basic app; auth_basic_user_file {DIR}/users;"))
            .flags(&["--basic", "app:secret"])
            .given(|w| w.is_answered(401)),
        fine("a-deep-look").server(ws("/ws", "")).flags(&["--deep"]),
    ]
}

const YESTERDAY: &str = concat!(
    "2020/01/02 03:04:05 [alert] 1#1: 16 worker_connections are not enough\n",
    "2020/01/02 03:04:05 [error] 1#1: *1 connect() failed (111: Connection refused) while connecting to upstream, ",
    "client: 127.0.0.1, server: example.test, request: \"GET /ws HTTP/1.1\", upstream: \"http://127.0.0.1:{B}/ws\", host: \"h\"\n",
    "2020/01/02 03:04:05 [alert] 1#1: worker process 2 exited on signal 11\n",
);

/// What happened before, or to others, and is no fault now.
fn pasts() -> Vec<Row> {
    vec![
        fine("clients-that-reset")
            .level("info")
            .server(ws("/ws", ""))
            .given(|w| {
                for _ in 0..12 {
                    let mut client = w.client();
                    client.send();
                    client.reset();
                }
                w.has("while proxying upgraded connection", 8);
            })
            .told(&["client-reset"]),
        fine("an-old-worker-that-drains")
            .server(ws("/ws", ""))
            .given(|w| {
                w.hold(2);
                w.reload();
                w.is_answered(101);
            })
            .told(&["workers-draining"]),
        fine("another-location-that-is-down")
            .second(Play::Nobody)
            .server(format!("{} {}", at("/api", "http://127.0.0.1:{B2}", ""), ws("/ws", "")))
            .given(|w| {
                assert_eq!(w.client_at("/api").status, 502);
                w.is_answered(101);
            }),
        fine("strangers-that-ask-for-nonsense")
            .level("info")
            .server(ws("/ws", ""))
            .given(|w| {
                for path in ["/wp-login.php", "/.env", "/ws/../../etc/passwd", "/ws?x=%00"] {
                    Client::open(w.port(), "example.test", path, "");
                }
                Client::say(w.port(), "\u{16}\u{3}\u{1}\r\n\r\n");
                Client::say(w.port(), "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n");
                w.is_answered(101);
            }),
        fine("plain-requests-refused-by-the-backend").server(ws("/ws", "")).given(|w| {
            for _ in 0..6 {
                let get = "GET /ws HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n";
                assert_eq!(Client::say(w.port(), get).status, 426);
            }
            w.is_answered(101);
        }),
        fine("a-reload-that-hurt-nobody")
            .main("worker_shutdown_timeout 1s;")
            .level("notice")
            .server(ws("/ws", ""))
            .given(|w| {
                w.is_answered(101);
                w.reload();
                w.is_answered(101);
            }),
        fine("silent-clients-that-were-cut-once")
            .level("info")
            .server(ws("/ws", "proxy_read_timeout 4s;"))
            .given(|w| {
                w.all_end(1);
                w.is_answered(101);
            }),
        fine("a-limit-that-nobody-reaches")
            .http("limit_conn_zone $binary_remote_addr zone=perip:1m; limit_req_zone $binary_remote_addr zone=r:1m rate=50r/s;")
            .server(ws("/ws", "limit_conn perip 20; limit_req zone=r burst=20 nodelay;")),
    ]
}
