//! Reports of load runs, rebuilt from the log's events and the table `requests` alone: the same run
//! gives the same report, byte for byte. What a report says and how it looks is decided in
//! `driftline_loadgen::report`; this is only the way from SQL to there.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use clap::{Args, ValueEnum};
use driftline_analyzer::{At, Engine, QueryOptions};
use driftline_loadgen::report::{ReportBuilder, RequestRow, RunFacts, RunReport};
use driftline_schemas::label_pairs;
use futures::StreamExt as _;

use crate::cli::Settings;
use crate::exit::{Outcome, UsageError};
use crate::query;

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people, in a terminal
    Table,
    /// One object
    Json,
    /// For a pull request
    Markdown,
    /// One file with charts
    Html,
    /// For a build server: a test case per threshold
    Junit,
}

/// Which run, and how.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The run's name; `driftline query "select run, started, ended from runs"` lists them
    #[arg(value_name = "RUN")]
    run: String,
    /// How it is written
    #[arg(long, value_enum, default_value = "table")]
    format: ReportFormat,
    /// Write it to a file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// `driftline report`. It says what a run came to; whether that is good is for `load` to say by its
/// exit code.
pub(crate) fn run(settings: &Settings, args: &ReportArgs) -> anyhow::Result<Outcome> {
    let report = query::runtime()?.block_on(async {
        let engine = query::open(settings, At::Latest, &[]).await?;
        build(&engine, &args.run).await
    })?;
    let text = render(&report, args.format);
    match &args.output {
        Some(path) => std::fs::write(path, text)
            .with_context(|| format!("cannot write the report {}", path.display()))?,
        None => print(&text)?,
    }
    Ok(Outcome::Ok)
}

/// Writes a report to stdout.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

pub(crate) fn render(report: &RunReport, format: ReportFormat) -> String {
    match format {
        ReportFormat::Table => report.to_table(),
        ReportFormat::Json => report.to_json(),
        ReportFormat::Markdown => report.to_markdown(),
        ReportFormat::Html => report.to_html(),
        ReportFormat::Junit => report.to_junit(),
    }
}

/// The names under which runs began; a run's name stands in SQL as text, so that only names that
/// the load generator gives are let through.
pub(crate) fn check_name(run: &str) -> anyhow::Result<()> {
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    if run.is_empty() || !run.chars().all(valid) {
        bail!(UsageError(format!(
            "{run:?} is no name of a run: they are made of a-z, 0-9, '.', '_', '-'"
        )));
    }
    Ok(())
}

/// Whether a run of this name has begun.
pub(crate) async fn exists(engine: &Engine, run: &str) -> anyhow::Result<bool> {
    check_name(run)?;
    let sql = format!("SELECT ts FROM events WHERE name = 'RunStarted' AND subject = '{run}'");
    let rows = engine.collect(&sql, &QueryOptions::default()).await?;
    Ok(rows.batches.iter().any(|batch| batch.num_rows() > 0))
}

/// The report of a run, from the tables and the fresh tail.
pub(crate) async fn build(engine: &Engine, run: &str) -> anyhow::Result<RunReport> {
    check_name(run)?;
    let facts = facts(engine, run).await?;
    let mut builder = ReportBuilder::new(facts);
    let sql = format!(
        "SELECT ts, endpoint, sent_ns, first_byte_ns, done_ns, status, bytes, error \
         FROM requests WHERE run = '{run}'"
    );
    let mut rows = engine.query(&sql, &QueryOptions::default()).await?;
    while let Some(batch) = rows.next().await {
        push(&mut builder, &batch.map_err(|error| engine.explain(error))?)?;
    }
    Ok(builder.finish())
}

async fn facts(engine: &Engine, run: &str) -> anyhow::Result<RunFacts> {
    let sql = format!(
        "SELECT name, ts, attributes FROM events WHERE subject = '{run}' \
         AND name IN ('RunStarted', 'RunFinished') ORDER BY ts"
    );
    let rows = engine.collect(&sql, &QueryOptions::default()).await?;
    let mut started = None;
    let mut finished = None;
    for batch in &rows.batches {
        let names = text(batch, "name")?;
        let attributes = text(batch, "attributes")?;
        let times = batch.column_by_name("ts").context("ts")?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            let pairs = label_pairs(attributes.as_string::<i32>().value(row))
                .context("the attributes of a run's event cannot be read")?;
            if names.as_string::<i32>().value(row) == "RunStarted" {
                started.get_or_insert((pairs, times.value(row)));
            } else {
                finished.get_or_insert(pairs);
            }
        }
    }
    let Some((started, started_us)) = started else {
        bail!(
            "no run named {run}: driftline query \"select run, started from runs\" lists those that there are"
        );
    };
    Ok(RunFacts::from_events(
        &started,
        finished.as_deref(),
        started_us,
    )?)
}

fn text(batch: &RecordBatch, name: &str) -> anyhow::Result<arrow::array::ArrayRef> {
    let column = batch.column_by_name(name).context("a column is missing")?;
    Ok(cast(column, &DataType::Utf8)?)
}

fn push(builder: &mut ReportBuilder, batch: &RecordBatch) -> anyhow::Result<()> {
    let column = |name: &str| batch.column_by_name(name).context("a column is missing");
    let (endpoints, errors) = (text(batch, "endpoint")?, text(batch, "error")?);
    let (endpoints, errors) = (endpoints.as_string::<i32>(), errors.as_string::<i32>());
    let ts = column("ts")?.as_primitive::<TimestampMicrosecondType>();
    let sent = column("sent_ns")?.as_primitive::<Int64Type>();
    let first_byte = column("first_byte_ns")?.as_primitive::<Int64Type>();
    let done = column("done_ns")?.as_primitive::<Int64Type>();
    let status = column("status")?.as_primitive::<Int32Type>();
    let bytes = column("bytes")?.as_primitive::<Int64Type>();
    ensure!(ts.null_count() == 0, "an operation without a time");
    for row in 0..batch.num_rows() {
        builder.push(&RequestRow {
            endpoint: endpoints.value(row),
            intended_us: ts.value(row),
            sent_ns: sent.value(row),
            first_byte_ns: first_byte.value(row),
            done_ns: done.value(row),
            status: status.value(row),
            bytes: bytes.value(row),
            error: errors.value(row),
        });
    }
    Ok(())
}
