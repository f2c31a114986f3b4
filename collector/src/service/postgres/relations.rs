//! Tables and indexes, database by database, the largest first. The server's functions are asked for
//! these alone, since its views would add up the statistics of all.

use std::collections::HashMap;

use driftline_schemas::metric::catalogue::id;
use driftline_schemas::{Component, Event, EventName};

use super::query::{ALWAYS, Label, Reader, View, column, get};
use super::session::{MARK, Session};
use super::text::without_literals;
use crate::service::{Pass, ServiceError};

const OPERATION: &str = "postgresql.operation";
const STATE: &str = "postgresql.state";
const SOURCE: &str = "postgresql.source";
/// The longest definition in an event, in characters.
const MAX_DEFINITION_CHARS: usize = 2_000;
/// At most so many definitions are remembered; then all are told again.
const MAX_DEFINITIONS: usize = 10_000;
/// Free space is measured for so many tables of a database, of at most this size each: the extension
/// reads every page that vacuum has not visited.
const MAX_MEASURED: usize = 20;
const MAX_MEASURED_BYTES: u64 = 4 << 30;

/// Options of a table that its numbers can be compared with.
const TABLE_OPTION: u32 = id("postgresql.table.setting");

/// The largest tables, `{limit}` of them, as the common table `big`. The size of a relation that
/// somebody has locked is taken from the last vacuum: asking for it would wait.
const BIG: &str = "(SELECT c.oid, c.relname, n.nspname, c.relpages, c.reltuples, c.reloptions, \
     CASE WHEN EXISTS (SELECT FROM pg_locks l WHERE l.relation = c.oid AND l.mode = 'AccessExclusiveLock' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())) \
     THEN c.relpages * current_setting('block_size')::int8 ELSE pg_relation_size(c.oid) END AS bytes \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast' \
     ORDER BY c.relpages DESC, c.oid LIMIT {limit}) b";

const TABLES: View = View {
    name: "the statistics of tables",
    labels: &[
        ("postgresql.schema.name", "b.nspname"),
        ("postgresql.table.name", "b.relname"),
    ],
    columns: &[
        column(const { id("postgresql.sequential_scans") }, "pg_stat_get_numscans(b.oid)"),
        column(const { id("postgresql.table.seq_tup_read") }, "pg_stat_get_tuples_returned(b.oid)"),
        column(const { id("postgresql.table.index_scans") }, "i.scans"),
        column(const { id("postgresql.table.idx_tup_fetch") }, "coalesce(i.fetched, 0) + pg_stat_get_tuples_fetched(b.oid)"),
        column(const { id("postgresql.rows") }, "pg_stat_get_live_tuples(b.oid)").label(STATE, "live"),
        column(const { id("postgresql.rows") }, "pg_stat_get_dead_tuples(b.oid)").label(STATE, "dead"),
        column(const { id("postgresql.table.estimated_rows") }, "nullif(b.reltuples, -1)"),
        column(const { id("postgresql.table.modified_rows") }, "pg_stat_get_mod_since_analyze(b.oid)"),
        column(const { id("postgresql.operations") }, "pg_stat_get_tuples_inserted(b.oid)").label(OPERATION, "ins"),
        column(const { id("postgresql.operations") }, "pg_stat_get_tuples_updated(b.oid)").label(OPERATION, "upd"),
        column(const { id("postgresql.operations") }, "pg_stat_get_tuples_deleted(b.oid)").label(OPERATION, "del"),
        column(const { id("postgresql.operations") }, "pg_stat_get_tuples_hot_updated(b.oid)").label(OPERATION, "hot_upd"),
        column(const { id("postgresql.table.size") }, "b.bytes"),
        column(const { id("postgresql.table.vacuum.count") }, "pg_stat_get_vacuum_count(b.oid)").label(OPERATION, "vacuum"),
        column(const { id("postgresql.table.vacuum.count") }, "pg_stat_get_autovacuum_count(b.oid)").label(OPERATION, "autovacuum"),
        column(const { id("postgresql.table.vacuum.count") }, "pg_stat_get_analyze_count(b.oid)").label(OPERATION, "analyze"),
        column(const { id("postgresql.table.vacuum.count") }, "pg_stat_get_autoanalyze_count(b.oid)").label(OPERATION, "autoanalyze"),
        column(
            const { id("postgresql.table.vacuum.age") },
            "extract(epoch FROM clock_timestamp() - greatest(pg_stat_get_last_vacuum_time(b.oid), pg_stat_get_last_autovacuum_time(b.oid)))",
        ),
        column(
            const { id("postgresql.table.analyze.age") },
            "extract(epoch FROM clock_timestamp() - greatest(pg_stat_get_last_analyze_time(b.oid), pg_stat_get_last_autoanalyze_time(b.oid)))",
        ),
        column(const { id("postgresql.blocks_read") }, "pg_stat_get_blocks_hit(b.oid)").label(SOURCE, "heap_hit"),
        column(const { id("postgresql.blocks_read") }, "pg_stat_get_blocks_fetched(b.oid) - pg_stat_get_blocks_hit(b.oid)").label(SOURCE, "heap_read"),
        column(const { id("postgresql.blocks_read") }, "i.hit").label(SOURCE, "idx_hit"),
        column(const { id("postgresql.blocks_read") }, "i.read").label(SOURCE, "idx_read"),
    ],
    from: "FROM {big} LEFT JOIN LATERAL (SELECT sum(pg_stat_get_numscans(x.indexrelid)) AS scans, sum(pg_stat_get_tuples_fetched(x.indexrelid)) AS fetched, \
           sum(pg_stat_get_blocks_hit(x.indexrelid)) AS hit, sum(pg_stat_get_blocks_fetched(x.indexrelid) - pg_stat_get_blocks_hit(x.indexrelid)) AS read \
           FROM pg_index x WHERE x.indrelid = b.oid HAVING count(*) > 0) i ON true",
    versions: ALWAYS,
};

/// Twins have all in common that makes two indexes of a table interchangeable.
const INDEXES: View = View {
    name: "the statistics of indexes",
    labels: &[
        ("postgresql.schema.name", "nspname"),
        ("postgresql.table.name", "table_name"),
        ("postgresql.index.name", "index_name"),
    ],
    columns: &[
        column(const { id("postgresql.index.scans") }, "pg_stat_get_numscans(oid)"),
        column(const { id("postgresql.index.tup_read") }, "pg_stat_get_tuples_returned(oid)"),
        column(const { id("postgresql.index.size") }, "bytes"),
        column(const { id("postgresql.index.valid") }, "(indisvalid AND indisready)::int"),
        column(const { id("postgresql.index.required") }, "required::int"),
        column(
            const { id("postgresql.index.last_scan.age") },
            "extract(epoch FROM clock_timestamp() - pg_stat_get_lastscan(oid))",
        )
        .since(16),
    ],
    from: "FROM {indexes} i",
    versions: ALWAYS,
};

/// Indexes of the largest tables, largest first.
const ALL_INDEXES: &str = "(SELECT x.indexrelid AS oid, x.indrelid, b.nspname, b.relname AS table_name, c.relname AS index_name, x.indisvalid, x.indisready, \
     CASE WHEN EXISTS (SELECT FROM pg_locks l WHERE l.relation = x.indexrelid AND l.mode = 'AccessExclusiveLock') \
     THEN c.relpages * current_setting('block_size')::int8 ELSE pg_relation_size(c.oid) END AS bytes, \
     x.indisunique OR x.indisprimary OR x.indisexclusion OR x.indisreplident OR EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = x.indexrelid) AS required, \
     concat_ws('|', x.indrelid, c.relam, x.indkey, x.indclass, x.indcollation, x.indoption, x.indnkeyatts, pg_get_expr(x.indexprs, x.indrelid), pg_get_expr(x.indpred, x.indrelid)) AS shape \
     FROM {big} JOIN pg_index x ON x.indrelid = b.oid JOIN pg_class c ON c.oid = x.indexrelid \
     ORDER BY c.relpages DESC, c.oid LIMIT {index_limit})";

/// How many relations are read of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) tables: usize,
    pub(super) indexes: usize,
}

impl Limits {
    /// The share of the first of so many databases: what one leaves, the next ones have.
    pub(super) fn share(self, databases: usize) -> Self {
        let share = |all: usize| all.div_ceil(databases.max(1));
        Self {
            tables: share(self.tables),
            indexes: share(self.indexes),
        }
    }

    fn fill(self, sql: &str) -> String {
        sql.replace("{indexes}", ALL_INDEXES)
            .replace("{big}", BIG)
            .replace("{limit}", &self.tables.to_string())
            .replace("{index_limit}", &self.indexes.to_string())
    }
}

/// Reads the relations of all databases of a server.
#[derive(Debug, Default)]
pub(super) struct RelationReader {
    /// The definitions that were told, by database, schema and index.
    told: HashMap<String, String>,
}

/// A database that is read.
pub(super) struct Place<'a> {
    pub(super) instance: &'a str,
    pub(super) subject: &'a str,
    pub(super) database: &'a str,
    pub(super) version: u32,
    pub(super) limits: Limits,
}

impl<'a> Place<'a> {
    fn labels(&self) -> [Label<'a>; 2] {
        [
            ("service.instance.id", self.instance),
            ("postgresql.database.name", self.database),
        ]
    }
}

impl RelationReader {
    /// Reads tables and indexes over a session with their database; returns how many there were.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn read(
        &mut self,
        session: &Session,
        place: &Place<'_>,
        out: &mut Pass,
    ) -> Result<Limits, ServiceError> {
        let mut counts = [0; 2];
        for (at, view) in [&TABLES, &INDEXES].into_iter().enumerate() {
            let Some(reader) = Reader::new(view, place.version) else {
                continue;
            };
            let sql = place.limits.fill(reader.sql());
            let rows = session.rows(reader.name(), &sql, &[]).await?;
            for row in &rows {
                reader.record(row, &place.labels(), &mut out.recorder)?;
            }
            counts[at] = rows.len();
        }
        self.options(session, place, out).await?;
        self.twins(session, place, out).await?;
        self.definitions(session, place, out).await?;
        Ok(Limits {
            tables: counts[0],
            indexes: counts[1],
        })
    }

    /// How many tables there are, and the options of those that have their own.
    async fn options(
        &self,
        session: &Session,
        place: &Place<'_>,
        out: &mut Pass,
    ) -> Result<(), ServiceError> {
        let what = "the options of tables";
        let sql = format!(
            "SELECT {MARK} count(*)::float8 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
        );
        for row in session.rows(what, &sql, &[]).await? {
            if let Some(count) = get(&row, 0, what)? {
                let metric = const { id("postgresql.table.count") };
                out.recorder.record(metric, &mut place.labels(), count);
            }
        }
        let sql = place.limits.fill(&format!(
            "SELECT {MARK} b.nspname::text, b.relname::text, unnest(b.reloptions) FROM {{big}} WHERE b.reloptions IS NOT NULL"
        ));
        for row in session.rows(what, &sql, &[]).await? {
            let text = |at| get::<&str>(&row, at, what).map(Option::unwrap_or_default);
            let (schema, table, option) = (text(0)?, text(1)?, text(2)?);
            let Some((name, value)) = option.split_once('=') else {
                continue;
            };
            let Some(value) = number(value) else { continue };
            let [instance, database] = place.labels();
            let labels = &mut [
                instance,
                database,
                ("postgresql.schema.name", schema),
                ("postgresql.table.name", table),
                ("postgresql.setting.name", name),
            ];
            out.recorder.record(TABLE_OPTION, labels, value);
        }
        Ok(())
    }

    async fn twins(
        &self,
        session: &Session,
        place: &Place<'_>,
        out: &mut Pass,
    ) -> Result<(), ServiceError> {
        let what = "twins among indexes";
        let sql = place.limits.fill(&format!(
            "SELECT {MARK} nspname::text, table_name::text, index_name::text, twins::float8, twin::text FROM \
             (SELECT nspname, table_name, index_name, count(*) OVER (PARTITION BY shape) AS twins, \
             first_value(index_name) OVER (PARTITION BY shape ORDER BY required DESC, index_name) AS twin \
             FROM {{indexes}} i WHERE indisvalid) t WHERE twins > 1"
        ));
        for row in session.rows(what, &sql, &[]).await? {
            let text = |at| get::<&str>(&row, at, what).map(Option::unwrap_or_default);
            let [instance, database] = place.labels();
            let labels = &mut [
                instance,
                database,
                ("postgresql.schema.name", text(0)?),
                ("postgresql.table.name", text(1)?),
                ("postgresql.index.name", text(2)?),
                ("postgresql.index.twin", text(4)?),
            ];
            if let Some(twins) = get(&row, 3, what)? {
                let metric = const { id("postgresql.index.duplicates") };
                out.recorder.record(metric, labels, twins);
            }
        }
        Ok(())
    }

    /// Tells definitions that are new, or others than before.
    async fn definitions(
        &mut self,
        session: &Session,
        place: &Place<'_>,
        out: &mut Pass,
    ) -> Result<(), ServiceError> {
        let what = "the definitions of indexes";
        let sql = place.limits.fill(&format!(
            "SELECT {MARK} nspname::text, table_name::text, index_name::text, pg_get_indexdef(oid) FROM {{indexes}} i"
        ));
        if self.told.len() > MAX_DEFINITIONS {
            self.told.clear();
        }
        for row in session.rows(what, &sql, &[]).await? {
            let text = |at| get::<&str>(&row, at, what).map(Option::unwrap_or_default);
            let (schema, table, index) = (text(0)?, text(1)?, text(2)?);
            let definition = without_literals(text(3)?, MAX_DEFINITION_CHARS);
            let name = format!("{}.{schema}.{index}", place.database);
            if self.told.get(&name) == Some(&definition) {
                continue;
            }
            let attribute = |key: &str, value: &str| (key.to_owned(), value.to_owned());
            out.events.push(Event {
                ts_us: out.recorder.ts_us(),
                name: EventName::IndexSeen,
                component: Component::Postgres,
                subject: format!("{}/{name}", place.subject),
                message: definition.clone(),
                attributes: vec![
                    attribute("service.instance.id", place.instance),
                    attribute("postgresql.database.name", place.database),
                    attribute("postgresql.schema.name", schema),
                    attribute("postgresql.table.name", table),
                    attribute("postgresql.index.name", index),
                    attribute("db.query.text", &definition),
                ],
            });
            self.told.insert(name, definition);
        }
        Ok(())
    }

    /// Measures free and dead space with the extension, where it is there.
    ///
    /// # Errors
    /// What the server says, or that the extension is missing.
    pub(super) async fn free_space(
        &self,
        session: &Session,
        place: &Place<'_>,
        out: &mut Pass,
    ) -> Result<(), ServiceError> {
        let what = "pgstattuple_approx";
        let sql = format!(
            "SELECT {MARK} quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pgstattuple'"
        );
        let rows = session.rows(what, &sql, &[]).await?;
        let Some(row) = rows.first() else {
            return Err(ServiceError::Unavailable {
                what: format!("pgstattuple in database {}", place.database),
                remedy: "CREATE EXTENSION pgstattuple there, or leave out free_space_every".to_owned(),
            });
        };
        let schema: String = get(row, 0, what)?.unwrap_or_default();
        let limits = Limits {
            tables: MAX_MEASURED,
            indexes: 0,
        };
        let sql = limits.fill(&format!(
            "SELECT {MARK} b.nspname::text, b.relname::text, a.approx_free_percent / 100, a.dead_tuple_percent / 100 \
             FROM {{big}} CROSS JOIN LATERAL {schema}.pgstattuple_approx(b.oid) a WHERE b.bytes BETWEEN 1 AND {MAX_MEASURED_BYTES}"
        ));
        for row in session.rows(what, &sql, &[]).await? {
            let text = |at| get::<&str>(&row, at, what).map(Option::unwrap_or_default);
            for (at, metric) in [
                (2, const { id("postgresql.table.free_space.ratio") }),
                (3, const { id("postgresql.table.dead_space.ratio") }),
            ] {
                let [instance, database] = place.labels();
                let labels = &mut [
                    instance,
                    database,
                    ("postgresql.schema.name", text(0)?),
                    ("postgresql.table.name", text(1)?),
                ];
                if let Some(ratio) = get(&row, at, what)? {
                    out.recorder.record(metric, labels, ratio);
                }
            }
        }
        Ok(())
    }
}

/// The value of an option that is a number or a switch.
fn number(value: &str) -> Option<f64> {
    match value {
        "true" | "on" => Some(1.0),
        "false" | "off" => Some(0.0),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_shared_among_databases() {
        let limits = Limits {
            tables: 200,
            indexes: 3,
        };
        let expected = Limits {
            tables: 67,
            indexes: 1,
        };
        assert_eq!(limits.share(3), expected);
        assert_eq!(limits.share(0), limits);
    }

    #[test]
    fn options_are_numbers_or_switches() {
        assert_eq!(number("0.05"), Some(0.05));
        assert_eq!(number("false"), Some(0.0));
        assert_eq!(number("auto"), None);
    }
}
