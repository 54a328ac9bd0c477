//! The contract of messages.

use serde_json::{Value, json};

use crate::server::{Server, fields, has, instant};

async fn texts(server: &Server, agent: &str) -> Vec<String> {
    let answer = server.post("/messages/read", json!({"agent_id": agent})).await;
    let messages = answer.ok()["messages"].as_array().unwrap().clone();
    messages.iter().map(|message| message["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_message_is_read_once_by_whom_it_is_for() {
    let server = Server::start().await;
    let sent =
        json!({"agent_id": "ann", "agent_type": "t", "to": "bob", "text": "mine until noon", "thread": "./src//a.rs"});
    let answer = server.post("/messages/send", sent).await;
    assert_eq!(fields(answer.ok()), ["message_id", "recipients", "success"]);
    assert_eq!(answer.ok()["recipients"], json!(["bob"]));
    assert_eq!(texts(&server, "ann").await, [""; 0]);
    let read = server.post("/messages/read", json!({"agent_id": "bob"})).await;
    let message = &read.ok()["messages"][0];
    has(
        message,
        json!({"from": "ann", "agent_type": "t", "to": "bob", "text": "mine until noon", "thread": "src/a.rs"}),
    );
    instant(&message["sent_at"]);
    assert_eq!(texts(&server, "bob").await, [""; 0], "once is enough");
    let listed = server.get("/messages?thread=src/a.rs&from=ann").await;
    assert_eq!(listed.ok()["messages"][0]["message_id"], message["message_id"]);
}

#[tokio::test]
async fn all_and_a_capability_reach_who_is_here() {
    let server = Server::start().await;
    for (agent, can) in [("ann", json!(["rust"])), ("bob", json!(["sql"])), ("zoe", json!(["rust", "sql"]))] {
        let registered = json!({"agent_id": agent, "session_id": agent, "capabilities": can});
        server.post("/agents/register", registered).await.ok();
    }
    let send = async |to: Value| {
        let mut request = json!({"agent_id": "ann", "text": "hello"});
        request.as_object_mut().unwrap().extend(to.as_object().unwrap().clone());
        server.post("/messages/send", request).await
    };
    assert_eq!(send(json!({"to": "all"})).await.ok()["recipients"], json!(["bob", "zoe"]));
    assert_eq!(send(json!({"to_capability": "rust"})).await.ok()["recipients"], json!(["zoe"]));
    assert_eq!(send(json!({"to_capability": "cobol"})).await.status, 409);
    assert_eq!(send(json!({"to": "bob", "to_capability": "sql"})).await.status, 422);
    assert_eq!(send(json!({})).await.status, 422);
    assert_eq!(send(json!({"to": "bob", "thread": "../x"})).await.status, 422);
    assert_eq!(send(json!({"to": "bob", "text": "x".repeat(4097)})).await.status, 422);
    server.post("/agents/end", json!({"agent_id": "zoe", "session_id": "zoe"})).await.ok();
    assert_eq!(send(json!({"to": "all"})).await.ok()["recipients"], json!(["bob"]));
}

#[tokio::test]
async fn whoever_waits_for_a_message_gets_it_as_it_is_sent() {
    let server = Server::start().await;
    let waiting = server.post("/messages/read", json!({"agent_id": "bob", "wait_seconds": 60}));
    let sending = async {
        tokio::task::yield_now().await;
        server.post("/messages/send", json!({"agent_id": "ann", "to": "bob", "text": "now"})).await
    };
    let (read, sent) = tokio::join!(waiting, sending);
    sent.ok();
    assert_eq!(read.ok()["messages"][0]["text"], "now");
}
