//! `change_points(list)`: the lasting steps of a series, as a list of structs; `change_points(list, per_day)`
//! those of a series that may follow the day.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StringArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Float64Type, Int64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use driftline_stats::changepoint::{self, ChangePoint, Direction};
use driftline_stats::daily;

use super::{coerce_list, item_of, returned};

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ChangePointsFunction {
    signature: Signature,
}

impl ChangePointsFunction {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

fn fields() -> Fields {
    let float = |name: &str| Field::new(name, DataType::Float64, true);
    Fields::from(vec![
        // From 1, as lists are counted in SQL: the first value of the new level.
        Field::new("place", DataType::Int64, true),
        float("effect"),
        float("effect_pct"),
        float("ci_lo_pct"),
        float("ci_hi_pct"),
        float("p_value"),
        Field::new("direction", DataType::Utf8, true),
    ])
}

impl ScalarUDFImpl for ChangePointsFunction {
    fn name(&self) -> &str {
        "change_points"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [list] => Ok(vec![coerce_list("change_points", list)?]),
            [list, per_day] if per_day.is_integer() || per_day.is_null() => {
                Ok(vec![coerce_list("change_points", list)?, DataType::Int64])
            }
            _ => plan_err!(
                "change_points takes a list, and samples of a day where it may follow the day: change_points(array_agg(value ORDER BY ts), 1440)"
            ),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(item_of(fields())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(lists) = arrays.first() else {
            return exec_err!("change_points takes a list");
        };
        let lists = lists.as_list::<i32>();
        let per_days = arrays.get(1).map(|days| days.as_primitive::<Int64Type>());
        let mut found = Vec::new();
        let mut lengths = Vec::with_capacity(lists.len());
        for row in 0..lists.len() {
            let changes = match lists.is_null(row) {
                true => Vec::new(),
                false => steps(&places(&lists.value(row)), per_days, row)?,
            };
            lengths.push(changes.len());
            found.extend(changes);
        }
        let structs = columns(&found)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        let array: ArrayRef = Arc::new(ListArray::try_new(
            item_of(fields()),
            offsets,
            Arc::new(structs),
            None,
        )?);
        returned(&args.args, array)
    }
}

/// The steps of one row's series.
fn steps(values: &[f64], per_days: Option<&Int64Array>, row: usize) -> Result<Vec<ChangePoint>> {
    let Some(per_days) = per_days.filter(|per_days| per_days.is_valid(row)) else {
        return Ok(changepoint::detect(
            values,
            &changepoint::Options::default(),
        ));
    };
    match usize::try_from(per_days.value(row)) {
        Ok(per_day) if per_day > 0 => Ok(daily::detect(values, &daily::Options::of_day(per_day))),
        _ => exec_err!(
            "change_points takes a positive number of samples of a day, not {}",
            per_days.value(row)
        ),
    }
}

/// The values of a list, NaN where there is none, so that places stay those of the list.
fn places(values: &ArrayRef) -> Vec<f64> {
    let values = values.as_primitive::<Float64Type>();
    values
        .iter()
        .map(|value| value.unwrap_or(f64::NAN))
        .collect()
}

fn columns(found: &[ChangePoint]) -> Result<StructArray> {
    let floats = |value: fn(&ChangePoint) -> Option<f64>| -> ArrayRef {
        Arc::new(found.iter().map(value).collect::<Float64Array>())
    };
    let relative = |change: &ChangePoint| change.relative.and(change.interval);
    let places: Int64Array = found
        .iter()
        .map(|change| Some(change.index as i64 + 1))
        .collect();
    let directions = found.iter().map(|change| match change.direction {
        Direction::Up => "up",
        Direction::Down => "down",
    });
    let lows = found
        .iter()
        .map(|change| relative(change).map(|(lo, _)| 100.0 * lo));
    let highs = found
        .iter()
        .map(|change| relative(change).map(|(_, hi)| 100.0 * hi));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(places),
        floats(|change| Some(change.effect)),
        floats(|change| change.relative.map(|share| 100.0 * share)),
        Arc::new(lows.collect::<Float64Array>()),
        Arc::new(highs.collect::<Float64Array>()),
        floats(|change| Some(change.p_value)),
        Arc::new(StringArray::from_iter_values(directions)),
    ];
    Ok(StructArray::try_new(fields(), columns, None)?)
}

#[cfg(test)]
mod tests {
    use crate::testing::{ask, engine, lake};

    #[tokio::test]
    async fn a_step_is_found_in_sql() {
        let (_dir, lake) = lake(&[], &[]);
        let engine = engine(lake).await;
        let sql = "WITH found AS ( \
                       SELECT unnest(change_points(array_agg(CASE WHEN n > 40 THEN 20.0 ELSE 10.0 END + 0.1 * ((n * 7919) % 11) ORDER BY n))) AS c \
                       FROM unnest(range(1, 81)) AS t (n) \
                   ) SELECT c['place'], c['direction'], round(c['effect']) FROM found";
        assert_eq!(ask(&engine, sql).await, ["41|up|10.0"]);
        let none = "SELECT cardinality(change_points([1.0, 2.0, 3.0])), change_points(NULL)";
        assert_eq!(ask(&engine, none).await, ["0|[]"]);
    }

    /// Three days of hours, of which each morning is a step, and the last evening one that no day had.
    #[tokio::test]
    async fn the_cycle_of_the_day_is_no_step() {
        let (_dir, lake) = lake(&[], &[]);
        let engine = engine(lake).await;
        let days = |more: &str| {
            format!(
                "WITH found AS (SELECT unnest(change_points(array_agg( \
                     CASE WHEN n % 24 BETWEEN 8 AND 17 THEN 20.0 ELSE 10.0 END \
                     * CASE WHEN n >= 86 THEN 1.5 ELSE 1.0 END + 0.1 * ((n * n * 31 + n * 17) % 11) ORDER BY n){more})) AS c \
                 FROM unnest(range(0, 96)) AS t (n)) SELECT c['place'] FROM found"
            )
        };
        assert_eq!(ask(&engine, &days(", 24")).await, ["87"]);
        // Without it the cycle is noise, which hides the step.
        assert!(!ask(&engine, &days("")).await.contains(&"87".to_owned()));
        let wrong = "SELECT change_points([1.0, 2.0], 0)";
        let refused = engine.collect(wrong, &crate::QueryOptions::default()).await;
        let refused = refused.expect_err("no samples a day").to_string();
        assert!(refused.contains("positive number of samples"), "{refused}");
    }
}
