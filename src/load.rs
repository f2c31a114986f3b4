//! `load`: a scenario is run, recorded, committed and reported. The numbers that are printed come
//! from SQL over what the log holds, not from the generator's memory.

mod limit;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use driftline_analyzer::{At, QueryOptions};
use driftline_loadgen::report::RunReport;
use driftline_loadgen::run::args::{LoadArgs, LoadError, SummaryFormat, WorkerArgs, spool};
use driftline_loadgen::run::{
    Launch, LiveView, PlainView, RunOutcome, RunRequest, View, json, table,
};
use driftline_loadgen::target::Target;
use driftline_loadgen::{Stop, import};

use crate::cli::Settings;
use crate::exit::{Outcome, UsageError};
use crate::report::{self, ReportFormat};
use crate::stopping::Stopping;
use crate::{query, roles};

/// How long rows of a run may take to be seen by queries when another process's sink brings them
/// into the tables.
const VISIBLE_WITHIN: Duration = Duration::from_secs(120);
/// How long forwarding to Kafka may take after a run.
const FORWARD_WITHIN: Duration = Duration::from_secs(120);

/// A load test, or what surrounds it.
#[derive(Debug, Args)]
pub(crate) struct LoadCommand {
    #[command(subcommand)]
    action: Option<LoadAction>,
    #[command(flatten)]
    args: Option<LoadArgs>,
}

#[derive(Debug, Subcommand)]
enum LoadAction {
    /// Find the breaking point: the highest rate at which the thresholds hold, with its interval
    #[command(
        after_help = "Example:\n  driftline load find-limit scenarios/api.toml --target http://127.0.0.1:8080 --start 100"
    )]
    FindLimit(Box<limit::LimitArgs>),
    /// Say what a scenario would do, and what is wrong with it, without sending anything
    Check {
        /// The scenario
        #[arg(value_name = "SCENARIO.toml")]
        scenario: PathBuf,
    },
    /// A scenario from an OpenAPI document (JSON or YAML), written to stdout
    FromOpenapi {
        /// The document
        file: PathBuf,
    },
    /// A scenario from a browser's recording (HAR), written to stdout
    FromHar {
        /// The recording
        file: PathBuf,
    },
    /// Do a part of another process's run, on this or another host
    Worker(WorkerArgs),
}

/// `driftline load`.
pub(crate) fn run(settings: &Settings, command: LoadCommand) -> anyhow::Result<Outcome> {
    match (command.action, command.args) {
        (None, Some(args)) => load(settings, &args),
        (None, None) => bail!(UsageError(
            "name a scenario: driftline load SCENARIO.toml --target URL".to_owned()
        )),
        (Some(LoadAction::FindLimit(args)), _) => limit::run(settings, &args),
        (Some(LoadAction::Check { scenario }), _) => {
            println!("{}", read(&scenario)?.describe());
            Ok(Outcome::Ok)
        }
        (Some(LoadAction::FromOpenapi { file }), _) => {
            report::print(&import::openapi(&text_of(&file)?)?)?;
            Ok(Outcome::Ok)
        }
        (Some(LoadAction::FromHar { file }), _) => {
            report::print(&import::har(&text_of(&file)?)?)?;
            Ok(Outcome::Ok)
        }
        (Some(LoadAction::Worker(args)), _) => {
            let stop = follow(&Stopping::on_signals()?)?;
            args.execute(&settings.data, recording(settings), stop)
                .map_err(asked_wrongly)?;
            Ok(Outcome::Ok)
        }
    }
}

fn text_of(file: &std::path::Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn read(path: &std::path::Path) -> anyhow::Result<driftline_loadgen::Scenario> {
    driftline_loadgen::Scenario::read(path).map_err(|error| UsageError(error.to_string()).into())
}

/// The spool as configured; what is full refuses, so that no operation is forgotten to make room.
pub(crate) fn recording(settings: &Settings) -> driftline_eventlog::spool::SpoolConfig {
    driftline_eventlog::spool::SpoolConfig {
        on_full: spool().on_full,
        ..settings.config.spool.clone()
    }
}

/// Keeps apart what was asked wrongly from what failed.
fn asked_wrongly(error: LoadError) -> anyhow::Error {
    if error.exit_code() == 2 {
        UsageError(error.message()).into()
    } else {
        error.into()
    }
}

/// A stop for the generator that follows the one of this process.
pub(crate) fn follow(stopping: &Stopping) -> anyhow::Result<Stop> {
    let stop = Stop::new();
    let (asked, told) = (stopping.collector.clone(), stop.clone());
    std::thread::Builder::new()
        .name("stop".to_owned())
        .spawn(move || {
            while !asked.wait(Duration::from_secs(3600)) {}
            told.request();
        })
        .context("cannot start the thread that hears the request to stop")?;
    Ok(stop)
}

fn load(settings: &Settings, args: &LoadArgs) -> anyhow::Result<Outcome> {
    roles::prepare(&settings.data)?;
    let stop = follow(&Stopping::on_signals()?)?;
    let request = request(settings, args, stop)?;
    let mut view: Box<dyn View> = if std::io::stderr().is_terminal() && !args.plain {
        Box::new(LiveView::new()?)
    } else {
        Box::new(PlainView::new())
    };
    let outcome = driftline_loadgen::run::run(&request, view.as_mut())
        .map_err(|error| asked_wrongly(error.into()))?;
    // The terminal is given back before anything is printed.
    drop(view);
    if settings.config.kafka.is_some() {
        return forwarded(settings, args, &request, &outcome);
    }
    let report = committed(settings, &outcome)?;
    let format = match args.format {
        SummaryFormat::Table => ReportFormat::Table,
        SummaryFormat::Json => ReportFormat::Json,
    };
    report::print(&report::render(&report, format))?;
    Ok(Outcome::of_code(report.exit_code()))
}

/// What to run, refused where a run of that name is there already.
fn request(settings: &Settings, args: &LoadArgs, stop: Stop) -> anyhow::Result<RunRequest> {
    let launch = Launch::this(&["load", "worker"])?;
    let request = args
        .request(
            &settings.data,
            recording(settings),
            Some(launch),
            Target::resolve,
            stop,
        )
        .map_err(asked_wrongly)?;
    if let Some(run) = &request.run {
        let there = query::runtime()?.block_on(async {
            let engine = query::open(settings, At::Latest, &[]).await?;
            report::exists(&engine, run).await
        })?;
        if there {
            bail!(UsageError(format!(
                "a run named {run} is there already: choose another --run, or leave it out"
            )));
        }
    }
    Ok(request)
}

/// Brings a run into the tables, unless another process's sink does, and builds its report.
pub(crate) fn committed(settings: &Settings, outcome: &RunOutcome) -> anyhow::Result<RunReport> {
    roles::commit_now(&settings.config, &settings.data)?;
    let run = &outcome.run;
    let recorded = outcome.operations - outcome.lost;
    let begun = Instant::now();
    query::runtime()?.block_on(async {
        loop {
            match seen(settings, run).await {
                Ok(seen) if seen >= recorded => break,
                // The tail may be longer than a query takes, until the other sink has caught up.
                Ok(_) | Err(_) if begun.elapsed() < VISIBLE_WITHIN => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                Ok(seen) => bail!(
                    "only {seen} of {recorded} operations of {run} are in the tables after {} s: is the sink that holds the lease at work?",
                    VISIBLE_WITHIN.as_secs()
                ),
                Err(error) => return Err(error),
            }
        }
        let engine = query::open(settings, At::Latest, &[]).await?;
        let report = report::build(&engine, run).await?;
        ensure!(report.run == *run, "the report is of another run");
        Ok(report)
    })
}

async fn seen(settings: &Settings, run: &str) -> anyhow::Result<u64> {
    use arrow::array::AsArray as _;
    let engine = query::open(settings, At::Latest, &[]).await?;
    let sql = format!("SELECT count(*) FROM requests WHERE run = '{run}'");
    let rows = engine.collect(&sql, &QueryOptions::default()).await?;
    let batch = rows.batches.first().context("a count has a row")?;
    let counts = batch
        .column(0)
        .as_primitive::<arrow::datatypes::Int64Type>();
    Ok(u64::try_from(counts.value(0))?)
}

/// With a broker, the run goes there and some other host's sink commits it: what is printed now
/// comes from the generator's own statistics.
fn forwarded(
    settings: &Settings,
    args: &LoadArgs,
    request: &RunRequest,
    outcome: &RunOutcome,
) -> anyhow::Result<Outcome> {
    roles::forward_now(
        &settings.config,
        &settings.data,
        &outcome.run,
        FORWARD_WITHIN,
    )?;
    let text = match args.format {
        SummaryFormat::Table => table(outcome, &request.scenario),
        SummaryFormat::Json => json(outcome).to_string(),
    };
    report::print(&text)?;
    eprintln!(
        "the run is on its way through Kafka; when a sink has committed it: driftline report {}",
        outcome.run
    );
    Ok(Outcome::of_code(outcome.verdict().exit_code()))
}
