//! An open tunnel: pinged, listened to, and told how it ends.

use std::future::{Future as _, pending, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::dial::{Opened, Steps};
use super::dialogue::{Dialogue, Turn};
use super::dice::dice;
use super::echo::Secrets;
use super::fault::words;
use super::framed::{Ended, Framed};
use super::frames::{Heard, code, opcode};
use super::heartbeat::{Beat, Echo, Heartbeat};
use super::options::ProbeOptions;
use crate::event::probe::{ClosedBy, Step, Strays};
use crate::human::counted;

/// How long the other side may take to answer a close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// How exactly the runtime's timers go off.
const TICK: Duration = Duration::from_millis(1);

/// How long a ping is kept to ourselves, unless its pong comes: whoever is told of it wakes up and takes processor time,
/// here or from a server on the same machine, and that is none of the round trip. Beside a longer one it is nothing.
const DISCREET: Duration = Duration::from_millis(20);

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
    /// The code of our own close frame.
    goodbye: Option<u16>,
}

/// Holds a tunnel with pings until it ends, and tells each step; the last one is `Closed`.
pub async fn hold(opened: Opened, options: &ProbeOptions, until: &Until, steps: &mut Steps<'_>) -> Held {
    let at = opened.at;
    let question = options.question.clone();
    let socket = Framed::new(opened, question.as_ref().is_some_and(|q| q.expect.is_some()));
    let now = Instant::now().into_std();
    let heart = Heartbeat::new(options.rhythm(), dice(), now);
    let dialogue = question.map(|q| Box::new(Dialogue::new(q, options.ping_interval, options.ping_timeout, now)));
    let mut tunnel = Tunnel { socket, heart, told: Strays::default(), untold: None, dialogue, last_message: at, steps };
    let end = tunnel.live(until).await;
    let now = Instant::now();
    let held = now.saturating_duration_since(at);
    let idle = now.saturating_duration_since(end.quiet_since).min(held);
    let by = end.by;
    let reason = if end.reason.is_empty() { end.reason } else { Secrets::of(options, None).hide(&end.reason) };
    tunnel.tell_strays();
    tunnel.tell(Step::Closed { by, code: end.code, reason, held, idle });
    tunnel.part(by, end.goodbye).await;
    Held { held, by, strays: tunnel.heart.strays() }
}

/// The one timer of a tunnel.
///
/// Setting a timer may wake the thread that waits for the sockets, and that would be part of a round trip. So it is set
/// before a ping leaves, and stays as it is where it is as good as the new one.
struct Alarm<'a> {
    sleep: Pin<&'a mut Sleep>,
    /// When it goes off; `None`: it has gone off, or was never set.
    at: Option<Instant>,
    wanted: bool,
}

impl Alarm<'_> {
    /// Goes off at `at`; `None`: never.
    async fn set(&mut self, at: Option<Instant>) {
        self.wanted = at.is_some();
        let stays = |at: Instant| self.at.is_some_and(|old| (old..=old + TICK).contains(&at));
        let Some(at) = at.filter(|at| !stays(*at)) else { return };
        self.at = Some(at);
        self.sleep.as_mut().reset(at);
        // Only a timer that was asked is registered.
        poll_fn(|cx| {
            let _ = self.sleep.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
    }

    async fn rings(&mut self) {
        if !self.wanted {
            return pending().await;
        }
        self.sleep.as_mut().await;
        self.at = None;
    }
}

struct Tunnel<'a, 'b> {
    socket: Framed,
    heart: Heartbeat,
    /// What was told of stray pongs.
    told: Strays,
    /// A ping that left and was not told of yet, and when it is told at the latest.
    untold: Option<(u64, Instant)>,
    dialogue: Option<Box<Dialogue>>,
    last_message: Instant,
    steps: &'a mut Steps<'b>,
}

impl Tunnel<'_, '_> {
    /// Reads first: after a pause of our own, a pong that waits in the socket must be seen before its deadline. The
    /// timer and the token are looked at after every message and every read, so that no flood starves them.
    async fn live(&mut self, until: &Until) -> End {
        let mut alarm = Alarm { sleep: pin!(sleep_until(self.last_message)), at: None, wanted: false };
        // One for the whole life: the token is that of all tunnels, who stand in one list for it.
        let mut stopped = pin!(until.stop.cancelled());
        loop {
            let now = Instant::now();
            if self.untold.is_some_and(|(_, by)| by <= now) {
                self.tell_ping();
            }
            let beats = self.heart.tick(now.into_std());
            let leaves = beats.iter().any(|beat| matches!(beat, Beat::Ping { .. }));
            alarm.set(self.wake(until).into_iter().chain(leaves.then(|| now + DISCREET)).min()).await;
            if let Some(end) = self.beat(beats) {
                return end;
            }
            if until.stop.is_cancelled() || self.over(until).is_some_and(|at| at <= Instant::now()) {
                return self.ours();
            }
            self.talk();
            alarm.set(self.wake(until)).await;
            tokio::select! {
                biased;
                read = self.socket.next() => if let Some(end) = self.on_read(read) { return end },
                () = &mut stopped => {}
                () = alarm.rings() => {}
            }
        }
    }

    /// When the tunnel has been held long enough.
    fn over(&self, until: &Until) -> Option<Instant> {
        until.deadline.filter(|_| self.heart.is_first_settled())
    }

    /// When there is something to do even if the server says nothing.
    fn wake(&self, until: &Until) -> Option<Instant> {
        let asked = self.dialogue.as_ref().map(|d| d.due());
        let due = asked.into_iter().chain(self.heart.due()).map(Instant::from_std);
        due.chain(self.over(until)).chain(self.untold.map(|(_, by)| by)).min()
    }

    /// Does what the heart asks for.
    fn beat(&mut self, beats: Vec<Beat>) -> Option<End> {
        for beat in beats {
            match beat {
                Beat::Ping { seq, payload } => {
                    self.tell_strays();
                    self.tell_ping();
                    self.socket.say(opcode::PING, payload.as_bytes());
                    let now = Instant::now();
                    self.heart.leaves(seq, now.into_std());
                    self.socket.write_now();
                    self.untold = Some((seq, now + DISCREET));
                }
                Beat::Missed { seq } => self.tell(Step::Missed { seq }),
                Beat::GiveUp { missed } => {
                    let pings = counted(missed.into(), "ping", "pings");
                    let reason = format!("{pings} in a row went unanswered{}", self.within());
                    return Some(self.end(ClosedBy::PongTimeout, reason, Some(code::AWAY)));
                }
            }
        }
        None
    }

    fn on_read(&mut self, read: Result<Option<Heard>, Ended>) -> Option<End> {
        match read {
            Ok(None) => return None,
            Ok(Some(Heard::Close(frame))) => return Some(self.server_close(frame)),
            Ok(Some(Heard::Pong(payload))) => self.on_pong(&payload),
            Ok(Some(Heard::Text(text))) => self.on_text(&text),
            Ok(Some(Heard::Ping(_) | Heard::Binary)) => {}
            Err(ended) => return Some(self.broken(&ended)),
        }
        self.last_message = Instant::now();
        None
    }

    /// Tells a step, behind the ping that was not told of yet.
    fn tell(&mut self, step: Step) {
        self.tell_ping();
        (self.steps)(step);
    }

    fn tell_ping(&mut self) {
        if let Some((seq, _)) = self.untold.take() {
            (self.steps)(Step::Pinged { seq });
        }
    }

    /// Tells how many stray pongs there were, when there were more.
    fn tell_strays(&mut self) {
        let strays = self.heart.strays();
        if strays != self.told {
            self.told = strays;
            self.tell(Step::Strays { strays });
        }
    }

    fn on_pong(&mut self, payload: &[u8]) {
        // The moment of the read, before anything was made of its bytes.
        match self.heart.on_pong(payload, self.socket.last_byte().into_std()) {
            Echo::Answer { seq, rtt } => self.tell(Step::Pong { seq, rtt }),
            stray => tracing::debug!(?stray, "a pong without a time"),
        }
    }

    /// Says what the dialogue wants to say.
    fn talk(&mut self) {
        while let Some(dialogue) = &mut self.dialogue
            && let Some(turn) = dialogue.tick(Instant::now().into_std())
        {
            match turn {
                Turn::Ask(seq) => {
                    self.socket.say(opcode::TEXT, dialogue.text().as_bytes());
                    self.socket.write_now();
                    self.tell(Step::Asked { seq });
                }
                Turn::Unanswered(seq) => self.tell(Step::Unanswered { seq }),
            }
        }
    }

    fn on_text(&mut self, text: &str) {
        let answered = self.dialogue.as_mut().and_then(|d| d.on_text(text, Instant::now().into_std()));
        if let Some((seq, rtt)) = answered {
            self.tell(Step::Answered { seq, rtt });
        }
    }

    fn end(&self, by: ClosedBy, reason: String, goodbye: Option<u16>) -> End {
        End { by, code: None, reason, quiet_since: self.socket.last_byte(), goodbye }
    }

    fn ours(&self) -> End {
        End { code: Some(code::NORMAL), ..self.end(ClosedBy::Us, String::new(), Some(code::NORMAL)) }
    }

    /// The close frame itself does not break the silence that may have caused it.
    fn server_close(&self, frame: Option<(u16, String)>) -> End {
        let (code, reason) = frame.map_or((None, String::new()), |(code, reason)| (Some(code), reason));
        let quiet_since = self.socket.byte_before().max(self.last_message);
        End { code, quiet_since, ..self.end(ClosedBy::ServerClose, reason, None) }
    }

    fn broken(&self, ended: &Ended) -> End {
        let (by, mut reason) = classify(ended);
        if by == ClosedBy::Fin {
            reason.push_str(self.within().trim_start_matches(", "));
        }
        let goodbye = if let Ended::Broken(broken) = ended { Some(broken.code) } else { None };
        self.end(by, reason, goodbye)
    }

    /// The words for a frame that is not whole: no pong comes through before its end, and an end within it cut a message.
    fn within(&self) -> String {
        self.socket.within().map_or_else(String::new, |length| format!(", in the middle of a frame of {length} bytes"))
    }

    /// Ends the connection as politely as its end allows: a close frame, or the answer to one, and then the other side's
    /// FIN, for a bounded time (RFC 6455 section 7.1.1: the server closes TCP first).
    async fn part(&mut self, by: ClosedBy, goodbye: Option<u16>) {
        if goodbye.is_some() {
            self.socket.close(goodbye);
        }
        let _ = match by {
            ClosedBy::Fin | ClosedBy::Reset => return,
            // A server that broke the protocol is not listened to any more.
            ClosedBy::ProtocolError => timeout(CLOSE_WAIT, self.socket.flush()).await,
            ClosedBy::Us | ClosedBy::PongTimeout | ClosedBy::ServerClose => {
                timeout(CLOSE_WAIT, self.socket.drain()).await
            }
        };
    }
}

/// Who ended a tunnel by ending to speak properly, and how, in words.
pub(super) fn classify(ended: &Ended) -> (ClosedBy, String) {
    match ended {
        Ended::Fin => (ClosedBy::Fin, String::new()),
        Ended::Io(e) => classify_io(e),
        Ended::Broken(broken) => (ClosedBy::ProtocolError, broken.said.clone()),
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
