//! How long a path lets a silent tunnel live, measured on paths that are known: scripted ones, and a real nginx.

mod support;

use std::path::Path;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::sync::CancellationToken;
use wspulse::event::silence::{Cut, Fate, Limit, Manner, Trial, Verdict};
use wspulse::source::probe::silence::Experiment;
use wspulse::source::probe::{ProbeOptions, WsUrl};

use support::backend::{Backend, Script};
use support::nginx::{self, Nginx, UPGRADE, location};

/// What a path does to tunnels.
#[derive(Clone, Copy)]
enum Route {
    /// FIN after silence in both directions.
    Cuts(Duration),
    /// A close frame after silence.
    Closes(Duration),
    /// Forgets the tunnel after silence, and says nothing.
    Forgets(Duration),
    /// FIN at this age, whatever passes.
    Ages(Duration),
    /// FIN after silence of the client, however much the server says.
    WantsClient(Duration),
    /// Nothing.
    Patient,
}

async fn path(does: Route) -> WsUrl {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(walk(stream, does));
        }
    });
    WsUrl::parse(&url).unwrap()
}

async fn walk(stream: TcpStream, does: Route) {
    let Ok(mut ws) = tokio_tungstenite::accept_async(stream).await else { return };
    let opened = Instant::now();
    let mut last = opened;
    let mut speaks = false;
    loop {
        let end = match does {
            Route::Cuts(d) | Route::Closes(d) | Route::Forgets(d) | Route::WantsClient(d) => last + d,
            Route::Ages(d) => opened + d,
            Route::Patient => opened + Duration::from_secs(3_600),
        };
        tokio::select! {
            message = ws.next() => match message {
                Some(Ok(message)) => { last = Instant::now(); speaks |= message.is_text(); }
                _ => return,
            },
            () = sleep_until(Instant::now() + Duration::from_millis(100)), if speaks => {
                let _ = ws.send(Message::text("tick")).await;
                if !matches!(does, Route::WantsClient(_)) {
                    last = Instant::now();
                }
            }
            () = sleep_until(end) => match does {
                Route::Forgets(_) => return std::future::pending().await,
                Route::Closes(_) => {
                    let frame = CloseFrame { code: CloseCode::Away, reason: "idle".into() };
                    let _ = ws.send(Message::Close(Some(frame))).await;
                    let _ = ws.next().await;
                    return;
                }
                _ => return,
            },
        }
    }
}

async fn measure(does: Route, max: u64, wake: Option<&str>) -> Vec<Trial> {
    let experiment = Experiment {
        url: path(does).await,
        options: ProbeOptions { ping_timeout: Duration::from_millis(700), ..ProbeOptions::default() },
        max: Duration::from_secs(max),
        wake: wake.map(str::to_owned),
        steps: mpsc::unbounded_channel().0,
    };
    experiment.run(&CancellationToken::new(), &mut |_| ()).await
}

fn is_near(at: Option<Duration>, wanted: Duration, slack: Duration) -> bool {
    at.is_some_and(|at| at.abs_diff(wanted) <= slack)
}

const LIMIT: Duration = Duration::from_secs(3);
/// A machine that is busy with other tests wakes late.
const SLACK: Duration = Duration::from_millis(600);

#[tokio::test]
async fn a_cut_is_timed_and_busy_tunnels_are_spared() {
    let trials = measure(Route::Cuts(LIMIT), 30, None).await;
    let limit = Limit::of(&trials);
    assert!(is_near(limit.estimate, LIMIT, SLACK), "{limit:?}");
    assert_eq!(limit.how, Some(Cut::Fin));
    assert!(is_near(limit.survived, Duration::from_secs(2), SLACK), "{limit:?}");
    assert_eq!(limit.judge(&trials, Manner::Busy), Some(Verdict::Spared));
    assert_eq!(limit.judge(&trials, Manner::ClientSpeaks), Some(Verdict::Spared));
}

#[tokio::test]
async fn a_close_frame_says_who_and_the_silence_before_it_counts() {
    let trials = measure(Route::Closes(LIMIT), 30, None).await;
    let limit = Limit::of(&trials);
    assert!(is_near(limit.estimate, LIMIT, SLACK), "{limit:?}");
    assert_eq!(limit.how, Some(Cut::Close));
    let told = |t: &Trial| matches!(&t.fate, Fate::Cut { code: Some(1001), reason, .. } if reason == "idle");
    assert!(trials.iter().any(told), "{trials:?}");
}

#[tokio::test]
async fn a_path_that_forgets_is_closed_in_on() {
    let trials = measure(Route::Forgets(LIMIT), 30, None).await;
    let limit = Limit::of(&trials);
    assert_eq!(limit.how, Some(Cut::Dropped), "{limit:?}");
    let (survived, died) = (limit.survived.expect("one lived"), limit.died.expect("one died"));
    assert!(survived < LIMIT + SLACK && died + SLACK > LIMIT, "{limit:?}");
    assert!(
        died.abs_diff(survived) <= Duration::from_millis(1_100),
        "closer than the first rungs of 2 and 5 s: {limit:?}"
    );
}

#[tokio::test]
async fn an_age_limit_is_told_from_an_idle_timeout() {
    let trials = measure(Route::Ages(LIMIT), 30, None).await;
    let limit = Limit::of(&trials);
    assert_eq!(limit.judge(&trials, Manner::Busy), Some(Verdict::DiedToo), "{limit:?} {trials:?}");
}

#[tokio::test]
async fn it_is_told_whose_silence_counts() {
    let trials = measure(Route::WantsClient(LIMIT), 30, Some("speak")).await;
    let limit = Limit::of(&trials);
    assert_eq!(limit.judge(&trials, Manner::ServerSpeaks), Some(Verdict::DiedToo), "{trials:?}");
    assert_eq!(limit.judge(&trials, Manner::ClientSpeaks), Some(Verdict::Spared), "{trials:?}");
}

#[tokio::test]
async fn a_patient_path_has_no_limit() {
    let trials = measure(Route::Patient, 3, None).await;
    let limit = Limit::of(&trials);
    assert_eq!((limit.estimate, limit.how), (None, None));
    assert!(is_near(limit.survived, Duration::from_secs(3), SLACK), "{limit:?}");
}

fn idle_timeout(args: &[&str]) -> (std::process::Output, Value) {
    let mut all = vec!["idle-timeout", "--format", "json"];
    all.extend(args);
    let out = support::run(&all);
    let json: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| {
        panic!("{e}: {} {}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
    });
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/schema/idle-timeout-1.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(schema).expect("the schema")).expect("JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let faults: Vec<String> = validator.iter_errors(&json).map(|e| format!("{}: {e}", e.instance_path)).collect();
    assert!(faults.is_empty(), "{faults:?}\n{json}");
    (out, json)
}

#[test]
fn the_very_line_of_nginx_conf_is_named() {
    let Some(binary) = nginx::installed() else { return };
    let backend = Backend::start(Script::Echo);
    let lines = format!("{UPGRADE}\n            proxy_read_timeout 3s;");
    let nginx = Nginx::start(&binary, "error", "", &location("/ws", backend.port, &lines));
    let conf = nginx.path("nginx.conf").display().to_string();
    let (out, json) = idle_timeout(&["--max", "20s", "--nginx-conf", &conf, &nginx.url("/ws")]);
    assert_eq!(out.status.code(), Some(0));
    let estimate = json["estimate_s"].as_f64().expect("a limit");
    assert!((2.6..4.2).contains(&estimate), "{json}");
    assert_eq!(json["how_it_ended"], "fin");
    assert_eq!(json["busy"], "spared");
    let culprit = &json["culprit"];
    assert!(culprit["said"].as_str().is_some_and(|s| s.contains("proxy_read_timeout 3 s at /ws")), "{culprit}");
    assert_eq!(culprit["file"], conf.as_str());
    let line = usize::try_from(culprit["line"].as_u64().expect("a line")).expect("small");
    let text = std::fs::read_to_string(&conf).expect("the configuration");
    assert!(text.lines().nth(line - 1).is_some_and(|l| l.contains("proxy_read_timeout 3s")), "{line}");
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_exit_1_and_says_why() {
    let url = format!("ws://127.0.0.1:{}/ws", support::free_port());
    let (out, json) = idle_timeout(&["--max", "3s", &url]);
    assert_eq!(out.status.code(), Some(1));
    assert!(json["estimate_s"].is_null());
    let text = String::from_utf8(support::run(&["idle-timeout", "--max", "3s", &url]).stdout).expect("text");
    assert!(text.contains("no tunnel could be opened: no connection to 127.0.0.1"), "{text}");
    for wrong in
        [&["idle-timeout"][..], &["idle-timeout", "ws://a/", "ws://b/"], &["idle-timeout", "ws://a/", "--max", "1s"]]
    {
        assert_eq!(support::run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn ctrl_c_prints_what_is_known_so_far() {
    let backend = Backend::start(Script::Echo);
    let child = support::wspulse()
        .args(["idle-timeout", "--format", "json", "--max", "10m", &format!("ws://127.0.0.1:{}/ws", backend.port)])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let pid = rustix::process::Pid::from_child(&child);
    let open = || backend.open.load(std::sync::atomic::Ordering::Relaxed);
    support::eventually("most tunnels", || (open() >= 15).then_some(()));
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let out = child.wait_with_output().expect("it ends");
    assert_eq!(out.status.code(), Some(130));
    let json: Value = serde_json::from_slice(&out.stdout).expect("a report");
    assert_eq!(json["interrupted"], true);
    assert!(json["estimate_s"].is_null());
}

/// Tunnels at several paces through a real nginx: which of them die tells which timer sits there.
#[test]
fn paces_held_side_by_side_show_the_timer_of_a_real_nginx() {
    let Some(binary) = nginx::installed() else { return };
    let backend = Backend::start(Script::Echo);
    let server = location("/ws", backend.port, &format!("{UPGRADE}\nproxy_read_timeout 2s;"));
    let nginx = Nginx::start(&binary, "error", "", &server);
    let (url, pid) = (nginx.url("/ws"), nginx.pid().to_string());
    let out = support::run(&[
        "check",
        &url,
        "--pid",
        &pid,
        "--format",
        "json",
        "--cadence",
        "silent,500ms,1s",
        "--hold",
        "8s",
        "--timeout",
        "30s",
        "--no-exec",
        "--ping-interval",
        "1s",
    ]);
    let report: Value = serde_json::from_slice(&out.stdout).expect("a report");
    let probes = report["probes"].as_array().expect("probes");
    let at = |pace: &str| probes.iter().find(|p| p["cadence"] == pace).unwrap_or_else(|| panic!("{pace}: {report:#}"));
    let died = at("silent")["died_after_silence_s"].as_f64().expect("it died");
    assert!((1.6..3.5).contains(&died), "{report:#}");
    assert!(at("silent")["deaths"].as_u64() >= Some(2), "{report:#}");
    for pace in ["500ms", "1s"] {
        assert_eq!((&at(pace)["state"], &at(pace)["deaths"]), (&Value::from("open"), &Value::from(0)), "{report:#}");
    }
    let finding = report["findings"].as_array().expect("findings").iter().find(|f| f["id"] == "idle-timeout-cuts");
    let finding = finding.unwrap_or_else(|| panic!("{report:#}"));
    assert_eq!(finding["severity"], "info", "nobody is harmed by a silence of our own: {report:#}");
    let evidence = finding["evidence"].to_string();
    assert!(evidence.contains("while one with a ping every 1s lives"), "{evidence}");
    assert_eq!(out.status.code(), Some(0), "{report:#}");
}
