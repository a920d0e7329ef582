//! An open tunnel: pinged, listened to, and told how it ends.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Sink as _, SinkExt as _, Stream as _, StreamExt as _};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

use super::dial::{Opened, Steps};
use super::dialogue::{Dialogue, Turn};
use super::dice::dice;
use super::fault::words;
use super::heartbeat::{Beat, Echo, Heartbeat, Strays};
use super::options::ProbeOptions;
use super::wire::Wire;
use crate::event::probe::{ClosedBy, Step};
use crate::human::{counted, visible};

/// The largest message taken in; what a server sends is thrown away, but it is read whole first.
const MESSAGE_MAX: usize = 16 << 20;
/// The most that may wait to be written: some pings and a close frame to a server that does not read.
const UNWRITTEN_MAX: usize = 64 * 1024;
/// How long the other side may take to answer a close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// How long a tunnel is to be held.
#[derive(Clone, Debug)]
pub struct Until {
    /// Until this is cancelled.
    pub stop: CancellationToken,
    /// Or until this moment, but not before the first ping was answered or missed.
    pub deadline: Option<Instant>,
}

/// What became of a tunnel.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// How long it was open.
    pub held: Duration,
    /// Who ended it.
    pub by: ClosedBy,
    /// Pongs that answered no ping.
    pub strays: Strays,
}

/// How a tunnel ended.
struct End {
    by: ClosedBy,
    code: Option<u16>,
    reason: String,
    quiet_since: Instant,
}

/// Holds a tunnel with pings until it ends, and tells each step; the last one is `Closed`.
pub async fn hold(opened: Opened, options: &ProbeOptions, until: &Until, steps: &mut Steps<'_>) -> Held {
    let at = opened.at;
    let socket = framed(opened).await;
    let now = Instant::now().into_std();
    let heart = Heartbeat::new(options.rhythm(), dice(), now);
    let question = options.question.clone();
    let dialogue = question.map(|q| Box::new(Dialogue::new(q, options.ping_interval, options.ping_timeout, now)));
    let mut tunnel = Tunnel { socket, heart, dialogue, last_message: at, steps };
    let end = tunnel.live(until).await;
    let now = Instant::now();
    let held = now.saturating_duration_since(at);
    let idle = now.saturating_duration_since(end.quiet_since).min(held);
    let by = end.by;
    (tunnel.steps)(Step::Closed { by, code: end.code, reason: end.reason, held, idle });
    tunnel.part(by).await;
    Held { held, by, strays: tunnel.heart.strays() }
}

/// An opened tunnel as a stream of messages.
pub(super) async fn framed(opened: Opened) -> WebSocketStream<Wire> {
    // 4 KiB: a probe reads little, and there may be many of them.
    let config = WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(UNWRITTEN_MAX)
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX));
    WebSocketStream::from_partially_read(opened.wire, opened.leftover, Role::Client, Some(config)).await
}

struct Tunnel<'a, 'b> {
    socket: WebSocketStream<Wire>,
    heart: Heartbeat,
    dialogue: Option<Box<Dialogue>>,
    last_message: Instant,
    steps: &'a mut Steps<'b>,
}

impl Tunnel<'_, '_> {
    /// Reads first: after a pause of our own, a pong that waits in the socket must be seen before its deadline. The
    /// timer and the token are looked at after every message, so that a flood of messages starves neither.
    async fn live(&mut self, until: &Until) -> End {
        loop {
            if let Some(end) = self.beat() {
                return end;
            }
            let over = until.deadline.filter(|_| self.heart.is_first_settled());
            if until.stop.is_cancelled() || over.is_some_and(|at| at <= Instant::now()) {
                return self.ours();
            }
            self.talk();
            let asked = self.dialogue.as_ref().map(|d| d.due());
            let due = Instant::from_std(asked.map_or(self.heart.due(), |at| at.min(self.heart.due())));
            let wake = over.map_or(due, |at| at.min(due));
            tokio::select! {
                biased;
                read = next(&mut self.socket) => if let Some(end) = self.on_read(read) { return end },
                () = until.stop.cancelled() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Does what the heart asks for.
    fn beat(&mut self) -> Option<End> {
        for beat in self.heart.tick(Instant::now().into_std()) {
            match beat {
                Beat::Ping { seq, payload } => {
                    let ping = Message::Ping(payload.into_bytes().into());
                    // Never waits: what the socket does not take now is flushed while reading. An error is left for reading
                    // to find, behind whatever the server said last.
                    let _ = Pin::new(&mut self.socket).start_send(ping);
                    (self.steps)(Step::Pinged { seq });
                }
                Beat::Missed { seq } => (self.steps)(Step::Missed { seq }),
                Beat::GiveUp { missed } => {
                    let reason = format!("{} in a row went unanswered", counted(missed.into(), "ping", "pings"));
                    let quiet_since = self.socket.get_ref().last_byte();
                    return Some(End { by: ClosedBy::PongTimeout, code: None, reason, quiet_since });
                }
            }
        }
        None
    }

    fn on_read(&mut self, read: Option<Result<Message, Error>>) -> Option<End> {
        match read {
            Some(Ok(Message::Close(frame))) => Some(self.server_close(frame)),
            Some(Ok(message)) => {
                match &message {
                    Message::Pong(payload) => self.on_pong(payload),
                    Message::Text(text) => self.on_text(text),
                    _ => {}
                }
                self.last_message = Instant::now();
                None
            }
            Some(Err(e)) => Some(self.broken(&e)),
            None => Some(self.fin()),
        }
    }

    fn on_pong(&mut self, payload: &[u8]) {
        match self.heart.on_pong(payload, Instant::now().into_std()) {
            Echo::Answer { seq, rtt } => (self.steps)(Step::Pong { seq, rtt }),
            stray => tracing::debug!(?stray, "a pong without a time"),
        }
    }

    /// Says what the dialogue wants to say.
    fn talk(&mut self) {
        let Some(dialogue) = &mut self.dialogue else { return };
        while let Some(turn) = dialogue.tick(Instant::now().into_std()) {
            match turn {
                Turn::Ask(seq) => {
                    // As with pings.
                    let _ = Pin::new(&mut self.socket).start_send(Message::text(dialogue.text()));
                    (self.steps)(Step::Asked { seq });
                }
                Turn::Unanswered(seq) => (self.steps)(Step::Unanswered { seq }),
            }
        }
    }

    fn on_text(&mut self, text: &str) {
        let answered = self.dialogue.as_mut().and_then(|d| d.on_text(text, Instant::now().into_std()));
        if let Some((seq, rtt)) = answered {
            (self.steps)(Step::Answered { seq, rtt });
        }
    }

    fn ours(&self) -> End {
        let quiet_since = self.socket.get_ref().last_byte();
        End { by: ClosedBy::Us, code: Some(CloseCode::Normal.into()), reason: String::new(), quiet_since }
    }

    /// The close frame itself does not break the silence that may have caused it.
    fn server_close(&self, frame: Option<CloseFrame>) -> End {
        let (code, reason) = match frame {
            Some(frame) => (Some(frame.code.into()), visible(frame.reason.as_str().as_bytes())),
            None => (None, String::new()),
        };
        let quiet_since = self.socket.get_ref().byte_before().max(self.last_message);
        End { by: ClosedBy::ServerClose, code, reason, quiet_since }
    }

    fn fin(&self) -> End {
        let quiet_since = self.socket.get_ref().last_byte();
        End { by: ClosedBy::Fin, code: None, reason: String::new(), quiet_since }
    }

    fn broken(&self, error: &Error) -> End {
        let quiet_since = self.socket.get_ref().last_byte();
        let (by, reason) = classify(error);
        End { by, code: None, reason, quiet_since }
    }

    /// Ends the connection as politely as its end allows: a close frame, or the answer to one, and then the other side's
    /// FIN, for a bounded time (RFC 6455 section 7.1.1: the server closes TCP first).
    async fn part(&mut self, by: ClosedBy) {
        let code = match by {
            ClosedBy::Us => Some(CloseCode::Normal),
            ClosedBy::PongTimeout => Some(CloseCode::Away),
            ClosedBy::ProtocolError => Some(CloseCode::Protocol),
            ClosedBy::ServerClose => None,
            ClosedBy::Fin | ClosedBy::Reset => return,
        };
        let farewell = async {
            if let Some(code) = code {
                let frame = CloseFrame { code, reason: "".into() };
                if self.socket.send(Message::Close(Some(frame))).await.is_err() {
                    return;
                }
            }
            // A server that broke the protocol is not listened to any more.
            while by != ClosedBy::ProtocolError && matches!(self.socket.next().await, Some(Ok(_))) {}
        };
        let _ = timeout(CLOSE_WAIT, farewell).await;
    }
}

/// The next message; what waits to be written is written meanwhile.
pub(super) async fn next(socket: &mut WebSocketStream<Wire>) -> Option<Result<Message, Error>> {
    std::future::poll_fn(|cx| {
        // As above: reading finds the error.
        let _ = Pin::new(&mut *socket).poll_flush(cx);
        Pin::new(&mut *socket).poll_next(cx)
    })
    .await
}

/// Who ended a tunnel by an error, and the error in words.
pub(super) fn classify(error: &Error) -> (ClosedBy, String) {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) | Error::ConnectionClosed => {
            (ClosedBy::Fin, String::new())
        }
        Error::Io(e) => classify_io(e),
        Error::Protocol(e) => (ClosedBy::ProtocolError, visible(e.to_string().as_bytes())),
        Error::Capacity(e) => (ClosedBy::ProtocolError, format!("more than a probe takes in: {e}")),
        Error::Utf8(_) => (ClosedBy::ProtocolError, "a text message that is no UTF-8".to_owned()),
        other => (ClosedBy::ProtocolError, visible(other.to_string().as_bytes())),
    }
}

fn classify_io(error: &io::Error) -> (ClosedBy, String) {
    match error.kind() {
        // TLS that ends without close_notify; nginx does so when it cuts.
        io::ErrorKind::UnexpectedEof => (ClosedBy::Fin, String::new()),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
            (ClosedBy::Reset, words(error))
        }
        io::ErrorKind::InvalidData => (ClosedBy::ProtocolError, words(error)),
        // The kernel gave up waiting for acknowledgements before we gave up waiting for pongs.
        _ => (ClosedBy::PongTimeout, format!("the network gave up: {}", words(error))),
    }
}
