//! What both ends of a demo tunnel share: small buffers, a steady beat, and a close that is a reset.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// What the clients call themselves.
pub(super) const USER_AGENT: &str = concat!("wspulse-demo/", env!("CARGO_PKG_VERSION"));

/// Buffers for small talk: the default is 128 KiB a connection.
pub(super) fn frugal() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_message_size(Some(64 << 10))
        .max_frame_size(Some(64 << 10))
}

/// A steady beat, the first one after a whole period.
pub(super) fn every(period: Duration) -> Interval {
    let mut beat = interval_at(Instant::now() + period, period);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

/// The next beat; never, when there is none.
pub(super) async fn tick(beat: Option<&mut Interval>) {
    match beat {
        Some(beat) => drop(beat.tick().await),
        None => std::future::pending().await,
    }
}

/// Makes the coming close a TCP reset (SO_LINGER with zero, socket(7)).
pub(super) fn sever(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
