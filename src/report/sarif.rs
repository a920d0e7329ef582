//! Findings of the configuration as SARIF 2.1.0 (OASIS), which code hosts show beside the lines of a change.

use serde_json::{Value, json};

use crate::diagnose::finding::{Evidence, Finding, Fix, Severity};
use crate::diagnose::lint::mark::Mark;
use crate::diagnose::patch::{Change, changes};
use crate::human;

use super::data::Report;

/// Each rule that speaks from the configuration alone: its id, what it is about, and how it is mended.
pub const RULE_TEXTS: [(&str, &str, &str); 17] = [
    (
        "upgrade-header-missing",
        "nginx does not pass the Upgrade header on",
        "Upgrade is a header of one hop: nginx strips it. Write proxy_set_header Upgrade $http_upgrade; in the location.",
    ),
    (
        "connection-header-missing",
        "nginx does not set the Connection header to upgrade",
        "Write proxy_set_header Connection $connection_upgrade; with a map of $http_upgrade, or Connection \"upgrade\" where only WebSockets are served.",
    ),
    (
        "connection-header-wrong",
        "The Connection header that nginx sends is not upgrade",
        "An empty Connection, as in recipes for keep-alive, removes the header. Send upgrade when the client asks for one.",
    ),
    (
        "upgrade-header-wrong-value",
        "The Upgrade header that nginx sends is not websocket",
        "Pass on what the client sends: proxy_set_header Upgrade $http_upgrade;",
    ),
    (
        "headers-lost-by-inheritance",
        "Upgrade headers of an outer block are lost",
        "One proxy_set_header in a location drops all those of the blocks around it. Repeat them in the location, or include a file that has them.",
    ),
    (
        "http-version-too-old",
        "nginx speaks HTTP/1.0 to the backend",
        "Before 1.29.7 that is the default, and WebSockets need HTTP/1.1: proxy_http_version 1.1;",
    ),
    (
        "connection-upgrade-hardcoded",
        "Connection: upgrade is sent with plain requests, too",
        "Use a map of $http_upgrade, so that only handshakes carry it.",
    ),
    (
        "redirected",
        "The path without its last slash is redirected",
        "location /ws/ answers /ws with a redirect, and browsers do not follow redirects of WebSockets.",
    ),
    (
        "location-mismatch",
        "A location for WebSockets is never chosen",
        "A regular expression is tried after the longest prefix and wins. ^~ before the prefix keeps that from happening.",
    ),
    (
        "http2-no-websocket",
        "HTTP/2 has no WebSockets in nginx",
        "nginx does not know RFC 8441: towards clients and backends WebSockets need HTTP/1.1.",
    ),
    (
        "resolver-missing",
        "A name in proxy_pass cannot be looked up",
        "With variables in proxy_pass names are looked up at run time, which needs a resolver.",
    ),
    (
        "upstream-tls-scheme-mismatch",
        "The scheme of proxy_pass does not fit the port",
        "Write https:// for backends that speak TLS and http:// for others.",
    ),
    (
        "timeout-zero",
        "A timeout of 0 is no time at all",
        "0 does not switch a timeout off: nginx gives up at once. Write a real time, for example 1h.",
    ),
    ("config-invalid", "nginx would refuse the configuration", "Correct the line; nginx -t tells the same."),
    (
        "ineffective-setting",
        "A setting does nothing for tunnels",
        "Buffers, body limits and keep-alive do not touch what goes through a tunnel.",
    ),
    (
        "upgrade-any-protocol",
        "Any protocol that a client asks for is passed on",
        "Let only websocket through with a map of $http_upgrade where the backend also speaks h2c.",
    ),
    (
        "error-log-hides-evidence",
        "The error log does not show tunnels that nginx cuts",
        "Idle cuts are written at level info.",
    ),
];

/// The report as SARIF. Files below `base` (an absolute path without a final slash) are named relative to it, as code
/// hosts want it; `ignored` findings are shown as suppressed in the source.
#[must_use]
pub fn sarif(report: &Report, marks: &[Option<Mark>], ignored: &[(Finding, Option<Mark>)], base: &str) -> String {
    let open = report.findings.iter().zip(marks).map(|(f, m)| result(f, m.as_ref(), base));
    let hidden = ignored.iter().map(|(f, m)| {
        let mut result = result(f, m.as_ref(), base);
        result["suppressions"] = json!([{ "kind": "inSource" }]);
        result
    });
    let results: Vec<Value> = open.chain(hidden).collect();
    let driver =
        json!({ "name": "wspulse", "version": report.wspulse, "semanticVersion": report.wspulse, "rules": rules() });
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": driver },
            "columnKind": "unicodeCodePoints",
            "originalUriBaseIds": { "SRCROOT": { "uri": format!("file://{}/", encoded(base)) } },
            "results": results,
        }],
    });
    let mut out = serde_json::to_string_pretty(&log).unwrap_or_else(|_| "{}".to_owned());
    out.push('\n');
    human::harmless_json(out)
}

fn rules() -> Vec<Value> {
    let rule = |(id, about, help): &(&str, &str, &str)| {
        json!({
            "id": id,
            "shortDescription": { "text": about },
            "help": { "text": help },
            "defaultConfiguration": { "level": "warning" },
        })
    };
    RULE_TEXTS.iter().map(rule).collect()
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

fn result(f: &Finding, mark: Option<&Mark>, base: &str) -> Value {
    let place = mark.map_or_else(|| f.evidence.first().and_then(|e| of_evidence(e, base)), |m| Some(of_mark(m, base)));
    let related: Vec<Value> = f.evidence.iter().skip(1).filter_map(|e| of_evidence(e, base)).collect();
    let mut result = json!({
        "ruleId": f.id,
        "level": level(f.severity),
        "message": { "text": human::visible(f.said.as_bytes()) },
        "properties": { "confidence": f.confidence },
    });
    if let Some(index) = RULE_TEXTS.iter().position(|(id, _, _)| *id == f.id) {
        result["ruleIndex"] = json!(index);
    }
    if let Some(place) = place {
        result["locations"] = json!([place]);
    }
    if !related.is_empty() {
        result["relatedLocations"] = json!(related);
    }
    if let Some(fix) = f.fix.as_ref().and_then(|fix| of_fix(fix, base)) {
        result["fixes"] = json!([fix]);
    }
    result
}

fn of_mark(m: &Mark, base: &str) -> Value {
    let mut place = json!({ "artifactLocation": artifact(&m.file, base) });
    if m.line > 0 {
        place["region"] = json!({
            "startLine": m.line,
            "startColumn": m.column,
            "endColumn": m.column + m.width,
            "snippet": { "text": m.text },
        });
    }
    json!({ "physicalLocation": place })
}

fn of_evidence(e: &Evidence, base: &str) -> Option<Value> {
    let mut place = json!({ "artifactLocation": artifact(e.file.as_ref()?, base) });
    if let Some(line) = e.line {
        place["region"] = json!({ "startLine": line });
    }
    Some(json!({ "physicalLocation": place, "message": { "text": human::visible(e.said.as_bytes()) } }))
}

/// The patch as replacements of whole lines.
fn of_fix(fix: &Fix, base: &str) -> Option<Value> {
    let all = changes(fix.patch.as_ref()?)?;
    let mut files: Vec<(&str, Vec<Value>)> = Vec::new();
    for change in &all {
        match files.iter_mut().find(|(path, _)| *path == change.path) {
            Some((_, known)) => known.push(replacement(change)),
            None => files.push((&change.path, vec![replacement(change)])),
        }
    }
    let changed =
        files.into_iter().map(|(path, all)| json!({ "artifactLocation": artifact(path, base), "replacements": all }));
    Some(json!({
        "description": { "text": human::visible(fix.said.as_bytes()) },
        "artifactChanges": changed.collect::<Vec<_>>(),
    }))
}

fn replacement(c: &Change) -> Value {
    let region = json!({ "startLine": c.first + 1, "startColumn": 1, "endLine": c.first + c.gone + 1, "endColumn": 1 });
    json!({ "deletedRegion": region, "insertedContent": { "text": c.new } })
}

fn artifact(path: &str, base: &str) -> Value {
    match path.strip_prefix(base).and_then(|rest| rest.strip_prefix('/')).filter(|_| !base.is_empty()) {
        Some(inside) => json!({ "uri": encoded(inside), "uriBaseId": "SRCROOT" }),
        None => json!({ "uri": format!("file://{}", encoded(path)) }),
    }
}

/// A path in a URI (RFC 3986, section 2.3).
fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for b in path.bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(b));
        } else {
            use std::fmt::Write as _;
            let _ = write!(out, "%{b:02X}");
        }
    }
    out
}
