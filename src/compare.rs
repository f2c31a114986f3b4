//! `compare`: load runs held against each other, endpoint by endpoint: one against one, or several
//! against several. Windows of time are left to [`windows`].

mod windows;

use clap::{Args, ValueEnum};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use driftline_analyzer::baseline::compare_with_baseline;
use driftline_analyzer::compare::Selector;
use driftline_analyzer::{
    At, Baseline, CompareRunsError, RunCompareOptions, RunComparison, RunShift, Verdict,
    compare_runs, compare_several,
};
use serde_json::json;

use crate::cli::Settings;
use crate::exit::{Outcome, UsageError};
use crate::human::human;
use crate::{query, report};

/// How a comparison is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompareFormat {
    /// For people
    Table,
    /// One object
    Json,
}

/// Which runs, and how strictly.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The run to compare with, or several with commas between them
    #[arg(
        value_name = "RUN_A",
        value_delimiter = ',',
        num_args = 1,
        required_unless_present_any = ["windows", "baseline"],
        conflicts_with = "windows"
    )]
    a: Vec<String>,
    /// The run that is judged, or as many; with --baseline the only one that is named
    #[arg(
        value_name = "RUN_B",
        value_delimiter = ',',
        num_args = 1,
        required_unless_present_any = ["windows", "baseline"],
        conflicts_with = "windows"
    )]
    b: Vec<String>,
    /// Instead of runs, the accepted runs of the same scenario and target in the baseline of this name;
    /// `latest` is the last one that was taken
    #[arg(long, value_name = "NAME", conflicts_with = "windows")]
    baseline: Option<String>,
    /// Instead of runs, each series in this window of time, FROM..UNTIL; given twice, the second is
    /// judged against the first
    #[arg(long = "window", value_name = "FROM..UNTIL", id = "windows")]
    windows: Vec<String>,
    /// Only series with these labels, such as host=web-3 or version=2, less what the controls did
    #[arg(long, value_name = "KEY=VALUE", requires_all = ["windows", "controls"])]
    canary: Option<Selector>,
    /// The series that the canary is held against
    #[arg(long, value_name = "KEY=VALUE", requires = "canary")]
    controls: Option<Selector>,
    /// Changes below this part of run A's level, in percent, do not count
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0, value_parser = parse_percent)]
    min_effect: f64,
    /// Confidence of the intervals
    #[arg(long, value_name = "SHARE", default_value_t = 0.99, value_parser = parse_confidence)]
    confidence: f64,
    /// How it is written
    #[arg(long, value_enum, default_value = "table")]
    format: CompareFormat,
}

/// `driftline compare`: exit code 3 when the second run is worse, 4 when that cannot be said.
pub(crate) fn run(settings: &Settings, args: &CompareArgs) -> anyhow::Result<Outcome> {
    if !args.windows.is_empty() {
        return windows::run(settings, args);
    }
    for name in args.a.iter().chain(&args.b) {
        report::check_name(name)?;
    }
    let options = RunCompareOptions {
        confidence: Some(args.confidence),
        min_effect_pct: Some(args.min_effect),
    };
    let comparison = query::runtime()?.block_on(async {
        let engine = query::open(settings, At::Latest, &[]).await?;
        let compared = match (&args.baseline, &args.a[..], &args.b[..]) {
            // Of two places for runs, one alone fills the one or the other.
            (Some(name), [run], []) | (Some(name), [], [run]) => {
                let kept = kept(settings, name)?;
                compare_with_baseline(&engine, &kept.runs, run, &options).await
            }
            (Some(_), ..) => {
                let words = "name one run to hold against a baseline";
                return Err(UsageError(words.to_owned()).into());
            }
            (None, [a], [b]) => compare_runs(&engine, a, b, &options).await,
            (None, a, b) => compare_several(&engine, a, b, &options).await,
        };
        compared.map_err(|error| match error {
            CompareRunsError::Engine(error) => anyhow::Error::from(error),
            asked => UsageError(asked.to_string()).into(),
        })
    })?;
    match args.format {
        CompareFormat::Table => report::print(&to_text(&comparison))?,
        CompareFormat::Json => report::print(&to_json(&comparison).to_string())?,
    }
    Ok(match comparison.verdict() {
        Verdict::Regression => Outcome::Failed,
        Verdict::TooLittleData => Outcome::TooLittleData,
        _ => Outcome::Ok,
    })
}

fn kept(settings: &Settings, name: &str) -> anyhow::Result<Baseline> {
    let found = match (Baseline::load(&settings.data, name)?, name) {
        (None, "latest") => Baseline::latest(&settings.data)?,
        (found, _) => found,
    };
    let missing = || {
        UsageError(format!(
            "there is no baseline {name:?} in {}; driftline baseline list names them",
            settings.data.display()
        ))
    };
    Ok(found.ok_or_else(missing)?)
}

/// The comparison for a person.
pub(crate) fn to_text(comparison: &RunComparison) -> String {
    let mut text = format!(
        "{} against {}: {}\n",
        comparison.run_b,
        comparison.run_a,
        comparison.verdict()
    );
    for note in &comparison.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header([
            "endpoint",
            "metric",
            "A",
            "B",
            "shift",
            "99 % interval",
            "p",
            "could see",
            "verdict",
        ]);
    for shift in &comparison.shifts {
        table.add_row(cells(shift));
    }
    for column in 2..8 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    text.push_str(&table.to_string());
    text
}

fn cells(shift: &RunShift) -> [String; 9] {
    let value = |value: Option<f64>| {
        let Some(value) = value else {
            return String::new();
        };
        match shift.unit.as_str() {
            "ms" => human(value / 1e3, "s"),
            unit => human(value, unit),
        }
    };
    // Of shares, the difference itself says more than its ratio to almost nothing.
    let share = shift.unit == "1";
    let change = |part: Option<f64>, whole: Option<f64>| match (share, part) {
        (false, Some(percent)) => format!("{percent:+.1} %"),
        (true, _) => whole
            .map(|v| format!("{:+.2} pt", v * 100.0))
            .unwrap_or_default(),
        _ => String::new(),
    };
    [
        match shift.endpoint.as_str() {
            "" => "(all)".to_owned(),
            endpoint => endpoint.to_owned(),
        },
        shift.metric.clone(),
        value(shift.median_a),
        value(shift.median_b),
        change(shift.effect_pct, shift.shift),
        match shift.ci_lo {
            Some(_) => format!(
                "{} … {}",
                change(shift.effect_lo_pct, shift.ci_lo),
                change(shift.effect_hi_pct, shift.ci_hi)
            ),
            None => String::new(),
        },
        shift
            .p_value
            .map(|p| format!("{p:.0e}"))
            .unwrap_or_default(),
        shift
            .detectable_pct
            .filter(|detectable| *detectable > 0.0)
            .map(|d| format!("≥ {d:.1} {}", if share { "pt" } else { "%" }))
            .unwrap_or_default(),
        match shift
            .more_runs
            .filter(|_| shift.verdict == Verdict::NoChange)
        {
            Some(runs) => format!("{} ({runs} more runs would settle it)", shift.verdict),
            None => shift.verdict.to_string(),
        },
    ]
}

fn to_json(comparison: &RunComparison) -> serde_json::Value {
    let shift = |shift: &RunShift| {
        json!({
            "endpoint": shift.endpoint,
            "metric": shift.metric,
            "unit": shift.unit,
            "a": shift.median_a,
            "b": shift.median_b,
            "shift": shift.shift,
            "ci_lo": shift.ci_lo,
            "ci_hi": shift.ci_hi,
            "effect_pct": shift.effect_pct,
            "effect_lo_pct": shift.effect_lo_pct,
            "effect_hi_pct": shift.effect_hi_pct,
            "p_value": shift.p_value,
            "detectable_pct": shift.detectable_pct,
            "more_runs": shift.more_runs,
            "n_a": shift.n_a,
            "n_b": shift.n_b,
            "verdict": shift.verdict.as_str(),
        })
    };
    json!({
        "run_a": comparison.run_a,
        "run_b": comparison.run_b,
        "verdict": comparison.verdict().as_str(),
        "notes": comparison.notes,
        "shifts": comparison.shifts.iter().map(shift).collect::<Vec<_>>(),
    })
}

fn parse_percent(text: &str) -> Result<f64, String> {
    let percent = text.trim_end_matches('%').trim().parse().ok();
    percent
        .filter(|percent: &f64| (0.0..=1000.0).contains(percent))
        .ok_or_else(|| "expected a percentage of 0 or more, such as 2".to_owned())
}

fn parse_confidence(text: &str) -> Result<f64, String> {
    let share = text.parse().ok();
    share
        .filter(|share: &f64| (0.5..1.0).contains(share))
        .ok_or_else(|| "expected a share from 0.5 to below 1, such as 0.99".to_owned())
}
