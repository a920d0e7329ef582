//! One file on disk as it grows: its identity, its beginning, and how far it has been read.
//!
//! Neither the inode number nor the content alone says whether a file is still the same one: copytruncate keeps the
//! inode, and a file system gives a freed inode number to the next file. So both are compared: (device, inode) and the
//! first bytes as far as both are known.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::time::Instant;

use rustix::fs::SeekFrom;

use super::lines::{Line, Splitter, ends_a_line};

/// How many bytes of the beginning are compared.
const HEAD: usize = 256;

/// Device and inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

/// The first bytes of a file, as far as it had any.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    bytes: [u8; HEAD],
    len: usize,
}

impl Head {
    const NONE: Self = Self { bytes: [0; HEAD], len: 0 };

    pub(super) fn read(file: &File) -> io::Result<Self> {
        let mut head = Self::NONE;
        head.len = read_at(file, &mut head.bytes, 0)?;
        Ok(head)
    }

    /// Both may be the beginning of one file, of which one saw less than the other.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        let common = self.len.min(other.len);
        self.bytes[..common] == other.bytes[..common]
    }
}

/// Where a file was left, so that it can be taken up again when the path leads to it once more.
#[derive(Debug)]
pub(super) struct Bookmark {
    pub(super) identity: Identity,
    head: Head,
    offset: u64,
}

/// What one step of reading brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Everything up to the end, or to the given limit, has been read.
    Drained,
    /// There is more to read.
    More,
}

/// An open file and the position in it.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) identity: Identity,
    file: File,
    head: Head,
    offset: u64,
    size: u64,
    existed_until: u64,
    splitter: Splitter,
    /// When bytes were last read from it.
    pub(super) grown_at: Instant,
    /// When the path began to lead elsewhere.
    pub(super) left_at: Option<Instant>,
}

impl Generation {
    /// Follows `file` from its first byte.
    pub(super) fn from_start(file: File, meta: &Metadata, now: Instant) -> Self {
        Self {
            identity: Identity::of(meta),
            file,
            head: Head::NONE,
            offset: 0,
            size: meta.len(),
            existed_until: 0,
            splitter: Splitter::default(),
            grown_at: now,
            left_at: None,
        }
    }

    /// Follows `file` from the first line that begins in its last `bytes`; what is there now counts as having existed.
    pub(super) fn from_last(file: File, meta: &Metadata, bytes: u64, now: Instant) -> io::Result<Self> {
        let from = meta.len().saturating_sub(bytes);
        Self::from_offset(file, meta, from, now)
    }

    /// The same from the first line that begins at `from` or behind it.
    pub(super) fn from_offset(file: File, meta: &Metadata, from: u64, now: Instant) -> io::Result<Self> {
        let mut this = Self::from_start(file, meta, now);
        this.existed_until = this.size;
        let from = from.min(this.size);
        if from > 0 {
            let mut before = [0];
            let got = read_at(&this.file, &mut before, from - 1)?;
            if !ends_a_line(&before[..got]) {
                this.splitter = Splitter::mid_line();
            }
            this.offset = from;
        }
        Ok(this)
    }

    /// Follows `file` from where it was left, if it is the file that was left.
    pub(super) fn from_bookmark(
        file: &File,
        meta: &Metadata,
        mark: &Bookmark,
        now: Instant,
    ) -> io::Result<Option<Self>> {
        let same = mark.identity == Identity::of(meta) && Head::read(file)?.agrees_with(&mark.head);
        if !same {
            return Ok(None);
        }
        let mut this = Self::from_start(file.try_clone()?, meta, now);
        (this.head, this.offset) = (mark.head, mark.offset);
        Ok(Some(this))
    }

    /// Ends this generation: what is held becomes a line.
    pub(super) fn close(mut self, sink: &mut dyn FnMut(Line<'_>)) -> Bookmark {
        self.splitter.finish(self.offset <= self.existed_until, sink);
        Bookmark { identity: self.identity, head: self.head, offset: self.offset }
    }

    /// Asks the kernel for the size.
    pub(super) fn measure(&mut self) -> io::Result<u64> {
        self.size = self.file.metadata()?.len();
        Ok(self.size)
    }

    /// Bytes that are in the file and not yet read, by the last measurement.
    pub(super) fn behind(&self) -> u64 {
        self.size.saturating_sub(self.offset)
    }

    /// Some of it has been read.
    pub(super) fn has_begun(&self) -> bool {
        self.offset > 0
    }

    /// Not all of what stood there at the start has been read.
    pub(super) fn has_existing_left(&self) -> bool {
        self.offset < self.existed_until
    }

    /// Goes on through another descriptor of the same file.
    pub(super) fn exchange(&mut self, file: File) {
        self.file = file;
    }

    /// Reads at most one block, not past `limit`, and passes on the lines that it ends.
    pub(super) fn step(
        &mut self,
        limit: u64,
        block: &mut [u8],
        now: Instant,
        sink: &mut dyn FnMut(Line<'_>),
    ) -> io::Result<Step> {
        let end = self.measure()?.min(limit);
        let want = usize::try_from(end.saturating_sub(self.offset)).unwrap_or(usize::MAX).min(block.len());
        let got = read_at(&self.file, &mut block[..want], self.offset)?;
        // The beginning is compared after the read: what was read is then known to be of the file that was meant.
        let head = Head::read(&self.file)?;
        if self.size < self.offset || !head.agrees_with(&self.head) {
            self.begin_again(sink);
            return Ok(Step::More);
        }
        self.head = head;
        self.take(&block[..got], sink);
        if got > 0 {
            self.grown_at = now;
        }
        if got == block.len() && self.splitter.is_between_lines() && !ends_a_line(&block[..got]) {
            self.leap_over_hole();
        }
        Ok(if got < want || self.offset >= end { Step::Drained } else { Step::More })
    }

    fn take(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Line<'_>)) {
        let existed = usize::try_from(self.existed_until.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        self.splitter.feed(bytes, existed, sink);
        self.offset += bytes.len() as u64;
    }

    /// The same inode with other content: it was truncated, and perhaps has grown past the old position already.
    fn begin_again(&mut self, sink: &mut dyn FnMut(Line<'_>)) {
        self.splitter.finish(self.offset <= self.existed_until, sink);
        self.head = Head::NONE;
        self.offset = 0;
        self.existed_until = 0;
    }

    /// A hole may be far larger than the disk: the file system says where data goes on (lseek(2), SEEK_DATA).
    fn leap_over_hole(&mut self) {
        if let Ok(data) = rustix::fs::seek(&self.file, SeekFrom::Data(self.offset)) {
            self.offset = self.offset.max(data.min(self.size));
        }
    }
}

/// Reads until `into` is full or the file ends.
fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}
