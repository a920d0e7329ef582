//! The filter language through the binary: `logs` and `stream` narrowed, and a wrong filter told with its place.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;
use support::wspulse;

const ERRORS: &str = "\
2026/11/21 14:02:31 [error] 7#7: *1 connect() failed (111: Connection refused) while connecting to upstream, client: 10.1.2.3, server: chat.test, request: \"GET /ws?room=1 HTTP/1.1\", upstream: \"http://10.0.0.7:8080/ws\", host: \"chat.test\"
2026/11/21 14:02:32 [error] 7#7: *2 upstream timed out (110: Connection timed out) while proxying upgraded connection, client: 10.1.9.9, server: chat.test, request: \"GET /feed HTTP/1.1\", upstream: \"http://10.0.0.8:8080/feed\", host: \"chat.test\"
 and what continues it
2026/11/21 14:02:33 [info] 9#9: *3 client closed connection while waiting for request, client: 10.1.2.3, server: 0.0.0.0:80
2026/11/21 14:02:34 [error] 7#7: *4 connect() failed (111: Connection refused) while connecting to upstream, client: 2001:db8::7, server: chat.test, request: \"GET /ws HTTP/1.1\", upstream: \"http://10.0.0.7:8080/ws\", host: \"chat.test\"
";

const FORMAT: &str = "$remote_addr [$time_iso8601] \"$request\" $status $bytes_sent $request_time $upstream_addr";

const ACCESS: &str = "\
10.1.2.3 [2026-11-21T14:02:31+00:00] \"GET /ws HTTP/1.1\" 101 5300 61.5 10.0.0.7:8080
10.1.9.9 [2026-11-21T14:02:32+00:00] \"GET /ws HTTP/1.1\" 101 200 2.5 10.0.0.8:8080
10.1.2.3 [2026-11-21T14:02:33+00:00] \"POST /login HTTP/1.1\" 502 150 0.01 10.0.0.7:8080
";

const CONF: &str = "events {} http { server { listen 80; location /ws { proxy_pass http://10.0.0.7:8080; } } }\n";

/// A folder with both logs and a configuration, so that none of this machine is read.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, text) in [("error.log", ERRORS), ("access.log", ACCESS), ("nginx.conf", CONF)] {
        fs::write(dir.path().join(name), text).expect("written");
    }
    dir
}

fn run(dir: &Path, args: &[&str]) -> Output {
    wspulse().args(args).current_dir(dir).stdin(Stdio::null()).output().expect("the binary starts")
}

fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// What `wspulse logs` counts of both logs with these further arguments.
#[track_caller]
fn counted(dir: &Path, args: &[&str]) -> Value {
    let mut all = vec!["logs", "error.log", "access.log", "--log-format", FORMAT, "--tz", "UTC", "--format", "json"];
    all.extend(args);
    let out = run(dir, &all);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    serde_json::from_slice(&out.stdout).expect("JSON")
}

#[test]
fn logs_count_only_the_entries_that_pass() {
    let dir = folder();
    let entries = |args: &[&str]| counted(dir.path(), args)["entries"].as_u64().expect("a count");
    assert_eq!(entries(&[]), 7);
    for (filter, n) in [
        ("client:10.1.2.0/24", 4),
        ("client:10.1.2.0/24 kind:errors", 2),
        ("category:upstream", 3),
        ("!category:upstream", 4),
        ("level=error upstream=10.0.0.7", 2),
        ("errno=111 client=2001:db8::7", 1),
        ("location=/ws", 4),
        ("message:'timed out'", 1),
        ("status>=500", 1),
        ("method=post", 1),
        ("lifetime<10s", 1),
        ("request_time<10s", 2),
        ("bytes>5k", 1),
        ("/refused.*room/", 1),
        ("refused !room", 1),
        ("nowhere", 0),
    ] {
        assert_eq!(entries(&["--filter", filter]), n, "{filter}");
    }
    assert_eq!(entries(&["--filter", "client=10.1.2.3", "--grep", "client closed"]), 1);
    assert_eq!(entries(&["--filter", "client=10.1.2.3", "--category", "upstream-connect"]), 1);
    assert_eq!(entries(&["--filter", "level=error", "--since", "2026-11-21T14:02:32Z"]), 2);
}

#[test]
fn what_is_left_out_leaves_no_trace_in_any_figure() {
    let dir = folder();
    let left = counted(dir.path(), &["--filter", "status=101 lifetime>1m"]);
    assert_eq!((&left["lines"], &left["continuations"], &left["unparsed"]), (&1.into(), &0.into(), &0.into()));
    assert_eq!(left["sessions"]["count"], 1);
    assert!(left["by_category"].as_object().expect("categories").is_empty(), "{left}");
    assert_eq!(left["top"]["clients"].as_array().map(Vec::len), Some(1));
    let timed_out = counted(dir.path(), &["--filter", "errno=110"]);
    assert_eq!((&timed_out["lines"], &timed_out["continuations"]), (&2.into(), &1.into()), "an entry keeps its lines");
}

/// The events of a stream that reads the error log from its beginning on, without the header.
#[track_caller]
fn streamed(dir: &Path, filter: &str) -> Vec<Value> {
    let log = dir.join("error.log");
    let out = wspulse()
        .args([
            "stream",
            "--nginx-conf",
            "nginx.conf",
            "--no-exec",
            "--error-log",
            "-",
            "--tz",
            "UTC",
            "--filter",
            filter,
        ])
        .current_dir(dir)
        .stdin(fs::File::open(log).expect("the log"))
        .output()
        .expect("the binary starts");
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let text = String::from_utf8(out.stdout).expect("text");
    let mut lines = text.lines().map(|l| serde_json::from_str::<Value>(l).expect("JSON"));
    assert_eq!(lines.next().expect("a header")["schema"], "wspulse.events/1");
    lines.collect()
}

fn messages(events: &[Value]) -> Vec<String> {
    let entries = events.iter().flat_map(|e| e["data"]["entries"].as_array().cloned().unwrap_or_default());
    entries.filter_map(|e| e["message"].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_stream_is_narrowed_to_the_events_and_entries_that_pass() {
    let dir = folder();
    let errors = streamed(dir.path(), "kind:errors");
    assert!(!errors.is_empty() && errors.iter().all(|e| e["event"] == "errors"), "{errors:?}");
    assert_eq!(messages(&errors).len(), 4);
    let refused = streamed(dir.path(), "category:upstream-connect client:10.0.0.0/8");
    assert_eq!(messages(&refused), ["connect() failed"]);
    assert_eq!(refused.len(), 1, "nothing but the batch with it: {refused:?}");
    assert_eq!((&refused[0]["data"]["lines"], &refused[0]["data"]["continuations"]), (&1.into(), &0.into()));
    let rest = streamed(dir.path(), "!kind:errors");
    assert!(rest.iter().any(|e| e["event"] == "sense") && rest.iter().all(|e| e["event"] != "errors"), "{rest:?}");
}

#[test]
fn a_wrong_filter_is_shown_with_a_caret_at_its_place() {
    let dir = folder();
    for command in [&["logs", "error.log"][..], &["stream", "--for", "1ms"], &["sockets"]] {
        let out = run(dir.path(), &[command, &["--filter", "refused cleint:10.1"]].concat());
        assert_eq!(out.status.code(), Some(2), "{command:?}");
        let said = stderr(&out);
        let lines: Vec<&str> = said.lines().collect();
        let [first, typed, caret] = lines[..] else { panic!("{said}") };
        assert!(first.starts_with("wspulse: --filter: there is no key 'cleint'; did you mean 'client'?"), "{said}");
        assert_eq!((typed, caret), ("  refused cleint:10.1", "          ^"), "{said}");
        assert!(out.stdout.is_empty());
    }
    let long = format!("{} größe:\u{1b}[2J\n idle>", "x ".repeat(200));
    let said = stderr(&run(dir.path(), &["sockets", "--filter", &long]));
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() == 3 && !said.contains('\u{1b}'), "{said:?}");
    assert!(lines[2].ends_with('^') && lines[1].len() < 140, "{said}");
}

/// The page has a table of the keys of every face.
#[test]
fn every_key_stands_in_the_documentation() {
    use wspulse::report::{entries, events, sockets};
    use wspulse::ui::{filter, pane::Pane};
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/filter.md");
    let page = fs::read_to_string(page).expect("the page");
    let row = |face: &str| {
        let found = page.lines().find(|l| l.starts_with('|') && l.split('|').nth(1).is_some_and(|c| c.contains(face)));
        found.unwrap_or_else(|| panic!("no row for {face}")).to_owned()
    };
    let tables = [
        ("Handshakes", filter::keys(Pane::Handshakes)),
        ("Connections", filter::keys(Pane::Connections)),
        ("Errors", filter::keys(Pane::Errors)),
        ("Findings", filter::keys(Pane::Findings)),
        ("Timeline", filter::keys(Pane::Timeline)),
        ("wspulse sockets", sockets::KEYS.to_vec()),
        ("wspulse logs", entries::LOG_KEYS.to_vec()),
        ("wspulse stream", events::EVENT_KEYS.to_vec()),
    ];
    let own = |face: &str| {
        let row = row(face);
        let all: Vec<String> = row.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        all
    };
    for (face, keys) in tables {
        let mut told = own(face);
        // A face may have those of another and more.
        let row = row(face);
        for other in ["Errors", "wspulse logs"] {
            if row.contains(&format!("those of {other}")) {
                told.extend(own(other));
            }
        }
        if face == "wspulse stream" {
            told.extend(own("Errors"));
        }
        for key in &keys {
            assert!(told.iter().any(|t| t == key.name), "{face}: {} is not told", key.name);
        }
        for name in told.iter().filter(|t| !t.starts_with("wspulse ")) {
            assert!(keys.iter().any(|k| k.name == name), "{face} has no key {name}");
        }
        assert!(!keys.is_empty(), "{face}");
    }
}
