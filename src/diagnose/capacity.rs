//! Rules about limits: of nginx's configuration, of the process, and of the machine.

use std::net::{IpAddr, SocketAddr};

use crate::event::log::{ErrorEntry, Level};
use crate::event::site::{Peer, Site};
use crate::event::socket::Listener;
use crate::model::Model;

use super::finding::{Confidence, Evidence, EvidenceKind, Finding, Fix, Severity, Subject};
use super::look::{self, Seen, cases};
use super::patch::Patch;

/// A limit that the error log names when it is hit.
pub(super) struct Limit {
    id: &'static str,
    test: fn(&ErrorEntry) -> bool,
    /// The resource, for limits that belong to no location.
    resource: Option<&'static str>,
    said: &'static str,
    fix: &'static str,
}

pub(super) static WORKER_CONNECTIONS: Limit = Limit {
    id: "worker-connections-exhausted",
    test: |e| e.level == Level::Alert && e.message.ends_with("worker_connections are not enough"),
    resource: Some("worker_connections"),
    said: "nginx has no connection slots left and drops clients; a tunnel takes two",
    fix: "raise worker_connections to more than twice the tunnels that a worker shall hold",
};

pub(super) static FDS: Limit = Limit {
    id: "fds-exhausted",
    test: |e| e.level <= Level::Error && matches!(e.errno, Some(23 | 24)),
    resource: Some("file descriptors"),
    said: "nginx has no file descriptors left; new clients hang or get 500",
    fix: "raise worker_rlimit_nofile (and LimitNOFILE of the service) above worker_connections",
};

pub(super) static EPHEMERAL: Limit = Limit {
    id: "ephemeral-ports-exhausted",
    test: |e| e.message.starts_with("connect() ") && e.errno == Some(99),
    resource: None,
    said: "no local ports are left towards the backend",
    fix: "add backend addresses or ports, use a unix socket, or widen net.ipv4.ip_local_port_range",
};

pub(super) static LIMIT_CONN: Limit = Limit {
    id: "limit-conn",
    test: |e| e.message.starts_with("limiting connections by zone"),
    resource: None,
    said: "limit_conn turns clients away; every open tunnel counts",
    fix: "raise limit_conn in this location, or use a key that does not lump clients behind one address together",
};

pub(super) static LIMIT_REQ: Limit = Limit {
    id: "limit-req",
    test: |e| e.message.starts_with("limiting requests, excess:"),
    resource: None,
    said: "limit_req turns handshakes away",
    fix: "raise the rate or the burst in this location, or let clients reconnect with jitter",
};

pub(super) static HEADERS_TOO_LARGE: Limit = Limit {
    id: "headers-too-large",
    test: |e| {
        let sent =
            ["client sent too long header line", "client sent too large request", "client sent too many header lines"];
        sent.iter().any(|s| e.message.starts_with(s))
    },
    resource: None,
    said: "clients send more header bytes than large_client_header_buffers takes",
    fix: "raise large_client_header_buffers, or shrink the cookies",
};

pub(super) static DISK_FULL: Limit = Limit {
    id: "disk-full",
    test: |e| e.errno == Some(28),
    resource: Some("disk"),
    said: "a disk that nginx writes to is full",
    fix: "free space on the file system that the line names",
};

/// The findings of one limit.
pub(super) fn hit(model: &Model, limit: &'static Limit) -> Vec<Finding> {
    if let Some(resource) = limit.resource {
        return whole_host(model, limit, resource).into_iter().collect();
    }
    let lines = look::seen(model, limit.test);
    let mut out: Vec<Finding> = lines.iter().map(|s| at_location(model, limit, s)).collect();
    if limit.id == "headers-too-large" && out.is_empty() {
        out.extend(by_answer(model, limit));
    }
    out
}

fn whole_host(model: &Model, limit: &Limit, resource: &str) -> Option<Finding> {
    let entries: Vec<&ErrorEntry> = look::fresh(model, limit.test).collect();
    let newest = *entries.iter().max_by_key(|e| e.at)?;
    let seen = Seen { entries, newest, spot: None, peer: None };
    let (severity, confidence) = look::partial(model, &seen);
    let set = model.site.as_ref().and_then(|s| s.worker_connections.as_ref());
    let place = set.filter(|_| resource == "worker_connections").and_then(|s| s.place.as_ref());
    let config = set.zip(place).map(|(s, p)| Evidence::config(p, format!("worker_connections {}", s.value)));
    let mut fix = place.map_or_else(|| Fix::new(limit.fix), |p| Fix::config(p, limit.fix));
    fix.patch = set.zip(place).and_then(|(s, p)| {
        let mut patch = Patch::of(model.site.as_ref()?);
        let more = s.value.saturating_mul(4).max(1024);
        patch.replace(p, |d| d.name() == "worker_connections", &format!("worker_connections {more};"));
        patch.finish()
    });
    let found = Finding::new(limit.id, severity, confidence, Subject::resource(resource), limit.said);
    Some(found.seen(config).seen([seen.evidence()]).fixed_by(fix))
}

fn at_location(model: &Model, limit: &Limit, s: &Seen<'_>) -> Finding {
    let (mut severity, confidence) = look::partial(model, s);
    // One client with too many cookies is its own trouble, and so is one burst against a limit that works.
    if severity == Severity::Warning && s.entries.len() < 3 {
        severity = Severity::Info;
    }
    let cases = cases(model);
    let case = look::case_for(&cases, s.spot).filter(|c| c.failure().is_some());
    let path = s.spot.map_or("", |p| p.location.path.as_str());
    let lead = case.map_or_else(|| path.to_owned(), look::Case::symptom);
    let lead = if lead.is_empty() { lead } else { format!("{lead}: ") };
    let fix = s.spot.map_or_else(|| Fix::new(limit.fix), |p| Fix::config(&p.location.place, limit.fix));
    let place = s.spot.map(|p| Evidence::config(&p.location.place, format!("location {}", p.location.path)));
    Finding::new(limit.id, severity, confidence, s.subject(), format!("{lead}{}", limit.said))
        .seen([s.evidence()])
        .seen(place)
        .seen(case.map(look::Case::evidence).unwrap_or_default())
        .fixed_by(fix)
}

/// nginx says it in its answer (http/ngx_http_special_response.c, status 494) where the log's level hides it.
fn by_answer(model: &Model, limit: &Limit) -> Vec<Finding> {
    let cases = cases(model);
    let hit = cases.iter().filter(|c| c.body_has("Request Header Or Cookie Too Large"));
    let found = hit.map(|case| {
        let said = format!("{}: {}", case.symptom(), limit.said);
        Finding::new(limit.id, Severity::Critical, Confidence::Certain, case.subject(), said)
            .seen(case.evidence())
            .fixed_by(Fix::new(limit.fix))
    });
    found.collect()
}

/// Of the connection slots so much may be taken before it is worth a warning.
const NEARLY_FULL: f64 = 0.85;

/// Most connection slots of the serving workers are taken.
pub(super) fn slots_low(model: &Model) -> Vec<Finding> {
    let Some(gauge) = model.slots().filter(|g| g.share() >= NEARLY_FULL && model.connections.last_look().is_some())
    else {
        return Vec::new();
    };
    let set = model.site.as_ref().and_then(|s| s.worker_connections.as_ref());
    let place = set.and_then(|s| s.place.as_ref());
    let said = format!("{} of {} connection slots are taken; a tunnel takes two", gauge.used, gauge.limit);
    let seen = Evidence::new(EvidenceKind::Socket, format!("{} connections are open", gauge.used));
    let config = set.zip(place).map(|(s, p)| Evidence::config(p, format!("worker_connections {}", s.value)));
    let fix = place.map_or_else(|| Fix::new(WORKER_CONNECTIONS.fix), |p| Fix::config(p, WORKER_CONNECTIONS.fix));
    let subject = Subject::resource("worker_connections");
    let found = Finding::new("worker-connections-low", Severity::Warning, Confidence::Likely, subject, said);
    vec![found.seen(config).seen([seen]).fixed_by(fix)]
}

/// A full accept queue: the kernel drops further clients. It lets one more wait than the backlog says (include/net/sock.h,
/// `sk_acceptq_is_full`).
pub(super) fn listen_queue_full(model: &Model) -> Vec<Finding> {
    let listeners = model.connections.listeners.iter().filter_map(|l| Some((l, l.backlog?)));
    let full = listeners.filter(|(l, backlog)| *backlog > 0 && l.queue > *backlog);
    let nginx =
        |port| model.site.iter().flat_map(|s| &s.servers).flat_map(|s| &s.listens).any(|l| l.port == Some(port));
    let peers: Vec<SocketAddr> =
        model.site.iter().flat_map(Site::locations).flat_map(|(_, l)| &l.peers).filter_map(Peer::socket_addr).collect();
    let backend = |l: &Listener| {
        let is_there = |ip: IpAddr| ip == l.local.ip() || (ip.is_loopback() && l.local.ip().is_unspecified());
        peers.iter().any(|p| p.port() == l.local.port() && is_there(p.ip()))
    };
    let failing = cases(model).iter().any(|c| c.failure().is_some());
    let found = full.map(|(l, backlog)| {
        let whose = match (nginx(l.local.port()), backend(l)) {
            (true, _) => "nginx",
            (_, true) => "a backend",
            // On a backend's port, where the backend is another machine.
            _ => "a program",
        };
        let said = format!("the accept queue of {whose} on {} is full: new clients wait or are dropped", l.local);
        let severity = match (whose, failing) {
            ("a program", _) => Severity::Info,
            (_, true) => Severity::Critical,
            _ => Severity::Warning,
        };
        let queue = format!("{} connections wait where {backlog} may", l.queue);
        let fix = Fix::new(
            "find out why the program accepts so slowly; then raise backlog= of its listen and net.core.somaxconn",
        );
        Finding::new("listen-queue-full", severity, Confidence::Certain, Subject::resource(&l.local.to_string()), said)
            .seen([Evidence::new(EvidenceKind::Socket, queue)])
            .fixed_by(fix)
    });
    found.collect()
}
