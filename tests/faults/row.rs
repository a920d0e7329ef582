//! One scenario as a row of the table: a configuration in pieces, backends, what clients do, and what `check` must say.

use super::backend::{Play, Script, echo};
use super::world::World;

/// Which nginx a scenario is played with.
#[derive(Clone, Copy, PartialEq)]
pub enum On {
    /// Either; the table takes turns.
    Any,
    /// Before 1.29.7, which speaks HTTP/1.0 to backends by default.
    Old,
    /// 1.29.7 and later.
    New,
    Both,
}

/// How a fault is mended.
#[derive(Clone, Copy, PartialEq)]
pub enum Cure {
    /// Not by us.
    None,
    /// By the patch of the first finding, after which the host is healthy.
    Patch,
    /// By a reload, after which the host is healthy.
    Reload,
}

/// What the report must say.
pub struct Want {
    /// Ids of which one must be that of the first serious finding; none where no finding may be serious.
    pub first: Vec<&'static str>,
    /// Other serious findings that are true as well.
    pub may: Vec<&'static str>,
    /// Ids that must be there, however severe.
    pub told: Vec<&'static str>,
    /// What the subject of the first finding says: the field, and what stands in it.
    pub subject: Vec<(&'static str, &'static str)>,
    /// The first finding points at a line of the configuration with these words.
    pub line: Option<&'static str>,
    /// Consequences with their causes.
    pub because: Vec<(&'static str, &'static str)>,
    pub verdict: Vec<&'static str>,
    pub exit: i32,
    pub cure: Cure,
}

/// A scenario. Texts may hold `{B}`, `{B2}` (ports of the backends), `{P}`, `{P2}` (of nginx), `{DIR}` and `{CERTS}`.
pub struct Row {
    pub name: &'static str,
    pub on: On,
    /// It needs namespaces of its own, and so root.
    pub apart: bool,
    pub main: &'static str,
    pub level: &'static str,
    pub connections: u32,
    pub log: &'static str,
    pub http: String,
    pub listen: &'static str,
    pub name_line: &'static str,
    pub server: String,
    pub servers: String,
    pub files: Vec<(&'static str, String)>,
    pub backends: [Option<Play>; 2],
    pub url: &'static str,
    pub direct: Option<&'static str>,
    /// `check` is not told the URL: it sees what others went through.
    pub unasked: bool,
    /// `check` runs as a user without rights.
    pub nobody: bool,
    pub flags: Vec<&'static str>,
    pub given: fn(&mut World),
    pub want: Want,
}

/// The lines that make a location one for WebSockets.
pub const WS: &str = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
                      proxy_set_header Connection $connection_upgrade; proxy_set_header Host $host;";
/// The map that belongs to them.
pub const MAP: &str = "map $http_upgrade $connection_upgrade { default upgrade; '' close; }";

/// A location that proxies.
pub fn at(path: &str, to: &str, lines: &str) -> String {
    format!("location {path} {{ proxy_pass {to}; {lines} }} ")
}

/// A location that proxies WebSockets to the first backend as it should.
pub fn ws(path: &str, more: &str) -> String {
    at(path, "http://127.0.0.1:{B}", &format!("{WS} {more}"))
}

/// A scenario in which this must be found first.
pub fn fault(name: &'static str, first: &[&'static str]) -> Row {
    let want = Want {
        first: first.to_vec(),
        may: Vec::new(),
        told: Vec::new(),
        subject: Vec::new(),
        line: None,
        because: Vec::new(),
        verdict: vec!["broken"],
        exit: 1,
        cure: Cure::None,
    };
    Row {
        name,
        on: On::Any,
        apart: false,
        main: "",
        level: "",
        connections: 128,
        log: "logs/access.log ws",
        http: MAP.to_owned(),
        listen: "127.0.0.1:{P}",
        name_line: "example.test",
        server: String::new(),
        servers: String::new(),
        files: Vec::new(),
        backends: [Some(Play::Tcp(echo)), None],
        url: "ws://127.0.0.1:{P}/ws",
        direct: Some("ws://127.0.0.1:{B}/ws"),
        unasked: false,
        nobody: false,
        flags: Vec::new(),
        given: |w| w.is_answered(426),
        want,
    }
}

/// A scenario in which nothing is wrong.
pub fn fine(name: &'static str) -> Row {
    let mut row = fault(name, &[]);
    row.given = |w| w.is_answered(101);
    row.want.verdict = vec!["healthy"];
    row.want.exit = 0;
    row
}

impl Row {
    pub fn is_fine(&self) -> bool {
        self.want.first.is_empty()
    }

    /// Another first finding.
    pub fn wants(mut self, first: &[&'static str]) -> Self {
        self.want.first = first.to_vec();
        self
    }

    pub fn on(mut self, on: On) -> Self {
        self.on = on;
        self
    }

    pub fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    pub fn main(mut self, lines: &'static str) -> Self {
        self.main = lines;
        self
    }

    pub fn level(mut self, level: &'static str) -> Self {
        self.level = level;
        self
    }

    pub fn connections(mut self, most: u32) -> Self {
        self.connections = most;
        self
    }

    pub fn log(mut self, access_log: &'static str) -> Self {
        self.log = access_log;
        self
    }

    /// Lines of `http` in place of the map.
    pub fn only_http(mut self, lines: impl Into<String>) -> Self {
        self.http = lines.into();
        self
    }

    pub fn http(mut self, lines: &str) -> Self {
        self.http = format!("{} {lines}", self.http);
        self
    }

    pub fn listen(mut self, listen: &'static str) -> Self {
        self.listen = listen;
        self
    }

    pub fn named(mut self, names: &'static str) -> Self {
        self.name_line = names;
        self
    }

    /// Lines and locations of the server.
    pub fn server(mut self, lines: impl AsRef<str>) -> Self {
        self.server = format!("{} {}", self.server, lines.as_ref());
        self
    }

    /// The location `/ws` that proxies to the first backend.
    pub fn ws_location(self, lines: &str) -> Self {
        self.server(at("/ws", "http://127.0.0.1:{B}", lines))
    }

    /// Other servers.
    pub fn servers(mut self, servers: impl Into<String>) -> Self {
        self.servers = servers.into();
        self
    }

    pub fn file(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.files.push((name, text.into()));
        self
    }

    pub fn backend(mut self, play: Play) -> Self {
        self.backends[0] = Some(play);
        self
    }

    pub fn script(self, script: Script) -> Self {
        self.backend(Play::Tcp(script))
    }

    pub fn second(mut self, play: Play) -> Self {
        self.backends[1] = Some(play);
        self
    }

    pub fn url(mut self, url: &'static str) -> Self {
        self.url = url;
        self
    }

    pub fn direct(mut self, url: &'static str) -> Self {
        self.direct = Some(url);
        self
    }

    pub fn no_direct(mut self) -> Self {
        self.direct = None;
        self
    }

    pub fn unasked(mut self) -> Self {
        self.unasked = true;
        self.no_direct()
    }

    pub fn without_rights(mut self) -> Self {
        self.nobody = true;
        self
    }

    pub fn flags(mut self, flags: &[&'static str]) -> Self {
        self.flags.extend(flags);
        self
    }

    pub fn given(mut self, given: fn(&mut World)) -> Self {
        self.given = given;
        self
    }

    pub fn may(mut self, ids: &[&'static str]) -> Self {
        self.want.may.extend(ids);
        self
    }

    pub fn told(mut self, ids: &[&'static str]) -> Self {
        self.want.told.extend(ids);
        self
    }

    pub fn subject(mut self, field: &'static str, words: &'static str) -> Self {
        self.want.subject.push((field, words));
        self
    }

    pub fn location(self, path: &'static str) -> Self {
        self.subject("location", path)
    }

    pub fn line(mut self, words: &'static str) -> Self {
        self.want.line = Some(words);
        self
    }

    pub fn because(mut self, consequence: &'static str, cause: &'static str) -> Self {
        self.want.because.push((consequence, cause));
        self.want.may.push(consequence);
        self
    }

    pub fn verdict(mut self, verdict: &[&'static str]) -> Self {
        self.want.verdict = verdict.to_vec();
        self
    }

    pub fn degraded(self) -> Self {
        self.verdict(&["degraded"])
    }

    pub fn cured_by(mut self, cure: Cure) -> Self {
        self.want.cure = cure;
        self
    }

    pub fn patched(self) -> Self {
        self.cured_by(Cure::Patch)
    }
}
