//! Reads the kernel's answers about unix stream sockets and finds nginx's connections to its backends among them.
//!
//! A connected pair shows as two rows: the backend's end bears the path of the listener that it was accepted from, nginx's
//! end has no name, only the inode of its peer. Before it is accepted nginx's end stands in the listener's queue. Layouts
//! are those of linux/unix_diag.h; what the attributes mean is in net/unix/diag.c.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::diff::Holder;
use super::frame::{attributes, take, u32_at};
use super::netlink::Extent;
use crate::event::socket::{UnixListener, UnixRow, UnixState};

/// The fixed part of a row, `sizeof(struct unix_diag_msg)`.
const FIXED: usize = 16;
/// AF_UNIX and SOCK_STREAM.
const FAMILY: u8 = 1;
const STREAM: u8 = 1;
/// The states of unix sockets are numbered as TCP's.
const ESTABLISHED: u8 = 1;
const LISTEN: u8 = 10;
/// Attributes of a row; the same numbers as bit positions are what a request asks for.
const NAME: u16 = 0;
const VFS: u16 = 1;
const PEER: u16 = 2;
const ICONS: u16 = 3;
const RQLEN: u16 = 4;

/// A request for all listening and connected unix sockets, `struct unix_diag_req`: the kernel filters by state only.
pub(super) fn unix_request() -> Vec<u8> {
    let shown = [NAME, VFS, PEER, ICONS, RQLEN].iter().fold(0_u32, |bits, kind| bits | (1 << kind));
    let mut out = vec![FAMILY, 0, 0, 0];
    out.extend(((1_u32 << ESTABLISHED) | (1 << LISTEN)).to_ne_bytes());
    out.extend(0_u32.to_ne_bytes()); // any inode
    out.extend(shown.to_ne_bytes());
    out.extend([0xff; 8]); // no cookie
    out
}

/// The sockets of the backends: their paths, and which files those are. A path may lead through a symbolic link (`/var/run`),
/// and a backend may have bound its socket by a relative name: the file decides as well as the name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Paths(Vec<(Arc<str>, Option<File>)>);

/// Inode and device, as the kernel writes them.
type File = (u32, u32);

impl Paths {
    /// Looks the files up below `root`, where nginx sees them.
    pub(super) fn find(paths: &BTreeSet<String>, root: &Path) -> Self {
        let file = |path: &str| {
            let at = root.join(path.trim_start_matches('/'));
            let meta = std::fs::metadata(at).or_else(|_| std::fs::metadata(path)).ok()?;
            let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
            // The kernel tells the low 32 bits of the inode, and the device in its own writing (linux/kdev_t.h).
            Some((u32::try_from(meta.ino() & u64::from(u32::MAX)).ok()?, (major << 20) | minor))
        };
        Self(paths.iter().map(|p| (Arc::from(p.as_str()), file(p))).collect())
    }

    /// One path whose file is not known.
    pub(super) fn named(path: &str) -> Self {
        Self(vec![(Arc::from(path), None)])
    }

    fn index(&self, name: Option<&[u8]>, file: Option<File>) -> Option<usize> {
        let same = |(path, known): &(Arc<str>, Option<File>)| {
            name == Some(path.as_bytes()) || (known.is_some() && *known == file)
        };
        self.0.iter().position(same)
    }
}

/// One end of a connection, or a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    cookie: u64,
    inode: u32,
    listening: bool,
    named: bool,
    /// Which of the watched paths it is bound to.
    on: Option<usize>,
    /// The inode of the other end; `None` while nobody has accepted it, and when it is gone.
    peer: Option<u32>,
    /// Inodes of the callers that wait for accept.
    waiting: Vec<u32>,
    /// Bytes to be read and memory not yet read by the peer; for a listener: who waits and how many may.
    queues: Option<(u32, u32)>,
}

/// One row from the payload of one netlink message; `None` for what is no unix stream socket.
pub(super) fn end(payload: &[u8], paths: &Paths) -> Option<End> {
    let fixed: [u8; FIXED] = take(payload, 0)?;
    if fixed[0] != FAMILY || fixed[1] != STREAM || ![ESTABLISHED, LISTEN].contains(&fixed[2]) {
        return None;
    }
    let cookie = u64::from(u32_at(&fixed, 8)?) | (u64::from(u32_at(&fixed, 12)?) << 32);
    let (mut name, mut file, mut icons) = (None, None, None);
    let mut end = End {
        cookie,
        inode: u32_at(&fixed, 4)?,
        listening: fixed[2] == LISTEN,
        named: false,
        on: None,
        peer: None,
        waiting: Vec::new(),
        queues: None,
    };
    for (kind, value) in attributes(payload.get(FIXED..)?) {
        match kind {
            // Some programs bind with the terminating NUL, some without.
            NAME => name = value.split(|b| *b == 0).next(),
            VFS => file = u32_at(value, 0).zip(u32_at(value, 4)),
            PEER => end.peer = u32_at(value, 0).filter(|inode| *inode > 0),
            ICONS => icons = Some(value),
            RQLEN => end.queues = u32_at(value, 0).zip(u32_at(value, 4)),
            _ => {}
        }
    }
    end.named = name.is_some();
    end.on = paths.index(name, file);
    if end.on.is_some() {
        let inodes = icons.unwrap_or_default().chunks_exact(4);
        end.waiting = inodes.filter_map(|i| u32_at(i, 0)).filter(|inode| *inode > 0).collect();
    }
    Some(end)
}

/// nginx's ends and the backends' listeners, as one dump shows them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) legs: Vec<UnixRow>,
    pub(super) listeners: Vec<UnixListener>,
}

/// The connections to watched paths of the last look.
#[derive(Debug, Default)]
pub(super) struct UnixTable {
    legs: HashMap<u64, (UnixRow, Holder), foldhash::fast::RandomState>,
}

impl UnixTable {
    /// Finds nginx's ends. One whose other end is gone is known from the look before.
    pub(super) fn join(&self, ends: &[End], paths: &Paths) -> Joined {
        let path = |on: usize| paths.0.get(on).map(|(path, _)| Arc::clone(path));
        let (mut accepted, mut waiting) = (HashMap::new(), HashMap::new());
        let mut listeners = Vec::new();
        for (end, on) in ends.iter().filter_map(|e| Some((e, e.on?))) {
            if end.listening {
                waiting.extend(end.waiting.iter().map(|inode| (*inode, on)));
                let (queue, backlog) = end.queues.unzip();
                listeners.extend(path(on).map(|path| UnixListener { path, queue, backlog }));
            } else {
                accepted.insert(end.inode, on);
            }
        }
        listeners.sort_by(|a, b| a.path.cmp(&b.path));
        let leg = |end: &End| {
            let open = end.peer.and_then(|peer| accepted.get(&peer)).map(|on| (*on, UnixState::Open));
            let waits = || waiting.get(&end.inode).map(|on| (*on, UnixState::Waiting));
            let left = || {
                let (before, _) = self.legs.get(&end.cookie).filter(|(r, _)| r.inode == end.inode)?;
                Some((Arc::clone(&before.path), UnixState::PeerClosed))
            };
            let found = open.or_else(waits).and_then(|(on, state)| Some((path(on)?, state)));
            let (path, state) = found.or_else(left)?;
            let (recv_q, send_q) = end.queues.unzip();
            let (cookie, inode, peer_inode) = (end.cookie, end.inode, end.peer);
            Some(UnixRow { cookie, path, state, inode, peer_inode, pid: None, recv_q, send_q })
        };
        let legs = ends.iter().filter(|e| !e.listening && !e.named).filter_map(leg).collect();
        Joined { legs, listeners }
    }

    /// What is known of who holds this end.
    pub(super) fn holder(&self, row: &UnixRow) -> Holder {
        self.legs.get(&row.cookie).filter(|(r, _)| r.inode == row.inode).map_or(Holder::Unasked, |(_, holder)| *holder)
    }

    /// Takes the legs of a look with their holders; gives what changed, or all of it, and the cookies that are gone.
    pub(super) fn turn(
        &mut self,
        legs: Vec<(UnixRow, Holder)>,
        full: bool,
        extent: Extent,
    ) -> (Vec<UnixRow>, Vec<u64>) {
        let mut before = std::mem::take(&mut self.legs);
        let mut changed = Vec::new();
        for (mut row, holder) in legs {
            row.pid = holder.pid();
            let old = before.remove(&row.cookie);
            // A dump that was made again shows most ends twice.
            let twice = self.legs.contains_key(&row.cookie);
            if !twice && (full || old.is_none_or(|(old, _)| old != row)) {
                changed.push(row.clone());
            }
            self.legs.insert(row.cookie, (row, holder));
        }
        if extent == Extent::Part {
            // What was not seen this time may only have been missed.
            self.legs.extend(before);
            return (changed, Vec::new());
        }
        (changed, before.into_keys().collect())
    }

    /// Forgets holders as [`super::diff::Table::ask_again`] does.
    pub(super) fn ask_again(&mut self, pids: &BTreeSet<u32>) {
        self.legs.values_mut().for_each(|(_, holder)| holder.ask_again(pids));
    }

    /// How many connections the last look saw.
    pub(super) fn len(&self) -> usize {
        self.legs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::tests::attribute;
    use super::*;
    use proptest::prelude::*;

    const APP: &str = "/run/app.sock";

    fn paths() -> Paths {
        Paths(vec![(Arc::from(APP), Some((77, (8 << 20) | 1))), (Arc::from("/run/other.sock"), None)])
    }

    fn message(state: u8, inode: u32, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut m = vec![FAMILY, STREAM, state, 0];
        m.extend(inode.to_ne_bytes());
        m.extend(u64::from(inode + 1_000).to_ne_bytes());
        m.extend(attributes.concat());
        m
    }

    fn number(kind: u16, n: u32) -> Vec<u8> {
        attribute(kind, &n.to_ne_bytes())
    }

    fn queues(a: u32, b: u32) -> Vec<u8> {
        attribute(RQLEN, &[a.to_ne_bytes(), b.to_ne_bytes()].concat())
    }

    fn ends(messages: &[Vec<u8>]) -> Vec<End> {
        messages.iter().map(|m| end(m, &paths()).expect("an end")).collect()
    }

    /// A listener with one caller waiting, an accepted connection and one of another program.
    fn world() -> Vec<End> {
        let icons = attribute(ICONS, &[30_u32.to_ne_bytes(), 0_u32.to_ne_bytes()].concat());
        ends(&[
            message(LISTEN, 10, &[attribute(NAME, APP.as_bytes()), icons, queues(1, 128)]),
            message(ESTABLISHED, 21, &[attribute(NAME, APP.as_bytes()), number(PEER, 20), queues(0, 0)]),
            message(ESTABLISHED, 20, &[number(PEER, 21), queues(5, 2_304)]),
            message(ESTABLISHED, 30, &[number(PEER, 0), queues(0, 768)]),
            message(ESTABLISHED, 41, &[attribute(NAME, b"/run/dbus"), number(PEER, 40)]),
            message(ESTABLISHED, 40, &[number(PEER, 41)]),
        ])
    }

    #[test]
    fn nginxs_ends_are_found_by_their_peers_and_by_the_accept_queue() {
        let joined = UnixTable::default().join(&world(), &paths());
        let told: Vec<_> = joined.legs.iter().map(|l| (l.inode, l.state, l.peer_inode, l.recv_q, l.send_q)).collect();
        let open = (20, UnixState::Open, Some(21), Some(5), Some(2_304));
        assert_eq!(told, [open, (30, UnixState::Waiting, None, Some(0), Some(768))]);
        assert!(joined.legs.iter().all(|l| &*l.path == APP && l.cookie == u64::from(l.inode) + 1_000));
        let listener = UnixListener { path: APP.into(), queue: Some(1), backlog: Some(128) };
        assert_eq!(joined.listeners, [listener]);
    }

    #[test]
    fn the_file_finds_a_socket_that_was_bound_by_another_name() {
        let vfs = |ino: u32, dev: u32| attribute(VFS, &[ino.to_ne_bytes(), dev.to_ne_bytes()].concat());
        let on = |attributes: &[Vec<u8>]| end(&message(LISTEN, 10, attributes), &paths()).expect("a listener").on;
        assert_eq!(on(&[attribute(NAME, b"app.sock"), vfs(77, (8 << 20) | 1)]), Some(0));
        assert_eq!(on(&[attribute(NAME, b"app.sock"), vfs(77, (8 << 20) | 2)]), None, "another disk");
        assert_eq!(on(&[attribute(NAME, b"app.sock")]), None);
        assert_eq!(on(&[attribute(NAME, b"/run/app.sock\0")]), Some(0), "bound with its terminating NUL");
        assert_eq!(on(&[attribute(NAME, b"\0/run/app.sock")]), None, "an abstract name is another one");
    }

    #[test]
    fn an_end_whose_backend_left_is_still_told_and_then_gone() {
        let mut table = UnixTable::default();
        let holders = |j: Joined| j.legs.into_iter().map(|l| (l, Holder::Pid(7))).collect::<Vec<_>>();
        let legs = holders(table.join(&world(), &paths()));
        let (rows, closed) = table.turn(legs, true, Extent::Whole);
        assert_eq!((rows.len(), closed), (2, vec![]));
        assert!(rows.iter().all(|r| r.pid == Some(7)));

        let legs = holders(table.join(&world(), &paths()));
        assert_eq!(table.turn(legs, false, Extent::Whole), (vec![], vec![]), "nothing changed");

        let left = ends(&[message(ESTABLISHED, 20, &[number(PEER, 0)])]);
        let legs = holders(table.join(&left, &paths()));
        let (rows, closed) = table.turn(legs, false, Extent::Whole);
        assert_eq!(closed, [1_030]);
        assert_eq!(rows.iter().map(|r| (r.inode, r.state)).collect::<Vec<_>>(), [(20, UnixState::PeerClosed)]);
        assert_eq!((rows[0].peer_inode, rows[0].recv_q), (None, None), "unknown, not 0");

        assert_eq!(table.turn(vec![], false, Extent::Part), (vec![], vec![]), "a partial dump ends nothing");
        assert_eq!(table.turn(vec![], false, Extent::Whole), (vec![], vec![1_020]));
    }

    #[test]
    fn other_families_types_and_states_are_no_ends() {
        for (at, value) in [(0, 2), (1, 2), (1, 5), (2, 7), (2, 0)] {
            let mut m = message(ESTABLISHED, 20, &[]);
            m[at] = value;
            assert_eq!(end(&m, &paths()), None);
        }
        assert_eq!(end(&message(ESTABLISHED, 20, &[])[..FIXED - 1], &paths()), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), listens: bool) {
            let _ = end(&bytes, &paths());
            if let Some(head) = bytes.get_mut(..3) {
                head.copy_from_slice(&[FAMILY, STREAM, if listens { LISTEN } else { ESTABLISHED }]);
            }
            let ends: Vec<End> = end(&bytes, &paths()).into_iter().collect();
            let _ = UnixTable::default().join(&ends, &paths());
        }
    }
}
