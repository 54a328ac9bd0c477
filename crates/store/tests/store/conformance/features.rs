//! Features: registered, changed, ended; and what a grant says of their claims.

use model::JsonText;
use model::command::{Acquire, Outcome, Refusal};
use model::features::{
    ACTIVE_LIMIT, CLAIMED_BY_LIMIT, DeregisterFeature, Feature, FeatureEnd, FeatureFilter, FeatureStatus,
    RegisterFeature,
};
use model::id::Caller;

use crate::harness::*;

cases!(
    a_feature_is_kept_with_all_its_fields,
    registering_again_changes_what_is_named,
    an_ended_feature_has_no_claims_and_begins_anew,
    what_is_not_active_cannot_end,
    only_so_many_features_are_active,
    features_are_listed_oldest_first,
    a_grant_names_the_features_of_others_that_claim_it,
    work_for_a_feature_is_not_told_of_its_own_claims,
    a_grant_names_each_feature_once_and_only_so_many,
    projects_do_not_see_each_other_s_features,
);

async fn register(world: &World, who: &Caller, name: &str, claims: &[&str]) {
    let outcome = world.run(who, feature(name, claims)).await;
    assert_eq!(outcome, Outcome::FeatureRegistered { feature_id: feature_id(name), updated: false });
}

async fn end(world: &World, name: &str, end: FeatureEnd) -> Outcome {
    world.run(&agent("zoe"), DeregisterFeature { feature_id: feature_id(name), end }).await
}

async fn stored(world: &World, name: &str) -> Feature {
    let filter = FeatureFilter { feature_id: Some(feature_id(name)), status: None, limit: 9 };
    world.store.features(&world.project, &filter).await.unwrap().remove(0)
}

/// The features that a grant of the key names, with the claim of each.
async fn named(world: &World, who: &Caller, what: Acquire) -> Vec<String> {
    let grants = granted(world.run(who, what).await);
    grants[0].claimed_by.iter().map(|met| format!("{} {} {}", met.feature_id, met.agent_id, met.claim)).collect()
}

async fn a_feature_is_kept_with_all_its_fields(world: &World) {
    let text = "it's \"ünï\"\n\u{1f980}'); drop table features; --";
    let request = RegisterFeature {
        feature_id: feature_id("a/b's"),
        title: Some(text.into()),
        branch_name: Some("agent/ann/1".into()),
        claims: vec![key("src/auth"), key("**/*.sql"), key("db:users")],
        merge_priority: Some(3),
        metadata: Some(JsonText::from_trusted("{\"b\": 1.0, \"a\": 1}".into())),
    };
    world.run(&agent("ann"), request.clone()).await;
    let expected = Feature {
        feature_id: request.feature_id,
        seq: 1,
        title: request.title,
        branch_name: request.branch_name,
        status: FeatureStatus::Active,
        claims: request.claims,
        merge_priority: 3,
        metadata: request.metadata,
        registered_by: agent("ann").agent_id,
        registered_at: world.now(),
        updated_at: world.now(),
    };
    assert_eq!(stored(world, "a/b's").await, expected);
}

async fn registering_again_changes_what_is_named(world: &World) {
    let first = RegisterFeature { title: Some("one".into()), merge_priority: Some(2), ..feature("f", &["src"]) };
    world.run(&agent("ann"), first).await;
    let before = stored(world, "f").await;
    world.pass(seconds(5)).await;
    let again = RegisterFeature { branch_name: Some("b".into()), ..feature("f", &["lib"]) };
    let outcome = world.run(&agent("bob"), again).await;
    assert_eq!(outcome, Outcome::FeatureRegistered { feature_id: feature_id("f"), updated: true });
    let expected =
        Feature { branch_name: Some("b".into()), claims: vec![key("lib")], updated_at: world.now(), ..before };
    assert_eq!(stored(world, "f").await, expected);
    assert_eq!(named(world, &agent("zoe"), acquire(&["src/a.rs"])).await, [""; 0]);
    assert_eq!(named(world, &agent("zoe"), acquire(&["lib/a.rs"])).await, ["f ann lib"]);
}

async fn an_ended_feature_has_no_claims_and_begins_anew(world: &World) {
    let first = RegisterFeature { title: Some("one".into()), ..feature("f", &["src"]) };
    world.run(&agent("ann"), first).await;
    let outcome = end(world, "f", FeatureEnd::Cancelled).await;
    assert_eq!(outcome, Outcome::FeatureDeregistered { feature_id: feature_id("f"), end: FeatureEnd::Cancelled });
    let ended = stored(world, "f").await;
    assert_eq!((ended.status, ended.claims), (FeatureStatus::Cancelled, vec![key("src")]));
    assert_eq!(named(world, &agent("zoe"), acquire(&["src/a.rs"])).await, [""; 0]);

    register(world, &agent("bob"), "f", &["src"]).await;
    let anew = stored(world, "f").await;
    assert_eq!((anew.title, anew.registered_by, anew.merge_priority), (None, agent("bob").agent_id, 5));
    assert!(anew.seq > ended.seq);
    assert_eq!(named(world, &agent("zoe"), acquire(&["src/b.rs"])).await, ["f bob src"]);
}

async fn what_is_not_active_cannot_end(world: &World) {
    let unknown = refused(end(world, "f", FeatureEnd::Completed).await);
    assert_eq!(unknown, Refusal::FeatureNotFound { feature_id: feature_id("f") });
    register(world, &agent("ann"), "f", &[]).await;
    end(world, "f", FeatureEnd::Completed).await;
    let again = refused(end(world, "f", FeatureEnd::Cancelled).await);
    let status = FeatureStatus::Completed;
    assert_eq!(again, Refusal::FeatureNotActive { feature_id: feature_id("f"), status });
}

async fn only_so_many_features_are_active(world: &World) {
    let commands: Vec<_> =
        (0..ACTIVE_LIMIT).map(|n| command(&agent("ann"), feature(&format!("f{n}"), &["src"]))).collect();
    assert!(world.all(&commands).await.iter().all(Outcome::is_success));
    let more = world.run(&agent("ann"), feature("more", &[])).await;
    assert_eq!(refused(more), Refusal::TooManyFeatures { limit: ACTIVE_LIMIT });
    assert!(world.run(&agent("ann"), feature("f7", &["lib"])).await.is_success(), "it is active already");
    end(world, "f7", FeatureEnd::Completed).await;
    register(world, &agent("ann"), "more", &[]).await;
}

async fn features_are_listed_oldest_first(world: &World) {
    for name in ["c", "a", "b"] {
        register(world, &agent("ann"), name, &[]).await;
    }
    end(world, "a", FeatureEnd::Completed).await;
    let listed = async |status, limit| {
        let filter = FeatureFilter { feature_id: None, status, limit };
        let features = world.store.features(&world.project, &filter).await.unwrap();
        features.into_iter().map(|f| f.feature_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, 9).await, ["c", "a", "b"]);
    assert_eq!(listed(None, 2).await, ["c", "a"]);
    assert_eq!(listed(Some(FeatureStatus::Active), 9).await, ["c", "b"]);
    assert_eq!(listed(Some(FeatureStatus::Completed), 9).await, ["a"]);
    assert_eq!(listed(Some(FeatureStatus::Cancelled), 9).await, [""; 0]);
}

async fn a_grant_names_the_features_of_others_that_claim_it(world: &World) {
    register(world, &agent("ann"), "tree", &["src"]).await;
    register(world, &agent("bob"), "glob", &["**/*.rs", "db:users"]).await;
    register(world, &agent("bob"), "far", &["src-x", "lib/a.rs", "api:GET /v1/users"]).await;
    let zoe = agent("zoe");
    assert_eq!(named(world, &zoe, acquire(&["src/a.rs"])).await, ["tree ann src", "glob bob **/*.rs"]);
    assert_eq!(named(world, &zoe, acquire(&["src/a.md"])).await, ["tree ann src"]);
    assert_eq!(named(world, &zoe, acquire(&["db:schema:users"])).await, ["glob bob db:users"]);
    assert_eq!(named(world, &zoe, acquire(&["api:/v1/users"])).await, ["far bob api:GET /v1/users"]);
    assert_eq!(named(world, &zoe, acquire(&["docs"])).await, ["glob bob **/*.rs"]);
    assert_eq!(named(world, &zoe, acquire(&["docs/x.md"])).await, [""; 0]);
    let both = granted(world.run(&agent("yan"), acquire(&["lib/a.rs", "x.md"])).await);
    let counts: Vec<usize> = both.iter().map(|grant| grant.claimed_by.len()).collect();
    assert_eq!(counts, [2, 0], "each key has its own");
}

async fn work_for_a_feature_is_not_told_of_its_own_claims(world: &World) {
    register(world, &agent("ann"), "f", &["src"]).await;
    assert_eq!(named(world, &agent("ann"), acquire(&["src/a.rs"])).await, [""; 0], "it registered the feature");
    let for_it = Acquire { feature_id: Some("f".into()), ..acquire(&["src/b.rs"]) };
    assert_eq!(named(world, &agent("bob"), for_it).await, [""; 0], "it says so");
    let id = world.add(model::command::Submit { feature_id: Some("f".into()), ..task() }).await;
    world.claims(&agent("zoe"), id).await;
    assert_eq!(named(world, &agent("zoe"), acquire(&["src/c.rs"])).await, [""; 0], "its task is for it");
    assert_eq!(named(world, &agent("bob"), acquire(&["src/d.rs"])).await, ["f ann src"]);
}

async fn a_grant_names_each_feature_once_and_only_so_many(world: &World) {
    for n in 0..CLAIMED_BY_LIMIT + 2 {
        register(world, &agent("ann"), &format!("f{n:02}"), &["src", "src/a.rs", "**/*.rs"]).await;
    }
    let named = named(world, &agent("bob"), acquire(&["src/a.rs"])).await;
    let expected: Vec<String> = (0..CLAIMED_BY_LIMIT).map(|n| format!("f{n:02} ann **/*.rs")).collect();
    assert_eq!(named, expected);
}

async fn projects_do_not_see_each_other_s_features(world: &World) {
    let other = world.in_project("other");
    register(world, &agent("ann"), "f", &["src"]).await;
    register(&other, &agent("bob"), "f", &["lib"]).await;
    assert_eq!(stored(world, "f").await.claims, [key("src")]);
    assert_eq!(named(&other, &agent("zoe"), acquire(&["src/a.rs"])).await, [""; 0]);
    end(&other, "f", FeatureEnd::Cancelled).await;
    assert_eq!(named(world, &agent("zoe"), acquire(&["src/a.rs"])).await, ["f ann src"]);
}
