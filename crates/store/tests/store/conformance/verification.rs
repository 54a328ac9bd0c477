//! Verification: tiers, leases, whose word counts, and what passed already.

use model::approvals::{Approval, ApprovalFilter, ApprovalScope, ApprovalStatus, DecideApproval};
use model::command::{Outcome, Refusal};
use model::id::Caller;
use model::verification::{
    Changeset, ChangesetFilter, ChangesetState, ClaimRun, Executor, PlanChangeset, PlannedRun, RenewRun, ReportRun,
    Run, RunState, SubmitChangeset, Trigger, Verdict,
};
use uuid::Uuid;

use crate::harness::*;

cases!(
    a_changeset_is_kept_with_all_its_fields,
    the_same_that_is_open_is_not_submitted_again,
    only_the_first_plan_counts,
    a_tier_begins_when_all_below_have_passed,
    a_run_is_one_runner_s_at_a_time,
    a_lost_runner_s_run_comes_back_a_few_times,
    a_result_counts_once_and_from_its_runner_only,
    the_first_failure_ends_the_changeset,
    what_passed_counts_for_the_same_key_only,
    an_approval_is_not_passed_on_with_a_key,
    a_person_decides,
    a_person_may_say_no,
    nobody_approves_of_its_own,
    an_undecided_question_ends,
    what_passed_may_need_an_approval_all_the_same,
    a_failure_withdraws_the_question,
    whoever_accepted_has_the_policy_s_time,
    a_workflow_is_taken_by_who_can_start_it_and_may_be_stopped,
    what_only_its_runner_has_is_claimed_by_name,
    changesets_are_listed_by_what_is_asked,
    projects_do_not_see_each_other_s_changesets,
);

/// An id that no other has: in a project of its own each time.
fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn submission(number: u128) -> SubmitChangeset {
    SubmitChangeset {
        changeset_id: id(number),
        revision: format!("branch-{number}"),
        trigger: Trigger::Branch,
        agent_id: agent("ann").agent_id,
        feature_id: None,
        task_id: None,
        policies: None,
    }
}

fn policy(number: u128, tier: u8, executor: Executor) -> PlannedRun {
    let approval_id = (executor == Executor::Human).then(|| id(number + 1000));
    PlannedRun {
        run_id: id(number),
        policy: format!("policy-{tier}"),
        tier,
        executor,
        timeout_seconds: 600,
        approval_id,
        key: None,
    }
}

fn plan(number: u128, runs: Vec<PlannedRun>) -> PlanChangeset {
    PlanChangeset {
        changeset_id: id(number),
        commit: Some(format!("c{number}")),
        tree: Some("t".into()),
        base: Some("b".into()),
        changed_paths: vec!["src/a.rs".into()],
        changed_total: 1,
        runs,
        trouble: None,
    }
}

fn next(lease_seconds: u32) -> ClaimRun {
    ClaimRun { changeset_id: None, executors: vec![Executor::Inline, Executor::Command], lease_seconds }
}

fn renewal(run: u128, token: i64, key: Option<&str>) -> RenewRun {
    RenewRun { run_id: id(run), token, lease_seconds: 60, key: key.map(Into::into) }
}

fn says(run: u128, token: i64, verdict: Verdict) -> ReportRun {
    let evidence = Some("the end of an output".into());
    ReportRun { run_id: id(run), token, verdict, evidence, log_url: None, external_id: None }
}

/// Submits and plans it.
async fn planned(world: &World, number: u128, runs: Vec<PlannedRun>) -> ChangesetState {
    world.run(&agent("ann"), submission(number)).await;
    match world.run(&agent("runner"), plan(number, runs)).await {
        Outcome::ChangesetPlanned { state, .. } => state,
        other => panic!("{other:?}"),
    }
}

async fn taken(world: &World, who: &Caller) -> Option<(Uuid, i64)> {
    match world.run(who, next(60)).await {
        Outcome::RunClaimed { run_id, token, .. } => Some((run_id, token)),
        Outcome::NoRun => None,
        other => panic!("{other:?}"),
    }
}

/// The token of the run, which is the next.
async fn begun(world: &World, run: u128) -> i64 {
    let (run_id, token) = taken(world, &agent("runner")).await.unwrap();
    assert_eq!(run_id, id(run));
    token
}

async fn changeset(world: &World, number: u128) -> Changeset {
    let filter = ChangesetFilter { changeset_id: Some(id(number)), limit: 1, ..ChangesetFilter::default() };
    world.store.changesets(&world.project, &filter).await.unwrap().remove(0)
}

async fn run_of(world: &World, number: u128, run: u128) -> Run {
    changeset(world, number).await.runs.into_iter().find(|r| r.run_id == id(run)).unwrap()
}

async fn states(world: &World, number: u128) -> (ChangesetState, Vec<RunState>) {
    let changeset = changeset(world, number).await;
    (changeset.state, changeset.runs.iter().map(|run| run.state).collect())
}

async fn approval(world: &World, number: u128) -> Approval {
    let filter = ApprovalFilter { approval_id: Some(id(number)), limit: 1, ..ApprovalFilter::default() };
    world.store.approvals(&world.project, &filter).await.unwrap().remove(0)
}

fn decision(number: u128, verdict: model::approvals::Verdict) -> DecideApproval {
    let note = Some("looked at it".into());
    DecideApproval { approval_id: id(number), verdict, scope: ApprovalScope::Once, ttl_seconds: 60, note }
}

const YES: model::approvals::Verdict = model::approvals::Verdict::Approve;
const NO: model::approvals::Verdict = model::approvals::Verdict::Deny;

async fn a_changeset_is_kept_with_all_its_fields(world: &World) {
    let request = SubmitChangeset {
        feature_id: Some(feature_id("login")),
        task_id: Some(id(77)),
        policies: Some(vec!["a".into(), "b".into()]),
        ..submission(1)
    };
    let submitted = world.run(&agent("boss"), request).await;
    assert_eq!(submitted, Outcome::ChangesetSubmitted { changeset_id: id(1), repeated: false });
    let before = changeset(world, 1).await;
    assert_eq!((before.state, before.created_at, before.ended_at), (ChangesetState::Queued, world.now(), None));
    world
        .run(&agent("runner"), plan(1, vec![PlannedRun { key: Some("k".into()), ..policy(10, 1, Executor::Inline) }]))
        .await;
    let token = begun(world, 10).await;
    let report = ReportRun {
        log_url: Some("https://ci/1".into()),
        external_id: Some("77".into()),
        ..says(10, token, Verdict::Passed)
    };
    world.pass(seconds(5)).await;
    world.run(&agent("runner"), report).await;
    let now = world.now();
    let expected = Changeset {
        commit: Some("c1".into()),
        tree: Some("t".into()),
        base: Some("b".into()),
        changed_paths: vec!["src/a.rs".into()],
        changed_total: 1,
        state: ChangesetState::Passed,
        ended_at: Some(now),
        runs: vec![Run {
            run_id: id(10),
            ordinal: 0,
            policy: "policy-1".into(),
            tier: 1,
            executor: Executor::Inline,
            timeout_seconds: 600,
            approval_id: None,
            state: RunState::Passed,
            attempt: 1,
            runner: Some(agent("runner").agent_id),
            token: None,
            lease_expires_at: None,
            started_at: Some(before.created_at),
            ended_at: Some(now),
            key: Some("k".into()),
            reused_from: None,
            external_id: Some("77".into()),
            evidence: Some("the end of an output".into()),
            log_url: Some("https://ci/1".into()),
        }],
        ..before
    };
    assert_eq!(changeset(world, 1).await, expected);
    assert_eq!(expected.agent_id, agent("ann").agent_id);
}

async fn the_same_that_is_open_is_not_submitted_again(world: &World) {
    let again = |number: u128, revision: &str| SubmitChangeset { revision: revision.into(), ..submission(number) };
    let id_of = |outcome: Outcome| match outcome {
        Outcome::ChangesetSubmitted { changeset_id, repeated } => (changeset_id, repeated),
        other => panic!("{other:?}"),
    };
    world.run(&agent("ann"), again(1, "c1")).await;
    assert_eq!(id_of(world.run(&agent("ann"), again(2, "c1")).await), (id(1), true));
    assert_eq!(id_of(world.run(&agent("ann"), again(3, "c2")).await), (id(3), false));
    let of_bob = SubmitChangeset { agent_id: agent("bob").agent_id, ..again(4, "c1") };
    assert_eq!(id_of(world.run(&agent("ann"), of_bob).await), (id(4), false));
    // A commit is the same when it is planned; a branch may have moved.
    world.run(&agent("ann"), plan(1, vec![policy(10, 1, Executor::Inline)])).await;
    world.run(&agent("ann"), again(5, "branch")).await;
    world.run(&agent("ann"), plan(5, vec![policy(50, 1, Executor::Inline)])).await;
    assert_eq!(id_of(world.run(&agent("ann"), again(6, "c1")).await), (id(1), true));
    assert_eq!(id_of(world.run(&agent("ann"), again(7, "branch")).await), (id(7), false));
}

async fn only_the_first_plan_counts(world: &World) {
    assert_eq!(planned(world, 1, vec![policy(10, 1, Executor::Inline)]).await, ChangesetState::Running);
    let again = world.run(&agent("other"), plan(1, vec![])).await;
    assert_eq!(again, Outcome::ChangesetPlanned { changeset_id: id(1), state: ChangesetState::Running });
    assert_eq!(changeset(world, 1).await.runs.len(), 1);
    assert_eq!(planned(world, 2, vec![]).await, ChangesetState::Passed, "nothing is needed");
    world.run(&agent("ann"), submission(3)).await;
    let cannot = PlanChangeset { trouble: Some("there is no such branch".into()), commit: None, ..plan(3, vec![]) };
    world.run(&agent("runner"), cannot).await;
    let failed = changeset(world, 3).await;
    assert_eq!((failed.state, failed.note.as_deref()), (ChangesetState::Failed, Some("there is no such branch")));
    let unknown = refused(world.run(&agent("runner"), plan(9, vec![])).await);
    assert_eq!(unknown, Refusal::ChangesetNotFound { changeset_id: id(9) });
}

async fn a_tier_begins_when_all_below_have_passed(world: &World) {
    let runs = vec![policy(10, 0, Executor::Inline), policy(11, 0, Executor::Command), policy(12, 2, Executor::Inline)];
    planned(world, 1, runs).await;
    let only_inline = ClaimRun { executors: vec![Executor::Inline], ..next(60) };
    let first = begun(world, 10).await;
    assert_eq!(world.run(&agent("inline"), only_inline).await, Outcome::NoRun);
    let second = begun(world, 11).await;
    assert_eq!(taken(world, &agent("other")).await, None);
    world.run(&agent("runner"), says(10, first, Verdict::Passed)).await;
    assert_eq!(taken(world, &agent("other")).await, None, "one of the tier is still under way");
    world.run(&agent("runner"), says(11, second, Verdict::Passed)).await;
    begun(world, 12).await;
}

async fn a_run_is_one_runner_s_at_a_time(world: &World) {
    planned(world, 1, vec![policy(10, 1, Executor::Inline)]).await;
    planned(world, 2, vec![policy(20, 1, Executor::Inline)]).await;
    let both = world
        .all(&[command(&agent("one"), next(60)), command(&agent("two"), next(60)), command(&agent("three"), next(60))])
        .await;
    let runs: Vec<Option<Uuid>> = both
        .iter()
        .map(|outcome| match outcome {
            Outcome::RunClaimed { run_id, .. } => Some(*run_id),
            _ => None,
        })
        .collect();
    assert_eq!(runs, [Some(id(10)), Some(id(20)), None]);
}

async fn a_lost_runner_s_run_comes_back_a_few_times(world: &World) {
    planned(world, 1, vec![policy(10, 1, Executor::Inline)]).await;
    let first = begun(world, 10).await;
    world.pass(seconds(59)).await;
    let renewed = world.run(&agent("runner"), renewal(10, first, Some("k"))).await;
    assert!(
        matches!(renewed, Outcome::RunRenewed { lease_expires_at, .. } if lease_expires_at == world.now() + seconds(60))
    );
    world.pass(seconds(59)).await;
    assert_eq!(taken(world, &agent("other")).await, None);
    world.pass(seconds(1)).await;
    let second = begun(world, 10).await;
    let late = refused(world.run(&agent("runner"), says(10, first, Verdict::Passed)).await);
    assert!(
        matches!(late, Refusal::StaleFencingToken { given, current, .. } if given == first && current == Some(second))
    );
    world.pass(seconds(60)).await;
    begun(world, 10).await;
    world.pass(seconds(60)).await;
    assert_eq!(states(world, 1).await, (ChangesetState::Failed, vec![RunState::Errored]));
    assert_eq!(run_of(world, 1, 10).await.attempt, 3);
}

async fn a_result_counts_once_and_from_its_runner_only(world: &World) {
    planned(world, 1, vec![policy(10, 1, Executor::Inline)]).await;
    let early = refused(world.run(&agent("runner"), says(10, 1, Verdict::Passed)).await);
    assert_eq!(early, Refusal::RunNotRunning { run_id: id(10), state: RunState::Queued });
    let token = begun(world, 10).await;
    let wrong = refused(world.run(&agent("mallory"), says(10, token + 1, Verdict::Passed)).await);
    assert_eq!(wrong.code(), "stale_fencing_token");
    let moved = world.run(&agent("runner"), says(10, token, Verdict::Failed)).await;
    let (changeset_id, state, changeset_state) = (id(1), RunState::Failed, ChangesetState::Failed);
    assert_eq!(moved, Outcome::RunMoved { changeset_id, run_id: id(10), state, changeset_state });
    let again = refused(world.run(&agent("runner"), says(10, token, Verdict::Passed)).await);
    assert_eq!(again, Refusal::RunNotRunning { run_id: id(10), state: RunState::Failed });
    assert_eq!(refused(world.run(&agent("a"), says(99, 1, Verdict::Passed)).await).code(), "run_not_found");
}

async fn the_first_failure_ends_the_changeset(world: &World) {
    let runs = vec![policy(10, 0, Executor::Inline), policy(11, 0, Executor::Inline), policy(12, 1, Executor::Inline)];
    planned(world, 1, runs).await;
    let (first, second) = (begun(world, 10).await, begun(world, 11).await);
    world.run(&agent("runner"), says(10, first, Verdict::TimedOut)).await;
    use RunState::{Cancelled, TimedOut};
    assert_eq!(states(world, 1).await, (ChangesetState::Failed, vec![TimedOut, Cancelled, Cancelled]));
    let stopped = refused(world.run(&agent("runner"), renewal(11, second, None)).await);
    assert_eq!(stopped, Refusal::RunNotRunning { run_id: id(11), state: Cancelled });
}

async fn what_passed_counts_for_the_same_key_only(world: &World) {
    for number in 1..=4 {
        planned(world, number, vec![policy(number * 10, 1, Executor::Inline)]).await;
    }
    let token = begun(world, 10).await;
    world.run(&agent("runner"), renewal(10, token, Some("tree command 1.0"))).await;
    world.run(&agent("runner"), says(10, token, Verdict::Passed)).await;
    let token = begun(world, 20).await;
    let other = world.run(&agent("runner"), renewal(20, token, Some("tree command 1.1"))).await;
    assert!(matches!(other, Outcome::RunRenewed { .. }), "{other:?}");
    world.run(&agent("runner"), says(20, token, Verdict::Failed)).await;
    let token = begun(world, 30).await;
    let failed = world.run(&agent("runner"), renewal(30, token, Some("tree command 1.1"))).await;
    assert!(matches!(failed, Outcome::RunRenewed { .. }), "a failure is never reused: {failed:?}");
    world.run(&agent("runner"), says(30, token, Verdict::Errored)).await;
    let token = begun(world, 40).await;
    let same = world.run(&agent("runner"), renewal(40, token, Some("tree command 1.0"))).await;
    assert!(matches!(same, Outcome::RunMoved { state: RunState::Passed, .. }), "{same:?}");
    assert_eq!(run_of(world, 4, 40).await.reused_from, Some(id(10)));
    assert_eq!(changeset(world, 4).await.state, ChangesetState::Passed);
}

async fn an_approval_is_not_passed_on_with_a_key(world: &World) {
    planned(world, 1, vec![policy(10, 1, Executor::Inline)]).await;
    let token = begun(world, 10).await;
    world.run(&agent("runner"), renewal(10, token, Some("k"))).await;
    world.run(&agent("runner"), says(10, token, Verdict::Passed)).await;
    let needs = |number| PlannedRun { approval_id: Some(id(number + 1000)), ..policy(number, 1, Executor::Inline) };
    planned(world, 2, vec![needs(20)]).await;
    let token = begun(world, 20).await;
    let renewed = world.run(&agent("runner"), renewal(20, token, Some("k"))).await;
    assert!(matches!(renewed, Outcome::RunRenewed { .. }), "nobody approved of it: {renewed:?}");
    world.run(&agent("runner"), says(20, token, Verdict::Passed)).await;
    world.run(&agent("boss"), decision(1020, YES)).await;
    planned(world, 3, vec![PlannedRun { policy: "another".into(), ..needs(30) }]).await;
    let token = begun(world, 30).await;
    let renewed = world.run(&agent("runner"), renewal(30, token, Some("k"))).await;
    assert!(matches!(renewed, Outcome::RunRenewed { .. }), "as something else: {renewed:?}");
    world.run(&agent("runner"), says(30, token, Verdict::Failed)).await;
    planned(world, 4, vec![needs(40)]).await;
    let token = begun(world, 40).await;
    world.run(&agent("runner"), renewal(40, token, Some("k"))).await;
    assert_eq!(run_of(world, 4, 40).await.reused_from, Some(id(20)));
}

async fn a_person_decides(world: &World) {
    let human = |number| PlannedRun { key: Some("h".into()), ..policy(number, 4, Executor::Human) };
    let second = PlannedRun { policy: "second".into(), key: None, ..policy(12, 4, Executor::Human) };
    planned(world, 1, vec![policy(10, 1, Executor::Inline), human(11), second]).await;
    let token = begun(world, 10).await;
    world.run(&agent("runner"), says(10, token, Verdict::Passed)).await;
    use RunState::{Passed, Queued, WaitingApproval};
    assert_eq!(states(world, 1).await.1, [Passed, WaitingApproval, Queued], "one question at a time");
    let asked = approval(world, 1011).await;
    assert_eq!(asked.subject.operation, "verify");
    assert_eq!(asked.subject.resource, "policy-4 of branch-1 (c1)");
    assert_eq!((asked.subject.fingerprint.as_str(), asked.agent_id), ("h", agent("ann").agent_id));
    assert_eq!(asked.expires_at, world.now() + seconds(600));
    world.run(&agent("boss"), decision(1011, YES)).await;
    assert_eq!(approval(world, 1011).await.status, ApprovalStatus::Used);
    assert_eq!(states(world, 1).await.1, [Passed, Passed, WaitingApproval]);
    let run = run_of(world, 1, 11).await;
    assert_eq!((run.runner, run.evidence.as_deref()), (Some(agent("boss").agent_id), Some("looked at it")));
    world.run(&agent("boss"), decision(1012, YES)).await;
    assert_eq!(changeset(world, 1).await.state, ChangesetState::Passed);
    // Nobody is asked the same again.
    assert_eq!(planned(world, 2, vec![human(20)]).await, ChangesetState::Passed);
    assert_eq!(run_of(world, 2, 20).await.reused_from, Some(id(11)));
}

async fn a_person_may_say_no(world: &World) {
    planned(world, 1, vec![policy(10, 4, Executor::Human)]).await;
    world.run(&agent("boss"), decision(1010, NO)).await;
    assert_eq!(states(world, 1).await, (ChangesetState::Failed, vec![RunState::Failed]));
    assert_eq!(approval(world, 1010).await.status, ApprovalStatus::Denied);
}

async fn nobody_approves_of_its_own(world: &World) {
    planned(world, 1, vec![policy(10, 4, Executor::Human)]).await;
    assert_eq!(refused(world.run(&agent("ann"), decision(1010, YES)).await).code(), "own_approval");
    assert_eq!(states(world, 1).await.1, [RunState::WaitingApproval]);
}

async fn an_undecided_question_ends(world: &World) {
    planned(world, 1, vec![policy(10, 4, Executor::Human)]).await;
    world.pass(seconds(600)).await;
    assert_eq!(states(world, 1).await, (ChangesetState::Failed, vec![RunState::TimedOut]));
    assert_eq!(approval(world, 1010).await.status, ApprovalStatus::Expired);
}

async fn what_passed_may_need_an_approval_all_the_same(world: &World) {
    let run = PlannedRun { approval_id: Some(id(1010)), ..policy(10, 3, Executor::Command) };
    planned(world, 1, vec![run]).await;
    let token = begun(world, 10).await;
    world.run(&agent("runner"), says(10, token, Verdict::Passed)).await;
    assert_eq!(states(world, 1).await, (ChangesetState::Running, vec![RunState::WaitingApproval]));
    assert_eq!(approval(world, 1010).await.subject.reason, "it passed, and the policy needs an approval");
    world.run(&agent("boss"), decision(1010, YES)).await;
    assert_eq!(states(world, 1).await, (ChangesetState::Passed, vec![RunState::Passed]));
    assert_eq!(run_of(world, 1, 10).await.runner, Some(agent("runner").agent_id));
}

async fn a_failure_withdraws_the_question(world: &World) {
    planned(world, 1, vec![policy(10, 4, Executor::Human), policy(11, 4, Executor::Inline)]).await;
    let token = begun(world, 11).await;
    world.run(&agent("runner"), says(11, token, Verdict::Failed)).await;
    assert_eq!(states(world, 1).await.1, [RunState::Cancelled, RunState::Failed]);
    assert_eq!(approval(world, 1010).await.status, ApprovalStatus::Expired);
    assert_eq!(refused(world.run(&agent("boss"), decision(1010, YES)).await).code(), "approval_settled");
}

async fn whoever_accepted_has_the_policy_s_time(world: &World) {
    planned(world, 1, vec![policy(10, 2, Executor::Command)]).await;
    planned(world, 2, vec![policy(20, 2, Executor::Command)]).await;
    let accepted = |run, token| ReportRun { external_id: Some("job 7".into()), ..says(run, token, Verdict::Accepted) };
    let (first, second) = (begun(world, 10).await, begun(world, 20).await);
    world.run(&agent("runner"), accepted(10, first)).await;
    world.run(&agent("runner"), accepted(20, second)).await;
    world.pass(seconds(599)).await;
    let renewed = world.run(&agent("runner"), renewal(20, second, None)).await;
    assert!(
        matches!(renewed, Outcome::RunRenewed { lease_expires_at, .. } if lease_expires_at == world.now() + seconds(1))
    );
    world.run(&agent("service"), says(10, first, Verdict::Passed)).await;
    world.pass(seconds(1)).await;
    assert_eq!(states(world, 1).await, (ChangesetState::Passed, vec![RunState::Passed]));
    assert_eq!(states(world, 2).await, (ChangesetState::Failed, vec![RunState::TimedOut]));
}

async fn a_workflow_is_taken_by_who_can_start_it_and_may_be_stopped(world: &World) {
    planned(world, 1, vec![policy(10, 1, Executor::Github), policy(11, 1, Executor::Inline)]).await;
    let starts = ClaimRun { executors: vec![Executor::Github], ..next(60) };
    let token = match world.run(&agent("runner"), starts).await {
        Outcome::RunClaimed { run_id, token, .. } if run_id == id(10) => token,
        other => panic!("{other:?}"),
    };
    begun(world, 11).await;
    world.run(&agent("runner"), says(10, token, Verdict::Accepted)).await;
    let stopped = world.run(&agent("service"), says(10, token, Verdict::Cancelled)).await;
    assert!(matches!(stopped, Outcome::RunMoved { changeset_state: ChangesetState::Failed, .. }), "{stopped:?}");
    assert_eq!(states(world, 1).await, (ChangesetState::Failed, vec![RunState::Cancelled; 2]));
}

async fn what_only_its_runner_has_is_claimed_by_name(world: &World) {
    world.run(&agent("ann"), SubmitChangeset { trigger: Trigger::MergeQueue, ..submission(1) }).await;
    world.run(&agent("runner"), plan(1, vec![policy(10, 1, Executor::Inline)])).await;
    assert_eq!(taken(world, &agent("other")).await, None);
    let own = ClaimRun { changeset_id: Some(id(1)), ..next(60) };
    assert!(matches!(world.run(&agent("runner"), own).await, Outcome::RunClaimed { .. }));
}

async fn changesets_are_listed_by_what_is_asked(world: &World) {
    planned(world, 1, vec![]).await;
    world.run(&agent("ann"), SubmitChangeset { feature_id: Some(feature_id("f")), ..submission(2) }).await;
    world.run(&agent("ann"), SubmitChangeset { agent_id: agent("bob").agent_id, ..submission(3) }).await;
    let all = ChangesetFilter { limit: 10, ..ChangesetFilter::default() };
    let listed = async |filter: ChangesetFilter| {
        let found = world.store.changesets(&world.project, &filter).await.unwrap();
        found.iter().map(|c| c.changeset_id.as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(listed(all.clone()).await, [3, 2, 1]);
    assert_eq!(listed(ChangesetFilter { limit: 2, ..all.clone() }).await, [3, 2]);
    assert_eq!(listed(ChangesetFilter { state: Some(ChangesetState::Passed), ..all.clone() }).await, [1]);
    assert_eq!(listed(ChangesetFilter { agent_id: Some(agent("bob").agent_id), ..all.clone() }).await, [3]);
    assert_eq!(listed(ChangesetFilter { feature_id: Some(feature_id("f")), ..all.clone() }).await, [2]);
    assert_eq!(listed(ChangesetFilter { commit: Some("c1".into()), ..all.clone() }).await, [1]);
    let before = Some(changeset(world, 2).await.seq);
    assert_eq!(listed(ChangesetFilter { before, ..all }).await, [1]);
}

async fn projects_do_not_see_each_other_s_changesets(world: &World) {
    planned(world, 1, vec![policy(10, 1, Executor::Inline)]).await;
    let other = world.in_project("another");
    assert_eq!(taken(&other, &agent("runner")).await, None);
    let all = ChangesetFilter { limit: 10, ..ChangesetFilter::default() };
    assert_eq!(other.store.changesets(&other.project, &all).await.unwrap(), []);
    assert_eq!(refused(other.run(&agent("runner"), plan(1, vec![])).await).code(), "changeset_not_found");
}
