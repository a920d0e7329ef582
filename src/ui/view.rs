//! Which rows of a pane are shown, in which order: asked by drawing and by the keys alike.

use crate::model::errors::kept::By;

use super::drill::View;
use super::narrow::{self, Rows};
use super::pane::Pane;
use super::panes::{connections, error_lines, error_names, errors, findings, handshakes};
use super::snapshot::Snapshot;
use super::state::ScreenState;
use super::table::{Column, order};

/// The rows of a pane that pass its filter, by their place in the snapshot; below the categories of the
/// Errors pane by their place in [`narrow::rows`].
#[must_use]
pub fn shown(snap: &Snapshot, state: &ScreenState, pane: Pane) -> Vec<usize> {
    let choice = state.pane(pane);
    let (filter, sort) = (choice.filter.as_ref(), choice.sort.map(|c| (c, choice.reverse)));
    let look = state.look(snap.now);
    match pane {
        Pane::Handshakes => {
            let rows = &snap.endpoints;
            // A twin stays with the endpoint above it.
            let leader = |i: usize| (0..=i).rev().find(|j| !rows[*j].is_twin()).unwrap_or(i);
            order(rows, &handshakes::COLUMNS, filter, sort, &look, leader)
        }
        Pane::Connections => order(&snap.tunnels, &connections::COLUMNS, filter, sort, &look, |i| i),
        Pane::Errors => match narrow::rows(snap, state) {
            Rows::Categories(order) => order,
            rows => (0..rows.len()).collect(),
        },
        Pane::Findings => order(&snap.findings, &findings::COLUMNS, filter, sort, &look, |i| i),
        Pane::Timeline => Vec::new(),
    }
}

/// The ids of [`shown`].
#[must_use]
pub fn ids(snap: &Snapshot, state: &ScreenState, pane: Pane) -> Vec<u64> {
    if pane == Pane::Errors {
        return narrow::ids(snap, &narrow::rows(snap, state));
    }
    let id = |i: usize| match pane {
        Pane::Handshakes => snap.endpoints.get(i).map(|r| r.id),
        Pane::Connections => snap.tunnels.get(i).map(|r| r.id),
        Pane::Findings => snap.findings.get(i).map(|r| r.id),
        Pane::Errors | Pane::Timeline => None,
    };
    shown(snap, state, pane).into_iter().filter_map(id).collect()
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
