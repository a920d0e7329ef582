//! `wspulse soak`: many tunnels held for a time; how it goes while it goes, and what it came to.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cli::{FailOn, Format, SoakArgs};
use crate::event::soak::Soak;
use crate::human;
use crate::report::{self, SoakReport, Wishes};
use crate::settings::Settings;
use crate::source::probe::soak::{Plan, Standing};
use crate::source::probe::{Host, ProbeOptions, WsUrl};
use crate::time::Clock;

use super::out;
use super::soak_screen::{Frame, Live, View};

/// The exit codes of wishes that were not fulfilled, of Ctrl-C and of SIGTERM.
const FAILED: u8 = 1;
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;
/// More tunnels than this to another machine need a word.
const MANY: u32 = 1_000;
/// More handshakes a second than this need the same word.
const FAST: u32 = 1_000;
/// Descriptors besides one for each tunnel: the runtime's, the standard ones, files of certificates.
const SPARE_FDS: u64 = 64;
/// Without a terminal progress is said so often.
const QUIET: Duration = Duration::from_secs(10);

/// Holds the tunnels and prints the report.
///
/// # Errors
/// When what was typed cannot be meant, too few descriptors are allowed, or stdout cannot be written.
pub async fn run(args: &SoakArgs, mut settings: Settings) -> anyhow::Result<ExitCode> {
    let colored = out::colored(settings.color);
    if !settings.cadences.is_empty() {
        bail!("--cadence is for the dashboard, check and stream; a soak's pace is --ping-interval");
    }
    let endpoints = std::mem::take(&mut settings.endpoints);
    let [(url, twin)] = endpoints.as_slice() else {
        bail!("give one URL: wspulse soak ws://host/path -n 100 --duration 1m");
    };
    if twin.is_some() || settings.find_backends {
        bail!("--backend is for the dashboard, check and stream; to hold tunnels to a backend, give its own URL");
    }
    permitted(args, is_here(url, &settings.probe))?;
    raise_descriptors(args.tunnels)?;
    let plan = Plan {
        url: url.clone(),
        options: settings.probe,
        tunnels: args.tunnels,
        duration: args.duration,
        ramp: args.ramp,
        again: args.reconnect,
    };
    let wishes = Wishes { min_survival: args.min_survival, max_p99: args.max_p99 };
    let (soak, held, ended) = watch(plan, settings.ascii).await?;
    let report = SoakReport::of(&url.to_string(), &soak, held, &wishes, ended.is_some(), Clock.now());
    let text = match args.format {
        Format::Text => report::soak_text(&report, colored),
        Format::Json => report::soak_json(&report),
        Format::Markdown => report::soak_markdown(&report),
    };
    out::print_as(args.format, &text)?;
    Ok(match ended {
        Some(code) => ExitCode::from(code),
        None if report.passed() || is_forgiven(args.fail_on, &soak, &wishes) => ExitCode::SUCCESS,
        None => ExitCode::from(FAILED),
    })
}

/// With `--fail-on critical` only an endpoint that holds nothing at all fails, where no wish says otherwise.
fn is_forgiven(fail_on: FailOn, soak: &Soak, wishes: &Wishes) -> bool {
    fail_on == FailOn::Critical && wishes.min_survival.is_none() && wishes.max_p99.is_none() && soak.alive > 0
}

/// The tunnels end on this machine for sure. What a proxy or an override calls localhost may be anywhere.
fn is_here(url: &WsUrl, options: &ProbeOptions) -> bool {
    if options.unix_socket.is_some() || options.http_proxy.is_some() {
        return options.unix_socket.is_some();
    }
    if let Some(addresses) = options.prescribed(url) {
        return addresses.iter().all(|a| a.ip().to_canonical().is_loopback());
    }
    match url.host() {
        Host::Ip(ip) => ip.to_canonical().is_loopback(),
        Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
    }
}

/// A soak is an experiment on one's own machines, not a weapon.
fn permitted(args: &SoakArgs, is_here: bool) -> anyhow::Result<()> {
    if args.yes_i_own_this || is_here {
        return Ok(());
    }
    if args.tunnels > MANY {
        bail!("-n {} to another machine is much; if it is yours, say --yes-i-own-this", args.tunnels);
    }
    if args.ramp > FAST {
        bail!("--ramp {} to another machine is much; if it is yours, say --yes-i-own-this", args.ramp);
    }
    Ok(())
}

/// Every tunnel takes a descriptor: the soft limit goes up as far as it must and may.
fn raise_descriptors(tunnels: u32) -> anyhow::Result<()> {
    let wanted = u64::from(tunnels) + SPARE_FDS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|now| now >= wanted) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|most| most < wanted) {
        let most = limit.maximum.unwrap_or(0).saturating_sub(SPARE_FDS);
        bail!(
            "-n {tunnels} needs {wanted} descriptors and {most} tunnels are allowed here; raise the limit: ulimit -Hn"
        );
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
        .with_context(|| format!("cannot raise the limit of descriptors to {wanted}"))
}

/// Runs the plan and shows how it goes: as a block where stdout is a terminal, else in lines on stderr. Gives the sum, how long the tunnels were held, and the exit code when it
/// was broken off.
async fn watch(plan: Plan, ascii: bool) -> anyhow::Result<(Soak, Duration, Option<u8>)> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let broken_off = CancellationToken::new();
    let (tell, mut told) = watch::channel((View::default(), Standing::Ramping));
    let duration = plan.duration;
    let frame = Frame { url: plan.url.to_string(), duration, ramp: plan.ramp, ascii };
    let work = {
        let stop = broken_off.clone();
        tokio::spawn(async move {
            let mut look = |soak: &Soak, standing: Standing| {
                tell.send_replace((View::of(soak), standing));
            };
            plan.run(&stop, &mut look).await
        })
    };
    tokio::pin!(work);
    let mut live = Live::start(frame);
    let mut progress = Progress::start();
    let mut code = None;
    loop {
        tokio::select! {
            biased;
            soak = &mut work => {
                progress.wipe();
                drop(live.take());
                let held = match told.borrow().1 {
                    Standing::Holding(held) => held,
                    Standing::Ramping => Duration::ZERO,
                };
                return Ok((soak?, held, code));
            }
            _ = interrupted.recv() => { code = Some(INTERRUPTED); broken_off.cancel(); }
            _ = terminated.recv() => { code = Some(TERMINATED); broken_off.cancel(); }
            Ok(()) = told.changed() => {
                let (view, standing) = told.borrow_and_update().clone();
                match &mut live {
                    Some(live) => live.show(&view, standing),
                    None => progress.show(&view, standing, duration),
                }
            }
        }
    }
}

/// One line of progress: at most 80 columns for up to 99,999 tunnels.
fn said(view: &View, standing: Standing, duration: Duration) -> String {
    let time = |d: Option<Duration>| d.map_or_else(|| "·".to_owned(), human::latency);
    let lives = format!(
        "{} alive, {} died, {} failed   p50 {} p99 {}   {} missed",
        human::grouped(view.alive),
        human::grouped(view.died),
        human::grouped(view.failed),
        time(view.p50),
        time(view.p99),
        human::grouped(view.missed)
    );
    match standing {
        Standing::Ramping => {
            let done = view.opened + view.failed;
            format!("opening {}/{}   {lives}", human::grouped(done), human::grouped(view.asked))
        }
        Standing::Holding(held) => {
            format!("{}/{}   {lives}", human::span(held), human::span_short(duration))
        }
    }
}

/// Progress on stderr: one line written over and over on a terminal, a new one now and then elsewhere.
struct Progress {
    is_terminal: bool,
    shown: bool,
    last: Option<Instant>,
}

impl Progress {
    fn start() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), shown: false, last: None }
    }

    fn show(&mut self, view: &View, standing: Standing, duration: Duration) {
        let said = said(view, standing, duration);
        if self.is_terminal {
            self.shown = true;
            write(&format!("\r{said}\x1b[K"));
        } else if self.last.is_none_or(|at| at.elapsed() >= QUIET) {
            self.last = Some(Instant::now());
            write(&format!("{said}\n"));
        }
    }

    fn wipe(&mut self) {
        if std::mem::take(&mut self.shown) {
            write("\r\x1b[K");
        }
    }
}

/// When nobody can be told there is nothing to do about it.
fn write(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_progress_fits_a_terminal() {
        let ms = |n| Some(Duration::from_millis(n));
        let line = View {
            asked: 10_000,
            opened: 9_990,
            failed: 10,
            alive: 9_900,
            died: 90,
            missed: 99,
            p50: ms(3),
            p99: ms(250),
            ..View::default()
        };
        let hour = Duration::from_secs(8 * 3_600);
        let line_said = said(&line, Standing::Holding(Duration::from_secs(7_449)), hour);
        assert_eq!(line_said, "2h  4m/8h   9,900 alive, 90 died, 10 failed   p50 3.0ms p99 250ms   99 missed");
        assert!(human::width(&said(&line, Standing::Ramping, hour)) < 100);
    }
}
