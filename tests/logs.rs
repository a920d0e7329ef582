//! `wspulse logs` as scripts and people meet it: files in, counts out, and an exit code that says whether all could be read.

mod support;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::terminal::Terminal;
use support::wspulse;

/// The log_format of the corpus.
const WS: &str = r#"$remote_addr [$time_iso8601] "$request" st=$status us="$upstream_status" rt=$request_time uct="$upstream_connect_time" uht="$upstream_header_time" urt="$upstream_response_time" bs=$bytes_sent bbs=$body_bytes_sent rl=$request_length ubs="$upstream_bytes_sent" ubr="$upstream_bytes_received" ua="$upstream_addr" up="$http_upgrade" co="$http_connection" sup="$sent_http_upgrade" comp="$request_completion" proto=$server_protocol c=$connection cr=$connection_requests ssl="$ssl_protocol""#;

const REFUSED: &str = "up_refused.error.log";
const IDLE: &str = "tn_idle_timeout.error.log";

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/logs").join(name)
}

fn text_of(name: &str) -> String {
    fs::read_to_string(sample(name)).expect("a sample of the project")
}

fn lines_of(name: &str) -> u64 {
    text_of(name).lines().count() as u64
}

/// `wspulse logs` in a folder of its own, so that no configuration of this machine is at hand.
fn logs(dir: &Path) -> Command {
    let mut c = wspulse();
    c.arg("logs").current_dir(dir).stdin(Stdio::null());
    c
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn stdout(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[track_caller]
fn json(out: &Output) -> Value {
    let value: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", stderr(out)));
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/schema/logs-1.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(schema).expect("the schema")).expect("JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let wrong: Vec<String> = validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let n = |key: &str| value[key].as_u64().expect("a count");
    assert_eq!(n("lines"), n("entries") + n("continuations") + n("unparsed"));
    value
}

/// Runs it with `--format json` and these arguments; gives the code and the checked JSON.
#[track_caller]
fn counted(dir: &Path, args: &[&str]) -> (Option<i32>, Value, String) {
    let out = logs(dir).args(["--format", "json"]).args(args).output().expect("the binary starts");
    (out.status.code(), json(&out), stderr(&out))
}

fn path(name: &str) -> String {
    sample(name).to_string_lossy().into_owned()
}

#[test]
fn the_whole_corpus_is_read_without_a_line_left_over() {
    let dir = folder();
    let (code, all, said) = counted(dir.path(), &[&path("*.log"), "--log-format", WS]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert_eq!(all["unparsed"], 0);
    let lines: usize = fs::read_dir(sample(""))
        .expect("samples")
        .map(|f| fs::read(f.expect("a file").path()).expect("readable").split(|b| *b == b'\n').count() - 1)
        .sum();
    assert_eq!(all["lines"], lines);
    let levels: u64 = all["by_level"].as_object().expect("levels").values().filter_map(Value::as_u64).sum();
    let categories: u64 = all["by_category"].as_object().expect("categories").values().filter_map(Value::as_u64).sum();
    let statuses: u64 = all["by_status"].as_object().expect("statuses").values().filter_map(Value::as_u64).sum();
    assert_eq!(levels, categories);
    assert_eq!(all["entries"], levels + statuses);
    assert_eq!(all["sessions"]["count"], all["by_status"]["101"]);
    assert_eq!(all["sessions"]["lifetimes"]["known"], all["sessions"]["count"]);
    assert!(all["sessions"]["lifetimes"]["max"].as_f64().is_some_and(|s| (2.0..2.1).contains(&s)));
    assert_eq!(all["top"]["clients"][0]["name"], "127.0.0.1");
}

#[test]
fn packed_and_rotated_logs_and_stdin_count_like_plain_ones() {
    let dir = folder();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(text_of(REFUSED).as_bytes()).expect("packs");
    fs::write(dir.path().join("error.log.1.gz"), packed.finish().expect("packs")).expect("written");
    fs::write(dir.path().join("error.log"), text_of(IDLE)).expect("written");
    let (code, plain, _) = counted(dir.path(), &[&path(REFUSED), &path(IDLE)]);
    assert_eq!(code, Some(0));
    assert_eq!(plain["lines"], lines_of(REFUSED) + lines_of(IDLE));

    let (code, rotated, _) = counted(dir.path(), &["error.log*"]);
    assert_eq!(code, Some(0));
    let files: Vec<&str> =
        rotated["files"].as_array().expect("files").iter().filter_map(|f| f["path"].as_str()).collect();
    assert_eq!(files, ["error.log.1.gz", "error.log"], "the oldest first");

    let mut child = logs(dir.path())
        .args(["--format", "json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all((text_of(REFUSED) + &text_of(IDLE)).as_bytes()).expect("written");
    drop(stdin);
    let piped = child.wait_with_output().expect("it ends");
    assert_eq!(piped.status.code(), Some(0));
    let piped = json(&piped);
    for key in ["lines", "entries", "by_level", "by_category", "top", "rate", "from", "to", "bytes"] {
        assert_eq!(rotated[key], plain[key], "{key}");
        assert_eq!(piped[key], plain[key], "{key}");
    }
}

#[cfg(feature = "zstd")]
#[test]
fn zstd_counts_like_plain_text_and_is_known_by_its_bytes() {
    let dir = folder();
    let text = text_of(REFUSED) + &text_of(IDLE);
    let (first, rest) = text.split_at(text.len() / 3);
    // Two frames behind each other are one file (RFC 8878 section 3), as appending to a packed log makes them.
    let frames = [first, rest].map(|part| zstd::encode_all(part.as_bytes(), 3).expect("packs"));
    fs::write(dir.path().join("error.log.2.zst"), frames.concat()).expect("written");
    fs::write(dir.path().join("no-such-name.log"), &frames[0]).expect("written");
    let (code, plain, _) = counted(dir.path(), &[&path(REFUSED), &path(IDLE)]);
    assert_eq!(code, Some(0));
    let (code, packed, _) = counted(dir.path(), &["error.log.2.zst"]);
    assert_eq!(code, Some(0));
    for figure in ["lines", "entries", "by_category", "by_level", "from", "to"] {
        assert_eq!(packed[figure], plain[figure], "{figure}");
    }
    let (code, renamed, _) = counted(dir.path(), &["no-such-name.log"]);
    assert_eq!((code, renamed["unparsed"].as_u64()), (Some(0), Some(0)));
    fs::write(dir.path().join("half.zst"), &frames[1][..frames[1].len() * 2 / 3]).expect("written");
    let (code, _, said) = counted(dir.path(), &["half.zst"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("half.zst") && said.contains("packed data"), "{said}");
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_counts() {
    let dir = folder();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    packed.write_all(text_of(IDLE).as_bytes()).expect("packs");
    let packed = packed.finish().expect("packs");
    fs::write(dir.path().join("half.gz"), &packed[..packed.len() * 2 / 3]).expect("written");
    fs::create_dir(dir.path().join("folder")).expect("made");
    for (bad, said) in [
        ("gone.log", "no such file"),
        ("folder", "is a directory"),
        ("nothing*.log", "no such file"),
        ("half.gz", "in the middle of its packed data"),
    ] {
        let (code, all, errors) = counted(dir.path(), &[bad, &path(REFUSED)]);
        assert_eq!(code, Some(2), "{bad}");
        let complaints: Vec<&str> = errors.lines().collect();
        assert!(matches!(complaints[..], [one] if one.contains(bad) && one.contains(said)), "{bad}: {errors}");
        assert!(all["lines"].as_u64() >= Some(lines_of(REFUSED)), "{bad}");
        assert_eq!(all["by_category"]["upstream-connect"], 1, "{bad}");
        let failed = all["files"].as_array().expect("files").iter().filter(|f| !f["error"].is_null()).count();
        assert_eq!(failed, 1, "{bad}");
    }
    let (_, half, _) = counted(dir.path(), &["half.gz"]);
    assert!((1..=lines_of(IDLE)).contains(&half["lines"].as_u64().expect("a count")), "what was readable counts");
}

#[test]
fn what_is_empty_or_no_log_is_said_and_is_no_failure() {
    let dir = folder();
    fs::write(dir.path().join("empty.log"), "").expect("written");
    fs::write(dir.path().join("binary"), [0x7f, b'E', b'L', b'F', 0, 1, 2, b'\n', 0xff, b'\n']).expect("written");
    for (odd, said, lines) in [("empty.log", "empty", 0), ("/dev/null", "empty", 0), ("binary", "--log-format", 2)] {
        let (code, all, errors) = counted(dir.path(), &[odd]);
        assert_eq!(code, Some(0), "{odd}");
        assert!(errors.contains(odd) && errors.contains(said) && errors.lines().count() == 1, "{errors}");
        assert_eq!(all["unparsed"], lines);
        assert_eq!((&all["from"], &all["bytes_sent"]), (&Value::Null, &Value::Null), "unknown is not 0");
        assert_eq!(all["sessions"]["lifetimes"]["p50"], Value::Null);
    }
}

#[test]
fn entries_are_chosen_by_category_words_and_time() {
    let dir = folder();
    let both = [path(REFUSED), path(IDLE)];
    let only = |args: &[&str]| {
        let mut all: Vec<&str> = both.iter().map(String::as_str).collect();
        all.extend(args);
        let (code, json, _) = counted(dir.path(), &all);
        assert_eq!(code, Some(0), "{args:?}");
        json
    };
    let all = only(&[]);
    let message = &all["top"]["messages"][0];
    assert!(message["name"].as_str().is_some_and(|m| m.contains("while")), "a fault before routine: {message}");
    let timeouts = only(&["--category", "upstream-timeout"]);
    assert_eq!(timeouts["by_category"], serde_json::json!({"upstream-timeout": 1}));
    let two = only(&["--category", "upstream-timeout,upstream-connect"]);
    assert_eq!(two["entries"], 2);
    let grepped = only(&["--grep", r"Connection (refused|reset)"]);
    assert_eq!(grepped["by_category"], serde_json::json!({"upstream-connect": 1}));
    // The samples are of 01:56 and of 02:30 UTC.
    let late = only(&["--since", "2026-11-21T02:00:00Z"]);
    assert_eq!(late["lines"], lines_of(IDLE));
    assert_eq!(only(&["--since", "2026/11/21 02:00:00", "--tz", "UTC"])["lines"], late["lines"]);
    assert_eq!(only(&["--since", "21/Nov/2026:03:00:00 +0100"])["lines"], late["lines"]);
    assert_eq!(only(&["--until", "2026-11-21 02:00", "--tz", "UTC"])["lines"], lines_of(REFUSED));
    assert_eq!(only(&["--until", "2026-11-21"])["lines"], all["lines"], "a day ends at its end");
    assert_eq!(only(&["--until", "52000w"])["lines"], 0, "a span goes back from now");
    assert_eq!(only(&["--since", "52000w"])["lines"], all["lines"]);
    let none = logs(dir.path()).args([&both[0], "--since", "2030-01-01"]).output().expect("the binary starts");
    assert!(stdout(&none).contains("no entry is in the time and passes the filters"), "{}", stdout(&none));
}

#[test]
fn the_output_of_a_container_is_both_logs_in_one() {
    let dir = folder();
    let start = "/docker-entrypoint.sh: Configuration complete; ready for start up\n";
    let opened = "10.0.0.9 - - [21/Nov/2026:01:56:40 +0000] \"GET /ws HTTP/1.1\" 101 42 \"-\" \"-\"\n";
    fs::write(dir.path().join("container"), text_of(REFUSED) + start + &opened.repeat(3)).expect("written");
    let (code, all, said) = counted(dir.path(), &["container"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert_eq!((&all["files"][0]["kind"], &all["files"][0]["format"]), (&"mixed".into(), &"combined".into()));
    assert_eq!((&all["entries"], &all["continuations"]), (&(lines_of(REFUSED) + 3).into(), &1.into()));
    assert_eq!((&all["sessions"]["count"], &all["by_status"]), (&3.into(), &serde_json::json!({"101": 3})));
    assert_eq!(all["by_category"]["upstream-connect"], 1);
    let blind = all["not_visible"].to_string();
    assert!(!blind.contains("log was read"), "{blind}");
}

#[test]
fn the_zone_moves_the_times_of_error_logs() {
    let dir = folder();
    let from = |zone: &str| counted(dir.path(), &[&path(REFUSED), "--tz", zone]).1["from"].clone();
    assert_eq!(from("UTC"), "2026-11-21T01:56:29.000000Z");
    assert_eq!(from("+02:00"), "2026-11-20T23:56:29.000000Z");
    assert_eq!(from("America/New_York"), "2026-11-21T06:56:29.000000Z");
    let text = logs(dir.path()).args([&path(REFUSED), "--tz", "+02:00"]).output().expect("the binary starts");
    assert!(stdout(&text).contains("2026-11-21 01:56:29"), "people see the clock of the log: {}", stdout(&text));
}

#[test]
fn a_format_is_given_as_text_by_name_or_by_the_configuration() {
    let dir = folder();
    let log = dir.path().join("ws.log");
    let line = "10.0.0.9 101 60.001 21/Nov/2026:14:02:31 +0000\n";
    fs::write(&log, line.repeat(20)).expect("written");
    let conf = dir.path().join("nginx.conf");
    let text = format!(
        "events {{}}\nhttp {{\n log_format brief '$remote_addr $status $request_time $time_local';\n access_log {} brief;\n \
         server {{ listen 80; location /ws {{ proxy_pass http://127.0.0.1:1; proxy_read_timeout 60s; }} }}\n}}\n",
        log.display()
    );
    fs::write(&conf, text).expect("written");
    let (conf, log) = (conf.to_string_lossy().into_owned(), log.to_string_lossy().into_owned());
    let brief = "$remote_addr $status $request_time $time_local";
    for args in [
        vec![log.as_str(), "--log-format", brief],
        vec![log.as_str(), "--nginx-conf", &conf, "--log-format", "brief"],
        vec![log.as_str(), "--nginx-conf", &conf],
    ] {
        let (code, all, errors) = counted(dir.path(), &args);
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{args:?}");
        assert_eq!(all["sessions"]["count"], 20);
        let spike = &all["sessions"]["lifetimes"]["spikes"][0];
        assert_eq!(spike["count"], 20);
        let matches = spike["matches"].as_str().expect("60 s is known");
        assert!(matches.contains("proxy_read_timeout"), "{matches}");
        assert_eq!(matches.contains("nginx.conf:5"), args.contains(&"--nginx-conf"), "{matches}");
    }
    let (code, unread, errors) = counted(dir.path(), &[&log]);
    assert_eq!((code, &unread["unparsed"]), (Some(0), &20.into()));
    assert!(errors.contains("--log-format"), "{errors}");
}

#[test]
fn the_logs_of_a_configuration_need_no_names() {
    let dir = folder();
    let conf = dir.path().join("nginx.conf");
    let text = format!(
        "error_log {} info;\nevents {{}}\nhttp {{ access_log off; server {{ listen 80; }} }}\n",
        sample(REFUSED).display()
    );
    fs::write(&conf, text).expect("written");
    let (code, all, _) = counted(dir.path(), &["--nginx-conf", &conf.to_string_lossy()]);
    assert_eq!(code, Some(0));
    assert_eq!(all["lines"], lines_of(REFUSED));
}

#[test]
fn what_cannot_be_meant_is_said_in_one_line() {
    let dir = folder();
    let log = path(REFUSED);
    for (args, said) in [
        (["--category", "upstream"], "upstream-connect"),
        (["--grep", "("], "--grep"),
        (["--since", "yesterday"], "2026-11-21T14:02:31Z"),
        (["--until", "21.11.2026"], "--until"),
        (["--tz", "Mars/Olympus"], "+02:00"),
        (["--log-format", "nosuch"], "--nginx-conf"),
        (["--log-format", "$remote_addr"], "$status"),
        (["--nginx-conf", "gone.conf"], "gone.conf"),
    ] {
        let out = logs(dir.path()).arg(&log).args(args).output().expect("the binary starts");
        assert_eq!(out.status.code(), Some(2), "{args:?}");
        assert!(out.stdout.is_empty(), "{args:?}");
        assert!(stderr(&out).contains(said), "{args:?}: {}", stderr(&out));
    }
    let order = ["--since", "2026-11-22", "--until", "2026-11-21"];
    let out = logs(dir.path()).arg(&log).args(order).output().expect("the binary starts");
    assert_eq!(out.status.code(), Some(2));
}

#[test]
fn the_text_fits_and_says_what_is_not_visible() {
    let dir = folder();
    let out = logs(dir.path()).args([&path("*.log"), "--log-format", WS]).output().expect("the binary starts");
    let page = stdout(&out);
    for line in page.lines() {
        assert!(wspulse::human::width(line) <= 80, "{line}");
        assert!(!line.contains('\x1b'), "{line}");
    }
    let some = [
        REFUSED,
        IDLE,
        "ok_101.access.log",
        "tn_idle_timeout.access.log",
        "li_conn.error.log",
        "cp_nofile_accept.error.log",
    ];
    let out = logs(dir.path()).args(some.map(path)).args(["--log-format", WS]).output().expect("the binary starts");
    insta::assert_snapshot!("logs-text", stdout(&out));
    let colored = logs(dir.path()).args([&path(REFUSED), "--color", "always"]).output().expect("the binary starts");
    assert!(stdout(&colored).contains("\x1b["));

    fs::write(
        dir.path().join("error.log"),
        "2026/11/21 14:02:31 [error] 7#7: *1 upstream prematurely closed connection\n",
    )
    .expect("written");
    let quiet = stdout(&logs(dir.path()).arg("error.log").output().expect("the binary starts"));
    assert!(quiet.contains("Nothing at level info") && quiet.contains("No access log"), "{quiet}");
    let chosen = logs(dir.path()).args(["error.log", "--grep", "closed"]).output().expect("the binary starts");
    assert!(!stdout(&chosen).contains("Nothing at level info"), "what was left out proves nothing");
}

#[test]
fn markdown_shows_hostile_names_and_obeys_none() {
    let dir = folder();
    let line = r#"10.0.0.9 - - [21/Nov/2026:14:02:31 +0000] "GET /`a|<b>\x1B[2J HTTP/1.1" 404 0 "-" "-""#;
    fs::write(dir.path().join("access.log"), format!("{line}\n")).expect("written");
    let out = logs(dir.path()).args(["access.log", "--format", "markdown"]).output().expect("the binary starts");
    let page = stdout(&out);
    assert!(page.starts_with("# Logs\n") && page.contains("| 404 | 1 |"), "{page}");
    assert!(page.contains(r"\`a\|\<b\>"), "{page}");
    assert!(!page.contains('\x1b'), "{page}");
}

#[test]
fn a_reader_that_went_away_is_a_quiet_end_and_ctrl_c_is_130() {
    let dir = folder();
    let mut child = logs(dir.path())
        .args([&path("*.log"), "--log-format", WS])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let out = child.wait_with_output().expect("it ends");
    assert_eq!((out.status.code(), stderr(&out).as_str()), (Some(0), ""));

    // Standard input stays open: it waits for more until it is interrupted, and says so far on the terminal.
    let mut command = wspulse();
    command.args(["logs", "-"]);
    let mut t = Terminal::start(command, 24, 80);
    t.until("the progress", |screen| screen.contains("reading: "));
    let pid = i32::try_from(t.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signalled");
    assert_eq!(t.ended().code(), Some(130));
}

#[test]
fn handshakes_of_a_debug_log_are_counted_and_the_last_are_shown() {
    let dir = folder();
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/debug/handshakes.log");
    let log = log.to_string_lossy().into_owned();
    let (code, all, _) = counted(dir.path(), &[&log]);
    assert_eq!(code, Some(0));
    let seen = &all["handshakes"];
    assert_eq!(seen["count"], 3);
    assert_eq!(seen["by_status"], serde_json::json!({"101": 1, "426": 1, "502": 1}));
    assert_eq!(seen["newest"][1]["upstream_request"]["line"], "GET /bare HTTP/1.0");
    let out = logs(dir.path()).args([&log, "--tz", "UTC"]).output().expect("the binary starts");
    let text = stdout(&out);
    let at = text.find(" Handshakes seen").expect("a section");
    assert_eq!(
        text[at..].lines().take(9).collect::<Vec<_>>().join("\n"),
        " Handshakes seen  in debug lines, the last of them\n   \
         3 attempts: 1 answered 101, 1 answered 426, 1 answered 502\n   \
         2026-11-21 05:13:27  502  GET /down?room=7&token=*** HTTP/1.1,\n                             \
         127.0.0.1:48794 to 127.0.0.1:9002\n   \
         2026-11-21 05:13:27  426  GET /bare HTTP/1.1, 127.0.0.1:48794 to\n                             \
         127.0.0.1:9001\n                           \
         ✖ nginx did not pass on Upgrade: websocket and\n                             \
         Connection: upgrade\n   \
         2026-11-21 05:13:27  101  GET /pool HTTP/1.1, 127.0.0.1:48798 to"
    );
    let out = logs(dir.path()).args([&log, "--format", "markdown"]).output().expect("the binary starts");
    assert!(stdout(&out).contains("## Handshakes seen\n\n3 attempts: "), "{}", stdout(&out));
    let (_, none, _) = counted(dir.path(), &[&path(REFUSED)]);
    assert_eq!(none["handshakes"], Value::Null, "without debug lines it is not known");
}

/// Lines of three loggers around two known messages, and one that merely looks alike.
const APP: &str = "2026-11-21T14:02:31Z INFO listening on 9001\n\
    2026-11-21T14:02:32Z ERROR GET /ws?token=s3cret Invalid Upgrade header\n\
    2026-11-21 16:02:33,123 +0200 ERROR websockets: Failed to open a WebSocket connection: missing Upgrade header.\n\
    {\"level\":\"error\",\"msg\":\"Invalid Upgrade header\"}\n\
    Invalid Upgrade headers are counted by test_invalid_upgrade\n";

#[test]
fn backend_logs_are_searched_for_known_messages_and_counted_apart() {
    let dir = folder();
    fs::write(dir.path().join("app.log"), APP).expect("written");
    fs::write(dir.path().join("error.log"), text_of(REFUSED)).expect("written");
    let (_, alone, _) = counted(dir.path(), &["error.log"]);
    assert_eq!(alone["backend"], Value::Null, "none was named");
    let (code, all, said) = counted(dir.path(), &["error.log", "--backend-log", "app.log"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    for key in ["lines", "entries", "by_level", "by_category", "top", "bytes", "from", "to"] {
        assert_eq!(all[key], alone[key], "{key}: nginx's figures are its own");
    }
    let b = &all["backend"];
    assert_eq!((&b["lines"], &b["recognised"]), (&5.into(), &3.into()));
    let [first, second] = b["messages"].as_array().expect("messages").as_slice() else { panic!("two: {b:#}") };
    assert_eq!((&first["library"], &first["count"], &first["fault"]), (&"ws".into(), &2.into(), &"upgrade".into()));
    assert_eq!(first["last"], "2026-11-21T14:02:32.000000Z", "a line without a time is not newer");
    assert_eq!(first["raw"], "2026-11-21T14:02:32Z ERROR GET /ws?token=*** Invalid Upgrade header");
    assert_eq!(second["last"], "2026-11-21T14:02:33.123000Z");
    assert_eq!(all["files"][1]["kind"], "backend");

    let out = logs(dir.path()).args(["error.log", "--backend-log", "app.log", "--tz", "UTC"]).output().expect("starts");
    let text = stdout(&out);
    assert!(text.contains("\n Backend  5 lines, 3 with a known message\n"), "{text}");
    assert!(
        text.contains("2  ws: Invalid Upgrade header\n               ✖ the backend got no 'Upgrade: websocket'"),
        "{text}"
    );
    for line in text.lines() {
        assert!(wspulse::human::width(line) <= 80, "{line}");
    }
    let out = logs(dir.path()).args(["error.log", "--backend-log", "app.log", "--format", "markdown"]).output();
    assert!(stdout(&out.expect("starts")).contains("| ws | Invalid Upgrade header | 2 | the backend got no"));
}

#[test]
fn backend_logs_alone_filtered_packed_and_missing() {
    let dir = folder();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(APP.as_bytes()).expect("packs");
    fs::write(dir.path().join("app.log.1.gz"), packed.finish().expect("packs")).expect("written");
    // A configuration without logs: nothing else is at hand.
    fs::write(dir.path().join("nginx.conf"), "error_log stderr; events {} http { access_log off; }").expect("written");
    let recognised = |args: &[&str]| {
        let args = [&["--nginx-conf", "nginx.conf", "--backend-log", "app.log*"], args].concat();
        let (code, all, said) = counted(dir.path(), &args);
        assert_eq!((code, said.as_str()), (Some(0), ""));
        all["backend"]["recognised"].as_u64()
    };
    assert_eq!(recognised(&[]), Some(3));
    assert_eq!(recognised(&["--since", "2026-11-21T14:02:33Z"]), Some(1));
    assert_eq!(recognised(&["--grep", "websockets"]), Some(1));
    assert_eq!(recognised(&["--category", "handshake"]), Some(0), "they have none");
    let (code, all, said) = counted(dir.path(), &["--backend-log", "gone.log", &path(REFUSED)]);
    assert_eq!(code, Some(2));
    assert!(said.contains("gone.log: no such file"), "{said}");
    assert_eq!(all["lines"], lines_of(REFUSED), "the rest counts");
}
