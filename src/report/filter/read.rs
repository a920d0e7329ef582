//! What was typed as a filter, term by term, with the place of whatever cannot be understood.

use regex::{Regex, RegexBuilder};

use super::{Comparison, Key, Kind, Network, Term, Test, Wrong, address};
use crate::human;

/// The most memory that a typed pattern may take.
const PATTERN_SIZE: usize = 1 << 20;
/// The value that fits what is not known.
pub(super) const UNKNOWN: &str = "unknown";

/// All terms of `text`.
pub(super) fn terms(text: &str, keys: &[Key]) -> Result<Vec<Term>, Wrong> {
    let mut reader = Reader { text, at: 0, begun: 0, keys };
    let mut terms = Vec::new();
    loop {
        reader.at = text.len() - reader.rest().trim_start().len();
        if reader.rest().is_empty() {
            return Ok(terms);
        }
        terms.extend(reader.term()?);
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Where the term begins that is being read.
    begun: usize,
    keys: &'a [Key],
}

/// A value, whether it stood in quotes, and where.
struct Value {
    text: String,
    at: usize,
}

const OPERATORS: [&str; 7] = [">=", "<=", "!=", ">", "<", "=", ":"];

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn wrong(&self, at: usize, said: impl Into<String>) -> Wrong {
        let end = self.text[self.begun..].find(char::is_whitespace).map_or(self.text.len(), |e| self.begun + e);
        let term = self.text[self.begun..end.max(self.at)].trim_end();
        Wrong { term: human::visible(term.as_bytes()), said: said.into(), at, help: None }
    }

    /// One term; `None` for a lone `!`, which is the beginning of one.
    fn term(&mut self) -> Result<Option<Term>, Wrong> {
        self.begun = self.at;
        let not = self.rest().starts_with('!');
        self.at += usize::from(not);
        let test = if self.rest().starts_with('/') {
            Some(self.pattern()?)
        } else if let Some((key, op)) = self.key_and_operator() {
            return Ok(Some(self.comparison(not, key, op)?));
        } else {
            let word = self.value().text.to_lowercase();
            (!word.is_empty()).then_some(Test::Word(word))
        };
        Ok(test.map(|test| Term { not, test }))
    }

    fn pattern(&mut self) -> Result<Test, Wrong> {
        let at = self.at;
        let body = &self.rest()[1..];
        let end = pattern_end(body);
        let pattern = &body[..end];
        self.at = (at + 1 + end + 1).min(self.text.len());
        compiled(pattern).map(Test::Pattern).map_err(|said| self.wrong(at, format!("this is no pattern: {said}")))
    }

    /// The word and the operator behind it, when the word looks like a key: letters alone, and what follows is neither an
    /// address (`dead::beef`) nor a URL (`ws://`).
    fn key_and_operator(&self) -> Option<(&'a str, &'static str)> {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic() && c != '_').filter(|e| *e > 0)?;
        let op = OPERATORS.into_iter().find(|op| rest[end..].starts_with(op))?;
        let word = &rest[..rest.find(char::is_whitespace).unwrap_or(rest.len())];
        let behind = &rest[end + op.len()..];
        let no_key = op == ":" && (behind.starts_with("//") || address(word).is_some());
        (!no_key).then_some((&rest[..end], op))
    }

    fn comparison(&mut self, not: bool, name: &str, op: &'static str) -> Result<Term, Wrong> {
        let at = self.at;
        let key = self.keys.iter().find(|k| k.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            let known: Vec<&str> = self.keys.iter().map(|k| k.name).collect();
            let help = format!("known here are {}; text with a colon goes in quotes", known.join(", "));
            Wrong { help: Some(help), ..self.wrong(at, format!("there is no key '{name}'")) }
        })?;
        self.at += name.len() + op.len();
        let value = self.value();
        if value.text.is_empty() {
            return Err(self.wrong(value.at, format!("a value is missing behind {op}")));
        }
        let test = match op {
            ":" => contains(*key, &value.text),
            "=" | "!=" => self.is(*key, &value)?,
            _ => self.compares(*key, op, &value)?,
        };
        Ok(Term { not: not != (op == "!="), test })
    }

    fn is(&self, key: Key, value: &Value) -> Result<Test, Wrong> {
        let wanted = value.text.to_lowercase();
        Ok(match key.kind {
            _ if wanted == UNKNOWN => Test::Is(key.name, wanted),
            Kind::Text => Test::Is(key.name, wanted),
            Kind::Address => network(&wanted).map_or(Test::Is(key.name, wanted), |n| Test::Within(key.name, n)),
            Kind::Span | Kind::Amount => Test::Compares(key.name, Comparison::Is, self.number(key, value)?),
        })
    }

    fn compares(&self, key: Key, op: &str, value: &Value) -> Result<Test, Wrong> {
        if matches!(key.kind, Kind::Text | Kind::Address) {
            let name = key.name;
            return Err(self.wrong(self.begun, format!("'{name}' is no number, write {name}:{}", value.text)));
        }
        let how = match op {
            ">" => Comparison::More,
            ">=" => Comparison::AtLeast,
            "<" => Comparison::Less,
            _ => Comparison::AtMost,
        };
        Ok(Test::Compares(key.name, how, self.number(key, value)?))
    }

    fn number(&self, key: Key, value: &Value) -> Result<f64, Wrong> {
        let read = match key.kind {
            Kind::Span => human::parse_span(&value.text).map(|d| d.as_secs_f64()),
            _ => human::parse_size(&value.text),
        };
        read.map_err(|said| {
            let (said, help) = said.split_once("; ").map_or((said.as_str(), None), |(s, h)| (s, Some(h.to_owned())));
            Wrong { help, ..self.wrong(value.at, said) }
        })
    }

    /// What stands here up to a blank, or in quotes.
    fn value(&mut self) -> Value {
        let (at, rest) = (self.at, self.rest());
        let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            self.at += end;
            return Value { text: rest[..end].to_owned(), at };
        };
        let mut text = String::new();
        let mut escaped = false;
        for (i, c) in rest.char_indices().skip(1) {
            if c == quote && !escaped {
                self.at += i + 1;
                return Value { text, at };
            }
            if escaped && c != quote && c != '\\' {
                text.push('\\');
            }
            escaped = c == '\\' && !escaped;
            if !escaped {
                text.push(c);
            }
        }
        self.at = self.text.len();
        Value { text, at }
    }
}

fn contains(key: Key, value: &str) -> Test {
    match network(value).filter(|_| key.kind == Kind::Address && value.contains('/')) {
        Some(network) => Test::Within(key.name, network),
        None => Test::Contains(key.name, value.to_lowercase()),
    }
}

/// `10.0.0.0/8`, `10.0.0.7`, `10.0.0.7:80` or the same with IPv6.
fn network(text: &str) -> Option<Network> {
    if let Some((ip, bits)) = text.split_once('/') {
        let ip: std::net::IpAddr = ip.parse().ok()?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.parse().ok().filter(|b| *b <= most)?;
        return Some(Network { ip, bits, port: None });
    }
    let (ip, port) = address(text)?;
    Some(Network { ip, bits: if ip.is_ipv4() { 32 } else { 128 }, port })
}

/// The first slash that no backslash stands before, or the end.
fn pattern_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == '/' && !escaped {
            return at;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(pattern).case_insensitive(true).size_limit(PATTERN_SIZE).build();
    built.map_err(|e| {
        let said = e.to_string();
        said.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned()
    })
}
