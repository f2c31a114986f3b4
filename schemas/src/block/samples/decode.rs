//! Samples out of a body, as columns that borrow their texts from it.

use std::sync::Arc;

use super::POWERS_OF_TEN;
use crate::block::columns::{Column, Fields, Varints, text};
use crate::block::{DecodeError, expect_len, known};
use crate::metric::{Better, Category, Component, MetricKind};
use crate::series::{Labels, MetricDef, MetricRef, Sample, SampleBatch, Series};
use crate::wire::{RAW_SCALE, samples as tag};

/// The samples of a block: series after series, and of each its samples by time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SampleColumns<'a> {
    /// The series, with the number of samples of each.
    pub series: Vec<SeriesRun<'a>>,
    /// Times in microseconds since 1970 UTC.
    pub ts_us: Vec<i64>,
    /// Values, in the metrics' units.
    pub values: Vec<f64>,
}

/// A series and how many samples of it follow one another.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesRun<'a> {
    /// The metric.
    pub metric: MetricRef,
    /// The labels, in canonical form.
    pub labels: &'a str,
    /// Number of samples.
    pub samples: usize,
}

impl SampleColumns<'_> {
    /// The same, owned and row by row.
    pub fn to_batch(&self) -> SampleBatch {
        let mut samples = Vec::with_capacity(self.values.len());
        let mut rows = self.ts_us.iter().zip(&self.values);
        for (at, run) in self.series.iter().enumerate() {
            samples.extend(
                rows.by_ref()
                    .take(run.samples)
                    .map(|(ts_us, value)| Sample {
                        series: at as u32,
                        ts_us: *ts_us,
                        value: *value,
                    }),
            );
        }
        let series = self.series.iter().map(|run| Series {
            metric: run.metric.clone(),
            labels: Labels::from_canonical(run.labels),
        });
        SampleBatch {
            series: series.collect(),
            samples,
        }
    }
}

/// The message's fields as they lie in the body.
#[derive(Default)]
struct Message<'a> {
    metric: Column<'a>,
    labels: Vec<&'a str>,
    count: Column<'a>,
    scale: Column<'a>,
    tick_us: Column<'a>,
    tick_step: Column<'a>,
    integer: Column<'a>,
    float_bits: Column<'a>,
    custom_name: Vec<&'a str>,
    custom_unit: Vec<&'a str>,
    custom_component: Column<'a>,
    custom_kind: Column<'a>,
    custom_category: Column<'a>,
    custom_better: Column<'a>,
}

impl<'a> Message<'a> {
    fn read(raw: &'a [u8]) -> Result<Self, DecodeError> {
        let mut message = Self::default();
        let mut fields = Fields::new(raw, "samples");
        while let Some((at, content)) = fields.next()? {
            match at {
                tag::SERIES_METRIC => message.metric.add("series_metric", content)?,
                tag::SERIES_LABELS => message.labels.push(text("series_labels", content)?),
                tag::SERIES_SAMPLES => message.count.add("series_samples", content)?,
                tag::SERIES_SCALE => message.scale.add("series_scale", content)?,
                tag::TICK_US => message.tick_us.add("tick_us", content)?,
                tag::TICK_STEP => message.tick_step.add("tick_step", content)?,
                tag::INTEGER => message.integer.add("integer", content)?,
                tag::FLOAT_BITS => message.float_bits.add_fixed("float_bits", content)?,
                tag::CUSTOM_NAME => message.custom_name.push(text("custom_name", content)?),
                tag::CUSTOM_UNIT => message.custom_unit.push(text("custom_unit", content)?),
                tag::CUSTOM_COMPONENT => {
                    message.custom_component.add("custom_component", content)?
                }
                tag::CUSTOM_KIND => message.custom_kind.add("custom_kind", content)?,
                tag::CUSTOM_CATEGORY => message.custom_category.add("custom_category", content)?,
                tag::CUSTOM_BETTER => message.custom_better.add("custom_better", content)?,
                _ => {}
            }
        }
        Ok(message)
    }
}

/// Decodes a body of so many rows.
pub(in crate::block) fn decode(raw: &[u8], rows: usize) -> Result<SampleColumns<'_>, DecodeError> {
    let message = Message::read(raw)?;
    let len = message.labels.len();
    expect_len("series_metric", message.metric.len(), len)?;
    expect_len("series_samples", message.count.len(), len)?;
    expect_len("series_scale", message.scale.len(), len)?;
    expect_len("tick_step", message.tick_step.len(), rows)?;
    let values = message.integer.len() + message.float_bits.len_fixed();
    expect_len("values", values, rows)?;
    let series = decode_series(&message, rows)?;
    let (ts_us, values) = decode_values(&message, &series, rows)?;
    Ok(SampleColumns {
        series,
        ts_us,
        values,
    })
}

fn decode_series<'a>(
    message: &Message<'a>,
    rows: usize,
) -> Result<Vec<SeriesRun<'a>>, DecodeError> {
    let customs = decode_customs(message)?;
    let mut metrics = message.metric.varints();
    let mut counts = message.count.varints();
    let mut counted = 0_usize;
    let mut series = Vec::with_capacity(message.labels.len());
    for labels in &message.labels {
        let metric = number(&mut metrics, "series_metric")?;
        let at = metric >> 1;
        let metric = if metric & 1 == 0 {
            MetricRef::Known(at)
        } else {
            let bad = DecodeError::BadField {
                field: "series_metric",
                value: u64::from(at),
            };
            MetricRef::Custom(Arc::clone(customs.get(at as usize).ok_or(bad)?))
        };
        let samples = number(&mut counts, "series_samples")? as usize;
        counted = counted.saturating_add(samples);
        series.push(SeriesRun {
            metric,
            labels,
            samples,
        });
    }
    expect_len("samples", counted, rows)?;
    Ok(series)
}

fn decode_customs(message: &Message<'_>) -> Result<Vec<Arc<MetricDef>>, DecodeError> {
    let len = message.custom_name.len();
    expect_len("custom_unit", message.custom_unit.len(), len)?;
    expect_len("custom_component", message.custom_component.len(), len)?;
    expect_len("custom_kind", message.custom_kind.len(), len)?;
    expect_len("custom_category", message.custom_category.len(), len)?;
    expect_len("custom_better", message.custom_better.len(), len)?;
    let mut components = message.custom_component.varints();
    let mut kinds = message.custom_kind.varints();
    let mut categories = message.custom_category.varints();
    let mut betters = message.custom_better.varints();
    let texts = message.custom_name.iter().zip(&message.custom_unit);
    texts
        .map(|(name, unit)| {
            let component = number(&mut components, "component")?;
            let kind = number(&mut kinds, "metric kind")?;
            let category = number(&mut categories, "category")?;
            let better = number(&mut betters, "better")?;
            Ok(Arc::new(MetricDef {
                name: (*name).to_owned(),
                unit: (*unit).to_owned(),
                component: known("component", component, Component::from_number)?,
                kind: known("metric kind", kind, MetricKind::from_number)?,
                category: known("category", category, Category::from_number)?,
                better: known("better", better, Better::from_number)?,
            }))
        })
        .collect()
}

/// A number of 32 bits; wider ones keep their low bits, as protobuf has it.
fn number(column: &mut Varints<'_>, name: &'static str) -> Result<u32, DecodeError> {
    let value = column.next().ok_or(DecodeError::Malformed { what: name })?;
    Ok(value as u32)
}

fn decode_ticks(message: &Message<'_>) -> Result<Vec<i64>, DecodeError> {
    let mut deltas = message.tick_us.varints();
    let mut tick = 0_i64;
    let len = message.tick_us.len();
    let mut ticks = Vec::with_capacity(len);
    for _ in 0..len {
        let bad = DecodeError::Malformed { what: "tick_us" };
        tick = tick.wrapping_add(deltas.next_signed().ok_or(bad)?);
        ticks.push(tick);
    }
    Ok(ticks)
}

fn decode_values(
    message: &Message<'_>,
    series: &[SeriesRun<'_>],
    rows: usize,
) -> Result<(Vec<i64>, Vec<f64>), DecodeError> {
    let ticks = decode_ticks(message)?;
    let mut scales = message.scale.varints();
    let mut steps = message.tick_step.varints();
    let mut integers = message.integer.varints();
    let mut floats = message.float_bits.fixed();
    let mut times = Vec::with_capacity(rows);
    let mut values = Vec::with_capacity(rows);
    for run in series {
        let mut at = 0_i32;
        for _ in 0..run.samples {
            let step = steps.next_signed().ok_or_else(|| too_few("tick_step"))?;
            at = at.wrapping_add(step as i32);
            let ts_us = usize::try_from(at)
                .ok()
                .and_then(|at| ticks.get(at).copied());
            times.push(ts_us.ok_or(DecodeError::BadField {
                field: "tick_step",
                value: at as u64,
            })?);
        }
        match number(&mut scales, "series_scale")? {
            RAW_SCALE => {
                let mut bits = 0_u64;
                for _ in 0..run.samples {
                    bits ^= floats.next().ok_or_else(|| too_few("series_scale"))?;
                    values.push(f64::from_bits(bits));
                }
            }
            scale => {
                let power = *known("series_scale", scale, |s| POWERS_OF_TEN.get(s as usize))?;
                let mut integer = 0_i64;
                for _ in 0..run.samples {
                    let delta = integers
                        .next_signed()
                        .ok_or_else(|| too_few("series_scale"))?;
                    integer = integer.wrapping_add(delta);
                    values.push(integer as f64 / power);
                }
            }
        }
    }
    Ok((times, values))
}

fn too_few(field: &'static str) -> DecodeError {
    DecodeError::BadField { field, value: 0 }
}
