//! An opened tunnel as a stream of what the server says; what we say waits in a bounded queue until the socket takes it.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::time::Instant;

use super::dial::Opened;
use super::frames::{Broken, Heard, Reader, frame, opcode};
use super::wire::Wire;

/// How much is read at once. The room is on the stack while reading: there may be many tunnels, and they are mostly quiet.
const READ: usize = 4 * 1024;
/// The most that may wait to be written: some pings and a close frame to a server that does not read.
const UNWRITTEN_MAX: usize = 64 * 1024;

/// Why no more is heard.
#[derive(Debug)]
pub(super) enum Ended {
    /// FIN.
    Fin,
    /// The socket failed.
    Io(io::Error),
    /// The server broke the protocol.
    Broken(Broken),
}

/// An opened tunnel.
#[derive(Debug)]
pub(super) struct Framed {
    wire: Wire,
    reader: Reader,
    /// Bytes that came and were not looked at yet, from `at` on.
    input: Vec<u8>,
    at: usize,
    out: Vec<u8>,
    /// The answer to the latest ping; older ones need none (RFC 6455 section 5.5.3).
    pong: Option<Vec<u8>>,
    /// Nothing is said behind a close frame.
    closing: bool,
}

impl Framed {
    /// The tunnel behind a handshake. Texts are kept only where they are wanted.
    pub(super) fn new(opened: Opened, wants_text: bool) -> Self {
        Self {
            wire: opened.wire,
            reader: Reader::new(wants_text),
            input: opened.leftover,
            at: 0,
            out: Vec::new(),
            pong: None,
            closing: false,
        }
    }

    /// When the last byte passed.
    pub(super) fn last_byte(&self) -> Instant {
        self.wire.last_byte()
    }

    /// When the last byte passed before the latest read or write.
    pub(super) fn byte_before(&self) -> Instant {
        self.wire.byte_before()
    }

    /// The length of the frame whose payload has not come whole yet.
    pub(super) fn within(&self) -> Option<u64> {
        self.reader.within()
    }

    /// Puts a frame into the queue; [`Self::next`] and [`Self::drain`] write it. What finds no room is dropped: a server
    /// that reads nothing hears no more pings either way.
    pub(super) fn say(&mut self, opcode: u8, payload: &[u8]) {
        let frame = frame(opcode, payload);
        if !self.closing && self.out.len() + frame.len() <= UNWRITTEN_MAX {
            self.out.extend_from_slice(&frame);
            self.closing = opcode == opcode::CLOSE;
        }
    }

    /// Writes what the socket takes at once; [`Self::next`] writes the rest and asks to be woken for it.
    pub(super) fn write_now(&mut self) {
        self.poll_out(&mut Context::from_waker(Waker::noop()));
    }

    /// Says goodbye.
    pub(super) fn close(&mut self, code: Option<u16>) {
        self.say(opcode::CLOSE, code.map(u16::to_be_bytes).as_ref().map_or(&[], <[u8; 2]>::as_slice));
    }

    /// What the server says next; `None` when bytes came that make nothing whole. Pings and close frames are answered.
    ///
    /// Every read comes back to the caller, so that a message without end starves none of its timers.
    pub(super) async fn next(&mut self) -> Result<Option<Heard>, Ended> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Heard>, Ended>> {
        self.poll_out(cx);
        let heard = match self.known().map_err(Ended::Broken)? {
            None => ready!(self.poll_in(cx))?,
            known => known,
        };
        match &heard {
            Some(Heard::Ping(payload)) => {
                self.pong = Some(payload.clone());
                self.poll_out(cx);
            }
            // Written later: the moment of the byte before the close frame is still to be asked for.
            Some(Heard::Close(frame)) => self.close(frame.as_ref().map(|(code, _)| *code)),
            _ => {}
        }
        Poll::Ready(Ok(heard))
    }

    /// What stands in the bytes that came before.
    fn known(&mut self) -> Result<Option<Heard>, Broken> {
        let mut bytes = self.input.get(self.at..).unwrap_or_default();
        let heard = self.reader.feed(&mut bytes);
        self.at = self.input.len() - bytes.len();
        if bytes.is_empty() {
            (self.input, self.at) = (Vec::new(), 0);
        }
        heard
    }

    fn poll_in(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Heard>, Ended>> {
        let mut room = [MaybeUninit::uninit(); READ];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.wire).poll_read(cx, &mut read)).map_err(Ended::Io)?;
        let mut bytes = read.filled();
        if bytes.is_empty() {
            return Poll::Ready(Err(Ended::Fin));
        }
        let heard = self.reader.feed(&mut bytes).map_err(Ended::Broken);
        self.input.extend_from_slice(bytes);
        Poll::Ready(heard)
    }

    /// Writes what the socket takes. An error is left for reading to find, behind whatever the server said last.
    fn poll_out(&mut self, cx: &mut Context<'_>) {
        loop {
            if self.out.is_empty() {
                let Some(payload) = self.pong.take().filter(|_| !self.closing) else { break };
                self.out = frame(opcode::PONG, &payload);
            }
            match Pin::new(&mut self.wire).poll_write(cx, &self.out) {
                Poll::Pending => return,
                Poll::Ready(Ok(n)) if n > 0 && n < self.out.len() => drop(self.out.drain(..n)),
                Poll::Ready(_) => self.out = Vec::new(),
            }
        }
        let _ = Pin::new(&mut self.wire).poll_flush(cx);
    }

    /// Writes what waits, and listens to nothing any more.
    pub(super) async fn flush(&mut self) {
        poll_fn(|cx| {
            self.poll_out(cx);
            if self.out.is_empty() { Pin::new(&mut self.wire).poll_flush(cx).map(|_| ()) } else { Poll::Pending }
        })
        .await;
    }

    /// Writes what waits, and throws away what comes until the server has gone.
    pub(super) async fn drain(&mut self) {
        poll_fn(|cx| {
            self.poll_out(cx);
            let mut room = [MaybeUninit::uninit(); READ];
            loop {
                let mut read = ReadBuf::uninit(&mut room);
                let polled = ready!(Pin::new(&mut self.wire).poll_read(cx, &mut read));
                if polled.is_err() || read.filled().is_empty() {
                    return Poll::Ready(());
                }
            }
        })
        .await;
    }
}
