//! A failed attempt on its way to becoming a step: what failed and the evidence kept beside it.

use std::io;
use std::time::Duration;

use crate::event::probe::{Answer, Failure, FailureKind, Phase, Tls};

/// Why a phase failed, with what it had seen by then.
#[derive(Debug)]
pub(super) struct Fault {
    /// Where and why.
    pub(super) failure: Failure,
    /// The answer, as far as there was one.
    pub(super) answer: Option<Answer>,
    /// What TLS showed.
    pub(super) tls: Option<Tls>,
    /// How long the phase took, where that is not simply until now.
    pub(super) took: Option<Duration>,
}

impl Fault {
    pub(super) fn new(phase: Phase, kind: FailureKind, said: impl Into<String>) -> Box<Self> {
        Box::new(Self { failure: Failure { phase, kind, said: said.into() }, answer: None, tls: None, took: None })
    }

    pub(super) fn with_answer(mut self: Box<Self>, answer: impl Into<Option<Answer>>) -> Box<Self> {
        self.answer = answer.into();
        self
    }

    pub(super) fn with_tls(mut self: Box<Self>, tls: Option<Tls>) -> Box<Self> {
        self.tls = tls;
        self
    }
}

/// The kind of an input or output error that comes from the network.
pub(super) fn kind_of(error: &io::Error) -> FailureKind {
    use io::ErrorKind as E;
    match error.kind() {
        E::ConnectionRefused => FailureKind::ConnectionRefused,
        E::TimedOut => FailureKind::Timeout,
        E::HostUnreachable | E::NetworkUnreachable | E::NetworkDown => FailureKind::Unreachable,
        E::ConnectionReset | E::ConnectionAborted | E::BrokenPipe => FailureKind::Reset,
        E::UnexpectedEof => FailureKind::ClosedEarly,
        _ => FailureKind::Io,
    }
}

/// The system's words for an error, without the `(os error 111)` that tells a reader nothing.
pub(super) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let cut = text.find(" (os error").unwrap_or(text.len());
    let mut words = crate::human::visible(&text.as_bytes()[..cut]);
    // "Connection refused" stands in the middle of our sentences; a name such as `DNS` keeps its capitals.
    if words.chars().nth(1).is_some_and(|c| c.is_ascii_lowercase()) {
        words[..1].make_ascii_lowercase();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_part_of_a_sentence() {
        assert_eq!(words(&io::Error::from_raw_os_error(111)), "connection refused");
        assert_eq!(words(&io::Error::other("DNS\x1b")), "DNS\\x1b");
        assert_eq!(words(&io::Error::other("é")), "é");
        assert_eq!(words(&io::Error::other("")), "");
    }
}
