//! What was typed: the command line as clap reads it. Nothing is opened or decided here; `settings` says what it means.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::human;

const EXAMPLES: &str = "\
Examples:
  wspulse                                   watch this host: nginx, its logs, its sockets
  wspulse ws://127.0.0.1/ws                 the same, and hold a heartbeat probe open
  wspulse wss://example.test/ws --backend ws://10.0.0.7:8080/ws
                                            probe through nginx and directly, side by side
  wspulse wss://example.test/ws --cadence silent,10s,50s
                                            and at several paces: which silence does the path cut?
  wspulse check wss://example.test/ws       one look, a checklist, a verdict, an exit code
  wspulse lint                              the nginx configuration alone, and its fixes as a diff
  journalctl -f -u nginx | wspulse --error-log -
  wspulse --error-log '/var/log/nginx/*error.log' --since 3h
  wspulse demo                              see it work, nothing needed
  wspulse --plain | tee wspulse.txt         the same in sentences, a line for each change: for screen readers and pipes

Exit codes: 0 healthy or quit, 1 findings, 2 could not look, 129 terminal gone, 130 Ctrl-C, 143 SIGTERM.";

const CHECK_EXAMPLES: &str = "\
Examples:
  wspulse check                                     nginx, its configuration, its logs, its sockets
  wspulse check ws://127.0.0.1/ws                   and a handshake through nginx
  wspulse check ws://127.0.0.1/ws --backend ws://127.0.0.1:8080/ws
                                                    and directly: is it nginx or the backend?
  wspulse check wss://example.test/ws --deep        and again with one thing changed at a time: where does the
                                                    fault sit?
  wspulse check wss://example.test/ws --cadence silent,10s --hold 3m --timeout 4m
                                                    which silence does the path cut?
  wspulse check wss://example.test/ws --format json | jq .verdict

Exit codes: 0 nothing at or above --fail-on, 1 findings, 2 could not look.";

const LINT_EXAMPLES: &str = "\
Examples:
  wspulse lint                                      the configuration of the running nginx, else /etc/nginx/nginx.conf
  wspulse lint nginx/nginx.conf --nginx-version 1.22.1
  wspulse lint --fix | patch -d / -p1               the fixes as one diff
  wspulse lint --write                              shows them, asks, keeps a backup; never reloads
  wspulse lint nginx/nginx.conf --format sarif > wspulse.sarif

What is meant to be so is said in the configuration: # wspulse: ignore ID, on the line, above it or at the head of a block;
# wspulse: ignore-file ID for a file.

Exit codes: 0 nothing at or above --fail-on, 1 findings, 2 could not look or could not write.";

const DEMO_EXAMPLES: &str = "\
Examples:
  wspulse demo                              on the screen, until q
  wspulse demo --for 10s --format text      without a screen: what it saw in ten seconds
  wspulse demo --plain                      in plain lines, for screen readers
  wspulse demo --nginx                      the same faults on the installed nginx";

const STREAM_EXAMPLES: &str = "\
Examples:
  wspulse stream | jq -c 'select(.event == \"errors\") | .data.entries[].message'
  wspulse stream --filter 'kind:errors client:10.0.0.0/8'
  wspulse stream --for 1m > morning.jsonl";

const LOGS_EXAMPLES: &str = "\
Examples:
  wspulse logs                                      the logs that nginx's configuration names
  wspulse logs '/var/log/nginx/*.log*'              all of them, rotated and packed ones too
  wspulse logs error.log --since 2h --category upstream-connect,upstream-timeout
  wspulse logs access.log --filter 'status=101 lifetime<10s client:10.0.0.0/8'
  wspulse logs access.log --log-format '$remote_addr [$time_local] \"$request\" $status $request_time'
  wspulse logs error.log --tz Europe/Berlin --since '2026-11-21 14:00' --until '2026-11-21 14:30'
  kubectl logs deploy/ingress | wspulse logs -
  wspulse logs error.log --format json | jq .by_category
  wspulse logs error.log --backend-log /srv/app/app.log

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

const SOAK_EXAMPLES: &str = "\
Examples:
  wspulse soak ws://127.0.0.1/ws -n 1000 --duration 1h
  wspulse soak wss://example.test/ws -n 200 --duration 8h --ping-interval 30s --reconnect
  wspulse soak ws://127.0.0.1/ws -n 500 --duration 5m --send ping --expect pong
  wspulse soak wss://example.test/ws --min-survival 99.9% --max-p99 250ms --format json > soak.json

--duration counts from the end of the ramp. Without --min-survival every tunnel is to open and to live.

Exit codes: 0 passed, 1 failed, 2 wrong usage or too few descriptors, 130 Ctrl-C (the report is printed all the same).";

const ROUTE_EXAMPLES: &str = "\
Examples:
  wspulse route wss://chat.example.com/ws           which location, which backend, with which headers, and why
  wspulse route ws://10.0.0.5/ws --header 'Host: chat.example.com'
  wspulse route wss://chat.example.com/ws --from 10.0.0.5:8080
                                                    TLS ends at a load balancer, nginx listens on 10.0.0.5:8080
  wspulse route ws://a.test/ws --nginx-conf ./nginx.conf --nginx-version 1.29.7
  wspulse route wss://chat.example.com/ws --format json | jq .said

Only the configuration is read: nothing is sent, no name is looked up, no file is tried.

Exit codes: 0 the handshake reaches a backend as a handshake, 1 it does not, 2 could not look.";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  wspulse explain                                   everything there is, in groups
  wspulse explain idle-timeout-cuts                 a finding
  wspulse explain upstream-timeout                  a category of error-log lines
  wspulse explain 1006                              a close code

Exit codes: 0 explained, 2 there is nothing of that name.";

const SOCKETS_EXAMPLES: &str = "\
Examples:
  wspulse sockets                                   every tunnel through the nginx of this host
  wspulse sockets --filter 'idle>5m client:10.0.0.0/8' --sort -idle
  wspulse sockets --group-by client --sort -tunnels who holds how many
  wspulse sockets --watch --interval 2s --filter 'left<10s'
  wspulse sockets --port 8080                       without nginx: all connections with that port at either end
  wspulse sockets --format json | jq '.tunnels[] | select(.time_left_s < 10) | .client'

A filter: words, key:value, key=value, idle>30s, age<1m, bytes>=1M, client:10.0.0.0/8, /regex/, !not; all must hold.

Exit codes: 0 looked, whatever was seen; 2 the socket tables cannot be read, or wrong usage; 130 Ctrl-C.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(wspulse completions bash)                this shell; the same line in ~/.bashrc: every shell
  wspulse completions bash > ~/.local/share/bash-completion/completions/wspulse
  wspulse completions zsh > \"${fpath[1]}/_wspulse\"
  wspulse completions fish > ~/.config/fish/completions/wspulse.fish
  wspulse completions powershell | Out-String | Invoke-Expression
  eval (wspulse completions elvish | slurp)

Exit codes: 0 written, 2 there is no such shell.";

const MAN_EXAMPLES: &str = "\
Examples:
  wspulse man | man -l -                            read it
  wspulse man check | man -l -                      one command
  wspulse man > /usr/local/share/man/man1/wspulse.1

Exit codes: 0 written, 2 there is no such command.";

/// The themes of the screen, and the word for the one that fits the terminal's background.
pub const THEMES: [&str; 10] =
    ["auto", "dark", "light", "contrast", "contrast-light", "colorblind", "colorblind-light", "ansi", "mono", "none"];

/// See why WebSockets through nginx fail: handshakes, tunnels and errors on one screen.
#[expect(clippy::struct_excessive_bools, reason = "each is one flag")]
#[derive(Debug, Parser)]
#[command(name = "wspulse", version, about, long_about = None, after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Cli {
    /// What to do; nothing opens the dashboard.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of the dashboard.
    #[command(flatten)]
    pub look: LookArgs,
    /// Say the same in plain lines, one for each change: for screen readers, pipes and terminals that cannot draw
    #[arg(long, help_heading = "Output")]
    pub plain: bool,
    /// Show every option with its value and where that was said, and end
    #[arg(long, help_heading = "Settings")]
    pub print_config: bool,
    /// Write a settings file with every option as a comment, and end
    #[arg(long, help_heading = "Settings")]
    pub print_config_template: bool,
    /// List the themes, and end
    #[arg(long, help_heading = "Settings")]
    pub print_themes: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One look: a checklist and a verdict with evidence; the exit code says it
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// The nginx configuration alone, before a reload or in CI: what keeps WebSockets from working, and the fix as a diff
    #[command(after_help = LINT_EXAMPLES)]
    Lint(LintArgs),
    /// What error and access logs say in sum: categories, rates, top talkers, lifetimes of sessions
    #[command(after_help = LOGS_EXAMPLES)]
    Logs(LogsArgs),
    /// The tunnels of this moment: both legs, worker, location, bytes, rates, idle, time left
    #[command(after_help = SOCKETS_EXAMPLES)]
    Sockets(SocketsArgs),
    /// Measure how long the path lets a silent tunnel live, and name the likely culprit
    #[command(after_help = IDLE_TIMEOUT_EXAMPLES)]
    IdleTimeout(IdleTimeoutArgs),
    /// Hold many tunnels for a time: who survives, what pings take, why each one died
    #[command(after_help = SOAK_EXAMPLES)]
    Soak(SoakArgs),
    /// Which server and location a URL hits, why, and what the backend gets; no traffic, no look-ups
    #[command(after_help = ROUTE_EXAMPLES)]
    Route(RouteArgs),
    /// What a finding, an error category or a close code means, and what to do
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Everything on this machine, nothing needed: a backend, a proxy, clients and faults on a script
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
    /// What is seen, as JSON lines on stdout
    #[command(after_help = STREAM_EXAMPLES)]
    Stream(StreamArgs),
    /// A script that completes commands and options in a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
    /// The manual page, of everything or of one command, as roff on stdout
    #[command(after_help = MAN_EXAMPLES)]
    Man(ManArgs),
}

/// What to look at.
#[expect(clippy::struct_excessive_bools, reason = "each is one flag")]
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
    /// A text message to send as often as pings: a heartbeat that the backend itself understands
    #[arg(long, value_name = "TEXT", help_heading = "Probes")]
    pub send: Option<String>,
    /// What the answer to --send must match, within the ping timeout
    #[arg(long, value_name = "REGEX", requires = "send", help_heading = "Probes")]
    pub expect: Option<String>,
    /// Hold a tunnel more for each pace, side by side: 'silent', or the time between its pings; at most 8. What dies shows
    /// which silence the path cuts; with --backend URL the same paces there show whether it is the backend's
    #[arg(long = "cadence", value_name = "silent|TIME,...", value_delimiter = ',', help_heading = "Probes")]
    pub cadences: Vec<String>,
    /// Time between pings [default: 15s]
    #[arg(long, value_name = "TIME", value_parser = human::parse_span, help_heading = "Probes")]
    pub ping_interval: Option<Duration>,
    /// How long a pong may take [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = human::parse_span, help_heading = "Probes")]
    pub ping_timeout: Option<Duration>,
    /// Whether WebSocket locations found in the configuration are probed without being asked for [default: none]
    #[arg(long, value_enum, help_heading = "Probes")]
    pub probe: Option<AutoProbe>,

    /// nginx's main configuration file, or the text of nginx -T [default: that of the running nginx]
    #[arg(long, value_name = "PATH", help_heading = "nginx")]
    pub nginx_conf: Option<PathBuf>,
    /// Its -p prefix, from which relative paths in it count
    #[arg(long, value_name = "PATH", help_heading = "nginx")]
    pub nginx_prefix: Option<PathBuf>,
    /// The release of nginx whose rules and defaults hold, '1.28.0' or the line of nginx -v [default: the binary's]
    #[arg(long, value_name = "V", help_heading = "nginx")]
    pub nginx_version: Option<String>,
    /// An error log to follow: a file, a FIFO, a pattern in quotes, or - for stdin (repeatable) [default: those of the
    /// configuration]
    #[arg(long = "error-log", value_name = "PATH", help_heading = "nginx")]
    pub error_logs: Vec<PathBuf>,
    /// An access log to follow, named the same way (repeatable) [default: those of the configuration]
    #[arg(long = "access-log", value_name = "PATH", help_heading = "nginx")]
    pub access_logs: Vec<PathBuf>,
    /// A backend's own log, in which messages of WebSocket libraries are looked for (repeatable)
    #[arg(long = "backend-log", value_name = "PATH", help_heading = "nginx")]
    pub backend_logs: Vec<PathBuf>,
    /// The log_format of --access-log: a name from the configuration or the format itself [default: combined]
    #[arg(long, value_name = "NAME|STRING", help_heading = "nginx")]
    pub log_format: Option<String>,
    /// How far back the logs are read: a time span (2h), or a time ('2026/11/21 14:02:31') [default: 1h; nothing for
    /// stream]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = "nginx")]
    pub since: Option<String>,
    /// The time zone in which the error logs are written: Europe/Berlin, +02:00 [default: this machine's]
    #[arg(long, value_name = "ZONE", allow_hyphen_values = true, help_heading = "nginx")]
    pub tz: Option<String>,
    /// Which nginx master, where several run
    #[arg(long, value_name = "PID", help_heading = "nginx")]
    pub pid: Option<u32>,
    /// Never run the nginx binary (its -V tells version and default paths, its -t tests the configuration)
    #[arg(long, help_heading = "nginx")]
    pub no_exec: bool,

    /// A port to watch besides nginx's own, at either end of a connection (repeatable)
    #[arg(long = "port", value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Sockets")]
    pub ports: Vec<u16>,
    /// Where socket rows come from [default: auto]
    #[arg(long, value_enum, help_heading = "Sockets")]
    pub sockets: Option<SocketMode>,
    /// Time between looks at the socket tables; unless given it stretches to keep looking below 5 % of a core [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = human::parse_span, help_heading = "Sockets")]
    pub interval: Option<Duration>,

    /// Write every event to FILE as JSON lines
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub record: Option<PathBuf>,
    /// Show Authorization, Cookie and what else sounds like a secret, instead of ***; also in recordings
    #[arg(long, help_heading = "Output")]
    pub show_secrets: bool,
    /// Hide the host's part of IP addresses everywhere: on the screen, in lines, reports, recordings and the own log
    #[arg(long, help_heading = "Output")]
    pub redact: bool,
    /// A theme of --print-themes; auto asks the terminal for its background [default: auto, mono when NO_COLOR is set]
    #[arg(long, value_name = "NAME", value_parser = THEMES, help_heading = "Output", hide_possible_values = true)]
    pub theme: Option<String>,
    /// Whether to use colour [default: auto]
    #[arg(long, value_enum, help_heading = "Output")]
    pub color: Option<ColorMode>,
    /// The settings file [default: $XDG_CONFIG_HOME/wspulse/config.toml over /etc/wspulse/config.toml]
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    pub config: Option<PathBuf>,
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
    /// Send nothing, not even to the URLs given: say which location each hits, and judge from what was written
    #[arg(long, conflicts_with_all = ["deep", "probe"])]
    pub no_probe: bool,
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

/// `lint`.
#[expect(clippy::struct_excessive_bools, reason = "each is one flag")]
#[derive(Clone, Debug, Args)]
pub struct LintArgs {
    /// nginx's main configuration file [default: that of the running nginx, else /etc/nginx/nginx.conf]
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// The release whose defaults hold, 1.22.1 [default: that of the running nginx, when it is its configuration]
    #[arg(long, value_name = "VERSION")]
    pub nginx_version: Option<String>,
    /// How the findings are written
    #[arg(long, value_enum, default_value_t = LintFormat::Text, conflicts_with_all = ["fix", "write"])]
    pub format: LintFormat,
    /// Print the fixes of all findings at or above --fail-on as one diff, and nothing else
    #[arg(long, conflicts_with = "write")]
    pub fix: bool,
    /// Show that diff, ask, and write the files; backups are kept, nothing is reloaded
    #[arg(long)]
    pub write: bool,
    /// Do not ask
    #[arg(long, requires = "write")]
    pub yes: bool,
    /// The least severity that makes the exit code 1, and that --fix and --write mend
    #[arg(long, value_enum, default_value_t = FailOn::Warning)]
    pub fail_on: FailOn,
    /// Nothing but the exit code, and errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Whether to use colour
    #[arg(long, value_enum)]
    pub color: Option<ColorMode>,
}

/// `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Run without a screen for this long and print what was seen [default without a terminal: 20s]
    #[arg(long = "for", value_name = "TIME", value_parser = human::parse_span)]
    pub duration: Option<Duration>,
    /// Plain lines, one for each change, until --for is over or Ctrl-C
    #[arg(long, conflicts_with = "format")]
    pub plain: bool,
    /// How that is written; only with --for or without a terminal
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Use the installed nginx instead of the embedded proxy
    #[arg(long)]
    pub nginx: bool,
    /// Hide the host's part of IP addresses in everything that is written
    #[arg(long)]
    pub redact: bool,
    /// A theme of --print-themes [default: auto]
    #[arg(long, value_name = "NAME", value_parser = THEMES, hide_possible_values = true)]
    pub theme: Option<String>,
    /// The settings file [default: $XDG_CONFIG_HOME/wspulse/config.toml over /etc/wspulse/config.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
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

/// `soak`.
#[derive(Clone, Debug, Args)]
pub struct SoakArgs {
    /// What to look at.
    #[command(flatten)]
    pub look: LookArgs,
    /// How many tunnels
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub tunnels: u32,
    /// How long to hold them, from the end of the ramp on
    #[arg(long, value_name = "TIME", value_parser = human::parse_span, default_value = "1m")]
    pub duration: Duration,
    /// Handshakes a second while the tunnels are opened
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub ramp: u32,
    /// Open tunnels again that died; they are counted apart
    #[arg(long)]
    pub reconnect: bool,
    /// The least share that lives at the end: 99.9%
    #[arg(long, value_name = "PERCENT", value_parser = human::parse_percent)]
    pub min_survival: Option<f64>,
    /// The greatest 99th percentile of round-trip times
    #[arg(long, value_name = "TIME", value_parser = human::parse_span)]
    pub max_p99: Option<Duration>,
    /// More than 1,000 tunnels, or 1,000 handshakes a second, to another machine: it is yours
    #[arg(long)]
    pub yes_i_own_this: bool,
    /// The least severity that makes the exit code 1; critical: only when nothing lives
    #[arg(long, value_enum, default_value_t = FailOn::Warning)]
    pub fail_on: FailOn,
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
    /// Only events for which all of this holds, batches narrowed to those of their entries: 'kind:errors level=error'
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    pub filter: Option<String>,
}

/// `logs`.
#[derive(Clone, Debug, Args)]
pub struct LogsArgs {
    /// Logs: plain, .gz or .zst, patterns in quotes, - for stdin [default: those of nginx's configuration]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// A backend's own log, in which messages of WebSocket libraries are looked for (repeatable; may be packed)
    #[arg(long = "backend-log", value_name = "FILE")]
    pub backend_logs: Vec<PathBuf>,
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
    /// Only entries for which all of this holds: 'category:upstream client:10.0.0.0/8', 'status=101 lifetime>1m'
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    pub filter: Option<String>,
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
    /// Show Authorization, Cookie and what else sounds like a secret, instead of ***
    #[arg(long)]
    pub show_secrets: bool,
    /// Hide the host's part of IP addresses in everything that is written
    #[arg(long)]
    pub redact: bool,
}

/// `sockets`.
#[derive(Clone, Debug, Args)]
pub struct SocketsArgs {
    /// Only tunnels and legs for which all of this holds: 'idle>30s client:10.0.0.0/8 !state:open'
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    pub filter: Option<String>,
    /// Add the tunnels up by this
    #[arg(long, value_name = "WHAT", value_enum)]
    pub group_by: Option<GroupBy>,
    /// By which column; with a - in front the greatest first [default: left, and of groups -tunnels]
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    pub sort: Option<String>,
    /// Look again and again until interrupted; with --format json one line each time
    #[arg(long)]
    pub watch: bool,
    /// Time between looks with --watch [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = human::parse_span)]
    pub interval: Option<Duration>,
    /// How long to look, for rates and pairs [default: 1.5s]; with --watch end after this time [default: never]
    #[arg(long = "for", value_name = "TIME", value_parser = human::parse_span)]
    pub duration: Option<Duration>,
    /// Connections with this port at either end, with or without nginx (repeatable)
    #[arg(long = "port", value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub ports: Vec<u16>,
    /// Which nginx master, where several run
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// nginx's main configuration file [default: that of the running nginx]
    #[arg(long, value_name = "PATH")]
    pub nginx_conf: Option<PathBuf>,
    /// Never run the nginx binary (its -V tells version and default paths)
    #[arg(long)]
    pub no_exec: bool,
    /// Where socket rows come from [default: auto]
    #[arg(long, value_enum)]
    pub sockets: Option<SocketMode>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Whether to use colour
    #[arg(long, value_enum)]
    pub color: Option<ColorMode>,
    /// Hide the host's part of IP addresses in everything that is written
    #[arg(long)]
    pub redact: bool,
}

/// `route`.
#[derive(Clone, Debug, Args)]
pub struct RouteArgs {
    /// The WebSocket URL to follow
    #[arg(value_name = "URL")]
    pub url: String,
    /// A header of the request, 'Name: value' (repeatable); 'Host: NAME' takes the place of the URL's host
    #[arg(long = "header", value_name = "K: V")]
    pub headers: Vec<String>,
    /// The local address that the client reaches: IP, IP:PORT, :PORT or unix:PATH [default: any address, the URL's port]
    #[arg(long, value_name = "ADDR")]
    pub from: Option<String>,
    /// nginx's main configuration file [default: that of the running nginx, else /etc/nginx/nginx.conf]
    #[arg(long, value_name = "PATH")]
    pub nginx_conf: Option<PathBuf>,
    /// The release whose defaults hold, as 1.29.7 [default: that of the running nginx]
    #[arg(long, value_name = "VERSION")]
    pub nginx_version: Option<String>,
    /// Which nginx master, where several run
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Never run the nginx binary (its -V tells version and default paths)
    #[arg(long)]
    pub no_exec: bool,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Whether to use colour
    #[arg(long, value_enum)]
    pub color: Option<ColorMode>,
    /// Hide the host's part of IP addresses in everything that is written
    #[arg(long)]
    pub redact: bool,
}

/// `explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// A finding, an error category or a close code [default: a list of all]
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Whether to use colour
    #[arg(long, value_enum)]
    pub color: Option<ColorMode>,
}

/// `completions`.
#[derive(Clone, Debug, Args)]
pub struct CompletionsArgs {
    /// For which shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// `man`.
#[derive(Clone, Debug, Args)]
pub struct ManArgs {
    /// Of which command [default: of all]
    #[arg(value_name = "COMMAND")]
    pub command: Option<String>,
}

/// What tunnels are added up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GroupBy {
    /// The client's address without its port.
    Client,
    /// The backend's address.
    Upstream,
    /// nginx's location.
    Location,
    /// nginx's worker.
    Worker,
    /// open, stuck, closing, drain.
    State,
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

/// How findings of the configuration are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LintFormat {
    /// For people.
    Text,
    /// For programs: wspulse.report/1.
    Json,
    /// For reviews.
    Markdown,
    /// For code hosts: SARIF 2.1.0.
    Sarif,
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
