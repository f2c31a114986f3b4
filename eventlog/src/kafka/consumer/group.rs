//! What the client calls back: partitions that come and go, commits that failed, lost brokers.
//!
//! A partition that comes is paused at once. Positioning it is left to the reader.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use crate::kafka::health::Health;

/// Topic and partition.
pub(super) type Place = (String, i32);
/// Counts assignments, so that a partition that left and came back is not taken for the same.
pub(super) type Term = u64;

/// The state that the client's callbacks share with the reader.
pub(crate) struct Group {
    health: Health,
    assignment: Mutex<Assignment>,
}

#[derive(Default)]
struct Assignment {
    places: BTreeMap<Place, Term>,
    terms: Term,
}

impl Group {
    pub(super) fn new(health: Health) -> Self {
        Self {
            health,
            assignment: Mutex::default(),
        }
    }

    /// The partitions of this member now.
    pub(super) fn assigned(&self) -> BTreeMap<Place, Term> {
        self.assignment().places.clone()
    }

    fn assignment(&self) -> MutexGuard<'_, Assignment> {
        self.assignment
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn come(
        &self,
        consumer: &BaseConsumer<Self>,
        list: &mut TopicPartitionList,
    ) -> KafkaResult<()> {
        // An offset has to be named, or the client would ask for the group's; it is replaced by the
        // first read, and until then the partition rests.
        list.set_all_offsets(Offset::Offset(0))?;
        consumer.assign(list)?;
        consumer.pause(list)?;
        let mut assignment = self.assignment();
        for element in list.elements() {
            assignment.terms += 1;
            let term = assignment.terms;
            assignment
                .places
                .insert((element.topic().to_owned(), element.partition()), term);
        }
        Ok(())
    }

    /// The group takes all partitions back before it shares them out anew.
    fn go(&self, consumer: &BaseConsumer<Self>) -> KafkaResult<()> {
        self.assignment().places.clear();
        consumer.unassign()
    }
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.health.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.health.judge(&error, reason);
    }
}

impl ConsumerContext for Group {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let result = match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.come(consumer, list),
            _ => self.go(consumer),
        };
        match result {
            Ok(()) => tracing::info!(
                partitions = list.count(),
                now = self.assignment().places.len(),
                change = ?what,
                "the group has shared out partitions anew"
            ),
            Err(error) => self
                .health
                .failed(&format!("cannot take up or give up partitions: {error}")),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            // Nothing rests on these offsets.
            tracing::debug!(%error, "group offset not committed");
        }
    }
}
