//! The team's file: its agents are known before they are there.

use serde_json::{Value, json};

use crate::server::{Server, has};

const TEAM: &str = "team: shop\nagents:\n  - name: anna\n    role: lead\n    capabilities: [sql, rust]\n    description: Knows it \
                    all.\n  - name: bert\n    role: review\n";

/// A server in a work tree with this team.
async fn server(team: &str) -> (Server, tempfile::TempDir) {
    let worktree = tempfile::tempdir().unwrap();
    std::fs::write(worktree.path().join("teams.yaml"), team).unwrap();
    let path = worktree.path().to_owned();
    (Server::with(|settings| settings.worktree = Some(path)).await, worktree)
}

/// `agent status role`, in order.
async fn listed(server: &Server, query: &str) -> Vec<String> {
    let answer = server.get(&format!("/agents{query}")).await;
    let agents = answer.ok()["agents"].as_array().unwrap();
    let word = |agent: &Value, field: &str| agent[field].as_str().unwrap_or("-").to_owned();
    agents.iter().map(|a| ["agent_id", "status", "role"].map(|f| word(a, f)).join(" ")).collect()
}

#[tokio::test]
async fn the_team_is_known_before_it_is_there() {
    let (server, _worktree) = server(TEAM).await;
    assert_eq!(listed(&server, "").await, ["anna disconnected lead", "bert disconnected review"]);
    let away = server.get("/agents?capability=sql").await.ok()["agents"][0].clone();
    has(&away, json!({"agent_id": "anna", "capabilities": ["rust", "sql"], "description": "Knows it all."}));
    has(&away, json!({"session_id": null, "agent_type": null, "last_heartbeat": null, "started_at": null}));

    for (agent, session) in [("anna", "s1"), ("carl", "s2")] {
        server.post("/agents/register", json!({"agent_id": agent, "session_id": session})).await.ok();
    }
    let mut here = listed(&server, "").await;
    here.sort();
    assert_eq!(here, ["anna active lead", "bert disconnected review", "carl active -"]);
    assert_eq!(listed(&server, "?status=disconnected").await, ["bert disconnected review"]);
    assert_eq!(listed(&server, "?status=idle").await, [""; 0]);
    assert_eq!(
        server.get("/agents").project("garden").await.ok()["agents"],
        json!([]),
        "it is not that project's team"
    );
}

/// What the file says an agent can do, it can do: tasks that need it are handed out to it.
#[tokio::test]
async fn an_agent_can_do_what_the_file_says_unless_it_says_itself() {
    let (server, _worktree) = server(TEAM).await;
    server.submit(json!({"required_capability": "rust"})).await;
    server.post("/agents/register", json!({"agent_id": "anna", "session_id": "s1", "capabilities": []})).await.ok();
    assert_eq!(server.claim("anna").await["success"], false);
    server.post("/agents/register", json!({"agent_id": "anna", "session_id": "s1"})).await.ok();
    assert_eq!(server.claim("anna").await["success"], true);
}

#[tokio::test]
async fn a_file_that_is_wrong_or_gone_names_nobody() {
    let (server, worktree) = server("team: [").await;
    assert_eq!(listed(&server, "").await, [""; 0]);
    std::fs::write(worktree.path().join("teams.yaml"), TEAM).unwrap();
    assert_eq!(listed(&server, "").await.len(), 2, "a change takes effect at once");
    std::fs::remove_file(worktree.path().join("teams.yaml")).unwrap();
    assert_eq!(listed(&server, "").await, [""; 0]);
}
