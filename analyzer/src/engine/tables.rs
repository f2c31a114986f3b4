//! Tables and views by their names. A view is planned when somebody first asks for it: most
//! questions name few of them, and to plan them all takes longer than to answer.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};

use async_trait::async_trait;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::{TableType, ViewTable};
use datafusion::prelude::SessionContext;

/// Tables, views, and what lies below where another session's are seen too.
#[derive(Default)]
pub(super) struct Tables {
    tables: MemorySchemaProvider,
    views: RwLock<BTreeMap<String, Arc<View>>>,
    below: Option<Arc<dyn SchemaProvider>>,
}

struct View {
    sql: String,
    /// What it is planned by. It holds these tables in turn, hence no more than a weak one.
    context: WeakContext,
    planned: OnceLock<Arc<dyn TableProvider>>,
}

type WeakContext = Weak<SessionContext>;

impl Tables {
    /// Tables that stand in front of others.
    pub(super) fn over(below: Arc<dyn SchemaProvider>) -> Self {
        Self {
            below: Some(below),
            ..Self::default()
        }
    }

    /// Adds a view, whose statement is right.
    pub(super) fn add_view(&self, name: &str, sql: &str, context: &Arc<SessionContext>) {
        let view = View {
            sql: sql.to_owned(),
            context: Arc::downgrade(context),
            planned: OnceLock::new(),
        };
        let mut views = self.views.write().unwrap_or_else(PoisonError::into_inner);
        views.insert(name.to_owned(), Arc::new(view));
    }

    fn view(&self, name: &str) -> Option<Arc<View>> {
        let views = self.views.read().unwrap_or_else(PoisonError::into_inner);
        views.get(name).cloned()
    }
}

impl View {
    /// Two that plan it at once come to the same.
    async fn table(&self) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(planned) = self.planned.get() {
            return Ok(Some(Arc::clone(planned)));
        }
        let Some(context) = self.context.upgrade() else {
            return Ok(None);
        };
        let plan = context.state().create_logical_plan(&self.sql).await?;
        let view: Arc<dyn TableProvider> = Arc::new(ViewTable::new(plan, Some(self.sql.clone())));
        Ok(Some(Arc::clone(self.planned.get_or_init(|| view))))
    }
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.table_names()).finish()
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.tables.table_names();
        names.extend(
            self.views
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .keys()
                .cloned(),
        );
        names.extend(self.below.iter().flat_map(|below| below.table_names()));
        names.sort();
        names.dedup();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(table) = self.tables.table(name).await? {
            return Ok(Some(table));
        }
        if let Some(view) = self.view(name) {
            return view.table().await;
        }
        match &self.below {
            Some(below) => below.table(name).await,
            None => Ok(None),
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        if self.view(name).is_some() {
            return Ok(Some(TableType::View));
        }
        Ok(self.table(name).await?.map(|table| table.table_type()))
    }

    fn register_table(
        &self,
        name: String,
        table: Arc<dyn TableProvider>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        self.tables.register_table(name, table)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.table_exist(name)
            || self.view(name).is_some()
            || self
                .below
                .as_ref()
                .is_some_and(|below| below.table_exist(name))
    }
}
