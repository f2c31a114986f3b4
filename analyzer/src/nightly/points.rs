//! Series out of the tables, one point for each step of time.

use crate::columns::{Columns, optional};
use crate::compare::Window;
use crate::engine::{Engine, EngineError};
use crate::rule::{built_in_named, integer, timestamp};

/// The query file, over samples and over minutes.
const RULES: [&str; 2] = ["series_points", "minute_series_points"];
/// Rollups that end this close to the samples' end stand for them.
const ROLLED_WITHIN_US: i64 = 10 * 60 * 1_000_000;

/// The step of the finest rollups.
const ROLLED_STEP_S: i64 = 60;

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

/// When the last minute that is rolled up ends, within a stretch of time; long before where none is.
async fn ends(engine: &Engine, held: Window) -> Result<i64, EngineError> {
    let sql = "SELECT coalesce(max(CAST(last_ts AS BIGINT)), $otherwise) AS last FROM samples_1m \
               WHERE ts >= $from AND ts < $until";
    let mut options = held.options();
    options
        .parameters
        .push(("otherwise".to_owned(), integer(i64::MIN / 2)));
    let rows = engine.collect(sql, &options).await?;
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
    let rolled =
        step_s >= ROLLED_STEP_S && until_us - ends(engine, held).await? <= ROLLED_WITHIN_US;
    let rule = built_in_named(RULES[usize::from(rolled)])?;
    let given = [
        ("from".to_owned(), timestamp(from_us)),
        ("until".to_owned(), timestamp(until_us)),
        ("step_s".to_owned(), integer(step_s)),
    ];
    let rows = engine.collect_rule(&rule, &given).await?;
    let columns = Columns::new(&rule.id, &rows)?;
    let names = ["component", "host", "metric", "labels", "unit", "better"];
    let texts = columns.each_text(names)?;
    let (at_s, values) = (columns.integers("at_s")?, columns.floats("value")?);
    let mut all: Vec<PointSeries> = Vec::new();
    for row in 0..columns.rows() {
        let text = |place: usize| texts[place].value(row);
        let same = |series: &PointSeries| {
            series.labels == text(3)
                && series.metric == text(2)
                && series.host == text(1)
                && series.component == text(0)
                && series.unit == text(4)
        };
        if !all.last().is_some_and(same) {
            all.push(PointSeries {
                component: text(0).to_owned(),
                host: text(1).to_owned(),
                metric: text(2).to_owned(),
                labels: text(3).to_owned(),
                unit: text(4).to_owned(),
                better: text(5).to_owned(),
                at_s: Vec::new(),
                values: Vec::new(),
            });
        }
        let series = all.last_mut().expect("one was just pushed");
        if let Some(value) = optional(&values, row).filter(|value| value.is_finite()) {
            series.at_s.push(at_s.value(row));
            series.values.push(value);
        }
    }
    Ok(all)
}
