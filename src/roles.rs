//! The roles that write: collector and sink, each on threads of its own, as `collect`, `sink` and
//! `up` put them together.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use driftline_collector::hostname;
use driftline_eventlog::LogReader;
use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::kafka::{KafkaReader, KafkaShipper, create_topics};
use driftline_eventlog::spool::{SpoolConfig, SpoolProducer, SpoolReader, repair_abandoned};
use driftline_schemas::{Component, Event, EventName, Incarnation, Kind, ProducerId};
use driftline_sink::{Clock, Counts, Lease, LeaseError, Maintenance, Reporter, Sink, Steps};

use crate::cli::Settings;
use crate::config::Config;
use crate::exit::{Outcome, UsageError};
use crate::stopping::Stopping;

/// How long a stopping sink may take to forward its own last events.
const SHIP_GRACE: Duration = Duration::from_secs(5);

/// A role that runs on a thread.
pub(crate) type Running<T> = JoinHandle<anyhow::Result<T>>;

/// Makes sure that a data directory is there and can be written.
pub(crate) fn prepare(data: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(data)
        .with_context(|| format!("cannot create the data directory {}", data.display()))?;
    let probe = data.join(".writable");
    fs::write(&probe, b"")
        .and_then(|()| fs::remove_file(&probe))
        .with_context(|| {
            format!(
                "cannot write to the data directory {}; choose another with --data",
                data.display()
            )
        })
}

/// `driftline collect`.
pub(crate) fn collect(settings: &Settings) -> anyhow::Result<Outcome> {
    prepare(&settings.data)?;
    let stopping = Stopping::on_signals()?;
    let summary = join(start_collector(
        &settings.config,
        &settings.data,
        &stopping,
    )?)?;
    eprintln!(
        "stopped: {} ticks, {} missed, {} samples",
        summary.ticks, summary.missed, summary.samples
    );
    Ok(Outcome::Ok)
}

/// `driftline sink`; with `once`, only what the log holds now.
pub(crate) fn sink(settings: &Settings, once: bool) -> anyhow::Result<Outcome> {
    prepare(&settings.data)?;
    if once && settings.config.kafka.is_some() {
        bail!(UsageError(
            "--once is for the local log; a Kafka topic has no end".to_owned()
        ));
    }
    let stopping = Stopping::on_signals()?;
    if once {
        // A sink that is told to stop commits what there is before it does.
        stopping.stop_sink();
    }
    let sink = start_sink(&settings.config, &settings.data, &stopping)?;
    if !once {
        while !stopping.collector.wait(Duration::from_secs(3600)) {}
        stopping.stop_sink();
    }
    let counts = join(sink)?;
    eprintln!(
        "stopped: {} rows in {} commits",
        counts.rows, counts.commits
    );
    if counts.dead_letters + counts.conflicts + counts.missing > 0 {
        eprintln!(
            "{} records were set aside in {}, {} blocks were missing, {} conflicted: see the events",
            counts.dead_letters + counts.conflicts,
            settings.data.join("dead-letter").display(),
            counts.missing,
            counts.conflicts
        );
    }
    Ok(Outcome::Ok)
}

/// Commits what the local log holds now, unless another process's sink is at work: then it does.
pub(crate) fn commit_now(config: &Config, data: &Path) -> anyhow::Result<()> {
    let stopping = Stopping::default();
    // A sink that is told to stop commits what there is before it does.
    stopping.stop_sink();
    match start_sink(config, data, &stopping) {
        Ok(sink) => join(sink).map(|_| ()),
        Err(error) if matches!(error.downcast_ref(), Some(LeaseError::Held { .. })) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Forwards to Kafka what producers of a load run have left in the local log.
pub(crate) fn forward_now(
    config: &Config,
    data: &Path,
    run: &str,
    within: Duration,
) -> anyhow::Result<()> {
    let Some(kafka) = &config.kafka else {
        return Ok(());
    };
    create_topics(kafka)?;
    let log = data.join("log");
    let prefix = format!("load-{run}-");
    let mut only = BTreeSet::new();
    for entry in fs::read_dir(&log).with_context(|| format!("cannot read {}", log.display()))? {
        let name = entry?.file_name();
        if let Some(name) = name.to_str().filter(|name| name.starts_with(&prefix)) {
            only.insert(ProducerId::new(name)?);
        }
    }
    let origin = Instant::now();
    let since: driftline_eventlog::spool::Clock = Arc::new(move || origin.elapsed());
    let reader = SpoolReader::open(Arc::new(RealDisk), &log, &config.spool, Arc::clone(&since));
    let status = KafkaShipper::start(kafka.clone(), reader, &log, only, since)?.stop(within);
    if status.lag_records > 0 {
        bail!(
            "{} blocks of {run} have not reached Kafka after {} s; they stay in {} and go with the next run",
            status.lag_records,
            within.as_secs(),
            log.display()
        );
    }
    Ok(())
}

/// Collects until told to stop.
pub(crate) fn start_collector(
    config: &Config,
    data: &Path,
    stopping: &Stopping,
) -> anyhow::Result<Running<driftline_collector::Summary>> {
    let (config, data, stop) = (
        config.for_collector(),
        data.to_path_buf(),
        stopping.collector.clone(),
    );
    spawn("collector", move || {
        let result = driftline_collector::run(&config, &data, &stop);
        // Whatever made it end, the other roles must not run on without it.
        stop.request();
        Ok(result?)
    })
}

/// Reads the log into the tables, and keeps the tables in shape, until told to stop.
pub(crate) fn start_sink(
    config: &Config,
    data: &Path,
    stopping: &Stopping,
) -> anyhow::Result<Running<Counts>> {
    let (config, data, stopping) = (config.clone(), data.to_path_buf(), stopping.clone());
    let lease_name = if config.kafka.is_some() {
        "sink-kafka"
    } else {
        "sink"
    };
    let lease = Lease::take(&data, lease_name)?;
    let steps: Arc<Steps> = Arc::new(match std::env::var("DRIFTLINE_ABORT_AT") {
        Ok(plan) => plan.parse().context("DRIFTLINE_ABORT_AT")?,
        Err(_) => Steps::default(),
    });
    spawn("sink", move || {
        let _lease = lease;
        let result = run_sink(&config, &data, &stopping, steps);
        stopping.stop_sink();
        stopping.collector.request();
        result
    })
}

fn run_sink(
    config: &Config,
    data: &Path,
    stopping: &Stopping,
    steps: Arc<Steps>,
) -> anyhow::Result<Counts> {
    let runtime = sink_runtime()?;
    let clock = Clock::system();
    let log = data.join("log");
    let origin = Instant::now();
    let since: driftline_eventlog::spool::Clock = Arc::new(move || origin.elapsed());

    let producer = sink_producer()?;
    let incarnation = Incarnation::from_u128(rand::random());
    let spool = open_producer(&log, &producer, incarnation, &config.spool)?;
    for repair in repair_abandoned(&RealDisk, &log)? {
        tracing::info!(stream = %repair.stream, outcome = ?repair.outcome, "closed a stream whose producer was killed");
    }
    let events = spool.writer(Kind::Events)?;
    let stream = events.stream().clone();
    let reporter = Reporter::new(Box::new(events), stream, hostname());
    let spool_reader =
        || SpoolReader::open(Arc::new(RealDisk), &log, &config.spool, Arc::clone(&since));
    let (reader, shipper): (Box<dyn LogReader + Send>, _) = match &config.kafka {
        Some(kafka) => {
            create_topics(kafka)?;
            let only = BTreeSet::from([producer]);
            let shipper = KafkaShipper::start(
                kafka.clone(),
                spool_reader(),
                &log,
                only,
                Arc::clone(&since),
            )?;
            (Box::new(KafkaReader::open(kafka)?), Some(shipper))
        }
        None => (Box::new(spool_reader()), None),
    };
    let opening = Sink::open(
        data,
        config.sink.clone(),
        reader,
        reporter,
        clock.clone(),
        Arc::clone(&steps),
    );
    let mut sink = runtime.block_on(opening)?;
    // After the sink has made the tables: two makers of one table would be in each other's way.
    let maintenance = start_maintenance(config, data, stopping, clock.clone(), steps)?;
    let counts = runtime.block_on(async {
        sink.reporter().report(started(clock.now_us(), data))?;
        sink.run(&stopping.sink).await?;
        anyhow::Ok(sink.counts())
    });
    stopping.stop_sink();
    join(maintenance)?;
    if let Some(shipper) = shipper {
        shipper.stop(SHIP_GRACE);
    }
    counts
}

fn start_maintenance(
    config: &Config,
    data: &Path,
    stopping: &Stopping,
    clock: Clock,
    steps: Arc<Steps>,
) -> anyhow::Result<Running<()>> {
    let (data, config, stop) = (
        data.to_path_buf(),
        config.sink.clone(),
        Arc::clone(&stopping.sink),
    );
    spawn("maintenance", move || {
        sink_runtime()?.block_on(async {
            let mut maintenance = Maintenance::open(&data, config, clock, steps).await?;
            maintenance.run(&stop).await;
            anyhow::Ok(())
        })
    })
}

/// One worker thread: the Delta library waits for its own work, which a runtime on a single thread
/// could not do meanwhile.
fn sink_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?)
}

fn started(now_us: i64, data: &Path) -> Event {
    Event {
        ts_us: now_us,
        name: EventName::SinkStarted,
        component: Component::Driftline,
        subject: data.display().to_string(),
        message: format!("sink {} took its lease", env!("CARGO_PKG_VERSION")),
        attributes: vec![("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())],
    }
}

fn open_producer(
    log: &Path,
    producer: &ProducerId,
    incarnation: Incarnation,
    config: &SpoolConfig,
) -> anyhow::Result<SpoolProducer> {
    let disk = Arc::new(RealDisk);
    Ok(SpoolProducer::open(
        disk,
        log,
        producer.clone(),
        incarnation,
        config.clone(),
    )?)
}

/// The sink's own name in the log.
fn sink_producer() -> anyhow::Result<ProducerId> {
    Ok(ProducerId::new(&format!("sink-{}", host_in_names()))?)
}

/// This host's name as it may stand in a producer's.
pub(crate) fn host_in_names() -> String {
    hostname()
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(48)
        .collect()
}

/// Waits for a role; a panic in it is an error here.
pub(crate) fn join<T>(running: Running<T>) -> anyhow::Result<T> {
    let name = running.thread().name().unwrap_or("role").to_owned();
    running
        .join()
        .map_err(|_| anyhow!("the {name} panicked; its message is above"))?
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<Running<T>> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .with_context(|| format!("cannot start the {name}'s thread"))
}
