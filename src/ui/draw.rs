//! One frame.

mod empty;
mod error_levels;
mod footer;
mod layer;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;

use crate::human;

use super::happenings;
use super::ids::Ids;
use super::layout::{self, Size};
use super::pane::Pane;
use super::panes::{connections, errors, findings, groups, handshakes, header, strips, timeline};
use super::popup;
use super::snapshot::Snapshot;
use super::state::{Popup, ScreenState, Spot, Target};
use super::table::{Column, Grid};
use super::text::{Look, Seg, hide_addresses, nth_line, put, put_ends, put_line, put_rule, spans_width};
use super::theme::{self, Tone};
use super::view;

/// Rows of the timeline with its title, by the rows of the terminal; more when it is alone.
const TIMELINE: [(u16, u16); 4] = [(56, 10), (44, 8), (36, 6), (0, 4)];
/// Rows that the details of a moment need below the timeline.
const DETAILS: u16 = 8;
/// Lines of what is said where no endpoint is known, on the narrowest screen with all panes.
const GUIDE: usize = 6;
/// Rows of a terminal on which the depths of the errors are shown beside other panes.
const DEEP: u16 = 36;

/// Draws `snap` into `area` as `state` wants it. Only scroll positions and what was seen where change in `state`.
pub fn draw(frame: &mut Frame<'_>, area: Rect, snap: &Snapshot, state: &mut ScreenState) {
    let buf = frame.buffer_mut();
    let area = area.intersection(buf.area);
    if state.size != (area.width, area.height) {
        state.size = (area.width, area.height);
        state.panes.iter_mut().chain([&mut state.grouped]).for_each(|p| p.wide.clear());
        state.layer.forget();
    }
    state.spots.clear();
    state.strip = None;
    let look = state.look(snap.now);
    match layout::size(area) {
        Size::Line => one_line(buf, area, snap, state.frozen, &look),
        Size::Tabs => framed(buf, area, snap, state, &look, tabs),
        Size::Full if is_alone(state) => framed(buf, area, snap, state, &look, tabs),
        Size::Full => framed(buf, area, snap, state, &look, all_panes),
    }
    if state.redacted {
        hide_addresses(buf, area);
    }
    if state.ascii {
        theme::to_ascii(buf, area);
    }
}

/// The focused pane has the whole body: there is room for no other, it was asked for, or it shows its depths.
fn is_alone(state: &ScreenState) -> bool {
    let cramped = state.is_deep() && state.size.1 < DEEP;
    layout::size(screen(state)) != Size::Full || state.zoomed || cramped
}

fn one_line(buf: &mut Buffer, area: Rect, snap: &Snapshot, frozen: bool, look: &Look) {
    let (sign, tone, word) = header::verdict(snap.verdict);
    let said = Seg::new(vec![look.span(Tone::Plain, snap.summary.clone())]).squeezes(1, 0);
    let left = vec![Seg::new(vec![look.span(tone, format!("{sign} {word}"))]), said];
    put_ends(buf, nth_line(area, 0), left, vec![Seg::new(vec![header::moment(snap, frozen, look)])]);
}

type Body = fn(&mut Buffer, Rect, &Snapshot, &mut ScreenState, &Look);

/// Header, body, key line, and a layer over the body.
fn framed(buf: &mut Buffer, area: Rect, snap: &Snapshot, state: &mut ScreenState, look: &Look, body: Body) {
    let mut rest = area;
    header::draw_place(buf, inset(layout::take(&mut rest, 1)), snap, state.frozen, look);
    header::draw_verdict(buf, inset(layout::take(&mut rest, 1)), snap, look);
    put_rule(buf, layout::take(&mut rest, 1), theme::RULE, look);
    let hints = footer::draw(buf, inset(layout::take_bottom(&mut rest, 1)), snap, state, look);
    if area.height >= 16 || state.editing.is_some() {
        let line = layout::take_bottom(&mut rest, 1);
        put_rule(buf, line, theme::RULE, look);
        footer::draw_hint(buf, inset(line), state, look);
    }
    body(buf, rest, snap, state, look);
    if state.popup.is_none() {
        state.layer.forget();
    }
    let above = Rect { height: area.height.saturating_sub(1), ..area };
    layer::draw(buf, above, rest, snap, state, look);
    state.spots.extend(hints);
}

fn inset(area: Rect) -> Rect {
    Rect { x: area.x + 1.min(area.width), width: area.width.saturating_sub(2), ..area }
}

/// ```text
/// Handshakes          │ Findings
/// ───────────────────────────────
/// Connections
/// ───────────────────────────────
/// Errors
/// ───────────────────────────────
/// Timeline
/// ```
fn all_panes(buf: &mut Buffer, area: Rect, snap: &Snapshot, state: &mut ScreenState, look: &Look) {
    let right = area.width.saturating_sub(113).clamp(36, 60);
    let rows = |n: usize, extra: u16| u16::try_from(n).unwrap_or(u16::MAX).saturating_add(extra);
    let mut rest = area;
    let most = TIMELINE.iter().find(|(height, _)| state.size.1 >= *height).map_or(4, |(_, rows)| *rows);
    let past = layout::take_bottom(&mut rest, rows(strips::wanted(&snap.past), 1).clamp(4, most));
    put_rule(buf, layout::take_bottom(&mut rest, 1), theme::RULE, look);
    let endpoints = if snap.guide(Pane::Handshakes).is_some() { GUIDE } else { snap.endpoints.len() };
    let top = rows(endpoints, 2).max(findings::wanted(&snap.findings, right).saturating_add(1));
    let wants = [top.min(rest.height / 2), rows(snap.tunnels.rows.len(), 2), rows(snap.errors.len().max(1), 2)];
    let room = rest.height.saturating_sub(2);
    // Whoever looks into the errors wants to read them: the others keep their least, and share what is left.
    let deep = if state.is_deep() { error_levels::wanted(snap, state) } else { 4 };
    let [top, middle, _] = layout::share(room, [5, 5, deep.min(room.saturating_sub(10).max(4))], wants, 1);
    // Rows that no tunnel needs go to what else the findings have to say.
    let whole = findings::whole(&snap.findings, right).saturating_add(1).min(rest.height / 2);
    let gift = middle.saturating_sub(wants[1].max(5)).min(whole.saturating_sub(top));
    let (top, middle) = (top + gift, middle - gift);
    let upper = layout::take(&mut rest, top);
    put_rule(buf, layout::take(&mut rest, 1), theme::RULE, look);
    let mid = layout::take(&mut rest, middle);
    put_rule(buf, layout::take(&mut rest, 1), theme::RULE, look);
    let left = Rect { width: upper.width - right, ..upper };
    let side = Rect { x: upper.x + left.width, width: right, ..upper };
    for y in 0..side.height {
        put(buf, Rect { width: 1, ..nth_line(side, y) }, &[look.span(Tone::Rule, theme::UPRIGHT)]);
    }
    pane(buf, left, Pane::Handshakes, snap, state, look);
    pane(buf, Rect { x: side.x + 1, width: side.width - 1, ..side }, Pane::Findings, snap, state, look);
    pane(buf, mid, Pane::Connections, snap, state, look);
    pane(buf, rest, Pane::Errors, snap, state, look);
    pane(buf, past, Pane::Timeline, snap, state, look);
}

/// One pane under a line of tabs, and a strip about the others where there is room.
fn tabs(buf: &mut Buffer, area: Rect, snap: &Snapshot, state: &mut ScreenState, look: &Look) {
    let mut rest = area;
    tab_line(buf, layout::take(&mut rest, 1), snap, state, look);
    if rest.height >= 14 && !state.zoomed {
        let with_past = state.focus != Pane::Timeline;
        let strip = layout::take_bottom(&mut rest, if with_past { 5 } else { 2 });
        put_rule(buf, layout::take_bottom(&mut rest, 1), theme::RULE, look);
        draw_strip(buf, strip, snap, with_past, state, look);
    }
    pane(buf, rest, state.focus, snap, state, look);
}

/// The tabs in the longest form that fits: with counts, with names, with short names, and those of the others by number.
fn tab_line(buf: &mut Buffer, line: Rect, snap: &Snapshot, state: &mut ScreenState, look: &Look) {
    let room = usize::from(line.width);
    let forms = [(2, true, 3), (2, false, 3), (2, false, 2), (1, false, 1), (1, false, 0), (0, false, 1)];
    let mut all = Vec::new();
    for (names, counts, gap) in forms {
        all = tab_spans(names, counts, gap, snap, state, look);
        if all.iter().map(|tab| spans_width(tab)).sum::<usize>() <= room {
            break;
        }
    }
    let mut rest = line;
    for (pane, tab) in Pane::ALL.into_iter().zip(all) {
        put(buf, rest, &tab);
        let width = u16::try_from(spans_width(&tab)).unwrap_or(u16::MAX).min(rest.width);
        state.spots.push(Spot { area: Rect { width, ..rest }, what: Target::Pane(pane) });
        rest = Rect { x: rest.x + width, width: rest.width - width, ..rest };
    }
}

/// `names`: 2 in full, 1 the others' short, 0 only the focused one's, and short.
fn tab_spans(
    names: u8,
    counts: bool,
    gap: usize,
    snap: &Snapshot,
    state: &ScreenState,
    look: &Look,
) -> Vec<Vec<Span<'static>>> {
    let tab = |pane: Pane| {
        let mut spans = Vec::new();
        let focused = pane == state.focus;
        let n = match pane {
            _ if !counts => 0,
            Pane::Handshakes | Pane::Timeline => 0,
            Pane::Connections => snap.tunnels.living as u64,
            Pane::Errors => snap.error_total,
            Pane::Findings => snap.findings.iter().filter(|r| r.over.is_none()).count() as u64,
        };
        let name = match names {
            2 => pane.title(),
            1 if focused && gap > 0 => pane.title(),
            1 => pane.short_title(),
            _ if focused => pane.short_title(),
            _ => "",
        };
        if pane != Pane::ALL[0] {
            spans.push(look.span(Tone::Plain, " ".repeat(gap)));
        }
        spans.push(look.span(Tone::Accent, if focused { theme::FOCUS } else { " " }));
        spans.push(look.span(Tone::Accent, pane.digit()));
        let tone = if focused { Tone::Strong } else { Tone::Muted };
        spans.push(look.span(tone, if name.is_empty() { String::new() } else { format!(" {name}") }));
        spans.push(look.span(Tone::Muted, if n > 0 { format!(" {}", human::scaled(n)) } else { String::new() }));
        spans
    };
    Pane::ALL.into_iter().map(tab).collect()
}

fn draw_strip(buf: &mut Buffer, area: Rect, snap: &Snapshot, with_past: bool, state: &mut ScreenState, look: &Look) {
    let mut rest = area;
    if with_past {
        state.strip = timeline::draw(buf, layout::take(&mut rest, 3), snap, state.span, false, look);
    }
    let muted = |s: String| Seg::new(vec![look.span(Tone::Muted, s)]);
    let mut facts = connections::facts(snap, look);
    let next = snap.tunnels.next_cut(snap.now);
    facts.extend(next.map(|d| muted(format!("next cut {}", human::span_short(d))).leaves(2)));
    facts.extend(connections::headroom(snap, look));
    put_ends(buf, margin(nth_line(rest, 0)), facts, Vec::new());
    let mut worst: Vec<_> = snap.errors.iter().collect();
    worst.sort_by_key(|e| (e.light, std::cmp::Reverse(e.total)));
    let said = worst.iter().enumerate().map(|(i, e)| {
        let spans = vec![
            look.span(e.light.tone(), format!("{} ", e.light.sign())),
            look.span(Tone::Muted, format!("{} {}", e.name, human::scaled(e.total))),
        ];
        Seg::new(spans).leaves(u8::try_from(i).unwrap_or(u8::MAX).max(1))
    });
    put_ends(buf, margin(nth_line(rest, 1)), said.collect(), Vec::new());
}

fn margin(area: Rect) -> Rect {
    Rect { x: area.x + 2.min(area.width), width: area.width.saturating_sub(3), ..area }
}

fn screen(state: &ScreenState) -> Rect {
    Rect::new(0, 0, state.size.0, state.size.1)
}

/// A pane: its title, then its rows.
fn pane(buf: &mut Buffer, area: Rect, pane: Pane, snap: &Snapshot, state: &mut ScreenState, look: &Look) {
    if area.is_empty() {
        return;
    }
    if pane == Pane::Errors && state.drill.is_deep() {
        error_levels::draw(buf, area, snap, state, look);
        return;
    }
    state.spots.push(Spot { area, what: Target::Pane(pane) });
    let order = view::shown(snap, state, pane);
    let tabbed = is_alone(state);
    // Where there is little room the tab alone is the title.
    let titled = u16::from(!tabbed || state.size.1 >= 16);
    let body = Rect { y: area.y + titled, height: area.height - titled, width: area.width.saturating_sub(1), ..area };
    let pending = pane == Pane::Connections && view::tunnels(snap, state).pending;
    if pane == Pane::Timeline {
        past(buf, body, snap, state, titled == 1, look);
    } else if order.is_empty() && !pending {
        empty::draw(buf, body, pane, snap, state, look);
    } else {
        rows(buf, body, pane, &order, snap, state, look);
    }
    if titled == 1 {
        title(buf, area, pane, order.len(), snap, state, look, tabbed);
    }
}

/// The rows of a pane that has some.
fn rows(
    buf: &mut Buffer,
    area: Rect,
    pane: Pane,
    order: &[usize],
    snap: &Snapshot,
    state: &mut ScreenState,
    look: &Look,
) {
    let ids = &view::ids(snap, state, pane);
    match pane {
        Pane::Handshakes => {
            let content = Content { columns: &handshakes::COLUMNS, rows: &snap.endpoints, order, ids };
            table(buf, area, pane, &content, state, look);
        }
        Pane::Connections if state.group.is_some() => {
            let tunnels = view::tunnels(snap, state);
            let content = Content { columns: &groups::COLUMNS, rows: &tunnels.groups, order, ids };
            table(buf, area, pane, &content, state, look);
        }
        Pane::Connections => {
            let content = Content { columns: &connections::COLUMNS, rows: &snap.tunnels.rows, order, ids };
            table(buf, area, pane, &content, state, look);
        }
        Pane::Errors => {
            let columns = errors::table(area.width, snap.past.age);
            table(buf, area, pane, &Content { columns, rows: &snap.errors, order, ids }, state, look);
        }
        Pane::Findings => list(buf, area, order, ids, snap, state, look),
        Pane::Timeline => {}
    }
}

/// `4/25 rows`: how far the pane shows its rows, where it does not show them all.
fn place(offset: usize, page: usize, all: usize) -> Option<String> {
    let all_said = human::grouped(all as u64);
    let digits = all_said.len();
    (page < all).then(|| format!("{:>digits$}/{all_said} rows", human::grouped((offset + page).min(all) as u64)))
}

/// The timeline, and below it what its details say, where there is room for that.
fn past(buf: &mut Buffer, area: Rect, snap: &Snapshot, state: &mut ScreenState, titled: bool, look: &Look) {
    let narrowed = state.filter(Pane::Timeline).map(|f| snap.with_past(happenings::narrowed(&snap.past, f)));
    let snap = narrowed.as_ref().unwrap_or(snap);
    let rows = strips::rows(&snap.past, area.width, usize::from(area.height)).0.len();
    let mut rest = area;
    let strip = layout::take(&mut rest, u16::try_from(rows).unwrap_or(u16::MAX));
    state.strip = timeline::draw(buf, strip, snap, state.span, titled, look);
    if rest.height < DETAILS {
        return;
    }
    let _blank = layout::take(&mut rest, 1);
    let details = Popup::Row(Pane::Timeline, 0);
    let Some((title, lines)) = popup::page(details, snap, state, look, usize::from(rest.width.saturating_sub(4)))
    else {
        return;
    };
    put(buf, margin(layout::take(&mut rest, 1)), &[look.span(Tone::Strong, title)]);
    put_rule(buf, margin(layout::take(&mut rest, 1)), theme::RULE, look);
    for (i, line) in lines.iter().enumerate() {
        put_line(buf, nth_line(margin(rest), u16::try_from(i).unwrap_or(u16::MAX)), line);
    }
}

/// What a table shows.
struct Content<'a, R: 'static> {
    columns: &'static [Column<R>],
    rows: &'a [R],
    /// Places among `rows`.
    order: &'a [usize],
    /// Of what `order` names.
    ids: &'a Ids<'a>,
}

fn table<R>(buf: &mut Buffer, area: Rect, pane: Pane, content: &Content<'_, R>, state: &mut ScreenState, look: &Look) {
    let Content { columns, rows, order, ids } = *content;
    let room = usize::from(area.height.saturating_sub(1));
    let (seen, selected) = window(rows, order, ids, room, pane, state);
    let wide = &mut state.pane_mut(pane).wide;
    let heads = Grid { columns, rows: &seen, selected, wide }.draw(buf, area, look);
    let sortable = view::sortable(state, pane);
    let head = |(at, area): (usize, Rect)| {
        let (column, _) = sortable.iter().find(|(_, key)| columns.get(at).is_some_and(|c| c.key == *key))?;
        Some(Spot { area, what: Target::Head(pane, *column) })
    };
    state.spots.extend(heads.into_iter().filter_map(head));
    let rows = (1..=u16::try_from(seen.len()).unwrap_or(u16::MAX)).map(|n| nth_line(area, n));
    put_rows(pane, rows, state);
}

/// The rows from the first one on the screen, and which of them is marked. Of the others nothing is read.
fn window<'a, R>(
    rows: &'a [R],
    order: &[usize],
    ids: &Ids<'_>,
    room: usize,
    pane: Pane,
    state: &mut ScreenState,
) -> (Vec<&'a R>, Option<usize>) {
    let focused = state.focus == pane;
    let choice = state.pane_mut(pane);
    let at = choice.place(ids);
    let follow = at.filter(|_| choice.selected.is_some() || focused);
    let offset = choice.scroll(follow, ids.len(), room);
    let seen: Vec<&R> = order.iter().skip(offset).take(room).filter_map(|i| rows.get(*i)).collect();
    let mark = at.filter(|_| focused).and_then(|at| at.checked_sub(offset)).filter(|at| *at < room);
    (seen, mark)
}

/// Remembers where the rows of a pane are, from the first one on the screen.
fn put_rows(pane: Pane, rows: impl Iterator<Item = Rect>, state: &mut ScreenState) {
    let first = state.pane(pane).offset;
    let spot = |(n, area)| Spot { area, what: Target::Row(pane, first + n) };
    state.spots.extend(rows.enumerate().map(spot));
}

fn list(
    buf: &mut Buffer,
    area: Rect,
    order: &[usize],
    ids: &Ids<'_>,
    snap: &Snapshot,
    state: &mut ScreenState,
    look: &Look,
) {
    let room = usize::from(area.height);
    let (seen, selected) = window(&snap.findings, order, ids, room, Pane::Findings, state);
    let rows = findings::draw(buf, area, &seen, selected, look);
    put_rows(Pane::Findings, rows.into_iter(), state);
}

#[expect(clippy::too_many_arguments, reason = "everything that a title may speak of")]
fn title(
    buf: &mut Buffer,
    area: Rect,
    pane: Pane,
    shown: usize,
    snap: &Snapshot,
    state: &ScreenState,
    look: &Look,
    tabbed: bool,
) {
    let line = nth_line(area, 0);
    if state.focus == pane && !tabbed {
        put(buf, Rect { width: 1, ..line }, &[look.span(Tone::Accent, theme::FOCUS)]);
    }
    let name = vec![look.span(Tone::Accent, pane.digit()), look.span(Tone::Strong, format!(" {}", pane.title()))];
    let mut left = if tabbed { Vec::new() } else { vec![Seg::new(name)] };
    let (facts, mut right) = match pane {
        Pane::Handshakes => (handshakes::facts(snap, look), Vec::new()),
        Pane::Connections => (connections::facts(snap, look), connections::headroom(snap, look)),
        Pane::Errors => (errors::facts(snap, look), errors::hidden(snap, look)),
        Pane::Findings => (findings::facts(snap, look), Vec::new()),
        Pane::Timeline => (timeline::facts(snap, state.span, look), timeline::hints(&state.keys, look)),
    };
    left.extend(facts);
    let choice = state.pane(pane);
    if let Some(by) = state.group.filter(|_| pane == Pane::Connections) {
        left.push(Seg::new(vec![look.span(Tone::Accent, format!("grouped by {}", by.word()))]).leaves(1));
    }
    if let Some(filter) = state.filter(pane) {
        // Of the timeline the filter narrows what is counted, and not only how many rows there are.
        let rows = if pane == Pane::Timeline { String::new() } else { format!(" ({shown})") };
        let said = format!("/{}{rows}", filter.text);
        left.push(Seg::new(vec![look.span(Tone::Accent, said)]).leaves(1));
    }
    if let Some((_, key)) = choice.sort.and_then(|s| view::sortable(state, pane).into_iter().find(|(i, _)| *i == s)) {
        let (key, sign) = (if key == "left" { "time left" } else { key }, if choice.reverse { "▾" } else { "▴" });
        right.insert(0, Seg::new(vec![look.span(Tone::Muted, format!("by {key} {sign}"))]).leaves(2));
    }
    if let Some(said) = place(choice.offset, choice.page, shown).filter(|_| pane != Pane::Timeline) {
        right.insert(0, Seg::new(vec![look.span(Tone::Muted, said)]).leaves(6));
    }
    // An empty pane says it in its rows.
    if let Some(hint) = empty::poor_sight(pane, snap, look).filter(|_| shown > 0 && pane != Pane::Timeline) {
        right = vec![hint];
    }
    put_ends(buf, if tabbed { margin(line) } else { inset(line) }, left, right);
}
