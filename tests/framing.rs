//! Frames of a server as RFC 6455 allows and forbids them: the framing cases of the Autobahn test suite that concern a client,
//! each sent whole and byte by byte.

mod support;

use std::time::Duration;

use tokio::sync::mpsc;
use wspulse::event::probe::{ClosedBy, Step};
use wspulse::source::probe::ProbeOptions;

use support::scripted::{Peer, closed, look_ws, quick, server};

/// A frame with this first byte.
fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..=125), _) => bytes.push(short),
        (_, Ok(medium)) => {
            bytes.push(126);
            bytes.extend(medium.to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

fn closing(code: u16, reason: &[u8]) -> Vec<u8> {
    raw(0x88, &[&code.to_be_bytes(), reason].concat())
}

/// What the client said: pongs, and the payload of its close frame.
#[derive(Debug, Default)]
struct Said {
    pongs: Vec<Vec<u8>>,
    close: Option<Vec<u8>>,
}

/// Sends `bytes` behind the first ping, in pieces of `cut`, and hears the client out.
async fn play(bytes: Vec<u8>, cut: usize) -> (Vec<Step>, Said) {
    let (tell, mut told) = mpsc::unbounded_channel();
    let at = server(move |mut peer: Peer<_>| {
        let (bytes, tell) = (bytes.clone(), tell.clone());
        async move {
            peer.stream.set_nodelay(true).unwrap();
            peer.upgrade().await;
            assert_eq!(peer.frame().await.unwrap().0, 9, "the first ping comes at once");
            for piece in bytes.chunks(cut) {
                peer.say(piece).await;
            }
            let mut said = Said::default();
            while said.close.is_none()
                && let Some((opcode, payload)) = peer.frame().await
            {
                match opcode {
                    10 => said.pongs.push(payload),
                    8 => said.close = Some(payload),
                    other => panic!("the client sent a frame with the opcode {other}"),
                }
            }
            let _ = tell.send(said);
        }
    })
    .await;
    let options = ProbeOptions { ping_interval: Duration::from_secs(60), ..quick() };
    let steps = look_ws(at, &options).await;
    (steps, told.recv().await.unwrap())
}

/// The ends of the pieces that a case is sent in.
const CUTS: [usize; 2] = [usize::MAX, 1];

/// All of `bytes` is in order: the close frame behind it is reached. Gives the pongs.
async fn allowed(story: &str, bytes: Vec<u8>) -> Vec<Vec<u8>> {
    let mut pongs = Vec::new();
    // What is long is not sent byte by byte.
    for cut in CUTS.into_iter().filter(|cut| *cut > 1 || bytes.len() < 1_000) {
        let (steps, said) = play([bytes.clone(), closing(4001, b"seen")].concat(), cut).await;
        let (by, code, reason, ..) = closed(&steps);
        assert_eq!((by, code, reason.as_str()), (ClosedBy::ServerClose, Some(4001), "seen"), "{story}");
        assert_eq!(said.close, Some(4001_u16.to_be_bytes().to_vec()), "{story}: the code comes back");
        pongs = said.pongs;
    }
    pongs
}

/// The client fails the connection over `bytes` with this code and says this.
async fn forbidden(story: &str, bytes: Vec<u8>, code: u16, part: &str) {
    for cut in CUTS {
        let (steps, said) = play(bytes.clone(), cut).await;
        let (by, got, reason, ..) = closed(&steps);
        assert_eq!((by, got), (ClosedBy::ProtocolError, None), "{story}: {reason}");
        assert!(reason.contains(part), "{story}: {reason}");
        assert_eq!(said.close, Some(code.to_be_bytes().to_vec()), "{story}: what the server is told");
    }
}

#[tokio::test]
async fn messages_of_every_length_pass() {
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 1 << 20] {
        for first in [0x81, 0x82] {
            allowed(&format!("{first:x}, {length} bytes"), raw(first, &vec![b'*'; length])).await;
        }
    }
}

#[tokio::test]
async fn pings_are_answered_with_what_they_carry() {
    for payload in [&b""[..], b"hello", &[0, 0xff, 0xfe, 0xfd], &[0xfe; 125]] {
        let pongs = allowed("ping", raw(0x89, payload)).await;
        assert_eq!(pongs, [payload]);
    }
    let ten: Vec<u8> = (0..10).flat_map(|n| raw(0x89, &[n])).collect();
    let pongs = allowed("ten pings", ten).await;
    // RFC 6455 section 5.5.3: only the latest must be answered.
    assert_eq!(pongs.last(), Some(&vec![9]), "{pongs:?}");
    assert!(allowed("pongs that nobody asked for", [raw(0x8a, b""), raw(0x8a, b"x")].concat()).await.is_empty());
}

#[tokio::test]
async fn fragments_make_messages_and_control_frames_may_come_between() {
    let pieces = |pieces: &[(u8, &[u8])]| pieces.iter().flat_map(|(first, p)| raw(*first, p)).collect::<Vec<u8>>();
    let cases: [(&str, Vec<u8>, usize); 7] = [
        ("two fragments", pieces(&[(0x01, b"frag"), (0x80, b"ment")]), 0),
        ("a ping between", pieces(&[(0x01, b"frag"), (0x89, b"?"), (0x80, b"ment")]), 1),
        ("a pong between", pieces(&[(0x02, b"frag"), (0x8a, b"!"), (0x80, b"ment")]), 0),
        (
            "five fragments, two pings",
            pieces(&[(0x01, b"a"), (0x00, b"b"), (0x89, b"1"), (0x00, b"c"), (0x00, b"d"), (0x89, b"2"), (0x80, b"e")]),
            2,
        ),
        ("empty fragments", pieces(&[(0x01, b""), (0x00, b""), (0x80, b"")]), 0),
        ("a character in two fragments", pieces(&[(0x01, b"\xce"), (0x89, b""), (0x80, b"\xba")]), 1),
        ("binary is no text", pieces(&[(0x02, b"\xff\xc0"), (0x80, b"\x80")]), 0),
    ];
    for (story, bytes, pings) in cases {
        let pongs = allowed(story, bytes).await;
        // The latest may stand for all that came with it.
        assert!(pongs.len() <= pings && (pings == 0 || !pongs.is_empty()), "{story}: {pongs:?}");
    }
    let many: Vec<u8> = (0..10_000).map(|n| if n == 0 { 0x02 } else { 0x00 }).flat_map(|f| raw(f, b"x")).collect();
    allowed("ten thousand fragments", [many, raw(0x80, b"")].concat()).await;
}

#[tokio::test]
async fn broken_fragments_are_refused() {
    forbidden("ping in fragments", raw(0x09, b"fragment"), 1002, "in fragments").await;
    forbidden("pong in fragments", raw(0x0a, b"fragment"), 1002, "in fragments").await;
    forbidden("close in fragments", raw(0x08, &1000_u16.to_be_bytes()), 1002, "in fragments").await;
    forbidden("a last fragment of nothing", raw(0x80, b"x"), 1002, "continuation of no message").await;
    forbidden("a fragment of nothing", raw(0x00, b"x"), 1002, "continuation of no message").await;
    let after = [raw(0x81, b"whole"), raw(0x80, b"x")].concat();
    forbidden("a fragment behind a whole message", after, 1002, "continuation of no message").await;
    let within = [raw(0x01, b"begun"), raw(0x81, b"another")].concat();
    forbidden("a message within a message", within, 1002, "before the last fragment").await;
}

#[tokio::test]
async fn reserved_bits_and_opcodes_are_refused() {
    for bits in 1..8 {
        forbidden(&format!("bits {bits}"), raw(0x81 | bits << 4, b"x"), 1002, "reserved bits").await;
    }
    forbidden("bits of a ping", raw(0xc9, b"x"), 1002, "reserved bits").await;
    for opcode in (3..8).chain(11..16) {
        let behind = [raw(0x81, b"ok"), raw(0x80 | opcode, b"x")].concat();
        forbidden(&format!("opcode {opcode}"), behind, 1002, &format!("reserved opcode {opcode}")).await;
    }
}

#[tokio::test]
async fn lengths_and_masks_that_must_not_be_are_refused() {
    forbidden("a ping of 126 bytes", raw(0x89, &[0xfe; 126]), 1002, "more than 125 bytes").await;
    forbidden("a close frame of 126 bytes", raw(0x88, &[0xfe; 126]), 1002, "more than 125 bytes").await;
    forbidden("masked", b"\x81\x81\x01\x02\x03\x04a".to_vec(), 1002, "masked").await;
    forbidden("2^63 bytes", b"\x82\x7f\x80\0\0\0\0\0\0\0".to_vec(), 1002, "2^63").await;
    forbidden("125 in two bytes", b"\x82\x7e\0\x7d".to_vec(), 1002, "125 in more bytes").await;
    forbidden("65535 in eight bytes", b"\x82\x7f\0\0\0\0\0\0\xff\xff".to_vec(), 1002, "65535 in more bytes").await;
}

#[tokio::test]
async fn text_must_be_utf8() {
    for good in ["κόσμε", "\u{0}", "\u{7f}\u{80}\u{7ff}\u{800}", "\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}"] {
        let (a, b) = good.as_bytes().split_at(good.len() / 2);
        allowed(good, [raw(0x81, good.as_bytes()), raw(0x01, a), raw(0x80, b)].concat()).await;
    }
    let bad: [(&str, &[u8]); 9] = [
        ("a byte that never is", b"ok\xff"),
        ("a stray continuation byte", b"\x80"),
        ("overlong", b"\xc0\xaf"),
        ("overlong in three", b"\xe0\x80\xaf"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("past the end", b"\xf4\x90\x80\x80"),
        ("five bytes", b"\xf8\x88\x80\x80\x80"),
        ("cut off at the end", b"\xce\xba\xe1"),
        ("a start behind a start", b"\xe1\xe1"),
    ];
    for (story, bytes) in bad {
        forbidden(story, raw(0x81, bytes), 1007, "a text message that is no UTF-8").await;
        for at in 1..bytes.len() {
            let (a, b) = bytes.split_at(at);
            forbidden(&format!("{story}, in fragments"), [raw(0x01, a), raw(0x80, b)].concat(), 1007, "UTF-8").await;
        }
    }
    // At once: the rest of the message never comes (the suite's "fail fast").
    forbidden("known too early", raw(0x01, b"\xce\xba\xff"), 1007, "UTF-8").await;
}

#[tokio::test]
async fn close_frames_are_taken_as_they_are_or_refused() {
    let codes = (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]);
    for code in codes {
        let (steps, said) = play(closing(code, "wegen κ".as_bytes()), 1).await;
        let (by, got, reason, ..) = closed(&steps);
        assert_eq!((by, got, reason.as_str()), (ClosedBy::ServerClose, Some(code), "wegen κ"));
        assert_eq!(said.close, Some(code.to_be_bytes().to_vec()));
    }
    let (steps, said) = play(raw(0x88, b""), 1).await;
    let (by, code, ..) = closed(&steps);
    assert_eq!((by, code, said.close), (ClosedBy::ServerClose, None, Some(Vec::new())));
    let (steps, _) = play(closing(1000, &[b'*'; 123]), usize::MAX).await;
    assert_eq!(closed(&steps).2.len(), 123);

    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        forbidden("reserved", closing(code, b""), 1002, &format!("the code {code}, which must not be sent")).await;
    }
    forbidden("half a code", raw(0x88, b"\x03"), 1002, "half a code").await;
    let said = "the code 1011 and a reason 'no\\xff' that is no UTF-8";
    forbidden("a reason that is no text", closing(1011, b"no\xff"), 1007, said).await;
}

#[tokio::test]
async fn what_comes_behind_a_close_frame_is_not_heard() {
    for behind in [raw(0x81, b"more"), raw(0x89, b"ping"), raw(0xff, b"garbage"), closing(1011, b"another")] {
        for cut in CUTS {
            let (steps, said) = play([closing(1000, b"first"), behind.clone()].concat(), cut).await;
            let (by, code, reason, ..) = closed(&steps);
            assert_eq!((by, code, reason.as_str()), (ClosedBy::ServerClose, Some(1000), "first"));
            assert_eq!((said.close, said.pongs.len()), (Some(1000_u16.to_be_bytes().to_vec()), 0));
        }
    }
}
