//! Files written: all or none where that can be known before, each by a rename, the old ones kept beside them.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::diagnose::patch::Rewritten;
use crate::event::site::{ApartKind, Site};
use crate::human;
use crate::nginx::conf::{self, Directive};
use crate::time::Clock;

/// Backups of one second and one file.
const MOST_BACKUPS: u32 = 100;

/// A file that was written.
pub(super) struct Written {
    path: String,
    /// The link by which nginx reads it.
    link: Option<String>,
    backup: PathBuf,
}

impl Written {
    pub(super) fn said(&self) -> String {
        let link = self.link.as_ref().map_or_else(String::new, |l| format!(" (nginx reads it as {l})"));
        format!("written: {}{link}, as it was: {}", self.path, self.backup.display())
    }
}

/// Asks on the terminal, unless told not to.
///
/// # Errors
/// When nobody can be asked.
pub(super) fn agreed(yes: bool, files: usize) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        bail!("nothing was written: there is no terminal to ask on; --yes writes without asking");
    }
    let files = human::counted(files as u64, "file", "files");
    let mut err = io::stderr().lock();
    write!(err, "Apply to {files}? [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Writes all files. Before the first is touched, each must still hold what was read.
///
/// # Errors
/// The file, what was tried and why it failed; and which were written before it.
pub(super) fn all(site: &Site, files: &[Rewritten]) -> anyhow::Result<Vec<Written>> {
    if let Some(root) = &site.root {
        bail!("nothing was written: this nginx has its own file system ({root}); run lint --write in its container");
    }
    if let Some(apart) = site.apart.as_ref().filter(|a| a.kind == ApartKind::Dump) {
        bail!("nothing was written: {} is a dump; print the diff with --fix and apply it where nginx runs", apart.from);
    }
    for f in files {
        unchanged(f)?;
    }
    let patterns = patterns(site);
    let mut done: Vec<Written> = Vec::new();
    for f in files {
        let one = one(site, f, &patterns).with_context(|| {
            let before: Vec<String> = done.iter().map(Written::said).collect();
            if before.is_empty() { "nothing was written".to_owned() } else { before.join("; ") }
        })?;
        done.push(one);
    }
    Ok(done)
}

fn unchanged(f: &Rewritten) -> anyhow::Result<()> {
    let now = fs::read(&f.path).with_context(|| format!("nothing was written: cannot read {}", f.path))?;
    if now != f.old.as_bytes() {
        bail!("nothing was written: {} has changed since it was read; run lint again", f.path);
    }
    Ok(())
}

fn one(site: &Site, f: &Rewritten, patterns: &[glob::Pattern]) -> anyhow::Result<Written> {
    let path = Path::new(&f.path);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        bail!("{} is no file in a folder", f.path);
    };
    let meta = fs::metadata(path).with_context(|| format!("cannot read {}", f.path))?;
    let backup = keep(folder, name, &meta, f, patterns)?;
    // A name with a dot in front is read by no include.
    let temporary = folder.join(format!(".{name}.wspulse-{}", std::process::id()));
    let replaced = fresh(&temporary, &meta, f.new.as_bytes()).and_then(|()| {
        unchanged_io(f)?;
        fs::rename(&temporary, path)
    });
    if let Err(e) = replaced {
        let _ = fs::remove_file(&temporary);
        let _ = fs::remove_file(&backup);
        return Err(e).with_context(|| format!("cannot write {}; run as its owner or as root", f.path));
    }
    // The rename is safe on disk once its folder is.
    let _ = File::open(folder).and_then(|d| d.sync_all());
    let link = site.sources.iter().find(|(_, s)| s.real.as_deref() == Some(&f.path)).map(|(name, _)| name.clone());
    Ok(Written { path: f.path.clone(), link, backup })
}

fn unchanged_io(f: &Rewritten) -> io::Result<()> {
    if fs::read(&f.path)? == f.old.as_bytes() {
        Ok(())
    } else {
        Err(io::Error::other("it has changed since it was read"))
    }
}

/// The old text in a file of its own, beside the old one and never over another; hidden where nginx would include it.
fn keep(
    folder: &Path,
    name: &str,
    meta: &fs::Metadata,
    f: &Rewritten,
    patterns: &[glob::Pattern],
) -> anyhow::Result<PathBuf> {
    let now: String = Clock.now().to_string().chars().filter(char::is_ascii_digit).take(14).collect();
    for n in 0..MOST_BACKUPS {
        let again = if n == 0 { String::new() } else { format!("-{n}") };
        let mut backup = folder.join(format!("{name}.wspulse-bak-{now}{again}"));
        if patterns.iter().any(|p| p.matches_path(&backup)) {
            backup = folder.join(format!(".{name}.wspulse-bak-{now}{again}"));
        }
        match fresh(&backup, meta, f.old.as_bytes()) {
            Ok(()) => return Ok(backup),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => {
                return Err(e)
                    .with_context(|| format!("cannot keep a backup of {} in its folder; run as root", f.path));
            }
        }
    }
    bail!("there are {MOST_BACKUPS} backups of {} of this second already", f.path)
}

/// A new file with the mode and the owner of another.
fn fresh(path: &Path, like: &fs::Metadata, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = fill(&mut file, like, bytes);
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

fn fill(file: &mut File, like: &fs::Metadata, bytes: &[u8]) -> io::Result<()> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        std::os::unix::fs::fchown(&*file, Some(like.uid()), Some(like.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(like.mode() & 0o7777))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The patterns that `include` lines name: a backup must not match one.
fn patterns(site: &Site) -> Vec<glob::Pattern> {
    let base = site.conf.rsplit_once('/').map_or("", |(dir, _)| dir);
    let mut words = Vec::new();
    for source in site.sources.values().filter(|s| s.text.contains("include")) {
        included(&conf::parse(source.text.as_bytes()).directives, &mut words);
    }
    let absolute = |w: String| if w.starts_with('/') { w } else { format!("{base}/{w}") };
    words.into_iter().filter_map(|w| glob::Pattern::new(&real_folder(&absolute(w))).ok()).collect()
}

/// The pattern with its folder as it really is: backups lie beside the file itself.
fn real_folder(pattern: &str) -> String {
    let Some((folder, last)) = pattern.rsplit_once('/') else { return pattern.to_owned() };
    let real = fs::canonicalize(folder).ok().and_then(|f| f.into_os_string().into_string().ok());
    format!("{}/{last}", real.unwrap_or_else(|| folder.to_owned()))
}

fn included(all: &[Directive], into: &mut Vec<String>) {
    for d in all {
        match (d.name(), d.args()) {
            ("include", [word]) if word.text.contains(['*', '?', '[']) => into.push(word.text.clone()),
            _ => included(d.block().unwrap_or_default(), into),
        }
    }
}
