//! A tunnel after its 101: bytes both ways, one idle timer for both directions, and the reason why it ended.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout};

/// nginx relays through one `proxy_buffer_size` a direction.
const BUFFER: usize = 4096;
/// `proxy_send_timeout` and `send_timeout`, both 60 s by default.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a tunnel ended.
#[derive(Debug)]
pub(super) enum End {
    /// One side closed.
    Closed,
    /// Nothing came from either side for `proxy_read_timeout`, or the backend took nothing for `proxy_send_timeout`.
    UpstreamTimedOut,
    /// The client took nothing for `send_timeout`.
    ClientTimedOut,
    /// The client's socket failed in this system call.
    Client(&'static str, io::Error),
    /// The backend's socket failed in this system call.
    Upstream(&'static str, io::Error),
}

/// Bytes relayed, and when the last ones were.
#[derive(Debug)]
pub(super) struct Meter {
    from_client: AtomicU64,
    from_upstream: AtomicU64,
    born: Instant,
    /// Microseconds from `born` to the last traffic.
    last: AtomicU64,
}

impl Meter {
    /// A tunnel that begins now.
    pub(super) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self { from_client: zero(), from_upstream: zero(), born: Instant::now(), last: zero() }
    }

    /// Bytes from the client and from the backend.
    pub(super) fn totals(&self) -> (u64, u64) {
        (self.from_client.load(Ordering::Relaxed), self.from_upstream.load(Ordering::Relaxed))
    }

    fn moved(&self) {
        let age = u64::try_from(self.born.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last.store(age, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.born + Duration::from_micros(self.last.load(Ordering::Relaxed))
    }
}

/// Relays until the first end. The end of either side is the end of both, as in nginx
/// (`ngx_http_upstream_process_upgraded`). Each direction waits by itself: a stalled reader does not stop the other way.
pub(super) async fn relay<C, U>(client: &mut C, upstream: &mut U, idle: Duration, meter: &Meter) -> End
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (mut client_read, mut client_write) = tokio::io::split(client);
    let (mut upstream_read, mut upstream_write) = tokio::io::split(upstream);
    let up = pump(&mut client_read, &mut upstream_write, &meter.from_client, meter);
    let down = pump(&mut upstream_read, &mut client_write, &meter.from_upstream, meter);
    tokio::select! {
        stop = up => match stop {
            Stop::Closed => End::Closed,
            Stop::Read(e) => End::Client("recv", e),
            Stop::Write(e) => End::Upstream("send", e),
            Stop::Stalled => End::UpstreamTimedOut,
        },
        stop = down => match stop {
            Stop::Closed => End::Closed,
            Stop::Read(e) => End::Upstream("recv", e),
            Stop::Write(e) => End::Client("send", e),
            Stop::Stalled => End::ClientTimedOut,
        },
        () = silence(meter, idle) => End::UpstreamTimedOut,
    }
}

enum Stop {
    Closed,
    Read(io::Error),
    Write(io::Error),
    Stalled,
}

async fn pump<R, W>(from: &mut R, to: &mut W, count: &AtomicU64, meter: &Meter) -> Stop
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; BUFFER];
    loop {
        let n = match from.read(&mut buffer).await {
            Ok(0) => return Stop::Closed,
            Ok(n) => n,
            Err(e) => return Stop::Read(e),
        };
        meter.moved();
        match timeout(SEND_TIMEOUT, to.write_all(buffer.get(..n).unwrap_or_default())).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Stop::Write(e),
            Err(_) => return Stop::Stalled,
        }
        meter.moved();
        count.fetch_add(n as u64, Ordering::Relaxed);
    }
}

/// Ends when nothing has moved for `idle`.
async fn silence(meter: &Meter, idle: Duration) {
    loop {
        let due = meter.last() + idle;
        if due <= Instant::now() {
            return;
        }
        sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    const IDLE: Duration = Duration::from_secs(8);

    #[tokio::test(start_paused = true)]
    async fn a_silent_tunnel_is_cut_after_the_timeout_and_not_before() {
        let ((mut near, _client), (mut far, _backend)) = (duplex(64), duplex(64));
        let (meter, start) = (Meter::new(), Instant::now());
        assert!(matches!(relay(&mut near, &mut far, IDLE, &meter).await, End::UpstreamTimedOut));
        assert_eq!(start.elapsed(), IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn traffic_in_either_direction_puts_the_cut_off() {
        for from_client in [true, false] {
            let ((mut near, mut client), (mut far, mut backend)) = (duplex(64), duplex(64));
            let (meter, start) = (Meter::new(), Instant::now());
            let talk = async {
                for _ in 0..3 {
                    tokio::time::sleep(IDLE / 2).await;
                    let speaker = if from_client { &mut client } else { &mut backend };
                    speaker.write_all(b"ping").await.expect("open");
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                end = relay(&mut near, &mut far, IDLE, &meter) => assert!(matches!(end, End::UpstreamTimedOut)),
                () = talk => {}
            }
            assert_eq!(start.elapsed(), IDLE / 2 * 3 + IDLE);
            assert_eq!(meter.totals(), if from_client { (12, 0) } else { (0, 12) });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_one_side_ends_the_tunnel_after_its_last_bytes() {
        let ((mut near, client), (mut far, mut backend)) = (duplex(64), duplex(64));
        let meter = Meter::new();
        let _held = client;
        backend.write_all(b"goodbye").await.expect("open");
        drop(backend);
        assert!(matches!(relay(&mut near, &mut far, IDLE, &meter).await, End::Closed));
        assert_eq!(meter.totals(), (0, 7));
    }
}
