//! Days that hold more rows than when they were analysed: what came late may change what is found.

use chrono::NaiveDate;

use crate::calendar::Calendar;
use crate::columns::Columns;
use crate::compare::Window;
use crate::engine::{Engine, EngineError, QueryOptions};
use crate::rule::text;

/// Samples of a day, those of the log's tail among them.
pub(super) async fn rows(engine: &Engine, day: Window) -> Result<i64, EngineError> {
    let sql = "SELECT CAST(count(*) AS BIGINT) AS n FROM samples WHERE ts >= $from AND ts < $until";
    let rows = engine.collect(sql, &day.options()).await?;
    Ok(Columns::new("rows", &rows)?.integers("n")?.value(0))
}

/// The days from `first` on and before `until` that were analysed and have got rows since. Days that
/// have lost rows to their retention are not among them: less is no news.
pub async fn reopened(
    engine: &Engine,
    calendar: Calendar,
    first: NaiveDate,
    until: NaiveDate,
) -> Result<Vec<NaiveDate>, EngineError> {
    let sql = "SELECT subject AS day, max(CAST(label(attributes, 'rows') AS BIGINT)) AS rows \
               FROM events WHERE name = 'DayAnalysed' AND subject >= $first AND subject < $until \
                   AND label(attributes, 'rows') IS NOT NULL \
               GROUP BY subject ORDER BY subject";
    let options = QueryOptions {
        parameters: vec![
            ("first".to_owned(), text(&first.to_string())),
            ("until".to_owned(), text(&until.to_string())),
        ],
        timeout: None,
    };
    let analysed = engine.collect(sql, &options).await?;
    let columns = Columns::new("reopened", &analysed)?;
    let (days, then) = (columns.texts("day")?, columns.integers("rows")?);
    let mut reopened = Vec::new();
    for row in 0..columns.rows() {
        let Ok(date) = days.value(row).parse::<NaiveDate>() else {
            continue;
        };
        let Some(day) = calendar.day(date) else {
            continue;
        };
        if rows(engine, day).await? > then.value(row) {
            reopened.push(date);
        }
    }
    Ok(reopened)
}

#[cfg(test)]
mod tests {
    use driftline_schemas::{Body, Component, Event, EventName};
    use driftline_sink::table::TableName;

    use super::*;
    use crate::testing::{S, T0, block, engine, lake, samples};

    fn analysed(day: &str, rows: &str) -> Event {
        Event {
            ts_us: T0,
            name: EventName::DayAnalysed,
            component: Component::Driftline,
            subject: day.to_owned(),
            message: String::new(),
            attributes: vec![("rows".to_owned(), rows.to_owned())],
        }
    }

    #[tokio::test]
    async fn a_day_with_more_rows_than_when_it_was_analysed_is_open_again() {
        let calendar = Calendar::default();
        let date = calendar.date(T0).expect("a date");
        let row = |s: i64| {
            (
                "system.memory.linux.available",
                [].as_slice(),
                T0 + s * S,
                1.0,
            )
        };
        for (told, open) in [("2", true), ("3", false), ("4", false)] {
            let (_dir, lake) = lake(&[samples((0..3).map(row))], &[]);
            let events = Body::Events(vec![analysed(&date.to_string(), told)]);
            let events = block(TableName::Events, events);
            let engine = engine(lake.with_rows(TableName::Events, events)).await;
            let next = date.succ_opt().expect("a date");
            let found = reopened(&engine, calendar, date, next).await.expect("days");
            assert_eq!(found, vec![date; usize::from(open)], "{told}");
            let none = reopened(&engine, calendar, next, next).await.expect("days");
            assert!(none.is_empty(), "it is before the first day");
        }
    }
}
