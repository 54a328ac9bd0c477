//! The least that an operation accepts, made from its schema, so that a new operation is tested without a word.
//!
//! The HTTP tests include this file too.

use serde_json::{Map, Value, json};

/// An id that nothing has.
pub const NOBODY: &str = "018f0000-0000-7000-8000-000000000000";

/// An object with every required field, and the first field of each group of which one is needed.
pub fn minimal(schema: &Value, one_of: &[&[&str]]) -> Map<String, Value> {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    required
        .chain(one_of.iter().map(|group| group[0]))
        .map(|field| (field.to_owned(), value(&schema["properties"][field])))
        .collect()
}

/// A value that the schema accepts.
pub fn value(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("string"), Some("uuid")) => json!(NOBODY),
        (Some("string"), Some("date-time")) => json!("2999-01-01T00:00:00Z"),
        (Some("string"), _) => json!("some-text"),
        (Some("integer"), _) => schema.get("minimum").cloned().unwrap_or(json!(1)),
        (Some("boolean"), _) => json!(true),
        (Some("array"), _) => json!([value(&schema["items"])]),
        _ => json!({}),
    }
}
