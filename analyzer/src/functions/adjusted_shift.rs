//! `adjusted_shift(a, before_a, b, before_b, confidence)`: the shift from one sample to another with
//! what was known of each of their members before taken out (CUPED).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Float64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use driftline_stats::cuped::{Measured, cuped};

use super::{coerce_list, returned, shift};

const NAME: &str = "adjusted_shift";
const TAKES: &str = "adjusted_shift takes four lists and a confidence: \
                     adjusted_shift(a, before_a, b, before_b, 0.99)";

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct AdjustedShiftFunction {
    signature: Signature,
}

impl AdjustedShiftFunction {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

fn fields() -> Fields {
    let mut fields: Vec<Arc<Field>> = shift::fields().iter().cloned().collect();
    // The part of the variance that what was known before explains.
    fields.push(Arc::new(Field::new("explained", DataType::Float64, true)));
    Fields::from(fields)
}

impl ScalarUDFImpl for AdjustedShiftFunction {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (lists, confidence) = types.split_at(types.len().min(4));
        let mut wanted: Vec<DataType> = lists
            .iter()
            .map(|list| coerce_list(NAME, list))
            .collect::<Result<_>>()?;
        match confidence {
            _ if lists.len() < 4 => return plan_err!("{TAKES}"),
            [] => {}
            // A parameter has no type until its value is bound.
            [one] if one.is_numeric() || one.is_null() => wanted.push(DataType::Float64),
            _ => return plan_err!("{TAKES}"),
        }
        Ok(wanted)
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(fields()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [a, before_a, b, before_b, ..] = arrays.as_slice() else {
            return exec_err!("{TAKES}");
        };
        let (mut rows, mut explained) = (Vec::new(), Vec::new());
        for row in 0..a.len() {
            let confidence = shift::confidence(NAME, arrays.get(4), row)?;
            let (a, b) = (measured(a, before_a, row)?, measured(b, before_b, row)?);
            let adjusted = cuped(&a, &b);
            let found = driftline_stats::shift(&adjusted.a, &adjusted.b, confidence);
            explained.push(found.as_ref().map(|_| adjusted.explained));
            rows.push((adjusted.a.len(), adjusted.b.len(), found));
        }
        let mut columns = shift::columns(&rows);
        columns.push(Arc::new(Float64Array::from(explained)));
        let structs = StructArray::try_new(fields(), columns, None)?;
        returned(&args.args, Arc::new(structs))
    }
}

/// The members of one row's side of which both numbers are known.
fn measured(values: &ArrayRef, before: &ArrayRef, row: usize) -> Result<Vec<Measured>> {
    let (values, before) = (values.as_list::<i32>(), before.as_list::<i32>());
    if values.is_null(row) || before.is_null(row) {
        return Ok(Vec::new());
    }
    let (values, before) = (values.value(row), before.value(row));
    if values.len() != before.len() {
        return exec_err!(
            "{NAME} takes a number from before for each value: {} values and {} from before",
            values.len(),
            before.len()
        );
    }
    let before = before.as_primitive::<Float64Type>();
    let pairs = values.as_primitive::<Float64Type>().iter().zip(before);
    let known = pairs.filter_map(|(value, before)| Some((value?, before?)));
    Ok(known.collect())
}

#[cfg(test)]
mod tests {
    use crate::QueryOptions;
    use crate::testing::{ask, engine, lake};

    /// Members that differ far more from each other than by what changed.
    #[tokio::test]
    async fn what_was_known_before_is_taken_out() {
        let (_dir, lake) = lake(&[], &[]);
        let engine = engine(lake).await;
        let of = |function: &str| {
            format!(
                "WITH members AS ( \
                     SELECT n, 100.0 + (n * 7919) % 53 AS before, n % 2 AS side FROM unnest(range(0, 60)) AS t (n)), \
                 sides AS ( \
                     SELECT side, array_agg(before ORDER BY n) AS before, \
                         array_agg(before + 0.1 * ((n * 31) % 7) + side ORDER BY n) AS value \
                     FROM members GROUP BY side), \
                 found AS (SELECT {function} AS s FROM sides AS a, sides AS b WHERE a.side = 0 AND b.side = 1) \
                 SELECT s['p_value'] < 0.001 FROM found"
            )
        };
        let adjusted = of("adjusted_shift(a.value, a.before, b.value, b.before, 0.99)");
        assert_eq!(ask(&engine, &adjusted).await, ["true"]);
        assert_eq!(
            ask(&engine, &of("shift(a.value, b.value)")).await,
            ["false"]
        );
        let explained = "SELECT adjusted_shift([1, 2, 3, 4], [1, 2, 3, 4], [2, 3, 4, 5], [1, 2, 3, 4])['explained'] > 0.99";
        assert_eq!(ask(&engine, explained).await, ["true"]);
        let wrong = "SELECT adjusted_shift([1, 2], [1], [1, 2], [1, 2], 0.9)";
        let refused = engine.collect(wrong, &QueryOptions::default()).await;
        let refused = refused.expect_err("one is missing").to_string();
        assert!(refused.contains("2 values and 1 from before"), "{refused}");
    }
}
