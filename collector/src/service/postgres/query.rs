//! Views as tables of columns: which column is which metric, since which version. The statement is
//! made from the table, and its rows are recorded by it.

use tokio_postgres::{Row, Statement};

use super::session::{MARK, Session};
use crate::recorder::Recorder;
use crate::service::{Pass, ServiceError};

/// The newest version of anything.
const ANY: u32 = u32::MAX;
/// The most labels of a series here.
const MAX_LABELS: usize = 8;

/// A label and its value.
pub(super) type Label<'a> = (&'a str, &'a str);

/// A value of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    metric: u32,
    label: Option<Label<'static>>,
    sql: &'static str,
    since: u32,
    until: u32,
}

/// An expression that yields a metric's value; where it is null, nothing is recorded.
pub(super) const fn column(metric: u32, sql: &'static str) -> Column {
    Column {
        metric,
        label: None,
        sql,
        since: 0,
        until: ANY,
    }
}

impl Column {
    /// With one more label.
    pub(super) const fn label(mut self, key: &'static str, value: &'static str) -> Self {
        self.label = Some((key, value));
        self
    }

    /// From this version on.
    pub(super) const fn since(mut self, version: u32) -> Self {
        self.since = version;
        self
    }

    /// Up to this version, inclusive.
    pub(super) const fn until(mut self, version: u32) -> Self {
        self.until = version;
        self
    }

    /// Those that a version has.
    pub(super) fn of_version(columns: &[Self], version: u32) -> Vec<Self> {
        let is_in = |column: &&Self| (column.since..=column.until).contains(&version);
        columns.iter().filter(is_in).copied().collect()
    }

    /// The expression as the one type that is decoded.
    pub(super) fn as_float(&self) -> String {
        format!("({})::float8", self.sql)
    }

    /// Records a value with these labels and its own.
    pub(super) fn record(&self, labels: &[Label<'_>], value: f64, out: &mut Recorder) {
        // The recorder sorts what it is given.
        let mut given: [Label<'_>; MAX_LABELS] = [("", ""); MAX_LABELS];
        let mut count = labels.len();
        given[..count].copy_from_slice(labels);
        if let Some(label) = self.label {
            given[count] = label;
            count += 1;
        }
        out.record(self.metric, &mut given[..count], value);
    }
}

/// A view.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// What errors call it.
    pub(super) name: &'static str,
    /// The labels of a row, each with the expression of its text.
    pub(super) labels: &'static [Label<'static>],
    /// The values of a row.
    pub(super) columns: &'static [Column],
    /// `FROM` and what follows it.
    pub(super) from: &'static str,
    /// The first and the last version that have it.
    pub(super) versions: (u32, u32),
}

/// Every version.
pub(super) const ALWAYS: (u32, u32) = (0, ANY);

/// A view for one version.
#[derive(Debug)]
pub(super) struct Reader {
    view: View,
    columns: Vec<Column>,
    sql: String,
    statement: Option<Statement>,
}

impl Reader {
    /// The view as this version has it; `None` where it has none.
    pub(super) fn new(view: &View, version: u32) -> Option<Self> {
        if !(view.versions.0..=view.versions.1).contains(&version) {
            return None;
        }
        let columns = Column::of_version(view.columns, version);
        let labels = view.labels.iter().map(|label| format!("({})::text", label.1));
        let values = columns.iter().map(Column::as_float);
        let list: Vec<String> = labels.chain(values).collect();
        let sql = format!("SELECT {MARK} {} {}", list.join(", "), view.from);
        Some(Self {
            view: *view,
            columns,
            sql,
            statement: None,
        })
    }

    /// What errors call it.
    pub(super) fn name(&self) -> &'static str {
        self.view.name
    }

    /// The statement, for sessions that do not prepare it.
    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    /// Reads and records the view over a session that stays.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn read(
        &mut self,
        session: &Session,
        instance: &str,
        out: &mut Pass,
    ) -> Result<(), ServiceError> {
        let failure = |error| session.failure(self.view.name, &error);
        let statement = match &self.statement {
            Some(statement) => statement.clone(),
            None => session.client().prepare(&self.sql).await.map_err(failure)?,
        };
        let rows = session.client().query(&statement, &[]).await;
        let rows = rows.map_err(failure)?;
        self.statement = Some(statement);
        let common = [("service.instance.id", instance)];
        for row in &rows {
            self.record(row, &common, &mut out.recorder)?;
        }
        Ok(())
    }

    /// Records a row; these labels come before its own.
    ///
    /// # Errors
    /// A value of another type.
    pub(super) fn record(
        &self,
        row: &Row,
        common: &[Label<'_>],
        out: &mut Recorder,
    ) -> Result<(), ServiceError> {
        let mut labels: [Label<'_>; MAX_LABELS] = [("", ""); MAX_LABELS];
        let mut count = common.len();
        labels[..count].copy_from_slice(common);
        for (at, label) in self.view.labels.iter().enumerate() {
            if let Some(value) = self.value::<&str>(row, at)? {
                labels[count] = (label.0, value);
                count += 1;
            }
        }
        for (at, column) in self.columns.iter().enumerate() {
            if let Some(value) = self.value::<f64>(row, self.view.labels.len() + at)? {
                column.record(&labels[..count], value, out);
            }
        }
        Ok(())
    }

    fn value<'a, T: tokio_postgres::types::FromSql<'a>>(
        &self,
        row: &'a Row,
        at: usize,
    ) -> Result<Option<T>, ServiceError> {
        get(row, at, self.view.name)
    }
}

/// A value of a row, if it has one.
///
/// # Errors
/// A value of another type.
pub(super) fn get<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    at: usize,
    what: &str,
) -> Result<Option<T>, ServiceError> {
    row.try_get(at).map_err(|error| ServiceError::Malformed {
        what: what.to_owned(),
        detail: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: View = View {
        name: "a view",
        labels: &[("key", "k")],
        columns: &[
            column(1, "old").until(13),
            column(2, "new").since(14).label("a", "b"),
            column(3, "both"),
        ],
        from: "FROM v",
        versions: (13, 17),
    };

    #[test]
    fn a_version_gets_its_own_columns() {
        let sql = |version| Reader::new(&VIEW, version).map(|reader| reader.sql);
        assert_eq!(
            sql(13).as_deref(),
            Some("SELECT /* driftline */ (k)::text, (old)::float8, (both)::float8 FROM v")
        );
        assert_eq!(
            sql(17).as_deref(),
            Some("SELECT /* driftline */ (k)::text, (new)::float8, (both)::float8 FROM v")
        );
        assert_eq!(sql(18), None);
    }
}
