//! What was meant: defaults, environment and flags folded into one set of values. Nothing is opened here.

pub mod file;
pub mod layers;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::{AutoProbe, ColorMode, LookArgs, ProxyProtocolVersion, SocketMode};
use crate::source::config::{Version, release};
use crate::source::logs::STDIN;
use crate::source::probe::{
    self, Cadence, ClientCert, HttpProxy, OptionError, ProbeOptions, ProxyProtocol, Question, ResolveOverride,
    UrlError, WsUrl, parse_cadences, parse_header, parse_subprotocol,
};
use crate::time::{Timestamp, Zone};

/// Time between looks at the socket tables.
const INTERVAL: Duration = Duration::from_secs(1);
/// How far back the logs are read.
const REACH: Duration = Duration::from_secs(3_600);
/// Other names of the standard input.
const STDIN_NAMES: [&str; 3] = ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"];
/// Where distributions put nginx's configuration; looked at when no nginx runs that could tell.
const USUAL_CONF: &str = "/etc/nginx/nginx.conf";

/// What to look at and how, decided.
#[expect(clippy::struct_excessive_bools, reason = "each is one switch of the command line or the environment")]
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host's name in every event.
    pub host: String,
    /// URLs to probe, each with the URL of its direct twin where that is known.
    pub endpoints: Vec<(WsUrl, Option<WsUrl>)>,
    /// Probe what the configuration shows without being asked.
    pub auto_probe: bool,
    /// Ask the peers behind a probed location directly, too.
    pub find_backends: bool,
    /// How probes are made.
    pub probe: ProbeOptions,
    /// Paces at which tunnels to each endpoint are held beside its probe.
    pub cadences: Vec<Cadence>,
    /// nginx's main configuration file, when given.
    pub nginx_conf: Option<PathBuf>,
    /// The same file where no link leads any more; `None` when that is not known.
    pub nginx_conf_real: Option<PathBuf>,
    /// It holds the text of `nginx -T`.
    pub nginx_dump: bool,
    /// The release whose defaults and rules hold, when that was said.
    pub nginx_version: Option<Version>,
    /// Its `-p` prefix, when known.
    pub nginx_prefix: Option<PathBuf>,
    /// Where the configuration usually is.
    pub usual_conf: PathBuf,
    /// Error logs that were given; they replace those of the configuration.
    pub error_logs: Vec<PathBuf>,
    /// Access logs that were given; they replace those of the configuration.
    pub access_logs: Vec<PathBuf>,
    /// Their `log_format`: a name or the format itself.
    pub log_format: Option<String>,
    /// Where the clock of the error logs hangs.
    pub zone: Zone,
    /// From when on the logs are read, when that was said.
    pub since: Option<Timestamp>,
    /// How far back they are read when nothing was said; `None`: only what is written from now on.
    pub reach: Option<Duration>,
    /// Logs of backends.
    pub backend_logs: Vec<PathBuf>,
    /// Which master.
    pub pid: Option<u32>,
    /// Never run the nginx binary.
    pub no_exec: bool,
    /// Send nothing, not even to URLs that were given: they are only routed.
    pub no_probe: bool,
    /// One look and no more: what is read only from copies is judged as of its own end.
    pub one_look: bool,
    /// The newest line of the logs that were named is older than what is read of a log.
    pub old_logs: bool,
    /// Look for nginx in /proc at all; the embedded proxy of the demo is no nginx.
    pub find_nginx: bool,
    /// Processes whose sockets are worth owning besides nginx's.
    pub pids: Vec<u32>,
    /// Ports watched besides nginx's own.
    pub ports: Vec<u16>,
    /// Follow logs at all; a look at the sockets alone needs none.
    pub follow_logs: bool,
    /// Where socket rows come from.
    pub sockets: SocketMode,
    /// Time between looks at the socket tables.
    pub interval: Duration,
    /// That time was asked for: it does not stretch when looking is dear.
    pub interval_fixed: bool,
    /// Addresses are hidden.
    pub redact: bool,
    /// Where every event is written.
    pub record: Option<PathBuf>,
    /// The theme's name.
    pub theme: Option<String>,
    /// Whether to use colour.
    pub color: ColorMode,
    /// Signs and bars of ASCII only: the locale is not UTF-8.
    pub ascii: bool,
}

impl Settings {
    /// Reads what was typed, under the environment given by `env` (a look-up, so that tests need no real one).
    ///
    /// # Errors
    /// One sentence that names the word that cannot be meant, and the right form.
    pub fn from_args(args: &LookArgs, host: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, WrongWord> {
        Ok(Self {
            host: host.to_owned(),
            endpoints: endpoints(args)?,
            auto_probe: args.probe == Some(AutoProbe::Auto),
            find_backends: finds_backends(args),
            probe: probe_options(args)?,
            cadences: parse_cadences(&args.cadences)?,
            nginx_conf: args.nginx_conf.clone(),
            nginx_conf_real: None,
            nginx_dump: false,
            nginx_version: args.nginx_version.as_deref().map(version).transpose()?,
            nginx_prefix: args.nginx_prefix.clone(),
            usual_conf: PathBuf::from(USUAL_CONF),
            error_logs: args.error_logs.iter().map(|p| log_path(p)).collect(),
            access_logs: args.access_logs.iter().map(|p| log_path(p)).collect(),
            backend_logs: args.backend_logs.clone(),
            log_format: args.log_format.clone(),
            zone: args.tz.as_deref().map(str::parse).transpose().map_err(WrongWord::Zone)?.unwrap_or_default(),
            since: None,
            reach: Some(REACH),
            pid: args.pid,
            no_exec: args.no_exec,
            no_probe: false,
            one_look: false,
            old_logs: false,
            find_nginx: true,
            pids: Vec::new(),
            ports: args.ports.clone(),
            follow_logs: true,
            sockets: args.sockets.unwrap_or_default(),
            interval: args.interval.unwrap_or(INTERVAL),
            interval_fixed: args.interval.is_some(),
            redact: args.redact,
            record: args.record.clone(),
            theme: theme(args, env),
            color: color(args.color, env),
            ascii: !is_utf8(env),
        })
    }
}

/// A word on the command line that cannot be meant.
#[derive(Debug, thiserror::Error)]
pub enum WrongWord {
    /// A URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Another option of the probes.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// A time zone.
    #[error("--tz: {0}")]
    Zone(String),
    /// A release of nginx.
    #[error("--nginx-version: '{0}' is no release of nginx: 1.28.0, or the line that nginx -v prints")]
    Version(String),
    /// A twin without a partner.
    #[error("--backend needs the URL whose direct twin it is: wspulse ws://host/path --backend ws://backend:port/path")]
    TwinAlone,
}

/// `1.28.0`, or whatever `nginx -v` prints.
fn version(text: &str) -> Result<Version, WrongWord> {
    release(text).ok_or_else(|| WrongWord::Version(crate::human::visible(text.as_bytes())))
}

fn log_path(path: &Path) -> PathBuf {
    if STDIN_NAMES.iter().any(|name| path == Path::new(name)) { PathBuf::from(STDIN) } else { path.to_path_buf() }
}

/// `--backend auto`: not a URL, but leave to ask the configuration's own peers.
fn finds_backends(args: &LookArgs) -> bool {
    args.backend.as_deref() == Some("auto")
}

/// `--backend` is the direct twin of the first URL.
fn endpoints(args: &LookArgs) -> Result<Vec<(WsUrl, Option<WsUrl>)>, WrongWord> {
    let given = args.backend.as_deref().filter(|_| !finds_backends(args));
    let backend = given.map(WsUrl::parse).transpose()?;
    if backend.is_some() && args.urls.is_empty() {
        return Err(WrongWord::TwinAlone);
    }
    let urls = args.urls.iter().map(|u| WsUrl::parse(u)).collect::<Result<Vec<_>, _>>()?;
    let twins = std::iter::once(backend).chain(std::iter::repeat(None));
    Ok(urls.into_iter().zip(twins).collect())
}

fn probe_options(args: &LookArgs) -> Result<ProbeOptions, WrongWord> {
    let usual = ProbeOptions::default();
    Ok(ProbeOptions {
        question: question(args)?,
        headers: headers(args)?,
        origin: origin(args)?,
        subprotocols: args.subprotocols.iter().map(|s| parse_subprotocol(s)).collect::<Result<_, _>>()?,
        cacert: args.cacert.clone(),
        client_cert: args.cert.clone().zip(args.key.clone()).map(|(cert, key)| ClientCert { cert, key }),
        insecure: args.insecure,
        unix_socket: args.unix_socket.clone(),
        http_proxy: args.http_proxy.as_deref().map(HttpProxy::parse).transpose()?,
        proxy_protocol: args.proxy_protocol.map(|version| match version {
            ProxyProtocolVersion::V1 => ProxyProtocol::V1,
            ProxyProtocolVersion::V2 => ProxyProtocol::V2,
        }),
        resolve: args.resolve.iter().map(|r| ResolveOverride::parse(r)).collect::<Result<_, _>>()?,
        ping_interval: probe::heartbeat_time("--ping-interval", args.ping_interval.unwrap_or(usual.ping_interval))?,
        ping_timeout: probe::heartbeat_time("--ping-timeout", args.ping_timeout.unwrap_or(usual.ping_timeout))?,
        ..usual
    })
}

/// `--send` and `--expect`.
fn question(args: &LookArgs) -> Result<Option<Question>, OptionError> {
    let Some(text) = args.send.clone() else { return Ok(None) };
    // The parser's last line says what is wrong; those before draw an arrow under the pattern.
    let wrong = |e: regex::Error| {
        let said = e.to_string();
        OptionError::Expect(crate::human::visible(said.lines().last().unwrap_or(&said).as_bytes()))
    };
    let expect = args.expect.as_deref().map(regex::Regex::new).transpose().map_err(wrong)?;
    Ok(Some(Question { text, expect }))
}

/// `--origin`, which must not smuggle in another line.
fn origin(args: &LookArgs) -> Result<Option<String>, OptionError> {
    let header = args.origin.as_ref().map(|o| parse_header(&format!("Origin: {o}"))).transpose()?;
    Ok(header.map(|(_, value)| value))
}

/// `--header`, and what other options say in headers.
fn headers(args: &LookArgs) -> Result<Vec<(String, String)>, OptionError> {
    let given = args.headers.iter().map(|h| parse_header(h));
    let basic = args.basic.as_deref().map(probe::basic);
    let bearer = args.bearer.as_ref().map(|token| parse_header(&format!("Authorization: Bearer {token}")));
    // Several cookies share one header (RFC 6265 section 5.4).
    let cookies = (!args.cookies.is_empty()).then(|| parse_header(&format!("Cookie: {}", args.cookies.join("; "))));
    given.chain(basic).chain(bearer).chain(cookies).collect()
}

/// The theme asked for; `mono` where colour is not wanted.
fn theme(args: &LookArgs, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    if color(args.color, env) == ColorMode::Never { Some("mono".into()) } else { args.theme.clone() }
}

/// A flag wins over NO_COLOR (no-color.org: any non-empty value).
fn color(flag: Option<ColorMode>, env: &dyn Fn(&str) -> Option<String>) -> ColorMode {
    let refused = env("NO_COLOR").is_some_and(|v| !v.is_empty());
    flag.unwrap_or(if refused { ColorMode::Never } else { ColorMode::Auto })
}

/// POSIX order: LC_ALL, LC_CTYPE, LANG. Without any of them the terminal of today is taken to be UTF-8; the plain `C` and
/// `POSIX` locales are not.
fn is_utf8(env: &dyn Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| env(name).filter(|v| !v.is_empty());
    match set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")) {
        None => true,
        Some(locale) => {
            let lower = locale.to_ascii_lowercase();
            lower.contains("utf-8") || lower.contains("utf8")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(env: &[(&str, &str)], args: &LookArgs) -> Settings {
        let env = |name: &str| env.iter().find(|(k, _)| *k == name).map(|(_, v)| (*v).to_owned());
        Settings::from_args(args, "h", &env).expect("nothing wrong was typed")
    }

    #[test]
    fn no_color_is_honoured_unless_a_flag_says_otherwise() {
        let none = LookArgs::default();
        assert_eq!(with(&[("NO_COLOR", "1")], &none).theme.as_deref(), Some("mono"));
        assert_eq!(with(&[("NO_COLOR", "")], &none).color, ColorMode::Auto);
        let always = LookArgs { color: Some(ColorMode::Always), ..LookArgs::default() };
        assert_eq!(with(&[("NO_COLOR", "1")], &always).color, ColorMode::Always);
    }

    #[test]
    fn signs_are_ascii_where_the_locale_is_not_utf8() {
        let none = LookArgs::default();
        assert!(!with(&[("LANG", "en_US.UTF-8")], &none).ascii);
        assert!(with(&[("LANG", "en_US.UTF-8"), ("LC_ALL", "C")], &none).ascii);
        assert!(!with(&[], &none).ascii);
    }

    #[test]
    fn logs_are_where_they_were_said_to_be_and_in_their_zone() {
        let args = LookArgs {
            error_logs: vec!["/dev/stdin".into(), "/l/e.log".into()],
            access_logs: vec!["-".into()],
            tz: Some("+02:00".into()),
            ..LookArgs::default()
        };
        let settings = with(&[], &args);
        assert_eq!(settings.error_logs, [PathBuf::from(STDIN), PathBuf::from("/l/e.log")]);
        assert_eq!((settings.access_logs, settings.reach), (vec![PathBuf::from(STDIN)], Some(REACH)));
        assert_eq!(settings.zone.to_string(), "+02:00");
        let nowhere = LookArgs { tz: Some("Mars".into()), ..LookArgs::default() };
        let wrong = Settings::from_args(&nowhere, "h", &|_| None).expect_err("no such zone");
        assert!(wrong.to_string().starts_with("--tz: no time zone is called 'Mars'"), "{wrong}");
    }

    #[test]
    fn credentials_and_cookies_become_headers() {
        let args = LookArgs {
            basic: Some("a:b".into()),
            cookies: vec!["x=1".into(), "y=2".into()],
            headers: vec!["X-A: 1".into()],
            ..LookArgs::default()
        };
        let headers = with(&[], &args).probe.headers;
        let texts: Vec<String> = headers.iter().map(|(n, v)| format!("{n}: {v}")).collect();
        assert_eq!(texts, ["X-A: 1", "Authorization: Basic YTpi", "Cookie: x=1; y=2"]);
        let second = LookArgs { origin: Some("https://a.test\r\nX: y".into()), ..LookArgs::default() };
        assert!(Settings::from_args(&second, "h", &|_| None).is_err(), "an origin is one line");
        let spin = LookArgs { ping_interval: Some(Duration::ZERO), ..LookArgs::default() };
        let said = Settings::from_args(&spin, "h", &|_| None).expect_err("no pause").to_string();
        assert_eq!(said, "--ping-interval is too short; write at least 100ms");
        let smuggled = LookArgs { bearer: Some("a\r\nX: y".into()), ..LookArgs::default() };
        let said = Settings::from_args(&smuggled, "h", &|_| None).expect_err("a line break").to_string();
        assert!(!said.contains("X: y"), "{said}");
    }

    #[test]
    fn the_backend_is_the_twin_of_the_first_url() {
        let words = |v: &[&str]| v.iter().map(|w| (*w).to_owned()).collect();
        let args = LookArgs {
            urls: words(&["ws://a/1", "ws://a/2"]),
            backend: Some("ws://b:81/1".into()),
            ..LookArgs::default()
        };
        let settings = with(&[], &args);
        let twins: Vec<_> =
            settings.endpoints.iter().map(|(u, t)| (u.to_string(), t.as_ref().map(WsUrl::to_string))).collect();
        assert_eq!(twins[0], ("ws://a/1".into(), Some("ws://b:81/1".into())));
        assert_eq!(twins[1], ("ws://a/2".into(), None));
        let alone = LookArgs { backend: Some("ws://b/".into()), ..LookArgs::default() };
        assert!(matches!(Settings::from_args(&alone, "h", &|_| None), Err(WrongWord::TwinAlone)));
    }
}
