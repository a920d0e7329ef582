//! The words for a way through nginx that all faces share.

use std::time::Duration;

use super::RouteReport;
use crate::event::route::script::Scope;
use crate::event::route::{ByName, Chosen, End, How, Origin, Passed, Verdict};
use crate::event::site::{Peer, Place};
use crate::human;

/// All of it in one sentence.
pub(super) fn sentence(r: &RouteReport) -> String {
    let url = &r.asked.url;
    match &r.end {
        End::Upstream(passed) => {
            let (at, line) = (peers_short(&passed.peers), r.request_line.as_deref());
            let line = line.unwrap_or("a request whose line cannot be told");
            let arrives = format!("A WebSocket handshake for {url} arrives at {at} as {line}");
            match r.upgraded {
                Some(true) => format!("{arrives} with Upgrade and Connection: upgrade"),
                Some(false) => format!("{arrives}, but no longer as a handshake: {}", lost(r, passed)),
                None => {
                    format!(
                        "{arrives}; whether Upgrade and Connection: upgrade are in it cannot be told from the files"
                    )
                }
            }
        }
        other => format!("A WebSocket handshake for {url} gets lost: {}", ends(other)),
    }
}

/// Why a request that arrives is no handshake any more.
fn lost(r: &RouteReport, passed: &Passed) -> String {
    if let Some(status) = passed.status_kept {
        return format!("error_page without \"=\" turns the answer's status into {status}");
    }
    let first = r.findings.iter().find(|f| {
        f.id.contains("upgrade-header") || f.id.contains("connection-header") || f.id.starts_with("headers-lost")
    });
    let old = r.findings.iter().find(|f| f.id == "http-version-too-old");
    let place = r.location.as_ref().map(|l| format!(" (location {}, {})", l.written, l.place)).unwrap_or_default();
    match first.or(old) {
        Some(f) => format!("{}{place}", f.said),
        None => format!("proxy_http_version {} or the headers forbid it{place}", passed.http_version.value),
    }
}

/// Where a request ends when it is no backend of HTTP.
pub(super) fn ends(end: &End) -> String {
    match end {
        End::Upstream(passed) => format!("at {}", peers_short(&passed.peers)),
        End::Redirect { status, to, why, place } => {
            let to = to.as_deref().unwrap_or("somewhere that cannot be told");
            format!("nginx answers {status} to {to} ({why}, {place}), and WebSocket clients do not follow redirects")
        }
        End::Answer { status: Some(status), why, place } => {
            format!("nginx answers {status}: {why}{}", at(place.as_ref()))
        }
        End::Files { place } => format!("nginx looks for a file, because nothing passes the request on ({place})"),
        End::OtherProtocol { pass, place } => format!("{pass} carries no WebSocket ({place})"),
        End::NoListener { listens } if listens.is_empty() => "nginx listens nowhere".to_owned(),
        End::NoListener { listens } => {
            format!(
                "nginx does not listen there, only on {}; --from says where the request comes in",
                listens.join(", ")
            )
        }
        End::Cycle => "rewrites go in a circle, and nginx answers 500".to_owned(),
        End::Answer { status: None, why, place } | End::Unknown { why, place } => {
            format!("{why}{}", at(place.as_ref()))
        }
    }
}

fn at(place: Option<&Place>) -> String {
    place.map(|p| format!(" ({p})")).unwrap_or_default()
}

fn peers_short(peers: &[Peer]) -> String {
    let live: Vec<&Peer> = peers.iter().filter(|p| !p.down && !p.backup).collect();
    match live.as_slice() {
        [] => peers.first().map_or_else(|| "a backend that cannot be told".to_owned(), |p| p.address.clone()),
        [one] => one.address.clone(),
        [one, rest @ ..] => {
            format!("{} (or {})", one.address, human::counted(rest.len() as u64, "other peer", "other peers"))
        }
    }
}

/// Why the server was chosen.
pub(super) fn server_why(s: &Chosen) -> String {
    let host = if s.host.is_empty() { "an empty host" } else { &s.host };
    let name = s.name.as_deref().unwrap_or_default();
    match s.why {
        ByName::Exact => format!("its name is {host}"),
        ByName::Leading | ByName::Trailing => format!("{name} is the longest wildcard that fits {host}"),
        ByName::Pattern => format!("{name} is the first pattern that fits {host}"),
        ByName::DefaultServer => format!("no name fits {host}, and it is the default_server"),
        ByName::First => format!("no name fits {host}, and it is the first on the socket"),
    }
}

/// What became of a candidate.
pub(super) const fn verdict(v: Verdict) -> &'static str {
    match v {
        Verdict::No => "does not match",
        Verdict::Exact => "is the path: nothing else is tried",
        Verdict::Longest => "the longest prefix; patterns are tried next",
        Verdict::LongestFinal => "the longest prefix, and ^~ keeps patterns out",
        Verdict::Shorter => "a prefix, but a longer one fits",
        Verdict::Redirects => "the path lacks its final slash: nginx redirects",
        Verdict::Matches => "the first pattern that matches",
        Verdict::NotTried => "not tried",
        Verdict::Unreadable => "cannot be read here: taken not to match",
    }
}

/// How the request line came about.
pub(super) fn how(passed: &Passed) -> &'static str {
    match passed.how {
        Some(How::AsSent) => "proxy_pass has no URI: exactly what the client sent",
        Some(How::Changed) => "proxy_pass has no URI: the path as it was changed before",
        Some(How::PrefixReplaced) => "the URI of proxy_pass takes the place of the location's prefix",
        Some(How::Variables) => "the URI of proxy_pass holds variables: it is used alone, without the client's query",
        Some(How::Ignored) => "after rewrite .. break the URI of proxy_pass counts for nothing",
        None => "proxy_pass holds variables that cannot be told",
    }
}

/// `60 s, built in`, `1 h, /etc/nginx/nginx.conf:9 (http)`.
pub(super) fn timeout(t: &Origin<Duration>) -> String {
    format!("{}, {}", span(t.value), origin(t.place.as_ref(), t.scope))
}

/// A time span exactly, as the configuration would write it: `60s`, `90m`, `1h`, `250ms`, `0`.
fn span(d: Duration) -> String {
    match (d.as_millis(), d.as_secs()) {
        (0, _) => "0".to_owned(),
        (ms, _) if ms % 1_000 != 0 => format!("{ms}ms"),
        (_, s) if s % 86_400 == 0 => format!("{}d", s / 86_400),
        (_, s) if s % 3_600 == 0 => format!("{}h", s / 3_600),
        (_, s) if s % 60 == 0 && s > 60 => format!("{}m", s / 60),
        (_, s) => format!("{s}s"),
    }
}

/// Where a value comes from.
pub(super) fn origin(place: Option<&Place>, scope: Scope) -> String {
    let level = match scope {
        Scope::BuiltIn => return "built in".to_owned(),
        Scope::Http => "inherited from http",
        Scope::Server => "inherited from the server",
        Scope::Around => "inherited from the location around",
        Scope::Location => "in the location",
    };
    place.map_or_else(|| level.to_owned(), |p| format!("{p}, {level}"))
}

/// A header's value for a person.
pub(super) fn value(v: Option<&str>) -> &str {
    match v {
        None => "unknown",
        Some("") => "not sent",
        Some(v) => v,
    }
}

/// A peer with what is special about it.
pub(super) fn peer(p: &Peer) -> String {
    let weight = p.weight.map(|w| format!(" weight={w}")).unwrap_or_default();
    let backup = if p.backup { " backup" } else { "" };
    let down = if p.down { " down" } else { "" };
    format!("{}{weight}{backup}{down}{}", p.address, at(p.place.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_exact() {
        for (ms, want) in
            [(0, "0"), (60_000, "60s"), (90_000, "90s"), (5_400_000, "90m"), (3_600_000, "1h"), (250, "250ms")]
        {
            assert_eq!(span(Duration::from_millis(ms)), want);
        }
    }
}
