//! A model of many tunnels: a site, and looks in which they came up a few at a time, so that their legs are paired.

use std::sync::Arc;
use std::time::Duration;

use wspulse::event::process::BuildDefaults;
use wspulse::event::socket::{SocketDelta, SocketRow, TcpInfo, TcpState};
use wspulse::event::{Event, Sense, SourceId, SourceKind, Stamped};
use wspulse::model::Model;
use wspulse::nginx::resolve::{Reader, resolve};
use wspulse::time::Timestamp;

const NOON: i64 = 1_795_262_400;
const CONF: &str = "events {} http { server { listen 8080; location /ws/ { proxy_pass http://127.0.0.1:9000; \
    proxy_read_timeout 1h; } location /chat/ { proxy_pass http://127.0.0.1:9001; proxy_read_timeout 600s; } } }";
/// New tunnels in one look.
const A_LOOK: u32 = 500;

struct OneFile;

impl Reader for OneFile {
    fn read(&mut self, _: &str) -> Result<Vec<u8>, String> {
        Ok(CONF.into())
    }

    fn glob(&mut self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

/// The model and what happens to it.
pub struct Crowd {
    pub model: Model,
    now: Timestamp,
    tunnels: u32,
}

impl Crowd {
    /// So many tunnels, all open.
    pub fn new(tunnels: u32) -> Self {
        let mut crowd = Self { model: Model::new("bench"), now: Timestamp::from_secs(NOON), tunnels };
        let site = resolve("/etc/nginx/nginx.conf", &mut OneFile, &BuildDefaults::default(), None);
        crowd.tell(SourceKind::Config, Event::Site(Box::new(site)));
        crowd.tell(SourceKind::Sockets, Event::Sense(Sense::seen("by the benchmark")));
        crowd.look(Vec::new());
        for first in (0..tunnels).step_by(A_LOOK as usize) {
            crowd.look((first..tunnels.min(first + A_LOOK)).flat_map(legs).collect());
        }
        crowd
    }

    /// A look in which data has moved on one tunnel in so many.
    pub fn pass(&mut self, every: usize) {
        let talking = (0..self.tunnels).step_by(every).flat_map(legs).map(|mut row| {
            let more = u64::try_from(self.now.secs() - NOON).unwrap_or(0) * 10;
            if let Some(info) = &mut row.info {
                info.bytes_received = info.bytes_received.map(|n| n + more);
                info.bytes_acked = info.bytes_acked.map(|n| n + more);
            }
            row
        });
        let rows = talking.collect();
        self.look(rows);
    }

    /// A second in which nothing was seen.
    pub fn tick(&mut self) {
        self.now = self.now.plus(Duration::from_secs(1));
        self.tell(SourceKind::Process, Event::Tick);
    }

    fn look(&mut self, rows: Vec<SocketRow>) {
        self.now = self.now.plus(Duration::from_secs(1));
        let delta = SocketDelta { rows, since: Some(Duration::from_secs(1)), ..SocketDelta::default() };
        self.tell(SourceKind::Sockets, Event::Sockets(delta));
    }

    fn tell(&mut self, kind: SourceKind, event: Event) {
        let from = SourceId::new(&Arc::from("bench"), kind);
        self.model.apply(&Stamped { at: self.now, from, event });
    }
}

/// Both legs of one tunnel. What the client sent went on to the backend, byte by byte.
fn legs(n: u32) -> [SocketRow; 2] {
    let [_, a, b, c] = n.to_be_bytes();
    let (client, own) = (([10, a, b, c], 40_000).into(), ([127, 0, 1 + a, b], 1_024 + u16::from(c)).into());
    let backend = ([127, 0, 0, 1], 9_000 + u16::from(n % 2 == 1)).into();
    let (up, down) =
        (200 + u64::from(n.wrapping_mul(7_919) % 60_000), 100 + u64::from(n.wrapping_mul(104_729) % 900_000));
    let idle = Some(n.wrapping_mul(48_271) % 900);
    let row = |cookie, local, peer, received, sent| {
        let info = TcpInfo {
            rtt_us: Some(500 + n % 90_000),
            rttvar_us: Some(100),
            retransmits: Some(n % 3),
            last_sent_ms: idle,
            last_received_ms: idle,
            bytes_received: Some(received),
            bytes_acked: Some(sent),
            bytes_sent: Some(sent),
            ..TcpInfo::default()
        };
        let inode = u32::try_from(cookie).unwrap_or(0);
        SocketRow {
            inode,
            pid: Some(100 + n % 4),
            info: Some(info),
            ..SocketRow::new(cookie, local, peer, TcpState::Established)
        }
    };
    let cookie = 1 + u64::from(n) * 2;
    [row(cookie, ([10, 0, 0, 1], 8_080).into(), client, up, down), row(cookie + 1, own, backend, down, up)]
}
