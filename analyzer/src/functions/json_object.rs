//! `json_object('key', value, …)`: a JSON object as text.
//!
//! Actions are built by it and never by gluing text together, so that a name with a quote in it
//! stays a name.

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::{Result, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use serde_json::{Map, Value};

const NAME: &str = "json_object";

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct JsonObject {
    signature: Signature,
}

impl JsonObject {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for JsonObject {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if types.is_empty() || types.len() % 2 == 1 {
            return plan_err!("{NAME} takes keys and values in turn: {NAME}('key', value, …)");
        }
        let place = types.iter().enumerate();
        place
            .map(|(place, given)| match plain(given) {
                Some(DataType::Utf8) => Ok(DataType::Utf8),
                Some(value) if place % 2 == 1 => Ok(value),
                _ => plan_err!("{NAME} takes keys as text and values that are texts, numbers, truth values lists or structs of these, not {given}"),
            })
            .collect()
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let columns: Vec<ArrayRef> = args
            .args
            .iter()
            .map(|column| column.to_array(rows))
            .collect::<Result<_>>()?;
        let objects: Result<Vec<String>> = (0..rows).map(|row| object(&columns, row)).collect();
        let objects: ArrayRef = std::sync::Arc::new(StringArray::from(objects?));
        Ok(ColumnarValue::Array(objects))
    }
}

/// The type that a value is brought to; `None` where it has no place in JSON.
fn plain(given: &DataType) -> Option<DataType> {
    match given {
        DataType::Null => Some(DataType::Utf8),
        DataType::Dictionary(_, value) => plain(value),
        DataType::Boolean => Some(DataType::Boolean),
        text if text.is_string() => Some(DataType::Utf8),
        whole if whole.is_integer() => Some(DataType::Int64),
        number if number.is_numeric() => Some(DataType::Float64),
        DataType::Struct(fields) => {
            let field =
                |field: &FieldRef| Some(Field::new(field.name(), plain(field.data_type())?, true));
            let fields: Option<Vec<Field>> = fields.iter().map(field).collect();
            Some(DataType::Struct(fields?.into()))
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(DataType::new_list(plain(item.data_type())?, true))
        }
        _ => None,
    }
}

fn object(columns: &[ArrayRef], row: usize) -> Result<String> {
    let mut object = Map::new();
    for pair in columns.chunks_exact(2) {
        let [keys, values] = pair else { continue };
        let Value::String(key) = value(keys, row)? else {
            return exec_err!("{NAME} takes no key that is null");
        };
        match value(values, row)? {
            Value::Null => {}
            value => {
                object.insert(key, value);
            }
        }
    }
    Ok(Value::Object(object).to_string())
}

fn value(column: &ArrayRef, row: usize) -> Result<Value> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match column.data_type() {
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).into(),
        DataType::Struct(fields) => {
            let mut object = Map::new();
            let parts = fields.iter().zip(column.as_struct().columns());
            for (field, part) in parts {
                object.insert(field.name().clone(), value(part, row)?);
            }
            object.retain(|_, value| !value.is_null());
            Value::Object(object)
        }
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            let items: Result<Vec<Value>> = (0..items.len()).map(|at| value(&items, at)).collect();
            Value::Array(items?)
        }
        _ => {
            let text = cast(column, &DataType::Utf8)
                .map_err(|error| exec_datafusion_err!("{NAME} cannot show a value: {error}"))?;
            text.as_string::<i32>().value(row).into()
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::lake::Lake;
    use crate::testing::{ask, engine};

    #[tokio::test]
    async fn values_keep_their_types_and_names_stay_names() {
        let engine = engine(Lake::default()).await;
        let sql = r#"SELECT json_object('kind', 'x"y', 'n', 3, 'f', 0.5, 'yes', true, 'none', NULL, 'list', make_array('a', 'b'), 'table', named_struct('schema', 's', 'name', 't'))"#;
        let found = ask(&engine, sql).await;
        assert_eq!(
            found,
            [
                r#"{"f":0.5,"kind":"x\"y","list":["a","b"],"n":3,"table":{"name":"t","schema":"s"},"yes":true}"#
            ]
        );
    }

    #[tokio::test]
    async fn keys_without_values_are_refused() {
        let engine = engine(Lake::default()).await;
        let options = crate::engine::QueryOptions::default();
        let error = engine.collect("SELECT json_object('a')", &options).await;
        let error = error.expect_err("no value").to_string();
        assert!(error.contains("keys and values in turn"), "{error}");
    }
}
