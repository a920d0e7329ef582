//! Which findings hold on a way through nginx that was followed in the configuration alone: only what its lines prove.

use serde::Serialize;

use crate::event::route::{ByName, End, How, TIMEOUTS, Walk};
use crate::event::site::{Location, Remarkable, Site};

use super::faults::{faults, has_upgrade_token};

/// A finding by its public name, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OnRoute {
    /// As `wspulse explain` knows it.
    pub id: &'static str,
    /// What holds here.
    pub said: String,
}

fn on(id: &'static str, said: impl Into<String>) -> OnRoute {
    OnRoute { id, said: said.into() }
}

/// The findings that hold on this way of a WebSocket handshake.
#[must_use]
pub fn on_route(site: &Site, walk: &Walk<'_>) -> Vec<OnRoute> {
    let mut found = Vec::new();
    found.extend(other_server(site, walk));
    match &walk.end {
        End::Upstream(_) => {
            if let Some(location) = walk.spot.1 {
                found.extend(at_backend(site, walk, location));
            }
        }
        End::Redirect { status, why, .. } => {
            let said = format!("nginx answers {status} ({why}), and WebSocket clients do not follow redirects");
            found.push(on("redirected", said));
        }
        End::Files { .. } => {
            let said = match walk.spot.1 {
                Some(l) => format!("location {} passes nothing on", l.path),
                None => "no location fits the path".to_owned(),
            };
            found.push(on("location-mismatch", said));
        }
        End::OtherProtocol { pass, .. } => {
            found.push(on("location-mismatch", format!("{pass} carries no WebSocket")));
        }
        End::Answer { why, .. } => found.extend(wrong_port(walk, why)),
        End::NoListener { .. } | End::Cycle | End::Unknown { .. } => {}
    }
    found
}

fn wrong_port(walk: &Walk<'_>, why: &str) -> Option<OnRoute> {
    // Nothing but TLS keeps a request from being looked at.
    let untouched = walk.steps.is_empty() && walk.listen.is_some();
    match walk.listen.as_ref().map(|l| l.tls) {
        Some(true) if untouched && why.contains("TLS port") => Some(on("plain-to-tls-port", why)),
        Some(false) if untouched && why.contains("plain HTTP") => Some(on("tls-to-plain-port", why)),
        _ => None,
    }
}

/// The host fell to the default server although another server of this configuration bears its name.
fn other_server(site: &Site, walk: &Walk<'_>) -> Option<OnRoute> {
    let chosen = walk.server.as_ref()?;
    if !matches!(chosen.why, ByName::DefaultServer | ByName::First) {
        return None;
    }
    let named = site.servers.iter().find(|s| s.names.iter().any(|n| n.eq_ignore_ascii_case(&chosen.host)))?;
    let said = format!(
        "no server on this socket bears the name {}, so the default one takes it; the server of that name, {}, listens elsewhere",
        chosen.host, named.place
    );
    Some(on("wrong-server-block", said))
}

fn at_backend(site: &Site, walk: &Walk<'_>, location: &Location) -> Vec<OnRoute> {
    let mut found: Vec<OnRoute> = faults(location).into_iter().map(|f| on(f.id(), f.cause(location))).collect();
    let Some(passed) = walk.end.passed() else { return found };
    if let Some(h) = location.header("connection")
        && location.forwards_upgrade()
        && !h.value.contains('$')
        && has_upgrade_token(&h.value)
    {
        let said = format!("Connection is \"{}\" for every request, also for plain ones", h.value);
        found.push(on("connection-upgrade-hardcoded", said));
    }
    for (name, t) in TIMEOUTS.iter().zip(&passed.timeouts) {
        if t.value.is_zero() {
            found.push(on("timeout-zero", format!("{name} 0 is no \"off\": the time is up at once")));
        }
    }
    if passed.how == Some(How::Variables)
        && walk.target.contains('?')
        && passed.target.as_ref().is_some_and(|t| !t.contains('?'))
    {
        let said = "proxy_pass has a URI with variables, so nginx does not add the client's query";
        found.push(on("query-dropped", said));
    }
    if !passed.peers.is_empty() && passed.peers.iter().all(|p| p.down) {
        found.push(on("no-live-upstreams", "every server of the upstream is marked down"));
    }
    for r in site.remarks.iter().filter(|r| r.location == location.place) {
        let names: Vec<&str> = r.lines.iter().filter_map(|(_, l)| l.split(' ').next()).collect();
        found.push(match r.what {
            Remarkable::WithoutEffect => {
                on("ineffective-setting", format!("{} do nothing for tunnels", names.join(", ")))
            }
            Remarkable::AnyUpgrade => on("upgrade-any-protocol", "any Upgrade that a client asks for is passed on"),
            // Whether the name needs one depends on the request's variables; the walk itself says that it is unsure.
            Remarkable::NoResolver => continue,
        });
    }
    found
}
