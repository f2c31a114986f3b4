//! `query` and `sql`: SQL in, rows out. Rows go to stdout alone, notices to stderr.

use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches_with_schema;
use clap::{Args, ValueEnum};
use driftline_analyzer::{At, Engine, LakeOptions, QueryOptions, Rows, Tail};
use driftline_eventlog::SourceId;
use driftline_eventlog::kafka::partition_ends;
use driftline_schemas::Kind;
use driftline_sink::table::TableName;
use parquet::arrow::ArrowWriter;

use crate::cli::Settings;
use crate::exit::{Outcome, UsageError};

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// With a header
    Csv,
    /// One array of objects
    Json,
    /// A Parquet file
    Parquet,
}

/// A query and what it asks.
#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// The SQL, unless --file is given
    #[arg(
        required_unless_present = "file",
        conflicts_with = "file",
        value_name = "SQL"
    )]
    sql: Option<String>,
    /// A file with the SQL
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// An older state: a version of the table samples, or a time (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "VERSION|TIME")]
    at: Option<String>,
    /// Parquet files as a table; may be repeated
    #[arg(long = "table", value_name = "NAME=PATH_OR_GLOB")]
    tables: Vec<String>,
    /// How rows are printed
    #[arg(long, default_value = "table")]
    format: Format,
}

/// What the prompt takes.
#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// Parquet files as a table; may be repeated
    #[arg(long = "table", value_name = "NAME=PATH_OR_GLOB")]
    tables: Vec<String>,
}

/// `driftline query`.
pub(crate) fn run(settings: &Settings, args: QueryArgs) -> anyhow::Result<Outcome> {
    let at = args
        .at
        .as_deref()
        .map(parse_at)
        .transpose()?
        .unwrap_or(At::Latest);
    let tables = parse_tables(&args.tables)?;
    let sql = match (&args.sql, &args.file) {
        (Some(sql), _) => sql.clone(),
        (None, Some(file)) => std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the query {}", file.display()))?,
        (None, None) => bail!(UsageError("give the SQL or --file".to_owned())),
    };
    let runtime = runtime()?;
    let engine = runtime.block_on(open(settings, at, &tables))?;
    tell(settings, &engine, at);
    let rows = runtime.block_on(engine.collect(&sql, &QueryOptions::default()))?;
    print(&rows, args.format)?;
    Ok(Outcome::Ok)
}

/// `driftline sql`: a statement a line (or over several, up to its semicolon), each over a state of
/// its own, so that fresh rows are seen.
pub(crate) fn prompt(settings: &Settings, args: SqlArgs) -> anyhow::Result<Outcome> {
    let tables = parse_tables(&args.tables)?;
    let runtime = runtime()?;
    let terminal = std::io::stdin().is_terminal();
    if terminal {
        eprintln!(
            "SQL over {}; end a statement with ;, leave with Ctrl-D",
            settings.data.display()
        );
    }
    let mut statement = String::new();
    loop {
        if terminal {
            eprint!(
                "{}",
                if statement.is_empty() {
                    "driftline> "
                } else {
                    "      ...> "
                }
            );
        }
        let read = std::io::stdin()
            .read_line(&mut statement)
            .context("cannot read the statement")?;
        let Some(sql) = statement.trim().strip_suffix(';').map(str::to_owned) else {
            if read > 0 {
                continue;
            }
            // What is left without a semicolon is a statement all the same.
            if !statement.trim().is_empty() {
                let sql = std::mem::take(&mut statement);
                answer(settings, &runtime, &tables, &sql)?;
            }
            return Ok(Outcome::Ok);
        };
        statement.clear();
        answer(settings, &runtime, &tables, &sql)?;
    }
}

/// One statement of the prompt; a mistake in it is told and the prompt goes on.
fn answer(
    settings: &Settings,
    runtime: &tokio::runtime::Runtime,
    tables: &[(String, String)],
    sql: &str,
) -> anyhow::Result<()> {
    let rows = runtime.block_on(async {
        let engine = open(settings, At::Latest, tables).await?;
        anyhow::Ok(engine.collect(sql, &QueryOptions::default()).await?)
    });
    match rows {
        Ok(rows) => print(&rows, Format::Table),
        Err(error) => {
            eprintln!("error: {error:#}");
            Ok(())
        }
    }
}

pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}

/// The tables of a data directory, with what only the log holds yet.
pub(crate) async fn open(
    settings: &Settings,
    at: At,
    tables: &[(String, String)],
) -> anyhow::Result<Engine> {
    // Over Kafka the spools of this machine are on their way through the broker.
    let tail = if settings.config.kafka.is_some() {
        Tail::Excluded
    } else {
        Tail::Spool
    };
    let options = LakeOptions {
        at,
        tail,
        ..LakeOptions::default()
    };
    let engine = Engine::open(&settings.data, &settings.config.query, &options).await?;
    for (name, place) in tables {
        engine.add_files(name, place).await?;
    }
    Ok(engine)
}

fn tell(settings: &Settings, engine: &Engine, at: At) {
    for notice in engine.lake().notices() {
        eprintln!("note: {notice}");
    }
    if at != At::Latest {
        return;
    }
    if let Some(kafka) = &settings.config.kafka {
        match lag(settings, kafka) {
            Ok(0) => eprintln!("note: the tables are 0 records behind Kafka"),
            Ok(records) => eprintln!("note: the tables are {records} records behind Kafka"),
            Err(error) => {
                eprintln!("note: how far the tables are behind Kafka is not known: {error:#}")
            }
        }
    }
}

/// How many records of the topics the tables do not hold yet.
pub(crate) fn lag(
    settings: &Settings,
    kafka: &driftline_eventlog::kafka::KafkaConfig,
) -> anyhow::Result<u64> {
    let runtime = runtime()?;
    let mut behind = 0;
    for kind in Kind::ALL {
        let table = TableName::of(kind);
        for end in partition_ends(kafka, kind)? {
            let topic = driftline_schemas::topic::of(kind).to_owned();
            let source = SourceId::Kafka {
                topic,
                partition: end.partition,
            };
            let next = driftline_sink::table::position(&settings.data, table, &source);
            behind += end.lag(runtime.block_on(next)?);
        }
    }
    Ok(behind)
}

fn parse_at(text: &str) -> anyhow::Result<At> {
    if let Ok(version) = text.parse::<u64>() {
        return Ok(At::Version(version));
    }
    match chrono::DateTime::parse_from_rfc3339(text) {
        Ok(time) => Ok(At::TimeMs(time.timestamp_millis())),
        Err(_) => bail!(UsageError(format!(
            "--at {text} is neither a version nor a time such as 2026-01-31T12:00:00Z"
        ))),
    }
}

fn parse_tables(texts: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    let parse = |text: &String| match text.split_once('=') {
        Some((name, place)) if !name.is_empty() && !place.is_empty() => {
            Ok((name.to_owned(), place.to_owned()))
        }
        _ => bail!(UsageError(format!(
            "--table {text} is not of the form NAME=PATH_OR_GLOB"
        ))),
    };
    texts.iter().map(parse).collect()
}

pub(crate) fn print(rows: &Rows, format: Format) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match write_rows(&mut out, rows, format).and_then(|()| Ok(out.flush()?)) {
        // Whoever reads has seen enough, as `head` does.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        result => result,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

fn write_rows(out: &mut impl Write, rows: &Rows, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Table => {
            let table = pretty_format_batches_with_schema(rows.schema.clone(), &rows.batches)?;
            writeln!(out, "{table}")?;
            let count: usize = rows.batches.iter().map(RecordBatch::num_rows).sum();
            eprintln!("{count} row{}", if count == 1 { "" } else { "s" });
        }
        Format::Csv => {
            let mut writer = arrow::csv::WriterBuilder::new()
                .with_header(true)
                .build(&mut *out);
            writer.write(&RecordBatch::new_empty(rows.schema.clone()))?;
            for batch in &rows.batches {
                writer.write(batch)?;
            }
        }
        Format::Json => {
            let mut writer = arrow::json::ArrayWriter::new(&mut *out);
            for batch in &rows.batches {
                writer.write(batch)?;
            }
            writer.finish()?;
            writeln!(out)?;
        }
        Format::Parquet => {
            let mut bytes = Vec::new();
            let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema.clone(), None)?;
            for batch in &rows.batches {
                writer.write(batch)?;
            }
            writer.close()?;
            out.write_all(&bytes)?;
        }
    }
    Ok(())
}
