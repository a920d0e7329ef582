//! Sessions as `wspulse logs` tells them: ages at which tunnels die, tunnels that die together, and what a real nginx
//! writes when one ends.

mod support;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::nginx::{Nginx, UPGRADE, installed, location};
use support::{eventually, wspulse};

/// The log_format of these stories.
const TIMED: &str = r#"$remote_addr [$time_local] "$request" $status $request_time "$upstream_response_time""#;

/// A configuration that logs to `dir` in that format, and lets old workers drain for half a minute.
fn configuration(dir: &Path, more: &str) -> String {
    let at = dir.display();
    format!(
        "worker_shutdown_timeout 30s;\nerror_log {at}/error.log notice;\nevents {{}}\nhttp {{\n    log_format timed '{TIMED}';\n    \
         access_log {at}/access.log timed;\n    server {{\n        listen 80;\n        location /ws {{\n            \
         proxy_pass http://127.0.0.1:9001;\n            proxy_set_header Upgrade $http_upgrade;\n            \
         proxy_set_header Connection upgrade;\n            {more}\n        }}\n    }}\n}}\n"
    )
}

/// An hour from 13:00 on, in seconds, as the access log writes it.
fn time(second: u32) -> String {
    format!("21/Nov/2026:13:{:02}:{:02} +0000", second / 60 % 60, second % 60)
}

fn ended(second: u32, lived: f64) -> String {
    format!("192.0.2.7 [{}] \"GET /ws HTTP/1.1\" 101 {lived:.3} \"{lived:.3}\"\n", time(second))
}

/// Tunnels that end one by one over an hour, as people come and go.
fn calm() -> String {
    (0..1_200_u32).map(|k| ended(k * 3, 1.0 + f64::from(k * k % 7_919) / 9.7)).collect()
}

/// What nginx says when it is reloaded at this second and its old worker goes when its time is over.
fn reload(second: u32) -> String {
    let at = |s: u32| format!("2026/11/21 13:{:02}:{:02}", s / 60, s % 60);
    let mut text = String::new();
    for (after, pid, said) in [
        (0, 70, "signal 1 (SIGHUP) received from 99, reconfiguring"),
        (0, 70, "reconfiguring"),
        (0, 70, "start worker process 72"),
        (0, 71, "gracefully shutting down"),
        (30, 71, "exiting"),
        (30, 70, "signal 17 (SIGCHLD) received from 71"),
        (30, 70, "worker process 71 exited with code 0"),
    ] {
        writeln!(text, "{} [notice] {pid}#{pid}: {said}", at(second + after)).expect("text");
    }
    text
}

struct Case {
    dir: tempfile::TempDir,
}

impl Case {
    fn new(access: &str, error: &str, conf: Option<&str>) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
        write("access.log", access);
        write("error.log", error);
        if let Some(more) = conf {
            write("nginx.conf", &configuration(dir.path(), more));
        }
        Self { dir }
    }

    fn run(&self, more: &[&str]) -> Output {
        let mut c: Command = wspulse();
        c.current_dir(self.dir.path()).args(["logs", "access.log", "error.log"]).args(more);
        if self.dir.path().join("nginx.conf").exists() {
            c.args(["--nginx-conf", "nginx.conf"]);
        } else if !more.contains(&"--log-format") {
            c.args(["--log-format", TIMED]);
        }
        c.output().expect("the binary starts")
    }

    fn text(&self) -> String {
        let out = self.run(&[]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        // Lines are broken to fit the terminal.
        String::from_utf8_lossy(&out.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn sessions(&self, more: &[&str]) -> Value {
        let out = self.run(&[more, &["--format", "json"]].concat());
        checked(&out)["sessions"].clone()
    }
}

/// The JSON, if the schema allows it.
#[track_caller]
fn checked(out: &Output) -> Value {
    let value: Value =
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stderr)));
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/schema/logs-1.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(schema).expect("the schema")).expect("JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let wrong: Vec<String> = validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    value
}

#[test]
fn a_minute_of_silence_is_found_and_the_line_that_allows_no_more_is_named() {
    let silent: String = (0..150_u32).map(|k| ended(k * 23, 60.001 + f64::from(k % 40) / 1_000.0)).collect();
    let case = Case::new(&(calm() + &silent), "", Some("proxy_read_timeout 60s;"));
    let spike = &case.sessions(&[])["lifetimes"]["spikes"][0];
    let matches = spike["matches"].as_str().expect("known");
    assert!(
        matches.starts_with("proxy_read_timeout of location /ws (") && matches.contains("/nginx.conf:13)"),
        "{spike}"
    );
    assert!(spike["seconds"].as_f64().is_some_and(|s| (59.9..60.2).contains(&s)), "{spike}");
    let text = case.text();
    assert!(text.contains("tunnels ended at an age of 60.0s; this fits proxy_read_timeout of location /ws"), "{text}");

    let raised = Case::new(&(calm() + &silent), "", Some("proxy_read_timeout 1h;\n            proxy_send_timeout 1h;"));
    let spike = &raised.sessions(&[])["lifetimes"]["spikes"][0];
    let matches = spike["matches"].as_str().expect("known");
    assert!(matches.contains("ALB") && !matches.contains("proxy_"), "nginx waits for an hour here: {matches}");
    let nowhere = Case::new(&(calm() + &silent), "", None).text();
    assert!(nowhere.contains("this fits 60 s, the default of proxy_read_timeout"), "{nowhere}");
    assert!(Case::new(&calm(), "", None).sessions(&[])["lifetimes"]["spikes"].as_array().is_some_and(Vec::is_empty));
}

/// Forty tunnels that end in the second when the worker's time is over, among others.
fn cut(second: u32) -> String {
    calm() + &(0..40_u32).map(|k| ended(second, 5.0 + f64::from(k) * 31.7)).collect::<String>()
}

#[test]
fn tunnels_that_died_with_a_reload_are_matched_with_it() {
    let reloaded = Case::new(&cut(1_530), &reload(1_500), Some(""));
    let bursts = &reloaded.sessions(&[])["bursts"];
    assert_eq!(bursts.as_array().map(Vec::len), Some(1), "{bursts}");
    let b = &bursts[0];
    assert_eq!((&b["at"], &b["ended"]), (&"2026-11-21T13:25:30.000000Z".into(), &41.into()), "{b}");
    assert!(b["usual"].as_f64().is_some_and(|n| (0.2..0.5).contains(&n)), "{b}");
    let cause = b["cause"].as_str().expect("a cause");
    assert!(cause.starts_with("reload 2026-11-21T13:25:00Z, worker_shutdown_timeout 30s ("), "{cause}");
    assert!(cause.ends_with("/nginx.conf:1)"), "{cause}");
    let text = reloaded.text();
    let said = "41 tunnels ended together at 2026-11-21 13:25:30, where 0.3 is usual: reload 13:25:00, worker_shutdown_timeout 30s";
    assert!(text.contains(said), "{text}");
    let markdown = String::from_utf8_lossy(&reloaded.run(&["--format", "markdown"]).stdout).into_owned();
    assert!(markdown.contains("reload 13:25:00, worker"), "{markdown}");

    let unknown = Case::new(&cut(1_530), &reload(1_500), None);
    let cause = &unknown.sessions(&[])["bursts"][0]["cause"];
    assert_eq!(cause, "reload 2026-11-21T13:25:00Z, its old workers exited 30s later");
}

#[test]
fn what_no_reload_explains_is_not_blamed_on_one() {
    let worst = |access: &str, error: &str, conf| Case::new(access, error, conf).sessions(&[])["bursts"][0].clone();
    for conf in [Some(""), None] {
        let b = worst(&cut(2_400), &reload(1_500), conf);
        assert_eq!((&b["ended"], &b["cause"]), (&41.into(), &Value::Null), "a quarter of an hour later: {b}");
        assert_eq!(worst(&cut(1_500), &reload(1_500), conf)["cause"], Value::Null, "a reload itself cuts nobody");
    }
    assert_eq!(worst(&calm(), &reload(1_500), Some("")), Value::Null, "a reload that hurt nobody is no burst");
    let quiet = "2026/11/21 13:10:00 [error] 71#71: *1 recv() failed (104: Connection reset by peer) while proxying upgraded connection\n";
    let unseen = Case::new(&cut(1_530), quiet, Some(""));
    assert_eq!(unseen.sessions(&[])["bursts"][0]["cause"], Value::Null);
    let text = unseen.text();
    assert!(text.contains("The error log is not at level notice: reloads") && text.contains("are invisible"), "{text}");
}

#[test]
fn a_worker_that_crashed_is_named_with_what_its_tunnels_leave() {
    let crash = "2026/11/21 13:25:30 [alert] 70#70: worker process 71 exited on signal 11 (core dumped)\n";
    let case = Case::new(&cut(1_530), crash, Some(""));
    assert_eq!(case.sessions(&[])["bursts"][0]["cause"], "worker 71 exited on signal 11");
    let text = case.text();
    assert!(text.contains("1 worker died of a signal") && text.contains("leave no line"), "{text}");
}

#[test]
fn a_format_without_lifetimes_still_tells_what_died_together() {
    let line = |s: u32| format!("192.0.2.7 - - [{}] \"GET /ws HTTP/1.1\" 101 532 \"-\" \"-\"\n", time(s));
    let text: String = (0..1_200).map(|k| line(k * 3)).chain((0..40).map(|_| line(1_530))).collect();
    let case = Case::new(&text, &reload(1_500), None);
    let sessions = case.sessions(&["--log-format", "combined"]);
    assert_eq!((&sessions["count"], &sessions["lifetimes"]["known"]), (&1_240.into(), &0.into()));
    assert_eq!((&sessions["lifetimes"]["max"], &sessions["bursts"][0]["ended"]), (&Value::Null, &41.into()));
}

/// A backend that opens every tunnel and then does what the path asks for. Its threads end with the process.
fn backend() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    port
}

fn serve(mut stream: TcpStream) {
    let head = head(&mut stream);
    let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    if head.contains("/backend-closes") {
        thread::park_timeout(SECOND);
        return;
    }
    if head.contains("/does-not-read") {
        thread::park_timeout(support::PATIENCE);
        return;
    }
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        head.extend(byte);
    }
    String::from_utf8_lossy(&head).into_owned()
}

const SECOND: Duration = Duration::from_secs(1);

fn tunnel(nginx: &Nginx, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", nginx.port)).expect("nginx listens");
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13";
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: lab.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n\r\n"
    )
    .expect("asked");
    assert!(head(&mut stream).starts_with("HTTP/1.1 101"));
    stream
}

/// Writes until nginx has closed the connection, however slow the machine is.
fn flood(mut stream: TcpStream) {
    let frames = vec![0x82; 65_536];
    stream.set_write_timeout(Some(Duration::from_millis(200))).expect("set");
    let deadline = Instant::now() + support::PATIENCE;
    while Instant::now() < deadline {
        match stream.write(&frames) {
            Ok(_) => {}
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

#[test]
fn the_lifetime_is_that_of_the_tunnel_whoever_ends_it_and_however_long_nginx_lingers() {
    let Some(binary) = installed() else { return };
    let port = backend();
    let lines = format!("{UPGRADE}\n proxy_send_timeout 1s;");
    let server = format!(
        "access_log logs/timed.log timed;\n lingering_time 3s;\n lingering_timeout 3s;\n{}",
        location("/", port, &lines)
    );
    let nginx = Nginx::start(&binary, "info", &format!("log_format timed '{TIMED}';"), &server);
    let lived = |path: &str, then: &dyn Fn(TcpStream)| {
        let before = nginx.log("timed.log").lines().count();
        then(tunnel(&nginx, path));
        eventually("nginx to log the tunnel", || (nginx.log("timed.log").lines().count() > before).then_some(()));
        let last = nginx.log("timed.log").lines().last().unwrap_or_default().to_owned();
        let one = tempfile::tempdir().expect("a folder");
        fs::write(one.path().join("one.log"), format!("{last}\n")).expect("written");
        let out = wspulse()
            .current_dir(one.path())
            .args(["logs", "one.log", "--format", "json", "--log-format", TIMED])
            .output()
            .expect("the binary starts");
        let lived = checked(&out)["sessions"]["lifetimes"]["max"].as_f64().unwrap_or_else(|| panic!("no life: {last}"));
        let mut times = last.split("101 ").nth(1).expect("a tunnel").split([' ', '"']).filter_map(|t| t.parse().ok());
        let (whole, upstream): (f64, f64) = (times.next().expect("a time"), times.next().expect("another"));
        // How long a second is on a busy machine nobody knows; which of the two times it was, nginx wrote.
        assert!((lived - upstream.min(whole)).abs() < 0.002 && lived >= 0.9, "{path}: not {lived}: {last}");
        whole - lived
    };
    lived("/client-closes", &|stream| {
        thread::park_timeout(SECOND);
        drop(stream);
    });
    lived("/backend-closes", &|mut stream| {
        let _ = stream.read(&mut [0; 64]);
    });
    let lingered = lived("/does-not-read", &flood);
    assert!(lingered > 2.0, "nginx lingered, or this proves nothing: {lingered}");
}

#[test]
fn what_a_real_reload_cuts_is_told_with_its_cause() {
    let Some(binary) = installed() else { return };
    let port = backend();
    let server = format!("access_log logs/timed.log timed;\n{}", location("/", port, UPGRADE));
    let level = "notice;\nworker_shutdown_timeout 2s";
    let nginx = Nginx::start(&binary, level, &format!("log_format timed '{TIMED}';"), &server);
    let cut: Vec<TcpStream> = (0..40).map(|_| tunnel(&nginx, "/held")).collect();
    nginx.signal(rustix::process::Signal::HUP);
    eventually("the old worker to cut them", || (nginx.log("timed.log").lines().count() == 40).then_some(()));
    drop(cut);
    eventually("nginx to say so", || nginx.log("error.log").contains("exited with code 0").then_some(()));
    for conf in [true, false] {
        let mut c = wspulse();
        c.current_dir(nginx.path("logs")).args(["logs", "timed.log", "error.log", "--format", "json"]);
        // nginx's clock hangs where that of this test does.
        match std::env::var_os("TZ") {
            Some(zone) => c.env("TZ", zone),
            None => c.env_remove("TZ"),
        };
        c.args(if conf { ["--nginx-conf", "../nginx.conf"] } else { ["--log-format", TIMED] });
        let bursts = checked(&c.output().expect("the binary starts"))["sessions"]["bursts"].clone();
        let cause = bursts[0]["cause"].as_str().unwrap_or_else(|| panic!("{bursts}\n{}", nginx.log("error.log")));
        let (begins, says) =
            if conf { ("reload 2", "worker_shutdown_timeout 2s (") } else { ("reload 2", "its old workers exited ") };
        assert!(cause.starts_with(begins) && cause.contains(says), "{cause}");
    }
}
