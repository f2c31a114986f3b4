//! The writing thread: encodes what the ticks yield, appends it to the spool and syncs.
//!
//! When the disk is slow or full the ticks go on; what waits is bounded by [`crate::inbox`], what
//! is lost is counted and told. Which blocks the spool drops to make room is the spool's decision.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use driftline_eventlog::spool::{SpoolProducer, SpoolWriter};
use driftline_eventlog::{LogError, LogWriter as _};
use driftline_schemas::{BlockHeader, Body, Component, EncodeError, Encoder, Event, SampleBatch};

use crate::CollectorError;
use crate::clock;
use crate::component::own::Writing;
use crate::health::Health;
use crate::inbox::{Inbox, TickSamples, Work};
use crate::last_tick::LastTick;
use crate::notices;

/// The part that fails when the spool cannot be written.
const SUBJECT: &str = "spool";
/// How long to wait before a spool that failed is tried again.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the writer counts, for the ticking thread to read.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    cpu_ns: AtomicU64,
    appended_bytes: AtomicU64,
    last_sync_ns: AtomicU64,
    blocks_dropped: AtomicU64,
}

impl Tally {
    /// The counts now, together with those of the queue.
    pub(crate) fn read(&self, inbox: &Inbox) -> Writing {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Writing {
            cpu: Duration::from_nanos(load(&self.cpu_ns)),
            appended_bytes: load(&self.appended_bytes),
            last_sync: Duration::from_nanos(load(&self.last_sync_ns)),
            blocks_dropped: load(&self.blocks_dropped) + inbox.lost_in_all(),
            blocks_queued: inbox.queued_samples() as u64,
        }
    }
}

/// The writing thread's state.
pub(crate) struct Writer {
    producer: SpoolProducer,
    samples: SpoolWriter,
    events: SpoolWriter,
    encoder: Encoder,
    inbox: Arc<Inbox>,
    tally: Arc<Tally>,
    host: String,
    last_tick: LastTick,
    sync_every: Duration,
    interval_us: i64,
    retry_after: Duration,
    health: Health,
    synced_at_ns: u64,
    /// The newest tick that was appended and not synced.
    unsynced_us: Option<i64>,
}

/// What the writer is made of.
pub(crate) struct Parts {
    pub(crate) producer: SpoolProducer,
    pub(crate) samples: SpoolWriter,
    pub(crate) events: SpoolWriter,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) host: String,
    pub(crate) last_tick: LastTick,
    pub(crate) sync_every: Duration,
    pub(crate) interval_us: i64,
    pub(crate) retry_after: Duration,
}

impl Writer {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            producer,
            samples,
            events,
            inbox,
            tally,
            host,
            last_tick,
            sync_every,
            interval_us,
            retry_after,
        } = parts;
        Self {
            producer,
            samples,
            events,
            encoder: Encoder::default(),
            inbox,
            tally,
            host,
            last_tick,
            sync_every,
            interval_us,
            retry_after,
            health: Health::default(),
            synced_at_ns: clock::mono_ns(),
            unsynced_us: None,
        }
    }

    /// Writes until the inbox is closed and empty, then ends both streams.
    pub(crate) fn run(mut self) -> Result<(), CollectorError> {
        let outcome = self.work();
        if outcome.is_err() {
            self.inbox.give_up();
        }
        outcome
    }

    fn work(&mut self) -> Result<(), CollectorError> {
        while self.step()? {}
        self.end()
    }

    /// Does the next piece of work; false when there will be no more.
    fn step(&mut self) -> Result<bool, CollectorError> {
        let outcome = match self.inbox.next() {
            Work::Done => return Ok(false),
            Work::Events(events) => self.append_events(events),
            Work::Samples(samples) => self.append_samples(samples),
        };
        let outcome = outcome.and_then(|()| self.sync_if_due());
        self.tell_dropped();
        self.tally
            .cpu_ns
            .store(duration_ns(clock::thread_cpu()), Ordering::Relaxed);
        if self.judge(outcome)? {
            self.inbox.pause(self.retry_after);
        }
        Ok(true)
    }

    /// Tells failures; passes on those that trying again cannot mend. True when it failed.
    fn judge(&mut self, outcome: Result<(), WriteError>) -> Result<bool, CollectorError> {
        let now_us = clock::now().wall_us;
        let failed = match outcome {
            Ok(()) => Ok(()),
            Err(WriteError::Encode(error)) => return Err(CollectorError::Encode(error)),
            Err(WriteError::Log(error)) if !error.is_retryable() => {
                return Err(CollectorError::Log(error));
            }
            Err(WriteError::Log(error)) if self.inbox.is_closed() => {
                let blocks = self.inbox.queued_samples() as u64;
                return Err(CollectorError::Unwritten {
                    blocks,
                    source: error,
                });
            }
            Err(WriteError::Log(error)) => Err(error.to_string()),
        };
        let is_failure = failed.is_err();
        if let Err(message) = &failed
            && !self.health.is_failed(SUBJECT)
        {
            tracing::error!(%message, "the spool cannot be written; blocks are kept in memory meanwhile");
        }
        self.inbox.push_events(
            self.health
                .observe(Component::Driftline, SUBJECT, failed, now_us),
        );
        if !is_failure && let Some(lost) = self.inbox.take_lost() {
            self.inbox
                .push_events([notices::lost(now_us, &lost, self.interval_us)]);
        }
        Ok(is_failure)
    }

    fn append_events(&mut self, events: Vec<Event>) -> Result<(), WriteError> {
        append_all(
            &mut self.events,
            &mut self.encoder,
            &self.host,
            Body::Events(events),
            &self.tally,
        )
        .map_err(|unappended| {
            let Unappended { rest, error } = *unappended;
            // Back to front, so that the first part is the first again.
            for body in rest.into_iter().rev() {
                if let Body::Events(events) = body {
                    self.inbox.put_back(Work::Events(events));
                }
            }
            error
        })
    }

    fn append_samples(&mut self, samples: TickSamples) -> Result<(), WriteError> {
        let ts_us = samples.ts_us;
        let rest = append_all(
            &mut self.samples,
            &mut self.encoder,
            &self.host,
            Body::Samples(samples.batch),
            &self.tally,
        );
        rest.map_err(|unappended| {
            let Unappended { rest, error } = *unappended;
            for body in rest.into_iter().rev() {
                if let Body::Samples(batch) = body {
                    self.inbox
                        .put_back(Work::Samples(TickSamples { ts_us, batch }));
                }
            }
            error
        })?;
        // Services yield what is a little older than the tick.
        self.unsynced_us = self.unsynced_us.max(Some(ts_us));
        Ok(())
    }

    fn sync_if_due(&mut self) -> Result<(), WriteError> {
        let since = clock::mono_ns().saturating_sub(self.synced_at_ns);
        // Appends come with the ticks, and so does the sync: half a tick of tolerance keeps its pace.
        let tolerance = Duration::from_micros(u64::try_from(self.interval_us / 2).unwrap_or(0));
        if Duration::from_nanos(since) + tolerance < self.sync_every {
            return Ok(());
        }
        self.sync()
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        let begun = clock::mono_ns();
        self.samples.sync()?;
        self.events.sync()?;
        let ended = clock::mono_ns();
        self.tally
            .last_sync_ns
            .store(ended.saturating_sub(begun), Ordering::Relaxed);
        self.synced_at_ns = begun;
        if let Some(ts_us) = self.unsynced_us.take()
            && let Err(source) = self.last_tick.write(ts_us)
        {
            let path = self.last_tick.path().display().to_string();
            tracing::warn!(%path, %source, "the last tick cannot be noted; a gap after the next start may be told too long");
        }
        Ok(())
    }

    fn tell_dropped(&mut self) {
        let now_us = clock::now().wall_us;
        for dropped in self.producer.take_dropped() {
            let blocks = dropped.next_seq.saturating_sub(dropped.first_seq);
            self.tally
                .blocks_dropped
                .fetch_add(blocks, Ordering::Relaxed);
            let stream = dropped.stream.to_string();
            let event = notices::blocks_dropped(
                now_us,
                &stream,
                dropped.first_seq,
                dropped.next_seq,
                dropped.bytes,
            );
            self.inbox.push_events([event]);
        }
    }

    /// Ends the samples, tells so in the last block of the events, and ends these.
    fn end(&mut self) -> Result<(), CollectorError> {
        let now_us = clock::now().wall_us;
        let held = self.samples.close()?;
        let last_but_one = notices::stream_closed(now_us, self.samples.stream(), held, "stopped");
        let next_seq = self.events.next_seq() + 1;
        let last = notices::stream_closed(now_us, self.events.stream(), next_seq, "stopped");
        let body = Body::Events(vec![last_but_one, last]);
        append_all(
            &mut self.events,
            &mut self.encoder,
            &self.host,
            body,
            &self.tally,
        )
        .map_err(|unappended| unappended.error)?;
        self.events.close()?;
        if let Some(ts_us) = self.unsynced_us.take() {
            self.last_tick
                .write(ts_us)
                .map_err(|source| CollectorError::LastTick {
                    path: self.last_tick.path().to_owned(),
                    source,
                })?;
        }
        Ok(())
    }
}

/// Why something was not appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Encode(EncodeError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<WriteError> for CollectorError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Encode(error) => Self::Encode(error),
            WriteError::Log(error) => Self::Log(error),
        }
    }
}

/// What is left of a body that could not be appended, in order, and why.
struct Unappended {
    rest: VecDeque<Body>,
    error: WriteError,
}

impl Unappended {
    fn new(rest: VecDeque<Body>, error: WriteError) -> Box<Self> {
        Box::new(Self { rest, error })
    }
}

/// Appends a body, in as many blocks as it takes. On an error the rest comes back, in order.
fn append_all(
    writer: &mut SpoolWriter,
    encoder: &mut Encoder,
    host: &str,
    body: Body,
    tally: &Tally,
) -> Result<(), Box<Unappended>> {
    let mut waiting = VecDeque::from([body]);
    while let Some(body) = waiting.pop_front() {
        let seq = writer.next_seq();
        let header = BlockHeader {
            stream: writer.stream().clone(),
            seq,
            host: host.to_owned(),
        };
        match encoder.encode(&header, &body) {
            Ok(payload) => {
                if let Err(error) = writer.append(seq, payload) {
                    waiting.push_front(body);
                    return Err(Unappended::new(waiting, WriteError::Log(error)));
                }
                tally
                    .appended_bytes
                    .fetch_add(payload.len() as u64, Ordering::Relaxed);
            }
            Err(error @ EncodeError::TooLarge { .. }) => match split(body) {
                Ok((first, second)) => {
                    waiting.push_front(second);
                    waiting.push_front(first);
                }
                Err(whole) => {
                    waiting.push_front(whole);
                    return Err(Unappended::new(waiting, WriteError::Encode(error)));
                }
            },
            Err(error) => {
                waiting.push_front(body);
                return Err(Unappended::new(waiting, WriteError::Encode(error)));
            }
        }
    }
    Ok(())
}

/// Two halves of a body; a single row comes back whole.
fn split(body: Body) -> Result<(Body, Body), Body> {
    let half = body.rows() / 2;
    match body {
        Body::Samples(mut batch) if half > 0 => {
            let samples = batch.samples.split_off(half);
            let second = SampleBatch {
                series: batch.series.clone(),
                samples,
            };
            Ok((Body::Samples(batch), Body::Samples(second)))
        }
        Body::Events(mut events) if half > 0 => {
            let second = events.split_off(half);
            Ok((Body::Events(events), Body::Events(second)))
        }
        whole => Err(whole),
    }
}

fn duration_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
