//! The whole product on this machine, as a story: this host collected every second, a bundled
//! service under load, a baseline run, a run in which one endpoint is slower, and what moved between
//! them, from SQL over the Parquet just written. Where PostgreSQL is installed, a statement without its
//! index as well: recommended, created, verified.

mod report;
mod throwaway;
mod tuning;

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use driftline_analyzer::{
    At, CompareOptions, RunCompareOptions, RunComparison, SeriesShift, Window, baseline, compare,
    compare_runs,
};
use driftline_loadgen::Scenario;
use driftline_loadgen::run::{LiveView, PlainView, RunOutcome, RunRequest, View};
use driftline_loadgen::service::{Distribution, Service, ServiceConfig};
use driftline_loadgen::target::Target;
use driftline_sink::table::TableName;

use crate::cli::{Settings, parse_time};
use crate::exit::{Outcome, UsageError};
use crate::stopping::Stopping;
use crate::up::{Totals, Up};
use crate::{facts, load, query, roles};

/// What is sent, in either run.
const SCENARIO: &str = include_str!("../loadgen/scenarios/demo.toml");
/// How long it lasts there.
const SCENARIO_TIME: &str = "\"40s\"";
/// The endpoint that is slower in the second run, and its path.
const SLOWED: (&str, &str) = ("item", "/items/1");
/// By how much.
const SLOWDOWN: f64 = 1.3;
/// How the service answers otherwise: a median of 20 ms, and one in a hundred above 32 ms.
const LATENCY: &str = "lognormal:20ms:0.2";
/// Left out at both ends of a window of the host's: what starts and stops there belongs to neither.
const MARGIN_US: i64 = 2_000_000;
/// Below this a run holds too few seconds to judge.
const SHORTEST: Duration = Duration::from_secs(10);

/// How the demo goes.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Stop after the report instead of going on as `up` does
    #[arg(long)]
    exit: bool,
    /// Length of each run, at least 10s
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "40s")]
    window: Duration,
}

/// A run that took place, and when.
struct Taken {
    outcome: RunOutcome,
    window: Window,
}

/// What SQL says of both runs.
struct Judged {
    runs: RunComparison,
    host: Vec<SeriesShift>,
    baseline: baseline::Baseline,
    version: Option<u64>,
}

/// `driftline demo`.
pub(crate) fn run(settings: &Settings, args: &DemoArgs) -> anyhow::Result<Outcome> {
    ensure!(
        args.window >= SHORTEST,
        "--window is shorter than {SHORTEST:?}: too little to judge"
    );
    if settings.config.kafka.is_some() {
        bail!(UsageError(
            "the demo keeps everything on this machine; leave kafka.brokers out for it".to_owned()
        ));
    }
    let stopping = Stopping::on_signals()?;
    let data = settings.data.as_path();
    roles::prepare(data)?;
    println!("Driftline on this machine. Data: {}", data.display());
    let Some((baseline, slowed, totals)) = measure(settings, args, &stopping)? else {
        eprintln!("stopped before there was anything to compare");
        return Ok(Outcome::TooLittleData);
    };
    println!(
        "\nCollected {} samples of this host in {} ticks ({} missed) and {} operations of two load \
         runs ({} lost); committed {} rows to Parquet in {} commits.",
        totals.collected.samples,
        totals.collected.ticks,
        totals.collected.missed,
        baseline.outcome.operations + slowed.outcome.operations,
        baseline.outcome.lost + slowed.outcome.lost,
        totals.committed.rows,
        totals.committed.commits
    );
    let judged = judge(settings, &baseline, &slowed)?;
    let path = judged.baseline.save(data)?;
    println!(
        "Baseline of this host during the first run: {} series, in {}",
        judged.baseline.series.len(),
        path.display()
    );
    let outcome = report::print(&judged, data)?;
    let stopping = stopping.again();
    let outcome = match tune(settings, &stopping)? {
        Outcome::Ok => outcome,
        other => other,
    };
    if args.exit || outcome != Outcome::Ok {
        return Ok(outcome);
    }
    println!("\nGoing on as `driftline up`.");
    crate::up::run_with(settings, stopping.again())
}

/// The last part, where PostgreSQL is installed.
fn tune(settings: &Settings, stopping: &Stopping) -> anyhow::Result<Outcome> {
    let Some(programs) = throwaway::programs() else {
        println!("\nPostgreSQL is not installed on this machine: no statement is optimized.");
        return Ok(Outcome::Ok);
    };
    println!("\n3/3 a statement without its index, on a throw-away PostgreSQL (30 s)");
    let server = throwaway::Postgres::start(&programs)
        .context("the throw-away PostgreSQL server of the demo cannot start")?;
    match tuning::run(settings, &server, stopping)? {
        Some(tuned) => Ok(report::print_tuned(&tuned, &settings.data)),
        None => {
            eprintln!("stopped before it was judged");
            Ok(Outcome::TooLittleData)
        }
    }
}

/// Both runs, with everything committed; `None` when it was interrupted.
fn measure(
    settings: &Settings,
    args: &DemoArgs,
    stopping: &Stopping,
) -> anyhow::Result<Option<(Taken, Taken, Totals)>> {
    let up = Up::start(settings, stopping.clone())?;
    let taken = runs(settings, args.window, stopping);
    let totals = up.stop()?;
    Ok(taken?.map(|(baseline, slowed)| (baseline, slowed, totals)))
}

fn runs(
    settings: &Settings,
    length: Duration,
    stopping: &Stopping,
) -> anyhow::Result<Option<(Taken, Taken)>> {
    let mut config = ServiceConfig {
        slow_path: SLOWED.1.to_owned(),
        ..ServiceConfig::default()
    };
    config.knobs.latency = LATENCY.parse::<Distribution>()?;
    let service = Service::start(config).context("the bundled service cannot start")?;
    let stop = load::follow(stopping)?;
    let text = SCENARIO.replace(SCENARIO_TIME, &format!("\"{}ms\"", length.as_millis()));
    let scenario = Scenario::parse(&text, Path::new(""))?;
    println!("{}", scenario.describe().trim_end());
    let target = Target::resolve(&service.url(), &[])?;
    let request = RunRequest {
        spool: load::recording(settings),
        stop: stop.clone(),
        ..RunRequest::new(Arc::new(scenario), Arc::new(target), &settings.data)
    };
    println!(
        "\n1/3 a baseline run against a bundled service ({} s)",
        length.as_secs()
    );
    let baseline = load_once(&request, "baseline")?;
    if stop.is_requested() {
        return Ok(None);
    }
    println!(
        "\n2/3 the same again, while {} takes {:.0} % longer ({} s)",
        SLOWED.1,
        (SLOWDOWN - 1.0) * 100.0,
        length.as_secs()
    );
    service.control().set_slowdown(SLOWDOWN, Duration::ZERO);
    let slowed = load_once(&request, "slowed")?;
    service.stop()?;
    Ok((!stop.is_requested()).then_some((baseline, slowed)))
}

fn load_once(request: &RunRequest, what: &str) -> anyhow::Result<Taken> {
    let begun_us = facts::now_us();
    let request = RunRequest {
        run: Some(format!("demo-{}-{what}", begun_us / 1_000_000)),
        labels: vec![("demo".to_owned(), what.to_owned())],
        ..request.clone()
    };
    let mut view: Box<dyn View> = if std::io::stderr().is_terminal() {
        Box::new(LiveView::new()?)
    } else {
        Box::new(PlainView::new())
    };
    let outcome = driftline_loadgen::run::run(&request, view.as_mut())?;
    drop(view);
    Ok(Taken {
        outcome,
        window: Window {
            from_us: begun_us + MARGIN_US,
            until_us: facts::now_us() - MARGIN_US,
        },
    })
}

fn judge(settings: &Settings, baseline: &Taken, slowed: &Taken) -> anyhow::Result<Judged> {
    query::runtime()?.block_on(async {
        let engine = query::open(settings, At::Latest, &[]).await?;
        let (a, b) = (&baseline.outcome.run, &slowed.outcome.run);
        let runs = compare_runs(&engine, a, b, &RunCompareOptions::default()).await?;
        let (a, b) = (baseline.window, slowed.window);
        let host = compare(&engine, a, b, &CompareOptions::default()).await?;
        let baseline = baseline::take(&engine, &baseline.outcome.run, a).await?;
        Ok(Judged {
            runs,
            host,
            baseline,
            version: engine.lake().version(TableName::Requests),
        })
    })
}
