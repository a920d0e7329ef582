//! Findings in the order in which a person should read them: causes before consequences, the worst first, each once.

use super::finding::{Finding, Severity};

/// (cause, consequence): where both hold for the same place, the second is only what the first looks like.
const CAUSES: &[(&str, &str)] = &[
    ("nginx-not-running", "connect-refused"),
    ("config-invalid", "nginx-not-running"),
    ("config-invalid", "connect-refused"),
    ("config-invalid", "config-not-reloaded"),
    ("config-not-reloaded", "connect-refused"),
    ("config-not-reloaded", "backend-refused"),
    ("config-not-reloaded", "backend-unreachable"),
    ("config-not-reloaded", "backend-connect-timeout"),
    ("config-not-reloaded", "backend-closed-early"),
    ("config-not-reloaded", "backend-rejects-handshake"),
    ("config-not-reloaded", "no-live-upstreams"),
    ("config-not-reloaded", "location-mismatch"),
    ("backend-closed-with-code", "backend-reset"),
    ("backend-closed-with-code", "backend-went-away"),
    ("reload-cuts", "backend-went-away"),
    ("reload-cuts", "reconnect-storm"),
    ("worker-crash", "reconnect-storm"),
    ("backend-closed-with-code", "reconnect-storm"),
    ("backend-reset", "reconnect-storm"),
    ("max-age-cuts", "reconnect-storm"),
    ("heartbeat-races-timeout", "idle-timeout-cuts"),
    ("max-age-cuts", "backend-reset"),
    ("worker-connections-exhausted", "worker-connections-low"),
    ("http2-no-websocket", "bad-handshake-response"),
    ("http2-no-websocket", "tls-handshake-failed"),
    ("proxy-protocol-mismatch", "bad-handshake-response"),
    ("listen-queue-full", "backend-connect-timeout"),
    ("listen-queue-full", "backend-handshake-timeout"),
    ("listen-queue-full", "connect-timeout"),
    ("max-age-cuts", "backend-went-away"),
    ("upstream-tls-scheme-mismatch", "backend-closed-early"),
    ("upstream-tls-scheme-mismatch", "backend-bad-response"),
    ("upstream-tls-scheme-mismatch", "bad-handshake-response"),
    ("backend-bad-response", "bad-handshake-response"),
    ("backend-refused", "no-live-upstreams"),
    ("backend-unreachable", "no-live-upstreams"),
    ("backend-connect-timeout", "no-live-upstreams"),
    ("backend-handshake-timeout", "no-live-upstreams"),
    ("backend-closed-early", "no-live-upstreams"),
    ("backend-half-dead", "backend-refused"),
    ("timeout-zero", "backend-handshake-timeout"),
    ("timeout-zero", "backend-connect-timeout"),
    ("timeout-zero", "idle-timeout-cuts"),
    ("resolver-missing", "upstream-name-unresolved"),
    ("upstream-tls-scheme-mismatch", "upstream-tls-failed"),
    ("upstream-tls-expired", "upstream-tls-failed"),
    ("upstream-tls-untrusted", "upstream-tls-failed"),
    ("upstream-tls-name-mismatch", "upstream-tls-failed"),
    ("worker-connections-exhausted", "bad-handshake-response"),
    ("fds-exhausted", "bad-handshake-response"),
    ("fds-exhausted", "backend-handshake-timeout"),
    ("worker-crash", "bad-handshake-response"),
    ("worker-crash", "backend-went-away"),
    ("idle-timeout-cuts", "backend-went-away"),
    ("backend-reset", "backend-went-away"),
    ("error-log-unreadable", "blind-without-privilege"),
    ("tls-expired", "tls-expires-soon"),
];

/// Merges findings that say the same, links consequences to their causes, and sorts.
pub(super) fn put(findings: Vec<Finding>) -> Vec<Finding> {
    let mut all = merge(findings);
    link(&mut all);
    all.sort_by_cached_key(|f| (f.severity, !f.because.is_empty(), f.confidence, f.id, f.subject.clone()));
    all
}

fn merge(findings: Vec<Finding>) -> Vec<Finding> {
    let mut out: Vec<Finding> = Vec::new();
    for f in findings {
        let Some(known) = out.iter_mut().find(|o| o.id == f.id && o.subject == f.subject) else {
            out.push(f);
            continue;
        };
        if (f.severity, f.confidence) < (known.severity, known.confidence) {
            known.said = f.said;
        }
        known.severity = known.severity.min(f.severity);
        known.confidence = known.confidence.min(f.confidence);
        for e in f.evidence {
            if !known.evidence.contains(&e) {
                known.evidence.push(e);
            }
        }
    }
    out
}

fn link(all: &mut [Finding]) {
    let causes: Vec<(&'static str, super::finding::Subject, Severity)> =
        all.iter().map(|f| (f.id, f.subject.clone(), f.severity)).collect();
    for f in all.iter_mut() {
        for (cause, subject, severity) in &causes {
            let pair = CAUSES.iter().any(|(a, b)| a == cause && *b == f.id);
            // What is over or harmless causes nothing serious.
            let strong = *severity <= Severity::Warning || f.severity == Severity::Info;
            if pair && strong && together(subject, &f.subject) && !f.because.contains(cause) {
                f.because.push(cause);
            }
        }
        if !f.because.is_empty() {
            f.severity = f.severity.max(Severity::Warning);
        }
    }
}

/// Nothing in the two subjects contradicts that they speak of the same place.
fn together(a: &super::finding::Subject, b: &super::finding::Subject) -> bool {
    let agree = |x: &Option<String>, y: &Option<String>| x.is_none() || y.is_none() || x == y;
    agree(&a.server, &b.server) && agree(&a.location, &b.location)
}
