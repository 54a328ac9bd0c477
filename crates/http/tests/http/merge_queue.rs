//! The contract of the merge queue.

use serde_json::{Value, json};

use crate::server::{Server, has};

/// A server on which these features are in the queue, in this order, with their claims and priorities.
async fn queued(features: &[(&str, &str, u8)]) -> Server {
    let server = Server::start().await;
    for (feature, claim, priority) in features {
        let request = json!({
            "feature_id": feature, "resource_claims": [claim], "merge_priority": priority, "agent_id": "ann",
            "branch_name": format!("agent/ann/{feature}"),
        });
        server.post("/features/register", request).await.ok();
        enqueue(&server, feature).await;
    }
    server
}

async fn enqueue(server: &Server, feature: &str) -> Value {
    server.post("/merge-queue/enqueue", json!({"feature_id": feature, "agent_id": "ann"})).await.ok().clone()
}

async fn check(server: &Server, feature: &str) -> Value {
    // Clients send no body where the path says it all.
    server.call(reqwest::Method::POST, &format!("/merge-queue/check/{feature}")).await.ok().clone()
}

async fn names(server: &Server, path: &str) -> Vec<String> {
    let answer = server.get(path).await;
    let entries = answer.ok()["entries"].as_array().unwrap().clone();
    entries.iter().map(|entry| entry["feature_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_queue_is_in_order_of_priority_then_of_time() {
    let server = queued(&[("late", "a", 9), ("one", "b", 5), ("two", "c", 5), ("first", "d", 1)]).await;
    assert_eq!(names(&server, "/merge-queue").await, ["first", "one", "two", "late"]);
    let next = server.get("/merge-queue/next").await;
    has(next.ok(), json!({"success": false, "reason": "nothing_ready"}));
    assert!(next.ok()["message"].as_str().unwrap().contains("first has to pass run_pre_merge_checks"));
    for feature in ["two", "one"] {
        assert_eq!(check(&server, feature).await["passed"], true);
    }
    let next = server.get("/merge-queue/next").await;
    has(&next.ok()["entry"], json!({"feature_id": "one", "state": "ready", "branch_name": "agent/ann/one"}));
}

#[tokio::test]
async fn each_check_has_its_reason_and_what_to_do() {
    let server = queued(&[("one", "src", 5), ("two", "src/a.rs", 5)]).await;
    let waits = check(&server, "two").await;
    has(&waits, json!({"passed": false, "state": "queued"}));
    let failed: Vec<&Value> =
        waits["checks"].as_array().unwrap().iter().filter(|check| check["passed"] == false).collect();
    assert_eq!(failed.len(), 1, "{waits}");
    assert_eq!(failed[0]["name"], "entries_ahead");
    assert_eq!(waits["issues"], json!([failed[0]["reason"]]));
    assert!(failed[0]["reason"].as_str().unwrap().contains("one is ahead in the queue"), "{waits}");
    has(&waits["conflicts"][0], json!({"feature_id": "one", "overlapping_keys": ["src/a.rs"]}));
    assert_eq!(check(&server, "one").await["passed"], true);
    assert_eq!(check(&server, "two").await["state"], "ready");

    server.post("/features/deregister", json!({"feature_id": "two"})).await.ok();
    let ended = check(&server, "two").await;
    has(&ended, json!({"passed": false, "state": "blocked"}));
    assert!(ended["issues"][0].as_str().unwrap().contains("the feature is completed"), "{ended}");
    server.post("/merge-queue/check/none", json!({})).await.refused(409, "merge_entry_not_found");
}

#[tokio::test]
async fn what_is_merged_is_completed_and_its_claims_are_free() {
    let server = queued(&[("one", "src", 5)]).await;
    check(&server, "one").await;
    let merged = server.post("/merge-queue/merged/one", json!({"commit": "c0ffee"})).await;
    has(merged.ok(), json!({"success": true, "feature_id": "one", "state": "merged", "commit": "c0ffee"}));
    assert_eq!(server.get("/features/one").await.ok()["feature"]["status"], "completed");
    assert_eq!(server.get("/features/active").await.ok()["features"], json!([]));
    assert_eq!(names(&server, "/merge-queue").await, [""; 0]);
    assert_eq!(names(&server, "/merge-queue?scope=merged").await, ["one"]);
    server.post("/merge-queue/merged/one", json!({})).await.refused(409, "merge_state_refused");
}

#[tokio::test]
async fn only_one_begins_to_land_an_entry() {
    let server = queued(&[("one", "src", 5)]).await;
    let begin = || server.post("/merge-queue/state/one", json!({"state": "merging"}));
    let early = begin().await;
    early.refused(409, "merge_state_refused");
    has(&early.body, json!({"from": "queued", "to": "merging"}));
    check(&server, "one").await;
    assert_eq!(begin().await.ok()["state"], "merging");
    begin().await.refused(409, "merge_state_refused");
    server.delete("/merge-queue/one").await.refused(409, "merge_in_progress");
    let blocked = json!({"state": "blocked", "note": "the tests fail: see the log"});
    let blocked = server.post("/merge-queue/state/one", blocked).await;
    has(blocked.ok(), json!({"state": "blocked", "ejections": 1, "note": "the tests fail: see the log"}));
    has(&enqueue(&server, "one").await, json!({"state": "queued", "ejections": 1, "note": null}));
}

#[tokio::test]
async fn an_entry_is_removed_by_delete_in_its_own_name() {
    let server = queued(&[("one", "src", 5), ("a/b", "docs", 5)]).await;
    has(server.delete("/merge-queue/one").await.ok(), json!({"success": true, "feature_id": "one"}));
    has(server.delete("/merge-queue/a%2Fb").await.ok(), json!({"success": true, "feature_id": "a/b"}));
    server.delete("/merge-queue/one").await.refused(409, "merge_entry_not_found");
    assert_eq!(names(&server, "/merge-queue").await, [""; 0]);
    assert_eq!(server.get("/features/one").await.ok()["feature"]["status"], "active");
}
