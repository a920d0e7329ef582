//! The disk as the configuration reader sees it: bounded reads, glob(7), a container's own root, and what was looked at.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags};

use crate::event::site::{SourceText, Written};
use crate::human;
use crate::nginx::glob;
use crate::nginx::resolve::{NO_SUCH_FILE, Reader};
use crate::time::Timestamp;

/// A longer file is no configuration.
const MAX_FILE: u64 = 64 << 20;
/// All files of one reading together.
const MAX_TOTAL: u64 = 128 << 20;
/// Texts kept of all files together.
const MAX_KEPT: usize = 4 << 20;
/// Folders of a path that may belong to the root.
const MAX_UP: usize = 16;
/// Entries listed for the patterns of one reading.
const MAX_LISTED: usize = 100_000;

/// What tells one state of a file or directory from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    dev: u64,
    ino: u64,
    size: i64,
    mtime: (i64, u64),
}

impl Stamp {
    fn written(self) -> Option<Timestamp> {
        let micros = self.mtime.0.checked_mul(1_000_000)?.checked_add(i64::try_from(self.mtime.1 / 1_000).ok()?)?;
        Some(Timestamp::from_micros(micros))
    }
}

/// Everything that one reading looked at, so that a later look tells whether it would read the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    root: Option<String>,
    mapping: Option<Mapping>,
    stamps: BTreeMap<String, Option<Stamp>>,
}

impl Seen {
    /// Every file and folder that was looked at, and whether it was there.
    pub(super) fn paths(&self) -> impl Iterator<Item = (&str, bool)> {
        self.stamps.iter().map(|(path, stamp)| (path.as_str(), stamp.is_some()))
    }

    /// Whether any of it is different now, appeared or is gone.
    pub(super) fn changed(&self) -> bool {
        let Ok(place) = Place::new(self.root.as_deref()) else { return true };
        let place = Place { mapping: self.mapping.clone(), ..place };
        self.stamps.iter().any(|(path, then)| {
            let now = place.open(path, OFlags::PATH).ok().and_then(|fd| stamp(&fd).ok());
            now != *then
        })
    }
}

/// Paths that begin with `from` are to be found under `to` instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// A folder as nginx names it; empty for `/`.
    pub(super) from: String,
    /// A folder of ours.
    pub(super) to: String,
}

impl Mapping {
    /// Where `path` is to be found; `None` when the mapping says nothing of it.
    pub(super) fn place(&self, path: &str) -> Option<String> {
        let rest = path.strip_prefix(&self.from).filter(|r| r.is_empty() || r.starts_with('/'))?;
        Some(format!("{}{rest}", self.to))
    }

    /// What nginx calls the file at `path`; `None` when it lies elsewhere.
    pub(super) fn named(&self, path: &str) -> Option<String> {
        let rest = path.strip_prefix(&self.to).filter(|r| r.starts_with('/'))?;
        Some(format!("{}{rest}", self.from))
    }
}

/// Where paths are looked up: here, or under another root.
struct Place {
    root: Option<OwnedFd>,
    mapping: Option<Mapping>,
}

impl Place {
    fn new(root: Option<&str>) -> io::Result<Self> {
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = root.map(|r| rustix::fs::open(r, directory, Mode::empty())).transpose()?;
        Ok(Self { root, mapping: None })
    }

    /// What the file that was opened is called under the root when no link is followed any more.
    fn real_inside(&self, path: &str, fd: &OwnedFd, known: Stamp) -> Option<String> {
        self.root.as_ref()?;
        let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
            .ok()?
            .into_os_string()
            .into_string()
            .ok()?;
        // The kernel names it from our root, or from the container's where we cannot see the way to it.
        let mut tails = link.match_indices('/').map(|(at, _)| link.get(at..).unwrap_or_default()).take(MAX_UP);
        let is_it = |tail: &&str| {
            let same = |s: Stamp| (s.dev, s.ino) == (known.dev, known.ino);
            *tail == path || self.open(tail, OFlags::PATH).is_ok_and(|fd| stamp(&fd).is_ok_and(same))
        };
        tails.find(is_it).map(str::to_owned)
    }

    fn real<'p>(&self, path: &'p str) -> Cow<'p, str> {
        self.mapping.as_ref().and_then(|m| m.place(path)).map_or(Cow::Borrowed(path), Cow::Owned)
    }

    /// Under a root, links are followed as a process living there would follow them: an absolute link must neither miss
    /// its target nor lead out into our own files.
    fn open(&self, path: &str, how: OFlags) -> io::Result<OwnedFd> {
        let how = how | OFlags::CLOEXEC;
        let fd = match &self.root {
            None => rustix::fs::openat(CWD, &*self.real(path), how, Mode::empty())?,
            Some(root) => rustix::fs::openat2(root, path, how, Mode::empty(), ResolveFlags::IN_ROOT)?,
        };
        Ok(fd)
    }
}

fn stamp(fd: &OwnedFd) -> io::Result<Stamp> {
    let s = rustix::fs::fstat(fd)?;
    Ok(Stamp { dev: s.st_dev, ino: s.st_ino, size: s.st_size, mtime: (s.st_mtime, s.st_mtime_nsec) })
}

/// One reading.
pub(super) struct Disk {
    place: Place,
    left: u64,
    listed: usize,
    pub(super) seen: Seen,
    /// The file that was written last.
    pub(super) changed: Option<Written>,
    /// The files' texts, as far as they are kept.
    pub(super) texts: BTreeMap<String, SourceText>,
    texts_left: usize,
    /// Texts that are read instead of what stands in these files, by the path of the file itself.
    pub(super) instead: BTreeMap<String, String>,
    /// What is read is not nginx's own.
    pub(super) is_copy: bool,
}

impl Disk {
    /// A reading under `root`, or of our own file system.
    pub(super) fn new(root: Option<&str>) -> io::Result<Self> {
        let seen = Seen { root: root.map(str::to_owned), ..Seen::default() };
        let place = Place::new(root)?;
        let texts = BTreeMap::new();
        Ok(Self {
            place,
            left: MAX_TOTAL,
            listed: 0,
            seen,
            changed: None,
            texts,
            texts_left: MAX_KEPT,
            instead: BTreeMap::new(),
            is_copy: false,
        })
    }

    /// The same with the folders of a copy.
    pub(super) fn mapped(mapping: Mapping) -> io::Result<Self> {
        let mut disk = Self::new(None)?;
        disk.seen.mapping = Some(mapping.clone());
        disk.place.mapping = Some(mapping);
        disk.is_copy = true;
        Ok(disk)
    }

    /// The same disk, but what lies there is not nginx's own.
    pub(super) fn of_copy(mut self) -> Self {
        self.is_copy = true;
        self
    }

    /// What a regular file under another root is called there when no link is followed any more.
    pub(super) fn file_inside(&self, path: &str) -> Option<String> {
        let fd = self.place.open(path, OFlags::PATH).ok()?;
        let is_file = FileType::from_raw_mode(rustix::fs::fstat(&fd).ok()?.st_mode) == FileType::RegularFile;
        self.place.real_inside(path, &fd, stamp(&fd).ok()?).filter(|_| is_file)
    }

    fn read_file(&mut self, path: &str) -> io::Result<Vec<u8>> {
        self.seen.stamps.insert(path.to_owned(), None);
        // Not blocking: an include that names a pipe must not hold the program up.
        let fd = match self.place.open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
            Ok(fd) => fd,
            // A file that is only given, and nowhere to be found.
            Err(e) => return self.instead.get(path).map(|t| t.clone().into_bytes()).ok_or(e),
        };
        let stamp = stamp(&fd)?;
        self.seen.stamps.insert(path.to_owned(), Some(stamp));
        if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("not a regular file"));
        }
        let inside = self.place.real_inside(path, &fd, stamp);
        let bound = MAX_FILE.min(self.left);
        let mut text = Vec::new();
        let read = File::from(fd).take(bound + 1).read_to_end(&mut text)?;
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        if read > bound {
            let bound = human::scaled(bound);
            return Err(io::Error::other(format!("it is longer than {bound}B, more than is read of a configuration")));
        }
        self.left -= read;
        if let Some(at) = stamp.written()
            && self.changed.as_ref().is_none_or(|w| w.at < at)
        {
            self.changed = Some(Written { at, file: path.to_owned() });
        }
        let text = self.instead_of(path).unwrap_or(text);
        self.keep(path, &text, inside);
        Ok(text)
    }

    /// The text that is to be read in the place of this file's own.
    fn instead_of(&self, path: &str) -> Option<Vec<u8>> {
        if self.instead.is_empty() {
            return None;
        }
        let real = || self.instead.get(std::fs::canonicalize(path).ok()?.to_str()?);
        self.instead.get(path).or_else(real).map(|t| t.clone().into_bytes())
    }

    /// Keeps a text that a fix may be shown against. What is no UTF-8 could not be printed as it is.
    fn keep(&mut self, path: &str, text: &[u8], inside: Option<String>) {
        let Ok(text) = std::str::from_utf8(text) else { return };
        let Some(left) = self.texts_left.checked_sub(text.len()) else { return };
        self.texts_left = left;
        // patch(1) refuses to write through a link.
        let here = self.place.real(path);
        let real = if self.seen.root.is_some() { None } else { std::fs::canonicalize(&*here).ok() };
        let real = real.and_then(|r| r.into_os_string().into_string().ok()).or(inside).filter(|r| r != path);
        self.texts.insert(path.to_owned(), SourceText { text: text.to_owned(), real });
    }

    /// The names in a directory, sorted by bytes; none when there is no such directory.
    fn names(&mut self, directory: &str) -> io::Result<Vec<String>> {
        self.seen.stamps.insert(directory.to_owned(), None);
        let fd = match self.place.open(directory, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(fd) => fd,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(e) => return Err(e),
        };
        self.seen.stamps.insert(directory.to_owned(), Some(stamp(&fd)?));
        let mut names = Vec::new();
        for entry in Dir::read_from(&fd)? {
            self.listed += 1;
            if self.listed > MAX_LISTED {
                return Err(io::Error::other("too many files"));
            }
            // A name that is no UTF-8 could not be shown nor asked for again.
            if let Ok(name) = entry?.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn expand(&mut self, pattern: &str) -> io::Result<Vec<String>> {
        let mut found = vec![String::new()];
        for part in pattern.split('/').skip(1).filter(|p| !p.is_empty()) {
            let mut next = Vec::new();
            for base in found {
                if !glob::is_pattern(part) {
                    next.push(format!("{base}/{part}"));
                    continue;
                }
                let directory = if base.is_empty() { "/" } else { base.as_str() };
                let names = self.names(directory)?;
                next.extend(names.iter().filter(|n| glob::fits(part, n)).map(|n| format!("{base}/{n}")));
            }
            found = next;
        }
        // glob(3) gives only what exists; that matters when fixed parts follow the pattern, as in `*/site.conf`.
        let last_is_fixed = !glob::is_pattern(pattern.rsplit('/').next().unwrap_or(""));
        if last_is_fixed {
            found.retain(|path| self.place.open(path, OFlags::PATH).is_ok());
        }
        Ok(found)
    }
}

impl Reader for Disk {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        self.read_file(path).map_err(|e| reason(&e))
    }

    fn is_copy(&self) -> bool {
        self.is_copy
    }

    fn glob(&mut self, pattern: &str) -> Result<Vec<String>, String> {
        self.expand(pattern).map_err(|e| reason(&e))
    }
}

/// An error in few words, without the number that std appends.
pub(super) fn reason(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::NotFound => NO_SUCH_FILE.to_owned(),
        _ => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &std::path::Path) -> String {
        path.to_str().expect("UTF-8").to_owned()
    }

    #[test]
    fn a_pattern_lists_what_exists_in_order() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["b/site.conf", "a/site.conf", "c/other.conf", ".hidden/site.conf"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, "").expect("written");
        }
        let mut disk = Disk::new(None).expect("opens");
        let base = text(dir.path());
        let got = disk.glob(&format!("{base}/*/site.conf")).expect("lists");
        assert_eq!(got, [format!("{base}/a/site.conf"), format!("{base}/b/site.conf")]);
        assert_eq!(disk.glob(&format!("{base}/none/*.conf")).expect("lists"), [""; 0]);
        assert!(!disk.seen.changed());
        std::fs::create_dir(dir.path().join("d")).expect("made");
        assert!(disk.seen.changed());
    }

    #[test]
    fn a_containers_log_is_its_own_file_or_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("var/log")).expect("made");
        std::fs::write(root.join("var/log/real.log"), "").expect("written");
        std::os::unix::fs::symlink("/var/log/real.log", root.join("var/log/linked.log")).expect("linked");
        std::os::unix::fs::symlink("/dev/stderr", root.join("var/log/error.log")).expect("linked");
        let disk = Disk::new(Some(&text(&root))).expect("opens");
        assert_eq!(disk.file_inside("/var/log/real.log").as_deref(), Some("/var/log/real.log"));
        assert_eq!(disk.file_inside("/var/log/linked.log").as_deref(), Some("/var/log/real.log"));
        assert_eq!(disk.file_inside("/var/log/error.log"), None, "never our own standard error");
    }

    #[test]
    fn a_container_root_keeps_its_links_inside() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("etc/on")).expect("made");
        std::fs::write(root.join("etc/real.conf"), "inside").expect("written");
        std::os::unix::fs::symlink("/etc/real.conf", root.join("etc/on/a.conf")).expect("linked");
        std::os::unix::fs::symlink("/etc/passwd", root.join("etc/on/b.conf")).expect("linked");
        let mut disk = Disk::new(Some(&text(&root))).expect("opens");
        assert_eq!(disk.glob("/etc/on/*.conf").expect("lists"), ["/etc/on/a.conf", "/etc/on/b.conf"]);
        assert_eq!(disk.read("/etc/on/a.conf").expect("reads"), b"inside");
        assert_eq!(disk.read("/etc/on/b.conf"), Err("no such file".to_owned()));
    }

    #[test]
    fn only_regular_files_of_a_sane_size_are_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("runs");
        assert!(made.success());
        let mut disk = Disk::new(None).expect("opens");
        assert_eq!(disk.read(&text(&pipe)), Err("not a regular file".to_owned()));
        let long = dir.path().join("long");
        File::create(&long).expect("made").set_len(MAX_FILE + 1).expect("grown");
        assert!(disk.read(&text(&long)).expect_err("refused").contains("longer than"));
        disk.left = 3;
        std::fs::write(&long, "four").expect("written");
        assert!(disk.read(&text(&long)).expect_err("refused").contains("longer than 3B"));
    }
}
