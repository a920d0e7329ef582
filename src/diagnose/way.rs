//! The way behind nginx: which peers an endpoint's location leads to, and what nginx would ask them for.

use std::sync::Arc;

use crate::event::probe::Route;
use crate::event::site::{Location, Peer};
use crate::model::Model;

use super::look::{Case, Spot, Url, cases, sent_host};

/// Peers of one endpoint that are told: a pool may have hundreds.
const PEERS: usize = 8;
/// Headers that carry the upgrade itself, where a wrong configuration must not follow us, and the one told beside them.
const OWN: [&str; 3] = ["Host", "Upgrade", "Connection"];

/// What stands behind one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The endpoint, as its probe is called.
    pub endpoint: Arc<str>,
    /// The peers in the order of the configuration.
    pub peers: Vec<Behind>,
}

/// One peer, and the request that nginx would send it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Behind {
    /// `10.0.0.7:8080` or `unix:/run/app.sock`, as the configuration writes it.
    pub address: String,
    /// The unix socket as it is found from here, where it is one.
    pub socket: Option<String>,
    /// `proxy_pass` says https.
    pub tls: bool,
    /// The path that nginx asks for, without the query; `None` when that cannot be told.
    pub path: Option<String>,
    /// The `Host` header; the client's own when it cannot be told.
    pub host: String,
    /// Other `proxy_set_header` lines whose value can be told.
    pub headers: Vec<(String, String)>,
    /// Headers that nginx takes out.
    pub left_out: Vec<String>,
}

/// The ways of all endpoints that are known to lead through this host's nginx.
#[must_use]
pub fn ways(model: &Model) -> Vec<Way> {
    // In another network namespace 127.0.0.1 is another machine.
    if model.master().is_some_and(|m| m.other_net) {
        return Vec::new();
    }
    let root = model.site.as_ref().and_then(|s| s.root.as_deref()).unwrap_or_default();
    let known = cases(model).into_iter().filter(|c| c.target.route == Route::Proxy && c.probe.last_ends.is_some());
    let leads = known.filter_map(|case| {
        let spot = case.spot?;
        let live = spot.location.peers.iter().filter(|p| !p.down).take(PEERS);
        let peers: Vec<Behind> = live.filter_map(|p| behind(&case, spot, p, root)).collect();
        (!peers.is_empty()).then(|| Way { endpoint: Arc::clone(&case.target.endpoint), peers })
    });
    leads.collect()
}

fn behind(case: &Case<'_>, spot: Spot<'_>, peer: &Peer, root: &str) -> Option<Behind> {
    let pass = spot.location.proxy_pass.as_ref()?;
    let asked = Url::read(&case.target.url)?;
    let values = Values { client: sent_host(&case.probe.request), url: &asked, spot, pass: &pass.value };
    // What cannot be told is taken to be what the client sent.
    let host = match spot.location.header("host") {
        Some(h) => values.filled(&h.value),
        None => values.of("proxy_host"),
    };
    let mut headers = Vec::new();
    let mut left_out = Vec::new();
    for h in &spot.location.headers {
        let handshake = h.name.get(..13).is_some_and(|n| n.eq_ignore_ascii_case("sec-websocket"));
        if handshake || OWN.iter().any(|own| own.eq_ignore_ascii_case(&h.name)) {
            continue;
        }
        match h.for_websocket.clone().or_else(|| values.filled(&h.value)) {
            Some(value) if value.is_empty() => left_out.push(h.name.clone()),
            Some(value) => headers.push((h.name.clone(), value)),
            None => {}
        }
    }
    Some(Behind {
        address: peer.address.clone(),
        socket: peer.address.strip_prefix("unix:").map(|path| format!("{root}{path}")),
        tls: pass.value.starts_with("https:"),
        path: passed_path(spot.location, asked.path),
        host: host.filter(|h| !h.is_empty()).unwrap_or_else(|| values.client_host()),
        headers,
        left_out,
    })
}

/// `proxy_pass` in two: up to the host and port, and the URI behind them, which may be empty (`ngx_http_proxy_pass`).
pub(super) fn split_pass(value: &str) -> Option<(&str, &str)> {
    let start = value.find("://")? + 3;
    let rest = value.get(start..)?;
    let end = match rest.strip_prefix("unix:") {
        // The colon behind the socket's path belongs to neither half, but a URI cannot do without it.
        Some(path) => path.find(':').map(|i| "unix:".len() + i + 1),
        None => rest.find('/'),
    };
    Some(value.split_at(start + end.unwrap_or(rest.len())))
}

/// The path that the backend is asked for (`ngx_http_proxy_create_request`): the URI of `proxy_pass` replaces the
/// location's prefix. `None` where variables or a `rewrite` decide.
pub(super) fn passed_path(location: &Location, path: &str) -> Option<String> {
    let pass = location.proxy_pass.as_ref().filter(|p| !p.value.contains('$') && location.rewrite.is_none())?;
    let (_, uri) = split_pass(&pass.value)?;
    Some(match path.strip_prefix(&location.path) {
        Some(rest) if !uri.is_empty() => format!("{uri}{rest}"),
        _ => path.to_owned(),
    })
}

/// The values of the variables that stand in `proxy_set_header` lines.
struct Values<'a> {
    client: Option<&'a str>,
    url: &'a Url<'a>,
    spot: Spot<'a>,
    pass: &'a str,
}

impl Values<'_> {
    /// A text with its variables filled in; `None` when one of them is not known.
    fn filled(&self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let (name, tail) = match after.strip_prefix('{') {
                Some(braced) => braced.split_once('}')?,
                None => after.split_at(after.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()),
            };
            out.push_str(&self.of(name)?);
            rest = tail;
        }
        out.push_str(rest);
        Some(out)
    }

    fn of(&self, name: &str) -> Option<String> {
        match name {
            // The Host header as the client sent it.
            "http_host" => Some(self.client_host()),
            // Without its port and in lower case (`ngx_http_validate_host`).
            "host" => Some(without_port(&self.client_host()).to_ascii_lowercase()),
            "proxy_host" => self.proxy_host(),
            "scheme" => Some(if self.url.tls { "https" } else { "http" }.to_owned()),
            "server_port" => Some(self.url.port.to_string()),
            "server_name" => self.spot.server.names.first().filter(|n| !n.starts_with(['~', '*', '.'])).cloned(),
            _ => None,
        }
    }

    /// As sent, or as a probe sends it: without the scheme's own port.
    fn client_host(&self) -> String {
        let whole = || {
            let peer = self.url.peer();
            let usual = if self.url.tls { ":443" } else { ":80" };
            peer.strip_suffix(usual).map(str::to_owned).unwrap_or(peer)
        };
        self.client.map_or_else(whole, str::to_owned)
    }

    /// Host and port as `proxy_pass` writes them, without the scheme's own port; a unix socket is `localhost`
    /// (`ngx_http_proxy_set_vars`).
    fn proxy_host(&self) -> Option<String> {
        let (base, _) = split_pass(self.pass).filter(|_| !self.pass.contains('$'))?;
        let (scheme, authority) = base.split_once("://")?;
        let usual = if scheme == "https" { ":443" } else { ":80" };
        if authority.starts_with("unix:") {
            return Some("localhost".to_owned());
        }
        Some(authority.strip_suffix(usual).unwrap_or(authority).to_owned())
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_pass_is_split_where_nginx_splits_it() {
        let cases = [
            ("http://a:80", ("http://a:80", "")),
            ("http://a/", ("http://a", "/")),
            ("https://a:1/b/c", ("https://a:1", "/b/c")),
            ("http://unix:/run/a.sock", ("http://unix:/run/a.sock", "")),
            ("http://unix:/run/a.sock:/x/", ("http://unix:/run/a.sock:", "/x/")),
        ];
        for (value, want) in cases {
            assert_eq!(split_pass(value), Some(want), "{value}");
        }
        assert_eq!(split_pass("app"), None);
    }

    #[test]
    fn a_port_is_told_from_an_address() {
        let cases = [("A.test:81", "A.test"), ("a.test", "a.test"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]")];
        for (host, want) in cases {
            assert_eq!(without_port(host), want);
        }
    }
}
