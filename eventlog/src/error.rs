//! What can go wrong with a log, with the fields that identify the place and the remedy in the
//! message. Whether to retry, stop or set aside is decided by whoever called.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use driftline_schemas::{ProducerId, StreamId};

use crate::SourceId;

/// A failed operation on a log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The records asked for are no longer there.
    #[error(
        "{source_id} no longer holds records from {from}: the first one available is \
         {first_available}; continue there and record the gap"
    )]
    Trimmed {
        /// The source that was read.
        source_id: SourceId,
        /// The offset that was asked for.
        from: u64,
        /// The lowest offset that can be read now.
        first_available: u64,
    },
    /// Bytes that had been made durable are not what was written.
    #[error(
        "{} is damaged at byte {offset}: {reason}; keep a copy of the file, check the disk, and \
         let the reader skip to the next segment", path.display()
    )]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where in the file the damage was met, in bytes.
        offset: u64,
        /// What was wrong.
        reason: String,
    },
    /// Another process writes for this producer.
    #[error(
        "producer {producer} is already being written by process {} (lock {}): stop that process, \
         or give this one another producer name", Pid(*pid), path.display()
    )]
    Locked {
        /// The producer.
        producer: ProducerId,
        /// The process that holds the lock, if it has said so.
        pid: Option<u32>,
        /// The lock's file.
        path: PathBuf,
    },
    /// There is no room for more.
    #[error(
        "no room for {needed} more bytes of stream {stream}: {used} of a budget of {budget} bytes \
         are used{}; let a sink consume the log, free disk space or raise spool.budget_bytes",
        if *disk_full { " and the disk is full" } else { "" }
    )]
    Full {
        /// The stream that wanted to grow.
        stream: StreamId,
        /// Bytes that were asked for.
        needed: u64,
        /// Bytes that the producer's directory holds.
        used: u64,
        /// The producer's budget in bytes.
        budget: u64,
        /// True when the file system itself had no space left.
        disk_full: bool,
    },
    /// The file was written by a later version of this program.
    #[error(
        "{} has format version {found}, and this program reads up to {supported}: upgrade \
         driftline, or point it at another data directory", path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The version that it carries.
        found: u32,
        /// The newest version that is understood here.
        supported: u32,
    },
    /// A file operation failed.
    #[error("cannot {op} {}: {source}; check that the disk is healthy and writable", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was attempted, as a verb.
        op: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// An append did not carry the next sequence number: a mistake of the calling code.
    #[error("stream {stream} expects sequence {expected}, not {found}: append in order")]
    OutOfOrder {
        /// The stream.
        stream: StreamId,
        /// The number that comes next.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// A record exceeds what the log takes.
    #[error("a record of {bytes} bytes for {target} exceeds the limit of {limit}: split the block")]
    TooLarge {
        /// The stream or topic.
        target: String,
        /// The record's size.
        bytes: usize,
        /// The largest size allowed.
        limit: usize,
    },
    /// The stream has been opened before: an incarnation is never continued.
    #[error("stream {stream} exists already: open the producer with a fresh random incarnation")]
    StreamExists {
        /// The stream.
        stream: StreamId,
    },
    /// The stream has ended.
    #[error("stream {stream} is closed: open a new incarnation to write more")]
    Closed {
        /// The stream.
        stream: StreamId,
    },
    /// The source belongs to another kind of log, or this reader may not do that.
    #[error("{op} is not possible on {source_id}: {reason}")]
    Unsupported {
        /// The source.
        source_id: SourceId,
        /// What was asked for.
        op: &'static str,
        /// Why not, and what to use instead.
        reason: &'static str,
    },
    /// The configuration cannot work.
    #[error("{option} = {found} cannot work: {remedy}")]
    Config {
        /// The option's full name.
        option: &'static str,
        /// Its value.
        found: String,
        /// What would work.
        remedy: String,
    },
    /// The broker or its client refused.
    #[error("kafka: cannot {op} {target}: {reason}")]
    Kafka {
        /// What was attempted, as a verb.
        op: &'static str,
        /// The topic, partition or broker list.
        target: String,
        /// The client's reason, with the remedy.
        reason: String,
        /// True when the same call may succeed later.
        retryable: bool,
    },
}

impl LogError {
    /// True when the same call may succeed later without anything being changed by hand.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Full { .. } | Self::Locked { .. } => true,
            Self::Kafka { retryable, .. } => *retryable,
            Self::Trimmed { .. }
            | Self::Corrupt { .. }
            | Self::NewerFormat { .. }
            | Self::OutOfOrder { .. }
            | Self::TooLarge { .. }
            | Self::StreamExists { .. }
            | Self::Closed { .. }
            | Self::Unsupported { .. }
            | Self::Config { .. } => false,
        }
    }

    /// Wraps an error of the file system with its place.
    pub(crate) fn io(op: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            op,
            source,
        }
    }

    /// True when the file system said that the file or directory does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// A process id that may be unknown.
struct Pid(Option<u32>);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "{pid}"),
            None => f.write_str("(unknown)"),
        }
    }
}
