//! Request targets as nginx reads them, and escaped as nginx writes them to a backend.

use std::fmt;

/// A request target taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The path as locations see it: unescaped, slashes merged, dots walked. Bytes that are no UTF-8 became U+FFFD.
    pub path: String,
    /// What follows the `?`, as sent.
    pub args: String,
    /// The path was sent with `%XX` in it: nginx escapes it again where it changes it.
    pub quoted: bool,
    /// `path` is not exactly what nginx has: it held bytes that are no UTF-8.
    pub lossy: bool,
}

/// Why nginx answers a target with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTarget {
    /// `%` without two digits behind it.
    Escape,
    /// `%00`.
    Null,
    /// `..` above the root.
    AboveRoot,
    /// It does not begin with a slash.
    NoPath,
}

impl fmt::Display for BadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Escape => "a \"%\" in the path has no two hexadecimal digits behind it",
            Self::Null => "the path holds %00",
            Self::AboveRoot => "\"..\" leads above the root",
            Self::NoPath => "the request target does not begin with a slash",
        })
    }
}

/// Reads a target (`ngx_http_parse_complex_uri`); `merge` is `merge_slashes`.
///
/// # Errors
/// What makes nginx answer 400.
pub fn read(target: &str, merge: bool) -> Result<Target, BadTarget> {
    let (before, _) = target.split_once('#').unwrap_or((target, ""));
    let (raw, args) = before.split_once('?').unwrap_or((before, ""));
    if !raw.starts_with('/') {
        return Err(BadTarget::NoPath);
    }
    let bytes = normal(raw.as_bytes(), merge)?;
    let path = String::from_utf8_lossy(&bytes);
    let lossy = matches!(path, std::borrow::Cow::Owned(_));
    Ok(Target { path: path.into_owned(), args: args.to_owned(), quoted: raw.contains('%'), lossy })
}

/// What stood before the byte that is read now.
#[derive(Clone, Copy)]
enum Before {
    Usual,
    Slash,
    Dot,
    DotDot,
}

fn normal(raw: &[u8], merge: bool) -> Result<Vec<u8>, BadTarget> {
    let mut out = Vec::with_capacity(raw.len());
    let mut before = Before::Usual;
    let mut rest = raw;
    while let [first, tail @ ..] = rest {
        rest = tail;
        let mut byte = *first;
        if byte == b'%' {
            byte = match tail {
                [a, b, ..] => hex(*a).zip(hex(*b)).map(|(a, b)| a << 4 | b).ok_or(BadTarget::Escape)?,
                _ => return Err(BadTarget::Escape),
            };
            rest = tail.get(2..).unwrap_or_default();
            match byte {
                0 => return Err(BadTarget::Null),
                // These mean nothing special once they were escaped; a slash or a dot still does.
                b'%' | b'#' | b'?' => {
                    out.push(byte);
                    before = Before::Usual;
                    continue;
                }
                _ => {}
            }
        }
        before = step(&mut out, before, byte, merge)?;
    }
    match before {
        Before::Dot => {
            out.pop();
        }
        Before::DotDot => up(&mut out)?,
        Before::Usual | Before::Slash => {}
    }
    Ok(out)
}

fn step(out: &mut Vec<u8>, before: Before, byte: u8, merge: bool) -> Result<Before, BadTarget> {
    let next = match (before, byte) {
        (Before::Slash, b'/') if merge => return Ok(Before::Slash),
        (Before::Usual | Before::Slash, b'/') => Before::Slash,
        (Before::Slash, b'.') => Before::Dot,
        (Before::Dot, b'/') => {
            out.pop();
            return Ok(Before::Slash);
        }
        (Before::Dot, b'.') => Before::DotDot,
        (Before::DotDot, b'/') => {
            up(out)?;
            return Ok(Before::Slash);
        }
        _ => Before::Usual,
    };
    out.push(byte);
    Ok(next)
}

/// Takes `segment/..` away: `/a/b/..` becomes `/a/`.
fn up(out: &mut Vec<u8>) -> Result<(), BadTarget> {
    out.truncate(out.len().saturating_sub(3));
    let slash = out.iter().rposition(|b| *b == b'/').ok_or(BadTarget::AboveRoot)?;
    out.truncate(slash + 1);
    Ok(())
}

fn hex(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

/// Which bytes nginx escapes where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// A path that nginx changed (`NGX_ESCAPE_URI`).
    Uri,
    /// A captured part put into arguments (`NGX_ESCAPE_ARGS`).
    Args,
}

/// Escapes as `ngx_escape_uri` does since 1.21.1.
#[must_use]
pub fn escaped(text: &str, how: Escape) -> String {
    let special: &[u8] = match how {
        Escape::Uri => b" #%?\"<>\\^`{|}",
        Escape::Args => b" #%&+;?\"<>\\^`{|}",
    };
    encoded(text, |b| !(0x20..0x7f).contains(&b) || special.contains(&b))
}

/// A path as a URL carries it.
pub(super) fn for_url(path: &str) -> String {
    encoded(path, |b| !b.is_ascii_alphanumeric() && !b"/-._~!$&'()*+,;=:@".contains(&b))
}

fn encoded(text: &str, escapes: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if !escapes(byte) {
            out.push(char::from(byte));
            continue;
        }
        out.push('%');
        for nibble in [byte >> 4, byte & 15] {
            out.extend(char::from_digit(u32::from(nibble), 16).map(|c| c.to_ascii_uppercase()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_as_nginx_reads_them() {
        let cases = [
            ("/ws", Ok("/ws")),
            ("/ws/", Ok("/ws/")),
            ("/ws?a=/b", Ok("/ws")),
            ("//a//b/", Ok("/a/b/")),
            ("/a/../b", Ok("/b")),
            ("/a/./b/..", Ok("/a/")),
            ("/a/b/../..", Ok("/")),
            ("/a/.", Ok("/a/")),
            ("/a/...", Ok("/a/...")),
            ("/a/.b/..c/d.", Ok("/a/.b/..c/d.")),
            ("/%77s", Ok("/ws")),
            ("/a%2fb", Ok("/a/b")),
            ("/a%2F%2e%2E/b", Ok("/b")),
            ("/a%3fb%23c%25d", Ok("/a?b#c%d")),
            ("/%", Err(BadTarget::Escape)),
            ("/%7", Err(BadTarget::Escape)),
            ("/a%2", Err(BadTarget::Escape)),
            ("/a%zz", Err(BadTarget::Escape)),
            ("/%00", Err(BadTarget::Null)),
            ("/..", Err(BadTarget::AboveRoot)),
            ("/a/../../b", Err(BadTarget::AboveRoot)),
            ("", Err(BadTarget::NoPath)),
        ];
        for (target, want) in cases {
            assert_eq!(read(target, true).map(|t| t.path), want.map(str::to_owned), "for {target:?}");
        }
        let kept = |t| read(t, false).expect("good").path;
        assert_eq!((kept("//a//b"), kept("/a//../b")), ("//a//b".to_owned(), "/a/b".to_owned()));
    }

    #[test]
    fn arguments_stay_as_they_are_sent() {
        let t = read("/a?x=%20//..#f", true).expect("good");
        assert_eq!((t.path.as_str(), t.args.as_str(), t.quoted), ("/a", "x=%20//..", false));
        assert!(read("/%ff", true).expect("nginx takes it").lossy);
    }

    #[test]
    fn a_changed_path_is_escaped_again() {
        assert_eq!(escaped("/a b/ä?", Escape::Uri), "/a%20b/%C3%A4%3F");
        assert_eq!(escaped("a&b", Escape::Args), "a%26b");
    }
}
