//! Two child processes that hold the ends of many loopback connections, as a worker and its clients would.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

/// So many connections go to one address: fewer than there are ephemeral ports.
const PER_ADDRESS: usize = 10_000;

/// The children; they end with it.
pub struct Herd {
    children: Vec<Child>,
    pub port: u16,
}

impl Herd {
    /// Opens `connections` connections, and waits until all are accepted.
    pub fn start(connections: usize) -> io::Result<Self> {
        let mut herd = Self { children: Vec::new(), port: 0 };
        let mut server = herd.child(&["serve".into()])?;
        herd.port = line(&mut server)?;
        herd.say_to_server(connections)?;
        let mut caller = herd.child(&["call".into(), herd.port.to_string(), connections.to_string()])?;
        let (opened, accepted): (usize, usize) = (line(&mut caller)?, line(&mut server)?);
        if (opened, accepted) == (connections, connections) {
            Ok(herd)
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

    fn say_to_server(&mut self, connections: usize) -> io::Result<()> {
        let server = self.children.first_mut().and_then(|c| c.stdin.as_mut());
        server.map_or(Ok(()), |stdin| writeln!(stdin, "{connections}"))
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

/// Accepts as many connections as its input says, says how many there are, and holds them until its input ends.
pub fn serve() -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&std::net::SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
    socket.listen(4_096)?;
    let listener: TcpListener = socket.into();
    writeln!(io::stdout(), "{}", listener.local_addr()?.port())?;
    let wanted: usize = line(&mut io::stdin().lock())?;
    allow(wanted)?;
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

/// Raises the limit of descriptors as far as it must; past the hard limit only root may.
fn allow(sockets: usize) -> io::Result<()> {
    let needed = u64::try_from(sockets).unwrap_or(u64::MAX).saturating_add(64);
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|limit| limit >= needed) {
        return Ok(());
    }
    let maximum = now.maximum.map(|hard| hard.max(needed));
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum })
        .map_err(|e| io::Error::other(format!("{needed} descriptors are needed and {:?} allowed: {e}", now.maximum)))
}
