//! `findings`: what was found, and what has become of it.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use driftline_analyzer::findings::{self, Step};
use driftline_analyzer::nightly::{self, Plot};
use driftline_analyzer::{At, Finding, Nightly, NightlyOptions, QueryOptions, Window};

use crate::cli::Settings;
use crate::exit::{Outcome, UsageError};
use crate::nightly::page::Page;
use crate::query::{self, Format};
use crate::{facts, nightly as day};

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
        /// How it is written
        #[arg(long, value_enum, default_value = "table")]
        format: ShowFormat,
        /// Write it to a file instead of stdout
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
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

/// How a finding is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ShowFormat {
    /// For people, in a terminal
    Table,
    /// One page with charts of its series, which needs nothing beside it
    Html,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Resolution {
    /// What caused it is mended
    Fixed,
    /// This is the new level
    Accepted,
}

/// `driftline findings`.
pub(crate) fn run(settings: &Settings, command: &FindingsCommand) -> anyhow::Result<Outcome> {
    let Some(action) = &command.action else {
        return list(settings, command);
    };
    let (id, step) = match action {
        FindingsAction::Show { id, format, output } => {
            let text = match format {
                ShowFormat::Table => table(settings, id)?,
                ShowFormat::Html => page(settings, id)?,
            };
            day::write(output.as_deref(), &text)?;
            return Ok(Outcome::Ok);
        }
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
    let by = facts::person();
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

fn table(settings: &Settings, id: &str) -> anyhow::Result<String> {
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
    let mut text = String::new();
    for (place, field) in schema.fields().iter().enumerate() {
        let texts = arrow::compute::cast(batch.column(place), &arrow::datatypes::DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        if texts.is_valid(0) && field.name() != "content" {
            text.push_str(&format!("{:<12} {}\n", field.name(), texts.value(0)));
        }
    }
    Ok(text)
}

/// The finding as it was told, with its series as the tables hold them now.
fn page(settings: &Settings, id: &str) -> anyhow::Result<String> {
    let calendar = settings.config.nightly.calendar()?;
    query::runtime()?.block_on(async {
        let engine = query::open(settings, At::Latest, &[]).await?;
        let told = findings::read(&engine, id).await?;
        let finding = told.ok_or_else(|| unknown(id))?;
        let day = calendar
            .date(finding.onset_us)
            .and_then(|date| calendar.day(date))
            .ok_or_else(|| UsageError(format!("the onset of {id} is out of range")))?;
        let whole = Window {
            from_us: day
                .from_us
                .saturating_sub(NightlyOptions::default().history_us),
            until_us: day.until_us,
        };
        let (_, series) = nightly::series(&engine, whole).await?;
        let plots: Vec<Plot> = nightly::plots(&finding, &series);
        let alone = Nightly {
            day,
            rows: 0,
            series: plots.len(),
            runs: 0,
            notes: Vec::new(),
            plots,
            marks: nightly::marks(&engine, whole).await?,
            findings: Vec::<Finding>::from([finding]),
        };
        Ok(Page {
            title: id,
            nightly: &alone,
            calendar,
        }
        .render())
    })
}
