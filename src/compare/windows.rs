//! Windows of time held against each other, series by series, and a canary against its controls.

use chrono::DateTime;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use driftline_analyzer::compare::{
    Selector, WindowOptions, WindowShift, compare_canary, compare_two_windows,
};
use driftline_analyzer::{At, Verdict, Window};
use driftline_collector::config::duration;
use serde_json::json;

use super::{CompareArgs, CompareFormat};
use crate::cli::Settings;
use crate::exit::{Outcome, UsageError};
use crate::human::human;
use crate::{facts, query, report};

/// Series without a change that a table shows; the rest is counted.
const MOST_QUIET: usize = 10;

/// `driftline compare --window A..B --window C..D`.
pub(super) fn run(settings: &Settings, args: &CompareArgs) -> anyhow::Result<Outcome> {
    let now_us = facts::now_us();
    let mut windows = Vec::with_capacity(args.windows.len());
    for text in &args.windows {
        windows.push(parse_window(text, now_us).map_err(UsageError)?);
    }
    let (a, b) = match (&windows[..], &args.canary) {
        ([a, b], _) => (Some(*a), *b),
        ([b], Some(_)) => (None, *b),
        ([_], None) => {
            let text = "give --window twice: the one to compare with and the one that is judged";
            return Err(UsageError(text.to_owned()).into());
        }
        _ => return Err(UsageError("give --window once or twice".to_owned()).into()),
    };
    let options = WindowOptions {
        confidence: args.confidence,
        min_effect_pct: args.min_effect,
    };
    let selected = args.canary.as_ref().zip(args.controls.as_ref());
    let shifts = query::runtime()?.block_on(async {
        let engine = query::open(settings, At::Latest, &[]).await?;
        anyhow::Ok(match (selected, a) {
            (Some(selected), _) => compare_canary(&engine, a, b, selected, &options).await?,
            (None, Some(a)) => compare_two_windows(&engine, a, b, &options).await?,
            (None, None) => Vec::new(),
        })
    })?;
    let judged = shifts
        .iter()
        .filter(|shift| shift.verdict != Verdict::TooLittleData)
        .count();
    match args.format {
        CompareFormat::Table => report::print(&to_text(&shifts, judged, selected))?,
        CompareFormat::Json => report::print(&format!("{}\n", to_json(&shifts)))?,
    }
    let worse = shifts
        .iter()
        .any(|shift| shift.verdict == Verdict::Regression);
    Ok(match (worse, judged) {
        (true, _) => Outcome::Failed,
        (false, 0) => Outcome::TooLittleData,
        _ => Outcome::Ok,
    })
}

/// `FROM..UNTIL`, each a time as in 2026-01-31T12:00:00Z, `now`, or `now-2h`.
fn parse_window(text: &str, now_us: i64) -> Result<Window, String> {
    let wrong = || {
        format!(
            "{text:?} is no window: expected FROM..UNTIL, as in 2026-01-31T12:00:00Z..2026-01-31T13:00:00Z or now-2h..now-1h"
        )
    };
    let moment = |text: &str| {
        if let Some(ago) = text.strip_prefix("now") {
            let ago_us = match ago.strip_prefix('-') {
                None if ago.is_empty() => 0,
                None => return None,
                Some(ago) => i64::try_from(duration::parse(ago)?.as_micros()).ok()?,
            };
            return now_us.checked_sub(ago_us);
        }
        let moment = DateTime::parse_from_rfc3339(text).ok()?;
        Some(moment.timestamp_micros())
    };
    let (from, until) = text.split_once("..").ok_or_else(wrong)?;
    let from_us = moment(from.trim()).ok_or_else(wrong)?;
    let until_us = moment(until.trim()).ok_or_else(wrong)?;
    match from_us < until_us {
        true => Ok(Window { from_us, until_us }),
        false => Err(format!("the window {text:?} ends before it begins")),
    }
}

fn to_text(
    shifts: &[WindowShift],
    judged: usize,
    selected: Option<(&Selector, &Selector)>,
) -> String {
    let count = |verdict| shifts.iter().filter(|s| s.verdict == verdict).count();
    let mut text = format!(
        "{judged} of {} series judged: {} worse, {} better, {} otherwise changed\n",
        shifts.len(),
        count(Verdict::Regression),
        count(Verdict::Improvement),
        count(Verdict::Change)
    );
    let mut table = Table::new();
    let (before, after) = match selected {
        Some(_) => ("controls / before", "canary"),
        None => ("before", "after"),
    };
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header([
            "series",
            "host",
            before,
            after,
            "change",
            "interval",
            "could see",
            "verdict",
        ]);
    let moved =
        |shift: &&WindowShift| !matches!(shift.verdict, Verdict::NoChange | Verdict::TooLittleData);
    let quiet: Vec<&WindowShift> = shifts.iter().filter(|shift| !moved(shift)).collect();
    for shift in shifts
        .iter()
        .filter(moved)
        .chain(quiet.iter().copied().take(MOST_QUIET))
    {
        table.add_row(cells(shift));
    }
    for column in 2..7 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    text.push_str(&format!("{table}\n"));
    if quiet.len() > MOST_QUIET {
        let rest = quiet.len() - MOST_QUIET;
        text.push_str(&format!(
            "{rest} more without a change with --format json\n"
        ));
    }
    text
}

fn cells(shift: &WindowShift) -> [String; 8] {
    let level = |value: Option<f64>| value.map_or_else(String::new, |v| human(v, &shift.unit));
    let percent = |value: f64| format!("{value:+.1} %");
    [
        match shift.labels.as_str() {
            "" => shift.metric.clone(),
            labels => format!("{}{{{labels}}}", shift.metric),
        },
        shift.host.clone(),
        level(shift.before),
        level(shift.after),
        shift.effect_pct.map_or_else(String::new, percent),
        shift.interval_pct.map_or_else(String::new, |(lo, hi)| {
            format!("{} … {}", percent(lo), percent(hi))
        }),
        shift
            .detectable_pct
            .map_or_else(String::new, |pct| format!("≥ {:.1} %", pct.abs())),
        shift.verdict.to_string(),
    ]
}

fn to_json(shifts: &[WindowShift]) -> serde_json::Value {
    let shift = |shift: &WindowShift| {
        json!({
            "component": shift.component,
            "host": shift.host,
            "metric": shift.metric,
            "labels": shift.labels,
            "unit": shift.unit,
            "before": shift.before,
            "after": shift.after,
            "effect_pct": shift.effect_pct,
            "ci_lo_pct": shift.interval_pct.map(|(lo, _)| lo),
            "ci_hi_pct": shift.interval_pct.map(|(_, hi)| hi),
            "detectable_pct": shift.detectable_pct,
            "n_a": shift.points[0],
            "n_b": shift.points[1],
            "controls": shift.controls,
            "verdict": shift.verdict.as_str(),
        })
    };
    json!({ "shifts": shifts.iter().map(shift).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_times_or_ago() {
        let hour = 3_600_000_000;
        let now = 100 * hour;
        assert_eq!(
            parse_window("now-2h..now-1h", now),
            Ok(Window {
                from_us: 98 * hour,
                until_us: 99 * hour
            })
        );
        assert_eq!(
            parse_window("1970-01-01T01:00:00Z..now", now),
            Ok(Window {
                from_us: hour,
                until_us: now
            })
        );
        for wrong in [
            "",
            "now",
            "now..now",
            "now-1h..now-2h",
            "now+1h..now",
            "x..y",
            "nowhere..now",
        ] {
            assert!(parse_window(wrong, now).is_err(), "{wrong}");
        }
    }
}
