//! One tunnel in full: how it does and both its legs, or how it ended.

use std::time::Duration;

use crate::event::socket::TcpTimer;
use crate::human;
use crate::model::connections::Upstream;
use crate::model::legs::{CELL_S, Leg};
use crate::model::unix::UnixLeg;
use crate::report::sockets::Ended;
use crate::time::Timestamp;

use super::super::panes::{cell, connections};
use super::super::snapshot::Snapshot;
use super::super::snapshot::timer;
use super::super::snapshot::tunnel::{TunnelRow, light};
use super::super::text::wrap;
use super::super::theme::{self, Tone};
use super::{NAME, Page};

/// The least columns of a leg beside the other.
const LEG: usize = 28;
/// Columns of the longest bar.
const BAR: usize = 40;
/// Blanks behind it.
const GAP: usize = 2;
/// Sparklines are twice as wide on pages at least so wide.
const WIDE: usize = 100;
/// And below this they have a line of their own.
const NARROW: usize = 70;

/// What is known of one leg, by name.
type Facts = Vec<(&'static str, String)>;

fn none() -> String {
    theme::NONE.to_owned()
}

/// Within a sentence a span needs no column of its own.
fn said(d: Duration) -> String {
    human::span(d).replace("  ", " ")
}

fn span(d: Option<Duration>) -> String {
    d.map_or_else(none, said)
}

/// Writes the page.
///
/// ```text
/// state       ● open for 44s, silent for 49s
/// time left   ━━━━━╸                                    11s of 60s
/// cut by      proxy_read_timeout 1m  0s, /etc/nginx/conf.d/feed.conf:12
/// ↓ to client    0/s   most 3.6k in 3s    91k in all   ▁▁▃▅▁
/// ↑ by client    0/s   most 1020 in 3s    12k in all   ▁
/// ```
pub(super) fn write(page: &mut Page<'_>, snap: &Snapshot, r: &TunnelRow) {
    state(page, r);
    match &r.ended {
        Some(ended) => end(page, ended),
        None => life(page, snap, r),
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

fn state(page: &mut Page<'_>, r: &TunnelRow) {
    let light = light(r);
    let bound = if r.age.is_some_and(|a| a.1) { "at least " } else { "" };
    let word = if r.ended.is_some() { ", was open" } else { "" };
    let now = page.look.now;
    let age = r.age_at(now).map_or_else(String::new, |(age, _)| format!("{word} for {bound}{}", said(age)));
    let silent = r.idle_at(now).map_or_else(String::new, |d| format!(", silent for {}", said(d)));
    let look = page.look;
    let sign = look.span(light.tone(), light.sign());
    let named = look.span(light.word_tone(), format!(" {}", r.word()));
    page.named("state", vec![sign, named, look.span(Tone::Plain, format!("{age}{silent}"))]);
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

fn life(page: &mut Page<'_>, snap: &Snapshot, r: &TunnelRow) {
    if let Some(odd) = r.odd() {
        page.toned("odd", &odd, Tone::Warn);
    }
    deadline(page, snap, r);
    flow(page, r);
}

/// How long nginx still holds it in silence, and which line says so.
fn deadline(page: &mut Page<'_>, snap: &Snapshot, r: &TunnelRow) {
    let Some(left) = r.left_at(page.look.now) else {
        page.pair("time left", "· not known, or no timer of nginx runs now");
        return;
    };
    let (share, tone) = connections::nearness(left, r.timeout);
    let at_most = r.left_at_most_at(page.look.now).map_or_else(String::new, |most| format!(" to {}", said(most)));
    let text = format!("{}{at_most} of {}", said(left), span(r.timeout));
    let room = page.width.saturating_sub(NAME + GAP + human::width(&text)).min(BAR);
    let bar = page.look.span(tone, format!("{:<room$}", cell::bar(share, room)));
    page.named("time left", vec![bar, page.look.span(Tone::Plain, format!("{:GAP$}{text}", ""))]);
    let Some(directive) = r.cut_by else { return };
    let place = match timer::of(&snap.timers, r).map(|t| &t.place) {
        Some(Some(place)) => format!(", {place}"),
        Some(None) => ", nginx's default".to_owned(),
        None => String::new(),
    };
    page.pair("cut by", &format!("{directive} {}{place}", span(r.timeout)));
}

/// What passed in the last minute, each way by its own measure.
fn flow(page: &mut Page<'_>, r: &TunnelRow) {
    let Some(recent) = recent(r, page.look.now) else { return };
    let totals = r.bytes().map_or([None; 2], |(down, up)| [Some(down), Some(up)]);
    let ways = [("↓ to client", r.down, 0), ("↑ by client", r.up, 1)];
    for ((name, rate, way), total) in ways.into_iter().zip(totals) {
        let series: Vec<u64> = recent.iter().map(|cell| cell[way]).collect();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate on a screen, never negative"
        )]
        let now = rate.map_or_else(none, |n| format!("{}/s", human::scaled(n.round() as u64)));
        // Not a second: what went in one look at once would be said to be less than what goes now.
        let most = human::scaled(series.iter().max().copied().unwrap_or(0));
        let all = total.map_or_else(none, human::scaled);
        if page.width < NARROW {
            // Too narrow for all on one line.
            page.pair(name, &format!("{now} now, {all} in all"));
            if series.iter().any(|n| *n > 0) {
                page.named("", vec![page.look.span(Tone::Accent, cell::spark(&series))]);
            }
            continue;
        }
        let figures = format!("{now:>6}   most {most:>4} in {CELL_S}s   {all:>4} in all   ");
        let times = if page.width >= WIDE { 2 } else { 1 };
        let strip: String = cell::spark(&series).chars().flat_map(|c| std::iter::repeat_n(c, times)).collect();
        page.named(name, vec![page.look.span(Tone::Plain, figures), page.look.span(Tone::Accent, strip)]);
    }
}

/// Bytes to the client and from it in each cell of the last minute, by the leg that the row's own figures come from.
fn recent(r: &TunnelRow, now: Timestamp) -> Option<Vec<[u64; 2]>> {
    r.recent(now)?;
    let wide = |a: u32, b: u32| [u64::from(a), u64::from(b)];
    match (&r.client, &r.upstream) {
        (Some(client), _) if client.passed().is_some() => {
            Some(client.recent.series(now).iter().map(|(read, written)| wide(*written, *read)).collect())
        }
        (_, Some(upstream)) => {
            Some(upstream.recent.series(now).iter().map(|(read, written)| wide(*read, *written)).collect())
        }
        _ => None,
    }
}

/// Both legs side by side, fact by fact; one below the other where that is too wide.
fn legs(page: &mut Page<'_>, r: &TunnelRow) {
    let now = page.look.now;
    let client = r.client.as_ref().map(|l| leg_facts(l, now));
    let tcp = r.upstream.as_ref().map(|l| leg_facts(l, now));
    let upstream = tcp.or_else(|| r.unix.as_ref().map(unix_facts));
    let each = page.width.saturating_sub(NAME) / 2;
    if each >= LEG {
        beside(page, client.as_ref(), upstream.as_ref(), each);
        return;
    }
    for (name, facts) in [("Client leg", client), ("Upstream leg", upstream)] {
        page.head(name);
        match facts {
            Some(facts) => {
                facts.iter().filter(|(_, said)| *said != theme::NONE).for_each(|(n, said)| page.pair(n, said));
            }
            None => page.pair("", "not known"),
        }
    }
}

fn beside(page: &mut Page<'_>, client: Option<&Facts>, upstream: Option<&Facts>, each: usize) {
    line(page, "", Tone::Strong, ["Client leg", "Upstream leg"], each);
    let names: Vec<&str> = client.or(upstream).into_iter().flatten().map(|(name, _)| *name).collect();
    let said = |facts: Option<&Facts>, i: usize| match facts {
        Some(facts) => facts.get(i).map_or_else(String::new, |(_, said)| said.clone()),
        None if i == 0 => "not known".to_owned(),
        None => String::new(),
    };
    for (i, name) in names.into_iter().enumerate() {
        let both = [said(client, i), said(upstream, i)];
        // What neither tells is no line.
        if both.iter().any(|s| !s.is_empty() && s != theme::NONE) {
            line(page, name, Tone::Plain, [&both[0], &both[1]], each);
        }
    }
}

/// One fact of both, in as many lines as the longer one takes.
fn line(page: &mut Page<'_>, name: &str, tone: Tone, both: [&str; 2], each: usize) {
    let [left, right] = both.map(|said| wrap(said, each.saturating_sub(2)));
    for n in 0..left.len().max(right.len()) {
        let at = |lines: &[String]| lines.get(n).cloned().unwrap_or_default();
        let left = at(&left);
        let gap = " ".repeat(each.saturating_sub(human::width(&left)));
        let parts = [left, gap, at(&right)].map(|text| page.look.span(tone, text));
        page.named(if n == 0 { name } else { "" }, parts.into());
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
        // The kernel counts the SYN of the side that opened as a byte (tcp_snd_una_update in tcp_input.c).
        ("acked", format!("{} B", n(i.bytes_acked.map(|b| b.min(i.bytes_sent.unwrap_or(b)))))),
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
