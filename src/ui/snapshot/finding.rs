//! The rows of the Findings pane: what holds, in the order of the diagnosis, then what held until lately.

use std::time::Duration;

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
    /// The earliest moment in its evidence; without one the moment it was first found, unless that was when the look began.
    pub since: Option<Timestamp>,
    /// When it was found no longer; `None` while it holds.
    pub over: Option<Timestamp>,
    /// What it is about, in few words.
    pub about: String,
}

/// What no longer holds stays this long, and so many of them.
const REMEMBERED: Duration = Duration::from_secs(900);
const MOST_OVER: usize = 20;
/// What is found within this time of the first look was there before it.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// All findings, most severe first, then those of `before` that are over, the newest first.
#[must_use]
pub fn rows(diagnosis: &Diagnosis, before: &[FindingRow], began: Option<Timestamp>, now: Timestamp) -> Vec<FindingRow> {
    let mut rows: Vec<FindingRow> = diagnosis.findings.iter().map(row).collect();
    let is_new = began.is_some_and(|began| now.since(began) > FIRST_LOOK);
    for row in &mut rows {
        row.since = match before.iter().find(|b| b.id == row.id) {
            Some(known) => known.since.into_iter().chain(row.since).min(),
            None => row.since.or(is_new.then_some(now)),
        };
    }
    let gone = before.iter().filter(|b| rows.iter().all(|r| r.id != b.id));
    let mut over: Vec<FindingRow> = gone
        .map(|row| FindingRow { over: row.over.or(Some(now)), ..row.clone() })
        .filter(|row| row.over.is_some_and(|at| now.since(at) <= REMEMBERED))
        .collect();
    over.sort_by_key(|row| std::cmp::Reverse(row.over));
    over.truncate(MOST_OVER);
    rows.extend(over);
    rows
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
        over: None,
        about,
        finding: f.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::finding::{Confidence, Subject, Verdict};

    fn found(ids: &[&'static str]) -> Diagnosis {
        let finding =
            |id: &&'static str| Finding::new(id, Severity::Warning, Confidence::Likely, Subject::default(), "x");
        Diagnosis {
            verdict: Verdict::Degraded,
            summary: String::new(),
            findings: ids.iter().map(finding).collect(),
            ignored: Vec::new(),
        }
    }

    #[test]
    fn a_finding_tells_when_it_began_and_when_it_ended() {
        let at = |s| Timestamp::from_secs(s);
        let began = Some(at(0));
        let first = rows(&found(&["a"]), &[], began, at(1));
        assert_eq!((first[0].since, first[0].over), (None, None), "it was there before we were");
        let second = rows(&found(&["a", "b"]), &first, began, at(60));
        assert_eq!((second[1].since, second[1].over), (Some(at(60)), None));
        let third = rows(&found(&["a"]), &second, began, at(90));
        assert_eq!((third[1].finding.id, third[1].since, third[1].over), ("b", Some(at(60)), Some(at(90))));
        let again = rows(&found(&["b", "a"]), &third, began, at(100));
        assert_eq!((again.len(), again[0].since, again[0].over), (2, Some(at(60)), None), "the same trouble again");
        let gone = rows(&found(&[]), &again, began, at(200));
        assert_eq!(gone.len(), 2);
        assert!(rows(&found(&[]), &gone, began, at(200 + 901)).is_empty());
    }
}
