//! Rules about peers that are gone: those that never said so, and a backend whose tunnels all ended at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::human;
use crate::model::Model;
use crate::model::connections::{ClosedTunnel, End, Far, Tunnel, Upstream};
use crate::model::legs::{Leg, Side, Trouble};
use crate::time::Timestamp;

use super::finding::{Confidence, Evidence, EvidenceKind, Finding, Fix, Severity, Subject};
use super::look::FRESH;

/// Data that waits for so long without a byte from its peer: a lossy moment is over by then.
const UNANSWERED: Duration = Duration::from_secs(30);
/// As many tunnels are no accident ..
const SEVERAL: usize = 3;
/// .. when they are one in so many of those to the same backend ..
const OF_BACKEND: usize = 5;
/// .. or of all clients, of which some always lose their network.
const OF_CLIENTS: usize = 20;

/// Peers that answer nothing while data is sent to them again and again. nginx does not notice: its read timer starts anew with
/// whatever the other side sends (http/ngx_http_upstream.c, `ngx_http_upstream_process_upgraded`).
pub(super) fn half_open(model: &Model) -> Vec<Finding> {
    let tunnels = model.connections.tunnels(model.now, &|_| false);
    let mut backends: BTreeMap<Upstream, (usize, Vec<&Leg>)> = BTreeMap::new();
    let mut clients: (usize, Vec<&Leg>) = (0, Vec::new());
    for t in &tunnels {
        if let Far::Tcp(leg) = t.far {
            let of_backend = backends.entry(t.far.upstream()).or_default();
            of_backend.0 += 1;
            of_backend.1.extend(silent(leg, model.now));
        }
        if let Some(leg) = t.client {
            clients.0 += 1;
            clients.1.extend(silent(leg, model.now));
        }
    }
    let many = |lost: usize, all: usize, of: usize| lost >= SEVERAL && lost * of >= all;
    let mut out = Vec::new();
    for (backend, (all, lost)) in backends.iter().filter(|(_, (all, lost))| many(lost.len(), *all, OF_BACKEND)) {
        let subject = Subject { upstream: Some(backend.to_string()), ..Subject::default() };
        let whose = format!("{} of {} tunnels to {backend}", lost.len(), human::grouped(*all as u64));
        out.push(half_open_finding(&whose, Side::Upstream, lost, subject, model.now));
    }
    if many(clients.1.len(), clients.0, OF_CLIENTS) {
        let whose = format!("{} of {} tunnels", clients.1.len(), human::grouped(clients.0 as u64));
        out.push(half_open_finding(&whose, Side::Client, &clients.1, Subject::resource("clients"), model.now));
    }
    out
}

fn silent(leg: &Leg, now: Timestamp) -> Option<&Leg> {
    let lost = leg.trouble(now) == Some(Trouble::HalfOpen);
    (lost && leg.idle_in(now).is_some_and(|d| d >= UNANSWERED)).then_some(leg)
}

fn half_open_finding(whose: &str, side: Side, lost: &[&Leg], subject: Subject, now: Timestamp) -> Finding {
    let (peer, keepalive) = match side {
        Side::Client => ("the client", "so_keepalive=on at nginx's listen"),
        Side::Upstream => ("the backend", "proxy_socket_keepalive on"),
    };
    let said = format!("{whose} are half-open: {peer} answers nothing, and nginx holds on");
    let longest = lost.iter().filter_map(|l| l.idle_in(now)).max().unwrap_or_default();
    let most = lost.iter().map(|l| l.backoff()).max().unwrap_or(0);
    let seen = format!(
        "data sent again up to {most} times without an answer, {peer} silent for up to {}",
        human::span(longest)
    );
    let fix = Fix::new(format!(
        "let both ends send pings and close what does not answer; {keepalive} lets the kernel find dead peers that are silent"
    ));
    Finding::new("half-open-tunnels", Severity::Warning, Confidence::Likely, subject, said)
        .seen([Evidence::new(EvidenceKind::Socket, seen).at(now)])
        .fixed_by(fix)
}

/// Tunnels that end within this time end at one moment.
const MOMENT: Duration = Duration::from_secs(3);
/// As many at one moment, of as many clients, are the backend's doing, when no more than one in [`SURVIVE`] is left.
const BURST: usize = 5;
const CLIENTS: usize = 3;
const SURVIVE: usize = 10;

/// All tunnels to a backend ended at one moment: it was restarted, or it died. nginx writes no line when a backend closes
/// (http/ngx_http_upstream.c: an end of file with empty buffers ends the tunnel with success). A single end says nothing:
/// a server closes first after every proper goodbye (RFC 6455 section 7.1.1).
pub(super) fn backend_went_away(model: &Model) -> Vec<Finding> {
    let mut by_backend: BTreeMap<&Upstream, Vec<&ClosedTunnel>> = BTreeMap::new();
    for closed in model.connections.closed.iter().filter(|c| model.now.since(c.at) <= FRESH) {
        by_backend.entry(&closed.upstream).or_default().push(closed);
    }
    if by_backend.values().all(|closed| closed.len() < BURST) {
        return Vec::new();
    }
    let open = model.connections.tunnels(model.now, &|_| false);
    by_backend.into_iter().filter_map(|(backend, closed)| gone(model, backend, &closed, &open)).collect()
}

fn gone(model: &Model, backend: &Upstream, closed: &[&ClosedTunnel], open: &[Tunnel<'_>]) -> Option<Finding> {
    let burst = densest(closed);
    let last = burst.last()?;
    let clients: BTreeSet<IpAddr> = burst.iter().filter_map(|c| Some(c.client?.ip())).collect();
    // Who ended otherwise in the same moment speaks for another cause: the worker, a timeout, the clients.
    let by_backend = burst.iter().filter(|c| c.how == End::Backend).count();
    let others = burst.iter().filter(|c| !matches!(c.how, End::Backend | End::Unknown)).count();
    let since = model.now.since(last.at) + MOMENT;
    let survived = open.iter().filter(|t| t.far.upstream() == *backend && t.age(model.now).0 > since).count();
    let all_gone = survived * SURVIVE <= burst.len();
    if burst.len() < BURST || clients.len() < CLIENTS || by_backend == 0 || others * SURVIVE > burst.len() || !all_gone
    {
        return None;
    }
    let n = human::counted(burst.len() as u64, "tunnel", "tunnels");
    let said = format!("{backend} ended {n} at one moment: it was restarted, or it died");
    let seen = format!(
        "{n} of {} gone within {}, {by_backend} of them seen to be closed by the backend first; {survived} survived",
        human::counted(clients.len() as u64, "client address", "client addresses"),
        human::span(MOMENT)
    );
    let fix = Fix::new(
        "look at the backend's log at that moment; let it say goodbye (close code 1001 or 1012) when it restarts",
    );
    let subject =
        Subject { upstream: Some(backend.to_string()), location: last.location.clone(), ..Subject::default() };
    Some(
        Finding::new("backend-went-away", Severity::Warning, Confidence::Likely, subject, said)
            .seen([Evidence::new(EvidenceKind::Socket, seen).at(last.at)])
            .fixed_by(fix),
    )
}

/// The most of them that ended within [`MOMENT`], the newest such lot; they stand in the order of their ends.
fn densest<'a, 'b>(closed: &'b [&'a ClosedTunnel]) -> &'b [&'a ClosedTunnel] {
    let (mut from, mut best) = (0, 0..0);
    for (to, last) in closed.iter().enumerate() {
        while closed.get(from).is_some_and(|first| last.at.since(first.at) > MOMENT) {
            from += 1;
        }
        if to + 1 - from.min(to + 1) >= best.len() {
            best = from..to + 1;
        }
    }
    closed.get(best).unwrap_or_default()
}
