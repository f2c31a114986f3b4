//! How an access log is read, and what its configuration must be.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::json::FieldNames;
use super::line::DurationUnit;
use super::route::Pattern;
use crate::config::duration;
use crate::service::ServiceError;
use crate::service::options::Section;

/// Endpoints that can be asked for.
const MAX_ENDPOINTS: usize = 1_000;
/// Templates that can be given.
const MAX_ROUTES: usize = 1_000;
/// Requests of an interval that a trace can hold: 17 bytes each, well within a block.
const MAX_TRACE: usize = 10_000;

/// An access log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLogConfig {
    /// What the service is called in labels and events.
    pub name: String,
    /// The file, or a pattern with `*` and `?`.
    pub path: PathBuf,
    /// How its lines are written.
    pub format: Format,
    /// The names of the fields of JSON.
    pub fields: FieldNames,
    /// In which unit the time of a request stands there.
    pub duration_unit: DurationUnit,
    /// Whether the last field of a line of text is the time of the request.
    pub duration_last: bool,
    /// What the attempt's field holds at the first attempt; more is a retry.
    pub first_attempt: u32,
    /// Requests that take longer count as slow.
    #[serde(with = "duration")]
    pub slow_after: Duration,
    /// How often it is read.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// After so long a pass is given up.
    #[serde(with = "duration")]
    pub time_out: Duration,
    /// So many endpoints are told apart.
    pub max_endpoints: usize,
    /// Templates of paths whose variable parts are no numbers: `/shop/{product}`.
    pub routes: Vec<String>,
    /// Whether an access trace is kept.
    pub trace: bool,
    /// One URL in so many is in it.
    pub trace_one_in: u32,
    /// So many requests of an interval are in it at most.
    pub trace_max: usize,
    /// Whether a log that is met for the first time is read from its start.
    pub from_start: bool,
    /// Where positions and totals are kept over restarts; by default below the data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<PathBuf>,
}

/// How the lines of a log are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The common format and two quoted fields: referrer and user agent.
    #[default]
    Combined,
    /// `host ident user [time] "request" status bytes`.
    Common,
    /// An object per line.
    Json,
}

impl Default for AccessLogConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            path: PathBuf::new(),
            format: Format::default(),
            fields: FieldNames::default(),
            duration_unit: DurationUnit::default(),
            duration_last: false,
            first_attempt: 0,
            slow_after: Duration::from_millis(500),
            interval: Duration::from_secs(10),
            time_out: Duration::from_secs(10),
            max_endpoints: 100,
            routes: Vec::new(),
            trace: false,
            trace_one_in: 100,
            trace_max: 2_000,
            from_start: false,
            state_dir: None,
        }
    }
}

/// What the types do not check.
pub(in crate::service) fn check(config: &AccessLogConfig) -> Result<(), ServiceError> {
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_name = !config.name.is_empty() && !config.name.starts_with('.');
    let problems = [
        (
            !(is_name && config.name.len() <= 64 && config.name.chars().all(named)),
            "name",
            "choose up to 64 letters, digits, dots, hyphens and underscores",
        ),
        (
            config.path.as_os_str().is_empty(),
            "path",
            "name the file of the log",
        ),
        (
            !(1..=MAX_ENDPOINTS).contains(&config.max_endpoints),
            "max_endpoints",
            "choose 1 to 1000",
        ),
        (
            config.routes.len() > MAX_ROUTES
                || config
                    .routes
                    .iter()
                    .any(|text| Pattern::new(text).is_none()),
            "routes",
            "give at most 1000, each of which begins with /",
        ),
        (
            !(1..=MAX_TRACE).contains(&config.trace_max) || config.trace_one_in == 0,
            "trace_max or trace_one_in",
            "choose 1 to 10000, and at least 1",
        ),
    ];
    let section = Section {
        kind: "access_log",
        name: &config.name,
    };
    section.check_times(&[("interval", config.interval), ("time_out", config.time_out)])?;
    match problems.into_iter().find(|problem| problem.0) {
        None => Ok(()),
        Some((_, option, remedy)) => {
            Err(section.refuse(&format!("{option} is out of range"), remedy))
        }
    }
}
