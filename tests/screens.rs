//! Recordings drawn at the sizes that matter, as reviewed pictures in text; and no hostile byte reaches it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use wspulse::diagnose::diagnose;
use wspulse::event::backend::{BackendBatch, BackendEntry, Fault};
use wspulse::event::probe::{
    Answer, Cadence, ClosedBy, Failure, FailureKind, Phase, ProbeEvent, Route, Step, Strays, TargetId, Tls,
};
use wspulse::event::process::{Master, Processes};
use wspulse::event::site::{Listen, Server, Site};
use wspulse::event::{Event, Sense, SourceId, SourceKind, Stamped};
use wspulse::model::Model;
use wspulse::run::stream;
use wspulse::source::logs::{History, read_error_tail};
use wspulse::time::Timestamp;
use wspulse::ui::{self, Effect, ScreenState, Snapshot};

const SIZES: [(u16, u16); 4] = [(160, 48), (100, 30), (80, 24), (40, 12)];

fn recording(name: &str) -> Vec<Stamped> {
    let path = format!("{}/tests/data/recordings/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    stream::read(&text).unwrap_or_else(|e| panic!("{path}: {e}")).1
}

fn model_of(events: &[Stamped]) -> Model {
    let mut model = Model::new("web1");
    for event in events {
        model.apply(event);
    }
    model
}

fn snapshot(name: &str) -> Snapshot {
    let model = model_of(&recording(name));
    Snapshot::of(&model, &diagnose(&model))
}

fn screen() -> ScreenState {
    ScreenState::new(Some("mono"), false).in_utc()
}

/// The screen as text, each line without the blanks at its end.
fn draw(snapshot: &Snapshot, state: &mut ScreenState, (width, height): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a test terminal");
    terminal.draw(|frame| ui::draw(frame, frame.area(), snapshot, state)).expect("drawn");
    let buffer = terminal.backend().buffer();
    let line = |y: u16| {
        let cells: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        assert!(!cells.chars().any(char::is_control), "a control character reached the screen: {cells:?}");
        cells.trim_end().to_owned()
    };
    (0..height).map(line).collect::<Vec<_>>().join("\n")
}

fn press(state: &mut ScreenState, snapshot: &Snapshot, keys: &str) -> Effect {
    let mut last = Effect::None;
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            '\t' => KeyCode::Tab,
            c => KeyCode::Char(c),
        };
        last = ui::handle_key(state, snapshot, KeyEvent::new(code, KeyModifiers::NONE));
    }
    last
}

#[test]
fn the_demo_at_every_size() {
    let snapshot = snapshot("demo");
    for size in SIZES {
        insta::assert_snapshot!(format!("demo_{}x{}", size.0, size.1), draw(&snapshot, &mut screen(), size));
    }
}

#[test]
fn nothing_seen_yet_and_nothing_to_see() {
    let empty = Model::new("web1");
    let fresh = Snapshot::of(&empty, &diagnose(&empty));
    insta::assert_snapshot!("first_frame_80x24", draw(&fresh, &mut screen(), (80, 24)));
    insta::assert_snapshot!("first_frame_160x48", draw(&fresh, &mut screen(), (160, 48)));
    let blind = snapshot("blind");
    insta::assert_snapshot!("blind_80x24", draw(&blind, &mut screen(), (80, 24)));
    insta::assert_snapshot!("blind_160x48", draw(&blind, &mut screen(), (160, 48)));
}

#[test]
fn every_pane_alone_and_every_popup() {
    let snapshot = snapshot("demo");
    for (pane, name) in
        [("1", "handshakes"), ("2", "connections"), ("3", "errors"), ("4", "findings"), ("5", "timeline")]
    {
        let mut state = screen();
        press(&mut state, &snapshot, pane);
        insta::assert_snapshot!(format!("tab_{name}_80x24"), draw(&snapshot, &mut state, (80, 24)));
        press(&mut state, &snapshot, "\n");
        insta::assert_snapshot!(format!("popup_{name}_100x30"), draw(&snapshot, &mut state, (100, 30)));
    }
    let mut state = screen();
    press(&mut state, &snapshot, "?");
    insta::assert_snapshot!("help_80x24", draw(&snapshot, &mut state, (80, 24)));
    insta::assert_snapshot!("help_100x60", draw(&snapshot, &mut state, (100, 60)));
}

/// From the categories to one raw line, at every size: what a person sees on the way in.
#[test]
fn the_errors_on_the_way_in() {
    let snapshot = snapshot("demo");
    let levels = [("names", "3jjj\nv"), ("lines", "3jjj\nV"), ("raw", "3jj\n\n\n")];
    for (name, keys) in levels {
        for size in [(160, 48), (120, 40), (100, 30), (80, 24), (40, 12)] {
            let mut state = screen();
            press(&mut state, &snapshot, keys);
            insta::assert_snapshot!(format!("errors_{name}_{}x{}", size.0, size.1), draw(&snapshot, &mut state, size));
        }
    }
}

/// Five hours of a busy nginx: errors of several categories that come and go, tunnels that end, a probe that fails for a while.
fn hours() -> Snapshot {
    let begin = 1_795_262_400;
    let at = |s: i64| Timestamp::from_secs(begin + s);
    let host = Arc::from("web1");
    let from = |kind| SourceId::new(&host, kind);
    let message = |n: i64| match n % 11 {
        0 => "connect() failed (111: Connection refused) while connecting to upstream",
        1..4 => "upstream timed out (110: Connection timed out) while proxying upgraded connection",
        4..9 => "recv() failed (104: Connection reset by peer) while proxying upgraded connection",
        _ => "client 203.0.113.9 closed keepalive connection",
    };
    let entries = (0..18_000_i64).step_by(23).filter(|s| s / 900 % 3 != 1).map(|s| {
        let said = message(s / 23);
        let level = if said.starts_with("client") { "info" } else { "error" };
        let line = format!("2026/11/21 12:00:00 [{level}] 7#7: *{s} {said}, client: 203.0.113.9");
        wspulse::nginx::error::entry(
            &wspulse::nginx::error::parse(line.as_bytes()).expect("a line"),
            line.as_bytes(),
            at(s),
        )
    });
    let errors = wspulse::event::log::ErrorBatch { entries: entries.collect(), ..Default::default() };
    let ends = (0..18_000_i64).step_by(97).map(|s| {
        let told = serde_json::json!({ "at": at(s).to_string(), "status": 101, "request_time": 61.0, "raw": "" });
        serde_json::from_value(told).expect("an access entry")
    });
    let accesses = wspulse::event::log::AccessBatch { entries: ends.collect(), ..Default::default() };
    let mut events = vec![
        Stamped { at: at(0), from: from(SourceKind::ErrorLog), event: Event::Sense(Sense::seen("reading")) },
        Stamped { at: at(0), from: from(SourceKind::AccessLog), event: Event::Sense(Sense::seen("reading")) },
    ];
    let target = |path: &str| {
        let url: Arc<str> = format!("ws://example.test{path}").into();
        TargetId { endpoint: Arc::clone(&url), route: Route::Proxy, url, cadence: None }
    };
    let probed = |s: i64, path, step| Stamped {
        at: at(s),
        from: from(SourceKind::Probe),
        event: Event::Probe(Box::new(ProbeEvent { target: target(path), step })),
    };
    let said = "the server answered 502".to_owned();
    let failure = Failure { phase: Phase::Upgrade, kind: FailureKind::HttpStatus, said };
    let took = Duration::from_millis(2);
    let refused = Step::Refused { failure, took, request: String::new(), answer: None, tls: None };
    events.extend([probed(30, "/ws", up(2)), probed(31, "/chat", up(2)), probed(16_400, "/chat", refused)]);
    events.push(probed(17_300, "/chat", up(3)));
    events.push(Stamped { at: at(18_000), from: from(SourceKind::ErrorLog), event: Event::Errors(errors) });
    events.push(Stamped { at: at(18_000), from: from(SourceKind::AccessLog), event: Event::Access(accesses) });
    let model = model_of(&events);
    Snapshot::of(&model, &diagnose(&model))
}

/// The timeline alone and beside the others, closer and further, live and at a moment.
#[test]
fn the_timeline_over_hours() {
    let live = hours();
    let moment = Timestamp::from_secs(1_795_262_400 + 16_500);
    let past = live.seen_from(&live, moment);
    for (name, keys, snapshot) in [
        ("closer", "5+", &live),
        ("default", "5", &live),
        ("2h", "5-", &past),
        ("24h", "5---", &past),
        ("alone", "5z-", &past),
    ] {
        for size in [(160, 48), (80, 24), (40, 12)] {
            let mut state = screen();
            press(&mut state, snapshot, keys);
            insta::assert_snapshot!(format!("timeline_{name}_{}x{}", size.0, size.1), draw(snapshot, &mut state, size));
        }
    }
    let mut state = screen();
    press(&mut state, &past, "5-\n");
    insta::assert_snapshot!("popup_timeline_moment_100x30", draw(&past, &mut state, (100, 30)));
}

#[test]
fn signs_are_ascii_where_the_terminal_is() {
    let mut state = ScreenState::new(Some("mono"), true).in_utc();
    let text = draw(&snapshot("demo"), &mut state, (100, 30));
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn a_filter_keeps_what_fits_and_a_wrong_one_says_so() {
    let snapshot = snapshot("demo");
    let mut state = screen();
    press(&mut state, &snapshot, "2/feed\n");
    let text = draw(&snapshot, &mut state, (160, 48));
    let rows =
        |text: &str, path: &str| text.lines().filter(|l| l.contains("127.0.0.1:900") && l.contains(path)).count();
    assert!(
        rows(&text, " /feed ") > 0 && rows(&text, " /ws ") == rows(&draw_handshakes_only(&snapshot), " /ws "),
        "{text}"
    );
    press(&mut state, &snapshot, "/\x1b2/");
    press(&mut state, &snapshot, "/[/");
    let text = draw(&snapshot, &mut state, (160, 48));
    assert!(text.contains("/[/"), "{text}");
}

#[test]
fn the_filter_line_offers_how_to_go_on_and_marks_what_is_wrong() {
    let snapshot = snapshot("demo");
    for (name, keys) in [
        ("completion", "2/state:open cl"),
        ("values", "3/category:\t\t"),
        ("wrong", "2/state:open idle>30x"),
        ("wrong_key", "2/cleint:10.0.0.7"),
    ] {
        for size in [(160, 48), (80, 24), (40, 12)] {
            let mut state = screen();
            press(&mut state, &snapshot, keys);
            let text = draw(&snapshot, &mut state, size);
            insta::assert_snapshot!(format!("filter_{name}_{}x{}", size.0, size.1), text);
        }
    }
    let mut state = ScreenState::new(Some("mono"), true).in_utc();
    press(&mut state, &snapshot, "2/idle>30x");
    let text = draw(&snapshot, &mut state, (80, 24));
    assert!(text.is_ascii() && !text.contains('?'), "{text}");
}

#[test]
fn tunnels_are_grouped_and_a_group_opens_into_its_tunnels() {
    let snapshot = snapshot("demo");
    let mut state = screen();
    press(&mut state, &snapshot, "2v");
    insta::assert_snapshot!("groups_by_client_100x30", draw(&snapshot, &mut state, (100, 30)));
    press(&mut state, &snapshot, "vv");
    insta::assert_snapshot!("groups_by_location_80x24", draw(&snapshot, &mut state, (80, 24)));
    press(&mut state, &snapshot, "\n");
    let text = draw(&snapshot, &mut state, (160, 48));
    assert!(text.contains("/location=/ws (") && text.contains("TIME LEFT"), "{text}");
    press(&mut state, &snapshot, "vvvvvv");
    let text = draw(&snapshot, &mut state, (160, 48));
    assert!(text.contains("TIME LEFT") && !text.contains("grouped by"), "round and back: {text}");
    press(&mut state, &snapshot, "v\x1b");
    let text = draw(&snapshot, &mut state, (160, 48));
    assert!(text.contains("TIME LEFT") && text.contains("/location=/ws ("), "Esc leaves the groups first: {text}");
    press(&mut state, &snapshot, "\x1b/state:ended\n");
    insta::assert_snapshot!("ended_100x30", draw(&snapshot, &mut state, (100, 30)));
    press(&mut state, &snapshot, "\n");
    let text = draw(&snapshot, &mut state, (100, 30));
    assert!(text.contains("○ ended") && text.contains(" ago"), "{text}");
    insta::assert_snapshot!("popup_ended_100x30", text);
}

#[test]
fn the_tunnels_sort_by_every_column() {
    let snapshot = snapshot("demo");
    let mut state = screen();
    press(&mut state, &snapshot, "2z");
    let mut seen = Vec::new();
    for _ in 0..17 {
        press(&mut state, &snapshot, "s");
        let text = draw(&snapshot, &mut state, (220, 60));
        let title = text.lines().find_map(|l| l.split_once("by ").filter(|(_, b)| b.contains('▴')));
        let Some((_, by)) = title else { continue };
        let by = by.split(" ▴").next().unwrap_or("").to_owned();
        let first_word = |l: &str| l.trim_start_matches(['›', ' ']).split(' ').next().unwrap_or("").to_owned();
        let clients: Vec<String> = text.lines().map(first_word).filter(|w| w.starts_with("127.")).collect();
        if by == "client" {
            let as_address = |c: &String| c.parse::<std::net::SocketAddr>().expect("an address");
            assert!(clients.is_sorted_by_key(as_address), "{clients:?}");
        }
        assert!(clients.len() > 30, "living and ended ones: {text}");
        seen.push(by);
    }
    let all = "client worker nginx location upstream state age idle down up bytes queue rtt retransmits pair";
    let all: Vec<&str> = all.split(' ').chain(["time left"]).collect();
    assert_eq!(seen, all);
}

/// How often a path stands in the picture when no tunnel is shown.
fn draw_handshakes_only(snapshot: &Snapshot) -> String {
    let mut state = screen();
    press(&mut state, snapshot, "2/nothing-matches-this\n");
    draw(snapshot, &mut state, (160, 48))
}

#[test]
fn keys_have_effects() {
    let snapshot = snapshot("demo");
    let mut state = screen();
    assert_eq!(press(&mut state, &snapshot, "q"), Effect::Quit);
    assert_eq!(press(&mut state, &snapshot, "r"), Effect::ResetCounters);
    assert!(matches!(press(&mut state, &snapshot, "1p"), Effect::ToggleProbe(url) if url.starts_with("ws://")));
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(ui::handle_key(&mut state, &snapshot, interrupt), Effect::Interrupt);
    let mut released = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
    released.kind = KeyEventKind::Release;
    assert_eq!(ui::handle_key(&mut state, &snapshot, released), Effect::None, "one stroke is one key");
    assert!(!state.is_frozen());
    press(&mut state, &snapshot, "f");
    assert!(state.is_frozen() && draw(&snapshot, &mut state, (100, 30)).contains("FROZEN"));
}

#[test]
fn hostile_text_never_reaches_the_terminal() {
    let mut events = recording("demo");
    for event in &mut events {
        let text = serde_json::to_string(&event.event).expect("json");
        let text =
            text.replace("/feed", "/f\\u001b[2J\\u202e\\u009b").replace("recv() failed", "re\\u001b]0;x\\u0007cv");
        event.event = serde_json::from_str(&text).expect("still an event");
    }
    let model = model_of(&events);
    let snapshot = Snapshot::of(&model, &diagnose(&model));
    for keys in ["", "2\n", "3\n", "3\n\n\n", "3VE", "4\n", "1\n", "d"] {
        let mut state = screen();
        press(&mut state, &snapshot, keys);
        for size in SIZES {
            let text = draw(&snapshot, &mut state, size);
            assert!(!text.contains('\u{202e}') && !text.contains('\u{9b}'), "{text}");
        }
    }
}

/// One endpoint through an HTTP proxy with everything that can be known of it; `end` is what happens last.
fn told(end: Vec<(i64, Step)>) -> Snapshot {
    let address = |a: &str| a.parse::<std::net::SocketAddr>().expect("an address");
    let ms = Duration::from_millis;
    let tls = Tls {
        version: Some("TLSv1.3".into()),
        cipher: Some("TLS13_AES_256_GCM_SHA384".into()),
        subject: Some("CN=chat.example".into()),
        issuer: Some("CN=Example CA R3".into()),
        names: vec!["chat.example".into(), "*.chat.example".into()],
        not_after: Some(Timestamp::from_secs(1_000_000 + 9 * 86_400)),
        chain: 1,
        ..Tls::default()
    };
    let answer = Answer {
        version: "HTTP/1.1".into(),
        status: 101,
        reason: "Switching Protocols".into(),
        headers: [
            ("Upgrade", "websocket"),
            ("Connection", "upgrade"),
            ("Sec-WebSocket-Accept", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="),
        ]
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .into(),
        body: String::new(),
    };
    let dial = |attempt| {
        let failed = vec!["[2001:db8::7]:443: network is unreachable".to_owned()];
        let (local, peer) = (address("192.0.2.9:51992"), address("198.51.100.7:3128"));
        let addresses = vec![address("[2001:db8::7]:443"), peer];
        vec![
            Step::Dialing { attempt },
            Step::Resolved { took: ms(3), addresses },
            Step::Connected { took: ms(8), local, peer, failed },
            Step::Tunnelled { took: ms(5), proxy: "proxy.example:3128".into() },
            Step::Secured { took: ms(14), tls: tls.clone() },
        ]
    };
    let request = "GET /ws HTTP/1.1\nHost: chat.example\nUpgrade: websocket\nConnection: Upgrade".to_owned();
    let up = Step::Upgraded { took: ms(21), request, answer };
    let mut steps: Vec<(i64, Step)> = dial(1).into_iter().map(|s| (0, s)).collect();
    steps.push((0, up.clone()));
    for seq in 1..9_u32 {
        steps.push((i64::from(seq) * 30, Step::Pinged { seq: seq.into() }));
        let pong = Step::Pong { seq: seq.into(), rtt: ms(u64::from(12 + seq * seq % 7)) };
        steps.push((i64::from(seq) * 30, if seq == 5 { Step::Missed { seq: 5 } } else { pong }));
    }
    steps.extend([(250, Step::Asked { seq: 1 }), (250, Step::Answered { seq: 1, rtt: Some(ms(31)) })]);
    let (held, idle) = (Duration::from_secs(260), Duration::from_secs(10));
    let by = ClosedBy::ServerClose;
    steps.push((260, Step::Closed { by, code: Some(1011), reason: "database gone".into(), held, idle }));
    steps.extend(dial(2).into_iter().map(|s| (300, s)));
    steps.push((300, up));
    steps.extend(end);
    let url: Arc<str> = "wss://chat.example/ws".into();
    let target = TargetId { endpoint: Arc::clone(&url), route: Route::Proxy, url, cadence: None };
    let stamp = |(s, step): (i64, Step)| Stamped {
        at: Timestamp::from_secs(1_000_000 + s),
        from: SourceId::named(&Arc::from("web1"), SourceKind::Probe, "probe"),
        event: Event::Probe(Box::new(ProbeEvent { target: target.clone(), step })),
    };
    let model = model_of(&steps.into_iter().map(stamp).collect::<Vec<_>>());
    Snapshot::of(&model, &diagnose(&model))
}

#[test]
fn an_endpoint_tells_its_way_its_life_and_what_decided() {
    let open = told(vec![(400, Step::Pinged { seq: 9 })]);
    let mut state = screen();
    let pane = draw(&open, &mut state, (160, 48));
    assert!(pane.contains("▲ cert 8 d") && pane.contains("●▲●"), "{pane}");
    press(&mut state, &open, "z");
    let pane = draw(&open, &mut state, (180, 20));
    assert!(pane.contains("prx") && pane.contains("▲ 8d") && pane.contains("▲ server 1011 2m  ● open 1m"), "{pane}");
    press(&mut state, &open, "\n");
    insta::assert_snapshot!("popup_endpoint_open_100x48", draw(&open, &mut state, (100, 48)));
    let failure = Failure {
        phase: Phase::Tls,
        kind: FailureKind::TlsUntrusted,
        said: "the certificate is not trusted: unknown issuer".into(),
    };
    let tls = Tls { subject: Some("CN=chat.example".into()), chain: 1, ..Tls::default() };
    let took = Duration::from_millis(9);
    let refused = Step::Refused { failure, took, request: String::new(), answer: None, tls: Some(tls) };
    let (held, idle) = (Duration::from_secs(60), Duration::from_secs(60));
    let closed = Step::Closed { by: ClosedBy::Fin, code: None, reason: String::new(), held, idle };
    let failed = told(vec![(360, closed), (361, Step::Dialing { attempt: 3 }), (361, refused)]);
    let mut state = screen();
    press(&mut state, &failed, "\n");
    insta::assert_snapshot!("popup_endpoint_failed_80x40", draw(&failed, &mut state, (80, 40)));
}

fn stamped(s: i64, target: &TargetId, step: Step) -> Stamped {
    Stamped {
        at: Timestamp::from_secs(1_000_000 + s),
        from: SourceId::named(&Arc::from("web1"), SourceKind::Probe, "probe"),
        event: Event::Probe(Box::new(ProbeEvent { target: target.clone(), step })),
    }
}

fn up(took: u64) -> Step {
    let answer = Answer { version: "HTTP/1.1".into(), status: 101, ..Answer::default() };
    Step::Upgraded { took: Duration::from_millis(took), request: "GET /ws HTTP/1.1".into(), answer }
}

/// One endpoint held at four paces: silence dies after a minute, and so does a ping every 90 s.
#[test]
fn paces_side_by_side_stand_under_their_endpoint() {
    let url: Arc<str> = "wss://chat.example/ws".into();
    let plain = TargetId { endpoint: Arc::clone(&url), route: Route::Proxy, url, cadence: None };
    let every = |s| Cadence::Every(Duration::from_secs(s));
    let at = |cadence| TargetId { cadence: Some(cadence), ..plain.clone() };
    let mut events = Vec::new();
    for target in [plain.clone(), at(Cadence::Silent), at(every(10)), at(every(50)), at(every(90))] {
        events.push(stamped(0, &target, Step::Dialing { attempt: 1 }));
        events.push(stamped(0, &target, up(20)));
    }
    for n in 0..20_u32 {
        let (target, s) = (at(every(10)), i64::from(n) * 10);
        events.push(stamped(s, &target, Step::Pinged { seq: u64::from(n) }));
        events.push(stamped(
            s,
            &target,
            Step::Pong { seq: u64::from(n), rtt: Duration::from_millis(u64::from(12 + n % 3)) },
        ));
    }
    for (s, cadence) in
        [(60, Cadence::Silent), (60, every(90)), (121, Cadence::Silent), (121, every(90)), (182, Cadence::Silent)]
    {
        let sixty = Duration::from_millis(60_000 + i64::unsigned_abs(s));
        let closed = Step::Closed { by: ClosedBy::Fin, code: None, reason: String::new(), held: sixty, idle: sixty };
        events.push(stamped(s, &at(cadence), closed));
        events.push(stamped(s + 1, &at(cadence), Step::Dialing { attempt: 2 }));
        events.push(stamped(s + 1, &at(cadence), up(20)));
    }
    let strays = Strays { out_of_order: 2, wrong_payload: 1, unsolicited: 40 };
    events.push(stamped(190, &at(every(10)), Step::Strays { strays }));
    events.push(stamped(200, &plain, Step::Pinged { seq: 1 }));
    let model = model_of(&events);
    let snapshot = Snapshot::of(&model, &diagnose(&model));
    insta::assert_snapshot!("paces_160x48", draw(&snapshot, &mut screen(), (160, 48)));
    insta::assert_snapshot!("paces_80x24", draw(&snapshot, &mut screen(), (80, 24)));
    let mut state = screen();
    press(&mut state, &snapshot, "\n");
    insta::assert_snapshot!("popup_paces_100x48", draw(&snapshot, &mut state, (100, 48)));
    let mut state = screen();
    press(&mut state, &snapshot, "jj\n");
    let popup = draw(&snapshot, &mut state, (100, 48));
    assert!(popup.contains("2 out of order   1 with another payload   40 unsolicited"), "{popup}");
    assert!(popup.contains("a ping every 10s") && popup.contains("jitter"), "{popup}");
    let mut state = screen();
    press(&mut state, &snapshot, "1/silent");
    let filtered = draw(&snapshot, &mut state, (160, 48));
    assert!(filtered.contains("silent died") && !filtered.contains("10s lives"), "{filtered}");
}

/// One endpoint whose location leads to three peers, each asked directly; one of them refuses.
#[test]
fn several_direct_twins_stand_under_their_endpoint_and_the_dead_one_shows() {
    let endpoint: Arc<str> = "ws://chat.example/ws".into();
    let target = |route, url: &str| TargetId { endpoint: Arc::clone(&endpoint), route, url: url.into(), cadence: None };
    let peers =
        ["10.0.0.7:8080", "10.0.0.8:8080", "10.0.0.9:8080"].map(|p| target(Route::Direct, &format!("ws://{p}/ws")));
    let mut events = Vec::new();
    for target in std::iter::once(target(Route::Proxy, &endpoint)).chain(peers.clone()) {
        events.push(stamped(0, &target, Step::Dialing { attempt: 1 }));
        if target == peers[1] {
            for n in 0..4 {
                let failure = Failure {
                    phase: Phase::Connect,
                    kind: FailureKind::ConnectionRefused,
                    said: "nobody listens at 10.0.0.8:8080 (connection refused)".into(),
                };
                let took = Duration::from_micros(300);
                let refused = Step::Refused { failure, took, request: String::new(), answer: None, tls: None };
                events.push(stamped(n * 10, &target, refused));
            }
            continue;
        }
        events.push(stamped(0, &target, up(3)));
        for seq in 1..4 {
            events.push(stamped(15 * seq, &target, Step::Pinged { seq: seq.unsigned_abs() }));
            let rtt = Duration::from_micros(900 + 40 * seq.unsigned_abs());
            events.push(stamped(15 * seq, &target, Step::Pong { seq: seq.unsigned_abs(), rtt }));
        }
    }
    let model = model_of(&events);
    let snapshot = Snapshot::of(&model, &diagnose(&model));
    for size in SIZES {
        insta::assert_snapshot!(format!("twins_{}x{}", size.0, size.1), draw(&snapshot, &mut screen(), size));
    }
    let mut state = screen();
    press(&mut state, &snapshot, "jj\n");
    insta::assert_snapshot!("popup_dead_twin_80x24", draw(&snapshot, &mut state, (80, 24)));
}

/// What a debug log shows, recorded and replayed.
fn debug_log() -> Vec<Stamped> {
    let log = format!("{}/tests/data/debug/handshakes.log", env!("CARGO_MANIFEST_DIR"));
    let batch = read_error_tail(Path::new(&log), History::ALL).expect("a sample of the project");
    let from = SourceId::named(&Arc::from("web1"), SourceKind::ErrorLog, "error.log");
    let at = batch.handshakes.last().expect("it holds handshakes").at;
    let events = vec![Stamped { at, from, event: Event::Errors(batch) }];
    let mut recording = Vec::new();
    let mut writer = stream::EventWriter::begin(&mut recording, "web1", at).expect("written");
    for event in &events {
        writer.write(event).expect("written");
    }
    let replayed = stream::read(&String::from_utf8(recording).expect("text")).expect("a recording").1;
    assert_eq!(replayed, events, "a replay is the live run");
    replayed
}

#[test]
fn handshakes_of_the_debug_log_have_rows_and_show_what_got_lost() {
    let model = model_of(&debug_log());
    let snapshot = Snapshot::of(&model, &diagnose(&model));
    let mut state = screen();
    let text = draw(&snapshot, &mut state, (100, 40));
    for row in ["/bare                 ▲ 426", "/down                 ▲ 502", "/pool                 ○ 101", "in log"]
    {
        assert!(text.contains(row), "{row}: {text}");
    }
    assert!(!text.contains("0 endpoints"), "no URL is known: {text}");
    assert_eq!(press(&mut state, &snapshot, "1p"), Effect::None);
    let bare = snapshot.endpoints.iter().position(|r| r.endpoint == "/bare").expect("a row");
    press(&mut state, &snapshot, &format!("{}\n", "j".repeat(bare)));
    insta::assert_snapshot!("popup_seen_100x40", draw(&snapshot, &mut state, (100, 40)));
}

#[test]
fn a_backend_s_log_has_rows_of_its_own_in_errors_and_a_light() {
    let mut events = debug_log();
    let at = events[0].at;
    let from = SourceId::named(&Arc::from("web1"), SourceKind::BackendLog, "app.log");
    let entry = |at| BackendEntry {
        at,
        library: "ws".into(),
        fault: Fault::Upgrade,
        status: Some(400),
        words: "Invalid Upgrade header".into(),
        raw: "ERROR Invalid Upgrade header".into(),
    };
    let batch = BackendBatch { entries: vec![entry(None), entry(Some(at))], lines: 9, ..BackendBatch::default() };
    let gone = Sense::blind("app.log: no such file", "check the path");
    events.push(Stamped { at, from: from.clone(), event: Event::Sense(gone) });
    events.push(Stamped { at, from, event: Event::Backend(batch) });
    let model = model_of(&events);
    let snapshot = Snapshot::of(&model, &diagnose(&model));
    let mut state = screen();
    let text = draw(&snapshot, &mut state, (160, 48));
    let row = text.lines().find(|l| l.contains("▲ backend")).unwrap_or_else(|| panic!("a row: {text}"));
    assert!(row.contains(" 2 ") && row.contains("ws: Invalid Upgrade header: the backend got no"), "{row}");
    assert!(text.contains("✖ backend log"), "its light: {text}");
    assert_eq!(snapshot.error_total, 236, "nginx's entries are counted apart");
    let at = snapshot.errors.iter().position(|r| r.name == "backend").expect("a row");
    press(&mut state, &snapshot, &format!("3{}\n", "j".repeat(at)));
    let popup = draw(&snapshot, &mut state, (100, 30));
    assert!(popup.contains("ERROR Invalid Upgrade header"), "{popup}");
}

#[test]
fn a_screen_may_begin_with_addresses_hidden() {
    let snapshot = snapshot("demo");
    let mut state = screen().redacting(true);
    assert!(state.is_redacted());
    press(&mut state, &snapshot, "x");
    assert!(!state.is_redacted());
}

/// A host on which nothing is to be seen, as `tell` says it.
fn bare(tell: impl Fn(&mut dyn FnMut(SourceKind, Event))) -> Snapshot {
    let mut model = Model::new("web1");
    let mut told = |kind, event| {
        let from = SourceId::new(&Arc::from("web1"), kind);
        model.apply(&Stamped { at: Timestamp::from_secs(1_800_000_000), from, event });
    };
    tell(&mut told);
    Snapshot::of(&model, &diagnose(&model))
}

fn processes(masters: Vec<Master>) -> Event {
    Event::Processes(Processes { masters, ..Processes::default() })
}

/// The first screen says what was looked for, why nothing came and what to run, at every size, and `y` copies the command.
#[test]
fn who_sees_nothing_is_told_what_to_do_next() {
    let no_nginx = bare(|told| {
        told(SourceKind::Process, processes(Vec::new()));
        let said = "no nginx process found in /proc";
        told(
            SourceKind::Process,
            Event::Sense(Sense::blind(said, "start nginx, or run wspulse on the machine where it runs")),
        );
        let said = "cannot read /etc/nginx/nginx.conf: no such file or directory";
        told(SourceKind::Config, Event::Sense(Sense::blind(said, "name the main file with --nginx-conf")));
    });
    let running = || Master { pid: 31_204, conf: Some("/etc/nginx/nginx.conf".into()), ..Master::default() };
    let unreadable = bare(|told| {
        told(SourceKind::Process, processes(vec![running()]));
        told(SourceKind::Process, Event::Sense(Sense::seen("1 master, 4 workers")));
        let said = "cannot read /etc/nginx/nginx.conf: permission denied";
        let remedy = "run wspulse as root, or let its user read nginx's configuration";
        told(SourceKind::Config, Event::Sense(Sense::blind(said, remedy)));
    });
    let no_location = bare(|told| {
        told(SourceKind::Process, processes(vec![running()]));
        told(SourceKind::Process, Event::Sense(Sense::seen("1 master, 4 workers")));
        told(SourceKind::Config, Event::Sense(Sense::seen("3 files, 0 WebSocket locations")));
        let listen = Listen { port: Some(8080), ..Listen::default() };
        let server = Server { listens: vec![listen], ..Server::default() };
        let (conf, files) = ("/etc/nginx/nginx.conf".to_owned(), vec!["/etc/nginx/nginx.conf".to_owned()]);
        told(SourceKind::Config, Event::Site(Box::new(Site { conf, files, servers: vec![server], ..Site::default() })));
        let said = "/var/log/nginx/error.log: permission denied";
        let remedy = "run as root, or add yourself to the group that owns it (adm)";
        told(SourceKind::ErrorLog, Event::Sense(Sense::blind(said, remedy)));
    });
    for (name, snapshot, pane, command) in [
        ("no_nginx", &no_nginx, "1", "wspulse demo"),
        ("unreadable", &unreadable, "1", "sudo wspulse"),
        ("no_location", &no_location, "1", "wspulse ws://127.0.0.1:8080/"),
        ("no_log", &no_location, "3", "sudo wspulse"),
    ] {
        for size in SIZES {
            let mut state = screen();
            press(&mut state, snapshot, pane);
            let drawn = draw(snapshot, &mut state, size);
            // Nothing but blanks stands beside the command, but on a screen where panes stand side by side.
            assert!(size.0 >= 100 || drawn.lines().any(|l| l.trim() == command), "{drawn}");
            assert!(drawn.contains(command), "{drawn}");
            insta::assert_snapshot!(format!("first_{name}_{}x{}", size.0, size.1), drawn);
            assert_eq!(press(&mut state, snapshot, "y"), Effect::Copy(command.to_owned()));
        }
    }
}
