//! Which partition a stream goes to, for as long as the stream lives.
//!
//! The choice is written beside the stream's segments before the first record leaves, because a
//! topic that gets more partitions would otherwise scatter one stream over two of them, and its
//! order would be lost. Deleting the file is left to whoever deletes the stream's directory.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use driftline_schemas::ProducerId;

use crate::LogError;

/// The file in a stream's directory that names its partition.
pub(crate) const PARTITION_FILE: &str = "partition";
/// Its first draft, which only a crash leaves behind.
const PARTITION_DRAFT: &str = "partition.tmp";

/// The partition in which a producer's new streams begin, of `partitions` (at least 1).
///
/// The same for all kinds, all machines and all versions: CRC-32C of the name, modulo the number
/// of partitions.
pub fn partition_for(producer: &ProducerId, partitions: u32) -> i32 {
    let chosen = crc32c::crc32c(producer.as_str().as_bytes()) % partitions.max(1);
    // The configuration and the protocol both count partitions in an i32.
    i32::try_from(chosen).unwrap_or(0)
}

/// The partition written in a stream's directory, if there is one.
pub(crate) fn recall(stream_directory: &Path) -> Result<Option<i32>, LogError> {
    let path = stream_directory.join(PARTITION_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::io("read", &path, error)),
    };
    match text.trim_end().parse::<i32>() {
        Ok(partition) if partition >= 0 => Ok(Some(partition)),
        _ => Err(LogError::Corrupt {
            path,
            offset: 0,
            reason: "it should hold the number of a partition".to_owned(),
        }),
    }
}

/// Writes the partition into a stream's directory; durable when this returns.
pub(crate) fn remember(stream_directory: &Path, partition: i32) -> Result<(), LogError> {
    let draft = stream_directory.join(PARTITION_DRAFT);
    let path = stream_directory.join(PARTITION_FILE);
    let mut file = File::create(&draft).map_err(|error| LogError::io("create", &draft, error))?;
    writeln!(file, "{partition}").map_err(|error| LogError::io("write", &draft, error))?;
    file.sync_all()
        .map_err(|error| LogError::io("sync", &draft, error))?;
    fs::rename(&draft, &path).map_err(|error| LogError::io("rename", &path, error))?;
    File::open(stream_directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| LogError::io("sync", stream_directory, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_is_stable_and_in_range() {
        // Frozen: another result would scatter the streams of a running fleet.
        let choices = ["web-1", "web-2", "db.collector", "0"].map(|name| {
            let producer = ProducerId::new(name).expect("valid");
            [1, 8, 12].map(|partitions| partition_for(&producer, partitions))
        });
        assert_eq!(choices, [[0, 7, 7], [0, 3, 7], [0, 0, 4], [0, 0, 8]]);
    }

    #[test]
    fn a_partition_is_remembered_and_nonsense_is_not_taken_for_one() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(recall(directory.path()).expect("readable"), None);
        remember(directory.path(), 7).expect("written");
        remember(directory.path(), 11).expect("replaced");
        assert_eq!(recall(directory.path()).expect("readable"), Some(11));
        assert!(!directory.path().join(PARTITION_DRAFT).exists());
        for nonsense in ["", "-1", "seven", "99999999999"] {
            fs::write(directory.path().join(PARTITION_FILE), nonsense).expect("written");
            assert!(recall(directory.path()).is_err(), "{nonsense:?} was taken");
        }
    }
}
