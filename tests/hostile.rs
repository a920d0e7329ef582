//! Servers that mean harm: whatever they do, a probe ends in time, says what it was, and its memory stays small.

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use wspulse::event::probe::{ClosedBy, FailureKind, Phase, Step};
use wspulse::source::probe::ProbeOptions;

use support::scripted::{
    PATIENCE, Peer, Refusal, closed, frame, impatient, look_at, look_ws, names, quick, refusal, server,
};

/// A little more than any bound of an impatient probe, on a busy machine.
const BOUND: Duration = Duration::from_secs(5);

/// A server that hears the request, says `first`, and then `again` for ever, one piece a `pause`.
async fn endless(first: &'static str, again: &'static [u8], pause: Duration) -> SocketAddr {
    server(move |mut peer: Peer<_>| async move {
        use tokio::io::AsyncWriteExt as _;
        peer.hear().await;
        peer.say(first).await;
        while peer.stream.write_all(again).await.is_ok() {
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
    })
    .await
}

async fn refused_in_time(at: SocketAddr) -> Refusal {
    let begun = Instant::now();
    let refusal = refusal(&look_ws(at, &impatient()).await);
    assert!(begun.elapsed() < BOUND, "{:?}: {}", begun.elapsed(), refusal.failure.said);
    assert_eq!(refusal.failure.phase, Phase::Upgrade);
    assert!(refusal.failure.said.len() < 1_000, "a sentence, not a flood: {}", refusal.failure.said);
    let kept = refusal.answer.as_ref().map_or(0, |a| a.body.len());
    assert!(kept <= 4 * 8 * 1024, "8 KiB, and the escapes that make them safe to show: {kept}");
    refusal
}

// ---- handshakes

#[tokio::test]
async fn a_handshake_is_bounded_whatever_is_said() {
    const NONE: Duration = Duration::ZERO;
    const DRIP: Duration = Duration::from_millis(50);
    type Case = (&'static str, &'static str, &'static [u8], Duration, FailureKind, &'static str);
    use FailureKind as F;
    let cases: [Case; 10] = [
        ("nothing", "", b"", DRIP, F::Timeout, "no answer within"),
        ("a drip", "HTTP/1.1 101 ", b"s", DRIP, F::Timeout, "only a part of the answer"),
        ("a drip of fields", "HTTP/1.1 101 x\r\n", b"A: b\r\n", DRIP, F::Timeout, "only a part of the answer"),
        ("fields without end", "HTTP/1.1 101 x\r\n", b"X-Filler: aaaaaaaaaaaaaaa\r\n", NONE, F::NotHttp, "64 KiB"),
        ("a field without end", "HTTP/1.1 101 x\r\nA: ", b"aaaaaaaaaaaaaaaaaaaaaaaaa", NONE, F::NotHttp, "64 KiB"),
        ("a line without end", "HTTP/1.1 101 ", b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NONE, F::NotHttp, "64 KiB"),
        ("interim answers", "", b"HTTP/1.1 103 Early Hints\r\n\r\n", NONE, F::NotHttp, "64 KiB"),
        ("empty lines", "", b"\r\n\r\n\r\n\r\n", NONE, F::NotHttp, "no HTTP"),
        ("zeros", "", &[0; 64], NONE, F::NotHttp, "no HTTP"),
        ("HTTP/2 frames", "", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", NONE, F::NotHttp, "no HTTP"),
    ];
    for (story, first, again, pause, kind, part) in cases {
        let r = refused_in_time(endless(first, again, pause).await).await;
        assert_eq!(r.failure.kind, kind, "{story}: {}", r.failure.said);
        assert!(r.failure.said.contains(part), "{story}: {}", r.failure.said);
    }
}

#[tokio::test]
async fn a_body_is_bounded_whatever_it_is() {
    const NONE: Duration = Duration::ZERO;
    let cases: [(&str, &str, &[u8], Duration); 7] = [
        ("chunks", "Transfer-Encoding: chunked\r\n\r\n", b"4\r\nabcd\r\n", NONE),
        ("a huge chunk", "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", b"abcd", NONE),
        ("a chunk size without end", "Transfer-Encoding: chunked\r\n\r\n", b"000000000000", NONE),
        ("a chunk extension without end", "Transfer-Encoding: chunked\r\n\r\n4;", b"a=b;", NONE),
        ("a length past all", "Content-Length: 18446744073709551615\r\n\r\n", b"abcd", NONE),
        ("a body until the end of the connection", "\r\n", b"\x1b[2J", NONE),
        ("a drip", "Content-Length: 1000\r\n\r\n", b"a", Duration::from_millis(50)),
    ];
    for (story, fields, again, pause) in cases {
        let first = Box::leak(format!("HTTP/1.1 503 Busy\r\n{fields}").into_boxed_str());
        let r = refused_in_time(endless(first, again, pause).await).await;
        assert_eq!(r.failure.kind, FailureKind::HttpStatus, "{story}: {}", r.failure.said);
        let answer = r.answer.expect("the answer is kept");
        assert_eq!(answer.status, 503, "{story}");
        assert!(!answer.body.contains('\x1b'), "{story}");
    }
}

// ---- tunnels

/// A server that upgrades, hears the first ping, and then says `bytes` once.
async fn upgraded_and(bytes: &'static [u8]) -> SocketAddr {
    server(move |mut peer: Peer<_>| async move {
        peer.upgrade().await;
        peer.frame().await;
        peer.say(bytes).await;
        peer.drain().await;
    })
    .await
}

#[tokio::test]
async fn a_promise_that_is_not_kept_is_named_and_not_waited_for() {
    let cases: [(&str, &[u8], &str); 4] = [
        ("10 GB", b"\x82\x7f\x00\x00\x00\x02\x54\x0b\xe4\x00", ", in the middle of a frame of 10000000000 bytes"),
        ("the largest of all", b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", "of 9223372036854775807 bytes"),
        ("a ping", b"\x89\x05hel", ", in the middle of a frame of 5 bytes"),
        ("half a header", b"\x82\x7f\x00\x00", "went unanswered"),
    ];
    for (story, bytes, part) in cases {
        let options = ProbeOptions { give_up_after: 1, ..impatient() };
        let at = upgraded_and(bytes).await;
        let (by, _, reason, held, _) = closed(&look_at(&format!("ws://{at}/"), &options, PATIENCE).await);
        assert_eq!(by, ClosedBy::PongTimeout, "{story}: {reason}");
        assert!(reason.starts_with("1 ping in a row went unanswered") && reason.contains(part), "{story}: {reason}");
        assert!(held < BOUND, "{story}: {held:?}");
    }
}

#[tokio::test]
async fn an_end_within_a_frame_is_told_from_a_quiet_one() {
    let at = server(|mut peer: Peer<_>| async move {
        peer.upgrade().await;
        peer.frame().await;
        peer.say(b"\x81\x05hel").await;
    })
    .await;
    let (by, code, reason, ..) = closed(&look_ws(at, &quick()).await);
    assert_eq!((by, code, reason.as_str()), (ClosedBy::Fin, None, "in the middle of a frame of 5 bytes"));
}

#[tokio::test]
async fn what_is_no_frame_at_all_is_a_broken_protocol() {
    let cases: [(&str, &[u8], &str); 4] = [
        ("another answer", b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "reserved bits"),
        ("a page", b"<html>sorry</html>", "reserved bits"),
        ("zeros", &[0; 100], "continuation"),
        ("TLS", b"\x15\x03\x03\x00\x02\x02\x28", "reserved"),
    ];
    for (story, bytes, part) in cases {
        let (by, code, reason, held, _) = closed(&look_ws(upgraded_and(bytes).await, &quick()).await);
        assert_eq!((by, code), (ClosedBy::ProtocolError, None), "{story}: {reason}");
        assert!(reason.contains(part), "{story}: {reason}");
        assert!(held < BOUND, "{story}");
    }
}

/// The tunnel is flooded, and pongs do not come: the beat goes on, and the tunnel is given up in time.
#[tokio::test]
async fn no_flood_stops_the_clock() {
    let text = [&[0x81, 0x7e, 0x40, 0x00][..], &[b'a'; 0x4000]].concat();
    let cases: [(&str, Vec<u8>, Vec<u8>); 6] = [
        ("pings", Vec::new(), frame(9, b"are you there").repeat(1_000)),
        ("pongs", Vec::new(), frame(10, b"").repeat(5_000)),
        ("empty messages", Vec::new(), frame(1, b"").repeat(5_000)),
        ("a frame without end", b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff".to_vec(), vec![7; 1 << 16]),
        ("a message without end", frame(2, b"a").iter().map(|b| b & 0x7f).collect(), [0, 1, b'x'].repeat(10_000)),
        ("long texts", Vec::new(), text),
    ];
    for (story, first, again) in cases {
        let at = server(move |mut peer: Peer<_>| {
            let (first, again) = (first.clone(), again.clone());
            async move {
                use tokio::io::AsyncWriteExt as _;
                peer.upgrade().await;
                peer.say(first).await;
                // Nothing is read: the client's pongs fill its own queue.
                while peer.stream.write_all(&again).await.is_ok() {}
            }
        })
        .await;
        let options = ProbeOptions { give_up_after: 3, ..impatient() };
        let begun = Instant::now();
        let steps = look_at(&format!("ws://{at}/"), &options, PATIENCE).await;
        let (by, _, reason, ..) = closed(&steps);
        assert_eq!(by, ClosedBy::PongTimeout, "{story}: {reason}");
        assert!(begun.elapsed() < BOUND, "{story}: {:?}", begun.elapsed());
        let pinged = names(&steps).iter().filter(|n| *n == "pinged").count();
        assert!(pinged >= 3, "{story}: the flood must not stop the beat: {pinged}");
    }
}

/// A server that answers a close frame with everything but a FIN holds nobody.
#[tokio::test]
async fn a_farewell_is_bounded() {
    for flood in [true, false] {
        let at = server(move |mut peer: Peer<_>| async move {
            use tokio::io::AsyncWriteExt as _;
            peer.upgrade().await;
            let (_, ping) = peer.frame().await.unwrap();
            peer.say(frame(10, &ping)).await;
            while flood && peer.stream.write_all(&frame(2, &[7; 100])).await.is_ok() {}
            sleep(PATIENCE).await;
        })
        .await;
        let begun = Instant::now();
        let steps = look_ws(at, &impatient()).await;
        assert_eq!(closed(&steps).0, ClosedBy::Us, "flood {flood}");
        assert!(begun.elapsed() < BOUND, "flood {flood}: {:?}", begun.elapsed());
        assert!(matches!(steps.last(), Some(Step::Closed { .. })));
    }
}

// ---- memory

/// What a server sends behind its first words, for ever.
type Flood = (&'static str, fn(&str) -> Vec<u8>, Vec<u8>);

/// The largest memory that holding 20 tunnels takes against a server that floods them all, in KiB. The program is a
/// process of its own, so that nothing else counts.
fn peak_against((_, first, again): Flood) -> u64 {
    use std::io::{Read as _, Write as _};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let again = again.clone();
            std::thread::spawn(move || {
                let mut stream: TcpStream = stream;
                let mut head = vec![0; 2_048];
                let n = stream.read(&mut head).unwrap_or(0);
                let request = String::from_utf8_lossy(&head[..n]).into_owned();
                let _ = stream.write_all(&first(&request));
                while stream.write_all(&again).is_ok() && !again.is_empty() {}
                // Whatever came is held open until the client goes.
                while matches!(stream.read(&mut head), Ok(n) if n > 0) {}
            });
        }
    });
    let mut child = support::wspulse()
        .args(["soak", &url, "-n", "20", "--ramp", "100", "--duration", "1s", "--send", "x", "--expect", "y"])
        .args(["--format", "json"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    support::eventually("the soak to end", || {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
        peak = peak.max(line.trim().trim_end_matches(" kB").parse().unwrap_or(0));
        child.try_wait().unwrap()
    });
    peak
}

fn switching(request: &str) -> Vec<u8> {
    use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
    let key = request.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
    let accept = derive_accept_key(key.trim().as_bytes());
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n";
    format!("{upgrade}Sec-WebSocket-Accept: {accept}\r\n\r\n").into_bytes()
}

fn with_promise(request: &str) -> Vec<u8> {
    // A text of 16 MiB less one byte, of which all but the last byte come.
    [switching(request), b"\x81\x7f\0\0\0\0\0\xff\xff\xff".to_vec(), vec![b'a'; (16 << 20) - 2]].concat()
}

fn with_fragment(request: &str) -> Vec<u8> {
    [switching(request), b"\x01\x01a".to_vec()].concat()
}

#[test]
fn memory_stays_small_whatever_comes() {
    // 20 tunnels with 64 KiB of kept text and as much of unwritten frames each are 2.5 MiB.
    const MORE: u64 = 12 * 1_024;
    let quiet = peak_against(("quiet", switching, Vec::new()));
    let floods: [Flood; 5] = [
        ("header fields", |_| b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-Filler: aaaaaaaaaaaaa\r\n".repeat(1_000)),
        (
            "chunks",
            |_| b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
            b"4\r\nabcd\r\n".repeat(1_000),
        ),
        ("texts of 16 MiB", with_promise, Vec::new()),
        ("a text without end", with_fragment, [0, 3, b'a', b'b', b'c'].repeat(4_000)),
        ("pings", switching, frame(9, &[7; 125]).repeat(100)),
    ];
    for flood in floods {
        let story = flood.0;
        let peak = peak_against(flood);
        assert!(quiet > 0 && peak < quiet + MORE, "{story}: {peak} KiB, against a quiet server {quiet} KiB");
    }
}
