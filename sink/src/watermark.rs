//! How far each stream stands in a table.
//!
//! A commit names, per source, one immutable watermark file by the version of the source's
//! transaction; the file was synced before. So rows and watermarks cannot disagree, whatever step
//! a crash falls between.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::{fs, io};

use driftline_eventlog::SourceId;
use driftline_schemas::StreamId;
use serde::{Deserialize, Serialize};

use crate::durable_store::write_durably;

/// Checksums kept per stream, to tell a repeated block from a different block of the same number.
/// A producer repeats at most what it had in flight, which is far less.
pub const REMEMBERED_CHECKSUMS: usize = 128;
/// The transaction that all local spools share: a counter.
pub const SPOOL_APP: &str = "driftline.spool";
const FORMAT: u32 = 1;

/// A watermark file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WatermarkError {
    /// The file system failed.
    #[error("cannot {op} watermark file {path}")]
    Io {
        /// What was tried.
        op: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file is not one of ours, or damaged.
    #[error(
        "watermark file {path} cannot be read: {reason}; restore it from a backup of the table"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// How far one stream stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamMark {
    /// The sequence that is expected next.
    pub next_seq: u64,
    /// Checksums of the newest blocks below it, the newest last.
    pub recent: VecDeque<u32>,
}

/// What a block is to a stream that stands at a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next one.
    Next,
    /// It comes after `missing` blocks that never came.
    AfterGap {
        /// Number of missing blocks.
        missing: u64,
    },
    /// It is in the table already.
    Duplicate,
    /// Another block with this number is in the table.
    Conflict {
        /// The checksum of the block in the table.
        committed: u32,
    },
}

impl StreamMark {
    /// What the block with this number and checksum is. A repetition older than the remembered
    /// checksums counts as a duplicate.
    pub fn judge(&self, seq: u64, checksum: u32) -> Verdict {
        if seq >= self.next_seq {
            return match seq - self.next_seq {
                0 => Verdict::Next,
                missing => Verdict::AfterGap { missing },
            };
        }
        let back = usize::try_from(self.next_seq - 1 - seq).unwrap_or(usize::MAX);
        let remembered = self
            .recent
            .len()
            .checked_sub(1 + back.min(self.recent.len()));
        match remembered.and_then(|at| self.recent.get(at)) {
            Some(committed) if *committed != checksum => Verdict::Conflict {
                committed: *committed,
            },
            _ => Verdict::Duplicate,
        }
    }

    /// Moves past a block.
    pub fn accept(&mut self, seq: u64, checksum: u32) {
        if seq != self.next_seq {
            // The numbers before a gap are no longer contiguous with those after it.
            self.recent.clear();
        }
        self.next_seq = seq + 1;
        if self.recent.len() == REMEMBERED_CHECKSUMS {
            self.recent.pop_front();
        }
        self.recent.push_back(checksum);
    }
}

/// How far every stream stands that came through one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watermarks {
    streams: BTreeMap<StreamId, StreamMark>,
}

impl Watermarks {
    /// The sequence that is expected next of a stream; 0 where it is unknown.
    pub fn next_seq(&self, stream: &StreamId) -> u64 {
        self.streams.get(stream).map_or(0, |mark| mark.next_seq)
    }

    /// A stream's mark.
    pub fn get(&self, stream: &StreamId) -> Option<&StreamMark> {
        self.streams.get(stream)
    }

    /// A stream's mark, to be moved.
    pub fn entry(&mut self, stream: &StreamId) -> &mut StreamMark {
        self.streams.entry(stream.clone()).or_default()
    }

    /// Keeps only the streams that `keep` says are still alive.
    pub fn retain(&mut self, mut keep: impl FnMut(&StreamId) -> bool) {
        self.streams.retain(|stream, _| keep(stream));
    }

    /// Every stream with its mark.
    pub fn iter(&self) -> impl Iterator<Item = (&StreamId, &StreamMark)> {
        self.streams.iter()
    }

    /// Adds the marks of another source.
    pub fn merge(&mut self, other: Self) {
        for (stream, mark) in other.streams {
            let ours = self.streams.entry(stream).or_default();
            if mark.next_seq > ours.next_seq {
                *ours = mark;
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WatermarkFile {
    format: u32,
    streams: BTreeMap<String, MarkEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MarkEntry {
    next_seq: u64,
    recent: VecDeque<u32>,
}

/// The transaction that a source's position is kept under. All spools share one.
pub fn app_of(source: &SourceId) -> String {
    match source {
        SourceId::Spool(_) => SPOOL_APP.to_owned(),
        SourceId::Kafka { topic, partition } => format!("driftline.kafka/{topic}/{partition}"),
    }
}

/// The watermark file of a transaction at a version, under the table's root.
pub fn path_of(table_root: &Path, app: &str, version: i64) -> PathBuf {
    dir_of(table_root, app).join(format!("{version:020}.json"))
}

fn dir_of(table_root: &Path, app: &str) -> PathBuf {
    table_root
        .join("_driftline")
        .join("watermarks")
        .join(app.replace('/', "~"))
}

/// Writes a watermark file, durably. An equal name may exist where an earlier attempt at the same
/// commit failed after this step: it is replaced, since no commit names it.
pub fn write(
    table_root: &Path,
    app: &str,
    version: i64,
    marks: &Watermarks,
) -> Result<(), WatermarkError> {
    let path = path_of(table_root, app, version);
    let entry = |(stream, mark): (&StreamId, &StreamMark)| {
        let entry = MarkEntry {
            next_seq: mark.next_seq,
            recent: mark.recent.clone(),
        };
        (stream.to_string(), entry)
    };
    let file = WatermarkFile {
        format: FORMAT,
        streams: marks.iter().map(entry).collect(),
    };
    write_durably(&path, false, |out| {
        serde_json::to_writer(out, &file).map_err(io::Error::other)
    })
    .map_err(|source| WatermarkError::Io {
        op: "write",
        path,
        source,
    })
}

/// Reads the watermark file of a transaction at a version.
pub fn read(table_root: &Path, app: &str, version: i64) -> Result<Watermarks, WatermarkError> {
    let path = path_of(table_root, app, version);
    let bytes = fs::read(&path).map_err(|source| WatermarkError::Io {
        op: "read",
        path: path.clone(),
        source,
    })?;
    let malformed = |reason: String| WatermarkError::Malformed {
        path: path.clone(),
        reason,
    };
    let file: WatermarkFile =
        serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
    if file.format != FORMAT {
        return Err(malformed(format!(
            "format {} is not {FORMAT}; upgrade this build",
            file.format
        )));
    }
    let mut streams = BTreeMap::new();
    for (stream, entry) in file.streams {
        let stream = stream
            .parse::<StreamId>()
            .map_err(|error| malformed(error.to_string()))?;
        streams.insert(
            stream,
            StreamMark {
                next_seq: entry.next_seq,
                recent: entry.recent,
            },
        );
    }
    Ok(Watermarks { streams })
}

/// Removes the watermark files of a transaction below a version, except the newest `keep` of them.
pub fn prune(
    table_root: &Path,
    app: &str,
    below: i64,
    keep: usize,
) -> Result<usize, WatermarkError> {
    let dir = dir_of(table_root, app);
    let fail = |op, source| WatermarkError::Io {
        op,
        path: dir.clone(),
        source,
    };
    let mut old: Vec<(i64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(&dir).map_err(|source| fail("list", source))? {
        let path = entry.map_err(|source| fail("list", source))?.path();
        let version = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse::<i64>().ok());
        if let Some(version) = version.filter(|version| *version < below) {
            old.push((version, path));
        }
    }
    old.sort_unstable();
    old.truncate(old.len().saturating_sub(keep));
    for (_, path) in &old {
        fs::remove_file(path).map_err(|source| fail("remove", source))?;
    }
    Ok(old.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_next_duplicate_conflict_or_after_a_gap() {
        let mut mark = StreamMark::default();
        assert_eq!(mark.judge(0, 7), Verdict::Next);
        mark.accept(0, 7);
        mark.accept(1, 8);
        assert_eq!(mark.judge(0, 7), Verdict::Duplicate);
        assert_eq!(mark.judge(1, 9), Verdict::Conflict { committed: 8 });
        assert_eq!(mark.judge(4, 1), Verdict::AfterGap { missing: 2 });
        mark.accept(4, 1);
        assert_eq!(
            mark.judge(1, 9),
            Verdict::Duplicate,
            "older than what is remembered"
        );
        assert_eq!(mark.judge(4, 2), Verdict::Conflict { committed: 1 });
    }

    #[test]
    fn only_so_many_checksums_are_remembered() {
        let mut mark = StreamMark::default();
        for seq in 0..1_000 {
            mark.accept(seq, seq as u32);
        }
        assert_eq!(mark.recent.len(), REMEMBERED_CHECKSUMS);
        assert_eq!(mark.judge(999, 999), Verdict::Duplicate);
        assert_eq!(mark.judge(999, 1), Verdict::Conflict { committed: 999 });
        assert_eq!(mark.judge(0, 5), Verdict::Duplicate);
    }

    #[test]
    fn a_file_gives_back_what_was_written() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let stream: StreamId = "a/000000000000000000000000000000ff/samples"
            .parse()
            .expect("stream");
        let mut marks = Watermarks::default();
        marks.entry(&stream).accept(0, 42);
        for version in 1..=5 {
            write(dir.path(), SPOOL_APP, version, &marks).expect("write");
        }
        assert_eq!(read(dir.path(), SPOOL_APP, 5).expect("read"), marks);
        assert_eq!(prune(dir.path(), SPOOL_APP, 5, 1).expect("prune"), 3);
        assert!(read(dir.path(), SPOOL_APP, 3).is_err());
        assert!(read(dir.path(), SPOOL_APP, 4).is_ok());
    }
}
