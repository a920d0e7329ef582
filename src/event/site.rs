//! The nginx configuration as facts: listens, servers, locations, upstreams and logs, each with the line it came from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::log::Level;
use super::route::script::{Map, Way};
use crate::time::Timestamp;

/// A release of nginx, or of a fork mapped to the nginx release that it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// 1 in 1.22.1.
    pub major: u16,
    /// 22 in 1.22.1.
    pub minor: u16,
    /// 1 in 1.22.1.
    pub patch: u16,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A line of a configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Absolute path.
    pub file: String,
    /// 1-based.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A value and the line that set it; `place` is `None` for nginx's built-in default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting<T> {
    /// The effective value.
    pub value: T,
    /// Who set it.
    pub place: Option<Place>,
}

impl<T> Setting<T> {
    /// nginx's default.
    pub const fn built_in(value: T) -> Self {
        Self { value, place: None }
    }
}

/// One nginx configuration, resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// The main file.
    pub conf: String,
    /// Every file that was read, the main one first; none when the main one could not be read.
    pub files: Vec<String>,
    /// Where nginx's file system is seen from here when it has another one (a container): all paths of this site are
    /// nginx's own and are to be looked up under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The release whose defaults were applied; `None` when unknown.
    pub version: Option<Version>,
    /// All `server` blocks of `http`, in order.
    pub servers: Vec<Server>,
    /// Explicit `upstream` blocks by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// Where errors are written, without repeats.
    pub error_logs: Vec<ErrorLog>,
    /// Where requests are written, without repeats.
    pub access_logs: Vec<AccessLog>,
    /// `worker_connections` (default 512).
    pub worker_connections: Option<Setting<u64>>,
    /// `worker_shutdown_timeout`, unset by default.
    pub worker_shutdown_timeout: Option<Setting<Duration>>,
    /// What could not be read or understood.
    pub problems: Vec<Problem>,
    /// Its file that was written last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Written>,
    /// A map's variable that is `upgrade` for a handshake and something else without one, as `$connection_upgrade`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade_map: Option<String>,
    /// All `map` blocks by their variable, in lower case and without `$`. A recording does not hold them: they are for following
    /// one request ([`crate::event::route::walk`]), not for telling what the configuration is.
    #[serde(skip)]
    pub maps: BTreeMap<String, Map>,
    /// Lines that do less, or more, than they seem to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<Remark>,
    /// Comments that ask for a finding not to be told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignores: Vec<Ignore>,
    /// Where logs of an nginx with a root of its own are reached from here, by their paths above. Those that are not in it
    /// are no files there: container images link them to the standard streams.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reached: BTreeMap<String, String>,
    /// Whether nginx itself (`nginx -t`) takes it as it is written now; `None` when it was not asked, or could not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<bool>,
    /// Set when no nginx of this host runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apart: Option<Apart>,
    /// The texts of the files that proxied locations point at, by path as nginx names it: fixes are shown as diffs of them.
    /// They leave the program only as the few lines of such a diff: a recording holds no configuration text.
    #[serde(skip)]
    pub sources: BTreeMap<String, SourceText>,
}

/// Lines of a location that do less, or more, than they seem to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// [`Location::place`] of the location.
    pub location: Place,
    /// In which way.
    pub what: Remarkable,
    /// The lines: where, and the words of the directive.
    pub lines: Vec<(Place, String)>,
}

/// What is remarkable about lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remarkable {
    /// They do nothing for tunnels, in a location for nothing else.
    WithoutEffect,
    /// They pass on an Upgrade to any protocol.
    AnyUpgrade,
    /// `proxy_pass` has variables, so that nginx looks the name in it up at run time, and no `resolver` is written anywhere.
    NoResolver,
}

/// A comment `# wspulse: ignore ID, ..` or `# wspulse: ignore-file ID, ..`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ignore {
    /// The comment.
    pub place: Place,
    /// The ids as written.
    pub ids: Vec<String>,
    /// The first line of the same file for which it holds, 1-based.
    pub from: u32,
    /// The last one.
    pub to: u32,
}

impl Ignore {
    /// It holds for this line.
    #[must_use]
    pub fn covers(&self, place: &Place) -> bool {
        self.place.file == place.file && (self.from..=self.to).contains(&place.line)
    }
}

/// When a file was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Its modification time.
    pub at: Timestamp,
    /// Its path.
    pub file: String,
}

/// A configuration file as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceText {
    /// All of it.
    pub text: String,
    /// The file behind a symbolic link; `None` when the path leads to the file itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real: Option<String>,
}

/// What a problem of the configuration means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// nginx would refuse it.
    #[default]
    Refused,
    /// A copy of the configuration lacks it; nginx itself has it.
    Missing,
    /// It could not be read or understood here; nginx may.
    Unread,
}

impl ProblemKind {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_usual(&self) -> bool {
        *self == Self::Refused
    }
}

/// A configuration that no nginx of this host runs: neither its processes nor its sockets belong to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Apart {
    /// What was read.
    pub kind: ApartKind,
    /// The file of the dump, or the folder that stands for `/`; empty for files of this host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// Nothing is looked at live: the present is the newest line of the logs.
    #[serde(default)]
    pub past: bool,
}

impl Site {
    /// Where a log that the configuration names is to be opened; `None` when it cannot be, or is not this configuration's own.
    #[must_use]
    pub fn log_file<'s>(&'s self, path: &'s str) -> Option<&'s str> {
        if self.is_copy() {
            return None;
        }
        if self.root.is_some() { self.reached.get(path).map(String::as_str) } else { Some(path) }
    }

    /// It was read from a copy: the files that it names are another machine's.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.apart.as_ref().is_some_and(|a| a.kind != ApartKind::Unused)
    }
}

/// What such a configuration was read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApartKind {
    /// Files of this host that no running nginx uses.
    #[default]
    Unused,
    /// A copy of nginx's files.
    Folder,
    /// The text of `nginx -T`.
    Dump,
}

/// Something in the configuration that could not be read or understood.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// 1-based column in bytes, 0 when the whole file is meant.
    pub column: u32,
    /// What, in one sentence.
    pub said: String,
    /// What it means.
    #[serde(default, skip_serializing_if = "ProblemKind::is_usual")]
    pub kind: ProblemKind,
}

/// One `server` block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The line of the block.
    pub place: Place,
    /// `server_name` values as written; empty when the directive is absent.
    pub names: Vec<String>,
    /// `listen` directives; nginx's default `*:80` when there is none.
    pub listens: Vec<Listen>,
    /// Top-level locations in file order, each with its nested ones.
    pub locations: Vec<Location>,
    /// A `return` at server level: status and text.
    pub returns: Option<Setting<String>>,
    /// What it does with requests; not in a recording.
    #[serde(skip)]
    pub way: Way,
}

/// One `listen` directive.
#[expect(clippy::struct_excessive_bools, reason = "each is one word of the directive")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// The line of the directive.
    pub place: Place,
    /// The address; `None` for `*` and for a unix socket.
    pub ip: Option<IpAddr>,
    /// The port; `None` for a unix socket.
    pub port: Option<u16>,
    /// The path of a unix socket.
    pub unix: Option<String>,
    /// `ssl`.
    pub tls: bool,
    /// `http2` here or `http2 on` in the server.
    pub http2: bool,
    /// `proxy_protocol`.
    pub proxy_protocol: bool,
    /// `default_server`.
    pub default_server: bool,
    /// `backlog=`; nginx's default on Linux is 511.
    pub backlog: Option<u32>,
}

/// How a location matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matching {
    /// `location = /x`.
    Exact,
    /// `location /x`.
    #[default]
    Prefix,
    /// `location ^~ /x`: regular expressions are not tried afterwards.
    PrefixNoRegex,
    /// `location ~ x`.
    Regex,
    /// `location ~* x`.
    RegexNoCase,
    /// `location @x`.
    Named,
}

/// One `location` block with its effective settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The line of the block.
    pub place: Place,
    /// How it matches.
    pub matching: Matching,
    /// The prefix, pattern or name.
    pub path: String,
    /// `proxy_pass` of this very location (it does not inherit), or of an `if` in it that a WebSocket handshake meets.
    pub proxy_pass: Option<Setting<String>>,
    /// The peers that `proxy_pass` leads to, as `host:port` or `unix:/path`; empty when variables decide.
    pub peers: Vec<Peer>,
    /// Effective `proxy_http_version`.
    pub http_version: Setting<String>,
    /// Effective `proxy_set_header` lines: the nearest level that has any wins as a whole.
    pub headers: Vec<Header>,
    /// `proxy_set_header` lines of outer levels that the effective ones push out and do not say again.
    pub lost_headers: Vec<Header>,
    /// These `proxy_set_header` lines are the location's own, not those of a block around it.
    #[serde(default)]
    pub own_headers: bool,
    /// The first `rewrite` here or in the server around: pattern, replacement and flag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Setting<String>>,
    /// Effective `proxy_read_timeout` (default 60 s).
    pub read_timeout: Setting<Duration>,
    /// Effective `proxy_send_timeout` (default 60 s).
    pub send_timeout: Setting<Duration>,
    /// Effective `proxy_connect_timeout` (default 60 s).
    pub connect_timeout: Setting<Duration>,
    /// A `return` in this location: status and text.
    pub returns: Option<Setting<String>>,
    /// `internal` here or around it: clients get 404, only nginx's own redirects and subrequests come here.
    #[serde(default)]
    pub internal: bool,
    /// Nested locations.
    pub locations: Vec<Location>,
    /// What it does with requests; not in a recording.
    #[serde(skip)]
    pub way: Way,
}

/// One `proxy_set_header`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The header's name as written.
    pub name: String,
    /// Its value as written; empty means that the header is not sent.
    pub value: String,
    /// What the value becomes for a WebSocket handshake (`Upgrade: websocket`), maps followed; `None` when that cannot be told.
    pub for_websocket: Option<String>,
    /// The line.
    pub place: Place,
}

impl Location {
    /// The last effective `proxy_set_header` with this name, without regard to case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&Header> {
        self.headers.iter().rev().find(|h| h.name.eq_ignore_ascii_case(name))
    }

    /// It proxies and passes an Upgrade header on: a WebSocket endpoint by its own words.
    #[must_use]
    pub fn forwards_upgrade(&self) -> bool {
        self.proxy_pass.is_some() && self.header("upgrade").is_some_and(|h| !h.value.is_empty())
    }

    /// It proxies and was meant for WebSockets: it passes Upgrade on, or outer lines that did were pushed out.
    #[must_use]
    pub fn means_websocket(&self) -> bool {
        self.forwards_upgrade()
            || (self.proxy_pass.is_some() && self.lost_headers.iter().any(|h| h.name.eq_ignore_ascii_case("upgrade")))
    }
}

/// One `upstream` block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// The line of the block.
    pub place: Place,
    /// Its `server` lines.
    pub peers: Vec<Peer>,
    /// Its other lines, as `keepalive 32`, with their places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<(String, Place)>,
}

/// One backend address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// `10.0.0.7:8080`, `app.internal:8080` or `unix:/run/app.sock`.
    pub address: String,
    /// `backup`.
    pub backup: bool,
    /// `down`.
    pub down: bool,
    /// `weight=`, where it is written; nginx's default is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// The line; `None` for a peer that `proxy_pass` names itself.
    pub place: Option<Place>,
}

impl Peer {
    /// The port, `None` for a unix socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        if self.address.starts_with("unix:") { None } else { self.address.rsplit_once(':')?.1.parse().ok() }
    }

    /// The path of a unix socket, `None` for another address.
    #[must_use]
    pub fn unix_path(&self) -> Option<&str> {
        self.address.strip_prefix("unix:")
    }

    /// The address as a socket address, when it is a literal.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.address.parse().ok()
    }
}

/// One `error_log` target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorLog {
    /// Absolute path, `stderr`, `syslog:...` or `memory:...`.
    pub path: String,
    /// Effective level.
    pub level: Level,
    /// The line; `None` for the build's default.
    pub place: Option<Place>,
}

/// One `access_log` target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLog {
    /// Absolute path, or `syslog:...`.
    pub path: String,
    /// The `log_format`'s name.
    pub format: String,
    /// Its text with the pieces joined; `None` for the built-in `combined` and for a name that is not defined.
    pub pattern: Option<String>,
    /// Its `escape=` mode.
    pub escape: Escape,
    /// `buffer=` or `gzip`: lines come late.
    pub buffered: bool,
    /// The line; `None` for the build's default.
    pub place: Option<Place>,
}

/// How `log_format` escapes variables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Escape {
    /// `\xXX` for `"`, `\`, below 0x20 and above 0x7e.
    #[default]
    Default,
    /// JSON string escapes.
    Json,
    /// None.
    None,
}

/// What the socket source must watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interest {
    /// Ports that nginx listens on: local ports of client legs.
    pub listen_ports: BTreeSet<u16>,
    /// Ports of backends: peer ports of upstream legs.
    pub upstream_ports: BTreeSet<u16>,
    /// nginx's processes, whose sockets are worth owning.
    pub pids: BTreeSet<u32>,
    /// Paths of backends' unix sockets, as nginx sees them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unix: BTreeSet<String>,
    /// A process of nginx, when it lives in another network namespace than we do: the sockets of that one are watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net: Option<u32>,
}

impl Interest {
    /// Nothing to watch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listen_ports.is_empty() && self.upstream_ports.is_empty() && self.unix.is_empty()
    }
}

impl Site {
    /// Every location, nested ones after their parent, with its server.
    pub fn locations(&self) -> impl Iterator<Item = (&Server, &Location)> {
        self.servers.iter().flat_map(|s| {
            let mut all = Vec::new();
            flatten(&s.locations, &mut all);
            all.into_iter().map(move |l| (s, l))
        })
    }

    /// What to watch in the socket tables: the ports of all listens, and the peers of every proxied location and upstream.
    #[must_use]
    pub fn interest(&self) -> Interest {
        let mut interest = Interest::default();
        interest.listen_ports.extend(self.servers.iter().flat_map(|s| &s.listens).filter_map(|l| l.port));
        let proxied = self.locations().flat_map(|(_, l)| &l.peers);
        for peer in proxied.chain(self.upstreams.values().flat_map(|u| &u.peers)) {
            interest.upstream_ports.extend(peer.port());
            interest.unix.extend(peer.unix_path().map(str::to_owned));
        }
        interest
    }
}

fn flatten<'a>(locations: &'a [Location], into: &mut Vec<&'a Location>) {
    for l in locations {
        into.push(l);
        flatten(&l.locations, into);
    }
}
