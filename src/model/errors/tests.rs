//! Stories of what is kept of error-log entries, and what a flood cannot do to it.

use super::kept::By;
use super::*;

fn entry(second: i64, category: Category, client: &str) -> ErrorEntry {
    ErrorEntry {
        at: Timestamp::from_secs(second),
        level: if category == Category::ClientClosed { Level::Info } else { Level::Error },
        category,
        pid: 7,
        connection: Some(1),
        message: "recv() failed".into(),
        errno: Some(104),
        ssl: None,
        action: Some("proxying upgraded connection".into()),
        client: Some(client.into()),
        server: Some("example.test".into()),
        request: Some("GET /ws/7?room=1 HTTP/1.1".into()),
        subrequest: None,
        upstream: None,
        host: None,
        raw: "2026/11/21 12:00:00 [error] 7#7: *1 recv() failed".into(),
    }
}

fn folded(entries: Vec<ErrorEntry>) -> Errors {
    let mut errors = Errors::default();
    errors.apply(&ErrorBatch { entries, ..ErrorBatch::default() }, &Places::default());
    errors
}

#[test]
fn a_category_says_of_whom_since_when_and_at_which_levels() {
    let mut entries: Vec<ErrorEntry> = (0..10).map(|n| entry(100 + n, Category::UpstreamClosed, "10.0.0.1")).collect();
    entries.push(entry(50, Category::UpstreamClosed, "10.0.0.2"));
    let errors = folded(entries);
    let tally = &errors.by_category[&Category::UpstreamClosed];
    assert_eq!((tally.total, tally.severe, tally.by_level[&Level::Error]), (11, 11, 11));
    assert_eq!((tally.first, tally.latest), (Some(Timestamp::from_secs(50)), Some(Timestamp::from_secs(109))));
    let clients = &tally.splits.get(By::Client).expect("a split").top;
    assert_eq!(clients.get("10.0.0.1").map(|c| (c.count, c.missed)), Some((10, 0)));
    assert_eq!(tally.splits.get(By::Upstream).map(|s| s.without), Some(11));
    assert_eq!(tally.splits.get(By::Location).map(|s| s.top.ranked(1)[0].0.to_string()), Some("/ws/7".into()));
    assert!(tally.splits.get(By::Category).is_none());
    let shapes = &tally.splits.get(By::Message).expect("a split").top;
    assert_eq!(
        shapes.ranked(9)[0].0.as_ref(),
        "recv() failed (104: Connection reset by peer) while proxying upgraded connection"
    );
}

#[test]
fn a_flood_fills_nothing_but_its_own_place() {
    let mut entries: Vec<ErrorEntry> = (0..5).map(|n| entry(n, Category::UpstreamClosed, "10.0.0.1")).collect();
    entries.extend((0..20_000).map(|n| entry(10 + n / 100, Category::ClientClosed, &format!("2001:db8::{n:x}"))));
    entries.push(ErrorEntry {
        raw: "x".repeat(1 << 20).into(),
        message: "é".repeat(1 << 19).into(),
        ..entry(999, Category::Other, "::1")
    });
    let errors = folded(entries);
    let kept = errors.kept();
    assert!(kept.len() <= NEWEST + 17 * KEPT && kept.is_sorted_by_key(|k| (k.entry.at, k.seq)), "{}", kept.len());
    assert_eq!(kept.iter().filter(|k| k.category() == Category::UpstreamClosed).count(), 5, "the quiet one is there");
    let mut seqs: Vec<u64> = kept.iter().map(|k| k.seq).collect();
    seqs.dedup();
    assert_eq!(seqs.len(), kept.len(), "no entry stands there twice");
    assert!(kept.iter().all(|k| k.entry.raw.len() < 10_000 && k.entry.message.len() < 10_000));
    let clients = &errors.by_category[&Category::ClientClosed].splits.get(By::Client).expect("a split").top;
    assert!(clients.len() <= split::NAMES && clients.bound() > 0 && clients.bound() < 200, "{}", clients.bound());
}

#[test]
fn after_a_reset_new_entries_are_told_from_old_ones() {
    let mut errors = folded(vec![entry(1, Category::Other, "::1")]);
    let old = errors.kept()[0].seq;
    errors.reset();
    assert!(errors.kept().is_empty() && errors.entries == 0);
    errors.apply(
        &ErrorBatch { entries: vec![entry(2, Category::Other, "::1")], ..ErrorBatch::default() },
        &Places::default(),
    );
    assert!(errors.kept()[0].seq > old);
}

#[test]
fn a_rate_is_taken_over_the_time_that_was_watched() {
    let errors = folded((0..6).map(|n| entry(1_000 + n, Category::Other, "::1")).collect());
    let tally = &errors.by_category[&Category::Other];
    let at = |secs: i64| tally.per_minute(Timestamp::from_secs(1_010), Some(Timestamp::from_secs(1_010 - secs)));
    assert!((at(10) - 6.0).abs() < 1e-9, "a short look counts as a minute: {}", at(10));
    assert!((at(120) - 3.0).abs() < 1e-9, "{}", at(120));
    assert!((at(9_999) - 1.2).abs() < 1e-9, "{}", at(9_999));
}
