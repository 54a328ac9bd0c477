//! The contract of guardrails and approvals.

use serde_json::{Value, json};

use crate::server::{BOSS, FREE, Server, fields, has, instant};

async fn asked(server: &Server, agent: &str) -> Value {
    let check = json!({"agent_id": agent, "operation_text": "cat .env", "run": true});
    server.post("/guardrails/check", check).await.ok()["approval_id"].clone()
}

#[tokio::test]
async fn a_check_answers_in_the_contract_s_words() {
    let server = Server::start().await;
    let safe = server.post("/guardrails/check", json!({"operation_text": "cargo test"})).await;
    assert_eq!(fields(safe.ok()), ["safe", "verdict", "violations"]);
    let answer = server.post("/guardrails/check", json!({"operation_text": "rm -rf /", "file_paths": [".env"]})).await;
    let answer = answer.ok();
    has(answer, json!({"safe": false, "verdict": "block"}));
    for field in ["pattern_name", "category", "severity", "matched_text", "blocked", "reason", "suggestion"] {
        assert!(answer["violations"].as_array().unwrap().iter().all(|v| v.get(field).is_some()), "{field}: {answer}");
    }
    assert_eq!(server.post("/guardrails/check", json!({})).await.wrong_fields(), ["operation_text"]);
    assert!(server.trail("check_guardrails").await.is_empty());
}

#[tokio::test]
async fn a_blocked_completion_is_forbidden() {
    let server = Server::start().await;
    server.submit(json!({})).await;
    let task = server.claim("anna").await["task_id"].clone();
    let body = json!({"agent_id": "anna", "task_id": task, "success": true, "result": {"ran": "git reset --hard"}});
    let answer = server.post("/work/complete", body).await;
    let refused = answer.refused(403, "destructive_operation_blocked");
    has(refused, json!({"operation": "complete_work", "approval_required": false}));
    assert_eq!(refused["violations"][0]["pattern_name"], "git.reset-hard");
    let shown = server.get(&format!("/api/v1/tasks/{}", task.as_str().unwrap())).await;
    has(&shown.ok()["task"], json!({"status": "claimed", "claimed_by": "anna"}));
}

#[tokio::test]
async fn a_request_is_listed_decided_and_told() {
    let server = Server::start().await;
    let id = asked(&server, "anna").await;
    let listed = server.get("/approvals?status=pending").await;
    let row = &listed.ok()["approvals"][0];
    has(row, json!({"approval_id": id, "agent_id": "anna", "operation": "run_command", "resource": "cat .env"}));
    instant(&row["expires_at"]);
    // Also not for one that says that it is a person.
    for agent_type in ["strands_orchestrator", "human"] {
        let low = json!({"agent_id": "bert", "agent_type": agent_type, "approval_id": id, "decision": "approve"});
        let answer = server.post("/approvals/decide", low).key(FREE).await;
        answer.refused(403, "insufficient_trust_level");
    }
    let ask = json!({"operation": "run_command", "resource": "cat .env", "reason": "to see"});
    let own = server.post("/approvals/request", ask).key(BOSS).await.ok()["approval_id"].clone();
    let own = json!({"approval_id": own, "decision": "approve"});
    server.post("/approvals/decide", own).await.refused(403, "own_approval");
    let unknown = json!({"approval_id": "018f0000-0000-7000-8000-000000000000", "decision": "perhaps"});
    assert_eq!(server.post("/approvals/decide", unknown).await.wrong_fields(), ["decision"]);
    let approved = json!({"approval_id": id, "decision": "approve"});
    has(server.post("/approvals/decide", approved).await.ok(), json!({"success": true, "status": "approved"}));
    let shown = server.get(&format!("/approvals/{}", id.as_str().unwrap())).await;
    has(&shown.ok()["approval"], json!({"status": "approved", "scope": "once", "decided_by": "boss"}));
    let run = json!({"agent_id": "anna", "operation_text": "cat .env", "run": true});
    has(server.post("/guardrails/check", run.clone()).await.ok(), json!({"safe": true, "approval_id": id}));
    has(server.post("/guardrails/check", run).await.ok(), json!({"safe": false}));
}

/// Two servers on one database, asked at the same moment.
#[tokio::test]
async fn two_servers_do_not_share_an_approval() {
    let server = Server::start().await;
    let other = server.elsewhere().await;
    let id = asked(&server, "anna").await;
    let approved = json!({"approval_id": id, "decision": "approve"});
    other.post("/approvals/decide", approved).await.ok();
    let run = json!({"agent_id": "anna", "operation_text": "cat .env", "run": true});
    let (a, b) = tokio::join!(server.post("/guardrails/check", run.clone()), other.post("/guardrails/check", run));
    assert_eq!([a, b].iter().filter(|answer| answer.body["safe"] == true).count(), 1);
}
