//! What the demo found, for a person.

use std::path::Path;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use driftline_analyzer::{RunShift, SeriesShift, Verdict};
use driftline_optimizer::protocol::Check;
use driftline_optimizer::verify::Outcome as VerdictOutcome;

use super::tuning::Tuned;
use super::{Judged, SLOWDOWN, SLOWED};
use crate::exit::Outcome;
use crate::human::human;
use crate::{compare, optimize, report};

/// Rows of the host's table that are printed; the rest is counted and one query away.
const MOST_ROWS: usize = 10;

/// Prints both comparisons; says whether the slower endpoint was found.
pub(super) fn print(judged: &Judged, data: &Path) -> anyhow::Result<Outcome> {
    let runs = &judged.runs;
    report::print("")?;
    report::print(&compare::to_text(runs))?;
    let outcome = conclude(judged);
    host(&judged.host);
    let version = judged
        .version
        .map(|version| format!(" (requests at version {version})"))
        .unwrap_or_default();
    println!(
        "\nShifts are Hodges-Lehmann estimates, p is corrected for the number of comparisons. The \
         judgements are queries/regressions/run_shift.sql and window_shift.sql{version}.\nLook further:\n  \
         driftline report {run} --data {data} --format html -o report.html\n  \
         driftline compare {a} {run} --data {data}\n  \
         driftline query --data {data} \"select * from run_timeline order by run, ts limit 5\"",
        a = runs.run_a,
        run = runs.run_b,
        data = data.display()
    );
    Ok(outcome)
}

/// Prints what was predicted beside what came; says whether it was kept.
pub(super) fn print_tuned(tuned: &Tuned, data: &Path) -> Outcome {
    let (state, advice) = (&tuned.state, &tuned.recommendation.advice);
    println!("Applied: {}", state.plan.command);
    let Some(verdict) = state.verdict(Check::Immediate) else {
        eprintln!(
            "{advice} was not judged: see driftline optimize status {}",
            state.action
        );
        return Outcome::Error;
    };
    println!("{}", optimize::verdict(verdict));
    println!(
        "Look further:\n  driftline optimize status {} --data {data}\n  \
         driftline query --data {data} \"select * from actions\"",
        state.action,
        data = data.display()
    );
    match verdict.outcome {
        VerdictOutcome::Kept => Outcome::Ok,
        _ => Outcome::Error,
    }
}

fn conclude(judged: &Judged) -> Outcome {
    let runs = &judged.runs;
    let (endpoint, path) = SLOWED;
    let planted = (SLOWDOWN - 1.0) * 100.0;
    if runs.verdict() == Verdict::TooLittleData {
        eprintln!("these two runs cannot be judged; run the demo again on a quieter machine");
        return Outcome::TooLittleData;
    }
    let moved =
        |shift: &&RunShift| matches!(shift.verdict, Verdict::Regression | Verdict::Improvement);
    let found = |shift: &&RunShift| shift.endpoint == endpoint && shift.metric == "p50";
    let Some(shift) = runs.shifts.iter().filter(moved).find(found) else {
        eprintln!(
            "the slowdown of {path} by {planted:.0} % was not found: noise on this machine hides it"
        );
        return Outcome::Error;
    };
    println!(
        "Found: {path} is slower by {:.1} % at its median (99 % interval {:.1} to {:.1} %); planted were {planted:.0} %.",
        shift.effect_pct.unwrap_or_default(),
        shift.effect_lo_pct.unwrap_or_default(),
        shift.effect_hi_pct.unwrap_or_default(),
    );
    // The endpoints together hold the slower one.
    let others: Vec<String> = runs
        .shifts
        .iter()
        .filter(moved)
        .filter(|shift| shift.endpoint != endpoint && !shift.endpoint.is_empty())
        .map(|shift| format!("{} {}", shift.endpoint, shift.metric))
        .collect();
    match others.is_empty() {
        true => println!("Nothing is said of any other endpoint."),
        false => println!("Moved beside it: {}.", others.join(", ")),
    }
    Outcome::Ok
}

fn host(shifts: &[SeriesShift]) {
    let count = |verdict| {
        shifts
            .iter()
            .filter(|shift| shift.verdict == verdict)
            .count()
    };
    let moved: Vec<&SeriesShift> = shifts
        .iter()
        .filter(|shift| !matches!(shift.verdict, Verdict::NoChange | Verdict::TooLittleData))
        .collect();
    println!(
        "\nThis host meanwhile: {} series judged, {} moved ({} worse, {} better, {} neither).",
        shifts.len() - count(Verdict::TooLittleData),
        moved.len(),
        count(Verdict::Regression),
        count(Verdict::Improvement),
        count(Verdict::Change)
    );
    if moved.is_empty() {
        return;
    }
    println!("{}", to_table(&moved));
    if moved.len() > MOST_ROWS {
        println!("{} more moved.", moved.len() - MOST_ROWS);
    }
}

fn to_table(moved: &[&SeriesShift]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header([
            "verdict",
            "metric",
            "labels",
            "baseline",
            "slowed",
            "shift",
            "99 % interval",
            "p",
        ]);
    for shift in moved.iter().take(MOST_ROWS) {
        let value = |value: Option<f64>| value.map(|v| human(v, &shift.unit)).unwrap_or_default();
        let interval = format!("{} … {}", value(shift.ci_lo), value(shift.ci_hi));
        let p = shift
            .p_value
            .map(|p| format!("{p:.0e}"))
            .unwrap_or_default();
        table.add_row([
            shift.verdict.to_string(),
            shift.metric.clone(),
            shift.labels.clone(),
            value(shift.median_a),
            value(shift.median_b),
            value(shift.shift),
            interval,
            p,
        ]);
    }
    for column in 3..8 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
