//! Distributions of OTLP as series: `_count` and `_sum`, `_min` and `_max` where they are sent, and
//! buckets with `le` or quantiles.
//!
//! Explicit buckets stay as they are. An exponential histogram that is cumulative becomes buckets at
//! powers of two (of a coarser base, where it is coarser), so that its bounds never move; one of
//! deltas becomes quantiles of its interval, at its own resolution. Formulas: the OpenTelemetry
//! data model, "ExponentialHistogram": bucket `i` holds `base^i < x <= base^(i+1)`,
//! `base = 2^(2^-scale)`.

use std::sync::Arc;

use driftline_schemas::metric::MetricKind;

use super::decode::{Decoder, Head, NO_VALUE, When};
use crate::service::foreign::definition::Part;
use crate::service::foreign::dictionary::Resolved;
use crate::service::foreign::intake::Intake;
use crate::service::foreign::wire::{Fields, Malformed};
use crate::service::foreign::{Reason, Refusal};

/// Most buckets of a histogram; by default there are 15, or 160 exponential ones.
const MAX_BUCKETS: usize = 1_000;
/// The scales that the data model knows.
const SCALES: std::ops::RangeInclusive<i64> = -10..=20;
/// The quantiles that are estimated.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// What the series beside count, sum, least and greatest value are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Rest {
    /// Counts up to a bound.
    #[default]
    Buckets,
    /// Values at a quantile.
    Quantiles,
}

/// One point, for as long as it is read.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    when: When,
    count: u64,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    rest: Rest,
    /// The bits of upper bounds or quantiles.
    bounds: Vec<u64>,
    counts: Vec<u64>,
    /// Counts up to each bound and in all, or values at each quantile.
    values: Vec<f64>,
    positive: Side,
    negative: Side,
    scale: i64,
    zeros: u64,
    zero_up_to: f64,
}

/// The buckets of one sign.
#[derive(Debug, Default)]
struct Side {
    offset: i64,
    counts: Vec<u64>,
}

impl Side {
    fn read(&mut self, message: &[u8]) -> Result<(), Malformed> {
        let mut fields = Fields::new(message, "buckets");
        while let Some((number, content)) = fields.next()? {
            match number {
                1 => self.offset = i64::from(content.zigzag("offset")? as i32),
                2 => content.extend_varints("bucket_counts", &mut self.counts)?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Scratch {
    fn clear(&mut self, rest: Rest) {
        self.when = When::default();
        self.count = 0;
        (self.sum, self.min, self.max) = (None, None, None);
        self.rest = rest;
        self.bounds.clear();
        self.counts.clear();
        self.values.clear();
        self.positive.offset = 0;
        self.positive.counts.clear();
        self.negative.offset = 0;
        self.negative.counts.clear();
        (self.scale, self.zeros, self.zero_up_to) = (0, 0, 0.0);
    }

    /// Counts up to each bound, from the counts between them.
    fn sum_up(&mut self) -> Result<(), Reason> {
        if self.counts.is_empty() && self.bounds.is_empty() {
            return Ok(());
        }
        let bounds = self.bounds.iter().map(|bits| f64::from_bits(*bits));
        if self.counts.len() != self.bounds.len() + 1 || !bounds.is_sorted_by(|a, b| a < b) {
            return Err(Reason::Inconsistent);
        }
        if self.counts.len() > MAX_BUCKETS {
            return Err(Reason::Unsupported);
        }
        let mut total = 0_u64;
        for count in &self.counts {
            total = total.saturating_add(*count);
            self.values.push(total as f64);
        }
        Ok(())
    }

    fn check_exponential(&self) -> Result<(), Reason> {
        if !SCALES.contains(&self.scale) {
            return Err(Reason::Inconsistent);
        }
        if self.positive.counts.len() + self.negative.counts.len() > MAX_BUCKETS {
            return Err(Reason::Unsupported);
        }
        Ok(())
    }

    /// Exponential buckets to buckets at powers of two.
    fn coarsen(&mut self) {
        let finer = self.scale.max(0);
        let wider = (-self.scale).max(0);
        // The upper bound of what bucket `at` holds of its absolute value, as a power of two.
        let power = |at: i64| ((at >> finer) + 1) << wider;
        let mut add = |bound: f64, count: u64| {
            if count == 0 || bound == f64::INFINITY {
                return;
            }
            if self.bounds.last() == Some(&bound.to_bits()) {
                if let Some(last) = self.counts.last_mut() {
                    *last = last.saturating_add(count);
                }
            } else {
                self.bounds.push(bound.to_bits());
                self.counts.push(count);
            }
        };
        let mut counted = 0_u64;
        for (at, count) in self.negative.counts.iter().enumerate().rev() {
            // The least absolute value of the bucket is the greatest value.
            let power = power(self.negative.offset + at as i64) - (1 << wider);
            add(-exp2(power), *count);
            counted = counted.saturating_add(*count);
        }
        add(self.zero_up_to, self.zeros);
        counted = counted.saturating_add(self.zeros);
        for (at, count) in self.positive.counts.iter().enumerate() {
            let bound = exp2(power(self.positive.offset + at as i64));
            add(bound, *count);
            counted = counted.saturating_add(if bound.is_finite() { *count } else { 0 });
        }
        self.counts.push(self.count.saturating_sub(counted));
    }

    /// Estimates of the quantiles, by the geometric middle of the bucket in which they lie.
    fn estimate(&mut self) {
        let total: f64 = self.sides().map(|(_, count)| count as f64).sum();
        if total == 0.0 {
            return;
        }
        let least = self.min.unwrap_or(f64::NEG_INFINITY);
        let greatest = self.max.unwrap_or(f64::INFINITY);
        for quantile in QUANTILES {
            let rank = (quantile * total).ceil().max(1.0);
            let mut counted = 0.0;
            let found = self.sides().find(|(_, count)| {
                counted += *count as f64;
                counted >= rank
            });
            if let Some((value, _)) = found {
                self.bounds.push(quantile.to_bits());
                self.values.push(value.max(least).min(greatest));
            }
        }
    }

    /// The middles of the buckets with their counts, by value.
    fn sides(&self) -> impl Iterator<Item = (f64, u64)> {
        let width = (-self.scale as f64).exp2();
        let middle = move |at: i64| ((at as f64 + 0.5) * width).exp2();
        let negative = self.negative.counts.iter().enumerate().rev();
        let negative =
            negative.map(move |(at, count)| (-middle(self.negative.offset + at as i64), *count));
        let positive = self.positive.counts.iter().enumerate();
        let positive =
            positive.map(move |(at, count)| (middle(self.positive.offset + at as i64), *count));
        negative.chain([(0.0, self.zeros)]).chain(positive)
    }
}

fn exp2(power: i64) -> f64 {
    (power as f64).exp2()
}

impl Decoder {
    /// A `HistogramDataPoint`.
    pub(super) fn histogram(
        &mut self,
        message: &[u8],
        head: &Head<'_>,
        intake: &mut Intake,
    ) -> Result<Result<(), Reason>, Refusal> {
        self.scratch.clear(Rest::Buckets);
        let mut fields = Fields::new(message, "data point");
        while let Some((number, content)) = fields.next()? {
            let point = &mut self.scratch;
            match number {
                2 => point.when.start_ns = content.fixed64("start_time_unix_nano")?,
                3 => point.when.time_ns = content.fixed64("time_unix_nano")?,
                4 => point.count = content.fixed64("count")?,
                5 => point.sum = Some(content.double("sum")?),
                6 => content.extend_fixed64("bucket_counts", &mut point.counts)?,
                7 => content.extend_fixed64("explicit_bounds", &mut point.bounds)?,
                10 => point.when.flags = content.varint("flags")?,
                11 => point.min = Some(content.double("min")?),
                12 => point.max = Some(content.double("max")?),
                _ => {}
            }
        }
        if let Err(reason) = self.scratch.sum_up() {
            return Ok(Err(reason));
        }
        self.emit(message, 9, head, intake)
    }

    /// An `ExponentialHistogramDataPoint`.
    pub(super) fn exponential(
        &mut self,
        message: &[u8],
        head: &Head<'_>,
        intake: &mut Intake,
    ) -> Result<Result<(), Reason>, Refusal> {
        let rest = if head.is_delta {
            Rest::Quantiles
        } else {
            Rest::Buckets
        };
        self.scratch.clear(rest);
        let mut fields = Fields::new(message, "data point");
        while let Some((number, content)) = fields.next()? {
            let point = &mut self.scratch;
            match number {
                2 => point.when.start_ns = content.fixed64("start_time_unix_nano")?,
                3 => point.when.time_ns = content.fixed64("time_unix_nano")?,
                4 => point.count = content.fixed64("count")?,
                5 => point.sum = Some(content.double("sum")?),
                6 => point.scale = content.zigzag("scale")?,
                7 => point.zeros = content.fixed64("zero_count")?,
                8 => point.positive.read(content.bytes("positive")?)?,
                9 => point.negative.read(content.bytes("negative")?)?,
                10 => point.when.flags = content.varint("flags")?,
                12 => point.min = Some(content.double("min")?),
                13 => point.max = Some(content.double("max")?),
                14 => point.zero_up_to = content.double("zero_threshold")?,
                _ => {}
            }
        }
        if let Err(reason) = self.scratch.check_exponential() {
            return Ok(Err(reason));
        }
        match rest {
            Rest::Quantiles => self.scratch.estimate(),
            Rest::Buckets => {
                self.scratch.coarsen();
                if let Err(reason) = self.scratch.sum_up() {
                    return Ok(Err(reason));
                }
            }
        }
        self.emit(message, 1, head, intake)
    }

    /// A `SummaryDataPoint`.
    pub(super) fn summary(
        &mut self,
        message: &[u8],
        head: &Head<'_>,
        intake: &mut Intake,
    ) -> Result<Result<(), Reason>, Refusal> {
        self.scratch.clear(Rest::Quantiles);
        let mut fields = Fields::new(message, "data point");
        while let Some((number, content)) = fields.next()? {
            let point = &mut self.scratch;
            match number {
                2 => point.when.start_ns = content.fixed64("start_time_unix_nano")?,
                3 => point.when.time_ns = content.fixed64("time_unix_nano")?,
                4 => point.count = content.fixed64("count")?,
                5 => point.sum = Some(content.double("sum")?),
                6 => {
                    let (mut quantile, mut value) = (0.0, 0.0);
                    let message = content.bytes("quantile_values")?;
                    let mut fields = Fields::new(message, "quantile_values");
                    while let Some((number, content)) = fields.next()? {
                        match number {
                            1 => quantile = content.double("quantile")?,
                            2 => value = content.double("value")?,
                            _ => {}
                        }
                    }
                    point.bounds.push(f64::to_bits(quantile));
                    point.values.push(value);
                }
                8 => point.when.flags = content.varint("flags")?,
                _ => {}
            }
        }
        if self.scratch.bounds.len() > MAX_BUCKETS {
            return Ok(Err(Reason::Unsupported));
        }
        self.emit(message, 7, head, intake)
    }

    /// Takes the point that was read.
    fn emit(
        &mut self,
        message: &[u8],
        attributes: u64,
        head: &Head<'_>,
        intake: &mut Intake,
    ) -> Result<Result<(), Reason>, Refusal> {
        let when = self.scratch.when;
        if when.flags & NO_VALUE != 0 {
            return Ok(Ok(()));
        }
        let ts_us = when.ts_us(intake);
        if !intake.admits(ts_us) {
            return Ok(Err(Reason::TimeOutOfRange));
        }
        let series = match self.series_of(message, attributes, head, intake)? {
            Ok(series) => series,
            Err(reason) => return Ok(Err(reason)),
        };
        if head.is_delta && !intake.is_newer(series[0], ts_us) {
            return Ok(Err(Reason::DeltaOutOfOrder));
        }
        let point = &self.scratch;
        let mut at = 0;
        let mut take = |value: f64, sums: bool| {
            let series = series[at];
            at += 1;
            if sums && head.is_delta {
                intake.add(series, when.start_us(), ts_us, value)
            } else {
                intake.push(series, ts_us, value)
            }
        };
        take(point.count as f64, true)?;
        point.sum.map_or(Ok(()), |sum| take(sum, true))?;
        for extreme in [point.min, point.max].into_iter().flatten() {
            take(extreme, false)?;
        }
        for value in &point.values {
            take(*value, point.rest == Rest::Buckets)?;
        }
        Ok(Ok(()))
    }

    /// The series of the point: count, sum, least and greatest value as far as they are there, then
    /// the buckets or quantiles.
    fn series_of(
        &mut self,
        message: &[u8],
        attributes: u64,
        head: &Head<'_>,
        intake: &mut Intake,
    ) -> Result<Result<Arc<[u32]>, Reason>, Refusal> {
        let counter = MetricKind::Counter;
        let metric = match self.define(head, "_count", counter, Part::Count, intake) {
            Ok(metric) => metric,
            Err(reason) => return Ok(Err(reason)),
        };
        self.begin_key(metric, head.resource);
        let mut fields = Fields::new(message, "data point");
        while let Some((number, content)) = fields.next()? {
            if number == attributes {
                self.extend_key(content)?;
            }
        }
        let point = &self.scratch;
        self.key.extend_from_slice(&[
            b'D',
            point.rest as u8,
            u8::from(point.sum.is_some()),
            u8::from(point.min.is_some()),
            u8::from(point.max.is_some()),
            u8::from(point.values.is_empty()),
        ]);
        for bound in &point.bounds {
            self.key.extend_from_slice(&bound.to_le_bytes());
        }
        if let Some(Resolved::Many(series)) = intake.dictionary.get(&self.key) {
            return Ok(Ok(Arc::clone(series)));
        }
        let pairs = self.pairs(message, attributes)?;
        let key = std::mem::take(&mut self.key);
        let made = self.make(metric, &pairs, head, intake);
        self.key = key;
        Ok(made.map(|series| {
            let series: Arc<[u32]> = series.into();
            let many = Resolved::Many(Arc::clone(&series));
            intake.dictionary.remember(&self.key, many);
            series
        }))
    }

    fn make(
        &mut self,
        count: u32,
        pairs: &[(&str, std::borrow::Cow<'_, str>)],
        head: &Head<'_>,
        intake: &mut Intake,
    ) -> Result<Vec<u32>, Reason> {
        let (counter, gauge) = (MetricKind::Counter, MetricKind::Gauge);
        let mut series = Vec::new();
        series.push(
            intake
                .dictionary
                .series(count, &mut self.labels(head, pairs))?,
        );
        let parts = [
            (self.scratch.sum.is_some(), "_sum", counter, Part::Sum),
            (self.scratch.min.is_some(), "_min", gauge, Part::Value),
            (self.scratch.max.is_some(), "_max", gauge, Part::Value),
        ];
        for (_, suffix, kind, part) in parts.into_iter().filter(|part| part.0) {
            let metric = self.define(head, suffix, kind, part, intake)?;
            let labels = &mut self.labels(head, pairs);
            series.push(intake.dictionary.series(metric, labels)?);
        }
        if self.scratch.values.is_empty() {
            return Ok(series);
        }
        let (metric, label) = match self.scratch.rest {
            Rest::Buckets => (
                self.define(head, "_bucket", counter, Part::Bucket, intake)?,
                "le",
            ),
            Rest::Quantiles => (
                self.define(head, "", gauge, Part::Value, intake)?,
                "quantile",
            ),
        };
        for at in 0..self.scratch.values.len() {
            let bound = self
                .scratch
                .bounds
                .get(at)
                .map(|bits| f64::from_bits(*bits));
            let text = bound.map_or("+Inf".to_owned(), |bound| bound.to_string());
            let mut labels = self.labels(head, pairs);
            labels.push((label, &text));
            series.push(intake.dictionary.series(metric, &mut labels)?);
        }
        Ok(series)
    }
}
