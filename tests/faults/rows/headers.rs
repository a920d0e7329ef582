//! The upgrade headers and the HTTP version, in every form in which they go wrong; each fault is mended by its patch.

use super::super::row::{MAP, On, Row, WS, at, fault, ws};

const OLD: &str = "proxy_http_version 1.1;";
const UPGRADE: &str = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;";
const CONNECTION: &str = "proxy_http_version 1.1; proxy_set_header Connection $connection_upgrade;";

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        fault("no-upgrade-headers", &["upgrade-header-missing"]).ws_location(OLD).on(On::Both).line("proxy_pass"),
        fault("bare-proxy-pass", &["upgrade-header-missing"]).only_http("").ws_location(""),
        fault("upgrade-missing", &["upgrade-header-missing"]).ws_location(CONNECTION).line("proxy_pass"),
        fault("upgrade-empty", &["upgrade-header-missing", "upgrade-header-wrong-value"])
            .ws_location(&format!("{CONNECTION} proxy_set_header Upgrade \"\";"))
            .line("Upgrade \"\""),
        fault("upgrade-http2", &["upgrade-header-wrong-value"])
            .ws_location(&format!("{CONNECTION} proxy_set_header Upgrade \"http2\";"))
            .line("Upgrade \"http2\""),
        fault("upgrade-from-the-connection-header", &["upgrade-header-wrong-value"])
            .ws_location(&format!("{CONNECTION} proxy_set_header Upgrade $http_connection;"))
            .line("$http_connection"),
        fault("upgrade-from-the-map", &["upgrade-header-wrong-value"])
            .ws_location(&format!("{CONNECTION} proxy_set_header Upgrade $connection_upgrade;"))
            .line("Upgrade $connection_upgrade"),
        fault("upgrade-misspelt", &["upgrade-header-missing", "upgrade-header-wrong-value"])
            .ws_location(&format!("{CONNECTION} proxy_set_header Upgrade $http_upgrad;"))
            .line("$http_upgrad"),
        fault("nobody-asked-and-clients-are-refused", &["upgrade-header-missing"])
            .unasked()
            .server(at("/ws", "http://127.0.0.1:{B}", CONNECTION))
            .log("logs/access.log up")
            .http("log_format up '$remote_addr [$time_local] \"$request\" $status up=$http_upgrade';")
            .given(|w| (0..5).for_each(|_| w.is_answered(426)))
            .url("ws://127.0.0.1:{P}/ws"),
        fault("no-twin-to-compare-with", &["upgrade-header-missing"]).no_direct().ws_location(OLD),
        fault("a-misspelt-variable-and-no-twin", &["upgrade-header-wrong-value"])
            .no_direct()
            .ws_location(&format!("{CONNECTION} proxy_set_header Upgrade $http_upgrad;"))
            .line("$http_upgrad"),
        fault("connection-missing", &["connection-header-missing"]).ws_location(UPGRADE).on(On::Both),
    ];
    rows.extend(connections());
    rows.extend(inheritance());
    rows.extend(versions());
    rows.into_iter()
        .map(|r| if r.want.subject.is_empty() { r.location("/ws") } else { r })
        .map(|r| if r.unasked { r } else { r.patched() })
        .collect()
}

/// Values of `Connection` that are not `upgrade`.
fn connections() -> Vec<Row> {
    let with = |name, value: &str| {
        fault(name, &["connection-header-wrong"])
            .ws_location(&format!("{UPGRADE} proxy_set_header Connection {value};"))
            .line("proxy_set_header Connection")
    };
    vec![
        with("connection-empty", "\"\"").on(On::Both),
        with("connection-close", "close"),
        with("connection-keep-alive", "\"keep-alive\""),
        // A misspelt $connection_upgrade does not start; this one does, and is empty.
        with("connection-misspelt", "$http_connection_upgrade"),
        with("connection-map-turned-round", "$connection_upgrade")
            .only_http("map $http_upgrade $connection_upgrade { default close; '' upgrade; }"),
        with("connection-map-of-another-variable", "$connection_upgrade")
            .only_http("map $http_x_upgrade $connection_upgrade { default upgrade; '' close; }"),
        with("connection-map-without-default", "$connection_upgrade")
            .only_http("map $http_upgrade $connection_upgrade { '' close; h2c upgrade; }"),
    ]
}

/// Headers that stand on an outer level and are lost on the way in.
fn inheritance() -> Vec<Row> {
    let lost = |name| fault(name, &["headers-lost-by-inheritance"]);
    vec![
        lost("lost-in-the-location")
            .server(WS)
            .ws_location("proxy_set_header X-Real-IP $remote_addr;")
            .line("X-Real-IP")
            .on(On::Both),
        lost("lost-in-a-nested-location")
            .server(format!(
                "location /app {{ proxy_pass http://127.0.0.1:{{B}}; {WS} {} }}",
                at("/app/ws", "http://127.0.0.1:{B}", "proxy_set_header X-App chat;")
            ))
            .url("ws://127.0.0.1:{P}/app/ws")
            .location("/app/ws"),
        lost("lost-by-an-include")
            .file("snippets/proxy.conf", "proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header Host $host;")
            .server(WS)
            .ws_location("include snippets/proxy.conf;"),
        lost("lost-in-the-server").http(WS).server("proxy_set_header Host $host;").ws_location(""),
    ]
}

fn versions() -> Vec<Row> {
    const HEADERS: &str = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;";
    vec![
        fault("http-1-0-written", &["http-version-too-old"])
            .ws_location(&format!("proxy_http_version 1.0; {HEADERS}"))
            .on(On::Both)
            .line("proxy_http_version 1.0"),
        fault("http-1-0-by-default", &["http-version-too-old"]).ws_location(HEADERS).on(On::Old),
        fault("http-1-0-inherited", &["http-version-too-old"])
            .http("proxy_http_version 1.0;")
            .ws_location(HEADERS)
            .line("proxy_http_version 1.0"),
        fault("headers-missing-in-one-of-two-servers", &["upgrade-header-missing"])
            .only_http(MAP)
            .server(ws("/chat", ""))
            .named("www.example.test")
            .servers(format!(
                "server {{ listen 127.0.0.1:{{P}}; server_name chat.example.test; {} }}",
                at("/ws", "http://127.0.0.1:{B}", OLD)
            ))
            .url("ws://chat.example.test:{P}/ws")
            .flags(&["--resolve", "chat.example.test:{P}:127.0.0.1"])
            .subject("server", "chat.example.test"),
    ]
}
