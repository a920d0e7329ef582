//! The rows of the Errors pane at the level where it is: categories, names of one kind, or lines, as the filter and the
//! order want them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::event::log::Level;
use crate::event::tally::top::Counted;
use crate::model::errors::kept::{By, Kept};
use crate::model::errors::split::Split;
use crate::report::entries::words;
use crate::report::filter::Fields;

use super::drill::{Condition, View};
use super::filter::Filter;
use super::light::Light;
use super::pane::Pane;
use super::panes::{error_lines, error_names, errors};
use super::snapshot::Snapshot;
use super::snapshot::endpoint::stable_id;
use super::state::ScreenState;
use super::table::order;

/// Names shown at most: behind them nobody looks.
const NAMES: usize = 200;

/// One name, with how often it occurred.
#[derive(Clone, Debug)]
pub struct NameRow {
    /// Stable as long as it is the same name.
    pub id: u64,
    /// The name; `None` for lines that name none.
    pub name: Option<Arc<str>>,
    /// How often.
    pub count: Counted,
    /// Its share of all that is told apart here.
    pub share: f64,
    /// How long ago the newest line with it was written; `None` when none of them is kept.
    pub last: Option<Duration>,
    /// What that line said.
    pub words: String,
}

/// One line.
#[derive(Clone, Debug)]
pub struct LineRow {
    /// The line.
    pub line: Arc<Kept>,
    /// How much it hurts.
    pub light: Light,
    /// How old it is.
    pub age: Duration,
}

/// The rows, in the order to be shown.
#[derive(Clone, Debug)]
pub enum Rows {
    /// Places in the snapshot.
    Categories(Vec<usize>),
    /// Names of one kind.
    Names(Vec<NameRow>),
    /// Lines.
    Lines(Vec<LineRow>),
}

impl Rows {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Categories(rows) => rows.len(),
            Self::Names(rows) => rows.len(),
            Self::Lines(rows) => rows.len(),
        }
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The kept lines of the level, oldest first, that pass its filter.
#[must_use]
pub fn lines<'a>(snap: &'a Snapshot, state: &ScreenState) -> Vec<&'a Arc<Kept>> {
    let filter = state.pane(Pane::Errors).filter.as_ref();
    let fits = |l: &&Arc<Kept>| state.drill.holds(l) && filter.is_none_or(|f| passes(f, l));
    snap.lines.iter().filter(fits).collect()
}

/// A kept line as a filter sees it: the entry, its location and shape as they are known here.
pub(super) struct Facts<'a>(pub(super) &'a Kept);

impl Fields for Facts<'_> {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        let named = |by| self.0.key(by).map(Cow::Borrowed);
        match key {
            "category" => named(By::Category),
            "upstream" => named(By::Upstream),
            "client" => named(By::Client),
            "location" => named(By::Location),
            "server" => named(By::Server),
            "line" => Some(Cow::Borrowed(self.0.text())),
            _ => self.0.entry.text(key),
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.0.entry.number(key)
    }
}

/// Whether a line passes a filter.
fn passes(filter: &Filter, line: &Kept) -> bool {
    filter.passes(&Facts(line))
}

/// The rows of the level.
#[must_use]
pub fn rows(snap: &Snapshot, state: &ScreenState) -> Rows {
    let pane = state.pane(Pane::Errors);
    let (look, sort) = (state.look(snap.now), pane.sort.map(|c| (c, pane.reverse)));
    match state.drill.view {
        View::By(By::Category) if state.drill.conditions.is_empty() => {
            let stays = stays(snap, state, By::Category);
            let all = order(&snap.errors, &errors::TABLES[0][0], None, sort, &look, |i| i);
            let fits = |i: &usize| snap.errors.get(*i).is_some_and(|r| stays(Some(r.name)));
            Rows::Categories(all.into_iter().filter(fits).collect())
        }
        View::By(by) => {
            let stays = stays(snap, state, by);
            let mut rows = names(snap, state, by);
            rows.retain(|r| stays(r.name.as_deref()));
            let order = order(&rows, error_names::columns(by), None, sort, &look, |i| i);
            Rows::Names(order.into_iter().filter_map(|i| rows.get(i).cloned()).collect())
        }
        View::Lines => {
            let rows: Vec<LineRow> = lines(snap, state).into_iter().rev().map(|l| line_row(snap, l)).collect();
            let columns = error_lines::columns(state.drill.is_narrowed_by(By::Category));
            let order = order(&rows, columns, None, sort, &look, |i| i);
            Rows::Lines(order.into_iter().filter_map(|i| rows.get(i).cloned()).collect())
        }
    }
}

fn line_row(snap: &Snapshot, line: &Arc<Kept>) -> LineRow {
    LineRow { line: Arc::clone(line), light: light(line.entry.level), age: snap.now.since(line.entry.at) }
}

/// How much a single line hurts, by what nginx thinks of it.
#[must_use]
pub const fn light(level: Level) -> Light {
    match level {
        Level::Emerg | Level::Alert | Level::Crit => Light::Bad,
        Level::Error | Level::Warn => Light::Warn,
        Level::Notice | Level::Info | Level::Debug => Light::None,
    }
}

/// The ids of the rows.
#[must_use]
pub fn ids(snap: &Snapshot, rows: &Rows) -> Vec<u64> {
    match rows {
        Rows::Categories(rows) => rows.iter().filter_map(|i| snap.errors.get(*i)).map(|r| r.id).collect(),
        Rows::Names(rows) => rows.iter().map(|r| r.id).collect(),
        Rows::Lines(rows) => rows.iter().map(|r| r.line.seq).collect(),
    }
}

/// What narrowing by the row with this id means; `None` for lines.
#[must_use]
pub fn condition(snap: &Snapshot, state: &ScreenState, id: u64) -> Option<Condition> {
    let View::By(by) = state.drill.view else { return None };
    let name = match rows(snap, state) {
        Rows::Categories(_) => Some(Arc::from(snap.errors.iter().find(|r| r.id == id)?.name)),
        Rows::Names(rows) => rows.into_iter().find(|r| r.id == id)?.name,
        Rows::Lines(_) => return None,
    };
    Some(Condition { by, name })
}

/// Whether a name is to be shown; `None` are the lines that name none.
type Test<'a> = Box<dyn Fn(Option<&str>) -> bool + 'a>;

/// With a filter a name stays as long as one of its kept lines passes; when none is kept, the name itself must.
fn stays<'a>(snap: &'a Snapshot, state: &'a ScreenState, by: By) -> Test<'a> {
    let Some(filter) = &state.pane(Pane::Errors).filter else { return Box::new(|_| true) };
    let mut kept: HashMap<Option<&str>, bool> = HashMap::new();
    for line in snap.lines.iter().filter(|l| state.drill.holds(l)) {
        let passing = kept.entry(line.key(by)).or_default();
        *passing = *passing || passes(filter, line);
    }
    Box::new(move |name| {
        kept.get(&name).copied().unwrap_or_else(|| filter.passes(&[(by.word(), name.unwrap_or(""))][..]))
    })
}

/// What is told apart at a level, and how much of it is known.
#[derive(Clone, Debug, Default)]
pub struct Extent {
    /// Entries in all; `count` of them for certain.
    pub count: Counted,
    /// Kept lines among them.
    pub kept: usize,
    /// The rows count kept lines only: nothing counts two conditions together.
    pub kept_only: bool,
    /// A name that is not in the rows occurred at most so often.
    pub bound: u64,
}

/// How much is told apart at the level of `state`.
#[must_use]
pub fn extent(snap: &Snapshot, state: &ScreenState) -> Extent {
    let conditions = &state.drill.conditions;
    let kept = snap.lines.iter().filter(|l| state.drill.holds(l)).count();
    let exact = |count| Counted { count, missed: 0 };
    let whole = whole(snap, state);
    let bound = match (&whole, state.drill.view) {
        (Some(splits), View::By(by)) => splits(by).map_or(0, |s| s.top.bound()),
        _ => 0,
    };
    let count = match conditions.as_slice() {
        [] => Some(exact(snap.error_total)),
        [one] if one.by == By::Category => category(snap, one).map(|r| exact(r.total)),
        [one] => named(&Split::sum(snap.errors.iter().filter_map(|r| r.splits.get(one.by))), one),
        [first, second] if first.by == By::Category => {
            category(snap, first).and_then(|r| named(r.splits.get(second.by)?, second))
        }
        _ => None,
    };
    let some_gone = (snap.lines.len() as u64) < snap.error_total;
    let at_least = Counted { count: kept as u64, missed: u64::from(some_gone) };
    Extent { count: count.unwrap_or(at_least), kept, kept_only: whole.is_none() && some_gone, bound }
}

fn category<'a>(snap: &'a Snapshot, condition: &Condition) -> Option<&'a super::snapshot::error::ErrorRow> {
    snap.errors.iter().find(|r| Some(r.name) == condition.name.as_deref())
}

fn named(split: &Split, condition: &Condition) -> Option<Counted> {
    match &condition.name {
        Some(name) => split.top.get(name.as_ref()),
        None => Some(Counted { count: split.without, missed: 0 }),
    }
}

type Splits<'a> = Box<dyn Fn(By) -> Option<Cow<'a, Split>> + 'a>;

/// Counts over all entries ever read, where there are any for this level.
fn whole<'a>(snap: &'a Snapshot, state: &'a ScreenState) -> Option<Splits<'a>> {
    if state.drill.conditions.is_empty() {
        return Some(Box::new(|by| Some(Cow::Owned(Split::sum(snap.errors.iter().filter_map(|r| r.splits.get(by)))))));
    }
    let name = state.drill.only_category()?;
    let row = snap.errors.iter().find(|r| r.name == name)?;
    Some(Box::new(|by| row.splits.get(by).map(Cow::Borrowed)))
}

/// How many different names of each kind there are at the level, and whether there are more that are not kept.
#[must_use]
pub fn variety(snap: &Snapshot, state: &ScreenState, view: View) -> (usize, bool) {
    let View::By(by) = view else { return (snap.lines.iter().filter(|l| state.drill.holds(l)).count(), false) };
    if by == By::Category && state.drill.conditions.is_empty() {
        return (snap.errors.len(), false);
    }
    if let Some(split) = whole(snap, state).and_then(|splits| splits(by)) {
        return (split.top.len() + usize::from(split.without > 0), split.top.bound() > 0);
    }
    let names: HashSet<_> = snap.lines.iter().filter(|l| state.drill.holds(l)).map(|l| l.key(by)).collect();
    (names.len(), false)
}

/// The names of one kind, the most frequent first.
fn names(snap: &Snapshot, state: &ScreenState, by: By) -> Vec<NameRow> {
    let mut newest: HashMap<Option<&str>, (&Kept, u64)> = HashMap::new();
    for line in snap.lines.iter().filter(|l| state.drill.holds(l)) {
        let (last, n) = newest.entry(line.key(by)).or_insert((line, 0));
        (*last, *n) = (line, *n + 1);
    }
    let exact = |n: u64| Counted { count: n, missed: 0 };
    let counted: Vec<(Option<Arc<str>>, Counted)> =
        if let Some(split) = whole(snap, state).and_then(|splits| splits(by)) {
            let ranked = split.top.ranked(NAMES).into_iter().map(|(k, c)| (Some(Arc::clone(k)), c));
            ranked.chain((split.without > 0).then(|| (None, exact(split.without)))).collect()
        } else {
            newest.iter().map(|(name, (_, n))| (name.map(Arc::from), exact(*n))).collect()
        };
    let total: u64 = counted.iter().map(|(_, c)| c.count).sum();
    let mut rows: Vec<NameRow> = counted
        .into_iter()
        .map(|(name, count)| {
            let last = newest.get(&name.as_deref()).map(|(l, _)| *l);
            NameRow {
                id: stable_id(&[by.word(), name.as_deref().unwrap_or(""), if name.is_some() { "named" } else { "" }]),
                share: count.count as f64 / total.max(1) as f64,
                count,
                last: last.map(|l| snap.now.since(l.entry.at)),
                words: last.map_or_else(String::new, |l| words(&l.entry)),
                name,
            }
        })
        .collect();
    // What no line names stands last, whatever its number.
    rows.sort_by(|a, b| {
        (a.name.is_none(), std::cmp::Reverse(a.count.count), &a.name).cmp(&(
            b.name.is_none(),
            std::cmp::Reverse(b.count.count),
            &b.name,
        ))
    });
    rows.truncate(NAMES);
    rows
}
