//! A table as lines of text: numbers at the right, columns that leave by priority where the room is known and short.

use super::super::safe;
use super::super::text::{Ink, Page};
use crate::human;

/// Blanks between columns.
const GAP: usize = 2;
/// The sign of the unknown.
const NONE: &str = "·";

/// Where a long cell loses its letters.
#[derive(Clone, Copy)]
pub(super) enum Cut {
    /// Nowhere: the column leaves instead.
    Never,
    /// Addresses, down to so many columns.
    Middle(usize),
    /// Paths, down to so many columns.
    Front(usize),
}

/// One column of a table of `R`s.
pub(super) struct Column<R> {
    /// Its head.
    pub title: &'static str,
    /// Numbers stand at the right.
    pub right: bool,
    /// 0 stays for ever; of the others the highest leaves first.
    pub leave: u8,
    /// How it gives way.
    pub cut: Cut,
    /// The cell; `None` is unknown.
    pub cell: fn(&R) -> Option<String>,
    /// The cell's colour.
    pub ink: fn(&R) -> Option<Ink>,
    /// It is never narrower, so that columns do not jump from table to table.
    pub room: usize,
}

impl<R> Column<R> {
    /// Numbers.
    pub(super) const fn number(title: &'static str, leave: u8, cell: fn(&R) -> Option<String>) -> Self {
        Self { title, right: true, leave, cut: Cut::Never, cell, ink: |_| None, room: 0 }
    }

    /// Words.
    pub(super) const fn words(title: &'static str, leave: u8, cut: Cut, cell: fn(&R) -> Option<String>) -> Self {
        Self { title, right: false, leave, cut, cell, ink: |_| None, room: 0 }
    }

    /// The same in colour.
    pub(super) const fn ink(mut self, ink: fn(&R) -> Option<Ink>) -> Self {
        self.ink = ink;
        self
    }

    /// The same, never narrower than this.
    pub(super) const fn at_least(mut self, room: usize) -> Self {
        self.room = room;
        self
    }

    /// The least room for content that wants `natural`.
    fn least(&self, natural: usize) -> usize {
        match self.cut {
            Cut::Never => natural,
            Cut::Middle(least) | Cut::Front(least) => natural.min(least.max(human::width(self.title))),
        }
    }

    fn fitted(&self, text: &str, width: usize) -> String {
        match self.cut {
            Cut::Middle(_) => human::cut_middle(text, width).into_owned(),
            Cut::Front(_) => human::cut_front(text, width).into_owned(),
            Cut::Never => text.to_owned(),
        }
    }
}

/// Writes the head and the rows, one line each. Without a `width` every column is as wide as its content.
pub(super) fn put<R>(page: &mut Page, columns: &[Column<R>], rows: &[R], width: Option<usize>) {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|r| columns.iter().map(|c| safe::line(&(c.cell)(r).unwrap_or_else(|| NONE.to_owned()))).collect())
        .collect();
    let widths = widths(columns, &natural(columns, &cells), width);
    let titles: Vec<String> = columns.iter().map(|c| c.title.to_owned()).collect();
    let line = line(page, columns, &titles, &widths, |_| Some(Ink::Dim));
    page.line(&line);
    for (row, cells) in rows.iter().zip(&cells) {
        let line = self::line(page, columns, cells, &widths, |c| (c.ink)(row));
        page.line(&line);
    }
}

fn natural<R>(columns: &[Column<R>], cells: &[Vec<String>]) -> Vec<usize> {
    let widest = |i: usize, c: &Column<R>| {
        cells.iter().map(|r| human::width(&r[i])).fold(human::width(c.title).max(c.room), usize::max)
    };
    columns.iter().enumerate().map(|(i, c)| widest(i, c)).collect()
}

/// How wide each column is; `None` for those that had to leave.
fn widths<R>(columns: &[Column<R>], natural: &[usize], width: Option<usize>) -> Vec<Option<usize>> {
    let Some(width) = width else { return natural.iter().copied().map(Some).collect() };
    let mut out: Vec<Option<usize>> = columns.iter().zip(natural).map(|(c, n)| Some(c.least(*n))).collect();
    let used = |out: &[Option<usize>]| 1 + out.iter().flatten().map(|w| w + GAP).sum::<usize>().saturating_sub(GAP);
    while used(&out) > width {
        let leaving = (0..columns.len()).filter(|i| out[*i].is_some() && columns[*i].leave > 0);
        let Some(i) = leaving.max_by_key(|i| columns[*i].leave) else { break };
        out[i] = None;
    }
    let mut spare = width.saturating_sub(used(&out));
    for (w, natural) in out.iter_mut().zip(natural) {
        let Some(w) = w else { continue };
        let more = natural.saturating_sub(*w).min(spare);
        *w += more;
        spare -= more;
    }
    out
}

fn line<R>(
    page: &Page,
    columns: &[Column<R>],
    cells: &[String],
    widths: &[Option<usize>],
    ink: impl Fn(&Column<R>) -> Option<Ink>,
) -> String {
    let mut out = String::new();
    for ((column, cell), width) in columns.iter().zip(cells).zip(widths) {
        let Some(width) = *width else { continue };
        let text = column.fitted(cell, width);
        let pad = " ".repeat(width.saturating_sub(human::width(&text)));
        let text = ink(column).map_or_else(|| text.clone(), |ink| page.ink(ink, &text));
        out.push_str(if out.is_empty() { " " } else { "  " });
        out.push_str(&if column.right { pad + &text } else { text + &pad });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> [Column<(&'static str, Option<u32>)>; 3] {
        [
            Column::words("CLIENT", 0, Cut::Middle(9), |r: &(&str, Option<u32>)| Some(r.0.to_owned())),
            Column::number("N", 2, |r| r.1.map(|n| n.to_string())),
            Column::number("TWICE", 1, |r| r.1.map(|n| (2 * n).to_string())),
        ]
    }

    fn drawn(width: Option<usize>) -> Vec<String> {
        let mut page = Page::new(false);
        put(&mut page, &columns(), &[("2001:db8::7f:52114", Some(7)), ("\x1b[2J", None)], width);
        page.done().lines().map(str::to_owned).collect()
    }

    #[test]
    fn without_a_width_nothing_is_cut() {
        assert_eq!(
            drawn(None),
            [" CLIENT              N  TWICE", " 2001:db8::7f:52114  7     14", " \\x1b[2J             ·      ·",]
        );
    }

    #[test]
    fn short_of_room_cells_are_cut_and_columns_leave() {
        assert_eq!(drawn(Some(24))[1], " 2001:d…:52114  7     14");
        assert_eq!(drawn(Some(17))[1], " 2001…2114     14");
        assert_eq!(drawn(Some(8))[1], " 2001…2114");
        for width in 0..40 {
            assert!(drawn(Some(width)).iter().all(|l| human::width(l) <= width.max(10)), "{width}");
        }
    }
}
