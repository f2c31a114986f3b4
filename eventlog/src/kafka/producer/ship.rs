//! The shipper's thread: find streams, read, send, keep what has arrived.
//!
//! One thread does it all, so nothing of a stream is sent while a failure of it is unheard of.
//! When the client fails for good, all lanes are closed and opened again from their kept cursors.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use driftline_schemas::{Kind, ProducerId, StreamId, topic};

use super::lane::{Lane, Retry, directory};
use super::link::{Link, Outcome};
use super::portion::{Trouble, send_portion};
use super::{Orders, Progress};
use crate::kafka::admin::{create_topics, no_topic};
use crate::kafka::config::KafkaConfig;
use crate::kafka::health::Health;
use crate::kafka::partition::{partition_for, recall, remember};
use crate::spool::{Clock, SpoolReader};
use crate::{LogError, LogReader as _, SourceId};

/// Payload that may be on its way, over all streams.
const IN_FLIGHT_BYTES: usize = 8 << 20;
/// Payload that is read of one stream in one turn, so that none waits for another.
const TURN_BYTES: usize = 1 << 20;
/// How often new streams are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// How often cursors are kept: each costs a sync, and what a crash forgets is only sent twice.
const KEEPING: Duration = Duration::from_secs(5);
/// How long the client works before the next turn: when records were just sent, when some are on
/// their way, and when there is nothing to do.
const TURN_SENT: Duration = Duration::from_millis(2);
const TURN_WAITING: Duration = Duration::from_millis(20);
const TURN_IDLE: Duration = Duration::from_millis(100);

/// Everything that the thread owns.
pub(super) struct Ship {
    config: KafkaConfig,
    spool: SpoolReader,
    root: PathBuf,
    /// Whose streams to ship; empty for all.
    producers: BTreeSet<ProducerId>,
    clock: Clock,
    health: Health,
    orders: Arc<Orders>,
    link: Option<Link>,
    retry: Retry,
    lanes: BTreeMap<u64, Lane>,
    lanes_opened: u64,
    /// Streams that have no lane, because the broker has not answered since they were found.
    waiting: BTreeSet<StreamId>,
    /// Streams that cannot be shipped now, and why.
    stuck: BTreeMap<StreamId, String>,
    next_housekeeping: Duration,
    next_keeping: Duration,
    /// False when the last look for streams did not reach all of them.
    all_found: bool,
    turns: usize,
    shipped_records: u64,
}

/// What a turn has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Sent,
    /// Nothing could be sent, but there is something.
    Held,
    /// Every stream was read to its end.
    AtEnd,
}

impl Turn {
    /// The same, unless it said that nothing was left.
    fn or_held(self) -> Self {
        if self == Self::AtEnd {
            Self::Held
        } else {
            self
        }
    }
}

impl Ship {
    pub(super) fn new(
        config: KafkaConfig,
        spool: SpoolReader,
        root: PathBuf,
        producers: BTreeSet<ProducerId>,
        clock: Clock,
        health: Health,
        orders: Arc<Orders>,
    ) -> Result<Self, LogError> {
        let link = Link::open(&config, &health)?;
        Ok(Self {
            config,
            spool,
            root,
            producers,
            clock,
            health,
            orders,
            link: Some(link),
            retry: Retry::default(),
            lanes: BTreeMap::new(),
            lanes_opened: 0,
            waiting: BTreeSet::new(),
            stuck: BTreeMap::new(),
            next_housekeeping: Duration::ZERO,
            next_keeping: Duration::ZERO,
            all_found: false,
            turns: 0,
            shipped_records: 0,
        })
    }

    /// Ships until told to stop, and then until all has arrived or the grace is over.
    pub(super) fn run(&mut self) {
        let mut deadline = None;
        loop {
            if deadline.is_none()
                && let Some(grace) = self.orders.grace()
            {
                deadline = Some((self.clock)() + grace);
                self.next_housekeeping = Duration::ZERO;
            }
            let turn = self.turn();
            let done = turn == Turn::AtEnd && self.all_found && self.pending_records() == 0;
            if deadline.is_some_and(|deadline| done || (self.clock)() >= deadline) {
                break;
            }
        }
        self.close_link();
        self.keep_cursors();
        self.report();
    }

    fn turn(&mut self) -> Turn {
        let now = (self.clock)();
        if self.link.is_none() && self.retry.is_due(now) {
            self.reopen_link(now);
        }
        if now >= self.next_housekeeping {
            self.next_housekeeping = now + HOUSEKEEPING;
            if now >= self.next_keeping {
                self.next_keeping = now + KEEPING;
                self.keep_cursors();
            }
            self.all_found = self.find_streams();
            self.report();
        }
        let turn = if self.retry.is_due(now) {
            self.send(now)
        } else {
            Turn::Held
        };
        let time = match turn {
            Turn::Sent => TURN_SENT,
            _ if self.pending_records() > 0 => TURN_WAITING,
            _ => TURN_IDLE,
        };
        match &self.link {
            Some(link) => link.poll(time),
            None => std::thread::park_timeout(time),
        }
        let outcomes = self.link.as_ref().map(Link::outcomes).unwrap_or_default();
        if let Some(error) = self.settle(outcomes) {
            self.restart(now, &error);
            return Turn::Held;
        }
        turn
    }

    fn pending_records(&self) -> usize {
        self.lanes
            .values()
            .map(|lane| lane.window.pending_records())
            .sum()
    }

    /// Reads and sends one portion of each stream, beginning with another one each time.
    fn send(&mut self, now: Duration) -> Turn {
        let Some(link) = &self.link else {
            return Turn::Held;
        };
        let on_the_way: usize = self
            .lanes
            .values()
            .map(|lane| lane.window.pending_bytes())
            .sum();
        let mut room = IN_FLIGHT_BYTES.saturating_sub(on_the_way);
        let mut turn = Turn::AtEnd;
        self.turns = self.turns.wrapping_add(1);
        let first = self.turns.checked_rem(self.lanes.len()).unwrap_or(0);
        let mut order: Vec<(&u64, &mut Lane)> = self.lanes.iter_mut().collect();
        order.rotate_left(first);
        for (number, lane) in order {
            if room == 0 || !lane.retry.is_due(now) {
                turn = turn.or_held();
                continue;
            }
            match send_portion(link, &mut self.spool, lane, *number, room.min(TURN_BYTES)) {
                Ok(0) => {}
                Ok(bytes) => {
                    turn = Turn::Sent;
                    room = room.saturating_sub(bytes);
                    self.stuck.remove(&lane.stream);
                    lane.retry.succeed();
                }
                Err(Trouble::Skipped) => turn = turn.or_held(),
                Err(Trouble::Full) => return turn.or_held(),
                Err(Trouble::Lane(error)) => {
                    turn = turn.or_held();
                    lane.retry.fail(now);
                    note(&mut self.stuck, &lane.stream, error.to_string());
                }
                Err(Trouble::Link(error)) => {
                    self.restart(now, &error.to_string());
                    return Turn::Held;
                }
            }
        }
        turn
    }

    /// Books what has become of records. Returns the first failure.
    fn settle(&mut self, outcomes: Vec<Outcome>) -> Option<String> {
        let mut failure = None;
        for Outcome { ticket, error } in outcomes {
            let Some(lane) = self.lanes.get_mut(&ticket.lane) else {
                continue;
            };
            match error {
                None => {
                    if lane.window.arrive(ticket.seq) {
                        self.shipped_records += 1;
                    }
                    self.retry.succeed();
                    self.health.answered();
                }
                Some(error) => {
                    failure.get_or_insert_with(|| {
                        format!(
                            "block {} of stream {} did not arrive: {error}",
                            ticket.seq, lane.stream
                        )
                    });
                }
            }
        }
        failure
    }

    /// Throws the client away and begins again from what has arrived.
    fn restart(&mut self, now: Duration, reason: &str) {
        self.health.failed(reason);
        self.close_link();
        self.keep_cursors();
        self.lanes.clear();
        self.all_found = false;
        self.next_housekeeping = Duration::ZERO;
        self.retry.fail(now);
    }

    fn close_link(&mut self) {
        if let Some(link) = self.link.take() {
            // What was still on its way fails now; that is known, and those records are sent again.
            let _ = self.settle(link.close());
        }
    }

    fn reopen_link(&mut self, now: Duration) {
        match Link::open(&self.config, &self.health) {
            Ok(link) => self.link = Some(link),
            Err(error) => {
                self.health.failed(&error.to_string());
                self.retry.fail(now);
            }
        }
    }

    /// Tells the spool how far each stream has arrived.
    fn keep_cursors(&mut self) {
        for lane in self.lanes.values_mut() {
            let cursor = lane.window.cursor();
            if cursor == lane.kept {
                continue;
            }
            match self.spool.committed(&lane.source, cursor) {
                Ok(()) => {
                    lane.kept = cursor;
                    self.stuck.remove(&lane.stream);
                }
                // Tried again next time; until then the spool keeps more than it needs to.
                Err(error) => note(&mut self.stuck, &lane.stream, error.to_string()),
            }
        }
    }

    /// Opens lanes for streams that are new and closes those whose directories are gone. Returns
    /// false when a stream could not be reached.
    fn find_streams(&mut self) -> bool {
        let mut streams = BTreeSet::new();
        for kind in Kind::ALL {
            match self.spool.sources(kind) {
                Ok(sources) => {
                    streams.extend(sources.into_iter().filter_map(|source| match source {
                        SourceId::Spool(stream) => self.is_ours(&stream).then_some(stream),
                        SourceId::Kafka { .. } => None,
                    }))
                }
                Err(error) => {
                    self.health.failed(&error.to_string());
                    return false;
                }
            }
        }
        self.lanes
            .retain(|_, lane| streams.contains(&lane.stream) || lane.window.pending_records() > 0);
        self.stuck.retain(|stream, _| streams.contains(stream));
        for lane in self.lanes.values() {
            streams.remove(&lane.stream);
        }
        let all = streams.is_empty() || self.open_lanes(&streams);
        let opened: BTreeSet<_> = self.lanes.values().map(|lane| &lane.stream).collect();
        streams.retain(|stream| !opened.contains(stream));
        self.waiting = streams;
        all
    }

    fn is_ours(&self, stream: &StreamId) -> bool {
        self.producers.is_empty() || self.producers.contains(&stream.producer)
    }

    fn open_lanes(&mut self, streams: &BTreeSet<StreamId>) -> bool {
        let topics = match self.topics(streams) {
            Ok(Some(topics)) => topics,
            // A lost broker has been told of by the client itself.
            Ok(None) => return false,
            Err(error) => {
                self.health.failed(&error.to_string());
                return false;
            }
        };
        let mut all = true;
        for stream in streams {
            match self.open_lane(stream, &topics) {
                Ok(lane) => {
                    self.stuck.remove(stream);
                    self.lanes_opened += 1;
                    self.lanes.insert(self.lanes_opened, lane);
                }
                Err(error) => {
                    all = false;
                    note(&mut self.stuck, stream, error.to_string());
                }
            }
        }
        all
    }

    /// The partitions of the topics, which are created first when they are missing and may be.
    /// `None` while no broker answers.
    fn topics(
        &mut self,
        streams: &BTreeSet<StreamId>,
    ) -> Result<Option<BTreeMap<String, u32>>, LogError> {
        let Some(topics) = self.ask_for_topics() else {
            return Ok(None);
        };
        self.health.answered();
        let missing = streams
            .iter()
            .any(|stream| !topics.contains_key(topic::of(stream.kind)));
        if missing && self.config.create_topics {
            create_topics(&self.config)?;
            return Ok(self.ask_for_topics());
        }
        Ok(Some(topics))
    }

    fn ask_for_topics(&self) -> Option<BTreeMap<String, u32>> {
        match self.link.as_ref()?.topics() {
            Ok(topics) => Some(topics),
            Err(error) => {
                tracing::debug!(%error, "streams wait for the broker");
                None
            }
        }
    }

    fn open_lane(
        &mut self,
        stream: &StreamId,
        topics: &BTreeMap<String, u32>,
    ) -> Result<Lane, LogError> {
        let name = topic::of(stream.kind);
        let count = *topics.get(name).ok_or_else(|| no_topic(name))?;
        let directory = directory(&self.root, stream);
        let partition = match recall(&directory)? {
            Some(partition) => partition,
            None => {
                let partition = partition_for(&stream.producer, count);
                remember(&directory, partition)?;
                partition
            }
        };
        if u32::try_from(partition).is_ok_and(|partition| partition >= count) {
            return Err(LogError::Kafka {
                op: "continue stream",
                target: stream.to_string(),
                reason: format!(
                    "it began in partition {partition} of {name}, which has {count} partitions now: \
                     give the topic at least {} partitions",
                    i64::from(partition) + 1
                ),
                retryable: true,
            });
        }
        let mut lane = Lane::new(stream.clone(), partition);
        lane.start_at(self.spool.cursor(&lane.source)?.unwrap_or(0));
        Ok(lane)
    }

    fn report(&mut self) {
        let mut lag_records = 0;
        for lane in self.lanes.values() {
            lag_records += lag(&mut self.spool, &lane.source, Some(lane.window.cursor()));
        }
        for stream in &self.waiting {
            lag_records += lag(&mut self.spool, &SourceId::Spool(stream.clone()), None);
        }
        self.orders.report(Progress {
            shipped_records: self.shipped_records,
            lag_records,
            stuck: self
                .stuck
                .iter()
                .next()
                .map(|(stream, why)| format!("stream {stream}: {why}")),
        });
    }
}

/// Durable records of a stream that have not arrived; 0 where the spool cannot tell now.
fn lag(spool: &mut SpoolReader, source: &SourceId, cursor: Option<u64>) -> u64 {
    let cursor = cursor
        .or_else(|| spool.cursor(source).ok().flatten())
        .unwrap_or(0);
    spool
        .position(source)
        .map_or(0, |end| end.saturating_sub(cursor))
}

/// Remembers why a stream is stuck, and logs it when that is new.
fn note(stuck: &mut BTreeMap<StreamId, String>, stream: &StreamId, why: String) {
    if stuck.get(stream) != Some(&why) {
        tracing::warn!(%stream, why, "stream not shipped; retrying");
        stuck.insert(stream.clone(), why);
    }
}
