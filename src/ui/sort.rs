//! What the rows of a table are sorted by.

use std::cmp::Ordering;
use std::net::SocketAddr;

/// What a row is sorted by in one column.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum Sort {
    /// By size.
    Number(f64),
    /// By address, then by port.
    Address(SocketAddr),
    /// By letters.
    Text(String),
    /// Always last.
    Unknown,
}

impl Sort {
    /// A number that may be unknown.
    #[must_use]
    pub fn of(n: Option<f64>) -> Self {
        n.map_or(Self::Unknown, Self::Number)
    }

    /// A whole number that is ordered as this one is, what is not known last; `None` for what is no number.
    pub(super) fn number(&self, reverse: bool) -> Option<u64> {
        match self {
            Self::Unknown => Some(u64::MAX),
            Self::Number(n) => {
                // The bits of a positive number are ordered as it is, those of a negative one the other way round.
                let (bits, sign) = (n.to_bits(), 1 << 63);
                let ascending = if bits & sign == 0 { bits | sign } else { !bits };
                Some(if reverse { !ascending } else { ascending }.min(u64::MAX - 1))
            }
            Self::Address(_) | Self::Text(_) => None,
        }
    }

    /// The order of two values; what is not known stands last either way.
    pub(super) fn against(&self, other: &Self, reverse: bool) -> Ordering {
        let order = match (self, other) {
            (Self::Unknown, Self::Unknown) => return Ordering::Equal,
            (Self::Unknown, _) => return Ordering::Greater,
            (_, Self::Unknown) => return Ordering::Less,
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (a, b) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        };
        if reverse { order.reverse() } else { order }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn figure() -> impl Strategy<Value = Sort> {
        let special = prop_oneof![Just(0.0), Just(-0.0), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(1.0)];
        prop_oneof![3 => any::<f64>().prop_filter("a number", |n| !n.is_nan()), 2 => special]
            .prop_map(Sort::Number)
            .boxed()
            .prop_union(Just(Sort::Unknown).boxed())
    }

    proptest! {
        #[test]
        fn numbers_are_packed_in_the_order_that_they_have(a in figure(), b in figure(), reverse in any::<bool>()) {
            prop_assert_eq!(a.number(reverse).cmp(&b.number(reverse)), a.against(&b, reverse));
        }
    }

    #[test]
    fn words_and_addresses_are_not_packed() {
        assert_eq!(Sort::Text("7".into()).number(false), None);
        assert_eq!(Sort::Address(([10, 0, 0, 1], 80).into()).number(true), None);
    }
}
