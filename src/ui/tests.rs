//! Stories of the whole screen: whatever is pressed at whatever size, it never panics, and it says how things are.

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use crate::diagnose::diagnose;
use crate::event::log::{Category, ErrorBatch, ErrorEntry, Level};
use crate::event::probe::{Answer, Failure, FailureKind, Phase, ProbeEvent, Route, Step, TargetId};
use crate::event::{Event, Sense, SourceId, SourceKind, Stamped};
use crate::model::Model;
use crate::model::connections::TunnelState;
use crate::model::tunnels::Confidence;
use crate::report::sockets::TunnelRow;
use crate::time::Timestamp;

mod mouse;
mod time;

use super::{Effect, ScreenState, Snapshot, draw, handle_key, handle_mouse};

mod typing;

const NOON: i64 = 1_795_262_400;

fn entry(at: Timestamp, category: Category, message: &str) -> ErrorEntry {
    ErrorEntry {
        at,
        level: Level::Error,
        category,
        pid: 7,
        connection: None,
        message: message.into(),
        errno: Some(111),
        ssl: None,
        action: Some("connecting to upstream".into()),
        client: None,
        server: None,
        request: None,
        subrequest: None,
        upstream: Some("http://10.0.0.7:8080/ws".into()),
        host: None,
        raw: format!("2026/11/21 12:00:00 [error] 7#7: *1 {message}").into(),
    }
}

fn probe(host: &std::sync::Arc<str>, at: Timestamp, path: &str, step: Step) -> Stamped {
    let url: std::sync::Arc<str> = format!("ws://example.test{path}").into();
    let target = TargetId { endpoint: url.clone(), route: Route::Proxy, url, cadence: None };
    let from = SourceId::new(host, SourceKind::Probe);
    Stamped { at, from, event: Event::Probe(Box::new(ProbeEvent { target, step })) }
}

/// One endpoint open, one refused, two categories of errors with hostile words, and a blind source.
fn snapshot() -> Snapshot {
    let mut model = Model::new("web1");
    let host = model.host.clone();
    let at = |s: u64| Timestamp::from_secs(NOON).plus(Duration::from_secs(s));
    let from = |kind| SourceId::new(&host, kind);
    let answer = |status| Answer { version: "HTTP/1.1".into(), status, ..Answer::default() };
    let took = Duration::from_micros(1_900);
    let failure = Failure { phase: Phase::Upgrade, kind: FailureKind::HttpStatus, said: "the answer was 400".into() };
    let refused =
        Step::Refused { failure, took, request: "GET /chat HTTP/1.1".into(), answer: Some(answer(400)), tls: None };
    let errors = vec![
        entry(at(1), Category::UpstreamConnect, "connect() failed \u{1b}[2J 日本語"),
        entry(at(2), Category::Capacity, "512 worker_connections are not enough"),
    ];
    let blind = Sense::blind("/proc/net/tcp: permission denied", "run as root");
    let batch = ErrorBatch { entries: errors, ..ErrorBatch::default() };
    for e in [
        probe(&host, at(0), "/ws", Step::Dialing { attempt: 1 }),
        probe(&host, at(0), "/ws", Step::Upgraded { took, request: "GET /ws HTTP/1.1".into(), answer: answer(101) }),
        probe(&host, at(1), "/ws", Step::Pong { seq: 1, rtt: Duration::from_micros(1_200) }),
        probe(&host, at(1), "/chat", refused),
        Stamped { at: at(2), from: from(SourceKind::ErrorLog), event: Event::Errors(batch) },
        Stamped { at: at(2), from: from(SourceKind::Sockets), event: Event::Sense(blind) },
        Stamped { at: at(41), from: from(SourceKind::ErrorLog), event: Event::Tick },
    ] {
        model.apply(&e);
    }
    Snapshot::of(&model, &diagnose(&model))
}

fn screen(snap: &Snapshot, state: &mut ScreenState, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a test terminal");
    terminal.draw(|frame| draw(frame, frame.area(), snap, state)).expect("drawn");
    let buf = terminal.backend().buffer().clone();
    let line = |y| (0..width).map(|x| buf[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect::<Vec<_>>().join("\n")
}

fn press(state: &mut ScreenState, snap: &Snapshot, keys: &str) -> Effect {
    let mut last = Effect::None;
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '\t' => KeyCode::Tab,
            c => KeyCode::Char(c),
        };
        last = handle_key(state, snap, KeyEvent::new(code, KeyModifiers::NONE));
    }
    last
}

fn fresh() -> ScreenState {
    ScreenState::new(Some("dark"), false).in_utc()
}

#[test]
fn all_panes_say_what_they_know_and_what_they_cannot_see() {
    let (snap, mut state) = (snapshot(), fresh());
    let shown = screen(&snap, &mut state, 160, 48);
    for word in [
        "1 Handshakes",
        "example.test/ws",
        "● open",
        "✖ 400",
        "2 Connections",
        "permission denied; run as root",
        "3 Errors",
        "upstream-connect",
        "\\x1b[2J",
        "4 Findings",
        "5 Timeline",
        "BROKEN",
        "LIVE 12:00",
        "? help",
    ] {
        assert!(shown.contains(word), "no '{word}' in\n{shown}");
    }
}

#[test]
fn every_pane_is_reached_on_a_small_terminal() {
    let (snap, mut state) = (snapshot(), fresh());
    for (key, word) in [("1", "✖ 400"), ("2", "permission denied"), ("3", "upstream-connect"), ("5", "now")] {
        press(&mut state, &snap, key);
        for (w, h) in [(80, 24), (40, 12)] {
            let shown = screen(&snap, &mut state, w, h);
            assert!(shown.contains(word) && shown.contains("BROKEN"), "no '{word}' at {w}x{h} in\n{shown}");
        }
    }
    assert!(screen(&snap, &mut state, 30, 1).contains("BROKEN"));
}

#[test]
fn a_held_screen_says_so() {
    let (snap, mut state) = (snapshot(), fresh());
    press(&mut state, &snap, "f");
    assert!(state.is_frozen());
    assert!(screen(&snap, &mut state, 100, 30).contains("FROZEN 12:00:41"));
    press(&mut state, &snap, "f");
    assert!(!state.is_frozen());
}

#[test]
fn a_wrong_pattern_keeps_the_filter_before_and_says_so() {
    let (snap, mut state) = (snapshot(), fresh());
    press(&mut state, &snap, "3/capac");
    let shown = screen(&snap, &mut state, 160, 48);
    let (panes, _) = shown.split_once("5 Timeline").expect("a timeline");
    assert!(
        shown.contains("/capac (1)") && shown.contains("1 row") && !panes.contains("▲ upstream-connect"),
        "{shown}"
    );
    press(&mut state, &snap, "\u{1b}/cap\n/ /(");
    let shown = screen(&snap, &mut state, 160, 48);
    assert!(shown.contains("is no pattern") && shown.contains("/cap / (1)") && shown.contains("/cap /("), "{shown}");
    press(&mut state, &snap, "\u{1b}");
    let shown = screen(&snap, &mut state, 160, 48);
    assert!(shown.contains("/cap (1)"), "what was kept before is in force again: {shown}");
    press(&mut state, &snap, "\u{1b}");
    assert!(screen(&snap, &mut state, 160, 48).contains("▲ upstream-connect"));
}

#[test]
fn a_page_is_searched_from_place_to_place() {
    let (snap, mut state) = (snapshot(), fresh());
    press(&mut state, &snap, "?");
    screen(&snap, &mut state, 80, 24);
    press(&mut state, &snap, "/REGULAR");
    let shown = screen(&snap, &mut state, 80, 24);
    assert!(shown.contains("/REGULAR") && shown.contains("a regular expression"), "{shown}");
    assert!(shown.contains("1 of 1 lines") && shown.contains("Enter keep"), "{shown}");
    press(&mut state, &snap, "\ng/theme\n");
    assert!(screen(&snap, &mut state, 80, 24).contains("1 of 2 lines"));
    press(&mut state, &snap, "n");
    assert!(screen(&snap, &mut state, 80, 24).contains("2 of 2 lines"));
    press(&mut state, &snap, "n");
    assert!(screen(&snap, &mut state, 80, 24).contains("1 of 2 lines"), "round and round");
    press(&mut state, &snap, "N");
    assert!(screen(&snap, &mut state, 80, 24).contains("2 of 2 lines"));
    press(&mut state, &snap, "/zzz\n");
    assert!(screen(&snap, &mut state, 80, 24).contains("found nowhere"));
    press(&mut state, &snap, "\u{1b}d");
    assert!(!screen(&snap, &mut state, 80, 24).contains("nowhere"), "another page, nothing searched");
    assert_eq!(press(&mut state, &snap, "/q\u{1b}q"), Effect::Quit, "letters are letters until Esc");
}

#[test]
fn the_palette_does_everything_and_shows_the_key_in_force() {
    let snap = busy(40);
    let mut state = fresh();
    let mut keys = super::Keymap::default();
    keys.give("freeze", &["F7".into()]).expect("a key");
    state = state.with_keys(keys);
    press(&mut state, &snap, ":frz");
    let shown = screen(&snap, &mut state, 100, 30);
    assert!(shown.contains("› freeze") && shown.contains("F7 "), "{shown}");
    press(&mut state, &snap, "\n");
    assert!(state.is_frozen());
    assert!(screen(&snap, &mut state, 100, 30).contains("F7 go on"), "the key line knows it too");
    press(&mut state, &snap, ":errors by up\n");
    assert!(screen(&snap, &mut state, 160, 48).contains("▎upstream"));
    for b in super::KEYS.iter().filter(|b| b.action != super::keys::Action::Palette) {
        let all = super::palette::matches(&state, b.name);
        assert_eq!(all[0].choice, super::palette::Choice::Act(b.action), "{}", b.name);
    }
}

#[test]
fn the_key_line_changes_with_where_one_is() {
    let (snap, mut state) = (busy(40), fresh());
    let foot = |state: &mut ScreenState| screen(&snap, state, 160, 48).lines().last().unwrap_or_default().to_owned();
    for (keys, hint) in [
        ("1", "p probe"),
        ("2", "v group"),
        ("v", "Esc tunnels"),
        ("\u{1b}3", "Enter go in"),
        ("\n", "Esc up"),
        ("\u{1b}4", "y copy fix"),
        ("5", "[ back"),
        ("?", "/ search"),
        ("\u{1b}d", "y copy fix"),
        ("/x\n", "n next"),
        ("\u{1b}:", "Enter do it"),
        ("\u{1b}f", "f go on"),
    ] {
        press(&mut state, &snap, keys);
        let foot = foot(&mut state);
        assert!(foot.contains(hint), "no '{hint}' after {keys:?} in {foot}");
    }
}

#[test]
fn the_selection_stays_with_its_row() {
    let (snap, mut state) = (snapshot(), fresh());
    press(&mut state, &snap, "3j");
    let chosen = state.pane(super::pane::Pane::Errors).selected;
    press(&mut state, &snap, "sS");
    screen(&snap, &mut state, 160, 48);
    assert_eq!(state.pane(super::pane::Pane::Errors).selected, chosen);
    press(&mut state, &snap, "\n");
    assert!(screen(&snap, &mut state, 160, 48).contains("3 Errors › "));
    press(&mut state, &snap, "\u{1b}");
    screen(&snap, &mut state, 160, 48);
    assert_eq!(state.pane(super::pane::Pane::Errors).selected, chosen, "and is still there after a look inside");
}

#[test]
fn details_help_and_findings_lie_over_the_panes() {
    let (snap, mut state) = (snapshot(), fresh());
    press(&mut state, &snap, "\n");
    let shown = screen(&snap, &mut state, 120, 40);
    assert!(
        shown.contains("Request") && shown.contains("GET /chat HTTP/1.1") && shown.contains("HTTP/1.1 400"),
        "{shown}"
    );
    press(&mut state, &snap, "\u{1b}?");
    assert!(screen(&snap, &mut state, 120, 40).contains("freeze the screen, go on"));
    press(&mut state, &snap, "\u{1b}d");
    assert!(screen(&snap, &mut state, 120, 40).contains("severity"));
    assert_eq!(press(&mut state, &snap, "\u{1b}1p"), Effect::ToggleProbe("ws://example.test/chat".into()));
    assert_eq!(press(&mut state, &snap, "r"), Effect::ResetCounters);
    assert_eq!(press(&mut state, &snap, "q"), Effect::Quit);
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    let alt_q = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::ALT);
    press(&mut state, &snap, "/abc");
    assert_eq!(handle_key(&mut state, &snap, alt_q), Effect::Quit, "Esc and q in one read");
    press(&mut state, &snap, "/abc");
    assert_eq!(handle_key(&mut state, &snap, control_c), Effect::Interrupt, "while a filter is typed too");
}

/// A hundred thousand tunnels of ten thousand clients.
fn crowd() -> Snapshot {
    let mut snap = snapshot();
    let row = |n: u32| TunnelRow {
        id: u64::from(n) + 1,
        at: Timestamp::default(),
        client_addr: Some(
            (std::net::Ipv4Addr::from(0x0a00_0000 + n % 10_000), 1_024 + u16::try_from(n % 60_000).unwrap_or(0)).into(),
        ),
        upstream_addr: Some(crate::model::connections::Upstream::Tcp(([10, 0, 0, 7], 8_080).into())),
        client: None,
        upstream: None,
        unix: None,
        pair: Confidence::Certain,
        worker: Some(n % 8),
        nginx: None,
        location: Some(format!("/ws/{}", n % 7)),
        state: TunnelState::Open,
        age: Some((Duration::from_secs(u64::from(n % 5_000)), false)),
        idle: Some(Duration::from_millis(u64::from(n.wrapping_mul(7_919) % 60_000))),
        down: Some(f64::from(n % 100)),
        up: Some(0.0),
        rtt: None,
        retransmits: None,
        left: Some(Duration::from_millis(u64::from(n.wrapping_mul(104_729) % 60_000))),
        timeout: Some(Duration::from_secs(60)),
        cut_by: None,
        left_at_most: None,
        trouble: None,
        probe: None,
        ended: None,
    };
    snap.tunnels.rows = std::sync::Arc::new((0..100_000).map(row).collect());
    snap.tunnels.living = 100_000;
    snap
}

/// Everything that a moment may hold at its worst: many tunnels, long lines that all differ, endpoints and findings.
pub(super) fn worst() -> Snapshot {
    let mut snap = crowd();
    let long = |n: usize, what: &str| format!("{what} {n} ").repeat(20);
    let mut model = Model::new("web1");
    let from = SourceId::new(&model.host.clone(), SourceKind::ErrorLog);
    for (c, category) in Category::ALL.into_iter().enumerate() {
        let entries = (0..400).map(|n| {
            let mut e = entry(Timestamp::from_secs(NOON), category, &long(n + c * 1_000, "message"));
            (e.client, e.server) = (Some(format!("2001:db8:{c:x}::{n:x}").into()), Some(long(n, "server").into()));
            e.upstream = Some(format!("http://10.{c}.{}.{}:8080/ws", n / 250, n % 250).into());
            e.raw = long(n, "a long line").repeat(4).into();
            e
        });
        let batch = ErrorBatch { entries: entries.collect(), ..ErrorBatch::default() };
        model.apply(&Stamped { at: Timestamp::from_secs(NOON), from: from.clone(), event: Event::Errors(batch) });
    }
    let told = Snapshot::of(&model, &diagnose(&model));
    (snap.errors, snap.lines) = (told.errors, told.lines);
    let mut endpoint = snap.endpoints[0].clone();
    let failure = Failure { phase: Phase::Upgrade, kind: FailureKind::HttpStatus, said: long(7, "the answer was") };
    let failed = crate::model::probes::Outcome::Failed(failure);
    endpoint.history = (0..64).map(|s| (Timestamp::from_secs(NOON + s), failed.clone())).collect();
    endpoint.request = long(7, "X-Header: value");
    endpoint.answer = Some(Answer { body: long(7, "<p>no</p>").repeat(9), ..Answer::default() });
    snap.endpoints = vec![endpoint; 40];
    snap.tunnels.rows = std::sync::Arc::new(snap.tunnels.rows[..1_000].to_vec());
    snap.findings = vec![snap.findings[0].clone(); 100];
    snap
}

#[test]
fn a_hundred_thousand_tunnels_are_ordered_once_and_drawn_by_the_page() {
    let (snap, mut state) = (crowd(), fresh());
    press(&mut state, &snap, "2");
    let shown = screen(&snap, &mut state, 200, 60);
    assert!(shown.matches("● open").count() > 20, "{shown}");
    let first = super::view::tunnels(&snap, &state);
    for _ in 0..5 {
        press(&mut state, &snap, "j");
        screen(&snap, &mut state, 200, 60);
    }
    let again = super::view::tunnels(&snap, &state);
    assert!(std::sync::Arc::ptr_eq(&first, &again), "moving about needs no new order");
    press(&mut state, &snap, "/client:10.0.0.0/28 idle<30s\n");
    assert!(screen(&snap, &mut state, 200, 60).contains("/client:10.0.0.0/28 idle<30s ("));
    press(&mut state, &snap, "\u{1b}v");
    assert!(screen(&snap, &mut state, 200, 60).contains("grouped by client"));
    assert_eq!(super::view::tunnels(&snap, &state).groups.len(), 10_000);
}

#[test]
fn no_frame_waits_for_a_long_order_that_is_worked_out_elsewhere() {
    let (snap, mut state) = (crowd(), fresh().sorted_elsewhere());
    press(&mut state, &snap, "2z");
    let work_out = |state: &ScreenState| {
        let (wish, rows) = state.open().expect("something is open");
        drop(state.learn(wish.answer(rows)));
    };
    let shown = screen(&snap, &mut state, 120, 40);
    assert!(
        !shown.contains("● open") && !shown.contains("no tunnel"),
        "nothing is known, and nothing said of it: {shown}"
    );
    work_out(&state);
    let by_time = screen(&snap, &mut state, 120, 40);
    assert!(by_time.matches("● open").count() > 20, "{by_time}");
    assert!(state.open().is_none(), "answered");
    // Another order: the rows stand as they stood until it has come.
    press(&mut state, &snap, "s");
    let rows = |text: &str| text.lines().filter(|l| l.contains("● open")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(rows(&screen(&snap, &mut state, 120, 40)), rows(&by_time));
    work_out(&state);
    assert_ne!(rows(&screen(&snap, &mut state, 120, 40)), rows(&by_time));
    // Groups are other rows: none of them before they are known.
    press(&mut state, &snap, "v");
    assert!(rows(&screen(&snap, &mut state, 120, 40)).is_empty());
    work_out(&state);
    assert!(screen(&snap, &mut state, 120, 40).contains("10.0."));
    // Few are put in order at once.
    let few = snapshot();
    press(&mut state, &few, "s");
    screen(&few, &mut state, 120, 40);
    assert!(state.open().is_none());
}

#[test]
fn a_tunnel_is_found_by_its_id_among_the_living_and_the_ended() {
    let mut snap = crowd();
    let mut rows: Vec<TunnelRow> = snap.tunnels.rows[..9].to_vec();
    let ended = crate::report::sockets::Ended {
        ago: Duration::ZERO,
        how: crate::model::tunnels::End::Unknown,
        timeout: None,
        seen: String::new(),
        line: None,
        bytes: None,
    };
    rows.push(TunnelRow { id: 3_000, ended: Some(ended.clone()), ..rows[0].clone() });
    rows.push(TunnelRow { id: 77, ended: Some(ended), ..rows[0].clone() });
    snap.tunnels.rows = std::sync::Arc::new(rows);
    assert_eq!([1, 9, 3_000, 77, 10].map(|id| snap.tunnels.place(id)), [Some(0), Some(8), Some(9), Some(10), None]);
}

#[test]
fn a_chosen_group_stays_chosen_wherever_a_turned_order_puts_it() {
    let (snap, mut state) = (crowd(), fresh());
    // By bytes a second to the clients, of which groups have different amounts.
    press(&mut state, &snap, "2zvsssjjj");
    screen(&snap, &mut state, 120, 40);
    let chosen = state.grouped.selected.expect("a group");
    let place = |state: &ScreenState| super::view::tunnels(&snap, state).place(chosen);
    let before = place(&state);
    press(&mut state, &snap, "S");
    screen(&snap, &mut state, 120, 40);
    assert_ne!(place(&state), before, "the order has turned");
    assert_eq!((state.grouped.selected, Some(state.grouped.at)), (Some(chosen), place(&state)));
    let tunnels = super::view::tunnels(&snap, &state);
    assert_eq!(tunnels.group(state.grouped.at).map(|g| g.id), Some(chosen));
    assert_eq!((tunnels.place(0), tunnels.group(tunnels.groups.len())), (None, None));
}

#[test]
fn ascii_is_ascii() {
    let (snap, mut state) = (snapshot(), ScreenState::new(Some("mono"), true));
    let shown = screen(&snap, &mut state, 160, 48);
    assert!(shown.is_ascii() && shown.contains("X BROKEN"), "{shown}");
}

/// A busy hour: two backends reset tunnels of several clients, one client sends a forged field, one tunnel idles.
fn busy(lines: usize) -> Snapshot {
    let mut model = Model::new("web1");
    let from = |kind| SourceId::new(&model.host.clone(), kind);
    let (errors, access) = (from(SourceKind::ErrorLog), from(SourceKind::AccessLog));
    let entries = (0..lines).map(|n| {
        let at = Timestamp::from_secs(NOON).plus(Duration::from_secs(n as u64));
        let (client, backend) =
            (format!("203.0.113.{}", n % 7), if n % 4 == 0 { "10.0.0.8:8080" } else { "10.0.0.9:8080" });
        let request = if n == 5 { "GET /ws\", upstream: \"http://6.6.6.6:1/ HTTP/1.1" } else { "GET /ws HTTP/1.1" };
        let line = format!(
            "2026/11/21 12:{:02}:{:02} [error] 7#7: *{n} recv() failed (104: Connection reset by peer) while proxying \
            upgraded connection, client: {client}, server: example.test, request: \"{request}\", \
            upstream: \"http://{backend}/ws\", host: \"example.test\"",
            n / 60 % 60,
            n % 60
        );
        crate::nginx::error::entry(&crate::nginx::error::parse(line.as_bytes()).expect("a line"), line.as_bytes(), at)
    });
    let end = Timestamp::from_secs(NOON).plus(Duration::from_secs(lines as u64 + 3));
    let mut entries: Vec<ErrorEntry> = entries.collect();
    entries.push(ErrorEntry {
        connection: Some(5),
        ..entry(end.minus(Duration::from_secs(2)), Category::Capacity, "no room")
    });
    let ended: crate::event::log::AccessEntry = serde_json::from_value(serde_json::json!({
        "at": end.to_string(), "client": "203.0.113.5", "request": "GET /ws HTTP/1.1", "status": 101, "request_time": 61.0,
        "connection": 5, "raw": "",
    }))
    .expect("an access entry");
    let accesses = crate::event::log::AccessBatch { entries: vec![ended], ..Default::default() };
    for e in [
        Stamped { at: Timestamp::from_secs(NOON), from: errors.clone(), event: Event::Sense(Sense::seen("reading")) },
        Stamped { at: end, from: errors, event: Event::Errors(ErrorBatch { entries, ..ErrorBatch::default() }) },
        Stamped { at: end, from: access, event: Event::Access(accesses) },
    ] {
        model.apply(&e);
    }
    Snapshot::of(&model, &diagnose(&model))
}

#[test]
fn the_way_into_the_errors_and_back() {
    let (snap, mut state) = (busy(100), fresh());
    press(&mut state, &snap, "3");
    let shown = screen(&snap, &mut state, 160, 48);
    assert!(shown.contains("3 Errors   101 since 12:00   55.9/min"), "{shown}");
    press(&mut state, &snap, "/closed\n\n");
    let shown = screen(&snap, &mut state, 160, 48);
    assert!(shown.contains("3 Errors › upstream-closed") && shown.contains("100 entries"), "{shown}");
    // By backend: 75 and 25 of all that were counted, though only some lines are kept of them.
    press(&mut state, &snap, "gvv");
    while !screen(&snap, &mut state, 160, 48).contains("▎upstream") {
        press(&mut state, &snap, "v");
    }
    let shown = screen(&snap, &mut state, 160, 48);
    assert!(shown.contains("75  ━━━━━╸   75%    4s  10.0.0.9:8080"), "{shown}");
    press(&mut state, &snap, "j\n");
    let shown = screen(&snap, &mut state, 160, 48);
    assert!(shown.contains("› upstream-closed › upstream 10.0.0.8:8080") && shown.contains("25 entries"), "{shown}");
    let below = shown.split("3 Errors").nth(1).unwrap_or_default();
    assert!(below.contains("203.0.113.4") && !below.contains("10.0.0.9:8080"), "{shown}");
    press(&mut state, &snap, "\u{1b}");
    assert!(screen(&snap, &mut state, 160, 48).contains("▎upstream"), "the level above is as it was left");
    press(&mut state, &snap, "\u{1b}");
    let shown = screen(&snap, &mut state, 160, 48);
    assert!(shown.contains("/closed (1)") && !shown.contains("Errors ›"), "with its filter, {shown}");
}

#[test]
fn a_raw_line_is_marked_and_a_forged_field_is_not() {
    let (snap, mut state) = (busy(20), fresh());
    press(&mut state, &snap, "3");
    press(&mut state, &snap, "/connection:5 !client:203.0.113.1\nvvvvvv");
    let shown = screen(&snap, &mut state, 160, 48);
    assert!(shown.contains("▎lines") && shown.contains("(2)"), "{shown}");
    press(&mut state, &snap, "j\n");
    let shown = screen(&snap, &mut state, 160, 48);
    let field = |letter: &str, name: &str| {
        let label = format!("{letter} {name:<10}");
        shown.lines().find_map(|l| l.split_once(&label).map(|(_, v)| v.to_owned())).unwrap_or_default()
    };
    assert!(field("u", "upstream").is_empty() || field("u", "upstream").starts_with("http://10."), "{shown}");
    assert!(field("c", "client").starts_with("203.0.113.5"), "{shown}");
    assert!(shown.contains("m────") && shown.contains("the reset came from the backend"), "{shown}");
    assert!(shown.contains("The same connection, *5") && shown.contains("no room"), "{shown}");
    assert!(shown.contains("access log: 101 GET /ws HTTP/1.1, ended after 1m"), "{shown}");
}

#[test]
fn errors_are_walked_in_order_of_time() {
    let (snap, mut state) = (busy(30), fresh());
    // Over a raw line from one to the other, whatever category.
    press(&mut state, &snap, "3V\n");
    assert!(screen(&snap, &mut state, 120, 40).contains("31 of 31"));
    press(&mut state, &snap, "EE");
    assert!(screen(&snap, &mut state, 120, 40).contains("29 of 31"));
    press(&mut state, &snap, "eee");
    let shown = screen(&snap, &mut state, 120, 40);
    assert!(shown.contains("31 of 31") && shown.contains("this is the newest error line"), "{shown}");
    // In a narrowing only through it, and in a list the selection walks.
    press(&mut state, &snap, "\u{1b}\u{1b}3\n");
    while !screen(&snap, &mut state, 120, 40).contains("▎lines") {
        press(&mut state, &snap, "v");
    }
    press(&mut state, &snap, "gEEE");
    let walked = state.pane(super::pane::Pane::Errors).selected;
    press(&mut state, &snap, "s");
    assert_eq!(walked, state.pane(super::pane::Pane::Errors).selected);
    let empty = Snapshot::of(&Model::new(""), &diagnose(&Model::new("")));
    press(&mut state, &empty, "e");
    assert!(screen(&empty, &mut state, 120, 40).contains("no error line is kept"));
}

#[test]
fn every_level_has_its_filter_and_names_are_told_with_a_key() {
    let (snap, mut state) = (busy(100), fresh());
    press(&mut state, &snap, "3/upstream:10.0.0.8\n");
    let shown = screen(&snap, &mut state, 160, 48);
    assert!(shown.contains("▲ upstream-closed") && !shown.contains("✖ capacity"), "{shown}");
    press(&mut state, &snap, "\n/client:203.0.113.3 !upstream:10.0.0.9\n");
    while !screen(&snap, &mut state, 160, 48).contains("▎client") {
        press(&mut state, &snap, "v");
    }
    let shown = screen(&snap, &mut state, 160, 48);
    assert!(shown.contains(" 203.0.113.3") && !shown.contains(" 203.0.113.4"), "{shown}");
    press(&mut state, &snap, "/ /x(/");
    let shown = screen(&snap, &mut state, 160, 48);
    assert!(shown.contains("this is no pattern: unclosed group") && shown.contains(" 203.0.113.3"), "{shown}");
    press(&mut state, &snap, "\u{1b}\u{1b}/nowhere\n");
    assert!(screen(&snap, &mut state, 160, 48).contains("nothing matches /nowhere; Esc clears the filter"));
}

#[test]
fn what_was_counted_and_is_not_kept_says_so() {
    let (snap, mut state) = (busy(2_000), fresh());
    press(&mut state, &snap, "3/closed\n\n");
    while !screen(&snap, &mut state, 160, 48).contains("▎lines") {
        press(&mut state, &snap, "v");
    }
    let shown = screen(&snap, &mut state, 160, 48);
    assert!(shown.contains("newest 999 of   2,000 entries"), "{shown}");
    press(&mut state, &snap, "v");
    while !screen(&snap, &mut state, 160, 48).contains("▎upstream") {
        press(&mut state, &snap, "v");
    }
    press(&mut state, &snap, "g\nv");
    let shown = screen(&snap, &mut state, 160, 48);
    assert!(shown.contains("1,500 entries") && shown.contains("counted in 7"), "{shown}");
}

#[test]
fn no_key_and_no_size_ever_panics() {
    let (full, crowd) = (snapshot(), busy(300));
    let model = Model::new("");
    let empty = Snapshot::of(&model, &diagnose(&model));
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |n: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % n
    };
    let small = |n: u64| u16::try_from(n).expect("small");
    let keys: Vec<char> = "?\t123345jkgG\n\n\u{1b}/frzsSdpt!:a(vVeE>+-=5+-[]".chars().collect();
    for round in 0..60 {
        let mut state = ScreenState::new(None, round % 7 == 0);
        for step in 0..60 {
            let snap = [&empty, &full, &full, &crowd, &crowd, &crowd][usize::try_from(random(6)).expect("small")];
            let (w, h) = (small(1 + random(170)), small(1 + random(50)));
            if step % 3 == 0 {
                screen(snap, &mut state, w, h);
            }
            let key = keys[usize::try_from(random(keys.len() as u64)).expect("small")];
            press(&mut state, snap, &key.to_string());
            let kinds = [MouseEventKind::ScrollDown, MouseEventKind::ScrollUp, MouseEventKind::Down(MouseButton::Left)];
            let kind = kinds[usize::try_from(random(3)).expect("small")];
            let mouse =
                MouseEvent { kind, column: small(random(170)), row: small(random(50)), modifiers: KeyModifiers::NONE };
            handle_mouse(&mut state, snap, mouse, Instant::now());
        }
    }
    for (w, h) in [(1, 1), (2, 9), (24, 8), (300, 2), (3, 60)] {
        screen(&full, &mut ScreenState::new(None, false), w, h);
    }
}
