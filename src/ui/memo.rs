//! The order and the groups of the tunnels, worked out once for all frames that show the same: there may be a hundred thousand.

use std::cell::RefCell;
use std::sync::Arc;

use crate::report::filter::Filter;
use crate::report::sockets::{By, GroupRow, groups};

use super::panes::{connections, groups as group_pane};
use super::snapshot::tunnel::TunnelRow;
use super::table::order_by;

/// What is kept.
#[derive(Clone, Debug, Default)]
pub struct Memo(RefCell<Option<(Asked, Arc<Answer>)>>);

/// Everything that the answer depends on.
#[derive(Clone, Debug)]
struct Asked {
    rows: Arc<Vec<TunnelRow>>,
    filter: Option<String>,
    group: Option<By>,
    sort: Option<(usize, bool)>,
}

impl PartialEq for Asked {
    fn eq(&self, other: &Self) -> bool {
        // The rows are held, so that another set of rows cannot lie at the same place.
        Arc::ptr_eq(&self.rows, &other.rows)
            && (&self.filter, self.group, self.sort) == (&other.filter, other.group, other.sort)
    }
}

/// What the pane shows.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The rows to be shown, by their place among the tunnels, or among the groups where there are any.
    pub order: Arc<Vec<usize>>,
    /// The groups.
    pub groups: Vec<GroupRow>,
}

impl Memo {
    /// The tunnels that pass the filter, grouped or not, in order.
    #[must_use]
    pub fn answer(
        &self,
        rows: &Arc<Vec<TunnelRow>>,
        filter: Option<&Filter>,
        group: Option<By>,
        sort: Option<(usize, bool)>,
    ) -> Arc<Answer> {
        let asked = Asked { rows: Arc::clone(rows), filter: filter.map(|f| f.text.clone()), group, sort };
        let mut kept = self.0.borrow_mut();
        match &*kept {
            Some((before, answer)) if *before == asked => Arc::clone(answer),
            _ => {
                let answer = Arc::new(work_out(rows, filter, group, sort));
                *kept = Some((asked, Arc::clone(&answer)));
                answer
            }
        }
    }
}

fn work_out(rows: &[TunnelRow], filter: Option<&Filter>, group: Option<By>, sort: Option<(usize, bool)>) -> Answer {
    let passes = |row: &TunnelRow| filter.is_none_or(|f| f.passes(row));
    let Some(by) = group else {
        let order = order_by(rows, &connections::COLUMNS, passes, sort, |i| i);
        return Answer { order: Arc::new(order), groups: Vec::new() };
    };
    let groups = groups(rows.iter().filter(|r| passes(r)), by);
    let order = order_by(&groups, &group_pane::COLUMNS, |_| true, sort, |i| i);
    Answer { order: Arc::new(order), groups }
}
