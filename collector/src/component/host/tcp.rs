//! TCP and UDP: the protocols' counters. Their sockets are in `sockets`.

use std::time::Duration;

use driftline_schemas as schemas;
use driftline_schemas::metric::catalogue::id;

use super::network::DIRECTION;
use crate::component::{Component, ComponentError};
use crate::config::HostConfig;
use crate::procfile::{Line, ProcFile, lines};
use crate::recorder::Recorder;

const SNMP: &str = "/proc/net/snmp";
const NETSTAT: &str = "/proc/net/netstat";
const ROLE: &str = "network.connection.role";
const ERROR: &str = "error.type";
const QUEUE: &str = "system.network.tcp.queue";

/// A counter of the kernel and what it is recorded as.
#[derive(Debug)]
struct Counter {
    protocol: &'static str,
    name: &'static str,
    metric: u32,
    label: Option<(&'static str, &'static str)>,
}

const fn counter(protocol: &'static str, name: &'static str, metric: &str) -> Counter {
    Counter {
        protocol,
        name,
        metric: id(metric),
        label: None,
    }
}

const fn labelled(
    protocol: &'static str,
    name: &'static str,
    metric: &str,
    label: (&'static str, &'static str),
) -> Counter {
    Counter {
        protocol,
        name,
        metric: id(metric),
        label: Some(label),
    }
}

// One row per counter, so that the list reads as the table that it is.
#[rustfmt::skip]
static COUNTERS: [Counter; 25] = [
    counter("Tcp", "RetransSegs", "system.network.tcp.retransmits"),
    labelled("Tcp", "InSegs", "system.network.tcp.segments", (DIRECTION, "receive")),
    labelled("Tcp", "OutSegs", "system.network.tcp.segments", (DIRECTION, "transmit")),
    labelled("Tcp", "ActiveOpens", "system.network.tcp.opened", (ROLE, "client")),
    labelled("Tcp", "PassiveOpens", "system.network.tcp.opened", (ROLE, "server")),
    counter("Tcp", "AttemptFails", "system.network.tcp.failed_attempts"),
    counter("Tcp", "EstabResets", "system.network.tcp.resets"),
    counter("Tcp", "OutRsts", "system.network.tcp.resets_sent"),
    counter("Tcp", "InErrs", "system.network.tcp.receive_errors"),
    counter("Tcp", "CurrEstab", "system.network.tcp.established"),
    labelled("Udp", "InDatagrams", "system.network.udp.datagrams", (DIRECTION, "receive")),
    labelled("Udp", "OutDatagrams", "system.network.udp.datagrams", (DIRECTION, "transmit")),
    labelled("Udp", "InErrors", "system.network.udp.errors", (ERROR, "receive")),
    labelled("Udp", "NoPorts", "system.network.udp.errors", (ERROR, "no_port")),
    labelled("Udp", "RcvbufErrors", "system.network.udp.errors", (ERROR, "receive_buffer")),
    labelled("Udp", "SndbufErrors", "system.network.udp.errors", (ERROR, "send_buffer")),
    counter("TcpExt", "ListenOverflows", "system.network.tcp.listen.overflows"),
    counter("TcpExt", "ListenDrops", "system.network.tcp.listen.drops"),
    counter("TcpExt", "TCPTimeouts", "system.network.tcp.timeouts"),
    counter("TcpExt", "TCPSynRetrans", "system.network.tcp.syn_retransmits"),
    counter("TcpExt", "TCPAbortOnMemory", "system.network.tcp.memory_aborts"),
    counter("TcpExt", "SyncookiesSent", "system.network.tcp.syncookies_sent"),
    counter("TcpExt", "TCPToZeroWindowAdv", "system.network.tcp.zero_windows"),
    labelled("TcpExt", "TCPBacklogDrop", "system.network.tcp.backlog_drops", (QUEUE, "backlog")),
    labelled("TcpExt", "TCPRcvQDrop", "system.network.tcp.backlog_drops", (QUEUE, "receive")),
];

/// The protocols' counters.
#[derive(Debug)]
pub(crate) struct Counters {
    snmp: Table,
    netstat: Table,
    buffer: Vec<u8>,
    interval: Duration,
}

impl Counters {
    pub(crate) fn new(config: &HostConfig) -> Self {
        Self {
            snmp: Table::new(SNMP, ProcFile::new(config.proc.join("net/snmp"))),
            netstat: Table::new(NETSTAT, ProcFile::new(config.proc.join("net/netstat"))),
            buffer: Vec::new(),
            interval: config.interval,
        }
    }
}

impl Component for Counters {
    fn component(&self) -> schemas::Component {
        schemas::Component::Host
    }

    fn subject(&self) -> &'static str {
        "host.tcp"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect(&mut self, out: &mut Recorder) -> Result<(), ComponentError> {
        for table in [&mut self.snmp, &mut self.netstat] {
            let text = table.file.read(&mut self.buffer)?;
            table.columns.record(text, out)?;
        }
        Ok(())
    }
}

/// A file with pairs of lines: the names of a protocol's counters, then their values.
#[derive(Debug)]
struct Table {
    file: ProcFile,
    columns: Columns,
}

impl Table {
    fn new(name: &'static str, file: ProcFile) -> Self {
        Self {
            file,
            columns: Columns {
                name,
                pairs: Vec::new(),
            },
        }
    }
}

/// Where the counters stand that are collected. There are hundreds of names and they stay the same
/// while the kernel runs, so that they are looked through once.
#[derive(Debug)]
struct Columns {
    name: &'static str,
    pairs: Vec<Pair>,
}

/// What is known of a pair of lines.
#[derive(Debug, Default)]
struct Pair {
    /// The line of names that this holds for.
    names: String,
    /// Columns from 0, and what is recorded of them.
    wanted: Vec<(usize, &'static Counter)>,
}

impl Columns {
    fn record(&mut self, text: &str, out: &mut Recorder) -> Result<(), ComponentError> {
        let mut all = lines(self.name, text);
        let mut at = 0;
        while let Some(names) = all.next() {
            if at == self.pairs.len() {
                self.pairs.push(Pair::default());
            }
            let pair = &mut self.pairs[at];
            if pair.names != names.text {
                *pair = Pair::of(&names)?;
            }
            let values = all
                .next()
                .ok_or_else(|| names.malformed("a line of values after it"))?;
            pair.record(&values, out)?;
            at += 1;
        }
        Ok(())
    }
}

impl Pair {
    fn of(names: &Line<'_>) -> Result<Self, ComponentError> {
        let Some((protocol, rest)) = names.text.split_once(": ") else {
            return Err(names.malformed("a protocol and a colon"));
        };
        let wanted = |(column, name): (usize, &str)| {
            let found = COUNTERS
                .iter()
                .find(|known| known.protocol == protocol && known.name == name)?;
            Some((column, found))
        };
        let wanted = rest
            .split_ascii_whitespace()
            .enumerate()
            .filter_map(wanted)
            .collect();
        Ok(Self {
            names: names.text.to_owned(),
            wanted,
        })
    }

    fn record(&self, values: &Line<'_>, out: &mut Recorder) -> Result<(), ComponentError> {
        let mut fields = values.fields();
        let protocol = fields.word("the values of the line before")?;
        if !self.names.starts_with(protocol) {
            return Err(values.malformed("the values of the line before"));
        }
        let mut next = 0;
        for (column, counter) in &self.wanted {
            fields.skip(column - next);
            next = column + 1;
            let value = fields.count("a count for each name")?;
            match counter.label {
                Some(label) => out.count(counter.metric, &mut [label], value),
                None => out.count(counter.metric, &mut [], value),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Row, rows, value};

    const SNMP_FIXTURE: &str = include_str!("../../../tests/fixtures/snmp");
    const NETSTAT_FIXTURE: &str = include_str!("../../../tests/fixtures/netstat");

    fn columns() -> Columns {
        Columns {
            name: SNMP,
            pairs: Vec::new(),
        }
    }

    fn record(text: &str) -> Result<Vec<Row>, ComponentError> {
        rows(|out| columns().record(text, out))
    }

    #[test]
    fn counters_are_found_by_name() {
        let samples = record(SNMP_FIXTURE).expect("a captured file");
        let received = value(
            &samples,
            "system.network.tcp.segments",
            "network.io.direction=receive",
        );
        assert_eq!(received, 9_813.0);
        assert_eq!(value(&samples, "system.network.tcp.retransmits", ""), 5.0);
        let role = "network.connection.role=server";
        assert_eq!(value(&samples, "system.network.tcp.opened", role), 2.0);
        assert_eq!(
            value(&samples, "system.network.udp.errors", "error.type=no_port"),
            0.0
        );
        assert_eq!(samples.len(), 16);
        let samples = record(NETSTAT_FIXTURE).expect("a captured file");
        assert_eq!(samples.len(), 9);
        let listed = NETSTAT_FIXTURE
            .lines()
            .take(2)
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let [names, values] = listed.collect::<Vec<_>>().try_into().expect("two lines");
        for (name, metric) in [
            ("TCPTimeouts", "system.network.tcp.timeouts"),
            ("TCPSynRetrans", "system.network.tcp.syn_retransmits"),
            ("ListenDrops", "system.network.tcp.listen.drops"),
        ] {
            let column = names.iter().position(|listed| *listed == name).expect(name);
            let expected: f64 = values[column].parse().expect("a count");
            assert_eq!(value(&samples, metric, ""), expected, "{name}");
        }
    }

    #[test]
    fn every_counter_of_the_list_is_there() {
        for counter in &COUNTERS {
            let file = if counter.protocol == "TcpExt" {
                NETSTAT_FIXTURE
            } else {
                SNMP_FIXTURE
            };
            let names = file
                .lines()
                .find(|line| line.starts_with(&format!("{}: ", counter.protocol)));
            let listed = names
                .expect("the protocol")
                .split(' ')
                .any(|name| name == counter.name);
            assert!(listed, "{} {}", counter.protocol, counter.name);
        }
    }

    #[test]
    fn columns_that_move_are_found_again() {
        let mut columns = columns();
        for text in [
            "Tcp: InErrs RetransSegs\nTcp: 1 2\n",
            "Tcp: RetransSegs MaxConn InErrs\nTcp: 2 -1 1\n",
        ] {
            let samples = rows(|out| columns.record(text, out)).expect("well formed");
            assert_eq!(value(&samples, "system.network.tcp.retransmits", ""), 2.0);
            assert_eq!(
                value(&samples, "system.network.tcp.receive_errors", ""),
                1.0
            );
        }
    }

    #[test]
    fn malformed_counters_are_located() {
        let cases = [
            (
                "Tcp: A InErrs\nTcp: 1\n",
                ":2: expected a count for each name",
            ),
            ("Tcp: InErrs\nUdp: 1\n", ":2: expected the values of"),
            ("Tcp: InErrs\n", ":1: expected a line of values"),
            ("Tcp: InErrs\nTcp: x\n", ":2: expected a count"),
            ("nothing\n", ":1: expected a protocol"),
        ];
        for (text, expected) in cases {
            let error = record(text).expect_err(text).to_string();
            assert!(
                error.starts_with(&format!("/proc/net/snmp{expected}")),
                "{error}"
            );
        }
    }
}
