//! Probes against servers that follow a script: every way in which a handshake or a tunnel can end, on real sockets.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use wspulse::event::Event;
use wspulse::event::probe::{ClosedBy, Failure, FailureKind, Phase, Route, Step};
use wspulse::source::probe::{
    ClientCert, HttpProxy, ProbeOptions, ProbeSource, ProxyProtocol, Question, ResolveOverride, WsUrl, look_telling,
    target,
};
use wspulse::source::supervise;

use support::free_port;
use support::scripted::{
    PATIENCE, Peer, Refusal, closed, frame, has_pong, impatient, look_at, look_ws, names, quick, refusal, says, server,
};

async fn refused(at: SocketAddr, kind: FailureKind) -> Refusal {
    let r = refusal(&look_ws(at, &quick()).await);
    assert_eq!((r.failure.phase, r.failure.kind), (Phase::Upgrade, kind), "{}", r.failure.said);
    assert!(r.request.starts_with("GET /ws HTTP/1.1\nHost: 127.0.0.1:"), "{}", r.request);
    r
}

// ---- a good tunnel

#[tokio::test]
async fn a_good_tunnel_is_pinged_and_closed_with_1000() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let at = server(move |mut peer| {
        let tell = tell.clone();
        async move {
            peer.upgrade().await;
            let _ = tell.send((peer.echo_pings().await, peer.request));
        }
    })
    .await;
    let options = ProbeOptions { headers: vec![("Cookie".into(), "sid=s3cret".into())], ..quick() };
    let steps = look_at(&format!("ws://{at}/ws?token=s3cret"), &options, Duration::from_millis(250)).await;

    let names = names(&steps);
    assert_eq!(names[..6], ["dialing", "resolved", "connected", "upgraded", "pinged", "pong"], "{names:?}");
    assert!(names.iter().filter(|n| *n == "pong").count() >= 2, "one ping a 100 ms: {names:?}");
    let Step::Connected { local, peer, .. } = &steps[2] else { panic!("{:?}", steps[2]) };
    assert_eq!((*peer, local.ip()), (at, at.ip()));
    let (by, code, _, held, idle) = closed(&steps);
    assert_eq!((by, code), (ClosedBy::Us, Some(1000)));
    assert!(held >= Duration::from_millis(250) && idle <= held);

    let (close, request) = told.recv().await.unwrap();
    assert_eq!(close, Some(vec![0x03, 0xe8]), "1000, without a reason");
    assert!(request.starts_with("GET /ws?token=s3cret HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("Cookie: sid=s3cret"));
    assert!(!format!("{steps:?}").contains("s3cret"), "a secret was recorded");
}

#[tokio::test]
async fn lists_and_cases_in_a_101_are_accepted_and_kept() {
    let at = server(|mut peer| async move {
        peer.hear().await;
        let answer = peer
            .switching()
            .replace("Connection: upgrade", "CONNECTION: keep-alive, Upgrade")
            .replace("websocket", "WebSocket");
        peer.say(format!("HTTP/1.1 100 Continue\r\n\r\n{answer}")).await;
        peer.echo_pings().await;
    })
    .await;
    let steps = look_ws(at, &quick()).await;
    let Step::Upgraded { answer, .. } = &steps[3] else { panic!("{steps:?}") };
    assert_eq!(answer.headers[1], ("CONNECTION".into(), "keep-alive, Upgrade".into()));
    assert_eq!(closed(&steps).0, ClosedBy::Us);
}

#[tokio::test]
async fn frames_in_the_same_packet_as_the_101_are_not_lost() {
    let at = server(|mut peer| async move {
        peer.hear().await;
        let mut bytes = peer.switching().into_bytes();
        bytes.extend(frame(1, b"welcome"));
        bytes.extend(frame(9, b"are you there"));
        bytes.extend(frame(10, b"one-way heartbeat"));
        peer.say(bytes).await;
        let mut seen = Vec::new();
        while seen.len() < 2 {
            seen.push(peer.frame().await.expect("a ping of its own and a pong to ours"));
        }
        assert!(seen.contains(&(10, b"are you there".to_vec())), "{seen:?}");
        // Only a probe that answered our ping learns this code.
        peer.say(frame(8, &[0x0f, 0xa1])).await;
        peer.drain().await;
    })
    .await;
    let (by, code, ..) = closed(&look_ws(at, &quick()).await);
    assert_eq!((by, code), (ClosedBy::ServerClose, Some(4001)));
}

#[tokio::test]
async fn an_answer_that_drips_byte_by_byte_is_read() {
    let at = server(|mut peer| async move {
        peer.hear().await;
        for byte in peer.switching().into_bytes() {
            peer.say([byte]).await;
            tokio::task::yield_now().await;
        }
        peer.echo_pings().await;
    })
    .await;
    assert!(has_pong(&look_ws(at, &quick()).await));
}

#[tokio::test]
async fn a_flood_of_messages_starves_neither_pings_nor_the_end() {
    let at = server(|mut peer| async move {
        peer.upgrade().await;
        let flood = frame(2, &[7; 100]).repeat(1_000);
        while peer.stream.write_all(&flood).await.is_ok() {}
    })
    .await;
    let options = ProbeOptions { give_up_after: 1, ..impatient() };
    let steps = look_at(&format!("ws://{at}/"), &options, Duration::from_millis(300)).await;
    assert_eq!(closed(&steps).0, ClosedBy::PongTimeout, "it sends, but it does not answer");
}

// ---- answers that are no 101

#[tokio::test]
async fn a_refusal_is_kept_whole() {
    let at = says(
        "HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\nX-ODD: a\r\nSet-Cookie: sid=s3cret; Path=/\r\nContent-Length: 9\r\n\r\nno\r\nnever!",
    )
    .await;
    let r = refused(at, FailureKind::HttpStatus).await;
    assert!(r.failure.said.contains("426 Upgrade Required"), "{}", r.failure.said);
    let answer = r.answer.unwrap();
    assert_eq!((answer.version.as_str(), answer.status, answer.body.as_str()), ("HTTP/1.1", 426, "no\nnever"));
    assert_eq!(answer.headers[1], ("X-ODD".into(), "a".into()), "case and order as sent");
    assert_eq!(answer.header("set-cookie"), Some("sid=***; Path=/"));
}

#[tokio::test]
async fn other_statuses_and_versions_are_told() {
    let cases = [
        ("HTTP/1.1 400 Bad Request\r\n\r\n<html>no</html>", 400, "<html>no</html>"),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>hello", 200, "<p>hello"),
        ("HTTP/1.0 505 HTTP Version Not Supported\r\n\r\n", 505, ""),
        (
            "HTTP/1.1 301 Moved\r\nLocation: http://a.test/ws/?token=s3cret\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            301,
            "hi",
        ),
    ];
    for (text, status, body) in cases {
        let answer = refused(says(text).await, FailureKind::HttpStatus).await.answer.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (status, body));
        if status == 301 {
            assert_eq!(answer.header("Location"), Some("http://a.test/ws/?token=***"));
        }
        assert_eq!(answer.version == "HTTP/1.0", status == 505);
    }
}

#[tokio::test]
async fn a_body_that_never_ends_is_not_waited_for() {
    let at = server(|mut peer| async move {
        peer.hear().await;
        peer.say("HTTP/1.1 503 x\r\nContent-Length: 1000\r\n\r\n").await;
        // The body comes in a packet of its own, as from nginx.
        tokio::time::sleep(Duration::from_millis(20)).await;
        peer.say("beginning").await;
        peer.drain().await;
    })
    .await;
    let r = refused(at, FailureKind::HttpStatus).await;
    assert_eq!(r.answer.unwrap().body, "beginning");
    assert!(r.took < Duration::from_millis(500), "the wait for the body is no part of the handshake: {:?}", r.took);
}

#[tokio::test]
async fn a_101_that_is_wrong_is_refused_with_its_answer() {
    type Spoil = fn(String) -> String;
    let cases: [(Spoil, FailureKind); 4] = [
        (|a| a.replace("Accept: ", "Accept: x"), FailureKind::AcceptMismatch),
        (|a| a.replace("Upgrade: websocket\r\n", ""), FailureKind::BadUpgradeHeaders),
        (|a| a.replace("Connection: upgrade", "Connection: close"), FailureKind::BadUpgradeHeaders),
        (|a| a.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: x\r\n\r\n"), FailureKind::SubprotocolMismatch),
    ];
    for (spoil, kind) in cases {
        let at = server(move |mut peer| async move {
            peer.hear().await;
            let answer = spoil(peer.switching());
            peer.say(answer).await;
            peer.drain().await;
        })
        .await;
        assert_eq!(refused(at, kind).await.answer.unwrap().status, 101);
    }
}

#[tokio::test]
async fn what_is_no_http_is_named() {
    let r = refused(says("SSH-2.0-OpenSSH_9.9\r\n").await, FailureKind::NotHttp).await;
    assert!(r.failure.said.contains("SSH-2.0-OpenSSH_9.9"), "{}", r.failure.said);
    let r = refused(says(b"\x15\x03\x03\x00\x02\x02\x28".to_vec()).await, FailureKind::NotHttp).await;
    assert!(r.failure.said.contains("wss://"), "{}", r.failure.said);
    let r = refused(says("\x1b]0;owned\x07").await, FailureKind::NotHttp).await;
    assert!(!r.failure.said.contains('\x1b'));
}

#[tokio::test]
async fn an_endless_header_is_cut() {
    let at = server(|mut peer| async move {
        peer.hear().await;
        peer.say("HTTP/1.1 200 OK\r\n").await;
        while peer.stream.write_all(b"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n").await.is_ok() {}
    })
    .await;
    let r = refused(at, FailureKind::NotHttp).await;
    assert!(r.failure.said.contains("64 KiB"), "{}", r.failure.said);
}

#[tokio::test]
async fn a_server_that_goes_before_it_answers_is_told_from_one_that_resets() {
    let r = refused(says("").await, FailureKind::ClosedEarly).await;
    assert!(r.answer.is_none());
    refused(says("HTTP/1.1 101 Swi").await, FailureKind::ClosedEarly).await;
    let at = server(|mut peer| async move {
        peer.hear().await;
        SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)).unwrap();
    })
    .await;
    refused(at, FailureKind::Reset).await;
}

#[tokio::test]
async fn silence_is_bounded_and_says_how_far_the_answer_came() {
    for (text, part) in [("", "no answer within"), ("HTTP/1.1 101 Sw", "only a part of the answer")] {
        let at = server(move |mut peer| async move {
            peer.hear().await;
            peer.say(text).await;
            peer.drain().await;
        })
        .await;
        let r = refusal(&look_ws(at, &impatient()).await);
        assert_eq!((r.failure.phase, r.failure.kind), (Phase::Upgrade, FailureKind::Timeout));
        assert!(r.failure.said.starts_with(part), "{}", r.failure.said);
        assert!(r.took >= Duration::from_millis(200) && r.took < Duration::from_secs(3), "{:?}", r.took);
    }
}

// ---- before HTTP

#[tokio::test]
async fn a_closed_port_and_an_unknown_name_are_told() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let r = refusal(&look_ws(free, &quick()).await);
    assert_eq!((r.failure.phase, r.failure.kind), (Phase::Connect, FailureKind::ConnectionRefused));
    assert_eq!(r.failure.said, format!("no connection to {free}: connection refused"));
    assert!(r.request.is_empty() && r.answer.is_none());

    let r = refusal(&look_at("ws://no-such-host.invalid/", &quick(), Duration::ZERO).await);
    // A machine without any resolver may take its time over it.
    assert_eq!(r.failure.phase, Phase::Resolve);
    assert!(matches!(r.failure.kind, FailureKind::NameNotFound | FailureKind::Timeout), "{:?}", r.failure);
    assert!(r.failure.said.contains("no-such-host.invalid"));
}

#[tokio::test]
async fn an_override_replaces_the_resolver_and_addresses_are_tried_in_turn() {
    let at = server(|mut peer| async move {
        peer.upgrade().await;
        peer.echo_pings().await;
    })
    .await;
    // 127.0.0.2 is this machine too, but the server listens on 127.0.0.1 only.
    let text = format!("example.test:{}:127.0.0.2,127.0.0.1", at.port());
    let options = ProbeOptions { resolve: vec![ResolveOverride::parse(&text).unwrap()], ..quick() };
    let steps = look_at(&format!("ws://example.test:{}/", at.port()), &options, Duration::ZERO).await;
    let Step::Resolved { addresses, .. } = &steps[1] else { panic!("{steps:?}") };
    assert_eq!(addresses.len(), 2);
    let Step::Connected { peer, .. } = &steps[2] else { panic!("{steps:?}") };
    assert_eq!(*peer, at);
    assert!(has_pong(&steps));
}

// ---- how tunnels end

#[tokio::test]
async fn a_failed_address_is_told_beside_the_one_that_answered() {
    let at = server(|mut peer| async move {
        peer.upgrade().await;
        peer.echo_pings().await;
    })
    .await;
    let resolve = vec![ResolveOverride::parse(&format!("a.test:{}:127.0.0.77,127.0.0.1", at.port())).unwrap()];
    let options = ProbeOptions { resolve, ..quick() };
    let steps = look_at(&format!("ws://a.test:{}/", at.port()), &options, Duration::ZERO).await;
    let Step::Connected { peer, failed, .. } = &steps[2] else { panic!("{steps:?}") };
    assert_eq!(*peer, at);
    let [one] = failed.as_slice() else { panic!("{failed:?}") };
    assert!(one.starts_with("127.0.0.77:") && one.contains("connection refused"), "{one}");
}

/// A listener on `at` that takes no more connections: whoever asks for one hears nothing. What fills it is kept with it.
fn full(at: SocketAddr) -> (Socket, Vec<Socket>) {
    let tcp = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let listener = tcp();
    listener.bind(&at.into()).unwrap();
    listener.listen(0).unwrap();
    let fillers = (0..4).map(|_| {
        let filler = tcp();
        filler.set_nonblocking(true).unwrap();
        let _ = filler.connect(&at.into());
        filler
    });
    let fillers = fillers.collect();
    (listener, fillers)
}

/// With a patience that only the test's own ends: an address that is waited for to its end fails it.
#[tokio::test]
async fn an_address_that_says_nothing_does_not_hide_one_that_answers() {
    let at = server(|mut peer| async move {
        peer.upgrade().await;
        peer.echo_pings().await;
    })
    .await;
    let _full = full(SocketAddr::from(([127, 0, 0, 79], at.port())));
    let resolve = vec![ResolveOverride::parse(&format!("a.test:{}:127.0.0.79,127.0.0.1", at.port())).unwrap()];
    let (connect_timeout, total_timeout) = (10 * PATIENCE, 20 * PATIENCE);
    let options = ProbeOptions { resolve, connect_timeout, total_timeout, ..quick() };
    let steps = look_at(&format!("ws://a.test:{}/", at.port()), &options, Duration::ZERO).await;
    let Step::Connected { peer, failed, .. } = &steps[2] else { panic!("{steps:?}") };
    assert_eq!(*peer, at);
    let [one] = failed.as_slice() else { panic!("{failed:?}") };
    assert!(one.starts_with("127.0.0.79:") && one.contains("no answer within"), "{one}");
    assert!(has_pong(&steps));
}

#[tokio::test]
async fn addresses_that_all_say_nothing_share_one_patience() {
    let port = free_port();
    let _full: Vec<_> = [81, 82].map(|n| full(SocketAddr::from(([127, 0, 0, n], port)))).into();
    let resolve = vec![ResolveOverride::parse(&format!("a.test:{port}:127.0.0.81,127.0.0.82")).unwrap()];
    let connect_timeout = Duration::from_millis(400);
    let options = ProbeOptions { resolve, connect_timeout, total_timeout: 20 * PATIENCE, ..quick() };
    let failure = refusal(&look_at(&format!("ws://a.test:{port}/"), &options, Duration::ZERO).await).failure;
    assert_eq!((failure.phase, failure.kind), (Phase::Connect, FailureKind::Timeout));
    for address in ["127.0.0.81", "127.0.0.82"] {
        assert!(failure.said.contains(&format!("{address}:{port}: no answer within")), "{}", failure.said);
    }
}

#[tokio::test]
async fn a_proxy_protocol_header_comes_before_everything() {
    for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
        let (tell, mut told) = mpsc::unbounded_channel();
        let at = server(move |mut peer| {
            let tell = tell.clone();
            async move {
                peer.hear().await;
                if version == ProxyProtocol::V2 {
                    // Its signature begins with an empty line, where the reader of a request stops.
                    assert_eq!(std::mem::take(&mut peer.request), "\r\n\r\n");
                    let mut rest = [0; 24];
                    peer.stream.read_exact(&mut rest).await.unwrap();
                    assert!(rest.starts_with(b"\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01"));
                    peer.hear().await;
                }
                let _ = tell.send(peer.request.clone());
                peer.say(peer.switching()).await;
                peer.echo_pings().await;
            }
        })
        .await;
        let options = ProbeOptions { proxy_protocol: Some(version), ..quick() };
        let steps = look_ws(at, &options).await;
        assert!(has_pong(&steps), "{steps:?}");
        let Step::Connected { local, .. } = &steps[2] else { panic!("{steps:?}") };
        let line = match version {
            ProxyProtocol::V1 => format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", local.port(), at.port()),
            ProxyProtocol::V2 => String::new(),
        };
        let heard = told.recv().await.unwrap();
        assert!(heard.starts_with(&format!("{line}GET /ws HTTP/1.1\r\n")), "{heard}");
    }
}

#[tokio::test]
async fn a_backend_may_be_asked_by_messages() {
    let at = server(|mut peer| async move {
        peer.upgrade().await;
        let mut asked = 0;
        while let Some((opcode, payload)) = peer.frame().await {
            match opcode {
                1 => {
                    assert_eq!(payload, b"are you well");
                    asked += 1;
                    // The second question gets an answer that is none.
                    let answer: &[u8] = if asked == 2 { b"busy" } else { b"well" };
                    peer.say(frame(1, answer)).await;
                }
                8 => return peer.say(frame(8, &payload)).await,
                _ => {}
            }
        }
    })
    .await;
    let expect = Some(regex::Regex::new("^well$").unwrap());
    let question = Some(Question { text: "are you well".into(), expect });
    let options = ProbeOptions { question, ping_timeout: Duration::from_millis(100), ..quick() };
    let options = ProbeOptions { give_up_after: u32::MAX, ..options };
    let steps = look_at(&format!("ws://{at}/"), &options, Duration::from_millis(500)).await;
    let talk: Vec<String> =
        names(&steps).into_iter().filter(|n| ["asked", "answered", "unanswered"].contains(&n.as_str())).collect();
    assert_eq!(talk[..5], ["asked", "answered", "asked", "unanswered", "asked"], "{steps:?}");
}

/// A unix socket whose one visitor is upgraded and answered.
#[tokio::test]
async fn a_unix_socket_is_dialled_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = Peer { stream, request: String::new() };
        peer.upgrade().await;
        peer.echo_pings().await;
    });
    let options = ProbeOptions { unix_socket: Some(path.clone()), ..quick() };
    let steps = look_at("ws://app.test/ws", &options, Duration::ZERO).await;
    let Step::Attached { path: told, .. } = &steps[1] else { panic!("{steps:?}") };
    assert_eq!(told, &path.display().to_string());
    assert!(has_pong(&steps), "{steps:?}");
    let options = ProbeOptions { unix_socket: Some(dir.path().join("none.sock")), ..quick() };
    let Failure { kind, said, .. } = refusal(&look_at("ws://app.test/ws", &options, Duration::ZERO).await).failure;
    assert_eq!(kind, FailureKind::ConnectionRefused, "nobody listens there");
    assert!(said.contains("none.sock") && said.contains("no such file"), "{said}");
}

#[tokio::test]
async fn an_http_proxy_is_asked_for_the_way() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let at = server(move |mut peer| {
        let tell = tell.clone();
        async move {
            peer.hear().await;
            let _ = tell.send(std::mem::take(&mut peer.request));
            peer.say("HTTP/1.1 200 Connection established\r\n\r\n").await;
            peer.upgrade().await;
            peer.echo_pings().await;
        }
    })
    .await;
    let proxy = HttpProxy::parse(&format!("http://me:s3cret@{at}")).unwrap();
    let options = ProbeOptions { http_proxy: Some(proxy), ..quick() };
    let steps = look_at("ws://unknown.invalid:81/ws", &options, Duration::ZERO).await;
    assert!(
        told.recv().await.unwrap().starts_with("CONNECT unknown.invalid:81 HTTP/1.1\r\nHost: unknown.invalid:81\r\n")
    );
    assert!(steps.iter().any(|s| matches!(s, Step::Tunnelled { proxy, .. } if *proxy == at.to_string())), "{steps:?}");
    assert!(has_pong(&steps), "{steps:?}");
    assert!(!format!("{steps:?}").contains("s3cret"));
}

#[tokio::test]
async fn an_http_proxy_that_refuses_is_told_from_the_server() {
    let at = says("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno").await;
    let options = ProbeOptions { http_proxy: Some(HttpProxy::parse(&at.to_string()).unwrap()), ..quick() };
    let refusal = refusal(&look_at("ws://a.test/ws", &options, Duration::ZERO).await);
    assert_eq!((refusal.failure.phase, refusal.failure.kind), (Phase::Proxy, FailureKind::HttpStatus));
    assert!(
        refusal.failure.said.contains("407") && refusal.failure.said.contains("--http-proxy"),
        "{}",
        refusal.failure.said
    );
}

/// In a refusal's body, in an answer that never becomes whole, in one that is no HTTP, and in a close frame's reason.
#[tokio::test]
async fn what_a_server_repeats_of_our_secrets_is_hidden() {
    const SAID: &str = "no: GET /ws?token=s3cret HTTP/1.1, Authorization: Bearer s3cret";
    let length = u8::try_from(SAID.len() + 2).expect("a short reason");
    let frame = [&[0x88, length, 0x03, 0xf3][..], SAID.as_bytes()].concat();
    let answers = [
        format!("HTTP/1.1 400 No\r\nContent-Length: {}\r\n\r\n{SAID}", SAID.len()),
        format!("HTTP/1.1 400 No\r\nX-Why: {SAID}"),
        SAID.to_owned(),
    ];
    let headers = vec![("Authorization".to_owned(), "Bearer s3cret".to_owned())];
    let options = ProbeOptions { headers, ..quick() };
    let mut seen = Vec::new();
    for answer in answers {
        seen.push(look_ws(says(answer).await, &options).await);
    }
    let closes = server(move |mut peer| {
        let frame = frame.clone();
        async move {
            peer.upgrade().await;
            peer.say(frame).await;
        }
    });
    seen.push(look_ws(closes.await, &options).await);
    for steps in seen {
        let told = format!("{steps:?}");
        assert!(told.contains("no: GET /ws?token=***") && !told.contains("s3cret"), "{told}");
    }
}

#[tokio::test]
async fn an_http_proxy_that_cannot_be_reached_is_told_from_the_server() {
    let at = says("SSH-2.0-OpenSSH_9.2\r\n").await;
    let proxies = [
        ("127.0.0.1:1".to_owned(), FailureKind::ConnectionRefused),
        ("nowhere.invalid:3128".to_owned(), FailureKind::NameNotFound),
        (at.to_string(), FailureKind::NotHttp),
    ];
    for (proxy, kind) in proxies {
        let options = ProbeOptions { http_proxy: Some(HttpProxy::parse(&proxy).unwrap()), ..quick() };
        let Failure { phase, kind: seen, said } =
            refusal(&look_at("ws://a.test/ws", &options, Duration::ZERO).await).failure;
        assert_eq!((phase, seen), (Phase::Proxy, kind), "{said}");
        assert!(said.starts_with(&format!("the HTTP proxy {proxy}: ")), "{said}");
    }
}

#[tokio::test]
async fn every_end_of_a_tunnel_has_its_name() {
    /// What the server does to the tunnel.
    #[derive(Clone, Copy)]
    enum Deed {
        Say(&'static [u8]),
        Fin,
        Reset,
    }
    let cases: [(&str, Deed, ClosedBy, Option<u16>, &str); 9] = [
        ("1011", Deed::Say(b"\x88\x06\x03\xf3oops"), ClosedBy::ServerClose, Some(1011), "oops"),
        ("hostile reason", Deed::Say(b"\x88\x05\x03\xe9\x1b[J"), ClosedBy::ServerClose, Some(1001), "\\x1b[J"),
        ("no code", Deed::Say(b"\x88\x00"), ClosedBy::ServerClose, None, ""),
        ("fin", Deed::Fin, ClosedBy::Fin, None, ""),
        ("rst", Deed::Reset, ClosedBy::Reset, None, "connection reset by peer"),
        ("masked", Deed::Say(b"\x81\x81\x01\x02\x03\x04a"), ClosedBy::ProtocolError, None, "asked frame"),
        ("reserved bits", Deed::Say(b"\xc1\x01a"), ClosedBy::ProtocolError, None, "eserved"),
        ("bad text", Deed::Say(b"\x81\x01\xff"), ClosedBy::ProtocolError, None, "UTF-8"),
        ("stray continuation", Deed::Say(b"\x80\x01a"), ClosedBy::ProtocolError, None, "ontinu"),
    ];
    for (story, deed, by, code, part) in cases {
        let at = server(move |mut peer| async move {
            peer.upgrade().await;
            assert_eq!(peer.frame().await.unwrap().0, 9, "the first ping comes at once");
            match deed {
                Deed::Say(bytes) => {
                    peer.say(bytes).await;
                    peer.drain().await;
                }
                Deed::Fin => {}
                Deed::Reset => SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)).unwrap(),
            }
        })
        .await;
        let options = ProbeOptions { ping_interval: Duration::from_secs(60), ..quick() };
        let (got, got_code, reason, held, idle) = closed(&look_ws(at, &options).await);
        assert_eq!((got, got_code), (by, code), "{story}: {reason}");
        assert!(reason.contains(part), "{story}: {reason}");
        assert!(idle <= held, "{story}");
    }
}

#[tokio::test]
async fn idle_is_the_silence_before_the_end_even_before_a_close_frame() {
    for close in [true, false] {
        let at = server(move |mut peer| async move {
            peer.upgrade().await;
            let ping = peer.frame().await.unwrap().1;
            peer.say(frame(10, &ping)).await;
            // The silence itself is what is measured here.
            tokio::time::sleep(Duration::from_millis(300)).await;
            if close {
                peer.say(frame(8, &[0x03, 0xe9])).await;
                peer.drain().await;
            }
        })
        .await;
        let options = ProbeOptions { ping_interval: Duration::from_secs(60), ..quick() };
        let (_, _, _, held, idle) = closed(&look_at(&format!("ws://{at}/"), &options, PATIENCE).await);
        assert!(idle >= Duration::from_millis(250) && idle <= held, "close frame {close}: idle {idle:?} of {held:?}");
    }
}

#[tokio::test]
async fn a_server_that_never_pongs_is_given_up() {
    let at = server(|mut peer| async move {
        peer.upgrade().await;
        peer.drain().await;
    })
    .await;
    let options = ProbeOptions { give_up_after: 2, ..impatient() };
    let steps = look_at(&format!("ws://{at}/"), &options, PATIENCE).await;
    let missed = steps.iter().filter(|s| matches!(s, Step::Missed { .. })).count();
    assert_eq!(missed, 2, "{steps:?}");
    let (by, code, reason, ..) = closed(&steps);
    assert_eq!((by, code), (ClosedBy::PongTimeout, None));
    assert_eq!(reason, "2 pings in a row went unanswered");
}

/// Whoever is told of a ping wakes up, and that must not happen amid its round trip.
#[tokio::test]
async fn a_ping_is_told_of_when_its_pong_has_come() {
    let told = Arc::new(AtomicU64::new(0));
    let (arrived, mut untold) = mpsc::unbounded_channel();
    let known = Arc::clone(&told);
    let at = server(move |mut peer| {
        let (known, arrived) = (Arc::clone(&known), arrived.clone());
        async move {
            peer.upgrade().await;
            for seq in 1_u64.. {
                let Some((9, payload)) = peer.frame().await else { break };
                let _ = arrived.send(known.load(Ordering::SeqCst) < seq);
                peer.say(frame(10, &payload)).await;
            }
        }
    })
    .await;
    let url = WsUrl::parse(&format!("ws://{at}/")).unwrap();
    let mut tell = |step| {
        if let Step::Pinged { seq } = step {
            told.store(seq, Ordering::SeqCst);
        }
    };
    look_telling(&url, &quick(), Duration::from_millis(500), &mut tell).await;
    let untold: Vec<bool> = std::iter::from_fn(|| untold.try_recv().ok()).collect();
    assert!(untold.contains(&true), "on a busy machine a pong may be too late, but not each: {untold:?}");
    assert_eq!(told.load(Ordering::SeqCst), untold.len() as u64, "in the end all were told of");
}

#[tokio::test]
async fn a_ping_whose_pong_does_not_come_is_told_of_long_before_it_is_missed() {
    let at = server(|mut peer| async move {
        peer.upgrade().await;
        peer.drain().await;
    })
    .await;
    let url = WsUrl::parse(&format!("ws://{at}/")).unwrap();
    let options = ProbeOptions { ping_interval: PATIENCE, ping_timeout: Duration::from_secs(1), ..quick() };
    let mut moments = Vec::new();
    look_telling(&url, &options, Duration::ZERO, &mut |step| moments.push((step, Instant::now()))).await;
    let moment = |wanted: fn(&Step) -> bool| moments.iter().find(|(step, _)| wanted(step)).unwrap().1;
    let pinged = moment(|step| matches!(step, Step::Pinged { .. }));
    let missed = moment(|step| matches!(step, Step::Missed { .. }));
    assert!(missed - pinged > Duration::from_millis(500), "{moments:?}");
}

// ---- TLS

/// A certificate authority, and servers with certificates of several faults.
struct Lab {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    ca: CertificateDer<'static>,
    dir: tempfile::TempDir,
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    Expired,
    NotYet,
    SelfSigned,
    SelfSignedCa,
    Name,
}

impl Lab {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "wspulse lab CA");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), cert.pem()).unwrap();
        Self { ca: cert.der().clone(), issuer: rcgen::Issuer::new(params, key), dir }
    }

    fn trusting(&self) -> ProbeOptions {
        ProbeOptions { cacert: Some(self.dir.path().join("ca.pem")), ..quick() }
    }

    fn identity(&self, flaw: Flaw) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, String) {
        let name = if flaw == Flaw::Name { "other.test" } else { "127.0.0.1" };
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "the server");
        match flaw {
            Flaw::Expired => params.not_after = rcgen::date_time_ymd(2024, 1, 2),
            Flaw::NotYet => params.not_before = rcgen::date_time_ymd(4000, 1, 2),
            Flaw::SelfSignedCa => params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained),
            _ => {}
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let alone = matches!(flaw, Flaw::SelfSigned | Flaw::SelfSignedCa);
        let cert = if alone { params.self_signed(&key) } else { params.signed_by(&key, &self.issuer) }.unwrap();
        let chain = if alone { vec![cert.der().clone()] } else { vec![cert.der().clone(), self.ca.clone()] };
        (chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap(), cert.pem())
    }

    fn config(&self, flaw: Flaw) -> (rustls::ServerConfig, String) {
        let (chain, key, pem) = self.identity(flaw);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        (config, pem)
    }

    /// A WebSocket server over TLS.
    async fn serve(&self, flaw: Flaw) -> (SocketAddr, String) {
        let (config, pem) = self.config(flaw);
        (Self::serve_with(config).await, pem)
    }

    async fn serve_with(config: rustls::ServerConfig) -> SocketAddr {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        server(move |peer| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(stream) = acceptor.accept(peer.stream).await else { return };
                let mut peer = Peer { stream, request: String::new() };
                peer.upgrade().await;
                peer.echo_pings().await;
                let _ = peer.stream.shutdown().await;
            }
        })
        .await
    }

    /// The same, but only for clients with a certificate of our CA.
    async fn serve_members(&self) -> SocketAddr {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.ca.clone()).unwrap();
        let builder =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let (chain, key, _) = self.identity(Flaw::None);
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(builder.build().unwrap())
            .with_single_cert(chain, key)
            .unwrap();
        Self::serve_with(config).await
    }

    fn member(&self) -> ClientCert {
        let mut params = rcgen::CertificateParams::new(vec!["member.test".to_owned()]).unwrap();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let pair = rcgen::KeyPair::generate().unwrap();
        let (cert, key) = (self.dir.path().join("member.pem"), self.dir.path().join("member.key"));
        std::fs::write(&cert, params.signed_by(&pair, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        ClientCert { cert, key }
    }
}

async fn look_wss(at: SocketAddr, options: &ProbeOptions) -> Vec<Step> {
    look_at(&format!("wss://{at}/ws"), options, Duration::ZERO).await
}

#[tokio::test]
async fn a_tunnel_over_tls_shows_what_was_negotiated() {
    let lab = Lab::new();
    let (at, _) = lab.serve(Flaw::None).await;
    let steps = look_wss(at, &lab.trusting()).await;
    assert_eq!(names(&steps)[..5], ["dialing", "resolved", "connected", "secured", "upgraded"], "{steps:?}");
    let Step::Secured { tls, .. } = &steps[3] else { panic!("{steps:?}") };
    assert_eq!(tls.version.as_deref(), Some("TLSv1.3"));
    assert!(tls.cipher.as_deref().is_some_and(|c| c.starts_with("TLS13_")), "{tls:?}");
    assert_eq!((tls.alpn.as_deref(), tls.chain), (Some("http/1.1"), 2), "h2 carries no Upgrade: it is not offered");
    assert!(tls.issuer.as_deref().is_some_and(|i| i.contains("wspulse lab CA")), "{tls:?}");
    assert_eq!(tls.names, ["127.0.0.1"]);
    assert!(has_pong(&steps));
    assert_eq!(closed(&steps).0, ClosedBy::Us);
}

#[tokio::test]
async fn tls_cut_without_a_farewell_is_a_fin() {
    let lab = Lab::new();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(lab.config(Flaw::None).0));
    let at = server(move |peer| {
        let acceptor = acceptor.clone();
        async move {
            let stream = acceptor.accept(peer.stream).await.unwrap();
            let mut peer = Peer { stream, request: String::new() };
            peer.upgrade().await;
            peer.frame().await.unwrap();
            // Dropped without close_notify (RFC 8446 section 6.1).
        }
    })
    .await;
    let options = ProbeOptions { ping_interval: Duration::from_secs(60), ..lab.trusting() };
    let (by, code, ..) = closed(&look_wss(at, &options).await);
    assert_eq!((by, code), (ClosedBy::Fin, None));
}

#[tokio::test]
async fn every_flaw_of_a_certificate_is_named_and_shown() {
    let lab = Lab::new();
    let cases = [
        (Flaw::Expired, FailureKind::TlsExpired, "expired on 2024-01-02", 2),
        (Flaw::NotYet, FailureKind::TlsFailed, "not valid before 4000-01-02", 2),
        (Flaw::SelfSigned, FailureKind::TlsUntrusted, "is self-signed", 1),
        (Flaw::SelfSignedCa, FailureKind::TlsUntrusted, "is self-signed", 1),
        (Flaw::Name, FailureKind::TlsNameMismatch, "is for other.test, not for 127.0.0.1", 2),
    ];
    for (flaw, kind, part, chain) in cases {
        let (at, _) = lab.serve(flaw).await;
        let r = refusal(&look_wss(at, &lab.trusting()).await);
        assert_eq!((r.failure.phase, r.failure.kind), (Phase::Tls, kind), "{flaw:?}: {}", r.failure.said);
        assert!(r.failure.said.contains(part), "{flaw:?}: {}", r.failure.said);
        let tls = r.tls.expect("a distrusted certificate is shown");
        assert_eq!(tls.chain, chain, "{flaw:?}");
        assert!(tls.subject.is_some_and(|s| s.contains("the server")) && tls.not_after.is_some(), "{flaw:?}");
        assert!(r.request.is_empty(), "nothing is asked of a server that is not trusted");

        let insecure = ProbeOptions { insecure: true, ..quick() };
        let steps = look_wss(at, &insecure).await;
        assert!(has_pong(&steps), "{flaw:?}: --insecure dials on: {steps:?}");
        let Step::Secured { tls, .. } = &steps[3] else { panic!("{steps:?}") };
        assert_eq!(tls.chain, chain, "{flaw:?}: and still shows it");
    }
}

#[tokio::test]
async fn without_its_ca_a_good_certificate_is_untrusted() {
    let lab = Lab::new();
    let (at, _) = lab.serve(Flaw::None).await;
    let r = refusal(&look_wss(at, &quick()).await);
    assert_eq!(r.failure.kind, FailureKind::TlsUntrusted, "{}", r.failure.said);
    assert!(r.failure.said.contains("wspulse lab CA") || r.failure.said.contains("no root"), "{}", r.failure.said);
}

#[tokio::test]
async fn a_self_signed_certificate_can_be_trusted_by_itself() {
    let lab = Lab::new();
    for flaw in [Flaw::SelfSigned, Flaw::SelfSignedCa] {
        let (at, pem) = lab.serve(flaw).await;
        let path = lab.dir.path().join("own.pem");
        std::fs::write(&path, pem).unwrap();
        let steps = look_wss(at, &ProbeOptions { cacert: Some(path), ..quick() }).await;
        assert!(has_pong(&steps), "{flaw:?}: {steps:?}");
    }
}

#[tokio::test]
async fn a_ca_file_that_cannot_be_read_is_named() {
    let lab = Lab::new();
    let (at, _) = lab.serve(Flaw::None).await;
    let r = refusal(&look_wss(at, &ProbeOptions { cacert: Some("/nonexistent/ca.pem".into()), ..quick() }).await);
    assert_eq!((r.failure.phase, r.failure.kind), (Phase::Tls, FailureKind::TlsFailed));
    assert!(r.failure.said.contains("/nonexistent/ca.pem"), "{}", r.failure.said);
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_says_so_and_gets_it() {
    let lab = Lab::new();
    let at = lab.serve_members().await;
    let r = refusal(&look_wss(at, &lab.trusting()).await);
    // In TLS 1.3 the refusal comes after the handshake, as the answer to the request.
    assert_eq!((r.failure.phase, r.failure.kind), (Phase::Tls, FailureKind::TlsFailed), "{}", r.failure.said);
    assert!(r.failure.said.contains("--cert and --key"), "{}", r.failure.said);
    let options = ProbeOptions { client_cert: Some(lab.member()), ..lab.trusting() };
    let steps = look_wss(at, &options).await;
    assert!(has_pong(&steps), "{steps:?}");
}

#[tokio::test]
async fn a_plain_peer_on_the_tls_port_is_recognised() {
    let page = "HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Length: 5\r\n\r\nplain";
    for (text, status) in [(page, Some(400)), ("220 mail.test ESMTP\r\n", None)] {
        let at = server(move |mut peer| async move {
            let mut hello = [0; 64];
            let _ = peer.stream.read(&mut hello).await;
            peer.say(text).await;
            peer.drain().await;
        })
        .await;
        let r = refusal(&look_wss(at, &quick()).await);
        assert_eq!((r.failure.phase, r.failure.kind), (Phase::Tls, FailureKind::NotTls), "{}", r.failure.said);
        assert!(r.failure.said.contains("ws://"), "{}", r.failure.said);
        assert_eq!(r.answer.as_ref().map(|a| a.status), status);
        if let Some(answer) = r.answer {
            assert_eq!((answer.header("server"), answer.body.as_str()), (Some("nginx"), "plain"));
        }
    }
}

#[tokio::test]
async fn tls_that_is_silent_or_gone_is_told() {
    let at = server(|mut peer| async move { peer.drain().await }).await;
    let r = refusal(&look_wss(at, &impatient()).await);
    assert_eq!((r.failure.phase, r.failure.kind), (Phase::Tls, FailureKind::Timeout));
    let at = server(|mut peer| async move {
        let mut hello = [0; 4096];
        let _ = peer.stream.read(&mut hello).await;
    })
    .await;
    let r = refusal(&look_wss(at, &quick()).await);
    assert_eq!((r.failure.phase, r.failure.kind), (Phase::Tls, FailureKind::ClosedEarly), "{}", r.failure.said);
}

// ---- the source

fn source(at: SocketAddr, options: ProbeOptions) -> ProbeSource {
    let url = WsUrl::parse(&format!("ws://{at}/ws")).unwrap();
    let id = target(&WsUrl::parse("wss://example.test/ws?token=s3cret").unwrap(), &url, Route::Direct);
    ProbeSource::new(&Arc::from("h"), id, url, options)
}

#[tokio::test]
async fn the_source_dials_again_and_stops_politely() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let turn = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let at = server(move |mut peer| {
        let (tell, first) = (tell.clone(), turn.fetch_add(1, Ordering::SeqCst) == 0);
        async move {
            peer.upgrade().await;
            if !first {
                let _ = tell.send(peer.echo_pings().await);
            }
        }
    })
    .await;
    let probe = source(at, quick());
    let stop = probe.stop_handle();
    let (tx, mut rx) = mpsc::channel(1);
    let task = supervise(probe, tx);
    let mut steps = Vec::new();
    let began = Instant::now();
    while let Ok(Some(stamped)) = tokio::time::timeout(PATIENCE, rx.recv()).await {
        assert_eq!(stamped.from.to_string(), format!("probe wss://example.test/ws?token=*** direct ws://{at}/ws"));
        if let Event::Probe(probe) = stamped.event {
            assert_eq!(probe.target.route, Route::Direct);
            if matches!(probe.step, Step::Pong { .. }) {
                stop.cancel();
            }
            steps.push(probe.step);
        }
    }
    assert!(began.elapsed() < PATIENCE);
    task.await.unwrap();
    let mut names = names(&steps);
    names.retain(|n| !n.starts_with("pin") && n != "pong");
    let expected = [
        "dialing",
        "resolved",
        "connected",
        "upgraded",
        "closed",
        "waiting",
        "dialing",
        "resolved",
        "connected",
        "upgraded",
        "closed",
        "stopped",
    ];
    assert_eq!(names, expected);
    assert!(steps.contains(&Step::Dialing { attempt: 2 }));
    assert_eq!(told.recv().await, Some(Some(vec![0x03, 0xe8])), "the server saw a close frame with 1000");
}

#[tokio::test]
async fn the_source_dials_again_after_a_refusal_and_stops_while_it_waits() {
    let probe = source(says("HTTP/1.1 502 Bad Gateway\r\n\r\n").await, quick());
    let stop = probe.stop_handle();
    let (tx, mut rx) = mpsc::channel(1);
    let task = supervise(probe, tx);
    let mut steps = Vec::new();
    while let Ok(Some(stamped)) = tokio::time::timeout(PATIENCE, rx.recv()).await {
        let Event::Probe(probe) = stamped.event else { continue };
        steps.push(probe.step);
        if names(&steps).iter().filter(|n| *n == "waiting").count() == 2 {
            stop.cancel();
        }
    }
    task.await.unwrap();
    let turn = ["dialing", "resolved", "connected", "refused", "waiting"];
    assert_eq!(names(&steps), [&turn[..], &turn, &["stopped"]].concat());
}

#[tokio::test]
async fn the_source_ends_when_nobody_listens() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let at = server(move |mut peer| {
        let tell = tell.clone();
        async move {
            peer.upgrade().await;
            let _ = tell.send(peer.echo_pings().await);
        }
    })
    .await;
    let (tx, mut rx) = mpsc::channel(64);
    let task = supervise(source(at, ProbeOptions { ping_interval: Duration::from_secs(600), ..quick() }), tx);
    while let Some(stamped) = rx.recv().await {
        if matches!(&stamped.event, Event::Probe(p) if matches!(p.step, Step::Pong { .. })) {
            break;
        }
    }
    drop(rx);
    tokio::time::timeout(PATIENCE, task).await.expect("ends without waiting for the next ping").unwrap();
    assert_eq!(told.recv().await, Some(Some(vec![0x03, 0xe8])));
}

#[tokio::test]
async fn a_full_channel_does_not_distort_round_trip_times() {
    let at = server(|mut peer| async move {
        peer.upgrade().await;
        peer.echo_pings().await;
    })
    .await;
    let probe = source(at, ProbeOptions { ping_interval: Duration::from_secs(600), ..quick() });
    let stop = probe.stop_handle();
    let (tx, mut rx) = mpsc::channel(1);
    let task = supervise(probe, tx);
    // The reader of the channel sleeps through the handshake and the first pong: that is the story.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let mut rtt = None;
    while let Some(stamped) = rx.recv().await {
        if let Event::Probe(p) = stamped.event
            && let Step::Pong { rtt: took, .. } = p.step
        {
            rtt = Some(took);
            stop.cancel();
        }
    }
    task.await.unwrap();
    assert!(rtt.is_some_and(|rtt| rtt < Duration::from_millis(500)), "{rtt:?}");
}

/// SIGSTOP, or a laptop that sleeps: pongs that came meanwhile are not missed, and no lost ping is made up for.
#[test]
fn a_stopped_program_misses_no_pong() {
    let backend = support::backend::Backend::start(support::backend::Script::Echo);
    let url = format!("ws://127.0.0.1:{}/ws", backend.port);
    let mut child = support::wspulse()
        .args(["stream", &url, "--ping-interval", "300ms", "--ping-timeout", "500ms", "--no-exec", "--for", "6s"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let pid = rustix::process::Pid::from_child(&child);
    let lines = support::lines(child.stdout.take().expect("its output"));
    support::wait_line(&lines, "a pong", |l| l.contains("\"pong\""));
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("it runs");
    // The stop itself is what is tried: several timeouts long.
    std::thread::sleep(Duration::from_secs(3));
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("it is there");
    let rest: Vec<String> = lines.iter().filter(|l| l.contains("\"event\":\"probe\"")).collect();
    let has = |step: &str| rest.iter().filter(|l| l.contains(&format!("\"step\":\"{step}\""))).count();
    assert_eq!((has("missed"), has("refused")), (0, 0), "{rest:#?}");
    assert!(has("pong") >= 2, "it lives on: {rest:#?}");
    assert!(!rest.iter().any(|l| l.contains("pong-timeout")), "{rest:#?}");
    assert!(child.wait().expect("it ends").success());
}
