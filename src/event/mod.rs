//! What the outside world said: facts in the past tense, as plain data. The ground floor of the house.
//!
//! One event is one JSON line. The first line of a stream is a [`StreamHeader`], so that a recording says which
//! version of these shapes it holds.

pub mod backend;
pub mod handshake;
pub mod log;
pub mod matrix;
pub mod probe;
pub mod process;
pub mod route;
pub mod silence;
pub mod site;
pub mod soak;
pub mod socket;
pub mod tally;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The version of the event shapes; a recording with another one is refused with a clear message.
pub const STREAM_SCHEMA: &str = "wspulse.events/1";

/// The first line of a recorded or streamed sequence of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamHeader {
    /// Always [`STREAM_SCHEMA`] for what this program writes.
    pub schema: String,
    /// The program's own version.
    pub wspulse: String,
    /// The host that the events are about.
    pub host: String,
    /// When the stream began.
    pub at: Timestamp,
}

/// One event with the moment it speaks of and the source that saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// Live sources stamp the wall clock; history stamps the line's own time.
    pub at: Timestamp,
    /// Who says so.
    pub from: SourceId,
    /// What was said.
    #[serde(flatten)]
    pub event: Event,
}

/// Everything a source can say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "kebab-case")]
pub enum Event {
    /// Time passed. Expiry and rates happen on ticks, never while drawing.
    Tick,
    /// The nginx configuration as read from disk.
    Site(Box<site::Site>),
    /// The nginx processes of this host.
    Processes(process::Processes),
    /// Lines of an error log.
    Errors(log::ErrorBatch),
    /// Lines of an access log.
    Access(log::AccessBatch),
    /// Lines of a backend's own log.
    Backend(backend::BackendBatch),
    /// Changes in the kernel's socket tables.
    Sockets(socket::SocketDelta),
    /// One step in the life of a probe.
    Probe(Box<probe::ProbeEvent>),
    /// Handshakes with one endpoint, one thing changed at a time.
    Matrix(Box<matrix::Matrix>),
    /// How well a source can see.
    Sense(Sense),
}

/// A source: the host it looks at, its kind, and for kinds that come several times (a log, a probe) which one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceId {
    /// The host's name.
    pub host: Arc<str>,
    /// What it looks at.
    pub kind: SourceKind,
    /// A path for a log, a target id for a probe; empty where the kind says all.
    #[serde(default, skip_serializing_if = "is_unnamed")]
    pub name: Arc<str>,
}

fn is_unnamed(name: &str) -> bool {
    name.is_empty()
}

impl SourceId {
    /// A source that its kind names fully.
    #[must_use]
    pub fn new(host: &Arc<str>, kind: SourceKind) -> Self {
        Self { host: Arc::clone(host), kind, name: Arc::from("") }
    }

    /// One of several sources of a kind.
    #[must_use]
    pub fn named(host: &Arc<str>, kind: SourceKind, name: &str) -> Self {
        Self { host: Arc::clone(host), kind, name: Arc::from(name) }
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.word())?;
        if self.name.is_empty() { Ok(()) } else { write!(f, " {}", self.name) }
    }
}

/// What a source looks at. The order is that of the lights in the screen's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// nginx's processes in /proc.
    Process,
    /// nginx's configuration files.
    Config,
    /// An error log.
    ErrorLog,
    /// An access log.
    AccessLog,
    /// A backend's own log.
    BackendLog,
    /// The kernel's socket tables.
    Sockets,
    /// A heartbeat probe.
    Probe,
    /// The session's own ticks.
    Clock,
}

impl SourceKind {
    /// The two words a person reads.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Process => "nginx",
            Self::Config => "config",
            Self::ErrorLog => "error log",
            Self::AccessLog => "access log",
            Self::BackendLog => "backend log",
            Self::Sockets => "sockets",
            Self::Probe => "probe",
            Self::Clock => "clock",
        }
    }
}

/// How well a source can see, why not better, and what would help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sense {
    /// The light.
    pub sight: Sight,
    /// What is seen or what failed, on what: `reading /var/log/nginx/error.log`, `/var/log/nginx/error.log: permission denied`.
    pub said: String,
    /// What to do about it: `run as root or add yourself to group adm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Sense {
    /// The source sees all it should.
    #[must_use]
    pub fn seen(said: impl Into<String>) -> Self {
        Self { sight: Sight::Seen, said: said.into(), remedy: None }
    }

    /// The source sees a part.
    #[must_use]
    pub fn degraded(said: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { sight: Sight::Degraded, said: said.into(), remedy: Some(remedy.into()) }
    }

    /// The source sees nothing.
    #[must_use]
    pub fn blind(said: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { sight: Sight::Blind, said: said.into(), remedy: Some(remedy.into()) }
    }
}

/// The light of a source: ● seen, ▲ degraded, ✖ blind, · off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sight {
    /// Everything that it should see.
    Seen,
    /// A part, or by a poorer way.
    Degraded,
    /// Nothing.
    Blind,
    /// Not asked to look, or not yet.
    Off,
}
