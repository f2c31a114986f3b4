//! Decoded blocks as Arrow record batches, one per UTC day.
//!
//! The same builder serves the sink's files and the analyzer's fresh tail, so that a row looks the
//! same on both sides of a commit.

mod columns;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::vec::IntoIter;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use driftline_schemas::{
    Envelope, Event, Labels, MetricRef, RequestBatch, Rows, SampleColumns as Columns, SeriesRun,
};

use self::columns::{Dictionary, EventColumns, RequestColumns, SampleColumns};
use crate::table::TableName;

pub(crate) const US_PER_DAY: i64 = 86_400_000_000;
/// Days that one batch may spread over before it has to be written: a clock that jumps about must
/// not open a file for every block.
pub const MAX_DAYS_PER_BATCH: usize = 64;

/// Series of a stream's last block that are compared with a series of the next one before it is
/// looked up as a new one.
const LOOK_AHEAD: usize = 16;

/// A UTC day, in days since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

impl Day {
    /// The day of a time in microseconds since 1970 UTC.
    pub fn of(ts_us: i64) -> Self {
        Self(ts_us.div_euclid(US_PER_DAY))
    }

    /// Days since 1970.
    pub(crate) fn number(self) -> i64 {
        self.0
    }

    /// Whether a time is of this day.
    fn holds(self, ts_us: i64) -> bool {
        (self.0.saturating_mul(US_PER_DAY)..self.end_us()).contains(&ts_us)
    }

    /// First microsecond of the next day.
    fn end_us(self) -> i64 {
        (self.0 + 1).saturating_mul(US_PER_DAY)
    }

    /// `yyyy-mm-dd`. Microseconds in an `i64` reach past the years that a date can hold: those
    /// days are written as the nearest that it can.
    pub fn to_date(self) -> String {
        let last = chrono::NaiveDate::from_ymd_opt(9999, 12, 31);
        let epoch = chrono::NaiveDate::default();
        let date = epoch.checked_add_signed(chrono::TimeDelta::days(self.0));
        let date = match date {
            Some(date) if Some(date) <= last && date >= first_date() => date,
            _ if self.0 < 0 => first_date(),
            _ => last.unwrap_or_default(),
        };
        date.format("%Y-%m-%d").to_string()
    }
}

fn first_date() -> chrono::NaiveDate {
    chrono::NaiveDate::from_ymd_opt(1, 1, 1).unwrap_or_default()
}

/// Gathers the rows of one table.
pub struct BatchBuilder {
    table: TableName,
    shared: Shared,
    samples: BTreeMap<Day, SampleColumns>,
    requests: BTreeMap<Day, RequestColumns>,
    events: BTreeMap<Day, EventColumns>,
    /// Per stream, the series of its last block.
    known: HashMap<i32, KnownSeries>,
    rows: usize,
}

/// The series of a stream's last block by their place in it. The blocks of a stream name mostly the
/// same series in the same places, which saves looking their texts up.
#[derive(Default)]
struct KnownSeries {
    /// The bytes that named them; empty where they are not all told.
    fields: Vec<u8>,
    places: Vec<Place>,
}

/// A series that stood at a place of a stream's block.
struct Place {
    metric: MetricRef,
    labels: Box<str>,
    keys: SeriesKeys,
    /// Whether the series had a sample, so that its row is under way.
    told: bool,
}

/// Dictionaries that the days of a batch have in common.
#[derive(Default)]
struct Shared {
    component: Dictionary,
    host: Dictionary,
    metric: Dictionary,
    labels: Dictionary,
    stream: Dictionary,
    name: Dictionary,
    run: Dictionary,
    endpoint: Dictionary,
    error: Dictionary,
}

impl BatchBuilder {
    /// An empty batch of a table that blocks go to.
    pub fn new(table: TableName) -> Self {
        Self {
            table,
            shared: Shared::default(),
            samples: BTreeMap::new(),
            requests: BTreeMap::new(),
            events: BTreeMap::new(),
            known: HashMap::new(),
            rows: 0,
        }
    }

    /// Number of rows gathered.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of days that the rows spread over.
    pub fn days(&self) -> usize {
        self.samples.len() + self.requests.len() + self.events.len()
    }

    /// Adds the rows of one block. `seen` is told of each series, with its first time in the block,
    /// unless the batch has it from the same stream already; it may be told of one repeatedly.
    pub fn push(
        &mut self,
        envelope: &Envelope,
        rows: &Rows<'_>,
        seen: &mut dyn FnMut(&SeriesRun<'_>, i64),
    ) {
        let host = self.shared.host.key(&envelope.host);
        let stream = self.shared.stream.key(&envelope.stream.to_string());
        // Sequences start at 0 and count blocks: they stay below 2^63.
        let origin = Origin {
            host,
            stream,
            seq: envelope.seq as i64,
        };
        self.rows += rows.len();
        match rows {
            Rows::Samples(columns) => self.push_samples(origin, columns, seen),
            Rows::Requests(batch) => self.push_requests(origin, batch),
            Rows::Events(events) => self.push_events(origin, events),
        }
    }

    fn push_samples(
        &mut self,
        origin: Origin,
        block: &Columns<'_>,
        seen: &mut dyn FnMut(&SeriesRun<'_>, i64),
    ) {
        let Some(first) = block.ts_us.first() else {
            return;
        };
        let known = self.known.entry(origin.stream).or_default();
        known.follow(block, &mut self.shared, seen);
        let day = Day::of(*first);
        if block.ts_us.iter().all(|ts_us| day.holds(*ts_us)) {
            let columns = self.samples.entry(day).or_default();
            let runs = block.series.iter().map(|run| run.samples);
            let keys = known.places.iter().map(|place| place.keys);
            columns.extend(origin, runs.zip(keys), &block.ts_us, &block.values);
            return;
        }
        let mut at = 0;
        for (run, place) in block.series.iter().zip(&known.places) {
            let rows = at..at + run.samples;
            at = rows.end;
            let (mut times, mut values) = (&block.ts_us[rows.clone()], &block.values[rows]);
            while let Some(first) = times.first() {
                let day = Day::of(*first);
                let columns = self.samples.entry(day).or_default();
                let same_day =
                    times.partition_point(|ts_us| ts_us >= first && *ts_us < day.end_us());
                let (now, later) = times.split_at(same_day.max(1));
                let (values_now, values_later) = values.split_at(now.len());
                columns.extend(origin, [(now.len(), place.keys)], now, values_now);
                (times, values) = (later, values_later);
            }
        }
    }

    fn push_requests(&mut self, origin: Origin, batch: &RequestBatch) {
        let run = self.shared.run.key(&batch.run);
        let none = self.shared.error.key("");
        let keys = |dictionary: &mut Dictionary, texts: &[String]| -> Vec<i32> {
            texts.iter().map(|text| dictionary.key(text)).collect()
        };
        let endpoints = keys(&mut self.shared.endpoint, &batch.endpoints);
        let errors = keys(&mut self.shared.error, &batch.errors);
        for request in &batch.requests {
            let columns = self
                .requests
                .entry(Day::of(request.intended_us))
                .or_default();
            let error = match request.error {
                0 => none,
                at => errors[at as usize - 1],
            };
            let endpoint = endpoints[request.endpoint as usize];
            columns.push(origin, run, batch.worker, endpoint, error, request);
        }
    }

    fn push_events(&mut self, origin: Origin, events: &[Event]) {
        for event in events {
            let name = self.shared.name.key(event.name.as_str());
            let component = self.shared.component.key(event.component.as_str());
            let pairs: Vec<(&str, &str)> = event
                .attributes
                .iter()
                .map(|(key, value)| (&**key, &**value))
                .collect();
            let attributes = Labels::new(&pairs);
            let columns = self.events.entry(Day::of(event.ts_us)).or_default();
            columns.push(origin, name, component, event, attributes.as_str());
        }
    }

    /// The rows, one batch per day, and an empty builder again.
    pub fn finish(&mut self) -> Result<Vec<(Day, RecordBatch)>, ArrowError> {
        let full = std::mem::replace(self, Self::new(self.table));
        let shared = full.shared;
        let samples = full
            .samples
            .into_iter()
            .map(|(day, columns)| (day, columns.finish(&shared)));
        let requests = full
            .requests
            .into_iter()
            .map(|(day, columns)| (day, columns.finish(&shared)));
        let events = full
            .events
            .into_iter()
            .map(|(day, columns)| (day, columns.finish(&shared)));
        samples
            .chain(requests)
            .chain(events)
            .map(|(day, batch)| batch.map(|batch| (day, batch)))
            .collect()
    }
}

impl Shared {
    fn series_keys(&mut self, run: &SeriesRun<'_>) -> SeriesKeys {
        let (component, metric) = metric_names(run.metric);
        SeriesKeys {
            component: self.component.key(component),
            metric: self.metric.key(&metric),
            labels: self.labels.key(run.labels),
        }
    }
}

impl KnownSeries {
    /// Takes over the series of the stream's next block.
    fn follow(
        &mut self,
        block: &Columns<'_>,
        shared: &mut Shared,
        seen: &mut dyn FnMut(&SeriesRun<'_>, i64),
    ) {
        let fields = block.series.fields();
        if !fields.is_empty() && self.fields == fields {
            return;
        }
        let mut before = std::mem::take(&mut self.places).into_iter();
        let mut at = 0;
        for run in block.series.iter() {
            let first = block.ts_us[at..at + run.samples].first();
            at += run.samples;
            if let Some(known) = take_known(&mut before, &run) {
                self.places.push(known);
                continue;
            }
            if let Some(first) = first {
                seen(&run, *first);
            }
            self.places.push(Place {
                metric: run.metric.clone(),
                labels: Box::from(run.labels),
                keys: shared.series_keys(&run),
                told: first.is_some(),
            });
        }
        self.fields.clear();
        if self.places.iter().all(|place| place.told) {
            self.fields.extend_from_slice(fields);
        }
    }
}

/// The series out of those of the block before, where it comes next there, or soon: processes come
/// and go, and all other series keep their order.
fn take_known(before: &mut IntoIter<Place>, run: &SeriesRun<'_>) -> Option<Place> {
    let ahead = before.as_slice().iter().take(LOOK_AHEAD);
    let at = ahead.enumerate().find(|(_, known)| known.is(run))?.0;
    before.nth(at)
}

impl Place {
    fn is(&self, run: &SeriesRun<'_>) -> bool {
        self.told && self.metric == *run.metric && *self.labels == *run.labels
    }
}

/// Component and name of a metric as they stand in tables. A frozen id that a newer version gave
/// out keeps its number, so that nothing is lost.
pub(crate) fn metric_names(metric: &MetricRef) -> (&str, Cow<'_, str>) {
    match (metric.view(), metric) {
        (Some(view), _) => (view.component.as_str(), Cow::Borrowed(view.name)),
        (None, MetricRef::Known(id)) => ("unknown", Cow::Owned(format!("unknown.{id}"))),
        (None, MetricRef::Custom(def)) => (def.component.as_str(), Cow::Borrowed(&def.name)),
    }
}

/// Where the rows of a block come from.
#[derive(Clone, Copy)]
struct Origin {
    host: i32,
    stream: i32,
    seq: i64,
}

/// A series in the dictionaries of the batch.
#[derive(Clone, Copy)]
struct SeriesKeys {
    component: i32,
    metric: i32,
    labels: i32,
}
