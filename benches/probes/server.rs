//! The least that a WebSocket server can be: upgrades everybody, answers pings, reads short frames only.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Addresses that it listens on, from 127.0.0.1 on.
pub const ADDRESSES: u8 = 60;

/// Listens on loopback addresses, says its port, and serves until its standard input ends.
pub fn run() -> io::Result<()> {
    super::process::raise_descriptors();
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut port = 0;
        for n in 1..=ADDRESSES {
            let socket = TcpSocket::new_v4()?;
            socket.bind(([127, 0, 0, n], port).into())?;
            let listener = socket.listen(4_096)?;
            port = listener.local_addr()?.port();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream));
                }
            });
        }
        super::say(&port.to_string())?;
        std::future::pending().await
    })
}

async fn serve(mut stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    // No port of a client is kept waiting for its end.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok()?;
    {
        let mut head = Vec::with_capacity(1_024);
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await.ok()? == 0 {
                return None;
            }
        }
        let head = String::from_utf8(head).ok()?;
        let key = head.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: "))?;
        let accept = derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
    let mut bytes = [0; 256];
    let mut have = 0;
    loop {
        have += stream.read(bytes.get_mut(have..)?).await.ok().filter(|read| *read > 0)?;
        let length = 6 + usize::from(bytes[1] & 0x7f);
        if have < 2 || have < length {
            continue;
        }
        if bytes[0] & 0x0f == 8 {
            return None;
        }
        let (mask, payload) = bytes.get(2..length)?.split_at(4);
        let mut answer = vec![0x8a, bytes[1] & 0x7f];
        answer.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        stream.write_all(&answer).await.ok()?;
        bytes.copy_within(length..have, 0);
        have -= length;
    }
}
