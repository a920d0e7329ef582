//! The live screen: keys, then frame, then events, so that a flood of log lines never starves the keyboard.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::diagnose::diagnose;
use crate::diagnose::finding::Diagnosis;
use crate::human::redact;
use crate::report::{self, Report};
use crate::settings::Settings;
use crate::settings::file::Item;
use crate::time::Timestamp;
use crate::ui::background;
use crate::ui::decode::Heard;
use crate::ui::memory::Memory;
use crate::ui::theme::Depth;
use crate::ui::{self, Effect, Keymap, ScreenState, Snapshot};

use super::keyboard::Keyboard;
use super::program::program;
use super::session::Session;
use super::suspend::{self, Job, Jobs};
use super::terminal::{Screen, copy_sequence, watch_for_death};

/// The shortest time between two frames that nobody asked for by a key.
const FRAME: Duration = Duration::from_millis(100);
/// The shortest time between two diagnoses: rules look at everything, and a verdict that flickers helps nobody.
const DIAGNOSIS: Duration = Duration::from_millis(400);

/// Where stdin is no terminal, because a log is piped in, keys come from the controlling terminal.
const NO_KEYS: &str = "cannot take the terminal over; keys come from it, or from /dev/tty when a log is piped in";

/// Why the dashboard ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `q`.
    Quit,
    /// Ctrl-C or SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// The terminal went away.
    TerminalGone,
}

impl Ending {
    /// The exit code: 128 + the signal's number where a signal ended it.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Quit => 0,
            Self::TerminalGone => 129,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

/// Opens the screen, then starts the sources, and runs until somebody or something ends it.
///
/// # Errors
/// When the terminal or the recording cannot be written, or a signal handler cannot be set.
pub async fn run(settings: Settings, chosen: &Choices) -> anyhow::Result<Ending> {
    let mut state = chosen.state(&settings);
    let mut outside = Outside::listen()?;
    let mut screen = Screen::open().context(NO_KEYS)?;
    let mut keyboard = Keyboard::open().context(NO_KEYS)?;
    let mut session = Session::start(settings)?;
    let mut face = Face::new(&session);
    let mut unasked = state.follows_background() && can_be_asked(&env);
    let mut dirty = true;
    let mut next_frame = Instant::now();
    loop {
        tokio::select! {
            biased;
            signal = outside.next() => {
                match signal {
                    Signal::End(ending) => return Ok(ending),
                    Signal::Resized => {}
                    // A terminal that cannot be taken over again is gone.
                    Signal::Job(job) => if obey(job, &mut screen, &mut outside.jobs).await.is_err() {
                        return Ok(Ending::TerminalGone);
                    }
                }
                (dirty, next_frame) = (true, Instant::now());
            }
            heard = keyboard.next() => {
                let Some(heard) = heard else { return Ok(Ending::TerminalGone) };
                for one in &heard {
                    let effect = face.hear(&mut state, one);
                    if let Some(ending) = face.act(effect, &mut session, &mut state, &mut screen) {
                        session.say_goodbye().await;
                        return Ok(ending);
                    }
                }
                (dirty, next_frame) = (true, Instant::now());
            }
            () = sleep_until(next_frame), if dirty => {
                // A terminal that cannot be written is gone, whatever the system calls it.
                if face.draw(&mut screen, &session, &mut state).is_err() {
                    return Ok(Ending::TerminalGone);
                }
                // The first frame waits for nothing, so the question comes after it.
                if std::mem::take(&mut unasked) && screen.say(background::QUESTION).is_err() {
                    return Ok(Ending::TerminalGone);
                }
                dirty = false;
                next_frame = Instant::now() + FRAME;
            }
            events = session.next() => {
                // While frozen nothing is drawn but the answer to a key.
                dirty |= !events?.is_empty() && !state.is_frozen();
            }
        }
    }
}

/// Does what job control asks: the terminal is the shell's while we are stopped.
async fn obey(job: Job, screen: &mut Screen, jobs: &mut Jobs) -> std::io::Result<()> {
    if job == Job::Stop {
        screen.give_back();
        jobs.stop_here().await?;
    }
    screen.take_again()
}

/// What the person has chosen for every screen.
#[derive(Debug, Default)]
pub struct Choices {
    /// Other keys for actions.
    pub keys: Vec<Item>,
    /// What of the settings does not count, and why.
    pub warnings: Vec<String>,
}

impl Choices {
    fn state(&self, settings: &Settings) -> ScreenState {
        let (mut keys, mut warnings) = (Keymap::default(), self.warnings.clone());
        for item in &self.keys {
            if let Err(e) = keys.give(&item.name, &item.values) {
                warnings.push(format!("settings, line {}: {e}", item.line));
            }
        }
        let state = ScreenState::new(settings.theme.as_deref(), settings.ascii).with_keys(keys);
        let state = state.redacting(settings.redact).called(program(&env));
        let mut state = state.at_depth(Depth::of(&env));
        if let Some(light) = env("COLORFGBG").and_then(|text| background::hinted(&text)) {
            state.set_background(light);
        }
        if let Some((first, more)) = warnings.split_first() {
            let rest = if more.is_empty() { String::new() } else { format!("   (and {} more)", more.len()) };
            state.say(format!("{first}{rest}"));
        }
        state
    }
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether the terminal may be asked for its background: these would print the question, or pass it on to several others.
fn can_be_asked(env: &dyn Fn(&str) -> Option<String>) -> bool {
    let term = env("TERM").unwrap_or_default();
    let is_screen = term.starts_with("screen") && env("TMUX").is_none();
    !(term.is_empty() || matches!(term.as_str(), "dumb" | "linux" | "Eterm") || is_screen)
}

/// What is shown now, kept while the screen is frozen.
struct Face {
    snapshot: Snapshot,
    /// What was shown before.
    memory: Memory,
    /// The moment that is shown when it is not the present.
    past: Option<Snapshot>,
    diagnosis: Diagnosis,
    diagnosed: Instant,
}

impl Face {
    fn new(session: &Session) -> Self {
        let diagnosis = diagnose(session.model());
        Self {
            snapshot: Snapshot::of(session.model(), &diagnosis),
            memory: Memory::default(),
            past: None,
            diagnosis,
            diagnosed: Instant::now(),
        }
    }

    fn draw(&mut self, screen: &mut Screen, session: &Session, state: &mut ScreenState) -> std::io::Result<()> {
        if !state.is_frozen() {
            if self.diagnosed.elapsed() >= DIAGNOSIS {
                self.diagnosis = diagnose(session.model());
                self.diagnosed = Instant::now();
            }
            self.snapshot = self.snapshot.after(session.model(), &self.diagnosis);
            self.memory.keep(&self.snapshot);
            self.past = self.past.as_ref().map(|past| past.seen_from(&self.snapshot));
        }
        screen.draw(|frame| ui::draw(frame, frame.area(), self.shown(), state))
    }

    fn shown(&self) -> &Snapshot {
        self.past.as_ref().unwrap_or(&self.snapshot)
    }

    fn walk(&mut self, state: &mut ScreenState, forward: bool) {
        let from = self.shown().now;
        let to = if forward { self.memory.after(from) } else { self.memory.before(from) };
        if forward && self.past.is_none() {
            state.say("this is the present; [ goes back in time".to_owned());
        } else if !forward && (to.is_none() || to == self.past.as_ref().map(|p| p.now)) {
            state.say("nothing earlier is kept".to_owned());
        }
        let kept = to.and_then(|at| self.memory.at(at));
        if forward || kept.is_some() {
            self.past = kept.map(|s| s.seen_from(&self.snapshot));
        }
    }

    /// Answers one key, click, paste or answer of the terminal.
    fn hear(&self, state: &mut ScreenState, heard: &Heard) -> Effect {
        match heard {
            Heard::Key(key) => return ui::handle_key(state, self.shown(), *key),
            Heard::Mouse(mouse) => return ui::handle_mouse(state, self.shown(), *mouse),
            Heard::Paste(text) => return ui::handle_paste(state, text),
            Heard::Answer(text) => {
                if let Some(light) = background::answered(text) {
                    state.set_background(light);
                }
            }
        }
        Effect::None
    }

    /// Does what a key asked for beyond the screen; `Some` ends the dashboard.
    fn act(
        &mut self,
        effect: Effect,
        session: &mut Session,
        state: &mut ScreenState,
        screen: &mut Screen,
    ) -> Option<Ending> {
        match effect {
            Effect::None => {}
            Effect::Quit => return Some(Ending::Quit),
            Effect::Interrupt => return Some(Ending::Interrupted),
            Effect::ResetCounters => session.model_mut().reset_counters(),
            Effect::ToggleProbe(url) => session.toggle_probe(&url),
            Effect::Earlier => self.walk(state, false),
            Effect::Later => self.walk(state, true),
            Effect::Present => self.past = None,
            Effect::Redraw => screen.redraw(),
            Effect::Suspend => match suspend::ask() {
                // The signal comes back to us as to the rest of the job.
                Ok(true) => {}
                Ok(false) => state.say("no shell waits for this program, so it does not stop".to_owned()),
                Err(e) => state.say(format!("cannot stop: {e}")),
            },
            Effect::Copy(text) => {
                if screen.say(&copy_sequence(&text, env("TMUX").is_some())).is_err() {
                    return Some(Ending::TerminalGone);
                }
            }
            Effect::WriteReport => {
                let report = Report::of(session.model(), &self.diagnosis, env!("CARGO_PKG_VERSION"));
                let text = report::markdown(&report);
                let text = if state.is_redacted() { redact::addresses(&text) } else { text };
                state.say(match write_report(&text, session.model().now) {
                    Ok(path) => format!("report written: {}", path.display()),
                    Err(e) => format!("no report: {e:#}"),
                });
            }
        }
        None
    }
}

/// Writes a report into the current folder, readable by its owner alone; never over another file.
fn write_report(text: &str, now: Timestamp) -> anyhow::Result<PathBuf> {
    let stamp: String = now.to_string().chars().filter(char::is_ascii_alphanumeric).take(15).collect();
    let path = std::env::current_dir()?.join(format!("wspulse-{stamp}.md"));
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut f| f.write_all(text.as_bytes())).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// What comes from outside, besides keys and events.
enum Signal {
    /// The dashboard ends.
    End(Ending),
    /// The terminal has another size.
    Resized,
    /// Job control.
    Job(Job),
}

/// Everything from outside that ends, stops or resizes the dashboard.
struct Outside {
    terminated: tokio::signal::unix::Signal,
    hung_up: tokio::signal::unix::Signal,
    interrupted: tokio::signal::unix::Signal,
    resized: tokio::signal::unix::Signal,
    jobs: Jobs,
    terminal_died: watch::Receiver<bool>,
}

impl Outside {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminated: signal(SignalKind::terminate())?,
            hung_up: signal(SignalKind::hangup())?,
            interrupted: signal(SignalKind::interrupt())?,
            resized: signal(SignalKind::window_change())?,
            jobs: Jobs::listen()?,
            terminal_died: watch_for_death(),
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.terminated.recv() => Signal::End(Ending::Terminated),
            _ = self.hung_up.recv() => Signal::End(Ending::TerminalGone),
            _ = self.interrupted.recv() => Signal::End(Ending::Interrupted),
            Ok(()) = self.terminal_died.changed() => Signal::End(Ending::TerminalGone),
            job = self.jobs.next() => Signal::Job(job),
            _ = self.resized.recv() => Signal::Resized,
        }
    }
}
