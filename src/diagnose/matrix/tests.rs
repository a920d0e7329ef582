//! Matrices as servers make them, and where the fault then sits.

use std::time::Duration;

use super::*;

fn row(change: Change, status: Option<u16>, failure: Option<(Phase, FailureKind)>) -> Row {
    let failure = failure.map(|(phase, kind)| Failure { phase, kind, said: format!("{kind:?}") });
    let took = Duration::from_millis(2);
    Row { change, failure, took, status, location: None, extensions: None, alpn: None }
}

fn ok(change: Change) -> Row {
    row(change, Some(101), None)
}

fn http(change: Change, status: u16) -> Row {
    row(change, Some(status), Some((Phase::Upgrade, FailureKind::HttpStatus)))
}

fn direct() -> Change {
    Change::Direct { url: "ws://10.0.0.7:81/ws".into() }
}

fn other() -> Change {
    Change::OtherOrigin { origin: "https://origin.invalid".into() }
}

fn own() -> Change {
    Change::OwnOrigin { origin: "http://a.test".into() }
}

fn slash() -> Change {
    Change::Slash { path: "/ws/".into() }
}

fn address(a: &str) -> Change {
    Change::Address { address: a.parse().unwrap() }
}

fn matrix(rows: Vec<Row>) -> Matrix {
    Matrix { endpoint: "ws://a.test/ws".into(), rows, left_out: Vec::new() }
}

fn seat(rows: Vec<Row>) -> Seat {
    conclusion(&matrix(rows), &Context::default()).seat
}

#[test]
fn what_cures_a_handshake_is_where_the_fault_sits() {
    use Change as C;
    let base = || http(C::AsAsked, 403);
    assert_eq!(seat(vec![base(), http(other(), 403), ok(C::NoOrigin), http(slash(), 403)]), Seat::Origin);
    assert_eq!(seat(vec![base(), http(other(), 403), ok(own())]), Seat::Origin);
    assert_eq!(seat(vec![http(C::AsAsked, 301), http(other(), 301), ok(slash())]), Seat::Path);
    assert_eq!(seat(vec![http(C::AsAsked, 400), ok(C::NoSubprotocol)]), Seat::Subprotocol);
    let refused = row(C::AsAsked, None, Some((Phase::Connect, FailureKind::ConnectionRefused)));
    assert_eq!(seat(vec![refused, ok(address("10.0.0.1"))]), Seat::Address);
}

#[test]
fn chance_accuses_nobody() {
    use Change as C;
    let base = || http(C::AsAsked, 502);
    assert_eq!(seat(vec![base(), ok(own()), ok(C::Again)]), Seat::Unsteady);
    assert_eq!(seat(vec![base(), ok(own()), ok(slash()), http(C::Again, 502)]), Seat::Unknown);
    assert_eq!(seat(vec![ok(C::AsAsked), http(slash(), 502), http(C::Again, 502)]), Seat::Unsteady);
    assert_eq!(cure(&matrix(vec![base(), ok(own()), ok(slash())])), None);
    assert_eq!(cure(&matrix(vec![base(), ok(own()), ok(C::Again)])), None);
}

#[test]
fn the_direct_way_tells_proxy_from_backend() {
    use Change as C;
    let base = || http(C::AsAsked, 426);
    assert_eq!(seat(vec![base(), ok(direct()), http(C::NoUpgrade, 426)]), Seat::Proxy);
    assert_eq!(seat(vec![base(), http(direct(), 426)]), Seat::Backend);
    assert_eq!(seat(vec![base(), http(direct(), 401)]), Seat::Unknown, "refused, but not alike");
    assert_eq!(seat(vec![base(), ok(direct()), http(direct(), 403)]), Seat::Backend);
    let nobody = row(direct(), None, Some((Phase::Connect, FailureKind::ConnectionRefused)));
    assert_eq!(seat(vec![http(C::AsAsked, 502), nobody.clone()]), Seat::Backend);
    assert_eq!(seat(vec![http(C::AsAsked, 403), nobody]), Seat::Unknown, "a firewall of ours proves nothing");
    assert_eq!(seat(vec![base()]), Seat::Unknown);
}

#[test]
fn the_configuration_is_named_where_it_explains() {
    let named = Context { named: Some("upgrade-header-missing, app.conf:6".into()), proxied: true, passed_on: false };
    let rows = vec![http(Change::AsAsked, 426), ok(direct())];
    let told = conclusion(&matrix(rows), &named);
    assert_eq!(told.seat, Seat::Proxy);
    assert!(told.said.ends_with("it is nginx: upgrade-header-missing, app.conf:6"), "{}", told.said);
    let alone = conclusion(&matrix(vec![http(Change::AsAsked, 426)]), &named);
    assert_eq!(alone.seat, Seat::Proxy);
    let clean = Context { named: None, proxied: true, passed_on: true };
    assert_eq!(conclusion(&matrix(vec![http(Change::AsAsked, 400)]), &clean).seat, Seat::Backend);
    let unclear = Context { passed_on: false, ..clean };
    assert_eq!(conclusion(&matrix(vec![http(Change::AsAsked, 400)]), &unclear).seat, Seat::Unknown);
    assert_eq!(conclusion(&matrix(vec![http(Change::AsAsked, 502)]), &unclear).seat, Seat::Backend);
}

#[test]
fn what_works_can_still_be_wrong() {
    use Change as C;
    let base = || ok(C::AsAsked);
    assert_eq!(seat(vec![base(), ok(C::NoUpgrade)]), Seat::BlindSwitch);
    let bad_101 = row(C::NoUpgrade, Some(101), Some((Phase::Upgrade, FailureKind::BadUpgradeHeaders)));
    assert_eq!(seat(vec![base(), bad_101]), Seat::BlindSwitch);
    assert_eq!(seat(vec![base(), ok(C::Http10), http(C::NoUpgrade, 400)]), Seat::None, "nginx does that");
    assert_eq!(seat(vec![base(), http(C::Deflate, 400), ok(C::Again)]), Seat::Compression);
    let v6 = row(address("::1"), None, Some((Phase::Connect, FailureKind::ConnectionRefused)));
    assert_eq!(seat(vec![base(), v6, ok(address("127.0.0.1"))]), Seat::Address);
    let strict = vec![base(), http(C::NoUpgrade, 400), http(other(), 403), http(C::NoOrigin, 403), http(slash(), 404)];
    assert_eq!(seat(strict), Seat::None, "origins and paths may well be checked");
}

#[test]
fn http_2_alone_is_told_from_a_broken_tls() {
    let tls = row(Change::AsAsked, None, Some((Phase::Tls, FailureKind::TlsFailed)));
    let mut h2 = row(Change::Http2, None, Some((Phase::Upgrade, FailureKind::NotHttp)));
    h2.alpn = Some("h2".into());
    assert_eq!(seat(vec![tls.clone(), h2.clone()]), Seat::Http2);
    assert_eq!(seat(vec![tls]), Seat::Reach);
    assert_eq!(seat(vec![ok(Change::AsAsked), h2]), Seat::None);
}

#[test]
fn every_row_has_a_reading_of_its_own() {
    use Status::{Fail, Pass, Skip};
    let rows = vec![
        http(Change::AsAsked, 403),
        ok(direct()),
        http(Change::NoUpgrade, 403),
        http(other(), 401),
        ok(Change::NoOrigin),
    ];
    let told = readings(&matrix(rows));
    let status: Vec<Status> = told.iter().map(|r| r.status).collect();
    assert_eq!(status, [Fail, Pass, Skip, Skip, Pass]);
    assert!(told[1].said.contains("10.0.0.7:81"), "{}", told[1].said);
    assert!(told[3].said.contains("otherwise"), "{}", told[3].said);
    assert!(readings(&Matrix::default()).is_empty());
}
