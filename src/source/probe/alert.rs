//! What rustls says when TLS fails, in our own words and with what would help.

use std::io;

use rustls::Error;

use super::fault::Fault;
use crate::event::probe::{FailureKind, Phase};
use crate::human::visible;

pub(super) fn failed(said: impl Into<String>) -> Box<Fault> {
    Fault::new(Phase::Tls, FailureKind::TlsFailed, said)
}

/// The TLS error inside an input or output error.
pub(super) fn cause_of(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// What would help against `cause`, as the end of a sentence.
pub(super) fn hint(cause: &Error) -> &'static str {
    use rustls::AlertDescription as A;
    match cause {
        Error::AlertReceived(A::CertificateRequired) => ": it wants a client certificate; give --cert and --key",
        Error::AlertReceived(A::UnrecognisedName) => ": it serves no such name (nginx: ssl_reject_handshake)",
        Error::AlertReceived(A::ProtocolVersion) => ": it speaks only TLS versions older than 1.2",
        Error::AlertReceived(A::NoApplicationProtocol) => ": it does not speak http/1.1",
        _ => "",
    }
}

/// The fault behind an error that TLS reports only after its handshake; `None` when the error is none of TLS. In TLS 1.3
/// a server refuses a client's certificate when the client believes to be through already.
pub(super) fn late_fault(error: &io::Error) -> Option<Box<Fault>> {
    let cause = cause_of(error)?;
    Some(failed(format!("the server broke off TLS: {}{}", visible(cause.to_string().as_bytes()), hint(cause))))
}
