//! Attributes as text: what becomes a label.
//!
//! Field numbers are those of `opentelemetry/proto/common/v1/common.proto`.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::service::foreign::wire::{Fields, Malformed};

/// Values nested deeper than this are left out.
const MAX_DEPTH: usize = 4;

/// The key and the value of a `KeyValue`.
pub(super) fn pair(message: &[u8]) -> Result<(&str, Cow<'_, str>), Malformed> {
    let (mut key, mut value): (_, &[u8]) = ("", &[]);
    let mut fields = Fields::new(message, "an attribute");
    while let Some((number, content)) = fields.next()? {
        match number {
            1 => key = content.text("the key of an attribute")?,
            2 => value = content.bytes("the value of an attribute")?,
            _ => {}
        }
    }
    Ok((key, text(value, MAX_DEPTH)?))
}

/// An `AnyValue`: lists as `[a,b]`, maps as `{k=v}`, bytes in hexadecimal digits.
fn text(message: &[u8], depth: usize) -> Result<Cow<'_, str>, Malformed> {
    let what = "the value of an attribute";
    let mut found = Cow::Borrowed("");
    let mut fields = Fields::new(message, what);
    while let Some((number, content)) = fields.next()? {
        found =
            match number {
                1 => Cow::Borrowed(content.text(what)?),
                2 => Cow::Borrowed(if content.varint(what)? != 0 {
                    "true"
                } else {
                    "false"
                }),
                3 => Cow::Owned((content.varint(what)? as i64).to_string()),
                4 => Cow::Owned(content.double(what)?.to_string()),
                5 => Cow::Owned(list(content.bytes(what)?, depth)?),
                6 => Cow::Owned(map(content.bytes(what)?, depth)?),
                7 => Cow::Owned(content.bytes(what)?.iter().fold(
                    String::new(),
                    |mut hex, byte| {
                        // Writing to a string cannot fail.
                        let _ = write!(hex, "{byte:02x}");
                        hex
                    },
                )),
                _ => continue,
            };
    }
    Ok(found)
}

fn list(message: &[u8], depth: usize) -> Result<String, Malformed> {
    let mut parts = Vec::new();
    let mut fields = Fields::new(message, "a list");
    while let Some((number, content)) = fields.next()? {
        if number == 1 && depth > 0 {
            parts.push(text(content.bytes("a list")?, depth - 1)?);
        }
    }
    Ok(format!("[{}]", parts.join(",")))
}

fn map(message: &[u8], depth: usize) -> Result<String, Malformed> {
    let mut parts = Vec::new();
    let mut fields = Fields::new(message, "a map");
    while let Some((number, content)) = fields.next()? {
        if number != 1 || depth == 0 {
            continue;
        }
        let (mut key, mut value): (_, &[u8]) = ("", &[]);
        let mut pair = Fields::new(content.bytes("a map")?, "a map");
        while let Some((number, content)) = pair.next()? {
            match number {
                1 => key = content.text("a map")?,
                2 => value = content.bytes("a map")?,
                _ => {}
            }
        }
        parts.push(format!("{key}={}", text(value, depth - 1)?));
    }
    Ok(format!("{{{}}}", parts.join(",")))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
    use prost::Message as _;

    use super::*;

    fn any(value: Value) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    fn entry(key: &str, value: AnyValue) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: Some(value),
            ..KeyValue::default()
        }
    }

    #[test]
    fn every_value_has_a_text() {
        let nested = any(Value::ArrayValue(ArrayValue {
            values: vec![any(Value::IntValue(-1)), any(Value::BoolValue(true))],
        }));
        let map = KeyValueList {
            values: vec![entry("a", nested)],
        };
        for (value, expected) in [
            (Value::StringValue("x=1".to_owned()), "x=1"),
            (Value::BoolValue(false), "false"),
            (Value::IntValue(i64::MIN), "-9223372036854775808"),
            (Value::DoubleValue(0.25), "0.25"),
            (Value::BytesValue(vec![0, 255]), "00ff"),
            (Value::KvlistValue(map), "{a=[-1,true]}"),
        ] {
            let bytes = entry("k", any(value)).encode_to_vec();
            let (key, value) = pair(&bytes).expect("well formed");
            assert_eq!((key, value.as_ref()), ("k", expected));
        }
    }

    #[test]
    fn depth_is_bounded() {
        let mut value = any(Value::BoolValue(true));
        for _ in 0..50_000 {
            value = any(Value::ArrayValue(ArrayValue {
                values: vec![value],
            }));
            if value.encoded_len() > 2_000 {
                break;
            }
        }
        let bytes = entry("k", value).encode_to_vec();
        assert_eq!(pair(&bytes).expect("well formed").1, "[[[[[]]]]]");
    }
}
