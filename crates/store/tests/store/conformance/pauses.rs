//! `feature:ID:pause` stops the line: while another holds it, the feature's work does not go on.

use model::command::{Acquire, BlockReason, Outcome, Submit};

use crate::harness::*;

cases!(
    a_paused_features_locks_are_not_granted,
    a_pause_does_not_hold_up_its_holder_or_other_features,
    a_pause_holds_up_whoever_works_on_the_features_tasks,
    a_pause_itself_is_a_lock_like_any_other,
    a_paused_features_tasks_are_not_handed_out,
    a_pause_ends_with_its_lock,
    one_can_wait_for_the_end_of_a_pause,
    a_feature_of_any_name_can_be_told_from_another,
);

fn for_feature(feature: &str, keys: &[&str]) -> Acquire {
    Acquire { feature_id: Some(feature.into()), ..acquire(keys) }
}

fn of_feature(feature: &str) -> Submit {
    Submit { feature_id: Some(feature.into()), ..task() }
}

async fn a_paused_features_locks_are_not_granted(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    let request = Acquire { reason: Some("the schema is wrong".into()), ..acquire(&["feature:f:pause"]) };
    world.run(&ann, request).await;
    for request in [for_feature("f", &["src/a.rs"]), acquire(&["feature:f:lead"]), acquire(&["feature:f:lead", "src"])]
    {
        let blocked = blocked(world.run(&bob, request).await);
        assert_eq!(blocked.reason, BlockReason::FeaturePaused);
        assert_eq!(blocked.locks, world.locks().await);
        assert_eq!(blocked.locks[0].reason.as_deref(), Some("the schema is wrong"));
        assert!(blocked.waiters.is_empty());
    }
    same(world.held().await, &["ann feature:f:pause"]);
}

async fn a_pause_does_not_hold_up_its_holder_or_other_features(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    world.take(&ann, "feature:f:pause").await;
    granted(world.run(&ann, for_feature("f", &["src/a.rs"])).await);
    granted(world.run(&ann, acquire(&["feature:f:lead"])).await);
    granted(world.run(&bob, for_feature("g", &["src/b.rs"])).await);
    granted(world.run(&bob, acquire(&["src/c.rs"])).await);
    granted(world.run(&bob, acquire(&["feature:g:lead"])).await);
}

async fn a_pause_holds_up_whoever_works_on_the_features_tasks(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    let id = world.add(of_feature("f")).await;
    world.claims(&bob, id).await;
    world.take(&bob, "src/a.rs").await;
    world.take(&ann, "feature:f:pause").await;
    assert_eq!(blocked(world.run(&bob, acquire(&["src/b.rs"])).await).reason, BlockReason::FeaturePaused);
    world.run(&bob, complete(id)).await;
    world.take(&bob, "src/b.rs").await;
}

async fn a_pause_itself_is_a_lock_like_any_other(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    world.take(&ann, "feature:f:pause").await;
    assert_eq!(blocked(world.run(&bob, acquire(&["feature:f:pause"])).await).reason, BlockReason::LockedByOther);
    let outcome = world.run(&bob, release(&["feature:f:pause"])).await;
    assert!(matches!(outcome, Outcome::Released { missing, .. } if missing.len() == 1));
    world.run(&ann, release(&["feature:f:pause"])).await;
    world.take(&bob, "feature:f:pause").await;
}

async fn a_paused_features_tasks_are_not_handed_out(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    let paused = world.add(of_feature("f")).await;
    world.take(&ann, "feature:f:pause").await;
    world.claims_nothing(&bob).await;
    let other = world.add(of_feature("g")).await;
    world.claims(&bob, other).await;
    world.claims(&ann, paused).await;
}

async fn a_pause_ends_with_its_lock(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    let id = world.add(of_feature("f")).await;
    world.take(&ann, "feature:f:pause").await;
    world.pass(seconds(600) - MOMENT).await;
    world.claims_nothing(&bob).await;
    world.pass(MOMENT).await;
    world.claims(&bob, id).await;
    granted(world.run(&bob, for_feature("f", &["src"])).await);
}

async fn one_can_wait_for_the_end_of_a_pause(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    world.take(&ann, "feature:f:pause").await;
    let request = || Acquire { feature_id: Some("f".into()), ..queue(&["src"], ticket(1)) };
    assert_eq!(waiting(world.run(&bob, request()).await).reason, BlockReason::FeaturePaused);
    world.run(&ann, release(&["feature:f:pause"])).await;
    granted(world.run(&bob, request()).await);
}

async fn a_feature_of_any_name_can_be_told_from_another(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    // The last one is another spelling of the pause of feature "a/b".
    granted(world.run(&ann, acquire(&["feature:F:pause", "feature:f.2:pause", "feature:a:b/pause"])).await);
    for feature in ["f", "f.", "it's", "a:b", "a", "b", "", "Ünï", "f%"] {
        let id = world.add(of_feature(feature)).await;
        world.claims(&bob, id).await;
        granted(world.run(&bob, for_feature(feature, &["src"])).await);
        world.run(&bob, complete(id)).await;
    }
    for feature in ["F", "f.2", "a/b"] {
        world.add(of_feature(feature)).await;
        world.claims_nothing(&bob).await;
        blocked(world.run(&bob, for_feature(feature, &["src"])).await);
    }
}
