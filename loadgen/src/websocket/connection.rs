//! One connection's life: made, shaken hands with, open, closing, made again. It has no task of its
//! own; [`super::fleet`] tells it what has happened to its socket and when its time has come.
//! What is said while it is open stands in [`talk`], the way to an open connection in [`opening`].

use std::collections::VecDeque;

use super::frame::{Decoder, Opcode, encode};
use super::group::Group;
use super::poller::Ready;
use super::shared::{Outcome, Shared, Times};
use super::wire::{Wire, failure_of};
use crate::operation::{Failure, NEVER_NS};

mod opening;
mod talk;

/// How long the peer's close frame is waited for where the run goes on.
const CLOSE_WAIT_NS: u64 = 1_000_000_000;
/// How long the peer may take to end the TCP connection after the closing handshake. It is the
/// server's part (RFC 6455, 7.1.1), and leaves the ephemeral port free on this side.
const LINGER_NS: u64 = 250_000_000;
/// The status of a connection that ended without a close frame.
const ABNORMAL: u16 = 1006;
/// The status of a close frame without a code.
const NO_CODE: u16 = 1005;
/// Reads of one socket before others have their turn.
const READS: usize = 16;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not made yet, or to be made again.
    Waiting,
    /// TCP is under way.
    Connecting,
    /// TLS is under way.
    Securing,
    /// The handshake's answer is awaited.
    Shaking,
    /// Open.
    Open,
    /// Our close frame is out, the peer's is awaited.
    Closing,
    /// Closed; the peer has not ended the TCP connection yet.
    Lingering,
    /// Nothing comes any more.
    Ended,
}

/// A message or ping whose answer is awaited.
#[derive(Debug, Clone, Copy)]
struct Outstanding {
    intended_ns: u64,
    sent_ns: u64,
    sequence: u32,
}

/// See the module. Kept small: there may be a hundred thousand.
#[derive(Debug)]
pub(crate) struct Connection {
    wire: Option<Wire>,
    opening: Option<Box<opening::Opening>>,
    decoder: Decoder,
    outstanding: VecDeque<Outstanding>,
    /// What a slow consumer has been given with the handshake's answer and has not read yet.
    stash: Option<Vec<u8>>,
    /// The valid entry of the timers.
    pub(crate) armed_ns: u64,
    /// Waiting: when it is intended to be made. Open: its next turn. Closing: when our close frame
    /// was sent. Lingering: since when.
    at_ns: u64,
    /// When it is intended to be made again; [`NEVER_NS`] where it is not.
    again_ns: u64,
    /// When the first byte of the message that is under way came.
    first_ns: u64,
    /// The turn that waits for the socket to have room.
    deferred_ns: u64,
    sequence: u32,
    attempt: u32,
    pub(crate) group: u16,
    phase: Phase,
    /// A slow consumer may read one message.
    may_read: bool,
}

/// A connection's surroundings.
pub(crate) struct Post<'a> {
    pub(crate) shared: &'a mut Shared,
    pub(crate) group: &'a Group,
    pub(crate) slot: u32,
}

impl Connection {
    pub(crate) fn new(group: u16) -> Self {
        Self {
            wire: None,
            opening: None,
            decoder: Decoder::new(),
            outstanding: VecDeque::new(),
            stash: None,
            armed_ns: NEVER_NS,
            at_ns: NEVER_NS,
            again_ns: NEVER_NS,
            first_ns: NEVER_NS,
            deferred_ns: NEVER_NS,
            sequence: 0,
            attempt: 0,
            group,
            phase: Phase::Waiting,
            may_read: false,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// The mark of the present socket: events of earlier ones have another.
    fn mark(&self, slot: u32) -> u64 {
        u64::from(self.attempt) << 32 | u64::from(slot)
    }

    /// When it wants to be woken at the latest.
    pub(crate) fn deadline_ns(&self, post: &Post<'_>) -> u64 {
        let ending = post.shared.ending;
        let opening = self.opening.as_deref();
        match self.phase {
            Phase::Waiting => self.at_ns,
            Phase::Connecting | Phase::Securing | Phase::Shaking => opening.map_or(0, |opening| {
                opening.deadline_ns(post.shared.connect_timeout_ns, post.group.timeout_ns)
            }),
            Phase::Open => {
                let turn = ending.map_or(self.at_ns, |ending| ending.answers_ns);
                turn.min(self.timeout_ns(post.group))
            }
            Phase::Closing => ending.map_or_else(
                || {
                    self.at_ns
                        .saturating_add(CLOSE_WAIT_NS)
                        .max(self.again_or_0())
                },
                |ending| ending.cut_ns,
            ),
            Phase::Lingering => self.at_ns.saturating_add(LINGER_NS),
            Phase::Ended => NEVER_NS,
        }
    }

    fn again_or_0(&self) -> u64 {
        if self.again_ns == NEVER_NS {
            0
        } else {
            self.again_ns
        }
    }

    /// When the oldest answer is overdue.
    fn timeout_ns(&self, group: &Group) -> u64 {
        self.outstanding.front().map_or(NEVER_NS, |oldest| {
            oldest.sent_ns.saturating_add(group.timeout_ns)
        })
    }

    /// Its time has come, or may have.
    pub(crate) fn on_time(&mut self, post: &mut Post<'_>, now_ns: u64) {
        if self.deadline_ns(post) > now_ns {
            return;
        }
        match self.phase {
            Phase::Waiting => self.open(post, self.at_ns, self.at_ns),
            Phase::Connecting | Phase::Securing => {
                self.fail_opening(post, now_ns, 0, Failure::ConnectTimeout);
            }
            Phase::Shaking => self.fail_opening(post, now_ns, 0, Failure::Timeout),
            Phase::Open => self.on_open_time(post, now_ns),
            Phase::Closing => {
                self.record_close(post, now_ns, ABNORMAL, Some(Failure::Timeout));
                self.settle(post);
            }
            Phase::Lingering => self.settle(post),
            Phase::Ended => {}
        }
    }

    /// Something has happened to a socket.
    pub(crate) fn on_ready(&mut self, post: &mut Post<'_>, ready: Ready) {
        if ready.mark != self.mark(post.slot) {
            return;
        }
        match self.phase {
            Phase::Connecting => self.on_established(post),
            Phase::Securing => self.on_secured(post),
            Phase::Shaking => {
                if ready.write {
                    self.flush(post);
                }
                if self.phase == Phase::Shaking && ready.read {
                    self.on_answer(post, ready.hung_up);
                }
            }
            Phase::Open | Phase::Closing => {
                if ready.write {
                    self.flush(post);
                }
                if ready.read {
                    self.read(post, ready.hung_up);
                }
            }
            Phase::Lingering => self.read(post, ready.hung_up),
            Phase::Waiting | Phase::Ended => {}
        }
    }

    /// Goes on reading, after others had their turn.
    pub(crate) fn on_again(&mut self, post: &mut Post<'_>) {
        if matches!(self.phase, Phase::Open | Phase::Closing | Phase::Lingering) {
            self.read(post, true);
        }
    }

    /// Reads what there is, to the end where `hung_up` says that a short read is not the last.
    fn read(&mut self, post: &mut Post<'_>, hung_up: bool) {
        if self.phase == Phase::Open && post.group.turn == super::group::Turn::Read {
            return self.read_slowly(post);
        }
        let mut buffer = std::mem::take(&mut post.shared.buffer);
        self.read_into(post, &mut buffer, hung_up);
        post.shared.buffer = buffer;
    }

    fn read_into(&mut self, post: &mut Post<'_>, buffer: &mut [u8], hung_up: bool) {
        for _ in 0..READS {
            let Some(wire) = &mut self.wire else { return };
            let read = wire.read(buffer);
            // Under TLS, more may wait in the session.
            let is_last = !hung_up && !wire.is_tls();
            match read {
                Ok(0) => return self.lose(post, Failure::Closed),
                Ok(length) => {
                    self.take(post, &buffer[..length]);
                    if is_last && length < buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return self.lose(post, failure_of(&error, Failure::Reset)),
            }
        }
        post.shared.again.push(post.slot);
    }

    /// Goes on writing; what waited for room has its turn when there is room again.
    fn flush(&mut self, post: &mut Post<'_>) {
        let Some(wire) = &mut self.wire else { return };
        if !wire.is_blocked() {
            return;
        }
        match wire.flush() {
            Ok(false) => {}
            Ok(true) => self.on_room(post),
            Err(error) => {
                let failure = failure_of(&error, Failure::Reset);
                if self.phase == Phase::Shaking {
                    let now_ns = post.shared.now_ns();
                    self.fail_opening(post, now_ns, 0, failure);
                } else {
                    self.lose(post, failure);
                }
            }
        }
    }

    /// The connection has ended without a closing handshake.
    fn lose(&mut self, post: &mut Post<'_>, failure: Failure) {
        let now_ns = post.shared.now_ns();
        match self.phase {
            Phase::Open => {
                self.give_up(post, now_ns, failure);
                self.plan_again(post, now_ns);
                let reason = match failure {
                    // It is a code other than 1000 and 1001 that the connection ended with.
                    Failure::Closed => Failure::CloseCode,
                    other => other,
                };
                self.record_close(post, now_ns, ABNORMAL, Some(reason));
            }
            Phase::Closing => {
                let reason = (failure != Failure::Closed).then_some(failure);
                self.record_close(post, now_ns, ABNORMAL, reason);
            }
            _ => {}
        }
        self.settle(post);
    }

    /// The peer does not keep to the protocol: it is told, and left.
    fn break_off(&mut self, post: &mut Post<'_>, code: u16, failure: Failure) {
        let now_ns = post.shared.now_ns();
        match self.phase {
            Phase::Open => {
                self.give_up(post, now_ns, failure);
                self.plan_again(post, now_ns);
                // Worth a try; the connection is given up whether the peer hears why or not.
                let _ = self.send_control(post.shared, Opcode::Close, &code.to_be_bytes());
                self.record_close(post, now_ns, code, Some(failure));
            }
            Phase::Closing => self.record_close(post, now_ns, code, Some(failure)),
            _ => {}
        }
        self.settle(post);
    }

    /// The peer's close frame has come.
    fn on_close(&mut self, post: &mut Post<'_>, code: Option<u16>) {
        let now_ns = post.shared.now_ns();
        let status = code.unwrap_or(NO_CODE);
        match self.phase {
            Phase::Open => {
                self.give_up(post, now_ns, Failure::Closed);
                self.plan_again(post, now_ns);
                let echo = code.map(u16::to_be_bytes);
                let content = echo.as_ref().map_or(&[][..], |code| code);
                let sent = self.send_control(post.shared, Opcode::Close, content);
                let failure = (!matches!(status, 1000 | 1001)).then_some(Failure::CloseCode);
                self.record_close(post, now_ns, status, failure);
                if sent.is_err() {
                    return self.settle(post);
                }
            }
            Phase::Closing => self.record_close(post, now_ns, status, None),
            _ => return,
        }
        self.phase = Phase::Lingering;
        self.at_ns = now_ns;
    }

    /// Begins the closing handshake. `again_ns` is when it is to be made again.
    pub(crate) fn close(&mut self, post: &mut Post<'_>, again_ns: u64) {
        let now_ns = post.shared.now_ns();
        self.give_up(post, now_ns, Failure::Unfinished);
        self.again_ns = again_ns;
        self.phase = Phase::Closing;
        self.at_ns = now_ns;
        let code = 1000u16.to_be_bytes();
        if let Err(error) = self.send_control(post.shared, Opcode::Close, &code) {
            return self.lose(post, failure_of(&error, Failure::Reset));
        }
        if let Some(stash) = self.stash.take() {
            self.take(post, &stash);
        }
        if post.group.turn == super::group::Turn::Read {
            // Its answer stands behind all that has not been read yet.
            post.shared.again.push(post.slot);
        }
    }

    /// A storm closes it, where it is open.
    pub(crate) fn on_storm(&mut self, post: &mut Post<'_>, storm_ns: u64) {
        if self.phase == Phase::Open {
            let pause = post.group.pause_ns(post.slot, self.attempt).unwrap_or(0);
            self.close(post, storm_ns.saturating_add(pause));
        }
    }

    /// The stages are over: closes it as soon as all answers are there.
    pub(crate) fn wind_down(&mut self, post: &mut Post<'_>, now_ns: u64) {
        let Some(ending) = post.shared.ending else {
            return;
        };
        match self.phase {
            Phase::Waiting => {
                if self.at_ns < ending.since_ns {
                    let outcome = Outcome::failed(Failure::Unfinished);
                    let endpoint = post.group.endpoints.connect;
                    post.shared
                        .record(endpoint, Times::unsent(self.at_ns), now_ns, outcome);
                }
                self.settle(post);
            }
            Phase::Open if self.outstanding.is_empty() || ending.answers_ns <= now_ns => {
                self.close(post, NEVER_NS);
            }
            _ => {}
        }
    }

    /// The drain is over: ends it, whatever it waits for.
    pub(crate) fn cut(&mut self, post: &mut Post<'_>, now_ns: u64) {
        match self.phase {
            Phase::Waiting => self.wind_down(post, now_ns),
            Phase::Connecting | Phase::Securing | Phase::Shaking => {
                self.fail_opening(post, now_ns, 0, Failure::Unfinished);
            }
            Phase::Open => {
                self.give_up(post, now_ns, Failure::Unfinished);
                self.record_close(post, now_ns, ABNORMAL, Some(Failure::Unfinished));
                self.settle(post);
            }
            Phase::Closing => {
                self.record_close(post, now_ns, ABNORMAL, Some(Failure::Timeout));
                self.settle(post);
            }
            Phase::Lingering => self.settle(post),
            Phase::Ended => {}
        }
    }

    fn plan_again(&mut self, post: &Post<'_>, now_ns: u64) {
        self.again_ns = post
            .group
            .pause_ns(post.slot, self.attempt)
            .map_or(NEVER_NS, |pause| now_ns.saturating_add(pause));
    }

    fn record_close(
        &mut self,
        post: &Post<'_>,
        now_ns: u64,
        status: u16,
        failure: Option<Failure>,
    ) {
        post.shared.count_connections(-1);
        let times = if self.phase == Phase::Closing {
            let is_answered = failure != Some(Failure::Timeout);
            Times {
                first_byte_ns: if is_answered { now_ns } else { NEVER_NS },
                ..Times::at(self.at_ns)
            }
        } else {
            Times::at(now_ns)
        };
        let outcome = Outcome {
            status,
            failure,
            bytes: 0,
        };
        post.shared
            .record(post.group.endpoints.close, times, now_ns, outcome);
    }

    /// There is no socket any more: it waits to be made again, or has ended.
    fn settle(&mut self, post: &mut Post<'_>) {
        self.wire = None;
        self.opening = None;
        self.stash = None;
        self.decoder = Decoder::new();
        self.outstanding = VecDeque::new();
        self.deferred_ns = NEVER_NS;
        self.may_read = false;
        if self.again_ns == NEVER_NS || post.shared.ending.is_some() {
            self.phase = Phase::Ended;
            post.shared.live -= 1;
        } else {
            self.phase = Phase::Waiting;
            self.at_ns = self.again_ns;
            self.again_ns = NEVER_NS;
        }
    }

    fn send_control(
        &mut self,
        shared: &mut Shared,
        opcode: Opcode,
        content: &[u8],
    ) -> std::io::Result<()> {
        let Some(wire) = &mut self.wire else {
            return Ok(());
        };
        shared.scratch.clear();
        encode(&mut shared.scratch, opcode, shared.masks.next(), content);
        wire.send(&shared.scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_small() {
        assert!(
            size_of::<Connection>() <= 288,
            "{}",
            size_of::<Connection>()
        );
    }
}
