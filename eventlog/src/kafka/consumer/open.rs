//! One partition that is being read: positioned where the caller asked, with a queue of its own.
//!
//! Every record is held against the offset that is due. One that comes too late means that the
//! broker has deleted records, and one that comes too early that the topic is not the one it was:
//! both are told, never stepped over. Which partitions to open is left to the reader.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::group::{Group, Place, Term};
use crate::kafka::admin::{refused, watermarks};
use crate::{LogError, Record, SourceId};

/// How long a read waits for the first record while the end has not been seen.
const FIRST_RECORD_WAIT: Duration = Duration::from_millis(500);

/// How long it may take to position a partition; the sink waits for it.
const POSITION_TIMEOUT: Duration = Duration::from_secs(5);

/// A partition with a position.
pub(super) struct OpenPartition {
    term: Term,
    queue: PartitionQueue<Group>,
    /// The offset that is due.
    next: u64,
    /// A record that was taken from the queue and not given out yet.
    held: Option<Record>,
    /// True when nothing more is known to be there.
    at_end: bool,
    /// True when the broker has delivered anything since the last question.
    answered: bool,
    /// The offset before which a hole was seen, and fetched again in vain.
    hole: Option<u64>,
}

/// What the queue had.
enum Next {
    Record(Record),
    Nothing,
}

impl OpenPartition {
    /// Positions a partition at `from`. `None` while the client is still taking it up.
    pub(super) fn open(
        consumer: &Arc<BaseConsumer<Group>>,
        place: &Place,
        term: Term,
        from: u64,
    ) -> Result<Option<Self>, LogError> {
        let (topic, partition) = place;
        let ends = watermarks(consumer, topic, *partition, POSITION_TIMEOUT)?;
        if from < ends.first {
            return Err(trimmed(place, from, ends.first));
        }
        if from > ends.next {
            return Err(not_the_same_log(place, from, ends.next));
        }
        if !seek(consumer, place, from)? {
            return Ok(None);
        }
        // Only now, because taking up the partition directs it into the common queue.
        let queue = consumer
            .split_partition_queue(topic, *partition)
            .ok_or_else(|| gone(place))?;
        consumer
            .resume(&list(place, from)?)
            .map_err(|error| refused("resume", &name(place), &error))?;
        let at_end = from == ends.next;
        Ok(Some(Self {
            term,
            queue,
            next: from,
            held: None,
            at_end,
            answered: true,
            hole: None,
        }))
    }

    /// Which assignment this belongs to.
    pub(super) fn term(&self) -> Term {
        self.term
    }

    /// The offset that a read can continue at without positioning anew.
    pub(super) fn position(&self) -> u64 {
        self.held.as_ref().map_or(self.next, |record| record.offset)
    }

    /// Whether the broker has delivered anything since the last call.
    pub(super) fn has_answered(&mut self) -> bool {
        std::mem::take(&mut self.answered)
    }

    /// The records from `from`, which is this partition's position.
    pub(super) fn read(
        &mut self,
        consumer: &Arc<BaseConsumer<Group>>,
        place: &Place,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Record>, LogError> {
        debug_assert_eq!(
            self.position(),
            from,
            "the reader positions before it reads"
        );
        let mut records = Vec::new();
        let mut bytes = 0;
        loop {
            let wait = if records.is_empty() && !self.at_end {
                FIRST_RECORD_WAIT
            } else {
                Duration::ZERO
            };
            let record = match self.held.take() {
                Some(record) => record,
                None => match self.poll(consumer, place, wait, records.is_empty())? {
                    Next::Record(record) => record,
                    Next::Nothing => return Ok(records),
                },
            };
            if !records.is_empty() && bytes + record.payload.len() > max_bytes {
                self.held = Some(record);
                return Ok(records);
            }
            bytes += record.payload.len();
            self.next = record.offset + 1;
            records.push(record);
        }
    }

    /// The next record that is due. Errors come only when the caller holds no records that an
    /// error would take away from it.
    fn poll(
        &mut self,
        consumer: &Arc<BaseConsumer<Group>>,
        place: &Place,
        wait: Duration,
        first: bool,
    ) -> Result<Next, LogError> {
        let record = match self.queue.poll(wait) {
            None => {
                // After a whole wait without a word there is nothing now, or nobody answers.
                self.at_end = true;
                return Ok(Next::Nothing);
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {
                self.at_end = true;
                self.answered = true;
                return Ok(Next::Nothing);
            }
            Some(Err(error)) => {
                // The position is kept, and the client goes on by itself when it can.
                tracing::debug!(partition = %name(place), %error, "fetch failed");
                return if first {
                    Err(refused("read", &name(place), &error))
                } else {
                    Ok(Next::Nothing)
                };
            }
            Some(Ok(message)) => Record {
                offset: u64::try_from(message.offset()).unwrap_or(0),
                payload: message
                    .payload()
                    .map_or_else(Bytes::new, Bytes::copy_from_slice),
            },
        };
        self.at_end = false;
        self.answered = true;
        if record.offset == self.next {
            return Ok(Next::Record(record));
        }
        self.misplaced(consumer, place, record, first)
    }

    /// Judges a record that is not the one that is due.
    fn misplaced(
        &mut self,
        consumer: &Arc<BaseConsumer<Group>>,
        place: &Place,
        record: Record,
        first: bool,
    ) -> Result<Next, LogError> {
        if !first {
            // The caller gets what it has; the same question comes again at the next read.
            seek(consumer, place, self.next)?;
            return Ok(Next::Nothing);
        }
        let ends = watermarks(consumer, &place.0, place.1, POSITION_TIMEOUT)?;
        if self.next < ends.first {
            return Err(trimmed(place, self.next, ends.first));
        }
        if record.offset < self.next {
            return Err(not_the_same_log(place, self.next, ends.next));
        }
        if self.hole == Some(record.offset) {
            // Fetched twice with the same result: the offsets between were never records (a
            // transaction's marks) or were compacted away.
            tracing::warn!(partition = %name(place), from = self.next, to = record.offset, "offsets without records");
            return Ok(Next::Record(record));
        }
        self.hole = Some(record.offset);
        seek(consumer, place, self.next)?;
        Ok(Next::Nothing)
    }
}

/// Moves the client's position. False while the client is still taking up the partition.
fn seek(consumer: &Arc<BaseConsumer<Group>>, place: &Place, to: u64) -> Result<bool, LogError> {
    let moved = consumer
        .seek_partitions(list(place, to)?, POSITION_TIMEOUT)
        .map_err(|error| refused("position", &name(place), &error))?;
    for element in moved.elements() {
        match element.error() {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.rdkafka_error_code(),
                    Some(
                        RDKafkaErrorCode::State
                            | RDKafkaErrorCode::PreviousInProgress
                            | RDKafkaErrorCode::UnknownPartition
                    )
                ) =>
            {
                tracing::debug!(partition = %name(place), %error, "not ready to be positioned");
                return Ok(false);
            }
            Err(error) => return Err(refused("position", &name(place), &error)),
        }
    }
    Ok(true)
}

fn list(place: &Place, offset: u64) -> Result<TopicPartitionList, LogError> {
    let mut list = TopicPartitionList::with_capacity(1);
    let offset = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
    list.add_partition_offset(&place.0, place.1, offset)
        .map_err(|error| refused("position", &name(place), &error))?;
    Ok(list)
}

fn name(place: &Place) -> String {
    format!("{}/{}", place.0, place.1)
}

fn trimmed(place: &Place, from: u64, first_available: u64) -> LogError {
    let source_id = SourceId::Kafka {
        topic: place.0.clone(),
        partition: place.1,
    };
    LogError::Trimmed {
        source_id,
        from,
        first_available,
    }
}

fn gone(place: &Place) -> LogError {
    LogError::Kafka {
        op: "read",
        target: name(place),
        reason: "the partition is no longer assigned to this sink".to_owned(),
        retryable: true,
    }
}

/// The partition ends before what has been read of it.
fn not_the_same_log(place: &Place, from: u64, next: u64) -> LogError {
    LogError::Kafka {
        op: "read",
        target: name(place),
        reason: format!(
            "offset {from} was asked for and the partition ends at {next}: the topic was created \
             anew, or kafka.brokers names another cluster; restore the topic, or start with a \
             fresh data directory"
        ),
        // A leader that has just come back may still be catching up.
        retryable: true,
    }
}
