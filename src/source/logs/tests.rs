//! Log sources on real files, from history through rotation and truncation.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::event::{Sight, Stamped};
use crate::source::supervise;
use crate::source::tail::Obstacle;

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
                all.extend(batch.entries.into_iter().map(|e| (e.message, batch.read.history)));
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
            seen.extend(batch.entries.into_iter().map(|e| e.message));
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
    assert!(matches!(from.recv().await, Some(Event::Sense(_))));
    drop(guard);
    while timeout(Duration::from_secs(20), from.recv()).await.expect("the thread ends when told").is_some() {}

    let (to, from) = mpsc::channel(1);
    drop(from);
    let collector = Collector::new(ErrorLines::default(), None, 1);
    let mut desk = Desk { path: "/l".into(), collector, told: None, to };
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
        batch.entries.into_iter().map(|e| e.message).collect::<Vec<_>>()
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
        let sense = sense("/l", &progress, &watching);
        assert_eq!((sense.sight, sense.said.as_str()), (sight, said));
        assert_eq!(sense.remedy.is_some(), sight != Sight::Seen, "{said}");
        assert!(sense.remedy.is_none_or(|r| r.len() <= 70), "{said}");
    }
}
