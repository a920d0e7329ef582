//! What is counted alike in both kinds of log: entries, moments, clients, backends, locations.

use super::addresses::Addresses;
use super::edge::{Before, Edge, Figures};
use super::names::Names;
use crate::event::tally::Tally;
use crate::event::tally::rate::Rate;
use crate::time::Timestamp;

/// What both kinds of log have in common.
#[derive(Debug, Default)]
pub(super) struct Common {
    entries: u64,
    figures: Figures,
    pub(super) edge: Edge,
    span: Option<(Timestamp, Timestamp)>,
    rate: Rate,
    /// Entries of the second that is being counted.
    pub(super) second: i64,
    pub(super) in_second: u64,
    addresses: Addresses,
    clients: Names,
    pub(super) upstreams: Names,
    pub(super) locations: Names,
}

impl Common {
    #[inline]
    pub(super) fn entry(&mut self, overlong: bool) {
        self.entries += 1;
        self.figures.overlong += u64::from(overlong);
        self.edge.last = Some(Before::Counted);
    }

    pub(super) fn left_out(&mut self) {
        self.edge.last = Some(Before::LeftOut);
    }

    /// A line that is no entry; `dated`: it begins like one.
    pub(super) fn no_entry(&mut self, line: &[u8], dated: bool, overlong: bool) {
        match (self.edge.last, dated) {
            (None, _) => {
                let edge = &mut self.edge;
                edge.overlong += u64::from(overlong);
                match (dated, edge.unparsed > 0) {
                    (true, _) => edge.unparsed += 1,
                    (false, true) => edge.continuations += 1,
                    (false, false) if line.is_empty() => edge.empty += 1,
                    (false, false) => edge.headless += 1,
                }
            }
            (Some(Before::LeftOut), _) => {}
            (Some(_), true) => self.figures.unparsed += 1,
            (Some(_), false) => self.figures.continuations += 1,
        }
        if matches!(self.edge.last, Some(Before::Counted | Before::Nothing)) {
            self.figures.overlong += u64::from(overlong);
        }
    }

    #[inline]
    pub(super) fn at_second(&mut self, second: i64) {
        if second != self.second {
            self.end_second(second);
        }
        self.in_second += 1;
    }

    #[cold]
    fn end_second(&mut self, next: i64) {
        if self.in_second > 0 {
            self.rate.add_at_second(self.second, self.in_second);
        }
        (self.second, self.in_second) = (next, 0);
    }

    #[inline]
    pub(super) fn spans(&mut self, at: Timestamp) {
        self.span = Some(self.span.map_or((at, at), |(from, to)| (from.min(at), to.max(at))));
    }

    #[inline]
    pub(super) fn client(&mut self, text: &[u8], packed: Option<u64>) {
        match packed {
            Some(packed) => self.addresses.add(packed),
            None => self.clients.add(text, text.len()),
        }
    }

    pub(super) fn pour_into(mut self, tally: &mut Tally, addresses: &mut Addresses, shown: impl Fn(&[u8]) -> String) {
        self.end_second(0);
        tally.entries += self.entries;
        tally.continuations += self.figures.continuations;
        tally.unparsed += self.figures.unparsed;
        tally.overlong += self.figures.overlong;
        tally.spans(self.span.map(|s| s.0));
        tally.spans(self.span.map(|s| s.1));
        tally.rate.merge(&self.rate);
        addresses.merge(self.addresses);
        self.clients.pour_into(&mut tally.clients, &shown);
        self.upstreams.pour_into(&mut tally.upstreams, &shown);
        self.locations.pour_into(&mut tally.locations, &shown);
    }
}

/// The part of `whole` that begins where `part` does: a longer text makes [`Names::add`] cheaper.
#[inline]
pub(super) fn from_on<'a>(whole: &'a [u8], part: &'a [u8]) -> &'a [u8] {
    let offset = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    whole.get(offset..).unwrap_or(part)
}
