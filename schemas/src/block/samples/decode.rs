//! Samples out of a body, as columns beside the list of their series.

use super::POWERS_OF_TEN;
use super::series_list::{KnownSeries, SeriesList};
use crate::block::columns::{Column, Content, Fields, Varints, text};
use crate::block::{DecodeError, expect_len, known};
use crate::series::{Labels, Sample, SampleBatch, Series};
use crate::wire::{RAW_SCALE, samples as tag};

/// The samples of a block: series after series, and of each its samples by time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SampleColumns<'a> {
    /// The series, with the number of samples of each.
    pub series: SeriesList<'a>,
    /// Times in microseconds since 1970 UTC.
    pub ts_us: Vec<i64>,
    /// Values, in the metrics' units.
    pub values: Vec<f64>,
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

/// The fields that name series, as they lie in the body.
#[derive(Default)]
pub(super) struct Names<'a> {
    pub(super) metric: Column<'a>,
    pub(super) labels: Vec<&'a str>,
    pub(super) count: Column<'a>,
    pub(super) custom_name: Vec<&'a str>,
    pub(super) custom_unit: Vec<&'a str>,
    pub(super) custom_component: Column<'a>,
    pub(super) custom_kind: Column<'a>,
    pub(super) custom_category: Column<'a>,
    pub(super) custom_better: Column<'a>,
}

impl<'a> Names<'a> {
    fn add(&mut self, at: u64, content: Content<'a>) -> Result<(), DecodeError> {
        match at {
            tag::SERIES_METRIC => self.metric.add("series_metric", content),
            tag::SERIES_LABELS => text("series_labels", content).map(|it| self.labels.push(it)),
            tag::SERIES_SAMPLES => self.count.add("series_samples", content),
            tag::CUSTOM_NAME => text("custom_name", content).map(|it| self.custom_name.push(it)),
            tag::CUSTOM_UNIT => text("custom_unit", content).map(|it| self.custom_unit.push(it)),
            tag::CUSTOM_COMPONENT => self.custom_component.add("custom_component", content),
            tag::CUSTOM_KIND => self.custom_kind.add("custom_kind", content),
            tag::CUSTOM_CATEGORY => self.custom_category.add("custom_category", content),
            tag::CUSTOM_BETTER => self.custom_better.add("custom_better", content),
            _ => Ok(()),
        }
    }
}

/// The fields that change from block to block, as they lie in the body.
#[derive(Default)]
struct Values<'a> {
    scale: Column<'a>,
    tick_us: Column<'a>,
    tick_step: Column<'a>,
    integer: Column<'a>,
    float_bits: Column<'a>,
}

impl<'a> Values<'a> {
    fn add(&mut self, at: u64, content: Content<'a>) -> Result<(), DecodeError> {
        match at {
            tag::SERIES_SCALE => self.scale.add("series_scale", content),
            tag::TICK_US => self.tick_us.add("tick_us", content),
            tag::TICK_STEP => self.tick_step.add("tick_step", content),
            tag::INTEGER => self.integer.add("integer", content),
            tag::FLOAT_BITS => self.float_bits.add_fixed("float_bits", content),
            _ => Ok(()),
        }
    }
}

/// What a field is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Series,
    Customs,
    Values,
}

impl Part {
    fn of(at: u64) -> Self {
        match at {
            tag::SERIES_METRIC | tag::SERIES_LABELS | tag::SERIES_SAMPLES => Self::Series,
            tag::CUSTOM_NAME
            | tag::CUSTOM_UNIT
            | tag::CUSTOM_COMPONENT
            | tag::CUSTOM_KIND
            | tag::CUSTOM_CATEGORY
            | tag::CUSTOM_BETTER => Self::Customs,
            _ => Self::Values,
        }
    }
}

/// Where the fields that name series lie.
#[derive(Default)]
pub(super) struct Layout {
    /// Where those of series end that stand at the head.
    head: usize,
    /// Where those of custom metrics begin that stand at the end.
    tail: Option<usize>,
    /// Some lie elsewhere, as protobuf allows any writer to do.
    scattered: bool,
}

impl Layout {
    /// Takes the next field, of these bytes.
    fn note(&mut self, part: Part, from: usize, to: usize) {
        match part {
            Part::Series if self.head == from => self.head = to,
            Part::Series => self.scattered = true,
            Part::Customs => {
                self.tail.get_or_insert(from);
            }
            Part::Values => self.scattered |= self.tail.is_some(),
        }
    }

    /// Where the head ends and the tail begins, in a body of so many bytes.
    pub(super) fn ends(&self, len: usize) -> Option<(usize, usize)> {
        (!self.scattered).then_some((self.head, self.tail.unwrap_or(len)))
    }
}

/// The message's fields as they lie in the body.
#[derive(Default)]
pub(super) struct Message<'a> {
    pub(super) names: Names<'a>,
    pub(super) layout: Layout,
    values: Values<'a>,
}

impl<'a> Message<'a> {
    fn read(raw: &'a [u8]) -> Result<Self, DecodeError> {
        let mut message = Self::default();
        let mut fields = Fields::new(raw, "samples");
        let mut from = 0;
        while let Some((at, content)) = fields.next()? {
            let to = raw.len() - fields.left();
            let part = Part::of(at);
            message.layout.note(part, from, to);
            match part {
                Part::Values => message.values.add(at, content)?,
                Part::Series | Part::Customs => message.names.add(at, content)?,
            }
            from = to;
        }
        Ok(message)
    }
}

/// The values of a body that names exactly the known series; `None` for any other body.
fn values_of_known<'a>(raw: &'a [u8], series: &KnownSeries) -> Option<Values<'a>> {
    // Fields delimit themselves: where those before the tail are whole, the tail is fields as well.
    let mut fields = Fields::new(series.strip(raw)?, "samples");
    let mut values = Values::default();
    while let Some((at, content)) = fields.next().ok()? {
        if Part::of(at) != Part::Values {
            return None;
        }
        values.add(at, content).ok()?;
    }
    Some(values)
}

/// Decodes a body of so many rows. `series` are those of the stream's block before, and become this
/// one's; `remembered` keeps the sum of their memory.
pub(in crate::block) fn decode<'a>(
    raw: &[u8],
    rows: usize,
    series: &'a mut KnownSeries,
    remembered: &mut usize,
) -> Result<SampleColumns<'a>, DecodeError> {
    let values = match values_of_known(raw, series) {
        Some(values) => values,
        None => {
            let message = Message::read(raw)?;
            *remembered -= series.memory();
            let learned = series.learn(raw, &message);
            *remembered += series.memory();
            learned?;
            message.values
        }
    };
    expect_len("series_scale", values.scale.len(), series.len())?;
    expect_len("tick_step", values.tick_step.len(), rows)?;
    let found = values.integer.len() + values.float_bits.len_fixed();
    expect_len("values", found, rows)?;
    expect_len("samples", series.samples(), rows)?;
    let ts_us = decode_times(&values, series, rows)?;
    let values = decode_values(&values, series, rows)?;
    Ok(SampleColumns {
        series: series.list(),
        ts_us,
        values,
    })
}

/// A number of 32 bits; wider ones keep their low bits, as protobuf has it.
pub(super) fn number(column: &mut Varints<'_>, name: &'static str) -> Result<u32, DecodeError> {
    let value = column.next().ok_or(DecodeError::Malformed { what: name })?;
    Ok(value as u32)
}

fn decode_ticks(values: &Values<'_>) -> Result<Vec<i64>, DecodeError> {
    let mut deltas = values.tick_us.varints();
    let mut tick = 0_i64;
    let len = values.tick_us.len();
    let mut ticks = Vec::with_capacity(len);
    for _ in 0..len {
        let delta = deltas.next_signed().ok_or_else(|| malformed("tick_us"))?;
        tick = tick.wrapping_add(delta);
        ticks.push(tick);
    }
    Ok(ticks)
}

fn decode_times(
    values: &Values<'_>,
    series: &KnownSeries,
    rows: usize,
) -> Result<Vec<i64>, DecodeError> {
    let ticks = decode_ticks(values)?;
    if let ([tick], true) = (&ticks[..], values.tick_step.is_zero()) {
        return Ok(vec![*tick; rows]);
    }
    let mut steps = values.tick_step.varints();
    let mut times = Vec::with_capacity(rows);
    for samples in series.counts() {
        let mut at = 0_i32;
        for _ in 0..samples {
            let step = steps.next_signed().ok_or_else(|| malformed("tick_step"))?;
            at = at.wrapping_add(step as i32);
            let ts_us = usize::try_from(at).ok().and_then(|at| ticks.get(at));
            times.push(*ts_us.ok_or_else(|| no_such_tick(at))?);
        }
    }
    Ok(times)
}

fn decode_values(
    columns: &Values<'_>,
    series: &KnownSeries,
    rows: usize,
) -> Result<Vec<f64>, DecodeError> {
    let mut scales = columns.scale.varints();
    let mut integers = columns.integer.varints();
    let mut floats = columns.float_bits.fixed();
    let mut values = Vec::with_capacity(rows);
    for samples in series.counts() {
        match number(&mut scales, "series_scale")? {
            RAW_SCALE => {
                let mut bits = 0_u64;
                for _ in 0..samples {
                    bits ^= floats.next().ok_or_else(too_few)?;
                    values.push(f64::from_bits(bits));
                }
            }
            scale => {
                let power = *known("series_scale", scale, |s| POWERS_OF_TEN.get(s as usize))?;
                let mut integer = 0_i64;
                for _ in 0..samples {
                    let delta = integers.next_signed().ok_or_else(too_few)?;
                    integer = integer.wrapping_add(delta);
                    values.push(integer as f64 / power);
                }
            }
        }
    }
    Ok(values)
}

fn no_such_tick(at: i32) -> DecodeError {
    DecodeError::BadField {
        field: "tick_step",
        value: at as u64,
    }
}

/// The scales ask for other values than there are.
fn too_few() -> DecodeError {
    DecodeError::BadField {
        field: "series_scale",
        value: 0,
    }
}

fn malformed(what: &'static str) -> DecodeError {
    DecodeError::Malformed { what }
}
