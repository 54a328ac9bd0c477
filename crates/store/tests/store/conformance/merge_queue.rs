//! The merge queue: which state follows on which, and what a merge ends.

use model::command::{Action, Outcome, Refusal};
use model::features::{DeregisterFeature, FeatureEnd, FeatureFilter, FeatureStatus};
use model::id::Caller;
use model::merge_queue::{CheckName, EnqueueMerge, MergeCheck, MergeEntry, MergeScope, MergeState, MoveMerge};

use crate::harness::*;

cases!(
    an_entry_is_kept_with_all_its_fields,
    only_an_active_feature_is_enqueued,
    what_is_queued_stays_where_it_is,
    a_blocked_entry_goes_to_the_end,
    every_pair_of_states_is_decided,
    an_ejection_is_counted_and_its_reason_kept,
    a_merge_completes_the_feature_and_frees_its_claims,
    what_was_merged_can_be_merged_again_when_registered_anew,
    an_entry_is_removed_unless_it_is_being_landed,
    entries_are_listed_open_or_merged,
    projects_do_not_see_each_other_s_queue,
);

async fn register(world: &World, name: &str) {
    assert!(world.run(&agent("ann"), feature(name, &["src"])).await.is_success());
}

async fn enqueue(world: &World, who: &Caller, name: &str, pr_url: Option<&str>) -> (MergeEntry, bool) {
    let request = EnqueueMerge { feature_id: feature_id(name), pr_url: pr_url.map(Into::into) };
    match world.run(who, request).await {
        Outcome::MergeEnqueued { entry, repeated } => (*entry, repeated),
        other => panic!("{other:?}"),
    }
}

async fn moved(world: &World, name: &str, state: MergeState) -> (MergeEntry, bool) {
    match world.run(&agent("runner"), to(name, state)).await {
        Outcome::MergeMoved { entry, completed } => (*entry, completed),
        other => panic!("{other:?}"),
    }
}

async fn names(world: &World, scope: MergeScope, limit: u32) -> Vec<String> {
    let entries = world.store.merge_entries(&world.project, scope, limit).await.unwrap();
    entries.into_iter().map(|entry| entry.feature_id.to_string()).collect()
}

/// The shortest way to each state.
fn way_to(state: MergeState) -> &'static [MergeState] {
    use MergeState::*;
    match state {
        Queued => &[],
        PreMergeCheck => &[PreMergeCheck],
        Ready => &[PreMergeCheck, Ready],
        Merging => &[PreMergeCheck, Ready, Merging],
        Merged => &[Merged],
        Blocked => &[Blocked],
    }
}

async fn an_entry_is_kept_with_all_its_fields(world: &World) {
    register(world, "f").await;
    let (entry, repeated) = enqueue(world, &agent("bob"), "f", Some("https://git.example/7")).await;
    let expected = MergeEntry {
        feature_id: feature_id("f"),
        seq: 2,
        state: MergeState::Queued,
        pr_url: Some("https://git.example/7".into()),
        enqueued_by: agent("bob").agent_id,
        queued_at: world.now(),
        updated_at: world.now(),
        checks: vec![],
        note: None,
        commit: None,
        ejections: 0,
    };
    assert_eq!((entry, repeated), (expected.clone(), false));

    world.pass(seconds(3)).await;
    let checks =
        vec![MergeCheck { name: CheckName::FeatureActive, passed: true, reason: "it's \"ünï\"\n\u{1f980}".into() }];
    let request = MoveMerge {
        checks: Some(checks.clone()),
        note: Some("'); drop table merge_queue; --".into()),
        commit: Some("c0ffee".into()),
        ..to("f", MergeState::PreMergeCheck)
    };
    world.run(&agent("zoe"), request).await;
    let expected = MergeEntry {
        state: MergeState::PreMergeCheck,
        updated_at: world.now(),
        checks,
        note: Some("'); drop table merge_queue; --".into()),
        commit: Some("c0ffee".into()),
        ..expected
    };
    let open = world.store.merge_entries(&world.project, MergeScope::Open, 9).await.unwrap();
    assert_eq!(open, std::slice::from_ref(&expected));
    let (next, _) = moved(world, "f", MergeState::Ready).await;
    assert_eq!(next, MergeEntry { state: MergeState::Ready, note: None, ..expected }, "checks and commit stay");
}

async fn only_an_active_feature_is_enqueued(world: &World) {
    let request = || EnqueueMerge { feature_id: feature_id("f"), pr_url: None };
    let unknown = refused(world.run(&agent("ann"), request()).await);
    assert_eq!(unknown, Refusal::FeatureNotFound { feature_id: feature_id("f") });
    register(world, "f").await;
    world.run(&agent("ann"), DeregisterFeature { feature_id: feature_id("f"), end: FeatureEnd::Cancelled }).await;
    let ended = refused(world.run(&agent("ann"), request()).await);
    assert_eq!(ended, Refusal::FeatureNotActive { feature_id: feature_id("f"), status: FeatureStatus::Cancelled });
}

async fn what_is_queued_stays_where_it_is(world: &World) {
    for name in ["f", "g"] {
        register(world, name).await;
        enqueue(world, &agent("ann"), name, None).await;
    }
    let (first, _) = moved(world, "f", MergeState::PreMergeCheck).await;
    let (again, repeated) = enqueue(world, &agent("bob"), "f", Some("url")).await;
    assert!(repeated);
    assert_eq!(again, MergeEntry { pr_url: Some("url".into()), ..first });
    assert_eq!(enqueue(world, &agent("bob"), "f", None).await.0.pr_url.as_deref(), Some("url"));
    assert_eq!(names(world, MergeScope::Open, 9).await, ["f", "g"]);
}

async fn a_blocked_entry_goes_to_the_end(world: &World) {
    for name in ["f", "g"] {
        register(world, name).await;
        enqueue(world, &agent("ann"), name, Some("url")).await;
    }
    let request = MoveMerge { note: Some("no".into()), ..to("f", MergeState::Blocked) };
    world.run(&agent("ann"), request).await;
    let (again, repeated) = enqueue(world, &agent("bob"), "f", None).await;
    assert!(!repeated);
    assert_eq!((again.state, again.note, again.pr_url.as_deref()), (MergeState::Queued, None, Some("url")));
    assert_eq!(again.enqueued_by, agent("bob").agent_id);
    assert_eq!(names(world, MergeScope::Open, 9).await, ["g", "f"]);
}

async fn every_pair_of_states_is_decided(world: &World) {
    let unknown = refused(world.run(&agent("ann"), to("f", MergeState::Ready)).await);
    assert_eq!(unknown, Refusal::MergeEntryNotFound { feature_id: feature_id("f") });
    for from in MergeState::ALL {
        for next in MergeState::ALL {
            let name = format!("{}-{}", from.as_str(), next.as_str());
            register(world, &name).await;
            enqueue(world, &agent("ann"), &name, None).await;
            for step in way_to(from) {
                assert_eq!(moved(world, &name, *step).await.0.state, *step);
            }
            let outcome = world.run(&agent("ann"), to(&name, next)).await;
            if from.may_become(next) {
                assert!(matches!(outcome, Outcome::MergeMoved { entry, .. } if entry.state == next), "{name}");
            } else {
                let expected = Refusal::MergeStateRefused { feature_id: feature_id(&name), from, to: next };
                assert_eq!(refused(outcome), expected);
            }
        }
    }
}

async fn an_ejection_is_counted_and_its_reason_kept(world: &World) {
    register(world, "f").await;
    enqueue(world, &agent("ann"), "f", None).await;
    for round in 1..3 {
        for state in way_to(MergeState::Merging) {
            moved(world, "f", *state).await;
        }
        let request = MoveMerge { note: Some("tests fail".into()), ..to("f", MergeState::Blocked) };
        world.run(&agent("runner"), request).await;
        let entry = &world.store.merge_entries(&world.project, MergeScope::Open, 9).await.unwrap()[0];
        assert_eq!((entry.ejections, entry.note.as_deref()), (round, Some("tests fail")));
        enqueue(world, &agent("ann"), "f", None).await;
    }
    let (blocked, _) = moved(world, "f", MergeState::Blocked).await;
    assert_eq!(blocked.ejections, 2, "it was not being landed");
}

async fn a_merge_completes_the_feature_and_frees_its_claims(world: &World) {
    register(world, "f").await;
    enqueue(world, &agent("ann"), "f", None).await;
    let before = granted(world.run(&agent("zoe"), acquire(&["src/a.rs"])).await);
    assert_eq!(before[0].claimed_by.len(), 1);
    let request = MoveMerge { commit: Some("c0ffee".into()), ..to("f", MergeState::Merged) };
    match world.run(&agent("runner"), request).await {
        Outcome::MergeMoved { entry, completed: true } => assert_eq!(entry.commit.as_deref(), Some("c0ffee")),
        other => panic!("{other:?}"),
    }
    let after = granted(world.run(&agent("zoe"), acquire(&["src/a.rs"])).await);
    assert_eq!(after[0].claimed_by, []);
    let all = FeatureFilter { limit: 9, ..FeatureFilter::default() };
    let features = world.store.features(&world.project, &all).await.unwrap();
    assert_eq!(features[0].status, FeatureStatus::Completed);
}

async fn what_was_merged_can_be_merged_again_when_registered_anew(world: &World) {
    register(world, "f").await;
    enqueue(world, &agent("ann"), "f", Some("url")).await;
    moved(world, "f", MergeState::Merged).await;
    register(world, "f").await;
    let (entry, repeated) = enqueue(world, &agent("ann"), "f", None).await;
    assert!(!repeated);
    assert_eq!((entry.state, entry.pr_url, entry.commit), (MergeState::Queued, None, None));
}

async fn an_entry_is_removed_unless_it_is_being_landed(world: &World) {
    let remove = || Action::RemoveMerge { feature_id: feature_id("f") };
    let unknown = refused(world.run(&agent("ann"), remove()).await);
    assert_eq!(unknown, Refusal::MergeEntryNotFound { feature_id: feature_id("f") });
    register(world, "f").await;
    enqueue(world, &agent("ann"), "f", None).await;
    for state in way_to(MergeState::Merging) {
        moved(world, "f", *state).await;
    }
    let landing = refused(world.run(&agent("ann"), remove()).await);
    assert_eq!(landing, Refusal::MergeInProgress { feature_id: feature_id("f") });
    moved(world, "f", MergeState::Ready).await;
    let removed = world.run(&agent("ann"), remove()).await;
    assert_eq!(removed, Outcome::MergeRemoved { feature_id: feature_id("f") });
    assert_eq!(names(world, MergeScope::Open, 9).await, [""; 0]);
}

async fn entries_are_listed_open_or_merged(world: &World) {
    for name in ["a", "b", "c", "d"] {
        register(world, name).await;
        enqueue(world, &agent("ann"), name, None).await;
    }
    for name in ["c", "a"] {
        moved(world, name, MergeState::Merged).await;
    }
    moved(world, "b", MergeState::Blocked).await;
    assert_eq!(names(world, MergeScope::Open, 9).await, ["b", "d"]);
    assert_eq!(names(world, MergeScope::Open, 1).await, ["b"]);
    assert_eq!(names(world, MergeScope::Merged, 9).await, ["c", "a"]);
    assert_eq!(names(world, MergeScope::Merged, 1).await, ["c"]);
}

async fn projects_do_not_see_each_other_s_queue(world: &World) {
    let other = world.in_project("other");
    register(world, "f").await;
    register(&other, "f").await;
    enqueue(world, &agent("ann"), "f", None).await;
    assert_eq!(names(&other, MergeScope::Open, 9).await, [""; 0]);
    enqueue(&other, &agent("ann"), "f", None).await;
    moved(&other, "f", MergeState::Merged).await;
    assert_eq!(names(world, MergeScope::Open, 9).await, ["f"]);
    let all = FeatureFilter { limit: 9, ..FeatureFilter::default() };
    let features = world.store.features(&world.project, &all).await.unwrap();
    assert_eq!(features[0].status, FeatureStatus::Active);
}
