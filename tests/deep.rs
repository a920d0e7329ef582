//! The handshake matrix: servers with one peculiarity each, and which row gives it away. Then the whole of
//! `check --deep`, also through a real nginx.

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use support::backend::{Backend, Script};
use support::nginx::{Nginx, UPGRADE, installed, location};
use support::run;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
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
}

fn server(script: impl Fn(&Asking) -> String + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let at = listener.local_addr().expect("its address");
    let (heard, open, most) = (Arc::default(), Arc::new(AtomicUsize::new(0)), Arc::default());
    let server = Server { at, heard: Arc::clone(&heard), most: Arc::clone(&most) };
    let script = Arc::new(script);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            heard.fetch_add(1, Ordering::SeqCst);
            most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let (script, open) = (Arc::clone(&script), Arc::clone(&open));
            std::thread::spawn(move || {
                serve(&stream, &*script);
                open.fetch_sub(1, Ordering::SeqCst);
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
    if answer.starts_with("HTTP/1.1 101") || answer.is_empty() {
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    }
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
    support::eventually("the last tunnel to be closed", || (good.most.load(Ordering::SeqCst) <= 2).then_some(()));
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
    let out = run(&["check", &url, "--deep", "--origin", "https://a.test", "--record", tape, "--color", "never"]);
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
