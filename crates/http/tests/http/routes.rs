//! What holds of every route, found by walking the registry.

use std::collections::BTreeSet;

use coordinator::operation::{Access, BodyIdentity, Entry, Method, Route};
use coordinator::registry;
use serde_json::{Value, json};

use crate::minimal::{NOBODY, minimal, value};
use crate::server::{ALICE, Call, Server};

/// Every operation with each of its routes.
pub fn all() -> impl Iterator<Item = (&'static Entry, Route)> {
    registry::operations().iter().flat_map(|entry| entry.routes.iter().map(move |route| (entry, *route)))
}

/// The path with something in the place of its parameters.
pub fn path(entry: &Entry, route: Route) -> String {
    let mut path = route.path.replace("{*", "{");
    for (name, schema) in entry.body_schema()["properties"].as_object().into_iter().flatten() {
        let text = value(schema).as_str().map_or_else(|| NOBODY.to_owned(), str::to_owned);
        path = path.replace(&format!("{{{name}}}"), &text);
    }
    path
}

/// Is the path one of the route's, whose parameter may stand for several components at its end?
pub fn fits(route: &str, path: &str) -> bool {
    match route.split_once('{') {
        Some((start, _)) => path.strip_prefix(start).is_some_and(|rest| !rest.is_empty()),
        None => route == path,
    }
}

/// The least that the route accepts.
pub fn good_call(server: &Server, entry: &Entry, route: Route) -> Call {
    match route.method {
        Method::Get => server.get(&path(entry, route)),
        Method::Post => server.post(&path(entry, route), Value::Object(minimal(entry.body_schema(), entry.one_of))),
        Method::Delete => server.delete(&path(entry, route)),
    }
}

#[tokio::test]
async fn every_route_is_reachable_and_documented() {
    let server = Server::in_memory().await;
    let document = server.get("/openapi.json").without_key().await.ok().clone();
    let mut documented: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        documented.extend(methods.as_object().unwrap().keys().map(|method| (path.clone(), method.clone())));
    }
    assert!(documented.remove(&("/health".into(), "get".into())));
    assert!(documented.remove(&("/events".into(), "get".into())));
    assert!(documented.remove(&("/webhook/github".into(), "post".into())));
    for (entry, route) in all() {
        let answer = good_call(&server, entry, route).await;
        let code = answer.body["error"].as_str().unwrap_or_default();
        assert!(!["not_found", "method_not_allowed"].contains(&code), "{route:?}: {}", answer.body);
        assert!(answer.status < 500, "{route:?}: {}", answer.body);
        let method = match route.method {
            Method::Get => "get",
            Method::Post => "post",
            Method::Delete => "delete",
        };
        assert!(documented.remove(&(route.path.replace("{*", "{"), method.into())), "{route:?} is not documented");
    }
    assert_eq!(documented, BTreeSet::new(), "documented, but not there");
}

/// Clients probe for a capability by sending `{}`.
#[tokio::test]
async fn an_empty_object_names_each_missing_field_and_does_nothing() {
    let server = Server::start().await;
    // A path that names something says enough by itself.
    let probed = |route: &Route| route.method == Method::Post && !route.path.contains('{');
    for (entry, route) in all().filter(|(_, route)| probed(route)) {
        let mut missing: Vec<&str> = entry.one_of.iter().map(|group| group[0]).collect();
        missing.extend(entry.body_schema()["required"].as_array().into_iter().flatten().filter_map(Value::as_str));
        missing.sort_unstable();
        let before = server.state().await;
        if missing.is_empty() {
            assert_ne!(entry.access, Access::Write, "{}: {{}} would have an effect", route.path);
            server.post(route.path, json!({})).await.ok();
            assert_eq!(server.state().await, before, "{}", route.path);
            continue;
        }
        for key in [crate::server::FREE, ALICE] {
            let answer = server.post(route.path, json!({})).key(key).await;
            answer.refused(422, "invalid_request");
            assert_eq!(answer.wrong_fields(), missing, "{}", route.path);
        }
        assert_eq!(server.state().await, before, "{}", route.path);
    }
}

#[test]
fn the_contract_s_required_identity_is_required() {
    for (path, required) in [
        ("/locks/acquire", BodyIdentity::AgentAndType),
        ("/locks/release", BodyIdentity::Agent),
        ("/work/claim", BodyIdentity::AgentAndType),
        ("/work/complete", BodyIdentity::Agent),
        ("/handoffs/write", BodyIdentity::Agent),
        // A session's ports are asked for by its name; nobody need say who asks.
        ("/ports/allocate", BodyIdentity::WithoutSession),
        ("/memory/store", BodyIdentity::Agent),
        ("/memory/query", BodyIdentity::Agent),
    ] {
        let (entry, _) = all().find(|(_, route)| route.path == path).unwrap();
        assert_eq!(entry.body_identity, required, "{path}");
    }
}

#[tokio::test]
async fn only_the_public_routes_open_without_a_key() {
    let server = Server::start().await;
    let strict = Server::with(|settings| settings.key_for_reads = true).await;
    let before = server.state().await;
    for (entry, route) in all() {
        let is_public = entry.access == Access::PublicRead;
        assert_eq!(is_public, ["/locks/status/{*file_path}", "/ports/status"].contains(&route.path), "{route:?}");
        let answer = good_call(&server, entry, route).without_key().await;
        match is_public {
            true => drop(answer.ok()),
            false => drop(answer.refused(401, "unauthorized")),
        }
        for server in [&server, &strict] {
            let answer = good_call(server, entry, route).key("no-such-key").await;
            answer.refused(401, "unauthorized");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
        good_call(&strict, entry, route).without_key().await.refused(401, "unauthorized");
    }
    for path in ["/health", "/openapi.json"] {
        strict.get(path).without_key().await.ok();
    }
    assert_eq!(server.state().await, before);
}

/// The fields that hold hashes of the trail.
const HASHED: [&str; 4] = ["root", "hash", "prev_hash", "checkpoint"];

/// The same answers, whatever keeps the state.
#[tokio::test]
async fn the_reference_store_answers_alike() {
    let (sqlite, memory) = (Server::start().await, Server::in_memory().await);
    for (entry, route) in all() {
        let (a, b) = (good_call(&sqlite, entry, route).await, good_call(&memory, entry, route).await);
        assert_eq!((a.status, shape(&a.body)), (b.status, shape(&b.body)), "{route:?}");
    }
}

/// The value without what differs from run to run, or from store to store: the trail's hashes are of the text that the
/// database itself makes of a row's JSON.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                let is_of_trail = value.is_string() && HASHED.contains(&name.as_str());
                (name.clone(), if is_of_trail { "(hash)".into() } else { shape(value) })
            })
            .collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => "(instant)".into(),
        Value::String(text) if text.parse::<uuid::Uuid>().is_ok() => "(id)".into(),
        Value::Number(_) => "(number)".into(),
        other => other.clone(),
    }
}
