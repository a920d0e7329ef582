//! Which configuration is meant, and whether it could be read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::cli::LintArgs;
use crate::event::site::{Site, Version};
use crate::nginx::conf;
use crate::nginx::version::parse_version;
use crate::run::{inputs, out};
use crate::source::config::{ConfigTarget, read_whole};
use crate::source::process::read_processes;

/// Where distributions put the configuration.
const USUAL_CONF: &str = "/etc/nginx/nginx.conf";
/// What it is called in a folder.
const MAIN: &str = "nginx.conf";
/// The main file that is made up around a part of a configuration.
const AROUND: &str = ".wspulse-around.conf";

/// What is linted.
pub(super) struct Target {
    config: ConfigTarget,
    /// The file that was named is not the main one: what stands around it in a main file that there is not.
    around: Option<String>,
    /// As it is called.
    pub(super) name: String,
}

/// The configuration that was named, else that of the running nginx, else the usual one.
pub(super) fn find(args: &LintArgs) -> anyhow::Result<Target> {
    let version = args.nginx_version.as_deref().map(version).transpose()?;
    let whole = |config: ConfigTarget| Target { name: config.conf.clone(), config, around: None };
    let mut target = match &args.path {
        Some(path) => named(path)?,
        None => whole(running(None).unwrap_or_else(|| ConfigTarget::new(USUAL_CONF, None, None, None))),
    };
    target.config.version = version.or(target.config.version);
    if target.around.is_some() && !args.quiet {
        let name = crate::human::visible(target.name.as_bytes());
        out::complain(&format!(
            "wspulse: info: {name} is a part of a configuration: what stands around it is not known"
        ));
    }
    Ok(target)
}

fn named(path: &Path) -> anyhow::Result<Target> {
    if path.as_os_str() == "-" {
        bail!("cannot lint the standard input: write it to a file and name that");
    }
    let path: PathBuf = if path.is_dir() && path.join(MAIN).is_file() { path.join(MAIN) } else { path.to_owned() };
    inputs::readable(&path).with_context(|| "name nginx's main configuration file")?;
    let config = ConfigTarget::new(&path.to_string_lossy(), None, None, None);
    let name = config.conf.clone();
    let Some(around) = fs::read(&path).ok().and_then(|text| around(&text, &name)) else {
        // The running nginx tells its release and its paths.
        return Ok(Target { config: running(Some(&name)).unwrap_or(config), around: None, name });
    };
    let main = base(Path::new(&name)).join(AROUND);
    let config = ConfigTarget::new(&main.to_string_lossy(), None, None, None);
    Ok(Target { config, around: Some(around), name })
}

/// The main file that would include this part; `None` for a main file. Only blocks tell: a file that has none of these,
/// or the blocks of a main file, is one.
fn around(text: &[u8], name: &str) -> Option<String> {
    let tree = conf::parse(text);
    let has = |all: &[&str]| tree.directives.iter().any(|d| d.block().is_some() && all.contains(&d.name()));
    let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
    match (has(&["http", "events", "stream", "mail"]), has(&["location"]), has(&["server", "upstream", "map"])) {
        (true, ..) => None,
        (_, true, false) => Some(format!("events {{}} http {{ server {{ include \"{quoted}\"; }} }}")),
        (_, _, true) => Some(format!("events {{}} http {{ include \"{quoted}\"; }}")),
        _ => None,
    }
}

/// The folder that nested includes count from: the nearest one above that has a main file, else the part's own.
fn base(part: &Path) -> &Path {
    let own = part.parent().unwrap_or(Path::new("/"));
    own.ancestors().find(|a| a.join(MAIN).is_file()).unwrap_or(own)
}

fn running(conf: Option<&str>) -> Option<ConfigTarget> {
    let masters = read_processes(true, None).map(|p| p.masters).unwrap_or_default();
    let here = masters.iter().filter(|m| !m.other_net || conf.is_none());
    let mut targets = here.filter_map(ConfigTarget::of_master);
    targets.find(|t| conf.is_none_or(|c| t.root.is_none() && t.conf == c))
}

fn version(text: &str) -> anyhow::Result<Version> {
    let said = format!("nginx version: nginx/{} ", text.trim().trim_start_matches("nginx/"));
    parse_version(said.as_bytes()).with_context(|| format!("--nginx-version: '{text}' is no release such as 1.22.1"))
}

impl Target {
    /// Reads it with all texts, and with these instead of what the files hold.
    pub(super) fn read(&self, mut texts: BTreeMap<String, String>) -> Site {
        if let Some(around) = &self.around {
            texts.insert(self.config.conf.clone(), around.clone());
        }
        let mut site = read_whole(&self.config, &texts);
        if self.around.is_some() {
            // Where includes and logs really are, and which variables and formats there are, is not known.
            site.problems.retain(|p| {
                let elsewhere = p.said.starts_with("unknown ") && !p.said.starts_with("unknown directive");
                !elsewhere && !p.said.starts_with("cannot ")
            });
            site.error_logs.clear();
        }
        site
    }

    /// The same of the files as they are.
    ///
    /// # Errors
    /// When the main file cannot be read.
    pub(super) fn first(&self) -> anyhow::Result<Site> {
        let site = self.read(BTreeMap::new());
        if site.files.is_empty() {
            let why = site.problems.first().map_or("it cannot be read", |p| p.said.as_str());
            bail!("cannot look at {}: {why}; name the main file, or run as root", self.name);
        }
        Ok(site)
    }
}
