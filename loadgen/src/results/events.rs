//! The events of an import. Requests have those of a run; samples are marked before and after.

use driftline_schemas::{Component, Event, EventName, Kind};
use serde_json::{Value, json};

use super::survey::Survey;
use super::{ImportRequest, LATENCY_FROM};

/// What stands where a run of Driftline's own says how well its generator did, and its target.
const IMPORTED: &str = "imported";

/// Before the first row: all that is known of the whole import.
pub(super) fn begun(request: &ImportRequest, run: &str, hash: u64, survey: &Survey) -> Event {
    match survey.kind() {
        Kind::Requests => started(request, run, hash, survey),
        _ => marked(request, run, hash, survey, "started"),
    }
}

/// After the last row. What is without it is not whole.
pub(super) fn ended(request: &ImportRequest, run: &str, hash: u64, survey: &Survey) -> Event {
    match survey.kind() {
        Kind::Requests => finished(run, survey),
        _ => marked(request, run, hash, survey, "finished"),
    }
}

fn started(request: &ImportRequest, run: &str, hash: u64, survey: &Survey) -> Event {
    let tool = request.tool.as_str();
    let mut labels = labels(request);
    labels
        .entry(LATENCY_FROM)
        .or_insert_with(|| Value::from("sent"));
    let commit = labels.get("commit").and_then(Value::as_str).unwrap_or("");
    let until_ns = survey
        .last_us()
        .saturating_sub(survey.first_us())
        .saturating_mul(1_000);
    let stages = json!([
        { "name": IMPORTED, "from_ns": 0, "until_ns": until_ns, "load": "hold" }
    ]);
    let attributes = [
        ("run", run.to_owned()),
        ("scenario", tool.to_owned()),
        ("text", String::new()),
        ("hash", format!("{hash:016x}")),
        ("target", IMPORTED.to_owned()),
        ("seed", "0".to_owned()),
        ("stages", stages.to_string()),
        ("warm_up_ns", "0".to_owned()),
        ("endpoints", json!(survey.endpoints()).to_string()),
        ("workers", "1".to_owned()),
        ("processes", "1".to_owned()),
        ("commit", commit.to_owned()),
        ("labels", Value::Object(labels).to_string()),
        ("clocks", "[]".to_owned()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("host", request.host.clone()),
    ];
    let message = format!("run {run} imported from {tool}");
    event(
        survey.first_us(),
        EventName::RunStarted,
        run,
        message,
        attributes,
    )
}

/// Nothing is said of lateness and CPU time: they are unknown.
fn finished(run: &str, survey: &Survey) -> Event {
    let seconds = survey.last_us().saturating_sub(survey.first_us()) as f64 / 1e6;
    let attributes = [
        ("run", run.to_owned()),
        ("ended", "completed".to_owned()),
        ("verdict", "none".to_owned()),
        ("thresholds", "[]".to_owned()),
        ("arrivals", survey.rows().to_string()),
        ("operations", survey.rows().to_string()),
        ("answered", survey.answered().to_string()),
        ("failed", survey.failed().to_string()),
        ("dropped", survey.dropped().to_string()),
        ("lost", "0".to_owned()),
        ("generator", IMPORTED.to_owned()),
        ("reasons", "[]".to_owned()),
        ("recording", "ok".to_owned()),
        ("seconds", format!("{seconds:.3}")),
        ("ignored", ignored(survey)),
    ];
    let message = format!(
        "run {run} completed: {} operations imported, {} failed",
        survey.rows(),
        survey.failed()
    );
    event(
        survey.last_us(),
        EventName::RunFinished,
        run,
        message,
        attributes,
    )
}

fn marked(
    request: &ImportRequest,
    run: &str,
    hash: u64,
    survey: &Survey,
    phase: &'static str,
) -> Event {
    let tool = request.tool.as_str();
    let attributes = [
        ("run", run.to_owned()),
        ("import", phase.to_owned()),
        ("tool", tool.to_owned()),
        ("hash", format!("{hash:016x}")),
        ("samples", survey.rows().to_string()),
        ("series", survey.series().to_string()),
        ("from_us", survey.first_us().to_string()),
        ("until_us", survey.last_us().to_string()),
        ("labels", Value::Object(labels(request)).to_string()),
        ("ignored", ignored(survey)),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("host", request.host.clone()),
    ];
    let message = format!(
        "import {run} of {} samples from {tool} {phase}",
        survey.rows()
    );
    let ts_us = match phase {
        "started" => survey.first_us(),
        _ => survey.last_us(),
    };
    event(ts_us, EventName::Marked, run, message, attributes)
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

fn labels(request: &ImportRequest) -> serde_json::Map<String, Value> {
    request
        .labels
        .iter()
        .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
        .collect()
}

fn ignored(survey: &Survey) -> String {
    let counts: serde_json::Map<_, _> = survey
        .ignored()
        .map(|(name, count)| (name, Value::from(count)))
        .collect();
    Value::Object(counts).to_string()
}
