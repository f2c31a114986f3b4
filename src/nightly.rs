//! `nightly`: the analysis of a day, told to the log and to people. Days whose rows came late are
//! analysed again. What becomes of what was found is left to `findings`.

pub(crate) mod page;
mod report;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use chrono::{Days, NaiveDate};
use clap::{Args, ValueEnum};
use driftline_analyzer::findings::{self, Held, State};
use driftline_analyzer::nightly::{self as analysis, nightly};
use driftline_analyzer::{At, Calendar, Engine, Nightly, NightlyOptions, Severity};
use serde::Deserialize;

use crate::cli::{Settings, parse_time};
use crate::exit::{Outcome, UsageError};
use crate::{facts, notify, query, roles};

/// So many days before the one that is analysed are looked at for rows that came late.
const REOPENED_DAYS: u64 = 7;

/// `[nightly]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NightlyConfig {
    /// The time zone in which days begin and end.
    time_zone: String,
}

impl Default for NightlyConfig {
    fn default() -> Self {
        Self {
            time_zone: Calendar::default().zone().to_owned(),
        }
    }
}

impl NightlyConfig {
    /// The configured time zone.
    pub(crate) fn zone(&self) -> &str {
        &self.time_zone
    }

    /// The days of that time zone.
    pub(crate) fn calendar(&self) -> anyhow::Result<Calendar> {
        Calendar::of(&self.time_zone).map_err(|error| anyhow!("nightly.time_zone: {error}"))
    }
}

/// How a day's analysis is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// For people, in a terminal
    Table,
    /// One object
    Json,
    /// For a chat or a ticket
    Markdown,
    /// One page with charts, which needs nothing beside it
    Html,
    /// For a build server: a test case per finding
    Junit,
}

/// Which day, and how strictly.
#[derive(Debug, Args)]
pub(crate) struct NightlyArgs {
    /// The day, in the time zone of the configuration, as in 2026-01-31 [default: yesterday]
    #[arg(long, value_name = "DAY")]
    date: Option<NaiveDate>,
    /// How much history before the day to judge by
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "336h")]
    history: Duration,
    /// Changes below this percentage of the level before do not count
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    min_effect: f64,
    /// How the report is written
    #[arg(long, value_enum, default_value = "table")]
    format: ReportFormat,
    /// Write the report to a file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Analyse and report, but keep nothing
    #[arg(long)]
    dry_run: bool,
}

/// `driftline nightly`: exit code 3 when there are regressions that nobody has resolved, 4 when there
/// is too little data.
pub(crate) fn run(settings: &Settings, args: &NightlyArgs) -> anyhow::Result<Outcome> {
    let calendar = settings.config.nightly.calendar()?;
    let yesterday = || {
        let today = calendar.date(facts::now_us());
        today.and_then(|today| today.checked_sub_days(Days::new(1)))
    };
    let date = args.date.or_else(yesterday);
    let date = date.context("this machine's clock is out of range")?;
    let options = NightlyOptions {
        calendar,
        history_us: i64::try_from(args.history.as_micros())?,
        min_effect_pct: args.min_effect,
        ..NightlyOptions::default()
    };
    let first = date
        .checked_sub_days(Days::new(REOPENED_DAYS))
        .unwrap_or(date);
    let (day, reopened) = query::runtime()?.block_on(async {
        let engine = query::open(settings, At::Latest, &[]).await?;
        let day = Day::analyse(&engine, calendar, date, &options).await?;
        let mut reopened = Vec::new();
        if !args.dry_run {
            for date in analysis::reopened(&engine, calendar, first, date).await? {
                reopened.push(Day::analyse(&engine, calendar, date, &options).await?);
            }
        }
        anyhow::Ok((day, reopened))
    })?;
    for note in &day.analysed.notes {
        eprintln!("note: {note}");
    }
    let mut kept: Vec<&Day> = Vec::new();
    for late in &reopened {
        eprintln!(
            "note: {} was analysed again, since rows of it have come late: {} findings",
            late.name,
            late.analysed.findings.len()
        );
        kept.push(late);
    }
    if !day.analysed.is_empty() {
        kept.push(&day);
    }
    if !args.dry_run {
        keep(settings, &kept)?;
    }
    if day.analysed.is_empty() {
        eprintln!(
            "too little data on {}: no series with enough points and no load run that has one before it, in {}",
            day.name,
            settings.data.display()
        );
        return Ok(Outcome::TooLittleData);
    }
    let text = report::render(&day.analysed, &day.name, calendar, args.format);
    write(args.output.as_deref(), &text)?;
    Ok(match kept.iter().any(|day| day.is_worse()) {
        true => Outcome::Failed,
        false => Outcome::Ok,
    })
}

/// Writes a report to a file, or to stdout.
pub(crate) fn write(output: Option<&Path>, text: &str) -> anyhow::Result<()> {
    match output {
        Some(path) => std::fs::write(path, text)
            .with_context(|| format!("cannot write the report {}", path.display())),
        None => crate::report::print(text),
    }
}

/// Tells the log and people what is new in these days.
fn keep(settings: &Settings, days: &[&Day]) -> anyhow::Result<()> {
    for day in days {
        let events = findings::events(&day.analysed, &day.name, &day.held, facts::now_us());
        facts::append(settings, &events).context("the findings could not be kept")?;
        let told = day
            .analysed
            .findings
            .iter()
            .filter(|finding| events.iter().any(|event| event.subject == finding.id));
        notify::tell(settings, &told.collect::<Vec<_>>())?;
    }
    if !days.is_empty() && settings.config.kafka.is_none() {
        roles::commit_now(&settings.config, &settings.data)?;
    }
    Ok(())
}

/// A day as it was analysed, and what is held of it.
struct Day {
    name: String,
    analysed: Nightly,
    held: Vec<Held>,
}

impl Day {
    async fn analyse(
        engine: &Engine,
        calendar: Calendar,
        date: NaiveDate,
        options: &NightlyOptions,
    ) -> anyhow::Result<Self> {
        let day = calendar
            .day(date)
            .ok_or_else(|| UsageError(format!("{date} is no day in {}", calendar.zone())))?;
        let name = date.to_string();
        let analysed = nightly(engine, &NightlyOptions { day, ..*options }).await?;
        let held = findings::held(engine, Some(&name)).await?;
        Ok(Self {
            name,
            analysed,
            held,
        })
    }

    /// Whether the day holds a regression that nobody has resolved.
    fn is_worse(&self) -> bool {
        let resolved = |id: &str| {
            let held = self.held.iter().find(|held| held.id == id);
            matches!(
                held.map(|held| held.state),
                Some(State::Fixed | State::Accepted)
            )
        };
        let findings = self.analysed.findings.iter();
        findings
            .filter(|finding| finding.severity == Severity::Regression)
            .any(|finding| !resolved(&finding.id))
    }
}
