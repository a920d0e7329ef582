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
}

/// Inode to pid, of those asked for.
pub(super) type Held = HashMap<u64, u32, foldhash::fast::RandomState>;

impl Owners {
    /// A searcher; `proc` is /proc.
    pub(super) fn new(proc: impl Into<PathBuf>) -> Self {
        Self { proc: proc.into(), denied: false, next: None }
    }

    /// A process refused in the last search to show its descriptors.
    pub(super) const fn denied(&self) -> bool {
        self.denied
    }

    /// Searches the descriptors of `pids` for the sockets `inodes`. `None`: the last search took so long that this one has to
    /// wait; ask again at the next look.
    pub(super) fn search(&mut self, pids: &BTreeSet<u32>, inodes: &[u64], now: Instant) -> Option<Held> {
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        let begun = Instant::now();
        let mut missing: HashSet<u64, foldhash::fast::RandomState> = inodes.iter().copied().collect();
        let mut held = Held::default();
        self.denied = false;
        for &pid in pids {
            if missing.is_empty() {
                break;
            }
            let outcome = each_socket(&self.proc.join(pid.to_string()).join("fd"), |inode| {
                if missing.remove(&inode) {
                    held.insert(inode, pid);
                }
                !missing.is_empty()
            });
            // A process that is gone holds nothing; other failures are no reason to stop either.
            self.denied |= outcome.is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied);
        }
        self.next = now.checked_add(begun.elapsed().saturating_mul(SHARE).min(Duration::from_secs(60)));
        Some(held)
    }
}

/// Calls `go_on` with the inode of every socket among these descriptors, until it says no. Links are read relative to the
/// opened directory: walking `/proc/PID/fd` anew for each costs more than the reading.
fn each_socket(fds: &Path, mut go_on: impl FnMut(u64) -> bool) -> io::Result<()> {
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
fn socket_inode(target: &[u8]) -> Option<u64> {
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

    fn proc_with(processes: &[(u32, &[&str])]) -> tempfile::TempDir {
        let proc = tempfile::tempdir().expect("directory");
        for (pid, links) in processes {
            let fds = proc.path().join(pid.to_string()).join("fd");
            fs::create_dir_all(&fds).expect("created");
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
}
