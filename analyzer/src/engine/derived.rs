//! A session over the tables of another and some that were computed from them.

use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider,
};
use datafusion::datasource::MemTable;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::SessionContext;

use super::{CATALOG, Engine, EngineError, Rows, SCHEMA};
use crate::rule::Rule;

/// Results up to this many rows are looked through by one thread: to share them among several
/// costs more than it saves.
const ROWS_FOR_ONE: usize = 200_000;

impl Engine {
    /// A session that sees what this one sees, and these results as tables. This one does not see
    /// them, so that several may be used side by side.
    pub(crate) async fn with_tables(&self, tables: Vec<(&str, Rows)>) -> Result<Self, EngineError> {
        let schema = MemorySchemaProvider::new();
        let ours = self
            .context
            .catalog(CATALOG)
            .and_then(|catalog| catalog.schema(SCHEMA));
        if let Some(ours) = ours {
            for name in ours.table_names() {
                if let Some(table) = ours.table(&name).await? {
                    schema.register_table(name, table)?;
                }
            }
        }
        let mut largest = 0;
        for (name, rows) in tables {
            largest = largest.max(rows.batches.iter().map(|batch| batch.num_rows()).sum());
            let table = MemTable::try_new(rows.schema, vec![rows.batches])?;
            schema.register_table(name.to_owned(), Arc::new(table))?;
        }
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(SCHEMA, Arc::new(schema))?;
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
        let state = self.context.state();
        // The catalog is there already.
        let mut config = state
            .config()
            .clone()
            .with_create_default_catalog_and_schema(false);
        if largest <= ROWS_FOR_ONE {
            config = config.with_target_partitions(1);
        }
        let state = SessionStateBuilder::new_from_existing(state)
            .with_config(config)
            .with_catalog_list(Arc::new(catalogs))
            .build();
        Ok(Self {
            context: SessionContext::new_with_state(state),
            lake: self.lake.clone(),
            timeout: self.timeout,
            memory_bytes: self.memory_bytes,
        })
    }

    /// Makes a query file a view.
    pub(crate) async fn add_rule_view(&self, rule: &Rule) -> Result<(), EngineError> {
        self.add_view(&rule.id, &rule.sql).await
    }
}
