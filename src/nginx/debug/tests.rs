//! Real debug logs and the handshakes in them; hostile lines and what they cannot do.

use super::*;
use crate::time::Zone;

/// nginx 1.22.1: refused, not upgraded, upgraded behind auth_request and a dead peer, and a client that went away.
const STORIES: &[u8] = include_bytes!("../../../tests/data/debug/handshakes.log");
/// nginx 1.31.3, the simplest case.
const NEWER: &[u8] = include_bytes!("../../../tests/data/debug/nginx-1.31.3.log");
/// nginx 1.22.1, a whole log with nothing left out.
const WHOLE: &[u8] = include_bytes!("../../../tests/data/logs/lg_debug.error.log");

fn read_into(log: &[u8], collector: &mut Handshakes) -> Vec<Handshake> {
    let mut times = TimeCache::in_zone(Zone::UTC);
    log.split(|&b| b == b'\n').flat_map(|line| collector.line(line, &mut times)).collect()
}

fn read(log: &[u8]) -> Vec<Handshake> {
    read_into(log, &mut Handshakes::default())
}

fn names(head: &Head) -> Vec<&str> {
    head.headers.iter().map(|(name, _)| name.as_str()).collect()
}

/// Debug lines of one connection.
fn log(connection: u64, messages: &[&str]) -> Vec<u8> {
    let lines = messages.iter().map(|m| match m.strip_prefix('|') {
        Some(continuation) => format!("{continuation}\n"),
        None => format!("2026/11/21 02:02:31 [debug] 7#7: *{connection} {m}\n"),
    });
    lines.collect::<String>().into_bytes()
}

#[test]
fn a_tunnel_shows_all_four_heads_on_both_versions() {
    for (log, server, key) in
        [(WHOLE, "nginx/1.22.1", "kT+/4dBqzvVdnCj5O+PHjw=="), (NEWER, "nginx/1.31.3", "zb0As0f0MTeClOTLND5paA==")]
    {
        let read = read(log);
        let [h] = read.as_slice() else { panic!("one handshake: {read:?}") };
        assert!(h.client.as_deref().is_some_and(|c| c.starts_with("127.0.0.1:")), "{:?}", h.client);
        assert_eq!((h.connection, h.truncated, h.asks_upgrade()), (1, false, true));
        assert_eq!(h.request.line, "GET /ws HTTP/1.1");
        assert_eq!(
            names(&h.request),
            ["Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"],
            "in the client's order"
        );
        assert_eq!(h.request.header("sec-websocket-key"), Some(key), "a nonce is no secret");
        assert_eq!(h.upstream.as_deref(), Some("127.0.0.1:19001"));
        let asked = h.upstream_request.as_ref().expect("the request to the backend");
        assert_eq!((asked.line.as_str(), asked.header("Connection")), ("GET /ws HTTP/1.1", Some("upgrade")));
        assert_eq!(asked.headers.len(), 5);
        let answer = h.upstream_answer.as_ref().expect("the backend's answer");
        assert_eq!((answer.status(), answer.line.as_str()), (Some(101), "101 Switching Protocols"));
        assert_eq!(names(answer), ["Upgrade", "Connection", "Sec-WebSocket-Accept"]);
        let told = h.answer.as_ref().expect("nginx's answer");
        assert_eq!((told.status(), told.header("Server")), (Some(101), Some(server)));
        assert_eq!(told.header("Connection"), Some("upgrade"), "nginx writes its own");
    }
}

#[test]
fn each_story_of_a_day_is_told_by_its_handshake() {
    let mut collector = Handshakes::default();
    let read = read_into(STORIES, &mut collector);
    let told: Vec<_> = read
        .iter()
        .map(|h| {
            let status = |head: &Option<Head>| head.as_ref().and_then(Head::status);
            (h.request.line.as_str(), status(&h.upstream_answer), status(&h.answer), h.upstream.as_deref())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("GET /down?room=7&token=*** HTTP/1.1", None, Some(502), Some("127.0.0.1:9002")),
            ("GET /bare HTTP/1.1", Some(426), Some(426), Some("127.0.0.1:9001")),
            ("GET /pool HTTP/1.1", Some(101), Some(101), Some("127.0.0.1:9001")),
            ("GET /gone HTTP/1.1", None, None, None),
        ]
    );
    assert!(collector.finish().is_empty(), "all of them ended in the log");
    // The bare proxy_pass: the evidence that the headers were not passed on.
    let bare = &read[1];
    assert!(bare.request.header("Upgrade").is_some());
    let asked = bare.upstream_request.as_ref().expect("asked");
    assert_eq!((asked.line.as_str(), asked.header("Upgrade")), ("GET /bare HTTP/1.0", None));
    assert_eq!(asked.header("Connection"), Some("close"));
    assert_eq!(bare.client, read[0].client, "the same kept connection");
    // Behind auth_request the main request is shown, not the subrequest that asked first.
    let pool = &read[2];
    assert_eq!(pool.upstream_request.as_ref().map(|h| h.line.as_str()), Some("GET /pool HTTP/1.1"));
    assert_eq!(pool.upstream_answer.as_ref().and_then(|h| h.header("X-User")), None);
    assert!(pool.truncated, "its Cookie is longer than a line of the log");
    assert!(!bare.truncated && !read[0].truncated);
    assert_eq!(read[3].client.as_deref().map(|c| c.starts_with("127.0.0.1:")), Some(true));
}

#[test]
fn no_secret_leaves_the_collector() {
    assert!(memchr::memmem::find(STORIES, b"s3cret").is_some());
    let shown = serde_json::to_string(&read(STORIES)).expect("serializes");
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(
        shown.contains(r#"["Authorization","Bearer ***"]"#) && shown.contains(r#"["Set-Cookie","sid=***; HttpOnly"]"#)
    );
}

#[test]
fn connections_that_take_turns_do_not_mix() {
    let mut both = Vec::new();
    let (a, b) = (
        [
            "http request line: \"GET /a HTTP/1.1\"",
            "http header: \"Host: a.test\"",
            "HTTP/1.1 400 Bad Request\r",
            "|X: a\r",
            "|\r",
            "http close request",
        ],
        [
            "http request line: \"GET /b HTTP/1.1\"",
            "http header: \"Host: b.test\"",
            "HTTP/1.1 404 Not Found\r",
            "|X: b\r",
            "|\r",
            "http close request",
        ],
    );
    for (a, b) in [(&a[..2], &b[..2]), (&a[2..5], &b[2..5]), (&a[5..], &b[5..])] {
        both.extend(log(1, a));
        both.extend(log(2, b));
    }
    let read = read(&both);
    let told: Vec<_> = read
        .iter()
        .map(|h| (h.connection, h.request.header("Host"), h.answer.as_ref().and_then(|a| a.header("X"))))
        .collect();
    assert_eq!(told, [(1, Some("a.test"), Some("a")), (2, Some("b.test"), Some("b"))]);
}

#[test]
fn a_header_forges_no_other_line() {
    let told = read(&log(
        1,
        &[
            "http request line: \"GET /a HTTP/1.1\"",
            "http header: \"X: a\", http proxy status 101 \"101 Switching Protocols\"",
            "http header: \"Y\u{1b}[2J: \u{202e}b\"",
            "HTTP/1.1 400 Bad Request\r",
            "|",
            "http close request",
        ],
    ));
    assert_eq!(told[0].upstream_answer, None);
    assert_eq!(told[0].request.header("X"), Some("a\", http proxy status 101 \"101 Switching Protocols"));
    assert_eq!(told[0].request.headers[1].0, "Y\\x1b[2J");
    assert_eq!(told[0].request.headers[1].1, "\\u{202e}b");
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let mut collector = Handshakes::new(Bounds { connections: 4, bytes: 1_000 });
    for connection in 0..100 {
        let long = format!("http header: \"X: {}\"", "x".repeat(300));
        let mut messages = vec!["accept: 192.0.2.1:5 fd:3", "http request line: \"GET /a HTTP/1.1\""];
        messages.extend([long.as_str(); 50]);
        assert!(read_into(&log(connection, &messages), &mut collector).is_empty());
    }
    assert_eq!(collector.given_up(), 96);
    let left = collector.finish();
    assert_eq!(left.iter().map(|h| h.connection).collect::<Vec<_>>(), [96, 97, 98, 99]);
    for h in left {
        assert!(h.truncated && h.request.headers.len() == 2, "{}", h.request.headers.len());
    }
}

#[test]
fn a_log_that_begins_or_ends_in_the_middle_makes_nothing_up() {
    for from in 0..WHOLE.split(|&b| b == b'\n').count() {
        let rest: Vec<&[u8]> = WHOLE.split_inclusive(|&b| b == b'\n').skip(from).collect();
        for h in read(&rest.concat()) {
            assert_eq!(h.request.line, "GET /ws HTTP/1.1");
        }
        let first: Vec<&[u8]> = WHOLE.split_inclusive(|&b| b == b'\n').take(from).collect();
        let mut collector = Handshakes::default();
        let whole = read_into(&first.concat(), &mut collector).len();
        let left = collector.finish();
        assert!(whole + left.len() <= 1);
        assert!(left.iter().all(|h| h.answer.is_none() || h.request.headers.len() == 5));
    }
}

#[test]
fn interim_answers_do_not_end_a_handshake() {
    let told = read(&log(
        1,
        &[
            "http request line: \"GET /a HTTP/1.1\"",
            "HTTP/1.1 103 Early Hints\r",
            "|Link: </a>\r",
            "|\r",
            "HTTP/1.1 101 Switching Protocols\r",
            "|Upgrade: websocket\r",
            "|\r",
            "http upstream process upgraded, fu:0",
        ],
    ));
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].answer.as_ref().and_then(Head::status), Some(101));
}
