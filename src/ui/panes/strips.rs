//! The rows of the timeline: which of them there is room for, and what each shows in its columns.

use ratatui::text::Span;

use crate::human;
use crate::model::probes::Turn;

use super::super::light::Light;
use super::super::scale::Scale;
use super::super::snapshot::past::{ErrorTrack, Past, ProbeTrack, State, What};
use super::super::text::Look;
use super::super::theme::{self, Tone};
use super::cell;

/// Rows of errors at most, that of the others included.
const CATEGORIES: usize = 8;
/// Cells of a line that rows with names of their own need.
const ROOMY: u16 = 60;
/// Every so many columns of a time that is not known bear a dot.
const DOTS: i64 = 4;

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// All errors as one.
    Errors,
    /// One category, by its place in [`Past::errors`].
    Category(usize),
    /// The categories that have no row of their own.
    Others,
    /// Tunnels opened.
    Opened,
    /// Tunnels ended.
    Ended,
    /// All probes as one.
    Probes,
    /// One probe, by its place in [`Past::probes`].
    Probe(usize),
    /// What happened, in words.
    Marks,
}

/// The rows that fit, in their order on the screen; `true`: they have names of their own, and figures.
#[must_use]
pub fn rows(past: &Past, width: u16, height: usize) -> (Vec<Row>, bool) {
    let by_weight = [Row::Errors, Row::Marks, Row::Ended, Row::Probes, Row::Opened];
    let some = by_weight.iter().filter(|r| match r {
        Row::Probes => !past.probes.is_empty(),
        Row::Marks => true,
        row => !past.left_out.contains(&what(**row)),
    });
    let taken: Vec<Row> = some.take(height).copied().collect();
    let mut spare = height - taken.len();
    let named = spare > 0 && width >= ROOMY;
    let mut out = Vec::new();
    for row in [Row::Errors, Row::Opened, Row::Ended, Row::Probes, Row::Marks] {
        let into = match row {
            Row::Errors if named => categories(past, 1 + spare),
            Row::Probes if named && past.probes.len() <= 1 + spare => (0..past.probes.len()).map(Row::Probe).collect(),
            row => vec![row],
        };
        if taken.contains(&row) {
            spare -= into.len().saturating_sub(1).min(spare);
            out.extend(into);
        }
    }
    (out, named)
}

/// The most that the rows could use: what a taller pane would only leave empty.
#[must_use]
pub fn wanted(past: &Past) -> usize {
    past.errors.len().clamp(1, CATEGORIES) + past.probes.len() + 3
}

/// Those that hurt before the others, then the more frequent ones; but all in an order that stays.
fn categories(past: &Past, room: usize) -> Vec<Row> {
    let room = room.min(CATEGORIES);
    let mut order: Vec<usize> = (0..past.errors.len()).collect();
    order.sort_by_key(|i| past.errors.get(*i).map(|e| (e.light, std::cmp::Reverse(e.total), e.category)));
    let all = order.len() <= room;
    order.truncate(if all { room } else { room.saturating_sub(1) });
    order.sort_unstable();
    match (order.len(), all) {
        (0, _) => vec![Row::Errors],
        (_, true) => order.into_iter().map(Row::Category).collect(),
        (_, false) => order.into_iter().map(Row::Category).chain([Row::Others]).collect(),
    }
}

/// What a row is called, with its sign.
#[must_use]
pub fn label(row: Row, rows: &[Row], past: &Past) -> (Light, String) {
    let named = |name: &str| (Light::None, name.to_owned());
    match row {
        Row::Errors => named("errors"),
        Row::Category(i) => past.errors.get(i).map_or_else(|| named(""), |e| (e.light, e.category.word().to_owned())),
        Row::Others => {
            let own = rows.iter().filter(|r| matches!(r, Row::Category(_))).count();
            named(&format!("{} others", past.errors.len().saturating_sub(own)))
        }
        Row::Opened => named("opened"),
        Row::Ended => named("deaths"),
        Row::Probes => named("probes"),
        Row::Probe(i) => past.probes.get(i).map_or_else(|| named(""), |p| (light(p.last()), p.name.clone())),
        Row::Marks => named("marks"),
    }
}

/// How a probe is now.
const fn light(turn: Option<Turn>) -> Light {
    match turn {
        Some(Turn::Opened) => Light::Ok,
        Some(Turn::Died) => Light::Warn,
        Some(Turn::Failed) => Light::Bad,
        Some(Turn::Off) => Light::Idle,
        None => Light::None,
    }
}

/// What a row counts in its columns; `None` for rows that count nothing.
#[must_use]
pub fn counts(row: Row, rows: &[Row], past: &Past, scale: &Scale) -> Option<Vec<u64>> {
    let sum = |of: &mut dyn Iterator<Item = &ErrorTrack>| {
        of.fold(vec![0; scale.columns()], |sum, e| sum.iter().zip(e.counts(scale)).map(|(a, b)| a + b).collect())
    };
    match row {
        Row::Errors => Some(past.counts(What::Errors, scale)),
        Row::Category(i) => Some(past.errors.get(i).map_or_else(Vec::new, |e| e.counts(scale))),
        Row::Others => {
            let mut others = past.errors.iter().enumerate().filter(|(i, _)| !rows.contains(&Row::Category(*i)));
            Some(sum(&mut others.by_ref().map(|(_, e)| e)))
        }
        Row::Opened => Some(past.counts(What::Opened, scale)),
        Row::Ended => Some(past.counts(What::Ended, scale)),
        Row::Probes | Row::Probe(_) | Row::Marks => None,
    }
}

/// One sign for each column of a row that counts: as high as its share, a blank for none, a dot now and then where nothing is known.
#[must_use]
pub fn heights(look: &Look, row: Row, counts: &[u64], past: &Past, scale: &Scale) -> Vec<Span<'static>> {
    let tone = match row {
        Row::Opened => Tone::Accent,
        Row::Ended => Tone::Bad,
        Row::Category(i) => past.errors.get(i).map_or(Tone::Muted, |e| category_tone(e.light)),
        _ => Tone::Warn,
    };
    let known = past.known(what(row)).and_then(|at| scale.column(at).or((at < scale.start(0)).then_some(0)));
    let spark = cell::spark(counts);
    let one = |(column, (sign, n)): (usize, (char, &u64))| {
        let blind = *n == 0 && known.is_none_or(|first| column < first);
        if blind { dot(look, scale.number(column)) } else { look.span(tone, sign.to_string()) }
    };
    spark.chars().zip(counts).enumerate().map(one).collect()
}

/// What minds nobody stays quiet.
const fn category_tone(light: Light) -> Tone {
    match light {
        Light::Bad | Light::Warn => light.tone(),
        _ => Tone::Muted,
    }
}

fn dot(look: &Look, number: i64) -> Span<'static> {
    look.span(Tone::Faint, if number.rem_euclid(DOTS) == 0 { theme::NONE } else { " " })
}

/// One sign for each column of a row of probes: a line while open, broken while it fails, which begins with a cross.
#[must_use]
pub fn states(look: &Look, row: Row, past: &Past, scale: &Scale) -> Vec<Span<'static>> {
    let of = |p: &ProbeTrack| p.states(scale);
    let states = match row {
        Row::Probe(i) => past.probes.get(i).map_or_else(Vec::new, of),
        _ => past.worst_probes(scale),
    };
    let one = |(column, state): (usize, &State)| match state {
        State::Unknown => dot(look, scale.number(column)),
        State::Open => look.span(Tone::Good, theme::BAR),
        State::Died => look.span(Tone::Warn, theme::WARN),
        State::Failed if column > 0 && states.get(column - 1) == Some(&State::Failed) => look.span(Tone::Bad, "╌"),
        State::Failed => look.span(Tone::Bad, theme::BAD),
    };
    states.iter().enumerate().map(one).collect()
}

/// A figure at the right end of a label: how many in all columns, where that is known.
#[must_use]
pub fn total(row: Row, counts: Option<&Vec<u64>>, past: &Past) -> String {
    let Some(sum) = counts.map(|c| c.iter().sum::<u64>()) else { return String::new() };
    if sum == 0 && past.known(what(row)).is_none() { theme::NONE.to_owned() } else { human::scaled(sum) }
}

const fn what(row: Row) -> What {
    match row {
        Row::Opened => What::Opened,
        Row::Ended => What::Ended,
        _ => What::Errors,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::log::Category;

    fn past(categories: usize, probes: usize) -> Past {
        let all = [Category::UpstreamTimeout, Category::UpstreamClosed, Category::ClientClosed, Category::Capacity];
        let lights = [Light::Warn, Light::None, Light::None, Light::Bad];
        let of = |(i, (c, l)): (usize, (&Category, &Light))| ErrorTrack::empty(*c, *l, i as u64);
        let mut past = Past::default();
        past.errors = all.iter().zip(&lights).take(categories).enumerate().map(of).collect();
        past.probes = (0..probes).map(|n| ProbeTrack { name: format!("a/{n}"), turns: Vec::new() }).collect();
        past
    }

    #[test]
    fn rows_leave_by_what_they_tell_and_come_back_with_room() {
        use Row::{Category, Ended, Errors, Marks, Opened, Others, Probe, Probes};
        let full = past(4, 2);
        for (height, rows_then) in [
            (0, vec![]),
            (1, vec![Errors]),
            (2, vec![Errors, Marks]),
            (3, vec![Errors, Ended, Marks]),
            (4, vec![Errors, Ended, Probes, Marks]),
            (5, vec![Errors, Opened, Ended, Probes, Marks]),
            (6, vec![Category(3), Others, Opened, Ended, Probes, Marks]),
            (7, vec![Category(0), Category(3), Others, Opened, Ended, Probes, Marks]),
            (8, vec![Category(0), Category(1), Category(2), Category(3), Opened, Ended, Probes, Marks]),
            (9, vec![Category(0), Category(1), Category(2), Category(3), Opened, Ended, Probe(0), Probe(1), Marks]),
            (30, vec![Category(0), Category(1), Category(2), Category(3), Opened, Ended, Probe(0), Probe(1), Marks]),
        ] {
            assert_eq!(rows(&full, 80, height), (rows_then, height > 5), "{height}");
        }
        assert_eq!(rows(&full, 39, 30).0, [Errors, Opened, Ended, Probes, Marks], "names need room");
        assert_eq!(rows(&past(0, 0), 80, 30).0, [Errors, Opened, Ended, Marks]);
        assert_eq!(wanted(&full), 9);
    }
}
