//! Tunnels that a reload cut: they end together when the time of the old workers is over.

use std::time::Duration;

use crate::event::log::AccessEntry;
use crate::event::site::Setting;
use crate::event::tally::bursts::Burst;
use crate::event::tally::lifecycle::{Cause, Draining};
use crate::human;
use crate::model::Model;
use crate::time::Timestamp;

use super::finding::{Confidence, Evidence, EvidenceKind, Finding, Fix, Severity, Subject};
use super::look::{self, FRESH, Spot, short};
use super::tunnels::seconds;

/// Deaths within this time of one another are one event.
const AT_ONCE: Duration = Duration::from_secs(2);
/// As many tunnels that nginx itself calls cut off are no accident.
const SEVERAL: usize = 3;

/// Old workers that cut what is left after `worker_shutdown_timeout`: many tunnels end at one moment, and the access log
/// calls their requests not completed (core/ngx_cycle.c, `ngx_shutdown_timer_handler`). A burst without a reload before it
/// is none of these, and a reload without a burst hurt nobody.
pub(super) fn reload_cuts(model: &Model) -> Vec<Finding> {
    let Some(set) = model.site.as_ref().and_then(|s| s.worker_shutdown_timeout.as_ref()) else { return Vec::new() };
    let place = set.place.as_ref().map_or_else(String::new, short);
    let draining = Draining::Bounded(set.value, place);
    let since = model.since.unwrap_or(model.now);
    let bursts = model.sessions.bursts(since, model.now).into_iter().chain(cut_off(model));
    let cuts = bursts.filter(|b| model.now.since(b.at) <= FRESH && !completed(model, b)).filter_map(|b| {
        match model.lifecycle.cause(&b, &draining)? {
            Cause::Drained { reload: Some(reload), .. } => Some((b, reload)),
            _ => None,
        }
    });
    let worst = cuts.max_by_key(|(b, _)| (b.ended, b.at));
    worst.map(|(burst, reload)| finding(model, set, &burst, reload)).into_iter().collect()
}

/// The entries of a burst that are still known one by one.
fn entries<'a>(model: &'a Model, burst: &Burst) -> impl Iterator<Item = &'a AccessEntry> {
    let (from, to) = (burst.at.secs(), burst.last().secs());
    model.sessions.recent.iter().filter(move |e| (from..=to).contains(&e.at.secs()))
}

/// The access log calls most of these completed: nginx writes that of tunnels that ended by themselves.
fn completed(model: &Model, burst: &Burst) -> bool {
    let told: Vec<bool> = entries(model, burst).filter_map(|e| e.completed).collect();
    told.iter().filter(|c| **c).count() * 2 > told.len()
}

/// The moment at which most tunnels ended whose requests the access log calls not completed. These are no chance, so that
/// fewer of them suffice than of others.
fn cut_off(model: &Model) -> Option<Burst> {
    let cut: Vec<Timestamp> =
        model.sessions.recent.iter().filter(|e| e.completed == Some(false)).map(|e| e.at).collect();
    let together = |at: Timestamp| cut.iter().filter(move |b| **b >= at && b.since(at) <= AT_ONCE);
    let (first, count) = cut.iter().map(|at| (*at, together(*at).count())).max_by_key(|(at, n)| (*n, *at))?;
    let last = together(first).max()?;
    let seconds = last.secs().abs_diff(first.secs()) + 1;
    let at = Timestamp::from_secs(first.secs());
    (count >= SEVERAL).then_some(Burst { at, seconds, ended: count as u64, usual: 0.0 })
}

fn finding(model: &Model, set: &Setting<Duration>, burst: &Burst, reload: Timestamp) -> Finding {
    let spot = entries(model, burst).last().and_then(|e| look::spot_of_access(model, e));
    let subject = spot.map_or_else(|| Subject::resource("worker processes"), Spot::subject);
    let after = seconds(set.value);
    let cut = human::counted(burst.ended, "tunnel", "tunnels");
    let said = format!("a reload cut {cut} at once: old workers may drain for {after} only");
    let place = set.place.as_ref();
    let config = place.map(|p| Evidence::config(p, format!("worker_shutdown_timeout {after}")));
    let died = format!("{cut} ended within {} s, {after} after the reload", burst.seconds);
    let advice = "raise worker_shutdown_timeout, reload less often, and let clients reconnect with jitter";
    let fix = place.map_or_else(|| Fix::new(advice), |p| Fix::config(p, advice));
    Finding::new("reload-cuts", Severity::Warning, Confidence::Likely, subject, said)
        .seen(config)
        .seen([
            Evidence::new(EvidenceKind::Access, died).at(burst.at),
            Evidence::new(EvidenceKind::Process, "nginx was reloaded").at(reload),
        ])
        .fixed_by(fix)
}
