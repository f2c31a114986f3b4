//! The metrics of the machine.

use super::super::Better::{Higher, Lower, Neither};
use super::super::Category::{Errors, Latency, Saturation, Throughput, Utilisation};
use super::super::Component::Host;
use super::super::Metric;
use super::super::MetricKind::{Counter, Gauge};
use super::row;

// One row per metric, so that the list reads as the table that it is.
#[rustfmt::skip]
pub(super) const TABLE: &[Metric] = &[
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
];
