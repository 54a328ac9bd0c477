//! The contract of locks: paths, fields and codes that existing clients rely on.

use coordinator::Coordinator;
use coordinator::operation::Door;
use coordinator::registry;
use serde_json::{Value, json};

use crate::server::{Server, admin, fields, has, instant, minutes_until, project, with};

fn ask(agent: &str, path: &str, fields: Value) -> Value {
    with(json!({"file_path": path, "agent_id": agent, "agent_type": format!("{agent}_type")}), fields)
}

#[tokio::test]
async fn acquire_then_refresh() {
    let server = Server::start().await;
    let first =
        server.post("/locks/acquire", ask("anna", "./src//a.rs", json!({"reason": "fix", "session_id": "s1"}))).await;
    has(first.ok(), json!({"success": true, "action": "acquired", "file_path": "src/a.rs"}));
    assert_eq!(fields(&first.body), ["action", "expires_at", "fencing_token", "file_path", "success"]);
    let again = server.post("/locks/acquire", ask("anna", "src/a.rs", json!({"ttl_minutes": 60}))).await;
    has(again.ok(), json!({"success": true, "action": "refreshed", "fencing_token": first.body["fencing_token"]}));
    assert!(instant(&again.body["expires_at"]) > instant(&first.body["expires_at"]));
    let token = again.body["fencing_token"].as_i64().unwrap();
    let other = server.post("/locks/acquire", ask("anna", "src/b.rs", json!({}))).await;
    assert!(other.ok()["fencing_token"].as_i64().unwrap() > token);
}

#[tokio::test]
async fn a_taken_lock_is_an_ordinary_answer_that_says_who_why_and_until_when() {
    let server = Server::start().await;
    let held = server.post("/locks/acquire", ask("anna", "src/a.rs", json!({"reason": "fix login"}))).await;
    let blocked = server.post("/locks/acquire", ask("bert", "src/a.rs", json!({}))).await;
    has(
        blocked.ok(),
        json!({
            "success": false,
            "action": "blocked",
            "reason": "locked_by_other",
            "file_path": "src/a.rs",
            "locked_by": "anna",
            "lock_reason": "fix login",
            "expires_at": held.body["expires_at"],
        }),
    );
    assert_eq!(blocked.body["conflicts_with"].as_array().unwrap().len(), 1);
    let conflict = &blocked.body["conflicts_with"][0];
    has(
        conflict,
        json!({
            "file_path": "src/a.rs",
            "locked_by": "anna",
            "agent_type": "anna_type",
            "mode": "exclusive",
            "reason": "fix login",
            "expires_at": held.body["expires_at"],
        }),
    );
    instant(&conflict["since"]);
    assert!(blocked.body["message"].as_str().unwrap().contains("anna holds src/a.rs (fix login)"), "{}", blocked.body);
    assert_eq!(blocked.body.get("fencing_token"), None);
}

#[tokio::test]
async fn locks_overlap_and_come_all_or_none() {
    let server = Server::start().await;
    server.lock("anna", "src/auth/").await;
    for path in ["src/auth/login.rs", "src", "src/**/*.rs"] {
        let answer = server.post("/locks/acquire", ask("bert", path, json!({}))).await;
        has(answer.ok(), json!({"success": false, "locked_by": "anna"}));
        assert_eq!(answer.body["conflicts_with"][0]["file_path"], "src/auth", "{path}");
    }
    let several = json!({"agent_id": "bert", "agent_type": "t", "file_paths": ["docs/a.md", "src/auth/x.rs"]});
    assert_eq!(server.post("/locks/acquire", several).await.ok()["success"], false);
    assert_eq!(server.held().await, ["anna src/auth"]);

    let several =
        json!({"agent_id": "bert", "agent_type": "t", "file_paths": ["docs/b.md", "docs/a.md", "./docs/a.md"]});
    let answer = server.post("/locks/acquire", several).await;
    has(answer.ok(), json!({"success": true, "action": "acquired", "file_path": "docs/b.md"}));
    let granted: Vec<&Value> = answer.body["locks"].as_array().unwrap().iter().map(|l| &l["file_path"]).collect();
    assert_eq!(granted, ["docs/b.md", "docs/a.md"]);

    for agent in ["anna", "bert"] {
        let answer = server.post("/locks/acquire", ask(agent, "shared.md", json!({"mode": "shared"}))).await;
        assert_eq!(answer.ok()["success"], true, "{agent}");
    }
    assert_eq!(server.post("/locks/acquire", ask("carl", "shared.md", json!({}))).await.ok()["success"], false);
}

#[tokio::test]
async fn logical_keys_have_one_spelling() {
    let server = Server::start().await;
    for (key, canonical) in [
        ("api:get  /v1/users", "api:GET /v1/users"),
        ("db:Schema:Users", "db:schema:users"),
        ("event:User.Created", "event:user.created"),
        ("flag:Billing/*", "flag:billing/*"),
        ("env:shared-fixtures", "env:shared-fixtures"),
        ("contract:openapi//v1.yaml", "contract:openapi/v1.yaml"),
        ("feature:add-auth:lead", "feature:add-auth:lead"),
        ("src\\win\\a.rs", "src/win/a.rs"),
    ] {
        assert_eq!(server.lock("anna", key).await["file_path"], canonical);
        let status = server.get(&format!("/locks/status/{}", key.replace('%', "%25"))).without_key().await;
        has(status.ok(), json!({"locked": true, "file_path": canonical}));
    }
    for key in ["env:8080", "db:a:b:c", "feature:x"] {
        server.post("/locks/acquire", ask("anna", key, json!({}))).await.refused(422, "invalid_lock_key");
    }
}

#[tokio::test]
async fn a_paused_feature_is_blocked_with_the_pause_s_reason() {
    let server = Server::start().await;
    let pause = ask("lead", "feature:add-auth:pause", json!({"reason": "the contract changes"}));
    server.post("/locks/acquire", pause).await.ok();
    server.submit(json!({"feature_id": "add-auth"})).await;
    let work = ask("anna", "src/a.rs", json!({"feature_id": "add-auth"}));
    let blocked = server.post("/locks/acquire", work.clone()).await;
    has(
        blocked.ok(),
        json!({"success": false, "action": "blocked", "reason": "feature_paused", "lock_reason": "the contract changes"}),
    );
    assert_eq!(server.claim("anna").await["reason"], "no_tasks_available");
    server.post("/locks/release", ask("lead", "feature:add-auth:pause", json!({}))).await.ok();
    assert_eq!(server.post("/locks/acquire", work).await.ok()["success"], true);
    assert_eq!(server.claim("anna").await["success"], true);
}

#[tokio::test]
async fn the_time_to_live_is_30_minutes_over_http_and_120_by_tool() {
    let server = Server::start().await;
    for (fields, minutes) in [(json!({}), 30), (json!({"ttl_minutes": 1}), 1), (json!({"ttl_minutes": 480}), 480)] {
        let answer = server.post("/locks/acquire", ask("anna", "a.rs", fields)).await;
        assert_eq!(minutes_until(&answer.ok()["expires_at"]), minutes);
    }
    let by_door = async |coordinator: &Coordinator, door| {
        let entry = registry::find("acquire_lock").unwrap();
        let lock = json!({"file_path": "b.rs"});
        let answer = coordinator.call(entry, &project("default"), &admin(), door, lock).await.unwrap();
        minutes_until(&answer["expires_at"])
    };
    assert_eq!(by_door(&server.coordinator, Door::Mcp).await, 120);
    assert_eq!(by_door(&server.coordinator, Door::Cli).await, 120);
    let other = Server::with(|settings| settings.lock_ttl_minutes = 7).await;
    assert_eq!(by_door(&other.coordinator, Door::Mcp).await, 7);
    assert_eq!(by_door(&other.coordinator, Door::Http).await, 30);
}

#[tokio::test]
async fn release_gives_back_what_one_holds() {
    let server = Server::start().await;
    server.lock("anna", "src/a.rs").await;
    let release =
        |agent: &str, path: &str| server.post("/locks/release", json!({"file_path": path, "agent_id": agent}));
    for (agent, path) in [("bert", "src/a.rs"), ("anna", "src"), ("anna", "src/b.rs")] {
        let answer = release(agent, path).await;
        has(answer.ok(), json!({"success": false, "released": false, "reason": "lock_not_found_or_not_owner"}));
        assert_eq!(answer.body.get("action"), None);
    }
    let answer = release("anna", "./src/a.rs").await;
    let released = json!({"success": true, "released": true, "action": "released", "file_path": "src/a.rs"});
    assert_eq!(*answer.ok(), released);
    has(release("anna", "src/a.rs").await.ok(), json!({"success": false, "released": false}));
    assert_eq!(server.held().await, [""; 0]);
}

#[tokio::test]
async fn an_old_token_is_a_conflict_that_names_the_current_one() {
    let server = Server::start().await;
    let old = server.lock("anna", "a.rs").await["fencing_token"].clone();
    server.post("/locks/release", json!({"file_path": "a.rs", "agent_id": "anna"})).await.ok();
    let gone = server.post("/locks/acquire", ask("anna", "a.rs", json!({"fencing_token": old}))).await;
    assert_eq!(gone.refused(409, "stale_fencing_token")["current"], Value::Null);
    let current = server.lock("anna", "a.rs").await["fencing_token"].clone();
    let stale = json!({"file_path": "a.rs", "agent_id": "anna", "fencing_token": old});
    let answer = server.post("/locks/release", stale.clone()).await;
    has(answer.refused(409, "stale_fencing_token"), json!({"given": old, "current": current, "target": "a.rs"}));
    let fresh = with(stale, json!({"fencing_token": current}));
    assert_eq!(server.post("/locks/release", fresh).await.ok()["success"], true);
}

#[tokio::test]
async fn locks_are_listed_and_one_is_probed_without_a_key() {
    let server = Server::start().await;
    let free = server.get("/locks/status/src/a.rs").without_key().await;
    assert_eq!(*free.ok(), json!({"locked": false, "file_path": "src/a.rs"}));
    server.post("/locks/acquire", ask("anna", "src/a.rs", json!({"reason": "fix"}))).await.ok();
    server.lock("bert", "docs").await;

    let list = server.get("/locks").await;
    assert_eq!(list.ok().as_array().unwrap().len(), 2);
    let lock = &list.body[0];
    has(lock, json!({"file_path": "src/a.rs", "locked_by": "anna", "agent_type": "anna_type", "reason": "fix"}));
    assert!(instant(&lock["locked_at"]) < instant(&lock["expires_at"]));
    let status = server.get("/locks/status/src/a.rs").without_key().await;
    assert_eq!(*status.ok(), json!({"locked": true, "file_path": "src/a.rs", "lock": lock}));

    for (query, found) in [
        ("file_paths=src/a.rs", &["src/a.rs"][..]),
        ("file_paths=src", &["src/a.rs"]),
        ("file_paths=docs/x.md&file_paths=src/a.rs", &["src/a.rs", "docs"]),
        ("file_paths=docs/x.md,src/a.rs", &["src/a.rs", "docs"]),
        ("file_paths=other", &[]),
        ("", &["src/a.rs", "docs"]),
    ] {
        let list = server.get(&format!("/locks?{query}")).await;
        let names: Vec<&Value> = list.ok().as_array().unwrap().iter().map(|l| &l["file_path"]).collect();
        assert_eq!(names, found, "{query}");
    }
}

#[tokio::test]
async fn unknown_fields_are_ignored_and_null_is_absent() {
    let server = Server::start().await;
    let fields = json!({
        "colour": "red", "nested": {"agent_id": "mallory"}, "file_paths": null, "reason": null, "ttl_minutes": null,
        "mode": null, "wait_seconds": null, "fencing_token": null, "feature_id": null, "session_id": null,
    });
    let answer = server.post("/locks/acquire", ask("anna", "a.rs", fields)).await;
    assert_eq!((answer.ok()["success"].clone(), minutes_until(&answer.body["expires_at"])), (json!(true), 30));
    server.get("/locks?colour=red&file_paths=a.rs").await.ok();
    let null = server.post("/locks/acquire", ask("anna", "a.rs", json!({"agent_type": null}))).await;
    null.refused(422, "invalid_request");
    assert_eq!(null.wrong_fields(), ["agent_type"], "null is no name");
}

/// One thing said twice: the last counts, everywhere alike, so that a key's agent cannot be smuggled past the check.
#[tokio::test]
async fn the_last_of_duplicate_fields_counts() {
    let server = Server::start().await;
    let post = async |names: &str| {
        let body = format!(r#"{{"file_path":"a.rs","agent_type":"claude_code_cli",{names}}}"#);
        server
            .call(reqwest::Method::POST, "/locks/acquire")
            .key(crate::server::ALICE)
            .body("application/json", body)
            .await
    };
    post(r#""agent_id":"alice","agent_id":"mallory""#).await.refused(403, "identity_mismatch");
    post(r#""agent_id":"mallory","agent_id":"alice""#).await.ok();
    assert_eq!(server.held().await, ["alice a.rs"]);
}
