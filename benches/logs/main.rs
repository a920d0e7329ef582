//! History against ripgrep and goaccess, each a ratio within one run: `cargo bench --bench logs [-- MEGABYTES [ROUNDS]]`.
//!
//! Every figure is a whole process from start to end, ours included, and the tools take turns, so that the machine's noise
//! hits all alike. The processor time of all rounds together says more where other programs want the cores too. At the end
//! a log is followed while it is written (see `follow`). The logs are written to the temporary folder and deleted afterwards.

mod follow;
mod generator;

use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wspulse::event::site::Escape;
use wspulse::nginx::access::Format;
use wspulse::source::history::{Request, read};

/// What someone would search for who has no wspulse.
const PATTERNS: [&str; 25] = [
    "connect() failed",
    "upstream timed out",
    "recv() failed",
    "send() failed",
    "writev() failed",
    "upstream prematurely closed connection",
    "client prematurely closed connection",
    "no live upstreams",
    "client closed connection",
    "upstream server temporarily disabled",
    "client timed out",
    "No such file or directory",
    "limiting connections",
    "limiting requests",
    "No route to host",
    "SSL_do_handshake() failed",
    "client sent invalid",
    "upstream sent invalid header",
    "upstream sent too big header",
    "could not be resolved",
    "access forbidden by rule",
    "directory index of",
    "worker_connections are not enough",
    "Too many open files",
    "shutting down",
];

/// Lines a second, and for how many seconds, of the log that is followed.
const FOLLOWED: (u64, u64) = (100_000, 3);

/// Seconds of each round, and processor time of all.
#[derive(Default)]
struct Rounds {
    wall: Vec<f64>,
    cpu: Duration,
}

fn main() -> io::Result<()> {
    let mut words = std::env::args().skip(1).filter(|w| w != "--bench");
    match words.next().as_deref() {
        // This program runs itself so that its own figures are those of a process too.
        Some("fold") => fold(&words.collect::<Vec<_>>()),
        Some("write") => follow::write(&words.collect::<Vec<_>>()),
        Some("follow") => {
            let mut figure = |default| words.next().and_then(|w| w.parse().ok()).unwrap_or(default);
            let (rate, seconds) = (figure(FOLLOWED.0), figure(10));
            in_folder(|folder| follow::compare_in(folder, rate, seconds))
        }
        Some("make") => make(&words.collect::<Vec<_>>()),
        first => {
            let megabytes = first.and_then(|w| w.parse().ok()).unwrap_or(200);
            let rounds = words.next().and_then(|w| w.parse().ok()).unwrap_or(7);
            in_folder(|folder| compare_in(folder, megabytes * 1_000_000, rounds))
        }
    }
}

/// `make MEGABYTES FILE`: only writes the error log of the comparison, for a profiler.
fn make(words: &[String]) -> io::Result<()> {
    let [megabytes, file] = words else { return Err(io::Error::other("make MEGABYTES FILE")) };
    let megabytes: u64 = megabytes.parse().map_err(io::Error::other)?;
    generator::error_log(File::create(file)?, megabytes * 1_000_000, 7).map(|_| ())
}

/// `fold THREADS FILE`: reads one log and says how much memory it took.
fn fold(words: &[String]) -> io::Result<()> {
    let [threads, file] = words else { return Err(io::Error::other("fold THREADS FILE")) };
    let timed = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \
        \"$http_user_agent\" \"$upstream_addr\" $request_time";
    let formats = vec![Format::combined(), Format::compile(timed, Escape::Default).map_err(io::Error::other)?];
    let threads = threads.parse().ok().and_then(NonZeroUsize::new);
    let request = Request { paths: vec![file.into()], formats, threads, ..Request::default() };
    let outcome = read(&request, &mut |_| ());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("?").trim().to_owned();
    writeln!(io::stdout(), "{} lines, peak {peak}", outcome.tally.lines)
}

fn in_folder(work: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let folder = std::env::temp_dir().join(format!("wspulse-bench-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let result = work(&folder);
    std::fs::remove_dir_all(&folder)?;
    result
}

fn compare_in(folder: &Path, bytes: u64, rounds: usize) -> io::Result<()> {
    let (errors, accesses, patterns) = (folder.join("error.log"), folder.join("access.log"), folder.join("patterns"));
    std::fs::write(&patterns, PATTERNS.join("\n"))?;
    let lines = generator::error_log(File::create(&errors)?, bytes, 7)?;
    say(&format!("error log: {} MB, {lines} lines, {} clients", bytes / 1_000_000, generator::CLIENTS))?;
    let own = |threads: &str, file: &Path| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["fold", threads]).arg(file);
        Ok::<_, io::Error>(command)
    };
    let mut rg = Command::new("rg");
    rg.args(["-j1", "-c", "-F", "-f"]).arg(&patterns).arg(&errors);
    versus(rounds, "rg -c -F, 25 patterns", rg, own("1", &errors)?, own("2", &errors)?)?;

    let lines = generator::access_log(File::create(&accesses)?, bytes / 2, 7, true)?;
    say(&format!("access log: {} MB, {lines} lines", bytes / 2_000_000))?;
    let mut goaccess = Command::new("goaccess");
    goaccess.arg(&accesses).args(["--log-format=COMBINED", "--no-progress", "-o"]).arg(folder.join("out.json"));
    versus(rounds.min(3), "goaccess", goaccess, own("1", &accesses)?, own("2", &accesses)?)?;
    follow::compare_in(folder, FOLLOWED.0, FOLLOWED.1)
}

/// Lets the other tool and ours take turns, and says the ratios.
fn versus(rounds: usize, name: &str, mut other: Command, mut one: Command, mut two: Command) -> io::Result<()> {
    let (mut others, mut ones, mut twos) = (Rounds::default(), Rounds::default(), Rounds::default());
    let installed = others.add(&mut other).is_ok();
    if !installed {
        say(&format!("{name}: not installed, nothing to compare with"))?;
    }
    ones.add(&mut one)?;
    (others, ones) = Default::default();
    for _ in 0..rounds {
        if installed {
            others.add(&mut other)?;
        }
        ones.add(&mut one)?;
        twos.add(&mut two)?;
    }
    report(name, &others.wall)?;
    report("wspulse, 1 thread", &ones.wall)?;
    report("wspulse, 2 threads", &twos.wall)?;
    for (what, own) in [("1 thread", &ones), ("2 threads", &twos)] {
        let ratios: Vec<f64> = own.wall.iter().zip(&others.wall).map(|(a, b)| a / b).collect();
        report(&format!("{what} / {name}"), &ratios)?;
        if installed {
            let ratio = own.cpu.as_secs_f64() / others.cpu.as_secs_f64();
            say(&format!("  {:40} {ratio:.3}", format!("{what} / {name}, processor time")))?;
        }
    }
    for command in [&mut one, &mut two] {
        let said = command.stdout(Stdio::piped()).output()?.stdout;
        say(&format!("  {}", String::from_utf8_lossy(&said).trim()))?;
    }
    Ok(())
}

impl Rounds {
    /// Runs a command once more.
    fn add(&mut self, command: &mut Command) -> io::Result<()> {
        let (start, before) = (Instant::now(), follow::cpu_of_children()?);
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if !status.success() {
            return Err(io::Error::other(format!("{command:?}: {status}")));
        }
        self.wall.push(start.elapsed().as_secs_f64());
        self.cpu += follow::cpu_of_children()?.saturating_sub(before);
        Ok(())
    }
}

fn report(what: &str, figures: &[f64]) -> io::Result<()> {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let [first, .., last] = sorted.as_slice() else { return Ok(()) };
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    say(&format!("  {what:40} min {first:.3}  median {median:.3}  max {last:.3}"))
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}
