//! What a case expects, and whether it was found.

use std::path::Path;

use driftline_analyzer::recommend::Recommendation;
use serde_json::Value;

use crate::case::{cells, rows};

/// Numbers count as equal up to this part of them.
const TOLERANCE: f64 = 1e-6;

/// One expected row: columns and what they hold.
pub(crate) type Wanted = Vec<(String, String)>;

/// Reads `expect.csv`.
pub(crate) fn read(file: &Path, optional: bool) -> Result<Vec<Wanted>, String> {
    if optional && !file.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let heads = text.lines().find(|line| !line.starts_with('#'));
    let heads = cells(heads.unwrap_or_default());
    let rows = rows(file, heads.len())?;
    let wanted = |(_, row): (usize, Vec<String>)| heads.iter().cloned().zip(row).collect();
    Ok(rows.into_iter().map(wanted).collect())
}

/// Each wanted row is found once, and nothing else is.
pub(crate) fn compare(wanted: &[Wanted], found: &[Recommendation]) -> Result<(), String> {
    let mut left: Vec<&Recommendation> = found.iter().collect();
    for row in wanted {
        let told = |one: &&Recommendation| differences(row, one);
        let place = left.iter().position(|one| told(one).is_empty());
        let Some(place) = place else {
            let near: Vec<String> = left.iter().flat_map(told).collect();
            let near = if near.is_empty() {
                "nothing else was found".to_owned()
            } else {
                near.join("; ")
            };
            return Err(format!("row {row:?} was not found: {near}"));
        };
        left.remove(place);
    }
    let others: Vec<String> = left.iter().map(|one| shown(one)).collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(format!("found besides:\n    {}", others.join("\n    ")))
}

fn shown(one: &Recommendation) -> String {
    format!(
        "{} {} {}: {} [{}] observed {} threshold {} {} saved {:?} {:?} predicted {:?} action {}",
        one.host,
        one.target,
        one.subject,
        one.advice,
        one.evidence,
        one.observed,
        one.threshold,
        one.unit,
        one.saved_s_per_h,
        one.saved_method,
        one.predicted,
        one.action
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    )
}

fn differences(row: &Wanted, one: &Recommendation) -> Vec<String> {
    let differs = |(column, wanted): &(String, String)| match holds(column, wanted, one) {
        Ok(()) => None,
        Err(found) => Some(format!("{column} is {found}, not {wanted}")),
    };
    row.iter().filter_map(differs).collect()
}

fn holds(column: &str, wanted: &str, one: &Recommendation) -> Result<(), String> {
    let number = |found: Option<f64>| match (found, wanted.parse::<f64>()) {
        (None, _) if wanted.is_empty() => Ok(()),
        (Some(found), Ok(number))
            if (found - number).abs() <= TOLERANCE * number.abs().max(1e-9) =>
        {
            Ok(())
        }
        (found, _) => Err(format!("{found:?}")),
    };
    let text = |found: &str| {
        let same = match wanted.strip_prefix('~') {
            Some(part) => found.contains(part),
            None => found == wanted,
        };
        if same { Ok(()) } else { Err(found.to_owned()) }
    };
    let action = || one.action.as_ref().map(ToString::to_string);
    match column {
        "host" => text(&one.host),
        "target" => text(&one.target),
        "subject" => text(&one.subject),
        "advice" => text(&one.advice),
        "evidence" => text(&one.evidence),
        "saved_method" => text(one.saved_method.as_deref().unwrap_or_default()),
        // Keys of an object stand in any order.
        "action" => match serde_json::from_str::<Value>(wanted) {
            Ok(wanted) if one.action.as_ref() == Some(&wanted) => Ok(()),
            Ok(_) => Err(action().unwrap_or_default()),
            Err(_) => text(&action().unwrap_or_default()),
        },
        "unit" => text(&one.unit),
        "statements" => {
            let ids: Vec<String> = one.statements.iter().map(i64::to_string).collect();
            text(&ids.join(","))
        }
        "saved_s_per_h" => number(one.saved_s_per_h),
        "predicted" => number(one.predicted),
        "confidence" => number(Some(one.confidence)),
        "observed" => number(Some(one.observed)),
        "threshold" => number(Some(one.threshold)),
        other => Err(format!("no column that can be expected: {other}")),
    }
}
