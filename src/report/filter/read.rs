//! What was typed as a filter, term by term, with the place of whatever cannot be understood.

use regex::{Regex, RegexBuilder};

use super::super::explain::far;
use super::{Comparison, Key, Kind, Network, Term, Test, Wrong, address};
use crate::human;

/// The most memory that a typed pattern may take.
const PATTERN_SIZE: usize = 1 << 20;
/// Letters by which a key may be longer or shorter than what was typed for it.
const LONGER: usize = 3;
/// The value that fits what is not known.
pub(super) const UNKNOWN: &str = "unknown";

/// All terms of `text`.
pub(super) fn terms(text: &str, keys: &[Key]) -> Result<Vec<Term>, Wrong> {
    let mut reader = Reader { text, at: 0, begun: 0, keys };
    let mut terms = Vec::new();
    loop {
        reader.skip_blanks();
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

/// A value without its quotes, and where it stood with them.
pub(super) struct Value {
    pub(super) text: String,
    pub(super) at: usize,
    /// It stood in quotes, of which the second may still be missing.
    pub(super) quote: Option<char>,
    /// Nothing more can belong to it.
    pub(super) closed: bool,
}

/// What a term is made of, before anybody asks whether it makes sense.
pub(super) enum Part<'a> {
    /// A regular expression without its slashes.
    Pattern(&'a str),
    /// A key, an operator, a value.
    Comparison(&'a str, &'static str, Value),
    /// A word.
    Word(Value),
}

const OPERATORS: [&str; 7] = [">=", "<=", "!=", ">", "<", "=", ":"];

/// The term at the very end of `text`, which is still being typed, without its `!`; `None` where the next one begins.
pub(super) fn last(text: &str) -> Option<Part<'_>> {
    let mut reader = Reader { text, at: 0, begun: 0, keys: &[] };
    let mut last = None;
    loop {
        let end = reader.at;
        reader.skip_blanks();
        if reader.rest().is_empty() {
            return last.filter(|_| end == text.len());
        }
        last = Some(reader.part().1);
    }
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn wrong(&self, at: usize, said: impl Into<String>) -> Wrong {
        let end = self.text[self.begun..].find(char::is_whitespace).map_or(self.text.len(), |e| self.begun + e);
        let term = self.text[self.begun..end.max(self.at)].trim_end();
        Wrong { term: human::visible(term.as_bytes()), said: said.into(), at, help: None }
    }

    /// One term; `None` for a lone `!`, which is the beginning of one.
    fn term(&mut self) -> Result<Option<Term>, Wrong> {
        let (not, part) = self.part();
        let test = match part {
            Part::Pattern(pattern) => {
                let at = self.begun + usize::from(not);
                compiled(pattern).map(Test::Pattern).map_err(|(said, inside)| {
                    self.wrong(at + inside.map_or(0, |i| i + 1), format!("this is no pattern: {said}"))
                })?
            }
            Part::Comparison(name, op, value) => return self.comparison(not, name, op, &value).map(Some),
            Part::Word(value) if value.text.is_empty() => return Ok(None),
            Part::Word(value) => Test::Word(value.text.to_lowercase()),
        };
        Ok(Some(Term { not, test }))
    }

    /// What the term here is made of, and whether it is negated.
    fn part(&mut self) -> (bool, Part<'a>) {
        self.begun = self.at;
        let not = self.rest().starts_with('!');
        self.at += usize::from(not);
        let part = if let Some(body) = self.rest().strip_prefix('/') {
            let end = pattern_end(body);
            self.at = (self.at + 1 + end + 1).min(self.text.len());
            Part::Pattern(&body[..end])
        } else if let Some((name, op)) = self.key_and_operator() {
            self.at += name.len() + op.len();
            Part::Comparison(name, op, self.value())
        } else {
            Part::Word(self.value())
        };
        (not, part)
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

    fn comparison(&self, not: bool, name: &str, op: &'static str, value: &Value) -> Result<Term, Wrong> {
        let key = self.keys.iter().find(|k| k.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            let known: Vec<&str> = self.keys.iter().map(|k| k.name).collect();
            let meant = self.meant(name).map_or_else(String::new, |key| format!("did you mean '{key}'? "));
            let help = format!("{meant}known here are {}; text with a colon goes in quotes", known.join(", "));
            Wrong { help: Some(help), ..self.wrong(self.begun + usize::from(not), format!("there is no key '{name}'")) }
        })?;
        if value.text.is_empty() {
            return Err(self.wrong(value.at, format!("a value is missing behind {op}")));
        }
        let test = match op {
            ":" => contains(*key, &value.text),
            "=" | "!=" => self.is(*key, value)?,
            _ => self.compares(*key, op, value)?,
        };
        Ok(Term { not: not != (op == "!="), test })
    }

    /// The key that is most like `name`, where one is.
    fn meant(&self, name: &str) -> Option<&'static str> {
        let name = name.to_ascii_lowercase();
        let unlike = |key: &&'static str| (far(&name, key), key.len().abs_diff(name.len()));
        let near = self.keys.iter().map(|k| k.name).min_by_key(unlike)?;
        let (edits, longer) = unlike(&near);
        (name.len() > 1 && edits <= (name.len() / 3).max(1) && longer <= LONGER).then_some(near)
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
            return Value { text: rest[..end].to_owned(), at, quote: None, closed: false };
        };
        let mut text = String::new();
        let mut escaped = false;
        for (i, c) in rest.char_indices().skip(1) {
            if c == quote && !escaped {
                self.at += i + 1;
                return Value { text, at, quote: Some(quote), closed: true };
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
        Value { text, at, quote: Some(quote), closed: false }
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

/// The pattern, or what is wrong with it and at which byte.
fn compiled(pattern: &str) -> Result<Regex, (String, Option<usize>)> {
    let built = RegexBuilder::new(pattern).case_insensitive(true).size_limit(PATTERN_SIZE).build();
    built.map_err(|e| {
        let said = e.to_string();
        let said = said.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned();
        (said, broken_at(pattern))
    })
}

/// The byte at which a pattern stops making sense; `None` when it does and is only too large.
fn broken_at(pattern: &str) -> Option<usize> {
    let at = match regex_syntax::Parser::new().parse(pattern).err()? {
        regex_syntax::Error::Parse(e) => e.span().start.offset,
        regex_syntax::Error::Translate(e) => e.span().start.offset,
        _ => return None,
    };
    pattern.is_char_boundary(at).then_some(at)
}
