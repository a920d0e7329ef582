//! Pieces of text on their way to cells: made safe, toned, laid at both ends of a line, wrapped between words.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::human::{self, redact};
use crate::time::Timestamp;

use super::theme::{Theme, Tone};

/// What drawing needs to know besides the data.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The colours.
    pub theme: Theme,
    /// Times are shown in UTC instead of this machine's zone.
    pub utc: bool,
    /// The moment that the screen shows.
    pub now: Timestamp,
}

impl Look {
    /// `text` in a tone. The one door to the cells: whatever could hurt a terminal becomes visible here.
    #[must_use]
    pub fn span(&self, tone: Tone, text: impl Into<Cow<'static, str>>) -> Span<'static> {
        let text = text.into();
        let text = if harmless(&text) { text } else { Cow::Owned(human::visible(text.as_bytes())) };
        Span::styled(text, self.theme.style(tone))
    }

    /// `14:02:31`.
    #[must_use]
    pub fn clock(&self, t: Timestamp) -> String {
        if self.utc {
            let s = t.secs().rem_euclid(86_400);
            format!("{:02}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60)
        } else {
            t.local_clock()
        }
    }

    /// `13:58`.
    #[must_use]
    pub fn minute(&self, t: Timestamp) -> String {
        let mut clock = self.clock(t);
        clock.truncate(5);
        clock
    }
}

/// Printable ASCII needs no second look, and that is nearly everything.
fn harmless(text: &str) -> bool {
    text.bytes().all(|b| (0x20..0x7f).contains(&b))
}

/// Columns that the spans take.
#[must_use]
pub fn spans_width(spans: &[Span<'_>]) -> usize {
    spans.iter().map(Span::width).sum()
}

/// Writes spans at the left end of `area`'s first line, no further than its right end.
pub fn put(buf: &mut Buffer, area: Rect, spans: &[Span<'_>]) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let mut x = area.x;
    for span in spans {
        let room = area.right().saturating_sub(x);
        x = if span.content.chars().all(is_one_cell) {
            put_signs(buf, (x, area.y), span, room)
        } else {
            buf.set_span(x, area.y, span, room).0
        };
    }
}

/// Stands alone in one cell whatever is beside it: most of what is shown. Looking for clusters of letters takes longer than all
/// the rest of a frame.
fn is_one_cell(sign: char) -> bool {
    matches!(sign, ' '..='~' | '·' | '\u{2500}'..='\u{259f}')
}

/// Writes signs of which each takes a cell; gives the place behind them.
fn put_signs(buf: &mut Buffer, (mut x, y): (u16, u16), span: &Span<'_>, room: u16) -> u16 {
    for sign in span.content.chars().take(usize::from(room)) {
        if let Some(cell) = buf.cell_mut((x, y)) {
            cell.set_char(sign).set_style(span.style);
        }
        x += 1;
    }
    x
}

/// Writes a line of text at the left end of `area`'s first line.
pub fn put_line(buf: &mut Buffer, area: Rect, line: &Line<'_>) {
    put(buf, area, &line.spans);
}

/// Fills `area`'s first line with one sign.
pub fn put_rule(buf: &mut Buffer, area: Rect, sign: &str, look: &Look) {
    put(buf, area, &[look.span(Tone::Rule, sign.repeat(usize::from(area.width)))]);
}

/// The `n`th line of `area`; empty below its end.
#[must_use]
pub fn nth_line(area: Rect, n: u16) -> Rect {
    if n < area.height { Rect { y: area.y + n, height: 1, ..area } } else { Rect { height: 0, ..area } }
}

/// One item of a line, with what may become of it when room is short.
#[derive(Clone, Debug)]
pub struct Seg {
    spans: Vec<Span<'static>>,
    /// A shorter form, and in which order it is taken; `None` as when the item leaves.
    short: Option<(Option<u8>, Short)>,
    /// 0 stays for ever; of the others the highest leaves first.
    leave: u8,
    /// It is cut as far as it must be, down to so many columns.
    least: Option<usize>,
    /// What whoever laid it out calls it.
    tag: Option<usize>,
}

/// What becomes of an item before it leaves.
#[derive(Clone, Debug)]
enum Short {
    Form(Vec<Span<'static>>),
    Cut(usize),
}

impl Seg {
    /// An item that stays, and is cut between words in the last resort.
    #[must_use]
    pub const fn new(spans: Vec<Span<'static>>) -> Self {
        Self { spans, short: None, leave: 0, least: None, tag: None }
    }

    /// It may leave; those with higher numbers leave first.
    #[must_use]
    pub const fn leaves(mut self, order: u8) -> Self {
        self.leave = order;
        self
    }

    /// A shorter form, taken before anything with a lower number leaves.
    #[must_use]
    pub fn or(mut self, short: Vec<Span<'static>>) -> Self {
        self.short = Some((None, Short::Form(short)));
        self
    }

    /// A shorter form, taken as items of this order leave.
    #[must_use]
    pub fn shrinks(mut self, order: u8, short: Vec<Span<'static>>) -> Self {
        self.short = Some((Some(order), Short::Form(short)));
        self
    }

    /// It is cut as far as needed, but not below `least` columns, as items of this order leave; a place in a file at its
    /// end stays. For the last item of the left side.
    #[must_use]
    pub fn squeezes(mut self, order: u8, least: usize) -> Self {
        self.short = Some((Some(order), Short::Cut(least)));
        self
    }

    /// A number by which [`put_ends`] tells where it was put.
    #[must_use]
    pub const fn tagged(mut self, tag: usize) -> Self {
        self.tag = Some(tag);
        self
    }

    fn width(&self) -> usize {
        let width = spans_width(&self.spans);
        self.least.map_or(width, |least| least.min(width))
    }

    fn cut(&self, max: usize) -> Vec<Span<'static>> {
        match (self.least, self.spans.as_slice()) {
            (Some(_), [one]) => vec![Span::styled(cut_before_place(&one.content, max).into_owned(), one.style)],
            _ => cut_spans(&self.spans, max),
        }
    }

    /// What it gives next and when; `None` when it has nothing to give.
    fn gives(&self) -> Option<u8> {
        match &self.short {
            Some((order, _)) => Some(order.unwrap_or(self.leave)),
            None => (self.leave > 0).then_some(self.leave),
        }
    }
}

/// Blanks between the items of a line.
const GAP: usize = 3;

fn room_of(segs: &[Seg], gap: usize) -> usize {
    let text: usize = segs.iter().map(Seg::width).sum();
    text + gap * segs.len().saturating_sub(1)
}

/// Shortens or removes the item that minds least. False when nothing is left to give.
fn give_way(left: &mut Vec<Seg>, right: &mut Vec<Seg>) -> bool {
    let Some(most) = left.iter().chain(right.iter()).filter_map(Seg::gives).max() else { return false };
    for side in [right, left] {
        let Some(at) = side.iter().rposition(|s| s.gives() == Some(most)) else { continue };
        match side[at].short.take() {
            Some((_, Short::Form(short))) => side[at].spans = short,
            Some((_, Short::Cut(least))) => side[at].least = Some(least),
            None => {
                side.remove(at);
            }
        }
        return true;
    }
    false
}

/// Lays items at the left and at the right end of one line; what does not fit gives way by its order. Tells where those
/// with a tag are.
pub fn put_ends(buf: &mut Buffer, area: Rect, mut left: Vec<Seg>, mut right: Vec<Seg>) -> Vec<(usize, Rect)> {
    let mut places = Vec::new();
    if area.is_empty() {
        return places;
    }
    let width = usize::from(area.width);
    let mut gap = GAP;
    loop {
        let between = if left.is_empty() || right.is_empty() { 0 } else { gap };
        if room_of(&left, gap) + room_of(&right, gap) + between <= width {
            break;
        }
        if gap > 2 {
            gap = 2;
        } else if !give_way(&mut left, &mut right) {
            break;
        }
    }
    let right_width = room_of(&right, gap).min(width);
    let start = area.right() - u16::try_from(right_width).unwrap_or(area.width);
    put_row(buf, Rect { x: start, width: area.right() - start, ..area }, &right, gap, &mut places);
    let apart = if left.last().is_some_and(|s| s.least.is_some()) { 2 } else { 1 };
    let room = if right.is_empty() { area.width } else { (start - area.x).saturating_sub(apart) };
    put_row(buf, Rect { width: room, ..area }, &left, gap, &mut places);
    places
}

fn put_row(buf: &mut Buffer, area: Rect, segs: &[Seg], gap: usize, places: &mut Vec<(usize, Rect)>) {
    let mut used = 0;
    for (i, seg) in segs.iter().enumerate() {
        if i > 0 {
            used += gap;
        }
        let x = area.x.saturating_add(u16::try_from(used).unwrap_or(u16::MAX));
        if x >= area.right() {
            return;
        }
        let rest = Rect { x, width: area.right() - x, ..area };
        let spans = seg.cut(usize::from(rest.width));
        used += spans_width(&seg.spans);
        put(buf, rest, &spans);
        let width = u16::try_from(spans_width(&spans)).unwrap_or(u16::MAX).min(rest.width);
        places.extend(seg.tag.map(|tag| (tag, Rect { width, height: 1, ..rest })));
    }
}

/// Spans cut between words to `max` columns.
#[must_use]
pub fn cut_spans(spans: &[Span<'static>], max: usize) -> Vec<Span<'static>> {
    let mut room = max;
    let mut out = Vec::with_capacity(spans.len());
    for span in spans {
        let w = span.width();
        if w <= room {
            out.push(span.clone());
            room -= w;
        } else {
            let cut = cut_words(&span.content, room).into_owned();
            out.push(Span::styled(cut, span.style));
            break;
        }
    }
    out
}

/// `text` cut behind the last word that fits `max` columns, with `…`; inside a word only when not even one fits.
#[must_use]
pub fn cut_words(text: &str, max: usize) -> Cow<'_, str> {
    if human::width(text) <= max {
        return Cow::Borrowed(text);
    }
    let mut end = 0;
    for (at, _) in text.match_indices(' ') {
        let head = text[..at].trim_end();
        if human::width(head) + 2 > max {
            break;
        }
        end = head.len();
    }
    // A single short word says less than a word and a half.
    if end == 0 || human::width(&text[..end]) * 3 < max {
        return human::cut_end(text, max);
    }
    Cow::Owned(format!("{} …", text[..end].trim_end_matches([',', ':', ';'])))
}

/// [`cut_words`] for a sentence that ends with a place (`nginx.conf:48`, `10.0.0.8:8080`): what is cut stands before it.
#[must_use]
pub fn cut_before_place(text: &str, max: usize) -> Cow<'_, str> {
    let Some((said, place)) = text.rsplit_once(' ').filter(|(_, end)| is_place(end)) else {
        return cut_words(text, max);
    };
    if human::width(text) <= max {
        return Cow::Borrowed(text);
    }
    // A long path loses its front, but never its file's name for the sake of more words.
    let place = human::cut_front(place, max.div_ceil(2).max(18).min(max));
    match max.checked_sub(human::width(&place) + 1) {
        Some(room) if room >= 4 => Cow::Owned(format!("{} {place}", cut_words(said, room))),
        _ => Cow::Owned(place.into_owned()),
    }
}

/// `name:number`, in brackets or at the end of a sentence or not.
fn is_place(word: &str) -> bool {
    let digits = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    word.trim_end_matches([')', '.']).rsplit_once(':').is_some_and(|(name, n)| !name.is_empty() && digits(n))
}

/// `text` as it will be shown: what [`Look::span`] makes visible takes room.
fn seen(text: &str) -> Cow<'_, str> {
    if harmless(text) { Cow::Borrowed(text) } else { Cow::Owned(human::visible(text.as_bytes())) }
}

/// `text` in lines of at most `width` columns, broken between words; a word longer than a line is broken in itself.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let text = &*seen(text);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let mut word = word;
        let blank = usize::from(!line.is_empty());
        if human::width(&line) + blank + human::width(word) <= width {
            if blank == 1 {
                line.push(' ');
            }
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        while human::width(word) > width {
            let at = break_at(word, width);
            lines.push(word[..at].to_owned());
            word = &word[at..];
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// The first byte of `word` that no longer fits `width` columns; at least one character always fits.
#[must_use]
pub fn break_at(word: &str, width: usize) -> usize {
    let mut used = 0;
    for (at, c) in word.char_indices() {
        used += human::width(c.encode_utf8(&mut [0; 4]));
        if used > width && at > 0 {
            return at;
        }
    }
    word.len()
}

/// [`wrap`] for text that must keep its blanks: configuration, patches, log lines.
#[must_use]
pub fn wrap_exact(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let text = &*seen(text);
    let mut rest = text;
    let mut lines = Vec::new();
    while human::width(rest) > width {
        let at = break_at(rest, width);
        if at >= rest.len() {
            break;
        }
        lines.push(rest[..at].to_owned());
        rest = &rest[at..];
    }
    lines.push(rest.to_owned());
    lines
}

/// `text` in lines that fit, broken behind a blank where one is near the end, and losing nothing.
#[must_use]
pub fn wrap_whole(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let text = &*seen(text);
    let mut out = Vec::new();
    let mut rest = text;
    while human::width(rest) > width {
        let at = break_at(rest, width);
        if at >= rest.len() {
            break;
        }
        // A blank that would begin the next line stays at the end of this one, where nobody sees it.
        let reach = if rest[at..].starts_with(' ') { at + 1 } else { at };
        let blank = rest[..reach].rfind(' ').map(|at| at + 1).filter(|at| human::width(&rest[..*at]) * 3 > width * 2);
        let (part, behind) = rest.split_at(blank.unwrap_or(at));
        out.push(part.to_owned());
        rest = behind;
    }
    out.push(rest.to_owned());
    out
}

/// Hides addresses in what was drawn, whoever drew it.
pub fn hide_addresses(buf: &mut Buffer, area: Rect) {
    for y in area.top()..area.bottom() {
        let only = |symbol: &str| {
            let mut letters = symbol.chars();
            letters.next().filter(|_| letters.next().is_none()).unwrap_or('\u{fffd}')
        };
        let line: String =
            (area.left()..area.right()).map(|x| buf.cell((x, y)).map_or(' ', |c| only(c.symbol()))).collect();
        let hidden = redact::addresses(&line);
        if hidden == line {
            continue;
        }
        for (x, (is, was)) in (area.left()..area.right()).zip(hidden.chars().zip(line.chars())) {
            if let Some(cell) = buf.cell_mut((x, y)).filter(|_| is != was) {
                cell.set_char(is);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ratatui::style::Style;

    proptest! {
        #[test]
        fn signs_of_one_cell_are_written_as_any_text_is(text in "[ -~·─━│█▁░]{0,30}", x in 0_u16..24, room in 0_u16..30) {
            let (area, span) = (Rect::new(0, 0, 20, 2), Span::styled(text, Style::new().bold()));
            prop_assert!(span.content.chars().all(is_one_cell));
            let (mut one, mut other) = (Buffer::empty(area), Buffer::empty(area));
            let room = room.min(area.right().saturating_sub(x));
            prop_assert_eq!(put_signs(&mut one, (x, 1), &span, room), other.set_span(x, 1, &span, room).0);
            prop_assert_eq!(one, other);
        }
    }

    #[test]
    fn words_are_kept_whole_as_long_as_that_says_enough() {
        assert_eq!(cut_words("one two three", 13), "one two three");
        assert_eq!(cut_words("one two three", 12), "one two …");
        assert_eq!(cut_words("a headers-lost-by-inheritance", 12), "a headers-l…");
        for max in 0..14 {
            assert!(human::width(&cut_words("one two three", max)) <= max);
        }
    }

    #[test]
    fn a_sentence_keeps_the_place_at_its_end() {
        let said = "/chat answers 426: the upgrade headers are lost by inheritance, nginx.conf:48";
        assert_eq!(cut_before_place(said, 90), said);
        assert_eq!(cut_before_place(said, 60), "/chat answers 426: the upgrade headers are … nginx.conf:48");
        assert_eq!(cut_before_place(said, 21), "/chat … nginx.conf:48");
        let said = "cut by nginx (proxy_read_timeout, /etc/nginx/a.conf:43)";
        assert_eq!(cut_before_place(said, 30), "cut by … …/nginx/a.conf:43)");
        for max in 0..80 {
            assert!(human::width(&cut_before_place(said, max)) <= max, "{max}");
        }
        assert_eq!(cut_before_place("one two three", 12), "one two …", "no place, no difference");
    }

    #[test]
    fn text_that_must_stay_whole_is_broken_where_it_hurts_least() {
        assert_eq!(wrap_whole("one two three", 7), ["one two ", "three"]);
        assert_eq!(wrap_whole("one two three", 6), ["one tw", "o thre", "e"]);
        assert_eq!(wrap_whole("日本語", 3), ["日", "本", "語"]);
        for width in 0..20 {
            assert_eq!(wrap_whole("a  b {\u{301}c} dddd", width).concat(), "a  b {\u{301}c} dddd");
        }
    }

    #[test]
    fn a_sentence_that_is_squeezed_leaves_room_for_what_stands_behind_it() {
        let look = Look { theme: *Theme::mono(), utc: true, now: Timestamp::default() };
        let seg = |s: &'static str| Seg::new(vec![look.span(Tone::Plain, s)]);
        let line = |width: u16| {
            let mut buf = Buffer::empty(Rect::new(0, 0, width, 1));
            let area = buf.area;
            let right = vec![seg("2 bad").leaves(6), seg("since noon").leaves(9), seg("d why").leaves(1)];
            put_ends(&mut buf, area, vec![seg("BAD"), seg("it is lost somewhere, a.conf:48").squeezes(7, 16)], right);
            (0..width).map(|x| buf[(x, 0)].symbol().to_owned()).collect::<String>()
        };
        assert_eq!(line(64), "BAD  it is lost somewhere, a.conf:48    2 bad  since noon  d why");
        assert_eq!(line(45), "BAD  it is lost … a.conf:48      2 bad  d why");
        assert_eq!(line(30), "BAD  it is … a.conf:48   d why");
        assert_eq!(line(20), "BAD  it … a.conf:48 ");
    }

    #[test]
    fn wrapped_lines_lose_nothing_and_fit() {
        let text = "the upgrade headers are lost by inheritance, /etc/nginx/conf.d/chat.conf:31";
        for width in 1..90 {
            let lines = wrap(text, width);
            assert!(lines.iter().all(|l| human::width(l) <= width), "{width}: {lines:?}");
            let all: String = lines.concat().split(' ').collect();
            assert_eq!(all, text.split(' ').collect::<String>());
        }
        assert_eq!(wrap("日本語", 1), ["日", "本", "語"], "too wide for any line, and still not for ever");
        assert_eq!(wrap_exact("  a  b", 3), ["  a", "  b"]);
        assert_eq!(wrap_exact("", 3), [""]);
        // What a terminal must not see is longer once it is visible.
        assert_eq!(wrap("a\u{200d}b said so", 10), ["a\\u{200d}b", "said so"]);
    }

    #[test]
    fn what_minds_least_gives_way_first() {
        let look = Look { theme: *Theme::mono(), utc: true, now: Timestamp::default() };
        let seg = |s: &'static str| Seg::new(vec![look.span(Tone::Plain, s)]);
        let line = |width: u16| {
            let mut buf = Buffer::empty(Rect::new(0, 0, width, 1));
            let area = buf.area;
            let right = vec![seg("since noon").leaves(2), seg("d why").leaves(1)];
            put_ends(&mut buf, area, vec![seg("verdict"), seg("sentence of words")], right);
            (0..width).map(|x| buf[(x, 0)].symbol().to_owned()).collect::<String>()
        };
        assert_eq!(line(50), "verdict   sentence of words     since noon   d why");
        assert_eq!(line(40), "verdict  sentence of words         d why");
        assert_eq!(line(27), "verdict  sentence of words ");
        assert_eq!(line(20), "verdict  sentence … ");
    }

    #[test]
    fn hostile_text_is_made_visible_at_the_door() {
        let look = Look { theme: *Theme::dark(), utc: true, now: Timestamp::default() };
        assert_eq!(look.span(Tone::Plain, "a\x1b[2J\u{202e}").content, "a\\x1b[2J\\u{202e}");
        assert_eq!(look.clock(Timestamp::from_secs(50_551)), "14:02:31");
        assert_eq!(look.minute(Timestamp::from_secs(-1)), "23:59");
    }
}
