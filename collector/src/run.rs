//! The collector as a role: from the configuration to open streams, the tick, and an orderly end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use driftline_eventlog::LogError;
use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::spool::{SpoolProducer, SpoolWriter};
use driftline_schemas::{EncodeError, Event, Incarnation, Kind, ProducerId};

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
    let opened = Opened::open(config, data_dir, &hostname)?;
    let now = clock::now();
    let interval_us = micros(config.interval);
    let schedule = Schedule::aligned(now, config.interval);
    let facts = HostFacts::read(&hostname, &config.host.proc);
    let inbox = Arc::new(Inbox::new(config.queue_blocks));
    inbox.push_events(opened.beginnings(now.wall_us, schedule.next_us(), interval_us, &facts));

    let tally = Arc::new(Tally::default());
    let shipped = opened.producer_id.clone();
    let writer = Writer::new(Parts {
        producer: opened.producer,
        samples: opened.samples,
        events: opened.events,
        inbox: Arc::clone(&inbox),
        tally: Arc::clone(&tally),
        host: hostname,
        last_tick: opened.last_tick,
        sync_every: config.sync_every(),
        interval_us,
        retry_after: RETRY_AFTER,
    });
    let writing = thread::Builder::new()
        .name("collector-writer".to_owned())
        .spawn(move || writer.run())
        .map_err(CollectorError::Thread)?;
    let shipping = ship::start(config, &data_dir.join(LOG_DIRECTORY), shipped)?;
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

/// What a run writes to.
struct Opened {
    producer_id: ProducerId,
    incarnation: Incarnation,
    producer: SpoolProducer,
    samples: SpoolWriter,
    events: SpoolWriter,
    last_tick: LastTick,
    /// The last tick of the run before, in microseconds since 1970 UTC.
    before_us: Option<i64>,
}

impl Opened {
    fn open(config: &Config, data_dir: &Path, hostname: &str) -> Result<Self, CollectorError> {
        let producer_id = config.producer_id(hostname)?;
        let incarnation = Incarnation::from_u128(rand::random());
        let producer = SpoolProducer::open(
            Arc::new(RealDisk),
            &data_dir.join(LOG_DIRECTORY),
            producer_id.clone(),
            incarnation,
            config.spool.clone(),
        )?;
        let (last_tick, before_us) = LastTick::open(data_dir, &producer_id)
            .map_err(|(path, source)| CollectorError::LastTick { path, source })?;
        let samples = producer.writer(Kind::Samples)?;
        let events = producer.writer(Kind::Events)?;
        Ok(Self {
            producer_id,
            incarnation,
            producer,
            samples,
            events,
            last_tick,
            before_us,
        })
    }

    /// What is told at the start: what was repaired, the streams, the run, and for how long none ran
    /// before the tick that comes.
    fn beginnings(
        &self,
        now_us: i64,
        next_us: i64,
        interval_us: i64,
        facts: &HostFacts,
    ) -> Vec<Event> {
        let repairs = self.producer.repairs().iter();
        let mut told: Vec<Event> = repairs
            .filter_map(|repair| notices::repaired(now_us, repair))
            .collect();
        let streams = [self.samples.stream(), self.events.stream()];
        told.extend(streams.map(|stream| notices::stream_opened(now_us, stream)));
        told.push(notices::started(
            now_us,
            &self.producer_id,
            self.incarnation,
            interval_us,
            facts,
        ));
        let gap = self.before_us.and_then(|before_us| {
            let from_us = before_us + interval_us;
            missed_between(Reason::Stopped, from_us, next_us, interval_us)
        });
        told.extend(gap.map(|missed| notices::gap(now_us, &missed, "")));
        told
    }
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
