//! Rows of a source into rollups: samples into minutes, minutes into hours, hours into days.
//!
//! Samples are reduced by time, then stream, then number of their block, then value: the order in
//! which files come, and into which files rows were merged, does not show. A coarser bucket is the
//! finer ones merged by time.

use std::cmp::Ordering;

use arrow::array::RecordBatch;
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use driftline_stats::{Moments, Rollup, Sketch, SketchError};

use super::Resolution;
use super::columns::{RollupColumns, STORED, StoredRollups, numbers};
use super::gather::{self, Share, Texts, failed, number_series};
use super::plan::{self, Source};
use super::series::{Numbered, SeriesKey};
use crate::SinkError;

/// Rollups of some buckets, sorted by series and time.
pub(super) struct Reduced {
    pub(super) batch: RecordBatch,
    pub(super) rows_read: usize,
}

/// The rollups of a share of the series in some ascending buckets; `None` where more than `most`
/// rows would have to be held.
pub(super) fn rollups(
    resolution: Resolution,
    files: &[Source],
    buckets: &[i64],
    share: Share,
    most: usize,
) -> Result<Option<Reduced>, SinkError> {
    match resolution {
        Resolution::Minute => from_samples(resolution, files, buckets, share, most),
        Resolution::Hour | Resolution::Day => from_finer(resolution, files, buckets, share, most),
    }
}

struct Sample {
    series: u32,
    stream: u32,
    ts_us: i64,
    seq: i64,
    value: f64,
}

impl Sample {
    fn compare(&self, other: &Self) -> Ordering {
        let place = |of: &Self| (of.series, of.ts_us, of.stream, of.seq);
        let by_place = place(self).cmp(&place(other));
        by_place.then(self.value.total_cmp(&other.value))
    }
}

fn from_samples(
    resolution: Resolution,
    files: &[Source],
    buckets: &[i64],
    share: Share,
    most: usize,
) -> Result<Option<Reduced>, SinkError> {
    let columns = [
        "ts",
        "component",
        "host",
        "metric",
        "labels",
        "value",
        "stream",
        "seq",
    ];
    let width = resolution.width_us();
    let mut series = Numbered::default();
    let mut streams: Numbered<String> = Numbered::default();
    let mut samples: Vec<Sample> = Vec::new();
    gather::read(files, &columns, buckets, width, &mut |batch| {
        let numbers_of_series = number_series(batch, share, &mut series)?;
        let stream = Texts::of(batch, "stream")?;
        let ts = numbers::<TimestampMicrosecondType>(batch, "ts")?;
        let seq = numbers::<Int64Type>(batch, "seq")?;
        let value = numbers::<Float64Type>(batch, "value")?;
        let mut last = None;
        for (row, series) in numbers_of_series.into_iter().enumerate() {
            let Some(series) = series else { continue };
            let key = stream.key(row);
            let stream = match last {
                Some((known, number)) if known == key => number,
                _ => streams.number(stream.text(key).to_owned()),
            };
            last = Some((key, stream));
            samples.push(Sample {
                series,
                stream,
                ts_us: ts.value(row),
                seq: seq.value(row),
                value: value.value(row),
            });
        }
        Ok(samples.len() <= most)
    })?;
    if samples.len() > most {
        return Ok(None);
    }
    let (series, series_ranks) = series.ranked();
    let (_, stream_ranks) = streams.ranked();
    for sample in &mut samples {
        sample.series = series_ranks[sample.series as usize];
        sample.stream = stream_ranks[sample.stream as usize];
    }
    samples.sort_unstable_by(Sample::compare);
    let batch = reduce_samples(&samples, &series, width)?;
    let rows_read = samples.len();
    Ok(Some(Reduced { batch, rows_read }))
}

fn reduce_samples(
    samples: &[Sample],
    series: &[SeriesKey],
    width: i64,
) -> Result<RecordBatch, SinkError> {
    let bucket = |sample: &Sample| (sample.series, plan::floor(sample.ts_us, width));
    let mut columns = RollupColumns::default();
    let mut run: Vec<(i64, f64)> = Vec::new();
    for samples in samples.chunk_by(|a, b| bucket(a) == bucket(b)) {
        run.clear();
        run.extend(samples.iter().map(|sample| (sample.ts_us, sample.value)));
        if let Some(rollup) = Rollup::of(&run) {
            let (number, start) = bucket(&samples[0]);
            columns.push(&series[number as usize], start, &rollup);
        }
    }
    Ok(columns.finish()?)
}

/// A row of a finer rollup; its sketch stays encoded until its turn, because it is then a few bytes
/// per bucket.
struct Finer {
    series: u32,
    ts_us: i64,
    moments: Moments,
    sketch: Box<[u8]>,
}

fn from_finer(
    resolution: Resolution,
    files: &[Source],
    buckets: &[i64],
    share: Share,
    most: usize,
) -> Result<Option<Reduced>, SinkError> {
    let width = resolution.width_us();
    let mut series = Numbered::default();
    let mut rows: Vec<Finer> = Vec::new();
    gather::read(files, &STORED, buckets, width, &mut |batch| {
        let numbers_of_series = number_series(batch, share, &mut series)?;
        let stored = StoredRollups::of(batch)?;
        for (row, series) in numbers_of_series.into_iter().enumerate() {
            let Some(series) = series else { continue };
            rows.push(Finer {
                series,
                ts_us: stored.ts_us(row),
                moments: stored.moments(row),
                sketch: stored.sketch(row).into(),
            });
        }
        Ok(rows.len() <= most)
    })?;
    if rows.len() > most {
        return Ok(None);
    }
    let (series, ranks) = series.ranked();
    for row in &mut rows {
        row.series = ranks[row.series as usize];
    }
    // A series has one row per finer bucket, so that no two rows are equal here.
    rows.sort_unstable_by_key(|row| (row.series, row.ts_us));
    let damaged = |error: SketchError| {
        let path = files.first().map(|file| file.path.clone());
        failed("use a rollup in a file beside", &path.unwrap_or_default())(error.into())
    };
    let batch = reduce_finer(&rows, &series, width, &damaged)?;
    let rows_read = rows.len();
    Ok(Some(Reduced { batch, rows_read }))
}

fn reduce_finer(
    rows: &[Finer],
    series: &[SeriesKey],
    width: i64,
    damaged: &dyn Fn(SketchError) -> SinkError,
) -> Result<RecordBatch, SinkError> {
    let bucket = |row: &Finer| (row.series, plan::floor(row.ts_us, width));
    let mut columns = RollupColumns::default();
    for rows in rows.chunk_by(|a, b| bucket(a) == bucket(b)) {
        let mut merged: Option<Rollup> = None;
        for row in rows {
            let sketch = Sketch::decode(&row.sketch).map_err(damaged)?;
            let finer = Rollup::from_parts(row.moments, sketch).map_err(damaged)?;
            match &mut merged {
                Some(merged) => merged.merge(&finer),
                None => merged = Some(finer),
            }
        }
        if let Some(rollup) = merged {
            let (number, start) = bucket(&rows[0]);
            columns.push(&series[number as usize], start, &rollup);
        }
    }
    Ok(columns.finish()?)
}
