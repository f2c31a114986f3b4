//! `load find-limit`: the breaking point of a target. Each step is a run of its own, recorded like
//! any other; what to try next and what it means is decided in `driftline_loadgen::knee`. Where a
//! collector runs on the target's host into the same tables, the result says what was saturated.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arrow::array::{Array as _, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use clap::{Args, ValueEnum};
use driftline_analyzer::{At, Engine, QueryOptions};
use driftline_loadgen::Stop;
use driftline_loadgen::knee::{
    Judgement, Knee, Progress as StepProgress, ResourceKind, ResourceWindow, SearchConfig,
    SearchOptions, StepMonitor, StepPlan, StepResult, Verdict, find, saturation, svg, text,
};
use driftline_loadgen::recorder::Statistics;
use driftline_loadgen::run::args::LoadArgs;
use driftline_loadgen::run::{
    Health, PlainView, Progress, RunRequest, Snapshot, View, Windows, Wish,
};

use super::{asked_wrongly, follow, request};
use crate::cli::{Settings, parse_time};
use crate::exit::{Outcome, UsageError};
use crate::stopping::Stopping;
use crate::{query, report, roles};

/// How long arrivals go on after the longest a step may take: the monitor ends a step, not the
/// schedule.
const SPARE: Duration = Duration::from_secs(5);
/// Longest name of a search, so that its steps' names stay within what a run may have.
const MAX_NAME_BYTES: usize = 32;

/// A search of the breaking point.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// The first rate to try, in arrivals per second
    #[arg(long, value_name = "RATE", default_value_t = 50.0)]
    start: f64,
    /// The highest rate to try
    #[arg(long, value_name = "RATE", default_value_t = 100_000.0)]
    highest: f64,
    /// The shortest a step takes
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "10s")]
    step_least: Duration,
    /// The longest a step takes
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "60s")]
    step_most: Duration,
    /// The longest the whole search takes
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "30m")]
    within: Duration,
    /// How narrow the knee's interval is to be, relative to it
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    width: f64,
    /// The kind of result
    #[arg(long, value_enum, default_value = "text")]
    result: LimitFormat,
    /// Write a chart (SVG) to this file
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
}

/// How the result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LimitFormat {
    /// For people
    Text,
    /// One object
    Json,
}

/// A step that took place.
struct Step {
    rate: f64,
    run: String,
}

/// `driftline load find-limit`.
pub(crate) fn run(settings: &Settings, args: &LimitArgs) -> anyhow::Result<Outcome> {
    roles::prepare(&settings.data)?;
    let stop = follow(&Stopping::on_signals()?)?;
    let base = request(settings, &args.load, stop.clone())?;
    let name = name(args, &base)?;
    let config = SearchConfig::new(options(args, base.scenario.seed), &base.scenario.thresholds)
        .map_err(|error| UsageError(error.to_string()))?;
    eprintln!(
        "searching the breaking point of {} as {name}",
        base.target.url
    );
    let mut steps = Vec::new();
    let mut knee = find(config, |plan, monitor| {
        let run = format!("{name}-s{}", plan.number);
        let result = step(&base, plan, monitor, &run, &stop)?;
        steps.push(Step {
            rate: plan.rate,
            run,
        });
        anyhow::Ok(result)
    })?;
    if settings.config.kafka.is_none() {
        roles::commit_now(&settings.config, &settings.data)?;
        knee.saturated = query::runtime()?.block_on(async {
            let engine = query::open(settings, At::Latest, &[]).await?;
            anyhow::Ok(saturation(&resources(&engine, &steps, &knee).await?))
        })?;
    }
    if let Some(path) = &args.chart {
        std::fs::write(path, svg(&knee))
            .with_context(|| format!("cannot write the chart {}", path.display()))?;
    }
    match args.result {
        LimitFormat::Text => report::print(&text(&knee))?,
        LimitFormat::Json => report::print(&serde_json::to_string_pretty(&knee)?)?,
    }
    Ok(match knee.verdict {
        Verdict::Found | Verdict::NotReached => Outcome::Ok,
        Verdict::TimeBox => Outcome::TooLittleData,
        Verdict::TargetFailed => Outcome::Failed,
        Verdict::GeneratorLimited => Outcome::Error,
    })
}

fn options(args: &LimitArgs, seed: u64) -> SearchOptions {
    SearchOptions {
        start_rate: args.start,
        lowest_rate: args.start.min(SearchOptions::default().lowest_rate),
        highest_rate: args.highest,
        relative_width: args.width,
        step_seconds_at_least: args.step_least.as_secs_f64(),
        step_seconds_at_most: args.step_most.as_secs_f64(),
        seconds: args.within.as_secs_f64(),
        seed,
        ..SearchOptions::default()
    }
}

fn name(args: &LimitArgs, base: &RunRequest) -> anyhow::Result<String> {
    let name = match &args.load.run_name {
        Some(name) => name.clone(),
        None => {
            let safe = |c: char| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '-'
                }
            };
            let scenario: String = base.scenario.name.chars().map(safe).take(12).collect();
            format!("{scenario}-{}", chrono::Utc::now().format("%y%m%dt%H%M%Sz"))
        }
    };
    if name.len() > MAX_NAME_BYTES {
        return Err(UsageError(format!(
            "--run {name} is longer than {MAX_NAME_BYTES} characters"
        ))
        .into());
    }
    report::check_name(&name)?;
    Ok(name)
}

/// Runs one step and feeds the monitor until it has seen enough.
fn step(
    base: &RunRequest,
    plan: &StepPlan,
    monitor: &mut StepMonitor,
    run: &str,
    stop: &Stop,
) -> anyhow::Result<StepResult> {
    anyhow::ensure!(!stop.is_requested(), "the search was interrupted");
    let duration = Duration::from_secs_f64(plan.seconds_at_most) + SPARE;
    let mut request = base.clone();
    request.run = Some(run.to_owned());
    request.scenario = Arc::new(base.scenario.with_rate(plan.rate, duration));
    request.abort = false;
    request.stop = Stop::new();
    request
        .labels
        .push(("find-limit.rate".to_owned(), plan.rate.to_string()));
    let mut view = StepView {
        lines: PlainView::new(),
        windows: Windows::new(plan.rate, &base.scenario.thresholds),
        monitor,
        enough: false,
        stop,
    };
    let outcome = driftline_loadgen::run::run(&request, &mut view)
        .map_err(|error| asked_wrongly(error.into()))?;
    anyhow::ensure!(!stop.is_requested(), "the search was interrupted");
    let generator_limited = match &outcome.health {
        Health::Ok if outcome.lost == 0 => None,
        _ => Some(outcome.reasons().join("; ")),
    };
    Ok(StepResult {
        report: view.monitor.report(),
        generator_limited,
    })
}

/// Feeds the monitor once a second and ends the step when it has enough.
struct StepView<'a> {
    lines: PlainView,
    windows: Windows,
    monitor: &'a mut StepMonitor,
    enough: bool,
    stop: &'a Stop,
}

impl View for StepView<'_> {
    fn show(&mut self, progress: &Progress) {
        self.lines.show(progress);
    }

    fn measured(&mut self, statistics: &Statistics, generator: &Snapshot, at_ns: u64) {
        // What comes after the end belongs to no step.
        if let Some(window) = self.windows.next(statistics, generator, at_ns)
            && !self.enough
        {
            self.enough = matches!(self.monitor.feed(window), StepProgress::Done(_));
        }
    }

    fn poll(&mut self) -> Wish {
        if self.enough || self.stop.is_requested() {
            Wish::Stop
        } else {
            Wish::GoOn
        }
    }
}

/// What the hosts in the tables were busy with during each step.
async fn resources(
    engine: &Engine,
    steps: &[Step],
    knee: &Knee,
) -> anyhow::Result<Vec<ResourceWindow>> {
    let mut found = Vec::new();
    for (step, summary) in steps.iter().zip(&knee.steps) {
        let within = format!(
            "ts > (SELECT started FROM runs WHERE run = '{0}') AND ts < (SELECT finished FROM runs WHERE run = '{0}')",
            step.run
        );
        let sql = format!(
            "SELECT 'cpu of ' || host AS resource, 'utilisation' AS kind, avg(utilisation) AS value \
             FROM cpu_utilisation WHERE {within} GROUP BY host \
             UNION ALL SELECT 'disk ' || device || ' of ' || host, 'utilisation', avg(utilisation) \
             FROM disk_utilisation WHERE {within} GROUP BY host, device \
             UNION ALL SELECT resource || ' pressure of ' || host, 'pressure', avg(stalled_ratio) \
             FROM pressure WHERE type = 'some' AND {within} GROUP BY host, resource"
        );
        let rows = engine.collect(&sql, &QueryOptions::default()).await?;
        for batch in &rows.batches {
            let texts = [0, 1].map(|at| cast(batch.column(at), &DataType::Utf8));
            let [names, kinds] = texts;
            let (names, kinds) = (names?, kinds?);
            let values = batch.column(2).as_primitive::<Float64Type>();
            for row in (0..batch.num_rows()).filter(|row| values.is_valid(*row)) {
                let pressure = kinds.as_string::<i32>().value(row) == "pressure";
                found.push(ResourceWindow {
                    rate: step.rate,
                    is_bad: summary.judgement == Judgement::Bad,
                    resource: names.as_string::<i32>().value(row).to_owned(),
                    kind: if pressure {
                        ResourceKind::Pressure
                    } else {
                        ResourceKind::Utilisation
                    },
                    value: values.value(row),
                });
            }
        }
    }
    Ok(found)
}
