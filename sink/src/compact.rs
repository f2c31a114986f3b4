//! Compaction: many small files of a day into one that is sorted by series and time.
//!
//! Which files to merge is a pure decision. A merge is one commit that removes the old files and
//! adds the new one without changing any row; it moves the maintenance transaction, so that of two
//! merges on one snapshot only one succeeds.

use std::collections::BTreeMap;
use std::fs::{self, File};

use deltalake_core::kernel::{Action, LogicalFileView};
use deltalake_core::protocol::DeltaOperation;
use driftline_schemas::arrow::PARTITION_COLUMN;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::parquet_file::{self, Level, RAW_PREFIX};
use crate::sink::SinkError;
use crate::steps::{Step, Steps};
use crate::table::{FileStats, MAINTENANCE_APP, Table, TableError, TableName, arrow_schema};

/// Rows that one merge holds in memory at most: about 250 bytes each while it sorts.
pub const MAX_MERGE_ROWS: u64 = 1 << 20;
/// Sizes of sorted files, in rows, that count as equal: each tier is this many times the one before.
const TIER_FACTOR: u64 = 8;
/// The same of rollups, whose rows carry a sketch: some 500 bytes each.
pub const MAX_MERGE_ROLLUPS: u64 = 1 << 18;

/// What the decision needs to know of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) path: String,
    pub(crate) date: String,
    pub(crate) rows: u64,
    /// Smallest `ts`, where it is known.
    pub(crate) first_us: Option<i64>,
}

impl Candidate {
    fn is_raw(&self) -> bool {
        self.path
            .rsplit('/')
            .next()
            .is_some_and(|name| name.starts_with(RAW_PREFIX))
    }

    /// Raw files are tier 0, sorted ones a tier by their size.
    fn tier(&self) -> u32 {
        if self.is_raw() {
            0
        } else {
            1 + self.rows.max(1).ilog(TIER_FACTOR)
        }
    }
}

/// The files to merge next: the lowest tier of a day that holds at least `least` files. Of days
/// before `today` two raw files are enough, since no more will come.
pub(crate) fn choose(
    files: &[Candidate],
    least: usize,
    most_rows: u64,
    today: &str,
) -> Option<Vec<Candidate>> {
    let mut tiers: BTreeMap<(&str, u32), Vec<&Candidate>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.rows < most_rows) {
        tiers
            .entry((&file.date, file.tier()))
            .or_default()
            .push(file);
    }
    for ((date, tier), mut group) in tiers {
        let enough = if tier == 0 && date < today {
            2
        } else {
            least.max(2)
        };
        if group.len() < enough {
            continue;
        }
        // Files that are near in time stay so, which lets readers of a time leave the others out.
        group.sort_by(|a, b| (a.first_us, &a.path).cmp(&(b.first_us, &b.path)));
        let mut rows = 0;
        let chosen: Vec<Candidate> = group
            .into_iter()
            .take_while(|file| {
                rows += file.rows;
                rows <= most_rows
            })
            .cloned()
            .collect();
        if chosen.len() >= 2 {
            return Some(chosen);
        }
    }
    None
}

/// What a merge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    /// Files replaced.
    pub files: usize,
    /// Rows in the new file.
    pub rows: u64,
    /// Bytes before.
    pub bytes_before: u64,
    /// Bytes after.
    pub bytes_after: u64,
}

/// Merges once, if there is something to merge. The table is refreshed first.
pub async fn compact_once(
    table: &mut Table,
    least: usize,
    now_ms: i64,
    steps: &Steps,
) -> Result<Option<Merged>, SinkError> {
    table.refresh().await?;
    let candidates: Vec<Candidate> = table.state().log_data().iter().map(candidate).collect();
    let today = crate::batch::Day::of(now_ms.saturating_mul(1_000)).to_date();
    let most_rows = if TableName::ROLLUPS.contains(&table.name()) {
        MAX_MERGE_ROLLUPS
    } else {
        MAX_MERGE_ROWS
    };
    let Some(chosen) = choose(&candidates, least, most_rows, &today) else {
        return Ok(None);
    };
    let merged = merge(table, &chosen, now_ms, steps).await;
    match merged {
        Err(SinkError::Table(TableError::Conflict { .. })) => Ok(None),
        result => result.map(Some),
    }
}

async fn merge(
    table: &mut Table,
    chosen: &[Candidate],
    now_ms: i64,
    steps: &Steps,
) -> Result<Merged, SinkError> {
    let mut batches = Vec::new();
    for file in chosen {
        read_file(table, &file.path, &mut batches)?;
    }
    let schema = arrow_schema(table.name());
    let sorted = crate::sort::sorted(table.name(), &schema, &batches)?;
    drop(batches);
    let rows = sorted.num_rows() as u64;
    let expected: u64 = chosen.iter().map(|file| file.rows).sum();
    if rows != expected {
        return Err(maintenance(
            "merge files whose row counts do not add up",
            table,
        )(
            format!("{rows} rows instead of {expected}").into()
        ));
    }
    let date = &chosen[0].date;
    let add = parquet_file::write(table.root(), date, Level::Compacted, &[sorted], now_ms)?;
    steps.reached(Step::Compacting);
    let new_path = table.root().join(&add.path);
    let bytes_after = add.size as u64;
    let names: Vec<&str> = chosen.iter().map(|file| file.path.as_str()).collect();
    let old: Vec<LogicalFileView> = table
        .state()
        .log_data()
        .iter()
        .filter(|view| names.contains(&&*view.path()))
        .collect();
    let bytes_before = old.iter().map(|view| view.size() as u64).sum();
    let mut actions: Vec<Action> = old
        .iter()
        .map(|view| Action::Remove(view.remove_action(false)))
        .collect();
    actions.push(Action::Add(add));
    let operation = DeltaOperation::Optimize {
        predicate: None,
        target_size: 0,
    };
    let turn = table
        .transaction(MAINTENANCE_APP)
        .await?
        .unwrap_or_default()
        + 1;
    let committed = table
        .commit(actions, &[(MAINTENANCE_APP.to_owned(), turn)], operation)
        .await;
    if let Err(error) = committed {
        // Nothing names the new file; where it cannot be removed, the vacuum finds it.
        let _ = fs::remove_file(&new_path);
        return Err(error.into());
    }
    steps.reached(Step::Compacted);
    Ok(Merged {
        files: chosen.len(),
        rows,
        bytes_before,
        bytes_after,
    })
}

fn candidate(view: LogicalFileView) -> Candidate {
    let date = view
        .partition_values_map()
        .remove(PARTITION_COLUMN)
        .flatten();
    let stats = FileStats::parse(view.stats().as_deref());
    Candidate {
        path: view.path().into_owned(),
        date: date.unwrap_or_default(),
        rows: stats.rows,
        first_us: stats.min_ts_us,
    }
}

fn read_file(
    table: &Table,
    path: &str,
    batches: &mut Vec<arrow::array::RecordBatch>,
) -> Result<(), SinkError> {
    let fail = maintenance("read a file to merge", table);
    let file = File::open(table.root().join(path)).map_err(|error| fail(error.into()))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(|builder| builder.with_batch_size(1 << 16).build())
        .map_err(|error| fail(error.into()))?;
    for batch in reader {
        batches.push(batch?);
    }
    Ok(())
}

fn maintenance(
    op: &'static str,
    table: &Table,
) -> impl Fn(Box<dyn std::error::Error + Send + Sync>) -> SinkError + use<> {
    let path = table.root().to_path_buf();
    move |source| SinkError::Maintenance {
        op,
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, date: &str, rows: u64) -> Candidate {
        Candidate {
            path: format!("date={date}/{name}.parquet"),
            date: date.to_owned(),
            rows,
            first_us: None,
        }
    }

    #[test]
    fn raw_files_are_merged_when_there_are_enough_or_their_day_is_over() {
        let two = [
            file("raw-a", "2026-01-01", 10),
            file("raw-b", "2026-01-01", 10),
        ];
        assert_eq!(choose(&two, 3, MAX_MERGE_ROWS, "2026-01-01"), None);
        assert_eq!(
            choose(&two, 3, MAX_MERGE_ROWS, "2026-01-02").map(|chosen| chosen.len()),
            Some(2)
        );
        assert_eq!(
            choose(&two, 2, MAX_MERGE_ROWS, "2026-01-01").map(|chosen| chosen.len()),
            Some(2)
        );
    }

    #[test]
    fn files_of_unequal_size_or_day_are_left_apart() {
        let files = [
            file("sorted-a", "2026-01-01", 100),
            file("sorted-b", "2026-01-01", 100_000),
            file("sorted-c", "2026-01-02", 100),
        ];
        assert_eq!(choose(&files, 2, MAX_MERGE_ROWS, "2026-01-03"), None);
    }

    #[test]
    fn a_merge_never_holds_more_than_its_bound() {
        let many: Vec<_> = (0..40)
            .map(|at| file(&format!("raw-{at:02}"), "2026-01-01", MAX_MERGE_ROWS / 8))
            .collect();
        let rows: u64 = choose(&many, 3, MAX_MERGE_ROWS, "2026-01-01")
            .expect("chosen")
            .iter()
            .map(|f| f.rows)
            .sum();
        assert!(
            rows <= MAX_MERGE_ROWS && rows > MAX_MERGE_ROWS / 2,
            "{rows}"
        );
    }

    /// However long it runs, the number of files stays logarithmic in the number of rows.
    #[test]
    fn live_files_stay_few_through_ten_thousand_commits() {
        let mut files: Vec<Candidate> = Vec::new();
        let mut most = 0;
        for commit in 0..10_000 {
            files.push(file(&format!("raw-{commit:05}"), "2026-01-01", 500));
            while let Some(chosen) = choose(&files, 12, MAX_MERGE_ROWS, "2026-01-01") {
                let rows = chosen.iter().map(|file| file.rows).sum();
                files.retain(|file| !chosen.contains(file));
                files.push(file(&format!("sorted-{commit:05}"), "2026-01-01", rows));
            }
            most = most.max(files.len());
        }
        assert!(most <= 60, "{most} files");
    }
}
