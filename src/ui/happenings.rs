//! What a filter of the timeline is held against: errors of one category, tunnels opened and ended, probes, marks.

use std::borrow::Cow;

use crate::model::marks::{Mark, MarkKind};
use crate::report::filter::{Fields, Filter, Key, Kind};

use super::snapshot::past::{Past, What};

/// What a filter of the timeline can name.
pub static KEYS: [Key; 3] =
    [Key::new("what", Kind::Text), Key::new("category", Kind::Text), Key::new("said", Kind::Text)];

/// Something that the timeline shows.
#[derive(Clone, Copy, Debug)]
pub struct Happening<'a> {
    what: &'static str,
    category: Option<&'static str>,
    said: Option<&'a str>,
}

impl Fields for Happening<'_> {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        match key {
            "what" => Some(Cow::Borrowed(self.what)),
            "category" => self.category.map(Cow::Borrowed),
            "said" => self.said.map(Cow::Borrowed),
            _ => None,
        }
    }

    fn number(&self, _: &str) -> Option<f64> {
        None
    }
}

const OPENED: Happening<'static> = Happening { what: "opened", category: None, said: None };
const DEATHS: Happening<'static> = Happening { what: "deaths", category: None, said: None };

const fn of_category(name: &'static str) -> Happening<'static> {
    Happening { what: "errors", category: Some(name), said: None }
}

const fn of_probe(name: &str) -> Happening<'_> {
    Happening { what: "probe", category: None, said: Some(name) }
}

fn of_mark(mark: &Mark) -> Happening<'_> {
    let what = match mark.kind {
        MarkKind::Reload => "reload",
        MarkKind::Started => "started",
        MarkKind::Stopped => "stopped",
        MarkKind::WorkerGone => "worker-gone",
        MarkKind::ProbeDown => "probe-down",
        MarkKind::ProbeUp => "probe-up",
    };
    Happening { what, category: None, said: Some(&mark.said) }
}

/// Everything that a filter of the timeline is held against.
#[must_use]
pub fn rows(past: &Past) -> Vec<Happening<'_>> {
    let categories = past.errors.iter().map(|e| of_category(e.category.word()));
    let probes = past.probes.iter().map(|p| of_probe(&p.name));
    categories.chain([OPENED, DEATHS]).chain(probes).chain(past.marks.iter().map(of_mark)).collect()
}

/// The marks that pass, by their place.
#[must_use]
pub fn marks(past: &Past, filter: Option<&Filter>) -> Vec<usize> {
    let passes = |(_, mark): &(usize, &Mark)| filter.is_none_or(|f| f.passes(&of_mark(mark)));
    past.marks.iter().enumerate().filter(passes).map(|(at, _)| at).collect()
}

/// The past as far as it passes.
#[must_use]
pub fn narrowed(past: &Past, filter: &Filter) -> Past {
    let mut past = past.clone();
    past.errors.retain(|e| filter.passes(&of_category(e.category.word())));
    past.probes.retain(|p| filter.passes(&of_probe(&p.name)));
    past.marks.retain(|mark| filter.passes(&of_mark(mark)));
    let out = [
        (What::Errors, past.errors.is_empty()),
        (What::Opened, !filter.passes(&OPENED)),
        (What::Ended, !filter.passes(&DEATHS)),
    ];
    past.left_out = out.into_iter().filter(|(_, out)| *out).map(|(what, _)| what).collect();
    past
}
