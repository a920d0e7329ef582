//! Reading the head of an HTTP/1.1 message: bounded, whole, and owned.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest head that is read (nginx: `large_client_header_buffers` 8k, `proxy_buffer_size` 4k or 8k).
const MAX_HEAD: usize = 8192;
const MAX_FIELDS: usize = 64;

/// Why no head came.
#[derive(Debug)]
pub(super) enum NoHead {
    /// The peer closed before the first byte.
    Closed,
    /// The peer closed in the middle.
    Cut,
    /// It is longer than 8 KiB, or no HTTP/1.x.
    Bad,
    /// The socket failed.
    Io(io::Error),
}

/// The bytes of a head with its blank line, and what came after it in the same read.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) head: Vec<u8>,
    pub(super) rest: Vec<u8>,
}

/// Header fields in order, names as received.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(pub(super) Vec<(String, Vec<u8>)>);

impl Fields {
    /// The first value of `name`, without regard to case.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_slice())
    }

    /// Whether the comma list `name` has `token`, without regard to case (RFC 9110 section 5.6.1).
    pub(super) fn has_token(&self, name: &str, token: &str) -> bool {
        self.0
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .flat_map(|(_, v)| v.split(|&b| b == b','))
            .any(|t| t.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }
}

/// A request's head.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// `GET /ws HTTP/1.1`, without the line end.
    pub(super) line: Vec<u8>,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) fields: Fields,
    /// The length of the head in bytes.
    pub(super) length: u64,
}

impl Request {
    /// Reads the bytes of a head; `None` when they are no HTTP/1.x request.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut slots);
        parsed.parse(head).ok().filter(httparse::Status::is_complete)?;
        Some(Self {
            line: first_line(head),
            method: parsed.method?.to_owned(),
            target: parsed.path?.to_owned(),
            fields: owned(parsed.headers),
            length: head.len() as u64,
        })
    }

    /// The target without its query.
    pub(super) fn path(&self) -> &str {
        self.target.split(['?', '#']).next().unwrap_or_default()
    }
}

/// A response's head.
#[derive(Clone, Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) fields: Fields,
}

impl Response {
    /// Reads the bytes of a head; `None` when they are no HTTP/1.x response.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Response::new(&mut slots);
        parsed.parse(head).ok().filter(httparse::Status::is_complete)?;
        Some(Self {
            status: parsed.code?,
            reason: parsed.reason.unwrap_or_default().to_owned(),
            fields: owned(parsed.headers),
        })
    }
}

fn owned(fields: &[httparse::Header<'_>]) -> Fields {
    Fields(fields.iter().map(|h| (h.name.to_owned(), h.value.to_vec())).collect())
}

/// The first line of a head without its line end.
pub(super) fn first_line(head: &[u8]) -> Vec<u8> {
    head.split(|&b| matches!(b, b'\r' | b'\n')).next().unwrap_or_default().to_vec()
}

/// Reads until the blank line.
///
/// # Errors
/// Why there is no head. What came of it so far is left in `read`, for the log.
pub(super) async fn read_head<S: AsyncRead + Unpin>(stream: &mut S, read: &mut Vec<u8>) -> Result<Raw, NoHead> {
    loop {
        if let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            return Ok(Raw { head: std::mem::take(read), rest });
        }
        if read.len() >= MAX_HEAD {
            return Err(NoHead::Bad);
        }
        let mut chunk = [0; 1024];
        match stream.read(&mut chunk).await {
            Ok(0) if read.is_empty() => return Err(NoHead::Closed),
            Ok(0) => return Err(NoHead::Cut),
            Ok(n) => read.extend_from_slice(chunk.get(..n).unwrap_or_default()),
            Err(e) => return Err(NoHead::Io(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"GET /ws?a=1 HTTP/1.1\r\nHost: demo.test\r\nConnection: keep-alive, Upgrade\r\n\r\n";

    #[tokio::test]
    async fn a_head_in_pieces_is_whole_and_the_rest_is_kept() {
        let (mut near, mut far) = tokio::io::duplex(16);
        let sender = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt as _;
            far.write_all(HEAD).await.expect("room");
            far.write_all(b"rest").await.expect("room");
        });
        let raw = read_head(&mut near, &mut Vec::new()).await.expect("a head");
        assert_eq!(raw.head, HEAD);
        assert!(b"rest".starts_with(&raw.rest));
        drop(near);
        let _ = sender.await;
    }

    #[tokio::test]
    async fn an_end_before_the_blank_line_is_told_from_silence() {
        let mut read = Vec::new();
        assert!(matches!(read_head(&mut &b""[..], &mut read).await, Err(NoHead::Closed)));
        assert!(matches!(read_head(&mut &b"GET /w"[..], &mut read).await, Err(NoHead::Cut)));
        assert_eq!(read, b"GET /w");
        assert!(matches!(read_head(&mut &[b'a'; 9_000][..], &mut Vec::new()).await, Err(NoHead::Bad)));
    }

    #[test]
    fn tokens_are_found_in_lists_whatever_their_case() {
        let request = Request::parse(HEAD).expect("a request");
        assert!(request.fields.has_token("connection", "upgrade"));
        assert!(!request.fields.has_token("connection", "close"));
        assert_eq!((request.path(), request.line.as_slice()), ("/ws", &b"GET /ws?a=1 HTTP/1.1"[..]));
        assert!(Request::parse(b"\x16\x03\x01 hello\r\n\r\n").is_none());
    }
}
