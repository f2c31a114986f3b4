//! What waits for the disk, bounded: the recording thread puts batches in without ever waiting, the
//! log thread takes them out at the disk's pace.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use driftline_schemas::Event;

use super::Batch;

/// Operations that may wait for the disk: 48 MiB of them, four seconds at 250,000 a second. What
/// does not fit is lost to the log and counted.
pub const BACKLOG_OPERATIONS: usize = 1 << 20;
/// Events that may wait for the disk.
pub const BACKLOG_EVENTS: usize = 1_024;

/// Shared by the two threads.
#[derive(Debug)]
pub(super) struct Backlog {
    state: Mutex<State>,
    changed: Condvar,
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Batch>,
    operations: usize,
    events: VecDeque<Event>,
    is_closed: bool,
}

/// What there is to do.
#[derive(Debug)]
pub(super) enum Work {
    /// Operations to append.
    Batch(Batch),
    /// Events to append.
    Events(Vec<Event>),
    /// Nothing came in the time allowed.
    Nothing,
    /// Nothing is left and nothing will come.
    Done,
}

impl Backlog {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            limit,
        }
    }

    /// Takes a batch if there is room for it; false if it is lost.
    pub(super) fn push(&self, mut batch: Batch) -> bool {
        // Tapes allocate for a full batch; at low rates most of it would wait here unused.
        batch.operations.shrink_to_fit();
        let count = batch.operations.len();
        let mut state = self.lock();
        if state.operations + count > self.limit {
            return false;
        }
        state.operations += count;
        state.batches.push_back(batch);
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Takes an event if there is room for it.
    pub(super) fn push_event(&self, event: Event) -> bool {
        let mut state = self.lock();
        if state.events.len() >= BACKLOG_EVENTS {
            return false;
        }
        state.events.push_back(event);
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// What to do next; waits up to `patience` for it.
    pub(super) fn next(&self, patience: Duration) -> Work {
        let state = self.lock();
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, patience, |state| {
                !state.is_closed && state.batches.is_empty() && state.events.is_empty()
            })
            .unwrap_or_else(PoisonError::into_inner);
        if !state.events.is_empty() {
            return Work::Events(state.events.drain(..).collect());
        }
        match state.batches.pop_front() {
            Some(batch) => {
                state.operations -= batch.operations.len();
                Work::Batch(batch)
            }
            None if state.is_closed => Work::Done,
            None => Work::Nothing,
        }
    }

    /// Waits, but not beyond the end.
    pub(super) fn pause(&self, patience: Duration) {
        let state = self.lock();
        let waited = self
            .changed
            .wait_timeout_while(state, patience, |state| !state.is_closed);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// How full it is, from 0 to 1.
    pub(super) fn fill(&self) -> f64 {
        self.lock().operations as f64 / self.limit as f64
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can leave the queue half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
