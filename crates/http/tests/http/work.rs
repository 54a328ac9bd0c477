//! The contract of the work queue: paths, fields and codes that existing clients rely on.

use serde_json::{Value, json};

use crate::minimal::NOBODY;
use crate::server::{Server, fields, has, instant, with};

fn complete(task_id: &str, agent: &str, fields: Value) -> Value {
    with(json!({"task_id": task_id, "agent_id": agent, "success": true}), fields)
}

#[tokio::test]
async fn a_task_from_submission_to_its_end() {
    let server = Server::start().await;
    let submitted = server
        .post(
            "/work/submit",
            json!({"task_type": "test", "description": "run them", "input_data": {"n": [1, 2.5]}, "priority": 3}),
        )
        .await;
    assert_eq!(fields(submitted.ok()), ["success", "task_id"]);
    let id = submitted.body["task_id"].as_str().unwrap();
    assert_eq!(id.parse::<uuid::Uuid>().unwrap().get_version_num(), 7);

    let pending = server.get(&format!("/api/v1/tasks/{id}")).await;
    has(&pending.ok()["task"], json!({"status": "pending", "attempt": 0, "max_attempts": 3, "claimed_by": null}));

    let claimed = server.claim("anna").await;
    has(
        &claimed,
        json!({
            "success": true, "task_id": id, "task_type": "test", "description": "run them", "task_description": "run them",
            "input_data": {"n": [1, 2.5]}, "priority": 3, "deadline": null, "attempt": 1,
        }),
    );
    instant(&claimed["lease_expires_at"]);
    assert_eq!(server.claim("bert").await, json!({"success": false, "reason": "no_tasks_available"}));

    let done = server.post("/work/complete", complete(id, "anna", json!({"result": {"passed": 7}}))).await;
    assert_eq!(*done.ok(), json!({"success": true, "status": "completed", "task_id": id}));
    let task = server.post("/work/get", json!({"task_id": id})).await.ok()["task"].clone();
    has(
        &task,
        json!({
            "task_id": id, "status": "completed", "result": {"passed": 7}, "error_message": null, "depends_on": [],
            "claimed_by": "anna", "created_by": "cloud-agent", "input_data": {"n": [1, 2.5]},
        }),
    );
    let times = ["created_at", "claimed_at", "completed_at"].map(|field| instant(&task[field]));
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(server.get(&format!("/api/v1/tasks/{id}")).await.ok()["task"], task);
}

#[tokio::test]
async fn either_name_of_the_description_will_do() {
    let server = Server::start().await;
    for (fields, description) in [
        (json!({"description": "short"}), "short"),
        (json!({"task_description": "long"}), "long"),
        (json!({"task_description": "long", "description": "short"}), "long"),
        (json!({"task_description": null, "description": "short"}), "short"),
    ] {
        let id = server.post("/work/submit", with(json!({"task_type": "t"}), fields)).await.ok()["task_id"].clone();
        let task = server.post("/work/get", json!({"task_id": id})).await.ok()["task"].clone();
        has(&task, json!({"description": description, "task_description": description, "priority": 5}));
    }
}

#[tokio::test]
async fn the_first_in_line_is_claimed() {
    let server = Server::start().await;
    let low = server.submit(json!({"priority": 10})).await;
    let old = server.submit(json!({"task_type": "docs"})).await;
    let new = server.submit(json!({})).await;
    let high = server.submit(json!({"priority": 1})).await;
    let capable = server.submit(json!({"priority": 1, "required_capability": "rust"})).await;
    let assigned = server.submit(json!({"priority": 1, "assignee": "carl"})).await;
    let only = json!({"agent_id": "anna", "agent_type": "t", "task_types": ["docs", "none"]});
    assert_eq!(server.post("/work/claim", only.clone()).await.ok()["task_id"], old);
    assert_eq!(server.post("/work/claim", only).await.ok()["reason"], "no_tasks_available");
    for expected in [&high, &new, &low] {
        assert_eq!(server.claim("anna").await["task_id"], **expected);
    }
    assert_eq!(server.claim("anna").await["success"], false);
    assert_eq!(server.claim("carl").await["task_id"], assigned);
    server.post("/agents/register", json!({"agent_id": "anna", "capabilities": ["rust"]})).await.ok();
    assert_eq!(server.claim("anna").await["task_id"], capable);
}

#[tokio::test]
async fn a_task_waits_for_its_dependencies_and_falls_with_them() {
    let server = Server::start().await;
    let first = server.submit(json!({"max_attempts": 1})).await;
    let second = server.submit(json!({"depends_on": [first]})).await;
    let third = server.submit(json!({"depends_on": [second, first]})).await;
    assert_eq!(server.claim("anna").await["task_id"], first);
    assert_eq!(server.claim("bert").await["success"], false);
    let failed = json!({"success": false, "error_message": "it broke"});
    let answer = server.post("/work/complete", complete(&first, "anna", failed)).await;
    has(answer.ok(), json!({"success": true, "status": "failed", "failed_dependents": [second, third]}));
    let task = server.post("/work/get", json!({"task_id": second})).await.ok()["task"].clone();
    has(&task, json!({"status": "failed", "error_code": "dependency_failed"}));
    assert!(task["error_message"].as_str().unwrap().contains(&first), "{task}");

    let submit = json!({"task_type": "t", "description": "d"});
    let unknown = server.post("/work/submit", with(submit.clone(), json!({"depends_on": [NOBODY]}))).await;
    unknown.refused(422, "unknown_dependency");
    assert_eq!(unknown.wrong_fields(), ["depends_on"]);
    let hopeless = server.post("/work/submit", with(submit, json!({"depends_on": [first]}))).await;
    assert_eq!(hopeless.refused(409, "dependency_failed")["task_id"], first);
}

#[tokio::test]
async fn a_failure_is_tried_again_after_a_pause() {
    let server = Server::start().await;
    let id = server.submit(json!({"max_attempts": 2})).await;
    server.claim("anna").await;
    let failed = json!({"success": false, "error_message": "it broke"});
    let answer = server.post("/work/complete", complete(&id, "anna", failed)).await;
    has(answer.ok(), json!({"success": true, "status": "pending", "task_id": id}));
    instant(&answer.body["retry_at"]);
    assert_eq!(server.claim("anna").await["success"], false, "not before the pause is over");
}

#[tokio::test]
async fn only_the_claim_s_owner_completes() {
    let server = Server::start().await;
    let id = server.submit(json!({})).await;
    let not_yours = "task_not_found_or_not_claimed_by_agent";
    for agent in ["anna", "bert"] {
        let answer = server.post("/work/complete", complete(&id, agent, json!({}))).await;
        has(answer.ok(), json!({"success": false, "reason": not_yours, "task_id": id}));
    }
    let claimed = server.claim("anna").await;
    for (task, agent) in [(id.as_str(), "bert"), (NOBODY, "anna")] {
        let answer = server.post("/work/complete", complete(task, agent, json!({}))).await;
        has(answer.ok(), json!({"success": false, "reason": not_yours}));
    }
    let old = json!({"fencing_token": claimed["fencing_token"].as_i64().unwrap() - 1});
    server.post("/work/complete", complete(&id, "anna", old)).await.refused(409, "stale_fencing_token");
    let current = json!({"fencing_token": claimed["fencing_token"]});
    assert_eq!(server.post("/work/complete", complete(&id, "anna", current)).await.ok()["status"], "completed");
    has(
        server.post("/work/complete", complete(&id, "anna", json!({}))).await.ok(),
        json!({"success": false, "reason": not_yours}),
    );
}

#[tokio::test]
async fn an_unknown_task_is_404_by_get_and_200_by_post() {
    let server = Server::start().await;
    let unknown = json!({"success": false, "reason": "task_not_found"});
    let got = server.get(&format!("/api/v1/tasks/{NOBODY}")).await;
    assert_eq!((got.status, &got.body), (404, &unknown));
    assert_eq!(*server.post("/work/get", json!({"task_id": NOBODY})).await.ok(), unknown);
}

/// Two ways to cancel, one result.
#[tokio::test]
async fn a_cancelled_task_has_failed_with_the_orchestrator_s_code() {
    let server = Server::start().await;
    let pending = server.submit(json!({})).await;
    let cancel = json!({"task_id": pending, "reason": "superseded"});
    let answer = server.post("/work/cancel", cancel.clone()).await;
    assert_eq!(*answer.ok(), json!({"success": true, "status": "failed", "task_id": pending}));
    let again = server.post("/work/cancel", cancel).await;
    has(again.ok(), json!({"success": false, "reason": "task_already_ended", "status": "failed"}));
    let unknown = server.post("/work/cancel", json!({"task_id": NOBODY, "reason": "x"})).await;
    has(unknown.ok(), json!({"success": false, "reason": "task_not_found"}));

    let claimed = server.submit(json!({})).await;
    assert_eq!(server.claim("anna").await["task_id"], claimed);
    let by_convention =
        json!({"success": false, "result": {"error_code": "cancelled_by_orchestrator", "reason": "superseded"}});
    let answer = server.post("/work/complete", complete(&claimed, "anna", by_convention)).await;
    has(answer.ok(), json!({"success": true, "status": "failed"}));

    for id in [&pending, &claimed] {
        let task = server.get(&format!("/api/v1/tasks/{id}")).await.ok()["task"].clone();
        has(&task, json!({"status": "failed", "error_code": "cancelled_by_orchestrator"}));
        has(&task["result"], json!({"error_code": "cancelled_by_orchestrator", "reason": "superseded"}));
    }
    let broken = server.submit(json!({"max_attempts": 1})).await;
    server.claim("anna").await;
    server.post("/work/complete", complete(&broken, "anna", json!({"success": false}))).await.ok();
    for (status, count) in [("cancelled", 2), ("failed", 3)] {
        let listed = server.get(&format!("/api/v1/tasks?status={status}")).await;
        assert_eq!(listed.ok()["tasks"].as_array().unwrap().len(), count, "{status}");
    }
    assert_eq!(server.claim("bert").await["success"], false, "no other attempt is made");

    let held = server.submit(json!({})).await;
    server.claim("anna").await;
    assert_eq!(server.post("/work/cancel", json!({"task_id": held, "reason": "stop"})).await.ok()["status"], "failed");
    let late = server.post("/work/complete", complete(&held, "anna", json!({}))).await;
    has(late.ok(), json!({"success": false, "reason": "task_not_found_or_not_claimed_by_agent"}));
}

#[tokio::test]
async fn a_submission_repeated_under_its_key_changes_nothing() {
    let server = Server::start().await;
    let submit =
        json!({"task_type": "t", "description": "d", "idempotency_key": "once", "input_data": {"a": 1, "b": 2}});
    let first = server.post("/work/submit", submit.clone()).await.ok()["task_id"].clone();
    let same_in_other_words = json!({
        "idempotency_key": "once", "input_data": {"b": 2, "a": 1}, "task_type": "t", "task_description": "d",
        "depends_on": null, "agent_id": "retrier",
    });
    for body in [submit.clone(), same_in_other_words] {
        let before = server.state().await.records;
        let answer = server.post("/work/submit", body).await;
        assert_eq!(*answer.ok(), json!({"success": true, "task_id": first, "repeated": true}));
        assert_eq!(server.state().await.records, before);
    }
    let other = server.post("/work/submit", with(submit, json!({"priority": 1}))).await;
    assert_eq!(other.refused(409, "idempotency_key_reused")["task_id"], first);
}

#[tokio::test]
async fn tasks_are_listed_page_by_page() {
    let server = Server::start().await;
    let mut ids = vec![];
    for n in 0..5 {
        ids.insert(0, server.submit(json!({"task_type": if n % 2 == 0 { "even" } else { "odd" }})).await);
    }
    let names = |body: &Value| -> Vec<String> {
        body["tasks"].as_array().unwrap().iter().map(|t| t["task_id"].as_str().unwrap().to_owned()).collect()
    };
    let (mut seen, mut query) = (vec![], "limit=2".to_owned());
    loop {
        let page = server.get(&format!("/api/v1/tasks?{query}")).await;
        seen.extend(names(page.ok()));
        let Some(next) = page.body["next_cursor"].as_str() else { break };
        query = format!("limit=2&cursor={next}");
    }
    assert_eq!(seen, ids);
    for (query, count) in [("task_type=even", 3), ("task_type=none", 0), ("status=pending", 5), ("status=completed", 0)]
    {
        assert_eq!(names(server.get(&format!("/api/v1/tasks?{query}")).await.ok()).len(), count, "{query}");
    }
}

/// What a client may write into a task comes back as it was.
#[tokio::test]
async fn payloads_come_back_as_they_went_in() {
    let server = Server::start().await;
    let mut deep = json!("bottom");
    for _ in 0..100 {
        deep = json!([deep]);
    }
    for input in [
        json!("text with \u{1f600}, \u{202e}, \u{7f} and \"quotes\""),
        json!([]),
        json!(false),
        json!(0.1),
        json!(i64::MAX),
        json!(u64::MAX),
        json!({"": {"__proto__": null}}),
        deep,
    ] {
        let id = server.submit(json!({"input_data": input, "task_description": "d\u{e9}j\u{e0}\tvu\r\n"})).await;
        let task = server.claim("anna").await;
        has(&task, json!({"task_id": id, "input_data": input, "description": "d\u{e9}j\u{e0}\tvu\r\n"}));
        let done = complete(&id, "anna", json!({"result": input}));
        server.post("/work/complete", done).await.ok();
        assert_eq!(server.get(&format!("/api/v1/tasks/{id}")).await.ok()["task"]["result"], input);
    }
}
