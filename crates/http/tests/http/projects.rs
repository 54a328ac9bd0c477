//! Projects: worlds of their own.

use serde_json::{Value, json};

use crate::server::{FREE, HOUSE, Server};

const LOCK: &str = "/locks/acquire";

fn lock(agent: &str) -> Value {
    json!({"file_path": "shared/name.rs", "agent_id": agent, "agent_type": "t"})
}

#[tokio::test]
async fn two_projects_never_see_each_other_s_records() {
    let server = Server::start().await;
    let task = json!({"task_type": "t", "description": "d", "idempotency_key": "once"});
    let mut ids = vec![];
    for project in ["red", "blue"] {
        let agent = format!("{project}-agent");
        assert_eq!(server.post(LOCK, lock(&agent)).project(project).await.ok()["action"], "acquired");
        let register = json!({"agent_id": agent, "session_id": "one-name-in-both"});
        server.post("/agents/register", register).project(project).await.ok();
        let submitted = server.post("/work/submit", task.clone()).project(project).await;
        assert_eq!(submitted.ok().get("repeated"), None);
        ids.push(submitted.body["task_id"].as_str().unwrap().to_owned());
    }
    for (project, own, other) in [("red", &ids[0], &ids[1]), ("blue", &ids[1], &ids[0])] {
        let agent = format!("{project}-agent");
        let get = async |path: &str| server.get(path).project(project).await;
        let locks = get("/locks").await;
        assert_eq!((locks.body.as_array().unwrap().len(), &locks.body[0]["locked_by"]), (1, &json!(agent)));
        let status = server.get("/locks/status/shared/name.rs").without_key().project(project).await;
        assert_eq!(status.ok()["lock"]["locked_by"], json!(agent));
        let agents = get("/agents").await;
        assert_eq!(
            (agents.body["agents"].as_array().unwrap().len(), &agents.body["agents"][0]["agent_id"]),
            (1, &json!(agent))
        );
        assert_eq!(get("/api/v1/tasks").await.body["tasks"].as_array().unwrap().len(), 1);
        get(&format!("/api/v1/tasks/{own}")).await.ok();
        assert_eq!(get(&format!("/api/v1/tasks/{other}")).await.status, 404);
        let cancel = json!({"task_id": other, "reason": "not mine"});
        assert_eq!(server.post("/work/cancel", cancel).project(project).await.ok()["reason"], "task_not_found");
        let depending = json!({"task_type": "t", "description": "d", "depends_on": [other]});
        server.post("/work/submit", depending).project(project).await.refused(422, "unknown_dependency");
        let entries = get("/audit?limit=100").await.body["entries"].clone();
        assert!(entries.as_array().unwrap().iter().all(|e| e["agent_id"] != "red-agent" || project == "red"));
        assert_eq!(entries[0]["seq"], entries.as_array().unwrap().len(), "each trail has its own numbers");
    }
    assert_eq!(server.get("/locks").await.body, json!([]), "and the default project has none of it");
}

#[tokio::test]
async fn a_key_of_one_project_opens_no_other() {
    let server = Server::start().await;
    server.post(LOCK, lock("resident")).key(HOUSE).await.ok();
    server.post(LOCK, lock("resident")).key(HOUSE).project("house").await.ok();
    let problem = server.post(LOCK, lock("resident")).key(HOUSE).project("garden").await;
    assert!(problem.refused(403, "identity_mismatch")["message"].as_str().unwrap().contains("house"));
    for project in ["default", "garden"] {
        assert_eq!(server.get("/locks").key(FREE).project(project).await.body, json!([]), "{project}");
    }
    assert_eq!(server.get("/locks").key(FREE).project("house").await.body[0]["locked_by"], "resident");
}

#[tokio::test]
async fn what_is_no_project_s_name_is_refused() {
    let server = Server::start().await;
    let long = "p".repeat(257);
    for name in ["", "   ", "caf\u{e9}", long.as_str()] {
        let answer = server.get("/locks").project(name).await;
        assert!(answer.refused(422, "invalid_request")["message"].as_str().unwrap().contains("X-Coordinator-Project"));
        assert_eq!(answer.wrong_fields(), ["X-Coordinator-Project"], "{name:?}");
    }
    server.get("/locks").project(&"p".repeat(256)).await.ok();
}
