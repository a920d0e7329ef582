//! Network namespaces other than ours: the sockets of an nginx in a container.
//!
//! A netlink socket shows the namespace in which it was opened, whichever thread reads it later. So a thread of its own
//! enters the namespace, opens the socket and ends; this program's other threads stay where they are.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::frame::told;
use super::netlink::Diag;

/// The network namespace to look into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// The one that we run in.
    Ours,
    /// That of this process, when its number may be asked for.
    Of(u32, Option<u64>),
}

impl Space {
    /// The namespace of `pid` as it is now, or ours.
    pub(super) fn of(proc: &Path, pid: Option<u32>) -> Self {
        pid.map_or(Self::Ours, |pid| Self::Of(pid, std::fs::metadata(link(proc, pid)).ok().map(|m| m.ino())))
    }

    /// The folder with its socket tables: /proc/net, or /proc/PID/net.
    pub(super) fn tables(&self, proc: &Path) -> PathBuf {
        match self {
            Self::Ours => proc.join("net"),
            Self::Of(pid, _) => proc.join(pid.to_string()).join("net"),
        }
    }

    /// What is said of it behind how it is read: nothing of ours.
    pub(super) fn said(&self) -> String {
        match self {
            Self::Ours => String::new(),
            Self::Of(pid, _) => {
                format!(", in the network namespace of process {pid} (its files are below /proc/{pid}/root)")
            }
        }
    }
}

fn link(proc: &Path, pid: u32) -> PathBuf {
    proc.join(pid.to_string()).join("ns/net")
}

/// Opens a netlink socket that shows `space`.
///
/// # Errors
/// When the namespace may not be entered: that takes `CAP_SYS_ADMIN` (setns(2)), and `CAP_SYS_PTRACE` for the link.
pub(super) fn open(proc: &Path, space: &Space) -> io::Result<Diag> {
    let Space::Of(pid, _) = space else { return Diag::open() };
    let entering = format!("entering the network namespace of process {pid}");
    let namespace = File::open(link(proc, *pid)).map_err(|e| told(&entering, e))?;
    let enter = move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|e| told(&entering, e))?;
        Diag::open()
    };
    let thread = std::thread::Builder::new().name("namespace".into()).spawn(enter)?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that entered a network namespace panicked")))
}

/// What helps when [`open`] fails for a namespace that is not ours.
pub(super) const REMEDY: &str = "run as root, or grant CAP_SYS_ADMIN and CAP_SYS_PTRACE: then netlink is read there";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_gone_is_an_error_with_its_number() {
        let proc = tempfile::tempdir().expect("a folder");
        let space = Space::of(proc.path(), Some(77));
        assert_eq!(space, Space::Of(77, None));
        let e = open(proc.path(), &space).expect_err("no such process");
        assert!(e.to_string().starts_with("entering the network namespace of process 77: "), "{e}");
        assert_eq!(e.kind(), io::ErrorKind::NotFound);
        assert_eq!(space.tables(Path::new("/proc")), Path::new("/proc/77/net"));
    }

    #[test]
    fn our_own_namespace_is_not_entered() {
        assert_eq!(Space::of(Path::new("/proc"), None), Space::Ours);
        assert_eq!(Space::Ours.tables(Path::new("/proc")), Path::new("/proc/net"));
        assert_eq!(Space::Ours.said(), "");
        assert!(matches!(Space::of(Path::new("/proc"), Some(std::process::id())), Space::Of(_, Some(_))));
    }
}
