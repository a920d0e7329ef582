//! The context behind a message, `, client: .. referrer: ".."`, of which a client may have written the larger part.
//!
//! nginx escapes nothing there (http/ngx_http_request.c, ngx_http_log_error), so a request line, a Host or a Referer can
//! hold text that looks like other fields. The rules by which the genuine ones are told from the forged:
//!
//! 1. The order is fixed: client, server, request, subrequest, upstream, host, referrer. A field that stands behind a
//!    later one is part of that one's text. So a Referer or a Host can forge nothing: they come last.
//! 2. A request line that nginx accepted ends in ` HTTP/1.1` (any version), and nothing but spaces may follow it before
//!    the line end: the first `HTTP/x.y"` is its true end. A line that nginx did *not* accept is logged while it is being
//!    read, and then no other field can follow: all the rest is the request line.
//! 3. A request line without a version that is followed by something like a field: HTTP/0.9, or a forged field in a path
//!    with spaces (nginx before 1.21.1). Nobody can tell, so the fields are left out.
//! 4. Before 1.21.1 a path of HTTP/2 could hold spaces, hence also `HTTP/2.0", upstream: "`. Where the end of such a
//!    request line is contested, only fields on which both readings agree are kept.
//! 5. A request line that decodes to something with fields can reach `upstream:` decoded (`proxy_pass http://b$uri`):
//!    then host and referrer are left out, and behind a subrequest upstream too.
//! 6. The message may quote a client as well (`open() "..."` has the decoded path). When a second context follows and
//!    the quoted text may hold the first, there is no telling, and the context is left out as a whole.

use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter, memchr2, memchr2_iter, memrchr};
use std::sync::LazyLock;

use super::skim::dotted;
use super::skim::eight::{after, position_of};

static CLIENT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b", client: "));
static UDP_CLIENT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b", udp client: "));
/// What both end in.
static CLIENT_WORD: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"client: "));

const SERVER: &[u8] = b", server: ";
const REQUEST: &[u8] = b", request: \"";
const SUBREQUEST: &[u8] = b", subrequest: \"";
const UPSTREAM: &[u8] = b", upstream: \"";
const HOST: &[u8] = b", host: \"";
const REFERRER: &[u8] = b", referrer: \"";
/// Of the stream module, behind `upstream:`.
const BYTES: &[u8] = b", bytes from/to client:";
/// Of the mail module: the name is quoted, the upstream behind it is not.
const LOGIN: &[u8] = b", login: \"";
const MAIL_UPSTREAM: &[u8] = b", upstream: ";

/// How far a line is searched for a second context: twice what nginx writes. Longer lines are not nginx's, and a line
/// full of contexts is not worth quadratic work.
const LOOK: usize = 4096;

/// The fields of one context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Context<'a> {
    pub client: Option<&'a [u8]>,
    pub server: Option<&'a [u8]>,
    pub request: Option<&'a [u8]>,
    pub subrequest: Option<&'a [u8]>,
    pub upstream: Option<&'a [u8]>,
    pub host: Option<&'a [u8]>,
    pub referrer: Option<&'a [u8]>,
    pub truncated: bool,
}

/// Parts `text` into the message with its suffixes and the context, which begins at `, client: ADDRESS`.
pub(super) fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(at) = start(text, 0) else { return (text, None) };
    let (body, context) = text.split_at(at);
    // The words of this context begin before its fourth byte; most lines hold them only once.
    let goes_on = |context: &[u8]| context.get(3..).is_some_and(is_mentioned);
    if may_hold_forged_context(body) && goes_on(context) && is_contested(body, context) {
        return (body, None);
    }
    (body, Some(context))
}

/// Where a context begins at or after `from`: the words and an address behind them.
fn start(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    for finder in [&*CLIENT, &*UDP_CLIENT] {
        for at in finder.find_iter(rest) {
            if client_address(&rest[at + finder.needle().len()..]).is_some() {
                return Some(from + at);
            }
        }
    }
    None
}

/// Whether the words that begin a context stand anywhere in `text`.
pub(super) fn is_mentioned(text: &[u8]) -> bool {
    CLIENT_WORD.find(text).is_some()
}

/// The address at the beginning of `text`, up to the comma or the end.
fn client_address(text: &[u8]) -> Option<&[u8]> {
    // Most are IPv4 addresses, which sixteen bytes tell at once.
    if let Some((_, length)) = dotted(text)
        && matches!(text.get(length), None | Some(b','))
    {
        return text.get(..length);
    }
    // A textual address is at most 46 bytes with its brackets; `unix:` stands for any unix socket.
    let head = &text[..text.len().min(80)];
    let field = &head[..memchr(b',', head).unwrap_or(head.len())];
    let address = field.strip_suffix(b" using starttls").unwrap_or(field);
    let textual = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b'.' | b':' | b'[' | b']' | b'%');
    (address.starts_with(b"unix:") || (!address.is_empty() && address.iter().all(textual))).then_some(address)
}

/// The message quotes something (rule 6).
fn may_hold_forged_context(body: &[u8]) -> bool {
    memchr(b'"', body).is_some()
}

/// A second context follows the first, and the message quotes a peer's words, or the second context's request line shows
/// that the first was sent percent-encoded in a path.
fn is_contested(body: &[u8], context: &[u8]) -> bool {
    let mut from = 1;
    let quotes_a_peer =
        [&b"client sent"[..], b"upstream sent", b"user \"", b"FastCGI sent"].iter().any(|p| body.starts_with(p));
    while let Some(at) = start(context, from) {
        if quotes_a_peer {
            return true;
        }
        let later = parse(context.get(at..at + LOOK).unwrap_or(&context[at..]), None);
        if later.request.is_some_and(|r| decodes_to(r, b", client: ")) {
            return true;
        }
        from = at + 1;
        if from > LOOK {
            return true;
        }
    }
    false
}

/// Reads the fields of `text`, which begins with `, client: ` or `, udp client: `.
pub(super) fn parse<'a>(text: &'a [u8], action: Option<&[u8]>) -> Context<'a> {
    if let Some((mut out, rest)) = ordinary(text).filter(|_| !is_request_being_read(action)) {
        behind_request(&mut out, rest);
        return out;
    }
    the_long_way(text, action)
}

/// The same for a context of any kind.
fn the_long_way<'a>(text: &'a [u8], action: Option<&[u8]>) -> Context<'a> {
    let mut out = Context::default();
    let Some(rest) = text.strip_prefix(b", client: ").or_else(|| text.strip_prefix(b", udp client: ")) else {
        return out;
    };
    let Some(address) = client_address(rest) else { return out };
    let field = memchr(b',', rest).unwrap_or(rest.len());
    let (_, rest) = rest.split_at(field);
    let Some(rest) = rest.strip_prefix(SERVER) else {
        // Without a server the line ended early, perhaps in the middle of the address.
        out.truncated = true;
        out.client = (!rest.is_empty()).then_some(address);
        return out;
    };
    out.client = Some(address);
    let (server, rest) = server(rest);
    out.server = Some(server);
    if let Some(text) = rest.strip_prefix(REQUEST) {
        with_request(&mut out, text, action);
    } else if let Some(text) = rest.strip_prefix(LOGIN) {
        mail_login(&mut out, text);
    } else if !rest.starts_with(UPSTREAM) && rest.starts_with(MAIL_UPSTREAM) {
        out.upstream = rest.strip_prefix(MAIL_UPSTREAM);
    } else {
        behind_request(&mut out, rest);
    }
    out
}

/// The beginning of an ordinary context, up to a request line of HTTP/1 that no rule doubts or to the end, and what follows.
/// It says what the long way says, which most lines need not go: such a request line ends at the first quote and holds
/// nothing percent-encoded.
fn ordinary(text: &[u8]) -> Option<(Context<'_>, &[u8])> {
    let rest = after(text, b", client: ")?;
    let (client, rest) = rest.split_at_checked(dotted(rest)?.1)?;
    let rest = after(rest, b", server: ")?;
    let (server, rest) = rest.split_at(position_of(rest, *b",").unwrap_or(rest.len()));
    let out = Context { client: Some(client), server: Some(server), ..Context::default() };
    if rest.is_empty() {
        return Some((out, rest));
    }
    let text = after(rest, b", request: \"")?;
    let (request, rest) = text.split_at_checked(position_of(text, *b"\"%")?)?;
    let rest = after(rest, b"\"")?;
    let is_whole = rest.is_empty() || after(rest, b", upstream: \"").or_else(|| after(rest, b", host: \"")).is_some();
    let is_accepted = matches!(request.last_chunk(), Some(b" HTTP/1.1" | b" HTTP/1.0"));
    (is_whole && is_accepted).then_some((Context { request: Some(request), ..out }, rest))
}

/// The line was written while nginx was reading the request line.
fn is_request_being_read(action: Option<&[u8]>) -> bool {
    matches!(action, Some(b"reading client request line" | b"reading client pipelined request line"))
}

/// The server's name runs to the next known field, whole or cut; it comes from the configuration and may be empty.
fn server(text: &[u8]) -> (&[u8], &[u8]) {
    let known = [REQUEST, SUBREQUEST, MAIL_UPSTREAM, HOST, REFERRER, LOGIN];
    let end = memchr_iter(b',', text).find(|&at| is_boundary(&text[at..], &known));
    text.split_at(end.unwrap_or(text.len()))
}

/// The fields from the request line on, by rules 2 to 5.
fn with_request<'a>(out: &mut Context<'a>, text: &'a [u8], action: Option<&[u8]>) {
    if is_request_being_read(action) {
        let closed = text.strip_suffix(b"\"");
        out.request = Some(closed.unwrap_or(text));
        out.truncated = closed.is_none();
        return;
    }
    let Some((request, rest)) = request_line(text, out) else { return };
    out.request = Some(request);
    behind_request(out, rest);
    if decodes_to_fields(request) {
        (out.host, out.referrer) = (None, None);
        if out.subrequest.is_some() {
            out.upstream = None;
        }
    }
    if !request.trim_ascii_end().ends_with(b"HTTP/1.1") && !request.trim_ascii_end().ends_with(b"HTTP/1.0") {
        keep_uncontested(out, text);
    }
}

/// The request line and what follows it; or `None` when only the request line can be told, which then is in `out`.
fn request_line<'a>(text: &'a [u8], out: &mut Context<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let mut first = None;
    for quote in memchr_iter(b'"', text) {
        let (request, rest) = (&text[..quote], &text[quote + 1..]);
        if !is_boundary(rest, &[SUBREQUEST, UPSTREAM, HOST, REFERRER]) {
            continue;
        }
        if ends_in_version(request) {
            return Some((request, rest));
        }
        first = first.or(Some((request, rest)));
    }
    (out.request, out.truncated) = first.map_or((Some(text), true), |(request, _)| (Some(request), false));
    None
}

/// Rule 4: reads the fields again behind the last possible end of the request line and keeps what both readings say.
fn keep_uncontested(out: &mut Context<'_>, text: &[u8]) {
    let last = memchr_iter(b'"', text).rfind(|&quote| {
        let rest = &text[quote + 1..];
        ends_in_version(&text[..quote]) && is_boundary(rest, &[SUBREQUEST, UPSTREAM, HOST, REFERRER])
    });
    let Some(last) = last.filter(|&at| Some(at) != out.request.map(<[u8]>::len)) else { return };
    let mut other = Context::default();
    behind_request(&mut other, &text[last + 1..]);
    out.subrequest = out.subrequest.filter(|_| out.subrequest == other.subrequest);
    out.upstream = out.upstream.filter(|_| out.upstream == other.upstream);
    out.host = out.host.filter(|_| out.host == other.host);
    out.referrer = out.referrer.filter(|_| out.referrer == other.referrer);
}

/// ` HTTP/1.1`, ` HTTP/2.0` and the like at the end, perhaps with spaces behind.
fn ends_in_version(request: &[u8]) -> bool {
    let request = request.trim_ascii_end();
    let Some(at) = request.len().checked_sub(9) else { return false };
    let tail = &request[at..];
    tail.starts_with(b" HTTP/") && tail[6].is_ascii_digit() && tail[7] == b'.' && tail[8].is_ascii_digit()
}

/// Behind a closing quote stands the end of the line, one of `keys`, or the beginning of one that was cut off.
fn is_boundary(rest: &[u8], keys: &[&[u8]]) -> bool {
    rest.is_empty() || keys.iter().any(|k| rest.starts_with(k) || (rest.len() < k.len() && k.starts_with(rest)))
}

/// The quoted fields that may follow the request line, each at most once and in nginx's order.
fn behind_request<'a>(out: &mut Context<'a>, mut rest: &'a [u8]) {
    if let Some(text) = rest.strip_prefix(SUBREQUEST) {
        (out.subrequest, rest) = quoted(text, &[UPSTREAM, HOST, REFERRER], out);
    }
    if let Some(text) = rest.strip_prefix(UPSTREAM) {
        let value;
        (value, rest) = quoted(text, &[HOST, REFERRER, BYTES], out);
        out.upstream = value.filter(|v| !out.truncated || has_whole_peer(v));
    }
    if let Some(text) = rest.strip_prefix(HOST) {
        let value;
        (value, rest) = quoted(text, &[REFERRER], out);
        out.host = value.filter(|_| !out.truncated);
    }
    if let Some(text) = rest.strip_prefix(REFERRER) {
        out.referrer = text.strip_suffix(b"\"");
        out.truncated |= out.referrer.is_none();
        return;
    }
    out.truncated |= !rest.is_empty() && !rest.starts_with(BYTES);
}

/// A value up to the first quote behind which a later field or the end of the line stands. A value without an end was
/// cut off: it takes all the rest.
fn quoted<'a>(text: &'a [u8], later: &[&[u8]], out: &mut Context<'_>) -> (Option<&'a [u8]>, &'a [u8]) {
    let mut from = 0;
    while let Some((value, quoted)) = position_of(&text[from..], *b"\"").and_then(|at| text.split_at_checked(from + at))
    {
        let rest = &quoted[1..];
        if is_boundary(rest, later) {
            return (Some(value), rest);
        }
        from = value.len() + 1;
    }
    out.truncated = true;
    (Some(text), b"")
}

/// A cut upstream URL still names its peer when the path behind it has begun.
fn has_whole_peer(url: &[u8]) -> bool {
    let Some(at) = memchr::memmem::find(url, b"://") else { return false };
    let peer = &url[at + 3..];
    let end = if peer.starts_with(b"unix:") { memrchr(b':', &peer[5..]) } else { memchr(b'/', peer) };
    end.is_some()
}

/// `login: "NAME"[, upstream: ADDRESS]` of mail. The name is the client's and may hold quotes, the address may not.
fn mail_login<'a>(out: &mut Context<'a>, text: &'a [u8]) {
    let Some(quote) = memrchr(b'"', text) else {
        out.truncated = true;
        return;
    };
    out.upstream = text[quote + 1..].strip_prefix(MAIL_UPSTREAM);
}

/// Whether the request line, percent-decoded once as nginx does, holds the beginning of a later field.
fn decodes_to_fields(request: &[u8]) -> bool {
    memchr2(b'"', b'%', request).is_some()
        && [&b"\", upstream: \""[..], b"\", host: \"", b"\", referrer: \""].iter().any(|k| decodes_to(request, k))
}

/// Whether `text`, percent-decoded, contains `needle`.
fn decodes_to(text: &[u8], needle: &[u8]) -> bool {
    let Some(&first) = needle.first() else { return true };
    memchr2_iter(first, b'%', text).any(|from| {
        let mut rest = &text[from..];
        needle.iter().all(|&want| {
            let Some((byte, behind)) = decoded(rest) else { return false };
            rest = behind;
            byte == want
        })
    })
}

/// The first byte of `text` after percent-decoding, and the rest.
fn decoded(text: &[u8]) -> Option<(u8, &[u8])> {
    let (&byte, rest) = text.split_first()?;
    if let (b'%', Some((&[high, low], rest))) = (byte, rest.split_first_chunk::<2>()) {
        let hex = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        if let (Some(high), Some(low)) = (hex(high), hex(low)) {
            return Some((high << 4 | low, rest));
        }
    }
    Some((byte, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_ordinary_context_goes_the_short_way() {
        let text = b", client: 192.0.2.1, server: a.test, request: \"GET /ws?a=1 HTTP/1.1\", upstream: \"http://10.0.0.7:80/ws\"";
        let (context, rest) = ordinary(text).expect("the short way");
        assert_eq!((context.client, context.server), (Some(&b"192.0.2.1"[..]), Some(&b"a.test"[..])));
        assert_eq!(context.request, Some(&b"GET /ws?a=1 HTTP/1.1"[..]));
        assert_eq!(rest, b", upstream: \"http://10.0.0.7:80/ws\"");
    }

    proptest! {
        /// Words of the grammar in any order behind a context that begins well, cut anywhere.
        #[test]
        fn the_short_way_says_what_the_long_way_says(
            words in prop::collection::vec(prop::sample::select(vec![
                ", client: 10.0.0.1", ", client: ::1", ", server: a", ", server: ", ", request: \"GET /ws HTTP/1.1\"",
                ", request: \"GET /a b HTTP/2.0\"", ", request: \"GET /", ", subrequest: \"/auth\"",
                ", upstream: \"http://10.0.0.7:80/ws\"", ", upstream: \"http://a\"", ", host: \"h\"", ", referrer: \"r\"",
                "\"", " HTTP/1.1\"", " HTTP/1.0\"", "%22, upstream: %22", "%22, host: %22evil", ",", " ", "x",
            ]), 0..10),
            begins in prop::sample::select(vec![
                "", ", client: 10.0.0.1, server: ", ", client: 10.0.0.1, server: a, request: \"GET /",
                ", client: 10.0.0.1, server: a, request: \"GET / HTTP/1.1\", upstream: \"http://b",
            ]),
            action in prop::sample::select(vec![None, Some("reading client request line"), Some("connecting to upstream")]),
            cut in 0_usize..300,
        ) {
            let text = format!("{begins}{}", words.concat());
            let text = &text.as_bytes()[..text.len().min(cut)];
            let action = action.map(str::as_bytes);
            prop_assert_eq!(parse(text, action), the_long_way(text, action));
        }
    }
}
