//! Whole files read: parts add up to the whole, packed and damaged files, rotated sets, filters, and logs as lines followed.

use std::fs;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use regex::bytes::Regex;
use tempfile::TempDir;

use super::addresses::Addresses;
use super::cut::{Cutter, Lines};
use super::fold::{ErrorFold, Fold};
use super::work::read_in_parts;
use super::*;
use crate::event::handshake::{Attempts, Handshake};
use crate::event::log::{Category, Level};
use crate::event::tally::Tally;
use crate::nginx::access::Format;
use crate::nginx::debug::Handshakes;
use crate::nginx::error::TimeCache;
use crate::source::logs::{History, read_access_tail, read_error_tail};
use crate::time::{Timestamp, Zone};

fn line(second: u32, level: &str, text: &str) -> String {
    format!("2026/11/21 14:{:02}:{:02} [{level}] 7#7: *1 {text}\n", second / 60, second % 60)
}

fn refused(second: u32, client: &str) -> String {
    let context =
        format!("client: {client}, server: a, request: \"GET /ws?x HTTP/1.1\", upstream: \"http://10.0.0.7:80/ws\"");
    line(
        second,
        "error",
        &format!("connect() failed (111: Connection refused) while connecting to upstream, {context}"),
    )
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

fn opened(second: u32, client: &str) -> String {
    let time = format!("21/Nov/2026:14:{:02}:{:02} +0000", second / 60, second % 60);
    format!("{client} - - [{time}] \"GET /ws HTTP/1.1\" 101 42 \"-\" \"-\"\n")
}

struct Logs(TempDir);

impl Logs {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.path(name), content).unwrap();
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn request(&self, names: &[&str]) -> Request {
        Request {
            paths: names.iter().map(|n| self.path(n)).collect(),
            threads: NonZeroUsize::new(2),
            ..Request::default()
        }
    }

    fn read(&self, names: &[&str]) -> Outcome {
        quietly(&self.request(names))
    }
}

fn quietly(request: &Request) -> Outcome {
    let outcome = read(request, &mut |_| ());
    adds_up(&outcome.tally);
    outcome
}

fn adds_up(tally: &Tally) {
    assert_eq!(tally.lines, tally.entries + tally.continuations + tally.unparsed);
    let counted = tally.by_level.values().sum::<u64>() + tally.by_status.values().sum::<u64>();
    assert_eq!(counted, tally.entries);
    assert!(tally.rate.buckets().map(|b| b.1).sum::<u64>() <= tally.entries);
}

fn figures(tally: &Tally) -> (u64, u64, u64) {
    (tally.entries, tally.continuations, tally.unparsed)
}

/// Pieces of which logs, and what is none, are made.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => (0_u32..3_600, 0_u8..4).prop_map(|(s, c)| refused(s, &format!("192.0.2.{c}")).into_bytes()),
        4 => (0_u32..3_600, 0_u8..9).prop_map(|(s, n)| line(s, "info", &format!("client {n} \"x{n}\" went")).into_bytes()),
        1 => (0_u32..3_600).prop_map(|s| line(s, "debug", "http header: \"a: b\"").into_bytes()),
        1 => (0_u32..3_600).prop_map(|s| opened(s, "192.0.2.1").into_bytes()),
        2 => Just(b"Host: a.example\r\n".to_vec()),
        1 => Just(b"\n".to_vec()),
        1 => Just(b"2026/11/21 14:02:31 what is this\n".to_vec()),
        1 => Just(b"2026/13/45 14:02:31 [error] 7#7: no such day\r\n".to_vec()),
        1 => Just(vec![0; 30]),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// However a file is cut and filtered, and by however many threads, the sum is that of reading it in one go; and
    /// without a filter it is what following the file finds.
    #[test]
    fn parts_are_the_whole(pieces in prop::collection::vec(piece(), 0..40), part in 1_u64..400, filter in 0_u8..4) {
        let logs = Logs::new().with("error.log", pieces.concat());
        let mut request = logs.request(&["error.log"]);
        match filter {
            1 => request.filter.since = Timestamp::parse_rfc3339("2026-11-21T14:30:00Z"),
            2 => request.filter.categories = vec![Category::UpstreamConnect],
            3 => request.filter.grep = Regex::new(r"192\.0\.2\.[12]").ok(),
            _ => {}
        }
        let whole = read_in_parts(&Request { threads: NonZeroUsize::new(1), ..request.clone() }, u64::MAX, &mut |_| ());
        let parts = read_in_parts(&request, part, &mut |_| ());
        prop_assert_eq!(&parts.tally, &whole.tally);
        prop_assert_eq!(&parts.files, &whole.files);
        adds_up(&whole.tally);
        if filter == 0 && whole.files[0].kind == LogKind::Error {
            let mut followed = Tally::default();
            followed.add_errors(&read_error_tail(&logs.path("error.log"), History::ALL).unwrap());
            let known = Tally { bytes: followed.bytes, ..whole.tally };
            // A carriage return is a part of a followed message and none here.
            if !pieces.concat().contains(&b'\r') {
                prop_assert_eq!(known, followed);
            }
        }
    }
}

#[test]
fn history_counts_what_following_counts() {
    let mut compared = 0;
    for file in fs::read_dir("tests/data/logs").unwrap().map(|e| e.unwrap().path()) {
        let outcome = quietly(&Request { paths: vec![file.clone()], ..Request::default() });
        if outcome.files[0].kind != LogKind::Error {
            continue;
        }
        let mut followed = Tally::default();
        followed.add_errors(&read_error_tail(&file, History::ALL).unwrap());
        assert_eq!(Tally { bytes: 0, ..outcome.tally }, followed, "{}", file.display());
        compared += 1;
    }
    assert!(compared > 40, "{compared}");
}

#[test]
fn an_access_log_gives_sessions_whoever_reads_it() {
    let format = r#"$remote_addr [$time_local] "$request" $status $bytes_sent $request_time "$upstream_addr""#;
    let format = Format::compile(format, crate::event::site::Escape::Default).unwrap();
    let entry = |s: u32, status: u16, lived: &str| {
        let time = format!("21/Nov/2026:14:{:02}:{:02} +0000", s / 60, s % 60);
        format!("2001:db8::{s} [{time}] \"GET /w\\x22s?a HTTP/1.1\" {status} 10 {lived} \"10.0.0.1:80\"\n")
    };
    let mut text: String = (0..40).map(|s| entry(s, 101, "60.003")).collect();
    text.push_str(&entry(50, 502, "0.001"));
    text.push_str(&entry(51, 101, "-"));
    text.push_str("not such a line\n\n");
    let logs = Logs::new().with("a.log", text);
    let request = Request { formats: vec![Format::combined(), format.clone()], ..logs.request(&["a.log"]) };
    let outcome = quietly(&request);
    assert_eq!(outcome.files[0].kind, LogKind::Access(1));
    let tally = outcome.tally;
    assert_eq!((tally.sessions.count, tally.sessions.lifetimes.total()), (41, 40));
    assert_eq!(tally.sessions.spikes(&[])[0].count, 40);
    assert_eq!(tally.locations.ranked(1)[0].0.as_ref(), "/w\"s");
    assert_eq!(figures(&tally), (42, 1, 1));
    let mut followed = Tally::default();
    followed.add_accesses(&read_access_tail(&logs.path("a.log"), History::ALL, format).unwrap());
    assert_eq!(Tally { bytes: 0, ..tally }, followed);
}

#[test]
fn each_line_of_a_container_goes_to_its_kind() {
    let start = "/docker-entrypoint.sh: ready for start up\n".to_owned() + &line(0, "notice", "start worker process 7");
    let broken = line(2, "error", "broken header: \"GET / HTTP/1.1") + "Host: a.example\n";
    let debug = String::from_utf8_lossy(DEBUG[0]).into_owned();
    let both: String = (3..60).map(|s| opened(s, "192.0.2.7") + &refused(s, "192.0.2.8")).collect();
    let many = |line: fn(u32, &str) -> String| (0..400).map(|s| line(s, "192.0.2.9")).collect::<String>();
    let late = many(opened) + &refused(500, "192.0.2.8") + &opened(501, "192.0.2.7") + "\n";
    let logs = Logs::new()
        .with("mixed", format!("{start}{broken}{both}"))
        .with("debug", both.clone() + &debug)
        .with("late", &late)
        .with("foreign", "what another service says\n".repeat(300) + &both)
        .with("late.gz", gzip((many(refused) + &opened(501, "192.0.2.7")).as_bytes()));
    let kind_and_figures = |name| {
        let outcome = logs.read(&[name]);
        let small = read_in_parts(&logs.request(&[name]), 300, &mut |_| ());
        assert_eq!((&small.tally, &small.files), (&outcome.tally, &outcome.files), "{name}");
        (outcome.files[0].kind, figures(&outcome.tally), outcome.tally.sessions.count)
    };
    assert_eq!(kind_and_figures("mixed"), (LogKind::Mixed(0), (116, 1, 1), 57));
    assert_eq!(kind_and_figures("late"), (LogKind::Mixed(0), (402, 1, 0), 401));
    assert_eq!(kind_and_figures("late.gz"), (LogKind::Mixed(0), (401, 0, 0), 1));
    assert_eq!(kind_and_figures("foreign"), (LogKind::Mixed(0), (114, 0, 300), 57));
    assert_eq!(logs.read(&["debug"]).handshakes, Some(attempts_in(DEBUG[0])));
    // Which lines pass a filter is asked of each kind.
    let mut request = logs.request(&["mixed"]);
    request.filter.grep = Regex::new(r"192\.0\.2\.7").ok();
    assert_eq!(figures(&quietly(&request).tally), (57, 0, 1));
    request.filter = Filter { categories: vec![Category::UpstreamConnect], ..Filter::default() };
    assert_eq!(figures(&quietly(&request).tally), (57, 0, 1));
}

#[test]
fn a_line_that_only_looks_like_one_of_a_loose_format_stays_what_it_is() {
    let loose = Format::compile("$remote_addr $status", crate::event::site::Escape::Default).unwrap();
    let logs = Logs::new().with("error.log", refused(1, "1.1.1.1") + "header 101\n");
    let outcome = quietly(&Request { formats: vec![loose], ..logs.request(&["error.log"]) });
    assert_eq!((outcome.files[0].kind, figures(&outcome.tally)), (LogKind::Error, (1, 1, 0)));
}

#[test]
fn packed_files_are_known_by_their_first_bytes() {
    let (a, b) = (refused(1, "192.0.2.1"), refused(2, "::1"));
    let two_members = [gzip(a.as_bytes()), gzip(b.as_bytes())].concat();
    let logs = Logs::new().with("no-name", two_members).with("plain.gz", &a);
    let outcome = logs.read(&["no-name", "plain.gz"]);
    assert_eq!(figures(&outcome.tally), (3, 0, 0));
    assert!(outcome.files.iter().all(|f| f.error.is_none() && f.kind == LogKind::Error), "{:?}", outcome.files);
    assert_eq!(outcome.files[0].bytes, (a.len() + b.len()) as u64);
    assert_eq!(outcome.tally.clients.get("::1").map(|c| c.count), Some(1));
}

#[cfg(feature = "zstd")]
#[test]
fn zstd_is_read_and_half_of_it_counts_as_far_as_it_goes() {
    let text: String = (0..30_000).map(|n| refused(n % 3_600, &format!("10.0.{}.{}", n % 251, n % 13))).collect();
    let packed = ::zstd::encode_all(text.as_bytes(), 1).unwrap();
    let logs = Logs::new().with("whole.zst", &packed).with("half.zst", &packed[..packed.len() / 2]);
    assert_eq!(logs.read(&["whole.zst"]).tally.entries, 30_000);
    let half = logs.read(&["half.zst"]);
    assert!(half.files[0].error.as_deref().is_some_and(|e| e.contains("half.zst")), "{:?}", half.files);
    assert!((1..30_000).contains(&half.tally.entries), "{}", half.tally.entries);
}

#[test]
fn half_a_gzip_counts_as_far_as_it_goes_and_says_so() {
    let text: String = (0..30_000).map(|n| refused(n % 3_600, &format!("10.0.{}.{}", n % 251, n % 13))).collect();
    let packed = gzip(text.as_bytes());
    let mut damaged = packed.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 40].fill(0xff);
    let logs = Logs::new()
        .with("half.gz", &packed[..packed.len() / 2])
        .with("damaged.gz", damaged)
        .with("ok", refused(1, "1.1.1.1"));
    for name in ["half.gz", "damaged.gz"] {
        let outcome = logs.read(&[name, "ok"]);
        let said = outcome.files[0].error.as_deref().unwrap_or_default();
        assert!(said.contains(name) && said.contains("what was readable is counted"), "{said}");
        assert!((2..30_001).contains(&outcome.tally.entries), "{}", outcome.tally.entries);
        assert_eq!(outcome.files[1].error, None, "the other files are still read");
    }
}

#[test]
fn what_is_no_file_is_refused_with_a_remedy_and_the_rest_is_read() {
    let logs = Logs::new().with("ok", refused(1, "1.1.1.1")).with("empty", "").with("x.bz2", "BZh91AY");
    fs::create_dir(logs.path("dir")).unwrap();
    let mut request = logs.request(&["dir", "none.log", "no*match", "empty", "x.bz2", "ok"]);
    request.paths.push("/dev/null".into());
    let outcome = quietly(&request);
    let said: Vec<_> = outcome.files.iter().map(|f| f.error.clone().unwrap_or_default()).collect();
    assert!(said[0].contains("is a directory") && said[0].contains("dir/*.log*"), "{said:?}");
    assert!(said[1].contains("none.log: no such file") && said[2].contains("no*match: no such file"), "{said:?}");
    assert!(said[4].contains("bzip2 -dc"), "{said:?}");
    assert_eq!([&said[3], &said[5], &said[6]], ["", "", ""]);
    assert_eq!(figures(&outcome.tally), (1, 0, 0));
}

#[test]
fn a_rotated_set_is_read_by_time_and_an_entry_goes_on_in_the_next_file() {
    let logs = Logs::new()
        .with("error.log", refused(30, "3.3.3.3"))
        .with("error.log.1", format!("Host: goes on\n{}", refused(20, "2.2.2.2")))
        .with("error.log.2.gz", gzip(refused(10, "1.1.1.1").as_bytes()))
        .with("other.log", "no log at all\n");
    let mut request = logs.request(&["error.log*", "other.log", "error.log"]);
    let outcome = quietly(&request);
    let names: Vec<_> = outcome.files.iter().map(|f| f.path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["error.log.2.gz", "error.log.1", "error.log", "other.log"], "oldest first, none twice");
    assert!(outcome.files[..3].iter().all(|f| f.log == logs.path("error.log")));
    assert_eq!(figures(&outcome.tally), (3, 1, 1), "the first line of error.log.1 continues error.log.2.gz");
    // With the first entry left out, what continues it is left out too.
    request.filter.grep = Regex::new("2.2.2.2").ok();
    assert_eq!(figures(&quietly(&request).tally), (1, 0, 1));
}

#[test]
fn strange_bytes_are_counted_and_hurt_nobody() {
    let huge = format!("{}{}", refused(1, "1.1.1.1").trim_end(), "x".repeat(5 << 20));
    let crlf = refused(2, "2.2.2.2").replace('\n', "\r\n");
    let holes = [vec![0_u8; 100_000].as_slice(), refused(3, "3.3.3.3").as_bytes(), &[0; 50]].concat();
    let no_end = refused(4, "4.4.4.4");
    let whole = [huge.as_bytes(), b"\n", crlf.as_bytes(), &holes, b"\n", no_end.trim_end().as_bytes()].concat();
    let logs = Logs::new()
        .with("strange", &whole)
        .with("junk", (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<_>>());
    let outcome = logs.read(&["strange"]);
    assert_eq!(figures(&outcome.tally), (4, 1, 0), "a hole alone is an empty line");
    assert_eq!((outcome.tally.overlong, outcome.tally.bytes), (1, whole.len() as u64));
    assert_eq!(outcome.tally.messages.len(), 1, "{:?}", outcome.tally.messages);
    let small_parts = read_in_parts(&logs.request(&["strange"]), 100_000, &mut |_| ());
    assert_eq!(small_parts.tally, outcome.tally);
    let junk = logs.read(&["junk"]);
    assert_eq!((junk.files[0].kind, junk.tally.entries), (LogKind::Unknown, 0));
}

#[test]
fn filters_choose_entries() {
    let text: String = (0..60)
        .map(|s| refused(s, "1.1.1.1") + &line(s, "info", "client timed out (110: x) while waiting for request"))
        .collect();
    let logs = Logs::new().with("e", text);
    let count = |filter: Filter| quietly(&Request { filter, ..logs.request(&["e"]) }).tally.entries;
    // The log is in this machine's zone.
    let at = |s: u32| error_time(s);
    assert_eq!(count(Filter::default()), 120);
    assert_eq!(count(Filter { since: at(50), ..Filter::default() }), 20);
    assert_eq!(count(Filter { since: at(50), until: at(50), ..Filter::default() }), 2);
    assert_eq!(count(Filter { categories: vec![Category::ClientClosed], ..Filter::default() }), 60);
    assert_eq!(count(Filter { grep: Regex::new(r"14:00:0\d.*refused").ok(), ..Filter::default() }), 10);
    let tally = quietly(&Request {
        filter: Filter { categories: vec![Category::ClientClosed], ..Filter::default() },
        ..logs.request(&["e"])
    })
    .tally;
    assert_eq!(tally.by_level.into_iter().collect::<Vec<_>>(), [(Level::Info, 60)]);
}

/// Takes every line as the cutter cuts it.
struct OneByOne<'f, 'r>(&'f mut ErrorFold<'r>);

impl Lines for OneByOne<'_, '_> {
    fn line(&mut self, line: &[u8], overlong: bool) {
        self.0.line(line, overlong);
    }
}

/// What a text comes to in blocks of so many bytes, whole lines at once or one by one.
fn folded(text: &[u8], block: usize, one_by_one: bool) -> (Tally, Addresses) {
    let (filter, done) = (Filter::default(), AtomicU64::new(0));
    let mut fold = Fold::new(&filter, Zone::UTC, &[], &done);
    let mut cutter = Cutter::default();
    for block in text.chunks(block) {
        if one_by_one {
            cutter.feed(block, &mut OneByOne(fold.errors()));
        } else {
            cutter.feed(block, fold.errors());
        }
    }
    cutter.finish(fold.errors());
    let mut sum = (Tally::default(), Addresses::default());
    fold.pour_into(&mut sum.0, &mut sum.1);
    sum
}

#[test]
fn a_carriage_return_at_the_end_belongs_to_the_line_and_before_a_context_to_the_message() {
    let text = "2026/11/21 02:02:31 [error] 7#8: *42 exiting now\r, client: 1.1.1.1, server: a\n\
        2026/11/21 02:02:31 [error] 7#8: *42 exiting now\r\n";
    let both = [true, false].map(|one_by_one| folded(text.repeat(2).as_bytes(), 1_000, one_by_one).0);
    assert_eq!(both[0], both[1]);
    assert_eq!(both[0].messages.len(), 2);
}

proptest! {
    /// Lines of the grammar's words in any order, so that fields are forged, cut and doubled: a line that is read without
    /// being cut out of its block first counts as it does alone.
    #[test]
    fn whole_lines_in_blocks_count_as_they_do_one_by_one(
        lines in prop::collection::vec((0_u8..3, prop::sample::select(vec![
            "upstream timed out (110: Connection timed out) while connecting to upstream", "recv() failed",
            "client sent invalid method while reading client request line", "open() \"/x\" failed",
            "limiting requests, excess: 20.480 by zone \"a.123\"", "limiting requests, excess: 20.481 by zone \"a.124\"",
            "limiting requests, excess: 20.481 by zone \"a.123\"", "open() \"/x.1234.js\" failed", "open() \"/x.1235.js\" failed",
            "open() \"/a, client: 1.1.1.1, server: b, request: \"GET /f HTTP/1.1\"\" failed", "exiting", "",
        ]), prop::collection::vec(prop::sample::select(vec![
            ", client: 10.0.0.1", ", client: 10.0.0.2, server: a, request: \"GET /ws HTTP/1.1\"", ", client: ::1", ", server: a",
            ", request: \"GET /ws?a=\" HTTP/1.1\"", ", request: \"GET /a b HTTP/2.0\"", ", request: \"GET /#x HTTP/1.0\"",
            ", request: \"POST /p HTTP/1.1\"", ", upstream: \"http://10.0.0.7:80/ws\"", ", upstream: \"http://unix:/s:/x\"",
            ", upstream: \"https://a b/\"", ", host: \"h\"", ", referrer: \"r, client: 6.6.6.6, server: x\"", "\"", "\r", ",", "!", " ",
        ]), 0..6)), 0..40),
        block in 1_usize..3_000,
        ends in any::<bool>(),
    ) {
        let entry = |(level, message, behind): &(u8, &str, Vec<&str>)| {
            let level = ["error", "info", "debug"][usize::from(*level)];
            format!("2026/11/21 02:02:31 [{level}] 7#8: *42 {message}{}", behind.concat())
        };
        let text = lines.iter().map(entry).collect::<Vec<_>>().join("\n") + if ends { "\n" } else { "" };
        // Twice, because only what was seen before is read the short way.
        let text = format!("{text}\n{text}");
        let (mut whole, addresses) = folded(text.as_bytes(), block, false);
        let (mut alone, others) = folded(text.as_bytes(), block, true);
        addresses.pour_into(&mut whole.clients, 1_000);
        others.pour_into(&mut alone.clients, 1_000);
        prop_assert_eq!(whole, alone);
    }
}

fn error_time(second: u32) -> Option<Timestamp> {
    crate::nginx::error::TimeCache::new().at(&line(second, "info", "").as_bytes()[..19])
}

#[test]
fn the_hour_that_a_clock_shows_twice_is_read_the_same_in_parts() {
    let berlin: Zone = "Europe/Berlin".parse().unwrap();
    // From 00:00 of summer time to midnight of winter time, of which both have an hour from 02:00 to 03:00.
    let midnight = Timestamp::parse_rfc3339("2026-10-24T22:00:00Z").unwrap();
    let moments = (0..25 * 60).map(|minute| midnight.plus(std::time::Duration::from_secs(minute * 60)));
    let entry = |at| format!("{} [error] 7#7: *1 no live upstreams\n", berlin.wall(at).format("%Y/%m/%d %H:%M:%S"));
    let logs = Logs::new().with("error.log", moments.map(entry).collect::<String>());
    let repeated = (Timestamp::parse_rfc3339("2026-10-25T01:00:00Z"), Timestamp::parse_rfc3339("2026-10-25T01:59:59Z"));
    let filter = Filter { since: repeated.0, until: repeated.1, ..Filter::default() };
    let all = Request { zone: berlin, ..logs.request(&["error.log"]) };
    let hour = Request { filter, ..all.clone() };
    for part in [100, 1_000, 7_000, 11_111, u64::MAX] {
        let tally = read_in_parts(&all, part, &mut |_| ()).tally;
        let counts: Vec<u64> = tally.rate.buckets().map(|b| b.1).collect();
        assert!(counts.iter().all(|n| *n == counts[0]), "parts of {part}: {counts:?}");
        assert_eq!(read_in_parts(&hour, part, &mut |_| ()).tally.entries, 60, "parts of {part}");
    }
}

#[test]
fn the_progress_reaches_the_end() {
    let logs = Logs::new().with("e", refused(1, "1.1.1.1").repeat(1_000)).with("e.gz", gzip(&[b'x'; 5_000]));
    let size: u64 = ["e", "e.gz"].iter().map(|n| fs::metadata(logs.path(n)).unwrap().len()).sum();
    let mut last = None;
    let _ = read(&logs.request(&["e", "e.gz"]), &mut |p| last = Some(p));
    assert_eq!(last, Some(Progress { done: size, total: Some(size) }));
}

/// Three real debug logs behind each other, whose connections do not mix.
const DEBUG: [&[u8]; 3] = [
    include_bytes!("../../../tests/data/debug/handshakes.log"),
    include_bytes!("../../../tests/data/logs/lg_debug.error.log"),
    include_bytes!("../../../tests/data/debug/nginx-1.31.3.log"),
];

/// The attempts that a reader of one line after the other finds.
fn attempts_in(text: &[u8]) -> Attempts {
    let (mut collector, mut times, mut all) = (Handshakes::default(), TimeCache::default(), Attempts::default());
    let mut found: Vec<_> = text.split(|b| *b == b'\n').flat_map(|l| collector.line(l, &mut times)).collect();
    found.extend(collector.finish());
    for handshake in found.into_iter().filter(Handshake::is_attempt) {
        all.add(handshake);
    }
    all
}

#[test]
fn handshakes_are_found_wherever_the_parts_of_a_file_are_cut() {
    let text = DEBUG.concat();
    let expected = attempts_in(&text);
    assert_eq!((expected.count, expected.unanswered), (5, 0));
    let logs = Logs::new().with("error.log", &text).with("packed.gz", gzip(&text));
    assert_eq!(logs.read(&["packed.gz"]).handshakes.as_ref(), Some(&expected));
    // Longer than the longest line, so that most parts have an entry, and so short that every handshake is cut.
    for part in (100..3_000).step_by(311).chain([text.len() as u64]) {
        let read = read_in_parts(&logs.request(&["error.log"]), part, &mut |_| ());
        assert_eq!(read.handshakes.as_ref(), Some(&expected), "parts of {part}");
    }
}

#[test]
fn handshakes_go_on_in_the_next_file_of_a_set_and_are_unknown_without_debug_lines() {
    let text = DEBUG[1];
    let middle = text.len() / 2;
    let half = text[..middle].iter().rposition(|b| *b == b'\n').unwrap() + 1;
    let logs = Logs::new().with("error.log.1", &text[..half]).with("error.log", &text[half..]);
    assert_eq!(logs.read(&["error.log*"]).handshakes, Some(attempts_in(text)));
    let none = Logs::new().with("error.log", refused(1, "192.0.2.1"));
    assert_eq!(none.read(&["error.log"]).handshakes, None);
    let plain = Logs::new().with("error.log", line(1, "debug", "epoll timer: 60000"));
    assert_eq!(plain.read(&["error.log"]).handshakes, Some(Attempts::default()), "none is not unknown");
}

#[test]
fn filters_choose_handshakes() {
    let logs = Logs::new().with("error.log", DEBUG.concat());
    let count = |change: fn(&mut Filter)| {
        let mut request = logs.request(&["error.log"]);
        change(&mut request.filter);
        quietly(&request).handshakes.map(|h| h.count)
    };
    assert_eq!(count(|_| ()), Some(5));
    assert_eq!(count(|f| f.grep = Regex::new("^Host: pool$").ok()), Some(1));
    assert_eq!(count(|f| f.categories = vec![Category::Other]), Some(5));
    assert_eq!(count(|f| f.categories = vec![Category::UpstreamConnect]), Some(0));
    assert_eq!(count(|f| f.since = Timestamp::parse_rfc3339("2030-01-01T00:00:00Z")), Some(0));
}
