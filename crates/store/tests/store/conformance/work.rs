//! The work queue: who gets which task, and what becomes of it.

use model::JsonText;
use model::command::{Claim, Complete, Finish, Outcome, Refusal, Submit};
use model::id::{AgentId, Caller};
use model::work::{CANCELLED, DEADLINE_EXCEEDED, DEPENDENCY_FAILED, LEASE_LAPSED, TaskFilter, TaskStatus};
use uuid::Uuid;

use crate::harness::*;

cases!(
    a_submitted_task_is_kept_with_all_its_fields,
    a_claimed_task_is_given_with_all_its_fields,
    tasks_are_claimed_by_priority_and_then_by_age,
    a_task_is_claimed_once,
    only_the_types_asked_for_are_claimed,
    an_assigned_task_is_for_its_assignee,
    a_task_needs_a_worker_who_can,
    a_task_waits_for_all_its_dependencies,
    an_unknown_dependency_is_refused,
    a_failed_dependency_is_refused,
    a_completed_dependency_is_no_obstacle,
    a_failure_fails_all_that_depends_on_it,
    a_retry_does_not_fail_the_dependents,
    only_the_holder_completes,
    a_task_is_completed_once,
    a_stale_token_completes_nothing,
    a_failed_task_is_tried_again_after_a_pause_that_doubles,
    the_last_attempt_fails_the_task,
    cancelling_by_completion_is_not_retried,
    what_the_worker_gave_is_kept_to_the_letter,
    a_lapsed_claim_goes_back_to_the_queue_at_its_instant,
    a_lapsed_last_attempt_fails_the_task_and_its_dependents,
    a_heartbeat_renews_the_claim,
    a_heartbeat_renews_the_claims_of_its_session_only,
    an_anonymous_heartbeat_renews_all_of_the_agents_claims,
    a_task_not_begun_by_its_deadline_fails,
    a_deadline_that_is_past_is_refused,
    a_task_begun_in_time_may_end_late,
    a_failure_is_final_when_a_retry_would_come_past_the_deadline,
    a_retry_not_begun_by_the_deadline_fails,
    a_lapsed_claim_past_the_deadline_fails,
    the_same_submission_twice_is_one_task,
    another_submission_under_the_same_idempotency_key_is_refused,
    an_idempotency_key_outlives_its_task,
    any_task_can_be_cancelled_until_it_has_ended,
    a_cancelled_task_fails_its_dependents,
    any_task_can_be_finished_until_it_has_ended,
    tasks_are_listed_newest_first_and_paged,
    an_unknown_task_is_none,
);

fn named(kind: &str) -> Submit {
    Submit { task_type: kind.into(), ..task() }
}

fn id(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

async fn ended(world: &World, who: &Caller, what: Complete) -> TaskStatus {
    match world.run(who, what).await {
        Outcome::Ended { status, .. } => status,
        other => panic!("not ended: {other:?}"),
    }
}

async fn a_submitted_task_is_kept_with_all_its_fields(world: &World) {
    let first = world.add(task()).await;
    let input = r#"{"z":1,"a":[1.0,1e2,123456789012345678901234567890,"é\u0007"],"z2":null}"#;
    let request = Submit {
        task_type: "it's".into(),
        description: "\"quoted\"\nover two lines – ünï".into(),
        input_data: Some(JsonText::from_trusted(input.into())),
        priority: 1,
        depends_on: vec![first],
        deadline: Some(world.now() + seconds(3600)),
        max_attempts: 7,
        idempotency_key: Some("once".into()),
        fingerprint: "print".into(),
        required_capability: Some("rust".into()),
        assignee: Some(id("bob")),
        feature_id: Some("f".into()),
        ..task()
    };
    let task_id = world.add(request.clone()).await;
    assert_eq!(task_id, request.task_id);
    let task = world.task(task_id).await;
    assert_eq!(task.task_type, request.task_type);
    assert_eq!(task.description, request.description);
    assert_eq!(task.input_data.as_ref().map(JsonText::as_str), Some(input), "to the letter");
    assert_eq!(task.priority, 1);
    assert_eq!(task.status, TaskStatus::Pending);
    assert_eq!(task.depends_on, [first]);
    assert_eq!(task.open_dependencies, 1);
    assert_eq!(task.deadline, request.deadline);
    assert_eq!((task.max_attempts, task.attempt), (7, 0));
    assert_eq!(task.idempotency_key, request.idempotency_key);
    assert_eq!(task.fingerprint, "print");
    assert_eq!(task.required_capability, request.required_capability);
    assert_eq!(task.assignee, request.assignee);
    assert_eq!(task.feature_id, request.feature_id);
    assert_eq!(task.created_by, id("boss"));
    assert_eq!(task.created_at, world.now());
    assert_eq!((task.claimed_by, task.session_id, task.fencing_token), (None, None, None));
    assert_eq!((task.lease_expires_at, task.not_before, task.claimed_at), (None, None, None));
    assert_eq!((task.result, task.error_code, task.error_message, task.completed_at), (None, None, None, None));
    assert!(task.seq > world.task(first).await.seq);
}

async fn a_claimed_task_is_given_with_all_its_fields(world: &World) {
    let task_id = world.add(Submit { input_data: Some(JsonText::from_trusted("[1]".into())), ..task() }).await;
    world.pass(seconds(5)).await;
    let bob = agent_in("bob", "s1");
    let task = world.claims(&bob, task_id).await;
    assert_eq!(task, world.task(task_id).await);
    assert_eq!(task.status, TaskStatus::Claimed);
    assert_eq!(task.attempt, 1);
    assert_eq!(task.claimed_by, Some(id("bob")));
    assert_eq!(task.session_id, bob.session_id);
    assert_eq!(task.claimed_at, Some(world.now()));
    assert_eq!(task.lease_seconds, 60);
    assert_eq!(task.lease_expires_at, Some(world.now() + seconds(60)));
    assert!(task.fencing_token.unwrap() > task.seq);
}

async fn tasks_are_claimed_by_priority_and_then_by_age(world: &World) {
    let mut expected = vec![];
    for priority in [5, 3, 10, 3, 1, 5] {
        expected.push((priority, world.add(Submit { priority, ..task() }).await));
    }
    expected.sort_by_key(|(priority, _)| *priority);
    for (_, id) in expected {
        world.claims(&agent("bob"), id).await;
    }
    world.claims_nothing(&agent("bob")).await;
}

async fn a_task_is_claimed_once(world: &World) {
    let only = world.add(task()).await;
    let claims: Vec<_> = ["bob", "cid", "dot"].map(|who| command(&agent(who), claim())).to_vec();
    let mut outcomes = world.all(&claims).await;
    assert_eq!(claimed(outcomes.remove(0)).task_id, only);
    assert_eq!(outcomes, [Outcome::NoTask, Outcome::NoTask]);
}

async fn only_the_types_asked_for_are_claimed(world: &World) {
    let bob = agent("bob");
    world.add(named("build")).await;
    let test = world.add(named("test")).await;
    let lint = world.add(named("it's \"lint\"")).await;
    let of = |types: &[&str]| Claim { task_types: Some(types.iter().map(|t| (*t).into()).collect()), ..claim() };
    assert_eq!(world.run(&bob, of(&["deploy", "Build", "buil"])).await, Outcome::NoTask);
    assert_eq!(world.run(&bob, of(&[])).await, Outcome::NoTask);
    assert_eq!(claimed(world.run(&bob, of(&["it's \"lint\"", "test"])).await).task_id, test);
    assert_eq!(claimed(world.run(&bob, of(&["it's \"lint\"", "test"])).await).task_id, lint);
}

async fn an_assigned_task_is_for_its_assignee(world: &World) {
    let task_id = world.add(Submit { assignee: Some(id("bob")), priority: 1, ..task() }).await;
    let other = world.add(task()).await;
    world.claims(&agent("Bob"), other).await;
    world.claims_nothing(&agent("cid")).await;
    world.claims(&agent("bob"), task_id).await;
}

async fn a_task_needs_a_worker_who_can(world: &World) {
    let (ann, bob) = (agent_in("ann", "s1"), agent_in("bob", "s2"));
    world.run(&ann, register(&["go", "rust"])).await;
    world.run(&bob, register(&["c++"])).await;
    let task_id = world.add(Submit { required_capability: Some("rust".into()), ..task() }).await;
    world.claims_nothing(&bob).await;
    world.claims_nothing(&agent("cid")).await;
    world.pass(seconds(1)).await;
    world.claims(&agent("ann"), task_id).await;
    world.add(Submit { required_capability: Some("c++".into()), ..task() }).await;
    world.run(&bob, register(&["c"])).await;
    world.claims_nothing(&bob).await;
    world.pass(seconds(301)).await;
    world.add(Submit { required_capability: Some("go".into()), ..task() }).await;
    world.claims_nothing(&agent("ann")).await;
}

async fn a_task_waits_for_all_its_dependencies(world: &World) {
    let bob = agent("bob");
    let (first, second) = (world.add(task()).await, world.add(task()).await);
    let last = world.add(Submit { priority: 1, ..task_after(&[first, second]) }).await;
    assert_eq!(world.task(last).await.open_dependencies, 2);
    world.claims(&bob, first).await;
    world.claims(&bob, second).await;
    world.claims_nothing(&bob).await;
    assert_eq!(ended(world, &bob, complete(second)).await, TaskStatus::Completed);
    assert_eq!(world.task(last).await.open_dependencies, 1);
    world.claims_nothing(&bob).await;
    ended(world, &bob, complete(first)).await;
    assert_eq!(world.task(last).await.open_dependencies, 0);
    world.claims(&bob, last).await;
}

async fn an_unknown_dependency_is_refused(world: &World) {
    let known = world.add(task()).await;
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let refusal = refused(world.run(&agent("boss"), task_after(&[known, two, one])).await);
    assert_eq!(refusal, Refusal::UnknownDependency { task_ids: vec![one, two] });
    // A task cannot wait for itself, nor, therefore, for one that waits for it.
    let itself = task();
    let refusal =
        refused(world.run(&agent("boss"), Submit { depends_on: vec![itself.task_id], ..itself.clone() }).await);
    assert_eq!(refusal, Refusal::UnknownDependency { task_ids: vec![itself.task_id] });
    assert_eq!(world.store.task(&world.project, itself.task_id).await.unwrap(), None);
}

async fn a_failed_dependency_is_refused(world: &World) {
    let (good, bad) = (world.add(task()).await, world.add(task()).await);
    world.run(&agent("boss"), cancel(bad)).await;
    let refusal = refused(world.run(&agent("boss"), task_after(&[good, bad])).await);
    assert_eq!(refusal, Refusal::DependencyFailed { task_id: bad });
}

async fn a_completed_dependency_is_no_obstacle(world: &World) {
    let bob = agent("bob");
    let first = world.add(task()).await;
    world.claims(&bob, first).await;
    ended(world, &bob, complete(first)).await;
    let second = world.add(task_after(&[first])).await;
    assert_eq!(world.task(second).await.open_dependencies, 0);
    world.claims(&bob, second).await;
}

async fn a_failure_fails_all_that_depends_on_it(world: &World) {
    let bob = agent("bob");
    let root = world.add(Submit { max_attempts: 1, ..named("root") }).await;
    let other = world.add(task()).await;
    let left = world.add(Submit { depends_on: vec![root], ..named("left") }).await;
    let right = world.add(Submit { ..task_after(&[root, other]) }).await;
    let bottom = world.add(task_after(&[left, right])).await;
    let apart = world.add(task_after(&[other])).await;
    world.claims(&bob, root).await;
    match world.run(&bob, fail(root)).await {
        Outcome::Ended { task_id, status, retry_at, failed_dependents } => {
            assert_eq!((task_id, status, retry_at), (root, TaskStatus::Failed, None));
            assert_eq!(failed_dependents, [left, right, bottom], "in the order in which they fell");
        }
        other => panic!("{other:?}"),
    }
    for (id, cause) in [(left, root), (right, root), (bottom, left)] {
        let task = world.task(id).await;
        assert_eq!(task.status, TaskStatus::Failed);
        assert_eq!(task.error_code.as_deref(), Some(DEPENDENCY_FAILED));
        assert!(task.error_message.as_ref().unwrap().contains(&cause.to_string()), "{:?}", task.error_message);
        assert_eq!(task.completed_at, Some(world.now()));
    }
    assert!(world.task(bottom).await.error_message.unwrap().contains("left"), "the type is named too");
    assert_eq!(world.task(apart).await.status, TaskStatus::Pending);
}

async fn a_retry_does_not_fail_the_dependents(world: &World) {
    let bob = agent("bob");
    let first = world.add(task()).await;
    let second = world.add(task_after(&[first])).await;
    world.claims(&bob, first).await;
    assert_eq!(ended(world, &bob, fail(first)).await, TaskStatus::Pending);
    assert_eq!(world.task(second).await.status, TaskStatus::Pending);
    world.pass(seconds(5)).await;
    world.claims(&bob, first).await;
    ended(world, &bob, complete(first)).await;
    world.claims(&bob, second).await;
}

async fn only_the_holder_completes(world: &World) {
    let (bob, cid) = (agent("bob"), agent("cid"));
    let id = world.add(task()).await;
    let no = Refusal::TaskNotFoundOrNotClaimedByAgent;
    assert_eq!(refused(world.run(&bob, complete(id)).await), no, "claimed by nobody");
    let token = world.claims(&bob, id).await.fencing_token;
    let before = world.task(id).await;
    assert_eq!(refused(world.run(&cid, complete(id)).await), no);
    assert_eq!(refused(world.run(&cid, Complete { fencing_token: token, ..fail(id) }).await), no);
    assert_eq!(refused(world.run(&bob, complete(Uuid::from_u128(1))).await), no, "unknown");
    assert_eq!(world.task(id).await, before);
    assert_eq!(ended(world, &agent_in("bob", "another-run"), complete(id)).await, TaskStatus::Completed);
}

async fn a_task_is_completed_once(world: &World) {
    let bob = agent("bob");
    let id = world.add(task()).await;
    world.claims(&bob, id).await;
    ended(world, &bob, complete(id)).await;
    let before = world.task(id).await;
    assert_eq!(before.completed_at, Some(world.now()));
    for again in [complete(id), fail(id)] {
        assert_eq!(refused(world.run(&bob, again).await), Refusal::TaskNotFoundOrNotClaimedByAgent);
    }
    assert_eq!(world.task(id).await, before);
    world.claims_nothing(&bob).await;
}

async fn a_stale_token_completes_nothing(world: &World) {
    let bob = agent("bob");
    let id = world.add(task()).await;
    let old = world.claims(&bob, id).await.fencing_token.unwrap();
    world.pass(seconds(60)).await;
    let proven = |given: i64| Complete { fencing_token: Some(given), ..complete(id) };
    assert_eq!(refused(world.run(&bob, proven(old)).await), Refusal::TaskNotFoundOrNotClaimedByAgent);
    let current = world.claims(&bob, id).await.fencing_token.unwrap();
    assert!(current > old);
    assert_eq!(
        refused(world.run(&bob, proven(old)).await),
        Refusal::StaleFencingToken { target: id.to_string(), given: old, current: Some(current) }
    );
    assert_eq!(world.task(id).await.status, TaskStatus::Claimed);
    assert_eq!(ended(world, &bob, proven(current)).await, TaskStatus::Completed);
}

async fn a_failed_task_is_tried_again_after_a_pause_that_doubles(world: &World) {
    let bob = agent("bob");
    let id = world.add(Submit { max_attempts: 10, ..task() }).await;
    for (attempt, pause) in (1..).zip([5, 10, 20, 40, 80, 160, 300, 300, 300]) {
        assert_eq!(world.claims(&bob, id).await.attempt, attempt);
        let retry_at = Some(world.now() + seconds(pause));
        assert_eq!(
            world.run(&bob, fail(id)).await,
            Outcome::Ended { task_id: id, status: TaskStatus::Pending, retry_at, failed_dependents: vec![] }
        );
        let task = world.task(id).await;
        assert_eq!((task.status, task.not_before), (TaskStatus::Pending, retry_at));
        assert_eq!((task.session_id, task.fencing_token, task.lease_expires_at), (None, None, None));
        assert_eq!(task.error_message.as_deref(), Some("it broke"));
        world.pass(seconds(pause) - MOMENT).await;
        world.claims_nothing(&bob).await;
        world.pass(MOMENT).await;
    }
    world.claims(&bob, id).await;
    assert_eq!(world.task(id).await.not_before, None);
    assert_eq!(ended(world, &bob, fail(id)).await, TaskStatus::Failed);
}

async fn the_last_attempt_fails_the_task(world: &World) {
    let bob = agent("bob");
    let id = world.add(Submit { max_attempts: 2, ..task() }).await;
    world.claims(&bob, id).await;
    assert_eq!(ended(world, &bob, fail(id)).await, TaskStatus::Pending);
    world.pass(seconds(5)).await;
    world.claims(&bob, id).await;
    let last = Complete { error_code: Some("broken".into()), ..fail(id) };
    assert_eq!(ended(world, &bob, last).await, TaskStatus::Failed);
    let task = world.task(id).await;
    assert_eq!(task.status, TaskStatus::Failed);
    assert_eq!(task.error_code.as_deref(), Some("broken"));
    assert_eq!((task.lease_expires_at, task.not_before), (None, None));
    assert_eq!(task.completed_at, Some(world.now()));
    world.pass(seconds(3600)).await;
    world.claims_nothing(&bob).await;
}

async fn cancelling_by_completion_is_not_retried(world: &World) {
    let bob = agent("bob");
    let id = world.add(task()).await;
    let dependent = world.add(task_after(&[id])).await;
    world.claims(&bob, id).await;
    let outcome = world.run(&bob, Complete { error_code: Some(CANCELLED.into()), ..fail(id) }).await;
    assert_eq!(
        outcome,
        Outcome::Ended { task_id: id, status: TaskStatus::Failed, retry_at: None, failed_dependents: vec![dependent] }
    );
}

async fn what_the_worker_gave_is_kept_to_the_letter(world: &World) {
    let bob = agent("bob");
    let id = world.add(task()).await;
    world.claims(&bob, id).await;
    let given = r#"{"b":1.50,"a":"\u00e9 ' \\","a":2}"#;
    let done = Complete { result: Some(JsonText::from_trusted(given.into())), ..complete(id) };
    ended(world, &bob, done).await;
    assert_eq!(world.task(id).await.result.unwrap().as_str(), given);
}

async fn a_lapsed_claim_goes_back_to_the_queue_at_its_instant(world: &World) {
    let (bob, cid) = (agent("bob"), agent("cid"));
    let id = world.add(task()).await;
    world.claims(&bob, id).await;
    world.pass(seconds(60) - MOMENT).await;
    world.claims_nothing(&cid).await;
    assert_eq!(world.task(id).await.status, TaskStatus::Claimed);
    assert!(world.store.due_projects().await.unwrap().is_empty());
    world.pass(MOMENT).await;
    same(world.store.due_projects().await.unwrap(), &["house"]);
    let task = world.task(id).await;
    assert_eq!(task.status, TaskStatus::Pending);
    assert_eq!((task.session_id, task.fencing_token, task.lease_expires_at), (None, None, None));
    assert_eq!(task.error_code.as_deref(), Some(LEASE_LAPSED));
    assert!(task.error_message.unwrap().contains("bob"));
    assert_eq!(refused(world.run(&bob, complete(id)).await), Refusal::TaskNotFoundOrNotClaimedByAgent);
    assert_eq!(world.claims(&cid, id).await.attempt, 2, "at once, without a pause");
    assert_eq!(refused(world.run(&bob, complete(id)).await), Refusal::TaskNotFoundOrNotClaimedByAgent);
}

async fn a_lapsed_last_attempt_fails_the_task_and_its_dependents(world: &World) {
    let bob = agent("bob");
    let id = world.add(Submit { max_attempts: 2, ..task() }).await;
    let dependent = world.add(task_after(&[id])).await;
    for _ in 0..2 {
        world.claims(&bob, id).await;
        world.pass(seconds(60)).await;
    }
    world.claims_nothing(&bob).await;
    let task = world.task(id).await;
    assert_eq!((task.status, task.error_code.as_deref()), (TaskStatus::Failed, Some(LEASE_LAPSED)));
    assert_eq!(task.completed_at, Some(world.now()));
    assert_eq!(world.task(dependent).await.error_code.as_deref(), Some(DEPENDENCY_FAILED));
}

async fn a_heartbeat_renews_the_claim(world: &World) {
    let bob = agent("bob");
    let id = world.add(task()).await;
    world.claims(&bob, id).await;
    for _ in 0..3 {
        world.pass(seconds(60) - MOMENT).await;
        let outcome = world.run(&bob, model::command::Action::Heartbeat).await;
        assert_eq!(outcome, Outcome::Renewed { session_id: None, tasks: 1 });
        let task = world.task(id).await;
        assert_eq!(task.status, TaskStatus::Running);
        assert_eq!(task.lease_expires_at, Some(world.now() + seconds(60)));
    }
    assert_eq!(ended(world, &bob, complete(id)).await, TaskStatus::Completed);
}

async fn a_heartbeat_renews_the_claims_of_its_session_only(world: &World) {
    let (one, two) = (agent_in("bob", "s1"), agent_in("bob", "s2"));
    world.run(&one, register(&[])).await;
    world.run(&two, register(&[])).await;
    let (first, second, third) = (world.add(task()).await, world.add(task()).await, world.add(task()).await);
    world.claims(&one, first).await;
    world.claims(&two, second).await;
    world.claims(&agent("bob"), third).await;
    world.pass(seconds(30)).await;
    let outcome = world.run(&one, model::command::Action::Heartbeat).await;
    assert_eq!(outcome, Outcome::Renewed { session_id: one.session_id.clone(), tasks: 2 });
    let statuses = [world.task(first).await.status, world.task(second).await.status, world.task(third).await.status];
    assert_eq!(statuses, [TaskStatus::Running, TaskStatus::Claimed, TaskStatus::Running]);
}

async fn an_anonymous_heartbeat_renews_all_of_the_agents_claims(world: &World) {
    let (one, two) = (agent_in("bob", "s1"), agent_in("bob", "s2"));
    world.run(&one, register(&[])).await;
    world.pass(seconds(1)).await;
    world.run(&two, register(&[])).await;
    let (first, second, others) = (world.add(task()).await, world.add(task()).await, world.add(task()).await);
    world.claims(&one, first).await;
    world.claims(&two, second).await;
    world.claims(&agent("cid"), others).await;
    let outcome = world.run(&agent("bob"), model::command::Action::Heartbeat).await;
    assert!(matches!(outcome, Outcome::Renewed { session_id: Some(_), tasks: 2 }), "{outcome:?}");
    assert_eq!(world.task(others).await.status, TaskStatus::Claimed);
}

async fn a_task_not_begun_by_its_deadline_fails(world: &World) {
    let id = world.add(Submit { deadline: Some(world.now() + seconds(10)), ..task() }).await;
    let dependent = world.add(task_after(&[id])).await;
    world.pass(seconds(10) - MOMENT).await;
    assert_eq!(world.task(id).await.status, TaskStatus::Pending);
    world.pass(MOMENT).await;
    same(world.store.due_projects().await.unwrap(), &["house"]);
    world.claims_nothing(&agent("bob")).await;
    let task = world.task(id).await;
    assert_eq!((task.status, task.error_code.as_deref()), (TaskStatus::Failed, Some(DEADLINE_EXCEEDED)));
    assert_eq!(world.task(dependent).await.error_code.as_deref(), Some(DEPENDENCY_FAILED));
}

async fn a_deadline_that_is_past_is_refused(world: &World) {
    for deadline in [world.now(), world.now() - seconds(1)] {
        let outcome = world.run(&agent("boss"), Submit { deadline: Some(deadline), ..task() }).await;
        assert_eq!(refused(outcome), Refusal::DeadlineExceeded);
    }
    world.add(Submit { deadline: Some(world.now() + MOMENT), ..task() }).await;
}

async fn a_task_begun_in_time_may_end_late(world: &World) {
    let bob = agent("bob");
    let id = world.add(Submit { deadline: Some(world.now() + seconds(10)), ..task() }).await;
    world.claims(&bob, id).await;
    world.pass(seconds(30)).await;
    assert_eq!(ended(world, &bob, complete(id)).await, TaskStatus::Completed);
}

async fn a_failure_is_final_when_a_retry_would_come_past_the_deadline(world: &World) {
    let bob = agent("bob");
    let early = world.add(Submit { deadline: Some(world.now() + seconds(5) + MOMENT), ..task() }).await;
    let late = world.add(Submit { deadline: Some(world.now() + seconds(5)), ..task() }).await;
    let dependent = world.add(task_after(&[late])).await;
    world.claims(&bob, early).await;
    world.claims(&bob, late).await;
    assert_eq!(ended(world, &bob, fail(early)).await, TaskStatus::Pending);
    assert_eq!(ended(world, &bob, fail(late)).await, TaskStatus::Failed, "it would never be begun again");
    assert_eq!(world.task(dependent).await.error_code.as_deref(), Some(DEPENDENCY_FAILED));
    world.pass(seconds(5)).await;
    world.claims(&bob, early).await;
}

async fn a_retry_not_begun_by_the_deadline_fails(world: &World) {
    let bob = agent("bob");
    let id = world.add(Submit { deadline: Some(world.now() + seconds(10)), ..task() }).await;
    world.claims(&bob, id).await;
    ended(world, &bob, fail(id)).await;
    world.pass(seconds(10)).await;
    assert_eq!(world.task(id).await.error_code.as_deref(), Some(DEADLINE_EXCEEDED));
}

async fn a_lapsed_claim_past_the_deadline_fails(world: &World) {
    let bob = agent("bob");
    let id = world.add(Submit { deadline: Some(world.now() + seconds(10)), ..task() }).await;
    world.claims(&bob, id).await;
    world.pass(seconds(60)).await;
    world.claims_nothing(&bob).await;
    let task = world.task(id).await;
    assert_eq!((task.status, task.error_code.as_deref()), (TaskStatus::Failed, Some(DEADLINE_EXCEEDED)));
}

async fn the_same_submission_twice_is_one_task(world: &World) {
    let once = || Submit { idempotency_key: Some("k".into()), fingerprint: "same".into(), ..task() };
    let first = once();
    let again = world.all(&[command(&agent("boss"), first.clone()), command(&agent("boss"), once())]).await;
    assert_eq!(again[0], Outcome::Submitted { task_id: first.task_id, repeated: false });
    assert_eq!(again[1], Outcome::Submitted { task_id: first.task_id, repeated: true });
    assert_eq!(world.store.tasks(&world.project, &everything()).await.unwrap().len(), 1);
    let without = [world.add(task()).await, world.add(task()).await];
    assert_ne!(without[0], without[1], "no key, no repetition");
}

async fn another_submission_under_the_same_idempotency_key_is_refused(world: &World) {
    let with = |print: &str| Submit { idempotency_key: Some("k".into()), fingerprint: print.into(), ..task() };
    let first = world.add(with("one")).await;
    let refusal = refused(world.run(&agent("boss"), with("two")).await);
    assert_eq!(refusal, Refusal::IdempotencyKeyReused { task_id: first });
    world.add(Submit { idempotency_key: Some("K".into()), ..with("two") }).await;
}

async fn an_idempotency_key_outlives_its_task(world: &World) {
    let once = || Submit { idempotency_key: Some("k".into()), ..task() };
    let first = world.add(once()).await;
    world.run(&agent("boss"), cancel(first)).await;
    // Nothing else of the repetition is looked at: it asks for what was done already.
    let again = Submit { deadline: Some(world.now()), depends_on: vec![first], ..once() };
    let outcome = world.run(&agent("boss"), again).await;
    assert_eq!(outcome, Outcome::Submitted { task_id: first, repeated: true });
}

async fn any_task_can_be_finished_until_it_has_ended(world: &World) {
    let (boss, ann) = (agent("boss"), agent("ann"));
    let finish = |task_id| Finish { task_id, result: JsonText::from_trusted(r#"{"by": "github"}"#.into()) };
    let (pending, held) = (world.add(task()).await, world.add(Submit { priority: 1, ..task() }).await);
    let dependent = world.add(task_after(&[pending])).await;
    world.claims(&ann, held).await;
    for id in [pending, held] {
        let expected =
            Outcome::Ended { task_id: id, status: TaskStatus::Completed, retry_at: None, failed_dependents: vec![] };
        assert_eq!(world.run(&boss, finish(id)).await, expected);
        let task = world.task(id).await;
        assert_eq!((task.status, task.completed_at), (TaskStatus::Completed, Some(world.now())));
        assert_eq!((task.result, task.lease_expires_at), (Some(finish(id).result), None));
        let ended = Refusal::TaskAlreadyEnded { status: TaskStatus::Completed };
        assert_eq!(refused(world.run(&boss, finish(id)).await), ended);
    }
    assert_eq!(
        refused(world.run(&ann, complete(held)).await),
        Refusal::TaskNotFoundOrNotClaimedByAgent,
        "its holder comes too late"
    );
    world.claims(&ann, dependent).await;
    assert_eq!(refused(world.run(&boss, finish(Uuid::nil())).await), Refusal::TaskNotFound);
}

async fn any_task_can_be_cancelled_until_it_has_ended(world: &World) {
    let (boss, bob) = (agent("boss"), agent("bob"));
    let (held, free) = (world.add(task()).await, world.add(task()).await);
    world.claims(&bob, held).await;
    for id in [held, free] {
        let outcome = world.run(&boss, cancel(id)).await;
        let failed_dependents = vec![];
        assert_eq!(
            outcome,
            Outcome::Ended { task_id: id, status: TaskStatus::Failed, retry_at: None, failed_dependents }
        );
        let task = world.task(id).await;
        assert_eq!((task.status, task.error_code.as_deref()), (TaskStatus::Failed, Some(CANCELLED)));
        assert_eq!(task.error_message.as_deref(), Some("no longer needed"));
        assert_eq!(task.result, Some(cancel(id).result));
        assert_eq!((task.completed_at, task.lease_expires_at), (Some(world.now()), None));
        assert_eq!(
            refused(world.run(&boss, cancel(id)).await),
            Refusal::TaskAlreadyEnded { status: TaskStatus::Failed }
        );
    }
    assert_eq!(refused(world.run(&bob, complete(held)).await), Refusal::TaskNotFoundOrNotClaimedByAgent);
    world.claims_nothing(&bob).await;
    let done = world.add(task()).await;
    world.claims(&bob, done).await;
    ended(world, &bob, complete(done)).await;
    let refusal = Refusal::TaskAlreadyEnded { status: TaskStatus::Completed };
    assert_eq!(refused(world.run(&boss, cancel(done)).await), refusal);
    assert_eq!(refused(world.run(&boss, cancel(Uuid::from_u128(1))).await), Refusal::TaskNotFound);
}

async fn a_cancelled_task_fails_its_dependents(world: &World) {
    let first = world.add(task()).await;
    let second = world.add(task_after(&[first])).await;
    let third = world.add(task_after(&[second])).await;
    match world.run(&agent("boss"), cancel(first)).await {
        Outcome::Ended { failed_dependents, .. } => assert_eq!(failed_dependents, [second, third]),
        other => panic!("{other:?}"),
    }
}

fn everything() -> TaskFilter {
    TaskFilter { limit: 100, ..TaskFilter::default() }
}

async fn tasks_are_listed_newest_first_and_paged(world: &World) {
    let mut ids = vec![];
    for kind in ["build", "test", "build", "test", "build"] {
        ids.push(world.add(Submit { max_attempts: 1, ..named(kind) }).await);
    }
    ids.reverse();
    let list = async |filter: TaskFilter| -> Vec<Uuid> {
        world.store.tasks(&world.project, &filter).await.unwrap().iter().map(|t| t.task_id).collect()
    };
    assert_eq!(list(everything()).await, ids);
    assert_eq!(list(TaskFilter { task_type: Some("test".into()), ..everything() }).await, [ids[1], ids[3]]);
    assert_eq!(list(TaskFilter { limit: 2, ..everything() }).await, ids[..2]);
    let before = Some(world.task(ids[1]).await.seq);
    assert_eq!(list(TaskFilter { limit: 2, before, ..everything() }).await, ids[2..4]);
    world.run(&agent("boss"), cancel(ids[0])).await;
    world.claims(&agent("bob"), ids[4]).await;
    ended(world, &agent("bob"), fail(ids[4])).await;
    let failed = TaskFilter { status: Some(TaskStatus::Failed), ..everything() };
    assert_eq!(list(failed.clone()).await, [ids[0], ids[4]]);
    assert_eq!(list(TaskFilter { error_code: Some(CANCELLED.into()), ..failed }).await, [ids[0]]);
    assert!(list(TaskFilter { status: Some(TaskStatus::Completed), ..everything() }).await.is_empty());
}

async fn an_unknown_task_is_none(world: &World) {
    assert_eq!(world.store.task(&world.project, Uuid::from_u128(1)).await.unwrap(), None);
    assert_eq!(world.store.tasks(&world.project, &everything()).await.unwrap(), []);
}
