//! Probes against an implementation that shares no code with them: python's websockets.

mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use wspulse::event::probe::{ClosedBy, FailureKind, Phase, Step};
use wspulse::source::probe::{ProbeOptions, Question};

use support::scripted::{closed, has_pong, look_at, names, quick, refusal};
use support::{lines, tool, wait_line};

/// A running server of tests/data/interop/server.py.
struct Python {
    child: Child,
    said: Receiver<String>,
    at: SocketAddr,
}

impl Python {
    fn start(args: &[&str]) -> Option<Self> {
        let told = std::env::var_os("WSPULSE_PYTHON").map(PathBuf::from);
        let python = tool("a python with websockets (WSPULSE_PYTHON)", &told.into_iter().collect::<Vec<_>>())?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/interop/server.py");
        let mut command = Command::new(python);
        command.arg(script).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python starts");
        let said = lines(child.stdout.take().expect("its output"));
        let port = wait_line(&said, "its port", |_| true).parse().expect("a port");
        Some(Self { child, said, at: SocketAddr::from(([127, 0, 0, 1], port)) })
    }

    async fn look(&self, path: &str, options: &ProbeOptions, hold: Duration) -> Vec<Step> {
        look_at(&format!("ws://{}{path}", self.at), options, hold).await
    }

    /// The next line that begins like this.
    fn says(&self, start: &str) -> String {
        wait_line(&self.said, start, |line| line.starts_with(start))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // The end of its input ends it.
        self.child.stdin.take();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn pings_go_both_ways_and_our_close_is_understood() {
    let Some(python) = Python::start(&["pings"]) else { return };
    let steps = python.look("/ping", &quick(), Duration::from_millis(300)).await;
    assert!(names(&steps).iter().filter(|n| *n == "pong").count() >= 2, "{steps:?}");
    assert_eq!(closed(&steps).0, ClosedBy::Us);
    // It compresses where it is asked to; it was not.
    assert_eq!(python.says("open"), "open /ping None []");
    for _ in 0..3 {
        assert_eq!(python.says("pong"), "pong True");
    }
    assert_eq!(python.says("closed"), "closed 1000");
}

#[tokio::test]
async fn its_close_codes_are_told_as_they_are() {
    let Some(python) = Python::start(&[]) else { return };
    for code in [1000, 1001, 1003, 1008, 1011, 1012, 1013, 1014, 3000, 4001, 4999] {
        let steps = python.look(&format!("/close/{code}"), &quick(), Duration::from_secs(5)).await;
        let (by, got, reason, ..) = closed(&steps);
        assert_eq!((by, got, reason.as_str()), (ClosedBy::ServerClose, Some(code), "as told κ"));
        assert_eq!(python.says("closed"), format!("closed {code}"), "our answer reached it");
    }
}

#[tokio::test]
async fn a_subprotocol_is_agreed_upon() {
    let Some(python) = Python::start(&["chat"]) else { return };
    let offer = |names: &[&str]| ProbeOptions { subprotocols: names.iter().map(|n| (*n).into()).collect(), ..quick() };
    let steps = python.look("/", &offer(&["chat.v1", "other"]), Duration::ZERO).await;
    let Some(Step::Upgraded { answer, .. }) = steps.get(3) else { panic!("{steps:?}") };
    assert_eq!(answer.header("Sec-WebSocket-Protocol"), Some("chat.v1"));
    assert_eq!(python.says("open"), "open / chat.v1 []");
    assert!(has_pong(&steps));
    let r = refusal(&python.look("/", &offer(&["other"]), Duration::ZERO).await);
    // This server refuses those with whom it shares none; others open the tunnel and choose none.
    assert_eq!((r.failure.phase, r.failure.kind), (Phase::Upgrade, FailureKind::HttpStatus), "{}", r.failure.said);
}

#[tokio::test]
async fn an_extension_that_was_not_offered_is_refused() {
    let Some(python) = Python::start(&[]) else { return };
    let r = refusal(&python.look("/insists", &quick(), Duration::ZERO).await);
    assert_eq!(r.failure.kind, FailureKind::BadUpgradeHeaders);
    assert!(r.failure.said.contains("permessage-deflate"), "{}", r.failure.said);
}

#[tokio::test]
async fn messages_are_echoed_and_fragments_put_together() {
    let Some(python) = Python::start(&[]) else { return };
    // The echo of the question is an answer; so is the message in fragments, whose characters cross them.
    for (path, expect) in [("/", "^are you wéll$"), ("/fragments", "^a{1000}κ{1000}z$")] {
        let expect = Some(regex::Regex::new(expect).unwrap());
        let options = ProbeOptions { question: Some(Question { text: "are you wéll".into(), expect }), ..quick() };
        let steps = python.look(path, &options, Duration::from_millis(300)).await;
        assert!(names(&steps).contains(&"answered".to_owned()), "{path}: {steps:?}");
        assert_eq!(python.says("closed"), "closed 1000");
    }
}
