//! Finds which nginx process holds a socket, by the links in /proc/PID/fd; looks only when a socket of unknown owner came up.
//!
//! Each descriptor costs a `readlink(2)`, so only the given processes are searched, a search ends when all is found, and
//! searches that take long are made less often. That needs the right to look at the process (ptrace(2), "access mode
//! checking"): the same user, or root, or `CAP_SYS_PTRACE` with `CAP_DAC_READ_SEARCH`.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, RawDir, open, readlinkat_raw};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

/// Bytes of the directory listing read at once: some 1,300 descriptors.
const LISTING: usize = 32 * 1024;
/// `socket:[4294967295]` fits; longer targets are cut and are no sockets.
const LONGEST_TARGET: usize = 64;
/// A search may take one part in this many of the time that passes: 2.5 %.
const SHARE: u32 = 40;

/// The searcher.
#[derive(Debug)]
pub(super) struct Owners {
    proc: PathBuf,
    denied: bool,
    next: Option<Instant>,
    /// Who bore each pid when it was first searched.
    known: HashMap<u32, Identity>,
}

/// Inode to pid, of those asked for.
pub(super) type Held = HashMap<u32, u32, foldhash::fast::RandomState>;
type Inodes = HashSet<u32, foldhash::fast::RandomState>;

/// Who bears a pid: the name and the start in ticks since the machine started (proc_pid_stat(5), fields 2 and 22).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    name: String,
    started: u64,
}

impl Owners {
    /// A searcher; `proc` is /proc.
    pub(super) fn new(proc: impl Into<PathBuf>) -> Self {
        Self { proc: proc.into(), denied: false, next: None, known: HashMap::new() }
    }

    /// A process refused in the last search to show its descriptors.
    pub(super) const fn denied(&self) -> bool {
        self.denied
    }

    /// Searches the descriptors of `pids` for the sockets `inodes`. `None`: the last search took so long that this one has to
    /// wait; ask again at the next look.
    pub(super) fn search(&mut self, pids: &BTreeSet<u32>, inodes: &[u32], now: Instant) -> Option<Held> {
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        let begun = Instant::now();
        let mut missing: Inodes = inodes.iter().copied().collect();
        let mut held = Held::default();
        self.denied = false;
        self.known.retain(|pid, _| pids.contains(pid));
        for &pid in pids {
            if missing.is_empty() {
                break;
            }
            // A process that is gone holds nothing; other failures are no reason to stop either.
            let outcome = self.search_one(pid, &mut missing, &mut held);
            self.denied |= outcome.is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied);
        }
        self.next = now.checked_add(begun.elapsed().saturating_mul(SHARE).min(Duration::from_secs(60)));
        Some(held)
    }

    /// Moves what `pid` holds from `missing` to `held`: all or, when another process took the pid over meanwhile, nothing.
    fn search_one(&mut self, pid: u32, missing: &mut Inodes, held: &mut Held) -> io::Result<()> {
        let process = self.proc.join(pid.to_string());
        let before = identity(&process)?;
        let known = self.known.entry(pid).or_insert_with(|| before.clone());
        if known.name != before.name {
            // The worker that this pid stood for is gone: the next list of workers will say so.
            return Ok(());
        }
        known.started = before.started;
        let mut found = Vec::new();
        let outcome = each_socket(&process.join("fd"), |inode| {
            if missing.remove(&inode) {
                found.push(inode);
            }
            !missing.is_empty()
        });
        if identity(&process).is_ok_and(|after| after == before) {
            held.extend(found.into_iter().map(|inode| (inode, pid)));
        } else {
            missing.extend(found);
        }
        outcome
    }
}

fn identity(process: &Path) -> io::Result<Identity> {
    let text = std::fs::read_to_string(process.join("stat"))?;
    parse_stat(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// The name in parentheses may hold anything, other parentheses too.
fn parse_stat(text: &str) -> Option<Identity> {
    let (head, rest) = text.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    Some(Identity { name: name.to_owned(), started: rest.split_whitespace().nth(19)?.parse().ok()? })
}

/// What helps where descriptors are not shown: the right that this program lacks.
pub(super) fn remedy() -> String {
    let may = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    remedy_for(may.contains(CapabilitySet::SYS_PTRACE), may.contains(CapabilitySet::DAC_READ_SEARCH))
}

fn remedy_for(may_trace: bool, may_read: bool) -> String {
    let lacking = match (may_trace, may_read) {
        (false, false) => "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH",
        (false, true) => "CAP_SYS_PTRACE",
        (true, false) => "CAP_DAC_READ_SEARCH",
        (true, true) => {
            return "this user namespace or a security module (AppArmor, SELinux, Yama) forbids it: run outside of it"
                .into();
        }
    };
    format!("run as root or as the workers' user, or grant {lacking}")
}

/// Calls `go_on` with the inode of every socket among these descriptors, until it says no. Links are read relative to the
/// opened directory: walking `/proc/PID/fd` anew for each costs more than the reading.
fn each_socket(fds: &Path, mut go_on: impl FnMut(u32) -> bool) -> io::Result<()> {
    let folder = open(fds, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut listing = Vec::with_capacity(LISTING);
    let mut names = RawDir::new(&folder, listing.spare_capacity_mut());
    let mut target = [0; LONGEST_TARGET];
    while let Some(name) = names.next() {
        match readlinkat_raw(&folder, name?.file_name(), &mut target) {
            Ok(length) => {
                if target.get(..length).and_then(socket_inode).is_some_and(|inode| !go_on(inode)) {
                    break;
                }
            }
            // `.` and `..`, and what was closed between the listing and the look.
            Err(Errno::INVAL | Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// The number in `socket:[123]`.
fn socket_inode(target: &[u8]) -> Option<u32> {
    let number = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    fn bears(proc: &Path, pid: u32, name: &str, started: u64) {
        let zeros = "0 ".repeat(17);
        let text = format!("{pid} ({name}) S 1 {zeros}{started} 0 0\n");
        fs::write(proc.join(pid.to_string()).join("stat"), text).expect("written");
    }

    fn proc_with(processes: &[(u32, &[&str])]) -> tempfile::TempDir {
        let proc = tempfile::tempdir().expect("directory");
        for (pid, links) in processes {
            let fds = proc.path().join(pid.to_string()).join("fd");
            fs::create_dir_all(&fds).expect("created");
            bears(proc.path(), *pid, "nginx", 500);
            for (n, link) in links.iter().enumerate() {
                symlink(link, fds.join(n.to_string())).expect("linked");
            }
        }
        proc
    }

    #[test]
    fn only_the_given_processes_are_searched() {
        let proc = proc_with(&[
            (10, &["/dev/null", "socket:[100]", "anon_inode:[eventpoll]", "socket:[]", "socket:[-1]"]),
            (11, &["socket:[101]", "pipe:[103]"]),
            (12, &["socket:[102]"]),
        ]);
        let mut owners = Owners::new(proc.path());
        let found = owners.search(&[10, 11, 99].into(), &[100, 101, 102, 103], Instant::now()).expect("searched");
        let mut held: Vec<_> = found.into_iter().collect();
        held.sort_unstable();
        assert_eq!(held, [(100, 10), (101, 11)], "a stranger's socket and a pipe are nobody's; pid 99 is gone");
        assert!(!owners.denied());
    }

    #[test]
    fn the_next_search_waits_in_proportion_to_the_last() {
        let proc = proc_with(&[(10, &["socket:[100]"])]);
        let (mut owners, start) = (Owners::new(proc.path()), Instant::now());
        assert!(owners.search(&[10].into(), &[100], start).is_some());
        assert_eq!(owners.search(&[10].into(), &[100], start), None, "no time has passed");
        assert!(owners.search(&[10].into(), &[100], start + Duration::from_secs(61)).is_some());
    }

    #[test]
    fn our_own_socket_is_found_in_the_real_proc() {
        let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
        let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).expect("link");
        let inode = socket_inode(link.as_os_str().as_bytes()).expect("a socket");
        let me = std::process::id();
        let found = Owners::new("/proc").search(&[me].into(), &[inode], Instant::now()).expect("searched");
        assert_eq!(found.get(&inode), Some(&me));
    }
    #[test]
    fn who_takes_a_pid_over_under_another_name_is_not_taken_for_the_worker() {
        let proc = proc_with(&[(10, &["socket:[100]", "socket:[101]"])]);
        let (mut owners, start) = (Owners::new(proc.path()), Instant::now());
        let later = |minutes| start + Duration::from_secs(61) * minutes;
        let held = |o: &mut Owners, at| o.search(&[10].into(), &[100], at).expect("searched").len();
        assert_eq!(held(&mut owners, start), 1);
        bears(proc.path(), 10, "nginx", 900);
        assert_eq!(held(&mut owners, later(1)), 1, "a later worker");
        bears(proc.path(), 10, "backup (1)", 950);
        assert_eq!(held(&mut owners, later(2)), 0, "no worker");
        owners.search(&[11].into(), &[100], later(3)).expect("searched");
        assert_eq!(held(&mut owners, later(4)), 1, "asked for anew under its new name");
    }

    #[test]
    fn a_name_may_hold_anything() {
        let text = format!("7 (a) S (b) ) S 1 {}77 0", "0 ".repeat(17));
        assert_eq!(parse_stat(&text), Some(Identity { name: "a) S (b) ".into(), started: 77 }));
        assert_eq!(parse_stat("7 (a) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn the_remedy_names_the_right_that_is_lacking() {
        assert!(remedy_for(false, false).ends_with("CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"));
        assert!(remedy_for(false, true).ends_with("grant CAP_SYS_PTRACE"));
        assert!(remedy_for(true, false).ends_with("grant CAP_DAC_READ_SEARCH"));
        assert!(!remedy_for(true, true).contains("root"));
    }
}
