//! The log thread's hold on the spool: blocks of requests and events, group commit, and an exact
//! account of what is durable. When the disk fails everything is kept and tried again; what the
//! backlog has no room for meanwhile is counted by the recording thread.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use driftline_eventlog::spool::{SpoolProducer, SpoolWriter};
use driftline_eventlog::{LogError, LogWriter as _};
use driftline_schemas::{
    BlockHeader, Body, Component, EncodeError, Event, EventName, Request, RequestBatch, encode,
};

use super::backlog::{Backlog, Work};
use super::{Batch, RecorderError, TAPE_OPERATIONS};
use crate::clock::RunClock;
use crate::operation::{NEVER_NS, Operation};

/// What is appended becomes durable, all at once, this often.
pub const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How long a disk that failed is left alone.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How often a failing disk is tried again at the end.
const LAST_TRIES: u32 = 3;
/// What failed, in events.
const SUBJECT: &str = "spool";

/// What the log thread counts, for others to read.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Operations that a power loss would leave.
    pub(super) durable: AtomicU64,
    /// Bytes appended, envelopes included.
    pub(super) bytes: AtomicU64,
    pub(super) cpu_ns: AtomicU64,
    /// Operations that no block can hold: a mistake in the generator.
    pub(super) refused: AtomicU64,
    /// How often the disk began to fail.
    pub(super) failures: AtomicU64,
}

/// What a log is made of.
#[derive(Debug)]
pub(super) struct LogParts {
    pub(super) producer: SpoolProducer,
    pub(super) requests: SpoolWriter,
    pub(super) events: SpoolWriter,
    pub(super) host: String,
    pub(super) run: String,
    pub(super) endpoints: Vec<String>,
    pub(super) errors: Vec<String>,
    pub(super) clock: RunClock,
    pub(super) tally: Arc<Tally>,
}

/// The writing ends of a run's streams.
#[derive(Debug)]
pub(super) struct Log {
    /// Holds the producer's lock.
    _producer: SpoolProducer,
    requests: SpoolWriter,
    events: SpoolWriter,
    host: String,
    clock: RunClock,
    tally: Arc<Tally>,
    /// The dictionaries; rows are swapped in and out.
    block: RequestBatch,
    /// Rows of each worker that are in no block yet.
    rows: BTreeMap<u32, Vec<Request>>,
    /// Blocks that are not durable yet, with their rows.
    undurable: VecDeque<(u64, u64)>,
    untold: Vec<Event>,
    has_failed: bool,
}

/// Why something is not in the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Log {
    pub(super) fn new(parts: LogParts) -> Self {
        Self {
            _producer: parts.producer,
            requests: parts.requests,
            events: parts.events,
            host: parts.host,
            clock: parts.clock,
            tally: parts.tally,
            block: RequestBatch {
                run: parts.run,
                worker: 0,
                endpoints: parts.endpoints,
                errors: parts.errors,
                requests: Vec::new(),
            },
            rows: BTreeMap::new(),
            undurable: VecDeque::new(),
            untold: Vec::new(),
            has_failed: false,
        }
    }

    /// Appends and syncs until the backlog is closed and empty. At the end everything is durable,
    /// or the disk has failed to the last; the account tells which.
    pub(super) fn run(&mut self, backlog: &Backlog) {
        let mut synced = Instant::now();
        let mut tries_left = LAST_TRIES;
        loop {
            let due = (synced + SYNC_EVERY).saturating_duration_since(Instant::now());
            let is_due = due.is_zero() || self.has_failed;
            let outcome = if is_due {
                synced = Instant::now();
                self.sync()
            } else {
                match backlog.next(due) {
                    Work::Batch(batch) => self.take(batch),
                    Work::Events(events) => {
                        self.untold.extend(events);
                        Ok(())
                    }
                    Work::Nothing => Ok(()),
                    Work::Done => match self.sync() {
                        Ok(()) => break,
                        failed => failed,
                    },
                }
            };
            self.judge(outcome);
            self.note_cpu();
            if self.has_failed {
                if backlog.is_closed() {
                    tries_left -= 1;
                    if tries_left == 0 {
                        break;
                    }
                    std::thread::sleep(RETRY_AFTER / 4);
                } else {
                    backlog.pause(RETRY_AFTER);
                }
            }
        }
        self.note_cpu();
    }

    /// Makes everything durable, what was handed over in the last second included.
    pub(super) fn sync(&mut self) -> Result<(), WriteError> {
        let workers: Vec<u32> = self.rows.keys().copied().collect();
        for worker in workers {
            self.append_rows(worker)?;
        }
        self.append_events()?;
        self.requests.sync()?;
        self.settle();
        self.events.sync()?;
        Ok(())
    }

    /// Appends these events, makes them durable, and ends both streams.
    pub(super) fn end(&mut self, events: Vec<Event>) -> Result<(), RecorderError> {
        self.untold.extend(events);
        self.append_events()?;
        self.requests.close()?;
        self.settle();
        self.events.close()?;
        Ok(())
    }

    /// Appends one event and makes it durable at once.
    pub(super) fn tell_now(&mut self, event: Event) -> Result<(), RecorderError> {
        self.untold.push(event);
        self.append_events()?;
        self.events.sync()?;
        Ok(())
    }

    fn take(&mut self, batch: Batch) -> Result<(), WriteError> {
        let clock = self.clock;
        let rows = self.rows.entry(batch.worker).or_default();
        rows.extend(batch.operations.iter().map(|one| request(&clock, one)));
        if rows.len() >= TAPE_OPERATIONS {
            self.append_rows(batch.worker)?;
        }
        Ok(())
    }

    /// Appends what a worker has handed over, in as many blocks as it takes. On an error the rest
    /// stays where it is.
    fn append_rows(&mut self, worker: u32) -> Result<(), WriteError> {
        while let Some(rows) = self.rows.get_mut(&worker).filter(|rows| !rows.is_empty()) {
            // They come in the order in which they ended. By their intended times they take a byte
            // less each in the log, which is worth the 35 ns.
            rows.sort_by_cached_key(|row| row.intended_us);
            self.block.worker = worker;
            std::mem::swap(&mut self.block.requests, rows);
            let appended = self.append_block();
            let rows = self.rows.entry(worker).or_default();
            std::mem::swap(&mut self.block.requests, rows);
            match appended {
                Ok(count) => drop(rows.drain(..count)),
                // Only a mistake in the generator comes here, and trying again would not mend it.
                Err(WriteError::Encode(error)) => {
                    tracing::error!(%error, worker, operations = rows.len(), "operations cannot be recorded");
                    self.tally
                        .refused
                        .fetch_add(rows.len() as u64, Ordering::Relaxed);
                    rows.clear();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Appends the first rows of the block as one block; says how many they were.
    fn append_block(&mut self) -> Result<usize, WriteError> {
        let seq = self.requests.next_seq();
        let header = BlockHeader {
            stream: self.requests.stream().clone(),
            seq,
            host: self.host.clone(),
        };
        let mut body = Body::Requests(std::mem::take(&mut self.block));
        let mut beyond = Vec::new();
        let encoded = loop {
            match encode(&header, &body) {
                Err(EncodeError::TooLarge { .. }) if body.rows() > 1 => {
                    let Body::Requests(batch) = &mut body else {
                        unreachable!("the body was made of requests")
                    };
                    let mut half = batch.requests.split_off(batch.requests.len() / 2);
                    half.append(&mut beyond);
                    beyond = half;
                }
                encoded => break encoded,
            }
        };
        let count = body.rows();
        if let Body::Requests(mut batch) = body {
            batch.requests.append(&mut beyond);
            self.block = batch;
        }
        let payload = encoded?;
        self.requests.append(seq, &payload)?;
        self.undurable.push_back((seq, count as u64));
        self.tally
            .bytes
            .fetch_add(payload.len() as u64, Ordering::Relaxed);
        // A long wait for room may have synced on the way.
        self.settle();
        Ok(count)
    }

    fn append_events(&mut self) -> Result<(), WriteError> {
        while !self.untold.is_empty() {
            let mut events = std::mem::take(&mut self.untold);
            let mut beyond = Vec::new();
            let outcome = loop {
                match self.append_event_block(&mut events) {
                    Err(WriteError::Encode(EncodeError::TooLarge { .. })) if events.len() > 1 => {
                        let mut half = events.split_off(events.len() / 2);
                        half.append(&mut beyond);
                        beyond = half;
                    }
                    outcome => break outcome,
                }
            };
            events.append(&mut beyond);
            self.untold = events;
            match outcome {
                Err(WriteError::Encode(error)) => {
                    let event = self.untold.remove(0);
                    tracing::error!(%error, event = %event.name, subject = %event.subject, "an event cannot be recorded");
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Appends events as one block; they are gone then, and here still after an error.
    fn append_event_block(&mut self, events: &mut Vec<Event>) -> Result<(), WriteError> {
        let seq = self.events.next_seq();
        let header = BlockHeader {
            stream: self.events.stream().clone(),
            seq,
            host: self.host.clone(),
        };
        let body = Body::Events(std::mem::take(events));
        let outcome = encode(&header, &body)
            .map_err(WriteError::from)
            .and_then(|payload| Ok(self.events.append(seq, &payload)?));
        if let (Err(_), Body::Events(taken)) = (&outcome, body) {
            *events = taken;
        }
        outcome
    }

    /// Counts the blocks that have become durable.
    fn settle(&mut self) {
        let durable = self.requests.durable_seq();
        while let Some((seq, rows)) = self.undurable.front().copied()
            && seq < durable
        {
            self.tally.durable.fetch_add(rows, Ordering::Relaxed);
            self.undurable.pop_front();
        }
    }

    /// Tells when the disk begins to fail and when it works again.
    fn judge(&mut self, outcome: Result<(), WriteError>) {
        self.settle();
        let (name, message) = match (outcome, self.has_failed) {
            (Ok(()), false) | (Err(_), true) => return,
            (Err(error), false) => {
                self.tally.failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "the log cannot be written; operations are kept in memory meanwhile");
                (EventName::ComponentFailed, error.to_string())
            }
            (Ok(()), true) => {
                let message = "the log can be written again".to_owned();
                (EventName::ComponentRecovered, message)
            }
        };
        self.has_failed = !self.has_failed;
        let event = Event {
            ts_us: self.clock.unix_us(self.clock.now_ns()),
            name,
            component: Component::Driftline,
            subject: SUBJECT.to_owned(),
            message,
            attributes: vec![("run".to_owned(), self.block.run.clone())],
        };
        self.untold.push(event);
    }

    fn note_cpu(&self) {
        self.tally
            .cpu_ns
            .store(super::thread_cpu_ns(), Ordering::Relaxed);
    }
}

/// An operation as it is stored: times after the intended *microsecond*, so that the part of the
/// intended time below a microsecond is in each of them and nothing is lost.
pub(super) fn request(clock: &RunClock, operation: &Operation) -> Request {
    let base_ns = operation.intended_ns / 1_000 * 1_000;
    let after = |ns: u64| {
        if ns == NEVER_NS {
            return -1;
        }
        // A first byte before the intended time would be a mistake of the generator.
        i64::try_from(ns.saturating_sub(base_ns)).unwrap_or(i64::MAX)
    };
    Request {
        endpoint: operation.endpoint,
        intended_us: clock.unix_us(operation.intended_ns),
        sent_ns: after(operation.sent_ns),
        first_byte_ns: after(operation.first_byte_ns),
        done_ns: after(operation.done_ns),
        status: u32::from(operation.status),
        bytes: operation.bytes,
        error: operation.failure.map_or(0, |failure| failure as u32),
    }
}
