//! One table for DataFusion: exactly these Parquet files, and the fresh rows in memory.
//!
//! Files whose days or times cannot match are left out before the plan is made; inside of the
//! files DataFusion's Parquet reader does the same with row groups and pages.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PrunableStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DFSchema, Result, Statistics, internal_datafusion_err};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::scalar::ScalarValue;
use driftline_sink::table::{DataFile, arrow_schema};
use object_store::ObjectMeta;
use object_store::path::Path as ObjectPath;

use super::TableContents;
use super::rows::{partition_field, with_partition};

/// The bytes at a file's end that are read at once, in the hope that the metadata is among them.
const METADATA_BYTES: usize = 64 << 10;
/// Some writers of table logs cut the bounds of times to milliseconds.
const BOUND_US: i64 = 1_000;

/// A table at one version, with its fresh rows.
#[derive(Debug)]
pub(crate) struct LakeTable {
    /// The columns of the files, and the partition column.
    schema: SchemaRef,
    table_schema: TableSchema,
    files: Vec<LakeFile>,
    tail: Vec<RecordBatch>,
}

#[derive(Debug, Clone)]
struct LakeFile {
    file: PartitionedFile,
    rows: Precision<usize>,
    /// Bounds of the columns, by which a file may be left out. Wider than the truth, so never used
    /// as answers.
    bounds: Arc<Statistics>,
}

impl LakeTable {
    pub(crate) fn new(contents: &TableContents) -> Result<Self> {
        let columns = arrow_schema(contents.name);
        let schema = with_partition(&columns);
        let table_schema = TableSchema::builder(columns)
            .with_table_partition_cols(vec![Arc::new(partition_field())])
            .build();
        let files = contents.files.iter().map(|file| lake_file(file, &schema));
        Ok(Self {
            table_schema,
            files: files.collect::<Result<_>>()?,
            tail: contents.tail.clone(),
            schema,
        })
    }

    /// The files that can hold matching rows.
    fn matching(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<LakeFile>> {
        let Some(filter) = conjunction(filters.iter().cloned()) else {
            return Ok(self.files.clone());
        };
        if self.files.is_empty() {
            return Ok(Vec::new());
        }
        let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
        let filter = state.create_physical_expr(filter, &schema)?;
        let predicate = PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(&self.schema))
            .try_build(filter)?;
        let bounds = self
            .files
            .iter()
            .map(|file| Arc::clone(&file.bounds))
            .collect();
        let bounds = PrunableStatistics::new(bounds, Arc::clone(&self.schema));
        let keep = predicate.prune(&bounds)?;
        let kept = self.files.iter().zip(keep).filter(|(_, keep)| *keep);
        Ok(kept.map(|(file, _)| file.clone()).collect())
    }

    fn scan_files(
        &self,
        state: &dyn Session,
        files: Vec<LakeFile>,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let source = ParquetSource::new(self.table_schema.clone())
            .with_table_parquet_options(state.table_options().parquet.clone())
            .with_metadata_size_hint(METADATA_BYTES)
            .with_pushdown_filters(true)
            .with_reorder_filters(true);
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = files
            .iter()
            .fold(Precision::Exact(0), |sum, file| sum.add(&file.rows));
        let groups = share(files, state.config().target_partitions());
        let config =
            FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
                .with_file_groups(groups)
                .with_statistics(statistics)
                .with_projection_indices(projection.cloned())?
                .with_limit(limit)
                .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn scan_tail(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let parts = state.config().target_partitions().clamp(1, self.tail.len());
        let mut partitions = vec![Vec::new(); parts];
        for (number, batch) in self.tail.iter().enumerate() {
            partitions[number % parts].push(batch.clone());
        }
        let source = MemorySourceConfig::try_new(
            &partitions,
            Arc::clone(&self.schema),
            projection.cloned(),
        )?
        .with_limit(limit);
        Ok(DataSourceExec::from_data_source(source))
    }
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Filters choose files here and are applied in full by the plan.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut inputs = Vec::new();
        let files = self.matching(state, filters)?;
        if !files.is_empty() {
            inputs.push(self.scan_files(state, files, projection, limit)?);
        }
        if !self.tail.is_empty() {
            inputs.push(self.scan_tail(state, projection, limit)?);
        }
        if inputs.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => Arc::clone(&self.schema),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        UnionExec::try_new(inputs)
    }
}

fn lake_file(data: &DataFile, schema: &Schema) -> Result<LakeFile> {
    let place = || data.path.display().to_string();
    let location = ObjectPath::from_absolute_path(&data.path)
        .map_err(|error| internal_datafusion_err!("{} is no path of a file: {error}", place()))?;
    let date = ScalarValue::try_from_string(data.date.clone(), &DataType::Date32)?;
    let meta = ObjectMeta {
        location,
        // Files of a table never change, so nothing looks at their time.
        last_modified: Default::default(),
        size: data.size,
        e_tag: None,
        version: None,
    };
    let rows = match usize::try_from(data.rows) {
        Ok(rows) if rows > 0 => Precision::Exact(rows),
        _ => Precision::Absent,
    };
    let known = Statistics {
        num_rows: rows,
        ..Statistics::new_unknown(&file_columns(schema))
    };
    let file = PartitionedFile::new_from_meta(meta)
        .with_partition_values(vec![date.clone()])
        .with_statistics(Arc::new(known));
    Ok(LakeFile {
        file,
        rows,
        bounds: Arc::new(bounds(data, date, schema)),
    })
}

fn file_columns(schema: &Schema) -> Schema {
    let columns = schema.fields().len().saturating_sub(1);
    Schema::new(
        schema
            .fields()
            .iter()
            .take(columns)
            .cloned()
            .collect::<Vec<_>>(),
    )
}

fn bounds(data: &DataFile, date: ScalarValue, schema: &Schema) -> Statistics {
    let time = |us: Option<i64>, move_us: i64| match us.and_then(|us| us.checked_add(move_us)) {
        Some(us) => Precision::Exact(ScalarValue::TimestampMicrosecond(
            Some(us),
            Some("UTC".into()),
        )),
        None => Precision::Absent,
    };
    let mut bounds = Statistics::new_unknown(schema);
    for (field, column) in schema.fields().iter().zip(&mut bounds.column_statistics) {
        let (min_value, max_value) = match field.name().as_str() {
            "ts" => (
                time(data.min_ts_us, -BOUND_US),
                time(data.max_ts_us, BOUND_US),
            ),
            _ if *field.data_type() == DataType::Date32 => (
                Precision::Exact(date.clone()),
                Precision::Exact(date.clone()),
            ),
            _ => continue,
        };
        *column = ColumnStatistics {
            min_value,
            max_value,
            ..ColumnStatistics::new_unknown()
        };
    }
    bounds
}

/// Shares files among partitions, the largest first to whoever has least.
fn share(mut files: Vec<LakeFile>, partitions: usize) -> Vec<FileGroup> {
    files.sort_by_key(|file| std::cmp::Reverse(file.file.object_meta.size));
    let parts = partitions.clamp(1, files.len().max(1));
    let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, Vec::new()); parts];
    for file in files {
        if let Some(least) = groups.iter_mut().min_by_key(|group| group.0) {
            least.0 += file.file.object_meta.size;
            least.1.push(file.file);
        }
    }
    groups
        .into_iter()
        .map(|(_, files)| FileGroup::new(files))
        .collect()
}
