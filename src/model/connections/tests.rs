//! Stories of tunnels told by socket rows: opened, placed, counted, ended.

use super::*;
use crate::event::site::{Listen, Location, Matching, Peer, Server, Setting, Site};
use crate::event::socket::TcpInfo;

const SECOND: Duration = Duration::from_secs(1);

fn at(s: i64) -> Timestamp {
    Timestamp::from_secs(1_000 + s)
}

fn location(path: &str, port: u16, read_s: u64) -> Location {
    Location {
        place: crate::event::site::Place::default(),
        matching: Matching::Prefix,
        path: path.into(),
        proxy_pass: Some(Setting::built_in(format!("http://127.0.0.1:{port}"))),
        peers: vec![Peer { address: format!("127.0.0.1:{port}"), ..Peer::default() }],
        http_version: Setting::built_in("1.1".into()),
        headers: Vec::new(),
        lost_headers: Vec::new(),
        own_headers: false,
        rewrite: None,
        read_timeout: Setting::built_in(SECOND * u32::try_from(read_s).expect("small")),
        send_timeout: Setting::built_in(SECOND * 60),
        connect_timeout: Setting::built_in(SECOND * 60),
        returns: None,
        internal: false,
        locations: Vec::new(),
        way: crate::event::route::script::Way::default(),
    }
}

/// A server on each port with its locations.
fn places(servers: &[(u16, Vec<Location>)]) -> Places {
    let server = |(port, locations): &(u16, Vec<Location>)| Server {
        listens: vec![Listen { port: Some(*port), ..Listen::default() }],
        locations: locations.clone(),
        ..Server::default()
    };
    Places::of(&Site { servers: servers.iter().map(server).collect(), ..Site::default() })
}

/// A leg of tunnel `n`, silent for so long.
fn row(n: u16, side: Side, silent: Duration) -> SocketRow {
    let ms = u32::try_from(silent.as_millis()).ok();
    let (local, peer) = match side {
        Side::Client => (80, 40_000 + n),
        Side::Upstream => (50_000 + n, 9000),
    };
    let cookie = u64::from(n) * 2 + u64::from(side == Side::Upstream) + 1;
    let ends = (([127, 0, 0, 1], local).into(), ([127, 0, 0, 1], peer).into());
    SocketRow {
        inode: u32::from(n) * 2 + 100,
        pid: Some(7),
        info: Some(TcpInfo {
            last_received_ms: ms,
            last_sent_ms: ms,
            bytes_received: Some(10),
            bytes_acked: Some(10),
            ..TcpInfo::default()
        }),
        ..SocketRow::new(cookie, ends.0, ends.1, TcpState::Established)
    }
}

fn both(n: u16, silent: Duration) -> Vec<SocketRow> {
    vec![row(n, Side::Client, silent), row(n, Side::Upstream, silent)]
}

/// Connections that are looked at once a second.
struct Watch {
    connections: Connections,
    places: Places,
    now: i64,
}

impl Watch {
    fn over(places: Places) -> Self {
        let mut watch = Self { connections: Connections::default(), places, now: -1 };
        watch.look(vec![], &[]);
        watch
    }

    fn look(&mut self, rows: Vec<SocketRow>, closed: &[u64]) {
        let first = self.now < 0;
        self.now += 1;
        let delta = SocketDelta {
            full: first,
            source: SocketSource::Netlink,
            rows,
            closed: closed.to_vec(),
            since: (!first).then_some(SECOND),
            ..SocketDelta::default()
        };
        self.connections.apply(at(self.now), &delta, &self.places, &Probes::default());
    }

    fn tunnels(&self) -> Vec<Tunnel<'_>> {
        self.connections.tunnels(at(self.now), &|_| false)
    }

    fn only(&self) -> Tunnel<'_> {
        let mut all = self.tunnels();
        assert_eq!(all.len(), 1, "{all:#?}");
        all.remove(0)
    }
}

fn one_location() -> Places {
    places(&[(80, vec![location("/ws", 9000, 60)])])
}

#[test]
fn a_tunnel_that_was_seen_opening_is_placed_counted_and_aged() {
    let mut watch = Watch::over(one_location());
    watch.look(both(1, SECOND / 10), &[]);
    watch.now += 20;
    let t = watch.only();
    assert_eq!((t.pair, t.state, t.location), (Confidence::Likely, TunnelState::Open, Some("/ws")));
    assert_eq!((t.worker(), t.client_addr().map(|a| a.port())), (Some(7), Some(40_001)));
    assert_eq!(t.age(at(watch.now)), Some((Duration::from_millis(20_100), false)));
    assert_eq!(t.time_left, Some(Duration::from_millis(39_900)));
    assert_eq!(t.rates(at(watch.now)), Some((0.0, 0.0)));
    assert_eq!((watch.connections.opened_total, watch.connections.idle_clients), (1, 0));
}

#[test]
fn a_tunnel_that_was_there_before_is_at_least_as_old_as_its_silence() {
    let mut watch = Watch { connections: Connections::default(), places: one_location(), now: -1 };
    watch.look(both(1, SECOND * 30), &[]);
    assert_eq!(watch.only().age(at(0)), Some((SECOND * 30, true)));
    assert_eq!(watch.connections.opened_total, 0, "not opened while we looked");
}

#[test]
fn a_backend_of_several_locations_gives_a_range_until_the_port_decides() {
    let shared = vec![location("/a", 9000, 10), location("/b", 9000, 100)];
    let mut watch = Watch::over(places(&[(80, shared)]));
    watch.look(both(1, Duration::ZERO), &[]);
    let d = watch.only().deadline.expect("a deadline");
    assert_eq!((watch.only().location, d.least, d.most), (None, SECOND * 10, SECOND * 100));

    let mut watch = Watch::over(places(&[(81, vec![location("/a", 9000, 10)]), (80, vec![location("/b", 9000, 100)])]));
    watch.look(both(1, Duration::ZERO), &[]);
    let t = watch.only();
    assert_eq!((t.location, t.time_left), (Some("/b"), Some(SECOND * 100)), "the client came in on port 80");
}

#[test]
fn a_tunnel_keeps_its_timeout_through_a_change_of_the_configuration() {
    let mut watch = Watch::over(one_location());
    watch.look(both(1, Duration::ZERO), &[]);
    watch.places = places(&[(80, vec![location("/ws", 9000, 5)])]);
    watch.connections.place_again(&watch.places, &Probes::default());
    watch.look(both(2, Duration::ZERO), &[]);
    let mut timeouts: Vec<_> = watch.tunnels().iter().map(|t| (t.id, t.read_timeout)).collect();
    timeouts.sort_unstable();
    assert_eq!(timeouts, [(3, Some(SECOND * 60)), (5, Some(SECOND * 5))]);
}

fn ends(watch: &Watch) -> Vec<End> {
    watch.connections.closed.iter().map(|c| c.how).collect()
}

#[test]
fn a_tunnel_ends_once_with_its_first_leg() {
    let mut watch = Watch::over(one_location());
    watch.look(both(1, Duration::ZERO), &[]);
    watch.look(vec![], &[3]);
    watch.look(vec![], &[4]);
    assert_eq!((ends(&watch), watch.connections.died_total), (vec![End::Unknown], 1));
    assert!(watch.tunnels().is_empty());
}

#[test]
fn a_client_that_goes_without_its_backend_was_a_wrong_guess() {
    let mut watch = Watch::over(one_location());
    watch.look(both(1, Duration::ZERO), &[]);
    watch.look(vec![], &[3]);
    assert_eq!((ends(&watch), watch.only().state), (vec![], TunnelState::Unpaired));
    watch.now += 5;
    watch.look(vec![], &[4]);
    assert_eq!(ends(&watch), [End::Unknown], "once, with the backend's leg");
    assert_eq!(watch.connections.closed[0].client, None, "it lived on: who knows whose it was");
}

#[test]
fn legs_of_wrong_guesses_that_end_together_are_one_tunnel() {
    let mut watch = Watch::over(one_location());
    // Both upstream legs and both client legs spoke at the same moments: the guesses may be crossed.
    watch.look([both(1, Duration::ZERO), both(2, Duration::ZERO)].concat(), &[]);
    let partner = watch.tunnels().iter().find(|t| t.upstream.is_some_and(|l| l.row.cookie == 4)).map(|t| t.id);
    let other = if partner == Some(3) { 5 } else { 3 };
    watch.look(vec![], &[4, other]);
    assert_eq!(watch.connections.died_total, 1, "one client and one backend leg went: one tunnel");
    assert_eq!(watch.tunnels().len(), 1);
    watch.look(vec![], &[6, 8 - other]);
    assert_eq!(watch.connections.died_total, 2);
}

#[test]
fn the_states_of_the_last_rows_tell_who_closed() {
    let mut watch = Watch::over(one_location());
    watch.look([both(1, Duration::ZERO), both(2, Duration::ZERO)].concat(), &[]);
    let closing = |row: SocketRow, state| SocketRow { state, inode: 0, ..row };
    let client_first = [
        closing(row(1, Side::Client, Duration::ZERO), TcpState::LastAck),
        closing(row(1, Side::Upstream, Duration::ZERO), TcpState::FinWait2),
    ];
    watch.look(client_first.to_vec(), &[]);
    assert_eq!((ends(&watch), watch.tunnels().len()), (vec![End::Client], 1), "what is left is the kernel's business");
    watch.look(vec![closing(row(2, Side::Upstream, Duration::ZERO), TcpState::CloseWait)], &[]);
    assert_eq!(watch.only().state, TunnelState::Closing);
    watch.look(vec![], &[3, 4, 5, 6]);
    assert_eq!(ends(&watch), [End::Client, End::Backend]);
}

#[test]
fn gone_when_the_timeout_had_run_out_is_an_idle_timeout() {
    let mut watch = Watch::over(places(&[(80, vec![location("/ws", 9000, 5)])]));
    watch.look(both(1, Duration::ZERO), &[]);
    watch.now += 4;
    watch.look(vec![], &[3, 4]);
    assert_eq!(ends(&watch), [End::Timeout]);
}

#[test]
fn a_worker_that_is_gone_took_its_tunnels_with_it() {
    let mut watch = Watch::over(one_location());
    watch.connections.learn_workers(at(0), [7].into());
    watch.look([both(1, Duration::ZERO), both(2, Duration::ZERO)].concat(), &[]);
    watch.look(vec![], &[3, 4]);
    assert_eq!(ends(&watch), [End::Unknown], "the processes were looked at before");
    watch.connections.learn_workers(at(3), [8].into());
    watch.look(vec![], &[5, 6]);
    assert_eq!(ends(&watch), [End::Worker, End::Worker]);
}

#[test]
fn legs_without_a_partner_are_told_as_such() {
    let mut watch = Watch::over(one_location());
    let stranger = SocketRow { pid: None, ..row(9, Side::Upstream, Duration::ZERO) };
    watch.look(vec![row(1, Side::Client, Duration::ZERO), row(2, Side::Upstream, SECOND / 2), stranger], &[]);
    let t = watch.only();
    assert_eq!((t.pair, t.state, t.client_addr()), (Confidence::None, TunnelState::Unpaired, None));
    let mut alone: Vec<u64> = watch.connections.unpaired().map(|(_, l)| l.row.cookie).collect();
    alone.sort_unstable();
    assert_eq!(alone, [3, 6], "and another program's connection is not ours");
    assert_eq!(watch.connections.idle_clients, 1);
}

#[test]
fn closed_tunnels_are_bounded_in_number_and_time() {
    let mut watch = Watch::over(one_location());
    for n in 0..400 {
        watch.look(both(n, Duration::ZERO), &[]);
        watch.look(vec![], &[u64::from(n) * 2 + 1, u64::from(n) * 2 + 2]);
    }
    assert_eq!((watch.connections.closed.len(), watch.connections.died_total), (CLOSED, 400));
    watch.connections.expire(at(watch.now + 601));
    assert!(watch.connections.closed.is_empty());
}
