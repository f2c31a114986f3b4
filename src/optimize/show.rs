//! Plans and actions, for people and as JSON.

use chrono::{DateTime, SecondsFormat};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use driftline_optimizer::OptimizeError;
use driftline_optimizer::Recommendation;
use driftline_optimizer::protocol::{Closure, Damaged, Next, State};
use driftline_optimizer::recommendation::EstimateMeasure;
use driftline_optimizer::run::Report;
use driftline_optimizer::verify::Verdict;
use serde_json::{Value, json};

use crate::human::human;
use crate::query::Format;
use crate::report;

/// A recommendation with what planning it found.
pub(super) type Planned = (Recommendation, Result<Option<Report>, OptimizeError>);

/// Prints every plan.
pub(super) fn plans(plans: &[Planned], format: Format) -> anyhow::Result<()> {
    if format != Format::Table {
        let all: Vec<Value> = plans.iter().map(plan_json).collect();
        return report::print(&(serde_json::to_string_pretty(&all)? + "\n"));
    }
    if plans.is_empty() {
        return report::print(
            "nothing that is recommended can be applied; see driftline recommend\n",
        );
    }
    let all: Vec<String> = plans
        .iter()
        .map(|(recommendation, report)| match report {
            Ok(report) => plan(recommendation, report.as_ref()),
            Err(error) => format!(
                "{}\n  stands against it: {error}\n",
                headline(recommendation)
            ),
        })
        .collect();
    report::print(&all.join("\n"))
}

fn headline(recommendation: &Recommendation) -> String {
    let expected = recommendation.estimate.as_ref().map(|estimate| {
        format!(
            "\n  expected:  {} ({} to {}) {} by {}, confidence {}",
            human(estimate.predicted, "1"),
            human(estimate.low, "1"),
            human(estimate.high, "1"),
            of(estimate.measure),
            estimate.method,
            human(estimate.confidence, "1")
        )
    });
    format!(
        "{} {} on {}: {}{}\n  risk:      {:?}",
        recommendation.id,
        recommendation.rule,
        recommendation.target,
        recommendation.advice,
        expected.unwrap_or_default(),
        recommendation.risk
    )
}

const fn of(measure: EstimateMeasure) -> &'static str {
    match measure {
        EstimateMeasure::WorkSaved => "of the work per call saved",
        EstimateMeasure::HitRatioGain => "more of the lookups hit",
        EstimateMeasure::SignalFall => "less of the signal",
    }
}

/// One plan.
pub(super) fn plan(recommendation: &Recommendation, report: Option<&Report>) -> String {
    let mut text = headline(recommendation);
    if let Some(plan) = report.and_then(|report| report.plan.as_ref()) {
        text.push_str(&format!("\n  command:   {}", plan.command));
        text.push_str(&format!("\n  undone by: {}", plan.inverse));
        for note in &plan.notes {
            text.push_str(&format!("\n  note:      {note}"));
        }
    }
    for refusal in report.map(|r| r.refusals.as_slice()).unwrap_or_default() {
        text.push_str(&format!("\n  stands against it: {refusal}"));
    }
    text.push('\n');
    text
}

fn plan_json((recommendation, report): &Planned) -> Value {
    let (plan, against) = match report {
        Ok(Some(report)) => (
            report.plan.as_ref().map(|plan| json!(plan)),
            report.refusals.iter().map(ToString::to_string).collect(),
        ),
        Ok(None) => (None, Vec::new()),
        Err(error) => (None, vec![error.to_string()]),
    };
    json!({
        "recommendation": recommendation,
        "plan": plan,
        "stands_against": against,
    })
}

/// Prints actions; with `whole`, everything about each.
pub(super) fn states(
    states: &[(State, Next)],
    damaged: &[Damaged],
    whole: bool,
    format: Format,
) -> anyhow::Result<()> {
    if format != Format::Table {
        let standing = states.iter().map(state_json);
        let all: Vec<Value> = standing.chain(damaged.iter().map(damaged_json)).collect();
        return report::print(&(serde_json::to_string_pretty(&all)? + "\n"));
    }
    for one in damaged {
        eprintln!("note: {}", self::damaged(one));
    }
    if states.is_empty() && damaged.is_empty() {
        return report::print("no action was ever begun; see driftline optimize plan\n");
    }
    if whole {
        let all: Vec<String> = states
            .iter()
            .map(|(state, next)| details(state, next))
            .collect();
        return report::print(&all.join("\n"));
    }
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header([
            "action",
            "rule",
            "target",
            "command",
            "stands",
            "predicted",
            "actual",
            "last step",
        ]);
    for (state, next) in states {
        let verdict = last_verdict(state);
        let share = |value: Option<f64>| value.map(|v| human(v, "1")).unwrap_or_default();
        table.add_row([
            state.action.clone(),
            state.recommendation.rule.clone(),
            state.recommendation.target.clone(),
            state.plan.command.clone(),
            standing(next),
            share(predicted(state)),
            share(verdict.and_then(|verdict| verdict.actual)),
            time(state.last_us),
        ]);
    }
    report::print(&format!("{table}\n"))
}

fn details(state: &State, next: &Next) -> String {
    let mut text = format!(
        "{} of {}\n{}\n  command:   {}\n  undone by: {}\n  stands:    {}\n",
        state.action,
        time(state.last_us),
        headline(&state.recommendation),
        state.plan.command,
        state
            .inverse
            .as_ref()
            .map_or_else(|| state.plan.inverse.clone(), |inverse| inverse.command()),
        standing(next)
    );
    if let Some(reason) = &state.breach {
        text.push_str(&format!("  guard breached: {reason}\n"));
    }
    for (check, verdict) in &state.verdicts {
        text.push_str(&format!("  {}: {}\n", check.as_str(), judged(verdict)));
        for statement in &verdict.statements {
            text.push_str(&format!(
                "    statement {}: {} → {} blocks per call in {} calls\n",
                statement.id,
                human(statement.before, "{block}"),
                human(statement.after, "{block}"),
                statement.calls
            ));
        }
    }
    text
}

fn state_json((state, next): &(State, Next)) -> Value {
    let verdicts: Vec<Value> = state
        .verdicts
        .iter()
        .map(|(check, verdict)| json!({"check": check, "verdict": verdict}))
        .collect();
    let inverse = state.inverse.as_ref().map(|inverse| inverse.command());
    json!({
        "action": state.action,
        "recommendation": state.recommendation,
        "command": state.plan.command,
        "inverse": inverse,
        "approved": state.approved,
        "state": word(next),
        "stands": standing(next),
        "predicted": predicted(state),
        "actual": last_verdict(state).and_then(|verdict| verdict.actual),
        "verdicts": verdicts,
        "breach": state.breach,
        "last_us": state.last_us,
    })
}

/// That an action is damaged.
pub(super) fn damaged(one: &Damaged) -> String {
    format!(
        "{} is left alone, since its steps are damaged: {}",
        one.action, one.reason
    )
}

fn damaged_json(one: &Damaged) -> Value {
    json!({"action": one.action, "state": "damaged", "stands": one.reason})
}

/// What was expected of an action: at first by its recommendation, then by its verdict.
fn predicted(state: &State) -> Option<f64> {
    let of_verdict = last_verdict(state).and_then(|verdict| verdict.predicted);
    of_verdict.or_else(|| {
        let estimate = state.recommendation.estimate.as_ref()?;
        Some(estimate.predicted)
    })
}

fn last_verdict(state: &State) -> Option<&Verdict> {
    state.verdicts.last().map(|(_, verdict)| verdict)
}

/// How an action ended, in one or two lines.
pub(super) fn ending(state: &State, next: &Next) -> String {
    let verdict = last_verdict(state).map(|verdict| format!("\n  {}", judged(verdict)));
    format!(
        "{}: {}{}",
        state.action,
        standing(next),
        verdict.unwrap_or_default()
    )
}

/// A verdict, with what was predicted beside what came.
pub(crate) fn judged(verdict: &Verdict) -> String {
    let share = |value: Option<f64>| value.map_or_else(|| "unknown".to_owned(), |v| human(v, "1"));
    let interval = verdict
        .interval
        .map(|(low, high)| format!(" ({} to {})", human(low, "1"), human(high, "1")));
    format!(
        "{}, {}: predicted {}{}, actual {}; {}",
        verdict.outcome.as_str(),
        verdict.measure,
        share(verdict.predicted),
        interval.unwrap_or_default(),
        share(verdict.actual),
        verdict.reason
    )
}

/// Where an action stands, as one word for programs.
const fn word(next: &Next) -> &'static str {
    match next {
        Next::AwaitApproval => "planned",
        Next::Freeze | Next::Apply | Next::Inspect => "applying",
        Next::Observe { .. } | Next::Breach(_) | Next::Conclude { .. } => "observing",
        Next::Revert { .. } => "reverting",
        Next::Wait { .. } | Next::Closed(Closure::Kept) => "kept",
        Next::Closed(Closure::Reverted) => "reverted",
        Next::Closed(Closure::Failed(_)) => "failed",
        Next::Closed(Closure::Superseded(_)) => "superseded",
        Next::Closed(Closure::Stuck(_)) => "stuck",
    }
}

/// The same for people, with the reason.
fn standing(next: &Next) -> String {
    match next {
        Next::AwaitApproval => "planned, and not approved".to_owned(),
        Next::Freeze => "its baseline is measured".to_owned(),
        Next::Apply => "about to be applied".to_owned(),
        Next::Inspect => "interrupted while it was applied".to_owned(),
        Next::Observe { .. } => "applied, and observed".to_owned(),
        Next::Breach(reason) => format!("does harm: {reason}"),
        Next::Conclude { .. } => "about to be judged".to_owned(),
        Next::Revert { reason } => format!("to be undone: {reason}"),
        Next::Wait { until_us, .. } => format!("kept; measured again from {}", time(*until_us)),
        Next::Closed(Closure::Kept) => "kept".to_owned(),
        Next::Closed(Closure::Reverted) => "reverted".to_owned(),
        Next::Closed(Closure::Failed(reason)) => format!("not applied: {reason}"),
        Next::Closed(Closure::Superseded(found)) => format!("superseded: {found}"),
        Next::Closed(Closure::Stuck(reason)) => {
            format!("stuck, and a person is needed: {reason}")
        }
    }
}

fn time(us: i64) -> String {
    DateTime::from_timestamp_micros(us).map_or_else(
        || us.to_string(),
        |time| time.to_rfc3339_opts(SecondsFormat::Secs, true),
    )
}
