//! Reading the fields of an answer, to show them.

use jiff::Timestamp;
use serde_json::Value;

use crate::time;

/// The text of a field; empty where there is none.
pub fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field].as_str().unwrap_or_default()
}

/// The text of a field, where there is one with something in it.
pub fn some<'a>(answer: &'a Value, field: &str) -> Option<&'a str> {
    answer[field].as_str().filter(|text| !text.is_empty())
}

/// A field that is text, number or anything else, as people write it; empty where there is none.
pub fn shown(answer: &Value, field: &str) -> String {
    match &answer[field] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The items of a field that is a list.
pub fn items<'a>(answer: &'a Value, field: &str) -> &'a [Value] {
    answer[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// When, as seen from now; empty where the field holds no time.
pub fn when(answer: &Value, field: &str) -> String {
    instant(answer, field).map(|at| time::relative(at, Timestamp::now())).unwrap_or_default()
}

/// For how much longer or how long ago, without "in" and "ago"; empty where the field holds no time.
pub fn distance(answer: &Value, field: &str) -> String {
    instant(answer, field).map(|at| time::length(at.duration_since(Timestamp::now()))).unwrap_or_default()
}

/// The time in a field.
pub fn instant(answer: &Value, field: &str) -> Option<Timestamp> {
    answer[field].as_str()?.parse().ok()
}
