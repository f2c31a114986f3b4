//! Indexes: created and dropped concurrently, so that nobody waits for us. What fails half-way
//! leaves an invalid index, which is found and removed.

use std::time::Duration;

use tokio::time::Instant;

use super::{ApplyFailure, Observed, POLL, Postgres};
use crate::action::{Action, INDEX_PREFIX, TableName, sql};
use crate::server::{self, ServerError};

/// An index, as the catalogue knows it.
#[derive(Debug)]
pub(super) struct Found {
    /// The table that it is on.
    pub(super) table: String,
    /// Whether queries use it.
    pub(super) valid: bool,
    /// Whether somebody is building it at this moment.
    pub(super) in_progress: bool,
    /// Whether it enforces something, or tells rows apart for replication.
    pub(super) enforces: bool,
    /// What `pg_get_indexdef` says.
    pub(super) definition: String,
}

/// Finds an index by its name.
pub(super) async fn find(
    postgres: &Postgres<'_>,
    index: &TableName,
) -> Result<Option<Found>, ServerError> {
    let row = postgres
        .row(
            "SELECT t.relname::text, i.indisvalid AND i.indisready, \
                    EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = c.oid), \
                    i.indisunique OR i.indisprimary OR i.indisexclusion OR i.indisreplident \
                      OR i.indisclustered \
                      OR EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid), \
                    pg_get_indexdef(c.oid) \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_class t ON t.oid = i.indrelid \
             WHERE n.nspname = $1 AND c.relname = $2",
            &[&index.schema, &index.name],
        )
        .await?;
    Ok(row.map(|row| Found {
        table: row.get(0),
        valid: row.get(1),
        in_progress: row.get(2),
        enforces: row.get(3),
        definition: row.get(4),
    }))
}

/// Creates our index. When that fails, what it left is removed at once, or said to be left.
pub(super) async fn create(
    postgres: &Postgres<'_>,
    action: &Action,
) -> Result<String, ApplyFailure> {
    let index = postgres.index_of(action).map_err(super::clean)?;
    let error = match postgres.execute(&sql::command(action)).await {
        Ok(_) => return Ok(format!("created {index}")),
        Err(error) => error,
    };
    // Whatever keeps it from being removed, the log knows that it may be left.
    let remnant = match find(postgres, &index).await {
        Ok(None) => false,
        Ok(Some(_)) => drop_own(postgres, &index).await.is_err(),
        Err(_) => true,
    };
    Err(ApplyFailure { error, remnant })
}

/// Drops an index of others, whose definition is in the log. It blocks nobody, so it may wait: when
/// it gives up half-way, the index is left, but invalid.
pub(super) async fn drop_other(
    postgres: &Postgres<'_>,
    action: &Action,
) -> Result<String, ApplyFailure> {
    let index = postgres.index_of(action).map_err(super::clean)?;
    match patiently(postgres, &sql::drop_index(&index)).await {
        Ok(()) => Ok(format!("dropped {index}")),
        Err(error) => {
            let left = find(postgres, &index).await;
            let remnant = !matches!(left, Ok(Some(found)) if found.valid);
            Err(ApplyFailure { error, remnant })
        }
    }
}

/// Drops an index of ours, valid or not.
pub(super) async fn drop_own(
    postgres: &Postgres<'_>,
    index: &TableName,
) -> Result<String, ServerError> {
    if !index.name.starts_with(INDEX_PREFIX) {
        return Err(postgres.unexpected(format!("{index} is not ours and will not be dropped")));
    }
    settled(postgres, index).await?;
    patiently(postgres, &sql::drop_index(index)).await?;
    Ok(format!("dropped {index}"))
}

/// Creates an index again that was dropped.
pub(super) async fn recreate(
    postgres: &Postgres<'_>,
    index: &TableName,
    definition: &str,
) -> Result<String, ServerError> {
    let command = sql::recreate_index(index, definition).ok_or_else(|| {
        postgres.unexpected(format!(
            "the saved definition is none of {index}: {definition}"
        ))
    })?;
    if let Some(found) = settled(postgres, index).await? {
        if found.valid {
            return Ok(format!("{index} is there again"));
        }
        patiently(postgres, &sql::drop_index(index)).await?;
    }
    patiently(postgres, &command).await?;
    Ok(format!("created {index} again"))
}

/// Whether our index is as we left it.
pub(super) async fn observe_created(
    postgres: &Postgres<'_>,
    action: &Action,
) -> Result<Observed, ServerError> {
    let index = postgres.index_of(action)?;
    let table = action.table().map(|t| t.name.as_str());
    Ok(match settled(postgres, &index).await? {
        None => Observed::AsBefore,
        Some(found) if Some(found.table.as_str()) != table => {
            Observed::Changed(format!("{index} is on {} now", found.table))
        }
        Some(found) if found.valid => Observed::Ours,
        Some(_) => Observed::Partial(format!("{index} is invalid")),
    })
}

/// Whether the index that we dropped is still gone.
pub(super) async fn observe_dropped(
    postgres: &Postgres<'_>,
    index: &TableName,
) -> Result<Observed, ServerError> {
    Ok(match settled(postgres, index).await? {
        None => Observed::Ours,
        Some(found) if found.valid => Observed::AsBefore,
        Some(_) => Observed::Partial(format!("{index} is invalid")),
    })
}

/// An index when nobody is building it any more: a build goes on after the session that asked for it
/// has lost its optimizer.
async fn settled(postgres: &Postgres<'_>, index: &TableName) -> Result<Option<Found>, ServerError> {
    let deadline = Instant::now() + postgres.config.cleanup_timeout;
    loop {
        let found = find(postgres, index).await?;
        if !found.as_ref().is_some_and(|f| f.in_progress) {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            let waited = server::shown(postgres.config.cleanup_timeout);
            return Err(postgres.unexpected(format!("{index} is still being built after {waited}")));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A statement that blocks nobody and may therefore wait longer than others.
async fn patiently(postgres: &Postgres<'_>, statement: &str) -> Result<(), ServerError> {
    let config = postgres.config;
    let set = |lock: Duration, all: Duration| server::set_timeouts(&postgres.client, lock, all);
    let wait = config.cleanup_timeout;
    set(wait, config.statement_timeout.max(wait))
        .await
        .map_err(|source| postgres.failed(source))?;
    let done = postgres.execute(statement).await;
    set(config.lock_timeout, config.statement_timeout)
        .await
        .map_err(|source| postgres.failed(source))?;
    done.map(|_| ())
}
