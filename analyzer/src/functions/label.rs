//! `label(labels, 'key')`: the value of one label.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Int32Array, StringArray};
use arrow::datatypes::{DataType, Int32Type};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use driftline_schemas::series::label_value;

const NAME: &str = "label";

/// Reads a canonical label text. Dictionaries stay dictionaries: each distinct label set is read
/// once per batch.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Label {
    signature: Signature,
}

impl Label {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

impl ScalarUDFImpl for Label {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [labels, key] = types else {
            return plan_err!("label takes two arguments: label(labels, 'key')");
        };
        let labels = match labels {
            DataType::Dictionary(_, value) if value.is_string() => dictionary(),
            text if text.is_string() || text.is_null() => DataType::Utf8,
            other => return plan_err!("label reads a text of labels, not {other}"),
        };
        if !key.is_string() {
            return plan_err!("label takes the key as text in single quotes, not {key}");
        }
        Ok(vec![labels, DataType::Utf8])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(DataType::Dictionary(..)) => Ok(dictionary()),
            _ => Ok(DataType::Utf8),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [labels, key] = args.args.as_slice() else {
            return exec_err!("label takes two arguments");
        };
        let ColumnarValue::Scalar(ScalarValue::Utf8(key)) = key else {
            return exec_err!("label takes a constant key: label(labels, 'key')");
        };
        let key = key.as_deref();
        match labels {
            ColumnarValue::Scalar(text) => {
                let array = read(&text.to_array()?, key)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                    &array, 0,
                )?))
            }
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(read(array, key)?)),
        }
    }
}

fn read(labels: &ArrayRef, key: Option<&str>) -> Result<ArrayRef> {
    let Some(dictionary) = labels.as_dictionary_opt::<Int32Type>() else {
        return Ok(Arc::new(read_texts(labels.as_string::<i32>(), key)));
    };
    let values = read_texts(dictionary.values().as_string::<i32>(), key);
    // A null belongs into the keys: not every kernel looks for it among the values.
    let keys: Int32Array = dictionary
        .keys()
        .iter()
        .map(|at| at.filter(|at| usize::try_from(*at).is_ok_and(|at| values.is_valid(at))))
        .collect();
    Ok(Arc::new(DictionaryArray::try_new(keys, Arc::new(values))?))
}

fn read_texts(labels: &StringArray, key: Option<&str>) -> StringArray {
    labels.iter().map(|text| label_value(text?, key?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_texts_and_dictionaries_alike() {
        let texts = [
            Some("a=1,b=x\\,y"),
            None,
            Some(""),
            Some("a=1,b=x\\,y"),
            Some("c=3"),
        ];
        let plain: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let dictionary: DictionaryArray<Int32Type> = texts.into_iter().collect();
        let dictionary: ArrayRef = Arc::new(dictionary);
        let want = [Some("x,y"), None, None, Some("x,y"), None];
        let got = read(&plain, Some("b")).expect("a column");
        assert_eq!(got.as_string::<i32>().iter().collect::<Vec<_>>(), want);
        let got = read(&dictionary, Some("b")).expect("a column");
        assert_eq!(got.null_count(), 3);
        let texts = arrow::compute::cast(&got, &DataType::Utf8).expect("texts");
        assert_eq!(texts.as_string::<i32>().iter().collect::<Vec<_>>(), want);
        let none = read(&plain, None).expect("a column");
        assert_eq!(none.null_count(), 5);
    }
}
