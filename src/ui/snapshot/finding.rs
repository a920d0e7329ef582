//! The rows of the Findings pane: what holds, in the order of the diagnosis, then what held until lately.

use std::time::Duration;

use crate::diagnose::finding::{Diagnosis, Finding, Severity, Verdict};
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
    let is_first = |r: &&FindingRow| before.iter().all(|b| b.id != r.id || b.over.is_some());
    let first: Vec<&FindingRow> = rows.iter().filter(is_first).collect();
    // What was found of a place is told by another finding, because more is known: nothing was mended.
    let is_told_anew = |b: &FindingRow| {
        b.over.is_none()
            && first.iter().any(|r| {
                r.finding.severity <= b.finding.severity && r.finding.subject.shares_place_with(&b.finding.subject)
            })
    };
    let gone = before.iter().filter(|b| rows.iter().all(|r| r.id != b.id) && !is_told_anew(b));
    let mut over: Vec<FindingRow> = gone
        .map(|row| FindingRow { over: row.over.or(Some(now)), ..row.clone() })
        .filter(|row| row.over.is_some_and(|at| now.since(at) <= REMEMBERED))
        .collect();
    over.sort_by_key(|row| std::cmp::Reverse(row.over));
    over.truncate(MOST_OVER);
    rows.extend(over);
    rows
}

/// Since when `verdict` holds. What the screen said a moment ago stays true: a verdict that changes before our eyes holds from
/// then on. One that was there at the first look holds since the oldest evidence of it, and that nothing is wrong since the look
/// began.
#[must_use]
pub fn verdict_since(
    verdict: Verdict,
    before: Option<(Verdict, Option<Timestamp>)>,
    rows: &[FindingRow],
    began: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    let same = before.filter(|(v, _)| *v == verdict);
    let first = before.is_none() || began.is_none_or(|began| now.since(began) <= FIRST_LOOK);
    if first {
        let wrong = matches!(verdict, Verdict::Broken | Verdict::Degraded);
        let counts = |f: &Finding| f.severity == Severity::Critical || (verdict != Verdict::Broken && f.is_serious());
        let found = rows.iter().filter(|r| r.over.is_none() && counts(&r.finding)).filter_map(|r| r.since);
        return if wrong { same.and_then(|(_, since)| since).into_iter().chain(found).min() } else { began };
    }
    same.map_or(Some(now), |(_, since)| since)
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
    use crate::diagnose::finding::{Confidence, Evidence, EvidenceKind, Subject};

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

    #[test]
    fn what_is_told_by_a_better_finding_is_not_over() {
        let at = |s| Timestamp::from_secs(s);
        let about = |id, severity, location: &str| {
            let subject = Subject { location: Some(location.to_owned()), ..Subject::default() };
            Diagnosis { findings: vec![Finding::new(id, severity, Confidence::Likely, subject, "x")], ..found(&[]) }
        };
        let ids = |rows: &[FindingRow]| rows.iter().map(|r| (r.finding.id, r.over.is_some())).collect::<Vec<_>>();
        let guess = rows(&about("a", Severity::Warning, "/ws"), &[], Some(at(0)), at(20));
        let known = rows(&about("b", Severity::Critical, "/ws"), &guess, Some(at(0)), at(21));
        assert_eq!(ids(&known), [("b", false)], "more is known, and nothing was mended");
        let elsewhere = rows(&about("b", Severity::Critical, "/chat"), &guess, Some(at(0)), at(21));
        assert_eq!(ids(&elsewhere), [("b", false), ("a", true)]);
        let less = rows(&about("c", Severity::Warning, "/ws"), &known, Some(at(0)), at(22));
        assert_eq!(ids(&less), [("c", false), ("b", true)], "what is left hurts less: something was mended");
        let mut both = about("b", Severity::Critical, "/ws");
        both.findings.extend(about("a", Severity::Warning, "/ws").findings);
        let both = rows(&both, &[], Some(at(0)), at(20));
        let one = rows(&about("a", Severity::Warning, "/ws"), &both, Some(at(0)), at(21));
        assert_eq!(ids(&one), [("a", false), ("b", true)], "what was there before tells nothing anew");
    }

    #[test]
    fn a_verdict_tells_since_when_it_holds() {
        use Verdict::{Broken, Degraded, Healthy};
        let at = |s| Timestamp::from_secs(s);
        let mut bad = found(&["a"]);
        bad.findings[0].severity = Severity::Critical;
        bad.findings[0].evidence.push(Evidence::new(EvidenceKind::Log, "x").at(at(40)));
        let bad = rows(&bad, &[], Some(at(100)), at(101));
        let since =
            |verdict, before, rows: &[FindingRow], now| verdict_since(verdict, before, rows, Some(at(100)), at(now));
        assert_eq!(since(Healthy, None, &[], 101), Some(at(100)), "since we look");
        let broken = since(Broken, Some((Healthy, Some(at(100)))), &bad, 102);
        assert_eq!(broken, Some(at(40)), "the logs tell that it began before us");
        assert_eq!(since(Broken, Some((Broken, broken)), &[], 500), broken);
        let well = since(Healthy, Some((Broken, broken)), &[], 600);
        assert_eq!(well, Some(at(600)));
        assert_eq!(since(Degraded, Some((Healthy, well)), &bad, 700), Some(at(700)), "it was well until then");
        assert_eq!(since(Degraded, None, &bad[..0], 101), None, "nothing tells");
        assert_eq!(since(Broken, None, &bad, 900), Some(at(40)), "a first look may come late");
    }
}
