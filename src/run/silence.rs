//! `wspulse idle-timeout`: the experiment with silent tunnels beside a session that reads the configuration.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cli::{Format, IdleTimeoutArgs};
use crate::diagnose::silence::culprit;
use crate::event::probe::{ProbeEvent, Route, Step, TargetId};
use crate::event::silence::{Fate, Limit, Trial};
use crate::event::{Event, SourceId, SourceKind, Stamped};
use crate::human;
use crate::report::{self, SilenceReport};
use crate::settings::Settings;
use crate::source::probe;
use crate::source::probe::silence::{Experiment, Standing};
use crate::time::Clock;

use super::meter::Meter;
use super::out;
use super::session::Session;

/// The exit codes of an endpoint that cannot be reached, of Ctrl-C and of SIGTERM.
const UNREACHABLE: u8 = 1;
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// Measures and prints the report.
///
/// # Errors
/// When what was typed cannot be meant, or stdout cannot be written.
pub async fn run(args: &IdleTimeoutArgs, mut settings: Settings) -> anyhow::Result<ExitCode> {
    let colored = out::colored(settings.color);
    if settings.find_backends || settings.endpoints.iter().any(|(_, twin)| twin.is_some()) {
        bail!("--backend is for the dashboard, check and stream; to measure the way to a backend, give its own URL");
    }
    if !settings.cadences.is_empty() {
        bail!("--cadence is for the dashboard, check and stream; idle-timeout keeps silences of its own");
    }
    let endpoints = std::mem::take(&mut settings.endpoints);
    let [(url, _)] = endpoints.as_slice() else {
        bail!("give one URL: wspulse idle-timeout ws://host/path");
    };
    if args.max < Duration::from_secs(2) {
        bail!("--max {} is too short: no timeout below 2 s can be told from a slow answer", human::latency(args.max));
    }
    let (steps, dialled) = mpsc::unbounded_channel();
    let experiment =
        Experiment { url: url.clone(), options: settings.probe.clone(), max: args.max, wake: args.wake.clone(), steps };
    // Of this host only the configuration matters here.
    settings.reach = None;
    let mut session = Session::start(settings)?;
    let (trials, ended) = watch(&mut session, experiment, dialled).await?;
    let culprit = culprit(session.model(), &Limit::of(&trials));
    let report = SilenceReport::of(&url.to_string(), args.max, trials, culprit, ended.is_some(), Clock.now());
    let text = match args.format {
        Format::Text => report::silence_text(&report, colored),
        Format::Json => report::silence_json(&report),
        Format::Markdown => report::silence_markdown(&report),
    };
    out::print_as(args.format, &text)?;
    Ok(match ended {
        Some(code) => ExitCode::from(code),
        None if report.unopened().is_some() => ExitCode::from(UNREACHABLE),
        None => ExitCode::SUCCESS,
    })
}

/// Runs the experiment while the session looks at the host. Gives what became of the tunnels, and the exit code when it was
/// broken off.
async fn watch(
    session: &mut Session,
    experiment: Experiment,
    mut dialled: mpsc::UnboundedReceiver<Step>,
) -> anyhow::Result<(Vec<Trial>, Option<u8>)> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let target = probe::target(&experiment.url, &experiment.url, Route::Proxy);
    let (show, mut lines) = mpsc::unbounded_channel();
    let (max, broken_off) = (experiment.max, CancellationToken::new());
    let work = {
        let stop = broken_off.clone();
        tokio::spawn(async move {
            let mut tell = |s: Standing<'_>| {
                let _ = show.send(said(&s, max));
            };
            experiment.run(&stop, &mut tell).await
        })
    };
    tokio::pin!(work);
    let mut meter = Meter::start();
    let mut code = None;
    loop {
        tokio::select! {
            biased;
            trials = &mut work => {
                meter.wipe();
                while let Ok(step) = dialled.try_recv() {
                    apply(session, &target, step);
                }
                return Ok((trials?, code));
            }
            _ = interrupted.recv() => { code = Some(INTERRUPTED); broken_off.cancel(); }
            _ = terminated.recv() => { code = Some(TERMINATED); broken_off.cancel(); }
            Some(line) = lines.recv() => meter.show(|| line),
            Some(step) = dialled.recv() => apply(session, &target, step),
            events = session.next() => { events?; }
        }
    }
}

/// The handshake of the busy tunnel becomes that of a probe: the model then knows which location it hits.
fn apply(session: &mut Session, target: &TargetId, step: Step) {
    let model = session.model_mut();
    let from = SourceId::named(&model.host, SourceKind::Probe, &target.url);
    let event = Event::Probe(Box::new(ProbeEvent { target: target.clone(), step }));
    model.apply(&Stamped { at: Clock.now(), from, event });
}

/// `silent for 34 s of at most 10m: 16 tunnels out, 5 answered, 0 ended`.
fn said(s: &Standing<'_>, max: Duration) -> String {
    let answered = s.trials.iter().filter(|t| t.fate == Fate::Alive).count();
    let ended = s.trials.iter().filter(|t| matches!(t.fate, Fate::Cut { .. })).count();
    let round = if s.round > 1 { format!("round {}, ", s.round) } else { String::new() };
    format!(
        "{round}{} of at most {}: {} out, {answered} answered, {ended} ended",
        human::span_short(s.elapsed),
        human::span_short(max),
        s.out
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_fits_a_narrow_line() {
        let s = Standing { trials: &[], out: 21, elapsed: Duration::from_secs(34), round: 2 };
        assert_eq!(said(&s, Duration::from_secs(600)), "round 2, 34s of at most 10m: 21 out, 0 answered, 0 ended");
    }
}
