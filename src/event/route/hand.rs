//! What nginx hands to the backend of a location: peers, request line, headers, timeouts, each with its origin.

use super::pass::{PassUrl, Passing, target};
use super::script::{Piece, Scope, pieces};
use super::seen::{Origin, Passed, Pool, Sent};
use super::values::State;
use crate::event::site::{Location, Peer, Setting, Site, Upstream, Version};

/// What befell the request before.
pub(super) struct Changes<'a> {
    pub(super) unchanged: bool,
    pub(super) by_location: bool,
    pub(super) escapes: bool,
    pub(super) prefix: &'a str,
    pub(super) status_kept: Option<u16>,
}

/// The first release that sends no `Connection` of its own (CHANGES of 1.29.7).
const NO_CONNECTION_CLOSE: Version = Version { major: 1, minor: 29, patch: 7 };

/// Works out the hand-over; the second half are doubts.
pub(super) fn passed(
    state: &mut State<'_>,
    pass: &Setting<String>,
    location: &Location,
    changes: &Changes<'_>,
) -> (Passed, Vec<String>) {
    let mut doubts = Vec::new();
    let variables = pieces(&pass.value).iter().any(|p| matches!(p, Piece::Variable(_)));
    let value = if variables { state.text(&pass.value) } else { Some(pass.value.clone()) };
    let url = value.as_deref().and_then(PassUrl::read);
    let mut peers = Vec::new();
    let mut upstream = None;
    if let Some(url) = &url {
        state.proxy_host = Some(url.proxy_host());
        (upstream, peers) = behind(state.site, url);
        if variables && upstream.is_none() && needs_resolver(url) && !location.way.resolver {
            doubts.push(format!(
                "{} comes out of variables and no resolver is set: nginx answers 502 unless that name stands literally in \
                 another proxy_pass",
                url.host
            ));
        }
    } else {
        doubts.push(format!("proxy_pass {} holds variables that cannot be told", pass.value));
        peers.clone_from(&location.peers);
    }
    let line = url.as_ref().map(|u| {
        let passing = Passing {
            raw: &state.request.target,
            uri: &state.uri,
            args: &state.args,
            prefix: changes.prefix,
            unchanged: changes.unchanged,
            by_location: changes.by_location,
            escapes: changes.escapes,
        };
        target(&u.uri, variables, &passing)
    });
    let levels = location.way.levels;
    let passed = Passed {
        proxy_pass: pass.clone(),
        tls: pass.value.get(..6).is_some_and(|s| s.eq_ignore_ascii_case("https:")),
        upstream,
        peers,
        how: line.as_ref().map(|(_, how)| *how),
        target: line.map(|(target, _)| target),
        http_version: origin(&location.http_version, levels.http_version),
        timeouts: [
            origin(&location.connect_timeout, levels.connect_timeout),
            origin(&location.read_timeout, levels.read_timeout),
            origin(&location.send_timeout, levels.send_timeout),
        ],
        headers: headers(state, location),
        lost: location.lost_headers.iter().map(|h| (h.name.clone(), h.place.clone())).collect(),
        status_kept: changes.status_kept,
    };
    (passed, doubts)
}

fn origin<T: Clone>(setting: &Setting<T>, scope: Scope) -> Origin<T> {
    Origin { value: setting.value.clone(), place: setting.place.clone(), scope }
}

fn needs_resolver(url: &PassUrl) -> bool {
    let host = url.host.trim_start_matches('[').trim_end_matches(']');
    url.unix.is_none() && host.parse::<std::net::IpAddr>().is_err()
}

/// The pool that a URL names, or the peer that it is (`ngx_http_upstream_add`: a name with a port is no pool).
fn behind(site: &Site, url: &PassUrl) -> (Option<Pool>, Vec<Peer>) {
    let named = |(name, _): &(&String, &Upstream)| url.unix.is_none() && name.eq_ignore_ascii_case(&url.host);
    if url.port.is_none()
        && let Some((name, upstream)) = site.upstreams.iter().find(named)
    {
        let pool = Pool { name: name.clone(), place: upstream.place.clone(), settings: upstream.settings.clone() };
        return (Some(pool), upstream.peers.clone());
    }
    (None, vec![Peer { address: url.address(), ..Peer::default() }])
}

/// nginx's own headers where no line says otherwise, then the lines (`ngx_http_proxy_headers`, proxy_module.c).
fn headers(state: &mut State<'_>, location: &Location) -> Vec<Sent> {
    let old = state.site.version.is_none_or(|v| v < NO_CONNECTION_CLOSE);
    let own = [
        ("Host", state.proxy_host.clone(), true),
        ("Connection", Some(if old { "close".to_owned() } else { String::new() }), true),
        ("Upgrade", Some(String::new()), state.request.websocket),
    ];
    let mut all = Vec::new();
    for (name, value, matters) in own {
        if matters && location.header(name).is_none() {
            all.push(Sent { name: name.to_owned(), written: None, value, place: None, scope: Scope::BuiltIn });
        }
    }
    for h in &location.headers {
        let value = state.text(&h.value);
        let place = Some(h.place.clone());
        let scope = location.way.levels.headers;
        all.push(Sent { name: h.name.clone(), written: Some(h.value.clone()), value, place, scope });
    }
    all
}
