//! Handoffs: kept whole, newest first, found by agent, session and feature.

use model::JsonText;
use model::command::WriteHandoff;
use model::handoffs::{Handoff, HandoffFilter, Notes};
use model::id::{AgentId, SessionId};
use uuid::Uuid;

use crate::harness::*;

cases!(
    a_handoff_is_kept_with_all_its_fields,
    the_latest_come_first,
    conditions_must_all_hold,
    projects_do_not_see_each_other_s_handoffs,
    a_handoff_outlives_its_session,
);

fn all() -> HandoffFilter {
    HandoffFilter { limit: 100, ..HandoffFilter::default() }
}

async fn read(world: &World, filter: &HandoffFilter) -> Vec<Handoff> {
    world.store.handoffs(&world.project, filter).await.unwrap()
}

async fn summaries(world: &World, filter: &HandoffFilter) -> Vec<String> {
    read(world, filter).await.into_iter().map(|h| h.notes.summary).collect()
}

async fn a_handoff_is_kept_with_all_its_fields(world: &World) {
    let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
    let notes = Notes {
        summary: "it's \"half\" done – ünï\n\u{1f980}".into(),
        completed_work: texts(&["b", "a", "b", ""]),
        in_progress: texts(&["{\"not\": \"an object\"}", "a,b"]),
        decisions: texts(&["'); drop table handoffs; --"]),
        next_steps: vec![],
        relevant_files: texts(&["src/a.rs"]),
        content: Some(JsonText::from_trusted("{\"b\": 1.0, \"a\": [1e2], \"b\": null}".into())),
    };
    let (ann, id) = (agent_in("ann", "s1"), Uuid::from_u128(7));
    let written = WriteHandoff { handoff_id: id, feature_id: Some("f1".into()), notes: notes.clone() };
    let before = world.add(task()).await;
    assert!(world.run(&ann, written).await.is_success());
    let expected = Handoff {
        handoff_id: id,
        seq: world.task(before).await.seq + 1,
        agent_id: ann.agent_id.clone(),
        agent_type: ann.agent_type.clone(),
        session_id: ann.session_id.clone(),
        feature_id: Some("f1".into()),
        notes,
        created_at: world.now(),
    };
    assert_eq!(read(world, &all()).await, [expected]);
    world.run(&agent("bob"), handoff("short")).await;
    let short = read(world, &HandoffFilter { limit: 1, ..all() }).await.remove(0);
    assert_eq!((short.session_id, short.feature_id, short.notes.content), (None, None, None));
}

async fn the_latest_come_first(world: &World) {
    assert_eq!(read(world, &all()).await, []);
    for (agent_name, summary) in [("ann", "1"), ("bob", "2"), ("ann", "3"), ("ann", "4")] {
        world.run(&agent(agent_name), handoff(summary)).await;
    }
    // One instant, one batch: the order of writing still decides.
    world.all(&[command(&agent("ann"), handoff("5")), command(&agent("ann"), handoff("6"))]).await;
    same(summaries(world, &all()).await, &["6", "5", "4", "3", "2", "1"]);
    same(summaries(world, &HandoffFilter { limit: 2, ..all() }).await, &["6", "5"]);
    let anns = HandoffFilter { agent_id: Some(AgentId::new("ann").unwrap()), limit: 4, ..all() };
    same(summaries(world, &anns).await, &["6", "5", "4", "3"]);
    assert_eq!(read(world, &HandoffFilter { limit: 0, ..all() }).await, []);
}

async fn conditions_must_all_hold(world: &World) {
    for (who, session, feature, summary) in [
        ("ann", "s1", Some("f1"), "ann s1 f1"),
        ("ann", "s2", None, "ann s2"),
        ("bob", "s3", Some("f1"), "bob s3 f1"),
        ("bob", "s3", Some("f2"), "bob s3 f2"),
    ] {
        let written = WriteHandoff { feature_id: feature.map(Into::into), ..handoff(summary) };
        world.run(&agent_in(who, session), written).await;
    }
    let filter = |agent: Option<&str>, session: Option<&str>, feature: Option<&str>| HandoffFilter {
        agent_id: agent.map(|name| AgentId::new(name).unwrap()),
        session_id: session.map(|name| SessionId::new(name).unwrap()),
        feature_id: feature.map(Into::into),
        limit: 100,
    };
    for (agent, session, feature, expected) in [
        (Some("ann"), None, None, &["ann s2", "ann s1 f1"][..]),
        (None, Some("s3"), None, &["bob s3 f2", "bob s3 f1"]),
        (None, None, Some("f1"), &["bob s3 f1", "ann s1 f1"]),
        (Some("ann"), None, Some("f1"), &["ann s1 f1"]),
        (Some("ann"), Some("s3"), None, &[]),
        (Some("ann"), Some("s2"), Some("f1"), &[]),
        (Some("bob"), Some("s3"), Some("f2"), &["bob s3 f2"]),
        (Some("eve"), None, None, &[]),
    ] {
        same(summaries(world, &filter(agent, session, feature)).await, expected);
    }
}

async fn projects_do_not_see_each_other_s_handoffs(world: &World) {
    let other = world.in_project("field");
    world.run(&agent("ann"), handoff("house")).await;
    other.run(&agent("ann"), handoff("field")).await;
    same(summaries(world, &all()).await, &["house"]);
    same(summaries(&other, &all()).await, &["field"]);
}

async fn a_handoff_outlives_its_session(world: &World) {
    let ann = agent_in("ann", "s1");
    world.run(&ann, register(&[])).await;
    world.run(&ann, handoff("going")).await;
    world.pass(seconds(301)).await;
    let late = refused(world.run(&ann, handoff("late")).await);
    assert_eq!(late.code(), "session_expired");
    same(summaries(world, &all()).await, &["going"]);
}
