//! One attempt: resolve, connect, TLS, upgrade. Each phase is timed, bounded, and told as a step when it ends.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::answer;
use super::echo::Secrets;
use super::fault::{Fault, kind_of, words};
use super::options::{HttpProxy, ProbeOptions};
use super::request::Request;
use super::tls;
use super::url::{Host, WsUrl};
use super::way;
use super::wire::{Socket, Wire};
use crate::event::probe::{Answer, Failure, FailureKind, Phase, Step};
use crate::human::{latency, visible};

/// How long an address may keep the next one waiting: RFC 8305 section 5 recommends 250 ms.
const HEAD_START: Duration = Duration::from_millis(250);

/// Hears every step of a probe's life.
pub type Steps<'a> = dyn FnMut(Step) + Send + 'a;

/// A tunnel that was opened.
#[derive(Debug)]
pub struct Opened {
    /// The connection.
    pub wire: Wire,
    /// Bytes that came behind the answer's header: the first frames.
    pub leftover: Vec<u8>,
    /// When it opened.
    pub at: Instant,
}

/// Dials `url` once and tells each step; the last one is `Upgraded` or `Refused`.
///
/// # Errors
/// Where and why it failed; the same failure was told as `Refused`, with the evidence.
pub async fn dial(options: &ProbeOptions, url: &WsUrl, steps: &mut Steps<'_>) -> Result<Opened, Failure> {
    let mut attempt = Attempt {
        options,
        url,
        steps,
        deadline: Instant::now() + options.total_timeout,
        started: Instant::now(),
        shown: String::new(),
    };
    match attempt.run().await {
        Ok(opened) => Ok(opened),
        Err(fault) => {
            let Fault { mut failure, mut answer, tls, took } = *fault;
            Secrets::of(options, Some(url)).hide_in(&mut failure, answer.as_mut());
            let took = took.unwrap_or_else(|| attempt.started.elapsed());
            let request = std::mem::take(&mut attempt.shown);
            (attempt.steps)(Step::Refused { failure: failure.clone(), took, request, answer, tls });
            Err(failure)
        }
    }
}

struct Attempt<'a, 'b> {
    options: &'a ProbeOptions,
    url: &'a WsUrl,
    steps: &'a mut Steps<'b>,
    deadline: Instant,
    /// When the phase began that now runs.
    started: Instant,
    /// The request as told; empty until it is sent.
    shown: String,
}

impl Attempt<'_, '_> {
    async fn run(&mut self) -> Result<Opened, Box<Fault>> {
        let (mut socket, ends) = self.reach().await?;
        if let Some(version) = self.options.proxy_protocol {
            // A few bytes into an empty buffer: an error shows with the answer.
            let _ = socket.write_all(&way::proxy_header(version, ends)).await;
        }
        if !self.url.is_secure() {
            return self.upgrade(Wire::plain(socket)).await;
        }
        let (wire, shown) = self.secure(socket).await?;
        if shown.alpn.as_deref() == Some("h2") {
            // Chosen because it was offered: a request in HTTP/1.1 would only be noise there.
            let said = "the server chose HTTP/2, in which this handshake does not exist".to_owned();
            return Err(Fault::new(Phase::Upgrade, FailureKind::NotHttp, said).with_tls(Some(shown)));
        }
        // What TLS showed belongs to a refusal too: an expired certificate let through is still expired.
        self.upgrade(wire).await.map_err(|fault| fault.with_tls(Some(shown)))
    }

    /// A connection to the server, by whichever way the options say, and its two addresses.
    async fn reach(&mut self) -> Result<(Socket, Option<(SocketAddr, SocketAddr)>), Box<Fault>> {
        if let Some(path) = &self.options.unix_socket {
            return Ok((Socket::Unix(self.attach(path).await?), None));
        }
        let (options, url) = (self.options, self.url);
        let Some(proxy) = &options.http_proxy else {
            let addresses = self.resolve(url.host(), url.port(), options.prescribed(url)).await?;
            let tcp = self.connect(&addresses).await?;
            let ends = tcp.local_addr().ok().zip(tcp.peer_addr().ok());
            return Ok((Socket::Tcp(tcp), ends));
        };
        // Whatever fails up to here is about the proxy, and says nothing about the server behind it.
        let at_proxy = |fault| blame_proxy(fault, &proxy.host_port());
        let addresses = self.resolve(&proxy.host, proxy.port, None).await.map_err(at_proxy)?;
        let tcp = self.connect(&addresses).await.map_err(at_proxy)?;
        let ends = tcp.local_addr().ok().zip(tcp.peer_addr().ok());
        Ok((Socket::Tcp(self.ask_proxy(tcp, proxy).await?), ends))
    }

    async fn attach(&mut self, path: &Path) -> Result<UnixStream, Box<Fault>> {
        let until = self.begin(self.options.connect_timeout);
        let shown = visible(path.as_os_str().as_encoded_bytes());
        match timeout_at(until, UnixStream::connect(path)).await {
            Err(_) => Err(self.late(Phase::Connect, &format!("connecting to the unix socket {shown}"))),
            Ok(Err(e)) => {
                // Where there is no socket, nobody listens.
                let missing = matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
                let kind = if missing { FailureKind::ConnectionRefused } else { kind_of(&e) };
                let said = format!("no connection to the unix socket {shown}: {}", words(&e));
                Err(Fault::new(Phase::Connect, kind, said))
            }
            Ok(Ok(stream)) => {
                self.told(Step::Attached { took: self.started.elapsed(), path: shown });
                Ok(stream)
            }
        }
    }

    /// Asks an HTTP proxy for a way to the server.
    async fn ask_proxy(&mut self, mut tcp: TcpStream, proxy: &HttpProxy) -> Result<TcpStream, Box<Fault>> {
        let until = self.begin(self.options.handshake_timeout);
        let name = proxy.host_port();
        let mut buffer = Vec::new();
        let asked = async {
            let _ = tcp.write_all(&way::connect_request(proxy, &self.url.host_port())).await;
            answer::read_head(&mut tcp, &mut buffer).await
        };
        let mut answer = match timeout_at(until, asked).await {
            Ok(answer) => answer.map_err(|fault| blame_proxy(fault, &name))?,
            Err(_) => return Err(self.late(Phase::Proxy, &format!("the HTTP proxy {name}"))),
        };
        if (200..300).contains(&answer.status) {
            self.told(Step::Tunnelled { took: self.started.elapsed(), proxy: name });
            return Ok(tcp);
        }
        answer::read_body(&mut tcp, buffer, &mut answer).await;
        let hint = if answer.status == 407 { "; give its user and password in --http-proxy" } else { "" };
        let said = format!("the HTTP proxy {name} answered {} {} to CONNECT{hint}", answer.status, answer.reason);
        answer::hide_secrets(&mut answer);
        Err(Fault::new(Phase::Proxy, FailureKind::HttpStatus, said).with_answer(answer))
    }

    /// Begins a phase, and says until when it may last.
    fn begin(&mut self, limit: Duration) -> Instant {
        self.started = Instant::now();
        (self.started + limit).min(self.deadline)
    }

    fn late(&self, phase: Phase, doing: &str) -> Box<Fault> {
        let said = format!("{doing} took longer than {}", latency(self.started.elapsed()));
        Fault::new(phase, FailureKind::Timeout, said)
    }

    fn told(&mut self, step: Step) {
        (self.steps)(step);
    }

    async fn resolve(
        &mut self,
        host: &Host,
        port: u16,
        prescribed: Option<Vec<SocketAddr>>,
    ) -> Result<Vec<SocketAddr>, Box<Fault>> {
        let until = self.begin(self.options.connect_timeout);
        let addresses = match (prescribed, host) {
            (Some(addresses), _) => addresses,
            (None, Host::Ip(ip)) => vec![SocketAddr::new(*ip, port)],
            (None, Host::Name(name)) => {
                let not_found = |why: String| Fault::new(Phase::Resolve, FailureKind::NameNotFound, why);
                match timeout_at(until, lookup_host((name.as_str(), port))).await {
                    Err(_) => return Err(self.late(Phase::Resolve, &format!("resolving the name '{name}'"))),
                    Ok(Err(e)) => return Err(not_found(format!("the name '{name}' has no address: {}", words(&e)))),
                    Ok(Ok(found)) => distinct(found)
                        .ok_or_else(|| not_found(format!("the name '{name}' exists but has no address")))?,
                }
            }
        };
        self.told(Step::Resolved { took: self.started.elapsed(), addresses: addresses.clone() });
        Ok(addresses)
    }

    /// Connects to the first address that answers; see [`race`].
    async fn connect(&mut self, addresses: &[SocketAddr]) -> Result<TcpStream, Box<Fault>> {
        let until = self.begin(self.options.connect_timeout);
        let mut failures = Vec::new();
        let Some((address, tcp)) = race(addresses, until, &mut failures).await else {
            return Err(unconnected(&failures));
        };
        let local = tcp.set_nodelay(true).and_then(|()| tcp.local_addr());
        let local = local.map_err(|e| unconnected(&[(kind_of(&e), format!("{address}: {}", words(&e)))]))?;
        let failed = failures.into_iter().map(|(_, said)| said).collect();
        self.told(Step::Connected { took: self.started.elapsed(), local, peer: address, failed });
        Ok(tcp)
    }

    async fn secure(&mut self, socket: Socket) -> Result<(Wire, crate::event::probe::Tls), Box<Fault>> {
        let until = self.begin(self.options.handshake_timeout);
        match timeout_at(until, tls::secure(socket, self.url, self.options)).await {
            Err(_) => Err(self.late(Phase::Tls, &format!("the TLS handshake with {}", self.url.host_port()))),
            Ok(secured) => {
                let (stream, tls) = secured?;
                self.told(Step::Secured { took: self.started.elapsed(), tls: tls.clone() });
                Ok((Wire::tls(stream), tls))
            }
        }
    }

    async fn upgrade(&mut self, mut wire: Wire) -> Result<Opened, Box<Fault>> {
        let request = Request::new(self.url, self.options);
        self.shown = request.shown();
        let until = self.begin(self.options.handshake_timeout);
        let mut buffer = Vec::new();
        let asked = async {
            // A server that answers before it has read all may reset the connection: its answer counts, not our writing.
            let sent = wire.write_all(&request.bytes()).await;
            if sent.is_ok() {
                let _ = wire.flush().await;
            }
            answer::read_head(&mut wire, &mut buffer).await
        };
        let answer = match timeout_at(until, asked).await {
            Ok(answer) => answer?,
            Err(_) => return Err(answer::too_late(&buffer, self.started.elapsed())),
        };
        self.conclude(wire, buffer, answer, &request).await
    }

    async fn conclude(
        &mut self,
        mut wire: Wire,
        leftover: Vec<u8>,
        mut answer: Answer,
        request: &Request,
    ) -> Result<Opened, Box<Fault>> {
        let took = self.started.elapsed();
        let judged = answer::judge(&answer, request);
        if let Err((kind, said)) = judged {
            if kind == FailureKind::HttpStatus {
                answer::read_body(&mut wire, leftover, &mut answer).await;
            }
            answer::hide_secrets(&mut answer);
            let mut fault = Fault::new(Phase::Upgrade, kind, said).with_answer(answer);
            fault.took = Some(took);
            return Err(fault);
        }
        answer::hide_secrets(&mut answer);
        self.told(Step::Upgraded { took, request: self.shown.clone(), answer });
        Ok(Opened { wire, leftover, at: Instant::now() })
    }
}

/// A fault on the way to the HTTP proxy `name`, or in its answer.
fn blame_proxy(mut fault: Box<Fault>, name: &str) -> Box<Fault> {
    fault.failure.phase = Phase::Proxy;
    fault.failure.said = format!("the HTTP proxy {name}: {}", fault.failure.said);
    fault
}

/// The addresses in their order, each once; `None` when there are none.
fn distinct(found: impl Iterator<Item = SocketAddr>) -> Option<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    (!addresses.is_empty()).then_some(addresses)
}

/// The first of `addresses` that takes a connection before `until`. Each has a head start before the next one is tried
/// beside it, as in browsers (RFC 8305 section 5): an address whose packets are dropped must not hide one that works.
/// `failures` tells of the others, in the order in which they failed.
async fn race(
    addresses: &[SocketAddr],
    until: Instant,
    failures: &mut Vec<(FailureKind, String)>,
) -> Option<(SocketAddr, TcpStream)> {
    let mut waiting = addresses.iter();
    let mut running = FuturesUnordered::new();
    let mut open: Vec<(SocketAddr, Instant)> = Vec::new();
    let mut won = None;
    'race: while let Some(address) = waiting.next() {
        open.push((*address, Instant::now()));
        running.push(async move { (*address, TcpStream::connect(address).await) });
        // The last one runs to the end; so does the only one.
        let next = if waiting.as_slice().is_empty() { until } else { (Instant::now() + HEAD_START).min(until) };
        while let Ok(Some((address, connected))) = timeout_at(next, running.next()).await {
            open.retain(|(other, _)| *other != address);
            match connected {
                Ok(tcp) => {
                    won = Some((address, tcp));
                    break 'race;
                }
                Err(e) => failures.push((kind_of(&e), format!("{address}: {}", words(&e)))),
            }
            if !waiting.as_slice().is_empty() {
                break;
            }
        }
        if Instant::now() >= until {
            break;
        }
    }
    let silent = |(address, since): &(SocketAddr, Instant)| {
        (FailureKind::Timeout, format!("{address}: no answer within {}", latency(since.elapsed())))
    };
    failures.extend(open.iter().map(silent));
    won
}

/// The fault of an attempt whose addresses all failed. Where one address cannot be reached at all (IPv6 on a machine
/// without it), the failure of another tells more.
fn unconnected(failures: &[(FailureKind, String)]) -> Box<Fault> {
    let telling = failures.iter().find(|(kind, _)| *kind != FailureKind::Unreachable).or_else(|| failures.first());
    let kind = telling.map_or(FailureKind::Io, |(kind, _)| *kind);
    let each: Vec<&str> = failures.iter().map(|(_, said)| said.as_str()).collect();
    Fault::new(Phase::Connect, kind, format!("no connection to {}", each.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_order_and_come_once() {
        let at = |p| SocketAddr::from(([127, 0, 0, 1], p));
        assert_eq!(distinct([at(2), at(1), at(2)].into_iter()), Some(vec![at(2), at(1)]));
        assert_eq!(distinct([].into_iter()), None);
    }

    #[test]
    fn the_telling_failure_gives_the_kind_and_all_are_named() {
        let unreachable = (FailureKind::Unreachable, "[2001:db8::1]:80: network is unreachable".to_owned());
        let refused = (FailureKind::ConnectionRefused, "10.0.0.1:80: connection refused".to_owned());
        let fault = unconnected(&[unreachable.clone(), refused]);
        assert_eq!(fault.failure.kind, FailureKind::ConnectionRefused);
        assert!(fault.failure.said.contains("2001:db8::1") && fault.failure.said.contains("10.0.0.1"));
        assert_eq!(unconnected(&[unreachable]).failure.kind, FailureKind::Unreachable);
    }
}
