//! Log sources on real files, from history through rotation and truncation.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::desk::{LAGGING, MEGABYTE, sense};
use super::*;
use crate::event::{Sight, Stamped};
use crate::source::supervise;
use crate::source::tail::{Obstacle, Progress, Reader as _, Watching};
use crate::time::{Clock, Timestamp};

fn line(text: &str) -> String {
    format!("2026/11/21 14:02:31 [error] 7#7: *1 {text}\n")
}

struct Log {
    dir: TempDir,
    path: PathBuf,
}

impl Log {
    fn new(content: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("error.log");
        fs::write(&path, content).unwrap();
        Self { dir, path }
    }

    fn append(&self, text: &str) {
        OpenOptions::new().create(true).append(true).open(&self.path).unwrap().write_all(text.as_bytes()).unwrap();
    }
}

struct Heard {
    events: mpsc::Receiver<Stamped>,
    task: JoinHandle<()>,
}

impl Heard {
    fn of(source: impl Source) -> Self {
        let (tx, events) = mpsc::channel(4);
        Self { events, task: supervise(source, tx) }
    }

    async fn next(&mut self) -> Event {
        timeout(Duration::from_secs(20), self.events.recv()).await.expect("an event in time").expect("still open").event
    }

    /// The messages of the next lines until there are `count`, and whether they were history.
    async fn messages(&mut self, count: usize) -> Vec<(String, bool)> {
        let mut all = Vec::new();
        while all.len() < count {
            if let Event::Errors(batch) = self.next().await {
                all.extend(batch.entries.into_iter().map(|e| (e.message.to_string(), batch.read.history)));
            }
        }
        all
    }

    async fn sense(&mut self) -> Sense {
        loop {
            if let Event::Sense(sense) = self.next().await {
                return sense;
            }
        }
    }
}

fn host() -> Arc<str> {
    Arc::from("web-1")
}

fn live(texts: &[&str]) -> Vec<(String, bool)> {
    texts.iter().map(|t| ((*t).to_owned(), false)).collect()
}

#[tokio::test]
async fn history_comes_first_then_live_lines_through_rotation_and_truncation() {
    let log = Log::new(&["old one", "old two"].map(line).concat());
    let mut heard = Heard::of(ErrorLogSource::new(&host(), &log.path, History::default()));
    let sense = heard.sense().await;
    assert_eq!((sense.sight, sense.said), (Sight::Seen, format!("following {}", log.path.display())));
    assert_eq!(heard.messages(2).await, [("old one".to_owned(), true), ("old two".to_owned(), true)]);

    log.append(&line("first live"));
    assert_eq!(heard.messages(1).await, live(&["first live"]));

    let mut old = OpenOptions::new().append(true).open(&log.path).unwrap();
    fs::rename(&log.path, log.dir.path().join("error.log.1")).unwrap();
    old.write_all(line("to the old file").as_bytes()).unwrap();
    log.append(&line("to the new file"));
    assert_eq!(heard.messages(2).await, live(&["to the old file", "to the new file"]));

    OpenOptions::new().write(true).open(&log.path).unwrap().set_len(0).unwrap();
    log.append(&line("after truncation"));
    assert_eq!(heard.messages(1).await, live(&["after truncation"]));
    heard.task.abort();
}

/// Each look brings a line, so that no watch is set after the first few of them.
#[tokio::test]
async fn a_busy_log_is_followed_line_by_line_through_a_rotation() {
    let log = Log::new("");
    let mut heard = Heard::of(ErrorLogSource::new(&host(), &log.path, History::default()));
    heard.sense().await;
    for n in 0..40 {
        if n == 20 {
            let mut old = OpenOptions::new().append(true).open(&log.path).unwrap();
            fs::rename(&log.path, log.dir.path().join("error.log.1")).unwrap();
            old.write_all(line("to the old file").as_bytes()).unwrap();
            assert_eq!(heard.messages(1).await, live(&["to the old file"]));
        }
        log.append(&line(&format!("number {n}")));
        assert_eq!(heard.messages(1).await, live(&[&format!("number {n}")]));
    }
    heard.task.abort();
}

#[tokio::test]
async fn a_missing_log_is_said_with_its_remedy_and_followed_when_it_appears() {
    let log = Log::new("");
    fs::remove_file(&log.path).unwrap();
    let mut heard = Heard::of(ErrorLogSource::new(&host(), &log.path, History::default()));
    let expected = Sense::blind(
        format!("{}: no such file", log.path.display()),
        "wspulse waits for it; nginx creates it at start or reload",
    );
    assert_eq!(heard.sense().await, expected);
    log.append(&line("hello"));
    assert_eq!(heard.sense().await.sight, Sight::Seen);
    assert_eq!(heard.messages(1).await, live(&["hello"]), "what appears later is no history");
    heard.task.abort();
}

/// Lines of the error log, one each second, of which the last was written at `end`.
fn lines_until(end: Timestamp, count: u64, text: &str) -> String {
    let at = |n: u64| end.minus(Duration::from_secs(count - 1 - n)).nginx_error_form();
    let lines: Vec<String> = (0..count).map(|n| format!("{} [error] 7#7: *{n} {text} {n}\n", at(n))).collect();
    lines.concat()
}

#[tokio::test]
async fn history_reaches_back_into_the_rotated_part_and_no_further_than_asked() {
    let now = Clock.now();
    let minutes_ago = |m: u64| now.minus(Duration::from_secs(60 * m));
    let log = Log::new(&lines_until(now, 100, "live"));
    let part = lines_until(minutes_ago(2), 3_600 * 3, "rotated").replace("rotated 10500\n", "rotated 10500\nHost: a\n");
    fs::write(log.dir.path().join("error.log.1"), part).unwrap();
    let since = minutes_ago(10);
    let mut heard = Heard::of(ErrorLogSource::new(&host(), &log.path, History::from(since)));
    let (mut all, mut read) = (Vec::new(), 0);
    while all.last().is_none_or(|m: &String| m != "live 99") {
        if let Event::Errors(batch) = heard.next().await {
            assert!(batch.read.history && batch.read.unparsed == 0);
            assert!(batch.entries.iter().all(|e| e.at >= Timestamp::from_secs(since.secs())));
            read += batch.read.lines;
            all.extend(batch.entries.into_iter().map(|e| e.message.to_string()));
        }
    }
    // Eight minutes of the part, to the second, then the log itself.
    assert!((479..=482).contains(&(all.len() - 100)), "{}", all.len());
    assert_eq!(read, all.len() as u64 + 1);
    assert!(all[0].starts_with("rotated 103") && all.contains(&"rotated 10500 ⏎ Host: a".to_owned()), "{}", all[0]);
    log.append(&line("new"));
    assert_eq!(heard.messages(1).await, live(&["new"]));
    heard.task.abort();
}

#[tokio::test]
async fn what_of_a_flood_is_not_read_is_said() {
    let now = Clock.now();
    let text = lines_until(now, 1_000, "flood");
    let log = Log::new(&text);
    let history = History { bytes: text.len() as u64 / 10, since: Some(now.minus(Duration::from_secs(3_600))) };
    let mut heard = Heard::of(ErrorLogSource::new(&host(), &log.path, history));
    let sense = heard.sense().await;
    // About a tenth of the lines, one a second: a minute may end meanwhile.
    let begins = |ago| format!("history begins {}", now.minus(Duration::from_secs(ago)).local_minute());
    assert_eq!(sense.sight, Sight::Degraded);
    assert!([90, 110].iter().any(|ago| sense.said.contains(&begins(*ago))), "{}", sense.said);
    let messages = heard.messages(90).await;
    assert!(messages[0].0.as_str() > "flood 890" && messages.len() <= 100, "{}", messages[0].0);
    heard.task.abort();
}

#[tokio::test]
async fn lines_without_a_time_are_no_history() {
    let timeless = Format::compile("$remote_addr \"$request\" $status", Escape::Default).unwrap();
    let log = Log::new("10.0.0.9 \"GET /old HTTP/1.1\" 101\n");
    let history = History::from(Clock.now().minus(Duration::from_secs(60)));
    let mut heard = Heard::of(AccessLogSource::new(&host(), &log.path, history, timeless));
    assert!(heard.sense().await.said.ends_with("its lines tell no time, so only new ones count"));
    log.append("10.0.0.9 \"GET /new HTTP/1.1\" 101\n");
    let Event::Access(batch) = heard.next().await else { panic!("no access lines") };
    assert_eq!(batch.entries.iter().filter_map(|e| e.path()).collect::<Vec<_>>(), ["/new"]);
    heard.task.abort();
}

#[tokio::test]
async fn the_zone_of_a_log_is_where_its_clock_hung() {
    let log = Log::new("");
    let zone = "+05:30".parse().unwrap();
    let mut heard = Heard::of(ErrorLogSource::new(&host(), &log.path, History::NONE).in_zone(zone));
    heard.sense().await;
    log.append(&line("somewhere"));
    let Event::Errors(batch) = heard.next().await else { panic!("no errors") };
    assert_eq!(batch.entries[0].at.to_string(), "2026-11-21T08:32:31.000000Z");
    heard.task.abort();
}

#[tokio::test]
async fn history_begins_right_in_the_hours_that_a_clock_shows_twice() {
    let zone: Zone = "Europe/Berlin".parse().unwrap();
    let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
    let first = at("2026-10-24T22:00:00Z");
    let entry = |n: u64| {
        let wall = zone.wall(first.plus(Duration::from_secs(n * 5))).format("%Y/%m/%d %H:%M:%S");
        format!("{wall} [error] 7#7: *{n} one of many lines of this night\n")
    };
    let log = Log::new(&(0..6 * 720).map(entry).collect::<String>());
    for since in ["2026-10-25T00:10:00Z", "2026-10-25T00:59:30Z", "2026-10-25T01:10:00Z", "2026-10-25T02:10:00Z"] {
        let since = at(since);
        let mut heard = Heard::of(ErrorLogSource::new(&host(), &log.path, History::from(since)).in_zone(zone));
        let wanted: Vec<u64> = (since.since(first).as_secs() / 5..6 * 720).collect();
        let (mut moments, mut numbers) = (Vec::new(), Vec::new());
        while numbers.last() != Some(&(6 * 720 - 1)) {
            if let Event::Errors(batch) = heard.next().await {
                moments.extend(batch.entries.iter().map(|e| e.at));
                numbers.extend(batch.entries.iter().filter_map(|e| e.connection));
            }
        }
        heard.task.abort();
        assert!(numbers == wanted, "since {since}: from {:?} on", numbers.first());
        let right = numbers.iter().map(|n| first.plus(Duration::from_secs(n * 5)));
        assert!(right.eq(moments.iter().copied()), "since {since}: from {:?} on", moments.first());
    }
}

#[tokio::test]
async fn the_writers_of_a_pipe_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("err.fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
    let mut heard = Heard::of(ErrorLogSource::new(&host(), &path, History::default()));
    let sense = heard.sense().await;
    assert_eq!(sense.sight, Sight::Degraded);
    assert!(sense.said.ends_with("nobody writes to this pipe now"), "{}", sense.said);
    for (text, unfinished) in [("first", "a torn end"), ("second", "another")] {
        let fifo = path.clone();
        let written = line(text) + line(unfinished).trim_end();
        tokio::task::spawn_blocking(move || fs::write(fifo, written)).await.unwrap().unwrap();
        assert_eq!(heard.messages(2).await, live(&[text, unfinished]), "a writer that goes ends its line");
        while heard.sense().await.sight != Sight::Degraded {}
    }
    // A file takes its place: then it is followed like any other.
    fs::remove_file(&path).unwrap();
    fs::write(&path, line("from a file")).unwrap();
    assert_eq!(heard.messages(1).await[0].0, "from a file");
    heard.task.abort();
}

#[tokio::test]
async fn one_log_of_both_kinds_speaks_as_both() {
    let access = "10.0.0.9 - - [21/Nov/2026:14:02:31 +0000] \"GET /ws HTTP/1.1\" 101 42 \"-\" \"-\"\n";
    let ingress = "10.0.0.9 - - [21/Nov/2026:14:02:31 +0000] \"GET /in HTTP/1.1\" 101 42 \"-\" \"-\" 512 60.001 \
        [web-app-80] [] 10.0.0.7:8080 42 60.001 101 6f1e\n";
    let log = Log::new(&line("an error"));
    let source = MixedLogSource::new(&host(), SourceKind::ErrorLog, &log.path, History::ALL, Zone::UTC, None);
    let mut heard = Heard::of(source);
    assert_eq!(heard.messages(1).await, [("an error".to_owned(), true)]);
    log.append(&format!("{access}{ingress}"));
    let (mut paths, mut lights) = (Vec::new(), Vec::new());
    while paths.len() < 2 {
        let event = timeout(Duration::from_secs(20), heard.events.recv()).await.unwrap().unwrap();
        match event.event {
            Event::Access(batch) => paths.extend(batch.entries.iter().map(|e| e.path().unwrap_or("?").to_owned())),
            Event::Sense(_) => lights.push(event.from.kind),
            _ => {}
        }
    }
    assert_eq!((paths, lights), (vec!["/ws".to_owned(), "/in".into()], vec![SourceKind::AccessLog]));
    heard.task.abort();
}

#[tokio::test]
async fn access_lines_are_read_in_their_format() {
    let access =
        |path: &str| format!("10.0.0.9 - - [21/Nov/2026:14:02:31 +0000] \"GET {path} HTTP/1.1\" 101 42 \"-\" \"-\"\n");
    let log = Log::new(&format!("{}no such line\n", access("/old")));
    let mut heard = Heard::of(AccessLogSource::new(&host(), &log.path, History::default(), Format::combined()));
    log.append(&access("/new"));
    let (mut paths, mut unparsed) = (Vec::new(), 0);
    while paths.len() < 2 {
        if let Event::Access(batch) = heard.next().await {
            unparsed += batch.read.unparsed;
            paths.extend(batch.entries.iter().map(|e| e.path().unwrap_or_default().to_owned()));
        }
    }
    assert_eq!((paths, unparsed), (vec!["/old".to_owned(), "/new".to_owned()], 1));
    heard.task.abort();
}

#[tokio::test]
async fn a_full_channel_makes_the_log_wait_and_loses_nothing() {
    let texts: Vec<String> = (0..20_000).map(|n| format!("number {n}")).collect();
    let log = Log::new("");
    let mut heard = Heard::of(ErrorLogSource::new(&host(), &log.path, History::NONE));
    assert_eq!(heard.sense().await.sight, Sight::Seen);
    log.append(&texts.iter().map(|t| line(t)).collect::<String>());
    let (mut seen, mut largest, mut most_behind) = (Vec::new(), 0, 0);
    while seen.len() < texts.len() {
        if let Event::Errors(batch) = heard.next().await {
            largest = largest.max(batch.entries.len());
            most_behind = most_behind.max(batch.read.behind);
            seen.extend(batch.entries.into_iter().map(|e| e.message.to_string()));
        }
    }
    assert!(seen == texts, "in order and complete");
    assert!(largest <= MOST_ENTRIES);
    assert!(most_behind > 0, "the first blocks leave something unread");
    heard.task.abort();
}

#[tokio::test]
async fn the_source_ends_with_its_listener_and_the_thread_with_the_source() {
    let log = Log::new("");
    let Heard { events, task } = Heard::of(ErrorLogSource::new(&host(), &log.path, History::default()));
    drop(events);
    timeout(Duration::from_secs(20), task).await.expect("ends at once").expect("without a panic");

    // The thread holds the only sender: the channel ends when the thread does.
    let (to, mut from) = mpsc::channel(1);
    let wake = Wake::default();
    let guard = wake.stop_on_drop();
    let mut source =
        LogSource::new(&host(), SourceKind::ErrorLog, log.path.clone(), History::default(), ErrorLines::default());
    source.start_thread(to, wake).unwrap();
    assert!(matches!(from.recv().await, Some(Told::Event(None, Event::Sense(_)))));
    drop(guard);
    while timeout(Duration::from_secs(20), from.recv()).await.expect("the thread ends when told").is_some() {}

    let (to, from) = mpsc::channel(1);
    drop(from);
    let collector = Collector::new(ErrorLines::default(), None, 1);
    let mut desk = Desk::new("/l".into(), "/l".into(), collector, to);
    let polled = thread::spawn(move || desk.polled(&Progress::default(), &Watching::Events));
    assert!(polled.join().unwrap().is_break(), "nobody takes what it says");
}

#[test]
fn one_look_reads_the_last_part_from_a_line_boundary() {
    let log = Log::new(&["one", "two", "three"].map(line).concat());
    let last_two = (line("two").len() + line("three").len()) as u64;
    let messages = |bytes| {
        let batch = read_error_tail(&log.path, History { bytes, since: None }).unwrap();
        assert!(batch.read.history && batch.read.behind == 0);
        batch.entries.into_iter().map(|e| e.message.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(messages(last_two), ["two", "three"]);
    assert_eq!(messages(last_two - 1), ["three"]);
    assert_eq!(messages(u64::MAX), ["one", "two", "three"]);
    assert!(messages(0).is_empty());
    let error = read_error_tail(&log.dir.path().join("none.log"), History::ALL).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(
        error
            .to_string()
            .ends_with("none.log: no such file (wspulse waits for it; nginx creates it at start or reload)")
    );
}

#[test]
fn every_state_has_one_steady_text_and_a_short_remedy() {
    let quiet = Progress { holding: true, ..Progress::default() };
    let poll_only = Watching::PollOnly { why: "no inotify watch left".into(), remedy: "raise a limit" };
    let lagging = |behind| Progress { behind, ..quiet.clone() };
    let denied = Progress { obstacle: Some(Obstacle::Denied), ..Progress::default() };
    let denied_after_rotation = Progress { holding: true, ..denied.clone() };
    let forgotten = |secs| Progress { forgotten: Some(Duration::from_secs(secs)), ..quiet.clone() };
    let cases = [
        (quiet.clone(), Watching::Events, Sight::Seen, "following /l"),
        (quiet.clone(), Watching::Remote("NFS"), Sight::Seen, "following /l by polling (NFS)"),
        (quiet.clone(), poll_only, Sight::Degraded, "watching /l by polling only: no inotify watch left"),
        (lagging(LAGGING - 1), Watching::Events, Sight::Seen, "following /l"),
        (lagging(20 * MEGABYTE), Watching::Events, Sight::Degraded, "/l: more than 16 MB behind"),
        (lagging(31 * MEGABYTE), Watching::Events, Sight::Degraded, "/l: more than 16 MB behind"),
        (denied, Watching::Events, Sight::Blind, "/l: permission denied"),
        (denied_after_rotation, Watching::Events, Sight::Degraded, "/l: permission denied; the old file is still read"),
        (forgotten(31), Watching::Events, Sight::Degraded, "/l: nginx still writes to the rotated file"),
        (forgotten(99), Watching::Events, Sight::Degraded, "/l: nginx still writes to the rotated file"),
    ];
    for (progress, watching, sight, said) in cases {
        let sense = sense("/l", &progress, &watching, None);
        assert_eq!((sense.sight, sense.said.as_str()), (sight, said));
        assert_eq!(sense.remedy.is_some(), sight != Sight::Seen, "{said}");
        assert!(sense.remedy.is_none_or(|r| r.len() <= 70), "{said}");
    }
}

/// nginx 1.22.1 at level debug: three attempts to open a WebSocket among plain requests.
const DEBUG: &str = include_str!("../../../tests/data/debug/handshakes.log");

#[tokio::test]
async fn handshakes_of_a_debug_log_travel_with_its_entries_however_it_is_cut() {
    let whole = {
        let log = Log::new(DEBUG);
        read_error_tail(&log.path, History::ALL).unwrap().handshakes
    };
    assert_eq!(whole.len(), 3, "plain requests are none: {whole:?}");
    assert!(whole.iter().all(crate::event::handshake::Handshake::is_attempt));
    let log = Log::new("");
    let mut heard = Heard::of(ErrorLogSource::new(&host(), &log.path, History::default()));
    heard.sense().await;
    let mut live = Vec::new();
    // In pieces that end in the middle of lines and of heads.
    for piece in DEBUG.as_bytes().chunks(1_000) {
        OpenOptions::new().append(true).open(&log.path).unwrap().write_all(piece).unwrap();
    }
    while live.len() < whole.len() {
        if let Event::Errors(batch) = heard.next().await {
            assert!(!batch.read.history);
            live.extend(batch.handshakes);
        }
    }
    assert_eq!(live, whole);
    heard.task.abort();
}

#[test]
fn handshakes_before_the_asked_for_time_are_left_out() {
    let log = Log::new(DEBUG);
    let all = read_error_tail(&log.path, History::ALL).unwrap().handshakes;
    let since = all.iter().map(|h| h.at).max();
    let expected: Vec<_> = all.into_iter().filter(|h| Some(h.at) >= since).collect();
    let late = read_error_tail(&log.path, History { since, ..History::ALL }).unwrap().handshakes;
    assert_eq!(late, expected);
}

#[test]
fn a_log_without_debug_lines_collects_nothing() {
    let mut lines = ErrorLines::default();
    lines.line(line("one").trim_end().as_bytes());
    lines.line(b"GET / HTTP/1.1");
    assert!(format!("{lines:?}").contains("debug: None"), "{lines:?}");
}

#[tokio::test]
async fn a_backend_log_is_missing_then_searched_and_its_lines_get_a_time() {
    let log = Log::new("");
    fs::remove_file(&log.path).unwrap();
    let mut heard = Heard::of(BackendLogSource::new(&host(), &log.path, History::default()));
    let expected = Sense::blind(format!("{}: no such file", log.path.display()), Obstacle::Missing.remedy());
    assert_eq!(heard.sense().await, expected);
    log.append("all is well\nInvalid Upgrade header\n2001-01-01 00:00:00 Invalid Upgrade header\n");
    let before = crate::time::Clock.now().minus(Duration::from_secs(30));
    let (mut lines, mut entries) = (0, Vec::new());
    while lines < 3 {
        if let Event::Backend(batch) = heard.next().await {
            assert!(!batch.history);
            lines += batch.lines;
            entries.extend(batch.entries);
        }
    }
    assert_eq!(lines, 3);
    let times: Vec<bool> = entries.iter().map(|e| e.at > Some(before)).collect();
    assert_eq!(times, [true, true], "just written, whatever clock the second hung on: {entries:?}");
    heard.task.abort();
}

#[tokio::test]
async fn what_a_backend_log_held_before_has_its_own_time_or_none() {
    let log = Log::new("Invalid Upgrade header\n2001-01-01T00:00:00Z Invalid Upgrade header\n");
    let mut heard = Heard::of(BackendLogSource::new(&host(), &log.path, History::default()));
    let batch = loop {
        if let Event::Backend(batch) = heard.next().await {
            break batch;
        }
    };
    let times: Vec<_> = batch.entries.iter().map(|e| e.at).collect();
    assert_eq!(times, [None, Timestamp::parse_rfc3339("2001-01-01T00:00:00Z")]);
    assert!(batch.history);
    heard.task.abort();
}
