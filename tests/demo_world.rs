//! The demo's world alive: every fault of its script reaches the logs, with the embedded proxy as with a real nginx.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wspulse::run::demo::{Options, World, find_nginx};

/// Faster than the script by this much: everything has happened after 2.3 s.
const SPEED: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(12);

/// What must turn up: pieces of one line of the error log.
const ERRORS: [&[&str]; 4] = [
    &[
        "[error]",
        "connect() failed (111: Connection refused) while connecting to upstream",
        "\"GET /admin/live HTTP/1.1\"",
    ],
    &[
        "[info]",
        "upstream timed out (110: Connection timed out) while proxying upgraded connection",
        "\"GET /feed HTTP/1.1\"",
    ],
    &[
        "[info]",
        "recv() failed (104: Connection reset by peer) while proxying upgraded connection",
        "\"GET /ws HTTP/1.1\"",
    ],
    &[
        "[error]",
        "recv() failed (104: Connection reset by peer) while proxying upgraded connection",
        "\"GET /ws HTTP/1.1\"",
    ],
];

/// The same for the access log.
const REQUESTS: [&[&str]; 5] = [
    &["\"GET /ws HTTP/1.1\" st=101 us=\"101\"", "up=\"websocket\"", "comp=\"OK\""],
    &["\"GET /feed HTTP/1.1\" st=101 us=\"101\" rt=2."],
    &["\"GET /chat HTTP/1.1\" st=426 us=\"426\""],
    &["\"GET /admin/live HTTP/1.1\" st=101"],
    &["\"GET /admin/live HTTP/1.1\" st=502 us=\"502\"", "uct=\"-\" uht=\"-\"", "bs="],
];

/// The installed nginx. Without one the test is skipped, which is said, and which CI does not accept.
fn installed(test: &str) -> Option<PathBuf> {
    match find_nginx() {
        Ok(binary) => Some(binary),
        Err(e) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} needs nginx in CI: {e}");
            #[expect(clippy::disallowed_macros, reason = "a skip must be seen")]
            {
                eprintln!("SKIPPED {test}: {e}");
            }
            None
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

fn missing<'a>(log: &str, wanted: &'a [&'a [&'a str]]) -> Vec<&'a [&'a str]> {
    wanted.iter().copied().filter(|pieces| !log.lines().any(|l| pieces.iter().all(|p| l.contains(p)))).collect()
}

/// Waits until both logs have everything, or says what is missing.
async fn await_the_whole_script(world: &World) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (errors, requests) = (read(world.error_log()), read(world.access_log()));
        let (no_error, no_request) = (missing(&errors, &ERRORS), missing(&requests, &REQUESTS));
        if no_error.is_empty() && no_request.is_empty() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "missing {no_error:?} {no_request:?}\nerror.log:\n{errors}\naccess.log:\n{requests}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The beginning of the answer to a raw handshake.
async fn handshake(port: u16, path: &str) -> String {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: demo.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    say(port, &request).await
}

async fn say(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("somebody listens");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 1024];
    let n = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.expect("in time").expect("an answer");
    String::from_utf8_lossy(&answer[..n]).into_owned()
}

fn clients(access_log: &str) -> BTreeSet<&str> {
    access_log.lines().filter_map(|l| l.split(' ').next()).collect()
}

/// What holds for both worlds.
async fn the_site_is_as_its_conf_says(world: &World) {
    let through = handshake(world.listen_port(), "/ws").await;
    assert!(through.starts_with("HTTP/1.1 101 "), "{through}");
    assert!(through.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "the accept key of RFC 6455's sample: {through}");
    let lost = handshake(world.listen_port(), "/chat").await;
    assert!(lost.starts_with("HTTP/1.1 426 "), "{lost}");
    let direct = handshake(world.upstream_ports()[0], "/chat").await;
    assert!(direct.starts_with("HTTP/1.1 101 "), "the backend itself is fine: {direct}");
    let nothing = handshake(world.listen_port(), "/nothing").await;
    assert!(nothing.starts_with("HTTP/1.1 404 "), "{nothing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_world_shows_every_fault_and_leaves_nothing_behind() {
    let world = World::start(Options { speed: SPEED, nginx: None }).await.expect("the world starts");
    the_site_is_as_its_conf_says(&world).await;
    let garbage = say(world.listen_port(), "\u{16}\u{3}\u{1} no HTTP\r\n\r\n").await;
    assert!(garbage.starts_with("HTTP/1.1 400 "), "{garbage}");
    await_the_whole_script(&world).await;
    if cfg!(target_os = "linux") {
        let requests = read(world.access_log());
        assert!(clients(&requests).len() >= 5, "the client column is alive: {:?}", clients(&requests));
    }

    let (prefix, port) = (world.prefix().to_owned(), world.listen_port());
    let backends = world.upstream_ports();
    world.stop().await;
    assert!(!prefix.exists());
    for port in [port, backends[0], backends[1]] {
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "{port} is still served");
    }
}

#[tokio::test]
async fn a_dropped_world_is_gone_too() {
    let world = World::start(Options::default()).await.expect("the world starts");
    let (prefix, port) = (world.prefix().to_owned(), world.listen_port());
    assert!(prefix.join("nginx.conf").exists());
    drop(world);
    assert!(!prefix.exists());
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
        assert!(Instant::now() < deadline, "the proxy outlives its world");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_real_nginx_accepts_the_conf() {
    let Some(nginx) = installed("a_real_nginx_accepts_the_conf") else { return };
    let world = World::start(Options::default()).await.expect("the world starts");
    let test = Command::new(nginx)
        .arg("-t")
        .arg("-p")
        .arg(world.prefix())
        .arg("-c")
        .arg(world.conf())
        .output()
        .expect("nginx runs");
    let said = String::from_utf8_lossy(&test.stderr);
    assert!(test.status.success() && said.contains("test is successful"), "{said}");
    assert!(!said.contains("[warn]"), "{said}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_world_around_a_real_nginx_shows_the_same_faults() {
    let Some(nginx) = installed("the_world_around_a_real_nginx_shows_the_same_faults") else { return };
    let world = World::start(Options { speed: SPEED, nginx: Some(nginx) }).await.expect("nginx starts");
    assert_ne!(world.proxy_pid(), std::process::id());
    the_site_is_as_its_conf_says(&world).await;
    await_the_whole_script(&world).await;

    let (prefix, pid) = (world.prefix().to_owned(), world.proxy_pid());
    world.stop().await;
    assert!(!prefix.exists());
    if cfg!(target_os = "linux") {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "the master is still there");
    }
}
