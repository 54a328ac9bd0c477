//! Whatever a client sends: a clear answer, never a 500, never a panic, and nothing has changed.
//!
//! Values of the wrong kind are generated from the schemas of all operations; what has a meaning of its own (paths, times,
//! names, sizes) is in tables.

use coordinator::operation::{Entry, Method};
use model::id::NAME_LIMIT;
use serde_json::{Map, Value, json};

use crate::minimal::{NOBODY, minimal};
use crate::routes::{all, path};
use crate::server::{Answer, Call, Server, with};

/// A server on which there is something to lose: a lock, a waiter's target, a claimed and a pending task, a session.
async fn lived_in() -> Server {
    let server = Server::start().await;
    let alice = |fields| with(json!({"agent_id": "alice", "agent_type": "t", "session_id": "s"}), fields);
    server.post("/agents/register", alice(json!({}))).await.ok();
    server.post("/locks/acquire", alice(json!({"file_path": "src/held.rs"}))).await.ok();
    server.submit(json!({})).await;
    server.post("/work/claim", alice(json!({}))).await.ok();
    server.submit(json!({})).await;
    server
}

/// Sends it, and demands one of these statuses, a problem body, and that everything is as it was.
async fn refused(server: &Server, what: &str, call: impl IntoFuture<Output = Answer>, statuses: &[u16]) -> Answer {
    let before = server.state().await;
    let answer = call.await;
    assert!(statuses.contains(&answer.status), "{what}: {} {}", answer.status, answer.body);
    let code = answer.body["error"].as_str().unwrap_or_else(|| panic!("{what}: no code in {}", answer.body));
    answer.refused(answer.status, code);
    assert_eq!(server.state().await, before, "{what}");
    answer
}

/// The least that the operation accepts.
fn good(entry: &Entry) -> Map<String, Value> {
    minimal(entry.body_schema(), entry.one_of)
}

/// Every field of every operation that has a body: the route, the field, its schema, and a good body.
fn every_field() -> impl Iterator<Item = (&'static str, String, Value, Value)> {
    all().filter(|(_, route)| route.method == Method::Post).flat_map(|(entry, route)| {
        let mut fields = entry.body_schema()["properties"].as_object().cloned().unwrap_or_default();
        // What the path says wins over the body.
        fields.retain(|name, _| !route.has_in_path(name));
        let path: &str = String::leak(path(entry, route));
        fields.into_iter().map(move |(name, schema)| (path, name, schema, Value::Object(good(entry))))
    })
}

fn is_kind(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("a field of a new kind: {other}"),
    }
}

#[tokio::test]
async fn a_value_of_the_wrong_kind_is_named() {
    let server = lived_in().await;
    let values = [
        json!("text"),
        json!(1.5),
        json!(7),
        json!(true),
        json!([]),
        json!({}),
        json!([[]]),
        json!([7]),
        json!([null]),
    ];
    let mut tried = 0;
    for (path, field, schema, body) in every_field() {
        let Some(kind) = schema["type"].as_str() else { continue };
        let fits = |value: &&Value| {
            is_kind(value, kind)
                && value.as_array().is_none_or(|items| items.is_empty())
                && schema.get("enum").is_none()
        };
        for value in values.iter().filter(|value| !fits(value)) {
            let what = format!("{path} {field} = {value}");
            let call = server.post(path, with(body.clone(), json!({field.as_str(): value})));
            let answer = refused(&server, &what, call, &[422]).await;
            assert!(answer.wrong_fields().iter().any(|f| f.starts_with(&field)), "{what}: {}", answer.body);
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried}");
}

#[tokio::test]
async fn a_number_out_of_range_is_named() {
    let server = lived_in().await;
    let huge =
        ["2147483648", "4294967296", "9223372036854775808", "123456789012345678901234567890", "-9223372036854775809"];
    for (path, field, schema, body) in every_field() {
        if schema["type"] != "integer" {
            continue;
        }
        let mut values: Vec<String> = huge.map(str::to_owned).to_vec();
        values.extend(["-1", "0.5", "1e30", "-1e300", "true", "\"1\""].map(str::to_owned));
        values.extend(schema["minimum"].as_i64().map(|least| (least - 1).to_string()));
        values.extend(schema["maximum"].as_i64().map(|most| (most + 1).to_string()));
        for value in values {
            let any_integer = schema.get("maximum").is_none() && value.parse::<i64>().is_ok();
            if any_integer {
                continue;
            }
            let what = format!("{path} {field} = {value}");
            let text = with(body.clone(), json!({field.as_str(): "@"})).to_string().replace("\"@\"", &value);
            let answer = refused(&server, &what, raw_json(&server, path, text), &[422]).await;
            assert_eq!(answer.wrong_fields(), [field.as_str()], "{what}: {}", answer.body);
        }
        let text = with(body.clone(), json!({field.as_str(): "@"})).to_string().replace("\"@\"", "1e400");
        refused(&server, &format!("{path} {field} = 1e400"), raw_json(&server, path, text), &[400]).await;
    }
}

/// The numbers that the contract bounds.
#[test]
fn the_contract_s_bounds_hold() {
    for (path, field, least, most) in [
        ("/work/submit", "priority", 1, 10),
        ("/locks/acquire", "ttl_minutes", 1, 480),
        ("/locks/acquire", "wait_seconds", 0, 300),
        ("/work/submit", "max_attempts", 1, 100),
        ("/agents/cleanup", "stale_threshold_minutes", 1, 10_080),
        ("/memory/query", "limit", 1, 50),
        ("/memory/skills/query", "limit", 1, 100),
    ] {
        let (_, _, schema, _) = every_field().find(|(p, f, ..)| *p == path && f == field).unwrap();
        assert_eq!(
            (schema["minimum"].as_i64(), schema["maximum"].as_i64()),
            (Some(least), Some(most)),
            "{path} {field}"
        );
    }
}

#[tokio::test]
async fn a_nul_in_any_text_is_named() {
    let server = lived_in().await;
    for (path, field, schema, body) in every_field() {
        let values = match schema["type"].as_str() {
            Some("string") => vec![json!("a\0b")],
            Some("array") => vec![json!(["a\0b"]), json!(["ok", "\0"])],
            Some(_) => continue,
            // Any JSON.
            None => vec![json!("\0"), json!({"deep": [{"er": "\0"}]}), json!({"na\0me": 1})],
        };
        for value in values {
            let what = format!("{path} {field} = {value}");
            let call = server.post(path, with(body.clone(), json!({field.as_str(): value})));
            let answer = refused(&server, &what, call, &[422]).await;
            assert!(answer.wrong_fields().iter().any(|f| f.starts_with(&field)), "{what}: {}", answer.body);
        }
    }
    // Also where it is no field of ours: it would be in the audit trail.
    for name in ["unknown", "file_path", "file_paths"] {
        let body = json!({"agent_id": "alice", "session_id": "s", name: "a\0b"});
        refused(&server, &format!("heartbeat {name}"), server.post("/agents/heartbeat", body), &[422]).await;
    }
}

#[tokio::test]
async fn an_id_that_is_none_is_named() {
    let server = lived_in().await;
    let short = &NOBODY[1..];
    for id in ["", "x", "null", short, "018f0000-0000-7000-8000-00000000000g", "'; drop table tasks --", "\u{1f600}"] {
        for (path, field, schema, body) in every_field() {
            let value = match (schema["type"].as_str(), schema["format"].as_str(), schema["items"]["format"].as_str()) {
                (_, Some("uuid"), _) => json!(id),
                (Some("array"), _, Some("uuid")) => json!([NOBODY, id]),
                _ => continue,
            };
            let call = server.post(path, with(body, json!({field.as_str(): value})));
            let answer = refused(&server, &format!("{path} {id:?}"), call, &[422]).await;
            assert!(answer.wrong_fields().iter().any(|f| f.starts_with(&field)), "{}", answer.body);
        }
        let encoded: String = id.bytes().map(|b| format!("%{b:02x}")).collect();
        let expected = if id.is_empty() { 404 } else { 422 };
        refused(&server, id, server.get(&format!("/api/v1/tasks/{encoded}")), &[expected]).await;
    }
}

#[tokio::test]
async fn only_paths_of_the_repository_are_lock_keys() {
    let server = lived_in().await;
    let (long, deep, wild) = ("a".repeat(1 << 20), "a/".repeat(2000), "*a".repeat(300));
    for (key, status, code) in [
        ("", 422, "invalid_file_path"),
        ("   ", 422, "invalid_file_path"),
        ("..", 422, "invalid_file_path"),
        ("a/../../x", 422, "invalid_file_path"),
        ("..\\x", 422, "invalid_file_path"),
        ("/etc/passwd", 422, "invalid_file_path"),
        ("//server/share", 422, "invalid_file_path"),
        ("C:\\x", 422, "invalid_file_path"),
        ("c:/x", 422, "invalid_file_path"),
        ("~/x", 422, "invalid_file_path"),
        ("a\0b", 422, "invalid_file_path"),
        ("a\nb", 422, "invalid_file_path"),
        ("a\u{7f}b", 422, "invalid_file_path"),
        ("src/*/../x", 422, "invalid_file_path"),
        (&long, 422, "invalid_file_path"),
        (&deep, 422, "invalid_file_path"),
        (&wild, 422, "invalid_file_path"),
        ("foo:bar", 403, "operation_not_permitted"),
        ("file:///etc/passwd", 403, "operation_not_permitted"),
        ("./foo:bar", 403, "operation_not_permitted"),
        ("API:/x", 403, "operation_not_permitted"),
    ] {
        let what = key.chars().take(40).collect::<String>();
        for path in ["/locks/acquire", "/locks/release"] {
            for field in ["file_path", "file_paths"] {
                let value = if field == "file_path" { json!(key) } else { json!(["fine.rs", key]) };
                let body = json!({field: value, "agent_id": "alice", "agent_type": "t"});
                let answer =
                    refused(&server, &format!("{path} {field} {what:?}"), server.post(path, body), &[status]).await;
                answer.refused(status, code);
                assert!(answer.body.to_string().len() < 2000, "the answer does not repeat it all");
                if status == 422 {
                    assert_eq!(answer.wrong_fields(), [field], "{what:?}");
                }
            }
        }
        if key.len() < 5000 && !key.is_empty() {
            let encoded: String = key.bytes().map(|b| format!("%{b:02X}")).collect();
            for target in [format!("/locks/status/{encoded}"), format!("/locks?file_paths={encoded}")] {
                refused(&server, &target, server.raw_get(&target), &[status]).await.refused(status, code);
            }
        }
    }
}

#[tokio::test]
async fn names_and_lists_have_a_size() {
    let server = lived_in().await;
    let (name, million) = ("n".repeat(NAME_LIMIT + 1), "m".repeat(1 << 20));
    let submit = |fields| with(json!({"task_type": "t", "description": "d"}), fields);
    let register = |fields| with(json!({"agent_id": "a"}), fields);
    let ids: Vec<uuid::Uuid> = (0..5000).map(uuid::Uuid::from_u128).collect();
    let many: Vec<String> = (0..2000).map(|n| format!("f{n}.rs")).collect();
    let lock = json!({"agent_id": "a", "agent_type": "t", "file_path": "x"});
    let remember = |fields| with(json!({"agent_id": "a", "event_type": "error", "summary": "s"}), fields);
    let note = |fields| with(json!({"key": "k"}), fields);
    let skill = |fields| with(json!({"skill_name": "s", "success": true}), fields);
    for (path, body, field) in [
        ("/work/submit", submit(json!({"task_type": name})), "task_type"),
        ("/work/submit", submit(json!({"task_type": million})), "task_type"),
        ("/work/submit", submit(json!({"task_type": ""})), "task_type"),
        ("/work/submit", submit(json!({"idempotency_key": million})), "idempotency_key"),
        ("/work/submit", submit(json!({"idempotency_key": ""})), "idempotency_key"),
        ("/work/submit", submit(json!({"required_capability": million})), "required_capability"),
        ("/work/submit", submit(json!({"assignee": million})), "assignee"),
        ("/work/submit", submit(json!({"assignee": " "})), "assignee"),
        ("/work/submit", submit(json!({"feature_id": million})), "feature_id"),
        ("/work/submit", submit(json!({"depends_on": ids})), "depends_on"),
        ("/work/submit", submit(json!({"agent_id": million})), "agent_id"),
        ("/agents/register", register(json!({"capabilities": [million]})), "capabilities.0"),
        ("/agents/register", register(json!({"capabilities": [""]})), "capabilities.0"),
        ("/agents/register", register(json!({"capabilities": many})), "capabilities"),
        ("/agents/register", register(json!({"session_id": million})), "session_id"),
        ("/locks/acquire", with(lock.clone(), json!({"file_paths": many})), "file_paths"),
        ("/locks/acquire", with(lock.clone(), json!({"file_paths": []})), "file_paths"),
        ("/locks/release", with(lock.clone(), json!({"file_paths": many})), "file_paths"),
        ("/locks/acquire", with(lock.clone(), json!({"feature_id": million})), "feature_id"),
        ("/locks/acquire", with(lock, json!({"reason": million})), "reason"),
        ("/work/claim", json!({"agent_id": "a", "agent_type": "t", "task_types": many}), "task_types"),
        ("/memory/store", remember(json!({"summary": million})), "summary"),
        ("/memory/store", remember(json!({"summary": ""})), "summary"),
        ("/memory/store", remember(json!({"summary": " \n"})), "summary"),
        ("/memory/store", remember(json!({"details": million[..9000]})), "details"),
        ("/memory/store", remember(json!({"details": {"log": million[..9000]}})), "details"),
        ("/memory/store", remember(json!({"lessons": many})), "lessons"),
        ("/memory/store", remember(json!({"lessons": [million]})), "lessons.0"),
        ("/memory/store", remember(json!({"tags": many})), "tags"),
        ("/memory/store", remember(json!({"tags": [""]})), "tags.0"),
        ("/memory/store", remember(json!({"used": ids})), "used"),
        ("/memory/query", json!({"agent_id": "a", "task_description": million}), "task_description"),
        ("/memory/query", json!({"agent_id": "a", "min_relevance": 1.1}), "min_relevance"),
        ("/memory/query", json!({"agent_id": "a", "min_relevance": -0.1}), "min_relevance"),
        ("/memory/working", note(json!({"key": ""})), "key"),
        ("/memory/working", note(json!({"key": million})), "key"),
        ("/memory/working", note(json!({"value": million[..17_000]})), "value"),
        ("/memory/skills/use", skill(json!({"skill_name": " "})), "skill_name"),
        ("/memory/skills/use", skill(json!({"description": million})), "description"),
        ("/memory/skills/use", skill(json!({"steps": many})), "steps"),
        ("/memory/skills/use", skill(json!({"task_type": million})), "task_type"),
    ] {
        let answer = refused(&server, &format!("{path} {field}"), server.post(path, body), &[422]).await;
        assert_eq!(answer.wrong_fields(), [field]);
        assert!(answer.body.to_string().len() < 2000, "the answer does not repeat it all");
    }
    let paths = vec!["file_paths=x"; 101].join("&");
    refused(&server, "101 paths", server.get(&format!("/locks?{paths}")), &[422]).await;
}

/// Texts for people may be long; the trail keeps their beginning.
#[tokio::test]
async fn a_long_text_is_kept_whole_and_recorded_short() {
    let server = Server::start().await;
    let million = "m".repeat(1 << 20);
    let id = server.submit(json!({"task_description": million, "input_data": million[..1000]})).await;
    assert_eq!(server.get(&format!("/api/v1/tasks/{id}")).await.ok()["task"]["description"], *million);
    let lock = json!({"file_path": "a", "agent_id": "a", "agent_type": "t", "reason": million[..1000]});
    assert_eq!(server.post("/locks/acquire", lock).await.ok()["success"], true);
    let register = json!({"agent_id": "a", "current_task": million});
    server.post("/agents/register", register).await.ok();
    server.post("/work/cancel", json!({"task_id": id, "reason": million})).await.ok();
    for row in server.trail("default").await {
        assert!(row.parameters.to_string().len() < 5000 && row.result.to_string().len() < 5000, "{}", row.operation);
    }
}

/// Each field of a URL that is more than any text, with a text that it is not; and any with a NUL.
#[tokio::test]
async fn a_query_of_the_wrong_kind_is_named() {
    let server = lived_in().await;
    let mut tried = 0;
    for (entry, route) in all().filter(|(_, route)| route.method == Method::Get) {
        for (field, schema) in entry.request_schema()["properties"].as_object().into_iter().flatten() {
            if route.path.contains('{') {
                continue;
            }
            let is_any_text = schema["type"] != "integer"
                && schema["type"] != "boolean"
                && schema.get("enum").is_none()
                && schema.get("format").is_none();
            for text in
                if is_any_text { &["%00", "a%00b"][..] } else { &["nonsense", "%00", "", "[]", "{}", "0x1", "\u{661}"] }
            {
                let query = format!("{}?{field}={text}", route.path);
                let answer = refused(&server, &query, server.get(&query), &[422]).await;
                assert!(answer.wrong_fields()[0].starts_with(field.as_str()), "{query}: {}", answer.body);
                tried += 1;
            }
        }
    }
    assert!(tried > 40, "{tried}");
}

#[tokio::test]
async fn a_query_that_is_wrong_is_named() {
    let server = lived_in().await;
    for (query, field) in [
        ("/audit?limit=-1", "limit"),
        ("/audit?limit=0", "limit"),
        ("/audit?limit=1001", "limit"),
        ("/audit?limit=abc", "limit"),
        ("/audit?limit=", "limit"),
        ("/audit?limit=1.5", "limit"),
        ("/audit?limit=99999999999999999999", "limit"),
        ("/audit?limit=%zz", "limit"),
        ("/audit?cursor=zzz", "cursor"),
        ("/audit?cursor=1.5", "cursor"),
        ("/audit?cursor=99999999999999999999", "cursor"),
        ("/audit?since=yesterday", "since"),
        ("/audit?since=2026-01-01", "since"),
        ("/audit?since=2026-13-01T00:00:00Z", "since"),
        ("/audit?until=1767225600", "until"),
        ("/audit?until=99999-01-01T00:00:00Z", "until"),
        ("/audit?success=TRUE", "success"),
        ("/audit?operation=a%00b", "operation"),
        ("/api/v1/tasks?limit=201", "limit"),
        ("/api/v1/tasks?cursor=zzz", "cursor"),
        ("/agents?capability=", "capability"),
    ] {
        let answer = refused(&server, query, server.get(query), &[422]).await;
        assert_eq!(answer.wrong_fields(), [field], "{query}");
    }
    // Odd, but nothing is wrong with it.
    for query in [
        "/audit?limit=1&limit=2",
        "/audit?&&=&x=%FF",
        "/audit?cursor=-5",
        "/audit?since=-009999-01-02T01:59:59Z&until=0000-12-31T23:59:59Z",
        "/audit?operation=%FF%FE",
        "/locks?file_paths=",
    ] {
        server.get(query).await.ok();
    }
}

#[tokio::test]
async fn a_time_that_is_none_is_named() {
    let server = lived_in().await;
    let submit = json!({"task_type": "t", "description": "d"});
    for (deadline, code) in [
        ("yesterday", "invalid_request"),
        ("2026-01-01", "invalid_request"),
        ("2999-01-01T00:00:00", "invalid_request"),
        ("2999-02-30T00:00:00Z", "invalid_request"),
        ("99999-01-01T00:00:00Z", "invalid_request"),
        ("", "invalid_request"),
    ] {
        let call = server.post("/work/submit", with(submit.clone(), json!({"deadline": deadline})));
        let answer = refused(&server, deadline, call, &[422]).await;
        answer.refused(422, code);
        assert_eq!(answer.wrong_fields(), ["deadline"], "{deadline:?}");
    }
    // A time that has passed is a refusal of the queue's, which is recorded.
    for deadline in ["2000-01-01T00:00:00Z", "1969-12-31T23:59:59.999999999Z", "-009999-01-02T01:59:59Z"] {
        let answer = server.post("/work/submit", with(submit.clone(), json!({"deadline": deadline}))).await;
        answer.refused(422, "deadline_exceeded");
    }
    for deadline in ["2999-01-01T00:00:00.123456789+14:00", "9999-12-30T21:59:59Z"] {
        server.submit(json!({"deadline": deadline})).await;
    }
}

fn raw_json(server: &Server, path: &str, text: impl Into<reqwest::Body>) -> Call {
    server.call(reqwest::Method::POST, path).body("application/json", text)
}

#[tokio::test]
async fn what_is_no_json_is_400() {
    let server = lived_in().await;
    let nested = |open: &str, close: &str| format!("{}{}", open.repeat(20_000), close.repeat(20_000));
    let in_a_field = |value: &str| {
        format!(
            r#"{{"task_type":"t","description":"d","agent_id":"a","agent_type":"t","file_path":"f","input_data":{value}}}"#
        )
    };
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("white space", b" \n".to_vec()),
        ("half an object", br#"{"file_path": "a""#.to_vec()),
        ("two values", b"{} {}".to_vec()),
        ("a form", b"file_path=a&agent_id=b".to_vec()),
        ("a comment", b"{/* */}".to_vec()),
        ("NaN", in_a_field("NaN").into()),
        ("a number too large", in_a_field("1e400").into()),
        ("a lone high surrogate", in_a_field(r#""\ud800""#).into()),
        ("a lone low surrogate", in_a_field(r#""\udc00""#).into()),
        ("two high surrogates", in_a_field(r#""\ud800\ud800""#).into()),
        ("a surrogate in a name", in_a_field(r#"{"\ud800": 1}"#).into()),
        ("a control character", in_a_field("\"\u{1}\"").into()),
        ("invalid UTF-8", b"{\"file_path\": \"\xff\xfe\"}".to_vec()),
        ("an overlong encoding", b"{\"file_path\": \"\xc0\xaf\"}".to_vec()),
        ("an encoded surrogate", b"{\"file_path\": \"\xed\xa0\x80\"}".to_vec()),
        ("a byte order mark", b"\xef\xbb\xbf{}".to_vec()),
        ("UTF-16", "{}".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("20,000 arrays", nested("[", "]").into()),
        ("20,000 objects", nested("{\"a\":", "}").replacen("}", "1}", 1).into()),
        ("20,000 arrays in a field", in_a_field(&nested("[", "]")).into()),
        ("20,000 arrays, never closed", "[".repeat(20_000).into()),
    ];
    for (entry, route) in all().filter(|(_, route)| route.method == Method::Post) {
        let path = path(entry, route);
        for (what, body) in &bodies {
            // A path that names something says enough by itself.
            if body.is_empty() && route.path.contains('{') {
                continue;
            }
            let what = format!("{what} to {path}");
            refused(&server, &what, raw_json(&server, &path, body.clone()), &[400]).await.refused(400, "invalid_json");
        }
    }
}

#[tokio::test]
async fn what_is_no_object_is_422() {
    let server = lived_in().await;
    for (entry, route) in all().filter(|(_, route)| route.method == Method::Post) {
        // Null is a request without arguments.
        let null = (!good(entry).is_empty()).then_some(Value::Null);
        let others = [json!([]), json!([{"agent_id": "a"}]), json!("text"), json!(7), json!(true)];
        for body in others.into_iter().chain(null) {
            let path = path(entry, route);
            let what = format!("{body} to {path}");
            refused(&server, &what, server.post(&path, body), &[422]).await.refused(422, "invalid_request");
        }
    }
}

/// Not every mistake of a long request is told, but that there are some is.
#[tokio::test]
async fn a_request_of_a_thousand_mistakes_gets_a_short_answer() {
    let server = lived_in().await;
    let lists: Vec<Value> = (0..100).map(|n| json!(n)).collect();
    let body = json!({"agent_id": 1, "agent_type": 2, "file_paths": lists, "reason": {}, "ttl_minutes": "x"});
    let answer = refused(&server, "a thousand mistakes", server.post("/locks/acquire", body), &[422]).await;
    assert!((1..=20).contains(&answer.body["fields"].as_array().unwrap().len()));
    assert!(answer.body.to_string().len() < 5000);
}

#[tokio::test]
async fn a_broken_url_is_an_ordinary_mistake() {
    let server = lived_in().await;
    for (target, statuses) in [
        ("/locks/status/%zz", &[200][..]),
        ("/locks/status/%", &[200]),
        ("/locks/status/%ff", &[422]),
        ("/locks/status/a%00b", &[422]),
        ("/locks/status/..%2f..%2fetc%2fpasswd", &[422]),
        ("/locks/status/%2fetc%2fpasswd", &[422]),
        ("/locks/status//etc/passwd", &[422]),
        ("/locks/status/../../etc/passwd", &[422]),
        ("/locks/status/C:%5Cx", &[422]),
        ("/locks/status/foo:bar", &[403]),
        ("/api/v1/tasks/%ff", &[422]),
        ("/api/v1/tasks/%zz", &[422]),
        ("/api/v1/tasks/..%2f..", &[422]),
        ("/audit?limit=%", &[422]),
        ("/audit?%ff=%ff", &[200]),
        ("/../../etc/passwd", &[404]),
        ("/%6cocks", &[404]),
    ] {
        if statuses == [200] {
            server.raw_get(target).await.ok();
        } else {
            refused(&server, target, server.raw_get(target), statuses).await;
        }
    }
}

/// Every path parameter, with what a router might take apart.
#[tokio::test]
async fn path_parameters_are_taken_as_they_are() {
    let server = Server::start().await;
    for key in ["a b.rs", "a%b.rs", "a?b#c.rs", "\u{e9}\u{1f600}.rs", "a+b.rs", "app/[id]/page.tsx", "a;b,c&d=e.rs"] {
        server.lock("anna", key).await;
        let encoded: String = key.bytes().map(|b| format!("%{b:02X}")).collect();
        let status = server.get(&format!("/locks/status/{encoded}")).without_key().await;
        assert_eq!((&status.ok()["locked"], &status.body["file_path"]), (&json!(true), &json!(key)));
    }
    assert!(all().any(|(entry, route)| path(entry, route).contains(NOBODY)));
}
