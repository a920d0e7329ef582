//! When did it start? Errors, tunnels, probes and marks over the same columns.
//!
//! ```text
//!   ▲ upstream-closed   42  ·   ·   ·          ▂      ▃                 ▅▃▂▂▂
//!   opened             318  ·   ·   ·   ▂▂▃▂▂▂▃▂▂▂▂▃▂▂▂▂▂▂▃▂▂▂▃▂▂▂▂▃▂▂▂▂▂▂▃▂▂
//!   deaths              97  ·   ·   ·          ▁           █        ▂▂▂▂▂▂▂▂▂
//!   ● example.test/ws       ·   ·   ·   ━━━━━━━━━━━━▲━━━━✖╌╌╌╌╌╌━━━━━━━━━━━━━
//!   marks                   13:32       ▸ 13:38     ↻ reload 13:47        now
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span as Text;

use crate::human;
use crate::model::marks::{Mark, MarkKind};
use crate::time::Timestamp;

use super::super::keys::{Action, Keymap};
use super::super::scale::{Scale, Span};
use super::super::snapshot::Snapshot;
use super::super::state::Strip;
use super::super::text::{Look, Seg, nth_line, put};
use super::super::theme::{self, Tone};
use super::strips::{self, Row};

/// Columns of the labels at the left where rows have short names.
const LABEL: u16 = 10;
/// Columns of a longer name at most, by the width of the pane.
const NAMES: [(u16, usize); 2] = [(100, 30), (0, 18)];
/// Columns of a figure.
const FIGURE: usize = 5;
/// Cells from which on the oldest time is written.
const FAR: usize = 24;

/// What the title says besides the name.
#[must_use]
pub fn facts(snap: &Snapshot, span: Span, look: &Look) -> Vec<Seg> {
    let mut out = vec![Seg::new(vec![look.span(Tone::Muted, format!("last {}", span.word()))]).leaves(2)];
    if let Some(at) = snap.past.cursor {
        out.push(Seg::new(vec![look.span(Tone::Accent, look.clock(at))]).leaves(1));
        if snap.now.secs() != at.secs() {
            let said = format!("panes of {}", look.clock(snap.now));
            out.push(Seg::new(vec![look.span(Tone::Warn, said)]).leaves(1));
        }
    }
    out
}

/// The keys that move about in it, for the right end of the title.
#[must_use]
pub fn hints(keys: &Keymap, look: &Look) -> Vec<Seg> {
    let pairs = [
        (Action::Closer, Action::Further, "span", 5),
        (Action::Earlier, Action::Later, "walk", 4),
        (Action::PreviousError, Action::NextError, "error", 3),
    ];
    let one = |(a, b, word, leaves): (Action, Action, &str, u8)| {
        let first = |action| keys.shown(action).split(' ').next().unwrap_or_default().to_owned();
        let text = look.span(Tone::Muted, format!(" {word}"));
        Seg::new(vec![look.span(Tone::Accent, format!("{} {}", first(a), first(b))), text]).leaves(leaves)
    };
    pairs.into_iter().map(one).collect()
}

/// Draws as many rows as fit, and tells where the columns stand. Without a title the label of the marks says how long the span is.
pub fn draw(buf: &mut Buffer, area: Rect, snap: &Snapshot, span: Span, titled: bool, look: &Look) -> Option<Strip> {
    let (rows, named) = strips::rows(&snap.past, area.width, usize::from(area.height));
    let labels: Vec<_> = rows.iter().map(|r| strips::label(*r, &rows, &snap.past)).collect();
    let most = NAMES.iter().find(|(width, _)| area.width >= *width).map_or(0, |(_, names)| *names);
    let name = labels.iter().map(|(_, n)| human::width(n)).max().unwrap_or(0).min(most);
    let label = if named { u16::try_from(2 + 2 + name + 1 + FIGURE + 2).unwrap_or(LABEL) } else { LABEL };
    let room = usize::from(area.width.saturating_sub(label + 1));
    let scale = Scale::new(span, snap.past.edge(span), room);
    if scale.columns() == 0 {
        return None;
    }
    let width = u16::try_from(scale.width()).unwrap_or(area.width).min(area.width);
    let time = Rect { x: area.right().saturating_sub(1 + width), width, ..area };
    let time = Rect { height: u16::try_from(rows.len()).unwrap_or(u16::MAX).min(area.height), ..time };
    for (i, (row, (light, text))) in rows.iter().zip(labels).enumerate() {
        let n = u16::try_from(i).unwrap_or(u16::MAX);
        let counts = strips::counts(*row, &rows, &snap.past, &scale);
        let text = if *row == Row::Marks && !titled { span.word().to_owned() } else { text };
        let mut spans = Vec::new();
        if named {
            let signed = matches!(row, Row::Category(_) | Row::Probe(_));
            let sign = if signed { light.sign() } else { " " };
            let text = human::cut_front(&text, name).into_owned();
            let gap = " ".repeat(name - human::width(&text).min(name));
            spans.push(look.span(light.tone(), format!("{sign} ")));
            spans.push(look.span(Tone::Muted, format!("{text}{gap}")));
            spans.push(
                look.span(Tone::Plain, format!(" {:>FIGURE$}", strips::total(*row, counts.as_ref(), &snap.past))),
            );
        } else {
            spans.push(look.span(Tone::Muted, text));
        }
        let line = nth_line(area, n);
        put(buf, Rect { x: line.x + 2.min(line.width), width: line.width.saturating_sub(2), ..line }, &spans);
        let line = nth_line(time, n);
        match (row, counts) {
            (Row::Marks, _) => put_marks(buf, line, snap, &scale, look),
            (row, Some(counts)) => {
                put_columns(buf, line, &scale, strips::heights(look, *row, &counts, &snap.past, &scale));
            }
            (row, None) => put_columns(buf, line, &scale, strips::states(look, *row, &snap.past, &scale)),
        }
    }
    put_cursor(buf, time, snap, &scale, look);
    Some(Strip { area: time, room })
}

/// One sign a column, as wide as the column is; dots, crosses and triangles once.
fn put_columns(buf: &mut Buffer, line: Rect, scale: &Scale, signs: Vec<Text<'static>>) {
    let wide = |sign: Text<'static>| {
        let (once, rest) = match sign.content.as_ref() {
            theme::NONE | theme::WARN => (1, " "),
            theme::BAD => (1, "╌"),
            _ => (0, ""),
        };
        let text = if once == 1 {
            format!("{}{}", sign.content, rest.repeat(scale.wide() - 1))
        } else {
            sign.content.repeat(scale.wide())
        };
        Text::styled(text, sign.style)
    };
    put(buf, line, &signs.into_iter().map(wide).collect::<Vec<_>>());
}

/// The cell of the line in which a moment's column begins.
fn cell_of(scale: &Scale, at: Timestamp) -> Option<u16> {
    u16::try_from(scale.column(at)? * scale.wide()).ok()
}

/// The moment that the other panes show: an upright through the blanks, and what stands in its way in its own colour.
fn put_cursor(buf: &mut Buffer, area: Rect, snap: &Snapshot, scale: &Scale, look: &Look) {
    let Some(x) = snap.past.cursor.and_then(|at| cell_of(scale, at)).filter(|x| *x < area.width) else { return };
    let x = area.x + x;
    let style = look.theme.style(Tone::Accent);
    for y in area.y..area.bottom() {
        let Some(cell) = buf.cell_mut((x, y)) else { continue };
        if y + 1 == area.bottom() {
            cell.set_symbol("▴").set_style(style);
        } else if matches!(cell.symbol(), " " | theme::NONE) {
            cell.set_symbol(theme::UPRIGHT).set_style(style);
        } else {
            cell.set_style(look.theme.selected());
        }
    }
}

/// A sign with words behind it.
struct Word {
    at: Timestamp,
    sign: &'static str,
    tone: Tone,
    said: String,
}

/// The marks, and where watching began, oldest first.
fn words(snap: &Snapshot) -> Vec<Word> {
    let of = |m: &Mark| {
        let (sign, tone) = sign(m);
        Word { at: m.at, sign, tone, said: m.said.clone() }
    };
    let mut out: Vec<Word> = snap.past.marks.iter().map(of).collect();
    if let Some(at) = snap.past.began {
        let began = Word { at, sign: theme::BEGAN, tone: Tone::Muted, said: "watching since".to_owned() };
        out.insert(out.partition_point(|w| w.at <= at), began);
    }
    out
}

/// The newest marks first, so that of two that stand in each other's way the newer one keeps its words.
fn put_marks(buf: &mut Buffer, line: Rect, snap: &Snapshot, scale: &Scale, look: &Look) {
    if line.is_empty() {
        return;
    }
    let width = usize::from(line.width);
    let now_from = width.saturating_sub(3);
    let at_cell = |cell: usize| {
        let x = line.x + u16::try_from(cell).unwrap_or(0);
        Rect { x, width: line.right().saturating_sub(x), ..line }
    };
    let cursor = snap.past.cursor.and_then(|at| cell_of(scale, at)).map(usize::from);
    if cursor.is_none_or(|cell| cell < now_from) {
        put(buf, at_cell(now_from), &[look.span(Tone::Faint, "now")]);
    }
    let oldest = oldest(snap, scale, look);
    let far = width >= FAR && snap.since.is_some();
    if far {
        put(buf, line, &[look.span(Tone::Faint, oldest.clone())]);
    }
    let from = if far { human::width(&oldest) + 2 } else { 0 };
    let mut free = now_from.saturating_sub(2);
    for word in words(snap).iter().rev() {
        let Some(at) = cell_of(scale, word.at).map(usize::from).filter(|at| *at < width) else { continue };
        let short = format!(" {}", look.minute(word.at));
        let long = format!(" {}{short}", word.said);
        // A mark at the very end moves left rather than losing its words.
        let Some((start, text)) = [long, short, String::new()].into_iter().find_map(|t| {
            let w = human::width(&t) + 1;
            let start = at.min(free.checked_sub(w)?);
            (start >= from && at - start <= w + 4).then_some((start, t))
        }) else {
            continue;
        };
        put(buf, at_cell(start), &[look.span(word.tone, word.sign), look.span(Tone::Muted, text)]);
        free = start.saturating_sub(2);
    }
}

/// The time at the left end; of another day it says so.
fn oldest(snap: &Snapshot, scale: &Scale, look: &Look) -> String {
    let (from, now) =
        (snap.past.now.minus(std::time::Duration::from_secs(scale.span().secs().unsigned_abs())), snap.past.now);
    let minute = look.minute(from);
    // Spans are no longer than a day: a clock that shows no less than now is that of the day before.
    if look.clock(from) >= look.clock(now) { format!("−1d {minute}") } else { minute }
}

/// The sign and the tone of a kind of mark.
#[must_use]
pub const fn sign(mark: &Mark) -> (&'static str, Tone) {
    match mark.kind {
        MarkKind::Reload => ("↻", Tone::Accent),
        MarkKind::Started => (theme::OK, Tone::Good),
        MarkKind::Stopped | MarkKind::WorkerGone | MarkKind::ProbeDown => (theme::BAD, Tone::Bad),
        MarkKind::ProbeUp => (theme::CHECK, Tone::Good),
    }
}
