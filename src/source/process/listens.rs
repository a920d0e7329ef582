//! The addresses that a process listens on: its descriptors held against the kernel's table of listening sockets.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::source::sockets::listening;

/// The listening sockets among the descriptors of `pid`, sorted; none where they may not be read. `proc` is /proc. The
/// table is that of the process's own network namespace.
pub(super) fn of(proc: &Path, pid: u32) -> Vec<SocketAddr> {
    let process = proc.join(pid.to_string());
    let Ok(entries) = fs::read_dir(process.join("fd")) else { return Vec::new() };
    let inode = |entry: fs::DirEntry| {
        let link = fs::read_link(entry.path()).ok()?;
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    let held: HashSet<u64> = entries.filter_map(|e| inode(e.ok()?)).collect();
    let tables = ["net/tcp", "net/tcp6"].into_iter().filter_map(|t| fs::read(process.join(t)).ok());
    let mut out: Vec<SocketAddr> =
        tables.flat_map(|t| listening(&t)).filter(|(_, inode)| held.contains(inode)).map(|(at, _)| at).collect();
    out.sort_unstable();
    out.dedup();
    out
}
