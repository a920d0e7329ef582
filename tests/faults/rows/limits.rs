//! Limits that are hit: of connections, requests, descriptors, header bytes.

use super::super::row::{Row, fault, ws};
use super::super::world::Client;

pub fn rows() -> Vec<Row> {
    let mut rows = of_the_machine();
    rows.extend(of_nginx());
    rows.extend(of_headers());
    rows
}

/// The kernel's ports and a disk: in namespaces of their own.
fn of_the_machine() -> Vec<Row> {
    vec![
        fault("no-local-ports", &["ephemeral-ports-exhausted"])
            .apart()
            .server(ws("/ws", ""))
            .no_direct()
            .given(|w| {
                std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "50000 50007").expect("root may");
                w.hold_from(20_000..20_012);
                w.has("(99: ", 1);
            })
            .subject("upstream", "127.0.0.1:{B}"),
        fault("a-full-disk", &["disk-full"])
            .apart()
            .log("{DIR}/small/access.log")
            .server(ws("/ws", ""))
            .given(|w| {
                let small = w.path("small");
                std::fs::write(small.join("big"), vec![0; 1 << 20]).expect_err("it is small");
                w.is_answered(101);
                w.has("No space left on device", 1);
            })
            .degraded(),
    ]
}

fn of_nginx() -> Vec<Row> {
    vec![
        fault("a-peer-that-takes-one-connection", &["no-live-upstreams"])
            .http("upstream app { zone app 64k; server 127.0.0.1:{B} max_conns=1; }")
            .server(super::super::row::at("/ws", "http://app", super::super::row::WS))
            .given(|w| {
                w.hold(1);
                w.is_answered(502);
            }),
        fault("no-connection-slots", &["worker-connections-exhausted"])
            .connections(16)
            .server(ws("/ws", ""))
            .given(|w| {
                w.hold(5);
                for _ in 0..12 {
                    w.try_hold();
                }
                w.has("worker_connections are not enough", 1);
            })
            .may(&["worker-connections-low"])
            .line("worker_connections 16")
            .subject("resource", "worker_connections"),
        fault("few-connection-slots", &["worker-connections-low"])
            .connections(32)
            .server(ws("/ws", ""))
            .given(|w| w.hold(13))
            .degraded()
            .line("worker_connections 32"),
        fault("limit-conn", &["limit-conn"])
            .http("limit_conn_zone $binary_remote_addr zone=perip:1m;")
            .server(ws("/ws", "limit_conn perip 3;"))
            .given(|w| {
                w.hold(3);
                w.is_answered(503);
            })
            .location("/ws"),
        fault("limit-conn-of-the-server-answered-429", &["limit-conn"])
            .http("limit_conn_zone $server_name zone=all:1m; limit_conn_status 429;")
            .server(format!("limit_conn all 2; {}", ws("/ws", "")))
            .given(|w| {
                w.hold(2);
                w.is_answered(429);
            })
            .location("/ws"),
        fault("limit-req", &["limit-req"])
            .http("limit_req_zone $binary_remote_addr zone=slow:1m rate=1r/m;")
            .server(ws("/ws", "limit_req zone=slow;"))
            .given(|w| {
                w.is_answered(101);
                w.is_answered(503);
            })
            .location("/ws"),
        fault("no-descriptors", &["fds-exhausted"])
            .main("worker_rlimit_nofile 24;")
            .server(ws("/ws", ""))
            .given(|w| {
                w.hold(2);
                for _ in 0..16 {
                    w.try_hold();
                }
                w.has("(24: ", 1);
            })
            .subject("resource", "file descriptors"),
    ]
}

fn of_headers() -> Vec<Row> {
    vec![
        fault("a-large-cookie", &["headers-too-large"])
            .server(ws("/ws", ""))
            .flags(&["--cookie", LARGE])
            .given(|w| {
                let more = format!("Cookie: {LARGE}\r\n");
                assert_eq!(Client::open(w.port(), "example.test", "/ws", &more).status, 400);
            }),
        fault("many-large-cookies-at-level-info", &["headers-too-large"])
            .level("info")
            .server(format!("large_client_header_buffers 2 1k; {}", ws("/ws", "")))
            .flags(&["--header", "X-One: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"])
            .flags(&["--cookie", &LARGE[..1_500]])
            .given(|_| {}),
    ]
}

const LARGE: &str = {
    const BYTES: [u8; 9_000] = {
        let mut all = [b'x'; 9_000];
        all[1] = b'=';
        all
    };
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => "",
    }
};
