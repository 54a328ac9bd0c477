//! Limits: counted in the transaction of the command that they are for.

use jiff::ToSpan;
use model::command::{Action, Command, Outcome, Refusal};
use model::id::Caller;
use model::limits::{Limit, Limits};

use crate::harness::*;

cases!(
    distinct_files_of_a_session_are_counted,
    files_are_counted_all_or_none,
    files_without_a_session_are_counted_for_a_day,
    only_files_that_were_locked_count,
    calls_are_counted_by_the_hour,
    a_sign_of_life_is_never_refused,
    calls_of_the_same_batch_count,
    a_claim_ends_whatever_its_heartbeats,
);

const FILES: Limits = Limits { max_file_modifications: Some(2), ..Limits::NONE };
const CALLS: Limits = Limits { max_calls_per_hour: Some(3), ..Limits::NONE };
const MINUTES: Limits = Limits { max_minutes_per_task: Some(2), ..Limits::NONE };

fn limited(who: &Caller, what: impl Act, limits: Limits) -> Command {
    Command { limits, ..command(who, what) }
}

async fn run(world: &World, who: &Caller, what: impl Act, limits: Limits) -> Outcome {
    world.all(&[limited(who, what, limits)]).await.remove(0)
}

fn too_many_files(used: u32) -> Refusal {
    Refusal::ResourceLimitExceeded { limit: Limit::MaxFileModifications, allowed: 2, used, until: None }
}

async fn distinct_files_of_a_session_are_counted(world: &World) {
    let ann = agent_in("ann", "s1");
    for key in ["a.rs", "b.rs", "a.rs"] {
        assert!(run(world, &ann, acquire(&[key]), FILES).await.is_success(), "{key}");
    }
    world.run(&ann, release(&["a.rs", "b.rs"])).await;
    assert_eq!(
        refused(run(world, &ann, acquire(&["c.rs"]), FILES).await),
        too_many_files(2),
        "given back, but counted"
    );
    assert!(run(world, &ann, acquire(&["a.rs"]), FILES).await.is_success(), "known already");
    assert!(run(world, &ann, acquire(&["db:users"]), FILES).await.is_success(), "no file");
    assert!(run(world, &agent_in("ann", "s2"), acquire(&["c.rs"]), FILES).await.is_success(), "another session");
    assert!(run(world, &agent_in("bob", "s3"), acquire(&["d.rs"]), FILES).await.is_success(), "another agent");
    assert!(world.run(&ann, acquire(&["e.rs"])).await.is_success(), "no limit");
    world.pass(seconds(90_000)).await;
    assert_eq!(
        refused(run(world, &ann, acquire(&["c.rs"]), FILES).await),
        too_many_files(2),
        "all of a session's count"
    );
}

async fn files_are_counted_all_or_none(world: &World) {
    let ann = agent_in("ann", "s1");
    assert!(run(world, &ann, acquire(&["a.rs"]), FILES).await.is_success());
    assert_eq!(refused(run(world, &ann, acquire(&["b.rs", "c.rs"]), FILES).await), too_many_files(1));
    same(world.held().await, &["ann a.rs"]);
    assert!(run(world, &ann, acquire(&["a.rs", "b.rs"]), FILES).await.is_success());
}

async fn files_without_a_session_are_counted_for_a_day(world: &World) {
    let ann = agent("ann");
    assert!(run(world, &ann, acquire(&["a.rs", "b.rs"]), FILES).await.is_success());
    world.pass(seconds(86_400)).await;
    assert_eq!(refused(run(world, &ann, acquire(&["c.rs"]), FILES).await), too_many_files(2));
    world.pass(MOMENT).await;
    assert!(run(world, &ann, acquire(&["c.rs", "a.rs"]), FILES).await.is_success());
    assert_eq!(refused(run(world, &ann, acquire(&["b.rs"]), FILES).await), too_many_files(2), "both count anew");
}

async fn only_files_that_were_locked_count(world: &World) {
    let ann = agent_in("ann", "s1");
    world.take(&agent("bob"), "a.rs").await;
    blocked(run(world, &ann, acquire(&["a.rs"]), FILES).await);
    assert!(run(world, &ann, acquire(&["b.rs", "c.rs"]), FILES).await.is_success());
    let row = Limits { max_file_modifications: Some(0), ..FILES };
    let outcome = refused(run(world, &agent_in("eve", "s2"), acquire(&["z"]), row).await);
    assert_eq!(outcome.code(), "resource_limit_exceeded");
}

async fn calls_are_counted_by_the_hour(world: &World) {
    let ann = agent("ann");
    let first = world.now();
    world.run(&ann, acquire(&["a"])).await;
    world.pass(seconds(10)).await;
    for _ in 0..5 {
        world.run(&agent("bob"), acquire(&["b"])).await;
    }
    assert!(run(world, &ann, acquire(&["a"]), CALLS).await.is_success());
    assert!(run(world, &ann, release(&["a"]), CALLS).await.is_success());
    let full = |until| Refusal::ResourceLimitExceeded {
        limit: Limit::MaxCallsPerHour,
        allowed: 3,
        used: 3,
        until: Some(until),
    };
    for _ in 0..2 {
        let refusal = refused(run(world, &ann, acquire(&["a"]), CALLS).await);
        assert_eq!(refusal, full(first + 1.hour()), "what is refused is not counted");
    }
    world.set(first + 1.hour() - MOMENT).await;
    refused(run(world, &ann, claim(), CALLS).await);
    world.pass(MOMENT).await;
    assert!(run(world, &ann, acquire(&["a"]), CALLS).await.is_success());
    let refusal = refused(run(world, &ann, acquire(&["a"]), CALLS).await);
    assert_eq!(refusal, full(first + 1.hour() + seconds(10)));
    let none = Limits { max_calls_per_hour: Some(0), ..Limits::NONE };
    assert_eq!(
        refused(run(world, &agent("new"), acquire(&["n"]), none).await),
        Refusal::ResourceLimitExceeded { limit: Limit::MaxCallsPerHour, allowed: 0, used: 0, until: None }
    );
}

async fn a_sign_of_life_is_never_refused(world: &World) {
    let ann = agent_in("ann", "s1");
    for _ in 0..5 {
        assert!(run(world, &ann, register(&[]), CALLS).await.is_success());
        assert!(run(world, &ann, Action::Heartbeat, CALLS).await.is_success());
    }
    assert_eq!(refused(run(world, &ann, acquire(&["a"]), CALLS).await).code(), "resource_limit_exceeded");
}

async fn calls_of_the_same_batch_count(world: &World) {
    let ann = agent("ann");
    let commands: Vec<Command> = ["a", "b", "c", "d"].iter().map(|key| limited(&ann, acquire(&[key]), CALLS)).collect();
    let outcomes = world.all(&commands).await;
    same(outcomes.iter().map(Outcome::is_success), &["true", "true", "true", "false"]);
}

async fn a_claim_ends_whatever_its_heartbeats(world: &World) {
    let (ann, id) = (agent("ann"), world.add(task()).await);
    let claimed_at = world.now();
    let task = claimed(run(world, &ann, claim(), MINUTES).await);
    assert_eq!(task.lease_expires_at, Some(claimed_at + 1.minute()), "the lease is shorter than the limit");
    world.pass(seconds(50)).await;
    run(world, &ann, Action::Heartbeat, MINUTES).await;
    assert_eq!(world.task(id).await.lease_expires_at, Some(claimed_at + 110.seconds()));
    world.pass(seconds(50)).await;
    run(world, &ann, Action::Heartbeat, MINUTES).await;
    assert_eq!(world.task(id).await.lease_expires_at, Some(claimed_at + 2.minutes()));
    let shorter = Limits { max_minutes_per_task: Some(1), ..MINUTES };
    run(world, &ann, Action::Heartbeat, shorter).await;
    assert_eq!(world.task(id).await.lease_expires_at, Some(claimed_at + 2.minutes()), "what there is stays");
    world.set(claimed_at + 2.minutes()).await;
    assert_eq!(world.task(id).await.claimed_by, Some(ann.agent_id.clone()));
    assert_eq!(world.task(id).await.lease_expires_at, None, "it is for another now");
    let long = Limits { max_minutes_per_task: Some(1), ..MINUTES };
    world.pass(seconds(60)).await;
    let again = claimed(run(world, &ann, model::command::Claim { lease_seconds: 3600, ..claim() }, long).await);
    assert_eq!(again.lease_expires_at, Some(world.now() + 1.minute()));
}
