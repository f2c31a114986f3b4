//! `human(value, unit)`: a number as a person writes it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

const NAME: &str = "human";
const KIBI: f64 = 1_024.0;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Human {
    signature: Signature,
}

impl Human {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Human {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let texts = |unit: &DataType| match unit {
            DataType::Dictionary(_, value) => value.is_string(),
            unit => unit.is_string() || unit.is_null(),
        };
        match types {
            // A parameter has no type until its value is bound.
            [value, unit] if (value.is_numeric() || value.is_null()) && texts(unit) => {
                Ok(vec![DataType::Float64, DataType::Utf8])
            }
            _ => plan_err!("{NAME} takes a number and its unit: {NAME}(0.5, 's')"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [values, units] = args.args.as_slice() else {
            return exec_err!("{NAME} takes a number and its unit");
        };
        let values = values.to_array(args.number_rows)?;
        let units = units.to_array(args.number_rows)?;
        let (values, units) = (
            values.as_primitive::<Float64Type>(),
            units.as_string::<i32>(),
        );
        let text = |row: usize| {
            (values.is_valid(row) && units.is_valid(row))
                .then(|| human(values.value(row), units.value(row)))
        };
        let texts: StringArray = (0..args.number_rows).map(text).collect();
        let texts: ArrayRef = Arc::new(texts);
        Ok(ColumnarValue::Array(texts))
    }
}

/// Three digits and the unit that fits: times from nanoseconds to days, bytes in powers of 1,024,
/// ratios as percent, and large numbers with k, M or G.
pub(crate) fn human(value: f64, unit: &str) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    match unit {
        "s" => scaled(
            value,
            &[
                (86_400.0, " d"),
                (3_600.0, " h"),
                (60.0, " min"),
                (1.0, " s"),
                (1e-3, " ms"),
                (1e-6, " µs"),
                (1e-9, " ns"),
            ],
        ),
        "By" => scaled(
            value,
            &[
                (KIBI * KIBI * KIBI * KIBI, " TiB"),
                (KIBI * KIBI * KIBI, " GiB"),
                (KIBI * KIBI, " MiB"),
                (KIBI, " KiB"),
                (1.0, " B"),
            ],
        ),
        "1" => format!("{} %", digits(value * 100.0)),
        _ => scaled(value, &[(1e9, "G"), (1e6, "M"), (1e4, ""), (1.0, "")]),
    }
}

/// In the largest unit that the value reaches. Ten thousand and more of a thing are told in `k`.
fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    if value == 0.0 {
        let least = units.iter().find(|(size, _)| *size == 1.0);
        return format!("0{}", least.map_or("", |(_, name)| name));
    }
    let found = units.iter().find(|(size, _)| value.abs() >= *size);
    let Some((size, name)) = found.or(units.last()) else {
        return digits(value);
    };
    if *size == 1e4 {
        return format!("{}k", digits(value / 1e3));
    }
    format!("{}{name}", digits(value / size))
}

/// Three digits, and no zeros behind the point.
fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        large if large >= 99.95 => 0,
        middle if middle >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_do() {
        for (value, unit, text) in [
            (0.0123, "s", "12.3 ms"),
            (0.0, "s", "0 s"),
            (90.0, "s", "1.5 min"),
            (-7200.0, "s", "-2 h"),
            (2e-10, "s", "0.2 ns"),
            (5e9, "By", "4.66 GiB"),
            (12.0, "By", "12 B"),
            (0.42, "1", "42 %"),
            (0.99956, "1", "100 %"),
            (0.9912, "1", "99.1 %"),
            (1234.0, "{row}", "1234"),
            (1.0, "{row}", "1"),
            (0.25, "{row}", "0.25"),
            (45_600.0, "{row}", "45.6k"),
            (4.2e6, "{row}", "4.2M"),
            (f64::NAN, "s", "NaN"),
        ] {
            assert_eq!(human(value, unit), text, "{value} {unit}");
        }
    }
}
