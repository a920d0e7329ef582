//! What our own tunnels at different paces prove: a timer of silence, and whose it may be.

use std::time::Duration;

use crate::event::probe::{Cadence, ClosedBy};
use crate::event::tally::sessions::WELL_KNOWN;
use crate::human;
use crate::model::Model;
use crate::model::cadence::{IdleTimer, Twin};
use crate::model::probes::{Closed, Outcome, Probe};
use crate::time::Timestamp;

use super::finding::{Confidence, Evidence, EvidenceKind, Finding, Fix, Severity};
use super::look::{Case, FRESH, cases};
use super::tunnels::{is_at, seconds, timeout_line};

/// `60.0 s`: a silence that was measured.
fn measured(d: Duration) -> String {
    format!("{:.1} s", d.as_secs_f64())
}

/// The proof in a sentence.
pub(super) fn proof(timer: &IdleTimer) -> Evidence {
    let IdleTimer { after, deaths, survivor, survived } = timer;
    let died = human::counted(*deaths, "tunnel of ours died", "tunnels of ours died");
    let lives = human::span(*survived);
    let said = format!(
        "{died} after {} of silence, while one with a ping every {survivor} lives for {}",
        measured(*after),
        lives.trim()
    );
    Evidence::new(EvidenceKind::Probe, said)
}

/// The deaths of our paced tunnels by FIN after as much silence: how many, the newest, and what they prove.
pub(super) fn cut_at(model: &Model, case: &Case<'_>, timeout: Duration) -> Option<(usize, Timestamp, Vec<Evidence>)> {
    let of = |(_, probe): &(Cadence, &Probe)| -> Vec<(Timestamp, Closed)> {
        let fresh = probe.history.iter().filter(|(at, _)| model.now.since(*at) <= FRESH);
        let cut = fresh.filter_map(|(at, o)| if let Outcome::Closed(c) = o { Some((*at, c.clone())) } else { None });
        cut.filter(|(_, c)| c.by == ClosedBy::Fin && is_at(c.idle, timeout)).collect()
    };
    let cut: Vec<(Timestamp, Closed)> = case.paced.iter().flat_map(of).collect();
    let (at, last) = cut.iter().max_by_key(|(at, _)| *at)?;
    let seen = || {
        let said = format!("a silent tunnel of ours ended with FIN after {} of silence", measured(last.idle));
        Evidence::new(EvidenceKind::Probe, said)
    };
    let evidence = case.idle_timer().filter(|t| is_at(t.after, timeout)).map_or_else(seen, |timer| proof(&timer));
    let evidence = std::iter::once(evidence.at(*at)).chain(directly(case, timeout));
    Some((cut.len(), *at, evidence.collect()))
}

/// What the tunnels straight to the backend say of the same silence.
pub(super) fn directly(case: &Case<'_>, after: Duration) -> Option<Evidence> {
    let said = match case.twin_at(after)? {
        Twin::DiesToo => {
            format!("directly a tunnel of ours died after as much silence: {} is the backend's, too", measured(after))
        }
        Twin::Lives(held) => format!("directly a silent tunnel of ours lives for {}", human::span(held).trim()),
    };
    Some(Evidence::new(EvidenceKind::Probe, said))
}

/// A proven timer that is not nginx's `proxy_read_timeout`, or of a path whose nginx is out of sight. Only our own silence
/// shows it, so nobody is harmed as far as can be seen.
pub(super) fn foreign_timers(model: &Model) -> Vec<Finding> {
    cases(model).iter().filter_map(|case| Some(foreign(case, &case.idle_timer()?)).flatten()).collect()
}

fn foreign(case: &Case<'_>, timer: &IdleTimer) -> Option<Finding> {
    let nginx = case.spot.map(|s| &s.location.read_timeout);
    // As long as nginx waits, or longer: that is nginx.
    if nginx.is_some_and(|set| is_at(timer.after, set.value) || timer.after > set.value) {
        return None;
    }
    let path = case.path();
    let after = measured(timer.after);
    let near = |k: &&crate::event::tally::sessions::WellKnown| is_at(timer.after, Duration::from_secs(k.seconds));
    let known = WELL_KNOWN.iter().find(near);
    let name = known.and_then(|k| if nginx.is_some() { k.others } else { k.nginx.or(k.others) });
    let fits = name.map(|n| Evidence::new(EvidenceKind::Probe, format!("by its value perhaps {n}")));
    let twin = case.twin_at(timer.after);
    let side = match twin {
        Some(Twin::DiesToo) => Some("it sits in the backend or near it: directly tunnels die of it too"),
        Some(Twin::Lives(_)) => Some("it sits before the backend: directly a silent tunnel lives on"),
        None => None,
    };
    let said = match (nginx, side) {
        (Some(set), side) => format!(
            "{path}: a timer cuts tunnels after {after} of silence, though nginx waits {}; {}",
            seconds(set.value),
            side.unwrap_or("it sits before or behind nginx")
        ),
        (None, Some(side)) => format!("{path}: a timer cuts tunnels after {after} of silence; {side}"),
        (None, None) => format!("{path}: a timer somewhere on the path cuts tunnels after {after} of silence"),
    };
    let half = human::span(timer.after / 2);
    let fix = format!(
        "let one side ping at least every {}, or raise the timer: the backend's own, a balancer's, a firewall's",
        half.trim()
    );
    let line = case.spot.map(|s| timeout_line(s.location, &s.location.read_timeout, "proxy_read_timeout"));
    Some(
        Finding::new("middlebox-cuts", Severity::Info, Confidence::Likely, case.subject(), said)
            .seen([proof(timer)])
            .seen(directly(case, timer.after))
            .seen(fits)
            .seen(line)
            .fixed_by(Fix::new(fix)),
    )
}
