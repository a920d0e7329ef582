//! Which rows of a pane are shown, in which order: asked by drawing and by the keys alike.

use std::sync::Arc;

use crate::model::errors::kept::By;

use super::drill::View;
use super::happenings;
use super::ids::Ids;
use super::memo::{Answer, Wish};
use super::narrow::{self, Rows};
use super::pane::Pane;
use super::panes::{connections, error_lines, error_names, errors, findings, groups, handshakes};
use super::snapshot::Snapshot;
use super::state::ScreenState;
use super::table::{Column, order};

/// The rows of a pane that pass its filter, by their place in the snapshot; below the categories of the
/// Errors pane by their place in [`narrow::rows`], those of the timeline are its marks.
#[must_use]
pub fn shown(snap: &Snapshot, state: &ScreenState, pane: Pane) -> Arc<Vec<usize>> {
    let choice = state.pane(pane);
    let (filter, sort) = (state.filter(pane), choice.sort.map(|c| (c, choice.reverse)));
    let look = state.look(snap.now);
    Arc::new(match pane {
        Pane::Handshakes => {
            let rows = &snap.endpoints;
            // A twin stays with the endpoint above it.
            let leader = |i: usize| (0..=i).rev().find(|j| !rows[*j].is_twin()).unwrap_or(i);
            order(rows, &handshakes::COLUMNS, filter, sort, &look, leader)
        }
        Pane::Connections => return Arc::clone(&tunnels(snap, state).order),
        Pane::Errors => match narrow::rows(snap, state) {
            Rows::Categories(order) => order,
            rows => (0..rows.len()).collect(),
        },
        Pane::Findings => order(&snap.findings, &findings::COLUMNS, filter, sort, &look, |i| i),
        Pane::Timeline => happenings::marks(&snap.past, filter),
    })
}

/// The tunnels as they are shown now: their order, or their groups and the order of those.
#[must_use]
pub fn tunnels(snap: &Snapshot, state: &ScreenState) -> Arc<Answer> {
    state.memo.answer(&snap.tunnels.rows, wish(state))
}

/// How the tunnels are to be shown.
#[must_use]
pub fn wish(state: &ScreenState) -> Wish {
    let choice = state.pane(Pane::Connections);
    let sort = choice.sort.map(|c| (c, choice.reverse));
    Wish { filter: state.filter(Pane::Connections).cloned(), group: state.group, sort }
}

/// The ids of [`shown`].
#[must_use]
pub fn ids<'a>(snap: &'a Snapshot, state: &ScreenState, pane: Pane) -> Ids<'a> {
    if pane == Pane::Errors {
        return Ids::of(narrow::ids(snap, &narrow::rows(snap, state)));
    }
    if state.is_grouped(pane) {
        let tunnels = tunnels(snap, state);
        let (len, known) = (tunnels.order.len(), Arc::clone(&tunnels));
        return Ids::new(len, move |place| Some(tunnels.group(place)?.id), move |id| known.place(id));
    }
    let order = shown(snap, state, pane);
    match pane {
        Pane::Connections => {
            let places = Arc::clone(&order);
            let id = move |at: usize| Some(snap.tunnels.rows.get(*order.get(at)?)?.id);
            Ids::new(places.len(), id, move |id| {
                let row = snap.tunnels.place(id)?;
                places.iter().position(|r| *r == row)
            })
        }
        Pane::Handshakes => Ids::of(order.iter().filter_map(|i| snap.endpoints.get(*i)).map(|r| r.id).collect()),
        Pane::Findings => Ids::of(order.iter().filter_map(|i| snap.findings.get(*i)).map(|r| r.id).collect()),
        Pane::Errors | Pane::Timeline => Ids::of(Vec::new()),
    }
}

/// What a pane can be sorted by: the place of the column and its name.
#[must_use]
pub fn sortable(state: &ScreenState, pane: Pane) -> Vec<(usize, &'static str)> {
    fn named<R>(columns: &[Column<R>]) -> Vec<(usize, &'static str)> {
        let all = columns.iter().map(|c| c.key).enumerate();
        all.filter(|(_, key)| !matches!(*key, "pulse" | "spark" | "share" | "words" | "said")).collect()
    }
    match pane {
        Pane::Handshakes => named(&handshakes::COLUMNS),
        Pane::Connections if state.group.is_some() => named(&groups::COLUMNS),
        Pane::Connections => named(&connections::COLUMNS),
        Pane::Errors => match state.drill.view {
            View::By(By::Category) if state.drill.conditions.is_empty() => named(&errors::TABLES[0][0]),
            View::By(by) => named(error_names::columns(by)),
            View::Lines => named(error_lines::columns(state.drill.is_narrowed_by(By::Category))),
        },
        Pane::Findings => named(&findings::COLUMNS),
        Pane::Timeline => Vec::new(),
    }
}
