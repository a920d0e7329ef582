//! The rows of the Findings pane, in the order of the diagnosis.

use crate::diagnose::finding::{Diagnosis, Finding, Severity};
use crate::time::Timestamp;

use super::super::light::Light;
use super::endpoint::stable_id;

/// One finding.
#[derive(Clone, Debug)]
pub struct FindingRow {
    /// Stable as long as it is about the same subject.
    pub id: u64,
    /// What was found.
    pub finding: Finding,
    /// How much it hurts.
    pub light: Light,
    /// The earliest moment in its evidence.
    pub since: Option<Timestamp>,
    /// What it is about, in few words.
    pub about: String,
}

/// All findings, most severe first.
#[must_use]
pub fn rows(diagnosis: &Diagnosis) -> Vec<FindingRow> {
    diagnosis.findings.iter().map(row).collect()
}

fn row(f: &Finding) -> FindingRow {
    let s = &f.subject;
    let about = [&s.location, &s.url, &s.upstream, &s.resource, &s.server].into_iter().flatten().next();
    let about = about.cloned().unwrap_or_default();
    FindingRow {
        id: stable_id(&[f.id, &about, s.server.as_deref().unwrap_or(""), s.url.as_deref().unwrap_or("")]),
        light: match f.severity {
            Severity::Critical => Light::Bad,
            Severity::Warning => Light::Warn,
            Severity::Info => Light::None,
        },
        since: f.evidence.iter().filter_map(|e| e.at).min(),
        about,
        finding: f.clone(),
    }
}
