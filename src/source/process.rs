//! Finds the nginx processes in /proc: masters, workers, their arguments, versions, descriptors and limits.

mod binary;
mod listens;
mod scan;
mod title;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(super) use self::binary::{may_run, run_bounded};
use self::scan::{Found, Scanner};
use super::{Outlet, Source};
use crate::event::process::Processes;
use crate::event::{Event, Sense, SourceId, SourceKind};
use crate::human::counted;

/// How often /proc is looked through.
const INTERVAL: Duration = Duration::from_secs(2);

/// Looks for nginx processes at once and then every two seconds, and says what changed.
#[derive(Debug)]
pub struct ProcessSource {
    id: SourceId,
    proc: PathBuf,
    interval: Duration,
    pid: Option<u32>,
    no_exec: bool,
}

impl ProcessSource {
    /// A source for `host`, this machine's name.
    #[must_use]
    pub fn new(host: &Arc<str>) -> Self {
        let id = SourceId::new(host, SourceKind::Process);
        Self { id, proc: PathBuf::from("/proc"), interval: INTERVAL, pid: None, no_exec: false }
    }

    /// Looks through another /proc, such as the host's one mounted into a container.
    #[must_use]
    pub fn under(mut self, proc: impl Into<PathBuf>) -> Self {
        self.proc = proc.into();
        self
    }

    /// Looks at another pace.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Tells only of the nginx to which this master or worker belongs.
    #[must_use]
    pub fn only(mut self, pid: Option<u32>) -> Self {
        self.pid = pid;
        self
    }

    /// Never runs `nginx -V`: releases and built-in paths stay unknown.
    #[must_use]
    pub fn no_exec(mut self, no_exec: bool) -> Self {
        self.no_exec = no_exec;
        self
    }

    fn scanner(&self) -> Scanner {
        Scanner::new(self.proc.clone(), self.no_exec, self.pid)
    }
}

/// Looks through this machine's /proc once. `no_exec` and `pid` as in [`ProcessSource`].
///
/// # Errors
/// When /proc cannot be listed.
pub fn read_processes(no_exec: bool, pid: Option<u32>) -> io::Result<Processes> {
    Ok(Scanner::new(PathBuf::from("/proc"), no_exec, pid).scan()?.processes)
}

fn sense_of(found: &Found, proc: &str, pid: Option<u32>) -> Sense {
    let masters = &found.processes.masters;
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let orphans = counted(found.orphans, "worker", "workers");
    if masters.is_empty() {
        let said = match pid {
            Some(pid) => format!("no nginx process {pid} found in {proc}"),
            None if found.orphans > 0 => format!("no nginx master found in {proc}, only {orphans} without one"),
            None => format!("no nginx process found in {proc}"),
        };
        let remedy = if found.processes.hidden {
            "other users' processes are hidden here: run as root"
        } else {
            "start nginx, or run wspulse on the machine where it runs"
        };
        return Sense::blind(said, remedy);
    }
    let workers = masters.iter().map(|m| m.workers.len()).sum();
    let said = format!(
        "{}, {}",
        counted(count(masters.len()), "master", "masters"),
        counted(count(workers), "worker", "workers")
    );
    if found.orphans > 0 {
        return Sense::degraded(
            format!("{said}, {orphans} without a master"),
            "their master was killed: end them with `kill -QUIT` when their clients may reconnect",
        );
    }
    Sense::seen(said)
}

impl Source for ProcessSource {
    fn id(&self) -> SourceId {
        self.id.clone()
    }

    async fn run(&mut self, out: &Outlet) -> io::Result<()> {
        let mut scanner = self.scanner();
        let proc = self.proc.display().to_string();
        let (mut last, mut last_sense) = (None, None);
        loop {
            // Asking a binary for its release may take seconds, and /proc of a loaded machine is no quick read either.
            let found;
            (scanner, found) = tokio::task::spawn_blocking(move || {
                let found = scanner.scan();
                (scanner, found)
            })
            .await
            .map_err(io::Error::other)?;
            let found = found.map_err(|e| io::Error::new(e.kind(), format!("{proc}: {e}")))?;
            let sense = sense_of(&found, &proc, self.pid);
            if last.as_ref() != Some(&found.processes) {
                out.send(Event::Processes(found.processes.clone())).await?;
                last = Some(found.processes);
            }
            if last_sense.as_ref() != Some(&sense) {
                out.sense(sense.clone()).await?;
                last_sense = Some(sense);
            }
            tokio::time::sleep(self.interval).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::process::{Master, Worker};
    use crate::event::{Sight, Stamped};
    use tokio::sync::mpsc;

    fn found(masters: usize, workers: usize, orphans: u64) -> Found {
        let master = Master { workers: vec![Worker::default(); workers], ..Master::default() };
        Found { processes: Processes { masters: vec![master; masters], ..Processes::default() }, orphans }
    }

    #[test]
    fn the_light_says_what_is_seen() {
        assert_eq!(sense_of(&found(1, 4, 0), "/proc", None), Sense::seen("1 master, 4 workers"));
        let none = sense_of(&found(0, 0, 0), "/proc", None);
        assert_eq!((none.sight, none.said.as_str()), (Sight::Blind, "no nginx process found in /proc"));
        let mut hidden = found(0, 0, 0);
        hidden.processes.hidden = true;
        let hidden = sense_of(&hidden, "/proc", None);
        assert!(hidden.remedy.expect("given").contains("root"));
        assert_eq!(sense_of(&found(0, 0, 0), "/proc", Some(7)).said, "no nginx process 7 found in /proc");
        let orphans = sense_of(&found(1, 2, 1), "/proc", None);
        assert_eq!(
            (orphans.sight, orphans.said.as_str()),
            (Sight::Degraded, "1 master, 2 workers, 1 worker without a master")
        );
        assert!(sense_of(&found(0, 0, 2), "/proc", None).said.contains("only 2 workers without one"));
    }

    async fn next(rx: &mut mpsc::Receiver<Stamped>) -> Event {
        let wait = tokio::time::timeout(Duration::from_secs(20), rx.recv());
        wait.await.expect("an event in time").expect("the source lives").event
    }

    #[tokio::test]
    async fn only_changes_are_sent() {
        let dir = tempfile::tempdir().expect("a directory");
        let (tx, mut rx) = mpsc::channel(8);
        let host = Arc::from("h");
        let source = ProcessSource::new(&host).under(dir.path()).every(Duration::from_millis(5)).no_exec(true);
        let task = super::super::supervise(source, tx);
        // Without a process 1 there are others that are not shown.
        assert_eq!(next(&mut rx).await, Event::Processes(Processes { hidden: true, ..Processes::default() }));
        assert!(matches!(next(&mut rx).await, Event::Sense(Sense { sight: Sight::Blind, .. })));
        let process = dir.path().join("10");
        std::fs::create_dir(&process).expect("made");
        std::fs::write(process.join("stat"), "10 (nginx) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 55 0").expect("written");
        std::fs::write(process.join("cmdline"), "nginx: master process nginx").expect("written");
        std::fs::write(process.join("comm"), "nginx\n").expect("written");
        let Event::Processes(now) = next(&mut rx).await else { panic!("the next event is the change") };
        assert_eq!(now.masters[0].pid, 10);
        assert_eq!(next(&mut rx).await, Event::Sense(Sense::seen("1 master, 0 workers")));
        task.abort();
    }

    #[tokio::test]
    async fn a_proc_that_cannot_be_read_is_an_error_with_its_name() {
        let (tx, mut rx) = mpsc::channel(8);
        let task = super::super::supervise(ProcessSource::new(&Arc::from("h")).under("/no/such/proc"), tx);
        let Event::Sense(sense) = next(&mut rx).await else { panic!("a sense") };
        assert!(sense.sight == Sight::Blind && sense.said.contains("/no/such/proc"), "{sense:?}");
        task.abort();
    }
}
