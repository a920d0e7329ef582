//! What can be seen and what not: each source's light in words, and when it changes.

use std::collections::BTreeMap;

use crate::event::{Sense, Sight, SourceId, SourceKind};
use crate::model::Model;

use super::said::{Gravity, Said, clause, first_few};

/// Sources told one by one.
const ONE_BY_ONE: usize = 16;

/// The lights that were told.
#[derive(Debug, Default)]
pub(super) struct Sights {
    told: BTreeMap<SourceId, Sight>,
}

/// A probe speaks for itself, and the clock is nobody's eye.
const fn is_told(kind: SourceKind) -> bool {
    !matches!(kind, SourceKind::Probe | SourceKind::Clock)
}

impl Sights {
    /// All lights, but that of nginx's processes where the line about nginx says as much.
    pub(super) fn opening(&mut self, model: &Model) -> Vec<Said> {
        let is_said = |id: &&SourceId| id.kind == SourceKind::Process && model.master().is_some();
        if let Some(id) = model.senses.keys().find(is_said) {
            self.told.insert(id.clone(), Sight::Seen);
        }
        self.tell(model, "")
    }

    pub(super) fn changes(&mut self, model: &Model) -> Vec<Said> {
        self.tell(model, " now")
    }

    fn tell(&mut self, model: &Model, now: &str) -> Vec<Said> {
        let senses = model.senses.iter().filter(|(id, _)| is_told(id.kind));
        let changed = senses.filter(|(id, s)| self.told.get(*id) != Some(&s.sense.sight));
        let said: Vec<(SourceId, Sight, Said)> = changed
            .map(|(id, s)| {
                let words = sentence(id, &s.sense, now);
                (id.clone(), s.sense.sight, Said::new(model.now, words).grave(gravity(s.sense.sight)))
            })
            .collect();
        let mut out = Vec::new();
        for (id, sight, said) in said {
            self.told.insert(id, sight);
            out.push(said);
        }
        self.told.retain(|id, _| model.senses.contains_key(id));
        let (mut few, more) = first_few(out, ONE_BY_ONE);
        if more > 0 {
            few.push(Said::new(model.now, format!("{more} more sources changed")));
        }
        few
    }
}

const fn gravity(sight: Sight) -> Option<Gravity> {
    match sight {
        Sight::Blind => Some(Gravity::Bad),
        Sight::Degraded => Some(Gravity::Poor),
        Sight::Seen | Sight::Off => None,
    }
}

/// `The error log is not seen: /var/log/nginx/error.log: permission denied. What to do: run as root.`
fn sentence(id: &SourceId, sense: &Sense, now: &str) -> String {
    let (what, are) = match id.kind {
        SourceKind::Process => ("nginx's processes", true),
        SourceKind::Config => ("nginx's configuration", false),
        SourceKind::ErrorLog => ("The error log", false),
        SourceKind::AccessLog => ("The access log", false),
        SourceKind::BackendLog => ("The backend's log", false),
        SourceKind::Sockets => ("The sockets", true),
        SourceKind::Probe => ("A probe", false),
        SourceKind::Clock => ("The clock", false),
    };
    let verb = if are { "are" } else { "is" };
    let light = match sense.sight {
        Sight::Seen => "seen",
        Sight::Degraded => "seen only in part",
        Sight::Blind => "not seen",
        Sight::Off => "not looked at",
    };
    let remedy = sense.remedy.as_ref().map_or_else(String::new, |r| format!(". What to do: {}", clause(r)));
    format!("{what} {verb} {light}{now}: {}{remedy}", clause(&sense.said))
}
