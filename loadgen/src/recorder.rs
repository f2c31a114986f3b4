//! From worker threads into the log: each thread fills a [`Tape`]; a recording thread of its own
//! keeps the live statistics, and a log thread encodes blocks, appends them to the spool and syncs. A
//! slow disk never delays a send: what finds the recording thread's queue full is counted, exactly,
//! and the run becomes recording-limited.

mod backlog;
mod log;
mod measurement;
mod recording;
mod statistics;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};

use rustix::time::{ClockId, clock_gettime};

use crate::operation::Operation;

pub use backlog::{BACKLOG_EVENTS, BACKLOG_OPERATIONS};
pub use log::SYNC_EVERY;
pub use measurement::{Measurement, Times};
pub use recording::{
    QUEUE_BATCHES, Recorded, Recorder, RecorderError, RecorderParts, Recording, RecordingCounts,
};
pub use statistics::{Statistics, StatisticsError};

/// Operations that travel to the recording thread together.
pub const TAPE_OPERATIONS: usize = 4_096;

/// What a worker thread hands to the recording thread.
#[derive(Debug)]
pub struct Batch {
    /// The worker's number within the run.
    pub worker: u32,
    /// Its operations, in the order in which they ended.
    pub operations: Vec<Operation>,
}

/// A worker thread's end: cheap to clone within the thread, never blocks.
#[derive(Debug, Clone)]
pub struct Tape(Rc<RefCell<Inner>>);

#[derive(Debug)]
struct Inner {
    worker: u32,
    buffer: Vec<Operation>,
    queue: SyncSender<Batch>,
    lost: Arc<AtomicU64>,
}

impl Tape {
    /// A tape of one worker; `lost` counts the operations that found the queue full.
    pub fn new(worker: u32, queue: SyncSender<Batch>, lost: Arc<AtomicU64>) -> Self {
        let buffer = Vec::with_capacity(TAPE_OPERATIONS);
        Self(Rc::new(RefCell::new(Inner {
            worker,
            buffer,
            queue,
            lost,
        })))
    }

    /// Takes one operation.
    pub fn push(&self, operation: Operation) {
        let mut inner = self.0.borrow_mut();
        inner.buffer.push(operation);
        if inner.buffer.len() >= TAPE_OPERATIONS {
            inner.flush();
        }
    }

    /// Hands over what there is; called at least every 100 ms and at the end.
    pub fn flush(&self) {
        self.0.borrow_mut().flush();
    }
}

impl Inner {
    fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let operations = std::mem::replace(&mut self.buffer, Vec::with_capacity(TAPE_OPERATIONS));
        let count = operations.len() as u64;
        match self.queue.try_send(Batch {
            worker: self.worker,
            operations,
        }) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}

/// CPU time of the calling thread, in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}
