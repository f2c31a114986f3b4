//! One worker thread: a pinned single-threaded runtime, one timer, and nothing shared on the hot path.

mod elsewhere;
mod engine;
mod events;
mod gauges;
mod thread;
mod timer;
mod users;
mod waiting;
mod ways;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::RunClock;
use crate::recorder::{Batch, Tape};
use crate::scenario::Scenario;
use crate::stop::Stop;
use crate::target::Target;

/// An arrival that the generator starts later than this by its own fault is counted as late.
pub const LATE: Duration = Duration::from_millis(1);

/// Which part of a run a worker takes: the `index`-th of `of` equal parts. Over all workers of all
/// processes of a run the indices are distinct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// From 0.
    pub index: u32,
    /// At least 1.
    pub of: u32,
}

impl Share {
    /// This share of a whole number, so that all shares add up to it.
    pub fn split(self, whole: u32) -> u32 {
        whole / self.of + u32::from(self.index < whole % self.of)
    }
}

/// What a worker's tasks have in common. Lives on the worker's thread; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Context {
    /// What to do.
    pub scenario: Arc<Scenario>,
    /// To whom.
    pub target: Arc<Target>,
    /// How much of it.
    pub share: Share,
    /// When.
    pub clock: RunClock,
    /// Where operations go.
    pub tape: Tape,
    /// Ends the run early: no arrivals any more; what is under way has the scenario's `drain`.
    pub stop: Stop,
    /// What others may see of it.
    pub gauges: Arc<Gauges>,
}

/// A worker's state for the live view, the generator's health and the end of the run; written by
/// the worker with relaxed stores, read by the coordinator.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Virtual users that are active, or operations under way in an open model.
    pub active: AtomicI64,
    /// Open connections, HTTP and WebSocket.
    pub connections: AtomicI64,
    /// Arrivals that wait for a connection.
    pub waiting: AtomicI64,
    /// Arrivals that the schedule has called for so far.
    pub arrivals: AtomicU64,
    /// Of those, arrivals that were started too late by the generator's own fault.
    pub late: AtomicU64,
    /// The longest lateness of an arrival by the generator's own fault, in nanoseconds.
    pub lateness_max_ns: AtomicU64,
    /// Lateness in buckets of powers of two of microseconds: below 1 µs, 2, 4, …, 2^22 µs.
    pub lateness_us: [AtomicU64; 24],
    /// Requests that were sent once more within their operation, because the connection had ended
    /// before the target looked at them, or a kept one broke and sending twice does no harm.
    pub retries: AtomicU64,
    /// CPU time of the worker's thread, in nanoseconds.
    pub cpu_ns: AtomicU64,
    /// The worker has ended.
    pub ended: AtomicBool,
}

/// What a worker thread is made of.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What to do.
    pub scenario: Arc<Scenario>,
    /// To whom.
    pub target: Arc<Target>,
    /// How much of it.
    pub share: Share,
    /// When.
    pub clock: RunClock,
    /// Where operations go.
    pub queue: SyncSender<Batch>,
    /// Operations that found the queue full.
    pub lost: Arc<AtomicU64>,
    /// Ends the run early.
    pub stop: Stop,
    /// What others may see of it.
    pub gauges: Arc<Gauges>,
    /// The CPU that the thread is pinned to.
    pub cpu: Option<usize>,
}

/// A worker that could not work.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The thread or its runtime could not be made.
    #[error("cannot start a worker thread")]
    Start(#[source] io::Error),
    /// The thread could no longer wait for its connections.
    #[error("a worker cannot wait for its connections")]
    Wait(#[source] io::Error),
    /// The HTTP client could not be made.
    #[error(transparent)]
    Client(#[from] crate::tls::TlsError),
}

/// Starts a worker's thread. It ends by itself after the last stage and the drain, or after a stop
/// and the drain; every operation has gone to the queue by then.
pub fn spawn(parts: Parts) -> Result<JoinHandle<Result<(), WorkerError>>, WorkerError> {
    thread::spawn(parts)
}
