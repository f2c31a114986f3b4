//! The writer on a simulated disk that fails and recovers, step by step in one thread.

use super::*;
use std::path::Path;

use driftline_eventlog::disk::sim::{Faults, SimDisk};
use driftline_eventlog::spool::{SpoolConfig, SpoolReader};
use driftline_schemas::{
    EventName, Incarnation, Kind, Labels, MetricRef, ProducerId, Sample, Series,
};

use crate::testing::{batches, events};

const LOG: &str = "/log";

struct Bench {
    disk: SimDisk,
    writer: Writer,
    inbox: Arc<Inbox>,
    _directory: tempfile::TempDir,
}

fn bench(queue_blocks: usize) -> Bench {
    let disk = SimDisk::new(1);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let id = ProducerId::new("a").expect("valid");
    let config = SpoolConfig {
        max_unsynced_bytes: 512,
        ..SpoolConfig::default()
    };
    let (log, incarnation) = (Path::new(LOG), Incarnation::from_u128(1));
    let producer =
        SpoolProducer::open(Arc::new(disk.clone()), log, id.clone(), incarnation, config);
    let producer = producer.expect("an empty disk");
    let inbox = Arc::new(Inbox::new(queue_blocks));
    let writer = Writer::new(Parts {
        samples: producer.writer(Kind::Samples).expect("a new stream"),
        events: producer.writer(Kind::Events).expect("a new stream"),
        producer,
        inbox: Arc::clone(&inbox),
        tally: Arc::new(Tally::default()),
        host: "here".to_owned(),
        last_tick: LastTick::open(directory.path(), &id).expect("writable").0,
        sync_every: Duration::ZERO,
        interval_us: 1_000_000,
        retry_after: Duration::ZERO,
    });
    Bench {
        disk,
        writer,
        inbox,
        _directory: directory,
    }
}

/// Samples of one tick; many of them do not fit into one block.
fn samples(second: i64, count: usize) -> TickSamples {
    let ts_us = second * 1_000_000;
    let series = vec![Series {
        metric: MetricRef::Known(1),
        labels: Labels::empty(),
    }];
    let samples = (0..count)
        .map(|at| Sample {
            series: 0,
            ts_us,
            value: at as f64,
        })
        .collect();
    TickSamples {
        ts_us,
        batch: SampleBatch { series, samples },
    }
}

fn reader(disk: &SimDisk) -> SpoolReader {
    SpoolReader::read_only(Arc::new(disk.clone()), Path::new(LOG))
}

/// Ends the writer; the seconds whose samples are in the log, and the events.
fn finish(mut bench: Bench) -> (Vec<i64>, Vec<Event>) {
    bench.inbox.close();
    bench.writer.work().expect("the disk works");
    let mut reader = reader(&bench.disk);
    let second = |batch: &SampleBatch| batch.samples[0].ts_us / 1_000_000;
    (
        batches(&mut reader).iter().map(second).collect(),
        events(&mut reader),
    )
}

#[test]
fn a_disk_that_fails_for_a_while_costs_what_memory_cannot_hold_and_that_is_told() {
    let mut bench = bench(5);
    bench.inbox.push_samples(samples(1, 10));
    assert!(bench.writer.step().expect("the disk works"));
    bench.disk.set_faults(Faults {
        sync_error_per_mille: 1_000,
        ..Faults::default()
    });
    for second in 2..=40 {
        bench.inbox.push_samples(samples(second, 10));
        assert!(bench.writer.step().expect("failures are waited out"));
    }
    assert_eq!(bench.inbox.queued_samples(), 5, "memory is bounded");
    assert!(bench.writer.tally.read(&bench.inbox).blocks_dropped > 0);
    bench.disk.set_faults(Faults::default());
    while bench.inbox.queued_samples() > 0 {
        assert!(bench.writer.step().expect("the disk works again"));
    }
    let lost = bench.writer.tally.read(&bench.inbox).blocks_dropped;
    let (seconds, events) = finish(bench);
    assert_eq!(
        seconds.len() as u64 + lost,
        40,
        "every block is in the log or counted"
    );
    assert!(
        seconds.windows(2).all(|pair| pair[0] < pair[1]),
        "in order and none twice: {seconds:?}"
    );
    assert_eq!(seconds.last(), Some(&40));
    let of = |name: EventName| {
        events
            .iter()
            .filter(|event| event.name == name)
            .collect::<Vec<_>>()
    };
    assert_eq!(of(EventName::ComponentFailed).len(), 1, "told once");
    let gaps = of(EventName::Gap);
    let ticks: u64 = gaps
        .iter()
        .filter_map(|gap| gap.attributes.iter().find(|pair| pair.0 == "ticks"))
        .map(|pair| pair.1.parse::<u64>().expect("a count"))
        .sum();
    assert_eq!(ticks, lost, "{gaps:?}");
}

#[test]
fn what_does_not_fit_into_one_block_takes_several() {
    let bench = bench(5);
    let rows = driftline_schemas::MAX_ROWS_PER_BLOCK * 2 + 1;
    bench.inbox.push_samples(samples(1, rows));
    let disk = bench.disk.clone();
    finish(bench);
    let batches = batches(&mut reader(&disk));
    assert!(batches.len() >= 3, "{} blocks", batches.len());
    let values: Vec<f64> = batches
        .iter()
        .flat_map(|batch| &batch.samples)
        .map(|sample| sample.value)
        .collect();
    assert!(
        values.iter().copied().eq((0..rows).map(|at| at as f64)),
        "all of them, in order"
    );
}

#[test]
fn the_last_tick_is_noted_when_it_is_durable() {
    let mut bench = bench(5);
    let noted =
        |bench: &Bench| std::fs::read_to_string(bench.writer.last_tick.path()).expect("readable");
    bench.disk.set_faults(Faults {
        sync_error_per_mille: 1_000,
        ..Faults::default()
    });
    bench.inbox.push_samples(samples(1, 10));
    assert!(bench.writer.step().expect("failures are waited out"));
    assert_eq!(noted(&bench), "");
    bench.disk.set_faults(Faults::default());
    bench.inbox.push_samples(samples(2, 10));
    while bench.inbox.queued_samples() > 0 || noted(&bench).is_empty() {
        assert!(bench.writer.step().expect("the disk works again"));
    }
    assert_eq!(noted(&bench).trim().trim_start_matches('0'), "2000000");
}
