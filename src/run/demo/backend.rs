//! The embedded WebSocket backend: a strict handshake, an echo with news of its own, and the two ways in which it fails
//! on request (refusing connections, resetting a tunnel).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};
use tokio_util::sync::CancellationToken;

use super::head::{Request, read_head};
use super::routes::route;
use super::script::Pace;
use super::wire::{USER_AGENT, every, frugal, sever, tick};

/// More connections than the proxy has clients, and a few direct probes.
const MAX_CONNECTIONS: usize = 48;
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);

/// What the script does to a backend.
#[derive(Clone, Debug)]
pub(super) struct Lever {
    serving: Arc<watch::Sender<bool>>,
    reset: Arc<Notify>,
}

impl Lever {
    /// Serve, or stop: end all tunnels and refuse new connections.
    pub(super) fn serve(&self, on: bool) {
        self.serving.send_replace(on);
    }

    /// Reset one of the tunnels that the demo's own clients hold on `/ws`. With none open, the next one is reset.
    pub(super) fn reset_one(&self) {
        self.reset.notify_one();
    }
}

/// One backend on a port of its own.
#[derive(Debug)]
pub(super) struct Backend {
    addr: SocketAddr,
    listener: TcpListener,
    lever: Lever,
    pace: Pace,
}

impl Backend {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// When no port can be had.
    pub(super) async fn bind(pace: Pace) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let lever = Lever { serving: Arc::new(watch::Sender::new(true)), reset: Arc::new(Notify::new()) };
        Ok(Self { addr: listener.local_addr()?, listener, lever, pace })
    }

    /// Where it listens, also while it refuses.
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How the script moves it.
    pub(super) fn lever(&self) -> Lever {
        self.lever.clone()
    }

    /// Serves until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let Self { addr, mut listener, lever, pace } = self;
        let mut serving = lever.serving.subscribe();
        loop {
            let mut tunnels = JoinSet::new();
            tokio::select! {
                () = stop.cancelled() => {}
                _ = serving.wait_for(|on| !on) => {}
                () = accept(&listener, &mut tunnels, &lever.reset, pace) => {}
            }
            tunnels.shutdown().await;
            if stop.is_cancelled() {
                return;
            }
            drop(listener);
            let Some(held) = hold(addr, &stop).await else { return };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = serving.wait_for(|on| *on) => {}
            }
            let Ok(again) = held.listen(64) else { return };
            listener = again;
        }
    }
}

/// A socket that keeps the port without listening: connections are refused, and nobody else can take the port meanwhile.
/// `None` when it was asked to stop first.
async fn hold(addr: SocketAddr, stop: &CancellationToken) -> Option<TcpSocket> {
    loop {
        if let Ok(socket) = bound(addr) {
            return Some(socket);
        }
        // The old listener's descriptor may outlive its drop by a moment.
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
}

fn bound(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

/// Accepts for ever. An accept that fails (descriptors exhausted) is tried again a little later.
async fn accept(listener: &TcpListener, tunnels: &mut JoinSet<()>, reset: &Arc<Notify>, pace: Pace) {
    loop {
        while tunnels.try_join_next().is_some() {}
        if tunnels.len() >= MAX_CONNECTIONS {
            tunnels.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => drop(tunnels.spawn(serve(stream, reset.clone(), pace))),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// One connection from handshake to end. Whatever fails on it ends it; a backend has no one to tell.
async fn serve(mut stream: TcpStream, reset: Arc<Notify>, pace: Pace) {
    let _ = stream.set_nodelay(true);
    let mut read = Vec::new();
    let Ok(Ok(raw)) = timeout(HANDSHAKE_PATIENCE, read_head(&mut stream, &mut read)).await else { return };
    let Some(request) = Request::parse(&raw.head) else { return };
    let answer = match handshake(&request) {
        Ok(answer) => answer,
        Err(refusal) => return refuse(stream, refusal).await,
    };
    if stream.write_all(answer.as_bytes()).await.is_err() {
        return;
    }
    let tunnel = WebSocketStream::from_partially_read(stream, raw.rest, Role::Server, Some(frugal())).await;
    // Only our own clients may be hit: a probe that dies of the script would tell the user about us, not about the site.
    let ours = request.fields.get("user-agent") == Some(USER_AGENT.as_bytes()) && request.path() == "/ws";
    let push = route(request.path()).and_then(|r| r.push);
    converse(tunnel, push.map(|d| pace.real(d)), ours.then_some(reset)).await;
}

/// The 101 for a proper handshake, or what it is refused with: 426 for a plain request, 400 for one without a usable key.
fn handshake(request: &Request) -> Result<String, &'static str> {
    let fields = &request.fields;
    let upgrade = fields.has_token("upgrade", "websocket") && fields.has_token("connection", "upgrade");
    if request.method != "GET" || !upgrade || fields.get("sec-websocket-version") != Some(b"13") {
        return Err("426 Upgrade Required");
    }
    // RFC 6455 section 4.1: sixteen bytes in base64.
    let Some(key) = fields.get("sec-websocket-key").filter(|k| k.len() == 24) else { return Err("400 Bad Request") };
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key)
    ))
}

async fn refuse(mut stream: TcpStream, status: &'static str) {
    let body = "This is a WebSocket endpoint: the request came without its upgrade headers.\n";
    // RFC 9110 section 15.5.22: a 426 names the protocol in Upgrade.
    let answer = format!(
        "HTTP/1.1 {status}\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n\
         Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    if stream.write_all(answer.as_bytes()).await.is_ok() && stream.shutdown().await.is_ok() {
        // A close with unread bytes would be a reset, and the answer could be lost with it.
        let _ = timeout(Duration::from_secs(1), stream.read(&mut [0; 512])).await;
    }
}

/// Echoes, and says something every `push`, until the other side ends it or the script resets it.
async fn converse(mut tunnel: WebSocketStream<TcpStream>, push: Option<Duration>, reset: Option<Arc<Notify>>) {
    let mut news = push.map(every);
    let mut count: u64 = 0;
    loop {
        let sent = tokio::select! {
            said = tunnel.next() => match said {
                Some(Ok(m @ (Message::Text(_) | Message::Binary(_)))) => tunnel.send(m).await,
                // tungstenite answers pings and closes by itself; a send flushes the answer.
                Some(Ok(_)) => tunnel.flush().await,
                Some(Err(_)) | None => return,
            },
            () = tick(news.as_mut()) => {
                count += 1;
                tunnel.send(Message::text(format!("{{\"news\":{count}}}"))).await
            }
            () = told(reset.as_deref()) => return sever(tunnel.get_ref()),
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn told(reset: Option<&Notify>) {
    match reset {
        Some(reset) => reset.notified().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &str) -> Request {
        Request::parse(format!("GET /ws HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes()).expect("a request")
    }

    #[test]
    fn the_sample_handshake_of_rfc_6455_is_accepted() {
        let proper = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let answer = handshake(&request(proper)).expect("101");
        assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
    }

    #[test]
    fn a_request_without_upgrade_headers_gets_426() {
        let bare = "Connection: close\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        assert_eq!(handshake(&request(bare)), Err("426 Upgrade Required"));
        let no_key = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
        assert_eq!(handshake(&request(no_key)), Err("400 Bad Request"));
    }

    #[tokio::test]
    async fn a_stopped_backend_refuses_on_its_port_and_comes_back_on_it() {
        let backend = Backend::bind(Pace::new(1)).await.expect("a port");
        let (addr, lever, stop) = (backend.addr(), backend.lever(), CancellationToken::new());
        let task = tokio::spawn(backend.run(stop.clone()));
        let until = |want: bool| async move {
            timeout(Duration::from_secs(5), async {
                while TcpStream::connect(addr).await.is_ok() != want {
                    tokio::task::yield_now().await;
                }
            })
            .await
        };
        until(true).await.expect("serves");
        lever.serve(false);
        until(false).await.expect("refuses");
        lever.serve(true);
        until(true).await.expect("serves again");
        stop.cancel();
        task.await.expect("ends");
        assert!(TcpStream::connect(addr).await.is_err(), "the port is free again");
    }
}
