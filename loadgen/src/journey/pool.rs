//! A worker's connections: who may use one, who makes one, and who waits. Those who wait are served
//! in the order in which they came; what it means for their times is left to the caller, who keeps
//! the intended one. How a connection is made is left to `connect`.
//!
//! A connection of HTTP/1.1 carries one request, one of HTTP/2 several. A new one is made only when
//! none has room and fewer than the worker's share are open or being made.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use crate::operation::Failure;
use crate::scenario::HttpVersion;
use crate::tls::TlsError;
use crate::worker::{Context, Gauges};

use super::connect::{Connector, Link};

/// The connections of one worker.
#[derive(Debug)]
pub(crate) struct Pool {
    connector: Connector,
    limits: Limits,
    gauges: Arc<Gauges>,
    state: RefCell<State>,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Most connections.
    connections: u32,
    /// Most callers that wait beyond those whom a connection that is being made will serve.
    waiting: usize,
    /// Most requests of a connection at once.
    streams: u32,
    /// Whether a connection is used again.
    reuse: bool,
}

#[derive(Debug, Default)]
struct State {
    /// Connections with room, the one to use next last. None of them has room while callers wait.
    free: Vec<Rc<Link>>,
    /// Connections that are open, in use or being made.
    open: u32,
    /// Of those, being made.
    making: u32,
    waiters: VecDeque<oneshot::Sender<Grant>>,
}

/// What a caller gets.
#[derive(Debug)]
enum Grant {
    Use(Lease),
    Make(Place),
    Failed(Failure),
}

enum Turn {
    Now(Grant),
    Later(oneshot::Receiver<Grant>),
    Never,
}

/// The right to make a connection; given back when dropped.
#[derive(Debug)]
struct Place(Option<Rc<Pool>>);

/// The right to send one request on a connection; given back when dropped. Unless it was finished, a
/// lease that was begun leaves an answer half read, which spoils a connection of HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Rc<Pool>,
    link: Rc<Link>,
    stage: Stage,
    received: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Unused,
    Begun,
    Finished,
}

impl Pool {
    /// A pool of the worker's share of connections, at least one.
    pub(crate) fn new(context: &Context) -> Result<Self, TlsError> {
        let http = &context.scenario.http;
        let streams = match http.version {
            HttpVersion::Http2 if http.keep_alive => http.streams.max(1),
            HttpVersion::Http1 | HttpVersion::Http2 => 1,
        };
        Ok(Self {
            connector: Connector::new(context, streams)?,
            limits: Limits {
                connections: context.share.split(http.connections).max(1),
                waiting: context.share.split(http.waiting) as usize,
                streams,
                reuse: http.keep_alive,
            },
            gauges: Arc::clone(&context.gauges),
            state: RefCell::default(),
        })
    }

    /// A connection to send one request on, made or waited for where need be.
    pub(crate) async fn acquire(self: &Rc<Self>) -> Result<Lease, Failure> {
        let grant = match self.turn() {
            Turn::Now(grant) => grant,
            Turn::Later(granted) => granted.await.unwrap_or(Grant::Failed(Failure::Closed)),
            Turn::Never => return Err(Failure::Dropped),
        };
        match grant {
            Grant::Use(lease) => Ok(lease),
            Grant::Make(place) => self.make(place).await,
            Grant::Failed(failure) => Err(failure),
        }
    }

    /// Gives what room a connection has to those who wait; keeps the rest.
    pub(crate) fn offer(self: &Rc<Self>, link: &Rc<Link>) {
        while link.is_usable() && link.has_room() {
            if self.state.borrow().waiters.is_empty() {
                if !link.is_free.replace(true) {
                    self.state.borrow_mut().free.push(Rc::clone(link));
                }
                return;
            }
            if let Some(unwanted) = self.hand(Grant::Use(self.lease(link))) {
                // Nobody waits any more: dropping it offers the room again, and so keeps it.
                drop(unwanted);
                return;
            }
        }
    }

    fn turn(self: &Rc<Self>) -> Turn {
        let mut state = self.state.borrow_mut();
        while let Some(link) = state.free.last().map(Rc::clone) {
            if link.is_usable() && link.has_room() {
                let lease = self.lease(&link);
                if !link.has_room() {
                    link.is_free.set(false);
                    state.free.pop();
                }
                return Turn::Now(Grant::Use(lease));
            }
            link.is_free.set(false);
            state.free.pop();
            if !link.is_usable() && link.used.get() == 0 {
                state.open -= 1;
            }
        }
        let promised = state.making as usize * (self.limits.streams as usize - 1);
        let waiting = state.waiters.len();
        if waiting >= promised && state.open < self.limits.connections {
            state.open += 1;
            state.making += 1;
            return Turn::Now(Grant::Make(Place(Some(Rc::clone(self)))));
        }
        if waiting >= promised.saturating_add(self.limits.waiting) {
            return Turn::Never;
        }
        let (sender, granted) = oneshot::channel();
        state.waiters.push_back(sender);
        self.gauges.waiting.fetch_add(1, Ordering::Relaxed);
        Turn::Later(granted)
    }

    async fn make(self: &Rc<Self>, place: Place) -> Result<Lease, Failure> {
        match self.connector.connect(&Rc::downgrade(self)).await {
            Ok(link) => {
                place.fill();
                let lease = self.lease(&link);
                self.offer(&link);
                Ok(lease)
            }
            Err(failure) => {
                // Those who counted on this connection share its failure; all others try their own.
                for _ in 1..self.limits.streams {
                    if self.hand(Grant::Failed(failure)).is_some() {
                        break;
                    }
                }
                Err(failure)
            }
        }
    }

    fn lease(self: &Rc<Self>, link: &Rc<Link>) -> Lease {
        link.used.set(link.used.get() + 1);
        Lease {
            pool: Rc::clone(self),
            link: Rc::clone(link),
            stage: Stage::Unused,
            received: link.fate.received(),
        }
    }

    /// Hands a grant to whoever has waited longest, or back if nobody waits.
    fn hand(&self, mut grant: Grant) -> Option<Grant> {
        loop {
            let Some(waiter) = self.state.borrow_mut().waiters.pop_front() else {
                return Some(grant);
            };
            self.gauges.waiting.fetch_sub(1, Ordering::Relaxed);
            match waiter.send(grant) {
                Ok(()) => return None,
                Err(unwanted) => grant = unwanted,
            }
        }
    }

    /// One connection fewer is open: whoever waits may make another.
    fn has_closed_one(self: &Rc<Self>) {
        let mut state = self.state.borrow_mut();
        state.open -= 1;
        if state.waiters.is_empty() || state.open >= self.limits.connections {
            return;
        }
        state.open += 1;
        state.making += 1;
        drop(state);
        drop(self.hand(Grant::Make(Place(Some(Rc::clone(self))))));
    }

    fn take_back(self: &Rc<Self>, lease: &Lease) {
        let link = &lease.link;
        link.used.set(link.used.get() - 1);
        let is_spoiled = lease.stage == Stage::Begun
            && (self.limits.streams == 1 || link.fate.received() == lease.received);
        if is_spoiled || (!self.limits.reuse && lease.stage != Stage::Unused) {
            link.retired.set(true);
        }
        if link.is_usable() {
            return self.offer(link);
        }
        if link.used.get() > 0 {
            return;
        }
        if link.retired.get() && self.limits.reuse {
            // It stands still: an orderly end would wait for it without a limit.
            link.fate.cut();
        }
        if link.is_free.replace(false) {
            self.state
                .borrow_mut()
                .free
                .retain(|free| !Rc::ptr_eq(free, link));
        }
        self.has_closed_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let waiting = i64::try_from(self.state.get_mut().waiters.len()).unwrap_or(i64::MAX);
        self.gauges.waiting.fetch_sub(waiting, Ordering::Relaxed);
    }
}

impl Place {
    /// The connection was made.
    fn fill(mut self) {
        if let Some(pool) = self.0.take() {
            pool.state.borrow_mut().making -= 1;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pool) = self.0.take() {
            pool.state.borrow_mut().making -= 1;
            pool.has_closed_one();
        }
    }
}

impl Lease {
    /// The connection.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// A request is about to be sent on it; says whether it has carried one before.
    pub(crate) fn begin(&mut self) -> bool {
        self.stage = Stage::Begun;
        self.received = self.link.fate.received();
        let requests = self.link.requests.get();
        self.link.requests.set(requests.saturating_add(1));
        requests > 0
    }

    /// The answer was read whole.
    pub(crate) fn finish(mut self) {
        self.stage = Stage::Finished;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.take_back(self);
    }
}
