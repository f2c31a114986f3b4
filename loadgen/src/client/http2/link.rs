//! One connection's socket, within TLS where the target wants it: made, written, read and closed.
//! What is said on it is left to `session`.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::ClientConnection;

use super::frame::Code;
use super::session::{Desk, Session};
use crate::client::connector::{Connector, failure_of};
use crate::clock::RunClock;
use crate::operation::{Failure, NEVER_NS};
use crate::tls::Tls;

/// Reads for one connection before others have their turn.
const READS_IN_TURN: usize = 16;

/// What the other side has ended, or broken.
const PEER_DONE: EventFlags = EventFlags::RDHUP
    .union(EventFlags::HUP)
    .union(EventFlags::ERR);

/// What all links of a worker share.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) clock: RunClock,
    pub(crate) epoll: Rc<OwnedFd>,
    pub(crate) connector: Connector,
    pub(crate) tls: Option<Tls>,
    pub(crate) buffer: Box<[u8]>,
    pub(crate) connect_timeout_ns: u64,
    pub(crate) desk: Desk,
}

/// What came of something that happened to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// What there is to tell is on the desk.
    Done,
    /// There is more to read, which no further event will tell.
    Again,
    /// No connection could be made.
    Failed(Failure),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Vacant,
    Connecting,
    Handshaking,
    Open,
}

/// A place for one connection.
#[derive(Debug)]
pub(crate) struct Link {
    index: u32,
    /// Of the whole run's connections.
    number: u64,
    /// Grows with every connection, so that an event of an earlier one is not taken for its own.
    generation: u32,
    phase: Phase,
    socket: Option<TcpStream>,
    tls: Option<Box<ClientConnection>>,
    attempt: usize,
    peer_done: bool,
    pub(crate) session: Session,
    /// How much of what the session has to say is written.
    written: usize,
    /// The socket takes no more for now; an event will tell when it does.
    is_blocked: bool,
    /// A write has told of a reset, which a read does not tell again.
    was_reset: bool,
    deadline_ns: u64,
    /// It stands in the table's list of connections with room.
    pub(crate) is_free: bool,
    /// It stands in the table's list of connections that have something to write.
    pub(crate) is_dirty: bool,
}

impl Link {
    pub(crate) fn new(index: u32, number: u64) -> Self {
        Self {
            index,
            number,
            generation: 0,
            phase: Phase::Vacant,
            socket: None,
            tls: None,
            attempt: 0,
            peer_done: false,
            session: Session::new(),
            written: 0,
            is_blocked: false,
            was_reset: false,
            deadline_ns: NEVER_NS,
            is_free: false,
            is_dirty: false,
        }
    }

    pub(crate) fn is_vacant(&self) -> bool {
        self.phase == Phase::Vacant
    }

    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Handshaking)
    }

    /// How many more requests it can take now.
    pub(crate) fn room(&self, desk: &Desk) -> usize {
        match self.phase {
            Phase::Open => self.session.room(desk),
            _ => 0,
        }
    }

    /// Until when it must be made.
    pub(crate) fn deadline_ns(&self) -> u64 {
        self.deadline_ns
    }

    /// Names the present connection in events.
    pub(crate) fn token(&self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// Begins to make a connection; the link is vacant.
    pub(crate) fn open(&mut self, wire: &mut Wire, now_ns: u64) -> Turn {
        self.deadline_ns = now_ns.saturating_add(wire.connect_timeout_ns);
        self.attempt = 0;
        self.try_address(wire)
    }

    /// Takes what epoll says of the present connection.
    pub(crate) fn ready(&mut self, wire: &mut Wire, flags: EventFlags) -> Turn {
        self.peer_done |= flags.intersects(PEER_DONE);
        if self.phase == Phase::Connecting {
            match self.connected(wire) {
                Turn::Done if matches!(self.phase, Phase::Handshaking | Phase::Open) => {}
                turn => return turn,
            }
        }
        if self.phase == Phase::Vacant {
            return Turn::Done;
        }
        if flags.intersects(EventFlags::OUT) {
            self.is_blocked = false;
            if let turn @ Turn::Failed(_) = self.flush(wire) {
                return turn;
            }
        }
        match flags.intersects(EventFlags::IN.union(PEER_DONE)) {
            true => self.read(wire),
            false => Turn::Done,
        }
    }

    /// Whether there is something to write that could be written.
    pub(crate) fn has_to_write(&self) -> bool {
        self.phase == Phase::Open && !self.is_blocked && !self.session.out.is_empty()
    }

    /// Writes what is to be written, as far as it goes. Behind what a blocked socket has not taken a
    /// request counts as sent all the same: it is the target that keeps it waiting.
    pub(crate) fn flush(&mut self, wire: &mut Wire) -> Turn {
        let written = match self.phase {
            Phase::Vacant | Phase::Connecting => return Turn::Done,
            Phase::Handshaking => self.write_tls(),
            Phase::Open => {
                self.session.note_sent(wire.clock.now_ns());
                if self.is_blocked {
                    return Turn::Done;
                }
                self.write(wire)
            }
        };
        let Err(error) = written else {
            return Turn::Done;
        };
        if error.kind() == ErrorKind::WouldBlock {
            self.is_blocked = true;
            return Turn::Done;
        }
        // What the other side said before it went is still to be heard.
        self.was_reset = error.kind() == ErrorKind::ConnectionReset;
        let turn = self.read(wire);
        if self.is_vacant() {
            return turn;
        }
        self.fail(wire, failure_of(&error, Failure::Reset))
    }

    /// Ends the connection; its requests are left to the caller.
    pub(crate) fn close(&mut self) {
        if self.socket.take().is_some() {
            self.generation = self.generation.wrapping_add(1);
        }
        self.tls = None;
        self.phase = Phase::Vacant;
        self.session = Session::new();
        self.written = 0;
        self.is_blocked = false;
        self.was_reset = false;
    }

    /// Ends a connection that is not needed any more, in an orderly way as far as that goes at once.
    pub(crate) fn leave(&mut self, wire: &mut Wire) {
        self.session.say_goodbye(Code::NoError);
        if let Err(error) = self.write(wire) {
            tracing::trace!(%error, "a connection has ended without a goodbye");
        }
        self.close();
    }

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
                            return Turn::Done;
                        }
                        Err(_) => Failure::Connect,
                    }
                }
                Err(failure) => failure,
            };
            self.attempt += 1;
            if failure == Failure::Descriptors || self.attempt >= wire.connector.addresses() {
                return Turn::Failed(failure);
            }
        }
    }

    fn connected(&mut self, wire: &mut Wire) -> Turn {
        let socket = self
            .socket
            .as_ref()
            .expect("a connecting link has a socket");
        let error = match socket.take_error() {
            Ok(None) => {
                wire.connector.answered(self.attempt);
                return self.greet(wire);
            }
            Ok(Some(error)) | Err(error) => error,
        };
        let failure = failure_of(&error, Failure::Connect);
        self.close();
        self.attempt += 1;
        match self.attempt < wire.connector.addresses() {
            true => self.try_address(wire),
            false => Turn::Failed(failure),
        }
    }

    fn greet(&mut self, wire: &mut Wire) -> Turn {
        let Some(tls) = &wire.tls else {
            self.phase = Phase::Open;
            return Turn::Done;
        };
        match ClientConnection::new(Arc::clone(&tls.config), tls.name.clone()) {
            Ok(connection) => {
                self.tls = Some(Box::new(connection));
                self.phase = Phase::Handshaking;
                self.flush(wire)
            }
            Err(_) => self.fail(wire, Failure::Tls),
        }
    }

    fn write(&mut self, wire: &mut Wire) -> Result<(), Error> {
        loop {
            while self.written < self.session.out.len() {
                let rest = &self.session.out[self.written..];
                let written = match &mut self.tls {
                    Some(tls) => tls.writer().write(rest),
                    None => {
                        let socket = self.socket.as_ref().expect("an open link has a socket");
                        send(socket, rest, SendFlags::NOSIGNAL).map_err(Error::from)
                    }
                };
                match written {
                    Ok(count) => self.written += count,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => {
                        self.session.out.drain(..self.written);
                        self.written = 0;
                        return Err(error);
                    }
                }
                self.write_tls()?;
            }
            self.written = 0;
            if !self.session.note_written(&wire.desk) {
                return self.write_tls();
            }
        }
    }

    /// Writes what TLS has to say.
    fn write_tls(&mut self) -> Result<(), Error> {
        let (Some(tls), Some(socket)) = (&mut self.tls, &mut self.socket) else {
            return Ok(());
        };
        while tls.wants_write() {
            match tls.write_tls(socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self, wire: &mut Wire) -> Turn {
        let mut buffer = std::mem::take(&mut wire.buffer);
        let turn = self.read_into(&mut buffer, wire);
        wire.buffer = buffer;
        turn
    }

    fn read_into(&mut self, buffer: &mut [u8], wire: &mut Wire) -> Turn {
        for _ in 0..READS_IN_TURN {
            let Some(socket) = self.socket.as_mut() else {
                return Turn::Done;
            };
            let received = match &mut self.tls {
                Some(tls) => tls.read_tls(socket),
                None => recv(&*socket, &mut *buffer, RecvFlags::empty())
                    .map(|(_, count)| count)
                    .map_err(Error::from),
            };
            match received {
                Ok(0) => return self.fail(wire, Failure::Closed),
                Ok(count) => {
                    let now_ns = wire.clock.now_ns();
                    let taken = match self.tls.is_some() {
                        true => self.take_tls(buffer, now_ns, wire),
                        false => self
                            .session
                            .received(&buffer[..count], now_ns, &mut wire.desk),
                    };
                    if let Err(failure) = taken {
                        return self.end(wire, failure);
                    }
                    // Less than there was room for: nothing is left, and its end would have been
                    // told with it or will be told. How much room there is in TLS is not known.
                    if self.tls.is_none() && count < buffer.len() && !self.peer_done {
                        return Turn::Done;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Turn::Done,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.fail(wire, failure_of(&error, Failure::Reset)),
            }
        }
        Turn::Again
    }

    /// Takes what came within TLS.
    fn take_tls(&mut self, buffer: &mut [u8], now_ns: u64, wire: &mut Wire) -> Result<(), Failure> {
        let tls = self.tls.as_mut().expect("what was received is within TLS");
        let is_made = self.phase == Phase::Open;
        let of_tls = |_| {
            if is_made {
                Failure::Malformed
            } else {
                Failure::Tls
            }
        };
        tls.process_new_packets().map_err(of_tls)?;
        if self.phase == Phase::Handshaking {
            if tls.is_handshaking() {
                // Its answer is to be written now; an error will be seen again when it is read on.
                return match self.write_tls() {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => Err(Failure::Reset),
                    _ => Ok(()),
                };
            }
            if tls.alpn_protocol() != Some(b"h2") {
                return Err(Failure::Tls);
            }
            self.phase = Phase::Open;
        }
        loop {
            match tls.reader().read(buffer) {
                Ok(0) => return Err(Failure::Closed),
                Ok(count) => self
                    .session
                    .received(&buffer[..count], now_ns, &mut wire.desk)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(Failure::Closed),
            }
        }
    }

    /// Ends the connection for a reason that the other side is told, as far as that goes at once.
    fn end(&mut self, wire: &mut Wire, failure: Failure) -> Turn {
        let said = match self.phase {
            Phase::Open => self.write(wire),
            _ => self.write_tls(),
        };
        if let Err(error) = said {
            tracing::trace!(%error, "a connection has ended without a goodbye");
        }
        self.fail(wire, failure)
    }

    fn fail(&mut self, wire: &mut Wire, failure: Failure) -> Turn {
        let failure = match failure {
            Failure::Closed if self.was_reset => Failure::Reset,
            failure => failure,
        };
        if self.phase == Phase::Open {
            let now_ns = wire.clock.now_ns();
            self.session.broken(failure, now_ns, &mut wire.desk);
            self.close();
            return Turn::Done;
        }
        let failure = match self.phase {
            // Whoever hangs up on a handshake has refused it.
            Phase::Handshaking if failure == Failure::Closed => Failure::Tls,
            _ => failure,
        };
        self.close();
        Turn::Failed(failure)
    }
}
