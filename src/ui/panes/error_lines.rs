//! The lines themselves: the kept error-log entries of one level of the Errors pane, the newest first.

use std::time::Duration;

use ratatui::text::Span;

use crate::human;
use crate::model::errors::kept::By;
use crate::report::entries::words;

use super::super::narrow::LineRow;
use super::super::table::{Column, Cut, Sort};
use super::super::text::Look;
use super::super::theme::Tone;
use super::cell;

/// A clock says nothing of what is older.
const DAY: Duration = Duration::from_secs(20 * 3_600);

static IN_CATEGORY: [Column<LineRow>; 6] = [time(), level(), message(), upstream(), client(), location()];
static OF_ALL: [Column<LineRow>; 7] = [time(), level(), category(), message(), upstream(), client(), location()];

/// The columns; without the category where all are of one.
#[must_use]
pub fn columns(of_one_category: bool) -> &'static [Column<LineRow>] {
    if of_one_category { &IN_CATEGORY } else { &OF_ALL }
}

/// When it was written: the time of day, or how long ago where that is more than about a day.
#[must_use]
pub fn moment(r: &LineRow, look: &Look) -> String {
    if r.age < DAY { look.clock(r.line.entry.at) } else { format!("{} ago", human::span_short(r.age)) }
}

const fn time() -> Column<LineRow> {
    Column::words(
        "time",
        "TIME",
        (8, 8),
        0,
        |r, l, _| vec![l.span(Tone::Muted, moment(r, l))],
        |r| Sort::Number(r.age.as_secs_f64()),
    )
}

const fn level() -> Column<LineRow> {
    Column::words(
        "level",
        "LEVEL",
        (6, 6),
        5,
        |r, l, _| vec![l.span(Tone::Muted, r.line.entry.level.word())],
        |r| Sort::Number(f64::from(r.line.entry.level as u8)),
    )
}

const fn category() -> Column<LineRow> {
    Column::words(
        "category",
        "CATEGORY",
        (16, 16),
        6,
        |r, l, _| vec![l.span(Tone::Plain, r.line.category().word())],
        |r| named(r, By::Category),
    )
}

const fn message() -> Column<LineRow> {
    Column::words(
        "message",
        "MESSAGE",
        (34, u16::MAX),
        0,
        |r, l, _| {
            let sign = l.span(r.light.tone(), r.light.sign());
            vec![sign, l.span(Tone::Plain, " "), l.span(Tone::Plain, words(&r.line.entry))]
        },
        |r| Sort::Text(words(&r.line.entry)),
    )
}

const fn upstream() -> Column<LineRow> {
    let column = Column::<LineRow>::words(
        "upstream",
        "UPSTREAM",
        (14, 26),
        3,
        |r, l, _| name(r, l, By::Upstream),
        |r| named(r, By::Upstream),
    );
    column.cut(Cut::Middle)
}

const fn client() -> Column<LineRow> {
    let column = Column::<LineRow>::words(
        "client",
        "CLIENT",
        (14, 26),
        2,
        |r, l, _| name(r, l, By::Client),
        |r| named(r, By::Client),
    );
    column.cut(Cut::Middle)
}

const fn location() -> Column<LineRow> {
    let column = Column::<LineRow>::words(
        "location",
        "LOCATION",
        (10, 24),
        7,
        |r, l, _| name(r, l, By::Location),
        |r| named(r, By::Location),
    );
    column.cut(Cut::Front)
}

fn name(r: &LineRow, look: &Look, by: By) -> Vec<Span<'static>> {
    cell::figure(look, Tone::Plain, r.line.key(by).map(str::to_owned))
}

fn named(r: &LineRow, by: By) -> Sort {
    r.line.key(by).map_or(Sort::Unknown, |n| Sort::Text(n.to_owned()))
}
