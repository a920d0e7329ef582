//! Stopped and let go on, by a shell, by a signal, under tmux: the terminal is given back, and the picture comes back whole.

mod support;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use support::terminal::{Modes, Terminal};
use support::{eventually, tool, wspulse};

fn pid(t: &Terminal) -> Pid {
    i32::try_from(t.child.id()).ok().and_then(Pid::from_raw).expect("a pid")
}

/// The state letter of proc_pid_stat(5): `T` is stopped.
fn state_of(pid: Pid) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('?')
}

fn is_dashboard(screen: &str) -> bool {
    ["1 Handshakes", "2 Connections", "3 Errors", "4 Findings", "5 Timeline"].iter().all(|w| screen.contains(w))
}

/// Words of the last line: what a picture that was drawn only in part lacks first.
fn last_line(screen: &str) -> &str {
    screen.lines().last().unwrap_or_default()
}

/// A dashboard whose parent is in its session and another process group, as a shell with job control is.
fn as_a_job(rows: u16, cols: u16) -> Terminal {
    let mut command = wspulse();
    command.arg("demo").process_group(0);
    Terminal::start(command, rows, cols)
}

#[test]
fn a_shell_gets_its_terminal_back_and_fg_brings_the_picture_at_the_size_of_then() {
    let (Some(setsid), Some(bash)) = (in_path("setsid"), in_path("bash")) else { return };
    let mut shell = Command::new(setsid);
    shell.arg("--ctty").arg(bash).args(["--norc", "--noprofile", "-i"]);
    shell.env("PS1", "$ ").env("XDG_CONFIG_HOME", "/nowhere").env("TZ", "UTC").env("HISTFILE", "/dev/null");
    let mut t = Terminal::start(shell, 30, 100);
    t.until("a prompt", |s| s.trim_end().ends_with('$'));
    t.send(&format!("'{}' demo\r", env!("CARGO_BIN_EXE_wspulse")));
    t.until("the dashboard", is_dashboard);
    assert_eq!(t.modes(), Modes::TAKEN);
    for round in 0..2 {
        t.send("\u{1a}");
        t.until("the shell's word", |s| s.contains("Stopped") && s.trim_end().ends_with('$'));
        // Readline wants to be told of pastes, too.
        assert_eq!(Modes { paste: false, ..t.modes() }, Modes::FREE);
        t.send("clear; echo back in $((40 + 2))\r");
        t.until("the shell", |s| s.contains("back in 42"));
        let (rows, cols) = if round == 0 { (40, 120) } else { (30, 100) };
        t.resize(rows, cols);
        // In the background it must not touch the terminal that is not its own: the kernel stops it at the first try.
        t.send("bg; until jobs | grep -q Stopped; do :; done; echo stopped $((40 + 3))\r");
        t.shows("stopped 43");
        assert!(!t.modes().alternate, "{}", t.text());
        t.send("fg\r");
        t.until("the dashboard again", |s| is_dashboard(s) && !s.contains("back in"));
        assert_eq!(t.modes(), Modes::TAKEN);
        t.until("all of it", |s| s.lines().count() == usize::from(rows) && !last_line(s).trim().is_empty());
        t.send("?");
        t.until("an answer to a key", |s| s.contains("exit code 130"));
        t.send("?");
        t.until("help closed", |s| !s.contains("exit code 130"));
    }
    t.send("q");
    t.until("a prompt", |s| s.trim_end().ends_with('$'));
    t.send("echo ended with $?\r");
    t.shows("ended with 0");
    t.send("exit\r");
    t.ended();
}

#[test]
fn a_signal_stops_it_in_good_order_and_the_time_of_rest_is_no_fault() {
    let mut t = as_a_job(30, 100);
    t.until("the dashboard", is_dashboard);
    kill_process(pid(&t), Signal::TSTP).expect("ours");
    eventually("the stop", || (state_of(pid(&t)) == 'T').then_some(()));
    t.until("the terminal free", |_| t.modes() == Modes::FREE);
    assert!(t.is_cooked());
    kill_process(pid(&t), Signal::CONT).expect("ours");
    t.until("the dashboard again", is_dashboard);
    assert_eq!(t.modes(), Modes::TAKEN);
    assert!(!t.is_cooked());
    t.send("q");
    assert_eq!(t.ended().code(), Some(0));
    t.until("the terminal free", |_| t.modes() == Modes::FREE);
    assert!(t.is_cooked());
}

#[test]
fn a_stop_that_nobody_can_prepare_for_is_made_good_by_the_next_signal() {
    let mut t = as_a_job(30, 100);
    t.until("the dashboard", is_dashboard);
    kill_process(pid(&t), Signal::STOP).expect("ours");
    eventually("the stop", || (state_of(pid(&t)) == 'T').then_some(()));
    t.smear();
    assert!(!is_dashboard(&t.text()));
    kill_process(pid(&t), Signal::CONT).expect("ours");
    t.until("the dashboard again", |s| is_dashboard(s) && !s.contains("smeared"));
    assert_eq!(t.modes(), Modes::TAKEN);
    // Ended while stopped: the terminal is given back all the same.
    kill_process(pid(&t), Signal::TSTP).expect("ours");
    eventually("the stop", || (state_of(pid(&t)) == 'T').then_some(()));
    kill_process(pid(&t), Signal::TERM).expect("ours");
    kill_process(pid(&t), Signal::CONT).expect("ours");
    assert_eq!(t.ended().code(), Some(143));
    t.until("the terminal free", |_| t.modes() == Modes::FREE);
    assert!(t.is_cooked());
}

#[test]
fn where_no_shell_waits_nothing_stops() {
    let Some(setsid) = in_path("setsid") else { return };
    let mut command = Command::new(setsid);
    command.arg("--ctty").arg(env!("CARGO_BIN_EXE_wspulse")).arg("demo").env("XDG_CONFIG_HOME", "/nowhere");
    let mut t = Terminal::start(command, 30, 100);
    t.until("the dashboard", is_dashboard);
    t.send("\u{1a}");
    t.shows("no shell waits for this program");
    kill_process(pid(&t), Signal::TSTP).expect("ours");
    // The next key is answered: it goes on.
    t.send("?");
    t.shows("exit code 130");
    t.send("\u{1a}");
    t.shows("no shell waits for this program");
    t.send("q");
    assert_eq!(t.ended().code(), Some(0));
}

#[expect(clippy::disallowed_macros, reason = "a skip must be loud")]
fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
}

#[test]
fn in_a_container_whose_session_began_outside_nothing_stops() {
    let Some(unshare) = in_path("unshare") else { return };
    // Who is not root may do this in a namespace of users; a container may let nobody do it.
    let as_root = ["--map-root-user"].iter().filter(|_| !rustix::process::geteuid().is_root());
    let apart: Vec<&str> = as_root.copied().chain(["--pid", "--fork", "--mount-proc"]).collect();
    let may = Command::new(&unshare).args(&apart).arg("true").stderr(Stdio::null()).status();
    if !may.is_ok_and(|status| status.success()) {
        skip("this user may not make a namespace of processes");
        return;
    }
    let mut command = Command::new(unshare);
    command.args(apart).arg(env!("CARGO_BIN_EXE_wspulse")).arg("demo");
    command.env("XDG_CONFIG_HOME", "/nowhere");
    let mut t = Terminal::start(command, 30, 100);
    t.until("the dashboard", is_dashboard);
    t.send("\u{1a}");
    t.shows("no shell waits for this program");
    t.send("q");
    assert_eq!(t.ended().code(), Some(0));
}

#[test]
fn a_smeared_screen_is_drawn_anew() {
    let mut t = as_a_job(30, 100);
    t.until("the dashboard", is_dashboard);
    for key in ["\u{c}", "/\u{c}"] {
        t.smear();
        t.send(key);
        t.until("the dashboard again", |s| is_dashboard(s) && !s.contains("smeared"));
    }
    t.send("\u{3}");
    assert_eq!(t.ended().code(), Some(130));
}

fn in_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let candidates: Vec<PathBuf> = std::env::split_paths(&folders).map(|folder| folder.join(name)).collect();
    tool(name, &candidates)
}

/// A tmux server of its own, in a folder of its own. Dropping it ends it.
struct Tmux {
    binary: PathBuf,
    folder: tempfile::TempDir,
}

impl Tmux {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(["-u", "-f", "/dev/null", "-L", "wspulse"]).args(args);
        command.env("TMUX_TMPDIR", self.folder.path()).env_remove("TMUX");
        command
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8")
            .env("XDG_CONFIG_HOME", "/nowhere")
            .env("TERM", "xterm-256color");
        command
    }

    fn told(&self, args: &[&str]) -> String {
        let out = self.command(args).output().expect("tmux runs");
        assert!(out.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    fn pane(&self) -> String {
        self.told(&["capture-pane", "-p", "-t", "w"])
    }

    fn until(&self, what: &str, wish: impl Fn(&str) -> bool) -> String {
        eventually(what, || Some(self.pane()).filter(|s| wish(s)))
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.command(&["kill-server"]).output();
    }
}

/// Lines without what changes from second to second: the blanks at their ends.
fn picture(screen: &str) -> Vec<String> {
    screen.lines().map(|l| l.trim_end().to_owned()).collect()
}

#[test]
fn tmux_detaches_and_attaches_at_another_size_and_the_picture_is_whole() {
    let Some(binary) = in_path("tmux") else { return };
    let tmux = Tmux { binary, folder: tempfile::tempdir().expect("a folder") };
    let dashboard = format!("'{}' demo", env!("CARGO_BIN_EXE_wspulse"));
    tmux.told(&["new-session", "-d", "-s", "w", "-x", "100", "-y", "30", &dashboard]);
    // What a copy needs to pass, and no line of tmux's own below the picture.
    tmux.told(&["set-option", "-g", "status", "off"]);
    // Keys less than a millisecond apart are a paste to tmux, and a prefix in a paste detaches nobody: tmux(1).
    tmux.told(&["set-option", "-g", "assume-paste-time", "0"]);
    tmux.told(&["set-option", "-s", "set-clipboard", "on"]);
    tmux.told(&["set-option", "-g", "allow-passthrough", "on"]);
    tmux.until("the dashboard, seen by nobody", |s| is_dashboard(s) && s.contains("● open"));
    for (rows, cols) in [(30, 100), (48, 160), (12, 40), (60, 200)] {
        let mut client = Terminal::start(tmux.command(&["attach-session", "-t", "w"]), rows, cols);
        let whole = |s: &str| match rows {
            12 => s.lines().count() == 12 && s.contains("ENDPOINT"),
            _ => is_dashboard(s) && s.lines().count() == usize::from(rows) && !last_line(s).trim().is_empty(),
        };
        client.until("the dashboard", whole);
        // What tmux believes and what the terminal shows are one picture once it stands still.
        tmux.told(&["send-keys", "-t", "w", "f"]);
        eventually("one picture", || {
            let (inside, outside) = (picture(&tmux.pane()), picture(&client.text()));
            (inside.iter().any(|l| l.contains("FROZEN")) && inside[..outside.len().min(inside.len())] == outside[..])
                .then_some(())
        });
        tmux.told(&["send-keys", "-t", "w", "f"]);
        tmux.until("LIVE", |s| s.contains("LIVE"));
        client.send("1gy");
        client.until("the copy", |_| String::from_utf8_lossy(&client.bytes()).contains("\u{1b}]52;"));
        // The prefix and d.
        client.send("\u{2}d");
        assert_eq!(client.ended().code(), Some(0));
    }
    let copied = tmux.told(&["show-buffer"]);
    assert!(copied.starts_with("ws://"), "{copied}");
    tmux.told(&["send-keys", "-t", "w", "q"]);
    eventually("the end of the session", || {
        let out = tmux.command(&["has-session", "-t", "w"]).output().expect("tmux runs");
        (!out.status.success()).then_some(())
    });
}
