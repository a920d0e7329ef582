//! Copies of a configuration: the text of `nginx -T`, and folders that hold the files of another machine.

use std::path::Path;

use super::disk::{Mapping, Seen};

/// Folders above the main file that are looked into.
const MAX_UP: usize = 12;
/// Paths that are tried.
const MAX_TRIED: usize = 2_000;

/// Where the files of a copy are to be found, when the configuration at `conf` turns out to be one: absolute paths that it
/// includes and that are missing here, or that are told apart from this machine's own by the way they continue the folder
/// of the main file, exist under one of its folders.
pub(super) fn folder_of(conf: &str, seen: &Seen) -> Option<Mapping> {
    let home = Path::new(conf).parent()?.to_str()?;
    let mut tries = MAX_TRIED;
    let outside = seen.paths().filter(|(path, _)| !is_below(path, home));
    for (path, found) in outside {
        if let Some(mapping) = root_of(home, path, found, &mut tries) {
            return Some(mapping);
        }
        if !found && let Some(mapping) = twin_of(home, path, &mut tries) {
            return Some(mapping);
        }
    }
    None
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn exists(path: &str, tries: &mut usize) -> bool {
    let left = tries.checked_sub(1);
    *tries = left.unwrap_or_default();
    left.is_some() && Path::new(path).exists()
}

/// `copy/etc/nginx/nginx.conf` and `copy/etc/nginx/mime.types`: `copy` stands for `/`.
fn root_of(home: &str, path: &str, found: bool, tries: &mut usize) -> Option<Mapping> {
    let roots = Path::new(home).ancestors().take(MAX_UP).filter_map(Path::to_str).filter(|r| *r != "/");
    for root in roots {
        let inside = home.strip_prefix(root).unwrap_or_default();
        let continues = !inside.is_empty() && is_below(path, inside);
        if (continues || !found) && exists(&format!("{root}{path}"), tries) {
            return Some(Mapping { from: String::new(), to: root.to_owned() });
        }
    }
    None
}

/// `nginx/nginx.conf` and `nginx/mime.types`: the main file's folder stands for `/etc/nginx`.
fn twin_of(home: &str, path: &str, tries: &mut usize) -> Option<Mapping> {
    let folders = Path::new(path).ancestors().skip(1).take(MAX_UP).filter_map(Path::to_str).filter(|f| *f != "/");
    for folder in folders {
        let rest = path.strip_prefix(folder)?;
        if exists(&format!("{home}{rest}"), tries) {
            return Some(Mapping { from: folder.to_owned(), to: home.to_owned() });
        }
    }
    None
}
