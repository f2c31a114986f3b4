//! The metrics of processes.

use super::super::Better::{Lower, Neither};
use super::super::Category::{Saturation, Throughput, Utilisation};
use super::super::Component::Process;
use super::super::Metric;
use super::super::MetricKind::{Counter, Gauge};
use super::row;

// One row per metric, so that the list reads as the table that it is.
#[rustfmt::skip]
pub(super) const TABLE: &[Metric] = &[
    row(200, Process, "process.cpu.time", "s", Counter, Utilisation, Lower, "The CPU seconds of a process by mode"),
    row(201, Process, "process.memory.usage", "By", Gauge, Utilisation, Lower, "The physical memory of a process"),
    row(202, Process, "process.memory.virtual", "By", Gauge, Utilisation, Neither, "The address space of a process"),
    row(203, Process, "process.disk.io", "By", Counter, Throughput, Neither, "Bytes that a process caused to be read from and written to disks"),
    row(204, Process, "process.thread.count", "{thread}", Gauge, Utilisation, Neither, "The threads of a process"),
    row(205, Process, "process.unix.file_descriptor.count", "{file_descriptor}", Gauge, Utilisation, Lower, "The open file descriptors of a process"),
    row(206, Process, "process.context_switches", "{context_switch}", Counter, Saturation, Neither, "Context switches of a process' first thread by type; an involuntary one was forced on it"),
    row(207, Process, "process.paging.faults", "{fault}", Counter, Saturation, Lower, "The page faults of a process by type"),
    row(208, Process, "process.uptime", "s", Gauge, Utilisation, Neither, "The time since a process was started"),
];
