//! A rule's result, held to the columns that the format promises.

use arrow::array::Array as _;
use serde_json::Value;

use super::Recommendation;
use super::confidence::{Outcome, calibrated};
use crate::columns::{Columns, optional};
use crate::engine::{EngineError, Rows};
use crate::nightly::fingerprint;
use crate::rule::{Recommending, Rule, RuleError};

/// The columns of every recommendation; the last one may be left out.
const COLUMNS: [&str; 14] = [
    "host",
    "target",
    "subject",
    "advice",
    "evidence",
    "saved_s_per_h",
    "saved_method",
    "predicted",
    "confidence",
    "action",
    "observed",
    "threshold",
    "unit",
    STATEMENTS,
];
const STATEMENTS: &str = "statements";
/// The methods of estimates.
const METHODS: [&str; 5] = ["E1", "E2", "E3", "E4", "E5"];

/// Reads every row.
pub(super) fn read(
    rule: &Rule,
    keys: &Recommending,
    outcomes: &[Outcome],
    rows: &Rows,
) -> Result<Vec<Recommendation>, EngineError> {
    let fields = rows.schema.fields();
    if let Some(other) = fields
        .iter()
        .find(|field| !COLUMNS.contains(&field.name().as_str()))
    {
        return Err(wrong(rule, other.name(), "the format has no such column"));
    }
    let columns = Columns::new(&rule.id, rows)?;
    let text = |name| columns.texts(name);
    let (host, subject, unit) = (text("host")?, text("subject")?, text("unit")?);
    let target = text("target")?;
    let statements = match fields.iter().any(|field| field.name() == STATEMENTS) {
        true => Some(text(STATEMENTS)?),
        false => None,
    };
    let (advice, evidence) = (text("advice")?, text("evidence")?);
    let (method, action) = (text("saved_method")?, text("action")?);
    let predicted = columns.floats("predicted")?;
    let (saved, prior) = (
        columns.floats("saved_s_per_h")?,
        columns.floats("confidence")?,
    );
    let (observed, threshold) = (columns.floats("observed")?, columns.floats("threshold")?);
    let mut read = Vec::with_capacity(columns.rows());
    for row in 0..columns.rows() {
        for (name, column) in [
            ("host", &host),
            ("target", &target),
            ("subject", &subject),
            ("advice", &advice),
            ("evidence", &evidence),
            ("unit", &unit),
        ] {
            if column.is_null(row) {
                return Err(wrong(rule, name, "it is null"));
            }
        }
        let prior = optional(&prior, row).filter(|prior| (0.0..=1.0).contains(prior));
        let prior = prior.ok_or_else(|| wrong(rule, "confidence", "it is not from 0 to 1"))?;
        let number = |name: &'static str, value: Option<f64>| {
            let value = value.filter(|value| value.is_finite());
            value.ok_or_else(|| wrong(rule, name, "it is no finite number"))
        };
        let action = match action.is_valid(row) {
            false => None,
            true => Some(typed(action.value(row)).ok_or_else(|| {
                wrong(
                    rule,
                    "action",
                    "it is no JSON object with a text `kind`; build it by json_object",
                )
            })?),
        };
        let method = method.is_valid(row).then(|| method.value(row).to_owned());
        if method
            .as_deref()
            .is_some_and(|method| !METHODS.contains(&method))
        {
            return Err(wrong(rule, "saved_method", "it is none of E1 to E5"));
        }
        // What is saved is never less than nothing: a negative estimate means that it is unknown.
        let saved = optional(&saved, row).filter(|saved| saved.is_finite() && *saved >= 0.0);
        let confidence = calibrated(prior, outcomes);
        let told = action.as_ref().map(Value::to_string).unwrap_or_default();
        let (host, subject) = (host.value(row).to_owned(), subject.value(row).to_owned());
        let target = target.value(row).to_owned();
        let parts = [&rule.id, &host, &target, &subject, &told].map(String::as_str);
        read.push(Recommendation {
            id: format!("recommendation-{}", fingerprint(&parts)),
            rule: rule.id.clone(),
            title: keys.title.clone(),
            component: keys.component,
            host,
            target,
            subject,
            advice: advice.value(row).to_owned(),
            evidence: evidence.value(row).to_owned(),
            saved_s_per_h: saved,
            saved_method: method,
            predicted: optional(&predicted, row).filter(|predicted| predicted.is_finite()),
            interval: None,
            statements: statements
                .as_ref()
                .filter(|statements| statements.is_valid(row))
                .map(|statements| ids(statements.value(row)))
                .unwrap_or_default(),
            prior,
            confidence,
            outcomes: outcomes.len(),
            risk: keys.risk,
            auto: keys.auto,
            verify: keys.verify,
            undo: keys.undo.clone(),
            action,
            observed: number("observed", optional(&observed, row))?,
            threshold: number("threshold", optional(&threshold, row))?,
            unit: unit.value(row).to_owned(),
            priority: saved.unwrap_or(0.0) * confidence / keys.risk.weight(),
        });
    }
    Ok(read)
}

fn ids(text: &str) -> Vec<i64> {
    text.split(',')
        .filter_map(|id| id.trim().parse().ok())
        .collect()
}

fn typed(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(text).ok()?;
    value.get("kind")?.as_str()?;
    Some(value)
}

fn wrong(rule: &Rule, column: &str, reason: &str) -> EngineError {
    EngineError::Rule(RuleError::Column {
        rule: rule.id.clone(),
        column: column.to_owned(),
        reason: reason.to_owned(),
    })
}
