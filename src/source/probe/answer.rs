//! The answer to an opening request: read whole whatever it is, and judged by RFC 6455 section 4.1.

use std::io;
use std::time::Duration;

use memchr::memchr_iter;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, timeout_at};

use super::alert::late_fault;
use super::fault::{Fault, kind_of, words};
use super::redact;
use super::request::Request;
use crate::event::probe::{Answer, FailureKind, Phase};
use crate::human::visible;

/// The most that is read in search of the header's end, interim answers included. nginx itself stops at
/// `proxy_buffer_size`, 4 or 8 KiB.
const HEAD_MAX: usize = 64 * 1024;
/// The most that is kept of a body.
const BODY_MAX: usize = 8 * 1024;
/// How long a body is waited for.
const BODY_WAIT: Duration = Duration::from_millis(500);
/// The most header fields that are read (nginx's own `max_headers` is 1000).
const FIELDS_MAX: usize = 2_048;
/// The most of an unreadable answer that is quoted in a sentence.
const QUOTED: usize = 120;

/// Reads until a header ends that is no interim answer. `buffer` then begins with what follows that header; on failure it
/// holds what came.
pub(super) async fn read_head<R: AsyncRead + Unpin>(from: &mut R, buffer: &mut Vec<u8>) -> Result<Answer, Box<Fault>> {
    let mut skipped = 0;
    loop {
        let end = read_to_head_end(from, buffer, HEAD_MAX.saturating_sub(skipped)).await?;
        let answer = parse_head(buffer.get(..end).unwrap_or_default())?;
        buffer.drain(..end);
        // RFC 9110 section 15.2: any number of 1xx may come first; 101 is the one that ends HTTP.
        if !(100..200).contains(&answer.status) || answer.status == 101 {
            return Ok(answer);
        }
        skipped += end;
    }
}

async fn read_to_head_end<R: AsyncRead + Unpin>(
    from: &mut R,
    buffer: &mut Vec<u8>,
    room: usize,
) -> Result<usize, Box<Fault>> {
    let mut searched = 0;
    loop {
        looks_like_http(buffer)?;
        if let Some(end) = head_end(buffer, searched) {
            return Ok(end);
        }
        if buffer.len() >= room {
            let said = format!("the answer's header did not end within {} KiB", HEAD_MAX / 1024);
            return Err(refused(FailureKind::NotHttp, said).with_answer(partial_answer(buffer)));
        }
        searched = buffer.len().saturating_sub(2);
        match read_some(from, buffer, room).await {
            Ok(0) => return Err(closed_early(buffer)),
            Ok(_) => {}
            Err(e) => return Err(broken(&e, buffer)),
        }
    }
}

async fn read_some<R: AsyncRead + Unpin>(from: &mut R, buffer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    let mut chunk = [0; 2048];
    let room = most.saturating_sub(buffer.len()).min(chunk.len());
    let n = from.read(&mut chunk[..room]).await?;
    buffer.extend_from_slice(&chunk[..n]);
    Ok(n)
}

/// The first position after an empty line, seen from `searched` on. A bare LF ends a line too (RFC 9112 section 2.2).
fn head_end(buffer: &[u8], searched: usize) -> Option<usize> {
    let tail = buffer.get(searched..)?;
    memchr_iter(b'\n', tail).find_map(|at| {
        let rest = tail.get(at + 1..)?;
        let blank = if rest.starts_with(b"\r\n") { 2 } else { usize::from(rest.starts_with(b"\n")) };
        (blank > 0).then_some(searched + at + 1 + blank)
    })
}

fn refused(kind: FailureKind, said: impl Into<String>) -> Box<Fault> {
    Fault::new(Phase::Upgrade, kind, said)
}

/// Garbage is named at once, without waiting for a header that will never end.
fn looks_like_http(buffer: &[u8]) -> Result<(), Box<Fault>> {
    let sure = buffer.len().min(5);
    if buffer.get(..sure) == b"HTTP/".get(..sure) {
        return Ok(());
    }
    // A TLS record: alert (21) or handshake (22), version 3.x (RFC 8446 section 5.1).
    let said = if matches!(buffer, [21 | 22, 3, ..]) {
        "the server answered a plain request with TLS: the port wants wss://".to_owned()
    } else {
        format!("the answer is no HTTP: it begins with '{}'", quoted(buffer))
    };
    Err(refused(FailureKind::NotHttp, said))
}

fn quoted(bytes: &[u8]) -> String {
    visible(bytes.get(..QUOTED).unwrap_or(bytes))
}

/// What came of an answer whose header cannot be read whole: its status line, and the rest as it came. `None` where not
/// even the status is known; the sentence quotes the beginning then.
fn partial_answer(bytes: &[u8]) -> Option<Answer> {
    let end = memchr::memchr(b'\n', bytes)?;
    let (line, rest) = bytes.split_at(end);
    let answer = status_line(line.strip_suffix(b"\r").unwrap_or(line))?;
    Some(Answer { body: shown_body(rest.get(1..).unwrap_or_default()), ..answer })
}

fn closed_early(got: &[u8]) -> Box<Fault> {
    if got.is_empty() {
        return refused(FailureKind::ClosedEarly, "the server closed the connection without an answer");
    }
    let said = format!("the server closed the connection within the answer's header, after '{}'", quoted(got));
    refused(FailureKind::ClosedEarly, said).with_answer(partial_answer(got))
}

fn broken(error: &io::Error, got: &[u8]) -> Box<Fault> {
    if let Some(fault) = late_fault(error) {
        return fault;
    }
    let said = match kind_of(error) {
        FailureKind::Reset if got.is_empty() => "the server reset the connection without an answer".to_owned(),
        FailureKind::ClosedEarly => return closed_early(got),
        _ => format!("the answer could not be read: {}", words(error)),
    };
    refused(kind_of(error), said)
}

/// The sentence for an answer that did not come in time; `got` is the part that did.
pub(super) fn too_late(got: &[u8], limit: Duration) -> Box<Fault> {
    let limit = crate::human::latency(limit);
    if got.is_empty() {
        return refused(FailureKind::Timeout, format!("no answer within {limit}"));
    }
    let said = format!("only a part of the answer came within {limit}: '{}'", quoted(got));
    refused(FailureKind::Timeout, said).with_answer(partial_answer(got))
}

/// Reads a status line and header fields; `head` ends with the empty line.
pub(super) fn parse_head(head: &[u8]) -> Result<Answer, Box<Fault>> {
    let malformed = |what: &str| {
        refused(FailureKind::NotHttp, format!("the answer's header is malformed: {what}"))
            .with_answer(partial_answer(head))
    };
    let line_end = memchr::memchr(b'\n', head).unwrap_or(head.len());
    let (line, fields) = head.split_at(line_end);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut answer = status_line(line).ok_or_else(|| malformed(&format!("status line '{}'", quoted(line))))?;
    let mut room = vec![httparse::EMPTY_HEADER; memchr_iter(b'\n', fields).count().min(FIELDS_MAX)];
    match httparse::parse_headers(fields.get(1..).unwrap_or_default(), &mut room) {
        Ok(httparse::Status::Complete((_, fields))) => {
            let shown = |h: &httparse::Header<'_>| (visible(h.name.as_bytes()), visible(h.value));
            answer.headers = fields.iter().map(shown).collect();
            Ok(answer)
        }
        Ok(httparse::Status::Partial) => Err(malformed("it ends within a field")),
        Err(e) => Err(malformed(&e.to_string())),
    }
}

/// `HTTP/1.1 101 Switching Protocols`; of any version, and without a reason where there is none.
fn status_line(line: &[u8]) -> Option<Answer> {
    let mut parts = line.splitn(3, |b| *b == b' ');
    let version = parts.next().filter(|v| v.starts_with(b"HTTP/"))?;
    let status = parts.next().filter(|s| s.len() == 3 && s.iter().all(u8::is_ascii_digit))?;
    let status = std::str::from_utf8(status).ok()?.parse().ok()?;
    let reason = visible(parts.next().unwrap_or_default());
    Some(Answer { version: visible(version), status, reason, ..Answer::default() })
}

/// Reads the beginning of the body of a refusal: until its end, 8 KiB or half a second, whatever comes first. `buffer`
/// is what came with the header.
pub(super) async fn read_body<R: AsyncRead + Unpin>(from: &mut R, mut buffer: Vec<u8>, answer: &mut Answer) {
    let chunked = answer.header("Transfer-Encoding").is_some_and(|v| has_token(v, "chunked"));
    let length = answer.header("Content-Length").and_then(|v| v.trim().parse::<usize>().ok());
    let bodiless = matches!(answer.status, 204 | 304);
    let most = if bodiless { 0 } else { length.filter(|_| !chunked).unwrap_or(BODY_MAX).min(BODY_MAX) };
    let until = Instant::now() + BODY_WAIT;
    while buffer.len() < most && !(chunked && dechunk(&buffer).1) {
        match timeout_at(until, read_some(from, &mut buffer, most)).await {
            Ok(Ok(n)) if n > 0 => {}
            _ => break,
        }
    }
    buffer.truncate(most);
    answer.body = if chunked { shown_body(&dechunk(&buffer).0) } else { shown_body(&buffer) };
}

/// The data of a chunked body as far as it came (RFC 9112 section 7.1), and whether it is all.
fn dechunk(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut data = Vec::new();
    while let Ok(httparse::Status::Complete((skip, size))) = httparse::parse_chunk_size(raw) {
        if size == 0 {
            return (data, true);
        }
        let rest = raw.get(skip..).unwrap_or_default();
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len());
        data.extend_from_slice(rest.get(..size).unwrap_or_default());
        raw = rest.get(size..).unwrap_or_default();
        raw = raw.strip_prefix(b"\r\n").unwrap_or(raw);
    }
    (data, false)
}

/// A body made safe to show; its line ends stay line ends.
fn shown_body(bytes: &[u8]) -> String {
    let bytes = bytes.get(..BODY_MAX).unwrap_or(bytes);
    let lines = bytes.split(|b| *b == b'\n').map(|line| visible(line.strip_suffix(b"\r").unwrap_or(line)));
    lines.collect::<Vec<String>>().join("\n")
}

fn has_token(list: &str, token: &str) -> bool {
    list.split(',').any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// All values of a list-valued header hold `token` somewhere (RFC 9110 section 5.6.1).
fn any_has_token(answer: &Answer, name: &str, token: &str) -> bool {
    answer.headers.iter().any(|(n, v)| n.eq_ignore_ascii_case(name) && has_token(v, token))
}

/// Whether the answer opens a tunnel (RFC 6455 section 4.1, "the client MUST validate the server's response").
pub(super) fn judge(answer: &Answer, request: &Request) -> Result<(), (FailureKind, String)> {
    if answer.status != 101 {
        let reason = if answer.reason.is_empty() { String::new() } else { format!(" {}", answer.reason) };
        return Err((FailureKind::HttpStatus, format!("the server answered {}{reason} instead of 101", answer.status)));
    }
    upgrade_headers(answer)
        .and_then(|()| extensions(answer, request))
        .map_err(|said| (FailureKind::BadUpgradeHeaders, said))?;
    accept(answer, request).map_err(|said| (FailureKind::AcceptMismatch, said))?;
    subprotocol(answer, request).map_err(|said| (FailureKind::SubprotocolMismatch, said))
}

fn upgrade_headers(answer: &Answer) -> Result<(), String> {
    let found = |name: &str| {
        answer.header(name).map_or_else(|| format!("no {name} header"), |value| format!("'{name}: {value}'"))
    };
    if matches!(answer.version.as_str(), "HTTP/1.0" | "HTTP/0.9") {
        return Err(format!("the 101 is an {} answer; a WebSocket opens with HTTP/1.1", answer.version));
    }
    if !any_has_token(answer, "Upgrade", "websocket") {
        return Err(format!("the 101 has {} where 'Upgrade: websocket' must stand", found("Upgrade")));
    }
    if !any_has_token(answer, "Connection", "upgrade") {
        return Err(format!("the 101 has {} where 'Connection: upgrade' must stand", found("Connection")));
    }
    Ok(())
}

/// RFC 6455 section 9.1: only what was offered may be taken up.
fn extensions(answer: &Answer, request: &Request) -> Result<(), String> {
    let fields = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Sec-WebSocket-Extensions"));
    let mut chosen = fields.flat_map(|(_, value)| value.split(',')).map(str::trim).filter(|e| !e.is_empty());
    match chosen.find(|e| !request.offers_extension(e)) {
        Some(stranger) => Err(format!("the 101 turns on the extension '{stranger}', which was not offered")),
        None => Ok(()),
    }
}

fn accept(answer: &Answer, request: &Request) -> Result<(), String> {
    let wanted = request.accept();
    match answer.header("Sec-WebSocket-Accept") {
        Some(got) if got.trim() == wanted => Ok(()),
        Some(got) => Err(format!("the 101 carries Sec-WebSocket-Accept '{got}' where our key wants '{wanted}'")),
        None => Err("the 101 has no Sec-WebSocket-Accept header".to_owned()),
    }
}

/// Browsers insist on a choice when something was offered (WHATWG WebSockets, "establish a WebSocket connection"), and so
/// does a probe that is to show what browsers see.
fn subprotocol(answer: &Answer, request: &Request) -> Result<(), String> {
    let offered = request.offered();
    let offer = || redact::header_value("Sec-WebSocket-Protocol", &offered.join(", "));
    match answer.header("Sec-WebSocket-Protocol").map(str::trim).filter(|v| !v.is_empty()) {
        Some(chosen) if offered.contains(&chosen) => Ok(()),
        Some(chosen) if offered.is_empty() => {
            Err(format!("the server chose the subprotocol '{chosen}' although none was offered"))
        }
        Some(chosen) => Err(format!("the server chose the subprotocol '{chosen}', offered was '{}'", offer())),
        None if offered.is_empty() => Ok(()),
        None => Err(format!("the server chose none of the subprotocols offered ('{}'); browsers refuse that", offer())),
    }
}

/// Takes out what a recording must not carry. Comes after [`judge`], which needs the real values.
pub(super) fn hide_secrets(answer: &mut Answer) {
    for (name, value) in &mut answer.headers {
        // The names are the server's: only those are hidden that are known to carry secrets in answers.
        if ["Set-Cookie", "Location", "Sec-WebSocket-Protocol"].iter().any(|n| name.eq_ignore_ascii_case(n)) {
            *value = redact::header_value(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::probe::options::ProbeOptions;
    use crate::source::probe::url::WsUrl;

    async fn read(text: &[u8]) -> Result<(Answer, Vec<u8>), Box<Fault>> {
        let mut from = text;
        let mut buffer = Vec::new();
        read_head(&mut from, &mut buffer).await.map(|answer| (answer, buffer))
    }

    #[tokio::test]
    async fn any_version_case_and_order_is_kept() {
        let (answer, rest) =
            read(b"HTTP/1.0 426 Upgrade Required\r\nserver: x\r\nX-b:  1 \nX-A: 2\r\n\r\nbody").await.unwrap();
        assert_eq!(
            (answer.version.as_str(), answer.status, answer.reason.as_str()),
            ("HTTP/1.0", 426, "Upgrade Required")
        );
        let headers: Vec<(&str, &str)> = answer.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(headers, [("server", "x"), ("X-b", "1"), ("X-A", "2")]);
        assert_eq!(rest, b"body");
        for (line, status, reason) in
            [("HTTP/2 200", 200, ""), ("HTTP/1.1 101 ", 101, ""), ("HTTP/9.9 503 a b", 503, "a b")]
        {
            let (answer, _) = read(format!("{line}\r\n\r\n").as_bytes()).await.unwrap();
            assert_eq!((answer.status, answer.reason.as_str()), (status, reason), "{line}");
        }
    }

    #[tokio::test]
    async fn interim_answers_are_skipped_but_not_for_ever() {
        let (answer, _) =
            read(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
                .await
                .unwrap();
        assert_eq!(answer.status, 200);
        let endless = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000);
        let fault = read(&endless).await.unwrap_err();
        assert_eq!(fault.failure.kind, FailureKind::NotHttp, "{}", fault.failure.said);
    }

    #[tokio::test]
    async fn what_is_no_http_is_kept_as_evidence() {
        let cases: [(&[u8], FailureKind, &str); 8] = [
            (b"", FailureKind::ClosedEarly, "without an answer"),
            (b"HTTP/1.1 10", FailureKind::ClosedEarly, "after 'HTTP/1.1 10'"),
            (b"SSH-2.0-OpenSSH_9\r\n", FailureKind::NotHttp, "SSH-2.0"),
            (b"\x15\x03\x01\x00\x02\x02\x46", FailureKind::NotHttp, "wss://"),
            (b"HTTP/1.1 abc x\r\n\r\n", FailureKind::NotHttp, "status line"),
            (b"HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n", FailureKind::NotHttp, "malformed"),
            (b"HTTP/1.1\r\n\r\n", FailureKind::NotHttp, "status line"),
            (b"\x1b[2J", FailureKind::NotHttp, "\\x1b[2J"),
        ];
        for (bytes, kind, part) in cases {
            let fault = read(bytes).await.unwrap_err();
            assert_eq!(fault.failure.kind, kind, "{bytes:?}");
            assert!(fault.failure.said.contains(part), "{}", fault.failure.said);
            let status = fault.answer.map(|a| (a.status, a.body));
            let known = bytes.starts_with(b"HTTP/1.1 200").then(|| (200, "bad name: x\n\n".to_owned()));
            assert_eq!(status, known, "a status that was not said is not made up");
        }
    }

    #[tokio::test]
    async fn an_endless_header_ends_at_the_cap() {
        let mut text = b"HTTP/1.1 200 OK\r\n".to_vec();
        text.extend(b"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(4_000));
        let fault = read(&text).await.unwrap_err();
        assert!(fault.failure.said.contains("64 KiB"), "{}", fault.failure.said);
        assert!(fault.answer.unwrap().body.len() <= BODY_MAX);
        let mut many = b"HTTP/1.1 200 OK\r\n".to_vec();
        many.extend(b"a:\r\n".repeat(3_000));
        many.extend(b"\r\n");
        assert!(read(&many).await.unwrap_err().failure.said.contains("malformed"));
    }

    #[tokio::test]
    async fn bodies_are_read_to_their_end_and_no_further() {
        let body = async |head: &str, body: &[u8]| {
            let mut answer = parse_head(head.as_bytes()).unwrap();
            let mut from = body;
            read_body(&mut from, Vec::new(), &mut answer).await;
            answer.body
        };
        assert_eq!(body("HTTP/1.1 400 x\r\nContent-Length: 3\r\n\r\n", b"abcdef").await, "abc");
        assert_eq!(body("HTTP/1.1 400 x\r\n\r\n", b"a\r\nb\x1b\n").await, "a\nb\\x1b\n");
        assert_eq!(
            body("HTTP/1.1 400 x\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n").await,
            "abcde"
        );
        assert_eq!(body("HTTP/1.1 400 x\r\nTransfer-Encoding: chunked\r\n\r\n", b"ffffffffff\r\nabc").await, "abc");
        assert_eq!(body("HTTP/1.1 304 x\r\n\r\n", b"abc").await, "");
        assert_eq!(
            body("HTTP/1.1 200 x\r\nContent-Length: 99999999999999\r\n\r\n", &b"x".repeat(20_000)).await.len(),
            BODY_MAX
        );
    }

    fn judged(head: &str, subprotocols: &[&str]) -> Result<(), (FailureKind, String)> {
        let options = ProbeOptions {
            headers: vec![("Sec-WebSocket-Key".into(), "dGhlIHNhbXBsZSBub25jZQ==".into())],
            subprotocols: subprotocols.iter().map(|s| (*s).to_owned()).collect(),
            ..ProbeOptions::default()
        };
        let request = Request::new(&WsUrl::parse("ws://a.test/").unwrap(), &options);
        judge(&parse_head(head.replace('\n', "\r\n").as_bytes()).unwrap(), &request)
    }

    const GOOD: &str = "HTTP/1.1 101 x\nUpgrade: WebSocket\nConnection: keep-alive, UPGRADE\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n";

    #[test]
    fn a_101_is_judged_by_the_book() {
        use FailureKind as K;
        assert_eq!(judged(&format!("{GOOD}\n"), &[]), Ok(()));
        assert_eq!(judged(&format!("{GOOD}Sec-WebSocket-Protocol: b\n\n"), &["a", "b"]), Ok(()));
        let drop =
            |name: &str| GOOD.lines().filter(|l| !l.starts_with(name)).fold(String::new(), |t, l| t + l + "\n") + "\n";
        let cases: [(String, &[&str], K, &str); 9] = [
            (GOOD.replace("1.1", "1.0") + "\n", &[], K::BadUpgradeHeaders, "HTTP/1.0"),
            (drop("Upgrade"), &[], K::BadUpgradeHeaders, "no Upgrade header"),
            (drop("Connection"), &[], K::BadUpgradeHeaders, "no Connection header"),
            (GOOD.replace("UPGRADE", "close") + "\n", &[], K::BadUpgradeHeaders, "'Connection: keep-alive, close'"),
            (drop("Sec-WebSocket-Accept"), &[], K::AcceptMismatch, "no Sec-WebSocket-Accept"),
            (GOOD.replace("s3p", "S3p") + "\n", &[], K::AcceptMismatch, "wants 's3pPL"),
            (
                GOOD.to_owned() + "Sec-WebSocket-Extensions: permessage-deflate\n\n",
                &[],
                K::BadUpgradeHeaders,
                "not offered",
            ),
            (
                GOOD.to_owned() + "Sec-WebSocket-Protocol: c\n\n",
                &["a", "b"],
                K::SubprotocolMismatch,
                "'c', offered was 'a, b'",
            ),
            (GOOD.to_owned() + "\n", &["a"], K::SubprotocolMismatch, "none of the subprotocols"),
        ];
        for (head, offered, kind, part) in cases {
            let (got, said) = judged(&head, offered).unwrap_err();
            assert_eq!(got, kind, "{head}");
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn an_extension_may_be_taken_up_when_it_was_offered() {
        let judged = |offered: &[&str], field: &str| {
            let options = ProbeOptions {
                headers: vec![("Sec-WebSocket-Key".into(), "dGhlIHNhbXBsZSBub25jZQ==".into())],
                extensions: offered.iter().map(|e| (*e).to_owned()).collect(),
                ..ProbeOptions::default()
            };
            let request = Request::new(&WsUrl::parse("ws://a.test/").unwrap(), &options);
            let head = format!("{GOOD}Sec-WebSocket-Extensions: {field}\n\n").replace('\n', "\r\n");
            judge(&parse_head(head.as_bytes()).unwrap(), &request).map_err(|(_, said)| said)
        };
        let deflate: &[&str] = &["permessage-deflate; client_max_window_bits"];
        assert_eq!(judged(deflate, "Permessage-Deflate; server_no_context_takeover"), Ok(()));
        assert_eq!(judged(deflate, ""), Ok(()), "it need not be taken up");
        assert!(judged(deflate, "permessage-deflate, x-other").unwrap_err().contains("'x-other'"));
        assert!(judged(&[], "permessage-deflate").unwrap_err().contains("not offered"));
    }

    #[test]
    fn the_head_ends_at_the_first_empty_line_however_it_is_cut() {
        let head = b"HTTP/1.1 200 OK\r\na: b\r\n\r\nrest";
        for cut in 0..head.len() {
            let searched = cut.saturating_sub(2);
            let first = head_end(&head[..cut], 0);
            let end = first.or_else(|| head_end(head, searched));
            assert_eq!(end, Some(head.len() - 4), "cut at {cut}");
        }
        assert_eq!(head_end(b"a\n\nb", 0), Some(3));
        assert_eq!(head_end(b"a\r\n\r", 0), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300), prefix in 0..3_u8) {
            let mut text = match prefix { 0 => Vec::new(), 1 => b"HTTP/1.1 101 x\r\n".to_vec(), _ => b"HTTP/1.1 ".to_vec() };
            text.extend(bytes);
            let _ = head_end(&text, 3);
            let _ = parse_head(&text);
            let _ = dechunk(&text);
        }
    }
}
