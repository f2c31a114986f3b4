//! The breaking point of a target: which rate it still holds, with an interval, and why no more.
//!
//! Everything here is a pure function of what was observed: [`Search`] says which rate to try next,
//! [`StepMonitor`] when a step is known well enough, [`UslFit`] what law the throughput follows and
//! [`saturation`] which resource was at its limit. Time comes in with the windows. Sending load,
//! cutting operations into windows and reading the target host's metrics is left to who calls
//! [`find`].

mod chart;
mod config;
mod judgement;
mod latencies;
mod monitor;
mod saturation;
mod search;
mod statistics;
mod text;
mod usl;

pub use chart::svg;
pub use config::{ConfigError, MOST_STEPS, SearchConfig, SearchOptions};
pub use judgement::{Judgement, Reason};
pub use latencies::Latencies;
pub use monitor::{Counts, Ended, Progress, StepMonitor, StepReport, Window};
pub use saturation::{ResourceKind, ResourceWindow, Saturated, saturation};
pub use search::Search;
pub use statistics::{CONFIDENCE, Estimate};
pub use text::text;
pub use usl::{UslFit, UslPeak, UslPoint};

use serde::{Deserialize, Serialize};

/// The safe rate as a share of the knee's lower end.
///
/// Chosen against the lower end and not the knee, so that it holds even where the true knee is at
/// the interval's edge; and 0.8 because response times grow with 1 / (1 - utilisation), which is flat
/// enough up to 80 % that a burst or the loss of one instance in five is survived (Gregg, *Systems
/// Performance*, 2nd edition, 2.6.5). A definition by low-load latency was not taken: it moves with
/// the threshold that the user chose, and says nothing where the knee is one of errors.
pub const SAFE_SHARE: f64 = 0.8;

/// One step to be run: load at a constant rate.
#[derive(Debug, Clone, PartialEq)]
pub struct StepPlan {
    /// From 1, over the whole search.
    pub number: usize,
    /// Arrivals per second.
    pub rate: f64,
    /// Shorter steps say nothing.
    pub seconds_at_least: f64,
    /// The time box.
    pub seconds_at_most: f64,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepResult {
    /// What the monitor saw.
    pub report: StepReport,
    /// Why the generator could not offer the load as planned, where it could not; such a step says
    /// nothing about the target.
    pub generator_limited: Option<String>,
}

/// A step in the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepSummary {
    /// From 1, in the order in which they were run.
    pub number: usize,
    /// How it was judged.
    pub judgement: Judgement,
    /// Why it was not good.
    pub reasons: Vec<Reason>,
    /// What limited the generator.
    pub generator_limited: Option<String>,
    /// What was measured.
    pub report: StepReport,
}

/// How the search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The knee is known as narrowly as was asked for.
    Found,
    /// The target holds the highest rate that may be tried.
    NotReached,
    /// The generator gave up before the target did.
    GeneratorLimited,
    /// Not even the lowest rate is held.
    TargetFailed,
    /// The search's steps or seconds ran out; an interval, where there is one, is wider than was
    /// asked for.
    TimeBox,
}

/// The result of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Knee {
    /// How it ended.
    pub verdict: Verdict,
    /// Arrivals per second at which the target ceases to hold.
    pub rate: Option<f64>,
    /// The highest rate below it that surely holds, and the lowest above it that surely does not.
    pub interval: Option<(f64, f64)>,
    /// [`SAFE_SHARE`] of the highest rate that surely holds.
    pub safe_rate: Option<f64>,
    /// The highest rate that surely holds.
    pub held_rate: Option<f64>,
    /// What fails at the interval's upper end.
    pub reason: Option<Reason>,
    /// The Universal Scalability Law, where there are enough steps for a fit.
    pub usl: Option<UslFit>,
    /// The resource that was at its limit; filled in by who has the target host's metrics.
    pub saturated: Option<Saturated>,
    /// What a reader must know: thresholds that were not judged, limits of the generator.
    pub notes: Vec<String>,
    /// All steps, in the order in which they were run.
    pub steps: Vec<StepSummary>,
}

/// Finds the breaking point. `run_step` offers the plan's load, feeds the monitor until it has
/// enough and returns what it reports; its errors end the search.
pub fn find<E>(
    config: SearchConfig,
    mut run_step: impl FnMut(&StepPlan, &mut StepMonitor) -> Result<StepResult, E>,
) -> Result<Knee, E> {
    let mut search = Search::new(config);
    while let Some(plan) = search.next() {
        let mut monitor = StepMonitor::new(&plan, search.config());
        let result = run_step(&plan, &mut monitor)?;
        search.observe(result);
    }
    Ok(search.finish())
}
