//! The classes of the messages that came lately: a log that grows fast repeats a few, and classifying one costs more than
//! reading its line.

use crate::event::log::{Category, ErrorLine, Level};
use crate::nginx::category::classify;

/// Messages remembered.
const PLACES: usize = 256;
/// A longer message is not worth remembering: nearly all of it is a client's text.
const LONGEST: usize = 512;

/// What a class depends on, and the class.
#[derive(Clone, Debug)]
struct Known {
    level: Level,
    errno: Option<u32>,
    message: Vec<u8>,
    action: Option<Vec<u8>>,
    category: Category,
}

impl Known {
    fn is(&self, line: &ErrorLine<'_>) -> bool {
        self.level == line.level
            && self.errno == line.errno
            && self.message == line.message
            && self.action.as_deref() == line.action
    }
}

/// Remembers one message in each of its places; another one that belongs there takes it over.
#[derive(Clone, Debug)]
pub(super) struct Categories {
    places: Vec<Option<Known>>,
}

impl Default for Categories {
    fn default() -> Self {
        Self { places: vec![None; PLACES] }
    }
}

impl Categories {
    /// The class of a line's message, as [`classify`] tells it.
    pub(super) fn of(&mut self, line: &ErrorLine<'_>) -> Category {
        let place = self.places.get_mut(place(line));
        if let Some(Some(known)) = place.as_deref()
            && known.is(line)
        {
            return known.category;
        }
        let category = classify(line.level, line.message, line.errno, line.action);
        if let Some(place) = place.filter(|_| line.message.len() <= LONGEST) {
            *place = Some(Known {
                level: line.level,
                errno: line.errno,
                message: line.message.to_vec(),
                action: line.action.map(<[u8]>::to_vec),
                category,
            });
        }
        category
    }
}

/// Where a message is remembered: by its beginning and the lengths, which tell those apart that are frequent together. A
/// collision costs time and nothing else.
fn place(line: &ErrorLine<'_>) -> usize {
    let beginning = line.message.first_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b));
    let lengths = line.message.len() << 32 ^ line.action.map_or(0, <[u8]>::len) << 8 ^ line.level as usize;
    let mixed =
        (beginning ^ lengths as u64 ^ u64::from(line.errno.unwrap_or(0)) << 16).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 56).unwrap_or(0) % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nginx::error::parse;

    #[test]
    fn what_is_remembered_is_what_is_classified() {
        let mut categories = Categories::default();
        for file in std::fs::read_dir("tests/data/logs").unwrap().map(|e| e.unwrap().path()) {
            let text = std::fs::read(file).unwrap();
            for line in text.split(|b| *b == b'\n').filter_map(parse) {
                let expected = classify(line.level, line.message, line.errno, line.action);
                assert_eq!([(); 2].map(|()| categories.of(&line)), [expected; 2]);
            }
        }
        assert!(categories.places.iter().flatten().count() > 20);
    }

    #[test]
    fn equal_beginnings_and_lengths_are_told_apart() {
        let mut categories = Categories::default();
        let line = |level, message, code, action| {
            format!("2026/11/21 02:02:31 [{level}] 7#8: *42 {message} failed ({code}: x) while {action}")
        };
        for action in ["proxying upgraded connection", "SSL handshaking"] {
            for (level, code) in [("error", 104), ("info", 104), ("crit", 104), ("error", 110), ("error", 24)] {
                for message in ["recv()", "send()", "accept4()"] {
                    let text = line(level, message, code, action);
                    let parsed = parse(text.as_bytes()).unwrap();
                    let expected = classify(parsed.level, parsed.message, parsed.errno, parsed.action);
                    assert_eq!(categories.of(&parsed), expected, "{text}");
                }
            }
        }
    }

    #[test]
    fn no_more_is_remembered_than_there_are_places_and_nothing_long() {
        let mut categories = Categories::default();
        for n in 0..2_000 {
            let text = format!("2026/11/21 02:02:31 [error] 7#8: *42 open() \"/{n}{}\" failed", "x".repeat(n));
            categories.of(&parse(text.as_bytes()).unwrap());
        }
        let kept: Vec<_> = categories.places.iter().flatten().collect();
        assert!(kept.len() <= PLACES && kept.iter().all(|k| k.message.len() <= LONGEST));
    }
}
