//! One look: the same sources as the dashboard, until every probe has an answer, then the verdict.

use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::cli::{CheckArgs, FailOn, Format};
use crate::diagnose::diagnose;
use crate::diagnose::finding::{Diagnosis, Severity, Verdict};
use crate::event::probe::{Cadence, Route, TargetId};
use crate::event::site::Site;
use crate::event::{Event, SourceId, SourceKind, Stamped};
use crate::model::probes::{Probe, ProbeState};
use crate::report::guide::{guide, is_lost};
use crate::report::{self, Report};
use crate::settings::Settings;
use crate::source::logs;
use crate::source::probe::ProbeOptions;
use crate::source::probe::matrix::{self, Asked, Backend};
use crate::time::{Clock, Timestamp};

use super::out;
use super::plan::ProbeJob;
use super::program::program;
use super::session::Session;

/// How long the world may stay quiet after the last answer: log lines and socket rows of a failure come a moment later.
const SETTLE: Duration = Duration::from_millis(300);
/// How long sources may take for their first look, when nothing is probed.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// The most time for the whole look; and with the handshake matrix.
const USUAL: Duration = Duration::from_secs(10);
const DEEP: Duration = Duration::from_secs(20);
/// What of it is kept for the matrix, but never more than half.
const MATRIX: Duration = Duration::from_secs(10);

/// Looks once and prints the report.
///
/// # Errors
/// When stdout cannot be written.
pub async fn run(args: &CheckArgs, mut settings: Settings) -> anyhow::Result<ExitCode> {
    let colored = out::colored(settings.color);
    let timeout = args.timeout.unwrap_or(if args.deep { DEEP } else { USUAL });
    let end = Instant::now() + timeout;
    let limit = if args.deep { timeout.saturating_sub(MATRIX.min(timeout / 2)) } else { timeout };
    // A probe that gets no answer must say so itself before the look ends, or nothing would be known of it.
    settings.probe.total_timeout = settings.probe.total_timeout.min(limit * 4 / 5);
    settings.probe.ping_timeout = settings.probe.ping_timeout.min(limit / 2);
    settings.find_backends = (settings.find_backends || args.deep) && !args.no_probe;
    (settings.no_probe, settings.one_look) = (args.no_probe, true);
    settings.old_logs = settings.since.is_none() && are_old(&settings);
    let dialled = settings.probe.clone();
    let backend = !settings.backend_logs.is_empty();
    let mut session = Session::start(settings)?;
    look(&mut session, limit, args.hold, backend).await?;
    if args.deep {
        deep(&mut session, &dialled, end).await?;
    }
    let model = session.model();
    let diagnosis = diagnose(model);
    let report = Report::of(model, &diagnosis, env!("CARGO_PKG_VERSION"));
    let text = match args.format {
        Format::Text => report::text(&report, colored),
        Format::Json => report::json(&report),
        Format::Markdown => report::markdown(&report),
    };
    // Words of their own for those who see nothing yet: a report has findings, but no way on.
    let is_lost = diagnosis.verdict == Verdict::Blind || is_lost(model);
    let guide = guide(model).filter(|_| args.format == Format::Text && is_lost);
    let way_on = guide.map_or_else(String::new, |g| g.text(&program(&|name| std::env::var(name).ok()), "check"));
    out::print_as(args.format, &(text + &way_on))?;
    session.say_goodbye().await;
    Ok(ExitCode::from(code(&diagnosis, args.fail_on)))
}

/// Of every log that was named the newest line is known, and older than what is read of a log.
fn are_old(settings: &Settings) -> bool {
    let Some(reach) = settings.reach else { return false };
    let oldest = Clock.now().minus(reach);
    let mut all = settings.error_logs.iter().chain(&settings.access_logs).chain(&settings.backend_logs).peekable();
    all.peek().is_some() && all.all(|path| logs::newest(path, settings.zone).is_some_and(|at| at < oldest))
}

/// Asks every endpoint again with one thing changed at a time. The look is over by then: the probes have gone, so that no
/// limit counts them, and what these handshakes leave in the logs accuses nobody.
async fn deep(session: &mut Session, options: &ProbeOptions, end: Instant) -> anyhow::Result<()> {
    let jobs = session.probes();
    session.say_goodbye().await;
    let clients: Vec<&ProbeJob> =
        jobs.iter().filter(|j| j.target.route == Route::Proxy && j.target.cadence.is_none()).collect();
    for (i, job) in clients.iter().enumerate() {
        let is_twin =
            |t: &TargetId| t.route == Route::Direct && t.cadence.is_none() && t.endpoint == job.target.endpoint;
        let twins = jobs.iter().filter(|t| is_twin(&t.target));
        let backend =
            |t: &ProbeJob| Backend { name: t.target.url.to_string(), url: t.url.clone(), options: t.options(options) };
        let backends = twins.map(backend).collect();
        let asked = Asked { url: job.url.clone(), options: options.clone(), backends };
        let share = u32::try_from(clients.len() - i).unwrap_or(u32::MAX);
        let matrix = matrix::run(&asked, end.saturating_duration_since(Instant::now()) / share).await;
        let from = SourceId::named(&session.model().host, SourceKind::Probe, &job.target.endpoint);
        session.tell(&Stamped { at: Clock.now(), from, event: Event::Matrix(Box::new(matrix)) })?;
    }
    Ok(())
}

/// Folds events in until every probe has an answer, every source has looked once and the logs are read, or time is up.
async fn look(session: &mut Session, limit: Duration, hold: Duration, backend: bool) -> anyhow::Result<()> {
    let started = Instant::now();
    let limit = started + limit;
    let mut targets = session.targets();
    let mut settled: Option<Instant> = None;
    loop {
        // A twin that was found meanwhile wants its time, too.
        let now = session.targets();
        if now != targets {
            (targets, settled) = (now, None);
        }
        let model = session.model();
        let now = Clock.now().max(model.now);
        let probes = || targets.iter().map(|t| (t, model.probes.by_target.get(t)));
        let answered = probes().all(|(t, p)| p.is_some_and(|p| has_answer(t, p, now, hold)));
        // What a tunnel that was held to the end has to say in logs and tables is there long since.
        let all_open = !targets.is_empty() && probes().all(|(_, p)| p.is_some_and(is_open));
        let settle = if all_open { Duration::ZERO } else { SETTLE };
        let ripe = probes().filter_map(|(_, p)| rest_of_hold(p?, now, hold)).min().map(|rest| Instant::now() + rest);
        let looked = sources_looked(session, backend) || started.elapsed() > FIRST_LOOK;
        // A log may say how it can be seen before its history arrives.
        settled = if answered && looked && session.has_caught_up() {
            settled.or_else(|| Some(Instant::now() + settle))
        } else {
            None
        };
        let until = settled.map_or(limit, |s| s.min(limit));
        if let Ok(events) = timeout_at(ripe.map_or(until, |r| r.min(until)), session.next()).await {
            events?;
        }
        if Instant::now() >= until {
            return Ok(());
        }
    }
}

fn is_open(probe: &Probe) -> bool {
    matches!(probe.state, ProbeState::Open(_))
}

/// How long a tunnel that is open is yet to be held; `None` when it was held long enough or is not open.
fn rest_of_hold(probe: &Probe, now: Timestamp, hold: Duration) -> Option<Duration> {
    let ProbeState::Open(since) = probe.state else { return None };
    hold.checked_sub(now.since(since)).filter(|rest| !rest.is_zero())
}

fn has_answer(target: &TargetId, probe: &Probe, now: Timestamp, hold: Duration) -> bool {
    let is_silent = target.cadence == Some(Cadence::Silent);
    // What a pace is there for: it died, whatever came after.
    if target.cadence.is_some() && probe.last_death().is_some() {
        return true;
    }
    match &probe.state {
        ProbeState::Open(since) => now.since(*since) >= hold && (is_silent || probe.pongs + probe.missed > 0),
        ProbeState::Failed(_) | ProbeState::Closed(_) => true,
        // A second attempt began: the first one's answer counts.
        ProbeState::Dialing => probe.failed + probe.opened > 0,
        ProbeState::Fresh | ProbeState::Stopped => false,
    }
}

/// Every source that should exist has said a first word; `backend`: there are backend logs.
pub(super) fn sources_looked(session: &Session, backend: bool) -> bool {
    let model = session.model();
    let has_none = |s: &Site| s.error_logs.is_empty() || s.is_copy();
    let logs = model.site.as_ref().is_none_or(has_none) || model.sight(SourceKind::ErrorLog).is_some();
    let logs = logs && (!backend || model.sight(SourceKind::BackendLog).is_some());
    let sockets = !session.looks_at_sockets() || model.sight(SourceKind::Sockets).is_some();
    logs && sockets && model.sight(SourceKind::Config).is_some()
}

/// The least severity that counts.
pub(super) const fn least(fail_on: FailOn) -> Severity {
    match fail_on {
        FailOn::Critical => Severity::Critical,
        FailOn::Warning => Severity::Warning,
        FailOn::Info => Severity::Info,
    }
}

/// 0 healthy, 1 findings, 2 blind.
fn code(diagnosis: &Diagnosis, fail_on: FailOn) -> u8 {
    let least = least(fail_on);
    if diagnosis.findings.iter().any(|f| f.severity <= least) {
        1
    } else if diagnosis.verdict == Verdict::Blind {
        2
    } else {
        0
    }
}
