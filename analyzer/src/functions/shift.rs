//! `shift(list_a, list_b [, confidence])`: from one sample to another, as a struct.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Float64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use driftline_stats::{self as stats, Shift};

use super::{coerce_list, numbers, returned};

/// The confidence of the interval where none is given.
const DEFAULT_CONFIDENCE: f64 = 0.99;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ShiftFunction {
    signature: Signature,
}

impl ShiftFunction {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

pub(super) fn fields() -> Fields {
    let float = |name: &str| Field::new(name, DataType::Float64, true);
    let integer = |name: &str| Field::new(name, DataType::Int64, true);
    Fields::from(vec![
        float("shift"),
        float("ci_lo"),
        float("ci_hi"),
        float("p_value"),
        integer("n_a"),
        integer("n_b"),
        float("effective_a"),
        float("effective_b"),
    ])
}

impl ScalarUDFImpl for ShiftFunction {
    fn name(&self) -> &str {
        "shift"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [a, b] => Ok(vec![coerce_list("shift", a)?, coerce_list("shift", b)?]),
            // A parameter has no type until its value is bound.
            [a, b, confidence] if confidence.is_numeric() || confidence.is_null() => Ok(vec![
                coerce_list("shift", a)?,
                coerce_list("shift", b)?,
                DataType::Float64,
            ]),
            _ => plan_err!("shift takes two lists and a confidence: shift(list_a, list_b, 0.99)"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(fields()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [a, b, ..] = arrays.as_slice() else {
            return exec_err!("shift takes two lists");
        };
        let mut rows = Vec::with_capacity(a.len());
        for row in 0..a.len() {
            let confidence = confidence(self.name(), arrays.get(2), row)?;
            let a = numbers(a, row).unwrap_or_default();
            let b = numbers(b, row).unwrap_or_default();
            rows.push((a.len(), b.len(), stats::shift(&a, &b, confidence)));
        }
        let structs = StructArray::try_new(fields(), columns(&rows), None)?;
        returned(&args.args, Arc::new(structs))
    }
}

/// The confidence that is asked for in a row.
pub(super) fn confidence(function: &str, given: Option<&ArrayRef>, row: usize) -> Result<f64> {
    let given = given.map(|given| given.as_primitive::<Float64Type>());
    let confidence = given.map_or(DEFAULT_CONFIDENCE, |given| given.value(row));
    if confidence > 0.0 && confidence < 1.0 {
        return Ok(confidence);
    }
    exec_err!("{function} takes a confidence between 0 and 1, not {confidence}")
}

/// The columns of [`fields`]. The sizes stand also where there is nothing to compare.
pub(super) fn columns(rows: &[(usize, usize, Option<Shift>)]) -> Vec<ArrayRef> {
    let floats = |value: fn(&Shift) -> Option<f64>| -> ArrayRef {
        let column = rows
            .iter()
            .map(|(_, _, shift)| shift.as_ref().and_then(value));
        Arc::new(column.collect::<Float64Array>())
    };
    // A list in memory is far shorter than an i64 counts.
    let sizes = |size: fn(&(usize, usize, Option<Shift>)) -> usize| -> ArrayRef {
        Arc::new(
            rows.iter()
                .map(|row| Some(size(row) as i64))
                .collect::<Int64Array>(),
        )
    };
    vec![
        floats(|shift| Some(shift.shift)),
        floats(|shift| shift.ci_lo),
        floats(|shift| shift.ci_hi),
        floats(|shift| Some(shift.p_value)),
        sizes(|row| row.0),
        sizes(|row| row.1),
        floats(|shift| Some(shift.effective_a)),
        floats(|shift| Some(shift.effective_b)),
    ]
}
