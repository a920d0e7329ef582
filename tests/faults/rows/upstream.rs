//! The way from nginx to the backend: nobody there, no way there, silence, TLS that does not fit, names that lead nowhere.

use std::time::Duration;

use super::super::backend::{Deed, Play, answer, echo};
use super::super::row::{On, Row, WS, at, fault, ws};

pub fn rows() -> Vec<Row> {
    let mut rows = connecting();
    rows.extend(pools());
    rows.extend(silence());
    rows.extend(tls());
    rows.extend(names());
    rows
}

fn connecting() -> Vec<Row> {
    vec![
        fault("nobody-listens", &["backend-refused"])
            .backend(Play::Nobody)
            .server(ws("/ws", ""))
            .given(|w| w.is_answered(502))
            .subject("upstream", "127.0.0.1:{B}")
            .line("proxy_pass"),
        fault("nobody-asked-and-nobody-listens", &["backend-refused"])
            .unasked()
            .backend(Play::Nobody)
            .server(ws("/ws", ""))
            .given(|w| (0..3).for_each(|_| w.is_answered(502)))
            .subject("upstream", "127.0.0.1:{B}"),
        fault("nobody-listens-and-no-log-tells", &["backend-refused"])
            .backend(Play::Nobody)
            .level("/dev/null crit")
            .server(ws("/ws", ""))
            .given(|w| w.is_answered(502)),
        fault("another-websocket-location-is-down", &["backend-refused"])
            .second(Play::Nobody)
            .server(format!("{} {}", at("/api", "http://127.0.0.1:{B2}", WS), ws("/ws", "")))
            .given(|w| {
                assert_eq!(w.client_at("/api").status, 502);
                w.is_answered(101);
            })
            .degraded()
            .location("/api"),
        fault("no-socket", &["backend-socket-missing"])
            .server(at("/ws", "http://unix:{DIR}/gone.sock", WS))
            .no_direct()
            .given(|w| w.is_answered(502))
            .subject("upstream", "gone.sock"),
        fault("a-socket-without-rights", &["backend-permission-denied"])
            .backend(Play::Unix(echo))
            .server(at("/ws", "http://unix:{DIR}/app.sock", WS))
            .no_direct()
            .given(|w| {
                use std::os::unix::fs::PermissionsExt as _;
                std::fs::set_permissions(w.path("app.sock"), std::fs::Permissions::from_mode(0o000)).expect("rights");
                w.is_answered(502);
            })
            .subject("upstream", "app.sock"),
        fault("no-answer-to-a-connect", &["listen-queue-full"])
            .backend(Play::Deaf)
            .server(ws("/ws", "proxy_connect_timeout 1s;"))
            .no_direct()
            .given(|w| w.is_answered(504))
            .because("backend-connect-timeout", "listen-queue-full"),
        fault("packets-are-dropped", &["backend-connect-timeout"])
            .apart()
            .server(at("/ws", "http://10.9.0.2:80", &format!("{WS} proxy_connect_timeout 1s;")))
            .no_direct()
            .given(|w| w.is_answered(504))
            .subject("upstream", "10.9.0.2:80"),
        fault("there-is-no-route", &["backend-unreachable"])
            .apart()
            .server(at("/ws", "http://10.8.0.2:80", WS))
            .no_direct()
            .given(|w| w.is_answered(502))
            .subject("upstream", "10.8.0.2:80"),
    ]
}

fn pools() -> Vec<Row> {
    const POOL: &str = "upstream app { server 127.0.0.1:{B}; server 127.0.0.1:{B2}; }";
    let pool = |name, ids| fault(name, ids).http(POOL).server(at("/ws", "http://app", WS));
    vec![
        pool("one-of-two-is-down", &["backend-half-dead"])
            .second(Play::Nobody)
            .given(|w| (0..4).for_each(|_| w.is_answered(101)))
            .degraded()
            .subject("upstream", "127.0.0.1:{B2}"),
        pool("one-of-two-is-down-seen-directly", &["backend-half-dead"])
            .second(Play::Nobody)
            .direct("auto")
            .given(|w| w.is_answered(101))
            .degraded(),
        pool("one-of-two-refuses", &["backend-half-dead"])
            .second(Play::Tcp(|_| answer(503, "", "starting")))
            .direct("auto")
            .given(|_| {})
            .verdict(&["degraded", "broken"]),
        pool("both-are-down", &["backend-refused"])
            .backend(Play::Nobody)
            .second(Play::Nobody)
            .given(|w| {
                (0..3).for_each(|_| w.is_answered(502));
                w.has("no live upstreams", 1);
            })
            .because("no-live-upstreams", "backend-refused"),
        fault("the-only-one-is-marked-down", &["no-live-upstreams"])
            .http("upstream app { server 127.0.0.1:{B} down; server 127.0.0.1:{B2} down; }")
            .server(at("/ws", "http://app", WS))
            .second(Play::Tcp(echo))
            .given(|w| w.is_answered(502)),
    ]
}

fn silence() -> Vec<Row> {
    let with = |name, id, script| {
        fault(name, &[id])
            .script(script)
            .server(ws("/ws", "proxy_read_timeout 1s;"))
            .subject("upstream", "127.0.0.1:{B}")
    };
    vec![
        with("the-handshake-is-never-answered", "backend-handshake-timeout", |_| Deed::Hang)
            .given(|w| w.is_answered(504))
            .flags(&["--timeout", "4s"]),
        with("closed-before-an-answer", "backend-closed-early", |_| Deed::Close).given(|w| w.is_answered(502)),
        with("reset-before-an-answer", "backend-closed-early", |_| Deed::Reset).given(|w| w.is_answered(502)),
        with("half-an-answer", "backend-closed-early", |_| Deed::Say("HTTP/1.1 101 Switching".to_owned()))
            .given(|w| w.is_answered(502)),
        fault("timeout-zero", &["timeout-zero"])
            .script(|a| {
                std::thread::park_timeout(Duration::from_millis(50));
                echo(a)
            })
            .server(ws("/ws", "proxy_read_timeout 0;"))
            .given(|w| w.is_answered(504))
            .location("/ws")
            .line("proxy_read_timeout 0")
            .may(&["backend-handshake-timeout"])
            .patched(),
        fault("connect-timeout-zero", &["timeout-zero"])
            .server(ws("/ws", "proxy_connect_timeout 0;"))
            .given(|w| w.is_answered(504))
            .line("proxy_connect_timeout 0")
            .because("backend-connect-timeout", "timeout-zero")
            .patched(),
        fault("nobody-asked-and-the-timeout-is-zero", &["timeout-zero"])
            .unasked()
            .server(ws("/ws", "proxy_connect_timeout 0;"))
            .given(|w| w.is_answered(504))
            .line("proxy_connect_timeout 0")
            .because("backend-connect-timeout", "timeout-zero"),
        fault("timeout-zero-inherited", &["timeout-zero"])
            .script(|a| {
                std::thread::park_timeout(Duration::from_millis(50));
                echo(a)
            })
            .http("proxy_read_timeout 0s;")
            .server(ws("/ws", ""))
            .given(|w| w.is_answered(504))
            .line("proxy_read_timeout 0s")
            .because("backend-handshake-timeout", "timeout-zero")
            .patched(),
    ]
}

fn tls() -> Vec<Row> {
    const TLS_TO: &str = "https://127.0.0.1:{B}";
    const VERIFY: &str =
        "proxy_ssl_verify on; proxy_ssl_trusted_certificate {CERTS}/ca.crt; proxy_ssl_name backend.test;";
    let verified = |name, ids, cert| {
        fault(name, ids)
            .backend(Play::Tls(cert, echo))
            .server(at("/ws", TLS_TO, &format!("{WS} {VERIFY}")))
            .no_direct()
            .given(|w| w.is_answered(502))
            .subject("upstream", "127.0.0.1:{B}")
    };
    vec![
        fault("https-to-a-plain-backend", &["upstream-tls-scheme-mismatch"])
            .server(at("/ws", TLS_TO, WS))
            .script(|a| if a.uri().starts_with("/ws") { echo(a) } else { answer(400, "", "what") })
            .given(|w| w.is_answered(502))
            .location("/ws")
            .line("proxy_pass https")
            .because("upstream-tls-failed", "upstream-tls-scheme-mismatch")
            .patched(),
        fault("plain-to-a-tls-backend", &["upstream-tls-scheme-mismatch"])
            .backend(Play::Tls("good", echo))
            .server(ws("/ws", ""))
            .direct("wss://127.0.0.1:{B}/ws")
            .flags(&["--insecure"])
            .given(|_| {})
            .location("/ws")
            .line("proxy_pass http:")
            .patched(),
        fault("plain-to-a-tls-backend-and-no-twin", &["upstream-tls-scheme-mismatch"])
            .on(On::Old)
            .backend(Play::Tls("good", echo))
            .server(ws("/ws", ""))
            .no_direct()
            .given(|_| {})
            .because("backend-bad-response", "upstream-tls-scheme-mismatch")
            .because("bad-handshake-response", "upstream-tls-scheme-mismatch")
            .patched(),
        verified("the-backend-s-certificate-has-expired", &["upstream-tls-expired"], "expired"),
        verified("the-backend-s-certificate-is-untrusted", &["upstream-tls-untrusted"], "self"),
        verified("the-backend-s-certificate-is-another-s", &["upstream-tls-name-mismatch"], "other"),
    ]
}

fn names() -> Vec<Row> {
    let named = |name, ids, resolver: &str, host: &str| {
        fault(name, ids)
            .server(format!("{resolver} set $app {host}; {}", at("/ws", "http://$app:{B}", WS)))
            .no_direct()
            .given(|w| w.is_answered(502))
            .location("/ws")
    };
    vec![
        named("no-resolver", &["resolver-missing"], "", "app.lab.test"),
        named(
            "a-name-that-nobody-knows",
            &["upstream-name-unresolved"],
            "resolver 127.0.0.1:{B2} ipv6=off;",
            "gone.lab.test",
        )
        .second(Play::Names),
        named(
            "a-resolver-that-does-not-answer",
            &["upstream-name-unresolved"],
            "resolver 127.0.0.1:{B2}; resolver_timeout 1s;",
            "app.lab.test",
        )
        .second(Play::Nobody),
    ]
}
