//! The cost of following an error log that grows fast: `cargo bench --bench logs -- follow [LINES_A_SECOND [SECONDS]]`, and
//! three seconds of it at the end of each comparison.
//!
//! A process of its own writes each line with a write of its own, as nginx does; this one follows the file into a channel
//! that is drained, and says what share of a core that took.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use wspulse::event::{Event, Stamped};
use wspulse::source::logs::{ErrorLogSource, History};
use wspulse::source::supervise;

use crate::{generator, say};

/// Different lines that are written again and again.
const DIFFERENT: u64 = 50_000_000;
/// Between two bursts of the writer.
const PACE: Duration = Duration::from_millis(1);
/// So long no line comes at the end of a run: some was lost, and waiting for it would never end.
const SILENCE: Duration = Duration::from_secs(10);

/// `write LINES_A_SECOND SECONDS FILE`: appends lines at that pace.
pub fn write(words: &[String]) -> io::Result<()> {
    let [rate, seconds, file] = words else { return Err(io::Error::other("write LINES_A_SECOND SECONDS FILE")) };
    let rate: u64 = rate.parse().map_err(io::Error::other)?;
    let lines = rate * seconds.parse::<u64>().map_err(io::Error::other)?;
    let mut text = Vec::new();
    generator::error_log(&mut text, DIFFERENT, 7)?;
    let mut different = text.split_inclusive(|b| *b == b'\n').cycle();
    let mut log = OpenOptions::new().append(true).open(file)?;
    let (start, mut written) = (Instant::now(), 0);
    while written < lines {
        let due = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX).saturating_mul(rate) / 1_000_000;
        for line in different.by_ref().take(usize::try_from(due.min(lines) - written).unwrap_or(0)) {
            log.write_all(line)?;
        }
        written = due.min(lines);
        thread::sleep(PACE);
    }
    Ok(())
}

/// Follows a log in `folder` while it is written, and says what that costs.
pub fn compare_in(folder: &Path, rate: u64, seconds: u64) -> io::Result<()> {
    let log = folder.join("follow.log");
    File::create(&log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (to, from) = mpsc::channel(64);
    let source = ErrorLogSource::new(&Arc::from("bench"), &log, History::NONE);
    let followed = runtime.block_on(async {
        let following = supervise(source, to);
        let mut writer = Command::new(std::env::current_exe()?);
        writer.args(["write", &rate.to_string(), &seconds.to_string()]).arg(&log).stdout(Stdio::null());
        let (mut writer, start, before) = (writer.spawn()?, Instant::now(), cpu()?);
        let met = drain(from, rate * seconds).await;
        let spent = (cpu()?.saturating_sub(before), start.elapsed());
        following.abort();
        Ok::<_, io::Error>((met, spent, writer.wait()?))
    });
    let ((lines, entries, most_behind), (cpu, wall), written) = followed?;
    // A busy machine writes fewer lines a second than were asked for: what counts is what a line costs.
    let (reached, each) = (lines as f64 / wall.as_secs_f64(), cpu.as_secs_f64() / lines as f64);
    say(&format!(
        "following: {lines} lines ({entries} entries), {reached:.0} a second, {:.1} % of a core, {:.2} us a line, which is \
         {:.1} % at {rate} a second, at most {:.1} MB behind",
        100.0 * cpu.as_secs_f64() / wall.as_secs_f64(),
        1e6 * each,
        100.0 * each * rate as f64,
        most_behind as f64 / 1e6,
    ))?;
    if lines == rate * seconds && written.success() { Ok(()) } else { Err(io::Error::other("lines were lost")) }
}

/// Takes events until so many lines have come.
async fn drain(mut from: mpsc::Receiver<Stamped>, wanted: u64) -> (u64, u64, u64) {
    let (mut lines, mut entries, mut most_behind) = (0, 0, 0);
    while lines < wanted {
        let Ok(Some(stamped)) = tokio::time::timeout(SILENCE, from.recv()).await else { break };
        if let Event::Errors(batch) = stamped.event {
            lines += batch.read.lines;
            entries += batch.entries.len() as u64;
            most_behind = most_behind.max(batch.read.behind);
        }
    }
    (lines, entries, most_behind)
}

/// What this process has used so far: utime and stime of proc_pid_stat(5).
fn cpu() -> io::Result<Duration> {
    ticks(11)
}

/// What the children have used that this process has waited for: cutime and cstime of proc_pid_stat(5).
pub fn cpu_of_children() -> io::Result<Duration> {
    ticks(13)
}

/// Two figures of proc_pid_stat(5) behind the name and so many others, in clock ticks of a hundredth of a second.
fn ticks(skipped: usize) -> io::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let behind_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 = behind_name.split(' ').skip(skipped).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}
