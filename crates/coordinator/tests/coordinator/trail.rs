//! The audit trail: one row for each write and each refusal, none for a read, and no secrets.

use coordinator::identity::Principal;
use coordinator::operation::{Access, Door};
use coordinator::registry::operations;
use model::id::Caller;
use serde_json::{Value, json};

use crate::minimal::{NOBODY, minimal};
use crate::support::{call, caller, coordinator, coordinator_with, least, ordinary, trail};

/// It looks before it writes, and there is nothing to be read.
const EMPTY_INBOX: &str = "read_messages";
/// To end what is not there is fine with whoever asks, and on record as what it was.
const NO_SESSION: &str = "end_session";

#[tokio::test]
async fn a_write_leaves_one_row_and_a_read_none() {
    for entry in ordinary().filter(|entry| entry.name != EMPTY_INBOX) {
        let coordinator = coordinator();
        let project = coordinator.default_project();
        let expected = usize::from(entry.access == Access::Write);
        let who = Caller { agent_type: "human".into(), ..caller("anna", Some("s")) };
        for door in [Door::Mcp, Door::Cli] {
            let before = trail(&coordinator).await.len();
            let answer = coordinator.call(entry, project, &who, door, least(entry)).await.unwrap();
            let rows = trail(&coordinator).await.split_off(before);
            assert_eq!(rows.len(), expected, "{} by {door:?}", entry.name);
            for row in rows {
                let by = (row.agent_id.as_str(), row.agent_type.as_str(), row.session_id.as_deref());
                assert_eq!(by, ("anna", "human", Some("s")), "{}", entry.name);
                assert_eq!((row.operation.as_str(), &row.parameters), (entry.name, &least(entry)));
                assert!(answer["success"] == row.success || entry.name == NO_SESSION, "{}", entry.name);
                assert_eq!(row.error_message.is_none(), row.success, "{}", entry.name);
            }
        }
        let before = trail(&coordinator).await.len();
        let body = Value::Object(minimal(entry.body_schema(), entry.one_of));
        coordinator.call_as(entry, project, &Principal::default(), body).await.unwrap();
        assert_eq!(trail(&coordinator).await.len() - before, expected, "{} over HTTP", entry.name);
    }
}

#[tokio::test]
async fn a_refusal_leaves_one_row() {
    for entry in ordinary().filter(|entry| entry.access == Access::Write && entry.name != EMPTY_INBOX) {
        let coordinator = coordinator();
        call(&coordinator, &caller("owner", Some("s")), "register_session", json!({})).await.unwrap();
        let intruder = caller("intruder", Some("s"));
        let failure = call(&coordinator, &intruder, entry.name, least(entry)).await.unwrap_err();
        assert_eq!(failure.code(), "session_not_yours", "{}", entry.name);
        let rows = trail(&coordinator).await;
        assert_eq!(rows.len(), 2, "{}", entry.name);
        let row = &rows[1];
        assert_eq!((row.agent_id.as_str(), row.operation.as_str(), row.success), ("intruder", entry.name, false));
        assert_eq!(row.error_message.as_deref(), Some("session_not_yours"));
    }
}

/// Each kind of "no", whether it is an answer or a failure.
#[tokio::test]
async fn every_kind_of_no_is_recorded_with_its_code() {
    let coordinator = coordinator();
    let (anna, bert) = (caller("anna", None), caller("bert", None));
    let submit = json!({"task_type": "t", "description": "d", "idempotency_key": "once", "max_attempts": 1});
    let task = call(&coordinator, &anna, "submit_work", submit).await.unwrap()["task_id"].clone();
    call(&coordinator, &anna, "acquire_lock", json!({"file_path": "a"})).await.unwrap();
    let old = json!({"event_type": "error", "summary": "old"});
    let old = call(&coordinator, &anna, "remember", old).await.unwrap()["memory_id"].clone();
    let depending = |id: &Value| json!({"task_type": "t", "description": "d", "depends_on": [id]});
    for (operation, arguments, code) in [
        ("acquire_lock", json!({"file_path": "a"}), "locked_by_other"),
        ("acquire_lock", json!({"file_path": "b", "fencing_token": 1}), "stale_fencing_token"),
        ("release_lock", json!({"file_path": "a"}), "lock_not_found_or_not_owner"),
        (
            "submit_work",
            json!({"task_type": "t", "description": "x", "idempotency_key": "once"}),
            "idempotency_key_reused",
        ),
        ("submit_work", depending(&json!(NOBODY)), "unknown_dependency"),
        (
            "submit_work",
            json!({"task_type": "t", "description": "d", "deadline": "2000-01-01T00:00:00Z"}),
            "deadline_exceeded",
        ),
        ("get_work", json!({"task_types": ["none"]}), "no_tasks_available"),
        ("complete_work", json!({"task_id": task, "success": true}), "task_not_found_or_not_claimed_by_agent"),
        ("cancel_task", json!({"task_id": NOBODY, "reason": "r"}), "task_not_found"),
        ("cancel_task", json!({"task_id": task, "reason": "r"}), ""),
        ("cancel_task", json!({"task_id": task, "reason": "r"}), "task_already_ended"),
        ("submit_work", depending(&task), "dependency_failed"),
        ("heartbeat", json!({}), "session_not_found"),
        ("remember", json!({"event_type": "error", "summary": "s", "supersedes": NOBODY}), "memory_not_found"),
        ("remember", json!({"event_type": "error", "summary": "new", "supersedes": old}), ""),
        ("remember", json!({"event_type": "error", "summary": "newer", "supersedes": old}), "memory_superseded"),
    ] {
        let before = trail(&coordinator).await.len();
        let answer = call(&coordinator, &bert, operation, arguments.clone()).await;
        let rows = trail(&coordinator).await.split_off(before);
        assert_eq!(rows.len(), 1, "{operation} {arguments}");
        assert_eq!(rows[0].error_message.as_deref().unwrap_or_default(), code, "{operation} {arguments}");
        assert_eq!(rows[0].success, code.is_empty());
        let body = answer.unwrap_or_else(|failure| failure.body());
        assert_eq!(body["success"], code.is_empty());
        assert!(code.is_empty() || body.to_string().contains(code), "{body}");
    }
}

#[tokio::test]
async fn a_wait_leaves_one_row() {
    let coordinator = coordinator();
    call(&coordinator, &caller("anna", None), "acquire_lock", json!({"file_path": "a"})).await.unwrap();
    let waiting = json!({"file_path": "a", "wait_seconds": 1});
    let answer = call(&coordinator, &caller("bert", None), "acquire_lock", waiting).await.unwrap();
    assert_eq!(answer["success"], false);
    let rows = trail(&coordinator).await;
    assert_eq!(rows.len(), 2);
    assert!(rows[1].duration_ms >= 1000, "{} ms: the wait is part of it", rows[1].duration_ms);
}

/// A request that is wrong reaches nobody's records.
#[tokio::test]
async fn a_wrong_request_leaves_nothing() {
    let coordinator = coordinator();
    for entry in operations() {
        for arguments in [json!([]), json!("text"), with(least(entry), "no_such_field", json!(1))] {
            let failure = call(&coordinator, &caller("anna", None), entry.name, arguments).await.unwrap_err();
            assert_eq!(failure.code(), "invalid_request", "{}", entry.name);
        }
        if least(entry) != json!({}) {
            call(&coordinator, &caller("anna", None), entry.name, json!({})).await.unwrap_err();
        }
    }
    assert_eq!(trail(&coordinator).await, []);
}

fn with(mut arguments: Value, field: &str, value: Value) -> Value {
    arguments[field] = value;
    arguments
}

/// What the reaper does is recorded too, and not in anybody's name.
#[tokio::test(start_paused = true)]
async fn what_happens_by_itself_is_recorded_as_the_coordinator_s() {
    let coordinator = coordinator_with(|settings| settings.session_ttl_seconds = 60);
    let anna = caller("anna", Some("s"));
    call(&coordinator, &anna, "register_session", json!({})).await.unwrap();
    call(&coordinator, &anna, "acquire_lock", json!({"file_path": "a"})).await.unwrap();
    call(&coordinator, &caller("bert", None), "acquire_lock", json!({"file_path": "b", "ttl_minutes": 1}))
        .await
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(61)).await;
    coordinator.sweep().await.unwrap();
    let rows = trail(&coordinator).await.split_off(3);
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert_eq!((row.agent_id.as_str(), row.agent_type.as_str(), row.success), ("coordinator", "system", true));
        assert!(["anna", "bert"].iter().any(|who| row.parameters["agent_id"] == *who), "{row:?}");
    }
}
