//! Logs named by a pattern: which files match it now, looked at again and again, because logs come and go.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::event::{Sense, SourceId, SourceKind};
use crate::human;
use crate::source::rotated::log_of;
use crate::source::{Outlet, Source};

/// Between two looks.
const PACE: Duration = Duration::from_secs(2);
/// Files of one pattern that are followed.
const MOST: usize = 256;
/// For so long a file that went away still counts: in a rotation a log is missing until nginx opens it again.
const GONE: Duration = Duration::from_secs(600);

/// A file that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The file.
    pub path: PathBuf,
    /// It appeared after the first look: all that it holds was written since the program looks.
    pub late: bool,
}

/// The files of each pattern.
pub type Matches = BTreeMap<PathBuf, Vec<Match>>;

/// Whether `path` is meant as a pattern.
#[must_use]
pub fn is_pattern(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().iter().any(|b| matches!(b, b'*' | b'?' | b'['))
}

/// The files that match `pattern` now and can be followed: rotated and packed parts of a log belong to that log. A file
/// that is called like the pattern itself matches too.
#[must_use]
pub fn matching(pattern: &Path) -> Vec<PathBuf> {
    let literal = Some(pattern.to_path_buf()).filter(|p| p.is_file());
    let found = pattern.to_str().and_then(|text| glob::glob(text).ok());
    let mut all: Vec<PathBuf> = found
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .chain(literal)
        .filter(|p| !p.is_dir() && is_live(p))
        .collect();
    all.sort();
    all.dedup();
    all
}

fn is_live(path: &Path) -> bool {
    log_of(path) == path && !path.extension().is_some_and(|e| ["gz", "zst", "bz2", "xz"].iter().any(|p| e == *p))
}

/// Looks which files match a pattern.
#[derive(Debug)]
pub struct PatternSource {
    id: SourceId,
    pattern: PathBuf,
    matches: watch::Sender<Matches>,
    known: BTreeMap<PathBuf, Known>,
    looked: bool,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    late: bool,
    seen: Instant,
}

impl PatternSource {
    /// A source for the logs of `kind` that match `pattern`; which they are is told through `matches`, under the pattern.
    #[must_use]
    pub fn new(host: &Arc<str>, kind: SourceKind, pattern: &Path, matches: watch::Sender<Matches>) -> Self {
        let id = super::id(host, kind, pattern);
        Self { id, pattern: pattern.to_path_buf(), matches, known: BTreeMap::new(), looked: false }
    }

    /// Takes in what matches at `now`; gives the light.
    fn take(&mut self, found: Vec<PathBuf>, now: Instant) -> Sense {
        let count = found.len();
        for path in found {
            let late = self.looked;
            if let Some(known) = self.known.get_mut(&path) {
                known.seen = now;
            } else if self.known.len() < MOST {
                self.known.insert(path, Known { late, seen: now });
            }
        }
        self.known.retain(|_, known| now.saturating_duration_since(known.seen) < GONE);
        self.looked = true;
        let files: Vec<Match> =
            self.known.iter().map(|(path, known)| Match { path: path.clone(), late: known.late }).collect();
        let sense = self.sense(count, files.len());
        self.matches.send_if_modified(|all| {
            let changed = all.get(&self.pattern) != Some(&files);
            all.insert(self.pattern.clone(), files);
            changed
        });
        sense
    }

    fn sense(&self, found: usize, followed: usize) -> Sense {
        let pattern = &self.id.name;
        if found > followed {
            Sense::degraded(
                format!("{pattern}: {found} files match, {followed} of them are followed"),
                "give a narrower pattern",
            )
        } else if followed == 0 {
            Sense::blind(format!("{pattern}: no file matches yet"), "wspulse waits for one")
        } else {
            Sense::seen(format!("{pattern}: {}", human::counted(followed as u64, "file", "files")))
        }
    }
}

impl Source for PatternSource {
    fn id(&self) -> SourceId {
        self.id.clone()
    }

    async fn run(&mut self, out: &Outlet) -> io::Result<()> {
        let mut told = None;
        loop {
            let pattern = self.pattern.clone();
            // A directory may lie on a server that does not answer.
            let found = tokio::task::spawn_blocking(move || matching(&pattern)).await.map_err(io::Error::other)?;
            let sense = self.take(found, Instant::now());
            if told.as_ref() != Some(&sense) {
                out.sense(sense.clone()).await?;
                told = Some(sense);
            }
            tokio::select! {
                () = tokio::time::sleep(PACE) => {}
                () = out.closed() => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Sight;

    fn source() -> (PatternSource, watch::Receiver<Matches>) {
        let (tell, told) = watch::channel(Matches::new());
        (PatternSource::new(&Arc::from("h"), SourceKind::ErrorLog, Path::new("/l/*.log"), tell), told)
    }

    fn named(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn logs_match_and_what_was_rotated_away_does_not() {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["a.error.log", "b.error.log", "a.error.log.1", "a.error.log.2.gz", "b.error.log-20261120", "old.gz"]
        {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::create_dir(dir.path().join("folder.log")).unwrap();
        let names = |pattern: &str| {
            let found = matching(&dir.path().join(pattern));
            found.iter().map(|p| p.file_name().unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names("*"), ["a.error.log", "b.error.log"]);
        assert_eq!(names("a*log*"), ["a.error.log"]);
        assert!(names("none*").is_empty());
        std::fs::write(dir.path().join("odd[1].log"), "").unwrap();
        assert_eq!(names("odd[1].log"), ["odd[1].log"], "a file may be called like a pattern");
    }

    #[test]
    fn a_log_that_is_missing_for_a_moment_stays_and_one_that_comes_later_is_known_as_such() {
        let (mut source, told) = source();
        let t0 = Instant::now();
        assert_eq!(source.take(Vec::new(), t0).sight, Sight::Blind);
        assert_eq!(source.take(named(&["/l/a.log"]), t0).said, "/l/*.log: 1 file");
        let files = |told: &watch::Receiver<Matches>| told.borrow()[Path::new("/l/*.log")].clone();
        assert_eq!(files(&told), [Match { path: "/l/a.log".into(), late: true }]);
        source.take(Vec::new(), t0 + Duration::from_secs(30));
        assert_eq!(files(&told).len(), 1, "it is being rotated");
        source.take(Vec::new(), t0 + GONE);
        assert!(files(&told).is_empty());
    }

    #[test]
    fn more_files_than_can_be_followed_are_said() {
        let (mut source, told) = source();
        let many: Vec<PathBuf> = (0..300).map(|n| PathBuf::from(format!("/l/{n:03}.log"))).collect();
        let sense = source.take(many, Instant::now());
        assert_eq!(
            (sense.sight, sense.said.as_str()),
            (Sight::Degraded, "/l/*.log: 300 files match, 256 of them are followed")
        );
        assert_eq!(told.borrow()[Path::new("/l/*.log")].len(), MOST);
    }
}
