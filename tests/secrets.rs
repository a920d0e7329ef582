//! What a user sends secretly is shown on no face unless asked for: reports, streams, recordings, the screen, errors, our own log.

mod support;

use std::fs;
use std::path::Path;

use support::backend::{Backend, Script};
use support::terminal::Terminal;
use support::wspulse;
use tempfile::TempDir;

/// The secret parts of every credential below.
const SECRETS: [&str; 5] = ["s3cret", "czNjcmV0", "Zm9vOnMzY3JldA", "eyJhbGciOiJIUzI1NiJ9", "hunter2"];

/// Logs in which clients sent secrets.
struct World {
    backend: Backend,
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let error = "2026/11/21 02:00:00 [error] 7#7: *1 upstream timed out (110: Connection timed out) while reading response \
                     header from upstream, client: 192.0.2.9, server: a.test, request: \"GET /ws?room=7&token=hunter2 HTTP/1.1\", \
                     upstream: \"http://10.0.0.7:8080/ws?room=7&token=hunter2\", host: \"a.test\", referrer: \
                     \"https://a.test/?session=hunter2\"\n";
        let access = "192.0.2.9 - - [21/Nov/2026:02:00:00 +0000] \"GET /ws?room=7&token=hunter2 HTTP/1.1\" 101 7 \
                      \"https://a.test/?session=hunter2\" \"agent\"\n";
        fs::write(dir.path().join("nginx.conf"), "events {}\n").expect("written");
        fs::write(dir.path().join("error.log"), error).expect("written");
        fs::write(dir.path().join("access.log"), access).expect("written");
        Self { backend: Backend::start(Script::Echo), dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Everything that may be secret, on one command line.
    fn args(&self) -> Vec<String> {
        let url = format!("ws://127.0.0.1:{}/ws?token=s3cret&room=7", self.backend.port);
        let (error, access, own) = (self.path("error.log"), self.path("access.log"), self.path("own.log"));
        let conf = self.path("nginx.conf");
        [
            &url,
            "--basic",
            "foo:s3cret",
            "--cookie",
            "sid=s3cret",
            "--header",
            "X-Api-Key: s3cret",
            "--header",
            "X-Plain: eyJhbGciOiJIUzI1NiJ9.e30.abc",
            "--error-log",
            &error,
            "--access-log",
            &access,
            "--since",
            "2026-11-21T00:00:00Z",
            "--tz",
            "UTC",
            "--log-file",
            &own,
            "-vv",
            "--no-exec",
            "--nginx-conf",
            &conf,
        ]
        .map(str::to_owned)
        .into()
    }

    fn says(&self, command: &[&str], more: &[&str]) -> String {
        let out = wspulse().args(command).args(self.args()).args(more).output().expect("it runs");
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
    }
}

fn assert_hidden(face: &str, said: &str) {
    for secret in SECRETS {
        assert!(!said.contains(secret), "{face} shows {secret}:\n{said}");
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("it was written")
}

#[test]
fn no_report_and_no_recording_shows_a_secret() {
    let world = World::new();
    for format in ["text", "json", "markdown"] {
        let said = world.says(&["check"], &["--format", format, "--hold", "100ms", "--record", &world.path("record")]);
        assert_hidden(format, &said);
        assert!(format != "json" || said.contains("token=***"), "{said}");
    }
    let record = read(&world.dir.path().join("record"));
    assert_hidden("record", &record);
    assert!(record.contains("Basic ***") && record.contains("/ws?room=7&token=***"), "{record}");
    let stream = world.says(&["stream"], &["--for", "2s", "--cadence", "silent"]);
    assert_hidden("stream", &stream);
    assert!(stream.contains("upgraded") && stream.contains("Cookie: ***"), "{stream}");
    assert_hidden("our own log", &read(&world.dir.path().join("own.log")));
}

#[test]
fn no_experiment_and_no_error_shows_a_secret() {
    let world = World::new();
    for format in ["text", "json", "markdown"] {
        let soak = ["--duration", "300ms", "-n", "2", "--format", format];
        assert_hidden("soak", &world.says(&["soak"], &soak));
    }
    assert_hidden("idle-timeout", &world.says(&["idle-timeout"], &["--max", "2s", "--format", "json"]));
    let wrong: [&[&str]; 9] = [
        &["http://a.test/ws?token=s3cret"],
        &["ws://a.test:99999/?token=s3cret"],
        &["ws://foo:s3cret@a.test/"],
        &["ws://a.test/?token=s3cret#x"],
        &["ws://a.test/", "--basic", "s3cret"],
        &["ws://a.test/", "--bearer", "s3cret\r\nX: y"],
        &["ws://a.test/", "--cookie", "sid=s3cret\n"],
        &["ws://a.test/", "--header", "Authorization s3cret"],
        &["ws://a.test/", "--http-proxy", "http://foo:s3cret@proxy.test"],
    ];
    for args in wrong {
        let out = wspulse().arg("check").args(args).output().expect("it runs");
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {said}");
        assert_hidden("an error", &said);
        assert!(!said.trim().is_empty(), "{args:?}");
    }
}

#[test]
fn the_screen_shows_a_secret_only_when_asked() {
    let world = World::new();
    for (flag, shown) in [(None, "Cookie: ***"), (Some("--show-secrets"), "Cookie: sid=s3cret")] {
        let mut command = wspulse();
        command.args(world.args()).args(flag);
        let mut t = Terminal::start(command, 48, 160);
        t.until("an open probe", |s| s.contains("● open"));
        t.send("1\r");
        t.shows(shown);
        if flag.is_none() {
            t.send("\u{1b}");
            t.until("the popup gone", |s| !s.contains("Cookie"));
            t.send("3\r");
            t.shows("upstream timed out");
            t.send("\r");
            t.shows("token=***");
            assert_hidden("the screen", &String::from_utf8_lossy(&t.bytes()));
        }
        t.send("q");
        assert_eq!(t.ended().code(), Some(0));
    }
}

#[test]
fn with_the_flag_secrets_are_shown() {
    let world = World::new();
    let record = world.path("record");
    let more = ["--show-secrets", "--format", "json", "--hold", "100ms", "--record", &record];
    let said = world.says(&["check"], &more);
    for shown in ["token=s3cret", "Basic Zm9vOnMzY3JldA==", "Cookie: sid=s3cret", "X-Api-Key: s3cret"] {
        assert!(said.contains(shown), "{shown} is missing in {said}");
    }
    assert!(
        read(Path::new(&record)).contains("request: \\\"GET /ws?room=7&token=hunter2"),
        "{}",
        read(Path::new(&record))
    );
    let proxied =
        world.says(&["check"], &["--show-secrets", "--hold", "100ms", "--http-proxy", "foo:pr0xypass@127.0.0.1:1"]);
    assert!(!proxied.contains("pr0xypass"), "the way's own password is nobody's evidence: {proxied}");
}

#[test]
fn what_logs_count_shows_a_secret_only_when_asked() {
    let world = World::new();
    // Nothing of nginx's own report repeats a query: secrets stand in what debug lines and a backend's log tell.
    let debug = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/debug/handshakes.log").display().to_string();
    let app = world.path("app.log");
    fs::write(&app, "2026-11-21T14:02:32Z ERROR GET /ws?token=hunter2 Invalid Upgrade header\n").expect("written");
    let (error, access) = (world.path("error.log"), world.path("access.log"));
    let files = ["logs", &error, &access, &debug, "--backend-log", &app, "--tz", "UTC"];
    for format in ["text", "markdown", "json"] {
        let said = |flag: Option<&str>| {
            let out = wspulse().args(files).args(["--format", format]).args(flag).output().expect("it runs");
            assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8_lossy(&out.stdout).into_owned()
        };
        let hidden = said(None);
        assert_hidden(format, &hidden);
        assert!(hidden.contains("GET /down?room=7&token="), "{format}: {hidden}");
        let shown = said(Some("--show-secrets"));
        assert!(shown.contains("GET /down?room=7&token=s3cret HTTP/1.1"), "{format}: {shown}");
        // The table of a ticket has no room for raw lines.
        assert!(format == "markdown" || shown.contains("/ws?token=hunter2"), "{format}: {shown}");
        assert!(!shown.contains("***"), "{format}: {shown}");
        assert!(format != "json" || shown.contains("\"Bearer s3cret\""), "{shown}");
    }
}
