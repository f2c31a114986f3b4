//! The collector as a role: from the configuration to open streams, the tick, and an orderly end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use driftline_eventlog::LogError;
use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::spool::SpoolProducer;
use driftline_schemas::{EncodeError, Incarnation, Kind};

use crate::agent::{Agent, Consumer, Output};
use crate::clock;
use crate::component::own::Writing;
use crate::config::{Config, ConfigError};
use crate::host_facts::{HostFacts, hostname};
use crate::inbox::{Inbox, TickSamples};
use crate::last_tick::LastTick;
use crate::notices;
use crate::ship;
use crate::stop::Stop;
use crate::tick::{Reason, Schedule, micros, missed_between};
use crate::writer::{Parts, RETRY_AFTER, Tally, Writer};

/// Where the spools are, below the data directory.
const LOG_DIRECTORY: &str = "log";

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Ticks held.
    pub ticks: u64,
    /// Ticks that were missed.
    pub missed: u64,
    /// Samples recorded.
    pub samples: u64,
    /// Blocks that were dropped, by the spool or from memory.
    pub blocks_dropped: u64,
}

/// Why a collector ended, other than by request.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log refused.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The note of the last tick cannot be kept.
    #[error("{path} cannot be written ({source}): make the data directory writable")]
    LastTick {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The spool could not be written up to the end.
    #[error("{blocks} blocks and the last events could not be written before the end")]
    Unwritten {
        /// Blocks of samples that are lost.
        blocks: u64,
        /// Why.
        source: LogError,
    },
    /// What was collected cannot be a block: a mistake of ours.
    #[error("what was collected cannot be encoded: please report it")]
    Encode(#[source] EncodeError),
    /// A thread cannot be started.
    #[error("the writing thread cannot be started: raise the limit of threads")]
    Thread(#[source] io::Error),
    /// The writing thread panicked: a mistake of ours.
    #[error("the writing thread panicked: please report it with the message above")]
    WriterPanicked,
}

/// Collects until a stop is requested: every interval, into the spool below `data_dir`.
///
/// It returns within about 100 ms of the request, plus what the last sync takes, and at most 3 s for
/// the requests of receivers that are under way; then all that was collected or acknowledged is durable
/// and both streams are closed.
///
/// # Errors
/// When it cannot start, and when the spool fails in a way that trying again does not mend.
pub fn run(config: &Config, data_dir: &Path, stop: &Stop) -> Result<Summary, CollectorError> {
    run_ticks(config, data_dir, stop, None)
}

/// The same for at most so many ticks.
///
/// # Errors
/// As [`run`].
pub fn run_ticks(
    config: &Config,
    data_dir: &Path,
    stop: &Stop,
    ticks: Option<u64>,
) -> Result<Summary, CollectorError> {
    config.validate()?;
    let config = &config.clone().with_state_below(data_dir);
    let hostname = config.hostname.clone().unwrap_or_else(hostname);
    let producer_id = config.producer_id(&hostname)?;
    let log_dir = data_dir.join(LOG_DIRECTORY);
    let incarnation = Incarnation::from_u128(rand::random());
    let disk = Arc::new(RealDisk);
    let producer = SpoolProducer::open(
        disk,
        &log_dir,
        producer_id.clone(),
        incarnation,
        config.spool.clone(),
    )?;
    let (last_tick, before_us) = LastTick::open(data_dir, &producer_id)
        .map_err(|(path, source)| CollectorError::LastTick { path, source })?;
    let samples = producer.writer(Kind::Samples)?;
    let events = producer.writer(Kind::Events)?;

    let now = clock::now();
    let interval_us = micros(config.interval);
    let schedule = Schedule::aligned(now, config.interval);
    let facts = HostFacts::read(&hostname, &config.host.proc);
    let inbox = Arc::new(Inbox::new(config.queue_blocks));
    inbox.push_events(
        producer
            .repairs()
            .iter()
            .filter_map(|repair| notices::repaired(now.wall_us, repair)),
    );
    inbox.push_events(
        [samples.stream(), events.stream()]
            .map(|stream| notices::stream_opened(now.wall_us, stream)),
    );
    inbox.push_events([notices::started(
        now.wall_us,
        &producer_id,
        incarnation,
        interval_us,
        &facts,
    )]);
    let expected_us = before_us.map(|before_us| before_us + interval_us);
    let gap = expected_us.and_then(|from_us| {
        missed_between(Reason::Stopped, from_us, schedule.next_us(), interval_us)
    });
    inbox.push_events(gap.map(|missed| notices::gap(now.wall_us, &missed, "")));

    let tally = Arc::new(Tally::default());
    let writer = Writer::new(Parts {
        producer,
        samples,
        events,
        inbox: Arc::clone(&inbox),
        tally: Arc::clone(&tally),
        host: hostname,
        last_tick,
        sync_every: config.sync_every(),
        interval_us,
        retry_after: RETRY_AFTER,
    });
    let writing = thread::Builder::new()
        .name("collector-writer".to_owned())
        .spawn(move || writer.run())
        .map_err(CollectorError::Thread)?;
    let shipping = ship::start(config, &log_dir, producer_id)?;
    let mut consumer = ToInbox {
        inbox: Arc::clone(&inbox),
        tally: Arc::clone(&tally),
    };
    let counts = Agent::new(config).run(schedule, ticks, stop, &mut consumer);
    inbox.push_events([notices::stopped(
        clock::now().wall_us,
        counts.ticks,
        counts.missed,
        counts.samples,
    )]);
    inbox.close();
    writing
        .join()
        .map_err(|_| CollectorError::WriterPanicked)??;
    shipping.end();
    let blocks_dropped = tally.read(&inbox).blocks_dropped;
    Ok(Summary {
        ticks: counts.ticks,
        missed: counts.missed,
        samples: counts.samples,
        blocks_dropped,
    })
}

/// Hands over to the writing thread.
struct ToInbox {
    inbox: Arc<Inbox>,
    tally: Arc<Tally>,
}

impl Consumer for ToInbox {
    fn take(&mut self, output: Output) -> bool {
        match output {
            Output::Events(events) => self.inbox.push_events(events),
            Output::Samples(ts_us, batch) => self.inbox.push_samples(TickSamples { ts_us, batch }),
        }
        !self.inbox.is_broken()
    }

    fn writing(&self) -> Option<Writing> {
        Some(self.tally.read(&self.inbox))
    }
}

#[cfg(test)]
mod tests;
