//! Reaching nginx: TLS towards clients, ports that speak something else, names, and processes that are not there.

use super::super::backend::Play;
use super::super::row::{Cure, On, Row, WS, at, fault, ws};
use super::super::world::{Client, World};

const SITE: &str = "wss://example.test:{P}/ws";
const TRUSTED: [&str; 4] = ["--resolve", "example.test:{P}:127.0.0.1", "--cacert", "{CERTS}/ca.crt"];

fn is_silent(_: &mut World) {}

fn secured(name: &'static str, id: &'static str, cert: &str) -> Row {
    fault(name, &[id])
        .listen("127.0.0.1:{P} ssl")
        .server(format!(
            "ssl_certificate {{CERTS}}/{cert}.crt; ssl_certificate_key {{CERTS}}/{cert}.key; {}",
            ws("/ws", "")
        ))
        .url(SITE)
        .flags(&TRUSTED)
        .given(is_silent)
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        secured("the-certificate-has-expired", "tls-expired", "expired"),
        secured("the-certificate-is-untrusted", "tls-untrusted", "self"),
        secured("the-certificate-is-another-s", "tls-name-mismatch", "other"),
        secured("the-certificate-ends-soon", "tls-expires-soon", "soon").degraded(),
        secured("no-common-protocol", "tls-handshake-failed", "good").server("ssl_protocols TLSv1.1;").on(On::New),
        secured("the-handshake-is-rejected", "tls-handshake-failed", "good").server("ssl_reject_handshake on;"),
        secured("a-client-certificate-is-wanted", "auth-required", "good")
            .server("ssl_verify_client on; ssl_client_certificate {CERTS}/ca.crt;"),
        secured("plain-to-a-tls-port", "plain-to-tls-port", "good")
            .url("ws://example.test:{P}/ws")
            .given(|w| w.is_answered(400)),
        fault("tls-to-a-plain-port", &["tls-to-plain-port"])
            .server(ws("/ws", ""))
            .url(SITE)
            .flags(&TRUSTED)
            .given(is_silent),
        fault("http2-alone", &["http2-no-websocket"])
            .on(On::Old)
            .listen("127.0.0.1:{P} http2")
            .server(ws("/ws", ""))
            .given(is_silent),
        fault("nginx-expects-the-proxy-protocol", &["proxy-protocol-mismatch"])
            .listen("127.0.0.1:{P} proxy_protocol")
            .server(ws("/ws", ""))
            .given(is_silent)
            .line("proxy_protocol"),
        fault("nginx-does-not-expect-the-proxy-protocol", &["proxy-protocol-mismatch"])
            .level("info")
            .server(ws("/ws", ""))
            .flags(&["--proxy-protocol", "v1"])
            .given(|w| assert_eq!(Client::say(w.port(), "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n\r\n").status, 400)),
        fault("another-port", &["connect-refused"])
            .server(ws("/ws", ""))
            .backend(Play::Nobody)
            .url("ws://127.0.0.1:{B}/ws")
            .no_direct()
            .given(is_silent),
    ];
    rows.extend(processes());
    rows.extend(configuration());
    rows
}

fn processes() -> Vec<Row> {
    vec![
        fault("nginx-does-not-run", &["nginx-not-running"])
            .apart()
            .server(ws("/ws", ""))
            .given(World::stop)
            .because("connect-refused", "nginx-not-running"),
        fault("nginx-cannot-start", &["config-invalid"])
            .apart()
            .server(ws("/ws", ""))
            .flags(&["--nginx-conf", "{DIR}/nginx.conf"])
            .given(|w| {
                w.stop();
                w.rewrite("proxy_http_version 1.1;", "proxy_read_timeout soon;");
            })
            .line("proxy_read_timeout soon")
            .because("nginx-not-running", "config-invalid")
            .because("connect-refused", "nginx-not-running"),
        fault("a-name-that-does-not-exist", &["dns-failure"])
            .apart()
            .server(ws("/ws", ""))
            .url("ws://gone.lab.test:{P}/ws")
            .given(is_silent),
        fault("a-silent-address", &["connect-timeout"])
            .apart()
            .server(ws("/ws", ""))
            .url("ws://10.9.0.3:{P}/ws")
            .no_direct()
            .flags(&["--timeout", "4s"])
            .given(is_silent),
    ]
}

/// What is written is not what runs, or cannot run.
fn configuration() -> Vec<Row> {
    vec![
        fault("invalid-on-disk", &["config-invalid"])
            .server(ws("/ws", ""))
            .given(|w| w.rewrite("proxy_http_version 1.1;", "proxy_read_timeout soon;"))
            .degraded()
            .line("proxy_read_timeout soon"),
        fault("a-brace-is-missing", &["config-invalid"])
            .server(ws("/ws", ""))
            .given(|w| w.rewrite("location /ws {", "location /ws"))
            .degraded(),
        fault("mended-but-not-reloaded", &["config-not-reloaded"])
            .server(at("/ws", "http://127.0.0.1:{B}", "proxy_http_version 1.1;"))
            .given(|w| {
                w.is_answered(426);
                w.age();
                w.rewrite("proxy_http_version 1.1;", WS);
                w.is_answered(426);
            })
            .cured_by(Cure::Reload),
        fault("a-local-address-that-is-not-there", &["backend-rejects-handshake"])
            .server(ws("/ws", "proxy_bind 203.0.113.9;"))
            .given(|w| w.is_answered(500)),
        fault("moved-but-not-reloaded", &["config-not-reloaded"])
            .backend(Play::Nobody)
            .second(Play::Tcp(super::super::backend::echo))
            .server(ws("/ws", ""))
            .direct("ws://127.0.0.1:{B2}/ws")
            .given(|w| {
                w.is_answered(502);
                w.age();
                let (old, new) = (w.fill("{B};"), w.fill("{B2};"));
                w.rewrite(&old, &new);
            })
            .may(&["backend-refused"])
            .cured_by(Cure::Reload),
    ]
}
