//! The report for programs. The order of the fields here is the order of the keys.

use serde::Serialize;
use std::collections::BTreeMap;

use super::{HistogramRow, PercentileRow, Row, RunReport, StageRow, TimelineRow, Times};

#[derive(Serialize)]
struct Document<'r> {
    run: &'r str,
    verdict: &'static str,
    exit_code: u8,
    ended: &'r str,
    generator: &'r str,
    recording: &'r str,
    requests: u64,
    answered: u64,
    errors: u64,
    dropped: u64,
    censored: u64,
    lost: u64,
    rate_per_s: Option<f64>,
    error_rate: Option<f64>,
    bytes: u64,
    latency_ms: Milliseconds,
    service_ms: Milliseconds,
    scenario: &'r str,
    hash: &'r str,
    target: &'r str,
    host: &'r str,
    version: &'r str,
    commit: &'r str,
    labels: &'r BTreeMap<String, String>,
    seed: u64,
    workers: u64,
    processes: u64,
    started_us: i64,
    seconds: f64,
    warm_up_s: f64,
    warm_up_requests: u64,
    generator_health: Health<'r>,
    thresholds: Vec<Threshold<'r>>,
    errors_by_kind: Vec<Kind<'r>>,
    endpoints: Vec<Group<'r>>,
    stages: Vec<Stage<'r>>,
    timeline_step_s: u64,
    timeline: Vec<Second>,
    percentiles: Vec<Percentile>,
    histogram: Vec<Bucket>,
    text: &'r str,
}

#[derive(Serialize, Default)]
struct Milliseconds {
    mean: Option<f64>,
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    p999: Option<f64>,
    max: Option<f64>,
    at_least: Vec<&'static str>,
}

#[derive(Serialize)]
struct Health<'r> {
    reasons: &'r [String],
    arrivals: Option<u64>,
    lateness_p50_us: Option<f64>,
    lateness_p99_us: Option<f64>,
    lateness_max_us: Option<f64>,
    retries: Option<u64>,
    cpu_s: Option<f64>,
}

#[derive(Serialize)]
struct Threshold<'r> {
    threshold: &'r str,
    text: &'r str,
    value: Option<f64>,
    passed: Option<bool>,
}

#[derive(Serialize)]
struct Kind<'r> {
    error: &'r str,
    count: u64,
}

#[derive(Serialize)]
struct Group<'r> {
    name: &'r str,
    requests: u64,
    answered: u64,
    errors: u64,
    dropped: u64,
    censored: u64,
    bytes: u64,
    rate_per_s: Option<f64>,
    error_rate: Option<f64>,
    latency_ms: Milliseconds,
    service_ms: Milliseconds,
}

#[derive(Serialize)]
struct Stage<'r> {
    #[serde(flatten)]
    group: Group<'r>,
    from_s: f64,
    until_s: f64,
    load: &'r str,
}

#[derive(Serialize)]
struct Second {
    from_s: u64,
    arrivals: u64,
    answered: u64,
    errors: u64,
    dropped: u64,
    completed: u64,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
}

#[derive(Serialize)]
struct Percentile {
    quantile: f64,
    ms: f64,
    at_least: bool,
}

#[derive(Serialize)]
struct Bucket {
    from_ms: f64,
    until_ms: f64,
    count: u64,
}

/// One line with its line feed.
pub(super) fn render(report: &RunReport) -> String {
    let json = serde_json::to_string(&document(report));
    json.expect("names and numbers can be written as JSON") + "\n"
}

fn document(report: &RunReport) -> Document<'_> {
    let total = &report.total;
    Document {
        run: &report.run,
        verdict: report.verdict.as_str(),
        exit_code: report.exit_code(),
        ended: &report.ended,
        generator: &report.generator.state,
        recording: &report.recording,
        requests: total.operations,
        answered: total.answered,
        errors: total.failed,
        dropped: total.dropped,
        censored: total.censored,
        lost: report.lost,
        rate_per_s: total.rate_per_s,
        error_rate: total.error_rate,
        bytes: total.bytes,
        latency_ms: milliseconds(total.latency.as_ref()),
        service_ms: milliseconds(total.service.as_ref()),
        scenario: &report.scenario,
        hash: &report.hash,
        target: &report.target,
        host: &report.host,
        version: &report.version,
        commit: &report.commit,
        labels: &report.labels,
        seed: report.seed,
        workers: report.workers,
        processes: report.processes,
        started_us: report.started_us,
        seconds: report.seconds,
        warm_up_s: report.warm_up_s,
        warm_up_requests: report.warm_up_operations,
        generator_health: health(report),
        thresholds: thresholds(report),
        errors_by_kind: kinds(report),
        endpoints: report.endpoints.iter().map(group).collect(),
        stages: report.stages.iter().map(stage).collect(),
        timeline_step_s: report.timeline_step_s,
        timeline: report.timeline.iter().map(second).collect(),
        percentiles: report.percentiles.iter().map(percentile).collect(),
        histogram: report.histogram.iter().map(bucket).collect(),
        text: &report.text,
    }
}

fn milliseconds(times: Option<&Times>) -> Milliseconds {
    let Some(times) = times else {
        return Milliseconds::default();
    };
    let bounds = times.named().into_iter().filter(|(_, time)| time.at_least);
    Milliseconds {
        mean: Some(times.mean.ms),
        p50: Some(times.p50.ms),
        p95: Some(times.p95.ms),
        p99: Some(times.p99.ms),
        p999: Some(times.p999.ms),
        max: Some(times.max.ms),
        at_least: bounds.map(|(name, _)| name).collect(),
    }
}

fn health(report: &RunReport) -> Health<'_> {
    let generator = &report.generator;
    Health {
        reasons: &generator.reasons,
        arrivals: generator.arrivals,
        lateness_p50_us: generator.lateness_p50_us,
        lateness_p99_us: generator.lateness_p99_us,
        lateness_max_us: generator.lateness_max_us,
        retries: generator.retries,
        cpu_s: generator.cpu_s,
    }
}

fn thresholds(report: &RunReport) -> Vec<Threshold<'_>> {
    let results = report.thresholds.iter();
    results
        .map(|result| Threshold {
            threshold: &result.threshold,
            text: &result.text,
            value: result.value,
            passed: result.passed,
        })
        .collect()
}

fn kinds(report: &RunReport) -> Vec<Kind<'_>> {
    let rows = report.errors.iter();
    rows.map(|row| Kind {
        error: &row.error,
        count: row.count,
    })
    .collect()
}

fn group(row: &Row) -> Group<'_> {
    Group {
        name: &row.name,
        requests: row.operations,
        answered: row.answered,
        errors: row.failed,
        dropped: row.dropped,
        censored: row.censored,
        bytes: row.bytes,
        rate_per_s: row.rate_per_s,
        error_rate: row.error_rate,
        latency_ms: milliseconds(row.latency.as_ref()),
        service_ms: milliseconds(row.service.as_ref()),
    }
}

fn stage(stage: &StageRow) -> Stage<'_> {
    Stage {
        group: group(&stage.row),
        from_s: stage.from_s,
        until_s: stage.until_s,
        load: &stage.load,
    }
}

fn second(row: &TimelineRow) -> Second {
    Second {
        from_s: row.from_s,
        arrivals: row.arrivals,
        answered: row.answered,
        errors: row.failed,
        dropped: row.dropped,
        completed: row.completed,
        p50_ms: row.p50_ms,
        p95_ms: row.p95_ms,
        p99_ms: row.p99_ms,
    }
}

fn percentile(row: &PercentileRow) -> Percentile {
    Percentile {
        quantile: row.quantile,
        ms: row.time.ms,
        at_least: row.time.at_least,
    }
}

fn bucket(row: &HistogramRow) -> Bucket {
    Bucket {
        from_ms: row.from_ms,
        until_ms: row.until_ms,
        count: row.count,
    }
}
