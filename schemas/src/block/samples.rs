//! Columns of samples. Values that are short decimals (counters, sizes, `0.25`) travel as integers
//! with a decimal scale per series, which makes them small; a round trip is exact to the bit.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message as _;
use prost::bytes::Bytes;

use super::{DecodeError, EncodeError, expect_len, known};
use crate::metric::{Better, Category, Component, MetricKind};
use crate::series::{Labels, MetricDef, MetricRef, Sample, SampleBatch, Series};
use crate::wire::{RAW_SCALE, SamplesMessage};

const POWERS_OF_TEN: [f64; 7] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];
/// Integers up to here are exact in an `f64`.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

pub(super) fn encode(batch: &SampleBatch) -> Result<Vec<u8>, EncodeError> {
    let ordered = order_by_series(batch)?;
    let ticks = distinct_ticks(&ordered);
    let mut message = SamplesMessage {
        tick_us: deltas(&ticks),
        ..Default::default()
    };
    let mut customs: HashMap<&Arc<MetricDef>, u32> = HashMap::new();
    let mut encoder = ColumnEncoder {
        ticks: &ticks,
        message: &mut message,
    };
    for run in ordered.chunk_by(|a, b| a.series == b.series) {
        let series = &batch.series[run[0].series as usize];
        let metric = match &series.metric {
            MetricRef::Known(id) => id
                .checked_shl(1)
                .filter(|shifted| shifted >> 1 == *id)
                .ok_or(EncodeError::BadIndex {
                    what: "metric",
                    index: *id,
                    len: (u32::MAX >> 1) as usize,
                })?,
            MetricRef::Custom(def) => {
                let next = customs.len() as u32;
                let at = *customs.entry(def).or_insert(next);
                if at == next {
                    encoder.define(def);
                }
                at << 1 | 1
            }
        };
        encoder.series(metric, series.labels.as_str(), run);
    }
    Ok(message.encode_to_vec())
}

/// The samples by series, then by time; samples of one series and time keep their order.
fn order_by_series(batch: &SampleBatch) -> Result<Vec<Sample>, EncodeError> {
    let len = batch.series.len();
    let mut counts = vec![0_usize; len + 1];
    for sample in &batch.samples {
        let slot = counts
            .get_mut(sample.series as usize + 1)
            .ok_or(EncodeError::BadIndex {
                what: "series",
                index: sample.series,
                len,
            })?;
        *slot += 1;
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
    Ok(ordered)
}

fn distinct_ticks(samples: &[Sample]) -> Vec<i64> {
    let mut ticks: Vec<i64> = Vec::new();
    for sample in samples {
        if ticks.last() != Some(&sample.ts_us) {
            ticks.push(sample.ts_us);
        }
    }
    ticks.sort_unstable();
    ticks.dedup();
    ticks
}

fn deltas(ticks: &[i64]) -> Vec<i64> {
    let mut before = 0_i64;
    let step = |tick: &i64| {
        let delta = tick.wrapping_sub(before);
        before = *tick;
        delta
    };
    ticks.iter().map(step).collect()
}

struct ColumnEncoder<'a> {
    ticks: &'a [i64],
    message: &'a mut SamplesMessage,
}

impl ColumnEncoder<'_> {
    fn define(&mut self, def: &MetricDef) {
        self.message.custom_name.push(def.name.clone());
        self.message.custom_unit.push(def.unit.clone());
        self.message.custom_component.push(def.component.number());
        self.message.custom_kind.push(def.kind.number());
        self.message.custom_category.push(def.category.number());
        self.message.custom_better.push(def.better.number());
    }

    fn series(&mut self, metric: u32, labels: &str, run: &[Sample]) {
        self.message.series_metric.push(metric);
        self.message.series_labels.push(labels.to_owned());
        self.message.series_samples.push(run.len() as u32);
        self.times(run);
        match common_scale(run) {
            Some(scale) => {
                self.message.series_scale.push(scale as u32);
                let mut before = 0_i64;
                for sample in run {
                    let integer = scaled(sample.value, POWERS_OF_TEN[scale]);
                    self.message.integer.push(integer.wrapping_sub(before));
                    before = integer;
                }
            }
            None => {
                self.message.series_scale.push(RAW_SCALE);
                let mut before = 0_u64;
                for sample in run {
                    let bits = sample.value.to_bits();
                    self.message.float_bits.push(bits ^ before);
                    before = bits;
                }
            }
        }
    }

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
            self.message.tick_step.push(at as i32 - before as i32);
            before = at;
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

fn scaled(value: f64, power: f64) -> i64 {
    (value * power).round() as i64
}

pub(super) fn decode(raw: Bytes, rows: usize) -> Result<SampleBatch, DecodeError> {
    let message = SamplesMessage::decode(raw).map_err(|source| DecodeError::Protobuf {
        what: "samples",
        source,
    })?;
    let len = message.series_metric.len();
    expect_len("series_labels", message.series_labels.len(), len)?;
    expect_len("series_samples", message.series_samples.len(), len)?;
    expect_len("series_scale", message.series_scale.len(), len)?;
    expect_len("tick_step", message.tick_step.len(), rows)?;
    expect_len(
        "values",
        message.integer.len() + message.float_bits.len(),
        rows,
    )?;
    let counted: u64 = message.series_samples.iter().map(|n| u64::from(*n)).sum();
    expect_len(
        "samples",
        usize::try_from(counted).unwrap_or(usize::MAX),
        rows,
    )?;
    Ok(SampleBatch {
        series: decode_series(&message)?,
        samples: decode_values(&message, rows)?,
    })
}

fn decode_series(message: &SamplesMessage) -> Result<Vec<Series>, DecodeError> {
    let customs = decode_customs(message)?;
    let names = message.series_metric.iter().zip(&message.series_labels);
    names
        .map(|(metric, labels)| {
            let at = metric >> 1;
            let metric = if metric & 1 == 0 {
                MetricRef::Known(at)
            } else {
                let def = customs.get(at as usize);
                let bad = DecodeError::BadField {
                    field: "series_metric",
                    value: u64::from(at),
                };
                MetricRef::Custom(Arc::clone(def.ok_or(bad)?))
            };
            Ok(Series {
                metric,
                labels: Labels::from_canonical(labels),
            })
        })
        .collect()
}

fn decode_customs(message: &SamplesMessage) -> Result<Vec<Arc<MetricDef>>, DecodeError> {
    let len = message.custom_name.len();
    expect_len("custom_unit", message.custom_unit.len(), len)?;
    expect_len("custom_component", message.custom_component.len(), len)?;
    expect_len("custom_kind", message.custom_kind.len(), len)?;
    expect_len("custom_category", message.custom_category.len(), len)?;
    expect_len("custom_better", message.custom_better.len(), len)?;
    (0..len)
        .map(|at| {
            Ok(Arc::new(MetricDef {
                name: message.custom_name[at].clone(),
                unit: message.custom_unit[at].clone(),
                component: known(
                    "component",
                    message.custom_component[at],
                    Component::from_number,
                )?,
                kind: known(
                    "metric kind",
                    message.custom_kind[at],
                    MetricKind::from_number,
                )?,
                category: known(
                    "category",
                    message.custom_category[at],
                    Category::from_number,
                )?,
                better: known("better", message.custom_better[at], Better::from_number)?,
            }))
        })
        .collect()
}

fn decode_values(message: &SamplesMessage, rows: usize) -> Result<Vec<Sample>, DecodeError> {
    let mut tick = 0_i64;
    let absolute = |delta: &i64| {
        tick = tick.wrapping_add(*delta);
        tick
    };
    let ticks: Vec<i64> = message.tick_us.iter().map(absolute).collect();
    let mut steps = message.tick_step.iter();
    let mut integers = message.integer.iter();
    let mut floats = message.float_bits.iter();
    let mut samples = Vec::with_capacity(rows);
    for (series, (count, scale)) in message
        .series_samples
        .iter()
        .zip(&message.series_scale)
        .enumerate()
    {
        let power = match *scale {
            RAW_SCALE => None,
            scale => Some(*known("series_scale", scale, |s| {
                POWERS_OF_TEN.get(s as usize)
            })?),
        };
        let (mut at, mut integer, mut bits) = (0_i32, 0_i64, 0_u64);
        for _ in 0..*count {
            let step = steps.next().copied().unwrap_or_default();
            at = at.wrapping_add(step);
            let ts_us = usize::try_from(at)
                .ok()
                .and_then(|at| ticks.get(at).copied());
            let bad = DecodeError::BadField {
                field: "tick_step",
                value: at as u64,
            };
            let value = match power {
                Some(power) => {
                    integer = integer.wrapping_add(*integers.next().ok_or_else(too_few)?);
                    integer as f64 / power
                }
                None => {
                    bits ^= *floats.next().ok_or_else(too_few)?;
                    f64::from_bits(bits)
                }
            };
            samples.push(Sample {
                series: series as u32,
                ts_us: ts_us.ok_or(bad)?,
                value,
            });
        }
    }
    Ok(samples)
}

fn too_few() -> DecodeError {
    DecodeError::BadField {
        field: "series_scale",
        value: 0,
    }
}
