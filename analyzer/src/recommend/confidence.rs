//! How far a rule is to be believed: what it claims itself, set right by what the actions that it
//! brought about truly saved.
//!
//! A claim of `p` counts as [`CLAIM_WEIGHT`] outcomes of which `p` were as predicted: the prior of a
//! beta distribution with `a = w·p` and `b = w·(1 − p)`. Each outcome adds its score to `a` and the
//! rest of one to `b` (the conjugate update of the beta-binomial model, with scores between 0 and 1
//! as fractional successes), and the confidence is the mean: `(w·p + Σ score) / (w + n)`. The score
//! is the part of the predicted saving that was reached, at most 1; an action that was reverted
//! scores 0. One failure thus lowers 0.8 to 0.64, and four successes in a row raise 0.5 to 0.75.

use std::collections::BTreeMap;

use arrow::array::Array as _;

use crate::columns::{Columns, optional};
use crate::engine::{Engine, EngineError, Session};

/// How many outcomes a rule's own claim is worth.
pub const CLAIM_WEIGHT: f64 = 4.0;
/// Outcomes of one rule that count, the newest ones.
const MOST_OUTCOMES: usize = 50;

/// What became of one action.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// What was predicted; `None` where nothing was.
    pub predicted: Option<f64>,
    /// What was measured.
    pub actual: Option<f64>,
    /// Whether the action was kept.
    pub kept: bool,
}

impl Outcome {
    /// The part of what was predicted that came true, from 0 to 1.
    pub fn score(&self) -> f64 {
        match (self.kept, self.predicted, self.actual) {
            (false, _, _) => 0.0,
            (true, Some(predicted), Some(actual)) if predicted > 0.0 => {
                (actual / predicted).clamp(0.0, 1.0)
            }
            (true, _, _) => 1.0,
        }
    }
}

/// The confidence of a rule that claims `prior`, after these outcomes.
pub fn calibrated(prior: f64, outcomes: &[Outcome]) -> f64 {
    let scores: f64 = outcomes.iter().map(Outcome::score).sum();
    (CLAIM_WEIGHT * prior + scores) / (CLAIM_WEIGHT + outcomes.len() as f64)
}

/// A later verdict on an action (after a day, after a week) stands in the place of an earlier one.
/// Inconclusive ones say nothing of the rule.
const OUTCOMES: &str = "
SELECT rule, outcome, predicted, actual
FROM (
    SELECT
        label(attributes, 'rule') AS rule, label(attributes, 'outcome') AS outcome,
        TRY_CAST(label(attributes, 'predicted') AS DOUBLE) AS predicted,
        TRY_CAST(label(attributes, 'actual') AS DOUBLE) AS actual,
        ts, acted,
        row_number() OVER (PARTITION BY acted ORDER BY ts DESC) AS ago
    FROM (SELECT *, coalesce(label(attributes, 'action'), subject) AS acted FROM events)
    WHERE name = 'VerdictReached'
)
WHERE ago = 1 AND rule IS NOT NULL AND outcome <> 'inconclusive'
ORDER BY ts DESC, acted";

/// The outcomes of each rule, the newest first.
pub(super) async fn outcomes(
    session: &Session,
) -> Result<BTreeMap<String, Vec<Outcome>>, EngineError> {
    let planned = session.plan(OUTCOMES, Vec::new()).await?;
    let rows = session.collect(planned.plan).await?;
    let columns = Columns::new("outcomes", &rows)?;
    let (rule, outcome) = (columns.texts("rule")?, columns.texts("outcome")?);
    let (predicted, actual) = (columns.floats("predicted")?, columns.floats("actual")?);
    let mut outcomes: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
    for row in (0..columns.rows()).filter(|row| rule.is_valid(*row)) {
        let of_rule = outcomes.entry(rule.value(row).to_owned()).or_default();
        if of_rule.len() < MOST_OUTCOMES {
            of_rule.push(Outcome {
                predicted: optional(&predicted, row),
                actual: optional(&actual, row),
                kept: outcome.value(row) == "kept",
            });
        }
    }
    Ok(outcomes)
}

/// The confidence of one rule that claims `prior`, and on how many outcomes it rests.
pub async fn confidence(
    engine: &Engine,
    rule: &str,
    prior: f64,
) -> Result<(f64, usize), EngineError> {
    let all = outcomes(&engine.session()?).await?;
    let of_rule = all.get(rule).map(Vec::as_slice).unwrap_or_default();
    Ok((calibrated(prior, of_rule), of_rule.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(predicted: f64, actual: f64) -> Outcome {
        Outcome {
            predicted: Some(predicted),
            actual: Some(actual),
            kept: true,
        }
    }

    #[test]
    fn outcomes_move_a_claim_and_never_beyond_its_bounds() {
        let failed = Outcome {
            kept: false,
            ..kept(0.9, -0.5)
        };
        assert!((calibrated(0.8, &[]) - 0.8).abs() < 1e-12);
        assert!((calibrated(0.8, &[failed]) - 0.64).abs() < 1e-12);
        assert!((calibrated(0.5, &[kept(0.5, 0.9); 4]) - 0.75).abs() < 1e-12);
        assert!((kept(0.8, 0.4).score() - 0.5).abs() < 1e-12);
        let unmeasured = Outcome {
            predicted: None,
            actual: None,
            kept: true,
        };
        assert!((unmeasured.score() - 1.0).abs() < 1e-12);
        for prior in [0.0, 0.3, 1.0] {
            for outcomes in [vec![failed; 60], vec![kept(1.0, 5.0); 60]] {
                assert!((0.0..=1.0).contains(&calibrated(prior, &outcomes)));
            }
        }
    }
}
