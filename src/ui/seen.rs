//! The handshakes of real clients as lines of an endpoint's details: what was asked, passed on and answered, and what got
//! lost on the way.

use crate::event::handshake::{Fate, Handshake, Head, HeaderFate};
use crate::human;

use super::snapshot::seen::SeenRow;
use super::theme::Tone;

/// Handshakes shown in full: the newest of so many answers.
const SHOWN: usize = 3;

/// One line of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenLine {
    /// Begins a part.
    Head(String),
    /// Text with a name at the left; an empty name goes on with the part before.
    Pair(&'static str, String, Tone),
}

/// Everything that is to be said of them; `clock` writes times of day.
#[must_use]
pub fn lines(rows: &[SeenRow], clock: impl Fn(&Handshake) -> String) -> Vec<SeenLine> {
    let mut out = Vec::new();
    if rows.is_empty() {
        return out;
    }
    out.push(SeenLine::Head("Handshakes of clients, from the debug log".to_owned()));
    let counts: Vec<String> = rows.iter().map(count).collect();
    out.push(SeenLine::Pair("seen", counts.join(", "), Tone::Plain));
    for row in rows.iter().take(SHOWN) {
        handshake(&mut out, &row.newest, &clock(&row.newest));
    }
    out
}

fn count(row: &SeenRow) -> String {
    let answer = row.status.map_or_else(|| "without an answer".to_owned(), |s| format!("answered {s}"));
    format!("{} {answer}", human::grouped(row.count))
}

fn handshake(out: &mut Vec<SeenLine>, h: &Handshake, clock: &str) {
    let client = h.client.as_deref().unwrap_or("an unknown client");
    let ours = if h.is_ours() { ", a probe of wspulse" } else { "" };
    out.push(SeenLine::Head(format!("{clock}  {client}, connection {}{ours}", h.connection)));
    if h.truncated {
        let said = "cut in the log: headers may be missing here that were sent";
        out.push(SeenLine::Pair("", said.to_owned(), Tone::Warn));
    }
    head(out, "client", &h.request, Tone::Plain);
    match (&h.upstream_request, h.fates()) {
        (Some(sent), Some(fates)) => {
            let to = h.upstream.as_ref().map_or_else(String::new, |u| format!("   to {u}"));
            let old = h.asks_websocket() && sent.line.ends_with(" HTTP/1.0");
            let tone = if old { Tone::Bad } else { Tone::Plain };
            out.push(SeenLine::Pair("passed on", format!("{}{to}", sent.line), tone));
            out.extend(fates.iter().map(fate));
        }
        _ => out.push(SeenLine::Pair("passed on", "nothing, as far as the log tells".to_owned(), Tone::Muted)),
    }
    if let Some(answer) = &h.upstream_answer {
        head(out, "backend", answer, tone(answer));
    }
    match &h.answer {
        Some(answer) => head(out, "nginx", answer, tone(answer)),
        None => out.push(SeenLine::Pair("nginx", "no answer in the log".to_owned(), Tone::Muted)),
    }
}

fn tone(answer: &Head) -> Tone {
    if answer.status() == Some(101) { Tone::Good } else { Tone::Warn }
}

fn head(out: &mut Vec<SeenLine>, name: &'static str, head: &Head, tone: Tone) {
    out.push(SeenLine::Pair(name, head.line.clone(), tone));
    out.extend(head.headers.iter().map(|(n, v)| SeenLine::Pair("", format!("  {n}: {v}"), Tone::Muted)));
}

/// A header that nginx passed on, with a sign where it is not what the client sent.
fn fate(f: &HeaderFate<'_>) -> SeenLine {
    let (name, sent, asked) = (f.name, f.sent.unwrap_or_default(), f.asked.unwrap_or_default());
    // Without these there is no WebSocket; that others change may be meant.
    let vital = ["Upgrade", "Connection"].iter().any(|n| n.eq_ignore_ascii_case(name))
        || name.to_ascii_lowercase().starts_with("sec-websocket-");
    let lost = if vital { Tone::Bad } else { Tone::Warn };
    let (text, tone) = match f.fate {
        Fate::Kept => (format!("  {name}: {sent}"), Tone::Muted),
        Fate::Added => (format!("+ {name}: {sent}"), Tone::Muted),
        // nginx writes its own `upgrade` for the client's `Upgrade` or `keep-alive, Upgrade`: as it should be.
        Fate::Changed if vital && sent.eq_ignore_ascii_case("upgrade") => (format!("  {name}: {sent}"), Tone::Muted),
        Fate::Changed => (format!("~ {name}: {sent}   (the client sent: {asked})"), lost),
        Fate::Dropped => (format!("- {name}: {asked}   (not passed on)"), lost),
        Fate::Unseen => (format!("? {name}: {asked}   (not in the log)"), Tone::Muted),
    };
    SeenLine::Pair("", text, tone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use std::sync::Arc;

    fn head_of(line: &str, headers: &[(&str, &str)]) -> Head {
        Head { line: line.into(), headers: headers.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect() }
    }

    #[test]
    fn what_got_lost_stands_out() {
        let h = Handshake {
            at: Timestamp::default(),
            pid: 7,
            connection: 17,
            client: Some("192.0.2.9:5555".into()),
            request: head_of(
                "GET /ws HTTP/1.1",
                &[
                    ("Host", "a.test"),
                    ("Upgrade", "websocket"),
                    ("Connection", "Upgrade"),
                    ("Origin", "https://a.test"),
                ],
            ),
            upstream: Some("127.0.0.1:9".into()),
            upstream_request: Some(head_of(
                "GET /ws HTTP/1.0",
                &[("Host", "app"), ("Connection", "close"), ("Origin", "https://a.test"), ("X-Real-IP", "192.0.2.9")],
            )),
            upstream_answer: Some(head_of("426 Upgrade Required", &[])),
            answer: Some(head_of("HTTP/1.1 426 Upgrade Required", &[])),
            truncated: false,
        };
        let row = SeenRow { status: Some(426), count: 1_204, newest: Arc::new(h) };
        let said: Vec<String> = lines(&[row], |_| "14:02:31".into())
            .into_iter()
            .map(|l| match l {
                SeenLine::Head(t) => format!("# {t}"),
                SeenLine::Pair(n, t, tone) => format!("{n}|{t}|{tone:?}"),
            })
            .collect();
        let expected = [
            "# Handshakes of clients, from the debug log",
            "seen|1,204 answered 426|Plain",
            "# 14:02:31  192.0.2.9:5555, connection 17",
            "client|GET /ws HTTP/1.1|Plain",
            "|  Host: a.test|Muted",
            "|  Upgrade: websocket|Muted",
            "|  Connection: Upgrade|Muted",
            "|  Origin: https://a.test|Muted",
            "passed on|GET /ws HTTP/1.0   to 127.0.0.1:9|Bad",
            "|~ Host: app   (the client sent: a.test)|Warn",
            "|~ Connection: close   (the client sent: Upgrade)|Bad",
            "|  Origin: https://a.test|Muted",
            "|+ X-Real-IP: 192.0.2.9|Muted",
            "|- Upgrade: websocket   (not passed on)|Bad",
            "backend|426 Upgrade Required|Warn",
            "nginx|HTTP/1.1 426 Upgrade Required|Warn",
        ];
        assert_eq!(said, expected);
        assert_eq!(lines(&[], |_| String::new()), []);
    }
}
