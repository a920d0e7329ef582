//! Lines of several formats, honest and hostile, and what must be read from them.

use super::*;

const NEVER: Timestamp = Timestamp::from_secs(1);

fn compile(pattern: &str) -> Format {
    Format::compile(pattern, Escape::Default).expect("compiles")
}

#[test]
fn combined_is_read_as_nginx_writes_it() {
    let format = Format::combined();
    assert!(!format.has_request_time() && format.has_time());
    let line =
        br#"203.0.113.9 - eve [21/Nov/2026:02:31:59 +0100] "GET /ws?a=\x22b HTTP/1.1" 101 8 "-" "curl/8\x1B[31m""#;
    let e = format.parse(line, NEVER).expect("fits");
    assert_eq!(Some(e.at), Timestamp::parse_rfc3339("2026-11-21T01:31:59Z"));
    assert_eq!((e.status, e.is_session(), e.body_bytes_sent), (101, true, Some(8)));
    assert_eq!(e.client.as_deref(), Some("203.0.113.9"));
    assert_eq!(e.request.as_deref(), Some("GET /ws?a=\"b HTTP/1.1"));
    assert_eq!(e.path(), Some("/ws"));
    assert_eq!(e.user_agent.as_deref(), Some("curl/8\\x1b[31m"));
    assert_eq!((e.request_time, e.connection, e.completed), (None, None, None), "unknown, not zero");
}

#[test]
fn a_rich_format_gives_the_last_peer_and_the_lifetime() {
    let format = compile(
        "$remote_addr [$time_iso8601] \"$request\" st=$status us=\"$upstream_status\" rt=$request_time \
         uct=\"$upstream_connect_time\" uht=\"$upstream_header_time\" urt=\"$upstream_response_time\" bs=$bytes_sent \
         rl=$request_length ua=\"$upstream_addr\" up=\"$http_upgrade\" comp=\"$request_completion\" c=$connection",
    );
    assert!(format.has_request_time());
    let line = br#"127.0.0.1 [2026-11-21T01:56:37+00:00] "GET /ws HTTP/1.1" st=101 us="502, 101" rt=7860.001 uct="-, 0.001" uht="-, 0.002" urt="0.000, 0.003" bs=192 rl=153 ua="10.0.0.1:80, 10.0.0.2:80" up="websocket" comp="" c=17"#;
    let e = format.parse(line, NEVER).expect("fits");
    assert_eq!((e.status, e.upstream_status, e.upstream.as_deref()), (101, Some(101), Some("10.0.0.2:80")));
    assert_eq!(e.request_time, Some(Duration::from_millis(7_860_001)));
    assert_eq!(e.upstream_connect_time, Some(Duration::from_millis(1)));
    assert_eq!(e.upstream_header_time, Some(Duration::from_millis(2)));
    assert_eq!((e.bytes_sent, e.request_length, e.connection), (Some(192), Some(153), Some(17)));
    assert_eq!((e.upgrade.as_deref(), e.completed), (Some("websocket"), Some(false)));
}

#[test]
fn a_client_cannot_move_the_fields_behind_its_own() {
    // Unquoted: the user name holds the separator and something like a time; the true time is followed by what must follow.
    let e = Format::combined()
        .parse(br#"192.0.2.1 - a [b c [21/Nov/2026:02:31:59 +0000] "GET / HTTP/1.1" 200 5 "-" "-""#, NEVER)
        .expect("fits");
    assert_eq!(e.status, 200);
    let spaced = compile("$http_user_agent $status $request_time");
    let e = spaced.parse(b"Mozilla/5.0 (X11; 200 OK) like 404 Gecko 101 2.500", NEVER).expect("fits");
    assert_eq!((e.status, e.user_agent.as_deref()), (101, Some("Mozilla/5.0 (X11; 200 OK) like 404 Gecko")));
    assert_eq!(e.at, NEVER, "the format writes no time");
    // With escape=none a quote may stand anywhere; such a line is still read.
    let raw = Format::compile("\"$request\" $status \"$http_user_agent\"", Escape::None).expect("compiles");
    let e = raw.parse(br#""GET /" 200 "x" HTTP/1.1" 404 "a"b""#, NEVER).expect("fits");
    assert_eq!(e.user_agent.as_deref().map(|a| a.ends_with('b')), Some(true));
}

#[test]
fn json_formats_go_by_the_same_plan() {
    let pattern = r#"{"t":"$msec","ip":"$remote_addr","req":"$request","st":$status,"rt":$request_time,"ua":"$http_user_agent","h":"${host}"}"#;
    let format = Format::compile(pattern, Escape::Json).expect("compiles");
    let line = br#"{"t":"1795226551.004","ip":"::1","req":"GET /\",\"st\":200 HTTP/1.1","st":101,"rt":60.004,"ua":"a\\","h":"example.test"}"#;
    let e = format.parse(line, NEVER).expect("fits");
    assert_eq!(e.at, Timestamp::from_micros(1_795_226_551_004_000));
    assert_eq!((e.status, e.request_time), (101, Some(Duration::from_millis(60_004))));
    assert_eq!(e.request.as_deref(), Some("GET /\",\"st\":200 HTTP/1.1"));
    assert_eq!((e.user_agent.as_deref(), e.host.as_deref()), (Some("a\\"), Some("example.test")));
    // The same text with escape=default, a common mistake that still reads well.
    let line = br#"{"t":"1795226551.004","ip":"::1","req":"GET /\x22 HTTP/1.1","st":101,"rt":60.004,"ua":"-","h":"-"}"#;
    let e = Format::compile(pattern, Escape::Default).expect("compiles").parse(line, NEVER).expect("fits");
    assert_eq!((e.request.as_deref(), e.user_agent, e.host), (Some("GET /\" HTTP/1.1"), None, None));
}

#[test]
fn a_request_in_parts_is_put_together() {
    let format = compile("$request_method $request_uri $server_protocol $status $http_host");
    let e = format.parse(b"GET /ws?a=1 HTTP/1.1 101 example.test", NEVER).expect("fits");
    assert_eq!((e.request.as_deref(), e.path()), (Some("GET /ws?a=1 HTTP/1.1"), Some("/ws")));
    assert_eq!(e.host.as_deref(), Some("example.test"));
    let e = compile("$uri|$args|$status").parse(b"/ws|a=1|502", NEVER).expect("fits");
    assert_eq!(e.request.as_deref(), Some("- /ws?a=1"));
    let e = compile("$server_name $host $status").parse(b"_ example.test 200", NEVER).expect("fits");
    assert_eq!(e.host.as_deref(), Some("example.test"), "$host wins");
}

#[test]
fn statuses_that_nginx_made_up_are_kept() {
    let format = compile("$status $body_bytes_sent");
    assert_eq!(format.parse(b"000 0", NEVER).map(|e| e.status), Some(0));
    assert_eq!(format.parse(b"009 0", NEVER).map(|e| e.status), Some(9));
    assert_eq!(format.parse(b"499 0", NEVER).map(|e| e.status), Some(499));
}

#[test]
fn a_line_of_another_format_does_not_fit() {
    let format = Format::combined();
    for line in [
        &b""[..],
        b"2026/11/21 02:02:31 [error] 7#7: *1 x",
        br#"192.0.2.1 - - [21/Nov/2026:02:31:59 +0000] "GET / HTTP/1.1" 200 5 "-" "-" 0.1"#,
        br#"192.0.2.1 - - [21/Nov/2026:02:31:59 +0000] "GET / HTTP/1.1" 2000 5 "-" "-""#,
        br#"192.0.2.1 - - [31/Feb/2026:02:31:59 +0000] "GET / HTTP/1.1" 200 5 "-" "-""#,
        br#"192.0.2.1 - - [21/Nov/2026:02:31:59 +0000] "GET / HTT"#,
    ] {
        assert_eq!(format.parse(line, NEVER), None, "{}", visible(line));
    }
}

#[test]
fn a_format_that_tells_nothing_is_refused_with_a_reason() {
    assert!(Format::compile("", Escape::Default).is_err_and(|e| e.contains("no variable")));
    assert!(Format::compile("$remote_addr $", Escape::Default).is_err_and(|e| e.contains("without a name")));
    assert!(Format::compile("$remote_addr", Escape::Default).is_err_and(|e| e.contains("$status")));
    assert!(Format::compile(COMBINED, Escape::Default).is_ok());
    let joined = compile("$scheme$host $status");
    let e = joined.parse(b"httpexample.test 200", NEVER).expect("fits");
    assert_eq!((e.host, e.status), (None, 200), "two values in one cannot be told apart");
}

/// A JSON format with an object in it, numbers without quotes, and the lines that nginx 1.22.1 wrote in it.
const NESTED: &str = r#"{"time":"$time_iso8601","msec":$msec,"remote":{"addr":"$remote_addr","port":$remote_port},"request":"$request","status":$status,"rt":$request_time,"us":"$upstream_status","uct":"$upstream_connect_time","bytes":$bytes_sent,"conn":$connection,"ua":"$http_user_agent","ref":"$http_referer","up":"$http_upgrade","done":"$request_completion"}"#;
const NESTED_JSON: &[u8] = include_bytes!("../../../tests/data/access/json.log");
const NESTED_DEFAULT: &[u8] = include_bytes!("../../../tests/data/access/json-escape-default.log");
const NESTED_NONE: &[u8] = include_bytes!("../../../tests/data/access/json-escape-none.log");

fn read_all(format: &Format, log: &[u8]) -> Vec<AccessEntry> {
    let lines = log.split(|&b| b == b'\n').filter(|l| !l.is_empty());
    lines.map(|l| format.parse(l, NEVER).unwrap_or_else(|| panic!("does not fit: {}", visible(l)))).collect()
}

#[test]
fn json_lines_of_a_real_nginx_mean_the_same_with_either_escape() {
    for (escape, log) in [(Escape::Json, NESTED_JSON), (Escape::Default, NESTED_DEFAULT)] {
        let read = read_all(&Format::compile(NESTED, escape).expect("compiles"), log);
        let told: Vec<_> = read.iter().map(|e| (e.status, e.connection, e.request.as_deref())).collect();
        assert_eq!(
            told,
            [
                (204, Some(2), Some("GET /ws HTTP/1.1")),
                (204, Some(3), Some("GET /a\"b\\c HTTP/1.1")),
                (502, Some(4), Some("GET /up HTTP/1.1")),
                (204, Some(6), Some("GET /q HTTP/1.1")),
                (400, Some(7), Some("\\x16\\x03\\x01\\x02")),
            ],
            "{escape:?}"
        );
        assert_eq!(read[1].user_agent.as_deref(), Some("x\",\"status\":500,\"ua\":\"y"), "{escape:?}");
        assert_eq!(
            read[2].user_agent.as_deref(),
            Some("tab\\x09here \\x01\\x1b[31m \\x7f café \\xff back\\slash \\u0041"),
            "{escape:?}: what looks like an escape in the client's own text stays as it is"
        );
        assert_eq!((read[2].upstream_status, read[0].upstream_status), (Some(502), None), "{escape:?}");
        assert_eq!(read[0].at, Timestamp::from_micros(1_795_238_632_634_000), "msec beats the date");
        assert_eq!((read[0].completed, read[0].upgrade.as_deref()), (Some(true), Some("websocket")));
        assert_eq!(read[4].upgrade, None, "unknown, however it is written");
    }
}

#[test]
fn json_numbers_that_do_not_exist_are_unknown() {
    // Without quotes, escape=json leaves nothing where there is no value, which is not JSON any more.
    let format = Format::compile(r#"{"st":$status,"uht":$upstream_header_time,"ua":"$http_user_agent"}"#, Escape::Json);
    let format = format.expect("compiles");
    let e = format.parse(br#"{"st":204,"uht":,"ua":""}"#, NEVER).expect("fits");
    assert_eq!((e.status, e.upstream_header_time, e.user_agent), (204, None, None));
    let e = format.parse(br#"{"st":101,"uht":0.002,"ua":"\u00e9\\u00e9"}"#, NEVER).expect("fits");
    assert_eq!((e.upstream_header_time, e.user_agent.as_deref()), (Some(Duration::from_millis(2)), Some("é\\u00e9")));
}

#[test]
fn without_escapes_a_request_ends_behind_its_version() {
    let pattern =
        r#"{"time":"$time_iso8601","request":"$request","status":$status,"ua":"$http_user_agent","conn":$connection}"#;
    let format = Format::compile(pattern, Escape::None).expect("compiles");
    let read = read_all(&format, NESTED_NONE);
    let told: Vec<_> = read.iter().map(|e| (e.status, e.connection, e.request.as_deref())).collect();
    assert_eq!(told[1], (204, Some(3), Some("GET /a\"b\\c HTTP/1.1")));
    assert_eq!(read[1].user_agent.as_deref(), Some("x\",\"status\":500,\"ua\":\"y"));
    assert_eq!((read[3].status, read[3].user_agent.as_deref()), (204, Some("\" 404 \"")));
    assert_eq!(told[4], (400, Some(7), Some("\\x16\\x03\\x01\\x02")));
    let forged = br#"{"time":"2026-11-21T06:23:52+01:00","request":"GET /x","status":500,"ua":"y HTTP/1.1","status":204,"ua":"z","conn":3}"#;
    let e = format.parse(forged, NEVER).expect("fits");
    assert_eq!((e.status, e.request.as_deref()), (204, Some("GET /x\",\"status\":500,\"ua\":\"y HTTP/1.1")));
    // Two values of the client's with a value of nginx between them: here the format cannot be told from what was sent.
    let pattern = r#""$http_referer" $status "$http_user_agent""#;
    let format = Format::compile(pattern, Escape::None).expect("compiles");
    let e = format.parse(br#""a" 500 "b" 204 "c""#, NEVER).expect("fits");
    assert_eq!(e.status, 500, "a Referer of 'a\" 500 \"b' reads as if it were none");
}

#[test]
fn lines_that_came_through_syslog_are_read() {
    // As nginx 1.22.1 sent them: access_log syslog:server=.. with and without nohostname, and as journald shows them.
    for frame in ["<190>Nov 21 05:22:52 vm nginx: ", "<190>Nov 21 05:22:53 nginx: ", "Nov 21 05:22:52 vm nginx[7]: "] {
        let line =
            format!("{frame}127.0.0.1 - - [21/Nov/2026:05:22:52 +0000] \"GET /ws HTTP/1.1\" 502 157 \"-\" \"-\"");
        let e = Format::combined().parse(line.as_bytes(), NEVER).expect("fits");
        assert_eq!((e.status, e.client.as_deref()), (502, Some("127.0.0.1")), "{frame}");
        assert!(e.raw.starts_with(frame), "the raw line is whole");
    }
}
