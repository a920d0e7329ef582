//! Lines in nginx's own forms, and a file that takes each of them in one write.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use crate::event::log::Level;
use crate::time::{Clock, Timestamp};

/// The longest error-log line with its line feed (`NGX_MAX_ERROR_STR`, core/ngx_log.h).
const MAX_ERROR_LINE: usize = 2048;

/// The `, client: .., server: ..` tail of an error-log line. Raw bytes, as nginx writes them.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    /// The client's address without its port.
    pub(super) client: String,
    /// `server_name`, or the listen address before a request was read.
    pub(super) server: String,
    /// The request line.
    pub(super) request: Option<Vec<u8>>,
    /// `http://127.0.0.1:19001/ws`, once a backend was chosen.
    pub(super) upstream: Option<Vec<u8>>,
    /// The Host header.
    pub(super) host: Option<Vec<u8>>,
}

/// One whole error-log line, cut where nginx cuts.
pub(super) fn error_line(at: Timestamp, level: Level, pid: u32, connection: u64, said: &str, c: &Context) -> Vec<u8> {
    let mut line = format!(
        "{} [{}] {pid}#{pid}: *{connection} {said}, client: {}, server: {}",
        at.nginx_error_form(),
        level.word(),
        c.client,
        c.server
    )
    .into_bytes();
    for (name, value) in [("request", &c.request), ("upstream", &c.upstream), ("host", &c.host)] {
        if let Some(value) = value {
            line.extend_from_slice(format!(", {name}: \"").as_bytes());
            line.extend_from_slice(value);
            line.push(b'"');
        }
    }
    line.truncate(MAX_ERROR_LINE - 1);
    line.push(b'\n');
    line
}

/// The backend's part of an access-log line.
#[derive(Clone, Debug)]
pub(super) struct UpstreamFigures {
    /// Who was asked.
    pub(super) addr: SocketAddr,
    /// What it answered, or what nginx answered for it; `None` when the client left before.
    pub(super) status: Option<u16>,
    /// How long connecting took.
    pub(super) connect: Option<Duration>,
    /// When its answer's head had come.
    pub(super) header: Option<Duration>,
    /// When it was done with.
    pub(super) response: Duration,
    /// Bytes sent to it.
    pub(super) sent: u64,
    /// Bytes received from it.
    pub(super) received: u64,
}

/// One access-log line in the format of `routes::LOG_FORMAT`, written when the request or the tunnel has ended.
#[derive(Clone, Debug)]
pub(super) struct AccessLine {
    /// `$remote_addr`.
    pub(super) client: IpAddr,
    /// `$request`.
    pub(super) request: Vec<u8>,
    /// `$status`.
    pub(super) status: u16,
    /// Everything with `$upstream_`.
    pub(super) upstream: Option<UpstreamFigures>,
    /// `$request_time`.
    pub(super) request_time: Duration,
    /// `$bytes_sent`.
    pub(super) bytes_sent: u64,
    /// `$body_bytes_sent`.
    pub(super) body_bytes_sent: u64,
    /// `$request_length`.
    pub(super) request_length: u64,
    /// `$http_upgrade`.
    pub(super) upgrade: Option<Vec<u8>>,
    /// `$http_connection`.
    pub(super) connection_header: Option<Vec<u8>>,
    /// `$sent_http_upgrade`.
    pub(super) sent_upgrade: Option<Vec<u8>>,
    /// `$request_completion` is `OK`.
    pub(super) completed: bool,
    /// `$connection`.
    pub(super) connection: u64,
}

impl AccessLine {
    /// The line with its line feed.
    pub(super) fn line(&self, at: Timestamp) -> Vec<u8> {
        let u = self.upstream.as_ref();
        let number = |f: fn(&UpstreamFigures) -> Option<u64>| u.and_then(f).map_or("-".to_owned(), |n| n.to_string());
        let time = |f: fn(&UpstreamFigures) -> Option<Duration>| u.and_then(f).map_or("-".to_owned(), seconds);
        let mut line = format!("{} [{}] \"{}\" ", self.client, at.nginx_iso8601_form(), escaped(&self.request));
        // Writing to a String cannot fail.
        let _ = write!(
            line,
            "st={} us=\"{}\" rt={} uct=\"{}\" uht=\"{}\" urt=\"{}\" bs={} bbs={} rl={} ubs=\"{}\" ubr=\"{}\" ua=\"{}\" ",
            self.status,
            number(|u| u.status.map(u64::from)),
            seconds(self.request_time),
            time(|u| u.connect),
            time(|u| u.header),
            time(|u| Some(u.response)),
            self.bytes_sent,
            self.body_bytes_sent,
            self.request_length,
            number(|u| Some(u.sent)),
            number(|u| Some(u.received)),
            u.map_or("-".to_owned(), |u| u.addr.to_string()),
        );
        let _ = writeln!(
            line,
            "up=\"{}\" co=\"{}\" sup=\"{}\" comp=\"{}\" proto=HTTP/1.1 c={} cr=1 ssl=\"-\"",
            optional(self.upgrade.as_deref()),
            optional(self.connection_header.as_deref()),
            optional(self.sent_upgrade.as_deref()),
            if self.completed { "OK" } else { "" },
            self.connection,
        );
        line.into_bytes()
    }
}

/// Seconds with milliseconds, as nginx writes all its times.
fn seconds(d: Duration) -> String {
    format!("{}.{:03}", d.as_secs(), d.subsec_millis())
}

fn optional(value: Option<&[u8]>) -> String {
    value.map_or_else(|| "-".to_owned(), escaped)
}

/// `escape=default` of `log_format`: quote, backslash, control and non-ASCII bytes as `\xXX` (ngx_http_log_module.c).
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &b in bytes {
        if matches!(b, b'"' | b'\\' | ..0x20 | 0x7f..) {
            let _ = write!(text, "\\x{b:02X}");
        } else {
            text.push(char::from(b));
        }
    }
    text
}

/// The two logs of the embedded proxy.
#[derive(Debug)]
pub(super) struct Logs {
    error: File,
    access: File,
    pid: u32,
}

impl Logs {
    /// Opens both for appending.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub(super) fn open(error: &Path, access: &Path) -> io::Result<Self> {
        let open = |path: &Path| OpenOptions::new().create(true).append(true).open(path);
        Ok(Self { error: open(error)?, access: open(access)?, pid: std::process::id() })
    }

    /// Writes one error-log line. A full disk loses it silently, as nginx does: there is nowhere left to complain.
    pub(super) fn error(&self, level: Level, connection: u64, said: &str, context: &Context) {
        let _ = (&self.error).write_all(&error_line(Clock.now(), level, self.pid, connection, said, context));
    }

    /// Writes one access-log line.
    pub(super) fn access(&self, line: &AccessLine) {
        let _ = (&self.access).write_all(&line.line(Clock.now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digits become `0`, so that lines of different moments and ports can be compared by shape.
    fn shape(line: &str) -> String {
        let mut shape: String = line.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        while shape.contains("00") {
            shape = shape.replace("00", "0");
        }
        shape.replace("example.test", "demo.test")
    }

    fn context() -> Context {
        Context {
            client: "127.0.0.1".into(),
            server: "demo.test".into(),
            request: Some(b"GET /ws HTTP/1.1".to_vec()),
            upstream: Some(b"http://127.0.0.1:19001/ws".to_vec()),
            host: Some(b"demo.test".to_vec()),
        }
    }

    fn access() -> AccessLine {
        AccessLine {
            client: IpAddr::from([127, 0, 0, 1]),
            request: b"GET /ws HTTP/1.1".to_vec(),
            status: 101,
            upstream: Some(UpstreamFigures {
                addr: SocketAddr::from(([127, 0, 0, 1], 19001)),
                status: Some(101),
                connect: Some(Duration::ZERO),
                header: Some(Duration::from_millis(4)),
                response: Duration::from_secs(2),
                sent: 153,
                received: 129,
            }),
            request_time: Duration::from_secs(2),
            bytes_sent: 188,
            body_bytes_sent: 0,
            request_length: 153,
            upgrade: Some(b"websocket".to_vec()),
            connection_header: Some(b"Upgrade".to_vec()),
            sent_upgrade: Some(b"websocket".to_vec()),
            completed: true,
            connection: 1,
        }
    }

    fn text(line: Vec<u8>) -> String {
        String::from_utf8(line).expect("ASCII in, ASCII out")
    }

    #[test]
    fn error_lines_have_the_shape_of_nginx_1_22_1() {
        // Lines of a real nginx 1.22.1 under the same faults.
        for (level, said, real) in [
            (
                Level::Error,
                "connect() failed (111: Connection refused) while connecting to upstream",
                "2026/11/21 01:56:29 [error] 2633#2633: *1 connect() failed (111: Connection refused) while connecting to upstream, client: 127.0.0.1, server: example.test, request: \"GET /ws HTTP/1.1\", upstream: \"http://127.0.0.1:19001/ws\", host: \"example.test\"\n",
            ),
            (
                Level::Info,
                "upstream timed out (110: Connection timed out) while proxying upgraded connection",
                "2026/11/21 02:30:46 [info] 32262#32262: *1 upstream timed out (110: Connection timed out) while proxying upgraded connection, client: 127.0.0.1, server: example.test, request: \"GET /ws HTTP/1.1\", upstream: \"http://127.0.0.1:19001/ws\", host: \"example.test\"\n",
            ),
            (
                Level::Info,
                "recv() failed (104: Connection reset by peer) while proxying upgraded connection",
                "2026/11/21 01:57:57 [info] 3102#3102: *1 recv() failed (104: Connection reset by peer) while proxying upgraded connection, client: 127.0.0.1, server: example.test, request: \"GET /ws HTTP/1.1\", upstream: \"http://127.0.0.1:19001/ws\", host: \"example.test\"\n",
            ),
        ] {
            let ours = text(error_line(Timestamp::from_secs(1_795_226_551), level, 4711, 1, said, &context()));
            assert_eq!(shape(&ours), shape(real));
        }
        let early = Context { client: "127.0.0.1".into(), server: "127.0.0.1:18080".into(), ..Context::default() };
        let said = "client closed connection while waiting for request";
        assert_eq!(
            shape(&text(error_line(Timestamp::from_secs(0), Level::Info, 1, 1, said, &early))),
            shape(
                "2026/11/21 01:58:12 [info] 3278#3278: *1 client closed connection while waiting for request, client: 127.0.0.1, server: 127.0.0.1:18080\n"
            ),
        );
    }

    #[test]
    fn access_lines_have_the_shape_of_nginx_1_22_1() {
        let at = Timestamp::from_secs(1_795_226_551);
        // The zone's offset is the machine's own; the corpus was written in UTC.
        let ours = |line: &AccessLine| {
            let (before, after) = {
                let line = text(line.line(at));
                let (b, a) = line.split_once('[').map(|(b, a)| (b.to_owned(), a.to_owned())).expect("a date");
                (b, a.split_once(']').expect("its end").1.to_owned())
            };
            shape(&format!("{before}[T]{after}"))
        };
        let tunnel = "127.0.0.1 [T] \"GET /ws HTTP/1.1\" st=101 us=\"101\" rt=2.000 uct=\"0.000\" uht=\"0.004\" urt=\"2.000\" bs=188 bbs=0 rl=153 ubs=\"153\" ubr=\"129\" ua=\"127.0.0.1:19001\" up=\"websocket\" co=\"Upgrade\" sup=\"websocket\" comp=\"OK\" proto=HTTP/1.1 c=1 cr=1 ssl=\"-\"\n";
        assert_eq!(ours(&access()), shape(tunnel));

        let mut refused = access();
        refused.status = 502;
        refused.sent_upgrade = None;
        if let Some(u) = &mut refused.upstream {
            (u.status, u.connect, u.header, u.sent, u.received) = (Some(502), None, None, 0, 0);
        }
        let real = "127.0.0.1 [T] \"GET /ws HTTP/1.1\" st=502 us=\"502\" rt=0.000 uct=\"-\" uht=\"-\" urt=\"0.000\" bs=314 bbs=157 rl=153 ubs=\"0\" ubr=\"0\" ua=\"127.0.0.1:19001\" up=\"websocket\" co=\"Upgrade\" sup=\"-\" comp=\"OK\" proto=HTTP/1.1 c=1 cr=1 ssl=\"-\"\n";
        assert_eq!(ours(&refused), shape(real));
    }

    #[test]
    fn every_variable_of_the_format_is_written_under_its_label() {
        let line = text(access().line(Timestamp::from_secs(0)));
        for label in super::super::routes::LOG_FORMAT.split(' ').filter_map(|f| f.split_once('=')).map(|(l, _)| l) {
            assert!(line.contains(&format!(" {label}=")), "{label} is missing in {line}");
        }
    }

    #[test]
    fn hostile_bytes_are_raw_in_the_error_log_and_escaped_in_the_access_log() {
        let hostile = b"GET /\"\\\x1b\xff HTTP/1.1".to_vec();
        let c = Context { request: Some(hostile.clone()), ..context() };
        let raw = error_line(Timestamp::from_secs(0), Level::Info, 1, 1, "x", &c);
        assert!(raw.windows(hostile.len()).any(|w| w == hostile));
        let line = text(AccessLine { request: hostile, ..access() }.line(Timestamp::from_secs(0)));
        assert!(line.contains("\"GET /\\x22\\x5C\\x1B\\xFF HTTP/1.1\""), "{line}");
    }

    #[test]
    fn an_error_line_is_cut_at_2048_bytes_as_nginx_cuts_it() {
        let c = Context { request: Some(vec![b'a'; 9000]), ..context() };
        let line = error_line(Timestamp::from_secs(0), Level::Info, 1, 1, "x", &c);
        assert_eq!((line.len(), line.last()), (2048, Some(&b'\n')));
    }
}
