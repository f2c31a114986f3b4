//! What the planner would do with an index that is not there yet, and what follows from that for an
//! estimate. Asking the planner is left to [`crate::action::postgres`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Plan;
use crate::recommendation::{Estimate, EstimateMeasure, Recommendation};

/// An index that saves less of the cost is not worth its writes \[Dexter's default\].
pub const SAVED_MIN: f64 = 0.5;
/// How the estimate is called.
pub const METHOD: &str = "E1 (HypoPG)";
/// By which factor the cost that remains may be wrong, for the interval \[own: 0.12 % were predicted
/// where 0.04 % of the blocks remained\].
const REMAINS_FACTOR: f64 = 4.0;
/// How far the estimate may be trusted where the rule has none \[own\].
const CONFIDENCE: f64 = 0.7;
/// The longest shape of a plan, in characters.
const SHAPE_CHARS_MAX: usize = 300;
/// The deepest node of a plan that is looked at.
const DEPTH_MAX: usize = 64;

/// What the planner expects of a hypothetical index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hypothetical {
    /// The fraction of the planner's cost that is saved, each statement weighted by its calls.
    pub saved: f64,
    /// Whether any of the statements would use it.
    pub used: bool,
    /// Each statement that could be explained.
    pub statements: Vec<Explained>,
}

/// A statement's plan without and with the index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// Its `queryid`.
    pub id: i64,
    /// How often it ran since the counters began.
    pub calls: u64,
    /// The cost of its plan without the index, in the planner's units.
    pub before: f64,
    /// The cost with it.
    pub after: f64,
    /// Whether its plan uses the index.
    pub used: bool,
    /// The nodes of its plan with the index.
    pub shape: String,
}

/// A plan as EXPLAIN tells it, reduced to what is asked of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The cost of the whole plan.
    pub cost: f64,
    /// Whether an index of the name that was asked for is used.
    pub used: bool,
    /// The nodes, from the top.
    pub shape: String,
}

impl Hypothetical {
    /// Adds statements up; `None` of none.
    pub fn of(statements: Vec<Explained>) -> Option<Self> {
        if statements.is_empty() {
            return None;
        }
        let sum = |cost: fn(&Explained) -> f64| -> f64 {
            statements.iter().map(|s| s.calls as f64 * cost(s)).sum()
        };
        let (before, after) = (sum(|s| s.before), sum(|s| s.after));
        let saved = if before > 0.0 {
            (1.0 - after / before).clamp(0.0, 1.0)
        } else {
            0.0
        };
        Some(Self {
            saved,
            used: statements.iter().any(|s| s.used),
            statements,
        })
    }

    /// Why the index is not worth having; `None` if it is.
    pub fn refused(&self) -> Option<String> {
        if !self.used {
            let count = self.statements.len();
            return Some(format!("none of the {count} plans would read it"));
        }
        (self.saved < SAVED_MIN).then(|| {
            format!(
                "it would save {:.1} % of the cost, less than {:.0} %",
                100.0 * self.saved,
                100.0 * SAVED_MIN
            )
        })
    }

    /// What it is expected to bring, in place of what the rule expected.
    pub fn estimate(&self, rule: Option<&Estimate>) -> Estimate {
        let remains = 1.0 - self.saved;
        let seconds = rule
            .filter(|e| e.measure == EstimateMeasure::WorkSaved && e.predicted > 0.0)
            .and_then(|e| Some(e.saved_s_per_h? / e.predicted * self.saved));
        Estimate {
            measure: EstimateMeasure::WorkSaved,
            predicted: self.saved,
            low: (1.0 - REMAINS_FACTOR * remains).max(0.0),
            high: 1.0 - remains / REMAINS_FACTOR,
            method: METHOD.to_owned(),
            confidence: rule.map_or(CONFIDENCE, |e| e.confidence),
            saved_s_per_h: seconds,
            statements: rule.map(|e| e.statements.clone()).unwrap_or_default(),
        }
    }

    /// One line for a person.
    pub fn told(&self) -> String {
        let shapes: Vec<&str> = self.statements.iter().map(|s| s.shape.as_str()).collect();
        let count = self.statements.len();
        format!(
            "with a hypothetical index the planner expects {:.2} % less cost over {count} statements: {}",
            100.0 * self.saved,
            shapes.join("; ")
        )
    }
}

/// The recommendation with the planner's estimate, where its plan has one.
pub fn estimated(recommendation: &Recommendation, plan: &Plan) -> Recommendation {
    let mut estimated = recommendation.clone();
    if let Some(hypothetical) = &plan.hypothetical {
        estimated.estimate = Some(hypothetical.estimate(recommendation.estimate.as_ref()));
    }
    estimated
}

/// Reads what `EXPLAIN (FORMAT JSON)` told; `None` if it is no plan. `index` is the name of the index
/// that is looked for.
pub fn read(explained: &Value, index: Option<&str>) -> Option<Explanation> {
    let top = explained.get(0)?.get("Plan")?;
    let mut used = false;
    let mut shape = nodes(top, index, &mut used, 0);
    if let Some((end, _)) = shape.char_indices().nth(SHAPE_CHARS_MAX) {
        shape.truncate(end);
        shape.push('…');
    }
    Some(Explanation {
        cost: top.get("Total Cost")?.as_f64()?,
        used,
        shape,
    })
}

/// `Limit > Index Scan on orders by the new index`; of several children each in brackets.
fn nodes(node: &Value, index: Option<&str>, used: &mut bool, depth: usize) -> String {
    let text = |key: &str| node.get(key).and_then(Value::as_str);
    let mut shape = text("Node Type").unwrap_or("?").to_owned();
    if let Some(relation) = text("Relation Name") {
        shape.push_str(&format!(" on {relation}"));
    }
    if let Some(name) = text("Index Name") {
        if index == Some(name) {
            *used = true;
            shape.push_str(" by the new index");
        } else {
            shape.push_str(&format!(" by {name}"));
        }
    }
    let below = node.get("Plans").and_then(Value::as_array);
    let below = below.map(Vec::as_slice).unwrap_or_default();
    if depth >= DEPTH_MAX {
        return shape;
    }
    let below: Vec<String> = below
        .iter()
        .map(|child| nodes(child, index, used, depth + 1))
        .collect();
    match &below[..] {
        [] => shape,
        [one] => format!("{shape} > {one}"),
        all => format!("{shape} ({})", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn explained(calls: u64, before: f64, after: f64) -> Explained {
        Explained {
            id: 1,
            calls,
            before,
            after,
            used: after < before,
            shape: String::new(),
        }
    }

    #[test]
    fn the_saving_is_weighted_by_calls() {
        let all = vec![explained(9, 100.0, 1.0), explained(1, 100.0, 100.0)];
        let found = Hypothetical::of(all).expect("two");
        assert!((found.saved - 0.891).abs() < 1e-9, "{found:?}");
        assert_eq!(found.refused(), None);
        let seldom = vec![explained(1, 100.0, 1.0), explained(9, 100.0, 100.0)];
        let refused = Hypothetical::of(seldom).expect("two").refused();
        assert!(
            refused.is_some_and(|why| why.contains("9.9 % of the cost")),
            "it saves too little"
        );
        assert_eq!(Hypothetical::of(Vec::new()), None);
    }

    #[test]
    fn what_is_not_used_is_refused_whatever_it_costs() {
        let mut unused = explained(5, 0.0, 0.0);
        unused.used = false;
        let refused = Hypothetical::of(vec![unused]).expect("one").refused();
        assert!(refused.is_some_and(|why| why.contains("none of the 1 plans")));
    }

    #[test]
    fn the_estimate_replaces_the_figure_and_keeps_what_it_is_about() {
        let rule = Estimate {
            measure: EstimateMeasure::WorkSaved,
            predicted: 0.5,
            low: 0.2,
            high: 0.8,
            method: "E1".to_owned(),
            confidence: 0.4,
            saved_s_per_h: Some(100.0),
            statements: vec![7],
        };
        let found = Hypothetical::of(vec![explained(1, 100.0, 10.0)]).expect("one");
        let new = found.estimate(Some(&rule));
        assert!((new.predicted - 0.9).abs() < 1e-9);
        assert!((new.low - 0.6).abs() < 1e-9 && (new.high - 0.975).abs() < 1e-9);
        assert!(new.saved_s_per_h.is_some_and(|s| (s - 180.0).abs() < 1e-9));
        assert_eq!(
            (new.method.as_str(), &new.statements[..]),
            (METHOD, &[7][..])
        );
        assert_eq!(found.estimate(None).saved_s_per_h, None);
    }

    #[test]
    fn a_plan_is_read_with_its_nodes_and_whether_the_index_is_in_it() {
        let plan = json!([{"Plan": {"Node Type": "Limit", "Total Cost": 8.5, "Plans": [
            {"Node Type": "Nested Loop", "Plans": [
                {"Node Type": "Seq Scan", "Relation Name": "a"},
                {"Node Type": "Index Scan", "Relation Name": "b", "Index Name": "<1>b_x"},
            ]},
        ]}}]);
        let read_for = |index| read(&plan, index).expect("a plan");
        let found = read_for(Some("<1>b_x"));
        assert!(found.used && (found.cost - 8.5).abs() < 1e-9);
        assert_eq!(
            found.shape,
            "Limit > Nested Loop (Seq Scan on a, Index Scan on b by the new index)"
        );
        assert!(!read_for(Some("<2>b_x")).used && !read_for(None).used);
        assert_eq!(read(&json!({"Plan": {}}), None), None);
    }
}
