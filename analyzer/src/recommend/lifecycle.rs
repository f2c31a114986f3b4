//! The life of recommendations, as events: raised when a rule finds something new, refreshed when
//! its figures have moved or its time runs out, expired when the rule finds it no more. Judging again
//! with the same result says nothing.
//!
//! Dismissing is a person's, applying the optimizer's business; both are only heeded here.

use std::collections::BTreeMap;

use arrow::array::Array as _;
use driftline_schemas::{Event, EventName};
use serde_json::json;

use super::Recommendation;
use crate::columns::{Columns, optional};
use crate::compare::Window;
use crate::engine::{Engine, EngineError, QueryOptions};
use crate::rule::{Auto, Verify};

/// A recommendation lives at least so long without being found again: for rules that are judged
/// every few minutes, the server may be away for a while.
pub(super) const LEAST_LIFE_S: u64 = 86_400;
/// And at least this many times as long as its rule waits between two judgements.
const LIFE_IN_PERIODS: u64 = 3;
/// Figures that have moved by less than this part are not told again.
const MOVED: f64 = 0.2;
/// Nor is a confidence that has moved by less.
const MOVED_CONFIDENCE: f64 = 0.1;

/// What has become of a recommendation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It holds.
    Open,
    /// Somebody does not want it.
    Dismissed,
    /// It holds no longer.
    Expired,
}

/// A recommendation as it is held.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Its id.
    pub id: String,
    /// Its rule.
    pub rule: String,
    /// What has become of it.
    pub state: State,
    /// What was told last.
    pub saved_s_per_h: Option<f64>,
    /// The same.
    pub observed: f64,
    /// The same.
    pub confidence: f64,
    /// When it was told last.
    pub told_us: i64,
    /// Until when that holds.
    pub expires_us: i64,
}

/// What is held, and what was found.
pub struct Lifecycle<'a> {
    /// What is held, in any state.
    pub held: &'a [Held],
    /// What was found.
    pub found: &'a [Recommendation],
    /// Whether a rule was judged in full: only then is what it does not find over.
    pub judged: &'a dyn Fn(&str) -> bool,
    /// How long a recommendation of a rule holds without being found again.
    pub life_us: &'a dyn Fn(&str) -> i64,
    /// The window that was judged.
    pub window: Window,
}

/// How long the recommendations of a rule hold that is judged so often.
pub(super) fn life_us(every_s: u64) -> i64 {
    let seconds = every_s.saturating_mul(LIFE_IN_PERIODS).max(LEAST_LIFE_S);
    i64::try_from(seconds)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000)
}

/// The events to append. Pure: the same arguments give the same events.
pub fn lifecycle(lifecycle: &Lifecycle<'_>, now_us: i64) -> Vec<Event> {
    let held: BTreeMap<&str, &Held> = lifecycle
        .held
        .iter()
        .map(|held| (held.id.as_str(), held))
        .collect();
    let mut events = Vec::new();
    for found in lifecycle.found {
        let life_us = (lifecycle.life_us)(&found.rule);
        let name = match held.get(found.id.as_str()) {
            None => EventName::RecommendationRaised,
            Some(held) => match held.state {
                State::Expired => EventName::RecommendationRaised,
                State::Dismissed => continue,
                State::Open if is_told_again(held, found, now_us) => {
                    EventName::RecommendationRefreshed
                }
                State::Open => continue,
            },
        };
        events.push(told(name, found, lifecycle.window, now_us, life_us));
    }
    let found: BTreeMap<&str, &Recommendation> = lifecycle
        .found
        .iter()
        .map(|found| (found.id.as_str(), found))
        .collect();
    let gone = held.values().filter(|held| {
        held.state == State::Open
            && !found.contains_key(held.id.as_str())
            && ((lifecycle.judged)(&held.rule) || held.expires_us <= now_us)
    });
    events.extend(gone.map(|held| expired(held, (lifecycle.judged)(&held.rule), now_us)));
    events
}

/// What a person had looked for, told as if a rule had found it.
pub fn raise(found: &Recommendation, window: Window, now_us: i64, life_us: i64) -> Event {
    told(
        EventName::RecommendationRaised,
        found,
        window,
        now_us,
        life_us,
    )
}

/// Whether the figures have moved, or more than half of the time is over.
fn is_told_again(held: &Held, found: &Recommendation, now_us: i64) -> bool {
    let half = held
        .told_us
        .saturating_add(held.expires_us.saturating_sub(held.told_us) / 2);
    let saved = match (held.saved_s_per_h, found.saved_s_per_h) {
        (Some(before), Some(after)) => moved(before, after),
        (before, after) => before.is_some() != after.is_some(),
    };
    saved
        || moved(held.observed, found.observed)
        || (held.confidence - found.confidence).abs() > MOVED_CONFIDENCE
        || now_us >= half
}

fn moved(before: f64, after: f64) -> bool {
    (before - after).abs() > MOVED * before.abs().max(after.abs())
}

fn told(
    name: EventName,
    found: &Recommendation,
    window: Window,
    now_us: i64,
    life_us: i64,
) -> Event {
    let expires_us = now_us.saturating_add(life_us);
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let action = found.action.as_ref().map(ToString::to_string);
    let attributes = [
        ("rule", found.rule.clone()),
        ("title", found.title.clone()),
        ("host", found.host.clone()),
        ("target", found.target.clone()),
        ("object", found.subject.clone()),
        ("evidence", found.evidence.clone()),
        ("saved_s_per_h", number(found.saved_s_per_h)),
        ("saved_method", text(&found.saved_method)),
        ("predicted", number(found.predicted)),
        ("prior", found.prior.to_string()),
        ("confidence", found.confidence.to_string()),
        ("outcomes", found.outcomes.to_string()),
        ("priority", found.priority.to_string()),
        ("risk", found.risk.as_str().to_owned()),
        ("auto", found.auto.as_str().to_owned()),
        ("verify", found.verify.as_str().to_owned()),
        ("undo", text(&found.undo)),
        // The optimizer's steps call an action's id `action`, so that what is proposed is not.
        ("proposal", text(&action)),
        ("observed", found.observed.to_string()),
        ("threshold", found.threshold.to_string()),
        ("unit", found.unit.clone()),
        ("from_us", window.from_us.to_string()),
        ("until_us", window.until_us.to_string()),
        ("expires_us", expires_us.to_string()),
        ("recommendation", found.id.clone()),
        ("detail", for_optimizer(found, now_us, expires_us)),
    ];
    let attributes = attributes
        .into_iter()
        .filter(|(_, value)| !value.is_empty());
    Event {
        ts_us: now_us,
        name,
        component: found.component,
        subject: found.id.clone(),
        message: found.advice.clone(),
        attributes: attributes
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    }
}

fn expired(held: &Held, judged: bool, now_us: i64) -> Event {
    let message = match judged {
        true => format!("{} finds this no longer", held.rule),
        false => format!(
            "{} was not judged for so long that this may be over",
            held.rule
        ),
    };
    Event {
        ts_us: now_us,
        name: EventName::RecommendationExpired,
        component: driftline_schemas::Component::Driftline,
        subject: held.id.clone(),
        message,
        attributes: vec![
            ("rule".to_owned(), held.rule.clone()),
            ("recommendation".to_owned(), held.id.clone()),
        ],
    }
}

/// The recommendation as the optimizer reads it.
fn for_optimizer(found: &Recommendation, now_us: i64, expires_us: i64) -> String {
    let (verification, measure) = match found.verify {
        Verify::WorkPerCall => ("V1", "work_saved"),
        Verify::SignalClears => ("V2", "signal_fall"),
        Verify::HitRatio => ("V3", "hit_ratio_gain"),
    };
    let estimate = found.predicted.map(|predicted| {
        // What a rule is not sure of may be anything down to nothing.
        let unsure = (predicted * found.confidence, predicted);
        let (low, high) = found.interval.unwrap_or(unsure);
        json!({
            "measure": measure,
            "predicted": predicted,
            "low": low,
            "high": high,
            "method": found.saved_method.as_deref().unwrap_or("E4"),
            "confidence": found.confidence,
            "saved_s_per_h": found.saved_s_per_h,
            "statements": found.statements,
        })
    });
    let auto = match found.auto {
        Auto::Automatic => "A",
        Auto::Approval => "P",
        Auto::Advice => "N",
    };
    let mut told = json!({
        "id": found.id,
        "rule": found.rule,
        "component": found.component.as_str(),
        "target": found.target,
        "subject": found.subject,
        "advice": found.advice,
        "evidence": [found.evidence],
        "risk": found.risk.as_str(),
        "auto": auto,
        "verification": verification,
        "raised_us": now_us,
        "expires_us": expires_us,
    });
    if let Some(action) = &found.action {
        told["action"] = action.clone();
    }
    if let Some(estimate) = estimate {
        told["estimate"] = estimate;
    }
    told.to_string()
}

/// Everything that is held, from the view `recommendations`.
pub async fn held(engine: &Engine) -> Result<Vec<Held>, EngineError> {
    let sql = "SELECT id, rule, state, saved_s_per_h, observed, confidence, \
               CAST(told AS BIGINT) AS told_us, expires_us FROM recommendations ORDER BY id";
    let rows = engine.collect(sql, &QueryOptions::default()).await?;
    let columns = Columns::new("recommendations", &rows)?;
    let (id, rule, state) = (
        columns.texts("id")?,
        columns.texts("rule")?,
        columns.texts("state")?,
    );
    let (saved, observed) = (
        columns.floats("saved_s_per_h")?,
        columns.floats("observed")?,
    );
    let confidence = columns.floats("confidence")?;
    let (told_us, expires_us) = (
        columns.integers("told_us")?,
        columns.integers("expires_us")?,
    );
    let held = |row: usize| Held {
        id: id.value(row).to_owned(),
        rule: rule.value(row).to_owned(),
        state: match state.value(row) {
            "dismissed" => State::Dismissed,
            "expired" => State::Expired,
            _ => State::Open,
        },
        saved_s_per_h: optional(&saved, row),
        observed: optional(&observed, row).unwrap_or(f64::NAN),
        confidence: optional(&confidence, row).unwrap_or_default(),
        told_us: told_us.value(row),
        expires_us: match expires_us.is_valid(row) {
            true => expires_us.value(row),
            false => i64::MAX,
        },
    };
    Ok((0..columns.rows()).map(held).collect())
}
