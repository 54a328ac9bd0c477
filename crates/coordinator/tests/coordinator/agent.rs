//! The agent behind a process: who it is, and that it stays alive. Time is tokio's, paused.

use std::sync::Arc;
use std::time::Duration;

use coordinator::Coordinator;
use coordinator::agent::LocalAgent;
use coordinator::failure::Failure;
use coordinator::registry;
use model::id::{AgentId, SessionId};
use serde_json::{Value, json};

use crate::support::{coordinator, coordinator_with, deeds, trail};

fn agent(coordinator: &Arc<Coordinator>) -> LocalAgent {
    LocalAgent::new(coordinator.clone(), "claude-code").unwrap()
}

async fn call(agent: &LocalAgent, name: &str, arguments: Value) -> Result<Value, Failure> {
    agent.call(registry::find(name).unwrap(), arguments).await
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_call_registers_the_session_and_no_other() {
    let coordinator = coordinator();
    let agent = agent(&coordinator);
    assert_eq!(deeds(&coordinator).await, [""; 0], "to be there is no deed");
    let calls = (
        call(&agent, "check_locks", json!({})),
        call(&agent, "acquire_lock", json!({"file_path": "a"})),
        call(&agent, "check_locks", json!({})),
    );
    let (a, b, c) = tokio::join!(calls.0, calls.1, calls.2);
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    call(&agent, "release_lock", json!({"file_path": "a"})).await.unwrap();
    assert_eq!(deeds(&coordinator).await, ["register_session", "acquire_lock", "release_lock"]);
    let agents = call(&agent, "discover_agents", json!({})).await.unwrap();
    let rows = trail(&coordinator).await;
    assert_eq!(agents["agents"][0]["agent_id"], agent.caller().agent_id.as_str());
    let session = agent.caller().session_id.as_ref().unwrap().as_str();
    assert!(rows.iter().all(|row| row.session_id.as_deref() == Some(session)), "one session: {rows:?}");
}

/// What the agent says of itself is not overwritten by a registration of ours.
#[tokio::test(start_paused = true)]
async fn an_agent_that_registers_itself_is_registered_once() {
    let coordinator = coordinator();
    let agent = agent(&coordinator);
    call(&agent, "register_session", json!({"capabilities": ["rust"], "current_task": "x"})).await.unwrap();
    let agents = call(&agent, "discover_agents", json!({"capability": "rust"})).await.unwrap();
    assert_eq!(agents["agents"][0]["current_task"], "x");
    assert_eq!(deeds(&coordinator).await, ["register_session"]);
    pass(301).await;
    assert_eq!(deeds(&coordinator).await, ["register_session", "heartbeat"], "and kept alive");
}

#[tokio::test(start_paused = true)]
async fn an_idle_agent_is_kept_alive_by_heartbeats() {
    for (session_ttl, lease, every) in [(900, 900, 300), (60, 900, 20), (900, 30, 10)] {
        let coordinator = coordinator_with(|settings| {
            (settings.session_ttl_seconds, settings.task_lease_seconds) = (session_ttl, lease);
        });
        let agent = agent(&coordinator);
        call(&agent, "submit_work", json!({"task_type": "t", "description": "d"})).await.unwrap();
        let task = call(&agent, "get_work", json!({})).await.unwrap()["task_id"].clone();
        call(&agent, "acquire_lock", json!({"file_path": "a"})).await.unwrap();
        pass(every * 20 + every / 2).await;
        let beats = deeds(&coordinator).await.iter().filter(|deed| *deed == "heartbeat").count();
        assert_eq!(beats, 20, "one in {every} s");
        assert_eq!(call(&agent, "check_locks", json!({})).await.unwrap().as_array().unwrap().len(), 1);
        let done = json!({"task_id": task, "success": true});
        assert_eq!(call(&agent, "complete_work", done).await.unwrap()["status"], "completed");
    }
}

/// The machine slept: others may have what it held, so the agent must learn of it.
#[tokio::test(start_paused = true)]
async fn a_reaped_session_stays_reaped_until_the_agent_registers_again() {
    let coordinator = coordinator();
    let agent = agent(&coordinator);
    call(&agent, "acquire_lock", json!({"file_path": "a"})).await.unwrap();
    // Time passes in one leap: no heartbeat comes before the reaper.
    tokio::time::advance(Duration::from_secs(1000)).await;
    coordinator.sweep().await.unwrap();
    pass(1000).await;
    let lost = call(&agent, "release_lock", json!({"file_path": "a"})).await.unwrap_err();
    assert_eq!(lost.code(), "session_expired");
    assert!(lost.message().contains("call register_session"), "{}", lost.message());
    call(&agent, "register_session", json!({})).await.unwrap();
    assert_eq!(call(&agent, "acquire_lock", json!({"file_path": "a"})).await.unwrap()["action"], "acquired");
    pass(5000).await;
    assert_eq!(call(&agent, "acquire_lock", json!({"file_path": "a"})).await.unwrap()["action"], "refreshed");
}

#[test]
fn the_settings_say_who_it_is_and_else_where_it_runs() {
    let who = |client: &str, change: &dyn Fn(&mut coordinator::settings::Settings)| {
        let agent = LocalAgent::new(coordinator_with(change), client).unwrap();
        agent.caller().clone()
    };
    let named = who("Claude Code", &|settings| {
        settings.agent_id = Some(AgentId::new("reviewer").unwrap());
        settings.agent_type = Some("claude_code_web_reviewer".into());
        settings.session_id = Some(SessionId::new("session-7").unwrap());
    });
    assert_eq!((named.agent_id.as_str(), named.agent_type.as_str()), ("reviewer", "claude_code_web_reviewer"));
    assert_eq!(named.session_id.unwrap().as_str(), "session-7");

    let in_tree = |client: &str, tree: &str| who(client, &|settings| settings.worktree = Some(tree.into()));
    let first = in_tree("claude-code", "/trees/first");
    assert_eq!(first.agent_id, in_tree("claude-code", "/trees/first").agent_id, "a restart is the same agent");
    assert_ne!(first.agent_id, in_tree("claude-code", "/other/first").agent_id);
    assert_ne!(first.agent_id, in_tree("codex", "/trees/first").agent_id);
    assert_ne!(first.session_id, in_tree("claude-code", "/trees/first").session_id, "but another session");
    for (client, kind) in
        [("claude-code", "claude_code_cli"), ("codex-mcp-client", "codex_cli"), ("gemini-cli", "gemini_cli")]
    {
        assert_eq!(in_tree(client, "/t").agent_type, kind);
    }
    for odd in ["", "   ", "\n\0", "\u{1f600}", &"long ".repeat(1000)] {
        assert!(!in_tree(odd, &format!("/{odd}")).agent_id.as_str().is_empty(), "{odd:?}");
    }
}
