//! When to look at a file again: a nudge from inotify where there is one, and a steady poll behind it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::path::{hops, remote_kind};

/// Between two looks while inotify works: it loses events when its queue overflows.
const STEADY: Duration = Duration::from_secs(1);
/// Between two looks without inotify.
const POLLED: Duration = Duration::from_millis(250);
/// At least so long between two looks at a file that grows all the time: a batch is cheaper than single lines.
const BREATH: Duration = Duration::from_millis(25);

/// After so many looks in a row that all brought something a file counts as busy: a fifth of a second.
const BUSY: u32 = 8;
/// After so many that brought nothing it does not any more: a second.
const QUIET: u32 = 40;

/// How a change is noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watching {
    /// inotify, with a poll each second.
    Events,
    /// A poll four times a second, because other machines may write to this kind of file system.
    Remote(&'static str),
    /// A poll four times a second, because inotify failed.
    PollOnly {
        /// Why.
        why: String,
        /// What would help, in at most 70 characters.
        remedy: &'static str,
    },
}

/// Wakes a waiting follower, or tells it to end. Clones share the state.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    flags: Mutex<Flags>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Flags {
    nudged: bool,
    stopped: bool,
}

impl Wake {
    /// Look now.
    pub fn nudge(&self) {
        // Who was nudged already needs no second call: a log may be written to a hundred thousand times a second.
        if !std::mem::replace(&mut self.flags().nudged, true) {
            self.0.changed.notify_all();
        }
    }

    /// End, for good.
    pub fn stop(&self) {
        self.flags().stopped = true;
        self.0.changed.notify_all();
    }

    /// It was told to end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.flags().stopped
    }

    /// Tells the follower to end when the guard is dropped.
    #[must_use]
    pub fn stop_on_drop(&self) -> StopOnDrop {
        StopOnDrop(self.clone())
    }

    /// Waits for a nudge, the stop or the time, whatever comes first.
    pub(super) fn wait(&self, at_most: Duration) {
        let waited = self.0.changed.wait_timeout_while(self.flags(), at_most, |f| !f.nudged && !f.stopped);
        waited.unwrap_or_else(PoisonError::into_inner).0.nudged = false;
    }

    /// Forgets that it was nudged.
    fn take_nudges(&self) {
        self.flags().nudged = false;
    }

    /// Waits for the stop or the time; nudges are kept for later.
    pub fn pause(&self, at_most: Duration) {
        self.breathe(at_most);
    }

    fn breathe(&self, at_most: Duration) {
        let _ = self.0.changed.wait_timeout_while(self.flags(), at_most, |f| !f.stopped);
    }

    fn flags(&self) -> MutexGuard<'_, Flags> {
        // Two booleans cannot be left half-written by a panic.
        self.0.flags.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops a follower at the end of a scope.
#[derive(Debug)]
pub struct StopOnDrop(Wake);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A directory as it was when the watch on it was set; one that was deleted and made anew needs a new watch.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Watched {
    directory: PathBuf,
    device: u64,
    inode: u64,
}

/// Watches the directories through which a path leads.
#[derive(Debug)]
pub(super) struct Watch {
    path: PathBuf,
    wake: Wake,
    names: Arc<Mutex<Vec<OsString>>>,
    watcher: Option<RecommendedWatcher>,
    set: Vec<Watched>,
    watching: Watching,
    looked_at: Option<Instant>,
    /// Looks in a row that all brought something, or all nothing.
    alike: u32,
    grew: bool,
    /// Looking is so often worth it that no watch is set meanwhile.
    busy: bool,
}

impl Watch {
    pub(super) fn new(path: &Path, wake: Wake) -> Self {
        let names = Arc::new(Mutex::new(Vec::new()));
        let (watcher, watching) = match watcher(wake.clone(), Arc::clone(&names)) {
            Ok(watcher) => (Some(watcher), Watching::Events),
            Err(e) => (None, explain(&e)),
        };
        let mut this = Self {
            path: path.to_path_buf(),
            wake,
            names,
            watcher,
            set: Vec::new(),
            watching,
            looked_at: None,
            alike: 0,
            grew: false,
            busy: false,
        };
        this.refresh();
        this
    }

    pub(super) fn watching(&self) -> &Watching {
        &self.watching
    }

    /// Waits until it is time to look again; `grew`: something was read since the last wait.
    pub(super) fn wait(&mut self, grew: bool) {
        self.note(grew);
        if self.busy {
            self.wake.breathe(BREATH.saturating_sub(self.looked_at.map_or(Duration::ZERO, |at| at.elapsed())));
            self.looked_at = Some(Instant::now());
            return;
        }
        self.refresh();
        self.wake.wait(if self.watching == Watching::Events { STEADY } else { POLLED });
        let breath = BREATH.saturating_sub(self.looked_at.map_or(BREATH, |at| at.elapsed()));
        if !breath.is_zero() {
            self.wake.breathe(breath);
            // The look that comes now is for these nudges, too.
            self.wake.take_nudges();
        }
        self.looked_at = Some(Instant::now());
    }

    /// A log that grows all the time raises an event for each line, which costs its writer and this program more than
    /// looking does: so its watches are taken away until it is quiet.
    fn note(&mut self, grew: bool) {
        self.alike = if grew == self.grew { self.alike.saturating_add(1) } else { 1 };
        self.grew = grew;
        if self.watching == Watching::Events && grew && !self.busy && self.alike >= BUSY {
            self.busy = true;
            self.unset();
        } else if self.busy && !grew && self.alike >= QUIET {
            self.busy = false;
        }
    }

    fn unset(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        for old in self.set.drain(..) {
            // It is gone already when the directory is.
            let _ = watcher.unwatch(&old.directory);
        }
    }

    /// Sets the watches anew when the path leads through other directories than before.
    fn refresh(&mut self) {
        let hops = hops(&self.path);
        let wanted = directories(&hops);
        if wanted == self.set || self.watcher.is_none() {
            return;
        }
        let names = hops.iter().filter_map(|h| h.file_name().map(OsString::from)).collect();
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
        self.unset();
        let Some(watcher) = &mut self.watcher else { return };
        self.watching =
            wanted.last().and_then(|w| remote_kind(&w.directory)).map_or(Watching::Events, Watching::Remote);
        for w in wanted {
            if let Err(e) = watcher.watch(&w.directory, RecursiveMode::NonRecursive) {
                // What is missing in the set is tried again before the next wait.
                self.watching = explain(&e);
                return;
            }
            self.set.push(w);
        }
        // What happened before the watch was set raised no event.
        self.wake.nudge();
    }
}

fn watcher(wake: Wake, names: Arc<Mutex<Vec<OsString>>>) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let telling = event.map_or(true, |e| {
            let names = names.lock().unwrap_or_else(PoisonError::into_inner);
            is_telling(&e, &names)
        });
        if telling {
            wake.nudge();
        }
    })
}

/// Opening and reading the log raises events of kind Access, which must not lead to the next look. An event without a
/// path says that the queue overflowed.
fn is_telling(event: &notify::Event, names: &[OsString]) -> bool {
    let ours = |p: &PathBuf| p.file_name().is_some_and(|n| names.iter().any(|ours| ours == n));
    let about_directory = || matches!(event.kind, EventKind::Remove(_)) && event.paths.iter().any(|p| !p.exists());
    !matches!(event.kind, EventKind::Access(_))
        && (event.need_rescan() || event.paths.is_empty() || event.paths.iter().any(ours) || about_directory())
}

fn directories(hops: &[PathBuf]) -> Vec<Watched> {
    let mut all: Vec<Watched> = Vec::new();
    for directory in hops.iter().filter_map(|h| h.parent()) {
        if all.iter().any(|w| w.directory == directory) {
            continue;
        }
        if let Ok(meta) = fs::metadata(directory) {
            all.push(Watched { directory: directory.to_path_buf(), device: meta.dev(), inode: meta.ino() });
        }
    }
    all
}

/// inotify(7), "Errors": ENOSPC is the limit on watches, EMFILE the one on instances.
fn explain(error: &notify::Error) -> Watching {
    let (why, remedy) = match &error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            ("no inotify watch left".to_owned(), "raise sysctl fs.inotify.max_user_watches")
        }
        notify::ErrorKind::Io(e) if e.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
            ("no inotify instance left".to_owned(), "raise sysctl fs.inotify.max_user_instances")
        }
        notify::ErrorKind::Io(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            ("its directory may not be read".to_owned(), "run as root, or add yourself to the directory's group (adm)")
        }
        notify::ErrorKind::Io(e) => (e.to_string(), "new lines show up to 250 ms late"),
        _ => (error.to_string(), "new lines show up to 250 ms late"),
    };
    Watching::PollOnly { why, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{AccessKind, CreateKind, Flag, ModifyKind};

    #[test]
    fn our_own_reads_and_other_files_do_not_wake_us() {
        let names = [OsString::from("error.log")];
        let event = |kind, path: &str| notify::Event::new(kind).add_path(PathBuf::from(path));
        let cases = [
            (event(EventKind::Modify(ModifyKind::Any), "/l/error.log"), true),
            (event(EventKind::Create(CreateKind::File), "/l/error.log"), true),
            (event(EventKind::Access(AccessKind::Any), "/l/error.log"), false),
            (event(EventKind::Modify(ModifyKind::Any), "/l/access.log"), false),
            (notify::Event::new(EventKind::Other).set_flag(Flag::Rescan), true),
        ];
        for (event, wakes) in cases {
            assert_eq!(is_telling(&event, &names), wakes, "{event:?}");
        }
    }

    #[test]
    fn the_limits_of_inotify_are_named_with_their_remedy() {
        let full = notify::Error::new(notify::ErrorKind::MaxFilesWatch);
        let instances = notify::Error::io(rustix::io::Errno::MFILE.into());
        for (error, said) in [(full, "max_user_watches"), (instances, "max_user_instances")] {
            let Watching::PollOnly { remedy, .. } = explain(&error) else { panic!("{error}") };
            assert!(remedy.contains(said) && remedy.len() <= 70);
        }
    }

    #[test]
    fn a_busy_log_is_not_watched_until_it_is_quiet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("error.log");
        fs::write(&path, "").unwrap();
        let mut watch = Watch::new(&path, Wake::default());
        if *watch.watching() != Watching::Events {
            // A machine without inotify has nothing to take away.
            return;
        }
        let told = watch.watching().clone();
        (1..BUSY).for_each(|_| watch.note(true));
        watch.note(false);
        (1..BUSY).for_each(|_| watch.note(true));
        assert_eq!((watch.busy, watch.set.len()), (false, 1), "a pause begins the count anew");
        watch.note(true);
        assert_eq!((watch.busy, watch.set.len()), (true, 0));
        (1..QUIET).for_each(|_| watch.note(false));
        watch.note(true);
        (1..QUIET).for_each(|_| watch.note(false));
        assert!(watch.busy);
        watch.wait(false);
        assert_eq!((watch.busy, watch.set.len(), watch.watching()), (false, 1, &told));
    }

    #[test]
    fn a_stop_ends_every_wait_and_a_nudge_one() {
        let wake = Wake::default();
        wake.nudge();
        wake.wait(Duration::from_secs(3_600));
        assert!(!wake.is_stopped());
        let guard = wake.stop_on_drop();
        let waiting = std::thread::spawn({
            let wake = wake.clone();
            move || {
                wake.breathe(Duration::from_secs(3_600));
                wake.wait(Duration::from_secs(3_600));
            }
        });
        drop(guard);
        waiting.join().unwrap();
        assert!(wake.is_stopped());
    }

    #[test]
    fn the_directories_of_links_are_watched_and_a_new_directory_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        for d in ["a", "b"] {
            fs::create_dir(root.join(d)).unwrap();
        }
        std::os::unix::fs::symlink("../b/real.log", root.join("a/error.log")).unwrap();
        let watched = directories(&hops(&root.join("a/error.log")));
        assert_eq!(watched.iter().map(|w| w.directory.clone()).collect::<Vec<_>>(), [root.join("a"), root.join("b")]);
        fs::rename(root.join("b"), root.join("old")).unwrap();
        fs::create_dir(root.join("b")).unwrap();
        assert_ne!(directories(&hops(&root.join("a/error.log"))), watched);
    }
}
