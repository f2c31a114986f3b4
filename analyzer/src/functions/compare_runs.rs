//! `compare_runs(runs_a, runs_b)`: what got slower from some load runs to others, as a list of structs.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StringArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use driftline_stats::runs::{Comparison, Metric, Options, Verdict, compare};

use super::{float_list, item_of, numbers, returned};

const TAKES: &str = "compare_runs takes two lists of runs, each a list of latencies in the order of \
                     measurement: compare_runs(array_agg(latencies) FILTER (WHERE arm = 'A'), …)";

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct CompareRunsFunction {
    signature: Signature,
}

impl CompareRunsFunction {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

fn fields() -> Fields {
    let float = |name: &str| Field::new(name, DataType::Float64, true);
    Fields::from(vec![
        Field::new("metric", DataType::Utf8, true),
        Field::new("verdict", DataType::Utf8, true),
        float("effect_pct"),
        float("ci_lo_pct"),
        float("ci_hi_pct"),
        float("detectable_pct"),
        Field::new("more_runs", DataType::Int64, true),
    ])
}

impl ScalarUDFImpl for CompareRunsFunction {
    fn name(&self) -> &str {
        "compare_runs"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let of_lists = |argument: &DataType| match argument {
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                item.data_type().is_list() || item.data_type().is_null()
            }
            other => other.is_null(),
        };
        match types {
            [a, b] if of_lists(a) && of_lists(b) => {
                let runs = DataType::new_list(float_list(), true);
                Ok(vec![runs.clone(), runs])
            }
            _ => plan_err!("{TAKES}"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(item_of(fields())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [a, b] = arrays.as_slice() else {
            return exec_err!("{TAKES}");
        };
        let mut found: Vec<Comparison> = Vec::new();
        let mut lengths = Vec::with_capacity(a.len());
        for row in 0..a.len() {
            let compared = compare(&runs(a, row), &runs(b, row), &Options::default());
            lengths.push(compared.metrics.len());
            found.extend(compared.metrics);
        }
        let list = ListArray::try_new(
            item_of(fields()),
            OffsetBuffer::from_lengths(lengths),
            Arc::new(columns(&found)?),
            None,
        )?;
        returned(&args.args, Arc::new(list))
    }
}

/// The runs of one row; a run that is null has no latencies.
fn runs(sides: &ArrayRef, row: usize) -> Vec<Vec<f64>> {
    let sides = sides.as_list::<i32>();
    if sides.is_null(row) {
        return Vec::new();
    }
    let runs = sides.value(row);
    let runs = (0..runs.len()).map(|run| numbers(&runs, run).unwrap_or_default());
    runs.collect()
}

fn columns(found: &[Comparison]) -> Result<StructArray> {
    let texts = |text: fn(&Comparison) -> &'static str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(found.iter().map(text)))
    };
    let floats = |value: fn(&Comparison) -> Option<f64>| -> ArrayRef {
        Arc::new(found.iter().map(value).collect::<Float64Array>())
    };
    // At most a thousand.
    let more_runs = found.iter().map(|found| found.more_runs.map(|n| n as i64));
    let columns: Vec<ArrayRef> = vec![
        texts(|found| match found.metric {
            Metric::P50 => "p50",
            Metric::P95 => "p95",
            Metric::P99 => "p99",
            Metric::Mean => "mean",
            Metric::Rate => "rate",
            Metric::ErrorRate => "errors",
        }),
        texts(|found| match found.verdict {
            Verdict::Regression => "regression",
            Verdict::Improvement => "improvement",
            Verdict::NoChange => "no change",
            Verdict::TooLittleData => "too little data",
        }),
        floats(|found| found.effect_pct),
        floats(|found| found.ci_lo_pct),
        floats(|found| found.ci_hi_pct),
        floats(|found| found.detectable_pct),
        Arc::new(more_runs.collect::<Int64Array>()),
    ];
    Ok(StructArray::try_new(fields(), columns, None)?)
}

#[cfg(test)]
mod tests {
    use crate::QueryOptions;
    use crate::testing::{ask, engine, lake};

    /// Five runs a side of 60 latencies that differ by a fixed pattern; the second side by a factor.
    fn runs(factor: f64) -> String {
        format!(
            "WITH latencies AS ( \
                 SELECT side, run, array_agg((10 + 0.01 * ((n * 7919 + run * 104729 + side * 31) % 101)) \
                     * CASE side WHEN 1 THEN {factor} ELSE 1 END ORDER BY n) AS run_latencies \
                 FROM unnest(range(0, 60)) AS t (n), unnest(range(0, 5)) AS r (run), unnest([0, 1]) AS s (side) \
                 GROUP BY side, run), \
             found AS (SELECT unnest(compare_runs( \
                 array_agg(run_latencies ORDER BY run) FILTER (WHERE side = 0), \
                 array_agg(run_latencies ORDER BY run) FILTER (WHERE side = 1))) AS f FROM latencies) \
             SELECT f['metric'], f['verdict'], f['effect_pct'] BETWEEN 19 AND 21 FROM found"
        )
    }

    #[tokio::test]
    async fn runs_are_compared_in_sql() {
        let (_dir, lake) = lake(&[], &[]);
        let engine = engine(lake).await;
        let slower = ask(&engine, &runs(1.2)).await;
        assert_eq!(slower.len(), 4, "{slower:?}");
        assert_eq!(slower[0], "p50|regression|true");
        assert_eq!(ask(&engine, &runs(1.0)).await[0], "p50|no change|false");
        let none = "SELECT unnest(compare_runs([[1.0]], NULL))['verdict']";
        assert_eq!(ask(&engine, none).await[0], "too little data");
        let flat = engine
            .collect(
                "SELECT compare_runs([1.0], [2.0])",
                &QueryOptions::default(),
            )
            .await;
        let refused = flat.expect_err("no runs").to_string();
        assert!(refused.contains("two lists of runs"), "{refused}");
    }
}
