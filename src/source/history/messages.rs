//! Remembers which class a message has: most logs repeat a few dozen messages, and classifying one costs more than
//! reading its line. A decimal fraction in a message, as in `excess: 20.480`, makes it no other message.

#![expect(clippy::inline_always, reason = "one line is a few hundred instructions: a call would cost a tenth of them")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::event::log::{Category, Level};
use crate::event::tally::top::Top;
use crate::event::tally::{KEPT, Tally, shape};
use crate::human::visible;
use crate::nginx::category;
use crate::nginx::error::skim;

mod fraction;

use fraction::Fraction;

/// Messages remembered; when there are more, all are forgotten and learnt again.
const MOST: usize = 8_192;
/// A longer message is not worth remembering: nearly all of it is a client's text.
const LONGEST: usize = 512;
/// Bytes of a message that are compared at once: few messages are longer.
const FRONT: usize = 128;
/// Messages with the same beginning that are tried before any search.
const TRIED: usize = 4;
/// Different beginnings.
const BEGINNINGS: usize = 256;
/// No message.
const NONE: u16 = u16::MAX;

/// One message of one level.
#[derive(Debug)]
struct Known {
    level: Level,
    category: Category,
    /// Written while the request line was being read: the context has its own rules.
    while_reading: bool,
    /// It quotes something: a context behind it may be forged.
    quotes: bool,
    /// The message; where it has a fraction, zeros stand for its digits.
    body: Arc<[u8]>,
    fraction: Option<Fraction>,
    /// The beginning of the body for a comparison without branches.
    front: [u8; FRONT],
    shape: Box<str>,
    count: u64,
}

/// A message that was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its number, until the next question.
    id: u16,
    /// Its class.
    pub(super) category: Category,
    /// It quotes something: a context behind it may be forged.
    pub(super) quotes: bool,
}

/// A likely message: its number, and its length in bytes.
#[derive(Clone, Copy, Debug)]
struct Tried {
    id: u16,
    length: u16,
}

impl Tried {
    const NOTHING: Self = Self { id: NONE, length: 0 };
}

/// All messages, their classes and counts.
#[derive(Debug)]
pub(super) struct Messages {
    known: Vec<Known>,
    by_body: [HashMap<Arc<[u8]>, u16, RandomState>; 8],
    /// By a hash of their beginning, the last ones first.
    likely: Vec<[Tried; TRIED]>,
    by_level: [u64; 8],
    by_category: BTreeMap<Category, u64>,
    shapes: Top<Box<str>>,
    /// The one message that is too long to be remembered.
    long: Option<Known>,
}

impl Default for Messages {
    fn default() -> Self {
        Self {
            known: Vec::new(),
            by_body: Default::default(),
            likely: vec![[Tried::NOTHING; TRIED]; BEGINNINGS],
            by_level: [0; 8],
            by_category: BTreeMap::new(),
            shapes: Top::new(KEPT),
            long: None,
        }
    }
}

/// A hash of the level and the first sixteen bytes of what stands behind the head of a line. They may belong to more than
/// the message: a short one is just less likely.
#[inline]
fn beginning(level: Level, text: &[u8]) -> usize {
    let bytes = text.first_chunk::<16>().map_or(0, |b| u128::from_le_bytes(*b));
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    let (low, high) = (bytes as u64, (bytes >> 64) as u64);
    let mixed = (low.rotate_left(29) ^ high ^ (level as u64) << 3).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 56).unwrap_or(0) % BEGINNINGS
}

/// Whether a message may end where `rest` begins: at a context, or at the end of the line.
#[inline]
fn may_end_message(rest: &[u8]) -> bool {
    match rest.first() {
        None | Some(b'\n') => true,
        Some(b',') => rest.starts_with(b", client: "),
        Some(_) => false,
    }
}

impl Messages {
    /// The message that `text` begins with, if it is a likely one, and what stands behind it: a context, or the end of the
    /// line, which is that of `text` or a line feed in it. What was written while a request line was being read is not
    /// told here.
    #[inline]
    pub(super) fn likely<'a>(&mut self, level: Level, text: &'a [u8]) -> Option<(Seen, &'a [u8])> {
        let tried = self.likely.get_mut(beginning(level, text))?;
        let mut missed = None;
        for at in 0..TRIED {
            let Tried { id, length } = *tried.get(at)?;
            let Some((body, rest)) = text.split_at_checked(usize::from(length)) else { continue };
            // The cheap questions first: they tell most messages with the same beginning apart.
            if missed == Some(length) || !may_end_message(rest) {
                continue;
            }
            let Some(known) = self.known.get(usize::from(id)) else { break };
            if known.level != level || !known.is(text, body) {
                missed = Some(length);
                continue;
            }
            if at > 0 {
                tried.swap(at, at - 1);
            }
            return Some((known.seen(id), rest));
        }
        self.alike(level, text.split_at_checked(usize::from(missed?))?)
    }

    /// Messages that differ in a number are often equally long, and too many to be tried one by one.
    fn alike<'a>(&self, level: Level, (body, rest): (&[u8], &'a [u8])) -> Option<(Seen, &'a [u8])> {
        let id = self.id_of(level, body)?;
        let known = self.known.get(usize::from(id)).filter(|k| !k.while_reading)?;
        Some((known.seen(id), rest))
    }

    fn id_of(&self, level: Level, body: &[u8]) -> Option<u16> {
        let bodies = self.by_body.get(level as usize)?;
        match Fraction::of(body) {
            Some(fraction) => bodies.get(fraction.zeroed(body).as_slice()).copied(),
            None => bodies.get(body).copied(),
        }
    }

    /// The message `body` as [`skim::parts`] gave it, and its action.
    /// `text` is what the line holds from the message on.
    pub(super) fn find<'a>(&mut self, level: Level, body: &'a [u8], text: &[u8]) -> (Seen, Option<&'a [u8]>) {
        let id = self.id_of(level, body).unwrap_or(NONE);
        if let Some(known) = self.known.get(usize::from(id)) {
            let seen = known.seen(id);
            if known.while_reading {
                return (seen, skim::suffixes(body).action);
            }
            self.make_likely(id, body, beginning(level, text));
            return (seen, None);
        }
        let known = Known::of(level, body);
        let seen = known.seen(NONE);
        let action = if known.while_reading { skim::suffixes(body).action } else { None };
        if body.len() > LONGEST {
            self.flush_long();
            self.long = Some(known);
            return (seen, action);
        }
        (Seen { id: self.learn(known, text), ..seen }, action)
    }

    fn learn(&mut self, known: Known, text: &[u8]) -> u16 {
        if self.known.len() >= MOST {
            self.forget();
        }
        let id = u16::try_from(self.known.len()).unwrap_or(NONE);
        let (level, body) = (known.level, Arc::clone(&known.body));
        if !known.while_reading {
            self.make_likely(id, &body, beginning(level, text));
        }
        self.by_body[level as usize].insert(body, id);
        self.known.push(known);
        id
    }

    /// Puts a message behind those with the same beginning that already proved likely.
    fn make_likely(&mut self, id: u16, body: &[u8], beginning: usize) {
        let Some(tried) = self.likely.get_mut(beginning) else { return };
        if tried.iter().any(|t| t.id == id) {
            return;
        }
        let free = tried.iter().position(|t| t.id == NONE).unwrap_or(TRIED - 1);
        if let (Some(last), Ok(length)) = (tried.get_mut(free), u16::try_from(body.len())) {
            *last = Tried { id, length };
        }
    }

    /// Counts a message once, before the next question.
    #[inline]
    pub(super) fn count(&mut self, seen: Seen) {
        match self.known.get_mut(usize::from(seen.id)) {
            Some(known) => known.count += 1,
            None => self.long.iter_mut().for_each(|known| known.count += 1),
        }
    }

    /// Counts a line of debug output, of which no two are alike.
    pub(super) fn count_debug(&mut self) {
        self.by_level[Level::Debug as usize] += 1;
        *self.by_category.entry(Category::Other).or_default() += 1;
    }

    fn forget(&mut self) {
        for known in std::mem::take(&mut self.known) {
            self.flush(known);
        }
        self.by_body.iter_mut().for_each(HashMap::clear);
        self.likely.fill([Tried::NOTHING; TRIED]);
    }

    fn flush_long(&mut self) {
        if let Some(known) = self.long.take() {
            self.flush(known);
        }
    }

    fn flush(&mut self, known: Known) {
        if known.count > 0 {
            self.by_level[known.level as usize] += known.count;
            *self.by_category.entry(known.category).or_default() += known.count;
            self.shapes.add_owned(known.shape, known.count);
        }
    }

    /// Adds all to a tally.
    pub(super) fn pour_into(mut self, tally: &mut Tally) {
        self.forget();
        self.flush_long();
        for (level, n) in Level::ALL.into_iter().zip(self.by_level).filter(|(_, n)| *n > 0) {
            *tally.by_level.entry(level).or_default() += n;
        }
        for (category, n) in self.by_category {
            *tally.by_category.entry(category).or_default() += n;
        }
        tally.messages.merge(self.shapes);
    }
}

/// From byte `FRONT - n` on: `n` bytes that count, and then those that do not.
static COUNTED: [u8; 2 * FRONT] = counted();

const fn counted() -> [u8; 2 * FRONT] {
    let mut all = [0; 2 * FRONT];
    let mut at = 0;
    while at < FRONT {
        all[at] = 0xff;
        at += 1;
    }
    all
}

impl Known {
    /// Whether `body`, which `text` begins with and which is as long as this one, is this one. The length of messages is
    /// nothing that a processor can guess, so all but the long ones are compared in the same number of steps.
    #[inline(always)]
    fn is(&self, text: &[u8], body: &[u8]) -> bool {
        if let Some(fraction) = self.fraction {
            return fraction.is_all_that_differs(&self.body, body);
        }
        let counted = FRONT.checked_sub(body.len()).and_then(|from| COUNTED.get(from..)?.first_chunk::<FRONT>());
        let (Some(counted), Some(text)) = (counted, text.first_chunk::<FRONT>()) else { return *self.body == *body };
        let bytes = self.front.iter().zip(text).zip(counted);
        bytes.fold(0, |differs, ((own, other), counts)| differs | (own ^ other) & counts) == 0
    }

    fn seen(&self, id: u16) -> Seen {
        Seen { id, category: self.category, quotes: self.quotes }
    }

    fn of(level: Level, body: &[u8]) -> Self {
        let ends = skim::suffixes(body);
        let text = |field: Option<&[u8]>| field.map(visible);
        let fraction = Fraction::of(body);
        Self {
            level,
            category: category::classify(level, ends.message, ends.errno, ends.action),
            while_reading: ends.action.is_some_and(|a| a.starts_with(b"reading client")),
            quotes: memchr::memchr(b'"', body).is_some(),
            shape: shape(&visible(ends.message), text(ends.ssl).as_deref(), ends.errno, text(ends.action).as_deref())
                .into_boxed_str(),
            front: std::array::from_fn(|at| body.get(at).copied().unwrap_or(0)),
            body: fraction.map_or_else(|| Arc::from(body), |fraction| Arc::from(fraction.zeroed(body))),
            fraction,
            count: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_likely_message_is_told_by_its_whole_text_and_level() {
        let mut all = Messages::default();
        let body = b"recv() failed (104: x) while proxying upgraded connection";
        let text = [&body[..], b", client: 1.1.1.1"].concat();
        let (seen, _) = all.find(Level::Error, body, &text);
        assert_eq!(seen.category, Category::UpstreamClosed);
        assert_eq!(all.likely(Level::Error, &text), Some((seen, &b", client: 1.1.1.1"[..])));
        assert_eq!(all.likely(Level::Error, body), Some((seen, &b""[..])));
        let block = [&body[..], b"\n, client: 1.1.1.1"].concat();
        assert_eq!(all.likely(Level::Error, &block), Some((seen, &b"\n, client: 1.1.1.1"[..])));
        assert_eq!(all.likely(Level::Info, &text), None, "at another level it means another thing");
        assert_eq!(all.likely(Level::Error, b"recv() failed (104: x) while proxying"), None);
        assert_eq!(all.likely(Level::Error, &[&body[..], b"s"].concat()), None);
        assert_eq!(all.find(Level::Info, body, body).0.category, Category::ClientClosed);
    }

    #[test]
    fn one_of_many_messages_that_differ_in_a_number_is_told_by_its_whole_text() {
        let mut all = Messages::default();
        let text = |n: usize| format!("no live upstreams, {n:03} of them in zone \"abcdef\", client: 1.1.1.1");
        let found: Vec<Seen> =
            (0..500).map(|n| all.find(Level::Error, &text(n).as_bytes()[..47], text(n).as_bytes()).0).collect();
        for (n, seen) in found.into_iter().enumerate() {
            assert_eq!(all.likely(Level::Error, text(n).as_bytes()), Some((seen, &b", client: 1.1.1.1"[..])));
        }
        assert_eq!(all.likely(Level::Error, text(500).as_bytes()), None);
        assert_eq!(all.likely(Level::Info, text(7).as_bytes()), None);
    }

    #[test]
    fn messages_that_differ_in_a_fraction_are_one() {
        let mut all = Messages::default();
        let text = |zone: &str, n: usize| format!("limiting requests, excess: 20.{n:03} by zone \"{zone}\"");
        for zone in ["a", "a.000", "a.111"] {
            for n in 0..500 {
                let line = text(zone, n) + ", client: 1.1.1.1";
                let body = text(zone, n);
                let (seen, _) = all.find(Level::Error, body.as_bytes(), line.as_bytes());
                assert_eq!(all.likely(Level::Error, line.as_bytes()), Some((seen, &b", client: 1.1.1.1"[..])));
                all.count(seen);
            }
        }
        assert_eq!(all.known.len(), 3);
        for other in ["20.4x0", "20.4800", "20x480", "21.480"] {
            let line = format!("limiting requests, excess: {other} by zone \"a\", client: 1.1.1.1");
            assert_eq!(all.likely(Level::Error, line.as_bytes()), None, "{other}");
        }
        let mut tally = Tally::default();
        all.pour_into(&mut tally);
        for zone in ["a", "a.000", "a.111"] {
            let shape = format!("limiting requests, excess: N by zone \"{zone}\"");
            assert_eq!(tally.messages.get(shape.as_str()).map(|c| c.count), Some(500));
        }
    }

    #[test]
    fn more_messages_than_are_remembered_are_all_counted() {
        let mut all = Messages::default();
        for n in 0..3 * MOST {
            let body = format!("open() \"/srv/{n}\" failed (2: No such file or directory)");
            let (seen, _) = all.find(Level::Error, body.as_bytes(), body.as_bytes());
            all.count(seen);
            let long = format!("{body}{}", "x".repeat(LONGEST));
            let (seen, _) = all.find(Level::Error, long.as_bytes(), long.as_bytes());
            all.count(seen);
        }
        assert!(all.known.len() <= MOST);
        let mut tally = Tally::default();
        all.pour_into(&mut tally);
        assert_eq!(tally.by_level[&Level::Error], 6 * MOST as u64);
        assert_eq!(
            tally.messages.get("open() \"…\" failed (2: No such file or directory)").map(|c| c.count),
            Some(3 * MOST as u64)
        );
    }
}
