//! What every input must survive, one function for each parser: run by the fuzz targets beside this file and, as plain
//! tests over a stored corpus, by tests/fuzz_corpus.rs.

use wspulse::event::log::ErrorLine;
use wspulse::event::site::Escape;
use wspulse::event::socket::TcpState;
use wspulse::nginx::access::Format;
use wspulse::nginx::conf::{self, Body, Directive};
use wspulse::nginx::debug::{Bounds, Handshakes};
use wspulse::nginx::dump::Dump;
use wspulse::nginx::error::{self, TimeCache};
use wspulse::nginx::resolve::{self, Reader};
use wspulse::nginx::version::BuildDefaults;
use wspulse::nginx::{backend, category, frame};
use wspulse::source::sockets;
use wspulse::time::{Timestamp, Zone};

/// The formats of `fuzz_access_line`; the first byte of an input chooses one and its escape.
pub const FORMATS: [&str; 4] = [
    r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#,
    r#"$remote_addr [$time_iso8601] "$request" st=$status us="$upstream_status" rt=$request_time uct="$upstream_connect_time" ua="$upstream_addr" up="$http_upgrade" comp="$request_completion" c=$connection"#,
    r#"{"msec":$msec,"remote":{"addr":"$remote_addr","port":$remote_port},"request":"$request","status":$status,"uct":$upstream_connect_time,"ua":"$http_user_agent"}"#,
    "$http_user_agent $upstream_addr $request $status $request_time",
];
const ESCAPES: [Escape; 3] = [Escape::Default, Escape::Json, Escape::None];

/// `part` is a piece of `whole`, not a copy of one.
fn lies_in(part: &[u8], whole: &[u8]) -> bool {
    part.is_empty()
        || (whole.as_ptr_range().start <= part.as_ptr() && part.as_ptr_range().end <= whole.as_ptr_range().end)
}

fn fields<'a>(l: &ErrorLine<'a>) -> impl Iterator<Item = &'a [u8]> {
    let named = [l.ssl, l.action, l.client, l.server, l.request, l.subrequest, l.upstream, l.host, l.referrer];
    named.into_iter().flatten().chain([l.time, l.message])
}

/// One line of an error log, of a console or of a backend.
pub fn fuzz_error_line(line: &[u8]) {
    assert!(frame::strip(line).is_none_or(|rest| rest.len() < line.len() && lies_in(rest, line)));
    assert!(error::parse_console(line).is_none_or(|l| lies_in(l.message, line)));
    let _ = backend::recognise(line);
    let Some(parsed) = error::parse(line) else { return };
    assert!(fields(&parsed).all(|field| lies_in(field, line)));
    assert_eq!(error::parse(line).as_ref(), Some(&parsed), "the same line reads the same");
    let _ = category::row(parsed.level, parsed.message, parsed.errno, parsed.action);
    let mut times = TimeCache::in_zone(Zone::UTC);
    let at = times.at(parsed.time);
    assert_eq!(times.at(parsed.time), at, "the cache changes nothing");
    let entry = error::entry(&parsed, line, at.unwrap_or_default());
    let shown = [Some(&entry.raw), Some(&entry.message), entry.request.as_ref(), entry.upstream.as_ref()];
    assert!(shown.into_iter().flatten().all(|text| !text.chars().any(char::is_control)));
    let _ = (entry.peer(), entry.path());
}

/// A byte that chooses a format and an escape, and one line of an access log.
pub fn fuzz_access_line(input: &[u8]) {
    let Some((&choice, line)) = input.split_first() else { return };
    let format = FORMATS.get(usize::from(choice) % FORMATS.len());
    let escape = ESCAPES.get(usize::from(choice) / FORMATS.len() % ESCAPES.len());
    let (Some(pattern), Some(escape)) = (format, escape) else { return };
    read_access(&Format::compile(pattern, *escape).expect("compiles"), line);
}

/// A `log_format` on the first line and a log line behind it.
pub fn fuzz_log_format(input: &[u8]) {
    let end = input.iter().position(|&b| b == b'\n').unwrap_or(input.len());
    let (pattern, line) = input.split_at(end);
    let pattern = String::from_utf8_lossy(pattern);
    for escape in ESCAPES {
        match Format::compile(&pattern, escape) {
            Ok(format) => read_access(&format, line.get(1..).unwrap_or_default()),
            Err(said) => assert!(!said.is_empty()),
        }
    }
}

fn read_access(format: &Format, line: &[u8]) {
    let Some(read) = format.read(line) else { return };
    let parts =
        [read.client, read.request, read.method, read.target, read.host, read.upstream, read.upgrade, read.user_agent];
    assert!(parts.into_iter().flatten().all(|part| lies_in(part, line)));
    let entry = format.parse(line, Timestamp::default()).expect("what reads also parses");
    assert_eq!((entry.status, entry.connection), (read.status, read.connection));
    assert!(!entry.raw.chars().any(char::is_control));
    let _ = entry.path();
}

/// A configuration; NUL bytes part it into a main file and up to three more, which every `include` finds.
pub fn fuzz_nginx_conf(input: &[u8]) {
    let tree = conf::parse(input);
    check(&tree.directives, 0);
    assert!(tree.errors.iter().all(|e| e.line > 0 && !e.said.is_empty()));
    let mut files = Files(input.splitn(4, |&b| b == 0).map(<[u8]>::to_vec).collect());
    let site = resolve::resolve("/0", &mut files, &BuildDefaults::default(), None);
    assert!(serde_json::to_string(&site).is_ok());
    let text = [b"# configuration file /n.conf:\n", input].concat();
    let mut dump = Dump::read(&text).expect("it has a head");
    assert!(dump.files().map(|(_, bytes)| bytes.len()).sum::<usize>() <= text.len());
    assert!(serde_json::to_string(&resolve::resolve("/n.conf", &mut dump, &BuildDefaults::default(), None)).is_ok());
}

/// Nesting is bounded, lines begin at one, and spans stand in order.
fn check(directives: &[Directive], depth: usize) {
    assert!(depth <= conf::MAX_DEPTH);
    for directive in directives {
        assert!(directive.words.iter().all(|w| w.line > 0 && w.span.start <= w.span.end));
        assert!(directive.words.windows(2).all(|w| w[0].span.end <= w[1].span.start));
        if let Body::Block(inner) = &directive.body {
            check(inner, depth + 1);
        }
    }
}

struct Files(Vec<Vec<u8>>);

impl Reader for Files {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        let at = path.trim_start_matches('/').parse::<usize>().map_err(|_| "no such file".to_owned())?;
        self.0.get(at).cloned().ok_or_else(|| "no such file".to_owned())
    }

    fn glob(&mut self, _: &str) -> Result<Vec<String>, String> {
        Ok((1..self.0.len()).map(|at| format!("/{at}")).collect())
    }
}

/// A log of level debug.
pub fn fuzz_debug_lines(log: &[u8]) {
    let bounds = Bounds { connections: 3, bytes: 2_000 };
    let mut collector = Handshakes::new(bounds);
    let mut times = TimeCache::in_zone(Zone::UTC);
    let mut read = Vec::new();
    for line in log.split(|&b| b == b'\n') {
        read.extend(collector.line(line, &mut times));
    }
    let left = collector.finish();
    assert!(left.len() <= bounds.connections);
    for handshake in read.iter().chain(&left) {
        let heads = [&handshake.upstream_request, &handshake.upstream_answer, &handshake.answer];
        for head in heads.into_iter().flatten().chain([&handshake.request]) {
            assert!(!head.line.chars().any(char::is_control));
            assert!(head.headers.len() <= bounds.bytes / 32);
            assert!(head.headers.iter().all(|(n, v)| !n.chars().chain(v.chars()).any(char::is_control)));
            assert!(!head.headers.iter().any(|(n, v)| n.eq_ignore_ascii_case("Cookie") && v != "***"));
        }
    }
}

/// One datagram of the kernel's answers about its sockets.
pub fn fuzz_sock_diag(datagram: &[u8]) {
    let (rows, listeners, unix) = sockets::decode(datagram);
    // Each row needs the fixed part of a message behind the message's head.
    assert!((rows.len() + listeners.len()) * 88 + unix.len() * 32 <= datagram.len());
    assert!(rows.iter().all(|r| !matches!(r.state, TcpState::Listen | TcpState::TimeWait | TcpState::Closed)));
    assert!(
        rows.iter()
            .all(|r| r.pid.is_none() && r.strain.as_ref().is_none_or(|s| s.timer_ms.is_none() || r.timer.is_some()))
    );
    assert!(unix.iter().all(|u| u.cookie != 0 || u.inode != 0 || u.peer_inode.is_some()));
}
