//! `wspulse lint`: the nginx configuration alone, judged, mended as a diff, or written.

mod fix;
mod target;
mod write;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use crate::cli::{ColorMode, LintArgs, LintFormat};
use crate::diagnose::finding::{Diagnosis, Severity};
use crate::diagnose::lint::ignored;
use crate::diagnose::lint::mark::marks;
use crate::diagnose::{self, RULES};
use crate::event::site::Site;
use crate::event::{Event, SourceId, SourceKind, Stamped};
use crate::human;
use crate::model::Model;
use crate::report::{self, Linted, Report};
use crate::time::Clock;

use self::target::Target;
use super::judge::least;
use super::out;

/// Looks at the configuration and says what was found, or mends it.
///
/// # Errors
/// When it cannot be read or written, with the file and what helps.
pub fn run(args: &LintArgs) -> anyhow::Result<ExitCode> {
    let target = target::find(args)?;
    let site = target.first()?;
    let model = model(&site);
    let diagnosis = diagnose::lint(&model);
    if !args.quiet {
        complain(&site, &diagnosis);
    }
    let least = least(args.fail_on);
    if args.fix || args.write {
        return mend(args, &target, &site, &diagnosis, least);
    }
    if !args.quiet {
        out::print(&told(args, &target, &site, &model, &diagnosis))?;
    }
    Ok(code(&diagnosis, least))
}

/// A model that knows nothing but the configuration.
fn model(site: &Site) -> Model {
    let host = human::visible(rustix::system::uname().nodename().to_bytes());
    let mut model = Model::new(&host);
    let from = SourceId::new(&model.host, SourceKind::Config);
    model.apply(&Stamped { at: Clock.now(), from, event: Event::Site(Box::new(site.clone())) });
    model
}

fn code(diagnosis: &Diagnosis, least: Severity) -> ExitCode {
    ExitCode::from(u8::from(diagnosis.findings.iter().any(|f| f.severity <= least)))
}

fn told(args: &LintArgs, target: &Target, site: &Site, model: &Model, diagnosis: &Diagnosis) -> String {
    let mut report = Report::of(model, diagnosis, env!("CARGO_PKG_VERSION"));
    if let Some(nginx) = &mut report.nginx {
        nginx.conf = Some(target.name.clone());
    }
    let marks = marks(site, &report.findings);
    let linted = Linted { report: &report, marks: &marks };
    match args.format {
        LintFormat::Text => report::lint_text(&linted, colored(args.color)),
        LintFormat::Json => report::json(&report),
        LintFormat::Markdown => report::lint_markdown(&linted),
        LintFormat::Sarif => {
            let hidden = self::marks(site, &diagnosis.ignored);
            let ignored: Vec<_> = diagnosis.ignored.iter().cloned().zip(hidden).collect();
            let base = std::env::current_dir().ok().and_then(|d| d.into_os_string().into_string().ok());
            report::sarif(&report, &marks, &ignored, base.as_deref().unwrap_or_default().trim_end_matches('/'))
        }
    }
}

/// A flag wins over NO_COLOR (no-color.org: any non-empty value).
fn colored(flag: Option<ColorMode>) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    out::colored(flag.unwrap_or(if refused { ColorMode::Never } else { ColorMode::Auto }))
}

/// Comments that ask for nothing that is there, and ids that do not exist.
fn complain(site: &Site, diagnosis: &Diagnosis) {
    for (ignore, id) in ignored::unused(site, &diagnosis.ignored) {
        let place = shown(&ignore.place.to_string());
        match RULES.iter().find(|r| r.id == id) {
            None => out::complain(&format!("wspulse: info: {place}: there is no finding '{}' to ignore", shown(id))),
            Some(r) if r.alone.is_some() => {
                out::complain(&format!("wspulse: info: {place}: nothing to ignore: no {id} here"));
            }
            // It may come up in `check`.
            Some(_) => {}
        }
    }
}

fn shown(text: &str) -> String {
    crate::human::visible(text.as_bytes())
}

fn mend(
    args: &LintArgs,
    target: &Target,
    site: &Site,
    diagnosis: &Diagnosis,
    least: Severity,
) -> anyhow::Result<ExitCode> {
    let mended = fix::mend(target, site, diagnosis, least);
    let diff = for_reader(mended.draft.diff());
    if args.fix {
        out::print(&diff)?;
        if !args.quiet {
            leftover(&mended.left, least);
        }
        return Ok(code(diagnosis, least));
    }
    let files = mended.draft.files();
    if files.is_empty() {
        if !args.quiet {
            out::complain("wspulse: there is nothing to write");
            leftover(&mended.left, least);
        }
        return Ok(code(&mended.left, least));
    }
    if !args.quiet || !args.yes {
        out::print(&diff)?;
    }
    if !write::agreed(args.yes, files.len())? {
        out::complain("wspulse: nothing was written");
        return Ok(code(diagnosis, least));
    }
    let written = write::all(site, &files)?;
    if !args.quiet {
        let lines: Vec<String> = written.iter().map(write::Written::said).collect();
        out::print(&format!("\n{}\nnow: nginx -t && nginx -s reload\n", lines.join("\n")))?;
        leftover(&mended.left, least);
    }
    Ok(code(&mended.left, least))
}

/// Byte for byte for `patch`; on a terminal nothing in it may steer that.
fn for_reader(diff: String) -> String {
    if !std::io::stdout().is_terminal() {
        return diff;
    }
    let line = |l: &str| l.split('\t').map(shown).collect::<Vec<_>>().join("\t");
    diff.lines().fold(String::new(), |out, l| out + &line(l) + "\n")
}

/// What no patch mends.
fn leftover(left: &Diagnosis, least: Severity) {
    for f in left.findings.iter().filter(|f| f.severity <= least) {
        let fix = f.fix.as_ref().map_or_else(String::new, |x| format!("; {}", x.said));
        out::complain(&shown(&format!("wspulse: left for you: {}: {}{fix}", f.id, f.said)));
    }
}
