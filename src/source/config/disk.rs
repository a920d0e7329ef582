//! The disk as the configuration reader sees it: bounded reads, glob(7), a container's own root, and what was looked at.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags};

use crate::event::site::{SourceText, Written};
use crate::nginx::resolve::Reader;
use crate::time::Timestamp;

/// A longer file is no configuration.
const MAX_FILE: u64 = 16 << 20;
/// All files of one reading together.
const MAX_TOTAL: u64 = 64 << 20;
/// Texts kept of all files together.
const MAX_KEPT: usize = 4 << 20;
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
    stamps: BTreeMap<String, Option<Stamp>>,
}

impl Seen {
    /// Whether any of it is different now, appeared or is gone.
    pub(super) fn changed(&self) -> bool {
        let Ok(place) = Place::new(self.root.as_deref()) else { return true };
        self.stamps.iter().any(|(path, then)| {
            let now = place.open(path, OFlags::PATH).ok().and_then(|fd| stamp(&fd).ok());
            now != *then
        })
    }
}

/// Where paths are looked up: here, or under another root.
struct Place {
    root: Option<OwnedFd>,
}

impl Place {
    fn new(root: Option<&str>) -> io::Result<Self> {
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = root.map(|r| rustix::fs::open(r, directory, Mode::empty())).transpose()?;
        Ok(Self { root })
    }

    /// Under a root, links are followed as a process living there would follow them: an absolute link must neither miss
    /// its target nor lead out into our own files.
    fn open(&self, path: &str, how: OFlags) -> io::Result<OwnedFd> {
        let how = how | OFlags::CLOEXEC;
        let fd = match &self.root {
            None => rustix::fs::openat(CWD, path, how, Mode::empty())?,
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
}

impl Disk {
    /// A reading under `root`, or of our own file system.
    pub(super) fn new(root: Option<&str>) -> io::Result<Self> {
        let seen = Seen { root: root.map(str::to_owned), stamps: BTreeMap::new() };
        let place = Place::new(root)?;
        let texts = BTreeMap::new();
        let instead = BTreeMap::new();
        Ok(Self { place, left: MAX_TOTAL, listed: 0, seen, changed: None, texts, texts_left: MAX_KEPT, instead })
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
        let bound = MAX_FILE.min(self.left);
        let mut text = Vec::new();
        let read = File::from(fd).take(bound + 1).read_to_end(&mut text)?;
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        if read > bound {
            return Err(io::Error::other(format!("longer than the {bound} bytes that are read at most")));
        }
        self.left -= read;
        if let Some(at) = stamp.written()
            && self.changed.as_ref().is_none_or(|w| w.at < at)
        {
            self.changed = Some(Written { at, file: path.to_owned() });
        }
        let text = self.instead_of(path).unwrap_or(text);
        self.keep(path, &text);
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
    fn keep(&mut self, path: &str, text: &[u8]) {
        let Ok(text) = std::str::from_utf8(text) else { return };
        let Some(left) = self.texts_left.checked_sub(text.len()) else { return };
        self.texts_left = left;
        // patch(1) refuses to write through a link.
        let real = if self.seen.root.is_some() { None } else { std::fs::canonicalize(path).ok() };
        let real = real.and_then(|r| r.into_os_string().into_string().ok()).filter(|r| r != path);
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
                if !part.contains(['*', '?', '[']) {
                    next.push(format!("{base}/{part}"));
                    continue;
                }
                let directory = if base.is_empty() { "/" } else { base.as_str() };
                let names = self.names(directory)?;
                let fits =
                    |n: &&String| (part.starts_with('.') || !n.starts_with('.')) && fits(part.as_bytes(), n.as_bytes());
                next.extend(names.iter().filter(fits).map(|n| format!("{base}/{n}")));
            }
            found = next;
        }
        // glob(3) gives only what exists; that matters when fixed parts follow the pattern, as in `*/site.conf`.
        let last_is_fixed = !pattern.rsplit('/').next().unwrap_or("").contains(['*', '?', '[']);
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

    fn glob(&mut self, pattern: &str) -> Result<Vec<String>, String> {
        self.expand(pattern).map_err(|e| reason(&e))
    }
}

/// An error in few words, without the number that std appends.
pub(super) fn reason(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::NotFound => "no such file".to_owned(),
        _ => e.to_string(),
    }
}

/// Whether a name fits one part of a glob(7) pattern: `*`, `?`, `[a-z]`, `[!a]` and a backslash before a literal.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (pattern, name);
    // Where to go on when a literal fails: behind the last star, one byte further.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        let step = match (p, n) {
            ([b'*', rest @ ..], _) => {
                retry = Some((rest, n));
                p = rest;
                continue;
            }
            ([], []) => return true,
            (_, [byte, n_rest @ ..]) => one(p, *byte).map(|p_rest| (p_rest, n_rest)),
            _ => None,
        };
        match (step, retry) {
            (Some((p_rest, n_rest)), _) => (p, n) = (p_rest, n_rest),
            (None, Some((p_rest, [_, n_rest @ ..]))) => {
                retry = Some((p_rest, n_rest));
                (p, n) = (p_rest, n_rest);
            }
            (None, _) => return false,
        }
    }
}

/// The pattern behind its first element, when that element fits the byte.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => set(rest, byte),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte).then_some(rest),
        [] => None,
    }
}

/// `a-z]rest` or `!a]rest`; a `]` that comes first is a member.
fn set(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, members) = match pattern {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    let end = members.iter().skip(1).position(|b| *b == b']')? + 1;
    let (mut list, rest) = (members.get(..end)?, members.get(end + 1..)?);
    let mut inside = false;
    while let [low, after @ ..] = list {
        if let [b'-', high, after @ ..] = after {
            inside |= (*low..=*high).contains(&byte);
            list = after;
        } else {
            inside |= *low == byte;
            list = after;
        }
    }
    (inside != negated).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_glob() {
        let cases = [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?.conf", "a.conf", true),
            ("?.conf", ".conf", false),
            ("[0-9]*", "10-x", true),
            ("[!0-9]*", "10-x", false),
            ("[]a]x", "]x", true),
            ("[a", "[a", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("é*", "él", true),
        ];
        for (pattern, name, want) in cases {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), want, "{pattern} and {name}");
        }
        // Exponential matchers do not come back from this.
        assert!(!fits("*a".repeat(200).as_bytes(), "a".repeat(199).as_bytes()));
    }

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
        assert!(disk.read(&text(&long)).expect_err("refused").contains("longer than the 3"));
    }
}
