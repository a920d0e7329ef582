//! A URL as people read it: letters beyond ASCII as themselves.

use std::borrow::Cow;

use crate::human;

/// `url` with percent-encoded letters shown as letters (RFC 3987 section 3.2). What is ASCII, no whole character, a blank or a
/// sign that nobody sees stays encoded.
#[must_use]
pub fn readable(url: &str) -> Cow<'_, str> {
    if !url.contains('%') {
        return Cow::Borrowed(url);
    }
    let mut out = String::with_capacity(url.len());
    let mut rest = url;
    while let Some((plain, behind)) = rest.split_once('%') {
        out.push_str(plain);
        let (bytes, after) = encoded(&rest[plain.len()..]);
        if bytes.is_empty() {
            out.push('%');
            rest = behind;
            continue;
        }
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                if human::has_a_sign(c) && !c.is_whitespace() {
                    out.push(c);
                } else {
                    encode(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            encode(&mut out, chunk.invalid());
        }
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The bytes beyond ASCII that stand encoded at the beginning of `text`, and what follows them.
fn encoded(mut text: &str) -> (Vec<u8>, &str) {
    let mut bytes = Vec::new();
    while let Some(pair) = text.strip_prefix('%').and_then(|rest| rest.get(..2)) {
        match u8::from_str_radix(pair, 16) {
            Ok(byte @ 0x80..) if !pair.starts_with('+') => bytes.push(byte),
            _ => break,
        }
        text = text.get(3..).unwrap_or_default();
    }
    (bytes, text)
}

fn encode(out: &mut String, bytes: &[u8]) {
    out.extend(bytes.iter().map(|b| format!("%{b:02X}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_letters_and_nothing_else_changes() {
        for (url, shown) in [
            ("a.test/ws", "a.test/ws"),
            ("a.test/%E8%81%8A%e5%a4%a9/x%20y%2F", "a.test/聊天/x%20y%2F"),
            ("a.test/%C3%A9%", "a.test/é%"),
            ("/100%/%4", "/100%/%4"),
            ("/%E8%81", "/%E8%81"),
            ("/%FF%C3%A9", "/%FFé"),
            ("/%E2%80%AE%E3%80%80%C2%9B", "/%E2%80%AE%E3%80%80%C2%9B"),
            ("/%+8%é", "/%+8%é"),
        ] {
            assert_eq!(readable(url), shown, "{url}");
        }
    }
}
