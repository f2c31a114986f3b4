//! One connection at a time, and what is under way on it: a state machine of readiness and time.

use std::io::{Error, ErrorKind};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::answer::Answer;
use super::connector::{Connector, failure_of};
use super::head::Memo;
use super::http1::Job;
use super::request::Prepared;
use crate::clock::RunClock;
use crate::operation::{Failure, NEVER_NS, Operation};
use crate::worker::Gauges;

/// Reads for one connection before others have their turn.
const READS_IN_TURN: usize = 16;

/// What the other side has ended, or broken.
const PEER_DONE: EventFlags = EventFlags::RDHUP
    .union(EventFlags::HUP)
    .union(EventFlags::ERR);

/// What all slots of a worker share.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) clock: RunClock,
    pub(crate) epoll: Rc<OwnedFd>,
    pub(crate) requests: Vec<Prepared>,
    /// In the order of the requests.
    pub(crate) memos: Vec<Memo>,
    pub(crate) connector: Connector,
    pub(crate) buffer: Box<[u8]>,
    pub(crate) keep_alive: bool,
    pub(crate) timeout_ns: u64,
    pub(crate) connect_timeout_ns: u64,
    pub(crate) max_answer_bytes: u64,
    pub(crate) gauges: Arc<Gauges>,
}

/// What came of something that happened to a slot.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Nothing to tell.
    Pending,
    /// There is more to read, which no further event will tell.
    Again,
    /// The job has ended.
    Ended(Operation),
    /// An idle connection was closed by the other side.
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Vacant,
    Idle,
    Connecting,
    Exchanging,
}

/// A place for one connection.
#[derive(Debug)]
pub(crate) struct Slot {
    index: u32,
    /// Of the whole run's connections.
    number: u64,
    /// Grows with every connection, so that an event of an earlier one is not taken for its own.
    generation: u32,
    phase: Phase,
    socket: Option<TcpStream>,
    /// Of the present connection attempt, or the last one.
    attempt: usize,
    /// The connection has answered before.
    has_served: bool,
    has_retried: bool,
    peer_done: bool,
    job: Job,
    written: usize,
    sent_ns: u64,
    first_byte_ns: u64,
    deadline_ns: u64,
    bytes: u64,
    answer: Answer,
    /// Where it stands among the idle slots, for their table.
    pub(crate) idle_at: usize,
}

impl Slot {
    pub(crate) fn new(index: u32, number: u64) -> Self {
        Self {
            index,
            number,
            generation: 0,
            phase: Phase::Vacant,
            socket: None,
            attempt: 0,
            has_served: false,
            has_retried: false,
            peer_done: false,
            job: Job::default(),
            written: 0,
            sent_ns: NEVER_NS,
            first_byte_ns: NEVER_NS,
            deadline_ns: NEVER_NS,
            bytes: 0,
            answer: Answer::new(),
            idle_at: 0,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Exchanging)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    pub(crate) fn job(&self) -> Job {
        self.job
    }

    pub(crate) fn deadline_ns(&self) -> u64 {
        self.deadline_ns
    }

    /// Names the present connection in events.
    pub(crate) fn token(&self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// Takes a job; the slot is not busy.
    pub(crate) fn start(&mut self, wire: &mut Wire, job: Job, now_ns: u64) -> Turn {
        self.job = job;
        self.sent_ns = NEVER_NS;
        self.first_byte_ns = NEVER_NS;
        self.bytes = 0;
        self.has_retried = false;
        match self.phase {
            Phase::Idle => self.send(wire, now_ns),
            _ => self.connect(wire, now_ns),
        }
    }

    /// Takes what epoll says of the present connection.
    pub(crate) fn ready(&mut self, wire: &mut Wire, flags: EventFlags) -> Turn {
        match self.phase {
            Phase::Vacant => Turn::Pending,
            // An answer that nobody asked for is as bad as an end.
            Phase::Idle if flags.intersects(EventFlags::IN.union(PEER_DONE)) => {
                self.close();
                Turn::Lost
            }
            Phase::Idle => Turn::Pending,
            Phase::Connecting => match self.connected(wire) {
                Turn::Pending if self.phase == Phase::Exchanging => self.exchange(wire, flags),
                turn => turn,
            },
            Phase::Exchanging => {
                if flags.intersects(EventFlags::OUT)
                    && let turn @ Turn::Ended(_) = self.write(wire)
                {
                    return turn;
                }
                self.exchange(wire, flags)
            }
        }
    }

    /// Gives the job up for a reason that is not the other side's.
    pub(crate) fn give_up(&mut self, now_ns: u64, failure: Failure, wire: &Wire) -> Operation {
        self.close();
        self.operation(wire, now_ns, Some(failure))
    }

    /// What a job that has waited too long has waited for.
    pub(crate) fn overdue(&self) -> Failure {
        match self.phase {
            Phase::Connecting => Failure::ConnectTimeout,
            _ => Failure::Timeout,
        }
    }

    fn connect(&mut self, wire: &mut Wire, now_ns: u64) -> Turn {
        self.deadline_ns = now_ns.saturating_add(wire.connect_timeout_ns);
        if self.sent_ns != NEVER_NS {
            // A request that is sent again has no more time for that.
            let whole = self.sent_ns.saturating_add(wire.timeout_ns);
            self.deadline_ns = self.deadline_ns.min(whole);
        }
        self.attempt = 0;
        self.try_address(wire)
    }

    /// Tries addresses in their order, from the present attempt on.
    fn try_address(&mut self, wire: &mut Wire) -> Turn {
        loop {
            let failure = match wire.connector.open(self.attempt, self.number) {
                Ok(socket) => {
                    let flags =
                        EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
                    let data = EventData::new_u64(self.token());
                    match epoll::add(&*wire.epoll, &socket, data, flags) {
                        Ok(()) => {
                            self.socket = Some(socket);
                            self.phase = Phase::Connecting;
                            self.peer_done = false;
                            self.has_served = false;
                            return Turn::Pending;
                        }
                        Err(_) => Failure::Connect,
                    }
                }
                Err(failure) => failure,
            };
            self.attempt += 1;
            if failure == Failure::Descriptors || self.attempt >= wire.connector.addresses() {
                return self.fail(wire, failure);
            }
        }
    }

    fn connected(&mut self, wire: &mut Wire) -> Turn {
        let socket = self
            .socket
            .as_ref()
            .expect("a connecting slot has a socket");
        let error = match socket.take_error() {
            Ok(None) => {
                wire.connector.answered(self.attempt);
                let now_ns = wire.clock.now_ns();
                return self.send(wire, now_ns);
            }
            Ok(Some(error)) | Err(error) => error,
        };
        let failure = failure_of(&error, Failure::Connect);
        self.close();
        self.attempt += 1;
        if self.attempt < wire.connector.addresses() {
            return self.try_address(wire);
        }
        self.fail(wire, failure)
    }

    fn send(&mut self, wire: &mut Wire, now_ns: u64) -> Turn {
        if self.sent_ns == NEVER_NS {
            self.sent_ns = now_ns;
        }
        self.deadline_ns = self.sent_ns.saturating_add(wire.timeout_ns);
        self.written = 0;
        self.phase = Phase::Exchanging;
        self.answer
            .begin(wire.requests[self.job.request as usize].head_only);
        self.write(wire)
    }

    fn write(&mut self, wire: &mut Wire) -> Turn {
        let request = &wire.requests[self.job.request as usize];
        while self.written < request.bytes.len() {
            let socket = self
                .socket
                .as_ref()
                .expect("an exchanging slot has a socket");
            let rest = &request.bytes[self.written..];
            match send(socket, rest, SendFlags::NOSIGNAL).map_err(Error::from) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.broken(wire, failure_of(&error, Failure::Reset)),
            }
        }
        Turn::Pending
    }

    fn exchange(&mut self, wire: &mut Wire, flags: EventFlags) -> Turn {
        self.peer_done |= flags.intersects(PEER_DONE);
        match flags.intersects(EventFlags::IN.union(PEER_DONE)) {
            true => self.read(wire),
            false => Turn::Pending,
        }
    }

    fn read(&mut self, wire: &mut Wire) -> Turn {
        for _ in 0..READS_IN_TURN {
            let Some(socket) = self.socket.as_ref() else {
                return Turn::Pending;
            };
            let buffer = &mut wire.buffer[..];
            match recv(socket, buffer, RecvFlags::empty()).map_err(Error::from) {
                Ok((_, 0)) if self.answer.ends_with_connection() => {
                    let now_ns = wire.clock.now_ns();
                    self.close();
                    return self.whole(wire, now_ns);
                }
                Ok((_, 0)) => return self.broken(wire, Failure::Closed),
                Ok((_, count)) => {
                    let now_ns = wire.clock.now_ns();
                    if self.first_byte_ns == NEVER_NS {
                        self.first_byte_ns = now_ns;
                    }
                    self.bytes += count as u64;
                    match self.received(wire, count, now_ns) {
                        Turn::Pending if self.phase != Phase::Exchanging => return Turn::Pending,
                        Turn::Pending => {}
                        turn => return turn,
                    }
                    // Less than there was room for: nothing is left, and its end would have been
                    // told with it or will be told.
                    if count < wire.buffer.len() && !self.peer_done {
                        return Turn::Pending;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Turn::Pending,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.broken(wire, failure_of(&error, Failure::Reset)),
            }
        }
        Turn::Again
    }

    fn received(&mut self, wire: &mut Wire, count: usize, now_ns: u64) -> Turn {
        let request = self.job.request as usize;
        let memo = &mut wire.memos[request];
        let input = &wire.buffer[..count];
        match self.answer.feed(input, memo, wire.max_answer_bytes) {
            Ok(None) => Turn::Pending,
            Ok(Some(used)) => {
                let is_sent = self.written == wire.requests[request].bytes.len();
                let keeps = self.answer.keeps() && wire.keep_alive && !self.peer_done;
                if keeps && is_sent && used == count {
                    self.phase = Phase::Idle;
                    self.has_served = true;
                } else {
                    self.close();
                }
                self.whole(wire, now_ns)
            }
            Err(failure) => {
                self.close();
                Turn::Ended(self.operation(wire, now_ns, Some(failure)))
            }
        }
    }

    fn whole(&mut self, wire: &Wire, now_ns: u64) -> Turn {
        let took_ns = now_ns.saturating_sub(self.sent_ns);
        let request = &wire.requests[self.job.request as usize];
        let failure = request.judge(self.answer.status(), took_ns);
        Turn::Ended(self.operation(wire, now_ns, failure))
    }

    /// The connection broke under the job. One that was kept may have been closed before the
    /// request came: then it is sent again, once, if sending it twice does no harm.
    fn broken(&mut self, wire: &mut Wire, failure: Failure) -> Turn {
        let may_repeat = self.has_served
            && !self.has_retried
            && self.first_byte_ns == NEVER_NS
            && wire.requests[self.job.request as usize].idempotent;
        if !may_repeat {
            return self.fail(wire, failure);
        }
        self.has_retried = true;
        wire.gauges.retries.fetch_add(1, Ordering::Relaxed);
        self.close();
        let now_ns = wire.clock.now_ns();
        self.connect(wire, now_ns)
    }

    fn fail(&mut self, wire: &Wire, failure: Failure) -> Turn {
        self.close();
        Turn::Ended(self.operation(wire, wire.clock.now_ns(), Some(failure)))
    }

    fn close(&mut self) {
        if self.socket.take().is_some() {
            self.generation = self.generation.wrapping_add(1);
        }
        self.phase = Phase::Vacant;
    }

    fn operation(&self, wire: &Wire, done_ns: u64, failure: Option<Failure>) -> Operation {
        Operation {
            endpoint: wire.requests[self.job.request as usize].endpoint,
            status: if self.sent_ns == NEVER_NS {
                0
            } else {
                self.answer.status()
            },
            failure,
            intended_ns: self.job.intended_ns,
            sent_ns: self.sent_ns,
            first_byte_ns: self.first_byte_ns,
            done_ns,
            bytes: self.bytes,
        }
    }
}
