//! Steps as events of the log, and back. Beside the whole step as JSON, which the fold needs, an
//! event carries what a query asks for as attributes of their own.

use driftline_schemas::event::{Event, EventName};

use super::{Check, Record, Step};
use crate::recommendation::{Recommendation, RecommendationError};

/// The attribute with an action's id.
pub const ACTION: &str = "action";
/// The attribute with a recommendation's id.
pub const RECOMMENDATION: &str = "recommendation";
/// The attribute with a rule's id.
pub const RULE: &str = "rule";
/// The attribute with the step's name in snake case.
pub const STEP: &str = "step";
/// The attribute with the configured server.
pub const TARGET: &str = "target";
/// The attribute with the kind of action.
pub const KIND: &str = "kind";
/// The attribute with what was expected.
pub const PREDICTED: &str = "predicted";
/// The attribute with what came.
pub const ACTUAL: &str = "actual";
/// The attribute with what both are of.
pub const MEASURE: &str = "measure";
/// The attribute with how it ended.
pub const OUTCOME: &str = "outcome";
/// The attribute with a reason.
pub const REASON: &str = "reason";
/// The attribute with the command.
pub const COMMAND: &str = "command";
/// The attribute with the command that undoes it.
pub const INVERSE: &str = "inverse";
/// The attribute with the whole step, or the whole recommendation, as JSON.
pub const DETAIL: &str = "detail";

/// Why an event is no step.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// An attribute is missing.
    #[error("the event {name} at {ts_us} has no attribute {attribute}; was it written by hand?")]
    Attribute {
        /// The event's name.
        name: String,
        /// Its time.
        ts_us: i64,
        /// The attribute.
        attribute: &'static str,
    },
    /// Its JSON cannot be read or written.
    #[error("the step {name} of {action} is not readable")]
    Json {
        /// The event's name.
        name: String,
        /// The action.
        action: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// The event of a recommendation: `RecommendationRaised`, `Refreshed`, `Expired` or `Dismissed`.
pub fn recommendation(
    name: EventName,
    ts_us: i64,
    recommendation: &Recommendation,
) -> Result<Event, RecommendationError> {
    let mut attributes = about(recommendation);
    attributes.push((DETAIL.to_owned(), recommendation.to_json()?));
    if let Some(estimate) = &recommendation.estimate {
        attributes.push((PREDICTED.to_owned(), estimate.predicted.to_string()));
        attributes.push((MEASURE.to_owned(), estimate.measure.as_str().to_owned()));
    }
    Ok(Event {
        ts_us,
        name,
        component: recommendation.component,
        subject: recommendation.subject.clone(),
        message: recommendation.advice.clone(),
        attributes,
    })
}

/// The recommendation that such an event holds.
pub fn read_recommendation(event: &Event) -> Option<Result<Recommendation, RecommendationError>> {
    let text = attribute(event, DETAIL)?;
    Some(Recommendation::from_json(text))
}

/// The event of a step.
pub fn write(record: &Record, recommendation: &Recommendation) -> Result<Event, StepError> {
    let name = record.step.name();
    let detail = serde_json::to_string(&record.step).map_err(|source| StepError::Json {
        name: name.to_owned(),
        action: record.action.clone(),
        source,
    })?;
    let mut attributes = about(recommendation);
    attributes.push((ACTION.to_owned(), record.action.clone()));
    attributes.push((STEP.to_owned(), snake_case(name)));
    let (message, own) = own(&record.step);
    attributes.extend(own.into_iter().map(|(key, value)| (key.to_owned(), value)));
    attributes.push((DETAIL.to_owned(), detail));
    Ok(Event {
        ts_us: record.ts_us,
        name: known(name),
        component: recommendation.component,
        subject: recommendation.subject.clone(),
        message: format!("{}: {message}", recommendation.rule),
        attributes,
    })
}

/// The action that an event is a step of, if it is one.
pub fn action(event: &Event) -> Option<&str> {
    attribute(event, ACTION)
}

/// The step of an event; `None` if it is none of an action.
pub fn read(event: &Event) -> Result<Option<Record>, StepError> {
    let Some(action) = action(event) else {
        return Ok(None);
    };
    let name = || event.name.as_str().to_owned();
    let detail = attribute(event, DETAIL).ok_or_else(|| StepError::Attribute {
        name: name(),
        ts_us: event.ts_us,
        attribute: DETAIL,
    })?;
    let step = serde_json::from_str(detail).map_err(|source| StepError::Json {
        name: name(),
        action: action.to_owned(),
        source,
    })?;
    Ok(Some(Record {
        ts_us: event.ts_us,
        action: action.to_owned(),
        step,
    }))
}

fn about(recommendation: &Recommendation) -> Vec<(String, String)> {
    let mut all = vec![
        (RECOMMENDATION.to_owned(), recommendation.id.clone()),
        (RULE.to_owned(), recommendation.rule.clone()),
        (TARGET.to_owned(), recommendation.target.clone()),
    ];
    if let Some(action) = &recommendation.action {
        all.push((KIND.to_owned(), action.kind().as_str().to_owned()));
    }
    all
}

/// What a step says by itself: a sentence, and attributes.
fn own(step: &Step) -> (String, Vec<(&'static str, String)>) {
    match step {
        Step::DryRunPassed { plan, .. } => (
            format!("planned: {}", plan.command),
            vec![
                (COMMAND, plan.command.clone()),
                (INVERSE, plan.inverse.clone()),
            ],
        ),
        Step::Approved { by } => (format!("approved {by}"), Vec::new()),
        Step::BaselineFrozen { windows, inverse } => (
            format!("baseline of {} windows", windows.len()),
            vec![(INVERSE, inverse.command())],
        ),
        Step::ApplyStarted { command } => (
            format!("begins: {command}"),
            vec![(COMMAND, command.clone())],
        ),
        Step::ApplyProgressed { warmed } => (format!("{} keys warmed", warmed.len()), Vec::new()),
        Step::ApplySucceeded { note } => (format!("applied; {note}"), Vec::new()),
        Step::WindowObserved { check, .. } => (
            format!("a window was measured ({})", check.as_str()),
            Vec::new(),
        ),
        Step::VerdictReached { check, verdict } => {
            let mut all = vec![
                (OUTCOME, verdict.outcome.as_str().to_owned()),
                (MEASURE, verdict.measure.clone()),
                (REASON, verdict.reason.clone()),
            ];
            all.extend(verdict.predicted.map(|p| (PREDICTED, p.to_string())));
            all.extend(verdict.actual.map(|a| (ACTUAL, a.to_string())));
            let outcome = verdict.outcome.as_str();
            let told = format!("{outcome} ({}): {}", check.as_str(), verdict.reason);
            (told, all)
        }
        Step::RevertSucceeded { note } => (format!("reverted; {note}"), Vec::new()),
        Step::ApplyFailed { reason, .. } => because("not applied", reason),
        Step::GuardBreached { reason } => because("a guard was breached", reason),
        Step::RevertStarted { reason } => because("reverting", reason),
        Step::RevertFailed { reason } => because("not reverted", reason),
        Step::ExternalChangeDetected { found } => because("somebody else changed it", found),
    }
}

fn because(what: &str, reason: &str) -> (String, Vec<(&'static str, String)>) {
    (
        format!("{what}: {reason}"),
        vec![(REASON, reason.to_owned())],
    )
}

impl Check {
    /// The word in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::First => "first",
            Self::Last => "last",
        }
    }
}

fn attribute<'a>(event: &'a Event, key: &str) -> Option<&'a str> {
    let found = event.attributes.iter().find(|(k, _)| k == key);
    found.map(|(_, value)| value.as_str())
}

fn known(name: &str) -> EventName {
    match name.parse() {
        Ok(name) => name,
        Err(never) => match never {},
    }
}

fn snake_case(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for (at, c) in name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}
