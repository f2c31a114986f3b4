//! What a broker refuses, and records that it has deleted.

use std::time::Duration;

use driftline_eventlog::kafka::{
    KafkaConfig, KafkaReader, Mechanism, Protocol, check_broker, create_topics, partition_ends,
};
use driftline_eventlog::{LogError, LogReader as _, SourceId};
use driftline_schemas::{Kind, topic};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::broker::Broker;
use super::support::{PATIENCE, assigned, until};

/// 30 days in milliseconds: more than the topics keep.
const LONG_AGO_MS: u64 = 30 * 24 * 3_600_000;

#[test]
fn refusals_name_their_cause_and_deleted_records_are_counted() {
    let Some(broker) = Broker::start_own() else {
        return;
    };
    let mut config = KafkaConfig::new(broker.address());
    config.partitions = 1;
    too_few_brokers(&config);
    create_topics(&config).expect("created");
    let report = check_broker(&config, PATIENCE).expect("it answers");
    assert_eq!(report.brokers, [broker.address()]);
    assert!(
        topic::ALL
            .iter()
            .all(|name| report.topics.get(*name) == Some(&1)),
        "{report:?}"
    );

    credentials(&broker.sasl_address());
    deleted_records(&config);
}

fn too_few_brokers(config: &KafkaConfig) {
    let config = KafkaConfig {
        replication: 3,
        ..config.clone()
    };
    let error = create_topics(&config).expect_err("one broker cannot hold three copies");
    assert!(error.to_string().contains("kafka.replication"), "{error}");
    assert!(!error.is_retryable());
}

fn credentials(address: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("password");
    std::fs::write(&file, "only-for-tests\n").expect("written");
    let mut config = KafkaConfig::new(address);
    config.security.protocol = Protocol::SaslPlaintext;
    config.security.username = Some("driftline".to_owned());
    config.security.password_file = Some(file.clone());
    let mechanisms: &[Mechanism] = if cfg!(feature = "tls") {
        &[
            Mechanism::Plain,
            Mechanism::ScramSha256,
            Mechanism::ScramSha512,
        ]
    } else {
        &[Mechanism::Plain]
    };
    for mechanism in mechanisms {
        config.security.mechanism = *mechanism;
        std::fs::write(&file, "only-for-tests\n").expect("written");
        check_broker(&config, PATIENCE).unwrap_or_else(|error| panic!("{mechanism:?}: {error}"));
        std::fs::write(&file, "s3cret-but-wrong").expect("written");
        let error = check_broker(&config, PATIENCE).expect_err("the wrong password");
        let text = error.to_string();
        assert!(
            text.contains("log in") && text.contains("kafka.security"),
            "{text}"
        );
        assert!(!text.contains("s3cret"), "{text}");
        assert!(!error.is_retryable());
    }
}

/// The broker deletes what is older than the topic keeps; a reader that comes too late has to be
/// told how much that was.
fn deleted_records(config: &KafkaConfig) {
    let mut reader = KafkaReader::open(config).expect("a reader");
    let source = assigned(&mut reader, 1).remove(0);
    assert_eq!(
        reader.read(&source, 0, 1_000).expect("nothing there yet"),
        []
    );

    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &config.brokers)
        .create()
        .expect("a producer");
    let now = i64::try_from(
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_millis(),
    )
    .expect("in range");
    let send = |count: u64, timestamp: i64| {
        for _ in 0..count {
            let record: BaseRecord<'_, str, str> = BaseRecord::to(topic::of(Kind::Samples))
                .partition(0)
                .payload("x")
                .timestamp(timestamp);
            producer
                .send(record)
                .map_err(|(error, _)| error)
                .expect("taken");
        }
        producer.flush(Duration::from_secs(30)).expect("arrived");
    };
    send(10, now - i64::try_from(LONG_AGO_MS).expect("in range"));
    until("the broker deletes the old records", || {
        let ends = partition_ends(config, Kind::Samples).expect("ends");
        (ends[0].first, ends[0].next) == (10, 10)
    });
    send(5, now);
    let ends = partition_ends(config, Kind::Samples).expect("ends");
    assert_eq!((ends[0].first, ends[0].next, ends[0].lag(0)), (10, 15, 5));

    let trimmed = |reader: &mut KafkaReader, from: u64| {
        let mut told = None;
        until("the loss is told", || {
            told = match reader.read(&source, from, 1_000) {
                Ok(records) => {
                    // What it had fetched before the deletion is whole, and no loss.
                    let offsets: Vec<u64> = records.iter().map(|record| record.offset).collect();
                    let whole: Vec<u64> = (from..).take(offsets.len()).collect();
                    assert_eq!(offsets, whole, "the loss was stepped over");
                    None
                }
                Err(LogError::Trimmed {
                    source_id,
                    from,
                    first_available,
                }) => Some((source_id, from, first_available)),
                Err(error) => panic!("{error}"),
            };
            told.is_some()
        });
        told.expect("told")
    };
    // This reader stood at 0 when the records went; a fresh one asks for them anew.
    assert_eq!(trimmed(&mut reader, 0), (source.clone(), 0, 10));
    read_rest(&mut reader, &source);
    drop(reader);
    let mut fresh = KafkaReader::open(config).expect("a reader");
    assert_eq!(assigned(&mut fresh, 1).first(), Some(&source));
    assert_eq!(trimmed(&mut fresh, 4), (source.clone(), 4, 10));
    read_rest(&mut fresh, &source);
}

fn read_rest(reader: &mut KafkaReader, source: &SourceId) {
    let mut offsets: Vec<u64> = Vec::new();
    until("the rest is read", || {
        let next = offsets.last().map_or(10, |last| last + 1);
        let records = reader.read(source, next, 1).expect("read");
        offsets.extend(records.iter().map(|record| record.offset));
        offsets.len() >= 5
    });
    assert_eq!(offsets, [10, 11, 12, 13, 14]);
}
