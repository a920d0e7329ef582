//! The roles of our own probes.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wspulse::event::Event;
use wspulse::event::probe::{Route, Step, TargetId};
use wspulse::source::probe::dial::dial;
use wspulse::source::probe::soak::{Plan, Standing, WORKERS};
use wspulse::source::probe::{ProbeOptions, ProbeSource, WsUrl};
use wspulse::source::supervise;

use super::process::{cpu_us, resident_kib, tell};
use super::{HELD, INTERVAL, RAMP};

/// Handshakes on their way at one time.
pub const AT_ONCE: usize = 128;
/// From ping to ping while round trips are timed.
pub const BEAT: Duration = Duration::from_millis(10);
/// How many round trips are timed.
pub const BEATS: u32 = 200;

fn parsed(url: &str) -> io::Result<WsUrl> {
    WsUrl::parse(url).map_err(io::Error::other)
}

/// Holds tunnels as `wspulse soak` does: memory above that of the idle runtime, and CPU while holding.
pub fn hold(url: &str, tunnels: u32) -> io::Result<()> {
    super::process::raise_descriptors();
    let options = ProbeOptions { ping_interval: Duration::from_secs(INTERVAL.into()), ..ProbeOptions::default() };
    let duration = Duration::from_secs(HELD.into());
    let plan = Plan { url: parsed(url)?, options, tunnels, duration, ramp: RAMP, again: false };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    runtime.block_on(async {
        let before = resident_kib();
        let mut begin = None;
        let mut end = None;
        let soak = plan
            .run(&CancellationToken::new(), &mut |soak, standing| {
                if matches!(standing, Standing::Holding(_)) {
                    begin.get_or_insert_with(|| (cpu_us(), soak.pings));
                    end = Some((cpu_us(), soak.pings, resident_kib(), soak.alive));
                }
            })
            .await;
        let (Some((cpu, pings)), Some((cpu_end, pings_end, resident, alive))) = (begin, end) else {
            return Err(io::Error::other(format!("nothing was held: {:?}", soak.failures)));
        };
        let us = (cpu_end - cpu) / (pings_end - pings) as f64;
        tell(&[("kib", (resident - before) / f64::from(tunnels)), ("us", us), ("alive", alive as f64)])
    })
}

/// Opens tunnels, so many at a time, and keeps them.
pub fn dial_all(url: &str, tunnels: u32) -> io::Result<()> {
    super::process::raise_descriptors();
    let url = Arc::new(parsed(url)?);
    let options = Arc::new(ProbeOptions::default());
    tokio::runtime::Runtime::new()?.block_on(async {
        let gate = Arc::new(Semaphore::new(AT_ONCE));
        let mut lanes = JoinSet::new();
        let start = Instant::now();
        for _ in 0..tunnels {
            let (url, options, gate) = (Arc::clone(&url), Arc::clone(&options), Arc::clone(&gate));
            lanes.spawn(async move {
                let _turn = gate.acquire_owned().await;
                dial(&options, &url, &mut |_| ()).await
            });
        }
        let opened = lanes.join_all().await;
        let s = start.elapsed().as_secs_f64();
        match opened.iter().find_map(|o| o.as_ref().err()) {
            Some(failure) => Err(io::Error::other(failure.said.clone())),
            None => tell(&[("s", s)]),
        }
    })
}

/// The median of the round trips that a probe of the dashboard says, with somebody who listens to it.
pub fn rtt(url: &str) -> io::Result<()> {
    let url = parsed(url)?;
    let name: Arc<str> = url.to_string().into();
    let target = TargetId { endpoint: Arc::clone(&name), route: Route::Direct, url: name, cadence: None };
    let options = ProbeOptions { ping_interval: BEAT, ..ProbeOptions::default() };
    tokio::runtime::Runtime::new()?.block_on(async {
        let (to, mut from) = mpsc::channel(64);
        let probe = tokio::spawn(supervise(ProbeSource::new(&Arc::from("bench"), target, url, options), to));
        let mut times = Vec::new();
        while times.len() < BEATS as usize {
            let Some(stamped) = from.recv().await else { break };
            if let Event::Probe(probe) = stamped.event
                && let Step::Pong { rtt, .. } = probe.step
            {
                times.push(rtt);
            }
        }
        probe.abort();
        tell(&[("us", median(times))])
    })
}

/// The median in microseconds.
pub fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(f64::NAN, |t| t.as_secs_f64() * 1e6)
}
