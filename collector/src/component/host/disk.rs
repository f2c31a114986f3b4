//! Disks: operations, bytes, time and operations in flight, from `/proc/diskstats`.

use std::time::Duration;

use driftline_schemas as schemas;
use driftline_schemas::metric::catalogue::id;

use crate::component::{Component, ComponentError};
use crate::config::{HostConfig, NameFilter};
use crate::procfile::{Line, ProcFile, lines};
use crate::recorder::Recorder;

const DISKSTATS: &str = "/proc/diskstats";
const DEVICE: &str = "system.device";
const DIRECTION: &str = "disk.io.direction";
/// The kernel counts in sectors of this size whatever the disk's own are.
const SECTOR_BYTES: u64 = 512;
/// Most disks and partitions that are collected.
const MAX_DISKS: usize = 256;

/// The host's disks.
#[derive(Debug)]
pub(crate) struct Disks {
    file: ProcFile,
    buffer: Vec<u8>,
    interval: Duration,
    filter: NameFilter,
}

impl Disks {
    pub(crate) fn new(config: &HostConfig) -> Self {
        Self {
            file: ProcFile::new(config.proc.join("diskstats")),
            buffer: Vec::new(),
            interval: config.interval,
            filter: config.disks.clone(),
        }
    }
}

impl Component for Disks {
    fn component(&self) -> schemas::Component {
        schemas::Component::Host
    }

    fn subject(&self) -> &'static str {
        "host.disk"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect(&mut self, out: &mut Recorder) -> Result<(), ComponentError> {
        record_diskstats(self.file.read(&mut self.buffer)?, &self.filter, out)
    }
}

fn record_diskstats(
    text: &str,
    filter: &NameFilter,
    out: &mut Recorder,
) -> Result<(), ComponentError> {
    let mut disks = 0;
    for line in lines(DISKSTATS, text) {
        let Some(name) = third(&line) else {
            return Err(line.malformed("major, minor and name"));
        };
        if !filter.admits(name) || (is_partition(name) && !filter.includes(name)) {
            continue;
        }
        disks += 1;
        if disks > MAX_DISKS {
            return Err(ComponentError::TooMany {
                things: "disks",
                limit: MAX_DISKS,
                remedy: "narrow host.disks by include and exclude",
            });
        }
        record_disk(name, &line, out)?;
    }
    Ok(())
}

/// Fields after <https://www.kernel.org/doc/html/latest/admin-guide/iostats.html>.
fn record_disk(name: &str, line: &Line<'_>, out: &mut Recorder) -> Result<(), ComponentError> {
    const EXPECTED: &str = "at least 11 counts";
    let mut fields = line.fields();
    fields.skip(3);
    for direction in ["read", "write"] {
        let operations = fields.count(EXPECTED)?;
        let merged = fields.count(EXPECTED)?;
        let sectors = fields.count(EXPECTED)?;
        let milliseconds = fields.count(EXPECTED)?;
        let labels = &mut [(DIRECTION, direction), (DEVICE, name)];
        out.count(const { id("system.disk.operations") }, labels, operations);
        out.count(const { id("system.disk.merged") }, labels, merged);
        out.count(
            const { id("system.disk.io") },
            labels,
            sectors.saturating_mul(SECTOR_BYTES),
        );
        out.record(
            const { id("system.disk.operation_time") },
            labels,
            seconds(milliseconds),
        );
    }
    let labels = &mut [(DEVICE, name)];
    out.count(
        const { id("system.disk.pending_operations") },
        labels,
        fields.count(EXPECTED)?,
    );
    out.record(
        const { id("system.disk.io_time") },
        labels,
        seconds(fields.count(EXPECTED)?),
    );
    out.record(
        const { id("system.disk.weighted_io_time") },
        labels,
        seconds(fields.count(EXPECTED)?),
    );
    // Discards since Linux 4.18 (passed over), flushes since 5.5.
    fields.skip(4);
    if let Some(flushes) = fields.count_if_any("flushes")? {
        out.count(
            const { id("system.disk.flush.operations") },
            labels,
            flushes,
        );
        let time = seconds(fields.count("milliseconds of flushes")?);
        out.record(
            const { id("system.disk.flush.operation_time") },
            labels,
            time,
        );
    }
    Ok(())
}

/// Whether a device's name is that of a partition, whose numbers its disk's contain already.
fn is_partition(name: &str) -> bool {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == name.len() {
        return false;
    }
    // Where a disk's own name ends with a digit, a p stands before the partition's number.
    let numbered = stem
        .strip_suffix('p')
        .is_some_and(|disk| disk.ends_with(|c: char| c.is_ascii_digit()));
    let lettered = ["sd", "hd", "vd", "xvd"].iter().any(|prefix| {
        stem.strip_prefix(prefix)
            .is_some_and(|disk| !disk.is_empty() && disk.bytes().all(|b| b.is_ascii_lowercase()))
    });
    numbered || lettered
}

fn third<'a>(line: &Line<'a>) -> Option<&'a str> {
    let mut fields = line.fields();
    fields.skip(2);
    fields.next()
}

fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{rows, value};

    const FIXTURE: &str = include_str!("../../../tests/fixtures/diskstats");

    fn all() -> NameFilter {
        NameFilter::default()
    }

    #[test]
    fn disks_are_recorded_by_device_and_direction() {
        let filter = HostConfig::default().disks;
        let samples = rows(|out| record_diskstats(FIXTURE, &filter, out)).expect("a captured file");
        let read = "disk.io.direction=read,system.device=vda";
        assert_eq!(value(&samples, "system.disk.operations", read), 40_433.0);
        assert_eq!(value(&samples, "system.disk.io", read), 3_986_906.0 * 512.0);
        assert_eq!(value(&samples, "system.disk.operation_time", read), 52.438);
        assert_eq!(
            value(&samples, "system.disk.io_time", "system.device=vda"),
            14.576
        );
        assert_eq!(
            value(
                &samples,
                "system.disk.flush.operations",
                "system.device=vda"
            ),
            352.0
        );
        assert!(
            !samples.iter().any(|row| row.1.contains("loop")),
            "loop devices are left out"
        );
        assert_eq!(samples.len(), 13);
    }

    #[test]
    fn partitions_are_told_from_disks() {
        for partition in ["sda1", "vda15", "xvdb2", "nvme0n1p1", "mmcblk0p2"] {
            assert!(is_partition(partition), "{partition}");
        }
        for disk in [
            "sda", "vdb", "nvme0n1", "mmcblk0", "dm-0", "md127", "sdaa", "nbd0",
        ] {
            assert!(!is_partition(disk), "{disk}");
        }
    }

    #[test]
    fn older_kernels_have_fewer_fields() {
        let samples =
            rows(|out| record_diskstats("8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n", &all(), out));
        assert_eq!(samples.expect("eleven fields are enough").len(), 11);
    }

    #[test]
    fn malformed_diskstats_are_located() {
        for bad in ["8 0", "8 0 sda 1 2 3", "8 0 sda 1 2 3 4 5 6 7 8 9 10 x"] {
            let error = rows(|out| record_diskstats(bad, &all(), out)).expect_err(bad);
            assert!(
                error.to_string().starts_with("/proc/diskstats:1"),
                "{error}"
            );
        }
    }

    #[test]
    fn more_disks_than_the_bound_are_said() {
        let text: String = (0..300)
            .map(|n| format!("8 {n} sd{n} 1 2 3 4 5 6 7 8 9 10 11\n"))
            .collect();
        let error = rows(|out| record_diskstats(&text, &all(), out)).expect_err("too many");
        assert!(error.to_string().contains("host.disks"), "{error}");
    }
}
