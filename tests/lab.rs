//! The lab: a real nginx in a folder of its own, a scripted backend, and `wspulse check` to judge what it sees.
//! Scenarios assert finding ids and verdicts, not sentences.

mod support;

use std::net::TcpStream;
use std::process::Output;

use serde_json::Value;
use support::backend::{Backend, Script};
use support::nginx::{Nginx, UPGRADE, installed, location, newest};
use support::{eventually, free_port, run};
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};
use wspulse::time::Timestamp;

/// `check` on `url`, told which nginx is meant.
fn check(nginx: &Nginx, url: &str, more: &[&str]) -> (Value, Output) {
    let pid = nginx.pid().to_string();
    let mut args = vec!["check", url, "--pid", &pid, "--format", "json", "--timeout", "15s", "--hold", "500ms"];
    args.extend(more);
    let out = run(&args);
    let report = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| {
        panic!("no report ({e}): {}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
    });
    (report, out)
}

fn ids(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().expect("findings");
    findings.iter().filter_map(|f| f["id"].as_str()).collect()
}

fn status<'a>(report: &'a Value, check: &str) -> &'a str {
    let checks = report["checks"].as_array().expect("checks");
    let of_id = checks.iter().find(|c| c["id"] == check).unwrap_or_else(|| panic!("no check {check} in {checks:?}"));
    of_id["status"].as_str().expect("a status")
}

/// A client that opens a tunnel through nginx and keeps it.
fn open_tunnel(nginx: &Nginx, path: &str) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", nginx.port)).expect("nginx listens");
    client(nginx.url(path), stream).expect("a 101").0
}

#[test]
fn a_healthy_host_gets_no_finding_and_exit_code_0() {
    let Some(binary) = installed() else { return };
    let backend = Backend::start(Script::Echo);
    let nginx = Nginx::start(&binary, "info", "", &location("/ws", backend.port, UPGRADE));
    let direct = format!("ws://127.0.0.1:{}/ws", backend.port);
    let (report, out) = check(&nginx, &nginx.url("/ws"), &["--backend", &direct]);
    assert_eq!(report["verdict"], "healthy", "{report:#}");
    assert_eq!(out.status.code(), Some(0));
    for id in [
        "nginx-process",
        "config-valid",
        "upgrade-header",
        "connection-header",
        "backend",
        "handshake",
        "long-connection",
    ] {
        assert_eq!(status(&report, id), "pass", "{id}: {report:#}");
    }
}

#[test]
fn missing_upgrade_headers_are_named_with_their_location() {
    let Some(binary) = installed() else { return };
    let backend = Backend::start(Script::Echo);
    let nginx = Nginx::start(&binary, "error", "", &location("/ws", backend.port, "proxy_http_version 1.1;"));
    let direct = format!("ws://127.0.0.1:{}/ws", backend.port);
    let (report, out) = check(&nginx, &nginx.url("/ws"), &["--backend", &direct]);
    assert_eq!(report["verdict"], "broken", "{report:#}");
    assert_eq!(out.status.code(), Some(1));
    let first = &report["findings"][0];
    assert_eq!(first["id"], "upgrade-header-missing", "{report:#}");
    assert_eq!(first["subject"]["location"], "/ws");
    assert_eq!(status(&report, "upgrade-header"), "fail");
    assert_eq!(status(&report, "backend"), "pass");
}

#[test]
fn a_refused_backend_is_told_from_the_log_and_the_direct_twin() {
    let Some(binary) = installed() else { return };
    let nobody = free_port();
    let nginx = Nginx::start(&binary, "error", "", &location("/ws", nobody, UPGRADE));
    let direct = format!("ws://127.0.0.1:{nobody}/ws");
    let (report, out) = check(&nginx, &nginx.url("/ws"), &["--backend", &direct]);
    assert_eq!(report["verdict"], "broken", "{report:#}");
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(ids(&report)[0], "backend-refused", "{report:#}");
    assert!(report["errors"]["by_category"]["upstream-connect"].as_u64() >= Some(1), "{report:#}");
    assert_eq!(status(&report, "backend"), "fail");
}

#[test]
fn an_idle_cut_is_read_from_the_log() {
    let Some(binary) = installed() else { return };
    let backend = Backend::start(Script::Echo);
    let lines = format!("{UPGRADE}\n proxy_read_timeout 1s;");
    let nginx = Nginx::start(&binary, "info", "", &location("/ws", backend.port, &lines));
    let mut tunnel = open_tunnel(&nginx, "/ws");
    assert!(tunnel.read().is_err(), "a silent tunnel is cut");
    eventually("nginx to say so", || nginx.log("error.log").contains("upstream timed out").then_some(()));
    let (report, _) = check(&nginx, &nginx.url("/ws"), &[]);
    assert!(ids(&report).contains(&"idle-timeout-cuts"), "{report:#}");
    assert_eq!(report["sessions"]["count"].as_u64(), Some(1).max(report["sessions"]["count"].as_u64()));
}

#[test]
fn the_error_log_is_followed_through_a_rotation_by_usr1() {
    let Some(binary) = installed() else { return };
    let nobody = free_port();
    let nginx = Nginx::start(&binary, "error", "", &location("/ws", nobody, UPGRADE));
    let pid = nginx.pid().to_string();
    let mut stream = support::wspulse()
        .args(["stream", "--pid", &pid, "--for", "25s"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let lines = support::lines(stream.stdout.take().expect("its output"));
    support::wait_line(&lines, "the error log is followed", |l| l.contains("\"error-log\"") && l.contains("\"seen\""));
    let provoke = |n: u32| {
        let stream = TcpStream::connect(("127.0.0.1", nginx.port)).expect("nginx listens");
        assert!(client(nginx.url(&format!("/ws?n={n}")), stream).is_err(), "502");
    };
    provoke(1);
    support::wait_line(&lines, "the line before the rotation", |l| l.contains("/ws?n=1"));
    std::fs::rename(nginx.path("logs/error.log"), nginx.path("logs/error.log.1")).expect("renamed");
    nginx.signal(rustix::process::Signal::USR1);
    eventually("nginx to reopen its log", || nginx.path("logs/error.log").exists().then_some(()));
    provoke(2);
    support::wait_line(&lines, "the line after the rotation", |l| l.contains("/ws?n=2"));
    stream.kill().expect("ours");
    stream.wait().expect("ended");
}

#[test]
fn an_open_tunnel_is_paired_across_both_legs() {
    let Some(binary) = installed() else { return };
    let backend = Backend::start(Script::Echo);
    let nginx = Nginx::start(&binary, "error", "", &location("/ws", backend.port, UPGRADE));
    let mut tunnels: Vec<_> = (0..3).map(|_| open_tunnel(&nginx, "/ws")).collect();
    for t in &mut tunnels {
        t.send(Message::text("hello")).expect("sent");
        assert_eq!(t.read().expect("echoed"), Message::text("hello"));
    }
    let (report, _) = check(&nginx, &nginx.url("/ws"), &[]);
    assert!(report["tunnels"]["open"].as_u64() >= Some(3), "{report:#}");
}

/// Without a probe: only what the debug log shows of a client that came by itself.
fn a_client_is_refused_in_the_debug_log(binary: &std::path::Path) {
    let backend = Backend::start(Script::Echo);
    // The version and the Connection header are said, so that only Upgrade is missing, whatever this nginx sends by itself.
    let lines = "proxy_http_version 1.1;\n proxy_set_header Connection upgrade;";
    let nginx = Nginx::start(binary, "debug", "access_log off;", &location("/ws", backend.port, lines));
    let stream = TcpStream::connect(("127.0.0.1", nginx.port)).expect("nginx listens");
    assert!(client(format!("{}?token=s3cret", nginx.url("/ws")), stream).is_err(), "the backend is strict");
    eventually("nginx to answer", || nginx.log("error.log").contains("close http connection").then_some(()));
    let pid = nginx.pid().to_string();
    let out = run(&["check", "--pid", &pid, "--format", "json", "--timeout", "15s"]);
    let report: Value = serde_json::from_slice(&out.stdout).expect("a report");
    let finding = &report["findings"][0];
    assert_eq!(finding["id"], "upgrade-header-missing", "{report:#}");
    assert_eq!(finding["confidence"], "certain", "{finding:#}");
    let evidence = finding["evidence"].as_array().expect("evidence");
    let log = evidence.iter().find(|e| e["kind"] == "log").expect("the log is evidence");
    let said = log["said"].as_str().expect("words");
    assert!(
        said.starts_with("a client asked /ws for a WebSocket; nginx passed on \"GET /ws?token=*** HTTP/1.1\""),
        "{said}"
    );
    assert!(said.contains("without Upgrade: websocket, and got \"426 "), "{said}");

    let stream = run(&["stream", "--pid", &pid, "--since", "1h", "--for", "2s"]);
    let stream = String::from_utf8(stream.stdout).expect("text");
    let events = stream.lines().map(|l| serde_json::from_str::<Value>(l).expect("JSON"));
    let seen: Vec<Value> = events.filter_map(|e| e["data"]["handshakes"].as_array().cloned()).flatten().collect();
    let [one] = seen.as_slice() else { panic!("one handshake: {seen:#?}") };
    assert_eq!(one["upstream"], format!("127.0.0.1:{}", backend.port));
    assert!(one["answer"]["line"].as_str().is_some_and(|l| l.starts_with("HTTP/1.1 426")), "{one:#}");
    assert!(!one.to_string().contains("s3cret"), "{one:#}");
}

#[test]
fn a_client_s_handshake_in_a_debug_log_is_enough() {
    if let Some(binary) = installed() {
        a_client_is_refused_in_the_debug_log(&binary);
    }
}

#[test]
fn a_client_s_handshake_in_a_debug_log_is_enough_with_the_newest_nginx() {
    if let Some(binary) = newest() {
        a_client_is_refused_in_the_debug_log(&binary);
    }
}

#[test]
fn a_backend_s_own_log_is_followed_and_makes_a_finding_certain() {
    let Some(binary) = installed() else { return };
    let backend = Backend::start(Script::Echo);
    let nginx = Nginx::start(&binary, "error", "", &location("/ws", backend.port, "proxy_http_version 1.1;"));
    let app = nginx.path("app.log");
    let now = Timestamp::from_secs(
        i64::try_from(std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs()).expect("a time"),
    );
    std::fs::write(&app, format!("{now} ERROR Invalid Upgrade header\n")).expect("written");
    let app = app.to_string_lossy().into_owned();
    let (guess, _) = check(&nginx, &nginx.url("/ws"), &[]);
    assert_eq!(
        (&guess["findings"][0]["id"], &guess["findings"][0]["confidence"]),
        (&"upgrade-header-missing".into(), &"likely".into())
    );
    let (report, _) = check(&nginx, &nginx.url("/ws"), &["--backend-log", &app]);
    let finding = &report["findings"][0];
    assert_eq!(
        (&finding["id"], &finding["confidence"]),
        (&"upgrade-header-missing".into(), &"certain".into()),
        "{report:#}"
    );
    assert_eq!(report["backend"][0]["count"], 1, "{report:#}");
    assert!(guess.get("backend").is_none());
    // One that is not there is a light, not an end.
    let pid = nginx.pid().to_string();
    let gone = nginx.path("gone.log").to_string_lossy().into_owned();
    let out = run(&["stream", "--pid", &pid, "--for", "1s", "--backend-log", &gone]);
    let text = String::from_utf8(out.stdout).expect("text");
    let blind = text.lines().find(|l| l.contains("\"backend-log\"")).expect("its light");
    assert!(blind.contains("\"blind\"") && blind.contains("no such file"), "{blind}");
}
