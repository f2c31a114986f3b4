//! Growing columns, and their turning into Arrow arrays.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, SchemaRef};
use arrow::error::ArrowError;
use driftline_schemas::arrow::{events_schema, requests_schema, samples_schema};
use driftline_schemas::{Event, Request};

use super::{Origin, SeriesKeys, Shared};

/// Distinct texts and their keys.
#[derive(Default)]
pub(super) struct Dictionary {
    keys: HashMap<Arc<str>, i32>,
    values: Vec<Arc<str>>,
}

impl Dictionary {
    /// The key of a text, new or known.
    pub(super) fn key(&mut self, text: &str) -> i32 {
        if let Some(key) = self.keys.get(text) {
            return *key;
        }
        // A batch is bounded to far fewer rows than an i32 counts.
        let key = self.values.len() as i32;
        let text: Arc<str> = Arc::from(text);
        self.values.push(Arc::clone(&text));
        self.keys.insert(text, key);
        key
    }

    fn column(&self, keys: Vec<i32>) -> Result<ArrayRef, ArrowError> {
        let values = Arc::new(StringArray::from_iter_values(&self.values));
        let column = DictionaryArray::<Int32Type>::try_new(Int32Array::from(keys), values)?;
        Ok(Arc::new(column))
    }
}

fn timestamps(values: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
}

fn integers(values: Vec<i64>) -> ArrayRef {
    Arc::new(Int64Array::from(values))
}

fn batch(schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_new(schema, columns)
}

#[derive(Default)]
pub(super) struct SampleColumns {
    ts: Vec<i64>,
    component: Vec<i32>,
    host: Vec<i32>,
    metric: Vec<i32>,
    labels: Vec<i32>,
    value: Vec<f64>,
    stream: Vec<i32>,
    seq: Vec<i64>,
}

impl SampleColumns {
    /// Adds samples of some series, one after another; `runs` says how many each has.
    pub(super) fn extend(
        &mut self,
        origin: Origin,
        runs: impl IntoIterator<Item = (usize, SeriesKeys)>,
        ts_us: &[i64],
        values: &[f64],
    ) {
        let len = self.ts.len() + ts_us.len();
        self.ts.extend_from_slice(ts_us);
        self.value.extend_from_slice(values);
        self.host.resize(len, origin.host);
        self.stream.resize(len, origin.stream);
        self.seq.resize(len, origin.seq);
        for column in [&mut self.component, &mut self.metric, &mut self.labels] {
            column.reserve(ts_us.len());
        }
        for (samples, keys) in runs {
            let len = self.metric.len() + samples;
            self.component.resize(len, keys.component);
            self.metric.resize(len, keys.metric);
            self.labels.resize(len, keys.labels);
        }
    }

    pub(super) fn finish(self, shared: &Shared) -> Result<RecordBatch, ArrowError> {
        let columns = vec![
            timestamps(self.ts),
            shared.component.column(self.component)?,
            shared.host.column(self.host)?,
            shared.metric.column(self.metric)?,
            shared.labels.column(self.labels)?,
            Arc::new(Float64Array::from(self.value)) as ArrayRef,
            shared.stream.column(self.stream)?,
            integers(self.seq),
        ];
        batch(samples_schema(), columns)
    }
}

#[derive(Default)]
pub(super) struct RequestColumns {
    ts: Vec<i64>,
    run: Vec<i32>,
    worker: Vec<i32>,
    host: Vec<i32>,
    endpoint: Vec<i32>,
    sent_ns: Vec<i64>,
    first_byte_ns: Vec<i64>,
    done_ns: Vec<i64>,
    status: Vec<i32>,
    bytes: Vec<i64>,
    error: Vec<i32>,
    stream: Vec<i32>,
    seq: Vec<i64>,
}

impl RequestColumns {
    pub(super) fn push(
        &mut self,
        origin: Origin,
        run: i32,
        worker: u32,
        endpoint: i32,
        error: i32,
        request: &Request,
    ) {
        self.ts.push(request.intended_us);
        self.run.push(run);
        // Delta has no unsigned types; both numbers are small by their nature.
        self.worker.push(i32::try_from(worker).unwrap_or(i32::MAX));
        self.host.push(origin.host);
        self.endpoint.push(endpoint);
        self.sent_ns.push(request.sent_ns);
        self.first_byte_ns.push(request.first_byte_ns);
        self.done_ns.push(request.done_ns);
        self.status
            .push(i32::try_from(request.status).unwrap_or(i32::MAX));
        self.bytes
            .push(i64::try_from(request.bytes).unwrap_or(i64::MAX));
        self.error.push(error);
        self.stream.push(origin.stream);
        self.seq.push(origin.seq);
    }

    pub(super) fn finish(self, shared: &Shared) -> Result<RecordBatch, ArrowError> {
        let columns = vec![
            timestamps(self.ts),
            shared.run.column(self.run)?,
            Arc::new(Int32Array::from(self.worker)) as ArrayRef,
            shared.host.column(self.host)?,
            shared.endpoint.column(self.endpoint)?,
            integers(self.sent_ns),
            integers(self.first_byte_ns),
            integers(self.done_ns),
            Arc::new(Int32Array::from(self.status)) as ArrayRef,
            integers(self.bytes),
            shared.error.column(self.error)?,
            shared.stream.column(self.stream)?,
            integers(self.seq),
        ];
        batch(requests_schema(), columns)
    }
}

#[derive(Default)]
pub(super) struct EventColumns {
    ts: Vec<i64>,
    name: Vec<i32>,
    component: Vec<i32>,
    host: Vec<i32>,
    subject: Vec<String>,
    message: Vec<String>,
    attributes: Vec<String>,
    stream: Vec<i32>,
    seq: Vec<i64>,
}

impl EventColumns {
    pub(super) fn push(
        &mut self,
        origin: Origin,
        name: i32,
        component: i32,
        event: &Event,
        attributes: &str,
    ) {
        self.ts.push(event.ts_us);
        self.name.push(name);
        self.component.push(component);
        self.host.push(origin.host);
        self.subject.push(event.subject.clone());
        self.message.push(event.message.clone());
        self.attributes.push(attributes.to_owned());
        self.stream.push(origin.stream);
        self.seq.push(origin.seq);
    }

    pub(super) fn finish(self, shared: &Shared) -> Result<RecordBatch, ArrowError> {
        let columns = vec![
            timestamps(self.ts),
            shared.name.column(self.name)?,
            shared.component.column(self.component)?,
            shared.host.column(self.host)?,
            Arc::new(StringArray::from(self.subject)) as ArrayRef,
            Arc::new(StringArray::from(self.message)) as ArrayRef,
            Arc::new(StringArray::from(self.attributes)) as ArrayRef,
            shared.stream.column(self.stream)?,
            integers(self.seq),
        ];
        batch(events_schema(), columns)
    }
}
