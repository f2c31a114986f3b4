//! Network interfaces, and packets that the kernel could not take in time.

use std::time::Duration;

use driftline_schemas as schemas;
use driftline_schemas::metric::catalogue::id;

use crate::component::{Component, ComponentError};
use crate::config::{HostConfig, NameFilter};
use crate::procfile::{Line, ProcFile, lines};
use crate::recorder::Recorder;

const NET_DEV: &str = "/proc/net/dev";
const SOFTNET_STAT: &str = "/proc/net/softnet_stat";
const INTERFACE: &str = "network.interface.name";
pub(super) const DIRECTION: &str = "network.io.direction";
/// Most interfaces that are collected.
const MAX_INTERFACES: usize = 512;
/// The file begins with two lines of headings.
const HEADINGS: usize = 2;

/// The host's interfaces.
#[derive(Debug)]
pub(crate) struct Interfaces {
    file: ProcFile,
    buffer: Vec<u8>,
    interval: Duration,
    filter: NameFilter,
}

impl Interfaces {
    pub(crate) fn new(config: &HostConfig) -> Self {
        Self {
            file: ProcFile::new(config.proc.join("net/dev")),
            buffer: Vec::new(),
            interval: config.interval,
            filter: config.interfaces.clone(),
        }
    }
}

impl Component for Interfaces {
    fn component(&self) -> schemas::Component {
        schemas::Component::Host
    }

    fn subject(&self) -> &'static str {
        "host.network"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect(&mut self, out: &mut Recorder) -> Result<(), ComponentError> {
        record_net_dev(self.file.read(&mut self.buffer)?, &self.filter, out)
    }
}

fn record_net_dev(
    text: &str,
    filter: &NameFilter,
    out: &mut Recorder,
) -> Result<(), ComponentError> {
    let mut interfaces = 0;
    for line in lines(NET_DEV, text).skip(HEADINGS) {
        let Some((name, counts)) = line.text.split_once(':') else {
            return Err(line.malformed("an interface and a colon"));
        };
        let name = name.trim_ascii();
        if !filter.admits(name) {
            continue;
        }
        interfaces += 1;
        if interfaces > MAX_INTERFACES {
            return Err(ComponentError::TooMany {
                things: "network interfaces",
                limit: MAX_INTERFACES,
                remedy: "narrow host.interfaces by include and exclude",
            });
        }
        record_interface(name, &line, counts, out)?;
    }
    Ok(())
}

fn record_interface(
    name: &str,
    line: &Line<'_>,
    counts: &str,
    out: &mut Recorder,
) -> Result<(), ComponentError> {
    const EXPECTED: &str = "16 counts";
    let mut fields = line.fields_of(counts);
    for direction in ["receive", "transmit"] {
        let labels = &mut [(INTERFACE, name), (DIRECTION, direction)];
        out.count(
            const { id("system.network.io") },
            labels,
            fields.count(EXPECTED)?,
        );
        out.count(
            const { id("system.network.packet.count") },
            labels,
            fields.count(EXPECTED)?,
        );
        out.count(
            const { id("system.network.errors") },
            labels,
            fields.count(EXPECTED)?,
        );
        out.count(
            const { id("system.network.packet.dropped") },
            labels,
            fields.count(EXPECTED)?,
        );
        fields.skip(4);
    }
    Ok(())
}

/// What the kernel's receive path could not take in time, over all CPUs.
#[derive(Debug)]
pub(crate) struct Softnet {
    file: ProcFile,
    buffer: Vec<u8>,
    interval: Duration,
}

impl Softnet {
    pub(crate) fn new(config: &HostConfig) -> Self {
        let file = ProcFile::new(config.proc.join("net/softnet_stat"));
        Self {
            file,
            buffer: Vec::new(),
            interval: config.interval,
        }
    }
}

impl Component for Softnet {
    fn component(&self) -> schemas::Component {
        schemas::Component::Host
    }

    fn subject(&self) -> &'static str {
        "host.softnet"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect(&mut self, out: &mut Recorder) -> Result<(), ComponentError> {
        record_softnet(self.file.read(&mut self.buffer)?, out)
    }
}

/// One line per CPU, in hexadecimal: processed, dropped, squeezed, and more.
fn record_softnet(text: &str, out: &mut Recorder) -> Result<(), ComponentError> {
    const EXPECTED: &str = "at least 3 hexadecimal counts";
    let (mut dropped, mut squeezed) = (0, 0);
    for line in lines(SOFTNET_STAT, text) {
        let mut fields = line.fields();
        fields.skip(1);
        let mut count = || {
            u64::from_str_radix(fields.word(EXPECTED)?, 16).map_err(|_| fields.malformed(EXPECTED))
        };
        dropped += count()?;
        squeezed += count()?;
    }
    out.count(
        const { id("system.network.softnet.dropped") },
        &mut [],
        dropped,
    );
    out.count(
        const { id("system.network.softnet.squeezed") },
        &mut [],
        squeezed,
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{rows, value};

    const FIXTURE: &str = include_str!("../../../tests/fixtures/netdev");

    #[test]
    fn interfaces_are_recorded_by_name_and_direction() {
        let filter = NameFilter {
            include: Vec::new(),
            exclude: vec!["ifb*".to_owned()],
        };
        let samples = rows(|out| record_net_dev(FIXTURE, &filter, out)).expect("a captured file");
        let received = "network.interface.name=eth0,network.io.direction=receive";
        assert_eq!(
            value(&samples, "system.network.io", received),
            254_426_611.0
        );
        let sent = "network.interface.name=eth0,network.io.direction=transmit";
        assert_eq!(
            value(&samples, "system.network.packet.count", sent),
            7_348.0
        );
        assert_eq!(value(&samples, "system.network.errors", sent), 3.0);
        assert_eq!(value(&samples, "system.network.packet.dropped", sent), 4.0);
        assert_eq!(samples.len(), 2 * 8, "lo and eth0");
    }

    #[test]
    fn malformed_net_dev_is_located() {
        let text = "headings\nheadings\neth0: 1 2 3 4 5 6 7 8 9\n";
        let error =
            rows(|out| record_net_dev(text, &NameFilter::default(), out)).expect_err("too short");
        assert!(
            error
                .to_string()
                .starts_with("/proc/net/dev:3: expected 16 counts"),
            "{error}"
        );
    }

    #[test]
    fn softnet_adds_up_the_cpus() {
        let text = "0000007a 00000010 00000002 0\n0000272c 00000001 00000001 0\n";
        let samples = rows(|out| record_softnet(text, out)).expect("well formed");
        assert_eq!(value(&samples, "system.network.softnet.dropped", ""), 17.0);
        assert_eq!(value(&samples, "system.network.softnet.squeezed", ""), 3.0);
        assert!(rows(|out| record_softnet("0 0\n", out)).is_err());
        assert!(rows(|out| record_softnet("0 g 0\n", out)).is_err());
    }
}
