//! The OpenAPI document, derived from the registry.

use coordinator::operation::{Access, Entry, Method, Route};
use coordinator::{VERSION, registry};
use serde_json::{Map, Value, json};

/// The document: OpenAPI 3.1, whose schemas are JSON Schema as ours are.
pub fn document() -> Value {
    let mut paths = Map::new();
    for entry in registry::operations() {
        for (at, route) in entry.routes.iter().enumerate() {
            // `{*name}` takes slashes too; OpenAPI has no word for that.
            let path = route.path.replace("{*", "{");
            let methods = paths.entry(path).or_insert_with(|| json!({}));
            let method = method_name(*route);
            methods[method] = operation(entry, *route, &id(entry, at));
        }
    }
    paths.insert("/health".into(), json!({"get": health()}));
    paths.insert(crate::github::PATH.into(), json!({"post": crate::github::openapi()}));
    paths.insert(crate::events::PATH.into(), json!({"get": crate::events::openapi()}));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Agent Coordinator",
            "version": VERSION,
            "description": "Locks, work, sessions and a record of it all, for agents that share a codebase.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
            "parameters": {
                "project": {
                    "name": "X-Coordinator-Project", "in": "header", "required": false,
                    "description": "The project, where the key is not bound to one.",
                    "schema": {"type": "string", "minLength": 1, "maxLength": 256},
                },
            },
            "schemas": {
                "Problem": {
                    "type": "object",
                    "required": ["success", "error", "message", "status"],
                    "properties": {
                        "success": {"const": false},
                        "error": {"type": "string", "description": "Stable code."},
                        "message": {"type": "string", "description": "What happened and what to do."},
                        "status": {"type": "integer"},
                        "fields": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                            },
                        },
                    },
                },
            },
        },
    })
}

/// A response that tells what went wrong.
pub fn problem(description: &str) -> Value {
    json!({
        "description": description,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    })
}

fn method_name(route: Route) -> &'static str {
    match route.method {
        Method::Get => "get",
        Method::Post => "post",
        Method::Delete => "delete",
    }
}

/// The first route has the operation's name; the others tell how they differ from it.
fn id(entry: &Entry, at: usize) -> String {
    let Some((route, earlier)) = entry.routes[..=at].split_last().filter(|_| at > 0) else { return entry.name.into() };
    let twins = earlier.iter().skip(1).filter(|twin| twin.method == route.method).count();
    let number = if twins == 0 { String::new() } else { format!("_{}", twins + 1) };
    format!("{}_by_{}{number}", entry.name, method_name(*route))
}

fn operation(entry: &Entry, route: Route, id: &str) -> Value {
    let mut parameters = vec![json!({"$ref": "#/components/parameters/project"})];
    let mut operation = json!({
        "operationId": id,
        "summary": entry.summary,
        "responses": {
            "200": {
                "description": "The answer; `success: false` is one too.",
                "content": {"application/json": {"schema": entry.answer_schema()}},
            },
            "401": problem("No key, or one that opens nothing."),
            "403": problem("The key's agent may not do this, or is not the one named."),
            "409": problem("It cannot be done as things are; asking again will not help."),
            "422": problem("A field is missing or wrong; each is named."),
            "429": problem("The key has made too many requests; `Retry-After` says when it may make the next one."),
            "503": problem("The database does not answer."),
        },
        "security": match entry.access {
            Access::PublicRead => json!([{}, {"key": []}, {"bearer": []}]),
            Access::Read | Access::Write => json!([{"key": []}, {"bearer": []}]),
        },
    });
    match route.method {
        Method::Delete => parameters.extend(url_parameters(entry, route, |_| true)),
        Method::Get => {
            parameters.extend(url_parameters(entry, route, |_| true));
            if route.path.contains('{') && entry.answer_schema()["properties"].get("reason").is_some() {
                operation["responses"]["404"] = json!({
                    "description": "There is no such thing.",
                    "content": {"application/json": {"schema": entry.answer_schema()}},
                });
            }
        }
        Method::Post => {
            operation["responses"]["400"] = problem("The body is not JSON.");
            operation["responses"]["413"] = problem("The body is too large.");
            let in_path = |name: &str| route.has_in_path(name);
            parameters.extend(url_parameters(entry, route, in_path));
            let (schema, required) = match route.path.contains('{') {
                true => (without(entry.body_schema(), in_path), false),
                false => (entry.body_schema().clone(), true),
            };
            operation["requestBody"] =
                json!({"required": required, "content": {"application/json": {"schema": schema}}});
        }
    }
    operation["parameters"] = Value::Array(parameters);
    operation
}

/// The schema of an object without some of its fields.
fn without(schema: &Value, gone: impl Fn(&str) -> bool) -> Value {
    let mut schema = schema.clone();
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.retain(|name, _| !gone(name));
    }
    if let Some(required) = schema["required"].as_array_mut() {
        required.retain(|name| !name.as_str().is_some_and(&gone));
    }
    schema
}

fn url_parameters(entry: &Entry, route: Route, wanted: impl Fn(&str) -> bool) -> Vec<Value> {
    let Some(properties) = entry.body_schema()["properties"].as_object() else { return vec![] };
    properties
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, schema)| {
            let in_path = route.has_in_path(name);
            json!({
                "name": name,
                "in": if in_path { "path" } else { "query" },
                "required": in_path,
                "schema": schema,
            })
        })
        .collect()
}

fn health() -> Value {
    let schema = json!({
        "type": "object",
        "properties": {"status": {"type": "string"}, "db": {"type": "string"}, "version": {"type": "string"}},
    });
    let content = json!({"application/json": {"schema": schema}});
    json!({
        "operationId": "health",
        "summary": "Does the coordinator reach its database?",
        "security": [{}],
        "responses": {
            "200": {"description": "It does.", "content": content},
            "503": {"description": "It does not.", "content": content},
        },
    })
}
