//! Backends on a script: what they answer to a handshake, and how their tunnels end.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

use super::certs::Certs;

/// A request as the backend hears it.
pub struct Asking(Vec<String>);

impl Asking {
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.0.iter().skip(1).filter_map(|l| l.split_once(':'));
        fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).next()
    }

    /// The path with its query.
    pub fn uri(&self) -> &str {
        self.0[0].split(' ').nth(1).unwrap_or_default()
    }

    /// RFC 6455 section 4.2.1, to the letter.
    pub fn is_handshake(&self) -> bool {
        let has = |name, word: &str| {
            self.header(name).is_some_and(|v| v.split(',').any(|t| t.trim().eq_ignore_ascii_case(word)))
        };
        has("upgrade", "websocket") && has("connection", "upgrade") && self.0[0].ends_with(" HTTP/1.1")
    }
}

/// What a backend does with a request.
pub enum Deed {
    /// Opens the tunnel, with more header lines in the 101.
    Open(Then, String),
    /// Says these bytes and closes.
    Say(String),
    /// Never answers.
    Hang,
    /// Closes without a word.
    Close,
    /// Closes with RST.
    Reset,
}

/// What becomes of an open tunnel.
#[derive(Clone, Copy)]
pub enum Then {
    /// Messages come back until the client goes.
    Echo,
    /// The backend says something itself, so often.
    Speaks(Duration),
    /// After this time the connection ends with RST,
    Resets(Duration),
    /// with FIN,
    Leaves(Duration),
    /// or with a close frame of this code.
    Closes(Duration, u16),
    /// With FIN after this time of silence.
    Tires(Duration),
    /// Messages as fast as they can be sent.
    Floods,
}

pub type Script = fn(&Asking) -> Deed;

pub fn answer(status: u16, more: &str, body: &str) -> Deed {
    let length = body.len();
    Deed::Say(format!(
        "HTTP/1.1 {status} Answer\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n{more}Connection: close\r\n\r\n{body}"
    ))
}

/// Opens for a whole handshake, and refuses anything else as WebSocket servers do.
pub fn strict(asking: &Asking, then: Then) -> Deed {
    if asking.is_handshake() { Deed::Open(then, String::new()) } else { answer(426, "", "Upgrade Required") }
}

pub fn echo(asking: &Asking) -> Deed {
    strict(asking, Then::Echo)
}

/// Where a backend waits for connections.
#[derive(Clone, Copy)]
pub enum Play {
    /// The port is taken, and nobody listens.
    Nobody,
    /// Plain TCP.
    Tcp(Script),
    /// TLS with this certificate.
    Tls(&'static str, Script),
    /// The unix socket `app.sock` in the scenario's folder.
    Unix(Script),
    /// The accept queue is full, and nobody accepts.
    Deaf,
    /// A name server that knows `app.lab.test` alone.
    Names,
}

/// A backend that plays.
pub struct Backend {
    pub port: u16,
    gone: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    /// Sockets that must stay as they are.
    kept: Vec<Socket>,
    /// What is played again after an exit.
    script: Option<Script>,
}

impl Backend {
    pub fn start(play: Play, dir: &Path, certs: &Certs) -> Self {
        let mut backend = Self { port: 0, gone: Arc::default(), open: Arc::default(), kept: Vec::new(), script: None };
        match play {
            Play::Nobody => {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
                let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
                socket.bind(&any.into()).expect("a loopback port");
                backend.port = port_of(&socket);
                backend.kept.push(socket);
            }
            Play::Deaf => backend.be_deaf(),
            Play::Tcp(script) => {
                backend.script = Some(script);
                backend.listen("127.0.0.1:0", script, None);
            }
            Play::Tls(cert, script) => backend.listen("127.0.0.1:0", script, Some(certs.server(cert))),
            Play::Unix(script) => {
                let listener = UnixListener::bind(dir.join("app.sock")).expect("a socket file");
                thread::spawn(move || {
                    for stream in listener.incoming().flatten() {
                        thread::spawn(move || {
                            stream.set_read_timeout(Some(TICK)).expect("a time");
                            serve(stream, script, &|| {});
                        });
                    }
                });
            }
            Play::Names => backend.port = names(),
        }
        backend
    }

    fn listen(&mut self, at: &str, script: Script, tls: Option<Arc<rustls::ServerConfig>>) {
        let listener = TcpListener::bind(at).expect("a loopback port");
        self.port = listener.local_addr().expect("its address").port();
        let (gone, open) = (Arc::clone(&self.gone), Arc::clone(&self.open));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if gone.load(Ordering::SeqCst) {
                    return;
                }
                open.lock().expect("no panic").push(stream.try_clone().expect("a clone"));
                let (tls, open) = (tls.clone(), Arc::clone(&open));
                thread::spawn(move || accept(stream, script, tls, &open));
            }
        });
    }

    /// A backlog of 1 lets one connection wait, and the kernel one more: every other SYN is dropped.
    fn be_deaf(&mut self) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        socket.bind(&any.into()).expect("a loopback port");
        socket.listen(1).expect("listening");
        self.port = port_of(&socket);
        let here: SocketAddr = ([127, 0, 0, 1], self.port).into();
        for _ in 0..5 {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            client.set_nonblocking(true).expect("a mode");
            let _ = client.connect(&here.into());
            self.kept.push(client);
        }
        self.kept.push(socket);
    }

    /// It is started again on its port.
    pub fn revive(&mut self) {
        self.gone = Arc::default();
        let at = format!("127.0.0.1:{}", self.port);
        self.listen(&at, self.script.expect("plain"), None);
    }

    /// The process ends: its port and all its connections are gone at once.
    pub fn exit(&self) {
        self.gone.store(true, Ordering::SeqCst);
        // Whoever connects before the port is closed is reset, not refused.
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            thread::yield_now();
        }
        for stream in self.open.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn port_of(socket: &Socket) -> u16 {
    socket.local_addr().expect("its address").as_socket().expect("an IP address").port()
}

/// How often a waiting backend looks at the clock.
const TICK: Duration = Duration::from_millis(50);

fn accept(stream: TcpStream, script: Script, tls: Option<Arc<rustls::ServerConfig>>, open: &Mutex<Vec<TcpStream>>) {
    let raw = stream.try_clone().expect("a clone");
    let (peer, _) = (raw.peer_addr(), raw.set_nodelay(true));
    raw.set_read_timeout(Some(TICK)).expect("a time");
    let reset = || {
        // The last holder's close sends the RST.
        open.lock().expect("no panic").retain(|s| s.peer_addr().ok() != peer.as_ref().ok().copied());
        let _ = SockRef::from(&raw).set_linger(Some(Duration::ZERO));
    };
    match tls {
        None => serve(stream, script, &reset),
        Some(config) => {
            let session = rustls::ServerConnection::new(config).expect("a session");
            serve(rustls::StreamOwned::new(session, stream), script, &reset);
        }
    }
    open.lock().expect("no panic").retain(|s| s.peer_addr().ok() != peer.as_ref().ok().copied());
}

/// Reads whatever comes in time, with patience for quiet moments.
struct Patient<S>(S, Instant);

impl<S: Read> Read for Patient<S> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.0.read(into) {
                Err(e) if is_quiet(&e) && Instant::now() < self.1 => {}
                other => return other,
            }
        }
    }
}

fn is_quiet(e: &std::io::Error) -> bool {
    matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

fn serve<S: Read + Write>(mut stream: S, script: Script, reset: &dyn Fn()) {
    let mut head = Vec::new();
    let patient = Patient(&mut stream, Instant::now() + super::super::support::PATIENCE);
    for line in BufReader::with_capacity(1, patient).lines() {
        match line {
            Ok(line) if line.is_empty() => break,
            Ok(line) => head.push(line),
            Err(_) => return,
        }
    }
    if head.is_empty() {
        return;
    }
    let asking = Asking(head);
    match script(&asking) {
        Deed::Open(then, more) => {
            let accept = derive_accept_key(asking.header("sec-websocket-key").unwrap_or_default().as_bytes());
            let _ = write!(
                stream,
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{more}\r\n"
            );
            let _ = stream.flush();
            hold(stream, then, reset);
        }
        Deed::Say(text) => {
            let _ = stream.write_all(text.as_bytes());
            let _ = stream.flush();
        }
        Deed::Hang => {
            let mut patient = Patient(stream, Instant::now() + super::super::support::PATIENCE);
            let _ = std::io::copy(&mut patient, &mut std::io::sink());
        }
        Deed::Close => {}
        Deed::Reset => reset(),
    }
}

fn hold<S: Read + Write>(stream: S, then: Then, reset: &dyn Fn()) {
    let began = Instant::now();
    let config = WebSocketConfig::default().write_buffer_size(0).max_write_buffer_size(usize::MAX);
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, Some(config));
    let (mut said, mut heard) = (began, began);
    loop {
        if let Then::Floods = then
            && socket.send(Message::binary(vec![7; 60_000])).is_err()
        {
            return;
        }
        match socket.read() {
            Ok(Message::Text(_) | Message::Binary(_)) if matches!(then, Then::Floods) => {}
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                heard = Instant::now();
                let _ = socket.send(message);
            }
            Err(Error::Io(e)) if is_quiet(&e) => {}
            Ok(_) => heard = Instant::now(),
            Err(_) => return,
        }
        match then {
            Then::Speaks(often) if said.elapsed() >= often => {
                said = Instant::now();
                let _ = socket.send(Message::text("tick"));
            }
            Then::Resets(after) if began.elapsed() >= after => return reset(),
            Then::Tires(after) if heard.elapsed() >= after => return,
            Then::Leaves(after) if began.elapsed() >= after => return,
            Then::Closes(after, code) if began.elapsed() >= after => {
                let _ = socket.close(Some(CloseFrame { code: code.into(), reason: "as told".into() }));
                while socket.read().is_ok() {}
                return;
            }
            _ => {}
        }
    }
}

/// A name server on UDP: one name is 127.0.0.1, no other exists (RFC 1035 section 4).
fn names() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback port");
    let port = socket.local_addr().expect("its address").port();
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((n, from)) = socket.recv_from(&mut query) {
            let Some(question) = query.get(12..n) else { continue };
            let known = question.windows(8).any(|w| w == b"\x03app\x03lab");
            let is_a = question.ends_with(&[0, 1, 0, 1]);
            let mut reply = vec![query[0], query[1], 0x81, if known { 0x80 } else { 0x83 }];
            reply.extend([0, 1, 0, u8::from(known && is_a), 0, 0, 0, 0]);
            reply.extend(question);
            if known && is_a {
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 127, 0, 0, 1]);
            }
            let _ = socket.send_to(&reply, from);
        }
    });
    port
}
