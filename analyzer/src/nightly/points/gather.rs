//! Rows of a query as series, while they come: tens of millions of them are never held as texts.

use std::collections::HashMap;

use arrow::array::{Array as _, AsArray as _, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use futures::TryStreamExt as _;

use super::PointSeries;
use crate::engine::{Engine, EngineError, QueryOptions};
use crate::rule::Rule;

/// What tells series apart, in the order of the columns; and what is said of each besides.
const KEYS: [&str; 5] = ["component", "host", "metric", "labels", "unit"];
const BETTER: &str = "better";

/// Series that have come so far.
#[derive(Default)]
struct Gathered {
    series: Vec<PointSeries>,
    places: HashMap<[String; 5], usize>,
}

/// The series of a query's rows, in order of their names, each in order of time. A value that is
/// missing or no number leaves a series without a point, not without itself. Of several values of one
/// time the one in the middle counts.
pub(super) async fn gather(
    engine: &Engine,
    rule: &Rule,
    options: &QueryOptions,
) -> Result<Vec<PointSeries>, EngineError> {
    let mut rows = engine.query(&rule.sql, options).await?;
    let mut gathered = Gathered::default();
    while let Some(batch) = rows
        .try_next()
        .await
        .map_err(|error| engine.explain(error))?
    {
        gathered.add(rule, &batch)?;
    }
    Ok(gathered.finish())
}

impl Gathered {
    fn add(&mut self, rule: &Rule, batch: &RecordBatch) -> Result<(), EngineError> {
        let column = |name: &str, wanted: &DataType| {
            let missing = || EngineError::Column {
                rule: rule.id.clone(),
                column: name.to_owned(),
            };
            let column = batch.column_by_name(name).ok_or_else(missing)?;
            cast(column, wanted).map_err(|_| missing())
        };
        let text = |name: &str| -> Result<StringArray, EngineError> {
            Ok(column(name, &DataType::Utf8)?.as_string::<i32>().clone())
        };
        let mut keys: Vec<StringArray> = Vec::with_capacity(KEYS.len());
        for name in KEYS {
            keys.push(text(name)?);
        }
        let better = text(BETTER)?;
        let at_s = column("at_s", &DataType::Int64)?;
        let at_s = at_s.as_primitive::<Int64Type>();
        let values = column("value", &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>();
        let mut last: Option<(usize, usize)> = None;
        for row in 0..batch.num_rows() {
            // Neighbours are of one series more often than not.
            let same = |before: usize| keys.iter().all(|key| key.value(row) == key.value(before));
            let place = match last {
                Some((before, place)) if same(before) => place,
                _ => self.place(keys.iter().map(|key| key.value(row)), better.value(row)),
            };
            last = Some((row, place));
            let value = values.is_valid(row).then(|| values.value(row));
            if let Some(value) = value.filter(|value| value.is_finite()) {
                let series = &mut self.series[place];
                series.at_s.push(at_s.value(row));
                series.values.push(value);
            }
        }
        Ok(())
    }

    fn place<'k>(&mut self, keys: impl Iterator<Item = &'k str>, better: &str) -> usize {
        let mut key: [String; 5] = Default::default();
        for (slot, word) in key.iter_mut().zip(keys) {
            word.clone_into(slot);
        }
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        let place = self.series.len();
        let [component, host, metric, labels, unit] = key.clone();
        self.places.insert(key, place);
        self.series.push(PointSeries {
            component,
            host,
            metric,
            labels,
            unit,
            better: better.to_owned(),
            at_s: Vec::new(),
            values: Vec::new(),
        });
        place
    }

    fn finish(mut self) -> Vec<PointSeries> {
        for series in &mut self.series {
            in_order(series);
        }
        self.series.sort_by(|a, b| {
            (a.component.cmp(&b.component))
                .then_with(|| a.host.cmp(&b.host))
                .then_with(|| a.metric.cmp(&b.metric))
                .then_with(|| a.labels.cmp(&b.labels))
                .then_with(|| a.unit.cmp(&b.unit))
        });
        self.series
    }
}

/// Puts points in order of time, one for each time.
fn in_order(series: &mut PointSeries) {
    if series.at_s.is_sorted_by(|a, b| a < b) {
        return;
    }
    let mut points: Vec<(i64, f64)> = series.at_s.drain(..).zip(series.values.drain(..)).collect();
    points.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    for same in points.chunk_by(|a, b| a.0 == b.0) {
        let (at_s, value) = same[(same.len() - 1) / 2];
        series.at_s.push(at_s);
        series.values.push(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_put_in_order_one_for_each_time() {
        let mut gathered = Gathered::default();
        let key = ["host", "h", "m", "", "s"];
        let place = gathered.place(key.into_iter(), "lower");
        assert_eq!(gathered.place(key.into_iter(), "lower"), place);
        let series = &mut gathered.series[place];
        series.at_s = vec![3, 1, 2, 1, 1];
        series.values = vec![30.0, 12.0, 20.0, 10.0, 11.0];
        gathered.place(["host", "a", "m", "", "s"].into_iter(), "lower");
        let series = gathered.finish();
        let hosts: Vec<&str> = series.iter().map(|s| s.host.as_str()).collect();
        assert_eq!(hosts, ["a", "h"]);
        assert_eq!(series[1].at_s, [1, 2, 3]);
        assert_eq!(series[1].values, [11.0, 20.0, 30.0]);
    }
}
