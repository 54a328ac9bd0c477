//! What agents remember, as they see it: memories, notes and skills.

use serde_json::{Value, json};

use crate::support::{call, caller, coordinator};

const SECRET: &str = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";

#[tokio::test]
async fn a_memory_is_recalled_with_every_field() {
    let coordinator = coordinator();
    let (anna, bert) = (caller("anna", Some("s")), caller("bert", None));
    let memory = json!({
        "event_type": "error", "summary": "  The pool ran dry after the deploy ", "details": {"pool": 20},
        "outcome": "negative", "lessons": ["raise it first", "raise it first "], "tags": ["DB", " pool ", "db"],
    });
    let stored = call(&coordinator, &anna, "remember", memory).await.unwrap();
    assert_eq!((&stored["success"], &stored["action"]), (&json!(true), &json!("created")));

    let asked = json!({"task_description": "why is the connection pool dry?", "limit": 3});
    let answer = call(&coordinator, &bert, "recall", asked).await.unwrap();
    let found = &answer["memories"][0];
    let expected = json!({
        "id": stored["memory_id"], "memory_type": "episodic", "event_type": "error",
        "summary": "The pool ran dry after the deploy", "content": "The pool ran dry after the deploy",
        "details": {"pool": 20}, "outcome": "negative", "lessons": ["raise it first"], "tags": ["db", "pool"],
        "relevance_score": found["relevance"], "relevance": found["relevance"], "agent_id": "anna",
        "created_at": found["created_at"],
    });
    assert_eq!(*found, expected);
    assert!((0.1..1.0).contains(&found["relevance"].as_f64().unwrap()), "{found}");
}

#[tokio::test]
async fn a_repetition_is_told_and_so_is_what_it_united() {
    let coordinator = coordinator();
    let anna = caller("anna", Some("s"));
    let memory = |summary: &str, details: Value| json!({"event_type": "error", "summary": summary, "details": details});
    let first = call(&coordinator, &anna, "remember", memory("it  broke", json!("one"))).await.unwrap();
    let again = call(&coordinator, &anna, "remember", memory("it broke ", json!("two"))).await.unwrap();
    assert_eq!((&again["action"], &again["memory_id"]), (&json!("deduplicated"), &first["memory_id"]));
    let other = call(&coordinator, &caller("bert", None), "remember", memory("it broke", json!("x"))).await.unwrap();
    assert_eq!(other["action"], "created", "another agent's is another");
    let asked = json!({"task_description": "broke", "explain": true});
    let answer = call(&coordinator, &anna, "recall", asked).await.unwrap();
    let found = answer["memories"].as_array().unwrap().iter().find(|m| m["agent_id"] == "anna").unwrap();
    assert_eq!(found["details"], "one\n\ntwo");
    let why = &found["why"];
    assert_eq!((&why["uses"], why["sources"].as_array().unwrap().len()), (&json!(1), 2));
    assert!(why["matched"]["broke"].as_f64().unwrap() > 0.0 && why["recency"] == 1.0, "{why}");
}

#[tokio::test]
async fn what_is_out_of_date_says_what_took_its_place() {
    let coordinator = coordinator();
    let anna = caller("anna", None);
    let remember = async |fields| call(&coordinator, &anna, "remember", fields).await.unwrap()["memory_id"].clone();
    let old = remember(json!({"event_type": "decision", "summary": "the pool holds 20"})).await;
    let new = remember(json!({"event_type": "decision", "summary": "the pool holds 50", "supersedes": old})).await;
    let asked = json!({"task_description": "pool holds 20"});
    let answer = call(&coordinator, &anna, "recall", asked).await.unwrap();
    let found = answer["memories"].as_array().unwrap();
    assert_eq!((&found[0]["id"], &found[1]["id"], &found[1]["superseded_by"]), (&new, &old, &new));
    let late = json!({"event_type": "decision", "summary": "the pool holds 70", "supersedes": old});
    let body = call(&coordinator, &anna, "remember", late).await.unwrap_err().body();
    assert_eq!((&body["error"], &body["superseded_by"]), (&json!("memory_superseded"), &new));
}

#[tokio::test]
async fn an_answer_is_limited_and_filtered() {
    let coordinator = coordinator();
    let anna = caller("anna", None);
    for number in 0..15 {
        let event_type = if number % 2 == 0 { "success" } else { "error" };
        let memory = json!({"event_type": event_type, "summary": format!("deploy {number}"), "tags": ["x"]});
        call(&coordinator, &anna, "remember", memory).await.unwrap();
    }
    let count = async |fields: Value| {
        let answer = call(&coordinator, &anna, "recall", fields).await.unwrap();
        answer["memories"].as_array().unwrap().len()
    };
    assert_eq!(count(json!({"task_description": "deploy"})).await, 10);
    assert_eq!(count(json!({"limit": 3})).await, 3);
    assert_eq!(count(json!({"event_type": "error", "limit": 50})).await, 7);
    assert_eq!(count(json!({"tags": ["X"], "limit": 50})).await, 15);
    assert_eq!(count(json!({"task_description": "deploy 3", "min_relevance": 0.4})).await, 1);
    assert_eq!(count(json!({"task_description": "nothing of it"})).await, 0);
}

#[tokio::test]
async fn no_secret_is_remembered() {
    let coordinator = coordinator();
    let anna = caller("anna", Some("s"));
    let said = format!("use {SECRET}");
    for (operation, arguments) in [
        (
            "remember",
            json!({
                "event_type": "error", "summary": said, "details": {"password": "hunter2", "said": said},
                "lessons": [said], "tags": [SECRET],
            }),
        ),
        ("update_working_memory", json!({"key": said, "value": {"password": "hunter2", "said": [said]}})),
        (
            "record_skill_use",
            json!({"skill_name": said, "success": true, "description": said, "steps": [said], "task_type": said}),
        ),
    ] {
        call(&coordinator, &anna, operation, arguments).await.unwrap();
    }
    for (operation, arguments) in
        [("recall", json!({"explain": true})), ("get_working_memory", json!({})), ("recall_skills", json!({}))]
    {
        let answer = call(&coordinator, &anna, operation, arguments).await.unwrap().to_string();
        assert!(answer.contains("[redacted]"), "{operation}: {answer}");
        assert!(!answer.contains("ghp_") && !answer.contains("hunter2"), "{operation}: {answer}");
    }
}

#[tokio::test]
async fn notes_last_for_a_session() {
    let coordinator = coordinator();
    let (now, later) = (caller("anna", Some("s1")), caller("anna", Some("s2")));
    let note = |key: &str, value: Value| json!({"key": key, "value": value});
    call(&coordinator, &now, "update_working_memory", note("plan", json!({"step": 1}))).await.unwrap();
    let answer =
        call(&coordinator, &now, "update_working_memory", note("long", json!("x".repeat(9000)))).await.unwrap();
    assert_eq!(answer, json!({"success": true, "key": "long", "entries": 2}));

    let all = call(&coordinator, &now, "get_working_memory", json!({})).await.unwrap();
    assert_eq!(all["entries"][0]["compressed"], true, "it alone is more than the budget: {all}");
    assert!(all.to_string().len() < 600);
    let whole = call(&coordinator, &now, "get_working_memory", json!({"key": "long"})).await.unwrap();
    assert_eq!(whole["entries"][0]["value"].as_str().unwrap().len(), 9000);
    let large = call(&coordinator, &now, "get_working_memory", json!({"token_budget": 5000})).await.unwrap();
    assert_eq!((&large["entries"][1]["key"], &large["entries"][1]["value"]), (&json!("plan"), &json!({"step": 1})));

    let none = call(&coordinator, &later, "get_working_memory", json!({"key": "plan"})).await.unwrap();
    assert_eq!(none, json!({"success": false, "entries": [], "reason": "key_not_found"}));
    call(&coordinator, &now, "update_working_memory", json!({"key": "long"})).await.unwrap();
    let all = call(&coordinator, &now, "get_working_memory", json!({})).await.unwrap();
    assert_eq!(all["entries"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn skills_are_ranked_by_what_their_use_proves() {
    let coordinator = coordinator();
    let anna = caller("anna", None);
    let used = async |name: &str, task_type: Option<&str>, successes: usize, uses: usize| {
        for number in 0..uses {
            let record = json!({"skill_name": name, "task_type": task_type, "success": number < successes});
            call(&coordinator, &anna, "record_skill_use", record).await.unwrap();
        }
    };
    used("lucky", Some("deploy"), 1, 1).await;
    used("proven", Some("deploy"), 40, 42).await;
    used("deploy by hand", None, 1, 4).await;
    used("review", Some("review"), 9, 9).await;
    let names = async |arguments| -> Vec<String> {
        let answer = call(&coordinator, &anna, "recall_skills", arguments).await.unwrap();
        answer["skills"].as_array().unwrap().iter().map(|s| s["skill_name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(json!({})).await, ["proven", "review", "lucky", "deploy by hand"]);
    assert_eq!(names(json!({"task_type": "deploy"})).await, ["proven", "lucky", "deploy by hand"]);
    assert_eq!(names(json!({"limit": 1})).await, ["proven"]);
    let answer = call(&coordinator, &anna, "recall_skills", json!({"limit": 1})).await.unwrap();
    let skill = &answer["skills"][0];
    assert_eq!((&skill["uses"], &skill["successes"], &skill["effectiveness"]), (&json!(42), &json!(40), &json!(0.952)));
    assert_eq!((&skill["lower_bound"], &skill["upper_bound"]), (&json!(0.842), &json!(0.987)));
}
