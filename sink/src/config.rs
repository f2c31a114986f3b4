//! What an operator can set.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::table::TableName;

/// Settings of a sink. Every one has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SinkConfig {
    /// Seconds from the first pending record to its commit. Queries on the same machine read the
    /// log's fresh tail, so that a longer interval does not make them stale.
    pub commit_seconds: f64,
    /// Rows that force a commit before the interval ends.
    pub batch_rows: usize,
    /// Bytes taken from one source at a time.
    pub read_bytes: usize,
    /// Milliseconds to wait when no source had anything.
    pub poll_ms: u64,
    /// Days that rows are kept; 0 keeps them for ever. Rollups have keys of their own and outlive
    /// the samples that they were made from.
    pub retention_days: u32,
    /// Days that samples by the minute are kept; 0 keeps them for ever.
    pub retention_1m_days: u32,
    /// Days that samples by the hour are kept; 0 keeps them for ever. Those by the day always are.
    pub retention_1h_days: u32,
    /// Small files of a day that are merged into a sorted one.
    pub compact_files: usize,
    /// Seconds that files stay after a compaction has replaced them, for readers of old versions.
    pub vacuum_seconds: u64,
}

impl Default for SinkConfig {
    fn default() -> Self {
        Self {
            commit_seconds: 10.0,
            batch_rows: 1_000_000,
            read_bytes: 4 << 20,
            poll_ms: 200,
            retention_days: 0,
            retention_1m_days: 0,
            retention_1h_days: 0,
            compact_files: 12,
            vacuum_seconds: 6 * 3600,
        }
    }
}

impl SinkConfig {
    /// The commit interval.
    pub fn commit_every(&self) -> Duration {
        Duration::try_from_secs_f64(self.commit_seconds).unwrap_or(Duration::from_secs(10))
    }

    /// Days that a table's rows are kept; 0 keeps them for ever.
    pub fn retention_of(&self, table: TableName) -> u32 {
        match table {
            TableName::Samples | TableName::Requests | TableName::Events => self.retention_days,
            TableName::Samples1m => self.retention_1m_days,
            TableName::Samples1h => self.retention_1h_days,
            TableName::Series | TableName::Samples1d => 0,
        }
    }
}
