//! Sinks that share the partitions, and shippers that go on where the last one stopped.

use std::collections::BTreeMap;

use driftline_eventlog::kafka::{KafkaConfig, KafkaReader, partition_ends};
use driftline_eventlog::{LogReader as _, SourceId};
use driftline_schemas::Kind;

use super::broker::Broker;
use super::support::{PATIENCE, Source, Tail, assigned, check, random, ship, until};

#[test]
fn sinks_share_partitions_and_read_from_where_they_are_told() {
    let Some(broker) = Broker::start() else {
        return;
    };
    let mut config = KafkaConfig::new(broker.address());
    config.partitions = 4;
    // Another group each time, because the broker may be one that outlives the test.
    config.group = format!("driftline-test-{:016x}", random());
    let before = offsets(&config);

    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log");
    let mut source = Source::new(&log, "web-1");
    // The stream began when the topic had other partitions: it has to stay where it is.
    let home = log
        .join(source.stream.producer.as_str())
        .join(source.stream.incarnation.to_string())
        .join("samples/partition");
    std::fs::write(&home, "2\n").expect("written");

    // The topics are missing on a new broker: the shipper creates them.
    let shipper = ship(&config, &log);
    source.write(400);
    let first = shipper.stop(PATIENCE);
    assert_eq!(
        (first.shipped_records, first.lag_records),
        (400, 0),
        "{first:?}"
    );
    let shipper = ship(&config, &log);
    source.write(200);
    source.close();
    let second = shipper.stop(PATIENCE);
    assert_eq!(
        (second.shipped_records, second.lag_records),
        (200, 0),
        "{second:?}"
    );

    let mut tail = Tail::new(&config, before);
    tail.finish(&config);
    let Tail {
        reader: mut a,
        read,
        ..
    } = tail;
    assert_eq!(
        check(&read, &[&source]),
        0,
        "nothing failed, so nothing was sent twice"
    );
    let (place, records) = read
        .iter()
        .max_by_key(|(_, records)| records.len())
        .expect("one");
    assert!(
        matches!(place, SourceId::Kafka { partition: 2, .. }),
        "{place}"
    );

    // Any offset, forth and back, and no more bytes than asked for.
    for index in [records.len() - 1, 10, 300, 300, 301] {
        let from = records[index].offset;
        let mut again = Vec::new();
        until("the record comes again", || {
            again = a.read(place, from, 2_000).expect("read");
            !again.is_empty()
        });
        assert_eq!(again[..], records[index..index + again.len()]);
        let bytes: usize = again.iter().map(|record| record.payload.len()).sum();
        assert!(again.len() == 1 || bytes <= 2_000, "{bytes} bytes");
    }
    let end = records.last().expect("records").offset + 1;
    assert_eq!(a.read(place, end, 2_000).expect("read"), []);
    let error = a
        .read(place, end + 5, 2_000)
        .expect_err("beyond the end")
        .to_string();
    assert!(error.contains(&format!("ends at {end}")), "{error}");
    a.committed(place, end).expect("committed");

    share_with_another(&config, &mut a, place, end);
}

/// A second member gets its share, and gives it back when it leaves.
fn share_with_another(config: &KafkaConfig, a: &mut KafkaReader, place: &SourceId, end: u64) {
    let all = assigned(a, offsets(config).len());
    let mut b = KafkaReader::open(config).expect("another reader");
    until("both have partitions", || {
        let of_a = a.sources(Kind::Samples).expect("sources");
        let of_b = b.sources(Kind::Samples).expect("sources");
        let mut both = [of_a.clone(), of_b.clone()].concat();
        both.sort();
        !of_a.is_empty() && !of_b.is_empty() && both == all
    });
    let a_has_it = a.sources(Kind::Samples).expect("sources").contains(place);
    let (owner, other) = if a_has_it {
        (&mut *a, &mut b)
    } else {
        (&mut b, &mut *a)
    };
    read_one(owner, place, end - 1);
    assert_eq!(
        other.read(place, end - 1, 1).expect("not ours"),
        [],
        "read by one alone"
    );

    drop(b);
    assert_eq!(assigned(a, all.len()), all);
    read_one(a, place, end - 1);
}

fn read_one(reader: &mut KafkaReader, place: &SourceId, offset: u64) {
    until("a record comes", || {
        let records = reader.read(place, offset, 1).expect("read");
        records
            .first()
            .is_some_and(|record| record.offset == offset)
    });
}

fn offsets(config: &KafkaConfig) -> BTreeMap<i32, u64> {
    // The topic may not be there yet.
    let ends = partition_ends(config, Kind::Samples).unwrap_or_default();
    ends.into_iter()
        .map(|ends| (ends.partition, ends.next))
        .collect()
}
