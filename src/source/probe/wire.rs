//! The byte stream under a tunnel, plain or TLS, that knows when it last carried a byte.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

/// How much of what a peer said first is remembered.
const TASTE: usize = 16 * 1024;

/// A connection of the kernel's.
#[derive(Debug)]
pub(super) enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Self::Unix(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(s) => Pin::new(s).poll_write(cx, data),
            Self::Unix(s) => Pin::new(s).poll_write(cx, data),
        }
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(s) => Pin::new(s).poll_flush(cx),
            Self::Unix(s) => Pin::new(s).poll_flush(cx),
        }
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Self::Unix(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

/// A stream that remembers what the peer said first: when a TLS handshake fails, that tells what the peer speaks.
#[derive(Debug)]
pub(super) struct Tasted {
    socket: Socket,
    taste: Vec<u8>,
    done: bool,
}

impl Tasted {
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket, taste: Vec::new(), done: false }
    }

    /// Takes what was read so far and remembers no more.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.done = true;
        std::mem::take(&mut self.taste)
    }
}

impl AsyncRead for Tasted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        if !self.done {
            let new = buf.filled().get(before..).unwrap_or_default();
            let room = TASTE.saturating_sub(self.taste.len()).min(new.len());
            self.taste.extend_from_slice(new.get(..room).unwrap_or_default());
        }
        polled
    }
}

impl AsyncWrite for Tasted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, data)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// A connection to a server.
#[derive(Debug)]
pub struct Wire {
    carrier: Carrier,
    last: Instant,
    before: Instant,
}

#[derive(Debug)]
enum Carrier {
    Plain(Socket),
    Tls(Box<TlsStream<Tasted>>),
}

impl Wire {
    fn over(carrier: Carrier) -> Self {
        let now = Instant::now();
        Self { carrier, last: now, before: now }
    }

    pub(super) fn plain(socket: Socket) -> Self {
        Self::over(Carrier::Plain(socket))
    }

    pub(super) fn tls(mut tls: TlsStream<Tasted>) -> Self {
        tls.get_mut().0.take();
        Self::over(Carrier::Tls(Box::new(tls)))
    }

    /// When the last byte passed, in either direction. Bytes of TLS itself do not count: they reset no proxy's timer.
    #[must_use]
    pub fn last_byte(&self) -> Instant {
        self.last
    }

    /// When the last byte passed before the latest read or write.
    #[must_use]
    pub fn byte_before(&self) -> Instant {
        self.before
    }

    fn carried(&mut self, bytes: usize) {
        if bytes > 0 {
            self.before = std::mem::replace(&mut self.last, Instant::now());
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = match &mut self.carrier {
            Carrier::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Carrier::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, buf),
        };
        self.carried(buf.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let polled = match &mut self.carrier {
            Carrier::Plain(socket) => Pin::new(socket).poll_write(cx, data),
            Carrier::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, data),
        };
        if let Poll::Ready(Ok(n)) = &polled {
            self.carried(*n);
        }
        polled
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Carrier::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
        }
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Carrier::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
        }
    }
}
