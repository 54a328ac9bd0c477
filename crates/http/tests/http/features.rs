//! The contract of features.

use serde_json::{Value, json};

use crate::server::{Server, has};

/// A server on which `login` of ann and `search` of bob are active.
async fn building() -> Server {
    let server = Server::start().await;
    for (agent, feature, claims, priority) in
        [("ann", "login", json!(["src/auth/", "db:users"]), 2), ("bob", "search", json!(["src/**/*.sql", "docs"]), 5)]
    {
        let request = json!({
            "agent_id": agent, "feature_id": feature, "resource_claims": claims, "merge_priority": priority,
        });
        server.post("/features/register", request).await.ok();
    }
    server
}

#[tokio::test]
async fn a_feature_is_registered_updated_shown_and_ended() {
    let server = Server::start().await;
    let first = json!({
        "feature_id": "login", "resource_claims": ["./src//auth/", "src/auth", "db:Users"], "title": "Log in",
        "branch_name": "agent/ann/1", "merge_priority": 2, "metadata": {"ticket": 7}, "agent_id": "ann",
    });
    has(server.post("/features/register", first).await.ok(), json!({"success": true, "action": "registered"}));
    let again = json!({"feature_id": "login", "resource_claims": ["src/auth"], "agent_id": "bob"});
    has(server.post("/features/register", again).await.ok(), json!({"success": true, "action": "updated"}));
    let shown = server.get("/features/login").await;
    let expected = json!({
        "feature_id": "login", "title": "Log in", "branch_name": "agent/ann/1", "status": "active",
        "resource_claims": ["src/auth"], "merge_priority": 2, "metadata": {"ticket": 7}, "registered_by": "ann",
    });
    has(&shown.ok()["feature"], expected);
    has(&server.get("/features/active").await.ok()["features"][0], json!({"feature_id": "login"}));
    let ended = server.post("/features/deregister", json!({"feature_id": "login", "status": "cancelled"})).await;
    has(ended.ok(), json!({"success": true, "status": "cancelled"}));
    assert_eq!(server.get("/features/active").await.ok()["features"], json!([]));
    assert_eq!(server.get("/features/login").await.ok()["feature"]["status"], "cancelled");
    let twice = server.post("/features/deregister", json!({"feature_id": "login"})).await;
    twice.refused(409, "feature_not_active");
    server.post("/features/deregister", json!({"feature_id": "none"})).await.refused(409, "feature_not_found");
}

#[tokio::test]
async fn an_unknown_feature_is_404() {
    let server = Server::start().await;
    let answer = server.get("/features/none").await;
    assert_eq!(answer.status, 404);
    has(&answer.body, json!({"success": false, "reason": "feature_not_found"}));
}

#[tokio::test]
async fn claims_that_are_no_keys_are_named() {
    let server = Server::start().await;
    let register = async |claims: Value| {
        server.post("/features/register", json!({"feature_id": "f", "resource_claims": claims})).await
    };
    register(json!(["src", "/etc/passwd"])).await.refused(422, "invalid_file_path");
    register(json!(["nonsense:x"])).await.refused(403, "operation_not_permitted");
    let many: Vec<String> = (0..201).map(|n| format!("src/{n}.rs")).collect();
    register(json!(many)).await.refused(422, "invalid_request");
    assert_eq!(server.get("/features/active").await.ok()["features"], json!([]));
}

#[tokio::test]
async fn an_analysis_says_what_meets_what_and_in_which_order() {
    let server = building().await;
    let ask = async |claims: Value| {
        let request = json!({"candidate_feature_id": "new", "candidate_claims": claims});
        server.post("/features/conflicts", request).await.ok().clone()
    };
    let full = ask(json!(["lib", "api:GET /v1/users"])).await;
    has(
        &full,
        json!({"feasibility": "FULL", "conflicts": [], "total_candidate_claims": 2, "total_conflicting_claims": 0}),
    );
    let partial = ask(json!(["src/auth/login.rs", "lib", "tests"])).await;
    has(&partial, json!({"feasibility": "PARTIAL", "total_candidate_claims": 3, "total_conflicting_claims": 1}));
    let sequential = ask(json!(["src/auth/users.sql", "docs/x.md", "lib"])).await;
    has(&sequential, json!({"feasibility": "SEQUENTIAL", "total_conflicting_claims": 2}));
    let met = |keys, theirs, id| json!({"feature_id": id, "overlapping_keys": keys, "their_claims": theirs});
    let expected = json!([
        met(json!(["src/auth/users.sql"]), json!(["src/auth"]), "login"),
        met(json!(["docs/x.md", "src/auth/users.sql"]), json!(["docs", "src/**/*.sql"]), "search"),
    ]);
    assert_eq!(sequential["conflicts"], expected);
    assert_eq!(sequential["order"], json!([["login"], ["search"], ["new"]]));
    assert_eq!(server.get("/features/new").await.status, 404, "it was only asked about");
}

#[tokio::test]
async fn a_grant_tells_of_the_features_that_claim_it() {
    let server = building().await;
    let lock = async |agent: &str, more: Value| {
        let request = json!({"agent_id": agent, "agent_type": "t", "file_path": "src/auth/login.rs"});
        let answer = server.post("/locks/acquire", crate::server::with(request, more)).await.ok().clone();
        let release = json!({"agent_id": agent, "file_path": "src/auth/login.rs"});
        server.post("/locks/release", release).await.ok();
        answer
    };
    let told = lock("zoe", json!({})).await;
    let expected = json!([{
        "feature_id": "login", "registered_by": "ann", "claim": "src/auth", "file_path": "src/auth/login.rs",
    }]);
    assert_eq!(told["claimed_by_features"], expected);
    assert_eq!(told["success"], true);
    assert!(told["message"].as_str().unwrap().contains("feature login of ann claims src/auth"), "{told}");
    for silent in [lock("ann", json!({})).await, lock("zoe", json!({"feature_id": "login"})).await] {
        assert_eq!(silent.get("claimed_by_features"), None);
        assert_eq!(silent.get("message"), None);
    }
}
