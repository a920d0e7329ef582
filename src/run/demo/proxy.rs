//! The embedded reverse proxy: it does with the demo's routes what nginx would do with the demo's nginx.conf, one request
//! a connection, and writes nginx's lines about it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::head::{NoHead, Raw, Request, Response, first_line, read_head};
use super::logfile::{AccessLine, Context, Logs, UpstreamFigures};
use super::relay::{End, Meter, relay};
use super::rewrite::{client_head, error_page, upstream_head};
use super::routes::{Addresses, Route, SERVER_NAME, route};
use super::script::Pace;
use crate::event::log::Level;

/// Clients served at once; more wait in the listen queue.
const MAX_CLIENTS: usize = 40;
/// `client_header_timeout` and `proxy_connect_timeout`, both 60 s by default.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bodies longer than this are not relayed: nothing in the demo has one.
const MAX_BODY: u64 = 64 << 10;

/// What every connection needs to know.
#[derive(Debug)]
pub(super) struct Proxy {
    at: Addresses,
    pace: Pace,
    logs: Logs,
    /// One counter for client and upstream connections, as in nginx (`ngx_connection_counter`).
    connections: AtomicU64,
}

impl Proxy {
    /// A proxy for the demo's routes.
    pub(super) fn new(at: Addresses, pace: Pace, logs: Logs) -> Self {
        Self { at, pace, logs, connections: AtomicU64::new(0) }
    }

    /// Serves until `stop`. Tunnels that are open then leave no access line, like those of an nginx that gets SIGTERM.
    pub(super) async fn run(self, listener: TcpListener, stop: CancellationToken) {
        let (shared, mut clients) = (Arc::new(self), JoinSet::new());
        tokio::select! {
            () = stop.cancelled() => {}
            () = shared.accept(&listener, &mut clients) => {}
        }
        clients.shutdown().await;
    }

    async fn accept(self: &Arc<Self>, listener: &TcpListener, clients: &mut JoinSet<()>) {
        loop {
            while clients.try_join_next().is_some() {}
            if clients.len() >= MAX_CLIENTS {
                clients.join_next().await;
            }
            match listener.accept().await {
                Ok((stream, peer)) => drop(clients.spawn(self.clone().serve(stream, peer))),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    async fn serve(self: Arc<Self>, mut client: TcpStream, peer: SocketAddr) {
        let (id, mut read) = (self.next_connection(), Vec::new());
        let _ = client.set_nodelay(true);
        let raw = match timeout(PATIENCE, read_head(&mut client, &mut read)).await {
            Ok(Ok(raw)) => raw,
            Ok(Err(why)) => {
                self.no_request(id, peer, &why, &read);
                return bad_request(&mut client).await;
            }
            Err(_) => {
                let early = self.early_context(peer);
                return self.logs.error(
                    Level::Info,
                    id,
                    &format!("{TIMED_OUT_CLIENT} while waiting for request"),
                    &early,
                );
            }
        };
        let Some(request) = Request::parse(&raw.head) else {
            self.no_request(id, peer, &NoHead::Bad, &raw.head);
            return bad_request(&mut client).await;
        };
        let mut exchange = Exchange::new(&self, id, peer, request);
        exchange.answer(client, raw.rest).await;
    }

    fn early_context(&self, peer: SocketAddr) -> Context {
        Context { client: peer.ip().to_string(), server: self.at.proxy.to_string(), ..Context::default() }
    }

    /// A connection that never became a request. (nginx would write an access line with 400 for some of them.)
    fn no_request(&self, id: u64, peer: SocketAddr, why: &NoHead, read: &[u8]) {
        let early = self.early_context(peer);
        let line = || Context { server: SERVER_NAME.into(), request: Some(first_line(read)), ..early.clone() };
        let (said, context) = match why {
            NoHead::Closed => ("client closed connection while waiting for request".to_owned(), early),
            NoHead::Cut => {
                ("client prematurely closed connection while reading client request line".to_owned(), line())
            }
            NoHead::Bad => ("client sent invalid request while reading client request line".to_owned(), line()),
            NoHead::Io(e) => (format!("recv() failed {} while waiting for request", errno(e)), early),
        };
        self.logs.error(Level::Info, id, &said, &context);
    }
}

const TIMED_OUT: &str = "upstream timed out (110: Connection timed out)";
const TIMED_OUT_CLIENT: &str = "client timed out (110: Connection timed out)";

/// `(111: Connection refused)`.
fn errno(e: &io::Error) -> String {
    let said = e.to_string();
    let text = said.split(" (os error").next().unwrap_or_default();
    e.raw_os_error().map_or_else(|| format!("({text})"), |n| format!("({n}: {text})"))
}

/// What was got from the backend before it became a tunnel or a body.
struct Opened {
    stream: TcpStream,
    response: Response,
    rest: Vec<u8>,
}

/// One request from its head to its access line.
struct Exchange<'a> {
    proxy: &'a Proxy,
    id: u64,
    request: Request,
    context: Context,
    begun: Instant,
    line: AccessLine,
}

impl<'a> Exchange<'a> {
    fn new(proxy: &'a Proxy, id: u64, peer: SocketAddr, request: Request) -> Self {
        let value = |name| request.fields.get(name).map(<[u8]>::to_vec);
        let context = Context {
            client: peer.ip().to_string(),
            server: SERVER_NAME.into(),
            request: Some(request.line.clone()),
            upstream: None,
            host: value("host"),
        };
        let line = AccessLine {
            client: peer.ip(),
            request: request.line.clone(),
            status: 0,
            upstream: None,
            request_time: Duration::ZERO,
            bytes_sent: 0,
            body_bytes_sent: 0,
            request_length: request.length,
            upgrade: value("upgrade"),
            connection_header: value("connection"),
            sent_upgrade: None,
            completed: true,
            connection: id,
        };
        Self { proxy, id, request, context, begun: Instant::now(), line }
    }

    async fn answer(&mut self, mut client: TcpStream, rest: Vec<u8>) {
        match route(self.request.path()) {
            None => self.page(&mut client, 404).await,
            Some(route) => match self.ask(route).await {
                Err(status) => self.page(&mut client, status).await,
                Ok(opened) => self.pass(&mut client, rest, opened, route).await,
            },
        }
        self.line.request_time = self.begun.elapsed();
        self.proxy.logs.access(&self.line);
    }

    fn error(&self, level: Level, said: &str) {
        self.proxy.logs.error(level, self.id, said, &self.context);
    }

    /// Connects to the backend, sends it the request and reads the head of its answer.
    ///
    /// # Errors
    /// The status for the client, when there is no answer; the reason is in the error log then.
    async fn ask(&mut self, route: &Route) -> Result<Opened, u16> {
        let to = self.proxy.at.of(route.upstream);
        self.proxy.next_connection();
        self.context.upstream = Some(format!("http://{to}{}", self.request.target).into_bytes());
        let begun = Instant::now();
        let mut figures = UpstreamFigures {
            addr: to,
            status: None,
            connect: None,
            header: None,
            response: Duration::ZERO,
            sent: 0,
            received: 0,
        };
        let opened = self.open(route, begun, &mut figures).await;
        figures.response = begun.elapsed();
        figures.status = Some(opened.as_ref().map_or_else(|status| *status, |o| o.response.status));
        self.line.upstream = Some(figures);
        opened
    }

    async fn open(&self, route: &Route, begun: Instant, figures: &mut UpstreamFigures) -> Result<Opened, u16> {
        let connecting = "while connecting to upstream";
        let mut stream = match timeout(PATIENCE, TcpStream::connect(figures.addr)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => {
                self.error(Level::Error, &format!("connect() failed {} {connecting}", errno(&e)));
                return Err(502);
            }
            Err(_) => {
                self.error(Level::Error, &format!("{TIMED_OUT} {connecting}"));
                return Err(504);
            }
        };
        let _ = stream.set_nodelay(true);
        figures.connect = Some(begun.elapsed());
        let head = upstream_head(&self.request, route, &self.context.client, figures.addr);
        if let Err(e) = stream.write_all(&head).await {
            self.error(Level::Error, &format!("send() failed {} while sending request to upstream", errno(&e)));
            return Err(502);
        }
        figures.sent = head.len() as u64;
        let raw = self.response_head(&mut stream, route.effective_timeout(self.proxy.pace)).await?;
        figures.header = Some(begun.elapsed());
        figures.received = raw.head.len() as u64;
        match Response::parse(&raw.head) {
            Some(response) => Ok(Opened { stream, response, rest: raw.rest }),
            None => Err(self.bad_answer()),
        }
    }

    fn bad_answer(&self) -> u16 {
        self.error(Level::Error, "upstream sent invalid header while reading response header from upstream");
        502
    }

    async fn response_head(&self, stream: &mut TcpStream, patience: Duration) -> Result<Raw, u16> {
        let reading = "while reading response header from upstream";
        match timeout(patience, read_head(stream, &mut Vec::new())).await {
            Ok(Ok(raw)) => return Ok(raw),
            Ok(Err(NoHead::Bad)) => return Err(self.bad_answer()),
            Ok(Err(NoHead::Closed | NoHead::Cut)) => {
                self.error(Level::Error, &format!("upstream prematurely closed connection {reading}"));
            }
            Ok(Err(NoHead::Io(e))) => self.error(Level::Error, &format!("recv() failed {} {reading}", errno(&e))),
            Err(_) => {
                self.error(Level::Error, &format!("{TIMED_OUT} {reading}"));
                return Err(504);
            }
        }
        Err(502)
    }

    /// Passes the backend's answer on: a tunnel after a 101 that was asked for, else a body.
    async fn pass(&mut self, client: &mut TcpStream, rest: Vec<u8>, mut opened: Opened, route: &Route) {
        let tunnel = opened.response.status == 101 && self.line.upgrade.is_some();
        let head = client_head(&opened.response, tunnel);
        self.line.status = opened.response.status;
        self.line.sent_upgrade = opened.response.fields.get("upgrade").map(<[u8]>::to_vec);
        let begun = self.begun;
        if client.write_all(&head).await.is_err() {
            self.line.completed = false;
            return;
        }
        let (from_client, from_upstream) = if tunnel {
            let idle = route.effective_timeout(self.proxy.pace);
            self.tunnel(client, &mut opened, &rest, idle).await
        } else {
            (0, self.body(client, &mut opened).await)
        };
        self.line.bytes_sent = head.len() as u64 + from_upstream;
        self.line.body_bytes_sent = from_upstream;
        if let Some(u) = &mut self.line.upstream {
            u.response = begun.elapsed();
            u.sent += from_client;
            u.received += from_upstream;
        }
        close(client).await;
    }

    /// Bytes both ways until an end, which is logged at the level that nginx logs it: a backend's failure is an error,
    /// everything else is only info. Returns the bytes from the client and from the backend.
    async fn tunnel(&self, client: &mut TcpStream, opened: &mut Opened, rest: &[u8], idle: Duration) -> (u64, u64) {
        let meter = Meter::new();
        let early = (rest.len() as u64, opened.rest.len() as u64);
        let end = if let Err(e) = opened.stream.write_all(rest).await {
            End::Upstream("send", e)
        } else if let Err(e) = client.write_all(&opened.rest).await {
            End::Client("send", e)
        } else {
            relay(client, &mut opened.stream, idle, &meter).await
        };
        let doing = "while proxying upgraded connection";
        match end {
            End::Closed => {}
            End::UpstreamTimedOut => self.error(Level::Info, &format!("{TIMED_OUT} {doing}")),
            End::ClientTimedOut => self.error(Level::Info, &format!("{TIMED_OUT_CLIENT} {doing}")),
            End::Client(call, e) => self.error(Level::Info, &format!("{call}() failed {} {doing}", errno(&e))),
            End::Upstream(call, e) => self.error(Level::Error, &format!("{call}() failed {} {doing}", errno(&e))),
        }
        let (from_client, from_upstream) = meter.totals();
        (early.0 + from_client, early.1 + from_upstream)
    }

    /// Relays a body up to the backend's close; it was told `Connection: close`. Returns its bytes.
    async fn body(&self, client: &mut TcpStream, opened: &mut Opened) -> u64 {
        let mut body = std::mem::take(&mut opened.rest);
        let mut tail = (&mut opened.stream).take(MAX_BODY);
        let _ = timeout(PATIENCE, tail.read_to_end(&mut body)).await;
        if client.write_all(&body).await.is_ok() { body.len() as u64 } else { 0 }
    }

    /// An error page in the place of an answer.
    async fn page(&mut self, client: &mut TcpStream, status: u16) {
        let (head, body) = error_page(status);
        self.line.status = status;
        self.line.body_bytes_sent = body.len() as u64;
        self.line.bytes_sent = (head.len() + body.len()) as u64;
        self.line.completed = client.write_all((head + &body).as_bytes()).await.is_ok();
        close(client).await;
    }
}

/// Tells whoever is still there that this was no request.
async fn bad_request(client: &mut TcpStream) {
    let (head, body) = error_page(400);
    if client.write_all((head + &body).as_bytes()).await.is_ok() {
        close(client).await;
    }
}

/// Sends FIN and waits a moment for the client's, so that unread bytes do not turn the close into a reset.
async fn close(client: &mut TcpStream) {
    if client.shutdown().await.is_ok() {
        let mut unread = [0; 512];
        let drain = async { while client.read(&mut unread).await.is_ok_and(|n| n > 0) {} };
        let _ = timeout(Duration::from_millis(200), drain).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_are_written_with_number_and_text() {
        assert_eq!(errno(&io::Error::from_raw_os_error(111)), "(111: Connection refused)");
        assert_eq!(errno(&io::Error::from_raw_os_error(104)), "(104: Connection reset by peer)");
    }
}
