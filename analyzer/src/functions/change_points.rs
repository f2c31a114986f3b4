//! `change_points(list)`: the lasting steps of a series, as a list of structs.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StringArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Float64Type};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use driftline_stats::changepoint::{ChangePoint, Direction, Options, detect};

use super::coerce_list;

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

fn item() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Struct(fields()), true))
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
            _ => plan_err!(
                "change_points takes one list: change_points(array_agg(value ORDER BY ts))"
            ),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(item()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = matches!(args.args.first(), Some(ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(lists) = arrays.first() else {
            return exec_err!("change_points takes one list");
        };
        let lists = lists.as_list::<i32>();
        let mut found = Vec::new();
        let mut lengths = Vec::with_capacity(lists.len());
        for row in 0..lists.len() {
            let changes = match lists.is_null(row) {
                true => Vec::new(),
                false => detect(&places(&lists.value(row)), &Options::default()),
            };
            lengths.push(changes.len());
            found.extend(changes);
        }
        let structs = columns(&found)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        let array: ArrayRef = Arc::new(ListArray::try_new(
            item(),
            offsets,
            Arc::new(structs),
            None,
        )?);
        if scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &array, 0,
            )?));
        }
        Ok(ColumnarValue::Array(array))
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
}
