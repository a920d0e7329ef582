//! Files cut into what threads do: parts of plain files, and the rest whole.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::plan::{How, Planned};
use super::request::LogKind;
use crate::nginx::error::{TimeCache, skim};
use crate::time::Zone;

/// Bytes at the beginning of a part in which its first entry is looked for: nginx writes at most 2048 for one.
const LOOK: usize = 8 * 1024;

/// One thing that a thread does: a part of a file, or all of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) file: usize,
    /// Lines that begin in these bytes.
    pub(super) from: u64,
    pub(super) to: u64,
}

/// What there is to do for `files`, in their order, in parts of at most `part` bytes where nothing is against it.
pub(super) fn jobs(files: &[Planned], part: u64, zone: Zone) -> Vec<Job> {
    let mut all = Vec::new();
    for (file, planned) in files.iter().enumerate() {
        let size = planned.size.unwrap_or(0);
        match &planned.how {
            How::Refused(_) => {}
            How::Stream { .. } | How::Stdin => all.push(Job { file, from: 0, to: size }),
            How::Parts(open) => {
                let is_dated = matches!(planned.kind, LogKind::Error | LogKind::Mixed(_));
                let (mut from, mut to) = (0, 0);
                while to < size {
                    to += next_part(size - to, part);
                    if to == size || !is_dated || !is_in_doubt(open, to, zone) {
                        all.push(Job { file, from, to });
                        from = to;
                    }
                }
            }
        }
    }
    all
}

/// How many of the `rest` bytes of a file are the next part: fewer and fewer towards the end, so that no thread is left
/// with much to do when the others have nothing any more.
fn next_part(rest: u64, most: u64) -> u64 {
    (rest / 8).clamp(most.div_ceil(32), most).min(rest)
}

/// Whether only the lines before it tell when the first entry from `at` on was written: its clock showed that time twice,
/// in the night in which it was put back. A part does not begin there.
fn is_in_doubt(file: &File, at: u64, zone: Zone) -> bool {
    let mut block = [0; LOOK];
    let Ok(n) = read_at(file, &mut block, at.saturating_sub(1)) else { return false };
    // The line that began before belongs to the part before.
    let mut lines = block.get(..n).unwrap_or_default().split(|b| *b == b'\n').skip(1);
    let first = lines.find_map(skim::head);
    first.is_none_or(|head| TimeCache::in_zone(zone).is_repeated(head.time))
}

/// Reads at a place of a file.
pub(super) fn read_at(file: &File, block: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(block, at) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
