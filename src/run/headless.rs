//! Sessions without a screen: the raw events, and what happens in plain lines.

use std::io::{self, BufWriter};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::cli::Format;
use crate::diagnose::diagnose;
use crate::event::{Sense, Sight, SourceKind};
use crate::report::events::Narrower;
use crate::report::filter::Filter;
use crate::report::{self, Report, Teller};
use crate::settings::Settings;
use crate::time::Clock;

use super::judge::sources_looked;
use super::out;
use super::program::program;
use super::session::Session;
use super::stream::EventWriter;
use super::stuck;
use super::terminal::watch_for_reader;

/// The shortest time between two looks at the rules.
const LOOK: Duration = Duration::from_millis(500);
/// How long the first lines wait for sources and probes to have looked once.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// How a session without a screen ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The time was up, or there was nothing more to come.
    Time,
    Interrupted,
    Terminated,
    /// Nobody reads what we write.
    ReaderGone,
}

impl Ending {
    fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Time | Self::ReaderGone => 0,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        })
    }
}

/// Prints every event, or what of it passes a filter, as a JSON line, for `duration` or until interrupted; without a
/// duration, a log that is piped in ends it with its own end.
///
/// # Errors
/// When stdout cannot be written.
pub async fn stream(
    settings: Settings,
    duration: Option<Duration>,
    filter: Option<Filter>,
) -> anyhow::Result<ExitCode> {
    let mut writer = EventWriter::begin(BufWriter::new(io::stdout()), &settings.host, Clock.now())?;
    let mut session = Session::start(settings)?;
    let mut narrower = filter.map(Narrower::new);
    let ending = until_the_end(&mut session, duration, |session| {
        for event in session.latest() {
            match &mut narrower {
                None => writer.write(event)?,
                Some(narrower) => narrower.narrow(event).map_or(Ok(()), |left| writer.write(&left))?,
            }
        }
        writer.flush()
    })
    .await?;
    Ok(ending.code())
}

/// Prints how things are and then every change, a line each, for `duration` or until interrupted, and what it came to in a
/// last line.
///
/// # Errors
/// When stdout cannot be written.
pub async fn plain(settings: Settings, duration: Option<Duration>) -> anyhow::Result<ExitCode> {
    let mut face = Face::new(&settings);
    let mut session = Session::start(settings)?;
    let ending = until_the_end(&mut session, duration, |session| face.look(session)).await?;
    if ending != Ending::ReaderGone {
        face.close(&session)?;
    }
    session.say_goodbye().await;
    Ok(ending.code())
}

/// Prints what happens as plain lines, then what it came to as a summary; in another format only a report at the end.
///
/// # Errors
/// When stdout cannot be written.
pub async fn watch(settings: Settings, duration: Duration, format: Format) -> anyhow::Result<ExitCode> {
    let mut face = (format == Format::Text).then(|| Face::new(&settings));
    let mut session = Session::start(settings)?;
    let ending =
        until_the_end(&mut session, Some(duration), |session| face.as_mut().map_or(Ok(()), |face| face.look(session)))
            .await?;
    let model = session.model();
    let diagnosis = diagnose(model);
    let report = Report::of(model, &diagnosis, env!("CARGO_PKG_VERSION"));
    let text = match format {
        Format::Text => format!("\n{}", report::summary_text(model, &diagnosis)),
        Format::Json => report::json(&report),
        Format::Markdown => report::markdown(&report),
    };
    out::print_as(format, &text)?;
    Ok(ending.code())
}

/// Plain lines about a session.
struct Face {
    teller: Teller,
    /// There are logs of backends to wait for at first.
    backend: bool,
    /// When the first lines are said at the latest; `None` once they were.
    opening: Option<Instant>,
    next: Instant,
}

impl Face {
    fn new(settings: &Settings) -> Self {
        let teller = Teller::new(program(&|name| std::env::var(name).ok()), out::is_always_colored(settings.color));
        let opening = Some(Instant::now() + FIRST_LOOK);
        Self { teller, backend: !settings.backend_logs.is_empty(), opening, next: Instant::now() }
    }

    /// Says what is new. A tick comes every second, so that nothing waits for longer.
    fn look(&mut self, session: &Session) -> io::Result<()> {
        session.latest().iter().for_each(|e| self.teller.hear(e));
        match self.opening {
            Some(latest) if Instant::now() < latest && !has_looked(session, self.backend) => Ok(()),
            Some(_) => self.open(session),
            None if Instant::now() < self.next => Ok(()),
            None => self.tell(session),
        }
    }

    fn open(&mut self, session: &Session) -> io::Result<()> {
        self.opening = None;
        self.next = Instant::now() + LOOK;
        let model = session.model();
        say(&self.teller.opening(model, &diagnose(model), env!("CARGO_PKG_VERSION")))
    }

    fn tell(&mut self, session: &Session) -> io::Result<()> {
        let model = session.model();
        let lines = self.teller.changes(model, &diagnose(model));
        self.next = Instant::now() + LOOK;
        say(&lines)
    }

    fn close(&mut self, session: &Session) -> io::Result<()> {
        if self.opening.is_some() {
            self.open(session)?;
        } else {
            self.tell(session)?;
        }
        let model = session.model();
        say(&[self.teller.closing(model, &diagnose(model))])
    }
}

/// Sources have said their first word, logs have been read, and probes have an answer.
fn has_looked(session: &Session, backend: bool) -> bool {
    let probes = &session.model().probes.by_target;
    let answered = |t| probes.get(t).is_some_and(|p| p.opened + p.failed > 0);
    // A table is looked at when the ports are known, a moment after the configuration was read.
    let has_ports = session.watches_ports();
    let looks_at_nothing = |s: &Sense| has_ports && s.sight == Sight::Off;
    let sockets = session.model().sight(SourceKind::Sockets);
    !sockets.is_some_and(looks_at_nothing)
        && sources_looked(session, backend)
        && session.has_caught_up()
        && session.targets().iter().all(answered)
}

fn say(lines: &[String]) -> io::Result<()> {
    if lines.is_empty() { Ok(()) } else { out::print(&(lines.join("\n") + "\n")) }
}

/// Everything from outside that ends a session without a screen. SIGHUP is left as it was found: nohup ignores it.
struct Endings {
    interrupted: Signal,
    terminated: Signal,
    reader_gone: watch::Receiver<bool>,
}

impl Endings {
    fn listen() -> io::Result<Self> {
        stuck::ends_all_the_same(&[SignalKind::interrupt(), SignalKind::terminate()])?;
        Ok(Self {
            interrupted: signal(SignalKind::interrupt())?,
            terminated: signal(SignalKind::terminate())?,
            reader_gone: watch_for_reader(),
        })
    }

    async fn next(&mut self) -> Ending {
        tokio::select! {
            _ = self.interrupted.recv() => Ending::Interrupted,
            _ = self.terminated.recv() => Ending::Terminated,
            Ok(()) = self.reader_gone.changed() => Ending::ReaderGone,
        }
    }
}

async fn until_the_end(
    session: &mut Session,
    duration: Option<Duration>,
    mut each: impl FnMut(&Session) -> io::Result<()>,
) -> anyhow::Result<Ending> {
    let mut endings = Endings::listen()?;
    let end = duration.map(|d| Instant::now() + d);
    loop {
        tokio::select! {
            biased;
            ending = endings.next() => return Ok(ending),
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return Ok(Ending::Time),
            events = session.next() => {
                events?;
                each(session)?;
            }
        }
        if end.is_none() && session.has_stdin_ended() {
            return Ok(Ending::Time);
        }
    }
}
