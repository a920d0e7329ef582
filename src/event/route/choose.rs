//! nginx's own choice of server and location, which can be watched candidate by candidate.

use serde::Serialize;

use super::patterns::{pattern, wildcard};
use crate::event::site::{Listen, Location, Matching, Place, Server};

/// Why a server was chosen among those on one socket (`ngx_http_find_virtual_server`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ByName {
    /// Its name is the host.
    Exact,
    /// `*.example.com` or `.example.com`.
    Leading,
    /// `www.example.*`.
    Trailing,
    /// `~pattern`.
    Pattern,
    /// No name fits, and it says `default_server`.
    DefaultServer,
    /// No name fits, and it is the first on the socket.
    First,
}

/// The server for a host, why, and the name that fitted. The host is as [`host_name`] gives it.
pub(super) fn server<'a>(
    candidates: &[(&'a Server, &'a Listen)],
    host: &str,
) -> Option<(&'a Server, ByName, Option<&'a str>)> {
    if let Some((server, why, name)) = by_name(candidates, host) {
        return Some((server, why, Some(name)));
    }
    default_server(candidates).map(|(server, why)| (server, why, None))
}

/// The server for hosts that no name fits.
pub(super) fn default_server<'a>(candidates: &[(&'a Server, &'a Listen)]) -> Option<(&'a Server, ByName)> {
    let default = candidates.iter().find(|(_, l)| l.default_server).map(|(s, _)| (*s, ByName::DefaultServer));
    default.or_else(|| candidates.first().map(|(s, _)| (*s, ByName::First)))
}

/// Exact names, then the longest `*.name`, then the longest `name.*`, then patterns in file order.
fn by_name<'a>(candidates: &[(&'a Server, &'a Listen)], host: &str) -> Option<(&'a Server, ByName, &'a str)> {
    let names = || candidates.iter().flat_map(|(s, _)| s.names.iter().map(move |n| (*s, n.as_str())));
    let is_exact = |n: &str| n.strip_prefix('.').unwrap_or(n).eq_ignore_ascii_case(host);
    if let Some((s, n)) = names().find(|(_, n)| is_exact(n)) {
        return Some((s, ByName::Exact, n));
    }
    for (leading, why) in [(true, ByName::Leading), (false, ByName::Trailing)] {
        let fits = |n: &str| n.starts_with(['*', '.']) == leading && wildcard(&n.to_ascii_lowercase(), host);
        let mut best: Option<(&Server, &str)> = None;
        for (s, n) in names().filter(|(_, n)| fits(n)) {
            if best.is_none_or(|(_, b)| b.len() < n.len()) {
                best = Some((s, n));
            }
        }
        if let Some((s, n)) = best {
            return Some((s, why, n));
        }
    }
    let matches = |n: &str| n.strip_prefix('~').and_then(|p| pattern(p, true)).is_some_and(|p| p.is_match(host));
    names().find(|(_, n)| matches(n)).map(|(s, n)| (s, ByName::Pattern, n))
}

/// A Host header as nginx compares it: without port and final dot, in lower case.
pub(super) fn host_name(host: &str) -> String {
    let v6_end = host.find(']').filter(|_| host.starts_with('['));
    let without_port = match v6_end {
        Some(end) => host.get(..=end).unwrap_or(host),
        None => host.split(':').next().unwrap_or(host),
    };
    without_port.strip_suffix('.').unwrap_or(without_port).to_ascii_lowercase()
}

/// What nginx finds out about a location on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It does not match.
    No,
    /// `=` and the path is the same: nothing else is looked at.
    Exact,
    /// The longest prefix: kept while patterns are tried.
    Longest,
    /// The longest prefix, and `^~` keeps patterns from being tried.
    LongestFinal,
    /// A prefix, but a longer one fits.
    Shorter,
    /// The path is its prefix but for the final slash: nginx redirects there.
    Redirects,
    /// The first pattern in file order that matches.
    Matches,
    /// A pattern that was not tried, because the choice had been made.
    NotTried,
    /// A pattern that only PCRE can read: taken not to match.
    Unreadable,
}

/// A location that was considered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// As written: `= /ws`, `^~ /ws/`, `~* \.js$`.
    pub location: String,
    /// Its line.
    pub place: Place,
    /// 0 in the server, 1 in a location of it, and so on.
    pub depth: usize,
    /// What became of it.
    pub verdict: Verdict,
    /// It was chosen in the end.
    pub won: bool,
}

/// How a location is written: `= /ws`, `^~ /ws/`, `~* \.js$`, `@name`.
#[must_use]
pub fn written(l: &Location) -> String {
    let mark = match l.matching {
        Matching::Exact => "= ",
        Matching::Prefix | Matching::Named => "",
        Matching::PrefixNoRegex => "^~ ",
        Matching::Regex => "~ ",
        Matching::RegexNoCase => "~* ",
    };
    format!("{mark}{}", l.path)
}

/// Somebody who watches the choice.
pub(super) trait Watch {
    /// False where nobody looks: then what did not matter is not told.
    const LOOKS: bool;
    fn saw(&mut self, depth: usize, location: &Location, verdict: Verdict);
}

/// Nobody.
pub(super) struct Nobody;

impl Watch for Nobody {
    const LOOKS: bool = false;
    fn saw(&mut self, _: usize, _: &Location, _: Verdict) {}
}

/// How a choice among locations ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// No regular expression may overrule it.
    Final,
    /// The longest prefix so far.
    Open,
}

fn is_prefix(l: &Location) -> bool {
    matches!(l.matching, Matching::Prefix | Matching::PrefixNoRegex)
}

fn is_pattern(l: &Location) -> bool {
    matches!(l.matching, Matching::Regex | Matching::RegexNoCase)
}

/// The location for a path as locations see it (`ngx_http_core_find_location`).
pub(super) fn find<'a, W: Watch>(
    locations: &'a [Location],
    path: &str,
    depth: usize,
    watch: &mut W,
) -> (Option<&'a Location>, Choice) {
    let exact = locations.iter().find(|l| l.matching == Matching::Exact && l.path == path);
    let prefixes = locations.iter().filter(|l| is_prefix(l) && path.starts_with(&l.path));
    let best = prefixes.max_by_key(|l| l.path.len());
    // "/ws" meets "location /ws/": nginx redirects, before any regular expression, unless "location /ws" is there too.
    let short = best.is_none_or(|l| l.path.len() < path.len());
    let redirect = if short { locations.iter().find(|l| l.redirects_normal(path)) } else { None };
    if W::LOOKS {
        tell_static(locations, path, depth, (exact, best, redirect), watch);
    }
    if let Some(l) = exact.or(redirect) {
        tell_untried(locations, depth, watch);
        return (Some(l), Choice::Final);
    }
    let mut chosen = best;
    if let Some(l) = best {
        let (nested, choice) = find(&l.locations, path, depth + 1, watch);
        chosen = nested.or(best);
        let closed = nested.is_some() && choice == Choice::Final;
        if closed || l.matching == Matching::PrefixNoRegex {
            tell_untried(locations, depth, watch);
            return (chosen, if closed { Choice::Final } else { Choice::Open });
        }
    }
    let mut matched = None;
    for l in locations.iter().filter(|l| is_pattern(l)) {
        let verdict = match pattern(&l.path, l.matching == Matching::RegexNoCase) {
            _ if matched.is_some() => Verdict::NotTried,
            None => Verdict::Unreadable,
            Some(p) if p.is_match(path) => Verdict::Matches,
            Some(_) => Verdict::No,
        };
        watch.saw(depth, l, verdict);
        if verdict == Verdict::Matches {
            matched = Some(find(&l.locations, path, depth + 1, watch).0.unwrap_or(l));
            if !W::LOOKS {
                break;
            }
        }
    }
    match matched {
        Some(l) => (Some(l), Choice::Final),
        None => (chosen, Choice::Open),
    }
}

type Static<'a> = (Option<&'a Location>, Option<&'a Location>, Option<&'a Location>);

/// Tells of the exact locations and, longest first, of the prefixes.
fn tell_static<W: Watch>(all: &[Location], path: &str, depth: usize, found: Static<'_>, watch: &mut W) {
    let (exact, best, redirect) = found;
    let is = |one: Option<&Location>, l: &Location| one.is_some_and(|o| std::ptr::eq(o, l));
    for l in all.iter().filter(|l| l.matching == Matching::Exact) {
        let verdict = match () {
            () if is(exact, l) => Verdict::Exact,
            () if exact.is_none() && is(redirect, l) => Verdict::Redirects,
            () => Verdict::No,
        };
        watch.saw(depth, l, verdict);
    }
    if exact.is_some() {
        return;
    }
    let mut prefixes: Vec<&Location> = all.iter().filter(|l| is_prefix(l)).collect();
    prefixes.sort_by_key(|l| std::cmp::Reverse(l.path.len()));
    for l in prefixes {
        let verdict = match () {
            () if is(redirect, l) => Verdict::Redirects,
            () if is(best, l) && redirect.is_some() => Verdict::Shorter,
            () if is(best, l) && l.matching == Matching::PrefixNoRegex => Verdict::LongestFinal,
            () if is(best, l) => Verdict::Longest,
            () if path.starts_with(&l.path) => Verdict::Shorter,
            () => Verdict::No,
        };
        watch.saw(depth, l, verdict);
    }
}

fn tell_untried<W: Watch>(all: &[Location], depth: usize, watch: &mut W) {
    if W::LOOKS {
        for l in all.iter().filter(|l| is_pattern(l)) {
            watch.saw(depth, l, Verdict::NotTried);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lose_port_case_and_final_dot() {
        let cases = [("A.b:80", "a.b"), ("a.b.", "a.b"), ("[::1]:80", "[::1]"), ("[::1", "["), ("", "")];
        for (host, want) in cases {
            assert_eq!(host_name(host), want, "for {host:?}");
        }
    }
}
