//! The same handshake and the same ping with nothing around them: what no client on tokio can do without.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::ours::{AT_ONCE, BEAT, BEATS, median};
use super::process::tell;

fn address(url: &str) -> io::Result<SocketAddr> {
    url.trim_start_matches("ws://").trim_end_matches("/ws").parse().map_err(io::Error::other)
}

async fn open(at: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    let key = generate_key();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {at}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nUser-Agent: bare\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::with_capacity(512);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let accept = head.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Accept: "));
    let good = head.starts_with("HTTP/1.1 101 ") && accept == Some(&derive_accept_key(key.as_bytes()));
    if good { Ok(stream) } else { Err(io::Error::other(head.into_owned())) }
}

/// Opens tunnels, so many at a time, and keeps them.
pub fn dial_all(url: &str, tunnels: u32) -> io::Result<()> {
    super::process::raise_descriptors();
    let at = address(url)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let gate = Arc::new(Semaphore::new(AT_ONCE));
        let mut lanes = JoinSet::new();
        let start = Instant::now();
        for _ in 0..tunnels {
            let gate = Arc::clone(&gate);
            lanes.spawn(async move {
                let _turn = gate.acquire_owned().await;
                open(at).await
            });
        }
        let opened = lanes.join_all().await;
        let s = start.elapsed().as_secs_f64();
        match opened.into_iter().find_map(Result::err) {
            Some(e) => Err(e),
            None => tell(&[("s", s)]),
        }
    })
}

/// The median of pings timed around a write and a read.
pub fn rtt(url: &str) -> io::Result<()> {
    let at = address(url)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let task = tokio::spawn(async move {
            let mut stream = open(at).await?;
            let mut times = Vec::new();
            for _ in 0..BEATS {
                tokio::time::sleep(BEAT).await;
                // As long as a probe's own; a mask of zeros.
                let mut ping = vec![0x89, 0x94, 0, 0, 0, 0];
                ping.extend([b'x'; 20]);
                let mut answer = [0; 22];
                let start = Instant::now();
                stream.write_all(&ping).await?;
                stream.read_exact(&mut answer).await?;
                times.push(start.elapsed());
            }
            Ok::<_, io::Error>(times)
        });
        let times = task.await.map_err(io::Error::other)??;
        tell(&[("us", median(times))])
    })
}
