//! A decimal fraction in a message: what its digits are changes nothing about what the message is.
//!
//! nginx writes how far a limit was exceeded with three decimals (http/modules/ngx_http_limit_req_module.c), and the names
//! of bundled files hold such numbers too. Remembering each of them apart would cost more than all other messages.

use memchr::memchr_iter;
use memchr::memmem::find;

/// Fewer digits are no fraction: the table of messages has such numbers in its texts.
const LEAST: usize = 3;

/// The digits behind the first point with enough of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fraction {
    from: usize,
    to: usize,
}

impl Fraction {
    /// The fraction of a message with its suffixes. `None`: it has none, or only where a difference would matter: in the
    /// name of a zone, in the text of OpenSSL, or in what nginx was doing.
    pub(super) fn of(body: &[u8]) -> Option<Self> {
        let found = memchr_iter(b'.', body).find_map(|point| {
            let (from, behind) = (point + 1, body.get(point + 1..)?);
            let digits = behind.iter().take_while(|b| b.is_ascii_digit()).count();
            (digits >= LEAST).then_some(Self { from, to: from + digits })
        })?;
        let before = body.get(..found.from)?;
        let matters =
            find(before, b"zone \"").is_some() || find(before, b" while ").is_some() || find(body, b" (SSL:").is_some();
        (!matters).then_some(found)
    }

    /// The message with zeros for the digits.
    pub(super) fn zeroed(self, body: &[u8]) -> Vec<u8> {
        let mut zeroed = body.to_vec();
        zeroed.get_mut(self.from..self.to).unwrap_or_default().fill(b'0');
        zeroed
    }

    /// Whether `body` is `zeroed`, which has this fraction, but for the digits.
    pub(super) fn is_all_that_differs(self, zeroed: &[u8], body: &[u8]) -> bool {
        let (Some(own), Some(other)) = (self.parts(zeroed), self.parts(body)) else { return false };
        own.0 == other.0 && own.2 == other.2 && other.1.iter().all(u8::is_ascii_digit)
    }

    /// What stands before the digits, they, and what stands behind them.
    fn parts(self, body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
        let (front, behind) = body.split_at_checked(self.to)?;
        let (front, digits) = front.split_at_checked(self.from)?;
        Some((front, digits, behind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::log::Level;
    use crate::event::tally::shape;
    use crate::human::visible;
    use crate::nginx::category;
    use crate::nginx::error::skim;
    use proptest::prelude::*;

    #[test]
    fn the_first_fraction_is_found_where_it_does_not_matter() {
        fn found(body: &str) -> Option<&str> {
            Fraction::of(body.as_bytes()).map(|f| &body[f.from..f.to])
        }
        assert_eq!(found("limiting requests, excess: 20.480 by zone \"a.123\""), Some("480"));
        assert_eq!(found("open() \"/srv/7.2/app.1234.js\" failed (2: No such file or directory)"), Some("1234"));
        assert_eq!(found("limiting connections by zone \"a.123\""), None);
        assert_eq!(found("x failed (SSL: error.123) while y"), None);
        assert_eq!(found("x while connecting to 10.0.0.123"), None);
        assert_eq!(found("connect() to 10.0.0.7:8080 failed (111: Connection refused)"), None);
    }

    /// No text in the table can begin or end inside a fraction, or hold one: so the digits decide about no row.
    #[test]
    fn no_row_of_the_table_asks_for_the_digits_of_a_fraction() {
        for row in category::rows() {
            for literal in row.template.split("%s").flat_map(|part| part.split("%d")) {
                let bytes = literal.as_bytes();
                assert!(!bytes.first().is_some_and(u8::is_ascii_digit), "{}", row.template);
                for point in memchr_iter(b'.', bytes) {
                    let digits = bytes[point + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
                    let ends = point + 1 + digits == bytes.len();
                    assert!(digits < LEAST && !(digits > 0 && ends), "{}", row.template);
                }
            }
        }
    }

    proptest! {
        /// The class and the shape of a message are those of the message with zeros.
        #[test]
        fn digits_of_a_fraction_change_neither_class_nor_shape(
            words in prop::collection::vec(prop::sample::select(vec![
                "limiting requests, excess: 20", ".123", ".4567", ".12", "65535", "255", " by zone \"", "\"", "a", " ", "(", ")",
                "open() \"/srv/app", "js", " failed", " (2: No such file or directory)", " (110: x", "(SSL: error:0A", "(SSL:",
                " while connecting to upstream", " while logging to syslog, server: 10.0.0", " while ", "client sent ", "HTTP/1.1",
                " in /etc/nginx/x", ":12", "768 worker_connections are not enough", "accept4() failed", ",", ":", "é", "_", "1",
            ]), 0..9),
            rows in prop::collection::vec((any::<prop::sample::Index>(), "[a. 1\"]{0,3}|[.][0-9]{3}"), 0..2),
            level in 0_usize..7,
        ) {
            let row = |(at, text): &(prop::sample::Index, String)| {
                at.get(category::rows()).template.replace("%s", text).replace("%d", "7.123")
            };
            let body = format!("{}{}", rows.iter().map(row).collect::<String>(), words.concat());
            let Some(fraction) = Fraction::of(body.as_bytes()) else { return Ok(()) };
            let told = |body: &[u8]| {
                let ends = skim::suffixes(body);
                let class = category::classify(Level::ALL[level], ends.message, ends.errno, ends.action);
                let text = |field: Option<&[u8]>| field.map(visible);
                let shape = shape(&visible(ends.message), text(ends.ssl).as_deref(), ends.errno, text(ends.action).as_deref());
                (class, shape)
            };
            let zeroed = fraction.zeroed(body.as_bytes());
            prop_assert_eq!(told(body.as_bytes()), told(&zeroed), "{}", body);
            prop_assert_eq!(Fraction::of(&zeroed), Some(fraction));
            prop_assert!(fraction.is_all_that_differs(&zeroed, body.as_bytes()));
        }
    }
}
