//! Which files are rotated ones of a log, by their names.
//!
//! What they hold is left to the tail.

use std::fs;
use std::path::PathBuf;

/// Entries of a directory that are looked at.
const MAX_ENTRIES: usize = 10_000;

/// Rotated files of the log: its names with a number or a date behind them. Compressed ones are not
/// among them.
pub(super) fn siblings(paths: &[PathBuf]) -> impl Iterator<Item = PathBuf> {
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
    all.into_iter()
}

fn is_rotation(suffix: &str) -> bool {
    let dated = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '_' | 'T' | ':');
    matches!(suffix, ".old" | ".bak")
        || (suffix.starts_with(['.', '-', '_']) && suffix.len() > 1 && suffix.chars().all(dated))
}
