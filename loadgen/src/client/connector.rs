//! Sockets towards the target: which address, from which source, and what an error means.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::operation::Failure;
use crate::target::Target;

/// Connections of one source address to one destination. The kernel has some 28,000 ports for them,
/// and looks for a free one longer the fewer there are.
const CONNECTIONS_PER_SOURCE: u64 = 12_000;

/// Source addresses in turn where every request makes a connection, so that ports that wait out
/// their time are not missed.
const SOURCES_IN_TURN: u64 = 64;

/// Most source addresses: 127.0.0.1 to 127.0.0.250.
const MAX_SOURCES: u64 = 250;

/// Opens connections to one target.
#[derive(Debug)]
pub(crate) struct Connector {
    addresses: Vec<SocketAddr>,
    /// The address that answered last; the others are tried after it.
    preferred: usize,
    per_source: Option<u64>,
    sources: u64,
    opened: u64,
    keep_alive: bool,
}

impl Connector {
    /// `connections` is the most that the whole run may have.
    pub(crate) fn new(target: &Target, connections: u32, keep_alive: bool) -> Self {
        let connections = u64::from(connections);
        let is_many = !keep_alive || connections > CONNECTIONS_PER_SOURCE;
        let needed = connections.div_ceil(CONNECTIONS_PER_SOURCE);
        let turns = if keep_alive { 1 } else { SOURCES_IN_TURN };
        Self {
            addresses: target.addresses.clone(),
            preferred: 0,
            per_source: is_many.then_some(CONNECTIONS_PER_SOURCE),
            sources: needed.max(turns).min(MAX_SOURCES),
            opened: 0,
            keep_alive,
        }
    }

    /// How many addresses there are to try.
    pub(crate) fn addresses(&self) -> usize {
        self.addresses.len()
    }

    /// Begins a connection to the `attempt`-th address, for the connection with this number of the
    /// whole run.
    pub(crate) fn open(&mut self, attempt: usize, number: u64) -> Result<TcpStream, Failure> {
        let address = self.addresses[(self.preferred + attempt) % self.addresses.len()];
        let turn = if self.keep_alive { number } else { self.opened };
        self.opened += 1;
        let source = self.source(address, turn);
        begin(address, source).map_err(|error| failure_of(&error, Failure::Connect))
    }

    /// Notes that the `attempt`-th address answered.
    pub(crate) fn answered(&mut self, attempt: usize) {
        self.preferred = (self.preferred + attempt) % self.addresses.len();
    }

    /// A loopback destination may be reached from any loopback address.
    fn source(&self, destination: SocketAddr, turn: u64) -> Option<SocketAddr> {
        let per_source = self.per_source?;
        let IpAddr::V4(address) = destination.ip() else {
            return None;
        };
        if !address.is_loopback() {
            return None;
        }
        let step = if self.keep_alive {
            turn / per_source
        } else {
            turn
        };
        let last = u8::try_from(1 + step % self.sources).unwrap_or(1);
        Some(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))
    }
}

fn begin(address: SocketAddr, source: Option<SocketAddr>) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        // A port of this source is taken at once: at most 12,000 of them, so that some are free.
        socket.bind(&source.into())?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if is(&error, Errno::INPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// What an error of a socket means; `otherwise` where it is none of the usual ones.
pub(crate) fn failure_of(error: &io::Error, otherwise: Failure) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::Refused,
        io::ErrorKind::TimedOut => Failure::ConnectTimeout,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Failure::Reset,
        _ if is(error, Errno::MFILE) || is(error, Errno::NFILE) => Failure::Descriptors,
        _ => otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(text: &str, connections: u32, keep_alive: bool) -> (Connector, SocketAddr) {
        let target = Target::resolve(text, &[]).expect("a near target");
        let address = target.addresses[0];
        (Connector::new(&target, connections, keep_alive), address)
    }

    #[test]
    fn sources() {
        let from = |connector: &Connector, address, turn| {
            connector
                .source(address, turn)
                .map(|source| source.ip().to_string())
        };
        let (few, address) = connector("http://127.0.0.1:1", 12_000, true);
        assert_eq!(from(&few, address, 11_999), None);
        let (many, address) = connector("http://127.0.0.1:1", 30_000, true);
        assert_eq!(from(&many, address, 11_999).as_deref(), Some("127.0.0.1"));
        assert_eq!(from(&many, address, 12_000).as_deref(), Some("127.0.0.2"));
        assert_eq!(from(&many, address, 29_999).as_deref(), Some("127.0.0.3"));
        let (new, address) = connector("http://127.0.0.1:1", 64, false);
        assert_eq!(from(&new, address, 0).as_deref(), Some("127.0.0.1"));
        assert_eq!(from(&new, address, 63).as_deref(), Some("127.0.0.64"));
        assert_eq!(from(&new, address, 64).as_deref(), Some("127.0.0.1"));
        let (far, address) = connector("http://10.0.0.1:1", 30_000, true);
        assert_eq!(from(&far, address, 20_000), None);
    }

    #[test]
    fn errors() {
        for (errno, failure) in [
            (Errno::CONNREFUSED, Failure::Refused),
            (Errno::TIMEDOUT, Failure::ConnectTimeout),
            (Errno::CONNRESET, Failure::Reset),
            (Errno::PIPE, Failure::Reset),
            (Errno::MFILE, Failure::Descriptors),
            (Errno::NETUNREACH, Failure::Connect),
        ] {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            assert_eq!(failure_of(&error, Failure::Connect), failure, "{errno}");
        }
    }
}
