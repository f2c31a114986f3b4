//! From rows to a report: which groups an operation belongs to, and what the run as a whole came to.

use std::collections::BTreeMap;

use super::facts::RunFacts;
use super::group::{ByName, Group, Outcome};
use super::timeline::{Moment, Timeline};
use super::{ErrorRow, RunReport, StageRow, ThresholdRow, Verdict};
use crate::operation::Failure;
use crate::threshold::ThresholdResult;

/// Endpoints with a row of their own; later ones share a row, and so do more names that the scenario
/// does not have.
pub const MAX_ENDPOINT_ROWS: usize = 256;
/// Stages with a row of their own; later ones share a row.
pub const MAX_STAGE_ROWS: usize = 256;
/// Kinds of failure that are counted apart.
pub const MAX_ERROR_KINDS: usize = 64;
const OTHERS: &str = "(others)";
const NS_PER_US: u64 = 1_000;

/// One operation as it stands in the table `requests`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestRow<'r> {
    /// The endpoint's name.
    pub endpoint: &'r str,
    /// When the schedule wanted it, in microseconds since the Unix epoch.
    pub intended_us: i64,
    /// When it was sent, in nanoseconds after `intended_us`; -1 where it never was.
    pub sent_ns: i64,
    /// When the first byte of the answer came, likewise.
    pub first_byte_ns: i64,
    /// When it was done or given up, likewise.
    pub done_ns: i64,
    /// The protocol's status; 0 where there was none.
    pub status: i32,
    /// Bytes received.
    pub bytes: i64,
    /// The text of a [`Failure`]; empty where there was none.
    pub error: &'r str,
}

/// Takes the operations of a run in any order. Its memory does not grow with their number.
#[derive(Debug, Clone)]
pub struct ReportBuilder {
    facts: RunFacts,
    /// Index of an endpoint by its name.
    known: BTreeMap<String, usize>,
    total: Group,
    endpoints: Vec<Group>,
    unknown: ByName<Group>,
    stages: Vec<Group>,
    /// What thresholds are about, where it is not all operations.
    selections: BTreeMap<(Option<u32>, Option<usize>), Group>,
    errors: ByName<u64>,
    timeline: Timeline,
    warm_up_operations: u64,
    /// The latest time of an operation after the run's beginning, for a run that says nothing of its end.
    last_us: u64,
}

impl ReportBuilder {
    /// A report without operations so far.
    pub fn new(facts: RunFacts) -> Self {
        let selections = facts.thresholds.iter().map(|one| (one.endpoint, one.stage));
        let selections = selections.filter(|selection| *selection != (None, None));
        let names = facts.endpoints.iter().cloned().enumerate();
        Self {
            known: names.map(|(at, name)| (name, at)).collect(),
            total: Group::default(),
            endpoints: vec![Group::default(); facts.endpoints.len().min(MAX_ENDPOINT_ROWS)],
            unknown: ByName::new(MAX_ENDPOINT_ROWS.saturating_sub(facts.endpoints.len())),
            stages: vec![Group::default(); facts.stages.len().min(MAX_STAGE_ROWS + 1)],
            selections: selections
                .map(|selection| (selection, Group::default()))
                .collect(),
            errors: ByName::new(MAX_ERROR_KINDS),
            timeline: Timeline::default(),
            warm_up_operations: 0,
            last_us: 0,
            facts,
        }
    }

    /// Takes one operation.
    pub fn push(&mut self, row: &RequestRow<'_>) {
        let outcome = judge(row);
        let intended_us = row.intended_us.saturating_sub(self.facts.started_us);
        let intended_us = u64::try_from(intended_us).unwrap_or(0);
        self.timeline.push(Moment {
            intended_us,
            response_ns: outcome.response_ns,
            is_answered: outcome.is_answered,
            is_failed: outcome.is_failed,
            is_dropped: outcome.is_dropped,
        });
        let response_us = outcome.response_ns.unwrap_or(0) / NS_PER_US;
        let done_us = intended_us.saturating_add(response_us);
        self.last_us = self.last_us.max(done_us);
        if intended_us < self.facts.warm_up_ns / NS_PER_US {
            self.warm_up_operations += 1;
            return;
        }
        if outcome.is_failed {
            let error = if row.error.is_empty() {
                Failure::Unfinished.as_str()
            } else {
                row.error
            };
            *self.errors.of(error) += 1;
        }
        let stage = self.stage_of(intended_us);
        let is_before = |end_ns: Option<u64>| end_ns.is_none_or(|ns| done_us <= ns / NS_PER_US);
        let in_run = is_before(self.facts.planned_ns());
        let in_stage = is_before(stage.map(|at| self.facts.stages[at].until_ns));
        self.total.record(&outcome, in_run);
        let endpoint = self.known.get(row.endpoint).copied();
        match endpoint.and_then(|at| self.endpoints.get_mut(at)) {
            Some(group) => group.record(&outcome, in_run),
            None => self.unknown.of(row.endpoint).record(&outcome, in_run),
        }
        if let Some(at) = stage {
            self.stages[at.min(MAX_STAGE_ROWS)].record(&outcome, in_stage);
        }
        for ((of_endpoint, of_stage), group) in &mut self.selections {
            let is_selected = of_endpoint.is_none_or(|of| endpoint == Some(of as usize))
                && of_stage.is_none_or(|of| stage == Some(of));
            if is_selected {
                group.record(&outcome, if of_stage.is_some() { in_stage } else { in_run });
            }
        }
    }

    /// The report.
    pub fn finish(mut self) -> RunReport {
        let end_ns = self.end_ns();
        let warm_up_ns = self.facts.warm_up_ns;
        let seconds = seconds(warm_up_ns, end_ns);
        let results = self.judge(end_ns);
        let verdict = verdict(&self.facts, &results, self.total.operations());
        let written = self.facts.thresholds.iter().map(|one| one.text.clone());
        let thresholds = written.zip(results);
        let thresholds = thresholds.map(|(written, result)| withhold(written, result, verdict));
        let thresholds = thresholds.collect();
        let timeline = self.timeline.rows(end_ns.div_ceil(1_000_000_000));
        let stages = self.stage_rows(end_ns);
        let named = self.facts.endpoints.iter().zip(&self.endpoints);
        let mut endpoints: Vec<_> = named
            .map(|(name, group)| group.row(name, seconds))
            .collect();
        let unknown = self.unknown.into_rows(OTHERS).into_iter();
        endpoints.extend(unknown.map(|(name, group)| group.row(&name, seconds)));
        let errors = self.errors.into_rows(OTHERS).into_iter();
        let mut errors: Vec<_> = errors
            .map(|(error, count)| ErrorRow { error, count })
            .collect();
        // The sort is stable, so that equal counts stay in the order of their names.
        errors.sort_by_key(|row| std::cmp::Reverse(row.count));
        let facts = self.facts;
        RunReport {
            run: facts.run,
            scenario: facts.scenario,
            text: facts.text,
            hash: facts.hash,
            target: facts.target,
            host: facts.host,
            version: facts.version,
            commit: facts.commit,
            labels: facts.labels,
            seed: facts.seed,
            workers: facts.workers,
            processes: facts.processes,
            started_us: facts.started_us,
            seconds: seconds.unwrap_or(0.0),
            warm_up_s: warm_up_ns as f64 / 1e9,
            ended: facts.ended,
            verdict,
            generator: facts.generator,
            recording: facts.recording,
            lost: facts.lost,
            warm_up_operations: self.warm_up_operations,
            total: self.total.row("all", seconds),
            endpoints,
            stages,
            thresholds,
            errors,
            timeline,
            timeline_step_s: self.timeline.step_s(),
            histogram: self.total.response.buckets(),
            percentiles: self.total.response.percentiles(),
        }
    }

    /// The index of the stage of a time. What is intended after the last one belongs to journeys that
    /// began in it.
    fn stage_of(&self, us: u64) -> Option<usize> {
        // Rows hold whole microseconds, so that the stages' bounds are rounded down as they are.
        let begun = self
            .facts
            .stages
            .partition_point(|stage| stage.from_ns / NS_PER_US <= us);
        match self.facts.stages.len() {
            0 => None,
            _ => Some(begun.saturating_sub(1)),
        }
    }

    /// When measuring ended, in nanoseconds since the run's beginning: with the stages, or with the
    /// run where that came first.
    fn end_ns(&self) -> u64 {
        let ran_ns = match self.facts.ran_s {
            Some(seconds) => (seconds * 1e9).round() as u64,
            None => self.last_us.saturating_mul(NS_PER_US),
        };
        self.facts
            .planned_ns()
            .map_or(ran_ns, |planned| planned.min(ran_ns))
    }

    fn judge(&self, end_ns: u64) -> Vec<ThresholdResult> {
        let judge = |one: &crate::threshold::Threshold| {
            let group = self
                .selections
                .get(&(one.endpoint, one.stage))
                .unwrap_or(&self.total);
            let seconds = match one.stage.and_then(|at| self.facts.stages.get(at)) {
                Some(stage) => self.stage_seconds(stage.from_ns, stage.until_ns, end_ns),
                None => seconds(self.facts.warm_up_ns, end_ns),
            };
            group.judge(one, seconds)
        };
        self.facts.thresholds.iter().map(judge).collect()
    }

    fn stage_rows(&self, end_ns: u64) -> Vec<StageRow> {
        let row = |(at, group): (usize, &Group)| {
            let stage = &self.facts.stages[at];
            let is_rest = at == MAX_STAGE_ROWS;
            let until_ns = match is_rest {
                true => self.facts.planned_ns().unwrap_or(stage.until_ns),
                false => stage.until_ns,
            };
            let seconds = self.stage_seconds(stage.from_ns, until_ns, end_ns);
            StageRow {
                row: group.row(if is_rest { OTHERS } else { &stage.name }, seconds),
                from_s: stage.from_ns as f64 / 1e9,
                until_s: until_ns as f64 / 1e9,
                load: if is_rest {
                    String::new()
                } else {
                    stage.load.clone()
                },
            }
        };
        self.stages.iter().enumerate().map(row).collect()
    }

    fn stage_seconds(&self, from_ns: u64, until_ns: u64, end_ns: u64) -> Option<f64> {
        seconds(from_ns.max(self.facts.warm_up_ns), until_ns.min(end_ns))
    }
}

fn seconds(from_ns: u64, until_ns: u64) -> Option<f64> {
    let ns = until_ns.saturating_sub(from_ns);
    (ns > 0).then(|| ns as f64 / 1e9)
}

/// Whether it was answered, and what its times are. What has no error and no end either is a row of
/// an operation that nobody finished.
fn judge(row: &RequestRow<'_>) -> Outcome {
    let since = |ns: i64| u64::try_from(ns).ok();
    let (sent_ns, done_ns) = (since(row.sent_ns), since(row.done_ns));
    let failure = Failure::ALL
        .into_iter()
        .find(|failure| failure.as_str() == row.error);
    let is_answered =
        done_ns.is_some() && (row.error.is_empty() || failure.is_some_and(Failure::was_answered));
    let is_dropped = failure == Some(Failure::Dropped);
    // Without an end, it was waited for at least until the last that is known of it.
    let waited_ns = done_ns
        .or(since(row.first_byte_ns))
        .or(sent_ns)
        .unwrap_or(0);
    Outcome {
        is_answered,
        is_failed: !is_answered || !row.error.is_empty(),
        is_dropped,
        response_ns: (!is_dropped).then_some(waited_ns),
        service_ns: sent_ns
            .filter(|_| !is_dropped)
            .map(|sent_ns| waited_ns.saturating_sub(sent_ns)),
        bytes: u64::try_from(row.bytes).unwrap_or(0),
    }
}

/// A run whose numbers are doubtful or not whole has no verdict, not even a bad one.
fn verdict(facts: &RunFacts, results: &[ThresholdResult], operations: u64) -> Verdict {
    let is_broken = results.iter().any(|result| result.passed == Some(false));
    let is_open = results.iter().any(|result| result.passed.is_none());
    let ended = facts.ended.as_str();
    let is_whole = ["completed", "interrupted", "aborted"].contains(&ended);
    if facts.lost > 0 || facts.recording == "limited" {
        Verdict::RecordingLimited
    } else if facts.generator.state == "limited" {
        Verdict::GeneratorLimited
    } else if !is_whole {
        Verdict::Incomplete
    } else if is_broken || ended == "aborted" {
        Verdict::Failed
    } else if ended == "interrupted" {
        Verdict::Incomplete
    } else if is_open || operations == 0 {
        Verdict::TooLittleData
    } else {
        Verdict::Passed
    }
}

/// Takes back what a threshold says where the run as a whole has no verdict.
fn withhold(threshold: String, result: ThresholdResult, verdict: Verdict) -> ThresholdRow {
    let has_verdict = verdict.is_judgement();
    let ThresholdResult {
        text,
        value,
        passed,
    } = result;
    let (text, passed) = match passed {
        Some(_) if !has_verdict => {
            let said = text
                .rsplit_once(": ")
                .map_or(text.as_str(), |(said, _)| said);
            (format!("{said}: no verdict ({})", verdict.as_str()), None)
        }
        passed => (text, passed),
    };
    ThresholdRow {
        threshold,
        text,
        value,
        passed,
    }
}
