//! What is asked of servers and of the machine: dry runs, windows, whether a change is still ours.

use tokio_postgres::error::SqlState;

use super::{OptimizeError, Optimizer};
use crate::action::postgres::{Observed, Postgres};
use crate::action::redis::Redis;
use crate::action::{Action, ActionKind, Plan, hypothetical, sql};
use crate::config::ServerKind;
use crate::gate::{self, Approval, Known, Refusal};
use crate::host;
use crate::journal::Journal;
use crate::measure::{self, Window};
use crate::protocol::{State, next_step};
use crate::recommendation::{Recommendation, Verification};
use crate::server::lock::{self, Lock};
use crate::server::{self, ServerError};
use crate::warm::loader;

impl<J: Journal> Optimizer<J> {
    /// The dry run, and everything that stands against applying a recommendation now, given where
    /// all other actions stand.
    pub(super) async fn gate(
        &self,
        recommendation: &Recommendation,
        approval: Option<&Approval>,
        others: &[State],
    ) -> Result<(Option<Plan>, Vec<Refusal>), OptimizeError> {
        let Some(action) = &recommendation.action else {
            return Ok((None, vec![Refusal::AdviceOnly]));
        };
        let plan = self.dry_run(recommendation, action).await?;
        let mut known = self.known(recommendation, &plan, others);
        known.cpu_busy_percent = host::cpu_busy_percent().await;
        let estimated = hypothetical::estimated(recommendation, &plan);
        let mut refusals = gate::refusals(&self.config, &estimated, approval, &known);
        refusals.extend(plan.problems.iter().cloned().map(Refusal::Plan));
        Ok((Some(plan), refusals))
    }

    fn known(&self, recommendation: &Recommendation, plan: &Plan, others: &[State]) -> Known {
        let now_us = (self.clock)();
        let same_server = |state: &&State| {
            state.recommendation.target == recommendation.target
                && state.recommendation.component == recommendation.component
        };
        let in_flight = others
            .iter()
            .filter(same_server)
            .find(|state| next_step(state, now_us, &self.policy).in_flight());
        let undone_us = others
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
            hypothetical: plan.hypothetical.clone(),
        }
    }

    async fn dry_run(
        &self,
        recommendation: &Recommendation,
        action: &Action,
    ) -> Result<Plan, OptimizeError> {
        let mut plan = match kind(action) {
            ServerKind::Postgres => {
                let mut plan = self.postgres_plan(recommendation, action).await?;
                plan.notes.extend(
                    recommendation
                        .database()
                        .map(|database| format!("it is done in the database {database:?}")),
                );
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

    async fn postgres_plan(
        &self,
        recommendation: &Recommendation,
        action: &Action,
    ) -> Result<Plan, OptimizeError> {
        let postgres = match self.postgres(recommendation).await {
            Ok(postgres) => postgres,
            Err(error) => return no_database(recommendation, action, error),
        };
        let mut plan = postgres.plan(action).await?;
        let view = measure::postgres::statements_view(&postgres.client, postgres.server).await?;
        if view.is_none() && recommendation.verification == Verification::Work {
            let told = "it is judged by work per call, which needs pg_stat_statements";
            plan.problems.push(told.to_owned());
        }
        // What is impossible anyway need not be explained.
        if plan.problems.is_empty() {
            let estimate = recommendation.estimate.as_ref();
            let wanted = estimate
                .map(|e| e.statements.as_slice())
                .unwrap_or_default();
            postgres
                .ask_planner(recommendation.database(), action, wanted, &mut plan)
                .await?;
        }
        self.sessions.give_back(recommendation, postgres);
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
                let postgres = self.postgres(&state.recommendation).await?;
                let observed = postgres.observe(action, inverse).await?;
                self.sessions.give_back(&state.recommendation, postgres);
                observed
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
                let postgres = self.postgres(recommendation).await?;
                let (client, server) = (&postgres.client, postgres.server);
                let estimate = recommendation.estimate.as_ref();
                let wanted = estimate
                    .map(|e| e.statements.as_slice())
                    .unwrap_or_default();
                let read = || {
                    let now_us = (self.clock)();
                    measure::postgres::read(client, server, action.table(), wanted, now_us)
                };
                let before = read().await?;
                tokio::time::sleep(self.config.window).await;
                let after = read().await?;
                self.sessions.give_back(recommendation, postgres);
                Ok(measure::postgres::window(&before, &after))
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

    /// A session with the database that a recommendation is about.
    pub(super) async fn postgres(
        &self,
        recommendation: &Recommendation,
    ) -> Result<Postgres<'_>, OptimizeError> {
        Ok(self.sessions.open(&self.config, recommendation).await?)
    }

    /// The lock of the server that an action is done to; none for advice.
    pub(super) async fn lock(
        &self,
        recommendation: &Recommendation,
    ) -> Result<Option<Lock>, OptimizeError> {
        let Some(action) = &recommendation.action else {
            return Ok(None);
        };
        let kind = kind(action);
        let server = server::find(&self.config, &recommendation.target, kind)?;
        Ok(Some(match kind {
            ServerKind::Postgres => lock::postgres(&self.config, server).await?,
            ServerKind::Redis => lock::redis(server).await?,
        }))
    }
}

/// A database that a recommendation names, and that cannot be connected to, stands against it; any
/// other error ends the plan.
fn no_database(
    recommendation: &Recommendation,
    action: &Action,
    error: OptimizeError,
) -> Result<Plan, OptimizeError> {
    let code = match &error {
        OptimizeError::Server(ServerError::Postgres { source, .. }) => source.code(),
        _ => None,
    };
    let refuses = [
        SqlState::INVALID_CATALOG_NAME,
        SqlState::INSUFFICIENT_PRIVILEGE,
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
    ];
    match recommendation.database() {
        Some(database) if code.is_some_and(|code| refuses.contains(code)) => Ok(Plan {
            command: sql::command(action),
            problems: vec![format!(
                "it is about the database {database:?}, which cannot be used: {error}"
            )],
            ..Plan::default()
        }),
        _ => Err(error),
    }
}

/// The kind of server that an action is done to.
pub(super) const fn kind(action: &Action) -> ServerKind {
    match action.kind() {
        ActionKind::RedisConfig | ActionKind::Warm => ServerKind::Redis,
        _ => ServerKind::Postgres,
    }
}
