//! The opening request (RFC 6455 section 4.1): its bytes, and its text without secrets.

use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::options::ProbeOptions;
use super::redact;
use super::url::WsUrl;
use crate::human::visible;

/// One opening request.
pub(super) struct Request {
    target: String,
    version: &'static str,
    headers: Vec<(String, String)>,
    extensions: Vec<String>,
}

impl Request {
    /// The request for `url`. A header of the options replaces ours of the same name, so that every fault can be tried.
    pub(super) fn new(url: &WsUrl, options: &ProbeOptions) -> Self {
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let host = options.host_header.clone().unwrap_or_else(|| url.authority());
        let mut headers = vec![
            own("Host", &host),
            own("Upgrade", "websocket"),
            own("Connection", "Upgrade"),
            own("Sec-WebSocket-Version", "13"),
            own("Sec-WebSocket-Key", &generate_key()),
        ];
        if let Some(origin) = &options.origin {
            headers.push(own("Origin", origin));
        }
        if !options.subprotocols.is_empty() {
            headers.push(own("Sec-WebSocket-Protocol", &options.subprotocols.join(", ")));
        }
        if !options.extensions.is_empty() {
            headers.push(own("Sec-WebSocket-Extensions", &options.extensions.join(", ")));
        }
        headers.push(own("User-Agent", concat!("wspulse/", env!("CARGO_PKG_VERSION"))));
        let ours = headers.len();
        for (name, value) in &options.headers {
            let same = headers.iter_mut().take(ours).find(|(n, _)| n.eq_ignore_ascii_case(name));
            match same {
                Some(header) => *header = (name.clone(), value.clone()),
                None => headers.push((name.clone(), value.clone())),
            }
        }
        headers.retain(|(name, _)| !options.left_out.iter().any(|out| out.eq_ignore_ascii_case(name)));
        let version = if options.http_1_0 { "HTTP/1.0" } else { "HTTP/1.1" };
        Self { target: url.target().to_owned(), version, headers, extensions: options.extensions.clone() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The `Sec-WebSocket-Accept` that proves the server read this request.
    pub(super) fn accept(&self) -> String {
        derive_accept_key(self.header("Sec-WebSocket-Key").unwrap_or_default().as_bytes())
    }

    /// The subprotocols offered.
    pub(super) fn offered(&self) -> Vec<&str> {
        let list = self.header("Sec-WebSocket-Protocol").unwrap_or_default();
        list.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
    }

    /// The extension that an answer names, without its parameters, was offered. One that only a header of the options offers
    /// counts as not offered: its tunnel would be held, and its frames not understood.
    pub(super) fn offers_extension(&self, name: &str) -> bool {
        let bare = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        self.extensions.iter().any(|offered| bare(offered) == bare(name))
    }

    /// The bytes to send. Line breaks within a value are taken out: no option can add a line to the request.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("GET {} {}\r\n", self.target, self.version);
        for (name, value) in &self.headers {
            text.extend([name, ": ", value].into_iter().flat_map(str::chars).filter(|c| !matches!(c, '\r' | '\n')));
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// The request as it may be shown, one line a header.
    pub(super) fn shown(&self) -> String {
        let mut text = format!("GET {} {}", redact::query(&self.target), self.version);
        for (name, value) in &self.headers {
            let value = redact::header_value(name, value);
            text.push('\n');
            text.push_str(&visible(format!("{name}: {value}").as_bytes()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str, options: &ProbeOptions) -> (String, String) {
        let r = Request::new(&WsUrl::parse(url).unwrap(), options);
        (String::from_utf8(r.bytes()).unwrap(), r.shown())
    }

    #[test]
    fn the_request_is_a_full_opening_handshake() {
        let (sent, shown) = request("ws://a.test:8080/ws?x=1", &ProbeOptions::default());
        let version = concat!("User-Agent: wspulse/", env!("CARGO_PKG_VERSION"), "\r\n\r\n");
        assert!(
            sent.starts_with(
                "GET /ws?x=1 HTTP/1.1\r\nHost: a.test:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            )
        );
        assert!(sent.ends_with(version), "{sent}");
        assert!(sent.contains("\r\nSec-WebSocket-Version: 13\r\n"));
        assert_eq!(shown, sent.trim_end().replace("\r\n", "\n"), "nothing secret, nothing hidden");
    }

    #[test]
    fn keys_are_fresh_and_given_headers_win() {
        let plain = ProbeOptions::default();
        assert_ne!(request("ws://a/", &plain).0, request("ws://a/", &plain).0);
        let options = ProbeOptions {
            headers: vec![
                ("host".into(), "b.test".into()),
                ("Sec-WebSocket-Key".into(), "dGhlIHNhbXBsZSBub25jZQ==".into()),
                ("X-A".into(), "1\r\nX-B: 2".into()),
                ("X-A".into(), "3".into()),
            ],
            origin: Some("https://a.test".into()),
            subprotocols: vec!["chat".into(), "log".into()],
            ..plain
        };
        let r = Request::new(&WsUrl::parse("ws://a.test/").unwrap(), &options);
        assert_eq!(r.accept(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "RFC 6455 section 1.3");
        assert_eq!(r.offered(), ["chat", "log"]);
        let sent = String::from_utf8(r.bytes()).unwrap();
        assert!(sent.contains("\r\nhost: b.test\r\n") || sent.contains("GET / HTTP/1.1\r\nhost: b.test\r\n"));
        assert!(!sent.contains("a.test\r\nUpgrade"), "{sent}");
        assert!(sent.contains("\r\nX-A: 1X-B: 2\r\nX-A: 3\r\n"), "{sent}");
    }

    #[test]
    fn secrets_are_sent_but_not_shown() {
        let headers = vec![("Authorization".into(), "Bearer s3cret".into()), ("Cookie".into(), "a=s3cret".into())];
        let options = ProbeOptions { headers, ..ProbeOptions::default() };
        let (sent, shown) = request("ws://a.test/?token=s3cret", &options);
        assert_eq!(sent.matches("s3cret").count(), 3);
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("Authorization: Bearer ***"));
    }
}
