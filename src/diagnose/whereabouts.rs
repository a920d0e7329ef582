//! How the files that a fix names are reached, when they are not simply files of this host.

use crate::event::site::{Apart, ApartKind, Site};
use crate::model::Model;

use super::finding::{Finding, Fix};

/// Says in every fix of the configuration where its file lies and how its patch is applied.
pub(super) fn tell(model: &Model, findings: &mut [Finding]) {
    let Some(site) = &model.site else { return };
    for fix in findings.iter_mut().filter_map(|f| f.fix.as_mut()) {
        let ours = fix.file.as_ref().is_some_and(|f| site.files.contains(f));
        if let Some(words) = words(site, fix).filter(|_| ours) {
            fix.said = format!("{} ({words})", fix.said);
        }
    }
}

fn words(site: &Site, fix: &Fix) -> Option<String> {
    let file = fix.file.as_deref()?;
    let patched = |root: &str| {
        if fix.patch.is_some() { format!("; patch -d {root} -p1 applies the patch") } else { String::new() }
    };
    match (&site.root, &site.apart) {
        (Some(root), None) => {
            Some(format!("the file is in nginx's container, from here {root}{file}{}", patched(root)))
        }
        (Some(root), Some(_)) => Some(format!("in the copy {root}{file}{}", patched(root))),
        (None, Some(Apart { kind: ApartKind::Dump, from, .. })) => {
            Some(format!("the file as it stands in {from}{}", patched("/")))
        }
        _ => None,
    }
}
