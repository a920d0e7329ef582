//! `wspulse sockets` against real loopback connections: with a port alone, and through a real nginx.
#![cfg(target_os = "linux")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Output, Stdio};

use serde_json::Value;
use support::backend::{Backend, Script};
use support::nginx::{Nginx, UPGRADE, installed, location};
use support::terminal::Terminal;
use support::{eventually, lines, run, wspulse};
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

fn text(out: &Output) -> String {
    String::from_utf8(out.stdout.clone()).expect("UTF-8")
}

fn errors(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// The report, which its schema accepts.
#[track_caller]
fn json(out: &Output) -> Value {
    let value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", text(out), errors(out)));
    accepts(&value);
    value
}

#[track_caller]
fn accepts(value: &Value) {
    let wrong = complaints(value);
    assert!(wrong.is_empty(), "{wrong:#?}\n{value:#}");
}

fn complaints(value: &Value) -> Vec<String> {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/schema/sockets-1.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(schema).expect("the schema")).expect("JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    validator.iter_errors(value).map(|e| format!("{e} at {}", e.instance_path)).collect()
}

/// A listener and an accepted connection to it.
fn connection() -> (TcpListener, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let client = TcpStream::connect(listener.local_addr().expect("its address")).expect("connected");
    let (server, _) = listener.accept().expect("accepted");
    (listener, client, server)
}

/// Process 1 is no nginx: what other nginx of this host hold is not looked at.
const ALONE: [&str; 3] = ["--no-exec", "--pid", "1"];

fn watching(port: &str, more: &[&str]) -> Output {
    let mut args = vec!["sockets", "--port", port];
    args.extend(ALONE);
    args.extend(more);
    run(&args)
}

#[test]
fn a_port_alone_shows_every_connection_at_either_end() {
    let (listener, mut client, mut server) = connection();
    client.write_all(&[7; 1_000]).expect("sent");
    server.read_exact(&mut [0; 1_000]).expect("received");
    let port = listener.local_addr().expect("its address").port().to_string();
    let report = json(&watching(&port, &["--format", "json"]));
    assert_eq!(report["tunnels"], Value::Array(Vec::new()));
    let legs = report["unpaired"].as_array().expect("legs");
    let ends = (client.local_addr().expect("address").to_string(), client.peer_addr().expect("address").to_string());
    let of = |local: &str| legs.iter().find(|l| l["local"] == local).unwrap_or_else(|| panic!("{report:#}"));
    let (ours, theirs) = (of(&ends.0), of(&ends.1));
    assert_eq!((&ours["peer"], &theirs["peer"]), (&Value::from(ends.1.clone()), &Value::from(ends.0.clone())));
    assert_eq!(theirs["state"], "established");
    if report["source"] == "netlink" {
        assert_eq!(theirs["bytes_received"], 1_000);
        // The kernel counts the SYN too (net/ipv4/tcp_input.c, tcp_snd_una_update).
        assert!(ours["bytes_acked"].as_u64() >= Some(1_000), "{ours:#}");
        let listens = report["listeners"].as_array().expect("listeners");
        assert!(listens.iter().any(|l| l["local"] == ends.1.as_str() && l["queue"] == 0), "{report:#}");
    }
    for (pointer, wrong) in [
        ("/source", Value::from("ss")),
        ("/unpaired/0/state", Value::from("open")),
        ("/unpaired/0/peer", Value::from("somewhere")),
        ("/unpaired/0/rtt_us", Value::from(-1)),
        ("/headroom", Value::Null),
    ] {
        let mut bad = report.clone();
        *bad.pointer_mut(pointer).expect(pointer) = wrong;
        assert!(!complaints(&bad).is_empty(), "the schema takes a wrong {pointer}");
    }
    // Nothing moved while it looked: two looks make that a known zero, in text as in numbers.
    let shown = text(&watching(&port, &["--filter", &format!("local={}", ends.1)]));
    let row = shown.lines().find(|l| l.contains(&ends.0)).unwrap_or_else(|| panic!("{shown}"));
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words[1..4], [ends.1.as_str(), ends.0.as_str(), "established"], "{shown}");
    assert!(report["source"] != "netlink" || words[7..9] == ["0", "0"], "{shown}");
    assert!(!shown.contains('\u{1b}'), "no colour in a pipe: {shown}");
}

#[test]
fn without_byte_counts_they_are_unknown_and_not_zero() {
    let (listener, client, _server) = connection();
    let port = listener.local_addr().expect("its address").port().to_string();
    let report = json(&watching(&port, &["--format", "json", "--sockets", "proc", "--for", "200ms"]));
    assert_eq!(report["source"], "procfs");
    let local = client.local_addr().expect("address").to_string();
    let legs = report["unpaired"].as_array().expect("legs");
    let leg = legs.iter().find(|l| l["local"] == local.as_str()).unwrap_or_else(|| panic!("{report:#}"));
    for unknown in ["bytes_received", "bytes_acked", "rtt_us", "last_data_sent_ms", "cookie"] {
        assert_eq!(leg[unknown], Value::Null, "{unknown}");
    }
}

#[test]
fn a_filter_keeps_what_fits_and_a_wrong_one_says_where() {
    let (listener, client, _server) = connection();
    let port = listener.local_addr().expect("its address").port().to_string();
    let local = client.local_addr().expect("address").to_string();
    let legs = |filter: &str| {
        let report = json(&watching(&port, &["--format", "json", "--for", "100ms", "--filter", filter]));
        report["unpaired"].as_array().expect("legs").len()
    };
    assert_eq!(legs(&format!("local={local}")), 1);
    assert_eq!(legs("client:127.0.0.0/8 !state:listen age<1h"), 2);
    assert_eq!(legs("client:10.0.0.0/8"), 0);
    assert_eq!(legs("left>0"), 0, "unknown fulfils no comparison");
    for (args, said) in [
        (["--filter", "open idle>30x"], "  open idle>30x\n            ^"),
        (["--filter", "colour:red"], "no key 'colour'; known here are client, worker"),
        (["--sort", "colour"], "no column 'colour'; there are client, worker"),
    ] {
        let out = watching(&port, &args);
        assert_eq!(out.status.code(), Some(2));
        assert!(errors(&out).contains(said) && out.stdout.is_empty(), "{}", errors(&out));
    }
    assert_eq!(run(&["sockets", "--port", "0"]).status.code(), Some(2));
}

#[test]
fn watching_prints_a_line_each_time_until_it_is_told_to_end() {
    let (listener, _client, _server) = connection();
    let port = listener.local_addr().expect("its address").port().to_string();
    let mut child = wspulse()
        .args(["sockets", "--port", &port, "--watch", "--interval", "100ms", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let told = lines(child.stdout.take().expect("a pipe"));
    for _ in 0..3 {
        let line = told.recv_timeout(support::PATIENCE).expect("a line");
        accepts(&serde_json::from_str(&line).expect("JSON"));
    }
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("our child");
    let status = eventually("it to end", || child.try_wait().expect("our child"));
    assert_eq!(status.code(), Some(130));
    let out = watching(&port, &["--watch", "--interval", "100ms", "--for", "350ms"]);
    assert_eq!(out.status.code(), Some(0));
    assert!(text(&out).matches(" Tunnels  ").count() >= 3, "{}", text(&out));
}

#[test]
fn the_other_commands_watch_a_port_that_was_asked_for_too() {
    let (listener, client, _server) = connection();
    let port = listener.local_addr().expect("its address").port().to_string();
    let out = run(&["stream", "--port", &port, "--for", "1s", "--no-exec"]);
    let local = client.local_addr().expect("address").to_string();
    let rows = text(&out)
        .lines()
        .map(|l| serde_json::from_str::<Value>(l).expect("JSON"))
        .filter(|e| e["event"] == "sockets")
        .flat_map(|e| e["data"]["rows"].as_array().cloned().unwrap_or_default())
        .collect::<Vec<_>>();
    assert!(rows.iter().any(|r| r["local"] == local.as_str()), "{rows:?}");
}

#[test]
fn on_a_terminal_the_table_keeps_to_its_width() {
    let (listener, _client, _server) = connection();
    let port = listener.local_addr().expect("its address").port().to_string();
    let mut command = wspulse();
    command.args(["sockets", "--port", &port, "--watch", "--interval", "200ms"]).args(ALONE);
    let terminal = Terminal::start(command, 12, 60);
    terminal.shows("Unpaired  2 legs");
    let shown = terminal.text();
    assert!(shown.lines().all(|l| l.chars().count() <= 60) && shown.lines().count() <= 12, "{shown}");
    let head = shown.lines().find(|l| l.contains("LOCAL")).unwrap_or_default();
    assert!(head.contains("PEER") && !head.contains("RETRANS"), "what matters least leaves: {shown}");
}

#[test]
fn without_nginx_and_without_a_port_it_says_what_would_help() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let conf = dir.path().join("nginx.conf");
    std::fs::write(&conf, "events {}\nhttp {}\n").expect("written");
    let conf = conf.display().to_string();
    let out = run(&["sockets", "--pid", "1", "--format", "json", "--for", "100ms", "--nginx-conf", &conf]);
    let report = json(&out);
    assert_eq!((out.status.code(), &report["source"]), (Some(0), &Value::Null), "{report:#}");
    let said = errors(&out);
    assert!(said.contains("--port N") && said.lines().count() == 1, "{said}");
}

/// A client that opens a tunnel through nginx and keeps it.
fn open_tunnel(nginx: &Nginx, path: &str) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", nginx.port)).expect("nginx listens");
    client(nginx.url(path), stream).expect("a 101").0
}

#[test]
fn a_tunnel_through_nginx_is_one_row_with_both_legs() {
    let Some(binary) = installed() else { return };
    let backend = Backend::start(Script::Echo);
    let lines = format!("{UPGRADE}\n proxy_read_timeout 77s;");
    let nginx = Nginx::start(&binary, "info", "", &location("/ws", backend.port, &lines));
    let mut tunnel = open_tunnel(&nginx, "/ws");
    for _ in 0..3 {
        tunnel.send(Message::text("x".repeat(500))).expect("sent");
        tunnel.read().expect("the echo");
    }
    let pid = nginx.pid().to_string();
    let look = |more: &[&str]| {
        let mut args = vec!["sockets", "--pid", &pid];
        args.extend(more);
        run(&args)
    };
    let report = json(&look(&["--format", "json"]));
    let tunnels = report["tunnels"].as_array().expect("tunnels");
    assert_eq!(tunnels.len(), 1, "{report:#}");
    let t = &tunnels[0];
    let client = tunnel.get_ref().local_addr().expect("address").to_string();
    let upstream = format!("127.0.0.1:{}", backend.port);
    assert_eq!((&t["client"], &t["upstream"]), (&Value::from(client.clone()), &Value::from(upstream.clone())));
    assert_eq!((&t["location"], &t["state"]), (&Value::from("/ws"), &Value::from("open")));
    assert_eq!(t["client_leg"]["local"], format!("127.0.0.1:{}", nginx.port));
    assert_eq!(t["upstream_leg"]["peer"], upstream.as_str());
    if report["source"] == "netlink" {
        assert_eq!(t["read_timeout_s"], 77.0);
        let left = t["time_left_s"].as_f64().expect("known");
        assert!((60.0..=77.0).contains(&left), "{left}");
        assert!(t["client_leg"]["bytes_received"].as_u64() > Some(1_500), "{t:#}");
        assert!(t["down_per_s"].is_f64() && t["up_per_s"].is_f64(), "several looks make a rate: {t:#}");
    }
    let shown = text(&look(&[]));
    let row = shown.lines().find(|l| l.contains(&client)).unwrap_or_else(|| panic!("{shown}"));
    assert!(row.contains(&upstream) && row.contains(" /ws ") && row.contains(" open "), "{shown}");
    let grouped = json(&look(&["--format", "json", "--group-by", "location", "--for", "300ms"]));
    assert_eq!((&grouped["group_by"], &grouped["groups"][0]["name"]), (&Value::from("location"), &Value::from("/ws")));
    assert_eq!(grouped["groups"][0]["tunnels"], 1);
    let none = json(&look(&["--format", "json", "--filter", "location:/other", "--for", "300ms"]));
    assert_eq!(none["tunnels"], Value::Array(Vec::new()));
    let markdown = text(&look(&["--format", "markdown", "--for", "300ms"]));
    assert!(markdown.starts_with("# 1 tunnel\n") && markdown.contains(&client), "{markdown}");
}
