//! The days before: what a server did in its first seconds is told to the log once more for each of some
//! hours ago, since a suite has no week in which to see what is usual. The figures are the server's own.

use std::path::Path;
use std::sync::Arc;

use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::spool::{SpoolConfig, SpoolProducer, SpoolReader};
use driftline_eventlog::{LogReader as _, LogWriter as _};
use driftline_schemas::{
    BlockHeader, Body, Envelope, Incarnation, Kind, ProducerId, SampleBatch, Series, encode,
};

/// So many hours in turn are told of; rules ask for six.
const HOURS: i64 = 8;
const HOUR_US: i64 = 3_600 * 1_000_000;
/// Bytes of one read, and rows of one block.
const BYTES: usize = 1 << 20;
const ROWS: usize = 5_000;

type Row = (Series, i64, f64);

/// Tells the log in `data` of all that the one in `seen` holds of a server that it was so in each of the
/// hours before.
pub(super) fn tell(seen: &Path, data: &Path, server: &str) {
    let (host, rows) = read(&seen.join("log"), server);
    assert!(!rows.is_empty(), "nothing of {server} is in the log");
    let log = data.join("log");
    std::fs::create_dir_all(&log).expect("a directory");
    let producer = SpoolProducer::open(
        Arc::new(RealDisk),
        &log,
        ProducerId::new("history").expect("a name"),
        Incarnation::from_u128(1),
        SpoolConfig::default(),
    );
    let producer = producer.expect("nobody else tells of the past");
    let mut writer = producer.writer(Kind::Samples).expect("a stream");
    for hours in (1..=HOURS).rev() {
        for rows in rows.chunks(ROWS) {
            let moved = rows
                .iter()
                .cloned()
                .map(|(series, ts_us, value)| (series, ts_us - hours * HOUR_US, value));
            let seq = writer.next_seq();
            let header = BlockHeader {
                stream: writer.stream().clone(),
                seq,
                host: host.clone(),
            };
            let body = Body::Samples(SampleBatch::from_rows(moved));
            let payload = encode(&header, &body).expect("a block");
            writer.append(seq, &payload).expect("it is appended");
        }
    }
    writer.sync().expect("it is durable");
    writer.close().expect("the stream is closed");
}

/// The samples of a server, and the host that they were taken on.
fn read(log: &Path, server: &str) -> (String, Vec<Row>) {
    let mut reader = SpoolReader::read_only(Arc::new(RealDisk), log);
    let mut host = String::new();
    let mut rows = Vec::new();
    for source in reader.sources(Kind::Samples).expect("streams") {
        let mut from = 0;
        loop {
            let records = reader.read(&source, from, BYTES).expect("records");
            let Some(last) = records.last() else { break };
            from = last.offset + 1;
            for record in &records {
                let block = Envelope::parse(&record.payload).expect("a block");
                let Body::Samples(batch) = block.decode().expect("its body") else {
                    continue;
                };
                let of_server = rows_of(batch, server);
                if !of_server.is_empty() {
                    host = block.host;
                    rows.extend(of_server);
                }
            }
        }
    }
    (host, rows)
}

fn rows_of(batch: SampleBatch, server: &str) -> Vec<Row> {
    let series = &batch.series;
    let is_of_server =
        |series: &Series| series.labels.get("service.instance.id").as_deref() == Some(server);
    let wanted: Vec<bool> = series.iter().map(is_of_server).collect();
    let samples = batch.samples.iter();
    let samples = samples.filter(|sample| wanted[sample.series as usize]);
    samples
        .map(|sample| {
            (
                series[sample.series as usize].clone(),
                sample.ts_us,
                sample.value,
            )
        })
        .collect()
}
