//! The client that sends, and what became of each record that it was given.
//!
//! A client that has failed for good is thrown away and replaced. What to send, and again, is left
//! to the shipper.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};

use crate::LogError;
use crate::kafka::MAX_MESSAGE_BYTES;
use crate::kafka::admin::{partition_counts, refused};
use crate::kafka::config::KafkaConfig;
use crate::kafka::health::Health;

/// Bytes of a record that are not payload: key, headers and frame, generously.
const FRAME_BYTES: usize = 4_096;
/// Records that the client takes, at most.
const QUEUE_RECORDS: u32 = 100_000;
/// KiB that the client takes, at most.
const QUEUE_KIB: u32 = 32_768;
/// How long a record waits for others to travel with, in milliseconds.
const LINGER_MS: u32 = 20;
/// Bytes that travel together, at most.
const BATCH_BYTES: u32 = 1_000_000;
/// How long a question for the topics may take.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);

/// Names a record in the shipper's books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) lane: u64,
    pub(super) seq: u64,
}

/// What became of a record.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) ticket: Ticket,
    pub(super) error: Option<KafkaError>,
}

/// What the client says to a record.
#[derive(Debug)]
pub(super) enum Answer {
    Taken,
    /// Not now: the queue is full.
    Full,
    Refused(KafkaError),
}

/// A sending client.
pub(super) struct Link {
    client: BaseProducer<Deliveries>,
    outcomes: Outcomes,
}

type Outcomes = Arc<Mutex<Vec<Outcome>>>;

struct Deliveries {
    health: Health,
    outcomes: Outcomes,
}

impl Link {
    /// Makes a client; it reaches for the broker in the background.
    pub(super) fn open(config: &KafkaConfig, health: &Health) -> Result<Self, LogError> {
        let mut client = config.client("shipper")?;
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // A record that is lost for good must stop those behind it, or their order were lost.
            .set("enable.gapless.guarantee", "true")
            // An outage may last for days: the spool waits, so the client waits.
            .set("message.timeout.ms", "0")
            .set("linger.ms", LINGER_MS.to_string())
            .set("batch.size", BATCH_BYTES.to_string())
            .set(
                "message.max.bytes",
                (MAX_MESSAGE_BYTES + FRAME_BYTES).to_string(),
            )
            .set("queue.buffering.max.messages", QUEUE_RECORDS.to_string())
            .set("queue.buffering.max.kbytes", QUEUE_KIB.to_string())
            // Blocks are compressed already.
            .set("compression.type", "none");
        let outcomes = Outcomes::default();
        let context = Deliveries {
            health: health.clone(),
            outcomes: Arc::clone(&outcomes),
        };
        let client = client
            .create_with_context(context)
            .map_err(|error| refused("reach", &config.brokers, &error))?;
        Ok(Self { client, outcomes })
    }

    /// Hands a record over. Never waits.
    pub(super) fn send(
        &self,
        topic: &str,
        partition: i32,
        key: &str,
        payload: &[u8],
        ticket: Ticket,
    ) -> Answer {
        let record = BaseRecord::with_opaque_to(topic, Box::new(ticket))
            .partition(partition)
            .key(key)
            .payload(payload);
        match self.client.send(record) {
            Ok(()) => Answer::Taken,
            Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                Answer::Full
            }
            Err((error, _)) => Answer::Refused(error),
        }
    }

    /// Lets the client work for this long.
    pub(super) fn poll(&self, time: Duration) {
        self.client.poll(time);
    }

    /// What has become of records since the last call.
    pub(super) fn outcomes(&self) -> Vec<Outcome> {
        std::mem::take(&mut *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The partitions of every topic that is there.
    pub(super) fn topics(&self) -> Result<BTreeMap<String, u32>, KafkaError> {
        let metadata = self
            .client
            .client()
            .fetch_metadata(None, METADATA_TIMEOUT)?;
        Ok(partition_counts(&metadata))
    }

    /// Throws the client away and tells the last outcomes. Records without one may have arrived.
    pub(super) fn close(self) -> Vec<Outcome> {
        drop(self.client);
        std::mem::take(&mut *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.health.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.health.judge(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let error = result.as_ref().err().map(|(error, _)| error.clone());
        self.outcomes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Outcome {
                ticket: *ticket,
                error,
            });
    }
}
