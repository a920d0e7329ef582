//! What TLS showed of a server: its certificate, the chain above it, and why it was not trusted.

use crate::event::probe::{FailureKind, Tls};
use crate::human;
use crate::time::Timestamp;

use super::super::light::Light;
use super::super::panes::life;
use super::super::snapshot::endpoint::EndpointRow;
use super::super::theme::Tone;
use super::{NAME, Page};

/// Names of a certificate that are shown.
const NAMES: usize = 24;
/// Columns of a certificate's name below which its days go to the next line.
const SUBJECT: usize = 20;

/// `2026-11-21 14:00`.
fn minute(at: Timestamp) -> String {
    at.to_string().chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

/// What TLS showed, and why it was not trusted.
pub(super) fn write(page: &mut Page<'_>, r: &EndpointRow, tls: &Tls) {
    page.head("Certificate");
    let of = |o: &Option<String>| o.clone().unwrap_or_else(|| "·".to_owned());
    let distrust =
        [FailureKind::TlsExpired, FailureKind::TlsNameMismatch, FailureKind::TlsUntrusted, FailureKind::TlsFailed];
    let failure = r.failure().filter(|f| distrust.contains(&f.kind));
    if let Some(f) = failure {
        page.toned("refused", &format!("{} {}", Light::Bad.sign(), f.said), Tone::Bad);
    }
    let mut names: Vec<String> = tls.names.iter().take(NAMES).cloned().collect();
    if tls.names.len() > NAMES {
        names.push(format!("and {} more", tls.names.len() - NAMES));
    }
    page.pair("names", &if names.is_empty() { "·".to_owned() } else { names.join(", ") });
    chain(page, tls, failure.is_some_and(|f| f.kind == FailureKind::TlsUntrusted));
    if tls.version.is_some() {
        let alpn = tls.alpn.as_ref().map_or_else(String::new, |a| format!(", ALPN {a}"));
        page.pair("tls", &format!("{}, {}{alpn}", of(&tls.version), of(&tls.cipher)));
    }
}

/// The chain as it was sent, each certificate with its days:
///
/// ```text
/// chain       CN=chat.example               ▲ 9 days left, until 2026-11-30 12:00 UTC
///             └ CN=Example CA R3            812 days left, until 2029-02-10 00:00 UTC
///               └ CN=Example Root           not sent: who connects must know it
/// ```
fn chain(page: &mut Page<'_>, tls: &Tls, untrusted: bool) {
    let name = tls.subject.clone().unwrap_or_else(|| "·".to_owned());
    let mut links = vec![(name, tls.not_after.map(|end| days(end, page.look.now)))];
    links.extend(tls.above.iter().map(|c| (c.subject.clone(), Some(days(c.not_after, page.look.now)))));
    let unread = tls.chain.saturating_sub(links.len());
    let last = tls.above.last().map(|c| (c.subject.as_str(), c.issuer.as_str()));
    let last = last.or_else(|| Some((tls.subject.as_deref()?, tls.issuer.as_deref()?)));
    if unread > 0 {
        let said = human::counted(unread as u64, "more certificate", "more certificates");
        links.push((said, Some((Tone::Muted, "sent".to_owned()))));
    } else if let Some((subject, issuer)) = last {
        let (tone, said) = match untrusted {
            _ if subject == issuer => (Tone::Muted, "itself"),
            true if tls.chain == 1 => (Tone::Warn, "▲ not sent: often the intermediate one is missing"),
            true => (Tone::Warn, "▲ not sent, and not known here"),
            false => (Tone::Muted, "not sent: known to whoever trusts it"),
        };
        links.push((issuer.to_owned(), Some((tone, said.to_owned()))));
    }
    put_links(page, links);
}

type Link = (String, Option<(Tone, String)>);

/// Each certificate one step further in than the one it signed, its days in one column, or below it where there is no room.
fn put_links(page: &mut Page<'_>, links: Vec<Link>) {
    let room = page.width.saturating_sub(NAME);
    let lead = |depth: usize| if depth == 0 { String::new() } else { format!("{}└ ", "  ".repeat(depth - 1)) };
    let widest = links.iter().enumerate().map(|(n, (name, _))| human::width(name) + 2 * n).max().unwrap_or(0);
    let days = links.iter().filter_map(|(_, end)| end.as_ref()).map(|(_, said)| human::width(said)).max().unwrap_or(0);
    let beside = room >= days + 2 + SUBJECT.min(widest);
    let names = if beside { widest.min(room - days - 2) } else { room };
    for (n, (name, end)) in links.into_iter().enumerate() {
        let label = if n == 0 { "chain" } else { "" };
        let lead = lead(n);
        let name = human::cut_middle(&name, names.saturating_sub(human::width(&lead))).into_owned();
        let gap = (names + 2).saturating_sub(human::width(&lead) + human::width(&name));
        let look = page.look;
        let mut spans = vec![look.span(Tone::Faint, lead), look.span(Tone::Plain, name)];
        let Some((tone, said)) = end else {
            page.named(label, spans);
            continue;
        };
        if beside {
            spans.extend([look.span(Tone::Plain, " ".repeat(gap)), look.span(tone, said)]);
            page.named(label, spans);
        } else {
            page.named(label, spans);
            page.toned("", &said, tone);
        }
    }
}

/// `▲ 9 days left, until 2026-11-30 12:00 UTC`.
fn days(end: Timestamp, now: Timestamp) -> (Tone, String) {
    let (light, days) = life::certificate(end, now);
    let said = human::counted(days.unsigned_abs(), "day", "days");
    let (tone, said) = match light {
        Light::Bad => (light.tone(), format!("{} ended {said} ago", light.sign())),
        Light::Warn => (light.tone(), format!("{} {said} left", light.sign())),
        _ => (Tone::Plain, format!("{said} left")),
    };
    (tone, format!("{said}, until {} UTC", minute(end)))
}
