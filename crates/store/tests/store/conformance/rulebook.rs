//! The rulebook: versions of rules, of which the latest is in force.

use model::command::{Outcome, Refusal};
use model::rulebook::{PutRule, Rule, RuleKind};

use crate::harness::*;

cases!(
    a_rule_is_kept_with_all_its_fields,
    the_latest_version_of_each_is_in_force,
    a_rule_is_removed_by_putting_no_text,
    whoever_has_seen_another_version_is_refused,
    an_older_text_put_again_is_a_version_of_its_own,
    rules_are_the_projects,
    no_version_is_ever_changed,
);

async fn put(world: &World, request: PutRule) -> i64 {
    match world.run(&agent("ann"), request).await {
        Outcome::RulePut { version } => version,
        other => panic!("not put: {other:?}"),
    }
}

async fn in_force(world: &World) -> Vec<String> {
    let rules = world.store.rules(&world.project).await.unwrap();
    rules.iter().map(|r| format!("{} {}: {}", r.kind, r.name, r.body.as_deref().unwrap_or("-"))).collect()
}

async fn version(world: &World) -> i64 {
    world.store.rules_version(&world.project).await.unwrap()
}

async fn history(world: &World, kind: RuleKind, name: &str, limit: u32) -> Vec<Rule> {
    world.store.rule_history(&world.project, kind, name, limit).await.unwrap()
}

async fn a_rule_is_kept_with_all_its_fields(world: &World) {
    assert_eq!((in_force(world).await.len(), version(world).await), (0, 0));
    world.take(&agent("ann"), "src").await;
    world.pass(seconds(5)).await;
    let (name, body) = ("it's \"mine\" % ünï", "permit (\n\tprincipal == \"x\\\"\", {} )\u{1f980}");
    assert_eq!(put(world, rule(RuleKind::Policy, name, body)).await, 2, "its place in the trail");
    let expected = Rule {
        kind: RuleKind::Policy,
        name: name.into(),
        body: Some(body.into()),
        version: 2,
        author: agent("ann").agent_id,
        created_at: world.now(),
    };
    assert_eq!(world.store.rules(&world.project).await.unwrap(), std::slice::from_ref(&expected));
    assert_eq!(history(world, RuleKind::Policy, name, 10).await, [expected]);
    assert_eq!(history(world, RuleKind::Network, name, 10).await, []);
    assert_eq!(version(world).await, 2);
}

async fn the_latest_version_of_each_is_in_force(world: &World) {
    for (at, kind) in RuleKind::ALL.into_iter().rev().enumerate() {
        put(world, rule(kind, "b", "old")).await;
        put(world, rule(kind, "a", &at.to_string())).await;
        put(world, rule(kind, "b", "new")).await;
    }
    let expected = [
        "assignment a: 5",
        "assignment b: new",
        "guardrails a: 4",
        "guardrails b: new",
        "network a: 3",
        "network b: new",
        "policy a: 2",
        "policy b: new",
        "profile a: 1",
        "profile b: new",
        "verification a: 0",
        "verification b: new",
    ];
    same(in_force(world).await, &expected);
    assert_eq!(version(world).await, 18);
    let versions = |rules: Vec<Rule>| rules.iter().map(|r| r.version).collect::<Vec<_>>();
    assert_eq!(versions(history(world, RuleKind::Profile, "b", 10).await), [6, 4], "newest first");
    assert_eq!(versions(history(world, RuleKind::Profile, "b", 1).await), [6]);
}

async fn a_rule_is_removed_by_putting_no_text(world: &World) {
    let gone = PutRule { body: None, ..rule(RuleKind::Network, "n", "") };
    let not_found = Refusal::RuleNotFound { rule_kind: RuleKind::Network, name: "n".into() };
    assert_eq!(refused(world.run(&agent("ann"), gone.clone()).await), not_found);
    put(world, rule(RuleKind::Network, "n", "")).await;
    same(in_force(world).await, &["network n: "]);
    assert_eq!(put(world, gone.clone()).await, 3);
    assert_eq!((in_force(world).await.len(), version(world).await), (0, 3), "a removal is a version too");
    assert_eq!(history(world, RuleKind::Network, "n", 9).await[0].body, None);
    assert_eq!(refused(world.run(&agent("ann"), gone).await), not_found, "it is removed once");
    assert_eq!(version(world).await, 3);
}

async fn whoever_has_seen_another_version_is_refused(world: &World) {
    let (ann, kind) = (agent("ann"), RuleKind::Profile);
    let seen = |version| PutRule { expected_version: Some(version), ..rule(kind, "p", "text") };
    let changed = |version| Refusal::RuleChanged { rule_kind: kind, name: "p".into(), version };
    assert_eq!(refused(world.run(&ann, seen(1)).await), changed(0));
    assert_eq!(put(world, seen(0)).await, 2);
    assert_eq!(refused(world.run(&ann, seen(0)).await), changed(2));
    put(world, rule(kind, "another", "text")).await;
    assert_eq!(put(world, seen(2)).await, 5);
    let removal = PutRule { body: None, ..seen(2) };
    assert_eq!(refused(world.run(&ann, removal).await), changed(5));
    put(world, PutRule { body: None, ..seen(5) }).await;
    assert_eq!(refused(world.run(&ann, seen(0)).await), changed(7), "a removed rule was there");
    // Of two that saw the same, one is too late, also within a batch.
    let outcomes = world.all(&[command(&ann, seen(7)), command(&agent("bob"), seen(7))]).await;
    assert!(outcomes[0].is_success());
    assert_eq!(outcomes[1].code(), Some("rule_changed"));
}

async fn an_older_text_put_again_is_a_version_of_its_own(world: &World) {
    for body in ["one", "two", "one"] {
        put(world, rule(RuleKind::Guardrails, "pack", body)).await;
    }
    same(in_force(world).await, &["guardrails pack: one"]);
    let bodies: Vec<_> = history(world, RuleKind::Guardrails, "pack", 9).await.into_iter().map(|r| r.body).collect();
    assert_eq!(bodies, ["one", "two", "one"].map(|body| Some(body.to_owned())));
}

async fn rules_are_the_projects(world: &World) {
    put(world, rule(RuleKind::Policy, "p", "text")).await;
    let other = world.in_project("field");
    assert_eq!((in_force(&other).await.len(), version(&other).await), (0, 0));
    assert_eq!(history(&other, RuleKind::Policy, "p", 9).await, []);
    assert_eq!(put(&other, PutRule { expected_version: Some(0), ..rule(RuleKind::Policy, "p", "other") }).await, 1);
    same(in_force(world).await, &["policy p: text"]);
}

async fn no_version_is_ever_changed(world: &World) {
    put(world, rule(RuleKind::Policy, "p", "text")).await;
    match &*world.home {
        Home::Memory => {}
        Home::Sqlite(directory) => {
            let raw = rusqlite::Connection::open(directory.path().join("db")).unwrap();
            for statement in [
                "update rules set body = 'other'",
                "delete from rules",
                "insert or replace into rules select * from rules",
            ] {
                let error = raw.execute_batch(statement).unwrap_err().to_string();
                assert!(error.contains("append-only"), "{statement}: {error}");
            }
        }
        Home::Postgres(_, raw) => {
            for statement in [
                "update coordinator.rules set body = 'other'",
                "delete from coordinator.rules",
                "truncate coordinator.rules",
            ] {
                let error = raw.batch_execute(statement).await.unwrap_err();
                let message = error.as_db_error().unwrap().message();
                assert!(message.contains("append-only"), "{statement}: {message}");
            }
        }
    }
    same(in_force(world).await, &["policy p: text"]);
}
