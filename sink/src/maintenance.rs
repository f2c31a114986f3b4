//! What keeps tables quick and small: rollups, compaction, checkpoints, retention, vacuum and the
//! pruning of old log entries and watermarks. It runs beside the ingestion and never blocks it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deltalake_core::DeltaTable;
use deltalake_core::checkpoints::{cleanup_expired_logs_for, create_checkpoint};
use deltalake_core::kernel::Action;
use deltalake_core::operations::vacuum::VacuumMode;
use deltalake_core::protocol::DeltaOperation;
use driftline_schemas::arrow::PARTITION_COLUMN;

use crate::batch::Day;
use crate::compact::compact_once;
use crate::rollup::{Pass, Resolution, Roller};
use crate::sink::Chain;
use crate::steps::{Step, Steps};
use crate::table::{MAINTENANCE_APP, RETIRED_APP, Table, TableError, TableName, delta_error};
use crate::{Clock, SinkConfig, SinkError, watermark};

/// Commits between checkpoints.
const CHECKPOINT_EVERY: u64 = 50;
/// Watermark files kept below the current one, for readers of a snapshot that was just replaced.
const WATERMARKS_KEPT: usize = 64;
/// Pause between two rounds over the tables.
const ROUND: Duration = Duration::from_secs(5);
/// Rounds between two vacuums.
const VACUUM_ROUNDS: u64 = 60;
const MS_PER_DAY: i64 = 86_400_000;
/// Beyond the commit interval, how long rows may take into their table before their minute is rolled
/// up. Later ones are not lost: they cost making the minute anew.
const ROLLUP_GRACE: Duration = Duration::from_secs(5);

/// Keeps the tables of one data directory in shape.
pub struct Maintenance {
    config: SinkConfig,
    tables: Vec<(Table, u64)>,
    rollers: Vec<Roller>,
    /// The minute up to which everything was rolled up last.
    rolled_up_minute: Option<i64>,
    clock: Clock,
    steps: Arc<Steps>,
}

impl Maintenance {
    /// Opens the tables that exist.
    pub async fn open(
        data: &Path,
        config: SinkConfig,
        clock: Clock,
        steps: Arc<Steps>,
    ) -> Result<Self, SinkError> {
        let mut tables = Vec::new();
        for name in TableName::ALL {
            let table = Table::open_or_create(data, name).await?;
            let checkpointed = last_checkpoint(&table);
            tables.push((table, checkpointed));
        }
        Ok(Self {
            config,
            tables,
            rollers: Resolution::ALL.map(Roller::new).into(),
            rolled_up_minute: None,
            clock,
            steps,
        })
    }

    /// Runs round after round until told to stop. A failed round is reported and tried again.
    pub async fn run(&mut self, stop: &AtomicBool) {
        let mut round = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            if let Err(error) = self.round(round.is_multiple_of(VACUUM_ROUNDS), stop).await {
                tracing::error!(error = %Chain(&error), "table maintenance failed; it is tried again");
            }
            round += 1;
            let mut left = ROUND;
            while !left.is_zero() && !stop.load(Ordering::Relaxed) {
                let slice = left.min(Duration::from_millis(100));
                tokio::time::sleep(slice).await;
                left -= slice;
            }
        }
    }

    /// One round over all tables. Where rollups fail, the tables are still kept in shape, and the
    /// failure is the round's.
    pub async fn round(&mut self, vacuum: bool, stop: &AtomicBool) -> Result<(), SinkError> {
        // Before the retention, which removes what rollups are made from.
        let rolled_up = self.roll_up(stop).await;
        let in_shape = self.keep_in_shape(vacuum, stop).await;
        if let (Err(error), Err(_)) = (&in_shape, &rolled_up) {
            tracing::error!(error = %Chain(error), "table maintenance failed; it is tried again");
        }
        rolled_up.and(in_shape)
    }

    async fn keep_in_shape(&mut self, vacuum: bool, stop: &AtomicBool) -> Result<(), SinkError> {
        for (table, checkpointed) in &mut self.tables {
            let now_ms = self.clock.now_us() / 1_000;
            table.refresh().await?;
            if vacuum {
                let days = self.config.retention_of(table.name());
                retire_days(table, days, now_ms).await?;
            }
            let least = self.config.compact_files;
            while !stop.load(Ordering::Relaxed)
                && let Some(merged) = compact_once(table, least, now_ms, &self.steps).await?
            {
                tracing::debug!(table = table.name().as_str(), ?merged, "merged files");
            }
            if table.version() >= *checkpointed + CHECKPOINT_EVERY {
                checkpoint(table, self.config.vacuum_seconds, now_ms).await?;
                *checkpointed = table.version();
                self.steps.reached(Step::Trimming);
                prune_watermarks(table).await?;
            }
            if vacuum {
                vacuum_files(table, self.config.vacuum_seconds).await?;
            }
        }
        Ok(())
    }

    /// Rolls up what has closed or changed, once a minute.
    async fn roll_up(&mut self, stop: &AtomicBool) -> Result<(), SinkError> {
        let now_us = self.clock.now_us();
        let grace = self.config.commit_every().saturating_add(ROLLUP_GRACE);
        let closed_us = now_us.saturating_sub(i64::try_from(grace.as_micros()).unwrap_or(i64::MAX));
        let minute = closed_us.div_euclid(Resolution::Minute.width_us());
        if self.rolled_up_minute == Some(minute) {
            return Ok(());
        }
        let place = |tables: &[(Table, u64)], name| {
            let found = tables.iter().position(|(table, _)| table.name() == name);
            found.expect("invariant: every table is opened with the maintenance")
        };
        for roller in &mut self.rollers {
            let source = place(&self.tables, roller.resolution().source());
            let target = place(&self.tables, roller.resolution().table());
            let [(source, _), (target, _)] = self
                .tables
                .get_disjoint_mut([source, target])
                .expect("invariant: a rollup is not its own source");
            source.refresh().await?;
            target.refresh().await?;
            let pass = Pass {
                source,
                target,
                now_us,
                closed_us,
                stop,
                steps: &self.steps,
            };
            if !roller.pass(pass).await? {
                return Ok(());
            }
        }
        self.rolled_up_minute = Some(minute);
        Ok(())
    }
}

fn last_checkpoint(table: &Table) -> u64 {
    let path = table.root().join("_delta_log").join("_last_checkpoint");
    let text = std::fs::read(path).unwrap_or_default();
    let hint: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    hint.get("version")
        .and_then(serde_json::Value::as_u64)
        .unwrap_or_default()
}

async fn loaded(table: &Table) -> Result<DeltaTable, TableError> {
    let mut delta = DeltaTable::new(Arc::clone(table.log_store()));
    delta
        .load()
        .await
        .map_err(|source| delta_error("open", table.root(), source))?;
    Ok(delta)
}

/// Writes a checkpoint, then removes the log entries before it that are older than readers of old
/// versions are promised.
async fn checkpoint(table: &Table, keep_seconds: u64, now_ms: i64) -> Result<(), SinkError> {
    let delta = loaded(table).await?;
    let fail = |op| {
        let root = table.root().to_path_buf();
        move |source| SinkError::from(delta_error(op, &root, source))
    };
    create_checkpoint(&delta, None)
        .await
        .map_err(fail("write a checkpoint of"))?;
    let cutoff = now_ms - i64::try_from(keep_seconds).unwrap_or(i64::MAX / 1_000) * 1_000;
    let version = delta.version().unwrap_or_default();
    cleanup_expired_logs_for(version, table.log_store().as_ref(), cutoff, None)
        .await
        .map_err(fail("remove old log entries of"))?;
    Ok(())
}

async fn prune_watermarks(table: &Table) -> Result<(), SinkError> {
    let dir = table.root().join("_driftline").join("watermarks");
    let Ok(apps) = std::fs::read_dir(&dir) else {
        return Ok(());
    };
    for app in apps.filter_map(Result::ok) {
        let app = app.file_name().to_string_lossy().replace('~', "/");
        if let Some(version) = table.transaction(&app).await? {
            watermark::prune(table.root(), &app, version, WATERMARKS_KEPT)
                .map_err(TableError::from)?;
        }
    }
    Ok(())
}

/// Removes files that no version within the promise to readers names, orphans of crashes among
/// them.
async fn vacuum_files(table: &Table, keep_seconds: u64) -> Result<(), SinkError> {
    let keep = chrono::Duration::seconds(i64::try_from(keep_seconds).unwrap_or(i64::MAX / 1_000));
    loaded(table)
        .await?
        .vacuum()
        .with_mode(VacuumMode::Full)
        .with_retention_period(keep)
        .with_enforce_retention_duration(false)
        .await
        .map_err(|source| delta_error("vacuum", table.root(), source))?;
    Ok(())
}

/// Removes whole days that are older than the retention.
async fn retire_days(table: &mut Table, days: u32, now_ms: i64) -> Result<(), SinkError> {
    if days == 0 {
        return Ok(());
    }
    let first_kept = Day::of((now_ms - i64::from(days) * MS_PER_DAY).saturating_mul(1_000));
    let oldest = first_kept.to_date();
    let date_of = |view: &deltalake_core::kernel::LogicalFileView| {
        view.partition_values_map()
            .remove(PARTITION_COLUMN)
            .flatten()
    };
    let actions: Vec<Action> = table
        .state()
        .log_data()
        .iter()
        .filter(|view| date_of(view).is_some_and(|date| date < oldest))
        .map(|view| Action::Remove(view.remove_action(true)))
        .collect();
    if actions.is_empty() || table.name() == TableName::Series {
        return Ok(());
    }
    let turn = table
        .transaction(MAINTENANCE_APP)
        .await?
        .unwrap_or_default()
        + 1;
    let predicate = Some(format!("{PARTITION_COLUMN} < '{oldest}'"));
    let operation = DeltaOperation::Delete { predicate };
    // Rows of these days may still come; what was made from the whole days must then stay.
    let retired = table.transaction(RETIRED_APP).await?;
    let retired = retired.map_or(first_kept.number(), |day| day.max(first_kept.number()));
    let moves = [
        (MAINTENANCE_APP.to_owned(), turn),
        (RETIRED_APP.to_owned(), retired),
    ];
    let committed = table.commit(actions, &moves, operation).await;
    match committed {
        // The next round decides anew on what the other has left.
        Err(TableError::Conflict { .. }) => Ok(()),
        result => Ok(result?),
    }
}
