//! Performing actions on PostgreSQL: dry run, inverse, change, undoing, and asking whether a change
//! is still as it was left.
//!
//! Every step may be repeated: after a crash it is not known how far the last one came.

mod hypothetical;
mod index;
mod option;
mod plan;

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::{Action, Inverse, Plan, TableName, sql};
use crate::config::{OptimizerConfig, ServerConfig};
use crate::server::{self, ServerError};

/// How often a state is asked for until it is as wanted.
const POLL: Duration = Duration::from_millis(50);

/// What the system says about a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// It is there as we leave it.
    Ours,
    /// Everything is as it was before it.
    AsBefore,
    /// It is there in part, such as an invalid index.
    Partial(String),
    /// Somebody else changed it to something else.
    Changed(String),
    /// It leaves nothing that could be asked for.
    Stateless,
}

/// Why a change could not be made.
#[derive(Debug)]
pub struct ApplyFailure {
    /// Why.
    pub error: ServerError,
    /// Whether something of it may be left.
    pub remnant: bool,
}

/// A session with the server that an action is done to.
#[derive(Debug)]
pub struct Postgres<'a> {
    /// The session.
    pub client: Client,
    /// The server.
    pub server: &'a ServerConfig,
    /// The limits.
    pub config: &'a OptimizerConfig,
}

impl<'a> Postgres<'a> {
    /// Opens a session with `database`, or with that of the server's URL.
    pub async fn connect(
        config: &'a OptimizerConfig,
        server: &'a ServerConfig,
        database: Option<&str>,
    ) -> Result<Self, ServerError> {
        Ok(Self {
            client: server::postgres(config, server, database).await?,
            server,
            config,
        })
    }

    /// A dry run.
    pub async fn plan(&self, action: &Action) -> Result<Plan, ServerError> {
        plan::plan(self, action).await
    }

    /// Adds to the dry run what the planner expects of an index that is to be created, for the
    /// statements `wanted`, or for all on its table where none is named.
    pub async fn ask_planner(
        &self,
        database: Option<&str>,
        action: &Action,
        wanted: &[i64],
        plan: &mut Plan,
    ) -> Result<(), ServerError> {
        hypothetical::plan(self, database, action, wanted, plan).await
    }

    /// What undoes `action` exactly, as things are now.
    pub async fn inverse(&self, action: &Action) -> Result<Inverse, ServerError> {
        Ok(match action {
            Action::CreateIndex { .. } => Inverse::DropIndex {
                index: self.index_of(action)?,
            },
            Action::DropIndex { .. } => {
                let index = self.index_of(action)?;
                let found = index::find(self, &index).await?;
                let found =
                    found.ok_or_else(|| self.unexpected(format!("there is no index {index}")))?;
                Inverse::RecreateIndex {
                    index,
                    definition: found.definition,
                }
            }
            Action::SetTableOption { table, option, .. } => Inverse::RestoreTableOption {
                table: table.clone(),
                option: *option,
                previous: option::table_option(self, table, *option).await?,
            },
            Action::SetSetting { setting, .. } => Inverse::RestoreSetting {
                setting: *setting,
                previous: option::setting(self, *setting).await?.altered,
            },
            Action::Analyze { .. } => Inverse::Nothing {
                why: "statistics are only brought up to date".to_owned(),
            },
            Action::Vacuum { .. } => Inverse::Nothing {
                why: "only dead rows are removed".to_owned(),
            },
            Action::RedisConfigSet { .. } | Action::Warm { .. } => {
                return Err(self.unexpected("the action is none of PostgreSQL".to_owned()));
            }
        })
    }

    /// Makes the change. What it says is worth keeping.
    pub async fn apply(&self, action: &Action) -> Result<String, ApplyFailure> {
        match action {
            Action::CreateIndex { .. } => index::create(self, action).await,
            Action::DropIndex { .. } => index::drop_other(self, action).await,
            Action::SetSetting { setting, value } => {
                option::set(self, *setting, *value).await.map_err(clean)
            }
            other => {
                self.execute(&sql::command(other)).await.map_err(clean)?;
                Ok(String::new())
            }
        }
    }

    /// Undoes a change. It may be undone already, or only in part be there.
    pub async fn revert(&self, inverse: &Inverse) -> Result<String, ServerError> {
        match inverse {
            Inverse::DropIndex { index } => index::drop_own(self, index).await,
            Inverse::RecreateIndex { index, definition } => {
                index::recreate(self, index, definition).await
            }
            Inverse::RestoreTableOption { .. } => {
                self.execute(&inverse.command()).await?;
                Ok(String::new())
            }
            Inverse::RestoreSetting { setting, previous } => {
                option::restore(self, *setting, previous.as_deref()).await
            }
            Inverse::Nothing { why } => Ok(why.clone()),
            Inverse::RestoreRedis { .. } | Inverse::UnlinkWarmed { .. } => {
                Err(self.unexpected("the inverse is none of PostgreSQL".to_owned()))
            }
        }
    }

    /// Whether the change is as we left it.
    pub async fn observe(
        &self,
        action: &Action,
        inverse: &Inverse,
    ) -> Result<Observed, ServerError> {
        match (action, inverse) {
            (Action::CreateIndex { .. }, _) => index::observe_created(self, action).await,
            (Action::DropIndex { .. }, Inverse::RecreateIndex { index, .. }) => {
                index::observe_dropped(self, index).await
            }
            (
                Action::SetTableOption {
                    table,
                    option,
                    value,
                },
                Inverse::RestoreTableOption { previous, .. },
            ) => {
                let now = option::table_option(self, table, *option).await?;
                let ours = option.write(*value);
                Ok(option::compare(now.as_deref(), &ours, previous.as_deref()))
            }
            (Action::SetSetting { setting, value }, Inverse::RestoreSetting { previous, .. }) => {
                option::observe_setting(self, *setting, *value, previous.as_deref()).await
            }
            _ => Ok(Observed::Stateless),
        }
    }

    /// One statement, never several: the extended protocol takes no more.
    async fn execute(&self, statement: &str) -> Result<u64, ServerError> {
        let done = self.client.execute(statement, &[]).await;
        done.map_err(|source| self.failed(source))
    }

    async fn rows(
        &self,
        query: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, ServerError> {
        let rows = self.client.query(query, parameters).await;
        rows.map_err(|source| self.failed(source))
    }

    async fn row(
        &self,
        query: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<tokio_postgres::Row>, ServerError> {
        let row = self.client.query_opt(query, parameters).await;
        row.map_err(|source| self.failed(source))
    }

    fn index_of(&self, action: &Action) -> Result<TableName, ServerError> {
        let index = action.index_name();
        index.ok_or_else(|| self.unexpected("the action is about no index".to_owned()))
    }

    fn failed(&self, source: tokio_postgres::Error) -> ServerError {
        server::failed(self.server, source)
    }

    fn unexpected(&self, problem: String) -> ServerError {
        ServerError::Unexpected {
            name: self.server.name.clone(),
            problem,
        }
    }
}

/// A failure that left nothing: the statement is a transaction of its own.
const fn clean(error: ServerError) -> ApplyFailure {
    ApplyFailure {
        error,
        remnant: false,
    }
}
