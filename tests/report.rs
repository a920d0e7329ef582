//! The faces of a report: JSON that its schema accepts, text and Markdown that a person reads, lines of a plain run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use wspulse::diagnose::diagnose;
use wspulse::event::backend::{BackendBatch, BackendEntry, Fault};
use wspulse::event::handshake::{Handshake, Head};
use wspulse::event::log::{AccessBatch, ErrorBatch};
use wspulse::event::matrix::{Change, LeftOut, Matrix, Row, Why};
use wspulse::event::probe::{Answer, ClosedBy, Failure, FailureKind, Phase, ProbeEvent, Route, Step, TargetId, Tls};
use wspulse::event::process::{Master, Processes, Worker};
use wspulse::event::site::{
    AccessLog, Apart, ApartKind, Escape, Listen, Location, Matching, Place, Problem, ProblemKind, Server, Setting,
    Site, Upstream, Version,
};
use wspulse::event::socket::{
    Listener, SocketDelta, SocketRow, SocketSource, Strain, TcpInfo, TcpState, TcpTimer, UnixListener, UnixRow,
    UnixState,
};
use wspulse::event::{Event, Sense, SourceId, SourceKind, Stamped};
use wspulse::model::Model;
use wspulse::report::{Report, json, markdown, summary_text, text};
use wspulse::time::Timestamp;

fn root(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root(path)).expect("the file is part of the project")
}

fn events(name: &str) -> Vec<Stamped> {
    let text = read(&format!("tests/data/recordings/{name}.jsonl"));
    text.lines().skip(1).map(|l| serde_json::from_str(l).expect("an event")).collect()
}

fn model(events: &[Stamped]) -> Model {
    let mut model = Model::new("web1");
    for e in events {
        model.apply(e);
    }
    model
}

const NAMES: [&str; 4] = ["diag-healthy", "diag-inheritance", "diag-refused", "diag-idle-cuts"];

fn report(name: &str) -> Report {
    let model = model(&events(name));
    Report::of(&model, &diagnose(&model), "0.1.0")
}

fn stamped(kind: SourceKind, event: Event) -> Stamped {
    let at = Timestamp::parse_rfc3339("2026-11-21T02:00:00Z").expect("a time");
    Stamped { at, from: SourceId::new(&Arc::from("web1"), kind), event }
}

#[track_caller]
fn accepts(schema: &str, instances: &[Value]) {
    let schema: Value = serde_json::from_str(&read(schema)).expect("JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    for i in instances {
        let errors: Vec<String> = validator.iter_errors(i).map(|e| format!("{} at {}", e, e.instance_path)).collect();
        assert!(errors.is_empty(), "{errors:#?}\n{i:#}");
    }
}

#[test]
fn every_report_fits_its_schema() {
    let mut all: Vec<Value> = NAMES.iter().map(|n| serde_json::from_str(&json(&report(n))).expect("JSON")).collect();
    let empty = Model::new("nowhere");
    all.push(serde_json::to_value(Report::of(&empty, &diagnose(&empty), "0.1.0")).expect("serializes"));
    let full = model(&every_event());
    all.push(serde_json::to_value(Report::of(&full, &diagnose(&full), "0.1.0")).expect("serializes"));
    assert!(all.iter().any(|r| r["backend"].is_array()), "every part of the schema is tried");
    accepts("assets/schema/report-1.schema.json", &all);
}

#[test]
fn the_report_schema_refuses_what_is_no_report() {
    let schema: Value = serde_json::from_str(&read("assets/schema/report-1.schema.json")).expect("JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let good = serde_json::to_value(report("diag-refused")).expect("serializes");
    for (pointer, wrong) in [
        ("/verdict", Value::from("fine")),
        ("/findings/0/severity", Value::from("fatal")),
        ("/findings/0/id", Value::from("Not An Id")),
        ("/checks/0/status", Value::Null),
        ("/at", Value::from("yesterday")),
        ("/errors/by_category", serde_json::json!({"nonsense": 1})),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).expect(pointer) = wrong;
        assert!(!validator.is_valid(&bad), "{pointer}");
    }
}

fn setting<T>(value: T) -> Setting<T> {
    Setting { value, place: Some(Place { file: "/etc/nginx/nginx.conf".into(), line: 3 }) }
}

fn a_site() -> Site {
    let location = Location {
        place: Place::default(),
        matching: Matching::RegexNoCase,
        path: "^/ws".into(),
        internal: false,
        proxy_pass: Some(setting("http://app".into())),
        peers: Vec::new(),
        http_version: Setting::built_in("1.1".into()),
        headers: Vec::new(),
        lost_headers: Vec::new(),
        own_headers: false,
        rewrite: None,
        read_timeout: setting(Duration::from_millis(1_500)),
        send_timeout: Setting::built_in(Duration::from_secs(60)),
        connect_timeout: Setting::built_in(Duration::from_secs(60)),
        returns: Some(setting("301 /x".into())),
        locations: Vec::new(),
        way: wspulse::event::route::script::Way::default(),
    };
    let listen = Listen { ip: Some([127, 0, 0, 1].into()), port: Some(80), backlog: Some(511), ..Listen::default() };
    Site {
        version: Some(Version { major: 1, minor: 31, patch: 3 }),
        servers: vec![Server { listens: vec![listen], locations: vec![location], ..Server::default() }],
        upstreams: [("app".to_owned(), Upstream::default())].into(),
        access_logs: vec![AccessLog {
            path: "/var/log/nginx/access.log".into(),
            format: "combined".into(),
            pattern: None,
            escape: Escape::Json,
            buffered: false,
            place: None,
        }],
        worker_connections: Some(setting(512)),
        worker_shutdown_timeout: Some(setting(Duration::from_secs(10))),
        problems: vec![Problem { place: Place::default(), column: 0, said: "odd".into(), kind: ProblemKind::Unread }],
        apart: Some(Apart { kind: ApartKind::Dump, from: "/d.txt".into(), past: true }),
        tested: Some(true),
        reached: [("/l".to_owned(), "/proc/1/root/l".to_owned())].into(),
        ..Site::default()
    }
}

fn every_step() -> Vec<Step> {
    let s = Duration::from_millis(3);
    let end = ([127, 0, 0, 1], 80).into();
    let answer = || Answer {
        version: "HTTP/1.1".into(),
        status: 101,
        reason: "Switching Protocols".into(),
        headers: vec![("Upgrade".into(), "websocket".into())],
        body: String::new(),
    };
    let tls = || Tls { not_after: Some(Timestamp::from_secs(1_900_000_000)), ..Tls::default() };
    let kinds = [
        FailureKind::NameNotFound,
        FailureKind::ConnectionRefused,
        FailureKind::Timeout,
        FailureKind::Unreachable,
        FailureKind::TlsExpired,
        FailureKind::TlsNameMismatch,
        FailureKind::TlsUntrusted,
        FailureKind::TlsFailed,
        FailureKind::NotTls,
        FailureKind::ClosedEarly,
        FailureKind::Reset,
        FailureKind::HttpStatus,
        FailureKind::AcceptMismatch,
        FailureKind::BadUpgradeHeaders,
        FailureKind::NotHttp,
        FailureKind::SubprotocolMismatch,
        FailureKind::Io,
    ];
    let mut steps = vec![
        Step::Dialing { attempt: 1 },
        Step::Resolved { took: s, addresses: vec![end] },
        Step::Connected { took: s, local: end, peer: end, failed: Vec::new() },
        Step::Secured { took: s, tls: tls() },
        Step::Upgraded { took: s, request: "GET /".into(), answer: answer() },
        Step::Pinged { seq: 1 },
        Step::Pong { seq: 1, rtt: s },
        Step::Missed { seq: 2 },
        Step::Attached { took: s, path: "/run/app.sock".into() },
        Step::Tunnelled { took: s, proxy: "proxy.test:3128".into() },
        Step::Asked { seq: 1 },
        Step::Answered { seq: 1, rtt: Some(s) },
        Step::Answered { seq: 2, rtt: None },
        Step::Unanswered { seq: 3 },
        Step::Waiting { delay: s },
        Step::Stopped,
    ];
    for by in [
        ClosedBy::ServerClose,
        ClosedBy::Fin,
        ClosedBy::Reset,
        ClosedBy::PongTimeout,
        ClosedBy::ProtocolError,
        ClosedBy::Us,
    ] {
        steps.push(Step::Closed { by, code: Some(1011), reason: "r".into(), held: s, idle: s });
    }
    for kind in kinds {
        let failure = Failure { phase: Phase::Upgrade, kind, said: "so".into() };
        let (answer, tls) = (Some(answer()), Some(tls()));
        steps.push(Step::Refused { failure, took: s, request: String::new(), answer, tls });
    }
    steps
}

fn every_socket_state() -> Vec<SocketRow> {
    let row = |n: u8| {
        let peer = "[2001:db8::1]:443".parse().expect("an address");
        let info = n.is_multiple_of(2).then(TcpInfo::default);
        let bare = SocketRow::new(u64::from(n), ([127, 0, 0, 1], 80).into(), peer, TcpState::from_kernel(n)?);
        let strain = n.is_multiple_of(3).then(|| Box::new(Strain { probes: Some(2), ..Strain::default() }));
        let (timer, nginx_group) = (TcpTimer::from_kernel(n), n.is_multiple_of(5).then_some(true));
        Some(SocketRow { inode: 5, info, timer, strain, nginx_group, ..bare })
    };
    (1..=11).filter_map(row).collect()
}

/// A handshake of which the log holds everything, and one of which it holds the request.
fn handshakes() -> Vec<Handshake> {
    let head = |line: &str| Head { line: line.into(), headers: vec![("Upgrade".into(), "websocket".into())] };
    let whole = Handshake {
        at: Timestamp::from_secs(1_795_226_400),
        pid: 7,
        connection: 3,
        client: Some("192.0.2.1:5000".into()),
        request: head("GET /ws HTTP/1.1"),
        upstream: Some("127.0.0.1:9".into()),
        upstream_request: Some(head("GET /ws HTTP/1.1")),
        upstream_answer: Some(head("101 Switching Protocols")),
        answer: Some(head("HTTP/1.1 101 Switching Protocols")),
        truncated: false,
    };
    let bare = Handshake {
        client: None,
        upstream: None,
        upstream_request: None,
        upstream_answer: None,
        answer: None,
        truncated: true,
        ..whole.clone()
    };
    vec![whole, bare]
}

/// A line of every fault, with all that can be known of it or with nothing.
fn backend_lines() -> BackendBatch {
    let entry = |(i, fault): (usize, Fault)| BackendEntry {
        at: (i > 2).then(|| Timestamp::from_secs(1_795_226_400)),
        library: "ws".into(),
        fault,
        status: (i > 1).then_some(400),
        words: "Invalid Upgrade header".into(),
        raw: "Invalid Upgrade header".into(),
    };
    BackendBatch { entries: Fault::ALL.into_iter().enumerate().map(entry).collect(), ..BackendBatch::default() }
}

fn a_unix_row(state: UnixState) -> UnixRow {
    let (cookie, path, inode, pid) = (9, "/run/app.sock".into(), 7, Some(2));
    UnixRow { cookie, path, state, inode, peer_inode: None, pid, recv_q: Some(0), send_q: None }
}

/// Every change, tried and left out.
fn a_matrix() -> Matrix {
    let address = Change::Address { address: [127, 0, 0, 1].into() };
    let origin = || "https://origin.invalid".to_owned();
    let changes = [
        Change::AsAsked,
        Change::Direct { url: "ws://b/ws".into() },
        Change::NoUpgrade,
        Change::Http10,
        Change::OtherOrigin { origin: origin() },
        Change::OwnOrigin { origin: origin() },
        Change::NoOrigin,
        Change::NoSubprotocol,
        Change::Slash { path: "/ws/|\u{1b}[2J".into() },
        Change::Deflate,
        Change::Http2,
        address,
        Change::Again,
    ];
    let failure =
        |n: usize| Failure { phase: Phase::Upgrade, kind: FailureKind::HttpStatus, said: format!("said {n}") };
    let row = |(n, change): (usize, &Change)| Row {
        change: change.clone(),
        failure: (n % 2 == 0).then(|| failure(n)),
        took: Duration::from_micros(1_234),
        status: (n % 3 > 0).then_some(301),
        location: (n == 0).then(|| "/\u{1b}[2J".to_owned()),
        extensions: (n == 9).then(|| "permessage-deflate".to_owned()),
        alpn: (n == 10).then(|| "h2".to_owned()),
    };
    let left_out = changes
        .iter()
        .enumerate()
        .map(|(n, c)| LeftOut { change: c.clone(), why: if n % 2 == 0 { Why::Time } else { Why::Enough } });
    Matrix {
        endpoint: "ws://h/ws".into(),
        rows: changes.iter().enumerate().map(row).collect(),
        left_out: left_out.collect(),
    }
}

/// One event of every kind, and every variant of what they carry.
fn every_event() -> Vec<Stamped> {
    let worker = Worker { pid: 2, started: None, shutting_down: true, fds: None, fd_limit: Some(9), rss: None };
    let master = Master {
        pid: 1,
        started: Some(Timestamp::from_secs(5)),
        binary: None,
        version: Some(Version { major: 1, minor: 22, patch: 1 }),
        conf: None,
        prefix: None,
        error_log: None,
        other_net: false,
        local_ports: Some((32_768, 60_999)),
        reserved_ports: Some(2),
        workers: vec![worker],
        ..Master::default()
    };
    let delta = SocketDelta {
        full: true,
        source: SocketSource::Procfs,
        rows: every_socket_state(),
        closed: vec![3],
        listeners: [Some(511), None]
            .map(|backlog| Listener { local: ([0, 0, 0, 0], 80).into(), queue: 0, backlog })
            .into(),
        unix: [UnixState::Waiting, UnixState::Open, UnixState::PeerClosed].map(a_unix_row).into(),
        unix_listeners: vec![UnixListener { path: "/run/app.sock".into(), queue: Some(1), backlog: None }],
        time_wait: Some(vec![(([10, 0, 0, 7], 8080).into(), 3)]),
        took: Duration::from_micros(90),
        since: None,
    };
    let mut all = vec![
        stamped(SourceKind::Clock, Event::Tick),
        stamped(SourceKind::Config, Event::Site(Box::new(a_site()))),
        stamped(SourceKind::Process, Event::Processes(Processes { masters: vec![master], ..Processes::default() })),
        stamped(SourceKind::Sockets, Event::Sockets(delta)),
        stamped(SourceKind::ErrorLog, Event::Errors(ErrorBatch::default())),
        stamped(SourceKind::ErrorLog, Event::Errors(ErrorBatch { handshakes: handshakes(), ..ErrorBatch::default() })),
        stamped(SourceKind::AccessLog, Event::Access(AccessBatch::default())),
        stamped(SourceKind::BackendLog, Event::Backend(backend_lines())),
        stamped(SourceKind::ErrorLog, Event::Sense(Sense::seen("reading"))),
        stamped(SourceKind::Sockets, Event::Sense(Sense::degraded("only /proc", "run as root"))),
    ];
    let target =
        TargetId { endpoint: "ws://h/ws".into(), route: Route::Direct, url: "ws://b/ws".into(), cadence: None };
    all.push(stamped(SourceKind::Probe, Event::Matrix(Box::new(a_matrix()))));
    for step in every_step() {
        let probe = ProbeEvent { target: target.clone(), step };
        all.push(stamped(SourceKind::Probe, Event::Probe(Box::new(probe))));
    }
    all
}

#[test]
fn every_event_fits_its_schema() {
    let mut all: Vec<Value> = every_event().iter().map(|e| serde_json::to_value(e).expect("serializes")).collect();
    for name in NAMES {
        let text = read(&format!("tests/data/recordings/{name}.jsonl"));
        all.extend(text.lines().map(|l| serde_json::from_str::<Value>(l).expect("JSON")));
    }
    accepts("assets/schema/events-1.schema.json", &all);
}

#[test]
fn the_text_says_it_in_eighty_columns() {
    for name in NAMES {
        let page = text(&report(name), false);
        for line in page.lines() {
            assert!(wspulse::human::width(line) <= 80, "{name}: {line}");
        }
        insta::assert_snapshot!(format!("text-{name}"), page);
    }
}

#[test]
fn colour_changes_no_word() {
    let r = report("diag-refused");
    let colored = text(&r, true);
    assert!(colored.contains("\x1b[31m"));
    let mut bare = String::new();
    let mut rest = colored.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        bare.push_str(before);
        rest = after.split_once('m').map_or("", |(_, r)| r);
    }
    bare.push_str(rest);
    assert_eq!(bare, text(&r, false));
}

#[test]
fn markdown_and_summary_are_as_reviewed() {
    insta::assert_snapshot!("markdown-diag-inheritance", markdown(&report("diag-inheritance")));
    let model = model(&events("diag-idle-cuts"));
    insta::assert_snapshot!("summary-diag-idle-cuts", summary_text(&model, &diagnose(&model)));
}

#[test]
fn hostile_text_never_reaches_a_terminal() {
    let mut r = report("diag-refused");
    let evil = "x\x1b[2J\u{202e}\u{9b}31m\x07\r\n| `` <b> ";
    r.summary = evil.into();
    r.host = evil.into();
    for f in &mut r.findings {
        f.said = evil.into();
        f.evidence[0].said = evil.into();
        f.evidence[0].file = Some(evil.into());
        if let Some(fix) = &mut f.fix {
            fix.patch = Some(format!("--- a\n+{evil}"));
            fix.said = evil.into();
        }
    }
    for c in &mut r.checks {
        c.said = evil.into();
    }
    for p in &mut r.probes {
        p.url = evil.into();
    }
    for page in [text(&r, false), markdown(&r)] {
        let bad = page
            .chars()
            .find(|c| (c.is_control() && *c != '\n' && *c != '\t') || ('\u{202a}'..='\u{202e}').contains(c));
        assert_eq!(bad, None, "{page}");
    }
}
