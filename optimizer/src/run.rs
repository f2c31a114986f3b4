//! The thin layer that performs what [`crate::protocol`] says comes next, and keeps each step before
//! and after it.
//!
//! It decides nothing itself. Killed anywhere, [`Optimizer::resume`] goes on from the journal.

mod act;
mod error;
mod look;
mod sessions;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use self::error::OptimizeError;
use self::sessions::Sessions;
use crate::action::postgres::Observed;
use crate::action::{Plan, hypothetical};
use crate::config::OptimizerConfig;
use crate::gate::{Approval, Refusal};
use crate::journal::Journal;
use crate::protocol::{
    Actions, Applied, Check, Closure, Next, Policy, Record, Reverted, State, Step, event, next_step,
};
use crate::recommendation::{Recommendation, fingerprint};

/// Most windows that may fail to be measured, by resets or errors, before an action is left for later.
const BAD_WINDOWS_MAX: usize = 10;
/// How long to wait before undoing is tried again.
const REVERT_PAUSE: Duration = Duration::from_secs(2);

/// What planning a recommendation found.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The recommendation.
    pub recommendation: String,
    /// The dry run; `None` for advice.
    pub plan: Option<Plan>,
    /// What stands against applying it now, were it approved.
    pub refusals: Vec<Refusal>,
}

/// Applies recommendations.
pub struct Optimizer<J> {
    config: OptimizerConfig,
    policy: Policy,
    journal: J,
    clock: fn() -> i64,
    sessions: Sessions,
}

/// The time, in microseconds since 1970 UTC.
pub fn system_clock() -> i64 {
    let passed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(passed.as_micros()).unwrap_or(i64::MAX)
}

impl<J: Journal> Optimizer<J> {
    /// An optimizer with this configuration, memory and clock.
    pub fn new(
        config: OptimizerConfig,
        journal: J,
        clock: fn() -> i64,
    ) -> Result<Self, OptimizeError> {
        config.check()?;
        Ok(Self {
            policy: Policy::of(&config),
            config,
            journal,
            clock,
            sessions: Sessions::default(),
        })
    }

    /// The memory.
    pub const fn journal(&self) -> &J {
        &self.journal
    }

    /// Plans each recommendation, and says what stands against it, given where all actions stand.
    /// Changes nothing.
    pub async fn plan(
        &self,
        all: &[Recommendation],
        states: &[State],
    ) -> Result<Vec<Report>, OptimizeError> {
        let reports = self.planned(all, states).await;
        self.sessions.end();
        reports
    }

    async fn planned(
        &self,
        all: &[Recommendation],
        states: &[State],
    ) -> Result<Vec<Report>, OptimizeError> {
        let mut reports = Vec::with_capacity(all.len());
        for recommendation in all {
            let approval = Approval::Person(String::new());
            let (plan, refusals) = self.gate(recommendation, Some(&approval), states).await?;
            reports.push(Report {
                recommendation: recommendation.id.clone(),
                plan,
                refusals,
            });
        }
        Ok(reports)
    }

    /// Applies a recommendation, if the gate is open, and returns when it is judged.
    pub async fn apply(
        &self,
        recommendation: &Recommendation,
        approval: Approval,
    ) -> Result<State, OptimizeError> {
        let work = self.begun(recommendation, approval);
        self.holding(recommendation, work).await
    }

    async fn begun(
        &self,
        recommendation: &Recommendation,
        approval: Approval,
    ) -> Result<State, OptimizeError> {
        let states = self.actions().await?.states;
        let (plan, refusals) = self.gate(recommendation, Some(&approval), &states).await?;
        let Some(plan) = plan.filter(|_| refusals.is_empty()) else {
            return Err(OptimizeError::Refused(refusals));
        };
        let now = (self.clock)().to_string();
        let action = format!("action-{}", fingerprint(&[&recommendation.id, &now]));
        let recommendation = hypothetical::estimated(recommendation, &plan);
        let planned = Step::DryRunPassed {
            recommendation: Box::new(recommendation.clone()),
            plan,
        };
        let mut state = self.begin(action, planned, &recommendation).await?;
        self.keep(&mut state, Step::Approved { by: approval })
            .await?;
        self.steps(state, &states, &self.policy).await
    }

    /// Goes on with each of these that is under way, or whose next check is due, until it rests; one
    /// that fails stops no other. What rests already is left out.
    pub async fn resume(&self, states: Vec<State>) -> Vec<(String, Result<State, OptimizeError>)> {
        let mut resumed = Vec::new();
        for state in states {
            if !self.next(&state).rests() {
                let driven = self.drive(&state, &self.policy).await;
                resumed.push((state.action, driven));
            }
        }
        resumed
    }

    /// Measures again at once an action that is kept, since something got worse after it: its next
    /// check is not waited for. What does harm is undone. After the last check nothing is measured.
    pub async fn recheck(&self, state: &State) -> Result<State, OptimizeError> {
        let mut policy = self.policy.clone();
        policy.recheck_first = policy.settle;
        if state.verdict(Check::First).is_some() {
            policy.recheck_last = policy.settle;
        }
        self.drive(state, &policy).await
    }

    /// Undoes an action, whatever its verdict.
    pub async fn revert(&self, id: &str, reason: &str) -> Result<State, OptimizeError> {
        let recommendation = self.status(id).await?.recommendation;
        let work = self.undone(id, reason);
        self.holding(&recommendation, work).await
    }

    async fn undone(&self, id: &str, reason: &str) -> Result<State, OptimizeError> {
        // Whoever had the lock may have gone on meanwhile.
        let (mut state, others) = self.found(id).await?;
        let undone = matches!(state.reverted, Reverted::Succeeded { .. });
        let untouched = matches!(
            state.applied,
            Applied::NotStarted | Applied::Failed { remnant: false, .. }
        );
        if undone || untouched || state.inverse.is_none() || state.external.is_some() {
            return Err(OptimizeError::NothingToRevert { id: id.to_owned() });
        }
        // One that is stuck is tried again: whoever asks may have removed what was in its way.
        let stuck = matches!(self.next(&state), Next::Closed(Closure::Stuck(_)));
        let begins = stuck || state.reverted == Reverted::NotStarted;
        if begins && !self.taken_over(&mut state).await? {
            let reason = reason.to_owned();
            self.keep(&mut state, Step::RevertStarted { reason })
                .await?;
        }
        self.steps(state, &others, &self.policy).await
    }

    /// Where an action stands.
    pub async fn status(&self, id: &str) -> Result<State, OptimizeError> {
        Ok(self.found(id).await?.0)
    }

    /// Where an action stands, and where the others do.
    async fn found(&self, id: &str) -> Result<(State, Vec<State>), OptimizeError> {
        let mut all = self.actions().await?;
        if let Some(at) = all.states.iter().position(|state| state.action == id) {
            return Ok((all.states.swap_remove(at), all.states));
        }
        let damaged = all.damaged.into_iter().find(|one| one.action == id);
        let id = id.to_owned();
        Err(match damaged {
            Some(damaged) => OptimizeError::Damaged {
                id,
                reason: damaged.reason,
            },
            None => OptimizeError::UnknownAction { id },
        })
    }

    /// Where every action stands.
    pub async fn actions(&self) -> Result<Actions, OptimizeError> {
        Ok(Actions::of(&self.journal.events().await?))
    }

    /// What comes next for an action now.
    pub fn next(&self, state: &State) -> Next {
        next_step(state, (self.clock)(), &self.policy)
    }

    /// Does something to a server while no other optimizer does, and ends its sessions after it.
    async fn holding<T>(
        &self,
        recommendation: &Recommendation,
        work: impl Future<Output = Result<T, OptimizeError>>,
    ) -> Result<T, OptimizeError> {
        let lock = self.lock(recommendation).await?;
        let done = work.await;
        self.sessions.end();
        if let Some(lock) = lock {
            lock.release().await;
        }
        done
    }

    /// Goes on with an action until it rests.
    async fn drive(&self, state: &State, policy: &Policy) -> Result<State, OptimizeError> {
        let work = async {
            // Whoever had the lock may have gone on meanwhile.
            let (state, others) = self.found(&state.action).await?;
            self.steps(state, &others, policy).await
        };
        self.holding(&state.recommendation, work).await
    }

    /// Performs steps until the action rests.
    /// The others were read under the lock, so that they stay as they are.
    async fn steps(
        &self,
        mut state: State,
        others: &[State],
        policy: &Policy,
    ) -> Result<State, OptimizeError> {
        let mut bad_windows = 0;
        loop {
            let next = next_step(&state, (self.clock)(), policy);
            match next {
                Next::AwaitApproval | Next::Wait { .. } | Next::Closed(_) => break,
                Next::Freeze => self.freeze(&mut state).await?,
                Next::Apply => self.start(&mut state, others).await?,
                Next::Inspect => self.inspect(&mut state).await?,
                Next::Observe { check, from_us } => {
                    self.observe_window(&mut state, check, from_us, &mut bad_windows)
                        .await?;
                }
                Next::Breach(reason) => {
                    self.keep(&mut state, Step::GuardBreached { reason })
                        .await?;
                }
                Next::Conclude { check, verdict } => {
                    let verdict = *verdict;
                    self.keep(&mut state, Step::VerdictReached { check, verdict })
                        .await?;
                }
                Next::Revert { reason } => self.undo(&mut state, reason).await?,
            }
        }
        Ok(state)
    }

    async fn observe_window(
        &self,
        state: &mut State,
        check: Check,
        from_us: i64,
        bad_windows: &mut usize,
    ) -> Result<(), OptimizeError> {
        let wait_us = from_us.saturating_sub((self.clock)());
        if let Ok(wait) = u64::try_from(wait_us) {
            tokio::time::sleep(Duration::from_micros(wait)).await;
        }
        if self.changed_by_others(state).await? {
            return Ok(());
        }
        match self.window(&state.recommendation).await {
            Ok(Some(window)) => {
                *bad_windows = 0;
                self.keep(state, Step::WindowObserved { check, window })
                    .await
            }
            Ok(None) => bad(
                state,
                bad_windows,
                "the server's counters were reset".to_owned(),
            ),
            Err(error) => bad(state, bad_windows, error.to_string()),
        }
    }

    /// Undoes the change once, if it is still ours.
    async fn undo(&self, state: &mut State, reason: String) -> Result<(), OptimizeError> {
        if state.reverted == Reverted::NotStarted {
            if self.taken_over(state).await? {
                return Ok(());
            }
            return self.keep(state, Step::RevertStarted { reason }).await;
        }
        let undone = match self.observe(state).await {
            Ok(Observed::AsBefore) => Ok("everything is as it was".to_owned()),
            Ok(Observed::Changed(found)) => {
                return self
                    .keep(state, Step::ExternalChangeDetected { found })
                    .await;
            }
            Ok(_) => self.perform_revert(state).await,
            Err(error) => Err(error),
        };
        match undone {
            Ok(note) => self.keep(state, Step::RevertSucceeded { note }).await,
            Err(error) => {
                let reason = error.to_string();
                self.keep(state, Step::RevertFailed { reason }).await?;
                tokio::time::sleep(REVERT_PAUSE).await;
                Ok(())
            }
        }
    }

    /// After a crash: whether the change took place is asked of the system.
    async fn inspect(&self, state: &mut State) -> Result<(), OptimizeError> {
        match self.observe(state).await? {
            Observed::Ours => {
                let note = "found done after an interruption".to_owned();
                self.keep(state, Step::ApplySucceeded { note }).await
            }
            Observed::AsBefore | Observed::Stateless => self.perform_apply(state).await,
            Observed::Partial(found) => {
                let reason = format!("interrupted: {found}");
                self.keep(
                    state,
                    Step::ApplyFailed {
                        reason,
                        remnant: true,
                    },
                )
                .await
            }
            Observed::Changed(found) => {
                self.keep(state, Step::ExternalChangeDetected { found })
                    .await
            }
        }
    }

    /// Whether somebody else undid or changed what we had changed, which then is told.
    async fn changed_by_others(&self, state: &mut State) -> Result<bool, OptimizeError> {
        let found = match self.observe(state).await? {
            Observed::AsBefore => "somebody undid it".to_owned(),
            Observed::Changed(found) => found,
            Observed::Partial(found) if matches!(state.applied, Applied::Succeeded { .. }) => found,
            Observed::Ours | Observed::Partial(_) | Observed::Stateless => return Ok(false),
        };
        self.keep(state, Step::ExternalChangeDetected { found })
            .await?;
        Ok(true)
    }

    /// Whether a change that took place is somebody else's business by now.
    async fn taken_over(&self, state: &mut State) -> Result<bool, OptimizeError> {
        Ok(matches!(state.applied, Applied::Succeeded { .. })
            && self.changed_by_others(state).await?)
    }

    async fn begin(
        &self,
        action: String,
        step: Step,
        recommendation: &Recommendation,
    ) -> Result<State, OptimizeError> {
        let record = Record {
            ts_us: (self.clock)(),
            action,
            step,
        };
        self.journal
            .append(event::write(&record, recommendation)?)
            .await?;
        let state = State::fold([&record])?;
        state.ok_or(OptimizeError::UnknownAction { id: record.action })
    }

    /// Keeps a step: first in the log, then in the state.
    async fn keep(&self, state: &mut State, step: Step) -> Result<(), OptimizeError> {
        let record = Record {
            // Steps are read back in the order of their times, also where the clock was set back.
            ts_us: (self.clock)().max(state.last_us + 1),
            action: state.action.clone(),
            step,
        };
        let mut after = state.clone();
        after.apply(&record)?;
        tracing::info!(
            action = state.action,
            step = record.step.name(),
            "optimizer"
        );
        self.journal
            .append(event::write(&record, &state.recommendation)?)
            .await?;
        *state = after;
        Ok(())
    }
}

/// Whether an action ended with its change kept.
pub fn is_kept(next: &Next) -> bool {
    matches!(next, Next::Wait { .. } | Next::Closed(Closure::Kept))
}

fn bad(state: &State, bad_windows: &mut usize, last: String) -> Result<(), OptimizeError> {
    *bad_windows += 1;
    if *bad_windows < BAD_WINDOWS_MAX {
        return Ok(());
    }
    Err(OptimizeError::Unmeasurable {
        id: state.action.clone(),
        failures: *bad_windows,
        last,
    })
}

fn shown(refusals: &[Refusal]) -> String {
    let all: Vec<_> = refusals.iter().map(ToString::to_string).collect();
    all.join("; ")
}
