//! One look at the socket table: netlink first, /proc as the fallback, owners where they are new, and what changed.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::diff::{Changes, Holder, Look, Table};
use super::netlink::{self, Diag};
use super::owners::Owners;
use super::procfs;
use super::row::Found;
use crate::event::Sense;
use crate::event::site::Interest;
use crate::event::socket::{Listener, SocketDelta, SocketRow, SocketSource as Way};

/// A full table is told this often, so that a cut recording heals; netlink is then tried again if it failed before.
const FULL_EVERY: Duration = Duration::from_secs(60);

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
}

/// The looker and what it remembers between two looks. It blocks: run it on a thread of its own.
#[derive(Debug)]
pub(super) struct Looker {
    mode: Mode,
    proc: PathBuf,
    /// How a netlink socket is opened; another function only in tests.
    open: fn() -> io::Result<Diag>,
    diag: Option<Diag>,
    /// Why netlink is not used, and what would help.
    trouble: Option<(String, &'static str)>,
    owners: Owners,
    table: Table,
    way: Way,
    interest: Interest,
    last_full: Option<Instant>,
    last_look: Option<Instant>,
}

impl Looker {
    /// A looker that has seen nothing yet; `proc` is /proc.
    pub(super) fn new(mode: Mode, proc: impl Into<PathBuf>) -> Self {
        let proc = proc.into();
        Self {
            mode,
            open: Diag::open,
            diag: None,
            trouble: None,
            owners: Owners::new(proc.clone()),
            table: Table::default(),
            way: Way::Netlink,
            interest: Interest::default(),
            last_full: None,
            last_look: None,
            proc,
        }
    }

    /// Looks once. The delta is full at first, once a minute, and when the interest or the way of reading changed.
    ///
    /// # Errors
    /// When neither way that the mode allows can be read.
    pub(super) fn look(&mut self, interest: &Interest, now: Instant) -> io::Result<Looked> {
        let begun = Instant::now();
        let due = self.last_full.is_none_or(|t| now.saturating_duration_since(t) >= FULL_EVERY);
        let full = due || *interest != self.interest;
        if full {
            self.interest.clone_from(interest);
            self.table.ask_again();
        }
        let (delta, sense) = match self.by_netlink(full, due, now)? {
            Some(delta) => (delta, self.sense_of_netlink()),
            None => (self.by_procfs(full, now)?, self.sense_of_procfs()),
        };
        if delta.full {
            self.last_full = Some(now);
        }
        let since = self.last_look.replace(now).map(|before| now.saturating_duration_since(before));
        Ok(Looked { delta: SocketDelta { took: begun.elapsed(), since, ..delta }, sense })
    }

    /// `None` when netlink is not to be used or failed just now and /proc may stand in.
    fn by_netlink(&mut self, full: bool, retry: bool, now: Instant) -> io::Result<Option<SocketDelta>> {
        if self.mode == Mode::Procfs || (self.trouble.is_some() && !retry) {
            return Ok(None);
        }
        match self.dump(full, now) {
            Ok(delta) => {
                self.trouble = None;
                Ok(Some(delta))
            }
            Err(e) if self.mode == Mode::Netlink => Err(e),
            Err(e) => {
                tracing::info!(error = %e, "netlink failed, reading /proc/net/tcp");
                self.trouble = Some((e.to_string(), netlink::remedy(&e)));
                Ok(None)
            }
        }
    }

    fn dump(&mut self, full: bool, now: Instant) -> io::Result<SocketDelta> {
        // Taken out, so that a socket on which anything failed is not used again.
        let mut diag = match self.diag.take() {
            Some(diag) => diag,
            None => (self.open)()?,
        };
        let interest = self.interest.clone();
        let delta = self.gather(Way::Netlink, full, now, |each| diag.dump(&interest, each))?;
        self.diag = Some(diag);
        Ok(delta)
    }

    fn by_procfs(&mut self, full: bool, now: Instant) -> io::Result<SocketDelta> {
        let rows = procfs::read(&self.proc, &self.interest)?;
        self.gather(Way::Procfs, full, now, |each| {
            for row in rows {
                each(Found::Connection(row));
            }
            Ok(())
        })
    }

    /// Takes in what `walk` finds. Rows of unknown owner wait for one common search.
    fn gather(
        &mut self,
        way: Way,
        full: bool,
        now: Instant,
        walk: impl FnOnce(&mut dyn FnMut(Found)) -> io::Result<()>,
    ) -> io::Result<SocketDelta> {
        let full = full || way != self.way;
        if way != self.way {
            // Cookies of one way mean nothing in the other.
            self.table = Table::default();
            self.way = way;
        }
        let search = !self.interest.pids.is_empty();
        let mut look = self.table.look(full);
        let (mut listening, mut ownerless) = (Vec::new(), Vec::new());
        walk(&mut |found| match found {
            Found::Listening(cookie, listener) => listening.push((cookie, listener)),
            Found::Connection(row) if !search || row.inode == 0 => look.see(row, Holder::Unasked),
            Found::Connection(row) => match look.holder(&row) {
                Holder::Unasked => ownerless.push(row),
                known => look.see(row, known),
            },
        })?;
        see_ownerless(&mut look, ownerless, &mut self.owners, &self.interest, now);
        let Changes { rows, closed } = look.finish();
        Ok(SocketDelta {
            full,
            source: way,
            rows,
            closed,
            listeners: in_order(listening),
            took: Duration::ZERO,
            since: None,
        })
    }

    fn sense_of_netlink(&self) -> Sense {
        if !self.interest.pids.is_empty() && self.owners.denied() {
            return Sense::degraded(
                "sockets seen, worker pids unknown: an nginx process does not show its descriptors",
                "run as root, or grant CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH",
            );
        }
        Sense::seen("the kernel's socket table, by netlink sock_diag")
    }

    fn sense_of_procfs(&self) -> Sense {
        let poorer = "/proc/net/tcp has no byte counts, idle times, round-trip times or backlogs";
        match &self.trouble {
            Some((why, remedy)) => Sense::degraded(format!("{why}; {poorer}"), *remedy),
            None => Sense::degraded(poorer, "read the sockets by netlink"),
        }
    }

    /// How many connections the last look saw.
    pub(super) fn seen(&self) -> usize {
        self.table.len()
    }
}

fn see_ownerless(look: &mut Look<'_>, rows: Vec<SocketRow>, owners: &mut Owners, interest: &Interest, now: Instant) {
    if rows.is_empty() {
        return;
    }
    let inodes: Vec<u64> = rows.iter().map(|r| r.inode).collect();
    let held = owners.search(&interest.pids, &inodes, now);
    for row in rows {
        let holder = match &held {
            Some(held) => held.get(&row.inode).map_or(Holder::Nobody, |pid| Holder::Pid(*pid)),
            None => Holder::Unasked,
        };
        look.see(row, holder);
    }
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
    use std::net::{SocketAddr, TcpListener, TcpStream};

    const SECOND: Duration = Duration::from_secs(1);

    fn refused() -> io::Result<Diag> {
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

        looker.open = Diag::open;
        let soon = looker.look(&interest, start + SECOND).expect("a look");
        assert_eq!((soon.delta.full, soon.delta.source), (false, Way::Procfs), "not tried at every look");
        let later = looker.look(&interest, start + FULL_EVERY).expect("a look");
        assert_eq!((later.delta.full, later.delta.source, later.sense.sight), (true, Way::Netlink, Sight::Seen));
        assert!(shows(&later, local));
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
    fn when_only_netlink_will_do_its_failure_is_an_error() {
        let (_, interest, _held) = connection("127.0.0.33");
        let mut looker = Looker { open: refused, ..Looker::new(Mode::Netlink, "/proc") };
        assert_eq!(looker.look(&interest, Instant::now()).expect_err("refused").to_string(), "no sock_diag here");
        let nowhere = tempfile::tempdir().expect("directory");
        let mut looker = Looker { open: refused, ..Looker::new(Mode::Auto, nowhere.path()) };
        assert!(looker.look(&interest, Instant::now()).expect_err("no /proc either").to_string().contains("net/tcp"));
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
