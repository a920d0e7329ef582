//! The order and the groups of the tunnels, worked out once for all frames that show the same: there may be a hundred thousand.

use std::cell::RefCell;
use std::sync::Arc;

use crate::report::filter::Filter;
use crate::report::sockets::{By, GroupRow, groups};

use super::panes::{connections, groups as group_pane};
use super::snapshot::tunnel::TunnelRow;
use super::table::order_by;

/// So many rows are put in order while the frame waits: fewer than a page of work, whatever is filtered.
const FEW: usize = 1_000;

/// How the tunnels are to be shown.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Which of them.
    pub filter: Option<Filter>,
    /// Added up by what.
    pub group: Option<By>,
    /// By which column, and whether the other way round.
    pub sort: Option<(usize, bool)>,
}

impl PartialEq for Wish {
    fn eq(&self, other: &Self) -> bool {
        let text = |w: &Self| w.filter.as_ref().map(|f| f.text.clone());
        (self.group, self.sort) == (other.group, other.sort) && text(self) == text(other)
    }
}

impl Wish {
    /// The tunnels that pass the filter, grouped or not, in order.
    #[must_use]
    pub fn answer(self, rows: Arc<Vec<TunnelRow>>) -> Answered {
        let answer = Arc::new(work_out(&rows, self.filter.as_ref(), self.group, self.sort));
        Answered { rows, wish: self, answer }
    }
}

/// An answer with everything that it depends on.
#[derive(Clone, Debug)]
pub struct Answered {
    rows: Arc<Vec<TunnelRow>>,
    wish: Wish,
    answer: Arc<Answer>,
}

impl Answered {
    /// It is what these rows look like.
    #[must_use]
    pub fn is_of(&self, rows: &Arc<Vec<TunnelRow>>) -> bool {
        // The rows are held, so that another set of rows cannot lie at the same place.
        Arc::ptr_eq(&self.rows, rows)
    }

    /// How they look.
    #[must_use]
    pub const fn answer(&self) -> &Arc<Answer> {
        &self.answer
    }

    /// Nobody else holds the answer: whoever drops this frees it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        Arc::strong_count(&self.answer) == 1
    }

    /// It answers this.
    #[must_use]
    pub fn answers(&self, wish: &Wish, rows: &Arc<Vec<TunnelRow>>) -> bool {
        self.is_of(rows) && self.wish == *wish
    }
}

/// What the pane shows.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The rows to be shown, by their place among the tunnels, or among the groups where there are any.
    pub order: Arc<Vec<usize>>,
    /// The groups.
    pub groups: Vec<GroupRow>,
    /// The ids of the groups with their places in `order`, sorted: to look through a hundred thousand groups takes longer than a frame.
    placed: Vec<(u64, usize)>,
    /// Nothing is known yet: it is being worked out.
    pub pending: bool,
}

impl Answer {
    /// In which place of `order` the group with this id is.
    #[must_use]
    pub fn place(&self, id: u64) -> Option<usize> {
        let at = self.placed.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.placed.get(at)?.1)
    }

    /// The group in this place of `order`.
    #[must_use]
    pub fn group(&self, place: usize) -> Option<&GroupRow> {
        self.groups.get(*self.order.get(place)?)
    }
}

/// What is kept: the latest answer, and what could not be answered at once.
#[derive(Clone, Debug, Default)]
pub struct Memo {
    kept: RefCell<Option<Answered>>,
    open: RefCell<Option<(Wish, Arc<Vec<TunnelRow>>)>>,
    elsewhere: bool,
}

impl Memo {
    /// From now on much work is done elsewhere: whoever draws asks for [`Self::open`] and brings the answer.
    pub fn leave_much(&mut self) {
        self.elsewhere = true;
    }

    /// What is to be worked out, if it is much.
    #[must_use]
    pub fn open(&self) -> Option<(Wish, Arc<Vec<TunnelRow>>)> {
        self.open.borrow_mut().take()
    }

    /// Takes an answer that was worked out elsewhere. Returns the one that was kept before: to free a hundred thousand groups takes
    /// longer than a frame.
    #[must_use]
    pub fn learn(&self, answered: Answered) -> Option<Answered> {
        self.kept.borrow_mut().replace(answered)
    }

    /// How these rows look as they are wished for. Where that is worked out elsewhere it is, until then, what they looked like before.
    #[must_use]
    pub fn answer(&self, rows: &Arc<Vec<TunnelRow>>, wish: Wish) -> Arc<Answer> {
        let mut kept = self.kept.borrow_mut();
        if let Some(k) = kept.as_ref().filter(|k| k.answers(&wish, rows)) {
            self.open.borrow_mut().take();
            return Arc::clone(&k.answer);
        }
        if self.elsewhere && rows.len() > FEW {
            let alike = kept.as_ref().filter(|k| k.is_of(rows) && k.wish.group == wish.group);
            let meanwhile = alike.map(|k| Arc::clone(&k.answer));
            *self.open.borrow_mut() = Some((wish, Arc::clone(rows)));
            return meanwhile.unwrap_or_else(|| Arc::new(Answer { pending: true, ..Answer::default() }));
        }
        let answered = wish.answer(Arc::clone(rows));
        let answer = Arc::clone(&answered.answer);
        *kept = Some(answered);
        answer
    }
}

fn work_out(rows: &[TunnelRow], filter: Option<&Filter>, group: Option<By>, sort: Option<(usize, bool)>) -> Answer {
    let passes = |row: &TunnelRow| filter.is_none_or(|f| f.passes(row));
    let Some(by) = group else {
        let order = order_by(rows, &connections::COLUMNS, passes, sort, |i| i);
        return Answer { order: Arc::new(order), ..Answer::default() };
    };
    let groups = groups(rows.iter().filter(|r| passes(r)), by);
    let order = order_by(&groups, &group_pane::COLUMNS, |_| true, sort, |i| i);
    let mut placed: Vec<(u64, usize)> = order.iter().enumerate().map(|(place, i)| (groups[*i].id, place)).collect();
    placed.sort_unstable();
    Answer { order: Arc::new(order), groups, placed, pending: false }
}
