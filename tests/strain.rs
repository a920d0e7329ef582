//! Tunnels in difficulties through a real nginx: a client that stops reading, a client and a backend that fall silent for
//! ever. What the socket source and the model say of them while they last, and when nginx has cut them.
#![cfg(target_os = "linux")]

mod support;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Socket, Type};
use support::nginx::{Nginx, UPGRADE, installed, location};
use support::{PATIENCE, eventually, tool};
use wspulse::event::site::Interest;
use wspulse::event::socket::{SocketRow, TcpTimer};
use wspulse::event::{Event, SourceId, SourceKind, Stamped};
use wspulse::model::Model;
use wspulse::model::connections::{ClosedTunnel, End, TunnelState, Upstream};
use wspulse::model::legs::{Side, Trouble};
use wspulse::source::config::{ConfigTarget, read_site};
use wspulse::source::process::read_processes;
use wspulse::source::sockets::{Mode, Watcher};
use wspulse::time::Clock;

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: lab.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
/// What a backend says to fill every buffer: nginx does not look into it.
static BLOCK: [u8; 64 * 1024] = [0x82; 64 * 1024];

/// Reads up to the empty line.
fn head(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the rest of a head");
        text.push(byte[0]);
    }
    String::from_utf8(text).expect("text")
}

/// The backend's end of a tunnel that was accepted and opened here.
fn accepted(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().expect("nginx connects");
    assert!(head(&mut stream).to_ascii_lowercase().contains("upgrade: websocket"));
    stream.write_all(SWITCHED.as_bytes()).expect("answered");
    stream
}

/// A client from `from` that takes in at most so many bytes before it reads.
fn dialled(from: Ipv4Addr, port: u16, room: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(room).expect("set");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("bound");
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).expect("nginx listens");
    let mut stream: TcpStream = socket.into();
    stream.write_all(HANDSHAKE.as_bytes()).expect("asked");
    stream
}

/// A tunnel: nginx, both ends, and what is watched of it.
struct Lab {
    nginx: Nginx,
    client: TcpStream,
    backend: TcpStream,
}

impl Lab {
    /// Opens a tunnel from `client` to a backend at `backend` through a location with these lines.
    fn open(binary: &std::path::Path, (client, backend): (Ipv4Addr, Ipv4Addr), lines: &str) -> Self {
        let listener = TcpListener::bind((backend, 0)).expect("bound");
        let at = listener.local_addr().expect("an address");
        let location = location("/ws", at.port(), &format!("{UPGRADE}\n{lines}"));
        let location = location.replace("127.0.0.1", &backend.to_string());
        let nginx = Nginx::start(binary, "info", "", &location);
        let mut client = dialled(client, nginx.port, 16 * 1024);
        let backend = accepted(&listener);
        assert!(head(&mut client).starts_with("HTTP/1.1 101 "));
        Self { nginx, client, backend }
    }

    fn watch(&self, elsewhere: bool) -> Watched {
        let processes = eventually("the worker", || {
            let found = read_processes(true, Some(self.nginx.pid())).expect("/proc");
            (!found.masters.first()?.workers.is_empty()).then_some(found)
        });
        let master = &processes.masters[0];
        let site = read_site(&ConfigTarget::of_master(master).expect("a configuration"));
        assert!(site.problems.is_empty(), "{:?}", site.problems);
        let mut interest = site.interest();
        interest.pids.extend(master.workers.iter().map(|w| w.pid));
        interest.net = elsewhere.then_some(master.pid);
        let mut watched = Watched { model: Model::new("lab"), watcher: Watcher::new(Mode::Netlink), interest };
        watched.say(SourceKind::Config, Event::Site(Box::new(site)));
        watched.say(SourceKind::Process, Event::Processes(processes));
        watched
    }
}

/// A model that the real tables feed, look by look.
struct Watched {
    model: Model,
    watcher: Watcher,
    interest: Interest,
}

/// What is said of the one tunnel at a moment.
#[derive(Debug)]
struct Said {
    client: SocketRow,
    upstream: SocketRow,
    state: TunnelState,
    trouble: Option<(Side, Trouble)>,
}

impl Watched {
    fn say(&mut self, kind: SourceKind, event: Event) {
        self.model.apply(&Stamped { at: Clock.now(), from: SourceId::new(&Arc::from("lab"), kind), event });
    }

    fn look(&mut self) -> Option<Said> {
        let (delta, _) = self.watcher.look(&self.interest).expect("a look");
        self.say(SourceKind::Sockets, Event::Sockets(delta));
        let tunnels = self.model.connections.tunnels(self.model.now, &|_| false);
        let [tunnel] = tunnels.as_slice() else { return None };
        Some(Said {
            client: tunnel.client?.row.clone(),
            upstream: tunnel.upstream?.row.clone(),
            state: tunnel.state,
            trouble: tunnel.trouble(self.model.now),
        })
    }

    /// Looks until what is said is as it should be.
    fn until(&mut self, what: &str, wish: impl Fn(&Said) -> bool) -> Said {
        let (begun, mut last) = (Instant::now(), None);
        loop {
            match self.look() {
                Some(said) if wish(&said) => return said,
                said => last = said.or(last),
            }
            let closed = &self.model.connections.closed;
            assert!(begun.elapsed() < PATIENCE, "{what} was never said: {last:#?}, {closed:#?}");
            thread::park_timeout(std::time::Duration::from_millis(20));
        }
    }

    /// Looks until the one tunnel has ended.
    fn ended(&mut self) -> ClosedTunnel {
        eventually("the end to be told", || {
            self.look();
            self.model.connections.closed.back().cloned()
        })
    }
}

fn has_backed_off(row: &SocketRow, times: u8) -> bool {
    row.info.is_some_and(|i| i.backoff.is_some_and(|n| n >= times) && i.unacked.is_some_and(|n| n > 0))
}

/// Open, and every byte is acknowledged.
fn is_at_rest(said: &Said) -> bool {
    let rests = |row: &SocketRow| row.strain.is_none() && row.timer.is_none();
    said.state == TunnelState::Open && rests(&said.client) && rests(&said.upstream)
}

#[test]
fn a_client_that_stops_reading_shows_a_shut_window_until_nginx_cuts_it() {
    let Some(binary) = installed() else { return };
    let lines = "send_timeout 7s;\n proxy_read_timeout 1h;";
    let lab = Lab::open(&binary, (Ipv4Addr::new(127, 0, 0, 42), Ipv4Addr::LOCALHOST), lines);
    let mut watched = lab.watch(false);
    let own = lab.client.local_addr().expect("an address");
    watched.until("a tunnel at rest", |s| s.client.peer == own && is_at_rest(s));

    let mut backend = lab.backend.try_clone().expect("another handle");
    let flood = thread::spawn(move || while backend.write_all(&BLOCK).is_ok() {});
    let shut = watched.until("a shut window", |s| {
        let window = s.client.strain.as_ref().map(|t| t.peer_window);
        window == Some(Some(0)) && s.client.timer == Some(TcpTimer::Persist) && s.upstream.recv_q > 0
    });
    assert!(shut.client.send_q > 0, "what the client does not take waits in nginx's socket: {shut:#?}");

    let stuck = watched.until("stuck", |s| s.state == TunnelState::Stuck);
    let queue = matches!(stuck.trouble, Some((_, Trouble::NotRead | Trouble::NotTaken | Trouble::WindowShut)));
    assert!(queue, "data rests: {stuck:#?}");

    let ended = watched.ended();
    assert_eq!((ended.client, ended.worker), (Some(own), watched.interest.pids.first().copied()));
    assert!(!matches!(ended.how, End::Client | End::Backend), "neither of them closed: {ended:?}");
    let said = eventually("nginx to say why", || Some(lab.nginx.log("error.log")).filter(|l| l.contains("timed out")));
    assert!(said.contains("client timed out (110: Connection timed out) while proxying upgraded connection"), "{said}");
    flood.join().expect("it ends with the tunnel");
}

/// A network namespace of this test's own, with addresses that can be silenced one by one.
struct Space {
    holder: Child,
}

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const BACKEND: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 3);

impl Space {
    #[expect(clippy::disallowed_macros, reason = "a skip must be loud")]
    fn make() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root may make a network namespace");
            return None;
        }
        let unshare = tool("unshare", &["/usr/bin/unshare".into()])?;
        tool("ip", &["/usr/sbin/ip".into(), "/sbin/ip".into(), "/usr/bin/ip".into()])?;
        let script = format!(
            "ip link set lo up && ip addr add {CLIENT}/32 dev lo && ip addr add {BACKEND}/32 dev lo && \
             ip rule add pref 100 lookup local && ip rule del pref 0 && echo ready && exec cat"
        );
        let mut holder = Command::new(unshare)
            .args(["-n", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("a pipe")).read_line(&mut line).expect("read");
        if line.trim() != "ready" {
            let _ = holder.wait();
            eprintln!("SKIPPED: this root may not make a network namespace with rules for routes");
            return None;
        }
        Some(Self { holder })
    }

    /// Does something inside.
    fn inside<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let link = format!("/proc/{}/ns/net", self.holder.id());
        let enter = || {
            let namespace = File::open(&link).expect("it is there");
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may");
            what()
        };
        thread::scope(|s| s.spawn(enter).join().expect("no panic inside"))
    }

    /// From now on whatever comes from this address is lost, as if its machine had lost its power.
    fn silence(&self, address: Ipv4Addr) {
        let rule = format!("rule add pref 50 from {address} blackhole");
        let status = self.inside(|| Command::new("ip").args(rule.split(' ')).status());
        assert!(status.expect("ip runs").success());
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A tunnel in a namespace of its own whose ends can be silenced.
fn silenceable(lines: &str) -> Option<(Space, Lab)> {
    let binary = installed()?;
    let space = Space::make()?;
    let lab = space.inside(|| Lab::open(&binary, (CLIENT, BACKEND), lines));
    Some((space, lab))
}

#[test]
fn a_client_that_is_gone_without_a_word_leaves_data_unanswered_and_sent_again() {
    let Some((space, mut lab)) = silenceable("proxy_read_timeout 6s;") else { return };
    let mut watched = lab.watch(true);
    watched.until("a tunnel at rest", |s| s.client.peer.ip() == CLIENT && is_at_rest(s));

    space.silence(CLIENT);
    lab.backend.write_all(b"are you there?").expect("nginx takes it");
    let lost = watched.until("data sent again and again", |s| has_backed_off(&s.client, 3));
    assert_eq!((lost.client.timer, lost.client.send_q), (Some(TcpTimer::Retransmit), 14));
    let sent_again = |row: &SocketRow| row.info.and_then(|i| i.retransmits);
    assert!(sent_again(&lost.client) >= Some(3), "{lost:#?}");
    assert!(!has_backed_off(&lost.upstream, 1), "the backend answers: {lost:#?}");

    let ended = watched.ended();
    assert_eq!((ended.client.map(|c| c.ip()), ended.how), (Some(CLIENT.into()), End::Timeout), "{ended:?}");
    assert_eq!(lab.backend.read(&mut [0]).expect("the end"), 0, "nginx closed the other leg in order");
}

#[test]
fn a_backend_that_vanishes_leaves_the_clients_words_unanswered() {
    // Towards an address of its own machine nginx would take that very address.
    let Some((space, mut lab)) = silenceable("proxy_read_timeout 6s;\n proxy_bind 127.0.0.5;") else { return };
    let mut watched = lab.watch(true);
    watched.until("a tunnel at rest", is_at_rest);

    space.silence(BACKEND);
    lab.client.write_all(b"are you there?").expect("nginx takes it");
    let lost = watched.until("data sent again and again", |s| has_backed_off(&s.upstream, 3));
    assert_eq!((lost.upstream.timer, lost.upstream.send_q), (Some(TcpTimer::Retransmit), 14));
    assert!(!has_backed_off(&lost.client, 1), "the client answers: {lost:#?}");

    let ended = watched.ended();
    let to_backend = |u: &Upstream| matches!(u, Upstream::Tcp(a) if a.ip() == BACKEND);
    assert!(to_backend(&ended.upstream) && ended.how == End::Timeout, "{ended:?}");
    assert_eq!(lab.client.read(&mut [0]).expect("the end"), 0, "nginx told the client by closing");
}
