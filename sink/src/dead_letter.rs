//! Records that cannot be decoded, kept with the reason and where they came from.
//!
//! One JSON object per line, the record in base64, synced before the sink moves past it. The file
//! is rotated and the number of old ones is bounded.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use driftline_eventlog::SourceId;

/// A file of dead letters is rotated at this size, in bytes.
pub(crate) const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Rotated files kept; older ones are removed.
pub(crate) const MAX_OLD_FILES: usize = 16;

/// The dead letters could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot write dead letters to {path}; is the disk full?")]
pub struct DeadLetterError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Where dead letters go.
#[derive(Debug)]
pub struct DeadLetters {
    dir: PathBuf,
}

impl DeadLetters {
    /// The dead letters of a data directory. Nothing is created before the first one.
    pub fn new(data: &Path) -> Self {
        Self {
            dir: data.join("dead-letter"),
        }
    }

    /// Keeps one record, durably.
    pub fn keep(
        &self,
        source: &SourceId,
        offset: u64,
        reason: &str,
        payload: &[u8],
        now_us: i64,
    ) -> Result<(), DeadLetterError> {
        let path = self.dir.join("records.jsonl");
        let line = serde_json::json!({
            "ts_us": now_us,
            "source": source.to_string(),
            "offset": offset,
            "reason": reason,
            "bytes": payload.len(),
            "payload_base64": BASE64_STANDARD.encode(payload),
        });
        self.append(&path, &line.to_string())
            .map_err(|source| DeadLetterError { path, source })
    }

    fn append(&self, path: &Path, line: &str) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        if file.metadata()?.len() >= MAX_FILE_BYTES {
            self.rotate(path)?;
            file = OpenOptions::new().create(true).append(true).open(path)?;
        }
        file.write_all(line.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        File::open(&self.dir)?.sync_all()
    }

    fn rotate(&self, path: &Path) -> io::Result<()> {
        let mut old: Vec<(u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let number = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.strip_prefix("records-"));
            if let Some(number) = number.and_then(|number| number.parse().ok()) {
                old.push((number, path));
            }
        }
        old.sort_unstable();
        let next = old.last().map_or(1, |(number, _)| number + 1);
        let excess = (old.len() + 1).saturating_sub(MAX_OLD_FILES);
        for (_, path) in old.iter().take(excess) {
            fs::remove_file(path)?;
        }
        fs::rename(path, self.dir.join(format!("records-{next:08}.jsonl")))
    }
}
