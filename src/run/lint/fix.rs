//! All fixes made into one: round by round, as each changes what the next is told against.

use crate::diagnose;
use crate::diagnose::finding::{Diagnosis, Severity};
use crate::diagnose::patch::Draft;
use crate::event::site::Site;

use super::model;
use super::target::Target;

/// Each round mends at least one finding; a configuration with more that clash is mended in several runs.
const ROUNDS: usize = 32;

/// The files as they would be, and what would be left.
pub(super) struct Mended {
    pub(super) draft: Draft,
    pub(super) left: Diagnosis,
}

/// Makes the patches of all findings that are at least so severe.
pub(super) fn mend(target: &Target, site: &Site, diagnosis: &Diagnosis, least: Severity) -> Mended {
    let mut draft = Draft::default();
    let (mut site, mut left) = (site.clone(), diagnosis.clone());
    for _ in 0..ROUNDS {
        let meant = left.findings.iter().filter(|f| f.severity <= least);
        let patches = meant.filter_map(|f| f.fix.as_ref()?.patch.as_deref());
        if draft.apply(&site, patches) == 0 {
            break;
        }
        site = target.read(draft.texts());
        left = diagnose::lint(&model(&site));
    }
    Mended { draft, left }
}
