//! The table of a worker's connections over HTTP/2, plain or within TLS: many requests on each, one
//! loop for all, and nothing allocated for a request. A new connection is made only when none has
//! room and fewer than the worker's share are open.
//!
//! Times: *sent* is when the write began that carries the request, *first byte* when the first header
//! section of its answer was read. `bytes` are those of bodies, as they travelled.

mod encoder;
mod frame;
mod hpack;
mod huffman;
mod link;
mod session;
mod statics;
mod streams;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;

use super::connector::Connector;
use super::http1::BUFFER_BYTES;
use super::request::nanoseconds;
use super::{Ended, Job, Prepared};
use crate::operation::Failure;
use crate::tls::{Tls, TlsError};
use crate::worker::{Context, Gauges, Share};

use encoder::Fields;
use link::{Link, Turn, Wire};
use session::{Desk, STREAMS_AT_FIRST};
use streams::{Stream, Work};

/// The connections of a worker.
#[derive(Debug)]
pub(crate) struct Http2 {
    wire: Wire,
    share: Share,
    gauges: Arc<Gauges>,
    /// Most connections.
    most: usize,
    links: Vec<Link>,
    /// Links with room; the one used last is used first. Some of them may have none any more.
    free: Vec<u32>,
    /// Links without a connection.
    vacant: Vec<u32>,
    /// Links with something to write.
    dirty: Vec<u32>,
    /// Those who wait for a connection that is being made, or for room to be sent once more.
    queue: VecDeque<Work>,
    opening: usize,
    busy: usize,
    again: Vec<u64>,
    /// No deadline is before this time.
    sweep_ns: u64,
}

impl Http2 {
    /// A table without connections.
    pub(crate) fn new(
        context: &Context,
        epoll: Rc<OwnedFd>,
        requests: Vec<Prepared>,
    ) -> Result<Self, TlsError> {
        let http = &context.scenario.http;
        let tls = Tls::of(context, Some(http.version))?;
        let mut fields = Fields::default();
        let tokens = requests.iter().map(|request| {
            let each = request.fields.iter();
            fields.tokens(each.map(|(name, value)| (name.as_str(), value.as_slice())))
        });
        let desk = Desk {
            tokens: tokens.collect(),
            requests,
            fields,
            timeout_ns: nanoseconds(http.timeout),
            max_answer_bytes: http.max_answer_bytes,
            streams: if http.keep_alive {
                http.streams.max(1)
            } else {
                1
            },
            keep_alive: http.keep_alive,
            ended: Vec::new(),
            again: Vec::new(),
        };
        Ok(Self {
            wire: Wire {
                clock: context.clock,
                epoll,
                connector: Connector::new(&context.target, http.connections, http.keep_alive),
                tls,
                buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
                connect_timeout_ns: nanoseconds(http.connect_timeout),
                desk,
            },
            share: context.share,
            gauges: Arc::clone(&context.gauges),
            most: context.share.split(http.connections).max(1) as usize,
            links: Vec::new(),
            free: Vec::new(),
            vacant: Vec::new(),
            dirty: Vec::new(),
            queue: VecDeque::new(),
            opening: 0,
            busy: 0,
            again: Vec::new(),
            sweep_ns: 0,
        })
    }

    /// Jobs under way.
    pub(crate) fn busy(&self) -> usize {
        self.busy
    }

    /// Jobs that wait for a connection.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Open connections.
    pub(crate) fn open(&self) -> usize {
        self.links.len() - self.vacant.len()
    }

    /// Whether there is more to do that no event will tell.
    pub(crate) fn has_more(&self) -> bool {
        !self.again.is_empty() || !self.dirty.is_empty() || !self.wire.desk.ended.is_empty()
    }

    /// A prepared request.
    pub(crate) fn request(&self, request: u32) -> &Prepared {
        &self.wire.desk.requests[request as usize]
    }

    /// Whether one more job would find a stream, at the latest on a connection still to be made.
    pub(crate) fn has_room(&mut self) -> bool {
        if self.pick().is_some() {
            return true;
        }
        let to_come = self.opening + self.most.saturating_sub(self.open());
        self.queue.len() < to_come * self.streams_at_first()
    }

    /// Starts a job; it is written with the next [`Self::flush`].
    pub(crate) fn begin(&mut self, job: Job, now_ns: u64) {
        self.busy += 1;
        self.queue.push_back(Work::new(job));
        self.pump(now_ns);
    }

    /// Takes an event.
    pub(crate) fn ready(&mut self, token: u64, flags: EventFlags) {
        let index = (token & u64::from(u32::MAX)) as usize;
        let Some(link) = self.links.get_mut(index) else {
            return;
        };
        if link.token() != token || link.is_vacant() {
            return;
        }
        let was_opening = link.is_opening();
        let turn = link.ready(&mut self.wire, flags);
        self.settle(index, was_opening, turn);
        let now_ns = self.wire.clock.now_ns();
        self.pump(now_ns);
    }

    /// Takes the connections that have more to read; each is to be given to `ready` with
    /// [`EventFlags::IN`].
    pub(crate) fn take_more(&mut self, into: &mut Vec<u64>) {
        into.append(&mut self.again);
    }

    /// Takes the jobs that have ended.
    pub(crate) fn take_ended(&mut self, into: &mut Vec<Ended>) {
        self.busy -= self.wire.desk.ended.len();
        into.append(&mut self.wire.desk.ended);
    }

    /// Writes what all connections have to say.
    pub(crate) fn flush(&mut self) {
        while let Some(index) = self.dirty.pop() {
            let link = &mut self.links[index as usize];
            link.is_dirty = false;
            let was_opening = link.is_opening();
            if link.is_vacant() {
                continue;
            }
            let turn = link.flush(&mut self.wire);
            self.settle(index as usize, was_opening, turn);
        }
        if !self.wire.desk.again.is_empty() {
            let now_ns = self.wire.clock.now_ns();
            self.pump(now_ns);
        }
    }

    /// Ends the jobs whose time is over. Nearly always there are none, and nothing is looked at.
    pub(crate) fn sweep(&mut self, now_ns: u64) {
        if now_ns < self.sweep_ns {
            return;
        }
        let desk = &self.wire.desk;
        let timeout_ns = desk.timeout_ns;
        let shortest = timeout_ns.min(self.wire.connect_timeout_ns);
        let mut next_ns = now_ns.saturating_add(shortest);
        for index in 0..self.links.len() {
            let link = &mut self.links[index];
            if link.is_vacant() {
                continue;
            }
            if !link.is_opening() {
                next_ns = next_ns.min(link.session.sweep(now_ns, &mut self.wire.desk));
                self.settle(index, false, Turn::Done);
            } else if link.deadline_ns() <= now_ns {
                link.close();
                self.settle(index, true, Turn::Failed(Failure::ConnectTimeout));
            } else {
                next_ns = next_ns.min(link.deadline_ns());
            }
        }
        for _ in 0..self.queue.len() {
            let Some(work) = self.queue.pop_front() else {
                break;
            };
            let deadline_ns = work.sent_ns.saturating_add(timeout_ns);
            if deadline_ns > now_ns {
                next_ns = next_ns.min(deadline_ns);
                self.queue.push_back(work);
                continue;
            }
            let stream = Stream::none(work);
            self.wire.desk.end(&stream, now_ns, Some(Failure::Timeout));
        }
        self.sweep_ns = next_ns;
        self.pump(now_ns);
    }

    /// Ends all jobs under way: the run is over.
    pub(crate) fn abandon(&mut self) {
        let now_ns = self.wire.clock.now_ns();
        let desk = &mut self.wire.desk;
        for link in &mut self.links {
            link.session.abandon(Failure::Unfinished, now_ns, desk);
            link.close();
        }
        self.queue.extend(desk.again.drain(..));
        for work in self.queue.drain(..) {
            desk.end(&Stream::none(work), now_ns, Some(Failure::Unfinished));
        }
        self.vacant = (0..self.links.len() as u32).collect();
        self.opening = 0;
    }

    /// Streams that a connection still to be made is counted upon for.
    fn streams_at_first(&self) -> usize {
        self.wire.desk.streams.min(STREAMS_AT_FIRST) as usize
    }

    /// A connection with room.
    fn pick(&mut self) -> Option<usize> {
        while let Some(&index) = self.free.last() {
            let link = &mut self.links[index as usize];
            if link.room(&self.wire.desk) > 0 {
                return Some(index as usize);
            }
            link.is_free = false;
            self.free.pop();
        }
        None
    }

    /// Gives those who wait their streams, and makes connections for those who find none.
    fn pump(&mut self, now_ns: u64) {
        while let Some(work) = self.wire.desk.again.pop() {
            self.gauges.retries.fetch_add(1, Ordering::Relaxed);
            self.queue.push_front(work);
        }
        while !self.queue.is_empty()
            && let Some(index) = self.pick()
            && let Some(work) = self.queue.pop_front()
        {
            self.links[index].session.open(work, &self.wire.desk);
            self.note_dirty(index);
        }
        while self.queue.len() > self.opening * self.streams_at_first() && self.open() < self.most {
            let index = self.place();
            self.opening += 1;
            let turn = self.links[index].open(&mut self.wire, now_ns);
            if matches!(turn, Turn::Failed(_)) {
                self.settle(index, true, turn);
            }
        }
    }

    fn place(&mut self) -> usize {
        if let Some(index) = self.vacant.pop() {
            return index as usize;
        }
        let index = self.links.len();
        let local = u32::try_from(index).expect("connections are counted in 32 bits");
        let number = u64::from(self.share.index) + u64::from(local) * u64::from(self.share.of);
        self.links.push(Link::new(local, number));
        index
    }

    fn note_dirty(&mut self, index: usize) {
        let link = &mut self.links[index];
        if !link.is_dirty {
            link.is_dirty = true;
            self.dirty.push(index as u32);
        }
    }

    /// Brings the lists up to date with what came of a link.
    fn settle(&mut self, index: usize, was_opening: bool, turn: Turn) {
        let link = &mut self.links[index];
        self.opening -= usize::from(was_opening && !link.is_opening());
        match turn {
            Turn::Failed(failure) => return self.failed(index, failure),
            Turn::Again => self.again.push(link.token()),
            Turn::Done => {}
        }
        if link.is_vacant() {
            self.vacant.push(index as u32);
            return;
        }
        if link.is_opening() {
            return;
        }
        if link.session.is_over(&self.wire.desk) {
            link.leave(&mut self.wire);
            self.vacant.push(index as u32);
            return;
        }
        if !link.is_free && link.room(&self.wire.desk) > 0 {
            link.is_free = true;
            self.free.push(index as u32);
        }
        if link.has_to_write() {
            self.note_dirty(index);
        }
    }

    /// A connection could not be made. Those who counted on it share its failure; for all others
    /// another one is tried.
    fn failed(&mut self, index: usize, failure: Failure) {
        self.vacant.push(index as u32);
        let at_first = self.streams_at_first();
        let others = self.queue.len().saturating_sub(self.opening * at_first);
        let now_ns = self.wire.clock.now_ns();
        for work in self.queue.drain(..others.min(at_first)) {
            self.wire
                .desk
                .end(&Stream::none(work), now_ns, Some(failure));
        }
    }
}
