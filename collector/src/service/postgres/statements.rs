//! Statements: their counters by fingerprint, role and database. All are read without their texts, a
//! chosen part is reported, and the text of each of these is told once.

use std::collections::HashMap;

use driftline_schemas::metric::catalogue::id;
use driftline_schemas::{Component, Event, EventName};
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Statement};

use super::chooser::{Chooser, Key, Total};
use super::query::{Column, column, get};
use super::session::{MARK, Session};
use super::text::without_literals;
use crate::service::{Pass, ServiceError};

/// The longest text in an event, in characters.
const MAX_TEXT_CHARS: usize = 2_000;
/// A text is told again after so long.
const TOLD_AGAIN_US: i64 = 6 * 3_600_000_000;
/// At most so many texts are asked for at once; the rest waits for the next reading.
const MAX_TEXTS: usize = 500;
/// At most so many statements' names are kept.
const MAX_NAMED: usize = 20_000;

const DIRECTION: &str = "disk.io.direction";
const WHAT: &str = "pg_stat_statements";

/// The columns by the extension's version; the first two rank statements.
const COLUMNS: &[Column] = &[
    column(const { id("postgresql.statement.calls") }, "calls"),
    column(
        const { id("postgresql.statement.exec_time") },
        "total_exec_time / 1e3",
    ),
    column(
        const { id("postgresql.statement.plan_time") },
        "total_plan_time / 1e3",
    ),
    column(const { id("postgresql.statement.rows") }, "rows"),
    column(
        const { id("postgresql.statement.blks_hit") },
        "shared_blks_hit",
    ),
    column(
        const { id("postgresql.statement.blks_read") },
        "shared_blks_read",
    ),
    column(
        const { id("postgresql.statement.blks_dirtied") },
        "shared_blks_dirtied",
    ),
    column(
        const { id("postgresql.statement.blks_written") },
        "shared_blks_written",
    ),
    column(
        const { id("postgresql.statement.temp_blks_read") },
        "temp_blks_read",
    ),
    column(
        const { id("postgresql.statement.temp_blks_written") },
        "temp_blks_written",
    ),
    column(const { id("postgresql.statement.wal.bytes") }, "wal_bytes"),
    column(const { id("postgresql.statement.wal.fpi") }, "wal_fpi"),
    column(
        const { id("postgresql.statement.block.time") },
        "blk_read_time / 1e3",
    )
    .label(DIRECTION, "read")
    .until(10),
    column(
        const { id("postgresql.statement.block.time") },
        "blk_write_time / 1e3",
    )
    .label(DIRECTION, "write")
    .until(10),
    column(
        const { id("postgresql.statement.block.time") },
        "shared_blk_read_time / 1e3",
    )
    .label(DIRECTION, "read")
    .since(11),
    column(
        const { id("postgresql.statement.block.time") },
        "shared_blk_write_time / 1e3",
    )
    .label(DIRECTION, "write")
    .since(11),
    column(
        const { id("postgresql.statement.temp_block.time") },
        "(temp_blk_read_time + temp_blk_write_time) / 1e3",
    )
    .since(10),
];
/// The columns before the counters: database, role and fingerprint.
const KEYS: usize = 3;
/// The first version that has `pg_stat_statements_info`.
const INFO_SINCE: u32 = 9;

/// Reads the statements of one server.
#[derive(Debug, Default)]
pub(super) struct StatementReader {
    chooser: Chooser,
    named: HashMap<Key, Named>,
    /// By database: the calls and seconds of all statements since the first reading.
    sums: HashMap<u32, (f64, f64)>,
    own_seconds: f64,
    reset_us: Option<i64>,
    prepared: Option<Prepared>,
}

/// What is known of a statement beside its counters.
#[derive(Debug)]
struct Named {
    database: String,
    role: String,
    query: String,
    /// Whether it is one of ours.
    own: bool,
    named_us: i64,
}

#[derive(Debug)]
struct Prepared {
    statement: Statement,
    columns: Vec<Column>,
    schema: String,
    version: u32,
}

/// What a reading is about.
pub(super) struct Reading<'a> {
    pub(super) instance: &'a str,
    pub(super) subject: &'a str,
    /// The extension's schema, quoted.
    pub(super) schema: &'a str,
    /// The extension's version behind `1.`.
    pub(super) version: u32,
    pub(super) own_role: u32,
    pub(super) max: usize,
    pub(super) top: usize,
    /// The names of databases by object id.
    pub(super) databases: &'a HashMap<u32, String>,
}

impl StatementReader {
    /// Forgets what belongs to a session that has ended.
    pub(super) fn session_ended(&mut self) {
        self.prepared = None;
    }

    /// Reads, chooses and records. `true` where the counters have been reset since the last reading.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn read(
        &mut self,
        session: &Session,
        reading: &Reading<'_>,
        out: &mut Pass,
    ) -> Result<bool, ServiceError> {
        let rows = self.rows(session, reading).await?;
        let merged = Merged::of(&rows, self.columns().len())?;
        let strangers: Vec<i64> = merged
            .totals
            .iter()
            .filter(|total| total.key.role == reading.own_role)
            .filter(|total| !self.named.contains_key(&total.key))
            .map(|total| total.key.query)
            .collect();
        // Our own statements run in our own role; they are told apart by their text.
        let seen = self.name(session, reading, strangers, out.ts_us()).await?;
        for key in seen.keys() {
            // Those of an application in the same role are told when they are reported.
            if let Some(named) = self.named.get_mut(key).filter(|named| !named.own) {
                named.named_us = i64::MIN;
            }
        }
        let (own, others): (Vec<Total>, Vec<Total>) = merged
            .totals
            .iter()
            .partition(|total| self.is_own(&total.key));
        let chosen = self.chooser.choose(out.ts_us(), &others, reading.top);
        let again_us = out.ts_us() - TOLD_AGAIN_US;
        let unnamed: Vec<i64> = chosen
            .keys
            .iter()
            .filter(|key| {
                self.named
                    .get(key)
                    .is_none_or(|named| named.named_us < again_us)
            })
            .map(|key| key.query)
            .collect();
        let fresh = self.name(session, reading, unnamed, out.ts_us()).await?;
        self.tell(&chosen.keys, &fresh, reading, out);
        for key in &chosen.keys {
            if let (Some(named), Some(values)) = (self.named.get(key), merged.values(key)) {
                self.record(named, values, reading.instance, out);
            }
        }
        self.sum(&chosen.growth, &own, reading, out);
        self.info(session, reading, rows.len(), out).await
    }

    fn columns(&self) -> &[Column] {
        self.prepared
            .as_ref()
            .map_or(&[], |prepared| &prepared.columns)
    }

    fn is_own(&self, key: &Key) -> bool {
        self.named.get(key).is_some_and(|named| named.own)
    }

    async fn rows(
        &mut self,
        session: &Session,
        reading: &Reading<'_>,
    ) -> Result<Vec<Row>, ServiceError> {
        let failure = |error| session.failure(WHAT, &error);
        let fits = |prepared: &&Prepared| {
            prepared.schema == reading.schema && prepared.version == reading.version
        };
        let statement = match self.prepared.as_ref().filter(fits) {
            Some(prepared) => prepared.statement.clone(),
            None => {
                let columns: Vec<Column> = Column::of_version(COLUMNS, reading.version);
                let sql = counters_sql(&columns, reading);
                let statement = session.client().prepare(&sql).await.map_err(failure)?;
                self.prepared = Some(Prepared {
                    statement: statement.clone(),
                    columns,
                    schema: reading.schema.to_owned(),
                    version: reading.version,
                });
                statement
            }
        };
        session
            .client()
            .query(&statement, &[])
            .await
            .map_err(failure)
    }

    /// Asks for texts and names; returns the texts of what was not known, or not of late.
    async fn name(
        &mut self,
        session: &Session,
        reading: &Reading<'_>,
        mut queries: Vec<i64>,
        ts_us: i64,
    ) -> Result<HashMap<Key, String>, ServiceError> {
        let mut fresh = HashMap::new();
        queries.sort_unstable();
        queries.dedup();
        queries.truncate(MAX_TEXTS);
        if queries.is_empty() {
            return Ok(fresh);
        }
        if self.named.len() > MAX_NAMED {
            self.named.clear();
        }
        let sql = format!(
            "SELECT {MARK} s.dbid, s.userid, s.queryid, coalesce(d.datname, '')::text, coalesce(r.rolname, '')::text, s.query \
             FROM {}.pg_stat_statements(true) s LEFT JOIN pg_database d ON d.oid = s.dbid LEFT JOIN pg_roles r ON r.oid = s.userid \
             WHERE s.queryid = ANY($1)",
            reading.schema
        );
        for row in session
            .rows(WHAT, &sql, &[(&queries, Type::INT8_ARRAY)])
            .await?
        {
            let Some(key) = key_of(&row)? else { continue };
            let again_us = ts_us - TOLD_AGAIN_US;
            if self
                .named
                .get(&key)
                .is_some_and(|named| named.named_us >= again_us)
            {
                continue;
            }
            let text: &str = get(&row, 5, WHAT)?.unwrap_or_default();
            let own = text.contains(MARK);
            let named = Named {
                database: get(&row, 3, WHAT)?.unwrap_or_default(),
                role: get(&row, 4, WHAT)?.unwrap_or_default(),
                query: key.query.to_string(),
                own,
                named_us: ts_us,
            };
            self.named.insert(key, named);
            fresh.insert(key, without_literals(text, MAX_TEXT_CHARS));
        }
        Ok(fresh)
    }

    /// An event for each text of a reported statement that has not been told of late.
    fn tell(
        &self,
        keys: &[Key],
        fresh: &HashMap<Key, String>,
        reading: &Reading<'_>,
        out: &mut Pass,
    ) {
        let ts_us = out.ts_us();
        for key in keys {
            let (Some(text), Some(named)) = (fresh.get(key), self.named.get(key)) else {
                continue;
            };
            let attribute = |key: &str, value: &str| (key.to_owned(), value.to_owned());
            out.events.push(Event {
                ts_us,
                name: EventName::StatementSeen,
                component: Component::Postgres,
                subject: format!("{}/{}", reading.subject, named.query),
                message: text.clone(),
                attributes: vec![
                    attribute("service.instance.id", reading.instance),
                    attribute("postgresql.database.name", &named.database),
                    attribute("postgresql.rolname", &named.role),
                    attribute("postgresql.queryid", &named.query),
                    attribute("db.query.text", text),
                ],
            });
        }
    }

    fn record(&self, named: &Named, values: &[Option<f64>], instance: &str, out: &mut Pass) {
        let common = [
            ("service.instance.id", instance),
            ("postgresql.database.name", named.database.as_str()),
            ("postgresql.rolname", named.role.as_str()),
            ("postgresql.queryid", named.query.as_str()),
        ];
        for (column, value) in self.columns().iter().zip(values) {
            if let Some(value) = value {
                column.record(&common, *value, &mut out.recorder);
            }
        }
    }

    /// Adds up what is new and records the sums.
    fn sum(&mut self, growth: &[Total], own: &[Total], reading: &Reading<'_>, out: &mut Pass) {
        for total in growth {
            let sums = self.sums.entry(total.key.database).or_default();
            sums.0 += total.calls;
            sums.1 += total.seconds;
        }
        let instance = ("service.instance.id", reading.instance);
        for (database, (calls, seconds)) in &self.sums {
            let Some(name) = reading.databases.get(database) else {
                continue;
            };
            let labels = || [instance, ("postgresql.database.name", name.as_str())];
            let recorder = &mut out.recorder;
            recorder.record(
                const { id("postgresql.statements.calls") },
                &mut labels(),
                *calls,
            );
            recorder.record(
                const { id("postgresql.statements.exec_time") },
                &mut labels(),
                *seconds,
            );
        }
        // Kept from shrinking when some of ours are evicted.
        self.own_seconds = own
            .iter()
            .map(|total| total.seconds)
            .sum::<f64>()
            .max(self.own_seconds);
        let metric = const { id("postgresql.driftline.exec_time") };
        out.recorder
            .record(metric, &mut [instance], self.own_seconds);
    }

    /// How many there are, how often rare ones were dropped, and whether all began anew.
    async fn info(
        &mut self,
        session: &Session,
        reading: &Reading<'_>,
        count: usize,
        out: &mut Pass,
    ) -> Result<bool, ServiceError> {
        let instance = ("service.instance.id", reading.instance);
        let tracked = const { id("postgresql.statements.tracked") };
        out.recorder.record(tracked, &mut [instance], count as f64);
        if reading.version < INFO_SINCE {
            return Ok(false);
        }
        let sql = format!(
            "SELECT {MARK} dealloc::float8, (extract(epoch FROM stats_reset) * 1e6)::int8 FROM {}.pg_stat_statements_info",
            reading.schema
        );
        let rows = session.rows(WHAT, &sql, &[]).await?;
        let Some(row) = rows.first() else {
            return Ok(false);
        };
        if let Some(evictions) = get::<f64>(row, 0, WHAT)? {
            let metric = const { id("postgresql.statements.evictions") };
            out.recorder.record(metric, &mut [instance], evictions);
        }
        let reset_us: Option<i64> = get(row, 1, WHAT)?;
        let before = std::mem::replace(&mut self.reset_us, reset_us);
        Ok(before.is_some() && before != reset_us)
    }
}

fn counters_sql(columns: &[Column], reading: &Reading<'_>) -> String {
    let values: Vec<String> = columns.iter().map(Column::as_float).collect();
    // The function without texts spares the server the reading of its file.
    format!(
        "SELECT {MARK} dbid, userid, queryid, {} FROM {}.pg_stat_statements(false) WHERE queryid IS NOT NULL ORDER BY total_exec_time DESC LIMIT {}",
        values.join(", "),
        reading.schema,
        reading.max
    )
}

fn key_of(row: &Row) -> Result<Option<Key>, ServiceError> {
    let (database, role) = (get(row, 0, WHAT)?, get(row, 1, WHAT)?);
    let query = get(row, 2, WHAT)?;
    Ok(match (database, role, query) {
        (Some(database), Some(role), Some(query)) => Some(Key {
            database,
            role,
            query,
        }),
        _ => None,
    })
}

/// The rows by key: statements that also run inside functions have two.
struct Merged {
    totals: Vec<Total>,
    values: Vec<Option<f64>>,
    width: usize,
    at: HashMap<Key, usize>,
}

impl Merged {
    fn of(rows: &[Row], width: usize) -> Result<Self, ServiceError> {
        let mut merged = Self {
            totals: Vec::with_capacity(rows.len()),
            values: Vec::with_capacity(rows.len() * width),
            width,
            at: HashMap::with_capacity(rows.len()),
        };
        for row in rows {
            let Some(key) = key_of(row)? else { continue };
            let at = merged.at.get(&key).copied();
            let at = at.unwrap_or_else(|| merged.add(key));
            for column in 0..width {
                if let Some(value) = get::<f64>(row, KEYS + column, WHAT)? {
                    *merged.values[at * width + column].get_or_insert(0.0) += value;
                }
            }
            let value = |column: usize| merged.values[at * width + column].unwrap_or_default();
            let (calls, seconds) = (value(0), value(1));
            (merged.totals[at].calls, merged.totals[at].seconds) = (calls, seconds);
        }
        Ok(merged)
    }

    fn add(&mut self, key: Key) -> usize {
        let at = self.totals.len();
        self.totals.push(Total {
            key,
            calls: 0.0,
            seconds: 0.0,
        });
        self.values.resize(self.values.len() + self.width, None);
        self.at.insert(key, at);
        at
    }

    fn values(&self, key: &Key) -> Option<&[Option<f64>]> {
        let at = self.at.get(key)? * self.width;
        Some(&self.values[at..at + self.width])
    }
}
