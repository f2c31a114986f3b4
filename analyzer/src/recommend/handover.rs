//! What the optimizer reads from the log: open recommendations as it wants them, and the steps of its
//! own actions.
//!
//! What they mean is the optimizer's business, of which nothing is known here.

#[cfg(test)]
mod tests;

use driftline_schemas::{Event, EventName};

use crate::columns::Columns;
use crate::engine::{Engine, EngineError, QueryOptions};
use crate::rule::RuleError;

/// Steps of one action have rising times.
const STEPS: &str = "
SELECT CAST(ts AS BIGINT) AS ts_us, name, component, subject, message, action, detail
FROM (
    SELECT *, label(attributes, 'action') AS action, label(attributes, 'detail') AS detail FROM events
)
WHERE action IS NOT NULL AND detail IS NOT NULL
ORDER BY ts, name";

const OPEN: &str = "
SELECT id, host, detail
FROM recommendations
WHERE state = 'open' AND detail IS NOT NULL
ORDER BY priority DESC NULLS LAST, id";

/// A regression that names a change that is kept as its suspect, or began within the hour after it, and
/// was told after the change was judged last: windows that were measured since without a verdict settle
/// nothing. An onset is only known to a step, so that it may lie before the change that is named.
const SUSPECTS: &str = "
SELECT
    actions.action, min(findings.id) AS finding,
    first_value(findings.title ORDER BY findings.id) AS title
FROM actions
JOIN findings
    ON findings.analysed > actions.judged
    AND (
        (findings.onset >= actions.applied AND findings.onset <= actions.applied + INTERVAL '1 hour')
        OR strpos(findings.causes, 'optimizer, ' || actions.action || ':') > 0
    )
WHERE actions.state = 'kept' AND findings.severity = 'regression'
    AND findings.state IN ('open', 'acknowledged')
GROUP BY actions.action
ORDER BY actions.action";

/// An action after which something got worse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// The action.
    pub action: String,
    /// The finding.
    pub finding: String,
    /// What got worse.
    pub title: String,
}

/// Actions that are kept, after which something got worse that was told since.
pub async fn suspects(engine: &Engine) -> Result<Vec<Suspect>, EngineError> {
    let rows = engine.collect(SUSPECTS, &QueryOptions::default()).await?;
    let columns = Columns::new("suspects", &rows)?;
    let [action, finding, title] = columns.each_text(["action", "finding", "title"])?;
    let suspect = |row: usize| Suspect {
        action: action.value(row).to_owned(),
        finding: finding.value(row).to_owned(),
        title: title.value(row).to_owned(),
    };
    Ok((0..columns.rows()).map(suspect).collect())
}

/// An open recommendation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Its id.
    pub id: String,
    /// The host that it is about.
    pub host: String,
    /// The recommendation as JSON, for the optimizer.
    pub detail: String,
}

/// The open recommendations, the most worthwhile first.
pub async fn open(engine: &Engine) -> Result<Vec<Open>, EngineError> {
    let rows = engine.collect(OPEN, &QueryOptions::default()).await?;
    let columns = Columns::new("recommendations", &rows)?;
    let [id, host, detail] = columns.each_text(["id", "host", "detail"])?;
    let open = |row: usize| Open {
        id: id.value(row).to_owned(),
        host: host.value(row).to_owned(),
        detail: detail.value(row).to_owned(),
    };
    Ok((0..columns.rows()).map(open).collect())
}

/// Every step of every action, the oldest first, as the events in which they were told; of their
/// attributes only `action` and `detail`.
pub async fn steps(engine: &Engine) -> Result<Vec<Event>, EngineError> {
    let rows = engine.collect(STEPS, &QueryOptions::default()).await?;
    let columns = Columns::new("steps", &rows)?;
    let ts_us = columns.integers("ts_us")?;
    let [name, component, subject] = columns.each_text(["name", "component", "subject"])?;
    let [message, action, detail] = columns.each_text(["message", "action", "detail"])?;
    let step = |row: usize| {
        let name: EventName = match name.value(row).parse() {
            Ok(name) => name,
            Err(never) => match never {},
        };
        let component = component.value(row);
        Ok(Event {
            ts_us: ts_us.value(row),
            name,
            component: component.parse().map_err(|_| {
                EngineError::Rule(RuleError::Column {
                    rule: "steps".to_owned(),
                    column: "component".to_owned(),
                    reason: format!("{component} is none"),
                })
            })?,
            subject: subject.value(row).to_owned(),
            message: message.value(row).to_owned(),
            attributes: vec![
                ("action".to_owned(), action.value(row).to_owned()),
                ("detail".to_owned(), detail.value(row).to_owned()),
            ],
        })
    };
    (0..columns.rows()).map(step).collect()
}
