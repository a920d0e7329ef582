//! What to do where there is nothing to see: what was looked for and where, why nothing came, and the next command to run.

use crate::event::site::Site;
use crate::event::{Sense, Sight, SourceKind};
use crate::human;
use crate::model::Model;

use super::safe;
use super::text::WIDTH;

/// Three lines for a person who sees nothing yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guide {
    /// What was looked for, and where.
    pub looked: String,
    /// Why nothing came of it.
    pub why: String,
    /// What the next command is for, as part of a sentence.
    pub to: &'static str,
    /// What to run next.
    pub next: Next,
}

/// The next command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The same with more rights.
    AsRoot,
    /// An endpoint by its URL.
    Probe(String),
    /// The paths of a configuration and of a log.
    Paths {
        /// nginx's main configuration file.
        conf: String,
        /// Its error log.
        error_log: String,
    },
    /// Everything on this machine.
    Demo,
}

/// How this program is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// By whoever runs it: `wspulse`, or a path.
    pub own: String,
    /// By root, whose search path may be shorter.
    pub for_root: String,
}

impl Default for Program {
    fn default() -> Self {
        Self { own: "wspulse".to_owned(), for_root: "wspulse".to_owned() }
    }
}

impl Next {
    /// The command that opens the dashboard, to be pasted into a shell.
    #[must_use]
    pub fn command(&self, program: &Program) -> String {
        self.with(program, "")
    }

    /// The same for a look of another kind: `flag` is `--plain` or `check`.
    #[must_use]
    pub fn with(&self, program: &Program, flag: &str) -> String {
        let own = &program.own;
        let flag = if flag.is_empty() { String::new() } else { format!(" {flag}") };
        match self {
            Self::AsRoot => format!("sudo {}{flag}", program.for_root),
            Self::Probe(url) => format!("{own}{flag} {url}"),
            Self::Paths { conf, error_log } => format!("{own}{flag} --nginx-conf {conf} --error-log {error_log}"),
            Self::Demo if flag == " --plain" => format!("{own} demo --plain"),
            Self::Demo => format!("{own} demo"),
        }
    }
}

impl Guide {
    /// The three lines below a report.
    #[must_use]
    pub fn text(&self, program: &Program, flag: &str) -> String {
        let why = format!("{} {}:", self.why, self.to);
        let words = [self.looked.as_str(), &why].into_iter().flat_map(|text| safe::wrapped(text, WIDTH - 1));
        let words: Vec<String> = words.map(|line| format!(" {line}\n")).collect();
        // The command stands alone and whole on its line, so that it can be taken from there.
        format!("\n{}\n {}\n", words.concat(), self.next.with(program, flag))
    }
}

/// Where nginx's packages put things.
const USUAL_CONF: &str = "/etc/nginx/nginx.conf";
const USUAL_LOG: &str = "/var/log/nginx/error.log";

/// Neither an nginx nor a line of a log was seen.
#[must_use]
pub fn is_lost(model: &Model) -> bool {
    model.masters().is_empty() && model.errors.lines == 0 && model.sessions.lines == 0
}

/// What to do when no endpoint is known; `None` when there is something to see, or nobody has looked yet.
#[must_use]
pub fn guide(model: &Model) -> Option<Guide> {
    let is_known = |s: &Site| s.locations().any(|(_, l)| l.means_websocket());
    if !model.probes.by_target.is_empty() || model.site.as_ref().is_some_and(is_known) {
        return None;
    }
    let config = model.sight(SourceKind::Config);
    if model.masters().is_empty() && !model.is_apart() {
        // The demo's proxy is no nginx, and nobody looks for one then.
        return nowhere(model, model.sight(SourceKind::Process)?, config);
    }
    match config? {
        sense if sense.sight == Sight::Blind => Some(unread(model, sense)),
        _ => Some(plain(model.site.as_ref()?)),
    }
}

/// What to do when the error log cannot be read; `None` when it can, or when more rights would not help.
#[must_use]
pub fn log_guide(model: &Model) -> Option<Guide> {
    let sense = model.sight(SourceKind::ErrorLog).filter(|s| s.sight == Sight::Blind)?;
    let (path, why) = sense.said.rsplit_once(": ")?;
    is_denied(sense).then(|| Guide {
        looked: safe::line(&format!("Looked for nginx's errors in {path}.")),
        why: safe::line(&format!("It cannot be read: {why}.")),
        to: WITH_RIGHTS,
        next: Next::AsRoot,
    })
}

const WITH_RIGHTS: &str = "With more rights";

fn is_denied(sense: &Sense) -> bool {
    let wants_root = sense.remedy.as_deref().is_some_and(|r| r.contains("as root"));
    sense.said.contains("permission denied") || wants_root
}

/// Why a file is not seen, without its name.
fn reason(sense: &Sense) -> &str {
    sense.said.rsplit_once(": ").map_or(sense.said.as_str(), |(_, why)| why)
}

/// No nginx was found.
fn nowhere(model: &Model, processes: &Sense, config: Option<&Sense>) -> Option<Guide> {
    model.processes.as_ref()?;
    let conf = model.site.as_ref().map_or(USUAL_CONF, |s| s.conf.as_str());
    let looked = format!("Looked for nginx in /proc and for {conf}.");
    let seen = model.site.as_ref().is_some_and(|s| !s.files.is_empty());
    let conf_said = match config {
        Some(_) if seen => "; the file has no location for WebSockets".to_owned(),
        Some(c) => format!("; the file: {}", reason(c)),
        None => String::new(),
    };
    let none = processes.said.trim_end_matches(" found in /proc");
    let (why, to, next) = if is_denied(processes) {
        let why = format!("{}: other users' processes are hidden from this one.", processes.said);
        (why, WITH_RIGHTS, Next::AsRoot)
    } else if config.is_some_and(is_denied) {
        (format!("{none}{conf_said}."), WITH_RIGHTS, Next::AsRoot)
    } else {
        (format!("{none}{conf_said}. wspulse ws://HOST/PATH probes any endpoint."), "To see it at work", Next::Demo)
    };
    Some(Guide { looked: safe::line(&looked), why: safe::line(&large(&why)), to, next })
}

/// nginx runs, and its configuration cannot be read.
fn unread(model: &Model, config: &Sense) -> Guide {
    let master = model.master().and_then(|m| m.conf.clone());
    let conf = model.site.as_ref().map(|s| s.conf.clone()).or(master).unwrap_or_else(|| USUAL_CONF.to_owned());
    let looked = format!("Looked for WebSocket locations in {conf} of the nginx that runs here.");
    let (to, next) = if is_denied(config) {
        (WITH_RIGHTS, Next::AsRoot)
    } else {
        let paths = Next::Paths { conf: USUAL_CONF.to_owned(), error_log: USUAL_LOG.to_owned() };
        ("With the paths of both", paths)
    };
    Guide { looked: safe::line(&looked), why: safe::line(&format!("It cannot be read: {}.", reason(config))), to, next }
}

/// The configuration was read, and none of its locations is meant for WebSockets.
fn plain(site: &Site) -> Guide {
    let all = human::counted(site.locations().count() as u64, "location", "locations");
    let files = human::counted(site.files.len() as u64, "file", "files");
    let looked = format!("Looked for a location that passes Upgrade on, in {} ({files}, {all}).", site.conf);
    let why = "There is none, and no URL was given.".to_owned();
    Guide {
        looked: safe::line(&looked),
        why,
        to: "With the path of yours at its end",
        next: Next::Probe(own_url(site)),
    }
}

/// Where the first server listens; its path is for the person to say.
fn own_url(site: &Site) -> String {
    let listen = site.servers.iter().flat_map(|s| &s.listens).find(|l| l.port.is_some());
    let (tls, port) = listen.map_or((false, 80), |l| (l.tls, l.port.unwrap_or(80)));
    let (scheme, usual) = if tls { ("wss", 443) } else { ("ws", 80) };
    if port == usual { format!("{scheme}://127.0.0.1/") } else { format!("{scheme}://127.0.0.1:{port}/") }
}

/// With a large letter at its beginning.
fn large(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::process::{Master, Processes};
    use crate::event::site::{Listen, Server};
    use crate::event::{Event, SourceId, Stamped};
    use crate::time::Timestamp;

    fn told(model: &mut Model, kind: SourceKind, event: Event) {
        let from = SourceId::new(&model.host.clone(), kind);
        model.apply(&Stamped { at: Timestamp::from_secs(1), from, event });
    }

    fn with(masters: Vec<Master>, process: Sense, config: Sense) -> Model {
        let mut model = Model::new("h");
        told(&mut model, SourceKind::Process, Event::Processes(Processes { masters, ..Processes::default() }));
        told(&mut model, SourceKind::Process, Event::Sense(process));
        told(&mut model, SourceKind::Config, Event::Sense(config));
        model
    }

    fn nginx() -> Vec<Master> {
        vec![Master { pid: 7, ..Master::default() }]
    }

    #[test]
    fn each_way_of_seeing_nothing_has_its_command() {
        let program = Program::default();
        let command = |m: &Model| guide(m).map(|g| g.next.command(&program));
        assert_eq!(command(&Model::new("h")), None, "nobody has looked yet");
        let none = || Sense::blind("no nginx process found in /proc", "start nginx");
        let missing = Sense::blind("cannot read /etc/nginx/nginx.conf: no such file", "name it");
        assert_eq!(command(&with(vec![], none(), missing)).as_deref(), Some("wspulse demo"));
        let hidden =
            Sense::blind("no nginx process found in /proc", "other users' processes are hidden here: run as root");
        assert_eq!(command(&with(vec![], hidden, none())).as_deref(), Some("sudo wspulse"));
        let denied = Sense::blind("cannot read /etc/nginx/nginx.conf: permission denied", "run wspulse as root");
        assert_eq!(command(&with(vec![], none(), denied.clone())).as_deref(), Some("sudo wspulse"));
        let model = with(nginx(), Sense::seen("1 master"), denied);
        assert_eq!(command(&model).as_deref(), Some("sudo wspulse"));
        let elsewhere = Program { own: "./wspulse".to_owned(), for_root: "/opt/w s".to_owned() };
        assert_eq!(guide(&model).map(|g| g.next.command(&elsewhere)).as_deref(), Some("sudo /opt/w s"));
        let mut model = with(nginx(), Sense::seen("1 master"), Sense::seen("1 file"));
        let listen = Listen { port: Some(8443), tls: true, ..Listen::default() };
        let server = Server { listens: vec![listen], ..Server::default() };
        let site = Site { conf: "/n.conf".into(), servers: vec![server], ..Site::default() };
        told(&mut model, SourceKind::Config, Event::Site(Box::new(site)));
        assert_eq!(command(&model).as_deref(), Some("wspulse wss://127.0.0.1:8443/"));
    }

    #[test]
    fn what_is_said_is_one_line_and_harmless() {
        let evil = Sense::blind("x\x1b[2J\n: permission denied", "run as root");
        let model = with(nginx(), Sense::seen("1 master"), evil);
        let guide = guide(&model).expect("nothing is seen");
        for text in [guide.looked, guide.why] {
            assert!(!text.chars().any(char::is_control), "{text}");
        }
    }
}
