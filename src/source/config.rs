//! Reads the nginx configuration with its includes, watches it for changes, and emits a Site.

mod copy;
mod disk;
mod own_test;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use self::disk::{Disk, Seen, reason};
use self::own_test::OwnTest;
use super::{Outlet, Source};
use crate::event::process::Master;
pub use crate::event::site::Version;
use crate::event::site::{Apart, ApartKind, Place, Problem, ProblemKind, Site, SourceText};
use crate::event::{Event, Sense, SourceId, SourceKind};
use crate::human::counted;
use crate::nginx::dump::{self, Dump};
use crate::nginx::ignores::ignores;
use crate::nginx::remarks::remarks;
use crate::nginx::resolve::{Reader as _, resolve};
use crate::nginx::version::{BuildDefaults, parse_version};

/// How much of a file tells whether it is a dump.
const DUMP_START: u64 = 64 * 1024;
/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(2);

/// Which configuration to read, and what must be known of the nginx that runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigTarget {
    /// The main file, absolute, as nginx names it.
    pub conf: String,
    /// The paths in force: the build's, with `-p` and `-e` put in.
    pub build: BuildDefaults,
    /// The release; `None` when unknown.
    pub version: Option<Version>,
    /// Where nginx's file system is seen from here, when it has its own (`/proc/PID/root`).
    pub root: Option<String>,
    /// Set when no nginx of this host runs it.
    pub apart: Option<Apart>,
    /// Whether logs are judged as of their own end with it.
    pub past: Past,
    /// It is that of a running nginx: never a copy.
    runs: bool,
    /// Ask that nginx, too.
    test: Option<OwnTest>,
}

/// When logs are judged as of their own end, and not as of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Past {
    /// Something is looked at live.
    #[default]
    Never,
    /// When the configuration turns out to be a copy.
    IfCopy,
    /// In any case: the logs are old.
    Always,
}

impl ConfigTarget {
    /// A configuration by its file. `prefix` and `build` are nginx's own defaults when they are not known.
    #[must_use]
    pub fn new(conf: &str, prefix: Option<&str>, version: Option<Version>, build: Option<BuildDefaults>) -> Self {
        let mut build = build.unwrap_or_default();
        if let Some(prefix) = prefix {
            prefix.clone_into(&mut build.prefix);
        }
        let conf = std::path::absolute(conf).map_or_else(|_| conf.to_owned(), |p| p.to_string_lossy().into_owned());
        Self { conf, build, version, root: None, apart: None, past: Past::Never, runs: false, test: None }
    }

    /// The configuration of a running nginx; `None` when its file is not known.
    #[must_use]
    pub fn of_master(master: &Master) -> Option<Self> {
        let mut target =
            Self::new(master.conf.as_deref()?, master.prefix.as_deref(), master.version, master.build.clone());
        if let Some(log) = &master.error_log {
            log.clone_into(&mut target.build.error_log_path);
        }
        target.root.clone_from(&master.root);
        target.runs = true;
        Some(target)
    }
}

impl ConfigTarget {
    /// Asks the running master's own binary as well, with `nginx -t`, where that may be run.
    #[must_use]
    pub fn tested_by(mut self, master: &Master) -> Self {
        self.test = OwnTest::of(master);
        self
    }
}

/// Whether the file at `path` holds the text of `nginx -T` and no configuration file; false when it cannot be read.
#[must_use]
pub fn is_dump_file(path: &Path) -> bool {
    let mut start = Vec::new();
    let file = std::fs::File::open(path).and_then(|f| f.take(DUMP_START).read_to_end(&mut start));
    file.is_ok() && dump::is_dump(&start)
}

/// The release that `1.28.0`, `nginx/1.28.0` or the line of `nginx -v` names.
#[must_use]
pub fn release(text: &str) -> Option<Version> {
    let line = |start: &str| parse_version(format!("{start}{text}").as_bytes());
    line("").or_else(|| line("nginx version: ")).or_else(|| line("nginx version: nginx/"))
}

/// Reads the configuration once. A main file that cannot be read gives a site without [`Site::files`] and with the reason
/// as its first problem.
#[must_use]
pub fn read_site(target: &ConfigTarget) -> Site {
    read(target).0
}

/// The same with all texts kept ([`Site::sources`]), and with `instead` read in the place of files, or as files that do
/// not exist and have no text to keep: their real paths and what would stand in them.
#[must_use]
pub fn read_whole(target: &ConfigTarget, instead: &BTreeMap<String, String>) -> Site {
    read_all(target, instead).0
}

fn read(target: &ConfigTarget) -> (Site, Seen) {
    let (mut site, seen) = read_all(target, &BTreeMap::new());
    if let Some(test) = &target.test {
        test.note(target, &mut site);
    }
    let needed = pointed_at(&site);
    site.sources.retain(|path, _| needed.contains(path));
    (site, seen)
}

fn read_all(target: &ConfigTarget, instead: &BTreeMap<String, String>) -> (Site, Seen) {
    let (mut site, seen) = match (target.runs, target.root.as_deref()) {
        (false, None) => read_given(target, instead),
        (_, root) => read_files(target, Disk::new(root), instead),
    };
    site.remarks = remarks(&site);
    site.ignores = ignores(&site);
    (site, seen)
}

/// A file that somebody named: it may be nginx's own, a dump, or the main file of a copied folder.
fn read_given(target: &ConfigTarget, instead: &BTreeMap<String, String>) -> (Site, Seen) {
    let mut disk = match Disk::new(None) {
        Ok(disk) => disk,
        Err(e) => return (rootless(target, &e), Seen::default()),
    };
    if let Ok(text) = disk.read(&target.conf) {
        if let Some(mut dump) = Dump::read(&text) {
            dump.lay_over(instead);
            return (read_dump(target, dump), disk.seen);
        }
        if let Some(said) = dump::refusal(&text) {
            let said =
                format!("this is what nginx says of a configuration that it refuses, and no configuration: {said}");
            let problem = Problem { kind: ProblemKind::Missing, ..whole(target, said) };
            return (Site { problems: vec![problem], ..unread(target) }, disk.seen);
        }
    }
    // What was looked at to find out counts as well: the file may become a dump.
    let (site, seen) = read_files(target, Disk::new(None), instead);
    let Some(mapping) = copy::folder_of(&target.conf, &seen) else { return (site, seen) };
    let apart = Apart { kind: ApartKind::Folder, from: mapping.to.clone(), past: target.past != Past::Never };
    let Some(conf) = mapping.named(&target.conf) else { return (site, seen) };
    let copied = ConfigTarget { conf, apart: Some(apart), ..target.clone() };
    if mapping.from.is_empty() {
        let rooted = ConfigTarget { root: Some(mapping.to.clone()), ..copied };
        return read_files(&rooted, Disk::new(Some(&mapping.to)).map(Disk::of_copy), instead);
    }
    read_files(&copied, Disk::mapped(mapping), instead)
}

fn read_files(target: &ConfigTarget, disk: io::Result<Disk>, instead: &BTreeMap<String, String>) -> (Site, Seen) {
    let mut disk = match disk {
        Ok(disk) => disk,
        Err(e) => return (rootless(target, &e), Seen::default()),
    };
    disk.instead.clone_from(instead);
    let mut site = resolve(&target.conf, &mut disk, &target.build, target.version);
    site.root.clone_from(&target.root);
    site.apart.clone_from(&target.apart);
    site.changed.clone_from(&disk.changed);
    site.reached = reached(&site, &disk);
    site.sources = disk.texts;
    (site, disk.seen)
}

/// The logs of an nginx with a root of its own, as far as they are files under it.
fn reached(site: &Site, disk: &Disk) -> BTreeMap<String, String> {
    let Some(root) = &site.root else { return BTreeMap::new() };
    let errors = site.error_logs.iter().map(|l| &l.path);
    let logs = errors.chain(site.access_logs.iter().map(|l| &l.path)).filter(|p| p.starts_with('/'));
    logs.filter_map(|path| Some((path.clone(), format!("{root}{}", disk.file_inside(path)?)))).collect()
}

fn read_dump(target: &ConfigTarget, mut dump: Dump) -> Site {
    let main = dump.main().to_owned();
    let mut site = resolve(&main, &mut dump, &target.build, target.version);
    let past = target.past != Past::Never;
    site.apart = Some(Apart { kind: ApartKind::Dump, from: target.conf.clone(), past });
    let text = |bytes: &[u8]| Some(SourceText { text: std::str::from_utf8(bytes).ok()?.to_owned(), real: None });
    site.sources = dump.files().filter_map(|(path, bytes)| Some((path.to_owned(), text(bytes)?))).collect();
    site
}

/// A site of which nothing was read.
fn unread(target: &ConfigTarget) -> Site {
    Site { conf: target.conf.clone(), root: target.root.clone(), apart: target.apart.clone(), ..Site::default() }
}

/// A problem of the whole main file.
fn whole(target: &ConfigTarget, said: String) -> Problem {
    Problem {
        place: Place { file: target.conf.clone(), line: 1 },
        said,
        kind: ProblemKind::Unread,
        ..Problem::default()
    }
}

/// The files that a fix of a proxied location may have to change.
fn pointed_at(site: &Site) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    let mut add = |place: Option<&Place>| {
        if let Some(place) = place
            && !files.contains(&place.file)
        {
            files.insert(place.file.clone());
        }
    };
    add(site.worker_connections.as_ref().and_then(|s| s.place.as_ref()));
    for (_, l) in site.locations().filter(|(_, l)| l.proxy_pass.is_some()) {
        add(Some(&l.place));
        add(l.proxy_pass.as_ref().and_then(|s| s.place.as_ref()));
        add(l.http_version.place.as_ref());
        for timeout in [&l.read_timeout, &l.send_timeout, &l.connect_timeout] {
            add(timeout.place.as_ref());
        }
        l.headers.iter().for_each(|h| add(Some(&h.place)));
    }
    files
}

/// The site of a container whose root cannot be opened.
fn rootless(target: &ConfigTarget, e: &io::Error) -> Site {
    let root = target.root.as_deref().unwrap_or("/");
    let said = format!("cannot read {} under {root}: {}", target.conf, reason(e));
    Site { problems: vec![whole(target, said)], ..unread(target) }
}

/// How well the configuration is seen.
fn sense_of(site: &Site) -> Sense {
    let remedy = |said: &str, otherwise: &str| {
        if said.contains("permission denied") {
            "run wspulse as root, or let its user read nginx's configuration".to_owned()
        } else {
            otherwise.to_owned()
        }
    };
    let first = site.problems.first();
    if site.files.is_empty() {
        let said = first.map_or("no configuration was read", |p| p.said.as_str());
        return Sense::blind(said, remedy(said, "name the main file with --nginx-conf"));
    }
    let copy = match &site.apart {
        Some(Apart { kind: ApartKind::Dump, from, .. }) => format!(" of the dump {from}"),
        Some(Apart { kind: ApartKind::Folder, from, .. }) => format!(" of the copy in {from}"),
        _ => String::new(),
    };
    let Some(first) = first else {
        let sockets = site.locations().filter(|(_, l)| l.means_websocket()).count();
        let files = counted(as_u64(site.files.len()), "file", "files");
        return Sense::seen(format!(
            "{files}{copy}, {}",
            counted(as_u64(sockets), "WebSocket location", "WebSocket locations")
        ));
    };
    let more = match site.problems.len() {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    let said = format!("{}: {}{more}", first.place, first.said);
    let remedy = remedy(&said, "see that line; `nginx -t` checks the whole configuration");
    Sense::degraded(said, remedy)
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Reads one configuration at once and again whenever a file of it changes.
#[derive(Debug)]
pub struct ConfigSource {
    id: SourceId,
    target: ConfigTarget,
    interval: Duration,
}

impl ConfigSource {
    /// A source for `host` that looks every two seconds.
    #[must_use]
    pub fn new(host: &Arc<str>, target: ConfigTarget) -> Self {
        Self { id: SourceId::new(host, SourceKind::Config), target, interval: INTERVAL }
    }

    /// Looks at another pace.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Speaks under a name: for hosts on which several nginx run.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.id.name = Arc::from(name);
        self
    }
}

impl Source for ConfigSource {
    fn id(&self) -> SourceId {
        self.id.clone()
    }

    async fn run(&mut self, out: &Outlet) -> io::Result<()> {
        let (mut last_site, mut last_sense) = (None, None);
        loop {
            let target = self.target.clone();
            let (site, mut seen) = in_background(move || read(&target)).await?;
            let sense = sense_of(&site);
            // Unreadable for the moment says nothing about what nginx runs: what was read before stays.
            if !site.files.is_empty() && last_site.as_ref() != Some(&site) {
                out.send(Event::Site(Box::new(site.clone()))).await?;
                last_site = Some(site);
            }
            if last_sense.as_ref() != Some(&sense) {
                out.sense(sense.clone()).await?;
                last_sense = Some(sense);
            }
            loop {
                tokio::time::sleep(self.interval).await;
                let changed;
                (seen, changed) = in_background(move || {
                    let changed = seen.changed();
                    (seen, changed)
                })
                .await?;
                if changed {
                    break;
                }
            }
        }
    }
}

async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Sight, Stamped};
    use tokio::sync::mpsc;

    fn target(dir: &Path) -> ConfigTarget {
        ConfigTarget::new(dir.join("nginx.conf").to_str().expect("UTF-8"), dir.to_str(), None, None)
    }

    fn write(dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    const HTTP: &str =
        "events {} http { include on/*.conf; proxy_set_header Upgrade $http_upgrade; error_log logs/e.log; }";

    #[test]
    fn a_site_is_read_with_its_includes_and_prefix() {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), "nginx.conf", HTTP);
        write(dir.path(), "on/a.conf", "server { listen 1; location / { proxy_pass http://127.0.0.1:2; } }");
        let site = read_site(&target(dir.path()));
        assert_eq!(site.files.len(), 2);
        assert_eq!(site.endpoints()[0].url, "ws://127.0.0.1:1/");
        assert!(site.error_logs.iter().any(|l| Path::new(&l.path) == dir.path().join("logs/e.log")));
        assert_eq!(sense_of(&site), Sense::seen("2 files, 1 WebSocket location"));
    }

    #[test]
    fn a_masters_own_paths_are_used() {
        let master = Master {
            conf: Some("/c/nginx.conf".into()),
            prefix: Some("/p".into()),
            error_log: Some("/e.log".into()),
            root: Some("/proc/1/root".into()),
            ..Master::default()
        };
        let target = ConfigTarget::of_master(&master).expect("has a file");
        assert_eq!((target.conf.as_str(), target.build.prefix.as_str()), ("/c/nginx.conf", "/p"));
        assert_eq!(target.build.error_log_path, "/e.log");
        assert_eq!(target.root.as_deref(), Some("/proc/1/root"));
        assert_eq!(ConfigTarget::of_master(&Master::default()), None);
    }

    #[test]
    fn what_is_missing_is_said_with_a_remedy() {
        let dir = tempfile::tempdir().expect("a directory");
        let none = sense_of(&read_site(&target(dir.path())));
        assert_eq!(none.sight, Sight::Blind);
        assert!(none.said.contains("nginx.conf: no such file"), "{}", none.said);
        assert!(none.remedy.expect("given").contains("--nginx-conf"));
        write(dir.path(), "nginx.conf", "include gone.conf; include gone2.conf;");
        let partly = sense_of(&read_site(&target(dir.path())));
        assert_eq!(partly.sight, Sight::Degraded);
        assert!(partly.said.contains("nginx.conf:1: cannot read") && partly.said.ends_with("(and 1 more)"));
        let denied = Problem {
            place: Place::default(),
            column: 0,
            said: "cannot read x: permission denied".into(),
            ..Problem::default()
        };
        let denied = sense_of(&Site { problems: vec![denied], ..Site::default() });
        assert!(denied.remedy.expect("given").contains("root"));
        let rootless = read_site(&ConfigTarget { root: Some("/no/such/root".into()), ..target(dir.path()) });
        assert_eq!(sense_of(&rootless).sight, Sight::Blind);
    }

    async fn next(rx: &mut mpsc::Receiver<Stamped>) -> Event {
        let wait = tokio::time::timeout(Duration::from_secs(20), rx.recv());
        wait.await.expect("an event in time").expect("the source lives").event
    }

    #[tokio::test]
    async fn a_change_in_an_included_directory_is_noticed() {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), "nginx.conf", HTTP);
        write(dir.path(), "on/a.conf", "server { }");
        let (tx, mut rx) = mpsc::channel(8);
        let host = Arc::from("h");
        let source = ConfigSource::new(&host, target(dir.path())).every(Duration::from_millis(10));
        let task = super::super::supervise(source, tx);
        let Event::Site(first) = next(&mut rx).await else { panic!("no site") };
        assert_eq!(first.servers.len(), 1);
        assert_eq!(next(&mut rx).await, Event::Sense(Sense::seen("2 files, 0 WebSocket locations")));
        write(dir.path(), "on/b.conf", "server { } server { }");
        loop {
            if let Event::Site(site) = next(&mut rx).await
                && site.servers.len() == 3
            {
                break;
            }
        }
        std::fs::remove_file(dir.path().join("nginx.conf")).expect("removed");
        loop {
            match next(&mut rx).await {
                Event::Sense(s) if s.sight == Sight::Blind => break,
                Event::Site(s) => assert!(!s.files.is_empty(), "an unreadable file must not empty the site"),
                _ => {}
            }
        }
        task.abort();
    }
}
