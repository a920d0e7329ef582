//! A job turned into a running source.

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::SocketMode;
use crate::event::Stamped;
use crate::event::site::{Apart, Interest};
use crate::model::Model;
use crate::nginx::access::Format;
use crate::settings::Settings;
use crate::source::config::{ConfigSource, ConfigTarget, Past};
use crate::source::logs::{
    AccessLogSource, BackendLogSource, ErrorLogSource, History, Matches, MixedLogSource, PatternSource,
};
use crate::source::probe::ProbeSource;
use crate::source::process::ProcessSource;
use crate::source::sockets::{Mode, SocketSource};
use crate::source::supervise;

use super::plan::{AccessJob, ConfigJob, Job};

/// A source at work.
#[derive(Debug)]
pub struct Running {
    /// Its task.
    pub task: JoinHandle<()>,
    /// How to end it in good order, where that differs from aborting: a probe says goodbye.
    pub stop: Option<CancellationToken>,
}

impl Drop for Running {
    fn drop(&mut self) {
        match &self.stop {
            Some(stop) => stop.cancel(),
            None => self.task.abort(),
        }
    }
}

/// What sources are told and what they tell, besides their jobs.
#[derive(Debug)]
pub struct Pipes {
    /// Where all events go.
    pub channel: mpsc::Sender<Stamped>,
    /// What the socket source must watch.
    pub interest: watch::Sender<Interest>,
    /// Which files match the patterns of logs.
    pub matches: watch::Sender<Matches>,
}

/// Starts the source that `job` asks for; a log is read from where `history` says.
#[must_use]
pub fn start(job: &Job, settings: &Settings, model: &Model, pipes: &Pipes, history: History) -> Running {
    let channel = &pipes.channel;
    let host = &model.host;
    let channel = channel.clone();
    let mut stop = None;
    let task = match job {
        Job::Processes => supervise(ProcessSource::new(host).only(settings.pid).no_exec(settings.no_exec), channel),
        Job::Sockets => {
            let mut source = SocketSource::new(host, pipes.interest.subscribe());
            source.interval = settings.interval;
            source.fixed = settings.interval_fixed;
            source.mode = match settings.sockets {
                SocketMode::Auto => Mode::Auto,
                SocketMode::Netlink => Mode::Netlink,
                SocketMode::Proc => Mode::Procfs,
            };
            supervise(source, channel)
        }
        Job::Config(job) => supervise(ConfigSource::new(host, config_target(job, settings, model)), channel),
        Job::BackendLog(path) => supervise(BackendLogSource::new(host, path, history), channel),
        Job::ErrorLog(path) => supervise(ErrorLogSource::new(host, path, history).in_zone(settings.zone), channel),
        Job::AccessLog(job) => supervise(AccessLogSource::new(host, &job.path, history, format_of(job)), channel),
        Job::MixedLog(job) => {
            let format = job.access.pattern.as_ref().map(|_| format_of(&job.access));
            let source = MixedLogSource::new(host, job.kind, &job.access.path, history, settings.zone, format);
            supervise(if job.both { source.of_both_kinds() } else { source }, channel)
        }
        Job::Pattern(kind, pattern) => {
            supervise(PatternSource::new(host, *kind, pattern, pipes.matches.clone()), channel)
        }
        Job::Probe(job) => {
            let source = ProbeSource::new(host, job.target.clone(), job.url.clone(), job.options(&settings.probe));
            stop = Some(source.stop_handle());
            supervise(source, channel)
        }
    };
    Running { task, stop }
}

fn config_target(job: &ConfigJob, settings: &Settings, model: &Model) -> ConfigTarget {
    let master = job.master.and_then(|pid| model.masters().iter().find(|m| m.pid == pid));
    if let Some(mut target) = master.and_then(ConfigTarget::of_master) {
        target.version = settings.nginx_version.or(target.version);
        // It looks names up and opens logs: only for a look that was asked for.
        let asked = master.filter(|_| settings.one_look && !settings.no_exec);
        return asked.map_or(target.clone(), |m| target.tested_by(m));
    }
    let prefix = settings.nginx_prefix.as_ref().map(|p| p.to_string_lossy());
    let mut target = ConfigTarget::new(&job.conf.to_string_lossy(), prefix.as_deref(), settings.nginx_version, None);
    target.apart = job.apart.then(|| Apart { past: job.past == Past::Always, ..Apart::default() });
    target.past = job.past;
    target
}

/// The format of the configuration; one that cannot be understood is read as `combined`, which then shows as unparsed lines.
fn format_of(job: &AccessJob) -> Format {
    let compiled = job.pattern.as_deref().map(|p| Format::compile(p, job.escape));
    match compiled {
        Some(Ok(format)) => format,
        Some(Err(e)) => {
            tracing::warn!(path = %job.path.display(), error = %e, "log_format not understood");
            Format::combined()
        }
        None => Format::combined(),
    }
}
