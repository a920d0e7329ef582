//! Locations that can be proved never to be chosen, because another one takes all that they match.

use crate::event::route::pattern;
use crate::event::site::{Location, Matching, Site};

use super::super::look::Spot;
use super::super::patch::{Patch, argument};

/// What in a pattern may depend on what follows a match: then a match of a beginning proves nothing of the whole.
const LOOKS_AHEAD: [&str; 7] = ["$", "\\b", "\\B", "\\z", "\\Z", "(?", "\\<"];

/// The location that is chosen instead, whatever the request; `None` when that cannot be proved, or when the other one
/// carries WebSockets itself.
pub(super) fn winner(spot: Spot<'_>) -> Option<&Location> {
    let l = spot.location;
    // Nested locations are chosen within their parents.
    let all = spot.server.locations.as_slice();
    let at = all.iter().position(|o| std::ptr::eq(o, l))?;
    let winner = match l.matching {
        Matching::Prefix => over_prefix(all, l),
        Matching::Regex | Matching::RegexNoCase => {
            all.get(..at)?.iter().find(|o| takes_all(o, "/")).or_else(|| over_pattern(all, l))
        }
        _ => None,
    };
    winner.filter(|w| !w.forwards_upgrade())
}

fn is_pattern(l: &Location) -> bool {
    matches!(l.matching, Matching::Regex | Matching::RegexNoCase)
}

/// The pattern matches every path that begins so.
fn takes_all(l: &Location, beginning: &str) -> bool {
    is_pattern(l)
        && !LOOKS_AHEAD.iter().any(|a| l.path.contains(a))
        && pattern(&l.path, l.matching == Matching::RegexNoCase).is_some_and(|p| p.is_match(beginning))
}

/// nginx tries patterns after the longest prefix; the first in file order that matches wins.
fn over_prefix<'a>(all: &'a [Location], l: &Location) -> Option<&'a Location> {
    // Patterns in it are tried first.
    if !l.locations.is_empty() {
        return None;
    }
    // The request for the path itself could end at a location of that very path.
    all.iter().find(|o| takes_all(o, &l.path))
}

/// `location ^~ /ws` keeps patterns from being tried that match only below it.
fn over_pattern<'a>(all: &'a [Location], l: &Location) -> Option<&'a Location> {
    let literal = literal_beginning(&l.path).filter(|_| l.matching == Matching::Regex)?;
    let is_prefix = |o: &&Location| matches!(o.matching, Matching::Prefix | Matching::PrefixNoRegex);
    let longer = all.iter().filter(is_prefix).any(|o| o.path.len() > literal.len() && o.path.starts_with(&literal));
    let best = all.iter().filter(is_prefix).filter(|o| literal.starts_with(&o.path)).max_by_key(|o| o.path.len())?;
    (best.matching == Matching::PrefixNoRegex && !longer).then_some(best)
}

/// The text that every match begins with: `^/ws/` of `^/ws/[0-9]+$`.
fn literal_beginning(pattern: &str) -> Option<String> {
    let rest = pattern.strip_prefix('^').filter(|p| !p.contains('|'))?;
    let mut out = String::new();
    let mut chars = rest.chars().peekable();
    while let Some(&c) = chars.peek() {
        if !(c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '~' | '%' | '=' | '@' | ',')) {
            break;
        }
        chars.next();
        // Perhaps not there at all.
        if matches!(chars.peek(), Some('?' | '*' | '{')) {
            break;
        }
        out.push(c);
    }
    (!out.is_empty()).then_some(out)
}

/// `^~` for a plain prefix.
pub(super) fn patch(site: &Site, l: &Location) -> Option<String> {
    if l.matching != Matching::Prefix {
        return None;
    }
    let mut patch = Patch::of(site);
    patch.rehead(l, &["^~", &argument(&l.path)]);
    patch.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_every_match_begins_with_counts() {
        for (pattern, want) in [
            ("^/ws/[0-9]+$", Some("/ws/")),
            ("^/ws", Some("/ws")),
            ("^/wss?", Some("/ws")),
            ("^/ws|^/x", None),
            ("/ws", None),
            ("^(/ws)", None),
        ] {
            assert_eq!(literal_beginning(pattern).as_deref(), want, "{pattern}");
        }
    }
}
