//! A session for many small questions, one after the other or side by side: it sees the tables of
//! another and some that were computed from them.
//!
//! Its plans are made quickly rather than well. Each is run by one thread, because the questions
//! share the processors among themselves, and passes over the plan that pay only with much to read
//! are left out. Answers are the same.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    SchemaProvider, TableProvider,
};
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::optimizer::Optimizer;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::TryStreamExt as _;
use tokio::time::timeout;

use super::tables::Tables;
use super::{CATALOG, Engine, EngineError, QueryOptions, Rows, SCHEMA, error, plan};
use crate::rule::Binding;

/// Passes over the logical plan that are left out: each of them rewrites what runs anyway.
const PASSES_LEFT_OUT: [&str; 9] = [
    "common_sub_expression_eliminate",
    "eliminate_duplicated_expr",
    "eliminate_group_by_constant",
    "eliminate_outer_join",
    "extract_leaf_expressions",
    "filter_null_join_keys",
    "propagate_empty_relation",
    "push_down_leaf_projections",
    "single_distinct_aggregation_to_group_by",
];
/// The same of the physical plan.
const PHYSICAL_PASSES_LEFT_OUT: [&str; 11] = [
    "aggregate_statistics",
    "FilterPushdown(Post)",
    "HashJoinBuffering",
    "LimitAggregation",
    "LimitPushPastWindows",
    "LimitedDistinctAggregation",
    "ProjectionPushdown",
    "PushdownSort",
    "SanityCheckPlan",
    "TopKRepartition",
    "WindowTopN",
];

/// Tables, and what asks them.
pub(crate) struct Session {
    state: SessionState,
    task: Arc<TaskContext>,
    tables: Arc<Tables>,
    timeout: Duration,
    memory_bytes: usize,
}

/// How a query is answered.
pub(crate) struct Planned {
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    /// Whether it would be answered the same way at another time: `now()` and its like are worked
    /// out when a plan is made.
    pub(crate) timeless: bool,
    /// The tables and views that it reads, by their names.
    pub(crate) reads: BTreeSet<String>,
}

impl Engine {
    /// A session that sees what this one sees. This one does not see what is added there, so that
    /// several may be used side by side.
    pub(crate) fn session(&self) -> Result<Session, EngineError> {
        let tables = Arc::new(Tables::over(
            Arc::clone(&self.tables) as Arc<dyn SchemaProvider>
        ));
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(SCHEMA, Arc::clone(&tables) as Arc<dyn SchemaProvider>)?;
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
        let state = self.context.state();
        // The catalog is there already.
        let mut config = state
            .config()
            .clone()
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(false)
            .with_target_partitions(1);
        let optimizer = &mut config.options_mut().optimizer;
        optimizer.max_passes = 1;
        optimizer.enable_dynamic_filter_pushdown = false;
        let mut logical = Optimizer::new().rules;
        logical.retain(|pass| !PASSES_LEFT_OUT.contains(&pass.name()));
        let mut physical = PhysicalOptimizer::new().rules;
        physical.retain(|pass| !PHYSICAL_PASSES_LEFT_OUT.contains(&pass.name()));
        let state = SessionStateBuilder::new_from_existing(state)
            .with_config(config)
            .with_optimizer_rules(logical)
            .with_physical_optimizer_rules(physical)
            .with_catalog_list(Arc::new(catalogs))
            .build();
        Ok(Session {
            task: state.task_ctx(),
            state,
            tables,
            timeout: self.timeout,
            memory_bytes: self.memory_bytes,
        })
    }
}

impl Session {
    /// Adds a table.
    pub(crate) fn add_table(
        &self,
        name: &str,
        table: Arc<dyn TableProvider>,
    ) -> Result<(), EngineError> {
        self.tables.register_table(name.to_owned(), table)?;
        Ok(())
    }

    /// How a query is answered, with these parameters.
    pub(crate) async fn plan(
        &self,
        sql: &str,
        parameters: Vec<Binding>,
    ) -> Result<Planned, EngineError> {
        let options = QueryOptions {
            parameters,
            timeout: None,
        };
        let explain = |error| self.explain(error);
        let logical = plan(&self.state, sql, &options, &explain).await?;
        let (timeless, reads) = looks_at(&logical).map_err(explain)?;
        let plan = self.state.create_physical_plan(&logical).await;
        Ok(Planned {
            plan: plan.map_err(explain)?,
            timeless,
            reads,
        })
    }

    /// The answer, whole.
    pub(crate) async fn collect(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Rows, EngineError> {
        let explain = |error| self.explain(error);
        let schema = plan.schema();
        let rows = execute_stream(plan, Arc::clone(&self.task)).map_err(explain)?;
        let batches = timeout(self.timeout, rows.try_collect::<Vec<_>>())
            .await
            .map_err(|_| EngineError::Timeout {
                seconds: self.timeout.as_secs(),
            })?
            .map_err(explain)?;
        Ok(Rows { schema, batches })
    }

    fn explain(&self, error: DataFusionError) -> EngineError {
        error::explain(error, self.memory_bytes, &self.tables.table_names())
    }
}

/// Whether a plan leaves the time of day alone, and what it reads. Views are not looked into.
fn looks_at(plan: &LogicalPlan) -> Result<(bool, BTreeSet<String>), DataFusionError> {
    let (mut timeless, mut reads) = (true, BTreeSet::new());
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            reads.insert(scan.table_name.table().to_owned());
        }
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if let Expr::ScalarFunction(called) = part {
                    timeless &= called.func.signature().volatility != Volatility::Stable;
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok((timeless, reads))
}
