//! Tunnels that were open and die.

use std::time::Duration;

use super::super::backend::{Then, echo, strict};
use super::super::row::{On, Row, fault, fine, ws};
use super::super::world::World;

const NOW: Duration = Duration::from_millis(100);
const SOON: Duration = Duration::from_millis(700);

pub fn rows() -> Vec<Row> {
    let mut rows = cuts();
    rows.extend(by_the_backend());
    rows.extend(by_nginx());
    rows
}

fn cuts() -> Vec<Row> {
    let cut = |name| {
        fault(name, &["idle-timeout-cuts"])
            .server(ws("/ws", "proxy_read_timeout 1s;"))
            .given(|w| w.all_end(8))
            .degraded()
            .location("/ws")
            .line("proxy_read_timeout 1s")
            .patched()
    };
    vec![
        cut("silent-tunnels-cut-at-the-default-level").on(On::Both),
        cut("silent-tunnels-cut-at-level-info").level("info"),
        cut("silent-tunnels-cut-at-level-crit").level("crit"),
        cut("silent-tunnels-cut-in-a-combined-log").log("logs/access.log combined").level("info"),
    ]
}

fn by_the_backend() -> Vec<Row> {
    vec![
        fault("the-backend-resets", &["backend-reset"])
            .script(|a| strict(a, Then::Resets(SOON)))
            .server(ws("/ws", ""))
            .given(|w| {
                w.all_end(6);
                w.has("while proxying upgraded connection", 6);
            })
            .flags(&["--hold", "2s"])
            .verdict(&["degraded", "broken"])
            .subject("upstream", "127.0.0.1:{B}"),
        fault("the-backend-says-1011", &["backend-closed-with-code"])
            .script(|a| strict(a, Then::Closes(NOW, 1011)))
            .server(ws("/ws", ""))
            .given(|w| w.all_end(3))
            .verdict(&["degraded", "broken"]),
        fault("the-backend-has-a-code-of-its-own", &["backend-closed-with-code"])
            .script(|a| strict(a, Then::Closes(NOW, 4001)))
            .server(ws("/ws", ""))
            .given(|w| w.all_end(1))
            .verdict(&["degraded", "broken"]),
        fault("the-backend-just-leaves", &["backend-went-away"])
            .script(|a| strict(a, Then::Leaves(NOW)))
            .server(ws("/ws", ""))
            .given(|w| w.all_end(2))
            .verdict(&["degraded", "broken"]),
        fault("the-backend-s-process-ends", &["backend-refused"]).server(ws("/ws", "")).given(|w| {
            w.hold(3);
            w.backends[0].exit();
            w.are_cut();
            w.is_answered(502);
        }),
        fault("tunnels-end-at-one-age", &["max-age-cuts"])
            .script(|a| strict(a, if a.uri().contains("probe") { Then::Echo } else { Then::Leaves(SOON) }))
            .server(ws("/ws", ""))
            .given(World::busy_tunnels_end)
            .flags(&["--hold", "2s", "--ping-interval", "200ms"])
            .degraded(),
        fault("the-backend-tires-of-silence", &["backend-went-away"])
            .script(|a| strict(a, Then::Tires(SOON)))
            .server(ws("/ws", ""))
            .given(|w| w.all_end(8))
            .flags(&["--hold", "1500ms"])
            .verdict(&["degraded", "broken"]),
        fault("clients-come-back-in-a-storm", &["backend-reset"])
            .script(|a| strict(a, Then::Resets(NOW)))
            .server(ws("/ws", ""))
            .given(|w| {
                (0..6).for_each(|_| w.all_end(10));
                w.has("while proxying upgraded connection", 60);
            })
            .verdict(&["degraded", "broken"])
            .because("reconnect-storm", "backend-reset"),
    ]
}

fn by_nginx() -> Vec<Row> {
    vec![
        fault("clients-do-not-read", &["stalled-reader"])
            .script(|a| if a.uri().contains("flood") { strict(a, Then::Floods) } else { echo(a) })
            .level("info")
            .server(ws("/ws", "send_timeout 1s;"))
            .given(|w| {
                w.stall(4);
                w.has("client timed out", 4);
            })
            .degraded()
            .location("/ws"),
        fault("a-reload-cuts", &["reload-cuts"])
            .main("worker_shutdown_timeout 1s;")
            .level("notice")
            .server(ws("/ws", ""))
            .given(|w| {
                w.hold(8);
                w.reload();
                w.are_cut();
                w.has_served(" 101 ", 8);
            })
            .degraded()
            .line("worker_shutdown_timeout"),
        fault("a-worker-is-killed", &["worker-crash"])
            .server(ws("/ws", ""))
            .given(|w| {
                w.hold(3);
                w.kill_worker(rustix::process::Signal::KILL);
                w.are_cut();
                w.has("exited on signal 9", 1);
            })
            .degraded(),
        fault("nobody-asked-and-tunnels-are-cut", &["idle-timeout-cuts"])
            .unasked()
            .server(ws("/ws", "proxy_read_timeout 1s;"))
            .given(|w| w.all_end(8))
            .degraded()
            .location("/ws"),
        fault("a-worker-crashes", &["worker-crash"])
            .server(ws("/ws", ""))
            .given(|w| {
                w.hold(3);
                w.kill_worker(rustix::process::Signal::SEGV);
                w.are_cut();
                w.has("exited on signal 11", 1);
            })
            .degraded(),
        fine("heartbeats-that-race-the-timeout")
            .script(|a| strict(a, Then::Speaks(Duration::from_millis(2_800))))
            .level("info")
            .server(ws("/ws", "proxy_read_timeout 3s;"))
            .given(|w| w.hold(4))
            .flags(&["--hold", "9s", "--timeout", "14s", "--interval", "200ms"])
            .told(&["heartbeat-races-timeout"]),
    ]
}
