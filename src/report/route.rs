//! The way of a URL through nginx: exactly what `wspulse route` prints.

mod markdown;
mod said;
mod text;

use serde::Serialize;

use crate::diagnose::route::OnRoute;
use crate::event::route::script::Scope;
use crate::event::route::{Chosen, End, Happened, Passed, Sent, Socket, Walk};
use crate::event::site::{Place, Site};
use crate::human::{self, redact};

pub use markdown::route_markdown;
pub use text::route_text;

/// The version of the shape.
pub const ROUTE_SCHEMA: &str = "wspulse.route/1";

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// The URL, without secrets.
    pub url: String,
    /// The Host header.
    pub host: String,
    /// `--from`.
    pub from: Option<String>,
}

/// `wspulse.route/1`. Unknown is null.
#[derive(Clone, Debug, Serialize)]
pub struct RouteReport {
    /// Always [`ROUTE_SCHEMA`].
    pub schema: &'static str,
    /// What was asked.
    #[serde(flatten)]
    pub asked: Asked,
    /// The main file of the configuration.
    pub conf: String,
    /// The release whose defaults hold.
    pub nginx: Option<String>,
    /// The socket.
    pub listen: Option<Socket>,
    /// The server.
    pub server: Option<Chosen>,
    /// The location at the end, as written, and its line.
    pub location: Option<LocationFacts>,
    /// What happened, in order.
    pub steps: Vec<Happened>,
    /// Where a WebSocket handshake ends.
    pub end: End,
    /// The request line to the backend.
    pub request_line: Option<String>,
    /// What nginx sets in the request to the backend.
    pub headers: Vec<HeaderFacts>,
    /// Where a plain request to the same URL ends, when that is elsewhere.
    pub plain_ends: Option<String>,
    /// The backend is asked for a WebSocket; null when that cannot be told.
    pub upgraded: Option<bool>,
    /// What cannot be told for sure.
    pub doubts: Vec<String>,
    /// The findings that hold.
    pub findings: Vec<OnRoute>,
    /// All of it in one sentence.
    pub said: String,
}

/// The location at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LocationFacts {
    /// As written: `^~ /ws/`.
    pub written: String,
    /// Its line.
    pub place: Place,
}

/// A header to the backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeaderFacts {
    /// Its name.
    pub name: String,
    /// The value as written; null for nginx's own.
    pub written: Option<String>,
    /// For a WebSocket handshake: empty when the header is not sent, null when it cannot be told.
    pub websocket: Option<String>,
    /// For a plain request.
    pub plain: Option<String>,
    /// The line; null for nginx's own.
    pub place: Option<Place>,
    /// The level that it comes from.
    pub scope: Scope,
}

impl RouteReport {
    /// The report on the ways of a handshake and of a plain request.
    #[must_use]
    pub fn of(site: &Site, asked: Asked, way: &Walk<'_>, plain: &Walk<'_>, findings: Vec<OnRoute>) -> Self {
        let same = plain.spot.1.map(|l| &l.place) == way.spot.1.map(|l| &l.place)
            && std::mem::discriminant(&plain.end) == std::mem::discriminant(&way.end);
        let passed = way.end.passed();
        let location =
            way.spot.1.map(|l| LocationFacts { written: crate::event::route::written(l), place: l.place.clone() });
        let mut report = Self {
            schema: ROUTE_SCHEMA,
            asked,
            conf: site.conf.clone(),
            nginx: site.version.map(|v| v.to_string()),
            listen: way.listen.clone(),
            server: way.server.clone(),
            location,
            steps: way.steps.iter().map(shown_step).collect(),
            end: shown_end(&way.end),
            request_line: passed.and_then(request_line),
            headers: passed.map(|p| headers(p, plain.end.passed().filter(|_| same))).unwrap_or_default(),
            plain_ends: (!same).then(|| said::ends(&shown_end(&plain.end))),
            upgraded: passed.map_or(Some(false), Passed::upgrades),
            doubts: way.doubts.clone(),
            findings,
            said: String::new(),
        };
        report.said = said::sentence(&report);
        report
    }
}

fn request_line(passed: &Passed) -> Option<String> {
    let target = redact::query(passed.target.as_deref()?);
    Some(format!("GET {target} HTTP/{}", passed.http_version.value))
}

fn shown_step(step: &Happened) -> Happened {
    match step {
        Happened::Did { said, place } => Happened::Did { said: redact::query(said), place: place.clone() },
        search @ Happened::Search { .. } => search.clone(),
    }
}

/// The end without the secrets of the query.
fn shown_end(end: &End) -> End {
    let mut end = end.clone();
    match &mut end {
        End::Upstream(passed) => {
            passed.target = passed.target.as_deref().map(redact::query);
            for h in &mut passed.headers {
                h.value = h.value.take().map(|v| hidden(&h.name, &v));
            }
        }
        End::Redirect { to, .. } => *to = to.as_deref().map(redact::query),
        _ => {}
    }
    end
}

fn hidden(name: &str, value: &str) -> String {
    redact::query(&redact::header_value(name, value))
}

fn headers(ws: &Passed, plain: Option<&Passed>) -> Vec<HeaderFacts> {
    let fact = |h: &Sent| {
        // Both requests meet the same lines of the same location; nginx's own `Upgrade` row stands in one of them only.
        let other = plain.and_then(|p| p.headers.iter().find(|o| o.place == h.place && o.name == h.name));
        let own = plain.is_some() && h.place.is_none();
        HeaderFacts {
            name: h.name.clone(),
            written: h.written.clone(),
            websocket: h.value.as_deref().map(|v| hidden(&h.name, v)),
            plain: match other {
                Some(o) => o.value.as_deref().map(|v| hidden(&o.name, v)),
                None => own.then(String::new),
            },
            place: h.place.clone(),
            scope: h.scope,
        }
    };
    ws.headers.iter().map(fact).collect()
}

/// The report as indented JSON with a line end.
#[must_use]
pub fn route_json(report: &RouteReport) -> String {
    let mut out = serde_json::to_string_pretty(report).unwrap_or_else(|_| "{}".to_owned());
    out.push('\n');
    human::harmless_json(out)
}
