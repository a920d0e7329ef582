//! The live screen: keys, then frame, then what the model's thread has made ready, so that nothing ever starves the keyboard.

use std::future::{pending, ready};
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use crate::settings::Settings;
use crate::time::Timestamp;
use crate::ui::background;
use crate::ui::decode::Heard;
use crate::ui::memo::Answered;
use crate::ui::memory::Memory;
use crate::ui::theme::Depth;
use crate::ui::{self, Colors, Effect, Keymap, ScreenState, Snapshot};

use super::beside::{Beside, Moment, Order};
use super::keyboard::Keyboard;
use super::program::program;
use super::session::Session;
use super::stuck;
use super::suspend::{self, Job, Jobs};
use super::terminal::{Screen, copy_sequence, watch_for_death};

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
    let mut beside = Beside::start(Session::start(settings)?, state.wish())?;
    let ending = show(&mut state, &mut screen, &mut outside, &mut keyboard, &mut beside).await;
    drop(screen);
    beside.end().await;
    ending
}

/// The loop: keys, then frames, then what is new.
async fn show(
    state: &mut ScreenState,
    screen: &mut Screen,
    outside: &mut Outside,
    keyboard: &mut Keyboard,
    beside: &mut Beside,
) -> anyhow::Result<Ending> {
    let mut face = Face { moment: beside.latest(), past: None };
    let mut sorting = Sorting::default();
    let mut unasked = state.follows_background() && can_be_asked(&env);
    let mut dirty = true;
    loop {
        tokio::select! {
            biased;
            signal = outside.next() => {
                match signal {
                    Signal::End(ending) => return Ok(ending),
                    Signal::Resized => {}
                    // A terminal that cannot be taken over again is gone.
                    Signal::Job(job) => if obey(job, screen, &mut outside.jobs).await.is_err() {
                        return Ok(Ending::TerminalGone);
                    }
                }
                dirty = true;
            }
            heard = keyboard.next() => {
                let Some(heard) = heard else { return Ok(Ending::TerminalGone) };
                for one in &heard {
                    let effect = face.hear(state, one);
                    if let Some(ending) = face.act(effect, beside, state, screen) {
                        beside.order(Order::End);
                        return Ok(ending);
                    }
                }
                beside.wish(state.wish());
                dirty = true;
            }
            () = ready(()), if dirty => {
                // A terminal that cannot be written is gone, whatever the system calls it.
                if face.draw(screen, beside.latest(), state).is_err() {
                    return Ok(Ending::TerminalGone);
                }
                // The first frame waits for nothing, so the question comes after it.
                if std::mem::take(&mut unasked) && screen.say(background::QUESTION).is_err() {
                    return Ok(Ending::TerminalGone);
                }
                sorting.begin(state);
                dirty = false;
            }
            answered = sorting.next() => {
                free(state.learn(answered.context("an order of the tunnels could not be worked out")?));
                dirty = true;
            }
            new = beside.next() => {
                // While frozen nothing is drawn but the answer to a key, and to what it asked for.
                let said = new?;
                dirty |= said.is_some() || !state.is_frozen();
                if let Some(said) = said {
                    state.say(said);
                }
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
    /// The keys.
    pub keys: Keymap,
    /// Colours laid over those of the theme.
    pub colors: Colors,
    /// What of the settings does not count, and why.
    pub warnings: Vec<String>,
}

impl Choices {
    fn state(&self, settings: &Settings) -> ScreenState {
        let state = ScreenState::new(settings.theme.as_deref(), settings.ascii).with_keys(self.keys.clone());
        let state = state.redacting(settings.redact).called(program(&env)).sorted_elsewhere();
        let state = state.with_colors(self.colors);
        let mut state = state.at_depth(Depth::of(&env));
        if let Some(light) = env("COLORFGBG").and_then(|text| background::hinted(&text)) {
            state.set_background(light);
        }
        if let Some((first, more)) = self.warnings.split_first() {
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
    moment: Arc<Moment>,
    /// The moment that is shown when it is not the present.
    past: Option<Snapshot>,
}

impl Face {
    fn draw(&mut self, screen: &mut Screen, latest: Arc<Moment>, state: &mut ScreenState) -> std::io::Result<()> {
        if !state.is_frozen() && !Arc::ptr_eq(&latest, &self.moment) {
            self.moment = latest;
            free(state.learn(self.moment.answered.clone()));
            self.past = self
                .past
                .take()
                .map(|past| past.seen_from(&self.moment.snapshot, past.past.cursor.unwrap_or(past.now)));
        }
        screen.draw(|frame| ui::draw(frame, frame.area(), self.shown(), state))
    }

    fn shown(&self) -> &Snapshot {
        self.past.as_ref().unwrap_or(&self.moment.snapshot)
    }

    /// To the next or the previous moment that is kept.
    fn walk(&mut self, memory: &Memory, state: &mut ScreenState, forward: bool) {
        let from = self.shown().now;
        let to = if forward { memory.after(from) } else { memory.before(from) };
        if forward && self.past.is_none() {
            state.say("this is the present; [ goes back in time".to_owned());
        } else if !forward && (to.is_none() || to == self.past.as_ref().map(|p| p.now)) {
            state.say("nothing earlier is kept".to_owned());
        }
        let kept = to.and_then(|at| memory.at(at));
        if forward || kept.is_some() {
            self.past = kept.map(|s| s.seen_from(&self.moment.snapshot, s.now));
        }
    }

    /// To any moment; `pick` finds what was shown then.
    fn show(
        &mut self,
        memory: &Memory,
        state: &mut ScreenState,
        at: Timestamp,
        pick: impl Fn(&Memory) -> Option<&Arc<Snapshot>>,
    ) {
        // What happened a moment ago is in what is shown now.
        let kept = pick(memory).map_or(&self.moment.snapshot, Arc::as_ref);
        let past = kept.seen_from(&self.moment.snapshot, at);
        state.tell_moment(at, past.now);
        self.past = Some(past);
    }

    /// Answers one key, click, paste or answer of the terminal.
    fn hear(&self, state: &mut ScreenState, heard: &Heard) -> Effect {
        match heard {
            Heard::Key(key) => return ui::handle_key(state, self.shown(), *key),
            Heard::Mouse(mouse) => return ui::handle_mouse(state, self.shown(), *mouse, Instant::now().into_std()),
            Heard::Paste(text) => return ui::handle_paste(state, self.shown(), text),
            Heard::Answer(text) => {
                if let Some(light) = background::answered(text) {
                    state.set_background(light);
                }
            }
        }
        Effect::None
    }

    /// Does what a key asked for beyond the screen; `Some` ends the dashboard.
    fn act(&mut self, effect: Effect, beside: &Beside, state: &mut ScreenState, screen: &mut Screen) -> Option<Ending> {
        match effect {
            Effect::None => {}
            Effect::Quit => return Some(Ending::Quit),
            Effect::Interrupt => return Some(Ending::Interrupted),
            Effect::ResetCounters => beside.order(Order::Reset),
            Effect::ToggleProbe(url) => beside.order(Order::Toggle(url)),
            Effect::Earlier => self.walk(&beside.memory(), state, false),
            Effect::Later => self.walk(&beside.memory(), state, true),
            Effect::At(at) => self.show(&beside.memory(), state, at, |memory| memory.at(at)),
            Effect::After(at) => self.show(&beside.memory(), state, at, |memory| memory.not_before(at)),
            Effect::Oldest => {
                let memory = beside.memory();
                if let Some(oldest) = memory.before(Timestamp::default()) {
                    self.show(&memory, state, oldest, |memory| memory.at(oldest));
                }
            }
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
            Effect::WriteReport => beside.order(Order::Report { redacted: state.is_redacted() }),
        }
        None
    }
}

/// Orders of many tunnels, worked out while frames go on; one at a time.
#[derive(Default)]
struct Sorting(Option<JoinHandle<Answered>>);

impl Sorting {
    /// Begins what the last frame could not wait for.
    fn begin(&mut self, state: &ScreenState) {
        if self.0.is_none() {
            self.0 = state.open().map(|(wish, rows)| spawn_blocking(move || wish.answer(rows)));
        }
    }

    /// Waits for it; for ever where there is nothing to wait for. Cancel-safe.
    async fn next(&mut self) -> Option<Answered> {
        let Some(task) = &mut self.0 else { return pending().await };
        let answered = task.await.ok();
        self.0 = None;
        answered
    }
}

/// Frees an order that is no longer shown, beside the frames.
fn free(answered: Option<Answered>) {
    // What the model's thread made is freed there.
    if let Some(last) = answered.filter(Answered::is_last) {
        spawn_blocking(move || drop(last));
    }
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
        stuck::ends_all_the_same(&[SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()])?;
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
