//! The life of a probe in few cells: its phases as a bar, its openings and deaths as a strip, its certificate's days.

use std::time::Duration;

use ratatui::text::Span;

use crate::event::probe::Phase;
use crate::human;
use crate::model::probes::{Outcome, Phases};
use crate::time::Timestamp;

use super::super::light::Light;
use super::super::snapshot::outcome;
use super::super::text::{Look, spans_width};
use super::super::theme::{self, Tone};

/// A strip at least so wide, or wide enough for all, says words and ages beside its signs.
const WORDS: usize = 24;
/// A certificate with less than this left could soon hurt.
const NEAR_DAYS: u64 = 14;

/// The name of a phase, and the line and tone in which it is drawn: told apart without colour too.
#[must_use]
pub const fn phase(phase: Phase) -> (&'static str, &'static str, Tone) {
    match phase {
        Phase::Resolve => ("resolve", "╌", Tone::Muted),
        Phase::Connect => ("connect", "─", Tone::Muted),
        Phase::Proxy => ("proxy", "┄", Tone::Plain),
        Phase::Tls => ("tls", "═", Tone::Plain),
        Phase::Upgrade => ("upgrade", theme::BAR, Tone::Accent),
    }
}

/// Where each phase begins and ends on `width` columns that stand for `scale`. What is too short for a column has none,
/// but the whole has at least one.
#[must_use]
pub fn columns(phases: &Phases, scale: Duration, width: usize) -> Vec<(Phase, usize, usize)> {
    let scale = scale.max(phases.total().unwrap_or_default()).as_secs_f64().max(1e-9);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the width")]
    let column = |d: Duration| ((d.as_secs_f64() / scale * width as f64).round() as usize).min(width);
    let mut sum = Duration::ZERO;
    let mut out: Vec<(Phase, usize, usize)> = Vec::new();
    for (phase, took) in phases.reached() {
        let from = column(sum);
        sum = sum.saturating_add(took);
        out.push((phase, from, column(sum)));
    }
    if width > 0
        && let Some(last) = out.last_mut()
        && last.2 == 0
    {
        last.2 = 1;
    }
    out
}

/// All phases in one line.
#[must_use]
pub fn bar(look: &Look, phases: &Phases, scale: Duration, width: usize) -> Vec<Span<'static>> {
    let one = |(p, from, to): (Phase, usize, usize)| {
        let (_, sign, tone) = phase(p);
        (to > from).then(|| look.span(tone, sign.repeat(to - from)))
    };
    columns(phases, scale, width).into_iter().filter_map(one).collect()
}

/// One entry of a strip: the same failure again and again is one.
struct Item<'a> {
    at: Timestamp,
    outcome: &'a Outcome,
    times: u64,
}

fn items(history: &[(Timestamp, Outcome)]) -> Vec<Item<'_>> {
    let mut out: Vec<Item<'_>> = Vec::new();
    for (at, outcome) in history {
        match (out.last_mut(), outcome) {
            (Some(last), Outcome::Failed(f)) if matches!(last.outcome, Outcome::Failed(l) if l.kind == f.kind) => {
                (last.at, last.outcome, last.times) = (*at, outcome, last.times + 1);
            }
            _ => out.push(Item { at: *at, outcome, times: 1 }),
        }
    }
    out
}

/// `●▲●✖×4`, or with room `● open 14m  ▲ cut 3m  ● open 3m  ✖ refused ×4 2s`: openings, failures and deaths, newest
/// at the right, with the time since.
#[must_use]
pub fn strip(look: &Look, history: &[(Timestamp, Outcome)], width: usize) -> Vec<Span<'static>> {
    let all = items(history);
    let whole: usize = all.iter().map(|i| spans_width(&part(look, i, true)) + 2).sum();
    let wordy = width >= WORDS || whole <= width + 2;
    let mut parts: Vec<Vec<Span<'static>>> = Vec::new();
    let mut used = 0;
    for item in all.iter().rev() {
        let part = part(look, item, wordy);
        let gap = if wordy && !parts.is_empty() { 2 } else { 0 };
        let room = width.saturating_sub(used + usize::from(parts.len() + 1 < all.len()));
        if spans_width(&part) + gap > room {
            parts.push(vec![look.span(Tone::Faint, "…")]);
            break;
        }
        used += spans_width(&part) + gap;
        parts.push(part);
    }
    let mut out = Vec::new();
    for (i, part) in parts.into_iter().rev().enumerate() {
        if i > 0 && wordy && out.last().is_some_and(|s: &Span<'_>| s.content != "…") {
            out.push(look.span(Tone::Plain, "  "));
        }
        out.extend(part);
    }
    out
}

fn part(look: &Look, item: &Item<'_>, wordy: bool) -> Vec<Span<'static>> {
    let light = outcome::light(item.outcome);
    let mut out = vec![look.span(light.tone(), light.sign())];
    let times = if item.times > 1 { format!("×{}", item.times) } else { String::new() };
    if wordy {
        out.push(look.span(light.word_tone(), format!(" {}", outcome::word(item.outcome))));
        let times = if times.is_empty() { times } else { format!(" {times}") };
        let ago = human::span_short(look.now.since(item.at));
        out.push(look.span(Tone::Muted, format!("{times} {ago}")));
    } else if !times.is_empty() {
        out.push(look.span(Tone::Muted, times));
    }
    out
}

/// How near a certificate is to its end: the light, and the days left (below zero: since).
#[must_use]
pub fn certificate(end: Timestamp, now: Timestamp) -> (Light, i64) {
    let days = |d: Duration| i64::try_from(d.as_secs() / 86_400).unwrap_or(i64::MAX);
    let left = end.since(now);
    if left.is_zero() {
        return (Light::Bad, -days(now.since(end)));
    }
    (if left.as_secs() / 86_400 < NEAR_DAYS { Light::Warn } else { Light::None }, days(left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::probe::{ClosedBy, Failure, FailureKind};
    use crate::model::probes::Closed;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn text(spans: &[Span<'_>]) -> String {
        spans.iter().map(|s| s.content.as_ref()).collect()
    }

    fn look() -> Look {
        Look { theme: *theme::Theme::mono(), utc: true, now: Timestamp::from_secs(1_000) }
    }

    #[test]
    fn each_phase_begins_where_the_one_before_ends() {
        let phases = Phases { connect: Some(ms(2)), tls: Some(ms(4)), upgrade: Some(ms(2)), ..Phases::default() };
        assert_eq!(text(&bar(&look(), &phases, ms(8), 8)), "──════━━");
        assert_eq!(text(&bar(&look(), &phases, ms(16), 8)), "─══━", "against the slowest of all");
        assert_eq!(text(&bar(&look(), &phases, ms(80_000), 8)), "━", "never nothing");
        assert_eq!(text(&bar(&look(), &phases, ms(0), 4)), "─══━");
        assert_eq!(text(&bar(&look(), &Phases::default(), ms(8), 8)), "");
        assert_eq!(text(&bar(&look(), &phases, ms(8), 0)), "");
    }

    #[test]
    fn a_strip_has_its_newest_at_the_right_and_never_more_than_fits() {
        let at = |s| Timestamp::from_secs(s);
        let closed =
            Closed { by: ClosedBy::Fin, code: None, reason: String::new(), held: ms(60_000), idle: ms(60_000) };
        let failure = Failure { phase: Phase::Connect, kind: FailureKind::ConnectionRefused, said: String::new() };
        let mut history = vec![(at(100), Outcome::Opened), (at(940), Outcome::Closed(closed))];
        history.extend((0..4).map(|n| (at(970 + n * 10), Outcome::Failed(failure.clone()))));
        let strip = |width| text(&strip(&look(), &history, width));
        assert_eq!(strip(8), "●▲✖×4");
        assert_eq!(strip(4), "…✖×4");
        assert_eq!(text(&super::strip(&look(), &history[..1], 10)), "● open 15m");
        assert_eq!(strip(60), "● open 15m  ▲ cut 60s  ✖ refused ×4 0s");
        assert_eq!(strip(36), "…▲ cut 60s  ✖ refused ×4 0s");
        for width in 1..60 {
            assert!(human::width(&strip(width)) <= width.max(1), "{width}: {}", strip(width));
        }
    }

    #[test]
    fn a_certificate_warns_before_it_ends() {
        let now = Timestamp::from_secs(10 * 86_400);
        let after = |days: i64| certificate(Timestamp::from_secs((10 + days) * 86_400), now);
        assert_eq!(after(61), (Light::None, 61));
        assert_eq!(after(13), (Light::Warn, 13));
        assert_eq!(after(-3), (Light::Bad, -3));
        assert_eq!(after(0).0, Light::Bad);
    }
}
