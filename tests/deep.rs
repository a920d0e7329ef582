//! The handshake matrix: servers with one peculiarity each, and which row gives it away. Then the whole of
//! `check --deep`, also through a real nginx.

mod support;

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use support::backend::{Backend, Script};
use support::nginx::{Nginx, UPGRADE, installed, location};
use support::run;
use tokio_tungstenite::tungstenite::WebSocket;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use wspulse::diagnose::diagnose;
use wspulse::diagnose::finding::Confidence;
use wspulse::diagnose::matrix::{Context, Seat, conclusion};
use wspulse::event::matrix::{Change, Matrix, Why};
use wspulse::event::probe::{ProbeEvent, Route};
use wspulse::event::{Event, SourceId, SourceKind, Stamped};
use wspulse::model::Model;
use wspulse::source::probe::matrix::{self, Asked};
use wspulse::source::probe::{self, ProbeOptions, ResolveOverride, WsUrl};
use wspulse::time::Timestamp;

/// A request's header: the request line and the fields.
struct Asking(Vec<String>);

impl Asking {
    fn header(&self, name: &str) -> Option<&str> {
        let fields = self.0.iter().filter_map(|l| l.split_once(':'));
        fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).next()
    }

    fn path(&self) -> &str {
        self.0[0].split(' ').nth(1).unwrap_or_default()
    }

    fn is_upgrade(&self) -> bool {
        self.header("upgrade").is_some() && self.header("connection").is_some() && self.0[0].ends_with("HTTP/1.1")
    }

    fn switching(&self, more: &str) -> String {
        let accept = derive_accept_key(self.header("sec-websocket-key").unwrap_or_default().as_bytes());
        format!(
            "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{more}\r\n"
        )
    }
}

fn status(code: u16) -> String {
    format!("HTTP/1.1 {code} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

/// A server that answers by `script`, keeps what opens until the client goes, and counts what is open at once.
struct Server {
    at: SocketAddr,
    heard: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    calls: Arc<Mutex<Vec<Arc<TcpStream>>>>,
}

impl Server {
    /// Connections that the client has not let go. The kernel is asked, which knows it before any thread here does.
    fn living(&self) -> usize {
        living(&self.calls.lock().expect("no panic"))
    }
}

fn living(calls: &[Arc<TcpStream>]) -> usize {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let gone = |call: &&Arc<TcpStream>| {
        poll(&mut [PollFd::new(call, PollFlags::RDHUP)], Some(&at_once)).expect("our sockets can be asked") > 0
    };
    calls.len() - calls.iter().filter(gone).count()
}

fn server(script: impl Fn(&Asking) -> String + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let at = listener.local_addr().expect("its address");
    let server = Server { at, heard: Arc::default(), most: Arc::default(), calls: Arc::default() };
    let (heard, most, calls) = (Arc::clone(&server.heard), Arc::clone(&server.most), Arc::clone(&server.calls));
    let script = Arc::new(script);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten().map(Arc::new) {
            heard.fetch_add(1, Ordering::SeqCst);
            let mut calls = calls.lock().expect("no panic");
            calls.push(Arc::clone(&stream));
            most.fetch_max(living(&calls), Ordering::SeqCst);
            let script = Arc::clone(&script);
            std::thread::spawn(move || {
                serve(&stream, &*script);
                let _ = stream.shutdown(Shutdown::Both);
            });
        }
    });
    server
}

fn serve(mut stream: &TcpStream, script: &dyn Fn(&Asking) -> String) {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(n) if n > 0 && !line.trim().is_empty() => head.push(line.trim().to_owned()),
            Ok(n) if n > 0 => break,
            _ => return,
        }
    }
    let answer = script(&Asking(head));
    let _ = stream.write_all(answer.as_bytes());
    if answer.starts_with("HTTP/1.1 101") {
        hold(stream);
    } else if answer.is_empty() {
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    }
}

/// Answers pings until the client goes.
fn hold(stream: impl Read + Write) {
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
    while socket.read().is_ok() {}
}

fn asked(at: SocketAddr, path: &str, options: ProbeOptions) -> Asked {
    let url = WsUrl::parse(&format!("ws://{at}{path}")).expect("a URL");
    Asked { url, options, backends: Vec::new() }
}

async fn matrix_of(server: &Server, path: &str, options: ProbeOptions) -> Matrix {
    matrix::run(&asked(server.at, path, options), Duration::from_secs(20)).await
}

fn seat(matrix: &Matrix) -> Seat {
    conclusion(matrix, &Context::default()).seat
}

fn opened(matrix: &Matrix) -> Vec<&Change> {
    matrix.rows.iter().filter(|r| r.opened()).map(|r| &r.change).collect()
}

// ---- what each server gives away

#[tokio::test]
async fn a_good_server_is_asked_one_thing_at_a_time_and_nothing_is_held() {
    let good = server(|a| if a.is_upgrade() { a.switching("") } else { status(426) });
    let matrix = matrix_of(&good, "/ws", ProbeOptions::default()).await;
    assert_eq!(seat(&matrix), Seat::None, "{matrix:#?}");
    assert_eq!(matrix.rows.len(), good.heard.load(Ordering::SeqCst), "one connection a row");
    assert_eq!(matrix.rows.len(), 7);
    assert!(matrix.left_out.is_empty());
    assert_eq!(good.most.load(Ordering::SeqCst), 1, "one at a time");
    support::eventually("the last tunnel to be closed", || (good.living() == 0).then_some(()));
}

#[tokio::test]
async fn an_origin_check_is_found_by_leaving_the_origin_out() {
    let strict = server(|a| match a.header("origin") {
        Some(_) => status(403),
        None if a.is_upgrade() => a.switching(""),
        None => status(400),
    });
    let options = ProbeOptions { origin: Some("https://a.test".into()), ..ProbeOptions::default() };
    let matrix = matrix_of(&strict, "/ws", options).await;
    assert_eq!(seat(&matrix), Seat::Origin, "{matrix:#?}");
    assert_eq!(opened(&matrix), [&Change::NoOrigin]);
    assert_eq!(matrix.rows.last().map(|r| &r.change), Some(&Change::Again), "and it was no chance");
}

#[tokio::test]
async fn a_redirect_to_the_other_slash_is_found() {
    let server = server(|a| match a.path() {
        "/ws/?a=1" if a.is_upgrade() => a.switching(""),
        "/ws/?a=1" => status(400),
        _ => "HTTP/1.1 301 X\r\nLocation: /ws/?a=1\r\nContent-Length: 0\r\n\r\n".into(),
    });
    let matrix = matrix_of(&server, "/ws?a=1", ProbeOptions::default()).await;
    assert_eq!(seat(&matrix), Seat::Path, "{matrix:#?}");
    assert_eq!(matrix.base().and_then(|r| r.location.as_deref()), Some("/ws/?a=1"));
}

#[tokio::test]
async fn a_subprotocol_that_is_not_known_is_found() {
    let server = server(|a| match a.header("sec-websocket-protocol") {
        None if a.is_upgrade() => a.switching(""),
        _ => status(400),
    });
    let options = ProbeOptions { subprotocols: vec!["chat".into()], ..ProbeOptions::default() };
    assert_eq!(seat(&matrix_of(&server, "/", options).await), Seat::Subprotocol);
}

#[tokio::test]
async fn something_that_says_101_to_everything_is_found() {
    let blind = server(|a| a.switching(""));
    assert_eq!(seat(&matrix_of(&blind, "/", ProbeOptions::default()).await), Seat::BlindSwitch);
}

#[tokio::test]
async fn compression_is_accepted_when_offered_and_its_refusal_is_found() {
    let packs = server(|a| match a.header("sec-websocket-extensions") {
        Some(_) => a.switching("Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n"),
        None if a.is_upgrade() => a.switching(""),
        None => status(400),
    });
    let matrix = matrix_of(&packs, "/", ProbeOptions::default()).await;
    assert_eq!(seat(&matrix), Seat::None, "{matrix:#?}");
    let row = matrix.row(|c| *c == Change::Deflate).expect("it was offered");
    assert_eq!(row.extensions.as_deref(), Some("permessage-deflate; server_no_context_takeover"));
    let refuses = server(|a| match a.header("sec-websocket-extensions") {
        None if a.is_upgrade() => a.switching(""),
        _ => status(400),
    });
    assert_eq!(seat(&matrix_of(&refuses, "/", ProbeOptions::default()).await), Seat::Compression);
}

#[tokio::test]
async fn answers_that_come_and_go_accuse_nobody() {
    let n = AtomicUsize::new(0);
    let moody =
        server(move |a| if n.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) { status(502) } else { a.switching("") });
    let matrix = matrix_of(&moody, "/ws", ProbeOptions::default()).await;
    assert!(matches!(seat(&matrix), Seat::Unsteady | Seat::Unknown), "{matrix:#?}");
}

#[tokio::test]
async fn of_several_addresses_the_dead_one_is_named() {
    let good = server(|a| if a.is_upgrade() { a.switching("") } else { status(426) });
    let port = good.at.port();
    let resolve = vec![ResolveOverride::parse(&format!("a.test:{port}:127.0.0.1,::1")).expect("an override")];
    let url = WsUrl::parse(&format!("ws://a.test:{port}/ws")).expect("a URL");
    let options = ProbeOptions { resolve, ..ProbeOptions::default() };
    let matrix = matrix::run(&Asked { url, options, backends: Vec::new() }, Duration::from_secs(20)).await;
    let told = conclusion(&matrix, &Context::default());
    assert_eq!(told.seat, Seat::Address, "{matrix:#?}");
    assert!(told.said.contains("::1"), "{}", told.said);
}

#[tokio::test]
async fn a_server_that_never_answers_leaves_rows_out_when_time_is_up() {
    let silent = server(|_| String::new());
    let asked = asked(silent.at, "/ws", ProbeOptions::default());
    let started = std::time::Instant::now();
    let matrix = matrix::run(&asked, Duration::from_millis(2_500)).await;
    assert!(started.elapsed() < support::PATIENCE / 2);
    assert!(!matrix.left_out.is_empty(), "{matrix:#?}");
    assert!(matrix.left_out.iter().all(|l| l.why == Why::Time));
    assert_eq!(matrix.rows.len() + matrix.left_out.len(), 7);
}

// ---- what the rules make of it

/// The model of a host that probed `server` and then made a matrix of it.
async fn model_of(server: &Server, path: &str, options: ProbeOptions) -> Model {
    let asked = asked(server.at, path, options);
    let target = probe::target(&asked.url, &asked.url, Route::Proxy);
    let mut model = Model::new("h");
    let at = Timestamp::parse_rfc3339("2026-11-21T02:00:00Z").expect("a time");
    let from = SourceId::new(&Arc::from("h"), SourceKind::Probe);
    let mut say = |event| model.apply(&Stamped { at, from: from.clone(), event });
    for step in probe::look(&asked.url, &asked.options, Duration::ZERO).await {
        say(Event::Probe(Box::new(ProbeEvent { target: target.clone(), step })));
    }
    say(Event::Matrix(Box::new(matrix::run(&asked, Duration::from_secs(20)).await)));
    model
}

fn found(model: &Model) -> Vec<(&'static str, Confidence)> {
    diagnose(model).findings.iter().filter(|f| f.is_serious()).map(|f| (f.id, f.confidence)).collect()
}

#[tokio::test]
async fn a_proven_cause_becomes_the_one_certain_finding() {
    let origin = server(|a| match a.header("origin") {
        Some("https://origin.invalid") | None if a.is_upgrade() => a.switching(""),
        _ => status(403),
    });
    let options = ProbeOptions { origin: Some("https://a.test".into()), ..ProbeOptions::default() };
    assert_eq!(found(&model_of(&origin, "/ws", options).await), [("origin-rejected", Confidence::Certain)]);
    let slash = server(|a| match a.path() {
        "/ws/" if a.is_upgrade() => a.switching(""),
        _ => status(404),
    });
    let model = model_of(&slash, "/ws", ProbeOptions::default()).await;
    assert_eq!(found(&model), [("not-a-websocket-endpoint", Confidence::Certain)]);
    let sub = server(|a| match a.header("sec-websocket-protocol") {
        None if a.is_upgrade() => a.switching(""),
        _ => status(400),
    });
    let options = ProbeOptions { subprotocols: vec!["chat".into()], ..ProbeOptions::default() };
    assert_eq!(found(&model_of(&sub, "/ws", options).await), [("subprotocol-mismatch", Confidence::Certain)]);
}

#[tokio::test]
async fn a_matrix_of_a_good_server_adds_no_finding() {
    let good = server(|a| if a.is_upgrade() { a.switching("") } else { status(426) });
    assert_eq!(found(&model_of(&good, "/ws", ProbeOptions::default()).await), []);
}

// ---- the whole command

fn check(args: &[&str]) -> (Value, Option<i32>) {
    let mut all = vec!["check", "--format", "json", "--hold", "0s"];
    all.extend(args);
    let out = run(&all);
    let report = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| {
        panic!("no report ({e}): {}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
    });
    (report, out.status.code())
}

fn row<'a>(report: &'a Value, change: &str) -> &'a Value {
    let rows = report["matrix"][0]["rows"].as_array().expect("rows");
    rows.iter().find(|r| r["change"] == change).unwrap_or_else(|| panic!("no row {change} in {report:#}"))
}

#[test]
fn without_deep_nothing_is_asked_twice() {
    let good = server(|a| a.switching(""));
    let (report, _) = check(&[&format!("ws://{}/ws", good.at)]);
    assert_eq!(good.heard.load(Ordering::SeqCst), 1);
    assert_eq!(report.get("matrix"), None);
}

#[test]
fn deep_makes_a_table_of_eighty_columns_and_a_recording_that_holds_it() {
    let strict = server(|a| match a.header("origin") {
        Some(_) => status(403),
        None if a.is_upgrade() => a.switching(""),
        None => status(400),
    });
    let folder = tempfile::tempdir().expect("a folder");
    let tape = folder.path().join("tape.jsonl");
    let url = format!("ws://{}/ws", strict.at);
    let tape = tape.to_str().expect("UTF-8");
    // Without the nginx of other stories: a patch of their configuration may be wider than any terminal.
    let conf = folder.path().join("nginx.conf");
    std::fs::write(&conf, "events {}\nhttp {}\n").expect("written");
    let alone = ["--pid", "1", "--no-exec", "--nginx-conf", conf.to_str().expect("UTF-8")];
    let asked = ["check", &url, "--deep", "--origin", "https://a.test", "--record", tape, "--color", "never"];
    let out = run(&[&asked[..], &alone[..]].concat());
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
    assert!(text.contains("Handshake matrix") && text.contains("without Origin"), "{text}");
    assert!(text.contains("the origin check refuses"), "{text}");
    let tape = std::fs::read_to_string(tape).expect("the recording");
    let mut again = Model::new("h");
    for line in tape.lines().skip(1) {
        again.apply(&serde_json::from_str(line).expect("an event"));
    }
    assert_eq!(again.matrix.len(), 1);
    assert!(diagnose(&again).findings.iter().any(|f| f.id == "origin-rejected"));
    let schema = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/schema/events-1.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(schema).expect("the schema")).expect("JSON");
    let valid = jsonschema::draft202012::new(&schema).expect("a schema");
    let line = tape.lines().find(|l| l.contains("\"matrix\"")).expect("the matrix is recorded");
    let event: Value = serde_json::from_str(line).expect("JSON");
    let wrong: Vec<String> = valid.iter_errors(&event).map(|e| e.to_string()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn through_nginx_the_lost_header_is_named_beside_the_direct_way() {
    let Some(binary) = installed() else { return };
    let backend = Backend::start(Script::Echo);
    let nginx = Nginx::start(&binary, "error", "", &location("/ws", backend.port, "proxy_http_version 1.1;"));
    let direct = format!("ws://127.0.0.1:{}/ws", backend.port);
    let pid = nginx.pid().to_string();
    let (report, code) = check(&[&nginx.url("/ws"), "--pid", &pid, "--backend", &direct, "--deep"]);
    assert_eq!(code, Some(1));
    assert_eq!(report["matrix"][0]["seat"], "proxy", "{report:#}");
    let said = report["matrix"][0]["said"].as_str().expect("a sentence");
    assert!(said.contains("upgrade-header-missing"), "{said}");
    assert_eq!(row(&report, "direct")["opened"], true);
    assert_eq!(row(&report, "no-upgrade")["verdict"], "skip", "no difference: that is the point");
    let schema = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/schema/report-1.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(schema).expect("the schema")).expect("JSON");
    assert!(jsonschema::draft202012::new(&schema).expect("a schema").is_valid(&report), "{report:#}");
}

#[test]
fn through_a_sound_nginx_nothing_is_wrong() {
    let Some(binary) = installed() else { return };
    let backend = Backend::start(Script::Echo);
    let lines =
        "proxy_http_version 1.1;\n proxy_set_header Upgrade $http_upgrade;\n proxy_set_header Connection $upgrading;";
    let map = "map $http_upgrade $upgrading { default upgrade; '' close; }";
    let nginx = Nginx::start(&binary, "info", map, &location("/ws", backend.port, lines));
    let (report, code) = check(&[&nginx.url("/ws"), "--pid", &nginx.pid().to_string(), "--deep"]);
    assert_eq!(report["matrix"][0]["seat"], "none", "{report:#}");
    assert_eq!((report["verdict"].as_str(), code), (Some("healthy"), Some(0)), "{report:#}");
    assert_eq!(row(&report, "http10")["verdict"], "skip", "nginx relays it, and that is no fault");
}

#[test]
fn a_slash_too_few_is_read_from_a_real_nginx() {
    let Some(binary) = installed() else { return };
    let backend = Backend::start(Script::Echo);
    let nginx = Nginx::start(&binary, "error", "", &location("/ws/", backend.port, UPGRADE));
    let (report, _) = check(&[&nginx.url("/ws"), "--pid", &nginx.pid().to_string(), "--deep"]);
    assert_eq!(report["matrix"][0]["seat"], "path", "{report:#}");
    assert_eq!(report["findings"][0]["id"], "redirected", "{report:#}");
    let serious = report["findings"].as_array().into_iter().flatten().filter(|f| f["severity"] != "info").count();
    assert_eq!(serious, 1, "one cause, one finding: {report:#}");
}

// ---- the peers behind a location

/// What a server heard: request line and Host of everything but nginx's own requests.
fn hearing() -> (Server, Arc<std::sync::Mutex<Vec<String>>>) {
    let heard: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let into = Arc::clone(&heard);
    let server = server(move |a| {
        let what = format!("{} {}", a.path(), a.header("host").unwrap_or("-"));
        into.lock().expect("no panic holds it").push(what);
        if a.is_upgrade() { a.switching("") } else { status(426) }
    });
    (server, heard)
}

fn directs(report: &Value) -> Vec<(String, bool)> {
    let pairs = report["pairs"].as_array().cloned().unwrap_or_default();
    let all = pairs.iter().flat_map(|p| p["directs"].as_array().cloned().unwrap_or_default());
    all.map(|d| (d["url"].as_str().expect("a URL").to_owned(), d["works"] == true)).collect()
}

#[test]
fn peers_are_asked_only_when_that_was_asked_for() {
    let Some(binary) = installed() else { return };
    let (backend, heard) = hearing();
    let nginx = Nginx::start(&binary, "error", "", &location("/ws", backend.at.port(), UPGRADE));
    let pid = nginx.pid().to_string();
    let (report, _) = check(&[&nginx.url("/ws"), "--pid", &pid]);
    assert_eq!(heard.lock().expect("heard").len(), 1, "one request, by nginx");
    assert_eq!(directs(&report), []);
    let (report, _) = check(&[&nginx.url("/ws"), "--pid", &pid, "--backend", "auto"]);
    assert_eq!(heard.lock().expect("heard").len(), 3, "one by nginx, one directly");
    assert_eq!(directs(&report), [(format!("ws://{}/ws", backend.at), true)]);
    assert_eq!(report.get("matrix"), None);
    assert!(report["pairs"][0]["directs"][0]["proxy_adds_ms"].is_number(), "{report:#}");
    assert_eq!(report["verdict"], "healthy", "{report:#}");
}

#[test]
fn a_peer_is_asked_for_what_nginx_would_ask_it() {
    let Some(binary) = installed() else { return };
    let (backend, heard) = hearing();
    let pool = format!("upstream pool {{ server 127.0.0.1:{}; }}", backend.at.port());
    let lines = |host: &str| {
        format!(
            "location /ws/ {{ proxy_pass http://pool/app/; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;\n\
             proxy_set_header Connection upgrade; {host} }}"
        )
    };
    for host in
        ["proxy_set_header Host $host;", "proxy_set_header Host $http_host;", "", "proxy_set_header Host fixed.test;"]
    {
        let nginx = Nginx::start(&binary, "error", &pool, &lines(host));
        heard.lock().expect("heard").clear();
        let pid = nginx.pid().to_string();
        let (report, _) = check(&[&nginx.url("/ws/a?x=1"), "--pid", &pid, "--backend", "auto"]);
        let heard = heard.lock().expect("heard").clone();
        assert_eq!(heard.len(), 2, "{heard:?}");
        assert_eq!(heard[0], heard[1], "directly as through nginx, with '{host}'");
        assert!(heard[0].starts_with("/app/a?x=1 "), "{heard:?}");
        assert_eq!(report["verdict"], "healthy", "{report:#}");
    }
}

#[test]
fn the_one_dead_peer_of_two_is_named() {
    let Some(binary) = installed() else { return };
    let (backend, _) = hearing();
    let nobody = support::free_port();
    let pool = format!("upstream pool {{ server 127.0.0.1:{}; server 127.0.0.1:{nobody}; }}", backend.at.port());
    let server = format!("location /ws {{ proxy_pass http://pool; {UPGRADE} }}");
    let nginx = Nginx::start(&binary, "crit", &pool, &server);
    let (report, _) = check(&[&nginx.url("/ws"), "--pid", &nginx.pid().to_string(), "--deep"]);
    let found = report["findings"].as_array().into_iter().flatten().find(|f| f["id"] == "backend-half-dead");
    let found = found.unwrap_or_else(|| panic!("{report:#}"));
    assert_eq!(found["subject"]["upstream"], format!("127.0.0.1:{nobody}"));
    assert_eq!((&found["severity"], &found["confidence"]), (&Value::from("warning"), &Value::from("certain")));
    assert_eq!(report["verdict"], "degraded", "{report:#}");
    let dead = format!("ws://127.0.0.1:{nobody}/ws");
    assert!(directs(&report).contains(&(dead.clone(), false)));
    let said = report["pairs"][0]["said"].as_str().expect("a sentence");
    assert!(said.starts_with("1 of 2 backends") && said.contains(&dead), "{said}");
}

#[test]
fn a_peer_on_a_unix_socket_is_asked_there() {
    let Some(binary) = installed() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(&stream);
                let mut head = Vec::new();
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|n| n > 0) && !line.trim().is_empty() {
                    head.push(std::mem::take(&mut line).trim().to_owned());
                }
                let asking = Asking(head);
                let _ = (&stream).write_all(asking.switching("").as_bytes());
                hold(&stream);
            });
        }
    });
    let server = format!("location /ws {{ proxy_pass http://unix:{}; {UPGRADE} }}", path.display());
    let nginx = Nginx::start(&binary, "error", "", &server);
    let pid = nginx.pid().to_string();
    let (report, _) = check(&[&nginx.url("/ws"), "--pid", &pid, "--backend", "auto"]);
    assert_eq!(directs(&report), [(format!("unix:{}:/ws", path.display()), true)], "{report:#}");
}

/// A probe through the proxy and its twins, each opened or refused with this status.
fn pair(proxy: u16, twins: &[u16]) -> Model {
    use wspulse::event::probe::{Answer, Failure, FailureKind, Phase, Step, TargetId};
    let mut model = Model::new("h");
    let at = Timestamp::parse_rfc3339("2026-11-21T02:00:00Z").expect("a time");
    let mut say = |route, url: &str, status: u16| {
        let target = TargetId { endpoint: "ws://a.test/ws".into(), route, url: url.into(), cadence: None };
        let answer = Answer { version: "HTTP/1.1".into(), status, ..Answer::default() };
        let took = Duration::from_millis(if route == Route::Proxy { 5 } else { 2 });
        let failure =
            Failure { phase: Phase::Upgrade, kind: FailureKind::HttpStatus, said: format!("answered {status}") };
        let request = String::new();
        let step = match status {
            101 => Step::Upgraded { took, request, answer },
            _ => Step::Refused { failure, took, request, answer: Some(answer), tls: None },
        };
        let from = SourceId::new(&Arc::from("h"), SourceKind::Probe);
        model.apply(&Stamped { at, from, event: Event::Probe(Box::new(ProbeEvent { target, step })) });
    };
    say(Route::Proxy, "ws://a.test/ws", proxy);
    for (n, status) in twins.iter().enumerate() {
        say(Route::Direct, &format!("ws://10.0.0.{n}:81/ws"), *status);
    }
    model
}

#[test]
fn pairs_say_what_the_two_ways_have_in_common() {
    let cases: [(u16, &[u16], &str); 8] = [
        (101, &[101, 101], "both ways work; the proxy adds 3.0ms to the handshake"),
        (426, &[101, 101], "it fails only through the proxy"),
        (101, &[403], "it fails only directly"),
        (403, &[403, 403], "it fails both ways in the same way: it is the backend"),
        (502, &[401], "it fails both ways: the backend cannot be used"),
        (403, &[401, 401], "it fails both ways, but not in the same way"),
        (101, &[101, 403], "1 of 2 backends cannot be used: ws://10.0.0.1:81/ws"),
        (403, &[101, 403, 403], "2 of 3 backends cannot be used: ws://10.0.0.1:81/ws, ws://10.0.0.2:81/ws"),
    ];
    for (proxy, twins, want) in cases {
        let said = wspulse::diagnose::pairs::pairs(&pair(proxy, twins)).remove(0).said;
        assert_eq!(said, want, "{proxy} {twins:?}");
    }
}

#[test]
fn a_tunnel_that_does_not_last_is_no_way_that_works() {
    use wspulse::event::probe::{ClosedBy, Step, TargetId};
    let mut model = pair(101, &[101]);
    let close = |model: &mut Model, route, url: &str| {
        let target = TargetId { endpoint: "ws://a.test/ws".into(), route, url: url.into(), cadence: None };
        let (held, idle) = (Duration::from_secs(2), Duration::ZERO);
        let step = Step::Closed { by: ClosedBy::ServerClose, code: Some(4401), reason: String::new(), held, idle };
        let from = SourceId::new(&Arc::from("h"), SourceKind::Probe);
        let event = Event::Probe(Box::new(ProbeEvent { target, step }));
        model.apply(&Stamped { at: Timestamp::default(), from, event });
    };
    close(&mut model, Route::Proxy, "ws://a.test/ws");
    let said = |model: &Model| wspulse::diagnose::pairs::pairs(model).remove(0).said;
    assert_eq!(said(&model), "it fails only through the proxy");
    close(&mut model, Route::Direct, "ws://10.0.0.0:81/ws");
    assert_eq!(said(&model), "it fails both ways in the same way: it is the backend");
}

#[test]
fn one_sick_peer_accuses_neither_nginx_nor_all_backends() {
    let ids = |proxy, twins: &[u16]| found(&pair(proxy, twins)).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(ids(101, &[101, 101]), [""; 0]);
    assert_eq!(ids(101, &[101, 403]), ["backend-half-dead"]);
    assert_eq!(ids(101, &[403, 403]), [""; 0], "what we lack directly, nginx may have");
    assert_eq!(ids(403, &[403, 403]), ["backend-rejects-handshake"]);
    assert_eq!(ids(403, &[101, 403]), ["backend-half-dead"], "which explains it");
}

// ---- TLS

/// A WebSocket server over TLS that agrees on these protocols only.
fn tls_server(alpn: &[&str]) -> (SocketAddr, tempfile::NamedTempFile) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let cert = params.self_signed(&key).expect("a certificate");
    let mut pem = tempfile::NamedTempFile::new().expect("a file");
    pem.write_all(cert.pem().as_bytes()).expect("written");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_no_client_auth();
    let mut config = builder.with_single_cert(vec![cert.der().clone()], key).expect("a configuration");
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let at = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).expect("a session");
            std::thread::spawn(move || {
                let mut stream = rustls::StreamOwned::new(session, stream);
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                    head.push(byte[0]);
                }
                let lines: Vec<String> = String::from_utf8_lossy(&head).lines().map(str::to_owned).collect();
                if head.ends_with(b"\r\n\r\n") {
                    let asking = Asking(lines);
                    let answer = if asking.is_upgrade() { asking.switching("") } else { status(426) };
                    let _ = stream.write_all(answer.as_bytes());
                    hold(stream);
                }
            });
        }
    });
    (at, pem)
}

async fn tls_matrix(alpn: &[&str]) -> (Matrix, SocketAddr, ProbeOptions) {
    let (at, pem) = tls_server(alpn);
    let url = WsUrl::parse(&format!("wss://{at}/ws")).expect("a URL");
    let options = ProbeOptions { cacert: Some(pem.path().to_owned()), ..ProbeOptions::default() };
    let asked = Asked { url, options: options.clone(), backends: Vec::new() };
    (matrix::run(&asked, Duration::from_secs(20)).await, at, options)
}

#[tokio::test]
async fn a_port_that_takes_http_2_alone_is_told_from_broken_tls() {
    let (matrix, at, options) = tls_matrix(&["h2"]).await;
    assert_eq!(seat(&matrix), Seat::Http2, "{matrix:#?}");
    assert_eq!(matrix.rows.len(), 2, "headers cannot matter before TLS stands");
    let url = WsUrl::parse(&format!("wss://{at}/ws")).expect("a URL");
    let target = probe::target(&url, &url, Route::Proxy);
    let mut model = Model::new("h");
    let stamp =
        |event| Stamped { at: Timestamp::default(), from: SourceId::new(&Arc::from("h"), SourceKind::Probe), event };
    for step in probe::look(&url, &options, Duration::ZERO).await {
        model.apply(&stamp(Event::Probe(Box::new(ProbeEvent { target: target.clone(), step }))));
    }
    assert!(!found(&model).iter().any(|(id, _)| *id == "http2-no-websocket"), "unknown without the matrix");
    model.apply(&stamp(Event::Matrix(Box::new(matrix))));
    assert!(found(&model).contains(&("http2-no-websocket", Confidence::Certain)), "{:?}", found(&model));
}

#[tokio::test]
async fn a_port_that_prefers_http_2_is_no_fault() {
    let (matrix, _, _) = tls_matrix(&["h2", "http/1.1"]).await;
    assert_eq!(seat(&matrix), Seat::None, "{matrix:#?}");
    let row = matrix.row(|c| *c == Change::Http2).expect("it was offered");
    assert_eq!((row.alpn.as_deref(), row.opened()), (Some("h2"), false));
}
