//! Series out of the tables, minute by minute.

use std::time::Duration;

use anyhow::Context as _;
use arrow::array::AsArray as _;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use driftline_analyzer::rule::{integer, text};
use driftline_analyzer::{At, QueryOptions};

use super::input::SeriesInput;
use crate::cli::Settings;
use crate::{facts, query};

/// The medians of each minute, of gauges and of counters' rates.
const SQL: &str = "SELECT metric, labels, host, CAST(date_bin(INTERVAL '1 minute', ts) AS BIGINT) / 1000000 AS minute, \
     list_median(array_agg(value)) AS value \
     FROM derived_series \
     WHERE CAST(ts AS BIGINT) >= $from_us AND (CAST($metric AS VARCHAR) = '' OR metric = $metric) \
     GROUP BY metric, labels, host, date_bin(INTERVAL '1 minute', ts) \
     ORDER BY metric, labels, host, minute";

/// Every series of the last while; of one metric where one is named.
pub(super) fn read(
    settings: &Settings,
    last: Duration,
    metric: Option<&str>,
) -> anyhow::Result<Vec<SeriesInput>> {
    let from_us = facts::now_us() - i64::try_from(last.as_micros())?;
    let options = QueryOptions {
        parameters: vec![
            ("from_us".to_owned(), integer(from_us)),
            ("metric".to_owned(), text(metric.unwrap_or_default())),
        ],
        timeout: None,
    };
    let rows = query::runtime()?.block_on(async {
        let engine = query::open(settings, At::Latest, &[]).await?;
        anyhow::Ok(engine.collect(SQL, &options).await?)
    })?;
    let mut all: Vec<SeriesInput> = Vec::new();
    for batch in &rows.batches {
        let column = |name: &str, wanted: &DataType| {
            let column = batch
                .column_by_name(name)
                .context("the query has this column")?;
            anyhow::Ok(cast(column, wanted)?)
        };
        let texts = [
            column("metric", &DataType::Utf8)?,
            column("labels", &DataType::Utf8)?,
            column("host", &DataType::Utf8)?,
        ];
        let [metric, labels, host] = [0, 1, 2].map(|at| texts[at].as_string::<i32>());
        let minute = column("minute", &DataType::Int64)?;
        let value = column("value", &DataType::Float64)?;
        let (minute, value) = (
            minute.as_primitive::<Int64Type>(),
            value.as_primitive::<Float64Type>(),
        );
        for row in 0..batch.num_rows() {
            let name = name(metric.value(row), labels.value(row), host.value(row));
            if all.last().is_none_or(|series| series.name != name) {
                all.push(SeriesInput {
                    name,
                    timestamps: Vec::new(),
                    values: Vec::new(),
                });
            }
            let series = all.last_mut().expect("one was just pushed");
            series.timestamps.push(minute.value(row));
            series.values.push(value.value(row));
        }
    }
    Ok(all)
}

/// The name that the fleet reads its labels from.
fn name(metric: &str, labels: &str, host: &str) -> String {
    match labels {
        "" => format!("{metric}{{host={host}}}"),
        labels => format!("{metric}{{host={host},{labels}}}"),
    }
}
