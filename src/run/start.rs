//! A job turned into a running source.

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::SocketMode;
use crate::event::Stamped;
use crate::event::site::Interest;
use crate::model::Model;
use crate::nginx::access::Format;
use crate::settings::Settings;
use crate::source::config::{ConfigSource, ConfigTarget};
use crate::source::logs::{AccessLogSource, ErrorLogSource, History};
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

/// Starts the source that `job` asks for.
#[must_use]
pub fn start(
    job: &Job,
    settings: &Settings,
    model: &Model,
    interest: watch::Receiver<Interest>,
    channel: &mpsc::Sender<Stamped>,
) -> Running {
    let host = &model.host;
    let channel = channel.clone();
    let mut stop = None;
    let task = match job {
        Job::Processes => supervise(ProcessSource::new(host).only(settings.pid).no_exec(settings.no_exec), channel),
        Job::Sockets => {
            let mut source = SocketSource::new(host, interest);
            source.interval = settings.interval;
            source.mode = match settings.sockets {
                SocketMode::Auto => Mode::Auto,
                SocketMode::Netlink => Mode::Netlink,
                SocketMode::Proc => Mode::Procfs,
            };
            supervise(source, channel)
        }
        Job::Config(job) => supervise(ConfigSource::new(host, config_target(job, settings, model)), channel),
        Job::ErrorLog(path) => supervise(ErrorLogSource::new(host, path, History::default()), channel),
        Job::AccessLog(job) => {
            supervise(AccessLogSource::new(host, &job.path, History::default(), format_of(job)), channel)
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
    if let Some(target) = master.and_then(ConfigTarget::of_master) {
        return target;
    }
    let prefix = settings.nginx_prefix.as_ref().map(|p| p.to_string_lossy());
    ConfigTarget::new(&job.conf.to_string_lossy(), prefix.as_deref(), None, None)
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
