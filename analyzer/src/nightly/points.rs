//! Series out of the tables, one point for each step of time.

mod gather;

use crate::columns::Columns;
use crate::compare::Window;
use crate::engine::{Engine, EngineError, QueryOptions};
use crate::rule::{built_in_named, integer, timestamp};

/// The query files: medians of steps, and rows as they are.
const STEPS: &str = "series_points";
const VALUES: &str = "series_values";
const DAY_US: i64 = 86_400 * 1_000_000;
/// Rollups that end this close to the samples' end stand for them, or this part of the stretch of time
/// where that is less.
const ROLLED_WITHIN_US: i64 = 10 * 60 * 1_000_000;
const ROLLED_WITHIN_PART: i64 = 20;
/// Rows of rollups that are read at most: more series than that are looked at in longer steps.
const MOST_ROWS: i64 = 32_000_000;

/// A table that can stand for samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Samples,
    Minutes,
    Hours,
}

impl Source {
    /// The coarsest that steps of this many seconds can be made of.
    const fn of(step_s: i64) -> Self {
        match step_s {
            3_600.. => Self::Hours,
            60.. => Self::Minutes,
            _ => Self::Samples,
        }
    }

    /// Seconds of its rows, its table, and what its queries' names begin with.
    const fn parts(self) -> (i64, &'static str, &'static str) {
        match self {
            Self::Samples => (1, "samples", ""),
            Self::Minutes => (60, "samples_1m", "minute_"),
            Self::Hours => (3_600, "samples_1h", "hour_"),
        }
    }
}

/// A series in points, in order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct PointSeries {
    /// What is observed.
    pub component: String,
    /// Where.
    pub host: String,
    /// The metric.
    pub metric: String,
    /// Its labels, canonical.
    pub labels: String,
    /// Its unit: of a counter, its unit per second.
    pub unit: String,
    /// Which direction is good: `lower`, `higher` or `neither`.
    pub better: String,
    /// The start of each point's step, in seconds since 1970.
    pub at_s: Vec<i64>,
    /// The points.
    pub values: Vec<f64>,
}

impl PointSeries {
    /// The series without its points.
    pub(crate) fn without_points(&self) -> Self {
        Self {
            component: self.component.clone(),
            host: self.host.clone(),
            metric: self.metric.clone(),
            labels: self.labels.clone(),
            unit: self.unit.clone(),
            better: self.better.clone(),
            at_s: Vec::new(),
            values: Vec::new(),
        }
    }

    /// The metric, with its labels where it has any.
    pub fn name(&self) -> String {
        name_of(&self.metric, &self.labels)
    }
}

/// A metric, with the labels where there are any.
pub(crate) fn name_of(metric: &str, labels: &str) -> String {
    match labels {
        "" => metric.to_owned(),
        labels => format!("{metric}{{{labels}}}"),
    }
}

/// The part of a stretch of time that samples were held for, widened to whole minutes.
pub(crate) async fn span(engine: &Engine, whole: Window) -> Result<Option<Window>, EngineError> {
    let sql = "SELECT CAST(min(ts) AS BIGINT) AS first, CAST(max(ts) AS BIGINT) AS last \
               FROM samples WHERE ts >= $from AND ts < $until HAVING count(*) > 0";
    let rows = engine.collect(sql, &whole.options()).await?;
    let columns = Columns::new("span", &rows)?;
    if columns.rows() == 0 {
        return Ok(None);
    }
    let (first, last) = (columns.integers("first")?, columns.integers("last")?);
    Ok(Some(Window {
        from_us: first.value(0).max(whole.from_us),
        until_us: last.value(0).saturating_add(1).min(whole.until_us),
    }))
}

/// How many series a stretch of time has, by the rollups of its days; all that are known where there
/// are none of these yet.
pub(crate) async fn count(engine: &Engine, held: Window) -> Result<i64, EngineError> {
    let days = Window {
        from_us: held.from_us.saturating_sub(DAY_US),
        ..held
    };
    let of_days = "SELECT count(*) AS n FROM (SELECT DISTINCT host, component, metric, labels \
                   FROM samples_1d WHERE ts > $from AND ts < $until)";
    let all =
        "SELECT count(*) AS n FROM (SELECT DISTINCT host, component, metric, labels FROM series)";
    for (sql, options) in [(of_days, days.options()), (all, QueryOptions::default())] {
        let rows = engine.collect(sql, &options).await?;
        let count = Columns::new("series", &rows)?.integers("n")?.value(0);
        if count > 0 {
            return Ok(count);
        }
    }
    Ok(0)
}

/// Whether so many series over so many seconds are few enough rows to be read in such steps.
pub(crate) const fn are_few(series: i64, span_s: i64, step_s: i64) -> bool {
    let (width_s, ..) = Source::of(step_s).parts();
    series.saturating_mul(span_s / width_s) <= MOST_ROWS
}

/// When the last row of a rollup within a stretch of time ends; long before where there is none.
async fn ends(engine: &Engine, held: Window, table: &str) -> Result<i64, EngineError> {
    let sql = format!(
        "SELECT coalesce(max(CAST(last_ts AS BIGINT)), $otherwise) AS last FROM {table} \
         WHERE ts >= $from AND ts < $until"
    );
    let mut options = held.options();
    options
        .parameters
        .push(("otherwise".to_owned(), integer(i64::MIN / 2)));
    let rows = engine.collect(&sql, &options).await?;
    Ok(Columns::new("rollups", &rows)?.integers("last")?.value(0))
}

/// Every series of a stretch of time. The first and the last step are left out where they are not
/// whole, because a median over a part of a step is noisier than the others.
pub(crate) async fn read(
    engine: &Engine,
    held: Window,
    step_s: i64,
) -> Result<Vec<PointSeries>, EngineError> {
    let step_us = step_s * 1_000_000;
    let from_us = held.from_us.div_euclid(step_us) * step_us;
    let from_us = if from_us < held.from_us {
        from_us + step_us
    } else {
        from_us
    };
    let until_us = held.until_us.div_euclid(step_us) * step_us;
    let within_us = ROLLED_WITHIN_US.min((until_us - from_us) / ROLLED_WITHIN_PART);
    let mut source = Source::of(step_s);
    for coarser in [Source::Hours, Source::Minutes] {
        let (_, table, _) = coarser.parts();
        if source == coarser && until_us - ends(engine, held, table).await? > within_us {
            source = match coarser {
                Source::Hours => Source::Minutes,
                _ => Source::Samples,
            };
        }
    }
    let (width_s, _, prefix) = source.parts();
    let mut given = vec![
        ("from".to_owned(), timestamp(from_us)),
        ("until".to_owned(), timestamp(until_us)),
    ];
    let rule = if source != Source::Samples && width_s == step_s {
        built_in_named(&format!("{prefix}{VALUES}"))?
    } else {
        given.push(("step_s".to_owned(), integer(step_s)));
        built_in_named(&format!("{prefix}{STEPS}"))?
    };
    let options = QueryOptions {
        parameters: rule.bind(&given)?,
        timeout: None,
    };
    gather::gather(engine, &rule, &options).await
}
