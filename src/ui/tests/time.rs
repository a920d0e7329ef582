//! Stories of the timeline: its spans, its rows, its cursor, and what keys and clicks on it ask for.

use std::time::{Duration, Instant};

use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::super::pane::Pane;
use super::super::{Effect, ScreenState, Snapshot};
use super::{NOON, entry, fresh, press, probe, screen};
use crate::diagnose::diagnose;
use crate::event::log::{Category, ErrorBatch};
use crate::event::probe::{Answer, ClosedBy, Failure, FailureKind, Phase, Step};
use crate::event::{Event, Sense, SourceId, SourceKind, Stamped};
use crate::model::Model;
use crate::time::Timestamp;

fn handle_mouse(state: &mut ScreenState, snap: &Snapshot, mouse: MouseEvent) -> Effect {
    super::super::handle_mouse(state, snap, mouse, Instant::now())
}

/// Watched since noon, for `hours`: `at` gives the errors.
fn day(secs: u64, errors: &[(u64, Category)]) -> Snapshot {
    let mut model = Model::new("web1");
    let host = model.host.clone();
    let at = |s: u64| Timestamp::from_secs(NOON).plus(Duration::from_secs(s));
    let log = SourceId::new(&host, SourceKind::ErrorLog);
    model.apply(&Stamped { at: at(0), from: log.clone(), event: Event::Sense(Sense::seen("reading")) });
    let up = || Step::Upgraded {
        took: Duration::from_millis(2),
        request: String::new(),
        answer: Answer { version: "HTTP/1.1".into(), status: 101, ..Answer::default() },
    };
    model.apply(&probe(&host, at(0), "/ws", up()));
    model.apply(&probe(&host, at(0), "/chat", up()));
    let (held, idle) = (Duration::from_secs(600), Duration::from_secs(60));
    let died = Step::Closed { by: ClosedBy::Fin, code: None, reason: String::new(), held, idle };
    model.apply(&probe(&host, at(600), "/ws", died));
    model.apply(&probe(&host, at(601), "/ws", up()));
    let failure = Failure { phase: Phase::Upgrade, kind: FailureKind::HttpStatus, said: "the answer was 400".into() };
    let took = Duration::from_millis(2);
    let refused = Step::Refused { failure, took, request: String::new(), answer: None, tls: None };
    model.apply(&probe(&host, at(900), "/chat", refused));
    let entries = errors.iter().map(|(s, c)| entry(at(*s), *c, &format!("said at {s}"))).collect();
    let batch = ErrorBatch { entries, ..ErrorBatch::default() };
    model.apply(&Stamped { at: at(secs), from: log, event: Event::Errors(batch) });
    Snapshot::of(&model, &diagnose(&model))
}

fn storm() -> Snapshot {
    let errors = [
        (30, Category::UpstreamClosed),
        (700, Category::UpstreamTimeout),
        (701, Category::UpstreamTimeout),
        (1_400, Category::ClientClosed),
        (1_600, Category::UpstreamClosed),
    ];
    day(1_800, &errors)
}

/// The lines of the timeline alone.
fn strip(snap: &Snapshot, state: &mut ScreenState, (w, h): (u16, u16)) -> Vec<String> {
    let shown = screen(snap, state, w, h);
    let strip = state.strip.expect("a timeline");
    let rows = usize::from(strip.area.y)..usize::from(strip.area.bottom());
    shown.lines().skip(rows.start).take(rows.len()).map(str::to_owned).collect()
}

/// The snapshot as it is seen from `present` after an effect.
fn follow(present: &Snapshot, effect: &Effect) -> Snapshot {
    match effect {
        Effect::At(at) | Effect::After(at) => present.seen_from(present, *at),
        _ => present.clone(),
    }
}

#[test]
fn the_span_grows_and_shrinks_by_keys_and_by_the_wheel() {
    let (snap, mut state) = (storm(), fresh());
    let title = |state: &mut ScreenState| screen(&snap, state, 160, 48);
    assert!(title(&mut state).contains("5 Timeline   last 30 min"));
    press(&mut state, &snap, "--");
    let shown = title(&mut state);
    assert!(shown.contains("last 12 h") && shown.contains("00:30"), "{shown}");
    press(&mut state, &snap, "--");
    let shown = title(&mut state);
    assert!(
        shown.contains("last 24 h") && shown.contains("−1d 12:30") && shown.contains("24 h is the longest"),
        "{shown}"
    );
    press(&mut state, &snap, "===+");
    assert!(title(&mut state).contains("last 5 min"));
    press(&mut state, &snap, "+");
    assert!(title(&mut state).contains("5 min is the shortest span"));
    let area = state.strip.expect("drawn").area;
    let wheel = |kind| MouseEvent { kind, column: area.x, row: area.y, modifiers: KeyModifiers::NONE };
    handle_mouse(&mut state, &snap, wheel(MouseEventKind::ScrollDown));
    assert!(title(&mut state).contains("last 30 min"));
    handle_mouse(&mut state, &snap, wheel(MouseEventKind::ScrollUp));
    assert!(title(&mut state).contains("last 5 min"));
}

#[test]
fn every_row_has_its_place_and_leaves_in_its_turn() {
    let (snap, mut state) = (storm(), fresh());
    press(&mut state, &snap, "5z");
    let all = strip(&snap, &mut state, (160, 48));
    let names: Vec<&str> = all.iter().filter_map(|l| l.split_whitespace().find(|w| w.is_ascii())).collect();
    assert_eq!(
        names,
        [
            "upstream-timeout",
            "upstream-closed",
            "client-closed",
            "opened",
            "deaths",
            "example.test/chat",
            "example.test/ws",
            "marks"
        ]
    );
    assert!(all[0].contains("▲ upstream-timeout      2"), "{all:#?}");
    // Sockets were never looked at: nothing counted is nothing known.
    assert!(all[3].contains('·') && !all[0].contains('·'), "{all:#?}");
    assert!(all[5].contains("━✖╌╌╌") && all[6].contains("━▲━"), "{all:#?}");
    assert!(all[7].contains("✖ /chat 12:15"), "{all:#?}");
    press(&mut state, &snap, "z1");
    let few = strip(&snap, &mut state, (80, 24));
    assert_eq!(few.len(), 3);
    assert!(few[0].contains("errors") && few[1].contains("deaths") && few[2].starts_with("  30 min"), "{few:#?}");
}

#[test]
fn before_watching_began_is_no_quiet_time() {
    let snap = day(900, &[(100, Category::Capacity)]);
    let mut state = fresh();
    press(&mut state, &snap, "5z");
    let all = strip(&snap, &mut state, (160, 48));
    let (before, after) = all[0].split_at(all[0].find(['▁', '▂', '▃', '▄', '▅', '▆']).expect("an error"));
    assert!(before.matches('·').count() > 5 && !after.contains('·'), "{all:#?}");
    assert!(all.last().expect("marks").contains("▸ watching since 12:00"), "{all:#?}");
}

#[test]
fn errors_are_walked_on_the_timeline_and_the_errors_pane_goes_along() {
    let (present, mut state) = (storm(), fresh());
    let at = |s: u64| Timestamp::from_secs(NOON).plus(Duration::from_secs(s));
    screen(&present, &mut state, 160, 48);
    let mut shown = present.clone();
    let mut walk = |state: &mut ScreenState, key: &str| {
        let effect = press(state, &shown, key);
        shown = follow(&present, &effect);
        shown.past.cursor = match effect {
            Effect::After(at) => Some(at),
            _ => shown.past.cursor,
        };
        effect
    };
    assert_eq!(walk(&mut state, "1E"), Effect::After(at(1_600)));
    assert_eq!(state.pane(Pane::Errors).selected, Some(Category::UpstreamClosed as u64));
    assert_eq!(walk(&mut state, "E"), Effect::After(at(1_400)));
    assert_eq!(state.pane(Pane::Errors).selected, Some(Category::ClientClosed as u64));
    assert_eq!(walk(&mut state, "E"), Effect::After(at(701)), "the newest of its column");
    assert_eq!(walk(&mut state, "E"), Effect::After(at(30)));
    assert_eq!(walk(&mut state, "e"), Effect::After(at(701)));
    // A quiet place between two errors is as good a beginning.
    shown = present.seen_from(&present, at(1_550));
    assert_eq!(press(&mut state, &shown, "e"), Effect::After(at(1_600)));
    shown = present.seen_from(&present, at(1_600));
    assert_eq!(press(&mut state, &shown, "e"), Effect::None);
    assert!(screen(&shown, &mut state, 160, 48).contains("no later error; ] goes on to LIVE"));
    press(&mut state, &shown, "+");
    assert_eq!(press(&mut state, &shown, "E"), Effect::None);
    assert!(screen(&shown, &mut state, 160, 48).contains("no earlier error within 5 min; - looks further back"));
}

#[test]
fn an_error_of_which_no_line_is_kept_is_found_hours_later() {
    let mut errors = vec![(60, Category::Capacity)];
    errors.extend((0..1_200).map(|n| (35_000 + n, Category::UpstreamClosed)));
    errors.extend((0..80).map(|n| (30_000 + n, Category::Capacity)));
    let snap = day(40_000, &errors);
    let mut state = fresh();
    press(&mut state, &snap, "--");
    screen(&snap, &mut state, 160, 48);
    let shown = snap.seen_from(&snap, Timestamp::from_secs(NOON + 29_000));
    let Effect::After(at) = press(&mut state, &shown, "E") else { panic!("an error") };
    assert!((NOON + 60..NOON + 500).contains(&at.secs()), "in the column of that error: {at}");
    assert_eq!(state.pane(Pane::Errors).selected, Some(Category::Capacity as u64));
}

#[test]
fn a_click_shows_that_moment_and_one_at_the_end_the_present() {
    let (snap, mut state) = (storm(), fresh());
    for size in [(160, 48), (80, 24)] {
        screen(&snap, &mut state, size.0, size.1);
        let area = state.strip.expect("drawn").area;
        let left = MouseEventKind::Down(MouseButton::Left);
        let click = |column, row| MouseEvent { kind: left, column, row, modifiers: KeyModifiers::NONE };
        let Effect::At(at) = handle_mouse(&mut state, &snap, click(area.x + area.width / 2, area.y)) else {
            panic!("a moment")
        };
        let ago = snap.now.since(at).as_secs();
        assert!((830..970).contains(&ago), "half of half an hour: {ago} s");
        let past = snap.seen_from(&snap, at);
        let shown = screen(&past, &mut state, size.0, size.1);
        assert!(shown.contains('▴') && !shown.contains("LIVE 12"), "{shown}");
        assert_eq!(handle_mouse(&mut state, &past, click(area.right() - 1, area.bottom() - 1)), Effect::Present);
    }
    assert_eq!(state.focus, Pane::Timeline, "the pane is focused; the strip below a tab leaves the tab");
    let mut state = fresh();
    screen(&snap, &mut state, 80, 24);
    let area = state.strip.expect("drawn").area;
    let left = MouseEventKind::Down(MouseButton::Left);
    handle_mouse(
        &mut state,
        &snap,
        MouseEvent { kind: left, column: area.x, row: area.y, modifiers: KeyModifiers::NONE },
    );
    assert_eq!(state.focus, Pane::Handshakes);
}

#[test]
fn arrows_and_ends_move_in_time_on_the_timeline() {
    let (snap, mut state) = (storm(), fresh());
    assert_eq!(press(&mut state, &snap, "5v"), Effect::Later);
    assert_eq!(press(&mut state, &snap, "V"), Effect::Earlier);
    assert_eq!(press(&mut state, &snap, "g"), Effect::Oldest);
    assert_eq!(press(&mut state, &snap, "G"), Effect::Present);
    let past = snap.seen_from(&snap, Timestamp::from_secs(NOON + 700));
    assert_eq!(press(&mut state, &past, "\u{1b}"), Effect::Present);
}

#[test]
fn whether_it_is_live_shows_at_every_size() {
    let (snap, mut state) = (storm(), fresh());
    let mut kept = snap.clone();
    kept.now = Timestamp::from_secs(NOON + 1_667);
    let past = kept.seen_from(&snap, Timestamp::from_secs(NOON + 1_669));
    for (w, h) in [(160, 48), (100, 30), (80, 24), (40, 12), (24, 8), (40, 4)] {
        assert!(screen(&snap, &mut state, w, h).contains("LIVE"), "{w}x{h}");
        let shown = screen(&past, &mut state, w, h);
        let first = shown.lines().next().unwrap_or_default();
        assert!(first.contains("−2m 13s") && !first.contains("LIVE"), "{w}x{h}: {shown}");
    }
    press(&mut state, &snap, "5");
    let shown = screen(&past, &mut state, 160, 48);
    assert!(shown.contains("12:27:49   panes of 12:27:47"), "{shown}");
}

#[test]
fn the_details_of_a_moment_tell_what_happened_about_it() {
    let (snap, mut state) = (storm(), fresh());
    screen(&snap, &mut state, 120, 40);
    press(&mut state, &snap, "5\n");
    let shown = screen(&snap, &mut state, 120, 40);
    for word in [
        "Timeline   last 30 min",
        "upstream-timeout       2  said at 701",
        "· not watched then",
        "✖ example.test/chat fails",
    ] {
        assert!(shown.contains(word), "no '{word}' in {shown}");
    }
    let past = snap.seen_from(&snap, Timestamp::from_secs(NOON + 1_400));
    let shown = screen(&past, &mut state, 120, 40);
    assert!(shown.contains("Timeline at 12:23:20") && shown.contains("client-closed          1"), "{shown}");
    assert!(!shown.contains("upstream-timeout") && !shown.contains("/chat fails"), "{shown}");
}
