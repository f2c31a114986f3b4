//! `list_median`, `list_mad` and `list_quantile`: one number about a list of numbers.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::{coerce_list, float_list, numbers, returned};
use driftline_stats as stats;

/// What to say about the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum About {
    Median,
    Mad,
    Quantile,
}

/// One of the functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ListFunction {
    about: About,
    signature: Signature,
}

/// All of them.
pub(super) fn all() -> impl Iterator<Item = ListFunction> {
    let function = |about| ListFunction {
        about,
        signature: Signature::user_defined(Volatility::Immutable),
    };
    [About::Median, About::Mad, About::Quantile]
        .into_iter()
        .map(function)
}

impl ScalarUDFImpl for ListFunction {
    fn name(&self) -> &str {
        match self.about {
            About::Median => "list_median",
            About::Mad => "list_mad",
            About::Quantile => "list_quantile",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match (self.about, types) {
            (About::Median | About::Mad, [list]) => Ok(vec![coerce_list(self.name(), list)?]),
            // A parameter has no type until its value is bound.
            (About::Quantile, [list, p]) if p.is_numeric() || p.is_null() => {
                Ok(vec![coerce_list(self.name(), list)?, DataType::Float64])
            }
            (About::Quantile, _) => plan_err!("it takes two arguments: list_quantile(list, 0.95)"),
            _ => plan_err!("{} takes one list of numbers", self.name()),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(lists) = arrays
            .first()
            .filter(|lists| *lists.data_type() == float_list())
        else {
            return exec_err!("{} takes a list of numbers", self.name());
        };
        let ps = arrays.get(1).map(|p| p.as_primitive::<Float64Type>());
        let value = |row: usize| -> Result<Option<f64>> {
            let p = ps.map(|p| p.value(row)).unwrap_or_default();
            if !(0.0..=1.0).contains(&p) {
                return exec_err!("list_quantile takes a share from 0 to 1, not {p}");
            }
            let Some(mut values) = numbers(lists, row) else {
                return Ok(None);
            };
            Ok(match self.about {
                About::Median => stats::median(&values),
                About::Mad => stats::mad(&values),
                About::Quantile => stats::quantile(&mut values, p),
            })
        };
        let values: Float64Array = (0..lists.len()).map(value).collect::<Result<_>>()?;
        let values: ArrayRef = Arc::new(values);
        returned(&args.args, values)
    }
}
