//! What holds of every description in the registry: doors and language models rely on it.

use std::collections::BTreeSet;

use coordinator::operation::{Access, BodyIdentity, Method};
use coordinator::registry::{find, operations};
use serde_json::Value;

use crate::minimal::minimal;

/// The longest text that an agent has to read about one operation, or about one of its fields, in characters.
const TEXT_LIMIT: usize = 100;

#[test]
fn every_schema_is_valid_and_accepts_the_least_there_is() {
    for entry in operations() {
        for schema in [entry.request_schema(), entry.body_schema(), entry.answer_schema()] {
            assert!(jsonschema::meta::is_valid(schema), "{}: {schema:#}", entry.name);
        }
        for schema in [entry.request_schema(), entry.body_schema()] {
            let least = Value::Object(minimal(schema, entry.one_of));
            assert!(jsonschema::is_valid(schema, &least), "{}: {least}", entry.name);
            for needed in schema["required"].as_array().into_iter().flatten() {
                let field = needed.as_str().unwrap();
                assert!(schema["properties"].get(field).is_some(), "{}: {field} is required and not there", entry.name);
            }
        }
        for field in entry.seldom {
            assert!(entry.request_schema()["properties"].get(*field).is_some(), "{}: {field}", entry.name);
            let required = entry.request_schema()["required"].as_array();
            assert!(required.is_none_or(|all| all.iter().all(|name| name != field)), "{}: {field}", entry.name);
            assert!(entry.one_of.iter().all(|group| group[0] != *field), "{}: {field}", entry.name);
        }
        for field in entry.one_of.iter().copied().flatten() {
            assert!(entry.request_schema()["properties"].get(*field).is_some(), "{}: {field}", entry.name);
        }
    }
}

/// Requests are checked as schemas of draft 7; clients are told that they are of draft 2020-12.
#[test]
fn what_a_request_must_look_like_means_the_same_in_both_drafts() {
    for entry in operations() {
        for schema in [entry.request_schema(), entry.body_schema()] {
            let unsure = keywords_of_one_draft(schema);
            assert!(unsure.is_empty(), "{}: {unsure:?}", entry.name);
        }
    }
}

/// The keywords in a schema that are not known to mean the same in both drafts.
fn keywords_of_one_draft(schema: &Value) -> Vec<String> {
    const SAME: [&str; 18] = [
        "type",
        "enum",
        "const",
        "default",
        "description",
        "format",
        "pattern",
        "required",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
    ];
    let within = |(keyword, value): (&String, &Value)| match (keyword.as_str(), value) {
        ("properties", Value::Object(fields)) => fields.values().flat_map(keywords_of_one_draft).collect(),
        ("allOf" | "anyOf" | "oneOf", Value::Array(all)) => all.iter().flat_map(keywords_of_one_draft).collect(),
        ("items" | "additionalProperties" | "not" | "propertyNames", Value::Object(_) | Value::Bool(_)) => {
            keywords_of_one_draft(value)
        }
        (keyword, _) if SAME.contains(&keyword) => vec![],
        (keyword, _) => vec![keyword.to_owned()],
    };
    schema.as_object().into_iter().flatten().flat_map(within).collect()
}

#[test]
fn names_and_routes_are_unique() {
    let (mut names, mut routes) = (BTreeSet::new(), BTreeSet::new());
    for entry in operations() {
        assert!(names.insert(entry.name), "{} twice", entry.name);
        assert!(
            entry.name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && entry.name.len() <= 64,
            "{}",
            entry.name
        );
        assert!(find(entry.name).is_some_and(|found| std::ptr::eq(found, entry)));
        assert!(!entry.routes.is_empty(), "{} has no route", entry.name);
        for route in entry.routes {
            assert!(route.path.starts_with('/') && !route.path.ends_with('/'), "{route:?}");
            assert!(routes.insert(format!("{:?} {}", route.method, route.path)), "{route:?} twice");
        }
    }
    assert!(find("no_such_operation").is_none());
}

#[test]
fn path_parameters_are_required_fields() {
    for entry in operations() {
        for route in entry.routes {
            for name in route.path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
                let name = name.trim_start_matches('*');
                let required = entry.request_schema()["required"].as_array();
                assert!(required.is_some_and(|all| all.iter().any(|f| f == name)), "{route:?}: {name}");
            }
        }
    }
}

/// What is in a URL is text, so a field there must be something that text can say.
#[test]
fn what_is_got_by_url_fits_into_one() {
    for entry in operations() {
        if entry.routes.iter().all(|route| route.method != Method::Get) {
            continue;
        }
        for (name, schema) in entry.request_schema()["properties"].as_object().into_iter().flatten() {
            let kind = schema["type"].as_str().unwrap_or_default();
            let plain = ["string", "integer", "boolean"].contains(&kind);
            assert!(
                plain || (kind == "array" && schema["items"]["type"] == "string"),
                "{}: {name}: {schema}",
                entry.name
            );
        }
        assert_ne!(entry.access, Access::Write, "{}: a GET changes nothing", entry.name);
    }
}

#[test]
fn every_operation_is_described_in_few_words() {
    for entry in operations() {
        let length = entry.summary.chars().count();
        assert!((10..=TEXT_LIMIT).contains(&length) && entry.summary.ends_with('.'), "{}: {length}", entry.name);
        for (name, schema) in entry.request_schema()["properties"].as_object().into_iter().flatten() {
            let text = schema["description"].as_str().unwrap_or_default();
            assert!(text.chars().count() <= TEXT_LIMIT && !text.contains('\n'), "{}: {name}: {text}", entry.name);
            assert!(!text.contains("See [") && !text.contains('`'), "{}: {name}: {text}", entry.name);
        }
    }
}

/// Whoever writes is asked for its name over HTTP, or may give it; a public read asks nobody.
#[test]
fn access_and_identity_go_together() {
    for entry in operations() {
        match entry.access {
            Access::Write => assert_ne!(entry.body_identity, BodyIdentity::None, "{}", entry.name),
            Access::PublicRead => assert_eq!(entry.body_identity, BodyIdentity::None, "{}", entry.name),
            Access::Read => {}
        }
    }
}
