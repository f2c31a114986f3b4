//! `import`: results of other tools into the same log and tables. What they mean is decided in
//! `driftline_loadgen::results`.

use std::fs::File;
use std::io::{BufReader, Seek as _};
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use driftline_analyzer::{At, QueryOptions};
use driftline_collector::hostname;
use driftline_loadgen::results::{self, ImportRequest, SeriesMeaning, Tool};
use driftline_schemas::metric::{Better, Category};

use crate::cli::Settings;
use crate::exit::{Outcome, UsageError};
use crate::{query, report, roles};

/// Whose results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// k6 run --out json=FILE
    K6,
    /// java -jar benchmarks.jar -rf json -rff FILE
    Jmh,
    /// series,timestamp,value or timestamp,endpoint,latency_ms[,status][,error][,bytes]
    Csv,
}

/// What is imported.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The tool that wrote the file
    #[arg(value_enum)]
    tool: From,
    /// The file
    file: PathBuf,
    /// The run's name [default: the tool and a hash of the file]
    #[arg(long = "run", value_name = "NAME")]
    run_name: Option<String>,
    /// The unit of a CSV file's series, in UCUM: s, By, 1, {request}/s
    #[arg(long, value_name = "UNIT", default_value = "1")]
    unit: String,
    /// Which direction is good for a CSV file's series: lower, higher or neither
    #[arg(long, value_name = "DIRECTION", default_value = "neither")]
    better: Better,
    /// What a CSV file's series say: utilisation, saturation, errors, latency or throughput
    #[arg(long, value_name = "CATEGORY", default_value = "utilisation")]
    category: Category,
}

/// `driftline import`.
pub(crate) fn run(settings: &Settings, args: &ImportArgs) -> anyhow::Result<Outcome> {
    roles::prepare(&settings.data)?;
    let tool = match args.tool {
        From::K6 => Tool::K6,
        From::Jmh => Tool::Jmh,
        From::Csv => Tool::Csv,
    };
    let path = args.file.display();
    let file = File::open(&args.file).with_context(|| format!("cannot read {path}"))?;
    let written = file.metadata()?.modified()?.duration_since(UNIX_EPOCH)?;
    let mut input = BufReader::new(file);
    let run = match &args.run_name {
        Some(run) => run.clone(),
        None => {
            let hash =
                results::content_hash(&mut input).with_context(|| format!("cannot read {path}"))?;
            input.rewind()?;
            results::run_name(tool, hash)
        }
    };
    refuse_twice(settings, &run)?;
    let request = ImportRequest {
        tool,
        data: settings.data.clone(),
        run: Some(run),
        host: hostname(),
        labels: Vec::new(),
        at_us: Some(i64::try_from(written.as_micros())?),
        meaning: Some(SeriesMeaning {
            unit: args.unit.clone(),
            category: args.category,
            better: args.better,
        }),
        spool: settings.config.spool.clone(),
    };
    let imported = results::import(&request, &mut input, &mut |_| {})
        .with_context(|| format!("cannot import {path}"))?;
    if settings.config.kafka.is_none() {
        roles::commit_now(&settings.config, &settings.data)?;
    }
    println!("imported {} rows as {}", imported.rows, imported.run);
    for (what, count) in &imported.ignored {
        eprintln!("note: {count} × {what} left out");
    }
    Ok(Outcome::Ok)
}

/// The same file twice would double its rows.
fn refuse_twice(settings: &Settings, run: &str) -> anyhow::Result<()> {
    report::check_name(run)?;
    let producer = settings.data.join("log").join(results::producer_name(run));
    let there = producer.exists()
        || query::runtime()?.block_on(async {
            let engine = query::open(settings, At::Latest, &[]).await?;
            let sql = format!(
                "SELECT ts FROM events WHERE name IN ('RunStarted', 'Marked') AND subject = '{run}'"
            );
            let rows = engine.collect(&sql, &QueryOptions::default()).await?;
            anyhow::Ok(rows.batches.iter().any(|batch| batch.num_rows() > 0))
        })?;
    if there {
        bail!(UsageError(format!(
            "{run} has been imported already: its rows would be there twice; choose another --run if that is wanted"
        )));
    }
    Ok(())
}
