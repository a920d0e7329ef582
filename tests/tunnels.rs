//! Tunnels through a real nginx, watched by the real socket source: legs are paired rightly, and the moment of the idle cut is
//! foretold.
#![cfg(target_os = "linux")]

mod support;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use support::nginx::{Nginx, UPGRADE, installed, location};
use support::tunnels::{Habit, Truth, Watched, backend, client};
use support::{PATIENCE, free_port};
use tokio::time::Instant;
use wspulse::model::connections::{End, TunnelState};
use wspulse::model::legs::Side;
use wspulse::model::tunnels::Confidence;
use wspulse::time::Timestamp;

/// Every tenth says nothing after its first message.
fn habit(n: u32) -> Habit {
    if n % 10 == 3 { Habit::Silent } else { Habit::Talks }
}

/// How well a tunnel was known, look by look.
#[derive(Default)]
struct Score {
    /// Looks in which bytes passed.
    with_traffic: u32,
    /// Rightly paired after five of them.
    right_at_five: Option<bool>,
    /// After how many the pair was certain.
    certain_after: Option<u32>,
    now: Option<(bool, Confidence)>,
}

/// Looks with traffic after which a pair must be right.
const LOOKS: u32 = 5;

/// Watches until every talking tunnel has had its five looks with traffic; says how many pairs were right then.
async fn judge(watched: &mut Watched, truth: &Truth) -> BTreeMap<u32, Score> {
    let deadline = Instant::now() + PATIENCE;
    let mut scores: BTreeMap<u32, Score> = BTreeMap::new();
    loop {
        let at = watched.look().await;
        let connections = &watched.model.connections;
        let grew: HashMap<SocketAddr, bool> = connections
            .sides()
            .filter(|(side, _)| *side == Side::Upstream)
            .map(|(_, l)| (l.row.local, l.seen == at && (l.grown.read > 0 || l.grown.written > 0)))
            .collect();
        let pairs: HashMap<SocketAddr, (SocketAddr, Confidence)> = connections
            .tunnels(at, &|_| false)
            .iter()
            .filter_map(|t| Some((t.upstream?.row.local, (t.client_addr()?, t.pair))))
            .collect();
        let all = truth.all();
        for (n, ends) in &all {
            let Some((c, u)) = ends.client.zip(ends.upstream) else { continue };
            let score = scores.entry(*n).or_default();
            score.with_traffic += u32::from(grew.get(&u).copied().unwrap_or(false));
            score.now = pairs.get(&u).map(|(paired, sure)| (*paired == c, *sure));
            let certain = matches!(score.now, Some((_, Confidence::Certain)));
            assert!(!certain || score.now.is_some_and(|(right, _)| right), "tunnel {n}: certain and wrong");
            if certain && score.certain_after.is_none() {
                score.certain_after = Some(score.with_traffic);
            }
            if score.with_traffic >= LOOKS && score.right_at_five.is_none() {
                score.right_at_five = Some(score.now.is_some_and(|(right, _)| right));
            }
        }
        let talking = || all.iter().filter(|(_, e)| e.habit == Some(Habit::Talks));
        let judged = talking().filter(|(n, _)| scores.get(n).is_some_and(|s| s.right_at_five.is_some())).count();
        if judged == talking().count() {
            return scores;
        }
        assert!(Instant::now() < deadline, "{judged} tunnels judged in time");
    }
}

/// Prints the figures; returns the share of talking tunnels that were right after five looks.
#[expect(clippy::disallowed_macros, reason = "the figures are part of what the test says")]
fn figures(what: &str, scores: &BTreeMap<u32, Score>) -> f64 {
    let share = |n: usize, of: usize| n as f64 / of as f64;
    let (talking, silent): (Vec<_>, Vec<_>) = scores.iter().partition(|(n, _)| habit(**n) == Habit::Talks);
    let right = talking.iter().filter(|(_, s)| s.right_at_five == Some(true)).count();
    let certain = talking.iter().filter(|(_, s)| s.certain_after.is_some()).count();
    let mut after: Vec<u32> = talking.iter().filter_map(|(_, s)| s.certain_after).collect();
    after.sort_unstable();
    let likely = |right: bool| scores.values().filter(|s| s.now == Some((right, Confidence::Likely))).count();
    let silent_right = silent.iter().filter(|(_, s)| s.now.is_some_and(|(right, _)| right)).count();
    println!(
        "{what}: {right} of {} talking pairs right after {LOOKS} looks with traffic, {certain} certain (median after {:?} looks), \
         0 certain and wrong; {silent_right} of {} silent pairs right; {} likely, {} of them wrong",
        talking.len(),
        after.get(after.len() / 2),
        silent.len(),
        likely(true) + likely(false),
        likely(false)
    );
    assert!(likely(false) * 50 <= scores.len(), "likely must mean it");
    share(right, talking.len())
}

async fn pairs(what: &str, count: u32, tls: Option<(u16, tokio_rustls::TlsConnector, String)>) -> Option<f64> {
    let binary = installed()?;
    let truth = Truth::default();
    let port = backend(truth.clone()).await;
    let tls_lines = tls.as_ref().map_or("", |t| t.2.as_str());
    let server = format!("{tls_lines}\n{}", location("/ws", port, UPGRADE));
    let nginx = Nginx::start_many(&binary, "error", (2, 1024), "", &server);
    let to = SocketAddr::from(([127, 0, 0, 1], tls.as_ref().map_or(nginx.port, |t| t.0)));
    let open = |n: u32| {
        let connector = tls.as_ref().map(|t| t.1.clone());
        tokio::spawn(client(to, connector, n, habit(n), truth.clone()));
    };
    // Half of them are there before anybody looks, the others come while they are watched.
    (0..count / 2).for_each(open);
    opened(&truth, count / 2).await;
    let mut watched = Watched::start(&nginx, 2, Duration::from_millis(500));
    watched.look().await;
    (count / 2..count).for_each(open);
    opened(&truth, count).await;
    let scores = judge(&mut watched, &truth).await;
    let open = watched.model.connections.tunnels(watched.model.now, &|_| false);
    assert_eq!(open.len(), count as usize, "every tunnel is seen, and nothing else");
    assert!(open.iter().all(|t| t.worker().is_some() && t.location == Some("/ws")));
    assert!(open.iter().filter(|t| t.state == TunnelState::Stuck).count() == 0, "nothing is stuck");
    Some(figures(what, &scores))
}

async fn opened(truth: &Truth, count: u32) {
    let deadline = Instant::now() + PATIENCE;
    while truth.complete() < count as usize {
        assert!(Instant::now() < deadline, "{} of {count} tunnels open", truth.complete());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_legs_are_paired_rightly() {
    let Some(right) = pairs("plain", 200, None).await else { return };
    assert!(right >= 0.99, "{right} right");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_legs_are_paired_rightly() {
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
    let Some(right) = pairs("TLS", 100, Some((port, Arc::new(config).into(), lines))).await else { return };
    assert!(right >= 0.95, "{right} right");
}

/// `proxy_read_timeout` of the lab.
const TIMEOUT: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_moment_of_the_idle_cut_is_foretold() {
    let Some(binary) = installed() else { return };
    // On a machine that is busy with other things the source looks less often, by its own rule: then it says less.
    for _ in 0..3 {
        if idle_cuts(&binary).await {
            return;
        }
    }
    panic!("the machine is too busy for a look a second");
}

/// A look that takes longer stretches the time to the next one to two seconds.
const SLOW: Duration = Duration::from_millis(100);

/// Lets tunnels fall silent at several moments. False when the looks were too far between to foretell anything.
async fn idle_cuts(binary: &std::path::Path) -> bool {
    let truth = Truth::default();
    let port = backend(truth.clone()).await;
    let lines = format!("{UPGRADE}\n proxy_read_timeout {}s;", TIMEOUT.as_secs());
    // No level that tells of the cut.
    let nginx = Nginx::start_many(binary, "error", (1, 128), "", &location("/ws", port, &lines));
    let to = SocketAddr::from(([127, 0, 0, 1], nginx.port));
    let habits = [
        Habit::Silent,
        Habit::ClientSays(2),
        Habit::BackendSays(3),
        Habit::ClientSays(7),
        Habit::BackendSays(10),
        Habit::ClientSays(14),
        Habit::BackendSays(15),
        Habit::Silent,
    ];
    for (n, habit) in (0..).zip(habits) {
        tokio::spawn(client(to, None, n, habit, truth.clone()));
    }
    let mut watched = Watched::start(&nginx, 1, Duration::from_secs(1));
    let mut foretold: BTreeMap<SocketAddr, Vec<(Timestamp, Timestamp)>> = BTreeMap::new();
    let mut last = watched.look().await;
    let deadline = Instant::now() + PATIENCE;
    let all_died = || truth.all().iter().filter(|(_, e)| e.died.is_some()).count() == habits.len();
    while !(all_died() && watched.model.connections.tunnels(last, &|_| false).is_empty()) {
        assert!(Instant::now() < deadline, "every tunnel is cut in time");
        for t in watched.model.connections.tunnels(last, &|_| false) {
            if let Some((u, left)) = t.upstream.zip(t.time_left) {
                assert_eq!(t.read_timeout, Some(TIMEOUT));
                assert!(t.deadline.is_some_and(|d| d.is_exact()), "one location, one deadline");
                foretold.entry(u.row.local).or_default().push((last, last.plus(left)));
            }
        }
        last = watched.look().await;
    }
    let often = watched.slowest < SLOW;
    if often {
        check_foretold(&truth, &foretold);
        let closed = &watched.model.connections.closed;
        assert_eq!(closed.len(), habits.len(), "{closed:#?}");
        assert!(closed.iter().all(|c| c.how == End::Timeout), "{closed:#?}");
    }
    often
}

#[expect(clippy::disallowed_macros, reason = "the figures are part of what the test says")]
fn check_foretold(truth: &Truth, foretold: &BTreeMap<SocketAddr, Vec<(Timestamp, Timestamp)>>) {
    let mut worst = Duration::ZERO;
    for (n, ends) in truth.all() {
        let (upstream, died) = ends.upstream.zip(ends.died).expect("it lived and died");
        // From its last byte on, every word was about this death: it came a timeout later, with the timer's laziness.
        let silent_since = died.minus(TIMEOUT.mul_f64(0.9));
        let words = foretold.get(&upstream).map_or(&[][..], Vec::as_slice);
        let valid: Vec<_> = words.iter().filter(|(said, _)| *said > silent_since).collect();
        assert!(!valid.is_empty(), "tunnel {n} ({:?}) was foretold: {words:?}", ends.habit);
        for (said, moment) in valid {
            let off = moment.since(died).max(died.since(*moment));
            assert!(off < Duration::from_secs(1), "tunnel {n} ({:?}): at {said} off by {off:?}", ends.habit);
            worst = worst.max(off);
        }
    }
    println!("idle cuts: foretold to within {worst:?} by a look a second");
}
