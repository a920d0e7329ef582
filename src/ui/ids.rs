//! The ids of a pane's rows in the order shown, read only where they are asked for: there may be a hundred thousand.

/// The ids.
pub struct Ids<'a> {
    len: usize,
    id: Box<dyn Fn(usize) -> Option<u64> + 'a>,
    place: Box<dyn Fn(u64) -> Option<usize> + 'a>,
}

impl<'a> Ids<'a> {
    /// Of so many rows; `id` tells which row is shown in a place, and `place` where an id is shown.
    #[must_use]
    pub fn new(len: usize, id: impl Fn(usize) -> Option<u64> + 'a, place: impl Fn(u64) -> Option<usize> + 'a) -> Self {
        Self { len, id: Box::new(id), place: Box::new(place) }
    }

    /// Of few rows.
    #[must_use]
    pub fn of(ids: Vec<u64>) -> Ids<'static> {
        let again = ids.clone();
        Ids::new(ids.len(), move |at| ids.get(at).copied(), move |id| again.iter().position(|i| *i == id))
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// There are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The id that is shown in this place.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<u64> {
        (self.id)(at)
    }

    /// The place of an id, looked for first where it was before.
    #[must_use]
    pub fn place(&self, id: u64, before: usize) -> Option<usize> {
        if self.get(before) == Some(id) { Some(before) } else { (self.place)(id) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_where_it_was_without_a_search_and_elsewhere_by_one() {
        let ids = Ids::new(3, |at| [7, 8, 9].get(at).copied(), |id| (id == 9).then_some(2));
        assert_eq!((ids.place(8, 1), ids.place(9, 0), ids.place(7, 1)), (Some(1), Some(2), None));
        assert_eq!((ids.len(), ids.get(3), ids.is_empty()), (3, None, false));
        let few = Ids::of(vec![4, 5]);
        assert_eq!((few.place(5, 0), few.place(6, 0), few.get(0)), (Some(1), None, Some(4)));
    }
}
