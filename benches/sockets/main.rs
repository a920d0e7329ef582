//! Socket tables against the kernel's own dump and `ss`, each a ratio of interleaved rounds within one run:
//! `cargo bench --bench sockets [-- SOCKETS [ROUNDS]]`. One loopback connection is two sockets. Needs no root.
//!
//! Our figures and the bare dump are calls within this process; `ss` is a whole process, whose start takes 1 to 2 ms.

mod bare;
mod herd;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

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
        Some("serve") => herd::serve(),
        Some("call") => herd::call(number(1).unwrap_or(0), number(2).unwrap_or(0)),
        _ => compare(number(0).unwrap_or(20_000), number(1).unwrap_or(9)),
    }
}

fn compare(sockets: usize, rounds: usize) -> io::Result<()> {
    let herd = Herd::start(sockets / 2)?;
    let ports = BTreeSet::from([herd.port]);
    let ends = Interest { listen_ports: ports.clone(), upstream_ports: ports, ..Interest::default() };
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
    let ss = ss("-tin").is_ok();
    if !ss {
        say("ss is not installed: nothing to compare with")?;
    }
    for round in 0..rounds {
        figures.bare.push(timed(|| bare.dump().map(drop))?);
        figures.joined.push(timed(|| plain.look(&ends).map(drop))?);
        figures.bare_again.push(timed(|| bare.dump().map(drop))?);
        figures.steady.push(timed(|| owning.look(&owned).map(drop))?);
        figures.first.push(timed(|| snapshot(&owned, Mode::Netlink).map(drop))?);
        if ss {
            figures.ss.push(timed(|| ss_quiet("-tin"))?);
            if sockets <= PATIENT || round == 0 {
                figures.ss_pids.push(timed(|| ss_quiet("-tinp"))?);
            }
        }
    }
    figures.report()
}

fn ss_quiet(flags: &str) -> io::Result<()> {
    ss(flags)
}

fn ss(flags: &str) -> io::Result<()> {
    let mut command = Command::new("ss");
    let status = command.arg(flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("ss {flags}: {status}"))) }
}

/// Seconds of each round.
#[derive(Default)]
struct Figures {
    bare: Vec<f64>,
    bare_again: Vec<f64>,
    joined: Vec<f64>,
    steady: Vec<f64>,
    first: Vec<f64>,
    ss: Vec<f64>,
    ss_pids: Vec<f64>,
}

impl Figures {
    fn report(&self) -> io::Result<()> {
        let ms = |all: &[f64]| all.iter().map(|s| s * 1e3).collect::<Vec<_>>();
        for (what, figures) in [
            ("bare dump with tcp_info, ms", &self.bare),
            ("look: read, joined, ms", &self.joined),
            ("look with known owners, ms", &self.steady),
            ("first look with owners, ms", &self.first),
            ("ss -tin, ms", &self.ss),
            ("ss -tinp, ms", &self.ss_pids),
        ] {
            report(what, &ms(figures))?;
        }
        let ratios = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a / b).collect::<Vec<_>>();
        report("look / bare dump (target 1.15)", &ratios(&self.joined, &self.bare))?;
        report("look / ss -tin (target 0.25)", &ratios(&self.joined, &self.ss))?;
        report("known owners / bare dump (target 1.3)", &ratios(&self.steady, &self.bare_again))?;
        report("first with owners / ss -tinp (0.25)", &ratios(&self.first, &self.ss_pids))
    }
}

fn timed(work: impl FnOnce() -> io::Result<()>) -> io::Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

fn report(what: &str, figures: &[f64]) -> io::Result<()> {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else { return Ok(()) };
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    say(&format!("  {what:40} min {first:.3}  median {median:.3}  max {last:.3}"))
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
