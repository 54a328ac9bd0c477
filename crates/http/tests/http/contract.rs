//! The contract, row by row: what clients that we do not know rely on. A row here is a row there; a field may be added to
//! an answer, and none may go.

use coordinator::operation::{Method, Route};
use coordinator::registry;
use serde_json::{Value, json};

use crate::server::{Answer, Server, has, instant};

/// An operation, as the contract has it.
struct Row {
    operation: &'static str,
    /// `METHOD path`; fields in a path as `{name}`.
    routes: &'static [&'static str],
    /// What a request may hold over HTTP; what it must hold has a `!`, and one of those with a `|` is enough.
    request: &'static str,
    /// What the answer may hold, as JSON pointers with `*` for the items of a list.
    answer: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        operation: "acquire_lock",
        routes: &["POST /locks/acquire"],
        request: "file_path| reason ttl_minutes agent_id! agent_type! session_id",
        answer: "success action file_path expires_at reason locked_by lock_reason fencing_token conflicts_with",
    },
    Row {
        operation: "release_lock",
        routes: &["POST /locks/release"],
        request: "file_path| agent_id!",
        answer: "success released action file_path reason",
    },
    Row {
        operation: "check_locks",
        routes: &["GET /locks"],
        request: "file_paths",
        answer: "*/file_path */locked_by */agent_type */locked_at */expires_at */reason",
    },
    Row {
        operation: "lock_status",
        routes: &["GET /locks/status/{file_path}"],
        request: "file_path!",
        answer: "locked file_path lock/file_path lock/locked_by lock/agent_type lock/locked_at lock/expires_at lock/reason",
    },
    Row {
        operation: "submit_work",
        routes: &["POST /work/submit"],
        request: "task_type! task_description| description| input_data priority depends_on deadline max_attempts \
                  idempotency_key required_capability assignee feature_id",
        answer: "success task_id",
    },
    Row {
        operation: "get_work",
        routes: &["POST /work/claim"],
        request: "task_types agent_id! agent_type!",
        answer: "success reason task_id task_type description task_description input_data priority deadline attempt \
                 lease_expires_at",
    },
    Row {
        operation: "complete_work",
        routes: &["POST /work/complete"],
        request: "task_id! success! result error_message agent_id!",
        answer: "success status task_id reason",
    },
    Row {
        operation: "get_task",
        routes: &["GET /api/v1/tasks/{task_id}", "POST /work/get"],
        request: "task_id!",
        answer: "success reason task/task_id task/task_type task/description task/task_description task/input_data \
                 task/priority task/status task/depends_on task/result task/error_message task/claimed_by \
                 task/created_at task/claimed_at task/completed_at",
    },
    Row {
        operation: "list_tasks",
        routes: &["GET /api/v1/tasks"],
        request: "status task_type limit cursor",
        answer: "tasks/*/task_id tasks/*/status",
    },
    Row {
        operation: "cancel_task",
        routes: &["POST /work/cancel"],
        request: "task_id! reason!",
        answer: "success status task_id",
    },
    Row {
        operation: "write_handoff",
        routes: &["POST /handoffs/write", "POST /handoff/write", "POST /handoffs"],
        request: "summary| content| completed_work in_progress decisions next_steps relevant_files agent_id! session_id",
        answer: "success handoff_id",
    },
    Row {
        operation: "read_handoff",
        routes: &["POST /handoffs/read", "POST /handoff/read", "GET /handoffs/latest"],
        request: "agent_name agent_id session_id limit",
        answer: "handoffs/*/summary handoffs/*/completed_work handoffs/*/in_progress handoffs/*/decisions \
                 handoffs/*/next_steps handoffs/*/relevant_files",
    },
    Row {
        operation: "register_session",
        routes: &["POST /agents/register"],
        request: "capabilities current_task agent_id! session_id",
        answer: "success session_id",
    },
    Row {
        operation: "discover_agents",
        routes: &["GET /agents"],
        request: "capability status",
        answer: "agents/*/agent_id agents/*/agent_type agents/*/session_id agents/*/capabilities agents/*/status \
                 agents/*/current_task agents/*/last_heartbeat agents/*/started_at",
    },
    Row {
        operation: "heartbeat",
        routes: &["POST /agents/heartbeat"],
        request: "agent_id! session_id",
        answer: "success session_id error",
    },
    Row {
        operation: "cleanup_dead_agents",
        routes: &["POST /agents/cleanup"],
        request: "stale_threshold_minutes agent_id!",
        answer: "success agents_cleaned locks_released tasks_requeued",
    },
    Row {
        operation: "remember",
        routes: &["POST /memory/store"],
        request: "event_type! summary! details outcome lessons tags agent_id! session_id",
        answer: "success memory_id action",
    },
    Row {
        operation: "recall",
        routes: &["POST /memory/query"],
        request: "task_description tags event_type limit min_relevance agent_id!",
        answer: "memories/*/id memories/*/memory_type memories/*/event_type memories/*/summary memories/*/content \
                 memories/*/details memories/*/outcome memories/*/lessons memories/*/tags memories/*/relevance_score \
                 memories/*/relevance memories/*/created_at",
    },
    Row {
        operation: "update_working_memory",
        routes: &["POST /memory/working"],
        request: "key! value session_id",
        answer: "success",
    },
    Row {
        operation: "get_working_memory",
        routes: &["GET /memory/working"],
        request: "session_id",
        answer: "entries/*/key entries/*/value",
    },
    Row {
        operation: "record_skill_use",
        routes: &["POST /memory/skills/use"],
        request: "skill_name! success! description steps",
        answer: "success effectiveness lower_bound",
    },
    Row {
        operation: "recall_skills",
        routes: &["POST /memory/skills/query"],
        request: "task_type limit",
        answer: "skills/*/skill_name skills/*/effectiveness skills/*/lower_bound",
    },
    Row {
        operation: "check_guardrails",
        routes: &["POST /guardrails/check"],
        request: "operation_text! file_paths",
        answer: "safe violations/*/pattern_name violations/*/category violations/*/severity violations/*/matched_text \
                 violations/*/blocked violations/*/reason violations/*/suggestion",
    },
    Row {
        operation: "get_my_profile",
        routes: &["GET /profiles/me"],
        request: "",
        answer: "success source reason profile/name profile/agent_type profile/trust_level profile/allowed_operations \
                 profile/blocked_operations profile/max_file_modifications",
    },
    Row {
        operation: "check_policy",
        routes: &["POST /policy/check"],
        request: "operation! resource context",
        answer: "allowed reason engine diagnostics",
    },
    Row {
        operation: "validate_cedar_policy",
        routes: &["POST /policy/validate"],
        request: "policy_text!",
        answer: "valid errors/*/line errors/*/column",
    },
    Row {
        operation: "check_network",
        routes: &["POST /network/check"],
        request: "domain| url|",
        answer: "success allowed domain reason policy error",
    },
    Row {
        operation: "query_audit",
        routes: &["GET /audit"],
        request: "agent_id operation since until success limit cursor",
        answer: "entries/*/id entries/*/agent_id entries/*/agent_type entries/*/operation entries/*/parameters \
                 entries/*/result entries/*/duration_ms entries/*/success entries/*/error_message entries/*/created_at",
    },
    Row {
        operation: "allocate_ports",
        routes: &["POST /ports/allocate"],
        request: "session_id!",
        answer: "success error env_snippet allocation/session_id allocation/db_port allocation/rest_port \
                 allocation/realtime_port allocation/api_port allocation/compose_project_name",
    },
    Row { operation: "release_ports", routes: &["POST /ports/release"], request: "session_id!", answer: "success" },
    Row {
        operation: "register_feature",
        routes: &["POST /features/register"],
        request: "feature_id! resource_claims! title branch_name merge_priority metadata",
        answer: "success action",
    },
    Row {
        operation: "deregister_feature",
        routes: &["POST /features/deregister"],
        request: "feature_id! status",
        answer: "success status",
    },
    Row {
        operation: "get_feature",
        routes: &["GET /features/{feature_id}"],
        request: "feature_id!",
        answer: "success feature/resource_claims",
    },
    Row {
        operation: "list_active_features",
        routes: &["GET /features/active"],
        request: "",
        answer: "success features/*/feature_id",
    },
    Row {
        operation: "analyze_feature_conflicts",
        routes: &["POST /features/conflicts"],
        request: "candidate_feature_id! candidate_claims!",
        answer: "feasibility conflicts/*/feature_id conflicts/*/overlapping_keys total_candidate_claims \
                 total_conflicting_claims",
    },
    Row {
        operation: "enqueue_merge",
        routes: &["POST /merge-queue/enqueue"],
        request: "feature_id! pr_url",
        answer: "success feature_id state",
    },
    Row {
        operation: "get_merge_queue",
        routes: &["GET /merge-queue"],
        request: "",
        answer: "success entries/*/feature_id entries/*/merge_priority entries/*/queued_at",
    },
    Row {
        operation: "get_next_merge",
        routes: &["GET /merge-queue/next"],
        request: "",
        answer: "success entry reason",
    },
    Row {
        operation: "run_pre_merge_checks",
        routes: &["POST /merge-queue/check/{feature_id}"],
        request: "feature_id!",
        answer: "passed checks issues conflicts",
    },
    Row {
        operation: "mark_merged",
        routes: &["POST /merge-queue/merged/{feature_id}"],
        request: "feature_id!",
        answer: "success state",
    },
    Row {
        operation: "remove_from_merge_queue",
        routes: &["DELETE /merge-queue/{feature_id}"],
        request: "feature_id!",
        answer: "success",
    },
    Row { operation: "ports_status", routes: &["GET /ports/status"], request: "", answer: "allocations/*/db_port" },
];

fn name(route: Route) -> String {
    let method = match route.method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Delete => "DELETE",
    };
    format!("{method} {}", route.path.replace("{*", "{"))
}

#[test]
fn every_row_has_its_routes_fields_and_answer() {
    for row in ROWS {
        let entry = registry::find(row.operation).unwrap_or_else(|| panic!("there is no {}", row.operation));
        let routes: Vec<String> = entry.routes.iter().copied().map(name).collect();
        assert_eq!(routes, row.routes, "{}", row.operation);

        let schema = entry.body_schema();
        let (mut required, mut enough) = (vec![], vec![]);
        for field in row.request.split_whitespace() {
            let plain = field.trim_end_matches(['!', '|']);
            assert!(schema["properties"].get(plain).is_some(), "{} takes no {plain}", row.operation);
            match &field[plain.len()..] {
                "!" => required.push(plain),
                "|" => enough.push(plain),
                _ => {}
            }
        }
        let mut are: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        are.sort_unstable();
        required.sort_unstable();
        assert_eq!(are, required, "{}", row.operation);
        let groups = entry.one_of.iter().copied().flatten();
        assert!(enough.iter().all(|field| groups.clone().any(|other| other == field)), "{}: {enough:?}", row.operation);
        assert_eq!(enough.is_empty(), entry.one_of.is_empty(), "{}", row.operation);

        for pointer in row.answer.split_whitespace() {
            let found = pointer.split('/').try_fold(entry.answer_schema(), |schema, step| match step {
                "*" => schema.get("items"),
                step => field(schema, step),
            });
            assert!(found.is_some(), "{} answers no {pointer}: {:#}", row.operation, entry.answer_schema());
        }
    }
}

/// The schema of a field, also where it is one of several forms of an object.
fn field<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    if let Some(found) = schema["properties"].get(name) {
        return Some(found);
    }
    let forms = ["anyOf", "allOf", "oneOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten();
    forms.into_iter().find_map(|form| field(form, name))
}

/// A day of work by a client that knows the contract and nothing else.
#[tokio::test]
async fn a_client_works_a_day_with_the_contract_alone() {
    let server = Server::start().await;
    let me = |more: Value| crate::server::with(json!({"agent_id": "c1", "agent_type": "codex_cloud_worker"}), more);
    let ok = async |answer: crate::server::Call, expected: Value| -> Answer {
        let answer = answer.await;
        has(answer.ok(), expected);
        answer
    };

    has(server.get("/health").without_key().await.ok(), json!({"status": "ok", "db": "connected"}));
    let session = ok(server.post("/agents/register", me(json!({"capabilities": ["rust"]}))), json!({"success": true}));
    let session = session.await.body["session_id"].clone();
    let mine = |more: Value| crate::server::with(me(json!({"session_id": session})), more);
    ok(server.post("/agents/heartbeat", mine(json!({}))), json!({"success": true, "session_id": session})).await;
    let agents = ok(server.get("/agents?capability=rust&status=active"), json!({})).await;
    has(&agents.body["agents"][0], json!({"agent_id": "c1", "capabilities": ["rust"], "status": "active"}));

    // Locks.
    let lock = mine(json!({"file_path": "./src//a.py", "reason": "refactoring", "ttl_minutes": 5}));
    let granted = ok(
        server.post("/locks/acquire", lock.clone()),
        json!({"success": true, "action": "acquired", "file_path": "src/a.py"}),
    )
    .await;
    assert!(granted.body["fencing_token"].is_i64());
    instant(&granted.body["expires_at"]);
    ok(server.post("/locks/acquire", lock), json!({"success": true, "action": "refreshed"})).await;
    let other = json!({"file_path": "src/a.py", "agent_id": "c2", "agent_type": "codex_cli"});
    let blocked = json!({
        "success": false, "action": "blocked", "reason": "locked_by_other", "locked_by": "c1",
        "lock_reason": "refactoring",
    });
    ok(server.post("/locks/acquire", other), blocked).await;
    let status = ok(server.get("/locks/status/src/a.py").without_key(), json!({"locked": true})).await;
    has(&status.body["lock"], json!({"file_path": "src/a.py", "locked_by": "c1", "reason": "refactoring"}));
    assert_eq!(server.get("/locks").await.ok().as_array().unwrap().len(), 1);
    let release = |agent: &str| server.post("/locks/release", json!({"file_path": "src/a.py", "agent_id": agent}));
    let not_owner = json!({"success": false, "released": false, "reason": "lock_not_found_or_not_owner"});
    ok(release("c2"), not_owner).await;
    ok(release("c1"), json!({"success": true, "released": true, "action": "released"})).await;
    ok(server.get("/locks/status/src/a.py").without_key(), json!({"locked": false, "file_path": "src/a.py"})).await;

    // Work.
    let task = json!({"task_type": "test", "task_description": "write tests", "input_data": {"a": 1}, "priority": 2});
    let task = ok(server.post("/work/submit", task), json!({"success": true})).await.body["task_id"].clone();
    let claimed = ok(
        server.post("/work/claim", mine(json!({"task_types": ["test"]}))),
        json!({"success": true, "task_id": task, "description": "write tests", "task_description": "write tests",
               "input_data": {"a": 1}, "priority": 2, "attempt": 1, "deadline": null}),
    );
    instant(&claimed.await.body["lease_expires_at"]);
    let nothing = json!({"success": false, "reason": "no_tasks_available"});
    ok(server.post("/work/claim", me(json!({}))), nothing).await;
    let done = |agent: &str| json!({"agent_id": agent, "task_id": task, "success": true, "result": {"ok": true}});
    let not_owner = json!({"success": false, "reason": "task_not_found_or_not_claimed_by_agent"});
    ok(server.post("/work/complete", done("c2")), not_owner).await;
    ok(server.post("/work/complete", done("c1")), json!({"success": true, "status": "completed", "task_id": task}))
        .await;
    let id = task.as_str().unwrap();
    for shown in [server.get(&format!("/api/v1/tasks/{id}")), server.post("/work/get", json!({"task_id": id}))] {
        let shown = ok(shown, json!({"success": true})).await;
        has(&shown.body["task"], json!({"status": "completed", "result": {"ok": true}, "claimed_by": "c1"}));
    }
    let unknown = "018f0000-0000-7000-8000-000000000000";
    let missing = json!({"success": false, "reason": "task_not_found"});
    let answer = server.get(&format!("/api/v1/tasks/{unknown}")).await;
    assert_eq!(answer.status, 404);
    has(&answer.body, missing.clone());
    ok(server.post("/work/get", json!({"task_id": unknown})), missing).await;
    let task = json!({"task_type": "test", "description": "by its other name"});
    let task = ok(server.post("/work/submit", task), json!({"success": true})).await.body["task_id"].clone();
    let cancel = json!({"task_id": task, "reason": "no longer needed"});
    ok(server.post("/work/cancel", cancel), json!({"success": true, "status": "failed", "task_id": task})).await;
    let ended = ok(server.post("/work/get", json!({"task_id": task})), json!({})).await;
    assert_eq!(ended.body["task"]["result"]["error_code"], "cancelled_by_orchestrator");
    let page = ok(server.get("/api/v1/tasks?limit=1&status=completed"), json!({})).await;
    assert_eq!(page.body["tasks"][0]["task_id"], id);

    // Memory.
    let memory = mine(json!({
        "event_type": "discovery", "summary": "The linter needs Node 22", "details": {"node": 22}, "outcome": "positive",
        "lessons": ["install it first"], "tags": ["lint"],
    }));
    let stored = ok(server.post("/memory/store", memory.clone()), json!({"success": true, "action": "created"})).await;
    let again = json!({"success": true, "action": "deduplicated", "memory_id": stored.body["memory_id"]});
    ok(server.post("/memory/store", memory), again).await;
    let query = me(json!({"task_description": "why does the linter fail?", "tags": ["lint", "ci"], "limit": 5}));
    let found = ok(server.post("/memory/query", query), json!({})).await;
    let expected = json!({
        "id": stored.body["memory_id"], "event_type": "discovery", "summary": "The linter needs Node 22",
        "details": {"node": 22}, "outcome": "positive", "lessons": ["install it first"], "tags": ["lint"],
    });
    has(&found.body["memories"][0], expected);
    let (score, same) = (&found.body["memories"][0]["relevance_score"], &found.body["memories"][0]["relevance"]);
    assert!(score == same && (0.0..=1.0).contains(&score.as_f64().unwrap()), "{score} {same}");
    let none = me(json!({"task_description": "the linter", "min_relevance": 1.0}));
    ok(server.post("/memory/query", none), json!({"memories": []})).await;
    ok(server.post("/memory/working", mine(json!({"key": "plan", "value": [1, 2]}))), json!({"success": true})).await;
    let session_id = session.as_str().unwrap();
    let notes = ok(server.get(&format!("/memory/working?agent_id=c1&session_id={session_id}")), json!({})).await;
    has(&notes.body["entries"][0], json!({"key": "plan", "value": [1, 2]}));
    let used = json!({"skill_name": "bisect", "success": true, "description": "find it", "steps": ["git bisect"]});
    ok(server.post("/memory/skills/use", used), json!({"success": true})).await;
    let skills = ok(server.post("/memory/skills/query", json!({"limit": 3})), json!({})).await;
    has(&skills.body["skills"][0], json!({"skill_name": "bisect", "steps": ["git bisect"], "effectiveness": 1.0}));

    // Handoffs, and what was done all day.
    let handoff = mine(json!({"summary": "half done", "next_steps": ["merge"]}));
    ok(server.post("/handoffs/write", handoff), json!({"success": true})).await;
    let read = ok(server.get("/handoffs/latest?agent_id=c1"), json!({})).await;
    has(&read.body["handoffs"][0], json!({"summary": "half done", "next_steps": ["merge"], "session_id": session}));
    let cleaned = json!({"success": true, "agents_cleaned": 0, "locks_released": 0, "tasks_requeued": 0});
    let director = json!({"agent_id": "c3", "agent_type": "strands_orchestrator", "stale_threshold_minutes": 60});
    ok(server.post("/agents/cleanup", director), cleaned).await;
    let trail = ok(server.get("/audit?agent_id=c1&operation=acquire_lock&success=true&limit=1"), json!({})).await;
    let entry = &trail.body["entries"][0];
    has(entry, json!({"agent_id": "c1", "operation": "acquire_lock", "success": true, "error_message": null}));
    assert_eq!(entry["parameters"]["file_path"], "./src//a.py");
    instant(&entry["created_at"]);
    assert!(trail.body["next_cursor"].is_string(), "there was another");
}
