//! The header that makes an opening handshake fail or succeed, found and named: by RFC 6455 section 4.1 where there was
//! a 101, by the meaning of the status (RFC 9110 section 15) where there was none.

use crate::event::probe::{Answer, FailureKind};

use super::super::theme::Tone;

/// One line of a request or an answer, and why it decides, when it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marked {
    /// The line; of a header that is not there, its name.
    pub text: String,
    /// In few words.
    pub why: Option<(Tone, &'static str)>,
}

/// The lines of an answer, the status line first, headers that are missing last.
pub(super) fn answer(request: &str, a: &Answer, failure: Option<FailureKind>) -> Vec<Marked> {
    let line = format!("{} {} {}", a.version, a.status, a.reason);
    let mut out = vec![Marked { text: line.trim_end().to_owned(), why: status(a, failure) }];
    for (name, value) in &a.headers {
        out.push(Marked { text: format!("{name}: {value}"), why: header(request, a, failure, name, value) });
    }
    let missing = |name: &&&str| a.header(name).is_none();
    let lost = |name: &&str| Marked { text: (*name).to_owned(), why: Some((Tone::Bad, "missing: a 101 must have it")) };
    out.extend(needed(failure).iter().filter(missing).map(lost));
    out
}

/// The headers that a failure of this kind is about.
const fn needed(failure: Option<FailureKind>) -> &'static [&'static str] {
    match failure {
        Some(FailureKind::BadUpgradeHeaders) => &["Upgrade", "Connection"],
        Some(FailureKind::AcceptMismatch) => &["Sec-WebSocket-Accept"],
        Some(FailureKind::SubprotocolMismatch) => &["Sec-WebSocket-Protocol"],
        _ => &[],
    }
}

fn status(a: &Answer, failure: Option<FailureKind>) -> Option<(Tone, &'static str)> {
    match failure {
        Some(FailureKind::HttpStatus) => Some((Tone::Bad, "101 was wanted")),
        Some(FailureKind::BadUpgradeHeaders) if matches!(a.version.as_str(), "HTTP/1.0" | "HTTP/0.9") => {
            Some((Tone::Bad, "a WebSocket opens with HTTP/1.1"))
        }
        _ => None,
    }
}

fn header(
    request: &str,
    a: &Answer,
    failure: Option<FailureKind>,
    name: &str,
    value: &str,
) -> Option<(Tone, &'static str)> {
    let name = name.to_ascii_lowercase();
    match failure {
        None if a.status == 101 => match name.as_str() {
            "upgrade" => Some((Tone::Good, "the switch is granted")),
            "sec-websocket-accept" => Some((Tone::Good, "fits the key sent")),
            "sec-websocket-protocol" => Some((Tone::Good, "one of those offered")),
            _ => None,
        },
        Some(FailureKind::BadUpgradeHeaders) => match name.as_str() {
            "upgrade" if !any(a, "Upgrade", "websocket") => Some((Tone::Bad, "websocket must stand here")),
            "connection" if !any(a, "Connection", "upgrade") => Some((Tone::Bad, "upgrade must stand here")),
            "sec-websocket-extensions" if !value.trim().is_empty() => Some((Tone::Bad, "was not offered")),
            _ => None,
        },
        Some(FailureKind::AcceptMismatch) if name == "sec-websocket-accept" => {
            Some((Tone::Bad, "does not fit the key sent"))
        }
        Some(FailureKind::SubprotocolMismatch) if name == "sec-websocket-protocol" => {
            let offered = sent(request, "Sec-WebSocket-Protocol").is_some();
            Some((Tone::Bad, if offered { "not one of those offered" } else { "none was offered" }))
        }
        Some(FailureKind::HttpStatus) => refusal(a.status, &name, value),
        _ => None,
    }
}

/// What decides in an answer that is no 101.
fn refusal(status: u16, name: &str, value: &str) -> Option<(Tone, &'static str)> {
    let why = match (status, name) {
        // WHATWG Fetch, "WebSocket opening handshake": the redirect mode is "error".
        (300..=399, "location") => "browsers do not follow it for a WebSocket",
        (401, "www-authenticate") | (407, "proxy-authenticate") => "wants credentials of this kind",
        // RFC 6455 section 4.4: the versions that the server speaks instead.
        (_, "sec-websocket-version") if !has_token(value, "13") => "not the version sent",
        (426, "upgrade") if has_token(value, "websocket") => "asks for what was sent: did it get here?",
        (405, "allow") => "GET is what a WebSocket opens with",
        (429 | 503, "retry-after") => "not before",
        (200, "content-type") => "an ordinary answer, as if no upgrade was asked for",
        _ => return None,
    };
    Some((Tone::Warn, why))
}

/// The lines of a request; those that the answer turns on are marked.
pub(super) fn request(request: &str, a: Option<&Answer>, failure: Option<FailureKind>) -> Vec<Marked> {
    let status = a.map_or(0, |a| a.status);
    let asks_again = status == 426 && a.is_some_and(|a| any(a, "Upgrade", "websocket"));
    let why = |line: &str| {
        let name = line.split_once(':')?.0.to_ascii_lowercase();
        let why = match (failure?, name.as_str()) {
            (FailureKind::HttpStatus, "upgrade" | "connection") if asks_again => "sent, and yet asked for",
            (FailureKind::HttpStatus, "authorization") if status == 401 => "sent, and not taken",
            (FailureKind::HttpStatus, "origin") if status == 403 => "servers often decide by it",
            (FailureKind::AcceptMismatch, "sec-websocket-key") => "the key to be answered",
            (FailureKind::SubprotocolMismatch, "sec-websocket-protocol") => "what was offered",
            _ => return None,
        };
        Some((Tone::Warn, why))
    };
    request.lines().map(|line| Marked { text: line.to_owned(), why: why(line) }).collect()
}

fn sent<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = request.lines().filter_map(|l| l.split_once(':'));
    fields.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim())
}

fn any(a: &Answer, name: &str, token: &str) -> bool {
    a.headers.iter().any(|(n, v)| n.eq_ignore_ascii_case(name) && has_token(v, token))
}

fn has_token(list: &str, token: &str) -> bool {
    list.split(',').any(|item| item.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, headers: &[(&str, &str)]) -> Answer {
        Answer {
            version: "HTTP/1.1".into(),
            status,
            headers: headers.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
            ..Answer::default()
        }
    }

    fn said(marked: &[Marked]) -> Vec<String> {
        marked.iter().filter_map(|m| Some(format!("{} < {}", m.text, m.why?.1))).collect()
    }

    const REQUEST: &str = "GET /ws HTTP/1.1\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Key: x";

    #[test]
    fn the_header_that_decides_is_named() {
        use FailureKind::{AcceptMismatch, BadUpgradeHeaders, HttpStatus, SubprotocolMismatch};
        let full = [("Upgrade", "WebSocket"), ("Connection", "keep-alive, Upgrade"), ("Sec-WebSocket-Accept", "y")];
        let cases: Vec<(Answer, Option<FailureKind>, &[&str])> = vec![
            (
                of(101, &full),
                None,
                &["Upgrade: WebSocket < the switch is granted", "Sec-WebSocket-Accept: y < fits the key sent"],
            ),
            (of(101, &full), Some(AcceptMismatch), &["Sec-WebSocket-Accept: y < does not fit the key sent"]),
            (of(101, &full[..2]), Some(AcceptMismatch), &["Sec-WebSocket-Accept < missing: a 101 must have it"]),
            (of(101, &full[..1]), Some(BadUpgradeHeaders), &["Connection < missing: a 101 must have it"]),
            (
                of(101, &[("upgrade", "h2c"), full[1]]),
                Some(BadUpgradeHeaders),
                &["upgrade: h2c < websocket must stand here"],
            ),
            (of(101, &full), Some(SubprotocolMismatch), &["Sec-WebSocket-Protocol < missing: a 101 must have it"]),
            (
                of(301, &[("Location", "https://a.test/ws")]),
                Some(HttpStatus),
                &[
                    "HTTP/1.1 301 < 101 was wanted",
                    "Location: https://a.test/ws < browsers do not follow it for a WebSocket",
                ],
            ),
            (
                of(401, &[("WWW-Authenticate", "Basic")]),
                Some(HttpStatus),
                &["HTTP/1.1 401 < 101 was wanted", "WWW-Authenticate: Basic < wants credentials of this kind"],
            ),
            (
                of(426, &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]),
                Some(HttpStatus),
                &["HTTP/1.1 426 < 101 was wanted", "Upgrade: websocket < asks for what was sent: did it get here?"],
            ),
            (
                of(400, &[("Sec-WebSocket-Version", "8, 7")]),
                Some(HttpStatus),
                &["HTTP/1.1 400 < 101 was wanted", "Sec-WebSocket-Version: 8, 7 < not the version sent"],
            ),
            (of(101, &full), Some(FailureKind::Reset), &[]),
        ];
        for (a, failure, expected) in cases {
            assert_eq!(said(&answer(REQUEST, &a, failure)), expected, "{failure:?}");
        }
    }

    #[test]
    fn the_request_shows_what_the_answer_turns_on() {
        let again = of(426, &[("Upgrade", "websocket")]);
        let marked = request(REQUEST, Some(&again), Some(FailureKind::HttpStatus));
        assert_eq!(
            said(&marked),
            ["Upgrade: websocket < sent, and yet asked for", "Connection: Upgrade < sent, and yet asked for"]
        );
        assert_eq!(marked.len(), 4, "the whole request stays");
        assert_eq!(said(&request(REQUEST, None, None)), Vec::<String>::new());
    }
}
