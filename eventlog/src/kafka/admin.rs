//! Questions and orders to a cluster: is it there, create the topics, where do partitions end.
//!
//! Each function opens a client, asks, and closes it. Records are left to the shipper and the
//! reader.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use driftline_schemas::{Kind, topic};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;

use super::config::KafkaConfig;
use super::health::{Health, Refusal, Watched, code, is_retryable};
use super::{MAX_MESSAGE_BYTES, REQUEST_TIMEOUT};
use crate::LogError;

/// One try to reach a broker, so that refused credentials are noticed before the whole time is up.
const PROBE: Duration = Duration::from_millis(500);
/// Time for the client to hand over what it knows about a failed try.
const DRAIN: Duration = Duration::from_millis(10);
/// Events that are taken from a client after one try, at most.
const DRAIN_EVENTS: usize = 16;
const MS_PER_HOUR: u64 = 3_600_000;

/// A cluster that has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerReport {
    /// The brokers, as `host:port`.
    pub brokers: Vec<String>,
    /// Driftline's topics that exist, with their numbers of partitions.
    pub topics: BTreeMap<String, u32>,
}

/// What [`create_topics`] found or made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicReport {
    /// The topic's name.
    pub topic: String,
    /// True when it was created now, false when it existed.
    pub created: bool,
}

/// How far one partition reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionEnds {
    /// The partition's number.
    pub partition: i32,
    /// The lowest offset that can still be read.
    pub first: u64,
    /// The offset that the next record will get.
    pub next: u64,
}

impl PartitionEnds {
    /// Records that a consumer which has everything below `from` does not have yet.
    pub fn lag(&self, from: u64) -> u64 {
        self.next.saturating_sub(from.max(self.first))
    }
}

/// Asks the cluster who it is, for at most `timeout`.
///
/// # Errors
/// Says whether no broker answered or the credentials were refused.
pub fn check_broker(config: &KafkaConfig, timeout: Duration) -> Result<BrokerReport, LogError> {
    let client = Asker::open(config)?;
    let metadata = client.metadata(timeout)?;
    Ok(BrokerReport {
        brokers: metadata
            .brokers()
            .iter()
            .map(|b| format!("{}:{}", b.host(), b.port()))
            .collect(),
        topics: partition_counts(&metadata)
            .into_iter()
            .filter(|(name, _)| topic::ALL.contains(&name.as_str()))
            .collect(),
    })
}

/// Creates the topics that are missing; does nothing to those that exist, but says when one of
/// them takes smaller records than ours may be.
pub fn create_topics(config: &KafkaConfig) -> Result<Vec<TopicReport>, LogError> {
    // The admin client would wait in silence for a broker that is not there.
    check_broker(config, REQUEST_TIMEOUT)?;
    let health = Health::new("admin", &config.brokers);
    let client: AdminClient<Watched> = config
        .client("admin")?
        .create_with_context(Watched(health))
        .map_err(|error| refused("reach", &config.brokers, &error))?;
    let options = AdminOptions::new()
        .request_timeout(Some(REQUEST_TIMEOUT))
        .operation_timeout(Some(REQUEST_TIMEOUT));

    let bytes = MAX_MESSAGE_BYTES.to_string();
    let retention_ms = (u64::from(config.retention_hours) * MS_PER_HOUR).to_string();
    let partitions = i32::try_from(config.partitions).unwrap_or(i32::MAX);
    let topics: Vec<NewTopic<'_>> = topic::ALL
        .iter()
        .map(|name| {
            NewTopic::new(
                name,
                partitions,
                TopicReplication::Fixed(i32::from(config.replication)),
            )
            .set("max.message.bytes", &bytes)
            .set("retention.ms", &retention_ms)
            .set("cleanup.policy", "delete")
        })
        .collect();
    let results = wait(client.create_topics(&topics, &options))
        .map_err(|error| refused("create topics on", &config.brokers, &error))?;
    let reports = results
        .into_iter()
        .map(|result| match result {
            Ok(topic) => Ok(TopicReport {
                topic,
                created: true,
            }),
            Err((topic, RDKafkaErrorCode::TopicAlreadyExists)) => Ok(TopicReport {
                topic,
                created: false,
            }),
            Err((topic, code)) => Err(refused("create topic", &topic, &KafkaError::AdminOp(code))),
        })
        .collect::<Result<Vec<_>, _>>()?;
    check_record_limits(&client, &options, &reports)?;
    Ok(reports)
}

/// Where the partitions of a kind's topic begin and end now.
pub fn partition_ends(config: &KafkaConfig, kind: Kind) -> Result<Vec<PartitionEnds>, LogError> {
    let name = topic::of(kind);
    let asker = Asker::open(config)?;
    let counts = partition_counts(&asker.metadata(REQUEST_TIMEOUT)?);
    let Some(count) = counts.get(name) else {
        return Err(no_topic(name));
    };
    (0..*count)
        .filter_map(|partition| i32::try_from(partition).ok())
        .map(|partition| watermarks(&asker.client, name, partition, REQUEST_TIMEOUT))
        .collect()
}

/// Where one partition begins and ends now.
pub(crate) fn watermarks<C>(
    client: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    timeout: Duration,
) -> Result<PartitionEnds, LogError>
where
    C: rdkafka::consumer::ConsumerContext,
{
    let (first, next) = client
        .fetch_watermarks(topic, partition, timeout)
        .map_err(|error| {
            refused(
                "ask for the ends of",
                &format!("{topic}/{partition}"),
                &error,
            )
        })?;
    let offset = |raw: i64| u64::try_from(raw).unwrap_or(0);
    Ok(PartitionEnds {
        partition,
        first: offset(first),
        next: offset(next),
    })
}

/// The number of partitions of every topic that can be used now.
pub(crate) fn partition_counts(metadata: &Metadata) -> BTreeMap<String, u32> {
    metadata
        .topics()
        .iter()
        .filter(|topic| topic.error().is_none() && !topic.partitions().is_empty())
        .map(|topic| {
            (
                topic.name().to_owned(),
                u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX),
            )
        })
        .collect()
}

/// The error for a topic that is not there.
pub(crate) fn no_topic(name: &str) -> LogError {
    LogError::Kafka {
        op: "use topic",
        target: name.to_owned(),
        reason: "it does not exist; create it with `driftline topics create`".to_owned(),
        retryable: true,
    }
}

/// An error of the client, with a remedy where one is known.
pub(crate) fn refused(op: &'static str, target: &str, error: &KafkaError) -> LogError {
    let remedy = match code(error) {
        // The client reads it when it is made, and calls it by its own name.
        _ if error.to_string().contains("ssl.ca.location") => {
            "; kafka.security.ca_file has to hold certificates as PEM"
        }
        Some(RDKafkaErrorCode::InvalidReplicationFactor) => {
            "; kafka.replication exceeds the number of brokers"
        }
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed,
        ) => "; give the user of kafka.security.username the right to do it",
        _ => "",
    };
    LogError::Kafka {
        op,
        target: target.to_owned(),
        reason: format!("{error}{remedy}"),
        retryable: is_retryable(error),
    }
}

/// Says when an existing topic would refuse our largest records.
fn check_record_limits(
    client: &AdminClient<Watched>,
    options: &AdminOptions,
    reports: &[TopicReport],
) -> Result<(), LogError> {
    let existing: Vec<ResourceSpecifier<'_>> = reports
        .iter()
        .filter(|report| !report.created)
        .map(|report| ResourceSpecifier::Topic(&report.topic))
        .collect();
    if existing.is_empty() {
        return Ok(());
    }
    let resources = wait(client.describe_configs(&existing, options))
        .map_err(|error| refused("describe", "the topics", &error))?;
    for (resource, report) in resources
        .into_iter()
        .zip(reports.iter().filter(|r| !r.created))
    {
        let resource = resource
            .map_err(|code| refused("describe topic", &report.topic, &KafkaError::AdminOp(code)))?;
        let limit = resource
            .get("max.message.bytes")
            .and_then(|entry| entry.value.as_deref())
            .and_then(|value| value.parse::<usize>().ok());
        if let Some(limit) = limit.filter(|limit| *limit < MAX_MESSAGE_BYTES) {
            return Err(LogError::Kafka {
                op: "use topic",
                target: report.topic.clone(),
                reason: format!(
                    "its max.message.bytes is {limit}: raise it to at least {MAX_MESSAGE_BYTES}"
                ),
                retryable: false,
            });
        }
    }
    Ok(())
}

/// A client that belongs to no group and only asks.
pub(crate) struct Asker {
    client: BaseConsumer<Watched>,
    health: Health,
    brokers: String,
}

impl Asker {
    pub(crate) fn open(config: &KafkaConfig) -> Result<Self, LogError> {
        let health = Health::new("admin", &config.brokers);
        let client = config
            .client("admin")?
            .create_with_context(Watched(health.clone()))
            .map_err(|error| refused("reach", &config.brokers, &error))?;
        Ok(Self {
            client,
            health,
            brokers: config.brokers.clone(),
        })
    }

    /// The cluster's brokers and topics; gives up at once when the credentials are refused.
    pub(crate) fn metadata(&self, timeout: Duration) -> Result<Metadata, LogError> {
        let tries = timeout.as_millis().div_ceil(PROBE.as_millis()).max(1);
        let mut last = None;
        for _ in 0..tries {
            match self.client.fetch_metadata(None, PROBE.min(timeout)) {
                Ok(metadata) => return Ok(metadata),
                Err(error) => last = Some(error),
            }
            // The reason comes as an event of its own, which only polling brings.
            for _ in 0..DRAIN_EVENTS {
                self.client.poll(DRAIN);
            }
            if self.health.connection().refused.is_some() {
                break;
            }
        }
        Err(self.unreachable(last, timeout))
    }

    fn unreachable(&self, last: Option<KafkaError>, timeout: Duration) -> LogError {
        let connection = self.health.connection();
        let why = connection
            .last_error
            .or_else(|| last.map(|error| error.to_string()))
            .unwrap_or_else(|| "no answer".to_owned());
        let (op, reason) = match connection.refused {
            Some(Refusal::Credentials) => (
                "log in to",
                format!("{why}; check kafka.security: protocol, mechanism, username, password"),
            ),
            // It names the remedy itself.
            Some(Refusal::Certificate) => ("reach", why),
            None => (
                "reach",
                format!(
                    "{why} (tried for {} s); check kafka.brokers, that the broker runs, and \
                     kafka.security.protocol",
                    timeout.as_secs_f32().ceil()
                ),
            ),
        };
        LogError::Kafka {
            op,
            target: self.brokers.clone(),
            reason,
            retryable: connection.refused.is_none(),
        }
    }
}

/// Waits for a future of the admin client, whose own thread completes it.
fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_only_what_can_still_be_read() {
        let ends = PartitionEnds {
            partition: 0,
            first: 100,
            next: 150,
        };
        assert_eq!(
            [0, 100, 149, 150, 900].map(|from| ends.lag(from)),
            [50, 50, 1, 0, 0]
        );
    }

    #[test]
    fn a_broker_that_is_not_there_is_named_with_the_option() {
        // Port 1 is reserved and never served.
        let config = KafkaConfig::new("127.0.0.1:1");
        let error = check_broker(&config, Duration::from_secs(1)).expect_err("nobody listens");
        let text = error.to_string();
        assert!(
            text.contains("127.0.0.1:1") && text.contains("kafka.brokers"),
            "{text}"
        );
        assert!(error.is_retryable());
    }
}
