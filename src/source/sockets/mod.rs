//! Polls the kernel socket tables and emits what changed: netlink sock_diag first, /proc/net/tcp as the fallback.
//!
//! [`SocketSource`] is the source; [`snapshot`] is one look for whoever needs no more. Both see the sockets of the network
//! namespace that the program runs in, or of the one that the interest names.

mod diff;
mod filter;
mod frame;
mod groups;
mod look;
mod message;
mod netlink;
mod owners;
mod pace;
mod prints;
mod procfs;
mod rest;
mod row;
mod sight;
mod space;
mod unix;
mod walk;
mod walked;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use self::look::{Looked, Looker};
use self::pace::Pace;
use self::rest::{Counters, Next, Rest};
use self::space::Space;
use super::{Outlet, Source};
use crate::event::site::Interest;
use crate::event::socket::{Listener, SocketDelta, SocketRow, SocketSource as Way, UnixListener, UnixRow};
use crate::event::{Event, Sense, Sight, SourceId, SourceKind};

pub use self::look::Mode;
pub(super) use self::procfs::listening;

/// The usual time between two looks.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// A delta that tells no change is sent after this long all the same: it shows that the source lives.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);
const PROC: &str = "/proc";

/// One look at the socket table.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The connections of the interest, in no order.
    pub rows: Vec<SocketRow>,
    /// The listening sockets of the interest, by address.
    pub listeners: Vec<Listener>,
    /// The connections to the backends' unix sockets, in no order; none where only /proc could be read.
    pub unix: Vec<UnixRow>,
    /// Those sockets themselves, by path.
    pub unix_listeners: Vec<UnixListener>,
    /// How it was read.
    pub source: Way,
    /// How long the look took.
    pub took: Duration,
    /// How well it was seen: whether netlink failed, and whether pids were hidden.
    pub sense: Sense,
}

/// Looks once at the sockets of `interest`. Blocks for as long as the look takes: microseconds for a few sockets, about 0.1 s
/// for 100,000.
///
/// # Errors
/// When the table cannot be read in any way that `mode` allows; the message says what failed.
pub fn snapshot(interest: &Interest, mode: Mode) -> io::Result<Snapshot> {
    let Looked { delta, sense, .. } = Looker::new(mode, PROC).look(interest, std::time::Instant::now())?;
    let SocketDelta { rows, listeners, unix, unix_listeners, source, took, .. } = delta;
    Ok(Snapshot { rows, listeners, unix, unix_listeners, source, took, sense })
}

/// Looks again and again for whoever paces himself, and remembers what was seen: [`SocketSource`] without a runtime.
#[derive(Debug)]
pub struct Watcher(Looker);

impl Watcher {
    /// A watcher that has seen nothing yet.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self(Looker::new(mode, PROC))
    }

    /// Looks once; what it tells is what changed since the look before.
    ///
    /// # Errors
    /// As [`snapshot`].
    pub fn look(&mut self, interest: &Interest) -> io::Result<(SocketDelta, Sense)> {
        let Looked { delta, sense, .. } = self.0.look(interest, std::time::Instant::now())?;
        Ok((delta, sense))
    }
}

/// The rows, listeners and unix connections in one datagram of the kernel's answers, whatever it holds: garbled or cut
/// short, the rows before the fault are read. For looking into a captured answer, and for the fuzzer.
#[must_use]
pub fn decode(datagram: &[u8]) -> (Vec<SocketRow>, Vec<Listener>, Vec<UnixRow>) {
    look::decode(datagram)
}

/// Watches the sockets of an interest that may change at any time.
#[derive(Debug)]
pub struct SocketSource {
    /// This host's name.
    pub host: Arc<str>,
    /// The time between two looks. It stretches by itself so that looking takes at most 5 % of one core; and looks are left
    /// out while the counters of TCP tell that nothing moved.
    pub interval: Duration,
    /// It does not: it was asked for.
    pub fixed: bool,
    /// How the tables are read.
    pub mode: Mode,
    /// What to watch. A new value is looked at at once; when its sender is gone, the last value stays.
    pub interest: watch::Receiver<Interest>,
}

impl SocketSource {
    /// A source with the usual interval that takes netlink if it can.
    #[must_use]
    pub fn new(host: &Arc<str>, interest: watch::Receiver<Interest>) -> Self {
        Self { host: Arc::clone(host), interval: INTERVAL, fixed: false, mode: Mode::Auto, interest }
    }

    /// The counters by which a look may be left out; none where every look is wanted, or where connections show in none.
    fn counters(&self, interest: &Interest) -> Option<Counters> {
        let counted = !self.fixed && interest.unix.is_empty();
        counted.then(|| Counters::read(&Space::of(Path::new(PROC), interest.net).tables(Path::new(PROC))))?
    }

    /// Waits until it is time or the interest is another one; with no time given, for the interest alone. False when the
    /// interest can never change and no time was given.
    async fn wait(&mut self, current: &Interest, until: Option<Instant>) -> bool {
        loop {
            let changed = self.interest.changed();
            let outcome = match until {
                Some(moment) => tokio::time::timeout_at(moment, changed).await.ok(),
                None => Some(changed.await),
            };
            match (outcome, until) {
                (None, _) => return true,
                (Some(Ok(())), _) if *self.interest.borrow_and_update() != *current => return true,
                (Some(Ok(())), _) => {}
                (Some(Err(_)), None) => return false,
                (Some(Err(_)), Some(moment)) => {
                    tokio::time::sleep_until(moment).await;
                    return true;
                }
            }
        }
    }
}

impl Source for SocketSource {
    fn id(&self) -> SourceId {
        SourceId::new(&self.host, SourceKind::Sockets)
    }

    async fn run(&mut self, out: &Outlet) -> io::Result<()> {
        let mut looker = Looker::new(self.mode, PROC);
        let mut voice = Voice::default();
        let mut pace = Pace::new(self.interval, self.fixed);
        let mut rest = Rest::default();
        loop {
            let interest = self.interest.borrow_and_update().clone();
            let begun = Instant::now();
            let mut until = None;
            // With nothing to watch there is one last look, if anything was seen before: it tells that all is gone.
            if !interest.is_empty() || looker.seen() > 0 {
                let counters = self.counters(&interest);
                let (back, outcome) = off_the_runtime(looker, interest.clone()).await?;
                looker = back;
                let Looked { delta, sense, cost } = outcome?;
                rest.looked(counters, delta.tells_of_connections());
                let next = pace.learn(cost, interest.net.is_some());
                until = begun.checked_add(next).filter(|_| !interest.is_empty());
                voice.sense(out, if interest.is_empty() { off() } else { paced(sense, &pace) }).await?;
                voice.delta(out, delta).await?;
            } else {
                voice.sense(out, off()).await?;
            }
            loop {
                if !self.wait(&interest, until).await {
                    return Ok(());
                }
                if until.is_none() || *self.interest.borrow() != interest {
                    break;
                }
                match rest.next(self.counters(&interest)) {
                    Next::Look => break,
                    Next::Unmoved => looker.unmoved(std::time::Instant::now()),
                    Next::Later => {}
                }
                until = until.and_then(|at| at.checked_add(pace.interval()));
            }
        }
    }
}

/// A look blocks: in the kernel for milliseconds, in /proc for longer.
async fn off_the_runtime(mut looker: Looker, interest: Interest) -> io::Result<(Looker, io::Result<Looked>)> {
    let look = tokio::task::spawn_blocking(move || {
        let outcome = looker.look(&interest, std::time::Instant::now());
        (looker, outcome)
    });
    look.await.map_err(io::Error::other)
}

/// The light, with how often is looked.
fn paced(mut sense: Sense, pace: &Pace) -> Sense {
    sense.said = format!("{}; {}", sense.said, pace.said());
    sense
}

fn off() -> Sense {
    Sense { sight: Sight::Off, said: "no ports to watch yet".into(), remedy: None }
}

/// What was said last, so that nothing is said twice.
#[derive(Debug, Default)]
struct Voice {
    sense: Option<Sense>,
    listeners: Vec<Listener>,
    unix_listeners: Vec<UnixListener>,
    at: Option<Instant>,
}

impl Voice {
    async fn sense(&mut self, out: &Outlet, sense: Sense) -> io::Result<()> {
        if self.sense.as_ref() != Some(&sense) {
            self.sense = Some(sense.clone());
            out.sense(sense).await?;
        }
        Ok(())
    }

    async fn delta(&mut self, out: &Outlet, delta: SocketDelta) -> io::Result<()> {
        if self.worth(&delta) {
            self.listeners.clone_from(&delta.listeners);
            self.unix_listeners.clone_from(&delta.unix_listeners);
            self.at = Some(Instant::now());
            out.send(Event::Sockets(delta)).await?;
        }
        Ok(())
    }

    fn worth(&self, delta: &SocketDelta) -> bool {
        delta.full
            || delta.tells_of_connections()
            || delta.time_wait.is_some()
            || delta.listeners != self.listeners
            || delta.unix_listeners != self.unix_listeners
            || self.at.is_none_or(|at| at.elapsed() >= LONGEST_SILENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_delta_without_change_is_sent_only_after_a_silence() {
        let nothing = SocketDelta::default();
        let (tx, mut rx) = tokio::sync::mpsc::channel(8);
        let out = Outlet::new(SourceId::new(&Arc::from("h"), SourceKind::Sockets), tx);
        let mut voice = Voice::default();
        let mut sent = Vec::new();
        for _ in 0..12 {
            voice.delta(&out, nothing.clone()).await.expect("open");
            sent.push(rx.try_recv().is_ok());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let spoke: Vec<_> = (0..sent.len()).filter(|i| sent[*i]).collect();
        assert_eq!(spoke, [0, 5, 10]);
        voice.delta(&out, SocketDelta { closed: vec![1], ..nothing }).await.expect("open");
        assert!(rx.try_recv().is_ok(), "a change is told at once");
    }
}
