//! `--plain`: sentences instead of a screen, one for each change; and `--redact` on everything that leaves the program.

mod support;

use std::collections::HashSet;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{lines, run, scripted, wait_line, wspulse};
use wspulse::diagnose::diagnose;
use wspulse::event::log::{Category, ErrorBatch, ErrorEntry, Level, ReadFigures};
use wspulse::event::probe::{Answer, ClosedBy, Failure, FailureKind, Phase, ProbeEvent, Route, Step, TargetId};
use wspulse::event::{Event, Sense, SourceId, SourceKind, Stamped};
use wspulse::model::Model;
use wspulse::report::Teller;
use wspulse::report::guide::Program;
use wspulse::run::stream;
use wspulse::time::Timestamp;

/// The time at the beginning of a line.
const CLOCK: usize = "14:02:31 ".len();

fn recording(name: &str) -> Vec<Stamped> {
    let path = format!("{}/tests/data/recordings/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    stream::read(&std::fs::read_to_string(path).expect("part of the project")).expect("a recording").1
}

/// A look that opens after two seconds and then speaks twice a second, as the program does.
struct Look {
    model: Model,
    teller: Teller,
    opened: bool,
    spoke: Timestamp,
    lines: Vec<String>,
}

impl Look {
    fn new() -> Self {
        let teller = Teller::new(Program::default(), false);
        Self { model: Model::new("web1"), teller, opened: false, spoke: Timestamp::default(), lines: Vec::new() }
    }

    fn see(&mut self, event: &Stamped) {
        self.model.apply(event);
        self.teller.hear(event);
        let began = self.model.since.expect("an event");
        if !self.opened && self.model.now.since(began) >= Duration::from_secs(2) {
            self.opened = true;
            self.lines.extend(self.teller.opening(&self.model, &diagnose(&self.model), "0.1.0"));
            self.spoke = self.model.now;
        } else if self.opened && self.model.now.since(self.spoke) >= Duration::from_millis(500) {
            self.lines.extend(self.teller.changes(&self.model, &diagnose(&self.model)));
            self.spoke = self.model.now;
        }
    }

    /// Time passes, and nothing happens.
    fn wait(&mut self, seconds: i64) {
        for _ in 0..seconds {
            let at = self.model.now.max(at(0)).plus(Duration::from_secs(1));
            self.see(&stamped(at, SourceKind::Clock, Event::Tick));
        }
    }

    /// The sentences of all lines so far, which then are forgotten.
    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines).iter().map(|l| l[CLOCK..].to_owned()).collect()
    }
}

fn at(s: i64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + s)
}

fn stamped(at: Timestamp, kind: SourceKind, event: Event) -> Stamped {
    Stamped { at, from: SourceId::new(&Arc::from("web1"), kind), event }
}

fn step(look: &Look, step: Step) -> Stamped {
    let url = Arc::from("ws://127.0.0.1:18080/ws");
    let target = TargetId { endpoint: Arc::clone(&url), route: Route::Proxy, url, cadence: None };
    stamped(look.model.now, SourceKind::Probe, Event::Probe(Box::new(ProbeEvent { target, step })))
}

fn upgraded() -> Step {
    Step::Upgraded { took: Duration::from_millis(12), request: String::new(), answer: Answer::default() }
}

fn refused() -> Step {
    let (phase, kind) = (Phase::Connect, FailureKind::ConnectionRefused);
    let failure = Failure { phase, kind, said: "127.0.0.1:18080: connection refused".into() };
    Step::Refused { failure, took: Duration::ZERO, request: String::new(), answer: None, tls: None }
}

fn status(status: u16) -> Step {
    let (phase, kind) = (Phase::Upgrade, FailureKind::HttpStatus);
    let failure = Failure { phase, kind, said: format!("the server answered {status} instead of 101") };
    let answer = Some(Answer { status, ..Answer::default() });
    Step::Refused { failure, took: Duration::ZERO, request: String::new(), answer, tls: None }
}

fn closed() -> Step {
    let (held, idle) = (Duration::from_secs(60), Duration::from_secs(60));
    Step::Closed { by: ClosedBy::Fin, code: None, reason: String::new(), held, idle }
}

fn errors(look: &Look, n: usize, history: bool) -> Stamped {
    let entry = ErrorEntry {
        at: look.model.now,
        level: Level::Error,
        category: Category::UpstreamConnect,
        pid: 7,
        connection: None,
        message: "connect() failed".into(),
        errno: Some(111),
        ssl: None,
        action: Some("connecting to upstream".into()),
        client: Some("203.0.113.9".into()),
        server: None,
        request: None,
        subrequest: None,
        upstream: Some("http://10.0.0.7:8080/ws".into()),
        host: None,
        raw: "the line".into(),
    };
    let read = ReadFigures { history, ..ReadFigures::default() };
    stamped(
        entry.at,
        SourceKind::ErrorLog,
        Event::Errors(ErrorBatch { entries: vec![entry; n], read, ..ErrorBatch::default() }),
    )
}

/// Nothing in it needs an eye, and it is one sentence or several.
fn assert_sentence(line: &str) {
    let clock: Vec<&str> = line.get(..CLOCK - 1).expect("a time").split(':').collect();
    assert!(clock.len() == 3 && clock.iter().all(|n| n.len() == 2 && n.parse::<u8>().is_ok()), "no time: {line}");
    assert!(!line.chars().any(char::is_control), "{line:?}");
    assert!(!line.chars().any(|c| "●▲✖✔◐○·→…│─━▎█≥×−".contains(c)), "a sign: {line}");
}

#[test]
fn the_recorded_demo_is_told_in_sentences() {
    let mut look = Look::new();
    for event in recording("demo") {
        look.see(&event);
    }
    look.lines.iter().for_each(|l| assert_sentence(l));
    let mut told = look.told();
    let diagnosis = diagnose(&look.model);
    told.push(look.teller.closing(&look.model, &diagnosis)[CLOCK..].to_owned());
    // Dates and times are those of this machine's zone.
    let told = told.join("\n").replace(&look.model.now.nginx_error_form()[..10], "[date]");
    let told = regex::Regex::new(r"since \d\d:\d\d:\d\d").expect("a pattern").replace_all(&told, "since [time]");
    insta::assert_snapshot!("plain-demo", told);
}

#[test]
fn where_nothing_changes_nothing_is_said() {
    let mut look = Look::new();
    for event in recording("diag-healthy") {
        look.see(&event);
    }
    look.wait(30);
    look.told();
    look.wait(3_600);
    assert_eq!(look.told(), Vec::<String>::new());
}

#[test]
fn what_stood_in_the_logs_before_is_no_news() {
    let mut look = Look::new();
    look.wait(4);
    look.told();
    let old = errors(&look, 300, true);
    look.see(&old);
    look.wait(100);
    let lines: Vec<String> = look.told().into_iter().filter(|l| l.contains("error-log line")).collect();
    assert_eq!(lines, Vec::<String>::new());
}

#[test]
fn a_flood_of_errors_is_summed_and_every_line_of_it_counted() {
    let mut look = Look::new();
    look.wait(4);
    look.told();
    for _ in 0..300 {
        let flood = errors(&look, 500, false);
        look.see(&flood);
        look.wait(1);
    }
    look.wait(120);
    let lines: Vec<String> = look.told().into_iter().filter(|l| l.contains("new error-log line")).collect();
    assert!((2..=12).contains(&lines.len()), "{lines:#?}");
    let counted: u64 = lines
        .iter()
        .map(|l| l.split(' ').next().expect("a number").replace(',', "").parse::<u64>().expect("a number"))
        .sum();
    assert_eq!(counted, 150_000);
    let words = "of category upstream-connect, level error, the newest: connect() failed (111) while connecting to upstream, \
                 backend 10.0.0.7:8080.";
    assert!(lines.iter().all(|l| l.ends_with(words)), "{lines:#?}");
}

#[test]
fn an_endpoint_is_told_when_it_changes_and_not_when_it_fails_again() {
    let mut look = Look::new();
    look.wait(4);
    look.told();
    for next in [upgraded(), closed(), refused(), refused(), status(502), status(502), status(503), upgraded()] {
        let event = step(&look, next);
        look.see(&event);
        look.wait(1);
    }
    let told: Vec<String> = look.told().into_iter().filter(|l| l.starts_with("Endpoint")).collect();
    let endpoint = "Endpoint ws://127.0.0.1:18080/ws";
    assert_eq!(
        told,
        [
            format!("{endpoint} is open: answered 101 in 12 milliseconds."),
            format!("{endpoint} closed after 1 minute: the connection was ended without a close frame."),
            format!("{endpoint} failed: 127.0.0.1:18080: connection refused."),
            format!("{endpoint} failed: the server answered 502 instead of 101."),
            format!("{endpoint} failed: the server answered 503 instead of 101."),
            format!("{endpoint} is open: answered 101 in 12 milliseconds."),
        ]
    );
}

#[test]
fn an_endpoint_that_flaps_fills_no_screen() {
    let mut look = Look::new();
    look.wait(4);
    look.told();
    for _ in 0..600 {
        for next in [upgraded(), closed()] {
            let event = step(&look, next);
            look.see(&event);
        }
        look.wait(1);
    }
    let told: Vec<String> = look.told().into_iter().filter(|l| l.starts_with("Endpoint")).collect();
    assert!(told.len() <= 40, "{} lines", told.len());
    assert!(told.iter().any(|l| l.contains("changes of it before that were not told")), "{told:#?}");
}

#[test]
fn a_finding_comes_and_goes_and_the_verdict_with_it() {
    let mut look = Look::new();
    for event in recording("diag-refused") {
        look.see(&event);
    }
    look.wait(3);
    assert!(look.told().iter().any(|l| l.starts_with("Critical finding backend-refused")));
    for target in look.model.probes.by_target.keys().cloned().collect::<Vec<_>>() {
        let event = Event::Probe(Box::new(ProbeEvent { target, step: upgraded() }));
        let event = stamped(look.model.now, SourceKind::Probe, event);
        look.see(&event);
    }
    look.wait(10);
    let told = look.told();
    assert!(
        told.iter().any(|l| l.starts_with("The critical finding backend-refused") && l.ends_with("is over.")),
        "{told:#?}"
    );
    let verdicts: Vec<&String> = told.iter().filter(|l| l.starts_with("The verdict")).collect();
    assert!(verdicts.len() == 1 && verdicts[0].contains("it was broken"), "{told:#?}");
}

#[test]
fn a_source_that_goes_blind_and_sees_again_is_told_with_its_remedy() {
    let mut look = Look::new();
    look.wait(4);
    look.told();
    for sense in [Sense::seen("following /l/e.log"), Sense::blind("/l/e.log: permission denied", "run as root")] {
        let event = stamped(look.model.now, SourceKind::ErrorLog, Event::Sense(sense));
        look.see(&event);
        look.wait(2);
    }
    let told = look.told();
    assert!(told.contains(&"The error log is seen now: following /l/e.log.".to_owned()), "{told:#?}");
    let blind = "The error log is not seen now: /l/e.log: permission denied. What to do: run as root.";
    assert!(told.iter().any(|l| l == blind), "{told:#?}");
}

#[test]
fn the_demo_speaks_in_lines_that_begin_with_the_time() {
    let mut demo = wspulse();
    demo.args(["demo", "--plain", "--for", "5m"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = demo.spawn().expect("the binary starts");
    let told = lines(child.stdout.take().expect("piped"));
    let (mut said, mut words) = (
        Vec::new(),
        HashSet::from(["looks at host", "is open", "426", "tunnels opened", "The verdict is", "backend-refused"]),
    );
    while !words.is_empty() {
        let line = wait_line(&told, &format!("{words:?} after {said:#?}"), |_| true);
        words.retain(|word| !line.contains(word));
        said.push(line);
    }
    kill_process(Pid::from_child(&child), Signal::INT).expect("ours");
    said.extend(told.iter());
    let out = child.wait_with_output().expect("ended");
    assert_eq!(out.status.code(), Some(130), "{said:#?}");
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    for line in &said {
        assert_sentence(line);
    }
    let different: HashSet<&String> = said.iter().collect();
    assert_eq!(different.len(), said.len(), "a line was repeated:\n{said:#?}");
    assert!(said.last().is_some_and(|l| l[CLOCK..].starts_with("The look ends after")), "{said:#?}");
    let colored = run(&["demo", "--plain", "--for", "1s", "--color", "always"]);
    assert!(String::from_utf8_lossy(&colored.stdout).contains("\x1b["), "colour was asked for");
}

/// Opens and closes each tunnel as told.
fn endpoint(runtime: &tokio::runtime::Runtime, pongs: bool) -> String {
    let at = runtime.block_on(scripted::server(move |mut peer| async move {
        peer.upgrade().await;
        if pongs {
            peer.echo_pings().await;
        } else {
            let mut close = 1011_u16.to_be_bytes().to_vec();
            close.extend_from_slice(b"x\x1b[2J");
            peer.say(scripted::frame(8, &close)).await;
        }
    }));
    format!("ws://{at}/ws")
}

fn plain(args: &[&str]) -> Child {
    wspulse()
        .arg("--plain")
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

#[test]
fn signals_end_it_with_one_last_line() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let url = endpoint(&runtime, true);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut child = plain(&[&url]);
        let told = lines(child.stdout.take().expect("piped"));
        wait_line(&told, "the endpoint", |l| l.contains(&format!("{url} is open")));
        kill_process(Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid"), signal).expect("ours");
        let last = told.iter().inspect(|l| assert_sentence(l)).last().expect("a last line");
        assert!(last.contains("The look ends after"), "{last}");
        assert_eq!(child.wait().expect("ended").code(), Some(code));
    }
}

#[test]
fn an_endpoint_that_closes_is_told_with_its_words_made_harmless() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let url = endpoint(&runtime, false);
    let mut child = plain(&[&url]);
    let told = lines(child.stdout.take().expect("piped"));
    let closed = wait_line(&told, "the end", |l| l.contains("with code 1011"));
    assert_sentence(&closed);
    assert!(closed.contains("the server sent a close frame"), "{closed}");
    child.kill().expect("ours");
    child.wait().expect("ended");
}

#[test]
fn a_reader_that_reads_nothing_more_holds_up_no_signal() {
    let mut stream = wspulse();
    // More than a pipe can hold, from a log that never ends.
    stream.args(["stream", "--error-log", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = stream.spawn().expect("the binary starts");
    let (mut log, unread) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let line =
        "2026/11/21 14:02:31 [error] 7#7: *1 connect() failed (111: Connection refused) while connecting to upstream\n";
    let writer = std::thread::spawn(move || while log.write_all(line.as_bytes()).is_ok() {});
    let mut before = 0;
    support::eventually("a pipe that is full", || {
        let held = ioctl_fionread(&unread).expect("its bytes");
        (std::mem::replace(&mut before, held) == held && held > 32 << 10).then_some(())
    });
    kill_process(Pid::from_child(&child), Signal::TERM).expect("ours");
    let code = support::eventually("the end", || child.try_wait().expect("our child"));
    assert_eq!(code.code(), Some(143));
    writer.join().expect("nobody reads it any more");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly_even_when_nothing_happens() {
    let began = Instant::now();
    let script = format!("'{}' --plain --probe none | head -n 1", env!("CARGO_BIN_EXE_wspulse"));
    let out = Command::new("sh").env("XDG_CONFIG_HOME", "/nowhere").args(["-c", &script]).output().expect("sh");
    assert_eq!(String::from_utf8_lossy(&out.stdout).lines().count(), 1);
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(began.elapsed() < support::PATIENCE);
}

/// Addresses that must not be read anywhere, and what stays of them.
const SECRET: [&str; 3] = ["198.51.100.23", "203.0.113.77", "2001:db8::7f"];

fn log() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let now = wspulse::time::Clock.now().nginx_error_form();
    for (i, client) in SECRET.iter().enumerate() {
        writeln!(
            file,
            "{now} [error] 7#7: *{i} connect() failed (111: Connection refused) while connecting to upstream, client: {client}, server: _, \
             request: \"GET /ws HTTP/1.1\", upstream: \"http://203.0.113.77:8080/ws\", host: \"h\""
        )
        .expect("written");
    }
    file
}

#[track_caller]
fn assert_hidden(text: &str) {
    for address in SECRET {
        assert!(!text.contains(address), "{address} is shown:\n{text}");
    }
}

fn is_valid(schema: &str, instance: &Value) {
    let path = format!("{}/assets/schema/{schema}.schema.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("a schema")).expect("JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let wrong: Vec<String> = validator.iter_errors(instance).map(|e| format!("{e} at {}", e.instance_path)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn redact_hides_addresses_on_every_face_and_json_stays_valid() {
    let log = log();
    let path = log.path().to_str().expect("plain ASCII");
    for format in ["text", "json", "markdown"] {
        let told = |args: &[&str]| {
            let out = run(&[args, &["--redact", "--format", format]].concat());
            String::from_utf8(out.stdout).expect("text")
        };
        let check = ["check", "ws://203.0.113.77:8080/ws", "--no-probe", "--error-log", path, "--timeout", "3s"];
        for (command, schema) in [(told(&["logs", path]), "logs-1"), (told(&check), "report-1")] {
            assert_hidden(&command);
            assert!(command.contains("203.0."), "the network stays:\n{command}");
            if format == "json" {
                is_valid(schema, &serde_json::from_str(&command).expect("JSON"));
            }
        }
    }
    // Without it they are shown, or the test would prove nothing.
    assert!(String::from_utf8_lossy(&run(&["logs", path]).stdout).contains("203.0.113.77"));
}

#[test]
fn a_redacted_recording_can_still_be_read() {
    let log = log();
    let path = log.path().to_str().expect("plain ASCII");
    let folder = tempfile::tempdir().expect("a folder");
    let record = folder.path().join("r.jsonl");
    let own = folder.path().join("own.log");
    let (r, o) = (record.to_str().expect("plain ASCII"), own.to_str().expect("plain ASCII"));
    // A log that is piped in ends the stream with its own end.
    let mut command = wspulse();
    command.args(["stream", "--redact", "--error-log", "-", "--record", r, "--log-file", o, "-vv"]);
    let out = command.stdin(std::fs::File::open(path).expect("the log")).output().expect("the binary runs");
    let said = String::from_utf8(out.stdout).expect("text");
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    for text in [said, std::fs::read_to_string(&record).expect("recorded")] {
        assert_hidden(&text);
        let (_, events) = stream::read(&text).expect("a recording");
        let is_error = |e: &&Stamped| matches!(&e.event, Event::Errors(b) if !b.entries.is_empty());
        let Some(Event::Errors(batch)) = events.iter().find(is_error).map(|e| &e.event) else {
            panic!("no errors: {text}")
        };
        assert_eq!(batch.entries[0].client.as_deref(), Some("198.51.0.0"));
    }
    assert_hidden(&std::fs::read_to_string(&own).expect("the own log"));
}

#[test]
fn redact_stands_in_a_file_or_the_environment_and_holds_for_plain_lines() {
    let log = log();
    let path = log.path().to_str().expect("plain ASCII").to_owned();
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("c.toml");
    std::fs::write(&config, "[output]\nredact = true\nplain = true\n").expect("written");
    let config = config.to_str().expect("plain ASCII").to_owned();
    for (env, args) in [
        (Some(("WSPULSE_REDACT", "true")), vec!["--plain", "--error-log", &path]),
        (None, vec!["--config", &config, "--error-log", &path]),
    ] {
        let mut command = wspulse();
        command.args(&args).envs(env).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let told = lines(child.stdout.take().expect("piped"));
        let mut more = log.as_file().try_clone().expect("the same file");
        wait_line(&told, "the beginning", |l| l.contains("The verdict"));
        let now = wspulse::time::Clock.now().nginx_error_form();
        writeln!(more, "{now} [error] 7#7: *9 connect() failed (111: Connection refused) while connecting to upstream, client: 198.51.100.23, server: _, request: \"GET /ws HTTP/1.1\", upstream: \"http://203.0.113.77:8080/ws\", host: \"h\"").expect("written");
        let line = wait_line(&told, "the error", |l| l.contains("new error-log line"));
        assert!(line.contains("backend 203.0.xxx.xx:8080"), "{line}");
        assert_hidden(&line);
        child.kill().expect("ours");
        child.wait().expect("ended");
    }
}
