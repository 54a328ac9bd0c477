//! What is known of GitHub: written only by whoever has seen what was there.

use model::JsonText;
use model::command::{Outcome, Refusal};
use model::github::{GithubKind, GithubRecord, PutGithubRecord};

use crate::harness::*;

cases!(
    a_record_is_kept_with_all_its_fields,
    whoever_has_seen_another_revision_is_refused,
    what_has_ended_is_as_if_it_had_never_been,
    records_are_the_projects,
);

fn record(kind: GithubKind, name: &str, expected_revision: i64) -> PutGithubRecord {
    PutGithubRecord {
        record_kind: kind,
        name: name.into(),
        expected_revision,
        body: JsonText::new(&name),
        ttl_seconds: None,
    }
}

async fn put(world: &World, request: PutGithubRecord) -> i64 {
    match world.run(&agent("ann"), request).await {
        Outcome::GithubRecordPut { revision } => revision,
        other => panic!("not put: {other:?}"),
    }
}

async fn records(world: &World, kind: GithubKind, name: Option<&str>) -> Vec<GithubRecord> {
    world.store.github_records(&world.project, kind, name).await.unwrap()
}

async fn names(world: &World, kind: GithubKind) -> Vec<String> {
    records(world, kind, None).await.into_iter().map(|record| record.name).collect()
}

async fn a_record_is_kept_with_all_its_fields(world: &World) {
    assert_eq!(records(world, GithubKind::Branch, None).await, []);
    world.take(&agent("ann"), "src").await;
    world.pass(seconds(5)).await;
    let (name, body) = ("agent/ann/it's \"mine\" ünï", JsonText::from_trusted(r#"{"b": 1.50, "a": "\u0007"}"#.into()));
    let request = PutGithubRecord { body: body.clone(), ttl_seconds: Some(60), ..record(GithubKind::Branch, name, 0) };
    assert_eq!(put(world, request).await, 2, "its place in the trail");
    let expected = GithubRecord {
        kind: GithubKind::Branch,
        name: name.into(),
        revision: 2,
        body,
        updated_at: world.now(),
        expires_at: Some(world.now() + seconds(60)),
    };
    assert_eq!(records(world, GithubKind::Branch, Some(name)).await, std::slice::from_ref(&expected));
    assert_eq!(records(world, GithubKind::Branch, None).await, [expected]);
    assert_eq!(records(world, GithubKind::Branch, Some("agent/ann")).await, []);
    assert_eq!(records(world, GithubKind::Issue, Some(name)).await, []);

    for name in ["b", "B", "a", "10", "9"] {
        put(world, record(GithubKind::Issue, name, 0)).await;
    }
    same(names(world, GithubKind::Issue).await, &["10", "9", "B", "a", "b"]);
}

async fn whoever_has_seen_another_revision_is_refused(world: &World) {
    let seen = |revision| record(GithubKind::Issue, "7", revision);
    let changed =
        |revision| Refusal::GithubRecordChanged { record_kind: GithubKind::Issue, name: "7".into(), revision };
    assert_eq!(refused(world.run(&agent("ann"), seen(3)).await), changed(0));
    assert_eq!(put(world, seen(0)).await, 2);
    assert_eq!(refused(world.run(&agent("bob"), seen(0)).await), changed(2));
    assert_eq!(put(world, seen(2)).await, 4);
    // Of two that saw the same, one is too late, also within a batch.
    let outcomes = world.all(&[command(&agent("ann"), seen(4)), command(&agent("bob"), seen(4))]).await;
    assert!(outcomes[0].is_success());
    assert_eq!(outcomes[1].code(), Some("github_record_changed"));
    assert_eq!(records(world, GithubKind::Issue, Some("7")).await[0].revision, 5);
}

async fn what_has_ended_is_as_if_it_had_never_been(world: &World) {
    let delivery = || PutGithubRecord { ttl_seconds: Some(60), ..record(GithubKind::Delivery, "d", 0) };
    put(world, delivery()).await;
    put(world, record(GithubKind::Cursor, "issues", 0)).await;
    world.pass(seconds(60) - MOMENT).await;
    assert_eq!(names(world, GithubKind::Delivery).await, ["d"]);
    assert_eq!(world.run(&agent("ann"), delivery()).await.code(), Some("github_record_changed"));
    world.pass(MOMENT).await;
    assert_eq!(names(world, GithubKind::Delivery).await, [] as [&str; 0]);
    put(world, delivery()).await;
    same(names(world, GithubKind::Cursor).await, &["issues"]);
}

async fn records_are_the_projects(world: &World) {
    put(world, record(GithubKind::Pull, "1", 0)).await;
    let other = world.in_project("field");
    assert_eq!(records(&other, GithubKind::Pull, None).await, []);
    assert_eq!(put(&other, record(GithubKind::Pull, "1", 0)).await, 1);
}
