//! Handshakes that reach the wrong place, or are refused there.

use super::super::backend::{Asking, Deed, Play, Then, answer, echo};
use super::super::row::{Row, WS, at, fault, ws};
use super::super::world::Client;

/// Opens for one URI alone.
fn only(asking: &Asking, uri: &str) -> Deed {
    if asking.uri() == uri { echo(asking) } else { answer(404, "", "no such route") }
}

fn needs_token(asking: &Asking) -> Deed {
    if asking.uri().ends_with("?token=s3cret") { echo(asking) } else { answer(401, "", "a token is required") }
}

fn knows_its_host(asking: &Asking) -> Deed {
    let known = asking.header("host").is_some_and(|h| h.starts_with("example.test"));
    if known { echo(asking) } else { answer(400, "", "Invalid host header") }
}

fn checks_origin(asking: &Asking) -> Deed {
    let good = asking.header("origin").is_none_or(|o| o == "https://good.test");
    if good { echo(asking) } else { answer(403, "", "Request origin not allowed") }
}

/// As frameworks do that allow the same origin alone.
fn wants_its_own_origin(asking: &Asking) -> Deed {
    let host = asking.header("host").unwrap_or_default();
    let same = asking.header("origin").and_then(|o| o.split_once("://")).is_none_or(|(_, of)| of == host);
    if same { echo(asking) } else { answer(403, "", "Request origin not allowed") }
}

pub fn rows() -> Vec<Row> {
    let mut rows = elsewhere();
    rows.extend(redirects());
    rows.extend(changed());
    rows.extend(refused());
    rows.extend(denied());
    rows.extend(wrong_answers());
    rows
}

/// nginx itself answers, from a location or a server that was not meant.
fn elsewhere() -> Vec<Row> {
    let mismatch = |name| fault(name, &["location-mismatch"]).given(|w| w.is_answered(404));
    vec![
        mismatch("a-regex-wins")
            .server(format!("{} location ~* \\.(txt|live)$ {{ root html; }}", ws("/chat", "")))
            .url("ws://127.0.0.1:{P}/chat/a.live")
            .direct("ws://127.0.0.1:{B}/chat/a.live")
            .line("location ~*"),
        mismatch("a-prefix-hides-the-regex")
            .server(format!("location ^~ /api/ {{ root html; }} {}", ws("~ ^/api/ws$", "")))
            .url("ws://127.0.0.1:{P}/api/ws")
            .direct("ws://127.0.0.1:{B}/api/ws")
            .line("location ^~ /api/"),
        mismatch("an-exact-location-wins")
            .server(format!("location = /ws {{ return 204; }} {}", ws("/ws", "")))
            .given(|w| w.is_answered(204))
            .line("location = /ws"),
        mismatch("an-application-page")
            .server(format!("location / {{ try_files $uri /index.html; }} {}", ws("/socket", "")))
            .given(|w| w.is_answered(200))
            .location("/"),
        mismatch("an-internal-location").server(ws("/ws", "internal;")).location("/ws"),
        fault("another-server", &["wrong-server-block"])
            .server("location / { root html; }")
            .named("www.example.test")
            .servers(format!("server {{ listen 127.0.0.1:{{P}}; server_name chat.example.test; {} }}", ws("/ws", "")))
            .url("ws://example.test:{P}/ws")
            .flags(&["--resolve", "example.test:{P}:127.0.0.1"])
            .given(|w| w.is_answered(404)),
    ]
}

fn redirects() -> Vec<Row> {
    let redirected = |name| fault(name, &["redirected"]).given(|w| w.is_answered(301));
    vec![
        redirected("the-last-slash").server(ws("/ws/", "")).location("/ws/").line("location /ws/"),
        redirected("to-https")
            .server(format!("return 301 https://$host$request_uri; {}", ws("/ws", "")))
            .line("return"),
        redirected("to-another-host")
            .server("location /ws { return 301 http://www.example.test$request_uri; }")
            .line("return"),
        fault("by-the-backend", &["redirected"])
            .script(|_| answer(302, "Location: /login\r\n", ""))
            .server(ws("/ws", ""))
            .given(|w| w.is_answered(302)),
        redirected("by-a-rewrite").server(format!("rewrite ^/ws$ /live/ws permanent; {}", ws("/live/ws", ""))),
    ]
}

/// The path or the query that the backend is asked for is not the client's.
fn changed() -> Vec<Row> {
    let rewritten = |name| {
        fault(name, &["uri-rewritten"])
            .url("ws://127.0.0.1:{P}/ws/chat")
            .direct("ws://127.0.0.1:{B}/ws/chat")
            .script(|a| only(a, "/ws/chat"))
            .given(|w| w.is_answered(404))
    };
    vec![
        rewritten("a-prefix-stripped")
            .server(at("/ws/", "http://127.0.0.1:{B}/", WS))
            .location("/ws/")
            .line("proxy_pass")
            .patched(),
        rewritten("a-prefix-doubled")
            .server(at("/ws/", "http://127.0.0.1:{B}/ws/ws/", WS))
            .line("proxy_pass")
            .patched(),
        rewritten("a-prefix-not-stripped")
            .server(at("/ws/", "http://127.0.0.1:{B}", WS))
            .script(|a| only(a, "/chat"))
            .direct("ws://127.0.0.1:{B}/chat")
            .line("proxy_pass")
            .patched(),
        rewritten("a-rewrite").server(ws("/ws/", "rewrite ^/ws/(.*)$ /$1 break;")).line("rewrite"),
        rewritten("a-prefix-stripped-and-no-twin")
            .wants(&["not-a-websocket-endpoint"])
            .no_direct()
            .server(at("/ws/", "http://127.0.0.1:{B}/", WS))
            .line("proxy_pass"),
        fault("the-query-dropped-and-no-twin", &["query-dropped"])
            .script(needs_token)
            .server(format!("set $b 127.0.0.1:{{B}}; {}", at("/ws", "http://$b/ws", WS)))
            .url("ws://127.0.0.1:{P}/ws?token=s3cret")
            .no_direct()
            .given(|w| w.is_answered(401))
            .line("proxy_pass")
            .patched(),
        fault("the-query-dropped", &["query-dropped"])
            .script(needs_token)
            .server(format!("set $b 127.0.0.1:{{B}}; {}", at("/ws", "http://$b/ws", WS)))
            .url("ws://127.0.0.1:{P}/ws?token=s3cret")
            .direct("ws://127.0.0.1:{B}/ws?token=s3cret")
            .given(|w| w.is_answered(401))
            .line("proxy_pass")
            .patched(),
    ]
}

/// Somebody says no: the backend, or nginx for it.
fn refused() -> Vec<Row> {
    vec![
        fault("the-backend-knows-another-host", &["host-header-rejected"])
            .script(knows_its_host)
            .server(at(
                "/ws",
                "http://127.0.0.1:{B}",
                "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;",
            ))
            .url("ws://example.test:{P}/ws")
            .flags(&["--resolve", "example.test:{P}:127.0.0.1", "--header", "X-Any: 1"])
            .direct("ws://example.test:{B}/ws")
            .flags(&["--resolve", "example.test:{B}:127.0.0.1"])
            .given(|w| w.is_answered(400)),
        fault("the-backend-knows-another-host-and-no-twin", &["host-header-rejected"])
            .script(knows_its_host)
            .server(at("/ws", "http://127.0.0.1:{B}", WS))
            .no_direct()
            .given(|w| w.is_answered(400))
            .line("Host $host"),
        fault("the-origin", &["origin-rejected"])
            .script(checks_origin)
            .server(ws("/ws", ""))
            .flags(&["--origin", "https://evil.test"])
            .given(|w| w.is_answered(101)),
        fault("the-backend-wants-credentials", &["auth-required"])
            .script(|_| answer(401, "WWW-Authenticate: Bearer\r\n", "who are you"))
            .server(ws("/ws", ""))
            .given(|w| w.is_answered(401)),
        fault("the-backend-forbids", &["backend-rejects-handshake", "access-denied"])
            .script(|_| answer(403, "", "not for you"))
            .server(ws("/ws", ""))
            .given(|w| w.is_answered(403)),
        fault("the-backend-has-no-such-path", &["not-a-websocket-endpoint"])
            .script(|a| only(a, "/socket"))
            .server(ws("/ws", ""))
            .given(|w| w.is_answered(404)),
        fault("the-backend-serves-a-page", &["not-a-websocket-endpoint"])
            .script(|_| answer(200, "", "<html>hello</html>"))
            .server(ws("/ws", ""))
            .given(|w| w.is_answered(200)),
        fault("the-backend-fails-inside", &["backend-rejects-handshake"])
            .script(|_| answer(500, "", "oops"))
            .server(ws("/ws", ""))
            .given(|w| w.is_answered(500)),
        fault("the-backend-is-overloaded", &["backend-rejects-handshake"])
            .script(|_| answer(503, "Retry-After: 5\r\n", "too many"))
            .server(ws("/ws", ""))
            .given(|w| w.is_answered(503)),
        fault("the-origin-is-not-the-host-that-nginx-sends", &["origin-rejected"])
            .script(wants_its_own_origin)
            .server(at(
                "/ws",
                "http://127.0.0.1:{B}",
                "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;",
            ))
            .url("ws://example.test:{P}/ws")
            .flags(&["--resolve", "example.test:{P}:127.0.0.1", "--origin", "http://example.test:{P}"])
            .no_direct()
            .given(|_| {}),
        fault("another-port-of-the-backend", &["not-a-websocket-endpoint", "backend-rejects-handshake"])
            .second(Play::Tcp(|_| answer(404, "", "an admin page")))
            .server(at("/ws", "http://127.0.0.1:{B2}", WS))
            .given(|w| w.is_answered(404)),
    ]
}

/// nginx says no, before the backend is asked.
fn denied() -> Vec<Row> {
    vec![
        fault("nginx-wants-credentials", &["auth-required"])
            .file("users", "app:{PLAIN}secret")
            .server(ws("/ws", "auth_basic app; auth_basic_user_file {DIR}/users;"))
            .given(|w| w.is_answered(401)),
        fault("nginx-denies", &["access-denied"])
            .server(ws("/ws", "deny 127.0.0.1;"))
            .given(|w| w.is_answered(403))
            .location("/ws"),
        fault("nginx-denies-in-an-if", &["access-denied"])
            .server(ws("/ws", "if ($arg_token = \"\") { return 403; }"))
            .given(|w| w.is_answered(403))
            .location("/ws"),
        fault("nginx-denies-in-an-if-and-no-twin", &["access-denied"])
            .no_direct()
            .server(ws("/ws", "if ($arg_token = \"\") { return 403; }"))
            .given(|w| w.is_answered(403)),
        fault("nginx-denies-the-method", &["access-denied"])
            .server(ws("/ws", "limit_except POST { deny all; }"))
            .given(|w| w.is_answered(403))
            .location("/ws"),
        fault("nginx-turns-websockets-away", &["access-denied", "location-mismatch"])
            .server(ws("/ws", "if ($http_upgrade) { return 404; }"))
            .given(|w| w.is_answered(404))
            .location("/ws"),
        fault("a-default-server-that-hangs-up", &["wrong-server-block", "bad-handshake-response"])
            .server("return 444;")
            .named("_")
            .servers(format!("server {{ listen 127.0.0.1:{{P}}; server_name chat.example.test; {} }}", ws("/ws", "")))
            .url("ws://example.test:{P}/ws")
            .flags(&["--resolve", "example.test:{P}:127.0.0.1"])
            .given(|_| {}),
        fault("an-auth-request-is-upgraded", &["upgrade-in-subrequest"])
            .server(format!(
                "{WS} location /ws {{ auth_request /auth; proxy_pass http://127.0.0.1:{{B}}; }} \
                 location = /auth {{ internal; proxy_pass http://127.0.0.1:{{B}}; }}"
            ))
            .given(|w| {
                w.client();
                w.has("connection upgrade in subrequest", 1);
            })
            .location("/"),
        fault("a-mirrored-handshake-is-upgraded", &["upgrade-in-subrequest"])
            .second(Play::Tcp(echo))
            .server(format!(
                "{WS} location /ws {{ mirror /mirror; proxy_pass http://127.0.0.1:{{B}}; }} \
                 location = /mirror {{ internal; proxy_pass http://127.0.0.1:{{B2}}; }}"
            ))
            .given(|w| {
                w.client();
                w.has("connection upgrade in subrequest", 1);
            }),
        fault("an-auth-request-is-refused", &["upgrade-in-subrequest"])
            .server(format!(
                "{WS} location /ws {{ auth_request /auth; proxy_pass http://127.0.0.1:{{B}}; }} \
                 location = /auth {{ internal; proxy_pass http://127.0.0.1:{{B2}}; proxy_pass_request_body off; }}"
            ))
            .second(Play::Tcp(|_| answer(400, "", "no upgrades here")))
            .given(|w| w.is_answered(500)),
    ]
}

/// The answer is a 101, or nearly.
fn wrong_answers() -> Vec<Row> {
    let answered = |name, id| fault(name, &[id]).server(ws("/ws", "")).given(|_| {});
    vec![
        answered("another-subprotocol", "subprotocol-mismatch")
            .script(|a| match echo(a) {
                Deed::Open(then, _) => Deed::Open(then, "Sec-WebSocket-Protocol: graphql-ws\r\n".to_owned()),
                other => other,
            })
            .flags(&["--subprotocol", "mqtt"]),
        fault("a-subprotocol-taken-out-by-nginx", &["subprotocol-mismatch"])
            .script(|a| match (echo(a), a.header("sec-websocket-protocol")) {
                (Deed::Open(then, _), Some("mqtt")) => {
                    Deed::Open(then, "Sec-WebSocket-Protocol: mqtt\r\n".to_owned())
                }
                (deed, _) => deed,
            })
            .server(ws("/ws", "proxy_set_header Sec-WebSocket-Protocol \"\";"))
            .flags(&["--subprotocol", "mqtt"])
            .given(|w| w.is_answered(101)),
        answered("no-subprotocol", "subprotocol-mismatch").flags(&["--subprotocol", "mqtt"]),
        answered("a-wrong-accept", "accept-mismatch").script(|_| {
            Deed::Say(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: bm90IHRoaXM=\r\n\r\n"
                    .to_owned(),
            )
        }),
        answered("a-101-for-another-protocol", "bad-handshake-response").script(|_| {
            Deed::Say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n".to_owned())
        }),
        fault("an-accept-hidden-by-nginx", &["accept-mismatch"])
            .server(ws("/ws", "proxy_hide_header Sec-WebSocket-Accept;"))
            .given(|w| w.is_answered(101)),
        fault("an-upgrade-hidden-by-nginx", &["bad-handshake-response"])
            .server(ws("/ws", "proxy_hide_header Upgrade;"))
            .given(|w| w.is_answered(101)),
        answered("garbage", "backend-bad-response")
            .script(|_| Deed::Say("SSH-2.0-OpenSSH_9.2p1 Debian\r\n".to_owned()))
            .given(|w| {
                Client::open(w.port(), "example.test", "/ws", "");
                w.has("upstream sent no valid HTTP", 1);
            })
            .subject("upstream", "127.0.0.1:{B}"),
        answered("a-broken-header", "backend-bad-response")
            .script(|_| Deed::Say("HTTP/1.1 101 Switching Protocols\r\nbad\u{0}name: 1\r\n\r\n".to_owned()))
            .given(|w| w.is_answered(502)),
        answered("too-much-header", "backend-header-too-big")
            .script(|_| Deed::Open(Then::Echo, format!("Set-Cookie: a={}\r\n", "x".repeat(9_000))))
            .given(|w| w.is_answered(502))
            .subject("upstream", "127.0.0.1:{B}"),
    ]
}
