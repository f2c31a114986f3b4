//! The whole product on this machine, as a story: a quiet window, a baseline, a window under real
//! CPU and disk load, and what moved between them, from SQL over the Parquet just written.

mod load;
mod report;

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use clap::Args;
use driftline_analyzer::{At, CompareOptions, Window, baseline, compare};
use indicatif::{ProgressBar, ProgressStyle};

use self::load::Load;
use crate::cli::{Settings, parse_time};
use crate::exit::Outcome;
use crate::query;
use crate::roles;
use crate::stopping::Stopping;
use crate::up::Up;

/// Left out at both ends of a window: what starts and stops there belongs to neither.
const MARGIN: Duration = Duration::from_secs(2);
/// Below this a window holds too few seconds to judge.
const SHORTEST: Duration = Duration::from_secs(10);

/// How the demo goes.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Stop after the report instead of going on as `up` does
    #[arg(long)]
    exit: bool,
    /// Length of each window, at least 10s
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "40s")]
    window: Duration,
}

/// `driftline demo`.
pub(crate) fn run(settings: &Settings, args: &DemoArgs) -> anyhow::Result<Outcome> {
    ensure!(
        args.window >= SHORTEST,
        "--window is shorter than {SHORTEST:?}: too little to judge"
    );
    let stopping = Stopping::on_signals()?;
    let data = settings.data.as_path();
    roles::prepare(data)?;
    println!("Driftline on this machine. Data: {}", data.display());
    let Some((quiet, loaded, totals)) = measure(settings, args, &stopping)? else {
        eprintln!("stopped before there was anything to compare");
        return Ok(Outcome::TooLittleData);
    };
    println!(
        "\nCollected {} samples in {} ticks ({} missed); committed {} rows to Parquet in {} commits.",
        totals.collected.samples,
        totals.collected.ticks,
        totals.collected.missed,
        totals.committed.rows,
        totals.committed.commits
    );
    let outcome = judge(settings, data, quiet, loaded)?;
    if args.exit || outcome != Outcome::Ok {
        return Ok(outcome);
    }
    println!("\nGoing on as `driftline up`.");
    crate::up::run_with(&settings.config, data, stopping.again())
}

type Measured = (Window, Window, crate::up::Totals);

/// The two windows, with everything committed; `None` when it was interrupted.
fn measure(
    settings: &Settings,
    args: &DemoArgs,
    stopping: &Stopping,
) -> anyhow::Result<Option<Measured>> {
    let up = Up::start(&settings.config, &settings.data, stopping.clone())?;
    let windows = windows(&up, &settings.data, args.window);
    let totals = up.stop()?;
    Ok(windows?.map(|(quiet, loaded)| (quiet, loaded, totals)))
}

fn windows(up: &Up, data: &Path, length: Duration) -> anyhow::Result<Option<(Window, Window)>> {
    let title = "1/2 a quiet window: nothing but what runs here anyway";
    let Some(quiet) = window(up, length, title) else {
        return Ok(None);
    };
    let load = Load::start(&data.join("demo-load"))?;
    let title = "2/2 a loaded window: every core busy, a file written and synced over and over";
    let loaded = window(up, length, title);
    load.stop()?;
    Ok(loaded.map(|loaded| (quiet, loaded)))
}

/// Waits out one window, with a bar; `None` when a stop was requested.
fn window(up: &Up, length: Duration, title: &str) -> Option<Window> {
    let whole = MARGIN * 2 + length;
    println!("{title} ({} s)", whole.as_secs());
    let bar = if std::io::stderr().is_terminal() {
        let style = ProgressStyle::with_template("  {bar:40} {pos}/{len} s");
        ProgressBar::new(whole.as_secs())
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    } else {
        ProgressBar::hidden()
    };
    let begun_us = now_us();
    for _ in 0..whole.as_secs() {
        if up.wait(Duration::from_secs(1)) {
            return None;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let margin = MARGIN.as_micros() as i64;
    Some(Window {
        from_us: begun_us + margin,
        until_us: now_us() - margin,
    })
}

fn judge(
    settings: &Settings,
    data: &Path,
    quiet: Window,
    loaded: Window,
) -> anyhow::Result<Outcome> {
    let runtime = query::runtime()?;
    let (taken, shifts, version) = runtime.block_on(async {
        let engine = query::open(settings, At::Latest, &[]).await?;
        let name = format!("demo-{}", quiet.from_us / 1_000_000);
        let taken = baseline::take(&engine, &name, quiet).await?;
        let shifts = compare(&engine, quiet, loaded, &CompareOptions::default()).await?;
        let version = engine
            .lake()
            .version(driftline_sink::table::TableName::Samples);
        anyhow::Ok((taken, shifts, version))
    })?;
    let path = taken.save(data)?;
    println!(
        "Baseline of the quiet window: {} series, in {}",
        taken.series.len(),
        path.display()
    );
    Ok(report::print(&shifts, version, data))
}

fn now_us() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}
