//! Stories of failures, told as events, and what the rules must say of them: ids, severities, the verdict, the checklist.
//!
//! The stories with a name in `RECORDED` also stand under tests/data/recordings, one event a line, as an older program
//! would have written them. `WSPULSE_WRITE_RECORDINGS=1 cargo test --test diagnosis` writes them anew.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wspulse::diagnose::finding::{Check, Diagnosis, Severity, Status, Verdict};
use wspulse::diagnose::{RULES, checks, diagnose};
use wspulse::event::backend::{BackendBatch, BackendEntry, Fault};
use wspulse::event::handshake::{Handshake, Head};
use wspulse::event::log::{AccessBatch, AccessEntry, Category, ErrorBatch, ErrorEntry, Level};
use wspulse::event::probe::{
    Answer, Cadence, ClosedBy, Failure, FailureKind, Phase, ProbeEvent, Route, Step, TargetId, Tls,
};
use wspulse::event::process::{Master, Processes, Worker};
use wspulse::event::site::{
    ErrorLog, Header, Listen, Location, Matching, Peer, Place, Problem, Server, Setting, Site, SourceText, Version,
    Written,
};
use wspulse::event::socket::{Listener, SocketDelta, SocketRow, SocketSource, TcpInfo, TcpState};
use wspulse::event::{Event, STREAM_SCHEMA, Sense, SourceId, SourceKind, Stamped, StreamHeader};
use wspulse::model::Model;
use wspulse::time::Timestamp;

const URL: &str = "ws://127.0.0.1:18080/ws";
const DIRECT: &str = "ws://127.0.0.1:19001/ws";
const PEER: &str = "127.0.0.1:19001";
const CONF: &str = "/etc/nginx/conf.d/app.conf";

fn start() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-21T02:00:00Z").expect("a time")
}

fn place(line: u32) -> Place {
    Place { file: CONF.into(), line }
}

fn set<T>(value: T, line: u32) -> Setting<T> {
    Setting { value, place: Some(place(line)) }
}

fn header(name: &str, value: &str, becomes: &str, line: u32) -> Header {
    Header { name: name.into(), value: value.into(), for_websocket: Some(becomes.into()), place: place(line) }
}

/// A location as it should be: everything that a WebSocket needs.
fn location(path: &str) -> Location {
    Location {
        internal: false,
        place: place(5),
        matching: Matching::Prefix,
        path: path.into(),
        proxy_pass: Some(set(format!("http://{PEER}"), 6)),
        peers: vec![Peer { address: PEER.into(), ..Peer::default() }],
        http_version: set("1.1".into(), 7),
        headers: vec![
            header("Upgrade", "$http_upgrade", "websocket", 8),
            header("Connection", "$connection_upgrade", "upgrade", 9),
        ],
        lost_headers: Vec::new(),
        own_headers: false,
        rewrite: None,
        read_timeout: Setting::built_in(Duration::from_secs(60)),
        send_timeout: Setting::built_in(Duration::from_secs(60)),
        connect_timeout: Setting::built_in(Duration::from_secs(60)),
        returns: None,
        locations: Vec::new(),
        way: wspulse::event::route::script::Way::default(),
    }
}

fn bare(path: &str) -> Location {
    Location { proxy_pass: None, peers: Vec::new(), headers: Vec::new(), ..location(path) }
}

fn site(locations: Vec<Location>) -> Site {
    let listen = Listen { place: place(2), port: Some(18080), ..Listen::default() };
    Site {
        conf: "/etc/nginx/nginx.conf".into(),
        files: vec!["/etc/nginx/nginx.conf".into(), CONF.into()],
        version: Some(Version { major: 1, minor: 22, patch: 1 }),
        servers: vec![Server {
            place: place(1),
            names: vec!["example.test".into()],
            listens: vec![listen],
            locations,
            returns: None,
            way: wspulse::event::route::script::Way::default(),
        }],
        error_logs: vec![ErrorLog { path: "/var/log/nginx/error.log".into(), level: Level::Error, place: None }],
        worker_connections: Some(Setting {
            value: 256,
            place: Some(Place { file: "/etc/nginx/nginx.conf".into(), line: 6 }),
        }),
        ..Site::default()
    }
}

/// Events in order, each a second after the one before unless a pause is told.
struct Story {
    events: Vec<Stamped>,
    now: Timestamp,
}

impl Story {
    fn new() -> Self {
        Self { events: Vec::new(), now: start() }
    }

    /// A host with a running nginx and this configuration.
    fn of(site: Site) -> Self {
        Self::new().running().say(SourceKind::Config, Event::Site(Box::new(site))).reading()
    }

    fn say(mut self, kind: SourceKind, event: Event) -> Self {
        let from = SourceId::new(&Arc::from("web1"), kind);
        self.events.push(Stamped { at: self.now, from, event });
        self
    }

    fn pause(mut self, seconds: u64) -> Self {
        self.now = self.now.plus(Duration::from_secs(seconds));
        self.say(SourceKind::Clock, Event::Tick)
    }

    fn running(self) -> Self {
        let worker = |pid, shutting_down| Worker {
            pid,
            started: Some(start().minus(Duration::from_secs(3_600))),
            shutting_down,
            fds: Some(20),
            fd_limit: Some(1024),
            rss: Some(4 << 20),
        };
        let master = Master {
            pid: 100,
            started: Some(start().minus(Duration::from_secs(3_600))),
            binary: Some("/usr/sbin/nginx".into()),
            version: Some(Version { major: 1, minor: 22, patch: 1 }),
            conf: Some("/etc/nginx/nginx.conf".into()),
            prefix: Some("/usr/share/nginx".into()),
            error_log: None,
            other_net: false,
            workers: vec![worker(101, false)],
            ..Master::default()
        };
        self.say(SourceKind::Process, Event::Processes(Processes { masters: vec![master], ..Processes::default() }))
    }

    fn stopped(self) -> Self {
        self.say(SourceKind::Process, Event::Processes(Processes::default()))
    }

    fn reading(self) -> Self {
        self.say(SourceKind::ErrorLog, Event::Sense(Sense::seen("reading /var/log/nginx/error.log")))
    }

    fn probe(self, route: Route, url: &str, step: Step) -> Self {
        let target = TargetId { endpoint: Arc::from(URL), route, url: Arc::from(url), cadence: None };
        self.say(SourceKind::Probe, Event::Probe(Box::new(ProbeEvent { target, step })))
    }

    /// A step of the tunnel that is held at this pace.
    fn paced(self, cadence: Cadence, step: Step) -> Self {
        let url: Arc<str> = Arc::from(URL);
        let target = TargetId { endpoint: url.clone(), route: Route::Proxy, url, cadence: Some(cadence) };
        self.say(SourceKind::Probe, Event::Probe(Box::new(ProbeEvent { target, step })))
    }

    /// The same straight to the backend.
    fn paced_directly(self, cadence: Cadence, step: Step) -> Self {
        let (endpoint, url) = (Arc::from(URL), Arc::from(DIRECT));
        let target = TargetId { endpoint, route: Route::Direct, url, cadence: Some(cadence) };
        self.say(SourceKind::Probe, Event::Probe(Box::new(ProbeEvent { target, step })))
    }

    fn at_url(mut self, route: Route, endpoint: &str, url: &str, step: Step) -> Self {
        let target = TargetId { endpoint: Arc::from(endpoint), route, url: Arc::from(url), cadence: None };
        self = self.say(SourceKind::Probe, Event::Probe(Box::new(ProbeEvent { target, step })));
        self
    }

    fn proxy(self, step: Step) -> Self {
        self.probe(Route::Proxy, URL, step)
    }

    fn direct(self, step: Step) -> Self {
        self.probe(Route::Direct, DIRECT, step)
    }

    fn error(self, e: ErrorEntry) -> Self {
        let at = self.now;
        let batch = ErrorBatch {
            entries: vec![ErrorEntry { at, ..e }],
            read: wspulse::event::log::ReadFigures { lines: 1, ..Default::default() },
            ..ErrorBatch::default()
        };
        self.say(SourceKind::ErrorLog, Event::Errors(batch))
    }

    fn backend(self, e: BackendEntry) -> Self {
        let entry = BackendEntry { at: Some(self.now), ..e };
        let batch = BackendBatch { entries: vec![entry], lines: 1, ..BackendBatch::default() };
        self.say(SourceKind::BackendLog, Event::Backend(batch))
    }

    fn handshake(self, h: Handshake) -> Self {
        let at = self.now;
        let batch = ErrorBatch { handshakes: vec![Handshake { at, ..h }], ..ErrorBatch::default() };
        self.say(SourceKind::ErrorLog, Event::Errors(batch))
    }

    fn access(self, e: AccessEntry) -> Self {
        let at = self.now;
        let batch = AccessBatch {
            entries: vec![AccessEntry { at, ..e }],
            read: wspulse::event::log::ReadFigures { lines: 1, ..Default::default() },
        };
        self.say(SourceKind::AccessLog, Event::Access(batch))
    }

    fn model(&self) -> Model {
        let mut model = Model::new("web1");
        for e in &self.events {
            model.apply(e);
        }
        model
    }

    fn seen(&self) -> Seen {
        let model = self.model();
        let diagnosis = diagnose(&model);
        let checks = checks(&model, &diagnosis);
        Seen { diagnosis, checks }
    }
}

/// What the rules said, with short questions.
struct Seen {
    diagnosis: Diagnosis,
    checks: Vec<Check>,
}

impl Seen {
    #[track_caller]
    fn top(&self, id: &str, severity: Severity, verdict: Verdict) -> &Self {
        let first = self.diagnosis.findings.first().unwrap_or_else(|| panic!("no finding, want {id}"));
        assert_eq!(first.id, id, "{:#?}", self.diagnosis.findings);
        assert_eq!(first.severity, severity, "{first:#?}");
        assert_eq!(self.diagnosis.verdict, verdict, "{:#?}", self.diagnosis);
        assert!(!first.said.is_empty() && !first.evidence.is_empty(), "words and evidence: {first:#?}");
        assert_eq!(self.diagnosis.summary, first.said);
        self
    }

    #[track_caller]
    fn only(&self, id: &str) -> &Self {
        let others: Vec<_> = self.diagnosis.findings.iter().filter(|f| f.is_serious() && f.id != id).collect();
        assert!(others.is_empty(), "{others:#?}");
        self
    }

    #[track_caller]
    fn healthy(&self) -> &Self {
        let serious: Vec<_> = self.diagnosis.findings.iter().filter(|f| f.is_serious()).collect();
        assert!(serious.is_empty(), "{serious:#?}");
        assert_eq!(self.diagnosis.verdict, Verdict::Healthy, "{:?}", self.diagnosis);
        let failed: Vec<_> = self.checks.iter().filter(|c| c.status == Status::Fail).collect();
        assert!(failed.is_empty(), "{failed:#?}");
        self
    }

    fn has(&self, id: &str) -> bool {
        self.diagnosis.findings.iter().any(|f| f.id == id)
    }

    #[track_caller]
    fn check(&self, id: &str, status: Status) -> &Self {
        let check = self.checks.iter().find(|c| c.id == id).expect("all checks are always there");
        assert_eq!(check.status, status, "{check:#?}");
        self
    }

    #[track_caller]
    fn subject(&self, location: Option<&str>, upstream: Option<&str>) -> &Self {
        let s = &self.diagnosis.findings[0].subject;
        assert_eq!((s.location.as_deref(), s.upstream.as_deref()), (location, upstream));
        self
    }

    #[track_caller]
    fn points_at(&self, line: u32) -> &Self {
        let f = &self.diagnosis.findings[0];
        let lines: Vec<_> =
            f.evidence.iter().filter_map(|e| e.line).chain(f.fix.as_ref().and_then(|x| x.line)).collect();
        assert!(lines.contains(&line), "{lines:?} lacks {line}");
        self
    }
}

fn opened() -> Step {
    Step::Upgraded {
        took: Duration::from_millis(2),
        request: "GET /ws HTTP/1.1\nHost: 127.0.0.1:18080\nUpgrade: websocket".into(),
        answer: answer(101, "Switching Protocols", "", &[("Upgrade", "websocket")]),
    }
}

fn answer(status: u16, reason: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
    Answer {
        version: "HTTP/1.1".into(),
        status,
        reason: reason.into(),
        headers: headers.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
        body: body.into(),
    }
}

fn refused_with(a: Answer, request: &str) -> Step {
    Step::Refused {
        failure: Failure {
            phase: Phase::Upgrade,
            kind: FailureKind::HttpStatus,
            said: format!("the answer is {} {}, not 101", a.status, a.reason),
        },
        took: Duration::from_millis(3),
        request: request.into(),
        answer: Some(a),
        tls: None,
    }
}

fn status(code: u16, body: &str) -> Step {
    refused_with(answer(code, "No", body, &[]), "GET /ws HTTP/1.1\nUpgrade: websocket")
}

fn failed(phase: Phase, kind: FailureKind, said: &str) -> Step {
    Step::Refused {
        failure: Failure { phase, kind, said: said.into() },
        took: Duration::from_millis(1),
        request: String::new(),
        answer: None,
        tls: None,
    }
}

fn closed(by: ClosedBy, code: Option<u16>, held: f64, idle: f64) -> Step {
    Step::Closed {
        by,
        code,
        reason: String::new(),
        held: Duration::from_secs_f64(held),
        idle: Duration::from_secs_f64(idle),
    }
}

fn line(level: Level, message: &str, errno: Option<u32>, action: &str) -> ErrorEntry {
    let action = Some(action).filter(|a| !a.is_empty());
    ErrorEntry {
        at: start(),
        level,
        category: Category::Other,
        pid: 101,
        connection: Some(7),
        message: message.into(),
        errno,
        ssl: None,
        action: action.map(Into::into),
        client: Some("127.0.0.1".into()),
        server: Some("example.test".into()),
        request: Some("GET /ws HTTP/1.1".into()),
        subrequest: None,
        upstream: Some(format!("http://{PEER}/ws").into()),
        host: Some("127.0.0.1:18080".into()),
        raw: format!("[{}] {message}", level.word()).into(),
    }
}

fn without_upstream(e: ErrorEntry) -> ErrorEntry {
    ErrorEntry { upstream: None, ..e }
}

fn without_request(e: ErrorEntry) -> ErrorEntry {
    ErrorEntry { request: None, server: None, client: None, host: None, upstream: None, ..e }
}

fn refused_line() -> ErrorEntry {
    line(Level::Error, "connect() failed", Some(111), "connecting to upstream")
}

fn session(path: &str, lived: f64) -> AccessEntry {
    AccessEntry {
        at: start(),
        client: Some("203.0.113.9".into()),
        request: Some(format!("GET {path} HTTP/1.1")),
        host: None,
        status: 101,
        body_bytes_sent: Some(12),
        bytes_sent: None,
        request_length: None,
        request_time: Some(Duration::from_secs_f64(lived)),
        upstream_connect_time: None,
        upstream_header_time: None,
        upstream_response_time: None,
        upstream: Some(PEER.into()),
        upstream_status: Some(101),
        connection: Some(9),
        completed: Some(true),
        upgrade: Some("websocket".into()),
        user_agent: None,
        raw: String::new(),
    }
}

// ---------------------------------------------------------------- the recorded stories

fn healthy_story() -> Story {
    Story::of(site(vec![location("/ws")]))
        .direct(opened())
        .proxy(opened())
        .access(session("/ws", 12.0))
        .pause(3)
        .proxy(closed(ClosedBy::Us, Some(1000), 3.0, 0.1))
        .direct(closed(ClosedBy::Us, Some(1000), 3.0, 0.1))
}

fn inheritance_story() -> Story {
    let mut l = location("/ws");
    l.lost_headers = std::mem::take(&mut l.headers);
    l.headers = vec![header("X-Real-IP", "$remote_addr", "203.0.113.9", 8)];
    Story::of(site(vec![l])).direct(opened()).proxy(status(426, "Upgrade Required")).pause(1)
}

fn refused_story() -> Story {
    Story::of(site(vec![location("/ws")]))
        .direct(failed(Phase::Connect, FailureKind::ConnectionRefused, "127.0.0.1:19001: connection refused"))
        .error(refused_line())
        .proxy(status(502, "Bad Gateway"))
        .pause(1)
}

fn idle_story() -> Story {
    let mut l = location("/ws");
    l.read_timeout = set(Duration::from_secs(3), 10);
    let mut story = Story::of(site(vec![l])).direct(opened()).proxy(opened());
    for k in 0..8 {
        story = story.access(session("/ws", 3.0 + f64::from(k) * 0.01));
    }
    story.pause(1)
}

type Recorded = (&'static str, fn() -> Story);
const RECORDED: &[Recorded] = &[
    ("diag-healthy", healthy_story),
    ("diag-inheritance", inheritance_story),
    ("diag-refused", refused_story),
    ("diag-idle-cuts", idle_story),
];

fn recording(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/recordings").join(format!("{name}.jsonl"))
}

#[test]
fn recordings_still_read_as_the_stories_they_were_made_of() {
    for (name, story) in RECORDED {
        let events = story().events;
        let head =
            StreamHeader { schema: STREAM_SCHEMA.into(), wspulse: "0.1.0".into(), host: "web1".into(), at: start() };
        if std::env::var_os("WSPULSE_WRITE_RECORDINGS").is_some() {
            let mut text = serde_json::to_string(&head).expect("serializes") + "\n";
            for e in &events {
                text += &(serde_json::to_string(e).expect("serializes") + "\n");
            }
            std::fs::write(recording(name), text).expect("writes");
        }
        let text = std::fs::read_to_string(recording(name)).expect("the recording is there");
        let mut lines = text.lines();
        let read: StreamHeader = serde_json::from_str(lines.next().expect("a header")).expect("reads");
        assert_eq!(read, head);
        let read: Vec<Stamped> = lines.map(|l| serde_json::from_str(l).expect("an event")).collect();
        assert_eq!(read, events, "{name}");
    }
}

// ---------------------------------------------------------------- what is well stays well

#[test]
fn a_healthy_host_gets_no_finding_above_info() {
    let seen = healthy_story().seen();
    seen.healthy();
    for id in ["nginx-process", "config-valid", "http-version", "upgrade-header", "connection-header", "timeouts"] {
        seen.check(id, Status::Pass);
    }
    for id in ["backend", "handshake", "error-log", "long-connection"] {
        seen.check(id, Status::Pass);
    }
    seen.check("tls", Status::Skip).check("connections", Status::Skip);
    assert_eq!(seen.diagnosis.summary, "1 endpoint open, nothing wrong");
    assert!(seen.has("error-log-hides-evidence"), "worth knowing at level error");
}

#[test]
fn an_outage_that_is_over_accuses_nobody() {
    let story = Story::of(site(vec![location("/ws")])).error(refused_line()).error(refused_line()).pause(90);
    let seen = story.direct(opened()).proxy(opened()).pause(1).seen();
    seen.healthy();
    assert!(seen.has("backend-refused"), "it is told, as info");
    let old = Story::of(site(vec![location("/ws")])).error(refused_line()).pause(700).proxy(opened()).seen();
    assert!(!old.has("backend-refused"), "older than ten minutes is history");
}

#[test]
fn errors_of_ordinary_pages_are_not_our_business() {
    let mut shop = location("/shop");
    shop.headers.clear();
    shop.peers = vec![Peer { address: "127.0.0.1:19003".into(), ..Peer::default() }];
    let mut e = refused_line();
    e.request = Some("GET /shop HTTP/1.1".into());
    e.upstream = Some("http://127.0.0.1:19003/shop".into());
    Story::of(site(vec![location("/ws"), shop])).error(e).proxy(opened()).seen().healthy();
}

#[test]
fn a_forged_request_cannot_name_an_upstream_or_a_limit() {
    let mut e =
        line(Level::Info, "client sent too long header line: \"x: 12 worker_connections are not enough\"", None, "");
    e.request = Some("GET /elsewhere HTTP/1.1".into());
    let seen = Story::of(site(vec![location("/ws")])).error(e).proxy(opened()).seen();
    seen.healthy();
    assert!(!seen.has("worker-connections-exhausted"));
}

#[test]
fn a_few_client_resets_and_idle_cuts_of_long_timeouts_are_everyday_life() {
    let reset = || line(Level::Info, "recv() failed", Some(104), "proxying upgraded connection");
    let cut = || line(Level::Info, "upstream timed out", Some(110), "proxying upgraded connection");
    let mut l = location("/ws");
    l.read_timeout = set(Duration::from_secs(3_600), 10);
    let mut story = Story::of(site(vec![l])).proxy(opened());
    for _ in 0..12 {
        story = story.error(reset()).error(cut());
    }
    let seen = story.seen();
    seen.healthy();
    assert!(seen.has("client-reset") && seen.has("idle-timeout-cuts"), "told as info");
}

#[test]
fn lifetimes_that_pile_up_nowhere_are_no_idle_cuts() {
    let mut l = location("/ws");
    l.read_timeout = set(Duration::from_secs(4), 10);
    let mut story = Story::of(site(vec![l])).proxy(opened());
    for life in [0.5, 9.0, 31.0, 4.1, 7.7, 120.0, 2.0] {
        story = story.access(session("/ws", life));
    }
    story.seen().healthy();
}

#[test]
fn an_old_http_version_that_the_backend_accepts_is_no_finding() {
    let mut l = location("/ws");
    l.http_version = Setting::built_in("1.0".into());
    Story::of(site(vec![l])).proxy(opened()).seen().healthy().check("http-version", Status::Warn);
}

#[test]
fn a_remote_url_is_not_held_against_the_local_configuration() {
    let mut l = location("/ws");
    l.headers.clear();
    let url = "ws://far.example:18080/ws";
    let seen = Story::of(site(vec![l])).at_url(Route::Proxy, url, url, status(400, "")).seen();
    assert!(!seen.has("upgrade-header-missing"));
    seen.top("backend-rejects-handshake", Severity::Critical, Verdict::Broken);
}

#[test]
fn nothing_seen_is_blind_and_not_healthy() {
    let seen = Story::new().pause(1).seen();
    assert_eq!(seen.diagnosis.verdict, Verdict::Blind);
    assert_eq!(seen.checks.len(), 12);
    assert!(seen.checks.iter().all(|c| c.status == Status::Skip), "{:#?}", seen.checks);
}

// ---------------------------------------------------------------- headers and routes

#[test]
fn headers_lost_by_inheritance_win_over_missing_ones() {
    let seen = inheritance_story().seen();
    seen.top("headers-lost-by-inheritance", Severity::Critical, Verdict::Broken).only("headers-lost-by-inheritance");
    seen.subject(Some("/ws"), None).points_at(8);
    seen.check("upgrade-header", Status::Fail).check("connection-header", Status::Fail);
    seen.check("backend", Status::Pass).check("handshake", Status::Fail).check("http-version", Status::Pass);
    assert_eq!(
        seen.diagnosis.summary,
        "/ws answers 426: the upgrade headers are lost by inheritance, conf.d/app.conf:8"
    );
}

#[test]
fn each_header_fault_has_its_own_name() {
    type Spoil = fn(&mut Location);
    let cases: [(&str, Spoil, &str, u32); 8] = [
        ("upgrade-header-missing", |l| l.headers.clear(), "upgrade-header", 6),
        ("upgrade-header-missing", |l| l.headers[0] = header("Upgrade", "", "", 8), "upgrade-header", 8),
        (
            "upgrade-header-wrong-value",
            |l| l.headers[0] = header("Upgrade", "$connection_upgrade", "upgrade", 8),
            "upgrade-header",
            8,
        ),
        (
            "connection-header-missing",
            |l| {
                l.headers.pop();
            },
            "connection-header",
            6,
        ),
        ("connection-header-wrong", |l| l.headers[1] = header("Connection", "", "", 9), "connection-header", 9),
        (
            "connection-header-wrong",
            |l| l.headers[1] = header("Connection", "keep-alive", "keep-alive", 9),
            "connection-header",
            9,
        ),
        ("http-version-too-old", |l| l.http_version = Setting::built_in("1.0".into()), "http-version", 6),
        ("http-version-too-old", |l| l.http_version = set("1.0".into(), 7), "http-version", 7),
    ];
    for (id, spoil, check, at) in cases {
        let mut l = location("/ws");
        spoil(&mut l);
        let seen = Story::of(site(vec![l])).direct(opened()).proxy(status(426, "")).pause(1).seen();
        seen.top(id, Severity::Critical, Verdict::Broken).only(id).check(check, Status::Fail).points_at(at);
        let fix = seen.diagnosis.findings[0].fix.as_ref().expect("a fix");
        assert_eq!(fix.check.as_deref(), Some("nginx -t && nginx -s reload"));
    }
}

#[test]
fn a_connection_list_and_an_unknown_value_are_no_faults() {
    for spoil in [Some("keep-alive, Upgrade"), None] {
        let mut l = location("/ws");
        l.headers[1].for_websocket = spoil.map(str::to_owned);
        let seen = Story::of(site(vec![l])).direct(status(400, "")).proxy(status(400, "")).seen();
        seen.top("backend-rejects-handshake", Severity::Critical, Verdict::Broken);
    }
}

#[test]
fn refused_handshakes_in_the_access_log_are_evidence_too() {
    let mut l = location("/ws");
    l.headers.pop();
    let refused = AccessEntry { status: 426, request_time: None, ..session("/ws", 0.0) };
    let seen = Story::of(site(vec![l])).access(refused).pause(1).seen();
    seen.top("connection-header-missing", Severity::Critical, Verdict::Broken).subject(Some("/ws"), None);
}

/// A client that asked for a WebSocket at `/ws`, what nginx passed on, and the backend's answer.
fn seen_in_the_log(sent: &[(&str, &str)], answer: &str) -> Handshake {
    let head = |line: &str, headers: &[(&str, &str)]| Head {
        line: line.into(),
        headers: headers.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
    };
    Handshake {
        at: start(),
        pid: 101,
        connection: 7,
        client: Some("192.0.2.9:5555".into()),
        request: head(
            "GET /ws HTTP/1.1",
            &[("Host", "example.test"), ("Upgrade", "websocket"), ("Connection", "Upgrade")],
        ),
        upstream: Some(PEER.into()),
        upstream_request: Some(head("GET /ws HTTP/1.1", sent)),
        upstream_answer: Some(head(answer, &[])),
        answer: Some(head(&format!("HTTP/1.1 {answer}"), &[])),
        truncated: false,
    }
}

const BARE: &[(&str, &str)] = &[("Host", "example.test"), ("Connection", "close")];

fn without_headers() -> Location {
    let mut l = location("/ws");
    l.headers.clear();
    l
}

#[test]
fn a_debug_log_that_shows_the_headers_lost_is_evidence() {
    let lost = || seen_in_the_log(BARE, "426 Upgrade Required");
    let seen = Story::of(site(vec![without_headers()])).handshake(lost()).handshake(lost()).pause(1).seen();
    seen.top("upgrade-header-missing", Severity::Critical, Verdict::Broken).only("upgrade-header-missing");
    seen.subject(Some("/ws"), None).points_at(6);
    let found = &seen.diagnosis.findings[0];
    assert_eq!(format!("{:?}", found.confidence), "Certain");
    let log = found.evidence.iter().find(|e| format!("{:?}", e.kind) == "Log").expect("the log is evidence");
    assert_eq!(
        log.said,
        "a client asked /ws for a WebSocket; nginx passed on \"GET /ws HTTP/1.1\" without Upgrade: websocket and \
         Connection: upgrade, and got \"426 Upgrade Required\" (2 such handshakes lately)"
    );
    // A location that means WebSockets and loses the headers is known by its configuration, whatever the answer says.
    let mut l = location("/ws");
    l.lost_headers = std::mem::take(&mut l.headers);
    let seen = Story::of(site(vec![l])).handshake(seen_in_the_log(BARE, "400 Bad Request")).seen();
    seen.top("headers-lost-by-inheritance", Severity::Critical, Verdict::Broken);
}

#[test]
fn a_debug_log_makes_a_guess_certain() {
    let story = || Story::of(site(vec![without_headers()])).proxy(status(400, "")).pause(1);
    let confidence = |s: Story| format!("{:?}", s.seen().diagnosis.findings[0].confidence);
    assert_eq!(confidence(story()), "Likely");
    assert_eq!(confidence(story().handshake(seen_in_the_log(BARE, "400 Bad Request"))), "Certain");
}

#[test]
fn a_debug_log_accuses_nobody_without_proof() {
    let bare = || Story::of(site(vec![without_headers()]));
    let refused = || seen_in_the_log(BARE, "426 Upgrade Required");
    let whole = [("Upgrade", "websocket"), ("Connection", "upgrade")];
    let plain_page = seen_in_the_log(BARE, "404 Not Found");
    let mut cut = refused();
    cut.truncated = true;
    let mut plain = refused();
    plain.request.headers.truncate(1);
    let mut elsewhere = refused();
    elsewhere.request.line = "GET /other HTTP/1.1".into();
    for (story, why) in [
        (bare().handshake(plain_page), "a scanner that asks an ordinary page for a WebSocket"),
        (bare().handshake(cut), "what was cut may have been sent"),
        (bare().handshake(plain), "no WebSocket was asked for"),
        (bare().handshake(elsewhere), "no location is known for it"),
        (bare().handshake(seen_in_the_log(BARE, "401 Unauthorized")), "credentials are another matter"),
        (bare().handshake(refused()).pause(601), "yesterday's trouble"),
        (bare().handshake(refused()).proxy(opened()), "it works now"),
        (Story::of(site(vec![location("/ws")])).handshake(refused()), "the configuration is right"),
        (bare().handshake(seen_in_the_log(&whole, "426 Upgrade Required")), "nothing was lost"),
    ] {
        let seen = story.seen();
        let accused: Vec<_> = seen.diagnosis.findings.iter().filter(|f| f.is_serious()).map(|f| f.id).collect();
        assert!(accused.is_empty(), "{why}: {accused:?}");
    }
}

fn backend_line(fault: Fault, status: Option<u16>, raw: &str) -> BackendEntry {
    BackendEntry { at: None, library: "ws".into(), fault, status, words: raw.into(), raw: raw.into() }
}

#[test]
fn a_backend_that_names_the_header_makes_a_guess_certain() {
    let story = || Story::of(site(vec![without_headers()])).proxy(status(400, ""));
    let first = |s: Story| s.seen().diagnosis.findings[0].clone();
    let guess = first(story());
    assert_eq!((guess.id, format!("{:?}", guess.confidence)), ("upgrade-header-missing", "Likely".to_owned()));
    let said = |fault| backend_line(fault, Some(400), "Invalid Upgrade header");
    let sure = first(story().backend(said(Fault::Upgrade)).pause(1));
    assert_eq!((sure.id, format!("{:?}", sure.confidence)), ("upgrade-header-missing", "Certain".to_owned()));
    assert!(
        sure.evidence.iter().any(|e| e.said.starts_with("the backend's own log: Invalid Upgrade header")),
        "{sure:#?}"
    );
    for (other, why) in [
        (story().backend(said(Fault::Key)).pause(1), "another complaint"),
        (story().backend(said(Fault::Upgrade)).pause(601).proxy(status(400, "")), "yesterday's complaint"),
    ] {
        let finding = first(other);
        assert_eq!(format!("{:?}", finding.confidence), "Likely", "{why}");
        assert_eq!(
            finding.evidence,
            first(story())
                .evidence
                .into_iter()
                .map(|mut e| {
                    e.at = finding.evidence.iter().find(|f| f.said == e.said).and_then(|f| f.at);
                    e
                })
                .collect::<Vec<_>>(),
            "{why}"
        );
    }
    let alone = Story::of(site(vec![without_headers()])).backend(said(Fault::Upgrade)).seen();
    assert!(!alone.has("upgrade-header-missing"), "a backend alone accuses no location");
}

#[test]
fn an_origin_that_only_the_backend_s_log_speaks_of_is_named() {
    let request = "GET /ws HTTP/1.1\nHost: example.test\nOrigin: https://a.test\nUpgrade: websocket";
    let refusal = || refused_with(answer(403, "Forbidden", "no", &[]), request);
    let said = || backend_line(Fault::Origin, Some(403), "origin not allowed");
    let story = || Story::of(site(vec![location("/ws")]));
    let seen = story().direct(refusal()).proxy(refusal()).backend(said()).seen();
    seen.top("origin-rejected", Severity::Critical, Verdict::Broken).only("origin-rejected");
    assert!(!story().direct(refusal()).proxy(refusal()).seen().has("origin-rejected"), "nobody spoke of origins");
    let earlier = story().backend(said()).pause(30).direct(refusal()).proxy(refusal()).seen();
    assert!(!earlier.has("origin-rejected"), "it was about somebody else");
}

#[test]
fn faulty_headers_without_a_failure_accuse_nobody() {
    let mut l = location("/ws");
    l.headers.pop();
    Story::of(site(vec![l])).pause(1).seen().healthy().check("connection-header", Status::Warn);
}

#[test]
fn refusals_of_the_backend_are_told_apart() {
    let bearer =
        || refused_with(answer(401, "Unauthorized", "token", &[("WWW-Authenticate", "Bearer")]), "GET /ws HTTP/1.1");
    let origin = || {
        let a = answer(403, "Forbidden", "Request origin not allowed", &[]);
        refused_with(a, "GET /ws HTTP/1.1\nOrigin: https://evil.test")
    };
    let cases: [(&str, Step, Step); 6] = [
        ("auth-required", bearer(), bearer()),
        ("origin-rejected", origin(), origin()),
        ("not-a-websocket-endpoint", status(404, ""), status(404, "")),
        ("not-a-websocket-endpoint", status(200, "<html>"), status(200, "<html>")),
        ("backend-rejects-handshake", status(500, ""), status(500, "")),
        ("backend-rejects-handshake", status(403, "no"), status(403, "no")),
    ];
    for (id, proxy, direct) in cases {
        let seen = Story::of(site(vec![location("/ws")])).direct(direct).proxy(proxy).seen();
        seen.top(id, Severity::Critical, Verdict::Broken).only(id);
    }
}

#[test]
fn a_denial_by_nginx_is_proved_by_its_log() {
    let denied = without_upstream(line(Level::Error, "access forbidden by rule", None, ""));
    let seen = Story::of(site(vec![location("/ws")])).direct(opened()).error(denied).proxy(status(403, "")).seen();
    seen.top("access-denied", Severity::Critical, Verdict::Broken).only("access-denied");
}

#[test]
fn redirects_name_the_location_that_made_them() {
    let to = "http://127.0.0.1:18080/ws/";
    let moved = refused_with(answer(301, "Moved Permanently", "", &[("Location", to)]), "");
    let seen = Story::of(site(vec![location("/ws/")])).direct(opened()).proxy(moved).seen();
    seen.top("redirected", Severity::Critical, Verdict::Broken)
        .only("redirected")
        .subject(Some("/ws/"), None)
        .points_at(5);
}

#[test]
fn a_path_that_proxy_pass_rewrites_is_found() {
    let mut l = location("/ws/");
    l.proxy_pass = Some(set(format!("http://{PEER}/"), 6));
    let url = "ws://127.0.0.1:18080/ws/chat";
    let seen = Story::of(site(vec![l]))
        .at_url(Route::Direct, url, "ws://127.0.0.1:19001/ws/chat", opened())
        .at_url(Route::Proxy, url, url, status(404, ""))
        .seen();
    seen.top("uri-rewritten", Severity::Critical, Verdict::Broken).only("uri-rewritten").points_at(6);
}

#[test]
fn a_static_location_in_the_way_is_found() {
    let seen = Story::of(site(vec![bare("/"), location("/socket")])).direct(opened()).proxy(status(404, "")).seen();
    seen.top("location-mismatch", Severity::Critical, Verdict::Broken).only("location-mismatch");
}

#[test]
fn answers_that_browsers_would_drop_are_found() {
    let cases = [
        ("accept-mismatch", FailureKind::AcceptMismatch),
        ("subprotocol-mismatch", FailureKind::SubprotocolMismatch),
        ("bad-handshake-response", FailureKind::NotHttp),
        ("bad-handshake-response", FailureKind::BadUpgradeHeaders),
        ("bad-handshake-response", FailureKind::ClosedEarly),
        ("backend-handshake-timeout", FailureKind::Timeout),
    ];
    for (id, kind) in cases {
        let seen = Story::of(site(vec![location("/ws")])).proxy(failed(Phase::Upgrade, kind, "so it was")).seen();
        seen.top(id, Severity::Critical, Verdict::Broken).only(id);
    }
}

// ---------------------------------------------------------------- upstream

#[test]
fn a_backend_that_is_down_is_named_by_log_and_twin() {
    let seen = refused_story().seen();
    seen.top("backend-refused", Severity::Critical, Verdict::Broken).only("backend-refused");
    seen.subject(Some("/ws"), Some(PEER)).check("backend", Status::Fail).check("handshake", Status::Fail);
    assert_eq!(seen.diagnosis.findings.iter().filter(|f| f.id == "backend-refused").count(), 1, "merged");
}

#[test]
fn each_way_a_backend_fails_has_its_own_name() {
    let header = "reading response header from upstream";
    let tls = "SSL handshaking to upstream";
    let connect = "connecting to upstream";
    let ssl = |text: &str| ErrorEntry {
        ssl: Some(text.into()),
        ..line(Level::Error, "SSL_do_handshake() failed", None, tls)
    };
    let verify =
        |text: &str| line(Level::Error, &format!("upstream SSL certificate verify error: ({text})"), None, tls);
    let e = |message: &str, errno: Option<u32>, action: &str| line(Level::Error, message, errno, action);
    let cases = [
        ("backend-refused", e("connect() failed", Some(111), connect), 502),
        ("backend-unreachable", e("connect() to 10.8.0.1:80 failed", Some(113), connect), 502),
        ("backend-connect-timeout", e("upstream timed out", Some(110), connect), 504),
        ("backend-handshake-timeout", e("upstream timed out", Some(110), header), 504),
        ("backend-closed-early", e("upstream prematurely closed connection", None, header), 502),
        ("backend-closed-early", e("recv() failed", Some(104), header), 502),
        ("backend-bad-response", e("upstream sent no valid HTTP/1.0 header", None, header), 502),
        ("backend-bad-response", e("upstream sent invalid header: \"Bad\\x00...\"", None, header), 502),
        ("backend-header-too-big", e("upstream sent too big header", None, header), 502),
        ("no-live-upstreams", e("no live upstreams", None, connect), 502),
        ("backend-permission-denied", e("connect() to unix:/run/app.sock failed", Some(13), connect), 502),
        ("backend-socket-missing", e("connect() to unix:/run/app.sock failed", Some(2), connect), 502),
        ("upstream-name-unresolved", without_upstream(e("be.test could not be resolved", None, "")), 502),
        ("resolver-missing", without_upstream(e("no resolver defined to resolve be.test", None, "")), 502),
        ("upstream-tls-scheme-mismatch", ssl("error:0A00010B:SSL routines::wrong version number"), 502),
        ("upstream-tls-failed", ssl("error:0A000458:SSL routines::tlsv1 unrecognized name:SSL alert number 112"), 502),
        ("upstream-tls-expired", verify("10:certificate has expired"), 502),
        ("upstream-tls-untrusted", verify("18:self-signed certificate"), 502),
        ("upstream-tls-name-mismatch", e("upstream SSL certificate does not match \"b\"", None, tls), 502),
        ("ephemeral-ports-exhausted", e("connect() to 127.0.0.1:19001 failed", Some(99), connect), 502),
        ("upgrade-in-subrequest", e("connection upgrade in subrequest", None, header), 500),
    ];
    for (id, entry, code) in cases {
        let seen = Story::of(site(vec![location("/ws")])).error(entry).proxy(status(code, "")).pause(1).seen();
        seen.top(id, Severity::Critical, Verdict::Broken).only(id);
        assert_eq!(seen.diagnosis.findings[0].subject.location.as_deref(), Some("/ws"), "{id}");
    }
}

#[test]
fn without_any_url_a_fresh_error_of_a_websocket_location_speaks() {
    let seen = Story::of(site(vec![location("/ws")])).error(refused_line()).pause(5).seen();
    seen.top("backend-refused", Severity::Critical, Verdict::Broken).subject(Some("/ws"), Some(PEER));
    let older = Story::of(site(vec![location("/ws")])).error(refused_line()).pause(300).seen();
    older.top("backend-refused", Severity::Warning, Verdict::Degraded);
}

#[test]
fn one_dead_peer_of_two_degrades() {
    let mut l = location("/ws");
    l.peers.push(Peer { address: "127.0.0.1:19101".into(), ..Peer::default() });
    let dead = || ErrorEntry { upstream: Some("http://127.0.0.1:19101/ws".into()), ..refused_line() };
    let seen = Story::of(site(vec![l])).error(dead()).error(dead()).direct(opened()).proxy(opened()).seen();
    seen.top("backend-half-dead", Severity::Warning, Verdict::Degraded).only("backend-half-dead");
    seen.subject(Some("/ws"), Some("127.0.0.1:19101"));
}

#[test]
fn a_gateway_error_without_a_log_is_only_a_guess() {
    let seen = Story::of(site(vec![location("/ws")])).direct(opened()).proxy(status(502, "")).seen();
    seen.top("backend-bad-response", Severity::Critical, Verdict::Broken);
    assert_eq!(seen.diagnosis.findings[0].confidence, wspulse::diagnose::finding::Confidence::Possible);
}

// ---------------------------------------------------------------- reach and TLS

#[test]
fn each_way_of_not_reaching_nginx_has_its_own_name() {
    let cases = [
        ("dns-failure", Phase::Resolve, FailureKind::NameNotFound),
        ("connect-refused", Phase::Connect, FailureKind::ConnectionRefused),
        ("connect-timeout", Phase::Connect, FailureKind::Timeout),
        ("tls-expired", Phase::Tls, FailureKind::TlsExpired),
        ("tls-untrusted", Phase::Tls, FailureKind::TlsUntrusted),
        ("tls-name-mismatch", Phase::Tls, FailureKind::TlsNameMismatch),
        ("tls-handshake-failed", Phase::Tls, FailureKind::TlsFailed),
        ("tls-to-plain-port", Phase::Tls, FailureKind::NotTls),
    ];
    for (id, phase, kind) in cases {
        let seen = Story::of(site(vec![location("/ws")])).proxy(failed(phase, kind, "so it was")).seen();
        seen.top(id, Severity::Critical, Verdict::Broken).only(id).check("handshake", Status::Fail);
        if phase == Phase::Tls {
            seen.check("tls", Status::Fail);
        }
    }
}

#[test]
fn a_dead_nginx_is_the_cause_and_the_refused_connection_its_consequence() {
    let refused = failed(Phase::Connect, FailureKind::ConnectionRefused, "127.0.0.1:18080: connection refused");
    let seen = Story::new().stopped().direct(opened()).proxy(refused).seen();
    seen.top("nginx-not-running", Severity::Critical, Verdict::Broken).check("nginx-process", Status::Fail);
    let second = &seen.diagnosis.findings[1];
    assert_eq!((second.id, second.severity), ("connect-refused", Severity::Warning));
    assert_eq!(second.because, ["nginx-not-running"]);
}

#[test]
fn an_nginx_that_was_not_found_is_not_said_to_be_none() {
    let seen = |hidden, wanted| {
        let processes = Processes { hidden, wanted, ..Processes::default() };
        Story::new().say(SourceKind::Process, Event::Processes(processes)).seen()
    };
    let other = seen(false, Some(4711));
    other.top("nginx-not-running", Severity::Critical, Verdict::Broken);
    let finding = &other.diagnosis.findings[0];
    assert_eq!(finding.said, "no nginx process 4711 runs on this host");
    assert!(finding.fix.as_ref().is_some_and(|f| f.said.contains("--pid")), "{finding:?}");
    assert!(seen(true, None).diagnosis.findings.iter().all(|f| f.id != "nginx-not-running"), "it may be hidden");
}

#[test]
fn plain_requests_to_a_tls_port_are_told_from_a_tls_backend() {
    let body = "<center>The plain HTTP request was sent to HTTPS port</center>";
    let mut tls = site(vec![location("/ws")]);
    tls.servers[0].listens[0].tls = true;
    let seen = Story::of(tls).proxy(status(400, body)).seen();
    seen.top("plain-to-tls-port", Severity::Critical, Verdict::Broken).only("plain-to-tls-port");
    let seen = Story::of(site(vec![location("/ws")])).proxy(status(400, body)).seen();
    seen.top("upstream-tls-scheme-mismatch", Severity::Critical, Verdict::Broken).only("upstream-tls-scheme-mismatch");
}

#[test]
fn a_certificate_near_its_end_is_a_warning() {
    for (days, expected) in [(3, Some("tls-expires-soon")), (60, None)] {
        let tls = Tls {
            version: Some("TLSv1.3".into()),
            names: vec!["example.test".into()],
            not_after: Some(start().plus(Duration::from_secs(days * 86_400))),
            chain: 2,
            ..Tls::default()
        };
        let url = "wss://example.test:18080/ws";
        let story = Story::of(site(vec![location("/ws")]))
            .at_url(Route::Proxy, url, url, Step::Secured { took: Duration::from_millis(4), tls })
            .at_url(Route::Proxy, url, url, opened());
        match expected {
            Some(id) => {
                story.seen().top(id, Severity::Warning, Verdict::Degraded).only(id).check("tls", Status::Warn);
            }
            None => {
                story.seen().healthy().check("tls", Status::Pass);
            }
        }
    }
}

// ---------------------------------------------------------------- tunnels

#[test]
fn tunnels_that_die_at_the_read_timeout_are_idle_cuts() {
    let seen = idle_story().seen();
    seen.top("idle-timeout-cuts", Severity::Warning, Verdict::Degraded).only("idle-timeout-cuts");
    seen.subject(Some("/ws"), None)
        .points_at(10)
        .check("timeouts", Status::Fail)
        .check("long-connection", Status::Fail);
}

/// Silent tunnels of ours die after that silence, one with pings lives.
fn paced(story: Story, after: f64) -> Story {
    let cut = || closed(ClosedBy::Fin, None, after, after);
    let ten = Cadence::Every(Duration::from_secs(10));
    let silent = |story: Story| story.paced(Cadence::Silent, opened()).paced(Cadence::Silent, cut());
    let mut story = silent(silent(story.proxy(opened()).paced(ten, opened())));
    story.now = story.now.plus(Duration::from_secs(500));
    story.say(SourceKind::Clock, Event::Tick)
}

#[test]
fn tunnels_at_several_paces_prove_a_timer_and_harm_nobody() {
    let seen = paced(Story::of(site(vec![location("/ws")])), 60.0).seen();
    seen.healthy().check("long-connection", Status::Pass);
    assert_eq!(severity_of(&seen, "idle-timeout-cuts"), Some(Severity::Info), "only our own silence was cut");
    assert!(!seen.has("middlebox-cuts"), "that is nginx");
    let early = paced(Story::of(site(vec![location("/ws")])), 30.0).seen();
    assert_eq!(severity_of(&early, "middlebox-cuts"), Some(Severity::Info));
    assert!(!early.has("idle-timeout-cuts"), "nginx waits longer");
    let later = paced(Story::of(site(vec![location("/ws")])), 300.0).seen();
    assert!(!later.has("middlebox-cuts"), "nginx itself would have cut before");
    let alone = paced(Story::new(), 60.0).seen();
    assert_eq!(severity_of(&alone, "middlebox-cuts"), Some(Severity::Info), "whose timer it is is not known");
}

#[test]
fn the_same_paces_directly_tell_on_which_side_a_timer_sits() {
    let said = |story: Story, id: &str| {
        let seen = paced(story, 30.0).seen();
        seen.healthy();
        let found = seen.diagnosis.findings.iter().find(|f| f.id == id).unwrap_or_else(|| panic!("no {id}"));
        let evidence: Vec<&str> = found.evidence.iter().map(|e| e.said.as_str()).collect();
        format!("{}\n{}", found.said, evidence.join("\n"))
    };
    let lives = |story: Story| story.paced_directly(Cadence::Silent, opened());
    let dies = |story: Story| lives(story).paced_directly(Cadence::Silent, closed(ClosedBy::Fin, None, 30.2, 30.2));
    let patient = || Story::of(site(vec![location("/ws")]));
    for story in [patient, Story::new] {
        let before = said(lives(story()), "middlebox-cuts");
        assert!(
            before.contains("it sits before the backend") && before.contains("directly a silent tunnel"),
            "{before}"
        );
        let behind = said(dies(story()), "middlebox-cuts");
        assert!(behind.contains("it sits in the backend or near it"), "{behind}");
        assert!(behind.contains("directly a tunnel of ours died after as much silence"), "{behind}");
    }
    // Where nginx waits as long, the backend may have such a timer as well.
    let mut hasty = location("/ws");
    hasty.read_timeout = set(Duration::from_secs(30), 10);
    let both = said(dies(Story::of(site(vec![hasty]))), "idle-timeout-cuts");
    assert!(both.contains("30.0 s is the backend's, too"), "{both}");
}

#[test]
fn the_log_and_our_own_tunnel_tell_of_idle_cuts_too() {
    let cut = || line(Level::Info, "upstream timed out", Some(110), "proxying upgraded connection");
    let logged = Story::of(site(vec![location("/ws")])).error(cut()).error(cut()).error(cut()).seen();
    logged.top("idle-timeout-cuts", Severity::Warning, Verdict::Degraded);
    let own =
        Story::of(site(vec![location("/ws")])).proxy(opened()).proxy(closed(ClosedBy::Fin, None, 60.1, 60.0)).seen();
    own.top("idle-timeout-cuts", Severity::Warning, Verdict::Degraded).only("idle-timeout-cuts");
}

#[test]
fn zero_is_no_time_at_all() {
    let mut l = location("/ws");
    l.read_timeout = set(Duration::ZERO, 10);
    let timed_out = line(Level::Error, "upstream timed out", Some(110), "reading response header from upstream");
    let seen = Story::of(site(vec![l])).direct(opened()).error(timed_out).proxy(status(504, "")).seen();
    seen.top("timeout-zero", Severity::Critical, Verdict::Broken).points_at(10).check("timeouts", Status::Fail);
    let second = &seen.diagnosis.findings[1];
    assert_eq!((second.id, second.because.as_slice()), ("backend-handshake-timeout", ["timeout-zero"].as_slice()));
    assert_eq!(second.severity, Severity::Warning);
}

#[test]
fn resets_by_the_backend_are_told_from_those_by_clients() {
    let reset = |level| line(level, "recv() failed", Some(104), "proxying upgraded connection");
    let mut story = Story::of(site(vec![location("/ws")])).proxy(opened());
    for _ in 0..6 {
        story = story.error(reset(Level::Error)).error(reset(Level::Info));
    }
    let seen = story.seen();
    seen.top("backend-reset", Severity::Warning, Verdict::Degraded).only("backend-reset");
    assert!(seen.has("client-reset"));
}

#[test]
fn a_close_code_of_the_backend_is_passed_on() {
    let code = closed(ClosedBy::ServerClose, Some(1011), 0.5, 0.5);
    let seen = Story::of(site(vec![location("/ws")])).direct(opened()).proxy(opened()).proxy(code).seen();
    seen.top("backend-closed-with-code", Severity::Critical, Verdict::Broken).only("backend-closed-with-code");
    seen.check("long-connection", Status::Fail).check("handshake", Status::Pass);
}

#[test]
fn deaths_at_one_age_are_a_bounded_age_only_when_our_own_tunnel_died_so_too() {
    let mut story = Story::of(site(vec![location("/ws")])).proxy(opened());
    for k in 0..6 {
        story = story.access(session("/ws", 2.5 + f64::from(k) * 0.02));
    }
    assert!(!story.seen().has("max-age-cuts"), "clients may all stay equally long");
    let seen = story.proxy(closed(ClosedBy::Fin, None, 2.5, 0.2)).seen();
    seen.top("max-age-cuts", Severity::Warning, Verdict::Degraded).subject(Some("/ws"), None);
}

#[test]
fn a_backend_that_closes_with_our_ping_unread_went_away_and_did_not_crash() {
    let reset = line(Level::Error, "recv() failed", Some(104), "proxying upgraded connection");
    let mut story = Story::of(site(vec![location("/ws")])).proxy(opened());
    for k in 0..6 {
        story = story.access(AccessEntry { body_bytes_sent: Some(0), ..session("/ws", 0.8 + f64::from(k)) });
    }
    let seen = story.error(reset).proxy(closed(ClosedBy::Fin, None, 0.8, 0.8)).seen();
    seen.top("backend-went-away", Severity::Warning, Verdict::Degraded).only("backend-went-away");
}

#[test]
fn a_lost_query_an_unloved_host_and_a_wrong_server_have_their_own_names() {
    let query = |pass: &str, code| {
        let l = Location { proxy_pass: Some(set(pass.into(), 6)), peers: Vec::new(), ..location("/ws") };
        let url = format!("{URL}?token=***");
        let tell = Story::of(site(vec![l])).at_url(Route::Direct, &url, &format!("{DIRECT}?token=***"), opened());
        tell.at_url(Route::Proxy, &url, &url, status(code, "")).pause(1).seen()
    };
    query("http://$be/ws", 401)
        .top("query-dropped", Severity::Critical, Verdict::Broken)
        .only("query-dropped")
        .points_at(6);
    assert!(!query("http://$be/ws$is_args$args", 401).has("query-dropped"));
    assert!(!query("http://$be", 401).has("query-dropped"), "without a path of its own it passes all on");
    let host = Story::of(site(vec![location("/ws")])).direct(opened()).proxy(status(400, "Invalid Host header"));
    host.pause(1).seen().top("host-header-rejected", Severity::Critical, Verdict::Broken).only("host-header-rejected");
    let mut two = site(vec![bare("/")]);
    let meant = site(vec![location("/ws")]).servers.remove(0);
    two.servers.push(Server { names: vec!["chat.test".into()], ..meant });
    let url = "ws://caht.test:18080/ws";
    let mut tell = Story::of(two).at_url(Route::Proxy, url, url, Step::Dialing { attempt: 1 });
    let local = "127.0.0.1:18080".parse().expect("an address");
    tell = tell.at_url(
        Route::Proxy,
        url,
        url,
        Step::Connected { took: Duration::ZERO, local, peer: local, failed: Vec::new() },
    );
    let seen = tell.at_url(Route::Proxy, url, url, status(404, "")).pause(1).seen();
    seen.top("wrong-server-block", Severity::Critical, Verdict::Broken).only("wrong-server-block");
}

#[test]
fn a_port_that_wants_the_proxy_protocol_says_nothing_to_others() {
    let mut s = site(vec![location("/ws")]);
    s.servers[0].listens[0].proxy_protocol = true;
    let silent = failed(Phase::Upgrade, FailureKind::ClosedEarly, "closed without an answer");
    let seen = Story::of(s).proxy(silent).pause(1).seen();
    seen.top("proxy-protocol-mismatch", Severity::Critical, Verdict::Broken)
        .only("proxy-protocol-mismatch")
        .points_at(2);
}

#[test]
fn an_address_that_fails_beside_one_that_answers_is_worth_knowing_and_no_more() {
    let connected = |failed: &str| Step::Connected {
        took: Duration::from_millis(251),
        local: "127.0.0.1:50000".parse().expect("an address"),
        peer: "127.0.0.1:18080".parse().expect("an address"),
        failed: vec![failed.into()],
    };
    let cases = [
        ("[::1]:18080: connection refused", Some("connect-refused")),
        ("[::1]:18080: no answer within 251ms", Some("connect-timeout")),
        // This machine has no IPv6: that is nobody's fault.
        ("[2001:db8::1]:18080: network is unreachable", None),
    ];
    for (failed, id) in cases {
        let seen = Story::of(site(vec![location("/ws")])).proxy(connected(failed)).proxy(opened()).pause(1).seen();
        seen.healthy();
        let said = seen.diagnosis.findings.iter().filter(|f| f.id.starts_with("connect-")).map(|f| f.id);
        assert_eq!(said.collect::<Vec<_>>(), id.into_iter().collect::<Vec<_>>(), "{failed}");
    }
}

#[test]
fn the_remedy_for_a_certificate_is_that_of_its_fault() {
    let refused = |kind, said: &str, (subject, issuer): (&str, &str)| Step::Refused {
        failure: Failure { phase: Phase::Tls, kind, said: said.into() },
        took: Duration::from_millis(3),
        request: String::new(),
        answer: None,
        tls: Some(Tls { chain: 1, subject: Some(subject.into()), issuer: Some(issuer.into()), ..Tls::default() }),
    };
    let (own, others) = (("CN=a", "CN=a"), ("CN=a", "CN=ca"));
    let early = "the certificate of h:443 is not valid before 2027-01-01; check the clocks of both machines";
    let cases = [
        (refused(FailureKind::TlsFailed, early, others), "clocks"),
        (refused(FailureKind::TlsFailed, "h refused TLS with the alert ProtocolVersion", others), "ssl_protocols"),
        (refused(FailureKind::TlsUntrusted, "it is self-signed", own), "from an authority"),
        (refused(FailureKind::TlsUntrusted, "its issuer is not trusted", others), "the whole chain"),
    ];
    for (step, word) in cases {
        let seen = Story::of(site(vec![location("/ws")])).proxy(step).pause(1).seen();
        let fix = seen.diagnosis.findings[0].fix.as_ref().expect("a remedy");
        assert!(fix.said.contains(word), "{word}: {fix:?}");
    }
}

#[test]
fn a_server_that_answers_no_ping_is_told_though_its_tunnel_is_open() {
    let story = || Story::of(site(vec![location("/ws")])).proxy(opened()).proxy(Step::Pinged { seq: 1 });
    let seen = story().proxy(Step::Missed { seq: 1 }).pause(1).seen();
    seen.top("half-open-tunnels", Severity::Warning, Verdict::Degraded).only("half-open-tunnels");
    // One that was answered before, or late, is a slow one.
    let pong = Step::Pong { seq: 1, rtt: Duration::from_millis(3) };
    story().proxy(pong).proxy(Step::Pinged { seq: 2 }).proxy(Step::Missed { seq: 2 }).pause(1).seen().healthy();
    story().pause(1).seen().healthy();
}

#[test]
fn how_a_server_broke_the_protocol_is_said() {
    let (held, idle) = (Duration::from_millis(2), Duration::from_millis(1));
    let reason = "a frame with reserved bits set".to_owned();
    let end = Step::Closed { by: ClosedBy::ProtocolError, code: None, reason, held, idle };
    let seen = Story::of(site(vec![location("/ws")])).proxy(opened()).proxy(end).pause(1).seen();
    seen.top("backend-closed-with-code", Severity::Warning, Verdict::Degraded);
    let said = &seen.diagnosis.findings[0].said;
    assert_eq!(said, "/ws: the server broke the protocol at once: a frame with reserved bits set");
}

#[test]
fn a_tls_alert_in_place_of_an_answer_is_the_wrong_scheme() {
    let said = "the server answered a plain request with TLS: the port wants wss://";
    let step = failed(Phase::Upgrade, FailureKind::NotHttp, said);
    let seen = Story::new().proxy(step).pause(1).seen();
    seen.top("plain-to-tls-port", Severity::Critical, Verdict::Broken).only("plain-to-tls-port");
}

#[test]
fn what_a_refusal_says_for_itself_is_evidence() {
    let said = |body: &str| {
        let seen = Story::of(site(vec![location("/ws")])).proxy(status(400, body)).pause(1).seen();
        seen.diagnosis.findings[0].evidence.iter().map(|e| e.said.clone()).collect::<Vec<_>>().join("\n")
    };
    assert!(said("\r\nmissing subprotocol.\nmore").contains("answered 400: \"missing subprotocol.\""));
    for page in ["<html>\n<h1>400 Bad Request</h1>", "", " \n "] {
        assert!(said(page).ends_with("answered 400"), "{page}");
    }
}

#[test]
fn what_an_http_proxy_says_accuses_neither_nginx_nor_the_backend() {
    let refuses = |kind, answer: Option<Answer>| Step::Refused {
        failure: Failure { phase: Phase::Proxy, kind, said: "the HTTP proxy p.test:3128: no way".into() },
        took: Duration::from_millis(3),
        request: String::new(),
        answer,
        tls: None,
    };
    let status = |code, body| refuses(FailureKind::HttpStatus, Some(answer(code, "No", body, &[])));
    let cases = [
        status(401, ""),
        status(403, "Request Origin not allowed"),
        status(404, ""),
        status(407, ""),
        status(502, ""),
        status(504, ""),
        refuses(FailureKind::NotHttp, None),
        refuses(FailureKind::Timeout, None),
        refuses(FailureKind::ClosedEarly, None),
        refuses(FailureKind::Reset, None),
        refuses(FailureKind::ConnectionRefused, None),
        refuses(FailureKind::NameNotFound, None),
        refuses(FailureKind::Io, None),
    ];
    for step in cases {
        let seen = Story::of(site(vec![location("/ws")])).proxy(step).pause(1).seen();
        seen.top("http-proxy-failed", Severity::Critical, Verdict::Broken).only("http-proxy-failed");
    }
}

#[test]
fn a_connect_that_fails_on_this_machine_sends_nobody_to_nginx() {
    let seen = Story::of(site(vec![location("/ws")]))
        .proxy(failed(
            Phase::Connect,
            FailureKind::Io,
            "no connection to the unix socket /run/a.sock: permission denied",
        ))
        .pause(1)
        .seen();
    seen.top("connect-refused", Severity::Critical, Verdict::Broken).only("connect-refused");
    let fix = seen.diagnosis.findings[0].fix.as_ref().expect("a remedy");
    assert!(fix.said.contains("this machine"), "{fix:?}");
}

#[test]
fn a_backend_that_only_speaks_tls_is_told_by_its_twin() {
    let twin = "wss://127.0.0.1:19001/ws";
    let seen = Story::of(site(vec![location("/ws")]))
        .probe(Route::Direct, twin, opened())
        .error(line(
            Level::Error,
            "upstream prematurely closed connection",
            None,
            "reading response header from upstream",
        ))
        .proxy(status(502, ""))
        .pause(1)
        .seen();
    seen.top("upstream-tls-scheme-mismatch", Severity::Critical, Verdict::Broken).points_at(6);
}

#[test]
fn localhost_is_half_dead_while_one_of_its_addresses_serves() {
    let l = Location { peers: vec![Peer { address: "localhost:19001".into(), ..Peer::default() }], ..location("/ws") };
    let dead = |ip: &str| ErrorEntry { upstream: Some(format!("http://{ip}:19001/ws").into()), ..refused_line() };
    let half =
        Story::of(site(vec![l.clone()])).error(dead("[::1]")).error(dead("[::1]")).proxy(opened()).pause(1).seen();
    half.top("backend-half-dead", Severity::Warning, Verdict::Degraded).subject(Some("/ws"), Some("[::1]:19001"));
    let whole = Story::of(site(vec![l])).error(dead("127.0.0.1")).proxy(status(502, "")).pause(1).seen();
    whole.top("backend-refused", Severity::Critical, Verdict::Broken);
}

#[test]
fn a_full_accept_queue_says_whose_it_is() {
    let look = |queue| SocketDelta {
        full: true,
        source: SocketSource::Netlink,
        rows: Vec::new(),
        closed: Vec::new(),
        listeners: vec![Listener { local: ([127, 0, 0, 1], 19001).into(), queue, backlog: Some(4) }],
        took: Duration::from_millis(1),
        ..SocketDelta::default()
    };
    let story = |queue| {
        let tell = Story::of(site(vec![location("/ws")])).say(SourceKind::Sockets, Event::Sockets(look(queue)));
        let timed_out = line(Level::Error, "upstream timed out", Some(110), "connecting to upstream");
        tell.error(timed_out).proxy(status(504, "")).pause(1).seen()
    };
    let seen = story(5);
    seen.top("listen-queue-full", Severity::Critical, Verdict::Broken);
    assert!(seen.diagnosis.findings[0].said.contains("a backend on 127.0.0.1:19001"));
    story(4).top("backend-connect-timeout", Severity::Critical, Verdict::Broken).only("backend-connect-timeout");
}

#[test]
fn clients_that_do_not_read_are_a_warning_when_they_are_several() {
    let cut = || line(Level::Info, "client timed out", Some(110), "proxying upgraded connection");
    let one = Story::of(site(vec![location("/ws")])).proxy(opened()).error(cut()).pause(1);
    assert!(one.seen().healthy().has("stalled-reader"));
    let several = one.error(cut()).error(cut()).seen();
    several.top("stalled-reader", Severity::Warning, Verdict::Degraded).subject(Some("/ws"), Some(PEER));
}

#[test]
fn a_plain_http2_port_of_an_old_nginx_has_no_websockets() {
    let story = |minor| {
        let mut s = site(vec![location("/ws")]);
        s.servers[0].listens[0].http2 = true;
        s.version = Some(Version { major: 1, minor, patch: 1 });
        let nonsense = failed(Phase::Upgrade, FailureKind::NotHttp, "the answer is no HTTP");
        Story::of(s).proxy(nonsense).pause(1).seen()
    };
    story(22).top("http2-no-websocket", Severity::Critical, Verdict::Broken).points_at(2);
    story(25).top("bad-handshake-response", Severity::Critical, Verdict::Broken);
}

#[test]
fn slow_handshakes_and_fixed_connection_headers_are_worth_knowing() {
    let mut l = location("/ws");
    l.headers[1] = header("Connection", "Upgrade", "Upgrade", 9);
    let slow = |seconds| {
        let Step::Upgraded { request, answer, .. } = opened() else { unreachable!("opened() is that") };
        Step::Upgraded { took: Duration::from_secs(seconds), request, answer }
    };
    let seen = Story::of(site(vec![l.clone()])).proxy(slow(2)).pause(1).seen();
    assert!(seen.healthy().has("handshake-slow") && seen.has("connection-upgrade-hardcoded"));
    let seen = Story::of(site(vec![l])).proxy(slow(6)).pause(1).seen();
    seen.top("handshake-slow", Severity::Warning, Verdict::Degraded);
}

/// The k-th client of worker 101.
fn socket(k: u16, state: TcpState, info: Option<TcpInfo>) -> SocketRow {
    let (local, peer) = (([127, 0, 0, 1], 18080).into(), ([203, 0, 113, 9], 40_000 + k).into());
    SocketRow { inode: u32::from(k), pid: Some(101), info, ..SocketRow::new(u64::from(k), local, peer, state) }
}

#[test]
fn slots_that_are_nearly_all_taken_are_a_warning() {
    let row = |k: u16| socket(k, TcpState::Established, None);
    let story = |taken| {
        let delta = SocketDelta {
            full: true,
            source: SocketSource::Netlink,
            rows: (1..=taken).map(row).collect(),
            closed: Vec::new(),
            listeners: Vec::new(),
            took: Duration::from_millis(1),
            ..SocketDelta::default()
        };
        Story::of(site(vec![location("/ws")])).say(SourceKind::Sockets, Event::Sockets(delta)).seen()
    };
    story(218).top("worker-connections-low", Severity::Warning, Verdict::Degraded).points_at(6);
    story(217).healthy();
}

#[test]
fn a_close_frame_with_a_code_is_no_reset_even_when_a_reset_follows() {
    let reset = line(Level::Error, "recv() failed", Some(104), "proxying upgraded connection");
    let seen = Story::of(site(vec![location("/ws")]))
        .proxy(opened())
        .error(reset)
        .proxy(closed(ClosedBy::ServerClose, Some(1011), 0.5, 0.0))
        .seen();
    seen.top("backend-closed-with-code", Severity::Critical, Verdict::Broken).only("backend-closed-with-code");
}

/// A site whose old workers drain for five seconds.
fn draining_site() -> Site {
    let mut site = site(vec![location("/ws")]);
    site.worker_shutdown_timeout = Some(set(Duration::from_secs(5), 3));
    site
}

fn notice(message: &str) -> ErrorEntry {
    ErrorEntry { category: Category::LifecycleConfig, ..without_request(line(Level::Notice, message, None, "")) }
}

/// nginx says that it was reloaded, and an old worker that it goes.
fn reloaded(story: Story) -> Story {
    story.error(notice("signal 1 (SIGHUP) received from 77, reconfiguring")).error(notice("gracefully shutting down"))
}

/// Tunnels that end now, all at once; `completed` as the access log's format tells it.
fn ended_together(story: Story, count: u32, completed: Option<bool>) -> Story {
    (0..count).fold(story, |s, k| s.access(AccessEntry { completed, ..session("/ws", 12.0 + f64::from(k) * 7.3) }))
}

#[test]
fn tunnels_that_a_reload_cuts_end_at_one_moment() {
    let told = |completed, count| {
        let after = reloaded(Story::of(draining_site()).proxy(opened()).pause(60)).pause(5);
        ended_together(after, count, completed).pause(1)
    };
    for (completed, count) in [(Some(false), 3), (None, 12)] {
        let seen = told(completed, count).seen();
        seen.top("reload-cuts", Severity::Warning, Verdict::Degraded).points_at(3).subject(Some("/ws"), None);
    }
    assert!(!told(None, 3).seen().has("reload-cuts"), "three may end together for nothing");
    assert!(!told(Some(true), 12).seen().has("reload-cuts"), "nginx says that these ended by themselves");
    let mut endless = draining_site();
    endless.worker_shutdown_timeout = None;
    let story = ended_together(reloaded(Story::of(endless).proxy(opened())).pause(5), 12, Some(false)).pause(1);
    assert!(!story.seen().has("reload-cuts"), "without that timeout old workers cut nobody");
    let marks = told(None, 12).model().marks.iter().map(|m| m.said.clone()).collect::<Vec<_>>();
    assert!(marks.contains(&"reload".to_owned()), "the timeline shows what the log says: {marks:?}");
}

#[test]
fn a_reload_is_blamed_only_for_what_died_when_its_time_was_over() {
    let calm = || Story::of(draining_site()).proxy(opened()).pause(60);
    let burst = |story: Story| ended_together(story, 20, None).pause(1).seen();
    assert!(!burst(calm()).has("reload-cuts"), "a burst without a reload");
    reloaded(calm()).pause(5).pause(60).seen().healthy();
    assert!(!burst(reloaded(calm())).has("reload-cuts"), "at the moment of the reload nothing is cut");
    assert!(!burst(reloaded(calm()).pause(30)).has("reload-cuts"), "long after the cut");
    let failed = calm().error(notice("reconfiguring")).pause(5);
    assert!(!burst(failed).has("reload-cuts"), "a reload that failed retires nobody");
    let busy = (0..400).fold(reloaded(calm()), |s, k| {
        let s = if k % 20 == 0 { s.pause(1) } else { s };
        s.access(session("/ws", f64::from(k)))
    });
    assert!(!busy.seen().has("reload-cuts"), "twenty a second is the usual rate here");
}

#[test]
fn the_process_table_tells_of_a_reload_where_the_log_is_silent() {
    let story = |workers: &[(u32, u64)]| {
        let mut story = Story::of(draining_site()).proxy(opened()).pause(60);
        let now = story.now;
        let worker = |&(pid, age): &(u32, u64)| Worker {
            pid,
            started: Some(now.minus(Duration::from_secs(age))),
            shutting_down: false,
            fds: Some(20),
            fd_limit: Some(1024),
            rss: Some(4 << 20),
        };
        let began = Some(now.minus(Duration::from_secs(3_600)));
        let workers = workers.iter().map(worker).collect();
        let master = Master {
            pid: 100,
            started: began,
            conf: Some("/etc/nginx/nginx.conf".into()),
            workers,
            ..Master::default()
        };
        story = story
            .say(SourceKind::Process, Event::Processes(Processes { masters: vec![master], ..Processes::default() }));
        ended_together(story.pause(3), 12, None).pause(1).seen()
    };
    story(&[(201, 2), (202, 2)]).top("reload-cuts", Severity::Warning, Verdict::Degraded);
    assert!(!story(&[(101, 3_600), (202, 2)]).has("reload-cuts"), "one young worker took the place of one that died");
}

#[test]
fn a_configuration_that_is_not_loaded_counts_only_where_it_contradicts() {
    let mut site = site(vec![location("/ws")]);
    let written = |at| Some(Written { at, file: CONF.into() });
    site.changed = written(start().minus(Duration::from_secs(60)));
    let failing = |site: &Site| Story::of(site.clone()).direct(opened()).proxy(status(426, "")).pause(1).seen();
    let seen = failing(&site);
    seen.top("config-not-reloaded", Severity::Critical, Verdict::Broken).only("config-not-reloaded");
    seen.check("config-valid", Status::Fail);
    let works = Story::of(site.clone()).direct(opened()).proxy(opened()).pause(1).seen();
    works.healthy();
    assert!(works.has("config-not-reloaded"), "still worth knowing");
    site.changed = written(start().minus(Duration::from_secs(7_200)));
    assert!(!failing(&site).has("config-not-reloaded"), "the workers are younger than the file");
}

#[test]
fn fixes_of_headers_are_diffs_of_the_real_file() {
    let text = "server {\n    listen 18080;\n    proxy_set_header Host $host;\n\n    location /ws {\n        proxy_pass http://127.0.0.1:19001;\n    }\n}\n";
    let inherited = header("Host", "$host", "x", 3);
    let bare = Location { headers: vec![inherited.clone()], ..location("/ws") };
    let mut site = site(vec![bare]);
    site.sources.insert(CONF.into(), SourceText { text: text.into(), real: None });
    let patch = |site: &Site| {
        let seen = Story::of(site.clone()).direct(opened()).proxy(status(400, "")).pause(1).seen();
        seen.diagnosis.findings[0].fix.clone().and_then(|f| f.patch).expect("a patch")
    };
    let plain = patch(&site);
    assert!(plain.starts_with(&format!("--- a{CONF}\n+++ b{CONF}\n@@ -4,5 +4,8 @@\n")), "{plain}");
    let lines = "+        proxy_set_header Upgrade $http_upgrade;\n+        proxy_set_header Connection upgrade;\n\
                 +        proxy_set_header Host $host;\n";
    assert!(plain.contains(lines), "what it inherits is said again: {plain}");
    site.upgrade_map = Some("$connection_upgrade".into());
    assert!(patch(&site).contains("+        proxy_set_header Connection $connection_upgrade;\n"));
    site.servers[0].locations[0].own_headers = true;
    assert!(!patch(&site).contains("Host"), "its own lines stay as they are");
    site.servers[0].locations[0].headers[0] = header("Upgrade", "x", "x", 3);
    let spoilt = Story::of(site).direct(opened()).proxy(status(400, "")).pause(1).seen();
    let fix = spoilt.diagnosis.findings[0].fix.clone().expect("a fix");
    assert_eq!(fix.patch, None, "line 3 is no Upgrade line: better no patch than a wrong one");
}

#[test]
fn a_crashed_worker_and_a_draining_one() {
    let crash = without_request(line(Level::Alert, "worker process 3665 exited on signal 11", None, ""));
    let seen = Story::of(site(vec![location("/ws")])).error(crash).proxy(opened()).seen();
    seen.top("worker-crash", Severity::Warning, Verdict::Degraded).only("worker-crash");
}

#[test]
fn sockets_that_nobody_closes_pile_up() {
    let silent = TcpInfo { last_sent_ms: Some(300_000), last_received_ms: Some(300_000), ..TcpInfo::default() };
    let row = |k: u16| socket(k, TcpState::CloseWait, Some(silent));
    let delta = SocketDelta {
        full: true,
        source: SocketSource::Netlink,
        rows: (1..=12).map(row).collect(),
        closed: Vec::new(),
        listeners: Vec::new(),
        took: Duration::from_millis(1),
        ..SocketDelta::default()
    };
    let seen = Story::of(site(vec![location("/ws")])).say(SourceKind::Sockets, Event::Sockets(delta)).seen();
    seen.top("close-wait-pile", Severity::Warning, Verdict::Degraded);
}

/// The k-th tunnel to the backend: its client leg and its leg to the backend, which has been silent for so long.
fn tunnel(k: u16, silent: Duration) -> [SocketRow; 2] {
    let ms = u32::try_from(silent.as_millis()).ok();
    let info = TcpInfo {
        last_sent_ms: ms,
        last_received_ms: ms,
        bytes_acked: Some(9),
        bytes_received: Some(9),
        ..TcpInfo::default()
    };
    let ip = [203, 0, 113, u8::try_from(k).expect("few")];
    let client = SocketRow { peer: (ip, 40_000).into(), ..socket(k, TcpState::Established, Some(info)) };
    let ends = (([127, 0, 0, 1], 50_000 + k).into(), PEER.parse().expect("an address"));
    let row = SocketRow::new(1_000 + u64::from(k), ends.0, ends.1, TcpState::Established);
    [client, SocketRow { inode: 1_000 + u32::from(k), pid: Some(101), info: Some(info), ..row }]
}

fn table(full: bool, rows: Vec<SocketRow>, closed: Vec<u64>) -> Event {
    let since = (!full).then_some(Duration::from_secs(1));
    Event::Sockets(SocketDelta { full, source: SocketSource::Netlink, rows, closed, since, ..SocketDelta::default() })
}

/// The backend of these tunnels answers nothing, while data is sent to it so many times.
fn unanswered(k: u16, times: u8, silent: u64) -> SocketRow {
    let [_, row] = tunnel(k, Duration::from_secs(silent));
    let info = row.info.map(|i| TcpInfo { backoff: Some(times), unacked: Some(2), last_sent_ms: Some(10), ..i });
    SocketRow { info, ..row }
}

#[test]
fn a_backend_that_answers_nothing_for_long_leaves_tunnels_half_open_and_a_lossy_moment_does_not() {
    let story = |lost: u16, times, silent| {
        let all = (1..=8).flat_map(|k| tunnel(k, Duration::from_millis(500))).collect();
        let look = (1..=lost).map(|k| unanswered(k, times, silent)).collect();
        let story = Story::of(patient_site()).running().say(SourceKind::Sockets, table(true, all, vec![]));
        story.pause(1).say(SourceKind::Sockets, table(false, look, vec![])).seen()
    };
    let seen = story(3, 8, 60);
    seen.top("half-open-tunnels", Severity::Warning, Verdict::Degraded).only("half-open-tunnels");
    seen.subject(None, Some(PEER));
    story(2, 8, 60).healthy();
    story(8, 5, 60).healthy();
    story(8, 8, 20).healthy();
}

#[test]
fn a_few_lost_clients_among_many_are_everyday_life() {
    let story = |all: u16| {
        let rows = (1..=all).flat_map(|k| tunnel(k, Duration::from_millis(500))).collect();
        let lost = (1..=3).map(|k| {
            let [client, _] = tunnel(k, Duration::from_secs(90));
            let info = client.info.map(|i| TcpInfo { backoff: Some(9), unacked: Some(1), ..i });
            SocketRow { info, ..client }
        });
        let story = Story::of(patient_site()).running().say(SourceKind::Sockets, table(true, rows, vec![]));
        story.pause(1).say(SourceKind::Sockets, table(false, lost.collect(), vec![])).seen()
    };
    story(20).top("half-open-tunnels", Severity::Warning, Verdict::Degraded);
    story(100).healthy();
}

/// Of eight tunnels these end at once; `seen` of them are seen to be closed by the backend first.
fn burst(ends: std::ops::RangeInclusive<u16>, seen: u16) -> Story {
    let rows = (1..=8).flat_map(|k| tunnel(k, Duration::from_millis(500))).collect();
    let story = Story::of(patient_site()).running().say(SourceKind::Sockets, table(true, rows, vec![]));
    let closing = (1..=seen).map(|k| {
        let [_, row] = tunnel(k, Duration::from_millis(500));
        SocketRow { state: TcpState::CloseWait, ..row }
    });
    let gone = ends.flat_map(|k| [u64::from(k), 1_000 + u64::from(k)]).collect();
    let story = story.pause(60).say(SourceKind::Sockets, table(false, closing.collect(), vec![]));
    story.pause(1).say(SourceKind::Sockets, table(false, vec![], gone))
}

#[test]
fn a_backend_whose_tunnels_all_end_at_one_moment_went_away() {
    let seen = burst(1..=8, 2).seen();
    seen.top("backend-went-away", Severity::Warning, Verdict::Degraded).only("backend-went-away");
    seen.subject(Some("/ws"), Some(PEER));
    burst(1..=8, 0).seen().healthy();
    burst(1..=5, 2).seen().healthy();
    burst(1..=4, 2).seen().healthy();
}

// ---------------------------------------------------------------- what many lives tell

/// A site that waits an hour for silent tunnels.
fn patient_site() -> Site {
    let mut l = location("/ws");
    l.read_timeout = set(Duration::from_secs(3_600), 10);
    site(vec![l])
}

/// Sessions of these ages, one after the other.
fn lives(story: Story, ages: impl IntoIterator<Item = f64>) -> Story {
    ages.into_iter().fold(story, |s, age| s.pause(7).access(session("/ws", age)))
}

fn severity_of(seen: &Seen, id: &str) -> Option<Severity> {
    seen.diagnosis.findings.iter().find(|f| f.id == id).map(|f| f.severity)
}

#[test]
fn a_pile_at_somebody_elses_timeout_points_beyond_nginx() {
    let at_350 = || (0..20).map(|k| 350.0 + f64::from(k) * 0.02).chain((0..10).map(|k| 13.0 + f64::from(k) * 61.7));
    let calm = |site: Site| Story::of(site).proxy(opened());
    let seen = lives(calm(patient_site()), at_350()).seen();
    seen.healthy();
    assert_eq!(severity_of(&seen, "middlebox-cuts"), Some(Severity::Info), "clients may always stay so long");
    let own = lives(calm(patient_site()), at_350()).proxy(closed(ClosedBy::Fin, None, 350.2, 350.1)).seen();
    own.top("middlebox-cuts", Severity::Warning, Verdict::Degraded).subject(Some("/ws"), None).points_at(10);

    let mut exact = patient_site();
    exact.servers[0].locations[0].read_timeout = set(Duration::from_secs(350), 10);
    assert!(!lives(calm(exact), at_350()).seen().has("middlebox-cuts"), "nginx itself waits no longer");
    let odd = (0..20).map(|k| 417.0 + f64::from(k) * 0.02);
    assert!(!lives(calm(patient_site()), odd).seen().has("middlebox-cuts"), "nobody is known for that number");
    let spread = (0..30).map(|k| 320.0 + f64::from(k) * 2.3);
    assert!(!lives(calm(patient_site()), spread).seen().has("middlebox-cuts"), "no pile");
    let default = Story::of(site(vec![location("/ws")])).proxy(opened());
    let minute = lives(default, (0..20).map(|k| 60.0 + f64::from(k) * 0.02)).seen();
    assert!(!minute.has("middlebox-cuts") && minute.has("idle-timeout-cuts"), "that is nginx");
}

/// The upstream leg of a tunnel to the backend, silent for so long.
fn backend_leg(silent: Duration) -> SocketDelta {
    let ms = u32::try_from(silent.as_millis()).ok();
    let local = ([127, 0, 0, 1], 41_000).into();
    let row = SocketRow {
        inode: 77,
        pid: Some(101),
        info: Some(TcpInfo { last_sent_ms: ms, last_received_ms: ms, ..TcpInfo::default() }),
        ..SocketRow::new(77, local, PEER.parse().expect("an address"), TcpState::Established)
    };
    SocketDelta { full: true, source: SocketSource::Netlink, rows: vec![row], ..SocketDelta::default() }
}

#[test]
fn a_heartbeat_that_comes_at_the_last_moment_is_a_race() {
    let beating = |every: u64| {
        let mut story = Story::of(site(vec![location("/ws")])).proxy(opened());
        for _ in 0..4 {
            story =
                story.say(SourceKind::Sockets, Event::Sockets(backend_leg(Duration::from_millis(200)))).pause(every);
        }
        story
    };
    let seen = beating(57).seen();
    seen.healthy();
    assert_eq!(severity_of(&seen, "heartbeat-races-timeout"), Some(Severity::Info), "nothing died yet");
    let cut = line(Level::Info, "upstream timed out", Some(110), "proxying upgraded connection");
    let lost = beating(57).error(cut).seen();
    lost.top("heartbeat-races-timeout", Severity::Warning, Verdict::Degraded).subject(Some("/ws"), None);
    for calm in [10, 30, 50] {
        assert!(!beating(calm).seen().has("heartbeat-races-timeout"), "every {calm} s is early enough");
    }
    let own = |every: u64| {
        let ping = |s: Story, seq| s.proxy(Step::Pinged { seq }).pause(every);
        (0..3).fold(Story::of(site(vec![location("/ws")])).proxy(opened()), ping).seen()
    };
    assert_eq!(severity_of(&own(59), "heartbeat-races-timeout"), Some(Severity::Info));
    assert!(!own(15).has("heartbeat-races-timeout"));
}

#[test]
fn clients_that_come_back_at_once_are_a_storm_only_when_it_is_sudden() {
    let from = |k: u32, age: f64| AccessEntry { client: Some(format!("203.0.113.{}", k % 40)), ..session("/ws", age) };
    let crowd = |story: Story, count: u32, age: f64| (0..count).fold(story, |s, k| s.access(from(k, age)));
    let calm = || {
        (0..10).fold(Story::of(site(vec![location("/ws")])).proxy(opened()), |s, k| s.access(from(k, 90.0)).pause(60))
    };
    let seen = crowd(calm(), 120, 0.4).pause(1).seen();
    seen.top("reconnect-storm", Severity::Warning, Verdict::Degraded)
        .only("reconnect-storm")
        .subject(Some("/ws"), None);
    assert!(seen.diagnosis.summary.contains("40 clients"), "{}", seen.diagnosis.summary);
    assert!(!crowd(calm(), 20, 0.4).pause(1).seen().has("reconnect-storm"), "a handful");
    assert!(!crowd(calm(), 120, 70.0).pause(1).seen().has("reconnect-storm"), "these had lived");
    let always =
        (0..11).fold(Story::of(site(vec![location("/ws")])).proxy(opened()), |s, _| crowd(s, 120, 0.4).pause(60));
    assert!(!crowd(always, 120, 0.4).pause(1).seen().has("reconnect-storm"), "that is how this site is used");
    assert!(!crowd(calm(), 120, 0.4).pause(120).seen().has("reconnect-storm"), "it is over");
}

// ---------------------------------------------------------------- lines that do less or more than they seem to

/// A site whose one location stands in this text, at line 5.
fn written(path: &str, lines: &str, map: &str) -> Site {
    let text = format!(
        "server {{\n    listen 18080;\n    server_name example.test;\n\n    location {path} {{\n        \
         proxy_pass http://{PEER};\n{lines}    }}\n}}\n{map}"
    );
    let mut l = location(path);
    l.headers = vec![
        header("Upgrade", "$http_upgrade", "websocket", 8),
        header("Connection", "$connection_upgrade", "upgrade", 9),
    ];
    let mut site = site(vec![l]);
    site.sources.insert(CONF.into(), SourceText { text, real: None });
    site
}

/// What the rules say of a site that was read so.
fn remarked(mut site: Site) -> Seen {
    site.remarks = wspulse::nginx::remarks::remarks(&site);
    Story::of(site).proxy(opened()).pause(1).seen()
}

#[test]
fn what_does_nothing_for_tunnels_is_said_where_there_are_only_tunnels() {
    let lines = "        proxy_buffering off;\n        client_max_body_size 64m;\n        proxy_read_timeout 1h;\n";
    let seen = |path: &str, lines: &str| remarked(written(path, lines, ""));
    let found = seen("/ws", lines);
    found.healthy();
    let f = found.diagnosis.findings.iter().find(|f| f.id == "ineffective-setting").expect("found");
    assert!(
        f.said.contains("proxy_buffering, client_max_body_size do nothing") && f.said.contains("app.conf:7"),
        "{f:#?}"
    );
    assert_eq!(f.evidence.iter().filter_map(|e| e.line).collect::<Vec<_>>(), [7, 8]);
    assert_eq!(f.severity, Severity::Info);
    assert!(!seen("/ws", "        proxy_read_timeout 1h;\n        proxy_buffer_size 8k;\n").has("ineffective-setting"));
    for shared in ["/", "/api/", "/socket.io/", "/news"] {
        assert!(!seen(shared, lines).has("ineffective-setting"), "plain requests come to {shared} too");
    }
    let mut unread = written("/ws", lines, "");
    unread.sources.clear();
    assert!(!remarked(unread).has("ineffective-setting"));
}

#[test]
fn an_upgrade_to_anything_is_worth_knowing_unless_somebody_looks() {
    let map = |default: &str| {
        format!("map $http_upgrade $connection_upgrade {{\n    default {default};\n    '' close;\n}}\n")
    };
    let found = remarked(written("/ws", "", &map("upgrade")));
    found.healthy();
    assert_eq!(severity_of(&found, "upgrade-any-protocol"), Some(Severity::Info));
    let only = "map $http_upgrade $connection_upgrade {\n    default close;\n    websocket upgrade;\n}\n";
    assert!(!remarked(written("/ws", "", only)).has("upgrade-any-protocol"), "h2c goes on with Connection: close");
    let checked = "        if ($http_upgrade !~* ^websocket$) { return 400; }\n";
    assert!(!remarked(written("/ws", checked, &map("upgrade"))).has("upgrade-any-protocol"));
    let mut own = written("/ws", "", &map("upgrade"));
    own.servers[0].locations[0].headers[0] = header("Upgrade", "$ws_upgrade", "websocket", 8);
    assert!(!remarked(own).has("upgrade-any-protocol"), "a map of its own decides");
    let mut constant = written("/ws", "", "");
    constant.servers[0].locations[0].headers[0] = header("Upgrade", "websocket", "websocket", 8);
    assert!(!remarked(constant).has("upgrade-any-protocol"));
}

// ---------------------------------------------------------------- capacity and sight

#[test]
fn each_limit_has_its_own_name() {
    let alert = |m: &str, errno| without_request(line(Level::Alert, m, errno, ""));
    let info = |m: &str| without_upstream(line(Level::Info, m, None, "reading client request headers"));
    let error = |m: &str| without_upstream(line(Level::Error, m, None, ""));
    let cases = [
        ("worker-connections-exhausted", alert("256 worker_connections are not enough", None), 500),
        ("fds-exhausted", alert("socket() failed", Some(24)), 500),
        ("disk-full", alert("write() to \"/var/log/nginx/access.log\" failed", Some(28)), 500),
        ("limit-conn", error("limiting connections by zone \"perip\""), 503),
        ("limit-req", error("limiting requests, excess: 1.000 by zone \"r\""), 503),
        ("headers-too-large", info("client sent too long header line: \"Cookie: a...\""), 400),
    ];
    for (id, entry, code) in cases {
        let seen = Story::of(site(vec![location("/ws")])).direct(opened()).error(entry).proxy(status(code, "")).seen();
        seen.top(id, Severity::Critical, Verdict::Broken).only(id);
    }
    let seen = Story::of(site(vec![location("/ws")]))
        .error(without_upstream(line(Level::Error, "limiting connections, dry run, by zone \"a\"", None, "")))
        .proxy(opened())
        .seen();
    seen.healthy();
}

#[test]
fn worker_connections_point_at_their_line() {
    let alert = without_request(line(Level::Alert, "256 worker_connections are not enough", None, ""));
    let reset = failed(Phase::Upgrade, FailureKind::Reset, "connection reset");
    let seen = Story::of(site(vec![location("/ws")])).direct(opened()).error(alert).proxy(reset).seen();
    seen.top("worker-connections-exhausted", Severity::Critical, Verdict::Broken).points_at(6);
    seen.check("connections", Status::Fail).check("handshake", Status::Fail);
}

#[test]
fn an_invalid_configuration_is_a_warning_while_the_old_one_runs() {
    let mut broken = site(vec![location("/ws")]);
    broken.problems =
        vec![Problem { place: place(12), column: 3, said: "unexpected \"}\"".into(), ..Problem::default() }];
    let seen = Story::of(broken).proxy(opened()).seen();
    seen.top("config-invalid", Severity::Warning, Verdict::Degraded).points_at(12).check("config-valid", Status::Warn);
    let mut hidden = site(vec![location("/ws")]);
    hidden.problems =
        vec![Problem { place: place(0), column: 0, said: "permission denied".into(), ..Problem::default() }];
    Story::of(hidden).proxy(opened()).seen().healthy();
    let emerg = without_request(line(Level::Emerg, &format!("unknown directive \"bogus\" in {CONF}:21"), None, ""));
    let seen = Story::of(site(vec![location("/ws")])).error(emerg).proxy(opened()).seen();
    seen.top("config-invalid", Severity::Warning, Verdict::Degraded).points_at(21);
}

#[test]
fn what_cannot_be_seen_is_said_and_harms_nobody() {
    let blind = Sense::blind("/var/log/nginx/error.log: permission denied", "run as root");
    let seen =
        Story::of(site(vec![location("/ws")])).say(SourceKind::ErrorLog, Event::Sense(blind)).proxy(opened()).seen();
    seen.healthy().check("error-log", Status::Warn);
    assert!(seen.has("error-log-unreadable") && seen.has("blind-without-privilege"));
}

#[test]
fn every_rule_says_only_its_own_id_or_a_near_twin() {
    let ids: Vec<&str> = RULES.iter().map(|r| r.id).collect();
    let unique: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len());
    for story in [healthy_story(), inheritance_story(), refused_story(), idle_story()] {
        let model = story.model();
        for rule in RULES {
            for f in (rule.check)(&model) {
                assert!(f.id == rule.id || rule.id == "backend-half-dead", "{} said {}", rule.id, f.id);
            }
        }
    }
}
