//! What is asked of servers and of the machine: dry runs, windows, whether a change is still ours.

use tokio_postgres::Client;

use super::{OptimizeError, Optimizer};
use crate::action::postgres::{Observed, Postgres};
use crate::action::redis::Redis;
use crate::action::{Action, ActionKind, Plan};
use crate::config::ServerKind;
use crate::gate::{self, Approval, Known, Refusal};
use crate::host;
use crate::journal::Journal;
use crate::measure::{self, Window};
use crate::protocol::{State, next_step};
use crate::recommendation::{Recommendation, Verification};
use crate::server;
use crate::warm::loader;

impl<J: Journal> Optimizer<J> {
    /// The dry run, and everything that stands against applying a recommendation now. `own` is the
    /// action that asks, which does not stand against itself.
    pub(super) async fn gate(
        &self,
        recommendation: &Recommendation,
        approval: Option<&Approval>,
        states: &[State],
        own: Option<&str>,
    ) -> Result<(Option<Plan>, Vec<Refusal>), OptimizeError> {
        let Some(action) = &recommendation.action else {
            return Ok((None, vec![Refusal::AdviceOnly]));
        };
        let plan = self.dry_run(recommendation, action).await?;
        let known = self.known(recommendation, &plan, states, own);
        let mut refusals = gate::refusals(&self.config, recommendation, approval, &known);
        refusals.extend(plan.problems.iter().cloned().map(Refusal::Plan));
        Ok((Some(plan), refusals))
    }

    fn known(
        &self,
        recommendation: &Recommendation,
        plan: &Plan,
        states: &[State],
        own: Option<&str>,
    ) -> Known {
        let now_us = (self.clock)();
        let same_server = |state: &&State| {
            state.recommendation.target == recommendation.target
                && state.recommendation.component == recommendation.component
                && own != Some(state.action.as_str())
        };
        let in_flight = states
            .iter()
            .filter(same_server)
            .find(|state| next_step(state, now_us, &self.policy).in_flight());
        let undone_us = states
            .iter()
            .filter(same_server)
            .filter(|state| state.recommendation.subject == recommendation.subject)
            .filter_map(State::undone_us)
            .max();
        let directory = self
            .config
            .server(&recommendation.target)
            .and_then(|server| server.data_directory.as_deref());
        Known {
            now_us,
            in_flight: in_flight.map(|state| state.action.clone()),
            undone_us,
            cpu_busy_percent: None,
            cpu_pressure_percent: host::cpu_pressure_percent(),
            disk: directory.and_then(host::disk),
            needs_bytes: plan.needs_bytes,
            reads_writes: plan.reads_writes,
        }
    }

    async fn dry_run(
        &self,
        recommendation: &Recommendation,
        action: &Action,
    ) -> Result<Plan, OptimizeError> {
        let mut plan = match kind(action) {
            ServerKind::Postgres => {
                let server =
                    server::find(&self.config, &recommendation.target, ServerKind::Postgres)?;
                let postgres = Postgres::connect(&self.config, server).await?;
                let mut plan = postgres.plan(action).await?;
                let view = measure::postgres::statements_view(&postgres.client, server).await?;
                if view.is_none() && recommendation.verification == Verification::Work {
                    let told = "it is judged by work per call, which needs pg_stat_statements";
                    plan.problems.push(told.to_owned());
                }
                plan
            }
            ServerKind::Redis => {
                let server = server::find(&self.config, &recommendation.target, ServerKind::Redis)?;
                Redis::connect(server).await?.plan(action).await?
            }
        };
        if let Action::Warm { pattern, .. } = action
            && let Err(error) = loader::Loader::open(&self.config, pattern).await
        {
            plan.problems.push(error.to_string());
        }
        Ok(plan)
    }

    /// Whether the change is as we left it.
    pub(super) async fn observe(&self, state: &State) -> Result<Observed, OptimizeError> {
        let (Some(action), Some(inverse)) = (&state.recommendation.action, &state.inverse) else {
            return Ok(Observed::Stateless);
        };
        let target = &state.recommendation.target;
        Ok(match kind(action) {
            ServerKind::Postgres => {
                let server = server::find(&self.config, target, ServerKind::Postgres)?;
                let postgres = Postgres::connect(&self.config, server).await?;
                postgres.observe(action, inverse).await?
            }
            ServerKind::Redis => {
                let server = server::find(&self.config, target, ServerKind::Redis)?;
                Redis::connect(server)
                    .await?
                    .observe(action, inverse)
                    .await?
            }
        })
    }

    /// Measures one window; `None` if the counters were reset within.
    pub(super) async fn window(
        &self,
        recommendation: &Recommendation,
    ) -> Result<Option<Window>, OptimizeError> {
        let Some(action) = &recommendation.action else {
            return Ok(None);
        };
        let target = &recommendation.target;
        match kind(action) {
            ServerKind::Postgres => {
                let server = server::find(&self.config, target, ServerKind::Postgres)?;
                let client = server::postgres(&self.config, server).await?;
                let estimate = recommendation.estimate.as_ref();
                let wanted = estimate
                    .map(|e| e.statements.as_slice())
                    .unwrap_or_default();
                let read = || {
                    let now_us = (self.clock)();
                    measure::postgres::read(&client, server, action.table(), wanted, now_us)
                };
                let before = read().await?;
                tokio::time::sleep(self.config.window).await;
                Ok(measure::postgres::window(&before, &read().await?))
            }
            ServerKind::Redis => {
                let server = server::find(&self.config, target, ServerKind::Redis)?;
                let mut connection = server::redis(server).await?;
                let now_us = (self.clock)();
                let before = measure::redis::read(&mut connection, server, now_us).await?;
                tokio::time::sleep(self.config.window).await;
                let now_us = (self.clock)();
                let after = measure::redis::read(&mut connection, server, now_us).await?;
                Ok(measure::redis::window(&before, &after))
            }
        }
    }

    /// The lock of the database that an action is done to, held while it is under way. Redis has none
    /// that would not be a key among the user's.
    pub(super) async fn lock(&self, state: &State) -> Result<Option<Client>, OptimizeError> {
        let is_postgres = |action: &Action| kind(action) == ServerKind::Postgres;
        if !state
            .recommendation
            .action
            .as_ref()
            .is_some_and(is_postgres)
        {
            return Ok(None);
        }
        let target = &state.recommendation.target;
        let server = server::find(&self.config, target, ServerKind::Postgres)?;
        Ok(Some(server::lock(&self.config, server).await?))
    }
}

/// The kind of server that an action is done to.
pub(super) const fn kind(action: &Action) -> ServerKind {
    match action.kind() {
        ActionKind::RedisConfig | ActionKind::Warm => ServerKind::Redis,
        _ => ServerKind::Postgres,
    }
}
