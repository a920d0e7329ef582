//! Tunnels through a real nginx to a backend on a unix socket: one row each with both legs, plain and TLS alike, and how sure
//! each pair is.
#![cfg(target_os = "linux")]

mod support;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use support::nginx::{Nginx, UPGRADE, installed};
use support::tunnels::Watched;
use support::{PATIENCE, free_port};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};
use wspulse::model::connections::{End, Far, TunnelState, Upstream};
use wspulse::model::tunnels::Confidence;

/// The inode of the backend's end of each tunnel, by the tunnel's number.
type Truth = Arc<Mutex<HashMap<u32, u32>>>;

/// A backend that learns from the first message who it talks to.
fn backend(path: &Path, truth: Truth) {
    let listener = UnixListener::bind(path).expect("a socket in a folder of ours");
    // nginx's workers may run as another user.
    let open = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).expect("ours");
    open(path);
    open(path.parent().expect("a folder"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&truth)));
        }
    });
}

async fn serve(stream: UnixStream, truth: Truth) -> Option<()> {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", stream.as_fd().as_raw_fd())).ok()?;
    let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
    let mut ws = accept_async(stream).await.ok()?;
    let n = ws.next().await?.ok()?.into_text().ok()?.parse().ok()?;
    truth.lock().expect("no panic").insert(n, inode);
    while let Some(Ok(message)) = ws.next().await {
        if message.to_text().is_ok_and(|t| t == "go") {
            return None;
        }
    }
    Some(())
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}
type Ws = WebSocketStream<Box<dyn Stream>>;

/// What the lab knows of its tunnels, and what the program says of them.
struct Lab {
    nginx: Nginx,
    tls: Option<(u16, tokio_rustls::TlsConnector)>,
    truth: Truth,
    open: BTreeMap<u32, (SocketAddr, Ws)>,
    watched: Watched,
}

impl Lab {
    fn start(binary: &Path, dir: &Path, tls: Option<(u16, tokio_rustls::TlsConnector, String)>) -> Self {
        let (truth, path) = (Truth::default(), dir.join("app.sock"));
        backend(&path, Arc::clone(&truth));
        let lines = tls.as_ref().map_or("", |t| t.2.as_str());
        let to = path.display();
        let server =
            format!("{lines}\n location /ws {{ proxy_pass http://unix:{to}; {UPGRADE}\n proxy_read_timeout 1h; }}");
        let nginx = Nginx::start_many(binary, "error", (1, 128), "", &server);
        let watched = Watched::start(&nginx, 1, Duration::from_millis(200));
        let tls = tls.map(|(port, connector, _)| (port, connector));
        Self { nginx, tls, truth, open: BTreeMap::new(), watched }
    }

    async fn open(&mut self, n: u32) {
        let port = self.tls.as_ref().map_or(self.nginx.port, |t| t.0);
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("nginx listens");
        let own = stream.local_addr().expect("its address");
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some((_, tls)) => {
                let name = rustls::pki_types::ServerName::try_from("lab.test").expect("a name");
                Box::new(tls.connect(name, stream).await.expect("TLS"))
            }
        };
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let (mut ws, _) = client_async(format!("{scheme}://lab.test/ws"), stream).await.expect("a 101");
        ws.send(Message::text(n.to_string())).await.expect("sent");
        self.open.insert(n, (own, ws));
        let deadline = Instant::now() + PATIENCE;
        while !self.truth.lock().expect("no panic").contains_key(&n) {
            assert!(Instant::now() < deadline, "the backend hears of tunnel {n}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Looks until so many tunnels are seen.
    async fn look(&mut self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.watched.look().await;
            if self.tunnels().len() == count {
                return;
            }
            assert!(Instant::now() < deadline, "{} of {count} tunnels are seen", self.tunnels().len());
        }
    }

    /// Looks until so many tunnels are seen and each has a client.
    async fn settle(&mut self, count: usize) {
        self.look(count).await;
        let deadline = Instant::now() + PATIENCE;
        while self.tunnels().iter().any(|t| t.pair == Confidence::None) {
            assert!(Instant::now() < deadline, "each has a client: {:?}", self.judged());
            self.watched.look().await;
        }
    }

    fn tunnels(&self) -> Vec<wspulse::model::connections::Tunnel<'_>> {
        self.watched.model.connections.tunnels(self.watched.model.now, &|_| false)
    }

    /// How sure each pair is, and whether it is right, by the tunnel's number.
    fn judged(&self) -> BTreeMap<u32, (Confidence, bool)> {
        let truth = self.truth.lock().expect("no panic");
        let of_inode = |inode| truth.iter().find(|(_, i)| **i == inode).map(|(n, _)| *n);
        let mut out = BTreeMap::new();
        for t in self.tunnels() {
            let Far::Unix(leg) = t.far else { panic!("{t:?}") };
            let n = leg.row.peer_inode.and_then(of_inode).expect("one of ours");
            let own = self.open.get(&n).map(|(own, _)| *own);
            out.insert(n, (t.pair, t.client_addr() == own));
        }
        out
    }
}

/// Tunnels that come one at a time are paired rightly and likely; ends are told.
async fn one_at_a_time(mut lab: Lab) {
    lab.look(0).await;
    for n in 1..=4 {
        lab.open(n).await;
        lab.settle(usize::try_from(n).expect("small")).await;
    }
    assert_eq!(lab.judged(), (1..=4).map(|n| (n, (Confidence::Likely, true))).collect(), "each one for sure enough");
    for t in lab.tunnels() {
        assert_eq!((t.state, t.location), (TunnelState::Open, Some("/ws")), "{t:?}");
        assert!(matches!(t.far.upstream(), Upstream::Unix(path) if path.ends_with("/app.sock")));
        assert!(t.worker().is_some() && t.bytes().is_some_and(|(down, up)| down > 0 && up > 0));
        assert!(t.time_left.is_some_and(|d| (3_500..=3_600).contains(&d.as_secs())), "{:?}", t.time_left);
    }
    // The client of the second one leaves, then the backend of the third one.
    let (own, ws) = lab.open.remove(&2).expect("open");
    drop(ws);
    lab.settle(3).await;
    assert_eq!(lab.watched.model.connections.closed.back().expect("it ended").client, Some(own));
    let (own, mut ws) = lab.open.remove(&3).expect("open");
    ws.send(Message::text("go")).await.expect("sent");
    lab.settle(2).await;
    let closed = lab.watched.model.connections.closed.back().expect("it ended").clone();
    assert_eq!(closed.client, Some(own));
    assert!(matches!(closed.how, End::Unknown | End::Backend), "what shows is what is told: {closed:?}");
    assert!(lab.judged().values().all(|(sure, right)| *right && *sure == Confidence::Likely));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tunnels_to_a_unix_socket_are_one_row_each() {
    let Some(binary) = installed() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    one_at_a_time(Lab::start(&binary, dir.path(), None)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_clients_are_paired_alike() {
    let Some(binary) = installed() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["lab.test".to_owned()]).expect("parameters");
    let cert = params.self_signed(&key).expect("a certificate");
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("cert.pem"), cert.pem()).expect("written");
    std::fs::write(path("key.pem"), key.serialize_pem()).expect("written");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).expect("trusted");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let port = free_port();
    let lines = format!(
        "listen 127.0.0.1:{port} ssl;\n ssl_certificate {};\n ssl_certificate_key {};",
        path("cert.pem").display(),
        path("key.pem").display()
    );
    one_at_a_time(Lab::start(&binary, dir.path(), Some((port, Arc::new(config).into(), lines)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_macros, reason = "the figures are part of what the test says")]
async fn tunnels_that_come_in_one_burst_stay_guesses() {
    let Some(binary) = installed() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut lab = Lab::start(&binary, dir.path(), None);
    lab.look(0).await;
    for n in 1..=12 {
        lab.open(n).await;
    }
    lab.settle(12).await;
    let judged = lab.judged();
    let right = judged.values().filter(|(_, right)| *right).count();
    println!("a burst: {right} of 12 guesses right; {judged:?}");
    assert!(
        judged.values().all(|(sure, right)| *sure < Confidence::Likely || *right),
        "likely must mean it: {judged:?}"
    );
    // As they leave one by one, what is left is told apart.
    for n in 1..=11 {
        lab.open.remove(&n);
        lab.settle(usize::try_from(12 - n).expect("small")).await;
    }
    assert!(
        lab.judged().get(&12).is_some_and(|(_, right)| *right),
        "the last one has but one client: {:?}",
        lab.judged()
    );
}
