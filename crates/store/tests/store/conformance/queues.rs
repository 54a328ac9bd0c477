//! Waiting for a lock: first come, first served; the dead hold up nobody; nobody waits for ever.

use model::command::{Acquire, Outcome, Refusal, Wait};
use model::id::Caller;
use model::locks::LockMode;
use uuid::Uuid;

use crate::harness::*;

cases!(
    a_waiter_is_shown_with_all_that_is_known_of_it,
    a_waiter_gets_the_lock_when_it_is_free,
    a_newcomer_does_not_overtake,
    waiters_are_served_in_order_of_arrival,
    a_waiter_holds_up_only_what_it_waits_for,
    a_dead_waiter_loses_its_place,
    polling_keeps_the_place,
    the_last_attempt_leaves_the_queue,
    a_grant_leaves_the_queue,
    a_waiter_blocked_by_me_does_not_block_me,
    a_refresh_is_not_held_up_by_waiters,
    shared_newcomers_do_not_overtake_an_exclusive_waiter,
    shared_waiters_do_not_hold_up_each_other,
    a_deadlock_of_two_refuses_the_younger,
    a_deadlock_of_three_refuses_the_youngest,
    a_deadlock_through_the_queue_is_found,
    a_deadlock_over_overlapping_keys_is_found,
    a_chain_is_no_deadlock,
    two_shared_holders_who_both_want_it_alone_deadlock,
);

async fn places(world: &World) -> Vec<String> {
    let waiters = world.store.waiters(&world.project).await.unwrap();
    waiters.iter().map(|w| w.agent_id.to_string()).collect()
}

/// Sends the last attempt of a wait.
async fn last(world: &World, who: &Caller, keys: &[&str], ticket: Uuid) -> Outcome {
    world.run(who, Acquire { wait: Some(Wait { ticket, last: true }), ..acquire(keys) }).await
}

async fn a_waiter_is_shown_with_all_that_is_known_of_it(world: &World) {
    world.take(&agent("ann"), "src").await;
    let request = Acquire { reason: Some("next".into()), ..queue(&["src/a.rs", "src/b.rs"], ticket(1)) };
    let in_the_way = waiting(world.run(&agent("bob"), request).await);
    assert_eq!(in_the_way.locks, world.locks().await);
    assert!(in_the_way.waiters.is_empty());
    let waiters = world.store.waiters(&world.project).await.unwrap();
    assert_eq!(waiters.len(), 1);
    let waiter = &waiters[0];
    assert_eq!(waiter.ticket, ticket(1));
    assert_eq!(waiter.agent_id.as_str(), "bob");
    assert_eq!(waiter.agent_type, "claude_code_cli");
    assert_eq!(waiter.keys, [key("src/a.rs"), key("src/b.rs")]);
    assert_eq!(waiter.mode, LockMode::Exclusive);
    assert_eq!(waiter.reason.as_deref(), Some("next"));
    assert_eq!(waiter.since, world.now());
    assert_eq!(waiter.expires_at, world.now() + seconds(3));
    let in_the_way = blocked(world.run(&agent("cid"), acquire(&["src/b.rs"])).await);
    assert_eq!(in_the_way.waiters, waiters);
}

async fn a_waiter_gets_the_lock_when_it_is_free(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    world.take(&ann, "src").await;
    waiting(world.run(&bob, queue(&["src"], ticket(1))).await);
    world.run(&ann, release(&["src"])).await;
    granted(world.run(&bob, queue(&["src"], ticket(1))).await);
    same(world.held().await, &["bob src"]);
}

async fn a_newcomer_does_not_overtake(world: &World) {
    let (ann, bob, cid) = (agent("ann"), agent("bob"), agent("cid"));
    world.take(&ann, "src").await;
    waiting(world.run(&bob, queue(&["src"], ticket(1))).await);
    world.run(&ann, release(&["src"])).await;
    let in_the_way = blocked(world.run(&cid, acquire(&["src/a.rs"])).await);
    assert!(in_the_way.locks.is_empty());
    same(in_the_way.waiters.iter().map(|w| w.agent_id.as_str()), &["bob"]);
    blocked(world.run(&ann, acquire(&["src"])).await);
    waiting(world.run(&cid, queue(&["src/a.rs"], ticket(2))).await);
    granted(world.run(&bob, queue(&["src"], ticket(1))).await);
}

async fn waiters_are_served_in_order_of_arrival(world: &World) {
    let agents: Vec<Caller> = ["bob", "cid", "dot", "eve"].map(agent).to_vec();
    world.take(&agent("ann"), "src").await;
    for (number, who) in agents.iter().enumerate() {
        // Tickets fall while places rise: the order is that of arrival.
        waiting(world.run(who, queue(&["src"], ticket(9 - number as u128))).await);
    }
    same(places(world).await, &["bob", "cid", "dot", "eve"]);
    world.run(&agent("ann"), release(&["src"])).await;
    for (number, who) in agents.iter().enumerate() {
        for (later, other) in agents.iter().enumerate().skip(number + 1) {
            waiting(world.run(other, queue(&["src"], ticket(9 - later as u128))).await);
        }
        granted(world.run(who, queue(&["src"], ticket(9 - number as u128))).await);
        world.run(who, release(&["src"])).await;
    }
    assert!(places(world).await.is_empty());
}

async fn a_waiter_holds_up_only_what_it_waits_for(world: &World) {
    world.take(&agent("ann"), "src/a.rs").await;
    waiting(world.run(&agent("bob"), queue(&["src/a.rs", "docs"], ticket(1))).await);
    world.take(&agent("cid"), "src/b.rs").await;
    blocked(world.run(&agent("cid"), acquire(&["docs/x.md"])).await);
}

async fn a_dead_waiter_loses_its_place(world: &World) {
    let (ann, bob, cid) = (agent("ann"), agent("bob"), agent("cid"));
    world.take(&ann, "src").await;
    waiting(world.run(&bob, queue(&["src"], ticket(1))).await);
    world.run(&ann, release(&["src"])).await;
    world.pass(seconds(3) - MOMENT).await;
    blocked(world.run(&cid, acquire(&["src"])).await);
    world.pass(MOMENT).await;
    same(world.store.due_projects().await.unwrap(), &["house"]);
    world.take(&cid, "src").await;
    assert!(places(world).await.is_empty());
    waiting(world.run(&bob, queue(&["src"], ticket(1))).await);
}

async fn polling_keeps_the_place(world: &World) {
    let (ann, bob, cid) = (agent("ann"), agent("bob"), agent("cid"));
    world.take(&ann, "src").await;
    let since = world.now();
    waiting(world.run(&bob, queue(&["src"], ticket(1))).await);
    waiting(world.run(&cid, queue(&["src"], ticket(2))).await);
    for _ in 0..10 {
        world.pass(seconds(2)).await;
        // The younger asks first, each time.
        waiting(world.run(&cid, queue(&["src"], ticket(2))).await);
        waiting(world.run(&bob, queue(&["src"], ticket(1))).await);
    }
    let waiters = world.store.waiters(&world.project).await.unwrap();
    same(waiters.iter().map(|w| w.agent_id.as_str()), &["bob", "cid"]);
    assert!(waiters.iter().all(|w| w.since == since));
    world.run(&ann, release(&["src"])).await;
    waiting(world.run(&cid, queue(&["src"], ticket(2))).await);
    granted(world.run(&bob, queue(&["src"], ticket(1))).await);
}

async fn the_last_attempt_leaves_the_queue(world: &World) {
    let (ann, bob, cid) = (agent("ann"), agent("bob"), agent("cid"));
    world.take(&ann, "src").await;
    waiting(world.run(&bob, queue(&["src"], ticket(1))).await);
    let in_the_way = blocked(last(world, &bob, &["src"], ticket(1)).await);
    assert_eq!(in_the_way.locks.len(), 1);
    assert!(places(world).await.is_empty());
    world.run(&ann, release(&["src"])).await;
    world.take(&cid, "src").await;
    blocked(last(world, &bob, &["src"], ticket(2)).await);
    assert!(places(world).await.is_empty(), "a first attempt that is the last one never queues");
}

async fn a_grant_leaves_the_queue(world: &World) {
    let (ann, bob, cid) = (agent("ann"), agent("bob"), agent("cid"));
    world.take(&ann, "src").await;
    waiting(world.run(&bob, queue(&["src"], ticket(1))).await);
    world.run(&ann, release(&["src"])).await;
    granted(last(world, &bob, &["src"], ticket(1)).await);
    assert!(places(world).await.is_empty());
    world.run(&bob, release(&["src"])).await;
    world.take(&cid, "src").await;
}

async fn a_waiter_blocked_by_me_does_not_block_me(world: &World) {
    let (ann, bob, cid) = (agent("ann"), agent("bob"), agent("cid"));
    world.take(&ann, "a").await;
    waiting(world.run(&bob, queue(&["a", "b"], ticket(1))).await);
    blocked(world.run(&cid, acquire(&["b"])).await);
    world.take(&ann, "b").await;
}

async fn a_refresh_is_not_held_up_by_waiters(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    let first = token(world.run(&ann, share(&["src"])).await);
    granted(world.run(&bob, share(&["src"])).await);
    waiting(world.run(&agent("cid"), queue(&["src"], ticket(1))).await);
    assert_eq!(token(world.run(&ann, share(&["src"])).await), first);
    assert!(granted(world.run(&bob, share(&["src"])).await)[0].refreshed);
}

async fn shared_newcomers_do_not_overtake_an_exclusive_waiter(world: &World) {
    world.run(&agent("ann"), share(&["src"])).await;
    waiting(world.run(&agent("bob"), queue(&["src"], ticket(1))).await);
    let in_the_way = blocked(world.run(&agent("cid"), share(&["src"])).await);
    assert!(in_the_way.locks.is_empty(), "a stream of readers would starve the writer");
    same(in_the_way.waiters.iter().map(|w| w.agent_id.as_str()), &["bob"]);
}

async fn shared_waiters_do_not_hold_up_each_other(world: &World) {
    let (ann, bob, cid) = (agent("ann"), agent("bob"), agent("cid"));
    world.take(&ann, "src").await;
    let shared = |number| Acquire { mode: LockMode::Shared, ..queue(&["src"], ticket(number)) };
    waiting(world.run(&bob, shared(1)).await);
    waiting(world.run(&cid, shared(2)).await);
    world.run(&ann, release(&["src"])).await;
    granted(world.run(&cid, shared(2)).await);
    granted(world.run(&bob, shared(1)).await);
}

async fn a_deadlock_of_two_refuses_the_younger(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    world.take(&ann, "a").await;
    world.take(&bob, "b").await;
    waiting(world.run(&ann, queue(&["b"], ticket(1))).await);
    match refused(world.run(&bob, queue(&["a"], ticket(2))).await) {
        Refusal::Deadlock { cycle } => same(cycle, &["bob", "ann", "bob"]),
        other => panic!("{other:?}"),
    }
    same(places(world).await, &["ann"]);
    same(world.held().await, &["ann a", "bob b"]);
    waiting(world.run(&ann, queue(&["b"], ticket(1))).await);
    world.run(&bob, release(&["b"])).await;
    granted(world.run(&ann, queue(&["b"], ticket(1))).await);
}

async fn a_deadlock_of_three_refuses_the_youngest(world: &World) {
    let (ann, bob, cid) = (agent("ann"), agent("bob"), agent("cid"));
    for (who, path) in [(&ann, "a"), (&bob, "b"), (&cid, "c")] {
        world.take(who, path).await;
    }
    waiting(world.run(&ann, queue(&["b"], ticket(1))).await);
    waiting(world.run(&bob, queue(&["c"], ticket(2))).await);
    match refused(world.run(&cid, queue(&["a"], ticket(3))).await) {
        Refusal::Deadlock { cycle } => same(cycle, &["cid", "ann", "bob", "cid"]),
        other => panic!("{other:?}"),
    }
    same(places(world).await, &["ann", "bob"]);
    world.run(&cid, release(&["c"])).await;
    granted(world.run(&bob, queue(&["c"], ticket(2))).await);
    world.run(&bob, release(&["b", "c"])).await;
    granted(world.run(&ann, queue(&["b"], ticket(1))).await);
}

async fn a_deadlock_through_the_queue_is_found(world: &World) {
    let (ann, bob, cid) = (agent("ann"), agent("bob"), agent("cid"));
    world.take(&ann, "a").await;
    world.take(&cid, "c").await;
    // Bob waits for ann; cid waits behind bob, and ann for cid.
    waiting(world.run(&bob, queue(&["a", "x"], ticket(1))).await);
    waiting(world.run(&cid, queue(&["x"], ticket(2))).await);
    match refused(world.run(&ann, queue(&["c"], ticket(3))).await) {
        Refusal::Deadlock { cycle } => same(cycle, &["ann", "cid", "bob", "ann"]),
        other => panic!("{other:?}"),
    }
}

async fn a_deadlock_over_overlapping_keys_is_found(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    world.take(&ann, "src/auth").await;
    world.take(&bob, "docs/**/*.md").await;
    waiting(world.run(&ann, queue(&["docs/a.md"], ticket(1))).await);
    match refused(world.run(&bob, queue(&["src"], ticket(2))).await) {
        Refusal::Deadlock { cycle } => same(cycle, &["bob", "ann", "bob"]),
        other => panic!("{other:?}"),
    }
}

async fn a_chain_is_no_deadlock(world: &World) {
    let (ann, bob, cid) = (agent("ann"), agent("bob"), agent("cid"));
    world.take(&ann, "a").await;
    world.take(&bob, "b").await;
    waiting(world.run(&bob, queue(&["a"], ticket(1))).await);
    waiting(world.run(&cid, queue(&["b"], ticket(2))).await);
    waiting(world.run(&agent("dot"), queue(&["a", "b"], ticket(3))).await);
    same(places(world).await, &["bob", "cid", "dot"]);
}

async fn two_shared_holders_who_both_want_it_alone_deadlock(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    world.run(&ann, share(&["src"])).await;
    world.run(&bob, share(&["src"])).await;
    waiting(world.run(&ann, queue(&["src"], ticket(1))).await);
    match refused(world.run(&bob, queue(&["src"], ticket(2))).await) {
        Refusal::Deadlock { cycle } => same(cycle, &["bob", "ann", "bob"]),
        other => panic!("{other:?}"),
    }
}
