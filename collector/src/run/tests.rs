//! The collector as a whole, on this host and a real disk: what it leaves in the log.

use super::*;
use std::time::Duration;

use crate::config::DiscoverConfig;
use driftline_eventlog::spool::{MIN_SEGMENT_BYTES, OnFull, SpoolConfig, SpoolReader};
use driftline_schemas::{Event, EventName};

use crate::testing;

/// Ticks quickly and looks at the host alone, to be cheap.
fn config() -> Config {
    let mut config = Config {
        interval: Duration::from_millis(100),
        ..Config::default()
    };
    config.host.interval = config.interval;
    config.sync_every = Some(config.interval);
    config.process.enabled = false;
    config.cgroup.enabled = false;
    config.discover = DiscoverConfig::nothing();
    config
}

fn reader(data: &Path) -> SpoolReader {
    SpoolReader::read_only(Arc::new(RealDisk), &data.join(LOG_DIRECTORY))
}

fn events(data: &Path) -> Vec<Event> {
    testing::events(&mut reader(data))
}

fn names(events: &[Event]) -> Vec<EventName> {
    events.iter().map(|event| event.name.clone()).collect()
}

fn attribute<'a>(event: &'a Event, key: &str) -> &'a str {
    let found = event.attributes.iter().find(|pair| pair.0 == key);
    found.map(|pair| pair.1.as_str()).expect(key)
}

#[test]
fn all_that_was_recorded_is_in_the_log_with_the_life_of_its_streams() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let summary = run_ticks(&config(), directory.path(), &Stop::new(), Some(5)).expect("it runs");
    assert_eq!((summary.ticks, summary.blocks_dropped), (5, 0));
    let sequence = testing::blocks(&mut reader(directory.path()), Kind::Samples);
    let sequence: Vec<u64> = sequence.iter().map(|block| block.1).collect();
    assert_eq!(sequence, [0, 1, 2, 3, 4]);
    let batches = testing::batches(&mut reader(directory.path()));
    let rows: usize = batches.iter().map(|batch| batch.samples.len()).sum();
    assert_eq!(rows as u64, summary.samples);
    let times: Vec<i64> = batches.iter().map(|batch| batch.samples[0].ts_us).collect();
    for (batch, ts_us) in batches.iter().zip(&times) {
        assert!(
            batch.samples.iter().all(|sample| sample.ts_us == *ts_us),
            "one time per tick"
        );
    }
    assert!(
        times.iter().all(|ts_us| ts_us % 100_000 == 0),
        "ticks lie on whole intervals: {times:?}"
    );

    let events = events(directory.path());
    let told = names(&events);
    for (name, count) in [
        (EventName::StreamOpened, 2),
        (EventName::CollectorStarted, 1),
        (EventName::CollectorStopped, 1),
        (EventName::StreamClosed, 2),
    ] {
        assert_eq!(
            told.iter().filter(|told| **told == name).count(),
            count,
            "{name} in {told:?}"
        );
    }
    let closed = events
        .iter()
        .find(|e| e.name == EventName::StreamClosed)
        .expect("two of them");
    assert_eq!(attribute(closed, "next_seq"), "5");
}

#[test]
fn the_time_between_two_runs_is_a_gap() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    run_ticks(&config(), directory.path(), &Stop::new(), Some(1)).expect("it runs");
    let producer = config().producer_id(&hostname()).expect("a valid name");
    let (note, before_us) = LastTick::open(directory.path(), &producer).expect("it was noted");
    let before_us = before_us.expect("a tick was held");
    note.write(before_us - 60_000_000)
        .expect("set back by a minute");
    run_ticks(&config(), directory.path(), &Stop::new(), Some(1)).expect("it runs again");
    let events = events(directory.path());
    let gap = events
        .iter()
        .find(|event| event.name == EventName::Gap)
        .expect("a minute is missing");
    assert_eq!(attribute(gap, "reason"), "stopped");
    assert_eq!(
        attribute(gap, "from_us"),
        (before_us - 59_900_000).to_string()
    );
    let ticks: u64 = attribute(gap, "ticks").parse().expect("a count");
    assert!((600..700).contains(&ticks), "{ticks} ticks of 100 ms");
}

#[test]
fn a_request_stops_it_at_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let stop = Stop::new();
    let mut config = config();
    config.interval = Duration::from_secs(3_600);
    let asked = stop.clone();
    let thread = thread::spawn(move || {
        run(&config, directory.path(), &asked).map(|summary| (summary, directory))
    });
    stop.request();
    let (summary, directory) = thread.join().expect("no panic").expect("it ends well");
    assert!(summary.ticks <= 1, "{summary:?}");
    assert!(names(&events(directory.path())).contains(&EventName::CollectorStopped));
}

#[test]
fn a_second_collector_is_told_who_writes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let producer = config().producer_id(&hostname()).expect("a valid name");
    let log = directory.path().join(LOG_DIRECTORY);
    let (disk, incarnation) = (Arc::new(RealDisk), Incarnation::from_u128(7));
    let first = SpoolProducer::open(disk, &log, producer, incarnation, SpoolConfig::default());
    let first = first.expect("nobody else writes here");
    let error =
        run_ticks(&config(), directory.path(), &Stop::new(), Some(1)).expect_err("it is locked");
    assert!(
        error.to_string().contains("already being written"),
        "{error}"
    );
    drop(first);
    run_ticks(&config(), directory.path(), &Stop::new(), Some(1)).expect("the lock is free");
}

#[test]
fn blocks_that_the_budget_costs_are_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut config = config();
    config.spool.segment_bytes = 4 * MIN_SEGMENT_BYTES;
    config.spool.budget_bytes = 4 * config.spool.segment_bytes;
    let summary = run_ticks(&config, directory.path(), &Stop::new(), Some(20)).expect("it runs on");
    assert!(summary.blocks_dropped > 0, "{summary:?}");
    let events = events(directory.path());
    let dropped = events
        .iter()
        .filter(|event| event.name == EventName::BlocksDropped);
    let blocks: u64 = dropped
        .map(|event| attribute(event, "blocks").parse::<u64>().expect("a count"))
        .sum();
    assert!(
        blocks > 0 && blocks <= summary.blocks_dropped,
        "{blocks} of {summary:?} told"
    );
}

#[test]
fn a_log_that_stays_full_is_an_error_in_the_end() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut config = config();
    config.queue_blocks = 3;
    config.spool.segment_bytes = 4 * MIN_SEGMENT_BYTES;
    config.spool.budget_bytes = 4 * config.spool.segment_bytes;
    config.spool.on_full = OnFull::Refuse;
    let error =
        run_ticks(&config, directory.path(), &Stop::new(), Some(20)).expect_err("nobody reads");
    let CollectorError::Unwritten { blocks, .. } = &error else {
        panic!("{error}")
    };
    assert!((1..=3).contains(blocks), "{blocks} blocks waited in memory");
}
