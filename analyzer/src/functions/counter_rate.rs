//! `counter_rate(value, ts) OVER (…)`: a counter's growth per second.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Field, FieldRef, Float64Type, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    LimitEffect, PartitionEvaluator, Signature, Volatility, WindowUDFImpl,
};

/// The name in SQL.
pub(super) const NAME: &str = "counter_rate";
/// Across a longer gap no rate is given: an average over it would say nothing about its end. It is
/// also how far before the first wanted sample must be read.
pub(super) const MAX_GAP_US: i64 = 600 * 1_000_000;
/// A counter that falls below this part of its value has started anew. One that falls less has
/// been corrected: the kernel's idle and iowait times do step back a little.
const RESET_BELOW: f64 = 0.5;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct CounterRate {
    signature: Signature,
}

impl CounterRate {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl WindowUDFImpl for CounterRate {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [value, DataType::Timestamp(_, zone)] if value.is_numeric() => Ok(vec![
                DataType::Float64,
                DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            ]),
            _ => plan_err!(
                "counter_rate takes a number and its time: counter_rate(value, ts) over (partition by … order by ts)"
            ),
        }
    }

    fn partition_evaluator(
        &self,
        _args: PartitionEvaluatorArgs<'_>,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Rates { before: None }))
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Float64, true)))
    }

    fn limit_effect(
        &self,
        _args: &[Arc<dyn datafusion::physical_plan::PhysicalExpr>],
    ) -> LimitEffect {
        LimitEffect::None
    }
}

/// One series: what stood before the current sample is all that matters, so rows stream through.
#[derive(Debug)]
struct Rates {
    before: Option<(i64, f64)>,
}

impl PartitionEvaluator for Rates {
    fn is_causal(&self) -> bool {
        true
    }

    fn supports_bounded_execution(&self) -> bool {
        true
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        let [value, ts] = values else {
            return exec_err!("counter_rate takes a number and its time");
        };
        let (row, value) = (range.start, value.as_primitive::<Float64Type>());
        let ts = ts.as_primitive::<TimestampMicrosecondType>();
        if value.is_null(row) || ts.is_null(row) || !value.value(row).is_finite() {
            return Ok(ScalarValue::Float64(None));
        }
        let now = (ts.value(row), value.value(row));
        let rate = self.before.and_then(|before| rate_per_s(before, now));
        self.before = Some(now);
        Ok(ScalarValue::Float64(rate))
    }
}

/// Growth per second between two samples `(ts_us, value)` of a counter.
fn rate_per_s(before: (i64, f64), now: (i64, f64)) -> Option<f64> {
    let elapsed_us = now.0.checked_sub(before.0)?;
    if elapsed_us <= 0 || elapsed_us > MAX_GAP_US {
        return None;
    }
    let grown = if now.1 >= before.1 {
        now.1 - before.1
    } else if now.1 < before.1 * RESET_BELOW {
        now.1
    } else {
        0.0
    };
    Some(grown / (elapsed_us as f64 / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_survive_resets_small_steps_back_and_gaps() {
        let second = 1_000_000;
        assert_eq!(rate_per_s((0, 100.0), (2 * second, 110.0)), Some(5.0));
        assert_eq!(
            rate_per_s((0, 100.0), (second, 7.0)),
            Some(7.0),
            "restarted"
        );
        assert_eq!(
            rate_per_s((0, 100.0), (second, 99.9)),
            Some(0.0),
            "corrected"
        );
        assert_eq!(rate_per_s((0, 1.0), (0, 2.0)), None, "no time has passed");
        assert_eq!(rate_per_s((second, 1.0), (0, 2.0)), None);
        assert_eq!(rate_per_s((0, 1.0), (MAX_GAP_US, 601.0)), Some(1.0));
        assert_eq!(
            rate_per_s((0, 1.0), (MAX_GAP_US + 1, 601.0)),
            None,
            "too long ago"
        );
        assert_eq!(rate_per_s((i64::MIN, 1.0), (i64::MAX, 2.0)), None);
    }
}
