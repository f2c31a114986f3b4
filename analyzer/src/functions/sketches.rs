//! `sketch_quantile(sketch, p)`: a quantile of what a rollup's sketch has seen.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use driftline_stats::Sketch;

use super::returned;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SketchQuantile {
    signature: Signature,
}

impl SketchQuantile {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for SketchQuantile {
    fn name(&self) -> &str {
        "sketch_quantile"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [sketch, p]
                if matches!(
                    sketch,
                    DataType::Binary
                        | DataType::LargeBinary
                        | DataType::BinaryView
                        | DataType::Null
                ) && (p.is_numeric() || p.is_null()) =>
            {
                Ok(vec![DataType::Binary, DataType::Float64])
            }
            _ => plan_err!(
                "sketch_quantile takes a sketch and a share: sketch_quantile(sketch, 0.95)"
            ),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [sketches, ps] = arrays.as_slice() else {
            return exec_err!("sketch_quantile takes a sketch and a share");
        };
        let (sketches, ps) = (
            sketches.as_binary::<i32>(),
            ps.as_primitive::<Float64Type>(),
        );
        let value = |row: usize| -> Result<Option<f64>> {
            let p = ps.value(row);
            if !(0.0..=1.0).contains(&p) {
                return exec_err!("sketch_quantile takes a share from 0 to 1, not {p}");
            }
            if sketches.is_null(row) {
                return Ok(None);
            }
            match Sketch::decode(sketches.value(row)) {
                Ok(sketch) => Ok(sketch.quantile(p)),
                Err(error) => exec_err!("this is no sketch: {error}"),
            }
        };
        let values: Float64Array = (0..sketches.len()).map(value).collect::<Result<_>>()?;
        let values: ArrayRef = Arc::new(values);
        returned(&args.args, values)
    }
}
