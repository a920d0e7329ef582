//! The demo's temporary folder: nobody else can have made it, and it goes when the demo goes.

use std::fs::{self, DirBuilder, Permissions};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A folder that is removed with everything in it on drop.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes `wspulse-demo-PID-RANDOM` in the system's temporary folder with `logs` and `tmp` inside, for this user alone.
    ///
    /// # Errors
    /// When the temporary folder cannot be written to.
    pub(super) fn create() -> io::Result<Self> {
        let parent = std::env::temp_dir();
        // mkdir fails on anything that is there, a planted link too; another name is tried then.
        for _ in 0..16 {
            // Every RandomState has keys of its own.
            let random = RandomState::new().hash_one(());
            let path = parent.join(format!("wspulse-demo-{}-{random:016x}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Self(path).furnished(),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => {
                    return Err(io::Error::new(
                        e.kind(),
                        format!("cannot make {}: {e}; is TMPDIR right?", path.display()),
                    ));
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("no free name in {}", parent.display())))
    }

    fn furnished(self) -> io::Result<Self> {
        for inner in ["logs", "tmp"] {
            DirBuilder::new().mode(0o700).create(self.0.join(inner))?;
        }
        Ok(self)
    }

    /// Lets other users pass through, without letting them look: workers of an nginx that root starts run as nobody and
    /// must reach their folders under `tmp`.
    ///
    /// # Errors
    /// When the mode cannot be changed.
    pub(super) fn let_through(&self) -> io::Result<()> {
        for path in [self.0.clone(), self.0.join("tmp")] {
            fs::set_permissions(path, Permissions::from_mode(0o711))?;
        }
        Ok(())
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's cleaning of its temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_private_and_goes_with_everything_in_it() {
        let (one, two) = (Folder::create().expect("a folder"), Folder::create().expect("another"));
        assert_ne!(one.path(), two.path());
        let path = one.path().to_owned();
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o700);
        fs::write(path.join("logs/error.log"), "x").expect("writable");
        drop(one);
        assert!(!path.exists());
    }
}
