//! Connections to a port of this machine, from the kernel's table of TCP sockets: how many there are,
//! and what is queued for each.
//!
//! The kernel walks its whole table for this, so it is read only where it is asked for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

/// Sockets that are looked at; beyond it nothing is said, since it would be wrong.
const MAX_SOCKETS: usize = 1_000_000;
/// Connections that are told apart.
const MAX_CONNECTIONS: usize = 200_000;
/// A connection from an address comes back if one from there has ended within so long.
const BACK_WITHIN_US: i64 = 60_000_000;
const ESTABLISHED: &str = "01";

/// What the table says of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PortState {
    pub(super) connections: u64,
    /// Connections that had not been there before, since the first look.
    pub(super) opened: u64,
    /// Those of them that came back: from an address of which one had just ended.
    pub(super) reopened: u64,
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

/// The connections of the last look, by inode, and those that have ended of late, by address.
#[derive(Debug, Default)]
pub(super) struct Port {
    known: Option<HashMap<u64, Known>>,
    ended: HashMap<Address, Ended>,
    opened: u64,
    reopened: u64,
}

/// The other end's address without its port, as the kernel writes it: four words of 32 bits in its
/// own order, or one for IPv4.
type Address = u128;

#[derive(Debug, Clone, Copy)]
struct Known {
    address: Address,
    /// Since when bytes have been queued.
    queued_since: Option<i64>,
}

/// Connections from one address that have ended and not come back.
#[derive(Debug, Clone, Copy)]
struct Ended {
    count: u64,
    /// When the last of them was missed.
    ts_us: i64,
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
        let mut before = self.known.take();
        let mut state = PortState::default();
        let mut known = HashMap::with_capacity(sockets.len());
        let mut opened = Vec::new();
        for socket in sockets {
            let was = before.as_mut().map(|before| before.remove(&socket.inode));
            if was.as_ref().is_some_and(Option::is_none) {
                opened.push(socket.address);
            }
            let since_us = was.flatten().and_then(|was| was.queued_since);
            let since_us = since_us.unwrap_or(ts_us);
            let queued_since = (socket.transmit > 0).then_some(since_us);
            if let Some(since_us) = queued_since {
                state.oldest_us = state.oldest_us.max(ts_us - since_us);
            }
            let address = socket.address;
            let now = Known {
                address,
                queued_since,
            };
            known.insert(socket.inode, now);
            state.receive.add(socket.receive);
            state.transmit.add(socket.transmit);
        }
        self.note_ended(
            before.into_iter().flatten().map(|(_, was)| was.address),
            ts_us,
        );
        self.opened += opened.len() as u64;
        for address in opened {
            self.reopened += u64::from(self.takes_back(address));
        }
        state.connections = sockets.len() as u64;
        (state.opened, state.reopened) = (self.opened, self.reopened);
        self.known = Some(known);
        state
    }

    /// Remembers what is not there any more, for as long as it may come back.
    fn note_ended(&mut self, addresses: impl Iterator<Item = Address>, ts_us: i64) {
        self.ended
            .retain(|_, ended| ts_us - ended.ts_us <= BACK_WITHIN_US);
        for address in addresses {
            if self.ended.len() >= MAX_CONNECTIONS && !self.ended.contains_key(&address) {
                continue;
            }
            let none = Ended { count: 0, ts_us };
            let ended = self.ended.entry(address).or_insert(none);
            *ended = Ended {
                count: ended.count + 1,
                ts_us,
            };
        }
    }

    /// Whether a connection from this address has ended that has not come back yet; now it has.
    fn takes_back(&mut self, address: Address) -> bool {
        let Entry::Occupied(mut ended) = self.ended.entry(address) else {
            return false;
        };
        ended.get_mut().count -= 1;
        if ended.get().count == 0 {
            ended.remove();
        }
        true
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
    address: Address,
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
    let remote = fields.next().ok_or_else(malformed)?;
    let state = fields.next().ok_or_else(malformed)?;
    let queues = fields.next().ok_or_else(malformed)?;
    let inode = fields.nth(4).ok_or_else(malformed)?;
    if state != ESTABLISHED {
        return Ok(None);
    }
    let (transmit, receive) = queues.split_once(':').ok_or_else(malformed)?;
    let queued = |text: &str| u64::from_str_radix(text, 16).map_err(|_| malformed());
    let (address, _) = remote.rsplit_once(':').ok_or_else(malformed)?;
    Ok(Some(Socket {
        inode: inode.parse().map_err(|_| malformed())?,
        address: Address::from_str_radix(address, 16).map_err(|_| malformed())?,
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
    fn what_comes_back_is_told_from_what_is_new() {
        const S: i64 = 1_000_000;
        let from = |inode, address| Socket {
            inode,
            address,
            transmit: 0,
            receive: 0,
        };
        let mut port = Port::default();
        let mut look = |sockets: &[Socket], ts_us| {
            let state = port.judge(sockets, ts_us);
            (state.opened, state.reopened)
        };
        // What was there at the first look was not opened.
        assert_eq!(look(&[from(1, 7), from(2, 7), from(3, 8)], 0), (0, 0));
        // One of two of an address ends, and two come from there: one of these is new.
        assert_eq!(look(&[from(1, 7), from(3, 8)], S), (0, 0));
        assert_eq!(
            look(&[from(1, 7), from(3, 8), from(4, 7), from(5, 7)], 2 * S),
            (2, 1)
        );
        // It ended between the looks.
        assert_eq!(
            look(&[from(1, 7), from(6, 8), from(4, 7), from(5, 7)], 3 * S),
            (3, 2)
        );
        // Nobody else comes back for it, and after a minute it is somebody new.
        assert_eq!(look(&[from(1, 7), from(4, 7), from(5, 7)], 4 * S), (3, 2));
        assert_eq!(
            look(&[from(1, 7), from(4, 7), from(5, 7), from(7, 9)], 5 * S),
            (4, 2)
        );
        let late = 5 * S + BACK_WITHIN_US;
        assert_eq!(
            look(&[from(1, 7), from(4, 7), from(5, 7), from(8, 8)], late),
            (5, 2)
        );
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
