//! What is said on the way to a server before TLS: the PROXY protocol header, and CONNECT to an HTTP proxy.

use std::net::{IpAddr, SocketAddr};

use data_encoding::BASE64;

use super::options::{HttpProxy, ProxyProtocol};

/// The PROXY protocol header for a connection from `local` to `peer`; without addresses (a unix socket) it says that they
/// are not known (haproxy's doc/proxy-protocol.txt, sections 2.1 and 2.2).
pub(super) fn proxy_header(version: ProxyProtocol, ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    match version {
        ProxyProtocol::V1 => v1(ends),
        ProxyProtocol::V2 => v2(ends),
    }
}

fn v1(ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let Some((from, to)) = ends else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port()).into_bytes()
}

const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY; and LOCAL, which carries no addresses.
const PROXY: u8 = 0x21;
const LOCAL: u8 = 0x20;
/// TCP over IPv4; and over IPv6.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

fn v2(ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let mut out = V2_SIGNATURE.to_vec();
    let Some((from, to)) = ends else {
        out.extend([LOCAL, 0, 0, 0]);
        return out;
    };
    let mut addresses = Vec::new();
    let family = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            addresses.extend(from.octets());
            addresses.extend(to.octets());
            TCP4
        }
        (from, to) => {
            addresses.extend(six(from));
            addresses.extend(six(to));
            TCP6
        }
    };
    addresses.extend(from.port().to_be_bytes());
    addresses.extend(to.port().to_be_bytes());
    // 12 or 36 bytes.
    let length = u16::try_from(addresses.len()).unwrap_or_default();
    out.extend([PROXY, family]);
    out.extend(length.to_be_bytes());
    out.extend(addresses);
    out
}

fn six(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The request that asks `proxy` for a way to `host_port` (RFC 9110 section 9.3.6).
pub(super) fn connect_request(proxy: &HttpProxy, host_port: &str) -> Vec<u8> {
    let auth =
        proxy.credentials.as_ref().map(|c| format!("Proxy-Authorization: Basic {}\r\n", BASE64.encode(c.as_bytes())));
    format!("CONNECT {host_port} HTTP/1.1\r\nHost: {host_port}\r\n{}\r\n", auth.unwrap_or_default()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(from: &str, to: &str) -> (SocketAddr, SocketAddr) {
        (from.parse().unwrap(), to.parse().unwrap())
    }

    #[test]
    fn version_1_is_a_line() {
        let text = |e| String::from_utf8(proxy_header(ProxyProtocol::V1, e)).unwrap();
        assert_eq!(text(Some(ends("10.0.0.1:5", "10.0.0.2:80"))), "PROXY TCP4 10.0.0.1 10.0.0.2 5 80\r\n");
        assert_eq!(text(Some(ends("[::1]:5", "[::2]:80"))), "PROXY TCP6 ::1 ::2 5 80\r\n");
        assert_eq!(text(None), "PROXY UNKNOWN\r\n");
    }

    #[test]
    fn version_2_is_binary() {
        let four = proxy_header(ProxyProtocol::V2, Some(ends("10.0.0.1:5", "10.0.0.2:80")));
        assert_eq!(four.len(), 28);
        assert_eq!(four[12..16], [0x21, 0x11, 0, 12]);
        assert_eq!(four[16..], [10, 0, 0, 1, 10, 0, 0, 2, 0, 5, 0, 80]);
        let six = proxy_header(ProxyProtocol::V2, Some(ends("[::1]:5", "[::2]:80")));
        assert_eq!((six.len(), &six[12..16]), (52, &[0x21, 0x21, 0, 36][..]));
        assert_eq!(proxy_header(ProxyProtocol::V2, None).len(), 16);
    }

    #[test]
    fn a_proxy_is_asked_with_credentials_where_there_are_some() {
        let proxy = HttpProxy::parse("http://a:b@p.test:3128").unwrap();
        let asked = String::from_utf8(connect_request(&proxy, "h.test:443")).unwrap();
        let wanted = "CONNECT h.test:443 HTTP/1.1\r\nHost: h.test:443\r\nProxy-Authorization: Basic YTpi\r\n\r\n";
        assert_eq!(asked, wanted);
    }
}
