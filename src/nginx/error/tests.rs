//! Real and hostile lines, and what must be read from them.

use super::*;
use crate::human::visible;

/// Reads `text` behind a head of level error.
fn read(text: &str) -> ErrorLine<'static> {
    let line = format!("2026/11/21 02:02:31 [error] 7#8: *42 {text}");
    parse(Box::leak(line.into_boxed_str()).as_bytes()).expect("has a head")
}

fn text(field: Option<&[u8]>) -> Option<&str> {
    field.map(|f| std::str::from_utf8(f).expect("UTF-8 in this test"))
}

/// A context whose genuine upstream is 10.0.0.1, with the given request line, Host and Referer.
fn proxied(request: &str, host: &str, referrer: &str) -> String {
    let uri = request.split(' ').nth(1).unwrap_or("/");
    format!(
        "connect() failed (111: Connection refused) while connecting to upstream, client: 192.0.2.1, server: example.test, \
         request: \"{request}\", upstream: \"http://10.0.0.1:80{uri}\", host: \"{host}\", referrer: \"{referrer}\""
    )
}

#[test]
fn a_full_line_gives_all_its_fields() {
    let line = b"2026/11/21 01:58:13 [error] 3303#3304: *17 SSL_do_handshake() failed (SSL: error:0A00010B:SSL routines::wrong \
        version number) (104: Connection reset by peer) while SSL handshaking to upstream, client: 2001:db8::1, server: , \
        request: \"GET /ws?a=1 HTTP/1.1\", subrequest: \"/auth\", upstream: \"https://[::1]:8080/auth\", host: \"example.test\", \
        referrer: \"https://example.test/\"";
    let l = parse(line).expect("a head");
    assert_eq!((l.time, l.level, l.pid, l.connection), (&b"2026/11/21 01:58:13"[..], Level::Error, 3303, Some(17)));
    assert_eq!(l.message, b"SSL_do_handshake() failed");
    assert_eq!(text(l.ssl), Some("error:0A00010B:SSL routines::wrong version number"));
    assert_eq!(l.errno, Some(104));
    assert_eq!(text(l.action), Some("SSL handshaking to upstream"));
    assert_eq!((text(l.client), text(l.server)), (Some("2001:db8::1"), Some("")));
    assert_eq!(text(l.request), Some("GET /ws?a=1 HTTP/1.1"));
    assert_eq!(text(l.subrequest), Some("/auth"));
    assert_eq!(text(l.upstream), Some("https://[::1]:8080/auth"));
    assert_eq!((text(l.host), text(l.referrer)), (Some("example.test"), Some("https://example.test/")));
    assert!(!l.truncated);
}

#[test]
fn a_line_without_a_head_continues_the_entry_before() {
    for line in [
        &b""[..],
        b"Host: example.test\r",
        b"2026/11/21",
        b"2026/11/21 01:58:13 [fatal] 1#1: x",
        b"2026/11/21 01:58:13 ",
    ] {
        assert_eq!(parse(line), None, "{}", visible(line));
    }
    for line in [
        &b"2026/11/21 01:58:13 [error] x#1: m"[..],
        b"2026-11-21 01:58:13 [error] 1#1: m",
        b"2026/11/21 01:58:13 [error] 99999999999#1: m",
    ] {
        assert_eq!(parse(line), None, "{}", visible(line));
    }
    assert!(parse(b"\0\0\0\x002026/11/21 01:58:13 [error] 1#1: behind a hole").is_some());
}

#[test]
fn errno_is_a_number_whatever_the_text() {
    assert_eq!(read("upstream timed out (110: Operation timed out)").errno, Some(110));
    let l = read("b.test could not be resolved (3: Host not found)");
    assert_eq!(
        (l.message, l.errno),
        (&b"b.test could not be resolved (3: Host not found)"[..], None),
        "a resolver's code"
    );
    assert_eq!(read("upstream SSL certificate verify error: (18:self-signed certificate)").errno, None);
    assert_eq!(read("failed (4294967296: too large)").errno, None);
    assert_eq!(text(read("SSL_shutdown() failed (SSL:)").ssl), Some(""));
}

#[test]
fn only_a_known_action_is_taken_off_the_message() {
    let l = read("sem_wait() failed while waiting on shmtx (4: Interrupted system call)");
    assert_eq!((l.message, l.action, l.errno), (&b"sem_wait() failed while waiting on shmtx"[..], None, Some(4)));
    let l = read("accept4() failed (24: Too many open files) while accepting new connection on 0.0.0.0:443");
    assert_eq!((text(l.action), l.errno), (Some("accepting new connection on 0.0.0.0:443"), Some(24)));
    let l = read("recv() failed (111: Connection refused) while resolving, resolver: 127.0.0.53:53");
    assert_eq!((text(l.action), l.message), (Some("resolving"), &b"recv() failed"[..]));
    let l = read("send() failed (111: Connection refused) while logging to syslog, server: 127.0.0.1:514");
    assert_eq!((text(l.action), text(l.server)), (Some("logging to syslog"), Some("127.0.0.1:514")));
}

#[test]
fn stream_and_mail_have_contexts_of_their_own() {
    let l = read(
        "recv() failed (104: Connection reset by peer) while proxying connection, udp client: 192.0.2.1, server: 0.0.0.0:53, \
         upstream: \"10.0.0.1:53\", bytes from/to client:28/0, bytes from/to upstream:0/28",
    );
    assert_eq!((text(l.client), text(l.server)), (Some("192.0.2.1"), Some("0.0.0.0:53")));
    assert_eq!((text(l.upstream), l.truncated), (Some("10.0.0.1:53"), false));
    let l = read(
        "auth failed, client: 192.0.2.1 using starttls, server: 0.0.0.0:25, login: \"a\", upstream: 6.6.6.6:1\", upstream: 10.0.0.1:25",
    );
    assert_eq!((text(l.client), text(l.upstream)), (Some("192.0.2.1"), Some("10.0.0.1:25")));
    let l = read("client closed connection while waiting for request, client: unix:, server: unix:/run/n.sock");
    assert_eq!((text(l.client), text(l.server)), (Some("unix:"), Some("unix:/run/n.sock")));
}

#[test]
fn a_referrer_or_a_host_forges_nothing() {
    let line = proxied("GET /ws HTTP/1.1", "example.test", "http://r/\" , upstream: \"http://6.6.6.6/\", host: \"evil");
    let l = read(&line);
    assert_eq!(text(l.upstream), Some("http://10.0.0.1:80/ws"));
    assert_eq!(text(l.host), Some("example.test"));
    let line = proxied("GET /ws HTTP/1.1", "example.test", "x HTTP/1.1\", upstream: \"http://6.6.6.6/\", host: \"evil");
    assert_eq!(text(read(&line).upstream), Some("http://10.0.0.1:80/ws"));
    let line =
        proxied("GET /ws HTTP/1.1", "example.test", "x, client: 6.6.6.6, server: evil, request: \"GET / HTTP/1.1");
    let l = read(&line);
    assert_eq!((text(l.client), text(l.request)), (Some("192.0.2.1"), Some("GET /ws HTTP/1.1")));
    let line = "open() \"/srv/x\" failed (2: No such file or directory), client: 192.0.2.1, server: s, request: \"GET /x HTTP/1.1\", \
                host: \"a\", upstream: \"http://6.6.6.6/\", host: \"b\"";
    assert_eq!(read(line).upstream, None, "upstream stands before host");
}

#[test]
fn a_request_line_forges_nothing() {
    let line = proxied("GET /ws?x=\",%20upstream:\"http://evil:1/ HTTP/1.1", "example.test", "r");
    let l = read(&line);
    assert_eq!(text(l.request), Some("GET /ws?x=\",%20upstream:\"http://evil:1/ HTTP/1.1"));
    assert_eq!(text(l.upstream), Some("http://10.0.0.1:80/ws?x=\",%20upstream:\"http://evil:1/"));
    assert_eq!(text(l.host), Some("example.test"));

    // A path with spaces, as nginx before 1.21.1 took them and passed them on: the version stands at the true end.
    let l = read(
        "connect() failed, client: 192.0.2.1, server: s, request: \"GET /\", upstream: \"http://6.6.6.6/\", host: \"y HTTP/1.1\", \
         upstream: \"http://10.0.0.1:80/\", upstream: \"http://6.6.6.6/\", host: \"y\", host: \"example.test\"",
    );
    assert_eq!(text(l.request), Some("GET /\", upstream: \"http://6.6.6.6/\", host: \"y HTTP/1.1"));
    assert!(text(l.upstream).is_some_and(|u| u.starts_with("http://10.0.0.1:80/")));
    assert_eq!(l.host, None, "the upstream's path holds one too");

    // Never accepted, so never proxied: all of it is the request line.
    let l = read(
        "client sent invalid request while reading client request line, client: 192.0.2.1, server: s, \
         request: \"GET / HTTP/1.1\", upstream: \"http://6.6.6.6/\", host: \"evil\"",
    );
    assert_eq!((l.upstream, l.host), (None, None));

    // No version, and something like a field behind it: HTTP/0.9 or forged, nobody can tell.
    let l = read("connect() failed, client: 192.0.2.1, server: s, request: \"GET /\", upstream: \"http://6.6.6.6/\"");
    assert_eq!((text(l.request), l.upstream), (Some("GET /"), None));
}

#[test]
fn an_http2_path_that_holds_a_version_costs_only_the_contested_fields() {
    let genuine = "upstream: \"http://10.0.0.1/\", host: \"example.test\"";
    let line = format!(
        "connect() failed, client: 192.0.2.1, server: s, request: \"GET /a HTTP/2.0\", upstream: \"http://6.6.6.6/\", \
         host: \"example.test\", referrer: \"y HTTP/2.0\", {genuine}"
    );
    let l = read(&line);
    assert_eq!((l.upstream, text(l.host), l.referrer), (None, Some("example.test"), None));
}

#[test]
fn a_decoded_uri_in_the_upstream_costs_the_fields_behind_it() {
    let l = read(
        "connect() failed, client: 192.0.2.1, server: s, request: \"GET /%22,%20host:%20%22evil HTTP/1.1\", \
         upstream: \"http://10.0.0.1/\", host: \"evil\", host: \"example.test\"",
    );
    assert_eq!((text(l.upstream), l.host), (Some("http://10.0.0.1/"), None));
}

#[test]
fn a_context_quoted_in_the_message_is_not_believed() {
    let l = read(
        "open() \"/srv/, client: 6.6.6.6, server: evil, request: \"GET / HTTP/1.1\", host: \"\" failed (2: No such file or \
         directory), client: 192.0.2.1, server: s, request: \"GET /,%20client:%206.6.6.6,%20server:%20evil HTTP/1.1\", host: \"h\"",
    );
    assert_eq!((l.client, l.server, l.request, l.host), (None, None, None, None));
    let l = read(
        "client sent invalid header line: \"X: \", client: 6.6.6.6, server: s\" while reading client request headers, \
         client: 192.0.2.1, server: s, request: \"GET /ws HTTP/1.1\"",
    );
    assert_eq!(l.client, None);
    let l =
        read("FastCGI sent in stderr: \"no, client: said so\" while reading upstream, client: 192.0.2.1, server: s");
    assert_eq!((text(l.client), text(l.action)), (Some("192.0.2.1"), Some("reading upstream")));
}

#[test]
fn a_cut_line_says_so_and_keeps_what_is_whole() {
    let whole = proxied("GET /ws?t=abcdefgh HTTP/1.1", "example.test", "r");
    let head = "2026/11/21 02:02:31 [error] 7#8: *42 ";
    let line = format!("{head}{whole}");
    let full = parse(line.as_bytes()).expect("a head");
    for end in head.len()..line.len() {
        let cut = parse(&line.as_bytes()[..end]).expect("a head");
        assert!(cut.client.is_none_or(|c| Some(c) == full.client), "{end}: {:?}", text(cut.client));
        assert!(cut.host.is_none_or(|h| Some(h) == full.host), "{end}: {:?}", text(cut.host));
        assert!(cut.upstream.is_none_or(|u| u.starts_with(b"http://10.0.0.1:80/")), "{end}: {:?}", text(cut.upstream));
        let at_a_seam =
            [", request:", ", upstream:", ", host:", ", referrer:"].iter().any(|k| line[end..].starts_with(k));
        if end > line.find(", server: ").map_or(0, |at| at + 30) && !at_a_seam {
            assert!(cut.truncated, "{end}: {}", &line[..end]);
        }
    }
    let longest = format!("{head}{}", "a".repeat(LONGEST - head.len()));
    assert!(parse(longest.as_bytes()).expect("a head").truncated);
}

#[test]
fn debug_lines_have_no_context() {
    let l =
        parse(b"2026/11/21 02:02:31 [debug] 7#7: *1 http header: \"X: , client: 6.6.6.6, server: s\"").expect("a head");
    assert_eq!((l.client, l.action), (None, None));
    assert!(l.message.starts_with(b"http header"));
}

#[test]
fn the_console_form_has_no_time() {
    let l = parse_console(b"nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address in use)").expect("console form");
    assert_eq!((l.level, l.message, l.errno), (Level::Emerg, &b"bind() to 0.0.0.0:80 failed"[..], Some(98)));
    assert_eq!(parse_console(b"nginx: configuration file /etc/nginx/nginx.conf test failed"), None);
    assert_eq!(parse_console(b"nginx: [emerg"), None);
}

#[test]
fn syslog_framing_is_passed_over() {
    let line = b"2026/11/21 02:02:31 [error] 7#7: *1 no live upstreams";
    for frame in
        ["<187>Nov 21 02:02:31 web1 nginx: ", "<187>Nov  1 02:02:31  nginx: ", "Nov 21 02:02:31 web1 nginx[7]: "]
    {
        let framed = [frame.as_bytes(), line].concat();
        assert_eq!(parse(&framed), parse(line), "{frame}");
    }
}

#[test]
fn times_come_from_the_cache_as_from_the_calendar() {
    let mut cache = TimeCache::new();
    let direct =
        |s: &str| Timestamp::from_local(chrono::NaiveDateTime::parse_from_str(s, "%Y/%m/%d %H:%M:%S").expect("a date"));
    for time in [
        "2026/11/21 02:02:31",
        "2026/11/21 02:02:32",
        "2026/11/21 02:03:00",
        "2026/11/21 02:02:59",
        "2024/02/29 23:59:59",
    ] {
        assert_eq!(cache.at(time.as_bytes()), Some(direct(time)), "{time}");
    }
    for time in ["2026/02/30 00:00:00", "2026/11/21 24:00:00", "2026/11/21 00:00:61", "2026/11/21 00:00", "junk"] {
        assert_eq!(cache.at(time.as_bytes()), None, "{time}");
    }
    assert_eq!(cache.at(b"2026/11/21 02:02:31"), Some(direct("2026/11/21 02:02:31")), "a bad time spoils nothing");
    assert_eq!(cache.at(b"2026/11/21 02:02:31"), Some(direct("2026/11/21 02:02:31")), "nor does the same one again");
    cache.resume_after(Timestamp::from_secs(0));
    assert_eq!(cache.at(b"2026/11/21 02:02:31"), Some(direct("2026/11/21 02:02:31")));
}

/// The moments of error-log times in `zone`, in order, as UTC.
fn moments(zone: &str, times: &[&str]) -> Vec<String> {
    let mut cache = TimeCache::in_zone(zone.parse().expect("a zone"));
    let read = times.iter().map(|t| cache.at(t.as_bytes()).expect("a time").to_string());
    read.map(|t| t.trim_end_matches(".000000Z").to_owned()).collect()
}

#[test]
fn the_repeated_hour_is_told_by_the_order_of_the_lines() {
    let autumn = [
        "2026/10/25 01:59:59",
        "2026/10/25 02:00:01",
        "2026/10/25 02:59:58",
        "2026/10/25 02:59:57", // another worker's line, two seconds late
        "2026/10/25 02:00:02", // the clock was put back
        "2026/10/25 02:59:59", // by a worker that has not seen it yet
        "2026/10/25 02:30:00",
        "2026/10/25 02:59:59",
        "2026/10/25 03:00:00",
        "2026/10/25 02:59:50", // late by ten seconds, but not by an hour
    ];
    assert_eq!(
        moments("Europe/Berlin", &autumn),
        [
            "2026-10-24T23:59:59",
            "2026-10-25T00:00:01",
            "2026-10-25T00:59:58",
            "2026-10-25T00:59:57",
            "2026-10-25T01:00:02",
            "2026-10-25T00:59:59",
            "2026-10-25T01:30:00",
            "2026-10-25T01:59:59",
            "2026-10-25T02:00:00",
            "2026-10-25T01:59:50",
        ]
    );
    assert_eq!(
        moments("+02:00", &autumn)[3..5],
        ["2026-10-25T00:59:57", "2026-10-25T00:00:02"],
        "in a fixed zone the same lines go back"
    );
    // Within one minute, too: the hour between the lines was silent.
    let minute = ["2026/10/25 02:30:50", "2026/10/25 02:30:10"];
    assert_eq!(moments("Europe/Berlin", &minute), ["2026-10-25T00:30:50", "2026-10-25T01:30:10"]);
    // A new file, a year older than the one read before it.
    let older = ["2027/01/01 00:00:00", "2026/10/25 02:30:00"];
    assert_eq!(moments("Europe/Berlin", &older)[1], "2026-10-25T00:30:00");
}

#[test]
fn a_reader_that_begins_in_the_repeated_hour_is_told_where() {
    let berlin: Zone = "Europe/Berlin".parse().expect("a zone");
    let at = |text: &str| Timestamp::parse_rfc3339(text).expect("RFC 3339");
    let mut cache = TimeCache::in_zone(berlin);
    assert_eq!(cache.at(b"2026/10/25 02:30:00"), Some(at("2026-10-25T00:30:00Z")), "nobody can tell");
    let mut cache = TimeCache::in_zone(berlin);
    cache.resume_after(at("2026-10-25T01:10:00Z"));
    assert_eq!(cache.at(b"2026/10/25 02:30:00"), Some(at("2026-10-25T01:30:00Z")));
}

#[test]
fn the_skipped_hour_makes_no_line_jump() {
    let spring = ["2026/03/29 01:59:59", "2026/03/29 03:00:00", "2026/03/29 02:00:01"];
    assert_eq!(
        moments("Europe/Berlin", &spring),
        ["2026-03-29T00:59:59", "2026-03-29T01:00:00", "2026-03-29T01:00:01"],
        "a clock that was moved late"
    );
    assert_eq!(moments("-05:30", &spring[..1]), ["2026-03-29T07:29:59"]);
}

#[test]
fn an_entry_is_safe_to_show() {
    let raw = b"2026/11/21 02:02:31 [error] 7#7: *1 connect() failed (111: Connection refused) while connecting to upstream, \
        client: 192.0.2.1, server: s, request: \"GET /\x1b[2J\xff HTTP/1.1\", upstream: \"http://10.0.0.1:80/\", host: \"h\"";
    let e = entry(&parse(raw).expect("a head"), raw, Timestamp::from_secs(5));
    assert_eq!(e.category, Category::UpstreamConnect);
    assert_eq!(e.request.as_deref(), Some("GET /\\x1b[2J\\xff HTTP/1.1"));
    assert_eq!((e.peer(), e.path()), (Some("10.0.0.1:80"), Some("/\\x1b[2J\\xff")));
    assert!(e.raw.bytes().all(|b| b >= 0x20));
}

#[test]
fn a_secret_is_hidden_in_every_field_of_an_entry() {
    for odd in ["", "\x1b[2J"] {
        let raw = format!(
            "2026/11/21 02:02:31 [error] 7#7: *1 open() \"/srv/a?token=abc\" failed (2: No such file){odd}, client: 192.0.2.1, \
             server: s, request: \"GET /a%3Ftoken=abc?b=1&key=abc HTTP/1.1\", upstream: \"http://10.0.0.1:80/?key=abc\", \
             host: \"h?key=abc\""
        );
        let e = entry(&parse(raw.as_bytes()).expect("a head"), raw.as_bytes(), Timestamp::from_secs(5));
        assert!(e.message.starts_with("open() \"/srv/a?token=***\" failed"), "{}", e.message);
        assert_eq!(e.request.as_deref(), Some("GET /a%3Ftoken=abc?b=1&key=*** HTTP/1.1"));
        assert_eq!(e.upstream.as_deref(), Some("http://10.0.0.1:80/?key=***"));
        assert_eq!((e.client.as_deref(), e.host.as_deref()), (Some("192.0.2.1"), Some("h?key=***")));
        assert_eq!(e.raw.matches("abc").count(), 1, "only in the path: {}", e.raw);
    }
}

#[test]
fn lines_of_all_contexts_as_real_servers_wrote_them() {
    let line = |text: &'static str| parse(text.as_bytes()).expect("a head");
    // The stream module of 1.22.1.
    let l = line(
        "2026/11/21 01:58:58 [info] 3699#3699: *1 connection timed out (110: Connection timed out) while proxying connection, \
         client: 127.0.0.1, server: 127.0.0.1:18081, upstream: \"127.0.0.1:19001\", bytes from/to client:153/129, bytes from/to upstream:129/153",
    );
    assert_eq!(
        (l.message, l.errno, text(l.action)),
        (&b"connection timed out"[..], Some(110), Some("proxying connection"))
    );
    assert_eq!((text(l.upstream), text(l.request), l.truncated), (Some("127.0.0.1:19001"), None, false));
    let l = line("2026/11/21 01:58:56 [info] 3699#3699: *1 client 127.0.0.1:58058 connected to 127.0.0.1:18081");
    assert_eq!((l.message, l.client), (&b"client 127.0.0.1:58058 connected to 127.0.0.1:18081"[..], None));
    let l = line(
        "2026/11/21 02:08:12 [error] 6392#6392: *4 no live upstreams while connecting to upstream, client: 127.0.0.1, \
         server: 127.0.0.1:18081, upstream: \"p\", bytes from/to client:0/0, bytes from/to upstream:0/0",
    );
    assert_eq!(text(l.upstream), Some("p"), "the name of a group");
    // The resolver has no connection, and its own codes look like errno.
    let l = line(
        "2026/11/21 05:22:52 [error] 16492#16492: send() failed (111: Connection refused) while resolving, resolver: 127.0.0.1:34408",
    );
    assert_eq!((l.connection, l.errno, text(l.action), l.client), (None, Some(111), Some("resolving"), None));
    let l = line(
        "2026/11/21 05:22:53 [error] 16492#16492: *4 backend.test could not be resolved (110: Operation timed out), client: \
         127.0.0.1, server: , request: \"GET /dns HTTP/1.1\", host: \"example.test\"",
    );
    assert_eq!((l.errno, text(l.server), text(l.upstream)), (None, Some(""), None));
    // No connection number, and one inside the message only.
    let l = line("2026/11/21 01:59:00 [notice] 3712#3712: signal 15 (SIGTERM) received from 2294, exiting");
    assert_eq!((l.connection, l.errno), (None, None));
    let l = line("2026/11/21 01:59:00 [alert] 7#7: *1 open socket #3 left in connection 2");
    assert_eq!((l.connection, l.message), (Some(1), &b"open socket #3 left in connection 2"[..]));
}

#[test]
fn the_console_form_of_both_libraries_is_read() {
    for (line, message, errno) in [
        (
            "nginx: [emerg] bind() to 127.0.0.1:18080 failed (98: Address already in use)",
            "bind() to 127.0.0.1:18080 failed",
            Some(98),
        ),
        (
            "nginx: [emerg] bind() to 127.0.0.1:18080 failed (98: Address in use)",
            "bind() to 127.0.0.1:18080 failed",
            Some(98),
        ),
        ("nginx: [emerg] still could not bind()", "still could not bind()", None),
        (
            "nginx: [warn] 4096 worker_connections exceed open file resource limit: 64",
            "4096 worker_connections exceed open file resource limit: 64",
            None,
        ),
        (
            "nginx: [emerg] unknown directive \"stub_status\" in /etc/nginx/nginx.conf:20",
            "unknown directive \"stub_status\" in /etc/nginx/nginx.conf:20",
            None,
        ),
    ] {
        let l = parse_console(line.as_bytes()).expect(line);
        assert_eq!((text(Some(l.message)), l.errno), (Some(message), errno));
        assert_eq!(parse(line.as_bytes()), None, "it has no time");
    }
    assert_eq!(parse_console(b"nginx: the configuration file /etc/nginx/nginx.conf syntax is ok"), None);
    // Debian's build writes what comes before the configuration in the full form, on stderr too.
    let full = b"2026/11/21 02:24:36 [emerg] 17#17: unknown directive \"x\" in /etc/nginx/nginx.conf:5";
    assert_eq!(parse(full).map(|l| l.level), Some(Level::Emerg));
}

#[test]
fn syslog_datagrams_of_a_real_server_are_read() {
    // nginx 1.22.1 with defaults, with nohostname, and with a tag and a facility of its own.
    for frame in ["<187>Nov 21 05:22:52 vm nginx: ", "<187>Nov 21 05:22:53 nginx: ", "<131>Nov 21 05:22:55 vm edge_1: "]
    {
        let line = format!(
            "{frame}2026/11/21 05:22:52 [error] 16492#16492: *2 connect() failed (111: Connection refused) while connecting to \
             upstream, client: 127.0.0.1, server: , request: \"GET /ws HTTP/1.1\", upstream: \"http://127.0.0.1:49651/ws\", \
             host: \"example.test\""
        );
        let l = parse(line.as_bytes()).expect("a head");
        assert_eq!((l.level, l.pid, l.connection, l.errno), (Level::Error, 16_492, Some(2), Some(111)), "{frame}");
        assert_eq!((text(l.upstream), text(l.host)), (Some("http://127.0.0.1:49651/ws"), Some("example.test")));
    }
    let access = b"<190>Nov 21 05:22:52 vm nginx: 127.0.0.1 - - [21/Nov/2026:05:22:52 +0000] \"GET /ws HTTP/1.1\" 502 157 \"-\" \"-\"";
    assert_eq!(parse(access), None, "the access log may go to the same place");
}
