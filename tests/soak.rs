//! Many tunnels held for a time, to a server whose every doing is known.

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use support::backend::{Backend, Script};
use support::terminal::Terminal;

/// A server on a runtime of its own whose n-th tunnel meets the fate `of(n)`; gives its URL.
fn server(of: fn(usize) -> Fate) -> String {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let count = AtomicUsize::new(0);
            let all_open = Arc::new(Barrier::new(30));
            while let Ok((stream, _)) = listener.accept().await {
                let fate = of(count.fetch_add(1, Ordering::Relaxed));
                let all_open = Arc::clone(&all_open);
                tokio::spawn(async move {
                    let Ok(mut ws) = tokio_tungstenite::accept_async(stream).await else { return };
                    let end = match fate {
                        Fate::Lives => Duration::from_secs(3_600),
                        Fate::Cut(after) | Fate::Closes(after, _) => after,
                        Fate::AllCut => {
                            all_open.wait().await;
                            Duration::ZERO
                        }
                    };
                    let live = async {
                        while let Some(Ok(message)) = ws.next().await {
                            if message.is_text() {
                                let _ = ws.send(Message::text("pong")).await;
                            }
                        }
                    };
                    let cut = tokio::time::timeout(end, live).await.is_err();
                    if let Fate::Closes(_, code) = fate
                        && cut
                    {
                        let frame = CloseFrame { code: code.into(), reason: "enough".into() };
                        let _ = ws.close(Some(frame)).await;
                        let _ = ws.next().await;
                    }
                });
            }
        });
    });
    format!("ws://{}/ws", told.recv().unwrap())
}

#[derive(Clone, Copy)]
enum Fate {
    Lives,
    Cut(Duration),
    Closes(Duration, u16),
    /// Cut together with all others of this fate, once 30 are open.
    AllCut,
}

fn soak(args: &[&str]) -> (std::process::Output, Value) {
    let mut all = vec!["soak", "--format", "json"];
    all.extend(args);
    let out = support::run(&all);
    let (said, complained) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    let json: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said} {complained}"));
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/schema/soak-1.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(schema).expect("the schema")).expect("JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let faults: Vec<String> = validator.iter_errors(&json).map(|e| format!("{}: {e}", e.instance_path)).collect();
    assert!(faults.is_empty(), "{faults:?}\n{json}");
    (out, json)
}

fn mixed(n: usize) -> Fate {
    match n % 3 {
        0 => Fate::Lives,
        1 => Fate::Cut(Duration::from_millis(700)),
        _ => Fate::Closes(Duration::from_millis(900), 1001),
    }
}

#[test]
fn the_dead_are_counted_by_cause_and_age() {
    let url = server(mixed);
    let (out, json) = soak(&[&url, "-n", "30", "--duration", "2s", "--ramp", "300", "--ping-interval", "200ms"]);
    assert_eq!(out.status.code(), Some(1));
    let c = &json["connections"];
    assert_eq!((c["asked"].as_u64(), c["opened"].as_u64(), c["failed"].as_u64()), (Some(30), Some(30), Some(0)));
    assert_eq!(c["alive_at_end"], 10);
    let deaths: Vec<(&str, u64)> = json["deaths"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| (d["cause"].as_str().unwrap(), d["count"].as_u64().unwrap()))
        .collect();
    assert_eq!(deaths.iter().map(|d| d.1).sum::<u64>(), 20);
    assert!(
        deaths.contains(&("close frame 1001", 10)) && deaths.contains(&("FIN without a close frame", 10)),
        "{deaths:?}"
    );
    assert!(json["deaths"][0]["age_s"]["min"].as_f64().unwrap() > 0.5, "{json}");
    assert_eq!(json["faults"], serde_json::json!(["20 of 30 tunnels died"]));
    assert!(json["pings"]["answered"].as_u64().unwrap() >= 30, "{json}");
    assert!(json["rtt_ms"]["p50"].as_f64().unwrap() > 0.0);
    let survival = json["survival"].as_array().unwrap();
    assert_eq!(survival.last().unwrap()["alive"], 10, "{survival:?}");
}

#[test]
fn wishes_decide_the_exit_code() {
    let url = server(mixed);
    let common = ["-n", "30", "--duration", "1500ms", "--ramp", "300"];
    let with = |more: &[&str]| {
        let mut args = vec![url.as_str()];
        args.extend(common);
        args.extend(more);
        soak(&args).0.status.code()
    };
    assert_eq!(with(&["--min-survival", "30%"]), Some(0));
    assert_eq!(with(&["--min-survival", "99.9%"]), Some(1));
    assert_eq!(with(&["--min-survival", "30%", "--max-p99", "0s"]), Some(1));
    assert_eq!(with(&["--fail-on", "critical"]), Some(0));
}

#[test]
fn messages_are_asked_and_answered_and_the_dead_come_again() {
    let url = server(|n| if n == 0 { Fate::Cut(Duration::from_millis(300)) } else { Fate::Lives });
    let (out, json) = soak(&[
        &url,
        "-n",
        "3",
        "--duration",
        "3s",
        "--send",
        "ping",
        "--expect",
        "^pong$",
        "--reconnect",
        "--ping-interval",
        "200ms",
    ]);
    assert_eq!(out.status.code(), Some(1), "one died");
    let c = &json["connections"];
    assert_eq!((c["opened"].as_u64(), c["alive_at_end"].as_u64(), c["reopened"].as_u64()), (Some(3), Some(2), Some(1)));
    let m = &json["messages"];
    assert!(m["answered"].as_u64().unwrap() >= 20 && m["unanswered"] == 0, "{m}");
}

#[test]
fn what_cannot_be_opened_says_why() {
    let backend = Backend::start(Script::Status(503));
    let url = format!("ws://127.0.0.1:{}/ws", backend.port);
    let (out, json) = soak(&[&url, "-n", "5", "--duration", "1s"]);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(json["connections"]["failed"], 5);
    assert_eq!(json["failures"][0]["count"], 5);
    assert!(json["failures"][0]["said"].as_str().unwrap().contains("503"), "{json}");
    let text = String::from_utf8(support::run(&["soak", &url, "-n", "5", "--duration", "1s"]).stdout).unwrap();
    assert!(text.contains("✖ FAILED") && text.contains("5 of 5 tunnels did not open"), "{text}");
}

#[test]
fn it_is_no_weapon_and_counts_its_descriptors() {
    let refused = |args: &[&str]| {
        let out = support::run(args);
        assert_eq!(out.status.code(), Some(2), "{args:?}");
        String::from_utf8(out.stderr).unwrap()
    };
    assert!(refused(&["soak", "ws://192.0.2.1/ws", "-n", "1001"]).contains("--yes-i-own-this"));
    assert!(refused(&["soak", "ws://192.0.2.1/ws", "-n", "10", "--ramp", "2000"]).contains("--yes-i-own-this"));
    assert!(refused(&["soak", "ws://127.0.0.1/ws", "-n", "0"]).contains("1..="));
    assert!(refused(&["soak", "ws://127.0.0.1/ws", "--min-survival", "two"]).contains("99.9%"));
    assert!(refused(&["soak"]).contains("give one URL"));
}

/// What died in one moment is opened again as gently as it was at first. The server tells when which handshake came.
#[test]
fn tunnels_are_opened_again_no_faster_than_the_ramp() {
    const TUNNELS: usize = 30;
    static CAME: Mutex<Vec<Instant>> = Mutex::new(Vec::new());
    let url = server(|n| {
        CAME.lock().unwrap().push(Instant::now());
        if n < TUNNELS { Fate::AllCut } else { Fate::Lives }
    });
    let mut child = support::wspulse()
        .args(["soak", &url, "-n", "30", "--ramp", "10", "--duration", "1h", "--reconnect"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the binary starts");
    let came = support::eventually("all to be back", || {
        let came = CAME.lock().unwrap();
        (came.len() >= 2 * TUNNELS).then(|| came.clone())
    });
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
        .expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    // 29 pauses of 100 ms; without them all come within the spread of the first pause before another try, 200 ms.
    let spread = came[2 * TUNNELS - 1].duration_since(came[TUNNELS]);
    assert!(spread > Duration::from_secs(1), "{spread:?}");
}

/// What only looks like this machine.
#[test]
fn many_tunnels_need_a_word_wherever_they_may_end_elsewhere() {
    for way in [&["--resolve", "localhost:80:192.0.2.1"][..], &["--http-proxy", "127.0.0.1:3128"]] {
        let out = support::run(&[&["soak", "ws://localhost/", "-n", "1001"], way].concat());
        assert_eq!(out.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&out.stderr).contains("--yes-i-own-this"), "{way:?}");
    }
}

#[test]
fn a_twin_that_nobody_would_dial_is_refused() {
    for command in ["soak", "idle-timeout"] {
        let out = support::run(&[command, "ws://127.0.0.1:9/", "--backend", "ws://127.0.0.1:9/"]);
        assert_eq!(out.status.code(), Some(2));
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(said.contains("--backend is for") && said.contains("its own URL"), "{said}");
    }
}

#[test]
fn ctrl_c_closes_all_and_prints_what_is_known() {
    let backend = Backend::start(Script::Echo);
    let child = support::wspulse()
        .args([
            "soak",
            "--format",
            "json",
            "--duration",
            "1h",
            "-n",
            "20",
            &format!("ws://127.0.0.1:{}/ws", backend.port),
        ])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the binary starts");
    let pid = rustix::process::Pid::from_child(&child);
    let open = || backend.open.load(Ordering::Relaxed);
    support::eventually("all tunnels", || (open() == 20).then_some(()));
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let out = child.wait_with_output().expect("it ends");
    assert_eq!(out.status.code(), Some(130));
    let json: Value = serde_json::from_slice(&out.stdout).expect("a report");
    // The server may have seen the last handshake through before we read its answer.
    let verdict = if json["connections"]["opened"] == 20 { "passed" } else { "unfinished" };
    assert_eq!((json["interrupted"].as_bool(), json["verdict"].as_str()), (Some(true), Some(verdict)));
    support::eventually("all to be closed", || (open() == 0).then_some(()));
}

/// On a terminal: one block that grows, then the same report, and the cursor given back.
#[test]
fn on_a_terminal_a_block_shows_how_it_goes_and_makes_room_for_the_report() {
    for (rows, cols) in [(24, 80), (12, 40)] {
        let mut command = support::wspulse();
        command.args([
            "soak",
            &server(mixed),
            "-n",
            "30",
            "--ramp",
            "60",
            "--duration",
            "3s",
            "--ping-interval",
            "200ms",
        ]);
        let mut t = Terminal::start(command, rows, cols);
        t.until("the ramp", |s| s.contains("opening"));
        t.until("round-trip times", |s| (s.contains("p99 ") && s.contains("us")) || s.contains("ms"));
        t.until("the dead", |s| s.contains("holding") && s.contains("20 died") && s.contains("10 alive of 30"));
        t.until("why they died", |s| s.contains("FIN without a close frame") && s.contains("█"));
        let frame = t.text();
        assert_eq!(frame.matches("soak ws://").count(), 1, "it is drawn in place:\n{frame}");
        assert!(frame.lines().all(|l| l.chars().count() <= usize::from(cols)), "{frame}");
        assert_eq!(t.ended().code(), Some(1), "only a third lives");
        t.until("the report in its place", |s| !s.contains("holding") && s.contains("close frame 1001"));
        assert_cursor_is_back(&t);
    }
}

#[test]
fn ctrl_c_takes_the_block_away_and_prints_the_report() {
    let mut command = support::wspulse();
    command.args(["soak", &server(|_| Fate::Lives), "-n", "5", "--duration", "1h"]);
    let mut t = Terminal::start(command, 24, 80);
    t.until("the block", |s| s.contains("holding") && s.contains("5 alive of 5"));
    // The terminal of the test is nobody's controlling one: the signal is what its Ctrl-C would send.
    let pid = rustix::process::Pid::from_child(&t.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    assert_eq!(t.ended().code(), Some(130));
    t.until("the report alone", |s| !s.contains("holding") && s.contains("broken off"));
    assert_cursor_is_back(&t);
}

fn assert_cursor_is_back(t: &Terminal) {
    let bytes = t.bytes();
    let text = String::from_utf8_lossy(&bytes);
    let (hidden, shown) = (text.rfind("\u{1b}[?25l"), text.rfind("\u{1b}[?25h"));
    assert!(hidden.is_some() && shown > hidden, "the cursor stays hidden");
    assert!(!text.contains("\u{1b}[?1049h"), "what stood above the block stays");
}
