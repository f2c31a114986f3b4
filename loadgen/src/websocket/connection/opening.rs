//! From nothing to an open connection: TCP, TLS, the handshake. Whatever comes of it is exactly one
//! `connect` operation.

use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use super::{Connection, Phase, Post};
use crate::operation::{Failure, NEVER_NS};
use crate::websocket::group::Turn;
use crate::websocket::handshake::{self, Answer};
use crate::websocket::shared::{Outcome, Security, Times};
use crate::websocket::wire::{Wire, failure_of};

/// What only matters until the connection is open.
#[derive(Debug)]
pub(super) struct Opening {
    intended_ns: u64,
    sent_ns: u64,
    established_ns: u64,
    shaking_ns: u64,
    key: String,
    answer: Vec<u8>,
}

impl Opening {
    /// When it has taken too long: TCP and TLS together, or the handshake's answer.
    pub(super) fn deadline_ns(&self, connect_timeout_ns: u64, timeout_ns: u64) -> u64 {
        if self.shaking_ns == NEVER_NS {
            self.sent_ns.saturating_add(connect_timeout_ns)
        } else {
            self.shaking_ns.saturating_add(timeout_ns)
        }
    }
}

impl Connection {
    /// Begins to connect; `due_ns` is when it could have begun, had the generator been on time.
    pub(crate) fn open(&mut self, post: &mut Post<'_>, intended_ns: u64, due_ns: u64) {
        self.attempt = self.attempt.wrapping_add(1);
        self.sequence = 0;
        self.again_ns = NEVER_NS;
        let sent_ns = post.shared.now_ns();
        post.shared.count_arrivals(1);
        post.shared
            .count_lateness(1, sent_ns.saturating_sub(due_ns));
        self.opening = Some(Box::new(Opening {
            intended_ns,
            sent_ns,
            established_ns: NEVER_NS,
            shaking_ns: NEVER_NS,
            key: String::new(),
            answer: Vec::new(),
        }));
        self.phase = Phase::Connecting;
        match self.begin(post) {
            Ok(wire) => self.wire = Some(wire),
            Err(failure) => {
                let now_ns = post.shared.now_ns();
                if let (Failure::Descriptors | Failure::Resolve, Some(opening)) =
                    (failure, &mut self.opening)
                {
                    opening.sent_ns = NEVER_NS;
                }
                self.fail_opening(post, now_ns, 0, failure);
            }
        }
    }

    fn begin(&self, post: &Post<'_>) -> Result<Wire, Failure> {
        let shared = &post.shared;
        let position = post.group.position(post.slot);
        let address = shared.address(position).ok_or(Failure::Resolve)?;
        let tls = match &shared.security {
            Security::Plain => None,
            Security::Tls(tls) => Some(tls),
            Security::Broken => return Err(Failure::Tls),
        };
        let wire = Wire::connect(address, shared.source(address, position), tls)?;
        shared
            .poller
            .add(wire.fd(), self.mark(post.slot))
            .map_err(|error| failure_of(&error, Failure::Connect))?;
        Ok(wire)
    }

    pub(super) fn on_established(&mut self, post: &mut Post<'_>) {
        let now_ns = post.shared.now_ns();
        let (Some(wire), Some(opening)) = (&mut self.wire, &mut self.opening) else {
            return;
        };
        if let Err(error) = wire.established() {
            let failure = failure_of(&error, Failure::Connect);
            return self.fail_opening(post, now_ns, 0, failure);
        }
        opening.established_ns = now_ns;
        self.phase = Phase::Securing;
        self.on_secured(post);
    }

    /// Goes on with TLS, and with the handshake when that is done.
    pub(super) fn on_secured(&mut self, post: &mut Post<'_>) {
        let Some(wire) = &mut self.wire else { return };
        let is_tls = wire.is_tls();
        let done = match wire.secure() {
            Ok(false) => return,
            Ok(true) => self.shake(post),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            // A peer that ends a TLS handshake refuses it, with an alert or without.
            let failure = match failure_of(&error, Failure::Connect) {
                Failure::Closed if is_tls => Failure::Tls,
                other => other,
            };
            let now_ns = post.shared.now_ns();
            self.fail_opening(post, now_ns, 0, failure);
        }
    }

    fn shake(&mut self, post: &mut Post<'_>) -> std::io::Result<()> {
        let (Some(wire), Some(opening)) = (&mut self.wire, &mut self.opening) else {
            return Ok(());
        };
        let context = &post.shared.context;
        let (path, headers) = post
            .group
            .request(&context.scenario, post.slot, self.attempt);
        let prefix = context.target.url.path().trim_end_matches('/');
        let path = format!("{prefix}{path}");
        opening.key = generate_key();
        opening.shaking_ns = post.shared.now_ns();
        self.phase = Phase::Shaking;
        let authority = &context.target.authority;
        wire.send(&handshake::request(
            &path,
            authority,
            &headers,
            &opening.key,
        ))
    }

    pub(super) fn on_answer(&mut self, post: &mut Post<'_>, hung_up: bool) {
        let mut buffer = std::mem::take(&mut post.shared.buffer);
        self.read_answer(post, &mut buffer, hung_up);
        post.shared.buffer = buffer;
    }

    fn read_answer(&mut self, post: &mut Post<'_>, buffer: &mut [u8], hung_up: bool) {
        loop {
            let (Some(wire), Some(opening)) = (&mut self.wire, &mut self.opening) else {
                return;
            };
            let read = wire.read(buffer);
            let now_ns = post.shared.now_ns();
            let length = match read {
                Ok(0) => return self.fail_opening(post, now_ns, 0, Failure::Closed),
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let failure = failure_of(&error, Failure::Reset);
                    return self.fail_opening(post, now_ns, 0, failure);
                }
            };
            opening.answer.extend_from_slice(&buffer[..length]);
            match handshake::answer(&opening.answer, &opening.key) {
                Answer::Incomplete => {}
                Answer::Open { used } => {
                    // More may have come than this read has taken.
                    if hung_up || length == buffer.len() || wire.is_tls() {
                        post.shared.again.push(post.slot);
                    }
                    return self.on_open(post, now_ns, used);
                }
                Answer::Refused { status } => {
                    return self.fail_opening(post, now_ns, status, Failure::Handshake);
                }
                Answer::Malformed => {
                    return self.fail_opening(post, now_ns, 0, Failure::Malformed);
                }
            }
        }
    }

    fn on_open(&mut self, post: &mut Post<'_>, now_ns: u64, used: usize) {
        let Some(opening) = self.opening.take() else {
            return;
        };
        let outcome = Outcome {
            status: 101,
            failure: None,
            bytes: used as u64,
        };
        self.record_connect(post, &opening, now_ns, outcome);
        post.shared.count_connections(1);
        self.phase = Phase::Open;
        self.at_ns = post.group.turn_ns(post.slot, now_ns);
        let rest = &opening.answer[used..];
        if post.group.turn == Turn::Read && !rest.is_empty() {
            self.stash = Some(rest.to_vec());
        } else {
            self.take(post, rest);
        }
        if self.phase == Phase::Open && post.shared.ending.is_some() {
            self.close(post, NEVER_NS);
        }
    }

    /// The connection could not be made.
    pub(super) fn fail_opening(
        &mut self,
        post: &mut Post<'_>,
        now_ns: u64,
        status: u16,
        failure: Failure,
    ) {
        if let Some(opening) = self.opening.take() {
            let outcome = Outcome {
                status,
                ..Outcome::failed(failure)
            };
            self.record_connect(post, &opening, now_ns, outcome);
        }
        self.plan_again(post, now_ns);
        self.settle(post);
    }

    fn record_connect(&self, post: &Post<'_>, opening: &Opening, now_ns: u64, outcome: Outcome) {
        let times = Times {
            intended_ns: opening.intended_ns,
            sent_ns: opening.sent_ns,
            first_byte_ns: opening.established_ns,
        };
        post.shared
            .record(post.group.endpoints.connect, times, now_ns, outcome);
    }
}
