//! Facts that commands append to the log: marks, findings, jobs. They are durable when this returns,
//! and queries see them at once; the next sink brings them into the tables.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use driftline_collector::hostname;
use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::kafka::{KafkaShipper, create_topics};
use driftline_eventlog::spool::{Clock, SpoolProducer, SpoolReader};
use driftline_eventlog::{LogError, LogWriter as _};
use driftline_schemas::{BlockHeader, Body, Event, Incarnation, Kind, ProducerId, encode};

use crate::cli::Settings;
use crate::roles;

/// Events of one block.
const EVENTS_PER_BLOCK: usize = 64;
/// Bytes of texts of one block, before they are compressed; well below what a block may hold.
const BYTES_PER_BLOCK: usize = 1 << 20;
/// How long another writer of facts is waited for, which forwards to Kafka within its own time.
const HELD_WITHIN: Duration = Duration::from_secs(60);
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
    let producer = hold(settings, &log, &name)?;
    let mut writer = producer.writer(Kind::Events)?;
    for events in blocks(events) {
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

/// The same from a task, which is not held up by the disk and the broker.
pub(crate) async fn append_from_task(
    settings: &Settings,
    events: Vec<Event>,
) -> anyhow::Result<()> {
    let settings = settings.clone();
    tokio::task::spawn_blocking(move || append(&settings, &events)).await?
}

/// Who is at the keyboard, as far as the environment says.
pub(crate) fn person() -> String {
    std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned())
}

/// The producer of facts, which commands and roles share: each holds it for the moment of a write.
fn hold(settings: &Settings, log: &Path, name: &ProducerId) -> anyhow::Result<SpoolProducer> {
    let deadline = Instant::now() + HELD_WITHIN;
    loop {
        let producer = SpoolProducer::open(
            Arc::new(RealDisk),
            log,
            name.clone(),
            Incarnation::from_u128(rand::random()),
            settings.config.spool.clone(),
        );
        match producer {
            Err(LogError::Locked { .. }) if Instant::now() < deadline => {}
            producer => {
                return producer.context("another command is writing facts; try again in a moment");
            }
        }
    }
}

/// Events by the block: not too many, and not too long together.
fn blocks(events: &[Event]) -> impl Iterator<Item = &[Event]> {
    let bytes = |event: &Event| {
        let attributes = event.attributes.iter();
        let attributes = attributes.map(|(key, value)| key.len() + value.len());
        event.message.len() + attributes.sum::<usize>()
    };
    let mut rest = events;
    std::iter::from_fn(move || {
        let mut sum = 0;
        let fits = |event: &&Event| {
            sum += bytes(event);
            sum <= BYTES_PER_BLOCK
        };
        let fitting = rest.iter().take(EVENTS_PER_BLOCK).take_while(fits).count();
        // One that is too long by itself is refused where it is encoded.
        let (block, after) = rest.split_at(fitting.max(1).min(rest.len()));
        rest = after;
        (!block.is_empty()).then_some(block)
    })
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
