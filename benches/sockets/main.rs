//! Socket tables against the kernel's own dump and `ss`, each a ratio of interleaved rounds within one run:
//! `cargo bench --bench sockets [-- SOCKETS [ROUNDS]]`. One loopback connection is two sockets. Needs no root.
//!
//! Our figures and the bare dump are calls within this process; `ss` is a whole process, whose start takes 1 to 2 ms. Each
//! ratio is given twice: of the time on the wall, and of the time of the processor, which other programs disturb less.

mod bare;
mod herd;

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use rustix::time::{ClockId, clock_gettime};
use wspulse::event::site::Interest;
use wspulse::event::socket::SocketRow;
use wspulse::source::sockets::{Mode, Watcher, snapshot};

use self::bare::Bare;
use self::herd::Herd;

/// `ss -p` takes a time that grows with the square of the sockets: above this many it takes half a minute a turn.
const PATIENT: usize = 150_000;

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|w| w != "--bench").collect();
    let number = |at: usize| words.get(at).and_then(|w| w.parse().ok());
    match words.first().map(String::as_str) {
        // This program runs itself to hold both ends of the connections.
        Some("serve") => herd::serve(number(1).unwrap_or(0)),
        Some("call") => herd::call(number(1).unwrap_or(0), number(2).unwrap_or(0)),
        _ => compare(number(0).unwrap_or(20_000), number(1).unwrap_or(9)),
    }
}

fn compare(sockets: usize, rounds: usize) -> io::Result<()> {
    let herd = Herd::start(sockets / 2)?;
    let ends = Interest { listen_ports: herd.ports.clone(), upstream_ports: herd.ports.clone(), ..Interest::default() };
    let owned = Interest { pids: herd.pids(), ..ends.clone() };

    let mut bare = Bare::open()?;
    let before = resident();
    let (mut plain, mut owning) = (Watcher::new(Mode::Netlink), Watcher::new(Mode::Netlink));
    let seen = plain.look(&ends)?.0.rows.len();
    let after = resident();
    let named = owning.look(&owned)?.0.rows.iter().filter(|r| r.pid.is_some()).count();
    say(&format!("{seen} sockets watched, {named} with their process; the kernel dumps {}", bare.dump()?))?;
    say(&format!(
        "kept between looks: {} B a socket resident; a row is {} B",
        after.saturating_sub(before) / seen.max(1),
        size_of::<SocketRow>()
    ))?;

    let mut figures = Figures::default();
    let ss_works = ss("-tin").is_ok();
    if !ss_works {
        say("ss is not installed: nothing to compare with")?;
    }
    for round in 0..rounds {
        figures.bare.push(timed(|| bare.dump().map(drop))?);
        figures.joined.push(timed(|| plain.look(&ends).map(drop))?);
        figures.twice.push(timed(|| bare.dump_twice().map(drop))?);
        figures.bare_again.push(timed(|| bare.dump().map(drop))?);
        figures.steady.push(timed(|| owning.look(&owned).map(drop))?);
        figures.first.push(timed(|| snapshot(&owned, Mode::Netlink).map(drop))?);
        if ss_works {
            figures.ss.push(ss("-tin")?);
            if sockets <= PATIENT || round == 0 {
                figures.ss_pids.push(ss("-tinp")?);
            }
        }
    }
    figures.report()
}

/// Seconds on the wall and of the processor.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    work: f64,
}

/// Runs `ss` to its end; what it worked is read before its end is acknowledged.
fn ss(flags: &str) -> io::Result<Cost> {
    let start = Instant::now();
    let mut command = Command::new("ss");
    let mut child = command.arg(flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("no pid"))?;
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
    let wall = start.elapsed().as_secs_f64();
    let work = worked(&format!("/proc/{}/schedstat", child.id()))?;
    let status = child.wait()?;
    if status.success() { Ok(Cost { wall, work }) } else { Err(io::Error::other(format!("ss {flags}: {status}"))) }
}

/// Seconds that a process or thread has been on a processor (Documentation/scheduler/sched-stats.rst).
fn worked(schedstat: &str) -> io::Result<f64> {
    let text = std::fs::read_to_string(schedstat)?;
    let nanos = text.split_whitespace().next().and_then(|n| n.parse::<u64>().ok());
    nanos.map(|n| n as f64 / 1e9).ok_or_else(|| io::Error::other(format!("{schedstat}: {text}")))
}

/// The costs of each round.
#[derive(Default)]
struct Figures {
    bare: Vec<Cost>,
    bare_again: Vec<Cost>,
    twice: Vec<Cost>,
    joined: Vec<Cost>,
    steady: Vec<Cost>,
    first: Vec<Cost>,
    ss: Vec<Cost>,
    ss_pids: Vec<Cost>,
}

impl Figures {
    fn report(&self) -> io::Result<()> {
        let ratio = |what: &str, a: &[Cost], b: &[Cost]| {
            let of = |part: fn(&Cost) -> f64| a.iter().zip(b).map(|(a, b)| part(a) / part(b)).collect::<Vec<_>>();
            report(&format!("{what}, wall"), &of(|c| c.wall))?;
            report(&format!("{what}, processor"), &of(|c| c.work))
        };
        for (what, costs) in [
            ("bare dump with tcp_info", &self.bare),
            ("the same asked for as ss does", &self.twice),
            ("look: read and joined", &self.joined),
            ("look with known owners", &self.steady),
            ("first look with owners", &self.first),
            ("ss -tin", &self.ss),
            ("ss -tinp", &self.ss_pids),
        ] {
            report(&format!("{what}, ms of the processor"), &costs.iter().map(|c| c.work * 1e3).collect::<Vec<_>>())?;
        }
        ratio("look / bare dump (1.15)", &self.joined, &self.bare)?;
        ratio("look / bare dump as ss does", &self.joined, &self.twice)?;
        ratio("look / ss -tin (0.25)", &self.joined, &self.ss)?;
        ratio("known owners / bare dump (1.3)", &self.steady, &self.bare_again)?;
        ratio("first with owners / ss -tinp (0.25)", &self.first, &self.ss_pids)
    }
}

fn timed(call: impl FnOnce() -> io::Result<()>) -> io::Result<Cost> {
    let (start, before) = (Instant::now(), thread_time());
    call()?;
    Ok(Cost { wall: start.elapsed().as_secs_f64(), work: thread_time() - before })
}

fn thread_time() -> f64 {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

fn report(what: &str, figures: &[f64]) -> io::Result<()> {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else { return Ok(()) };
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    say(&format!("  {what:46} min {first:.3}  median {median:.3}  max {last:.3}"))
}

/// Bytes of memory in use.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}
