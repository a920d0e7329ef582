//! What a process costs, as the kernel counts it, and figures passed from process to process as `name=value` words.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Figures that a process said.
#[derive(Clone, Debug, Default)]
pub struct Figures(BTreeMap<String, f64>);

impl Figures {
    pub fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(f64::NAN)
    }
}

/// Runs a role to its end.
pub fn figures(command: &mut Command) -> io::Result<Figures> {
    let out = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !out.status.success() {
        return Err(io::Error::other(format!("{command:?}: {}", out.status)));
    }
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let pairs = text.split_whitespace().filter_map(|word| word.split_once('='));
    Ok(Figures(pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()))
}

pub fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Says a role's figures.
pub fn tell(pairs: &[(&str, f64)]) -> io::Result<()> {
    let words: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    writeln!(io::stdout(), "{}", words.join(" "))
}

/// As many descriptors as the system allows.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Memory that is resident, in KiB.
pub fn resident_kib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(f64::NAN)
}

/// Microseconds that the threads of this process ran (proc(5), schedstat).
pub fn cpu_us() -> f64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let ran = threads.filter_map(|t| fs::read_to_string(t.path().join("schedstat")).ok());
    ran.filter_map(|text| text.split(' ').next()?.parse::<f64>().ok()).sum::<f64>() / 1_000.0
}
