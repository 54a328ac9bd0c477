//! A secret in any field of any operation is in no row of the trail, no event, no answer's failure, and no record.

use coordinator::events::{EventFilter, Follower};
use coordinator::identity::Principal;
use coordinator::operation::Door;
use coordinator::registry::operations;
use serde_json::{Value, json};

use crate::minimal::minimal;
use crate::support::{call, caller, coordinator, least, trail};

/// What is said, and what of it nobody may see again.
fn secrets() -> Vec<(String, &'static str)> {
    let alone = |secret: &'static str| (format!("use {secret} for it"), secret);
    let within = |text: &str, secret: &'static str| (text.replace("{}", secret), secret);
    vec![
        alone("ghp_0123456789abcdefghijklmnopqrstuvwxyz"),
        alone("github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz0123456789"),
        alone("sk-proj-abcdefghijklmnopqrstuvwx0123456789"),
        alone("sk-ant-api03-AbCdEfGhIjKlMnOpQrStUvWx"),
        alone("AKIAIOSFODNN7EXAMPLE"),
        alone("xoxb-123456789012-abcdefghijkl"),
        alone("ack_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
        alone("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"),
        within("-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----", "b3BlbnNzaC1rZXktdjEA"),
        within("set password={} and go", "hunter2"),
        within("password: {}", "swordfish"),
        within("{\"client_secret\": \"{}\"}", "c0rrect-horse"),
        within("deploy --token {} now", "horse-battery-staple"),
        within("postgres://me:{}@db.example/app", "p4ssw0rd"),
        within("curl -H 'Authorization: Bearer {}'", "abcdef0123456789"),
        within("PORT=80\nSTRIPE_KEY={}\nDEBUG=1", "rk9-very-private"),
        within("export DB_PASSWORD='{}'", "two words"),
        within("AWS_SECRET_ACCESS_KEY={}", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ]
}

/// The value for a field: what its schema asks for, where that can be any text at all.
fn saying(schema: &Value, text: &str, secret: &str) -> Value {
    match schema["type"].as_str() {
        Some("array") => json!([text]),
        Some("object") | None => json!({"api_key": secret, "deep": [{"note": text}]}),
        // Also where a number, an id or one of a few words is asked for: it is told what is wrong.
        Some(_) => json!(text),
    }
}

#[tokio::test]
async fn a_secret_in_any_field_is_seen_by_nobody() {
    let mut tried = 0;
    for (text, secret) in secrets() {
        for entry in operations() {
            let coordinator = coordinator();
            let project = coordinator.default_project();
            let mut told = vec![];
            for (field, schema) in entry.body_schema()["properties"].as_object().into_iter().flatten() {
                let mut body = Value::Object(minimal(entry.body_schema(), entry.one_of));
                body[field] = saying(schema, &text, secret);
                let answer = coordinator.call_as(entry, project, &Principal::default(), body).await;
                told.push(format!("{field} over HTTP: {:?}", answer.map_err(|failure| failure.body())));
                tried += 1;
            }
            for (field, schema) in entry.request_schema()["properties"].as_object().into_iter().flatten() {
                let mut request = least(entry);
                request[field] = saying(schema, &text, secret);
                let who = caller("anna", Some("s"));
                let answer = coordinator.call(entry, project, &who, Door::Mcp, request).await;
                told.push(format!("{field} by tool: {:?}", answer.map_err(|failure| failure.body())));
            }
            let mut unknown = least(entry);
            unknown[&text] = json!(text);
            let answer = coordinator.call(entry, project, &caller("anna", None), Door::Mcp, unknown).await;
            told.push(format!("an unknown field: {:?}", answer.map_err(|failure| failure.body())));
            for said in told {
                assert!(!said.contains(secret), "{}: {said}", entry.name);
            }
            let rows = trail(&coordinator).await;
            assert!(!format!("{rows:?}").contains(secret), "{}: {rows:#?}", entry.name);
            if !rows.is_empty() {
                let follower = Follower::start(&*coordinator, project.clone(), EventFilter::default(), Some(0));
                let events = serde_json::to_string(&follower.await.unwrap().next().await.unwrap()).unwrap();
                assert!(!events.contains(secret), "{}: {events}", entry.name);
            }
        }
    }
    assert!(tried > 1000, "{tried}");
}

/// What is stored on purpose is stored without what is surely a secret, and the answer says so.
#[tokio::test]
async fn a_record_is_kept_without_secrets_and_the_answer_says_so() {
    let coordinator = coordinator();
    let anna = caller("anna", None);
    let task = json!({"task_type": "t", "description": "log in with password=hunter2", "input_data": {"n": 1}});
    let answer = call(&coordinator, &anna, "submit_work", task).await.unwrap();
    assert_eq!(answer["redacted"], json!(["description"]));
    let task = call(&coordinator, &anna, "get_task", json!({"task_id": answer["task_id"]})).await.unwrap();
    assert_eq!(task["task"]["description"], "log in with password=[redacted]");

    let plain = json!({"task_type": "t", "description": "check the password and the token: 17"});
    let answer = call(&coordinator, &anna, "submit_work", plain).await.unwrap();
    assert!(answer.get("redacted").is_none());
}

/// To redact a name would make one lock of two.
#[tokio::test]
async fn a_secret_for_a_name_is_refused() {
    let coordinator = coordinator();
    let secret = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";
    let lock = json!({"file_path": format!("notes/{secret}")});
    let failure = call(&coordinator, &caller("anna", None), "acquire_lock", lock).await.unwrap_err();
    assert_eq!(failure.code(), "invalid_request");
    assert!(failure.message().contains("file_path: looks like a credential"), "{}", failure.message());
    assert_eq!(trail(&coordinator).await, []);
}
