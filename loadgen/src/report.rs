//! The report of a run, built from its events alone: the same events give the same report, byte for
//! byte, in whatever order the rows come. Where events are read from is left to the caller; there is
//! no clock, no randomness and no fact of this machine in here.

mod build;
mod chart;
mod facts;
mod figures;
mod group;
mod html;
mod json;
mod junit;
mod markdown;
mod table;
mod text;
mod timeline;
mod times;

use std::collections::BTreeMap;

pub use build::{MAX_ENDPOINT_ROWS, MAX_ERROR_KINDS, MAX_STAGE_ROWS, ReportBuilder, RequestRow};
pub use facts::{Generator, ReportError, RunFacts, StageFacts};
pub use html::STYLE;
pub use text::markup;
pub use timeline::MAX_TIMELINE_BUCKETS;

/// What a run came to. Operations of the warm-up are in the timeline and nowhere else.
#[derive(Debug, Clone, PartialEq)]
pub struct RunReport {
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
    /// The commit of what was loaded; empty where it was not given.
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
    /// How long was measured: from the end of the warm-up to the end of the stages, or of the run
    /// where that came first.
    pub seconds: f64,
    /// How much at the beginning is not counted, in seconds.
    pub warm_up_s: f64,
    /// `completed`, `interrupted`, `aborted` or `incomplete`.
    pub ended: String,
    /// What is to be made of it.
    pub verdict: Verdict,
    /// How the generator itself fared.
    pub generator: Generator,
    /// `ok`, `limited` or `unknown`.
    pub recording: String,
    /// Operations that could not be recorded.
    pub lost: u64,
    /// Operations that were intended in the warm-up.
    pub warm_up_operations: u64,
    /// All operations.
    pub total: Row,
    /// By endpoint, in the scenario's order.
    pub endpoints: Vec<Row>,
    /// By the stage in which they were intended, in order.
    pub stages: Vec<StageRow>,
    /// In the scenario's order. Without a verdict wherever the run has none.
    pub thresholds: Vec<ThresholdRow>,
    /// Failures by kind, the most frequent first.
    pub errors: Vec<ErrorRow>,
    /// What happened when, warm-up included.
    pub timeline: Vec<TimelineRow>,
    /// How many seconds a row of the timeline covers.
    pub timeline_step_s: u64,
    /// How response times are spread, only buckets that are not empty, in order.
    pub histogram: Vec<HistogramRow>,
    /// Response time by quantile, denser towards 1.
    pub percentiles: Vec<PercentileRow>,
}

/// What is to be made of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It completed and every threshold held, or there are none.
    Passed,
    /// A threshold is broken.
    Failed,
    /// The generator could not keep to its schedule: its times are not the target's alone.
    GeneratorLimited,
    /// Operations are missing from the record.
    RecordingLimited,
    /// The run did not come to its end.
    Incomplete,
    /// Too few operations to say.
    TooLittleData,
}

impl Verdict {
    /// As it stands in every format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::GeneratorLimited => "generator-limited",
            Self::RecordingLimited => "recording-limited",
            Self::Incomplete => "incomplete",
            Self::TooLittleData => "too-little-data",
        }
    }

    /// 0 passed, 3 a threshold failed, 4 too little data, 1 no verdict for another reason.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::GeneratorLimited | Self::RecordingLimited | Self::Incomplete => 1,
            Self::Failed => 3,
            Self::TooLittleData => 4,
        }
    }

    /// Whether it says something of the target; the others only say why nothing can be said.
    pub const fn is_judgement(self) -> bool {
        matches!(self, Self::Passed | Self::Failed | Self::TooLittleData)
    }
}

/// What was measured of a group of operations.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The endpoint or stage; `all` for the total.
    pub name: String,
    /// All operations, dropped arrivals included.
    pub operations: u64,
    /// Operations to which a whole answer came, whatever the checks say of it.
    pub answered: u64,
    /// Operations that failed, dropped arrivals included.
    pub failed: u64,
    /// Arrivals that were never sent, for want of a connection and of room to wait in.
    pub dropped: u64,
    /// Operations that were given up before a whole answer came. Their times are in every quantile
    /// as lower bounds.
    pub censored: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Answers per second that came before the end of the stages (of the stage, for a stage).
    pub rate_per_s: Option<f64>,
    /// Failed operations as a share of all.
    pub error_rate: Option<f64>,
    /// From *intended*.
    pub latency: Option<Times>,
    /// From *sent*.
    pub service: Option<Times>,
}

/// A stage and what was measured in it.
#[derive(Debug, Clone, PartialEq)]
pub struct StageRow {
    /// What was measured.
    pub row: Row,
    /// When it began, in seconds since the run's beginning.
    pub from_s: f64,
    /// When it ended.
    pub until_s: f64,
    /// Its load, for people: `50 → 500/s`.
    pub load: String,
}

/// A distribution of times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    /// The exact mean.
    pub mean: Time,
    /// The median.
    pub p50: Time,
    /// The 95th percentile.
    pub p95: Time,
    /// The 99th percentile.
    pub p99: Time,
    /// The 99.9th percentile.
    pub p999: Time,
    /// The longest.
    pub max: Time,
}

impl Times {
    /// With their names, in order.
    pub fn named(&self) -> [(&'static str, Time); 6] {
        [
            ("mean", self.mean),
            ("p50", self.p50),
            ("p95", self.p95),
            ("p99", self.p99),
            ("p999", self.p999),
            ("max", self.max),
        ]
    }
}

/// A time that was measured, or waited for in vain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Time {
    /// In milliseconds.
    pub ms: f64,
    /// The truth is no shorter: some operations were given up before they had taken longer.
    pub at_least: bool,
}

/// Whether a threshold held.
#[derive(Debug, Clone, PartialEq)]
pub struct ThresholdRow {
    /// As it was written: `p95 < 200ms`.
    pub threshold: String,
    /// With what was measured and what follows from it: `p95 183 ms < 200ms: passed`.
    pub text: String,
    /// The measured value in nanoseconds, as a share of 1 or per second; none without operations.
    pub value: Option<f64>,
    /// Whether it held; none where nothing can be said.
    pub passed: Option<bool>,
}

/// How often one kind of failure happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorRow {
    /// The failure's text.
    pub error: String,
    /// How often.
    pub count: u64,
}

/// A part of the run's time. All but `completed` is about the operations that were intended in it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TimelineRow {
    /// Its beginning, in seconds since the run's.
    pub from_s: u64,
    /// Operations intended in it.
    pub arrivals: u64,
    /// Of those, the ones to which a whole answer came.
    pub answered: u64,
    /// Of those, the ones that failed, dropped arrivals included.
    pub failed: u64,
    /// Of those, the ones that were dropped.
    pub dropped: u64,
    /// Whole answers that came in it, whenever they were intended.
    pub completed: u64,
    /// Median response time in milliseconds, within 1 %; none without operations.
    pub p50_ms: Option<f64>,
    /// 95th percentile.
    pub p95_ms: Option<f64>,
    /// 99th percentile.
    pub p99_ms: Option<f64>,
}

/// Operations whose response time lies in a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HistogramRow {
    /// The shortest, in milliseconds.
    pub from_ms: f64,
    /// The longest.
    pub until_ms: f64,
    /// How many.
    pub count: u64,
}

/// A point of the distribution of response times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PercentileRow {
    /// Between 0 and 1.
    pub quantile: f64,
    /// No less than this share of the operations took at most so long.
    pub time: Time,
}

impl RunReport {
    /// That of its verdict.
    pub fn exit_code(&self) -> u8 {
        self.verdict.exit_code()
    }

    /// One JSON object on one line, its keys always in the same order. Times are in milliseconds;
    /// `at_least` beside them names those that are lower bounds.
    pub fn to_json(&self) -> String {
        json::render(self)
    }

    /// For the terminal.
    pub fn to_table(&self) -> String {
        table::render(self)
    }

    /// For a comment on a change.
    pub fn to_markdown(&self) -> String {
        markdown::render(self)
    }

    /// For a build server: one test case for each threshold and one for the run itself.
    pub fn to_junit(&self) -> String {
        junit::render(self)
    }

    /// One page with charts that needs nothing else.
    pub fn to_html(&self) -> String {
        html::render(self)
    }
}
