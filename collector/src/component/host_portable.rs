//! The host through `sysinfo`, for systems without the kernel files of Linux.
//!
//! It has CPU utilisation instead of CPU times, and lacks pressure, paging counters, disk times,
//! TCP counters and sockets; nothing is reported in their place, and that is told once.

use std::time::Duration;

use driftline_schemas as schemas;
use driftline_schemas::metric::catalogue::id;
use sysinfo::{Disks, Networks, System};

use crate::component::{Component, ComponentError};
use crate::config::{HostConfig, NameFilter, matches_any};
use crate::recorder::Recorder;

/// The host, as far as `sysinfo` knows it.
pub(crate) struct Portable {
    interval: Duration,
    interfaces: NameFilter,
    exclude_types: Vec<String>,
    system: Option<System>,
    networks: Option<Networks>,
    disks: Option<Disks>,
}

impl Portable {
    pub(crate) fn new(config: &HostConfig) -> Self {
        Self {
            interval: config.interval,
            interfaces: config.interfaces.clone(),
            exclude_types: config.filesystems.exclude_types.clone(),
            system: System::new().ok(),
            networks: Networks::new().ok(),
            disks: Disks::new().ok(),
        }
    }

    fn record_networks(&mut self, out: &mut Recorder) {
        let Some(networks) = &mut self.networks else {
            return;
        };
        networks.refresh(true);
        for (name, network) in networks.iter() {
            let name = name.to_string_lossy();
            if !self.interfaces.admits(&name) {
                continue;
            }
            let counts = [
                (
                    "receive",
                    network.total_received(),
                    network.total_packets_received(),
                    network.total_errors_on_received(),
                ),
                (
                    "transmit",
                    network.total_transmitted(),
                    network.total_packets_transmitted(),
                    network.total_errors_on_transmitted(),
                ),
            ];
            for (direction, bytes, packets, errors) in counts {
                let labels = &mut [
                    ("network.interface.name", name.as_ref()),
                    ("network.io.direction", direction),
                ];
                out.count(const { id("system.network.io") }, labels, bytes);
                out.count(const { id("system.network.packet.count") }, labels, packets);
                out.count(const { id("system.network.errors") }, labels, errors);
            }
        }
    }

    fn record_filesystems(&mut self, out: &mut Recorder) {
        let Some(disks) = &mut self.disks else { return };
        disks.refresh(true);
        for disk in disks.iter() {
            let kind = disk.file_system().to_string_lossy();
            if matches_any(&self.exclude_types, &kind) {
                continue;
            }
            let (device, mountpoint) = (
                disk.name().to_string_lossy(),
                disk.mount_point().to_string_lossy(),
            );
            let used = disk.total_space().saturating_sub(disk.available_space());
            for (state, bytes) in [("used", used), ("free", disk.available_space())] {
                let labels = &mut [
                    ("system.device", device.as_ref()),
                    ("system.filesystem.type", kind.as_ref()),
                    ("system.filesystem.mountpoint", mountpoint.as_ref()),
                    ("system.filesystem.state", state),
                ];
                out.count(const { id("system.filesystem.usage") }, labels, bytes);
            }
        }
    }
}

impl Component for Portable {
    fn component(&self) -> schemas::Component {
        schemas::Component::Host
    }

    fn subject(&self) -> &'static str {
        "host"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect(&mut self, out: &mut Recorder) -> Result<(), ComponentError> {
        let Some(system) = &mut self.system else {
            return Err(ComponentError::Absent {
                what: "anything of this host",
                remedy: "this system is not supported, set collector.host.enabled = false",
            });
        };
        system.refresh_memory();
        system.refresh_cpu_usage();
        for (core, cpu) in system.cpus().iter().enumerate() {
            let core = core.to_string();
            let labels = &mut [("cpu.logical_number", core.as_str())];
            out.record(
                const { id("system.cpu.utilization") },
                labels,
                f64::from(cpu.usage()) / 100.0,
            );
        }
        out.count(
            const { id("system.cpu.logical.count") },
            &mut [],
            system.cpus().len() as u64,
        );
        out.count(
            const { id("system.memory.limit") },
            &mut [],
            system.total_memory(),
        );
        for (state, bytes) in [
            ("used", system.used_memory()),
            ("free", system.free_memory()),
        ] {
            out.count(
                const { id("system.memory.usage") },
                &mut [("system.memory.state", state)],
                bytes,
            );
        }
        for (state, bytes) in [("used", system.used_swap()), ("free", system.free_swap())] {
            out.count(
                const { id("system.paging.usage") },
                &mut [("system.paging.state", state)],
                bytes,
            );
        }
        if let Ok(load) = System::load_average() {
            out.record(
                const { id("system.cpu.load_average.1m") },
                &mut [],
                load.one,
            );
            out.record(
                const { id("system.cpu.load_average.5m") },
                &mut [],
                load.five,
            );
            out.record(
                const { id("system.cpu.load_average.15m") },
                &mut [],
                load.fifteen,
            );
        }
        self.record_networks(out);
        self.record_filesystems(out);
        Err(ComponentError::Absent {
            what: "pressure, paging, CPU and disk times, TCP counters and sockets of this host",
            remedy: "only Linux offers them to this collector",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rows_of;

    #[test]
    fn the_host_is_known_to_sysinfo() {
        let mut portable = Portable::new(&HostConfig::default());
        let mut out = Recorder::new();
        let lacking = portable
            .collect(&mut out)
            .expect_err("it lacks something")
            .to_string();
        assert!(lacking.contains("pressure"), "{lacking}");
        let rows = rows_of(&out.finish());
        let names = [
            "system.cpu.utilization",
            "system.memory.limit",
            "system.network.io",
        ];
        for name in names {
            assert!(rows.iter().any(|row| row.0 == name), "{name} in {rows:?}");
        }
        assert_eq!(portable.subject(), "host");
    }
}
