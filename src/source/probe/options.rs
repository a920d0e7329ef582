//! How a probe dials, asks and holds: plain data with defaults, and the readers of its command-line forms.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use data_encoding::BASE64;

use super::dialogue::Question;
use super::heartbeat::Rhythm;
use super::url::{Host, WsUrl};
use crate::event::probe::Cadence;
use crate::human::{parse_span, visible};

/// How one target is probed.
#[derive(Clone, PartialEq, Eq)]
pub struct ProbeOptions {
    /// From ping to ping; the first goes at once.
    pub ping_interval: Duration,
    /// No pings are sent at all.
    pub silent: bool,
    /// A pong that takes longer is missed.
    pub ping_timeout: Duration,
    /// Missed pongs in a row after which the tunnel is given up.
    pub give_up_after: u32,
    /// Bounds the resolving of the name, and the connect to all its addresses together.
    pub connect_timeout: Duration,
    /// Bounds the TLS handshake, and from the request to the end of the answer's header.
    pub handshake_timeout: Duration,
    /// Bounds all phases of one attempt together.
    pub total_timeout: Duration,
    /// A heartbeat of messages beside the pings, as often and with the same patience.
    pub question: Option<Question>,
    /// More headers; one that the handshake sends anyway replaces it.
    pub headers: Vec<(String, String)>,
    /// The `Origin` that a browser would send.
    pub origin: Option<String>,
    /// Subprotocols to offer, most wanted first.
    pub subprotocols: Vec<String>,
    /// Another `Host` than the URL's own host and port.
    pub host_header: Option<String>,
    /// A PEM file of more trusted certificates.
    pub cacert: Option<PathBuf>,
    /// Our own certificate for servers that ask for one.
    pub client_cert: Option<ClientCert>,
    /// Dials on whatever certificate the server shows; it is recorded all the same.
    pub insecure: bool,
    /// Addresses to use instead of the resolver's.
    pub resolve: Vec<ResolveOverride>,
    /// Headers of the handshake, by name, that are not sent.
    pub left_out: Vec<String>,
    /// Ask in HTTP/1.0, which knows no upgrade.
    pub http_1_0: bool,
    /// Extensions to offer (RFC 6455 section 9.1). A tunnel that takes one up cannot be held: no frame is unpacked.
    pub extensions: Vec<String>,
    /// The protocols offered by ALPN (RFC 7301).
    pub alpn: Vec<String>,
    /// A unix socket to connect to instead of the URL's host.
    pub unix_socket: Option<PathBuf>,
    /// The PROXY protocol header to send first.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The HTTP proxy to go through.
    pub http_proxy: Option<HttpProxy>,
}

/// The versions of the PROXY protocol (haproxy's doc/proxy-protocol.txt).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// An HTTP proxy that opens ways by CONNECT.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpProxy {
    /// Its host.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// `user:password`, a secret.
    pub credentials: Option<String>,
}

impl HttpProxy {
    /// Reads `http://[USER:PASSWORD@]HOST:PORT` or `HOST:PORT`.
    ///
    /// # Errors
    /// One sentence that names the right form; what was typed is not repeated, it may hold a password.
    pub fn parse(text: &str) -> Result<Self, OptionError> {
        let rest = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let (credentials, address) = match rest.rsplit_once('@') {
            Some((credentials, address)) => (Some(credentials.to_owned()), address),
            None => (None, rest),
        };
        // The reader of URLs knows hosts, ports and brackets; the port must be there, because proxies have no usual one.
        let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let url = WsUrl::parse(&format!("ws://{address}/")).ok().filter(|_| has_port && !address.contains('/'));
        let clean = credentials.as_deref().is_none_or(|c| !c.chars().any(char::is_control));
        let url = url.filter(|_| clean).ok_or(OptionError::HttpProxy)?;
        Ok(Self { host: url.host().clone(), port: url.port(), credentials })
    }

    /// Its host and port.
    #[must_use]
    pub fn host_port(&self) -> String {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => format!("[{ip}]:{}", self.port),
            host => format!("{host}:{}", self.port),
        }
    }
}

/// Without the password.
impl fmt::Debug for HttpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host_port())
    }
}

/// A client certificate in PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCert {
    /// The certificate and its intermediates.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(15),
            silent: false,
            ping_timeout: Duration::from_secs(10),
            give_up_after: 3,
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_secs(30),
            question: None,
            headers: Vec::new(),
            origin: None,
            subprotocols: Vec::new(),
            host_header: None,
            cacert: None,
            client_cert: None,
            insecure: false,
            resolve: Vec::new(),
            left_out: Vec::new(),
            http_1_0: false,
            extensions: Vec::new(),
            alpn: vec!["http/1.1".to_owned()],
            unix_socket: None,
            proxy_protocol: None,
            http_proxy: None,
        }
    }
}

/// Without the headers' values, which may be secrets.
impl fmt::Debug for ProbeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ProbeOptions")
            .field("headers", &names)
            .field("origin", &self.origin)
            .field("host_header", &self.host_header)
            .field("insecure", &self.insecure)
            .field("resolve", &self.resolve)
            .finish_non_exhaustive()
    }
}

impl ProbeOptions {
    /// How its tunnels are pinged.
    #[must_use]
    pub fn rhythm(&self) -> Rhythm {
        let interval = (!self.silent).then_some(self.ping_interval);
        Rhythm { interval, timeout: self.ping_timeout, give_up_after: self.give_up_after }
    }

    /// The same, held at another pace; messages of our own would break it.
    #[must_use]
    pub fn at_cadence(mut self, cadence: Cadence) -> Self {
        match cadence {
            Cadence::Silent => self.silent = true,
            Cadence::Every(pause) => self.ping_interval = pause,
        }
        self.question = None;
        self
    }

    /// The addresses that the options prescribe for `url`, if they do.
    #[must_use]
    pub fn prescribed(&self, url: &WsUrl) -> Option<Vec<SocketAddr>> {
        let of_url = |o: &&ResolveOverride| o.port == url.port() && o.fits(url.host());
        let found = self.resolve.iter().find(of_url)?;
        Some(found.addresses.iter().map(|ip| SocketAddr::new(*ip, url.port())).collect())
    }
}

/// `HOST:PORT:ADDR[,ADDR]...`, as curl's `--resolve` takes it: which addresses to dial for a host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveOverride {
    host: String,
    port: u16,
    addresses: Vec<IpAddr>,
}

/// Why a text from the command line is not understood, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// A wrong `--resolve`.
    #[error("'{0}' is no address override; write it as HOST:PORT:ADDR, as in example.test:443:127.0.0.1")]
    Resolve(String),
    /// A wrong `--header`. The value is not repeated: it may be a secret.
    #[error("the header '{0}' cannot be sent; write it as 'Name: value' on one line, the name without blanks")]
    Header(String),
    /// A `--header` without a colon: which part of it is a secret cannot be told.
    #[error("a header without a colon cannot be sent; write it as --header 'Name: value'")]
    NoColon,
    /// A wrong `--http-proxy`.
    #[error("--http-proxy: this is no HTTP proxy; write it as http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")]
    HttpProxy,
    /// A wrong `--expect`.
    #[error("--expect is no regular expression: {0}")]
    Expect(String),
    /// Pings without a pause, or pongs without time.
    #[error("{0} is too short; write at least 100ms")]
    TooShort(&'static str),
    /// A pace of `--cadence` that is none.
    #[error(
        "--cadence: '{0}' is no pace; write silent, or the time from ping to ping (100ms or more), as in silent,10s,50s"
    )]
    Cadence(String),
    /// Too many paces.
    #[error("--cadence: {0} paces are too many; each is a tunnel of its own, and at most 8 are held")]
    Cadences(usize),
    /// A wrong `--basic`.
    #[error("--basic wants USER:PASSWORD, without control characters")]
    Basic,
    /// A wrong `--subprotocol` (RFC 6455 section 4.1: a token).
    #[error("'{0}' is no subprotocol; use letters, digits and -._~!#$%&'*+^`| without spaces")]
    Subprotocol(String),
}

/// Paces that are held side by side at most.
const CADENCES: usize = 8;
/// The closest that the pings of one may follow each other.
const CLOSEST: Duration = Duration::from_millis(100);

/// A time of the heartbeat, for the option `name`.
///
/// # Errors
/// When it is shorter than 100 ms: such pings would be a load, and such a patience none.
pub fn heartbeat_time(name: &'static str, given: Duration) -> Result<Duration, OptionError> {
    if given >= CLOSEST { Ok(given) } else { Err(OptionError::TooShort(name)) }
}

/// Reads the paces of `--cadence`: `silent`, or the time from ping to ping. One that is named twice is held once.
///
/// # Errors
/// One sentence that names the word, or how many there are.
pub fn parse_cadences(words: &[String]) -> Result<Vec<Cadence>, OptionError> {
    let mut all = Vec::new();
    for word in words {
        let wrong = || OptionError::Cadence(visible(word.as_bytes()));
        let one = match word.trim() {
            "silent" => Cadence::Silent,
            word => Cadence::Every(parse_span(word).ok().filter(|d| *d >= CLOSEST).ok_or_else(wrong)?),
        };
        if !all.contains(&one) {
            all.push(one);
        }
    }
    if all.len() > CADENCES { Err(OptionError::Cadences(all.len())) } else { Ok(all) }
}

impl ResolveOverride {
    /// Reads `HOST:PORT:ADDR[,ADDR]...`; `*` is any host, IPv6 addresses may stand in brackets.
    ///
    /// # Errors
    /// One sentence that names the text and the right form.
    pub fn parse(text: &str) -> Result<Self, OptionError> {
        let wrong = || OptionError::Resolve(visible(text.as_bytes()));
        let (host, rest) = match text.strip_prefix('[').and_then(|t| t.split_once("]:")) {
            Some((inner, rest)) => (format!("[{inner}]"), rest),
            None => text.split_once(':').map(|(host, rest)| (host.to_owned(), rest)).ok_or_else(wrong)?,
        };
        let (port, addresses) = rest.split_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        let bare = |a: &str| a.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(a).parse::<IpAddr>();
        let addresses: Vec<IpAddr> = addresses.split(',').map(bare).collect::<Result<_, _>>().map_err(|_| wrong())?;
        if host.is_empty() { Err(wrong()) } else { Ok(Self { host, port, addresses }) }
    }

    fn fits(&self, host: &Host) -> bool {
        self.host == "*" || self.host.eq_ignore_ascii_case(&host.to_string())
    }
}

/// Whether `b` may stand in a token (RFC 9110 section 5.6.2).
fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// Reads `Name: value`.
///
/// # Errors
/// When the name is no token or the value holds a control character: such a line would change the whole request.
pub fn parse_header(text: &str) -> Result<(String, String), OptionError> {
    let (name, value) = text.split_once(':').ok_or(OptionError::NoColon)?;
    let (name, value) = (name.trim_end(), value.trim_matches([' ', '\t']));
    let name_ok = !name.is_empty() && name.bytes().all(is_token_byte);
    if name_ok && !value.chars().any(|c| c.is_control() && c != '\t') {
        Ok((name.to_owned(), value.to_owned()))
    } else {
        Err(OptionError::Header(visible(name.as_bytes())))
    }
}

/// The `Authorization` header for `USER:PASSWORD` (RFC 7617).
///
/// # Errors
/// When there is no colon, or a control character; what was typed is not repeated.
pub fn basic(text: &str) -> Result<(String, String), OptionError> {
    if !text.contains(':') || text.chars().any(char::is_control) {
        return Err(OptionError::Basic);
    }
    Ok(("Authorization".to_owned(), format!("Basic {}", BASE64.encode(text.as_bytes()))))
}

/// Reads the name of a subprotocol.
///
/// # Errors
/// When it is no token.
pub fn parse_subprotocol(text: &str) -> Result<String, OptionError> {
    if !text.is_empty() && text.bytes().all(is_token_byte) {
        Ok(text.to_owned())
    } else {
        Err(OptionError::Subprotocol(visible(text.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prescribed(overrides: &[&str], url: &str) -> Option<Vec<SocketAddr>> {
        let resolve = overrides.iter().map(|o| ResolveOverride::parse(o).expect(o)).collect();
        ProbeOptions { resolve, ..ProbeOptions::default() }.prescribed(&WsUrl::parse(url).unwrap())
    }

    #[test]
    fn overrides_fit_host_and_port() {
        let list = ["a.test:443:127.0.0.1,[::1]", "[2001:db8::1]:80:::1", "*:81:10.0.0.1"];
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(prescribed(&list, "wss://A.test/"), Some(vec![at("127.0.0.1:443"), at("[::1]:443")]));
        assert_eq!(prescribed(&list, "ws://[2001:db8::1]/"), Some(vec![at("[::1]:80")]));
        assert_eq!(prescribed(&list, "ws://b.test:81/"), Some(vec![at("10.0.0.1:81")]));
        assert_eq!(prescribed(&list, "ws://a.test/"), None);
        for wrong in
            ["", "a", "a:1", "a:1:", "a:x:127.0.0.1", ":1:127.0.0.1", "a:0:127.0.0.1", "a:1:b.test", "[::1:80:::1"]
        {
            assert!(ResolveOverride::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn paces_are_read_and_each_is_held_once() {
        let read = |words: &str| parse_cadences(&words.split(',').map(str::to_owned).collect::<Vec<_>>());
        let shown = |all: Vec<Cadence>| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            read("silent,10s, 50s,1m,60s,1500ms").map(shown).unwrap(),
            ["silent", "10s", "50s", "60s", "1500ms"]
        );
        for wrong in ["", "quiet", "10s,", "0s", "10ms", "-1s", "1s,2s,3s,4s,5s,6s,7s,8s,9s"] {
            let said = read(wrong).expect_err(wrong).to_string();
            assert!(said.starts_with("--cadence:"), "{said}");
        }
    }

    #[test]
    fn basic_credentials_become_a_header() {
        assert_eq!(basic("a:b").unwrap().1, "Basic YTpi");
        assert!(basic("nocolon").is_err());
        assert!(basic("a:b\r\nX: y").is_err());
    }

    #[test]
    fn http_proxies_are_read_and_their_passwords_never_shown() {
        let proxy = HttpProxy::parse("http://me:s3cret@proxy.test:3128").unwrap();
        assert_eq!((proxy.host_port().as_str(), proxy.credentials.as_deref()), ("proxy.test:3128", Some("me:s3cret")));
        assert!(!format!("{proxy:?}").contains("s3cret"));
        assert_eq!(HttpProxy::parse("[::1]:3128").unwrap().host_port(), "[::1]:3128");
        for wrong in ["", "proxy.test", "https://proxy.test:1", "http://u:s3cret@:3128", "a:b/c", "a:0", "x\n@a:1"] {
            let said = HttpProxy::parse(wrong).expect_err(wrong).to_string();
            assert!(!said.contains("s3cret"));
        }
    }

    #[test]
    fn a_header_cannot_smuggle_a_line() {
        assert_eq!(parse_header("X-A:  b c "), Ok(("X-A".into(), "b c".into())));
        assert_eq!(parse_header("Cookie:"), Ok(("Cookie".into(), String::new())));
        for wrong in ["", ":", "no colon", "a b: c", "a: b\r\nc: d", "a: b\0", "\r\na: b"] {
            let said = parse_header(wrong).expect_err(wrong).to_string();
            assert!(!said.contains('\n'), "{said}");
        }
        assert!(parse_subprotocol("chat.v2").is_ok());
        assert!(parse_subprotocol("a, b").is_err());
        assert!(parse_subprotocol("").is_err());
    }
}
