//! A path that should lead to a log: where it leads through symbolic links, and whether what is there can be followed.

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Links followed before a path counts as a loop; Linux itself gives up after 40 (path_resolution(7)).
const MOST_HOPS: usize = 40;

/// Why a path cannot be followed now. The display form is what failed, without the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Nothing is there.
    Missing,
    /// Something is there, or a directory on the way, that this user may not read.
    Denied,
    /// Something is there that is no regular file: its kind with an article.
    NotAFile(&'static str),
    /// The path leads to this program's own standard streams: `/dev/stdout` and its kin mean another file to every process.
    OwnStream,
    /// Any other failure, as the system names it.
    Failed(String),
}

impl Obstacle {
    /// What a person can do about it, in at most 70 characters.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Missing => "wspulse waits for it; nginx creates it at start or reload",
            Self::Denied => "run as root, or add yourself to the group that owns it (adm)",
            Self::NotAFile("a directory") => "name the log file inside it",
            Self::NotAFile("/dev/null") => "nginx throws this log away: let it write to a file",
            Self::NotAFile(_) => "only regular files can be followed: let nginx write to one",
            Self::OwnStream => "see docker logs, or let nginx write to a regular file as well",
            Self::Failed(_) => "wspulse tries again every second",
        }
    }

    /// The nearest kind of I/O error.
    #[must_use]
    pub const fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Missing => io::ErrorKind::NotFound,
            Self::Denied => io::ErrorKind::PermissionDenied,
            Self::NotAFile(_) | Self::OwnStream => io::ErrorKind::InvalidInput,
            Self::Failed(_) => io::ErrorKind::Other,
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no such file"),
            Self::Denied => f.write_str("permission denied"),
            Self::NotAFile(kind) => write!(f, "is {kind}, not a log file"),
            Self::OwnStream => f.write_str("is the standard stream of each process, not a log file"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl From<io::Error> for Obstacle {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            // A parent that is no directory (ENOTDIR) means that the file is not there.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Denied,
            _ => Self::Failed(e.to_string()),
        }
    }
}

/// Whether `path` leads to a pipe that others write to: a FIFO, or what a shell makes of `<(command)`, but none of this
/// program's own standard streams.
#[must_use]
pub fn is_pipe(path: &Path) -> bool {
    let is_standard = |hop: &PathBuf| {
        let named = |n: &str| hop.file_name().is_some_and(|f| f == n);
        is_own_stream(hop) && (!hop.starts_with("/proc") || ["0", "1", "2"].into_iter().any(named))
    };
    fs::metadata(path).is_ok_and(|meta| meta.file_type().is_fifo()) && !hops(path).iter().any(is_standard)
}

/// Opens a regular file for reading; never blocks on a FIFO and never opens a device.
///
/// # Errors
/// The obstacle: nothing is there, or nothing that can be followed.
pub fn open(path: &Path) -> Result<(File, Metadata), Obstacle> {
    if hops(path).iter().any(|hop| is_own_stream(hop)) {
        return Err(Obstacle::OwnStream);
    }
    refuse_special(path, &fs::metadata(path)?)?;
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)?;
    // Asked again of the descriptor: the path may lead elsewhere by now.
    let meta = file.metadata()?;
    refuse_special(path, &meta)?;
    Ok((file, meta))
}

fn refuse_special(path: &Path, meta: &Metadata) -> Result<(), Obstacle> {
    let kind = meta.file_type();
    if kind.is_file() {
        return Ok(());
    }
    let null = || fs::canonicalize(path).is_ok_and(|p| p == Path::new("/dev/null"));
    Err(Obstacle::NotAFile(if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_char_device() && null() {
        "/dev/null"
    } else {
        "a device"
    }))
}

/// The names that `path` leads through: itself and the target of each symbolic link, each in its real directory.
pub(super) fn hops(path: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut next = path.to_path_buf();
    while all.len() < MOST_HOPS {
        let Some(name) = next.file_name() else { break };
        let parent = next.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let Ok(directory) = fs::canonicalize(parent) else { break };
        let hop = directory.join(name);
        let target = fs::read_link(&hop);
        all.push(hop);
        match target {
            // An absolute target replaces the directory.
            Ok(target) => next = directory.join(target),
            Err(_) => break,
        }
    }
    all
}

fn is_own_stream(hop: &Path) -> bool {
    let own_descriptors = || {
        let in_proc = |p: &str| fs::canonicalize(p).is_ok_and(|d| Some(d.as_path()) == hop.parent());
        in_proc("/proc/self/fd") || in_proc("/proc/thread-self/fd")
    };
    [Path::new("/dev/stdin"), Path::new("/dev/stdout"), Path::new("/dev/stderr")].contains(&hop) || own_descriptors()
}

/// The name of the file system under `directory` when other machines may write to it: inotify sees only this machine.
pub(super) fn remote_kind(directory: &Path) -> Option<&'static str> {
    // linux/magic.h
    let magic = u64::try_from(rustix::fs::statfs(directory).ok()?.f_type).ok()?;
    Some(match magic {
        0x6969 => "NFS",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "SMB",
        0x6573_5546 => "FUSE",
        0x0102_1997 => "9P",
        0x00c3_6400 => "Ceph",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn refusal(path: &Path) -> Obstacle {
        open(path).map(|_| ()).expect_err("refused")
    }

    #[test]
    fn what_is_no_log_file_is_refused_by_its_name_and_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        symlink("/dev/null", at("null.log")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), 0o600.into()).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        std::fs::write(at("plain"), "").unwrap();
        let cases = [
            (dir.path().to_path_buf(), "is a directory, not a log file"),
            (PathBuf::from("/dev/null"), "is /dev/null, not a log file"),
            (at("null.log"), "is /dev/null, not a log file"),
            (PathBuf::from("/dev/zero"), "is a device, not a log file"),
            (at("fifo"), "is a pipe, not a log file"),
            (at("socket"), "is a socket, not a log file"),
            (at("missing"), "no such file"),
            (at("plain/below"), "no such file"),
        ];
        for (path, said) in cases {
            let obstacle = refusal(&path);
            assert_eq!(obstacle.to_string(), said, "{}", path.display());
            assert!(obstacle.remedy().len() <= 70 && !obstacle.remedy().is_empty());
        }
        assert!(open(&at("plain")).is_ok());
    }

    #[test]
    fn our_own_standard_streams_are_refused_even_when_they_are_files() {
        // The nginx image links its logs to /dev/stdout; opened here, that would be this program's own output.
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("real")).unwrap();
        let own = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        for (name, target) in [("a.log", "/dev/stdout"), ("b.log", "a.log"), ("c.log", own.as_str())] {
            symlink(target, dir.path().join(name)).unwrap();
            assert_eq!(refusal(&dir.path().join(name)), Obstacle::OwnStream, "{name} -> {target}");
        }
    }

    #[test]
    fn hops_name_every_link_and_a_loop_ends() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir(root.join("data")).unwrap();
        symlink("data", root.join("logs")).unwrap();
        symlink("../current", root.join("data/error.log")).unwrap();
        symlink("data/real.log", root.join("current")).unwrap();
        let expected = ["data/error.log", "current", "data/real.log"].map(|n| root.join(n));
        assert_eq!(hops(&root.join("logs/error.log")), expected);
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(hops(&root.join("loop")).len(), MOST_HOPS);
        assert!(matches!(refusal(&root.join("loop")), Obstacle::Failed(_)));
    }
}
