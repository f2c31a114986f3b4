//! The two threads behind the queue. The recording thread takes batches from the workers and keeps
//! the live statistics; the log thread encodes, appends and syncs. They are two so that a disk that
//! blocks stops neither the statistics nor the emptying of the workers' queue.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use driftline_eventlog::LogError;
use driftline_eventlog::disk::Disk;
use driftline_eventlog::spool::{SpoolConfig, SpoolProducer};
use driftline_schemas::{Event, IdError, Incarnation, Kind, ProducerId};

use super::backlog::{BACKLOG_OPERATIONS, Backlog};
use super::log::{Log, LogParts, Tally, WriteError};
use super::{Batch, Statistics};
use crate::clock::RunClock;
use crate::operation::Failure;
use crate::scenario::Scenario;

/// Batches that may wait for the recording thread: at most 24 MiB. It is away for microseconds
/// only, so that a full queue means that the machine has no CPU left for it.
pub const QUEUE_BATCHES: usize = 128;
/// How soon the recording thread notices that it is to end.
const NOTICE_AFTER: Duration = Duration::from_millis(50);
/// How long the end waits for a disk that blocks, before what is not durable counts as lost.
const END_LIMIT: Duration = Duration::from_secs(60);

/// A recorder that cannot record.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The run's id cannot name a producer.
    #[error("the run's name cannot be used: {0}")]
    Name(#[from] IdError),
    /// The spool refuses.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A block cannot be made.
    #[error("cannot encode a block")]
    Encode(#[from] driftline_schemas::EncodeError),
    /// A thread could not be started.
    #[error("cannot start a thread of the recorder")]
    Thread(#[source] std::io::Error),
    /// The disk blocks, and the time allowed for it is over.
    #[error(
        "the log has not been written within {} seconds: check the disk under the data directory",
        END_LIMIT.as_secs()
    )]
    Blocked,
}

impl From<WriteError> for RecorderError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Encode(error) => Self::Encode(error),
            WriteError::Log(error) => Self::Log(error),
        }
    }
}

/// What a recorder is made of.
#[derive(Debug)]
pub struct RecorderParts {
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// The directory of the spool.
    pub log: PathBuf,
    /// How the spool uses its disk.
    pub spool: SpoolConfig,
    /// The run's id.
    pub run: String,
    /// The number of this process within the run.
    pub process: u32,
    /// The name of this host.
    pub host: String,
    /// What is run.
    pub scenario: Arc<Scenario>,
}

/// The streams of a run, opened, with nothing in them yet.
#[derive(Debug)]
pub struct Recorder {
    parts: LogParts,
    statistics: Statistics,
    backlog_operations: usize,
}

/// Counts of what was recorded.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecordingCounts {
    /// Operations that workers have handed over or lost.
    pub offered: u64,
    /// Operations that are durably in the log.
    pub durable: u64,
    /// Operations that are not, and at the end never will be.
    pub lost: u64,
    /// Bytes of blocks of requests.
    pub bytes: u64,
    /// CPU time of the recording and the log thread, in nanoseconds.
    pub cpu_ns: u64,
    /// How full the backlog is, from 0 to 1.
    pub backlog: f64,
    /// How often the disk began to fail.
    pub disk_failures: u64,
}

/// A recorder at work.
#[derive(Debug)]
pub struct Recording {
    queue: SyncSender<Batch>,
    lost_by_workers: Arc<AtomicU64>,
    shared: Arc<Shared>,
    ended: Receiver<Log>,
}

#[derive(Debug)]
struct Shared {
    statistics: Mutex<Statistics>,
    backlog: Backlog,
    tally: Arc<Tally>,
    taken: AtomicU64,
    beyond_backlog: AtomicU64,
    cpu_ns: AtomicU64,
    is_ending: AtomicBool,
}

/// A recorder whose requests are all written, and whose last events are still to be told.
#[derive(Debug)]
pub struct Recorded {
    /// All that was measured in this process.
    pub statistics: Statistics,
    /// The final account.
    pub counts: RecordingCounts,
    /// The log, unless the disk still blocks.
    log: Option<Log>,
}

impl Recorder {
    /// Opens the streams of a process of a run: producer `load-<run>-<process>`.
    pub fn open(parts: RecorderParts, clock: RunClock) -> Result<Self, RecorderError> {
        let name = format!("load-{}-{}", parts.run, parts.process);
        let producer = SpoolProducer::open(
            parts.disk,
            &parts.log,
            ProducerId::new(&name)?,
            Incarnation::from_u128(rand::random()),
            parts.spool,
        )?;
        let (requests, events) = (
            producer.writer(Kind::Requests)?,
            producer.writer(Kind::Events)?,
        );
        Ok(Self {
            statistics: Statistics::new(&parts.scenario),
            parts: LogParts {
                producer,
                requests,
                events,
                host: parts.host,
                run: parts.run,
                endpoints: parts.scenario.endpoints.clone(),
                errors: Failure::ALL
                    .map(|failure| failure.as_str().to_owned())
                    .to_vec(),
                clock,
                tally: Arc::default(),
            },
            backlog_operations: BACKLOG_OPERATIONS,
        })
    }

    #[cfg(test)]
    pub(super) fn with_backlog(mut self, operations: usize) -> Self {
        self.backlog_operations = operations;
        self
    }

    /// Fixes the run's beginning, makes the first event durable and starts the threads.
    pub fn start(
        mut self,
        clock: RunClock,
        first: Option<Event>,
    ) -> Result<Recording, RecorderError> {
        self.parts.clock = clock;
        let tally = Arc::clone(&self.parts.tally);
        let mut log = Log::new(self.parts);
        if let Some(event) = first {
            log.tell_now(event)?;
        }
        let shared = Arc::new(Shared {
            statistics: Mutex::new(self.statistics),
            backlog: Backlog::new(self.backlog_operations),
            tally,
            taken: AtomicU64::new(0),
            beyond_backlog: AtomicU64::new(0),
            cpu_ns: AtomicU64::new(0),
            is_ending: AtomicBool::new(false),
        });
        let (queue, batches) = sync_channel(QUEUE_BATCHES);
        let (end, ended) = sync_channel(1);
        let for_log = Arc::clone(&shared);
        let write = move || {
            log.run(&for_log.backlog);
            // Nobody waits for it any more when the end took too long.
            let _ = end.send(log);
        };
        let for_recording = Arc::clone(&shared);
        let record = move || for_recording.record(&batches);
        spawn("load-log", write)?;
        spawn("load-recorder", record)?;
        Ok(Recording {
            queue,
            lost_by_workers: Arc::default(),
            shared,
            ended,
        })
    }
}

impl Recording {
    /// The end of the queue for one worker.
    pub fn queue(&self) -> SyncSender<Batch> {
        self.queue.clone()
    }

    /// Where workers count the operations that found the queue full.
    pub fn lost_by_workers(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lost_by_workers)
    }

    /// Puts an event into the log; false if there is no room for it.
    pub fn tell(&self, event: Event) -> bool {
        self.shared.backlog.push_event(event)
    }

    /// What has been measured so far.
    pub fn statistics(&self) -> Statistics {
        self.shared.statistics().clone()
    }

    /// The account so far; lost is only what is sure to be lost.
    pub fn counts(&self) -> RecordingCounts {
        let shared = &self.shared;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let by_workers = load(&self.lost_by_workers);
        RecordingCounts {
            offered: load(&shared.taken) + by_workers,
            durable: load(&shared.tally.durable),
            lost: by_workers + load(&shared.beyond_backlog) + load(&shared.tally.refused),
            bytes: load(&shared.tally.bytes),
            cpu_ns: load(&shared.cpu_ns) + load(&shared.tally.cpu_ns),
            backlog: shared.backlog.fill(),
            disk_failures: load(&shared.tally.failures),
        }
    }

    /// Takes what the workers have handed over, makes it durable and gives the final account. Waits
    /// for the disk a minute at most.
    pub fn finish(self) -> Recorded {
        self.finish_within(END_LIMIT)
    }

    pub(super) fn finish_within(self, limit: Duration) -> Recorded {
        self.shared.is_ending.store(true, Ordering::SeqCst);
        let log = self.ended.recv_timeout(limit).ok();
        let mut counts = self.counts();
        // Whatever the reason, what is not durable now is lost: this holds however it came about.
        counts.lost = counts.offered.saturating_sub(counts.durable);
        Recorded {
            statistics: self.statistics(),
            counts,
            log,
        }
    }
}

impl Recorded {
    /// Tells the last events, makes them durable, and ends the streams.
    pub fn end(self, events: Vec<Event>) -> Result<(), RecorderError> {
        match self.log {
            Some(mut log) => log.end(events),
            None => Err(RecorderError::Blocked),
        }
    }
}

impl Shared {
    /// The recording thread: until every worker has let go of the queue, or until the end was asked
    /// for and the queue is empty.
    fn record(&self, batches: &Receiver<Batch>) {
        loop {
            match batches.recv_timeout(NOTICE_AFTER) {
                Ok(batch) => self.take(batch),
                Err(RecvTimeoutError::Timeout) if !self.is_ending.load(Ordering::SeqCst) => {}
                Err(_) => break,
            }
            self.cpu_ns.store(super::thread_cpu_ns(), Ordering::Relaxed);
        }
        self.backlog.close();
    }

    fn take(&self, batch: Batch) {
        let count = batch.operations.len() as u64;
        let mut statistics = self.statistics();
        for operation in &batch.operations {
            statistics.record(operation);
        }
        drop(statistics);
        self.taken.fetch_add(count, Ordering::Relaxed);
        if !self.backlog.push(batch) {
            self.beyond_backlog.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn statistics(&self) -> MutexGuard<'_, Statistics> {
        // Recording an operation does not panic half-way.
        self.statistics
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), RecorderError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(drop)
        .map_err(RecorderError::Thread)
}
