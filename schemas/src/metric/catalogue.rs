//! The known metrics, their frozen ids, and which version of the conventions named them.
//!
//! Names, units and attributes follow the OpenTelemetry semantic conventions. What these lack
//! (pressure stall information, TCP counters, kernel memory) is named in the same style. Three
//! deviations: `system.network.packet.count` carries `network.interface.name` like its siblings,
//! where the conventions say `system.device`; `cpu.mode` also takes `softirq`; and control groups
//! have names of their own (`cgroup.*`), because most of them are no containers.
//!
//! Ranges of ids: host 1–199, process 200–299, cgroup 300–399, Driftline itself 900–999. An id is
//! never used again for something else. How a metric is measured is the collector's business.

use super::Better::{Higher, Lower, Neither};
use super::Category::{Errors, Latency, Saturation, Throughput, Utilisation};
use super::Component::{Cgroup, Driftline, Host, Process};
use super::MetricKind::{Counter, Gauge};
use super::{Better, Category, Component, Metric, MetricKind};

/// The version of the OpenTelemetry semantic conventions that the names follow.
pub const SEMCONV_VERSION: &str = "1.44.0";

/// All known metrics, sorted by id.
pub static CATALOGUE: &[Metric] = TABLE;

/// The id of the metric with this name. Meant for constants: `const ID: u32 = id("system.uptime");`
/// is checked when compiled.
///
/// # Panics
/// When no known metric has this name.
pub const fn id(name: &str) -> u32 {
    let mut at = 0;
    while at < TABLE.len() {
        if same(TABLE[at].name.as_bytes(), name.as_bytes()) {
            return TABLE[at].id;
        }
        at += 1;
    }
    panic!("no metric of the catalogue has this name")
}

const fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[expect(
    clippy::too_many_arguments,
    reason = "one row of the table below, in the order of its columns"
)]
const fn row(
    id: u32,
    component: Component,
    name: &'static str,
    unit: &'static str,
    kind: MetricKind,
    category: Category,
    better: Better,
    brief: &'static str,
) -> Metric {
    Metric {
        id,
        name,
        component,
        unit,
        kind,
        category,
        better,
        brief,
    }
}

// One row per metric, so that the list reads as the table that it is.
#[rustfmt::skip]
const TABLE: &[Metric] = &[
    row(1, Host, "system.uptime", "s", Gauge, Utilisation, Neither, "The time since the host was started"),
    row(2, Host, "system.cpu.logical.count", "{cpu}", Gauge, Utilisation, Neither, "The logical processors that are online"),
    row(3, Host, "system.cpu.time", "s", Counter, Utilisation, Neither, "The seconds that each logical CPU spent in each mode"),
    row(4, Host, "system.cpu.load_average.1m", "{thread}", Gauge, Saturation, Lower, "Threads running, waiting for a CPU or in uninterruptible sleep, over a minute"),
    row(5, Host, "system.cpu.load_average.5m", "{thread}", Gauge, Saturation, Lower, "Threads running, waiting for a CPU or in uninterruptible sleep, over 5 minutes"),
    row(6, Host, "system.cpu.load_average.15m", "{thread}", Gauge, Saturation, Lower, "Threads running, waiting for a CPU or in uninterruptible sleep, over 15 minutes"),
    row(7, Host, "system.cpu.context_switches", "{context_switch}", Counter, Throughput, Neither, "Switches from one thread to another"),
    row(8, Host, "system.cpu.interrupts", "{interrupt}", Counter, Throughput, Neither, "Hardware interrupts served"),
    row(9, Host, "system.cpu.softirqs", "{interrupt}", Counter, Throughput, Neither, "Soft interrupts served"),
    row(10, Host, "system.process.count", "{process}", Gauge, Saturation, Lower, "Threads that run (process.state=running) or wait for I/O (blocked)"),
    row(11, Host, "system.process.created", "{process}", Counter, Throughput, Neither, "Processes and threads created"),
    row(12, Host, "system.thread.count", "{thread}", Gauge, Utilisation, Neither, "Threads that exist"),
    row(13, Host, "system.cpu.utilization", "1", Gauge, Utilisation, Lower, "The part of a logical CPU in use, where the system offers no CPU times"),

    row(20, Host, "system.memory.usage", "By", Gauge, Utilisation, Neither, "Memory by state; used is the total less what is available"),
    row(21, Host, "system.memory.limit", "By", Gauge, Utilisation, Neither, "The memory that the host has"),
    row(22, Host, "system.memory.linux.available", "By", Gauge, Utilisation, Higher, "The kernel's estimate of the memory that new work can have without swapping"),
    row(23, Host, "system.memory.linux.shared", "By", Gauge, Utilisation, Neither, "Shared memory, tmpfs included"),
    row(24, Host, "system.memory.linux.slab.usage", "By", Gauge, Utilisation, Neither, "The kernel's caches of its own objects, by state"),
    row(25, Host, "system.memory.linux.dirty", "By", Gauge, Saturation, Lower, "Pages that wait to be written back"),
    row(26, Host, "system.memory.linux.writeback", "By", Gauge, Saturation, Lower, "Pages that are being written back"),
    row(27, Host, "system.memory.linux.committed", "By", Gauge, Utilisation, Neither, "Memory that has been promised to processes"),
    row(28, Host, "system.memory.linux.commit_limit", "By", Gauge, Utilisation, Neither, "The memory that may be promised when overcommit is forbidden"),
    row(29, Host, "system.memory.linux.anonymous", "By", Gauge, Utilisation, Neither, "Memory of processes that no file backs"),
    row(30, Host, "system.memory.linux.mapped", "By", Gauge, Utilisation, Neither, "File pages that are mapped into processes"),
    row(31, Host, "system.memory.linux.page_tables", "By", Gauge, Utilisation, Neither, "Page tables"),
    row(32, Host, "system.memory.linux.kernel_stack", "By", Gauge, Utilisation, Neither, "Kernel stacks of all threads"),
    row(33, Host, "system.memory.linux.hugepages.usage", "{page}", Gauge, Utilisation, Neither, "Huge pages by state, where any are reserved"),

    row(40, Host, "system.paging.usage", "By", Gauge, Utilisation, Neither, "Swap space by state"),
    row(41, Host, "system.paging.faults", "{fault}", Counter, Saturation, Lower, "Page faults by type; a major one waited for a disk"),
    row(42, Host, "system.paging.operations", "{operation}", Counter, Saturation, Lower, "Pages swapped in and out"),
    row(43, Host, "system.paging.io", "By", Counter, Throughput, Neither, "Bytes paged in from and out to block devices"),
    row(44, Host, "system.memory.oom_kills", "{process}", Counter, Errors, Lower, "Processes killed because memory ran out"),
    row(45, Host, "system.memory.reclaim.scanned", "{page}", Counter, Saturation, Lower, "Pages looked at to free memory, by the kernel's daemon or by the waiting process (direct)"),
    row(46, Host, "system.memory.reclaim.freed", "{page}", Counter, Saturation, Lower, "Pages freed by reclaim, by the kernel's daemon or by the waiting process (direct)"),
    row(47, Host, "system.memory.allocation_stalls", "{stall}", Counter, Saturation, Lower, "Allocations that had to wait for memory to be freed"),
    row(48, Host, "system.memory.workingset.refaults", "{page}", Counter, Saturation, Lower, "Pages read again soon after they had been evicted, by page type"),
    row(49, Host, "system.memory.compaction_stalls", "{stall}", Counter, Saturation, Lower, "Allocations that had to wait for memory to be compacted"),

    row(60, Host, "system.pressure.stall_time", "s", Counter, Saturation, Lower, "The time in which some or all (full) tasks waited for a resource"),
    row(61, Host, "system.pressure.stall_ratio", "1", Gauge, Saturation, Lower, "The part of the last 10 seconds in which some or all (full) tasks waited for a resource"),

    row(70, Host, "system.disk.io", "By", Counter, Throughput, Neither, "Bytes read and written per disk"),
    row(71, Host, "system.disk.operations", "{operation}", Counter, Throughput, Neither, "Operations completed per disk"),
    row(72, Host, "system.disk.operation_time", "s", Counter, Latency, Lower, "The sum of the time that each operation took"),
    row(73, Host, "system.disk.merged", "{operation}", Counter, Throughput, Neither, "Operations merged with a neighbour before they reached the disk"),
    row(74, Host, "system.disk.io_time", "s", Counter, Utilisation, Lower, "The time in which a disk had work"),
    row(75, Host, "system.disk.weighted_io_time", "s", Counter, Saturation, Lower, "The time in which a disk had work, times the operations in flight"),
    row(76, Host, "system.disk.pending_operations", "{operation}", Gauge, Saturation, Lower, "Operations in flight"),
    row(77, Host, "system.disk.flush.operations", "{operation}", Counter, Throughput, Neither, "Flushes of a disk's own cache"),
    row(78, Host, "system.disk.flush.operation_time", "s", Counter, Latency, Lower, "The sum of the time that each flush took"),

    row(85, Host, "system.filesystem.usage", "By", Gauge, Utilisation, Neither, "Space per file system and state; reserved is what only root may use"),
    row(86, Host, "system.filesystem.limit", "By", Gauge, Utilisation, Neither, "The size of a file system"),
    row(87, Host, "system.filesystem.inodes.usage", "{inode}", Gauge, Utilisation, Neither, "Inodes per file system and state"),

    row(95, Host, "system.network.io", "By", Counter, Throughput, Neither, "Bytes received and transmitted per interface"),
    row(96, Host, "system.network.packet.count", "{packet}", Counter, Throughput, Neither, "Packets received and transmitted per interface"),
    row(97, Host, "system.network.packet.dropped", "{packet}", Counter, Errors, Lower, "Packets dropped though nothing was wrong with them"),
    row(98, Host, "system.network.errors", "{error}", Counter, Errors, Lower, "Packets lost to errors"),

    row(105, Host, "system.network.connection.count", "{connection}", Gauge, Utilisation, Neither, "TCP connections by state"),
    row(106, Host, "system.network.socket.count", "{socket}", Gauge, Utilisation, Neither, "Sockets in use by transport and network type"),
    row(107, Host, "system.network.tcp.orphans", "{socket}", Gauge, Saturation, Lower, "TCP sockets that no process holds any more"),
    row(108, Host, "system.network.tcp.time_wait", "{socket}", Gauge, Utilisation, Neither, "TCP sockets that wait out their end"),
    row(109, Host, "system.network.tcp.allocated", "{socket}", Gauge, Utilisation, Neither, "TCP sockets that are allocated"),
    row(110, Host, "system.network.tcp.memory", "By", Gauge, Utilisation, Neither, "Memory in TCP's buffers"),
    row(111, Host, "system.network.tcp.established", "{connection}", Gauge, Utilisation, Neither, "TCP connections that are established or half closed by the peer"),

    row(115, Host, "system.network.tcp.retransmits", "{segment}", Counter, Errors, Lower, "TCP segments sent again"),
    row(116, Host, "system.network.tcp.segments", "{segment}", Counter, Throughput, Neither, "TCP segments received and transmitted"),
    row(117, Host, "system.network.tcp.opened", "{connection}", Counter, Throughput, Neither, "TCP connections opened, by role: client (active) or server (passive)"),
    row(118, Host, "system.network.tcp.failed_attempts", "{connection}", Counter, Errors, Lower, "TCP connections that failed while they were being opened"),
    row(119, Host, "system.network.tcp.resets", "{connection}", Counter, Errors, Lower, "Established TCP connections that were reset"),
    row(120, Host, "system.network.tcp.resets_sent", "{segment}", Counter, Errors, Lower, "TCP segments sent with the reset flag"),
    row(121, Host, "system.network.tcp.listen.overflows", "{connection}", Counter, Saturation, Lower, "Connections that found a full accept queue"),
    row(122, Host, "system.network.tcp.listen.drops", "{connection}", Counter, Saturation, Lower, "Connections dropped by a listening socket, overflows included"),
    row(123, Host, "system.network.tcp.timeouts", "{timeout}", Counter, Errors, Lower, "Retransmission timeouts of TCP"),
    row(124, Host, "system.network.tcp.syn_retransmits", "{segment}", Counter, Errors, Lower, "Connection requests sent again"),
    row(125, Host, "system.network.tcp.receive_errors", "{segment}", Counter, Errors, Lower, "TCP segments received damaged"),
    row(126, Host, "system.network.tcp.backlog_drops", "{segment}", Counter, Saturation, Lower, "TCP segments dropped because a queue of their socket was full, by queue (backlog, receive)"),
    row(127, Host, "system.network.tcp.memory_aborts", "{connection}", Counter, Errors, Lower, "TCP connections given up because memory for TCP ran out"),
    row(128, Host, "system.network.tcp.syncookies_sent", "{packet}", Counter, Saturation, Lower, "Connection requests answered by a cookie, as the queue was full"),
    row(129, Host, "system.network.tcp.zero_windows", "{event}", Counter, Saturation, Lower, "Times that a receiver here told its peer to stop sending"),

    row(135, Host, "system.network.udp.datagrams", "{datagram}", Counter, Throughput, Neither, "UDP datagrams received and transmitted"),
    row(136, Host, "system.network.udp.errors", "{datagram}", Counter, Errors, Lower, "UDP datagrams lost, by reason"),

    row(145, Host, "system.file_handle.count", "{file_handle}", Gauge, Utilisation, Lower, "File handles in use on the whole host"),
    row(146, Host, "system.file_handle.limit", "{file_handle}", Gauge, Utilisation, Neither, "File handles that the host allows"),

    row(150, Host, "system.network.softnet.dropped", "{packet}", Counter, Saturation, Lower, "Packets dropped because a CPU's input queue was full"),
    row(151, Host, "system.network.softnet.squeezed", "{event}", Counter, Saturation, Lower, "Times that a CPU stopped receiving packets with some left, its budget used up"),

    row(200, Process, "process.cpu.time", "s", Counter, Utilisation, Lower, "The CPU seconds of a process by mode"),
    row(201, Process, "process.memory.usage", "By", Gauge, Utilisation, Lower, "The physical memory of a process"),
    row(202, Process, "process.memory.virtual", "By", Gauge, Utilisation, Neither, "The address space of a process"),
    row(203, Process, "process.disk.io", "By", Counter, Throughput, Neither, "Bytes that a process caused to be read from and written to disks"),
    row(204, Process, "process.thread.count", "{thread}", Gauge, Utilisation, Neither, "The threads of a process"),
    row(205, Process, "process.unix.file_descriptor.count", "{file_descriptor}", Gauge, Utilisation, Lower, "The open file descriptors of a process"),
    row(206, Process, "process.context_switches", "{context_switch}", Counter, Saturation, Neither, "Context switches of a process' first thread by type; an involuntary one was forced on it"),
    row(207, Process, "process.paging.faults", "{fault}", Counter, Saturation, Lower, "The page faults of a process by type"),
    row(208, Process, "process.uptime", "s", Gauge, Utilisation, Neither, "The time since a process was started"),

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

    row(900, Driftline, "driftline.collector.tick.lateness", "s", Gauge, Latency, Lower, "How long after its second a tick began; the samples carry the second itself"),
    row(901, Driftline, "driftline.collector.collect.duration", "s", Gauge, Latency, Lower, "How long a component took to collect"),
    row(902, Driftline, "driftline.collector.cpu.time", "s", Counter, Utilisation, Lower, "The CPU seconds of the collector's own threads"),
    row(903, Driftline, "driftline.process.cpu.time", "s", Counter, Utilisation, Lower, "The CPU seconds of the process in which the collector runs"),
    row(904, Driftline, "driftline.process.memory.usage", "By", Gauge, Utilisation, Lower, "The physical memory of the process in which the collector runs"),
    row(905, Driftline, "driftline.collector.blocks.dropped", "{block}", Counter, Errors, Lower, "Blocks lost because neither the spool nor memory had room"),
    row(906, Driftline, "driftline.collector.blocks.queued", "{block}", Gauge, Saturation, Lower, "Blocks in memory that wait for the spool"),
    row(907, Driftline, "driftline.collector.ticks.missed", "{tick}", Counter, Errors, Lower, "Ticks that could not be held"),
    row(908, Driftline, "driftline.collector.samples", "{sample}", Counter, Throughput, Neither, "Samples recorded"),
    row(909, Driftline, "driftline.collector.bytes", "By", Counter, Throughput, Lower, "Bytes of encoded blocks appended to the spool"),
    row(910, Driftline, "driftline.collector.sync.duration", "s", Gauge, Latency, Lower, "How long the last sync of the spool took"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_sorted_and_names_are_unique() {
        assert!(
            CATALOGUE.windows(2).all(|pair| pair[0].id < pair[1].id),
            "ids grow strictly"
        );
        let names: HashSet<&str> = CATALOGUE.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
    }

    #[test]
    fn ids_lie_in_their_component_s_range() {
        for metric in CATALOGUE {
            let range = match metric.component {
                Host => 1..=199,
                Process => 200..=299,
                Cgroup => 300..=399,
                Driftline => 900..=999,
                other => panic!("no range is set aside for {other}"),
            };
            assert!(
                range.contains(&metric.id),
                "{} has id {}",
                metric.name,
                metric.id
            );
        }
    }

    #[test]
    fn every_metric_is_described_in_the_conventions_style() {
        for metric in CATALOGUE {
            let named =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_');
            assert!(metric.name.chars().all(named), "{}", metric.name);
            let unit = metric.unit;
            let annotated = unit.starts_with('{') && unit.ends_with('}');
            assert!(
                matches!(unit, "s" | "By" | "1") || annotated,
                "{}: {unit}",
                metric.name
            );
            assert!(
                !metric.brief.is_empty() && !metric.brief.ends_with('.'),
                "{}",
                metric.name
            );
        }
    }

    /// What is written in logs must keep its meaning: spot checks that fail when ids are shifted.
    #[test]
    fn ids_are_frozen() {
        let frozen = [
            (1, "system.uptime"),
            (3, "system.cpu.time"),
            (22, "system.memory.linux.available"),
            (60, "system.pressure.stall_time"),
            (72, "system.disk.operation_time"),
            (95, "system.network.io"),
            (115, "system.network.tcp.retransmits"),
            (146, "system.file_handle.limit"),
            (151, "system.network.softnet.squeezed"),
            (200, "process.cpu.time"),
            (208, "process.uptime"),
            (300, "cgroup.cpu.time"),
            (316, "cgroup.task.limit"),
            (900, "driftline.collector.tick.lateness"),
            (910, "driftline.collector.sync.duration"),
        ];
        for (number, name) in frozen {
            assert_eq!(id(name), number, "{name}");
        }
    }
}
