//! The table of a worker's connections over plain HTTP/1.1, and its only list of what is idle.

use std::rc::Rc;
use std::sync::Arc;

use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;

use super::connector::Connector;
use super::head::Memo;
use super::request::{Prepared, nanoseconds};
use super::slot::{Slot, Turn, Wire};
use crate::operation::{Failure, Operation};
use crate::worker::Context;

/// What one read takes at most.
pub(crate) const BUFFER_BYTES: usize = 64 * 1_024;

/// A request to be made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Job {
    /// Index into the prepared requests.
    pub(crate) request: u32,
    /// The virtual user whose request it is, in the worker's own count.
    pub(crate) user: Option<u32>,
    pub(crate) intended_ns: u64,
}

/// A job that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) job: Job,
    pub(crate) operation: Operation,
}

/// The connections of a worker.
#[derive(Debug)]
pub(crate) struct Http1 {
    wire: Wire,
    share: crate::worker::Share,
    slots: Vec<Slot>,
    /// Slots with a connection that waits for a job; the last one used is used first.
    idle: Vec<u32>,
    /// Slots without a connection, in shared use.
    vacant: Vec<u32>,
    /// The connection of a user is the user's own: its slot has the user's number.
    owned: bool,
    busy: usize,
    again: Vec<u64>,
    /// No deadline is before this time.
    sweep_ns: u64,
}

impl Http1 {
    /// A table without connections. `owned`: every job is a user's, and users keep their own.
    pub(crate) fn new(
        context: &Context,
        epoll: Rc<OwnedFd>,
        requests: Vec<Prepared>,
        owned: bool,
    ) -> Self {
        let http = &context.scenario.http;
        Self {
            wire: Wire {
                clock: context.clock,
                epoll,
                memos: requests.iter().map(|_| Memo::default()).collect(),
                requests,
                connector: Connector::new(&context.target, http.connections, http.keep_alive),
                buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
                keep_alive: http.keep_alive,
                timeout_ns: nanoseconds(http.timeout),
                connect_timeout_ns: nanoseconds(http.connect_timeout),
                max_answer_bytes: http.max_answer_bytes,
                gauges: Arc::clone(&context.gauges),
            },
            share: context.share,
            slots: Vec::new(),
            idle: Vec::new(),
            vacant: Vec::new(),
            owned,
            busy: 0,
            again: Vec::new(),
            sweep_ns: 0,
        }
    }

    /// Jobs under way.
    pub(crate) fn busy(&self) -> usize {
        self.busy
    }

    /// Open connections.
    pub(crate) fn open(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_open()).count()
    }

    /// Whether connections have more to read that no event will tell.
    pub(crate) fn has_more(&self) -> bool {
        !self.again.is_empty()
    }

    /// A prepared request.
    pub(crate) fn request(&self, request: u32) -> &Prepared {
        &self.wire.requests[request as usize]
    }

    /// Starts a job, on an idle connection if there is one. The caller sees to it that there are not
    /// more jobs under way than connections allowed. Ends at once where no connection can be begun.
    pub(crate) fn begin(&mut self, job: Job, now_ns: u64) -> Option<Ended> {
        let index = self.place(job);
        self.busy += 1;
        let turn = self.slots[index].start(&mut self.wire, job, now_ns);
        self.settle(index, turn)
    }

    /// Takes an event. At most one job ends by it.
    pub(crate) fn ready(&mut self, token: u64, flags: EventFlags) -> Option<Ended> {
        let index = (token & u64::from(u32::MAX)) as usize;
        let slot = self.slots.get_mut(index)?;
        if slot.token() != token {
            return None;
        }
        let turn = slot.ready(&mut self.wire, flags);
        self.settle(index, turn)
    }

    /// Takes the connections that have more to read; each is to be given to `ready` with
    /// [`EventFlags::IN`].
    pub(crate) fn take_more(&mut self, into: &mut Vec<u64>) {
        into.append(&mut self.again);
    }

    /// Ends the jobs whose time is over. Nearly always there are none, and nothing is looked at:
    /// a request that began after the last look cannot be overdue before a whole timeout has passed.
    pub(crate) fn sweep(&mut self, now_ns: u64, ended: &mut Vec<Ended>) {
        if now_ns < self.sweep_ns {
            return;
        }
        let shortest = self.wire.timeout_ns.min(self.wire.connect_timeout_ns);
        let mut next_ns = now_ns.saturating_add(shortest);
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if !slot.is_busy() {
                continue;
            }
            if slot.deadline_ns() > now_ns {
                next_ns = next_ns.min(slot.deadline_ns());
                continue;
            }
            let failure = slot.overdue();
            ended.push(self.give_up(index, failure));
        }
        self.sweep_ns = next_ns;
    }

    /// Ends all jobs under way: the run is over.
    pub(crate) fn abandon(&mut self, ended: &mut Vec<Ended>) {
        for index in 0..self.slots.len() {
            if self.slots[index].is_busy() {
                ended.push(self.give_up(index, Failure::Unfinished));
            }
        }
    }

    fn give_up(&mut self, index: usize, failure: Failure) -> Ended {
        let slot = &mut self.slots[index];
        let job = slot.job();
        let now_ns = self.wire.clock.now_ns();
        let operation = slot.give_up(now_ns, failure, &self.wire);
        self.busy -= 1;
        self.vacate(index);
        Ended { job, operation }
    }

    /// The slot for a job: it is not busy, and on no list any more.
    fn place(&mut self, job: Job) -> usize {
        if self.owned {
            let index = job.user.expect("owned connections are for users") as usize;
            while self.slots.len() <= index {
                self.add_slot();
            }
            return index;
        }
        match self.idle.pop().or_else(|| self.vacant.pop()) {
            Some(index) => index as usize,
            None => self.add_slot(),
        }
    }

    fn add_slot(&mut self) -> usize {
        let index = self.slots.len();
        let local = u32::try_from(index).expect("connections are counted in 32 bits");
        let number = u64::from(self.share.index) + u64::from(local) * u64::from(self.share.of);
        self.slots.push(Slot::new(local, number));
        index
    }

    fn settle(&mut self, index: usize, turn: Turn) -> Option<Ended> {
        match turn {
            Turn::Pending => None,
            Turn::Again => {
                self.again.push(self.slots[index].token());
                None
            }
            Turn::Lost => {
                self.forget_idle(index);
                self.vacate(index);
                None
            }
            Turn::Ended(operation) => {
                self.busy -= 1;
                let slot = &mut self.slots[index];
                let job = slot.job();
                if !slot.is_idle() {
                    self.vacate(index);
                } else if !self.owned {
                    slot.idle_at = self.idle.len();
                    self.idle.push(index as u32);
                }
                Some(Ended { job, operation })
            }
        }
    }

    fn vacate(&mut self, index: usize) {
        if !self.owned {
            self.vacant.push(index as u32);
        }
    }

    fn forget_idle(&mut self, index: usize) {
        if self.owned {
            return;
        }
        let at = self.slots[index].idle_at;
        self.idle.swap_remove(at);
        if let Some(&moved) = self.idle.get(at) {
            self.slots[moved as usize].idle_at = at;
        }
    }
}
