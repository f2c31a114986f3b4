//! What is pushed comes back from the spool, exactly; and what a disk makes impossible is counted,
//! exactly.

mod gate;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::{Duration, Instant};

use driftline_eventlog::LogReader as _;
use driftline_eventlog::disk::sim::{Faults, SimDisk};
use driftline_eventlog::disk::{Disk, RealDisk};
use driftline_eventlog::spool::{OnFull, SpoolConfig, SpoolReader};
use driftline_schemas::{Body, Component, Envelope, Event, EventName, Kind, Request};
use proptest::prelude::*;

use self::gate::Gated;
use super::log::request;
use super::*;
use crate::clock::RunClock;
use crate::operation::{Failure, NEVER_NS};
use crate::run::testing;

/// Nothing here takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(30);

fn clock() -> RunClock {
    RunClock::new(Instant::now(), 1_700_000_000_000_000)
}

fn spool() -> SpoolConfig {
    SpoolConfig {
        on_full: OnFull::Refuse,
        ..SpoolConfig::default()
    }
}

fn recorder(disk: Arc<dyn Disk>, log: &Path, spool: SpoolConfig) -> Recorder {
    let parts = RecorderParts {
        disk,
        log: log.to_owned(),
        spool,
        run: "exact-1".to_owned(),
        process: 0,
        host: "here".to_owned(),
        scenario: Arc::new(testing::scenario(&["home", "search"], &[60])),
    };
    Recorder::open(parts, clock()).expect("the log can be opened")
}

/// The `at`-th operation of a worker: all fields differ from those of its neighbours.
fn operation(worker: u64, at: u64) -> Operation {
    let intended_ns = at * 40_123 + worker;
    let is_lost = at.is_multiple_of(97);
    let never = |ns| if is_lost { NEVER_NS } else { ns };
    Operation {
        endpoint: (at % 2) as u32,
        status: if is_lost { 0 } else { 200 },
        failure: is_lost.then_some(Failure::ALL[(at % 21) as usize]),
        intended_ns,
        sent_ns: never(intended_ns + 7_001),
        first_byte_ns: never(intended_ns + 80_000 + at % 1_000),
        done_ns: intended_ns + 90_000 + at % 10_000,
        bytes: at % 3_000,
    }
}

/// Blocks of every stream of a kind, by worker where they are of requests.
fn read(disk: Arc<dyn Disk>, log: &Path) -> (BTreeMap<u32, Vec<Request>>, Vec<Event>) {
    let mut reader = SpoolReader::read_only(disk, log);
    let (mut requests, mut events) = (BTreeMap::<u32, Vec<Request>>::new(), Vec::new());
    for kind in [Kind::Requests, Kind::Events] {
        for source in reader.sources(kind).expect("the log can be listed") {
            let mut next = 0;
            loop {
                let records = reader.read(&source, next, 1 << 20).expect("it can be read");
                let Some(last) = records.last() else { break };
                next = last.offset + 1;
                for record in &records {
                    let envelope = Envelope::parse(&record.payload).expect("a whole block");
                    match envelope.decode().expect("a whole body") {
                        Body::Requests(batch) => {
                            assert_eq!(batch.run, "exact-1");
                            assert_eq!(batch.endpoints, ["home", "search"]);
                            assert_eq!(batch.errors[3], "refused");
                            requests
                                .entry(batch.worker)
                                .or_default()
                                .extend(batch.requests);
                        }
                        Body::Events(more) => events.extend(more),
                        Body::Samples(_) => panic!("nobody wrote samples"),
                    }
                }
            }
        }
    }
    (requests, events)
}

fn rows(disk: Arc<dyn Disk>, log: &Path) -> u64 {
    let (requests, _) = read(disk, log);
    requests.values().map(|rows| rows.len() as u64).sum()
}

#[test]
fn a_hundred_thousand_operations_come_back_exactly() {
    let directory = tempfile::tempdir().expect("a directory");
    let recording = recorder(Arc::new(RealDisk), directory.path(), spool())
        .start(clock(), None)
        .expect("it starts");
    let counts = [50_000_u64, 30_000, 20_000];
    let workers: Vec<_> = (0..3)
        .map(|worker: u32| {
            let (queue, lost) = (recording.queue(), recording.lost_by_workers());
            let pushed = counts[worker as usize];
            thread::spawn(move || {
                let tape = Tape::new(worker, queue, lost);
                for at in 0..pushed {
                    tape.push(operation(u64::from(worker), at));
                }
                tape.flush();
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("it pushed all");
    }
    let recorded = recording.finish();
    assert_eq!(recorded.counts.offered, 100_000);
    assert_eq!(recorded.counts.durable, 100_000);
    assert_eq!(recorded.counts.lost, 0);
    let all = recorded.statistics.select(None, None);
    assert_eq!(all.operations(), 100_000);
    recorded.end(Vec::new()).expect("it ends");
    let (requests, events) = read(Arc::new(RealDisk), directory.path());
    let clock = clock();
    for (worker, pushed) in counts.into_iter().enumerate() {
        let expected: Vec<_> = (0..pushed)
            .map(|at| request(&clock, &operation(worker as u64, at)))
            .collect();
        let found = &requests[&(worker as u32)];
        assert!(*found == expected, "worker {worker}: rows differ");
    }
    assert_eq!(events, []);
}

#[test]
fn a_disk_that_blocks_delays_no_worker_and_what_is_lost_is_counted() {
    let directory = tempfile::tempdir().expect("a directory");
    let gated = Arc::new(Gated::default());
    let recording = recorder(gated.clone(), directory.path(), spool())
        .with_backlog(20_000)
        .start(clock(), None)
        .expect("it starts");
    gated.shut();
    let tape = Tape::new(0, recording.queue(), recording.lost_by_workers());
    let pushed = 3_000_000_u64;
    for at in 0..pushed {
        tape.push(operation(0, at));
    }
    tape.flush();
    drop(tape);
    assert!(recording.counts().lost > 0, "the backlog is far too small");
    gated.open();
    let recorded = recording.finish();
    let counts = recorded.counts.clone();
    assert_eq!(counts.offered, pushed);
    assert!(counts.lost > 0);
    recorded.end(Vec::new()).expect("it ends");
    assert_eq!(
        rows(Arc::new(RealDisk), directory.path()),
        pushed - counts.lost
    );
}

#[test]
fn the_end_does_not_wait_for_ever() {
    let directory = tempfile::tempdir().expect("a directory");
    let gated = Arc::new(Gated::default());
    let recording = recorder(gated.clone(), directory.path(), spool())
        .start(clock(), None)
        .expect("it starts");
    gated.shut();
    let tape = Tape::new(0, recording.queue(), recording.lost_by_workers());
    for at in 0..10 {
        tape.push(operation(0, at));
    }
    tape.flush();
    drop(tape);
    let recorded = recording.finish_within(Duration::from_millis(300));
    assert_eq!((recorded.counts.offered, recorded.counts.lost), (10, 10));
    assert!(matches!(
        recorded.end(Vec::new()),
        Err(RecorderError::Blocked)
    ));
    gated.open();
}

#[test]
fn a_full_log_loses_exactly_what_it_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = SpoolConfig {
        segment_bytes: 32 << 10,
        budget_bytes: 128 << 10,
        max_unsynced_bytes: 16 << 10,
        ..spool()
    };
    let recording = recorder(Arc::new(RealDisk), directory.path(), config)
        .with_backlog(50_000)
        .start(clock(), None)
        .expect("it starts");
    let tape = Tape::new(0, recording.queue(), recording.lost_by_workers());
    for at in 0..200_000 {
        tape.push(operation(0, at));
    }
    tape.flush();
    drop(tape);
    let recorded = recording.finish();
    let counts = recorded.counts.clone();
    assert_eq!(counts.offered, 200_000);
    assert!(counts.lost > 0, "{counts:?}");
    assert!(counts.durable > 0, "{counts:?}");
    assert!(counts.disk_failures > 0);
    drop(recorded);
    assert_eq!(rows(Arc::new(RealDisk), directory.path()), counts.durable);
}

#[test]
fn a_disk_that_fails_for_a_while_loses_nothing_and_is_told() {
    let disk = SimDisk::new(3);
    let log = Path::new("/log");
    let recording = recorder(Arc::new(disk.clone()), log, spool())
        .start(clock(), None)
        .expect("it starts");
    disk.set_faults(Faults {
        sync_error_per_mille: 1_000,
        write_error_per_mille: 1_000,
        ..Faults::default()
    });
    let tape = Tape::new(0, recording.queue(), recording.lost_by_workers());
    for at in 0..20_000 {
        tape.push(operation(0, at));
    }
    tape.flush();
    let began = Instant::now();
    while recording.counts().disk_failures == 0 {
        assert!(began.elapsed() < PATIENCE, "the failure was not seen");
        thread::yield_now();
    }
    disk.set_faults(Faults::default());
    while recording.counts().durable < 20_000 {
        assert!(
            began.elapsed() < PATIENCE,
            "the disk works and is not tried"
        );
        thread::yield_now();
    }
    drop(tape);
    let recorded = recording.finish();
    assert_eq!(recorded.counts.lost, 0);
    recorded.end(Vec::new()).expect("it ends");
    let (requests, events) = read(Arc::new(disk), log);
    assert_eq!(requests[&0].len(), 20_000);
    let names: Vec<_> = events.into_iter().map(|event| event.name).collect();
    assert_eq!(
        names,
        [EventName::ComponentFailed, EventName::ComponentRecovered]
    );
}

#[test]
fn an_endpoint_beyond_the_dictionary_costs_its_block_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let recording = recorder(Arc::new(RealDisk), directory.path(), spool())
        .start(clock(), None)
        .expect("it starts");
    let lost = Arc::new(AtomicU64::new(0));
    let (bad, good) = (
        Tape::new(0, recording.queue(), Arc::clone(&lost)),
        Tape::new(1, recording.queue(), lost),
    );
    bad.push(Operation {
        endpoint: 9,
        ..operation(0, 1)
    });
    good.push(operation(1, 1));
    bad.flush();
    good.flush();
    let recorded = recording.finish();
    assert_eq!((recorded.counts.lost, recorded.counts.durable), (1, 1));
    recorded.end(Vec::new()).expect("it ends");
}

#[test]
fn events_go_first_and_last() {
    let directory = tempfile::tempdir().expect("a directory");
    let event = |name| Event {
        ts_us: 5,
        name,
        component: Component::Driftline,
        subject: "exact-1".to_owned(),
        message: "told".to_owned(),
        attributes: vec![("text".to_owned(), "x".repeat(100_000))],
    };
    let recording = recorder(Arc::new(RealDisk), directory.path(), spool())
        .start(clock(), Some(event(EventName::RunStarted)))
        .expect("it starts");
    // Durable before anything else happens.
    assert_eq!(read(Arc::new(RealDisk), directory.path()).1.len(), 1);
    assert!(recording.tell(event(EventName::WorkerLost)));
    let recorded = recording.finish();
    recorded
        .end(vec![event(EventName::RunFinished)])
        .expect("it ends");
    let (_, events) = read(Arc::new(RealDisk), directory.path());
    let names: Vec<_> = events.into_iter().map(|event| event.name).collect();
    assert_eq!(
        names,
        [
            EventName::RunStarted,
            EventName::WorkerLost,
            EventName::RunFinished
        ]
    );
}

proptest! {
    #[test]
    fn stored_times_are_exact_to_the_nanosecond(
        intended_ns in 0..u64::MAX / 4,
        sent in prop::option::of(0..1_u64 << 40),
        first_byte in prop::option::of(0..1_u64 << 40),
        done in 0..1_u64 << 40,
    ) {
        let clock = clock();
        let at = |after: Option<u64>| after.map_or(NEVER_NS, |after| intended_ns + after);
        let operation = Operation {
            intended_ns,
            sent_ns: at(sent),
            first_byte_ns: at(first_byte),
            done_ns: intended_ns + done,
            ..operation(0, 1)
        };
        let row = request(&clock, &operation);
        let base_ns = u64::try_from(row.intended_us - clock.origin_us()).expect("not before") * 1_000;
        let back = |ns: i64| u64::try_from(ns).map_or(NEVER_NS, |ns| base_ns + ns);
        prop_assert_eq!(back(row.sent_ns), operation.sent_ns);
        prop_assert_eq!(back(row.first_byte_ns), operation.first_byte_ns);
        prop_assert_eq!(back(row.done_ns), operation.done_ns);
    }
}
