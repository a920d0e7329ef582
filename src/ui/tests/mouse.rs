//! Stories of the mouse: whatever is clicked is what was drawn there.

use std::time::{Duration, Instant};

use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::super::pane::Pane;
use super::super::{Effect, ScreenState, Snapshot, handle_mouse};
use super::{busy, crowd, fresh, press, screen, snapshot};

/// A hand with a mouse before a screen of one size.
struct Hand<'a> {
    snap: &'a Snapshot,
    state: ScreenState,
    size: (u16, u16),
    now: Instant,
}

impl<'a> Hand<'a> {
    fn new(snap: &'a Snapshot, size: (u16, u16)) -> Self {
        Self { snap, state: fresh(), size, now: Instant::now() }
    }

    fn shown(&mut self) -> String {
        screen(self.snap, &mut self.state, self.size.0, self.size.1)
    }

    fn keys(&mut self, keys: &str) -> Effect {
        press(&mut self.state, self.snap, keys)
    }

    /// Where `text` stands, the last time it does above the timeline or below it.
    fn place(&mut self, text: &str) -> (u16, u16) {
        let shown = self.shown();
        let timeline = shown.lines().position(|l| l.contains("5 Timeline") && !l.contains("4 Findings"));
        let rows = shown.lines().count();
        let past = timeline.map_or(0..0, |y| y..rows.saturating_sub(2));
        let found = shown
            .lines()
            .enumerate()
            .filter(|(y, _)| !past.contains(y))
            .filter_map(|(y, l)| Some((l.find(text)?, y, l)))
            .last();
        let (at, y, line) = found.unwrap_or_else(|| panic!("no '{text}' in\n{shown}"));
        (u16::try_from(line[..at].chars().count()).expect("small"), u16::try_from(y).expect("small"))
    }

    fn does(&mut self, kind: MouseEventKind, (column, row): (u16, u16)) -> Effect {
        let mouse = MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
        handle_mouse(&mut self.state, self.snap, mouse, self.now)
    }

    /// One click, long after the one before.
    fn click(&mut self, text: &str) -> Effect {
        self.now += Duration::from_secs(2);
        self.again(text)
    }

    /// A click right after the one before.
    fn again(&mut self, text: &str) -> Effect {
        let at = self.place(text);
        self.does(MouseEventKind::Down(MouseButton::Left), at)
    }

    fn selected(&self, pane: Pane) -> Option<u64> {
        self.state.pane(pane).selected
    }
}

#[test]
fn a_click_selects_and_only_a_double_click_goes_in() {
    let snap = busy(40);
    let mut hand = Hand::new(&snap, (160, 48));
    hand.click("recv() failed (104)");
    assert_eq!(hand.state.focus, Pane::Errors, "no focus was needed before");
    let chosen = hand.selected(Pane::Errors);
    assert!(chosen.is_some());
    hand.click("recv() failed (104)");
    assert!(!hand.shown().contains("Errors ›"), "two slow clicks are two clicks");
    hand.again("recv() failed (104)");
    assert!(hand.shown().contains("3 Errors › upstream-closed"), "{}", hand.shown());
    // A third quick click is the first of the next two.
    let at = hand.place("3 Errors ›");
    hand.does(MouseEventKind::Down(MouseButton::Right), at);
    assert!(!hand.shown().contains("Errors ›"), "the right button goes back");
}

#[test]
fn heads_sort_tabs_switch_and_views_turn() {
    let snap = busy(40);
    let mut hand = Hand::new(&snap, (160, 48));
    hand.click("CATEGORY");
    assert!(hand.shown().contains("by category ▴"), "{}", hand.shown());
    hand.click("CATEGORY");
    assert!(hand.shown().contains("by category ▾"), "{}", hand.shown());
    hand.size = (80, 24);
    for (tab, pane) in [("2 Conn", Pane::Connections), ("5 Time", Pane::Timeline), ("3 Err", Pane::Errors)] {
        hand.click(tab);
        assert_eq!(hand.state.focus, pane);
    }
    hand.size = (160, 48);
    hand.keys("gv");
    hand.click("client");
    assert!(hand.shown().contains("▎client"), "{}", hand.shown());
}

#[test]
fn a_finding_is_selected_by_any_of_its_lines() {
    let snap = snapshot();
    let mut hand = Hand::new(&snap, (160, 48));
    assert!(snap.findings.len() > 1, "two findings at least");
    let second = snap.findings[1].clone();
    hand.click(second.finding.id);
    assert_eq!((hand.state.focus, hand.selected(Pane::Findings)), (Pane::Findings, Some(second.id)));
    hand.again(second.finding.id);
    assert!(hand.shown().contains("severity"), "{}", hand.shown());
}

#[test]
fn a_page_is_closed_beside_it_and_not_on_it() {
    let snap = snapshot();
    let mut hand = Hand::new(&snap, (120, 40));
    hand.keys("?");
    hand.click("focus Errors");
    assert!(hand.shown().contains("focus Errors"), "reading is no leaving");
    hand.click("BROKEN");
    assert!(!hand.shown().contains("focus Errors"));
    hand.keys("?");
    hand.click("▎Help");
    assert!(!hand.shown().contains("focus Errors"), "the title closes it too");
}

#[test]
fn hints_are_buttons_and_entries_of_the_palette_are_chosen() {
    let snap = snapshot();
    let mut hand = Hand::new(&snap, (120, 40));
    hand.click("? help");
    assert!(hand.shown().contains("focus Errors"));
    hand.click("Esc back");
    assert!(!hand.shown().contains("focus Errors"));
    assert_eq!(hand.click("q quit"), Effect::Quit);
    hand.keys(":thlig");
    hand.click("theme light");
    assert_eq!(hand.state.theme.name, "light");
    assert!(hand.state.popup.is_none());
    hand.keys(":");
    hand.click("Esc back");
    assert!(hand.state.popup.is_none());
}

#[test]
fn a_click_elsewhere_ends_the_filter_line_and_keeps_the_filter() {
    let snap = snapshot();
    let mut hand = Hand::new(&snap, (160, 48));
    hand.keys("3/capac");
    hand.click("1 Handshakes");
    assert_eq!(hand.keys("q"), Effect::Quit, "letters are keys again");
    assert!(hand.shown().contains("/capac (1)"));
    assert!(hand.state.filter(Pane::Handshakes).is_none());
}

#[test]
fn the_wheel_scrolls_what_is_under_it_and_focuses_nothing() {
    let snap = crowd();
    let mut hand = Hand::new(&snap, (160, 48));
    let at = hand.place("2 Connections");
    let before = hand.shown();
    hand.does(MouseEventKind::ScrollDown, (at.0, at.1 + 4));
    assert_ne!(hand.shown(), before, "the first notch is seen");
    assert_eq!(hand.state.focus, Pane::Handshakes);
    assert_eq!(hand.state.pane(Pane::Connections).offset, 3);
    hand.does(MouseEventKind::ScrollUp, (at.0, at.1 + 4));
    assert_eq!(hand.state.pane(Pane::Connections).offset, 0);
    hand.keys("?");
    hand.size = (80, 24);
    hand.shown();
    hand.does(MouseEventKind::ScrollDown, (10, 10));
    assert!(!hand.shown().contains("focus the next pane"), "pages scroll too: {}", hand.shown());
}
