//! Ending the streams that a producer left open when it died: the torn tail is cut, what is valid
//! is made durable, and the stream is closed. Done only by whoever holds the producer's lock.
//!
//! Bytes beyond the published mark are written again before they are synced: after a failed sync
//! the kernel may still show bytes that it has given up, and would report them as synced.

use std::io::ErrorKind;
use std::path::Path;

use driftline_schemas::{ProducerId, StreamId};
use tracing::{info, warn};

use super::format::{Magic, Stamp};
use super::layout::{self, StreamDir};
use super::mark;
use super::segment::{Place, Segment};
use crate::LogError;
use crate::disk::Disk;

/// Bytes written again at a time.
const COPY_BYTES: u64 = 1 << 20;

/// What became of a stream that had been left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// The stream.
    pub stream: StreamId,
    /// What was done.
    pub outcome: RepairOutcome,
}

/// What repairing a stream came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepairOutcome {
    /// It is closed now.
    Closed {
        /// The number of records that it holds, trimmed ones included.
        next_seq: u64,
        /// Bytes of an incomplete tail, never acknowledged, that were cut off.
        cut_bytes: u64,
    },
    /// It held no record and has been removed.
    RemovedEmpty,
    /// It is closed, but durable records in it are damaged; they were left as they are.
    Damaged {
        /// The number of records that it should hold.
        next_seq: u64,
        /// Where the damage is.
        reason: String,
    },
    /// A later version of this program wrote it; it was left as it is.
    LeftAlone {
        /// What cannot be understood.
        reason: String,
    },
}

/// What the segments of a stream came to.
struct Ended {
    stamp: Stamp,
    cut_bytes: u64,
    damage: Option<String>,
}

/// Closes every stream of a producer that is still open.
pub(super) fn repair_producer(
    disk: &dyn Disk,
    log_dir: &Path,
    producer: &ProducerId,
) -> Result<Vec<Repair>, LogError> {
    layout::sweep(disk, log_dir, producer)?;
    let mut repairs = Vec::new();
    for stream in layout::streams(disk, log_dir, producer)? {
        let dir = StreamDir::new(log_dir, &stream);
        match mark::read_stamp(disk, &dir.closed(), Magic::Closed) {
            Ok(Some(_)) => continue,
            Ok(None) => {}
            Err(error @ LogError::Corrupt { .. }) => warn!(%error, "closing the stream again"),
            Err(error @ LogError::NewerFormat { .. }) => {
                let outcome = RepairOutcome::LeftAlone {
                    reason: error.to_string(),
                };
                repairs.push(Repair { stream, outcome });
                continue;
            }
            Err(error) => return Err(error),
        }
        let outcome = match repair_stream(disk, &dir) {
            Err(error @ LogError::NewerFormat { .. }) => {
                warn!(%stream, %error, "stream left as it is");
                RepairOutcome::LeftAlone {
                    reason: error.to_string(),
                }
            }
            outcome => outcome?,
        };
        info!(%stream, ?outcome, "stream repaired");
        repairs.push(Repair { stream, outcome });
    }
    Ok(repairs)
}

fn repair_stream(disk: &dyn Disk, dir: &StreamDir) -> Result<RepairOutcome, LogError> {
    let mark = mark::read_mark(disk, &dir.durable())?.unwrap_or_default();
    let Some(segments) = dir.segments(disk)? else {
        return Ok(RepairOutcome::RemovedEmpty);
    };
    let ended = end_segments(disk, dir, segments, mark)?;
    if ended.stamp.next == 0 {
        dir.remove(disk)?;
        return Ok(RepairOutcome::RemovedEmpty);
    }
    // The segments' names come first: readers follow the marker as soon as they see it.
    layout::sync_dir(disk, &dir.path)?;
    mark::write_stamp(disk, &dir.closed(), Magic::Closed, ended.stamp)?;
    layout::sync_dir(disk, &dir.path)?;
    let next_seq = ended.stamp.next;
    Ok(match ended.damage {
        Some(reason) => RepairOutcome::Damaged { next_seq, reason },
        None => RepairOutcome::Closed {
            next_seq,
            cut_bytes: ended.cut_bytes,
        },
    })
}

/// Finds where the stream ends. Only its last segment can be torn: each was made durable before
/// the next one was begun, so the beginning of a segment is also a floor for the stream's end.
fn end_segments(
    disk: &dyn Disk,
    dir: &StreamDir,
    mut segments: Vec<u64>,
    mark: Stamp,
) -> Result<Ended, LogError> {
    let mut floor = mark.next;
    while let Some(first_seq) = segments.pop() {
        let durable_before = floor;
        floor = floor.max(first_seq);
        let segment = match Segment::open(disk, dir, first_seq, true) {
            Ok(segment) => segment,
            // The consumer has trimmed it just now.
            Err(error) if error.is_not_found() => continue,
            Err(LogError::Corrupt { path, .. }) if first_seq >= durable_before => {
                // Begun, but its header never became durable, and so nothing else in it.
                layout::remove_file(disk, &path)?;
                continue;
            }
            Err(error @ LogError::Corrupt { .. }) => {
                let stamp = Stamp {
                    next: floor,
                    segment: first_seq,
                };
                return Ok(Ended {
                    stamp,
                    cut_bytes: 0,
                    damage: Some(error.to_string()),
                });
            }
            Err(error) => return Err(error),
        };
        return end_segment(segment, floor, durable_before);
    }
    Ok(Ended {
        stamp: Stamp {
            next: floor,
            segment: floor,
        },
        cut_bytes: 0,
        damage: None,
    })
}

/// Cuts the torn tail of the last segment and makes the rest durable.
fn end_segment(mut segment: Segment, floor: u64, durable_before: u64) -> Result<Ended, LogError> {
    let first_seq = segment.header.first_seq;
    let (durable_end, _) = segment.scan(segment.start(), durable_before)?;
    let (end, stop) = segment.scan(durable_end, u64::MAX)?;
    let size = segment.size()?;
    if end.seq < floor {
        let path = segment.path.display();
        let reason = format!("{path} is damaged at byte {}: {stop:?}", end.offset);
        let stamp = Stamp {
            next: floor,
            segment: first_seq,
        };
        return Ok(Ended {
            stamp,
            cut_bytes: 0,
            damage: Some(reason),
        });
    }
    let stamp = Stamp {
        next: end.seq,
        segment: first_seq,
    };
    if end.seq > durable_before || size > end.offset {
        let from = if durable_before <= first_seq {
            0
        } else {
            durable_end.offset
        };
        write_again(&mut segment, from, end)?;
    }
    Ok(Ended {
        stamp,
        cut_bytes: size - end.offset,
        damage: None,
    })
}

/// Reads a range and writes the same bytes to the same place, cuts what follows, and syncs.
fn write_again(segment: &mut Segment, from: u64, end: Place) -> Result<(), LogError> {
    let path = &segment.path;
    let failed = |op, error| LogError::io(op, path, error);
    let mut offset = from;
    let mut buffer = vec![0; COPY_BYTES.min(end.offset - from) as usize];
    while offset < end.offset {
        let want = (end.offset - offset).min(COPY_BYTES) as usize;
        let bytes = &mut buffer[..want];
        let count = segment
            .file
            .read_at(offset, bytes)
            .map_err(|error| failed("read", error))?;
        if count < want {
            return Err(failed("read", ErrorKind::UnexpectedEof.into()));
        }
        segment
            .file
            .write_at(offset, bytes)
            .map_err(|error| failed("write", error))?;
        offset += want as u64;
    }
    segment
        .file
        .truncate(end.offset)
        .map_err(|error| failed("cut", error))?;
    segment
        .file
        .sync_data()
        .map_err(|error| failed("sync", error))
}
