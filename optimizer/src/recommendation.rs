//! What the analyzer hands over: one recommendation, with its evidence, its estimate and, where it
//! can be applied, a typed action. It travels as JSON in an event's attribute.
//!
//! Why something is recommended is left to the analyzer's rules.

use driftline_schemas::metric::Component;
use serde::{Deserialize, Serialize};

use crate::action::Action;

/// Most bytes of a recommendation as JSON; a longer one is refused.
pub const RECOMMENDATION_BYTES_MAX: usize = 262_144;

/// Why a text is no recommendation.
#[derive(Debug, thiserror::Error)]
pub enum RecommendationError {
    /// It is longer than allowed.
    #[error("the recommendation has {bytes} bytes, more than {RECOMMENDATION_BYTES_MAX}; split it")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is not the JSON of a recommendation.
    #[error("the recommendation cannot be read; was it written by a newer version?")]
    Json(#[from] serde_json::Error),
}

/// One recommendation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recommendation {
    /// The fingerprint of rule, object and command: the same advice has the same id.
    pub id: String,
    /// The rule that raised it, such as `P2`.
    pub rule: String,
    /// What it is about.
    #[serde(with = "component")]
    pub component: Component,
    /// The configured server that it is about, by name.
    pub target: String,
    /// The object: a table, an index, a setting, a key pattern.
    pub subject: String,
    /// One sentence for a person.
    pub advice: String,
    /// How it can be applied; without it, it is advice only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// Ids of the findings and queries that it rests on.
    #[serde(default)]
    pub evidence: Vec<String>,
    /// What it is expected to bring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// What could go wrong.
    pub risk: Risk,
    /// Who may have it applied.
    pub auto: Auto,
    /// How its effect is judged.
    pub verification: Verification,
    /// When it was raised, in microseconds since 1970 UTC.
    pub raised_us: i64,
    /// From when it may not be applied any more, in microseconds since 1970 UTC.
    pub expires_us: i64,
}

/// What a recommendation is expected to bring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// What `predicted` is a figure of.
    pub measure: EstimateMeasure,
    /// The fraction of work saved (0.9 of it), or the hit ratio gained (0.16 more).
    pub predicted: f64,
    /// The lower end of its interval.
    pub low: f64,
    /// The upper end of its interval.
    pub high: f64,
    /// How it was estimated, such as `E1`.
    pub method: String,
    /// How far the rule may be trusted, from 0 to 1.
    pub confidence: f64,
    /// Seconds saved in an hour, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_s_per_h: Option<f64>,
    /// The statements that it is about, by `queryid`; empty means every statement on the object.
    #[serde(default)]
    pub statements: Vec<i64>,
}

/// What an estimate's figure is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EstimateMeasure {
    /// The fraction of blocks per call that is saved.
    WorkSaved,
    /// The hit ratio gained.
    HitRatioGain,
    /// The fraction by which the signal falls.
    SignalFall,
}

impl EstimateMeasure {
    /// The word in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WorkSaved => "work_saved",
            Self::HitRatioGain => "hit_ratio_gain",
            Self::SignalFall => "signal_fall",
        }
    }
}

/// What could go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Little.
    Low,
    /// Something.
    Medium,
    /// Much.
    High,
}

impl Risk {
    /// What a saving is divided by when recommendations are ranked.
    pub const fn weight(self) -> f64 {
        match self {
            Self::Low => 1.0,
            Self::Medium => 3.0,
            Self::High => 9.0,
        }
    }
}

/// Who may have a recommendation applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Auto {
    /// The configuration, once the operator opts in.
    #[serde(rename = "A")]
    Automatic,
    /// A person, who approves what was prepared.
    #[serde(rename = "P")]
    Prepared,
    /// Nobody: it is advice.
    #[serde(rename = "N")]
    Never,
}

/// How an effect is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verification {
    /// By work per call of each statement on the object.
    #[serde(rename = "V1")]
    Work,
    /// By the signal, which is clear for three windows, while the guards hold.
    #[serde(rename = "V2")]
    Signal,
    /// By the hit ratio and the calls that reach the backend.
    #[serde(rename = "V3")]
    HitRatio,
}

impl Recommendation {
    /// The id of the advice to do `action` to `subject` of `target`, as `rule` says.
    pub fn fingerprint(rule: &str, target: &str, subject: &str, action: Option<&Action>) -> String {
        let action = action.map(Action::identity).unwrap_or_default();
        format!(
            "recommendation-{}",
            fingerprint(&[rule, target, subject, &action])
        )
    }

    /// The database that its subject names, where an action on a table has the subject
    /// `database.schema.name`, of the table or of its index, or `database queryid`. Otherwise the
    /// action is about the database of the server's URL, or about the whole server.
    pub fn database(&self) -> Option<&str> {
        let action = self.action.as_ref()?;
        let table = action.table()?.to_string();
        let index = action.index_name().map(|index| index.to_string());
        let object = |name: &String| self.subject.strip_suffix(name)?.strip_suffix('.');
        let statement = || {
            let (database, id) = self.subject.rsplit_once(' ')?;
            id.parse::<i64>().is_ok().then_some(database)
        };
        let found = object(&table)
            .or_else(|| index.as_ref().and_then(object))
            .or_else(statement)?;
        (!found.is_empty()).then_some(found)
    }

    /// Reads it from an event's attribute.
    pub fn from_json(text: &str) -> Result<Self, RecommendationError> {
        if text.len() > RECOMMENDATION_BYTES_MAX {
            return Err(RecommendationError::TooLong { bytes: text.len() });
        }
        Ok(serde_json::from_str(text)?)
    }

    /// The text for an event's attribute.
    pub fn to_json(&self) -> Result<String, RecommendationError> {
        let text = serde_json::to_string(self)?;
        if text.len() > RECOMMENDATION_BYTES_MAX {
            return Err(RecommendationError::TooLong { bytes: text.len() });
        }
        Ok(text)
    }

    /// Saved seconds in an hour × confidence ÷ risk; nothing known saves nothing.
    pub fn priority(&self) -> f64 {
        let saved = self.estimate.as_ref().and_then(|e| {
            let seconds = e.saved_s_per_h?;
            Some(seconds * e.confidence)
        });
        saved.unwrap_or(0.0) / self.risk.weight()
    }
}

/// FNV-1a of 64 bits (Fowler, Noll, Vo; draft-eastlake-fnv) over parts, which is the same on every
/// machine and for ever.
pub(crate) fn fingerprint(parts: &[&str]) -> String {
    format!("{:016x}", fnv(parts))
}

/// The same as a number.
pub(crate) fn fnv(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0x1f]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

/// A component as its word.
mod component {
    use driftline_schemas::metric::Component;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        component: &Component,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(component.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Component, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{Action, TableName};

    fn recommendation() -> Recommendation {
        let action = Action::CreateIndex {
            table: TableName::new("public", "orders"),
            columns: vec!["customer_id".to_owned()],
            predicate: None,
        };
        Recommendation {
            id: Recommendation::fingerprint("P2", "shop", "public.orders", Some(&action)),
            rule: "P2".to_owned(),
            component: Component::Postgres,
            target: "shop".to_owned(),
            subject: "public.orders".to_owned(),
            advice: "index orders by customer_id".to_owned(),
            action: Some(action),
            evidence: vec!["finding-1".to_owned()],
            estimate: Some(Estimate {
                measure: EstimateMeasure::WorkSaved,
                predicted: 0.99,
                low: 0.9,
                high: 1.0,
                method: "E1".to_owned(),
                confidence: 0.5,
                saved_s_per_h: Some(60.0),
                statements: vec![-5],
            }),
            risk: Risk::Medium,
            auto: Auto::Automatic,
            verification: Verification::Work,
            raised_us: 1,
            expires_us: 2,
        }
    }

    #[test]
    fn a_round_trip_through_json_changes_nothing() {
        let before = recommendation();
        let text = before.to_json().expect("it fits");
        assert_eq!(Recommendation::from_json(&text).expect("it reads"), before);
    }

    #[test]
    fn the_same_advice_has_the_same_id_and_another_column_another() {
        let one = recommendation();
        let other = Action::CreateIndex {
            table: TableName::new("public", "orders"),
            columns: vec!["created".to_owned()],
            predicate: None,
        };
        assert_eq!(one.id, recommendation().id);
        let id = Recommendation::fingerprint("P2", "shop", "public.orders", Some(&other));
        assert_ne!(one.id, id);
    }

    #[test]
    fn the_database_is_read_from_the_subject_of_what_is_done_to_a_table() {
        let of = |subject: &str| {
            let mut one = recommendation();
            one.subject = subject.to_owned();
            one.database().map(str::to_owned)
        };
        assert_eq!(of("shop.public.orders").as_deref(), Some("shop"));
        assert_eq!(of("my.shop.public.orders").as_deref(), Some("my.shop"));
        assert_eq!(of("shop -17").as_deref(), Some("shop"));
        for other in [
            "public.orders",
            ".public.orders",
            "orders",
            "shop orders",
            "",
        ] {
            assert_eq!(of(other), None, "{other:?}");
        }
        let mut dropped = recommendation();
        dropped.action = Some(Action::DropIndex {
            table: TableName::new("public", "orders"),
            index: "orders_x".to_owned(),
        });
        dropped.subject = "shop.public.orders_x".to_owned();
        assert_eq!(dropped.database(), Some("shop"));
        dropped.action = None;
        assert_eq!(dropped.database(), None);
    }

    #[test]
    fn priority_weighs_the_saving_by_confidence_and_risk() {
        assert!((recommendation().priority() - 10.0).abs() < 1e-9);
        let mut unknown = recommendation();
        unknown.estimate = None;
        assert!(unknown.priority().abs() < f64::EPSILON);
    }

    #[test]
    fn a_text_that_is_too_long_or_no_recommendation_is_refused() {
        let long = " ".repeat(RECOMMENDATION_BYTES_MAX + 1);
        assert!(matches!(
            Recommendation::from_json(&long),
            Err(RecommendationError::TooLong { .. })
        ));
        assert!(Recommendation::from_json("{}").is_err());
    }
}
