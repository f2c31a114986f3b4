//! `baseline`: what was usual for each series over a while is kept; and every baseline that was ever
//! taken is looked up.

use std::ops::Range;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use driftline_analyzer::baseline::{self, Period, RunBaseline, Season, SeriesBaseline};
use driftline_analyzer::{At, Baseline, QueryOptions, Window};
use driftline_collector::config::duration;

use crate::cli::{Settings, parse_time};
use crate::exit::{Outcome, UsageError};
use crate::human::human;
use crate::query::{self, Format};
use crate::{facts, report};

/// Which window, or which baseline.
#[derive(Debug, Args)]
pub(crate) struct BaselineArgs {
    #[command(subcommand)]
    question: Option<Question>,
    /// How far back to look; from three days on, what is usual by the hour is kept too. Of load runs the
    /// last accepted ones are, however long ago
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "10m")]
    last: Duration,
    /// The baseline's name [default: its time]
    #[arg(long)]
    name: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Every baseline that was ever taken, the latest first
    List {
        /// How they are printed
        #[arg(long, default_value = "table")]
        format: Format,
    },
    /// What one holds
    Show {
        /// Its name
        name: String,
        /// Only this metric
        #[arg(long, value_name = "NAME")]
        metric: Option<String>,
        /// The whole file as it is kept
        #[arg(long)]
        json: bool,
    },
}

/// `driftline baseline`.
pub(crate) fn run(settings: &Settings, args: &BaselineArgs) -> anyhow::Result<Outcome> {
    match &args.question {
        None => take(settings, args),
        Some(Question::List { format }) => list(settings, *format),
        Some(Question::Show { name, metric, json }) => {
            show(settings, name, metric.as_deref(), *json)
        }
    }
}

fn take(settings: &Settings, args: &BaselineArgs) -> anyhow::Result<Outcome> {
    let now_us = facts::now_us();
    let window = Window {
        from_us: now_us - i64::try_from(args.last.as_micros())?,
        until_us: now_us,
    };
    let name = args.name.clone();
    let name = name.unwrap_or_else(|| format!("at-{}", now_us / 1_000_000));
    let taken = query::runtime()?.block_on(async {
        let engine = query::open(settings, At::Latest, &[]).await?;
        anyhow::Ok(baseline::take(&engine, &name, window).await?)
    })?;
    if taken.series.is_empty() && taken.runs.is_empty() {
        eprintln!(
            "too little data: there are no samples of the last {} and no load runs in {}",
            duration::format(args.last),
            settings.data.display()
        );
        return Ok(Outcome::TooLittleData);
    }
    let path = taken.save(&settings.data)?;
    facts::append(settings, &[taken.event(now_us)]).with_context(|| {
        format!(
            "the baseline is kept in {}, but the log is not told",
            path.display()
        )
    })?;
    println!(
        "baseline {name:?} of {} series and {} endpoints of load runs is kept in {}",
        taken.series.len(),
        taken.runs.len(),
        path.display()
    );
    Ok(Outcome::Ok)
}

fn list(settings: &Settings, format: Format) -> anyhow::Result<Outcome> {
    let sql = "SELECT name, host, window_from, window_until, samples_version, series, seasonal, \
                   valid_from, valid_until FROM baselines ORDER BY valid_from DESC, name";
    let rows = query::runtime()?.block_on(async {
        let engine = query::open(settings, At::Latest, &[]).await?;
        anyhow::Ok(engine.collect(sql, &QueryOptions::default()).await?)
    })?;
    query::print(&rows, format)?;
    Ok(Outcome::Ok)
}

fn show(
    settings: &Settings,
    name: &str,
    metric: Option<&str>,
    json: bool,
) -> anyhow::Result<Outcome> {
    let found = Baseline::load(&settings.data, name)?;
    let found = found.ok_or_else(|| {
        UsageError(format!(
            "there is no baseline {name:?} in {}; driftline baseline list names them",
            settings.data.display()
        ))
    })?;
    if json {
        report::print(&format!("{}\n", serde_json::to_string_pretty(&found)?))?;
        return Ok(Outcome::Ok);
    }
    let wanted = |series: &&SeriesBaseline| metric.is_none_or(|metric| metric == series.metric);
    let header = [
        "series",
        "host",
        "samples",
        "median",
        "spread",
        "p5",
        "p95",
        "p99",
        "by the hour",
    ];
    let rows = found.series.iter().filter(wanted).map(cells);
    let mut text = String::new();
    if !found.series.is_empty() || found.runs.is_empty() {
        text.push_str(&format!("{}\n", table(header, 2..8, rows)));
    }
    if metric.is_none() && !found.runs.is_empty() {
        let header = [
            "scenario",
            "target",
            "endpoint",
            "runs",
            "operations",
            "p50",
            "p95",
            "p99",
            "rate",
            "failed",
        ];
        let rows = found.runs.iter().map(run_cells);
        text.push_str(&format!("{}\n", table(header, 3..10, rows)));
    }
    report::print(&text)?;
    Ok(Outcome::Ok)
}

/// A table with some of its columns, numbers, to the right.
fn table<const N: usize>(
    header: [&str; N],
    numbers: Range<usize>,
    rows: impl Iterator<Item = [String; N]>,
) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in numbers {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Quantiles of all runs together, the median of their rates, and the share of all that failed.
fn run_cells(of: &RunBaseline) -> [String; 10] {
    let time = |ms: Option<f64>| ms.map(|ms| human(ms / 1e3, "s")).unwrap_or_default();
    let operations: u64 = of.runs.iter().map(|run| run.operations).sum();
    let failed: u64 = of.runs.iter().map(|run| run.failed).sum();
    let rates: Vec<f64> = of.runs.iter().map(|run| run.rate_per_s).collect();
    let rate = driftline_stats::median(&rates);
    [
        of.scenario.clone(),
        of.target.clone(),
        match of.endpoint.as_str() {
            "" => "(all)".to_owned(),
            endpoint => endpoint.to_owned(),
        },
        of.runs.len().to_string(),
        operations.to_string(),
        time(of.p50_ms),
        time(of.p95_ms),
        time(of.p99_ms),
        rate.map(|rate| format!("{rate:.1}/s")).unwrap_or_default(),
        match operations {
            0 => String::new(),
            n => human(failed as f64 / n as f64, "1"),
        },
    ]
}

fn cells(series: &SeriesBaseline) -> [String; 9] {
    let value = |value: f64| human(value, &series.unit);
    [
        match series.labels.as_str() {
            "" => series.metric.clone(),
            labels => format!("{}{{{labels}}}", series.metric),
        },
        series.host.clone(),
        series.n.to_string(),
        value(series.median),
        value(series.mad),
        value(series.p5),
        value(series.p95),
        value(series.p99),
        series.season.as_ref().map_or_else(String::new, by_hour),
    ]
}

fn by_hour(season: &Season) -> String {
    let period = match season.period {
        Period::Day => "day",
        Period::Week => "week",
    };
    format!("{period}, explains {:.0} %", 100.0 * season.explained)
}
