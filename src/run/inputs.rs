//! Files that were named on the command line, looked at before anything starts: a typing error is told at once and in one
//! line, not on the screen.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use anyhow::bail;

use crate::source::logs::{STDIN, is_pattern, matching};
use crate::source::tail::is_pipe;

/// What a log that is not there means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There is nothing to look at.
    Refused,
    /// A file must be there, but of a pattern one may come later.
    PatternAwaited,
    /// It may come later.
    Awaited,
}

/// A file must be readable now.
///
/// # Errors
/// One sentence that names the file, what is wrong and what helps.
pub fn readable(path: &Path) -> anyhow::Result<()> {
    let failed = |e| anyhow::anyhow!(cannot_read(path, &e));
    let file = fs::File::open(path).map_err(failed)?;
    let kind = file.metadata().map_err(failed)?.file_type();
    if !kind.is_file() {
        let what = if kind.is_dir() { "a directory" } else { "a device, pipe or socket" };
        bail!("cannot read {}: it is {what}; name a regular file", path.display());
    }
    Ok(())
}

/// A log must be something that can be followed: a file, a pipe, the standard input, or a pattern.
///
/// # Errors
/// One sentence that names the log, what is wrong and what helps.
pub fn log(path: &Path, missing: Missing) -> anyhow::Result<()> {
    let shown = path.display();
    if path.as_os_str() == STDIN {
        if io::stdin().is_terminal() {
            bail!("nothing is piped in to be read as '-': journalctl -f -u nginx | wspulse --error-log -");
        }
        return Ok(());
    }
    if is_pattern(path) {
        let Some(pattern) = path.to_str().filter(|p| glob::Pattern::new(p).is_ok()) else {
            bail!("'{shown}' is no pattern: * ? and [abc] stand for parts of names");
        };
        if missing == Missing::Refused && matching(path).is_empty() {
            bail!(
                "no log matches '{pattern}': check the directory and its permissions, and keep the pattern in quotes"
            );
        }
        return Ok(());
    }
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound && missing == Missing::Awaited => return Ok(()),
        Err(e) => bail!("{}", cannot_read(path, &e)),
    };
    let kind = meta.file_type();
    if kind.is_dir() {
        bail!(
            "cannot read {shown}: it is a directory; name a log in it, or several by a pattern: '{shown}/*error.log'"
        );
    }
    if kind.is_socket() {
        bail!("cannot read {shown}: it is a socket; let nginx write to a file, or pipe the log in with --error-log -");
    }
    if kind.is_fifo() {
        // Not opened: a writer that waits for a reader must not meet one that goes away again.
        if !is_pipe(path) {
            bail!("cannot read {shown}: it is a standard stream of this program; name the log, or - for stdin");
        }
        return Ok(());
    }
    if !kind.is_file() {
        bail!("cannot read {shown}: it is a device; name a regular file, a pipe, or - for stdin");
    }
    fs::File::open(path).map(|_| ()).map_err(|e| anyhow::anyhow!(cannot_read(path, &e)))
}

/// One sentence with what helps, where that is known.
fn cannot_read(path: &Path, error: &io::Error) -> String {
    let shown = path.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("cannot read {shown}: permission denied; run as root or add yourself to the group that owns it")
        }
        io::ErrorKind::NotFound => format!("cannot read {shown}: no such file; check the path"),
        _ => format!("cannot read {shown}: {error}"),
    }
}
