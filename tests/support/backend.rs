//! A scripted WebSocket backend on a port of its own: strict about the handshake, an echo afterwards.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

/// What the backend does with a connection that asks properly.
#[derive(Clone, Copy)]
pub enum Script {
    /// Sends messages back, answers pings.
    Echo,
    /// Answers the handshake with this status.
    Status(u16),
    /// Opens, and closes at once with this code.
    CloseWith(u16),
}

/// A listening backend; its threads end with the process.
pub struct Backend {
    pub port: u16,
    pub open: Arc<AtomicUsize>,
}

impl Backend {
    pub fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let port = listener.local_addr().expect("its address").port();
        let open = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&open);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counter = Arc::clone(&counter);
                thread::spawn(move || {
                    let _ = serve(stream, script, &counter);
                });
            }
        });
        Self { port, open }
    }
}

fn serve(mut stream: TcpStream, script: Script, open: &AtomicUsize) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.by_ref().take(16_384).read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        head.iter().skip(1).find_map(|l| {
            let (k, v) = l.split_once(':')?;
            k.eq_ignore_ascii_case(name).then(|| v.trim().to_owned())
        })
    };
    let asks = header("upgrade").is_some_and(|v| v.eq_ignore_ascii_case("websocket"))
        && header("connection").is_some_and(|v| v.to_ascii_lowercase().contains("upgrade"))
        && head.first().is_some_and(|l| l.ends_with("HTTP/1.1"));
    let refuse = |stream: &mut TcpStream, status: u16, text: &str| {
        write!(stream, "HTTP/1.1 {status} {text}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len())
    };
    if !asks {
        return refuse(&mut stream, 426, "Upgrade Required");
    }
    if let Script::Status(status) = script {
        return refuse(&mut stream, status, "No");
    }
    let accept = derive_accept_key(header("sec-websocket-key").unwrap_or_default().as_bytes());
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    open.fetch_add(1, Ordering::SeqCst);
    let mut ws = WebSocket::from_raw_socket(stream, Role::Server, None);
    if let Script::CloseWith(code) = script {
        let frame =
            tokio_tungstenite::tungstenite::protocol::CloseFrame { code: code.into(), reason: "as told".into() };
        let _ = ws.close(Some(frame));
    }
    while let Ok(message) = ws.read() {
        if let Message::Text(_) | Message::Binary(_) = message {
            let _ = ws.send(message);
        }
    }
    open.fetch_sub(1, Ordering::SeqCst);
    Ok(())
}
