//! Heads as nginx writes them: the request to the backend, the answer to the client, and its own error pages. Pure.

use std::net::SocketAddr;

use super::head::{Request, Response};
use super::routes::{Route, SERVER_NAME};

/// The request as nginx writes it to the backend: the `proxy_set_header` lines in force (or the built-in `Host` and
/// `Connection: close`, which take the upgrade away), then the client's other fields (ngx_http_proxy_create_request).
pub(super) fn upstream_head(request: &Request, route: &Route, client: &str, to: SocketAddr) -> Vec<u8> {
    const NEVER_PASSED: [&str; 8] =
        ["host", "connection", "keep-alive", "upgrade", "te", "expect", "transfer-encoding", "content-length"];
    let upgrade = request.fields.get("upgrade").filter(|v| !v.is_empty());
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target).into_bytes();
    let mut field = |name: &str, value: &[u8]| {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    };
    if route.own_headers {
        field("X-Real-IP", client.as_bytes());
        field("Host", to.to_string().as_bytes());
        field("Connection", b"close");
    } else {
        field("Host", &host(request));
        if let Some(upgrade) = upgrade {
            field("Upgrade", upgrade);
        }
        field("Connection", if upgrade.is_some() { b"upgrade" } else { b"close" });
    }
    for (name, value) in &request.fields.0 {
        if !NEVER_PASSED.iter().any(|n| n.eq_ignore_ascii_case(name)) {
            field(name, value);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// `$host`: the Host header in lower case without its port, or the server's name.
fn host(request: &Request) -> Vec<u8> {
    let value = request.fields.get("host").unwrap_or(SERVER_NAME.as_bytes());
    value.split(|&b| b == b':').next().unwrap_or_default().to_ascii_lowercase()
}

/// The answer's head as nginx writes it to the client: its own `Server` and `Connection`, the backend's other fields.
pub(super) fn client_head(response: &Response, tunnel: bool) -> Vec<u8> {
    const OWN: [&str; 4] = ["server", "connection", "keep-alive", "date"];
    let connection = if tunnel { "upgrade" } else { "close" };
    let mut head =
        format!("HTTP/1.1 {} {}\r\nServer: nginx\r\nConnection: {connection}\r\n", response.status, response.reason)
            .into_bytes();
    for (name, value) in response.fields.0.iter().filter(|(n, _)| !OWN.iter().any(|o| o.eq_ignore_ascii_case(n))) {
        head.extend_from_slice(format!("{name}: ").as_bytes());
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// nginx's own error page: its head and its body.
pub(super) fn error_page(status: u16) -> (String, String) {
    let title = match status {
        400 => "400 Bad Request",
        404 => "404 Not Found",
        504 => "504 Gateway Time-out",
        _ => "502 Bad Gateway",
    };
    let body = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
         <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    );
    let head = format!(
        "HTTP/1.1 {title}\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    (head, body)
}

#[cfg(test)]
mod tests {
    use super::super::routes::route;
    use super::*;

    const HANDSHAKE: &[u8] = b"GET /ws?x=1 HTTP/1.1\r\nHost: DEMO.test:80\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: k\r\nOrigin: http://a\r\n\r\n";

    fn sent(path: &str) -> String {
        let request = Request::parse(HANDSHAKE).expect("a request");
        let to = SocketAddr::from(([127, 0, 0, 1], 19001));
        let head = upstream_head(&request, route(path).expect("a route"), "127.0.0.5", to);
        String::from_utf8(head).expect("ASCII in, ASCII out")
    }

    #[test]
    fn a_route_that_inherits_passes_the_upgrade_on() {
        assert_eq!(
            sent("/ws"),
            "GET /ws?x=1 HTTP/1.1\r\nHost: demo.test\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Key: k\r\nOrigin: http://a\r\n\r\n"
        );
    }

    #[test]
    fn a_route_with_a_header_of_its_own_loses_the_upgrade() {
        assert_eq!(
            sent("/chat"),
            "GET /ws?x=1 HTTP/1.1\r\nX-Real-IP: 127.0.0.5\r\nHost: 127.0.0.1:19001\r\nConnection: close\r\nSec-WebSocket-Key: k\r\nOrigin: http://a\r\n\r\n"
        );
    }

    #[test]
    fn the_backends_connection_header_is_replaced_and_the_rest_passed_on() {
        let backend =
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nSERVER: x\r\nUpgrade: websocket\r\n\r\n";
        let head = client_head(&Response::parse(backend).expect("a response"), true);
        assert_eq!(
            String::from_utf8_lossy(&head),
            "HTTP/1.1 101 Switching Protocols\r\nServer: nginx\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        );
    }
}
