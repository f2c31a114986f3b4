//! A value that fits a JSON schema: its example, default or first choice, else one of its type.

use serde_json::{Map, Value};

/// Deepest nesting of a sample, and longest chain of references; schemas may refer to themselves.
const MAX_DEPTH: usize = 8;

/// What references lead to; the same document.
#[derive(Clone, Copy)]
pub(super) struct Document<'d>(pub(super) &'d Value);

impl<'d> Document<'d> {
    /// Follows references of the form `#/components/…`; anything else is left as it is.
    pub(super) fn resolve(self, value: &'d Value) -> &'d Value {
        let mut value = value;
        for _ in 0..MAX_DEPTH {
            let reference = value.get("$ref").and_then(Value::as_str);
            let Some(found) = reference
                .and_then(|reference| reference.strip_prefix('#'))
                .and_then(|pointer| self.0.pointer(pointer))
            else {
                break;
            };
            value = found;
        }
        value
    }

    /// The sample of a parameter or media type: its own example, then that of its schema.
    pub(super) fn of_holder(self, holder: &'d Value) -> Value {
        if let Some(example) = holder.get("example") {
            return example.clone();
        }
        let named = holder.get("examples").and_then(Value::as_object);
        let first = named.and_then(|examples| examples.values().next());
        if let Some(value) = first.and_then(|example| self.resolve(example).get("value")) {
            return value.clone();
        }
        holder
            .get("schema")
            .map_or(Value::Null, |schema| self.of_schema(schema, 0))
    }

    fn of_schema(self, schema: &'d Value, depth: usize) -> Value {
        if depth > MAX_DEPTH {
            return Value::Null;
        }
        let schema = self.resolve(schema);
        for key in ["example", "const", "default"] {
            if let Some(value) = schema.get(key) {
                return value.clone();
            }
        }
        for key in ["examples", "enum"] {
            if let Some(first) = schema.get(key).and_then(|values| values.get(0)) {
                return first.clone();
            }
        }
        for key in ["oneOf", "anyOf"] {
            if let Some(first) = schema.get(key).and_then(|choices| choices.get(0)) {
                return self.of_schema(first, depth + 1);
            }
        }
        match type_of(schema) {
            "object" => Value::Object(self.of_object(schema, depth)),
            "array" => {
                let items = schema.get("items");
                let sample = items.map_or(Value::Null, |items| self.of_schema(items, depth + 1));
                Value::Array(vec![sample])
            }
            "integer" | "number" => number_for(schema),
            "boolean" => Value::Bool(true),
            "string" => Value::String(text_for(schema)),
            _ => Value::Null,
        }
    }

    fn of_object(self, schema: &'d Value, depth: usize) -> Map<String, Value> {
        let mut object = Map::new();
        let parts = schema.get("allOf").and_then(Value::as_array);
        for part in parts.into_iter().flatten() {
            if let Value::Object(part) = self.of_schema(part, depth + 1) {
                object.extend(part);
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            let property = self.resolve(property);
            if property.get("readOnly").and_then(Value::as_bool) != Some(true) {
                object.insert(name.clone(), self.of_schema(property, depth + 1));
            }
        }
        object
    }
}

/// The type, which OpenAPI 3.1 may give as a list; guessed from other keys where it is missing.
fn type_of(schema: &Value) -> &str {
    let named = match schema.get("type") {
        Some(Value::String(name)) => Some(name.as_str()),
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .find(|name| *name != "null"),
        _ => None,
    };
    let has = |key: &str| schema.get(key).is_some();
    match named {
        Some(name) => name,
        None if has("properties") || has("allOf") => "object",
        None if has("items") => "array",
        None => "string",
    }
}

fn number_for(schema: &Value) -> Value {
    for key in ["minimum", "maximum"] {
        if let Some(bound) = schema.get(key)
            && bound.is_number()
        {
            return bound.clone();
        }
    }
    Value::from(1)
}

fn text_for(schema: &Value) -> String {
    let format = schema.get("format").and_then(Value::as_str);
    let text = match format {
        Some("date") => "2024-01-01",
        Some("date-time") => "2024-01-01T00:00:00Z",
        Some("uuid") => "00000000-0000-4000-8000-000000000001",
        Some("email") => "someone@example.com",
        Some("uri" | "url") => "https://example.com/",
        Some("ipv4") => "192.0.2.1",
        _ => "text",
    };
    let least = schema.get("minLength").and_then(Value::as_u64).unwrap_or(0);
    let least = usize::try_from(least).unwrap_or(0).min(1_000);
    match text.len() < least {
        true => text.chars().cycle().take(least).collect(),
        false => text.to_owned(),
    }
}

/// A value as a part of a path, query or header; arrays as their elements with commas.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(plain).collect();
            elements.join(",")
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn samples_fit_their_schema() {
        let document = json!({"components": {"schemas": {
            "Node": {"type": "object", "properties": {
                "name": {"type": "string", "minLength": 6},
                "id": {"type": "integer", "readOnly": true},
                "kind": {"enum": ["leaf", "branch"]},
                "weight": {"type": ["null", "number"], "minimum": 0.5},
                "parent": {"$ref": "#/components/schemas/Node"},
            }},
            "Loop": {"$ref": "#/components/schemas/Loop"},
        }}});
        let documents = Document(&document);
        let schema = json!({"allOf": [
            {"properties": {"a": {"type": "array", "items": {"type": "boolean"}}}},
            {"properties": {"b": {"type": "string", "format": "date"}}},
        ]});
        let holder = json!({"schema": schema});
        let merged = Document(&holder).of_holder(&holder);
        assert_eq!(merged, json!({"a": [true], "b": "2024-01-01"}));
        let node = documents.of_schema(&document["components"]["schemas"]["Node"], 0);
        assert_eq!(node["name"], "textte");
        assert_eq!(node["kind"], "leaf");
        assert_eq!(node["weight"], 0.5);
        assert!(node.get("id").is_none());
        assert!(node["parent"]["parent"].is_object());
        // A reference to itself ends, with a sample of no known type.
        let looped = documents.of_schema(&document["components"]["schemas"]["Loop"], 0);
        assert_eq!(looped, "text");
    }
}
