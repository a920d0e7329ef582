//! One row of the socket table, with what was learnt by watching it.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::event::socket::{SocketRow, Strain, TcpInfo, TcpState, TcpTimer};
use crate::time::Timestamp;

/// Cells of [`Recent`].
pub const CELLS: usize = 20;
/// The same as a count of time steps.
const STEPS: i64 = 20;
/// Seconds that one cell of [`Recent`] covers: the whole ring is the last minute.
pub const CELL_S: i64 = 3;
/// A rate older than this is over: rows that rest are not told again.
const RATE_HOLDS: Duration = Duration::from_secs(2);

/// Which side of nginx a leg is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// To a client: nginx accepted it.
    Client,
    /// To a backend: nginx opened it.
    Upstream,
}

/// A row of the socket table with what was learnt by watching it. A copy costs nothing: it is shared until the leg learns more.
#[derive(Clone, Debug)]
pub struct Leg(Arc<Watched>);

/// What is known of a leg.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The row as last read. A row in which only idle time passed is not read again.
    pub row: SocketRow,
    /// The moment of that reading.
    pub seen: Timestamp,
    /// When it was opened, as near as could be seen: between the look that first showed it and the one before.
    pub first: Timestamp,
    /// It was there when watching began: it was opened at `first` or before.
    pub older_than_us: bool,
    /// Bytes that came in and went out over the last minute.
    pub recent: Recent,
    /// Bytes that the program read from it and wrote to it in the interval that ended at `seen`.
    pub grown: Flow,
    /// The silence that the latest traffic ended.
    pub beat: Option<Beat>,
    span: Duration,
}

/// A silence between two exchanges, and how steady it is: heartbeats keep a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// How long nothing was said.
    pub silence: Duration,
    /// How many times in a row it was about as long.
    pub times: u32,
}

/// What comes within this time belongs to the same exchange.
const EXCHANGE: Duration = Duration::from_secs(1);

impl Beat {
    /// The beat after a silence, given the one before.
    fn after(silence: Duration, before: Option<Self>) -> Self {
        let alike = |b: &Self| b.silence.abs_diff(silence) <= EXCHANGE.max(silence / 10);
        let times = before.filter(alike).map_or(1, |b| b.times.saturating_add(1));
        Self { silence, times }
    }
}

/// Bytes in the two directions of a leg, as nginx sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Read by nginx.
    pub read: u64,
    /// Written by nginx.
    pub written: u64,
}

impl Deref for Leg {
    type Target = Watched;

    fn deref(&self) -> &Watched {
        &self.0
    }
}

impl Leg {
    /// A row seen for the first time; `since` is the time since the look before, `None` when there was none.
    ///
    /// Data that passed before, and the opening itself, happened after the look that did not show the row; a row of the first
    /// look may be as old as it likes, and is at least as old as its silence.
    #[must_use]
    pub fn new(row: &SocketRow, at: Timestamp, since: Option<Duration>) -> Self {
        let recent = Recent { cells: [Cell::default(); CELLS], newest: cell_number(at) };
        let mut leg = Watched {
            row: row.clone(),
            seen: at,
            first: at,
            older_than_us: since.is_none(),
            recent,
            grown: Flow::default(),
            beat: None,
            span: Duration::ZERO,
        };
        let spoke = [leg.last_in(), leg.last_out()].into_iter().flatten().min().unwrap_or(at);
        leg.first = since.map_or(spoke, |since| spoke.max(at.minus(since))).min(at);
        Self(Arc::new(leg))
    }

    /// The row changed; `since` is the time since the look before, in which its counters grew.
    pub fn renew(&mut self, row: &SocketRow, at: Timestamp, since: Option<Duration>) {
        Arc::make_mut(&mut self.0).renew(row, at, since);
    }
}

impl Watched {
    fn renew(&mut self, row: &SocketRow, at: Timestamp, since: Option<Duration>) {
        self.span = since.unwrap_or_else(|| at.since(self.seen));
        let (before, spoke) = (self.passed(), self.spoke());
        self.row = row.clone();
        self.seen = at;
        if let Some((then, now)) = spoke.zip(self.spoke())
            && now.since(then) > EXCHANGE
        {
            self.beat = Some(Beat::after(now.since(then), self.beat));
        }
        self.grown = match self.passed().zip(before) {
            Some((now, then)) => {
                Flow { read: now.read.saturating_sub(then.read), written: now.written.saturating_sub(then.written) }
            }
            None => Flow::default(),
        };
        self.recent.add(at, self.grown);
    }

    /// Bytes that nginx has read and written so far; `None` when the kernel did not tell.
    ///
    /// What waits in the receive queue has not been read, and what waits in the send queue has been written: these counts
    /// move when nginx moves, not when a peer acknowledges, and a retransmission does not count twice.
    #[must_use]
    pub fn passed(&self) -> Option<Flow> {
        let info = self.row.info.as_ref()?;
        let read = info.bytes_received?.saturating_sub(u64::from(self.row.recv_q));
        Some(Flow { read, written: info.bytes_acked?.saturating_add(u64::from(self.row.send_q)) })
    }

    /// Bytes received and bytes acknowledged by the peer so far.
    #[must_use]
    pub fn bytes(&self) -> Option<(u64, u64)> {
        let info = self.row.info.as_ref()?;
        info.bytes_received.zip(info.bytes_acked)
    }

    /// Bytes a second read and written at `now`: over the latest interval, 0 when the row has rested since; `None` when the
    /// kernel did not tell.
    #[must_use]
    pub fn rates(&self, now: Timestamp) -> Option<(f64, f64)> {
        self.passed()?;
        let span = self.span.as_secs_f64();
        if span <= 0.0 || now.since(self.seen) > RATE_HOLDS.max(self.span * 2) {
            return Some((0.0, 0.0));
        }
        Some((self.grown.read as f64 / span, self.grown.written as f64 / span))
    }

    /// When data last came in.
    #[must_use]
    pub fn last_in(&self) -> Option<Timestamp> {
        self.moment(self.row.info.as_ref()?.last_received_ms)
    }

    /// When data last went out; a retransmission counts (net/ipv4/tcp_output.c, `tcp_event_data_sent`).
    #[must_use]
    pub fn last_out(&self) -> Option<Timestamp> {
        self.moment(self.row.info.as_ref()?.last_sent_ms)
    }

    fn moment(&self, ago_ms: Option<u32>) -> Option<Timestamp> {
        Some(self.seen.minus(Duration::from_millis(u64::from(ago_ms?))))
    }

    /// Silence of the peer.
    #[must_use]
    pub fn idle_in(&self, now: Timestamp) -> Option<Duration> {
        self.last_in().map(|t| now.since(t))
    }

    /// Time since data was last sent to the peer.
    #[must_use]
    pub fn idle_out(&self, now: Timestamp) -> Option<Duration> {
        self.last_out().map(|t| now.since(t))
    }

    /// Silence on this leg in both directions; `None` when the kernel did not tell.
    #[must_use]
    pub fn idle(&self, now: Timestamp) -> Option<Duration> {
        Some(self.idle_in(now)?.min(self.idle_out(now)?))
    }

    /// The moment of the latest traffic in either direction, as of the latest look.
    fn spoke(&self) -> Option<Timestamp> {
        Some(self.last_in()?.max(self.last_out()?))
    }

    /// Smoothed round-trip time and its variance.
    #[must_use]
    pub fn rtt(&self) -> Option<(Duration, Option<Duration>)> {
        let info = self.row.info.as_ref()?;
        let micros = |us: u32| Duration::from_micros(u64::from(us));
        Some((micros(info.rtt_us?), info.rttvar_us.map(micros)))
    }

    fn tcp<T>(&self, of: impl Fn(&TcpInfo) -> Option<T>) -> Option<T> {
        self.row.info.as_ref().and_then(of)
    }

    /// Segments retransmitted in all.
    #[must_use]
    pub fn retransmits(&self) -> Option<u32> {
        self.tcp(|i| i.retransmits)
    }

    /// nginx has closed this leg: what is left is the kernel's business.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        use TcpState::{Closed, Closing, FinWait1, FinWait2, LastAck, TimeWait};
        matches!(self.row.state, FinWait1 | FinWait2 | LastAck | Closing | TimeWait | Closed)
    }

    /// What is odd about this leg at `now`, worst first; `None` when nothing is, or when the kernel did not tell.
    #[must_use]
    pub fn trouble(&self, now: Timestamp) -> Option<Trouble> {
        if self.row.state == TcpState::CloseWait {
            // nginx closes at once what its peer closed; a row between the two is no trouble.
            return (now.since(self.seen) >= LINGER).then_some(Trouble::CloseWait);
        }
        if self.is_closed() {
            return None;
        }
        let backoff = self.backoff();
        let unanswered = self.tcp(|i| i.unacked).is_some_and(|n| n > 0);
        if backoff >= BACKED_OFF {
            // With nothing in flight the timer that backs off is the persist timer: the peer's window is shut.
            return Some(if unanswered { Trouble::HalfOpen } else { Trouble::WindowShut });
        }
        let asked = self.strain(|s| s.probes).unwrap_or(0);
        if self.row.timer == Some(TcpTimer::Keepalive) && asked >= UNANSWERED {
            return Some(Trouble::HalfOpen);
        }
        // Bytes moved too long ago: the queue is not being emptied. Without idle times nothing can be said.
        let resting = |d: Option<Duration>| d.is_some_and(|d| d >= QUEUE_RESTS);
        if self.row.send_q > 0 && self.window_is_shut() && resting(self.idle_out(now)) {
            return Some(Trouble::WindowShut);
        }
        if self.row.recv_q > 0 && resting(self.idle_in(now)) {
            return Some(Trouble::NotRead);
        }
        if unanswered && backoff >= RESENDING {
            return Some(Trouble::Resending);
        }
        (self.row.send_q > 0 && resting(self.idle_out(now))).then_some(Trouble::NotTaken)
    }

    fn strain<T>(&self, of: impl Fn(&Strain) -> Option<T>) -> Option<T> {
        self.row.strain.as_deref().and_then(of)
    }

    /// How often the timer has doubled for what waits now; 0 where nothing waits, or the kernel did not tell.
    #[must_use]
    pub fn backoff(&self) -> u8 {
        self.tcp(|i| i.backoff).unwrap_or(0)
    }

    /// The peer has told that it has no room, or it is being asked whether it has any again.
    fn window_is_shut(&self) -> bool {
        self.row.timer == Some(TcpTimer::Persist) || self.strain(|s| s.peer_window) == Some(0)
    }

    /// What the kernel waits for; `None` when it waits for nothing, or did not tell.
    #[must_use]
    pub fn timer(&self, now: Timestamp) -> Option<Timer> {
        let kind = self.row.timer?;
        let times = match kind {
            TcpTimer::Retransmit => u32::from(self.backoff()),
            TcpTimer::Keepalive | TcpTimer::Persist => u32::from(self.strain(|s| s.probes).unwrap_or(0)),
            TcpTimer::TimeWait => 0,
        };
        // A row is not told again when its timer runs out and is armed anew: what would be past is not known.
        let at_look = self.strain(|s| s.timer_ms).map(|ms| Duration::from_millis(u64::from(ms)));
        let left = at_look.and_then(|left| left.checked_sub(now.since(self.seen)));
        Some(Timer { kind, left, times })
    }

    /// For how long at least the peer has been silent, while data is sent to it again and again.
    #[must_use]
    pub fn unanswered_for(&self, now: Timestamp) -> Option<Duration> {
        let waits = self.tcp(|i| i.unacked).is_some_and(|n| n > 0) && self.backoff() > 0;
        waits.then(|| self.idle_in(now)).flatten()
    }
}

/// What the kernel waits for on a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// What for.
    pub kind: TcpTimer,
    /// Until it runs out; `None` when that is not known.
    pub left: Option<Duration>,
    /// How often it has run out in vain.
    pub times: u32,
}

/// Retransmissions of one segment after which a peer is suspected to be gone: at the usual 200 ms start, over ten seconds of
/// silence.
const BACKED_OFF: u8 = 6;
/// Retransmissions of one segment that are worth a word: beyond a moment's loss.
const RESENDING: u8 = 3;
/// Keepalive probes without an answer after which the same is suspected.
const UNANSWERED: u8 = 3;
/// How long a queue must rest with bytes in it.
pub(super) const QUEUE_RESTS: Duration = Duration::from_secs(5);
/// How long CLOSE-WAIT must last.
pub(super) const LINGER: Duration = Duration::from_secs(3);

/// What can be odd about an open leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Data is sent again and again and nobody answers: the peer may be gone (RFC 9293 section 3.8.3).
    HalfOpen,
    /// The peer's receive window is shut: it takes nothing (RFC 9293 section 3.8.6.1).
    WindowShut,
    /// The peer has closed and nginx has not.
    CloseWait,
    /// The backend's unix socket has the connection in its queue and does not accept it.
    NotAccepted,
    /// Data has come in and nginx does not read it: it cannot pass it on.
    NotRead,
    /// Data was written and has waited for long to be acknowledged.
    NotTaken,
    /// Data is sent again and again: a lossy way, or the beginning of a silence.
    Resending,
}

impl Trouble {
    /// A few words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::HalfOpen => "half-open?",
            Self::WindowShut => "window shut",
            Self::CloseWait => "close-wait",
            Self::NotAccepted => "not accepted",
            Self::NotRead => "not read",
            Self::NotTaken => "not taken",
            Self::Resending => "resending",
        }
    }

    /// One word, for filters and programs.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::HalfOpen => "half-open",
            Self::WindowShut => "zero-window",
            Self::CloseWait => "close-wait",
            Self::NotAccepted => "unaccepted",
            Self::NotRead => "not-read",
            Self::NotTaken => "not-taken",
            Self::Resending => "resending",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cell {
    read: u32,
    written: u32,
}

/// Bytes over the last minute, in a ring of fixed size: 168 bytes a leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent {
    cells: [Cell; CELLS],
    newest: i64,
}

fn cell_number(at: Timestamp) -> i64 {
    at.secs().div_euclid(CELL_S)
}

fn index(number: i64) -> usize {
    usize::try_from(number.rem_euclid(STEPS)).unwrap_or(0)
}

impl Recent {
    fn add(&mut self, at: Timestamp, flow: Flow) {
        let number = cell_number(at);
        let stale = number.saturating_sub(self.newest).clamp(0, STEPS);
        for k in 0..stale {
            self.cells[index(number - k)] = Cell::default();
        }
        self.newest = self.newest.max(number);
        let capped = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        // A clock that went back: what it brings belongs to the newest cell.
        let cell = &mut self.cells[index(self.newest)];
        cell.read = cell.read.saturating_add(capped(flow.read));
        cell.written = cell.written.saturating_add(capped(flow.written));
    }

    /// Bytes read and written in each cell of [`CELL_S`] seconds, oldest first, the last one holding `now`.
    #[must_use]
    pub fn series(&self, now: Timestamp) -> [(u32, u32); CELLS] {
        let last = cell_number(now).max(self.newest);
        let mut number = last - STEPS;
        [(); CELLS].map(|()| {
            number += 1;
            if number > self.newest || number <= self.newest - STEPS {
                return (0, 0);
            }
            let cell = self.cells[index(number)];
            (cell.read, cell.written)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(recv_q: u32, send_q: u32, received: u64, acked: u64) -> SocketRow {
        let ends = (([127, 0, 0, 1], 80).into(), ([127, 0, 0, 1], 81).into());
        SocketRow {
            inode: 1,
            pid: Some(7),
            recv_q,
            send_q,
            info: Some(TcpInfo {
                bytes_received: Some(received),
                bytes_acked: Some(acked),
                last_received_ms: Some(0),
                last_sent_ms: Some(0),
                ..TcpInfo::default()
            }),
            ..SocketRow::new(1, ends.0, ends.1, TcpState::Established)
        }
    }

    fn at(s: i64) -> Timestamp {
        Timestamp::from_secs(s)
    }

    #[test]
    fn what_waits_to_be_read_has_not_passed_and_what_waits_to_be_acknowledged_has() {
        let leg = Leg::new(&row(5, 7, 100, 50), at(1), Some(Duration::ZERO));
        assert_eq!(leg.passed(), Some(Flow { read: 95, written: 57 }));
        assert_eq!(leg.bytes(), Some((100, 50)));
        let blind = Leg::new(&SocketRow { info: None, ..row(0, 0, 0, 0) }, at(1), Some(Duration::ZERO));
        assert_eq!((blind.passed(), blind.rates(at(1)), blind.idle(at(9))), (None, None, None), "unknown is not zero");
    }

    #[test]
    fn a_leg_is_as_old_as_its_silence_but_not_older_than_the_look_before() {
        let mut quiet = row(0, 0, 0, 0);
        quiet.info = quiet.info.map(|i| TcpInfo { last_received_ms: Some(700), last_sent_ms: Some(3_000), ..i });
        let first = |since| Leg::new(&quiet, at(100), since).first;
        assert_eq!(first(None), at(97));
        assert_eq!(first(Some(Duration::from_secs(1))), at(99), "the clock of the kernel and ours differ a little");
        assert_eq!(Leg::new(&SocketRow { info: None, ..quiet.clone() }, at(100), None).first, at(100));
    }

    #[test]
    fn a_rate_ends_when_the_row_rests() {
        let mut leg = Leg::new(&row(0, 0, 0, 0), at(1), Some(Duration::ZERO));
        leg.renew(&row(0, 0, 300, 20), at(3), Some(Duration::from_secs(1)));
        assert_eq!(leg.rates(at(3)), Some((300.0, 20.0)), "grown in the second before, whatever the row did earlier");
        assert_eq!(leg.rates(at(9)), Some((0.0, 0.0)));
    }

    #[test]
    fn the_last_minute_is_kept_in_a_ring_of_fixed_size() {
        assert!(size_of::<Recent>() <= 200);
        let mut leg = Leg::new(&row(0, 0, 0, 0), at(0), Some(Duration::ZERO));
        for s in 1..200_u64 {
            leg.renew(&row(0, 0, s * 10, 0), at(i64::try_from(s).expect("small")), None);
        }
        let series = leg.recent.series(at(199));
        assert_eq!(series[..CELLS - 1], [(30, 0); CELLS - 1], "three seconds a cell");
        assert_eq!(leg.recent.series(at(199 + 57))[0], (20, 0), "198 and 199 are the oldest cell a minute later");
        assert_eq!(leg.recent.series(at(10_000)), [(0, 0); CELLS]);
    }

    #[test]
    fn a_clock_that_goes_back_breaks_nothing() {
        let mut leg = Leg::new(&row(0, 0, 0, 0), at(100), Some(Duration::ZERO));
        leg.renew(&row(0, 0, 5, 0), at(10), None);
        leg.renew(&row(0, 0, 9, 0), Timestamp::from_micros(i64::MIN), None);
        leg.renew(&row(0, 0, 10, 0), Timestamp::from_micros(i64::MAX), None);
        let _ = leg.recent.series(Timestamp::from_micros(i64::MAX));
    }

    fn odd(change: impl FnOnce(&mut SocketRow, &mut TcpInfo), after: i64) -> Option<Trouble> {
        let mut row = row(0, 0, 10, 10);
        let mut info = row.info.expect("info");
        change(&mut row, &mut info);
        row.info = Some(info);
        Leg::new(&row, at(0), Some(Duration::ZERO)).trouble(at(after))
    }

    #[test]
    fn an_odd_leg_says_what_is_odd() {
        assert_eq!(odd(|_, _| {}, 1_000), None);
        let backing_off = |unacked| {
            move |_: &mut SocketRow, i: &mut TcpInfo| {
                (i.backoff, i.unacked) = (Some(7), Some(unacked));
            }
        };
        assert_eq!(odd(backing_off(1), 1), Some(Trouble::HalfOpen));
        assert_eq!(odd(backing_off(0), 1), Some(Trouble::WindowShut));
        let again = |times| move |_: &mut SocketRow, i: &mut TcpInfo| (i.backoff, i.unacked) = (Some(times), Some(1));
        assert_eq!((odd(again(2), 1), odd(again(3), 1)), (None, Some(Trouble::Resending)), "a lossy moment is none");
        let shut = |r: &mut SocketRow, _: &mut TcpInfo| (r.send_q, r.timer) = (9, Some(TcpTimer::Persist));
        assert_eq!(
            (odd(shut, 1), odd(shut, 6)),
            (None, Some(Trouble::WindowShut)),
            "a full window is usual for a moment"
        );
        let asked = |probes| {
            move |r: &mut SocketRow, _: &mut TcpInfo| {
                r.timer = Some(TcpTimer::Keepalive);
                r.strain = Some(Box::new(Strain { probes: Some(probes), ..Strain::default() }));
            }
        };
        assert_eq!((odd(asked(1), 1), odd(asked(3), 1)), (None, Some(Trouble::HalfOpen)));
        assert_eq!(odd(|r, _| r.recv_q = 9, 1), None, "on its way");
        assert_eq!(odd(|r, _| r.recv_q = 9, 6), Some(Trouble::NotRead));
        assert_eq!(odd(|r, _| r.send_q = 9, 6), Some(Trouble::NotTaken));
        assert_eq!(odd(|r, _| r.state = TcpState::CloseWait, 0), None, "nginx is about to close");
        assert_eq!(odd(|r, _| r.state = TcpState::CloseWait, 5), Some(Trouble::CloseWait));
    }

    #[test]
    fn a_timer_runs_on_and_is_unknown_once_it_must_have_run_out() {
        let strain = Strain { timer_ms: Some(42_000), probes: Some(2), ..Strain::default() };
        let row = SocketRow { timer: Some(TcpTimer::Keepalive), strain: Some(Box::new(strain)), ..row(0, 0, 1, 1) };
        let leg = Leg::new(&row, at(0), Some(Duration::ZERO));
        let left = |s| leg.timer(at(s)).map(|t| (t.left.map(|d| d.as_secs()), t.times));
        assert_eq!((left(2), left(50)), (Some((Some(40), 2)), Some((None, 2))));
        let none = Leg::new(&SocketRow { timer: None, ..row.clone() }, at(0), Some(Duration::ZERO));
        assert_eq!(none.timer(at(1)), None);
    }

    fn quiet(ms: u32) -> SocketRow {
        let info = TcpInfo { last_sent_ms: Some(ms), last_received_ms: Some(ms), ..TcpInfo::default() };
        SocketRow { info: Some(info), ..row(0, 0, 0, 0) }
    }

    #[test]
    fn a_heartbeat_shows_as_a_steady_silence() {
        let mut leg = Leg::new(&quiet(300), at(100), Some(Duration::ZERO));
        let mut beats = Vec::new();
        // A ping and its pong at 155, 210 and 266 s, and talk at 270 s.
        for (look, silent) in [(156, 1_000), (211, 800), (266, 0), (271, 1_000)] {
            leg.renew(&quiet(silent), at(look), None);
            beats.push(leg.beat.map(|b| (b.silence.as_secs(), b.times)));
        }
        assert_eq!(beats, [Some((55, 1)), Some((55, 2)), Some((55, 3)), Some((4, 1))]);
        leg.renew(&quiet(500), at(271), None);
        assert_eq!(leg.beat.map(|b| b.times), Some(1), "the same exchange");
    }
}
