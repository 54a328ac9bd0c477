//! Approvals: who may give one, what it lets through, and how often.

use model::approvals::{
    Approval, ApprovalFilter, ApprovalScope, ApprovalStatus, DecideApproval, Pass, RequestApproval, Subject, Verdict,
};
use model::audit::AuditFilter;
use model::command::{Action, Command, Outcome, Refusal};
use model::id::Caller;
use uuid::Uuid;

use crate::harness::*;

cases!(
    a_request_waits_for_somebody_else,
    a_refusal_and_its_request_are_one_row,
    who_asks_again_is_told_of_the_open_request,
    nobody_decides_about_a_request_of_its_own,
    an_approval_lets_one_command_through_once,
    two_commands_of_a_batch_do_not_share_an_approval,
    an_approval_for_a_session_holds_there_and_nowhere_else,
    an_approval_is_for_its_agent_and_its_subject_only,
    what_is_refused_for_another_reason_uses_nothing_up,
    requests_and_approvals_end_by_themselves,
    an_approval_can_be_taken_back,
    what_is_decided_stays_decided,
    requests_are_listed_newest_first_by_all_conditions,
);

const HOUR: u32 = 3600;

fn subject(fingerprint: &str) -> Subject {
    Subject {
        operation: "run_command".into(),
        resource: "git push --force".into(),
        fingerprint: fingerprint.into(),
        reason: "it's – \"needed\"".into(),
    }
}

fn ask(fingerprint: &str) -> Action {
    Action::RequestApproval(RequestApproval {
        approval_id: Uuid::now_v7(),
        subject: subject(fingerprint),
        ttl_seconds: HOUR,
        refusal: None,
    })
}

fn decide(approval_id: Uuid, verdict: Verdict, scope: ApprovalScope) -> Action {
    Action::DecideApproval(DecideApproval { approval_id, verdict, scope, ttl_seconds: HOUR, note: Some("fine".into()) })
}

fn approve(approval_id: Uuid) -> Action {
    decide(approval_id, Verdict::Approve, ApprovalScope::Once)
}

fn with(approval_id: Uuid, fingerprint: &str, command: Command) -> Command {
    let pass = Pass { approval_id, operation: "run_command".into(), fingerprint: fingerprint.into() };
    Command { approval: Some(pass), ..command }
}

/// What comes of using it.
async fn used(world: &World, who: &Caller, approval_id: Uuid, fingerprint: &str) -> Outcome {
    world.all(&[with(approval_id, fingerprint, command(who, Action::UseApproval))]).await.remove(0)
}

async fn asked(world: &World, who: &Caller, fingerprint: &str) -> Uuid {
    match world.run(who, ask(fingerprint)).await {
        Outcome::ApprovalRequested { approval_id, status: ApprovalStatus::Pending, repeated: false, .. } => approval_id,
        other => panic!("not asked: {other:?}"),
    }
}

async fn found(world: &World, filter: ApprovalFilter) -> Vec<Approval> {
    world.store.approvals(&world.project, &ApprovalFilter { limit: 100, ..filter }).await.unwrap()
}

async fn status(world: &World, approval_id: Uuid) -> ApprovalStatus {
    found(world, ApprovalFilter { approval_id: Some(approval_id), ..Default::default() }).await.remove(0).status
}

async fn a_request_waits_for_somebody_else(world: &World) {
    let ann = agent_in("ann", "s1");
    let id = asked(world, &ann, "f").await;
    let expected = Approval {
        approval_id: id,
        seq: 1,
        agent_id: ann.agent_id.clone(),
        agent_type: ann.agent_type.clone(),
        session_id: ann.session_id.clone(),
        subject: subject("f"),
        status: ApprovalStatus::Pending,
        scope: None,
        requested_at: world.now(),
        expires_at: world.now() + seconds(HOUR.into()),
        decided_by: None,
        decided_at: None,
        note: None,
        used_at: None,
    };
    assert_eq!(found(world, ApprovalFilter::default()).await, [expected.clone()]);
    world.pass(seconds(5)).await;
    let boss = agent("boss");
    let outcome = world.run(&boss, decide(id, Verdict::Approve, ApprovalScope::Session)).await;
    let expires_at = world.now() + seconds(HOUR.into());
    assert_eq!(outcome, Outcome::ApprovalDecided { approval_id: id, status: ApprovalStatus::Approved, expires_at });
    let decided = Approval {
        status: ApprovalStatus::Approved,
        scope: Some(ApprovalScope::Session),
        expires_at,
        decided_by: Some(boss.agent_id),
        decided_at: Some(world.now()),
        note: Some("fine".into()),
        ..expected
    };
    assert_eq!(found(world, ApprovalFilter::default()).await, [decided]);
    assert_eq!(world.reopened().await.is_none(), world.engine() == Engine::Memory);
}

async fn a_refusal_and_its_request_are_one_row(world: &World) {
    let refusal = Refusal::CredentialFileProtected { operation: "run_command".into(), rules: vec!["a.b".into()] };
    let request = RequestApproval {
        approval_id: Uuid::now_v7(),
        subject: subject("f"),
        ttl_seconds: HOUR,
        refusal: Some(refusal.clone()),
    };
    let outcome = world.run(&agent("ann"), Action::RequestApproval(request)).await;
    assert!(matches!(&outcome, Outcome::ApprovalRequested { refusal: Some(r), .. } if *r == refusal), "{outcome:?}");
    assert!(!outcome.is_success());
    let rows = world.store.audit(&world.project, &AuditFilter { limit: 10, ..Default::default() }).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].success, rows[0].error_message.as_deref()), (false, Some("credential_file_protected")));
}

async fn who_asks_again_is_told_of_the_open_request(world: &World) {
    let ann = agent_in("ann", "s1");
    let first = asked(world, &ann, "f").await;
    let outcome = world.run(&ann, ask("f")).await;
    assert!(
        matches!(outcome, Outcome::ApprovalRequested { approval_id, repeated: true, .. } if approval_id == first),
        "{outcome:?}"
    );
    // Another subject, another session and another agent ask for themselves.
    for (who, fingerprint) in [(&ann, "g"), (&agent_in("ann", "s2"), "f"), (&agent("ann"), "f"), (&agent("bob"), "f")] {
        assert_ne!(asked(world, who, fingerprint).await, first);
    }
    world.run(&agent("boss"), decide(first, Verdict::Deny, ApprovalScope::Once)).await;
    assert_ne!(asked(world, &ann, "f").await, first);
}

async fn nobody_decides_about_a_request_of_its_own(world: &World) {
    let id = asked(world, &agent_in("ann", "s1"), "f").await;
    for verdict in [Verdict::Approve, Verdict::Deny] {
        let outcome = world.run(&agent_in("ann", "s2"), decide(id, verdict, ApprovalScope::Once)).await;
        assert_eq!(outcome, Outcome::Refused(Refusal::OwnApproval { approval_id: id }));
    }
    let nowhere = Uuid::now_v7();
    let outcome = world.run(&agent("boss"), approve(nowhere)).await;
    assert_eq!(outcome, Outcome::Refused(Refusal::ApprovalNotFound { approval_id: nowhere }));
    let elsewhere = world.in_project("field").run(&agent("boss"), approve(id)).await;
    assert_eq!(elsewhere, Outcome::Refused(Refusal::ApprovalNotFound { approval_id: id }));
    assert_eq!(status(world, id).await, ApprovalStatus::Pending);
}

async fn an_approval_lets_one_command_through_once(world: &World) {
    let ann = agent("ann");
    let id = asked(world, &ann, "f").await;
    let settled = |status| Outcome::Refused(Refusal::ApprovalSettled { approval_id: id, status });
    assert_eq!(used(world, &ann, id, "f").await, settled(ApprovalStatus::Pending));
    world.run(&agent("boss"), approve(id)).await;
    world.pass(seconds(1)).await;
    assert_eq!(used(world, &ann, id, "f").await, Outcome::ApprovalUsed { approval_id: id });
    let approval = found(world, ApprovalFilter::default()).await.remove(0);
    assert_eq!((approval.status, approval.used_at), (ApprovalStatus::Used, Some(world.now())));
    assert_eq!(used(world, &ann, id, "f").await, settled(ApprovalStatus::Used));
    let outcome = world.run(&ann, Action::UseApproval).await;
    assert_eq!(outcome, Outcome::Refused(Refusal::ApprovalNotFound { approval_id: Uuid::nil() }));
}

async fn two_commands_of_a_batch_do_not_share_an_approval(world: &World) {
    let ann = agent("ann");
    let id = asked(world, &ann, "f").await;
    world.run(&agent("boss"), approve(id)).await;
    let batch = [0, 1].map(|_| with(id, "f", command(&ann, acquire(&["src"]))));
    let outcomes = world.all(&batch).await;
    assert!(matches!(outcomes[0], Outcome::Acquired { .. }), "{outcomes:?}");
    let status = ApprovalStatus::Used;
    assert_eq!(outcomes[1], Outcome::Refused(Refusal::ApprovalSettled { approval_id: id, status }));
}

async fn an_approval_for_a_session_holds_there_and_nowhere_else(world: &World) {
    let ann = agent_in("ann", "s1");
    let id = asked(world, &ann, "f").await;
    world.run(&agent("boss"), decide(id, Verdict::Approve, ApprovalScope::Session)).await;
    for _ in 0..2 {
        assert_eq!(used(world, &ann, id, "f").await, Outcome::ApprovalUsed { approval_id: id });
    }
    for other in [agent_in("ann", "s2"), agent("ann")] {
        let outcome = used(world, &other, id, "f").await;
        assert_eq!(outcome, Outcome::Refused(Refusal::ApprovalMismatch { approval_id: id }));
    }
    assert_eq!(status(world, id).await, ApprovalStatus::Approved);
}

async fn an_approval_is_for_its_agent_and_its_subject_only(world: &World) {
    let ann = agent("ann");
    let id = asked(world, &ann, "f").await;
    world.run(&agent("boss"), approve(id)).await;
    let mismatch = Outcome::Refused(Refusal::ApprovalMismatch { approval_id: id });
    assert_eq!(used(world, &agent("bob"), id, "f").await, mismatch);
    assert_eq!(used(world, &ann, id, "g").await, mismatch);
    let pass = Pass { approval_id: id, operation: "complete_work".into(), fingerprint: "f".into() };
    let other = Command { approval: Some(pass), ..command(&ann, Action::UseApproval) };
    assert_eq!(world.all(&[other]).await, [mismatch]);
    let elsewhere = used(&world.in_project("field"), &ann, id, "f").await;
    assert_eq!(elsewhere, Outcome::Refused(Refusal::ApprovalNotFound { approval_id: id }));
    assert_eq!(status(world, id).await, ApprovalStatus::Approved);
}

async fn what_is_refused_for_another_reason_uses_nothing_up(world: &World) {
    let ann = agent("ann");
    world.take(&agent("bob"), "src").await;
    let id = asked(world, &ann, "f").await;
    world.run(&agent("boss"), approve(id)).await;
    let blocked = world.all(&[with(id, "f", command(&ann, acquire(&["src"])))]).await.remove(0);
    assert!(matches!(blocked, Outcome::Blocked(_)), "{blocked:?}");
    let waiting = world.all(&[with(id, "f", command(&ann, queue(&["src"], ticket(1))))]).await.remove(0);
    assert!(matches!(waiting, Outcome::Waiting(_)), "{waiting:?}");
    assert_eq!(status(world, id).await, ApprovalStatus::Approved);
}

async fn requests_and_approvals_end_by_themselves(world: &World) {
    let (ann, boss) = (agent("ann"), agent("boss"));
    let undecided = asked(world, &ann, "f").await;
    let unused = asked(world, &ann, "g").await;
    world.pass(seconds(10)).await;
    world.run(&boss, approve(unused)).await;
    world.pass(seconds(i64::from(HOUR) - 10) - MOMENT).await;
    assert_eq!(status(world, undecided).await, ApprovalStatus::Pending);
    world.pass(MOMENT).await;
    assert_eq!(world.store.due_projects().await.unwrap(), [world.project.clone()]);
    assert_eq!(status(world, undecided).await, ApprovalStatus::Expired);
    assert_eq!(status(world, unused).await, ApprovalStatus::Approved);
    world.pass(seconds(10)).await;
    let expired = Refusal::ApprovalSettled { approval_id: unused, status: ApprovalStatus::Expired };
    assert_eq!(used(world, &ann, unused, "g").await, Outcome::Refused(expired));
    let rows = world
        .store
        .audit(
            &world.project,
            &AuditFilter { operation: Some("expire_approval".into()), limit: 10, ..Default::default() },
        )
        .await
        .unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].parameters, serde_json::json!({"approval_id": unused, "agent_id": "ann"}));
}

async fn an_approval_can_be_taken_back(world: &World) {
    let (ann, boss) = (agent("ann"), agent("boss"));
    let id = asked(world, &ann, "f").await;
    world.run(&boss, decide(id, Verdict::Approve, ApprovalScope::Session)).await;
    let outcome = world.run(&agent("chief"), decide(id, Verdict::Deny, ApprovalScope::Once)).await;
    assert!(matches!(outcome, Outcome::ApprovalDecided { status: ApprovalStatus::Denied, .. }), "{outcome:?}");
    let denied = Refusal::ApprovalSettled { approval_id: id, status: ApprovalStatus::Denied };
    assert_eq!(used(world, &ann, id, "f").await, Outcome::Refused(denied));
}

async fn what_is_decided_stays_decided(world: &World) {
    let (ann, boss) = (agent("ann"), agent("boss"));
    let id = asked(world, &ann, "f").await;
    world.run(&boss, approve(id)).await;
    let settled = |status| Outcome::Refused(Refusal::ApprovalSettled { approval_id: id, status });
    assert_eq!(world.run(&boss, approve(id)).await, settled(ApprovalStatus::Approved));
    used(world, &ann, id, "f").await;
    for verdict in [Verdict::Approve, Verdict::Deny] {
        let outcome = world.run(&boss, decide(id, verdict, ApprovalScope::Once)).await;
        assert_eq!(outcome, settled(ApprovalStatus::Used));
    }
}

async fn requests_are_listed_newest_first_by_all_conditions(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    let a = asked(world, &ann, "f").await;
    let b = asked(world, &bob, "f").await;
    let c = asked(world, &ann, "g").await;
    world.run(&agent("boss"), approve(b)).await;
    let ids = async |filter| -> Vec<Uuid> { found(world, filter).await.iter().map(|a| a.approval_id).collect() };
    let any = ApprovalFilter::default();
    assert_eq!(ids(any.clone()).await, [c, b, a]);
    assert_eq!(ids(ApprovalFilter { status: Some(ApprovalStatus::Pending), ..any.clone() }).await, [c, a]);
    assert_eq!(ids(ApprovalFilter { agent_id: Some(ann.agent_id.clone()), ..any.clone() }).await, [c, a]);
    assert_eq!(ids(ApprovalFilter { fingerprint: Some("f".into()), ..any.clone() }).await, [b, a]);
    assert_eq!(ids(ApprovalFilter { before: Some(3), ..any.clone() }).await, [b, a]);
    let page = ApprovalFilter { limit: 1, before: Some(3), ..any };
    let page = world.store.approvals(&world.project, &page).await.unwrap();
    assert_eq!(page.len(), 1);
    assert!(found(&world.in_project("field"), ApprovalFilter::default()).await.is_empty());
}
