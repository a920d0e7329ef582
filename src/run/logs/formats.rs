//! What the configuration knows of logs: where they are, how access logs are written, and which timeouts end tunnels.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::event::site::{Escape, Site};
use crate::event::tally::lifecycle::Draining;
use crate::event::tally::sessions::Timeout;
use crate::nginx::access::Format;
use crate::source::config::{ConfigTarget, read_site};
use crate::source::process::read_processes;

/// Where distributions put the configuration.
const USUAL_CONF: &str = "/etc/nginx/nginx.conf";
/// nginx's built-in format.
const COMBINED: &str = "combined";

/// The configuration that was named; else that of the running nginx where the logs are to be found in it; else the usual.
pub(super) fn site(conf: Option<&Path>, wants_logs: bool) -> anyhow::Result<Option<Site>> {
    if let Some(conf) = conf {
        let site = read_site(&ConfigTarget::new(&conf.to_string_lossy(), None, None, None));
        if site.files.is_empty() {
            let why = site.problems.first().map_or("it cannot be read", |p| p.said.as_str());
            bail!("cannot use the configuration {}: {why}", conf.display());
        }
        return Ok(Some(site));
    }
    let masters =
        if wants_logs { read_processes(true, None).map(|p| p.masters).unwrap_or_default() } else { Vec::new() };
    let running = masters.iter().filter(|m| !m.other_net).find_map(ConfigTarget::of_master);
    let target = running.unwrap_or_else(|| ConfigTarget::new(USUAL_CONF, None, None, None));
    Ok(Some(read_site(&target)).filter(|s| !s.files.is_empty()))
}

/// The files that the configuration logs to; what goes to syslog, stderr or a path with variables is no file.
pub(super) fn logs(site: &Site) -> Vec<PathBuf> {
    let errors = site.error_logs.iter().map(|l| &l.path);
    let all = errors.chain(site.access_logs.iter().map(|l| &l.path));
    // Only what a copied root holds is the copy's own; other paths would lead to this machine's logs.
    if site.is_copy() && site.root.is_none() {
        return Vec::new();
    }
    let root = site.root.as_deref().unwrap_or_default();
    all.filter(|p| p.starts_with('/') && !p.contains('$')).map(|p| PathBuf::from(format!("{root}{p}"))).collect()
}

/// A format and what it is called.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) format: Format,
}

/// The formats to try, in this order.
pub(super) fn formats(given: Option<&str>, site: Option<&Site>) -> anyhow::Result<Vec<Named>> {
    let combined = Named { name: COMBINED.to_owned(), format: Format::combined() };
    if let Some(given) = given {
        return Ok(if given == COMBINED { vec![combined] } else { vec![one(given, site)?, combined] });
    }
    let mut all = vec![combined];
    for log in site.map_or(&[][..], |s| &s.access_logs) {
        let known = all.iter().any(|n| n.name == log.format);
        if let (false, Some(pattern)) = (known, &log.pattern)
            && let Ok(format) = Format::compile(pattern, log.escape)
        {
            all.push(Named { name: log.format.clone(), format });
        }
    }
    Ok(all)
}

/// The format called `given`, or written so, with nginx's `escape=json` or `escape=none` in front if it has one.
fn one(given: &str, site: Option<&Site>) -> anyhow::Result<Named> {
    let compile = |pattern: &str, escape| {
        let format = Format::compile(pattern, escape).map_err(anyhow::Error::msg).context("cannot use --log-format")?;
        anyhow::Ok(Named { name: given.to_owned(), format })
    };
    if given.contains('$') {
        let modes =
            [("escape=json ", Escape::Json), ("escape=none ", Escape::None), ("escape=default ", Escape::Default)];
        let found = modes.iter().find_map(|(word, mode)| Some((given.strip_prefix(word)?.trim_start(), *mode)));
        let (pattern, mode) = found.unwrap_or((given, Escape::Default));
        return compile(pattern, mode);
    }
    let named = site.and_then(|s| s.access_logs.iter().find(|l| l.format == given));
    match named.and_then(|l| Some((l.pattern.as_ref()?, l.escape))) {
        Some((pattern, escape)) => compile(pattern, escape),
        None => bail!(
            "no access_log of the configuration uses a log_format '{given}': give the format itself in single quotes, or --nginx-conf PATH"
        ),
    }
}

/// The timeouts that cut idle tunnels: those of the locations that are meant for WebSockets, or of all that proxy where
/// none says so; those that were set on purpose first. `keepalive_timeout` and `send_timeout` end no idle tunnel.
pub(super) fn timeouts(site: &Site) -> Vec<Timeout> {
    let named_so = site.locations().any(|(_, l)| l.means_websocket());
    let mut all = Vec::new();
    for (_, location) in site.locations().filter(|(_, l)| l.proxy_pass.is_some() && (l.means_websocket() || !named_so))
    {
        for (name, set) in
            [("proxy_read_timeout", &location.read_timeout), ("proxy_send_timeout", &location.send_timeout)]
        {
            let place = set.place.as_ref().map_or_else(|| " (the default)".to_owned(), |p| format!(" ({p})"));
            let name = format!("{name} of location {}{place}", location.path);
            all.push((set.place.is_none(), name.starts_with("proxy_send"), Timeout { after: set.value, name }));
        }
    }
    // What was set on purpose is the likelier cause, and silence is likelier than a backend that does not read.
    all.sort_by_key(|(is_default, is_send, _)| (*is_default, *is_send));
    all.into_iter().map(|(.., timeout)| timeout).collect()
}

/// How long old workers may drain.
pub(super) fn draining(site: &Site) -> Draining {
    site.worker_shutdown_timeout.as_ref().map_or(Draining::Endless, |set| {
        let place = set.place.as_ref().map_or_else(|| site.conf.clone(), ToString::to_string);
        Draining::Bounded(set.value, place)
    })
}
