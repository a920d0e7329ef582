//! How attempts and tunnels of a probe ended, in a light, a word, and a sentence.

use crate::diagnose::close_code;
use crate::event::probe::{ClosedBy, Failure, FailureKind};
use crate::human;
use crate::model::probes::{Closed, Outcome};

use super::super::light::Light;

/// The light of one entry of a history.
#[must_use]
pub const fn light(outcome: &Outcome) -> Light {
    match outcome {
        Outcome::Opened => Light::Ok,
        Outcome::Failed(_) => Light::Bad,
        Outcome::Closed(Closed { by: ClosedBy::Us, .. }) => Light::Idle,
        Outcome::Closed(_) => Light::Warn,
    }
}

/// The same in a word: what failed, or who closed.
#[must_use]
pub fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Opened => "open".to_owned(),
        Outcome::Failed(f) => status(f).map_or_else(|| kind(f.kind).to_owned(), str::to_owned),
        Outcome::Closed(c) => match (c.by, c.code) {
            (ClosedBy::ServerClose, Some(code)) => format!("server {code}"),
            _ => closer(c.by).to_owned(),
        },
    }
}

/// The status in the sentence of a failure: the answer itself is kept only of the latest attempt.
fn status(f: &Failure) -> Option<&str> {
    let rest = f.said.strip_prefix("the server answered ").filter(|_| f.kind == FailureKind::HttpStatus)?;
    rest.get(..3).filter(|s| s.bytes().all(|b| b.is_ascii_digit()))
}

const fn closer(by: ClosedBy) -> &'static str {
    match by {
        ClosedBy::ServerClose => "server",
        ClosedBy::Fin => "cut",
        ClosedBy::Reset => "reset",
        ClosedBy::PongTimeout => "no pong",
        ClosedBy::ProtocolError => "protocol",
        ClosedBy::Us => "us",
    }
}

/// A way of failing in a word.
#[must_use]
pub const fn kind(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::NameNotFound => "no name",
        FailureKind::ConnectionRefused => "refused",
        FailureKind::Timeout => "timeout",
        FailureKind::Unreachable => "no route",
        FailureKind::TlsExpired => "expired",
        FailureKind::TlsNameMismatch => "tls name",
        FailureKind::TlsUntrusted => "untrusted",
        FailureKind::TlsFailed => "tls",
        FailureKind::NotTls => "no tls",
        FailureKind::ClosedEarly => "closed",
        FailureKind::Reset => "reset",
        FailureKind::HttpStatus => "status",
        FailureKind::AcceptMismatch => "accept",
        FailureKind::BadUpgradeHeaders => "headers",
        FailureKind::NotHttp => "no http",
        FailureKind::SubprotocolMismatch => "subproto",
        FailureKind::Io => "i/o",
    }
}

/// The end of a tunnel in a word.
#[must_use]
pub fn closed(c: &Closed) -> String {
    match (c.by, c.code) {
        (ClosedBy::ServerClose, Some(code)) => format!("code {code}"),
        (ClosedBy::ServerClose, None) => "closed".into(),
        (ClosedBy::Us, _) => "off".into(),
        (by, _) => closer(by).to_owned(),
    }
}

/// In a sentence: who closed, with which code and reason, at which age and after how long a silence.
#[must_use]
pub fn said(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Opened => "101, open".into(),
        Outcome::Failed(f) => f.said.clone(),
        Outcome::Closed(c) => {
            let how = match c.by {
                ClosedBy::ServerClose => "the server closed",
                ClosedBy::Fin => "FIN without a close frame",
                ClosedBy::Reset => "reset",
                ClosedBy::PongTimeout => "no pong came",
                ClosedBy::ProtocolError => "the server broke the protocol",
                ClosedBy::Us => "closed by us",
            };
            let code = c.code.map_or_else(String::new, |c| format!(" with {c}, {}", close_code(c)));
            let reason = if c.reason.is_empty() { String::new() } else { format!(" ({})", c.reason) };
            format!("{how}{code}{reason}, after {}, silent for {}", human::span(c.held), human::span(c.idle))
        }
    }
}
