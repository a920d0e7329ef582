//! Endpoints through the proxy and directly, in the report: as data, as text, as Markdown.

use std::fmt::Write as _;

use serde::Serialize;

use super::markdown::inert;
use super::text::{Ink, Page};
use crate::diagnose::pairs::{Pair, pairs};
use crate::model::Model;

/// One endpoint by both routes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairFacts {
    /// The URL that clients use.
    pub endpoint: String,
    /// What the comparison says.
    pub said: String,
    /// The direct ways.
    pub directs: Vec<DirectFacts>,
}

/// One direct way. Times in milliseconds; `null` is unknown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DirectFacts {
    /// What is dialled.
    pub url: String,
    /// It works.
    pub works: Option<bool>,
    /// Why it fails.
    pub failure: Option<String>,
    /// What the proxy adds to a handshake; below zero where it is the faster way.
    pub proxy_adds_ms: Option<f64>,
    /// What it adds to a ping.
    pub proxy_adds_rtt_ms: Option<f64>,
}

impl PairFacts {
    /// All pairs of a model.
    pub(super) fn all(model: &Model) -> Vec<Self> {
        pairs(model).into_iter().map(Self::of).collect()
    }

    fn of(pair: Pair) -> Self {
        let directs = pair.directs.into_iter().map(|d| DirectFacts {
            url: d.url,
            works: d.works,
            failure: d.failure,
            proxy_adds_ms: d.adds_ms,
            proxy_adds_rtt_ms: d.adds_rtt_ms,
        });
        Self { endpoint: pair.endpoint, said: pair.said, directs: directs.collect() }
    }
}

/// The pairs at 80 columns.
pub(super) fn text(page: &mut Page, all: &[PairFacts]) {
    for p in all {
        let lead = format!(" {} ", page.ink(Ink::Bold, "Directly"));
        page.hang(&lead, 10, &format!("{}: {}", p.endpoint, p.said));
        for d in &p.directs {
            let (ink, sign) = match d.works {
                Some(true) => (Ink::Good, "✔"),
                Some(false) => (Ink::Bad, "✖"),
                None => (Ink::Dim, "·"),
            };
            let lead = format!("   {} ", page.ink(ink, sign));
            page.hang(&lead, 5, &format!("{}{}", d.url, behind(d)));
        }
        page.line("");
    }
}

fn behind(d: &DirectFacts) -> String {
    match (&d.failure, d.proxy_adds_ms) {
        (Some(failure), _) => format!(": {failure}"),
        (None, Some(ms)) if ms.abs() < 0.05 => ": as fast".to_owned(),
        (None, Some(ms)) if ms >= 0.0 => format!(": the proxy adds {ms:.1} ms"),
        (None, Some(ms)) => format!(": the proxy is faster by {:.1} ms", -ms),
        (None, None) => String::new(),
    }
}

/// The pairs as Markdown.
pub(super) fn markdown(out: &mut String, all: &[PairFacts]) {
    for p in all {
        let _ = writeln!(out, "\n## Directly\n\n{}: {}\n", inert(&p.endpoint), inert(&p.said));
        for d in &p.directs {
            let _ = writeln!(out, "- {}{}", inert(&d.url), inert(&behind(d)));
        }
    }
}
