//! Many tunnels through a real nginx, each of which knows who it is: the truth that pairing is held against.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};
use wspulse::event::{Event, SourceId, SourceKind, Stamped};
use wspulse::model::Model;
use wspulse::source::config::{ConfigTarget, read_site};
use wspulse::source::process::read_processes;
use wspulse::source::sockets::{Mode, SocketSource};
use wspulse::source::supervise;
use wspulse::time::{Clock, Timestamp};

use super::nginx::Nginx;
use super::{PATIENCE, eventually};

/// What a tunnel does after its first message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Habit {
    /// Both sides send messages of random sizes at random moments.
    Talks,
    /// Nobody says anything.
    Silent,
    /// The client alone says something so often, every 300 ms.
    ClientSays(u32),
    /// The backend alone does.
    BackendSays(u32),
}

impl Habit {
    fn word(self) -> String {
        match self {
            Self::Talks => "talks 0".into(),
            Self::Silent => "silent 0".into(),
            Self::ClientSays(n) => format!("client {n}"),
            Self::BackendSays(n) => format!("backend {n}"),
        }
    }

    fn parse(word: &str, n: u32) -> Self {
        match word {
            "talks" => Self::Talks,
            "client" => Self::ClientSays(n),
            "backend" => Self::BackendSays(n),
            _ => Self::Silent,
        }
    }

    fn sayings(self, client: bool) -> Sayings {
        match self {
            Self::Talks => Sayings::Random,
            Self::ClientSays(n) if client => Sayings::Steady(n),
            Self::BackendSays(n) if !client => Sayings::Steady(n),
            _ => Sayings::None,
        }
    }
}

#[derive(Clone, Copy)]
enum Sayings {
    None,
    Random,
    Steady(u32),
}

/// The two ends of every tunnel by its number, as nginx must see them: the client's address and its own towards the backend.
#[derive(Clone, Default)]
pub struct Truth(Arc<Mutex<HashMap<u32, Ends>>>);

#[derive(Clone, Copy, Default, Debug)]
pub struct Ends {
    pub client: Option<SocketAddr>,
    pub upstream: Option<SocketAddr>,
    pub habit: Option<Habit>,
    /// When the client saw the end.
    pub died: Option<Timestamp>,
}

impl Truth {
    fn tell(&self, n: u32, change: impl FnOnce(&mut Ends)) {
        change(self.0.lock().expect("no panic").entry(n).or_default());
    }

    pub fn all(&self) -> Vec<(u32, Ends)> {
        self.0.lock().expect("no panic").iter().map(|(n, e)| (*n, *e)).collect()
    }

    pub fn complete(&self) -> usize {
        self.all().iter().filter(|(_, e)| e.client.is_some() && e.upstream.is_some()).count()
    }
}

/// A small generator of numbers, the same at every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// A backend that learns from the first message who it talks to. Returns its port.
pub async fn backend(truth: Truth) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            tokio::spawn(serve(stream, peer, truth.clone()));
        }
    });
    port
}

async fn serve(stream: TcpStream, peer: SocketAddr, truth: Truth) -> Option<()> {
    let mut ws = accept_async(stream).await.ok()?;
    let first = ws.next().await?.ok()?.into_text().ok()?;
    let mut words = first.split(' ');
    let mut number = || words.next()?.parse::<u32>().ok();
    let (n, times) = (number()?, number()?);
    let habit = Habit::parse(words.next()?, times);
    truth.tell(n, |e| e.upstream = Some(peer));
    talk(ws, habit.sayings(false), Dice(u64::from(n) * 2 + 1_000_003)).await;
    Some(())
}

/// A client from an address of its own that keeps its tunnel until it ends.
pub async fn client(to: SocketAddr, tls: Option<tokio_rustls::TlsConnector>, n: u32, habit: Habit, truth: Truth) {
    let last = u8::try_from(2 + n % 60).expect("small");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).expect("a loopback address");
    let stream = socket.connect(to).await.expect("nginx listens");
    let own = stream.local_addr().expect("its address");
    match tls {
        None => hold(stream, "ws", own, n, habit, truth).await,
        Some(tls) => {
            let name = rustls::pki_types::ServerName::try_from("lab.test").expect("a name");
            let stream = tls.connect(name, stream).await.expect("TLS");
            hold(stream, "wss", own, n, habit, truth).await;
        }
    }
}

async fn hold<S>(stream: S, scheme: &str, own: SocketAddr, n: u32, habit: Habit, truth: Truth)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut ws, _) = client_async(format!("{scheme}://lab.test/ws"), stream).await.expect("a 101");
    let words = habit.word();
    let (word, times) = words.split_once(' ').expect("two words");
    ws.send(Message::text(format!("{n} {times} {word}"))).await.expect("sent");
    truth.tell(n, |e| (e.client, e.habit) = (Some(own), Some(habit)));
    talk(ws, habit.sayings(true), Dice(u64::from(n) * 2 + 7_000_001)).await;
    truth.tell(n, |e| e.died = Some(Clock.now()));
}

/// Says what is to be said until the tunnel ends.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(mut ws: WebSocketStream<S>, sayings: Sayings, mut dice: Dice) {
    let mut left = match sayings {
        Sayings::None => 0,
        Sayings::Random => u32::MAX,
        Sayings::Steady(n) => n,
    };
    loop {
        let pause = if matches!(sayings, Sayings::Random) { 50 + dice.below(900) } else { 300 };
        let next = Instant::now() + if left == 0 { PATIENCE * 10 } else { Duration::from_millis(pause) };
        loop {
            tokio::select! {
                heard = ws.next() => if !matches!(heard, Some(Ok(_))) { return },
                () = sleep_until(next) => break,
            }
        }
        left = left.saturating_sub(1);
        let size = usize::try_from(1 + dice.below(3_000)).expect("small");
        if ws.send(Message::binary(vec![7; size])).await.is_err() {
            return;
        }
    }
}

/// A model that the real socket source feeds.
pub struct Watched {
    pub model: Model,
    /// How long the slowest look took: the source looks less often where looking is slow.
    pub slowest: Duration,
    events: mpsc::Receiver<Stamped>,
    _interest: watch::Sender<wspulse::event::site::Interest>,
}

impl Watched {
    /// Reads the configuration and the processes of `nginx`, and looks at its sockets so often.
    pub fn start(nginx: &Nginx, workers: usize, interval: Duration) -> Self {
        let processes = eventually("the workers", || {
            let found = read_processes(true, Some(nginx.pid())).expect("/proc");
            (found.masters.first()?.workers.len() == workers).then_some(found)
        });
        let master = &processes.masters[0];
        let site = read_site(&ConfigTarget::of_master(master).expect("a configuration"));
        assert!(site.problems.is_empty(), "{:?}", site.problems);
        let mut interest = site.interest();
        interest.pids.extend(master.workers.iter().map(|w| w.pid));
        let mut model = Model::new("lab");
        let mut say = |kind, event| {
            model.apply(&Stamped { at: Clock.now(), from: SourceId::new(&Arc::from("lab"), kind), event });
        };
        say(SourceKind::Config, Event::Site(Box::new(site)));
        say(SourceKind::Process, Event::Processes(processes));
        let (sender, receiver) = watch::channel(interest);
        let (tx, events) = mpsc::channel(64);
        let mut source = SocketSource::new(&Arc::from("lab"), receiver);
        (source.interval, source.mode) = (interval, Mode::Netlink);
        supervise(source, tx);
        Self { model, slowest: Duration::ZERO, events, _interest: sender }
    }

    /// Takes in events up to the next look at the sockets; its moment.
    pub async fn look(&mut self) -> Timestamp {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.events.recv()).await;
            let event = next.expect("an event in time").expect("the source lives");
            self.model.apply(&event);
            if let Event::Sockets(delta) = &event.event {
                self.slowest = self.slowest.max(delta.took);
                return event.at;
            }
        }
    }
}
