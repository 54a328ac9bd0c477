//! The trail made provable, its retention, and keys with scopes and limits.

use std::sync::Arc;
use std::time::Duration;

use coordinator::Coordinator;
use coordinator::audit::proof::Proof;
use coordinator::audit::signing_key::VerifierKey;
use coordinator::failure::Failure;
use coordinator::identity::{Named, Principal};
use coordinator::keys::NewKey;
use coordinator::registry::find;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{call, caller, coordinator, coordinator_with, deeds, trail};

/// A coordinator with a place for its key, and so many rows.
async fn with_rows(count: usize) -> (Arc<Coordinator>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.pem");
    let coordinator = coordinator_with(|settings| settings.audit_signing_key = Some(path));
    for number in 0..count {
        let lock = json!({"file_path": format!("src/{number}")});
        call(&coordinator, &caller("anna", None), "acquire_lock", lock).await.unwrap();
    }
    (coordinator, directory)
}

async fn ask(coordinator: &Coordinator, operation: &str, request: Value) -> Value {
    call(coordinator, &caller("anna", None), operation, request).await.unwrap()
}

#[tokio::test]
async fn a_trail_verifies_against_an_older_checkpoint_of_its_own() {
    let (coordinator, _directory) = with_rows(3).await;
    let signed = ask(&coordinator, "checkpoint_audit", json!({})).await;
    assert_eq!((&signed["success"], &signed["size"]), (&json!(true), &json!(3)));
    let (other, _other_directory) = with_rows(5).await;
    for _ in 0..2 {
        let request = json!({"checkpoint": signed["checkpoint"], "public_key": signed["public_key"]});
        let answer = ask(&coordinator, "verify_audit", request.clone()).await;
        assert_eq!(
            (&answer["success"], &answer["covered"], &answer["findings"]),
            (&json!(true), &json!(3), &json!([]))
        );
        let answer = ask(&other, "verify_audit", request).await;
        assert_eq!((&answer["success"], &answer["reason"]), (&json!(false), &json!("other_trail")));
        ask(&coordinator, "acquire_lock", json!({"file_path": "later"})).await;
    }
    let unknown =
        call(&other, &caller("anna", None), "verify_audit", json!({"checkpoint": signed["checkpoint"]})).await;
    assert_eq!(unknown.unwrap_err().code(), "invalid_request", "who signed it is not known there");
}

#[tokio::test]
async fn every_row_is_proved_and_no_other() {
    let (coordinator, _directory) = with_rows(13).await;
    let signed = ask(&coordinator, "checkpoint_audit", json!({})).await;
    let key: VerifierKey = signed["public_key"].as_str().unwrap().parse().unwrap();
    ask(&coordinator, "acquire_lock", json!({"file_path": "later"})).await;
    let rows = trail(&coordinator).await;
    for row in &rows {
        let request = json!({"id": row.id, "checkpoint": signed["checkpoint"]});
        let answer = ask(&coordinator, "prove_audit", request).await;
        if row.seq > 13 {
            assert_eq!(answer["reason"], "audit_entry_not_found", "the checkpoint is older");
        } else {
            let proof: Proof = serde_json::from_value(answer["proof"].clone()).unwrap();
            assert!(proof.path.len() <= 4);
            let (checkpoint, proved) = proof.check(&key).unwrap();
            assert_eq!((checkpoint.size, proved.text("id")), (13, Some(row.id.to_string().as_str())));
            for false_proof in [
                Proof { seq: proof.seq % 13 + 1, ..proof.clone() },
                Proof { row: proof.row.replace("anna", "bert"), ..proof.clone() },
                Proof { previous: model::chain::Digest256::START, seq: 2, ..proof.clone() },
                Proof { path: vec![], ..proof.clone() },
                Proof { checkpoint: signed["checkpoint"].as_str().unwrap().replacen("13", "14", 1), ..proof.clone() },
            ] {
                assert!(false_proof.check(&key).is_err(), "{false_proof:?}");
            }
        }
        // Without a checkpoint one is signed now.
        let answer = ask(&coordinator, "prove_audit", json!({"id": row.id})).await;
        let proof: Proof = serde_json::from_value(answer["proof"].clone()).unwrap();
        assert_eq!(proof.check(&key).unwrap().0.size, 14);
    }
    let nobody = ask(&coordinator, "prove_audit", json!({"id": crate::minimal::NOBODY})).await;
    assert_eq!(nobody["reason"], "audit_entry_not_found");
}

#[tokio::test]
async fn the_trail_is_exported_in_pages_and_as_cloudevents() {
    let (coordinator, _directory) = with_rows(5).await;
    let page = ask(&coordinator, "export_audit", json!({"limit": 2})).await;
    assert_eq!((page["entries"].as_array().unwrap().len(), &page["next_after"]), (2, &json!(2)));
    let page = ask(&coordinator, "export_audit", json!({"limit": 3, "after": 2})).await;
    assert_eq!((page["entries"].as_array().unwrap().len(), page.get("next_after")), (3, None));
    let shown = ask(&coordinator, "query_audit", json!({"limit": 1})).await["entries"][0].clone();
    let mut last = page["entries"][2].clone();
    assert_eq!(last.as_object_mut().unwrap().remove("hash").unwrap().as_str().unwrap().len(), 64);
    assert_eq!(last, shown);

    let events = ask(&coordinator, "export_audit", json!({"format": "cloudevents", "after": 4})).await;
    let event = &events["entries"][0];
    assert_eq!((&event["specversion"], &event["id"]), (&json!("1.0"), &shown["id"]));
    assert_eq!((&event["type"], &event["time"]), (&json!("agent-coordinator.acquire_lock"), &shown["created_at"]));
    assert_eq!(event["data"]["parameters"], shown["parameters"]);
}

#[tokio::test]
async fn old_rows_go_sealed_and_the_rest_verifies() {
    let (coordinator, _directory) = with_rows(6).await;
    let (project, admin) = (coordinator.default_project(), caller("admin", None));
    let old = ask(&coordinator, "checkpoint_audit", json!({})).await;
    let ages_ago = Timestamp::now().checked_sub(SignedDuration::from_hours(24)).unwrap();
    assert_eq!(coordinator.prune_audit(project, &admin, ages_ago).await.unwrap(), 0);
    let in_a_day = Timestamp::now().checked_add(SignedDuration::from_hours(24)).unwrap();
    assert_eq!(coordinator.prune_audit(project, &admin, in_a_day).await.unwrap(), 5, "the last one stays");
    let rows = trail(&coordinator).await;
    assert_eq!(deeds(&coordinator).await, ["acquire_lock", "prune_audit"]);
    assert_eq!(rows[0].seq, 6);

    let new = ask(&coordinator, "checkpoint_audit", json!({})).await;
    for signed in [&new, &old] {
        let answer = ask(&coordinator, "verify_audit", json!({"checkpoint": signed["checkpoint"]})).await;
        assert_eq!((&answer["success"], &answer["sealed"]), (&json!(true), &json!(5)), "{answer}");
    }
    let proof = ask(&coordinator, "prove_audit", json!({"id": rows[0].id})).await;
    let proof: Proof = serde_json::from_value(proof["proof"].clone()).unwrap();
    let key: VerifierKey = new["public_key"].as_str().unwrap().parse().unwrap();
    assert_eq!(proof.check(&key).unwrap().0.size, 7);
}

#[tokio::test]
async fn without_a_place_for_a_key_nothing_is_signed() {
    let coordinator = coordinator();
    let empty = ask(&coordinator, "checkpoint_audit", json!({})).await;
    assert_eq!((&empty["success"], &empty["reason"]), (&json!(false), &json!("audit_trail_empty")));
    ask(&coordinator, "acquire_lock", json!({"file_path": "a"})).await;
    let answer = ask(&coordinator, "checkpoint_audit", json!({})).await;
    assert_eq!((&answer["success"], &answer["reason"]), (&json!(false), &json!("no_signing_key")));
    assert!(answer["message"].as_str().unwrap().contains("AUDIT_SIGNING_KEY"), "{answer}");
    assert_eq!(ask(&coordinator, "verify_audit", json!({})).await["success"], true, "that needs no key");
}

async fn key_with(coordinator: &Coordinator, scopes: &[&str], per_minute: Option<u32>) -> (String, Principal) {
    let new = NewKey {
        name: "n".into(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        per_minute,
        ..NewKey::default()
    };
    let (secret, _) = coordinator.create_key(coordinator.default_project(), &caller("admin", None), new).await.unwrap();
    let principal = coordinator.authenticate(&secret).await.unwrap().unwrap();
    (secret, principal)
}

#[tokio::test]
async fn a_key_does_only_what_it_is_for_and_the_refusal_is_recorded() {
    let coordinator = coordinator();
    let project = coordinator.default_project();
    let (_, principal) = key_with(&coordinator, &["locks", "recall"], None).await;
    let lock = json!({"file_path": "a", "agent_id": "anna", "agent_type": "t"});
    let work = json!({"task_type": "t", "task_description": "d"});
    let permitted = coordinator.call_as(find("acquire_lock").unwrap(), project, &principal, lock).await;
    assert_eq!(permitted.unwrap()["success"], true);
    let submit = find("submit_work").unwrap();
    for refused in [
        coordinator.call_as(submit, project, &principal, work.clone()).await,
        coordinator.call_tool_as(submit, project, &principal, &Named::default(), work).await,
        coordinator.call_as(find("query_audit").unwrap(), project, &principal, json!({})).await,
    ] {
        let failure = refused.unwrap_err();
        assert_eq!(failure.code(), "operation_not_permitted");
        assert!(matches!(failure, Failure::Forbidden(_)));
        assert!(failure.message().contains("locks, recall"), "{}", failure.message());
        let row = trail(&coordinator).await.pop().unwrap();
        assert_eq!((row.success, row.error_message.as_deref()), (false, Some("operation_not_permitted")));
    }
    assert_eq!(deeds(&coordinator).await[2..], ["submit_work", "submit_work", "query_audit"]);
    let wrong = NewKey { name: "n".into(), scopes: vec!["everything".into()], ..NewKey::default() };
    let failure = coordinator.create_key(project, &caller("admin", None), wrong).await.unwrap_err();
    assert!(failure.message().contains("there is no scope"), "{}", failure.message());
}

#[tokio::test]
async fn a_key_has_its_requests_counted() {
    let coordinator = coordinator();
    let (secret, principal) = key_with(&coordinator, &[], Some(2)).await;
    let (unlimited, anybody) = key_with(&coordinator, &[], None).await;
    for _ in 0..2 {
        coordinator.count_request(&secret, &principal).unwrap();
    }
    let failure = coordinator.count_request(&secret, &principal).unwrap_err();
    assert_eq!(failure.code(), "rate_limited");
    let body = failure.body();
    assert_eq!(body["limit"], 2);
    assert!((1..=31).contains(&body["retry_after_seconds"].as_u64().unwrap()), "{body}");
    for _ in 0..100 {
        coordinator.count_request(&unlimited, &anybody).unwrap();
    }
}

#[tokio::test]
async fn a_keys_last_use_is_noted_and_leaves_no_row() {
    let coordinator = coordinator();
    let (secret, _) = key_with(&coordinator, &[], None).await;
    let sweeping = coordinator.clone();
    let sweeper = tokio::spawn(async move { sweeping.sweep_forever().await });
    let noted = async {
        loop {
            coordinator.authenticate(&secret).await.unwrap().unwrap();
            let keys = coordinator.keys(coordinator.default_project()).await.unwrap();
            if keys[0].last_used_at.is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), noted).await.unwrap();
    sweeper.abort();
    assert_eq!(deeds(&coordinator).await, ["create_key"]);
}
