//! What Driftline adds to SQL: functions over labels, counters and samples of numbers.
//!
//! The statistics themselves are pure and stand in `driftline_stats`; here they meet Arrow arrays.

mod adjusted_shift;
mod aggregates;
mod anomalies;
mod change_points;
mod compare_runs;
mod counter_rate;
mod fleet_changes;
pub(crate) mod human;
mod json_object;
mod label;
mod lists;
mod lookback;
mod miss_ratio_curve;
mod q_values;
mod shift;
mod sketches;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, Fields, Float64Type};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{AggregateUDF, ColumnarValue, ScalarUDF, WindowUDF};
use datafusion::optimizer::OptimizerRule;
use datafusion::prelude::SessionContext;

/// The optimizer rule that lets bounds on time through to the samples below a counter's rate.
pub(crate) fn optimizer_rule() -> Arc<dyn OptimizerRule + Send + Sync> {
    Arc::new(lookback::PushBoundsThroughRates)
}

/// Registers every function.
pub(crate) fn register(context: &SessionContext) {
    context.register_udf(ScalarUDF::from(label::Label::new()));
    for function in lists::all() {
        context.register_udf(ScalarUDF::from(function));
    }
    context.register_udf(ScalarUDF::from(shift::ShiftFunction::new()));
    context.register_udf(ScalarUDF::from(adjusted_shift::AdjustedShiftFunction::new()));
    context.register_udf(ScalarUDF::from(compare_runs::CompareRunsFunction::new()));
    context.register_udf(ScalarUDF::from(q_values::QValuesFunction::new()));
    context.register_udf(ScalarUDF::from(sketches::SketchQuantile::new()));
    context.register_udf(ScalarUDF::from(change_points::ChangePointsFunction::new()));
    context.register_udf(ScalarUDF::from(json_object::JsonObject::new()));
    context.register_udf(ScalarUDF::from(human::Human::new()));
    context.register_udf(ScalarUDF::from(miss_ratio_curve::MissRatioCurve::new()));
    context.register_udf(ScalarUDF::from(anomalies::AnomaliesFunction::new()));
    context.register_udf(ScalarUDF::from(fleet_changes::FleetChangesFunction::new()));
    for function in aggregates::all() {
        context.register_udaf(AggregateUDF::from(function));
    }
    context.register_udwf(WindowUDF::from(counter_rate::CounterRate::new()));
}

/// The item of a list of structs.
fn item_of(fields: Fields) -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Struct(fields), true))
}

/// What a function returns: one value where all of its arguments were single values.
fn returned(args: &[ColumnarValue], rows: ArrayRef) -> Result<ColumnarValue> {
    let single = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Scalar(_));
    match args.iter().all(single) {
        true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
            &rows, 0,
        )?)),
        false => Ok(ColumnarValue::Array(rows)),
    }
}

/// The type that lists of numbers are brought to.
fn float_list() -> DataType {
    DataType::new_list(DataType::Float64, true)
}

/// The type to cast a list argument to, where it is a list of numbers at all.
fn coerce_list(function: &str, argument: &DataType) -> Result<DataType> {
    let item = match argument {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            item.data_type()
        }
        DataType::Null => return Ok(float_list()),
        other => {
            return plan_err!(
                "{function} takes a list of numbers, not {other}; gather one with array_agg(value order by ts)"
            );
        }
    };
    if item.is_numeric() || item.is_null() {
        return Ok(float_list());
    }
    plan_err!("{function} takes a list of numbers, not of {item}")
}

/// The finite numbers of one row's list, in their order; `None` where the list is null.
fn numbers(lists: &ArrayRef, row: usize) -> Option<Vec<f64>> {
    let lists = lists.as_list::<i32>();
    if lists.is_null(row) {
        return None;
    }
    let values = lists.value(row);
    let values = values.as_primitive::<Float64Type>();
    Some(driftline_stats::finite(values.iter().flatten()))
}
