//! Stories of tunnels told by socket rows: opened, placed, counted, ended.

use super::*;
use crate::event::site::{Listen, Location, Matching, Peer, Server, Setting, Site};
use crate::event::socket::{TcpInfo, UnixRow, UnixState};

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
        self.look_unix(rows, Vec::new(), closed);
    }

    fn look_unix(&mut self, rows: Vec<SocketRow>, unix: Vec<UnixRow>, closed: &[u64]) {
        let first = self.now < 0;
        self.now += 1;
        let delta = SocketDelta {
            full: first,
            source: SocketSource::Netlink,
            rows,
            unix,
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
    assert_eq!(t.age(at(watch.now)), (Duration::from_millis(20_100), false));
    assert_eq!(t.time_left, Some(Duration::from_millis(39_900)));
    assert_eq!(t.rates(at(watch.now)), Some((0.0, 0.0)));
    assert_eq!((watch.connections.opened_total, watch.connections.idle_clients), (1, 0));
}

#[test]
fn a_tunnel_that_was_there_before_is_at_least_as_old_as_its_silence() {
    let mut watch = Watch { connections: Connections::default(), places: one_location(), now: -1 };
    watch.look(both(1, SECOND * 30), &[]);
    assert_eq!(watch.only().age(at(0)), (SECOND * 30, true));
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
    assert_eq!(timeouts, [(4, Some(SECOND * 60)), (6, Some(SECOND * 5))]);
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

const APP: &str = "/run/app.sock";

/// A location that leads to a unix socket.
fn to_a_unix_socket() -> Places {
    let peers = vec![Peer { address: format!("unix:{APP}"), ..Peer::default() }];
    places(&[(80, vec![Location { peers, ..location("/ws", 9000, 60) }])])
}

/// The backend leg of tunnel `n`.
fn unix(n: u16) -> UnixRow {
    UnixRow {
        cookie: 900 + u64::from(n),
        path: APP.into(),
        state: UnixState::Open,
        inode: u32::from(n) * 2 + 101,
        peer_inode: Some(7),
        pid: Some(7),
        recv_q: Some(0),
        send_q: Some(0),
    }
}

#[test]
fn a_tunnel_to_a_unix_socket_is_one_row_with_both_legs() {
    let mut watch = Watch::over(to_a_unix_socket());
    watch.look_unix(vec![row(1, Side::Client, SECOND / 10)], vec![unix(1)], &[]);
    watch.now += 20;
    let t = watch.only();
    assert_eq!(t.age(at(watch.now)), (Duration::from_millis(20_100), false), "no younger than its silence");
    assert_eq!((t.id, t.pair, t.state, t.location), (901, Confidence::Likely, TunnelState::Open, Some("/ws")));
    assert_eq!(t.client_addr().map(|a| a.port()), Some(40_001));
    assert_eq!((t.far.upstream().to_string(), t.upstream.is_none()), (format!("unix:{APP}"), true));
    assert_eq!(t.time_left, Some(Duration::from_millis(39_900)), "the client leg speaks for both");
    assert_eq!(t.bytes(), Some((10, 10)), "those of the client leg: nothing counts on the other");
    let c = &watch.connections;
    assert_eq!((c.opened_total, c.idle_clients, c.count(), c.held().count()), (1, 0, 1, 2));
    assert_eq!(c.unpaired().count(), 0);
}

#[test]
fn a_unix_leg_whose_client_is_not_known_has_no_silence_and_no_bytes() {
    let mut watch = Watch::over(to_a_unix_socket());
    watch.look_unix(vec![], vec![unix(1)], &[]);
    let t = watch.only();
    assert_eq!((t.pair, t.state, t.client_addr()), (Confidence::None, TunnelState::Unpaired, None));
    assert_eq!(
        (t.bytes(), t.idle(at(50)), t.time_left, t.rates(at(1))),
        (None, None, None, None),
        "unknown is not zero"
    );
}

#[test]
fn a_guess_between_unix_legs_is_put_right_when_one_of_them_ends() {
    let mut watch = Watch::over(to_a_unix_socket());
    let clients = [1, 2].map(|n| row(n, Side::Client, SECOND / 10));
    watch.look_unix(clients.to_vec(), vec![unix(1), unix(2)], &[]);
    assert!(watch.tunnels().iter().all(|t| t.pair == Confidence::Possible && t.time_left.is_none()));
    // The client of the first one goes with the backend leg of the second one: the guess was wrong.
    watch.look_unix(vec![], vec![], &[clients[0].cookie, 902]);
    let closed = &watch.connections.closed[0];
    assert_eq!((closed.id, closed.client.map(|a| a.port()), closed.pair), (902, Some(40_001), Confidence::Possible));
    let t = watch.only();
    assert_eq!((t.id, t.client_addr().map(|a| a.port()), t.pair), (901, Some(40_002), Confidence::Likely));
    assert_eq!(watch.connections.died_total, 1);
}

#[test]
fn a_unix_tunnel_ends_once_and_says_how() {
    let watch = || {
        let mut watch = Watch::over(to_a_unix_socket());
        watch.look_unix(vec![row(1, Side::Client, SECOND / 10)], vec![unix(1)], &[]);
        watch
    };
    let client = row(1, Side::Client, SECOND).cookie;
    let mut together = watch();
    together.look(vec![], &[client, 901]);
    assert_eq!(ends(&together), [End::Unknown], "between two looks");
    assert_eq!(together.connections.closed[0].bytes, Some((10, 10)));

    let mut backend = watch();
    backend.look_unix(vec![], vec![UnixRow { state: UnixState::PeerClosed, ..unix(1) }], &[]);
    backend.look(vec![], &[client, 901]);
    assert_eq!(ends(&backend), [End::Backend]);

    let mut torn = watch();
    torn.look(vec![], &[client]);
    assert_eq!(torn.connections.closed.len(), 0, "its leg to the backend still stands");
    torn.look(vec![], &[901]);
    let closed = &torn.connections.closed[0];
    assert_eq!((closed.client.map(|a| a.port()), closed.first_gone), (Some(40_001), Some(Side::Client)));

    let mut silent = watch();
    silent.now += 59;
    silent.look(vec![], &[client, 901]);
    assert_eq!(ends(&silent), [End::Timeout]);
}

#[test]
fn a_busy_client_of_another_backend_is_not_taken_for_that_of_a_unix_leg() {
    let peers = vec![Peer { address: format!("unix:{APP}"), ..Peer::default() }];
    let unix_location = Location { peers, ..location("/app", 9000, 60) };
    let mut watch = Watch::over(places(&[(80, vec![location("/ws", 9000, 60), unix_location])]));
    let mut rows = both(1, SECOND / 10);
    rows.push(row(2, Side::Client, SECOND / 10));
    watch.look_unix(rows, vec![unix(2)], &[]);
    let pairs: BTreeMap<u64, u16> =
        watch.tunnels().iter().filter_map(|t| Some((t.id, t.client_addr()?.port()))).collect();
    assert_eq!(pairs, [(4, 40_001), (902, 40_002)].into());
}

#[test]
fn without_netlink_unix_legs_are_not_known_and_none_is_said_to_have_died() {
    let mut watch = Watch::over(to_a_unix_socket());
    watch.look_unix(vec![row(1, Side::Client, SECOND / 10)], vec![unix(1)], &[]);
    let delta = SocketDelta { full: true, source: SocketSource::Procfs, ..SocketDelta::default() };
    watch.connections.apply(at(9), &delta, &watch.places, &Probes::default());
    assert_eq!((watch.connections.count(), watch.connections.died_total), (0, 0));
}
