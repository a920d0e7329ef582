//! The host's part of IP addresses, hidden from people and from programs.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

/// Addresses are hidden in everything that leaves the program. One switch for the whole process: text leaves by few doors,
/// and one that was forgotten would be a leak.
static HIDDEN: AtomicBool = AtomicBool::new(false);

/// Hides addresses from now on, as the user asked; said once, before anything is read.
pub fn hide_addresses() {
    HIDDEN.store(true, Ordering::Relaxed);
}

fn are_hidden() -> bool {
    HIDDEN.load(Ordering::Relaxed)
}

/// Text for people as it may leave the program.
#[must_use]
pub fn outgoing(text: &str) -> Cow<'_, str> {
    if are_hidden() { Cow::Owned(addresses(text)) } else { Cow::Borrowed(text) }
}

/// Text for programs (JSON) as it may leave the program.
#[must_use]
pub fn outgoing_data(text: &str) -> Cow<'_, str> {
    if are_hidden() { Cow::Owned(addresses_in_data(text)) } else { Cow::Borrowed(text) }
}

/// What stands in the place of the hidden part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Veil {
    /// An `x` for each letter, so that columns stay where they are and nobody takes it for an address.
    Letters,
    /// A 0 for each part, so that it can still be read as an address.
    Zeros,
}

/// The part of every IP address that tells a host from its network becomes `x`, letter by letter, so that columns stay
/// where they are: `203.0.113.9:51992` is `203.0.xxx.x:51992`, `2001:db8::7f` is `2001:db8::xx`. Loopback and unspecified
/// addresses say nothing of anybody and stay.
#[must_use]
pub fn addresses(text: &str) -> String {
    veiled(text, Veil::Letters)
}

/// The same for JSON, where an address must stay one: `203.0.113.9:51992` is `203.0.0.0:51992`, `2001:db8::7f` is `2001:db8::0`.
#[must_use]
pub fn addresses_in_data(text: &str) -> String {
    veiled(text, Veil::Zeros)
}

fn is_part(c: char) -> bool {
    c.is_ascii_hexdigit() || c == '.' || c == ':' || c == '…'
}

fn veiled(text: &str, veil: Veil) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let (before, from) = rest.split_at(start);
        let (run, after) = from.split_at(from.find(|c| !is_part(c)).unwrap_or(from.len()));
        out.push_str(before);
        rest = after;
        let (lead, run) = parted(before, run, veil);
        out.push_str(lead);
        // Part of a word, as in `cafe` or `bad.conf`: no address stands so close to a letter.
        let in_word = lead.is_empty() && is_word(before, veil);
        if in_word || rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            out.push_str(run);
        } else {
            out.push_str(&masked(run, veil));
        }
    }
    out + rest
}

/// What of a run belongs to the text before it: the colon of `client:203.0.113.9`, the digits of an escape of JSON.
fn parted<'a>(before: &str, run: &'a str, veil: Veil) -> (&'a str, &'a str) {
    if veil == Veil::Zeros && before.ends_with("\\u") {
        return run.split_at_checked(4).unwrap_or(("", run));
    }
    if run.starts_with(':') && !run.starts_with("::") { run.split_at(1) } else { ("", run) }
}

/// The text before a run ends within a word; `\n` in JSON does not.
fn is_word(before: &str, veil: Veil) -> bool {
    let escaped = veil == Veil::Zeros && ["\\n", "\\r", "\\t"].iter().any(|e| before.ends_with(e));
    !escaped && before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-')
}

/// A run of digits, dots and colons with the host's part of an address masked.
fn masked(run: &str, veil: Veil) -> String {
    let (dots, colons) = (run.matches('.').count(), run.matches(':').count());
    let cut = run.contains('…');
    let v4 = dots >= 3 || (cut && dots >= 1);
    // Without `::` an address has eight groups (RFC 4291 section 2.2); the date of an access log has four.
    let v6 = colons >= 7 || run.contains("::") || (cut && colons >= 2);
    if is_nobodys(run) || !(v4 || v6) {
        return run.to_owned();
    }
    // IPv4, also behind `::ffff:`: two parts stay. IPv6: two groups stay.
    let (separator, tail) = if v4 { ('.', run.rfind(':').filter(|at| run[..*at].contains('.'))) } else { (':', None) };
    let (address, port) = run.split_at(tail.unwrap_or(run.len()));
    let parts = address.split(separator).enumerate();
    let hidden: Vec<String> =
        parts.map(|(i, part)| if i >= 2 || cut { part_hidden(part, veil) } else { part.to_owned() }).collect();
    hidden.join(separator.encode_utf8(&mut [0; 4])) + port
}

/// Loopback, and what stands for every address.
fn is_nobodys(run: &str) -> bool {
    run.starts_with("127.") || run == "::1" || run == "0.0.0.0" || run.starts_with("0.0.0.0:")
}

fn part_hidden(part: &str, veil: Veil) -> String {
    let hidden = |c: char| if c.is_ascii_hexdigit() { 'x' } else { c };
    match veil {
        Veil::Letters => part.chars().map(hidden).collect(),
        Veil::Zeros if part.contains(|c: char| c.is_ascii_hexdigit()) => "0".to_owned(),
        Veil::Zeros => part.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_s_part_of_an_address_is_hidden_and_nothing_else() {
        for (text, hidden) in [
            ("203.0.113.9:51992 → 10.0.0.7:8080", "203.0.xxx.x:51992 → 10.0.x.x:8080"),
            ("[2001:db8::7f]:443", "[2001:db8::xx]:443"),
            ("client: 198.51.100.23, server: _", "client: 198.51.xxx.xx, server: _"),
            ("client:198.51.100.23 peer:2001:db8::7f", "client:198.51.xxx.xx peer:2001:db8::xx"),
            ("127.0.0.1:9001 ::1 0.0.0.0:80 [::]:80", "127.0.0.1:9001 ::1 0.0.0.0:80 [::]:80"),
            (
                "14:02:31 nginx 1.22.1 1.2ms 4.1 0.3 bad.conf:31 cafe",
                "14:02:31 nginx 1.22.1 1.2ms 4.1 0.3 bad.conf:31 cafe",
            ),
            ("…113.9:51992", "…xxx.x:51992"),
            (
                "2026-11-21T14:02:31.120 [21/Nov/2026:14:02:31 +0000]",
                "2026-11-21T14:02:31.120 [21/Nov/2026:14:02:31 +0000]",
            ),
        ] {
            assert_eq!(addresses(text), hidden);
            assert_eq!(addresses(text).chars().count(), text.chars().count());
        }
    }

    #[test]
    fn in_data_an_address_stays_one() {
        for (text, hidden) in [
            (r#"{"peer":"203.0.113.9:51992"}"#, r#"{"peer":"203.0.0.0:51992"}"#),
            (r#"{"peer":"[2001:db8::7f]:443","n":1.25}"#, r#"{"peer":"[2001:db8::0]:443","n":1.25}"#),
            (r#"{"peer":"[::ffff:198.51.100.23]:443"}"#, r#"{"peer":"[::ffff:198.51.0.0]:443"}"#),
            (
                r#"{"said":"a\n10.0.0.7\r\n10.0.0.8 é\u0007198.51.100.23"}"#,
                r#"{"said":"a\n10.0.0.0\r\n10.0.0.0 é\u0007198.51.0.0"}"#,
            ),
            (r#"{"at":"2026-11-21T14:02:31.120Z"}"#, r#"{"at":"2026-11-21T14:02:31.120Z"}"#),
        ] {
            let got = addresses_in_data(text);
            assert_eq!(got, hidden);
        }
        for text in ["203.0.113.9:51992", "[2001:db8:1:2:3:4:5:6]:443", "[fe80::1]:1", "[::ffff:203.0.113.9]:80"] {
            let got = addresses_in_data(text);
            assert!(got.parse::<std::net::SocketAddr>().is_ok(), "{got}");
            assert_eq!(addresses_in_data(&got), got);
        }
    }
}
