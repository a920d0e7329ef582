//! One probe target and its life: dial, hold with pings, close, dial again.

mod alert;
mod answer;
pub mod cadence;
pub mod dial;
mod dialogue;
mod dice;
mod echo;
mod fault;
mod framed;
mod frames;
pub mod heartbeat;
pub mod hold;
pub mod matrix;
pub mod options;
mod request;
mod runes;
pub mod silence;
pub mod soak;
mod tls;
pub mod url;
mod way;
mod wire;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub use crate::event::probe::Cadence;
pub use crate::human::redact;

use self::cadence::Redial;
use self::dial::{Steps, dial};
pub use self::dialogue::Question;
use self::dice::dice;
use self::hold::{Until, hold};
pub use self::options::{
    ClientCert, HttpProxy, OptionError, ProbeOptions, ProxyProtocol, ResolveOverride, basic, heartbeat_time,
    parse_cadences, parse_header, parse_subprotocol,
};
pub use self::tls::check_files;
pub use self::url::{Host, UrlError, WsUrl};
use super::{Outlet, Source};
use crate::event::probe::{ProbeEvent, Route, Step, TargetId};
use crate::event::{Event, Sense, SourceId, SourceKind};

/// The identity of a target, without the secrets of its URLs: it stands in every event and every recording.
#[must_use]
pub fn target(endpoint: &WsUrl, url: &WsUrl, route: Route) -> TargetId {
    TargetId { endpoint: endpoint.to_string().into(), route, url: url.to_string().into(), cadence: None }
}

/// One target, probed for as long as the program runs.
#[derive(Debug)]
pub struct ProbeSource {
    host: Arc<str>,
    target: TargetId,
    url: WsUrl,
    options: ProbeOptions,
    stop: CancellationToken,
}

impl ProbeSource {
    /// A probe of `url`, on the host `host`, that speaks under the name of `target`.
    #[must_use]
    pub fn new(host: &Arc<str>, target: TargetId, url: WsUrl, options: ProbeOptions) -> Self {
        Self { host: Arc::clone(host), target, url, options, stop: CancellationToken::new() }
    }

    /// Cancelling it ends the probe: a close frame with code 1000, `Closed` where a tunnel was open, then `Stopped`.
    #[must_use]
    pub fn stop_handle(&self) -> CancellationToken {
        self.stop.clone()
    }

    fn event(&self, step: Step) -> Event {
        Event::Probe(Box::new(ProbeEvent { target: self.target.clone(), step }))
    }
}

impl Source for ProbeSource {
    fn id(&self) -> SourceId {
        let TargetId { endpoint, route, url, cadence } = &self.target;
        let name = match (route, cadence) {
            (Route::Proxy, None) => format!("{endpoint} proxy"),
            (Route::Proxy, Some(cadence)) => format!("{endpoint} proxy {cadence}"),
            // There may be several.
            (Route::Direct, None) => format!("{endpoint} direct {url}"),
            (Route::Direct, Some(cadence)) => format!("{endpoint} direct {url} {cadence}"),
        };
        SourceId::named(&self.host, SourceKind::Probe, &name)
    }

    /// Telling runs beside living: while the channel is full, pongs are read and timed all the same.
    async fn run(&mut self, out: &Outlet) -> io::Result<()> {
        out.sense(Sense::seen(format!("probing {}", self.url))).await?;
        let stop = self.stop.child_token();
        let (tell, mut told) = mpsc::unbounded_channel();
        let life = live(&self.url, &self.options, &stop, tell);
        let telling = async {
            while let Some(step) = told.recv().await {
                out.send(self.event(step)).await?;
            }
            Ok(())
        };
        let telling = async {
            tokio::select! {
                done = telling => done,
                () = out.closed() => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
            }
        };
        let telling = async {
            let done = telling.await;
            stop.cancel();
            done
        };
        tokio::join!(life, telling).1
    }
}

/// Attempts and tunnels in turn until `stop` is cancelled.
async fn live(url: &WsUrl, options: &ProbeOptions, stop: &CancellationToken, tell: mpsc::UnboundedSender<Step>) {
    // Nobody listening is no failure of the probe: whoever closed the channel cancels `stop` too.
    let mut steps = |step| {
        let _ = tell.send(step);
    };
    let mut redial = Redial::default();
    let until = Until { stop: stop.clone(), deadline: None };
    for attempt in 1.. {
        steps(Step::Dialing { attempt });
        let held = stop.run_until_cancelled(dial(options, url, &mut steps)).await;
        let held = match held {
            Some(Ok(opened)) => hold(opened, options, &until, &mut steps).await.held,
            Some(Err(_)) => Duration::ZERO,
            None => break,
        };
        if stop.is_cancelled() {
            break;
        }
        let delay = redial.pause(held, dice());
        steps(Step::Waiting { delay });
        if stop.run_until_cancelled(sleep(delay)).await.is_none() {
            break;
        }
    }
    steps(Step::Stopped);
}

/// Looks once: dials, holds the tunnel for `hold_for` and until the first ping was answered or missed, closes it with
/// code 1000. Gives all steps.
pub async fn look(url: &WsUrl, options: &ProbeOptions, hold_for: Duration) -> Vec<Step> {
    let mut all = Vec::new();
    look_telling(url, options, hold_for, &mut |step| all.push(step)).await;
    all
}

/// The same, telling each step as it happens: a caller that gives up waiting keeps what was seen.
pub async fn look_telling(url: &WsUrl, options: &ProbeOptions, hold_for: Duration, steps: &mut Steps<'_>) {
    steps(Step::Dialing { attempt: 1 });
    if let Ok(opened) = dial(options, url, steps).await {
        let until = Until { stop: CancellationToken::new(), deadline: Some(Instant::now() + hold_for) };
        hold(opened, options, &until, steps).await;
    }
}
