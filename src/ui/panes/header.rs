//! The first two lines: where we are and whether we can see; then the verdict.

use std::borrow::Cow;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;

use crate::diagnose::finding::Verdict;
use crate::event::{Sight, SourceKind};
use crate::human;

use super::super::light::Light;
use super::super::snapshot::{Snapshot, Source};
use super::super::text::{Look, Seg, put_ends};
use super::super::theme::{self, Tone};

/// Columns of the verdict's sentence before which nothing else gives way, at most half of the line: its beginning and its place.
const SENTENCE: usize = 34;
/// Columns of the verdict's sign and word with the blanks around them.
const WORD: usize = 14;
/// Below this the sentence needs the room of the key that tells more.
const TERSE: usize = 100;
/// Below this the moment since when stands alone.
const NARROW: usize = 60;
/// From this age on a moment is told by how long ago it was.
const DAY: Duration = Duration::from_secs(20 * 3_600);

/// From this age on a span is told in whole hours ([`human::span_short`]).
const HOURS: Duration = Duration::from_secs(6_000);

/// The light of a source.
#[must_use]
pub const fn light(sight: Sight) -> Light {
    match sight {
        Sight::Seen => Light::Ok,
        Sight::Degraded => Light::Warn,
        Sight::Blind => Light::Bad,
        Sight::Off => Light::None,
    }
}

/// Line 1.
pub fn draw_place(buf: &mut Buffer, line: Rect, snap: &Snapshot, frozen: bool, look: &Look) {
    let mut left = vec![
        Seg::new(vec![look.span(Tone::Accent, "wspulse").style(strong(look))]).leaves(5),
        Seg::new(vec![look.span(Tone::Plain, snap.host.clone())]).leaves(2),
    ];
    if let Some(version) = &snap.nginx {
        left.push(Seg::new(vec![look.span(Tone::Plain, format!("nginx {version}"))]).leaves(4));
    }
    if let Some(workers) = workers(snap, look) {
        left.push(Seg::new(workers).leaves(6));
    }
    // A present that ticked every second would write every second, with nothing new to say.
    let is_live = snap.past.cursor.is_none() && !frozen;
    // Before the first event there is no moment to show.
    let clock = match snap.since {
        None => "--:--".to_owned(),
        Some(_) if is_live => look.minute(snap.now),
        Some(_) => look.clock(snap.now),
    };
    let moment = vec![moment(snap, frozen, look), look.span(Tone::Plain, format!(" {clock}"))];
    let shown: Vec<&Source> = snap.sources.iter().filter(|s| s.kind != SourceKind::Process || is_bad(s)).collect();
    let lights = Seg::new(lights(&shown, look)).shrinks(7, shown.iter().map(|s| sign(s, look)).collect()).leaves(3);
    put_ends(buf, line, left, vec![lights, Seg::new(moment)]);
}

/// `LIVE`, `FROZEN`, or how long ago it was what the panes show.
#[must_use]
pub fn moment(snap: &Snapshot, frozen: bool, look: &Look) -> Span<'static> {
    let (tone, word): (Tone, Cow<'_, str>) = match snap.past.cursor {
        Some(_) => (Tone::Warn, format!("−{}", human::span(snap.past.now.since(snap.now))).into()),
        None if frozen => (Tone::Warn, "FROZEN".into()),
        None => (Tone::Good, "LIVE".into()),
    };
    look.span(tone, word.into_owned())
}

fn strong(look: &Look) -> ratatui::style::Style {
    look.theme.style(Tone::Accent).patch(look.theme.style(Tone::Strong))
}

fn is_bad(source: &Source) -> bool {
    matches!(source.sight, Sight::Degraded | Sight::Blind)
}

fn sign(source: &Source, look: &Look) -> Span<'static> {
    let light = light(source.sight);
    look.span(light.tone(), light.sign())
}

fn lights(sources: &[&Source], look: &Look) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    for (i, s) in sources.iter().enumerate() {
        if i > 0 {
            spans.push(look.span(Tone::Plain, "  "));
        }
        spans.push(sign(s, look));
        let behind = if s.behind > 1 << 20 { format!(" {}B behind", human::scaled(s.behind)) } else { String::new() };
        let tone = if is_bad(s) { light(s.sight).tone() } else { Tone::Muted };
        spans.push(look.span(tone, format!(" {}{behind}", s.kind.word())));
    }
    spans
}

fn workers(snap: &Snapshot, look: &Look) -> Option<Vec<Span<'static>>> {
    let (masters, serving, draining) = snap.processes?;
    if masters == 0 {
        return Some(vec![look.span(Tone::Warn, "▲ nginx is not running")]);
    }
    let mut said = human::counted(serving as u64, "worker", "workers");
    if draining > 0 {
        said = format!("{said}, {draining} draining");
    }
    Some(vec![look.span(Tone::Plain, said)])
}

/// The verdict's sign and tone.
#[must_use]
pub const fn verdict(v: Verdict) -> (&'static str, Tone, &'static str) {
    match v {
        Verdict::Broken => (theme::BAD, Tone::Bad, "BROKEN"),
        Verdict::Degraded => (theme::WARN, Tone::Warn, "DEGRADED"),
        Verdict::Healthy => (theme::CHECK, Tone::Good, "HEALTHY"),
        Verdict::Blind => (theme::NONE, Tone::Muted, "BLIND"),
    }
}

/// Line 2.
pub fn draw_verdict(buf: &mut Buffer, line: Rect, snap: &Snapshot, look: &Look) {
    let (sign, tone, word) = verdict(snap.verdict);
    let bold = look.theme.style(tone).patch(look.theme.style(Tone::Strong));
    let wrong = matches!(snap.verdict, Verdict::Broken | Verdict::Degraded);
    let (said, since) = sentence(snap, look, usize::from(line.width));
    let left = vec![
        Seg::new(vec![look.span(tone, sign), look.span(tone, format!(" {word}")).style(bold)]),
        Seg::new(vec![look.span(if wrong { Tone::Strong } else { Tone::Plain }, said)])
            .squeezes(7, SENTENCE.min(usize::from(line.width) / 2)),
    ];
    let [critical, warning, _] = snap.counts;
    let mut right = Vec::new();
    let kinds = [(critical, "critical", "crit", Tone::Bad, 5), (warning, "warning", "warn", Tone::Warn, 6)];
    for (n, word, short, tone, leaves) in kinds {
        if n > 0 {
            let seg = Seg::new(vec![look.span(tone, format!("{n} {word}"))]);
            right.push(seg.shrinks(8, vec![look.span(tone, format!("{n} {short}"))]).leaves(leaves));
        }
    }
    right.extend(since);
    if critical + warning > 0 {
        // On a narrow screen the sentence says more than the key, which the last line and the help tell too.
        let leaves = if usize::from(line.width) < TERSE { 8 } else { 4 };
        right.push(Seg::new(vec![look.span(Tone::Accent, "d"), look.span(Tone::Muted, " why")]).leaves(leaves));
    }
    put_ends(buf, line, left, right);
}

/// The verdict's sentence, and since when it holds where that is no part of it: `since 13:58:04`, `nothing wrong since 13:58`,
/// `nothing wrong for 4h`.
fn sentence(snap: &Snapshot, look: &Look, width: usize) -> (String, Option<Seg>) {
    let said = snap.summary.clone();
    let Some(since) = snap.verdict_since.filter(|_| snap.verdict != Verdict::Blind) else { return (said, None) };
    let muted = |text: String| vec![look.span(Tone::Muted, text)];
    let held = snap.now.since(since);
    let healthy = snap.verdict == Verdict::Healthy;
    // A time of day says nothing of yesterday; and a span that grew by the second would write by the second, with nothing new to say.
    if held >= if healthy { HOURS } else { DAY } {
        let held = human::span_short(held);
        let whole = format!("{said} for {held}");
        return if healthy && human::width(&whole) + WORD <= width {
            (whole, None)
        } else {
            (said, Some(Seg::new(muted(format!("for {held}"))).shrinks(9, muted(held)).leaves(3)))
        };
    }
    let minute = look.minute(since);
    let whole = format!("{said} since {minute}");
    if healthy && human::width(&whole) + WORD <= width {
        return (whole, None);
    }
    let short = if width < NARROW { minute } else { format!("since {minute}") };
    (said, Some(Seg::new(muted(format!("since {}", look.clock(since)))).shrinks(9, muted(short)).leaves(3)))
}
