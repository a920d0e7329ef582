//! What an nginx binary says of itself: its release and the paths it was built with.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use crate::event::process::BuildDefaults;
use crate::event::site::Version;
use crate::nginx::version::{parse_build, parse_version};

/// `nginx -V` answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// More output than this is not nginx's.
const MAX_OUTPUT: u64 = 64 * 1024;
/// nginx binaries have 1 to 20 MB.
const MAX_BINARY: u64 = 64 << 20;

/// A release and its paths, as far as known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    pub(super) version: Option<Version>,
    pub(super) build: Option<BuildDefaults>,
}

impl About {
    fn parse(text: &[u8]) -> Self {
        Self { version: parse_version(text), build: parse_build(text) }
    }
}

/// Answers by path and time of change.
#[derive(Debug, Default)]
pub(super) struct Binaries {
    known: HashMap<(PathBuf, Option<SystemTime>), About>,
}

impl Binaries {
    /// Runs `PATH -V`, when the file can be trusted: it belongs to root or to us and nobody else may change it.
    pub(super) fn ask(&mut self, path: &Path) -> About {
        let Ok(meta) = fs::metadata(path) else { return About::default() };
        self.once(path, meta.modified().ok(), |path| {
            if !(path.is_absolute() && may_run(&meta)) {
                return None;
            }
            run(path)
        })
    }

    /// Looks for the same text in the file's bytes: for a binary that must not be run here, such as a container's.
    pub(super) fn inspect(&mut self, path: &Path) -> About {
        let changed = fs::metadata(path).ok().and_then(|m| m.modified().ok());
        self.once(path, changed, |path| {
            let mut bytes = Vec::new();
            File::open(path).ok()?.take(MAX_BINARY).read_to_end(&mut bytes).ok()?;
            Some(bytes)
        })
    }

    fn once(&mut self, path: &Path, at: Option<SystemTime>, text: impl FnOnce(&Path) -> Option<Vec<u8>>) -> About {
        let about = self.known.entry((path.to_owned(), at));
        about.or_insert_with(|| text(path).map(|t| About::parse(&t)).unwrap_or_default()).clone()
    }
}

/// The owner is root or us, and only the owner's group may write besides.
pub(in crate::source) fn may_run(meta: &fs::Metadata) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    meta.is_file() && (meta.uid() == 0 || meta.uid() == ours) && meta.mode() & 0o002 == 0
}

fn run(path: &Path) -> Option<Vec<u8>> {
    let mut command = Command::new(path);
    command.arg("-V");
    run_bounded(command, PATIENCE).map(|(_, text)| text)
}

/// Runs a program without environment and gives its exit code and what it prints to standard error, where nginx says
/// everything. One that does not end in time is killed, and gives nothing.
pub(in crate::source) fn run_bounded(mut command: Command, patience: Duration) -> Option<(Option<i32>, Vec<u8>)> {
    command.env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let pipe = child.stderr.take()?;
    let (done, answer) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        if pipe.take(MAX_OUTPUT).read_to_end(&mut text).is_ok() {
            // Nobody waits any more when the time is over.
            let _ = done.send(text);
        }
    });
    let text = answer.recv_timeout(patience).ok();
    if text.is_none() {
        // Too late: nothing more is wanted of it.
        let _ = child.kill();
    }
    let code = ended(&mut child, patience);
    text.map(|t| (code, t))
}

/// A program that has closed its output ends at once; one that does not is ended.
fn ended(child: &mut Child, patience: Duration) -> Option<i32> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(Some(status)) => return status.code(),
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(_) => break,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(dir: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        path
    }

    const SAYS: &str = "#!/bin/sh\necho 'nginx version: nginx/1.22.1\nconfigure arguments: --prefix=/p' >&2\n";

    /// A file just written may still be open for writing in a child that another test forked: running it fails then.
    fn ask(path: &Path) -> About {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            let about = Binaries::default().ask(path);
            if about.version.is_some() || std::time::Instant::now() > deadline {
                return about;
            }
        }
    }

    #[test]
    fn a_trusted_binary_is_asked_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = script(dir.path(), "nginx", SAYS, 0o755);
        let about = ask(&path);
        assert_eq!(about.version, Some(Version { major: 1, minor: 22, patch: 1 }));
        assert_eq!(about.build.expect("a line").prefix, "/p");

        let mut binaries = Binaries::default();
        let at = fs::metadata(&path).expect("there").modified().ok();
        binaries.known.insert((path.clone(), at), About::default());
        assert_eq!(binaries.ask(&path), About::default(), "the kept answer is given");
    }

    #[test]
    fn a_binary_that_others_can_change_is_not_run() {
        let dir = tempfile::tempdir().expect("a directory");
        let ran = dir.path().join("ran");
        let text = format!("#!/bin/sh\ntouch {}\n", ran.display());
        let path = script(dir.path(), "nginx", &text, 0o757);
        assert_eq!(Binaries::default().ask(&path), About::default());
        assert_eq!(Binaries::default().ask(Path::new("nginx")), About::default());
        assert!(!ran.exists());
    }

    #[test]
    fn a_binary_that_may_not_be_run_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = script(
            dir.path(),
            "nginx",
            "\x7fELF\0nginx version: nginx/1.27.3\n\0configure arguments: --prefix=/q\n\0",
            0o644,
        );
        let about = Binaries::default().inspect(&path);
        assert_eq!(about.version, Some(Version { major: 1, minor: 27, patch: 3 }));
        assert_eq!(about.build.expect("a line").prefix, "/q");
    }
}
