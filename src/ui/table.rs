//! Tables: columns that leave by priority when room is short, numbers at the right, one line a row.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;

use crate::human;
use crate::report::filter::Kind;

use super::filter::{Filter, Shown};
pub use super::sort::Sort;
use super::text::{Look, cut_spans, nth_line, put, spans_width};
use super::theme::{self, Tone};

/// Blanks between columns.
const GAP: u16 = 2;
/// Blanks before the first column, where the sign of the selected row stands.
pub const MARGIN: u16 = 2;
/// A column grows in steps, so that it seldom does.
const STEP: u16 = 4;
/// Columns that leave first from here on are shown only where the others have all the room they want.
const EXTRA: u8 = 24;

/// Where a text that is too long loses its letters: never at the telling end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Sentences.
    End,
    /// Addresses.
    Middle,
    /// Paths.
    Front,
}

/// One column of a table of `R`s.
pub struct Column<R: 'static> {
    /// Its name in a filter and in the title.
    pub key: &'static str,
    /// Its head.
    pub title: &'static str,
    /// The least columns it needs.
    pub min: u16,
    /// The most it takes; `u16::MAX` takes whatever is left.
    pub max: u16,
    /// Numbers stand at the right.
    pub right: bool,
    /// Where a long text is cut.
    pub cut: Cut,
    /// 0 stays for ever; of the others the highest leaves first.
    pub leave: u8,
    /// It is not there until one of its cells says something.
    pub optional: bool,
    /// The cell in so many columns.
    pub cell: fn(&R, &Look, usize) -> Vec<Span<'static>>,
    /// What the row is sorted by.
    pub sort: fn(&R) -> Sort,
    /// How a filter compares its values.
    pub kind: Kind,
}

impl<R> Column<R> {
    /// A column of numbers.
    #[must_use]
    pub const fn number(
        key: &'static str,
        title: &'static str,
        width: u16,
        leave: u8,
        cell: fn(&R, &Look, usize) -> Vec<Span<'static>>,
        sort: fn(&R) -> Sort,
    ) -> Self {
        Self {
            key,
            title,
            min: width,
            max: width,
            right: true,
            cut: Cut::End,
            leave,
            optional: false,
            cell,
            sort,
            kind: Kind::Amount,
        }
    }

    /// A column of words.
    #[must_use]
    pub const fn words(
        key: &'static str,
        title: &'static str,
        width: (u16, u16),
        leave: u8,
        cell: fn(&R, &Look, usize) -> Vec<Span<'static>>,
        sort: fn(&R) -> Sort,
    ) -> Self {
        Self {
            key,
            title,
            min: width.0,
            max: width.1,
            right: false,
            cut: Cut::End,
            leave,
            optional: false,
            cell,
            sort,
            kind: Kind::Text,
        }
    }

    /// The same, whose values a filter compares in this way.
    #[must_use]
    pub const fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The same, absent until one of its cells says something.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// The same, with its newest at the right end.
    #[must_use]
    pub const fn at_right(mut self) -> Self {
        self.right = true;
        self
    }

    /// The same, cut elsewhere.
    #[must_use]
    pub const fn cut(mut self, cut: Cut) -> Self {
        self.cut = cut;
        self
    }
}

/// Which rows pass the filter, in the order to be shown. A row is sorted as its leader is, and stands after it.
#[must_use]
pub fn order<R>(
    rows: &[R],
    columns: &[Column<R>],
    filter: Option<&Filter>,
    sort: Option<(usize, bool)>,
    look: &Look,
    leader: impl Fn(usize) -> usize,
) -> Vec<usize> {
    let passes = |row: &R| filter.is_none_or(|f| f.passes(&Shown { columns, row, look }));
    order_by(rows, columns, passes, sort, leader)
}

/// The same with another filter.
#[must_use]
pub fn order_by<R>(
    rows: &[R],
    columns: &[Column<R>],
    passes: impl Fn(&R) -> bool,
    sort: Option<(usize, bool)>,
    leader: impl Fn(usize) -> usize,
) -> Vec<usize> {
    let passing = (0..rows.len()).filter(|i| passes(&rows[*i]));
    let Some((column, reverse)) = sort.and_then(|(c, r)| Some((columns.get(c)?, r))) else { return passing.collect() };
    let keys: Vec<Sort> = rows.iter().map(column.sort).collect();
    if keys.iter().all(|k| k.number(reverse).is_some()) {
        let key = |i: usize| keys.get(i).and_then(|k| k.number(reverse)).unwrap_or(u64::MAX);
        let mut packed: Vec<(u64, usize, usize)> = passing.map(|i| (key(leader(i)), leader(i), i)).collect();
        packed.sort_unstable();
        return packed.into_iter().map(|(_, _, i)| i).collect();
    }
    let mut order: Vec<usize> = passing.collect();
    order.sort_by(|a, b| {
        let (la, lb) = (leader(*a), leader(*b));
        keys[la].against(&keys[lb], reverse).then(la.cmp(&lb)).then(a.cmp(b))
    });
    order
}

/// How many columns each column gets; `None` for those that had to leave. `wanted` is what their content needs.
#[must_use]
pub fn widths<R>(columns: &[Column<R>], wanted: &[u16], width: u16) -> Vec<Option<u16>> {
    let absent = |i: usize, c: &Column<R>| c.optional && wanted.get(i).is_none_or(|w| *w == 0);
    let mut out: Vec<Option<u16>> = columns.iter().enumerate().map(|(i, c)| (!absent(i, c)).then_some(c.min)).collect();
    leave_extras(columns, wanted, &mut out, width);
    loop {
        let used: u16 = out.iter().flatten().map(|w| w.saturating_add(GAP)).sum::<u16>().saturating_sub(GAP);
        if used <= width {
            grow(columns, wanted, &mut out, width - used);
            return out;
        }
        let leaving = (0..columns.len()).filter(|i| out[*i].is_some() && columns[*i].leave > 0);
        match leaving.max_by_key(|i| columns[*i].leave) {
            Some(i) => out[i] = None,
            None => return out,
        }
    }
}

/// Takes out the extra columns for which there is no room beside all that the others want.
fn leave_extras<R>(columns: &[Column<R>], wanted: &[u16], out: &mut [Option<u16>], width: u16) {
    let wants = |i: usize| wanted.get(i).copied().unwrap_or(0).min(columns[i].max).max(columns[i].min);
    let mut extras: Vec<usize> = (0..columns.len()).filter(|i| columns[*i].leave >= EXTRA).collect();
    extras.sort_by_key(|i| columns[*i].leave);
    while let Some(last) = extras.pop() {
        let staying = (0..columns.len()).filter(|i| out[*i].is_some());
        if staying.map(|i| wants(i).saturating_add(GAP)).fold(0, u16::saturating_add) <= width.saturating_add(GAP) {
            return;
        }
        out[last] = None;
    }
}

/// Gives spare room column by column until each has what it wants, and the rest to one that takes everything.
fn grow<R>(columns: &[Column<R>], wanted: &[u16], out: &mut [Option<u16>], mut spare: u16) {
    for unbounded in [false, true] {
        for (i, c) in columns.iter().enumerate() {
            let Some(w) = out[i].as_mut() else { continue };
            let most =
                if unbounded && c.max == u16::MAX { u16::MAX } else { wanted.get(i).copied().unwrap_or(0).min(c.max) };
            let more = most.saturating_sub(*w).min(spare);
            *w += more;
            spare -= more;
        }
    }
}

/// A table ready to be drawn.
pub struct Grid<'a, R: 'static> {
    /// Its columns.
    pub columns: &'static [Column<R>],
    /// The rows to be seen, from the first one on the screen.
    pub rows: &'a [&'a R],
    /// Which of them is selected.
    pub selected: Option<usize>,
    /// The widest content seen in each column so far.
    pub wide: &'a mut Vec<u16>,
}

impl<R> Grid<'_, R> {
    /// Draws the head and as many rows as fit. Tells where the head of each column is.
    pub fn draw(self, buf: &mut Buffer, area: Rect, look: &Look) -> Vec<(usize, Rect)> {
        let inner = Rect { x: area.x + MARGIN.min(area.width), width: area.width.saturating_sub(MARGIN), ..area };
        let mut heads = Vec::new();
        if inner.is_empty() {
            return heads;
        }
        let seen = usize::from(area.height.saturating_sub(1));
        *self.wide = self.widen(look, seen);
        let widths = widths(self.columns, self.wide, inner.width);
        let mut x = inner.x;
        for (at, (column, w)) in self.columns.iter().zip(&widths).enumerate() {
            let Some(w) = *w else { continue };
            let strip = Rect { x, width: w.min(inner.right().saturating_sub(x)), ..inner };
            let title = vec![look.span(Tone::Faint, column.title)];
            put_cell(buf, nth_line(strip, 0), title, column.right);
            heads.push((at, nth_line(strip, 0)));
            for (i, row) in self.rows.iter().enumerate().take(seen) {
                let line = nth_line(strip, u16::try_from(i + 1).unwrap_or(u16::MAX));
                let spans = (column.cell)(row, look, usize::from(strip.width));
                put_cell(buf, line, cut(spans, usize::from(strip.width), column.cut), column.right);
            }
            x = x.saturating_add(w + GAP).min(inner.right());
        }
        if let Some(at) = self.selected.and_then(|s| u16::try_from(s).ok()) {
            mark(buf, nth_line(area, at.saturating_add(1)), look);
        }
        heads
    }

    /// Columns only grow: a table that breathes with every frame cannot be read.
    fn widen(&self, look: &Look, seen: usize) -> Vec<u16> {
        let mut wide = self.wide.clone();
        wide.resize(self.columns.len(), 0);
        for (w, c) in wide.iter_mut().zip(self.columns).filter(|(_, c)| grows(c)) {
            let cells = self.rows.iter().take(seen).map(|r| (c.cell)(r, look, usize::from(c.max)));
            let says = |spans: &Vec<Span<'_>>| {
                !c.optional || spans.iter().any(|s| !matches!(s.content.trim(), "" | theme::NONE))
            };
            let most = cells.filter(says).map(|spans| spans_width(&spans)).max().unwrap_or(0);
            let most = u16::try_from(most).unwrap_or(u16::MAX).min(c.max);
            *w = (*w).max(most.next_multiple_of(STEP).min(c.max));
        }
        wide
    }
}

const fn grows<R>(c: &Column<R>) -> bool {
    (c.max > c.min || c.optional) && c.max < u16::MAX
}

/// Lays the selected row's colour and sign over it.
pub fn mark(buf: &mut Buffer, line: Rect, look: &Look) {
    if line.is_empty() {
        return;
    }
    buf.set_style(line, look.theme.selected());
    put(buf, Rect { width: 1, ..line }, &[look.span(Tone::Accent, theme::SELECTED)]);
}

fn cut(spans: Vec<Span<'static>>, width: usize, how: Cut) -> Vec<Span<'static>> {
    if spans_width(&spans) <= width {
        return spans;
    }
    match (spans.as_slice(), how) {
        ([one], Cut::Middle) => vec![Span::styled(human::cut_middle(&one.content, width).into_owned(), one.style)],
        ([one], Cut::Front) => vec![Span::styled(human::cut_front(&one.content, width).into_owned(), one.style)],
        _ => cut_spans(&spans, width),
    }
}

fn put_cell(buf: &mut Buffer, area: Rect, spans: Vec<Span<'static>>, right: bool) {
    let spans = cut(spans, usize::from(area.width), Cut::End);
    let used = u16::try_from(spans_width(&spans)).unwrap_or(u16::MAX).min(area.width);
    let x = if right { area.right() - used } else { area.x };
    put(buf, Rect { x, width: used, ..area }, &spans);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    struct Row(&'static str, Option<u32>);

    fn look() -> Look {
        Look { theme: *theme::Theme::mono(), utc: true, now: Timestamp::default() }
    }

    static COLUMNS: [Column<Row>; 3] = [
        Column::<Row>::words(
            "path",
            "PATH",
            (4, 12),
            0,
            |r, l, _| vec![l.span(Tone::Plain, r.0)],
            |r| Sort::Text(r.0.into()),
        )
        .cut(Cut::Front),
        Column::number(
            "n",
            "N",
            4,
            1,
            |r, l, _| vec![l.span(Tone::Plain, r.1.map_or("·".to_owned(), |n| n.to_string()))],
            |r| Sort::of(r.1.map(f64::from)),
        ),
        Column::<Row>::words(
            "more",
            "MORE",
            (3, u16::MAX),
            2,
            |_, l, _| vec![l.span(Tone::Plain, "abc")],
            |_| Sort::Unknown,
        ),
    ];

    static SELDOM: [Column<Row>; 2] = [
        Column::<Row>::words("path", "PATH", (4, 4), 0, |r, l, _| vec![l.span(Tone::Plain, r.0)], |_| Sort::Unknown),
        Column::<Row>::number(
            "n",
            "N",
            4,
            1,
            |r, l, _| vec![l.span(Tone::Plain, r.1.map_or("·".to_owned(), |n| n.to_string()))],
            |_| Sort::Unknown,
        )
        .optional(),
    ];

    #[test]
    fn a_column_without_anything_to_say_is_not_there_and_stays_once_it_was() {
        let mut wide = Vec::new();
        let mut heads = Vec::new();
        for n in [None, Some(7), None] {
            let mut buf = Buffer::empty(Rect::new(0, 0, 20, 2));
            let area = buf.area;
            let row = Row("/ws", n);
            Grid { columns: &SELDOM, rows: &[&row], selected: None, wide: &mut wide }.draw(&mut buf, area, &look());
            heads.push((0..20).map(|x| buf[(x, 0)].symbol()).collect::<String>().trim_end().to_owned());
        }
        assert_eq!(heads, ["  PATH", "  PATH     N", "  PATH     N"]);
    }

    fn drawn(width: u16, rows: &[&Row]) -> Vec<String> {
        let mut buf = Buffer::empty(Rect::new(0, 0, width, 3));
        let area = buf.area;
        Grid { columns: &COLUMNS, rows, selected: Some(1), wide: &mut Vec::new() }.draw(&mut buf, area, &look());
        let line = |y| (0..width).map(|x| buf[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..3).map(line).collect()
    }

    #[test]
    fn columns_leave_by_priority_and_numbers_stand_at_the_right() {
        let rows = [Row("/etc/nginx", Some(7)), Row("/ws", None)];
        let rows: Vec<&Row> = rows.iter().collect();
        assert_eq!(
            drawn(40, &rows),
            ["  PATH             N  MORE", "  /etc/nginx       7  abc", "› /ws              ·  abc"]
        );
        assert_eq!(drawn(15, &rows), ["  PATH        N", "  …/nginx     7", "› /ws         ·"]);
        assert_eq!(drawn(8, &rows), ["  PATH", "  …nginx", "› /ws"]);
        for width in 0..8 {
            drawn(width, &rows);
        }
    }

    #[test]
    fn what_is_unknown_stands_last_whichever_way_it_is_sorted() {
        let rows = [Row("a", None), Row("b", Some(2)), Row("c", Some(1)), Row("d", Some(9))];
        let by = |reverse| order(&rows, &COLUMNS, None, Some((1, reverse)), &look(), |i| i);
        assert_eq!(by(false), [2, 1, 3, 0]);
        assert_eq!(by(true), [3, 1, 2, 0]);
        // Row 3 belongs to row 2 and follows it.
        let led = order(&rows, &COLUMNS, None, Some((1, false)), &look(), |i| if i == 3 { 2 } else { i });
        assert_eq!(led, [2, 3, 1, 0]);
    }

    #[test]
    fn only_rows_on_the_screen_are_built() {
        static BUILT: AtomicUsize = AtomicUsize::new(0);
        static COUNTED: [Column<Row>; 1] = [Column::<Row>::words(
            "path",
            "PATH",
            (4, 12),
            0,
            |r, l, _| {
                BUILT.fetch_add(1, Relaxed);
                vec![l.span(Tone::Plain, r.0)]
            },
            |_| Sort::Unknown,
        )];
        let row = Row("/ws", None);
        let rows: Vec<&Row> = std::iter::repeat_n(&row, 10).collect();
        let mut buf = Buffer::empty(Rect::new(0, 0, 40, 4));
        let area = buf.area;
        Grid { columns: &COUNTED, rows: &rows, selected: None, wide: &mut Vec::new() }.draw(&mut buf, area, &look());
        // Once to see how wide, once to draw; and of those below the edge not even that.
        assert_eq!(BUILT.load(Relaxed), 3 + 3);
    }

    #[test]
    fn columns_that_are_extra_leave_before_others_are_cut() {
        let column =
            |key, leave| Column::<Row>::words(key, key, (4, 12), leave, |_, _, _| Vec::new(), |_| Sort::Unknown);
        let columns = [column("a", 0), column("b", EXTRA), column("c", EXTRA + 1)];
        assert_eq!(widths(&columns, &[12, 4, 4], 24), [Some(12), Some(4), Some(4)]);
        assert_eq!(widths(&columns, &[12, 4, 4], 23), [Some(12), Some(4), None]);
        assert_eq!(widths(&columns, &[12, 4, 4], 17), [Some(12), None, None]);
    }

    #[test]
    fn columns_grow_and_never_shrink() {
        let mut wide = Vec::new();
        let mut buf = Buffer::empty(Rect::new(0, 0, 60, 3));
        let area = buf.area;
        for path in ["/a/long/path", "/"] {
            let row = Row(path, None);
            Grid { columns: &COLUMNS, rows: &[&row], selected: None, wide: &mut wide }.draw(&mut buf, area, &look());
            assert_eq!(wide[0], 12);
        }
    }
}
