//! A batch is one transaction, applied in order at one instant; what is acknowledged is there for every opener.

use std::sync::Arc;

use model::audit::AuditFilter;
use model::command::{Acquire, Action, BlockReason, Command, Outcome, Submit};
use store::{GroupCommit, Store, StoreError};

use crate::harness::*;

cases!(
    an_empty_batch_does_nothing,
    commands_see_what_came_before_them_in_the_batch,
    they_see_also_what_is_seldom_there,
    what_a_batch_grants_is_in_the_way_of_the_rest,
    what_was_granted_before_is_in_the_way_of_a_batch,
    the_end_of_a_session_takes_what_its_batch_granted,
    a_batch_that_fails_leaves_nothing,
    what_is_acknowledged_is_there_for_every_opener,
    openers_take_turns,
    many_callers_share_commits_and_get_each_their_own_answer,
    a_command_that_cannot_be_applied_harms_no_neighbour,
    the_database_answers,
);

/// A command that no database can apply: its task exists already. The reference does not mind.
async fn impossible(world: &World) -> Command {
    let id = world.add(task()).await;
    command(&agent("boss"), Submit { task_id: id, ..task() })
}

async fn trail_length(store: &Arc<dyn Store>, world: &World) -> usize {
    let all = AuditFilter { limit: 10_000, ..AuditFilter::default() };
    store.audit(&world.project, &all).await.unwrap().len()
}

async fn an_empty_batch_does_nothing(world: &World) {
    assert_eq!(world.all(&[]).await, []);
    assert_eq!(trail_length(&world.store, world).await, 0);
}

async fn commands_see_what_came_before_them_in_the_batch(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    let first = task();
    let second = task_after(&[first.task_id]);
    let outcomes = world
        .all(&[
            command(&ann, acquire(&["src"])),
            command(&bob, acquire(&["src"])),
            command(&ann, release(&["src"])),
            command(&bob, acquire(&["src"])),
            command(&ann, first.clone()),
            command(&ann, second.clone()),
            command(&bob, claim()),
            command(&bob, claim()),
            command(&bob, complete(first.task_id)),
            command(&bob, claim()),
        ])
        .await;
    blocked(outcomes[1].clone());
    let (one, two) = (token(outcomes[0].clone()), token(outcomes[3].clone()));
    assert!(one < two);
    assert_eq!(claimed(outcomes[6].clone()).task_id, first.task_id);
    assert_eq!(outcomes[7], Outcome::NoTask);
    assert_eq!(claimed(outcomes[9].clone()).task_id, second.task_id);
}

async fn they_see_also_what_is_seldom_there(world: &World) {
    let (ann, bob, cid) = (agent("ann"), agent("bob"), agent("cid"));
    let outcomes = world
        .all(&[
            command(&ann, acquire(&["lib/**/*.rs"])),
            command(&bob, acquire(&["lib/deep/a.rs"])),
            command(&ann, acquire(&["feature:f:pause"])),
            command(&bob, Acquire { feature_id: Some("f".into()), ..acquire(&["docs"]) }),
            command(&ann, acquire(&["src"])),
            command(&bob, queue(&["src"], ticket(1))),
            command(&ann, release(&["src"])),
            command(&cid, acquire(&["src"])),
        ])
        .await;
    assert_eq!(blocked(outcomes[1].clone()).locks[0].key, key("lib/**/*.rs"));
    assert_eq!(blocked(outcomes[3].clone()).reason, BlockReason::FeaturePaused);
    waiting(outcomes[5].clone());
    assert_eq!(blocked(outcomes[7].clone()).waiters[0].agent_id, bob.agent_id);
}

/// Two keys that overlap.
const OVERLAPS: [[&str; 2]; 5] = [
    ["src/a.rs", "src/a.rs"],
    ["src", "src/deep/er/a.rs"],
    ["src/**/*.rs", "src/deep/er/a.rs"],
    ["**", "src/a.rs"],
    ["db:users", "db:schema:users"],
];
/// Next to each other and to those, and free.
const FREE: [&str; 5] = ["srcs", "src-gen/a.rs", "docs/deep/er/a.md", "api:GET /src/a.rs", "env:src"];

async fn what_a_batch_grants_is_in_the_way_of_the_rest(world: &World) {
    let (ann, bob, cid) = (agent("ann"), agent("bob"), agent("cid"));
    for [one, other] in OVERLAPS {
        for [first, second] in [[one, other], [other, one]] {
            let free = FREE.into_iter().filter(|k| !key(k).overlaps(&key(first)) && !key(k).overlaps(&key(second)));
            let mut batch: Vec<_> = free.map(|k| command(&cid, acquire(&[k]))).collect();
            batch.push(command(&ann, acquire(&[first])));
            batch.push(command(&bob, acquire(&[second])));
            batch.push(command(&ann, release(&[first])));
            batch.push(command(&bob, acquire(&[second])));
            let mut outcomes = world.all(&batch).await;
            granted(outcomes.pop().unwrap());
            outcomes.pop();
            same(blocked(outcomes.pop().unwrap()).locks.iter().map(|l| &l.key), &[first]);
            outcomes.into_iter().for_each(|outcome| drop(granted(outcome)));
            world.all(&[command(&cid, release(&FREE)), command(&bob, release(&[second]))]).await;
            assert!(world.held().await.is_empty());
        }
    }
}

async fn what_was_granted_before_is_in_the_way_of_a_batch(world: &World) {
    let (ann, bob, cid) = (agent("ann"), agent("bob"), agent("cid"));
    for [one, other] in OVERLAPS {
        for [held, wanted] in [[one, other], [other, one]] {
            world.take(&ann, held).await;
            // With a second command, far from all that, for one by itself is not looked for as a batch is.
            let far = command(&cid, acquire(&["api:GET /"]));
            let outcomes = world.all(&[far.clone(), command(&bob, acquire(&[wanted]))]).await;
            same(blocked(outcomes[1].clone()).locks.iter().map(|l| &l.key), &[held]);
            let outcomes = world.all(&[far, command(&ann, acquire(&[held]))]).await;
            assert!(granted(outcomes[1].clone())[0].refreshed);
            world.all(&[command(&cid, release(&["api:GET /"])), command(&ann, release(&[held]))]).await;
            assert!(world.held().await.is_empty());
        }
    }
}

async fn the_end_of_a_session_takes_what_its_batch_granted(world: &World) {
    let (ann, bob) = (agent_in("ann", "s1"), agent("bob"));
    world.run(&ann, register(&[])).await;
    let batch = [
        command(&ann, acquire(&["a"])),
        command(&bob, acquire(&["b"])),
        command(&ann, acquire(&["c"])),
        command(&ann, Action::EndSession),
        command(&bob, acquire(&["d"])),
    ];
    let outcomes = world.all(&batch).await;
    let Outcome::SessionEnded { freed } = outcomes[3].clone() else { panic!("{:?}", outcomes[3]) };
    assert_eq!(freed.locks, 2);
    same(world.held().await, &["bob b", "bob d"]);
}

async fn a_batch_that_fails_leaves_nothing(world: &World) {
    if matches!(*world.home, Home::Memory) {
        return;
    }
    let ann = agent("ann");
    let impossible = impossible(world).await;
    let before = trail_length(&world.store, world).await;
    let first = world.take(&ann, "a").await;
    let batch = [command(&ann, acquire(&["b"])), impossible, command(&ann, acquire(&["c"]))];
    let error = world.store.apply(&world.project, &batch).await.unwrap_err();
    assert!(matches!(error, StoreError::Failed(_)), "{error:?}");
    same(world.held().await, &["ann a"]);
    assert_eq!(trail_length(&world.store, world).await, before + 1);
    assert_eq!(world.take(&ann, "d").await, first + 1, "not even the counters moved");
}

async fn what_is_acknowledged_is_there_for_every_opener(world: &World) {
    let Some(other) = world.reopened().await else { return };
    let ann = agent_in("ann", "s1");
    world.run(&ann, register(&["rust"])).await;
    world.take(&ann, "src").await;
    let id = world.add(task()).await;
    assert_eq!(other.locks(&world.project, None).await.unwrap(), world.locks().await);
    assert_eq!(other.task(&world.project, id).await.unwrap().unwrap(), world.task(id).await);
    assert_eq!(
        other.sessions(&world.project, true).await.unwrap(),
        world.store.sessions(&world.project, true).await.unwrap()
    );
    assert_eq!(trail_length(&other, world).await, 3);
}

async fn openers_take_turns(world: &World) {
    let Some(other) = world.reopened().await else { return };
    let mut last = 0;
    for round in 0..20 {
        let store = if round % 2 == 0 { &world.store } else { &other };
        let asked = command(&agent("ann"), acquire(&[&format!("{round}")]));
        let token = token(store.apply(&world.project, &[asked]).await.unwrap().remove(0));
        assert!(token > last);
        last = token;
    }
    assert_eq!(trail_length(&other, world).await, 20);
}

async fn many_callers_share_commits_and_get_each_their_own_answer(world: &World) {
    let group = GroupCommit::new(world.store.clone());
    let project = world.project.clone();
    let calls = (0..300).map(|n| {
        let asked = command(&agent(&format!("agent {n}")), acquire(&[&format!("{}", n / 2)]));
        group.apply(&project, asked)
    });
    let outcomes = futures::future::join_all(calls).await;
    for (number, pair) in outcomes.chunks(2).enumerate() {
        let grants = granted(pair[0].clone().unwrap());
        same([&grants[0].key], &[number.to_string()]);
        let in_the_way = blocked(pair[1].clone().unwrap());
        same([&in_the_way.locks[0].agent_id], &[format!("agent {}", number * 2)]);
    }
    assert_eq!(trail_length(&world.store, world).await, 300);
}

async fn a_command_that_cannot_be_applied_harms_no_neighbour(world: &World) {
    if matches!(*world.home, Home::Memory) {
        return;
    }
    let impossible = impossible(world).await;
    let group = GroupCommit::new(world.store.clone());
    let calls = (0..9).map(|n| match n {
        4 => impossible.clone(),
        _ => command(&agent("ann"), acquire(&[&n.to_string()])),
    });
    let outcomes = futures::future::join_all(calls.map(|call| group.apply(&world.project, call))).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Err(error) => assert!(number == 4 && matches!(error, StoreError::Failed(_)), "{number}: {error:?}"),
            Ok(outcome) => drop(granted(outcome)),
        }
    }
    assert_eq!(world.locks().await.len(), 8);
}

async fn the_database_answers(world: &World) {
    world.store.ping().await.unwrap();
}
