//! Of whom or of what? The entries of one level of the Errors pane told apart by one kind of name.

use ratatui::text::Span;

use crate::event::tally::top::Counted;
use crate::human;
use crate::model::errors::kept::By;

use super::super::narrow::NameRow;
use super::super::table::{Column, Cut, Sort};
use super::super::text::Look;
use super::super::theme::Tone;
use super::{cell, errors};

/// Columns of the share with its bar.
const SHARE: (u16, u16) = (4, 12);

static MESSAGES: [Column<NameRow>; 4] = [total(), share(), last(), message()];
static UPSTREAMS: [Column<NameRow>; 5] = named("upstream", "UPSTREAM", Cut::Middle);
static CLIENTS: [Column<NameRow>; 5] = named("client", "CLIENT", Cut::Middle);
static LOCATIONS: [Column<NameRow>; 5] = named("location", "LOCATION", Cut::Front);
static SERVERS: [Column<NameRow>; 5] = named("server", "SERVER", Cut::Middle);
static CATEGORIES: [Column<NameRow>; 5] = named("category", "CATEGORY", Cut::End);

/// The columns for names of one kind.
#[must_use]
pub fn columns(by: By) -> &'static [Column<NameRow>] {
    match by {
        By::Category => &CATEGORIES,
        By::Message => &MESSAGES,
        By::Upstream => &UPSTREAMS,
        By::Client => &CLIENTS,
        By::Location => &LOCATIONS,
        By::Server => &SERVERS,
    }
}

const fn named(key: &'static str, title: &'static str, cut: Cut) -> [Column<NameRow>; 5] {
    let name = Column::<NameRow>::words(key, title, (15, 46), 0, |r, l, _| name(r, l), by_name).cut(cut);
    let words = Column::<NameRow>::words(
        "words",
        "LAST WORDS",
        (20, u16::MAX),
        4,
        |r, l, w| errors::words(l, &r.words, None, w),
        |r| Sort::Text(r.words.clone()),
    );
    [total(), share(), last(), name, words]
}

const fn total() -> Column<NameRow> {
    Column::number("total", "TOTAL", 7, 0, |r, l, _| count(l, r.count), |r| Sort::Number(r.count.count as f64))
}

const fn share() -> Column<NameRow> {
    Column::<NameRow>::words("share", "SHARE", SHARE, 3, bar, |r| Sort::Number(r.share))
}

const fn last() -> Column<NameRow> {
    Column::<NameRow>::number(
        "last",
        "LAST",
        4,
        2,
        |r, l, _| cell::time(l, r.last, human::span_short),
        |r| Sort::of(r.last.map(|d| d.as_secs_f64())),
    )
}

const fn message() -> Column<NameRow> {
    Column::words("message", "MESSAGE", (15, u16::MAX), 0, |r, l, _| name(r, l), by_name)
}

fn name(r: &NameRow, look: &Look) -> Vec<Span<'static>> {
    match &r.name {
        Some(name) => vec![look.span(Tone::Plain, name.to_string())],
        None => vec![look.span(Tone::Faint, "none named")],
    }
}

fn by_name(r: &NameRow) -> Sort {
    r.name.as_ref().map_or(Sort::Unknown, |n| Sort::Text(n.to_string()))
}

/// A count, or what it is at least.
fn count(look: &Look, count: Counted) -> Vec<Span<'static>> {
    let at_least = if count.missed > 0 { "≥" } else { "" };
    cell::figure(look, Tone::Plain, Some(cell::total(at_least, count.count)))
}

/// A bar and the share behind it, the share alone where there is no room.
fn bar(r: &NameRow, look: &Look, width: usize) -> Vec<Span<'static>> {
    let percent = match r.share * 100.0 {
        p if p > 0.0 && p < 0.5 => "<1%".to_owned(),
        p => format!("{p:.0}%"),
    };
    let width = width.min(usize::from(SHARE.1));
    let room = width.saturating_sub(5);
    let bar = if room < 4 { String::new() } else { format!("{:<room$} ", cell::bar(r.share, room)) };
    vec![look.span(Tone::Accent, bar), look.span(Tone::Muted, format!("{percent:>4}"))]
}
