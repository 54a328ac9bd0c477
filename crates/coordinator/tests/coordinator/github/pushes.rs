//! What is pushed is verified: each commit once, where there are policies.

use std::sync::Arc;

use coordinator::Coordinator;
use coordinator::github::webhook::Received;
use model::JsonText;
use model::command::{Action, Command};
use model::id::FeatureId;
use model::limits::Limits;
use model::merge_queue::{MergeState, MoveMerge};
use model::verification::ChangesetFilter;
use serde_json::json;
use uuid::Uuid;
use verification::Policies;

use super::fake::{Delivery, Fake};
use super::{deliver, follower, follower_with};
use crate::support::{call, caller, trail};

const POLICIES: &str = "[[verification]]\nname = 'tests'\nglobs = ['**']\ntier = 1\ncommand = ['true']\n";

fn verifying(fake: &Fake) -> Arc<Coordinator> {
    follower_with(fake, |settings| {
        settings.verification = Policies::parse(POLICIES).unwrap();
        settings.policy.default_trust = policy::Trust::Elevated;
    })
}

/// `agent trigger revision` of all changesets, oldest first.
async fn changesets(coordinator: &Coordinator) -> Vec<String> {
    let all = ChangesetFilter { limit: 100, ..ChangesetFilter::default() };
    let mut all = coordinator.store().changesets(coordinator.default_project(), &all).await.unwrap();
    all.reverse();
    all.iter().map(|c| format!("{} {} {}", c.agent_id, c.trigger.as_str(), c.revision)).collect()
}

/// Pushes to a branch, which is told; with what came of it.
async fn push(coordinator: &Coordinator, fake: &Fake, branch: &str) -> (Delivery, Received) {
    fake.contents().pass(1_000);
    fake.contents().push(branch, &["src/a.rs"]);
    let delivery = fake.contents().take_deliveries().remove(0);
    let received = deliver(coordinator, &delivery).await;
    (delivery, received)
}

/// Moves the feature `f` in the merge queue, whatever its checks would say.
async fn move_merge(coordinator: &Coordinator, state: MergeState) {
    let feature_id = FeatureId::new("f").unwrap();
    let checks = (state == MergeState::Ready).then(Vec::new);
    let command = Command {
        id: Uuid::now_v7(),
        caller: caller("ann", None),
        operation: "set_merge_state".into(),
        parameters: JsonText::new(&json!({})),
        duration_ms: 0,
        limits: Limits::NONE,
        approval: None,
        action: Action::MoveMerge(MoveMerge { feature_id, state, checks, note: None, commit: None }),
    };
    coordinator.store().apply(coordinator.default_project(), &[command]).await.unwrap();
}

fn commit(delivery: &Delivery) -> &str {
    delivery.body["after"].as_str().unwrap()
}

#[tokio::test]
async fn a_push_is_verified_once_however_often_it_is_told() {
    let fake = Fake::start().await;
    let coordinator = verifying(&fake);
    let (of_ann, received) = push(&coordinator, &fake, "agent/ann/1").await;
    assert!(received.changeset_id.is_some() && received.subjects == ["branch agent/ann/1"], "{received:?}");
    let (of_zoe, received) = push(&coordinator, &fake, "fix-login").await;
    assert!(received.changeset_id.is_some() && received.action == "handled", "{received:?}");
    let expected = [format!("ann branch {}", commit(&of_ann)), format!("zoe branch {}", commit(&of_zoe))];
    assert_eq!(changesets(&coordinator).await, expected);
    let rows = trail(&coordinator).await;
    let row = rows.iter().rfind(|row| row.operation == "submit_changeset").unwrap();
    assert_eq!((row.agent_id.as_str(), &row.parameters["github"]), ("zoe", &json!("branch fix-login")));

    for delivery in [&of_ann, &of_zoe] {
        let before = trail(&coordinator).await.len();
        assert_eq!(deliver(&coordinator, delivery).await.action, "repeated");
        assert_eq!(trail(&coordinator).await.len(), before);
        // Under another id, and the same commit on another branch.
        let again = Delivery { id: format!("again-{}", delivery.id), ..delivery.clone() };
        assert_eq!(deliver(&coordinator, &again).await.changeset_id, None);
        let mut elsewhere = Delivery { id: format!("elsewhere-{}", delivery.id), ..delivery.clone() };
        elsewhere.body["ref"] = json!("refs/heads/agent/bob/2");
        assert_eq!(deliver(&coordinator, &elsewhere).await.changeset_id, None);
    }
    // Nor once it is planned, and over.
    let plan = async |revision: &str, more: serde_json::Value| {
        let found = call(&coordinator, &caller("runner", None), "list_changesets", json!({})).await.unwrap();
        let all = found["changesets"].as_array().unwrap();
        let id = &all.iter().find(|changeset| changeset["revision"] == revision).unwrap()["changeset_id"];
        let mut plan = json!({"changeset_id": id, "commit": revision, "tree": "0123", "base": "0123"});
        plan.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        call(&coordinator, &caller("runner", None), "plan_verification", plan).await.unwrap()
    };
    assert_eq!(plan(commit(&of_ann), json!({})).await["state"], "passed", "nothing was for it");
    let again = Delivery { id: "once-more".into(), ..of_ann.clone() };
    assert_eq!(deliver(&coordinator, &again).await.changeset_id, None);
    assert_eq!(changesets(&coordinator).await, expected);
}

#[tokio::test]
async fn what_nobody_asks_for_and_what_is_verified_anyway_is_left_alone() {
    let fake = Fake::start().await;
    let nothing_to_do = follower(&fake);
    assert_eq!(push(&nothing_to_do, &fake, "agent/ann/1").await.1.action, "handled");
    assert_eq!(push(&nothing_to_do, &fake, "fix-login").await.1.action, "ignored");
    assert!(changesets(&nothing_to_do).await.is_empty());

    let coordinator = verifying(&fake);
    let own = push(&coordinator, &fake, "coordinator/verify/0197a9a4-0000-7000-8000-000000000001").await.1;
    assert_eq!((own.action, own.reason), ("ignored", Some("it is being verified there")));
    fake.contents().delete("fix-login");
    let deletion = fake.contents().take_deliveries();
    for delivery in &deletion {
        assert_eq!(deliver(&coordinator, delivery).await.changeset_id, None);
    }
    assert!(changesets(&coordinator).await.is_empty());

    // What the queue lands was verified as it is; what somebody else pushes to the target was not.
    let ann = caller("ann", None);
    let ask = async |operation: &'static str, request: serde_json::Value| {
        call(&coordinator, &ann, operation, request).await.unwrap()
    };
    ask("register_feature", json!({"feature_id": "f", "resource_claims": ["src"], "branch_name": "agent/ann/1"})).await;
    ask("enqueue_merge", json!({"feature_id": "f"})).await;
    for state in [MergeState::PreMergeCheck, MergeState::Ready, MergeState::Merging] {
        move_merge(&coordinator, state).await;
    }
    let landed = push(&coordinator, &fake, "main").await;
    assert_eq!(landed.1.reason, Some("the merge queue lands it, as it was verified"));
    ask("mark_merged", json!({"feature_id": "f", "commit": commit(&landed.0)})).await;
    let late = Delivery { id: "late".into(), ..landed.0 };
    assert_eq!(deliver(&coordinator, &late).await.action, "ignored");
    assert!(push(&coordinator, &fake, "main").await.1.changeset_id.is_some());
}

#[tokio::test]
async fn an_agent_that_may_do_nothing_has_nothing_verified() {
    let fake = Fake::start().await;
    let coordinator = follower_with(&fake, |settings| {
        settings.verification = Policies::parse(POLICIES).unwrap();
        settings.policy.default_trust = policy::Trust::Untrusted;
    });
    assert_eq!(push(&coordinator, &fake, "agent/ann/1").await.1.changeset_id, None);
    assert!(changesets(&coordinator).await.is_empty());
}
