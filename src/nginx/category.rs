//! The class of an error-log message: one table, every row with a real sample where one exists.
//!
//! The table is `assets/messages.tsv`: the messages of nginx 1.22 to 1.31 as their source writes them. It is read once,
//! at the first question. Whoever asks often should remember answers: most logs repeat a few dozen messages.

pub mod action;
pub mod meaning;

use std::cmp::Reverse;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use memchr::{memchr, memmem};

use crate::event::log::{Category, Level};
use action::Side;

static SOURCE: &str = include_str!("../../assets/messages.tsv");
static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(SOURCE));

/// Errors that say by themselves that something ran out, whatever nginx was doing: ENOMEM, ENFILE, EMFILE, ENOSPC,
/// EADDRNOTAVAIL, ENOBUFS, EDQUOT (Linux numbers, asm-generic/errno.h).
const RAN_OUT: [u32; 7] = [12, 23, 24, 28, 99, 105, 122];

/// No message is longer: nginx cuts lines at 2048 bytes (core/ngx_log.h).
const LONGEST: usize = 2048;

/// One message of nginx with its class.
#[derive(Clone, Debug)]
pub struct Row {
    /// The class of a line that this row fits.
    pub category: Category,
    /// The message as in nginx's source: `%s` stands for any text, `%d` for an integer.
    pub template: &'static str,
    /// The levels at which nginx writes it.
    pub levels: Vec<Level>,
    /// Only with one of these error numbers, if any are given.
    pub errnos: Vec<u32>,
    /// Only there.
    pub place: Place,
    /// A whole line of a real nginx.
    pub sample: Option<&'static str>,
    pieces: Vec<Piece>,
    weight: usize,
}

/// What nginx must have been doing for a row to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Anything.
    Anywhere,
    /// Something on one side of the proxy.
    On(Side),
    /// Exactly this.
    While(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Literal(&'static str),
    Text,
    Number,
}

/// The class of a message without its errno, action and context, as the parser of lines leaves it.
#[must_use]
pub fn classify(level: Level, message: &[u8], errno: Option<u32>, action: Option<&[u8]>) -> Category {
    // Debug lines trace what nginx does; none of them is a fault.
    if level == Level::Debug {
        return Category::Other;
    }
    if errno.is_some_and(|e| RAN_OUT.contains(&e)) {
        return Category::Capacity;
    }
    let message = message.get(..LONGEST).unwrap_or(message);
    let asked = Asked { level, message, errno, action };
    TABLE.best(&asked).map_or_else(|| asked.guess(), |row| row.category)
}

/// The row that a message fits, if nginx's source has one.
#[must_use]
pub fn row(level: Level, message: &[u8], errno: Option<u32>, action: Option<&[u8]>) -> Option<&'static Row> {
    let message = message.get(..LONGEST).unwrap_or(message);
    TABLE.best(&Asked { level, message, errno, action })
}

/// All rows of the table, for explanations.
#[must_use]
pub fn rows() -> &'static [Row] {
    &TABLE.rows
}

struct Asked<'a> {
    level: Level,
    message: &'a [u8],
    errno: Option<u32>,
    action: Option<&'a [u8]>,
}

impl Asked<'_> {
    /// The class of a message that no row knows: a newer nginx, another module.
    fn guess(&self) -> Category {
        if let Some(action) = self.action {
            return action::likely_category(self.level, action);
        }
        if self.level == Level::Emerg || names_a_directive(self.message) {
            return Category::LifecycleConfig;
        }
        Category::Other
    }
}

/// Configuration messages end in ` in FILE:LINE` or ` in command line` (core/ngx_conf_file.c, ngx_conf_log_error).
fn names_a_directive(message: &[u8]) -> bool {
    let Some(at) = memmem::rfind(message, b" in ") else { return false };
    let place = &message[at + 4..];
    let digits = place.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    place == b"command line" || (digits > 0 && place[..place.len() - digits].ends_with(b":") && place.starts_with(b"/"))
}

impl Row {
    fn read(line: &'static str) -> Option<Self> {
        let mut columns = columns(line);
        let category = Category::from_word(columns.next()?)?;
        let levels = match columns.next()? {
            "*" => Level::ALL.to_vec(),
            words => words.split(',').map(|w| Level::from_word(w.as_bytes())).collect::<Option<_>>()?,
        };
        let errnos = match columns.next()? {
            "-" => Vec::new(),
            numbers => numbers.split(',').map(|n| n.parse().ok()).collect::<Option<_>>()?,
        };
        let place = match columns.next()? {
            "-" => Place::Anywhere,
            "@upstream" => Place::On(Side::Upstream),
            "@client" => Place::On(Side::Client),
            "@http2" => Place::On(Side::Http2),
            phrase => Place::While(action::find(phrase.as_bytes())?.phrase),
        };
        let template = columns.next()?;
        let pieces = pieces(template);
        let weight = pieces.iter().map(Piece::weight).sum();
        Some(Self { category, template, levels, errnos, place, sample: columns.next(), pieces, weight })
    }

    /// The literal text that every such message begins with; empty when it begins with something variable.
    fn opening(&self) -> &'static str {
        if let Some(Piece::Literal(text)) = self.pieces.first() { text } else { "" }
    }

    fn longest_literal(&self) -> &'static str {
        let literals = self.pieces.iter().filter_map(|p| if let Piece::Literal(text) = p { Some(*text) } else { None });
        literals.max_by_key(|text| text.len()).unwrap_or_default()
    }

    /// Whether the row's conditions hold; `side` is that of the question.
    fn admits(&self, asked: &Asked<'_>, side: Side) -> bool {
        let errno_fits = self.errnos.is_empty() || asked.errno.is_some_and(|e| self.errnos.contains(&e));
        errno_fits
            && match self.place {
                Place::Anywhere => true,
                Place::On(wanted) => side == wanted,
                Place::While(phrase) => asked.action == Some(phrase.as_bytes()),
            }
    }

    /// How well a row that fits but for `missing` bytes does so: the more literal text is there the better, then the less
    /// is missing, then the right level, then the more conditions.
    fn rank(&self, missing: usize, level: Level) -> (usize, Reverse<usize>, bool, u8) {
        let conditions = u8::from(!self.errnos.is_empty()) + u8::from(self.place != Place::Anywhere);
        (self.weight.saturating_sub(missing), Reverse(missing), self.levels.contains(&level), conditions)
    }

    /// Whether the pieces stand in `message` in this order, the first at its beginning. The end may be missing: nginx cut
    /// the line, or the message goes on in the next line of the file. Gives the literal bytes that are missing.
    fn fit(&self, message: &[u8]) -> Option<usize> {
        let mut segments = self.pieces.split(|p| *p == Piece::Text).peekable();
        let mut rest = segment_at_start(segments.next()?, message)?;
        while let Some(segment) = segments.next() {
            rest = match segment_anywhere(segment, rest) {
                Some(behind) => behind,
                None if segments.peek().is_none() && self.opening().len() >= TELLING_OPENING => {
                    return Some(segment.iter().map(Piece::weight).sum());
                }
                None => return None,
            };
        }
        Some(0)
    }
}

impl Piece {
    /// Literal bytes.
    const fn weight(&self) -> usize {
        if let Self::Literal(text) = self { text.len() } else { 0 }
    }
}

/// So many literal bytes at the beginning identify a message whose end is missing.
const TELLING_OPENING: usize = 7;

/// The text behind `segment`, which holds no [`Piece::Text`], when `text` begins with it.
fn segment_at_start<'a>(segment: &[Piece], text: &'a [u8]) -> Option<&'a [u8]> {
    segment.iter().try_fold(text, |rest, piece| match piece {
        Piece::Literal(literal) => rest.strip_prefix(literal.as_bytes()),
        Piece::Number => past_number(rest),
        Piece::Text => Some(rest),
    })
}

/// The text behind the first place in `text` where `segment` stands.
fn segment_anywhere<'a>(segment: &[Piece], text: &'a [u8]) -> Option<&'a [u8]> {
    let from = |at: usize| segment_at_start(segment, text.get(at..)?);
    match segment.first() {
        Some(Piece::Literal(literal)) => memmem::find_iter(text, literal).find_map(from),
        Some(_) => (0..text.len()).find_map(from),
        None => Some(text),
    }
}

fn past_number(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    (digits > 0).then(|| &text[digits..])
}

/// The columns of a line of the table. The program waits for this table: there are a thousand lines.
fn columns(line: &'static str) -> impl Iterator<Item = &'static str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = memchr(b'\t', text.as_bytes());
        rest = end.and_then(|at| text.get(at + 1..));
        end.map_or(Some(text), |at| text.get(..at))
    })
}

fn pieces(template: &'static str) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut rest = template;
    let mut from = 0;
    while let Some(at) = rest.as_bytes().get(from..).and_then(|r| memchr(b'%', r)).map(|at| from + at) {
        let piece = match rest.as_bytes().get(at + 1) {
            Some(b's') => Piece::Text,
            Some(b'd') => Piece::Number,
            _ => {
                from = at + 1;
                continue;
            }
        };
        if at > 0 {
            out.push(Piece::Literal(&rest[..at]));
        }
        out.push(piece);
        (rest, from) = (&rest[at + 2..], 0);
    }
    if !rest.is_empty() {
        out.push(Piece::Literal(rest));
    }
    out
}

/// The rows, arranged for the question "which fit this message?".
struct Table {
    /// Sorted by opening.
    rows: Vec<Row>,
    /// One entry for each different opening, sorted; rows without an opening are not here.
    openings: Vec<Opening>,
    /// Finds the rows without an opening by their longest literal.
    inner: Option<AhoCorasick>,
    /// The row of each pattern in `inner`.
    inner_rows: Vec<usize>,
}

struct Opening {
    text: &'static str,
    rows: std::ops::Range<usize>,
    /// The next shorter opening with which this one begins.
    shorter: Option<usize>,
}

impl Table {
    fn read(source: &'static str) -> Self {
        let lines = source.lines().filter(|l| !l.starts_with('#') && !l.is_empty());
        let mut rows: Vec<Row> = lines.filter_map(Row::read).collect();
        rows.sort_by_key(Row::opening);
        let first = rows.partition_point(|r| r.opening().is_empty());
        let inner_rows: Vec<usize> = (0..first).collect();
        let inner = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            // Few messages get this far: the automaton that is made fastest is the best.
            .kind(Some(AhoCorasickKind::NoncontiguousNFA))
            .build(rows.iter().take(first).map(Row::longest_literal))
            .ok();
        let openings = openings(&rows, first);
        Self { rows, openings, inner, inner_rows }
    }

    fn best(&self, asked: &Asked<'_>) -> Option<&Row> {
        let side = action::side(asked.level, asked.action);
        self.best_by_opening(asked, side).or_else(|| self.best_by_inner(asked, side)).map(|(row, _)| row)
    }

    /// Of all openings that `message` begins with, the longest is its neighbour in sorted order or a beginning of that
    /// neighbour; the chain of ever shorter ones leads to the rest.
    fn best_by_opening(&self, asked: &Asked<'_>, side: Side) -> Option<Candidate<'_>> {
        let mut next = self.openings.partition_point(|o| o.text.as_bytes() <= asked.message).checked_sub(1);
        let mut best = None;
        while let Some(opening) = next.and_then(|at| self.openings.get(at)) {
            if asked.message.starts_with(opening.text.as_bytes()) {
                for row in self.rows.get(opening.rows.clone()).unwrap_or_default() {
                    best = better(best, row, asked, side);
                }
            }
            next = opening.shorter;
        }
        best
    }

    fn best_by_inner(&self, asked: &Asked<'_>, side: Side) -> Option<Candidate<'_>> {
        let mut best = None;
        // A literal may occur often in a hostile message; each row is tried once.
        let mut tried = vec![false; self.inner_rows.len()];
        for found in self.inner.as_ref()?.find_overlapping_iter(asked.message) {
            let pattern = found.pattern().as_usize();
            let Some(tried) = tried.get_mut(pattern).filter(|t| !**t) else { continue };
            *tried = true;
            if let Some(row) = self.inner_rows.get(pattern).and_then(|&at| self.rows.get(at)) {
                best = better(best, row, asked, side);
            }
        }
        best
    }
}

fn better<'a>(best: Option<Candidate<'a>>, row: &'a Row, asked: &Asked<'_>, side: Side) -> Option<Candidate<'a>> {
    let beats = |missing| best.is_none_or(|(b, lacks)| row.rank(missing, asked.level) > b.rank(lacks, asked.level));
    if !beats(0) || !row.admits(asked, side) {
        return best;
    }
    row.fit(asked.message).filter(|&missing| beats(missing)).map(|missing| (row, missing)).or(best)
}

/// A row and the literal bytes of it that the message lacks.
type Candidate<'a> = (&'a Row, usize);

/// The different openings of `rows[from..]`, which are sorted by them.
fn openings(rows: &[Row], from: usize) -> Vec<Opening> {
    let mut out: Vec<Opening> = Vec::new();
    for (at, row) in rows.iter().enumerate().skip(from) {
        let text = row.opening();
        if let Some(last) = out.last_mut().filter(|o| o.text == text) {
            last.rows.end = at + 1;
            continue;
        }
        let mut shorter = out.len().checked_sub(1);
        while let Some(other) = shorter.and_then(|i| out.get(i)) {
            if text.starts_with(other.text) {
                break;
            }
            shorter = other.shorter;
        }
        out.push(Opening { text, rows: at..at + 1, shorter });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nginx::error;

    /// Every line of the table that is not a comment.
    fn lines() -> impl Iterator<Item = &'static str> {
        SOURCE.lines().filter(|l| !l.starts_with('#') && !l.is_empty())
    }

    #[test]
    fn every_line_of_the_table_is_read() {
        for line in lines() {
            assert!(Row::read(line).is_some(), "{line}");
        }
        assert_eq!(rows().len(), lines().count());
        assert!(rows().len() > 1_500);
    }

    #[test]
    fn every_sample_parses_and_falls_into_its_own_row() {
        let samples: Vec<&Row> = rows().iter().filter(|r| r.sample.is_some()).collect();
        assert!(samples.len() > 80, "{}", samples.len());
        for row in samples {
            let sample = row.sample.unwrap_or_default().as_bytes();
            let line = error::parse(sample).unwrap_or_else(|| panic!("{:?}", row.sample));
            let best = super::row(line.level, line.message, line.errno, line.action).expect("a row fits");
            assert_eq!(best.template, row.template, "{:?}", row.sample);
            assert_eq!(classify(line.level, line.message, line.errno, line.action), row.category, "{:?}", row.sample);
        }
    }

    #[test]
    fn every_template_leads_back_to_its_category() {
        for row in rows() {
            let message = row.template.replace("%s", "x").replace("%d", "7");
            let action = match row.place {
                Place::Anywhere | Place::On(Side::Either | Side::Resolver | Side::Inside) => None,
                Place::On(Side::Upstream) => Some("SSL handshaking to upstream"),
                Place::On(Side::Client) => Some("SSL handshaking"),
                Place::On(Side::Http2) => Some("processing HTTP/2 connection"),
                Place::While(phrase) => Some(phrase),
            };
            let level =
                row.levels.iter().copied().find(|&l| l != Level::Debug && (row.levels.len() < 8 || l == Level::Warn));
            let Some(level) = level else { continue };
            let found = classify(level, message.as_bytes(), row.errnos.first().copied(), action.map(str::as_bytes));
            assert_eq!(found, row.category, "{level:?} {message} {action:?}");
        }
    }

    #[test]
    fn level_errno_and_action_decide_between_equal_messages() {
        use Category as C;
        use Level::{Crit, Error, Info};
        let tunnel = Some("proxying upgraded connection");
        let cases = [
            (Error, "recv() failed", Some(104), tunnel, C::UpstreamClosed),
            (Info, "recv() failed", Some(104), tunnel, C::ClientClosed),
            (Info, "upstream timed out", Some(110), tunnel, C::UpstreamTimeout),
            (Info, "client timed out", Some(110), tunnel, C::ClientClosed),
            (Info, "client timed out", Some(110), Some("SSL handshaking"), C::TlsClient),
            (Error, "connect() failed", Some(111), Some("connecting to upstream"), C::UpstreamConnect),
            (Crit, "connect() failed", Some(111), Some("resolving"), C::NameResolution),
            (Crit, "connect() to 10.0.0.1:80 failed", Some(99), Some("connecting to upstream"), C::Capacity),
            (Error, "connect() to unix:/run/a.sock failed", Some(11), Some("connecting to upstream"), C::Capacity),
            (
                Crit,
                "connect() to unix:/run/a.sock failed",
                Some(13),
                Some("connecting to upstream"),
                C::UpstreamConnect,
            ),
            (Crit, "SSL_do_handshake() failed", None, Some("SSL handshaking"), C::TlsClient),
            (Crit, "SSL_do_handshake() failed", None, Some("SSL handshaking to upstream"), C::TlsUpstream),
            (Error, "SSL_read() failed", None, tunnel, C::TlsUpstream),
            (Info, "SSL_read() failed", None, tunnel, C::TlsClient),
            (Error, "open() \"/srv/x\" failed", Some(2), None, C::RoutingStatic),
            (Error, "open() \"/run/nginx.pid\" failed", Some(2), None, C::LifecycleConfig),
            (Crit, "open() \"/srv/x\" failed", Some(24), None, C::Capacity),
            (Crit, "pwritev() \"/var/cache/nginx/1\" failed", Some(28), Some("reading upstream"), C::Capacity),
            (Error, "b.test could not be resolved (3: Host not found)", None, None, C::NameResolution),
        ];
        for (level, message, errno, action, category) in cases {
            let found = classify(level, message.as_bytes(), errno, action.map(str::as_bytes));
            assert_eq!(found, category, "{level:?} {message} {errno:?} {action:?}");
        }
    }

    #[test]
    fn an_unknown_message_is_classed_by_what_nginx_was_doing() {
        let asked = |level, message: &str, action: Option<&str>| {
            classify(level, message.as_bytes(), None, action.map(str::as_bytes))
        };
        assert_eq!(asked(Level::Error, "a new failure", Some("connecting to upstream")), Category::UpstreamConnect);
        assert_eq!(asked(Level::Error, "a new failure", Some("SSL handshaking")), Category::TlsClient);
        assert_eq!(asked(Level::Info, "a new failure", Some("proxying upgraded connection")), Category::ClientClosed);
        assert_eq!(asked(Level::Error, "a new failure", Some("handling quic input")), Category::Http2Quic);
        assert_eq!(asked(Level::Warn, "a new failure in /etc/nginx/nginx.conf:7", None), Category::LifecycleConfig);
        assert_eq!(asked(Level::Error, "a new failure", None), Category::Other);
        assert_eq!(asked(Level::Debug, "recv() failed", None), Category::Other);
    }

    #[test]
    fn a_message_without_its_end_is_still_known() {
        let asked = |message: &str| classify(Level::Error, message.as_bytes(), None, None);
        assert_eq!(asked("broken header: \"GET /ws HTTP/1.1\r"), Category::ClientProtocol);
        assert_eq!(asked("open() \"/srv/aaaaaaaaaaaaaaaa"), Category::RoutingStatic);
        assert_eq!(asked("upstream SSL certificate does not match \"aaaa"), Category::TlsUpstream);
        assert_eq!(asked("start something"), Category::Other, "six bytes say too little");
    }

    #[test]
    fn templates_are_cut_where_something_varies() {
        let found = pieces("percent %s is 100% of %d");
        let wanted = [Piece::Literal("percent "), Piece::Text, Piece::Literal(" is 100% of "), Piece::Number];
        assert_eq!(found, wanted);
    }
}
