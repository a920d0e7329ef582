//! `wspulse logs`: existing logs read once, counted and told.

mod formats;
mod progress;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use regex::bytes::Regex;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use self::formats::Named;
use self::progress::said;
use super::meter::Meter;
use super::when::{self, End};
use super::wish;
use crate::cli::{ColorMode, Format, LogsArgs};
use crate::event::log::{Category, Level};
use crate::event::site::Site;
use crate::human;
use crate::nginx::category;
use crate::report::entries::LOG_KEYS;
use crate::report::filter;
use crate::report::{self, Facts, LogFile, LogsReport};
use crate::source::history::{
    self, BackendFile, BackendOutcome, Choice, FileOutcome, Filter, LogEntry, LogKind, Outcome, Progress, Request,
};
use crate::time::{Clock, Zone};

use super::out;

/// The exit codes of a file that could not be read, of Ctrl-C and of SIGTERM.
const COULD_NOT_READ: u8 = 2;
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// Reads the logs and prints what they said.
///
/// # Errors
/// When what was typed cannot be meant, or stdout cannot be written.
pub async fn run(args: &LogsArgs) -> anyhow::Result<ExitCode> {
    if args.show_secrets {
        human::redact::show_secrets();
    }
    let site = formats::site(args.nginx_conf.as_deref(), args.files.is_empty())?;
    let named = formats::formats(args.log_format.as_deref(), site.as_ref())?;
    let request = request(args, site.as_ref(), &named)?;
    let filtered = request.filter.is_set();
    let zone = request.zone;
    let (outcome, backend) = match read(request, args.backend_logs.clone()).await? {
        Ended::Read(outcome, backend) => (*outcome, backend),
        Ended::Stopped(code) => return Ok(ExitCode::from(code)),
    };
    for line in complaints(&outcome.files, &named) {
        out::complain(&format!("wspulse: {line}"));
    }
    for line in backend.iter().flat_map(|b| &b.files).filter_map(|f| f.error.as_ref()) {
        out::complain(&format!("wspulse: {line}"));
    }
    let backend_files = || backend.iter().flat_map(|b| &b.files);
    let failed = outcome.files.iter().any(|f| f.error.is_some()) || backend_files().any(|f| f.error.is_some());
    let site = site.filter(|s| args.nginx_conf.is_some() || args.files.is_empty() || is_of(s, &outcome.files));
    let timeouts = site.as_ref().map(formats::timeouts).unwrap_or_default();
    let draining = site.as_ref().map(formats::draining).unwrap_or_default();
    let files = outcome.files.iter().map(|f| file(f, &named)).chain(backend_files().map(backend_file)).collect();
    let routine = outcome.tally.messages.iter().filter(|(m, _)| is_routine(m)).map(|(m, _)| m.to_string()).collect();
    let (handshakes, backend) = (outcome.handshakes, backend.map(|b| b.sum));
    let facts = Facts { files, timeouts, draining, routine, handshakes, backend, filtered, zone };
    let report = LogsReport::of(&outcome.tally, facts);
    let text = match args.format {
        Format::Text => report::logs_text(&report, colored(args.color)),
        Format::Json => report::logs_json(&report),
        Format::Markdown => report::logs_markdown(&report),
    };
    out::print_as(args.format, &text)?;
    Ok(if failed { ExitCode::from(COULD_NOT_READ) } else { ExitCode::SUCCESS })
}

/// A flag wins over NO_COLOR (no-color.org: any non-empty value).
fn colored(flag: Option<ColorMode>) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    out::colored(flag.unwrap_or(if refused { ColorMode::Never } else { ColorMode::Auto }))
}

fn request(args: &LogsArgs, site: Option<&Site>, named: &[Named]) -> anyhow::Result<Request> {
    let zone: Zone =
        args.tz.as_deref().map_or(Ok(Zone::Machine), str::parse).map_err(|e| anyhow::anyhow!("--tz: {e}"))?;
    let now = Clock.now();
    let moment = |text: &Option<String>, end, flag| {
        let read = text.as_deref().map(|t| when::moment(t, end, zone, now)).transpose();
        read.map_err(|e| anyhow::anyhow!("{flag}: {e}"))
    };
    let filter = Filter {
        since: moment(&args.since, End::Since, "--since")?,
        until: moment(&args.until, End::Until, "--until")?,
        categories: args.categories.iter().map(|c| category(c)).collect::<anyhow::Result<_>>()?,
        grep: args.grep.as_deref().map(Regex::new).transpose().context("--grep is no regular expression")?,
        choice: wish::filter(args.filter.as_deref(), &LOG_KEYS)?.map(choice),
    };
    if let (Some(since), Some(until)) = (filter.since, filter.until)
        && since > until
    {
        bail!("--since {since} is after --until {until}: nothing can lie between");
    }
    let mut paths = args.files.clone();
    if paths.is_empty() {
        paths = site.map(formats::logs).unwrap_or_default();
    }
    if paths.is_empty() && args.backend_logs.is_empty() {
        bail!("no log was named and no nginx configuration names one: give files, patterns in quotes, or - for stdin");
    }
    let formats = named.iter().map(|n| n.format.clone()).collect();
    Ok(Request { paths, formats, filter, zone, threads: None })
}

/// The entries that pass a filter.
fn choice(filter: filter::Filter) -> Choice {
    Choice::new(move |entry| match entry {
        LogEntry::Error(e) => filter.passes(e),
        LogEntry::Access(e) => filter.passes(e),
        LogEntry::Backend(e) => filter.passes(e),
        LogEntry::Handshake(h) => filter.passes(h),
    })
}

fn category(word: &str) -> anyhow::Result<Category> {
    let found = Category::ALL.into_iter().find(|c| c.word() == word.trim());
    found.with_context(|| {
        let all: Vec<&str> = Category::ALL.iter().map(|c| c.word()).collect();
        format!("--category: there is no category '{word}'; there are {}", all.join(", "))
    })
}

enum Ended {
    Read(Box<Outcome>, Option<BackendOutcome>),
    Stopped(u8),
}

/// Reads on a thread of its own, so that Ctrl-C and the progress are seen meanwhile.
async fn read(request: Request, backend_logs: Vec<PathBuf>) -> anyhow::Result<Ended> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let (tell, mut told) = watch::channel(Progress { done: 0, total: None });
    let mut reading = tokio::task::spawn_blocking(move || {
        let outcome = history::read(&request, &mut |progress| {
            tell.send_replace(progress);
        });
        let backend = (!backend_logs.is_empty())
            .then(|| history::read_backend_logs(&backend_logs, &request.filter, request.zone));
        (outcome, backend)
    });
    let mut meter = Meter::start();
    let ended = loop {
        tokio::select! {
            biased;
            _ = interrupted.recv() => break Ended::Stopped(INTERRUPTED),
            _ = terminated.recv() => break Ended::Stopped(TERMINATED),
            done = &mut reading => {
                let (outcome, backend) = done?;
                break Ended::Read(Box::new(outcome), backend);
            }
            Ok(()) = told.changed() => {
                let progress = *told.borrow_and_update();
                meter.show(|| said(progress));
            }
        }
    };
    meter.wipe();
    Ok(ended)
}

/// A message, by its shape, that nginx writes only at level notice: it tells what nginx does, not what went wrong.
fn is_routine(shape: &str) -> bool {
    // The table wants numbers where the shape has none; a pair of them has become one.
    ["1", "1:1"].into_iter().any(|number| {
        let words = shape.split_inclusive(|c: char| !c.is_alphanumeric());
        let example: String = words
            .map(|word| {
                let end = word.strip_prefix('N').filter(|end| !end.starts_with(char::is_alphanumeric));
                end.map_or_else(|| word.to_owned(), |end| format!("{number}{end}"))
            })
            .collect();
        let row = category::row(Level::Notice, example.as_bytes(), None, None);
        row.is_some_and(|r| r.levels == [Level::Notice] && r.errnos.is_empty())
    })
}

/// One of the files is a log of this configuration, or a rotated part of one.
fn is_of(site: &Site, files: &[FileOutcome]) -> bool {
    let logs = formats::logs(site);
    let is_one = |f: &FileOutcome| std::path::absolute(&f.log).is_ok_and(|log| logs.contains(&log));
    files.iter().any(is_one)
}

fn shown(path: &std::path::Path) -> String {
    human::visible(path.as_os_str().as_encoded_bytes())
}

/// One line for each file that could not be read, or from which nothing could be told.
fn complaints(files: &[FileOutcome], named: &[Named]) -> Vec<String> {
    let tried: Vec<&str> = named.iter().map(|n| n.name.as_str()).collect();
    let each = files.iter().filter_map(|f| match (&f.error, f.kind) {
        (Some(error), _) => Some(error.clone()),
        (None, LogKind::Unknown) if f.bytes == 0 => Some(format!("{}: empty, nothing to count", shown(&f.path))),
        (None, LogKind::Unknown) => Some(format!(
            "{}: no line is one of an error log or of log_format {}; for an access log name its format with --log-format",
            shown(&f.path),
            tried.join(", ")
        )),
        _ => None,
    });
    each.collect()
}

fn file(f: &FileOutcome, named: &[Named]) -> LogFile {
    let name = |number: usize| named.get(number).map(|n| n.name.clone());
    let (kind, format) = match f.kind {
        LogKind::Error => ("error", None),
        LogKind::Access(number) => ("access", name(number)),
        LogKind::Mixed(number) => ("mixed", name(number)),
        LogKind::Unknown => ("unknown", None),
    };
    LogFile { path: shown(&f.path), kind, format, bytes: f.bytes, error: f.error.clone() }
}

fn backend_file(f: &BackendFile) -> LogFile {
    LogFile { path: shown(&f.path), kind: "backend", format: None, bytes: f.bytes, error: f.error.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tally::shape;

    #[test]
    fn what_nginx_does_is_routine_and_what_went_wrong_is_not() {
        for message in [
            "start worker process 3200",
            "signal 15 (SIGTERM) received from 2294, exiting",
            "using the \"epoll\" event method",
            "worker process 77 exited with code 0",
            "getrlimit(RLIMIT_NOFILE): 20000:20000",
            "exiting",
        ] {
            assert!(is_routine(&shape(message, None, None, None)), "{message}");
        }
        for (message, errno, action) in [
            ("connect() failed", Some(111), Some("connecting to upstream")),
            ("upstream timed out", Some(110), Some("proxying upgraded connection")),
            ("worker process 77 exited on signal 11", None, None),
            ("768 worker_connections are not enough", None, None),
            ("no live upstreams", None, Some("connecting to upstream")),
            ("something that nobody knows", None, None),
        ] {
            assert!(!is_routine(&shape(message, None, errno, action)), "{message}");
        }
    }
}
