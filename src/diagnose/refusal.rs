//! The form of findings about a handshake that was refused.

use crate::model::Model;

use super::finding::{Confidence, Finding, Severity};
use super::look::{Case, cases};

/// One critical finding about a failing probe, with what it and its twin saw.
pub(super) fn refused(case: &Case<'_>, id: &'static str, confidence: Confidence, why: &str) -> Finding {
    let said = format!("{}: {why}", case.symptom());
    Finding::new(id, Severity::Critical, confidence, case.subject(), said).seen(case.evidence())
}

/// What `rule` says of each endpoint that answers with a status.
pub(super) fn each(model: &Model, rule: impl Fn(&Case<'_>, u16) -> Option<Finding>) -> Vec<Finding> {
    cases(model).iter().filter_map(|c| rule(c, c.status()?)).collect()
}
