//! One session of looking: sources started as the plan wants them, their events folded into one model, a tee for a recording.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufWriter};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::diagnose::way::{Way, ways};
use crate::event::probe::{Step, TargetId};
use crate::event::site::Interest;
use crate::event::{Event, SourceId, SourceKind, Stamped};
use crate::model::Model;
use crate::settings::Settings;
use crate::source::Outlet;
use crate::source::probe::WsUrl;
use crate::time::Clock;

use super::plan::{self, Job, Known, ProbeJob};
use super::start::{self, Running};
use super::stream::EventWriter;

/// Events that may wait: a full channel makes sources wait, it loses nothing.
const CHANNEL: usize = 1024;
/// Events folded in before the next look at keys and frames.
const BATCH: usize = 256;
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
    channel: mpsc::Sender<Stamped>,
    interest: watch::Sender<Interest>,
    running: HashMap<Job, Running>,
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
        let mut session = Self {
            model: Model::new(&settings.host),
            inbox,
            channel,
            interest: watch::channel(Interest::default()).0,
            running: HashMap::new(),
            behind: Vec::new(),
            wanted: Vec::new(),
            unwanted: BTreeSet::new(),
            batch: Vec::with_capacity(BATCH),
            recorder,
            settings,
        };
        session.start_ticking();
        session.reconcile();
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

    /// Waits for events and folds them in. Returns those just folded. Cancel-safe.
    ///
    /// # Errors
    /// When the recording cannot be written.
    pub async fn next(&mut self) -> io::Result<&[Stamped]> {
        self.batch.clear();
        self.inbox.recv_many(&mut self.batch, BATCH).await;
        let mut replan = false;
        for event in &self.batch {
            self.model.apply(event);
            if let Some(recorder) = &mut self.recorder {
                recorder.write(event)?;
            }
            replan |= match &event.event {
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
            behind: &self.behind,
            wanted: &self.wanted,
            unwanted: &self.unwanted,
        }
    }

    fn start_ticking(&self) {
        let host = Arc::clone(&self.model.host);
        let out = Outlet::new(SourceId::new(&host, SourceKind::Clock), self.channel.clone());
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
        if self.settings.find_backends {
            self.behind = ways(&self.model);
        }
        let known = self.known();
        let jobs = plan::plan(&self.settings, &known);
        let interest = plan::interest(&self.settings, &known);
        self.interest.send_if_modified(|old| {
            let changed = *old != interest;
            *old = interest;
            changed
        });
        self.running.retain(|job, _| jobs.contains(job));
        for job in jobs {
            if !self.running.contains_key(&job) {
                let source = start::start(&job, &self.settings, &self.model, self.interest.subscribe(), &self.channel);
                self.running.insert(job, source);
            }
        }
    }
}
