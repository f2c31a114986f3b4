//! Names and places: where a stream's files are, and which streams and segments exist.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use driftline_schemas::{Incarnation, Kind, ProducerId, StreamId};
use tracing::warn;

use crate::LogError;
use crate::disk::{Disk, Entry};

/// The ending of a stream directory that is being removed.
const GOING: &str = ".trimmed";
const SEGMENT: &str = ".seg";
const SEQ_DIGITS: usize = 20;

/// The directory of one stream.
#[derive(Debug, Clone)]
pub(super) struct StreamDir {
    pub(super) stream: StreamId,
    pub(super) path: PathBuf,
}

impl StreamDir {
    pub(super) fn new(log_dir: &Path, stream: &StreamId) -> Self {
        let path = log_dir
            .join(stream.producer.as_str())
            .join(stream.incarnation.to_string())
            .join(stream.kind.as_str());
        Self {
            stream: stream.clone(),
            path,
        }
    }

    pub(super) fn segment(&self, first_seq: u64) -> PathBuf {
        self.path.join(format!("{first_seq:0SEQ_DIGITS$}{SEGMENT}"))
    }

    pub(super) fn durable(&self) -> PathBuf {
        self.path.join("durable")
    }

    pub(super) fn closed(&self) -> PathBuf {
        self.path.join("closed")
    }

    pub(super) fn cursor(&self) -> PathBuf {
        self.path.join("cursor")
    }

    /// The first sequence numbers of its segments, ascending; `None` if the directory is gone.
    pub(super) fn segments(&self, disk: &dyn Disk) -> Result<Option<Vec<u64>>, LogError> {
        let Some(entries) = list(disk, &self.path)? else {
            return Ok(None);
        };
        Ok(Some(
            entries
                .iter()
                .filter_map(|entry| segment_seq(&entry.name))
                .collect(),
        ))
    }

    /// Removes the whole directory: renamed first, so that a half-removed stream is never seen.
    pub(super) fn remove(&self, disk: &dyn Disk) -> Result<(), LogError> {
        let going = self.path.with_extension(&GOING[1..]);
        purge(disk, &going)?;
        match disk.rename(&self.path, &going) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(LogError::io("rename", &self.path, error)),
            Ok(()) => {}
        }
        purge(disk, &going)?;
        if let Some(incarnation) = self.path.parent() {
            remove_if_empty(disk, incarnation)?;
        }
        Ok(())
    }
}

/// A producer's lock file.
pub(super) fn lock(log_dir: &Path, producer: &ProducerId) -> PathBuf {
    log_dir.join(producer.as_str()).join("lock")
}

/// A producer's reserved space.
pub(super) fn reserve(log_dir: &Path, producer: &ProducerId) -> PathBuf {
    log_dir.join(producer.as_str()).join("reserve")
}

/// The producers that have a directory.
pub(super) fn producers(disk: &dyn Disk, log_dir: &Path) -> Result<Vec<ProducerId>, LogError> {
    let entries = list(disk, log_dir)?.unwrap_or_default();
    let named = |entry: &Entry| ProducerId::new(&entry.name).ok().filter(|_| entry.is_dir);
    Ok(entries.iter().filter_map(named).collect())
}

/// The streams of one producer, sorted by incarnation and kind.
pub(super) fn streams(
    disk: &dyn Disk,
    log_dir: &Path,
    producer: &ProducerId,
) -> Result<Vec<StreamId>, LogError> {
    let producer_dir = log_dir.join(producer.as_str());
    let mut found = Vec::new();
    for entry in list(disk, &producer_dir)?.unwrap_or_default() {
        let Ok(incarnation) = entry.name.parse::<Incarnation>() else {
            continue;
        };
        for kind in list(disk, &producer_dir.join(&entry.name))?.unwrap_or_default() {
            if let Ok(kind) = kind.name.parse::<Kind>() {
                found.push(StreamId {
                    producer: producer.clone(),
                    incarnation,
                    kind,
                });
            }
        }
    }
    Ok(found)
}

/// Finishes removals that were interrupted, and removes incarnations that hold nothing.
pub(super) fn sweep(
    disk: &dyn Disk,
    log_dir: &Path,
    producer: &ProducerId,
) -> Result<(), LogError> {
    let producer_dir = log_dir.join(producer.as_str());
    for entry in list(disk, &producer_dir)?.unwrap_or_default() {
        if entry.name.parse::<Incarnation>().is_err() {
            continue;
        }
        let incarnation = producer_dir.join(&entry.name);
        for kind in list(disk, &incarnation)?.unwrap_or_default() {
            if kind.name.ends_with(GOING) {
                purge(disk, &incarnation.join(&kind.name))?;
            }
        }
        remove_if_empty(disk, &incarnation)?;
    }
    Ok(())
}

/// Removes a segment; true if it was there. Earlier removals are made durable first, so that
/// segments vanish in their order and a power loss leaves no hole.
pub(super) fn remove_segment(
    disk: &dyn Disk,
    dir: &StreamDir,
    first_seq: u64,
) -> Result<bool, LogError> {
    match sync_dir(disk, &dir.path) {
        Err(error) if error.is_not_found() => return Ok(false),
        outcome => outcome?,
    }
    remove_file(disk, &dir.segment(first_seq))
}

/// Removes a file; true if it was there.
pub(super) fn remove_file(disk: &dyn Disk, path: &Path) -> Result<bool, LogError> {
    match disk.remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(LogError::io("remove", path, error)),
    }
}

/// Creates a directory and what is missing above it, each name durable before anything is put
/// beneath it.
pub(super) fn create_dirs(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    let mut outcome = disk.create_dir(path);
    if let (Err(error), Some(parent)) = (&outcome, path.parent())
        && error.kind() == ErrorKind::NotFound
    {
        create_dirs(disk, parent)?;
        outcome = disk.create_dir(path);
    }
    match outcome {
        // A name that could not be made durable is taken back, so that another try syncs again.
        Ok(()) => sync_parent(disk, path).inspect_err(|_| {
            if let Err(error) = disk.remove_dir(path) {
                warn!(%error, path = %path.display(), "a new directory remains");
            }
        }),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(LogError::io("create", path, error)),
    }
}

/// Makes the name of `path` durable in its directory.
pub(super) fn sync_parent(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    sync_dir(disk, parent)
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    disk.sync_dir(path)
        .map_err(|error| LogError::io("sync the directory", path, error))
}

fn list(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<Entry>>, LogError> {
    match disk.list(path) {
        Ok(entries) => Ok(Some(entries)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::io("list", path, error)),
    }
}

fn segment_seq(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SEGMENT)?;
    if digits.len() != SEQ_DIGITS {
        return None;
    }
    digits.parse().ok()
}

/// Removes a directory that has been renamed away. The new name is made durable first, lest a
/// power loss bring the old one back with a part of its files.
fn purge(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    let Some(entries) = list(disk, path)? else {
        return Ok(());
    };
    sync_parent(disk, path)?;
    for entry in entries {
        remove_file(disk, &path.join(entry.name))?;
    }
    remove_if_empty(disk, path)
}

fn remove_if_empty(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    match disk.remove_dir(path) {
        Err(error)
            if !matches!(
                error.kind(),
                ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound
            ) =>
        {
            Err(LogError::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_ours_are_not_segments() {
        assert_eq!(segment_seq("00000000000000000042.seg"), Some(42));
        for name in [
            "42.seg",
            "0000000000000000004x.seg",
            "00000000000000000042.seg.tmp",
            "lock",
        ] {
            assert_eq!(segment_seq(name), None, "{name}");
        }
    }
}
