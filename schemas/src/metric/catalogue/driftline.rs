//! The metrics of Driftline itself.

use super::super::Better::{Higher, Lower, Neither};
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
    row(920, Driftline, "driftline.collector.scrape.up", "1", Gauge, Errors, Higher, "1 where the last scrape of an exporter was whole, 0 where it failed or was malformed"),
    row(921, Driftline, "driftline.collector.scrape.duration", "s", Gauge, Latency, Lower, "How long the last scrape took, from the request to the last sample"),
    row(922, Driftline, "driftline.collector.scrape.samples", "{sample}", Gauge, Throughput, Neither, "Samples that the last scrape yielded"),
    row(923, Driftline, "driftline.collector.ingest.samples", "{sample}", Counter, Throughput, Neither, "Samples taken from scrapes and receivers"),
    row(924, Driftline, "driftline.collector.ingest.rejected", "{sample}", Counter, Errors, Lower, "Samples of scrapes and receivers that were not taken, by reason"),
    row(925, Driftline, "driftline.collector.ingest.bytes", "By", Counter, Throughput, Neither, "Bytes of scrapes and receivers, decompressed"),
    row(926, Driftline, "driftline.collector.ingest.requests", "{request}", Counter, Throughput, Neither, "Scrapes and requests, by outcome"),
    row(927, Driftline, "driftline.collector.ingest.series", "{series}", Gauge, Saturation, Lower, "Series that are known of a source, which are limited"),
    row(928, Driftline, "driftline.collector.ingest.queued", "{sample}", Gauge, Saturation, Lower, "Samples that waited in a receiver's buffer for the pass"),
];
