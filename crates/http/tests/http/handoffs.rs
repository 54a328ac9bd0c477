//! The contract of handoffs.

use serde_json::{Value, json};

use crate::server::{ALICE, Server, fields, has, instant, with};

async fn write(server: &Server, agent: &str, more: Value) -> Value {
    server.post("/handoffs/write", with(json!({"agent_id": agent}), more)).await.ok().clone()
}

async fn summaries(server: &Server, request: Value) -> Vec<String> {
    let answer = server.post("/handoffs/read", request).await;
    let handoffs = answer.ok()["handoffs"].as_array().unwrap().clone();
    handoffs.iter().map(|h| h["summary"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_handoff_is_read_as_it_was_written() {
    let server = Server::start().await;
    let said = json!({
        "summary": "half done", "completed_work": ["lexer"], "in_progress": ["parser"], "decisions": ["by hand: fast"],
        "next_steps": ["errors", "docs"], "relevant_files": ["src/a.rs"], "feature_id": "f1",
    });
    let written = write(&server, "anna", with(said.clone(), json!({"agent_type": "t", "session_id": "s1"}))).await;
    assert_eq!(written["success"], true);
    let id = written["handoff_id"].as_str().unwrap();
    id.parse::<uuid::Uuid>().unwrap();

    let answer = server.post("/handoffs/read", json!({"agent_id": "anna"})).await;
    assert_eq!(fields(answer.ok()), ["handoffs"], "her own, so there is nothing to explain");
    let read = &answer.body["handoffs"][0];
    has(read, said);
    has(
        read,
        json!({"handoff_id": id, "agent_id": "anna", "agent_name": "anna", "agent_type": "t", "session_id": "s1"}),
    );
    instant(&read["created_at"]);
    for other in [
        server.post("/handoff/read", json!({"agent_id": "anna"})),
        server.get("/handoffs/latest?agent_id=anna"),
        server.get("/handoffs/latest?agent_name=anna&limit=1"),
    ] {
        assert_eq!(other.await.ok(), &answer.body);
    }
}

#[tokio::test]
async fn every_path_writes() {
    let server = Server::start().await;
    for path in ["/handoffs/write", "/handoff/write", "/handoffs"] {
        let body = json!({"agent_id": "anna", "summary": path});
        assert_eq!(server.post(path, body).await.ok()["success"], true);
    }
    let all = summaries(&server, json!({"agent_id": "anna", "limit": 10})).await;
    assert_eq!(all, ["/handoffs", "/handoff/write", "/handoffs/write"], "newest first");
}

#[tokio::test]
async fn handoffs_are_found_by_agent_session_and_feature() {
    let server = Server::start().await;
    for (agent, session, feature) in [("anna", "s1", "f1"), ("anna", "s2", "f2"), ("bert", "s3", "f1")] {
        let more =
            json!({"summary": format!("{agent} {session} {feature}"), "session_id": session, "feature_id": feature});
        write(&server, agent, more).await;
    }
    let (a1, a2, b3) = ("anna s1 f1", "anna s2 f2", "bert s3 f1");
    for (request, expected) in [
        (json!({"agent_id": "anna"}), &[a2][..]),
        (json!({"agent_id": "bert", "agent_name": "anna", "limit": 5}), &[a2, a1]),
        (json!({"agent_id": "bert", "session_id": "s1"}), &[a1]),
        (json!({"session_id": "s1", "agent_name": "bert"}), &[]),
        (json!({"feature_id": "f1", "limit": 5}), &[b3, a1]),
        (json!({"feature_id": "f1", "agent_name": "anna"}), &[a1]),
        (json!({"agent_name": "carl"}), &[]),
        (json!({"session_id": "s9"}), &[]),
    ] {
        assert_eq!(summaries(&server, request.clone()).await, expected, "{request}");
    }
}

/// A session that says nothing gets its agent's own, or else what comes closest, and is told so.
#[tokio::test]
async fn who_left_nothing_is_shown_where_others_left_off() {
    let server = Server::start().await;
    let read = async |agent: &str| server.post("/handoffs/read", json!({"agent_id": agent})).await.ok().clone();
    assert_eq!(read("anna").await, json!({"handoffs": []}));

    write(&server, "bert", json!({"summary": "login", "feature_id": "login"})).await;
    write(&server, "carl", json!({"summary": "search", "feature_id": "search"})).await;
    let anyones = read("anna").await;
    has(&anyones["handoffs"][0], json!({"agent_id": "carl", "summary": "search"}));
    assert_eq!(anyones["reason"], "latest_of_project");
    assert!(anyones["message"].as_str().unwrap().contains("you have left no handoff"), "{anyones}");

    server.submit(json!({"feature_id": "login"})).await;
    server.claim("anna").await;
    let of_feature = read("anna").await;
    has(&of_feature["handoffs"][0], json!({"agent_id": "bert", "summary": "login"}));
    assert_eq!(of_feature["reason"], "latest_of_feature");
    assert!(of_feature["message"].as_str().unwrap().contains("login"), "{of_feature}");
    server.post("/agents/heartbeat", json!({"agent_id": "anna"})).await.ok();
    assert_eq!(read("anna").await, of_feature, "also while the task is running");

    write(&server, "anna", json!({"summary": "mine"})).await;
    has(&read("anna").await["handoffs"][0], json!({"agent_id": "anna", "summary": "mine"}));
    assert_eq!(read("anna").await["reason"], Value::Null);
}

#[tokio::test]
async fn content_may_have_any_form() {
    let server = Server::start().await;
    let cases = [
        (json!({"content": "just text"}), json!({"summary": "just text", "next_steps": []})),
        (
            json!({"content": {"summary": "s", "completed_work": ["a"], "next_steps": ["b"]}}),
            json!({"summary": "s", "completed_work": ["a"], "next_steps": ["b"]}),
        ),
        (
            json!({"summary": "s", "next_steps": ["b"], "content": {"todo": "- b\n- c", "mood": {"is": "good"}}}),
            json!({"summary": "s", "next_steps": ["b", "c"], "content": {"mood": {"is": "good"}}}),
        ),
        (json!({"content": {"blockers": ["review"]}}), json!({"content": {"blockers": ["review"]}})),
        (json!({"content": [1, {"two": 2}]}), json!({"content": [1, {"two": 2}]})),
    ];
    for (said, expected) in cases {
        write(&server, "anna", said).await;
        let read = server.get("/handoffs/latest?agent_id=anna").await.ok()["handoffs"][0].clone();
        has(&read, expected);
        assert!(!read["summary"].as_str().unwrap().is_empty(), "{read}");
    }
    for nothing in [json!({}), json!(""), json!([]), json!({"next_steps": [], "mood": null})] {
        let answer = server.post("/handoffs", json!({"agent_id": "anna", "content": nothing})).await;
        answer.refused(422, "invalid_request");
        assert_eq!(answer.wrong_fields(), ["content"], "{nothing}");
    }
}

#[tokio::test]
async fn who_writes_is_who_the_key_says() {
    let server = Server::start().await;
    let forged = json!({"agent_id": "bert", "summary": "s"});
    server.post("/handoffs/write", forged).key(ALICE).await.refused(403, "identity_mismatch");
    server.post("/handoffs/write", json!({"summary": "s"})).await.refused(422, "invalid_request");
    write(&server, "bert", json!({"summary": "bert's"})).await;
    // Everybody may read everything of the project: the key's agent asks, for another's.
    let read = server.post("/handoffs/read", json!({"agent_name": "bert"})).key(ALICE).await;
    has(&read.ok()["handoffs"][0], json!({"summary": "bert's"}));
    server.post("/handoffs/read", json!({"agent_id": "bert"})).key(ALICE).await.refused(403, "identity_mismatch");
}
