//! A server that follows a script, byte by byte, and a look at it by a probe.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use wspulse::event::probe::{Answer, ClosedBy, Failure, Step, Tls};
use wspulse::source::probe::{ProbeOptions, WsUrl, look};

/// No story takes longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One accepted connection.
pub struct Peer<S> {
    pub stream: S,
    pub request: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Reads the request's header.
    pub async fn hear(&mut self) {
        let mut byte = [0];
        while !self.request.ends_with("\r\n\r\n") {
            match self.stream.read(&mut byte).await {
                Ok(1) => self.request.push(char::from(byte[0])),
                _ => return,
            }
        }
    }

    pub async fn say(&mut self, text: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(text.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let wanted = format!("{}:", name.to_ascii_lowercase());
        let line = self.request.lines().find(|l| l.to_ascii_lowercase().starts_with(&wanted))?;
        line.get(wanted.len()..).map(str::trim)
    }

    pub fn switching(&self) -> String {
        let accept = derive_accept_key(self.header("Sec-WebSocket-Key").unwrap().as_bytes());
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        )
    }

    pub async fn upgrade(&mut self) {
        self.hear().await;
        let answer = self.switching();
        self.say(answer).await;
    }

    /// Reads one short frame of the client: opcode and unmasked payload.
    pub async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 6];
        self.stream.read_exact(&mut head).await.ok()?;
        assert_eq!(head[1] & 0x80, 0x80, "clients mask (RFC 6455 section 5.1)");
        let mut payload = vec![0; usize::from(head[1] & 0x7f)];
        self.stream.read_exact(&mut payload).await.ok()?;
        payload.iter_mut().enumerate().for_each(|(i, b)| *b ^= head[2 + i % 4]);
        Some((head[0] & 0x0f, payload))
    }

    /// Answers pings until the client closes or goes; gives the close frame's payload.
    pub async fn echo_pings(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.frame().await? {
                (9, payload) => self.say(frame(10, &payload)).await,
                (8, payload) => {
                    self.say(frame(8, &payload)).await;
                    return Some(payload);
                }
                _ => {}
            }
        }
    }

    /// Reads until the client goes.
    pub async fn drain(&mut self) {
        let mut bytes = [0; 1024];
        while matches!(self.stream.read(&mut bytes).await, Ok(n) if n > 0) {}
    }
}

/// A frame as servers send it.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode, u8::try_from(payload.len()).unwrap()];
    bytes.extend_from_slice(payload);
    bytes
}

/// Listens on a free port and plays `script` to every connection.
pub async fn server<F, R>(script: F) -> SocketAddr
where
    F: Fn(Peer<TcpStream>) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(script(Peer { stream, request: String::new() }));
        }
    });
    at
}

/// A server that hears the request, says `text`, and closes.
pub async fn says(text: impl Into<Vec<u8>>) -> SocketAddr {
    let text = text.into();
    server(move |mut peer| {
        let text = text.clone();
        async move {
            peer.hear().await;
            peer.say(text).await;
        }
    })
    .await
}

pub fn quick() -> ProbeOptions {
    ProbeOptions {
        ping_interval: Duration::from_millis(100),
        ping_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        handshake_timeout: Duration::from_secs(5),
        ..ProbeOptions::default()
    }
}

pub fn impatient() -> ProbeOptions {
    let short = Duration::from_millis(200);
    ProbeOptions { handshake_timeout: short, ping_timeout: short, ..quick() }
}

pub async fn look_at(url: &str, options: &ProbeOptions, hold: Duration) -> Vec<Step> {
    let url = WsUrl::parse(url).unwrap();
    let looked = look(&url, options, hold);
    tokio::time::timeout(PATIENCE, Box::pin(looked)).await.expect("a look is bounded in time")
}

pub async fn look_ws(at: SocketAddr, options: &ProbeOptions) -> Vec<Step> {
    look_at(&format!("ws://{at}/ws"), options, Duration::ZERO).await
}

pub struct Refusal {
    pub failure: Failure,
    pub took: Duration,
    pub request: String,
    pub answer: Option<Answer>,
    pub tls: Option<Tls>,
}

pub fn refusal(steps: &[Step]) -> Refusal {
    match steps.last().cloned() {
        Some(Step::Refused { failure, took, request, answer, tls }) => Refusal { failure, took, request, answer, tls },
        other => panic!("no refusal but {other:?}"),
    }
}

pub fn closed(steps: &[Step]) -> (ClosedBy, Option<u16>, String, Duration, Duration) {
    match steps.last().cloned() {
        Some(Step::Closed { by, code, reason, held, idle }) => (by, code, reason, held, idle),
        other => panic!("not closed but {other:?}"),
    }
}

pub fn has_pong(steps: &[Step]) -> bool {
    steps.iter().any(|s| matches!(s, Step::Pong { .. }))
}

/// The names of steps, as recordings have them.
pub fn names(steps: &[Step]) -> Vec<String> {
    let name = |s: &Step| serde_json::to_value(s).unwrap()["step"].as_str().unwrap().to_owned();
    steps.iter().map(name).collect()
}
