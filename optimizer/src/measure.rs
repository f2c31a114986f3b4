//! What is measured of a server: windows of work, as values that are kept in the log.
//!
//! [`postgres`] and [`redis`] read them; what they mean is left to [`crate::verify`].

pub mod postgres;
pub mod redis;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a statement did in a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatementWork {
    /// How often it ran.
    pub calls: u64,
    /// Shared, local and temporary blocks that it read or hit.
    pub blocks: u64,
    /// Temporary blocks that it wrote.
    pub temp_blocks: u64,
    /// How long it ran in all, in milliseconds.
    pub time_ms: f64,
    /// WAL that it wrote, in bytes.
    pub wal_bytes: u64,
    /// Full-page images among that.
    pub wal_images: u64,
    /// Records among that.
    pub wal_records: u64,
    /// Whether it is an INSERT, UPDATE, DELETE or MERGE.
    pub writes: bool,
}

/// What happened to a table in a window, and its state at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableWork {
    /// Rows inserted.
    pub inserts: u64,
    /// Rows updated.
    pub updates: u64,
    /// Rows updated in place of the same page.
    pub hot_updates: u64,
    /// Rows deleted.
    pub deletes: u64,
    /// Rows alive at the end.
    pub live: u64,
    /// Dead rows at the end.
    pub dead: u64,
    /// Rows changed since the last ANALYZE, at the end.
    pub modified: u64,
}

/// What a database did in a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DatabaseWork {
    /// Transactions committed.
    pub commits: u64,
    /// Transactions rolled back.
    pub rollbacks: u64,
}

/// What a cache did in a window, and its state at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheWork {
    /// Lookups that found a key.
    pub hits: u64,
    /// Lookups that found none.
    pub misses: u64,
    /// Keys evicted.
    pub evicted: u64,
    /// Commands.
    pub commands: u64,
    /// Replies that were errors.
    pub errors: u64,
    /// Memory used at the end, in bytes.
    pub used_bytes: u64,
    /// `mem_fragmentation_ratio` at the end.
    pub fragmentation: f64,
}

/// One window of measurement.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Window {
    /// When it began, in microseconds since 1970 UTC.
    pub from_us: i64,
    /// When it ended.
    pub to_us: i64,
    /// The statements, by `queryid`.
    pub statements: BTreeMap<i64, StatementWork>,
    /// The table of the action, if it has one.
    pub table: Option<TableWork>,
    /// The database.
    pub database: Option<DatabaseWork>,
    /// The cache.
    pub cache: Option<CacheWork>,
}

/// Windows added up. States are those of the last window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Total {
    /// The statements, by `queryid`.
    pub statements: BTreeMap<i64, StatementWork>,
    /// The table.
    pub table: TableWork,
    /// The database.
    pub database: DatabaseWork,
    /// The cache.
    pub cache: CacheWork,
}

impl StatementWork {
    /// Blocks per call.
    pub fn blocks_per_call(&self) -> f64 {
        per(self.blocks as f64, self.calls)
    }

    /// Milliseconds per call.
    pub fn time_per_call(&self) -> f64 {
        per(self.time_ms, self.calls)
    }

    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.blocks += other.blocks;
        self.temp_blocks += other.temp_blocks;
        self.time_ms += other.time_ms;
        self.wal_bytes += other.wal_bytes;
        self.wal_images += other.wal_images;
        self.wal_records += other.wal_records;
        self.writes |= other.writes;
    }
}

impl TableWork {
    /// The share of updates that were HOT.
    pub fn hot_share(&self) -> Option<f64> {
        (self.updates > 0).then(|| self.hot_updates as f64 / self.updates as f64)
    }

    /// The share of rows that are dead.
    pub fn dead_share(&self) -> Option<f64> {
        let rows = self.live + self.dead;
        (rows > 0).then(|| self.dead as f64 / rows as f64)
    }
}

impl DatabaseWork {
    /// The share of transactions that were rolled back.
    pub fn rollback_share(&self) -> f64 {
        per(self.rollbacks as f64, self.commits + self.rollbacks)
    }
}

impl CacheWork {
    /// Lookups.
    pub const fn lookups(&self) -> u64 {
        self.hits + self.misses
    }

    /// The share of lookups that found a key.
    pub fn hit_ratio(&self) -> Option<f64> {
        (self.lookups() > 0).then(|| self.hits as f64 / self.lookups() as f64)
    }
}

impl Total {
    /// Adds windows up.
    pub fn of<'a>(windows: impl IntoIterator<Item = &'a Window>) -> Self {
        let mut total = Self::default();
        for window in windows {
            for (id, work) in &window.statements {
                total.statements.entry(*id).or_default().add(work);
            }
            if let Some(table) = &window.table {
                let sum = &mut total.table;
                *sum = TableWork {
                    inserts: sum.inserts + table.inserts,
                    updates: sum.updates + table.updates,
                    hot_updates: sum.hot_updates + table.hot_updates,
                    deletes: sum.deletes + table.deletes,
                    ..*table
                };
            }
            if let Some(database) = &window.database {
                total.database.commits += database.commits;
                total.database.rollbacks += database.rollbacks;
            }
            if let Some(cache) = &window.cache {
                let sum = &mut total.cache;
                *sum = CacheWork {
                    hits: sum.hits + cache.hits,
                    misses: sum.misses + cache.misses,
                    evicted: sum.evicted + cache.evicted,
                    commands: sum.commands + cache.commands,
                    errors: sum.errors + cache.errors,
                    ..*cache
                };
            }
        }
        total
    }
}

/// `sum / count`, and 0 of nothing.
pub(crate) fn per(sum: f64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum / count as f64 }
}
