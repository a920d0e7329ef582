//! What a finding is: one sentence, where it holds, how sure it is, the evidence, and the fix.

use serde::Serialize;

use crate::event::site::Place;
use crate::time::Timestamp;

/// How much a finding hurts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Users are failing now.
    Critical,
    /// Users are losing tunnels or will soon.
    Warning,
    /// Worth knowing; never turns a healthy host unhealthy.
    Info,
}

impl Severity {
    /// The word of the contract.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Two independent witnesses, or one that cannot err.
    Certain,
    /// One good witness.
    Likely,
    /// Look further before acting.
    Possible,
}

/// What a finding is about. Fields that do not apply are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Subject {
    /// `server_name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The location's prefix or pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The backend, `127.0.0.1:19001`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The probed URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A resource or file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

impl Subject {
    /// Both are about one location, one backend or one URL, of one server as far as both say which.
    #[must_use]
    pub fn shares_place_with(&self, other: &Self) -> bool {
        let same = |own: &Option<String>, other: &Option<String>| own.is_some() && own == other;
        let apart = self.server.is_some() && other.server.is_some() && self.server != other.server;
        let place = same(&self.location, &other.location) || same(&self.upstream, &other.upstream);
        !apart && (place || same(&self.url, &other.url))
    }

    /// A probed URL.
    #[must_use]
    pub fn url(url: &str) -> Self {
        Self { url: Some(url.to_owned()), ..Self::default() }
    }

    /// A resource or file.
    #[must_use]
    pub fn resource(name: &str) -> Self {
        Self { resource: Some(name.to_owned()), ..Self::default() }
    }
}

/// Where a piece of evidence comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EvidenceKind {
    /// The nginx configuration.
    Config,
    /// A probe of ours.
    Probe,
    /// An error log.
    Log,
    /// An access log.
    Access,
    /// The socket table.
    Socket,
    /// /proc.
    Process,
    /// The machine.
    System,
}

/// One thing seen that supports a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Where it comes from.
    pub kind: EvidenceKind,
    /// What was seen.
    pub said: String,
    /// The file, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in it, 1-based.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// Line 0 stands for the whole file.
fn line_of(place: &Place) -> Option<u32> {
    (place.line > 0).then_some(place.line)
}

impl Evidence {
    /// Something seen, without a place or a time.
    #[must_use]
    pub fn new(kind: EvidenceKind, said: impl Into<String>) -> Self {
        Self { kind, said: said.into(), file: None, line: None, at: None }
    }

    /// A line of the configuration.
    #[must_use]
    pub fn config(place: &Place, said: impl Into<String>) -> Self {
        Self { file: Some(place.file.clone()), line: line_of(place), ..Self::new(EvidenceKind::Config, said) }
    }

    /// The same, seen at this moment.
    #[must_use]
    pub fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// In one sentence.
    pub said: String,
    /// The file to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line to change, 1-based.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// A unified diff against the real files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// The command that proves and applies it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
}

/// The command that proves and applies a change of the configuration.
const RELOAD: &str = "nginx -t && nginx -s reload";

impl Fix {
    /// Something to do outside the nginx configuration.
    #[must_use]
    pub fn new(said: impl Into<String>) -> Self {
        Self { said: said.into(), file: None, line: None, patch: None, check: None }
    }

    /// A change of the configuration at a line.
    #[must_use]
    pub fn config(place: &Place, said: impl Into<String>) -> Self {
        Self { file: Some(place.file.clone()), line: line_of(place), check: Some(RELOAD.to_owned()), ..Self::new(said) }
    }
}

/// One thing that is wrong, or worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The public name, `upgrade-header-missing`.
    pub id: &'static str,
    /// How much it hurts.
    pub severity: Severity,
    /// How sure it is.
    pub confidence: Confidence,
    /// What it is about.
    pub subject: Subject,
    /// One sentence that a tired person understands.
    pub said: String,
    /// What was seen.
    pub evidence: Vec<Evidence>,
    /// Ids of the findings that cause this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<&'static str>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
}

impl Finding {
    /// A finding without evidence, cause or fix yet.
    #[must_use]
    pub fn new(
        id: &'static str,
        severity: Severity,
        confidence: Confidence,
        subject: Subject,
        said: impl Into<String>,
    ) -> Self {
        Self {
            id,
            severity,
            confidence,
            subject,
            said: said.into(),
            evidence: Vec::new(),
            because: Vec::new(),
            fix: None,
        }
    }

    /// With these pieces of evidence besides.
    #[must_use]
    pub fn seen(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    /// With what to do.
    #[must_use]
    pub fn fixed_by(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self
    }

    /// It turns a healthy host unhealthy.
    #[must_use]
    pub fn is_serious(&self) -> bool {
        self.severity <= Severity::Warning
    }
}

/// The verdict in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// An endpoint cannot be used.
    Broken,
    /// It works, but tunnels are lost or endangered.
    Degraded,
    /// Nothing at warning or above.
    Healthy,
    /// Not enough could be seen to say.
    Blind,
}

impl Verdict {
    /// The word of the contract.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Degraded => "degraded",
            Self::Healthy => "healthy",
            Self::Blind => "blind",
        }
    }
}

/// One line of the checklist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The public name, `upgrade-header`.
    pub id: &'static str,
    /// What a person calls it.
    pub title: &'static str,
    /// Ticked or not.
    pub status: Status,
    /// Why, in one sentence.
    pub said: String,
    /// What it is about.
    pub subject: Subject,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Pass,
    /// Wrong.
    Fail,
    /// Could hurt.
    Warn,
    /// Could not be looked at.
    Skip,
}

/// Everything the rules say about a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// In one word.
    pub verdict: Verdict,
    /// In one sentence.
    pub summary: String,
    /// Most severe first, causes before consequences.
    pub findings: Vec<Finding>,
    /// What a comment in the configuration asks not to be told.
    pub ignored: Vec<Finding>,
}

impl Diagnosis {
    /// How many findings there are of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|f| f.severity == severity).count()
    }
}
