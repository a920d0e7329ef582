//! Held probes against other clients, each a process of its own: `cargo bench --bench probes [-- TUNNELS [ROUNDS]]`.
//!
//! A minimal server in another process answers; the clients take turns, so that the machine's noise hits all alike. node with
//! `ws` is compared where `require('ws')` finds it (NODE_PATH).

mod bare;
mod ours;
mod process;
mod server;

use std::io::{self, BufRead as _, BufReader, Write};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use process::Figures;

/// Handshakes a second while tunnels are opened.
const RAMP: u32 = 4_000;
/// Seconds from ping to ping of one tunnel: 2,000 a second with 10,000 tunnels.
const INTERVAL: u32 = 5;
/// Seconds that tunnels are held.
const HELD: u32 = 15;

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|w| w != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        // This program runs itself: every figure is that of a process.
        ["serve"] => server::run(),
        ["hold", url, tunnels] => ours::hold(url, number(tunnels)),
        ["dial", url, tunnels] => ours::dial_all(url, number(tunnels)),
        ["bare-dial", url, tunnels] => bare::dial_all(url, number(tunnels)),
        ["rtt", url] => ours::rtt(url),
        ["bare-rtt", url] => bare::rtt(url),
        rest => {
            let tunnels = rest.first().map_or(10_000, |w| number(w));
            compare(tunnels, rest.get(1).map_or(3, |w| number(w)) as usize)
        }
    }
}

fn number(word: &str) -> u32 {
    word.parse().unwrap_or(1)
}

/// The server's process; it ends with its standard input.
struct Server {
    child: Child,
    port: u16,
    runs: u8,
}

impl Server {
    fn start() -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let port = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { child, port, runs: 0 })
    }

    /// An address for every run: ports that wait for their end on one are free on the next.
    fn url(&mut self) -> String {
        self.runs = self.runs % server::ADDRESSES + 1;
        format!("ws://{}:{}/ws", Ipv4Addr::new(127, 0, 0, self.runs), self.port)
    }

    fn figures(&mut self, role: &str, tunnels: u32) -> io::Result<Figures> {
        let url = self.url();
        let mut command = Command::new(std::env::current_exe()?);
        process::figures(command.args([role, &url, &tunnels.to_string()]))
    }

    fn times(&mut self, role: &str) -> io::Result<Figures> {
        let url = self.url();
        process::figures(Command::new(std::env::current_exe()?).args([role, &url]))
    }

    fn node(&mut self, tunnels: u32) -> io::Result<Figures> {
        let url = self.url();
        let mut command = Command::new("node");
        command.args(["-e", include_str!("ws.js"), &url]);
        process::figures(command.args([tunnels, RAMP, INTERVAL, HELD].map(|n| n.to_string())))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.stdin.take();
        let _ = self.child.wait();
    }
}

fn compare(tunnels: u32, rounds: usize) -> io::Result<()> {
    process::raise_descriptors();
    let mut server = Server::start()?;
    say(&format!("{tunnels} tunnels, a ping each {INTERVAL} s, held for {HELD} s, {rounds} rounds"))?;
    let mut node = Command::new("node");
    let node = process::succeeds(node.args(["-e", "require('ws')"]));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(server.figures("hold", tunnels)?);
        if node {
            theirs.push(server.node(tunnels)?);
        }
    }
    spread("KiB a tunnel", &ours, |f| f.get("kib"))?;
    spread("us of CPU a ping", &ours, |f| f.get("us"))?;
    spread("tunnels alive at the end", &ours, |f| f.get("alive"))?;
    if node {
        spread("node ws: KiB a tunnel", &theirs, |f| f.get("kib"))?;
        spread("node ws: us of CPU a ping", &theirs, |f| f.get("us"))?;
        let pairs: Vec<_> = ours.into_iter().zip(theirs).collect();
        spread("memory, ours / node ws", &pairs, |(a, b)| a.get("kib") / b.get("kib"))?;
        spread("CPU a ping, ours / node ws", &pairs, |(a, b)| a.get("us") / b.get("us"))?;
    } else {
        say("  node with ws is not installed: not compared")?;
    }

    let dials =
        (0..rounds.max(5)).map(|_| Ok((server.figures("dial", tunnels)?, server.figures("bare-dial", tunnels)?)));
    let dials = dials.collect::<io::Result<Vec<_>>>()?;
    spread("seconds for all handshakes", &dials, |(a, _)| a.get("s"))?;
    spread("a bare client's", &dials, |(_, b)| b.get("s"))?;
    spread("handshakes, ours / bare", &dials, |(a, b)| a.get("s") / b.get("s"))?;

    let rtts = (0..rounds.max(5)).map(|_| Ok((server.times("rtt")?, server.times("bare-rtt")?)));
    let rtts = rtts.collect::<io::Result<Vec<_>>>()?;
    spread("round trip said by a probe, us", &rtts, |(a, _)| a.get("us"))?;
    spread("round trip of a bare client, us", &rtts, |(_, b)| b.get("us"))?;
    spread("difference, us", &rtts, |(a, b)| a.get("us") - b.get("us"))
}

fn spread<T>(what: &str, rounds: &[T], of: impl Fn(&T) -> f64) -> io::Result<()> {
    let mut sorted: Vec<f64> = rounds.iter().map(of).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |n: usize| sorted.get(n).copied().unwrap_or(f64::NAN);
    let (first, median, last) = (at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1)));
    say(&format!("  {what:40} min {first:.3}  median {median:.3}  max {last:.3}"))
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}
