//! Two projects never see each other's records.

use model::audit::AuditFilter;
use model::command::{Action, Outcome, Refusal, Submit};
use model::work::TaskFilter;

use crate::harness::*;

cases!(
    nothing_of_one_project_is_seen_in_another,
    nothing_in_one_project_holds_up_another,
    nothing_of_another_project_can_be_changed,
    each_project_counts_for_itself,
    one_projects_dead_are_not_freed_in_another,
    the_projects_in_which_something_is_due_are_named,
    similar_names_are_different_projects,
);

/// The same store, seen from another project.
fn elsewhere(world: &World) -> World {
    world.in_project("field")
}

async fn nothing_of_one_project_is_seen_in_another(world: &World) {
    let ann = agent_in("ann", "s1");
    let id = world.add(task()).await;
    world.run(&ann, register(&[])).await;
    world.take(&ann, "src").await;
    waiting(world.run(&agent("bob"), queue(&["src"], ticket(1))).await);
    let other = elsewhere(world);
    assert!(other.locks().await.is_empty());
    assert!(other.store.locks(&other.project, Some(&[key("src")])).await.unwrap().is_empty());
    assert!(other.store.waiters(&other.project).await.unwrap().is_empty());
    assert_eq!(other.store.task(&other.project, id).await.unwrap(), None);
    let all = TaskFilter { limit: 10, ..TaskFilter::default() };
    assert!(other.store.tasks(&other.project, &all).await.unwrap().is_empty());
    for connected in [true, false] {
        assert!(other.store.sessions(&other.project, connected).await.unwrap().0.is_empty());
    }
    let all = AuditFilter { limit: 10, ..AuditFilter::default() };
    assert!(other.store.audit(&other.project, &all).await.unwrap().is_empty());
}

async fn nothing_in_one_project_holds_up_another(world: &World) {
    let (ann, bob) = (agent_in("ann", "s1"), agent("bob"));
    let other = elsewhere(world);
    world.run(&ann, acquire(&[".", "**/*.rs", "feature:f:pause"])).await;
    waiting(world.run(&bob, queue(&["src"], ticket(1))).await);
    other.take(&bob, "src").await;
    granted(other.run(&bob, model::command::Acquire { feature_id: Some("f".into()), ..acquire(&["docs"]) }).await);
    world.run(&ann, register(&["rust"])).await;
    assert!(matches!(other.run(&agent_in("bob", "s1"), register(&[])).await, Outcome::Registered { .. }));

    let once = || Submit { idempotency_key: Some("k".into()), ..task() };
    let (here, there) = (world.add(once()).await, other.add(Submit { feature_id: Some("f".into()), ..once() }).await);
    assert_ne!(here, there);
    other.claims(&bob, there).await;
    other.claims_nothing(&bob).await;
    other.add(Submit { required_capability: Some("rust".into()), ..task() }).await;
    other.claims_nothing(&agent("ann")).await;
}

async fn nothing_of_another_project_can_be_changed(world: &World) {
    let ann = agent_in("ann", "s1");
    let other = elsewhere(world);
    world.run(&ann, register(&[])).await;
    world.take(&ann, "src").await;
    waiting(world.run(&agent("bob"), queue(&["src"], ticket(1))).await);
    let id = world.add(task()).await;
    world.claims(&ann, id).await;
    let key = super::api_keys::key_for("house", 1);
    world.run(&ann, Action::CreateKey(key.clone())).await;
    let (locks, task_before) = (world.locks().await, world.task(id).await);

    assert!(
        matches!(other.run(&ann, release(&["src"])).await, Outcome::Released { missing, .. } if missing.len() == 1)
    );
    assert_eq!(refused(other.run(&ann, complete(id)).await), Refusal::TaskNotFoundOrNotClaimedByAgent);
    assert_eq!(refused(other.run(&ann, cancel(id)).await), Refusal::TaskNotFound);
    assert_eq!(refused(other.run(&ann, task_after(&[id])).await), Refusal::UnknownDependency { task_ids: vec![id] });
    assert_eq!(refused(other.run(&ann, Action::Heartbeat).await), Refusal::SessionNotFound);
    assert_eq!(refused(other.run(&ann, Action::RevokeKey { id: key.id }).await), Refusal::KeyNotFound);
    assert_eq!(other.run(&agent("cid"), cleanup(0)).await, Outcome::Cleaned { freed: Default::default() });
    granted(other.run(&agent("bob"), queue(&["src"], ticket(1))).await);

    assert_eq!(world.locks().await, locks);
    assert_eq!(world.task(id).await, task_before);
    assert_eq!(world.store.waiters(&world.project).await.unwrap().len(), 1);
    assert_eq!(world.store.sessions(&world.project, true).await.unwrap().0.len(), 1);
    assert_eq!(world.store.api_keys().await.unwrap().0[0].revoked_at, None);
}

async fn each_project_counts_for_itself(world: &World) {
    let ann = agent("ann");
    let other = elsewhere(world);
    let first = world.take(&ann, "a").await;
    for path in ["b", "c", "d"] {
        other.take(&ann, path).await;
    }
    assert_eq!(world.take(&ann, "b").await, first + 1);
    let all = AuditFilter { limit: 10, ..AuditFilter::default() };
    let positions = async |world: &World| -> Vec<i64> {
        world.store.audit(&world.project, &all).await.unwrap().iter().map(|e| e.seq).collect()
    };
    assert_eq!(positions(world).await, [2, 1]);
    assert_eq!(positions(&other).await, [3, 2, 1]);
}

async fn one_projects_dead_are_not_freed_in_another(world: &World) {
    let other = elsewhere(world);
    for world in [world, &other] {
        let ann = agent_in("ann", "s1");
        world.run(&ann, register(&[])).await;
        world.take(&ann, "src").await;
        let id = world.add(task()).await;
        world.claims(&ann, id).await;
    }
    world.run(&agent("cid"), cleanup(0)).await;
    assert!(world.locks().await.is_empty());
    same(other.held().await, &["ann src"]);
    assert_eq!(other.store.sessions(&other.project, true).await.unwrap().0.len(), 1);
    other.claims_nothing(&agent("bob")).await;
}

async fn the_projects_in_which_something_is_due_are_named(world: &World) {
    let other = elsewhere(world);
    let third = world.in_project("empty");
    third.all(&[]).await;
    world.take(&agent("ann"), "src").await;
    other.run(&agent_in("bob", "s1"), register(&[])).await;
    assert!(world.store.due_projects().await.unwrap().is_empty());
    world.pass(seconds(300)).await;
    same(world.store.due_projects().await.unwrap(), &["field"]);
    world.pass(seconds(300)).await;
    let mut due: Vec<String> = world.store.due_projects().await.unwrap().iter().map(ToString::to_string).collect();
    due.sort();
    assert_eq!(due, ["field", "house"]);
    other.all(&[]).await;
    world.all(&[]).await;
    assert!(world.store.due_projects().await.unwrap().is_empty());
}

async fn similar_names_are_different_projects(world: &World) {
    for name in ["House", "house ", "hous_", "house%", "höuse", "ho'use", "h\u{f6}use2", "/home/me/house/.git"] {
        let other = world.in_project(name);
        assert_eq!(other.take(&agent("ann"), "src").await, 1, "{name}");
        same(other.held().await, &["ann src"]);
    }
}
