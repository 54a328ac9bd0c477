//! `coordinator mcp --url`: an agent over standard input and output on a team's server.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::mcp::Agent;
use crate::project::{Project, Ran, until};
use crate::serve::Server;

/// A key of the server's, bound to an agent where one is named.
fn key(team: &Project, agent: Option<&str>) -> String {
    let mut words = vec!["keys", "create", "--name", "me"];
    words.extend(agent.into_iter().flat_map(|agent| ["--agent-id", agent]));
    team.run(&words).ended_with(0).stdout.trim().to_owned()
}

/// The bridge, started in a repository of the agent's own.
fn bridge(home: &Project, address: &str, key: &str) -> Command {
    let mut command = home.command(&["mcp", "--url", &format!("http://{address}")]);
    command.env("COORDINATION_API_KEY", key);
    command
}

fn audit(team: &Project) -> Vec<Value> {
    team.run(&["audit", "--json"]).json()["entries"].as_array().unwrap().clone()
}

#[test]
fn two_agents_contend_on_a_team_s_server() {
    let (team, home) = (Project::new(), Project::new());
    let key = key(&team, None);
    let server = Server::start(&team);
    let connect = |agent: &str| {
        let mut command = bridge(&home, &server.address, &key);
        command.env("AGENT_ID", agent).env("AGENT_TYPE", "codex_cli");
        Agent::run(command).after_handshake()
    };
    let (mut ann, mut bob) = (connect("ann"), connect("bob"));
    let listed = ann.request("tools/list", json!({}));
    assert!(listed["result"]["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == "acquire_lock"));
    assert_eq!(ann.ask("acquire_lock", json!({"file_path": "a.py"}))["success"], true);
    let blocked = bob.ask("acquire_lock", json!({"file_path": "a.py"}));
    assert_eq!((&blocked["success"], &blocked["locked_by"]), (&json!(false), &json!("ann")));
    // A question that takes long does not hold up the next one.
    let waiting = json!({"name": "acquire_lock", "arguments": {"file_path": "a.py", "wait_seconds": 60}});
    bob.send(&json!({"jsonrpc": "2.0", "id": 900, "method": "tools/call", "params": waiting}).to_string());
    assert_eq!(bob.ask("discover_agents", json!({}))["agents"].as_array().unwrap().len(), 2, "both are registered");
    ann.ask("release_lock", json!({"file_path": "a.py"}));
    assert_eq!(bob.answer_to(900)["result"]["structuredContent"]["action"], "acquired");

    let shown = bob.request("resources/read", json!({"uri": "locks://current"}));
    assert!(shown["result"]["contents"][0]["text"].as_str().unwrap().contains("| a.py | bob |"), "{shown}");
    let wrong = bob.call("acquire_lock", json!({"colour": "red"}));
    assert_eq!(wrong["error"]["code"], -32602, "{wrong}");
    let by_bob = audit(&team).into_iter().find(|row| row["agent_id"] == "bob").unwrap();
    assert_eq!((&by_bob["agent_type"], by_bob["session_id"].is_string()), (&json!("codex_cli"), true));
    ann.leave();
    bob.leave();
    server.terminate();
    server.wait().ended_with(0);
}

/// The agent's own name travels along where the key is nobody's; else the key's name is the agent's.
#[test]
fn the_key_decides_who_the_agent_is() {
    let (team, home) = (Project::new(), Project::new());
    let (free, bound) = (key(&team, None), key(&team, Some("ci-1")));
    let server = Server::start(&team);
    for (key, expected) in [(&free, "by-hand@repository-"), (&bound, "ci-1")] {
        let mut agent = Agent::run(bridge(&home, &server.address, key)).after_handshake();
        assert_eq!(agent.ask("acquire_lock", json!({"file_path": format!("{expected}.py")}))["success"], true);
        agent.leave();
        let rows = audit(&team);
        assert_eq!(
            (rows[0]["operation"].as_str(), rows[1]["operation"].as_str()),
            (Some("acquire_lock"), Some("register_session"))
        );
        assert!(rows[0]["agent_id"].as_str().unwrap().starts_with(expected), "{expected}: {rows:?}");
        assert!(rows.iter().all(|row| row["success"] == true), "nothing was tried in vain: {rows:?}");
    }
    // Whoever was given a name must be told that it is not the key's.
    let mut command = bridge(&home, &server.address, &bound);
    command.env("AGENT_ID", "ann");
    let mut agent = Agent::run(command);
    let refused = agent.initialize();
    assert_eq!(refused["error"]["data"]["error"], "identity_mismatch", "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("belongs to agent ci-1, not to ann"), "{refused}");
    agent.leave();
    server.terminate();
    server.wait().ended_with(0);
}

#[test]
fn a_server_that_is_away_and_a_wrong_key_are_told_in_a_sentence() {
    let (team, home) = (Project::new(), Project::new());
    let key = key(&team, None);
    let server = Server::start(&team);
    let (address, port) = (server.address.clone(), server.port().to_owned());
    let error = |answer: &Value| {
        let error = &answer["error"];
        (error["data"]["error"].as_str().unwrap_or_default().to_owned(), error["message"].as_str().unwrap().to_owned())
    };

    let mut stranger = Agent::run(bridge(&home, &address, "wrong"));
    let (code, message) = error(&stranger.initialize());
    assert_eq!(code, "unauthorized");
    assert!(message.contains(&address) && message.contains("COORDINATION_API_KEY"), "{message}");
    stranger.leave();

    let mut agent = Agent::run(bridge(&home, &address, &key)).after_handshake();
    assert_eq!(agent.ask("acquire_lock", json!({"file_path": "a.py"}))["success"], true);
    server.terminate();
    server.wait().ended_with(0);
    let (code, message) = error(&agent.call("check_locks", json!({})));
    assert_eq!(code, "coordinator_unreachable");
    assert!(message.contains(&address) && message.contains("coordinator serve"), "{message}");

    // It is back, and the agent's process need not know.
    let server = Server::start_at(&team, &port);
    assert_eq!(agent.ask("acquire_lock", json!({"file_path": "a.py"}))["action"], "refreshed");
    agent.leave();

    let mut elsewhere = Agent::run(bridge(&home, &format!("{address}/locks"), &key));
    assert_eq!(error(&elsewhere.initialize()).0, "method_not_allowed");
    elsewhere.leave();
    server.terminate();
    server.wait().ended_with(0);
}

#[test]
fn a_call_that_is_called_off_waits_for_nothing() {
    let (team, home) = (Project::new(), Project::new());
    let key = key(&team, None);
    let server = Server::start(&team);
    team.run(&["lock", "a.py"]).ended_with(0);
    let mut agent = Agent::run(bridge(&home, &server.address, &key)).after_handshake();
    let waiting = json!({"name": "acquire_lock", "arguments": {"file_path": "a.py", "wait_seconds": 60}});
    agent.send(&json!({"jsonrpc": "2.0", "id": "w", "method": "tools/call", "params": waiting}).to_string());
    let waiters = || team.run(&["status", "--json"]).json()["waiters"].as_array().unwrap().len();
    until("it waits", || waiters() == 1);
    let off = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "w"}});
    agent.send(&off.to_string());
    until("it waits no more", || waiters() == 0);
    team.run(&["unlock", "a.py"]).ended_with(0);
    assert_eq!(agent.ask("check_locks", json!({}))["result"], json!([]));
    agent.leave();
    server.terminate();
    server.wait().ended_with(0);
}

/// As often as the server wants it: its sessions end after three seconds.
#[test]
fn an_idle_agent_is_kept_alive() {
    let (team, home) = (Project::new(), Project::new());
    let key = key(&team, None);
    let mut serve = team.command(&["serve", "--port", "0", "--json"]);
    serve.env("SESSION_TTL_SECONDS", "3");
    let server = Server::run(serve);
    let mut agent = Agent::run(bridge(&home, &server.address, &key)).after_handshake();
    assert_eq!(agent.ask("register_session", json!({"capabilities": ["rust"]}))["heartbeat_seconds"], 1);
    assert_eq!(agent.ask("acquire_lock", json!({"file_path": "a.py"}))["success"], true);
    let beats = || audit(&team).iter().filter(|row| row["operation"] == "heartbeat" && row["success"] == true).count();
    until("it is heard of again and again", || beats() >= 4);
    assert_eq!(agent.ask("acquire_lock", json!({"file_path": "a.py"}))["action"], "refreshed");
    let registrations = audit(&team).iter().filter(|row| row["operation"] == "register_session").count();
    assert_eq!(registrations, 1, "what the agent says of itself is not overwritten");
    agent.leave();
    server.terminate();
    server.wait().ended_with(0);
}

#[test]
fn nothing_that_is_sent_ends_the_bridge() {
    let (team, home) = (Project::new(), Project::new());
    let key = key(&team, None);
    let server = Server::start(&team);
    let mut agent = Agent::run(bridge(&home, &server.address, &key)).after_handshake();
    let deep = "[".repeat(20_000);
    for line in ["this is not JSON", "", "[]", "7", r#"{"jsonrpc":"2.0"}"#, r#"{"id":1,"result":{}}"#, &deep] {
        agent.send(line);
    }
    for (id, method, params) in [
        (5001, "tools/call", json!({"name": "\u{e9}"})),
        (5002, "tools/call", json!({"name": "acquire_lock", "arguments": {"file_path": "x".repeat(3 * 1024 * 1024)}})),
        (5003, "no/such/method", json!([])),
        (
            5004,
            "tools/call",
            json!({"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}, "name": "\u{e9}\n"}),
        ),
    ] {
        agent.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string());
        let answer = agent.answer_to(id);
        assert!(answer["error"]["message"].is_string(), "{answer}");
    }
    assert_eq!(agent.ask("check_locks", json!({}))["result"], json!([]));
    agent.leave();
    server.terminate();
    server.wait().ended_with(0);
}

#[test]
fn a_command_line_that_is_wrong_is_told_at_once() {
    let home = Project::new();
    let run = |url: &str, key: Option<&str>| {
        let mut command = home.command(&["mcp", "--url", url]);
        command.envs(key.map(|key| ("COORDINATION_API_KEY", key))).stdin(Stdio::null());
        Ran::from(command.output().unwrap()).ended_with(2).stderr
    };
    home.run(&["mcp", "--url", "http://127.0.0.1:1", "--db", "x.db"]).ended_with(2);
    assert!(run("http://127.0.0.1:1", None).contains("COORDINATION_API_KEY is not set"));
    assert!(run("somewhere", Some("k")).contains("--url is \"somewhere\""));
    assert!(run("http://127.0.0.1:1", Some("two\nlines")).contains("COORDINATION_API_KEY"));
}
