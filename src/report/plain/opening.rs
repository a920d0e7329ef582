//! The first lines: host, nginx, the figures of the moment, and what to do where there is nothing to see.

use crate::event::site::Site;
use crate::human;
use crate::model::Model;
use crate::report::guide::{self, Program};
use crate::time::Timestamp;

use super::said::{Said, clause, first_few};

/// Names that are listed.
const LISTED: usize = 6;

/// The program, the host and its nginx.
pub(super) fn host(model: &Model, version: &str) -> Vec<Said> {
    let day = model.now.nginx_error_form();
    let day = day.split(' ').next().unwrap_or_default();
    let mut out =
        vec![Said::new(model.now, format!("wspulse {version} looks at host {} on {day}", clause(&model.host)))];
    out.extend(nginx(model));
    out
}

fn nginx(model: &Model) -> Option<Said> {
    let master = model.master()?;
    let version = master.version.or(model.site.as_ref().and_then(|s| s.version));
    let version = version.map_or_else(String::new, |v| format!(" {v}"));
    let (serving, draining) = model.workers();
    let draining = if draining > 0 { format!(" and {draining} that finish their tunnels") } else { String::new() };
    let conf = model.site.as_ref().map(|s| &s.conf).or(master.conf.as_ref());
    let conf = conf.map_or_else(String::new, |c| format!(", its configuration is {}", clause(c)));
    let workers = human::counted(serving as u64, "worker", "workers");
    Some(Said::new(model.now, format!("nginx{version} runs as process {} with {workers}{draining}{conf}", master.pid)))
}

/// What to do where there is nothing to see.
pub(super) fn guide(model: &Model, program: &Program) -> Vec<Said> {
    let is_lost = guide::is_lost(model) || !model.masters().is_empty();
    let Some(guide) = guide::guide(model).filter(|_| is_lost) else { return Vec::new() };
    let next = format!("{}: {}", guide.to, guide.next.with(program, "--plain"));
    let said = |words: String| Said::new(model.now, words);
    vec![said(guide.looked), said(guide.why), said(next).bare()]
}

/// Locations that are not probed, open tunnels, and what the logs hold.
pub(super) fn figures(model: &Model) -> Vec<Said> {
    let said = |words: String| Said::new(model.now, words);
    [unprobed(model), tunnels(model), errors(model)].into_iter().flatten().map(said).collect()
}

fn unprobed(model: &Model) -> Option<String> {
    if !model.probes.by_target.is_empty() {
        return None;
    }
    let locations = model.site.iter().flat_map(Site::locations).filter(|(_, l)| l.means_websocket());
    let paths: Vec<String> = locations.map(|(_, l)| clause(&l.path)).collect();
    let n = human::counted(paths.len() as u64, "WebSocket location is", "WebSocket locations are");
    let (few, more) = first_few(paths, LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let asked = "none is probed unless its URL is given, or with --probe auto";
    (!few.is_empty()).then(|| format!("{n} configured: {}{more}; {asked}", few.join(", ")))
}

fn tunnels(model: &Model) -> Option<String> {
    let c = &model.connections;
    c.last_look().filter(|_| model.master().is_some() || c.count() > 0)?;
    Some(human::counted(c.count() as u64, "tunnel is open", "tunnels are open"))
}

fn errors(model: &Model) -> Option<String> {
    let e = &model.errors;
    if e.entries == 0 {
        return None;
    }
    let mut all: Vec<(u64, &str)> = e.by_category.iter().map(|(c, t)| (t.total, c.word())).collect();
    all.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let (few, _) = first_few(all, LISTED);
    let few: Vec<String> = few.into_iter().map(|(n, word)| format!("{word} {}", human::grouped(n))).collect();
    let first = e.by_category.values().filter_map(|t| t.first).min();
    let since = first.map_or_else(String::new, |at: Timestamp| format!(" since {}", at.local_clock()));
    Some(format!("The error logs hold {}{since}: {}", human::counted(e.entries, "line", "lines"), few.join(", ")))
}
