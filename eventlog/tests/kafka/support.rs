//! What the tests against a broker share: spools to ship, a ledger to check against, waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::kafka::{
    KafkaConfig, KafkaReader, KafkaShipper, check_broker, partition_ends,
};
use driftline_eventlog::spool::{Clock, SpoolConfig, SpoolProducer, SpoolReader, SpoolWriter};
use driftline_eventlog::{LogReader as _, LogWriter as _, Record, SourceId};
use driftline_schemas::{Incarnation, Kind, ProducerId, StreamId};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

/// Longest wait for anything; a broker that starts on a busy machine takes most of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// One stream with the records that were given to it.
pub(crate) struct Source {
    producer: Option<SpoolProducer>,
    writer: Option<SpoolWriter>,
    pub(crate) stream: StreamId,
    pub(crate) written: u64,
}

impl Source {
    pub(crate) fn new(log: &Path, producer: &str) -> Self {
        let id = ProducerId::new(producer).expect("a valid name");
        let incarnation = Incarnation::from_u128(u128::from(random()));
        let config = SpoolConfig {
            segment_bytes: 1 << 18,
            ..SpoolConfig::default()
        };
        let producer = SpoolProducer::open(Arc::new(RealDisk), log, id, incarnation, config)
            .expect("the spool opens");
        let writer = producer.writer(Kind::Samples).expect("the stream opens");
        let stream = writer.stream().clone();
        Self {
            producer: Some(producer),
            writer: Some(writer),
            stream,
            written: 0,
        }
    }

    /// Appends `count` records and makes them durable.
    pub(crate) fn write(&mut self, count: u64) {
        let writer = self.writer.as_mut().expect("not closed");
        for seq in self.written..self.written + count {
            writer
                .append(seq, &payload(&self.stream, seq))
                .expect("appended");
        }
        writer.sync().expect("durable");
        self.written += count;
    }

    pub(crate) fn close(&mut self) {
        self.writer
            .take()
            .expect("not closed")
            .close()
            .expect("closed");
        self.producer = None;
    }
}

/// A record that names its stream and number; of a size that depends on the number, now and then
/// as large as the largest block.
pub(crate) fn payload(stream: &StreamId, seq: u64) -> Vec<u8> {
    let size = if seq % 997 == 996 {
        driftline_schemas::MAX_BLOCK_BYTES
    } else {
        100 + seq as usize % 900
    };
    let mut bytes = format!("{stream} {seq} ").into_bytes();
    bytes.resize(size.max(bytes.len()), b'.');
    bytes
}

pub(crate) fn parse(payload: &[u8]) -> (StreamId, u64) {
    let text = std::str::from_utf8(payload).expect("text");
    let mut words = text.split(' ');
    let stream = words
        .next()
        .and_then(|word| word.parse().ok())
        .expect("a stream");
    let seq = words
        .next()
        .and_then(|word| word.parse().ok())
        .expect("a number");
    (stream, seq)
}

/// Another number each time: the broker may be one that outlives the test.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

pub(crate) fn clock() -> Clock {
    let started = Instant::now();
    Arc::new(move || started.elapsed())
}

pub(crate) fn spool_reader(log: &Path) -> SpoolReader {
    SpoolReader::open(Arc::new(RealDisk), log, &SpoolConfig::default(), clock())
}

pub(crate) fn ship(config: &KafkaConfig, log: &Path) -> KafkaShipper {
    KafkaShipper::start(
        config.clone(),
        spool_reader(log),
        log,
        BTreeSet::new(),
        clock(),
    )
    .expect("the shipper starts")
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(
            started.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// The sources of a reader, as soon as it has as many as expected.
pub(crate) fn assigned(reader: &mut KafkaReader, count: usize) -> Vec<SourceId> {
    let mut sources = Vec::new();
    until(&format!("{count} partitions are assigned"), || {
        sources = reader.sources(Kind::Samples).expect("sources");
        sources.len() == count
    });
    sources
}

/// A reader with what it has read so far, from every partition.
pub(crate) struct Tail {
    pub(crate) reader: KafkaReader,
    next: BTreeMap<i32, u64>,
    pub(crate) read: BTreeMap<SourceId, Vec<Record>>,
}

impl Tail {
    /// Reads from the given offsets on, and from 0 in partitions that are not among them.
    pub(crate) fn new(config: &KafkaConfig, from: BTreeMap<i32, u64>) -> Self {
        Self {
            reader: KafkaReader::open(config).expect("a reader"),
            next: from,
            read: BTreeMap::new(),
        }
    }

    /// Reads a portion of each partition. The broker may be away.
    pub(crate) fn pump(&mut self) {
        for source in self.reader.sources(Kind::Samples).expect("sources") {
            let SourceId::Kafka { partition, .. } = source else {
                panic!("not kafka: {source}")
            };
            let next = self.next.entry(partition).or_default();
            match self.reader.read(&source, *next, 300_000) {
                Ok(records) => {
                    for record in records {
                        assert_eq!(record.offset, *next, "{source}: offsets follow one another");
                        *next += 1;
                        self.read.entry(source.clone()).or_default().push(record);
                    }
                }
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        }
    }

    /// Reads to where the partitions end now.
    pub(crate) fn finish(&mut self, config: &KafkaConfig) {
        let ends = partition_ends(config, Kind::Samples).expect("the broker answers");
        until("all partitions are read to their ends", || {
            self.pump();
            ends.iter().all(|ends| {
                let next = self.next.get(&ends.partition).copied();
                next.unwrap_or(0) >= ends.next
            })
        });
    }
}

/// Checks the records of the given streams: each in one partition, in order, nothing missing,
/// duplicates only at or below what was there before. Returns the number of duplicates.
pub(crate) fn check(read: &BTreeMap<SourceId, Vec<Record>>, sources: &[&Source]) -> usize {
    let mut next: BTreeMap<StreamId, (SourceId, u64)> = BTreeMap::new();
    let mut duplicates = 0;
    for (source, records) in read {
        for record in records {
            let (stream, seq) = parse(&record.payload);
            if !sources.iter().any(|known| known.stream == stream) {
                continue; // another run's, when the broker is not ours
            }
            assert!(
                record.payload == payload(&stream, seq),
                "{stream} {seq} has other bytes"
            );
            let (home, due) = next.entry(stream.clone()).or_insert((source.clone(), 0));
            assert_eq!(home, source, "{stream} is in two partitions");
            assert!(seq <= *due, "{stream}: {seq} came when {due} was due");
            if seq == *due {
                *due += 1;
            } else {
                duplicates += 1;
            }
        }
    }
    for source in sources {
        let arrived = next.get(&source.stream).map(|(_, due)| *due);
        assert_eq!(
            arrived,
            Some(source.written),
            "{} is not complete",
            source.stream
        );
    }
    duplicates
}

/// Deletes a topic and waits until it is gone.
pub(crate) fn delete_topic(config: &KafkaConfig, name: &str) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &config.brokers)
        .create()
        .expect("an admin client");
    // The request is on its way when the future has been made; that the topic is gone is seen in
    // the list of topics.
    let request = admin.delete_topics(&[name], &AdminOptions::new());
    until("the topic is gone", || {
        !check_broker(config, PATIENCE)
            .expect("it answers")
            .topics
            .contains_key(name)
    });
    drop(request);
}
