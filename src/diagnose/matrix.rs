//! What a handshake matrix says: a reading for every row, and where the fault sits. Nothing is concluded from one row that
//! another one contradicts.

use serde::Serialize;

use super::finding::{Diagnosis, EvidenceKind, Finding, Severity, Status};
use super::handshake::is_the_backends;
use super::look::{Case, cases, short};
use crate::event::matrix::{Change, Matrix, Row};
use crate::event::probe::{Failure, FailureKind, Phase};
use crate::event::site::Place;
use crate::model::Model;

/// What one row means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Whether it is as it should be; `Skip` where either way is right.
    pub status: Status,
    /// In one sentence, or less.
    pub said: String,
}

/// Where the fault sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seat {
    /// Nowhere: it works as asked.
    None,
    /// Between the client and the backend: nginx, or what stands there in its place.
    Proxy,
    /// In the backend.
    Backend,
    /// In the check of the `Origin` header, wherever that is done.
    Origin,
    /// In the path.
    Path,
    /// In the choice of a subprotocol.
    Subprotocol,
    /// In the offer of compression.
    Compression,
    /// In one of several addresses of the name.
    Address,
    /// In the choice of HTTP/2.
    Http2,
    /// In what answers 101 to requests that ask for no upgrade.
    BlindSwitch,
    /// On the way to the server: name, address, TLS.
    Reach,
    /// It comes and goes.
    Unsteady,
    /// The rows do not tell.
    Unknown,
}

/// Where the fault sits, in a word and in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// In a word.
    pub seat: Seat,
    /// In a sentence.
    pub said: String,
}

/// What else is known about an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The finding that names a line of the configuration: `upgrade-header-missing, app.conf:6`.
    pub named: Option<String>,
    /// The location is known, and passes a whole handshake on.
    pub passed_on: bool,
    /// The location is known, and proxies.
    pub proxied: bool,
}

impl Context {
    /// What the model and its findings tell about an endpoint.
    #[must_use]
    pub fn of(model: &Model, diagnosis: &Diagnosis, endpoint: &str) -> Self {
        let cases = cases(model);
        let Some(case) = cases.iter().find(|c| &*c.target.endpoint == endpoint) else { return Self::default() };
        let proxied = case.spot.is_some_and(|s| s.location.proxy_pass.is_some());
        let mut finding = diagnosis.findings.iter().filter(|f| f.severity == Severity::Critical && is_about(f, case));
        Self {
            named: finding.find_map(named),
            passed_on: proxied && case.twin.is_none() && is_the_backends(case),
            proxied,
        }
    }
}

fn is_about(f: &Finding, case: &Case<'_>) -> bool {
    let location = case.spot.map(|s| &s.location.path);
    f.subject.url.as_deref() == Some(&*case.target.url)
        || (location.is_some() && f.subject.location.as_ref() == location)
}

/// The finding's id and the line of the configuration that it points at.
fn named(f: &Finding) -> Option<String> {
    let line = f.evidence.iter().find(|e| e.kind == EvidenceKind::Config)?;
    let place = Place { file: line.file.clone()?, line: line.line.unwrap_or_default() };
    Some(format!("{}, {}", f.id, short(&place)))
}

fn words(failure: Option<&Failure>) -> &str {
    failure.map_or("it works", |f| &f.said)
}

/// What every row says beside the first one, in their order.
#[must_use]
pub fn readings(matrix: &Matrix) -> Vec<Reading> {
    let Some(base) = matrix.base() else { return Vec::new() };
    matrix.rows.iter().map(|row| reading(row, base)).collect()
}

fn reading(row: &Row, base: &Row) -> Reading {
    let (status, said) = match &row.change {
        Change::AsAsked if row.opened() => (Status::Pass, "works as asked".to_owned()),
        Change::AsAsked => (Status::Fail, words(row.failure.as_ref()).to_owned()),
        Change::Again if row.alike(base) => (Status::Skip, "the same once more".to_owned()),
        Change::Again => (Status::Warn, "not what the first one got: it comes and goes".to_owned()),
        Change::Direct { url } => direct(row, base, url),
        Change::NoUpgrade => plain(row, base),
        Change::Http10 => old(row, base),
        Change::Deflate => deflate(row, base),
        Change::Http2 => http2(row, base),
        Change::Address { address } => match (row.opened(), base.opened()) {
            (true, true) => (Status::Pass, format!("{address} works")),
            (true, false) => (Status::Pass, format!("works by {address}")),
            (false, true) => (Status::Fail, format!("{address} fails: {}", words(row.failure.as_ref()))),
            (false, false) => (Status::Skip, format!("{address}: {}", no_help(row, base))),
        },
        change => option(change, row, base),
    };
    Reading { status, said }
}

fn no_help(row: &Row, base: &Row) -> String {
    if row.alike(base) {
        "no difference".to_owned()
    } else {
        format!("fails otherwise: {}", words(row.failure.as_ref()))
    }
}

fn direct(row: &Row, base: &Row, url: &str) -> (Status, String) {
    match (row.opened(), base.opened()) {
        (true, true) => (Status::Pass, format!("{url} accepts it, too")),
        (true, false) => (Status::Pass, format!("{url} accepts it")),
        (false, true) => (Status::Warn, format!("only directly it fails: {}", words(row.failure.as_ref()))),
        (false, false) if row.alike(base) => (Status::Fail, format!("{url} refuses it alike")),
        (false, false) => (Status::Fail, format!("{url}: {}", words(row.failure.as_ref()))),
    }
}

fn plain(row: &Row, base: &Row) -> (Status, String) {
    if row.switched() {
        (Status::Fail, "a 101 that nobody asked for: something answers it blindly, or nginx sets Upgrade itself".into())
    } else if base.opened() {
        (Status::Pass, "refused, as it should be".into())
    } else if row.alike(base) && matches!(base.status, Some(400 | 426)) {
        (Status::Skip, "no difference: Upgrade is lost on the way, or not looked at".into())
    } else {
        (Status::Skip, no_help(row, base))
    }
}

/// nginx passes the upgrade on whatever the client's version is (1.22.1; `ngx_http_upstream_process_header` asks for the
/// 101 alone), so that a 101 is no fault here.
fn old(row: &Row, base: &Row) -> (Status, String) {
    if row.switched() {
        (Status::Skip, "a 101 all the same: nobody looks at the version; nginx does not".into())
    } else if base.opened() {
        (Status::Pass, "refused, as RFC 9110 wants it".into())
    } else {
        (Status::Skip, no_help(row, base))
    }
}

fn deflate(row: &Row, base: &Row) -> (Status, String) {
    match (row.opened(), base.opened(), &row.extensions) {
        (true, true, Some(taken)) => (Status::Pass, format!("taken up: {taken}")),
        (true, true, None) => (Status::Pass, "not taken up, which is fine".into()),
        (true, false, _) => (Status::Warn, "accepted only with compression offered".into()),
        (false, true, _) => {
            (Status::Fail, format!("refused, and browsers always offer it: {}", words(row.failure.as_ref())))
        }
        (false, false, _) => (Status::Skip, no_help(row, base)),
    }
}

fn http2(row: &Row, base: &Row) -> (Status, String) {
    if row.alpn.as_deref() == Some("h2") {
        let said = "the server chooses HTTP/2, which carries no WebSockets in nginx: clients must offer http/1.1 alone";
        (Status::Skip, said.into())
    } else if row.opened() {
        (Status::Pass, "the server stays with HTTP/1.1".into())
    } else if base.opened() {
        (Status::Warn, words(row.failure.as_ref()).to_owned())
    } else {
        (Status::Skip, no_help(row, base))
    }
}

/// Headers and the path: what may be so or so while it works, and is the fault when only the change works.
fn option(change: &Change, row: &Row, base: &Row) -> (Status, String) {
    let (works_too, works_only, fails) = match change {
        Change::OtherOrigin { .. } => ("any origin is accepted", "accepted", "refused: origins are checked"),
        Change::OwnOrigin { .. } => {
            ("works, too", "accepted: it wants an Origin", "pages of this very host are refused")
        }
        Change::NoOrigin => ("works without one, too", "accepted without one", "refused: it wants an Origin"),
        Change::NoSubprotocol => ("works without one, too", "accepted without one", "refused: it wants a subprotocol"),
        _ => ("both paths work", "works: the last slash makes the difference", "only the path as asked works"),
    };
    match (row.opened(), base.opened()) {
        (true, true) => (Status::Skip, works_too.into()),
        (true, false) => (Status::Pass, works_only.into()),
        (false, true) => (Status::Skip, fails.into()),
        (false, false) => (Status::Skip, no_help(row, base)),
    }
}

/// The kind of change, where one alone can cure a handshake.
fn remedy(change: &Change) -> Option<Seat> {
    match change {
        Change::OtherOrigin { .. } | Change::OwnOrigin { .. } | Change::NoOrigin => Some(Seat::Origin),
        Change::NoSubprotocol => Some(Seat::Subprotocol),
        Change::Slash { .. } => Some(Seat::Path),
        Change::Address { .. } => Some(Seat::Address),
        Change::Deflate => Some(Seat::Compression),
        _ => None,
    }
}

/// The one kind of change that makes a failing handshake work, with its first row. `None` where nothing helps, where
/// several kinds do, and where it comes and goes: then it was chance.
pub(super) fn cure(matrix: &Matrix) -> Option<(Seat, &Row)> {
    let base = matrix.base().filter(|b| !b.opened())?;
    if unsteady(matrix, base) {
        return None;
    }
    let mut cures = matrix.rows.iter().filter(|r| r.opened()).filter_map(|r| Some((remedy(&r.change)?, r)));
    let first = cures.next()?;
    cures.all(|(seat, _)| seat == first.0).then_some(first)
}

fn unsteady(matrix: &Matrix, base: &Row) -> bool {
    matrix.row(|c| *c == Change::Again).is_some_and(|again| !again.alike(base))
}

/// Where the fault sits.
#[must_use]
pub fn conclusion(matrix: &Matrix, context: &Context) -> Conclusion {
    let Some(base) = matrix.base() else {
        return Conclusion { seat: Seat::Unknown, said: "no handshake was tried".into() };
    };
    let (seat, said) = if unsteady(matrix, base) {
        (Seat::Unsteady, comes_and_goes(matrix, base))
    } else if base.opened() {
        working(matrix)
    } else {
        failing(matrix, base, context)
    };
    Conclusion { seat, said }
}

fn comes_and_goes(matrix: &Matrix, base: &Row) -> String {
    let again = matrix.row(|c| *c == Change::Again).and_then(|r| r.status);
    if base.opened() && matches!(again, Some(429 | 503)) {
        return "after a few handshakes in a row the same one is refused: a limit, or one of several backends".into();
    }
    "the same handshake does not always get the same answer: ask each backend by itself".into()
}

fn working(matrix: &Matrix) -> (Seat, String) {
    let fails = |test: fn(&Change) -> bool| matrix.rows.iter().find(|r| test(&r.change) && !r.opened());
    if matrix.row(|c| *c == Change::NoUpgrade).is_some_and(Row::switched) {
        let said = "it works, but something also switches protocols for plain requests: look who sets Upgrade";
        return (Seat::BlindSwitch, said.into());
    }
    if fails(|c| *c == Change::Deflate).is_some() {
        return (Seat::Compression, "it works until compression is offered, as every browser does".into());
    }
    if let Some(Row { change: Change::Address { address }, .. }) = fails(|c| matches!(c, Change::Address { .. })) {
        return (Seat::Address, format!("it works, but not by {address}: clients that take this address fail"));
    }
    if fails(|c| matches!(c, Change::Direct { .. })).is_some() {
        return (Seat::None, "it works as asked; directly the backend answers otherwise".into());
    }
    (Seat::None, "it works as asked, and no change breaks it that should not".into())
}

fn failing(matrix: &Matrix, base: &Row, context: &Context) -> (Seat, String) {
    let alpn = matrix.row(|c| *c == Change::Http2).and_then(|r| r.alpn.as_deref());
    let phase = base.failure.as_ref().map(|f| f.phase);
    if phase == Some(Phase::Tls) && alpn == Some("h2") {
        return (Seat::Http2, "this port takes HTTP/2 alone, which carries no WebSockets in nginx".into());
    }
    if let Some((seat, row)) = cure(matrix) {
        return (seat, cured(seat, row, matrix));
    }
    if matrix.rows.iter().any(|r| r.opened() && remedy(&r.change).is_some()) {
        return (Seat::Unknown, "several unrelated changes help, which looks like chance: try again".into());
    }
    if let Some(found) = beside_the_direct(matrix, base, context) {
        return found;
    }
    if phase != Some(Phase::Upgrade) {
        return (Seat::Reach, format!("no handshake gets as far as the server: {}", words(base.failure.as_ref())));
    }
    match (&context.named, base.status) {
        (Some(named), _) => (Seat::Proxy, format!("no single change helps; the configuration explains it: {named}")),
        (None, Some(502..=504)) if context.proxied => {
            (Seat::Backend, "nginx itself says that it got no answer from the backend".into())
        }
        (None, _) if context.passed_on => {
            (Seat::Backend, "no single change helps, and nginx passes all of it on: the backend refuses it".into())
        }
        _ => (
            Seat::Unknown,
            "no single change helps; ask the backend directly, too: --backend ws://HOST:PORT/PATH".into(),
        ),
    }
}

/// What the direct handshakes tell of a failing one.
fn beside_the_direct(matrix: &Matrix, base: &Row, context: &Context) -> Option<(Seat, String)> {
    let directs: Vec<&Row> = matrix.rows.iter().filter(|r| matches!(r.change, Change::Direct { .. })).collect();
    let works = directs.iter().filter(|r| r.opened()).count();
    if directs.is_empty() {
        return None;
    }
    if works == directs.len() {
        let named = context.named.as_ref().map_or_else(String::new, |n| format!(": {n}"));
        let who = if context.proxied { "nginx" } else { "what stands before the backend" };
        return Some((Seat::Proxy, format!("the backend accepts what fails through the proxy: it is {who}{named}")));
    }
    if works > 0 {
        return Some((Seat::Backend, format!("only {works} of {} backends accept it", directs.len())));
    }
    let refused = |r: &&Row| r.failure.as_ref().is_some_and(|f| f.kind == FailureKind::HttpStatus);
    let gateway = matches!(base.status, Some(502..=504));
    if directs.iter().all(|r| r.alike(base)) {
        return Some((Seat::Backend, "it fails directly in the same way: it is the backend".into()));
    }
    if gateway {
        let said = words(directs.first().and_then(|r| r.failure.as_ref()));
        return Some((Seat::Backend, format!("the backend cannot be used directly either: {said}")));
    }
    let both = directs.iter().all(refused) && base.status.is_some();
    both.then(|| (Seat::Unknown, "it is refused both ways, but not alike: compare the two answers".to_owned()))
}

fn cured(seat: Seat, row: &Row, matrix: &Matrix) -> String {
    match (&row.change, seat) {
        (Change::OwnOrigin { origin }, _) => {
            format!("it wants an Origin, and none was sent: with {origin} it works")
        }
        (_, Seat::Origin) if matrix.row(|c| matches!(c, Change::OwnOrigin { .. })).is_some() => {
            "it wants an Origin, and none was sent".into()
        }
        (_, Seat::Origin) => "the origin check refuses the Origin that was sent".into(),
        (_, Seat::Subprotocol) => "the subprotocol that was offered is what it refuses".into(),
        (Change::Slash { path }, _) => format!("the path is the fault: {path} works"),
        (Change::Address { address }, _) => {
            format!("it works by {address} alone: another address of the name is wrong")
        }
        _ => "it is accepted only when compression is offered".into(),
    }
}

#[cfg(test)]
mod tests;
