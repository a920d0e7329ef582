//! The context of an ordinary line, read in one pass from its beginning: an address, a server, and then a request line of
//! HTTP/1 with the fields that may follow it. All else is left to the long way, which knows the rules against forgery.
//!
//! Nothing here has to be told where the line ends: what is read holds no line feed.

#![expect(clippy::inline_always, reason = "one line is a few hundred instructions: a call would cost a tenth of them")]

use super::address::dotted;
use super::eight::{after, position_below, position_of};

/// Who was talking: the fields of a context that are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Talkers<'a> {
    /// The client's address.
    pub client: Option<&'a [u8]>,
    /// The same as [`dotted`] packs it, where it can be.
    pub packed: Option<u64>,
    /// The path in the request line, without arguments. Attacker-controlled.
    pub path: Option<&'a [u8]>,
    /// The peer in the upstream URL.
    pub peer: Option<&'a [u8]>,
}

/// Reads the context at the beginning of `text`, which may go on behind the line; gives also what of `text` is left behind
/// the last thing read: the line's end is the first line feed in it. `None`: go the long way.
///
/// Not for lines that were written while the request line was being read, and where the message quotes something, only
/// when no other context follows (see [`super::is_uncontested`]).
#[must_use]
#[inline(always)]
pub fn ordinary_talkers(text: &[u8]) -> Option<(Talkers<'_>, &[u8])> {
    let rest = after(text, b", client: ")?;
    let (packed, length) = dotted(rest)?;
    let (client, rest) = rest.split_at_checked(length)?;
    let talkers = Talkers { client: Some(client), packed: Some(packed), ..Talkers::default() };
    let rest = after(rest, b", server: ")?;
    let rest = rest.get(position_of(rest, *b",\n").unwrap_or(rest.len())..)?;
    if is_end(rest) {
        return Some((talkers, rest));
    }
    let target = after(rest, b", request: \"GET ")?;
    let (path, rest) = path(target)?;
    let talkers = Talkers { path: Some(path), ..talkers };
    if let Some(url) = after(rest, b", upstream: \"") {
        let (peer, rest) = peer(url)?;
        return Some((Talkers { peer: Some(peer), ..talkers }, rest));
    }
    (is_end(rest) || after(rest, b", host: \"").is_some()).then_some((talkers, rest))
}

#[inline(always)]
fn is_end(rest: &[u8]) -> bool {
    matches!(rest.first(), None | Some(b'\n'))
}

/// The path of a request target, and what stands behind the request line of which it is a part: the first quote ends it,
/// and ` HTTP/1.1` or ` HTTP/1.0` stands before that.
#[inline(always)]
fn path(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let (path, rest) = target.split_at_checked(position_below::<b'$', 1>(target, *b"?")?)?;
    let rest = match rest.first()? {
        b' ' => rest,
        b'?' | b'#' => rest.get(position_below::<b'#', 0>(rest, [])?..)?,
        _ => return None,
    };
    let rest = after(rest, b" HTTP/1.1\"").or_else(|| rest.strip_prefix(b" HTTP/1.0\""))?;
    Some((path, rest))
}

/// The peer of an HTTP URL with a path, which is the same however the URL goes on, and what stands behind it.
#[inline(always)]
fn peer(url: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = after(url, b"http://").or_else(|| url.strip_prefix(b"https://"))?;
    let (peer, rest) = rest.split_at_checked(position_below::<b'#', 1>(rest, *b"/")?)?;
    (rest.first() == Some(&b'/') && !peer.starts_with(b"unix:")).then_some((peer, rest))
}
