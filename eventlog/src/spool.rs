//! The durable local log: one directory per stream, one writer process per producer, any number of
//! readers that never take a lock.
//!
//! ```text
//! <log>/<producer>/lock                                held by the producer's process
//! <log>/<producer>/reserve                             room for an event when the disk is full
//! <log>/<producer>/<incarnation>/<kind>/<first>.seg    records, numbered from <first>
//!                                       durable        readers stop at this mark
//!                                       closed         the stream has ended
//!                                       cursor         what the consumer has committed
//! ```
//!
//! What makes it durable: a record counts only once `fdatasync` of its segment has succeeded and
//! the mark behind it has been published. A failed sync is never repeated on the same segment:
//! the writer keeps the records in memory and appends them to a new one. Sectors that are written
//! again with the same content are taken to be safe (as SQLite and others take them).
//!
//! When to sync is the caller's decision, and so is what to do about dropped or damaged records.

mod budget;
mod format;
mod layout;
mod mark;
mod producer;
mod reader;
mod repair;
mod segment;
#[cfg(test)]
mod tests;
mod trim;
mod victim;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use driftline_schemas::StreamId;
use serde::Deserialize;

use crate::LogError;

pub use format::{FORMAT_VERSION, MAX_RECORD_BYTES};
pub use producer::{SpoolProducer, repair_abandoned};
pub use reader::SpoolReader;
pub use repair::{Repair, RepairOutcome};
pub use writer::SpoolWriter;

/// Time since an arbitrary origin that never goes back; tests bring their own.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The smallest segment that can be configured.
pub const MIN_SEGMENT_BYTES: u64 = 1 << 10;

/// The largest segment that can be configured.
pub const MAX_SEGMENT_BYTES: u64 = 1 << 30;

/// A budget must hold this many segments: one being written per kind, and one to drop.
pub const MIN_SEGMENTS_IN_BUDGET: u64 = 4;

/// How a spool uses its disk.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolConfig {
    /// A segment is closed and a new one begun when it would exceed this many bytes.
    pub segment_bytes: u64,
    /// Bytes that one producer's segments may take in all.
    pub budget_bytes: u64,
    /// What happens when the budget or the disk is full.
    pub on_full: OnFull,
    /// Seconds for which consumed segments stay, for the sake of open snapshots.
    pub trim_lag_s: u64,
    /// Records that may wait in memory for a sync, in bytes; beyond it an append syncs by itself.
    pub max_unsynced_bytes: usize,
    /// Disk space kept aside so that the event about dropped records finds room on a full disk.
    pub reserve_bytes: u64,
}

/// What a producer does when there is no room for another record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// Forget the oldest segment, read or not, and tell: what a collector wants.
    DropOldest,
    /// Refuse the record with [`LogError::Full`]: what a load run wants.
    Refuse,
}

/// Records that were forgotten, unread, to make room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The stream that lost them.
    pub stream: StreamId,
    /// The first sequence number lost.
    pub first_seq: u64,
    /// The first sequence number after the loss.
    pub next_seq: u64,
    /// Bytes of the segments that were removed.
    pub bytes: u64,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            budget_bytes: 10 << 30,
            on_full: OnFull::DropOldest,
            trim_lag_s: 120,
            max_unsynced_bytes: 4 << 20,
            reserve_bytes: 1 << 20,
        }
    }
}

impl SpoolConfig {
    /// Says which option cannot work, if one cannot.
    pub fn validate(&self) -> Result<(), LogError> {
        if !(MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&self.segment_bytes) {
            return Err(LogError::Config {
                option: "spool.segment_bytes",
                found: self.segment_bytes.to_string(),
                remedy: format!("use {MIN_SEGMENT_BYTES} to {MAX_SEGMENT_BYTES}"),
            });
        }
        let least = self.segment_bytes * MIN_SEGMENTS_IN_BUDGET;
        if self.budget_bytes < least {
            return Err(LogError::Config {
                option: "spool.budget_bytes",
                found: self.budget_bytes.to_string(),
                remedy: format!("use at least {least}, four times spool.segment_bytes"),
            });
        }
        Ok(())
    }
}
