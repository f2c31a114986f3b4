//! The metrics of control groups.

use super::super::Better::{Lower, Neither};
use super::super::Category::{Errors, Saturation, Throughput, Utilisation};
use super::super::Component::Cgroup;
use super::super::Metric;
use super::super::MetricKind::{Counter, Gauge};
use super::row;

// One row per metric, so that the list reads as the table that it is.
#[rustfmt::skip]
pub(super) const TABLE: &[Metric] = &[
    row(300, Cgroup, "cgroup.cpu.time", "s", Counter, Utilisation, Lower, "The CPU seconds of a control group by mode"),
    row(301, Cgroup, "cgroup.cpu.periods", "{period}", Counter, Utilisation, Neither, "Enforcement periods of a CPU limit"),
    row(302, Cgroup, "cgroup.cpu.throttled_periods", "{period}", Counter, Saturation, Lower, "Enforcement periods in which a control group used up its CPU limit"),
    row(303, Cgroup, "cgroup.cpu.throttled_time", "s", Counter, Saturation, Lower, "The time for which a control group was held back by its CPU limit"),
    row(304, Cgroup, "cgroup.memory.usage", "By", Gauge, Utilisation, Lower, "The memory of a control group, page cache included"),
    row(305, Cgroup, "cgroup.memory.limit", "By", Gauge, Utilisation, Neither, "The memory that a control group may have, where it is limited"),
    row(306, Cgroup, "cgroup.memory.working_set", "By", Gauge, Utilisation, Lower, "The memory of a control group less its inactive page cache"),
    row(307, Cgroup, "cgroup.memory.rss", "By", Gauge, Utilisation, Lower, "The anonymous memory of a control group"),
    row(308, Cgroup, "cgroup.memory.file", "By", Gauge, Utilisation, Neither, "The page cache of a control group"),
    row(309, Cgroup, "cgroup.memory.kernel", "By", Gauge, Utilisation, Neither, "The kernel's memory on behalf of a control group"),
    row(310, Cgroup, "cgroup.memory.events", "{event}", Counter, Errors, Lower, "Times that a control group met a memory limit, by type (high, max, oom, oom_kill)"),
    row(311, Cgroup, "cgroup.paging.faults", "{fault}", Counter, Saturation, Lower, "The page faults of a control group by type"),
    row(312, Cgroup, "cgroup.disk.io", "By", Counter, Throughput, Neither, "Bytes read and written by a control group per disk"),
    row(313, Cgroup, "cgroup.disk.operations", "{operation}", Counter, Throughput, Neither, "Operations of a control group per disk"),
    row(314, Cgroup, "cgroup.pressure.stall_time", "s", Counter, Saturation, Lower, "The time in which some or all (full) tasks of a control group waited for a resource"),
    row(315, Cgroup, "cgroup.task.count", "{task}", Gauge, Utilisation, Neither, "The processes and threads of a control group"),
    row(316, Cgroup, "cgroup.task.limit", "{task}", Gauge, Utilisation, Neither, "The processes and threads that a control group may have, where they are limited"),
];
