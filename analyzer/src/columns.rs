//! Typed columns out of a query file's result.

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use crate::engine::{EngineError, Rows};

/// The result of a query file, in one piece.
pub(crate) struct Columns {
    rule: String,
    batch: RecordBatch,
}

impl Columns {
    pub(crate) fn new(rule: &str, rows: &Rows) -> Result<Self, EngineError> {
        let batch = concat_batches(&rows.schema, &rows.batches)
            .map_err(|error| EngineError::Engine(error.into()))?;
        Ok(Self {
            rule: rule.to_owned(),
            batch,
        })
    }

    pub(crate) fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whatever text the engine chose to hold it in.
    pub(crate) fn texts(&self, name: &str) -> Result<StringArray, EngineError> {
        Ok(self
            .column(name, &DataType::Utf8)?
            .as_string::<i32>()
            .clone())
    }

    /// Several of them.
    pub(crate) fn each_text<const N: usize>(
        &self,
        names: [&str; N],
    ) -> Result<[StringArray; N], EngineError> {
        let texts = names.into_iter().map(|name| self.texts(name));
        let texts: Vec<StringArray> = texts.collect::<Result<_, _>>()?;
        Ok(std::array::from_fn(|at| texts[at].clone()))
    }

    pub(crate) fn floats(&self, name: &str) -> Result<Float64Array, EngineError> {
        Ok(self
            .column(name, &DataType::Float64)?
            .as_primitive::<Float64Type>()
            .clone())
    }

    pub(crate) fn integers(&self, name: &str) -> Result<Int64Array, EngineError> {
        Ok(self
            .column(name, &DataType::Int64)?
            .as_primitive::<Int64Type>()
            .clone())
    }

    pub(crate) fn booleans(&self, name: &str) -> Result<BooleanArray, EngineError> {
        Ok(self.column(name, &DataType::Boolean)?.as_boolean().clone())
    }

    pub(crate) fn binaries(&self, name: &str) -> Result<BinaryArray, EngineError> {
        Ok(self
            .column(name, &DataType::Binary)?
            .as_binary::<i32>()
            .clone())
    }

    /// The finite numbers of each row's list.
    pub(crate) fn lists(&self, name: &str) -> Result<Vec<Vec<f64>>, EngineError> {
        let wanted = DataType::new_list(DataType::Float64, true);
        let lists = self.column(name, &wanted)?;
        let lists = lists.as_list::<i32>();
        let row = |values: Option<ArrayRef>| {
            let Some(values) = values else {
                return Vec::new();
            };
            let values = values.as_primitive::<Float64Type>();
            driftline_stats::finite(values.iter().flatten())
        };
        Ok(lists.iter().map(row).collect())
    }

    fn column(&self, name: &str, wanted: &DataType) -> Result<ArrayRef, EngineError> {
        let missing = || EngineError::Column {
            rule: self.rule.clone(),
            column: name.to_owned(),
        };
        let column = self.batch.column_by_name(name).ok_or_else(missing)?;
        cast(column, wanted).map_err(|_| missing())
    }
}

/// A value where there is one.
pub(crate) fn optional(values: &Float64Array, row: usize) -> Option<f64> {
    use arrow::array::Array as _;
    values.is_valid(row).then(|| values.value(row))
}
