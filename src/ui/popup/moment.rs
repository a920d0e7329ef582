//! What happened about a moment of the timeline, or in all of its span: errors, tunnels, probes and marks.

use std::collections::HashMap;

use crate::event::log::Category;
use crate::human;
use crate::model::errors::kept::Kept;
use crate::model::marks::{Mark, MarkKind};
use crate::model::probes::Turn;
use crate::report::entries::words as words_of;

use super::super::happenings;
use super::super::light::Light;
use super::super::moments;
use super::super::pane::Pane;
use super::super::panes::timeline;
use super::super::scale::Scale;
use super::super::snapshot::Snapshot;
use super::super::snapshot::past::What;
use super::super::state::ScreenState;
use super::super::theme::{self, Tone};
use super::Page;

/// Marks and changes of probes that are listed.
const LISTED: usize = 200;

/// Writes the page, and returns its title.
pub(super) fn write(page: &mut Page<'_>, snap: &Snapshot, state: &ScreenState) -> String {
    let narrowed = state.filter(Pane::Timeline).map(|f| snap.with_past(happenings::narrowed(&snap.past, f)));
    let snap = narrowed.as_ref().unwrap_or(snap);
    let scale = moments::scale(snap, state);
    let window = moments::around(snap, &scale);
    let title = title(page, snap, &scale, window);
    errors(page, snap, &scale, window);
    tunnels(page, snap, &scale, window);
    changes(page, snap, &scale, window);
    title
}

fn title(page: &mut Page<'_>, snap: &Snapshot, scale: &Scale, (first, last): (usize, usize)) -> String {
    let Some(at) = snap.past.cursor else { return format!("Timeline   last {}", scale.span().word()) };
    let look = page.look;
    if at.secs() != snap.now.secs() {
        page.toned("panes", &format!("as of {}", look.clock(snap.now)), Tone::Warn);
    }
    let end = scale.end(last).min(snap.past.now);
    page.toned("window", &format!("{} to {}", look.clock(scale.start(first)), look.clock(end)), Tone::Muted);
    format!("Timeline at {}", look.clock(at))
}

/// Each category with how many, the loudest first, and its last words in that time.
fn errors(page: &mut Page<'_>, snap: &Snapshot, scale: &Scale, window: (usize, usize)) {
    page.head("Errors");
    let in_window = |counts: Vec<u64>| -> u64 { counts[window.0..=window.1.max(window.0)].iter().sum() };
    if scale.columns() == 0 {
        return;
    }
    let mut rows: Vec<(u64, &super::super::snapshot::past::ErrorTrack)> =
        snap.past.errors.iter().map(|e| (in_window(e.counts(scale)), e)).filter(|(n, _)| *n > 0).collect();
    rows.sort_by_key(|(n, e)| (e.light, std::cmp::Reverse(*n)));
    let mut words: HashMap<Category, &Kept> = HashMap::new();
    for line in snap.past.lines.iter().filter(|l| moments::is_within(scale, window, l.entry.at)) {
        words.insert(line.category(), line);
    }
    if rows.is_empty() {
        let known = snap.past.known(What::Errors).is_some_and(|k| k <= scale.end(window.1));
        page.exact(if known { "none" } else { "not known: no error log was read of that time" }, Tone::Muted);
    }
    for (n, e) in rows {
        let said = words.get(&e.category).map_or_else(String::new, |l| words_of(&l.entry));
        let text = format!("{:>6}  {}", human::grouped(n), said);
        spaced(page, e.light, e.category.word(), &text);
    }
}

/// A sign, a name as wide as the longest category, and a text that is cut at the end.
fn spaced(page: &mut Page<'_>, light: Light, name: &str, text: &str) {
    let text = human::cut_end(text, page.width.saturating_sub(24)).into_owned();
    let sign = page.look.span(light.tone(), format!("  {} ", light.sign()));
    let name = page.look.span(Tone::Plain, format!("{name:<18}"));
    page.lines.push(ratatui::text::Line::from(vec![sign, name, page.look.span(Tone::Muted, text)]));
}

fn tunnels(page: &mut Page<'_>, snap: &Snapshot, scale: &Scale, (first, last): (usize, usize)) {
    let told = [(What::Opened, "opened"), (What::Ended, "ended")];
    let told: Vec<_> = told.into_iter().filter(|(what, _)| !snap.past.left_out.contains(what)).collect();
    if !told.is_empty() {
        page.head("Tunnels");
    }
    for (what, name) in told {
        let n: u64 = snap.past.counts(what, scale).iter().take(last + 1).skip(first).sum();
        let known = snap.past.known(what).filter(|k| *k <= scale.end(last).min(snap.past.now));
        match known {
            None if n == 0 => page.toned(name, "· not watched then", Tone::Muted),
            Some(k) if k > scale.start(first) => {
                page.pair(name, &format!("{} since {}", human::grouped(n), page.look.clock(k)));
            }
            _ => page.pair(name, &human::grouped(n)),
        }
    }
}

/// Marks and changes of probes in order of time, the newest first.
fn changes(page: &mut Page<'_>, snap: &Snapshot, scale: &Scale, window: (usize, usize)) {
    // What a probe turned to tells the same with more words.
    let told = |m: &Mark| snap.past.probes.iter().any(|p| p.turns.iter().any(|(at, _)| *at == m.at));
    let is_own = |m: &&Mark| !matches!(m.kind, MarkKind::ProbeDown | MarkKind::ProbeUp) || !told(m);
    let marks = snap.past.marks.iter().filter(is_own).map(|m| {
        let (sign, tone) = timeline::sign(m);
        (m.at, sign, tone, m.said.clone())
    });
    let turns = snap.past.probes.iter().flat_map(|p| {
        p.turns.iter().map(|(at, turn)| {
            let (sign, tone, word) = match turn {
                Turn::Off => (theme::IDLE, Tone::Muted, "off"),
                Turn::Opened => (theme::OK, Tone::Good, "open"),
                Turn::Died => (theme::WARN, Tone::Warn, "died"),
                Turn::Failed => (theme::BAD, Tone::Bad, "fails"),
            };
            (*at, sign, tone, format!("{} {word}", p.name))
        })
    });
    let began = snap.past.began.map(|at| (at, theme::BEGAN, Tone::Muted, "watching since then".to_owned()));
    let mut all: Vec<_> =
        marks.chain(turns).chain(began).filter(|(at, ..)| moments::is_within(scale, window, *at)).collect();
    all.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
    page.head("Changes");
    if all.is_empty() {
        page.exact("none", Tone::Muted);
    }
    for (at, sign, tone, said) in all.into_iter().take(LISTED) {
        page.toned(&page.look.clock(at), &format!("{sign} {said}"), tone);
    }
}
