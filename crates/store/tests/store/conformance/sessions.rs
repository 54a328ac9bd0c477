//! Sessions: who is there, and what becomes of what they hold when they are not.

use jiff::SignedDuration;
use model::command::{Action, Freed, Outcome, Refusal, Register, Submit};
use model::sessions::{Session, SessionStatus};
use model::work::TaskStatus;
use uuid::Uuid;

use crate::harness::*;

cases!(
    a_registered_session_is_shown_with_all_that_is_known_of_it,
    registering_again_renews_it_and_keeps_its_beginning,
    a_session_needs_an_id,
    a_session_belongs_to_one_agent,
    a_heartbeat_renews_the_session,
    a_heartbeat_of_nobody_renews_nothing,
    every_operation_is_a_sign_of_life,
    a_refused_operation_is_none,
    a_silent_session_grows_idle,
    a_session_ends_at_its_instant,
    its_end_frees_its_locks_and_tasks,
    its_end_frees_nothing_that_is_not_its_own,
    its_end_frees_nothing_of_another_agent_under_the_same_label,
    its_end_fails_a_task_on_its_last_attempt,
    a_refresh_from_another_session_saves_the_lock,
    whoever_is_blocked_by_the_dead_frees_it,
    an_ended_session_may_not_act,
    an_ended_session_acts_again_once_registered,
    a_label_that_never_registered_may_act,
    cleanup_disconnects_the_silent_and_counts,
    cleanup_counts_what_was_due_anyway,
    cleanup_spares_the_callers_own_session,
    cleanup_fails_what_comes_back_past_its_deadline,
    sessions_are_listed_last_heard_of_first,
);

const LEASE: SignedDuration = SignedDuration::from_secs(300);

async fn connected(world: &World) -> Vec<String> {
    let (sessions, now) = world.store.sessions(&world.project, true).await.unwrap();
    assert_eq!(now, world.now());
    sessions.iter().map(|s| s.session_id.to_string()).collect()
}

async fn session(world: &World, id: &str) -> Session {
    for connected in [true, false] {
        let (sessions, _) = world.store.sessions(&world.project, connected).await.unwrap();
        if let Some(session) = sessions.into_iter().find(|s| s.session_id.as_str() == id) {
            assert_eq!(session.disconnected_at.is_none(), connected);
            return session;
        }
    }
    panic!("no session {id}");
}

async fn a_registered_session_is_shown_with_all_that_is_known_of_it(world: &World) {
    let request = Register { current_task: Some("the \"parser\"".into()), ..register(&["c++", "rust", "ünï"]) };
    let outcome = world.run(&agent_in("ann", "s1"), request).await;
    let session = session(world, "s1").await;
    assert_eq!(
        outcome,
        Outcome::Registered { session_id: session.session_id.clone(), expires_at: world.now() + LEASE }
    );
    assert_eq!(session.agent_id.as_str(), "ann");
    assert_eq!(session.agent_type, "claude_code_cli");
    assert_eq!(session.capabilities, ["c++", "rust", "ünï"]);
    assert_eq!(session.current_task.as_deref(), Some("the \"parser\""));
    assert_eq!((session.started_at, session.last_heartbeat), (world.now(), world.now()));
    assert_eq!(session.ttl_seconds, 300);
    assert_eq!(session.expires_at, world.now() + LEASE);
    assert_eq!(session.disconnected_at, None);
}

async fn registering_again_renews_it_and_keeps_its_beginning(world: &World) {
    let ann = agent_in("ann", "s1");
    let begun = world.now();
    world.run(&ann, register(&["a"])).await;
    world.pass(seconds(100)).await;
    world.run(&ann, Register { ttl_seconds: 60, ..register(&["b"]) }).await;
    let session = session(world, "s1").await;
    assert_eq!(session.started_at, begun);
    assert_eq!(session.last_heartbeat, world.now());
    assert_eq!(session.expires_at, world.now() + seconds(60));
    assert_eq!(session.capabilities, ["b"]);
}

async fn a_session_needs_an_id(world: &World) {
    assert_eq!(refused(world.run(&agent("ann"), register(&[])).await), Refusal::SessionNotFound);
}

async fn a_session_belongs_to_one_agent(world: &World) {
    let (ann, bob) = (agent_in("ann", "s1"), agent_in("bob", "s1"));
    world.run(&ann, register(&[])).await;
    let before = session(world, "s1").await;
    world.pass(seconds(1)).await;
    let not_yours = Refusal::SessionNotYours { session_id: before.session_id.clone() };
    for action in [register(&[]).action(), Action::Heartbeat, acquire(&["src"]).action(), claim().action()] {
        assert_eq!(refused(world.run(&bob, action).await), not_yours);
    }
    world.pass(LEASE).await;
    assert_eq!(refused(world.run(&bob, register(&[])).await), not_yours, "not even when it has ended");
    assert_eq!(session(world, "s1").await.last_heartbeat, before.last_heartbeat);
    assert!(world.locks().await.is_empty());
}

async fn a_heartbeat_renews_the_session(world: &World) {
    let ann = agent_in("ann", "s1");
    world.run(&ann, register(&[])).await;
    for _ in 0..3 {
        world.pass(LEASE - MOMENT).await;
        let outcome = world.run(&ann, Action::Heartbeat).await;
        assert_eq!(outcome, Outcome::Renewed { session_id: ann.session_id.clone(), tasks: 0 });
        let session = session(world, "s1").await;
        assert_eq!((session.last_heartbeat, session.expires_at), (world.now(), world.now() + LEASE));
    }
}

async fn a_heartbeat_of_nobody_renews_nothing(world: &World) {
    world.run(&agent_in("ann", "s1"), register(&[])).await;
    for who in [agent("bob"), agent_in("bob", "s2"), agent_in("ann", "s2")] {
        assert_eq!(refused(world.run(&who, Action::Heartbeat).await), Refusal::SessionNotFound);
    }
    assert!(world.run(&agent("ann"), Action::Heartbeat).await.is_success(), "an agent that names none: all of its own");
}

async fn every_operation_is_a_sign_of_life(world: &World) {
    let ann = agent_in("ann", "s1");
    world.run(&ann, register(&[])).await;
    let id = Uuid::from_u128(1);
    for action in [
        acquire(&["src"]).action(),
        queue(&["src"], ticket(1)).action(),
        release(&["src"]).action(),
        task().action(),
        claim().action(),
        complete(id).action(),
        cancel(id).action(),
        cleanup(10_000).action(),
        Action::RevokeKey { id },
    ] {
        world.pass(LEASE - MOMENT).await;
        let what = format!("{action:?}");
        world.run(&ann, action).await;
        assert_eq!(session(world, "s1").await.last_heartbeat, world.now(), "{what}");
    }
    assert_eq!(connected(world).await, ["s1"]);
}

async fn a_refused_operation_is_none(world: &World) {
    // It never reached the store, so that whoever sent it is not known to be who it says.
    let ann = agent_in("ann", "s1");
    world.run(&ann, register(&[])).await;
    let begun = world.now();
    world.pass(seconds(10)).await;
    world.run(&ann, Action::Refuse(Refusal::IdentityMismatch { message: "no".into() })).await;
    assert_eq!(session(world, "s1").await.last_heartbeat, begun);
}

async fn a_silent_session_grows_idle(world: &World) {
    world.run(&agent_in("ann", "s1"), register(&[])).await;
    world.pass(seconds(100) - MOMENT).await;
    assert_eq!(session(world, "s1").await.status(world.now()), SessionStatus::Active);
    world.pass(MOMENT).await;
    assert_eq!(session(world, "s1").await.status(world.now()), SessionStatus::Idle);
    world.pass(seconds(200)).await;
    assert_eq!(session(world, "s1").await.status(world.now()), SessionStatus::Disconnected);
}

async fn a_session_ends_at_its_instant(world: &World) {
    world.run(&agent_in("ann", "s1"), register(&[])).await;
    world.pass(LEASE - MOMENT).await;
    assert_eq!(connected(world).await, ["s1"]);
    assert!(world.store.due_projects().await.unwrap().is_empty());
    world.pass(MOMENT).await;
    same(world.store.due_projects().await.unwrap(), &["house"]);
    assert!(connected(world).await.is_empty());
    assert_eq!(session(world, "s1").await.disconnected_at, Some(world.now()));
    assert!(world.store.due_projects().await.unwrap().is_empty(), "once");
}

async fn its_end_frees_its_locks_and_tasks(world: &World) {
    let (ann, bob) = (agent_in("ann", "s1"), agent("bob"));
    let id = world.add(task()).await;
    world.run(&ann, register(&[])).await;
    world.run(&ann, acquire(&["src", "docs"])).await;
    world.run(&ann, model::command::Claim { lease_seconds: 10_000, ..claim() }).await;
    world.pass(LEASE - MOMENT).await;
    blocked(world.run(&bob, acquire(&["src"])).await);
    world.claims_nothing(&bob).await;
    world.pass(MOMENT).await;
    assert!(world.locks().await.is_empty());
    assert_eq!(world.task(id).await.status, TaskStatus::Pending);
    assert_eq!(world.claims(&bob, id).await.attempt, 2);
}

async fn its_end_frees_nothing_that_is_not_its_own(world: &World) {
    let (one, two) = (agent_in("ann", "s1"), agent_in("ann", "s2"));
    let long = |key| model::command::Acquire { ttl_seconds: 10_000, ..acquire(&[key]) };
    let lasting = || model::command::Claim { lease_seconds: 10_000, ..claim() };
    for _ in 0..3 {
        world.add(task()).await;
    }
    world.run(&one, register(&[])).await;
    world.run(&two, Register { ttl_seconds: 10_000, ..register(&[]) }).await;
    for (who, key) in [(&one, "a"), (&two, "b"), (&agent("ann"), "c"), (&agent("bob"), "d")] {
        granted(world.run(who, long(key)).await);
        if key != "a" {
            claimed(world.run(who, lasting()).await);
        }
    }
    world.pass(LEASE).await;
    same(world.held().await, &["ann b", "ann c", "bob d"]);
    world.claims_nothing(&agent("cid")).await;
    assert_eq!(connected(world).await, ["s2"]);
}

async fn its_end_frees_nothing_of_another_agent_under_the_same_label(world: &World) {
    // Ann's label is no session: she never registered. Then bob registers one of that name.
    let id = world.add(task()).await;
    world.take(&agent_in("ann", "s1"), "src").await;
    claimed(world.run(&agent_in("ann", "s1"), model::command::Claim { lease_seconds: 10_000, ..claim() }).await);
    world.run(&agent_in("bob", "s1"), register(&[])).await;
    world.pass(LEASE).await;
    assert!(connected(world).await.is_empty());
    same(world.held().await, &["ann src"]);
    assert_eq!(world.task(id).await.status, TaskStatus::Claimed);
}

async fn its_end_fails_a_task_on_its_last_attempt(world: &World) {
    let ann = agent_in("ann", "s1");
    let id = world.add(Submit { max_attempts: 1, ..task() }).await;
    let dependent = world.add(task_after(&[id])).await;
    world.run(&ann, register(&[])).await;
    world.run(&ann, model::command::Claim { lease_seconds: 10_000, ..claim() }).await;
    world.pass(LEASE).await;
    assert_eq!(world.task(id).await.status, TaskStatus::Failed);
    assert_eq!(world.task(dependent).await.status, TaskStatus::Failed);
}

async fn a_refresh_from_another_session_saves_the_lock(world: &World) {
    let (one, two) = (agent_in("ann", "s1"), agent_in("ann", "s2"));
    world.run(&one, register(&[])).await;
    world.take(&one, "src").await;
    world.pass(seconds(10)).await;
    world.run(&two, register(&[])).await;
    world.take(&two, "src").await;
    world.pass(seconds(290)).await;
    assert_eq!(connected(world).await, ["s2"]);
    same(world.held().await, &["ann src"]);
}

async fn whoever_is_blocked_by_the_dead_frees_it(world: &World) {
    let ann = agent_in("ann", "s1");
    world.run(&ann, register(&[])).await;
    world.run(&ann, model::command::Acquire { ttl_seconds: 10_000, ..acquire(&["src"]) }).await;
    world.pass(LEASE).await;
    world.take(&agent("bob"), "src/a.rs").await;
}

async fn an_ended_session_may_not_act(world: &World) {
    let ann = agent_in("ann", "s1");
    let id = world.add(task()).await;
    world.run(&ann, register(&[])).await;
    world.run(&ann, model::command::Claim { lease_seconds: 10_000, ..claim() }).await;
    world.pass(LEASE).await;
    let expired = Refusal::SessionExpired { session_id: ann.session_id.clone().unwrap(), disconnected_at: world.now() };
    let tasks = async || {
        let all = model::work::TaskFilter { limit: 100, ..Default::default() };
        world.store.tasks(&world.project, &all).await.unwrap()
    };
    let before = tasks().await;
    world.pass(seconds(1)).await;
    for action in [
        acquire(&["src"]).action(),
        queue(&["src"], ticket(1)).action(),
        release(&["src"]).action(),
        task().action(),
        claim().action(),
        complete(id).action(),
        cancel(id).action(),
        Action::Heartbeat,
        cleanup(0).action(),
        Action::RevokeKey { id },
    ] {
        let what = format!("{action:?}");
        assert_eq!(refused(world.run(&ann, action).await), expired, "{what}");
    }
    assert_eq!(tasks().await, before);
    assert!(world.locks().await.is_empty());
    assert!(world.store.waiters(&world.project).await.unwrap().is_empty());
}

async fn an_ended_session_acts_again_once_registered(world: &World) {
    let ann = agent_in("ann", "s1");
    world.run(&ann, register(&[])).await;
    world.take(&ann, "src").await;
    world.pass(LEASE).await;
    refused(world.run(&ann, acquire(&["src"])).await);
    assert!(matches!(world.run(&ann, register(&[])).await, Outcome::Registered { .. }));
    assert!(world.locks().await.is_empty(), "what it held is gone");
    world.take(&ann, "src").await;
    assert_eq!(connected(world).await, ["s1"]);
}

async fn a_label_that_never_registered_may_act(world: &World) {
    let ann = agent_in("ann", "label");
    world.take(&ann, "src").await;
    let id = world.add(task()).await;
    world.claims(&ann, id).await;
    assert!(connected(world).await.is_empty());
    assert_eq!(
        world.run(&ann, Action::Heartbeat).await,
        Outcome::Renewed { session_id: None, tasks: 1 },
        "it has a claim to renew"
    );
}

async fn cleanup_disconnects_the_silent_and_counts(world: &World) {
    let (ann, bob, cid) = (agent_in("ann", "s1"), agent_in("bob", "s2"), agent("cid"));
    world.add(task()).await;
    world.run(&ann, register(&[])).await;
    world.run(&ann, acquire(&["src", "docs"])).await;
    claimed(world.run(&ann, model::command::Claim { lease_seconds: 10_000, ..claim() }).await);
    world.pass(seconds(100)).await;
    world.run(&bob, register(&[])).await;
    world.take(&bob, "tests").await;
    assert_eq!(world.run(&cid, cleanup(101)).await, Outcome::Cleaned { freed: Freed::default() });
    assert_eq!(
        world.run(&cid, cleanup(100)).await,
        Outcome::Cleaned { freed: Freed { sessions: 1, locks: 2, tasks: 1 } }
    );
    same(world.held().await, &["bob tests"]);
    assert_eq!(connected(world).await, ["s2"]);
    assert_eq!(world.run(&cid, cleanup(100)).await, Outcome::Cleaned { freed: Freed::default() });
    assert_eq!(
        world.run(&cid, cleanup(0)).await,
        Outcome::Cleaned { freed: Freed { sessions: 1, locks: 1, tasks: 0 } }
    );
    refused(world.run(&bob, acquire(&["tests"])).await);
}

async fn cleanup_counts_what_was_due_anyway(world: &World) {
    let ann = agent_in("ann", "s1");
    world.run(&ann, register(&[])).await;
    world.take(&ann, "src").await;
    world.pass(LEASE).await;
    assert_eq!(
        world.run(&agent("cid"), cleanup(900)).await,
        Outcome::Cleaned { freed: Freed { sessions: 1, locks: 1, tasks: 0 } }
    );
}

async fn cleanup_spares_the_callers_own_session(world: &World) {
    let (ann, bob) = (agent_in("ann", "s1"), agent_in("ann", "s2"));
    world.run(&ann, register(&[])).await;
    world.run(&bob, register(&[])).await;
    assert_eq!(
        world.run(&ann, cleanup(0)).await,
        Outcome::Cleaned { freed: Freed { sessions: 1, locks: 0, tasks: 0 } }
    );
    assert_eq!(connected(world).await, ["s1"]);
}

async fn cleanup_fails_what_comes_back_past_its_deadline(world: &World) {
    let (ann, cid) = (agent_in("ann", "s1"), agent("cid"));
    let id = world.add(Submit { deadline: Some(world.now() + seconds(10)), ..task() }).await;
    world.run(&ann, register(&[])).await;
    world.claims(&ann, id).await;
    world.pass(seconds(20)).await;
    let outcomes = world.all(&[command(&cid, cleanup(0)), command(&cid, claim())]).await;
    assert_eq!(outcomes[1], Outcome::NoTask);
    assert_eq!(world.task(id).await.status, TaskStatus::Failed);
}

async fn sessions_are_listed_last_heard_of_first(world: &World) {
    for (who, id) in [("ann", "b"), ("bob", "a"), ("cid", "B"), ("dot", "ä")] {
        world.run(&agent_in(who, id), register(&[])).await;
    }
    assert_eq!(connected(world).await, ["ä", "b", "a", "B"], "heard of at one instant: by id, backwards");
    world.pass(seconds(1)).await;
    world.run(&agent_in("cid", "B"), Action::Heartbeat).await;
    assert_eq!(connected(world).await, ["B", "ä", "b", "a"]);
    world.pass(LEASE - seconds(1)).await;
    assert_eq!(connected(world).await, ["B"]);
    let (gone, _) = world.store.sessions(&world.project, false).await.unwrap();
    same(gone.iter().map(|s| s.session_id.as_str()), &["ä", "b", "a"]);
}
