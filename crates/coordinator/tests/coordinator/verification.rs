//! What must pass: the policies of the file, and those that admins put.

use std::sync::Arc;

use coordinator::Coordinator;
use coordinator::failure::Failure;
use model::JsonText;
use model::command::{Action, Command};
use model::id::Caller;
use model::limits::Limits;
use model::rulebook::{PutRule, RuleKind};
use serde_json::{Value, json};
use uuid::Uuid;
use verification::Policies;

use crate::support::{call, caller, coordinator_with};

const IN_FILE: &str = "[[verification]]\nname = 'tests'\nglobs = ['**']\ntier = 1\ncommand = ['make', 'test']\n";
const LINT: &str = "globs = ['src/']\ntier = 0\ncommand = ['make', 'lint']";

fn ground(in_file: &str) -> Arc<Coordinator> {
    coordinator_with(|settings| settings.verification = Policies::parse(in_file).unwrap())
}

fn admin() -> Caller {
    Caller { agent_type: "human".into(), ..caller("boss", None) }
}

async fn put(coordinator: &Coordinator, who: &Caller, name: &str, policy: Option<&str>) -> Result<Value, Failure> {
    let request = json!({"name": name, "policy": policy});
    call(coordinator, who, "put_verification_policy", request).await
}

/// `name source tier command`, the cheapest first.
async fn listed(coordinator: &Coordinator) -> Vec<String> {
    let answer = call(coordinator, &caller("ann", None), "list_verification_policies", json!({})).await.unwrap();
    let line = |policy: &Value| {
        let command: Vec<&str> = policy["command"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let text = |field: &str| policy[field].as_str().unwrap().to_owned();
        format!("{} {} {} {}", text("name"), text("source"), policy["tier"], command.join(" "))
    };
    answer["policies"].as_array().unwrap().iter().map(line).collect()
}

async fn in_force(coordinator: &Coordinator) -> Vec<String> {
    let policies = coordinator.verification_policies(coordinator.default_project()).await.unwrap();
    policies.all().iter().map(|policy| policy.name.clone()).collect()
}

#[tokio::test]
async fn admins_put_policies_that_add_to_those_of_the_file() {
    let coordinator = ground(IN_FILE);
    let (ann, boss) = (caller("ann", None), admin());
    let refused = put(&coordinator, &ann, "lint", Some(LINT)).await.unwrap_err();
    assert_eq!(refused.code(), "insufficient_trust_level");
    let first = put(&coordinator, &boss, "lint", Some(LINT)).await.unwrap();
    assert_eq!(listed(&coordinator).await, ["lint project 0 make lint", "tests file 1 make test"]);
    assert_eq!(in_force(&coordinator).await, ["lint", "tests"]);

    let weaker = "globs = ['nothing']\ntier = 1\ncommand = ['true']";
    assert_eq!(put(&coordinator, &boss, "tests", Some(weaker)).await.unwrap_err().code(), "policy_in_file");
    for (bad, why) in [
        ("globs = ['**']\ntier = 9\ncommand = ['x']", "line 2: verification.tier: must be 0 to 4"),
        ("globs = ['**']\ntier = 1", "line 1: verification.command: must name a program"),
        ("nonsense", "line 1: verification: "),
    ] {
        let body = put(&coordinator, &boss, "bad", Some(bad)).await.unwrap_err().body();
        assert_eq!(body["error"], "invalid_rule", "{body}");
        assert!(body["fields"][0]["message"].as_str().unwrap().starts_with(why), "{body}");
    }

    let stricter = LINT.replace("src/", "**");
    put(&coordinator, &boss, "lint", Some(&stricter)).await.unwrap();
    let back = json!({"kind": "verification", "name": "lint", "version": first["version"]});
    call(&coordinator, &boss, "roll_back_rule", back).await.unwrap();
    let history = json!({"kind": "verification", "name": "lint"});
    let versions = call(&coordinator, &ann, "rule_history", history).await.unwrap();
    let bodies: Vec<&str> =
        versions["versions"].as_array().unwrap().iter().filter_map(|version| version["body"].as_str()).collect();
    assert_eq!(bodies, [LINT, &stricter, LINT]);
    put(&coordinator, &boss, "lint", None).await.unwrap();
    assert_eq!(in_force(&coordinator).await, ["tests"]);
    assert_eq!(put(&coordinator, &boss, "lint", None).await.unwrap_err().code(), "rule_not_found");
}

/// Puts it without reading it, as a later version of the program might that knows more.
async fn put_unread(coordinator: &Coordinator, name: &str, body: &str) {
    let rule =
        PutRule { kind: RuleKind::Verification, name: name.into(), body: Some(body.into()), expected_version: None };
    let command = Command {
        id: Uuid::now_v7(),
        caller: admin(),
        operation: "put_verification_policy".into(),
        parameters: JsonText::new(&json!({})),
        duration_ms: 0,
        limits: Limits::NONE,
        approval: None,
        action: Action::PutRule(rule),
    };
    coordinator.store().apply(coordinator.default_project(), &[command]).await.unwrap();
}

#[tokio::test]
async fn the_file_s_policy_counts_whatever_the_project_has_of_its_name() {
    let coordinator = ground(IN_FILE);
    put_unread(&coordinator, "tests", "globs = ['nothing']\ntier = 1\ncommand = ['true']").await;
    assert_eq!(in_force(&coordinator).await, ["tests"]);
    assert_eq!(listed(&coordinator).await, ["tests file 1 make test", "tests project 1 true"]);
    let policies = coordinator.verification_policies(coordinator.default_project()).await.unwrap();
    assert_eq!(policies.named("tests").unwrap().command, ["make", "test"]);
    put(&coordinator, &admin(), "tests", None).await.unwrap();
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_lets_nothing_pass() {
    let coordinator = ground("");
    put_unread(&coordinator, "later", "globs = ['**']\ntier = 1\nsomething_new = true").await;
    let failure = coordinator.verification_policies(coordinator.default_project()).await.unwrap_err();
    assert_eq!(failure.code(), "unreadable_policy");
    assert!(failure.message().contains("later") && failure.message().contains("something_new"), "{failure:?}");
    put(&coordinator, &admin(), "later", Some(LINT)).await.unwrap();
    assert_eq!(in_force(&coordinator).await, ["later"]);
}
