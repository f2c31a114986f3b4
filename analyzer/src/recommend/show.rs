//! A report as text: lines for a terminal, Markdown for a ticket, JSON for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Recommendation, Report};
use crate::functions::human::human;

/// Aligned lines, two for each recommendation: what to do, and why.
pub fn to_table(report: &Report) -> String {
    let mut out = String::new();
    let rows: Vec<[String; 6]> = report.recommendations.iter().map(cells).collect();
    let heads = ["saves/h", "sure", "risk", "may be", "where", "what"].map(str::to_owned);
    let mut widths = [0; 5];
    for row in rows.iter().chain([&heads]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for (place, row) in [&heads].into_iter().chain(&rows).enumerate() {
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(out, "{cell:<width$}  ");
        }
        let _ = writeln!(out, "{}", row[5]);
        if let Some(found) = place
            .checked_sub(1)
            .and_then(|at| report.recommendations.get(at))
        {
            let indent = widths.iter().map(|width| width + 2).sum::<usize>();
            let _ = writeln!(out, "{:indent$}{} ({})", "", found.evidence, found.rule);
        }
    }
    out.push_str(&account(report));
    out
}

/// A section for each recommendation.
pub fn to_markdown(report: &Report) -> String {
    let mut out = String::from("# Recommendations\n");
    for (place, found) in report.recommendations.iter().enumerate() {
        let [saved, sure, risk, auto, place_of, _] = cells(found);
        let _ = write!(
            out,
            "\n## {}. {}: {}\n\n{}\n\n- Evidence: {}\n- Saves {saved} per hour{}, {sure} sure, {risk} risk, {auto}\n- Rule `{}`, verified by `{}`, id `{}`\n",
            place + 1,
            found.title,
            place_of,
            found.advice,
            found.evidence,
            found
                .saved_method
                .as_ref()
                .map(|method| format!(" ({method})"))
                .unwrap_or_default(),
            found.rule,
            found.verify.as_str(),
            found.id,
        );
        if let Some(undo) = &found.undo {
            let _ = writeln!(out, "- Undone by: {undo}");
        }
        if let Some(action) = &found.action {
            let _ = writeln!(out, "- Action: `{action}`");
        }
    }
    let _ = write!(out, "\n{}", account(report));
    out
}

/// Everything, for programs.
pub fn to_json(report: &Report) -> Value {
    let unjudged = |of: &[super::Unjudged]| -> Vec<Value> {
        of.iter()
            .map(|one| json!({ "rule": one.rule, "reason": one.reason }))
            .collect()
    };
    let cut = report.cut.iter();
    json!({
        "recommendations": report.recommendations.iter().map(one).collect::<Vec<_>>(),
        "judged": report.judged,
        "waiting": unjudged(&report.waiting),
        "failed": unjudged(&report.failed),
        "cut": cut.map(|(rule, rows)| json!({ "rule": rule, "rows": rows })).collect::<Vec<_>>(),
    })
}

fn one(found: &Recommendation) -> Value {
    json!({
        "id": found.id,
        "rule": found.rule,
        "title": found.title,
        "component": found.component.as_str(),
        "host": found.host,
        "target": found.target,
        "subject": found.subject,
        "advice": found.advice,
        "evidence": found.evidence,
        "saved_s_per_h": found.saved_s_per_h,
        "saved_method": found.saved_method,
        "predicted": found.predicted,
        "statements": found.statements,
        "prior": found.prior,
        "confidence": found.confidence,
        "outcomes": found.outcomes,
        "risk": found.risk.as_str(),
        "auto": found.auto.as_str(),
        "verify": found.verify.as_str(),
        "undo": found.undo,
        "action": found.action,
        "observed": found.observed,
        "threshold": found.threshold,
        "unit": found.unit,
        "priority": found.priority,
    })
}

fn cells(found: &Recommendation) -> [String; 6] {
    let saved = found.saved_s_per_h.map(|saved| human(saved, "s"));
    [
        saved.unwrap_or_else(|| "unknown".to_owned()),
        human(found.confidence, "1"),
        found.risk.as_str().to_owned(),
        match found.auto {
            crate::rule::Auto::Automatic => "applied",
            crate::rule::Auto::Approval => "approved",
            crate::rule::Auto::Advice => "advice only",
        }
        .to_owned(),
        if found.target == found.subject {
            format!("{} {}", found.host, found.subject)
        } else {
            format!("{} {} {}", found.host, found.target, found.subject)
        },
        found.advice.clone(),
    ]
}

/// What was judged and what was not, in a line or a few.
fn account(report: &Report) -> String {
    let mut out = format!(
        "{} recommendations; {} rules judged, {} without what they need, {} failed\n",
        report.recommendations.len(),
        report.judged.len(),
        report.waiting.len(),
        report.failed.len(),
    );
    for failed in &report.failed {
        let _ = writeln!(out, "rule {} failed: {}", failed.rule, failed.reason);
    }
    for (rule, rows) in &report.cut {
        let most = super::MOST_ROWS;
        let _ = writeln!(
            out,
            "rule {rule} found {rows} things; the first {most} are told"
        );
    }
    out
}
