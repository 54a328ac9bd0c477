//! `GET /events`: nothing is missed, nothing is told twice.

use std::time::{Duration, Instant};

use reqwest::Response;
use serde_json::{Value, json};

use crate::server::{ALICE, FREE, Server};

/// Events as they arrive.
struct Listener {
    response: Response,
    text: String,
}

impl Listener {
    async fn to(server: &Server, query: &str, last_seen: Option<i64>) -> Self {
        let url = format!("http://{}/events{query}", server.address);
        let mut request = reqwest::Client::new().get(url).header("X-API-Key", FREE);
        if let Some(id) = last_seen {
            request = request.header("Last-Event-ID", id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next event: its id, what it tells of, and the entry.
    async fn next(&mut self) -> (i64, String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                if let (Some(id), Some(kind), Some(data)) = (field("id"), field("event"), field("data")) {
                    return (id.parse().unwrap(), kind.to_owned(), serde_json::from_str(data).unwrap());
                }
                continue;
            }
            let more = tokio::time::timeout(Duration::from_secs(10), self.response.chunk()).await;
            let more = more.expect("an event").unwrap().expect("the stream goes on");
            self.text.push_str(std::str::from_utf8(&more).unwrap());
        }
    }

    /// The stream has ended.
    async fn has_ended(mut self) {
        while let Ok(Some(_)) = self.response.chunk().await {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_told_as_they_happen() {
    let server = Server::start().await;
    server.lock("anna", "before.rs").await;
    let mut listener = Listener::to(&server, "", None).await;
    for path in ["a.rs", "b.rs"] {
        server.lock("anna", path).await;
        let (id, kind, entry) = listener.next().await;
        assert_eq!(kind, "acquire_lock");
        assert_eq!(entry["seq"], id);
        assert_eq!((&entry["agent_id"], &entry["parameters"]["file_path"]), (&json!("anna"), &json!(path)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_cut_off_goes_on_where_it_was() {
    let server = Server::start().await;
    for n in 0..300 {
        server.lock("anna", &format!("{n}.rs")).await;
    }
    let mut listener = Listener::to(&server, "?after=0", None).await;
    for id in 1..=250 {
        assert_eq!(listener.next().await.0, id);
    }
    let mut listener = Listener::to(&server, "?after=0", Some(250)).await;
    for id in 251..=300 {
        assert_eq!(listener.next().await.0, id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_asked_for_is_told() {
    let server = Server::start().await;
    let mut listener =
        Listener::to(&server, "?operation=release_lock,acquire_lock&agent_id=bert&success=true", None).await;
    server.lock("anna", "a.rs").await;
    server.post("/locks/acquire", json!({"file_path": "a.rs", "agent_id": "bert", "agent_type": "t"})).await;
    server.post("/work/submit", json!({"task_type": "t", "description": "d", "agent_id": "bert"})).await;
    server.lock("bert", "b.rs").await;
    let (_, kind, entry) = listener.next().await;
    assert_eq!((kind.as_str(), &entry["parameters"]["file_path"]), ("acquire_lock", &json!("b.rs")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projects_events_are_its_own() {
    let server = Server::start().await;
    let mut listener = Listener::to(&server, "?after=0", None).await;
    server
        .post("/locks/acquire", json!({"file_path": "theirs.rs", "agent_id": "x", "agent_type": "t"}))
        .project("other")
        .await
        .ok();
    server.lock("anna", "ours.rs").await;
    assert_eq!(listener.next().await.2["parameters"]["file_path"], "ours.rs");
}

#[tokio::test]
async fn listening_needs_a_key_and_a_good_question() {
    let server = Server::start().await;
    server.get("/events").without_key().await.refused(401, "unauthorized");
    server.get("/events").key("wrong").await.refused(401, "unauthorized");
    for (query, field) in [("?after=-1", "after"), ("?after=x", "after"), ("?success=maybe", "success")] {
        let answer = server.get(&format!("/events{query}")).await;
        answer.refused(422, "invalid_request");
        assert_eq!(answer.wrong_fields(), [field]);
    }
    let answer = server.get("/events").key(ALICE).header("Last-Event-ID", "one").await;
    answer.refused(422, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_ends_its_streams() {
    let mut server = Server::start().await;
    let listener = Listener::to(&server, "", None).await;
    let stopped = Instant::now();
    server.stop();
    listener.has_ended().await;
    (&mut server.serving).await.unwrap().unwrap();
    assert!(stopped.elapsed() < Duration::from_secs(2), "{:?}", stopped.elapsed());
}

/// The one who ends what others wait for is another process, of which this server hears nothing.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_task_ends_within_a_second() {
    let server = Server::start().await;
    let ask = json!({"agent_id": "bert", "agent_type": "t", "wait_seconds": 20});
    let waiting = tokio::spawn(server.post("/work/claim", ask).into_future());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let elsewhere = server.elsewhere().await;
    let begun = Instant::now();
    let id = elsewhere.submit(json!({})).await;
    let claimed = waiting.await.unwrap();
    assert_eq!(claimed.ok()["task_id"], json!(id));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());

    let waiting = tokio::spawn(server.post("/work/get", json!({"task_id": id, "wait_seconds": 20})).into_future());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    elsewhere.post("/work/complete", json!({"task_id": id, "success": true, "agent_id": "bert"})).await.ok();
    assert_eq!(waiting.await.unwrap().ok()["task"]["status"], "completed");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let asked = server.trail("default").await.iter().filter(|entry| entry.operation == "get_work").count();
    assert_eq!(asked, 1, "one row for the wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_task_in_vain_takes_as_long_as_was_asked() {
    let server = Server::start().await;
    let begun = Instant::now();
    let answer = server.post("/work/claim", json!({"agent_id": "bert", "agent_type": "t", "wait_seconds": 1})).await;
    assert_eq!(answer.ok()["reason"], "no_tasks_available");
    assert!(begun.elapsed() >= Duration::from_secs(1));
}
