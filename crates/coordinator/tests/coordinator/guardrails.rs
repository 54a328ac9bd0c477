//! Guardrails and approvals as agents meet them: checks, blocked completions, requests, and what an approval lets through.

use std::time::Duration;

use coordinator::Coordinator;
use model::id::Caller;
use serde_json::{Value, json};

use crate::support::{call, caller, coordinator, trail};

/// Of a type that is trusted to decide.
fn boss() -> Caller {
    Caller { agent_type: "human".into(), ..caller("boss", None) }
}

async fn check(coordinator: &Coordinator, who: &Caller, command: &str, run: bool) -> Value {
    let asked = json!({"operation_text": command, "run": run});
    call(coordinator, who, "check_guardrails", asked).await.unwrap()
}

/// A task that the agent has claimed.
async fn claimed(coordinator: &Coordinator, who: &Caller) -> Value {
    let task = json!({"task_type": "build", "task_description": "build it"});
    call(coordinator, who, "submit_work", task).await.unwrap();
    call(coordinator, who, "get_work", json!({})).await.unwrap()["task_id"].clone()
}

#[tokio::test]
async fn a_check_tells_and_records_nothing() {
    let (coordinator, anna) = (coordinator(), caller("anna", None));
    let safe = check(&coordinator, &anna, "git status", false).await;
    assert_eq!(safe, json!({"safe": true, "verdict": "allow", "violations": []}));
    let answer = check(&coordinator, &anna, "sudo bash -c 'git reset --hard'", false).await;
    assert_eq!((&answer["safe"], &answer["verdict"]), (&json!(false), &json!("block")));
    let violation = &answer["violations"][0];
    assert_eq!(violation["pattern_name"], "git.reset-hard");
    assert_eq!(violation["category"], "git history and lost work");
    assert_eq!((&violation["severity"], &violation["blocked"]), (&json!("high"), &json!(true)));
    assert_eq!(violation["matched_text"], "git reset --hard");
    assert_eq!(violation["reached"], json!(["sudo", "bash -c"]));
    assert!(violation["reason"].is_string() && violation["suggestion"].is_string());
    assert_eq!(answer.get("approval_id"), None);
    assert!(trail(&coordinator).await.is_empty());
}

#[tokio::test]
async fn files_are_checked_too() {
    let (coordinator, anna) = (coordinator(), caller("anna", None));
    let asked = json!({"operation_text": "", "file_paths": ["src/a.rs", "config/.env"]});
    let answer = call(&coordinator, &anna, "check_guardrails", asked).await.unwrap();
    assert_eq!((&answer["safe"], &answer["requires"]), (&json!(false), &json!("manual_review")));
    assert_eq!(answer["violations"][0]["matched_text"], "config/.env");
    let asked = json!({"operation_text": "", "file_paths": ["src/a.rs", ".env.example"]});
    assert_eq!(call(&coordinator, &anna, "check_guardrails", asked).await.unwrap()["safe"], true);
}

#[tokio::test]
async fn a_long_text_is_checked_whole() {
    let (coordinator, anna) = (coordinator(), caller("anna", None));
    let command = format!("echo {}; git reset --hard", "a ".repeat(20_000));
    assert_eq!(check(&coordinator, &anna, &command, false).await["safe"], false);
}

#[tokio::test]
async fn secrets_in_a_violation_are_not_shown() {
    let (coordinator, anna) = (coordinator(), caller("anna", None));
    let secret = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";
    let command = format!("TOKEN={secret} git push https://{secret}@github.com/o/r.git --force; cat .env");
    for run in [false, true] {
        let answer = check(&coordinator, &anna, &command, run).await;
        assert!(answer["safe"] == false && !answer.to_string().contains(secret), "{answer}");
    }
    let command = format!("cat .env {secret}");
    let answer = check(&coordinator, &anna, &command, true).await;
    let shown = call(&coordinator, &anna, "get_approval", json!({"approval_id": answer["approval_id"]})).await.unwrap();
    assert!(!shown.to_string().contains(secret), "{shown}");
    for row in trail(&coordinator).await {
        assert!(!format!("{row:?}").contains(secret), "{row:?}");
    }
}

#[tokio::test]
async fn a_blocked_completion_leaves_the_task_with_its_owner() {
    let (coordinator, anna) = (coordinator(), caller("anna", None));
    let task = claimed(&coordinator, &anna).await;
    let padding = "all is well\n".repeat(5000);
    let result = json!({"log": [format!("{padding}Ran `git push --force origin main`\n{padding}")]});
    let completion = json!({"task_id": task, "success": true, "result": result});
    let body = call(&coordinator, &anna, "complete_work", completion).await.unwrap_err().body();
    assert_eq!((&body["success"], &body["error"]), (&json!(false), &json!("destructive_operation_blocked")));
    assert_eq!((&body["reason"], &body["operation"]), (&body["error"], &json!("complete_work")));
    assert_eq!(
        (&body["violations"][0]["pattern_name"], &body["approval_required"]),
        (&json!("git.force-push"), &json!(false))
    );
    let shown = call(&coordinator, &anna, "get_task", json!({"task_id": task})).await.unwrap();
    assert_eq!((&shown["task"]["status"], &shown["task"]["claimed_by"]), (&json!("claimed"), &json!("anna")));
    let last = trail(&coordinator).await.pop().unwrap();
    assert_eq!((last.operation.as_str(), last.success), ("complete_work", false));
    assert_eq!(last.error_message.as_deref(), Some("destructive_operation_blocked"));
    // What only speaks of it is no deed.
    let completion =
        json!({"task_id": task, "success": true, "result": {"summary": "Removed the forced push from CI"}});
    assert_eq!(call(&coordinator, &anna, "complete_work", completion).await.unwrap()["status"], "completed");
}

#[tokio::test]
async fn a_completion_that_names_credentials_waits_for_a_person() {
    let (coordinator, anna) = (coordinator(), caller("anna", None));
    let task = claimed(&coordinator, &anna).await;
    let completion = json!({"task_id": task, "success": true, "result": {"files_modified": ["src/a.rs", ".env"]}});
    let body = call(&coordinator, &anna, "complete_work", completion.clone()).await.unwrap_err().body();
    assert_eq!((&body["error"], &body["requires"]), (&json!("credential_file_protected"), &json!("manual_review")));
    assert_eq!(body["approval_required"], true);
    let id = &body["approval_id"];
    assert_eq!(trail(&coordinator).await.len(), 3, "the refusal and its request are one row");
    let again = call(&coordinator, &anna, "complete_work", completion.clone()).await.unwrap_err().body();
    assert_eq!(again["approval_id"], *id, "asked once");
    call(&coordinator, &boss(), "decide_approval", json!({"approval_id": id, "decision": "approve"})).await.unwrap();
    // Another result is another thing.
    let other = json!({"task_id": task, "success": true, "result": {"files_modified": ["src/b.rs", ".env"]}});
    let other = call(&coordinator, &anna, "complete_work", other).await.unwrap_err().body();
    assert_ne!(other["approval_id"], *id);
    let done = call(&coordinator, &anna, "complete_work", completion).await.unwrap();
    assert_eq!(done["status"], "completed");
    let shown = call(&coordinator, &anna, "get_approval", json!({"approval_id": id})).await.unwrap();
    assert_eq!((&shown["approval"]["status"], &shown["approval"]["decided_by"]), (&json!("used"), &json!("boss")));
}

#[tokio::test]
async fn an_approved_command_passes_once() {
    let (coordinator, anna) = (coordinator(), caller("anna", Some("s1")));
    let command = "cat .env";
    let asked = check(&coordinator, &anna, command, true).await;
    assert_eq!((&asked["safe"], &asked["approval_required"]), (&json!(false), &json!(true)));
    assert!(asked["message"].as_str().unwrap().contains("get_approval"), "{asked}");
    let id = &asked["approval_id"];
    let own = json!({"approval_id": id, "decision": "approve"});
    let anna_as_boss = Caller { agent_type: "human".into(), ..caller("anna", Some("s2")) };
    let body = call(&coordinator, &anna_as_boss, "decide_approval", own.clone()).await.unwrap_err().body();
    assert_eq!(body["error"], "own_approval");
    let body = call(&coordinator, &caller("bert", None), "decide_approval", own.clone()).await.unwrap_err().body();
    assert_eq!(body["error"], "insufficient_trust_level");
    call(&coordinator, &boss(), "decide_approval", own).await.unwrap();
    assert_eq!(check(&coordinator, &anna, command, false).await["safe"], false, "to look uses nothing up");
    let passed = check(&coordinator, &anna, command, true).await;
    assert_eq!((&passed["safe"], &passed["approval_id"]), (&json!(true), id));
    let next = check(&coordinator, &anna, command, true).await;
    assert!(next["safe"] == false && next["approval_id"] != *id, "{next}");
}

#[tokio::test]
async fn two_at_once_do_not_share_an_approval() {
    let (coordinator, anna) = (coordinator(), caller("anna", None));
    let id = check(&coordinator, &anna, "cat .env", true).await["approval_id"].clone();
    call(&coordinator, &boss(), "decide_approval", json!({"approval_id": id, "decision": "approve"})).await.unwrap();
    let run = json!({"operation_text": "cat .env", "run": true});
    let both = tokio::join!(
        call(&coordinator, &anna, "check_guardrails", run.clone()),
        call(&coordinator, &anna, "check_guardrails", run)
    );
    let passed = [both.0, both.1].into_iter().filter(|a| a.as_ref().is_ok_and(|a| a["safe"] == true)).count();
    assert_eq!(passed, 1);
}

#[tokio::test]
async fn what_must_not_run_can_be_approved_by_nobody() {
    let (coordinator, anna) = (coordinator(), caller("anna", None));
    let answer = check(&coordinator, &anna, "rm -rf / && cat .env", true).await;
    assert_eq!((&answer["safe"], answer.get("approval_id")), (&json!(false), None));
    let rows = trail(&coordinator).await;
    assert_eq!((rows.len(), rows[0].success), (1, false));
}

#[tokio::test]
async fn who_asks_can_wait_for_the_answer() {
    let (coordinator, anna) = (coordinator(), caller("anna", None));
    let asked = json!({"operation": "run_command", "resource": "cat .env", "reason": "to see which keys are missing"});
    let id = call(&coordinator, &anna, "request_approval", asked).await.unwrap()["approval_id"].clone();
    assert_eq!(check(&coordinator, &anna, "cat .env", true).await["approval_id"], id, "it is the same request");
    let wait = json!({"approval_id": id, "wait_seconds": 60});
    let (boss, deny) = (boss(), json!({"approval_id": id, "decision": "deny", "note": "see .env.example"}));
    let (answer, _) = tokio::join!(call(&coordinator, &anna, "get_approval", wait), async {
        tokio::task::yield_now().await;
        call(&coordinator, &boss, "decide_approval", deny).await.unwrap();
    });
    let answer = tokio::time::timeout(Duration::from_secs(5), async { answer.unwrap() }).await.unwrap();
    let approval = &answer["approval"];
    assert_eq!((&approval["status"], &approval["note"]), (&json!("denied"), &json!("see .env.example")));
    let unknown = json!({"approval_id": "00000000-0000-7000-8000-000000000000"});
    let answer = call(&coordinator, &anna, "get_approval", unknown).await.unwrap();
    assert_eq!(answer, json!({"success": false, "reason": "approval_not_found"}));
}

#[tokio::test]
async fn packs_are_added_and_switched_off_at_once() {
    let coordinator = coordinator();
    let (anna, admin) = (caller("anna", None), Caller { agent_type: "human".into(), ..caller("admin", None) });
    let pack = r#"
        name = "ours"
        category = "house rules"
        [[rule]]
        id = "no-prod"
        severity = "high"
        command = ["ssh prod-*"]
        reason = "Production is for people."
        suggestion = "Use staging."
        match = ["ssh prod-1 uptime"]
        not-match = ["ssh staging uptime"]
    "#;
    let put = json!({"name": "ours", "pack": pack});
    let body = call(&coordinator, &anna, "put_guardrails", put.clone()).await.unwrap_err().body();
    assert_eq!(body["error"], "insufficient_trust_level");
    assert_eq!(check(&coordinator, &anna, "ssh prod-1 uptime", false).await["safe"], true);
    call(&coordinator, &admin, "put_guardrails", put).await.unwrap();
    let answer = check(&coordinator, &anna, "ssh prod-1 uptime", false).await;
    assert_eq!(answer["violations"][0]["pattern_name"], "ours.no-prod");
    call(&coordinator, &admin, "put_guardrails", json!({"name": "git", "disable": true})).await.unwrap();
    assert_eq!(check(&coordinator, &anna, "git reset --hard", false).await["safe"], true);
    let listed = call(&coordinator, &anna, "list_guardrails", json!({})).await.unwrap();
    assert_eq!(listed["disabled"], json!(["git"]));
    let patterns = listed["patterns"].as_array().unwrap();
    assert!(patterns.iter().any(|p| p["pattern_name"] == "ours.no-prod"));
    assert!(!patterns.iter().any(|p| p["pack"] == "git"));
    for (name, pack, disable) in [
        ("credentials", None, true),
        ("coordinator", None, true),
        ("nothing", None, true),
        ("git", Some(pack), false),
        ("theirs", Some(pack), false),
        ("ours", Some("name = 1"), false),
        ("ours", Some(&pack.replace("ssh staging", "ssh prod-2") as &str), false),
    ] {
        let put = json!({"name": name, "pack": pack, "disable": disable});
        let body = call(&coordinator, &admin, "put_guardrails", put).await.unwrap_err().body();
        assert_eq!(body["error"], "invalid_rule", "{name}: {body}");
    }
    call(&coordinator, &admin, "put_guardrails", json!({"name": "git"})).await.unwrap();
    assert_eq!(check(&coordinator, &anna, "git reset --hard", false).await["safe"], false);
}
