//! What is wrong? One finding after the other, with as much of each as there is room for.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::super::light::Light;
use super::super::snapshot::Snapshot;
use super::super::snapshot::finding::FindingRow;
use super::super::table::{Column, MARGIN, Sort, mark};
use super::super::text::{Look, Seg, cut_words, nth_line, put, put_ends, wrap};
use super::super::theme::{self, Tone};
use super::cell;

/// Lines of a finding's sentence, at most.
const SENTENCE: usize = 3;

/// What a filter and a sort can name; the pane itself is no table.
pub static COLUMNS: [Column<FindingRow>; 3] = [
    Column::words(
        "id",
        "FINDING",
        (20, 32),
        0,
        |r, l, _| vec![l.span(Tone::Plain, r.finding.id)],
        |r| Sort::Text(r.finding.id.to_owned()),
    ),
    Column::words(
        "severity",
        "SEVERITY",
        (8, 8),
        0,
        |r, l, _| cell::state(l, r.light, r.finding.severity.word()),
        |r| Sort::Number(f64::from(r.finding.severity as u8)),
    ),
    Column::words(
        "said",
        "SAID",
        (20, u16::MAX),
        0,
        |r, l, _| vec![l.span(Tone::Plain, format!("{} {}", r.about, r.finding.said))],
        |r| Sort::Text(r.about.clone()),
    ),
];

/// What the title says besides the name: `2 critical   1 warning   4 info`, or `✖ 2  ▲ 1  · 4`.
#[must_use]
pub fn facts(snap: &Snapshot, look: &Look) -> Vec<Seg> {
    let kinds = [("critical", Light::Bad), ("warning", Light::Warn), ("info", Light::None)];
    let (mut long, mut short) = (Vec::new(), Vec::new());
    for (n, (word, light)) in snap.counts.into_iter().zip(kinds).filter(|(n, _)| *n > 0) {
        let tone = if light == Light::None { Tone::Muted } else { light.tone() };
        let gap = if long.is_empty() { "" } else { "   " };
        long.push(look.span(tone, format!("{gap}{n} {word}")));
        short.push(look.span(tone, format!("{}{} {n}", &gap[..gap.len().min(2)], light.sign())));
    }
    if long.is_empty() { Vec::new() } else { vec![Seg::new(long).or(short).leaves(3)] }
}

/// Lines that the pane would like for these findings.
#[must_use]
pub fn wanted(rows: &[FindingRow], width: u16) -> u16 {
    // A sentence that is only worth knowing takes room that is there, and asks for none.
    let asks = |r: &FindingRow| if r.finding.is_serious() { sentence(r, width).len().min(SENTENCE) } else { 0 };
    let lines = |r: &FindingRow| 1 + asks(r);
    u16::try_from(rows.iter().map(lines).sum::<usize>()).unwrap_or(u16::MAX)
}

/// Lines that all of them would fill.
#[must_use]
pub fn whole(rows: &[FindingRow], width: u16) -> u16 {
    let lines = |r: &FindingRow| 1 + sentence(r, width).len().min(SENTENCE);
    u16::try_from(rows.iter().map(lines).sum::<usize>()).unwrap_or(u16::MAX)
}

/// The sentence in lines; what is over has only its head.
fn sentence(row: &FindingRow, width: u16) -> Vec<String> {
    if row.over.is_some() {
        return Vec::new();
    }
    wrap(&row.finding.said, usize::from(width.saturating_sub(MARGIN + 2).max(8)))
}

/// Draws what fits, from the first row on. Every finding gets its line before any gets its sentence. Tells where each is.
pub fn draw(buf: &mut Buffer, area: Rect, rows: &[&FindingRow], selected: Option<usize>, look: &Look) -> Vec<Rect> {
    let mut places = Vec::new();
    let mut spare = usize::from(area.height).saturating_sub(rows.len());
    let mut y = 0;
    for (i, row) in rows.iter().enumerate() {
        if y >= area.height {
            break;
        }
        let top = area.y + y;
        put_head(buf, nth_line(area, y), row, look);
        if selected == Some(i) {
            mark(buf, nth_line(area, y), look);
        }
        y += 1;
        let all = sentence(row, area.width);
        let width = usize::from(area.width.saturating_sub(MARGIN + 2));
        let shown = all.len().min(SENTENCE).min(spare);
        spare -= shown;
        for (n, line) in all.iter().take(shown).enumerate() {
            let cut = n + 1 == shown && shown < all.len();
            let text = if cut { cut_words(&all[n..].join(" "), width).into_owned() } else { line.clone() };
            let at = nth_line(area, y);
            let inner = Rect { x: at.x + (MARGIN + 2).min(at.width), width: at.width.saturating_sub(MARGIN + 2), ..at };
            put(buf, inner, &[look.span(Tone::Muted, text)]);
            y += 1;
        }
        places.push(Rect { y: top, height: area.y + y - top, ..area });
    }
    places
}

/// `since 13:58`, or `13:58 to 14:02` of what is over.
#[must_use]
pub fn when(row: &FindingRow, look: &Look) -> Option<String> {
    match (row.since, row.over) {
        (Some(since), Some(over)) => Some(format!("{} to {}", look.minute(since), look.minute(over))),
        (None, Some(over)) => Some(format!("until {}", look.minute(over))),
        (since, None) => since.map(|t| format!("since {}", look.minute(t))),
    }
}

fn put_head(buf: &mut Buffer, line: Rect, row: &FindingRow, look: &Look) {
    let inner = Rect { x: line.x + MARGIN.min(line.width), width: line.width.saturating_sub(MARGIN), ..line };
    let (sign, tone) = match row.over {
        Some(_) => (look.span(Tone::Faint, theme::CHECK), Tone::Faint),
        None if row.finding.is_serious() => (look.span(row.light.tone(), row.light.sign()), Tone::Strong),
        None => (look.span(row.light.tone(), row.light.sign()), Tone::Plain),
    };
    let head = vec![sign, look.span(Tone::Plain, " "), look.span(tone, row.finding.id)];
    let about = Seg::new(vec![look.span(Tone::Muted, row.about.clone())]).leaves(2);
    let right = when(row, look).map(|when| {
        let short = when.trim_start_matches("since ").to_owned();
        Seg::new(vec![look.span(Tone::Faint, when)]).shrinks(3, vec![look.span(Tone::Faint, short)]).leaves(1)
    });
    put_ends(buf, inner, vec![Seg::new(head), about], right.into_iter().collect());
}
