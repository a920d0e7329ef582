//! What a soak came to: exactly what `wspulse soak` prints.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::logs::chart;
use super::safe;
use super::text::{Ink, Page};
use crate::event::soak::{Soak, Times};
use crate::event::tally::lifetimes::Lifetimes;
use crate::event::tally::sessions;
use crate::human;
use crate::time::Timestamp;

/// The version of the shape.
pub const SOAK_SCHEMA: &str = "wspulse.soak/1";
/// Columns and lines of the survival curve.
const CURVE: (usize, usize) = (60, 6);
/// Ages listed for one cause.
const PILES: usize = 4;

/// What must hold for a soak to pass, besides that tunnels open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// The least share of the tunnels asked for that lives at the end, 0 to 1.
    pub min_survival: Option<f64>,
    /// The greatest 99th percentile of round-trip times.
    pub max_p99: Option<Duration>,
}

/// `wspulse.soak/1`. Unknown is null.
#[derive(Clone, Debug, Serialize)]
pub struct SoakReport {
    /// Always [`SOAK_SCHEMA`].
    pub schema: &'static str,
    /// When it ended.
    pub at: Timestamp,
    /// The endpoint, without secrets.
    pub url: String,
    /// How many tunnels.
    pub connections: Connections,
    /// How long they were held, from the end of the ramp on.
    pub duration_s: f64,
    /// It was broken off before its time.
    pub interrupted: bool,
    /// Tunnels alive over the time since the end of the ramp.
    pub survival: Vec<Point>,
    /// Pings.
    pub pings: Pings,
    /// Messages of `--send`.
    pub messages: Messages,
    /// Round-trip times of pings in milliseconds.
    pub rtt_ms: Quantiles,
    /// Opening handshakes in milliseconds.
    pub handshake_ms: Quantiles,
    /// Why tunnels died.
    pub deaths: Vec<Death>,
    /// Why handshakes failed.
    pub failures: Vec<FailedHandshakes>,
    /// `passed` or `failed`; `unfinished` where it was broken off before all tunnels had their chance.
    pub verdict: &'static str,
    /// What did not hold, one sentence each.
    pub faults: Vec<String>,
}

/// How many tunnels.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Connections {
    /// Asked for.
    pub asked: u64,
    /// Opened by their first handshake.
    pub opened: u64,
    /// Not opened by their first handshake.
    pub failed: u64,
    /// Of the first handshakes, alive at the end.
    pub alive_at_end: u64,
    /// Opened again after a death.
    pub reopened: u64,
}

/// A point of the survival curve.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Point {
    /// Since the end of the ramp.
    pub t_s: f64,
    /// Tunnels alive.
    pub alive: u64,
}

/// Pings.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pings {
    /// Sent.
    pub sent: u64,
    /// Answered, in time or not.
    pub answered: u64,
    /// Not answered in time.
    pub missed: u64,
}

/// Messages.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Messages {
    /// Sent.
    pub sent: u64,
    /// Answered as expected.
    pub answered: u64,
    /// Not answered in time.
    pub unanswered: u64,
}

/// Quantiles of times, in the unit that the field's name says.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quantiles {
    /// The median.
    pub p50: Option<f64>,
    /// Nine of ten are no longer.
    pub p90: Option<f64>,
    /// 99 of 100 are no longer.
    pub p99: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
}

impl Quantiles {
    fn of(times: &Times) -> Self {
        let at = |q| times.quantile(q).map(|d| (d.as_secs_f64() * 1e6).round() / 1e3);
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
    }
}

/// Tunnels that died alike.
#[derive(Clone, Debug, Serialize)]
pub struct Death {
    /// Of what.
    pub cause: String,
    /// How many.
    pub count: u64,
    /// How old they were, in seconds.
    pub age_s: Ages,
    /// Ages at which they pile up.
    pub spikes: Vec<Spike>,
}

/// Ages in seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Ages {
    /// The youngest.
    pub min: Option<f64>,
    /// The median.
    pub p50: Option<f64>,
    /// The oldest.
    pub max: Option<f64>,
}

/// Many that died at one age.
#[derive(Clone, Debug, Serialize)]
pub struct Spike {
    /// The age.
    pub seconds: f64,
    /// How many.
    pub count: u64,
    /// A timeout of that length that people meet often; it may be another's.
    pub matches: Option<String>,
}

/// Handshakes that failed alike.
#[derive(Clone, Debug, Serialize)]
pub struct FailedHandshakes {
    /// In which phase.
    pub phase: String,
    /// How.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// The first one's sentence.
    pub said: String,
}

fn secs(d: Duration) -> f64 {
    (d.as_secs_f64() * 1e3).round() / 1e3
}

fn deaths(soak: &Soak) -> Vec<Death> {
    let mut all: Vec<Death> = soak
        .deaths
        .iter()
        .map(|(cause, ages)| Death {
            cause: cause.said(),
            count: ages.total(),
            age_s: Ages {
                min: ages.buckets().next().map(|(d, _)| secs(d)),
                p50: ages.quantile(0.5).map(secs),
                max: ages.longest().map(secs),
            },
            spikes: spikes(ages),
        })
        .collect();
    all.sort_by_key(|d| std::cmp::Reverse(d.count));
    all
}

fn spikes(ages: &Lifetimes) -> Vec<Spike> {
    let piles = sessions::spikes(ages, &[]).into_iter().take(PILES);
    piles.map(|s| Spike { seconds: secs(s.at), count: s.count, matches: s.timeout }).collect()
}

impl SoakReport {
    /// The report on `soak` of `url`, which was held for `held`.
    #[must_use]
    pub fn of(url: &str, soak: &Soak, held: Duration, wishes: &Wishes, interrupted: bool, at: Timestamp) -> Self {
        let unfinished = interrupted && soak.opened + soak.failed < soak.asked;
        // Nobody survived what never began.
        let min_survival = wishes.min_survival.filter(|_| !unfinished);
        let faults = faults(soak, &Wishes { min_survival, ..*wishes });
        Self {
            schema: SOAK_SCHEMA,
            at,
            url: url.to_owned(),
            connections: Connections {
                asked: soak.asked,
                opened: soak.opened,
                failed: soak.failed,
                alive_at_end: soak.alive,
                reopened: soak.reopened,
            },
            duration_s: secs(held),
            interrupted,
            survival: soak.survival.points().iter().map(|(t, alive)| Point { t_s: secs(*t), alive: *alive }).collect(),
            pings: Pings { sent: soak.pings, answered: soak.pongs, missed: soak.missed },
            messages: Messages { sent: soak.questions, answered: soak.answers, unanswered: soak.unanswered },
            rtt_ms: Quantiles::of(&soak.rtts),
            handshake_ms: Quantiles::of(&soak.handshakes),
            deaths: deaths(soak),
            failures: soak
                .failures
                .iter()
                .map(|((phase, kind), f)| FailedHandshakes {
                    phase: format!("{phase:?}").to_lowercase(),
                    kind: kind.clone(),
                    count: f.count,
                    said: f.said.clone(),
                })
                .collect(),
            verdict: match (faults.is_empty(), unfinished) {
                (false, _) => "failed",
                (true, true) => "unfinished",
                (true, false) => "passed",
            },
            faults,
        }
    }

    /// Every wish was fulfilled.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.faults.is_empty()
    }
}

/// What did not hold. Without a wish for survival every tunnel is to open and to live.
fn faults(soak: &Soak, wishes: &Wishes) -> Vec<String> {
    let mut out = Vec::new();
    let of = |n: u64| format!("{} of {}", human::grouped(n), human::counted(soak.asked, "tunnel", "tunnels"));
    if let Some(least) = wishes.min_survival {
        let share = soak.surviving().unwrap_or(0.0);
        if share < least {
            out.push(format!("{} survived, {} were to ({})", percent(share), percent(least), of(soak.alive)));
        }
    } else {
        if soak.failed > 0 {
            out.push(format!("{} did not open", of(soak.failed)));
        }
        if soak.died() > 0 {
            out.push(format!("{} died", of(soak.opened.saturating_sub(soak.alive))));
        }
    }
    if let Some(most) = wishes.max_p99 {
        match soak.rtts.quantile(0.99) {
            Some(p99) if p99 > most => {
                out.push(format!(
                    "the 99th percentile of round-trip times is {}, at most {} was wished",
                    human::latency(p99),
                    human::latency(most)
                ));
            }
            Some(_) => {}
            None => out.push("no ping was answered, so the wished round-trip time cannot be told".to_owned()),
        }
    }
    out
}

fn percent(share: f64) -> String {
    // Never 100 % while one is missing.
    let tenths = (share * 10_000.0).floor() / 100.0;
    format!("{tenths:.2} %")
}

/// The survival curve: its lines, and the scale under it.
fn curve(report: &SoakReport) -> Vec<String> {
    let asked = report.connections.asked.max(1);
    let (columns, rows) = CURVE;
    let Some(last) = report.survival.last().filter(|_| report.survival.len() > 1) else { return Vec::new() };
    // One value a column: the last point at or before its moment.
    let at = |column: usize| {
        let moment = last.t_s * column as f64 / (columns - 1) as f64;
        report.survival.iter().rev().find(|p| p.t_s <= moment + 1e-9).map_or(0, |p| p.alive)
    };
    let mut counts: Vec<u64> = (0..columns).map(at).collect();
    // The chart's height is all that were asked for, not the most that lived.
    counts.push(asked);
    let lines = chart::columns(&counts, columns + 1, rows);
    let mut out: Vec<String> = lines
        .into_iter()
        .enumerate()
        .map(|(row, line)| {
            let shown: String = line.chars().take(columns).collect();
            let scale = match row {
                0 => human::grouped(asked),
                r if r + 1 == rows => "0".to_owned(),
                _ => String::new(),
            };
            format!("{scale:>9} {shown}")
        })
        .collect();
    let end = human::span_short(Duration::try_from_secs_f64(last.t_s).unwrap_or_default());
    out.push(format!("{:>9} 0s{end:>width$}", "", width = columns - 2));
    out
}

fn ms(q: Option<f64>) -> String {
    q.and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok()).map_or_else(|| "·".to_owned(), human::latency)
}

fn quantiles(q: &Quantiles) -> String {
    format!("p50 {}   p90 {}   p99 {}   max {}", ms(q.p50), ms(q.p90), ms(q.p99), ms(q.max))
}

fn death(d: &Death) -> String {
    let age = |a: Option<f64>| a.map_or_else(|| "·".to_owned(), |s| format!("{s:.1} s"));
    let mut said = format!(
        "{} × {}, aged {} to {}, median {}",
        human::grouped(d.count),
        d.cause,
        age(d.age_s.min),
        age(d.age_s.max),
        age(d.age_s.p50)
    );
    for s in &d.spikes {
        let _ = write!(said, "; {} at {:.1} s", human::grouped(s.count), s.seconds);
        if let Some(name) = &s.matches {
            let _ = write!(said, " (perhaps {name})");
        }
    }
    said
}

/// The figures, one line each: what, and how much.
fn rows(r: &SoakReport) -> Vec<(&'static str, String)> {
    let c = &r.connections;
    let mut rows = vec![(
        "tunnels",
        format!(
            "{} asked, {} opened, {} failed, {} alive",
            human::grouped(c.asked),
            human::grouped(c.opened),
            human::grouped(c.failed),
            human::grouped(c.alive_at_end)
        ),
    )];
    if c.reopened > 0 {
        rows.push(("reopened", human::grouped(c.reopened)));
    }
    rows.push(("handshake", quantiles(&r.handshake_ms)));
    rows.push(("rtt", quantiles(&r.rtt_ms)));
    let p = &r.pings;
    rows.push((
        "pings",
        format!(
            "{} sent, {} answered, {} missed",
            human::grouped(p.sent),
            human::grouped(p.answered),
            human::grouped(p.missed)
        ),
    ));
    let m = &r.messages;
    if m.sent > 0 {
        rows.push((
            "messages",
            format!(
                "{} sent, {} answered, {} not",
                human::grouped(m.sent),
                human::grouped(m.answered),
                human::grouped(m.unanswered)
            ),
        ));
    }
    rows.extend(r.deaths.iter().map(|d| ("died", death(d))));
    rows.extend(r.failures.iter().map(|f| ("not opened", format!("{} × {}", human::grouped(f.count), f.said))));
    rows
}

/// The report for a terminal of 80 columns.
#[must_use]
pub fn soak_text(r: &SoakReport, color: bool) -> String {
    let mut page = Page::new(color);
    let (ink, sign, word) = match r.verdict {
        "passed" => (Ink::Good, "✔", "PASSED"),
        "unfinished" => (Ink::Dim, "·", "UNFINISHED"),
        _ => (Ink::Bad, "✖", "FAILED"),
    };
    let early = if r.interrupted { ", broken off" } else { "" };
    let held = human::span_short(Duration::try_from_secs_f64(r.duration_s).unwrap_or_default());
    page.line(&format!(
        " {} {}  {}  held {held}{early}",
        page.ink(ink, sign),
        page.ink(ink, word),
        page.ink(Ink::Bold, &safe::line(&r.url))
    ));
    for fault in &r.faults {
        page.hang("   ", 3, fault);
    }
    let curve = curve(r);
    if !curve.is_empty() {
        page.line("");
    }
    for line in curve {
        page.line(&line);
    }
    page.line("");
    for (what, said) in rows(r) {
        let lead = format!("   {} ", page.ink(Ink::Dim, &format!("{what:<10}")));
        page.hang(&lead, 14, &said);
    }
    page.done()
}

/// The same for a ticket.
#[must_use]
pub fn soak_markdown(r: &SoakReport) -> String {
    let mut out = format!("# Soak of `{}`: {}\n\n", safe::line(&r.url).replace('`', "'"), r.verdict);
    for fault in &r.faults {
        let _ = writeln!(out, "- {}", safe::line(fault));
    }
    let _ = writeln!(out, "\n```text\n{}\n```\n", curve(r).join("\n"));
    for (what, said) in rows(r) {
        let _ = writeln!(out, "- **{what}**: {}", safe::line(&said));
    }
    out
}

/// The same for programs, with a line feed at its end.
#[must_use]
pub fn soak_json(r: &SoakReport) -> String {
    let mut text = serde_json::to_string_pretty(r).unwrap_or_default();
    text.push('\n');
    human::harmless_json(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::probe::{Answer, ClosedBy, Step};

    fn soak(living: u64, dead: u64) -> Soak {
        let mut soak = Soak::of(living + dead);
        let up = Step::Upgraded { took: Duration::from_millis(2), request: String::new(), answer: Answer::default() };
        for _ in 0..living + dead {
            soak.apply(&up, false);
            soak.apply(&Step::Pong { seq: 1, rtt: Duration::from_micros(1_500) }, false);
        }
        soak.survival.add(Duration::ZERO, living + dead);
        for n in 0..dead {
            let held = Duration::from_millis(60_000 + n);
            soak.apply(&Step::Closed { by: ClosedBy::Fin, code: None, reason: String::new(), held, idle: held }, false);
        }
        soak.survival.add(Duration::from_secs(60), living);
        soak
    }

    fn report(soak: &Soak, wishes: Wishes) -> SoakReport {
        SoakReport::of("ws://h/ws", soak, Duration::from_secs(60), &wishes, false, Timestamp::default())
    }

    #[test]
    fn without_a_wish_every_tunnel_is_to_live() {
        assert!(report(&soak(10, 0), Wishes::default()).passed());
        let r = report(&soak(10, 10), Wishes::default());
        assert_eq!(r.faults, ["10 of 20 tunnels died"]);
        assert_eq!(r.verdict, "failed");
    }

    #[test]
    fn what_was_broken_off_before_all_were_tried_has_passed_nothing() {
        let broken_off = |soak: &Soak, wishes| {
            SoakReport::of("ws://h/ws", soak, Duration::ZERO, &wishes, true, Timestamp::default())
        };
        let wish = Wishes { min_survival: Some(0.99), ..Wishes::default() };
        for soak in [Soak::of(20), Soak { asked: 20, ..soak(5, 0) }] {
            let r = broken_off(&soak, wish);
            assert_eq!((r.verdict, r.faults.len()), ("unfinished", 0));
            assert!(soak_text(&r, false).starts_with(" · UNFINISHED  ws://h/ws  held 0s, broken off\n"));
        }
        assert_eq!(broken_off(&soak(20, 0), wish).verdict, "passed");
        assert_eq!(broken_off(&Soak { asked: 20, ..soak(5, 1) }, Wishes::default()).verdict, "failed", "one died");
    }

    #[test]
    fn wishes_decide() {
        let wish = |s| Wishes { min_survival: Some(s), ..Wishes::default() };
        assert!(report(&soak(999, 1), wish(0.99)).passed());
        let r = report(&soak(999, 1), wish(0.9999));
        assert_eq!(r.faults, ["99.90 % survived, 99.99 % were to (999 of 1,000 tunnels)"]);
        let slow = Wishes { max_p99: Some(Duration::from_millis(1)), ..Wishes::default() };
        assert!(!report(&soak(3, 0), slow).passed());
        assert!(!report(&Soak::of(3), slow).passed(), "nothing answered is no proof");
    }

    #[test]
    fn the_text_shows_curve_causes_and_ages() {
        let text = soak_text(&report(&soak(10, 10), Wishes::default()), false);
        assert!(text.contains("✖ FAILED  ws://h/ws  held 60s"), "{text}");
        assert!(text.contains("10 × FIN without a close frame"), "{text}");
        assert!(text.contains("10 at 60.0 s (perhaps 60 s, the default of proxy_read_timeout"), "{text}");
        let curve: Vec<&str> = text.lines().filter(|l| l.contains('█')).collect();
        assert_eq!(curve.len(), CURVE.1, "{text}");
        let long: Vec<usize> = curve.iter().map(|l| human::width(l)).collect();
        assert!(curve[0].contains("20 █") && long[0] < long[CURVE.1 - 1], "it falls in the end\n{text}");
        assert!(text.lines().all(|l| human::width(l) <= 80), "{text}");
    }
}
