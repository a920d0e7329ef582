//! What nginx says of its own processes, reloads and workers that drain, exit or crash, and which of it explains that
//! sessions ended together.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bursts::Burst;
use crate::event::log::Level;
use crate::time::Timestamp;

/// Incidents kept: the newest of them. A reload is a handful for each worker.
const KEPT: usize = 16_384;
/// A master tells its old workers to drain within this time of the reload (ngx_master_process_cycle waits 100 ms for the
/// new ones to start; loading a large configuration takes longer).
const TELLING: Duration = Duration::from_secs(30);
/// Cuts come so much later than their timer at most; clocks of logs have whole seconds.
const LATE: Duration = Duration::from_secs(2);
/// And so much earlier.
const EARLY: Duration = Duration::from_secs(1);
/// A worker that drained longer than this ended with its last client rather than by a timeout.
const LONGEST_DRAIN: Duration = Duration::from_secs(3_600);

/// One thing that befell a process of nginx.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Incident {
    /// The master began to read its configuration again.
    Reload,
    /// New workers serve in place of old ones, as the process table shows: the old ones began to drain.
    Renewed,
    /// A worker began to shut down gracefully: `worker_shutdown_timeout` begins to run (ngx_worker_process_cycle).
    Drain {
        /// The worker's pid.
        worker: u32,
    },
    /// A worker ended by itself.
    Exit {
        /// The worker's pid.
        worker: u32,
    },
    /// A worker died of a signal. Its tunnels leave no line in an access log.
    Crash {
        /// The worker's pid.
        worker: u32,
        /// The signal.
        signal: u32,
    },
}

impl Incident {
    /// What a message of the error log tells, written by the process `pid` (os/unix/ngx_process.c,
    /// os/unix/ngx_process_cycle.c).
    #[must_use]
    pub fn read(level: Level, pid: u32, message: &[u8]) -> Option<Self> {
        match level {
            Level::Notice if message == b"reconfiguring" || message.ends_with(b", reconfiguring") => Some(Self::Reload),
            Level::Notice if message == b"gracefully shutting down" => Some(Self::Drain { worker: pid }),
            Level::Notice | Level::Alert => Self::end(message),
            _ => None,
        }
    }

    fn end(message: &[u8]) -> Option<Self> {
        let (worker, rest) = number(message.strip_prefix(b"worker process ")?)?;
        let how = rest.strip_prefix(b" exited ")?;
        if how.starts_with(b"with code ") {
            return Some(Self::Exit { worker });
        }
        let (signal, _) = number(how.strip_prefix(b"on signal ")?)?;
        Some(Self::Crash { worker, signal })
    }

    /// The same of a whole line, `[notice] 7#7: reconfiguring` and its like, whose text behind the head is `message`.
    #[must_use]
    pub fn of_line(level: Level, line: &[u8], message: &[u8]) -> Option<Self> {
        let incident = Self::read(level, 0, message)?;
        let Self::Drain { .. } = incident else { return Some(incident) };
        let head = line.strip_suffix(message)?;
        let at = head.windows(2).rposition(|w| w == b"] ")?;
        Some(Self::Drain { worker: number(head.get(at + 2..)?)?.0 })
    }
}

fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(digits)?;
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

/// What befell the processes of nginx, by time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// Seconds since the epoch.
    kept: BTreeSet<(i64, Incident)>,
}

/// What the configuration says of `worker_shutdown_timeout`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Draining {
    /// It is not known.
    #[default]
    Unknown,
    /// It is not set: old workers wait for their last tunnel.
    Endless,
    /// Old workers cut their tunnels after this time; with its place in the configuration, as text.
    Bounded(Duration, String),
}

/// What ended sessions together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Old workers cut what was left to them.
    Drained {
        /// When nginx was reloaded; `None`: the workers were told to go in another way.
        reload: Option<Timestamp>,
        /// When they began to drain.
        began: Timestamp,
        /// How long they waited.
        after: Duration,
        /// The timeout is configured so, and stands here; `None`: it is only seen that they exited then.
        configured: Option<String>,
    },
    /// A worker died of a signal at the same moment.
    Crash {
        /// The worker's pid.
        worker: u32,
        /// The signal.
        signal: u32,
    },
}

impl Lifecycle {
    /// Remembers an incident.
    pub fn note(&mut self, at: Timestamp, incident: Incident) {
        self.kept.insert((at.secs(), incident));
        self.trim();
    }

    /// Adds what another one remembers.
    pub fn merge(&mut self, other: Self) {
        self.kept.extend(other.kept);
        self.trim();
    }

    fn trim(&mut self) {
        while self.kept.len() > KEPT {
            self.kept.pop_first();
        }
    }

    /// All incidents, oldest first.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Timestamp, Incident)> {
        self.kept.iter().map(|(at, incident)| (Timestamp::from_secs(*at), *incident))
    }

    /// Those from one moment to another, both included, oldest first.
    fn between(&self, from: Timestamp, to: Timestamp) -> impl DoubleEndedIterator<Item = (Timestamp, Incident)> {
        let (from, to) = (from.secs(), to.secs().max(from.secs()));
        // No incident sorts before a reload.
        let range = self.kept.range((from, Incident::Reload)..(to.saturating_add(1), Incident::Reload));
        range.map(|(at, incident)| (Timestamp::from_secs(*at), *incident))
    }

    /// The reload that made workers drain from this moment on; `None` when they were told to go in another way.
    #[must_use]
    pub fn reload_before(&self, drain: Timestamp) -> Option<Timestamp> {
        let mut before = self.between(drain.minus(TELLING), drain).rev();
        before.find(|(_, i)| *i == Incident::Reload).map(|(at, _)| at)
    }

    /// What ended the sessions of a burst, as far as the error log and the configuration tell. That something happened at
    /// the same time is a cause only where nginx ends tunnels by it.
    #[must_use]
    pub fn cause(&self, burst: &Burst, draining: &Draining) -> Option<Cause> {
        let crash = || {
            let mut near = self.between(burst.at.minus(EARLY), burst.last().plus(EARLY));
            near.find_map(|(_, i)| match i {
                Incident::Crash { worker, signal } => Some(Cause::Crash { worker, signal }),
                _ => None,
            })
        };
        match draining {
            Draining::Bounded(after, place) => self.cut_after(burst, *after, place).or_else(crash),
            Draining::Endless => crash(),
            Draining::Unknown => crash().or_else(|| self.cut_at_exit(burst)),
        }
    }

    fn cut_after(&self, burst: &Burst, after: Duration, place: &str) -> Option<Cause> {
        let began = self.between(burst.at.minus(after + LATE), burst.last().minus(after).plus(EARLY));
        let (began, how) = began.rev().find(|(_, i)| matches!(i, Incident::Drain { .. } | Incident::Renewed))?;
        let reload = self.reload_before(began).or((how == Incident::Renewed).then_some(began));
        Some(Cause::Drained { reload, began, after, configured: Some(place.to_owned()) })
    }

    /// A worker exited with the burst, and had been draining for some time: a timeout that is not known cut its tunnels.
    fn cut_at_exit(&self, burst: &Burst) -> Option<Cause> {
        let mut exits = self.between(burst.at.minus(EARLY), burst.last().plus(LATE));
        exits.find_map(|(_, incident)| {
            let Incident::Exit { worker } = incident else { return None };
            let mut before = self.between(burst.at.minus(LONGEST_DRAIN), burst.at).rev();
            let (began, _) = before.find(|(_, i)| *i == Incident::Drain { worker })?;
            let after = burst.at.since(began);
            let waited = after > EARLY;
            waited.then(|| Cause::Drained { reload: self.reload_before(began), began, after, configured: None })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_secs(second)
    }

    fn burst(second: i64) -> Burst {
        Burst { at: at(second), seconds: 1, ended: 40, usual: 0.1 }
    }

    fn bounded(seconds: u64) -> Draining {
        Draining::Bounded(Duration::from_secs(seconds), "/etc/nginx/nginx.conf:3".into())
    }

    /// A reload at second 100 after which workers 7 and 8 drain.
    fn reloaded() -> Lifecycle {
        let mut all = Lifecycle::default();
        all.note(at(100), Incident::Reload);
        all.note(at(101), Incident::Drain { worker: 7 });
        all.note(at(101), Incident::Drain { worker: 8 });
        all
    }

    #[test]
    fn nginx_own_words_are_understood() {
        let read = |level, text: &str| Incident::read(level, 7, text.as_bytes());
        assert_eq!(read(Level::Notice, "reconfiguring"), Some(Incident::Reload));
        let signal = "signal 1 (SIGHUP) received from 5, reconfiguring";
        assert_eq!(read(Level::Notice, signal), Some(Incident::Reload));
        assert_eq!(read(Level::Notice, "gracefully shutting down"), Some(Incident::Drain { worker: 7 }));
        assert_eq!(read(Level::Notice, "worker process 31 exited with code 0"), Some(Incident::Exit { worker: 31 }));
        let dumped = "worker process 31 exited on signal 11 (core dumped)";
        assert_eq!(read(Level::Alert, dumped), Some(Incident::Crash { worker: 31, signal: 11 }));
        for (level, other) in [
            (Level::Error, "reconfiguring"),
            (Level::Notice, "signal process started"),
            (Level::Notice, "cache manager process 9 exited with code 0"),
            (Level::Alert, "worker process 99999999999 exited on signal 9"),
            (Level::Notice, "worker process "),
        ] {
            assert_eq!(read(level, other), None, "{other}");
        }
        let line = b"2026/11/21 13:41:07 [notice] 4711#4711: gracefully shutting down";
        let message = b"gracefully shutting down";
        assert_eq!(Incident::of_line(Level::Notice, line, message), Some(Incident::Drain { worker: 4711 }));
        assert_eq!(Incident::of_line(Level::Notice, message, message), None, "no process: not nginx's words");
    }

    #[test]
    fn a_reload_cuts_when_its_timeout_is_over_and_not_before() {
        let all = reloaded();
        let cause = |second, draining: &Draining| all.cause(&burst(second), draining);
        let drained = |after, configured: Option<&str>| {
            let after = Duration::from_secs(after);
            Some(Cause::Drained {
                reload: Some(at(100)),
                began: at(101),
                after,
                configured: configured.map(Into::into),
            })
        };
        for second in [130, 131, 133] {
            assert_eq!(cause(second, &bounded(30)), drained(30, Some("/etc/nginx/nginx.conf:3")), "at {second}");
        }
        for second in [99, 101, 120, 135, 600] {
            assert_eq!(cause(second, &bounded(30)), None, "at {second}");
        }
        assert_eq!(cause(131, &Draining::Endless), None, "without the timeout old workers cut nobody");
        assert_eq!(cause(131, &Draining::Unknown), None, "nothing says that a worker went at that moment");
    }

    #[test]
    fn without_a_configuration_a_worker_that_exits_with_the_burst_tells() {
        let mut all = reloaded();
        all.note(at(131), Incident::Exit { worker: 8 });
        let cause = all.cause(&burst(131), &Draining::Unknown);
        let (reload, began, after) = (Some(at(100)), at(101), Duration::from_secs(30));
        assert_eq!(cause, Some(Cause::Drained { reload, began, after, configured: None }));
        assert_eq!(all.cause(&burst(140), &Draining::Unknown), None);
        all.note(at(50_131), Incident::Exit { worker: 7 });
        assert_eq!(all.cause(&burst(50_131), &Draining::Unknown), None, "that one waited for its last client");
    }

    #[test]
    fn a_crash_is_named_and_a_shutdown_is_no_reload() {
        let mut all = Lifecycle::default();
        all.note(at(500), Incident::Crash { worker: 9, signal: 11 });
        assert_eq!(all.cause(&burst(501), &bounded(30)), Some(Cause::Crash { worker: 9, signal: 11 }));
        assert_eq!(all.cause(&burst(503), &bounded(30)), None);
        all.note(at(700), Incident::Renewed);
        let Some(Cause::Drained { reload, .. }) = all.cause(&burst(730), &bounded(30)) else { panic!("drained") };
        assert_eq!(reload, Some(at(700)), "the process table saw it");
        all.note(at(900), Incident::Drain { worker: 10 });
        let Some(Cause::Drained { reload, .. }) = all.cause(&burst(930), &bounded(30)) else { panic!("drained") };
        assert_eq!(reload, None, "nginx -s quit");
    }

    #[test]
    fn the_newest_are_kept_in_whatever_order_they_come() {
        let filled = |seconds: &mut dyn Iterator<Item = i64>| {
            let mut all = Lifecycle::default();
            seconds.for_each(|s| all.note(at(s), Incident::Reload));
            all
        };
        let many = i64::try_from(KEPT).unwrap() + 100;
        let whole = filled(&mut (0..many));
        assert_eq!((whole.kept.len(), whole.iter().next().map(|i| i.0)), (KEPT, Some(at(100))));
        let mut parts = filled(&mut (5_000..many).rev());
        parts.merge(filled(&mut (0..5_000)));
        assert_eq!(parts, whole);
    }
}
