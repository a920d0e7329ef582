//! The classic checklist, ticked off from the model and the findings.

use crate::event::log::Level;
use crate::event::site::{Apart, ApartKind, Site};
use crate::event::{Sight, SourceKind};
use crate::human;
use crate::model::Model;

use super::finding::{Check, Diagnosis, Finding, Severity, Status, Subject};
use super::headers::{Fault, faults};
use super::look::{Case, Spot, cases};

/// What every check reads.
struct Sheet<'a> {
    model: &'a Model,
    findings: &'a [Finding],
    cases: Vec<Case<'a>>,
    /// The locations that were asked about, or with none asked all that are meant for WebSockets.
    spots: Vec<Spot<'a>>,
}

/// A tick with its reason and what it is about.
type Tick = (Status, String, Subject);

pub(super) fn all(model: &Model, diagnosis: &Diagnosis) -> Vec<Check> {
    let cases = cases(model);
    let mut spots: Vec<Spot<'_>> = Vec::new();
    for s in cases.iter().filter_map(|c| c.spot) {
        if s.location.proxy_pass.is_some() && !spots.iter().any(|o| o.is(s)) {
            spots.push(s);
        }
    }
    if cases.is_empty() {
        let meant = model.site.iter().flat_map(Site::locations).filter(|(_, l)| l.means_websocket());
        spots.extend(meant.map(|(server, location)| Spot { server, location }));
    }
    let sheet = Sheet { model, findings: &diagnosis.findings, cases, spots };
    let table: [(&'static str, &'static str, Tick); 12] = [
        ("nginx-process", "nginx process", sheet.process()),
        ("config-valid", "Configuration", sheet.config()),
        ("http-version", "HTTP version", sheet.header(&[Fault::OldVersion], "HTTP/1.1 or newer")),
        ("upgrade-header", "Upgrade header", sheet.upgrade()),
        ("connection-header", "Connection header", sheet.connection()),
        ("timeouts", "Timeouts", sheet.timeouts()),
        ("tls", "TLS", sheet.tls()),
        ("backend", "Backend", sheet.backend()),
        ("handshake", "Handshake", sheet.handshake()),
        ("error-log", "Error log", sheet.error_log()),
        ("connections", "Connections", sheet.connections()),
        ("long-connection", "Long connection", sheet.long_connection()),
    ];
    table.into_iter().map(|(id, title, (status, said, subject))| Check { id, title, status, said, subject }).collect()
}

fn tick(status: Status, said: impl Into<String>) -> Tick {
    (status, said.into(), Subject::default())
}

fn apart_words(apart: &Apart) -> String {
    match apart.kind {
        ApartKind::Dump => {
            format!("the configuration is the dump {}, and nothing that runs here belongs to it", apart.from)
        }
        ApartKind::Folder => {
            format!("the configuration is a copy in {}, and nothing that runs here belongs to it", apart.from)
        }
        ApartKind::Unused => "no nginx that runs here uses the configuration that was given".to_owned(),
    }
}

impl Sheet<'_> {
    /// The worst finding among these ids that is not merely worth knowing.
    fn worst(&self, ids: &[&str]) -> Option<Tick> {
        let f = self.findings.iter().find(|f| f.is_serious() && ids.contains(&f.id))?;
        let status = if f.severity == Severity::Critical { Status::Fail } else { Status::Warn };
        Some((status, f.said.clone(), f.subject.clone()))
    }

    fn process(&self) -> Tick {
        if let Some(t) = self.worst(&["nginx-not-running"]) {
            return t;
        }
        if let Some(apart) = self.model.site.as_ref().and_then(|s| s.apart.as_ref()) {
            return tick(Status::Skip, apart_words(apart));
        }
        let Some(master) = self.model.master() else {
            return tick(Status::Skip, "no nginx process of this host was seen");
        };
        let (serving, draining) = self.model.workers();
        let workers = human::counted(serving as u64, "worker", "workers");
        let drain = if draining > 0 { format!(", {draining} draining") } else { String::new() };
        tick(Status::Pass, format!("{}, master {}, {workers}{drain}", master.release(), master.pid))
    }

    fn config(&self) -> Tick {
        if let Some(t) = self.worst(&["config-invalid", "config-not-reloaded"]) {
            return t;
        }
        let Some(site) = &self.model.site else { return tick(Status::Skip, "no configuration was read") };
        if let Some(p) = site.problems.first() {
            return tick(Status::Warn, format!("only read in part: {}, {}", p.said, p.place));
        }
        let copy = match &site.apart {
            Some(Apart { kind: ApartKind::Dump, from, .. }) => format!(" from the dump {from}"),
            Some(Apart { kind: ApartKind::Folder, from, .. }) => format!(" from the copy in {from}"),
            _ => String::new(),
        };
        let files = human::counted(site.files.len().max(1) as u64, "file", "files");
        let servers = human::counted(site.servers.len() as u64, "server", "servers");
        let meant = self.spots.len() as u64;
        let locations = human::counted(meant, "WebSocket location", "WebSocket locations");
        let tested = if site.tested == Some(true) { "; nginx -t takes it" } else { "" };
        tick(Status::Pass, format!("{files} read{copy}, {servers}, {locations}{tested}"))
    }

    /// One header check: failed by findings, else by what the locations are configured to send.
    fn header(&self, of: &[Fault], good: &str) -> Tick {
        for s in &self.spots {
            let path = &s.location.path;
            let all = faults(s.location);
            let Some(fault) = all.iter().find(|f| of.contains(f)) else { continue };
            // Lost by inheritance is the better word for a header that is missing for that reason.
            let fault = all.iter().find(|f| **f == Fault::Lost && *fault != Fault::OldVersion).unwrap_or(fault);
            let blamed = self.findings.iter().any(|f| {
                f.is_serious() && f.subject.location.as_ref() == Some(path) && super::headers::IDS.contains(&f.id)
            });
            let works = self.cases.iter().any(|c| c.works() && c.spot.is_some_and(|o| o.is(*s)));
            let what = fault.cause(s.location);
            let (status, said) = match (blamed, works) {
                (true, _) => (Status::Fail, format!("in location {path} {what}")),
                (false, true) => (Status::Warn, format!("in location {path} {what}, but its backend accepts that")),
                (false, false) => {
                    (Status::Warn, format!("in location {path} {what}; no handshake was seen to fail of it"))
                }
            };
            return (status, said, s.subject());
        }
        match self.spots.as_slice() {
            [] => tick(Status::Skip, "no WebSocket location is known from the configuration"),
            [one] => (Status::Pass, format!("{good} to the backend in location {}", one.location.path), one.subject()),
            many => tick(Status::Pass, format!("{good} to the backend in {} locations", many.len())),
        }
    }

    fn upgrade(&self) -> Tick {
        self.header(&[Fault::UpgradeMissing, Fault::UpgradeWrong], "Upgrade is passed on")
    }

    fn connection(&self) -> Tick {
        let of = [Fault::ConnectionMissing, Fault::ConnectionWrong];
        self.header(&of, "Connection: upgrade is sent")
    }

    fn timeouts(&self) -> Tick {
        if let Some((_, said, subject)) = self.worst(&["timeout-zero", "idle-timeout-cuts", "heartbeat-races-timeout"])
        {
            return (Status::Fail, said, subject);
        }
        let Some(shortest) = self.spots.iter().min_by_key(|s| s.location.read_timeout.value) else {
            return tick(Status::Skip, "no WebSocket location is known from the configuration");
        };
        let silence = human::span(shortest.location.read_timeout.value);
        let said = format!("nginx cuts location {} after {silence} of silence", shortest.location.path);
        (Status::Pass, said, shortest.subject())
    }

    fn tls(&self) -> Tick {
        let ids = ["tls-expired", "tls-untrusted", "tls-name-mismatch", "tls-handshake-failed", "plain-to-tls-port"];
        if let Some(t) = self.worst(&ids).or_else(|| self.worst(&["tls-to-plain-port", "tls-expires-soon"])) {
            return t;
        }
        let secured = self.cases.iter().find_map(|c| Some((c, c.probe.tls.as_ref()?)));
        let Some((case, tls)) = secured else { return tick(Status::Skip, "no wss:// endpoint was probed") };
        let version = tls.version.as_deref().unwrap_or("TLS");
        let left = tls.not_after.map(|t| human::span(t.since(self.model.now)));
        let left = left.map_or_else(String::new, |l| format!(", certificate valid for {l}"));
        (Status::Pass, format!("{version}{left}"), Subject::url(&case.target.url))
    }

    fn backend(&self) -> Tick {
        let backend = |f: &&Finding| {
            let of_backend = f.id.starts_with("backend-") || f.id.starts_with("upstream-");
            f.is_serious() && (of_backend || matches!(f.id, "no-live-upstreams" | "resolver-missing"))
        };
        if let Some(f) = self.findings.iter().find(backend) {
            let status = if f.severity == Severity::Critical { Status::Fail } else { Status::Warn };
            return (status, f.said.clone(), f.subject.clone());
        }
        if let Some(case) = self.cases.iter().find(|c| c.direct_works()) {
            let url = case.twin.map_or(&case.target.url, |(t, _)| &t.url);
            let said = match case.twins.len() {
                0 | 1 => format!("{url} answers 101 directly"),
                n => format!("all {n} peers answer 101 directly"),
            };
            return (Status::Pass, said, Subject::url(url));
        }
        if let Some((twin, failure)) = self.cases.iter().find_map(Case::direct_failure) {
            let status = if self.cases.iter().all(Case::works) { Status::Warn } else { Status::Fail };
            return (status, format!("directly, {}: {}", twin.url, failure.said), Subject::url(&twin.url));
        }
        if self.cases.iter().any(Case::works) {
            return tick(Status::Pass, "it answers through nginx; no --backend was given to ask it directly");
        }
        tick(Status::Skip, "no --backend was given to ask it directly")
    }

    fn handshake(&self) -> Tick {
        if let Some(case) = self.cases.iter().find(|c| c.failure().is_some()) {
            let said = case.failure().map(|f| f.said.clone()).unwrap_or_default();
            return (Status::Fail, format!("{}: {said}", case.path()), Subject::url(&case.target.url));
        }
        let done: Vec<&Case<'_>> = self.cases.iter().filter(|c| c.works() || c.dropped().is_some()).collect();
        match done.as_slice() {
            [] => self.routed(),
            [one] => {
                let took = one.probe.phases.upgrade.map_or_else(String::new, |d| format!(" in {}", human::latency(d)));
                (Status::Pass, format!("{}: 101, Accept verified{took}", one.path()), Subject::url(&one.target.url))
            }
            many => tick(Status::Pass, format!("{} endpoints: 101, Accept verified", many.len())),
        }
    }

    /// Where the URLs lead that are only routed.
    fn routed(&self) -> Tick {
        let Some(case) = self.cases.iter().find(|c| c.is_only_routed()) else {
            return tick(Status::Skip, "no URL was probed");
        };
        let said = match case.spot {
            Some(s) => {
                format!("not probed; {} leads to location {}, {}", case.target.url, s.location.path, s.location.place)
            }
            None => format!("not probed; {} leads to no location of this configuration", case.target.url),
        };
        (Status::Skip, said, case.subject())
    }

    fn error_log(&self) -> Tick {
        if let Some(t) = self.worst(&["error-log-unreadable", "error-log-hides-evidence"]) {
            return t;
        }
        match self.model.sight(SourceKind::ErrorLog) {
            Some(s) if s.sight == Sight::Blind => return tick(Status::Warn, s.said.clone()),
            None | Some(crate::event::Sense { sight: Sight::Off, .. }) if self.model.errors.lines == 0 => {
                return tick(Status::Skip, "no error log was read");
            }
            _ => {}
        }
        let level = self.model.site.iter().flat_map(|s| &s.error_logs).map(|l| l.level).max();
        let note = match level {
            Some(l) if l < Level::Info => {
                format!("readable, level {}: idle cuts of tunnels are invisible at it", l.word())
            }
            Some(l) => format!("readable, level {}", l.word()),
            None => "readable".to_owned(),
        };
        tick(Status::Pass, note)
    }

    fn connections(&self) -> Tick {
        let ids = ["worker-connections-exhausted", "fds-exhausted", "ephemeral-ports-exhausted", "listen-queue-full"];
        if let Some((_, said, subject)) = self.worst(&ids) {
            return (Status::Fail, said, subject);
        }
        if let Some(t) = self.worst(&["limit-conn", "worker-connections-low", "close-wait-pile", "half-open-tunnels"]) {
            return t;
        }
        if self.model.connections.last_look().is_none() {
            return tick(Status::Skip, "the socket tables were not read");
        }
        let tunnels = human::counted(self.model.connections.count() as u64, "tunnel", "tunnels");
        let slots = self.model.slots().map_or_else(String::new, |g| {
            format!(", {} of {} connection slots in use", human::grouped(g.used), human::grouped(g.limit))
        });
        tick(Status::Pass, format!("{tunnels}{slots}"))
    }

    fn long_connection(&self) -> Tick {
        if let Some((case, (_, closed))) = self.cases.iter().find_map(|c| Some((c, c.dropped()?))) {
            let said = format!("{}: closed after {:.1} s", case.path(), closed.held.as_secs_f64());
            return (Status::Fail, said, Subject::url(&case.target.url));
        }
        if let Some((_, said, subject)) =
            self.worst(&["idle-timeout-cuts", "max-age-cuts", "reload-cuts", "middlebox-cuts"])
        {
            return (Status::Fail, said, subject);
        }
        let held = self.cases.iter().filter_map(|c| Some((c, c.held()?))).min_by_key(|(_, d)| *d);
        match held {
            Some((case, d)) => {
                let said = format!("{} stayed open for {:.1} s", case.path(), d.as_secs_f64());
                (Status::Pass, said, Subject::url(&case.target.url))
            }
            None => tick(Status::Skip, "no tunnel could be held open"),
        }
    }
}
