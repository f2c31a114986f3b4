//! The events of a run. What programs need of them is in their attributes.

use driftline_schemas::{Component, Event, EventName};
use serde_json::{Value, json};

use super::fleet::Member;
use super::{RunOutcome, RunRequest};
use crate::clock::RunClock;
use crate::scenario::{Arrival, Load, Scenario};

/// How many processes and threads a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) workers: u32,
    pub(super) processes: u32,
}

/// The run begins; everything that it takes to repeat it.
pub(super) fn started(
    request: &RunRequest,
    run: &str,
    clock: &RunClock,
    size: Size,
    members: &[Member],
    host: &str,
) -> Event {
    let scenario = &request.scenario;
    let labels: serde_json::Map<_, _> = request
        .labels
        .iter()
        .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
        .collect();
    let clocks: Vec<_> = members
        .iter()
        .enumerate()
        .map(|(at, member)| {
            json!({
                "process": at + 1, "host": member.host, "pid": member.pid,
                "offset_us": member.offset.offset_us, "rtt_us": member.offset.rtt_us,
            })
        })
        .collect();
    let attributes = [
        ("run", run.to_owned()),
        ("scenario", scenario.name.clone()),
        ("text", scenario.text.clone()),
        ("hash", scenario.hash.clone()),
        ("target", request.target.url.to_string()),
        ("seed", scenario.seed.to_string()),
        ("stages", stages(scenario).to_string()),
        ("warm_up_ns", scenario.warm_up.as_nanos().to_string()),
        ("endpoints", json!(scenario.endpoints).to_string()),
        ("workers", size.workers.to_string()),
        ("processes", size.processes.to_string()),
        ("commit", request.commit.clone().unwrap_or_default()),
        ("labels", Value::Object(labels).to_string()),
        ("clocks", Value::Array(clocks).to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("host", host.to_owned()),
    ];
    event(
        clock.origin_us(),
        EventName::RunStarted,
        run,
        format!(
            "run {run} of {} against {}",
            scenario.name, request.target.url
        ),
        attributes,
    )
}

/// A worker process is gone.
pub(super) fn worker_lost(
    run: &str,
    now_us: i64,
    process: usize,
    member: &Member,
    reason: &str,
) -> Event {
    let attributes = [
        ("run", run.to_owned()),
        ("process", process.to_string()),
        ("host", member.host.clone()),
        ("pid", member.pid.to_string()),
        ("reason", reason.to_owned()),
    ];
    let message = format!(
        "worker process {process} of run {run} on {} is lost: {reason}",
        member.host
    );
    event(now_us, EventName::WorkerLost, run, message, attributes)
}

/// The run is over; its own account of how truthful it is.
pub(super) fn finished(outcome: &RunOutcome, now_us: i64) -> Event {
    let generator = &outcome.generator;
    let lateness = |quantile| {
        generator
            .lateness_at_most_us(quantile)
            .unwrap_or(0)
            .to_string()
    };
    let attributes = [
        ("run", outcome.run.clone()),
        ("ended", outcome.ended.as_str().to_owned()),
        ("verdict", outcome.verdict().as_str().to_owned()),
        ("thresholds", thresholds(outcome).to_string()),
        ("arrivals", generator.arrivals.to_string()),
        ("operations", outcome.operations.to_string()),
        ("answered", outcome.measured.answered().to_string()),
        ("failed", outcome.measured.failed().to_string()),
        ("dropped", outcome.measured.dropped().to_string()),
        ("lost", outcome.lost.to_string()),
        ("generator", outcome.health.as_str().to_owned()),
        ("reasons", json!(outcome.reasons()).to_string()),
        ("lateness_p50_us", lateness(0.5)),
        ("lateness_p99_us", lateness(0.99)),
        (
            "lateness_max_us",
            generator.lateness_max_ns.div_ceil(1_000).to_string(),
        ),
        ("retries", generator.retries.to_string()),
        ("cpu_s", format!("{:.3}", generator.cpu_s())),
        ("recording", outcome.recording().to_owned()),
        ("seconds", format!("{:.3}", outcome.seconds)),
    ];
    let message = format!(
        "run {} {}: {} operations, {} failed, {} lost",
        outcome.run,
        outcome.ended.as_str(),
        outcome.operations,
        outcome.measured.failed(),
        outcome.lost
    );
    event(
        now_us,
        EventName::RunFinished,
        &outcome.run,
        message,
        attributes,
    )
}

fn event<const N: usize>(
    ts_us: i64,
    name: EventName,
    run: &str,
    message: String,
    attributes: [(&str, String); N],
) -> Event {
    Event {
        ts_us,
        name,
        component: Component::Driftline,
        subject: run.to_owned(),
        message,
        attributes: attributes
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    }
}

fn thresholds(outcome: &RunOutcome) -> Value {
    outcome
        .thresholds
        .iter()
        .map(|one| json!({ "threshold": one.threshold, "value": one.value, "passed": one.passed }))
        .collect()
}

fn stages(scenario: &Scenario) -> Value {
    super::spans(scenario)
        .into_iter()
        .zip(&scenario.stages)
        .map(|(span, stage)| {
            json!({
                "name": span.name, "from_ns": span.from_ns, "until_ns": span.until_ns,
                "load": load(&stage.load),
            })
        })
        .collect()
}

fn load(load: &Load) -> Value {
    match load {
        Load::Rate { from, to, arrival } => {
            let arrival = match arrival {
                Arrival::Constant => "constant",
                Arrival::Poisson => "poisson",
            };
            json!({ "rate": { "from": from, "to": to, "arrival": arrival } })
        }
        Load::Users { from, to } => json!({ "users": { "from": from, "to": to } }),
        Load::Hold => json!("hold"),
    }
}
