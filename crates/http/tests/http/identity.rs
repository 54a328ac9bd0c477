//! Who is calling: keys, and the agents they are bound to.

use std::time::{Duration, Instant};

use coordinator::Coordinator;
use coordinator::keys::NewKey;
use coordinator::operation::{BodyIdentity, Method};
use model::id::AgentId;
use serde_json::{Value, json};

use crate::routes::{all, good_call};
use crate::server::{ALICE, FREE, Server, State, admin, has, project, with};

fn lock(fields: Value) -> Value {
    with(json!({"file_path": "a.rs", "agent_id": "alice", "agent_type": "claude_code_cli"}), fields)
}

#[tokio::test]
async fn a_key_is_shown_in_either_header() {
    let server = Server::start().await;
    for (name, value) in [
        ("X-API-Key", FREE.to_owned()),
        ("Authorization", format!("Bearer {FREE}")),
        ("Authorization", format!("bearer  {FREE} ")),
        ("Authorization", format!("BEARER {FREE}")),
    ] {
        server.get("/locks").without_key().header(name, &value).await.ok();
    }
    for (name, value) in [
        ("X-API-Key", ""),
        ("X-API-Key", "Free-Key"),
        ("X-API-Key", "free-key,alice-key"),
        ("X-API-Key", "free-key\u{e9}"),
        ("Authorization", FREE),
        ("Authorization", "Bearer"),
        ("Authorization", "Bearer "),
        ("Authorization", "Basic ZnJlZS1rZXk6"),
        ("Authorization", "Bearer\u{a0}free-key"),
    ] {
        server.get("/locks").without_key().header(name, value).await.refused(401, "unauthorized");
    }
}

#[tokio::test]
async fn a_bound_key_speaks_for_its_agent_and_no_other() {
    let server = Server::start().await;
    let named = server.post("/locks/acquire", lock(json!({}))).key(ALICE).await;
    assert_eq!(named.ok()["action"], "acquired");
    assert_eq!(server.get("/locks").await.body[0]["agent_type"], "claude_code_cli");

    for (n, fields) in [
        json!({"agent_id": "mallory"}),
        json!({"agent_type": "codex_cli"}),
        json!({"agent_id": "ALICE"}),
        json!({"agent_id": "alice ", "session_id": "s"}),
    ]
    .into_iter()
    .enumerate()
    {
        let (before, rows) = (server.held().await, server.trail("default").await.len());
        let answer =
            server.post("/locks/acquire", lock(with(json!({"file_path": "b.rs"}), fields.clone()))).key(ALICE).await;
        answer.refused(403, "identity_mismatch");
        assert_eq!(server.held().await, before, "nothing was locked");
        let trail = server.trail("default").await;
        assert_eq!(trail.len(), rows + 1, "{n}: one row for the refusal");
        assert_eq!(
            (trail[0].agent_id.as_str(), trail[0].operation.as_str()),
            ("alice", "acquire_lock"),
            "in the key's name"
        );
        assert_eq!((trail[0].success, trail[0].error_message.as_deref()), (false, Some("identity_mismatch")));
        assert!(
            fields.as_object().unwrap().iter().all(|(k, v)| trail[0].parameters[k] == *v),
            "{:?}",
            trail[0].parameters
        );
    }
}

/// Every operation that a body may name its caller for, and every way in.
#[tokio::test]
async fn no_operation_is_done_in_another_s_name() {
    let server = Server::start().await;
    for (entry, route) in all().filter(|(entry, _)| entry.body_identity != BodyIdentity::None) {
        for (field, other) in [("agent_id", "mallory"), ("agent_type", "codex_cli")] {
            let before = server.state().await;
            let call = match route.method {
                Method::Get => server.get(&format!("{}?{field}={other}", crate::routes::path(entry, route))),
                Method::Delete => server.delete(&format!("{}?{field}={other}", crate::routes::path(entry, route))),
                Method::Post => {
                    let mut body = Value::Object(crate::minimal::minimal(entry.body_schema(), entry.one_of));
                    has_identity(&mut body, field, other);
                    server.post(&crate::routes::path(entry, route), body)
                }
            };
            call.key(ALICE).await.refused(403, "identity_mismatch");
            let audit_rows = before.audit_rows + 1;
            assert_eq!(server.state().await, State { audit_rows, ..before }, "{route:?}: nothing but the audit row");
        }
    }
}

fn has_identity(body: &mut Value, field: &str, other: &str) {
    for (name, own) in [("agent_id", "alice"), ("agent_type", "claude_code_cli")] {
        if body.get(name).is_some() {
            body[name] = own.into();
        }
    }
    body[field] = other.into();
}

#[tokio::test]
async fn an_unbound_key_names_its_own_agent_or_is_the_cloud_agent() {
    let server = Server::start().await;
    let task = json!({"task_type": "t", "description": "d"});
    for (key, fields, agent, kind) in [
        (FREE, json!({}), "cloud-agent", "cloud_agent"),
        (FREE, json!({"agent_id": "bob", "agent_type": "codex_cli", "session_id": "s"}), "bob", "codex_cli"),
        (FREE, json!({"agent_id": null, "agent_type": null}), "cloud-agent", "cloud_agent"),
        (ALICE, json!({}), "alice", "claude_code_cli"),
        (ALICE, json!({"agent_id": "alice"}), "alice", "claude_code_cli"),
    ] {
        server.post("/work/submit", with(task.clone(), fields.clone())).key(key).await.ok();
        let row = server.trail("default").await.remove(0);
        assert_eq!((row.agent_id.as_str(), row.agent_type.as_str()), (agent, kind), "{key} {fields}");
        assert_eq!(row.session_id.as_deref(), fields["session_id"].as_str());
    }
}

/// A name that is none is a wrong field, not somebody else: 422, and no row.
#[tokio::test]
async fn names_that_are_none_are_wrong_fields() {
    let server = Server::start().await;
    let (long, wide) = ("a".repeat(257), "\u{e9}".repeat(129));
    for field in ["agent_id", "agent_type", "session_id"] {
        for name in ["", "   ", "two\nlines", "nul\0", "\u{7f}", long.as_str(), wide.as_str()] {
            for key in [FREE, ALICE] {
                let before = server.state().await;
                let answer = server.post("/locks/acquire", lock(json!({field: name}))).key(key).await;
                answer.refused(422, "invalid_request");
                assert_eq!(answer.wrong_fields(), [field], "{field} {name:?}");
                assert_eq!(server.state().await, before);
            }
        }
    }
}

#[tokio::test]
async fn stored_keys_open_until_they_end() {
    let server = Server::start().await;
    let make = async |name: &str, days, agent: Option<&str>| {
        let new = NewKey {
            name: name.into(),
            agent_id: agent.map(|a| AgentId::new(a).unwrap()),
            agent_type: agent.map(|_| "codex_cli".into()),
            expires_in_days: days,
            ..NewKey::default()
        };
        server.coordinator.create_key(&project("house"), &admin(), new).await.unwrap()
    };
    let (live, live_row) = make("live", None, None).await;
    let (dated, _) = make("dated", Some(1), None).await;
    let (expired, _) = make("expired", Some(0), None).await;
    let (revoked, revoked_row) = make("revoked", None, None).await;
    let (bound, _) = make("bound", None, Some("bob")).await;
    server.coordinator.revoke_key(&project("house"), &admin(), revoked_row.id).await.unwrap();

    for (key, opens) in [(&live, true), (&dated, true), (&bound, true), (&expired, false), (&revoked, false)] {
        let answer = server.get("/locks").key(key).await;
        assert_eq!(answer.status, if opens { 200 } else { 401 }, "{}", answer.body);
    }
    // A stored key opens its own project only, and by default.
    server.post("/locks/acquire", lock(json!({"agent_id": "carol"}))).key(&live).await.ok();
    assert_eq!(server.get("/locks").key(&bound).await.body[0]["locked_by"], "carol");
    server.get("/locks").key(&live).project("default").await.refused(403, "identity_mismatch");
    let other = json!({"agent_id": "alice", "agent_type": "codex_cli"});
    server.post("/locks/release", lock(other)).key(&bound).await.refused(403, "identity_mismatch");

    // One that worked stops soon after its revocation in another process.
    let other_process = Coordinator::open(server.coordinator.settings().clone()).await.unwrap();
    other_process.revoke_key(&project("house"), &admin(), live_row.id).await.unwrap();
    let revoked_at = Instant::now();
    while server.get("/locks").key(&live).await.status == 200 {
        assert!(revoked_at.elapsed() < Duration::from_millis(1000), "a revoked key still opens");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Someone who guesses keys does not keep a new key out, whichever process made it.
#[tokio::test]
async fn a_new_key_works_from_its_first_request_on() {
    let server = Server::start().await;
    let other_process = Coordinator::open(server.coordinator.settings().clone()).await.unwrap();
    for maker in [&server.coordinator, &other_process] {
        server.get("/locks").key("ack_guess").await.refused(401, "unauthorized");
        let new = NewKey { name: "new".into(), ..NewKey::default() };
        let (key, _) = maker.create_key(&project("default"), &admin(), new).await.unwrap();
        server.get("/locks").key(&key).await.ok();
    }
}

/// However many guess at once, they are answered together and soon, and nobody with a key waits for them.
#[tokio::test]
async fn guessers_wait_and_keep_nobody_else_waiting() {
    let server = Server::start().await;
    let new = NewKey { name: "n".into(), ..NewKey::default() };
    let (key, _) = server.coordinator.create_key(&project("default"), &admin(), new).await.unwrap();
    server.get("/locks").key(&key).await.ok();
    let started = Instant::now();
    let guess = async |n: usize| {
        server.get("/locks").key(format!("ack_{n}")).await.refused(401, "unauthorized");
    };
    let guesses = futures::future::join_all((0..100).map(guess));
    let legitimate = async {
        server.get("/locks").key(&key).await.ok();
        started.elapsed()
    };
    let (_, legitimate) = tokio::join!(guesses, legitimate);
    assert!(legitimate < started.elapsed() && started.elapsed() < Duration::from_secs(2), "{legitimate:?}");
}

/// A key's text is in no answer, no record and no list.
#[tokio::test]
async fn a_key_is_shown_once() {
    let server = Server::start().await;
    let new = NewKey { name: "n".into(), ..NewKey::default() };
    let (key, row) = server.coordinator.create_key(&project("default"), &admin(), new).await.unwrap();
    server.post("/locks/acquire", lock(json!({"reason": format!("with {key}")}))).key(&key).await.ok();
    let trail = format!("{:?}", server.trail("default").await);
    let listed = format!("{:?}", server.coordinator.keys(&project("default")).await.unwrap());
    assert!(!trail.contains(&key) && !listed.contains(&key) && row.hash != key);
    assert!(trail.contains("create_key"), "{trail}");
}

#[tokio::test]
async fn the_key_tells_who_asks_where_the_body_does_not() {
    let server = Server::start().await;
    for (entry, route) in all() {
        let answer = good_call(&server, entry, route).await;
        // Whatever else is wrong with the least of requests.
        assert!([200, 404, 409, 422].contains(&answer.status), "{route:?}: {}", answer.body);
        let misses_name = answer.wrong_fields().iter().any(|field| ["agent_id", "agent_type"].contains(&&**field));
        assert!(!misses_name, "{route:?}: {}", answer.body);
    }
    // `agent_id` is a filter of the trail, not the caller's name.
    let answer = server.get("/audit?agent_id=mallory").key(ALICE).await;
    has(answer.ok(), json!({"entries": []}));
}

/// What a key is not for is refused and recorded, events and tools included.
#[tokio::test]
async fn a_key_opens_only_what_it_is_for() {
    let server = Server::start().await;
    let new = NewKey { name: "n".into(), scopes: vec!["locks".into()], ..NewKey::default() };
    let (key, _) = server.coordinator.create_key(&project("default"), &admin(), new).await.unwrap();
    server.post("/locks/acquire", lock(json!({}))).key(&key).await.ok();
    let before = server.trail("default").await.len();
    let answer = server.get("/audit").key(&key).await;
    let refused = answer.refused(403, "operation_not_permitted");
    assert!(refused["message"].as_str().unwrap().contains("scope audit or read"), "{refused}");
    let rows = server.trail("default").await;
    assert_eq!((rows.len(), rows[0].error_message.as_deref()), (before + 1, Some("operation_not_permitted")));
    server.get("/events").key(&key).await.refused(403, "operation_not_permitted");
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_told_when_to_come_back() {
    let server = Server::start().await;
    let new = NewKey { name: "n".into(), per_minute: Some(2), ..NewKey::default() };
    let (key, _) = server.coordinator.create_key(&project("default"), &admin(), new).await.unwrap();
    for _ in 0..2 {
        server.get("/locks").key(&key).await.ok();
    }
    let answer = server.get("/locks").key(&key).await;
    let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=31).contains(&seconds), "{seconds}");
    answer.refused(429, "rate_limited");
    server.get("/locks").await.ok();
}
