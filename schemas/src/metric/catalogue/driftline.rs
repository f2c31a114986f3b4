//! The metrics of Driftline itself.

use super::super::Better::{Lower, Neither};
use super::super::Category::{Errors, Latency, Saturation, Throughput, Utilisation};
use super::super::Component::Driftline;
use super::super::Metric;
use super::super::MetricKind::{Counter, Gauge};
use super::row;

// One row per metric, so that the list reads as the table that it is.
#[rustfmt::skip]
pub(super) const TABLE: &[Metric] = &[
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
    row(911, Driftline, "driftline.collector.service.cpu.time", "s", Counter, Utilisation, Lower, "The CPU seconds of the collector for one service"),
];
