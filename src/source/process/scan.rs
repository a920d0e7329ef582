//! One look through /proc: which nginx processes there are and what may be known of each.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::binary::{About, Binaries};
use super::listens;
use super::title::{Role, Title, may_be_nginx, parse};
use crate::event::process::{Master, Processes, Worker};
use crate::time::Timestamp;

/// USER_HZ: the unit of times in /proc/PID/stat on every architecture that Linux runs nginx on.
const TICKS: u64 = 100;
/// A process that was no nginx may have become one by exec, as in a container's start script: looked at again every so
/// many scans.
const RECHECK: u64 = 8;
/// nginx sets its title once it has read its configuration; until then a master looks like a single process.
const STARTING_TICKS: u64 = TICKS;
/// `f_type` of procfs (linux/magic.h, PROC_SUPER_MAGIC).
const PROC_MAGIC: i128 = 0x9fa0;

/// What one scan found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) processes: Processes,
    /// Workers whose master is gone.
    pub(super) orphans: u64,
}

/// Looks through one /proc again and again, and reads only what may have changed.
#[derive(Debug)]
pub(super) struct Scanner {
    proc: PathBuf,
    no_exec: bool,
    pid: Option<u32>,
    is_procfs: bool,
    /// Seconds since the epoch at which the machine started.
    boot: Option<u64>,
    scans: u64,
    /// Processes known not to be nginx.
    others: HashSet<u32>,
    /// What does not change in a master's life, by pid and start.
    masters: HashMap<(u32, u64), (Title, Master)>,
    binaries: Binaries,
}

/// A process of nginx.
struct Process {
    pid: u32,
    parent: u32,
    /// In ticks since the machine started.
    started: u64,
    title: Title,
}

impl Scanner {
    pub(super) fn new(proc: PathBuf, no_exec: bool, pid: Option<u32>) -> Self {
        let is_procfs = rustix::fs::statfs(&proc).is_ok_and(|s| i128::from(s.f_type) == PROC_MAGIC);
        // Kept, because the kernel computes it anew from the wall clock at every reading.
        let boot = fs::read_to_string(proc.join("stat")).ok().and_then(|t| field(&t, "btime ")?.parse().ok());
        let (others, masters) = (HashSet::new(), HashMap::new());
        Self { proc, no_exec, pid, is_procfs, boot, scans: 0, others, masters, binaries: Binaries::default() }
    }

    pub(super) fn scan(&mut self) -> io::Result<Found> {
        let pids = self.pids()?;
        if self.scans.is_multiple_of(RECHECK) {
            self.others.clear();
        }
        self.scans += 1;
        let mut all: Vec<Process> = Vec::new();
        for &pid in &pids {
            if self.others.contains(&pid) {
                continue;
            }
            match self.process(pid) {
                Some(process) => all.push(process),
                None => {
                    self.others.insert(pid);
                }
            }
        }
        let uptime = self.uptime();
        let nginx: HashMap<u32, Role> = all.iter().map(|p| (p.pid, p.title.role)).collect();
        let leads = |p: &&Process| match p.title.role {
            Role::Master => true,
            Role::Single => {
                !nginx.contains_key(&p.parent) && uptime.is_none_or(|now| p.started + STARTING_TICKS <= now)
            }
            Role::Worker { .. } | Role::Helper => false,
        };
        let processes = Processes { hidden: !pids.contains(&1), wanted: self.pid, ..Processes::default() };
        let mut found = Found { processes, ..Found::default() };
        let local_ports = self.local_ports();
        for process in all.iter().filter(leads) {
            let mut master = self.master(process);
            master.local_ports = local_ports.filter(|_| !master.other_net);
            master.reserved_ports = master.local_ports.and_then(|range| self.reserved_ports(range));
            master.workers = self.workers(process, &all);
            found.processes.masters.push(master);
        }
        if let Some(pid) = self.pid {
            found.processes.masters.retain(|m| m.pid == pid || m.workers.iter().any(|w| w.pid == pid));
        }
        if let [_, _, ..] = found.processes.masters.as_slice() {
            for master in &mut found.processes.masters {
                master.listens = listens::of(&self.proc, master.pid);
            }
        }
        let is_orphan = |p: &&Process| matches!(p.title.role, Role::Worker { .. }) && !nginx.contains_key(&p.parent);
        found.orphans = u64::try_from(all.iter().filter(is_orphan).count()).unwrap_or(u64::MAX);
        self.masters.retain(|(pid, started), _| all.iter().any(|p| p.pid == *pid && p.started == *started));
        Ok(found)
    }

    fn pids(&self) -> io::Result<Vec<u32>> {
        let entries = fs::read_dir(&self.proc)?;
        let mut pids: Vec<u32> = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect();
        pids.sort_unstable();
        Ok(pids)
    }

    fn path(&self, pid: u32, name: &str) -> PathBuf {
        self.proc.join(pid.to_string()).join(name)
    }

    /// The process, if it is one of nginx.
    fn process(&self, pid: u32) -> Option<Process> {
        let comm = fs::read_to_string(self.path(pid, "comm")).ok()?;
        if !may_be_nginx(comm.trim_end_matches('\n')) {
            return None;
        }
        let title = parse(&fs::read(self.path(pid, "cmdline")).ok()?)?;
        let (parent, started) = stat(&fs::read_to_string(self.path(pid, "stat")).ok()?)?;
        Some(Process { pid, parent, started, title })
    }

    fn uptime(&self) -> Option<u64> {
        let text = fs::read_to_string(self.proc.join("uptime")).ok()?;
        let (seconds, hundredths) = text.split_whitespace().next()?.split_once('.')?;
        seconds.parse::<u64>().ok()?.checked_mul(TICKS)?.checked_add(hundredths.parse().ok()?)
    }

    /// Read at every scan: it may be changed at any time.
    fn local_ports(&self) -> Option<(u16, u16)> {
        let text = fs::read_to_string(self.proc.join("sys/net/ipv4/ip_local_port_range")).ok()?;
        let mut words = text.split_whitespace();
        let (first, last) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (first <= last).then_some((first, last))
    }

    /// How many ports of `range` are never given to a connection: a list of ports and of ranges (kernel's
    /// Documentation/networking/ip-sysctl.rst).
    fn reserved_ports(&self, range: (u16, u16)) -> Option<u16> {
        let text = fs::read_to_string(self.proc.join("sys/net/ipv4/ip_local_reserved_ports")).ok()?;
        let ports = text.trim().split(',').filter(|p| !p.is_empty()).filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
            let (first, last) = (first.max(range.0), last.min(range.1));
            Some(if first <= last { u32::from(last - first) + 1 } else { 0 })
        });
        u16::try_from(ports.sum::<u32>()).ok()
    }

    fn started(&self, ticks: u64) -> Option<Timestamp> {
        let micros = self.boot?.checked_mul(1_000_000)?.checked_add(ticks.checked_mul(1_000_000 / TICKS)?)?;
        i64::try_from(micros).ok().map(Timestamp::from_micros)
    }

    fn workers(&self, master: &Process, all: &[Process]) -> Vec<Worker> {
        let of_master = all.iter().filter(|p| p.parent == master.pid);
        let worker = |p: &Process| match p.title.role {
            Role::Worker { shutting_down } => Some(self.worker(p, shutting_down)),
            _ => None,
        };
        let mut workers: Vec<Worker> = of_master.filter_map(worker).collect();
        // Without a master it serves itself.
        if master.title.role == Role::Single {
            workers.push(self.worker(master, false));
        }
        workers
    }

    fn worker(&self, p: &Process, shutting_down: bool) -> Worker {
        let read = |name: &str| fs::read_to_string(self.path(p.pid, name)).ok();
        Worker {
            pid: p.pid,
            started: self.started(p.started),
            shutting_down,
            fds: self.descriptors(p.pid),
            fd_limit: read("limits").and_then(|t| field(&t, "Max open files")?.split_whitespace().next()?.parse().ok()),
            rss: read("status").and_then(|t| {
                let kib: u64 = field(&t, "VmRSS:")?.split_whitespace().next()?.parse().ok()?;
                kib.checked_mul(1024)
            }),
        }
    }

    /// Linux tells the number of open descriptors as the size of the directory since 6.2, even of processes whose
    /// descriptors may not be listed.
    fn descriptors(&self, pid: u32) -> Option<u64> {
        let directory = self.path(pid, "fd");
        if self.is_procfs
            && let Some(size) = fs::metadata(&directory).ok().map(|m| m.size()).filter(|s| *s > 0)
        {
            return Some(size);
        }
        u64::try_from(fs::read_dir(directory).ok()?.count()).ok()
    }

    /// What is known of a master, from the first scan that saw it with this title.
    fn master(&mut self, p: &Process) -> Master {
        if let Some((title, known)) = self.masters.get(&(p.pid, p.started))
            && *title == p.title
        {
            return known.clone();
        }
        let master = self.look_at(p);
        self.masters.insert((p.pid, p.started), (p.title.clone(), master.clone()));
        master
    }

    fn look_at(&mut self, p: &Process) -> Master {
        let other = |name: &str| self.differs(p.pid, name);
        let root = match other("ns/mnt") {
            Some(true) => true,
            Some(false) => self.changed_root(p.pid),
            // Not ours to ask; but a process that has a number in another pid namespace too lives in a container.
            None => self.in_container(p.pid),
        };
        let other_net = other("ns/net").unwrap_or(false);
        let exe = link(&self.path(p.pid, "exe"));
        let replaced = exe.as_ref().is_some_and(|e| e.ends_with(" (deleted)"));
        let binary = exe.map(|e| e.strip_suffix(" (deleted)").map(str::to_owned).unwrap_or(e));
        let about = self.about(p, binary.as_deref(), root || replaced);
        let root = root.then(|| self.path(p.pid, "root").to_string_lossy().into_owned());
        let mut master = Master {
            pid: p.pid,
            started: self.started(p.started),
            binary,
            version: about.version,
            build: about.build,
            root,
            other_net,
            ..Master::default()
        };
        let cwd = link(&self.path(p.pid, "cwd"));
        place(&mut master, &p.title, cwd.as_deref());
        master
    }

    /// Asks the binary. What belongs to a container, is no longer the file under its name or may be changed by others is
    /// read and never run.
    fn about(&mut self, p: &Process, binary: Option<&str>, foreign: bool) -> About {
        if self.no_exec {
            return About::default();
        }
        // Anyone may call a process nginx and give it nginx's title: only a file of that name is run. Where /proc/PID/exe
        // may not be read, the title still tells the path in most cases.
        let named = |path: &&str| Path::new(path).file_name().and_then(|n| n.to_str()).is_some_and(may_be_nginx);
        let path = binary.or(p.title.program.as_deref()).filter(named).filter(|p| p.starts_with('/') && !foreign);
        let asked = path.map(|p| self.binaries.ask(Path::new(p))).unwrap_or_default();
        if asked == About::default() {
            let running = self.path(p.pid, "exe");
            return self.binaries.inspect(&running);
        }
        asked
    }

    /// Whether a namespace is another one than ours; `None` when it may not be asked.
    fn differs(&self, pid: u32, name: &str) -> Option<bool> {
        let (theirs, ours) = (link(&self.path(pid, name))?, link(&self.proc.join("self").join(name))?);
        Some(theirs != ours)
    }

    fn changed_root(&self, pid: u32) -> bool {
        link(&self.path(pid, "root")).is_some_and(|r| r != "/")
    }

    fn in_container(&self, pid: u32) -> bool {
        let status = fs::read_to_string(self.path(pid, "status")).unwrap_or_default();
        field(&status, "NSpid:").is_some_and(|pids| pids.split_whitespace().count() > 1)
    }
}

/// Works the options out against the prefix in force (core/nginx.c, `ngx_process_options`).
fn place(master: &mut Master, title: &Title, cwd: Option<&str>) {
    let build = master.build.as_ref();
    master.prefix = match &title.prefix {
        Some(p) if p.starts_with('/') => Some(p.clone()),
        // Relative to where nginx was started, and it stays there.
        Some(p) => cwd.map(|c| joined(c, p)),
        None => build.map(|b| b.prefix.clone()),
    };
    let absolute = |path: &str| match &master.prefix {
        _ if path.starts_with('/') => Some(path.to_owned()),
        Some(prefix) => Some(joined(prefix, path)),
        None => None,
    };
    let conf = title.conf.as_deref().or(build.map(|b| b.conf_path.as_str())).and_then(absolute);
    let log = title.error_log.as_deref().or(build.map(|b| b.error_log_path.as_str()));
    let log = log.and_then(|l| if l == "stderr" { Some(l.to_owned()) } else { absolute(l) });
    master.conf = conf;
    master.error_log = log;
}

fn joined(base: &str, path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    if path == "." { base.to_owned() } else { Path::new(base).join(path).to_string_lossy().into_owned() }
}

fn link(path: &Path) -> Option<String> {
    fs::read_link(path).ok()?.into_os_string().into_string().ok()
}

/// The rest of the first line that starts so.
fn field<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.lines().find_map(|l| l.strip_prefix(start)).map(str::trim)
}

/// Parent and start time of /proc/PID/stat (proc(5), fields 4 and 22). The name in parentheses may hold anything.
fn stat(text: &str) -> Option<(u32, u64)> {
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some((parent, started))
}

#[cfg(test)]
mod tests;
