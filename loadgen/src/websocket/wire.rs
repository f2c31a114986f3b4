//! One socket without waiting, plain or under TLS: what cannot be written now is kept, at most what
//! its user gave it since it was last free.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustls::ClientConnection;
use socket2::{Domain, Protocol, Socket, Type};

use crate::operation::Failure;
use crate::tls::Tls;

/// A socket and what is on its way out.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    pending: Vec<u8>,
}

impl Wire {
    /// Begins to connect.
    pub(crate) fn connect(
        address: SocketAddr,
        source: Option<IpAddr>,
        tls: Option<&Tls>,
    ) -> Result<Self, Failure> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking().cloexec(),
            Some(Protocol::TCP),
        )
        .map_err(|error| failure_of(&error, Failure::Connect))?;
        let begin = || {
            socket.set_tcp_nodelay(true)?;
            if let Some(source) = source {
                socket.bind(&SocketAddr::new(source, 0).into())?;
            }
            match socket.connect(&address.into()) {
                Err(error) if !is_under_way(&error) => Err(error),
                Ok(()) | Err(_) => Ok(()),
            }
        };
        begin().map_err(|error| failure_of(&error, Failure::Connect))?;
        let tls = match tls {
            Some(tls) => {
                let mut connection =
                    ClientConnection::new(Arc::clone(&tls.config), tls.name.clone())
                        .map_err(|_| Failure::Tls)?;
                // What is handed over is bounded by the connection itself.
                connection.set_buffer_limit(None);
                Some(Box::new(connection))
            }
            None => None,
        };
        Ok(Self {
            socket: socket.into(),
            tls,
            pending: Vec::new(),
        })
    }

    /// For the poller.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether it speaks TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// What became of the connect, once the socket is writable.
    pub(crate) fn established(&self) -> io::Result<()> {
        match self.socket.take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Goes on with the TLS handshake; whether it is done.
    pub(crate) fn secure(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else {
            return Ok(true);
        };
        while tls.is_handshaking() {
            let is_out = write_tls(tls, &mut self.socket)?;
            if !tls.wants_read() {
                if is_out {
                    continue;
                }
                return Ok(false);
            }
            match tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {
                    if let Err(error) = tls.process_new_packets() {
                        // The alert that says why is worth a try; the connection is lost anyway.
                        let _ = write_tls(tls, &mut self.socket);
                        return Err(io::Error::new(ErrorKind::InvalidData, error));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.flush()?;
        Ok(true)
    }

    /// Reads what there is; 0 at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.read(buffer);
        };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            if tls.read_tls(&mut self.socket)? == 0 {
                return Ok(0);
            }
            tls.process_new_packets()
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
    }

    /// Sends as much as the socket takes and keeps the rest.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes)?;
            write_tls(tls, &mut self.socket)?;
            return Ok(());
        }
        let written = if self.pending.is_empty() {
            write_some(&mut self.socket, bytes)?
        } else {
            0
        };
        self.pending.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    /// Goes on with what is kept; whether all of it is out.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        if let Some(tls) = &mut self.tls {
            return write_tls(tls, &mut self.socket);
        }
        if self.pending.is_empty() {
            return Ok(true);
        }
        let written = write_some(&mut self.socket, &self.pending)?;
        self.pending.drain(..written);
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
        Ok(self.pending.is_empty())
    }

    /// Whether something waits for room in the socket.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.pending.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }
}

fn write_some(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match socket.write(&bytes[written..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(length) => written += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

/// Whether all that TLS has to say is out.
fn write_tls(tls: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(socket) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn is_under_way(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
        || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

/// What an error of a socket is called in the record; `otherwise` where it has no name of its own.
pub(crate) fn failure_of(error: &io::Error, otherwise: Failure) -> Failure {
    use rustix::io::Errno;
    let has_code = |code: Errno| error.raw_os_error() == Some(code.raw_os_error());
    // ENOSPC is what the poller says when the system's limit of watches is reached.
    if has_code(Errno::MFILE) || has_code(Errno::NFILE) || has_code(Errno::NOSPC) {
        return Failure::Descriptors;
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => Failure::Refused,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Failure::Reset,
        ErrorKind::TimedOut => Failure::ConnectTimeout,
        ErrorKind::InvalidData => Failure::Tls,
        ErrorKind::UnexpectedEof => Failure::Closed,
        _ => otherwise,
    }
}
