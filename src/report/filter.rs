//! The one filter language of all panes and commands: text to terms, and terms held against named facts.
//!
//! ```text
//! filter  = term*                     all of them must hold
//! term    = ["!"] ( word | /regex/ | key op value )
//! op      = ":"  contains, or for an address lies in a.b.c.d/n        "=" "!="  is, is not
//!         | ">" ">=" "<" "<="         times (30s, 50ms), sizes (1M), counts
//! value   = bare | "quoted" | 'quoted'
//! ```
//!
//! Letters count the same in both cases. What is not known fulfils no comparison, and no negated one either.

mod complete;
mod read;

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use regex::Regex;

use crate::human;

pub use complete::{Completion, complete, quoted};

/// How the values of a key are read and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Words.
    Text,
    /// An address, with or without a port.
    Address,
    /// A time span: numbers are seconds.
    Span,
    /// A count, bytes or bytes a second.
    Amount,
}

/// Something that a filter can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// As typed.
    pub name: &'static str,
    /// How its values are compared.
    pub kind: Kind,
}

impl Key {
    /// A key and how its values are compared.
    #[must_use]
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind }
    }
}

/// The keys of two tables in one of `N`, which is the sum of their lengths.
pub(super) const fn joined<const A: usize, const B: usize, const N: usize>(a: [Key; A], b: [Key; B]) -> [Key; N] {
    assert!(A + B == N, "the length of both tables together");
    let mut all = [Key::new("", Kind::Text); N];
    let mut at = 0;
    while at < N {
        all[at] = if at < A { a[at] } else { b[at - A] };
        at += 1;
    }
    all
}

/// What is known of one row, by key.
pub trait Fields {
    /// The value as shown; `None` when it is not known or there is no such key.
    fn text(&self, key: &str) -> Option<Cow<'_, str>>;
    /// The value as a number, time spans in seconds; `None` when it is not known or is none.
    fn number(&self, key: &str) -> Option<f64>;
}

impl<F: Fields + ?Sized> Fields for &F {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        (**self).text(key)
    }

    fn number(&self, key: &str) -> Option<f64> {
        (**self).number(key)
    }
}

/// A filter that was understood.
#[derive(Clone, Debug)]
pub struct Filter {
    /// As typed, without blanks around it.
    pub text: String,
    keys: Vec<&'static str>,
    terms: Vec<Term>,
}

#[derive(Clone, Debug)]
struct Term {
    not: bool,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    /// Stands somewhere in the row; in lower case.
    Word(String),
    /// Matches somewhere in the row.
    Pattern(Regex),
    /// The value of the key contains this, in lower case.
    Contains(&'static str, String),
    /// The value of the key is this, in lower case; `unknown` fits what is not known.
    Is(&'static str, String),
    /// The address lies in this network.
    Within(&'static str, Network),
    /// The number compares like this.
    Compares(&'static str, Comparison, f64),
}

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Is,
    AtLeast,
    More,
}

impl Comparison {
    fn holds(self, value: f64, wanted: f64) -> bool {
        match self {
            Self::Less => value < wanted,
            Self::AtMost => value <= wanted,
            // What is shown as 5s is anything from 5 to 6 seconds.
            Self::Is => value.total_cmp(&wanted).is_eq() || (wanted >= 1.0 && value.floor().total_cmp(&wanted).is_eq()),
            Self::AtLeast => value >= wanted,
            Self::More => value > wanted,
        }
    }
}

/// An address with a port or without, or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    ip: IpAddr,
    bits: u8,
    port: Option<u16>,
}

impl Network {
    fn contains(self, addr: &str) -> bool {
        let Some((ip, port)) = address(addr) else { return false };
        let within = match (self.ip, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(u128::from(a.to_bits()), u128::from(b.to_bits()), 32, self.bits),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128, self.bits),
            _ => false,
        };
        within && self.port.is_none_or(|p| port == Some(p))
    }
}

/// Whether the first `bits` of `of` bits are the same.
fn same(a: u128, b: u128, of: u32, bits: u8) -> bool {
    (a ^ b).checked_shr(of - u32::from(bits).min(of)).unwrap_or(0) == 0
}

/// `ip` or `ip:port`.
fn address(text: &str) -> Option<(IpAddr, Option<u16>)> {
    let with_port = text.parse::<SocketAddr>().map(|a| (a.ip(), Some(a.port())));
    with_port.or_else(|_| text.parse().map(|ip| (ip, None))).ok()
}

/// What is wrong with a filter, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The term as typed.
    pub term: String,
    /// One clause.
    pub said: String,
    /// Bytes before the place in the whole filter.
    pub at: usize,
    /// What would be right, when there is more to say.
    pub help: Option<String>,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, at {}", self.term, self.said, self.at)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

impl std::error::Error for Wrong {}

/// Columns of a filter that are shown before the place where it is wrong, and behind it.
const AROUND: (usize, usize) = (60, 30);

impl Wrong {
    /// What is wrong and what would be right, without the place.
    #[must_use]
    pub fn sentence(&self) -> String {
        self.help.as_ref().map_or_else(|| self.said.clone(), |help| format!("{}; {help}", self.said))
    }

    /// The filter `text` as typed, and a line with a caret below the place; what is far from it is left out.
    #[must_use]
    pub fn pointed(&self, text: &str) -> (String, String) {
        let (before, behind) = text.split_at_checked(self.at).unwrap_or((text, ""));
        let (before, behind) = (human::visible(before.as_bytes()), human::visible(behind.as_bytes()));
        let before = human::cut_front(&before, AROUND.0);
        let caret = format!("{}^", " ".repeat(human::width(&before)));
        (format!("{before}{}", human::cut_end(&behind, AROUND.1)), caret)
    }
}

impl Filter {
    /// Reads what was typed, where these keys can be named; `None` when nothing was typed. A quote or pattern whose end is
    /// missing goes to the end: it may still be being typed.
    ///
    /// # Errors
    /// The first term that cannot be understood, and where.
    pub fn parse(text: &str, keys: &[Key]) -> Result<Option<Self>, Wrong> {
        let terms = read::terms(text, keys)?;
        let keys = keys.iter().map(|k| k.name).collect();
        Ok((!terms.is_empty()).then(|| Self { text: text.trim().to_owned(), keys, terms }))
    }

    /// Whether a row of which these facts are known passes.
    #[must_use]
    pub fn passes<F: Fields + ?Sized>(&self, row: &F) -> bool {
        let needs_all = |t: &Term| matches!(t.test, Test::Word(_) | Test::Pattern(_));
        let all = if self.terms.iter().any(needs_all) { self.all_text(row) } else { String::new() };
        self.terms.iter().all(|t| t.test.holds(row, &all).is_some_and(|holds| holds != t.not))
    }

    fn all_text<F: Fields + ?Sized>(&self, row: &F) -> String {
        let known = self.keys.iter().filter_map(|k| row.text(k));
        let mut all = String::new();
        for text in known {
            all.push_str(&text.to_lowercase());
            all.push(' ');
        }
        all
    }
}

impl Test {
    /// `None` where nothing can be said, because the value is not known.
    fn holds<F: Fields + ?Sized>(&self, row: &F, all: &str) -> Option<bool> {
        let text = |key: &str| row.text(key).map(|t| t.to_lowercase());
        Some(match self {
            Self::Word(word) => all.contains(word.as_str()),
            Self::Pattern(pattern) => pattern.is_match(all.trim_end()),
            Self::Contains(key, wanted) => text(key).is_some_and(|t| t.contains(wanted.as_str())),
            Self::Is(key, wanted) => text(key).map_or(wanted == read::UNKNOWN, |t| t == *wanted),
            Self::Within(key, network) => text(key).is_some_and(|t| network.contains(&t)),
            Self::Compares(key, how, wanted) => how.holds(row.number(key)?, *wanted),
        })
    }
}

/// Facts given as text alone.
impl<K: AsRef<str>, V: AsRef<str>> Fields for [(K, V)] {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        self.iter().find(|(k, _)| k.as_ref() == key).map(|(_, v)| Cow::Borrowed(v.as_ref()))
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.text(key)?.parse().ok()
    }
}

#[cfg(test)]
mod tests;
