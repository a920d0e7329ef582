//! The table: every scenario, by what it is about.

mod headers;
mod healthy;
mod limits;
mod reach;
mod routes;
mod tunnels;
mod upstream;

use super::row::Row;

/// All scenarios.
pub fn table() -> Vec<Row> {
    let parts: [fn() -> Vec<Row>; 7] =
        [headers::rows, routes::rows, upstream::rows, limits::rows, tunnels::rows, reach::rows, healthy::rows];
    parts.into_iter().flat_map(|part| part()).collect()
}
