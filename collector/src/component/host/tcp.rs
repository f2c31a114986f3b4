//! TCP and UDP: the protocols' counters. Their sockets are in `sockets`.

use std::time::Duration;

use driftline_schemas as schemas;
use driftline_schemas::metric::catalogue::id;

use super::network::DIRECTION;
use crate::component::{Component, ComponentError};
use crate::config::HostConfig;
use crate::procfile::{ProcFile, lines, parse_u64};
use crate::recorder::Recorder;

const SNMP: &str = "/proc/net/snmp";
const NETSTAT: &str = "/proc/net/netstat";
const ROLE: &str = "network.connection.role";
const ERROR: &str = "error.type";

/// The protocols' counters.
#[derive(Debug)]
pub(crate) struct Counters {
    snmp: ProcFile,
    netstat: ProcFile,
    buffer: Vec<u8>,
    interval: Duration,
}

impl Counters {
    pub(crate) fn new(config: &HostConfig) -> Self {
        Self {
            snmp: ProcFile::new(config.proc.join("net/snmp")),
            netstat: ProcFile::new(config.proc.join("net/netstat")),
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
        for_each_counter(
            SNMP,
            self.snmp.read(&mut self.buffer)?,
            |protocol, name, value| {
                record_snmp(protocol, name, value, out);
            },
        )?;
        let mut backlog_drops = 0;
        for_each_counter(
            NETSTAT,
            self.netstat.read(&mut self.buffer)?,
            |protocol, name, value| {
                if protocol != "TcpExt" {
                    return;
                }
                match name {
                    "TCPBacklogDrop" | "TCPRcvQDrop" => backlog_drops += value,
                    _ => record_netstat(name, value, out),
                }
            },
        )?;
        out.count(
            const { id("system.network.tcp.backlog_drops") },
            &mut [],
            backlog_drops,
        );
        Ok(())
    }
}

/// Both files hold pairs of lines: the names of a protocol's counters, then their values.
fn for_each_counter(
    file: &'static str,
    text: &str,
    mut take: impl FnMut(&str, &str, u64),
) -> Result<(), ComponentError> {
    let mut all = lines(file, text);
    while let Some(names) = all.next() {
        let Some((protocol, names_of)) = names.text.split_once(": ") else {
            return Err(names.malformed("a protocol and a colon"));
        };
        let values = all
            .next()
            .ok_or_else(|| names.malformed("a line of values after it"))?;
        let values_of = values
            .text
            .strip_prefix(protocol)
            .and_then(|rest| rest.strip_prefix(": "));
        let values_of =
            values_of.ok_or_else(|| values.malformed("the values of the line before"))?;
        let mut fields = values.fields_of(values_of);
        for name in names_of.split_ascii_whitespace() {
            let word = fields.word("a value for each name")?;
            // Tcp's MaxConn is -1 where there is no limit; no counter that we take is negative.
            if let Some(value) = parse_u64(word) {
                take(protocol, name, value);
            } else if word.parse::<i64>().is_err() {
                return Err(values.malformed("whole numbers"));
            }
        }
    }
    Ok(())
}

fn record_snmp(protocol: &str, name: &str, value: u64, out: &mut Recorder) {
    match (protocol, name) {
        ("Tcp", "RetransSegs") => out.count(
            const { id("system.network.tcp.retransmits") },
            &mut [],
            value,
        ),
        ("Tcp", "InSegs") => {
            out.count(
                const { id("system.network.tcp.segments") },
                &mut [(DIRECTION, "receive")],
                value,
            );
        }
        ("Tcp", "OutSegs") => {
            out.count(
                const { id("system.network.tcp.segments") },
                &mut [(DIRECTION, "transmit")],
                value,
            );
        }
        ("Tcp", "ActiveOpens") => {
            out.count(
                const { id("system.network.tcp.opened") },
                &mut [(ROLE, "client")],
                value,
            );
        }
        ("Tcp", "PassiveOpens") => {
            out.count(
                const { id("system.network.tcp.opened") },
                &mut [(ROLE, "server")],
                value,
            );
        }
        ("Tcp", "AttemptFails") => out.count(
            const { id("system.network.tcp.failed_attempts") },
            &mut [],
            value,
        ),
        ("Tcp", "EstabResets") => {
            out.count(const { id("system.network.tcp.resets") }, &mut [], value)
        }
        ("Tcp", "OutRsts") => out.count(
            const { id("system.network.tcp.resets_sent") },
            &mut [],
            value,
        ),
        ("Tcp", "InErrs") => out.count(
            const { id("system.network.tcp.receive_errors") },
            &mut [],
            value,
        ),
        ("Tcp", "CurrEstab") => out.count(
            const { id("system.network.tcp.established") },
            &mut [],
            value,
        ),
        ("Udp", "InDatagrams") => {
            out.count(
                const { id("system.network.udp.datagrams") },
                &mut [(DIRECTION, "receive")],
                value,
            );
        }
        ("Udp", "OutDatagrams") => {
            out.count(
                const { id("system.network.udp.datagrams") },
                &mut [(DIRECTION, "transmit")],
                value,
            );
        }
        ("Udp", _) => {
            let error = match name {
                "InErrors" => "receive",
                "NoPorts" => "no_port",
                "RcvbufErrors" => "receive_buffer",
                "SndbufErrors" => "send_buffer",
                _ => return,
            };
            out.count(
                const { id("system.network.udp.errors") },
                &mut [(ERROR, error)],
                value,
            );
        }
        _ => {}
    }
}

fn record_netstat(name: &str, value: u64, out: &mut Recorder) {
    let metric = match name {
        "ListenOverflows" => const { id("system.network.tcp.listen.overflows") },
        "ListenDrops" => const { id("system.network.tcp.listen.drops") },
        "TCPTimeouts" => const { id("system.network.tcp.timeouts") },
        "TCPSynRetrans" => const { id("system.network.tcp.syn_retransmits") },
        "TCPAbortOnMemory" => const { id("system.network.tcp.memory_aborts") },
        "SyncookiesSent" => const { id("system.network.tcp.syncookies_sent") },
        "TCPToZeroWindowAdv" => const { id("system.network.tcp.zero_windows") },
        _ => return,
    };
    out.count(metric, &mut [], value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{rows, value};

    const SNMP_FIXTURE: &str = include_str!("../../../tests/fixtures/snmp");
    const NETSTAT_FIXTURE: &str = include_str!("../../../tests/fixtures/netstat");

    #[test]
    fn snmp_counters_are_found_by_name() {
        let samples = rows(|out| {
            for_each_counter(SNMP, SNMP_FIXTURE, |protocol, name, value| {
                record_snmp(protocol, name, value, out)
            })
        });
        let samples = samples.expect("a captured file");
        assert_eq!(
            value(
                &samples,
                "system.network.tcp.segments",
                "network.io.direction=receive"
            ),
            9_813.0
        );
        assert_eq!(value(&samples, "system.network.tcp.retransmits", ""), 5.0);
        assert_eq!(
            value(
                &samples,
                "system.network.tcp.opened",
                "network.connection.role=server"
            ),
            2.0
        );
        assert_eq!(
            value(&samples, "system.network.udp.errors", "error.type=no_port"),
            0.0
        );
        assert_eq!(samples.len(), 16);
    }

    #[test]
    fn netstat_counters_are_found_by_name() {
        let mut found = Vec::new();
        for_each_counter(NETSTAT, NETSTAT_FIXTURE, |protocol, name, value| {
            if value > 0 && protocol == "TcpExt" {
                found.push((name.to_owned(), value));
            }
        })
        .expect("a captured file");
        assert!(
            found.contains(&("TCPOrigDataSent".to_owned(), 2_917)),
            "{found:?}"
        );
        let samples = rows(|out| {
            record_netstat("ListenOverflows", 3, out);
            record_netstat("TCPPureAcks", 3, out);
            Ok(())
        });
        let samples = samples.expect("nothing can fail");
        assert_eq!(
            value(&samples, "system.network.tcp.listen.overflows", ""),
            3.0
        );
        assert_eq!(samples.len(), 1);
    }

    #[test]
    fn malformed_counters_are_located() {
        let cases = [
            ("Tcp: A B\nTcp: 1\n", ":2: expected a value"),
            ("Tcp: A\nUdp: 1\n", ":2: expected the values of"),
            ("Tcp: A\n", ":1: expected a line of values"),
            ("Tcp: A\nTcp: x\n", ":2: expected whole numbers"),
            ("nothing\n", ":1: expected a protocol"),
        ];
        for (text, expected) in cases {
            let error = for_each_counter(SNMP, text, |_, _, _| {})
                .expect_err(text)
                .to_string();
            assert!(
                error.starts_with(&format!("/proc/net/snmp{expected}")),
                "{error}"
            );
        }
    }
}
