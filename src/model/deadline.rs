//! How long nginx will still hold a silent tunnel.
//!
//! nginx runs one read timer a tunnel, `proxy_read_timeout`, and arms it anew at every event on either leg: data of the client
//! counts as much as data of the backend (http/ngx_http_upstream.c, `ngx_http_upstream_process_upgraded`). TCP keepalives,
//! acknowledgements and retransmissions are no events. `proxy_send_timeout` runs beside it only while nginx has bytes that the
//! backend does not take. nginx moves a timer only when it changes by 300 ms or more (event/ngx_event_timer.h,
//! `NGX_TIMER_LAZY_DELAY`), so a cut may come that much early. A timeout of 0 is 0 ms, not "never".

use std::time::Duration;

use crate::time::Timestamp;

use super::legs::Leg;
use super::place::LocationPlace;
use super::unix::UnixLeg;

/// A timer of nginx that ends a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// `proxy_read_timeout`: nothing came in on either leg.
    Read,
    /// `proxy_send_timeout`: the backend does not take what the client sent.
    Send,
}

impl Cut {
    /// The directive.
    #[must_use]
    pub const fn directive(self) -> &'static str {
        match self {
            Self::Read => "proxy_read_timeout",
            Self::Send => "proxy_send_timeout",
        }
    }
}

/// When nginx will cut a tunnel that stays silent. A range where several locations lead to the same backend and their timeouts
/// differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// Time left at least; zero when it is due.
    pub least: Duration,
    /// Time left at most.
    pub most: Duration,
    /// The timeout that `least` runs down from.
    pub timeout: Duration,
    /// Which timer that is.
    pub cut: Cut,
}

impl Deadline {
    /// There is one deadline, not a range.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.least == self.most
    }
}

/// How long bytes must wait in a receive queue before nginx counts as not reading.
const NOT_READING: Duration = Duration::from_secs(1);

/// When the tunnel of these legs is cut, if it lives in one of `locations`. `client` is the client leg when it is known well
/// enough to speak for the tunnel. `None` when the locations or the moments are unknown, and while nginx waits for the client
/// to take data: then its read timer stands still.
#[must_use]
pub fn deadline(
    client: Option<&Leg>,
    upstream: &Leg,
    locations: &[&LocationPlace],
    now: Timestamp,
) -> Option<Deadline> {
    if waits(upstream, now) {
        return None;
    }
    cut(silence(client, upstream, now)?, client.is_some_and(|c| waits(c, now)), locations)
}

/// The same for a tunnel to a unix socket, whose own leg tells no moments: the client leg speaks for both sides. `None` too
/// where that one is not known.
#[must_use]
pub fn deadline_by_client(
    client: Option<&Leg>,
    upstream: &UnixLeg,
    locations: &[&LocationPlace],
    now: Timestamp,
) -> Option<Deadline> {
    let client = client.filter(|_| !upstream.waits(now, NOT_READING))?;
    cut(client.idle(now)?, waits(client, now), locations)
}

fn cut(silent: Duration, stuck: bool, locations: &[&LocationPlace]) -> Option<Deadline> {
    let cuts = locations.iter().map(|l| {
        if stuck && l.send_timeout < l.read_timeout { (l.send_timeout, Cut::Send) } else { (l.read_timeout, Cut::Read) }
    });
    let (timeout, cut) = cuts.clone().min_by_key(|(t, _)| *t)?;
    let longest = cuts.map(|(t, _)| t).max()?;
    Some(Deadline { least: timeout.saturating_sub(silent), most: longest.saturating_sub(silent), timeout, cut })
}

fn waits(leg: &Leg, now: Timestamp) -> bool {
    leg.row.recv_q > 0 && leg.idle_in(now).is_some_and(|d| d >= NOT_READING)
}

/// Time since nginx last had something to do for the tunnel.
#[must_use]
pub fn silence(client: Option<&Leg>, upstream: &Leg, now: Timestamp) -> Option<Duration> {
    let from_backend = upstream.idle_in(now)?;
    // What goes out to the backend came in from the client; but a retransmission goes out too, so the client leg knows better.
    let from_client = client.and_then(|c| c.idle_in(now)).or_else(|| upstream.idle_out(now))?;
    Some(from_backend.min(from_client))
}

/// How far a death may lie from a deadline and still be its work: the timer's laziness and the kernel's ticks before it, a busy
/// worker after it.
const EARLY: Duration = Duration::from_millis(500);
const LATE: Duration = Duration::from_millis(500);

/// A tunnel that was silent for so long was found dead, and lived at the look before, `since` ago: one of its timers ran out in
/// between. False where the silence is not known.
#[must_use]
pub fn ran_out(silent: Option<Duration>, locations: &[&LocationPlace], since: Duration) -> bool {
    let Some(silent) = silent else { return false };
    locations.iter().any(|l| {
        let timeout = l.read_timeout;
        silent + EARLY >= timeout && silent <= timeout + since + LATE
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::socket::{SocketRow, TcpInfo, TcpState};

    fn leg(received_s: Option<u32>, sent_s: Option<u32>, recv_q: u32) -> Leg {
        let ms = |s: Option<u32>| s.map(|s| s * 1000);
        let info = TcpInfo { last_received_ms: ms(received_s), last_sent_ms: ms(sent_s), ..TcpInfo::default() };
        let ends = (([127, 0, 0, 1], 80).into(), ([127, 0, 0, 1], 81).into());
        let row = SocketRow { recv_q, info: Some(info), ..SocketRow::new(1, ends.0, ends.1, TcpState::Established) };
        Leg::new(&row, Timestamp::from_secs(1_000), Some(Duration::ZERO))
    }

    fn location(read_s: u64, send_s: u64) -> LocationPlace {
        LocationPlace {
            path: "/ws".into(),
            peer: "127.0.0.1:81".into(),
            read_timeout: Duration::from_secs(read_s),
            send_timeout: Duration::from_secs(send_s),
            websocket: true,
            tls: false,
            ports: vec![80],
        }
    }

    fn left(client: Option<&Leg>, upstream: &Leg, locations: &[LocationPlace]) -> Option<(u64, u64, Cut)> {
        let locations: Vec<&LocationPlace> = locations.iter().collect();
        let d = deadline(client, upstream, &locations, Timestamp::from_secs(1_000))?;
        Some((d.least.as_secs(), d.most.as_secs(), d.cut))
    }

    #[test]
    fn data_of_either_side_arms_the_timer_anew() {
        let route = [location(60, 60)];
        assert_eq!(left(None, &leg(Some(10), Some(40), 0), &route), Some((50, 50, Cut::Read)));
        assert_eq!(left(None, &leg(Some(40), Some(10), 0), &route), Some((50, 50, Cut::Read)));
        assert_eq!(left(None, &leg(Some(70), Some(90), 0), &route), Some((0, 0, Cut::Read)), "due");
        assert_eq!(left(None, &leg(None, None, 0), &route), None, "unknown is not zero");
        assert_eq!(left(None, &leg(Some(10), Some(10), 0), &[]), None);
        assert_eq!(left(None, &leg(Some(10), Some(10), 0), &[location(0, 60)]), Some((0, 0, Cut::Read)), "0 is 0 ms");
    }

    #[test]
    fn a_retransmission_to_the_backend_does_not_arm_it() {
        let client = leg(Some(30), Some(50), 0);
        assert_eq!(left(Some(&client), &leg(Some(50), Some(1), 0), &[location(60, 60)]), Some((30, 30, Cut::Read)));
    }

    #[test]
    fn locations_that_differ_give_a_range() {
        let routes = [location(60, 60), location(3600, 60)];
        assert_eq!(left(None, &leg(Some(10), Some(10), 0), &routes), Some((50, 3590, Cut::Read)));
        assert_eq!(
            left(None, &leg(Some(10), Some(10), 0), &[location(60, 5), location(60, 60)]),
            Some((50, 50, Cut::Read))
        );
    }

    #[test]
    fn the_send_timeout_counts_while_the_backend_takes_nothing() {
        let client = leg(Some(10), Some(50), 9_000);
        let routes = [location(60, 20)];
        assert_eq!(left(Some(&client), &leg(Some(50), Some(12), 0), &routes), Some((10, 10, Cut::Send)));
    }

    #[test]
    fn while_the_client_takes_nothing_the_read_timer_stands_still() {
        assert_eq!(left(None, &leg(Some(10), Some(50), 9_000), &[location(60, 60)]), None);
        assert_eq!(
            left(None, &leg(Some(0), Some(50), 9_000), &[location(60, 60)]),
            Some((60, 60, Cut::Read)),
            "just come"
        );
    }
}
