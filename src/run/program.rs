//! How this program is called: by whoever runs it, and by root, for commands that are shown to be copied.

use std::path::Path;

use crate::report::guide::Program;

/// Folders in which sudo looks wherever it restricts the search path (sudoers: `secure_path`).
const OF_ROOT: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The names by which this very program is found again, under the environment given by `env`.
#[must_use]
pub fn program(env: &dyn Fn(&str) -> Option<String>) -> Program {
    let own = std::env::current_exe().ok();
    own.as_deref().map_or_else(Program::default, |own| names(own, env("PATH").as_deref().unwrap_or_default()))
}

fn names(own: &Path, path: &str) -> Program {
    let usual = Program::default();
    let (Some(folder), Some(shown)) = (own.parent(), own.to_str().and_then(quoted)) else { return usual };
    if own.file_name() != Some(usual.own.as_ref()) {
        return Program { own: shown.clone(), for_root: shown };
    }
    let is_found = std::env::split_paths(path).any(|p| p == folder);
    let is_found_by_root = OF_ROOT.iter().any(|p| folder == Path::new(p));
    Program {
        own: if is_found { usual.own } else { shown.clone() },
        for_root: if is_found_by_root { usual.for_root } else { shown },
    }
}

/// A path as a shell takes it; `None` where it could hold anything else.
fn quoted(path: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@,:".contains(c);
    let is_harmless = !path.chars().any(|c| c.is_control() || c == '\'');
    is_harmless.then(|| if path.chars().all(is_plain) { path.to_owned() } else { format!("'{path}'") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(own: &str, path: &str) -> (String, String) {
        let Program { own, for_root } = names(Path::new(own), path);
        (own, for_root)
    }

    #[test]
    fn a_program_is_called_so_that_it_is_found() {
        let both = |own: &str, root: &str| (own.to_owned(), root.to_owned());
        assert_eq!(called("/usr/bin/wspulse", "/bin:/usr/bin"), both("wspulse", "wspulse"));
        let cargo = "/home/ada/.cargo/bin/wspulse";
        assert_eq!(called(cargo, "/home/ada/.cargo/bin:/usr/bin"), both("wspulse", cargo));
        assert_eq!(called("/srv/x y/wspulse", "/usr/bin"), both("'/srv/x y/wspulse'", "'/srv/x y/wspulse'"));
        assert_eq!(called("/srv/x\ny/wspulse", "/usr/bin"), both("wspulse", "wspulse"));
    }
}
