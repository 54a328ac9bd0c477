//! `POST /webhook/github`: signed bodies are taken, each once, and nothing else.

use github::{RepositoryName, Secret, signature};
use serde_json::{Value, json};

use crate::server::{Answer, Call, Server, has};

const SECRET: &str = "It's a Secret to Everybody";
const PATH: &str = "/webhook/github";

/// A server that hears of this repository.
async fn hearing(repository: &str) -> Server {
    Server::with(|settings| {
        settings.github.repository = RepositoryName::parse(repository).ok();
        settings.github.webhook_secret = Some(Secret::new(SECRET));
    })
    .await
}

fn call(server: &Server, event: &str, id: &str, body: &str, signature: &str) -> Call {
    server
        .call(reqwest::Method::POST, PATH)
        .without_key()
        .header("X-GitHub-Event", event)
        .header("X-GitHub-Delivery", id)
        .header("X-Hub-Signature-256", signature)
        .body("application/json", body.to_owned())
}

async fn deliver(server: &Server, event: &str, id: &str, body: &Value) -> Answer {
    let body = body.to_string();
    call(server, event, id, &body, &signature::sign(&Secret::new(SECRET), body.as_bytes())).await
}

fn labelled(labels: &[&str], updated_at: &str) -> Value {
    let labels: Vec<Value> = labels.iter().map(|name| json!({"name": name})).collect();
    json!({
        "action": "labeled", "repository": {"full_name": "octo/shop"},
        "issue": {
            "number": 7, "title": "Log in", "state": "open", "labels": labels, "assignees": [],
            "html_url": "https://github.example/octo/shop/issues/7", "updated_at": updated_at,
        },
    })
}

/// The bodies in this package, or all that the environment names.
fn bodies() -> Vec<(String, Value)> {
    let Some(path) = std::env::var_os("GITHUB_WEBHOOK_EXAMPLES") else {
        let lines = include_str!("../github/webhooks.jsonl").lines();
        let read = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        return lines
            .map(read)
            .map(|line| (line["event"].as_str().unwrap().to_owned(), line["body"].clone()))
            .collect();
    };
    let events: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let examples = |event: &Value| {
        let name = event["name"].as_str().unwrap().to_owned();
        event["examples"].as_array().unwrap().iter().map(|body| (name.clone(), body.clone())).collect::<Vec<_>>()
    };
    events.iter().flat_map(examples).collect()
}

#[tokio::test]
async fn every_body_of_githubs_is_taken_or_politely_ignored() {
    let bodies = bodies();
    let server = hearing("Codertocat/Hello-World").await;
    let mut handled = 0;
    for (at, (event, body)) in bodies.iter().enumerate() {
        let answer = deliver(&server, event, &format!("delivery-{at}"), body).await;
        let is_ours = body["repository"]["full_name"] == "Codertocat/Hello-World";
        let is_pinned = body["action"].as_str().is_some_and(|action| action.ends_with("pinned"));
        let is_pull = body["issue"]["pull_request"].is_object();
        let expected: &[u16] = match event.as_str() {
            "issues" if is_ours && !is_pinned && !is_pull => &[200],
            "pull_request" if is_ours => &[200],
            "push" | "delete" if is_ours => &[200, 202],
            _ => &[202],
        };
        assert!(expected.contains(&answer.status), "{event} {}: {} {}", body["action"], answer.status, answer.body);
        assert_eq!(answer.body["success"], true);
        handled += usize::from(answer.status == 200);
    }
    println!("{} bodies, {handled} of them handled", bodies.len());
    assert!(handled >= 10 && bodies.len() >= 15);
}

#[tokio::test]
async fn a_label_locks_and_a_replay_changes_nothing() {
    let server = hearing("octo/shop").await;
    let body = labelled(&["agent:ann", "locked:src/auth"], "2026-01-01T00:00:00Z");
    let first = deliver(&server, "issues", "d1", &body).await;
    has(first.ok(), json!({"success": true, "action": "handled", "subjects": ["issue #7"]}));
    assert_eq!(server.held().await, ["ann src/auth"]);
    let later = labelled(&["agent:ann"], "2026-01-01T00:00:01Z");
    deliver(&server, "issues", "d2", &later).await.ok();
    assert_eq!(server.held().await, [] as [&str; 0]);
    let trail = server.trail("default").await;
    let rows: Vec<_> = trail.iter().filter(|row| row.operation == "acquire_lock").collect();
    assert_eq!((rows.len(), rows[0].agent_id.as_str()), (1, "ann"));
    let again = deliver(&server, "issues", "d1", &body).await;
    assert_eq!((again.status, &again.body["action"]), (202, &json!("repeated")));
    assert_eq!(server.held().await, [] as [&str; 0]);

    // In the other form that GitHub offers.
    let form: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", &labelled(&["agent:ann", "locked:docs"], "2026-01-01T00:00:02Z").to_string())
        .finish();
    let signature = signature::sign(&Secret::new(SECRET), form.as_bytes());
    let request = server
        .call(reqwest::Method::POST, PATH)
        .without_key()
        .header("X-GitHub-Event", "issues")
        .header("X-GitHub-Delivery", "d3")
        .header("X-Hub-Signature-256", signature)
        // Through whatever stands before the server.
        .header("Host", "coordinator.example")
        .body("application/x-www-form-urlencoded", form);
    request.await.ok();
    assert_eq!(server.held().await, ["ann docs"]);
}

#[tokio::test]
async fn what_is_not_signed_is_not_looked_at() {
    let server = hearing("octo/shop").await;
    let body = labelled(&["agent:ann", "locked:src"], "2026-01-01T00:00:00Z").to_string();
    let good = signature::sign(&Secret::new(SECRET), body.as_bytes());
    let other = signature::sign(&Secret::new("another"), body.as_bytes());
    for wrong in ["", "sha256=", "sha256=zz", "sha1=00", &other, &good[..good.len() - 1]] {
        call(&server, "issues", "d1", &body, wrong).await.refused(401, "bad_signature");
        call(&server, "issues", "d1", "{", wrong).await.refused(401, "bad_signature");
    }
    let changed = body.replace("src", "etc");
    call(&server, "issues", "d1", &changed, &good).await.refused(401, "bad_signature");
    // A key is no signature.
    server.post(PATH, json!({})).await.refused(401, "bad_signature");
    assert_eq!(server.held().await, [] as [&str; 0]);
    assert!(server.trail("default").await.is_empty());
}

#[tokio::test]
async fn without_a_secret_it_is_closed() {
    let server = Server::start().await;
    let body = labelled(&["agent:ann", "locked:src"], "2026-01-01T00:00:00Z");
    let refused = deliver(&server, "issues", "d1", &body).await;
    let told = refused.refused(503, "webhook_not_set_up");
    assert!(told["message"].as_str().unwrap().contains("GITHUB_WEBHOOK_SECRET"));
    let half = Server::with(|settings| settings.github.webhook_secret = Some(Secret::new(SECRET))).await;
    let refused = deliver(&half, "issues", "d1", &body).await;
    assert!(refused.refused(503, "webhook_not_set_up")["message"].as_str().unwrap().contains("GITHUB_REPO"));
}

#[tokio::test]
async fn what_is_signed_and_makes_no_sense_is_told_so() {
    let server = hearing("octo/shop").await;
    let sign = |body: &str| signature::sign(&Secret::new(SECRET), body.as_bytes());
    for body in ["", "{", "\u{1}"] {
        call(&server, "issues", "d1", body, &sign(body)).await.refused(400, "invalid_json");
    }
    let repository = json!({"full_name": "octo/shop"});
    for (event, body) in [
        ("issues", json!({"repository": repository})),
        ("issues", json!({"repository": repository, "action": 7, "issue": []})),
        ("pull_request", json!({"repository": repository, "pull_request": {"number": -1}})),
        ("push", json!({"repository": {"full_name": "octo/shop", "pushed_at": "soon"}, "ref": "refs/heads/agent/a/1"})),
        ("delete", json!({"repository": repository, "ref": 1})),
    ] {
        deliver(&server, event, "d1", &body).await.refused(422, "invalid_request");
    }
    let good = labelled(&["agent:ann", "locked:src"], "2026-01-01T00:00:00Z");
    for id in ["", &"d".repeat(101)] {
        deliver(&server, "issues", id, &good).await.refused(422, "invalid_request");
    }
    for (event, body) in [("issues", json!([])), ("issues", json!({})), ("", json!({})), ("nothing", json!(null))] {
        let answer = deliver(&server, event, "d1", &body).await;
        assert_eq!((answer.status, &answer.body["action"]), (202, &json!("ignored")), "{event} {body}");
    }
    let huge = format!("\"{}\"", "x".repeat(9 * 1024 * 1024));
    let answer = call(&server, "issues", "d1", &huge, &sign(&huge)).await;
    answer.refused(413, "body_too_large");
    let get = server.get(PATH).await;
    get.refused(405, "method_not_allowed");
}
