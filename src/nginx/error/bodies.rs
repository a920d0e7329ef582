//! What the texts between head and context of the last lines fell apart into, and their classes: a log that grows fast
//! repeats a few dozen of them, and taking one apart and classifying it costs more than reading the rest of its line.

use std::ops::Range;

use super::{Tail, parse_by};
use crate::event::log::{Category, ErrorLine, Level};
use crate::nginx::category::classify;

/// Texts remembered.
const PLACES: usize = 512;
/// A longer text is not worth remembering: nearly all of it is a client's.
const LONGEST: usize = 256;

/// Reads lines, and remembers one text in each of its places; another one that belongs there takes it over.
#[derive(Clone, Debug)]
pub struct Bodies {
    places: Vec<Option<Known>>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self { places: vec![None; PLACES] }
    }
}

impl Bodies {
    /// The line as [`super::parse`] reads it, and the class of its message as [`classify`] tells it.
    pub fn read<'a>(&mut self, line: &'a [u8]) -> Option<(ErrorLine<'a>, Category)> {
        // What `classify` says of debug lines, of which no body is asked for.
        let mut category = Category::Other;
        let parsed = parse_by(line, |level, body| {
            let (tail, known) = self.tail(level, body);
            category = known;
            tail
        });
        Some((parsed?, category))
    }

    fn tail<'a>(&mut self, level: Level, body: &'a [u8]) -> (Tail<'a>, Category) {
        let place = self.places.get_mut(place(level, body));
        if let Some(Some(known)) = place.as_deref()
            && known.level == level
            && *known.body == *body
        {
            return (known.tail(body), known.category);
        }
        let tail = Tail::of(body);
        let category = classify(level, tail.message, tail.errno, tail.action);
        if let Some(place) = place.filter(|_| body.len() <= LONGEST) {
            *place = Some(Known::new(level, body, &tail, category));
        }
        (tail, category)
    }
}

/// A text, its parts, and the class.
#[derive(Clone, Debug)]
struct Known {
    level: Level,
    body: Box<[u8]>,
    message: usize,
    errno: Option<u32>,
    ssl: Option<Range<usize>>,
    action: Option<Range<usize>>,
    server: Option<Range<usize>>,
    category: Category,
}

impl Known {
    fn new(level: Level, body: &[u8], tail: &Tail<'_>, category: Category) -> Self {
        let place = |part: &[u8]| {
            let start = part.as_ptr().addr() - body.as_ptr().addr();
            start..start + part.len()
        };
        Self {
            level,
            body: body.into(),
            message: tail.message.len(),
            errno: tail.errno,
            ssl: tail.ssl.map(place),
            action: tail.action.map(place),
            server: tail.server.map(place),
            category,
        }
    }

    /// The parts of `body`, which is the known text.
    fn tail<'a>(&self, body: &'a [u8]) -> Tail<'a> {
        let part = |place: &Option<Range<usize>>| body.get(place.clone()?);
        Tail {
            message: body.get(..self.message).unwrap_or(body),
            ssl: part(&self.ssl),
            errno: self.errno,
            action: part(&self.action),
            server: part(&self.server),
        }
    }
}

/// Where a text is remembered: by its two ends and its length, which tell those apart that are frequent together, and mostly
/// not those in which a number varies. A collision costs time and nothing else.
fn place(level: Level, body: &[u8]) -> usize {
    let beginning = body.first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
    let end = body.last_chunk().map_or(0, |b| u64::from_le_bytes(*b));
    let mixed = beginning ^ end.rotate_left(29) ^ (body.len() << 8 ^ level as usize) as u64;
    usize::try_from(mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48).unwrap_or(0) % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nginx::error::parse;
    use proptest::prelude::*;

    /// What a reader without a memory makes of a line.
    fn read(line: &[u8]) -> Option<(ErrorLine<'_>, Category)> {
        let parsed = parse(line)?;
        let category = classify(parsed.level, parsed.message, parsed.errno, parsed.action);
        Some((parsed, category))
    }

    #[test]
    fn what_is_remembered_is_what_is_classified() {
        let mut bodies = Bodies::default();
        for file in std::fs::read_dir("tests/data/logs").unwrap().map(|e| e.unwrap().path()) {
            let text = std::fs::read(file).unwrap();
            for line in text.split(|b| *b == b'\n') {
                let expected = read(line);
                assert_eq!([(); 2].map(|()| bodies.read(line)), [expected.clone(), expected]);
            }
        }
        assert!(bodies.places.iter().flatten().count() > 20);
    }

    #[test]
    fn equal_beginnings_and_lengths_are_told_apart() {
        let mut bodies = Bodies::default();
        let line = |level, message, code, action| {
            format!("2026/11/21 02:02:31 [{level}] 7#8: *42 {message} failed ({code}: x) while {action}")
        };
        for action in ["proxying upgraded connection", "SSL handshaking"] {
            for (level, code) in [("error", 104), ("info", 104), ("crit", 104), ("error", 110), ("error", 24)] {
                for message in ["recv()", "send()", "accept4()"] {
                    let text = line(level, message, code, action);
                    assert_eq!(bodies.read(text.as_bytes()), read(text.as_bytes()), "{text}");
                }
            }
        }
    }

    #[test]
    fn no_more_is_remembered_than_there_are_places_and_nothing_long() {
        let mut bodies = Bodies::default();
        for n in 0..2_000 {
            let text = format!("2026/11/21 02:02:31 [error] 7#8: *42 open() \"/{n}{}\" failed", "x".repeat(n));
            bodies.read(text.as_bytes()).unwrap();
        }
        let kept: Vec<_> = bodies.places.iter().flatten().collect();
        assert!(kept.len() <= PLACES && kept.iter().all(|k| k.body.len() <= LONGEST));
    }

    proptest! {
        /// The same few words in any order, so that many bodies come again and many are nearly the same.
        #[test]
        fn a_memory_changes_nothing(lines in prop::collection::vec(prop::collection::vec(prop::sample::select(vec![
            "recv() failed", " (104: Connection reset by peer)", " (SSL: error:0A)", " while SSL handshaking",
            " while proxying upgraded connection", " while logging to syslog, server: unix:/x", "\"", ", client: 10.0.0.1",
            ", server: a", ", request: \"GET / HTTP/1.1\"", "x",
        ]), 0..5), 0..40)) {
            let mut bodies = Bodies::default();
            for (words, level) in lines.iter().zip(["error", "info", "debug", "crit"].iter().cycle()) {
                let line = format!("2026/11/21 02:02:31 [{level}] 7#8: *42 {}", words.concat());
                prop_assert_eq!(bodies.read(line.as_bytes()), read(line.as_bytes()), "{}", line);
            }
        }
    }
}
