//! Sockets in use, and TCP connections by state.

use std::path::PathBuf;
use std::time::Duration;

use driftline_schemas as schemas;
use driftline_schemas::metric::catalogue::id;

use crate::component::{Component, ComponentError};
use crate::config::HostConfig;
use crate::procfile::{Fields, Line, ProcFile, lines, parse_u64};
use crate::recorder::Recorder;

const SOCKSTAT: &str = "/proc/net/sockstat";
const SOCKSTAT6: &str = "/proc/net/sockstat6";
const TCP: &str = "/proc/net/tcp";
const TCP6: &str = "/proc/net/tcp6";
const TRANSPORT: &str = "network.transport";
const NETWORK_TYPE: &str = "network.type";
const STATE: &str = "network.connection.state";
/// The pages in which the kernel counts TCP's memory.
const PAGE_BYTES: u64 = 4096;
/// The table of connections costs the kernel a walk over all its buckets, so it is read seldom, …
const CONNECTIONS_EVERY: Duration = Duration::from_secs(10);
/// … and only while there are few; `system.network.tcp.established` and its siblings remain.
const MAX_CONNECTIONS: u64 = 2_000;

/// The states in the order of their numbers, from 1.
const STATES: [&str; 11] = [
    "established",
    "syn_sent",
    "syn_received",
    "fin_wait_1",
    "fin_wait_2",
    "time_wait",
    "closed",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
];

/// Sockets in use, which the kernel keeps counted.
#[derive(Debug)]
pub(crate) struct Sockets {
    sockstat: ProcFile,
    /// Nothing where the kernel has no IPv6.
    sockstat6: Option<ProcFile>,
    buffer: Vec<u8>,
    interval: Duration,
}

impl Sockets {
    pub(crate) fn new(config: &HostConfig) -> Self {
        Self {
            sockstat: ProcFile::new(config.proc.join("net/sockstat")),
            sockstat6: if_exists(config.proc.join("net/sockstat6")),
            buffer: Vec::new(),
            interval: config.interval,
        }
    }
}

impl Component for Sockets {
    fn component(&self) -> schemas::Component {
        schemas::Component::Host
    }

    fn subject(&self) -> &'static str {
        "host.sockets"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect(&mut self, out: &mut Recorder) -> Result<(), ComponentError> {
        record_sockstat(SOCKSTAT, self.sockstat.read(&mut self.buffer)?, out)?;
        match &mut self.sockstat6 {
            Some(file) => record_sockstat(SOCKSTAT6, file.read(&mut self.buffer)?, out),
            None => Ok(()),
        }
    }
}

fn if_exists(path: PathBuf) -> Option<ProcFile> {
    path.exists().then(|| ProcFile::new(path))
}

fn record_sockstat(
    file: &'static str,
    text: &str,
    out: &mut Recorder,
) -> Result<(), ComponentError> {
    for line in lines(file, text) {
        let Some((protocol, pairs)) = line.text.split_once(": ") else {
            return Err(line.malformed("a protocol and a colon"));
        };
        let (transport, network) = match protocol {
            "TCP" => ("tcp", "ipv4"),
            "TCP6" => ("tcp", "ipv6"),
            "UDP" => ("udp", "ipv4"),
            "UDP6" => ("udp", "ipv6"),
            _ => continue,
        };
        let mut fields = line.fields_of(pairs);
        while let Some(name) = fields.next() {
            let value = fields.count("a count after each name")?;
            match (name, transport) {
                ("inuse", _) => {
                    let labels = &mut [(TRANSPORT, transport), (NETWORK_TYPE, network)];
                    out.count(const { id("system.network.socket.count") }, labels, value);
                }
                ("orphan", "tcp") => {
                    out.count(const { id("system.network.tcp.orphans") }, &mut [], value)
                }
                ("tw", "tcp") => {
                    out.count(const { id("system.network.tcp.time_wait") }, &mut [], value)
                }
                ("alloc", "tcp") => {
                    out.count(const { id("system.network.tcp.allocated") }, &mut [], value)
                }
                ("mem", "tcp") => {
                    let bytes = value.saturating_mul(PAGE_BYTES);
                    out.count(const { id("system.network.tcp.memory") }, &mut [], bytes);
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// TCP connections by state.
#[derive(Debug)]
pub(crate) struct Connections {
    sockstat: ProcFile,
    tcp: ProcFile,
    /// Nothing where the kernel has no IPv6.
    tcp6: Option<ProcFile>,
    buffer: Vec<u8>,
    interval: Duration,
}

impl Connections {
    pub(crate) fn new(config: &HostConfig) -> Self {
        Self {
            sockstat: ProcFile::new(config.proc.join("net/sockstat")),
            tcp: ProcFile::new(config.proc.join("net/tcp")),
            tcp6: if_exists(config.proc.join("net/tcp6")),
            buffer: Vec::new(),
            interval: config.interval.max(CONNECTIONS_EVERY),
        }
    }
}

impl Component for Connections {
    fn component(&self) -> schemas::Component {
        schemas::Component::Host
    }

    fn subject(&self) -> &'static str {
        "host.connections"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect(&mut self, out: &mut Recorder) -> Result<(), ComponentError> {
        if connections_at_most(self.sockstat.read(&mut self.buffer)?) > MAX_CONNECTIONS {
            return Ok(());
        }
        let mut counts = [0; STATES.len()];
        count_states(TCP, self.tcp.read(&mut self.buffer)?, &mut counts)?;
        if let Some(tcp6) = &mut self.tcp6 {
            count_states(TCP6, tcp6.read(&mut self.buffer)?, &mut counts)?;
        }
        for (state, count) in STATES.iter().zip(counts) {
            let labels = &mut [(TRANSPORT, "tcp"), (STATE, *state)];
            out.count(
                const { id("system.network.connection.count") },
                labels,
                count,
            );
        }
        Ok(())
    }
}

/// Sockets that the tables can list at most: those allocated (of both families) and those that
/// only wait out their end.
fn connections_at_most(sockstat: &str) -> u64 {
    let of = |name: &str, fields: &mut Fields<'_>| {
        while let Some(field) = fields.next() {
            if field == name {
                return fields.next().and_then(parse_u64).unwrap_or(0);
            }
        }
        0
    };
    let Some(line) = lines(SOCKSTAT, sockstat).find(|line| line.text.starts_with("TCP: ")) else {
        return 0;
    };
    of("tw", &mut line.fields()) + of("alloc", &mut line.fields())
}

fn count_states(
    file: &'static str,
    text: &str,
    counts: &mut [u64; STATES.len()],
) -> Result<(), ComponentError> {
    for line in lines(file, text).skip(1) {
        let state = state_of(&line).ok_or_else(|| line.malformed("a connection with its state"))?;
        *state_count(counts, state).ok_or_else(|| line.malformed("a state from 01 to 0B"))? += 1;
    }
    Ok(())
}

fn state_of(line: &Line<'_>) -> Option<usize> {
    let mut fields = line.fields();
    fields.skip(3);
    usize::from_str_radix(fields.next()?, 16).ok()
}

fn state_count(counts: &mut [u64; STATES.len()], state: usize) -> Option<&mut u64> {
    // 12 is a request that is being answered, which the tables count as such.
    let state = if state == 12 { 3 } else { state };
    counts.get_mut(state.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{rows, value};

    #[test]
    fn sockets_in_use() {
        let text =
            "sockets: used 17\nTCP: inuse 1 orphan 2 tw 3 alloc 4 mem 188\nUDP: inuse 5 mem 0\n";
        let samples = rows(|out| record_sockstat(SOCKSTAT, text, out)).expect("well formed");
        assert_eq!(
            value(
                &samples,
                "system.network.socket.count",
                "network.transport=tcp,network.type=ipv4"
            ),
            1.0
        );
        assert_eq!(
            value(&samples, "system.network.tcp.memory", ""),
            188.0 * 4096.0
        );
        assert_eq!(value(&samples, "system.network.tcp.time_wait", ""), 3.0);
        assert_eq!(connections_at_most(text), 7);
        assert!(rows(|out| record_sockstat(SOCKSTAT, "TCP: inuse\n", out)).is_err());
    }

    #[test]
    fn connections_are_counted_by_state() {
        let text = "  sl  local_address rem_address   st\n\
                    \x20  0: 00000000:07E8 00000000:0000 0A 00000000:00000000\n\
                    \x20  1: 0100007F:07E8 0100007F:8123 01 00000000:00000000\n\
                    \x20  2: 0100007F:07E8 0100007F:8124 01 00000000:00000000\n\
                    \x20  3: 0100007F:07E8 0100007F:8125 0C 00000000:00000000\n";
        let mut counts = [0; STATES.len()];
        count_states(TCP, text, &mut counts).expect("well formed");
        assert_eq!((counts[0], counts[2], counts[9]), (2, 1, 1));
        for bad in [
            "h\n 0: a b 00 c\n",
            "h\n 0: a b 0D c\n",
            "h\n 0: a\n",
            "h\n 0: a b zz c\n",
        ] {
            let error = count_states(TCP, bad, &mut counts)
                .expect_err(bad)
                .to_string();
            assert!(error.starts_with("/proc/net/tcp:2"), "{error}");
        }
    }
}
