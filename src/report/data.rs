//! The report as plain data: exactly what `--format json` prints, and all that the texts are drawn from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use crate::diagnose;
use crate::diagnose::finding::{Check, Diagnosis, Finding, Verdict};
use crate::event::backend::Fault;
use crate::event::probe::{Answer, Route, Strays, TargetId};
use crate::model::Model;
use crate::model::backend::Messages;
use crate::model::cadence::fare;
use crate::model::probes::{Outcome, Probe, ProbeState};
use crate::time::Timestamp;

use super::headroom::HeadroomFacts;
use super::matrix::MatrixFacts;
use super::pairs::PairFacts;

/// The version of the report's shape.
pub const REPORT_SCHEMA: &str = "wspulse.report/1";

/// One look at one host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Always [`REPORT_SCHEMA`].
    pub schema: &'static str,
    /// The moment it speaks of: that of the newest event.
    pub at: Timestamp,
    /// The host's name.
    pub host: String,
    /// The program's own version.
    pub wspulse: String,
    /// In one word.
    pub verdict: Verdict,
    /// In one sentence.
    pub summary: String,
    /// The running nginx, or what the configuration tells of it; `null` when neither was seen.
    pub nginx: Option<NginxFacts>,
    /// Most severe first, causes before consequences.
    pub findings: Vec<Finding>,
    /// How many more a comment in the configuration asks not to be told.
    pub ignored: usize,
    /// The classic checklist.
    pub checks: Vec<Check>,
    /// Every probe, the direct twin after its partner.
    pub probes: Vec<ProbeFacts>,
    /// Endpoints through the proxy and directly, side by side; absent when none was asked directly.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<PairFacts>,
    /// Handshakes with one thing changed at a time; absent when none were made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matrix: Vec<MatrixFacts>,
    /// What the socket tables show.
    pub tunnels: TunnelFigures,
    /// What the error logs said.
    pub errors: ErrorFigures,
    /// What the access logs said.
    pub sessions: SessionFigures,
    /// Known messages in backends' own logs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backend: Vec<BackendFacts>,
}

/// The nginx that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NginxFacts {
    /// `1.22.1`.
    pub version: Option<String>,
    /// The executable.
    pub binary: Option<String>,
    /// The main configuration file.
    pub conf: Option<String>,
    /// The master's process id.
    pub master_pid: Option<u32>,
    /// The workers' process ids.
    pub workers: Vec<u32>,
}

/// One probe. Times in milliseconds; `null` is unknown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbeFacts {
    /// The URL that was dialled.
    pub url: String,
    /// The URL that clients use.
    pub endpoint: String,
    /// Through the proxy or directly.
    pub route: Route,
    /// `silent`, or from ping to ping, of a tunnel that is held at a pace of its own; `null`: the ordinary probe.
    pub cadence: Option<String>,
    /// `fresh`, `dialing`, `open`, `failed`, `closed` or `stopped`.
    pub state: &'static str,
    /// The HTTP status of the latest answer.
    pub status: Option<u16>,
    /// What failed, or how the tunnel ended.
    pub said: Option<String>,
    /// What the name resolved to, in the resolver's order.
    pub addresses: Vec<SocketAddr>,
    /// Addresses that failed before another one answered, and how.
    pub failed_addresses: Vec<String>,
    /// Name to addresses.
    pub resolve_ms: Option<f64>,
    /// TCP connect.
    pub connect_ms: Option<f64>,
    /// TLS handshake.
    pub tls_ms: Option<f64>,
    /// Opening handshake.
    pub upgrade_ms: Option<f64>,
    /// The latest round-trip time.
    pub rtt_ms: Option<f64>,
    /// Half of the round-trip times are below.
    pub rtt_p50_ms: Option<f64>,
    /// All but one in a hundred are below.
    pub rtt_p99_ms: Option<f64>,
    /// How much consecutive round-trip times differ, smoothed as in RFC 3550 section 6.4.1.
    pub jitter_ms: Option<f64>,
    /// Attempts begun.
    pub attempts: u64,
    /// Attempts that reached a valid 101.
    pub opened: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Pings sent.
    pub pings: u64,
    /// Pongs received.
    pub pongs: u64,
    /// Pings without a pong.
    pub missed: u64,
    /// Pongs that answered no ping.
    pub stray_pongs: Strays,
    /// Tunnels that ended, not by us, of those that are still remembered.
    pub deaths: u64,
    /// The silence before the latest of them ended, in seconds.
    pub died_after_silence_s: Option<f64>,
    /// How long the tunnel was held, in seconds.
    pub held_s: Option<f64>,
    /// The end of the certificate's validity.
    pub certificate_until: Option<Timestamp>,
    /// The request as sent, secrets redacted.
    pub request: Option<String>,
    /// The answer's header, as sent.
    pub answer: Option<String>,
    /// The beginning of its body.
    pub body: Option<String>,
}

/// What the socket tables show; `null` when they were not read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TunnelFigures {
    /// Open now.
    pub open: Option<usize>,
    /// Opened while we looked.
    pub opened: Option<u64>,
    /// Ended while we looked.
    pub died: Option<u64>,
    /// What nginx has left.
    #[serde(flatten)]
    pub headroom: HeadroomFacts,
}

/// What the error logs said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ErrorFigures {
    /// Whole lines: entries, continuations and unparsed ones.
    pub lines: u64,
    /// Entries among them.
    pub entries: u64,
    /// Lines that belong to the entry before.
    pub continuations: u64,
    /// Lines that fit no grammar.
    pub unparsed: u64,
    /// Entries by level.
    pub by_level: BTreeMap<&'static str, u64>,
    /// Entries by category.
    pub by_category: BTreeMap<&'static str, u64>,
}

/// What the access logs said.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SessionFigures {
    /// Ended tunnels: lines with status 101.
    pub count: u64,
    /// Their lifetimes in seconds; `null` when no line tells one.
    pub lifetimes: Option<Lifetimes>,
    /// Handshakes that were answered with another status.
    pub refused: Vec<RefusedFacts>,
}

/// Lifetimes of tunnels in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Lifetimes {
    /// Half of them are shorter.
    pub p50: f64,
    /// Nine in ten are shorter.
    pub p90: f64,
    /// All but one in a hundred are shorter.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// Refused handshakes with one path and status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedFacts {
    /// The request's path.
    pub path: String,
    /// The status; 0 where nginx wrote 000.
    pub status: u16,
    /// How often.
    pub count: u64,
    /// When last.
    pub last: Timestamp,
}

/// One known message of a WebSocket library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackendFacts {
    /// Whose message it is.
    pub library: String,
    /// The words that are always there.
    pub words: String,
    /// What was wrong.
    pub fault: Fault,
    /// How often it came.
    pub count: u64,
    /// When last; `null` when its lines tell no time.
    pub last: Option<Timestamp>,
}

impl Report {
    /// What `model` and its `diagnosis` amount to, as said by this `version` of the program.
    #[must_use]
    pub fn of(model: &Model, diagnosis: &Diagnosis, version: &str) -> Self {
        Self {
            schema: REPORT_SCHEMA,
            at: model.now,
            host: model.host.to_string(),
            wspulse: version.to_owned(),
            verdict: diagnosis.verdict,
            summary: diagnosis.summary.clone(),
            nginx: nginx_facts(model),
            findings: diagnosis.findings.clone(),
            ignored: diagnosis.ignored.len(),
            checks: diagnose::checks(model, diagnosis),
            probes: model.probes.by_target.iter().map(|(t, p)| probe_facts(model.now, t, p)).collect(),
            pairs: PairFacts::all(model),
            matrix: MatrixFacts::all(model, diagnosis),
            tunnels: tunnel_figures(model),
            errors: error_figures(model),
            sessions: session_figures(model),
            backend: model.backend.by_message.iter().filter_map(|(key, m)| backend_facts(key, m)).collect(),
        }
    }
}

fn nginx_facts(model: &Model) -> Option<NginxFacts> {
    let site = model.site.as_ref();
    let conf = || site.map(|s| s.conf.clone()).filter(|c| !c.is_empty());
    let version = || site.and_then(|s| s.version).map(|v| v.to_string());
    let Some(master) = model.master() else {
        return site.map(|_| NginxFacts { version: version(), conf: conf(), ..NginxFacts::default() });
    };
    Some(NginxFacts {
        version: master.version.map(|v| v.to_string()).or_else(version),
        binary: master.binary.clone(),
        conf: master.conf.clone().or_else(conf),
        master_pid: Some(master.pid),
        workers: master.workers.iter().map(|w| w.pid).collect(),
    })
}

fn ms(d: Option<Duration>) -> Option<f64> {
    // Microseconds are what the probe measures; more digits would be noise.
    d.map(|d| d.as_micros() as f64 / 1e3)
}

fn probe_facts(now: Timestamp, target: &TargetId, p: &Probe) -> ProbeFacts {
    let (state, said) = match &p.state {
        ProbeState::Fresh => ("fresh", None),
        ProbeState::Dialing => ("dialing", p.last_failure().map(|f| f.said.clone())),
        ProbeState::Open(_) => ("open", None),
        ProbeState::Failed(f) => ("failed", Some(f.said.clone())),
        ProbeState::Closed(c) => ("closed", Some(c.reason.clone()).filter(|r| !r.is_empty())),
        ProbeState::Stopped => ("stopped", None),
    };
    let held = p.held(now).or_else(|| match p.history.back() {
        Some((_, Outcome::Closed(c))) => Some(c.held),
        _ => None,
    });
    ProbeFacts {
        url: target.url.to_string(),
        endpoint: target.endpoint.to_string(),
        route: target.route,
        cadence: target.cadence.map(|c| c.to_string()),
        state,
        status: p.answer.as_ref().map(|a| a.status),
        said,
        addresses: p.addresses.clone(),
        failed_addresses: p.tried.clone(),
        resolve_ms: ms(p.phases.resolve),
        // The way to the server, an HTTP proxy's part with it.
        connect_ms: ms(p.phases.connect.map(|d| d + p.phases.proxy.unwrap_or_default())),
        tls_ms: ms(p.phases.tls),
        upgrade_ms: ms(p.phases.upgrade),
        rtt_ms: ms(p.rtt),
        rtt_p50_ms: ms(p.rtt_quantile(0.5)),
        rtt_p99_ms: ms(p.rtt_quantile(0.99)),
        jitter_ms: ms(p.jitter),
        attempts: p.attempts,
        opened: p.opened,
        failed: p.failed,
        pings: p.pings,
        pongs: p.pongs,
        missed: p.missed,
        stray_pongs: p.strays,
        deaths: fare(p, now).deaths,
        died_after_silence_s: p.last_death().map(|c| c.idle.as_secs_f64()),
        held_s: held.map(|d| d.as_secs_f64()),
        certificate_until: p.tls.as_ref().and_then(|t| t.not_after),
        request: Some(p.request.clone()).filter(|r| !r.is_empty()),
        answer: p.answer.as_ref().map(answer_text),
        body: p.answer.as_ref().map(|a| a.body.clone()).filter(|b| !b.is_empty()),
    }
}

/// The status line and the header fields, one a line.
fn answer_text(a: &Answer) -> String {
    let status = format!("{} {} {}", a.version, a.status, a.reason);
    let fields = a.headers.iter().map(|(name, value)| format!("{name}: {value}"));
    std::iter::once(status).chain(fields).collect::<Vec<_>>().join("\n")
}

fn tunnel_figures(model: &Model) -> TunnelFigures {
    let c = &model.connections;
    let looked = c.last_look().is_some();
    TunnelFigures {
        open: looked.then(|| c.count()),
        opened: looked.then_some(c.opened_total),
        died: looked.then_some(c.died_total),
        headroom: HeadroomFacts::of(model),
    }
}

fn error_figures(model: &Model) -> ErrorFigures {
    let e = &model.errors;
    ErrorFigures {
        lines: e.lines,
        entries: e.entries,
        continuations: e.continuations,
        unparsed: e.unparsed,
        by_level: e.by_level.iter().map(|(l, n)| (l.word(), *n)).collect(),
        by_category: e.by_category.iter().map(|(c, t)| (c.word(), t.total)).collect(),
    }
}

fn backend_facts((library, words): &(String, String), messages: &Messages) -> Option<BackendFacts> {
    let last = messages.last()?;
    let (library, words) = (library.clone(), words.clone());
    Some(BackendFacts { library, words, fault: last.fault, count: messages.total, last: last.at })
}

fn session_figures(model: &Model) -> SessionFigures {
    let s = &model.sessions;
    let at = |q| s.lifetime(q).map(|d| d.as_secs_f64());
    let lifetimes = at(0.5).zip(at(0.9)).zip(at(0.99).zip(at(1.0)));
    SessionFigures {
        count: s.ended,
        lifetimes: lifetimes.map(|((p50, p90), (p99, max))| Lifetimes { p50, p90, p99, max }),
        refused: s
            .refused
            .iter()
            .map(|((path, status), r)| RefusedFacts {
                path: path.clone(),
                status: *status,
                count: r.count,
                last: r.last,
            })
            .collect(),
    }
}
