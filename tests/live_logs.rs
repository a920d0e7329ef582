//! Logs that are followed: their history at the start, streams from pipes and the standard input, and logs named by patterns.

mod support;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::terminal::Terminal;
use support::{lines, wait_line, wspulse};
use wspulse::time::Clock;

/// What keeps the host of the test out of the picture.
fn apart(command: &mut Command, dir: &Path) {
    let conf = dir.join("nginx.conf");
    if !conf.exists() {
        fs::write(&conf, "events {}\nhttp {}\n").expect("written");
    }
    command.arg("--no-exec").arg("--nginx-conf").arg(conf);
}

/// An error line written `seconds` ago.
fn error_ago(seconds: u64, text: &str) -> String {
    let at = Clock.now().minus(Duration::from_secs(seconds));
    // The binary under test runs in UTC, whatever zone this machine is in.
    let date = at.to_string()[..19].replace('-', "/").replace('T', " ");
    format!("{date} [error] 7#7: *1 {text}, client: 10.0.0.9, server: a, request: \"GET /ws HTTP/1.1\"\n")
}

const ACCESS: &str = "10.0.0.9 - - [21/Nov/2026:14:02:31 +0000] \"GET /ws HTTP/1.1\" 101 42 \"-\" \"-\"\n";

/// `wspulse COMMAND ARGS` on what is piped into it.
fn piped(dir: &Path, command: &str, args: &[&str], text: &str) -> Output {
    let mut wspulse = wspulse();
    wspulse.arg(command).args(args);
    apart(&mut wspulse, dir);
    let mut child =
        wspulse.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// A running `wspulse stream` and the events that it prints.
struct Stream {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Stream {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let mut wspulse = wspulse();
        wspulse.arg("stream").args(args);
        apart(&mut wspulse, dir);
        let mut child = wspulse.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
        let lines = lines(child.stdout.take().expect("piped"));
        Self { child, lines }
    }

    /// Waits for a word on a light that holds `text`.
    fn light(&self, text: &str) {
        wait_line(&self.lines, text, |l| l.contains("\"event\":\"sense\"") && l.contains(text));
    }

    /// The messages of the next error lines.
    fn messages(&self) -> Vec<String> {
        messages(&wait_line(&self.lines, "error lines", |l| l.contains("\"event\":\"errors\"")))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn messages(line: &str) -> Vec<String> {
    let event: Value = serde_json::from_str(line).expect("an event");
    let entries = event["data"]["entries"].as_array().cloned().unwrap_or_default();
    entries.iter().filter_map(|e| e["message"].as_str().map(str::to_owned)).collect()
}

fn stdout(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn append(path: &Path, text: &str) {
    let mut log = OpenOptions::new().create(true).append(true).open(path).expect("opened");
    log.write_all(text.as_bytes()).expect("written");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("plain ASCII")
}

fn errors_of_check(dir: &Path, args: &[&str]) -> u64 {
    let mut check = wspulse();
    check.args(["check", "--format", "json"]).args(args);
    apart(&mut check, dir);
    let out = check.output().expect("it runs");
    let report: Value = serde_json::from_str(&stdout(&out)).unwrap_or_else(|e| panic!("{e}: {out:?}"));
    report["errors"]["entries"].as_u64().unwrap_or_else(|| panic!("{}", report["errors"]))
}

#[test]
fn check_reads_the_last_hour_or_what_it_is_told_to() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("error.log");
    let old = error_ago(7_200, "two hours old").repeat(100);
    fs::write(dir.path().join("error.log.1"), &old).expect("written");
    fs::write(&log, error_ago(5_000, "over an hour old") + &error_ago(3_000, "younger") + &error_ago(5, "young"))
        .expect("written");
    let given = ["--error-log", text(&log)];
    assert_eq!(errors_of_check(dir.path(), &given), 2);
    assert_eq!(errors_of_check(dir.path(), &[&given[..], &["--since", "10m"]].concat()), 1);
    assert_eq!(errors_of_check(dir.path(), &[&given[..], &["--since", "3h"]].concat()), 103);
    // Read as if it hung two hours further east, the clock of this log is two hours slow.
    assert_eq!(errors_of_check(dir.path(), &[&given[..], &["--since", "1h", "--tz", "+02:00"]].concat()), 0);
}

#[test]
fn what_the_history_tells_of_the_past_accuses_nobody_now() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("error.log");
    let findings = |seconds: u64| {
        let refused = "connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, \
            server: a, request: \"GET /ws HTTP/1.1\", upstream: \"http://10.0.0.7:8080/ws\", host: \"a\"";
        let line = error_ago(seconds, "x").split(" x,").next().map(|head| format!("{head} {refused}\n"));
        fs::write(&log, line.expect("a head").repeat(5)).expect("written");
        let mut check = wspulse();
        check.args(["check", "--format", "json", "--error-log", text(&log)]);
        apart(&mut check, dir.path());
        let report: Value = serde_json::from_str(&stdout(&check.output().expect("it runs"))).expect("a report");
        assert_eq!(report["errors"]["entries"], 5);
        let all = report["findings"].as_array().cloned().unwrap_or_default();
        all.iter().any(|f| f["id"] == "backend-refused")
    };
    assert!(findings(5), "what fails now is told");
    assert!(!findings(2_400), "what failed forty minutes ago is counted, and is no finding");
}

#[test]
fn check_reads_stdin_to_its_end() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut log = String::new();
    for n in 0..20_000 {
        log.push_str(&error_ago(1, &format!("number {n}")));
    }
    let out = piped(dir.path(), "check", &["--format", "json", "--error-log", "-"], &(log + ACCESS));
    let report: Value = serde_json::from_str(&stdout(&out)).unwrap_or_else(|e| panic!("{e}: {out:?}"));
    assert_eq!(report["errors"]["entries"], 20_000, "{out:?}");
    assert_eq!(report["sessions"]["count"], 1, "{}", report["sessions"]);
}

#[test]
fn a_stream_of_stdin_ends_with_it_and_tells_both_kinds() {
    let dir = tempfile::tempdir().expect("a folder");
    let framed = "Nov 21 14:02:31 web1 nginx[7]: 2026/11/21 14:02:31 [error] 7#7: *1 from the journal\n";
    for args in [&["--error-log", "-"][..], &["--access-log", "-"], &["--error-log", "-", "--access-log", "/dev/stdin"]]
    {
        let out = piped(dir.path(), "stream", args, &format!("{framed}{ACCESS}{framed}"));
        assert_eq!(out.status.code(), Some(0), "{args:?} {}", String::from_utf8_lossy(&out.stderr));
        let said = stdout(&out);
        let errors: Vec<String> =
            said.lines().filter(|l| l.contains("\"event\":\"errors\"")).flat_map(messages).collect();
        assert_eq!(errors, ["from the journal", "from the journal"], "{args:?}");
        assert_eq!(said.lines().filter(|l| l.contains("\"event\":\"access\"") && l.contains("/ws")).count(), 1);
        assert!(said.contains("the standard input ended"), "{said}");
    }
    let framed = framed.replace("11/21", "11/20");
    let since = piped(dir.path(), "stream", &["--error-log", "-", "--since", "1m"], &(framed + &error_ago(1, "new")));
    assert!(!stdout(&since).contains("journal") && stdout(&since).contains("new"), "{}", stdout(&since));
}

#[test]
fn a_stream_begins_at_the_end_and_waits_for_a_log_that_is_not_there() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("error.log");
    fs::write(&log, error_ago(5, "before")).expect("written");
    let stream = Stream::start(dir.path(), &["--error-log", text(&log)]);
    stream.light("following");
    append(&log, &error_ago(0, "after"));
    assert_eq!(stream.messages(), ["after"]);

    let late = dir.path().join("late.log");
    let stream = Stream::start(dir.path(), &["--error-log", text(&late)]);
    stream.light("no such file");
    append(&late, &error_ago(0, "the first line"));
    assert_eq!(stream.messages(), ["the first line"]);
}

#[test]
fn a_pattern_follows_what_matches_and_what_comes_to_match() {
    let dir = tempfile::tempdir().expect("a folder");
    let pattern = dir.path().join("*error.log");
    let stream = Stream::start(dir.path(), &["--error-log", text(&pattern)]);
    stream.light("no file matches yet");
    append(&dir.path().join("a.error.log"), &error_ago(0, "of the first"));
    assert_eq!(stream.messages(), ["of the first"], "what a new log holds is new");
    append(&dir.path().join("error.log"), &error_ago(0, "of the second"));
    append(&dir.path().join("error.log.1"), &error_ago(0, "rotated"));
    assert_eq!(stream.messages(), ["of the second"], "and a rotated part is none");
    append(&dir.path().join("a.error.log"), &error_ago(0, "once more"));
    assert_eq!(stream.messages(), ["once more"]);
}

#[test]
fn a_fifo_is_followed_through_its_writers() {
    let dir = tempfile::tempdir().expect("a folder");
    let fifo = dir.path().join("err.fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o600.into()).expect("made");
    let stream = Stream::start(dir.path(), &["--error-log", text(&fifo)]);
    stream.light("nobody writes");
    for message in ["from one", "from another"] {
        fs::write(&fifo, error_ago(0, message)).expect("somebody reads");
        assert_eq!(stream.messages(), [message]);
    }
}

#[test]
fn a_log_that_is_none_is_said_in_one_line() {
    let dir = tempfile::tempdir().expect("a folder");
    let socket = dir.path().join("log.sock");
    let _socket = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    let none = dir.path().join("*.log");
    let cases: [(&str, &[&str]); 6] = [
        (text(dir.path()), &["is a directory", "*error.log"]),
        ("/dev/null", &["is a device", "regular file"]),
        (text(&socket), &["is a socket", "pipe the log in"]),
        (text(&none), &["no log matches", "quotes"]),
        ("/nonexistent/error.log", &["cannot read /nonexistent/error.log", "check the path"]),
        ("/dev/stdout", &["standard stream", "or - for stdin"]),
    ];
    for (log, said) in cases {
        for flag in ["--error-log", "--access-log"] {
            let out = wspulse().args(["check", flag, log]).stdin(Stdio::null()).output().expect("it runs");
            let words = String::from_utf8_lossy(&out.stderr).into_owned();
            assert_eq!(out.status.code(), Some(2), "{log}: {words}");
            assert!(said.iter().all(|s| words.contains(s)) && words.contains(log), "{log}: {words}");
            assert!(out.stdout.is_empty() && words.lines().count() <= 2, "{log}: {words}");
        }
    }
    for args in [["--since", "yesterday"], ["--tz", "Mars/Olympus"], ["--error-log", "[.log"]] {
        let out = support::run(&[&["check"], &args[..]].concat());
        assert_eq!(out.status.code(), Some(2), "{args:?}");
    }
}

/// `script` in a terminal of its own as its controlling one, so that /dev/tty is that terminal.
fn terminal(script: &str) -> Option<Terminal> {
    let setsid = support::tool("setsid", &["/usr/bin/setsid", "/bin/setsid"].map(PathBuf::from))?;
    let mut command = Command::new(setsid);
    command.args(["--ctty", "--wait", "sh", "-c", script]).env("TZ", "UTC").env_remove("NO_COLOR");
    Some(Terminal::start(command, 40, 140))
}

#[test]
fn keys_come_from_the_terminal_while_a_log_is_piped_in() {
    let dir = tempfile::tempdir().expect("a folder");
    let fifo = dir.path().join("feed");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o600.into()).expect("made");
    let conf = dir.path().join("nginx.conf");
    fs::write(&conf, "events {}\nhttp {}\n").expect("written");
    let script = format!(
        "cat '{}' | '{}' --no-exec --nginx-conf '{}' --error-log -",
        fifo.display(),
        env!("CARGO_BIN_EXE_wspulse"),
        conf.display()
    );
    let Some(mut t) = terminal(&script) else { return };
    t.shows("Handshakes");
    let mut feed = OpenOptions::new().write(true).open(&fifo).expect("cat reads");
    let line = error_ago(0, "connect() failed (111: Connection refused) while connecting to upstream");
    feed.write_all(line.as_bytes()).expect("it reads");
    t.shows("connect() failed");
    t.send("?");
    t.shows("exit code 130");
    t.send("\u{1b}");
    t.until("help closed", |s| !s.contains("exit code 130"));
    drop(feed);
    t.shows("ended");
    t.send("f");
    t.shows("FROZEN");
    t.send("q");
    assert_eq!(t.ended().code(), Some(0));
    let bytes = String::from_utf8_lossy(&t.bytes()).into_owned();
    assert!(bytes.contains("\u{1b}[?1049l"), "the main screen is given back");
}

#[test]
fn without_anything_piped_in_stdin_is_no_log() {
    let script = format!("'{}' --error-log -", env!("CARGO_BIN_EXE_wspulse"));
    let Some(mut t) = terminal(&script) else { return };
    assert_eq!(t.ended().code(), Some(2));
    t.shows("nothing is piped in");
}
