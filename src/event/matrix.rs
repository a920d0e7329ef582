//! A handshake matrix: the same endpoint asked several times, with one thing changed at a time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::probe::Failure;

/// What became of the handshakes with one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matrix {
    /// The URL that clients use, secrets redacted.
    pub endpoint: Arc<str>,
    /// The handshakes in the order in which they were tried; the first is the one as asked.
    pub rows: Vec<Row>,
    /// What was not tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// One handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What was changed.
    #[serde(flatten)]
    pub change: Change,
    /// Why it failed; `None` for a valid 101.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// How long the last phase took that began.
    #[serde(with = "crate::time::seconds")]
    pub took: Duration,
    /// The HTTP status of the answer, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The answer's `Location`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The answer's `Sec-WebSocket-Extensions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<String>,
    /// The protocol that TLS agreed on (RFC 7301).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpn: Option<String>,
}

/// The one thing that differs from the handshake as asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// Nothing.
    AsAsked,
    /// It goes to the backend.
    Direct {
        /// Its URL.
        url: String,
    },
    /// Neither `Upgrade` nor `Connection` is sent.
    NoUpgrade,
    /// Asked in HTTP/1.0.
    Http10,
    /// An `Origin` that nobody can have.
    OtherOrigin {
        /// Which.
        origin: String,
    },
    /// The `Origin` that a page of the very host would send, where none was asked for.
    OwnOrigin {
        /// Which.
        origin: String,
    },
    /// No `Origin`, where one was asked for.
    NoOrigin,
    /// No subprotocol, where one was asked for.
    NoSubprotocol,
    /// The path with its last slash taken away or one added.
    Slash {
        /// The path that was asked for.
        path: String,
    },
    /// permessage-deflate is offered (RFC 7692), as browsers do.
    Deflate,
    /// TLS offers HTTP/2 before HTTP/1.1.
    Http2,
    /// One of several addresses of the name.
    Address {
        /// Which.
        address: IpAddr,
    },
    /// Nothing, once more: does the first answer hold?
    Again,
}

/// Something that was not tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// What would have been changed.
    #[serde(flatten)]
    pub change: Change,
    /// Why not.
    pub why: Why,
}

/// Why a handshake was not tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Time was up.
    Time,
    /// A dozen handshakes are enough.
    Enough,
}

impl Row {
    /// A valid 101 came.
    #[must_use]
    pub const fn opened(&self) -> bool {
        self.failure.is_none()
    }

    /// A 101 came, valid or not.
    #[must_use]
    pub fn switched(&self) -> bool {
        self.opened() || self.status == Some(101)
    }

    /// Both opened, or both failed in the same way.
    #[must_use]
    pub fn alike(&self, other: &Self) -> bool {
        let way = |r: &Self| r.failure.as_ref().map(|f| (f.phase, f.kind));
        way(self) == way(other) && self.status == other.status
    }
}

impl Matrix {
    /// The handshake as asked.
    #[must_use]
    pub fn base(&self) -> Option<&Row> {
        self.row(|c| *c == Change::AsAsked)
    }

    /// The first row whose change passes `test`.
    #[must_use]
    pub fn row(&self, test: impl Fn(&Change) -> bool) -> Option<&Row> {
        self.rows.iter().find(|r| test(&r.change))
    }
}
