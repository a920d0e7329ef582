//! Tasks that turn the outside world into stamped events. None can see the model.
//!
//! Every source runs under [`supervise`]: when it fails, the failure becomes a `Sense` event on the screen and the source
//! is started again after a bounded pause. Nothing is dropped: a full channel makes the next poll later and the tail lag.

pub mod config;
pub mod history;
pub mod logs;
pub mod probe;
pub mod process;
mod rotated;
pub mod sockets;
pub mod tail;

use std::io;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::event::{Event, Sense, SourceId, Stamped};
use crate::time::Clock;

/// The first pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One thing outside, looked at for as long as the program runs.
pub trait Source: Send + 'static {
    /// Who speaks.
    fn id(&self) -> SourceId;

    /// Looks until there is nothing more to see (`Ok`) or looking fails (`Err`, started again after a pause).
    /// A closed channel is an error of kind `BrokenPipe`, which ends the source for good.
    fn run(&mut self, out: &Outlet) -> impl Future<Output = io::Result<()>> + Send;
}

/// A source's way into the one channel: it stamps each event with the time and the source.
#[derive(Clone, Debug)]
pub struct Outlet {
    from: SourceId,
    clock: Clock,
    channel: mpsc::Sender<Stamped>,
}

impl Outlet {
    /// An outlet that stamps the wall clock.
    #[must_use]
    pub fn new(from: SourceId, channel: mpsc::Sender<Stamped>) -> Self {
        Self { from, clock: Clock, channel }
    }

    /// Who speaks through it.
    #[must_use]
    pub fn from(&self) -> &SourceId {
        &self.from
    }

    /// An outlet into the same channel for another source.
    #[must_use]
    pub fn for_source(&self, from: SourceId) -> Self {
        Self { from, clock: self.clock, channel: self.channel.clone() }
    }

    fn stamp(&self, event: Event) -> Stamped {
        Stamped { at: self.clock.now(), from: self.from.clone(), event }
    }

    /// Sends one event, waiting while the channel is full.
    ///
    /// # Errors
    /// `BrokenPipe` when nobody listens any more.
    pub async fn send(&self, event: Event) -> io::Result<()> {
        self.channel.send(self.stamp(event)).await.map_err(|_| gone())
    }

    /// The same from a thread.
    ///
    /// # Errors
    /// `BrokenPipe` when nobody listens any more.
    pub fn send_blocking(&self, event: Event) -> io::Result<()> {
        self.channel.blocking_send(self.stamp(event)).map_err(|_| gone())
    }

    /// Says how well the source sees.
    ///
    /// # Errors
    /// `BrokenPipe` when nobody listens any more.
    pub async fn sense(&self, sense: Sense) -> io::Result<()> {
        self.send(Event::Sense(sense)).await
    }

    /// Waits until nobody listens any more.
    pub async fn closed(&self) {
        self.channel.closed().await;
    }

    /// Nobody listens any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.channel.is_closed()
    }
}

fn gone() -> io::Error {
    io::Error::from(io::ErrorKind::BrokenPipe)
}

/// Pauses that double from [`FIRST_PAUSE`] to [`LONGEST_PAUSE`].
#[derive(Clone, Copy, Debug)]
pub struct BackOff {
    next: Duration,
    first: Duration,
    longest: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self::between(FIRST_PAUSE, LONGEST_PAUSE)
    }
}

impl BackOff {
    /// Pauses from `first`, doubling up to `longest`.
    #[must_use]
    pub const fn between(first: Duration, longest: Duration) -> Self {
        Self { next: first, first, longest }
    }

    /// The pause to make now; the next one is twice as long, up to the longest.
    pub fn pause(&mut self) -> Duration {
        let now = self.next;
        self.next = (self.next * 2).min(self.longest);
        now
    }

    /// All was well: start from the first pause again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Runs `source` on the current runtime until it ends by itself or nobody listens. Aborting the handle ends it too.
pub fn supervise<S: Source>(mut source: S, channel: mpsc::Sender<Stamped>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let out = Outlet::new(source.id(), channel);
        let mut back_off = BackOff::default();
        loop {
            let started = tokio::time::Instant::now();
            // A panic in one source must not take the screen with it, nor leave its light green.
            let run = AssertUnwindSafe(source.run(&out)).catch_unwind().await;
            match run.unwrap_or_else(|_| Err(io::Error::other("an internal error: please report it with --log-file"))) {
                Ok(()) => return,
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe && out.is_closed() => return,
                Err(e) => {
                    if started.elapsed() > LONGEST_PAUSE {
                        back_off.reset();
                    }
                    let pause = back_off.pause();
                    tracing::warn!(source = %out.from(), error = %e, ?pause, "source failed");
                    let remedy = format!("tried again every {} s at most", LONGEST_PAUSE.as_secs());
                    if out.sense(Sense::blind(e.to_string(), remedy)).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::SourceKind;
    use std::sync::Arc;

    #[test]
    fn pauses_double_up_to_a_bound_and_start_again() {
        let mut b = BackOff::between(Duration::from_secs(1), Duration::from_secs(5));
        let pauses: Vec<u64> = (0..5).map(|_| b.pause().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 5, 5]);
        b.reset();
        assert_eq!(b.pause().as_secs(), 1);
    }

    struct Failing(u32);
    impl Source for Failing {
        fn id(&self) -> SourceId {
            SourceId::new(&Arc::from("h"), SourceKind::Sockets)
        }
        async fn run(&mut self, _out: &Outlet) -> io::Result<()> {
            self.0 += 1;
            if self.0 < 3 { Err(io::Error::other("no such luck")) } else { Ok(()) }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_source_says_so_and_is_started_again() {
        let (tx, mut rx) = mpsc::channel(8);
        let task = supervise(Failing(0), tx);
        let mut senses = 0;
        while let Some(e) = rx.recv().await {
            assert!(matches!(e.event, Event::Sense(Sense { sight: crate::event::Sight::Blind, .. })));
            senses += 1;
        }
        assert_eq!(senses, 2);
        task.await.expect("ends by itself");
    }
}
