//! Pings and pongs of one tunnel as a pure state machine: round-trip times, missed pongs, and when to give up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::cadence::PingCadence;
use crate::event::probe::Strays;

/// A timer that fires this much too late was not late: the process did not run (stopped, or the machine overloaded).
pub(super) const SUSPENDED: Duration = Duration::from_secs(1);
/// Pings remembered for a late pong; older ones are forgotten.
const REMEMBERED: usize = 16;

/// How a tunnel is pinged.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    /// From ping to ping; `None`: never.
    pub interval: Option<Duration>,
    /// A pong that takes longer is missed.
    pub timeout: Duration,
    /// Missed pongs in a row after which the tunnel is given up; at least 1.
    pub give_up_after: u32,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Send a ping with this payload.
    Ping {
        /// Its number, from 1.
        seq: u64,
        /// What the pong must echo (RFC 6455 section 5.5.3).
        payload: String,
    },
    /// No pong came in time.
    Missed {
        /// The ping's number.
        seq: u64,
    },
    /// So many were missed in a row that the tunnel is dead.
    GiveUp {
        /// How many.
        missed: u32,
    },
}

/// What a pong was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// The answer to a ping, perhaps after it was called missed.
    Answer {
        /// The ping's number.
        seq: u64,
        /// Round-trip time.
        rtt: Duration,
    },
    /// An answer, but the process did not run meanwhile: how long it took is unknown.
    Untimed {
        /// The ping's number.
        seq: u64,
    },
    /// An answer to a ping that was answered before, or after which a younger one was answered.
    OutOfOrder,
    /// No ping of ours has this payload, though one is on its way.
    WrongPayload,
    /// No answer, and nothing was asked; allowed as a one-way heartbeat (RFC 6455 section 5.5.3).
    Unsolicited,
}

/// The heartbeat of one tunnel.
#[derive(Debug)]
pub struct Heartbeat {
    rhythm: Rhythm,
    cadence: Option<PingCadence>,
    nonce: u32,
    last_seq: u64,
    flights: VecDeque<Flight>,
    missed_in_a_row: u32,
    strays: Strays,
}

/// A ping on its way.
#[derive(Debug)]
struct Flight {
    seq: u64,
    sent: Instant,
    deadline: Instant,
    missed: bool,
    timed: bool,
}

impl Heartbeat {
    /// A heartbeat whose first ping is due at `now`. `nonce` tells its pongs from those of others.
    #[must_use]
    pub fn new(rhythm: Rhythm, nonce: u32, now: Instant) -> Self {
        Self {
            rhythm,
            cadence: rhythm.interval.map(|interval| PingCadence::new(now, interval)),
            nonce,
            last_seq: 0,
            flights: VecDeque::new(),
            missed_in_a_row: 0,
            strays: Strays::default(),
        }
    }

    /// When [`Self::tick`] has something to do next; `None`: never, as things are.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let deadlines = self.flights.iter().filter(|f| !f.missed).map(|f| f.deadline);
        deadlines.chain(self.cadence.as_ref().map(PingCadence::due)).min()
    }

    /// Pongs that answered nothing, so far.
    #[must_use]
    pub fn strays(&self) -> Strays {
        self.strays
    }

    /// The first ping was answered or missed; where none is ever sent there is nothing to wait for.
    #[must_use]
    pub fn is_first_settled(&self) -> bool {
        self.cadence.is_none()
            || self.last_seq > 1
            || (self.last_seq == 1 && self.flights.front().is_none_or(|f| f.missed))
    }

    /// What is due at `now`.
    pub fn tick(&mut self, now: Instant) -> Vec<Beat> {
        self.forgive_suspension(now);
        let mut beats = Vec::new();
        for flight in self.flights.iter_mut().filter(|f| !f.missed && f.deadline <= now) {
            flight.missed = true;
            self.missed_in_a_row += 1;
            beats.push(Beat::Missed { seq: flight.seq });
        }
        if self.missed_in_a_row >= self.rhythm.give_up_after.max(1) {
            beats.push(Beat::GiveUp { missed: self.missed_in_a_row });
        } else if self.cadence.as_mut().is_some_and(|c| c.take(now)) {
            beats.push(self.ping(now));
        }
        beats
    }

    /// The ping that was asked for leaves now: its round trip begins.
    pub(super) fn leaves(&mut self, seq: u64, now: Instant) {
        if let Some(flight) = self.flights.back_mut().filter(|f| f.seq == seq) {
            flight.sent = now;
        }
    }

    fn ping(&mut self, now: Instant) -> Beat {
        self.last_seq += 1;
        let seq = self.last_seq;
        if self.flights.len() == REMEMBERED {
            self.flights.pop_front();
        }
        let deadline = now + self.rhythm.timeout;
        self.flights.push_back(Flight { seq, sent: now, deadline, missed: false, timed: true });
        Beat::Ping { seq, payload: format!("wspulse {:08x} {seq}", self.nonce) }
    }

    /// Takes a pong that was read at `now`.
    ///
    /// A server may answer only the latest of several pings (RFC 6455 section 5.5.3): the older ones count as answered.
    pub fn on_pong(&mut self, payload: &[u8], now: Instant) -> Echo {
        self.forgive_suspension(now);
        let Some(seq) = self.read_seq(payload) else {
            return self.foreign();
        };
        let Some(at) = self.flights.iter().position(|f| f.seq == seq) else {
            self.strays.out_of_order += 1;
            return Echo::OutOfOrder;
        };
        self.missed_in_a_row = 0;
        match self.flights.drain(..=at).next_back() {
            Some(flight) if flight.timed => Echo::Answer { seq, rtt: now.saturating_duration_since(flight.sent) },
            _ => Echo::Untimed { seq },
        }
    }

    /// A pong that none of our pings asked for. While one is on its way it is taken for a wrong answer to that.
    fn foreign(&mut self) -> Echo {
        if self.flights.iter().any(|f| !f.missed) {
            self.strays.wrong_payload += 1;
            return Echo::WrongPayload;
        }
        self.strays.unsolicited += 1;
        Echo::Unsolicited
    }

    fn read_seq(&self, payload: &[u8]) -> Option<u64> {
        let text = std::str::from_utf8(payload).ok()?;
        let (nonce, seq) = text.strip_prefix("wspulse ")?.split_once(' ')?;
        let ours = nonce.len() == 8 && u32::from_str_radix(nonce, 16) == Ok(self.nonce);
        seq.parse().ok().filter(|seq| ours && (1..=self.last_seq).contains(seq))
    }

    /// A gap in our own time says nothing about the server: pings on their way get a new deadline and lose their clock.
    fn forgive_suspension(&mut self, now: Instant) {
        if self.due().is_none_or(|due| now.saturating_duration_since(due) <= SUSPENDED) {
            return;
        }
        for flight in &mut self.flights {
            flight.timed = false;
            flight.deadline = flight.deadline.max(now + self.rhythm.timeout);
        }
        if let Some(cadence) = &mut self.cadence {
            cadence.restart(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RHYTHM: Rhythm =
        Rhythm { interval: Some(Duration::from_secs(15)), timeout: Duration::from_secs(10), give_up_after: 3 };

    struct Story {
        heart: Heartbeat,
        start: Instant,
    }

    impl Story {
        fn new() -> Self {
            let start = Instant::now();
            Self { heart: Heartbeat::new(RHYTHM, 7, start), start }
        }
        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }
        fn tick(&mut self, ms: u64) -> Vec<Beat> {
            self.heart.tick(self.at(ms))
        }
        fn pong(&mut self, seq: u64, ms: u64) -> Echo {
            let now = self.at(ms);
            self.heart.on_pong(format!("wspulse 00000007 {seq}").as_bytes(), now)
        }
    }

    fn ping(seq: u64) -> Beat {
        Beat::Ping { seq, payload: format!("wspulse 00000007 {seq}") }
    }

    #[test]
    fn the_first_ping_goes_at_once_and_its_pong_is_timed() {
        let mut s = Story::new();
        assert_eq!(s.tick(0), [ping(1)]);
        assert!(!s.heart.is_first_settled());
        assert_eq!(s.heart.due().unwrap(), s.at(10_000), "the pong's deadline comes before the next ping");
        assert_eq!(s.pong(1, 4), Echo::Answer { seq: 1, rtt: Duration::from_millis(4) });
        assert!(s.heart.is_first_settled());
        assert_eq!(s.heart.due().unwrap(), s.at(15_000));
        assert_eq!(s.tick(14_999), []);
        assert_eq!(s.tick(15_000), [ping(2)]);
    }

    #[test]
    fn three_missed_in_a_row_end_it() {
        let mut s = Story::new();
        assert_eq!(s.tick(0), [ping(1)]);
        assert_eq!(s.tick(10_000), [Beat::Missed { seq: 1 }]);
        assert_eq!(s.tick(15_000), [ping(2)]);
        assert_eq!(s.tick(25_000), [Beat::Missed { seq: 2 }]);
        assert_eq!(s.tick(30_000), [ping(3)]);
        assert_eq!(s.tick(40_000), [Beat::Missed { seq: 3 }, Beat::GiveUp { missed: 3 }]);
    }

    #[test]
    fn a_late_pong_tells_its_time_and_saves_the_tunnel() {
        let mut s = Story::new();
        s.tick(0);
        s.tick(10_000);
        s.tick(15_000);
        s.tick(25_000);
        assert_eq!(s.pong(1, 25_500), Echo::Answer { seq: 1, rtt: Duration::from_millis(25_500) });
        s.tick(30_000);
        assert_eq!(s.tick(40_000), [Beat::Missed { seq: 3 }], "one in a row, not three");
    }

    #[test]
    fn the_latest_pong_answers_for_the_older_ones() {
        let mut s = Story::new();
        s.heart.rhythm.timeout = Duration::from_secs(60);
        s.tick(0);
        s.tick(15_000);
        assert_eq!(s.pong(2, 15_100), Echo::Answer { seq: 2, rtt: Duration::from_millis(100) });
        assert_eq!(s.pong(1, 15_200), Echo::OutOfOrder);
        assert_eq!(s.pong(2, 15_300), Echo::OutOfOrder, "answered twice");
        assert_eq!(s.heart.strays(), Strays { out_of_order: 2, ..Strays::default() });
    }

    #[test]
    fn foreign_pongs_answer_nothing() {
        let mut s = Story::new();
        s.tick(0);
        let now = s.at(5);
        let foreign: [&[u8]; 7] = [
            b"",
            b"keepalive",
            b"wspulse 00000008 1",
            b"wspulse 00000007 2",
            b"wspulse 00000007 0",
            b"wspulse 00000007 99999999999999999999999",
            b"\xff\xfe",
        ];
        for payload in foreign {
            assert_eq!(s.heart.on_pong(payload, now), Echo::WrongPayload, "{payload:?}");
        }
        assert_eq!(s.pong(1, 6), Echo::Answer { seq: 1, rtt: Duration::from_millis(6) });
        assert_eq!(s.heart.on_pong(b"keepalive", now), Echo::Unsolicited, "nothing is asked any more");
        assert_eq!(s.heart.strays(), Strays { wrong_payload: 7, unsolicited: 1, ..Strays::default() });
    }

    #[test]
    fn a_silent_heart_asks_nothing_and_waits_for_nothing() {
        let start = Instant::now();
        let mut heart = Heartbeat::new(Rhythm { interval: None, ..RHYTHM }, 7, start);
        assert!(heart.is_first_settled());
        let hour = start + Duration::from_secs(3_600);
        assert_eq!((heart.due(), heart.tick(hour)), (None, vec![]));
        assert_eq!(heart.on_pong(b"", hour), Echo::Unsolicited);
    }

    #[test]
    fn a_stopped_process_blames_nobody() {
        let mut s = Story::new();
        s.tick(0);
        s.pong(1, 5);
        s.tick(15_000);
        // SIGSTOP for an hour; the pong has long been in the socket's buffer, but the timer may be seen first.
        assert_eq!(s.tick(3_600_000), [ping(3)], "no miss, and a ping at once");
        assert_eq!(s.pong(2, 3_600_001), Echo::Untimed { seq: 2 }, "its time is unknown");
        assert_eq!(s.pong(3, 3_600_004), Echo::Answer { seq: 3, rtt: Duration::from_millis(4) });
    }

    #[test]
    fn a_pong_read_right_after_the_gap_has_no_time() {
        let mut s = Story::new();
        s.tick(0);
        assert_eq!(s.pong(1, 3_600_000), Echo::Untimed { seq: 1 });
        assert_eq!(s.tick(3_600_000), [ping(2)]);
    }

    #[test]
    fn a_server_that_is_dead_after_the_gap_is_still_found_out() {
        let mut s = Story::new();
        s.tick(0);
        let mut ms = 3_600_000;
        let mut beats = s.tick(ms);
        for _ in 0..20 {
            ms = u64::try_from(s.heart.due().unwrap().duration_since(s.start).as_millis()).unwrap();
            beats.extend(s.tick(ms));
            if beats.iter().any(|b| matches!(b, Beat::GiveUp { .. })) {
                break;
            }
        }
        assert!(beats.contains(&Beat::GiveUp { missed: 3 }), "{beats:?}");
    }

    #[test]
    fn memory_is_bounded_when_pongs_never_come_and_nobody_gives_up() {
        let start = Instant::now();
        let rhythm = Rhythm { give_up_after: u32::MAX, ..RHYTHM };
        let mut heart = Heartbeat::new(rhythm, 7, start);
        for _ in 0..1_000 {
            heart.tick(heart.due().unwrap());
        }
        assert!(heart.flights.len() <= REMEMBERED);
    }
}
