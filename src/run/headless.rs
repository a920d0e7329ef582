//! Sessions without a screen: the raw events, and the demo as plain lines with a summary.

use std::io::{self, BufWriter};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::cli::Format;
use crate::diagnose::diagnose;
use crate::event::Stamped;
use crate::report::{self, Report};
use crate::settings::Settings;
use crate::time::Clock;

use super::out;
use super::session::Session;
use super::stream::EventWriter;

/// How a session without a screen ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The time was up, or there was nothing more to come.
    Time,
    Interrupted,
    Terminated,
}

impl Ending {
    fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Time => 0,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        })
    }
}

/// Prints every event as a JSON line, for `duration` or until interrupted; without a duration, a log that is piped in ends
/// it with its own end.
///
/// # Errors
/// When stdout cannot be written.
pub async fn stream(settings: Settings, duration: Option<Duration>) -> anyhow::Result<ExitCode> {
    let mut writer = EventWriter::begin(BufWriter::new(io::stdout()), &settings.host, Clock.now())?;
    let mut session = Session::start(settings)?;
    let ending = until_the_end(&mut session, duration, |events| {
        for event in events {
            writer.write(event)?;
        }
        writer.flush()
    })
    .await?;
    Ok(ending.code())
}

/// Prints what happens as plain lines, then what it came to.
///
/// # Errors
/// When stdout cannot be written.
pub async fn watch(settings: Settings, duration: Duration, format: Format) -> anyhow::Result<ExitCode> {
    let mut session = Session::start(settings)?;
    let lines = format == Format::Text;
    let ending = until_the_end(&mut session, Some(duration), |events| {
        for line in events.iter().filter(|_| lines).filter_map(report::event_line) {
            out::print(&format!("{line}\n"))?;
        }
        Ok(())
    })
    .await?;
    let model = session.model();
    let diagnosis = diagnose(model);
    let report = Report::of(model, &diagnosis, env!("CARGO_PKG_VERSION"));
    out::print(&match format {
        Format::Text => format!("\n{}", report::summary_text(model, &diagnosis)),
        Format::Json => report::json(&report),
        Format::Markdown => report::markdown(&report),
    })?;
    Ok(ending.code())
}

async fn until_the_end(
    session: &mut Session,
    duration: Option<Duration>,
    mut each: impl FnMut(&[Stamped]) -> io::Result<()>,
) -> anyhow::Result<Ending> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let end = duration.map(|d| Instant::now() + d);
    loop {
        tokio::select! {
            biased;
            _ = interrupted.recv() => return Ok(Ending::Interrupted),
            _ = terminated.recv() => return Ok(Ending::Terminated),
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return Ok(Ending::Time),
            events = session.next() => each(events?)?,
        }
        if end.is_none() && session.has_stdin_ended() {
            return Ok(Ending::Time);
        }
    }
}
