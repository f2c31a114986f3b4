//! Driftline's sink: the event log into Parquet files of Delta tables, exactly once.
//!
//! It reads spools or Kafka through one trait, drops what it has already committed, and commits
//! rows, offsets and watermarks together ([`pipeline`](crate::Sink)). Queries are the analyzer's.

pub mod batch;
pub mod compact;
mod config;
mod dead_letter;
pub mod durable_store;
mod ingest;
mod lane;
mod lease;
mod maintenance;
pub mod parquet_file;
mod pipeline;
mod report;
mod rollup;
mod series_registry;
mod sink;
mod sort;
mod steps;
pub mod table;
pub mod watermark;

pub use config::SinkConfig;
pub use dead_letter::{DeadLetterError, DeadLetters};
pub use lease::{Lease, LeaseError};
pub use maintenance::Maintenance;
pub use pipeline::Counts;
pub use report::Reporter;
pub use series_registry::RegistryError;
pub use sink::{Clock, Sink, SinkError};
pub use steps::{Step, Steps, UnknownStep};
