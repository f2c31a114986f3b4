//! The dry run: what would be done, and what stands against it, without changing anything.

use super::{Postgres, index, option};
use crate::action::{Action, Plan, Setting, TableName, sql};
use crate::server::ServerError;

/// The oldest version whose views are known.
const VERSION_MIN: i32 = 130_000;
/// A transaction that has been open for this long would hold up a concurrent build.
const OPEN_TRANSACTION_S: f64 = 60.0;
/// Bytes of an index entry beside its columns: item pointer, tuple header, alignment.
const ENTRY_BYTES: f64 = 20.0;
/// How much larger an index is than its entries, by its fill factor of 90 % and its upper levels.
const INDEX_OVERHEAD: f64 = 1.2;
/// Memory of sorts, over all connections, may be this share of the machine's.
const WORK_MEM_SHARE: f64 = 0.25;

/// A table as the catalogue and its counters know it.
struct Table {
    owned: bool,
    creatable: bool,
    kind: String,
    rows: f64,
    bytes: i64,
    reads: i64,
    writes: i64,
}

pub(super) async fn plan(postgres: &Postgres<'_>, action: &Action) -> Result<Plan, ServerError> {
    let mut plan = Plan {
        command: sql::command(action),
        ..Plan::default()
    };
    if let Err(error) = action.check() {
        plan.problems.push(error.to_string());
        return Ok(plan);
    }
    check_version(postgres, &mut plan).await?;
    if let Some(table) = action.table()
        && !check_table(postgres, action, table, &mut plan).await?
    {
        return Ok(plan);
    }
    if let Action::DropIndex { table, .. } = action
        && !check_old_index(postgres, action, table, &mut plan).await?
    {
        return Ok(plan);
    }
    match action {
        Action::CreateIndex { table, columns, .. } => {
            check_new_index(postgres, action, table, columns, &mut plan).await?;
        }
        Action::SetTableOption {
            table,
            option,
            value,
        } => {
            let now = option::table_option(postgres, table, *option).await?;
            if now.as_deref() == Some(option.write(*value).as_str()) {
                plan.problems
                    .push(format!("{} has that value already", option.as_str()));
            }
        }
        Action::SetSetting { setting, value } => {
            check_setting(postgres, *setting, *value, &mut plan).await?;
        }
        _ => {}
    }
    plan.inverse = postgres.inverse(action).await?.command();
    Ok(plan)
}

async fn check_version(postgres: &Postgres<'_>, plan: &mut Plan) -> Result<(), ServerError> {
    let rows = postgres
        .rows(
            "SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), \
                    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)",
            &[],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Err(postgres.unexpected("it does not tell its version".to_owned()));
    };
    let version: i32 = row.get(0);
    if version < VERSION_MIN {
        plan.problems.push(format!(
            "version {version} is too old; 13 is the first that is known"
        ));
    }
    if row.get(1) {
        plan.problems
            .push("it is a standby; name the primary as server".to_owned());
    }
    if row.get::<_, Option<bool>>(2) == Some(true) {
        plan.notes
            .push("the role is a superuser; a role that owns the tables would do".to_owned());
    }
    Ok(())
}

/// Whether there is a table to go on with.
async fn check_table(
    postgres: &Postgres<'_>,
    action: &Action,
    table: &TableName,
    plan: &mut Plan,
) -> Result<bool, ServerError> {
    let Some(found) = find_table(postgres, table).await? else {
        plan.problems.push(format!("there is no table {table}"));
        return Ok(false);
    };
    if !found.owned {
        plan.problems.push(format!("the role does not own {table}"));
    }
    if !matches!(found.kind.as_str(), "r" | "m") {
        plan.problems.push(format!("{table} is no plain table"));
    }
    if matches!(
        table.schema.as_str(),
        "pg_catalog" | "information_schema" | "pg_toast"
    ) {
        plan.problems.push(format!("{table} belongs to the system"));
    }
    plan.table_bytes = u64::try_from(found.bytes).ok();
    plan.reads_writes = u64::try_from(found.reads)
        .ok()
        .zip(u64::try_from(found.writes).ok());
    if let Action::CreateIndex { columns, .. } = action {
        if !found.creatable {
            plan.problems.push(format!(
                "the role may not create anything in {}",
                table.schema
            ));
        }
        let bytes = index_bytes(postgres, table, columns, found.rows).await?;
        plan.needs_bytes = Some(bytes);
        plan.notes
            .push(format!("the index will have about {} MB", bytes >> 20));
    }
    if let Some(seconds) = oldest_transaction_s(postgres).await? {
        let told =
            format!("a transaction has been open for {seconds:.0} s, which would hold it up");
        if seconds >= OPEN_TRANSACTION_S && concurrent(action) {
            plan.problems.push(told);
        } else if concurrent(action) {
            plan.notes.push(told);
        }
    }
    Ok(true)
}

const fn concurrent(action: &Action) -> bool {
    matches!(
        action,
        Action::CreateIndex { .. } | Action::DropIndex { .. }
    )
}

async fn find_table(
    postgres: &Postgres<'_>,
    table: &TableName,
) -> Result<Option<Table>, ServerError> {
    let row = postgres
        .row(
            "SELECT pg_has_role(c.relowner, 'USAGE'), has_schema_privilege(n.oid, 'CREATE'), \
                    c.relkind::text, c.reltuples::float8, pg_table_size(c.oid), \
                    coalesce(s.seq_scan, 0) + coalesce(s.idx_scan, 0), \
                    coalesce(s.n_tup_ins + s.n_tup_upd + s.n_tup_del, 0) \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid \
             WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'm', 'p', 'f', 'v')",
            &[&table.schema, &table.name],
        )
        .await?;
    Ok(row.map(|row| Table {
        owned: row.get(0),
        creatable: row.get(1),
        kind: row.get(2),
        rows: row.get(3),
        bytes: row.get(4),
        reads: row.get(5),
        writes: row.get(6),
    }))
}

/// The size of an index, from the columns' average widths.
async fn index_bytes(
    postgres: &Postgres<'_>,
    table: &TableName,
    columns: &[String],
    rows: f64,
) -> Result<u64, ServerError> {
    let found = postgres
        .rows(
            "SELECT avg_width FROM pg_stats \
             WHERE schemaname = $1 AND tablename = $2 AND attname = ANY($3)",
            &[&table.schema, &table.name, &columns],
        )
        .await?;
    let known: i32 = found.iter().map(|row| row.get::<_, i32>(0)).sum();
    let unknown = 8.0 * (columns.len() - found.len().min(columns.len())) as f64;
    let bytes = rows.max(0.0) * (f64::from(known) + unknown + ENTRY_BYTES) * INDEX_OVERHEAD;
    Ok(bytes as u64)
}

async fn oldest_transaction_s(postgres: &Postgres<'_>) -> Result<Option<f64>, ServerError> {
    let row = postgres
        .row(
            "SELECT max(extract(epoch FROM clock_timestamp() - xact_start))::float8 \
             FROM pg_stat_activity WHERE datname = current_database() \
             AND pid <> pg_backend_pid() AND xact_start IS NOT NULL \
             AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL)",
            &[],
        )
        .await?;
    Ok(row.and_then(|row| row.get(0)))
}

async fn check_new_index(
    postgres: &Postgres<'_>,
    action: &Action,
    table: &TableName,
    columns: &[String],
    plan: &mut Plan,
) -> Result<(), ServerError> {
    let found = postgres
        .rows(
            "SELECT a.attname::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
             JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped",
            &[&table.schema, &table.name],
        )
        .await?;
    let names: Vec<String> = found.iter().map(|row| row.get(0)).collect();
    let missing = columns.iter().filter(|column| !names.contains(column));
    plan.problems
        .extend(missing.map(|c| format!("{table} has no column {c}")));
    if let Some(index) = action.index_name()
        && index::find(postgres, &index).await?.is_some()
    {
        plan.problems.push(format!("{index} exists already"));
    }
    // An index without a predicate whose first columns are these answers the same queries.
    let covering = postgres
        .rows(
            "SELECT x.relname::text FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid \
             JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relname = $2 AND i.indisvalid AND i.indpred IS NULL \
             AND (SELECT array_agg(coalesce(a.attname::text, '') ORDER BY k.place) \
                  FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place) \
                  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number \
                  WHERE k.place <= $4) = $3",
            &[
                &table.schema,
                &table.name,
                &columns,
                &(columns.len() as i64),
            ],
        )
        .await?;
    let names = covering.iter().map(|row| row.get::<_, String>(0));
    plan.problems
        .extend(names.map(|name| format!("the index {name} begins with these columns")));
    Ok(())
}

/// Whether there is an index to go on with.
async fn check_old_index(
    postgres: &Postgres<'_>,
    action: &Action,
    table: &TableName,
    plan: &mut Plan,
) -> Result<bool, ServerError> {
    let name = postgres.index_of(action)?;
    let Some(found) = index::find(postgres, &name).await? else {
        plan.problems.push(format!("there is no index {name}"));
        return Ok(false);
    };
    if found.table != table.name {
        plan.problems.push(format!("{name} is on {}", found.table));
    }
    if found.enforces {
        plan.problems.push(format!(
            "{name} enforces a constraint, or replication needs it"
        ));
    } else if sql::recreate_index(&name, &found.definition).is_none() {
        plan.problems
            .push(format!("{name} cannot be recreated from its definition"));
    }
    plan.notes.push(format!("saved: {}", found.definition));
    Ok(true)
}

async fn check_setting(
    postgres: &Postgres<'_>,
    setting: Setting,
    value: f64,
    plan: &mut Plan,
) -> Result<(), ServerError> {
    let name = setting.as_str();
    let now = option::setting(postgres, setting).await?;
    let old = setting.write(now.value);
    plan.notes
        .push(format!("{name} is {old} now, from {}", now.source));
    if old == setting.write(value) {
        plan.problems.push(format!("{name} has that value already"));
    }
    if !matches!(now.context.as_str(), "sighup" | "user" | "superuser") {
        plan.problems.push(format!("{name} needs a restart"));
    }
    if !matches!(now.source.as_str(), "default" | "configuration file") {
        plan.problems.push(format!(
            "{name} is set by {}, which ALTER SYSTEM cannot change",
            now.source
        ));
    }
    if !now.file_known {
        let told = "the role cannot see where settings come from; grant it pg_read_all_settings";
        plan.problems.push(told.to_owned());
    }
    if !may_alter_system(postgres, setting).await? {
        let told = format!("the role may not ALTER SYSTEM SET {name}, or not pg_reload_conf()");
        plan.problems.push(told);
    }
    let more = (value - now.value).max(0.0);
    if setting == Setting::MaxWalSize {
        plan.needs_bytes = Some(more as u64);
    }
    if setting == Setting::WorkMem {
        check_work_mem(postgres, value, plan).await?;
    }
    Ok(())
}

async fn may_alter_system(postgres: &Postgres<'_>, setting: Setting) -> Result<bool, ServerError> {
    // has_parameter_privilege came with 15; before, only a superuser may.
    let row = postgres
        .row(
            "SELECT rolsuper, current_setting('server_version_num')::int >= 150000, \
                    has_function_privilege('pg_reload_conf()', 'EXECUTE') \
             FROM pg_roles WHERE rolname = current_user",
            &[],
        )
        .await?;
    let Some(row) = row else {
        return Ok(false);
    };
    let (superuser, grants, reload): (bool, bool, bool) = (row.get(0), row.get(1), row.get(2));
    if superuser || !grants {
        return Ok(superuser);
    }
    let granted = postgres
        .row(
            "SELECT has_parameter_privilege($1, 'ALTER SYSTEM')",
            &[&setting.as_str()],
        )
        .await?;
    Ok(reload && granted.is_some_and(|row| row.get(0)))
}

async fn check_work_mem(
    postgres: &Postgres<'_>,
    value: f64,
    plan: &mut Plan,
) -> Result<(), ServerError> {
    let Some(memory) = postgres.server.memory_bytes else {
        let told = "the machine's memory is not known; give the server's memory_bytes";
        plan.problems.push(told.to_owned());
        return Ok(());
    };
    let row = postgres
        .row("SELECT current_setting('max_connections')::int", &[])
        .await?;
    let connections = row.map_or(0, |row| row.get::<_, i32>(0));
    if value * f64::from(connections) > WORK_MEM_SHARE * memory as f64 {
        plan.problems.push(format!(
            "{connections} connections could take more than a quarter of the memory"
        ));
    }
    Ok(())
}
