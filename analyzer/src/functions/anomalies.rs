//! `anomalies(values, seconds)`: what was unusual in a series when it came, by its past alone.

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
use driftline_stats::anomaly::{Anomaly, Direction, Options, detect};

use super::{coerce_list, item_of, returned};

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct AnomaliesFunction {
    signature: Signature,
}

impl AnomaliesFunction {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

fn fields() -> Fields {
    Fields::from(vec![
        // From 1, as lists are counted in SQL.
        Field::new("place", DataType::Int64, true),
        Field::new("at_s", DataType::Int64, true),
        Field::new("score", DataType::Float64, true),
        Field::new("expected", DataType::Float64, true),
        Field::new("direction", DataType::Utf8, true),
    ])
}

fn seconds() -> DataType {
    DataType::new_list(DataType::Int64, true)
}

impl ScalarUDFImpl for AnomaliesFunction {
    fn name(&self) -> &str {
        "anomalies"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [values, times] => {
                coerce_list("anomalies", times)?;
                Ok(vec![coerce_list("anomalies", values)?, seconds()])
            }
            _ => plan_err!(
                "anomalies takes two lists: anomalies(array_agg(value ORDER BY ts), array_agg(CAST(ts AS BIGINT) / 1000000 ORDER BY ts))"
            ),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(item_of(fields())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [values, times] = arrays.as_slice() else {
            return exec_err!("anomalies takes two lists");
        };
        let (values, times) = (values.as_list::<i32>(), times.as_list::<i32>());
        let (mut found, mut lengths) = (Vec::new(), Vec::with_capacity(values.len()));
        for row in 0..values.len() {
            let before = found.len();
            if values.is_valid(row) && times.is_valid(row) {
                let (values, at_s) = points(&values.value(row), &times.value(row))?;
                let anomalies = detect(&at_s, &values, Options::default());
                let timed = anomalies.into_iter().map(|anomaly| {
                    // As many as there are values, so it fits.
                    let at_s = at_s.get(anomaly.index as usize).copied();
                    (anomaly, at_s)
                });
                found.extend(timed);
            }
            lengths.push(found.len() - before);
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

/// Values with their times; a value that is missing keeps its place.
fn points(values: &ArrayRef, times: &ArrayRef) -> Result<(Vec<f64>, Vec<i64>)> {
    let times = times.as_primitive::<Int64Type>();
    if times.len() != values.len() || times.null_count() > 0 {
        return exec_err!(
            "anomalies takes a time for each value: {} values and {} times",
            values.len(),
            times.len() - times.null_count()
        );
    }
    let values = values.as_primitive::<Float64Type>();
    let values = values.iter().map(|value| value.unwrap_or(f64::NAN));
    Ok((values.collect(), times.values().to_vec()))
}

fn columns(found: &[(Anomaly, Option<i64>)]) -> Result<StructArray> {
    let places = found.iter().map(|(anomaly, _)| anomaly.index as i64 + 1);
    let directions = found.iter().map(|(anomaly, _)| match anomaly.direction {
        Direction::Up => "up",
        Direction::Down => "down",
    });
    let floats = |value: fn(&Anomaly) -> f64| -> ArrayRef {
        let values = found.iter().map(|(anomaly, _)| Some(value(anomaly)));
        Arc::new(values.collect::<Float64Array>())
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(places)),
        Arc::new(found.iter().map(|(_, at_s)| *at_s).collect::<Int64Array>()),
        floats(|anomaly| anomaly.score),
        floats(|anomaly| anomaly.expected),
        Arc::new(StringArray::from_iter_values(directions)),
    ];
    Ok(StructArray::try_new(fields(), columns, None)?)
}

#[cfg(test)]
mod tests {
    use crate::engine::QueryOptions;
    use crate::testing::{ask, engine, lake};

    #[tokio::test]
    async fn a_spike_is_found_in_sql_and_quiet_is_not() {
        let (_dir, lake) = lake(&[], &[]);
        let engine = engine(lake).await;
        let series = |spike: &str| {
            format!(
                "WITH found AS ( \
                     SELECT unnest(anomalies( \
                         array_agg({spike} + 0.1 * ((n * 7919) % 11) ORDER BY n), \
                         array_agg(300 * n ORDER BY n))) AS a \
                     FROM unnest(range(1, 1001)) AS t (n) \
                 ) SELECT a['place'], a['at_s'], a['direction'] FROM found"
            )
        };
        let spike = series("CASE WHEN n = 900 THEN 50.0 ELSE 10.0 END");
        assert_eq!(ask(&engine, &spike).await, ["900|270000|up"]);
        assert!(ask(&engine, &series("10.0")).await.is_empty());
        let none = "SELECT cardinality(anomalies([1.0, NULL], [1, 2])), anomalies(NULL, [1])";
        assert_eq!(ask(&engine, none).await, ["0|[]"]);
        let uneven = "SELECT anomalies([1.0, 2.0], [1])";
        let asked = engine.collect(uneven, &QueryOptions::default()).await;
        assert!(asked.is_err());
    }
}
