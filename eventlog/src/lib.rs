//! Driftline's event log: append blocks, read them back from an offset.
//!
//! Two real logs stand behind the same traits. [`spool`] is the durable local log that every
//! producer writes first: one directory of checksummed segments per stream. The module `kafka`
//! (feature `kafka`) forwards spools to a broker and reads topics. What a record *means* is left to
//! `driftline_schemas`: here it is bytes with a number.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use driftline_eventlog::disk::RealDisk;
//! use driftline_eventlog::spool::{SpoolConfig, SpoolProducer, SpoolReader};
//! use driftline_eventlog::{LogReader, LogWriter, SourceId};
//! use driftline_schemas::{Incarnation, Kind, ProducerId};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let log = directory.path().join("log");
//! let disk = Arc::new(RealDisk);
//! let config = SpoolConfig::default();
//!
//! // A producer holds the lock of its directory; every start brings a fresh incarnation.
//! let producer = SpoolProducer::open(
//!     disk.clone(),
//!     &log,
//!     ProducerId::new("collector-a")?,
//!     Incarnation::from_u128(0x1f2e_3d4c),
//!     config.clone(),
//! )?;
//! let mut writer = producer.writer(Kind::Samples)?;
//! writer.append(0, b"first block")?;
//! writer.append(1, b"second block")?;
//! writer.sync()?; // now both survive a power loss, and only now may readers see them
//!
//! let started = Instant::now();
//! let clock = Arc::new(move || started.elapsed());
//! let mut reader = SpoolReader::open(disk, &log, &config, clock);
//! let source = SourceId::Spool(writer.stream().clone());
//! assert_eq!(reader.sources(Kind::Samples)?, [source.clone()]);
//! let records = reader.read(&source, 0, 1 << 20)?;
//! assert_eq!(records[1].payload.as_ref(), b"second block");
//! reader.committed(&source, 2)?; // the consumer has both in its own durable store
//! writer.close()?;
//! # Ok(())
//! # }
//! ```

pub mod disk;
mod error;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod spool;

use std::fmt;

use bytes::Bytes;
use driftline_schemas::{Kind, StreamId};

pub use error::LogError;

/// Where records come from: the unit that has offsets of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceId {
    /// One stream's directory in the local spool; its offsets are the stream's sequence numbers.
    Spool(StreamId),
    /// One partition of a topic; it may hold blocks of many streams.
    Kafka {
        /// The topic's name.
        topic: String,
        /// The partition's number.
        partition: i32,
    },
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spool(stream) => write!(f, "spool:{stream}"),
            Self::Kafka { topic, partition } => write!(f, "kafka:{topic}/{partition}"),
        }
    }
}

/// One record of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The record's number in its source; in a spool it is the stream's sequence number.
    pub offset: u64,
    /// The bytes that were appended.
    pub payload: Bytes,
}

/// The writing end of one stream.
pub trait LogWriter {
    /// The sequence number that the next append must carry.
    fn next_seq(&self) -> u64;

    /// Takes one record, which is durable only after the next successful [`LogWriter::sync`].
    ///
    /// On an error the record has not been taken and `next_seq` is unchanged.
    fn append(&mut self, seq: u64, payload: &[u8]) -> Result<(), LogError>;

    /// Makes every record appended so far durable and visible to readers.
    ///
    /// On an error nothing is forgotten: the records stay with the writer and the next call tries
    /// again.
    fn sync(&mut self) -> Result<(), LogError>;
}

/// The reading end of a log; every call may block on I/O.
pub trait LogReader {
    /// The sources of one kind that exist now: stream directories, or the partitions that are
    /// assigned to this consumer.
    fn sources(&mut self, kind: Kind) -> Result<Vec<SourceId>, LogError>;

    /// The records from `from` on, in order: about `max_bytes` of payload at most, but at least
    /// one record if there is one. Nothing that a power loss could take back is ever returned.
    fn read(
        &mut self,
        source: &SourceId,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Record>, LogError>;

    /// The first offset after damage at `from` ([`LogError::Corrupt`]) at which reading can go on.
    ///
    /// A log that cannot be damaged by the record steps over that one record.
    fn skip_damage(&mut self, _source: &SourceId, from: u64) -> Result<u64, LogError> {
        Ok(from + 1)
    }

    /// Says that everything below `next` is durably held elsewhere, so that the log may forget it.
    fn committed(&mut self, source: &SourceId, next: u64) -> Result<(), LogError>;
}
