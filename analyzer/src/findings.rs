//! The life of findings, as events: what an analysis adds to what is held already, and what people
//! say of it. Each change is told once, and nothing is erased.

mod read;

use std::collections::BTreeMap;

use driftline_schemas::{Component, Event, EventName, Labels};
use serde_json::json;

use crate::columns::Columns;
use crate::engine::{Engine, EngineError, QueryOptions};
use crate::nightly::{Evidence, Finding, Nightly, fingerprint};
use crate::rule::text;

pub use read::read;

/// Members of a finding that are told with it; the rest is one query away.
const MOST_EVIDENCE: usize = 20;

/// What has become of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody has looked at it.
    Open,
    /// Somebody has seen it.
    Acknowledged,
    /// What caused it is mended.
    Fixed,
    /// It is the new level.
    Accepted,
    /// A later analysis does not find it any more.
    Superseded,
}

/// What a person or a tool does with a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Says that it is seen.
    Acknowledge,
    /// Says that it is mended.
    Fix,
    /// Says that this is the new level.
    Accept,
    /// Says that it is not over.
    Reopen,
}

/// A finding as it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its id.
    pub id: String,
    /// The day that it was found on.
    pub day: String,
    /// What has become of it.
    pub state: State,
    /// A fingerprint of what was told of it.
    pub content: String,
}

/// A step that a finding's state does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("finding {id} is {state}: it cannot be {wanted}")]
pub struct StepError {
    id: String,
    state: &'static str,
    wanted: &'static str,
}

impl State {
    const ALL: [Self; 5] = [
        Self::Open,
        Self::Acknowledged,
        Self::Fixed,
        Self::Accepted,
        Self::Superseded,
    ];

    /// The words in SQL and on paper.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Fixed => "fixed",
            Self::Accepted => "accepted",
            Self::Superseded => "superseded",
        }
    }

    /// Whether it still asks for attention.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Acknowledged)
    }
}

/// Every finding that is held; of one day where one is named.
pub async fn held(engine: &Engine, day: Option<&str>) -> Result<Vec<Held>, EngineError> {
    let sql = "SELECT id, day, state, content FROM findings \
               WHERE $day = '' OR day = $day ORDER BY id";
    let options = QueryOptions {
        parameters: vec![("day".to_owned(), text(day.unwrap_or_default()))],
        timeout: None,
    };
    let rows = engine.collect(sql, &options).await?;
    let columns = Columns::new("findings", &rows)?;
    let [id, day, state, content] = [
        columns.texts("id")?,
        columns.texts("day")?,
        columns.texts("state")?,
        columns.texts("content")?,
    ];
    let held = |row: usize| {
        let known = State::ALL
            .into_iter()
            .find(|known| known.as_str() == state.value(row));
        Ok(Held {
            id: id.value(row).to_owned(),
            day: day.value(row).to_owned(),
            state: known.ok_or_else(|| EngineError::Column {
                rule: "findings".to_owned(),
                column: "state".to_owned(),
            })?,
            content: content.value(row).to_owned(),
        })
    };
    (0..columns.rows()).map(held).collect()
}

/// What an analysis of a day adds to what is held of that day. The same analysis again adds nothing
/// but that it took place.
pub fn events(nightly: &Nightly, day: &str, held: &[Held], now_us: i64) -> Vec<Event> {
    let held: BTreeMap<&str, &Held> = held.iter().map(|held| (held.id.as_str(), held)).collect();
    let mut events = Vec::new();
    for finding in &nightly.findings {
        let attributes = attributes(finding, day);
        let content = attributes.last().map(|(_, value)| value.as_str());
        let name = match held.get(finding.id.as_str()) {
            None => EventName::FindingOpened,
            Some(held) if held.state == State::Superseded => EventName::FindingOpened,
            Some(held) if Some(held.content.as_str()) != content => EventName::FindingUpdated,
            Some(_) => continue,
        };
        events.push(event(name, &finding.id, &finding.title, attributes, now_us));
    }
    for held in held.values() {
        let found = nightly.findings.iter().any(|finding| finding.id == held.id);
        // What is watched live ends when it is over, not when a day is.
        if !found && held.state.is_open() && !is_live(&held.id) {
            let message = format!("{day} was analysed again, and this is no finding any more");
            let attributes = vec![("day".to_owned(), day.to_owned())];
            events.push(event(
                EventName::FindingSuperseded,
                &held.id,
                &message,
                attributes,
                now_us,
            ));
        }
    }
    events.push(analysed(nightly, day, now_us));
    events
}

/// The kind in the ids of what is found while it happens.
pub(crate) const LIVE: &str = "live";

fn is_live(id: &str) -> bool {
    id.strip_prefix(LIVE)
        .is_some_and(|rest| rest.starts_with('-'))
}

/// What is told of a finding when it is opened, or when more belongs to it than was known.
pub(crate) fn told(name: EventName, finding: &Finding, day: &str, now_us: i64) -> Event {
    let attributes = attributes(finding, day);
    event(name, &finding.id, &finding.title, attributes, now_us)
}

/// What is told when a finding is over by itself.
pub(crate) fn over(id: &str, day: &str, accepted: bool, message: &str, now_us: i64) -> Event {
    let resolution = if accepted { "accepted" } else { "fixed" };
    let attributes = vec![
        ("as".to_owned(), resolution.to_owned()),
        ("by".to_owned(), "driftline".to_owned()),
        ("day".to_owned(), day.to_owned()),
    ];
    event(EventName::FindingResolved, id, message, attributes, now_us)
}

/// What somebody does with a finding.
pub fn step(held: &Held, step: Step, by: &str, now_us: i64) -> Result<Event, StepError> {
    let (name, wanted, allowed) = match step {
        Step::Acknowledge => (
            EventName::FindingAcknowledged,
            "acknowledged",
            held.state == State::Open,
        ),
        Step::Fix => (EventName::FindingResolved, "fixed", held.state.is_open()),
        Step::Accept => (EventName::FindingResolved, "accepted", held.state.is_open()),
        Step::Reopen => (
            EventName::FindingReopened,
            "reopened",
            matches!(held.state, State::Fixed | State::Accepted),
        ),
    };
    if !allowed {
        return Err(StepError {
            id: held.id.clone(),
            state: held.state.as_str(),
            wanted,
        });
    }
    let attributes = vec![
        ("as".to_owned(), wanted.to_owned()),
        ("by".to_owned(), by.to_owned()),
        ("day".to_owned(), held.day.clone()),
    ];
    let message = format!("{} is {wanted} by {by}", held.id);
    Ok(event(name, &held.id, &message, attributes, now_us))
}

/// What is told of a finding; the last of it is the fingerprint of the rest.
fn attributes(finding: &Finding, day: &str) -> Vec<(String, String)> {
    let number = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
    let first = finding.evidence.first();
    let interval = first.and_then(|first| first.interval_pct);
    let evidence: Vec<_> = finding
        .evidence
        .iter()
        .take(MOST_EVIDENCE)
        .map(evidence_json)
        .collect();
    let causes: Vec<_> = finding
        .causes
        .iter()
        .map(|cause| json!({ "ts_us": cause.ts_us, "what": cause.what }))
        .collect();
    let scope: Vec<(&str, &str)> = finding
        .scope
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let mut attributes: Vec<(String, String)> = [
        ("day", day.to_owned()),
        ("severity", finding.severity.as_str().to_owned()),
        ("title", finding.title.clone()),
        ("onset_us", finding.onset_us.to_string()),
        ("scope", Labels::new(&scope).as_str().to_owned()),
        (
            "effect_pct",
            number(first.and_then(|first| first.effect_pct)),
        ),
        ("ci_lo_pct", number(interval.map(|(lo, _)| lo))),
        ("ci_hi_pct", number(interval.map(|(_, hi)| hi))),
        ("p_value", number(first.map(|first| first.p_value))),
        ("members", finding.evidence.len().to_string()),
        ("evidence", json!(evidence).to_string()),
        ("causes", json!(causes).to_string()),
        ("sql", finding.sql.clone()),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    let parts: Vec<&str> = attributes.iter().map(|(_, value)| value.as_str()).collect();
    let content = fingerprint(&parts);
    attributes.push(("content".to_owned(), content));
    attributes
}

/// The evidence as it stands in events and reports.
pub fn evidence_json(evidence: &Evidence) -> serde_json::Value {
    json!({
        "name": evidence.name,
        "unit": evidence.unit,
        "before": evidence.before,
        "after": evidence.after,
        "effect_pct": evidence.effect_pct,
        "ci_lo_pct": evidence.interval_pct.map(|(lo, _)| lo),
        "ci_hi_pct": evidence.interval_pct.map(|(_, hi)| hi),
        "p_value": evidence.p_value,
    })
}

fn analysed(nightly: &Nightly, day: &str, now_us: i64) -> Event {
    let attributes = vec![
        ("findings".to_owned(), nightly.findings.len().to_string()),
        ("rows".to_owned(), nightly.rows.to_string()),
        ("runs".to_owned(), nightly.runs.to_string()),
        ("series".to_owned(), nightly.series.to_string()),
    ];
    let message = format!(
        "{day} was analysed: {} series and {} runs judged, {} findings",
        nightly.series,
        nightly.runs,
        nightly.findings.len()
    );
    event(EventName::DayAnalysed, day, &message, attributes, now_us)
}

fn event(
    name: EventName,
    subject: &str,
    message: &str,
    attributes: Vec<(String, String)>,
    now_us: i64,
) -> Event {
    Event {
        ts_us: now_us,
        name,
        component: Component::Driftline,
        subject: subject.to_owned(),
        message: message.to_owned(),
        attributes,
    }
}

#[cfg(test)]
mod tests;
