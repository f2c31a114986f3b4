//! The sink's end: partitions shared out by a consumer group, offsets named by the caller.
//!
//! The group decides only *who* reads a partition. *From where* is what the caller's table says, so
//! a newly assigned partition is paused until the first [`LogReader::read`] names an offset; then it
//! is positioned there and read through a queue of its own. Group offsets are written for lag tools
//! and never read. Decoding and throwing duplicates away are left to the sink.

mod group;
mod open;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use driftline_schemas::{Kind, topic};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use self::group::{Group, Place};
use self::open::OpenPartition;
use super::admin::refused;
use super::config::KafkaConfig;
use super::health::Health;
use crate::{LogError, LogReader, Record, SourceId};

/// How long [`LogReader::sources`] waits for the group while nothing is assigned.
const JOIN_WAIT: Duration = Duration::from_millis(200);
/// Prefetched records of one partition, in KiB; the client may exceed it by one fetch.
const PREFETCH_KIB: u32 = 2_048;
/// Bytes that one fetch asks of one partition.
const FETCH_BYTES: u32 = 1 << 20;
/// Bytes that one fetch asks of one broker.
const FETCH_BYTES_PER_BROKER: u32 = 16 << 20;
/// How long a broker holds back an answer while there is nothing new, in milliseconds.
const FETCH_WAIT_MS: u32 = 100;
/// How soon a partition whose prefetch was full is fetched again, in milliseconds.
const PREFETCH_BACKOFF_MS: u32 = 20;
/// How soon a topic that is created later, or gets more partitions, is noticed, in milliseconds.
const METADATA_REFRESH_MS: u32 = 10_000;
/// After this silence the group gives a sink's partitions to another, in milliseconds.
const SESSION_TIMEOUT_MS: u32 = 10_000;
const HEARTBEAT_MS: u32 = 2_000;

/// Reads the topics of all kinds as one member of a consumer group.
pub struct KafkaReader {
    // Above the consumer, because the queues of the partitions have to go before it does.
    open: BTreeMap<Place, OpenPartition>,
    consumer: Arc<BaseConsumer<Group>>,
    health: Health,
    brokers: String,
}

/// How a [`KafkaReader`] fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderStatus {
    /// Whether a broker has answered since the last outage.
    pub connected: bool,
    /// What went wrong last, until it goes right.
    pub last_error: Option<String>,
    /// Partitions that this member has now.
    pub assigned: usize,
}

impl KafkaReader {
    /// Joins the group of `config`. Reaching the broker happens in the background: ask
    /// [`super::check_broker`] first for a clear answer, and [`super::create_topics`] for the topics.
    pub fn open(config: &KafkaConfig) -> Result<Self, LogError> {
        let mut client = config.client("sink")?;
        client
            .set("group.id", &config.group)
            // Shares out each topic by itself. A strategy that balances over all topics together
            // may give one sink all partitions of the one topic that has all the load.
            .set("partition.assignment.strategy", "range")
            .set("session.timeout.ms", SESSION_TIMEOUT_MS.to_string())
            .set("heartbeat.interval.ms", HEARTBEAT_MS.to_string())
            .set(
                "topic.metadata.refresh.interval.ms",
                METADATA_REFRESH_MS.to_string(),
            )
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Never hides a loss: every position is checked against what was asked for.
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_uncommitted")
            .set("enable.partition.eof", "true")
            .set("queued.max.messages.kbytes", PREFETCH_KIB.to_string())
            .set("fetch.message.max.bytes", FETCH_BYTES.to_string())
            .set("fetch.max.bytes", FETCH_BYTES_PER_BROKER.to_string())
            .set("fetch.wait.max.ms", FETCH_WAIT_MS.to_string())
            .set("fetch.queue.backoff.ms", PREFETCH_BACKOFF_MS.to_string());
        let health = Health::new("sink", &config.brokers);
        let consumer: BaseConsumer<Group> = client
            .create_with_context(Group::new(health.clone()))
            .map_err(|error| refused("reach", &config.brokers, &error))?;
        let topics = Kind::ALL.map(topic::of);
        consumer
            .subscribe(&topics)
            .map_err(|error| refused("subscribe to topics of", &config.brokers, &error))?;
        Ok(Self {
            open: BTreeMap::new(),
            consumer: Arc::new(consumer),
            health,
            brokers: config.brokers.clone(),
        })
    }

    /// How the reader fares.
    pub fn status(&self) -> ReaderStatus {
        let connection = self.health.connection();
        ReaderStatus {
            connected: connection.connected,
            last_error: connection.last_error,
            assigned: self.consumer.context().assigned().len(),
        }
    }

    /// Lets the client serve the group, and forgets partitions that went to others.
    fn serve(&mut self, wait: Duration) -> Result<(), LogError> {
        // A record here was fetched before its partition was positioned, so it is none of ours.
        if let Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) = self.consumer.poll(wait)
        {
            return Err(refused("read from", &self.brokers, &error));
        }
        let assigned = self.consumer.context().assigned();
        self.open
            .retain(|place, open| assigned.get(place) == Some(&open.term()));
        Ok(())
    }

    fn place(source: &SourceId, op: &'static str) -> Result<Place, LogError> {
        match source {
            SourceId::Kafka { topic, partition } => Ok((topic.clone(), *partition)),
            SourceId::Spool(_) => Err(LogError::Unsupported {
                source_id: source.clone(),
                op,
                reason: "this reader reads Kafka; read spools with SpoolReader",
            }),
        }
    }
}

impl LogReader for KafkaReader {
    fn sources(&mut self, kind: Kind) -> Result<Vec<SourceId>, LogError> {
        self.serve(Duration::ZERO)?;
        if self.consumer.context().assigned().is_empty() {
            self.serve(JOIN_WAIT)?;
        }
        let assigned = self.consumer.context().assigned();
        Ok(assigned
            .into_keys()
            .filter(|(name, _)| name == topic::of(kind))
            .map(|(topic, partition)| SourceId::Kafka { topic, partition })
            .collect())
    }

    /// Waits a fraction of a second for the first record, unless the end is known to be reached.
    /// A partition that has gone to another member yields nothing.
    fn read(
        &mut self,
        source: &SourceId,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Record>, LogError> {
        let place = Self::place(source, "read")?;
        self.serve(Duration::ZERO)?;
        let Some(term) = self.consumer.context().assigned().get(&place).copied() else {
            return Ok(Vec::new());
        };
        if self
            .open
            .get(&place)
            .is_none_or(|open| open.position() != from)
        {
            self.open.remove(&place);
            let Some(open) = OpenPartition::open(&self.consumer, &place, term, from)? else {
                return Ok(Vec::new());
            };
            self.open.insert(place.clone(), open);
        }
        let Some(open) = self.open.get_mut(&place) else {
            return Ok(Vec::new());
        };
        let records = open.read(&self.consumer, &place, from, max_bytes);
        if open.has_answered() {
            self.health.answered();
        }
        if records.is_err() {
            self.open.remove(&place);
        }
        records
    }

    /// Tells the group, for lag tools alone, without waiting for the answer.
    fn committed(&mut self, source: &SourceId, next: u64) -> Result<(), LogError> {
        let (topic, partition) = Self::place(source, "commit")?;
        if !self
            .consumer
            .context()
            .assigned()
            .contains_key(&(topic.clone(), partition))
        {
            return Ok(());
        }
        let mut offsets = TopicPartitionList::with_capacity(1);
        let next = Offset::Offset(i64::try_from(next).unwrap_or(i64::MAX));
        let result = offsets
            .add_partition_offset(&topic, partition, next)
            .and_then(|()| self.consumer.commit(&offsets, CommitMode::Async));
        if let Err(error) = result {
            // Nothing rests on these offsets, so a failure is no reason to stop the sink.
            tracing::debug!(%source, %error, "group offset not committed");
        }
        Ok(())
    }
}
