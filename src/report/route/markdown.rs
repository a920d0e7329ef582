//! The way of a URL for a ticket.

use std::fmt::Write as _;

use super::{RouteReport, said};
use crate::event::route::{Happened, TIMEOUTS};
use crate::report::safe;

/// The way as Markdown.
#[must_use]
pub fn route_markdown(r: &RouteReport) -> String {
    let mut out = format!("# Route of {}\n\n{}.\n", code(&r.asked.url), cell(&r.said));
    let mut item = |text: String| {
        let _ = match text.strip_prefix("  ") {
            Some(inner) => write!(out, "\n  - {inner}"),
            None => write!(out, "\n- {text}"),
        };
    };
    if let Some(l) = &r.listen {
        item(format!("listen {}, {}", code(&l.address), code(&l.place.to_string())));
    }
    if let Some(s) = &r.server {
        item(format!(
            "server {}, {}: {}",
            code(&s.names.join(" ")),
            code(&s.place.to_string()),
            cell(&said::server_why(s))
        ));
    }
    for step in &r.steps {
        match step {
            Happened::Search { path, candidates } => {
                item(format!("locations for {}:", code(path)));
                for c in candidates.iter().filter(|c| c.won || c.verdict != crate::event::route::Verdict::No) {
                    let won = if c.won { "**chosen**, " } else { "" };
                    item(format!(
                        "  {}: {won}{} ({})",
                        code(&c.location),
                        said::verdict(c.verdict),
                        code(&c.place.to_string())
                    ));
                }
            }
            Happened::Did { said, place } => item(format!("{} ({})", cell(said), code(&place.to_string()))),
        }
    }
    let Some(passed) = r.end.passed() else {
        out.push('\n');
        rest(&mut out, r);
        return out;
    };
    let peers: Vec<String> = passed.peers.iter().map(|p| code(&said::peer(p))).collect();
    item(format!("proxy_pass {} to {}", code(&passed.proxy_pass.value), peers.join(", ")));
    item(format!("request {}: {}", code(r.request_line.as_deref().unwrap_or("?")), said::how(passed)));
    for (name, t) in TIMEOUTS.iter().zip(&passed.timeouts) {
        item(format!("{name} {}", cell(&said::timeout(t))));
    }
    out.push_str("\n\n| header | WebSocket | plain | from |\n|---|---|---|---|\n");
    for h in &r.headers {
        let (ws, plain) = (said::value(h.websocket.as_deref()), said::value(h.plain.as_deref()));
        let origin = said::origin(h.place.as_ref(), h.scope);
        let _ = writeln!(out, "| {} | {} | {} | {} |", cell(&h.name), cell(ws), cell(plain), cell(&origin));
    }
    rest(&mut out, r);
    out
}

fn rest(out: &mut String, r: &RouteReport) {
    if !r.findings.is_empty() {
        out.push_str("\n## Findings\n\n");
    }
    for f in &r.findings {
        let _ = writeln!(out, "- {}: {}", code(f.id), cell(&f.said));
    }
    if !r.doubts.is_empty() {
        out.push_str("\n## Not sure\n\n");
    }
    for d in &r.doubts {
        let _ = writeln!(out, "- {}", cell(d));
    }
}

/// Text that cannot break a table or begin markup.
fn cell(text: &str) -> String {
    safe::line(text).replace('|', "\\|").replace('<', "&lt;")
}

/// Text in backquotes.
fn code(text: &str) -> String {
    format!("`{}`", safe::line(text).replace('`', "'"))
}
