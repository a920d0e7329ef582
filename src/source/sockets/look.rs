//! One look at the socket tables: netlink first, /proc as the fallback, owners where they are new, and what changed.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::diff::{Changes, Holder, Table};
use super::frame::{messages, sequence_of};
use super::groups;
use super::message::row;
use super::netlink::{Diag, Extent, remedy};
use super::owners::Owners;
use super::pace::thread_time;
use super::procfs;
use super::row::Found;
use super::sight::{Sighted, sense};
use super::space::{self, Space};
use super::unix::{End, Joined, Paths, UnixTable, end};
use super::walk::Look;
use crate::event::Sense;
use crate::event::site::Interest;
use crate::event::socket::{Listener, SocketDelta, SocketRow, SocketSource as Way, UnixRow};

/// A full table is told this often, so that a cut recording heals; netlink is then tried again if it failed before.
const FULL_EVERY: Duration = Duration::from_secs(60);

/// Connections in TIME-WAIT are counted this often: each costs a walk through the whole table, and they last a minute.
const WAITS_EVERY: Duration = Duration::from_secs(10);

/// How socket tables are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// By netlink, and by /proc where that fails.
    #[default]
    Auto,
    /// By netlink only: a failure is an error.
    Netlink,
    /// By /proc/net/tcp only.
    Procfs,
}

/// What a look brought.
#[derive(Clone, Debug)]
pub(super) struct Looked {
    /// What changed since the last look.
    pub delta: SocketDelta,
    /// How well it was seen.
    pub sense: Sense,
    /// The time of the processor that it took.
    pub cost: Duration,
}

/// The looker and what it remembers between two looks. It blocks: run it on a thread of its own.
#[derive(Debug)]
pub(super) struct Looker {
    mode: Mode,
    proc: PathBuf,
    /// How a netlink socket is opened; another function only in tests.
    open: fn(&Path, &Space) -> io::Result<Diag>,
    diag: Option<Diag>,
    space: Space,
    owners: Owners,
    table: Table,
    unix: UnixTable,
    paths: Paths,
    /// Ids of the control groups of nginx's processes; none when unknown.
    groups: Vec<u64>,
    way: Way,
    sighted: Sighted,
    interest: Interest,
    last_full: Option<Instant>,
    last_look: Option<Instant>,
    last_waits: Option<Instant>,
}

impl Looker {
    /// A looker that has seen nothing yet; `proc` is /proc.
    pub(super) fn new(mode: Mode, proc: impl Into<PathBuf>) -> Self {
        let proc = proc.into();
        Self {
            mode,
            open: space::open,
            diag: None,
            space: Space::Ours,
            owners: Owners::new(proc.clone()),
            table: Table::default(),
            unix: UnixTable::default(),
            paths: Paths::default(),
            groups: Vec::new(),
            way: Way::Netlink,
            sighted: Sighted::default(),
            interest: Interest::default(),
            last_full: None,
            last_look: None,
            last_waits: None,
            proc,
        }
    }

    /// Looks once. The delta is full at first, once a minute, and when the interest or the way of reading changed.
    ///
    /// # Errors
    /// When neither way that the mode allows can be read.
    pub(super) fn look(&mut self, interest: &Interest, now: Instant) -> io::Result<Looked> {
        let (begun, used) = (Instant::now(), thread_time());
        let moved = self.turn_to(interest);
        let due = moved || self.last_full.is_none_or(|t| now.saturating_duration_since(t) >= FULL_EVERY);
        let full = due || *interest != self.interest;
        if full {
            self.prepare(interest);
        }
        let delta = match self.by_netlink(full, due, now)? {
            Some(delta) => delta,
            None => self.by_procfs(full, now)?,
        };
        if delta.full {
            self.last_full = Some(now);
        }
        let since = self.last_look.replace(now).map(|before| now.saturating_duration_since(before));
        let denied = !interest.pids.is_empty() && self.owners.denied();
        let sense = sense(delta.source, &self.sighted, &self.space, denied);
        let cost = thread_time().saturating_sub(used);
        Ok(Looked { delta: SocketDelta { took: begun.elapsed(), since, ..delta }, sense, cost })
    }

    /// A look now would show what the last one did: what changes later did so after this moment.
    pub(super) fn unmoved(&mut self, now: Instant) {
        if let Some(last) = &mut self.last_look {
            *last = now;
        }
    }

    /// Turns to the namespace of the interest. When it is another one than before, by pid or because the process behind the
    /// pid is another, nothing that was seen holds any more; and a kept socket would keep a dead namespace alive.
    fn turn_to(&mut self, interest: &Interest) -> bool {
        let space = Space::of(&self.proc, interest.net);
        let moved = space != self.space;
        if moved {
            (self.table, self.unix) = (Table::default(), UnixTable::default());
            (self.diag, self.last_look, self.last_waits) = (None, None, None);
            self.sighted = Sighted::default();
            self.space = space;
        }
        moved
    }

    /// Looks up what a look relies on and what changes seldom.
    fn prepare(&mut self, interest: &Interest) {
        self.interest.clone_from(interest);
        self.table.ask_again(&interest.pids);
        self.unix.ask_again(&interest.pids);
        self.groups = groups::of(&self.proc, &interest.pids);
        // nginx's view of the file system: it may live in a container.
        let pid = interest.pids.first().map_or_else(|| "self".to_owned(), u32::to_string);
        self.paths = Paths::find(&interest.unix, &self.proc.join(pid).join("root"));
    }

    /// `None` when netlink is not to be used or failed just now and /proc may stand in.
    fn by_netlink(&mut self, full: bool, retry: bool, now: Instant) -> io::Result<Option<SocketDelta>> {
        if self.mode == Mode::Procfs || (self.sighted.trouble.is_some() && !retry) {
            return Ok(None);
        }
        match self.dump(full, now) {
            Ok(delta) => {
                self.sighted.trouble = None;
                Ok(Some(delta))
            }
            Err(e) if self.mode == Mode::Netlink => Err(e),
            Err(e) => {
                tracing::info!(error = %e, "netlink failed, reading /proc/net/tcp");
                let entering = self.space != Space::Ours && e.kind() == io::ErrorKind::PermissionDenied;
                let remedy = if entering { space::REMEDY } else { remedy(&e) };
                self.sighted.trouble = Some((e.to_string(), remedy));
                Ok(None)
            }
        }
    }

    fn dump(&mut self, full: bool, now: Instant) -> io::Result<SocketDelta> {
        // Taken out, so that a socket on which anything failed is not used again.
        let mut diag = match self.diag.take() {
            Some(diag) => diag,
            None => (self.open)(&self.proc, &self.space)?,
        };
        let (interest, groups) = (self.interest.clone(), std::mem::take(&mut self.groups));
        let (mut ends, mut unix) = (Vec::new(), Ok(None));
        let asked = (!interest.unix.is_empty()).then(|| self.paths.clone());
        let delta = self.gather(Way::Netlink, full, now, |each, join| {
            let extent = diag.tcp(&interest, &groups, each)?;
            if let Some(paths) = &asked {
                unix = diag.unix(paths, &mut |end| ends.push(end)).map(Some);
                join(&ends, unix.as_ref().ok().copied().flatten());
            }
            Ok(extent)
        });
        self.groups = groups;
        let delta = delta?;
        self.sighted.unix_trouble = unix.as_ref().err().map(ToString::to_string);
        if unix.is_err() {
            return Ok(delta);
        }
        let time_wait = self.count_waits(&mut diag, &interest, now);
        if time_wait.is_ok() {
            self.diag = Some(diag);
        }
        Ok(SocketDelta { time_wait: time_wait.unwrap_or_default(), ..delta })
    }

    /// Connections in TIME-WAIT by backend address, when it is time to count them and nothing may be missing.
    fn count_waits(
        &mut self,
        diag: &mut Diag,
        interest: &Interest,
        now: Instant,
    ) -> io::Result<Option<Vec<(SocketAddr, u32)>>> {
        let due = self.last_waits.is_none_or(|t| now.saturating_duration_since(t) >= WAITS_EVERY);
        if !due || interest.upstream_ports.is_empty() {
            return Ok(None);
        }
        let mut ends: HashSet<(SocketAddr, SocketAddr)> = HashSet::new();
        if diag.time_wait(interest, &mut |local, peer| {
            ends.insert((local, peer));
        })? == Extent::Part
        {
            return Ok(None);
        }
        self.last_waits = Some(now);
        let mut waits: BTreeMap<SocketAddr, u32> = BTreeMap::new();
        for (_, peer) in ends {
            *waits.entry(peer).or_default() += 1;
        }
        Ok(Some(waits.into_iter().collect()))
    }

    fn by_procfs(&mut self, full: bool, now: Instant) -> io::Result<SocketDelta> {
        let (tables, interest) = (self.space.tables(&self.proc), self.interest.clone());
        let asked = !interest.unix.is_empty();
        self.sighted.unix_trouble = asked.then(|| "/proc tells nothing of who is connected to whom".to_owned());
        self.gather(Way::Procfs, full, now, |each, _| {
            procfs::read(&tables, &interest, each)?;
            Ok(Extent::Whole)
        })
    }

    /// Takes in what `walk` finds. Rows of unknown owner wait for one common search.
    fn gather(
        &mut self,
        way: Way,
        full: bool,
        now: Instant,
        walk: impl FnOnce(&mut dyn FnMut(Found<'_>), &mut dyn FnMut(&[End], Option<Extent>)) -> io::Result<Extent>,
    ) -> io::Result<SocketDelta> {
        let full = full || way != self.way;
        if way != self.way {
            // Cookies of one way mean nothing in the other.
            (self.table, self.unix) = (Table::default(), UnixTable::default());
            self.way = way;
        }
        let search = !self.interest.pids.is_empty();
        let mut look = Look::begin(&mut self.table, full, search);
        let mut listening = Vec::new();
        let (mut joined, mut unix_extent) = (Joined::default(), Extent::Whole);
        let walked = walk(
            &mut |found| match found {
                Found::Raw(raw) => look.see(&raw),
                Found::Connection(row) => look.see(&row),
                Found::Listening(cookie, listener) => listening.push((cookie, listener)),
            },
            &mut |ends, extent| {
                joined = self.unix.join(ends, &self.paths);
                unix_extent = extent.unwrap_or(Extent::Part);
            },
        );
        let extent = match walked {
            Ok(extent) => extent,
            Err(e) => {
                // What this look has seen is told to nobody: the next one tells everything.
                (self.table, self.last_full) = (Table::default(), None);
                return Err(e);
            }
        };
        let mut legs: Vec<_> = joined.legs.into_iter().map(|leg| (self.unix.holder(&leg), leg)).collect();
        let unknown = legs.iter().filter(|(holder, _)| search && *holder == Holder::Unasked).map(|(_, leg)| leg.inode);
        let inodes: Vec<u32> = look.settle().into_iter().chain(unknown).collect();
        let searched = if inodes.is_empty() { None } else { self.owners.search(&self.interest.pids, &inodes, now) };
        for (holder, leg) in legs.iter_mut().filter(|(holder, _)| search && *holder == Holder::Unasked) {
            *holder = Holder::of(leg.inode, searched.as_ref());
        }
        self.sighted.part = extent.and(unix_extent) == Extent::Part;
        let Changes { rows, mut closed } = look.finish(extent, searched.as_ref());
        let legs = legs.into_iter().map(|(holder, leg)| (leg, holder)).collect();
        let (unix, unix_closed) = self.unix.turn(legs, full, unix_extent);
        closed.extend(unix_closed);
        let (listeners, unix_listeners) = (in_order(listening), joined.listeners);
        Ok(SocketDelta { full, source: way, rows, closed, listeners, unix, unix_listeners, ..SocketDelta::default() })
    }

    /// How many connections the last look saw.
    pub(super) fn seen(&self) -> usize {
        self.table.len() + self.unix.len()
    }
}

/// See [`super::decode`]; any sequence number is the one asked for.
pub(super) fn decode(datagram: &[u8]) -> (Vec<SocketRow>, Vec<Listener>, Vec<UnixRow>) {
    let paths = Paths::named("/run/app.sock");
    let (mut rows, mut listeners, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    let sequence = sequence_of(datagram);
    let outcome = messages(datagram, sequence, false, "sockets", &mut |payload| {
        match row(payload, &[1]).map(Found::decoded) {
            Some(Found::Connection(row)) => rows.push(row),
            Some(Found::Listening(_, listener)) => listeners.push(listener),
            Some(Found::Raw(_)) | None => {}
        }
        ends.extend(end(payload, &paths));
    });
    if let Err(e) = outcome {
        tracing::debug!(error = %e, "a garbled answer");
    }
    (rows, listeners, UnixTable::default().join(&ends, &paths).legs)
}

/// By address, and by cookie where several workers listen on one address (SO_REUSEPORT), so that two looks compare.
fn in_order(mut listening: Vec<(u64, Listener)>) -> Vec<Listener> {
    listening.sort_unstable_by_key(|(cookie, l)| (l.local, *cookie));
    listening.dedup_by_key(|(cookie, _)| *cookie);
    listening.into_iter().map(|(_, l)| l).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Sight;
    use std::net::{TcpListener, TcpStream};

    const SECOND: Duration = Duration::from_secs(1);

    fn refused(_: &Path, _: &Space) -> io::Result<Diag> {
        Err(io::Error::new(io::ErrorKind::NotFound, "no sock_diag here"))
    }

    /// A held connection on an address of this test's own, and the interest that shows its accepted end.
    fn connection(on: &str) -> (SocketAddr, Interest, impl Drop) {
        struct Held(Vec<TcpStream>, Option<TcpListener>);
        impl Drop for Held {
            fn drop(&mut self) {
                self.0.clear();
                self.1 = None;
            }
        }
        let listener = TcpListener::bind((on, 0)).expect("bound");
        let local = listener.local_addr().expect("address");
        let client = TcpStream::connect(local).expect("connected");
        let (server, _) = listener.accept().expect("accepted");
        let interest = Interest { listen_ports: [local.port()].into(), ..Interest::default() };
        (local, interest, Held(vec![client, server], Some(listener)))
    }

    fn shows(looked: &Looked, local: SocketAddr) -> bool {
        looked.delta.rows.iter().any(|r| r.local == local)
    }

    #[test]
    fn without_netlink_proc_stands_in_and_netlink_is_tried_again_a_minute_later() {
        let (local, interest, _held) = connection("127.0.0.31");
        let mut looker = Looker { open: refused, ..Looker::new(Mode::Auto, "/proc") };
        let start = Instant::now();

        let first = looker.look(&interest, start).expect("a look");
        assert!(first.delta.full && shows(&first, local));
        assert_eq!((first.delta.source, first.sense.sight), (Way::Procfs, Sight::Degraded));
        assert!(first.sense.said.starts_with("no sock_diag here; "), "{}", first.sense.said);
        assert_eq!(first.sense.remedy.as_deref(), Some("load the kernel module: modprobe tcp_diag"));

        looker.open = space::open;
        let soon = looker.look(&interest, start + SECOND).expect("a look");
        assert_eq!((soon.delta.full, soon.delta.source), (false, Way::Procfs), "not tried at every look");
        let later = looker.look(&interest, start + FULL_EVERY).expect("a look");
        assert_eq!((later.delta.full, later.delta.source, later.sense.sight), (true, Way::Netlink, Sight::Seen));
        assert!(shows(&later, local));
    }

    #[test]
    fn connections_in_time_wait_are_counted_by_backend_every_ten_seconds() {
        let listener = TcpListener::bind("127.0.0.34:0").expect("bound");
        let backend = listener.local_addr().expect("address");
        let interest = Interest { upstream_ports: [backend.port()].into(), ..Interest::default() };
        for _ in 0..3 {
            let client = TcpStream::connect(backend).expect("connected");
            let (server, _) = listener.accept().expect("accepted");
            // Whoever closes first waits.
            drop(client);
            drop(server);
        }
        let mut looker = Looker::new(Mode::Netlink, "/proc");
        let (start, mut looks) = (Instant::now(), 0);
        let counted = loop {
            let seen = looker.look(&interest, start + WAITS_EVERY * looks).expect("a look");
            let waits = seen.delta.time_wait.expect("counted at every tenth second");
            if waits == [(backend, 3)] || looks == 1_000 {
                break waits;
            }
            looks += 1;
        };
        assert_eq!(counted, [(backend, 3)]);
        let soon = looker.look(&interest, start + WAITS_EVERY * looks + SECOND).expect("a look");
        assert_eq!(soon.delta.time_wait, None, "not at every look");
        assert!(soon.delta.rows.is_empty(), "and they are no rows");
    }

    #[test]
    fn a_netlink_that_fails_later_is_told_with_a_full_table() {
        let (local, interest, _held) = connection("127.0.0.32");
        let mut looker = Looker::new(Mode::Auto, "/proc");
        let start = Instant::now();
        assert_eq!(looker.look(&interest, start).expect("a look").delta.source, Way::Netlink);
        (looker.diag, looker.open) = (None, refused);
        let next = looker.look(&interest, start + SECOND).expect("a look");
        assert_eq!((next.delta.full, next.delta.source), (true, Way::Procfs), "other cookies: everything anew");
        assert!(shows(&next, local) && next.delta.closed.is_empty());
    }

    #[test]
    fn a_namespace_that_may_not_be_entered_is_read_through_proc_and_its_process_may_end() {
        fn barred(_: &Path, _: &Space) -> io::Result<Diag> {
            Err(io::Error::new(io::ErrorKind::PermissionDenied, "entering the namespace: not permitted"))
        }
        let (local, interest, _held) = connection("127.0.0.37");
        let me = std::process::id();
        let there = Interest { net: Some(me), ..interest.clone() };
        let mut looker = Looker { open: barred, ..Looker::new(Mode::Auto, "/proc") };
        let outcome = looker.look(&there, Instant::now()).expect("a look");
        assert!(shows(&outcome, local) && outcome.delta.full);
        let Sense { sight, said, remedy } = outcome.sense;
        assert_eq!((sight, outcome.delta.source), (Sight::Degraded, Way::Procfs));
        assert!(said.starts_with("entering the namespace: not permitted; by /proc/"), "{said}");
        assert!(said.contains(&format!("namespace of process {me}")), "{said}");
        assert!(remedy.is_some_and(|r| r.contains("CAP_SYS_ADMIN")));

        looker.open = space::open;
        let back = looker.look(&interest, Instant::now()).expect("a look");
        assert_eq!((back.delta.full, back.delta.source, back.delta.since), (true, Way::Netlink, None), "another place");
    }

    #[test]
    fn a_refused_netlink_is_said_with_what_allows_it() {
        fn sandboxed(_: &Path, _: &Space) -> io::Result<Diag> {
            Err(io::Error::from_raw_os_error(rustix::io::Errno::PERM.raw_os_error()))
        }
        let (local, mut interest, _held) = connection("127.0.0.38");
        interest.unix.insert("/run/app.sock".into());
        let mut looker = Looker { open: sandboxed, ..Looker::new(Mode::Auto, "/proc") };
        let outcome = looker.look(&interest, Instant::now()).expect("a look");
        assert!(shows(&outcome, local));
        assert!(
            outcome.delta.listeners.iter().any(|l| l.local == local && l.backlog.is_none()),
            "queue yes, backlog no"
        );
        assert!(outcome.sense.said.contains("unix sockets are not seen"), "{}", outcome.sense.said);
        assert!(outcome.sense.remedy.is_some_and(|r| r.contains("seccomp")));
    }

    #[test]
    fn what_is_known_not_to_have_moved_shortens_the_time_in_which_something_did() {
        let (_, interest, _held) = connection("127.0.0.29");
        let mut looker = Looker::new(Mode::Auto, "/proc");
        let start = Instant::now();
        looker.unmoved(start);
        assert_eq!(looker.look(&interest, start).expect("a look").delta.since, None, "nothing was looked at before");
        looker.unmoved(start + SECOND * 4);
        assert_eq!(looker.look(&interest, start + SECOND * 5).expect("a look").delta.since, Some(SECOND));
    }

    #[test]
    fn when_only_netlink_will_do_its_failure_is_an_error() {
        let (_, interest, _held) = connection("127.0.0.33");
        let mut looker = Looker { open: refused, ..Looker::new(Mode::Netlink, "/proc") };
        assert_eq!(looker.look(&interest, Instant::now()).expect_err("refused").to_string(), "no sock_diag here");
        let nowhere = tempfile::tempdir().expect("directory");
        let mut looker = Looker { open: refused, ..Looker::new(Mode::Auto, nowhere.path()) };
        assert!(looker.look(&interest, Instant::now()).expect_err("no /proc either").to_string().contains("net/tcp"));
    }

    #[test]
    fn what_a_look_saw_before_it_failed_is_told_by_the_next() {
        let proc = tempfile::tempdir().expect("directory");
        let (four, six) = (proc.path().join("net/tcp"), proc.path().join("net/tcp6"));
        let line =
            |port: &str| format!("0: 0100007F:1F90 0100007F:{port} 01 00000000:00000000 00:00000000 00000000 0 0 77 1");
        std::fs::create_dir_all(&six).expect("a folder where a file should be");
        std::fs::write(&four, line("C738")).expect("written");
        let interest = Interest { listen_ports: [8080].into(), ..Interest::default() };
        let mut looker = Looker::new(Mode::Procfs, proc.path());
        looker.look(&interest, Instant::now()).expect_err("tcp6 cannot be read");
        std::fs::remove_dir(&six).expect("removed");
        let next = looker.look(&interest, Instant::now()).expect("a look").delta;
        assert_eq!((next.full, next.rows.len()), (true, 1));
    }

    #[test]
    fn the_table_is_told_in_full_once_a_minute_and_on_a_new_interest() {
        let (_, interest, _held) = connection("127.0.0.34");
        let mut looker = Looker::new(Mode::Auto, "/proc");
        let start = Instant::now();
        let mut wider = interest.clone();
        wider.pids.insert(u32::MAX);
        let told: Vec<bool> =
            [(0, &interest), (59, &interest), (60, &interest), (119, &interest), (119, &wider), (178, &wider)]
                .iter()
                .map(|(s, i)| looker.look(i, start + SECOND * *s).expect("a look").delta.full)
                .collect();
        assert_eq!(told, [true, false, true, false, true, false]);
    }

    #[test]
    fn a_known_holder_stays_without_another_search() {
        let (local, mut interest, _held) = connection("127.0.0.36");
        let me = std::process::id();
        interest.pids.insert(me);
        let mut looker = Looker::new(Mode::Auto, "/proc");
        let start = Instant::now();
        let first = looker.look(&interest, start).expect("a look");
        let row = first.delta.rows.iter().find(|r| r.local == local).expect("seen");
        assert_eq!(row.pid, Some(me));
        let next = looker.look(&interest, start + SECOND).expect("a look");
        assert!(!shows(&next, local), "nothing changed: {:#?}", next.delta.rows);
        assert_eq!(looker.table.holder(row), Holder::Pid(me));
    }

    #[test]
    fn a_socket_of_a_stranger_is_searched_for_once_not_at_every_look() {
        let (local, mut interest, _held) = connection("127.0.0.35");
        interest.pids.insert(u32::MAX);
        let mut looker = Looker::new(Mode::Auto, "/proc");
        let start = Instant::now();
        let first = looker.look(&interest, start).expect("a look");
        let row = first.delta.rows.iter().find(|r| r.local == local).expect("seen");
        assert_eq!((row.pid, looker.table.holder(row)), (None, Holder::Nobody));
        looker.look(&interest, start + SECOND).expect("a look");
        assert_eq!(looker.table.holder(row), Holder::Nobody, "still known to be nobody's");
    }
}
