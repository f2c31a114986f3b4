//! A rule's result, held to the columns that the format promises.

use arrow::array::{Array as _, Float64Array, StringArray};
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
    let table = Table::new(rule, rows)?;
    let rows = 0..table.rows;
    rows.map(|row| table.recommendation(keys, outcomes, row))
        .collect()
}

/// The columns of a rule's result.
struct Table<'r> {
    rule: &'r Rule,
    rows: usize,
    host: StringArray,
    target: StringArray,
    subject: StringArray,
    advice: StringArray,
    evidence: StringArray,
    method: StringArray,
    action: StringArray,
    unit: StringArray,
    statements: Option<StringArray>,
    saved: Float64Array,
    predicted: Float64Array,
    prior: Float64Array,
    observed: Float64Array,
    threshold: Float64Array,
}

impl<'r> Table<'r> {
    fn new(rule: &'r Rule, rows: &Rows) -> Result<Self, EngineError> {
        let mut names = rows.schema.fields().iter().map(|field| field.name());
        if let Some(other) = names.find(|name| !COLUMNS.contains(&name.as_str())) {
            return Err(wrong(rule, other, "the format has no such column"));
        }
        let has_statements = rows.schema.column_with_name(STATEMENTS).is_some();
        let columns = Columns::new(&rule.id, rows)?;
        let (text, number) = (|name| columns.texts(name), |name| columns.floats(name));
        Ok(Self {
            rule,
            rows: columns.rows(),
            host: text("host")?,
            target: text("target")?,
            subject: text("subject")?,
            advice: text("advice")?,
            evidence: text("evidence")?,
            method: text("saved_method")?,
            action: text("action")?,
            unit: text("unit")?,
            statements: has_statements.then(|| text(STATEMENTS)).transpose()?,
            saved: number("saved_s_per_h")?,
            predicted: number("predicted")?,
            prior: number("confidence")?,
            observed: number("observed")?,
            threshold: number("threshold")?,
        })
    }

    fn recommendation(
        &self,
        keys: &Recommending,
        outcomes: &[Outcome],
        row: usize,
    ) -> Result<Recommendation, EngineError> {
        let rule = self.rule;
        let text = |name, column: &StringArray| match column.is_null(row) {
            true => Err(wrong(rule, name, "it is null")),
            false => Ok(column.value(row).to_owned()),
        };
        let number = |name, column: &Float64Array| {
            let value = optional(column, row).filter(|value| value.is_finite());
            value.ok_or_else(|| wrong(rule, name, "it is no finite number"))
        };
        let prior = optional(&self.prior, row).filter(|prior| (0.0..=1.0).contains(prior));
        let prior = prior.ok_or_else(|| wrong(rule, "confidence", "it is not from 0 to 1"))?;
        // What is saved is never less than nothing: a negative estimate means that it is unknown.
        let saved = optional(&self.saved, row).filter(|saved| saved.is_finite() && *saved >= 0.0);
        let confidence = calibrated(prior, outcomes);
        let action = self.action(row)?;
        let told = action.as_ref().map(Value::to_string).unwrap_or_default();
        let host = text("host", &self.host)?;
        let target = text("target", &self.target)?;
        let subject = text("subject", &self.subject)?;
        let parts = [&rule.id, &host, &target, &subject, &told].map(String::as_str);
        Ok(Recommendation {
            id: format!("recommendation-{}", fingerprint(&parts)),
            rule: rule.id.clone(),
            title: keys.title.clone(),
            component: keys.component,
            host,
            target,
            subject,
            advice: text("advice", &self.advice)?,
            evidence: text("evidence", &self.evidence)?,
            saved_s_per_h: saved,
            saved_method: self.method(row)?,
            predicted: optional(&self.predicted, row).filter(|predicted| predicted.is_finite()),
            interval: None,
            statements: self.statements(row),
            prior,
            confidence,
            outcomes: outcomes.len(),
            risk: keys.risk,
            auto: keys.auto,
            verify: keys.verify,
            undo: keys.undo.clone(),
            action,
            observed: number("observed", &self.observed)?,
            threshold: number("threshold", &self.threshold)?,
            unit: text("unit", &self.unit)?,
            priority: saved.unwrap_or(0.0) * confidence / keys.risk.weight(),
        })
    }

    fn action(&self, row: usize) -> Result<Option<Value>, EngineError> {
        if self.action.is_null(row) {
            return Ok(None);
        }
        let reason = "it is no JSON object with a text `kind`; build it by json_object";
        let typed = typed(self.action.value(row));
        typed
            .map(Some)
            .ok_or_else(|| wrong(self.rule, "action", reason))
    }

    fn method(&self, row: usize) -> Result<Option<String>, EngineError> {
        let method = self.method.is_valid(row).then(|| self.method.value(row));
        if method.is_some_and(|method| !METHODS.contains(&method)) {
            let reason = "it is none of E1 to E5";
            return Err(wrong(self.rule, "saved_method", reason));
        }
        Ok(method.map(str::to_owned))
    }

    fn statements(&self, row: usize) -> Vec<i64> {
        let statements = self.statements.as_ref();
        let there = statements.filter(|statements| statements.is_valid(row));
        there.map_or_else(Vec::new, |statements| ids(statements.value(row)))
    }
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
