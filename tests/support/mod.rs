//! What several tests share: a real nginx in a folder of its own, a scripted backend, the binary, a terminal.
#![allow(dead_code, clippy::missing_panics_doc, reason = "each test binary uses its own part; a panic is the failure")]

pub mod backend;
pub mod nginx;
pub mod scripted;
pub mod terminal;
pub mod tunnels;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// How long anything may take before a test fails: generous, because nothing waits longer than it must.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The binary under test.
pub fn wspulse() -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_wspulse"));
    c.env_remove("NO_COLOR").env("TZ", "UTC").env("LC_ALL", "C.UTF-8");
    // The settings of whoever runs the tests stay out of them.
    c.env("XDG_CONFIG_HOME", "/nowhere");
    c
}

/// Runs the binary to its end.
pub fn run(args: &[&str]) -> Output {
    wspulse().args(args).output().expect("the binary starts")
}

/// Polls `ready` until it gives something, or fails with `what` when patience ends.
pub fn eventually<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(t) = ready() {
            return t;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A port that was free a moment ago and that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a loopback port").port()
}

/// A tool that tests need: its path, or `None` with a loud word; a failure where CI=true promises that it is there.
#[expect(clippy::disallowed_macros, reason = "a skip must be loud")]
pub fn tool(name: &str, candidates: &[PathBuf]) -> Option<PathBuf> {
    let found = candidates.iter().find(|c| c.is_file()).cloned();
    if found.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{name} is missing; scripts/test installs it");
        eprintln!("SKIPPED: {name} is missing; scripts/test installs it");
    }
    found
}

/// The lines of a program's output, as they come.
pub fn lines(from: impl std::io::Read + Send + 'static) -> std::sync::mpsc::Receiver<String> {
    use std::io::BufRead as _;
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::BufReader::new(from).lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    told
}

/// Waits for the first line that fulfils `wish`.
pub fn wait_line(lines: &std::sync::mpsc::Receiver<String>, what: &str, wish: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = lines.recv_timeout(left).unwrap_or_else(|e| panic!("waited for {what}: {e}"));
        if wish(&line) {
            return line;
        }
    }
}
