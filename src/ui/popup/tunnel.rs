//! One tunnel in full: how it does and both its legs, or how it ended.

use std::time::Duration;

use ratatui::text::Line;

use crate::event::socket::TcpTimer;
use crate::human;
use crate::model::connections::Upstream;
use crate::model::legs::Leg;
use crate::model::unix::UnixLeg;
use crate::report::sockets::Ended;
use crate::time::Timestamp;

use super::super::panes::cell;
use super::super::snapshot::tunnel::{TunnelRow, light};
use super::super::theme::{self, Tone};
use super::{NAME, Page};

/// The least columns of a leg beside the other.
const LEG: usize = 28;

/// What is known of one leg, by name.
type Facts = Vec<(&'static str, String)>;

fn none() -> String {
    theme::NONE.to_owned()
}

fn span(d: Option<Duration>) -> String {
    d.map_or_else(none, human::span)
}

/// Writes the page.
pub(super) fn write(page: &mut Page<'_>, r: &TunnelRow) {
    page.toned("state", &format!("{} {}", light(r).sign(), r.word()), light(r).word_tone());
    let bound = if r.age.is_some_and(|a| a.1) { "at least " } else { "" };
    let silent = r.idle.map_or_else(String::new, |d| format!(", silent for {}", human::span(d)));
    page.pair("age", &format!("{bound}{}{silent}", span(r.age.map(|a| a.0))));
    match &r.ended {
        Some(ended) => end(page, ended),
        None => life(page, r),
    }
    page.pair("location", r.location.as_deref().unwrap_or(theme::NONE));
    page.pair("worker", &worker(r));
    if r.ended.is_some() {
        page.pair("upstream", &r.upstream_addr.as_ref().map_or_else(none, Upstream::to_string));
        page.pair("pair", &pair(r));
        return;
    }
    page.pair("pair", &pair(r));
    if let Some(probe) = &r.probe {
        page.pair("held by", &format!("our own probe of {probe}"));
    }
    page.blank();
    legs(page, r);
}

fn worker(r: &TunnelRow) -> String {
    let nginx = r.nginx.map_or_else(String::new, |m| format!(" of the nginx with master {m}"));
    r.worker.map_or_else(none, |w| format!("{w}{nginx}"))
}

fn pair(r: &TunnelRow) -> String {
    format!("{}: how sure it is that the two legs belong together", r.pair.word())
}

/// How it ended, and what speaks for it.
fn end(page: &mut Page<'_>, ended: &Ended) {
    page.pair("ended", &ended.said());
    page.toned("last seen", &ended.seen, Tone::Muted);
    if let Some((line, shared)) = &ended.line {
        page.toned(if *shared { "perhaps" } else { "log" }, line, Tone::Muted);
    }
    if let Some((down, up)) = ended.bytes {
        page.pair("bytes", &format!("{} down, {} up", human::grouped(down), human::grouped(up)));
    }
}

fn life(page: &mut Page<'_>, r: &TunnelRow) {
    if let Some(odd) = r.odd() {
        page.toned("odd", &odd, Tone::Warn);
    }
    let until = r.left_at_most.map_or_else(String::new, |most| format!(" to {}", human::span(most)));
    let timeout = r.cut_by.unwrap_or("proxy_read_timeout");
    page.pair("time left", &format!("{}{until} of {timeout} {}", span(r.left), span(r.timeout)));
    if let Some(recent) = r.recent(page.look.now).filter(|r| r.iter().any(|n| *n > 0)) {
        page.toned("last minute", &cell::spark(&recent), Tone::Accent);
    }
}

/// Both legs side by side, fact by fact; one below the other where that is too wide.
fn legs(page: &mut Page<'_>, r: &TunnelRow) {
    let each = page.width.saturating_sub(NAME) / 2;
    let now = page.look.now;
    let client = r.client.as_ref().map(|l| leg_facts(l, now));
    let tcp = r.upstream.as_ref().map(|l| leg_facts(l, now));
    let upstream = tcp.or_else(|| r.unix.as_ref().map(unix_facts));
    if each < LEG {
        for (name, facts) in [("Client leg", client), ("Upstream leg", upstream)] {
            page.head(name);
            match facts {
                Some(facts) => facts.iter().for_each(|(name, said)| page.pair(name, said)),
                None => page.pair("", "not known"),
            }
        }
        return;
    }
    let line = |page: &mut Page<'_>, name: &str, tone: Tone, left: &str, right: &str| {
        let label = page.look.span(Tone::Faint, format!("{name:<NAME$}"));
        let left = human::cut_middle(left, each.saturating_sub(2)).into_owned();
        let gap = " ".repeat(each.saturating_sub(human::width(&left)));
        let right = human::cut_middle(right, each).into_owned();
        let [left, right] = [left, right].map(|text| page.look.span(tone, text));
        page.lines.push(Line::from(vec![label, left, page.look.span(tone, gap), right]));
    };
    line(page, "", Tone::Strong, "Client leg", "Upstream leg");
    let names: Vec<&str> = client.iter().chain(&upstream).take(1).flatten().map(|(name, _)| *name).collect();
    let said = |facts: &Option<Facts>, i: usize| match facts {
        Some(facts) => facts.get(i).map_or_else(String::new, |(_, said)| said.clone()),
        None if i == 0 => "not known".to_owned(),
        None => String::new(),
    };
    for (i, name) in names.into_iter().enumerate() {
        line(page, name, Tone::Plain, &said(&client, i), &said(&upstream, i));
    }
}

/// What the kernel says of one leg, in an order that is the same for all.
fn leg_facts(leg: &Leg, now: Timestamp) -> Facts {
    let (row, i) = (&leg.row, leg.row.info.unwrap_or_default());
    let n = |n: Option<u64>| n.map_or_else(none, human::grouped);
    let us = |n: Option<u32>| n.map_or_else(none, |us| human::latency(Duration::from_micros(u64::from(us))));
    let ago = |ms: Option<u32>| {
        let silent = ms.map(|ms| Duration::from_millis(u64::from(ms)) + now.since(leg.seen));
        silent.map_or_else(none, |d| format!("{} ago", human::span(d)))
    };
    vec![
        ("local", row.local.to_string()),
        ("peer", row.peer.to_string()),
        ("state", row.state.word().to_owned()),
        ("received", format!("{} B, last {}", n(i.bytes_received), ago(i.last_received_ms))),
        ("sent", format!("{} B, last {}", n(i.bytes_sent), ago(i.last_sent_ms))),
        ("acked", format!("{} B", n(i.bytes_acked))),
        ("queues", queues(Some(row.recv_q), Some(row.send_q))),
        ("round trip", format!("{}, varying by {}", us(i.rtt_us), us(i.rttvar_us))),
        ("sent again", format!("{}, backed off {}", n(i.retransmits.map(u64::from)), n(i.backoff.map(u64::from)))),
        ("waits for", waits_for(leg, now)),
        ("room", room(leg)),
    ]
}

/// The same of nginx's end of a connection to a unix socket, on which the kernel counts nothing.
fn unix_facts(leg: &UnixLeg) -> Facts {
    let row = &leg.row;
    vec![
        ("local", none()),
        ("peer", format!("unix:{}", row.path)),
        ("state", leg.state().to_owned()),
        ("received", format!("{} not counted", theme::NONE)),
        ("sent", format!("{} not counted", theme::NONE)),
        ("acked", none()),
        ("queues", queues(row.recv_q, row.send_q)),
        ("round trip", none()),
        ("sent again", none()),
        ("waits for", none()),
        ("room", none()),
    ]
}

fn queues(to_read: Option<u32>, to_ack: Option<u32>) -> String {
    let n = |n: Option<u32>| n.map_or_else(none, |n| human::grouped(n.into()));
    format!("{} B to read, {} B to ack", n(to_read), n(to_ack))
}

/// What the kernel's timer is for, and when it runs out.
fn waits_for(leg: &Leg, now: Timestamp) -> String {
    let Some(timer) = leg.timer(now) else {
        let told = leg.row.info.is_some();
        return if told { "nothing, no keepalive".to_owned() } else { none() };
    };
    let after = timer.left.map_or_else(String::new, |d| format!(" in {}", human::span(d)));
    let vain = if timer.times > 0 { format!(", {} in vain", timer.times) } else { String::new() };
    match timer.kind {
        TcpTimer::Retransmit => format!("an answer, else again{after}{vain}"),
        TcpTimer::Keepalive => format!("keepalive probe{after}{vain}"),
        TcpTimer::Persist => format!("room, asks{after}{vain}"),
        TcpTimer::TimeWait => format!("stray segments{after}"),
    }
}

/// Bytes that the peer may still be sent and that it may still send; told only of a leg on which something waits.
fn room(leg: &Leg) -> String {
    let Some(s) = leg.row.strain.as_deref() else { return none() };
    let n = |n: Option<u32>| n.map_or_else(none, |n| human::scaled(n.into()));
    format!("{}B at the peer, {}B here, {}B unsent", n(s.peer_window), n(s.own_window), n(s.unsent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::socket::{SocketRow, Strain, TcpInfo, TcpState};

    #[test]
    fn what_the_kernel_waits_for_is_told_in_words() {
        let said = |timer: Option<TcpTimer>, ms: u32, probes: u8, backoff: u8| {
            let strain = Strain { timer_ms: Some(ms), probes: Some(probes), ..Strain::default() };
            let ends = (([127, 0, 0, 1], 80).into(), ([127, 0, 0, 1], 81).into());
            let row = SocketRow {
                timer,
                strain: Some(Box::new(strain)),
                info: Some(TcpInfo { backoff: Some(backoff), ..TcpInfo::default() }),
                ..SocketRow::new(1, ends.0, ends.1, TcpState::Established)
            };
            waits_for(&Leg::new(&row, Timestamp::from_secs(1), None), Timestamp::from_secs(1))
        };
        assert_eq!(said(None, 0, 0, 0), "nothing, no keepalive");
        assert_eq!(said(Some(TcpTimer::Keepalive), 42_000, 0, 0), "keepalive probe in 42s");
        assert_eq!(said(Some(TcpTimer::Retransmit), 3_000, 0, 5), "an answer, else again in 3s, 5 in vain");
        assert_eq!(said(Some(TcpTimer::Persist), 6_000, 4, 0), "room, asks in 6s, 4 in vain");
    }
}
