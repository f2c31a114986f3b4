//! Connections to a port of this machine, from the kernel's table of TCP sockets: how many there are,
//! and what is queued for each.
//!
//! The kernel walks its whole table for this, so it is read only where it is asked for.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

/// Sockets that are looked at; beyond it nothing is said, since it would be wrong.
const MAX_SOCKETS: usize = 1_000_000;
/// Connections that are told apart.
const MAX_CONNECTIONS: usize = 200_000;
const ESTABLISHED: &str = "01";

/// What the table says of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PortState {
    pub(super) connections: u64,
    /// Connections that had not been there before, since the first look.
    pub(super) opened: u64,
    pub(super) receive: Queue,
    pub(super) transmit: Queue,
    /// The longest time for which a send queue has been seen with bytes at every look.
    pub(super) oldest_us: i64,
}

/// Queued bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Queue {
    pub(super) sum: u64,
    pub(super) max: u64,
}

/// The connections of the last look, by inode: since when bytes have been queued.
#[derive(Debug, Default)]
pub(super) struct Port {
    known: Option<HashMap<u64, Option<i64>>>,
    opened: u64,
}

impl Port {
    /// Looks at the tables below this directory, `/proc/net`.
    ///
    /// # Errors
    /// When none can be read, or when there is too much in it.
    pub(super) fn look(&mut self, tables: &Path, port: u16, ts_us: i64) -> io::Result<PortState> {
        let mut lines = Vec::new();
        for name in ["tcp", "tcp6"] {
            match File::open(tables.join(name)) {
                Ok(file) => read(BufReader::new(file), port, &mut lines)?,
                // A machine may have but one version of IP.
                Err(error) if error.kind() == io::ErrorKind::NotFound && name == "tcp6" => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.judge(&lines, ts_us))
    }

    fn judge(&mut self, sockets: &[Socket], ts_us: i64) -> PortState {
        let before = self.known.take();
        let mut state = PortState::default();
        let mut known = HashMap::with_capacity(sockets.len());
        for socket in sockets {
            let was = before.as_ref().map(|before| before.get(&socket.inode));
            self.opened += u64::from(was == Some(None));
            let since_us = was.flatten().copied().flatten().unwrap_or(ts_us);
            let queued_since = (socket.transmit > 0).then_some(since_us);
            if let Some(since_us) = queued_since {
                state.oldest_us = state.oldest_us.max(ts_us - since_us);
            }
            known.insert(socket.inode, queued_since);
            state.receive.add(socket.receive);
            state.transmit.add(socket.transmit);
        }
        state.connections = sockets.len() as u64;
        state.opened = self.opened;
        self.known = Some(known);
        state
    }
}

impl Queue {
    fn add(&mut self, bytes: u64) {
        self.sum += bytes;
        self.max = self.max.max(bytes);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Socket {
    inode: u64,
    transmit: u64,
    receive: u64,
}

fn read(mut table: impl io::BufRead, port: u16, found: &mut Vec<Socket>) -> io::Result<()> {
    let mut line = String::new();
    for at in 0.. {
        line.clear();
        if table.read_line(&mut line)? == 0 {
            break;
        }
        if at > MAX_SOCKETS || found.len() >= MAX_CONNECTIONS {
            return Err(io::Error::other("there are too many sockets to count them"));
        }
        if at > 0
            && let Some(socket) = parse(&line, port)?
        {
            found.push(socket);
        }
    }
    Ok(())
}

/// An established connection to the port; `None` for every other socket.
fn parse(line: &str, port: u16) -> io::Result<Option<Socket>> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "a line has another form");
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1).ok_or_else(malformed)?;
    let (_, local_port) = local.rsplit_once(':').ok_or_else(malformed)?;
    if u16::from_str_radix(local_port, 16).map_err(|_| malformed())? != port {
        return Ok(None);
    }
    let state = fields.nth(1).ok_or_else(malformed)?;
    let queues = fields.next().ok_or_else(malformed)?;
    let inode = fields.nth(4).ok_or_else(malformed)?;
    if state != ESTABLISHED {
        return Ok(None);
    }
    let (transmit, receive) = queues.split_once(':').ok_or_else(malformed)?;
    let queued = |text: &str| u64::from_str_radix(text, 16).map_err(|_| malformed());
    Ok(Some(Socket {
        inode: inode.parse().map_err(|_| malformed())?,
        transmit: queued(transmit)?,
        receive: queued(receive)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 10 1
   1: 0100007F:1F90 0100007F:C001 01 00000100:00000002 00:00000000 00000000     0        0 11 1
   2: 0100007F:1F90 0100007F:C002 01 00000000:00000000 00:00000000 00000000     0        0 12 1
   3: 0100007F:C001 0100007F:1F90 01 00000009:00000009 00:00000000 00000000     0        0 13 1
";

    fn sockets(table: &str) -> Vec<Socket> {
        let mut found = Vec::new();
        read(table.as_bytes(), 8080, &mut found).expect("well-formed");
        found
    }

    #[test]
    fn connections_and_queues_of_one_port_are_counted() {
        let mut port = Port::default();
        let state = port.judge(&sockets(TABLE), 1_000_000);
        assert_eq!(
            (state.connections, state.opened, state.oldest_us),
            (2, 0, 0)
        );
        assert_eq!(state.transmit, Queue { sum: 256, max: 256 });
        assert_eq!(state.receive, Queue { sum: 2, max: 2 });
        let later = TABLE.replace(" 12 1", " 22 1");
        let state = port.judge(&sockets(&later), 11_000_000);
        assert_eq!((state.opened, state.oldest_us), (1, 10_000_000));
        let drained = TABLE.replace("00000100:", "00000000:");
        assert_eq!(port.judge(&sockets(&drained), 21_000_000).oldest_us, 0);
    }

    #[test]
    fn malformed_tables_are_errors() {
        for line in ["x", "0: 1 2 3", "0: A:1F90 B:1 01 zz 0 0 0 0 0 1"] {
            let table = format!("header\n{line}\n");
            assert!(
                read(table.as_bytes(), 8080, &mut Vec::new()).is_err(),
                "{line}"
            );
        }
    }
}
