//! Text of attackers in logs, headers, names and paths: it is shown, and no byte of it ever acts on a terminal.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use wspulse::human::has_a_sign;

use support::terminal::Terminal;
use support::{lines, wspulse};

/// Colours, a title, a cleared screen, a question to the terminal, each also in one byte of eight bits (C1), once as UTF-8 and
/// once raw; a text turned round, a word that is not seen, a tab, a bell, NUL, backspace, DEL, and bytes that are no UTF-8.
const HOSTILE: &[u8] =
    b"PWNED\x1b[31;5m\x1b]0;PWNED\x07\x1b[2J\x1b[6n\x1bPq\x1b\\\xc2\x9b2J\xc2\x9d0;PWNED\xc2\x9c\x9b6n\
    \xe2\x80\xae\xe2\x81\xa6\xe2\x80\x8b\xef\xbb\xbf\xf3\xa0\x81\x81\t\x07\x08\x7f\xff\xfe\xc3PWNED";

/// The same as text, where no other bytes can travel.
const HOSTILE_TEXT: &str =
    "PWNED\u{1b}[31m\u{1b}]0;PWNED\u{7}\u{9b}2J\u{9d}0;P\u{9c}\u{202e}\u{2066}\u{200b}\t\u{8}\u{7f}PWNED";

/// A file's name may hold all but NUL and slashes; `*`, `?` and `[` would make it a pattern.
fn hostile_name(first: &str, last: &str) -> String {
    let name: String = HOSTILE_TEXT.chars().filter(|c| !matches!(c, '\0' | '/' | '*' | '?' | '[')).collect();
    format!("{first}{name}{last}")
}

/// What this program itself may write besides text; everything else is an attack that came through.
fn is_our_own(parameters: &str, last: u8) -> bool {
    let numbers = |most: usize| {
        parameters.split([';', ':']).count() <= most
            && parameters.chars().all(|c| c.is_ascii_digit() || matches!(c, ';' | ':'))
    };
    match last {
        // Colours, and the place of the next letter.
        b'm' => numbers(12),
        b'H' => numbers(2),
        b'J' => parameters == "2",
        // The alternate screen, the cursor, the mouse, pastes, and frames shown at once.
        b'h' | b'l' => {
            matches!(parameters, "?1049" | "?25" | "?1000" | "?1002" | "?1003" | "?1006" | "?1015" | "?2004" | "?2026")
        }
        _ => false,
    }
}

/// The text of a stream of a terminal, and everything in it that is neither text nor our own.
fn read(stream: &[u8]) -> (String, Vec<String>) {
    let (mut text, mut foreign) = (Vec::new(), Vec::new());
    let mut rest = stream;
    while let Some((&byte, after)) = rest.split_first() {
        let mut taken = 1;
        match (byte, after) {
            (0x1b, [b'[', sequence @ ..]) => {
                let end = sequence.iter().position(|b| !matches!(b, 0x20..=0x3f)).unwrap_or(sequence.len());
                let last = sequence.get(end).copied().unwrap_or(0);
                let parameters = String::from_utf8_lossy(&sequence[..end]).into_owned();
                if !is_our_own(&parameters, last) {
                    foreign.push(format!("ESC [ {parameters} {}", last.escape_ascii()));
                }
                taken = end + 3;
            }
            (0x1b, [b']', command @ ..]) => {
                let end = command.iter().position(|b| *b < 0x20).unwrap_or(command.len());
                let said = String::from_utf8_lossy(&command[..end]).into_owned();
                let base64 = |t: &str| t.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
                let ours = said == "11;?" || said.strip_prefix("52;c;").is_some_and(base64);
                if !ours || command.get(end) != Some(&0x07) {
                    foreign.push(format!("ESC ] {said}"));
                }
                taken = end + 3;
            }
            (0x1b, _) => foreign.push(format!("ESC {}", after.first().copied().unwrap_or(0).escape_ascii())),
            _ => text.push(byte),
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    let text = match String::from_utf8(text) {
        Ok(text) => text,
        Err(e) => {
            foreign.push(format!("no UTF-8: {e}"));
            String::from_utf8_lossy(e.as_bytes()).into_owned()
        }
    };
    foreign.extend(text.chars().filter(|c| !has_a_sign(*c)).map(|c| format!("{c:?}")));
    foreign.sort();
    foreign.dedup();
    (text, foreign)
}

#[test]
fn the_reader_of_streams_knows_an_attack() {
    let ours = b"\x1b[?1049h\x1b[3;4H\x1b[38;5;12mword\x1b[0m\x1b]52;c;aGk=\x07\x1b]11;?\x07";
    assert_eq!(read(ours), ("word".to_owned(), Vec::new()));
    for attack in [
        &b"\x1b[6n"[..],
        b"\x1b]0;x\x07",
        b"\x1b]52;c;?\x07",
        b"\x1bc",
        b"\x1bPq\x1b\\",
        b"\xc2\x9b2J",
        b"\x9b2J",
        b"\x07",
        b"\n",
        b"\xe2\x80\xae",
        b"\x1b[?5h",
        b"\x1b[2",
        b"\x1b",
    ] {
        assert!(!read(attack).1.is_empty(), "{}", attack.escape_ascii());
    }
}

/// A site whose every name, path and log means harm, and servers that do.
struct World {
    dir: TempDir,
    error_log: PathBuf,
    access_log: PathBuf,
    backend_log: PathBuf,
    plain: SocketAddr,
    secure: SocketAddr,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let named = |first: &str, last: &str| dir.path().join(hostile_name(first, last));
        let (error_log, access_log, backend_log) = (named("e", ".log"), named("a", ".log"), named("b", ".log"));
        let error = |n: u32, what: &[u8]| {
            let head = format!("2026/11/21 02:00:{n:02} [error] 7#7: *{n} ");
            [
                head.as_bytes(),
                what,
                b", client: 192.0.2.9, server: ",
                HOSTILE,
                b", request: \"GET /ws",
                HOSTILE,
                b" HTTP/1.1\", upstream: \"http://10.0.0.7:8080/ws",
                HOSTILE,
                b"\", host: \"",
                HOSTILE,
                b"\", referrer: \"",
                HOSTILE,
                b"\"\n",
            ]
            .concat()
        };
        let errors = [
            error(1, b"upstream timed out (110: Connection timed out) while reading response header from upstream"),
            error(2, b"connect() failed (111: Connection refused) while connecting to upstream"),
            error(3, &[b"open() \"/x", HOSTILE, b"\" failed (2: No such file or directory)"].concat()),
            HOSTILE.to_vec(),
            b"\n".to_vec(),
        ];
        fs::write(&error_log, errors.concat()).expect("written");
        let access = |status: &str| {
            [
                b"192.0.2.9 - ",
                HOSTILE,
                b" [21/Nov/2026:02:00:05 +0000] \"GET /ws",
                HOSTILE,
                b" HTTP/1.1\" ",
                status.as_bytes(),
                b" 7 \"https://a.test/",
                HOSTILE,
                b"\" \"",
                HOSTILE,
                b"\"\n",
            ]
            .concat()
        };
        fs::write(&access_log, [access("101"), access("502"), access("400"), HOSTILE.to_vec()].concat())
            .expect("written");
        let backend = [
            b"Error: Unexpected server response: 502 ",
            HOSTILE,
            b"\nRangeError: Invalid WebSocket frame: RSV1 must be clear ",
            HOSTILE,
            b"\n",
        ];
        fs::write(&backend_log, backend.concat()).expect("written");
        let (plain, secure) = (serve(None), serve(Some(hostile_certificate())));
        let world = Self { dir, error_log, access_log, backend_log, plain, secure };
        fs::write(world.conf(), world.configuration()).expect("written");
        world
    }

    fn conf(&self) -> PathBuf {
        self.dir.path().join(hostile_name("n", ".conf"))
    }

    fn configuration(&self) -> Vec<u8> {
        let port = self.plain.port().to_string();
        let h = HOSTILE;
        let lines: [&[&[u8]]; 17] = [
            &[b"events {}\nhttp {\n log_format pw '$remote_addr ", h, b"';\n"],
            &[b" upstream \"up", h, b"\" { server 127.0.0.1:1; }\n"],
            &[b" server {\n  listen 127.0.0.1:", port.as_bytes(), b";\n"],
            &[b"  server_name \"", h, b"\" a.test;\n"],
            &[b"  access_log \"/nowhere/", h, b"\" pw;\n  error_log \"/nowhere/", h, b"\" warn;\n"],
            &[
                b"  location \"/ws",
                h,
                b"\" {\n   proxy_pass http://127.0.0.1:1;\n   proxy_set_header Upgrade $http_upgrade;\n",
            ],
            &[b"   proxy_set_header \"X-", h, b"\" \"", h, b"\";\n"],
            &[b"   proxy_read_timeout \"", h, b"\";\n  }\n"],
            &[b"  location ~ \"^/re", h, b"\" { return 301 \"http://a.test/", h, b"\"; }\n"],
            &[b"  location /ws {\n   proxy_pass \"http://up", h, b"/\";\n   proxy_set_header Host \"", h, b"\";\n"],
            &[b"   proxy_set_header Upgrade $http_upgrade;\n   proxy_set_header Connection \"upgrade", h, b"\";\n"],
            &[b"   add_header X-Ours \"", h, b"\";\n  }\n"],
            &[b"  rewrite ^/old \"/ws", h, b"\" last;\n"],
            &[b"  set $x \"", h, b"\";\n  include \"/nowhere/", h, b"\";\n"],
            &[b"  \"unknown_", h, b"\" on;\n"],
            &[b"  location /bare { proxy_pass http://127.0.0.1:1; proxy_pass_header \"", h, b"\"; }\n"],
            &[b" }\n}\n"],
        ];
        lines.iter().flat_map(|l| l.iter()).flat_map(|part| part.iter().copied()).collect()
    }

    fn urls(&self) -> Vec<String> {
        let plain = ["close", "refused", "wrong", "header"].map(|path| format!("ws://{}/{path}", self.plain));
        plain.into_iter().chain([format!("wss://{}/ws", self.secure)]).collect()
    }

    fn with_all(&self, mut command: Command) -> Command {
        command.arg("--nginx-conf").arg(self.conf()).arg("--error-log").arg(&self.error_log);
        command.arg("--access-log").arg(&self.access_log).arg("--backend-log").arg(&self.backend_log);
        command.args(["--since", "2026/11/21 00:00:00", "--tz", "UTC", "--insecure"]);
        command.current_dir(self.dir.path());
        command
    }
}

fn hostile_certificate() -> Arc<rustls::ServerConfig> {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(vec!["192.0.2.1".to_owned()]).expect("a name");
    for kind in [rcgen::DnType::CommonName, rcgen::DnType::OrganizationName] {
        params.distinguished_name.push(kind, HOSTILE_TEXT);
    }
    let cert = params.self_signed(&key).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![cert.der().clone()], key).expect("a configuration"))
}

fn serve(tls: Option<Arc<rustls::ServerConfig>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let at = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tls = tls.clone();
            std::thread::spawn(move || match tls {
                None => answer(stream),
                Some(config) => {
                    let session = rustls::ServerConnection::new(config).expect("a session");
                    answer(rustls::StreamOwned::new(session, stream));
                }
            });
        }
    });
    at
}

/// Answers as the path says, each time with hostile words in another place.
fn answer(mut stream: impl Read + Write) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        head.push(byte[0]);
    }
    let request = String::from_utf8_lossy(&head).into_owned();
    let key = request.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
    let accept = derive_accept_key(key.trim().as_bytes());
    let h = HOSTILE;
    // What of it HTTP bears in a value: no C0, and all of the upper half.
    let value: Vec<u8> = h.iter().copied().filter(|b| *b >= b' ' && *b != 0x7f).collect();
    let switching = [
        b"HTTP/1.1 101 ",
        value.as_slice(),
        b"\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: ",
        accept.as_bytes(),
        b"\r\nServer: ",
        &value,
        b"\r\nX-Hostile: ",
        &value,
        b"\r\n\r\n",
    ]
    .concat();
    let said = match request.split(' ').nth(1).unwrap_or_default() {
        "/refused" => [
            b"HTTP/1.1 400 ",
            value.as_slice(),
            b"\r\nServer: ",
            &value,
            b"\r\nLocation: /",
            &value,
            b"\r\nContent-Type: text/html\r\nContent-Length: 600\r\n\r\n",
            h,
            h,
        ]
        .concat(),
        "/wrong" => h.to_vec(),
        "/header" => [b"HTTP/1.1 200 OK\r\nX-", h, b": ", h, b"\r\n\r\n"].concat(),
        _ => {
            let reason: String = HOSTILE_TEXT.chars().take(60).collect();
            let mut close = vec![0x88, u8::try_from(2 + reason.len()).expect("short"), 0x03, 0xf3];
            close.extend(reason.bytes());
            [switching, close].concat()
        }
    };
    let _ = stream.write_all(&said).and_then(|()| stream.flush());
    let mut sink = [0; 512];
    while matches!(stream.read(&mut sink), Ok(n) if n > 0) {}
}

#[test]
fn hostile_text_is_shown_and_never_acts_on_the_dashboards_terminal() {
    let world = World::new();
    let mut command = world.with_all(wspulse());
    command.args(world.urls());
    let mut t = Terminal::start(command, 48, 160);
    t.shows("1 Handshakes");
    t.until("answers of all servers", |s| s.contains("400") && s.contains("3 in") | s.contains("upstream-"));
    let down = "\r\u{c}\u{1b}1j";
    let tour = [
        "1g",
        down,
        down,
        down,
        down,
        down,
        "2",
        "v",
        "\u{1b}",
        "3",
        "g\r",
        "vvv",
        "\r",
        "\r",
        "\u{1b}",
        "\u{1b}",
        "\u{1b}",
        "EEE",
        "y",
        "\u{1b}",
        "3j\r\r",
        "\u{1b}\u{1b}",
        "4g\r",
        "\u{1b}",
        "d",
        "y",
        "\u{1b}",
        "5\r",
        "\u{1b}",
        "1y",
        "x",
        "w",
        ":",
        "\u{1b}[200~",
        "\u{1b}1/",
        "\u{1b}[200~\u{9b}2J\u{202e}\u{1b}]0;x\u{7}",
        "\u{1b}[201~",
        "\u{202e}\u{200b}\u{9b}2J",
    ];
    for keys in tour {
        if keys == "\u{1b}[200~" {
            t.send("\u{1b}[200~\u{9b}2J\u{1b}]0;x\u{7}\u{202e}PWNED\u{1b}[201~");
        } else {
            t.send(keys);
        }
        if !keys.contains("[200~") || keys.ends_with("[201~") {
            t.settled();
        }
    }
    t.send("\u{1b}\u{1b}\u{1b}\u{1b}q");
    assert_eq!(t.ended().code(), Some(0));
    let (text, foreign) = read(&t.bytes());
    // The terminal driver itself sends a carriage return for nothing here: the terminal is raw.
    assert!(foreign.is_empty(), "{foreign:#?}");
    assert!(
        text.matches("PWNED").count() > 20,
        "hostile text was hardly on the screen: {}",
        text.matches("PWNED").count()
    );
    let reports = fs::read_dir(world.dir.path()).expect("our folder").flatten();
    let report =
        reports.map(|e| e.path()).find(|p| p.extension().is_some_and(|e| e == "md")).expect("a report was written");
    assert_harmless("the report", &fs::read(report).expect("readable"));
}

/// Lines of text, and nothing that a terminal would act on.
fn assert_lines<'a>(what: &str, out: &'a [u8]) -> &'a str {
    let text = std::str::from_utf8(out).unwrap_or_else(|e| panic!("{what} is no UTF-8: {e}"));
    let odd: Vec<char> = text.chars().filter(|c| !has_a_sign(*c) && *c != '\n').collect();
    assert!(odd.is_empty(), "{what}: {odd:?} in\n{}", text.escape_debug());
    text
}

/// The same, and the hostile text is among it.
fn assert_harmless(what: &str, out: &[u8]) {
    let text = assert_lines(what, out);
    assert!(text.contains("PWNED"), "{what} shows nothing of it:\n{text}");
}

#[test]
fn hostile_text_is_harmless_on_every_other_face() {
    let world = World::new();
    let conf = world.conf();
    let routed = format!("ws://{}/ws", world.plain);
    let plain = |name: &str| {
        let mut command = wspulse();
        command.arg(name).args(["--color", "never"]);
        command
    };
    let mut all: Vec<(String, Command)> = Vec::new();
    for format in ["text", "json", "markdown"] {
        let mut check = world.with_all(plain("check"));
        check.args(["--format", format, "--hold", "500ms", "--timeout", "8s"]).args(world.urls());
        all.push((format!("check {format}"), check));
        let mut lint = plain("lint");
        lint.args(["--format", format]).arg(&conf);
        all.push((format!("lint {format}"), lint));
        let mut route = plain("route");
        route.args(["--format", format, &routed]).arg("--nginx-conf").arg(&conf);
        all.push((format!("route {format}"), route));
        let mut logs = plain("logs");
        logs.args(["--format", format, "--tz", "UTC"]).arg(&world.error_log).arg(&world.access_log);
        all.push((format!("logs {format}"), logs));
    }
    for (format, url) in ["text", "json", "markdown"].into_iter().zip(world.urls()) {
        let mut soak = plain("soak");
        soak.args(["-n", "2", "--duration", "500ms", "--format", format, &url]);
        all.push((format!("soak {url} {format}"), soak));
    }
    let mut idle = plain("idle-timeout");
    idle.args(["--max", "2s"]).arg(format!("ws://{}/close", world.plain));
    all.push(("idle-timeout".to_owned(), idle));
    let mut stream = world.with_all(plain("stream"));
    stream.args(["--for", "2s"]).args(world.urls());
    all.push(("stream".to_owned(), stream));
    for (what, mut command) in all {
        let out = command.output().expect("it runs");
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code().is_some_and(|c| c != 101), "{what}: {told}");
        assert!(!out.stdout.is_empty(), "{what}: {told}");
        // Those count what came, and say nothing of its words.
        if ["soak", "idle-timeout"].iter().any(|name| what.starts_with(name)) {
            assert_lines(&what, &out.stdout);
        } else {
            assert_harmless(&what, &out.stdout);
        }
        assert_lines(&format!("{what} on stderr"), &out.stderr);
    }
}

#[test]
fn hostile_text_is_harmless_in_sentences() {
    let world = World::new();
    let mut command = world.with_all(wspulse());
    command.arg("--plain").args(world.urls()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    let told = lines(child.stdout.take().expect("piped"));
    let mut out = String::new();
    while out.matches("PWNED").count() < 20 {
        let line = told.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|e| panic!("{e} after\n{out}"));
        out.push_str(&line);
        out.push('\n');
    }
    kill_process(Pid::from_child(&child), Signal::TERM).expect("ours");
    assert!(child.wait().expect("it ends").code().is_some_and(|c| c != 101));
    assert_harmless("sentences", out.as_bytes());
}

#[test]
fn hostile_text_never_acts_on_the_terminal_of_a_soak() {
    let world = World::new();
    let mut command = wspulse();
    command.args(["soak", "-n", "4", "--duration", "2s", "--reconnect"]).arg(format!("ws://{}/close", world.plain));
    let mut t = Terminal::start(command, 40, 120);
    t.ended();
    let out = t.bytes();
    let (text, foreign) = read(&out);
    // Its live lines are drawn over themselves: cursor up, the rest of a line cleared.
    let ours =
        |f: &String| matches!(f.as_str(), "'\\n'" | "'\\r'") || ["A", "J", "K"].iter().any(|last| f.ends_with(last));
    let foreign: Vec<_> = foreign.into_iter().filter(|f| !ours(f)).collect();
    assert!(foreign.is_empty(), "{foreign:#?} in {}", out.escape_ascii());
    assert!(text.contains("close frame 1011"), "{text}");
}

/// Words on the command line come from scripts, and scripts take them from anywhere.
#[test]
fn hostile_words_of_the_command_line_are_told_harmlessly() {
    let cases: [&[&str]; 6] = [
        &["check", "ws://127.0.0.1:1/", "--error-log", HOSTILE_TEXT],
        &["check", HOSTILE_TEXT],
        &["lint", HOSTILE_TEXT],
        &["logs", HOSTILE_TEXT],
        &["route", HOSTILE_TEXT],
        &["sockets", "--filter", "idle>PWNED\u{1b}[31m\u{202e}"],
    ];
    for args in cases {
        let out = wspulse().args(args).output().expect("it runs");
        assert_ne!(out.status.code(), Some(0), "{args:?}");
        let told = [out.stdout, out.stderr].concat();
        assert_harmless(&format!("{args:?}"), &told);
    }
}
