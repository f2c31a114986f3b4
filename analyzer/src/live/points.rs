//! What the live look reads: points, the same time of earlier days, and findings that are open.

use super::watch::{Began, Open, display};
use crate::columns::Columns;
use crate::compare::Window;
use crate::engine::{Engine, EngineError, QueryOptions};
use crate::findings;
use crate::nightly::points::name_of;
use crate::rule::{built_in_named, integer, text, timestamp};

/// Days before that say what is usual at a time of day.
const DAYS: i64 = 7;
/// A level that so many of the days before reached at the same time is usual.
const USUAL_DAYS: i64 = 2;
const DAY_US: i64 = 86_400_000_000;

/// One point of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct LivePoint {
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
    /// Which direction is good: `lower` or `higher`.
    pub better: String,
    /// The start of its step, in seconds since 1970.
    pub at_s: i64,
    /// Its value.
    pub value: f64,
    /// The least difference that counts for its series, in its unit.
    pub min_effect: f64,
    /// Whether its series alone is worth a person's attention.
    pub tells: bool,
}

/// The points of whole steps, by series and in order of time.
pub(super) async fn read(
    engine: &Engine,
    from_s: i64,
    until_s: i64,
    step_s: i64,
) -> Result<Vec<LivePoint>, EngineError> {
    let rule = built_in_named("live_points")?;
    let window = Window {
        from_us: from_s * 1_000_000,
        until_us: until_s * 1_000_000,
    };
    let [from, until] = window.bounds();
    let given = [from, until, ("step_s".to_owned(), integer(step_s))];
    let rows = engine.collect_rule(&rule, &given).await?;
    let columns = Columns::new(&rule.id, &rows)?;
    let names = ["component", "host", "metric", "labels", "unit", "better"];
    let texts = columns.each_text(names)?;
    let (at_s, values) = (columns.integers("at_s")?, columns.floats("value")?);
    let (effects, tells) = (columns.floats("min_effect")?, columns.booleans("tells")?);
    let point = |row: usize| {
        let text = |place: usize| texts[place].value(row).to_owned();
        LivePoint {
            component: text(0),
            host: text(1),
            metric: text(2),
            labels: text(3),
            unit: text(4),
            better: text(5),
            at_s: at_s.value(row),
            value: crate::columns::optional(&values, row).unwrap_or(f64::NAN),
            min_effect: effects.value(row),
            tells: tells.value(row),
        }
    };
    Ok((0..columns.rows()).map(point).collect())
}

/// Whether earlier days came as far at the same time of day.
pub(super) async fn is_usual(engine: &Engine, began: &Began) -> Result<bool, EngineError> {
    let rule = built_in_named("live_context")?;
    let point = began.point();
    let at_us = began.onset().at_s * 1_000_000;
    let rose = began.rose();
    let given = [
        ("host".to_owned(), text(&point.host)),
        ("component".to_owned(), text(&point.component)),
        ("metric".to_owned(), text(&point.metric)),
        ("labels".to_owned(), text(&point.labels)),
        (
            "from".to_owned(),
            timestamp(at_us - (DAYS * 2 + 1) * DAY_US / 2),
        ),
        ("at".to_owned(), timestamp(at_us)),
        (
            "level".to_owned(),
            datafusion::scalar::ScalarValue::Float64(Some(began.onset().after)),
        ),
        ("up".to_owned(), integer(i64::from(rose))),
        ("days".to_owned(), integer(DAYS)),
    ];
    let rows = engine.collect_rule(&rule, &given).await?;
    let columns = Columns::new(&rule.id, &rows)?;
    Ok(columns.rows() > 0 && columns.integers("days_as_far")?.value(0) >= USUAL_DAYS)
}

/// The findings of the live look that nobody has resolved.
pub(super) async fn open_findings(engine: &Engine) -> Result<Vec<Open>, EngineError> {
    let sql = "SELECT id, day FROM findings \
               WHERE id LIKE 'live-%' AND state IN ('open', 'acknowledged') ORDER BY id";
    let rows = engine.collect(sql, &QueryOptions::default()).await?;
    let columns = Columns::new("findings", &rows)?;
    let (ids, days) = (columns.texts("id")?, columns.texts("day")?);
    let mut open = Vec::new();
    for (id, day) in ids.iter().flatten().zip(days.iter().flatten()) {
        if let Some(finding) = findings::read(engine, id).await? {
            let day = day.to_owned();
            open.push(Open { day, finding });
        }
    }
    Ok(open)
}

impl LivePoint {
    /// The series' name, the same in every finding.
    pub(super) fn name(&self) -> String {
        format!("{} on {}", name_of(&self.metric, &self.labels), self.host)
    }

    /// A value with its unit, for people.
    pub(super) fn in_words(&self, value: f64) -> String {
        display(value, &self.unit)
    }
}
