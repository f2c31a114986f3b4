//! The log of a fleet: spools are forwarded to Kafka, and the sink reads the topics.
//!
//! [`KafkaShipper`] forwards, [`KafkaReader`] reads, [`create_topics`] and [`check_broker`] prepare,
//! [`partition_ends`] tells how far a consumer is behind. This is the only module that knows
//! rdkafka. It needs no transactions and no group offsets to be right: a stream stays in the
//! partition where it began, the shipper may send a record twice but never out of order, and where
//! to read from is what the caller's table says. Throwing duplicates away is left to the sink.

mod admin;
mod config;
mod consumer;
mod health;
mod partition;
mod producer;
mod window;

pub use admin::{
    BrokerReport, PartitionEnds, TopicReport, check_broker, create_topics, partition_ends,
};
pub use config::{KafkaConfig, Mechanism, Protocol, Security};
pub use consumer::{KafkaReader, ReaderStatus};
pub use partition::partition_for;
pub use producer::{KafkaShipper, ShipperStatus};

use std::time::Duration;

/// Largest record that topics are created for: a block of at most 512 KiB, with room to spare.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// How long one question to a broker may take before it counts as unreachable.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
