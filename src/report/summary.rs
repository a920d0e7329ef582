//! What happened in a run, in a dozen lines: the end of a headless demo.

use std::fmt::Write as _;

use crate::diagnose::finding::Diagnosis;
use crate::event::probe::Route;
use crate::human;
use crate::model::Model;

use super::safe;

/// Handshakes, tunnels, errors by category, sessions and findings, one line each.
#[must_use]
pub fn summary_text(model: &Model, diagnosis: &Diagnosis) -> String {
    let mut out = String::new();
    handshakes(&mut out, model);
    tunnels(&mut out, model);
    errors(&mut out, model);
    sessions(&mut out, model);
    findings(&mut out, diagnosis);
    let _ = writeln!(out, "{}: {}", diagnosis.verdict.word(), safe::line(&diagnosis.summary));
    out
}

fn handshakes(out: &mut String, model: &Model) {
    let _ = writeln!(out, "handshakes");
    if model.probes.by_target.is_empty() {
        let _ = writeln!(out, "  none was tried");
    }
    for (target, p) in &model.probes.by_target {
        let route = if target.route == Route::Proxy { "proxy" } else { "direct" };
        let tried = human::counted(p.opened + p.failed, "handshake", "handshakes");
        let mut said = format!("{tried}, {} opened, {} failed", p.opened, p.failed);
        if let Some(rtt) = p.rtt_quantile(0.5) {
            let _ = write!(said, ", rtt p50 {}", human::latency(rtt));
        }
        if let Some(failure) = p.last_failure() {
            let _ = write!(said, ", last failure: {}", failure.said);
        }
        if let Some(jitter) = p.jitter {
            let _ = write!(said, ", jitter {}", human::latency(jitter));
        }
        let pace = target.cadence.map_or_else(String::new, |c| format!("  at {c}"));
        let _ = writeln!(out, "  {route:<6} {}{pace}  {}", safe::line(&target.url), safe::line(&said));
    }
}

fn tunnels(out: &mut String, model: &Model) {
    let c = &model.connections;
    let said = if c.last_look().is_some() {
        format!("{} open, {} opened, {} ended", c.count(), c.opened_total, c.died_total)
    } else {
        "the socket tables were not read".to_owned()
    };
    let _ = writeln!(out, "tunnels\n  {said}");
}

fn errors(out: &mut String, model: &Model) {
    let _ = writeln!(out, "errors by category");
    if model.errors.by_category.is_empty() {
        let _ = writeln!(out, "  none");
    }
    for (category, tally) in &model.errors.by_category {
        let last = tally.last().map_or_else(String::new, |e| safe::line(&e.message));
        let _ = writeln!(out, "  {:<18} {:>6}  {}", category.word(), tally.total, human::cut_end(&last, 50));
    }
}

fn sessions(out: &mut String, model: &Model) {
    let s = &model.sessions;
    let mut said = human::counted(s.ended, "session ended", "sessions ended");
    if let (Some(p50), Some(p90), Some(max)) = (s.lifetime(0.5), s.lifetime(0.9), s.lifetime(1.0)) {
        let f = |d: std::time::Duration| format!("{:.1}s", d.as_secs_f64());
        let _ = write!(said, ", lifetimes p50 {}, p90 {}, max {}", f(p50), f(p90), f(max));
    }
    let _ = writeln!(out, "sessions\n  {said}");
    for ((path, status), r) in &s.refused {
        let n = human::counted(r.count, "handshake was", "handshakes were");
        let _ = writeln!(out, "  {n} answered {status} on {}", safe::line(path));
    }
}

fn findings(out: &mut String, diagnosis: &Diagnosis) {
    let _ = writeln!(out, "findings");
    if diagnosis.findings.is_empty() {
        let _ = writeln!(out, "  none");
    }
    for f in &diagnosis.findings {
        let _ = writeln!(out, "  {} {}: {}", f.severity.word(), f.id, safe::line(&f.said));
    }
}
