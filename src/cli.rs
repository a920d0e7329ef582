//! What was typed: the command line as clap reads it. Nothing is opened or decided here; `settings` says what it means.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::human;

const EXAMPLES: &str = "\
Examples:
  wspulse                                   watch this host: nginx, its logs, its sockets
  wspulse ws://127.0.0.1/ws                 the same, and hold a heartbeat probe open
  wspulse wss://example.test/ws --backend ws://10.0.0.7:8080/ws
                                            probe through nginx and directly, side by side
  wspulse check wss://example.test/ws       one look, a checklist, a verdict, an exit code
  wspulse demo                              see it work, nothing needed

Exit codes: 0 healthy or quit, 1 findings, 2 could not look, 129 terminal gone, 130 Ctrl-C, 143 SIGTERM.";

const CHECK_EXAMPLES: &str = "\
Examples:
  wspulse check                                     nginx, its configuration, its logs, its sockets
  wspulse check ws://127.0.0.1/ws                   and a handshake through nginx
  wspulse check ws://127.0.0.1/ws --backend ws://127.0.0.1:8080/ws
                                                    and directly: is it nginx or the backend?
  wspulse check wss://example.test/ws --deep        and again with one thing changed at a time: where does the
                                                    fault sit?
  wspulse check wss://example.test/ws --format json | jq .verdict

Exit codes: 0 nothing at or above --fail-on, 1 findings, 2 could not look.";

const DEMO_EXAMPLES: &str = "\
Examples:
  wspulse demo                              on the screen, until q
  wspulse demo --for 10s --format text      without a screen: what it saw in ten seconds
  wspulse demo --nginx                      the same faults on the installed nginx";

const STREAM_EXAMPLES: &str = "\
Examples:
  wspulse stream | jq -c 'select(.event == \"errors\") | .data.entries[].message'
  wspulse stream --for 1m > morning.jsonl";

const LOGS_EXAMPLES: &str = "\
Examples:
  wspulse logs                                      the logs that nginx's configuration names
  wspulse logs '/var/log/nginx/*.log*'              all of them, rotated and packed ones too
  wspulse logs error.log --since 2h --category upstream-connect,upstream-timeout
  wspulse logs access.log --log-format '$remote_addr [$time_local] \"$request\" $status $request_time'
  wspulse logs error.log --tz Europe/Berlin --since '2026-11-21 14:00' --until '2026-11-21 14:30'
  kubectl logs deploy/ingress | wspulse logs -
  wspulse logs error.log --format json | jq .by_category

Exit codes: 0 everything could be read, whatever it says; 2 a file could not be read or was damaged (the rest is
counted), a pattern matched nothing, or wrong usage; 130 Ctrl-C.";

const IDLE_TIMEOUT_EXAMPLES: &str = "\
Examples:
  wspulse idle-timeout ws://127.0.0.1/ws            how long does nginx let a silent tunnel live, and which line says so?
  wspulse idle-timeout wss://example.test/ws --max 1h
  wspulse idle-timeout wss://example.test/ws --wake '{\"subscribe\":\"ticks\"}'
                                                    the server speaks then: is it the client's silence that counts?
  wspulse idle-timeout wss://example.test/ws --format json | jq .estimate_s

About twenty tunnels are opened, one every 100 ms, and all but one of them are never more than silent or nearly so.
Ctrl-C prints what is known so far.

Exit codes: 0 measured (or nothing died within --max), 1 no tunnel could be opened, 2 wrong usage, 130 Ctrl-C.";

/// See why WebSockets through nginx fail: handshakes, tunnels and errors on one screen.
#[derive(Debug, Parser)]
#[command(name = "wspulse", version, about, long_about = None, after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Cli {
    /// What to do; nothing opens the dashboard.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of the dashboard.
    #[command(flatten)]
    pub look: LookArgs,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One look: a checklist and a verdict with evidence; the exit code says it
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// What error and access logs say in sum: categories, rates, top talkers, lifetimes of sessions
    #[command(after_help = LOGS_EXAMPLES)]
    Logs(LogsArgs),
    /// Measure how long the path lets a silent tunnel live, and name the likely culprit
    #[command(after_help = IDLE_TIMEOUT_EXAMPLES)]
    IdleTimeout(IdleTimeoutArgs),
    /// Everything on this machine, nothing needed: a backend, a proxy, clients and faults on a script
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
    /// What is seen, as JSON lines on stdout
    #[command(after_help = STREAM_EXAMPLES)]
    Stream(StreamArgs),
}

/// What to look at.
#[derive(Clone, Debug, Default, Args)]
pub struct LookArgs {
    /// WebSocket URLs to probe: `ws://host:port/path` or `wss://...`
    #[arg(value_name = "URL")]
    pub urls: Vec<String>,
    /// The backend's own URL: the direct twin of the probe; 'auto' asks the peers that nginx's configuration names
    #[arg(long, value_name = "WS-URL|auto", help_heading = "Probes")]
    pub backend: Option<String>,
    /// A header for the handshake, 'Name: value' (repeatable)
    #[arg(long = "header", value_name = "K: V", help_heading = "Probes")]
    pub headers: Vec<String>,
    /// The Origin header of the handshake
    #[arg(long, help_heading = "Probes")]
    pub origin: Option<String>,
    /// A subprotocol to offer (repeatable)
    #[arg(long = "subprotocol", value_name = "NAME", help_heading = "Probes")]
    pub subprotocols: Vec<String>,
    /// A file of CA certificates (PEM) to trust besides the system's
    #[arg(long, value_name = "FILE", help_heading = "Probes")]
    pub cacert: Option<PathBuf>,
    /// Our own certificate (PEM), for servers that ask for one; goes with --key
    #[arg(long, value_name = "FILE", requires = "key", help_heading = "Probes")]
    pub cert: Option<PathBuf>,
    /// The private key of --cert (PEM)
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "Probes")]
    pub key: Option<PathBuf>,
    /// Go on with a certificate that is not trusted; what is wrong with it is still shown
    #[arg(long, help_heading = "Probes")]
    pub insecure: bool,
    /// Use ADDR for HOST:PORT instead of asking the resolver (repeatable)
    #[arg(long, value_name = "HOST:PORT:ADDR", help_heading = "Probes")]
    pub resolve: Vec<String>,
    /// Credentials for an Authorization: Basic header
    #[arg(long, value_name = "USER:PASSWORD", conflicts_with = "bearer", help_heading = "Probes")]
    pub basic: Option<String>,
    /// A token for an Authorization: Bearer header
    #[arg(long, value_name = "TOKEN", help_heading = "Probes")]
    pub bearer: Option<String>,
    /// A cookie to send (repeatable)
    #[arg(long = "cookie", value_name = "NAME=VALUE", help_heading = "Probes")]
    pub cookies: Vec<String>,
    /// Connect to this unix socket instead of the URL's host
    #[arg(long, value_name = "PATH", conflicts_with_all = ["http_proxy", "resolve"], help_heading = "Probes")]
    pub unix_socket: Option<PathBuf>,
    /// Go through this HTTP proxy (CONNECT)
    #[arg(long, value_name = "http://HOST:PORT", help_heading = "Probes")]
    pub http_proxy: Option<String>,
    /// Send a PROXY protocol header first, as a load balancer would
    #[arg(long, value_enum, help_heading = "Probes")]
    pub proxy_protocol: Option<ProxyProtocolVersion>,
    /// Time between pings [default: 15s]
    #[arg(long, value_name = "TIME", value_parser = human::parse_span, help_heading = "Probes")]
    pub ping_interval: Option<Duration>,
    /// How long a pong may take [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = human::parse_span, help_heading = "Probes")]
    pub ping_timeout: Option<Duration>,
    /// Whether WebSocket locations found in the configuration are probed without being asked for [default: none]
    #[arg(long, value_enum, help_heading = "Probes")]
    pub probe: Option<AutoProbe>,

    /// nginx's main configuration file [default: that of the running nginx]
    #[arg(long, value_name = "PATH", help_heading = "nginx")]
    pub nginx_conf: Option<PathBuf>,
    /// An error log to follow (repeatable) [default: those of the configuration]
    #[arg(long = "error-log", value_name = "PATH", help_heading = "nginx")]
    pub error_logs: Vec<PathBuf>,
    /// An access log to follow (repeatable) [default: those of the configuration]
    #[arg(long = "access-log", value_name = "PATH", help_heading = "nginx")]
    pub access_logs: Vec<PathBuf>,
    /// The log_format of --access-log: a name from the configuration or the format itself [default: combined]
    #[arg(long, value_name = "NAME|STRING", help_heading = "nginx")]
    pub log_format: Option<String>,
    /// Which nginx master, where several run
    #[arg(long, value_name = "PID", help_heading = "nginx")]
    pub pid: Option<u32>,
    /// Never run the nginx binary (its -V tells version and default paths)
    #[arg(long, help_heading = "nginx")]
    pub no_exec: bool,

    /// Where socket rows come from [default: auto]
    #[arg(long, value_enum, help_heading = "Sockets")]
    pub sockets: Option<SocketMode>,
    /// Time between looks at the socket tables [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = human::parse_span, help_heading = "Sockets")]
    pub interval: Option<Duration>,

    /// Write every event to FILE as JSON lines
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub record: Option<PathBuf>,
    /// dark, light or mono [default: dark, mono when NO_COLOR is set]
    #[arg(long, value_name = "NAME", help_heading = "Output")]
    pub theme: Option<String>,
    /// Whether to use colour [default: auto]
    #[arg(long, value_enum, help_heading = "Output")]
    pub color: Option<ColorMode>,
    /// The program's own log
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    pub log_file: Option<PathBuf>,
    /// More in the program's own log (repeatable)
    #[arg(short, long, action = clap::ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,
}

/// `check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// What to look at.
    #[command(flatten)]
    pub look: LookArgs,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// The least severity that makes the exit code 1
    #[arg(long, value_enum, default_value_t = FailOn::Warning)]
    pub fail_on: FailOn,
    /// Ask every URL again with one thing changed at a time, and the peers behind its location directly
    #[arg(long)]
    pub deep: bool,
    /// The most time for the whole look [default: 10s, with --deep 20s]
    #[arg(long, value_name = "TIME", value_parser = human::parse_span)]
    pub timeout: Option<Duration>,
    /// How long the probe's tunnel is kept open
    #[arg(long, value_name = "TIME", value_parser = human::parse_span, default_value = "3s")]
    pub hold: Duration,
}

/// `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Run without a screen for this long and print what was seen [default without a terminal: 20s]
    #[arg(long = "for", value_name = "TIME", value_parser = human::parse_span)]
    pub duration: Option<Duration>,
    /// How that is written; only with --for or without a terminal
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Use the installed nginx instead of the embedded proxy
    #[arg(long)]
    pub nginx: bool,
    /// dark, light or mono
    #[arg(long, value_name = "NAME")]
    pub theme: Option<String>,
    /// Whether to use colour
    #[arg(long, value_enum)]
    pub color: Option<ColorMode>,
    /// Write every event to FILE as JSON lines
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// The program's own log
    #[arg(long, value_name = "PATH")]
    pub log_file: Option<PathBuf>,
    /// Write the screen as SVG to FILE after ten seconds and end
    #[arg(long, value_name = "FILE", hide = true)]
    pub picture: Option<PathBuf>,
}

/// `idle-timeout`.
#[derive(Clone, Debug, Args)]
pub struct IdleTimeoutArgs {
    /// What to look at.
    #[command(flatten)]
    pub look: LookArgs,
    /// The longest silence to try, which is also about the time that the experiment takes
    #[arg(long, value_name = "TIME", value_parser = human::parse_span, default_value = "10m")]
    pub max: Duration,
    /// A text message after which the server speaks of its own accord: one more tunnel then tells whether the client's silence
    /// alone is fatal
    #[arg(long, value_name = "TEXT")]
    pub wake: Option<String>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `stream`.
#[derive(Clone, Debug, Args)]
pub struct StreamArgs {
    /// What to look at.
    #[command(flatten)]
    pub look: LookArgs,
    /// End after this time [default: go on until interrupted]
    #[arg(long = "for", value_name = "TIME", value_parser = human::parse_span)]
    pub duration: Option<Duration>,
}

/// `logs`.
#[derive(Clone, Debug, Args)]
pub struct LogsArgs {
    /// Logs: plain, .gz or .zst, patterns in quotes, - for stdin [default: those of nginx's configuration]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Nothing before: a time span back from now (2h), or a time (2026-11-21T14:02:31Z, '2026/11/21 14:02:31')
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// Nothing after, written the same way
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<String>,
    /// Only error-log entries of these categories (repeatable, or with commas)
    #[arg(long = "category", value_name = "NAME", value_delimiter = ',')]
    pub categories: Vec<String>,
    /// Only entries whose line matches
    #[arg(long, value_name = "REGEX")]
    pub grep: Option<String>,
    /// The time zone in which the error logs were written: Europe/Berlin, +02:00 [default: this machine's]
    #[arg(long, value_name = "ZONE", allow_hyphen_values = true)]
    pub tz: Option<String>,
    /// The log_format of access logs: a name from the configuration, or the format itself [default: combined and
    /// those of the configuration, whichever fits]
    #[arg(long, value_name = "NAME|STRING", allow_hyphen_values = true)]
    pub log_format: Option<String>,
    /// nginx's main configuration file, for the names of logs, their formats and the timeouts [default: that of the
    /// running nginx, else /etc/nginx/nginx.conf]
    #[arg(long, value_name = "PATH")]
    pub nginx_conf: Option<PathBuf>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Whether to use colour
    #[arg(long, value_enum)]
    pub color: Option<ColorMode>,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For tickets.
    Markdown,
}

/// The least severity that makes the exit code 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Only critical findings.
    Critical,
    /// Warnings and worse.
    Warning,
    /// Any finding.
    Info,
}

/// Whether found locations are probed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AutoProbe {
    /// All of them.
    Auto,
    /// Only what was asked for.
    #[default]
    None,
}

/// The version of a PROXY protocol header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProxyProtocolVersion {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// Where socket rows come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SocketMode {
    /// netlink, /proc where that fails.
    #[default]
    Auto,
    /// netlink sock_diag.
    Netlink,
    /// /proc/net/tcp.
    Proc,
}

/// Whether to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorMode {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn urls_open_the_dashboard_and_words_are_commands() {
        let cli = Cli::try_parse_from(["wspulse", "ws://h/ws", "--backend", "ws://b/"]).expect("parses");
        assert!(cli.command.is_none());
        assert_eq!(cli.look.urls, ["ws://h/ws"]);
        let cli = Cli::try_parse_from(["wspulse", "check", "ws://h/ws", "--timeout", "5s"]).expect("parses");
        assert!(matches!(cli.command, Some(Command::Check(c)) if c.timeout == Some(Duration::from_secs(5))));
    }
}
