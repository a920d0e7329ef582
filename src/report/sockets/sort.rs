//! Rows in the order of one of their facts.

use std::cmp::Ordering;
use std::net::SocketAddr;

use super::super::filter::{Fields, Key, Kind};

/// What a row is sorted by.
enum Rank {
    Number(f64),
    Address(SocketAddr),
    Text(String),
}

/// Which fact, and which way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The fact.
    pub key: Key,
    /// The greatest first.
    pub descending: bool,
}

impl Order {
    /// Reads `KEY`, or `-KEY` for the greatest first.
    ///
    /// # Errors
    /// One sentence that names the keys there are.
    pub fn parse(text: &str, keys: &[Key]) -> Result<Self, String> {
        let (descending, name) = text.strip_prefix('-').map_or((false, text), |n| (true, n));
        let key = keys.iter().find(|k| k.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            let known: Vec<&str> = keys.iter().map(|k| k.name).collect();
            format!(
                "there is no column '{name}'; there are {}, and a - in front turns the order round",
                known.join(", ")
            )
        })?;
        Ok(Self { key: *key, descending })
    }
}

/// Sorts `rows`; what is not known stands last, whichever way round, and equals stay as they were.
pub fn sort<F: Fields>(rows: &mut Vec<F>, order: Order) {
    let mut ranked: Vec<(Option<Rank>, F)> = rows.drain(..).map(|r| (rank(&r, order.key), r)).collect();
    ranked.sort_by(|(a, _), (b, _)| match (a, b) {
        (None, None) => Ordering::Equal,
        (None, _) => Ordering::Greater,
        (_, None) => Ordering::Less,
        (Some(a), Some(b)) if order.descending => against(b, a),
        (Some(a), Some(b)) => against(a, b),
    });
    rows.extend(ranked.into_iter().map(|(_, r)| r));
}

fn rank<F: Fields>(row: &F, key: Key) -> Option<Rank> {
    match key.kind {
        Kind::Span | Kind::Amount => row.number(key.name).map(Rank::Number),
        Kind::Address | Kind::Text => {
            let text = row.text(key.name)?;
            // Worker 9 stands before worker 10.
            let number = || text.parse().ok().map(Rank::Number);
            Some(text.parse().ok().map(Rank::Address).or_else(number).unwrap_or_else(|| Rank::Text(text.into_owned())))
        }
    }
}

fn against(a: &Rank, b: &Rank) -> Ordering {
    match (a, b) {
        (Rank::Number(a), Rank::Number(b)) => a.total_cmp(b),
        (Rank::Address(a), Rank::Address(b)) => a.cmp(b),
        (Rank::Text(a), Rank::Text(b)) => a.cmp(b),
        (Rank::Number(_), _) | (Rank::Address(_), Rank::Text(_)) => Ordering::Less,
        _ => Ordering::Greater,
    }
}
