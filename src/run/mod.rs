//! The rooms that see both sides: they wire sources to the model and the model to a face.

pub mod beside;
pub mod config;
pub mod dashboard;
pub mod demo;
pub mod explain;
pub mod headless;
mod inputs;
pub mod judge;
mod keyboard;
pub mod lint;
pub mod logs;
pub mod manual;
mod meter;
pub mod out;
pub mod plan;
mod program;
pub mod route;
pub mod session;
pub mod silence;
pub mod soak;
mod soak_screen;
pub mod sockets;
pub mod start;
pub mod stream;
mod stuck;
mod suspend;
pub mod terminal;
pub mod when;
mod wish;

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context as _;

use self::config::Start;
use self::dashboard::Choices;
use self::inputs::Missing;
use self::when::End;
use crate::cli::{Cli, Command, DemoArgs, LookArgs};
use crate::human;
use crate::report::events::EVENT_KEYS;
use crate::settings::Settings;
use crate::source::config::is_dump_file;
use crate::source::probe;
use crate::time::Clock;

/// How long a demo without a screen runs when nobody said.
const DEMO_HEADLESS: Duration = Duration::from_secs(20);
/// How long tasks may take to end once the face has gone.
const FAREWELL: Duration = Duration::from_millis(200);
/// The exit code for "could not look".
pub const COULD_NOT_LOOK: u8 = 2;

/// Does what was typed.
///
/// # Errors
/// Whatever kept it from looking; the caller prints it and exits with [`COULD_NOT_LOOK`].
pub fn main(start: Start) -> anyhow::Result<ExitCode> {
    if let Some(text) = printed(&start) {
        // Whoever asks what is in force wants to know what is not.
        if start.cli.print_config {
            start.warnings.iter().for_each(|w| out::complain(&format!("wspulse: {w}")));
        }
        out::print(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Start { cli, keys, colors, warnings, .. } = start;
    // The dashboard says them on its own screen.
    let chosen = Choices { keys, colors, warnings };
    if redacts(&cli) {
        human::redact::hide_addresses();
    }
    // What a shell reads at its start depends on no settings and complains of none.
    let apart = matches!(cli.command, Some(Command::Completions(_) | Command::Man(_)));
    if !opens_screen(&cli) && !apart {
        chosen.warnings.iter().for_each(|w| out::complain(&format!("wspulse: {w}")));
    }
    let workers = if matches!(cli.command, Some(Command::Soak(_))) { probe::soak::WORKERS } else { 2 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    let code = runtime.block_on(async {
        match cli.command {
            None => look(&cli.look, cli.plain, &chosen).await,
            Some(Command::Check(args)) => judge::run(&args, settings(&args.look, Missing::Refused)?).await,
            Some(Command::Lint(args)) => lint::run(&args),
            Some(Command::Logs(args)) => logs::run(&args).await,
            Some(Command::Route(args)) => route::run(&args),
            Some(Command::Explain(args)) => explain::run(&args),
            Some(Command::IdleTimeout(args)) => silence::run(&args, settings(&args.look, Missing::Refused)?).await,
            Some(Command::Soak(args)) => soak::run(&args, settings(&args.look, Missing::Refused)?).await,
            Some(Command::Sockets(args)) => {
                sockets::run(&args, settings(&sockets::look_args(&args), Missing::Refused)?).await
            }
            Some(Command::Demo(args)) => demo(&args, &chosen).await,
            Some(Command::Stream(args)) => {
                let filter = wish::filter(args.filter.as_deref(), &EVENT_KEYS)?;
                // A stream begins with the present unless it is told otherwise.
                let settings = Settings { reach: None, ..settings(&args.look, Missing::Awaited)? };
                headless::stream(settings, args.duration, filter).await
            }
            Some(Command::Completions(args)) => manual::completions(args.shell),
            Some(Command::Man(args)) => manual::run(&args),
        }
    });
    runtime.shutdown_timeout(FAREWELL);
    code
}

/// What asks for a text about the settings instead of a look.
fn printed(start: &Start) -> Option<String> {
    let cli = &start.cli;
    if cli.print_config {
        Some(config::print(start))
    } else if cli.print_config_template {
        Some(config::template())
    } else {
        cli.print_themes.then(config::themes)
    }
}

/// The dashboard is to be opened, if stdout is a terminal.
fn opens_screen(cli: &Cli) -> bool {
    let wanted = match &cli.command {
        None => !cli.plain,
        Some(Command::Demo(args)) => !args.plain && args.duration.is_none(),
        Some(_) => false,
    };
    wanted && io::stdout().is_terminal()
}

/// Addresses are to be hidden.
const fn redacts(cli: &Cli) -> bool {
    match &cli.command {
        None => cli.look.redact,
        Some(Command::Check(args)) => args.look.redact,
        Some(Command::IdleTimeout(args)) => args.look.redact,
        Some(Command::Soak(args)) => args.look.redact,
        Some(Command::Stream(args)) => args.look.redact,
        Some(Command::Sockets(args)) => args.redact,
        Some(Command::Logs(args)) => args.redact,
        Some(Command::Route(args)) => args.redact,
        Some(Command::Demo(args)) => args.redact,
        // What lint prints is to be applied, and the others know no host.
        Some(Command::Lint(_) | Command::Explain(_) | Command::Completions(_) | Command::Man(_)) => false,
    }
}

async fn look(args: &LookArgs, plain: bool, chosen: &Choices) -> anyhow::Result<ExitCode> {
    let settings = settings(args, Missing::PatternAwaited)?;
    if plain {
        return headless::plain(settings, None).await;
    }
    if !io::stdout().is_terminal() {
        anyhow::bail!(
            "stdout is no terminal, so there is no dashboard; use 'wspulse --plain' for the same in lines, 'wspulse check' for one look \
             or 'wspulse stream' for JSON lines"
        );
    }
    Ok(ExitCode::from(dashboard::run(settings, chosen).await?.code()))
}

async fn demo(args: &DemoArgs, chosen: &Choices) -> anyhow::Result<ExitCode> {
    let look = LookArgs {
        theme: args.theme.clone(),
        color: args.color,
        redact: args.redact,
        record: args.record.clone(),
        log_file: args.log_file.clone(),
        ..LookArgs::default()
    };
    let mut settings = settings(&look, Missing::Refused)?;
    let nginx = args.nginx.then(demo::find_nginx).transpose().context("cannot start the demo")?;
    let options = demo::Options { nginx, ..demo::Options::default() };
    let world = demo::World::start(options).await.context("cannot start the demo")?;
    demo::point_at(&mut settings, &world);
    let duration = args.duration.or((!io::stdout().is_terminal()).then_some(DEMO_HEADLESS));
    let code = match (&args.picture, duration) {
        (Some(picture), _) => demo::picture::write(settings, picture).await?,
        (None, duration) if args.plain => headless::plain(settings, duration).await?,
        (None, Some(duration)) => headless::watch(settings, duration, args.format).await?,
        (None, None) => ExitCode::from(dashboard::run(settings, chosen).await?.code()),
    };
    world.stop().await;
    Ok(code)
}

/// What was typed, checked as far as that is possible without looking.
fn settings(args: &LookArgs, missing: Missing) -> anyhow::Result<Settings> {
    if args.show_secrets {
        human::redact::show_secrets();
    }
    let host = human::visible(rustix::system::uname().nodename().to_bytes());
    let mut settings = Settings::from_args(args, &host, &|name| std::env::var(name).ok())?;
    let since = args.since.as_deref().map(|text| when::moment(text, End::Since, settings.zone, Clock.now()));
    settings.since = since.transpose().map_err(|e| anyhow::anyhow!("--since: {e}"))?;
    for file in [&args.nginx_conf, &args.cacert, &args.cert, &args.key].into_iter().flatten() {
        inputs::readable(file)?;
    }
    probe::check_files(&settings.probe).map_err(|said| anyhow::anyhow!("{said}"))?;
    if let Some(conf) = &mut settings.nginx_conf {
        settings.nginx_conf_real = conf.canonicalize().ok();
        *conf = std::path::absolute(&*conf).unwrap_or_else(|_| conf.clone());
        settings.nginx_dump = is_dump_file(conf);
    }
    for log in settings.error_logs.iter().chain(&settings.access_logs) {
        inputs::log(log, missing)?;
    }
    if let Some(path) = &args.log_file {
        keep_own_log(path, args.verbose)?;
    }
    Ok(settings)
}

/// The program's own log; each write is a whole line.
struct OwnLog(File);

impl Write for OwnLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.0.write_all(human::redact::outgoing(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn keep_own_log(path: &Path, verbose: u8) -> anyhow::Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write the log {}", path.display()))?;
    let level = match verbose {
        0 => tracing::Level::INFO,
        1 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    let writer = Mutex::new(OwnLog(file));
    let subscriber = tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(writer).finish();
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(())
}
