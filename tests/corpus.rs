//! Real logs of nginx 1.22.1 (and a few of 1.31.3 with musl's errno texts), fault by fault: every line is read, and the
//! telling lines fall into the class of the fault. Then hostile bytes: no parser panics, loops or slows down.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use wspulse::event::log::{Category, ErrorLine, Level};
use wspulse::event::site::Escape;
use wspulse::nginx::access::Format;
use wspulse::nginx::{category, error};
use wspulse::time::Timestamp;

/// The `log_format` of all access logs here.
const WS: &str = r#"$remote_addr [$time_iso8601] "$request" st=$status us="$upstream_status" rt=$request_time uct="$upstream_connect_time" uht="$upstream_header_time" urt="$upstream_response_time" bs=$bytes_sent bbs=$body_bytes_sent rl=$request_length ubs="$upstream_bytes_sent" ubr="$upstream_bytes_received" ua="$upstream_addr" up="$http_upgrade" co="$http_connection" sup="$sent_http_upgrade" comp="$request_completion" proto=$server_protocol c=$connection cr=$connection_requests ssl="$ssl_protocol""#;

/// Per case, the classes of the lines that are neither notices nor debug output, in order and without repetitions.
const TELLING: &[(&str, &[&str])] = &[
    ("au_request_down", &["upstream-connect", "access-auth"]),
    ("cl_bad_header", &["client-protocol"]),
    ("cl_binary_request", &["client-protocol"]),
    ("cl_half", &["client-closed"]),
    ("cl_log_injection", &["upstream-connect"]),
    ("cl_proxy_proto_unexpected", &["client-protocol"]),
    ("cp_nofile_accept", &["capacity"]),
    ("cp_tmp_perm", &["capacity"]),
    ("cp_worker_connections_upstream", &["capacity"]),
    ("dns_nxdomain", &["name-resolution"]),
    ("dns_timeout", &["name-resolution"]),
    ("h2_extended_connect", &["http2-quic"]),
    ("h2_upgrade_hdr", &["http2-quic"]),
    ("h2_upgrade_hdr.musl", &["lifecycle-config", "http2-quic"]),
    ("hs_no_upgrade_headers", &[]),
    ("hs_upgrade_in_subrequest", &["handshake"]),
    ("lc_bind", &["lifecycle-config"]),
    ("lc_bind.musl", &["lifecycle-config"]),
    ("lc_reload", &[]),
    ("lc_segv", &["lifecycle-config"]),
    ("lc_signal_nopid", &["lifecycle-config"]),
    ("lc_usr1_fail", &["lifecycle-config"]),
    ("lg_debug", &[]),
    ("li_conn", &["limits"]),
    ("li_header_too_long", &["limits"]),
    ("li_uri", &["limits"]),
    ("log_truncation", &["upstream-connect"]),
    ("log_utf8", &["upstream-connect"]),
    ("ok_101", &[]),
    ("px_http2_upstream.musl", &["http2-quic"]),
    ("rt_error_page_missing", &["upstream-connect", "routing-static"]),
    ("rt_tryfiles_cycle", &["routing-static"]),
    ("st_idle", &["other", "upstream-timeout"]),
    ("st_misc", &["other", "upstream-connect", "other", "upstream-connect", "other", "access-auth"]),
    ("tls_close_handshake", &["tls-client"]),
    ("tls_garbage", &["tls-client"]),
    ("tls_name_mismatch", &["tls-client"]),
    ("tls_no_client_cert", &["tls-client"]),
    ("tn_backend_rst", &["upstream-closed"]),
    ("tn_client_499", &["client-closed"]),
    ("tn_client_rst", &["client-closed"]),
    ("tn_idle_timeout", &["upstream-timeout"]),
    ("tn_idle_timeout.musl", &["upstream-timeout"]),
    ("up_bad_header", &["upstream-protocol"]),
    ("up_big_header", &["upstream-protocol"]),
    ("up_close_partial", &["upstream-closed"]),
    ("up_connect_timeout", &["upstream-timeout"]),
    ("up_connect_timeout.musl", &["upstream-timeout"]),
    ("up_ephemeral", &["capacity", "client-closed"]),
    ("up_ephemeral.musl", &["capacity", "client-closed"]),
    ("up_failover_ok", &["upstream-connect"]),
    ("up_host_unreachable", &["upstream-connect"]),
    ("up_no_live", &["upstream-connect"]),
    ("up_read_timeout_header", &["upstream-timeout"]),
    ("up_refused", &["upstream-connect"]),
    ("up_rst_body", &["upstream-closed"]),
    ("up_unix_eagain", &["capacity"]),
    ("up_unix_perm", &["upstream-connect"]),
    ("ut_close_hs", &["tls-upstream"]),
    ("ut_https_to_plain", &["tls-upstream"]),
    ("ut_selfsigned", &["tls-upstream"]),
];

fn logs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/logs")
}

/// The lines of a file, without the empty piece behind the last line feed.
fn lines(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let whole = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    whole.split(|&b| b == b'\n').map(<[u8]>::to_vec).collect()
}

fn class(line: &ErrorLine<'_>) -> Category {
    category::classify(line.level, line.message, line.errno, line.action)
}

fn all_with_ending(ending: &str) -> Vec<PathBuf> {
    let dir = std::fs::read_dir(logs()).expect("the logs are there");
    let mut paths: Vec<PathBuf> = dir.map(|e| e.expect("readable").path()).collect();
    paths.retain(|p| p.to_string_lossy().ends_with(ending));
    paths.sort();
    paths
}

#[test]
fn every_case_is_told_by_its_lines() {
    for (case, wanted) in TELLING {
        let mut found: Vec<&str> = Vec::new();
        for raw in lines(&logs().join(format!("{case}.error.log"))) {
            let Some(line) = error::parse(&raw).filter(|l| !matches!(l.level, Level::Notice | Level::Debug)) else {
                continue;
            };
            let word = class(&line).word();
            if found.last() != Some(&word) {
                found.push(word);
            }
        }
        assert_eq!(&found, wanted, "{case}");
    }
    assert_eq!(all_with_ending(".error.log").len(), TELLING.len(), "every log is told of");
}

#[test]
fn every_line_is_an_entry_or_continues_one() {
    let (mut entries, mut continuations) = (0, Vec::new());
    for path in all_with_ending(".error.log") {
        for raw in lines(&path) {
            match error::parse(&raw) {
                Some(line) => {
                    entries += 1;
                    let known = category::row(line.level, line.message, line.errno, line.action).is_some();
                    assert!(known || line.level == Level::Debug, "{}", String::from_utf8_lossy(&raw));
                }
                None => continuations.push(path.file_name().map(|n| n.to_string_lossy().into_owned())),
            }
        }
    }
    assert!(entries > 700, "{entries}");
    // nginx writes the head of a proxied request over several debug lines.
    assert!(continuations.iter().all(|n| n.as_deref() == Some("lg_debug.error.log")), "{continuations:?}");
    assert_eq!(continuations.len(), 14);
}

#[test]
fn a_message_over_several_lines_is_one_entry_with_continuations() {
    // nginx before 1.23.2, a request where a PROXY protocol header was due.
    let log = b"2026/11/21 02:02:31 [error] 7#7: *1 broken header: \"GET /ws HTTP/1.1\r\nHost: example.test\r\nUpgrade: websocket\r\n\r\n\
        \" while reading PROXY protocol, client: 192.0.2.1, server: 0.0.0.0:80\n";
    let read: Vec<_> = log.split(|&b| b == b'\n').map(error::parse).collect();
    let first = read.first().and_then(Option::as_ref).expect("the first line has the head");
    assert_eq!(class(first), Category::ClientProtocol);
    assert!(read.iter().skip(1).all(Option::is_none));
}

#[test]
fn the_injected_line_keeps_its_true_upstream() {
    let raw = lines(&logs().join("cl_log_injection.error.log"));
    let line =
        raw.iter().filter_map(|l| error::parse(l)).find(|l| l.level == Level::Error).expect("the refused request");
    let text = |f: Option<&[u8]>| f.map(|b| String::from_utf8_lossy(b).into_owned());
    let upstream = text(line.upstream).expect("an upstream");
    assert!(upstream.starts_with("http://127.0.0.1:19001/ws?x="), "{upstream}");
    assert_eq!(text(line.host).as_deref(), Some("example.test"));
    assert_eq!(text(line.client).as_deref(), Some("127.0.0.1"));
    assert!(!line.truncated);
}

#[test]
fn the_cut_line_says_so_and_names_no_upstream() {
    let raw = lines(&logs().join("log_truncation.error.log"));
    let line =
        raw.iter().filter_map(|l| error::parse(l)).find(|l| l.level == Level::Error).expect("the refused request");
    assert!(line.truncated);
    assert_eq!((line.upstream, line.host), (None, None));
    assert!(line.request.is_some_and(|r| r.starts_with(b"GET /ws?t=aaa")));
}

#[test]
fn musl_and_glibc_differ_in_words_only() {
    let told = |case: &str| {
        let raw = lines(&logs().join(format!("{case}.error.log")));
        let mut told: Vec<_> = raw
            .iter()
            .filter_map(|l| error::parse(l))
            .filter(|l| l.level < Level::Notice)
            .map(|l| (l.level, l.message.to_vec(), l.errno, l.action.map(<[u8]>::to_vec)))
            .collect();
        told.dedup();
        told
    };
    for case in ["up_connect_timeout", "up_ephemeral", "lc_bind"] {
        let glibc = told(case);
        assert!(glibc.iter().any(|l| l.2.is_some()));
        // musl's build copies early messages to the console only, so its log may hold fewer of them.
        assert!(told(&format!("{case}.musl")).iter().all(|l| glibc.contains(l)), "{case}");
    }
}

#[test]
fn every_access_line_fits_its_format() {
    let format = Format::compile(WS, Escape::Default).expect("compiles");
    assert!(format.has_request_time());
    let mut sessions = 0;
    for path in all_with_ending(".access.log") {
        for raw in lines(&path) {
            let entry = format.parse(&raw, Timestamp::default());
            let entry = entry.unwrap_or_else(|| panic!("{}: {}", path.display(), String::from_utf8_lossy(&raw)));
            sessions += usize::from(entry.is_session());
            assert!(entry.request_time.is_some() && entry.connection.is_some());
            assert!(entry.at.secs() > 1_790_000_000);
        }
    }
    assert!(sessions > 10, "{sessions}");
    let failover = &lines(&logs().join("up_failover_ok.access.log"))[0];
    let entry = format.parse(failover, Timestamp::default()).expect("fits");
    assert_eq!(
        (entry.status, entry.upstream.as_deref(), entry.upstream_status),
        (101, Some("127.0.0.1:19001"), Some(101))
    );
}

/// Text that is likely to hit the parsers' branches.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "2026/11/21 02:02:31 [error] 7#7: *1 ",
        "<187>Nov 21 02:02:31 h nginx: ",
        "open() \"/x\" failed",
        " (2: No such)",
        " (SSL:",
        " (SSL: error:1)",
        ")",
        " while ",
        "reading client request line",
        "connecting to upstream",
        "resolving, resolver: 1.1.1.1:53",
        ", client: 192.0.2.1",
        ", udp client: ::1",
        ", server: s",
        ", request: \"",
        "GET / HTTP/1.1",
        " HTTP/2.0\"",
        "\", host: \"",
        ", subrequest: \"",
        "\", upstream: \"",
        "http://a/",
        ", referrer: \"",
        "\"",
        "%22,%20host:%20%22",
        ", login: \"",
        ", ho",
        "nginx: [emerg] ",
        "[21/Nov/2026:02:31:59 +0000]",
        " - ",
        "\\x22",
        "\\u0041",
        " 200 ",
        "127.0.0.1",
        "\u{0}",
        "\r",
        "%d",
        "ü",
    ]);
    let piece = prop_oneof![pieces.prop_map(|p| p.as_bytes().to_vec()), prop::collection::vec(any::<u8>(), 0..6)];
    prop::collection::vec(piece, 0..24).prop_map(|v| v.concat())
}

/// A field lies within the line that it was read from.
fn is_part(field: Option<&[u8]>, line: &[u8]) -> bool {
    field.is_none_or(|f| f.is_empty() || line.windows(f.len()).any(|w| w == f))
}

proptest! {
    #[test]
    fn no_bytes_hurt_the_error_parser(body in hostile(), headed in any::<bool>()) {
        let line = if headed { [b"2026/11/21 02:02:31 [info] 7#7: *1 ", body.as_slice()].concat() } else { body };
        let _ = error::parse_console(&line);
        let parsed = error::parse(&line);
        prop_assert!(!headed || parsed.is_some());
        if let Some(l) = parsed {
            for field in [Some(l.message), l.ssl, l.action, l.client, l.server, l.request, l.subrequest, l.upstream, l.host, l.referrer] {
                prop_assert!(is_part(field, &line));
            }
            let entry = error::entry(&l, &line, Timestamp::default());
            prop_assert!(entry.raw.chars().all(|c| !c.is_control()));
        }
        let _ = error::TimeCache::new().at(&line);
    }

    #[test]
    fn no_bytes_hurt_the_access_parser(line in hostile(), pattern in hostile(), escape in 0..3_usize) {
        let escape = [Escape::Default, Escape::Json, Escape::None][escape];
        let spaced = "$status $http_user_agent $upstream_addr $request_time";
        for pattern in [&*String::from_utf8_lossy(&pattern), WS, spaced, "$status$request"] {
            if let Ok(format) = Format::compile(pattern, escape) {
                let _ = format.parse(&line, Timestamp::default());
            }
        }
        let _ = Format::combined().parse(&line, Timestamp::default());
    }

    #[test]
    fn a_genuine_upstream_survives_whatever_the_client_sends_last(referrer in hostile()) {
        let referrer: Vec<u8> = referrer.into_iter().filter(|b| !b"\r\n".contains(b)).collect();
        let line = [
            b"2026/11/21 02:02:31 [error] 7#7: *1 connect() failed (111: Connection refused) while connecting to upstream, \
              client: 192.0.2.1, server: s, request: \"GET /ws HTTP/1.1\", upstream: \"http://10.0.0.1:80/ws\", host: \"h\", \
              referrer: \"",
            referrer.as_slice(),
            b"\"",
        ]
        .concat();
        let l = error::parse(&line).expect("has a head");
        prop_assert_eq!(l.client, Some(&b"192.0.2.1"[..]));
        prop_assert_eq!(l.upstream, Some(&b"http://10.0.0.1:80/ws"[..]));
        prop_assert_eq!(l.host, Some(&b"h"[..]));
        prop_assert_eq!(l.errno, Some(111));
    }
}

#[test]
fn a_line_of_five_megabytes_costs_linear_time() {
    const SIZE: usize = 5 << 20;
    let bodies: [&[u8]; 10] = [
        b"a",
        b"\"",
        b", client: 192.0.2.1, server: s",
        b" while ",
        b"\", host: \"",
        b" HTTP/1.1\", upstream: \"",
        b"%22,%20",
        b" (SSL: (1: ",
        b"1 ",
        b" failed \"",
    ];
    let heads: [&[u8]; 3] = [
        b"",
        b"open() \"x\", client: 192.0.2.1, server: s, request: \"GET ",
        b"x, client: 192.0.2.1, server: s, request: \"GET / HTTP/2.0\", host: \"",
    ];
    let unquoted =
        Format::compile("$http_user_agent $upstream_addr $status $request_time", Escape::None).expect("compiles");
    let started = Instant::now();
    for body in bodies {
        for head in heads {
            let mut line = [b"2026/11/21 02:02:31 [error] 7#7: *1 ", head].concat();
            line.extend(body.iter().cycle().take(SIZE));
            let parsed = error::parse(&line).expect("has a head");
            let _ = class(&parsed);
            let _ = Format::combined().read(&line);
            let _ = unquoted.read(&line);
        }
    }
    // 150 MB in all. Quadratic work would take hours; even an unoptimised build stays far below this.
    assert!(started.elapsed() < Duration::from_secs(120), "{:?}", started.elapsed());
}
