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

#[cfg(test)]
mod tests {
    use super::super::row::KEYS;
    use super::super::row::tests::row;
    use super::*;
    use std::time::Duration;

    #[test]
    fn addresses_and_numbers_sort_as_such_and_the_unknown_stands_last_either_way() {
        let mut rows = vec![row("10.0.0.10:1"), row("-"), row("10.0.0.9:2"), row("10.0.0.9:1")];
        let clients = |rows: &[_]| -> Vec<String> {
            rows.iter().map(|r| Fields::text(r, "client").unwrap_or("·".into()).into_owned()).collect()
        };
        sort(&mut rows, Order::parse("client", &KEYS).expect("a column"));
        assert_eq!(clients(&rows), ["10.0.0.9:1", "10.0.0.9:2", "10.0.0.10:1", "·"]);
        sort(&mut rows, Order::parse("-Client", &KEYS).expect("a column"));
        assert_eq!(clients(&rows), ["10.0.0.10:1", "10.0.0.9:2", "10.0.0.9:1", "·"]);
        rows[0].worker = Some(10);
        rows[1].worker = Some(9);
        rows[2].left = Some(Duration::from_secs(1));
        sort(&mut rows, Order::parse("worker", &KEYS).expect("a column"));
        assert_eq!(rows[0].worker, Some(9));
        sort(&mut rows, Order::parse("left", &KEYS).expect("a column"));
        assert!(rows[0].left.is_some());
        assert!(Order::parse("colour", &KEYS).is_err_and(|e| e.contains("there are client, worker")));
    }
}
