//! The socket source beyond loopback TCP: backends behind unix sockets, and an nginx in a network namespace of its own.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use support::{eventually, free_port, nginx, tool};
use wspulse::event::Sight;
use wspulse::event::process::Master;
use wspulse::event::site::Interest;
use wspulse::event::socket::{SocketSource as Way, TcpState, UnixRow, UnixState};
use wspulse::source::process::read_processes;
use wspulse::source::sockets::{Mode, Snapshot, Watcher, snapshot};

fn watches(path: &Path) -> Interest {
    let path = path.to_str().expect("text").to_owned();
    Interest { unix: [path].into(), pids: [std::process::id()].into(), ..Interest::default() }
}

/// The one connection that is seen, once it is as it should be.
fn leg(interest: &Interest, wish: impl Fn(&UnixRow) -> bool) -> UnixRow {
    eventually("the connection", || {
        let seen = snapshot(interest, Mode::Netlink).expect("a look");
        match seen.unix.as_slice() {
            [one] if wish(one) => Some(one.clone()),
            _ => None,
        }
    })
}

#[test]
fn a_connection_to_a_unix_socket_is_seen_from_its_queue_to_its_end() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("app.sock");
    let listener = UnixListener::bind(&path).expect("bound");
    let interest = watches(&path);
    let mut watcher = Watcher::new(Mode::Netlink);
    let (nothing, _) = watcher.look(&interest).expect("a look");
    assert_eq!((nothing.unix.len(), nothing.unix_listeners.len()), (0, 1));
    assert_eq!(nothing.unix_listeners[0].queue, Some(0));
    assert!(nothing.unix_listeners[0].backlog.is_some_and(|n| n > 0));

    let mut ours = UnixStream::connect(&path).expect("connected");
    let waiting = leg(&interest, |l| l.state == UnixState::Waiting);
    assert_eq!((waiting.path.to_string(), waiting.pid), (path.display().to_string(), Some(std::process::id())));
    let seen = snapshot(&interest, Mode::Netlink).expect("a look");
    assert_eq!(seen.unix_listeners[0].queue, Some(1));
    assert_eq!((seen.sense.sight, seen.rows.len()), (Sight::Seen, 0));

    let (mut theirs, _) = listener.accept().expect("accepted");
    let open = leg(&interest, |l| l.state == UnixState::Open);
    assert_eq!((open.cookie, open.inode, open.recv_q, open.send_q), (waiting.cookie, waiting.inode, Some(0), Some(0)));
    assert!(open.peer_inode.is_some_and(|peer| peer != open.inode));

    theirs.write_all(b"five!").expect("written");
    ours.write_all(b"unread by the backend").expect("written");
    let (delta, _) = watcher.look(&interest).expect("a look");
    let told: Vec<_> = delta.unix.iter().map(|l| (l.state, l.recv_q, l.send_q > Some(20))).collect();
    assert_eq!((told, delta.full), (vec![(UnixState::Open, Some(5), true)], false));
    let (delta, _) = watcher.look(&interest).expect("a look");
    assert_eq!(delta.unix, [], "nothing changed");

    theirs.read_exact(&mut [0; 21]).expect("read");
    drop(theirs);
    // A program that another test starts at this moment holds a copy of every descriptor until it begins.
    let told = eventually("the end", || {
        let (delta, _) = watcher.look(&interest).expect("a look");
        let told: Vec<_> = delta.unix.iter().map(|l| (l.state, l.peer_inode, l.pid.is_some())).collect();
        (told.first().is_some_and(|l| l.0 == UnixState::PeerClosed)).then_some(told)
    });
    assert_eq!(told, [(UnixState::PeerClosed, None, true)], "the backend left and nginx holds on");
    drop(ours);
    let delta = eventually("the end of our side", || {
        let (delta, _) = watcher.look(&interest).expect("a look");
        (!delta.closed.is_empty()).then_some(delta)
    });
    assert_eq!((delta.unix.len(), delta.closed), (0, vec![open.cookie]));
}

#[test]
fn a_socket_that_is_reached_through_a_symbolic_link_is_the_same_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let (run, var_run) = (dir.path().join("run"), dir.path().join("var-run"));
    fs::create_dir(&run).expect("a folder");
    std::os::unix::fs::symlink(&run, &var_run).expect("linked");
    let listener = UnixListener::bind(run.join("app.sock")).expect("bound");
    let configured = var_run.join("app.sock");
    let _ours = UnixStream::connect(&configured).expect("connected");
    let _theirs = listener.accept().expect("accepted");
    let seen = leg(&watches(&configured), |l| l.state == UnixState::Open);
    assert_eq!(&*seen.path, configured.to_str().expect("text"), "under the name that the configuration gives it");
}

#[test]
fn proc_says_that_it_does_not_see_unix_sockets() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("app.sock");
    let _listener = UnixListener::bind(&path).expect("bound");
    let _ours = UnixStream::connect(&path).expect("connected");
    let seen = snapshot(&watches(&path), Mode::Procfs).expect("a look");
    assert_eq!((seen.unix.len(), seen.unix_listeners.len()), (0, 0));
    assert!(seen.sense.said.contains("over unix sockets are not seen"), "{}", seen.sense.said);
}

/// A real nginx in a network namespace that nobody else uses; both are gone when it is dropped.
struct Contained {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Drop for Contained {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
        // Its workers end with it.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_macros, reason = "a skip must be loud")]
fn contained() -> Option<Contained> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root may make a network namespace");
        return None;
    }
    let nginx = nginx::installed()?;
    let unshare = tool("unshare", &["/usr/bin/unshare".into()])?;
    let may = Command::new(&unshare).args(["-n", "true"]).stderr(Stdio::null()).status();
    if !may.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: this root may not make a network namespace");
        return None;
    }
    let (dir, port) = (tempfile::tempdir().expect("a folder"), free_port());
    let conf = dir.path().join("nginx.conf");
    let text = format!(
        "pid nginx.pid;\nerror_log error.log;\nevents {{ }}\nhttp {{\n access_log off;\n client_body_temp_path b;\n \
         proxy_temp_path p;\n fastcgi_temp_path f;\n uwsgi_temp_path u;\n scgi_temp_path s;\n \
         server {{ listen 127.0.0.1:{port} backlog=7; }}\n}}\n"
    );
    fs::write(&conf, text).expect("written");
    // A new namespace has loopback switched off.
    let script = "ip link set lo up && exec \"$0\" -p \"$1/\" -c \"$1/nginx.conf\" -e error.log -g 'daemon off;'";
    let child = Command::new(unshare)
        .args(["-n", "sh", "-c", script])
        .args([nginx.as_path(), dir.path()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("unshare starts");
    Some(Contained { child, port, _dir: dir })
}

impl Contained {
    /// A connection made inside: a thread goes in, and the socket stays there.
    fn connect(&self) -> TcpStream {
        let (link, port) = (format!("/proc/{}/ns/net", self.child.id()), self.port);
        let inside = move || {
            eventually("nginx to accept in its namespace", || {
                let namespace = fs::File::open(&link).ok()?;
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may");
                TcpStream::connect(("127.0.0.1", port)).ok()
            })
        };
        std::thread::spawn(inside).join().expect("connected")
    }

    fn master(&self) -> Master {
        eventually("the master and its worker", || {
            let found = read_processes(true, Some(self.child.id())).expect("/proc");
            found.masters.into_iter().find(|m| !m.workers.is_empty())
        })
    }

    fn interest(&self) -> Interest {
        let master = self.master();
        assert!(master.other_net, "found as one that lives elsewhere");
        let pids = master.workers.iter().map(|w| w.pid).collect();
        Interest { listen_ports: [self.port].into(), pids, net: Some(master.pid), ..Interest::default() }
    }
}

/// What both ways of reading must agree on.
fn told(seen: &Snapshot, client: &TcpStream) -> Vec<(TcpState, Option<u32>)> {
    let theirs = client.local_addr().expect("address");
    seen.rows.iter().filter(|r| r.peer == theirs).map(|r| (r.state, r.pid)).collect()
}

#[test]
fn the_sockets_of_an_nginx_in_another_network_namespace_are_seen() {
    let Some(contained) = contained() else { return };
    let client = contained.connect();
    let interest = contained.interest();
    let accepted = |s: &Snapshot| told(s, &client).iter().any(|(_, pid)| pid.is_some());
    let seen = eventually("the worker to hold the connection", || {
        Some(snapshot(&interest, Mode::Netlink).expect("a look")).filter(accepted)
    });
    assert_eq!(told(&seen, &client), [(TcpState::Established, interest.pids.first().copied())]);
    assert!(seen.rows.iter().all(|r| r.info.is_some_and(|i| i.last_received_ms.is_some())), "{:#?}", seen.rows);
    assert_eq!(seen.listeners.iter().map(|l| l.backlog).collect::<Vec<_>>(), [Some(7)]);
    let master = contained.child.id();
    assert_eq!((seen.source, seen.sense.sight), (Way::Netlink, Sight::Seen));
    assert!(seen.sense.said.contains(&format!("namespace of process {master}")), "{}", seen.sense.said);
    assert!(seen.sense.said.contains(&format!("/proc/{master}/root")), "{}", seen.sense.said);

    let by_proc = snapshot(&interest, Mode::Procfs).expect("a look");
    assert_eq!(told(&by_proc, &client), told(&seen, &client));
    assert_eq!(by_proc.listeners.iter().map(|l| (l.queue, l.backlog)).collect::<Vec<_>>(), [(0, None)]);

    let here = snapshot(&Interest { net: None, ..interest }, Mode::Netlink).expect("a look");
    assert_eq!(told(&here, &client), [], "our own namespace does not have it, and we are still in it");
}

#[test]
fn a_namespace_that_is_gone_is_let_go() {
    let Some(mut contained) = contained() else { return };
    let client = contained.connect();
    let interest = contained.interest();
    let mut watcher = Watcher::new(Mode::Auto);
    let (delta, _) = watcher.look(&interest).expect("a look");
    assert!(delta.full && delta.rows.iter().any(|r| Some(r.peer) == client.local_addr().ok()));
    contained.child.kill().expect("ours");
    contained.child.wait().expect("ended");
    let e = watcher.look(&interest).expect_err("nothing is left to look at");
    assert!(e.to_string().contains(&format!("/proc/{}/net", contained.child.id())), "{e}");
    // Orphaned workers of a killed master are ended by hand.
    for worker in &interest.pids {
        let pid = i32::try_from(*worker).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}
