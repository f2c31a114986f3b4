//! The schedule and its ledgers as tables and as JSON.

use std::path::Path;

use anyhow::bail;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use driftline_analyzer::schedule::{Job, JobState, Ledger, Phase, Settled};
use serde::Serialize;

use crate::exit::{Outcome, UsageError};
use crate::query::Format;

/// A run that has not begun so long after it was due is overdue.
const OVERDUE_US: i64 = 60 * 1_000_000;

/// A job and where it stands.
#[derive(Debug, Serialize)]
struct JobRow {
    job: String,
    cron: String,
    zone: String,
    last: Option<String>,
    outcome: Option<String>,
    next: Option<String>,
    state: String,
}

/// A run that is over.
#[derive(Debug, Serialize)]
struct RunRow {
    job: String,
    scheduled: String,
    outcome: &'static str,
    ending: Option<String>,
    attempts: u32,
    begun: Option<String>,
    settled: String,
    seconds: Option<f64>,
}

/// `driftline schedule list`.
pub(super) fn list(
    jobs: &[Job],
    directory: &Path,
    now_us: i64,
    format: Format,
) -> anyhow::Result<Outcome> {
    let mut rows = Vec::with_capacity(jobs.len());
    for job in jobs {
        rows.push(job_row(job, &Ledger::look(directory, job.name())?, now_us));
    }
    let cells = |row: &JobRow| {
        vec![
            row.job.clone(),
            format!("{} ({})", row.cron, row.zone),
            row.last.clone().unwrap_or_default(),
            row.outcome.clone().unwrap_or_default(),
            row.next.clone().unwrap_or_default(),
            row.state.clone(),
        ]
    };
    let header = ["job", "cron", "last run", "outcome", "next run", "state"];
    print(format, &header, &rows, cells)
}

/// `driftline schedule history`.
pub(super) fn history(
    jobs: &[Job],
    directory: &Path,
    last: usize,
    format: Format,
) -> anyhow::Result<Outcome> {
    let mut runs: Vec<(Settled, &Job)> = Vec::new();
    for job in jobs {
        let state = Ledger::look(directory, job.name())?;
        runs.extend(state.history().map(|settled| (settled.clone(), job)));
    }
    // Stable: jobs that were settled at the same time stay in the configuration's order.
    runs.sort_by_key(|(settled, _)| (settled.at_us, settled.scheduled_us));
    let first = runs.len().saturating_sub(last);
    let rows: Vec<RunRow> = runs[first..]
        .iter()
        .map(|(settled, job)| run_row(settled, job))
        .collect();
    let cells = |row: &RunRow| {
        vec![
            row.job.clone(),
            row.scheduled.clone(),
            row.outcome.to_owned(),
            row.ending.clone().unwrap_or_default(),
            row.attempts.to_string(),
            row.seconds
                .map_or_else(String::new, |seconds| format!("{seconds:.1} s")),
            row.settled.clone(),
        ]
    };
    let header = [
        "job",
        "scheduled",
        "outcome",
        "ending",
        "attempts",
        "took",
        "settled",
    ];
    print(format, &header, &rows, cells)
}

fn job_row(job: &Job, state: &JobState, now_us: i64) -> JobRow {
    let settled_us = state.settled_through_us().unwrap_or(now_us);
    let open = state.open();
    let after_us = open.map_or(settled_us, |open| open.scheduled_us);
    let next_us = job.cadence().next_after(after_us);
    let last = state.history().next_back();
    JobRow {
        job: job.name().to_owned(),
        cron: job.cadence().expression().to_owned(),
        zone: job.cadence().zone().to_owned(),
        last: last.map(|settled| text(job, settled.scheduled_us)),
        outcome: last.map(|settled| settled.outcome.as_str().to_owned()),
        next: next_us.map(|next_us| text(job, job.due_us(next_us))),
        state: match open.map(|open| (&open.phase, open)) {
            None if state.enrolled().is_none() => "never served".to_owned(),
            None if next_us.is_some_and(|next_us| job.due_us(next_us) + OVERDUE_US < now_us) => {
                "overdue: is `driftline schedule` running?".to_owned()
            }
            None if settled_us > now_us => "the clock is behind the ledger".to_owned(),
            None => "waits".to_owned(),
            Some((Phase::Begun, open)) => format!(
                "attempt {} of {} begun",
                open.starts,
                text(job, open.scheduled_us)
            ),
            Some((
                Phase::Retrying {
                    retry_at_us,
                    ending,
                    ..
                },
                _,
            )) => {
                format!("{ending}; tried again at {}", text(job, *retry_at_us))
            }
        },
    }
}

fn run_row(settled: &Settled, job: &Job) -> RunRow {
    let seconds = |begun_us: i64| settled.at_us.saturating_sub(begun_us) as f64 / 1e6;
    RunRow {
        job: job.name().to_owned(),
        scheduled: text(job, settled.scheduled_us),
        outcome: settled.outcome.as_str(),
        ending: settled.ending.as_ref().map(ToString::to_string),
        attempts: settled.starts,
        begun: settled.begun_us.map(|begun_us| text(job, begun_us)),
        settled: text(job, settled.at_us),
        seconds: settled.begun_us.map(seconds),
    }
}

/// A time on the clock of the job's zone.
fn text(job: &Job, at_us: i64) -> String {
    let local = job.cadence().local(at_us);
    local.map_or_else(|| at_us.to_string(), |at| at.to_rfc3339())
}

fn print<R: Serialize>(
    format: Format,
    header: &[&str],
    rows: &[R],
    cells: impl Fn(&R) -> Vec<String>,
) -> anyhow::Result<Outcome> {
    match format {
        Format::Table => {
            let mut table = Table::new();
            table
                .load_preset(UTF8_FULL_CONDENSED)
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_header(header);
            table.add_rows(rows.iter().map(cells));
            println!("{table}");
        }
        Format::Json => println!("{}", serde_json::to_string_pretty(rows)?),
        Format::Csv | Format::Parquet => bail!(UsageError(
            "the schedule is printed as --format table or json".to_owned()
        )),
    }
    Ok(Outcome::Ok)
}
