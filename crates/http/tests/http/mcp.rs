//! MCP over HTTP: the revisions of the protocol, who is calling, and that any server may answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use coordinator::registry::ToolSet;
use coordinator::resources::RESOURCES;
use serde_json::{Value, json};
use store::Clock;
use store::memory::MemoryStore;

use crate::server::{ALICE, Answer, Call, FREE, HOUSE, Server, has};

/// The newest revision whose messages do not say which one they are in.
const HANDSHAKE: &str = "2025-11-25";
/// The revision whose messages carry all there is to know.
const SELF_CONTAINED: &str = "2026-07-28";

/// A request of the protocol.
fn ask(server: &Server, method: &str, params: Value) -> Call {
    post(server, &json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string())
        .header("MCP-Protocol-Version", HANDSHAKE)
}

fn post(server: &Server, body: &str) -> Call {
    server
        .call(reqwest::Method::POST, "/mcp")
        .header("Accept", "application/json, text/event-stream")
        .body("application/json", body.to_owned())
}

fn call(server: &Server, tool: &str, arguments: Value) -> Call {
    ask(server, "tools/call", json!({"name": tool, "arguments": arguments}))
}

/// The result of a request that has one.
#[track_caller]
fn result(answer: &Answer) -> &Value {
    assert_eq!((&answer.ok()["jsonrpc"], &answer.body["id"]), (&json!("2.0"), &json!(7)), "{}", answer.body);
    answer.body.get("result").unwrap_or_else(|| panic!("no result: {}", answer.body))
}

/// What a tool answered, as data.
#[track_caller]
fn data(answer: &Answer) -> &Value {
    &result(answer)["structuredContent"]
}

fn handshake(revision: &str) -> Value {
    json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "by-hand", "version": "1"}})
}

#[tokio::test]
async fn it_speaks_the_revisions_with_a_handshake() {
    let server = Server::in_memory().await;
    for revision in ["2025-06-18", "2025-11-25"] {
        let opening = json!({"jsonrpc": "2.0", "id": 7, "method": "initialize", "params": handshake(revision)});
        let opened = post(&server, &opening.to_string()).await;
        has(result(&opened), json!({"protocolVersion": revision}));
        assert_eq!(result(&opened)["serverInfo"]["name"], "agent-coordinator");
        assert!(opened.headers.get("mcp-session-id").is_none(), "there is nothing to come back to");
        let notified = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let notified = post(&server, &notified.to_string()).header("MCP-Protocol-Version", revision).await;
        assert_eq!(notified.status, 202);

        let list = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {}});
        let listed = post(&server, &list.to_string()).header("MCP-Protocol-Version", revision).await;
        assert!(result(&listed)["tools"].as_array().unwrap().len() > 5);
        let lock = json!({"name": "acquire_lock", "arguments": {"file_path": "a.rs"}});
        let lock = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": lock});
        let locked = post(&server, &lock.to_string()).header("MCP-Protocol-Version", revision).await;
        assert_eq!(data(&locked)["success"], true);
        let text: Value = serde_json::from_str(result(&locked)["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text["file_path"], "a.rs", "the text says the same");
    }
}

#[tokio::test]
async fn it_speaks_the_revision_without_one() {
    let server = Server::in_memory().await;
    let ask = |method: &str, subject: &str, mut params: Value| {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": SELF_CONTAINED,
            "io.modelcontextprotocol/clientInfo": {"name": "by-hand", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let message = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        let call = post(&server, &message.to_string()).header("MCP-Protocol-Version", SELF_CONTAINED);
        let call = call.header("Mcp-Method", method);
        if subject.is_empty() { call } else { call.header("Mcp-Name", subject) }
    };
    let discovered = ask("server/discover", "", json!({})).await;
    assert!(result(&discovered)["supportedVersions"].as_array().unwrap().contains(&json!(SELF_CONTAINED)));
    assert!(result(&ask("tools/list", "", json!({})).await)["ttlMs"].is_number());
    let arguments = json!({"name": "acquire_lock", "arguments": {"file_path": "a.rs"}});
    assert_eq!(data(&ask("tools/call", "acquire_lock", arguments.clone()).await)["action"], "acquired");
    let lies = ask("tools/call", "release_lock", arguments).await;
    assert_eq!((lies.status, &lies.body["error"]["code"]), (400, &json!(-32020)), "{}", lies.body);
    let missing = ask("resources/read", "locks://none", json!({"uri": "locks://none"})).await;
    assert_eq!(missing.body["error"]["code"], -32602, "{}", missing.body);
}

/// What one server was told, another knows.
#[tokio::test]
async fn any_server_answers_any_request() {
    let store = Arc::new(MemoryStore::new(Clock::system()));
    let servers = [Server::on(store.clone()).await, Server::on(store).await];
    let opening = ask(&servers[0], "initialize", handshake(HANDSHAKE)).await;
    result(&opening);
    let task = call(&servers[1], "submit_work", json!({"task_type": "t", "description": "d"})).await;
    let claimed = call(&servers[0], "get_work", json!({})).await;
    assert_eq!(data(&claimed)["task_id"], data(&task)["task_id"]);
    let done = json!({"task_id": data(&task)["task_id"], "success": true});
    assert_eq!(data(&call(&servers[1], "complete_work", done).await)["status"], "completed");
}

#[tokio::test]
async fn every_request_needs_a_key() {
    let server = Server::start().await;
    for method in ["initialize", "tools/list", "resources/list", "ping"] {
        for call in [ask(&server, method, json!({})).without_key(), ask(&server, method, json!({})).key("no-such-key")]
        {
            let answer = call.await;
            answer.refused(401, "unauthorized");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
    }
    let bearer = ask(&server, "ping", json!({})).without_key().header("Authorization", format!("Bearer {FREE}"));
    result(&bearer.await);
}

/// A key that is bound to nobody speaks for whom the request names: in its headers, or in the arguments, which win.
#[tokio::test]
async fn a_request_names_its_agent() {
    let server = Server::start().await;
    let lock = |arguments: Value| call(&server, "acquire_lock", arguments);
    data(&lock(json!({"file_path": "a"})).await);
    let headers = |call: Call| {
        call.header("X-Agent-Id", "bob").header("X-Agent-Type", "codex_cli").header("X-Session-Id", "session-b")
    };
    data(&headers(call(&server, "register_session", json!({}))).await);
    data(&headers(lock(json!({"file_path": "b"}))).await);
    let carol = json!({"file_path": "c", "agent_id": "carol", "session_id": "session-c"});
    data(&headers(lock(carol)).await);
    let rows = server.trail("default").await;
    let by = rows.iter().rev().map(|row| (row.agent_id.as_str(), row.agent_type.as_str(), row.session_id.as_deref()));
    let expected = [
        ("cloud-agent", "cloud_agent", None),
        ("bob", "codex_cli", Some("session-b")),
        ("bob", "codex_cli", Some("session-b")),
        ("carol", "codex_cli", Some("session-c")),
    ];
    assert_eq!(by.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_bound_key_cannot_be_spoofed() {
    let server = Server::start().await;
    let lock = |path: &str| call(&server, "acquire_lock", json!({"file_path": path}));
    for own in [lock("a").key(ALICE), lock("a").key(ALICE).header("X-Agent-Id", "alice")] {
        assert_eq!(data(&own.await)["success"], true);
    }
    assert_eq!(server.held().await, ["alice a"]);

    let named = |fields: Value| {
        let mut arguments = json!({"file_path": "b"});
        arguments.as_object_mut().unwrap().extend(fields.as_object().cloned().unwrap());
        call(&server, "acquire_lock", arguments)
    };
    for spoof in [
        lock("b").header("X-Agent-Id", "mallory"),
        lock("b").header("X-Agent-Type", "codex_cli"),
        named(json!({"agent_id": "mallory"})),
        named(json!({"agent_id": "mallory"})).header("X-Agent-Id", "alice"),
        named(json!({"agent_type": "codex_cli"})),
    ] {
        let before = server.trail("default").await.len();
        let answer = spoof.key(ALICE).await;
        assert_eq!((&result(&answer)["isError"], &data(&answer)["error"]), (&json!(true), &json!("identity_mismatch")));
        let rows = server.trail("default").await;
        assert_eq!(rows.len(), before + 1, "the refusal is recorded");
        assert_eq!((rows[0].agent_id.as_str(), rows[0].success), ("alice", false));
        assert_eq!(server.held().await, ["alice a"]);
    }
    // It learns so when it connects, which is no deed.
    let rows = server.trail("default").await.len();
    let opening = ask(&server, "initialize", handshake(HANDSHAKE)).key(ALICE).header("X-Agent-Id", "mallory").await;
    assert_eq!(opening.body["error"]["data"]["error"], "identity_mismatch", "{}", opening.body);
    assert_eq!(server.trail("default").await.len(), rows);
}

#[tokio::test]
async fn a_name_that_is_none_is_a_wrong_field() {
    let server = Server::start().await;
    let lock = || call(&server, "acquire_lock", json!({"file_path": "a"}));
    for (header, name) in [("X-Agent-Id", " "), ("X-Agent-Type", "\u{e9}"), ("X-Session-Id", &"s".repeat(257))] {
        let answer = lock().header(header, name).await;
        answer.refused(422, "invalid_request");
        assert_eq!(answer.wrong_fields(), [header]);
    }
    for (field, name) in [("agent_id", json!("")), ("agent_type", json!(7)), ("session_id", json!("two\nlines"))] {
        let answer = call(&server, "acquire_lock", json!({"file_path": "a", field: name})).await;
        assert_eq!(answer.ok()["error"]["data"]["fields"][0]["field"], field, "{}", answer.body);
    }
    // Where an operation asks nobody's name, it is a field that it does not have, or a filter of its own.
    assert_eq!(call(&server, "check_locks", json!({"agent_id": "bob"})).await.body["error"]["code"], -32602);
    assert_eq!(data(&call(&server, "query_audit", json!({"agent_id": "bob"})).await)["entries"], json!([]));
    assert!(server.held().await.is_empty());
}

#[tokio::test]
async fn projects_do_not_see_each_other() {
    let server = Server::start().await;
    data(&call(&server, "acquire_lock", json!({"file_path": "a"})).project("one").await);
    let locks = async |call: Call| data(&call.await)["result"].as_array().unwrap().len();
    assert_eq!(locks(call(&server, "check_locks", json!({})).project("one")).await, 1);
    assert_eq!(locks(call(&server, "check_locks", json!({}))).await, 0);
    call(&server, "check_locks", json!({})).key(HOUSE).project("one").await.refused(403, "identity_mismatch");
}

#[tokio::test]
async fn foreign_browsers_are_refused() {
    let server = Server::start().await;
    for (header, value) in [("Origin", "http://evil.example"), ("Origin", "null"), ("Host", "evil.example:8081")] {
        ask(&server, "ping", json!({})).header(header, value).await.refused(403, "foreign_origin");
    }
    result(&ask(&server, "ping", json!({})).header("Origin", "http://localhost:6274").await);
}

#[tokio::test]
async fn what_is_no_message_is_a_problem_and_no_defect() {
    let server = Server::start().await;
    for body in ["", "not json", "{", "[", &"[".repeat(20_000), "\u{feff}{}"] {
        post(&server, body).await.refused(400, "invalid_message");
    }
    for body in
        ["[]", "7", "null", "{}", r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, r#"{"jsonrpc":"1.0","id":1}"#]
    {
        post(&server, body).await.refused(400, "invalid_message");
    }
    let large = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "x".repeat(3 * 1024 * 1024)}});
    post(&server, &large.to_string()).await.refused(413, "body_too_large");
    for method in [reqwest::Method::GET, reqwest::Method::DELETE, reqwest::Method::PUT] {
        server.call(method, "/mcp").await.refused(405, "method_not_allowed");
    }
    let plain = server.call(reqwest::Method::POST, "/mcp").header("Accept", "application/json, text/event-stream");
    plain.body("text/plain", "{}").await.refused(415, "unsupported_media_type");
    let deaf = server.call(reqwest::Method::POST, "/mcp").header("Accept", "text/html");
    deaf.body("application/json", "{}").await.refused(406, "not_acceptable");
    let unknown = ask(&server, "no/such/method", json!({})).await;
    assert_eq!(unknown.ok()["error"]["code"], -32601);
    let ping = r#"{"jsonrpc": "2.0", "id": 7, "method": "ping"}"#;
    let nobody = post(&server, ping).header("MCP-Protocol-Version", "1999-01-01").await;
    assert_eq!(nobody.status, 400, "{}", nobody.body);
    let garbled = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {FREE}\r\nContent-Type: application/json\r\nAccept: \
         application/json, text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n"
    );
    assert_eq!(server.raw(garbled).await.status, 400);
}

#[tokio::test]
async fn whoever_hangs_up_no_longer_waits() {
    let server = Server::start().await;
    server.lock("anna", "a").await;
    let waiting = call(&server, "acquire_lock", json!({"file_path": "a", "wait_seconds": 60, "agent_id": "bert"}));
    let waiting = tokio::spawn(waiting.into_future());
    server.until_waiting(1).await;
    waiting.abort();
    let hung_up = Instant::now();
    server.until_waiting(0).await;
    assert!(hung_up.elapsed() < Duration::from_secs(5), "{:?}", hung_up.elapsed());
    server.post("/locks/release", json!({"file_path": "a", "agent_id": "anna"})).await.ok();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(server.held().await.is_empty(), "a call that nobody waits for takes no lock");
}

#[tokio::test]
async fn the_listed_tools_are_those_of_the_set_and_all_can_be_called() {
    for set in [ToolSet::Core, ToolSet::All] {
        let server = Server::with(|settings| settings.tools = set).await;
        let listed = ask(&server, "tools/list", json!({})).await;
        let names: Vec<&str> =
            result(&listed)["tools"].as_array().unwrap().iter().filter_map(|tool| tool["name"].as_str()).collect();
        assert_eq!(names.contains(&"list_tasks"), set == ToolSet::All, "{names:?}");
        assert!(names.contains(&"acquire_lock") && !names.contains(&"lock_status"), "{names:?}");
        assert!(data(&call(&server, "list_tasks", json!({})).await)["tasks"].is_array());
        let help = call(&server, "help", json!({"operation": "submit_work"})).await;
        let fields = &data(&help)["request"]["properties"];
        assert_eq!(fields["priority"]["maximum"], 10, "limits are told here");
        assert_eq!(fields["max_attempts"]["minimum"], 1, "and fields that are not listed");
        let task = json!({"task_type": "t", "task_description": "d", "max_attempts": 1});
        assert_eq!(data(&call(&server, "submit_work", task).await)["success"], true, "which may be given");
    }
}

#[tokio::test]
async fn resources_are_readable() {
    let server = Server::start().await;
    server.lock("anna", "src/a.rs").await;
    let task = server.submit(json!({"task_description": "write | tests"})).await;
    let listed = ask(&server, "resources/list", json!({})).await;
    assert_eq!(result(&listed)["resources"].as_array().unwrap().len(), RESOURCES.len());
    let handoff = json!({"agent_id": "cloud-agent", "summary": "half done", "next_steps": ["test", "merge"]});
    server.post("/handoffs/write", handoff).await.ok();
    let memory = json!({"agent_id": "anna", "event_type": "error", "summary": "pool | dry", "lessons": ["raise it"]});
    server.post("/memory/store", memory).await.ok();
    let before = server.state().await;
    for (uri, text) in [
        ("handoffs://recent", "| half done |  | test, merge |".to_owned()),
        ("locks://current", "| src/a.rs | anna | exclusive |".to_owned()),
        ("work://pending", format!("| {task} | test | 5 | write \\| tests |")),
        ("memories://recent", "| anna | error | pool \\| dry | raise it |".to_owned()),
        ("audit://recent", "| anna | acquire_lock |".to_owned()),
    ] {
        let answer = ask(&server, "resources/read", json!({"uri": uri})).await;
        let contents = &result(&answer)["contents"][0];
        has(contents, json!({"uri": uri, "mimeType": "text/markdown"}));
        assert!(contents["text"].as_str().unwrap().contains(&text), "{text}\nnot in\n{}", contents["text"]);
    }
    assert_eq!(server.state().await, before, "to read changes nothing");
    let missing = ask(&server, "resources/read", json!({"uri": "locks://none"})).await;
    assert_eq!(missing.ok()["error"]["code"], -32002);
}

#[tokio::test]
async fn prompts_show_how_things_stand() {
    let server = Server::start().await;
    server.lock("anna", "src/").await;
    server.lock("bert", "docs/").await;
    let get = |name: &str, arguments: Value| ask(&server, "prompts/get", json!({"name": name, "arguments": arguments}));
    let text = |answer: &Answer| result(answer)["messages"][0]["content"]["text"].as_str().unwrap().to_owned();

    let listed = ask(&server, "prompts/list", json!({})).await;
    let prompts = result(&listed)["prompts"].as_array().unwrap();
    assert_eq!(
        prompts[0]["arguments"][0],
        json!({
            "name": "file_path", "description": "The file, seen from the top of the repository", "required": true,
        })
    );
    let edit = text(&get("coordinate_file_edit", json!({"file_path": "src/a.rs", "task": "fix it"})).await);
    assert!(edit.contains("Your task: fix it") && edit.contains("| src | anna |") && !edit.contains("bert"), "{edit}");
    let start = text(&get("start_work_session", json!({})).await);
    assert!(start.contains("| docs | bert |") && start.contains("No task is waiting."), "{start}");

    for (name, arguments, field) in [
        ("coordinate_file_edit", json!({"file_path": "a"}), "task"),
        ("coordinate_file_edit", json!({"file_path": "/etc/passwd", "task": "t"}), "file_path"),
        ("no_such_prompt", json!({}), "no_such_prompt"),
    ] {
        let answer = get(name, arguments).await;
        assert_eq!(answer.ok()["error"]["code"], -32602, "{}", answer.body);
        assert!(answer.body["error"]["message"].as_str().unwrap().contains(field), "{}", answer.body);
    }
}
