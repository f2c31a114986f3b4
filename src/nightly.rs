//! `nightly`: the analysis of a day, told to the log and to people. And `findings`: what became of
//! what was found.

mod report;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Days, NaiveDate, Utc};
use clap::{Args, Subcommand, ValueEnum};
use driftline_analyzer::findings::{self, Held, State, Step};
use driftline_analyzer::nightly::nightly;
use driftline_analyzer::{At, Nightly, NightlyOptions, QueryOptions, Severity, Window};

use crate::cli::{Settings, parse_time};
use crate::exit::{Outcome, UsageError};
use crate::query::{self, Format};
use crate::{facts, notify, roles};

/// How a day's analysis is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// For people, in a terminal
    Table,
    /// One object
    Json,
    /// For a chat or a ticket
    Markdown,
    /// For a build server: a test case per finding
    Junit,
}

/// Which day, and how strictly.
#[derive(Debug, Args)]
pub(crate) struct NightlyArgs {
    /// The day, in UTC, as in 2026-01-31 [default: yesterday]
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

/// What has been found, and what is done with it.
#[derive(Debug, Args)]
pub(crate) struct FindingsCommand {
    #[command(subcommand)]
    action: Option<FindingsAction>,
    /// Also those that are resolved or superseded
    #[arg(long)]
    all: bool,
    /// How they are printed
    #[arg(long, default_value = "table")]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum FindingsAction {
    /// Everything about one: its evidence, before and after, suspects, and the SQL to look further
    Show {
        /// The finding
        id: String,
    },
    /// Say that it is seen
    Ack {
        /// The finding
        id: String,
    },
    /// Say that it is mended, or that this is the new level
    Resolve {
        /// The finding
        id: String,
        /// What became of it
        #[arg(long = "as", value_enum)]
        resolution: Resolution,
    },
    /// Say that it is not over
    Reopen {
        /// The finding
        id: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Resolution {
    /// What caused it is mended
    Fixed,
    /// This is the new level
    Accepted,
}

/// `driftline nightly`: exit code 3 when there are regressions that nobody has resolved, 4 when there
/// is too little data.
pub(crate) fn run(settings: &Settings, args: &NightlyArgs) -> anyhow::Result<Outcome> {
    let now = DateTime::<Utc>::from_timestamp_micros(facts::now_us()).unwrap_or_default();
    let date = args.date.unwrap_or_else(|| now.date_naive() - Days::new(1));
    let options = NightlyOptions {
        day: window(date).map_err(UsageError)?,
        history_us: i64::try_from(args.history.as_micros())?,
        min_effect_pct: args.min_effect,
        ..NightlyOptions::default()
    };
    let day = date.to_string();
    let (analysed, held) = query::runtime()?.block_on(async {
        let engine = query::open(settings, At::Latest, &[]).await?;
        let analysed = nightly(&engine, &options).await?;
        anyhow::Ok((analysed, findings::held(&engine, Some(&day)).await?))
    })?;
    for note in &analysed.notes {
        eprintln!("note: {note}");
    }
    if analysed.is_empty() {
        eprintln!(
            "too little data on {day}: no series with enough points and no load run that has one before it, in {}",
            settings.data.display()
        );
        return Ok(Outcome::TooLittleData);
    }
    if !args.dry_run {
        let events = findings::events(&analysed, &day, &held, facts::now_us());
        facts::append(settings, &events).context("the findings could not be kept")?;
        let told = analysed
            .findings
            .iter()
            .filter(|finding| events.iter().any(|event| event.subject == finding.id));
        notify::tell(settings, &told.collect::<Vec<_>>())?;
        if settings.config.kafka.is_none() {
            roles::commit_now(&settings.config, &settings.data)?;
        }
    }
    let text = report::render(&analysed, &day, args.format);
    match &args.output {
        Some(path) => std::fs::write(path, text)
            .with_context(|| format!("cannot write the report {}", path.display()))?,
        None => crate::report::print(&text)?,
    }
    Ok(match is_worse(&analysed, &held) {
        true => Outcome::Failed,
        false => Outcome::Ok,
    })
}

/// Whether the day holds a regression that nobody has resolved.
fn is_worse(analysed: &Nightly, held: &[Held]) -> bool {
    let resolved = |id: &str| {
        let state = held
            .iter()
            .find(|held| held.id == id)
            .map(|held| held.state);
        matches!(state, Some(State::Fixed | State::Accepted))
    };
    analysed
        .findings
        .iter()
        .any(|finding| finding.severity == Severity::Regression && !resolved(&finding.id))
}

fn window(date: NaiveDate) -> Result<Window, String> {
    let start = |date: NaiveDate| {
        let midnight = date.and_hms_opt(0, 0, 0)?;
        Some(midnight.and_utc().timestamp_micros())
    };
    let next = date.checked_add_days(Days::new(1));
    match (start(date), next.and_then(start)) {
        (Some(from_us), Some(until_us)) => Ok(Window { from_us, until_us }),
        _ => Err(format!("{date} is out of range")),
    }
}

/// `driftline findings`.
pub(crate) fn findings(settings: &Settings, command: &FindingsCommand) -> anyhow::Result<Outcome> {
    let Some(action) = &command.action else {
        return list(settings, command);
    };
    let (id, step) = match action {
        FindingsAction::Show { id } => return show(settings, id),
        FindingsAction::Ack { id } => (id, Step::Acknowledge),
        FindingsAction::Resolve { id, resolution } => match resolution {
            Resolution::Fixed => (id, Step::Fix),
            Resolution::Accepted => (id, Step::Accept),
        },
        FindingsAction::Reopen { id } => (id, Step::Reopen),
    };
    let all = query::runtime()?.block_on(async {
        let engine = query::open(settings, At::Latest, &[]).await?;
        anyhow::Ok(findings::held(&engine, None).await?)
    })?;
    let held = all
        .iter()
        .find(|held| held.id == *id)
        .ok_or_else(|| unknown(id))?;
    let by = std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned());
    let event = findings::step(held, step, &by, facts::now_us())
        .map_err(|error| UsageError(error.to_string()))?;
    facts::append(settings, std::slice::from_ref(&event))?;
    println!("{}", event.message);
    Ok(Outcome::Ok)
}

fn unknown(id: &str) -> UsageError {
    UsageError(format!(
        "there is no finding {id}; driftline findings --all lists them"
    ))
}

fn list(settings: &Settings, command: &FindingsCommand) -> anyhow::Result<Outcome> {
    let states = if command.all {
        "true"
    } else {
        "state IN ('open', 'acknowledged')"
    };
    let sql = format!(
        "SELECT id, state, day, severity, title, onset, round(effect_pct, 2) AS effect_pct, \
         round(ci_lo_pct, 2) AS ci_lo_pct, round(ci_hi_pct, 2) AS ci_hi_pct \
         FROM findings WHERE {states} ORDER BY day DESC, severity DESC, onset, id"
    );
    let rows = query::runtime()?.block_on(async {
        let engine = query::open(settings, At::Latest, &[]).await?;
        anyhow::Ok(engine.collect(&sql, &QueryOptions::default()).await?)
    })?;
    let empty = rows.batches.iter().all(|batch| batch.num_rows() == 0);
    if empty && std::io::stderr().is_terminal() {
        eprintln!("nothing is open; driftline nightly looks for what changed");
    }
    query::print(&rows, command.format)?;
    Ok(Outcome::Ok)
}

fn show(settings: &Settings, id: &str) -> anyhow::Result<Outcome> {
    use arrow::array::{Array as _, AsArray as _};
    let options = QueryOptions {
        parameters: vec![("id".to_owned(), driftline_analyzer::rule::text(id))],
        timeout: None,
    };
    let rows = query::runtime()?.block_on(async {
        let engine = query::open(settings, At::Latest, &[]).await?;
        let sql = "SELECT * FROM findings WHERE id = $id";
        anyhow::Ok(engine.collect(sql, &options).await?)
    })?;
    let batch = rows.batches.iter().find(|batch| batch.num_rows() > 0);
    let batch = batch.ok_or_else(|| unknown(id))?;
    let schema = batch.schema();
    for (place, field) in schema.fields().iter().enumerate() {
        let texts = arrow::compute::cast(batch.column(place), &arrow::datatypes::DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        if texts.is_valid(0) && field.name() != "content" {
            println!("{:<12} {}", field.name(), texts.value(0));
        }
    }
    Ok(Outcome::Ok)
}
