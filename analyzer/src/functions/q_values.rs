//! `benjamini_hochberg(p_values)`: p-values of many tests at once, corrected for their number.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Float64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::{coerce_list, float_list, returned};

const NAME: &str = "benjamini_hochberg";

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct QValuesFunction {
    signature: Signature,
}

impl QValuesFunction {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for QValuesFunction {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [list] => Ok(vec![coerce_list(NAME, list)?]),
            _ => plan_err!("{NAME} takes one list: {NAME}(array_agg(p_value))"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(float_list())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(lists) = arrays.first() else {
            return exec_err!("{NAME} takes one list");
        };
        let lists = lists.as_list::<i32>();
        let (mut found, mut lengths) = (Vec::new(), Vec::with_capacity(lists.len()));
        for row in 0..lists.len() {
            let of_row = match lists.is_null(row) {
                true => Vec::new(),
                false => q_values(&lists.value(row))?,
            };
            lengths.push(of_row.len());
            found.extend(of_row);
        }
        let nulls: Option<NullBuffer> = lists.nulls().cloned();
        let list = ListArray::try_new(
            Arc::new(Field::new_list_field(DataType::Float64, true)),
            OffsetBuffer::from_lengths(lengths),
            Arc::new(Float64Array::from(found)),
            nulls,
        )?;
        returned(&args.args, Arc::new(list))
    }
}

/// What was not tested has no q-value, and is not counted.
fn q_values(p_values: &ArrayRef) -> Result<Vec<Option<f64>>> {
    let p_values = p_values.as_primitive::<Float64Type>();
    let tested: Vec<f64> = p_values.iter().flatten().collect();
    if let Some(wrong) = tested.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return exec_err!("{NAME} takes p-values from 0 to 1, not {wrong}");
    }
    let mut adjusted = driftline_stats::benjamini_hochberg(&tested).into_iter();
    let each = p_values.iter().map(|p| p.and_then(|_| adjusted.next()));
    Ok(each.collect())
}

#[cfg(test)]
mod tests {
    use crate::QueryOptions;
    use crate::testing::{ask, engine, lake};

    #[tokio::test]
    async fn p_values_are_corrected_in_their_order() {
        let (_dir, lake) = lake(&[], &[]);
        let engine = engine(lake).await;
        // R: p.adjust(c(0.01, 0.04, 0.03, 0.005, 0.8), "BH")
        let sql = "SELECT array_to_string(benjamini_hochberg([0.01, 0.04, NULL, 0.03, 0.005, 0.8]), ' ', '-')";
        assert_eq!(ask(&engine, sql).await, ["0.025 0.05 - 0.05 0.025 0.8"]);
        let rows = "SELECT benjamini_hochberg(p) IS NULL FROM (VALUES ([0.5]), (NULL)) AS t (p)";
        assert_eq!(ask(&engine, rows).await, ["false", "true"]);
        let wrong = "SELECT benjamini_hochberg([0.5, 1.5])";
        let refused = engine.collect(wrong, &QueryOptions::default()).await;
        let refused = refused.expect_err("no p-value").to_string();
        assert!(refused.contains("not 1.5"), "{refused}");
    }
}
