//! Stories of the filter line: what is typed, completed, recalled and pasted, and what the screen says of it meanwhile.

use super::super::handle_paste;
use super::super::pane::Pane;
use super::*;

fn stroke(state: &mut ScreenState, snap: &Snapshot, code: KeyCode, modifiers: KeyModifiers) {
    handle_key(state, snap, KeyEvent::new(code, modifiers));
}

fn control(state: &mut ScreenState, snap: &Snapshot, letters: &str) {
    letters.chars().for_each(|c| stroke(state, snap, KeyCode::Char(c), KeyModifiers::CONTROL));
}

fn typed(state: &ScreenState) -> &str {
    state.editing.as_ref().expect("a filter line").text()
}

fn in_force(state: &ScreenState, pane: Pane) -> Option<&str> {
    state.filter(pane).map(|f| f.text.as_str())
}

/// The last two lines of the screen: what is said of the filter, and the filter.
fn below(snap: &Snapshot, state: &mut ScreenState, width: u16, height: u16) -> (String, String) {
    let shown = screen(snap, state, width, height);
    let mut lines: Vec<String> = shown.lines().map(str::to_owned).collect();
    let last = lines.pop().expect("a line");
    (lines.pop().expect("another"), last)
}

#[test]
fn the_rows_follow_what_is_typed_and_esc_takes_it_back() {
    let (snap, mut state) = (busy(100), fresh());
    press(&mut state, &snap, "3/capac");
    assert_eq!(in_force(&state, Pane::Errors), Some("capac"));
    press(&mut state, &snap, "\n/");
    control(&mut state, &snap, "u");
    assert_eq!(in_force(&state, Pane::Errors), None, "nothing typed lets all pass");
    press(&mut state, &snap, "client:203.0.113.3");
    assert_eq!(in_force(&state, Pane::Errors), Some("client:203.0.113.3"));
    press(&mut state, &snap, "\u{1b}");
    assert_eq!((in_force(&state, Pane::Errors), state.editing.is_none()), (Some("capac"), true), "as it was before");
    press(&mut state, &snap, "/");
    control(&mut state, &snap, "u");
    press(&mut state, &snap, "\n");
    assert_eq!(in_force(&state, Pane::Errors), None);
}

#[test]
fn a_wrong_filter_is_marked_at_its_place_and_cannot_be_kept() {
    let (snap, mut state) = (busy(100), fresh());
    press(&mut state, &snap, "3/capacity\n/ größe errno>many");
    for (width, height) in [(160, 48), (100, 30), (80, 24), (60, 12)] {
        let (hint, line) = below(&snap, &mut state, width, height);
        let mark = hint.chars().position(|c| c == '▾').expect("a mark");
        assert_eq!(line.chars().nth(mark), Some('m'), "{width}:\n{hint}\n{line}");
        assert!(hint.contains("'many' is no size"), "{width}: {hint}");
    }
    press(&mut state, &snap, "\n");
    assert!(state.editing.is_some(), "it stays where it can be mended");
    assert_eq!(in_force(&state, Pane::Errors), Some("capacity größe errno"), "what could be understood last");
    control(&mut state, &snap, "w");
    press(&mut state, &snap, "errno>1\n");
    assert_eq!(in_force(&state, Pane::Errors), Some("capacity größe errno>1"));
    press(&mut state, &snap, "/ cleint:x");
    let (hint, _) = below(&snap, &mut state, 160, 48);
    assert!(hint.contains("there is no key 'cleint'; did you mean 'client'?"), "{hint}");
}

#[test]
fn tab_completes_keys_and_the_values_that_there_are() {
    let (snap, mut state) = (busy(100), fresh());
    press(&mut state, &snap, "3/cat");
    let (hint, line) = below(&snap, &mut state, 100, 30);
    assert!(hint.contains("Tab") && hint.contains("category:") && line.contains("/cat▏egory:"), "{hint}\n{line}");
    press(&mut state, &snap, "\t");
    assert_eq!(typed(&state), "category:");
    let (hint, _) = below(&snap, &mut state, 100, 30);
    assert!(hint.contains("a value is missing") && hint.contains("upstream-closed  capacity"), "{hint}");
    assert_eq!(in_force(&state, Pane::Errors), Some("cat"), "the beginning of a comparison narrows nothing");
    press(&mut state, &snap, "\t");
    assert_eq!(
        (typed(&state), in_force(&state, Pane::Errors)),
        ("category:upstream-closed", Some("category:upstream-closed"))
    );
    press(&mut state, &snap, "\t");
    assert_eq!(typed(&state), "category:capacity");
    press(&mut state, &snap, "\t");
    assert_eq!(typed(&state), "category:upstream-closed", "round and round");
    stroke(&mut state, &snap, KeyCode::BackTab, KeyModifiers::NONE);
    assert_eq!(typed(&state), "category:capacity");
    press(&mut state, &snap, " errno\t");
    assert_eq!(typed(&state), "category:capacity errno>");
    press(&mut state, &snap, "\t\t\u{1b}");
    assert!(state.focus == Pane::Errors && state.editing.is_none(), "Tab stays in the line");
    press(&mut state, &snap, "1/now:o\t");
    assert_eq!(typed(&state), "now:o", "no endpoint is known, so no value is");
    let open = snapshot();
    let mut state = fresh();
    press(&mut state, &open, "1/now=o\t\n");
    assert_eq!(in_force(&state, Pane::Handshakes), Some("now=open"), "without the sign before it");
    assert!(screen(&open, &mut state, 160, 48).contains("/now=open (1)"));
}

#[test]
fn the_values_of_a_hundred_thousand_tunnels_are_offered_without_a_wait() {
    let (snap, mut state) = (crowd(), fresh());
    press(&mut state, &snap, "2/client:10.0.0.1\t");
    assert!(typed(&state).starts_with("client:10.0.0.1"), "{}", typed(&state));
    let offered = &state.editing.as_ref().expect("a line").offered;
    assert!(offered.candidates.len() <= 100 && offered.candidates.iter().all(|c| !c.contains(':')), "no ports");
}

#[test]
fn each_pane_recalls_its_own_filters() {
    let (snap, mut state) = (busy(20), fresh());
    for text in ["3/one\n", "/", "two\n", "4/three\n"] {
        press(&mut state, &snap, text);
        if text == "/" {
            control(&mut state, &snap, "u");
        }
    }
    press(&mut state, &snap, "3/ draft");
    stroke(&mut state, &snap, KeyCode::Up, KeyModifiers::NONE);
    assert_eq!((typed(&state), in_force(&state, Pane::Errors)), ("two", Some("two")));
    control(&mut state, &snap, "p");
    assert_eq!(typed(&state), "one");
    stroke(&mut state, &snap, KeyCode::Up, KeyModifiers::NONE);
    assert_eq!(typed(&state), "one", "nothing older");
    control(&mut state, &snap, "n");
    stroke(&mut state, &snap, KeyCode::Down, KeyModifiers::NONE);
    assert_eq!(typed(&state), "two draft", "and back to what was typed");
    press(&mut state, &snap, "\u{1b}");
    assert_eq!(in_force(&state, Pane::Errors), Some("two"));
}

#[test]
fn the_usual_keys_edit_and_ctrl_c_still_ends_all() {
    let (snap, mut state) = (busy(20), fresh());
    press(&mut state, &snap, "3/one two three");
    stroke(&mut state, &snap, KeyCode::Char('b'), KeyModifiers::ALT);
    stroke(&mut state, &snap, KeyCode::Left, KeyModifiers::CONTROL);
    control(&mut state, &snap, "k");
    assert_eq!(typed(&state), "one ");
    control(&mut state, &snap, "a");
    stroke(&mut state, &snap, KeyCode::Delete, KeyModifiers::NONE);
    stroke(&mut state, &snap, KeyCode::Char('f'), KeyModifiers::ALT);
    press(&mut state, &snap, "!");
    stroke(&mut state, &snap, KeyCode::Home, KeyModifiers::NONE);
    press(&mut state, &snap, "/");
    control(&mut state, &snap, "e");
    stroke(&mut state, &snap, KeyCode::Left, KeyModifiers::NONE);
    stroke(&mut state, &snap, KeyCode::Right, KeyModifiers::NONE);
    stroke(&mut state, &snap, KeyCode::Backspace, KeyModifiers::NONE);
    press(&mut state, &snap, "x");
    assert_eq!(typed(&state), "/ne!x");
    stroke(&mut state, &snap, KeyCode::Char('z'), KeyModifiers::CONTROL);
    assert_eq!(typed(&state), "/ne!x", "other keys with Ctrl type nothing");
    let end = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(handle_key(&mut state, &snap, end), Effect::Interrupt);
}

#[test]
fn what_is_pasted_goes_into_the_line_and_is_no_key_elsewhere() {
    let (snap, mut state) = (busy(20), fresh());
    handle_paste(&mut state, &snap, "q3zf");
    assert!(state.focus == Pane::Handshakes && !state.is_frozen() && !state.zoomed, "nothing was pressed");
    press(&mut state, &snap, "3/");
    handle_paste(&mut state, &snap, "client:203.0.113.3\r\n\u{1b}[31mreset\u{0}");
    assert_eq!(typed(&state), "client:203.0.113.3  [31mreset");
    assert_eq!(in_force(&state, Pane::Errors), Some("client:203.0.113.3  [31mreset"));
    press(&mut state, &snap, "\u{1b}:");
    handle_paste(&mut state, &snap, "zoom\n");
    press(&mut state, &snap, "\n");
    assert!(state.zoomed, "the palette is typed into as well");
}

#[test]
fn the_cursor_is_in_sight_on_a_narrow_terminal_whatever_is_typed() {
    let (snap, mut state) = (busy(20), fresh());
    press(&mut state, &snap, "3/");
    handle_paste(&mut state, &snap, &"日本e\u{301}x\u{202e} ".repeat(12));
    for _ in 0..80 {
        let (_, line) = below(&snap, &mut state, 40, 12);
        assert!(line.contains('…'), "{line}");
        stroke(&mut state, &snap, KeyCode::Left, KeyModifiers::NONE);
    }
    let (_, line) = below(&snap, &mut state, 40, 12);
    assert!(line.trim_start().starts_with("/ 日"), "back at the beginning: {line}");
    stroke(&mut state, &snap, KeyCode::End, KeyModifiers::NONE);
    assert!(below(&snap, &mut state, 40, 12).1.ends_with('▏'));
}

#[test]
fn the_timeline_is_narrowed_to_categories_and_marks() {
    let (snap, mut state) = (busy(100), fresh());
    // Only the timeline is on the screen, with a row for each of what passes.
    press(&mut state, &snap, "5z");
    let rows = |shown: &str| {
        let names = ["capacity", "upstream-closed", "opened", "deaths", "marks"];
        let begins = |name: &&str| shown.lines().any(|l| l.trim_start_matches([' ', '▲', '✖', '·']).starts_with(*name));
        names.into_iter().filter(begins).collect::<Vec<_>>()
    };
    let all = rows(&screen(&snap, &mut state, 100, 30));
    assert_eq!(all, ["capacity", "upstream-closed", "opened", "deaths", "marks"]);
    press(&mut state, &snap, "/category:cap\t\n");
    assert_eq!(in_force(&state, Pane::Timeline), Some("category:capacity"));
    assert_eq!(rows(&screen(&snap, &mut state, 100, 30)), ["capacity", "marks"]);
    press(&mut state, &snap, "\u{1b}\u{1b}z/what:deaths\n");
    let shown = screen(&snap, &mut state, 100, 30);
    assert_eq!(rows(&shown), ["deaths", "marks"], "{shown}");
    assert!(shown.contains("/what:deaths"), "{shown}");
    press(&mut state, &snap, "\u{1b}\u{1b}z");
    assert_eq!(rows(&screen(&snap, &mut state, 100, 30)), all);
}

#[test]
fn a_click_elsewhere_does_not_move_the_filter_to_another_pane() {
    let (snap, mut state) = (busy(20), fresh());
    press(&mut state, &snap, "3/cap");
    screen(&snap, &mut state, 160, 48);
    let click =
        MouseEvent { kind: MouseEventKind::Down(MouseButton::Left), column: 3, row: 4, modifiers: KeyModifiers::NONE };
    handle_mouse(&mut state, &snap, click, std::time::Instant::now());
    assert!(state.editing.is_none(), "the click ends the typing as Enter does");
    assert_eq!((in_force(&state, Pane::Errors), in_force(&state, Pane::Handshakes)), (Some("cap"), None));
    press(&mut state, &snap, "3/\u{1b}\u{1b}");
    assert_eq!(in_force(&state, Pane::Errors), None);
}
