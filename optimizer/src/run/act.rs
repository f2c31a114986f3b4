//! What changes servers: freezing the baseline with the inverse, applying, undoing.

use super::look::kind;
use super::{OptimizeError, Optimizer};
use crate::action::redis::Redis;
use crate::action::{Action, Inverse, WarmKey, sql};
use crate::config::{ServerConfig, ServerKind};
use crate::journal::Journal;
use crate::protocol::{State, Step};
use crate::server;
use crate::verify::{self, Spec};
use crate::warm::perform::{Warmer, unlink};

impl<J: Journal> Optimizer<J> {
    /// Measures windows until they suffice as a baseline, and keeps them with the inverse.
    pub(super) async fn freeze(&self, state: &mut State) -> Result<(), OptimizeError> {
        let mut windows = Vec::new();
        let mut missing = String::new();
        for _ in 0..self.policy.windows_max {
            let Some(window) = self.window(&state.recommendation).await? else {
                windows.clear();
                continue;
            };
            windows.push(window);
            let limits = &self.policy.verify;
            let spec = Spec::of(&state.recommendation, self.policy.windows_min, limits);
            match spec.map(|spec| verify::baseline_suffices(&spec, &windows)) {
                Some(Ok(())) => {
                    let inverse = self.inverse(state).await?;
                    return self
                        .keep(state, Step::BaselineFrozen { windows, inverse })
                        .await;
                }
                Some(Err(why)) => missing = why,
                None => break,
            }
        }
        let reason = format!("too little traffic for a baseline: {missing}");
        let remnant = false;
        self.keep(state, Step::ApplyFailed { reason, remnant })
            .await
    }

    /// Asks the gate once more, since measuring took its time, and makes the change.
    pub(super) async fn start(
        &self,
        state: &mut State,
        others: &[State],
    ) -> Result<(), OptimizeError> {
        let (_, refusals) = self
            .gate(&state.recommendation, state.approved.as_ref(), others)
            .await?;
        if !refusals.is_empty() {
            let reason = format!("the gate closed meanwhile: {}", super::shown(&refusals));
            let remnant = false;
            return self
                .keep(state, Step::ApplyFailed { reason, remnant })
                .await;
        }
        // The inverse in the log must be exact: somebody may have changed the value meanwhile.
        let now = self.inverse(state).await?;
        if state.inverse.as_ref() != Some(&now) {
            let reason = "what it would undo has changed since the baseline".to_owned();
            let remnant = false;
            return self
                .keep(state, Step::ApplyFailed { reason, remnant })
                .await;
        }
        let Some(action) = state.recommendation.action.as_ref() else {
            return Ok(());
        };
        let command = sql::command(action);
        self.keep(state, Step::ApplyStarted { command }).await?;
        self.perform_apply(state).await
    }

    /// Makes the change, and keeps how that went.
    pub(super) async fn perform_apply(&self, state: &mut State) -> Result<(), OptimizeError> {
        let Some(action) = state.recommendation.action.clone() else {
            return Ok(());
        };
        let target = state.recommendation.target.clone();
        let step = match (kind(&action), &action) {
            (ServerKind::Postgres, _) => {
                let postgres = self.postgres(&state.recommendation).await?;
                match postgres.apply(&action).await {
                    Ok(note) => {
                        self.sessions.give_back(&state.recommendation, postgres);
                        Step::ApplySucceeded { note }
                    }
                    Err(failure) => Step::ApplyFailed {
                        reason: failure.error.to_string(),
                        remnant: failure.remnant,
                    },
                }
            }
            (ServerKind::Redis, Action::RedisConfigSet { parameter, value }) => {
                let server = server::find(&self.config, &target, ServerKind::Redis)?;
                let set = Redis::connect(server).await?.set(*parameter, value).await;
                outcome(set.map_err(OptimizeError::from), false)
            }
            (ServerKind::Redis, Action::Warm { pattern, keys }) => {
                let server = server::find(&self.config, &target, ServerKind::Redis)?;
                let warmed = self.warm(state, server, pattern, keys).await;
                outcome(warmed, !state.warmed.is_empty())
            }
            (ServerKind::Redis, _) => return Ok(()),
        };
        self.keep(state, step).await
    }

    async fn warm(
        &self,
        state: &mut State,
        server: &ServerConfig,
        pattern: &str,
        keys: &[WarmKey],
    ) -> Result<String, OptimizeError> {
        let seed = state.action.clone();
        let mut warmer =
            Warmer::open(&self.config, server, pattern, keys, &state.warmed, &seed).await?;
        while let Some(warmed) = warmer.step().await? {
            if !warmed.is_empty() {
                self.keep(state, Step::ApplyProgressed { warmed }).await?;
            }
        }
        let done = warmer.finish();
        let stopped = done.stopped.map(|why| format!("; stopped: {why}"));
        Ok(format!(
            "{} keys written, {} were there, {} skipped{}",
            state.warmed.len(),
            done.present,
            done.skipped,
            stopped.unwrap_or_default()
        ))
    }

    /// What undoes the action exactly, as things are now.
    async fn inverse(&self, state: &State) -> Result<Inverse, OptimizeError> {
        let Some(action) = &state.recommendation.action else {
            let why = "it is advice".to_owned();
            return Ok(Inverse::Nothing { why });
        };
        let target = &state.recommendation.target;
        Ok(match kind(action) {
            ServerKind::Postgres => {
                let postgres = self.postgres(&state.recommendation).await?;
                let inverse = postgres.inverse(action).await?;
                self.sessions.give_back(&state.recommendation, postgres);
                inverse
            }
            ServerKind::Redis => {
                let server = server::find(&self.config, target, ServerKind::Redis)?;
                Redis::connect(server).await?.inverse(action).await?
            }
        })
    }

    /// Undoes the change by the inverse in the log.
    pub(super) async fn perform_revert(&self, state: &State) -> Result<String, OptimizeError> {
        let Some(inverse) = &state.inverse else {
            return Ok("nothing was changed".to_owned());
        };
        let target = &state.recommendation.target;
        match inverse {
            Inverse::RestoreRedis {
                parameter,
                previous,
            } => {
                let server = server::find(&self.config, target, ServerKind::Redis)?;
                Ok(Redis::connect(server)
                    .await?
                    .set(*parameter, previous)
                    .await?)
            }
            Inverse::UnlinkWarmed { .. } => {
                let server = server::find(&self.config, target, ServerKind::Redis)?;
                let mut connection = server::redis(server).await?;
                let removed = unlink(&mut connection, server, &state.warmed).await?;
                Ok(format!("{removed} of {} keys removed", state.warmed.len()))
            }
            other => {
                let postgres = self.postgres(&state.recommendation).await?;
                let told = postgres.revert(other).await?;
                self.sessions.give_back(&state.recommendation, postgres);
                Ok(told)
            }
        }
    }
}

fn outcome(done: Result<String, OptimizeError>, remnant: bool) -> Step {
    match done {
        Ok(note) => Step::ApplySucceeded { note },
        Err(error) => Step::ApplyFailed {
            reason: error.to_string(),
            remnant,
        },
    }
}
