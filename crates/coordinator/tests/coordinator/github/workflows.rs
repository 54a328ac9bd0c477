//! Workflows that verify for us: heard of or asked for, each end counts once and for its own run only.

use coordinator::Coordinator;
use coordinator::github::workflows::external_id;
use serde_json::{Value, json};
use uuid::Uuid;

use super::fake::{Delivery, Fake};
use super::{deliver, follower_with};
use crate::support::{call, caller, trail};

const COMMIT: &str = "00000000000000000000000000000000000000c1";

/// A run of this commit that has been handed to `ci.yml`: its changeset and itself.
async fn handed_over(coordinator: &Coordinator) -> (Value, Uuid) {
    let runner = caller("runner", None);
    let ask = |operation: &'static str, request: Value| {
        let runner = &runner;
        async move { call(coordinator, runner, operation, request).await.unwrap() }
    };
    let id = ask("submit_changeset", json!({"revision": COMMIT})).await["changeset_id"].clone();
    let run = json!({"policy": "ci", "tier": 1, "executor": "github", "timeout_seconds": 600});
    let plan = json!({"changeset_id": id, "commit": COMMIT, "tree": "0123", "base": "0123", "runs": [run], "changed_total": 1});
    ask("plan_verification", plan).await;
    let nothing = ask("claim_verification", json!({"lease_seconds": 60})).await;
    assert_eq!(nothing["reason"], "nothing_to_verify", "a runner has to say that it can start workflows");
    let claimed = ask("claim_verification", json!({"lease_seconds": 60, "executors": ["github"]})).await;
    let run_id: Uuid = claimed["run_id"].as_str().unwrap().parse().unwrap();
    let external_id = external_id("ci.yml", run_id);
    let accepted =
        json!({"run_id": run_id, "token": claimed["token"], "verdict": "accepted", "external_id": external_id});
    ask("report_verification", accepted).await;
    (id, run_id)
}

async fn run(coordinator: &Coordinator, id: &Value) -> Value {
    let request = json!({"changeset_id": id});
    let answer = call(coordinator, &caller("ann", None), "get_changeset", request).await.unwrap();
    answer["changeset"]["runs"][0].clone()
}

fn trusting(fake: &Fake) -> std::sync::Arc<Coordinator> {
    follower_with(fake, |settings| settings.policy.default_trust = policy::Trust::Elevated)
}

fn branch_of(run_id: Uuid) -> String {
    format!("coordinator/verify/{run_id}")
}

#[tokio::test]
async fn a_workflow_s_end_is_heard_once() {
    let fake = Fake::start().await;
    let coordinator = trusting(&fake);
    let (id, run_id) = handed_over(&coordinator).await;
    fake.contents().start_workflow("ci.yml", &branch_of(run_id), COMMIT);
    fake.contents().end_workflow(1, "success");
    let [began, ended] = fake.contents().take_deliveries().try_into().unwrap();
    assert_eq!(deliver(&coordinator, &began).await.action, "ignored");
    // What is about another run, or is told by another repository, is none of it.
    for (field, other) in [
        ("head_branch", json!("main")),
        ("head_branch", json!(branch_of(Uuid::from_u128(7)))),
        ("head_sha", json!("00000000000000000000000000000000000000c2")),
        ("event", json!("push")),
        ("path", json!(".github/workflows/other.yml")),
    ] {
        let mut delivery = Delivery { id: format!("other-{field}"), ..ended.clone() };
        delivery.body["workflow_run"][field] = other;
        assert_eq!(deliver(&coordinator, &delivery).await.action, "ignored", "{field}");
    }
    let mut elsewhere = ended.clone();
    elsewhere.body["repository"]["full_name"] = json!("octo/other");
    assert_eq!(deliver(&coordinator, &elsewhere).await.action, "ignored");
    assert_eq!(run(&coordinator, &id).await["state"], "running");

    let received = deliver(&coordinator, &ended).await;
    assert_eq!((received.action, received.subjects), ("handled", vec![format!("ci of {COMMIT}")]));
    let passed = run(&coordinator, &id).await;
    assert_eq!((&passed["state"], &passed["log_url"]), (&json!("passed"), &json!("https://github.example/runs/1")));
    let before = trail(&coordinator).await.len();
    assert_eq!(deliver(&coordinator, &ended).await.action, "repeated");
    let again = Delivery { id: "again".into(), ..ended };
    assert_eq!(deliver(&coordinator, &again).await.action, "ignored");
    coordinator.sync_github(&fake.client()).await.unwrap();
    assert_eq!(run(&coordinator, &id).await, passed);
    let reports = trail(&coordinator).await.split_off(before);
    assert!(!reports.iter().any(|row| row.operation == "report_verification"), "{reports:?}");
}

#[tokio::test]
async fn a_lost_webhook_is_made_up_for_by_a_look() {
    let fake = Fake::start().await;
    let coordinator = trusting(&fake);
    let (id, run_id) = handed_over(&coordinator).await;
    fake.contents().start_workflow("ci.yml", "main", COMMIT);
    fake.contents().end_workflow(1, "failure");
    fake.contents().start_workflow("ci.yml", &branch_of(run_id), COMMIT);
    fake.contents().is_shaky = true;
    coordinator.sync_github(&fake.client()).await.unwrap();
    let runs = run(&coordinator, &id).await;
    assert_eq!((&runs["state"], &runs["log_url"]), (&json!("running"), &json!("https://github.example/runs/2")));
    fake.contents().end_workflow(2, "timed_out");
    fake.contents().take_deliveries();
    coordinator.pass_over_github(Some(&fake.client())).await.unwrap();
    let ended = run(&coordinator, &id).await;
    assert_eq!(
        (&ended["state"], &ended["evidence"]),
        (&json!("timed_out"), &json!("ci.yml took too long there: https://github.example/runs/2"))
    );
}
