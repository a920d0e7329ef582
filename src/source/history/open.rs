//! Files opened for reading whatever they are packed in, recognised by their first bytes and not by their names.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use crate::human;

/// What a file is packed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
    /// Known, and not read here: what unpacks it.
    Foreign(&'static str),
}

impl Packing {
    /// By the magic numbers: RFC 1952 section 2.3.1, RFC 8878 section 3.1.1, bzip2's `BZh`, xz's file format section 2.1.
    pub(super) fn of(first: &[u8]) -> Self {
        if first.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if first.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Zstd
        } else if first.starts_with(b"BZh") {
            Self::Foreign("bzip2 -dc")
        } else if first.starts_with(&[0xfd, b'7', b'z', b'X', b'Z']) {
            Self::Foreign("xz -dc")
        } else {
            Self::Plain
        }
    }
}

/// Bytes on their way, counted.
struct Counting<'d, R> {
    inner: R,
    done: &'d AtomicU64,
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.done.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// The text of `file`, unpacked; `done` counts the bytes that lie on the disk.
///
/// # Errors
/// When it cannot be read, or is packed in a way that is not read here.
pub(super) fn unpacked<'d>(file: impl Read + 'd, done: &'d AtomicU64) -> io::Result<Box<dyn Read + 'd>> {
    let mut counted = Counting { inner: file, done };
    let mut first = [0; 6];
    let mut filled = 0;
    while filled < first.len() {
        match counted.read(first.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let first = io::Cursor::new(first.get(..filled).unwrap_or_default().to_vec());
    let packing = Packing::of(first.get_ref());
    let whole = first.chain(counted);
    match packing {
        Packing::Plain => Ok(Box::new(whole)),
        Packing::Gzip => Ok(Box::new(MultiGzDecoder::new(BufReader::with_capacity(64 * 1024, whole)))),
        Packing::Zstd => zstd(whole),
        Packing::Foreign(command) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("packed in a way that is not read here; pipe it in: {command} FILE | wspulse logs -"),
        )),
    }
}

#[cfg(feature = "zstd")]
fn zstd<'d>(whole: impl Read + 'd) -> io::Result<Box<dyn Read + 'd>> {
    Ok(Box::new(::zstd::stream::read::Decoder::new(whole)?))
}

#[cfg(not(feature = "zstd"))]
fn zstd<'d>(_: impl Read + 'd) -> io::Result<Box<dyn Read + 'd>> {
    let why = "this build reads no zstd; pipe it in: zstd -dc FILE | wspulse logs -";
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

/// Opens a file.
///
/// # Errors
/// When it cannot be opened, or is a directory.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    Ok(file)
}

/// One sentence: the file, what is wrong, what helps.
pub(super) fn said(path: &Path, error: &io::Error) -> String {
    let path = human::visible(path.as_os_str().as_encoded_bytes());
    match error.kind() {
        io::ErrorKind::NotFound => format!("{path}: no such file (check the path; a pattern needs quotes)"),
        io::ErrorKind::PermissionDenied => {
            format!("{path}: permission denied (run as root or add yourself to the group that owns it)")
        }
        io::ErrorKind::IsADirectory => format!("{path}: is a directory (name its files: '{path}/*.log*')"),
        io::ErrorKind::UnexpectedEof => {
            format!("{path}: ends in the middle of its packed data (what was readable is counted; copy it again)")
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            format!("{path}: its packed data is damaged: {error} (what was readable is counted; copy it again)")
        }
        _ => format!("{path}: {error}"),
    }
}
