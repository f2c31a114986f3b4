//! Asking the planner what it would do with an index that is not there, by HypoPG: only where the
//! extension is installed, in a session of its own, and without running any statement.
//!
//! Parameters stay open: each statement is prepared and explained with a generic plan, which does not
//! look at their values, so that nulls stand for them.

use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::Postgres;
use crate::action::hypothetical::{self, Explained, Explanation, Hypothetical};
use crate::action::{Action, Plan, TableName, sql, statement};
use crate::measure::postgres::{named, statements_view};
use crate::server::{self, ServerError};

/// Most statements that are explained; those that took the most time come first.
const EXPLAINED_MAX: usize = 20;
/// How long one may be planned, in milliseconds.
const EXPLAIN_TIMEOUT_MS: u32 = 5_000;

/// A statement, as `pg_stat_statements` knows it.
struct Statement {
    id: i64,
    calls: u64,
    text: String,
}

/// A session that asks the planner.
struct Planner {
    client: Client,
    /// Where names without a schema are looked for.
    path: String,
    /// How many statements were prepared: each has a name of its own, since what failed keeps its.
    prepared: usize,
}

/// Adds to `plan` what the planner expects of the index of `action` for the statements `wanted`, or
/// for all on its table where none is named; or a note why that is not known.
pub(super) async fn plan(
    postgres: &Postgres<'_>,
    database: Option<&str>,
    action: &Action,
    wanted: &[i64],
    plan: &mut Plan,
) -> Result<(), ServerError> {
    let (Some(command), Some(table)) = (sql::hypothetical_index(action), action.table()) else {
        return Ok(());
    };
    let installed = postgres
        .row(
            "SELECT quote_ident(n.nspname) FROM pg_extension e \
             JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'hypopg'",
            &[],
        )
        .await?;
    let Some(schema) = installed.map(|row| row.get::<_, String>(0)) else {
        let told = "hypopg is not installed in this database, so that the planner was not asked: \
                    the saving is what the rule estimates";
        plan.notes.push(told.to_owned());
        return Ok(());
    };
    let statements = statements(postgres, table, wanted, &mut plan.notes).await?;
    if statements.is_empty() {
        let told = "the planner was not asked: no statement could be explained";
        plan.notes.push(told.to_owned());
        return Ok(());
    }
    let client = server::postgres(postgres.config, postgres.server, database).await?;
    let mut planner = Planner::new(postgres, client, table).await?;
    let explained = planner
        .compare(&schema, &command, &statements, &mut plan.notes)
        .await;
    let reset = planner
        .client
        .batch_execute(&format!("SELECT {schema}.hypopg_reset()"))
        .await;
    let explained = explained.map_err(|source| postgres.failed(source))?;
    reset.map_err(|source| postgres.failed(source))?;
    plan.hypothetical = Hypothetical::of(explained);
    plan.notes
        .extend(plan.hypothetical.as_ref().map(Hypothetical::told));
    Ok(())
}

/// The statements that can be explained. What cannot is noted.
async fn statements(
    postgres: &Postgres<'_>,
    table: &TableName,
    wanted: &[i64],
    notes: &mut Vec<String>,
) -> Result<Vec<Statement>, ServerError> {
    let Some(view) = statements_view(&postgres.client, postgres.server).await? else {
        return Ok(Vec::new());
    };
    let query = format!(
        "SELECT queryid, sum(calls)::int8, min(query) FROM {view} \
         WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \
           AND CASE WHEN cardinality($1::int8[]) > 0 THEN queryid = ANY($1) \
               ELSE query ~* $2 AND query ~* '^\\s*(select|with|insert|update|delete)\\M' END \
         GROUP BY queryid ORDER BY sum(total_exec_time) DESC LIMIT $3"
    );
    let most = EXPLAINED_MAX as i64;
    let rows = postgres
        .rows(&query, &[&wanted, &named(Some(table)), &most])
        .await?;
    let mut all = Vec::with_capacity(rows.len());
    for row in &rows {
        let id: i64 = row.get(0);
        let text = row.get::<_, Option<String>>(2).unwrap_or_default();
        match statement::check(&text) {
            Ok(()) => all.push(Statement {
                id,
                calls: u64::try_from(row.get::<_, i64>(1)).unwrap_or(0),
                text,
            }),
            Err(why) => notes.push(format!("statement {id} is not explained: {why}")),
        }
    }
    let known: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let unknown = wanted.iter().filter(|id| !known.contains(id)).count();
    if unknown > 0 {
        notes.push(format!(
            "{unknown} of {} statements are not explained: they are unknown to pg_stat_statements, \
             or beyond the {EXPLAINED_MAX} that took the most time",
            wanted.len()
        ));
    }
    Ok(all)
}

impl Planner {
    /// Names without a schema are looked for in the table's schema first: where the application had
    /// looked for them is not known.
    async fn new(
        postgres: &Postgres<'_>,
        client: Client,
        table: &TableName,
    ) -> Result<Self, ServerError> {
        let row = client
            .query_one("SELECT current_setting('search_path')", &[])
            .await
            .map_err(|source| postgres.failed(source))?;
        let path: String = row.get(0);
        let schema = sql::identifier(&table.schema);
        Ok(Self {
            client,
            path: if path.is_empty() {
                schema
            } else {
                format!("{schema}, {path}")
            },
            prepared: 0,
        })
    }

    /// Explains each statement without and with the index. One that fails is noted.
    async fn compare(
        &mut self,
        schema: &str,
        command: &str,
        statements: &[Statement],
        notes: &mut Vec<String>,
    ) -> Result<Vec<Explained>, tokio_postgres::Error> {
        let mut before = Vec::with_capacity(statements.len());
        for statement in statements {
            match self.explain(&statement.text, None).await {
                Ok(found) => before.push((statement, found)),
                Err(why) => {
                    notes.push(format!(
                        "statement {} is not explained: {why}",
                        statement.id
                    ));
                }
            }
        }
        let create = format!("SELECT indexname FROM {schema}.hypopg_create_index($1)");
        let created = self.client.query_one(&create, &[&command]).await;
        let name: String = match created {
            Ok(row) => row.get(0),
            Err(error) if error.as_db_error().is_some() => {
                let told = server::told(&error);
                notes.push(format!("hypopg could not make the index: {told}"));
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut explained = Vec::with_capacity(before.len());
        for (statement, before) in before {
            match self.explain(&statement.text, Some(&name)).await {
                Ok(after) => explained.push(Explained {
                    id: statement.id,
                    calls: statement.calls,
                    before: before.cost,
                    after: after.cost,
                    used: after.used,
                    shape: after.shape,
                }),
                Err(why) => {
                    notes.push(format!(
                        "statement {} is not explained: {why}",
                        statement.id
                    ));
                }
            }
        }
        Ok(explained)
    }

    /// Explains one statement. `text` is one statement: the extended protocol takes no more.
    async fn explain(&mut self, text: &str, index: Option<&str>) -> Result<Explanation, String> {
        let told = |error: tokio_postgres::Error| server::told(&error);
        self.prepared += 1;
        let name = format!("driftline_explained_{}", self.prepared);
        let transaction = self.client.build_transaction().read_only(true);
        // It is rolled back when it is dropped.
        let transaction = transaction.start().await.map_err(told)?;
        let limits = format!(
            "SET LOCAL statement_timeout = {EXPLAIN_TIMEOUT_MS}; \
             SET LOCAL plan_cache_mode = force_generic_plan"
        );
        transaction.batch_execute(&limits).await.map_err(told)?;
        transaction
            .execute("SELECT set_config('search_path', $1, true)", &[&self.path])
            .await
            .map_err(told)?;
        transaction
            .execute(&format!("PREPARE {name} AS {text}"), &[])
            .await
            .map_err(told)?;
        let row = transaction
            .query_one(
                "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = $1",
                &[&name],
            )
            .await
            .map_err(told)?;
        let count = usize::try_from(row.get::<_, i32>(0)).unwrap_or(0);
        let nulls = if count == 0 {
            String::new()
        } else {
            format!(" ({})", vec!["NULL"; count].join(", "))
        };
        let rows = transaction
            .simple_query(&format!("EXPLAIN (FORMAT JSON) EXECUTE {name}{nulls}"))
            .await
            .map_err(told)?;
        let json = rows.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let json = json.ok_or("EXPLAIN told nothing")?;
        let value: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
        hypothetical::read(&value, index).ok_or_else(|| "EXPLAIN told no plan".to_owned())
    }
}
