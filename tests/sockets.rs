//! The socket source against real loopback connections. Nothing here needs root, nginx or `ss`.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio::sync::{mpsc, watch};
use wspulse::event::site::Interest;
use wspulse::event::socket::{SocketDelta, SocketRow, SocketSource as Way, TcpState, TcpTimer};
use wspulse::event::{Event, Sight, Stamped};
use wspulse::source::sockets::{Mode, Snapshot, SocketSource, snapshot};
use wspulse::source::supervise;

const DEADLINE: Duration = Duration::from_secs(20);

/// A listener on 127.0.0.`last`, an accepted connection from 127.0.0.`last + 100`, and both ends of it.
struct Pair {
    listener: TcpListener,
    client: TcpStream,
    server: TcpStream,
}

fn connect_from(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("bound");
    socket.connect(&to.into()).expect("connected");
    socket.into()
}

fn pair(last: u8) -> Pair {
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), 0)).expect("bound");
    let client = connect_from(Ipv4Addr::new(127, 0, 0, last + 100), listener.local_addr().expect("address"));
    let (server, _) = listener.accept().expect("accepted");
    Pair { listener, client, server }
}

impl Pair {
    fn port(&self) -> u16 {
        self.listener.local_addr().expect("address").port()
    }

    /// Both ends as nginx's client leg would show them.
    fn ends(&self) -> (SocketAddr, SocketAddr) {
        (self.server.local_addr().expect("address"), self.server.peer_addr().expect("address"))
    }
}

fn listens(port: u16) -> Interest {
    Interest { listen_ports: [port].into(), ..Interest::default() }
}

fn proxies_to(port: u16) -> Interest {
    Interest { upstream_ports: [port].into(), ..Interest::default() }
}

/// Looks until the snapshot is as it should be: the kernel acknowledges in its own time.
fn until(interest: &Interest, mode: Mode, good: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let begun = Instant::now();
    loop {
        let seen = snapshot(interest, mode).expect("a look");
        if good(&seen) {
            return seen;
        }
        assert!(begun.elapsed() < DEADLINE, "never came true: {seen:#?}");
        std::thread::yield_now();
    }
}

/// The rows whose own address is this one: another program may use the same port elsewhere.
fn on(seen: &Snapshot, ip: Ipv4Addr) -> Vec<SocketRow> {
    of(&seen.rows, IpAddr::V4(ip))
}

fn of(rows: &[SocketRow], ip: IpAddr) -> Vec<SocketRow> {
    rows.iter().filter(|r| r.local.ip() == ip).cloned().collect()
}

#[test]
fn both_legs_are_seen_with_their_bytes_and_idle_times() {
    let mut p = pair(11);
    let (local, peer) = p.ends();
    p.client.write_all(b"hello, nginx").expect("written");
    p.server.read_exact(&mut [0; 7]).expect("read");
    p.server.write_all(b"hi").expect("written");

    let acknowledged = |s: &Snapshot| s.rows.iter().any(|r| r.info.is_some_and(|i| i.bytes_acked >= Some(2)));
    let seen = until(&listens(p.port()), Mode::Netlink, acknowledged);
    assert_eq!((seen.source, seen.sense.sight), (Way::Netlink, Sight::Seen));
    let rows = on(&seen, Ipv4Addr::new(127, 0, 0, 11));
    let [row] = rows.as_slice() else { panic!("one client leg, not the client's own end: {rows:#?}") };
    assert_eq!((row.local, row.peer, row.state), (local, peer, TcpState::Established));
    assert_eq!((row.recv_q, row.send_q, row.pid), (5, 0, None));
    let info = row.info.expect("tcp_info");
    assert_eq!((info.bytes_received, info.bytes_sent), (Some(12), Some(2)));
    assert!(info.last_received_ms.is_some_and(|ms| ms < 20_000) && info.last_sent_ms.is_some_and(|ms| ms < 20_000));
    assert!(info.rtt_us.is_some_and(|us| us < 5_000_000));

    // The same connection as an upstream leg: seen from the end that dialled.
    let seen = snapshot(&proxies_to(p.port()), Mode::Netlink).expect("a look");
    let rows = on(&seen, Ipv4Addr::new(127, 0, 0, 111));
    let [row] = rows.as_slice() else { panic!("{rows:#?}") };
    assert_eq!((row.local, row.peer), (peer, local));
    assert_eq!(row.info.and_then(|i| i.bytes_received), Some(2));
    let queues: Vec<_> = seen.listeners.iter().map(|l| (l.local, l.queue)).collect();
    assert_eq!(queues, [(local, 0)], "the backend's own listener");
}

#[test]
fn only_the_ports_of_the_interest_are_seen() {
    let (a, b) = (pair(12), pair(13));
    let seen = snapshot(&listens(a.port()), Mode::Netlink).expect("a look");
    assert!(seen.rows.iter().all(|r| r.local.port() == a.port()), "{:#?}", seen.rows);
    assert_eq!(on(&seen, Ipv4Addr::new(127, 0, 0, 12)).len(), 1);
    let both = Interest { listen_ports: [a.port()].into(), upstream_ports: [b.port()].into(), ..Interest::default() };
    let seen = snapshot(&both, Mode::Netlink).expect("a look");
    assert_eq!(on(&seen, Ipv4Addr::new(127, 0, 0, 12)).len(), 1, "a's client leg");
    assert_eq!(on(&seen, Ipv4Addr::new(127, 0, 0, 113)).len(), 1, "b's upstream leg");
    assert_eq!(on(&seen, Ipv4Addr::new(127, 0, 0, 13)).len(), 0, "b's other end");
    assert_eq!(snapshot(&Interest::default(), Mode::Netlink).expect("a look").rows, [], "nothing asked, nothing seen");
}

#[test]
fn proc_sees_the_same_connections_and_says_what_it_cannot() {
    let mut p = pair(14);
    p.client.write_all(b"unread").expect("written");
    let interest = listens(p.port());
    let by_netlink = until(&interest, Mode::Netlink, |s| s.rows.iter().any(|r| r.recv_q == 6));
    let by_proc = snapshot(&interest, Mode::Procfs).expect("a look");
    let told = |s: &Snapshot| {
        let rows = on(s, Ipv4Addr::new(127, 0, 0, 14));
        rows.iter().map(|r| (r.local, r.peer, r.state, r.recv_q, r.send_q, r.inode)).collect::<Vec<_>>()
    };
    assert_eq!(told(&by_proc), told(&by_netlink));
    assert_eq!((by_proc.source, by_proc.sense.sight), (Way::Procfs, Sight::Degraded));
    assert!(by_proc.rows.iter().all(|r| r.info.is_none() && r.cookie == u64::from(r.inode)));
    let listeners = |s: &Snapshot| s.listeners.iter().map(|l| (l.local, l.queue)).collect::<Vec<_>>();
    assert_eq!(listeners(&by_proc), listeners(&by_netlink));
    assert!(by_proc.listeners.iter().all(|l| l.backlog.is_none()));
}

#[test]
fn the_peer_that_left_shows_as_close_wait() {
    let p = pair(15);
    drop(p.client);
    let interest = listens(p.listener.local_addr().expect("address").port());
    let left = |s: &Snapshot| on(s, Ipv4Addr::new(127, 0, 0, 15)).iter().any(|r| r.state == TcpState::CloseWait);
    until(&interest, Mode::Netlink, left);
    until(&interest, Mode::Procfs, left);
}

#[test]
fn a_peer_that_does_not_read_shows_as_a_closed_window_that_is_probed() {
    let mut p = pair(20);
    p.server.set_nonblocking(true).expect("set");
    let block = vec![7; 64 * 1024];
    // Until both buffers are full; the kernel moves data on in its own time, so once more until it is really full.
    let fill = |server: &mut TcpStream| while server.write(&block).is_ok_and(|n| n > 0) {};
    fill(&mut p.server);
    let interest = listens(p.port());
    let (local, _) = p.ends();
    let begun = Instant::now();
    let strain = loop {
        fill(&mut p.server);
        let seen = snapshot(&interest, Mode::Netlink).expect("a look");
        let row = seen.rows.iter().find(|r| r.local == local).expect("seen");
        match row.strain.as_deref() {
            Some(s) if s.peer_window == Some(0) && row.timer == Some(TcpTimer::Persist) => break *s,
            other => assert!(begun.elapsed() < DEADLINE, "never came true: {other:?}, {:?}", row.timer),
        }
    };
    assert!(strain.unsent.is_some_and(|n| n > 0) && strain.timer_ms.is_some(), "{strain:?}");
    assert!(strain.busy_ms >= strain.peer_limited_ms && strain.own_window.is_none_or(|w| w > 0), "{strain:?}");

    let seen = snapshot(&interest, Mode::Procfs).expect("a look");
    let row = seen.rows.iter().find(|r| r.local == local).expect("seen");
    let strain = row.strain.as_deref().expect("unsent data");
    assert_eq!((row.timer, strain.peer_window, strain.unsent), (Some(TcpTimer::Persist), None, None), "unknown, not 0");
}

#[test]
fn a_connection_with_keepalive_shows_its_timer_and_what_is_left_of_it() {
    let p = pair(26);
    socket2::SockRef::from(&p.server).set_keepalive(true).expect("set");
    let (local, _) = p.ends();
    for mode in [Mode::Netlink, Mode::Procfs] {
        let seen = snapshot(&listens(p.port()), mode).expect("a look");
        let row = seen.rows.iter().find(|r| r.local == local).expect("seen");
        assert_eq!(row.timer, Some(TcpTimer::Keepalive), "{mode:?}");
        let left = row.strain.as_deref().and_then(|s| s.timer_ms);
        // tcp_keepalive_time is two hours unless somebody set it.
        assert_eq!(left.is_some_and(|ms| ms > 0), mode == Mode::Netlink, "{mode:?}: {left:?}");
        assert!(row.strain.as_deref().is_none_or(|s| s.probes.is_none_or(|n| n == 0)), "{mode:?}");
    }
}

#[test]
fn a_socket_of_nginxs_control_group_is_told_from_others() {
    let p = pair(27);
    let interest = Interest { pids: [std::process::id()].into(), ..listens(p.port()) };
    let seen = snapshot(&interest, Mode::Netlink).expect("a look");
    let told = on(&seen, Ipv4Addr::new(127, 0, 0, 27))[0].nginx_group;
    if told.is_none() {
        return skip("no control groups of version 2 here, or a kernel before 5.9");
    }
    assert_eq!(told, Some(true), "made by this very process");
}

#[test]
fn a_dual_stack_listener_shows_its_ipv4_clients_as_ipv4_and_the_others_as_ipv6() {
    let socket = match Socket::new(Domain::IPV6, Type::STREAM, None) {
        Ok(socket) => socket,
        Err(e) => return skip(&format!("no IPv6 here: {e}")),
    };
    socket.set_only_v6(false).expect("dual stack");
    if let Err(e) = socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()) {
        return skip(&format!("no IPv6 here: {e}"));
    }
    socket.listen(8).expect("listening");
    let listener: TcpListener = socket.into();
    let port = listener.local_addr().expect("address").port();
    let four = connect_from(Ipv4Addr::new(127, 0, 0, 116), (Ipv4Addr::new(127, 0, 0, 16), port).into());
    let six = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).expect("connected");
    let accepted = [listener.accept().expect("accepted"), listener.accept().expect("accepted")];

    let expected: BTreeSet<_> = [
        (four.peer_addr().expect("address"), four.local_addr().expect("address")),
        (six.peer_addr().expect("address"), six.local_addr().expect("address")),
    ]
    .into();
    assert!(expected.iter().any(|(l, _)| l.is_ipv4()) && expected.iter().any(|(l, _)| l.is_ipv6()));
    for mode in [Mode::Netlink, Mode::Procfs] {
        let seen = snapshot(&listens(port), mode).expect("a look");
        let rows: BTreeSet<_> = seen.rows.iter().map(|r| (r.local, r.peer)).collect();
        assert_eq!(rows, expected, "{mode:?}");
    }
    let seen = snapshot(&listens(port), Mode::Netlink).expect("a look");
    let locals: Vec<_> = seen.listeners.iter().map(|l| l.local).collect();
    assert_eq!(locals, [SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))]);
    drop(accepted);
}

#[expect(clippy::disallowed_macros, reason = "a skip says why")]
fn skip(why: &str) {
    eprintln!("skipped: {why}");
}

#[test]
fn a_full_accept_queue_shows_in_the_listener_and_the_caller_waits_in_syn_sent() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, 17), 0)).into()).expect("bound");
    socket.listen(2).expect("listening");
    let listener: TcpListener = socket.into();
    let address = listener.local_addr().expect("address");
    // A queue of 2 takes 3 (the kernel compares with >); nobody accepts them.
    let waiting: Vec<_> = (0..3).map(|_| connect_from(Ipv4Addr::new(127, 0, 0, 117), address)).collect();
    let late = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    late.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, 118), 0)).into()).expect("bound");
    late.set_nonblocking(true).expect("set");
    assert!(late.connect(&address.into()).is_err(), "in progress");

    let seen = until(&listens(address.port()), Mode::Netlink, |s| {
        s.listeners.iter().any(|l| l.local == address && l.queue == 3)
    });
    let listener = seen.listeners.iter().find(|l| l.local == address).expect("listed");
    assert_eq!((listener.local, listener.queue, listener.backlog), (address, 3, Some(2)));
    let rows = on(&seen, Ipv4Addr::new(127, 0, 0, 17));
    assert!(rows.iter().filter(|r| r.state == TcpState::Established).all(|r| r.inode == 0), "nobody's yet: {rows:#?}");

    // Of a backend's port the same is seen, however the tables are read.
    let seen = snapshot(&proxies_to(address.port()), Mode::Procfs).expect("a look");
    assert!(seen.listeners.iter().any(|l| (l.local, l.queue, l.backlog) == (address, 3, None)), "{:?}", seen.listeners);
    let seen = snapshot(&proxies_to(address.port()), Mode::Netlink).expect("a look");
    assert!(
        seen.listeners.iter().any(|l| (l.local, l.queue, l.backlog) == (address, 3, Some(2))),
        "{:?}",
        seen.listeners
    );
    let rows = on(&seen, Ipv4Addr::new(127, 0, 0, 118));
    let [row] = rows.as_slice() else { panic!("{rows:#?}") };
    assert_eq!(row.state, TcpState::SynSent);
    let info = row.info.expect("tcp_info");
    assert_eq!((info.last_sent_ms, info.last_received_ms, info.rtt_us), (None, None, None), "unknown, not huge");
    drop(waiting);
}

#[test]
fn a_socket_is_owned_by_the_process_that_holds_it() {
    let p = pair(18);
    let me = std::process::id();
    for mode in [Mode::Netlink, Mode::Procfs] {
        let pids = |pids: BTreeSet<u32>| Interest { pids, ..listens(p.port()) };
        let owned = snapshot(&pids([me].into()), mode).expect("a look");
        assert_eq!(on(&owned, Ipv4Addr::new(127, 0, 0, 18))[0].pid, Some(me));
        let gone = snapshot(&pids([u32::MAX].into()), mode).expect("a look");
        assert_eq!(on(&gone, Ipv4Addr::new(127, 0, 0, 18))[0].pid, None);
    }
}

#[test]
fn hidden_descriptors_are_told_with_the_remedy() {
    if !std::fs::read_dir("/proc/1/fd").is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied) {
        return skip("this user may look at process 1");
    }
    let p = pair(19);
    let seen = snapshot(&Interest { pids: [1].into(), ..listens(p.port()) }, Mode::Netlink).expect("a look");
    assert_eq!(seen.sense.sight, Sight::Degraded);
    assert!(seen.sense.said.contains("worker pids unknown"), "{}", seen.sense.said);
    assert!(seen.sense.remedy.as_deref().is_some_and(|r| r.contains("CAP_SYS_PTRACE")));
    assert_eq!(on(&seen, Ipv4Addr::new(127, 0, 0, 19)).len(), 1, "the socket itself is seen");
}

/// A running source and its way out.
struct Watched {
    interest: watch::Sender<Interest>,
    events: mpsc::Receiver<Stamped>,
}

impl Watched {
    fn start(interest: Interest, interval: Duration) -> Self {
        let (sender, receiver) = watch::channel(interest);
        let (tx, events) = mpsc::channel(64);
        let mut source = SocketSource::new(&Arc::from("here"), receiver);
        source.interval = interval;
        supervise(source, tx);
        Self { interest: sender, events }
    }

    async fn next(&mut self) -> Event {
        let next = tokio::time::timeout(DEADLINE, self.events.recv()).await;
        next.expect("an event in time").expect("the source lives").event
    }

    /// The next delta of which `good` is true. The deadline is for all of it: the source speaks even when nothing changes.
    async fn delta(&mut self, good: impl Fn(&SocketDelta) -> bool) -> SocketDelta {
        let search = async {
            loop {
                match self.next().await {
                    Event::Sockets(delta) if good(&delta) => return delta,
                    _ => {}
                }
            }
        };
        tokio::time::timeout(DEADLINE, search).await.expect("such a delta in time")
    }
}

const SOON: Duration = Duration::from_millis(20);
const NEVER: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn the_source_tells_everything_once_and_then_what_changed() {
    let mut p = pair(21);
    let (local, peer) = p.ends();
    let mut watched = Watched::start(listens(p.port()), SOON);
    let first = watched.delta(|_| true).await;
    assert!(first.full);
    let rows = of(&first.rows, local.ip());
    assert_eq!(rows.iter().map(|r| (r.local, r.peer)).collect::<Vec<_>>(), [(local, peer)]);
    assert!(first.listeners.iter().any(|l| l.local == local));
    let cookie = rows[0].cookie;

    let second = connect_from(Ipv4Addr::new(127, 0, 0, 122), local);
    let (second_server, _) = p.listener.accept().expect("accepted");
    let opened = watched.delta(|d| d.rows.iter().any(|r| r.peer == second.local_addr().expect("address"))).await;
    assert!(!opened.full && opened.rows.iter().all(|r| r.cookie != cookie), "the quiet one is not told again");

    p.client.write_all(b"ping").expect("written");
    let received = |r: &SocketRow| r.info.and_then(|i| i.bytes_received);
    let moved = watched.delta(|d| d.rows.iter().any(|r| r.cookie == cookie && received(r) == Some(4))).await;
    assert_eq!((moved.full, of(&moved.rows, local.ip()).len()), (false, 1));

    drop((p.client, p.server));
    watched.delta(|d| !d.full && d.closed.contains(&cookie)).await;
    drop((second, second_server));
}

#[tokio::test]
async fn a_new_interest_is_looked_at_at_once_and_an_empty_one_puts_the_light_out() {
    let (a, b) = (pair(23), pair(24));
    let mut watched = Watched::start(Interest::default(), NEVER);
    match watched.next().await {
        Event::Sense(s) => assert_eq!((s.sight, s.said.as_str()), (Sight::Off, "no ports to watch yet")),
        other => panic!("{other:?}"),
    }
    for p in [&a, &b] {
        watched.interest.send(listens(p.port())).expect("watched");
        let delta = watched.delta(|_| true).await;
        assert!(delta.full && delta.rows.iter().any(|r| r.local == p.ends().0), "{delta:#?}");
    }
    watched.interest.send(Interest::default()).expect("watched");
    assert!(matches!(watched.next().await, Event::Sense(s) if s.sight == Sight::Off));
    let gone = watched.delta(|_| true).await;
    assert!(gone.full && gone.rows.is_empty() && gone.listeners.is_empty());

    drop(watched.interest);
    let end = tokio::time::timeout(DEADLINE, watched.events.recv()).await.expect("ends in time");
    assert!(end.is_none(), "with nothing to watch and nobody to say otherwise, it is over");
}

#[tokio::test]
async fn a_new_worker_list_names_the_owners() {
    let p = pair(25);
    let me = std::process::id();
    let mut watched = Watched::start(listens(p.port()), NEVER);
    let ip = p.ends().0.ip();
    assert_eq!(of(&watched.delta(|_| true).await.rows, ip)[0].pid, None);
    watched.interest.send(Interest { pids: [me].into(), ..listens(p.port()) }).expect("watched");
    let delta = watched.delta(|_| true).await;
    assert!(delta.full);
    assert_eq!(of(&delta.rows, ip)[0].pid, Some(me));
}
