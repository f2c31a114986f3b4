//! Facts that commands append to the log: marks, findings, jobs. They are durable when this returns,
//! and queries see them at once; the next sink brings them into the tables.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use driftline_collector::hostname;
use driftline_eventlog::LogWriter as _;
use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::kafka::{KafkaShipper, create_topics};
use driftline_eventlog::spool::{Clock, SpoolProducer, SpoolReader};
use driftline_schemas::{BlockHeader, Body, Event, Incarnation, Kind, ProducerId, encode};

use crate::cli::Settings;
use crate::roles;

/// Events of one block: with the longest attributes they stay below the size of a block.
const EVENTS_PER_BLOCK: usize = 64;
/// How long forwarding to Kafka may take.
const FORWARD_WITHIN: Duration = Duration::from_secs(30);

/// Appends events, in order.
pub(crate) fn append(settings: &Settings, events: &[Event]) -> anyhow::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    roles::prepare(&settings.data)?;
    let log = settings.data.join("log");
    let name = ProducerId::new(&format!("facts-{}", roles::host_in_names()))?;
    let producer = SpoolProducer::open(
        Arc::new(RealDisk),
        &log,
        name.clone(),
        Incarnation::from_u128(rand::random()),
        settings.config.spool.clone(),
    )
    .context("another command is writing facts; try again in a moment")?;
    let mut writer = producer.writer(Kind::Events)?;
    for events in events.chunks(EVENTS_PER_BLOCK) {
        let seq = writer.next_seq();
        let header = BlockHeader {
            stream: writer.stream().clone(),
            seq,
            host: hostname(),
        };
        let payload = encode(&header, &Body::Events(events.to_vec()))?;
        writer.append(seq, &payload)?;
    }
    writer.sync()?;
    writer.close()?;
    drop((writer, producer));
    forward(settings, name)
}

fn forward(settings: &Settings, producer: ProducerId) -> anyhow::Result<()> {
    let Some(kafka) = &settings.config.kafka else {
        return Ok(());
    };
    create_topics(kafka)?;
    let log = settings.data.join("log");
    let origin = Instant::now();
    let since: Clock = Arc::new(move || origin.elapsed());
    let reader = SpoolReader::open(
        Arc::new(RealDisk),
        &log,
        &settings.config.spool,
        Arc::clone(&since),
    );
    let only = BTreeSet::from([producer]);
    let status =
        KafkaShipper::start(kafka.clone(), reader, &log, only, since)?.stop(FORWARD_WITHIN);
    if status.lag_records > 0 {
        bail!(
            "{} blocks of facts have not reached Kafka after {} s; they stay in {} and go with the next ones",
            status.lag_records,
            FORWARD_WITHIN.as_secs(),
            log.display()
        );
    }
    Ok(())
}

/// The time of day, in microseconds since 1970.
pub(crate) fn now_us() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}
