//! What moved, for a person.

use std::path::Path;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use driftline_analyzer::{SeriesShift, Verdict};

use crate::exit::Outcome;
use crate::human::human;

/// Rows printed; the rest is counted and one query away.
const MOST_ROWS: usize = 24;

/// Prints the comparison; says whether there was enough data for one.
pub(super) fn print(shifts: &[SeriesShift], version: Option<u64>, data: &Path) -> Outcome {
    let count = |verdict| {
        shifts
            .iter()
            .filter(|shift| shift.verdict == verdict)
            .count()
    };
    let judged = shifts.len() - count(Verdict::TooLittleData);
    if judged == 0 {
        eprintln!("too little data: no series has enough samples in both windows");
        return Outcome::TooLittleData;
    }
    let moved: Vec<&SeriesShift> = shifts
        .iter()
        .filter(|shift| !matches!(shift.verdict, Verdict::NoChange | Verdict::TooLittleData))
        .collect();
    println!(
        "\nLoaded against quiet: {judged} series judged, {} moved ({} worse, {} better, {} neither), {} did not.",
        moved.len(),
        count(Verdict::Regression),
        count(Verdict::Improvement),
        count(Verdict::Change),
        count(Verdict::NoChange)
    );
    println!("{}", to_table(&moved));
    if moved.len() > MOST_ROWS {
        println!("{} more moved.", moved.len() - MOST_ROWS);
    }
    println!(
        "Shifts are Hodges-Lehmann estimates with 99 % intervals, p is corrected for the number of \
         series.\nThe judgement is queries/regressions/window_shift.sql over samples{}.\n\
         Look further: driftline query --data {} \"select * from cpu_utilisation order by ts desc limit 5\"",
        version
            .map(|version| format!(" at version {version}"))
            .unwrap_or_default(),
        data.display()
    );
    Outcome::Ok
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
            "quiet",
            "loaded",
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
