//! Why a connection or an exchange failed: errors of sockets, TLS and hyper as the failures that
//! stand in tables. Pure.

use std::error::Error;
use std::io;

use rustix::io::Errno;

use crate::operation::Failure;

use super::wire::Fate;

/// Why a TCP connection was not made.
pub(crate) fn of_connect(error: &io::Error) -> Failure {
    if is_out_of_descriptors(error) {
        return Failure::Descriptors;
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::Refused,
        io::ErrorKind::ConnectionReset => Failure::Reset,
        // The system's own limit is a connect timeout too, whatever the scenario allows.
        io::ErrorKind::TimedOut => Failure::ConnectTimeout,
        _ => Failure::Connect,
    }
}

/// Why a TLS handshake failed.
pub(crate) fn of_handshake(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Failure::Reset,
        _ => Failure::Tls,
    }
}

/// Why an exchange on an established connection failed.
pub(crate) fn of_exchange(error: &hyper::Error, fate: &Fate) -> Failure {
    if error.is_parse() {
        return if error.is_parse_too_large() {
            Failure::TooLarge
        } else {
            Failure::Malformed
        };
    }
    if let Some(broken) = fate.error() {
        return of_broken(broken);
    }
    if let Some(said) = source_of::<io::Error>(error) {
        return match said.kind() {
            // Nothing broke: it is how HTTP/2 says that the target ended its side.
            io::ErrorKind::BrokenPipe => Failure::Closed,
            kind => of_broken(kind),
        };
    }
    if let Some(failure) = of_http2(error) {
        return failure;
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() || fate.has_ended()
    {
        Failure::Closed
    } else {
        Failure::Malformed
    }
}

fn of_broken(kind: io::ErrorKind) -> Failure {
    match kind {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => Failure::Reset,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::NotConnected => Failure::Closed,
        io::ErrorKind::TimedOut => Failure::Timeout,
        _ => Failure::Malformed,
    }
}

/// What HTTP/2 itself says. The type of its errors is hyper's own affair, their text is all that is
/// seen of them here; a real server's reset and garbage hold it in the tests.
fn of_http2(error: &hyper::Error) -> Option<Failure> {
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if text.starts_with("stream error received") {
            return Some(Failure::Reset);
        }
        if text.starts_with("connection error received") {
            return Some(Failure::Closed);
        }
        if text.starts_with("stream error detected")
            || text.starts_with("connection error detected")
        {
            return Some(Failure::Malformed);
        }
        source = error.source();
    }
    None
}

fn source_of<E: Error + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        source = error.source();
    }
    None
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(Errno::MFILE.raw_os_error()) || code == Some(Errno::NFILE.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_connecting_are_told_apart() {
        let of_code =
            |errno: Errno| of_connect(&io::Error::from_raw_os_error(errno.raw_os_error()));
        assert_eq!(of_code(Errno::CONNREFUSED), Failure::Refused);
        assert_eq!(of_code(Errno::MFILE), Failure::Descriptors);
        assert_eq!(of_code(Errno::NFILE), Failure::Descriptors);
        assert_eq!(of_code(Errno::TIMEDOUT), Failure::ConnectTimeout);
        assert_eq!(of_code(Errno::ADDRNOTAVAIL), Failure::Connect);
        assert_eq!(of_code(Errno::NETUNREACH), Failure::Connect);
    }

    #[test]
    fn broken_connections_are_told_apart() {
        assert_eq!(of_broken(io::ErrorKind::ConnectionReset), Failure::Reset);
        assert_eq!(of_broken(io::ErrorKind::BrokenPipe), Failure::Reset);
        assert_eq!(of_broken(io::ErrorKind::UnexpectedEof), Failure::Closed);
        assert_eq!(of_broken(io::ErrorKind::InvalidData), Failure::Malformed);
        assert_eq!(
            of_handshake(&io::ErrorKind::UnexpectedEof.into()),
            Failure::Tls
        );
        assert_eq!(
            of_handshake(&io::ErrorKind::ConnectionReset.into()),
            Failure::Reset
        );
    }
}
