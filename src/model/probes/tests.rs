//! Stories of single probes: what is known of them afterwards.

use super::*;

fn at(s: i64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + s)
}

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn opened() -> Step {
    Step::Upgraded { took: Duration::from_millis(2), request: String::new(), answer: Answer::default() }
}

fn refused(phase: Phase) -> Step {
    let failure = Failure { phase, kind: crate::event::probe::FailureKind::Timeout, said: "late".into() };
    Step::Refused { failure, took: secs(1), request: String::new(), answer: None, tls: None }
}

fn closed(held: u64) -> Step {
    Step::Closed { by: ClosedBy::Fin, code: None, reason: String::new(), held: secs(held), idle: secs(1) }
}

fn life(steps: &[(i64, Step)]) -> Probe {
    let mut probe = Probe::default();
    for (s, step) in steps {
        probe.apply(at(*s), step);
    }
    probe
}

fn up(probe: &Probe, now: i64, window: Option<u64>) -> Option<(u64, u64)> {
    probe.uptime(at(now), window.map(secs)).map(|u| (u.open.as_secs(), u.over.as_secs()))
}

#[test]
fn the_time_up_is_what_was_open_of_what_is_known() {
    let steps = [
        (0, Step::Dialing { attempt: 1 }),
        (0, opened()),
        (60, closed(60)),
        (60, Step::Dialing { attempt: 2 }),
        (80, refused(Phase::Connect)),
        (90, Step::Dialing { attempt: 3 }),
        (100, opened()),
    ];
    let probe = life(&steps);
    assert_eq!(up(&probe, 200, None), Some((160, 200)));
    assert_eq!(up(&probe, 200, Some(120)), Some((100, 120)), "the death and the refusal lie partly outside");
    assert_eq!(up(&probe, 200, Some(150)), Some((110, 150)), "of an open tunnel only what lies within counts");
    assert_eq!(up(&probe, 200, Some(3_600)), Some((160, 200)), "no more than is known");
    assert_eq!(up(&probe, 0, None), None, "no time has passed");
    assert!((probe.uptime(at(200), None).expect("known").share() - 0.8).abs() < 1e-9);
    assert_eq!(up(&life(&steps[..6]), 100, None), Some((60, 100)));
    assert_eq!(up(&Probe::default(), 100, None), None, "never dialled");
}

#[test]
fn the_time_that_a_probe_was_off_does_not_count_against_it() {
    let probe = life(&[
        (0, Step::Dialing { attempt: 1 }),
        (0, opened()),
        (50, closed(50)),
        (50, Step::Stopped),
        (500, Step::Dialing { attempt: 1 }),
        (500, opened()),
    ]);
    assert_eq!(up(&probe, 600, None), Some((100, 100)));
    assert_eq!(up(&life(&[(0, Step::Dialing { attempt: 1 }), (9, Step::Stopped)]), 600, None), None);
}

#[test]
fn what_the_history_has_forgotten_is_not_called_down() {
    let mut steps = vec![(0, Step::Dialing { attempt: 1 }), (0, opened()), (1_000, closed(1_000))];
    for n in 0..40 {
        steps.extend([(1_000 + n * 10, opened()), (1_010 + n * 10, closed(10))]);
    }
    let probe = life(&steps);
    assert_eq!(probe.history.len(), HISTORY);
    let (open, over) = up(&probe, 1_400, None).expect("known");
    assert_eq!(open, over, "it was never down, and the first thousand seconds are no longer known");
    assert!(over < 400);
}

#[test]
fn the_way_and_its_parts_are_kept() {
    let local: SocketAddr = "127.0.0.1:5000".parse().expect("an address");
    let failed: Vec<String> = (0..40).map(|n| format!("[2001:db8::{n}]:443: unreachable")).collect();
    let probe = life(&[
        (0, Step::Dialing { attempt: 1 }),
        (0, Step::Resolved { took: secs(1), addresses: vec![local] }),
        (0, Step::Connected { took: secs(2), local, peer: local, failed }),
        (0, Step::Tunnelled { took: secs(3), proxy: "proxy.test:3128".into() }),
        (0, refused(Phase::Tls)),
        (9, Step::Dialing { attempt: 2 }),
    ]);
    let parts: Vec<(Phase, u64)> = probe.phases_before.reached().map(|(p, d)| (p, d.as_secs())).collect();
    assert_eq!(parts, [(Phase::Resolve, 1), (Phase::Connect, 2), (Phase::Proxy, 3), (Phase::Tls, 1)]);
    assert_eq!(probe.phases_before.total(), Some(secs(7)));
    assert_eq!(probe.phases.total(), None);
    assert_eq!((probe.tried.len(), probe.http_proxy.as_deref()), (TRIED, Some("proxy.test:3128")));
    let probe = life(&[(0, Step::Attached { took: secs(1), path: "/run/app.sock".into() })]);
    assert_eq!(probe.unix_socket.as_deref(), Some("/run/app.sock"));
}

#[test]
fn jitter_is_smoothed_within_a_tunnel_and_not_across_two() {
    let ms = Duration::from_millis;
    let pong = |rtt| Step::Pong { seq: 1, rtt: ms(rtt) };
    let one = life(&[(0, opened()), (1, pong(10))]);
    assert_eq!(one.jitter, None, "one pong differs from nothing");
    let two = life(&[(0, opened()), (1, pong(10)), (2, pong(26))]);
    assert_eq!(two.jitter, Some(ms(1)), "a sixteenth of 16 ms");
    let apart = life(&[(0, opened()), (1, pong(10)), (2, closed(2)), (2, opened()), (3, pong(500))]);
    assert_eq!(apart.jitter, None);
    let mut steps = vec![(0, opened())];
    steps.extend((0..400).map(|n| (n, pong(if n % 2 == 0 { 10 } else { 18 }))));
    let settled = life(&steps).jitter.expect("many pongs");
    assert!(settled > ms(7) && settled <= ms(8), "{settled:?}");
}

#[test]
fn stray_pongs_of_all_tunnels_add_up() {
    let told =
        |out_of_order, unsolicited| Step::Strays { strays: Strays { out_of_order, wrong_payload: 1, unsolicited } };
    let probe =
        life(&[(0, opened()), (1, told(2, 0)), (2, told(2, 3)), (3, closed(3)), (3, opened()), (4, told(1, 0))]);
    assert_eq!(probe.strays, Strays { out_of_order: 3, wrong_payload: 2, unsolicited: 3 });
    assert_eq!(probe.strays.total(), 8);
}
