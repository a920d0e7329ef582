//! The way of a URL for a person at a terminal.

use super::{HeaderFacts, RouteReport, said};
use crate::event::route::{Candidate, Happened, Passed, TIMEOUTS, Verdict};
use crate::human;
use crate::report::safe;
use crate::report::text::{Ink, Page};

/// Columns of what a paragraph is about.
const LEAD: usize = 11;
/// Candidates that do not match, and patterns that are not tried, are told one by one up to this number.
const NAMED: usize = 6;

/// The way at 80 columns, wider where a path is longer.
#[must_use]
pub fn route_text(r: &RouteReport, color: bool) -> String {
    let mut page = Page::new(color);
    let nginx = r.nginx.as_ref().map(|v| format!("nginx {v}   ")).unwrap_or_default();
    page.line(&format!(" {}   {nginx}{}", page.ink(Ink::Bold, &safe::line(&r.asked.url)), safe::line(&r.conf)));
    page.line("");
    if let Some(l) = &r.listen {
        let words = [(l.tls, " ssl"), (l.http2, " http2"), (l.proxy_protocol, " proxy_protocol")];
        let words: String = words.iter().filter(|(on, _)| *on).map(|(_, w)| *w).collect();
        let shared = human::counted(l.servers as u64, "server", "servers");
        para(&mut page, "listen", &format!("{}{words} ({}), {shared} on it", l.address, l.place));
    }
    if let Some(s) = &r.server {
        let names = if s.names.is_empty() { "without a name".to_owned() } else { s.names.join(" ") };
        para(&mut page, "server", &format!("{names} ({}): {}", s.place, said::server_why(s)));
    }
    for step in &r.steps {
        match step {
            Happened::Search { path, candidates } => search(&mut page, path, candidates),
            Happened::Did { said, place } => para(&mut page, "then", &format!("{said} ({place})")),
        }
    }
    if let Some(passed) = r.end.passed() {
        backend(&mut page, r, passed);
    }
    if let Some(plain) = &r.plain_ends {
        para(&mut page, "plain", &format!("a plain request to the same URL ends elsewhere: {plain}"));
    }
    for d in &r.doubts {
        para(&mut page, "unsure", d);
    }
    page.line("");
    for f in &r.findings {
        let lead = format!(" {} ", page.ink(Ink::Warn, "▲"));
        page.hang(&lead, 3, &format!("{}: {}", f.id, f.said));
    }
    if let Some(first) = r.findings.first() {
        page.line(&format!("   wspulse explain {}", first.id));
        page.line("");
    }
    let (ink, sign) = match r.upgraded {
        Some(true) => (Ink::Good, "✔"),
        Some(false) => (Ink::Bad, "✖"),
        None => (Ink::Warn, "▲"),
    };
    let lead = format!(" {} ", page.ink(ink, sign));
    page.hang(&lead, 3, &format!("{}.", r.said));
    page.done()
}

fn para(page: &mut Page, what: &str, text: &str) {
    let lead = format!(" {} ", page.ink(Ink::Dim, &format!("{what:<9}")));
    page.hang(&lead, LEAD, text);
}

fn search(page: &mut Page, path: &str, candidates: &[Candidate]) {
    para(page, "location", &format!("for the path {path}"));
    let quiet = |c: &&Candidate| matches!(c.verdict, Verdict::No | Verdict::NotTried);
    let many = candidates.iter().filter(quiet).count() > NAMED;
    let width = candidates.iter().map(|c| human::width(&c.location) + 2 * c.depth).max().unwrap_or(0).min(24);
    for c in candidates.iter().filter(|c| !many || !quiet(c)) {
        let (ink, sign) = if c.won { (Ink::Good, "✔") } else { (Ink::Dim, "·") };
        let name = format!("{:indent$}{}", "", safe::line(&c.location), indent = 2 * c.depth);
        let gap = width.saturating_sub(human::width(&name));
        let lead = format!("{:LEAD$}{} {name}{:gap$}  ", "", page.ink(ink, sign), "");
        page.hang(&lead, LEAD + 4 + width, &format!("{} ({})", said::verdict(c.verdict), c.place));
    }
    for (verdict, said) in [(Verdict::No, "do not match"), (Verdict::NotTried, "are not tried")] {
        let n = candidates.iter().filter(|c| c.verdict == verdict).count();
        if many && n > 0 {
            page.line(&format!("{:LEAD$}{} {n} others {said}", "", page.ink(Ink::Dim, "·")));
        }
    }
    if candidates.is_empty() {
        page.line(&format!("{:LEAD$}· the server has no locations", ""));
    }
}

fn backend(page: &mut Page, r: &RouteReport, passed: &Passed) {
    let pass = said::origin(passed.proxy_pass.place.as_ref(), crate::event::route::script::Scope::Location);
    para(page, "passed to", &format!("proxy_pass {} ({pass})", passed.proxy_pass.value));
    let peers: Vec<String> = passed.peers.iter().map(said::peer).collect();
    match &passed.upstream {
        Some(pool) => {
            para(page, "upstream", &format!("{} ({}): {}", pool.name, pool.place, peers.join(", ")));
            for (line, place) in &pool.settings {
                para(page, "", &format!("{line} ({place})"));
            }
        }
        None if peers.is_empty() => para(page, "upstream", "decided by variables that cannot be told"),
        None => para(page, "upstream", &peers.join(", ")),
    }
    let line = r.request_line.as_deref().unwrap_or("cannot be told");
    para(page, "request", &format!("{line}: {}", said::how(passed)));
    let version = &passed.http_version;
    let origin = said::origin(version.place.as_ref(), version.scope);
    para(page, "", &format!("proxy_http_version {} ({origin})", version.value));
    for h in &r.headers {
        header(page, h);
    }
    for (name, place) in &passed.lost {
        para(page, "lost", &format!("proxy_set_header {name} ({place}): the lines of an inner level push it out"));
    }
    for (name, t) in TIMEOUTS.iter().zip(&passed.timeouts) {
        para(page, "timeout", &format!("{name} {}", said::timeout(t)));
    }
}

fn header(page: &mut Page, h: &HeaderFacts) {
    let websocket = said::value(h.websocket.as_deref());
    let plain = match (said::value(h.plain.as_deref()), &h.plain) {
        (same, _) if same == websocket => String::new(),
        (other, Some(_)) => format!("; plain request: {other}"),
        _ => String::new(),
    };
    let written = h.written.as_ref().filter(|w| w.contains('$')).map(|w| format!(" = {w}")).unwrap_or_default();
    let origin = said::origin(h.place.as_ref(), h.scope);
    para(page, "header", &format!("{}: {websocket}{written}{plain} ({origin})", h.name));
}
