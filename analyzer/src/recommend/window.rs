//! The tables that rules read: every series that some rule rests on, over the window, over its
//! steps, and over each hour of the days before. They are computed once, however many rules there
//! are.

use std::collections::BTreeSet;

use driftline_schemas::Component;
use driftline_sink::table::TableName;

use crate::compare::Window;
use crate::engine::{Engine, EngineError, QueryOptions, Rows};
use crate::rule::integer;

/// The tables' names.
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

/// Which metrics are read.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Over the window.
    pub(super) metrics: BTreeSet<(Component, String)>,
    /// Over the days before.
    pub(super) history: BTreeSet<(Component, String)>,
}

/// A source where it is known which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origin {
    table: TableName,
    step_us: i64,
}

/// Computes the tables.
pub(super) async fn tables(
    engine: &Engine,
    window: Window,
    source: Source,
    wanted: &Wanted,
) -> Result<Vec<(&'static str, Rows)>, EngineError> {
    let from = choose(engine, source, window);
    let steps = steps_of(engine, from, window, &wanted.metrics).await?;
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
    let history = steps_of(engine, hours, before, &wanted.history).await?;
    let session = engine.with_tables(vec![(STEPS, steps.clone())]).await?;
    let series = session
        .collect(SERIES_SQL, &QueryOptions::default())
        .await?;
    Ok(vec![(STEPS, steps), (SERIES, series), (HISTORY, history)])
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

async fn steps_of(
    engine: &Engine,
    from: Origin,
    window: Window,
    metrics: &BTreeSet<(Component, String)>,
) -> Result<Rows, EngineError> {
    let mut options = window.options();
    options
        .parameters
        .push(("step_us".to_owned(), integer(from.step_us)));
    engine
        .collect(&steps_sql(from.table, metrics), &options)
        .await
}

/// Names of metrics hold nothing that could end a text ([`crate::rule::Input`] sees to it).
fn steps_sql(table: TableName, metrics: &BTreeSet<(Component, String)>) -> String {
    let names: BTreeSet<&str> = metrics.iter().map(|(_, name)| name.as_str()).collect();
    let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    // Nothing wanted reads nothing, not even to find that nothing fits.
    let (names, any) = match names.is_empty() {
        true => ("''".to_owned(), "false"),
        false => (names.join(", "), "true"),
    };
    let parts = match table {
        TableName::Samples => FROM_SAMPLES.to_owned(),
        rollup => FROM_ROLLUPS.replace("{rollup}", rollup.as_str()),
    };
    STEPS_SQL
        .replace("{parts}", &parts)
        .replace("{metrics}", &names)
        .replace("{any}", any)
}

const FROM_SAMPLES: &str = "
    SELECT
        component, host, metric, labels,
        CAST(ts AS BIGINT) / $step_us AS step,
        count(*) AS n, sum(value) AS total, min(value) AS min, max(value) AS max,
        first_value(value ORDER BY ts) AS first, last_value(value ORDER BY ts) AS last,
        min(CAST(ts AS BIGINT)) AS first_us, max(CAST(ts AS BIGINT)) AS last_us
    FROM samples
    WHERE ts >= $from AND ts < $until AND metric IN ({metrics}) AND {any}
    GROUP BY component, host, metric, labels, CAST(ts AS BIGINT) / $step_us";

const FROM_ROLLUPS: &str = "
    SELECT
        component, host, metric, labels,
        CAST(ts AS BIGINT) / $step_us AS step,
        sum(count) AS n, sum(sum) AS total, min(min) AS min, max(max) AS max,
        first_value(first ORDER BY ts) AS first, last_value(last ORDER BY ts) AS last,
        min(CAST(first_ts AS BIGINT)) AS first_us, max(CAST(last_ts AS BIGINT)) AS last_us
    FROM {rollup}
    WHERE ts >= $from AND ts < $until AND metric IN ({metrics}) AND {any} AND count > 0
    GROUP BY component, host, metric, labels, CAST(ts AS BIGINT) / $step_us";

/// A counter that falls below half of its value has started anew, as for `counter_rate`; one that
/// falls less has been corrected and stands still.
const STEPS_SQL: &str = "
WITH parts AS ({parts}),
kinds AS (
    SELECT component, metric, unit, kind FROM metrics WHERE metric IN ({metrics})
),
linked AS (
    SELECT
        *,
        lag(last) OVER before AS last_before,
        lag(last_us) OVER before AS last_us_before
    FROM parts
    WINDOW before AS (PARTITION BY component, host, metric, labels ORDER BY step)
),
grown AS (
    SELECT
        *,
        CASE
            WHEN last_before IS NULL THEN 0.0
            WHEN first >= last_before THEN first - last_before
            WHEN first < 0.5 * last_before THEN first
            ELSE 0.0
        END AS between_steps,
        CASE
            WHEN min < 0.5 * first OR last < 0.5 * max
                THEN CASE WHEN max > last THEN max - first + last ELSE last END
            ELSE greatest(last - first, 0.0)
        END AS within_step,
        CAST(last_us - coalesce(last_us_before, first_us) AS DOUBLE) / 1e6 AS seconds
    FROM linked
)
SELECT
    to_timestamp_micros(step * $step_us) AS ts,
    grown.component, grown.host, grown.metric, grown.labels, kinds.unit, kinds.kind,
    n, seconds, first, last, min, max, total / n AS mean,
    CASE WHEN kinds.kind = 'counter' THEN between_steps + within_step END AS increase,
    CASE WHEN kinds.kind = 'counter' AND seconds > 0 THEN (between_steps + within_step) / seconds END
        AS rate_per_s,
    first_us, last_us
FROM grown
LEFT JOIN kinds ON kinds.component = grown.component AND kinds.metric = grown.metric";

const SERIES_SQL: &str = "
SELECT
    component, host, metric, labels, min(unit) AS unit, min(kind) AS kind,
    CAST(sum(n) AS BIGINT) AS n,
    CAST(max(last_us) - min(first_us) AS DOUBLE) / 1e6 AS seconds,
    first_value(first ORDER BY ts) AS first, last_value(last ORDER BY ts) AS last,
    min(min) AS min, max(max) AS max, sum(mean * n) / sum(n) AS mean,
    sum(increase) AS increase,
    CASE WHEN max(last_us) > min(first_us)
        THEN sum(increase) / (CAST(max(last_us) - min(first_us) AS DOUBLE) / 1e6) END AS rate_per_s,
    min(first_us) AS first_us, max(last_us) AS last_us
FROM window_steps
GROUP BY component, host, metric, labels";
