//! All connections of one worker and what is due among them. Everything is done in small portions,
//! so that neither ten thousand connects nor ten thousand closes keep the thread from answering.

use std::io;
use std::time::Duration;

use crate::operation::{Failure, NEVER_NS};
use crate::worker::Context;

use super::connection::{Connection, Phase, Post};
use super::group::Group;
use super::plan;
use super::poller::Ready;
use super::shared::{Ending, Outcome, Shared, Times};
use super::timers::Timers;

/// Connects begun before sockets are looked at again: few, so that the times at which they are
/// established are true.
const CONNECTS: usize = 16;
/// Timers fired before sockets are looked at again.
const FIRED: usize = 128;
/// Connections closed before sockets are looked at again.
const CLOSES: u32 = 64;
/// The timer of the kernel is not set finer: what is due within it is done together.
const GRAIN_NS: u64 = 50_000;

/// See the module.
pub(crate) struct Fleet {
    pub(crate) shared: Shared,
    groups: Vec<Group>,
    connections: Vec<Connection>,
    timers: Timers,
    /// When the stages are over.
    end_ns: u64,
    drain_ns: u64,
    /// The first slot that has not been told of the end.
    sweep: u32,
    /// What the timer of the kernel is set to.
    armed_ns: u64,
    ready: Vec<Ready>,
}

impl Fleet {
    /// Must be made within a runtime.
    pub(crate) fn new(context: &Context) -> io::Result<Self> {
        let scenario = &context.scenario;
        let groups = Group::all(scenario, context.share);
        let mut connections = Vec::new();
        connections.reserve_exact(groups.last().map_or(0, |group| group.end as usize));
        for (index, group) in groups.iter().enumerate() {
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            connections.extend((group.first..group.end).map(|_| Connection::new(index)));
        }
        let stages: Duration = scenario.stages.iter().map(|stage| stage.duration).sum();
        let mut shared = Shared::new(context)?;
        shared.live = connections.len();
        Ok(Self {
            shared,
            groups,
            connections,
            timers: Timers::default(),
            end_ns: plan::nanoseconds(stages),
            drain_ns: plan::nanoseconds(scenario.drain),
            sweep: 0,
            armed_ns: 0,
            ready: Vec::new(),
        })
    }

    /// Whether every connection has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.shared.live == 0
    }

    /// Whether the end has begun.
    pub(crate) fn is_ending(&self) -> bool {
        self.shared.ending.is_some()
    }

    /// Does a portion of what is due.
    pub(crate) fn turn(&mut self) {
        let now_ns = self.shared.now_ns();
        let is_stopped = self.shared.context.stop.is_requested();
        if !self.is_ending() && (is_stopped || self.end_ns <= now_ns) {
            self.begin_end(now_ns);
        }
        if self.is_ending() {
            self.sweep(now_ns);
        } else {
            self.connect(now_ns);
            self.storm(now_ns);
        }
        for _ in 0..FIRED {
            let Some((at_ns, slot)) = self.timers.pop_due(now_ns) else {
                break;
            };
            let connection = &mut self.connections[slot as usize];
            if connection.armed_ns == at_ns {
                connection.armed_ns = NEVER_NS;
                self.with(slot, |connection, post| connection.on_time(post, now_ns));
            }
        }
        for slot in std::mem::take(&mut self.shared.again) {
            self.with(slot, Connection::on_again);
        }
    }

    /// Takes what has happened to sockets; whether there may be more.
    pub(crate) fn poll(&mut self) -> io::Result<bool> {
        let mut events = std::mem::take(&mut self.ready);
        events.clear();
        let is_more = self.shared.poller.take(&mut events)?;
        for ready in &events {
            // The lower half of a mark is the slot.
            let slot = ready.mark as u32;
            self.with(slot, |connection, post| connection.on_ready(post, *ready));
        }
        self.ready = events;
        Ok(is_more)
    }

    /// Sets the timer for what is due next; `false` when something is due now.
    pub(crate) fn arm(&mut self) -> io::Result<bool> {
        let now_ns = self.shared.now_ns();
        let next_ns = self.next_ns();
        if next_ns <= now_ns {
            return Ok(false);
        }
        if next_ns == NEVER_NS {
            return Ok(true);
        }
        let wake_ns = next_ns.max(now_ns.saturating_add(GRAIN_NS));
        // A timer that is set a little earlier or within the grain serves as well.
        let serves = self.armed_ns > now_ns && self.armed_ns <= wake_ns;
        if !serves {
            self.armed_ns = wake_ns;
            self.shared
                .poller
                .arm(Duration::from_nanos(wake_ns - now_ns))?;
        }
        Ok(true)
    }

    /// When something is due next; 0 for at once.
    fn next_ns(&self) -> u64 {
        if !self.shared.again.is_empty() {
            return 0;
        }
        let next_ns = self.timers.next_ns();
        if let Some(ending) = self.shared.ending {
            let is_swept = self.sweep as usize == self.connections.len();
            return if is_swept {
                next_ns.min(ending.cut_ns)
            } else {
                0
            };
        }
        let of_group = |group: &Group| {
            if group.storm_at.is_some() {
                0
            } else {
                group.next_connect_ns().min(group.storm_ns)
            }
        };
        self.groups
            .iter()
            .map(of_group)
            .fold(next_ns.min(self.end_ns), u64::min)
    }

    fn begin_end(&mut self, now_ns: u64) {
        let since_ns = now_ns.min(self.end_ns);
        self.shared.ending = Some(Ending {
            since_ns,
            // The closing handshake needs its part of the drain.
            answers_ns: now_ns.saturating_add(self.drain_ns / 2),
            cut_ns: now_ns.saturating_add(self.drain_ns),
        });
    }

    /// Opens connections that are to be opened for the first time.
    fn connect(&mut self, now_ns: u64) {
        for _ in 0..CONNECTS {
            let Some(group) = self
                .groups
                .iter_mut()
                .min_by_key(|group| group.next_connect_ns())
            else {
                return;
            };
            let intended_ns = group.next_connect_ns();
            if intended_ns > now_ns {
                return;
            }
            let slot = group.next;
            group.next += 1;
            self.with(slot, |connection, post| {
                connection.open(post, intended_ns, intended_ns);
            });
        }
    }

    /// Closes connections of groups that have a storm.
    fn storm(&mut self, now_ns: u64) {
        for index in 0..self.groups.len() {
            let group = &mut self.groups[index];
            group.begin_storm(now_ns);
            let Some((from, storm_ns)) = group.storm_at else {
                continue;
            };
            let until = from.saturating_add(CLOSES).min(group.next);
            group.storm_at = (until < group.next).then_some((until, storm_ns));
            for slot in from..until {
                self.with(slot, |connection, post| connection.on_storm(post, storm_ns));
            }
        }
    }

    /// Tells connections of the end, and ends what is left when the drain is over.
    fn sweep(&mut self, now_ns: u64) {
        let Some(ending) = self.shared.ending else {
            return;
        };
        let count = self.connections.len() as u32;
        let is_cut = ending.cut_ns <= now_ns;
        let until = if is_cut {
            count
        } else {
            self.sweep.saturating_add(CLOSES).min(count)
        };
        for slot in self.sweep..until {
            self.skip_unopened(slot, ending, now_ns);
            self.with(slot, |connection, post| connection.wind_down(post, now_ns));
        }
        self.sweep = until;
        if is_cut {
            for slot in 0..count {
                self.with(slot, |connection, post| connection.cut(post, now_ns));
            }
        }
    }

    /// A connection that was to be opened before the end and has not been is on the record, too.
    fn skip_unopened(&mut self, slot: u32, ending: Ending, now_ns: u64) {
        let group = &self.groups[usize::from(self.connections[slot as usize].group)];
        let intended_ns = group.connect_ns(slot);
        if slot < group.next || intended_ns >= ending.since_ns {
            return;
        }
        self.shared.count_arrivals(1);
        self.shared
            .count_lateness(1, now_ns.saturating_sub(intended_ns));
        let outcome = Outcome::failed(Failure::Unfinished);
        let endpoint = group.endpoints.connect;
        self.shared
            .record(endpoint, Times::unsent(intended_ns), now_ns, outcome);
    }

    /// Lets a connection act, and notes when it wants to be woken.
    fn with(&mut self, slot: u32, act: impl FnOnce(&mut Connection, &mut Post<'_>)) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let mut post = Post {
            shared: &mut self.shared,
            group: &self.groups[usize::from(connection.group)],
            slot,
        };
        act(connection, &mut post);
        if connection.phase() != Phase::Ended {
            let deadline_ns = connection.deadline_ns(&post);
            self.timers.arm(slot, &mut connection.armed_ns, deadline_ns);
        }
    }
}
