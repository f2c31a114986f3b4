//! What the events RunStarted and RunFinished say of a run. Operations are left to
//! [`super::ReportBuilder`].

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::figures::number;
use crate::threshold::{Selectable, Threshold, ThresholdError};

/// What is known of a run beside its operations.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFacts {
    /// The run's id.
    pub run: String,
    /// The scenario's name.
    pub scenario: String,
    /// The scenario's text.
    pub text: String,
    /// The hash of that text.
    pub hash: String,
    /// The address that was loaded.
    pub target: String,
    /// The host of the coordinator.
    pub host: String,
    /// The version of the load generator.
    pub version: String,
    /// The commit of what was loaded.
    pub commit: String,
    /// What the user tagged the run with.
    pub labels: BTreeMap<String, String>,
    /// Where all randomness of the run came from.
    pub seed: u64,
    /// Worker threads over all processes.
    pub workers: u64,
    /// Worker processes.
    pub processes: u64,
    /// When the run began, in microseconds since the Unix epoch.
    pub started_us: i64,
    /// How much at the beginning is not counted.
    pub warm_up_ns: u64,
    /// In order.
    pub stages: Vec<StageFacts>,
    /// Names of endpoints, in the scenario's order.
    pub endpoints: Vec<String>,
    /// What must hold.
    pub thresholds: Vec<Threshold>,
    /// How it ended; `incomplete` where nothing says so.
    pub ended: String,
    /// How long it went on, the drain included; none where nothing says so.
    pub ran_s: Option<f64>,
    /// Operations that could not be recorded.
    pub lost: u64,
    /// How the generator itself fared.
    pub generator: Generator,
    /// `ok`, `limited` or `unknown`.
    pub recording: String,
}

/// A stage as it was planned.
#[derive(Debug, Clone, PartialEq)]
pub struct StageFacts {
    /// Its name.
    pub name: String,
    /// When it begins, in nanoseconds since the run's beginning.
    pub from_ns: u64,
    /// When it ends.
    pub until_ns: u64,
    /// Its load, for people.
    pub load: String,
}

/// The generator's account of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Generator {
    /// `ok`, `limited` or `unknown`.
    pub state: String,
    /// Why it is limited.
    pub reasons: Vec<String>,
    /// Arrivals that the schedule called for.
    pub arrivals: Option<u64>,
    /// Median lateness of arrivals by its own fault, in microseconds.
    pub lateness_p50_us: Option<f64>,
    /// 99th percentile of lateness.
    pub lateness_p99_us: Option<f64>,
    /// Longest lateness.
    pub lateness_max_us: Option<f64>,
    /// Requests that were sent once more within their operation, because their connection had ended.
    pub retries: Option<u64>,
    /// CPU time spent, in seconds.
    pub cpu_s: Option<f64>,
}

/// Events that do not make a run.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// An attribute that must be there.
    #[error(
        "the event RunStarted has no attribute `{0}`; it is not of a run of the load generator"
    )]
    Missing(&'static str),
    /// An attribute that cannot be read.
    #[error(
        "attribute `{name}` of the event {event} is `{value}`, which is not {expected}; the event is damaged or of a newer version"
    )]
    Attribute {
        /// The event.
        event: &'static str,
        /// The attribute.
        name: &'static str,
        /// What it holds, shortened.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// A scenario that is not TOML.
    #[error("the scenario in the event RunStarted is not TOML: {0}")]
    Scenario(String),
    /// A threshold that cannot be read.
    #[error("threshold `{key}` in the event RunStarted cannot be read")]
    Threshold {
        /// The measure as it is written.
        key: String,
        /// What is wrong.
        #[source]
        source: ThresholdError,
    },
    /// A threshold without a condition.
    #[error(
        "threshold `{0}` in the event RunStarted has no condition as text, such as \"< 200ms\""
    )]
    Condition(String),
}

/// So much of a damaged value is shown.
const SHOWN_CHARACTERS: usize = 60;

#[derive(Deserialize)]
struct StageDocument {
    name: String,
    from_ns: u64,
    until_ns: u64,
    #[serde(default)]
    load: Value,
}

/// The attributes of one event.
struct Attributes<'a> {
    event: &'static str,
    pairs: &'a [(String, String)],
}

impl<'a> Attributes<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        let found = self.pairs.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    fn text_or(&self, name: &str, default: &str) -> String {
        self.text(name).unwrap_or(default).to_owned()
    }

    /// An attribute that is empty counts as missing.
    fn read<T>(
        &self,
        name: &'static str,
        expected: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ReportError> {
        let Some(value) = self.text(name).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or_else(|| ReportError::Attribute {
            event: self.event,
            name,
            value: value.chars().take(SHOWN_CHARACTERS).collect(),
            expected,
        })
    }

    fn whole(&self, name: &'static str) -> Result<Option<u64>, ReportError> {
        self.read(name, "a whole number", |value| value.parse().ok())
    }

    fn number(&self, name: &'static str) -> Result<Option<f64>, ReportError> {
        self.read(name, "a number from 0", |value| {
            value
                .parse()
                .ok()
                .filter(|number: &f64| number.is_finite() && *number >= 0.0)
        })
    }
}

impl RunFacts {
    /// From the attributes of RunStarted and, where there is one, of RunFinished. Attributes that
    /// are unknown are ignored; of those that are missing only `run` is needed.
    pub fn from_events(
        started: &[(String, String)],
        finished: Option<&[(String, String)]>,
        started_us: i64,
    ) -> Result<Self, ReportError> {
        let started = Attributes {
            event: "RunStarted",
            pairs: started,
        };
        let finished = finished.map(|pairs| Attributes {
            event: "RunFinished",
            pairs,
        });
        let run = started.text("run").ok_or(ReportError::Missing("run"))?;
        let text = started.text_or("text", "");
        let stages = started.read("stages", "a list of stages", |value| {
            serde_json::from_str::<Vec<StageDocument>>(value).ok()
        })?;
        let stages: Vec<StageFacts> = stages.unwrap_or_default().into_iter().map(stage).collect();
        let endpoints = started.read("endpoints", "a list of names", |value| {
            serde_json::from_str::<Vec<String>>(value).ok()
        })?;
        let endpoints = endpoints.unwrap_or_default();
        let labels = started.read("labels", "an object", |value| {
            serde_json::from_str::<BTreeMap<String, Value>>(value).ok()
        })?;
        let labels = labels.unwrap_or_default().into_iter();
        let lost = finished
            .as_ref()
            .map_or(Ok(None), |event| event.whole("lost"))?;
        let ran_s = finished
            .as_ref()
            .map_or(Ok(None), |event| event.number("seconds"))?;
        let of_finished = |name: &str, default: &str| match &finished {
            Some(event) => event.text_or(name, default),
            None => default.to_owned(),
        };
        Ok(Self {
            run: run.to_owned(),
            scenario: started.text_or("scenario", ""),
            hash: started.text_or("hash", ""),
            target: started.text_or("target", ""),
            host: started.text_or("host", ""),
            version: started.text_or("version", ""),
            commit: started.text_or("commit", ""),
            labels: labels.map(|(key, value)| (key, plain(&value))).collect(),
            seed: started.whole("seed")?.unwrap_or_default(),
            workers: started.whole("workers")?.unwrap_or_default(),
            processes: started.whole("processes")?.unwrap_or_default(),
            started_us,
            warm_up_ns: started.whole("warm_up_ns")?.unwrap_or_default(),
            thresholds: thresholds(&text, &endpoints, &stages)?,
            text,
            stages,
            endpoints,
            ended: of_finished("ended", "incomplete"),
            ran_s,
            lost: lost.unwrap_or_default(),
            generator: match &finished {
                Some(event) => generator(event)?,
                None => Generator {
                    state: "unknown".to_owned(),
                    ..Generator::default()
                },
            },
            recording: of_finished("recording", "unknown"),
        })
    }

    /// When the last stage ends, in nanoseconds since the run's beginning.
    pub(super) fn planned_ns(&self) -> Option<u64> {
        self.stages.iter().map(|stage| stage.until_ns).max()
    }
}

fn generator(finished: &Attributes<'_>) -> Result<Generator, ReportError> {
    let reasons = finished.text("reasons").unwrap_or_default();
    let reasons = match serde_json::from_str::<Vec<Value>>(reasons) {
        Ok(list) => list.iter().map(plain).collect(),
        Err(_) if reasons.trim().is_empty() => Vec::new(),
        Err(_) => vec![reasons.to_owned()],
    };
    Ok(Generator {
        state: finished.text_or("generator", "unknown"),
        reasons,
        arrivals: finished.whole("arrivals")?,
        lateness_p50_us: finished.number("lateness_p50_us")?,
        lateness_p99_us: finished.number("lateness_p99_us")?,
        lateness_max_us: finished.number("lateness_max_us")?,
        retries: finished.whole("retries")?,
        cpu_s: finished.number("cpu_s")?,
    })
}

fn stage(document: StageDocument) -> StageFacts {
    StageFacts {
        name: document.name,
        from_ns: document.from_ns,
        until_ns: document.until_ns,
        load: load(&document.load),
    }
}

/// `{"rate": {"from": 50, "to": 500, "arrival": "poisson"}}` as `50 → 500/s poisson`.
fn load(value: &Value) -> String {
    let span = |object: &Value| {
        let ends = (object["from"].as_f64()?, object["to"].as_f64()?);
        Some(match ends.0 == ends.1 {
            true => number(ends.0),
            false => format!("{} → {}", number(ends.0), number(ends.1)),
        })
    };
    if let Some(rate) = span(&value["rate"]) {
        let arrival = value["rate"]["arrival"].as_str().unwrap_or_default();
        return format!("{rate}/s {arrival}").trim_end().to_owned();
    }
    match span(&value["users"]) {
        Some(users) => format!("{users} users"),
        None if value.is_null() => String::new(),
        None => plain(value),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Reads only the thresholds of a scenario: the files that the rest of it names may be gone.
fn thresholds(
    text: &str,
    endpoints: &[String],
    stages: &[StageFacts],
) -> Result<Vec<Threshold>, ReportError> {
    // A table keeps keys sorted; the order in which they are written is in their spans.
    let document = toml::de::DeTable::parse(text)
        .map_err(|error| ReportError::Scenario(error.message().to_owned()))?;
    let Some(table) = document.get_ref().get("thresholds") else {
        return Ok(Vec::new());
    };
    let table = table.get_ref().as_table();
    let table = table.ok_or_else(|| ReportError::Condition("thresholds".to_owned()))?;
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let stages: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
    let selectable = Selectable {
        endpoints,
        stages: &stages,
    };
    let read = |(key, value): (&toml::Spanned<_>, &toml::Spanned<toml::de::DeValue<'_>>)| {
        let key: &std::borrow::Cow<'_, str> = key.get_ref();
        let value = value.get_ref();
        let limit = match value.as_table() {
            Some(table) => table
                .get("limit")
                .and_then(|limit| limit.get_ref().as_str()),
            None => value.as_str(),
        };
        let limit = limit.ok_or_else(|| ReportError::Condition(key.to_string()))?;
        let abort = value
            .as_table()
            .and_then(|table| table.get("abort")?.get_ref().as_bool());
        Threshold::parse(key, limit, abort.unwrap_or(false), &selectable).map_err(|source| {
            ReportError::Threshold {
                key: key.to_string(),
                source,
            }
        })
    };
    entries.into_iter().map(read).collect()
}
