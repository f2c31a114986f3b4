//! The loop of HTTP/1.1: reads into the thread's buffer, answers what it can at once, and keeps per
//! connection only what is unfinished.
//!
//! The answers themselves are left to `routes`, their delays to `worker`.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::ReadBuf;

use super::answer::{Answer, Body, PATTERN, Reply};
use super::control::Fate;
use super::fault;
use super::request::{Chunks, Method, Rejection, Request, Taken, take};
use super::routes::route;
use super::stream::{Outbox, Stream};
use super::websocket::Place;
use super::worker::{InFlight, Row, Scratch, Worker};

/// How a connection of HTTP/2 begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Answers to pipelined requests are sent when they are that many bytes.
const MOST_OUT_BYTES: usize = 64 * 1024;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a fate is without one.
const AT_ONCE: Fate = Fate {
    fails: false,
    service: Duration::ZERO,
    latency: Duration::ZERO,
};

/// How HTTP/1.1 ends on a connection.
pub(crate) enum Ending<S> {
    Closed,
    WebSocket {
        stream: S,
        rest: Vec<u8>,
        place: Place,
    },
    Http2 {
        stream: S,
        rest: Vec<u8>,
    },
}

/// A connection.
pub(crate) struct Http1<S> {
    worker: Rc<Worker>,
    stream: S,
    outbox: Outbox,
    /// Bytes that were read and not yet understood.
    pending: Vec<u8>,
    /// Whether something whole may be in `pending`.
    again: bool,
    /// Bytes that `pending` must hold before it is looked at again.
    needs: usize,
    chunks: Chunks,
    /// When the first byte of what is in `pending` was read.
    first_byte: Option<Instant>,
    read_at: Instant,
    /// Whether `100 Continue` was sent for the request in `pending`.
    continued: bool,
    /// Whether nothing was answered yet.
    fresh: bool,
    /// Requests whose answers are in the outbox.
    rows: Vec<Row>,
}

/// What cannot go on within a poll.
enum Outcome {
    /// The client closed.
    Ended,
    /// The answer that closes the connection was written.
    Closing,
    Deferred(Box<Deferred>),
    Http2,
}

/// A request whose answer needs time.
struct Deferred {
    answer: Answer,
    fate: Fate,
    keep_alive: bool,
    head_only: bool,
    row: Row,
}

impl<S: Stream> Http1<S> {
    pub(crate) fn new(worker: Rc<Worker>, stream: S) -> Self {
        Self {
            worker,
            stream,
            outbox: Outbox::default(),
            pending: Vec::new(),
            again: false,
            needs: 0,
            chunks: Chunks::default(),
            first_byte: None,
            read_at: Instant::now(),
            continued: false,
            fresh: true,
            rows: Vec::new(),
        }
    }

    /// Serves until the connection closes or becomes another protocol's.
    pub(crate) async fn serve(mut self) -> io::Result<Ending<S>> {
        let served = self.until_ended().await;
        let now = Instant::now();
        // What is left here was never wholly written.
        for row in self.rows.drain(..) {
            self.worker.finish(Row { status: 0, ..row }, now);
        }
        match served? {
            End::Closed => Ok(Ending::Closed),
            End::Lingers => {
                Box::pin(fault::linger(self.stream)).await?;
                Ok(Ending::Closed)
            }
            End::Http2 => Ok(Ending::Http2 {
                stream: self.stream,
                rest: self.pending,
            }),
            End::WebSocket(place) => Ok(Ending::WebSocket {
                stream: self.stream,
                rest: self.pending,
                place,
            }),
            End::Fault(fault, row) => {
                let worker = Rc::clone(&self.worker);
                let _in_flight = InFlight::new(&worker);
                let committed = Box::pin(fault::commit(fault, self.stream)).await;
                worker.finish(*row, Instant::now());
                committed.map(|()| Ending::Closed)
            }
        }
    }

    async fn until_ended(&mut self) -> io::Result<End> {
        loop {
            let outcome = poll_fn(|cx| self.poll_step(cx)).await?;
            self.drain().await?;
            match outcome {
                Outcome::Ended => return Ok(End::Closed),
                Outcome::Closing => return Ok(End::Lingers),
                Outcome::Http2 => return Ok(End::Http2),
                Outcome::Deferred(deferred) => {
                    if let Some(end) = Box::pin(self.respond(*deferred)).await? {
                        return Ok(end);
                    }
                    self.again = !self.pending.is_empty();
                }
            }
        }
    }

    /// Reads and answers until something takes longer.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Outcome>> {
        let worker = Rc::clone(&self.worker);
        loop {
            ready!(self.poll_drain(cx))?;
            let mut scratch = worker.scratch.borrow_mut();
            scratch.clear();
            let Scratch { read, out, rows } = &mut *scratch;
            let outcome = if std::mem::take(&mut self.again) {
                self.process_pending(out, rows)
            } else {
                let mut buffer = ReadBuf::new(read);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
                self.read_at = Instant::now();
                match buffer.filled() {
                    [] => Some(Outcome::Ended),
                    bytes if self.pending.is_empty() => {
                        let (used, outcome) = self.process(bytes, out, rows);
                        self.keep(&bytes[used..], used);
                        outcome
                    }
                    bytes => {
                        self.pending.extend_from_slice(bytes);
                        match self.pending.len() < self.needs {
                            true => None,
                            false => self.process_pending(out, rows),
                        }
                    }
                }
            };
            if !out.is_empty() {
                self.outbox.offer(&mut self.stream, cx, out)?;
            }
            if self.outbox.is_idle() {
                if !rows.is_empty() {
                    let now = Instant::now();
                    rows.drain(..).for_each(|row| worker.finish(row, now));
                }
            } else {
                self.rows.append(rows);
            }
            if let Some(outcome) = outcome {
                return Poll::Ready(Ok(outcome));
            }
        }
    }

    fn process_pending(&mut self, out: &mut Vec<u8>, rows: &mut Vec<Row>) -> Option<Outcome> {
        let pending = std::mem::take(&mut self.pending);
        let (used, outcome) = self.process(&pending, out, rows);
        self.keep(&pending[used..], used);
        outcome
    }

    /// Keeps what was not used for the next time.
    fn keep(&mut self, rest: &[u8], used: usize) {
        self.pending = rest.to_vec();
        self.first_byte = match (rest, used) {
            ([], _) => None,
            (_, 0) => self.first_byte.or(Some(self.read_at)),
            _ => Some(self.read_at),
        };
    }

    /// Answers the whole requests in bytes, as far as that goes at once; tells how many were used.
    fn process(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        rows: &mut Vec<Row>,
    ) -> (usize, Option<Outcome>) {
        if self.fresh {
            let common = bytes.len().min(PREFACE.len());
            if bytes[..common] == PREFACE[..common] {
                self.needs = bytes.len() + 1;
                return (0, (common == PREFACE.len()).then_some(Outcome::Http2));
            }
        }
        let mut used = 0;
        while used < bytes.len() {
            if out.len() > MOST_OUT_BYTES {
                self.again = true;
                break;
            }
            let arrival = match used {
                0 => self.first_byte.unwrap_or(self.read_at),
                _ => self.read_at,
            };
            let taken = take(&bytes[used..], &mut self.chunks);
            match taken {
                Err(rejection) => {
                    self.reject(rejection, arrival, out, rows);
                    return (bytes.len(), Some(Outcome::Closing));
                }
                Ok(Taken::Needs { bytes, waits }) => {
                    self.needs = bytes;
                    if waits && !std::mem::replace(&mut self.continued, true) {
                        out.extend_from_slice(CONTINUE);
                    }
                    break;
                }
                Ok(Taken::Whole {
                    request,
                    bytes,
                    chunked,
                }) => {
                    used += bytes;
                    self.fresh = false;
                    self.continued = false;
                    let decoded = match chunked {
                        true => self.chunks.take(),
                        false => Vec::new(),
                    };
                    let body = match chunked {
                        true => &decoded,
                        false => request.body,
                    };
                    let outcome = self.answer(&Request { body, ..request }, arrival, out, rows);
                    if outcome.is_some() {
                        return (used, outcome);
                    }
                }
            }
        }
        (used, None)
    }

    fn answer(
        &mut self,
        request: &Request<'_>,
        arrival: Instant,
        out: &mut Vec<u8>,
        rows: &mut Vec<Row>,
    ) -> Option<Outcome> {
        let worker = &self.worker;
        let answer = route(worker, request);
        let mut row = worker.row(arrival, request.target);
        let head_only = request.method == Method::Head;
        let keep_alive = request.keep_alive;
        let mut fate = None;
        if let Answer::Reply(reply) = &answer {
            fate = worker.fate(request.target, reply, arrival);
            let long = matches!(reply.body, Body::Pattern(bytes) | Body::Chunked(bytes) if bytes > PATTERN.len());
            if fate.is_none() && !long {
                row.status = reply.status;
                // HTTP/1.0 must be told that the connection stays.
                let version_10 = request.version_10 && keep_alive;
                write_whole(reply, out, keep_alive, head_only, version_10);
                rows.push(row);
                return (!keep_alive).then_some(Outcome::Closing);
            }
        }
        Some(Outcome::Deferred(Box::new(Deferred {
            answer,
            fate: fate.unwrap_or(AT_ONCE),
            // A delayed answer to HTTP/1.0 closes, which it expects.
            keep_alive: keep_alive && !request.version_10,
            head_only,
            row,
        })))
    }

    fn reject(
        &mut self,
        rejection: Rejection,
        arrival: Instant,
        out: &mut Vec<u8>,
        rows: &mut Vec<Row>,
    ) {
        let reply = Reply::from(rejection);
        let mut row = self.worker.row(arrival, "");
        row.status = reply.status;
        write_whole(&reply, out, false, false, false);
        rows.push(row);
    }

    /// Answers a request that needs time; tells how the connection ends, if it does.
    async fn respond(&mut self, deferred: Deferred) -> io::Result<Option<End>> {
        let Deferred {
            answer,
            fate,
            keep_alive,
            head_only,
            mut row,
        } = deferred;
        let worker = Rc::clone(&self.worker);
        let (mut reply, place) = match answer {
            Answer::Fault(fault) => return Ok(Some(End::Fault(fault, Box::new(row)))),
            Answer::Reply(reply) => (reply, None),
            Answer::WebSocket { accept, place } => {
                let reply = Reply::new(101, "", "")
                    .with("upgrade", "websocket")
                    .with("connection", "upgrade")
                    .with("sec-websocket-accept", accept);
                (reply, Some(place))
            }
        };
        let in_flight = InFlight::new(&worker);
        if let Some(instead) = worker.undergo(fate, &mut row).await? {
            reply = instead;
        }
        row.status = reply.status;
        self.rows.push(row);
        let mut first = true;
        let mut tail = None;
        while first || tail.is_some() {
            poll_fn(|cx| {
                let mut scratch = worker.scratch.borrow_mut();
                scratch.clear();
                let out = &mut scratch.out;
                tail = match (first, tail) {
                    (true, _) => reply.write(out, keep_alive || place.is_some(), head_only),
                    (false, rest) => rest.and_then(|rest: super::answer::Tail| rest.write(out)),
                };
                first = false;
                Poll::Ready(self.outbox.offer(&mut self.stream, cx, out))
            })
            .await?;
            poll_fn(|cx| self.outbox.poll_drain(&mut self.stream, cx)).await?;
        }
        drop(in_flight);
        self.drain().await?;
        Ok(match place {
            Some(place) => Some(End::WebSocket(place)),
            None => (!keep_alive).then_some(End::Lingers),
        })
    }

    async fn drain(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_drain(cx)).await
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.outbox.is_idle() {
            ready!(self.outbox.poll_drain(&mut self.stream, cx))?;
        }
        if !self.rows.is_empty() {
            let now = Instant::now();
            for row in std::mem::take(&mut self.rows) {
                self.worker.finish(row, now);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// How the loop ended.
enum End {
    Closed,
    /// The last answer is written; the client may still be sending.
    Lingers,
    Http2,
    WebSocket(Place),
    Fault(fault::Fault, Box<Row>),
}

fn write_whole(
    reply: &Reply,
    out: &mut Vec<u8>,
    keep_alive: bool,
    head_only: bool,
    version_10: bool,
) {
    let start = out.len();
    let mut tail = reply.write(out, keep_alive, head_only);
    if version_10 {
        let line = out[start..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let at = start + line;
        out.splice(at..at, *b"connection: keep-alive\r\n");
    }
    while let Some(rest) = tail {
        tail = rest.write(out);
    }
}
