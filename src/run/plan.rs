//! Which sources should run, given what is known: pure, so that it can be tested without running any.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnose::way::{Behind, Way};
use crate::event::probe::{Cadence, Route, TargetId};
use crate::event::process::{Master, Processes};
use crate::event::site::{AccessLog, Escape, Interest, Site};
use crate::event::{SourceId, SourceKind};
use crate::human::visible;
use crate::settings::Settings;
use crate::source::config::Past;
use crate::source::logs::{self, Matches, STDIN};
use crate::source::probe::{self, Host, ProbeOptions, WsUrl};

/// One source to run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Job {
    /// nginx's processes.
    Processes,
    /// The socket tables.
    Sockets,
    /// A configuration.
    Config(ConfigJob),
    /// An error log.
    ErrorLog(PathBuf),
    /// An access log with its format.
    AccessLog(AccessJob),
    /// A log that holds lines of both kinds: the standard input, or one path given as both.
    MixedLog(MixedJob),
    /// Logs that a pattern names: which files they are.
    Pattern(SourceKind, PathBuf),
    /// A backend's own log.
    BackendLog(PathBuf),
    /// A probe.
    Probe(Box<ProbeJob>),
}

impl Job {
    /// The source's name and the path, when it reads a log.
    #[must_use]
    pub fn log(&self, host: &Arc<str>) -> Option<(SourceId, &Path)> {
        let (kind, path) = match self {
            Self::ErrorLog(path) => (SourceKind::ErrorLog, path),
            Self::AccessLog(job) => (SourceKind::AccessLog, &job.path),
            Self::BackendLog(path) => (SourceKind::BackendLog, path),
            Self::MixedLog(job) => (job.kind, &job.access.path),
            _ => return None,
        };
        Some((logs::id(host, kind, path), path))
    }

    /// It reads the standard input.
    #[must_use]
    pub fn is_stdin(&self) -> bool {
        matches!(self, Self::MixedLog(job) if job.access.path.as_os_str() == STDIN)
    }
}

/// A log of both kinds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MixedJob {
    /// As what it was given; as both is as an error log.
    pub kind: SourceKind,
    /// It was given as both.
    pub both: bool,
    /// Where it is, and how its access lines are written.
    pub access: AccessJob,
}

/// One target and what is dialled for it: the id carries no secrets of the URL, so it cannot be dialled itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProbeJob {
    /// Under which name it speaks.
    pub target: TargetId,
    /// What is dialled.
    pub url: WsUrl,
    /// The peer of the configuration that it goes to; `None` for a URL that was given.
    pub peer: Option<Behind>,
}

impl ProbeJob {
    /// The same target, held at a pace of its own.
    fn at(&self, cadence: Cadence) -> Self {
        let target = TargetId { cadence: Some(cadence), ..self.target.clone() };
        Self { target, ..self.clone() }
    }

    /// How it is dialled, where `usual` is how probes are dialled at all: a peer gets what nginx would send it.
    #[must_use]
    pub fn options(&self, usual: &ProbeOptions) -> ProbeOptions {
        let mut options = usual.clone();
        if let Some(cadence) = self.target.cadence {
            options = options.at_cadence(cadence);
        }
        if self.target.route == Route::Direct {
            // What a balancer says to nginx's port ends there, and so does a socket on which nginx listens.
            options.proxy_protocol = None;
            options.unix_socket = None;
        }
        let Some(peer) = &self.peer else { return options };
        options.host_header = Some(peer.host.clone());
        options.unix_socket = peer.socket.as_ref().map(PathBuf::from);
        let replaced = |name: &String| peer.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        options.headers.retain(|(name, _)| !replaced(name) && !name.eq_ignore_ascii_case("host"));
        options.headers.extend(peer.headers.iter().cloned());
        options.left_out.extend(peer.left_out.iter().cloned());
        // A client's certificate ends at nginx, too; and nginx asks no backend for a certificate that it trusts unless
        // proxy_ssl_verify says so.
        (options.client_cert, options.insecure) = (None, true);
        options
    }
}

/// Where a configuration is and which master told it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConfigJob {
    /// The main file.
    pub conf: PathBuf,
    /// The master, for its version, prefix and root; `None` when no nginx runs or the path was given.
    pub master: Option<u32>,
    /// It was given, and no nginx of this host runs it.
    pub apart: bool,
    /// Whether logs are judged as of their own end with it.
    pub past: Past,
}

/// An access log and how its lines are written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccessJob {
    /// The file.
    pub path: PathBuf,
    /// The format's text; `None` is `combined`.
    pub pattern: Option<String>,
    /// Its `escape=` mode.
    pub escape: Escape,
}

/// What was learnt and wished while running.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The processes, once looked for.
    pub processes: Option<&'a Processes>,
    /// The configuration, once read.
    pub site: Option<&'a Site>,
    /// The configuration was looked for, whether it could be read or not.
    pub looked_for_site: bool,
    /// The files of each pattern.
    pub matches: &'a Matches,
    /// What stands behind the endpoints that are probed.
    pub behind: &'a [Way],
    /// URLs whose probes were switched on by hand.
    pub wanted: &'a [WsUrl],
    /// Endpoints whose probes were switched off by hand.
    pub unwanted: &'a BTreeSet<Arc<str>>,
}

/// Everything that should run now.
#[must_use]
pub fn plan(settings: &Settings, known: &Known<'_>) -> Vec<Job> {
    let mut jobs = Vec::new();
    if !is_past(settings, known).unwrap_or(settings.one_look) && !settings.nginx_dump && !is_copy(known) {
        jobs.push(Job::Sockets);
    }
    if settings.find_nginx && !settings.nginx_dump {
        jobs.push(Job::Processes);
    }
    jobs.extend(config_job(settings, known).map(Job::Config));
    if settings.follow_logs && is_past(settings, known).is_some() {
        jobs.extend(logs_of(settings, known));
        jobs.extend(settings.backend_logs.iter().cloned().map(Job::BackendLog));
    }
    jobs.extend(probes(settings, known).into_iter().map(|job| Job::Probe(Box::new(job))));
    jobs
}

/// Whether the configuration that was given is none that an nginx of this host runs; `None` as long as that is not known.
#[must_use]
pub fn is_apart(settings: &Settings, known: &Known<'_>) -> Option<bool> {
    let Some(conf) = settings.nginx_conf.as_deref().filter(|_| settings.find_nginx) else { return Some(false) };
    if settings.nginx_dump {
        return Some(true);
    }
    let processes = known.processes?;
    let is_down = processes.masters.is_empty() && asks_this_host(settings);
    Some(!is_down && !processes.masters.iter().any(|m| runs(m, conf, settings)))
}

/// Something on this host is to be probed: a configuration that nobody runs is then one that somebody should run.
fn asks_this_host(settings: &Settings) -> bool {
    let is_here = |host: &Host| match host {
        Host::Name(name) => name == "localhost",
        Host::Ip(ip) => ip.is_loopback(),
    };
    !settings.no_probe && settings.endpoints.iter().any(|(url, _)| is_here(url.host()))
}

/// The master was started with the given file, which lies in our own file system.
fn runs(master: &Master, given: &Path, settings: &Settings) -> bool {
    let own = master.conf.as_deref().map(Path::new).filter(|_| master.root.is_none());
    own.is_some_and(|own| own == given || settings.nginx_conf_real.as_deref() == Some(own))
}

/// Only logs that were named are to be looked at, once, and nothing is probed.
fn is_of_logs(settings: &Settings) -> bool {
    let logs = [&settings.error_logs, &settings.access_logs, &settings.backend_logs];
    let quiet = settings.no_probe || (settings.endpoints.is_empty() && !settings.auto_probe);
    settings.one_look && quiet && logs.iter().any(|l| !l.is_empty())
}

/// Whether the logs are judged as of their own end: they belong to a copy, or to a configuration that nobody runs here and
/// are old. `None` as long as that is not known.
#[must_use]
pub fn is_past(settings: &Settings, known: &Known<'_>) -> Option<bool> {
    if !is_of_logs(settings) || !is_apart(settings, known)? {
        return Some(false);
    }
    match known.site {
        Some(site) => Some(site.apart.as_ref().is_some_and(|a| a.past)),
        None => known.looked_for_site.then_some(false),
    }
}

fn is_copy(known: &Known<'_>) -> bool {
    known.site.is_some_and(Site::is_copy)
}

/// The master that the screen is about: the one asked for, else one that shares our network, if possible one that listens
/// where a URL leads that is probed.
#[must_use]
pub fn chosen_master<'a>(settings: &Settings, processes: &'a Processes) -> Option<&'a Master> {
    match settings.pid {
        Some(pid) => processes.masters.iter().find(|m| m.pid == pid),
        None => processes.masters.iter().min_by_key(|m| (m.other_net, !serves(settings, m), m.pid)),
    }
}

/// It listens on the port of a URL that was given, and on its address where that is a literal.
fn serves(settings: &Settings, master: &Master) -> bool {
    let leads_to = |url: &WsUrl, local: &SocketAddr| {
        let same = match url.host() {
            Host::Ip(ip) => local.ip() == *ip || local.ip().is_unspecified(),
            Host::Name(_) => true,
        };
        local.port() == url.port() && same
    };
    settings.endpoints.iter().any(|(url, _)| master.listens.iter().any(|local| leads_to(url, local)))
}

fn config_job(settings: &Settings, known: &Known<'_>) -> Option<ConfigJob> {
    let master = known.processes.and_then(|p| chosen_master(settings, p));
    if let Some(conf) = &settings.nginx_conf {
        // A given file belongs to a running master only when that one says so.
        let mut all = known.processes.iter().flat_map(|p| &p.masters);
        let same = master.filter(|m| runs(m, conf, settings)).or_else(|| all.find(|m| runs(m, conf, settings)));
        let apart = is_apart(settings, known)?;
        let past = if is_of_logs(settings) { Past::IfCopy } else { Past::Never };
        let past = if past == Past::IfCopy && settings.old_logs { Past::Always } else { past };
        return Some(ConfigJob { conf: conf.clone(), master: same.map(|m| m.pid), apart, past });
    }
    if let Some(m) = master
        && let Some(conf) = &m.conf
    {
        return Some(ConfigJob { conf: PathBuf::from(conf), master: Some(m.pid), apart: false, past: Past::Never });
    }
    let looked = known.processes.is_some() || !settings.find_nginx;
    looked.then(|| ConfigJob { conf: settings.usual_conf.clone(), master: None, apart: false, past: Past::Never })
}

/// What `error_log` names and is no file.
fn is_file(path: &str) -> bool {
    path != "stderr" && !path.starts_with("syslog:") && !path.starts_with("memory:") && !path.contains('$')
}

/// The logs, each once: a path that is given as both kinds holds both, and who pipes a log in may not know what it holds.
fn logs_of(settings: &Settings, known: &Known<'_>) -> Vec<Job> {
    let (errors, accesses) = (error_logs(settings, known), access_logs(settings, known));
    let is_mixed = |path: &Path| path.as_os_str() == STDIN || errors.iter().any(|e| e == path);
    let mixed = |kind, access: &AccessJob| {
        let both = errors.contains(&access.path) && accesses.contains(access);
        Job::MixedLog(MixedJob { kind, both, access: access.clone() })
    };
    let mut jobs = patterns(settings);
    for job in &accesses {
        let kind = if errors.contains(&job.path) { SourceKind::ErrorLog } else { SourceKind::AccessLog };
        jobs.push(if is_mixed(&job.path) { mixed(kind, job) } else { Job::AccessLog(job.clone()) });
    }
    let as_access = given(&settings.access_logs, known);
    let is_both = |path: &PathBuf| as_access.contains(path) || accesses.iter().any(|a| a.path == *path);
    for path in errors.iter().filter(|path| !is_both(path)) {
        if path.as_os_str() != STDIN {
            jobs.push(Job::ErrorLog(path.clone()));
        } else if is_format_known(settings, known) || settings.log_format.is_none() {
            jobs.push(mixed(SourceKind::ErrorLog, &access_job(settings, known, path)));
        }
    }
    jobs
}

/// What `--log-format` means, or that none is meant, can be told. A source that began before would read its log twice.
fn is_format_known(settings: &Settings, known: &Known<'_>) -> bool {
    let is_text = settings.log_format.as_deref().is_some_and(|f| f.contains('$'));
    is_text || known.site.is_some() || known.looked_for_site
}

fn patterns(settings: &Settings) -> Vec<Job> {
    let of = |kind, paths: &[PathBuf]| -> Vec<Job> {
        paths.iter().filter(|p| logs::is_pattern(p)).map(|p| Job::Pattern(kind, p.clone())).collect()
    };
    let mut all = of(SourceKind::ErrorLog, &settings.error_logs);
    all.extend(of(SourceKind::AccessLog, &settings.access_logs));
    all
}

/// The logs that were given, each pattern as the files that match it.
fn given(paths: &[PathBuf], known: &Known<'_>) -> Vec<PathBuf> {
    let one = |path: &PathBuf| match known.matches.get(path) {
        Some(files) => files.iter().map(|f| f.path.clone()).collect(),
        None if logs::is_pattern(path) => Vec::new(),
        None => vec![path.clone()],
    };
    paths.iter().flat_map(one).collect()
}

fn error_logs(settings: &Settings, known: &Known<'_>) -> Vec<PathBuf> {
    if !settings.error_logs.is_empty() {
        return given(&settings.error_logs, known);
    }
    let Some(site) = known.site else { return Vec::new() };
    let files = site.error_logs.iter().filter(|l| is_file(&l.path));
    files.filter_map(|l| site.log_file(&l.path)).map(PathBuf::from).collect()
}

fn access_logs(settings: &Settings, known: &Known<'_>) -> Vec<AccessJob> {
    if settings.access_logs.is_empty() {
        let Some(site) = known.site else { return Vec::new() };
        let files = site.access_logs.iter().filter(|l| is_file(&l.path));
        let job = |l: &AccessLog| {
            let path = PathBuf::from(site.log_file(&l.path)?);
            Some(AccessJob { path, pattern: l.pattern.clone(), escape: l.escape })
        };
        return files.filter_map(job).collect();
    }
    if !is_format_known(settings, known) {
        return Vec::new();
    }
    given(&settings.access_logs, known).iter().map(|path| access_job(settings, known, path)).collect()
}

/// The format of an access log: as given by text or name, else that of the configuration for this very file.
fn access_job(settings: &Settings, known: &Known<'_>, path: &Path) -> AccessJob {
    let of_site = known.site.map_or(&[][..], |s| &s.access_logs);
    let named = settings.log_format.as_deref();
    let same = of_site.iter().find(|l| match named {
        Some(name) => l.format == name,
        None => Path::new(&l.path) == path,
    });
    let pattern = match (same, named) {
        (Some(l), _) => l.pattern.clone(),
        (None, Some(text)) if text.contains('$') => Some(text.to_owned()),
        _ => None,
    };
    AccessJob { path: path.to_path_buf(), pattern, escape: same.map_or(Escape::Default, |l| l.escape) }
}

/// The probes that were asked for, each with its direct twin, and those that the configuration shows when all are wanted.
#[must_use]
pub fn probes(settings: &Settings, known: &Known<'_>) -> Vec<ProbeJob> {
    let mut jobs: Vec<ProbeJob> = Vec::new();
    if settings.no_probe {
        return jobs;
    }
    let given = settings.endpoints.iter().map(|(url, direct)| (url.clone(), direct.clone()));
    let by_hand = known.wanted.iter().map(|url| (url.clone(), None));
    let found = known.site.filter(|_| settings.auto_probe).map(Site::endpoints).unwrap_or_default();
    let found = found.into_iter().filter_map(|e| Some((WsUrl::parse(&e.url).ok()?, None)));
    // Through an HTTP proxy or a socket of its own, a URL says nothing about this host's nginx.
    let finds = settings.find_backends && settings.probe.http_proxy.is_none() && settings.probe.unix_socket.is_none();
    for (url, direct) in given.chain(by_hand).chain(found) {
        let given = direct.map(|d| ProbeJob { target: probe::target(&url, &d, Route::Direct), url: d, peer: None });
        let found = if given.is_none() && finds { peers(&url, known.behind) } else { Vec::new() };
        let target = probe::target(&url, &url, Route::Proxy);
        for job in std::iter::once(ProbeJob { target, url, peer: None }).chain(given) {
            let paced = settings.cadences.iter().map(|c| job.at(*c));
            let paced: Vec<ProbeJob> = paced.collect();
            jobs.push(job);
            jobs.extend(paced);
        }
        jobs.extend(found);
    }
    jobs.retain(|j| !known.unwanted.contains(&j.target.endpoint));
    let mut seen = BTreeSet::new();
    jobs.retain(|j| seen.insert(j.target.clone()));
    jobs
}

/// The direct twins of an endpoint: the peers that its location leads to.
fn peers(endpoint: &WsUrl, behind: &[Way]) -> Vec<ProbeJob> {
    let name = endpoint.to_string();
    let way = behind.iter().filter(|w| *w.endpoint == *name);
    way.flat_map(|w| &w.peers).filter_map(|p| twin(endpoint, p)).collect()
}

/// The URL that nginx's own request amounts to. A socket has no URL: it is called as `proxy_pass` would write it.
fn twin(endpoint: &WsUrl, peer: &Behind) -> Option<ProbeJob> {
    let (path, query) = endpoint.target().split_at(endpoint.target().find('?').unwrap_or(endpoint.target().len()));
    let path = peer.path.as_deref().unwrap_or(path);
    let scheme = if peer.tls { "wss" } else { "ws" };
    let host = if peer.socket.is_some() { "localhost" } else { &peer.address };
    let url = WsUrl::parse(&format!("{scheme}://{host}{path}{query}")).ok()?;
    let mut target = probe::target(endpoint, &url, Route::Direct);
    if peer.socket.is_some() {
        target.url = format!("{}:{path}", visible(peer.address.as_bytes())).into();
    }
    Some(ProbeJob { target, url, peer: Some(peer.clone()) })
}

/// What the socket source must watch, and where: the configuration's ports and paths, ports asked for at either end, nginx's
/// processes, and the network namespace of the master that the screen is about.
#[must_use]
pub fn interest(settings: &Settings, known: &Known<'_>) -> Interest {
    let mut interest = known.site.map(Site::interest).unwrap_or_default();
    interest.listen_ports.extend(&settings.ports);
    interest.upstream_ports.extend(&settings.ports);
    interest.pids.extend(&settings.pids);
    if let Some(processes) = known.processes.filter(|_| is_apart(settings, known) == Some(false)) {
        for master in &processes.masters {
            interest.pids.extend(master.workers.iter().map(|w| w.pid));
        }
        interest.net = chosen_master(settings, processes).filter(|m| m.other_net).map(|m| m.pid);
    }
    interest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::LookArgs;

    fn settings(urls: &[&str]) -> Settings {
        let args = LookArgs { urls: urls.iter().map(|u| (*u).to_owned()).collect(), ..LookArgs::default() };
        Settings::from_args(&args, "h", &|_| None).expect("valid")
    }

    fn names(settings: &Settings, known: &Known<'_>) -> Vec<String> {
        let host = Arc::from("h");
        plan(settings, known).iter().filter_map(|job| Some(job.log(&host)?.0.to_string())).collect()
    }

    fn known<'a>(matches: &'a Matches, unwanted: &'a BTreeSet<Arc<str>>) -> Known<'a> {
        Known { processes: None, site: None, looked_for_site: false, matches, behind: &[], wanted: &[], unwanted }
    }

    #[test]
    fn a_path_given_as_both_kinds_is_read_once_and_stdin_may_hold_either() {
        let (matches, none) = (Matches::new(), BTreeSet::new());
        let early = known(&matches, &none);
        let known = Known { looked_for_site: true, ..early };
        let given = |errors: &[&str], accesses: &[&str]| {
            let paths = |all: &[&str]| all.iter().map(PathBuf::from).collect();
            Settings { error_logs: paths(errors), access_logs: paths(accesses), ..settings(&[]) }
        };
        let stdin = "the standard input";
        assert_eq!(names(&given(&["-"], &[]), &known), [format!("error log {stdin}")]);
        assert_eq!(names(&given(&[], &["-"]), &known), [format!("access log {stdin}")]);
        assert_eq!(
            names(&given(&["-", "/l/e"], &["/l/a", "-"]), &known),
            ["access log /l/a", &format!("error log {stdin}"), "error log /l/e"]
        );
        let both = given(&["/l/x", "/l/x"], &["/l/x"]);
        let jobs = plan(&both, &known);
        assert!(jobs.iter().any(|j| matches!(j, Job::MixedLog(m) if m.both)), "{jobs:?}");
        assert!(!jobs.iter().any(|j| matches!(j, Job::ErrorLog(_) | Job::AccessLog(_))), "{jobs:?}");
        // Until the configuration is known nothing is begun whose format it may tell.
        assert!(names(&both, &early).is_empty());
        assert_eq!(names(&given(&["-"], &[]), &early).len(), 1);
        let named = Settings { log_format: Some("main".into()), ..given(&["-"], &[]) };
        assert_eq!((names(&named, &early).len(), names(&named, &known).len()), (0, 1));
    }

    #[test]
    fn a_pattern_is_the_files_that_match_it() {
        let pattern = PathBuf::from("/l/*error.log");
        let asked = Settings { error_logs: vec![pattern.clone()], ..settings(&[]) };
        let found = |name: &str| logs::Match { path: name.into(), late: false };
        let (mut matches, none) = (Matches::new(), BTreeSet::new());
        assert!(plan(&asked, &known(&matches, &none)).contains(&Job::Pattern(SourceKind::ErrorLog, pattern.clone())));
        assert!(names(&asked, &known(&matches, &none)).is_empty());
        matches.insert(pattern, vec![found("/l/a.error.log"), found("/l/error.log")]);
        assert_eq!(names(&asked, &known(&matches, &none)), ["error log /l/a.error.log", "error log /l/error.log"]);
    }

    #[test]
    fn a_port_asked_for_is_watched_at_either_end_without_any_nginx() {
        let args = LookArgs { ports: vec![8080], ..LookArgs::default() };
        let settings = Settings::from_args(&args, "h", &|_| None).expect("valid");
        let (matches, none) = (Matches::new(), BTreeSet::new());
        let known = known(&matches, &none);
        let interest = interest(&settings, &known);
        assert!(interest.listen_ports.contains(&8080) && interest.upstream_ports.contains(&8080));
    }

    #[test]
    fn of_several_masters_the_one_that_serves_the_url_is_chosen() {
        let master =
            |pid, local: &str| Master { pid, listens: local.parse().into_iter().collect(), ..Master::default() };
        let processes = Processes {
            masters: vec![master(10, "0.0.0.0:80"), master(20, "127.0.0.2:8080"), master(30, "[::]:8080")],
            ..Processes::default()
        };
        let chosen = |urls: &[&str]| chosen_master(&settings(urls), &processes).map(|m| m.pid);
        assert_eq!(chosen(&[]), Some(10));
        assert_eq!(chosen(&["ws://127.0.0.2:8080/ws"]), Some(20));
        assert_eq!(chosen(&["ws://127.0.0.1:8080/ws"]), Some(30));
        assert_eq!(chosen(&["ws://example.test:8080/ws"]), Some(20));
        assert_eq!(chosen(&["ws://example.test:9/ws"]), Some(10));
        let asked = Settings { pid: Some(30), ..settings(&["ws://h/"]) };
        assert_eq!(chosen_master(&asked, &processes).map(|m| m.pid), Some(30));
    }

    #[test]
    fn a_peer_is_dialled_where_and_how_nginx_would() {
        let endpoint = WsUrl::parse("wss://a.test/ws?token=s3cret").expect("a URL");
        let behind = |address: &str, socket: Option<&str>, tls, path: Option<&str>| Behind {
            address: address.into(),
            socket: socket.map(str::to_owned),
            tls,
            path: path.map(str::to_owned),
            host: "pool".into(),
            headers: vec![("X-Real".into(), "1".into())],
            left_out: vec!["Cookie".into()],
        };
        let of = |b: &Behind| twin(&endpoint, b).expect("a twin");
        let plain = of(&behind("10.0.0.7:81", None, false, Some("/app")));
        assert_eq!(&*plain.target.url, "ws://10.0.0.7:81/app?token=***", "shown without its secret");
        assert_eq!(plain.url.target(), "/app?token=s3cret", "sent with it");
        assert_eq!(&*plain.target.endpoint, &*endpoint.to_string());
        let secure = of(&behind("app:443", None, true, None));
        assert_eq!(&*secure.target.url, "wss://app/ws?token=***");
        let socket = of(&behind("unix:/run/a.sock", Some("/proc/1/root/run/a.sock"), false, None));
        assert_eq!(&*socket.target.url, "unix:/run/a.sock:/ws");
        let usual = ProbeOptions {
            headers: vec![
                ("Host".into(), "a.test".into()),
                ("x-real".into(), "0".into()),
                ("X-Mine".into(), "2".into()),
            ],
            proxy_protocol: Some(probe::ProxyProtocol::V1),
            ..ProbeOptions::default()
        };
        let options = socket.options(&usual);
        assert_eq!(options.unix_socket.as_deref(), Some(Path::new("/proc/1/root/run/a.sock")));
        assert_eq!((options.host_header.as_deref(), options.proxy_protocol), (Some("pool"), None));
        let names: Vec<&str> = options.headers.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!((names, options.left_out), (vec!["X-Mine", "X-Real"], vec!["Cookie".to_owned()]));
    }

    #[test]
    fn a_twin_that_was_given_is_not_dialled_at_nginxs_own_socket() {
        let (matches, none) = (Matches::new(), BTreeSet::new());
        let mut asked = settings(&["ws://a.test/ws"]);
        asked.endpoints[0].1 = WsUrl::parse("ws://10.0.0.9/ws").ok();
        asked.probe.unix_socket = Some("/run/nginx.sock".into());
        let jobs = probes(&asked, &known(&matches, &none));
        let ways: Vec<_> = jobs.iter().map(|j| (j.target.route, j.options(&asked.probe).unix_socket)).collect();
        assert_eq!(ways, [(Route::Proxy, Some("/run/nginx.sock".into())), (Route::Direct, None)]);
    }

    #[test]
    fn a_twin_that_was_given_is_held_at_the_same_paces() {
        let (matches, none) = (Matches::new(), BTreeSet::new());
        let mut asked = settings(&["ws://a.test/ws"]);
        asked.endpoints[0].1 = WsUrl::parse("ws://10.0.0.9/ws").ok();
        asked.cadences = vec![Cadence::Silent];
        let jobs = probes(&asked, &known(&matches, &none));
        let held =
            |j: &ProbeJob| (j.target.route, j.target.url.to_string(), j.target.cadence, j.options(&asked.probe).silent);
        let own = |route, url: &str| {
            [(route, url.to_owned(), None, false), (route, url.to_owned(), Some(Cadence::Silent), true)]
        };
        let wanted = [own(Route::Proxy, "ws://a.test/ws"), own(Route::Direct, "ws://10.0.0.9/ws")].concat();
        assert_eq!(jobs.iter().map(held).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn peers_become_twins_only_with_leave_and_only_where_no_twin_was_given() {
        let behind = Behind {
            address: "10.0.0.7:81".into(),
            socket: None,
            tls: false,
            path: None,
            host: "pool".into(),
            headers: Vec::new(),
            left_out: Vec::new(),
        };
        let way = [Way { endpoint: "ws://a.test/ws".into(), peers: vec![behind] }];
        let jobs = |settings: &Settings| {
            let unwanted = BTreeSet::new();
            let matches = Matches::new();
            let known = Known { behind: &way, ..known(&matches, &unwanted) };
            probes(settings, &known).into_iter().map(|j| j.target.url.to_string()).collect::<Vec<_>>()
        };
        let mut asked = settings(&["ws://a.test/ws"]);
        assert_eq!(jobs(&asked), ["ws://a.test/ws"]);
        asked.find_backends = true;
        assert_eq!(jobs(&asked), ["ws://a.test/ws", "ws://10.0.0.7:81/ws"]);
        let elsewhere = Settings { find_backends: true, ..settings(&["ws://b.test/ws"]) };
        assert_eq!(jobs(&elsewhere), ["ws://b.test/ws"]);
        asked.endpoints[0].1 = WsUrl::parse("ws://10.0.0.9/ws").ok();
        assert_eq!(jobs(&asked), ["ws://a.test/ws", "ws://10.0.0.9/ws"]);
        asked.endpoints[0].1 = None;
        asked.probe.unix_socket = Some("/run/nginx.sock".into());
        assert_eq!(jobs(&asked), ["ws://a.test/ws"], "a socket says nothing about this host's ports");
    }
}
