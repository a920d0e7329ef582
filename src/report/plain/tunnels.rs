//! Tunnels that opened and ended, in sum: what the socket tables show, and what the access log says afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::log::AccessEntry;
use crate::human;
use crate::model::Model;
use crate::model::tunnels::End;
use crate::report::sockets;
use crate::time::Timestamp;

use super::pace::Pace;
use super::said::{Said, clause, first_few, spoken};

/// Ways of ending, and refused handshakes, that are told apart in one line.
const APART: usize = 4;

/// What was told so far.
#[derive(Debug, Default)]
pub(super) struct Tunnels {
    began: Timestamp,
    opened: u64,
    died: u64,
    pace: Pace,
    ended: Ended,
    refused: BTreeMap<(String, u16), u64>,
    refusals: Pace,
}

/// Sessions of the access log that wait to be told.
#[derive(Debug, Default)]
struct Ended {
    pace: Pace,
    count: u64,
    shortest: Option<Duration>,
    longest: Option<Duration>,
}

impl Tunnels {
    /// New lines of an access log.
    pub(super) fn hear(&mut self, entries: &[AccessEntry]) {
        for e in entries.iter().filter(|e| e.is_session()) {
            let ended = &mut self.ended;
            ended.count += 1;
            if let Some(life) = e.lifetime() {
                ended.shortest = Some(ended.shortest.map_or(life, |d| d.min(life)));
                ended.longest = Some(ended.longest.map_or(life, |d| d.max(life)));
            }
        }
    }

    /// From now on.
    pub(super) fn begin(&mut self, model: &Model) {
        self.began = model.now;
        (self.opened, self.died) = (model.connections.opened_total, model.connections.died_total);
        self.ended = Ended::default();
        self.refused = model.sessions.refused.iter().map(|(k, r)| (k.clone(), r.count)).collect();
    }

    pub(super) fn changes(&mut self, model: &Model) -> Vec<Said> {
        [self.sockets(model), self.sessions(model), self.refusals(model)].into_iter().flatten().collect()
    }

    fn sockets(&mut self, model: &Model) -> Option<Said> {
        let c = &model.connections;
        let (opened, died) = (c.opened_total.saturating_sub(self.opened), c.died_total.saturating_sub(self.died));
        if !self.pace.is_due(model.now, opened + died) {
            return None;
        }
        (self.opened, self.died) = (c.opened_total, c.died_total);
        let mut parts = Vec::new();
        if opened > 0 {
            parts.push(format!("{} opened", human::counted(opened, "tunnel", "tunnels")));
        }
        if died > 0 {
            let n = if opened > 0 { human::grouped(died) } else { human::counted(died, "tunnel", "tunnels") };
            parts.push(format!("{n} ended{}", causes(model, died)));
        }
        let open = human::grouped(c.count() as u64);
        Some(Said::new(model.now, format!("{}; {open} open", parts.join(", "))))
    }

    /// The access log speaks only where nobody else saw the tunnels: both would count each tunnel twice.
    fn sessions(&mut self, model: &Model) -> Option<Said> {
        if model.connections.last_look().is_some() {
            self.ended = Ended::default();
            return None;
        }
        if !self.ended.pace.is_due(model.now, self.ended.count) {
            return None;
        }
        let Ended { count, shortest, longest, .. } = std::mem::take(&mut self.ended);
        let lived = match (shortest, longest) {
            (Some(short), Some(long)) if short == long => format!(" after {}", spoken(long)),
            (Some(short), Some(long)) => format!(" after {} to {}", spoken(short), spoken(long)),
            _ => String::new(),
        };
        let sessions = human::counted(count, "session", "sessions");
        Some(Said::new(model.now, format!("{sessions} ended{lived}, as the access log says")))
    }

    fn refusals(&mut self, model: &Model) -> Option<Said> {
        let all = &model.sessions.refused;
        let new = |key: &(String, u16), count: u64| count.saturating_sub(self.refused.get(key).copied().unwrap_or(0));
        // What an old log tells late is no news.
        let mut fresh: Vec<(u64, &(String, u16))> = all
            .iter()
            .filter(|(_, r)| r.last >= self.began)
            .map(|(k, r)| (new(k, r.count), k))
            .filter(|(n, _)| *n > 0)
            .collect();
        if !self.refusals.is_due(model.now, fresh.iter().map(|(n, _)| n).sum()) {
            return None;
        }
        fresh.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        let total: u64 = fresh.iter().map(|(n, _)| n).sum();
        let (few, more) = first_few(fresh, APART);
        let mut each: Vec<String> = few
            .into_iter()
            .map(|(n, (path, status))| format!("{} on {} with status {status}", human::grouped(n), clause(path)))
            .collect();
        if more > 0 {
            each.push(format!("the rest on {}", human::counted(more as u64, "other path", "other paths")));
        }
        let words =
            format!("{} refused: {}", human::counted(total, "handshake was", "handshakes were"), each.join(", "));
        self.refused = all.iter().map(|(k, r)| (k.clone(), r.count)).collect();
        Some(Said::new(model.now, words))
    }
}

/// How the newest so many ended, and after what time, as far as they are remembered.
fn causes(model: &Model, died: u64) -> String {
    let newest = usize::try_from(died).unwrap_or(usize::MAX);
    let rows: Vec<_> = sockets::ended(model).into_iter().take(newest).collect();
    let mut by_cause: BTreeMap<&'static str, u64> = BTreeMap::new();
    for how in rows.iter().filter_map(|r| r.ended.as_ref()).map(|e| e.how) {
        *by_cause.entry(if how == End::Unknown { "cause not seen" } else { how.word() }).or_default() += 1;
    }
    let mut causes: Vec<(u64, &str)> = by_cause.into_iter().map(|(word, n)| (n, word)).collect();
    causes.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let (few, more) = first_few(causes, APART);
    let mut said: Vec<String> = few.into_iter().map(|(n, word)| format!("{word} {}", human::grouped(n))).collect();
    if more > 0 {
        said.push("others".to_owned());
    }
    if rows.len() < newest {
        said.push(format!("the rest not remembered {}", human::grouped((newest - rows.len()) as u64)));
    }
    let ages: Vec<Duration> =
        rows.iter().filter_map(|r| r.age.filter(|(_, at_least)| !at_least).map(|(d, _)| d)).collect();
    match (ages.iter().min(), ages.iter().max()) {
        (Some(short), Some(long)) if spoken(*short) == spoken(*long) => said.push(format!("after {}", spoken(*long))),
        (Some(short), Some(long)) => said.push(format!("after {} to {}", spoken(*short), spoken(*long))),
        _ => {}
    }
    if said.is_empty() { String::new() } else { format!(" ({})", said.join(", ")) }
}
