//! The part of a run that this process does itself: its worker threads and its recorder.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::gauges::Snapshot;
use super::host::allowed_cpus;
use crate::clock::RunClock;
use crate::recorder::{Recorded, Recording, Statistics};
use crate::scenario::Scenario;
use crate::stop::Stop;
use crate::target::Target;
use crate::worker::{Gauges, Parts, Share, WorkerError};

/// Starts a worker's thread; [`crate::worker::spawn`] but for tests.
pub type Spawn = fn(Parts) -> Result<JoinHandle<Result<(), WorkerError>>, WorkerError>;

/// How long worker threads may take to end beyond the scenario's drain.
const END_GRACE: Duration = Duration::from_secs(10);

/// What a part is made of.
#[derive(Debug)]
pub(super) struct LocalParts {
    pub(super) scenario: Arc<Scenario>,
    pub(super) target: Arc<Target>,
    pub(super) clock: RunClock,
    /// The number of the first thread within the run.
    pub(super) first: u32,
    /// Threads of this process.
    pub(super) threads: u32,
    /// Threads of all processes of the run.
    pub(super) of: u32,
    pub(super) stop: Stop,
    pub(super) spawn: Spawn,
    pub(super) recording: Recording,
}

/// Worker threads at work.
#[derive(Debug)]
pub(super) struct Local {
    workers: Vec<JoinHandle<Result<(), WorkerError>>>,
    gauges: Vec<Arc<Gauges>>,
    recording: Recording,
    stop: Stop,
    clock: RunClock,
    /// When the last stage is over, and how long answers may take then.
    stages_end: Instant,
    drain: Duration,
    stopped_at: Option<Instant>,
    failures: Vec<String>,
}

/// What a part came to.
#[derive(Debug)]
pub(super) struct LocalEnd {
    pub(super) recorded: Recorded,
    pub(super) snapshot: Snapshot,
    /// What went wrong in worker threads.
    pub(super) failures: Vec<String>,
}

impl Local {
    /// Starts the threads. Where one cannot be started, the others are told to end, and the failure
    /// is in what the part comes to.
    pub(super) fn start(parts: LocalParts) -> Self {
        let stages: Duration = parts.scenario.stages.iter().map(|one| one.duration).sum();
        let mut local = Self {
            workers: Vec::new(),
            gauges: Vec::new(),
            stop: parts.stop.clone(),
            clock: parts.clock,
            stages_end: parts.clock.instant(0) + stages,
            drain: parts.scenario.drain,
            stopped_at: None,
            failures: Vec::new(),
            recording: parts.recording,
        };
        let cpus = allowed_cpus();
        for thread in 0..parts.threads {
            let index = parts.first + thread;
            let gauges = Arc::<Gauges>::default();
            let started = (parts.spawn)(Parts {
                scenario: Arc::clone(&parts.scenario),
                target: Arc::clone(&parts.target),
                share: Share {
                    index,
                    of: parts.of,
                },
                clock: parts.clock,
                queue: local.recording.queue(),
                lost: local.recording.lost_by_workers(),
                stop: parts.stop.clone(),
                gauges: Arc::clone(&gauges),
                cpu: cpus.get(index as usize % cpus.len().max(1)).copied(),
            });
            match started {
                Ok(worker) => {
                    local.workers.push(worker);
                    local.gauges.push(gauges);
                }
                Err(error) => local.fail(format!("worker {index}: {}", with_causes(&error))),
            }
        }
        local
    }

    /// Whether all threads have ended, or have had more than the time for it.
    pub(super) fn is_ended(&mut self, now: Instant) -> bool {
        if self.stop.is_requested() && self.stopped_at.is_none() {
            self.stopped_at = Some(now);
        }
        let last_arrival = self
            .stopped_at
            .map_or(self.stages_end, |at| at.min(self.stages_end));
        self.workers.iter().all(JoinHandle::is_finished)
            || now > last_arrival + self.drain + END_GRACE
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let gauges = self.gauges.iter().map(|gauges| &**gauges);
        Snapshot::of(gauges, &self.recording.counts())
    }

    pub(super) fn statistics(&self) -> Statistics {
        self.recording.statistics()
    }

    pub(super) fn recording(&self) -> &Recording {
        &self.recording
    }

    pub(super) fn clock(&self) -> RunClock {
        self.clock
    }

    /// Collects the threads and makes what they handed over durable.
    pub(super) fn finish(mut self) -> LocalEnd {
        for (at, worker) in self.workers.into_iter().enumerate() {
            if !worker.is_finished() {
                self.failures.push(format!(
                    "worker thread {at} did not end in time; its last operations are not recorded"
                ));
                continue;
            }
            match worker.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self
                    .failures
                    .push(format!("worker thread {at}: {}", with_causes(&error))),
                Err(_) => self.failures.push(format!("worker thread {at} panicked")),
            }
        }
        let recorded = self.recording.finish();
        let gauges = self.gauges.iter().map(|gauges| &**gauges);
        LocalEnd {
            snapshot: Snapshot::of(gauges, &recorded.counts),
            recorded,
            failures: self.failures,
        }
    }

    fn fail(&mut self, failure: String) {
        self.failures.push(failure);
        self.stop.request();
    }
}

/// An error with those of its causes that its own message does not name.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        cause = error.source();
    }
    message
}
