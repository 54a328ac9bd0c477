//! Waiting for a lock over HTTP.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{Call, Server, has};

fn wait(server: &Server, agent: &str, seconds: u32) -> Call {
    let body = json!({"file_path": "a.rs", "agent_id": agent, "agent_type": "t", "wait_seconds": seconds});
    server.post("/locks/acquire", body)
}

async fn release(server: &Server, agent: &str) {
    let released = server.post("/locks/release", json!({"file_path": "a.rs", "agent_id": agent})).await;
    assert_eq!(released.ok()["released"], true);
}

/// At once, and not when it next looks, which would be 100 ms later on average.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_is_granted_when_the_holder_releases() {
    let server = Server::start().await;
    let mut delays = vec![];
    for _ in 0..9 {
        server.lock("anna", "a.rs").await;
        let waiter = tokio::spawn(async_answer(wait(&server, "bert", 30)));
        server.until_waiting(1).await;
        release(&server, "anna").await;
        let released = Instant::now();
        assert_eq!(waiter.await.unwrap()["action"], "acquired");
        delays.push(released.elapsed());
        release(&server, "bert").await;
    }
    delays.sort_unstable();
    assert!(delays[4] < Duration::from_millis(60), "{delays:?}");
    let rows =
        server.trail("default").await.iter().filter(|e| e.agent_id == "bert" && e.operation == "acquire_lock").count();
    assert_eq!(rows, 9, "one row for each wait");
}

async fn async_answer(call: Call) -> Value {
    call.await.ok().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn waiters_are_served_in_the_order_they_came() {
    let server = Server::start().await;
    server.lock("holder", "a.rs").await;
    let mut waiters = vec![];
    for n in 0..5 {
        waiters.push(tokio::spawn(async_answer(wait(&server, &format!("w{n}"), 30))));
        server.until_waiting(n + 1).await;
    }
    let overtaking = wait(&server, "hasty", 0).await;
    has(overtaking.ok(), json!({"success": false, "reason": "locked_by_other"}));
    assert_eq!(overtaking.body["conflicts_with"].as_array().unwrap().len(), 6, "the holder and five who came earlier");
    release(&server, "holder").await;
    for (n, waiter) in waiters.into_iter().enumerate() {
        assert_eq!(waiter.await.unwrap()["success"], true);
        assert_eq!(server.held().await, [format!("w{n} a.rs")]);
        release(&server, &format!("w{n}")).await;
    }
}

#[tokio::test]
async fn whoever_waits_in_vain_is_told_who_is_in_the_way() {
    let server = Server::start().await;
    server.lock("anna", "a.rs").await;
    let asked = Instant::now();
    let answer = wait(&server, "bert", 1).await;
    has(answer.ok(), json!({"success": false, "action": "blocked", "reason": "locked_by_other", "locked_by": "anna"}));
    assert!((1.0..2.0).contains(&asked.elapsed().as_secs_f64()), "{:?}", asked.elapsed());
    server.until_waiting(0).await;
}

/// Both would wait for ever: the younger is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_refused_by_name() {
    let server = Server::start().await;
    server.lock("anna", "a.rs").await;
    server.lock("bert", "b.rs").await;
    let older = tokio::spawn(async_answer(wait(&server, "bert", 30)));
    server.until_waiting(1).await;
    let body = json!({"file_path": "b.rs", "agent_id": "anna", "agent_type": "t", "wait_seconds": 30});
    let answer = server.post("/locks/acquire", body).await;
    has(answer.ok(), json!({"success": false, "action": "blocked", "reason": "deadlock"}));
    assert!(answer.body["message"].as_str().unwrap().contains("anna -> bert -> anna"), "{}", answer.body);
    release(&server, "anna").await;
    assert_eq!(older.await.unwrap()["success"], true);
}

/// Its place lapses, and nothing is ever granted to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_loses_its_place() {
    let server = Server::start().await;
    server.lock("anna", "a.rs").await;
    let gone = tokio::spawn(async_answer(wait(&server, "gone", 60)));
    server.until_waiting(1).await;
    let patient = tokio::spawn(async_answer(wait(&server, "patient", 60)));
    server.until_waiting(2).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled(), "its connection is closed");
    // Until the server has read that, a release would still reach the waiter. Nothing tells us when it has.
    tokio::time::sleep(Duration::from_millis(100)).await;
    release(&server, "anna").await;
    let released = Instant::now();
    assert_eq!(patient.await.unwrap()["success"], true);
    assert!(released.elapsed() < Duration::from_secs(4), "{:?}", released.elapsed());
    assert!(server.trail("default").await.iter().all(|row| row.agent_id != "gone"), "nothing was granted to it");
}
