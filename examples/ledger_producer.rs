//! A producer that keeps its own books, for the recovery tests: before a block goes to the spool,
//! its stream, sequence and checksum go to a ledger; after each sync, how far it is durable.
//!
//!     ledger_producer DATA_DIR LEDGER PRODUCER SEED [BLOCKS]
//!
//! It runs until it is killed, or until BLOCKS blocks are durable. `DRIFTLINE_ABORT_AT` makes it die
//! at a named step. With `DRIFTLINE_KAFKA_BROKERS` it ships its spool as a collector does.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use driftline_eventlog::LogWriter as _;
use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::kafka::{KafkaConfig, KafkaShipper, create_topics};
use driftline_eventlog::spool::{Clock, SpoolConfig, SpoolProducer, SpoolReader};
use driftline_schemas::{
    BlockHeader, Body, Incarnation, Kind, Labels, MetricRef, ProducerId, SampleBatch, Series,
    encode,
};
use driftline_sink::{Step, Steps};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    ensure!(
        args.len() >= 4,
        "usage: ledger_producer DATA_DIR LEDGER PRODUCER SEED [BLOCKS]"
    );
    let (data, ledger) = (Path::new(&args[0]), Path::new(&args[1]));
    let id = ProducerId::new(&args[2])?;
    let mut random = Random(args[3].parse().context("SEED")?);
    let blocks: Option<u64> = args
        .get(4)
        .map(|text| text.parse())
        .transpose()
        .context("BLOCKS")?;
    let steps: Steps = match std::env::var("DRIFTLINE_ABORT_AT") {
        Ok(plan) => plan.parse()?,
        Err(_) => Steps::default(),
    };

    let incarnation =
        Incarnation::from_u128(u128::from(random.next()) << 64 | u128::from(random.next()));
    // Small segments, so that rotation and trimming happen within a test.
    let config = SpoolConfig {
        segment_bytes: 64 << 10,
        trim_lag_s: 0,
        ..SpoolConfig::default()
    };
    let spool = SpoolProducer::open(
        Arc::new(RealDisk),
        &data.join("log"),
        id.clone(),
        incarnation,
        config,
    )?;
    let shipper = match std::env::var("DRIFTLINE_KAFKA_BROKERS") {
        Ok(brokers) => Some(start_shipper(brokers, data, &id)?),
        Err(_) => None,
    };
    let mut writer = spool.writer(Kind::Samples)?;
    let stream = writer.stream().clone();
    let mut books = OpenOptions::new().create(true).append(true).open(ledger)?;
    let series: Vec<Series> = (0..8)
        .map(|at| Series {
            metric: MetricRef::Known(1),
            labels: Labels::new(&[("at", &at.to_string())]),
        })
        .collect();

    let mut shipped = 0;
    while blocks.is_none_or(|blocks| writer.next_seq() < blocks) {
        for _ in 0..1 + random.next() % 8 {
            let seq = writer.next_seq();
            let ts = 1_750_000_000_000_000 + seq as i64 * 1_000;
            let rows = (0..1 + random.next() % 64)
                .map(|at| {
                    (
                        series[at as usize % series.len()].clone(),
                        ts,
                        (random.next() % 100_000) as f64,
                    )
                })
                .collect::<Vec<_>>();
            let sum: u64 = rows
                .iter()
                .map(|(_, ts, value)| row_checksum(*ts, *value))
                .fold(0, u64::wrapping_add);
            let header = BlockHeader {
                stream: stream.clone(),
                seq,
                host: "h".to_owned(),
            };
            let count = rows.len();
            let payload = encode(&header, &Body::Samples(SampleBatch::from_rows(rows)))?;
            // One write per line: a kill leaves whole lines.
            books.write_all(format!("intend {stream} {seq} {count} {sum}\n").as_bytes())?;
            writer.append(seq, &payload)?;
            steps.reached(Step::Appended);
        }
        writer.sync()?;
        books.write_all(format!("synced {stream} {}\n", writer.next_seq()).as_bytes())?;
        steps.reached(Step::Synced);
        let acknowledged = shipper.as_ref().map_or(0, |s| s.status().shipped_records);
        if acknowledged > shipped {
            shipped = acknowledged;
            steps.reached(Step::Shipped);
        }
    }
    writer.close()?;
    if let Some(shipper) = shipper {
        let left = shipper.stop(Duration::from_secs(60));
        ensure!(
            left.lag_records == 0,
            "not everything could be shipped: {left:?}"
        );
    }
    Ok(())
}

fn start_shipper(brokers: String, data: &Path, id: &ProducerId) -> anyhow::Result<KafkaShipper> {
    let config = KafkaConfig {
        partitions: 3,
        ..KafkaConfig::new(brokers)
    };
    create_topics(&config)?;
    let log = data.join("log");
    let origin = Instant::now();
    let clock: Clock = Arc::new(move || origin.elapsed());
    let spool = SpoolConfig {
        trim_lag_s: 0,
        ..SpoolConfig::default()
    };
    let reader = SpoolReader::open(Arc::new(RealDisk), &log, &spool, Arc::clone(&clock));
    Ok(KafkaShipper::start(
        config,
        reader,
        &log,
        BTreeSet::from([id.clone()]),
        clock,
    )?)
}

/// A row's share of its block's checksum; rows are added up, since their order is not kept.
fn row_checksum(ts_us: i64, value: f64) -> u64 {
    let mut x = (ts_us as u64) ^ value.to_bits().rotate_left(17);
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^ (x >> 29)
}

/// SplitMix64: seeded, so that a failing run can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
