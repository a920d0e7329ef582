//! One session of looking: sources started as the plan wants them, their events folded into one model, a tee for a recording.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufWriter};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::diagnose::way::{Way, ways};
use crate::event::probe::{ProbeEvent, Route, Step, TargetId};
use crate::event::site::Interest;
use crate::event::{Event, SourceId, SourceKind, Stamped};
use crate::model::Model;
use crate::settings::Settings;
use crate::source::Outlet;
use crate::source::logs::{self, History, Matches};
use crate::source::probe::{self, WsUrl};
use crate::time::Clock;

use super::plan::{self, Job, Known, ProbeJob};
use super::start::{self, Pipes, Running};
use super::stream::EventWriter;

/// Events that may wait: a full channel makes sources wait, it loses nothing. One of them may be a thousand lines.
const CHANNEL: usize = 64;
/// Events folded in before the next look at keys and frames,
const BATCH: usize = 64;
/// and log entries among them: reading hours of a log must not keep a key waiting.
const ENTRIES: usize = 4_096;
/// Bytes of a log that may be unread at any time while it is busy.
const ORDINARY: u64 = 1 << 20;
/// What is read of a log that appears while the program runs, where history is not wanted.
const NEW_LOG: History = History { bytes: 64 << 20, since: None };
/// What is read of an old log that is judged as of its end.
const OLD_LOG: u64 = 64 << 20;
/// How often expiry and rates move on.
const TICK: Duration = Duration::from_secs(1);
/// How long the probes' close frames may take.
const GOODBYE: Duration = Duration::from_millis(300);

/// A running session.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    model: Model,
    inbox: mpsc::Receiver<Stamped>,
    pipes: Pipes,
    /// Which files match the patterns of logs.
    matches: watch::Receiver<Matches>,
    running: HashMap<Job, Running>,
    known_matches: Matches,
    /// Logs whose history has been read: what is started again for another format must not read it twice.
    begun: HashSet<SourceId>,
    behind: Vec<Way>,
    wanted: Vec<WsUrl>,
    unwanted: BTreeSet<Arc<str>>,
    batch: Vec<Stamped>,
    recorder: Option<EventWriter<BufWriter<File>>>,
}

impl Session {
    /// Starts looking. Must be called inside a tokio runtime; returns at once, before any source has seen anything.
    ///
    /// # Errors
    /// When the recording cannot be created.
    pub fn start(settings: Settings) -> anyhow::Result<Self> {
        let recorder = match &settings.record {
            None => None,
            Some(path) => {
                let file =
                    File::create(path).with_context(|| format!("cannot write the recording {}", path.display()))?;
                Some(EventWriter::begin(BufWriter::new(file), &settings.host, Clock.now())?)
            }
        };
        let (channel, inbox) = mpsc::channel(CHANNEL);
        let pipes = Pipes {
            channel,
            interest: watch::channel(Interest::default()).0,
            matches: watch::channel(Matches::new()).0,
        };
        let mut session = Self {
            model: Model::new(&settings.host),
            inbox,
            matches: pipes.matches.subscribe(),
            pipes,
            known_matches: Matches::new(),
            running: HashMap::new(),
            begun: HashSet::new(),
            behind: Vec::new(),
            wanted: Vec::new(),
            unwanted: BTreeSet::new(),
            batch: Vec::with_capacity(BATCH),
            recorder,
            settings,
        };
        session.start_ticking();
        session.reconcile();
        if session.settings.no_probe {
            session.tell_unprobed()?;
        }
        Ok(session)
    }

    /// What is known so far.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The same, to reset its counters.
    pub fn model_mut(&mut self) -> &mut Model {
        &mut self.model
    }

    /// There are ports to look for in the socket tables.
    #[must_use]
    pub fn watches_ports(&self) -> bool {
        !self.pipes.interest.borrow().is_empty()
    }

    /// The targets that are probed now.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetId> {
        self.probes().into_iter().map(|j| j.target).collect()
    }

    /// The same, with what is dialled for them.
    #[must_use]
    pub fn probes(&self) -> Vec<ProbeJob> {
        plan::probes(&self.settings, &self.known())
    }

    /// Takes in what was found beside the sources: it is folded in and recorded as if one of them had said so.
    ///
    /// # Errors
    /// When the recording cannot be written.
    pub fn tell(&mut self, event: &Stamped) -> io::Result<()> {
        self.model.apply(event);
        if let Some(recorder) = &mut self.recorder {
            recorder.write(event)?;
            recorder.flush()?;
        }
        Ok(())
    }

    /// Endpoints that are only routed: known by name and never begun.
    fn tell_unprobed(&mut self) -> io::Result<()> {
        for (url, _) in self.settings.endpoints.clone() {
            let target = probe::target(&url, &url, Route::Proxy);
            let from = SourceId::named(&self.model.host, SourceKind::Probe, &target.endpoint);
            let event = Event::Probe(Box::new(ProbeEvent { target, step: Step::Stopped }));
            self.tell(&Stamped { at: Clock.now(), from, event })?;
        }
        Ok(())
    }

    /// The socket tables are looked at.
    #[must_use]
    pub fn looks_at_sockets(&self) -> bool {
        self.running.contains_key(&Job::Sockets)
    }

    /// Waits for events and folds them in. Returns those just folded. Cancel-safe.
    ///
    /// # Errors
    /// When the recording cannot be written.
    pub async fn next(&mut self) -> io::Result<&[Stamped]> {
        self.batch.clear();
        let mut replan = false;
        tokio::select! {
            first = self.inbox.recv() => self.batch.extend(first),
            Ok(()) = self.matches.changed() => replan = true,
        }
        self.fill_batch();
        for event in &self.batch {
            self.model.apply(event);
            if let Some(recorder) = &mut self.recorder {
                recorder.write(event)?;
            }
            let of_config = event.from.kind == SourceKind::Config;
            replan |= of_config
                || match &event.event {
                    Event::Site(_) | Event::Processes(_) => true,
                    // Where a probe arrived tells which location it hits.
                    Event::Probe(p) => self.settings.find_backends && matches!(p.step, Step::Connected { .. }),
                    _ => false,
                };
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.flush()?;
        }
        if replan {
            self.reconcile();
        }
        Ok(&self.batch)
    }

    /// The events that were folded in last.
    #[must_use]
    pub fn latest(&self) -> &[Stamped] {
        &self.batch
    }

    /// Takes what waits already, as much as may be folded in at once.
    fn fill_batch(&mut self) {
        let weight = |event: &Stamped| match &event.event {
            Event::Errors(batch) => batch.entries.len(),
            Event::Access(batch) => batch.entries.len(),
            _ => 1,
        };
        let mut entries: usize = self.batch.iter().map(weight).sum();
        while self.batch.len() < BATCH && entries < ENTRIES {
            let Ok(event) = self.inbox.try_recv() else { return };
            entries += weight(&event);
            self.batch.push(event);
        }
    }

    /// Every log that is read has said how it can be seen, and what stood in it has been folded in.
    #[must_use]
    pub fn has_caught_up(&self) -> bool {
        let has = |job: &Job| {
            let id = match job {
                Job::Pattern(kind, pattern) => Some(logs::id(&self.model.host, *kind, pattern)),
                _ => job.log(&self.model.host).map(|(id, _)| id),
            };
            id.is_none_or(|id| self.model.senses.get(&id).is_some_and(|s| s.behind < ORDINARY))
        };
        self.running.keys().all(has) && (!self.reads_stdin() || self.has_stdin_ended())
    }

    /// A log is read from the standard input.
    #[must_use]
    pub fn reads_stdin(&self) -> bool {
        self.running.keys().any(Job::is_stdin)
    }

    /// The standard input came to its end, and all that it said was folded in.
    #[must_use]
    pub fn has_stdin_ended(&self) -> bool {
        let mut of_stdin = self.running.iter().filter(|(job, _)| job.is_stdin()).peekable();
        of_stdin.peek().is_some() && of_stdin.all(|(_, running)| running.task.is_finished()) && self.inbox.is_empty()
    }

    /// Switches the probe of a URL, and its direct twin, on or off.
    pub fn toggle_probe(&mut self, url: &str) {
        let endpoint = Arc::from(url);
        if self.targets().iter().any(|t| t.endpoint == endpoint) {
            self.wanted.retain(|w| w.to_string() != url);
            self.unwanted.insert(endpoint);
        } else {
            self.unwanted.remove(&endpoint);
            let again = self.targets().iter().any(|t| t.endpoint == endpoint);
            // Only URLs of the configuration are switched on by hand, and those can be read.
            self.wanted.extend(WsUrl::parse(url).ok().filter(|_| !again));
        }
        self.reconcile();
    }

    /// Ends the probes with a close frame each, within [`GOODBYE`].
    pub async fn say_goodbye(&mut self) {
        let mut ending: Vec<Running> = self.running.drain().map(|(_, r)| r).filter(|r| r.stop.is_some()).collect();
        let all = async {
            for running in &mut ending {
                if let Some(stop) = &running.stop {
                    stop.cancel();
                }
            }
            for running in &mut ending {
                // A task that was aborted or panicked has ended as well.
                let _ = (&mut running.task).await;
            }
        };
        tokio::select! {
            () = all => {}
            () = async { while self.inbox.recv().await.is_some() {} } => {}
            () = sleep(GOODBYE) => {}
        }
    }

    fn known(&self) -> Known<'_> {
        Known {
            processes: self.model.processes.as_ref(),
            site: self.model.site.as_ref(),
            looked_for_site: self.model.sight(SourceKind::Config).is_some(),
            matches: &self.known_matches,
            behind: &self.behind,
            wanted: &self.wanted,
            unwanted: &self.unwanted,
        }
    }

    fn start_ticking(&self) {
        let host = Arc::clone(&self.model.host);
        let out = Outlet::new(SourceId::new(&host, SourceKind::Clock), self.pipes.channel.clone());
        tokio::spawn(async move {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if out.send(Event::Tick).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Starts what the plan wants and does not run, ends what runs and is not wanted.
    fn reconcile(&mut self) {
        self.known_matches = self.matches.borrow_and_update().clone();
        if self.settings.find_backends {
            self.behind = ways(&self.model);
        }
        let known = self.known();
        let jobs = plan::plan(&self.settings, &known);
        let interest = plan::interest(&self.settings, &known);
        self.pipes.interest.send_if_modified(|old| {
            let changed = *old != interest;
            *old = interest;
            changed
        });
        self.running.retain(|job, _| jobs.contains(job));
        for job in jobs {
            if !self.running.contains_key(&job) {
                let history = self.history(&job);
                let source = start::start(&job, &self.settings, &self.model, &self.pipes, history);
                self.running.insert(job, source);
            }
        }
    }

    /// How much of what a log holds is read now that its source starts.
    fn history(&mut self, job: &Job) -> History {
        let Some((id, path)) = job.log(&self.model.host) else { return History::NONE };
        let is_late = self.known_matches.values().flatten().any(|m| m.late && m.path == path);
        if !self.begun.insert(id) {
            return History::NONE;
        }
        if plan::is_past(&self.settings, &self.known()) == Some(true) {
            return History { bytes: OLD_LOG, since: self.settings.since };
        }
        // What is piped in was chosen by who piped it.
        let reach = self.settings.reach.filter(|_| !job.is_stdin());
        match self.settings.since.or_else(|| Some(Clock.now().minus(reach?))) {
            Some(since) => History::from(since),
            None if is_late => NEW_LOG,
            None => History::NONE,
        }
    }
}
