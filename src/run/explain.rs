//! `wspulse explain`: the pages that are built in.

use std::process::ExitCode;

use anyhow::bail;

use super::out;
use super::route::colored;
use crate::cli::{ExplainArgs, Format};
use crate::human;
use crate::report;

/// Prints one explanation or the list of all.
///
/// # Errors
/// When there is nothing of that name, or stdout cannot be written.
pub fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let color = colored(args.color);
    let Some(name) = &args.id else {
        out::print(&match args.format {
            Format::Text => report::list_text(color),
            Format::Json => report::list_json(),
            Format::Markdown => report::list_markdown(),
        })?;
        return Ok(ExitCode::SUCCESS);
    };
    let Some(found) = report::explained(name) else {
        bail!(
            "there is nothing called '{}' to explain; did you mean {}? 'wspulse explain' lists all",
            human::visible(name.as_bytes()),
            report::nearest(name).join(", ")
        );
    };
    out::print(&match args.format {
        Format::Text => report::explain_text(&found, color),
        Format::Json => report::explain_json(&found),
        Format::Markdown => report::explain_markdown(&found),
    })?;
    Ok(ExitCode::SUCCESS)
}
