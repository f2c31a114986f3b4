//! Live statistics of a run: one cell for each endpoint in each stage. They are as large as the
//! scenario is, however many operations they have seen, and can be merged over workers and
//! processes. Exact rows are in the log; what is here is for the live view, thresholds and the
//! summary.

mod wire;

use crate::operation::Operation;
use crate::scenario::Scenario;

use super::measurement::Measurement;

pub use wire::StatisticsError;

/// What has been measured so far, the warm-up excluded.
#[derive(Debug, Clone)]
pub struct Statistics {
    endpoints: usize,
    /// When each stage ends, in nanoseconds since the run's beginning.
    stage_ends_ns: Vec<u64>,
    warm_up_ns: u64,
    /// Stage by stage, endpoint by endpoint; only what occurs takes room.
    cells: Vec<Option<Box<Measurement>>>,
    warm_up_operations: u64,
    /// The stage of the operation before, because the next one is nearly always in it too.
    at: usize,
}

impl Statistics {
    /// Nothing measured yet.
    pub fn new(scenario: &Scenario) -> Self {
        let mut end_ns = 0_u64;
        let ends = scenario.stages.iter().map(|stage| {
            let lasts = u64::try_from(stage.duration.as_nanos()).unwrap_or(u64::MAX);
            end_ns = end_ns.saturating_add(lasts);
            end_ns
        });
        let stage_ends_ns: Vec<u64> = ends.collect();
        let endpoints = scenario.endpoints.len().max(1);
        Self {
            endpoints,
            cells: vec![None; endpoints * stage_ends_ns.len().max(1)],
            stage_ends_ns,
            warm_up_ns: u64::try_from(scenario.warm_up.as_nanos()).unwrap_or(u64::MAX),
            warm_up_operations: 0,
            at: 0,
        }
    }

    /// Takes one operation.
    pub fn record(&mut self, operation: &Operation) {
        if operation.intended_ns < self.warm_up_ns {
            self.warm_up_operations += 1;
            return;
        }
        let stage = self.stage_of(operation.intended_ns);
        let stage_end_ns = self.stage_ends_ns.get(stage).copied().unwrap_or(u64::MAX);
        let run_end_ns = self.stage_ends_ns.last().copied().unwrap_or(u64::MAX);
        // An endpoint beyond the dictionary is refused by the encoder; here it must not panic.
        let endpoint = (operation.endpoint as usize).min(self.endpoints - 1);
        self.cells[stage * self.endpoints + endpoint]
            .get_or_insert_default()
            .record(operation, stage_end_ns, run_end_ns);
    }

    /// Adds what another worker or process of the same run has measured.
    pub fn merge(&mut self, other: &Self) -> Result<(), StatisticsError> {
        if (other.endpoints, &other.stage_ends_ns) != (self.endpoints, &self.stage_ends_ns) {
            return Err(StatisticsError::OtherScenario);
        }
        self.warm_up_operations += other.warm_up_operations;
        for (mine, theirs) in self.cells.iter_mut().zip(&other.cells) {
            if let Some(theirs) = theirs {
                mine.get_or_insert_default().merge(theirs);
            }
        }
        Ok(())
    }

    /// The operations of one endpoint or of all, intended in one stage or in all.
    pub fn select(&self, endpoint: Option<u32>, stage: Option<usize>) -> Measurement {
        let mut sum = Measurement::default();
        for (at, cell) in self.cells.iter().enumerate() {
            let (of_stage, of_endpoint) = (at / self.endpoints, at % self.endpoints);
            let is_selected = stage.is_none_or(|stage| stage == of_stage)
                && endpoint.is_none_or(|endpoint| endpoint as usize == of_endpoint);
            if let Some(cell) = cell
                && is_selected
            {
                sum.merge(cell);
            }
        }
        sum
    }

    /// Operations answered per second of a selection, from the beginning of the stage (after the
    /// warm-up) until its end, or until `now_ns` where that is earlier. Answers that come after the
    /// end do not count: a target that is behind would otherwise seem to keep up.
    pub fn rate_per_s(
        &self,
        measurement: &Measurement,
        stage: Option<usize>,
        now_ns: u64,
    ) -> Option<f64> {
        let answered = match stage {
            Some(_) => measurement.answered_by_stage_end(),
            None => measurement.answered_by_run_end(),
        };
        let seconds = self.seconds(stage, now_ns)?;
        Some(answered as f64 / seconds)
    }

    /// Seconds of a stage, or of the whole run, that have been measured by `now_ns`.
    pub fn seconds(&self, stage: Option<usize>, now_ns: u64) -> Option<f64> {
        let run_end_ns = self.stage_ends_ns.last().copied()?;
        let (from_ns, until_ns) = match stage {
            None => (0, run_end_ns),
            Some(0) => (0, *self.stage_ends_ns.first()?),
            Some(stage) => (
                *self.stage_ends_ns.get(stage - 1)?,
                *self.stage_ends_ns.get(stage)?,
            ),
        };
        let lasted_ns = until_ns
            .min(now_ns)
            .saturating_sub(from_ns.max(self.warm_up_ns));
        (lasted_ns > 0).then(|| lasted_ns as f64 / 1e9)
    }

    /// Operations that were intended in the warm-up and are in no other number here.
    pub fn warm_up_operations(&self) -> u64 {
        self.warm_up_operations
    }

    fn stage_of(&mut self, ns: u64) -> usize {
        let is_in = |at: usize| {
            let from_ns = at.checked_sub(1).map_or(0, |at| self.stage_ends_ns[at]);
            self.stage_ends_ns
                .get(at)
                .is_some_and(|until_ns| (from_ns..*until_ns).contains(&ns))
        };
        if !is_in(self.at) {
            // What is intended after the last stage belongs to journeys that began in it.
            self.at = self
                .stage_ends_ns
                .partition_point(|end_ns| *end_ns <= ns)
                .min(self.stage_ends_ns.len().saturating_sub(1));
        }
        self.at
    }
}

#[cfg(test)]
mod tests;
