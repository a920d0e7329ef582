//! Everything on this machine, nothing needed: an embedded backend and proxy with faults on a script.
//!
//! The logs, the configuration, the sockets and the endpoints are real, so that the real sources watch them.

mod backend;
mod clients;
mod folder;
mod head;
mod logfile;
mod nginx;
pub mod picture;
mod proxy;
mod relay;
mod rewrite;
mod routes;
pub mod script;
mod wire;

use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;
use crate::source::probe::WsUrl;

pub use nginx::find_nginx;

use backend::{Backend, Lever};
use clients::Clients;
use folder::Folder;
use logfile::Logs;
use nginx::Nginx;
use proxy::Proxy;
use routes::{Addresses, Upstream};
use script::{Fault, LOOP, Pace, Row, SCRIPT};

/// Short, so that round-trip times are seen soon, and that no probe is cut by `/feed`'s short timeout.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// How the demo is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many times faster than the script says, `/feed`'s `proxy_read_timeout` included. Tests take 4.
    pub speed: u32,
    /// The nginx to run instead of the embedded proxy, as [`find_nginx`] finds it.
    pub nginx: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { speed: 1, nginx: None }
    }
}

/// A small site with its faults, alive on loopback. Dropping it ends everything and removes its folder; [`World::stop`]
/// does so in good order.
#[derive(Debug)]
pub struct World {
    // Dropped in this order: those who use before what they use.
    audience: Crew,
    nginx: Option<Nginx>,
    stage: Crew,
    at: Addresses,
    pace: Pace,
    begun: Instant,
    conf: PathBuf,
    error_log: PathBuf,
    access_log: PathBuf,
    folder: Folder,
}

impl World {
    /// Starts backends, proxy, clients and script. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// When no port or no temporary folder can be had, or when the nginx that was asked for does not start.
    pub async fn start(options: Options) -> io::Result<Self> {
        let pace = Pace::new(options.speed);
        let mut backends = Vec::with_capacity(Upstream::ALL.len());
        for _ in Upstream::ALL {
            backends.push(Backend::bind(pace).await?);
        }
        let backends: [Backend; 4] = backends.try_into().map_err(|_| io::Error::other("not one backend a route"))?;
        let folder = Folder::create()?;
        let conf = folder.path().join("nginx.conf");
        let [error_log, access_log] = ["error.log", "access.log"].map(|name| folder.path().join("logs").join(name));
        let mut stage = Crew::default();
        let addresses = backends.each_ref().map(Backend::addr);
        let site = |proxy| Addresses { proxy, backends: addresses };
        let write_conf = |proxy| fs::write(&conf, routes::conf(site(proxy), pace));

        let (nginx, at) = if let Some(binary) = &options.nginx {
            if rustix::process::geteuid().is_root() {
                folder.let_through()?;
            }
            let (nginx, proxy) = Nginx::start(binary, folder.path(), write_conf).await?;
            (Some(nginx), site(proxy))
        } else {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            let at = site(listener.local_addr()?);
            write_conf(at.proxy)?;
            let proxy = Proxy::new(at, pace, Logs::open(&error_log, &access_log)?);
            stage.spawn(|stop| proxy.run(listener, stop));
            (None, at)
        };

        let begun = Instant::now();
        let clients = Clients::new(at.proxy, pace);
        let lever = |of: Upstream| backends[of as usize].lever();
        let levers = Levers { main: lever(Upstream::Main), admin: lever(Upstream::Admin), clients: clients.clone() };
        for backend in backends {
            stage.spawn(|stop| backend.run(stop));
        }
        let mut audience = Crew::default();
        audience.spawn(|stop| clients.run(stop));
        audience.spawn(|stop| async move { stop.run_until_cancelled(play(levers, pace, begun)).await.unwrap_or(()) });
        Ok(Self { audience, nginx, stage, at, pace, begun, conf, error_log, access_log, folder })
    }

    /// Its nginx.conf, to be read by an nginx too: `nginx -t -p PREFIX -c CONF`.
    #[must_use]
    pub fn conf(&self) -> &Path {
        &self.conf
    }

    /// Its folder: the prefix to which the paths of its nginx.conf are relative.
    #[must_use]
    pub fn prefix(&self) -> &Path {
        self.folder.path()
    }

    /// The error log, at level info.
    #[must_use]
    pub fn error_log(&self) -> &Path {
        &self.error_log
    }

    /// The access log, in the format `ws` of its nginx.conf.
    #[must_use]
    pub fn access_log(&self) -> &Path {
        &self.access_log
    }

    /// The port of the proxy on 127.0.0.1.
    #[must_use]
    pub fn listen_port(&self) -> u16 {
        self.at.proxy.port()
    }

    /// The ports of the backends on 127.0.0.1.
    #[must_use]
    pub fn upstream_ports(&self) -> [u16; 4] {
        self.at.backends.map(|b| b.port())
    }

    /// The process that holds the proxy's sockets: this one, or the master of the nginx that was started.
    #[must_use]
    pub fn proxy_pid(&self) -> u32 {
        self.nginx.as_ref().map_or_else(std::process::id, Nginx::pid)
    }

    /// What is worth probing: the URL through the proxy, and the backend's own URL for comparison.
    #[must_use]
    pub fn endpoints(&self) -> Vec<(String, Option<String>)> {
        let url = |at, path| format!("ws://{at}{path}");
        let probed = routes::ROUTES.iter().filter(|r| r.upstream != Upstream::Admin);
        probed.map(|r| (url(self.at.proxy, r.path), Some(url(self.at.of(r.upstream), r.path)))).collect()
    }

    /// What happens when, in script time.
    #[must_use]
    pub fn script(&self) -> &'static [Row] {
        SCRIPT
    }

    /// What goes on now, for a caption line.
    #[must_use]
    pub fn now_showing(&self) -> Option<&'static Row> {
        script::now_showing(self.pace.played(self.begun.elapsed()))
    }

    /// Ends everything, the clients first, and removes the folder. Takes at most some seconds.
    pub async fn stop(self) {
        let Self { audience, nginx, stage, folder, .. } = self;
        audience.dismiss().await;
        if let Some(nginx) = nginx {
            nginx.stop().await;
        }
        stage.dismiss().await;
        drop(folder);
    }
}

/// Points the sources at the world: its configuration, its endpoints and, where no nginx runs, this very process.
pub fn point_at(settings: &mut Settings, world: &World) {
    settings.nginx_conf = Some(world.conf().to_owned());
    settings.nginx_prefix = Some(world.prefix().to_owned());
    let url = |text: &str| WsUrl::parse(text).ok();
    settings.endpoints =
        world.endpoints().iter().filter_map(|(u, direct)| Some((url(u)?, direct.as_deref().and_then(url)))).collect();
    settings.probe.ping_interval = PING_INTERVAL;
    let nginx = world.nginx.is_some();
    settings.find_nginx = nginx;
    if nginx {
        settings.pid = Some(world.proxy_pid());
    } else {
        settings.pids = vec![world.proxy_pid()];
    }
}

/// Tasks that end together. Dropping it aborts them.
#[derive(Debug, Default)]
struct Crew {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Crew {
    fn spawn<F: Future<Output = ()> + Send + 'static>(&mut self, task: impl FnOnce(CancellationToken) -> F) {
        self.tasks.spawn(task(self.stop.clone()));
    }

    async fn dismiss(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// What the script moves.
struct Levers {
    main: Lever,
    admin: Lever,
    clients: Clients,
}

impl Levers {
    fn pull(&self, fault: Fault, begins: bool) {
        match fault {
            Fault::BackendRefuses => self.admin.serve(!begins),
            Fault::ClientResets => self.clients.vanish_one(),
            Fault::BackendResets => self.main.reset_one(),
            // These stand in nginx.conf: clients without a tunnel and silent clients run into them.
            Fault::HeadersLost | Fault::IdleCut => {}
        }
    }
}

/// Runs the script again and again.
async fn play(levers: Levers, pace: Pace, begun: Instant) {
    let cues = script::cues();
    let mut loop_start = Duration::ZERO;
    loop {
        for cue in &cues {
            sleep_until((begun + pace.real(loop_start + cue.at)).into()).await;
            levers.pull(cue.fault, cue.begins);
        }
        loop_start += LOOP;
    }
}
