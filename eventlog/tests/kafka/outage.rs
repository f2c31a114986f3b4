//! A broker that is killed while records are on their way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use driftline_eventlog::SourceId;
use driftline_eventlog::kafka::{KafkaConfig, ShipperStatus, create_topics};

use driftline_schemas::{Kind, topic};

use super::broker::Broker;
use super::support::{
    PATIENCE, Source, Tail, check, delete_topic, parse, ship, spool_reader, until,
};

/// Records that are made durable together.
const PORTION: u64 = 20;
/// Between two portions: a steady load, not a flood that takes minutes to read back.
const PACE: Duration = Duration::from_millis(20);

#[test]
fn a_killed_broker_costs_neither_a_record_nor_the_order() {
    let Some(broker) = Broker::start_own() else {
        return;
    };
    let mut config = KafkaConfig::new(broker.address());
    config.partitions = 4;
    assert!(
        create_topics(&config)
            .expect("created")
            .iter()
            .all(|topic| topic.created)
    );
    assert!(
        create_topics(&config)
            .expect("again")
            .iter()
            .all(|topic| !topic.created)
    );

    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log");
    let mut one = Source::new(&log, "one");
    let mut two = Source::new(&log, "two");
    let shipper = ship(&config, &log);
    let mut tail = Tail::new(&config, BTreeMap::new());
    let enough = AtomicBool::new(false);
    // Both write all the time, so that records are on their way when the broker dies.
    std::thread::scope(|scope| {
        for source in [&mut one, &mut two] {
            let enough = &enough;
            scope.spawn(move || {
                while !enough.load(Ordering::Acquire) {
                    source.write(PORTION);
                    std::thread::park_timeout(PACE);
                }
                source.close();
            });
        }
        let _end = Raise(&enough); // also when an assertion fails, or the writers never end
        let mut wait = |what: &str, so: &dyn Fn(&ShipperStatus) -> bool| {
            until(what, || {
                tail.pump();
                so(&shipper.status())
            });
        };
        wait("records arrive", &|status| status.shipped_records > 500);
        broker.kill();
        wait("the shipper notices", &|status| {
            !status.connected && status.last_error.is_some()
        });
        let lag = shipper.status().lag_records;
        wait("the spool fills", &|status| status.lag_records > lag + 500);
        broker.restart();
        wait("the shipper comes back", &|status| status.connected);
        let shipped = shipper.status().shipped_records;
        wait("it goes on", &|status| {
            status.shipped_records > shipped + 500
        });
    });

    let status = shipper.stop(PATIENCE);
    assert_eq!(
        (status.lag_records, &status.last_error),
        (0, &None),
        "{status:?}"
    );
    assert_eq!(status.shipped_records, one.written + two.written);
    let spool = spool_reader(&log);
    for source in [&one, &two] {
        let kept = spool
            .cursor(&SourceId::Spool(source.stream.clone()))
            .expect("readable");
        assert_eq!(
            kept,
            Some(source.written),
            "the cursor of {}",
            source.stream
        );
    }
    tail.finish(&config);
    assert!(tail.reader.status().connected, "{:?}", tail.reader.status());
    let duplicates = check(&tail.read, &[&one, &two]);
    println!(
        "{} records over an outage, {duplicates} of them twice",
        one.written + two.written
    );
}

/// Raises a flag when it goes.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn a_shipper_goes_on_after_its_client_has_failed_for_good() {
    let Some(broker) = Broker::start_own() else {
        return;
    };
    let mut config = KafkaConfig::new(broker.address());
    config.partitions = 2;
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log");
    let mut source = Source::new(&log, "one");
    let shipper = ship(&config, &log);
    source.write(100);
    until("records arrive", || shipper.status().shipped_records == 100);

    // Somebody deletes the topic: what is sent now is refused, not merely late.
    delete_topic(&config, topic::of(Kind::Samples));
    let mut failed = false;
    until("the shipper makes the topic anew and goes on", || {
        source.write(1);
        let status = shipper.status();
        failed |= status.last_error.is_some();
        failed && status.connected && status.last_error.is_none()
    });
    source.close();
    let status = shipper.stop(PATIENCE);
    assert_eq!(
        (status.lag_records, &status.last_error),
        (0, &None),
        "{status:?}"
    );

    // The new topic holds the rest without a hole, whatever went down with the old one.
    let mut tail = Tail::new(&config, BTreeMap::new());
    tail.finish(&config);
    let seqs: Vec<u64> = tail
        .read
        .values()
        .flatten()
        .map(|record| parse(&record.payload).1)
        .collect();
    let first = *seqs.first().expect("some");
    assert!(first <= 100 + status.shipped_records, "{first}");
    assert_eq!(seqs, (first..source.written).collect::<Vec<_>>());
}

#[test]
fn a_shipper_without_a_broker_stops_in_time_and_loses_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log");
    let mut source = Source::new(&log, "alone");
    // Port 1 is reserved and never served.
    let shipper = ship(&KafkaConfig::new("127.0.0.1:1"), &log);
    source.write(10);
    until("the shipper says so", || {
        shipper.status().last_error.is_some()
    });
    let clock = super::support::clock();
    let status = shipper.stop(Duration::from_millis(100));
    assert!(
        clock() < Duration::from_secs(10),
        "it took {:?} to stop",
        clock()
    );
    assert!(!status.connected);
    assert_eq!((status.shipped_records, status.lag_records), (0, 10));
    let kept = spool_reader(&log).cursor(&SourceId::Spool(source.stream.clone()));
    assert_eq!(kept.expect("readable"), None);
}
