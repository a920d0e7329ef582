//! Findings that appear, grow worse and pass, and the verdict.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::diagnose::finding::{Diagnosis, Finding, Severity, Subject, Verdict};
use crate::time::Timestamp;

use super::said::{Gravity, Said, clause, first_few, own};

/// A finding has to be gone for this long before it is over: rules look at moments.
const GONE: Duration = Duration::from_secs(3);
/// A verdict has to hold for this long before it is told.
const HELD: Duration = Duration::from_secs(1);
/// Findings told one by one in one look.
const ONE_BY_ONE: usize = 12;
/// Ids named as the reason of a verdict.
const REASONS: usize = 3;

type Key = (&'static str, Subject);

/// What was told of one finding.
#[derive(Debug)]
struct Told {
    severity: Severity,
    /// When it appeared.
    at: Timestamp,
    /// Since when it is found no longer.
    gone: Option<Timestamp>,
    /// Another finding tells of its place instead.
    replaced: bool,
}

/// What was told of all.
#[derive(Debug, Default)]
pub(super) struct Findings {
    told: BTreeMap<Key, Told>,
    verdict: Option<Verdict>,
    /// Another verdict, and since when.
    next: Option<(Verdict, Timestamp)>,
}

fn key(f: &Finding) -> Key {
    (f.id, f.subject.clone())
}

impl Findings {
    /// What holds now, and the verdict.
    pub(super) fn opening(&mut self, now: Timestamp, diagnosis: &Diagnosis) -> Vec<Said> {
        let mut out = self.appeared(now, diagnosis, "");
        self.verdict = Some(diagnosis.verdict);
        let words = format!("The verdict is {}: {}", diagnosis.verdict.word(), clause(&diagnosis.summary));
        out.push(Said::new(now, words).grave(gravity(diagnosis.verdict)));
        out
    }

    pub(super) fn changes(&mut self, now: Timestamp, diagnosis: &Diagnosis) -> Vec<Said> {
        let mut out = self.appeared(now, diagnosis, " appeared");
        out.extend(self.severer(now, diagnosis));
        out.extend(self.over(now, diagnosis));
        out.extend(self.verdict(now, diagnosis));
        out
    }

    fn appeared(&mut self, now: Timestamp, diagnosis: &Diagnosis, verb: &str) -> Vec<Said> {
        let new: Vec<&Finding> = diagnosis.findings.iter().filter(|f| !self.told.contains_key(&key(f))).collect();
        for f in &new {
            self.told.insert(key(f), Told { severity: f.severity, at: now, gone: None, replaced: false });
        }
        let (few, more) = first_few(new, ONE_BY_ONE);
        let mut out: Vec<Said> = few.into_iter().map(|f| one(now, f, verb)).collect();
        if more > 0 {
            out.push(Said::new(now, format!("{more} more findings{verb}; wspulse check lists all of them")));
        }
        out
    }

    fn severer(&mut self, now: Timestamp, diagnosis: &Diagnosis) -> Vec<Said> {
        let mut out = Vec::new();
        for f in &diagnosis.findings {
            let Some(told) = self.told.get_mut(&key(f)) else { continue };
            (told.gone, told.replaced) = (None, false);
            let before = std::mem::replace(&mut told.severity, f.severity);
            if before != f.severity && out.len() < ONE_BY_ONE {
                let words = format!(
                    "The finding {}{} is {} now, it was {}",
                    f.id,
                    about(&f.subject),
                    f.severity.word(),
                    before.word()
                );
                out.push(Said::new(now, words).grave(Gravity::of(f.severity)));
            }
        }
        out
    }

    fn over(&mut self, now: Timestamp, diagnosis: &Diagnosis) -> Vec<Said> {
        let mut over = Vec::new();
        let is_new = |(_, told): &(&Key, &Told)| told.at == now;
        let new: Vec<(Subject, Severity)> =
            self.told.iter().filter(is_new).map(|(key, told)| (key.1.clone(), told.severity)).collect();
        self.told.retain(|key, told| {
            if diagnosis.findings.iter().any(|f| f.id == key.0 && f.subject == key.1) {
                return true;
            }
            // What was found of a place is told by another finding from now on, because more is known: nothing was mended.
            let is_told_anew =
                |(place, severity): &(Subject, Severity)| *severity <= told.severity && place.shares_place_with(&key.1);
            told.replaced |= told.gone.is_none() && new.iter().any(is_told_anew);
            let stays = now.since(*told.gone.get_or_insert(now)) < GONE;
            if !stays && !told.replaced {
                over.push((key.clone(), told.severity));
            }
            stays
        });
        let (few, more) = first_few(over, ONE_BY_ONE);
        let said = |((id, subject), severity): (Key, Severity)| {
            let words = format!("The {} finding {id}{} is over", severity.word(), about(&subject));
            Said::new(now, words).grave(Gravity::of(severity).map(|_| Gravity::Good))
        };
        let mut out: Vec<Said> = few.into_iter().map(said).collect();
        if more > 0 {
            out.push(Said::new(now, format!("{more} more findings are over")));
        }
        out
    }

    fn verdict(&mut self, now: Timestamp, diagnosis: &Diagnosis) -> Option<Said> {
        let before = self.verdict?;
        if before == diagnosis.verdict {
            self.next = None;
            return None;
        }
        let since = self.next.filter(|(v, _)| *v == diagnosis.verdict).map_or(now, |(_, since)| since);
        self.next = Some((diagnosis.verdict, since));
        if now.since(since) < HELD {
            return None;
        }
        (self.verdict, self.next) = (Some(diagnosis.verdict), None);
        let words =
            format!("The verdict is {} now, it was {}: {}", diagnosis.verdict.word(), before.word(), reason(diagnosis));
        Some(Said::new(now, words).grave(gravity(diagnosis.verdict)))
    }
}

/// The findings that decide, by name: each has had its own line. Without one, the summary.
fn reason(diagnosis: &Diagnosis) -> String {
    let serious: Vec<&str> = diagnosis.findings.iter().filter(|f| f.is_serious()).map(|f| f.id).collect();
    let decides = matches!(diagnosis.verdict, Verdict::Broken | Verdict::Degraded) && !serious.is_empty();
    if !decides {
        return clause(&diagnosis.summary);
    }
    let (few, more) = first_few(serious, REASONS);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("because of {}{more}", few.join(", "))
}

const fn gravity(verdict: Verdict) -> Option<Gravity> {
    match verdict {
        Verdict::Broken => Some(Gravity::Bad),
        Verdict::Degraded => Some(Gravity::Poor),
        Verdict::Healthy => Some(Gravity::Good),
        Verdict::Blind => None,
    }
}

fn one(now: Timestamp, f: &Finding, verb: &str) -> Said {
    let gravity = match f.severity {
        Severity::Critical => "Critical",
        Severity::Warning => "Warning",
        Severity::Info => "Info",
    };
    let because =
        if f.because.is_empty() { String::new() } else { format!(" It follows from {}.", f.because.join(", ")) };
    let fix = f.fix.as_ref().map_or_else(String::new, |fix| {
        let place = match (&fix.file, fix.line) {
            (Some(file), Some(line)) => format!(", in {file} line {line}"),
            (Some(file), None) => format!(", in {file}"),
            _ => String::new(),
        };
        format!(" What to do: {}{place}.", clause(&fix.said))
    });
    let words = format!("{gravity} finding {}{}{verb}: {}.{because}{fix}", f.id, about(&f.subject), own(&f.said));
    Said::new(now, words).grave(Gravity::of(f.severity))
}

/// What it is about, as part of a sentence.
fn about(s: &Subject) -> String {
    let mut out = String::new();
    for (word, value) in
        [("endpoint", &s.url), ("location", &s.location), ("server", &s.server), ("backend", &s.upstream)]
    {
        if let Some(value) = value.as_ref().filter(|v| !v.is_empty()) {
            let join = if out.is_empty() { " of" } else { "," };
            let _ = write!(out, "{join} {word} {}", clause(value));
        }
    }
    if let Some(resource) = s.resource.as_ref().filter(|r| !r.is_empty()) {
        let join = if out.is_empty() { " about" } else { ", about" };
        let _ = write!(out, "{join} {}", clause(resource));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::finding::Confidence;

    fn diagnosis(id: &'static str, location: &str) -> Diagnosis {
        let subject = Subject { location: Some(location.to_owned()), ..Subject::default() };
        Diagnosis {
            verdict: Verdict::Broken,
            summary: String::new(),
            findings: vec![Finding::new(id, Severity::Critical, Confidence::Likely, subject, "x")],
            ignored: Vec::new(),
        }
    }

    /// What is told when the finding `a` of `/ws` gives way to the finding `b` of another or the same location.
    fn told(location: &str) -> String {
        let (mut findings, at) = (Findings::default(), Timestamp::from_secs);
        findings.opening(at(0), &diagnosis("a", "/ws"));
        let said = (1..9).flat_map(|s| findings.changes(at(s), &diagnosis("b", location)));
        said.map(|s| format!("{s:?}")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_is_told_by_a_better_finding_is_not_over() {
        assert!(told("/chat").contains("finding a of location /ws is over"));
        let anew = told("/ws");
        assert!(anew.contains("finding b of location /ws appeared") && !anew.contains("is over"), "{anew}");
    }
}
