//! The binary in a real terminal: keys in, screen out, and the terminal given back whatever ends it.

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use support::nginx::{self, Nginx};
use support::terminal::Terminal;
use support::{eventually, wspulse};

fn demo(rows: u16, cols: u16) -> Terminal {
    let mut command = wspulse();
    command.arg("demo");
    Terminal::start(command, rows, cols)
}

/// What a terminal must get back: the alternate screen left, the cursor shown, the mouse released.
fn assert_given_back(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for (sequence, what) in [
        ("\u{1b}[?1049l", "the main screen"),
        ("\u{1b}[?25h", "the cursor"),
        ("\u{1b}[?1000l", "the mouse"),
        ("\u{1b}[?2004l", "pasting"),
    ] {
        let back = text.rfind(sequence).unwrap_or_else(|| panic!("{what} was not given back"));
        let taken = text.rfind(&sequence.replace('l', "h")).filter(|_| sequence.ends_with('l'));
        assert!(taken.is_none_or(|t| t < back), "{what} was taken again");
    }
}

#[test]
fn the_dashboard_fills_answers_keys_and_quits() {
    let mut t = demo(48, 160);
    t.shows("Handshakes");
    t.shows("LIVE");
    t.until("an open endpoint", |s| s.contains("open"));
    t.until("a failed endpoint", |s| s.contains("426"));
    t.send("?");
    t.shows("exit code 130");
    t.send("\u{1b}");
    // The next key only after the screen has answered: Esc and a letter in one read are Alt and that letter.
    t.until("help closed", |s| !s.contains("exit code 130"));
    t.send("f");
    t.shows("FROZEN");
    t.send("f");
    t.shows("LIVE");
    t.send("3");
    t.send("/");
    t.send("zzz");
    t.shows("zzz");
    t.send("\u{1b}");
    t.until("the filter gone", |s| !s.contains("zzz"));
    t.send("q");
    assert_eq!(t.ended().code(), Some(0));
    t.until("the main screen", |_| String::from_utf8_lossy(&t.bytes()).contains("\u{1b}[?1049l"));
    assert_given_back(&t.bytes());
}

#[test]
fn what_is_pasted_into_the_filter_line_is_text_and_elsewhere_nothing() {
    let mut t = demo(24, 80);
    t.shows("Handshakes");
    t.send("\u{1b}[200~q\u{1b}[201~3/");
    t.shows("Enter keep");
    t.send("\u{1b}[200~category:upstr\nerrno>x\u{1b}[201~");
    t.until("the text and what is wrong with it", |s| {
        s.contains("/category:upstr errno>x") && s.contains("'x' is no size")
    });
    t.send("\u{7f}1\r");
    t.until("the filter kept", |s| s.contains("/category:upstr errno>1 (") && !s.contains("Enter keep"));
    t.send("q");
    assert_eq!(t.ended().code(), Some(0));
    assert_given_back(&t.bytes());
}

#[test]
fn a_small_terminal_still_says_how_things_are() {
    let mut t = demo(12, 40);
    t.until("a word on how things are", |s| s.contains("BROKEN") || s.contains("HEALTHY") || s.contains("DEGRADED"));
    t.send("q");
    assert_eq!(t.ended().code(), Some(0));
}

#[test]
fn ctrl_c_ends_with_130() {
    let mut t = demo(24, 80);
    t.shows("Handshakes");
    t.send("\u{3}");
    assert_eq!(t.ended().code(), Some(130));
}

#[test]
fn signals_give_the_terminal_back() {
    for (signal, code) in [(rustix::process::Signal::TERM, 143), (rustix::process::Signal::HUP, 129)] {
        let mut t = demo(24, 80);
        t.shows("Handshakes");
        let pid = i32::try_from(t.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("ours");
        assert_eq!(t.ended().code(), Some(code));
        t.until("the main screen", |_| String::from_utf8_lossy(&t.bytes()).contains("\u{1b}[?1049l"));
        assert_given_back(&t.bytes());
    }
}

#[test]
fn a_dead_terminal_ends_the_program() {
    let mut t = demo(24, 80);
    t.shows("Handshakes");
    t.kill();
    assert_eq!(t.ended().code(), Some(129));
}

#[test]
fn signals_end_it_where_the_terminal_takes_nothing_more() {
    for (signal, code) in [(rustix::process::Signal::TERM, 143), (rustix::process::Signal::INT, 130)] {
        let mut t = demo(60, 200);
        t.shows("Handshakes");
        t.stall();
        let pid = i32::try_from(t.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("ours");
        assert_eq!(t.ended().code(), Some(code));
        assert!(t.is_cooked(), "the modes of the line need no byte");
    }
}

#[test]
fn without_a_terminal_the_dashboard_names_what_to_use_instead() {
    let out = support::run(&[]);
    assert_eq!(out.status.code(), Some(2));
    let said = String::from_utf8_lossy(&out.stderr);
    for word in ["wspulse --plain", "wspulse check", "wspulse stream"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn wrong_words_are_told_in_one_line_with_exit_code_2() {
    let cases: [(&[&str], &str); 13] = [
        (&["check", "ws:/a.test"], "write ws://a.test or"),
        (&["check", "ws://a/", "--cacert", "Cargo.toml"], "no PEM certificate in Cargo.toml"),
        (&["check", "ws://a/", "--cert", "Cargo.toml", "--key", "Cargo.toml"], "-----BEGIN CERTIFICATE-----"),
        (&["check", "ws://a/", "--send", "x", "--expect", "("], "--expect is no regular expression: error: unclosed"),
        (&["check", "ws://a/", "--ping-timeout", "0"], "--ping-timeout is too short"),
        (&["check", "ws://a/", "--origin", "x\ny"], "the header 'Origin'"),
        (&["check", "ws://a/", "--cadence", "10s,quiet"], "'quiet' is no pace"),
        (&["soak", "ws://a/", "--cadence", "silent"], "--ping-interval"),
        (&["check", "http://127.0.0.1/ws"], "ws://"),
        (&["check", "gopher://x"], "ws://"),
        (&["check", "--error-log", "/nonexistent/error.log"], "/nonexistent/error.log"),
        (&["check", "--error-log", "/"], "directory"),
        (&["check", "--backend", "ws://127.0.0.1:1/"], "--backend"),
    ];
    for (args, named) in cases {
        let out = support::run(args);
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(named) && said.lines().count() <= 3, "{args:?}: {said}");
        assert!(out.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn the_demo_without_a_screen_shows_the_main_job() {
    const WORDS: [&str; 4] = ["/ws", "426", "upstream timed out", "connect() failed"];
    let shown = |span: &&str| {
        let out = support::run(&["demo", "--for", span, "--format", "text"]);
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert_eq!(out.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&out.stderr));
        WORDS.iter().all(|word| said.contains(word)).then_some(()).ok_or(said)
    };
    // Its script takes nine seconds, and longer on a machine that lets it wait.
    if let Err(said) = shown(&"11s").or_else(|_| shown(&"40s")) {
        panic!("one of {WORDS:?} is missing in:\n{said}");
    }
}

#[test]
fn a_reader_that_goes_away_is_a_quiet_end() {
    let script = format!("'{}' stream --for 5s 2>&1 >/dev/full | head -c 300", env!("CARGO_BIN_EXE_wspulse"));
    let full = Command::new("sh").args(["-c", &script]).output().expect("sh");
    assert!(String::from_utf8_lossy(&full.stdout).contains("No space left"), "{full:?}");
    let script = format!("'{}' stream --for 20s | head -n 1", env!("CARGO_BIN_EXE_wspulse"));
    let out = Command::new("sh").args(["-c", &script]).output().expect("sh");
    assert_eq!(String::from_utf8_lossy(&out.stdout).lines().count(), 1);
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn a_recording_replayed_gives_the_same_model() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("demo.jsonl");
    let path = file.to_str().expect("plain ASCII");
    let out = support::run(&["demo", "--for", "4s", "--format", "text", "--record", path]);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let text = std::fs::read_to_string(&file).expect("recorded");
    let (header, events) = wspulse::run::stream::read(&text).expect("readable");
    let mut model = wspulse::model::Model::new(&header.host);
    for event in &events {
        model.apply(event);
    }
    let again = wspulse::report::summary_text(&model, &wspulse::diagnose::diagnose(&model));
    let live = String::from_utf8_lossy(&out.stdout);
    assert!(live.ends_with(&again), "live:\n{live}\nreplayed:\n{again}");
    assert!(wspulse::run::stream::read("{\"schema\":\"other/9\"}").is_err());
}

#[test]
fn an_action_is_found_by_name_a_row_is_copied_and_a_report_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = wspulse();
    command.arg("demo").current_dir(folder.path()).env_remove("TMUX");
    let mut t = Terminal::start(command, 30, 100);
    t.until("an open endpoint", |s| s.contains("open"));
    t.send(":");
    t.shows("Actions");
    t.send("thli");
    t.until("one theme", |s| s.contains("theme light") && !s.contains("theme mono"));
    t.send("\r");
    t.until("the panes", |s| !s.contains("Actions"));
    t.send("y");
    t.until("the copy", |_| String::from_utf8_lossy(&t.bytes()).contains("\u{1b}]52;c;d3M6"));
    t.send("x");
    t.shows("addresses are hidden");
    t.send("w");
    t.shows("report written");
    let reports: Vec<_> = std::fs::read_dir(folder.path()).expect("our folder").flatten().collect();
    let text = std::fs::read_to_string(reports[0].path()).expect("the report");
    assert!(text.starts_with("# "), "{text}");
    t.send("q");
    assert_eq!(t.ended().code(), Some(0));
}

#[test]
fn the_past_is_walked_and_the_present_found_again() {
    let mut t = demo(48, 160);
    t.until("an open endpoint", |s| s.contains("open"));
    t.send("]");
    t.shows("this is the present");
    // In the first moment there is none before it.
    t.insist("[", "the past", |s| s.lines().next().is_some_and(|l| l.contains('−')) && s.contains('▴'));
    // Newer moments may have been kept meanwhile; behind the newest of them is the present.
    t.insist("]", "the present", |s| s.lines().next().is_some_and(|l| l.contains("LIVE")));
    t.send("[");
    t.until("the past", |s| s.lines().next().is_some_and(|l| l.contains('−')));
    t.send("\u{1b}");
    t.until("the present", |s| s.lines().next().is_some_and(|l| l.contains("LIVE")));
    t.until("an error", |s| s.contains("upstream-connect"));
    t.send("5+E");
    t.until("the last error", |s| s.contains("last 5 min") && s.lines().next().is_some_and(|l| l.contains('−')));
    t.send("\r");
    t.until("what happened", |s| s.contains("Timeline at") && s.contains("Changes"));
    t.send("\u{1b}");
    t.until("the panes", |s| !s.contains("Timeline at"));
    t.send("G");
    t.until("the present", |s| s.lines().next().is_some_and(|l| l.contains("LIVE")));
    t.send("q");
    assert_eq!(t.ended().code(), Some(0));
}

/// Waits until nothing is written for so long, and gives how much was written before.
fn rests(t: &Terminal, span: Duration) -> usize {
    let (mut bytes, mut since) = (t.bytes().len(), Instant::now());
    eventually("the screen to rest", || {
        let now = t.bytes().len();
        if std::mem::replace(&mut bytes, now) != now {
            since = Instant::now();
        }
        (since.elapsed() >= span).then_some(bytes)
    })
}

/// Seconds of the minute, as the clock on the screen counts them too.
fn second() -> i64 {
    wspulse::time::Clock.now().secs().rem_euclid(60)
}

#[test]
fn a_quiet_host_is_shown_without_a_byte_in_ten_seconds() {
    let Some(binary) = nginx::installed() else { return };
    let route = nginx::location("/ws/", support::free_port(), nginx::UPGRADE);
    let host = Nginx::start(&binary, "warn", "", &route);
    let mut command = wspulse();
    command.args(["--pid", &host.pid().to_string(), "--probe", "none"]);
    let mut t = Terminal::start(command, 40, 120);
    t.shows("1 worker");
    rests(&t, Duration::from_secs(3));
    // The clock may change its minute once, and nothing else may change: ten seconds within one minute leave no byte.
    let before = eventually("a rest in a minute that is young enough", || {
        let written = rests(&t, Duration::from_secs(1));
        (3..46).contains(&second()).then_some(written)
    });
    let quiet_since = Instant::now();
    eventually("ten seconds", || (quiet_since.elapsed() >= Duration::from_secs(10)).then_some(()));
    let written = t.bytes();
    assert_eq!(String::from_utf8_lossy(&written[before..]), "", "on a screen where nothing changes:\n{}", t.text());
    t.send("?");
    t.shows("exit code 130");
    t.send("q");
    assert_eq!(t.ended().code(), Some(0));
}
