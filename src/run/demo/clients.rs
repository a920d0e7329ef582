//! The visitors of the demo: tunnels that come, talk at their own rates, fall silent, vanish and come back.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::handshake::client::{Request, generate_key};
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::sync::CancellationToken;

use super::routes::SERVER_NAME;
use super::script::Pace;
use super::wire::{USER_AGENT, every, frugal, sever, tick};

/// One visitor, who holds at most one tunnel.
#[derive(Clone, Copy, Debug)]
struct Visitor {
    path: &'static str,
    /// It comes from 127.0.0.N, where the system lets it.
    from: u8,
    /// How often it speaks; `None` is silent.
    speaks: Option<Duration>,
    /// How many bytes it says at a time.
    bytes: usize,
    /// About how long it stays; `None` until it is thrown out.
    stays: Option<Duration>,
    /// It is one of those that the script lets vanish.
    vanishes: bool,
}

const fn visitor(path: &'static str, from: u8, speaks_ms: u64, bytes: usize, stays_s: u64) -> Visitor {
    let speaks = if speaks_ms == 0 { None } else { Some(Duration::from_millis(speaks_ms)) };
    let stays = if stays_s == 0 { None } else { Some(Duration::from_secs(stays_s)) };
    Visitor { path, from, speaks, bytes, stays, vanishes: false }
}

/// Everybody, in order of arrival. The silent ones of `/feed` come first, so that the first is cut when the script says.
static VISITORS: [Visitor; 24] = [
    visitor("/feed", 2, 0, 0, 0),
    visitor("/chat", 3, 500, 40, 0),
    visitor("/admin/live", 9, 4_000, 24, 0),
    Visitor { vanishes: true, ..visitor("/ws", 4, 700, 120, 0) },
    visitor("/ws", 5, 1_000, 64, 0),
    visitor("/ws", 6, 250, 900, 0),
    visitor("/feed", 7, 1_500, 80, 0),
    visitor("/ws", 8, 2_000, 64, 30),
    visitor("/feed", 3, 0, 0, 0),
    visitor("/ws", 2, 5_000, 32, 0),
    visitor("/ws", 4, 100, 2_000, 45),
    visitor("/ws", 7, 0, 0, 0),
    visitor("/feed", 5, 3_000, 48, 25),
    visitor("/ws", 6, 1_200, 300, 12),
    visitor("/ws", 8, 9_000, 16, 0),
    visitor("/feed", 6, 0, 0, 0),
    visitor("/ws", 3, 400, 700, 20),
    visitor("/ws", 2, 800, 150, 8),
    visitor("/feed", 8, 5_000, 64, 0),
    visitor("/ws", 5, 0, 0, 18),
    visitor("/ws", 7, 1_700, 1_400, 0),
    visitor("/feed", 4, 2_200, 256, 15),
    visitor("/ws", 9, 600, 90, 5),
    visitor("/ws", 3, 3_500, 48, 60),
];

/// All visitors at once.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    proxy: SocketAddr,
    pace: Pace,
    vanish: Arc<Notify>,
}

impl Clients {
    /// Visitors of the proxy at `proxy`.
    pub(super) fn new(proxy: SocketAddr, pace: Pace) -> Self {
        Self { proxy, pace, vanish: Arc::new(Notify::new()) }
    }

    /// One tunnel ends with a TCP reset.
    pub(super) fn vanish_one(&self) {
        self.vanish.notify_one();
    }

    /// They come and go until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut all = JoinSet::new();
        for (n, visitor) in (0..).zip(VISITORS.iter()) {
            all.spawn(self.clone().visit(visitor, n));
        }
        stop.cancelled().await;
        all.shutdown().await;
    }

    /// One visitor's life: come, talk, leave, come again.
    async fn visit(self, visitor: &'static Visitor, n: u64) {
        let mut dice = Dice(n);
        sleep(self.pace.real(Duration::from_millis(n * 90))).await;
        loop {
            let pause = match self.connect(visitor).await {
                Ok(tunnel) => {
                    self.talk(tunnel, visitor, &mut dice).await;
                    Duration::from_millis(dice.between(400, 2_000))
                }
                Err(_) => Duration::from_millis(dice.between(1_500, 3_000)),
            };
            sleep(self.pace.real(pause)).await;
        }
    }

    async fn connect(&self, visitor: &Visitor) -> io::Result<WebSocketStream<TcpStream>> {
        let attempt = async {
            let stream = dial(self.proxy, visitor.from).await?;
            stream.set_nodelay(true)?;
            let request = request(visitor.path).map_err(io::Error::other)?;
            let (tunnel, _) =
                client_async_with_config(request, stream, Some(frugal())).await.map_err(io::Error::other)?;
            Ok(tunnel)
        };
        timeout(Duration::from_secs(5), attempt).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn talk(&self, mut tunnel: WebSocketStream<TcpStream>, visitor: &Visitor, dice: &mut Dice) {
        let mut beat = visitor.speaks.map(|d| every(self.pace.real(d)));
        let stay = visitor.stays.map(|d| self.pace.real(d * u32::try_from(dice.between(60, 140)).unwrap_or(100) / 100));
        let mut leave = std::pin::pin!(async {
            match stay {
                Some(stay) => sleep(stay).await,
                None => std::future::pending().await,
            }
        });
        loop {
            tokio::select! {
                said = tunnel.next() => if !matches!(said, Some(Ok(_))) { return },
                () = tick(beat.as_mut()) => {
                    if tunnel.send(Message::Binary(vec![b'.'; visitor.bytes].into())).await.is_err() {
                        return;
                    }
                }
                () = &mut leave => return say_goodbye(tunnel).await,
                () = self.vanish.notified(), if visitor.vanishes => return sever(tunnel.get_ref()),
            }
        }
    }
}

/// Closes with 1000 and waits a moment for the answer.
async fn say_goodbye(mut tunnel: WebSocketStream<TcpStream>) {
    let farewell = async {
        tunnel.close(None).await?;
        while let Some(said) = tunnel.next().await {
            said?;
        }
        Ok::<_, tokio_tungstenite::tungstenite::Error>(())
    };
    let _ = timeout(Duration::from_secs(1), farewell).await;
}

/// Connects from 127.0.0.N, so that the demo has many clients; where only 127.0.0.1 exists, from there.
async fn dial(to: SocketAddr, from: u8) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if socket.bind(SocketAddr::from(([127, 0, 0, from], 0))).is_err() {
        return TcpStream::connect(to).await;
    }
    socket.connect(to).await
}

fn request(path: &str) -> Result<Request, http::Error> {
    Request::builder()
        .uri(format!("ws://{SERVER_NAME}{path}"))
        .header("Host", SERVER_NAME)
        .header("User-Agent", USER_AGENT)
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", generate_key())
        .body(())
}

/// Numbers that look random and are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From `low` up to and without `high`.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.roll() % high.saturating_sub(low).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::routes::{ROUTES, route};
    use super::super::script::FEED_TIMEOUT;
    use super::*;

    #[test]
    fn every_route_is_visited_and_the_faults_find_someone_to_hit() {
        for r in &ROUTES {
            assert!(VISITORS.iter().any(|v| v.path == r.path), "nobody visits {}", r.path);
        }
        assert!(VISITORS.iter().all(|v| route(v.path).is_some()));
        assert!(VISITORS.iter().any(|v| v.vanishes && v.path == "/ws" && v.stays.is_none()));
        let silent = VISITORS.iter().filter(|v| v.path == "/feed" && v.speaks.is_none()).count();
        assert!((1..VISITORS.len() / 4).contains(&silent), "some are cut, most live: {silent}");
        assert_eq!(VISITORS.first().map(|v| (v.path, v.speaks)), Some(("/feed", None)), "the first is cut on time");
    }

    #[test]
    fn those_who_speak_on_feed_speak_often_enough_to_live() {
        for v in VISITORS.iter().filter(|v| v.path == "/feed") {
            assert!(v.speaks.is_none_or(|d| d < FEED_TIMEOUT), "{v:?}");
        }
    }

    #[test]
    fn dice_stay_between_and_repeat() {
        let rolls = |seed| {
            let mut dice = Dice(seed);
            (0..100).map(|_| dice.between(5, 9)).collect::<Vec<_>>()
        };
        assert!(rolls(3).iter().all(|n| (5..9).contains(n)));
        assert_eq!(rolls(3), rolls(3));
        assert_ne!(rolls(3), rolls(4));
    }
}
