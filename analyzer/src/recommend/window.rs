//! The tables that rules read: every series that some rule rests on, over the window, over its
//! steps, and over each hour of the days before. Rows are read once, however many rules there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type};
use arrow::error::ArrowError;
use driftline_schemas::{Component, metric_named};
use driftline_sink::table::TableName;
use futures::TryStreamExt as _;

use super::kept::{Content, Kept};
use super::steps::{Gathered, Key, Samples, Texts};
use super::table::{Each, Meaning, WindowTable};
use crate::columns::Columns;
use crate::compare::Window;
use crate::engine::{Engine, EngineError, QueryOptions, Session};

/// The tables' names.
pub(super) const BOUNDS: &str = "judged_window";
pub(super) const SERIES: &str = "window_series";
pub(super) const STEPS: &str = "window_steps";
pub(super) const HISTORY: &str = "history_steps";

/// How far back `history_steps` looks.
const HISTORY_US: i64 = 7 * 86_400 * 1_000_000;
const MINUTE_US: i64 = 60 * 1_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;
/// Up to this long, a window is read from samples where no rollups are asked for.
const SAMPLES_US: i64 = 2 * HOUR_US;

/// What the steps of a window are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// Samples for windows of up to two hours, rollups of minutes below a day, of hours from there on;
    /// samples where there are no rollups.
    #[default]
    Auto,
    /// Samples.
    Samples,
    /// Rollups of minutes.
    Minutes,
    /// Rollups of hours.
    Hours,
}

/// Metrics of components.
pub(super) type Metrics = BTreeSet<(Component, String)>;

/// A source where it is known which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origin {
    table: TableName,
    step_us: i64,
}

/// Adds the tables of the window itself, with these metrics. Tells which components' metrics were
/// seen in it.
pub(super) async fn add_window(
    kept: &Kept,
    session: &Session,
    engine: &Engine,
    window: Window,
    source: Source,
    metrics: &Metrics,
) -> Result<BTreeSet<(String, String)>, EngineError> {
    let bounds = bounds(window).map_err(wrong)?;
    kept.fill(
        session,
        BOUNDS,
        bounds.schema(),
        Content::Rows(vec![bounds]),
    )?;
    let from = choose(engine, source, window);
    let gathered = Arc::new(gather(engine, from, window, metrics).await?);
    let told = meanings(engine, &gathered).await?;
    let meaning = |component: &str, metric: &str| meaning(&told, component, metric);
    let steps = Each::Step { us: from.step_us };
    for (name, each) in [(SERIES, Each::Series), (STEPS, steps)] {
        let table = WindowTable::new(each, Arc::clone(&gathered), meaning).map_err(wrong)?;
        kept.fill(session, name, each.schema(), Content::Window(table))?;
    }
    Ok(seen(&gathered))
}

/// The one row that says when the window begins and ends.
fn bounds(window: Window) -> Result<RecordBatch, ArrowError> {
    let time = |us: i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(vec![us]).with_timezone("UTC"))
    };
    RecordBatch::try_from_iter_with_nullable([
        ("from_ts", time(window.from_us), false),
        ("until_ts", time(window.until_us), false),
    ])
}

/// Adds the table of the days before.
pub(super) async fn add_history(
    kept: &Kept,
    session: &Session,
    engine: &Engine,
    window: Window,
    metrics: &Metrics,
) -> Result<(), EngineError> {
    let before = Window {
        from_us: window.from_us.saturating_sub(HISTORY_US),
        until_us: window.from_us,
    };
    let table = match engine.lake().has_rows(TableName::Samples1h) {
        true => TableName::Samples1h,
        false => TableName::Samples,
    };
    let hours = Origin {
        table,
        step_us: HOUR_US,
    };
    let gathered = Arc::new(gather(engine, hours, before, metrics).await?);
    let told = meanings(engine, &gathered).await?;
    let meaning = |component: &str, metric: &str| meaning(&told, component, metric);
    let each = Each::Step { us: HOUR_US };
    let table = WindowTable::new(each, gathered, meaning).map_err(wrong)?;
    kept.fill(session, HISTORY, each.schema(), Content::Window(table))
}

fn choose(engine: &Engine, source: Source, window: Window) -> Origin {
    let length = window.until_us.saturating_sub(window.from_us);
    let wanted = match source {
        Source::Auto if length <= SAMPLES_US => Source::Samples,
        Source::Auto if length < DAY_US => Source::Minutes,
        Source::Auto => Source::Hours,
        source => source,
    };
    let step_us = if wanted == Source::Hours || length >= DAY_US {
        HOUR_US
    } else {
        MINUTE_US
    };
    let table = match wanted {
        Source::Minutes => TableName::Samples1m,
        Source::Hours => TableName::Samples1h,
        Source::Samples | Source::Auto => TableName::Samples,
    };
    let table = match (source, engine.lake().has_rows(table)) {
        (Source::Auto, false) => TableName::Samples,
        _ => table,
    };
    Origin { table, step_us }
}

/// Reads the rows of some metrics.
async fn gather(
    engine: &Engine,
    from: Origin,
    window: Window,
    metrics: &Metrics,
) -> Result<Gathered, EngineError> {
    let steps = window.until_us.saturating_sub(window.from_us) / from.step_us + 1;
    let mut gathered = Gathered::of_steps(usize::try_from(steps).unwrap_or_default());
    if metrics.is_empty() {
        return Ok(gathered);
    }
    let memory = engine.memory("the window that rules judge");
    let mut rows = engine
        .query(&rows_sql(from.table, metrics), &window.options())
        .await?;
    while let Some(batch) = rows
        .try_next()
        .await
        .map_err(|error| engine.explain(error))?
    {
        read(&mut gathered, from, &batch).map_err(wrong)?;
        memory
            .try_resize(gathered.bytes())
            .map_err(|error| engine.explain(error))?;
    }
    gathered.sort();
    Ok(gathered)
}

/// Names of metrics hold nothing that could end a text ([`crate::rule::Input`] sees to it).
fn rows_sql(table: TableName, metrics: &Metrics) -> String {
    let names = listed(metrics.iter().map(|(_, name)| name.as_str()));
    let (columns, filled) = match table {
        TableName::Samples => ("ts, value", ""),
        _ => (
            "first_ts, last_ts, count, sum, first, last, min, max",
            "AND count > 0",
        ),
    };
    format!(
        "SELECT component, host, metric, labels, {columns} FROM {} \
         WHERE ts >= $from AND ts < $until AND metric IN ({names}) {filled}",
        table.as_str()
    )
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: BTreeSet<String> = names.map(|name| format!("'{name}'")).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// Takes in rows, whose columns stand in the order of [`rows_sql`].
fn read(gathered: &mut Gathered, from: Origin, batch: &RecordBatch) -> Result<(), ArrowError> {
    let [component, host, metric, labels, values @ ..] = batch.columns() else {
        return Err(ArrowError::SchemaError("rows lack columns".to_owned()));
    };
    let texts = &mut gathered.texts;
    let component = numbers(texts, component)?;
    let (host, metric) = (numbers(texts, host)?, numbers(texts, metric)?);
    let labels = numbers(texts, labels)?;
    let mut add = |row: usize, samples: Samples| {
        let key = Key {
            component: component[row],
            metric: metric[row],
            host: host[row],
            labels: labels[row],
        };
        gathered.add(key, samples.first_us.div_euclid(from.step_us), &samples);
    };
    match values {
        [ts, value] => {
            let (ts, value) = (integers(ts)?, floats(value)?);
            for row in 0..batch.num_rows() {
                add(row, Samples::one(value.value(row), ts.value(row)));
            }
        }
        [first_us, last_us, n, total, first, last, min, max] => {
            let (first_us, last_us, n) = (integers(first_us)?, integers(last_us)?, integers(n)?);
            let (total, first, last) = (floats(total)?, floats(first)?, floats(last)?);
            let (min, max) = (floats(min)?, floats(max)?);
            for row in 0..batch.num_rows() {
                let samples = Samples {
                    n: n.value(row),
                    total: total.value(row),
                    first: first.value(row),
                    last: last.value(row),
                    min: min.value(row),
                    max: max.value(row),
                    first_us: first_us.value(row),
                    last_us: last_us.value(row),
                };
                add(row, samples);
            }
        }
        _ => {
            return Err(ArrowError::SchemaError(
                "rows have other columns".to_owned(),
            ));
        }
    }
    Ok(())
}

fn integers(column: &ArrayRef) -> Result<Int64Array, ArrowError> {
    Ok(cast(column, &DataType::Int64)?
        .as_primitive::<Int64Type>()
        .clone())
}

fn floats(column: &ArrayRef) -> Result<Float64Array, ArrowError> {
    Ok(cast(column, &DataType::Float64)?
        .as_primitive::<Float64Type>()
        .clone())
}

/// Each row's text as a number. A text is looked up once for each batch, and only if a row has it.
fn numbers(texts: &mut Texts, column: &ArrayRef) -> Result<Vec<u32>, ArrowError> {
    let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let column = cast(column, &kind)?;
    let column = column.as_dictionary::<Int32Type>();
    let values = column.values().as_string::<i32>();
    let mut known: Vec<Option<u32>> = vec![None; values.len()];
    let number = |key: Option<usize>| {
        let Some(key) = key.filter(|key| values.is_valid(*key)) else {
            return texts.number("");
        };
        *known[key].get_or_insert_with(|| texts.number(values.value(key)))
    };
    Ok(column.keys_iter().map(number).collect())
}

/// The meaning of metrics that the catalogue does not know.
async fn meanings(
    engine: &Engine,
    gathered: &Gathered,
) -> Result<BTreeMap<(String, String), Meaning>, EngineError> {
    let seen = seen(gathered);
    let unknown: Vec<&str> = seen
        .iter()
        .filter(|(component, metric)| known(component, metric).is_none())
        .map(|(_, metric)| metric.as_str())
        .collect();
    let mut told = BTreeMap::new();
    if unknown.is_empty() {
        return Ok(told);
    }
    let names = listed(unknown.into_iter());
    let sql =
        format!("SELECT component, metric, unit, kind FROM metrics WHERE metric IN ({names})");
    let rows = engine.collect(&sql, &QueryOptions::default()).await?;
    let columns = Columns::new("metrics", &rows)?;
    let texts = columns.each_text(["component", "metric", "unit", "kind"])?;
    for row in 0..columns.rows() {
        let text = |column: usize| texts[column].value(row).to_owned();
        let meaning = Meaning {
            unit: text(2),
            kind: text(3),
        };
        told.insert((text(0), text(1)), meaning);
    }
    Ok(told)
}

fn meaning(
    told: &BTreeMap<(String, String), Meaning>,
    component: &str,
    metric: &str,
) -> Option<Meaning> {
    known(component, metric).or_else(|| {
        told.get(&(component.to_owned(), metric.to_owned()))
            .cloned()
    })
}

/// What the catalogue says.
fn known(component: &str, metric: &str) -> Option<Meaning> {
    let found = metric_named(metric).filter(|found| found.component.as_str() == component)?;
    Some(Meaning {
        unit: found.unit.to_owned(),
        kind: found.kind.as_str().to_owned(),
    })
}

fn seen(gathered: &Gathered) -> BTreeSet<(String, String)> {
    let numbers = gathered
        .series
        .iter()
        .map(|(key, _)| (key.component, key.metric));
    let mut numbers: Vec<(u32, u32)> = numbers.collect();
    numbers.dedup();
    let text = |number| gathered.texts.text(number).to_owned();
    let texts = numbers
        .into_iter()
        .map(|(component, metric)| (text(component), text(metric)));
    texts.collect()
}

fn wrong(error: ArrowError) -> EngineError {
    EngineError::Engine(error.into())
}
