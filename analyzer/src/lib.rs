//! Driftline's analyzer: SQL over the tables and the fresh tail of the log, robust statistics,
//! baselines and comparisons.
//!
//! It reads what the sink has written and never writes tables. Rules for the judgement stand as SQL
//! in `queries/`; printing is left to the binary.

pub mod analyze;
pub mod baseline;
mod calendar;
mod columns;
pub mod compare;
pub mod engine;
pub mod findings;
mod functions;
pub mod lake;
pub mod live;
pub mod nightly;
pub mod notify;
pub mod recommend;
pub mod rule;
pub mod schedule;
#[cfg(test)]
mod testing;
pub mod validate;

pub use analyze::{AnalysisRow, Usual, analyze};
pub use baseline::{Baseline, BaselineError, SeriesBaseline};
pub use calendar::{Calendar, UnknownZone};
pub use compare::{
    CompareOptions, CompareRunsError, RunCompareOptions, RunComparison, RunShift, SeriesShift,
    Verdict, Window, compare, compare_runs, compare_several,
};
pub use driftline_sink::table::At;
pub use engine::{Engine, EngineConfig, EngineError, QueryOptions, Rows};
pub use lake::{Lake, LakeError, LakeOptions, Tail};
pub use nightly::{Finding, Nightly, NightlyOptions, Severity};
