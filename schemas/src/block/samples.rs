//! Columns of samples. Values that are short decimals (counters, sizes, `0.25`) travel as integers
//! with a decimal scale per series, which makes them small; a round trip is exact to the bit.

mod decode;
mod series_list;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::EncodeError;
use super::columns::{put_bytes, put_packed, put_signed, put_varint};
use crate::series::{MetricDef, MetricRef, Sample, SampleBatch};
use crate::wire::{RAW_SCALE, samples as tag};

pub use self::decode::SampleColumns;
pub use self::series_list::{SeriesList, SeriesRun};

pub(super) use self::decode::decode;
pub(super) use self::series_list::KnownSeries;

const POWERS_OF_TEN: [f64; 7] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];
/// Integers up to here are exact in an `f64`.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Columns under construction; kept from block to block for their memory.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    metric: Vec<u8>,
    labels: Vec<u8>,
    count: Vec<u8>,
    scale: Vec<u8>,
    step: Vec<u8>,
    integer: Vec<u8>,
    float_bits: Vec<u8>,
    ticks: Vec<i64>,
}

impl Scratch {
    fn clear(&mut self) {
        for column in [
            &mut self.metric,
            &mut self.labels,
            &mut self.count,
            &mut self.scale,
            &mut self.step,
            &mut self.integer,
            &mut self.float_bits,
        ] {
            column.clear();
        }
        self.ticks.clear();
    }
}

/// Appends the message of a batch to `out`.
pub(super) fn encode(
    batch: &SampleBatch,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    scratch.clear();
    let ordered = order_by_series(batch)?;
    collect_ticks(&ordered, &mut scratch.ticks);
    let mut customs = Customs::default();
    for run in ordered.chunk_by(|a, b| a.series == b.series) {
        let series = &batch.series[run[0].series as usize];
        let metric = match &series.metric {
            MetricRef::Known(id) => u64::from(known_id(*id)?) << 1,
            MetricRef::Custom(def) => customs.index(def) << 1 | 1,
        };
        put_varint(&mut scratch.metric, metric);
        put_bytes(
            &mut scratch.labels,
            tag::SERIES_LABELS,
            series.labels.as_str().as_bytes(),
        );
        put_varint(&mut scratch.count, run.len() as u64);
        scratch.times(run);
        scratch.values(run);
    }
    put_packed(out, tag::SERIES_METRIC, &scratch.metric);
    out.extend_from_slice(&scratch.labels);
    put_packed(out, tag::SERIES_SAMPLES, &scratch.count);
    put_packed(out, tag::SERIES_SCALE, &scratch.scale);
    scratch.count.clear();
    let mut before = 0_i64;
    for tick in &scratch.ticks {
        put_signed(&mut scratch.count, tick.wrapping_sub(before));
        before = *tick;
    }
    put_packed(out, tag::TICK_US, &scratch.count);
    put_packed(out, tag::TICK_STEP, &scratch.step);
    put_packed(out, tag::INTEGER, &scratch.integer);
    put_packed(out, tag::FLOAT_BITS, &scratch.float_bits);
    customs.put(out);
    Ok(())
}

fn known_id(id: u32) -> Result<u32, EncodeError> {
    let most = u32::MAX >> 1;
    if id <= most {
        Ok(id)
    } else {
        Err(EncodeError::BadIndex {
            what: "metric",
            index: id,
            len: most as usize,
        })
    }
}

/// The definitions that a block carries with it.
#[derive(Default)]
struct Customs<'a> {
    index: HashMap<&'a Arc<MetricDef>, u64>,
    defs: Vec<&'a MetricDef>,
}

impl<'a> Customs<'a> {
    fn index(&mut self, def: &'a Arc<MetricDef>) -> u64 {
        let next = self.defs.len() as u64;
        let at = *self.index.entry(def).or_insert(next);
        if at == next {
            self.defs.push(def);
        }
        at
    }

    fn put(&self, out: &mut Vec<u8>) {
        for def in &self.defs {
            put_bytes(out, tag::CUSTOM_NAME, def.name.as_bytes());
        }
        for def in &self.defs {
            put_bytes(out, tag::CUSTOM_UNIT, def.unit.as_bytes());
        }
        self.put_numbers(out, tag::CUSTOM_COMPONENT, |def| def.component.number());
        self.put_numbers(out, tag::CUSTOM_KIND, |def| def.kind.number());
        self.put_numbers(out, tag::CUSTOM_CATEGORY, |def| def.category.number());
        self.put_numbers(out, tag::CUSTOM_BETTER, |def| def.better.number());
    }

    fn put_numbers(&self, out: &mut Vec<u8>, tag: u64, number: impl Fn(&MetricDef) -> u32) {
        let mut column = Vec::with_capacity(self.defs.len());
        for def in &self.defs {
            put_varint(&mut column, u64::from(number(def)));
        }
        put_packed(out, tag, &column);
    }
}

/// The samples by series, then by time; samples of one series and time keep their order.
fn order_by_series(batch: &SampleBatch) -> Result<Cow<'_, [Sample]>, EncodeError> {
    let len = batch.series.len();
    if let Some(bad) = batch
        .samples
        .iter()
        .find(|sample| sample.series as usize >= len)
    {
        return Err(EncodeError::BadIndex {
            what: "series",
            index: bad.series,
            len,
        });
    }
    if batch
        .samples
        .is_sorted_by_key(|sample| (sample.series, sample.ts_us))
    {
        return Ok(Cow::Borrowed(&batch.samples));
    }
    let mut counts = vec![0_usize; len + 1];
    for sample in &batch.samples {
        counts[sample.series as usize + 1] += 1;
    }
    for at in 1..counts.len() {
        counts[at] += counts[at - 1];
    }
    let empty = Sample {
        series: 0,
        ts_us: 0,
        value: 0.0,
    };
    let mut ordered = vec![empty; batch.samples.len()];
    for sample in &batch.samples {
        let place = &mut counts[sample.series as usize];
        ordered[*place] = *sample;
        *place += 1;
    }
    for run in ordered.chunk_by_mut(|a, b| a.series == b.series) {
        if !run.is_sorted_by_key(|sample| sample.ts_us) {
            run.sort_by_key(|sample| sample.ts_us);
        }
    }
    Ok(Cow::Owned(ordered))
}

/// The distinct times, ascending.
fn collect_ticks(samples: &[Sample], ticks: &mut Vec<i64>) {
    let mut unordered = false;
    let mut at = 0;
    for sample in samples {
        let ts_us = sample.ts_us;
        if ticks.get(at) == Some(&ts_us) {
            continue;
        }
        // The next tick of the same series, or the first one of the next series.
        if let Some(found) = [at + 1, 0]
            .into_iter()
            .find(|next| ticks.get(*next) == Some(&ts_us))
        {
            at = found;
            continue;
        }
        unordered |= ticks.last().is_some_and(|last| *last >= ts_us);
        at = ticks.len();
        ticks.push(ts_us);
    }
    if unordered {
        ticks.sort_unstable();
        ticks.dedup();
    }
}

impl Scratch {
    fn times(&mut self, run: &[Sample]) {
        let mut before = 0_usize;
        for sample in run {
            // Most samples share the tick of the one before, or have the next one.
            let mut at = before;
            if self.ticks[at] != sample.ts_us {
                at += 1;
                if self.ticks.get(at) != Some(&sample.ts_us) {
                    at = self.ticks.partition_point(|tick| *tick < sample.ts_us);
                }
            }
            put_signed(&mut self.step, at as i64 - before as i64);
            before = at;
        }
    }

    fn values(&mut self, run: &[Sample]) {
        match common_scale(run) {
            Some(scale) => {
                put_varint(&mut self.scale, scale as u64);
                let mut before = 0_i64;
                for sample in run {
                    let integer = scaled(sample.value, POWERS_OF_TEN[scale]);
                    put_signed(&mut self.integer, integer.wrapping_sub(before));
                    before = integer;
                }
            }
            None => {
                put_varint(&mut self.scale, u64::from(RAW_SCALE));
                let mut before = 0_u64;
                for sample in run {
                    let bits = sample.value.to_bits();
                    self.float_bits
                        .extend_from_slice(&(bits ^ before).to_le_bytes());
                    before = bits;
                }
            }
        }
    }
}

/// The smallest number of decimal places with which every value of the run is an exact integer.
fn common_scale(run: &[Sample]) -> Option<usize> {
    let mut scale = 0;
    let mut at = 0;
    let mut raised_at = 0;
    // A raised scale must hold for the values before it as well, so the scan goes once around.
    loop {
        while !is_exact(run[at].value, scale) {
            scale += 1;
            raised_at = at;
            if scale == POWERS_OF_TEN.len() {
                return None;
            }
        }
        at = (at + 1) % run.len();
        if at == raised_at {
            return Some(scale);
        }
    }
}

fn is_exact(value: f64, scale: usize) -> bool {
    let power = POWERS_OF_TEN[scale];
    if !value.is_finite() || (value * power).abs() >= MAX_EXACT {
        return false;
    }
    (scaled(value, power) as f64 / power).to_bits() == value.to_bits()
}

/// The nearest integer of a value times a power of ten; what it yields for values that are no short
/// decimals does not matter, because [`is_exact`] tells those.
fn scaled(value: f64, power: f64) -> i64 {
    let scaled = value * power;
    (scaled + 0.5_f64.copysign(scaled)) as i64
}
