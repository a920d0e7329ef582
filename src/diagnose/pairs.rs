//! The same service by two routes: what the way through nginx and the direct ways say beside each other.

use std::time::Duration;

use crate::event::probe::TargetId;
use crate::human;
use crate::model::Model;
use crate::model::probes::Probe;

use super::look::{Case, cases, dropped, failure, works};

/// Milliseconds that are not worth a number.
const NOTHING: f64 = 0.05;

/// One endpoint through the proxy, beside its backends.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The URL that clients use.
    pub endpoint: String,
    /// What the comparison says, in a sentence.
    pub said: String,
    /// The direct ways.
    pub directs: Vec<Direct>,
}

/// One direct way.
#[derive(Clone, Debug, PartialEq)]
pub struct Direct {
    /// What is dialled.
    pub url: String,
    /// It works; `None` while that is not known.
    pub works: Option<bool>,
    /// Why it fails.
    pub failure: Option<String>,
    /// What the way through the proxy adds to a handshake, in milliseconds; below zero where it is the faster one.
    pub adds_ms: Option<f64>,
    /// The same for a ping, median against median.
    pub adds_rtt_ms: Option<f64>,
}

/// All endpoints that are probed by both routes.
#[must_use]
pub fn pairs(model: &Model) -> Vec<Pair> {
    cases(model).iter().filter(|c| !c.twins.is_empty()).map(|c| pair(model, c)).collect()
}

fn pair(model: &Model, case: &Case<'_>) -> Pair {
    let directs: Vec<Direct> = case.twins.iter().map(|(t, p)| direct(model, case, t, p)).collect();
    Pair { endpoint: case.target.endpoint.to_string(), said: said(model, case, &directs), directs }
}

fn direct(model: &Model, case: &Case<'_>, target: &TargetId, probe: &Probe) -> Direct {
    let fate = fate(model, probe);
    let both = matches!(fate, Some(Ok(()))) && case.works();
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    let added = |through: Option<Duration>, directly: Option<Duration>| {
        // Microseconds are what is measured; more digits would be noise.
        let micros = |d: f64| (d * 1e3).round() / 1e3;
        through.zip(directly).filter(|_| both).map(|(a, b)| micros(ms(a) - ms(b)))
    };
    Direct {
        url: target.url.to_string(),
        works: fate.as_ref().map(Result::is_ok),
        failure: fate.and_then(Result::err),
        adds_ms: added(case.probe.phases.upgrade, whole(probe)),
        adds_rtt_ms: added(case.probe.rtt_quantile(0.5), probe.rtt_quantile(0.5)),
    }
}

/// How the latest attempt went: a tunnel that the other side ended works no more than one that was refused.
fn fate(model: &Model, probe: &Probe) -> Option<Result<(), String>> {
    if works(probe, model.now) {
        return Some(Ok(()));
    }
    let failed = failure(probe, model.now).map(|f| f.said.clone());
    let closed = dropped(probe, model.now).map(|(_, c)| {
        let code = c.code.map_or_else(String::new, |code| format!(" with {code}"));
        format!("opened, but closed{code} after {:.1} s", c.held.as_secs_f64())
    });
    failed.or(closed).map(Err)
}

/// All that nginx does as well between our request and its answer: connect, TLS, upgrade.
fn whole(probe: &Probe) -> Option<Duration> {
    let p = probe.phases;
    Some(p.connect.unwrap_or_default() + p.tls.unwrap_or_default() + p.upgrade?)
}

fn said(model: &Model, case: &Case<'_>, directs: &[Direct]) -> String {
    let sound = directs.iter().filter(|d| d.works == Some(true)).count();
    let sick: Vec<&Direct> = directs.iter().filter(|d| d.works == Some(false)).collect();
    let through = fate(model, case.probe).map(|f| f.is_ok());
    if sound + sick.len() < directs.len() || through.is_none() {
        return "not every way has an answer yet".to_owned();
    }
    let named = || sick.iter().map(|d| d.url.as_str()).collect::<Vec<_>>().join(", ");
    match (through == Some(true), sound, sick.len()) {
        (true, _, 0) => cost(directs),
        (false, _, 0) => "it fails only through the proxy".to_owned(),
        (true, 0, _) => "it fails only directly".to_owned(),
        (_, 0, _) if alike(model, case) => "it fails both ways in the same way: it is the backend".to_owned(),
        (_, 0, _) if matches!(case.status(), Some(502..=504)) => {
            "it fails both ways: the backend cannot be used".to_owned()
        }
        (_, 0, _) => "it fails both ways, but not in the same way".to_owned(),
        (_, _, one) => format!("{one} of {} backends cannot be used: {}", directs.len(), named()),
    }
}

/// The same phase and kind of failure and the same status, or the same end.
fn alike(model: &Model, case: &Case<'_>) -> bool {
    let way = |p: &Probe| {
        let failed = failure(p, model.now).map(|f| (f.phase, f.kind, p.answer.as_ref().map(|a| a.status)));
        let closed = dropped(p, model.now).map(|(_, c)| (c.by, c.code));
        (failed, closed)
    };
    case.twins.iter().all(|(_, twin)| way(twin) == way(case.probe))
}

/// The dearest is told: a median over backends would hide the one that is far away.
fn cost(directs: &[Direct]) -> String {
    let most = |of: fn(&Direct) -> Option<f64>| directs.iter().filter_map(of).max_by(f64::total_cmp);
    let time = |ms: f64| match ms {
        ms if ms < NOTHING => "next to nothing".to_owned(),
        ms => human::latency(Duration::from_secs_f64(ms / 1e3)),
    };
    match (most(|d| d.adds_ms), most(|d| d.adds_rtt_ms)) {
        (Some(shake), Some(ping)) => {
            format!("both ways work; the proxy adds {} to the handshake, {} to a ping", time(shake), time(ping))
        }
        (Some(shake), None) => format!("both ways work; the proxy adds {} to the handshake", time(shake)),
        (None, _) => "both ways work".to_owned(),
    }
}
