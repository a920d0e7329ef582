//! How a filter that is being typed may go on: keys, their operators, and values that there are.

use super::read::{self, Part};
use super::{Filter, Key, Kind};

/// Ways to go on that are offered at most.
const MOST: usize = 64;
/// Thresholds that are offered before a digit was typed.
const SPANS: [&str; 5] = ["10s", "30s", "1m", "5m", "1h"];
const AMOUNTS: [&str; 3] = ["0", "1k", "1M"];
/// Units that are offered behind digits.
const SPAN_UNITS: [&str; 5] = ["s", "m", "h", "ms", "d"];
const AMOUNT_UNITS: [&str; 3] = ["k", "M", "Ki"];

/// Ways to go on, each in place of what stands between `from` and the cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// Bytes of the filter before what is replaced.
    pub from: usize,
    /// What may stand there, the likeliest first.
    pub candidates: Vec<String>,
}

/// How `head`, a filter up to the cursor, may go on where these keys can be named; `values` are those that a key is known
/// to have. A candidate that ends with an operator wants a value behind it; the others are whole.
#[must_use]
pub fn complete(head: &str, keys: &[Key], values: &dyn Fn(&Key) -> Vec<String>) -> Completion {
    let (from, mut candidates) = match read::last(head) {
        None => (head.len(), keys.iter().map(usual).collect()),
        Some(Part::Word(word)) if word.quote.is_none() => (word.at, named(&word.text, keys)),
        Some(Part::Comparison(name, op, value)) if !value.closed => {
            let found = keys.iter().find(|k| k.name.eq_ignore_ascii_case(name));
            (value.at, found.map_or_else(Vec::new, |key| valued(*key, op, &value.text, values)))
        }
        Some(_) => (head.len(), Vec::new()),
    };
    let typed = head.get(from..).unwrap_or_default();
    candidates.retain(|c| c != typed);
    candidates.truncate(MOST);
    Completion { from, candidates }
}

/// A key with the operator that it is mostly asked with.
fn usual(key: &Key) -> String {
    format!("{}{}", key.name, operators(key.kind)[0])
}

const fn operators(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Text | Kind::Address => &[":", "=", "!="],
        Kind::Span | Kind::Amount => &[">", "<", ">=", "<=", "=", "!="],
    }
}

/// The keys that begin like this; of one that is typed whole all operators, behind the others.
fn named(typed: &str, keys: &[Key]) -> Vec<String> {
    let typed = typed.to_lowercase();
    let begun = keys.iter().filter(|k| k.name.starts_with(&typed)).map(usual);
    let whole = keys.iter().filter(|k| k.name == typed);
    let others = whole.flat_map(|k| operators(k.kind).iter().skip(1).map(|op| format!("{}{op}", k.name)));
    begun.chain(others).collect()
}

/// The values of a key that go on like this.
fn valued(key: Key, op: &str, typed: &str, values: &dyn Fn(&Key) -> Vec<String>) -> Vec<String> {
    let all = match key.kind {
        Kind::Span if op != ":" => numbers(typed, &SPANS, &SPAN_UNITS),
        Kind::Amount if op != ":" => numbers(typed, &AMOUNTS, &AMOUNT_UNITS),
        _ => like(typed, values(&key)).iter().map(|v| quoted(v)).collect(),
    };
    // Whatever was thought of here, nothing is offered that would be refused.
    let is_right = |value: &String| Filter::parse(&format!("{}{op}{value}", key.name), &[key]).is_ok();
    all.into_iter().filter(is_right).collect()
}

fn numbers(typed: &str, before: &[&str], units: &[&str]) -> Vec<String> {
    if typed.is_empty() {
        return before.iter().map(|&n| n.to_owned()).collect();
    }
    let is_number = typed.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    units.iter().filter(|_| is_number).map(|unit| format!("{typed}{unit}")).collect()
}

/// Those that begin with what was typed, then those that contain it.
fn like(typed: &str, values: Vec<String>) -> Vec<String> {
    let typed = typed.to_lowercase();
    let (mut begun, rest): (Vec<_>, Vec<_>) =
        values.into_iter().filter(|v| !v.is_empty()).partition(|v| v.to_lowercase().starts_with(&typed));
    begun.extend(rest.into_iter().filter(|v| v.to_lowercase().contains(&typed)));
    begun
}

/// A value of a filter, in quotes where it needs them.
#[must_use]
pub fn quoted(text: &str) -> String {
    if text.chars().any(|c| c.is_whitespace() || matches!(c, '"' | '\'' | '\\')) {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        text.to_owned()
    }
}
