//! Rules about the way from nginx to the backend: what the error log says of it, and what the direct twin confirms.

use crate::event::log::{ErrorEntry, Level};
use crate::event::probe::FailureKind;
use crate::event::site::{Location, Peer};
use crate::event::socket::TcpState;
use crate::model::Model;

use super::finding::{Confidence, Evidence, EvidenceKind, Finding, Fix, Severity, Subject};
use super::look::{self, Seen, Url, cases};

/// How a kind of error-log line becomes a finding.
pub(super) struct Sign {
    id: &'static str,
    pub(super) test: fn(&ErrorEntry) -> bool,
    /// The cause in words.
    cause: fn(&Seen<'_>) -> String,
    fix: &'static str,
    /// It speaks of one peer, so that other peers of the same upstream may still serve.
    one_peer: bool,
}

fn while_doing(e: &ErrorEntry, action: &str) -> bool {
    e.action.as_deref() == Some(action)
}

fn connecting(e: &ErrorEntry, errno: &[u32]) -> bool {
    e.message.starts_with("connect() ") && e.errno.is_some_and(|n| errno.contains(&n))
}

fn timed_out(e: &ErrorEntry, action: &str) -> bool {
    e.message.starts_with("upstream timed out") && while_doing(e, action)
}

const HEADER: &str = "reading response header from upstream";
const TLS: &str = "SSL handshaking to upstream";

pub(super) static REFUSED: Sign = Sign {
    id: "backend-refused",
    test: |e| connecting(e, &[111]),
    cause: |s| format!("nobody listens on {}", s.backend()),
    fix: "start the backend, or correct its address in proxy_pass",
    one_peer: true,
};

pub(super) static UNREACHABLE: Sign = Sign {
    id: "backend-unreachable",
    test: |e| connecting(e, &[113, 101]),
    cause: |s| format!("there is no route to {}", s.backend()),
    fix: "correct the backend's address (a name is resolved once, when nginx starts), or the route to it",
    one_peer: true,
};

pub(super) static CONNECT_TIMEOUT: Sign = Sign {
    id: "backend-connect-timeout",
    test: |e| timed_out(e, "connecting to upstream") || connecting(e, &[110]),
    cause: |s| format!("{} does not answer a connect in time", s.backend()),
    fix: "look for a firewall that drops packets, a dead host, or a backend that no longer accepts",
    one_peer: true,
};

pub(super) static HANDSHAKE_TIMEOUT: Sign = Sign {
    id: "backend-handshake-timeout",
    test: |e| timed_out(e, HEADER),
    cause: |s| format!("{} accepts but never answers the handshake", s.backend()),
    fix: "look at the backend: it is blocked, overloaded, or waits for something else than HTTP",
    one_peer: false,
};

pub(super) static CLOSED_EARLY: Sign = Sign {
    id: "backend-closed-early",
    test: |e| {
        let closed = e.message.starts_with("upstream prematurely closed connection");
        let reset = e.message.starts_with("recv() failed") && e.errno == Some(104);
        (closed || reset) && while_doing(e, HEADER)
    },
    cause: |s| format!("{} closes before it answers the handshake", s.backend()),
    fix: "look at the backend's log: it crashes, refuses, or speaks TLS on this port",
    one_peer: false,
};

pub(super) static BAD_RESPONSE: Sign = Sign {
    id: "backend-bad-response",
    test: |e| {
        e.message.starts_with("upstream sent no valid HTTP") || e.message.starts_with("upstream sent invalid header")
    },
    cause: |s| format!("{} answers something that is no HTTP", s.backend()),
    fix: "look at what this port really serves, and repair the header that nginx names",
    one_peer: false,
};

pub(super) static HEADER_TOO_BIG: Sign = Sign {
    id: "backend-header-too-big",
    test: |e| e.message.starts_with("upstream sent too big header"),
    cause: |s| format!("{} answers with a header larger than proxy_buffer_size", s.backend()),
    fix: "raise proxy_buffer_size, for example to 16k, or send fewer cookies",
    one_peer: false,
};

pub(super) static NO_LIVE: Sign = Sign {
    id: "no-live-upstreams",
    test: |e| e.message.starts_with("no live upstreams"),
    cause: |s| format!("all peers of {} are marked down", s.backend()),
    fix: "repair the peers; they are tried again after fail_timeout",
    one_peer: false,
};

pub(super) static PERMISSION: Sign = Sign {
    id: "backend-permission-denied",
    test: |e| connecting(e, &[13]),
    cause: |s| format!("nginx may not connect to {}", s.backend()),
    fix: "let nginx's user write to the socket and enter its folder; with SELinux: setsebool -P httpd_can_network_connect 1",
    one_peer: true,
};

pub(super) static SOCKET_MISSING: Sign = Sign {
    id: "backend-socket-missing",
    test: |e| connecting(e, &[2]),
    cause: |s| format!("there is no socket {}", s.backend()),
    fix: "start the backend, or correct the path of its socket in proxy_pass",
    one_peer: true,
};

pub(super) static UNRESOLVED: Sign = Sign {
    id: "upstream-name-unresolved",
    test: |e| e.level <= Level::Error && e.message.contains(" could not be resolved") && e.request.is_some(),
    cause: |s| s.newest.message.to_string(),
    fix: "correct the name or the resolver; the backend's DNS record is missing or its server does not answer",
    one_peer: false,
};

pub(super) static RESOLVER_MISSING: Sign = Sign {
    id: "resolver-missing",
    test: |e| e.message.starts_with("no resolver defined to resolve"),
    cause: |_| "proxy_pass has a variable, and no resolver is configured for its name".into(),
    fix: "add a resolver line to this server, or name the backend without a variable",
    one_peer: false,
};

pub(super) static TLS_SCHEME: Sign = Sign {
    id: "upstream-tls-scheme-mismatch",
    test: |e| while_doing(e, TLS) && ssl_has(e, &["wrong version number", "http request", "unknown protocol"]),
    cause: |s| format!("proxy_pass says https, but {} does not speak TLS", s.backend()),
    fix: "write http:// in proxy_pass, or turn TLS on in the backend",
    one_peer: false,
};

pub(super) static TLS_EXPIRED: Sign = Sign {
    id: "upstream-tls-expired",
    test: |e| e.message.starts_with("upstream SSL certificate verify error: (10:"),
    cause: |s| format!("the certificate of {} has expired", s.backend()),
    fix: "renew the backend's certificate",
    one_peer: false,
};

pub(super) static TLS_NAME: Sign = Sign {
    id: "upstream-tls-name-mismatch",
    test: |e| {
        e.message.starts_with("upstream SSL certificate does not match")
            || e.message.starts_with("upstream SSL certificate verify error: (62:")
    },
    cause: |s| format!("the certificate of {} is for another name", s.backend()),
    fix: "set proxy_ssl_name to a name in the certificate, with proxy_ssl_server_name on",
    one_peer: false,
};

/// X509_V_ERR numbers for chains that end in no trusted root (openssl x509_vfy.h): 2, 18 to 21, 24, 27.
pub(super) static TLS_UNTRUSTED: Sign = Sign {
    id: "upstream-tls-untrusted",
    test: |e| {
        let number = e.message.strip_prefix("upstream SSL certificate verify error: (");
        let number = number.and_then(|r| r.split(':').next()).and_then(|n| n.parse::<u32>().ok());
        matches!(number, Some(2 | 18..=21 | 24 | 27))
    },
    cause: |s| format!("nginx does not trust the certificate of {}", s.backend()),
    fix: "name the backend's CA in proxy_ssl_trusted_certificate",
    one_peer: false,
};

pub(super) static TLS_FAILED: Sign = Sign {
    id: "upstream-tls-failed",
    test: |e| {
        let specific = (TLS_SCHEME.test)(e) || (TLS_EXPIRED.test)(e) || (TLS_NAME.test)(e) || (TLS_UNTRUSTED.test)(e);
        while_doing(e, TLS) && e.level <= Level::Error && !specific && e.errno != Some(111)
    },
    cause: |s| format!("the TLS handshake with {} fails", s.backend()),
    fix: "see whether this port speaks TLS at all; turn proxy_ssl_server_name on, and compare protocols and ciphers of both sides",
    one_peer: false,
};

fn ssl_has(e: &ErrorEntry, words: &[&str]) -> bool {
    e.ssl.as_deref().is_some_and(|ssl| words.iter().any(|w| ssl.contains(w)))
}

/// The findings of one sign: one for each backend and location.
pub(super) fn logged(model: &Model, sign: &'static Sign) -> Vec<Finding> {
    let lines = look::seen(model, sign.test);
    let whole = lines.iter().filter(|s| !sign.one_peer || sound_peers(model, s).is_empty());
    let mut out: Vec<Finding> = whole.map(|s| finding(model, sign, s)).collect();
    out.extend(by_twin(model, sign));
    out
}

fn finding(model: &Model, sign: &Sign, s: &Seen<'_>) -> Finding {
    let (severity, confidence) = look::urgency(model, s);
    let cases = cases(model);
    let case = look::case_for(&cases, s.spot).filter(|c| c.failure().is_some());
    let path = s.spot.map(|p| p.location.path.clone()).or_else(|| s.newest.path().map(str::to_owned));
    let lead = case.map(look::Case::symptom).or(path).map_or_else(String::new, |l| format!("{l}: "));
    let over = if severity == Severity::Info { "was so a moment ago, and is over: " } else { "" };
    let pass = s.spot.and_then(look::Spot::pass);
    let place = pass.as_ref().and_then(|p| p.file.clone().zip(p.line));
    let mut fix = Fix::new(sign.fix);
    (fix.file, fix.line) = place.unzip();
    if sign.id == TLS_SCHEME.id {
        let url = s.spot.and_then(|p| p.location.proxy_pass.as_ref()).map(|p| p.value.as_str());
        let plain = url.and_then(|u| u.strip_prefix("https://")).map(|rest| format!("http://{rest}"));
        fix.patch = plain.and_then(|u| s.spot?.pass_instead(model, &u));
    }
    let probed = case.map(look::Case::evidence).unwrap_or_default();
    Finding::new(sign.id, severity, confidence, s.subject(), format!("{lead}{over}{}", (sign.cause)(s)))
        .seen([s.evidence()])
        .seen(pass)
        .seen(probed)
        .fixed_by(fix)
}

/// The direct twin meets the same: nobody listens there, or it never answers.
fn by_twin(model: &Model, sign: &Sign) -> Vec<Finding> {
    let kind = match sign.id {
        "backend-refused" => FailureKind::ConnectionRefused,
        "backend-unreachable" => FailureKind::Unreachable,
        "backend-closed-early" => FailureKind::ClosedEarly,
        _ => return Vec::new(),
    };
    let mut out = Vec::new();
    for case in &cases(model) {
        // Where others are sound, it is one of several: `half_dead` says so.
        let failing = case.direct_failures().find(|(_, f)| f.kind == kind).filter(|_| case.sound_twins() == 0);
        let Some((twin, _)) = failing else { continue };
        let through = case.status().is_some_and(|s| matches!(s, 500 | 502..=504));
        let Some(url) = Url::read(&twin.url).filter(|_| through) else { continue };
        let subject = Subject { upstream: Some(url.peer()), ..case.spot.map(look::Spot::subject).unwrap_or_default() };
        let what = match kind {
            FailureKind::ConnectionRefused => format!("nobody listens on {}", url.peer()),
            FailureKind::Unreachable => format!("there is no route to {}", url.peer()),
            _ => format!("{} closes before it answers the handshake", url.peer()),
        };
        let said = format!("{}: {what}", case.symptom());
        let found = Finding::new(sign.id, Severity::Critical, Confidence::Certain, subject, said);
        out.push(found.seen(case.evidence()).seen(case.spot.and_then(look::Spot::pass)).fixed_by(Fix::new(sign.fix)));
    }
    out
}

/// The other peers of the location that the line's peer belongs to; empty when it is the only one, or not known there.
fn sound_peers(model: &Model, s: &Seen<'_>) -> Vec<String> {
    let (Some(spot), Some(peer)) = (s.spot, s.peer) else { return Vec::new() };
    if spot.leads_to(peer) {
        let others = peers(spot.location).filter(|p| p.address.trim_start_matches("unix:") != peer);
        return others.map(|p| p.address.clone()).collect();
    }
    // The log names addresses, the configuration names: which is which cannot be told, only that others serve.
    let port = peer.rsplit_once(':').map(|(_, port)| port);
    let is_name = |p: &&Peer| p.socket_addr().is_none() && p.port().is_some();
    let named: Vec<&Peer> = peers(spot.location).filter(is_name).collect();
    if !named.iter().any(|p| p.address.rsplit_once(':').map(|(_, port)| port) == port) || !any_works(model, s) {
        return Vec::new();
    }
    // nginx asks both addresses of localhost in turn; many backends listen on one.
    let local = |ip: &str| peer.strip_prefix(ip).and_then(|rest| rest.strip_prefix(':'));
    match named.as_slice() {
        [one] if one.address.starts_with("localhost:") => {
            let other = local("[::1]").map(|port| format!("127.0.0.1:{port}"));
            other.or_else(|| local("127.0.0.1").map(|port| format!("[::1]:{port}"))).into_iter().collect()
        }
        [_, others @ ..] => others.iter().map(|p| p.address.clone()).collect(),
        [] => Vec::new(),
    }
}

fn peers(l: &Location) -> impl Iterator<Item = &Peer> {
    l.peers.iter().filter(|p| !p.backup && !p.down)
}

/// One of several peers fails to be reached, and the others are not all in the same plight.
pub(super) fn half_dead(model: &Model) -> Vec<Finding> {
    let signs = [&REFUSED, &UNREACHABLE, &CONNECT_TIMEOUT, &PERMISSION, &SOCKET_MISSING];
    let lines = look::seen(model, |e| {
        [&REFUSED, &UNREACHABLE, &CONNECT_TIMEOUT, &PERMISSION, &SOCKET_MISSING].iter().any(|s| (s.test)(e))
    });
    let mut out = Vec::new();
    for s in &lines {
        let (Some(spot), Some(peer)) = (s.spot, s.peer) else { continue };
        let others = sound_peers(model, s);
        if others.is_empty() || recovered(model, s) {
            continue;
        }
        let sick =
            |address: &String| lines.iter().any(|o| o.spot.is_some_and(|p| p.is(spot)) && o.peer == Some(address));
        let all = others.iter().all(sick) && !any_works(model, s);
        let id = if all {
            signs.iter().find(|g| (g.test)(s.newest)).map_or("backend-refused", |g| g.id)
        } else {
            "backend-half-dead"
        };
        let severity = if all { look::urgency(model, s).0 } else { Severity::Warning };
        let sign = signs.iter().find(|g| (g.test)(s.newest));
        let cause = sign.map_or_else(String::new, |g| (g.cause)(s));
        let said = if all {
            format!("{}: {cause}", spot.location.path)
        } else {
            format!("{}: one of {} peers is down, {cause}", spot.location.path, others.len() + 1)
        };
        let fix = Fix::new(format!("repair {peer}, or take it out of the upstream"));
        let found = Finding::new(id, severity, Confidence::Likely, s.subject(), said);
        out.push(found.seen([s.evidence()]).seen(spot.pass()).fixed_by(fix));
    }
    out.extend(half_dead_directly(model));
    out
}

/// Asked directly with the same handshake, some peers accept it and others do not.
fn half_dead_directly(model: &Model) -> Vec<Finding> {
    let mut out = Vec::new();
    for case in &cases(model) {
        let sick: Vec<_> = case.direct_failures().collect();
        if case.sound_twins() == 0 {
            continue;
        }
        for (twin, failure) in &sick {
            let peer = Url::read(&twin.url).map_or_else(|| socket_of(&twin.url), |url| url.peer());
            let base = case.spot.map_or_else(|| case.subject(), look::Spot::subject);
            let subject = Subject { upstream: Some(peer.clone()), ..base };
            let path = case.spot.map_or_else(|| case.path(), |s| s.location.path.clone());
            let of = case.twins.len();
            let said = format!("{path}: {} of {of} peers cannot be used, {peer}: {}", sick.len(), failure.said);
            let backup = case.spot.is_some_and(|s| s.location.peers.iter().any(|p| p.backup && p.address == peer));
            let severity = match (case.failure().is_some(), backup) {
                (true, _) => Severity::Critical,
                (false, false) => Severity::Warning,
                // Nobody misses it as long as the others serve.
                (false, true) => Severity::Info,
            };
            let fix = Fix::new(format!("repair {peer}, or take it out of the upstream"));
            let found = Finding::new("backend-half-dead", severity, Confidence::Certain, subject, said);
            out.push(found.seen(case.evidence()).seen(case.spot.and_then(look::Spot::pass)).fixed_by(fix));
        }
    }
    out
}

/// `unix:/run/app.sock:/ws` without its path.
fn socket_of(url: &str) -> String {
    let end = url.strip_prefix("unix:").and_then(|rest| rest.find(':')).map_or(url.len(), |i| "unix:".len() + i);
    url.get(..end).unwrap_or(url).to_owned()
}

fn any_works(model: &Model, s: &Seen<'_>) -> bool {
    let cases = cases(model);
    look::case_for(&cases, s.spot).is_some_and(look::Case::works)
}

/// The peer serves again: a tunnel to it began after its last error.
fn recovered(model: &Model, s: &Seen<'_>) -> bool {
    let address = s.peer.and_then(|p| p.parse::<std::net::SocketAddr>().ok());
    let served = |l: &crate::model::legs::Leg| {
        Some(l.row.peer) == address && l.row.state == TcpState::Established && l.first > s.newest.at && !l.older_than_us
    };
    model.connections.legs().any(served) || look::served_since(model, s)
}

/// nginx answers 502 or 504 and no log says why: what can be said without it.
pub(super) fn gateway_without_log(case: &look::Case<'_>, status: u16) -> Finding {
    let peer = case.spot.and_then(look::Spot::only_peer);
    let backend = peer.clone().unwrap_or_else(|| "the backend".into());
    let (id, why) = match (status, case.direct_works()) {
        (504, _) => ("backend-handshake-timeout", format!("nginx waited for {backend} in vain")),
        (_, true) => ("backend-bad-response", format!("nginx cannot use {backend}, though it answers us directly")),
        _ => ("backend-refused", format!("nginx gets no answer from {backend}, most likely nobody listens there")),
    };
    let subject = Subject { upstream: peer, ..case.subject() };
    let note = Evidence::new(EvidenceKind::Log, "no fresh line of the error log says why");
    Finding::new(id, Severity::Critical, Confidence::Possible, subject, format!("{}: {why}", case.symptom()))
        .seen(case.evidence())
        .seen([note])
        .fixed_by(Fix::new("read nginx's error log at the moment of the failure; it names the reason"))
}
