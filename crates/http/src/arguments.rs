//! A request's arguments from its URL: text there, typed in the schema.

use axum::extract::RawPathParams;
use coordinator::operation::Entry;
use serde_json::{Map, Value};

/// The arguments in path and query. A list is given by repeating its name or by commas. What does not fit its type stays
/// text, and the schema says what is wrong with it.
pub fn of_url(entry: &Entry, path: &RawPathParams, query: &str) -> Value {
    let mut arguments = Map::new();
    for (name, text) in form_urlencoded::parse(query.as_bytes()) {
        insert(entry, &mut arguments, &name, &text);
    }
    for (name, text) in path {
        insert(entry, &mut arguments, name, text);
    }
    Value::Object(arguments)
}

/// The arguments of a body, with those in the path, which win. What is no object is left for the schema to refuse.
pub fn with_path(path: &RawPathParams, mut body: Value) -> Value {
    if let Some(arguments) = body.as_object_mut() {
        arguments.extend(path.iter().map(|(name, text)| (name.to_owned(), text.into())));
    }
    body
}

fn insert(entry: &Entry, arguments: &mut Map<String, Value>, name: &str, text: &str) {
    match kind(entry, name) {
        Some("array") => {
            let list = arguments.entry(name).or_insert_with(|| Value::Array(vec![]));
            if let Value::Array(items) = list {
                items.extend(text.split(',').filter(|item| !item.is_empty()).map(Value::from));
            }
        }
        Some("integer") => {
            arguments.insert(name.into(), text.parse::<i64>().map_or_else(|_| text.into(), Value::from));
        }
        Some("boolean") => {
            arguments.insert(name.into(), text.parse::<bool>().map_or_else(|_| text.into(), Value::from));
        }
        _ => {
            arguments.insert(name.into(), text.into());
        }
    }
}

fn kind<'a>(entry: &'a Entry, name: &str) -> Option<&'a str> {
    entry.body_schema()["properties"][name]["type"].as_str()
}
