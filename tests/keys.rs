//! Every key of the table does in a real terminal what the table promises, a torn escape does no harm, and nothing that
//! can be typed, clicked, pasted or resized brings the screen down.

mod support;

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::Terminal as TestTerminal;
use ratatui::backend::TestBackend;
use wspulse::diagnose::diagnose;
use wspulse::human::has_a_sign;
use wspulse::model::Model;
use wspulse::run::stream;
use wspulse::ui::{self, KEYS, ScreenState, Snapshot};

use support::terminal::Terminal;
use support::tool;

// ---- each key of the table

/// What a key promises, seen on the screen before it and after it.
type Promise = fn(&str, &str) -> bool;

enum Does {
    /// The screen shows it.
    Shows(Promise),
    /// The program ends with this code.
    Ends(i32),
}

struct Story {
    /// The name in the table.
    name: &'static str,
    /// What is typed before.
    first: &'static str,
    /// The bytes of each of its keys, in the order of the table.
    keys: &'static [&'static str],
    does: Does,
    /// What is typed to be where we were, before Esc and 1.
    undo: &'static str,
}

const fn shows(
    name: &'static str,
    first: &'static str,
    keys: &'static [&'static str],
    promise: Promise,
    undo: &'static str,
) -> Story {
    Story { name, first, keys, does: Does::Shows(promise), undo }
}

const fn ends(name: &'static str, keys: &'static [&'static str], code: i32) -> Story {
    Story { name, first: "", keys, does: Does::Ends(code), undo: "" }
}

const STORIES: &[Story] = &[
    shows("next-pane", "2", &["\t"], |_, s| s.contains("▎3 Errors"), ""),
    shows("previous-pane", "3", &["\x1b[Z"], |_, s| s.contains("▎2 Connections"), ""),
    shows("focus-handshakes", "2", &["1"], |_, s| s.contains("▎1 Handshakes"), ""),
    shows("focus-connections", "", &["2"], |_, s| s.contains("▎2 Connections"), ""),
    shows("focus-errors", "", &["3"], |_, s| s.contains("▎3 Errors"), ""),
    shows("focus-findings", "", &["4"], |_, s| s.contains("▎4 Findings"), ""),
    shows("focus-timeline", "", &["5"], |_, s| s.contains("▎5 Timeline"), ""),
    shows("down", "fg", &["j", "\x1b[B"], |b, s| cursor(s) == cursor(b).map(|at| at + 1), "f"),
    shows("up", "fG", &["k", "\x1b[A"], |b, s| cursor(s).map(|at| at + 1) == cursor(b), "f"),
    shows("top", "fG", &["g", "\x1b[H"], |b, s| cursor(s) < cursor(b) && is_first(s), "f"),
    shows("bottom", "fg", &["G", "\x1b[F"], |b, s| cursor(s) > cursor(b) && is_last(s), "f"),
    shows("page-down", "fg", &["\x1b[6~", " "], |b, s| cursor(s) > cursor(b).map(|at| at + 1), "f"),
    shows("page-up", "fG", &["\x1b[5~", "b"], |b, s| cursor(s).map(|at| at + 1) < cursor(b), "f"),
    shows("half-page-down", "fg", &["\x04"], |b, s| cursor(s) > cursor(b), "f"),
    shows("half-page-up", "fG", &["\x15"], |b, s| cursor(s) < cursor(b), "f"),
    shows("filter", "2", &["/"], |_, s| last_line(s).starts_with(" /"), ""),
    shows("sort", "f2", &["s"], |b, s| title(s, "2 Connections") != title(b, "2 Connections"), "f"),
    shows("reverse", "f2s", &["S"], |b, s| arrow(s) != arrow(b) && arrow(s).is_some(), "Sf"),
    shows("details", "g", &["\r"], |b, s| !is_layered(b) && is_layered(s), ""),
    shows("back", "?", &["\x1b"], |b, s| is_layered(b) && is_base(s), ""),
    shows("next-view", "2", &["v", "l", "\x1b[C"], |_, s| s.contains("grouped by client"), ""),
    shows("previous-view", "2", &["V", "h", "\x1b[D"], |_, s| s.contains("grouped by state"), ""),
    shows("next-error", "+EE", &["e"], |b, s| walked(s) > walked(b), "-"),
    shows("previous-error", "+E", &["E"], |b, s| walked(s).is_some() && walked(s) < walked(b), "-"),
    shows("next-match", "?/pane\r", &["n"], |b, s| is_layered(b) && is_layered(s) && s != b, "\x1b"),
    shows("previous-match", "?/pane\rn", &["N"], |b, s| is_layered(b) && is_layered(s) && s != b, "\x1b"),
    shows("earlier", "", &["["], |b, s| first_line(b).contains("LIVE") && first_line(s).contains('−'), ""),
    // What is kept grows while we look: behind the newest moment of a second ago there may be a newer one.
    shows("later", "[[", &["]"], |b, s| walked(b).is_some() && (is_live(s) || walked(s) > walked(b)), ""),
    shows("shorter-span", "", &["+", "="], |_, s| s.contains("last 5 min"), "-"),
    shows("longer-span", "", &["-"], |_, s| s.contains("last 2 h"), "+"),
    shows("freeze", "", &["f"], |b, s| first_line(b).contains("LIVE") && first_line(s).contains("FROZEN"), "f"),
    shows("zoom", "", &["z"], |b, s| b.contains("LAST WORDS") && !s.contains("LAST WORDS"), "z"),
    shows("probe", "g", &["p"], |_, s| last_line(s).contains("probe off:") || last_line(s).contains("probing "), "p"),
    shows("findings", "", &["d"], |b, s| !is_layered(b) && is_layered(s) && s.contains("severity"), ""),
    shows("copy", "g", &["y"], |_, s| last_line(s).contains("copied the URL"), ""),
    shows("write-report", "", &["w"], |_, s| last_line(s).contains("report written: "), ""),
    // The demo's addresses are loopback's, which name nobody and stay.
    shows("redact", "", &["x"], |_, s| last_line(s).contains("addresses are hidden"), "x"),
    shows("palette", "", &[":"], |_, s| s.contains("Actions"), ""),
    shows("reset", "", &["r"], |_, s| last_line(s).contains("counters begin again"), ""),
    shows("theme", "", &["t"], |_, s| last_line(s).contains("theme "), ""),
    shows("help", "", &["?"], |_, s| s.contains("exit code 130"), ""),
    shows("redraw", "", &["\x0c"], |b, s| b.contains("smeared") && !s.contains("smeared"), ""),
    // Started by no shell, as in a container: the other half is told in tests/jobs.rs.
    shows("suspend", "", &["\x1a"], |_, s| last_line(s).contains("no shell waits"), ""),
    ends("quit", &["q"], 0),
    ends("interrupt", &["\x03"], 130),
];

fn first_line(screen: &str) -> &str {
    screen.lines().next().unwrap_or_default()
}

fn is_live(screen: &str) -> bool {
    first_line(screen).contains("LIVE")
}

fn last_line(screen: &str) -> &str {
    screen.lines().last().unwrap_or_default()
}

/// The line of the selected row of Handshakes.
fn cursor(screen: &str) -> Option<usize> {
    screen.lines().position(|l| l.starts_with('›'))
}

fn is_first(screen: &str) -> bool {
    cursor(screen).and_then(|at| screen.lines().nth(at - 1)).is_some_and(|l| l.contains("ENDPOINT"))
}

fn is_last(screen: &str) -> bool {
    let below = cursor(screen).and_then(|at| screen.lines().nth(at + 1)).unwrap_or_default();
    !below.chars().take(20).any(char::is_alphanumeric)
}

fn title<'a>(screen: &'a str, pane: &str) -> &'a str {
    screen.lines().find(|l| l.contains(pane)).unwrap_or_default()
}

/// Which way Connections are sorted.
fn arrow(screen: &str) -> Option<char> {
    title(screen, "2 Connections").chars().find(|c| matches!(c, '▴' | '▾'))
}

/// A layer lies over the panes.
fn is_layered(screen: &str) -> bool {
    last_line(screen).contains("Esc back")
}

/// The moment that the cursor of the timeline stands at, `15:02:31`.
fn walked(screen: &str) -> Option<&str> {
    let title = screen.lines().find(|l| l.contains("5 Timeline"))?;
    title.split_whitespace().find(|w| w.len() == 8 && w.matches(':').count() == 2)
}

/// All panes, Handshakes focused, nothing over them.
fn is_base(screen: &str) -> bool {
    let first = first_line(screen);
    first.contains("LIVE") && screen.contains("▎1 Handshakes") && last_line(screen).contains("? help")
}

fn in_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let candidates: Vec<PathBuf> = std::env::split_paths(&folders).map(|folder| folder.join(name)).collect();
    tool(name, &candidates)
}

/// The demo as the leader of a session, whose keys reach no other program: Ctrl-Z would stop whoever runs the tests.
fn alone(setsid: &PathBuf, folder: &tempfile::TempDir, rows: u16, cols: u16) -> Terminal {
    let mut command = Command::new(setsid);
    command.arg("--ctty").arg(env!("CARGO_BIN_EXE_wspulse")).arg("demo").current_dir(folder.path());
    command.env_remove("NO_COLOR").env_remove("TMUX").env("TZ", "UTC").env("XDG_CONFIG_HOME", "/nowhere");
    Terminal::start(command, rows, cols)
}

#[test]
fn every_key_does_what_the_table_promises() {
    let told: BTreeSet<&str> = STORIES.iter().map(|s| s.name).collect();
    for binding in KEYS {
        let story = STORIES.iter().find(|s| s.name == binding.name);
        let story = story.unwrap_or_else(|| panic!("no story for the key '{}' of the table", binding.name));
        assert_eq!(story.keys.len(), binding.written().len(), "'{}' has keys without a story", binding.name);
    }
    assert_eq!(told.len(), KEYS.len(), "a story for a key that is not in the table");

    let Some(setsid) = in_path("setsid") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut t = alone(&setsid, &folder, 30, 100);
    // Rows to move among, errors to walk, and a moment to go back to.
    t.until("a world with errors", |s| {
        is_base(s) && s.contains("426") && s.matches("● open").count() >= 8 && s.contains("upstream-timeout")
    });
    for story in STORIES {
        for key in story.keys {
            match story.does {
                Does::Shows(promise) => prove(&mut t, story, key, promise),
                Does::Ends(code) => {
                    let mut other = alone(&setsid, &folder, 30, 100);
                    other.shows("1 Handshakes");
                    other.send(key);
                    assert_eq!(other.ended().code(), Some(code), "{}", story.name);
                }
            }
        }
    }
    t.send("q");
    assert_eq!(t.ended().code(), Some(0));
}

/// One key, from the base and back to it.
fn prove(t: &mut Terminal, story: &Story, key: &str, promise: Promise) {
    let name = story.name;
    t.until(&format!("the base before '{name}'"), is_base);
    // What the story before took back may not have been drawn yet.
    t.settled();
    if name == "redraw" {
        t.smear();
    }
    let mut before = t.text();
    for c in story.first.chars() {
        t.send(&c.to_string());
        before = t.settled();
    }
    assert!(!promise(&before, &before), "'{name}' promises what is there without it:\n{before}");
    t.send(key);
    t.until(&format!("what '{name}' ({}) promises", key.escape_default()), |s| promise(&before, s));
    // Esc and 1 in one read are Alt and 1, which is read as the two.
    t.send(&format!("{}\x1b1", story.undo));
}

// ---- Esc over a slow line

#[test]
fn a_lone_or_torn_escape_is_harmless() {
    let Some(setsid) = in_path("setsid") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut t = alone(&setsid, &folder, 30, 100);
    t.until("rows", |s| is_base(s) && s.contains("426"));
    t.send("?");
    t.shows("exit code 130");
    t.send("\x1b");
    t.until("help closed, and nothing else", is_base);
    // With nothing to go back from, it does nothing, as often as it may come.
    t.send("\x1b\x1b\x1b");
    assert!(is_base(&t.settled()));

    // A bracket that was meant walks into the past, even right after Esc.
    t.send("\x1b");
    std::thread::park_timeout(Duration::from_millis(150));
    t.send("[");
    t.until("the past", |s| first_line(s).contains('−'));
    // Half a sequence, and then Ctrl-C.
    t.send("\x1b[1;\x03");
    assert_eq!(t.ended().code(), Some(130));
}

/// A machine under load hands bytes on later than they are typed here, and what is torn for too long is another sequence. So what
/// needs a pace is tried so often, each time on a new screen; the rules themselves are held in `ui/decode`, without a clock.
const TRIES: usize = 5;

#[test]
fn a_sequence_torn_by_a_slow_line_stays_whole() {
    let Some(setsid) = in_path("setsid") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut last = String::new();
    let whole = (0..TRIES).any(|_| {
        let mut t = alone(&setsid, &folder, 30, 100);
        t.until("rows", |s| is_base(s) && s.contains("426"));
        let whole = arrow_stays_whole(&mut t) && others_stay_whole(&mut t);
        last = t.text();
        whole
    });
    assert!(whole, "{last}");
}

/// Types pieces with so many milliseconds behind each, and gives what the screen shows then.
fn typed_slowly(t: &mut Terminal, pieces: &str, pause: u64) -> String {
    for piece in pieces.split('|') {
        t.send(piece);
        std::thread::park_timeout(Duration::from_millis(pause));
    }
    t.settled()
}

/// An arrow whose bytes come one by one, each later than an escape is held: no walk into the past by its bracket.
fn arrow_stays_whole(t: &mut Terminal) -> bool {
    t.send("g");
    let before = cursor(&t.settled()).expect("a row is selected");
    let after = typed_slowly(t, "\x1b|[|B", 200);
    is_base(&after) && cursor(&after) == Some(before + 1)
}

/// A click, a paste, an arrow of the other kind, and the answer to a question that comes late: no letter of them is a key, as
/// the `f` that would freeze the screen.
fn others_stay_whole(t: &mut Terminal) -> bool {
    let torn = ["\x1b|[<0;5;14M", "\x1b[|200~f]Q\x1b[2|01~", "\x1b|O|A", "\x1b|]11;rgb:ff|ff/ffff/ffff\x07"];
    torn.iter().all(|pieces| is_live(&typed_slowly(t, pieces, 150)))
}

#[test]
fn a_paste_is_typed_into_an_open_line_and_nowhere_else() {
    let Some(setsid) = in_path("setsid") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut t = alone(&setsid, &folder, 30, 100);
    t.until("rows", |s| is_base(s) && s.contains("426"));
    t.send("\x1b[200~q\rw\x03\x1b[201~");
    t.shows("pasted text goes into a filter");
    t.send("2/");
    t.settled();
    t.send("\x1b[200~ idle>1s\n\x1b]0;x\x07client:127.0.0.1\u{202e}\n\x1b[201~");
    t.until("one clean line", |s| last_line(s).contains("idle>1s ]0;xclient:127.0.0.1"));
    t.send("\x1b1");
    t.until("the base", is_base);
    t.send(":");
    t.shows("Actions");
    t.send("\x1b[200~theme light\x1b[201~");
    t.until("one theme", |s| s.contains("theme light") && !s.contains("theme mono"));
    t.send("\x1b\x1b\x1bq");
    assert_eq!(t.ended().code(), Some(0));
    assert_eq!(std::fs::read_dir(folder.path()).expect("our folder").count(), 0, "a pasted w wrote a report");
}

// ---- anything at all

/// A seed, its own in every run unless PROPTEST_RNG_SEED says which.
fn seed() -> u64 {
    let given = std::env::var("PROPTEST_RNG_SEED").ok().and_then(|s| s.parse().ok());
    given.unwrap_or_else(|| RandomState::new().build_hasher().finish()).max(1)
}

/// xorshift64: the same seed gives the same events.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u16) -> u16 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u16::try_from((self.0 >> 16) % u64::from(n)).expect("below n")
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[usize::from(self.below(u16::try_from(all.len()).expect("few")))]
    }

    /// Mostly sizes of real terminals, and every other one from 1x1 to 300x100.
    fn size(&mut self) -> (u16, u16) {
        match self.below(4) {
            0 => (1 + self.below(300), 1 + self.below(100)),
            1 => (1 + self.below(12), 1 + self.below(12)),
            _ => (30 + self.below(130), 8 + self.below(40)),
        }
    }
}

fn recorded(name: &str) -> Vec<wspulse::event::Stamped> {
    let path = format!("{}/tests/data/recordings/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    stream::read(&std::fs::read_to_string(&path).expect("a recording")).expect("readable").1
}

/// Screens of all kinds: nothing known, blind, healthy, broken, the whole demo, and its middle seen from its end.
fn snapshots() -> Vec<Snapshot> {
    let mut all = vec![Snapshot::of(&Model::new(""), &diagnose(&Model::new("")))];
    for name in ["blind", "diag-idle-cuts", "diag-inheritance", "diag-refused", "demo"] {
        let (mut model, events) = (Model::new("web1"), recorded(name));
        for (n, event) in events.iter().enumerate() {
            model.apply(event);
            if name == "demo" && n == events.len() / 2 {
                all.push(Snapshot::of(&model, &diagnose(&model)));
            }
        }
        all.push(Snapshot::of(&model, &diagnose(&model)));
    }
    let (middle, end) = (&all[all.len() - 2], &all[all.len() - 1]);
    let past = middle.seen_from(end, middle.now);
    all.push(past);
    all
}

const TYPED: &[&str] = &[
    "?", "\t", "1", "2", "2", "3", "3", "4", "5", "j", "j", "k", "g", "G", "\r", "\r", "\r", "\x1b", "\x1b", "/", "f",
    "r", "z", "s", "S", "d", "p", "t", "y", "w", "x", ":", "v", "V", "e", "E", "[", "]", "!", "a", "(", "idle>1s", ">",
    "\"", "é", "日", "\u{7f}", "\u{15}", "\u{c}",
];

/// One key, click or paste, on a screen of this size.
fn random_event(dice: &mut Dice, state: &mut ScreenState, snap: &Snapshot, (w, h): (u16, u16)) {
    const KINDS: [MouseEventKind; 6] = [
        MouseEventKind::ScrollDown,
        MouseEventKind::ScrollUp,
        MouseEventKind::Down(MouseButton::Left),
        MouseEventKind::Down(MouseButton::Right),
        MouseEventKind::Drag(MouseButton::Left),
        MouseEventKind::Moved,
    ];
    const CODES: [KeyCode; 14] = [
        KeyCode::Down,
        KeyCode::Up,
        KeyCode::PageDown,
        KeyCode::PageUp,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::Left,
        KeyCode::Right,
        KeyCode::BackTab,
        KeyCode::Backspace,
        KeyCode::Delete,
        KeyCode::Insert,
        KeyCode::F(5),
        KeyCode::Null,
    ];
    match dice.below(8) {
        0 => {
            // Also beside the screen, as reports of a terminal that has just shrunk are.
            let (column, row) = (dice.below(w.saturating_add(20)), dice.below(h.saturating_add(20)));
            let kind = KINDS[usize::from(dice.below(6))];
            ui::handle_mouse(
                state,
                snap,
                MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE },
                std::time::Instant::now(),
            );
        }
        1 => {
            let code = CODES[usize::from(dice.below(14))];
            let modifiers = KeyModifiers::from_bits_truncate(u8::try_from(dice.below(16)).expect("four bits"));
            ui::handle_key(state, snap, KeyEvent::new(code, modifiers));
        }
        2 if dice.below(4) == 0 => {
            let pastes =
                ["/re(/", "idle>30s client:10.0.0.0/8", "\x1b[31m\u{202e}\0x\n\ty", "日本語", &"x".repeat(5_000), ""];
            ui::handle_paste(state, snap, dice.one_of(&pastes));
        }
        _ => {
            for c in dice.one_of(TYPED).chars() {
                let (code, modifiers) = match c {
                    '\r' => (KeyCode::Enter, KeyModifiers::NONE),
                    '\t' => (KeyCode::Tab, KeyModifiers::NONE),
                    '\x1b' => (KeyCode::Esc, KeyModifiers::NONE),
                    '\u{7f}' => (KeyCode::Backspace, KeyModifiers::NONE),
                    '\u{15}' => (KeyCode::Char('u'), KeyModifiers::CONTROL),
                    '\u{c}' => (KeyCode::Char('l'), KeyModifiers::CONTROL),
                    c => (KeyCode::Char(c), KeyModifiers::NONE),
                };
                ui::handle_key(state, snap, KeyEvent::new(code, modifiers));
            }
        }
    }
}

/// Draws, and looks at every cell.
fn draw(snap: &Snapshot, state: &mut ScreenState, (w, h): (u16, u16)) {
    let mut terminal = TestTerminal::new(TestBackend::new(w, h)).expect("a test terminal");
    terminal.draw(|frame| ui::draw(frame, frame.area(), snap, state)).expect("drawn");
    for cell in terminal.backend().buffer().content() {
        let symbol = cell.symbol();
        assert!(symbol.chars().all(has_a_sign), "{symbol:?} stands in a cell at {w}x{h}");
    }
}

#[test]
fn twenty_thousand_events_at_all_sizes_bring_nothing_down() {
    const EVENTS: u32 = 20_000;
    let (seed, snapshots) = (seed(), snapshots());
    let mut dice = Dice(seed);
    // The output of a test that panics is shown, and with it the seed that makes it panic again.
    print(&format!("PROPTEST_RNG_SEED={seed}"));
    let (mut state, mut size) = (ScreenState::new(None, false), (100, 30));
    let mut snap = &snapshots[0];
    for n in 0..EVENTS {
        if n % 500 == 0 {
            state = ScreenState::new(None, dice.below(5) == 0);
        }
        if dice.below(6) == 0 {
            snap = &snapshots[usize::from(dice.below(u16::try_from(snapshots.len()).expect("few")))];
        }
        random_event(&mut dice, &mut state, snap, size);
        if dice.below(8) == 0 {
            size = dice.size();
            draw(snap, &mut state, size);
        }
    }
    for size in [(1, 1), (2, 9), (24, 8), (300, 2), (3, 60), (1, 100), (300, 100)] {
        for snap in &snapshots {
            draw(snap, &mut ScreenState::new(None, false), size);
        }
    }
}

#[expect(clippy::disallowed_macros, reason = "the seed of a test that fails")]
fn print(line: &str) {
    println!("{line}");
}

/// The same through the terminal itself: torn sequences, real resizes, real frames.
#[test]
fn hundreds_of_events_through_the_terminal_leave_it_alive() {
    let Some(setsid) = in_path("setsid") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let seed = seed();
    print(&format!("PROPTEST_RNG_SEED={seed}"));
    let mut dice = Dice(seed);
    // As large as any size below, so that nothing is drawn beside it.
    let mut t = alone(&setsid, &folder, 100, 300);
    t.until("rows", |s| s.contains("426"));
    for n in 0..600 {
        let keys = match dice.below(10) {
            0 => format!(
                "\x1b[<{};{};{}M",
                [0, 2, 64, 65, 35][usize::from(dice.below(5))],
                1 + dice.below(300),
                1 + dice.below(100)
            ),
            1 => dice
                .one_of(&[
                    "\x1b[A",
                    "\x1b[6~",
                    "\x1b[1;5D",
                    "\x1b[Z",
                    "\x1bO",
                    "\x1b[",
                    "\x1b]",
                    "\x1b[200~qw\r\x1b[201~",
                ])
                .to_owned(),
            // The palette could find `quit`, and a report a key is one too many.
            _ => Some(dice.one_of(TYPED)).filter(|k| !matches!(*k, ":" | "w")).unwrap_or("j").to_owned(),
        };
        t.send(&keys);
        if n % 10 == 0 {
            let (cols, rows) = dice.size();
            t.resize_unseen(rows, cols);
        }
        if n % 60 == 0 {
            // Now and then the answer is waited for, so that not all of it lies in the kernel's queue at once.
            t.resize_unseen(30, 100);
            t.settled();
        }
    }
    t.resize_unseen(100, 300);
    t.settled();
    assert!(t.child.try_wait().expect("our child").is_none());
    t.send("\x1b\x1b\x1b\x1bq");
    assert_eq!(t.ended().code(), Some(0));
    let text = String::from_utf8_lossy(&t.bytes()).into_owned();
    assert!(!text.contains("panicked"), "{text}");
}
