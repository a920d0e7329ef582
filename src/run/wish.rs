//! `--filter` as it was typed: understood, or refused with the place that is wrong.

use crate::report::filter::{Filter, Key};

/// The filter; `None` when none was typed, or one without terms.
///
/// # Errors
/// What is wrong, the filter, and a caret below the place: three lines.
pub(super) fn filter(text: Option<&str>, keys: &[Key]) -> anyhow::Result<Option<Filter>> {
    let Some(text) = text else { return Ok(None) };
    Filter::parse(text, keys).map_err(|wrong| {
        let (typed, caret) = wrong.pointed(text);
        anyhow::anyhow!("--filter: {}\n  {typed}\n  {caret}", wrong.sentence())
    })
}
