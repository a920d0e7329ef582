//! The forms of `listen`: port, address:port, [v6]:port, unix:path, host.

use std::net::{IpAddr, Ipv4Addr};

use super::include::Node;
use crate::event::site::Listen;

/// `listen 8000-8999` opens one socket a port; a wider range is cut.
const MAX_RANGE: usize = 1024;

/// Why a `listen` line gives no socket.
pub(super) enum Wrong {
    /// nginx would refuse it.
    Refused(String),
    /// nginx knows more than we do.
    Unclear(String),
}

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Self::Refused(why)
    }
}

/// The sockets of one `listen` line, and what is wrong with it. A `quic` line opens none that a WebSocket could use.
pub(super) fn listen(node: &Node) -> Result<Vec<Listen>, Wrong> {
    let address = node.arg(0).ok_or_else(|| "\"listen\" takes an address".to_owned())?;
    let mut template = Listen { place: node.place.clone(), ..Listen::default() };
    for word in node.args().iter().skip(1) {
        match word.text.as_str() {
            "ssl" => template.tls = true,
            "http2" => template.http2 = true,
            "proxy_protocol" => template.proxy_protocol = true,
            "default_server" | "default" => template.default_server = true,
            "quic" => return Ok(Vec::new()),
            other => {
                if let Some(n) = other.strip_prefix("backlog=") {
                    template.backlog = Some(n.parse().map_err(|_| format!("invalid backlog \"{n}\""))?);
                }
            }
        }
    }
    if let Some(path) = address.strip_prefix("unix:") {
        return Ok(vec![Listen { unix: Some(path.to_owned()), ..template }]);
    }
    let (host, ports) = split(address)?;
    template.ip = host.map(ip).transpose()?.flatten();
    let (first, last) = ports;
    Ok((first..=last).take(MAX_RANGE).map(|port| Listen { port: Some(port), ..template.clone() }).collect())
}

/// nginx's own socket for a server without a `listen` (as root; 8000 otherwise).
pub(super) fn default(server: &Node) -> Listen {
    Listen { place: server.place.clone(), port: Some(80), ..Listen::default() }
}

type Ports = (u16, u16);

/// The host, if there is one, and the first and last port.
fn split(address: &str) -> Result<(Option<&str>, Ports), String> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or_else(|| format!("invalid address \"{address}\""))?;
        return match after.strip_prefix(':') {
            Some(p) => Ok((Some(host), ports(p)?)),
            None if after.is_empty() => Ok((Some(host), (80, 80))),
            None => Err(format!("invalid address \"{address}\"")),
        };
    }
    if let Some((host, p)) = address.rsplit_once(':') {
        return Ok((Some(host), ports(p)?));
    }
    match ports(address) {
        Ok(p) => Ok((None, p)),
        Err(why) if address.bytes().all(|b| b.is_ascii_digit()) => Err(why),
        Err(_) => Ok((Some(address), (80, 80))),
    }
}

fn ports(text: &str) -> Result<Ports, String> {
    let one = |t: &str| t.parse::<u16>().ok().filter(|p| *p > 0).ok_or_else(|| format!("invalid port in \"{text}\""));
    match text.split_once('-') {
        Some((first, last)) => Ok((one(first)?, one(last)?)),
        None => one(text).map(|p| (p, p)),
    }
}

/// `None` for all IPv4 addresses.
fn ip(host: &str) -> Result<Option<IpAddr>, Wrong> {
    if host == "*" || host == "0.0.0.0" {
        return Ok(None);
    }
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
    let unclear = || Wrong::Unclear(format!("the listen address \"{host}\" is a name, which is not looked up here"));
    host.parse().map(Some).map_err(|_| unclear())
}
