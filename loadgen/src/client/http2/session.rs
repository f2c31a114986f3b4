//! What is said on one connection of HTTP/2 (RFC 9113), from the client's side: bytes in, bytes out,
//! and requests that end. It knows no socket; when a connection is made or given up is left to
//! `link`, and which connection a request takes to the table.

mod answers;
mod control;

use std::collections::VecDeque;

use super::encoder::{Encoder, Fields, Token};
use super::frame::{self, Code, FIRST_WINDOW, HEAD_BYTES, MAX_PAYLOAD_BYTES, flag, kind, setting};
use super::hpack::Decoder;
use super::streams::{Stream, Streams, Work};
use crate::client::head::MAX_HEAD_BYTES;
use crate::client::{Ended, Prepared};
use crate::operation::{Failure, NEVER_NS};

/// The receiving windows, of the connection and of each stream: so large that updating them costs
/// nothing. What is received is counted and not kept, so that there is nothing to protect.
const WINDOW: u32 = 1 << 30;

/// Streams before the peer has said how many it allows: what RFC 9113, 6.5.2, recommends that every
/// peer allow at least.
pub(crate) const STREAMS_AT_FIRST: u32 = 100;

/// Bodies wait while this much is still to be written.
const MAX_UNWRITTEN_BYTES: usize = 256 * 1_024;

/// Answers to a peer's pings and settings that it has not taken.
const MAX_UNWRITTEN_ANSWERS: u32 = 10_000;

/// What sessions tell and need.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) requests: Vec<Prepared>,
    /// In the order of the requests.
    pub(crate) tokens: Vec<Vec<Token>>,
    pub(crate) fields: Fields,
    pub(crate) timeout_ns: u64,
    pub(crate) max_answer_bytes: u64,
    /// Most streams of a connection.
    pub(crate) streams: u32,
    /// Whether a connection carries more than one request.
    pub(crate) keep_alive: bool,
    /// Jobs that have ended.
    pub(crate) ended: Vec<Ended>,
    /// Works to be sent once more.
    pub(crate) again: Vec<Work>,
}

/// One connection's state.
#[derive(Debug)]
pub(crate) struct Session {
    streams: Streams,
    encoder: Encoder,
    decoder: Decoder,
    /// To be written.
    pub(crate) out: Vec<u8>,
    /// A frame that is not whole yet.
    pending: Vec<u8>,
    /// A header section that is not whole yet.
    section: Option<PartialSection>,
    /// Streams whose requests are not written yet.
    unsent: Vec<u32>,
    /// Streams whose bodies wait for a window.
    blocked: VecDeque<u32>,
    window: i64,
    peer_first_window: i64,
    /// None until the peer's settings have come.
    peer_streams: Option<u32>,
    unacknowledged: u64,
    unwritten_answers: u32,
    has_served: bool,
    is_retired: bool,
    received_ns: u64,
}

#[derive(Debug)]
struct PartialSection {
    stream: u32,
    ends_stream: bool,
    bytes: Vec<u8>,
}

impl Desk {
    /// Notes the end of a stream.
    pub(crate) fn end(&mut self, stream: &Stream, done_ns: u64, failure: Option<Failure>) {
        let job = stream.work.job;
        let endpoint = self.requests[job.request as usize].endpoint;
        let operation = stream.operation(endpoint, done_ns, failure);
        self.ended.push(Ended { job, operation });
    }

    /// Sends a work once more if that was not done before; it ends otherwise.
    fn retry(&mut self, stream: &Stream, done_ns: u64, failure: Failure) {
        if stream.work.has_retried {
            return self.end(stream, done_ns, Some(failure));
        }
        self.again.push(Work {
            has_retried: true,
            ..stream.work
        });
    }

    fn request(&self, stream: &Stream) -> &Prepared {
        &self.requests[stream.work.job.request as usize]
    }
}

impl Session {
    /// A session that has said what it must say first.
    pub(crate) fn new() -> Self {
        let mut out = frame::PREFACE.to_vec();
        let mut settings = Vec::new();
        for (name, value) in [
            (setting::ENABLE_PUSH, 0),
            (setting::INITIAL_WINDOW_SIZE, WINDOW),
            (setting::MAX_HEADER_LIST_SIZE, MAX_HEAD_BYTES as u32),
        ] {
            settings.extend_from_slice(&name.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        frame::write(&mut out, kind::SETTINGS, 0, 0, &settings);
        let more = WINDOW - FIRST_WINDOW as u32;
        frame::write(&mut out, kind::WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        Self {
            streams: Streams::new(),
            encoder: Encoder::default(),
            decoder: Decoder::new(),
            out,
            pending: Vec::new(),
            section: None,
            unsent: Vec::new(),
            blocked: VecDeque::new(),
            window: FIRST_WINDOW,
            peer_first_window: FIRST_WINDOW,
            peer_streams: None,
            unacknowledged: 0,
            unwritten_answers: 0,
            has_served: false,
            is_retired: false,
            received_ns: 0,
        }
    }

    /// How many more requests it can take now.
    pub(crate) fn room(&self, desk: &Desk) -> usize {
        let is_spent = !desk.keep_alive && self.streams.has_opened();
        if self.is_retired || is_spent || !self.streams.may_open() {
            return 0;
        }
        let allowed = self.peer_streams.unwrap_or(STREAMS_AT_FIRST);
        (allowed.min(desk.streams) as usize).saturating_sub(self.streams.live())
    }

    /// Whether nothing is under way and nothing further will be.
    pub(crate) fn is_over(&self, desk: &Desk) -> bool {
        let is_spent = !desk.keep_alive && self.streams.has_opened();
        let takes_no_more = self.is_retired || is_spent || !self.streams.may_open();
        self.streams.live() == 0 && takes_no_more
    }

    /// Puts a request among what is to be written; there must be room.
    pub(crate) fn open(&mut self, work: Work, desk: &Desk) {
        let id = self.streams.open(work, self.peer_first_window);
        let request = work.job.request as usize;
        let at = self.out.len();
        self.out.extend_from_slice(&[0; HEAD_BYTES]);
        let tokens = &desk.tokens[request];
        self.encoder
            .encode(request, tokens, &desk.fields, &mut self.out);
        let has_body = !desk.requests[request].bytes.is_empty();
        frame::close_section(&mut self.out, at, id, !has_body);
        self.unsent.push(id);
        if has_body && !self.send_body(id, desk) {
            self.blocked.push_back(id);
        }
    }

    /// What is to be written is about to be.
    pub(crate) fn note_sent(&mut self, now_ns: u64) {
        for id in self.unsent.drain(..) {
            if let Some(stream) = self.streams.get(id)
                && stream.work.sent_ns == NEVER_NS
            {
                stream.work.sent_ns = now_ns;
            }
        }
    }

    /// All of it was written; says whether there is more now.
    pub(crate) fn note_written(&mut self, desk: &Desk) -> bool {
        self.out.clear();
        self.unwritten_answers = 0;
        self.send_blocked(desk);
        !self.out.is_empty()
    }

    /// Takes what was received. After an error the connection is to be closed, which `out` tells.
    pub(crate) fn received(
        &mut self,
        input: &[u8],
        now_ns: u64,
        desk: &mut Desk,
    ) -> Result<(), Failure> {
        self.received_ns = now_ns;
        self.frames(input, now_ns, desk).map_err(|code| {
            self.say_goodbye(code);
            Failure::Malformed
        })
    }

    /// Gives up requests whose time is over; when the next one will be. A connection on which nothing
    /// at all came meanwhile stands still, and gets no further requests.
    pub(crate) fn sweep(&mut self, now_ns: u64, desk: &mut Desk) -> u64 {
        let mut next_ns = NEVER_NS;
        let mut overdue = Vec::new();
        for stream in self.streams.iter() {
            let deadline_ns = stream.work.sent_ns.saturating_add(desk.timeout_ns);
            match deadline_ns <= now_ns {
                true => overdue.push(stream.id),
                false => next_ns = next_ns.min(deadline_ns),
            }
        }
        for id in overdue {
            if let Some(stream) = self.streams.take(id) {
                self.is_retired |= self.received_ns < stream.work.sent_ns;
                self.reset(id, Code::Cancel);
                desk.end(&stream, now_ns, Some(Failure::Timeout));
            }
        }
        next_ns
    }

    /// The connection is broken: requests end, or are sent once more where that is safe.
    pub(crate) fn broken(&mut self, failure: Failure, now_ns: u64, desk: &mut Desk) {
        for stream in self.take_all() {
            let may_repeat = self.has_served
                && matches!(failure, Failure::Closed | Failure::Reset)
                && stream.first_byte_ns == NEVER_NS
                && desk.request(&stream).idempotent;
            match may_repeat {
                true => desk.retry(&stream, now_ns, failure),
                false => desk.end(&stream, now_ns, Some(failure)),
            }
        }
    }

    /// Ends all requests.
    pub(crate) fn abandon(&mut self, failure: Failure, now_ns: u64, desk: &mut Desk) {
        for stream in self.take_all() {
            desk.end(&stream, now_ns, Some(failure));
        }
    }

    /// Says that the connection ends.
    pub(crate) fn say_goodbye(&mut self, code: Code) {
        let mut payload = [0; 8];
        payload[4..].copy_from_slice(&(code as u32).to_be_bytes());
        frame::write(&mut self.out, kind::GOAWAY, 0, 0, &payload);
        self.is_retired = true;
    }

    /// Ends all streams, in the order in which they were opened.
    fn take_all(&mut self) -> Vec<Stream> {
        let mut ids: Vec<u32> = self.streams.iter().map(|stream| stream.id).collect();
        ids.sort_unstable();
        ids.into_iter()
            .filter_map(|id| self.streams.take(id))
            .collect()
    }

    fn reset(&mut self, id: u32, code: Code) {
        let code = (code as u32).to_be_bytes();
        frame::write(&mut self.out, kind::RST_STREAM, 0, id, &code);
    }

    /// Sends of a request's body what the windows allow; says whether that was all of it.
    fn send_body(&mut self, id: u32, desk: &Desk) -> bool {
        let Some(stream) = self.streams.get(id) else {
            return true;
        };
        let body = &desk.request(stream).bytes;
        while stream.body_at < body.len() {
            let window = self.window.min(stream.window).max(0) as usize;
            let rest = &body[stream.body_at..];
            let count = rest.len().min(MAX_PAYLOAD_BYTES).min(window);
            if count == 0 || self.out.len() > MAX_UNWRITTEN_BYTES {
                return false;
            }
            let end = if count == rest.len() {
                flag::END_STREAM
            } else {
                0
            };
            frame::write(&mut self.out, kind::DATA, end, id, &rest[..count]);
            stream.body_at += count;
            stream.window -= count as i64;
            self.window -= count as i64;
        }
        true
    }

    /// Lets every body that waits have its turn.
    fn send_blocked(&mut self, desk: &Desk) {
        for _ in 0..self.blocked.len() {
            let Some(id) = self.blocked.pop_front() else {
                return;
            };
            if !self.send_body(id, desk) {
                self.blocked.push_back(id);
            }
        }
    }
}
