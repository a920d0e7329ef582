//! What a walk through nginx saw: plain data, in the order in which it happened.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::choose::{ByName, Candidate};
use super::pass::How;
use super::script::Scope;
use crate::event::site::{Location, Peer, Place, Server, Setting};

/// The way of one request through nginx.
#[derive(Clone, Debug, Serialize)]
pub struct Walk<'a> {
    /// The target that was asked for.
    #[serde(skip)]
    pub target: &'a str,
    /// The socket that takes it; `None` where nothing listens.
    pub listen: Option<Socket>,
    /// The server; `None` where nothing listens.
    pub server: Option<Chosen>,
    /// What happened, in order.
    pub steps: Vec<Happened>,
    /// Where it ended.
    pub end: End,
    /// What cannot be told for sure, and what was taken for granted instead.
    pub doubts: Vec<String>,
    /// The server and the location at the end.
    #[serde(skip)]
    pub spot: (Option<&'a Server>, Option<&'a Location>),
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Socket {
    /// `0.0.0.0:443`, `[::]:80` or `unix:/run/nginx.sock`.
    pub address: String,
    /// It speaks TLS.
    pub tls: bool,
    /// It speaks HTTP/2 as well.
    pub http2: bool,
    /// It wants a PROXY protocol header first.
    pub proxy_protocol: bool,
    /// The `listen` line of the server.
    pub place: Place,
    /// How many servers share it.
    pub servers: usize,
}

/// The server that was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chosen {
    /// Its names, as written.
    pub names: Vec<String>,
    /// Its line.
    pub place: Place,
    /// Why it was chosen.
    pub why: ByName,
    /// The name that fitted.
    pub name: Option<String>,
    /// The host that was looked for.
    pub host: String,
}

/// One thing that happened on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Happened {
    /// Locations were searched.
    Search {
        /// The path as locations see it.
        path: String,
        /// Every location that was considered, in order, at most [`super::walk::MAX_CANDIDATES`].
        candidates: Vec<Candidate>,
    },
    /// A directive did something.
    Did {
        /// What, in one sentence.
        said: String,
        /// Its line.
        place: Place,
    },
}

/// Where a walk ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum End {
    /// At a backend.
    Upstream(Box<Passed>),
    /// With a redirect, which WebSocket clients do not follow.
    Redirect {
        /// 301 and so on.
        status: u16,
        /// Where to; `None` when it cannot be told.
        to: Option<String>,
        /// Why, in a few words.
        why: String,
        /// The line.
        place: Place,
    },
    /// With an answer of nginx's own.
    Answer {
        /// The status; `None` when the connection ends without one.
        status: Option<u16>,
        /// Why, in a few words.
        why: String,
        /// The line that says so.
        place: Option<Place>,
    },
    /// At files: nothing passes the request on.
    Files {
        /// The location, or the server where no location fits.
        place: Place,
    },
    /// At a backend of another protocol, which carries no WebSocket.
    OtherProtocol {
        /// The words of the directive.
        pass: String,
        /// Its line.
        place: Place,
    },
    /// Nowhere: nothing listens there.
    NoListener {
        /// What nginx listens on.
        listens: Vec<String>,
    },
    /// In a circle: nginx answers 500 after ten rounds.
    Cycle,
    /// Somewhere that cannot be told.
    Unknown {
        /// Why.
        why: String,
        /// The line.
        place: Option<Place>,
    },
}

/// A request handed to a backend.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Passed {
    /// `proxy_pass`, as written.
    pub proxy_pass: Setting<String>,
    /// nginx speaks TLS to the backend.
    pub tls: bool,
    /// The `upstream` block that it names.
    pub upstream: Option<Pool>,
    /// The backends; empty when variables decide.
    pub peers: Vec<Peer>,
    /// The target in the request line; `None` when it cannot be told.
    pub target: Option<String>,
    /// How it came about; `None` when it cannot be told.
    pub how: Option<How>,
    /// `proxy_http_version`.
    pub http_version: Origin<String>,
    /// `proxy_connect_timeout`, `proxy_read_timeout`, `proxy_send_timeout`; in JSON in seconds.
    #[serde(serialize_with = "in_seconds")]
    pub timeouts: [Origin<Duration>; 3],
    /// What nginx sets, nginx's own headers first among those that it is not told.
    pub headers: Vec<Sent>,
    /// `proxy_set_header` lines of outer levels that are lost.
    pub lost: Vec<(String, Place)>,
    /// An error page brought it here without `=`: the client gets this status instead of the backend's.
    pub status_kept: Option<u16>,
}

/// A pool of backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its line.
    pub place: Place,
    /// Its other lines: `keepalive 32`, `ip_hash`.
    pub settings: Vec<(String, Place)>,
}

/// A value with the line and the level that it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin<T> {
    /// The effective value.
    pub value: T,
    /// The line; `None` for nginx's default.
    pub place: Option<Place>,
    /// The level.
    pub scope: Scope,
}

/// A header that nginx sends to the backend, or takes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// Its name.
    pub name: String,
    /// The value as written; `None` for nginx's own.
    pub written: Option<String>,
    /// The value for this request: empty when the header is not sent, `None` when it cannot be told.
    pub value: Option<String>,
    /// The line; `None` for nginx's own.
    pub place: Option<Place>,
    /// The level.
    pub scope: Scope,
}

/// The names of [`Passed::timeouts`].
pub const TIMEOUTS: [&str; 3] = ["proxy_connect_timeout", "proxy_read_timeout", "proxy_send_timeout"];

fn in_seconds<S: Serializer>(timeouts: &[Origin<Duration>; 3], to: S) -> Result<S::Ok, S::Error> {
    let each = TIMEOUTS.iter().zip(timeouts).map(|(name, t)| {
        let place = t.place.clone();
        (*name, Origin { value: t.value.as_secs_f64(), place, scope: t.scope })
    });
    to.collect_map(each)
}

impl Passed {
    /// What is sent under this name; the last line wins. `None` when nginx does not touch the header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&Sent> {
        self.headers.iter().rev().find(|h| h.name.eq_ignore_ascii_case(name))
    }

    /// The backend is asked for a WebSocket in HTTP/1.1; `None` when that cannot be told.
    #[must_use]
    pub fn upgrades(&self) -> Option<bool> {
        if self.http_version.value != "1.1" || self.status_kept.is_some() {
            return Some(false);
        }
        let value = |name: &str| self.header(name).map(|h| h.value.as_deref());
        let upgrade = value("upgrade").map_or(Some(false), |v| Some(v?.eq_ignore_ascii_case("websocket")));
        let token = |v: &str| v.split(',').any(|t| t.trim().eq_ignore_ascii_case("upgrade"));
        let connection = value("connection").map_or(Some(false), |v| Some(token(v?)));
        match (upgrade, connection) {
            (Some(true), Some(true)) => Some(true),
            (Some(false), _) | (_, Some(false)) => Some(false),
            _ => None,
        }
    }
}

impl End {
    /// The backend that was reached.
    #[must_use]
    pub fn passed(&self) -> Option<&Passed> {
        if let Self::Upstream(passed) = self { Some(passed) } else { None }
    }
}
