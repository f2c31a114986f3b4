//! The SQL engine: one DataFusion session over the tables, their views and functions, bounded in
//! memory and time, that reads and never writes.
//!
//! Printing results is left to the binary; what the tables hold is [`crate::lake`]'s.

mod error;
mod files;
mod session;
mod statement;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{CatalogProvider as _, MemoryCatalogProvider, SchemaProvider};
use datafusion::common::ParamValues;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryReservation, TrackConsumersPool,
};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::Optimizer;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{SessionConfig, SessionContext};
use driftline_sink::table::TableName;
use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

pub use self::error::EngineError;
pub(crate) use self::session::Session;
use self::tables::Tables;
use crate::functions;
use crate::lake::provider::LakeTable;
use crate::lake::{DEFAULT_TAIL_MAX_ROWS, Lake, LakeOptions};
use crate::rule::{self, Binding, Rule, RuleKind};

/// The catalog and the schema in which everything stands.
const CATALOG: &str = "driftline";
const SCHEMA: &str = "public";
/// The table `series` as it is stored: where two sinks saw a new series at once it stands twice.
const SERIES_ROWS: &str = "series_rows";
/// What the binary adds to the stored tables before any file of `queries/`.
const BASE_VIEWS: [(&str, &str); 2] = [
    (
        "series",
        "SELECT component, host, metric, labels, min(unit) AS unit, min(kind) AS kind, \
         min(category) AS category, min(better) AS better, min(ts) AS first_seen \
         FROM series_rows GROUP BY component, host, metric, labels",
    ),
    (
        "metrics",
        "SELECT component, metric, min(unit) AS unit, min(kind) AS kind, \
         min(category) AS category, min(better) AS better \
         FROM series_rows GROUP BY component, metric",
    ),
];
/// Consumers of memory that an error about too little of it names.
const CONSUMERS_NAMED: usize = 3;

/// The engine's bounds: the section `query` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Bytes of memory that queries may use; beyond it they spill to disk.
    pub memory_bytes: usize,
    /// Where they spill to; the system's directory for temporary files where it is not given.
    pub spill_dir: Option<PathBuf>,
    /// Bytes that they may spill.
    pub spill_bytes: u64,
    /// Partitions that work is shared among; 0 for the number of processors.
    pub partitions: usize,
    /// Rows of the log that are read beside the tables at most.
    pub tail_max_rows: usize,
    /// Seconds after which a query is given up.
    pub timeout_s: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            memory_bytes: 2 << 30,
            spill_dir: None,
            spill_bytes: 16 << 30,
            partitions: 0,
            tail_max_rows: DEFAULT_TAIL_MAX_ROWS,
            timeout_s: 300,
        }
    }
}

/// The part of a partition's memory that a sort keeps to merge what it has spilled; with
/// DataFusion's 10 MiB a sort of many gigabytes fails at its end.
const SORT_SHARE: usize = 8;

/// What a query is run with.
#[derive(Debug, Clone, Default)]
pub struct QueryOptions {
    /// Values of the parameters `$name` in the SQL.
    pub parameters: Vec<Binding>,
    /// Another time limit than the configured one.
    pub timeout: Option<Duration>,
}

impl QueryOptions {
    /// Texts as a list for `IN`, as in `$run0, $run1`, and what binds them.
    pub(crate) fn listed<'t>(
        name: &str,
        texts: impl IntoIterator<Item = &'t str>,
    ) -> (String, Self) {
        let named = texts.into_iter().enumerate();
        let parameters: Vec<Binding> = named
            .map(|(at, value)| (format!("{name}{at}"), rule::text(value)))
            .collect();
        let places: Vec<String> = (0..parameters.len())
            .map(|at| format!("${name}{at}"))
            .collect();
        let options = Self {
            parameters,
            timeout: None,
        };
        (places.join(", "), options)
    }
}

/// A result, whole.
#[derive(Debug, Clone)]
pub struct Rows {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub batches: Vec<RecordBatch>,
}

/// A session over the tables at one version.
pub struct Engine {
    context: Arc<SessionContext>,
    lake: Lake,
    tables: Arc<Tables>,
    timeout: Duration,
    memory_bytes: usize,
}

impl Engine {
    /// A session over a data directory, which need not hold anything yet.
    pub async fn open(
        data: &Path,
        config: &EngineConfig,
        options: &LakeOptions,
    ) -> Result<Self, EngineError> {
        let options = LakeOptions {
            tail_max_rows: config.tail_max_rows,
            ..options.clone()
        };
        Self::over(Lake::open(data, &options).await?, config).await
    }

    /// A session over tables that are read already.
    pub async fn over(lake: Lake, config: &EngineConfig) -> Result<Self, EngineError> {
        let context = Arc::new(context(config)?);
        functions::register(&context);
        let tables = Arc::new(Tables::default());
        for table in TableName::ALL {
            let name = match table {
                TableName::Series => SERIES_ROWS,
                name => name.as_str(),
            };
            let table = LakeTable::new(&lake.contents(table))?;
            tables.register_table(name.to_owned(), Arc::new(table))?;
        }
        for (name, sql) in BASE_VIEWS {
            tables.add_view(name, sql, &context);
        }
        for rule in rule::built_in()? {
            if rule.kind == RuleKind::View {
                tables.add_view(&rule.id, &rule.sql, &context);
            }
        }
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(SCHEMA, Arc::clone(&tables) as Arc<dyn SchemaProvider>)?;
        context.register_catalog(CATALOG, Arc::new(catalog));
        Ok(Self {
            context,
            lake,
            tables,
            timeout: Duration::from_secs(config.timeout_s),
            memory_bytes: config.memory_bytes,
        })
    }

    /// The tables.
    pub fn lake(&self) -> &Lake {
        &self.lake
    }

    /// Makes Parquet files a table: a file, a directory, or a pattern with `*`.
    pub async fn add_files(&self, name: &str, place: &str) -> Result<(), EngineError> {
        files::register(&self.context, name, place).await
    }

    /// Runs a query. Its rows come as they are found, until the time is up.
    ///
    /// The future is boxed so that it is compiled here, once, and not by each crate that waits for
    /// it.
    pub fn query<'a>(
        &'a self,
        sql: &'a str,
        options: &'a QueryOptions,
    ) -> BoxFuture<'a, Result<SendableRecordBatchStream, EngineError>> {
        Box::pin(self.run(sql, options))
    }

    async fn run(
        &self,
        sql: &str,
        options: &QueryOptions,
    ) -> Result<SendableRecordBatchStream, EngineError> {
        let limit = options.timeout.unwrap_or(self.timeout);
        let deadline = Instant::now() + limit;
        let started = timeout_at(deadline, self.start(sql, options)).await;
        let inner = started.map_err(|_| EngineError::Timeout {
            seconds: limit.as_secs(),
        })??;
        let schema = inner.schema();
        let rows = futures::stream::try_unfold(inner, move |mut inner| async move {
            match timeout_at(deadline, inner.next()).await {
                Ok(Some(batch)) => Ok(Some((batch?, inner))),
                Ok(None) => Ok(None),
                Err(_) => Err(error::timed_out(limit.as_secs())),
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    /// Runs a query and gathers its rows.
    pub async fn collect(&self, sql: &str, options: &QueryOptions) -> Result<Rows, EngineError> {
        let rows = self.query(sql, options).await?;
        let schema = rows.schema();
        let batches = rows
            .try_collect()
            .await
            .map_err(|error| self.explain(error))?;
        Ok(Rows { schema, batches })
    }

    /// Runs a query file with these parameters.
    pub async fn collect_rule(&self, rule: &Rule, given: &[Binding]) -> Result<Rows, EngineError> {
        let options = QueryOptions {
            parameters: rule.bind(given)?,
            timeout: None,
        };
        self.collect(&rule.sql, &options).await
    }

    /// How many threads work on a query.
    pub(crate) fn partitions(&self) -> usize {
        self.context
            .state_ref()
            .read()
            .config()
            .target_partitions()
            .max(1)
    }

    /// Memory of ours that counts as that of a query does.
    pub(crate) fn memory(&self, consumer: &str) -> MemoryReservation {
        MemoryConsumer::new(consumer).register(&self.context.runtime_env().memory_pool)
    }

    /// What DataFusion says, in words for whoever asked. For errors from a stream of rows.
    pub fn explain(&self, error: DataFusionError) -> EngineError {
        error::explain(error, self.memory_bytes, &self.tables.table_names())
    }

    async fn start(
        &self,
        sql: &str,
        options: &QueryOptions,
    ) -> Result<SendableRecordBatchStream, EngineError> {
        let explain = |error| self.explain(error);
        let plan = plan(&self.context.state(), sql, options, &explain).await?;
        let frame = self
            .context
            .execute_logical_plan(plan)
            .await
            .map_err(explain)?;
        frame.execute_stream().await.map_err(explain)
    }
}

/// The plan of one statement that reads, its parameters bound.
async fn plan(
    state: &SessionState,
    sql: &str,
    options: &QueryOptions,
    explain: &(dyn Fn(DataFusionError) -> EngineError + Sync),
) -> Result<LogicalPlan, EngineError> {
    let statement = statement::parse(sql)?;
    let plan = state.statement_to_plan(statement).await.map_err(explain)?;
    statement::check(&plan)?;
    if options.parameters.is_empty() {
        return Ok(plan);
    }
    let values = options
        .parameters
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()));
    let values: Vec<_> = values.collect();
    plan.with_param_values(ParamValues::from(values))
        .map_err(explain)
}

fn context(config: &EngineConfig) -> Result<SessionContext, EngineError> {
    let consumers =
        std::num::NonZeroUsize::new(CONSUMERS_NAMED).unwrap_or(std::num::NonZeroUsize::MIN);
    let memory = TrackConsumersPool::new(FairSpillPool::new(config.memory_bytes), consumers);
    let mode = match &config.spill_dir {
        Some(dir) => DiskManagerMode::Directories(vec![dir.clone()]),
        None => DiskManagerMode::OsTmpDirectory,
    };
    let disk = DiskManagerBuilder::default()
        .with_mode(mode)
        .with_max_temp_directory_size(config.spill_bytes);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(memory))
        .with_disk_manager_builder(disk)
        .build_arc()?;
    let mut session = SessionConfig::new()
        .with_information_schema(true)
        .with_default_catalog_and_schema(CATALOG, SCHEMA);
    if config.partitions > 0 {
        session = session.with_target_partitions(config.partitions);
    }
    let kept = config.memory_bytes / session.target_partitions().max(1) / SORT_SHARE;
    let options = session.options_mut();
    let reserved = &mut options.execution.sort_spill_reservation_bytes;
    *reserved = kept.max(*reserved);
    options.execution.time_zone = Some("+00:00".to_owned());
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    let state = SessionStateBuilder::new()
        .with_config(session)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_optimizer_rules(optimizer_rules())
        .build();
    Ok(SessionContext::new_with_state(state))
}

/// DataFusion's rules with ours before filters are pushed down, so that what ours adds is.
fn optimizer_rules() -> Vec<Arc<dyn datafusion::optimizer::OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    let place = rules
        .iter()
        .position(|rule| rule.name() == "push_down_filter")
        .unwrap_or(rules.len());
    rules.insert(place, functions::optimizer_rule());
    rules
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod view_tests;

#[cfg(test)]
mod run_view_tests;
