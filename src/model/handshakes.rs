//! Attempts of real clients to open a WebSocket, as debug logs show them: counts by path and answer, and the newest of each.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::event::handshake::Handshake;
use crate::time::Timestamp;

/// Different (path, status) pairs that are counted apart; clients choose paths.
const PAIRS: usize = 64;
/// Handshakes kept in full of each pair: a storm on one path must not push out what happened on another.
const KEPT: usize = 4;

/// What debug logs told so far.
#[derive(Clone, Debug, Default)]
pub struct Handshakes {
    /// All attempts.
    pub total: u64,
    /// By path and the status of the answer; a status of `None`: the log holds no answer.
    pub by_path: BTreeMap<(String, Option<u16>), Seen>,
    /// Attempts of pairs that were given up to bound memory, the one that was quiet the longest first.
    pub forgotten: u64,
}

/// Attempts with one path and one answer.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How many.
    pub count: u64,
    /// The newest of them, oldest first.
    pub newest: VecDeque<Arc<Handshake>>,
}

impl Seen {
    /// The newest of them.
    #[must_use]
    pub fn last(&self) -> Option<&Handshake> {
        self.newest.back().map(Arc::as_ref)
    }

    /// When it was asked for.
    #[must_use]
    pub fn last_at(&self) -> Timestamp {
        self.last().map_or_else(Timestamp::default, |h| h.at)
    }
}

impl Handshakes {
    /// Folds those of a batch in; plain requests are passed over.
    pub fn apply(&mut self, handshakes: &[Handshake]) {
        for handshake in handshakes.iter().filter(|h| h.is_attempt()) {
            self.total += 1;
            let key = (handshake.path().unwrap_or("?").to_owned(), handshake.status());
            if !self.by_path.contains_key(&key) && self.by_path.len() >= PAIRS {
                self.forget_one();
            }
            let seen = self.by_path.entry(key).or_default();
            seen.count += 1;
            if seen.newest.len() == KEPT {
                seen.newest.pop_front();
            }
            seen.newest.push_back(Arc::new(handshake.clone()));
        }
    }

    fn forget_one(&mut self) {
        let oldest = self.by_path.iter().min_by_key(|(_, seen)| seen.last_at()).map(|(key, _)| key.clone());
        let gone = oldest.and_then(|key| self.by_path.remove(&key));
        self.forgotten += gone.map_or(0, |seen| seen.count);
    }

    /// Every kept attempt, newest first.
    #[must_use]
    pub fn recent(&self) -> Vec<&Handshake> {
        let mut all: Vec<&Handshake> = self.by_path.values().flat_map(|s| &s.newest).map(Arc::as_ref).collect();
        all.sort_by_key(|h| std::cmp::Reverse(h.at));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::handshake::Head;

    fn asked(path: &str, at: i64, status: Option<u16>) -> Handshake {
        Handshake {
            at: Timestamp::from_secs(at),
            pid: 7,
            connection: 1,
            client: None,
            request: Head {
                line: format!("GET {path} HTTP/1.1"),
                headers: vec![("Upgrade".into(), "websocket".into())],
            },
            upstream: None,
            upstream_request: None,
            upstream_answer: None,
            answer: status.map(|s| Head { line: format!("HTTP/1.1 {s} x"), headers: Vec::new() }),
            truncated: false,
        }
    }

    #[test]
    fn a_storm_on_one_path_leaves_the_others_alone() {
        let mut h = Handshakes::default();
        h.apply(&[asked("/chat", 1, Some(426)), asked("/chat?x=1", 2, None)]);
        let storm: Vec<_> = (0..1_000).map(|n| asked("/feed", 10 + n, Some(101))).collect();
        h.apply(&storm);
        assert_eq!((h.total, h.forgotten), (1_002, 0));
        let counts: Vec<_> = h.by_path.iter().map(|((p, s), seen)| (p.as_str(), *s, seen.count)).collect();
        assert_eq!(counts, [("/chat", None, 1), ("/chat", Some(426), 1), ("/feed", Some(101), 1_000)]);
        assert_eq!(h.recent().len(), KEPT + 2);
        assert_eq!(h.recent()[0].at, Timestamp::from_secs(1_009));
    }

    #[test]
    fn paths_that_a_client_makes_up_are_bounded_and_what_is_new_is_still_seen() {
        let mut h = Handshakes::default();
        for n in 0..1_000 {
            h.apply(&[asked(&format!("/{n}"), n, Some(404)), asked("/ws", n, Some(101))]);
        }
        assert_eq!(h.by_path.len(), PAIRS);
        let kept: u64 = h.by_path.values().map(|s| s.count).sum();
        assert_eq!(kept + h.forgotten, h.total);
        assert_eq!(h.by_path[&("/ws".to_owned(), Some(101))].count, 1_000, "it is never the quietest");
        assert!(h.by_path.contains_key(&("/999".to_owned(), Some(404))));
    }

    #[test]
    fn a_plain_request_is_no_attempt() {
        let mut h = Handshakes::default();
        let mut plain = asked("/", 1, Some(200));
        plain.request.headers.clear();
        h.apply(&[plain]);
        assert_eq!((h.total, h.by_path.len()), (0, 0));
    }
}
