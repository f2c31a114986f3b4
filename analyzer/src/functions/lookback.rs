//! Lets bounds on time through to the samples below `counter_rate`.
//!
//! A filter on `ts` above a window function may in general not be applied below it, since the
//! function looks at other rows. `counter_rate` looks at one row before, and only if that is at
//! most [`MAX_GAP_US`] older. So what is older than the lower bound by more than that, and what is
//! newer than the upper bound, can be left out: a question about the last minute then reads eleven
//! minutes instead of the whole table. The original filter stays where it is.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, ExprSchema as _, Result, ScalarValue};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, Filter, LogicalPlan, Operator, Window, WindowFunctionDefinition,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::counter_rate::{CounterRate, MAX_GAP_US};

/// The rule.
#[derive(Debug)]
pub(super) struct PushBoundsThroughRates;

impl OptimizerRule for PushBoundsThroughRates {
    fn name(&self) -> &str {
        "push_bounds_through_rates"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = &plan else {
            return Ok(Transformed::no(plan));
        };
        let Some(input) = bound_below(&filter.input, &filter.predicate)? else {
            return Ok(Transformed::no(plan));
        };
        let above = Filter::try_new(filter.predicate.clone(), Arc::new(input))?;
        Ok(Transformed::yes(LogicalPlan::Filter(above)))
    }
}

/// The plan with what the predicate above it says about the time put below its rates; `None` where
/// there are none, or where it says nothing new.
fn bound_below(plan: &LogicalPlan, predicate: &Expr) -> Result<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::Window(window) => {
            let Some(ts) = ordered_by(window) else {
                return Ok(None);
            };
            let predicates = split_conjunction(predicate);
            let mut bounds: Vec<Expr> = predicates
                .into_iter()
                .flat_map(|predicate| widened(predicate, &ts))
                .collect();
            bounds.retain(|bound| !has(&window.input, bound));
            let Some(bounds) = conjunction(bounds) else {
                return Ok(None);
            };
            let below = Filter::try_new(bounds, Arc::clone(&window.input))?;
            let input = Arc::new(LogicalPlan::Filter(below));
            let window = Window::try_new(window.window_expr.clone(), input)?;
            Ok(Some(LogicalPlan::Window(window)))
        }
        // One that only drops columns leaves the names as they are.
        LogicalPlan::Projection(projection) => {
            if !projection
                .expr
                .iter()
                .all(|expr| matches!(expr, Expr::Column(_)))
            {
                return Ok(None);
            }
            let Some(input) = bound_below(&projection.input, predicate)? else {
                return Ok(None);
            };
            plan.with_new_exprs(projection.expr.clone(), vec![input])
                .map(Some)
        }
        _ => Ok(None),
    }
}

/// A column of times in microseconds.
struct Time<'a> {
    column: &'a Column,
    zone: Option<Arc<str>>,
}

/// The time that a window is ordered by, where it computes nothing but rates.
fn ordered_by(window: &Window) -> Option<Time<'_>> {
    let mut common = None;
    for expr in &window.window_expr {
        let expr = if let Expr::Alias(alias) = expr {
            &alias.expr
        } else {
            expr
        };
        let Expr::WindowFunction(function) = expr else {
            return None;
        };
        let ts = rate_s_time(function)?;
        if common.is_some_and(|other| other != ts) {
            return None;
        }
        common = Some(ts);
    }
    let column = common?;
    let field = window.input.schema().field_from_column(column).ok()?;
    match field.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => Some(Time {
            column,
            zone: zone.clone(),
        }),
        _ => None,
    }
}

fn rate_s_time(function: &WindowFunction) -> Option<&Column> {
    let WindowFunctionDefinition::WindowUDF(udwf) = &function.fun else {
        return None;
    };
    if !udwf.inner().is::<CounterRate>() || function.params.filter.is_some() {
        return None;
    }
    let [_, Expr::Column(ts)] = function.params.args.as_slice() else {
        return None;
    };
    let [order] = function.params.order_by.as_slice() else {
        return None;
    };
    (order.asc && order.expr == Expr::Column(ts.clone())).then_some(ts)
}

/// What holds of every row that a predicate's rows need: its bounds on the time, the lower one
/// moved back.
fn widened(predicate: &Expr, ts: &Time<'_>) -> Vec<Expr> {
    match predicate {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let bound = match (is_time(left, ts.column), is_time(right, ts.column)) {
                (true, false) => bound(ts, *op, right),
                (false, true) => op.swap().and_then(|op| bound(ts, op, left)),
                _ => None,
            };
            bound.into_iter().collect()
        }
        Expr::Between(between) if !between.negated && is_time(&between.expr, ts.column) => {
            let low = bound(ts, Operator::GtEq, &between.low);
            low.into_iter()
                .chain(bound(ts, Operator::LtEq, &between.high))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Comparing may have brought the column to the literal's unit.
fn is_time(expr: &Expr, ts: &Column) -> bool {
    match expr {
        Expr::Column(column) => column == ts,
        Expr::Cast(cast) => is_as_fine(cast.field.data_type()) && is_time(&cast.expr, ts),
        _ => false,
    }
}

fn is_as_fine(time: &DataType) -> bool {
    matches!(
        time,
        DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _)
    )
}

fn bound(ts: &Time<'_>, op: Operator, limit: &Expr) -> Option<Expr> {
    let Expr::Literal(limit, _) = limit else {
        return None;
    };
    let limit_us = microseconds(limit)?;
    let (op, limit_us) = match op {
        Operator::Gt | Operator::GtEq => (Operator::GtEq, limit_us.checked_sub(MAX_GAP_US)?),
        // Rounded to microseconds a limit may have become smaller: one more is safe.
        Operator::Lt | Operator::LtEq => (Operator::LtEq, limit_us.checked_add(1)?),
        _ => return None,
    };
    let limit = ScalarValue::TimestampMicrosecond(Some(limit_us), ts.zone.clone());
    let limit = Expr::Literal(limit, None);
    Some(Expr::BinaryExpr(BinaryExpr {
        left: Box::new(Expr::Column(ts.column.clone())),
        op,
        right: Box::new(limit),
    }))
}

fn microseconds(limit: &ScalarValue) -> Option<i64> {
    match limit {
        ScalarValue::TimestampSecond(Some(value), _) => value.checked_mul(1_000_000),
        ScalarValue::TimestampMillisecond(Some(value), _) => value.checked_mul(1_000),
        ScalarValue::TimestampMicrosecond(Some(value), _) => Some(*value),
        ScalarValue::TimestampNanosecond(Some(value), _) => Some(value.div_euclid(1_000)),
        _ => None,
    }
}

/// Whether the rows are bound like that already, so that the rule comes to rest.
fn has(plan: &LogicalPlan, bound: &Expr) -> bool {
    match plan {
        LogicalPlan::Filter(filter) => {
            split_conjunction(&filter.predicate).contains(&bound) || has(&filter.input, bound)
        }
        LogicalPlan::TableScan(scan) => scan.filters.contains(bound),
        _ => false,
    }
}
