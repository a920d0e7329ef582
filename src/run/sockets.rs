//! `wspulse sockets`: the tunnels of a moment, once or again and again.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::cli::{Format, GroupBy, LookArgs, SocketMode, SocketsArgs};
use crate::event::{Event, Sense, Sight, SourceKind, Stamped};
use crate::human;
use crate::model::Model;
use crate::report::sockets::{By, KEYS, Meter, Sockets, Watched, Wish, sockets_json, sockets_markdown, sockets_text};
use crate::settings::Settings;
use crate::time::Clock;

use super::out;
use super::session::Session;
use super::stuck;
use super::wish;

/// How long one look takes when nobody said: rates need two samples and pairs a few.
const LOOK: Duration = Duration::from_millis(1_500);
/// Samples in that time; with `--watch` there are two from one table to the next.
const SAMPLES: u32 = 5;
/// The shortest time between two samples.
const SHORTEST: Duration = Duration::from_millis(50);
/// How long nginx and its configuration may take to be found.
const FINDING: Duration = Duration::from_secs(5);
/// Clears the terminal for the next table (ECMA-48 CUP and ED).
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What to look at, as the other commands say it.
#[must_use]
pub fn look_args(args: &SocketsArgs) -> LookArgs {
    LookArgs {
        nginx_conf: args.nginx_conf.clone(),
        pid: args.pid,
        no_exec: args.no_exec,
        ports: args.ports.clone(),
        sockets: args.sockets,
        interval: args.interval,
        color: args.color,
        redact: args.redact,
        ..LookArgs::default()
    }
}

/// Looks, and prints what it sees.
///
/// # Errors
/// When a filter or a column cannot be understood, the socket tables cannot be read, or stdout cannot be written.
pub async fn run(args: &SocketsArgs, mut settings: Settings) -> anyhow::Result<ExitCode> {
    let wish = wished(args)?;
    let face = Face::of(args, &settings);
    settings.follow_logs = false;
    let span = if args.watch { settings.interval } else { args.duration.unwrap_or(LOOK) };
    settings.interval = settings.interval.min(span / if args.watch { 2 } else { SAMPLES }).max(SHORTEST);
    let mut look = Look::start(settings)?;
    if let Some(stopped) = look.find().await? {
        return Ok(stopped.code());
    }
    for line in look.complaints(args)? {
        out::complain(&format!("wspulse: {line}"));
    }
    if io::stderr().is_terminal() && !args.watch {
        out::complain(&format!("looking for {:.1} s; --for TIME changes that", span.as_secs_f64()));
    }
    let end = args.duration.filter(|_| args.watch).map(|d| Instant::now() + d);
    loop {
        let next = Instant::now() + span;
        if let Some(stopped) = look.until(next, |_| false).await? {
            return Ok(stopped.code());
        }
        look.tick();
        let text = face.draw(&Sockets::of(look.session.model(), &look.watched, &look.meter, &wish));
        out::print_as(args.format, &text)?;
        if !args.watch || end.is_some_and(|e| Instant::now() >= e) {
            return Ok(ExitCode::SUCCESS);
        }
        look.begin_next();
    }
}

fn wished(args: &SocketsArgs) -> anyhow::Result<Wish> {
    let group_by = args.group_by.map(|by| match by {
        GroupBy::Client => By::Client,
        GroupBy::Upstream => By::Upstream,
        GroupBy::Location => By::Location,
        GroupBy::Worker => By::Worker,
        GroupBy::State => By::State,
    });
    let order = args.sort.as_deref().map(|s| Wish::order(s, group_by)).transpose();
    Ok(Wish {
        filter: wish::filter(args.filter.as_deref(), &KEYS)?,
        group_by,
        order: order.map_err(|e| anyhow::anyhow!("--sort: {e}"))?,
    })
}

/// How the result is written.
struct Face {
    format: Format,
    color: bool,
    watch: bool,
    terminal: bool,
}

impl Face {
    fn of(args: &SocketsArgs, settings: &Settings) -> Self {
        Self {
            format: args.format,
            color: out::colored(settings.color),
            watch: args.watch,
            terminal: io::stdout().is_terminal(),
        }
    }

    fn draw(&self, look: &Sockets) -> String {
        match self.format {
            Format::Json => sockets_json(look, self.watch),
            Format::Markdown => sockets_markdown(look),
            Format::Text if !self.terminal => {
                let text = sockets_text(look, None, self.color);
                if self.watch { text + "\n" } else { text }
            }
            Format::Text => {
                let (width, height) = terminal_size();
                let text = sockets_text(look, Some(width), self.color);
                if self.watch { first_lines(&text, height) } else { text }
            }
        }
    }
}

/// Columns and lines of the terminal on stdout.
fn terminal_size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok().filter(|s| s.ws_col > 0 && s.ws_row > 0);
    size.map_or((80, 24), |s| (usize::from(s.ws_col), usize::from(s.ws_row)))
}

/// As much of a table as one screen shows.
fn first_lines(text: &str, height: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let room = height.saturating_sub(1).max(1);
    if lines.len() <= room {
        return format!("{CLEAR}{text}");
    }
    let more = lines.len() - (room - 1);
    format!("{CLEAR}{}\n … {more} more lines\n", lines[..room - 1].join("\n"))
}

/// Something from outside ended the look.
#[derive(Clone, Copy)]
struct Stopped(u8);

impl Stopped {
    fn code(self) -> ExitCode {
        ExitCode::from(self.0)
    }
}

/// A session and the legs on the ports that were asked for.
struct Look {
    session: Session,
    watched: Watched,
    meter: Meter,
    has_ports: bool,
    interrupted: Signal,
    terminated: Signal,
}

impl Look {
    fn start(settings: Settings) -> anyhow::Result<Self> {
        let ports: BTreeSet<u16> = settings.ports.iter().copied().collect();
        stuck::ends_all_the_same(&[SignalKind::interrupt(), SignalKind::terminate()])?;
        Ok(Self {
            has_ports: !ports.is_empty(),
            watched: Watched::new(ports),
            meter: Meter::new(settings.interval),
            interrupted: signal(SignalKind::interrupt())?,
            terminated: signal(SignalKind::terminate())?,
            session: Session::start(settings)?,
        })
    }

    /// Folds events in until `end`, or `enough` of the session.
    async fn until(&mut self, end: Instant, enough: impl Fn(&Session) -> bool) -> anyhow::Result<Option<Stopped>> {
        while !enough(&self.session) {
            tokio::select! {
                biased;
                _ = self.interrupted.recv() => return Ok(Some(Stopped(130))),
                _ = self.terminated.recv() => return Ok(Some(Stopped(143))),
                () = sleep_until(end) => return Ok(None),
                events = self.session.next() => {
                    for event in events? {
                        if let Event::Sockets(delta) = &event.event {
                            self.watched.apply(event.at, delta);
                            self.meter.apply(event.at, delta);
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    /// Until nginx and its configuration were looked for, and the sockets that they name were looked at.
    async fn find(&mut self) -> anyhow::Result<Option<Stopped>> {
        self.until(Instant::now() + FINDING, |session| {
            let model = session.model();
            let found = model.processes.is_some() || is_blind(model, SourceKind::Process);
            let read = model.site.is_some() || is_blind(model, SourceKind::Config);
            let looked = model.connections.last_look().is_some() || is_blind(model, SourceKind::Sockets);
            found && read && (looked || !session.watches_ports())
        })
        .await
    }

    /// One line for each thing that cannot be seen.
    ///
    /// # Errors
    /// When the socket tables cannot be read at all.
    fn complaints(&self, args: &SocketsArgs) -> anyhow::Result<Vec<String>> {
        let model = self.session.model();
        if let Some(sense) = model.sight(SourceKind::Sockets).filter(|s| s.sight == Sight::Blind) {
            anyhow::bail!("cannot read the socket tables: {}", said(sense));
        }
        let mut lines = Vec::new();
        let poor = |kind, least| model.sight(kind).filter(move |s| (least..=Sight::Blind).contains(&s.sight));
        let processes = poor(SourceKind::Process, Sight::Blind);
        if model.masters().is_empty() && !self.has_ports {
            let said = processes.map_or("no nginx is found here", |s| s.said.as_str());
            lines.push(format!("{said}; name a port to see the connections of any program: wspulse sockets --port N"));
        }
        let asked = !model.masters().is_empty() || args.nginx_conf.is_some();
        lines.extend(poor(SourceKind::Config, Sight::Blind).filter(|_| asked).map(said));
        let by_wish = args.sockets == Some(SocketMode::Proc);
        lines.extend(poor(SourceKind::Sockets, Sight::Degraded).filter(|_| !by_wish).map(said));
        Ok(lines)
    }

    /// Rates are told anew from here on.
    fn begin_next(&mut self) {
        let model = self.session.model();
        self.meter.restart(model.connections.legs().chain(self.watched.legs()), model.now);
    }

    /// The model's clock goes on to this moment, so that silences are those of now.
    fn tick(&mut self) {
        let model = self.session.model_mut();
        let from = crate::event::SourceId::new(&model.host, SourceKind::Clock);
        model.apply(&Stamped { at: Clock.now(), from, event: Event::Tick });
    }
}

fn is_blind(model: &Model, kind: SourceKind) -> bool {
    model.sight(kind).is_some_and(|s| s.sight == Sight::Blind)
}

fn said(sense: &Sense) -> String {
    let remedy = sense.remedy.as_ref().map_or_else(String::new, |r| format!("; {r}"));
    human::visible(format!("{}{remedy}", sense.said).as_bytes())
}
