//! Two child processes that hold the ends of many loopback connections, as a worker and its clients would.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

/// So many connections go to one address: fewer than there are ephemeral ports.
const PER_ADDRESS: usize = 10_000;

/// Descriptors that a process needs besides.
const RESERVE: usize = 64;

/// The children; they end with it.
#[derive(Default)]
pub struct Herd {
    children: Vec<Child>,
    pub ports: BTreeSet<u16>,
}

impl Herd {
    /// Opens `connections` connections, and waits until all are accepted. As many pairs of processes share them as their
    /// limits of descriptors make necessary.
    pub fn start(connections: usize) -> io::Result<Self> {
        let hard = getrlimit(Resource::Nofile).maximum.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
        let most = hard.saturating_sub(RESERVE).max(1);
        let mut all = Self::default();
        let mut left = connections;
        while left > 0 {
            let share = left.min(most);
            all.pair(share)?;
            left -= share;
        }
        Ok(all)
    }

    fn pair(&mut self, connections: usize) -> io::Result<()> {
        let mut server = self.child(&["serve".into(), connections.to_string()])?;
        let port: u16 = line(&mut server)?;
        self.ports.insert(port);
        let mut caller = self.child(&["call".into(), port.to_string(), connections.to_string()])?;
        let (opened, accepted): (usize, usize) = (line(&mut caller)?, line(&mut server)?);
        if (opened, accepted) == (connections, connections) {
            Ok(())
        } else {
            Err(io::Error::other(format!("{opened} opened, {accepted} accepted, {connections} wanted")))
        }
    }

    /// The processes that hold them.
    pub fn pids(&self) -> BTreeSet<u32> {
        self.children.iter().map(Child::id).collect()
    }

    fn child(&mut self, words: &[String]) -> io::Result<BufReader<ChildStdout>> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
        self.children.push(child);
        Ok(BufReader::new(out))
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It ends at the end of its input too; this is faster.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn line<T: std::str::FromStr>(from: &mut impl BufRead) -> io::Result<T> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    line.trim().parse().map_err(|_| io::Error::other(format!("a child said {line:?}")))
}

/// Accepts as many connections as wanted, says how many there are, and holds them until its input ends.
pub fn serve(wanted: usize) -> io::Result<()> {
    allow(wanted)?;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&std::net::SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
    socket.listen(4_096)?;
    let listener: TcpListener = socket.into();
    writeln!(io::stdout(), "{}", listener.local_addr()?.port())?;
    let held: Vec<TcpStream> = listener.incoming().take(wanted).collect::<io::Result<_>>()?;
    hold(&held)
}

/// Opens connections to the addresses of the loopback network in turn, and holds them.
pub fn call(port: usize, wanted: usize) -> io::Result<()> {
    let port = u16::try_from(port).map_err(io::Error::other)?;
    allow(wanted)?;
    let address =
        |i: usize| u32::try_from(i / PER_ADDRESS).map_or(Ipv4Addr::LOCALHOST, |n| Ipv4Addr::from(0x7f00_0001 + n));
    let held: Vec<TcpStream> =
        (0..wanted).map(|i| TcpStream::connect((address(i), port))).collect::<io::Result<_>>()?;
    hold(&held)
}

fn hold(held: &[TcpStream]) -> io::Result<()> {
    writeln!(io::stdout(), "{}", held.len())?;
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

/// Raises the soft limit of descriptors as far as it must.
fn allow(sockets: usize) -> io::Result<()> {
    let needed = u64::try_from(sockets.saturating_add(RESERVE)).unwrap_or(u64::MAX);
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|limit| limit >= needed) {
        return Ok(());
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(needed), ..now })?)
}
