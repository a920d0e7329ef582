//! Plays the table, a few scenarios at a time, and counts.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::support::nginx::{installed, newest};
use super::super::support::tool;
use super::certs::Certs;
use super::judge::{Outcome, judge};
use super::row::{On, Row};
use super::rows::table;
use super::world::World;

/// Scenarios at a time: most of each is waiting.
const AT_A_TIME: usize = 6;
/// What the process inside namespaces plays, and with which nginx.
const APART: &str = "WSPULSE_TEST_APART";
/// Only scenarios whose name has these words.
const ONLY: &str = "WSPULSE_TEST_FAULT";

/// Every scenario with both.
const ALL: &str = "WSPULSE_TEST_ALL_NGINX";

/// How the backend is asked, other than as the scenarios say: `none`, `auto`, `deep` besides, or nothing at
/// all is asked: `unasked`.
const TWIN: &str = "WSPULSE_TEST_TWIN";

/// A scenario with the nginx that it is played with.
struct Job<'a> {
    row: &'a Row,
    binary: &'a Path,
    new: bool,
}

impl Job<'_> {
    fn name(&self) -> String {
        format!("{} [{}]", self.row.name, if self.new { "new" } else { "old" })
    }
}

pub fn play_all() {
    let rows: Vec<Row> = table().into_iter().map(otherwise).collect();
    let (Some(old), Some(new)) = (installed(), newest()) else { return };
    let jobs = jobs(&rows, &old, &new);
    let certs = Certs::make();
    let began = Instant::now();
    let results: Mutex<BTreeMap<usize, Outcome>> = Mutex::default();
    let next = AtomicUsize::new(0);
    thread::scope(|s| {
        for _ in 0..AT_A_TIME {
            s.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::SeqCst);
                    let Some(job) = jobs.get(i) else { return };
                    let outcome = play(job, &certs);
                    results.lock().expect("no panic").extend(outcome.map(|o| (i, o)));
                }
            });
        }
    });
    let results = results.into_inner().expect("no panic");
    let played: Vec<(&Job<'_>, &Outcome)> = results.iter().map(|(i, o)| (&jobs[*i], o)).collect();
    let line = |(job, o): &(&Job<'_>, &Outcome)| format!("  {}: {}\n      {}\n", job.name(), o.why.join("; "), o.seen);
    let told: String = played.iter().filter(|(_, o)| !o.passed()).map(line).collect();
    // Past the test harness, which keeps what a test that passes prints.
    let _ = writeln!(std::io::stderr(), "{told}{}", score(&played, began.elapsed()));
    assert!(told.is_empty(), "scenarios that came out otherwise:\n{told}");
}

fn score(played: &[(&Job<'_>, &Outcome)], took: Duration) -> String {
    let count = |test: &dyn Fn(&(&Job<'_>, &Outcome)) -> bool| played.iter().filter(|p| test(p)).count();
    let healthy = count(&|(j, _)| j.row.is_fine());
    let fixes = count(&|(_, o)| o.fix.is_some());
    let slowest = played.iter().filter(|(j, _)| j.row.is_fine() && j.row.flags.iter().all(|f| *f != "--hold"));
    let mut times: Vec<Duration> = slowest.map(|(_, o)| o.took).collect();
    times.sort();
    format!(
        "{} faults and {healthy} healthy hosts: first finding right {}/{}, verdict {}/{}, fixes proven {}/{fixes}, accused wrongly {}; \
         check of a healthy host {:.1} s (median) to {:.1} s; {:.0} s in all",
        played.len() - healthy,
        count(&|(_, o)| o.first),
        played.len(),
        count(&|(_, o)| o.verdict),
        played.len(),
        count(&|(_, o)| o.fix == Some(true)),
        played.iter().map(|(_, o)| o.accused.len()).sum::<usize>(),
        times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64(),
        times.last().copied().unwrap_or_default().as_secs_f64(),
        took.as_secs_f64()
    )
}

/// The scenario as it is asked about in this run.
fn otherwise(mut row: Row) -> Row {
    let Ok(how) = std::env::var(TWIN) else { return row };
    row.direct = row.direct.filter(|_| how != "none");
    match how.as_str() {
        "unasked" => row = row.unasked(),
        "auto" if row.direct.is_some() => row.direct = Some("auto"),
        "deep" => {
            let free = |flag: &&str| !row.flags.contains(flag);
            let more: Vec<&str> = ["--deep"].into_iter().filter(free).collect();
            row.flags.extend(more);
        }
        _ => {}
    }
    row
}

fn jobs<'a>(rows: &'a [Row], old: &'a Path, new: &'a Path) -> Vec<Job<'a>> {
    let only = std::env::var(ONLY).unwrap_or_default();
    let all = std::env::var_os(ALL).is_some();
    let mut jobs = Vec::new();
    for (i, row) in rows.iter().enumerate().filter(|(_, r)| r.name.contains(&only)) {
        let both = row.on == On::Both || (all && row.on == On::Any);
        if both || row.on == On::Old || (row.on == On::Any && i % 2 == 0) {
            jobs.push(Job { row, binary: old, new: false });
        }
        if both || row.on == On::New || (row.on == On::Any && i % 2 == 1) {
            jobs.push(Job { row, binary: new, new: true });
        }
    }
    jobs
}

/// `None` for what cannot be played here.
fn play(job: &Job<'_>, certs: &Certs) -> Option<Outcome> {
    if job.row.apart {
        return apart(job);
    }
    Some(play_here(job.row, job.binary, certs))
}

fn play_here(row: &Row, binary: &Path, certs: &Certs) -> Outcome {
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::of(row, binary, certs);
        (row.given)(&mut world);
        let mut outcome = judge(&world, row);
        if !outcome.passed() {
            let log = world.log();
            let tail: Vec<&str> = log.lines().rev().take(4).collect();
            outcome.seen = format!("{}\n      log: {}", outcome.seen, tail.join("\n           "));
        }
        outcome
    }));
    played.unwrap_or_else(|panic| {
        let said =
            panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Outcome { why: vec![format!("the scenario itself: {}", said.unwrap_or_default())], ..Outcome::default() }
    })
}

/// The same inside namespaces of network, mounts and processes, where this host's other programs cannot be seen.
fn apart(job: &Job<'_>) -> Option<Outcome> {
    let here = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
    let unshare = tool("unshare", &here(&["/usr/bin/unshare"]))?;
    tool("ip", &here(&["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"]))?;
    let mut command = Command::new(unshare);
    command
        .args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", "one_apart", "--ignored", "--nocapture", "--test-threads=1"])
        .env(APART, format!("{}\n{}", job.row.name, job.binary.display()))
        .stdin(Stdio::null());
    let out = command.output().expect("unshare runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let Some((_, said)) = text.split_once("OUTCOME ") else {
        let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(rustix::process::getuid().as_raw() != 0, "nothing came back: {text}{stderr}");
        let _ = writeln!(std::io::stderr(), "SKIPPED: {} needs namespaces: {}", job.name(), stderr.trim());
        return None;
    };
    let said: serde_json::Value = serde_json::from_str(said.lines().next().unwrap_or_default()).expect("an outcome");
    let list = |v: &serde_json::Value| -> Vec<String> { serde_json::from_value(v.clone()).expect("a list") };
    Some(Outcome {
        why: list(&said["why"]),
        accused: list(&said["accused"]),
        first: said["first"] == true,
        verdict: said["verdict"] == true,
        seen: said["seen"].as_str().unwrap_or_default().to_owned(),
        ..Outcome::default()
    })
}

/// Plays the one scenario that the environment names, and prints how it came out.
pub fn play_apart() {
    let Ok(wanted) = std::env::var(APART) else { return };
    let (name, binary) = wanted.split_once('\n').expect("a scenario and an nginx");
    for args in [
        "link set lo up",
        "addr add 10.9.0.1/32 dev lo",
        "route add 10.9.0.0/24 dev lo",
        "route add unreachable 10.8.0.0/24",
    ] {
        let done = Command::new("ip").args(args.split(' ')).status().expect("ip runs");
        assert!(done.success(), "ip {args}");
    }
    let rows = table();
    let row = rows.iter().find(|r| r.name == name).expect("a scenario");
    let o = play_here(row, Path::new(binary), &Certs::make());
    let said = serde_json::json!({ "why": o.why, "accused": o.accused, "first": o.first, "verdict": o.verdict, "seen": o.seen });
    let _ = writeln!(std::io::stdout(), "\nOUTCOME {said}");
}
