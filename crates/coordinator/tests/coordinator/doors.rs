//! What the doors rely on: how arguments are read, and who is told what is wrong with them.

use coordinator::failure::Failure;
use coordinator::identity::Principal;
use coordinator::operation::{BodyIdentity, Door};
use coordinator::registry::operations;
use serde_json::{Value, json};

use crate::minimal::minimal;
use crate::support::{call, caller, coordinator, least, ordinary};

fn named(failure: &Failure) -> Vec<&str> {
    match failure {
        Failure::Invalid { code: "invalid_request", fields } => fields.iter().map(|f| f.field.as_str()).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_unknown_field_is_named_by_tool_and_ignored_over_http() {
    let coordinator = coordinator();
    let (project, anna) = (coordinator.default_project(), caller("anna", None));
    for entry in ordinary() {
        for door in [Door::Mcp, Door::Cli] {
            let mut arguments = least(entry);
            arguments["colour"] = json!("red");
            arguments["ttl"] = json!(5);
            let failure = coordinator.call(entry, project, &anna, door, arguments).await.unwrap_err();
            assert_eq!(named(&failure), ["colour", "ttl"], "{}", entry.name);
            assert!(failure.message().contains(entry.name), "{}", failure.message());
        }
        let mut body = Value::Object(minimal(entry.body_schema(), entry.one_of));
        body["colour"] = json!("red");
        coordinator.call_as(entry, project, &Principal::default(), body).await.unwrap();
    }
}

/// A tool call cannot name another agent: the process speaks for one.
#[tokio::test]
async fn a_tool_has_no_field_for_its_caller() {
    let coordinator = coordinator();
    for entry in operations().iter().filter(|entry| entry.body_identity != BodyIdentity::None) {
        let own = entry.request_schema()["properties"].as_object().unwrap();
        for field in ["agent_id", "agent_type", "session_id"].iter().filter(|field| !own.contains_key(**field)) {
            let mut arguments = least(entry);
            arguments[*field] = json!("mallory");
            let failure = call(&coordinator, &caller("anna", None), entry.name, arguments).await.unwrap_err();
            assert_eq!(named(&failure), [*field], "{}", entry.name);
        }
    }
}

#[tokio::test]
async fn null_is_an_absent_field_and_no_arguments_are_none() {
    for entry in ordinary() {
        let coordinator = coordinator();
        let anna = caller("anna", None);
        let mut arguments = least(entry);
        for field in entry.request_schema()["properties"].as_object().into_iter().flatten().map(|(name, _)| name) {
            if arguments.get(field).is_none() {
                arguments[field] = Value::Null;
            }
        }
        call(&coordinator, &anna, entry.name, arguments).await.unwrap_or_else(|e| panic!("{}: {e:?}", entry.name));
        let (nothing, empty) = (
            call(&coordinator, &anna, entry.name, Value::Null).await,
            call(&coordinator, &anna, entry.name, json!({})).await,
        );
        assert_eq!(nothing.is_ok(), empty.is_ok(), "{}", entry.name);
    }
}

#[tokio::test]
async fn a_missing_field_is_named() {
    let coordinator = coordinator();
    for entry in operations() {
        let least = least(entry);
        for field in least.as_object().unwrap().keys() {
            let mut arguments = least.clone();
            arguments.as_object_mut().unwrap().remove(field);
            let failure = call(&coordinator, &caller("anna", None), entry.name, arguments).await.unwrap_err();
            assert_eq!(named(&failure), [field], "{}", entry.name);
        }
    }
}

/// A failure's body tells programs and people the same.
#[tokio::test]
async fn a_failure_has_a_code_a_sentence_and_details() {
    let coordinator = coordinator();
    let anna = caller("anna", None);
    let wrong =
        call(&coordinator, &anna, "acquire_lock", json!({"file_path": "a", "ttl_minutes": 481})).await.unwrap_err();
    let body = wrong.body();
    assert_eq!((&body["success"], &body["error"]), (&json!(false), &json!("invalid_request")));
    assert_eq!(body["fields"][0]["field"], "ttl_minutes");
    assert!(body["message"].as_str().unwrap().contains("480"), "what is allowed: {body}");

    let stale = json!({"file_path": "a", "fencing_token": 7});
    let body = call(&coordinator, &anna, "acquire_lock", stale).await.unwrap_err().body();
    assert_eq!(
        (&body["error"], &body["given"], &body["target"]),
        (&json!("stale_fencing_token"), &json!(7), &json!("a"))
    );
}
