//! What the unit tests share: samples as rows that a test can read, and all that is in a log.

use driftline_eventlog::spool::SpoolReader;
use driftline_eventlog::{LogReader as _, SourceId};
use driftline_schemas::{Body, Envelope, Event, Kind, SampleBatch, StreamId};

use crate::component::ComponentError;
use crate::recorder::Recorder;

/// Metric, canonical labels and value.
pub(crate) type Row = (String, String, f64);

/// What was recorded.
pub(crate) fn rows(
    record: impl FnOnce(&mut Recorder) -> Result<(), ComponentError>,
) -> Result<Vec<Row>, ComponentError> {
    let mut recorder = Recorder::new();
    recorder.begin(1);
    record(&mut recorder)?;
    Ok(rows_of(&recorder.finish()))
}

/// The rows of a batch.
pub(crate) fn rows_of(batch: &SampleBatch) -> Vec<Row> {
    let row = |sample: &driftline_schemas::Sample| {
        let series = &batch.series[sample.series as usize];
        let name = series
            .metric
            .view()
            .expect("a metric of the catalogue")
            .name;
        (
            name.to_owned(),
            series.labels.as_str().to_owned(),
            sample.value,
        )
    };
    batch.samples.iter().map(row).collect()
}

/// The one value of a series.
pub(crate) fn value(rows: &[Row], metric: &str, labels: &str) -> f64 {
    let mut found = rows.iter().filter(|row| row.0 == metric && row.1 == labels);
    match (found.next(), found.next()) {
        (Some(row), None) => row.2,
        (None, _) => panic!("no {metric}{{{labels}}} in {rows:#?}"),
        (Some(_), Some(_)) => panic!("{metric}{{{labels}}} was recorded twice"),
    }
}

/// Every block of a kind in the log, by stream and in order.
pub(crate) fn blocks(reader: &mut SpoolReader, kind: Kind) -> Vec<(StreamId, u64, Body)> {
    let mut found = Vec::new();
    for source in reader.sources(kind).expect("the log can be listed") {
        let SourceId::Spool(stream) = &source else {
            panic!("{source} is no spool")
        };
        let mut from = 0;
        loop {
            let records = reader
                .read(&source, from, 1 << 20)
                .expect("the log can be read");
            let Some(last) = records.last() else { break };
            from = last.offset + 1;
            for record in records {
                let envelope = Envelope::parse(&record.payload).expect("a block");
                assert_eq!((&envelope.stream, envelope.seq), (stream, record.offset));
                found.push((
                    stream.clone(),
                    record.offset,
                    envelope.decode().expect("a body"),
                ));
            }
        }
    }
    found
}

/// All events in the log.
pub(crate) fn events(reader: &mut SpoolReader) -> Vec<Event> {
    let events = blocks(reader, Kind::Events)
        .into_iter()
        .flat_map(|(_, _, body)| match body {
            Body::Events(events) => events,
            other => panic!("{} among the events", other.kind()),
        });
    events.collect()
}

/// All batches of samples in the log.
pub(crate) fn batches(reader: &mut SpoolReader) -> Vec<SampleBatch> {
    let batches = blocks(reader, Kind::Samples)
        .into_iter()
        .map(|(_, _, body)| match body {
            Body::Samples(batch) => batch,
            other => panic!("{} among the samples", other.kind()),
        });
    batches.collect()
}
