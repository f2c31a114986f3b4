//! Which files belong to a log at one time: those at its paths, and rotated ones by their names.
//!
//! What they hold is left to the tail.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// Entries of a directory that are looked at.
const MAX_ENTRIES: usize = 10_000;

/// A file's device and inode.
pub(super) type FileId = (u64, u64);

/// A file as it was met at a path.
#[derive(Debug)]
pub(super) struct Met {
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    pub(super) modified_ns: i64,
    /// Whether it lies beside the log, not at one of its paths.
    pub(super) is_rotated: bool,
}

/// What the paths of a log and those beside them lead to, one looked at after the other.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) files: Vec<Met>,
    /// Why a path of the log leads nowhere.
    pub(super) failure: Option<io::Error>,
}

impl Listing {
    pub(super) fn of(paths: &[PathBuf]) -> Self {
        let mut failure = paths.is_empty().then(|| io::ErrorKind::NotFound.into());
        let mut files = Vec::new();
        for path in paths {
            match fs::metadata(path) {
                Ok(found) => files.push(Met::new(path.clone(), &found, false)),
                Err(error) => failure = Some(error),
            }
        }
        files.extend(siblings(paths).into_iter().filter_map(|path| {
            let found = fs::metadata(&path).ok()?;
            Some(Met::new(path, &found, true))
        }));
        Self { files, failure }
    }

    /// Whether every path leads to the same file in both.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let pairs = self.files.iter().zip(&other.files);
        self.files.len() == other.files.len()
            && pairs
                .into_iter()
                .all(|(one, two)| one.id == two.id && one.path == two.path)
    }

    pub(super) fn has(&self, id: FileId) -> bool {
        self.files.iter().any(|met| met.id == id)
    }
}

impl Met {
    fn new(path: PathBuf, found: &Metadata, is_rotated: bool) -> Self {
        Self {
            path,
            id: id_of(found),
            modified_ns: modified_ns(found),
            is_rotated,
        }
    }
}

pub(super) fn id_of(found: &Metadata) -> FileId {
    (found.dev(), found.ino())
}

/// In nanoseconds since 1970 UTC, by the clock of [`crate::clock::file_ns`].
pub(super) fn modified_ns(found: &Metadata) -> i64 {
    found.mtime() * 1_000_000_000 + found.mtime_nsec()
}

/// Rotated files of the log: its names with a number or a date behind them. Compressed ones are not
/// among them.
fn siblings(paths: &[PathBuf]) -> Vec<PathBuf> {
    let of_one = |path: &PathBuf| {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let directory = path.parent().map(|parent| {
            if parent.as_os_str().is_empty() {
                PathBuf::from(".")
            } else {
                parent.to_owned()
            }
        });
        let entries = directory.and_then(|directory| fs::read_dir(directory).ok());
        let entries = entries.into_iter().flatten().take(MAX_ENTRIES);
        entries.filter_map(Result::ok).filter_map(move |entry| {
            let found = entry.file_name();
            let suffix = found.to_str()?.strip_prefix(name.as_deref()?)?;
            is_rotation(suffix).then(|| entry.path())
        })
    };
    let mut all: Vec<PathBuf> = paths.iter().flat_map(of_one).collect();
    all.sort();
    all
}

fn is_rotation(suffix: &str) -> bool {
    let dated = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '_' | 'T' | ':');
    matches!(suffix, ".old" | ".bak")
        || (suffix.starts_with(['.', '-', '_']) && suffix.len() > 1 && suffix.chars().all(dated))
}
