//! The time of the last tick that was appended to the spool, kept beside it, so that the next start
//! can tell for how long no collector ran.
//!
//! It is not synced: after a power loss it may lie some seconds back, as the samples do.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use driftline_schemas::ProducerId;

/// Where the files are, below the data directory; one per producer.
const DIRECTORY: &str = "collector";
/// Digits that hold every time.
const DIGITS: usize = 20;

/// The file of one producer.
#[derive(Debug)]
pub(crate) struct LastTick {
    path: PathBuf,
    file: File,
}

impl LastTick {
    /// Opens the file and reads what the run before has left in it, in microseconds since 1970 UTC.
    pub(crate) fn open(
        data_dir: &Path,
        producer: &ProducerId,
    ) -> Result<(Self, Option<i64>), (PathBuf, io::Error)> {
        let directory = data_dir.join(DIRECTORY);
        let path = directory.join(format!("{producer}.last-tick"));
        let open = || {
            std::fs::create_dir_all(&directory)?;
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
        };
        let file = open().map_err(|error| (path.clone(), error))?;
        let text = io::read_to_string(&file).unwrap_or_default();
        Ok((Self { path, file }, text.trim().parse().ok()))
    }

    /// Notes a tick.
    pub(crate) fn write(&self, ts_us: i64) -> io::Result<()> {
        self.file
            .write_all_at(format!("{ts_us:0DIGITS$}\n").as_bytes(), 0)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_start_reads_what_was_noted() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let producer = ProducerId::new("a").expect("valid");
        let (file, before) = LastTick::open(directory.path(), &producer).expect("writable");
        assert_eq!(before, None);
        file.write(1_700_000_000_000_000).expect("written");
        file.write(1_700_000_001_000_000).expect("written");
        let (file, before) = LastTick::open(directory.path(), &producer).expect("writable");
        assert_eq!(before, Some(1_700_000_001_000_000));
        std::fs::write(file.path(), "garbage").expect("written");
        let (_, before) = LastTick::open(directory.path(), &producer).expect("writable");
        assert_eq!(before, None);
    }
}
