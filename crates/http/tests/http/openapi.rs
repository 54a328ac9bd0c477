//! The OpenAPI document: what generated clients are made from.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::routes::{all, fits};
use crate::server::{Server, with};

fn document() -> Value {
    http_api::openapi()
}

/// Whoever changes the interface sees it here.
#[test]
fn the_document_is_as_reviewed() {
    let mut document = document();
    document["info"]["version"] = "(version)".into();
    insta::assert_json_snapshot!("openapi", document);
}

#[tokio::test]
async fn the_server_serves_it() {
    let server = Server::in_memory().await;
    assert_eq!(*server.get("/openapi.json").without_key().await.ok(), document());
}

#[test]
fn every_reference_resolves() {
    let document = document();
    let mut references = vec![];
    walk(&document, &mut |object| references.extend(object["$ref"].as_str().map(str::to_owned)));
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("a reference within the document");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

#[test]
fn every_operation_is_named_once_and_declares_its_parameters() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no id"));
            assert!(ids.insert(id), "{id} twice");
            assert!(operation["summary"].as_str().is_some_and(|s| !s.is_empty()), "{id}");
            let declared: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|p| p["in"] == "path")
                .inspect(|p| assert_eq!(p["required"], true, "{id}: {p}"))
                .filter_map(|p| p["name"].as_str())
                .collect();
            let in_path: BTreeSet<&str> = path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
            assert_eq!(declared, in_path, "{id}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(status.parse::<u16>().is_ok_and(|s| (200..600).contains(&s)), "{id}: {status}");
                assert!(response["description"].is_string(), "{id}: {status}");
            }
            for scheme in
                operation["security"].as_array().into_iter().flatten().flat_map(|s| s.as_object().unwrap().keys())
            {
                assert!(document["components"]["securitySchemes"].get(scheme).is_some(), "{id}: {scheme}");
            }
        }
    }
}

#[test]
fn every_schema_is_one() {
    let mut count = 0;
    walk(&document(), &mut |object| {
        if let Some(schema) = object.get("schema").filter(|schema| schema.get("$ref").is_none()) {
            count += 1;
            assert!(jsonschema::meta::is_valid(schema), "{schema:#}");
        }
    });
    assert!(count >= 2 * all().count());
}

/// Each operation's answer, in good and bad times, is what the document says it is.
#[tokio::test]
async fn answers_are_as_documented() {
    let keys = tempfile::tempdir().unwrap();
    let server = Server::with(|settings| settings.audit_signing_key = Some(keys.path().join("audit.key"))).await;
    let anna = |fields| with(json!({"agent_id": "anna", "agent_type": "t", "session_id": "s"}), fields);
    let bert = |fields| with(json!({"agent_id": "bert", "agent_type": "t"}), fields);
    let lock = |fields| with(json!({"file_path": "a.rs"}), fields);
    let first = server.submit(json!({})).await;
    let second = server
        .submit(json!({"depends_on": [first], "input_data": {"x": [1]}, "deadline": "2999-01-01T00:00:00Z"}))
        .await;
    let task = |fields| with(json!({"task_id": first}), fields);
    let nobody = crate::minimal::NOBODY;
    let posts = [
        ("/agents/register", anna(json!({"capabilities": ["rust"], "current_task": "x"}))),
        ("/agents/heartbeat", anna(json!({}))),
        ("/agents/heartbeat", bert(json!({}))),
        ("/locks/acquire", anna(lock(json!({})))),
        ("/locks/acquire", anna(json!({"file_paths": ["a.rs", "b.rs"], "reason": "both"}))),
        ("/locks/acquire", bert(lock(json!({})))),
        ("/locks/release", bert(lock(json!({})))),
        ("/locks/release", anna(json!({"file_paths": ["b.rs", "c.rs"]}))),
        ("/work/claim", anna(json!({}))),
        ("/work/claim", bert(json!({}))),
        ("/work/complete", bert(task(json!({"success": true})))),
        ("/work/complete", anna(task(json!({"success": false, "error_message": "no"})))),
        ("/work/get", task(json!({}))),
        ("/work/get", json!({"task_id": nobody})),
        ("/work/cancel", task(json!({"reason": "enough"}))),
        ("/work/cancel", task(json!({"reason": "enough"}))),
        ("/work/cancel", json!({"task_id": nobody, "reason": "enough"})),
        ("/work/submit", json!({"task_type": "t", "description": "d"})),
        ("/memory/store", anna(json!({"event_type": "error", "summary": "it broke", "details": {"a": 1}}))),
        ("/memory/store", anna(json!({"event_type": "error", "summary": "it broke", "outcome": "negative"}))),
        ("/memory/query", bert(json!({"task_description": "what broke?", "explain": true}))),
        ("/memory/query", bert(json!({"tags": ["none"]}))),
        ("/memory/working", anna(json!({"key": "plan", "value": {"steps": [1]}, "pinned": true}))),
        ("/memory/working", anna(json!({"key": "other"}))),
        ("/memory/skills/use", anna(json!({"skill_name": "bisect", "success": true, "steps": ["halve"]}))),
        ("/memory/skills/query", json!({"task_type": "bisect"})),
        ("/agents/cleanup", bert(json!({}))),
        ("/messages/send", anna(json!({"to": "bert", "text": "mine", "thread": "a.rs"}))),
        ("/messages/read", bert(json!({}))),
        ("/messages/read", bert(json!({}))),
        ("/agents/end", anna(json!({}))),
        ("/agents/end", bert(json!({}))),
        ("/agents/register", anna(json!({}))),
        ("/handoffs/read", anna(json!({}))),
        ("/handoffs/write", anna(json!({"summary": "half done", "next_steps": ["the rest"], "feature_id": "f"}))),
        ("/handoff/write", anna(json!({"content": {"done": "a\nb", "mood": "good"}}))),
        ("/handoffs", anna(json!({"content": "just text"}))),
        ("/handoff/read", bert(json!({"limit": 10}))),
        ("/network/check", anna(json!({"domain": "example.com"}))),
        ("/network/check", anna(json!({"url": "https://a.example.com/", "resolves_to": ["8.8.8.8"]}))),
        ("/guardrails/check", json!({"operation_text": "ls", "file_paths": ["a.rs"]})),
        ("/guardrails/check", bert(json!({"operation_text": "cat .env", "run": true}))),
        ("/guardrails/check", bert(json!({"operation_text": "rm -rf /"}))),
        ("/audit/verify", json!({})),
        ("/audit/checkpoint", json!({})),
        ("/audit/prove", json!({"id": nobody})),
        ("/ports/allocate", json!({"session_id": "s"})),
        ("/ports/allocate", json!({"session_id": "another"})),
        ("/ports/release", json!({"session_id": "another"})),
        ("/features/register", anna(json!({"feature_id": "f", "resource_claims": ["a.rs"], "metadata": {"a": 1}}))),
        ("/features/register", bert(json!({"feature_id": "g", "resource_claims": ["a.rs", "b.rs"]}))),
        ("/features/register", bert(json!({"feature_id": "h", "resource_claims": []}))),
        ("/features/conflicts", json!({"candidate_feature_id": "i", "candidate_claims": ["a.rs"]})),
        ("/locks/acquire", anna(json!({"file_path": "b.rs"}))),
        ("/merge-queue/enqueue", anna(json!({"feature_id": "f", "pr_url": "https://git.example/1"}))),
        ("/merge-queue/enqueue", anna(json!({"feature_id": "g"}))),
        ("/merge-queue/enqueue", anna(json!({"feature_id": "h"}))),
        ("/merge-queue/check/g", json!({})),
        ("/merge-queue/check/f", json!({})),
        ("/merge-queue/state/f", json!({"state": "merging"})),
        ("/merge-queue/merged/f", json!({"commit": "c0ffee"})),
        ("/features/deregister", json!({"feature_id": "g", "status": "cancelled"})),
        ("/policy/check", anna(json!({"operation": "acquire_lock", "resource": "a.rs", "context": {"door": "mcp"}}))),
        ("/policy/check", json!({"operation": "fly"})),
        ("/policy/validate", json!({"policy_text": "permit (principal, action, resource) when { oops };"})),
        ("/policy/replay", json!({"policy_text": "forbid (principal, action, resource);", "limit": 5})),
    ];
    let first_version = server.post("/profiles", json!({"name": "small", "body": "trust_level = 1"})).await;
    let version = &first_version.ok()["version"];
    let ask = anna(json!({"operation": "run_command", "resource": "cat .env", "reason": "to see"}));
    let asked = server.post("/approvals/request", ask.clone()).await;
    let (approval, row) = (&asked.ok()["approval_id"], server.trail("default").await.remove(0).id);
    let submitted = server.post("/verification/changesets", anna(json!({"revision": "agent/anna/1"}))).await;
    let changeset = submitted.ok()["changeset_id"].clone();
    let run = json!({"policy": "tests", "tier": 1, "executor": "inline", "timeout_seconds": 60});
    let plan = json!({"changeset_id": changeset, "commit": "c0ffee", "tree": "beef", "runs": [run]});
    server.post("/verification/plan", plan.clone()).await.ok();
    let claimed = server.post("/verification/claim", json!({"lease_seconds": 60})).await;
    let (run, token) = (claimed.ok()["run_id"].clone(), claimed.ok()["token"].clone());
    let rules = [
        ("/verification/changesets", anna(json!({"revision": "main", "policies": ["tests"]}))),
        ("/verification/plan", plan),
        ("/verification/claim", json!({"lease_seconds": 60})),
        ("/verification/renew", json!({"run_id": run, "token": token, "key": "k"})),
        ("/verification/report", json!({"run_id": run, "token": token, "verdict": "failed", "summary": "no"})),
        ("/webhook/agent", json!({"branch": "agent/anna/2"})),
        ("/profiles", json!({"name": "small", "body": "trust_level = 2\nmax_file_modifications = 1"})),
        ("/profiles/assign", json!({"to": "agent:nora", "profile": "small"})),
        ("/approvals/request", ask),
        (
            "/approvals/decide",
            json!({"approval_id": approval, "decision": "approve", "scope": "session", "note": "go"}),
        ),
        ("/approvals/decide", json!({"approval_id": approval, "decision": "approve"})),
        ("/approvals/decide", json!({"approval_id": nobody, "decision": "deny"})),
        ("/approvals/get", json!({"approval_id": approval})),
        ("/approvals/get", json!({"approval_id": nobody})),
        ("/guardrails/packs", json!({"name": "git", "disable": true})),
        ("/guardrails/packs", json!({"name": "git"})),
        (
            "/verification/policies",
            json!({"name": "lint", "policy": "globs = ['**']\ntier = 0\ncommand = ['make', 'lint']"}),
        ),
        ("/network/rules", json!({"allow": ["*.example.com:443"], "default": "deny", "profile": "t"})),
        ("/policies", json!({"name": "p", "policy_text": "permit (principal, action, resource);"})),
        ("/policies", json!({"name": "p"})),
        ("/rules/history", json!({"kind": "policy", "name": "p"})),
        ("/rules/rollback", json!({"kind": "profile", "name": "small", "version": version})),
        ("/audit/prove", json!({"id": row})),
    ];
    let gets = [
        format!("/api/v1/tasks/{second}"),
        format!("/api/v1/tasks/{nobody}"),
        "/api/v1/tasks?limit=1".into(),
        "/locks".into(),
        "/locks/status/a.rs".into(),
        "/locks/status/other.rs".into(),
        "/agents".into(),
        "/audit?limit=3".into(),
        "/messages?thread=a.rs".into(),
        "/handoffs/latest".into(),
        "/handoffs/latest?agent_id=anna&limit=2".into(),
        "/ports/status".into(),
        "/network/rules".into(),
        "/help".into(),
        "/help?operation=acquire_lock".into(),
        "/memory/working?agent_id=anna&session_id=s".into(),
        "/memory/working?key=none".into(),
        "/profiles/me?agent_id=anna&agent_type=codex_cli".into(),
        "/profiles".into(),
        "/approvals".into(),
        format!("/approvals/{}", approval.as_str().unwrap()),
        format!("/approvals/{nobody}"),
        "/guardrails/patterns?pack=git".into(),
        "/audit/export?limit=2".into(),
        "/audit/export?format=cloudevents".into(),
        "/profiles?name=small".into(),
        "/policies".into(),
        "/branches/conflicts".into(),
        format!("/verification/changesets/{}", changeset.as_str().unwrap()),
        format!("/verification/changesets/{nobody}"),
        "/verification/changesets?state=failed".into(),
        "/verification/metrics".into(),
        "/verification/policies".into(),
        "/features/active".into(),
        "/features/f".into(),
        "/features/none".into(),
        "/features/drift/h".into(),
        "/features/drift/none".into(),
        "/merge-queue".into(),
        "/merge-queue?scope=merged".into(),
        "/merge-queue/next".into(),
    ];
    let deletes = ["/merge-queue/h"];
    let document = document();
    let answers = posts.into_iter().map(|(path, body)| ("post", path.to_owned(), server.post(path, body)));
    let answers =
        answers.chain(rules.into_iter().map(|(path, body)| ("post", path.to_owned(), server.post(path, body))));
    let answers = answers.chain(gets.into_iter().map(|path| ("get", path.clone(), server.get(&path))));
    let answers = answers.chain(deletes.map(|path| ("delete", path.to_owned(), server.delete(path))));
    let mut seen = BTreeSet::new();
    for (method, path, call) in answers {
        let answer = call.await;
        let bare = path.split('?').next().unwrap();
        let (route, operation) = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(route, _)| fits(route, bare))
            .filter_map(|(route, methods)| Some((route, methods.get(method)?)))
            // As the router does: the one that says most of the path itself.
            .max_by_key(|(route, _)| route.split('{').next().map(str::len))
            .unwrap_or_else(|| panic!("{path} is not documented"));
        let response = &operation["responses"][answer.status.to_string()];
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path}: {} is not documented", answer.status);
        let validator = jsonschema::validator_for(schema).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&answer.body).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{method} {path}: {errors:#?}\nin {:#}", answer.body);
        seen.insert((route.clone(), method));
    }
    assert_eq!(seen.len(), all().count(), "a route was not tried: {seen:#?}");
}

fn walk(value: &Value, visit: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(fields) => {
            visit(value);
            fields.values().for_each(|field| walk(field, visit));
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        _ => {}
    }
}
