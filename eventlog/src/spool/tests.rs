//! The spool as its users see it, on the real file system and on a failing one. Random histories
//! are left to `tests/simulation`.

mod damage;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use driftline_schemas::{Incarnation, Kind, ProducerId, StreamId};

use super::*;
use crate::disk::sim::{Faults, Restart, SimDisk};
use crate::disk::{Disk, RealDisk};
use crate::{LogError, LogReader, LogWriter, SourceId};

const LOG: &str = "/log";

fn small() -> SpoolConfig {
    SpoolConfig {
        segment_bytes: 1024,
        budget_bytes: 8192,
        reserve_bytes: 512,
        ..SpoolConfig::default()
    }
}

fn producer(
    disk: &Arc<dyn Disk>,
    log_dir: &Path,
    incarnation: u128,
    config: &SpoolConfig,
) -> Result<SpoolProducer, LogError> {
    let name = ProducerId::new("p").expect("a valid name");
    let incarnation = Incarnation::from_u128(incarnation);
    SpoolProducer::open(disk.clone(), log_dir, name, incarnation, config.clone())
}

fn source(writer: &SpoolWriter) -> SourceId {
    SourceId::Spool(writer.stream().clone())
}

/// Appends records of 100 bytes, each filled with its own number, from `from` to `to`.
fn fill(writer: &mut SpoolWriter, from: u64, to: u64) -> Result<(), LogError> {
    for seq in from..to {
        writer.append(seq, &[seq as u8; 100])?;
    }
    writer.sync()
}

/// Reads everything from `from` on, a few records at a time, and checks it.
fn drain(reader: &mut SpoolReader, source: &SourceId, from: u64) -> Result<u64, LogError> {
    let mut next = from;
    loop {
        let records = reader.read(source, next, 250)?;
        if records.is_empty() {
            return Ok(next);
        }
        for record in records {
            assert_eq!(record.offset, next);
            assert_eq!(record.payload.as_ref(), [next as u8; 100]);
            next += 1;
        }
    }
}

/// A clock that stands until it is moved.
fn clock() -> (Arc<AtomicU64>, Clock) {
    let seconds = Arc::new(AtomicU64::new(0));
    let read = seconds.clone();
    (
        seconds,
        Arc::new(move || Duration::from_secs(read.load(Ordering::Relaxed))),
    )
}

fn sim(seed: u64) -> (SimDisk, Arc<dyn Disk>) {
    let sim = SimDisk::new(seed);
    (sim.clone(), Arc::new(sim))
}

#[test]
fn records_are_read_back_across_segments_once_they_are_synced() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let log_dir = directory.path().join("deep").join("log");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let config = SpoolConfig {
        budget_bytes: 1 << 20,
        ..small()
    };
    let producer = producer(&disk, &log_dir, 1, &config).expect("open");
    let mut writer = producer.writer(Kind::Samples).expect("a writer");
    let mut reader = SpoolReader::read_only(disk.clone(), &log_dir);
    let source = source(&writer);

    writer.append(0, &[0; 100]).expect("append");
    assert_eq!(
        drain(&mut reader, &source, 0).expect("read"),
        0,
        "not synced, not seen"
    );
    fill(&mut writer, 1, 50).expect("fill");
    assert_eq!(
        reader.sources(Kind::Samples).expect("list"),
        std::slice::from_ref(&source)
    );
    assert!(reader.sources(Kind::Events).expect("list").is_empty());
    assert_eq!(drain(&mut reader, &source, 0).expect("read"), 50);
    assert_eq!(
        drain(&mut reader, &source, 37).expect("read from the middle"),
        50
    );
    assert_eq!(reader.position(&source).expect("position"), 50);
    assert_eq!(reader.closed(&source).expect("closed"), None);
    fill(&mut writer, 50, 60).expect("fill");
    assert_eq!(drain(&mut reader, &source, 50).expect("read on"), 60);
    assert_eq!(writer.close().expect("close"), 60);
    assert_eq!(reader.closed(&source).expect("closed"), Some(60));
    assert!(matches!(
        writer.append(60, b"late"),
        Err(LogError::Closed { .. })
    ));
    let refused = reader.committed(&source, 60);
    assert!(matches!(refused, Err(LogError::Unsupported { .. })));
}

#[test]
fn one_big_record_is_read_whatever_was_asked_for() {
    let (_, disk) = sim(1);
    let config = SpoolConfig {
        budget_bytes: 64 << 20,
        ..small()
    };
    let producer = producer(&disk, Path::new(LOG), 1, &config).expect("open");
    let mut writer = producer.writer(Kind::Samples).expect("a writer");
    let big = vec![7; MAX_RECORD_BYTES];
    for seq in 0..3 {
        writer.append(seq, &big).expect("append");
    }
    let error = writer
        .append(3, &vec![7; MAX_RECORD_BYTES + 1])
        .expect_err("too large");
    assert!(matches!(error, LogError::TooLarge { .. }), "{error}");
    let error = writer.append(4, b"x").expect_err("out of order");
    assert!(
        matches!(
            error,
            LogError::OutOfOrder {
                expected: 3,
                found: 4,
                ..
            }
        ),
        "{error}"
    );
    writer.sync().expect("sync");
    let mut reader = SpoolReader::read_only(disk, Path::new(LOG));
    for seq in 0..3 {
        let records = reader.read(&source(&writer), seq, 1).expect("read");
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].payload, big);
    }
}

#[test]
fn a_producer_is_locked_and_an_incarnation_is_never_continued() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let first = producer(&disk, directory.path(), 1, &small()).expect("open");
    let error = producer(&disk, directory.path(), 2, &small()).expect_err("locked");
    let LogError::Locked { pid, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*pid, Some(std::process::id()));
    assert!(error.to_string().contains("stop that process"), "{error}");

    let mut writer = first.writer(Kind::Events).expect("a writer");
    let again = first.writer(Kind::Events).expect_err("it exists");
    assert!(matches!(again, LogError::StreamExists { .. }), "{again}");
    fill(&mut writer, 0, 3).expect("fill");
    drop(first);
    producer(&disk, directory.path(), 2, &small()).expect_err("the writer holds the lock");
    drop(writer);
    let second = producer(&disk, directory.path(), 1, &small()).expect("free again");
    assert_eq!(second.repairs().len(), 1);
    let again = second.writer(Kind::Events).expect_err("same incarnation");
    assert!(matches!(again, LogError::StreamExists { .. }), "{again}");
}

#[test]
fn what_an_earlier_process_left_is_repaired_and_closed() {
    for seed in 0..100 {
        let (sim, disk) = sim(seed);
        let first = producer(&disk, Path::new(LOG), 1, &small()).expect("open");
        let mut writer = first.writer(Kind::Samples).expect("a writer");
        let mut empty = first.writer(Kind::Events).expect("another writer");
        fill(&mut writer, 0, 12).expect("fill");
        for seq in 12..15 {
            writer.append(seq, &[seq as u8; 100]).expect("append");
        }
        empty.append(0, b"never synced").expect("append");
        let source = source(&writer);
        drop((writer, empty, first));
        sim.restart(Restart::PowerLost);

        let repairs = repair_abandoned(&*disk, Path::new(LOG)).expect("repair");
        let Some(Repair {
            outcome: RepairOutcome::Closed { next_seq, .. },
            ..
        }) = repairs
            .iter()
            .find(|repair| repair.stream.kind == Kind::Samples)
        else {
            panic!("seed {seed}: {repairs:?}");
        };
        assert!((12..=15).contains(next_seq), "seed {seed}: {next_seq}");
        let mut reader = SpoolReader::read_only(disk.clone(), Path::new(LOG));
        assert_eq!(
            drain(&mut reader, &source, 0).expect("read"),
            *next_seq,
            "seed {seed}"
        );
        assert!(
            reader.sources(Kind::Events).expect("list").is_empty(),
            "the empty one is gone"
        );
        assert!(
            repair_abandoned(&*disk, Path::new(LOG))
                .expect("again")
                .is_empty()
        );
    }
}

#[test]
fn a_failed_sync_moves_the_records_to_a_new_segment() {
    for seed in 0..100 {
        let (sim, disk) = sim(seed);
        let first = producer(&disk, Path::new(LOG), 1, &small()).expect("open");
        let mut writer = first.writer(Kind::Samples).expect("a writer");
        fill(&mut writer, 0, 3).expect("fill");
        sim.set_faults(Faults {
            sync_error_per_mille: 1000,
            ..Faults::default()
        });
        let error = fill(&mut writer, 3, 5).expect_err("the disk fails twice");
        assert!(matches!(error, LogError::Io { .. }), "{error}");
        assert_eq!(writer.durable_seq(), 3);
        sim.set_faults(Faults::default());
        writer.sync().expect("nothing was forgotten");
        let source = source(&writer);
        drop((writer, first));
        sim.restart(Restart::PowerLost);
        producer(&disk, Path::new(LOG), 2, &small()).expect("open again");
        let mut reader = SpoolReader::read_only(disk, Path::new(LOG));
        assert_eq!(
            drain(&mut reader, &source, 0).expect("read"),
            5,
            "seed {seed}"
        );
    }
}

#[test]
fn a_full_budget_drops_the_oldest_and_tells() {
    let (_, disk) = sim(1);
    let producer = producer(&disk, Path::new(LOG), 1, &small()).expect("open");
    let mut writer = producer.writer(Kind::Samples).expect("a writer");
    fill(&mut writer, 0, 200).expect("fill");
    assert!(producer.used_bytes() <= small().budget_bytes);
    let dropped = producer.take_dropped();
    assert_eq!(dropped.len(), 1, "adjacent losses are one: {dropped:?}");
    assert_eq!(
        (&dropped[0].stream, dropped[0].first_seq),
        (writer.stream(), 0)
    );
    assert!(producer.take_dropped().is_empty());
    let mut reader = SpoolReader::read_only(disk, Path::new(LOG));
    let error = reader
        .read(&source(&writer), 0, 1000)
        .expect_err("it is gone");
    let LogError::Trimmed {
        first_available, ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(first_available, dropped[0].next_seq);
    assert_eq!(
        drain(&mut reader, &source(&writer), first_available).expect("read"),
        200
    );
}

#[test]
fn a_full_budget_refuses_where_nothing_may_be_lost_but_events_still_fit() {
    let (_, disk) = sim(1);
    let config = SpoolConfig {
        on_full: OnFull::Refuse,
        ..small()
    };
    let producer = producer(&disk, Path::new(LOG), 1, &config).expect("open");
    let mut writer = producer.writer(Kind::Requests).expect("a writer");
    let mut events = producer.writer(Kind::Events).expect("a writer");
    let error = fill(&mut writer, 0, 200).expect_err("it does not fit");
    assert!(
        matches!(
            error,
            LogError::Full {
                disk_full: false,
                ..
            }
        ),
        "{error}"
    );
    let taken = writer.next_seq();
    assert!(taken > 50, "{taken}");
    events
        .append(0, &[1; 100])
        .expect("the reserve is for events");
    events.close().expect("close");
    assert_eq!(writer.close().expect("close"), taken);
    let mut reader = SpoolReader::read_only(disk, Path::new(LOG));
    assert_eq!(
        drain(&mut reader, &source(&writer), 0).expect("read"),
        taken
    );
}

#[test]
fn a_full_disk_drops_the_oldest_and_the_reserve_takes_the_event() {
    let (sim, disk) = sim(1);
    let config = SpoolConfig {
        budget_bytes: 1 << 20,
        ..small()
    };
    let producer = producer(&disk, Path::new(LOG), 1, &config).expect("open");
    let mut writer = producer.writer(Kind::Samples).expect("a writer");
    sim.set_faults(Faults {
        capacity: Some(8192),
        ..Faults::default()
    });
    fill(&mut writer, 0, 200).expect("there is always something to drop");
    let dropped = producer.take_dropped();
    assert!(
        dropped.iter().all(|dropped| dropped.next_seq < 200),
        "{dropped:?}"
    );

    // Something else takes the whole disk: everything but the last segment goes, in vain.
    let mut events = producer.writer(Kind::Events).expect("a writer");
    sim.set_faults(Faults {
        capacity: Some(0),
        ..Faults::default()
    });
    let error = fill(&mut writer, 200, 210).expect_err("nothing is left to drop");
    assert!(
        matches!(
            error,
            LogError::Full {
                disk_full: true,
                ..
            }
        ),
        "{error}"
    );
    let used: u64 = sim.files().iter().map(|(_, size)| size).sum();
    sim.set_faults(Faults {
        capacity: Some(used),
        ..Faults::default()
    });
    fill(&mut events, 0, 1).expect("the reserve is for events");
}

#[test]
fn consumed_segments_are_trimmed_after_the_lag_and_closed_streams_disappear() {
    let (_, disk) = sim(1);
    let config = SpoolConfig {
        trim_lag_s: 10,
        ..small()
    };
    let producer = producer(&disk, Path::new(LOG), 1, &config).expect("open");
    let mut writer = producer.writer(Kind::Samples).expect("a writer");
    fill(&mut writer, 0, 40).expect("fill");
    let source = source(&writer);
    let (seconds, clock) = clock();
    let mut reader = SpoolReader::open(disk.clone(), Path::new(LOG), &config, clock.clone());
    assert_eq!(reader.cursor(&source).expect("cursor"), None);
    reader.committed(&source, 25).expect("commit");
    assert_eq!(reader.cursor(&source).expect("cursor"), Some(25));
    seconds.store(9, Ordering::Relaxed);
    reader.committed(&source, 40).expect("commit");
    assert_eq!(drain(&mut reader, &source, 0).expect("still there"), 40);
    seconds.store(10, Ordering::Relaxed);
    reader.sources(Kind::Samples).expect("list");
    let error = reader.read(&source, 0, 100).expect_err("trimmed");
    let LogError::Trimmed {
        first_available, ..
    } = error
    else {
        panic!("{error}")
    };
    assert!((1..=25).contains(&first_available), "{first_available}");

    assert_eq!(writer.close().expect("close"), 40);
    drop(reader);
    let mut reader = SpoolReader::open(disk, Path::new(LOG), &config, clock);
    assert_eq!(
        reader.sources(Kind::Samples).expect("list"),
        std::slice::from_ref(&source)
    );
    seconds.store(20, Ordering::Relaxed);
    reader
        .sources(Kind::Samples)
        .expect("a found cursor counts from when it was found");
    assert!(reader.sources(Kind::Samples).expect("list").is_empty());
    assert!(
        reader
            .read(&source, 40, 100)
            .expect("a vanished stream is no error")
            .is_empty()
    );
    assert!(
        reader
            .read(&source, 0, 100)
            .expect("a vanished stream is no error")
            .is_empty()
    );
}

#[test]
fn a_budget_that_cannot_work_is_refused() {
    let (_, disk) = sim(1);
    let config = SpoolConfig {
        budget_bytes: 2048,
        ..small()
    };
    let error = producer(&disk, Path::new(LOG), 1, &config).expect_err("too small");
    assert!(error.to_string().contains("spool.budget_bytes"), "{error}");
}

fn segments(sim: &SimDisk) -> Vec<(std::path::PathBuf, u64)> {
    let is_segment = |path: &Path| path.extension().is_some_and(|ending| ending == "seg");
    sim.files()
        .into_iter()
        .filter(|(path, _)| is_segment(path))
        .collect()
}

/// Used by the compiler only: readers and writers may move to other threads.
const _: fn() = || {
    fn movable<T: Send>() {}
    movable::<SpoolProducer>();
    movable::<SpoolWriter>();
    movable::<SpoolReader>();
    movable::<StreamId>();
};
