//! The second pass's hold on the spool: rows become blocks with the dictionaries that they need.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use driftline_eventlog::LogWriter as _;
use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::spool::{OnFull, SpoolConfig, SpoolProducer, SpoolWriter};
use driftline_schemas::{
    BlockHeader, Body, Component, EncodeError, Encoder, Event, Incarnation, Kind, Labels,
    MetricDef, MetricKind, MetricRef, ProducerId, Request, RequestBatch, Sample, SampleBatch,
    Series,
};

use super::row::{RequestRow, Row, SampleRow};
use super::{ImportError, ImportRequest, SeriesMeaning, Tool, producer_name};

/// Rows of one block, unless that is too large.
const BLOCK_ROWS: usize = 4_096;

/// The writing ends of an import.
pub(super) struct Log {
    /// Holds the producer's lock.
    _producer: SpoolProducer,
    rows_writer: SpoolWriter,
    events: SpoolWriter,
    encoder: Encoder,
    host: String,
    run: String,
    component: Component,
    /// What the series mean, where the rows do not say it.
    meaning: Option<SeriesMeaning>,
    requests: RequestBatch,
    samples: SampleBatch,
    endpoints: Dictionary,
    errors: Dictionary,
    series: Dictionary,
    /// Names a series while it is looked up.
    key: String,
    rows: u64,
}

/// The places of names in the block under construction.
#[derive(Debug, Default)]
struct Dictionary(HashMap<String, u32>);

impl Dictionary {
    /// The place of a name, and whether it is new there.
    fn place(&mut self, name: &str) -> (u32, bool) {
        if let Some(at) = self.0.get(name) {
            return (*at, false);
        }
        let at = u32::try_from(self.0.len()).expect("a block has fewer rows");
        self.0.insert(name.to_owned(), at);
        (at, true)
    }
}

impl Log {
    /// Opens the streams of a run's producer.
    pub(super) fn open(
        request: &ImportRequest,
        run: &str,
        kind: Kind,
    ) -> Result<Self, ImportError> {
        // An import can be repeated; rows dropped for room would be missing without a word.
        let spool = SpoolConfig {
            on_full: OnFull::Refuse,
            ..request.spool.clone()
        };
        let producer = SpoolProducer::open(
            Arc::new(RealDisk),
            &request.data.join("log"),
            ProducerId::new(&producer_name(run))?,
            Incarnation::from_u128(rand::random()),
            spool,
        )?;
        let (rows_writer, events) = (producer.writer(kind)?, producer.writer(Kind::Events)?);
        Ok(Self {
            _producer: producer,
            rows_writer,
            events,
            encoder: Encoder::default(),
            host: request.host.clone(),
            run: run.to_owned(),
            meaning: match request.tool {
                Tool::Csv => request.meaning.clone(),
                Tool::K6 | Tool::Jmh => None,
            },
            component: match request.tool {
                Tool::K6 => Component::Http,
                Tool::Jmh => Component::Process,
                Tool::Csv => Component::Host,
            },
            requests: RequestBatch::default(),
            samples: SampleBatch::default(),
            endpoints: Dictionary::default(),
            errors: Dictionary::default(),
            series: Dictionary::default(),
            key: String::new(),
            rows: 0,
        })
    }

    /// The id of the run.
    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// Rows appended so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Makes an event durable, after all rows appended before it.
    pub(super) fn tell(&mut self, event: Event) -> Result<(), ImportError> {
        self.rows_writer.sync()?;
        let body = Body::Events(vec![event]);
        append(&mut self.events, &mut self.encoder, &self.host, body)?;
        self.events.sync()?;
        Ok(())
    }

    /// Takes a row; true when that appended a block.
    pub(super) fn take(&mut self, row: &Row<'_>) -> Result<bool, ImportError> {
        match row {
            Row::Request(request) => self.take_request(request),
            Row::Sample(sample) => self.take_sample(sample),
            Row::Ignored(_) => return Ok(false),
        }
        let is_full = self.requests.requests.len().max(self.samples.samples.len()) >= BLOCK_ROWS;
        if is_full {
            self.flush()?;
        }
        Ok(is_full)
    }

    /// Appends what is in no block yet.
    pub(super) fn flush(&mut self) -> Result<(), ImportError> {
        let requests = std::mem::take(&mut self.requests);
        let samples = std::mem::take(&mut self.samples);
        for dictionary in [&mut self.endpoints, &mut self.errors, &mut self.series] {
            dictionary.0.clear();
        }
        for body in [Body::Requests(requests), Body::Samples(samples)] {
            let count = body.rows() as u64;
            if count > 0 {
                append(&mut self.rows_writer, &mut self.encoder, &self.host, body)?;
                self.rows += count;
            }
        }
        Ok(())
    }

    /// Syncs and ends both streams, both even when one fails.
    pub(super) fn close(&mut self) -> Result<(), ImportError> {
        let rows = self.rows_writer.close();
        let events = self.events.close();
        rows?;
        events?;
        Ok(())
    }

    fn take_request(&mut self, row: &RequestRow<'_>) {
        let batch = &mut self.requests;
        if batch.run.is_empty() {
            batch.run.clone_from(&self.run);
        }
        let (endpoint, is_new) = self.endpoints.place(row.endpoint);
        if is_new {
            batch.endpoints.push(row.endpoint.to_owned());
        }
        let mut error = 0;
        if !row.error.is_empty() {
            let (at, is_new) = self.errors.place(row.error);
            if is_new {
                batch.errors.push(row.error.to_owned());
            }
            error = at + 1;
        }
        // Times count from the whole microsecond, as in runs of Driftline's own: nothing is lost.
        let beyond_ns = row.begun_ns.rem_euclid(1_000);
        batch.requests.push(Request {
            endpoint,
            intended_us: row.begun_ns.div_euclid(1_000),
            sent_ns: row.sent_ns + beyond_ns,
            first_byte_ns: row.first_byte_ns.map_or(-1, |ns| ns + beyond_ns),
            done_ns: row.done_ns + beyond_ns,
            status: row.status,
            bytes: row.bytes,
            error,
        });
    }

    fn take_sample(&mut self, row: &SampleRow<'_>) {
        self.key.clear();
        self.key.push_str(row.metric);
        // Two series that differ only in where this stands have other metrics too.
        self.key.push('\0');
        self.key.push_str(row.labels);
        let (series, is_new) = self.series.place(&self.key);
        if is_new {
            let (unit, category, better) = match &self.meaning {
                Some(meaning) => (meaning.unit.as_str(), meaning.category, meaning.better),
                None => (row.unit, row.category, row.better),
            };
            self.samples.series.push(Series {
                metric: MetricRef::Custom(Arc::new(MetricDef {
                    name: row.metric.to_owned(),
                    component: self.component,
                    unit: unit.to_owned(),
                    kind: MetricKind::Gauge,
                    category,
                    better,
                })),
                labels: Labels::from_canonical(row.labels),
            });
        }
        self.samples.samples.push(Sample {
            series,
            ts_us: row.ts_us,
            value: row.value,
        });
    }
}

/// Appends a body in as many blocks as it takes.
fn append(
    writer: &mut SpoolWriter,
    encoder: &mut Encoder,
    host: &str,
    body: Body,
) -> Result<(), ImportError> {
    let mut waiting = VecDeque::from([body]);
    while let Some(body) = waiting.pop_front() {
        let seq = writer.next_seq();
        let header = BlockHeader {
            stream: writer.stream().clone(),
            seq,
            host: host.to_owned(),
        };
        match encoder.encode(&header, &body) {
            Ok(payload) => writer.append(seq, payload)?,
            Err(EncodeError::TooLarge { .. }) if body.rows() > 1 => {
                let (first, second) = halves(body);
                waiting.push_front(second);
                waiting.push_front(first);
            }
            Err(error) => return Err(ImportError::Encode(error)),
        }
    }
    Ok(())
}

fn halves(body: Body) -> (Body, Body) {
    let half = body.rows() / 2;
    match body {
        Body::Requests(mut batch) => {
            let requests = batch.requests.split_off(half);
            let second = compact(RequestBatch {
                requests,
                run: batch.run.clone(),
                worker: batch.worker,
                endpoints: batch.endpoints.clone(),
                errors: batch.errors.clone(),
            });
            (Body::Requests(compact(batch)), Body::Requests(second))
        }
        Body::Samples(mut batch) => {
            let samples = batch.samples.split_off(half);
            let series = batch.series.clone();
            let second = SampleBatch { series, samples };
            (Body::Samples(batch), Body::Samples(second))
        }
        Body::Events(mut events) => {
            let second = events.split_off(half);
            (Body::Events(events), Body::Events(second))
        }
    }
}

/// Leaves out of a batch's dictionaries what no row uses: else halves would not get smaller.
fn compact(mut batch: RequestBatch) -> RequestBatch {
    let (endpoints, errors) = (
        std::mem::take(&mut batch.endpoints),
        std::mem::take(&mut batch.errors),
    );
    let mut new_endpoints = vec![None; endpoints.len()];
    let mut new_errors = vec![None; errors.len()];
    for request in &mut batch.requests {
        request.endpoint = moved(
            request.endpoint,
            &endpoints,
            &mut new_endpoints,
            &mut batch.endpoints,
        );
        if let Some(at) = request.error.checked_sub(1) {
            request.error = 1 + moved(at, &errors, &mut new_errors, &mut batch.errors);
        }
    }
    batch
}

fn moved(at: u32, old: &[String], places: &mut [Option<u32>], new: &mut Vec<String>) -> u32 {
    *places[at as usize].get_or_insert_with(|| {
        new.push(old[at as usize].clone());
        u32::try_from(new.len() - 1).expect("no more than before")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_keep_every_row_and_its_names() {
        let request = |endpoint, error| Request {
            endpoint,
            intended_us: 0,
            sent_ns: 0,
            first_byte_ns: -1,
            done_ns: 0,
            status: 0,
            bytes: 0,
            error,
        };
        let names = |batch: &RequestBatch| -> Vec<(String, Option<String>)> {
            let error = |at: u32| Some(batch.errors[at.checked_sub(1)? as usize].clone());
            let name = |one: &Request| batch.endpoints[one.endpoint as usize].clone();
            let rows = batch.requests.iter();
            rows.map(|one| (name(one), error(one.error))).collect()
        };
        let whole = RequestBatch {
            endpoints: ["a", "b", "c"].map(str::to_owned).to_vec(),
            errors: ["x", "y"].map(str::to_owned).to_vec(),
            requests: vec![request(0, 0), request(2, 1), request(1, 2), request(2, 0)],
            ..RequestBatch::default()
        };
        let (Body::Requests(first), Body::Requests(second)) = halves(Body::Requests(whole.clone()))
        else {
            unreachable!("halves are of the same kind")
        };
        assert_eq!([names(&first), names(&second)].concat(), names(&whole));
        assert_eq!(first.endpoints, ["a", "c"]);
        assert_eq!(second.errors, ["y"]);
    }
}
