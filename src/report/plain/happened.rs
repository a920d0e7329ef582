//! What befell nginx: reloads, starts, ends, workers that went, and a configuration that was written anew.

use std::collections::VecDeque;

use crate::human;
use crate::model::Model;
use crate::model::marks::{Mark, MarkKind};
use crate::time::Timestamp;

use super::said::{Gravity, Said, clause, first_few};

/// Marks told one by one in one look.
const ONE_BY_ONE: usize = 12;

/// What was told of the timeline.
#[derive(Debug, Default)]
pub(super) struct Happened {
    began: Option<Timestamp>,
    told: VecDeque<Mark>,
    /// The configuration was read again.
    read: Option<Timestamp>,
}

impl Happened {
    /// The configuration was read.
    pub(super) const fn hear_site(&mut self, at: Timestamp) {
        self.read = Some(at);
    }

    /// From now on.
    pub(super) fn begin(&mut self, model: &Model) {
        self.began = Some(model.now);
        self.told = model.marks.iter().cloned().collect();
        self.read = None;
    }

    pub(super) fn changes(&mut self, model: &Model) -> Vec<Said> {
        let mut out = Vec::new();
        // What an old log tells late is no news.
        let began = self.began.unwrap_or_default();
        let new: Vec<Mark> = model.marks.iter().filter(|m| m.at >= began && !self.told.contains(m)).cloned().collect();
        if !new.is_empty() {
            self.told = model.marks.iter().cloned().collect();
        }
        let (few, more) = first_few(new, ONE_BY_ONE);
        out.extend(few.iter().filter_map(|m| said(model, m)));
        if more > 0 {
            out.push(Said::new(model.now, format!("{more} more marks stand on the timeline")));
        }
        out.extend(self.read.take().and_then(|at| read(model, at)));
        out
    }
}

fn said(model: &Model, mark: &Mark) -> Option<Said> {
    let (words, gravity) = match mark.kind {
        MarkKind::Reload => {
            let (serving, draining) = model.workers();
            let workers = human::counted(serving as u64, "worker serves", "workers serve");
            let old = human::counted(draining as u64, "old one finishes its tunnels", "old ones finish their tunnels");
            let old = if draining > 0 { format!(", {old}") } else { String::new() };
            (format!("nginx was reloaded: {workers}{old}"), None)
        }
        MarkKind::Started => ("nginx was started".to_owned(), Some(Gravity::Good)),
        MarkKind::Stopped => (clause(&mark.said), Some(Gravity::Bad)),
        MarkKind::WorkerGone => {
            let said = clause(&mark.said).replace(" signal ", " died of signal ").replace(" gone", " is gone");
            (format!("nginx's {said}"), Some(Gravity::Bad))
        }
        // The endpoints speak for themselves.
        MarkKind::ProbeDown | MarkKind::ProbeUp => return None,
    };
    Some(Said::new(mark.at, words).grave(gravity))
}

fn read(model: &Model, at: Timestamp) -> Option<Said> {
    let site = model.site.as_ref()?;
    let locations = site.locations().filter(|(_, l)| l.means_websocket()).count();
    let servers = human::counted(site.servers.len() as u64, "server", "servers");
    let locations = human::counted(locations as u64, "WebSocket location", "WebSocket locations");
    Some(Said::new(at, format!("The configuration {} was read anew: {servers}, {locations}", clause(&site.conf))))
}
