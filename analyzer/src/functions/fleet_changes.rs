//! `fleet_changes(labels, seconds, values)`: what moved together in a fleet, as a list of structs.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, ListBuilder, StringArray,
    StringBuilder, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Float64Type, Int64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use driftline_schemas::label_pairs;
use driftline_stats::fleet::{self, Event, Grid, Options, TimedSeries};

use super::{float_list, item_of, returned};

const TAKES: &str = "fleet_changes takes three lists of one length: labels as text, such as 'host=a,metric=b', and of each series the seconds and the values in order of time; gather them with array_agg";

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct FleetChangesFunction {
    signature: Signature,
}

impl FleetChangesFunction {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

/// An event with what it needs to be told.
struct Told {
    event: Event,
    at_s: i64,
    moved: Vec<String>,
}

fn texts() -> DataType {
    DataType::new_list(DataType::Utf8, true)
}

fn fields() -> Fields {
    let float = |name: &str| Field::new(name, DataType::Float64, true);
    Fields::from(vec![
        Field::new("rank", DataType::Int64, true),
        Field::new("at_s", DataType::Int64, true),
        Field::new("labels", DataType::Utf8, true),
        Field::new("series", DataType::Int64, true),
        Field::new("moved", texts(), true),
        float("effect_pct"),
        float("ci_lo_pct"),
        float("ci_hi_pct"),
        float("p_value"),
    ])
}

impl ScalarUDFImpl for FleetChangesFunction {
    fn name(&self) -> &str {
        "fleet_changes"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let is_list = |data_type: &DataType| {
            matches!(
                data_type,
                DataType::List(_)
                    | DataType::LargeList(_)
                    | DataType::FixedSizeList(_, _)
                    | DataType::Null
            )
        };
        if types.len() != 3 || !types.iter().all(is_list) {
            return plan_err!("{TAKES}");
        }
        let seconds = DataType::new_list(DataType::Int64, true);
        Ok(vec![
            texts(),
            DataType::new_list(seconds, true),
            DataType::new_list(float_list(), true),
        ])
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(item_of(fields())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [labels, seconds, values] = arrays.as_slice() else {
            return exec_err!("{TAKES}");
        };
        let (labels, seconds, values) = (
            labels.as_list::<i32>(),
            seconds.as_list::<i32>(),
            values.as_list::<i32>(),
        );
        let (mut found, mut lengths) = (Vec::new(), Vec::with_capacity(labels.len()));
        for row in 0..labels.len() {
            let before = found.len();
            if labels.is_valid(row) && seconds.is_valid(row) && values.is_valid(row) {
                let fleet = fleet_of(&labels.value(row), &seconds.value(row), &values.value(row))?;
                found.extend(events(fleet));
            }
            lengths.push(found.len() - before);
        }
        let array: ArrayRef = Arc::new(ListArray::try_new(
            item_of(fields()),
            OffsetBuffer::from_lengths(lengths),
            Arc::new(columns(&found)?),
            None,
        )?);
        returned(&args.args, array)
    }
}

/// The series of one row, in the order of their labels, so that the order in which they were gathered
/// changes nothing. Samples without a time are left out, and those without a value are gaps.
fn fleet_of(labels: &ArrayRef, seconds: &ArrayRef, values: &ArrayRef) -> Result<Vec<TimedSeries>> {
    let labels = labels.as_string::<i32>();
    let (seconds, values) = (seconds.as_list::<i32>(), values.as_list::<i32>());
    if labels.len() != seconds.len() || labels.len() != values.len() {
        return exec_err!(
            "{TAKES}: here are {} labels, {} lists of seconds and {} of values",
            labels.len(),
            seconds.len(),
            values.len()
        );
    }
    let mut fleet = Vec::with_capacity(labels.len());
    for series in 0..labels.len() {
        if !(labels.is_valid(series) && seconds.is_valid(series) && values.is_valid(series)) {
            continue;
        }
        let name = labels.value(series);
        let is_pairs = name.is_empty() || name.contains('=');
        let Some(pairs) = label_pairs(name).filter(|_| is_pairs) else {
            return exec_err!("{name:?} are no labels; write them as in 'host=a,metric=b'");
        };
        let (seconds, values) = (seconds.value(series), values.value(series));
        if seconds.len() != values.len() {
            return exec_err!(
                "fleet_changes takes a time for each value: {name:?} has {} values and {} times",
                values.len(),
                seconds.len()
            );
        }
        let values = values.as_primitive::<Float64Type>();
        let samples = seconds.as_primitive::<Int64Type>().iter().zip(values);
        let mut samples: Vec<(i64, f64)> = samples
            .filter_map(|(at_s, value)| Some((at_s?, value.unwrap_or(f64::NAN))))
            .collect();
        samples.sort_by_key(|(at_s, _)| *at_s);
        let (times, values) = samples.into_iter().unzip();
        fleet.push(TimedSeries {
            name: name.to_owned(),
            labels: pairs,
            times,
            values,
        });
    }
    fleet.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(fleet)
}

fn events(fleet: Vec<TimedSeries>) -> Vec<Told> {
    let grid = Grid::of(fleet);
    let options = Options {
        period: grid.per_day(),
        ..Options::default()
    };
    let told = |event: Event| {
        let moved = event.members.iter().filter(|member| member.moved);
        Told {
            at_s: grid.time(event.index),
            moved: moved
                .map(|member| grid.series[member.series].name.clone())
                .collect(),
            event,
        }
    };
    fleet::detect(&grid.series, &options)
        .into_iter()
        .map(told)
        .collect()
}

fn columns(found: &[Told]) -> Result<StructArray> {
    let integers = |value: &dyn Fn(&Told) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(found.iter().map(value)))
    };
    let floats = |value: fn(&Event) -> f64| -> ArrayRef {
        let values = found.iter().map(|told| value(&told.event));
        Arc::new(Float64Array::from_iter_values(values))
    };
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let labels = found.iter().map(|told| {
        let pairs = told.event.constraint.iter();
        let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(",")
    });
    let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
    let mut moved = ListBuilder::new(StringBuilder::new()).with_field(item);
    for told in found {
        for name in &told.moved {
            moved.values().append_value(name);
        }
        moved.append(true);
    }
    let columns: Vec<ArrayRef> = vec![
        integers(&|told| count(told.event.rank)),
        integers(&|told| told.at_s),
        Arc::new(StringArray::from_iter_values(labels)),
        integers(&|told| count(told.event.members.len())),
        Arc::new(moved.finish()),
        floats(|event| 100.0 * event.effect),
        floats(|event| 100.0 * event.ci_lo),
        floats(|event| 100.0 * event.ci_hi),
        floats(|event| event.p_value),
    ];
    Ok(StructArray::try_new(fields(), columns, None)?)
}

#[cfg(test)]
mod tests {
    use crate::engine::QueryOptions;
    use crate::testing::{ask, engine, lake};

    /// 24 series of 6 services on 4 hosts, 240 points; two services' levels rise.
    fn fleet(order: &str) -> String {
        format!(
            "WITH points AS ( \
                 SELECT 'service=s' || (k % 6) || ',host=h' || (k / 6) AS labels, 3600 * n AS at_s, \
                     100.0 * (1 + CASE WHEN k % 6 = 2 AND n >= 150 THEN 0.2 ELSE 0.0 END) \
                         + (((n + 1) * 7919 + (k + 1) * 104729 + n * n * 31 * (k + 3)) % 211) / 100.0 AS value \
                 FROM unnest(range(0, 240)) AS n (n) CROSS JOIN unnest(range(0, 24)) AS k (k) \
             ), series AS ( \
                 SELECT labels, array_agg(at_s ORDER BY at_s) AS seconds, array_agg(value ORDER BY at_s) AS values \
                 FROM points GROUP BY labels \
             ), found AS ( \
                 SELECT unnest(fleet_changes(array_agg(labels {order}), array_agg(seconds {order}), array_agg(values {order}))) AS e \
                 FROM series \
             ) SELECT e['rank'], e['at_s'] / 3600, e['labels'], e['series'], array_length(e['moved']), \
                   round(e['effect_pct']) FROM found"
        )
    }

    #[tokio::test]
    async fn what_moved_together_is_one_event_in_sql_in_any_order() {
        let (_dir, lake) = lake(&[], &[]);
        let engine = engine(lake).await;
        for order in ["ORDER BY labels", "ORDER BY labels DESC"] {
            let found = ask(&engine, &fleet(order)).await;
            assert_eq!(found, ["1|150|service=s2|4|4|20.0"], "{order}");
        }
    }

    #[tokio::test]
    async fn nothing_and_what_is_wrong_have_a_defined_answer() {
        let (_dir, lake) = lake(&[], &[]);
        let engine = engine(lake).await;
        let none = "SELECT cardinality(fleet_changes(['a=b'], [[1, 2]], [[1.0, NULL]])), \
                        fleet_changes(NULL, NULL, NULL)";
        assert_eq!(ask(&engine, none).await, ["0|[]"]);
        for wrong in [
            "SELECT fleet_changes(['a=b'], [[1]], [[1.0], [2.0]])",
            "SELECT fleet_changes(['a=b'], [[1]], [[1.0, 2.0]])",
            "SELECT fleet_changes(['no labels'], [[1]], [[1.0]])",
            "SELECT fleet_changes(1, 2, 3)",
        ] {
            let asked = engine.collect(wrong, &QueryOptions::default()).await;
            assert!(asked.is_err(), "{wrong}");
        }
    }
}
