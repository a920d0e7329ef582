//! The model's own thread: events are folded in and moments made ready for the screen there, so that no key ever waits for them.
//!
//! With a hundred thousand tunnels a look takes the model tens of milliseconds, and the rules and the rows longer. None of it is the
//! screen's business: it takes the latest moment that is ready, rows, order and all, and draws.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::diagnose::diagnose;
use crate::diagnose::finding::Diagnosis;
use crate::event::Event;
use crate::human::redact;
use crate::report::{self, Report};
use crate::time::Timestamp;
use crate::ui::Snapshot;
use crate::ui::memo::{Answer, Answered, Wish};
use crate::ui::memory::Memory;
use crate::ui::snapshot::tunnel::TunnelRow;

use super::session::Session;

/// The name of the thread.
pub const NAME: &str = "model";
/// The shortest time between two moments,
const FRAME: Duration = Duration::from_millis(100);
/// and between two in which nothing but time has passed: a little less than the second that passes.
const ROUTINE: Duration = Duration::from_millis(950);
/// The shortest time between two diagnoses: rules look at everything, and a verdict that flickers helps nobody.
const DIAGNOSIS: Duration = Duration::from_millis(400);
/// The same while nothing but time passes: a rule that waits for its time may wait a little longer.
const DIAGNOSIS_AT_REST: Duration = Duration::from_secs(10);
/// Making moments takes at most one part in so many of the time,
const SHARE: u32 = 4;
/// and diagnoses one in so many.
const DIAGNOSING: u32 = 10;
/// How long the thread may take to end.
const FAREWELL: Duration = Duration::from_secs(1);

/// What can be shown.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Everything that a frame shows.
    pub snapshot: Snapshot,
    /// The tunnels in the order that was last wished for.
    pub answered: Answered,
}

/// What the person at the screen wants of the model.
#[derive(Debug)]
pub enum Order {
    /// Counters begin again.
    Reset,
    /// Probe this endpoint, or stop it.
    Toggle(String),
    /// Write a report; without addresses.
    Report {
        /// Addresses are hidden in it.
        redacted: bool,
    },
    /// End, with a close frame to each probe's peer.
    End,
}

/// The screen's end of the thread.
#[derive(Debug)]
pub struct Beside {
    orders: mpsc::UnboundedSender<Order>,
    wish: watch::Sender<Wish>,
    moments: watch::Receiver<Arc<Moment>>,
    said: mpsc::UnboundedReceiver<String>,
    ended: oneshot::Receiver<anyhow::Result<()>>,
    memory: Arc<Mutex<Memory>>,
}

impl Beside {
    /// Moves the session to a thread of its own. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(session: Session, wish: Wish) -> anyhow::Result<Self> {
        let memory = Arc::<Mutex<Memory>>::default();
        let (orders, ordered) = mpsc::unbounded_channel();
        let (say, said) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        let wish = watch::Sender::new(wish);
        let desk = Desk::new(&session, wish.subscribe(), Arc::clone(&memory));
        let (show, moments) = watch::channel(Arc::clone(&desk.moment));
        let runtime = Handle::current();
        let work = move || {
            let result = runtime.block_on(work(session, desk, ordered, &show, &say));
            // Nobody listens when the screen has gone before.
            let _ = end.send(result);
        };
        thread::Builder::new().name(NAME.to_owned()).spawn(work).context("no thread for the model")?;
        Ok(Self { orders, wish, moments, said, ended, memory })
    }

    /// The moment that is ready.
    pub fn latest(&mut self) -> Arc<Moment> {
        Arc::clone(&self.moments.borrow_and_update())
    }

    /// What was shown before.
    pub fn memory(&self) -> impl std::ops::Deref<Target = Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How moments are to be made ready.
    pub fn wish(&self, wish: Wish) {
        self.wish.send_if_modified(|old| {
            let changed = *old != wish;
            *old = wish;
            changed
        });
    }

    /// Wants something of the model; a thread that has ended says so itself.
    pub fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    /// Waits for the next thing: a moment (`None`), or a sentence to be said. Cancel-safe.
    ///
    /// # Errors
    /// When the recording could not be written, or the thread has panicked.
    pub async fn next(&mut self) -> anyhow::Result<Option<String>> {
        tokio::select! {
            Ok(()) = self.moments.changed() => Ok(None),
            Some(said) = self.said.recv() => Ok(Some(said)),
            result = &mut self.ended => {
                result.context("the model's thread has ended")??;
                anyhow::bail!("the model's thread has ended")
            }
        }
    }

    /// Ends the thread, in good order if it was told to [`Order::End`].
    pub async fn end(self) {
        drop(self.orders);
        // What hangs is left behind: the program ends.
        let _ = timeout(FAREWELL, self.ended).await;
    }
}

/// The thread's loop: what the person wants, then what is shown, then events.
async fn work(
    mut session: Session,
    mut desk: Desk,
    mut orders: mpsc::UnboundedReceiver<Order>,
    show: &watch::Sender<Arc<Moment>>,
    say: &mpsc::UnboundedSender<String>,
) -> anyhow::Result<()> {
    let mut learnt = true;
    let (mut next, mut soonest) = (Instant::now(), Instant::now());
    loop {
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                None => return Ok(()),
                Some(Order::End) => {
                    session.say_goodbye().await;
                    return Ok(());
                }
                Some(Order::Reset) => {
                    session.model_mut().reset_counters();
                    (desk.news, learnt, next) = (true, true, soonest);
                }
                Some(Order::Toggle(url)) => session.toggle_probe(&url),
                Some(Order::Report { redacted }) => {
                    let _ = say.send(desk.report(&session, redacted));
                }
            },
            () = sleep_until(next), if learnt => {
                let begun = Instant::now();
                show.send_replace(desk.make(&session));
                learnt = false;
                soonest = begun + FRAME.max(begun.elapsed() * SHARE);
                next = soonest.max(begun + ROUTINE);
            }
            events = session.next() => {
                let events = events?;
                learnt |= !events.is_empty();
                let is_routine = events.iter().all(|e| is_routine(&e.event));
                desk.news |= !is_routine;
                if !is_routine || !desk.moment.snapshot.counts_processes_of(session.model()) {
                    next = soonest;
                }
            }
        }
    }
}

/// What comes every second or two and tells little more than that time has passed; which processes there are is asked for besides.
fn is_routine(event: &Event) -> bool {
    match event {
        Event::Tick | Event::Processes(_) => true,
        Event::Sockets(delta) => !delta.tells_of_connections(),
        _ => false,
    }
}

/// What moments are made of.
struct Desk {
    moment: Arc<Moment>,
    diagnosis: Diagnosis,
    /// When the last diagnosis began, and the earliest time for another one.
    diagnosed: Instant,
    due: Instant,
    /// Something was learnt since but that time passes.
    news: bool,
    wish: watch::Receiver<Wish>,
    memory: Arc<Mutex<Memory>>,
    /// Rows that were shown, and their order or groups. To free a hundred thousand takes its time, which must not be the screen's:
    /// whoever lets go last does it.
    shown: VecDeque<Arc<Vec<TunnelRow>>>,
    answers: VecDeque<Arc<Answer>>,
}

impl Desk {
    fn new(session: &Session, wish: watch::Receiver<Wish>, memory: Arc<Mutex<Memory>>) -> Self {
        let diagnosis = diagnose(session.model());
        let snapshot = Snapshot::of(session.model(), &diagnosis);
        let answered = wish.borrow().clone().answer(Arc::clone(&snapshot.tunnels.rows));
        let moment = Arc::new(Moment { snapshot, answered });
        let now = Instant::now();
        Self {
            moment,
            diagnosis,
            diagnosed: now,
            due: now,
            news: true,
            wish,
            memory,
            shown: VecDeque::new(),
            answers: VecDeque::new(),
        }
    }

    fn make(&mut self, session: &Session) -> Arc<Moment> {
        let begun = Instant::now();
        if begun >= self.due && (self.news || begun >= self.diagnosed + DIAGNOSIS_AT_REST) {
            self.diagnosis = diagnose(session.model());
            (self.diagnosed, self.news) = (begun, false);
            self.due = begun + DIAGNOSIS.max(begun.elapsed() * DIAGNOSING);
        }
        let snapshot = self.moment.snapshot.after(session.model(), &self.diagnosis);
        let rows = &snapshot.tunnels.rows;
        let wish = self.wish.borrow_and_update().clone();
        let answered = if self.moment.answered.answers(&wish, rows) {
            self.moment.answered.clone()
        } else {
            wish.answer(Arc::clone(rows))
        };
        if !self.moment.answered.is_of(rows) {
            self.shown.push_back(Arc::clone(rows));
        }
        if !Arc::ptr_eq(self.moment.answered.answer(), answered.answer()) {
            self.answers.push_back(Arc::clone(answered.answer()));
        }
        self.keep(&snapshot);
        self.moment = Arc::new(Moment { snapshot, answered });
        self.shown.retain(|rows| Arc::strong_count(rows) > 1);
        self.answers.retain(|answer| Arc::strong_count(answer) > 1);
        Arc::clone(&self.moment)
    }

    /// Keeps what is worth it; the lock is not held over the work.
    fn keep(&self, snapshot: &Snapshot) {
        let memory = || self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory().is_due(snapshot) {
            let thinned = Memory::thinned(snapshot);
            memory().keep(thinned);
        }
    }

    /// Writes a report, and says where or why not.
    fn report(&self, session: &Session, redacted: bool) -> String {
        let report = Report::of(session.model(), &self.diagnosis, env!("CARGO_PKG_VERSION"));
        let text = report::markdown(&report);
        let text = if redacted { redact::addresses(&text) } else { text };
        match write_report(&text, session.model().now) {
            Ok(path) => format!("report written: {}", path.display()),
            Err(e) => format!("no report: {e:#}"),
        }
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
