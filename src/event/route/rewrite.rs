//! The directives of the rewrite module, run on a request.

use super::script::{Deed, Flag, Step};
use super::seen::End;
use super::walker::{If, Ran, Walker, joined};
use crate::event::site::{Location, Setting};

impl<'a> Walker<'a> {
    /// Runs rewrite directives; `location` is `None` in a server.
    pub(super) fn run(&mut self, steps: &'a [Step], location: Option<&'a Location>) -> Ran {
        for step in steps {
            let ran = match &step.what {
                Deed::Set { name, value } => {
                    let value = self.state.text(value);
                    self.state.set(name, value);
                    Ran::Through
                }
                Deed::Rewrite { pattern, replacement, flag } => self.rewrite(step, pattern, replacement, *flag),
                Deed::Return { status, text } => self.answer(step, *status, text),
                Deed::If { condition, steps, pass } => self.branch(step, condition, (steps, pass.as_ref()), location),
                Deed::Break => {
                    self.by_location &= !self.changed;
                    self.changed = false;
                    Ran::Stopped
                }
            };
            if !matches!(ran, Ran::Through) {
                return ran;
            }
        }
        Ran::Through
    }

    fn branch(
        &mut self,
        step: &'a Step,
        condition: &[String],
        block: (&'a [Step], Option<&'a Setting<String>>),
        location: Option<&'a Location>,
    ) -> Ran {
        let (steps, pass) = block;
        let words = condition.join(" ");
        match self.state.condition(condition) {
            Some(true) => {
                self.did(format!("if ({words}) holds"), &step.place);
                if location.is_some() {
                    self.chosen_if = pass.map_or(If::Bare, If::Passing);
                }
                self.run(steps, location)
            }
            Some(false) => Ran::Through,
            None => {
                if !steps.is_empty() || pass.is_some() {
                    self.doubt(format!("if ({words}), {}, cannot be told: taken not to hold", step.place));
                }
                for inner in steps {
                    if let Deed::Set { name, .. } = &inner.what {
                        self.state.set(name, None);
                    }
                }
                Ran::Through
            }
        }
    }

    fn answer(&mut self, step: &Step, status: u16, text: &str) -> Ran {
        let place = step.place.clone();
        match status {
            301 | 302 | 303 | 307 | 308 => {
                let to = self.state.text(text);
                Ran::Ended(End::Redirect { status, to, why: "return".to_owned(), place })
            }
            444 => {
                let why = "return 444 closes the connection without an answer".to_owned();
                Ran::Ended(End::Answer { status: None, why, place: Some(place) })
            }
            400.. if text.is_empty() => {
                self.did(format!("return {status}"), &place);
                Ran::Failed(status, place)
            }
            _ => Ran::Ended(End::Answer { status: Some(status), why: format!("return {status}"), place: Some(place) }),
        }
    }

    /// One `rewrite` (`ngx_http_script_regex_start_code` and `_end_code`).
    fn rewrite(&mut self, step: &Step, pattern: &str, replacement: &str, flag: Flag) -> Ran {
        let uri = self.state.uri.clone();
        match self.state.matches(pattern, false, &uri) {
            Some(true) => {}
            Some(false) => return Ran::Through,
            None => {
                self.doubt(format!("rewrite {pattern}, {}, cannot be read here: taken not to match", step.place));
                return Ran::Through;
            }
        }
        // A final "?" drops the arguments that came with the request.
        let (replacement, adds) = replacement.strip_suffix('?').map_or((replacement, true), |r| (r, false));
        let (path, new) = match replacement.split_once('?') {
            Some((path, new)) => (path, Some(new)),
            None => (replacement, None),
        };
        let (Some(path), Some(new)) =
            (self.state.text(path), new.map_or(Some(None), |n| self.state.arguments(n).map(Some)))
        else {
            let why = format!("rewrite to {replacement}, which cannot be told");
            return Ran::Ended(End::Unknown { why, place: Some(step.place.clone()) });
        };
        let old = if adds { self.state.args.as_str() } else { "" };
        let args = match new {
            Some(new) if old.is_empty() => new,
            Some(new) => format!("{new}&{old}"),
            None => old.to_owned(),
        };
        if let Flag::Redirect(status) = flag {
            let why = format!("rewrite {pattern}");
            return Ran::Ended(End::Redirect {
                status,
                to: Some(joined(&path, &args)),
                why,
                place: step.place.clone(),
            });
        }
        self.did(format!("rewrite {pattern} makes it {}", joined(&path, &args)), &step.place);
        if path.is_empty() {
            let why = "the rewritten URI has a zero length".to_owned();
            return Ran::Ended(End::Answer { status: Some(500), why, place: Some(step.place.clone()) });
        }
        (self.state.uri, self.state.args) = (path, args);
        (self.internal, self.unchanged, self.changed) = (true, false, flag != Flag::Break);
        self.by_location &= flag != Flag::Break;
        if flag == Flag::Next { Ran::Through } else { Ran::Stopped }
    }
}
