//! Tables whose rows change from one judgement to the next, and plans that are kept meanwhile: to
//! plan a rule takes many times as long as to run it.
//!
//! A kept plan reads its tables when it is run. Only plans are kept that would be made the same way
//! again: those that read nothing else, and into which no time of day has gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session as PlanningSession, TableProvider};
use datafusion::common::{DFSchema, Result};
use datafusion::datasource::TableType;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};

use super::table::WindowTable;
use crate::engine::{EngineError, Rows, Session};
use crate::rule::{Binding, Rule};

/// What a table holds now.
#[derive(Debug, Default)]
pub(super) enum Content {
    /// Nothing, as between judgements.
    #[default]
    Nothing,
    /// Gathered series.
    Window(WindowTable),
    /// The rows of another question.
    Rows(Vec<RecordBatch>),
}

/// A table whose content is read when a plan over it is run.
#[derive(Debug, Clone)]
struct KeptTable {
    schema: SchemaRef,
    content: Arc<RwLock<Arc<Content>>>,
}

/// One reading of a table.
#[derive(Debug)]
struct Scan {
    table: KeptTable,
    /// What tells apart which series are read.
    filter: Option<Arc<dyn PhysicalExpr>>,
    columns: Option<Vec<usize>>,
    schema: SchemaRef,
}

/// Plans, and the tables that they read.
#[derive(Debug, Default)]
pub(super) struct Kept {
    tables: Mutex<BTreeMap<String, KeptTable>>,
    plans: Mutex<BTreeMap<String, KeptPlan>>,
}

/// How a rule is answered.
#[derive(Debug)]
struct KeptPlan {
    sql: String,
    parameters: Vec<Binding>,
    plan: Arc<dyn ExecutionPlan>,
}

impl Content {
    fn batches(&self, scan: &Scan) -> Result<Vec<RecordBatch>> {
        match self {
            Self::Nothing => Ok(Vec::new()),
            Self::Window(window) => window.batches(scan.filter.as_ref(), &scan.schema),
            Self::Rows(rows) => {
                let Some(columns) = &scan.columns else {
                    return Ok(rows.clone());
                };
                let rows = rows.iter().map(|rows| rows.project(columns));
                Ok(rows.collect::<Result<_, _>>()?)
            }
        }
    }
}

impl KeptTable {
    fn put(&self, content: Content) {
        *self.content.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(content);
    }

    fn content(&self) -> Arc<Content> {
        Arc::clone(&self.content.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl TableProvider for KeptTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let answer = |filter: &&Expr| match self.content().as_ref() {
            Content::Window(_) if WindowTable::selects(filter) => {
                TableProviderFilterPushDown::Exact
            }
            _ => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(answer).collect())
    }

    async fn scan(
        &self,
        state: &dyn PlanningSession,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema(),
        };
        let filter = match conjunction(filters.iter().cloned()) {
            Some(filter) => {
                let columns = DFSchema::try_from(WindowTable::keys_schema())?;
                Some(state.create_physical_expr(filter, &columns)?)
            }
            None => None,
        };
        let scan = Scan {
            table: self.clone(),
            filter,
            columns: projection.cloned(),
            schema: Arc::clone(&schema),
        };
        let parts: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(scan)];
        let exec = StreamingTableExec::try_new(schema, parts, None, None, false, limit)?;
        Ok(Arc::new(exec))
    }
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = match self.table.content().batches(self) {
            Ok(batches) => batches.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        let rows = futures::stream::iter(batches);
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            rows,
        ))
    }
}

impl Kept {
    /// Makes a table hold this, and be seen by a session. Where its columns are others than before,
    /// no plan over it would be right any more.
    pub(super) fn fill(
        &self,
        session: &Session,
        name: &str,
        schema: SchemaRef,
        content: Content,
    ) -> Result<(), EngineError> {
        let table = self.table(name, schema);
        table.put(content);
        session.add_table(name, Arc::new(table))
    }

    fn table(&self, name: &str, schema: SchemaRef) -> KeptTable {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |table: &&KeptTable| table.schema == schema;
        if let Some(table) = tables.get(name).filter(same) {
            return table.clone();
        }
        self.plans().clear();
        let table = KeptTable {
            schema,
            content: Arc::default(),
        };
        tables.insert(name.to_owned(), table.clone());
        table
    }

    /// The same with the rows of a question.
    pub(super) fn fill_rows(
        &self,
        session: &Session,
        name: &str,
        rows: Rows,
    ) -> Result<(), EngineError> {
        self.fill(session, name, rows.schema, Content::Rows(rows.batches))
    }

    /// Lets go of all rows, and of plans of rules that are no longer there.
    pub(super) fn rest(&self, rules: &BTreeSet<&str>) {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        for table in tables.values() {
            table.put(Content::Nothing);
        }
        self.plans().retain(|rule, _| rules.contains(rule.as_str()));
    }

    /// How a rule is answered with these parameters.
    pub(super) async fn plan(
        &self,
        session: &Session,
        rule: &Rule,
        parameters: Vec<Binding>,
    ) -> Result<Arc<dyn ExecutionPlan>, EngineError> {
        if let Some(plan) = self.find(rule, &parameters) {
            return Ok(reset_plan_states(plan)?);
        }
        let planned = session.plan(&rule.sql, parameters.clone()).await?;
        if planned.timeless && self.holds(&planned.reads) {
            let kept = KeptPlan {
                sql: rule.sql.clone(),
                parameters,
                plan: Arc::clone(&planned.plan),
            };
            self.plans().insert(rule.id.clone(), kept);
        }
        Ok(planned.plan)
    }

    fn holds(&self, tables: &BTreeSet<String>) -> bool {
        let ours = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.iter().all(|table| ours.contains_key(table))
    }

    fn find(&self, rule: &Rule, parameters: &[Binding]) -> Option<Arc<dyn ExecutionPlan>> {
        let plans = self.plans();
        let kept = plans.get(&rule.id)?;
        let same = kept.sql == rule.sql && kept.parameters == parameters;
        same.then(|| Arc::clone(&kept.plan))
    }

    /// The rules whose plans are kept.
    #[cfg(test)]
    pub(super) fn planned(&self) -> Vec<String> {
        self.plans().keys().cloned().collect()
    }

    fn plans(&self) -> MutexGuard<'_, BTreeMap<String, KeptPlan>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
