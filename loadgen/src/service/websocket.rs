//! A WebSocket connection: echoes, or takes part in a room.
//!
//! It reads into the thread's buffer and answers out of it, so that an idle connection holds no
//! buffer at all. Frames are left to `frame`, rooms to `rooms`.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::ReadBuf;

use super::fault::linger;
use super::frame::{self, Assembly, CloseCode, Event, HEAD_BYTES, Opcode};
use super::rooms::Membership;
use super::stream::{Outbox, Stream};
use super::worker::{Scratch, Worker};

/// Answers are sent when they are that many bytes, before more is answered.
const MOST_OUT_BYTES: usize = 64 * 1024;

/// Where a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Echo,
    Room(Box<str>),
}

/// Serves a connection whose handshake is done; `rest` was read beyond it.
pub(crate) async fn serve<S: Stream>(worker: Rc<Worker>, stream: S, rest: Vec<u8>, place: Place) {
    worker.meter().sockets.add(1);
    let membership = match place {
        Place::Echo => None,
        Place::Room(name) => Some(Membership::join(&worker, &name)),
    };
    let mut socket = Socket {
        stream,
        worker: Rc::clone(&worker),
        outbox: Outbox::default(),
        again: !rest.is_empty(),
        pending: rest,
        needs: 0,
        assembly: None,
        membership,
        closing: false,
    };
    let served = poll_fn(|cx| socket.poll_serve(cx)).await;
    socket.membership = None;
    worker.meter().sockets.subtract(1);
    if matches!(served, Ok(Last::Closed)) {
        // Both sides closed by a frame, and RFC 6455, 7.1.1 lets the server close the connection.
        let _ = Box::pin(linger(socket.stream)).await;
    }
}

/// How it ended.
enum Last {
    /// By a frame.
    Closed,
    /// The client left without one.
    Left,
}

struct Socket<S> {
    stream: S,
    worker: Rc<Worker>,
    outbox: Outbox,
    /// A frame that is not whole.
    pending: Vec<u8>,
    again: bool,
    needs: usize,
    /// A message that is not whole.
    assembly: Option<Box<Assembly>>,
    membership: Option<Membership>,
    /// A close frame was written.
    closing: bool,
}

impl<S: Stream> Socket<S> {
    fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Last>> {
        let worker = Rc::clone(&self.worker);
        loop {
            // Whoever does not read is not read from either.
            if !self.outbox.is_idle() {
                ready!(self.outbox.poll_drain(&mut self.stream, cx))?;
            }
            if self.closing {
                return Poll::Ready(Ok(Last::Closed));
            }
            let mut scratch = worker.scratch.borrow_mut();
            scratch.clear();
            let Scratch { read, out, .. } = &mut *scratch;
            self.collect(out, cx);
            if out.is_empty() && !self.closing {
                if std::mem::take(&mut self.again) {
                    let mut pending = std::mem::take(&mut self.pending);
                    let used = self.process(&mut pending, out);
                    self.pending = pending[used..].to_vec();
                } else {
                    let mut buffer = ReadBuf::new(read);
                    ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
                    if buffer.filled().is_empty() {
                        return Poll::Ready(Ok(Last::Left));
                    }
                    self.accept(buffer.filled_mut(), out);
                }
            }
            if !out.is_empty() {
                self.outbox.offer(&mut self.stream, cx, out)?;
            }
        }
    }

    /// Takes what the room has for this member.
    fn collect(&mut self, out: &mut Vec<u8>, cx: &mut Context<'_>) {
        let Some(membership) = &self.membership else {
            return;
        };
        membership.collect(out, MOST_OUT_BYTES, cx.waker());
        if membership.is_evicted() {
            frame::write_close(out, CloseCode::TooSlow);
            self.closing = true;
        }
    }

    fn accept(&mut self, bytes: &mut [u8], out: &mut Vec<u8>) {
        if self.pending.is_empty() {
            let used = self.process(bytes, out);
            self.pending = bytes[used..].to_vec();
            return;
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= self.needs {
            let mut pending = std::mem::take(&mut self.pending);
            let used = self.process(&mut pending, out);
            self.pending = pending[used..].to_vec();
        }
    }

    /// Answers the whole frames in bytes; tells how many bytes they were.
    fn process(&mut self, bytes: &mut [u8], out: &mut Vec<u8>) -> usize {
        let most = self.worker.shared.config.max_message_bytes;
        let mut used = 0;
        while used < bytes.len() && !self.closing {
            if out.len() > MOST_OUT_BYTES {
                self.again = true;
                break;
            }
            let head = match frame::parse_head(&bytes[used..], most) {
                Ok(Some(head)) => head,
                Ok(None) => {
                    self.needs = bytes.len() - used + 1;
                    break;
                }
                Err(code) => {
                    self.close(code, out);
                    break;
                }
            };
            let whole = head.head_bytes + head.payload_bytes;
            let Some(payload) = bytes.get_mut(used + head.head_bytes..used + whole) else {
                self.needs = whole;
                break;
            };
            frame::unmask(payload, head.mask);
            used += whole;
            self.react(&head, payload, out);
        }
        match self.closing {
            // What follows a close is not looked at.
            true => bytes.len(),
            false => used,
        }
    }

    fn react(&mut self, head: &frame::Head, payload: &[u8], out: &mut Vec<u8>) {
        let most = self.worker.shared.config.max_message_bytes;
        // A message in one frame needs no assembly, so most connections never have one.
        let mut assembly = self.assembly.take().unwrap_or_default();
        match assembly.accept(head, payload, most) {
            Ok(Event::Message(opcode, payload)) => self.message(opcode, payload, out),
            Ok(Event::Assembled(opcode)) => {
                let message = assembly.take();
                self.message(opcode, &message, out);
            }
            Ok(Event::Ping(payload)) => frame::write(out, Opcode::Pong, payload),
            Ok(Event::Close(payload)) => {
                frame::write(out, Opcode::Close, payload);
                self.closing = true;
            }
            Ok(Event::Nothing) => {}
            Err(code) => self.close(code, out),
        }
        self.assembly = assembly.is_open().then_some(assembly);
    }

    fn message(&mut self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
        self.worker.meter().messages.add(1);
        match &self.membership {
            None => frame::write(out, opcode, payload),
            Some(membership) => {
                let mut whole = Vec::with_capacity(HEAD_BYTES + payload.len());
                frame::write(&mut whole, opcode, payload);
                membership.publish(&Bytes::from(whole));
            }
        }
    }

    fn close(&mut self, code: CloseCode, out: &mut Vec<u8>) {
        frame::write_close(out, code);
        self.closing = true;
    }
}
