//! The contract of sessions, agents and the audit trail.

use serde_json::{Value, json};

use crate::server::{Server, fields, has, instant, with};

fn who(agent: &str, session: &str, fields: Value) -> Value {
    with(json!({"agent_id": agent, "agent_type": format!("{agent}_type"), "session_id": session}), fields)
}

#[tokio::test]
async fn sessions_are_registered_discovered_and_renewed() {
    let server = Server::start().await;
    let about = json!({"capabilities": ["rust", "docs", "rust"], "current_task": "login"});
    let registered = server.post("/agents/register", who("anna", "s1", about)).await;
    has(registered.ok(), json!({"success": true, "session_id": "s1"}));
    let minted = server.post("/agents/register", json!({"agent_id": "bert"})).await;
    minted.ok()["session_id"].as_str().unwrap().parse::<uuid::Uuid>().unwrap();

    let agents = server.get("/agents?capability=rust").await;
    assert_eq!(agents.ok()["agents"].as_array().unwrap().len(), 1);
    let anna = &agents.body["agents"][0];
    has(
        anna,
        json!({
            "agent_id": "anna", "agent_type": "anna_type", "session_id": "s1", "capabilities": ["docs", "rust"],
            "status": "active", "current_task": "login",
        }),
    );
    assert!(instant(&anna["started_at"]) <= instant(&anna["last_heartbeat"]));
    for (query, count) in
        [("", 2), ("status=active", 2), ("status=idle", 0), ("status=disconnected", 0), ("capability=x", 0)]
    {
        let agents = server.get(&format!("/agents?{query}")).await;
        assert_eq!(agents.ok()["agents"].as_array().unwrap().len(), count, "{query}");
    }

    let beat = server.post("/agents/heartbeat", who("anna", "s1", json!({}))).await;
    has(beat.ok(), json!({"success": true, "session_id": "s1", "tasks_renewed": 0}));
    let after = server.get("/agents?capability=rust").await.body["agents"][0].clone();
    assert!(instant(&after["last_heartbeat"]) > instant(&anna["last_heartbeat"]));
    assert_eq!(after["started_at"], anna["started_at"]);
    let unknown = server.post("/agents/heartbeat", who("carl", "s9", json!({}))).await;
    has(unknown.ok(), json!({"success": false, "error": "session_not_found"}));
    let theirs = server.post("/agents/heartbeat", who("carl", "s1", json!({}))).await;
    theirs.refused(403, "session_not_yours");
}

#[tokio::test]
async fn a_heartbeat_keeps_a_claim() {
    let server = Server::start().await;
    let id = server.submit(json!({})).await;
    let lease = instant(&server.claim("anna").await["lease_expires_at"]);
    let beat = server.post("/agents/heartbeat", json!({"agent_id": "anna"})).await;
    has(beat.ok(), json!({"success": true, "session_id": null, "tasks_renewed": 1}));
    let task = server.get(&format!("/api/v1/tasks/{id}")).await.ok()["task"].clone();
    assert_eq!(task["status"], "running");
    assert!(instant(&task["lease_expires_at"]) > lease);
}

/// A silent agent's locks and tasks are free again, and it is told.
#[tokio::test]
async fn the_silent_lose_what_they_hold() {
    let server = Server::with(|settings| settings.session_ttl_seconds = 1).await;
    server.post("/agents/register", who("anna", "s1", json!({}))).await.ok();
    let lock = json!({"file_path": "a.rs"});
    server.post("/locks/acquire", who("anna", "s1", lock.clone())).await.ok();
    let id = server.submit(json!({})).await;
    server.post("/work/claim", who("anna", "s1", json!({}))).await.ok();
    let waiting = who("bert", "s2", with(lock.clone(), json!({"wait_seconds": 10})));
    assert_eq!(server.post("/locks/acquire", waiting).await.ok()["success"], true, "when the session has ended");
    let gone = server.get("/agents?status=disconnected").await;
    has(&gone.ok()["agents"][0], json!({"agent_id": "anna", "status": "disconnected"}));
    let task = server.get(&format!("/api/v1/tasks/{id}")).await.ok()["task"].clone();
    has(&task, json!({"status": "pending", "error_code": "lease_lapsed"}));

    let refused = server.post("/locks/acquire", who("anna", "s1", lock)).await;
    has(refused.refused(409, "session_expired"), json!({"session_id": "s1"}));
    let beat = server.post("/agents/heartbeat", who("anna", "s1", json!({}))).await;
    has(beat.ok(), json!({"success": false, "error": "session_expired"}));
    server.post("/agents/register", who("anna", "s1", json!({}))).await.ok();
    assert_eq!(server.post("/agents/heartbeat", who("anna", "s1", json!({}))).await.ok()["success"], true);
}

#[tokio::test]
async fn cleaning_up_tells_what_was_freed() {
    let server = Server::start().await;
    let answer = server.post("/agents/cleanup", json!({"agent_id": "anna", "stale_threshold_minutes": 15})).await;
    has(answer.ok(), json!({"success": true, "agents_cleaned": 0, "locks_released": 0, "tasks_requeued": 0}));
}

#[tokio::test]
async fn the_trail_tells_who_did_what_and_what_came_of_it() {
    let server = Server::start().await;
    let lock =
        |agent| who(agent, "s", json!({"file_path": "a.rs", "reason": "password=hunter2", "input": {"api_key": "x"}}));
    server.post("/locks/acquire", lock("anna")).await.ok();
    server.post("/locks/acquire", lock("bert")).await.ok();
    server.submit(json!({"input_data": {"token": "hush", "note": "ghp_0123456789abcdefghij0123456789abcdef"}})).await;

    let trail = server.get("/audit").await;
    let entries = trail.ok()["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 3);
    for entry in entries {
        let expected = [
            "agent_id",
            "agent_type",
            "created_at",
            "duration_ms",
            "error_message",
            "id",
            "operation",
            "parameters",
            "result",
            "seq",
            "session_id",
            "success",
        ];
        assert_eq!(fields(entry), expected);
        instant(&entry["created_at"]);
    }
    has(&entries[0]["parameters"]["input_data"], json!({"token": "[redacted]", "note": "[redacted]"}));
    has(&entries[1], json!({"agent_id": "bert", "success": false, "error_message": "locked_by_other", "seq": 2}));
    has(
        &entries[2],
        json!({"agent_id": "anna", "agent_type": "anna_type", "session_id": "s", "success": true, "seq": 1}),
    );
    has(&entries[2], json!({"operation": "acquire_lock", "error_message": null}));
    assert_eq!(entries[2]["parameters"]["file_path"], "a.rs");

    let middle = entries[1]["created_at"].as_str().unwrap().to_owned();
    for (query, sequence) in [
        ("agent_id=anna".to_owned(), vec![1]),
        ("operation=acquire_lock".into(), vec![2, 1]),
        ("success=false".into(), vec![2]),
        ("success=true&limit=1".into(), vec![3]),
        (format!("since={middle}"), vec![3, 2]),
        (format!("until={middle}"), vec![1]),
        ("since=2999-01-01T00:00:00%2B02:00".into(), vec![]),
        ("limit=2".into(), vec![3, 2]),
        ("cursor=2".into(), vec![1]),
    ] {
        let page = server.get(&format!("/audit?{query}")).await;
        let found: Vec<i64> =
            page.ok()["entries"].as_array().unwrap().iter().map(|e| e["seq"].as_i64().unwrap()).collect();
        assert_eq!(found, sequence, "{query}");
    }
    assert_eq!(server.get("/audit?limit=2").await.body["next_cursor"], "2");
    assert_eq!(server.trail("default").await.len(), 3, "reading leaves no trace");
}
