//! What is said on an open connection: turns, messages and their answers, pings, deliveries.

use super::{Connection, Outstanding, Phase, Post};
use crate::operation::{Failure, NEVER_NS};
use crate::websocket::frame::{Event, Opcode, ProtocolError, encode, encode_with};
use crate::websocket::group::Turn;
use crate::websocket::message::{FILLER, STAMP_BYTES, Stamp};
use crate::websocket::shared::{Outcome, Times};
use crate::websocket::wire::failure_of;

/// Reads of a slow consumer for one message before others have their turn.
const SLOW_READS: usize = 64;

/// Operations of one turn.
fn count(turn: Turn) -> u32 {
    match turn {
        Turn::Send { count, .. } => count,
        Turn::Ping => 1,
        Turn::Read | Turn::Never => 0,
    }
}

impl Connection {
    /// An answer is overdue, a turn is due, or the end.
    pub(super) fn on_open_time(&mut self, post: &mut Post<'_>, now_ns: u64) {
        while self.timeout_ns(post.group) <= now_ns {
            if let Some(overdue) = self.outstanding.pop_front() {
                self.record_answer(post, overdue, now_ns, Outcome::failed(Failure::Timeout));
            }
        }
        if post.shared.ending.is_some() {
            return self.wind_down(post, now_ns);
        }
        if self.at_ns > now_ns {
            return;
        }
        let intended_ns = self.at_ns;
        self.at_ns = intended_ns.saturating_add(post.group.every_ns);
        if post.group.turn == Turn::Read {
            self.may_read = true;
            return self.read_slowly(post);
        }
        let count = count(post.group.turn);
        post.shared.count_arrivals(count);
        if self.wire.as_ref().is_some_and(|wire| wire.is_blocked()) {
            self.give_up_deferred(post, now_ns);
            self.deferred_ns = intended_ns;
        } else {
            post.shared
                .count_lateness(count, now_ns.saturating_sub(intended_ns));
            self.say(post, intended_ns);
        }
    }

    /// Sends what the turn of `intended_ns` sends.
    fn say(&mut self, post: &mut Post<'_>, intended_ns: u64) {
        let Some(wire) = &mut self.wire else { return };
        let shared = &mut *post.shared;
        let sent_ns = shared.context.clock.now_ns();
        shared.scratch.clear();
        for _ in 0..count(post.group.turn) {
            let sequence = self.sequence;
            self.sequence = sequence.wrapping_add(1);
            let mask = shared.masks.next();
            if let Turn::Send { size, .. } = post.group.turn {
                let stamp = Stamp {
                    connection: post.group.position(post.slot) as u32,
                    sequence,
                    sent_us: shared.context.clock.unix_us(sent_ns),
                };
                encode_with(&mut shared.scratch, Opcode::Binary, mask, size, |out| {
                    out.extend_from_slice(&stamp.encode());
                    out.resize(out.len() + size - STAMP_BYTES, FILLER);
                });
            } else {
                let content = sequence.to_le_bytes();
                encode(&mut shared.scratch, Opcode::Ping, mask, &content);
            }
            self.outstanding.push_back(Outstanding {
                intended_ns,
                sent_ns,
                sequence,
            });
        }
        if let Err(error) = wire.send(&shared.scratch) {
            return self.lose(post, failure_of(&error, Failure::Reset));
        }
        if !wire.is_blocked() {
            self.on_sent(post);
        }
    }

    /// All that was sent is out: what is published is done thereby.
    fn on_sent(&mut self, post: &mut Post<'_>) {
        if !matches!(post.group.turn, Turn::Send { echo: false, .. }) {
            return;
        }
        let now_ns = post.shared.now_ns();
        while let Some(sent) = self.outstanding.pop_front() {
            let times = Times {
                intended_ns: sent.intended_ns,
                sent_ns: sent.sent_ns,
                first_byte_ns: NEVER_NS,
            };
            let endpoint = post.group.endpoints.message;
            post.shared
                .record(endpoint, times, now_ns, Outcome::default());
        }
    }

    /// The socket has room again.
    pub(super) fn on_room(&mut self, post: &mut Post<'_>) {
        if self.phase != Phase::Open {
            return;
        }
        self.on_sent(post);
        let intended_ns = std::mem::replace(&mut self.deferred_ns, NEVER_NS);
        if intended_ns != NEVER_NS {
            self.say(post, intended_ns);
        }
        self.close_when_answered(post);
    }

    fn close_when_answered(&mut self, post: &mut Post<'_>) {
        if self.phase == Phase::Open && post.shared.ending.is_some() && self.outstanding.is_empty()
        {
            self.close(post, NEVER_NS);
        }
    }

    /// What has been read goes to the decoder, and what that makes of it is acted on.
    pub(super) fn take(&mut self, post: &mut Post<'_>, mut input: &[u8]) {
        if !matches!(self.phase, Phase::Open | Phase::Closing) {
            return;
        }
        let now_ns = post.shared.now_ns();
        loop {
            if self.decoder.is_between_messages() {
                self.first_ns = now_ns;
            }
            match self.decoder.next(&mut input, post.shared.max_message) {
                Ok(None) => return,
                Ok(Some(event)) => self.on_event(post, event, now_ns),
                Err(error) => {
                    let failure = match error {
                        ProtocolError::TooLarge => Failure::TooLarge,
                        _ => Failure::Malformed,
                    };
                    return self.break_off(post, error.close_code(), failure);
                }
            }
            if !matches!(self.phase, Phase::Open | Phase::Closing) {
                return;
            }
        }
    }

    fn on_event(&mut self, post: &mut Post<'_>, event: Event, now_ns: u64) {
        match event {
            Event::Message { length, .. } => {
                self.may_read = false;
                let stamp = Stamp::decode(self.decoder.head());
                match (post.group.turn, stamp) {
                    (Turn::Send { echo: true, .. }, Some(stamp)) => {
                        self.on_echo(post, stamp, length, now_ns);
                    }
                    // Messages without a stamp are no answers, and have no delivery time.
                    (_, None) | (Turn::Ping, _) => {}
                    (_, Some(stamp)) => self.on_delivery(post, stamp, length, now_ns),
                }
            }
            Event::Ping => {
                let is_blocked = self.wire.as_ref().is_some_and(|wire| wire.is_blocked());
                // Where the socket has no room, an answer may wait for a later ping (RFC 6455,
                // 5.5.3): a flood of pings does not make memory grow.
                if self.phase == Phase::Open && !is_blocked {
                    let content = self.decoder.take_control();
                    let sent = self.send_control(post.shared, Opcode::Pong, &content);
                    if let Err(error) = sent {
                        self.lose(post, failure_of(&error, Failure::Reset));
                    }
                }
            }
            Event::Pong => {
                let sequence = self.decoder.control().try_into().map(u32::from_le_bytes);
                if let (Turn::Ping, Ok(sequence)) = (post.group.turn, sequence) {
                    self.answer(post, sequence, now_ns, Outcome::default());
                }
            }
            Event::Close(code) => self.on_close(post, code),
        }
    }

    fn on_echo(&mut self, post: &mut Post<'_>, stamp: Stamp, length: u64, now_ns: u64) {
        if stamp.connection != post.group.position(post.slot) as u32 {
            return;
        }
        let is_whole = matches!(post.group.turn, Turn::Send { size, .. } if size as u64 == length);
        let outcome = Outcome {
            failure: (!is_whole).then_some(Failure::Body),
            bytes: length,
            ..Outcome::default()
        };
        self.answer(post, stamp.sequence, now_ns, outcome);
    }

    /// An answer has come; one that comes too late finds nothing that waits for it.
    fn answer(&mut self, post: &mut Post<'_>, sequence: u32, now_ns: u64, outcome: Outcome) {
        let is_it = |outstanding: &Outstanding| outstanding.sequence == sequence;
        let Some(at) = self.outstanding.iter().position(is_it) else {
            return;
        };
        if let Some(answered) = self.outstanding.remove(at) {
            self.record_answer(post, answered, now_ns, outcome);
        }
        self.close_when_answered(post);
    }

    fn record_answer(&self, post: &Post<'_>, sent: Outstanding, done_ns: u64, outcome: Outcome) {
        let is_answered = outcome.failure.is_none_or(Failure::was_answered);
        let endpoint = match post.group.turn {
            Turn::Ping => post.group.endpoints.ping,
            _ => post.group.endpoints.message,
        };
        let times = Times {
            intended_ns: sent.intended_ns,
            sent_ns: sent.sent_ns,
            first_byte_ns: if is_answered { self.first_ns } else { NEVER_NS },
        };
        post.shared.record(endpoint, times, done_ns, outcome);
    }

    fn on_delivery(&self, post: &Post<'_>, stamp: Stamp, length: u64, now_ns: u64) {
        let origin_us = post.shared.context.clock.origin_us();
        let sent_us = u64::try_from(stamp.sent_us.saturating_sub(origin_us)).unwrap_or(0);
        let sent_ns = sent_us.saturating_mul(1_000);
        let times = Times {
            intended_ns: sent_ns,
            sent_ns,
            first_byte_ns: self.first_ns,
        };
        let outcome = Outcome {
            bytes: length,
            ..Outcome::default()
        };
        let endpoint = post.group.endpoints.delivery;
        post.shared.record(endpoint, times, now_ns, outcome);
    }

    /// Reads one message and not a byte more, where it may.
    pub(super) fn read_slowly(&mut self, post: &mut Post<'_>) {
        let mut buffer = std::mem::take(&mut post.shared.buffer);
        let mut reads = 0;
        while self.may_read && self.phase == Phase::Open {
            reads += 1;
            if reads > SLOW_READS {
                post.shared.again.push(post.slot);
                break;
            }
            let wanted = self.decoder.wanted().min(buffer.len());
            let Some(length) = self.read_part(post, &mut buffer[..wanted]) else {
                break;
            };
            self.take(post, &buffer[..length]);
        }
        post.shared.buffer = buffer;
    }

    /// From the stash first, then from the socket; `None` where there is nothing now.
    fn read_part(&mut self, post: &mut Post<'_>, part: &mut [u8]) -> Option<usize> {
        if let Some(stash) = &mut self.stash {
            let length = part.len().min(stash.len());
            part[..length].copy_from_slice(&stash[..length]);
            stash.drain(..length);
            if stash.is_empty() {
                self.stash = None;
            }
            return Some(length);
        }
        match self.wire.as_mut()?.read(part) {
            Ok(0) => {
                self.lose(post, Failure::Closed);
                None
            }
            Ok(length) => Some(length),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Some(0),
            Err(error) => {
                self.lose(post, failure_of(&error, Failure::Reset));
                None
            }
        }
    }

    fn give_up_deferred(&mut self, post: &Post<'_>, now_ns: u64) {
        let intended_ns = std::mem::replace(&mut self.deferred_ns, NEVER_NS);
        if intended_ns == NEVER_NS {
            return;
        }
        let endpoint = match post.group.turn {
            Turn::Ping => post.group.endpoints.ping,
            _ => post.group.endpoints.message,
        };
        for _ in 0..count(post.group.turn) {
            let outcome = Outcome::failed(Failure::Backpressure);
            post.shared
                .record(endpoint, Times::unsent(intended_ns), now_ns, outcome);
        }
    }

    /// Nothing that is outstanding will be answered any more.
    pub(super) fn give_up(&mut self, post: &Post<'_>, now_ns: u64, failure: Failure) {
        while let Some(outstanding) = self.outstanding.pop_front() {
            self.record_answer(post, outstanding, now_ns, Outcome::failed(failure));
        }
        self.give_up_deferred(post, now_ns);
    }
}
