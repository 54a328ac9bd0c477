//! API keys, which belong to projects but are looked up before the project is known.

use jiff::Timestamp;
use model::api_keys::ApiKey;
use model::command::{Action, Outcome, Refusal};
use model::id::AgentId;
use uuid::Uuid;

use crate::harness::*;

cases!(
    a_key_is_kept_with_all_its_fields,
    keys_of_all_projects_are_listed_oldest_first,
    a_revoked_key_is_kept_and_revoked_once,
    a_key_ends_at_its_instant,
);

/// A key of that project, unbound and endless.
pub fn key_for(name: &str, number: u128) -> ApiKey {
    ApiKey {
        id: Uuid::from_u128(0xa000 << 64 | number),
        name: format!("key {number}"),
        hash: format!("{number:064x}"),
        project: project(name),
        agent_id: None,
        agent_type: None,
        scopes: vec![],
        per_minute: None,
        created_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    }
}

async fn listed(world: &World) -> Vec<ApiKey> {
    let (keys, now) = world.store.api_keys().await.unwrap();
    assert_eq!(now, world.now());
    keys
}

async fn a_key_is_kept_with_all_its_fields(world: &World) {
    let asked = ApiKey {
        name: "it's the \"CI\" – ünï".into(),
        agent_id: Some(AgentId::new("o'ann").unwrap()),
        agent_type: Some("codex_cli".into()),
        scopes: vec!["read".into(), "it's \"ünï\"".into()],
        per_minute: Some(60),
        expires_at: Some(world.now() + seconds(60)),
        ..key_for("house", 1)
    };
    assert_eq!(world.run(&agent("ann"), Action::CreateKey(asked.clone())).await, Outcome::KeyCreated { id: asked.id });
    assert_eq!(listed(world).await, [ApiKey { created_at: world.now(), ..asked }], "made when the store says");
}

async fn keys_of_all_projects_are_listed_oldest_first(world: &World) {
    let other = world.in_project("field");
    world.run(&agent("ann"), Action::CreateKey(key_for("house", 3))).await;
    world.pass(MOMENT).await;
    other.run(&agent("ann"), Action::CreateKey(key_for("field", 2))).await;
    other.run(&agent("ann"), Action::CreateKey(key_for("field", 1))).await;
    let keys = listed(world).await;
    same(keys.iter().map(|k| &k.name), &["key 3", "key 1", "key 2"]);
    same(keys.iter().map(|k| &k.project), &["house", "field", "field"]);
}

async fn a_revoked_key_is_kept_and_revoked_once(world: &World) {
    let ann = agent("ann");
    let key = key_for("house", 1);
    world.run(&ann, Action::CreateKey(key.clone())).await;
    world.run(&ann, Action::CreateKey(key_for("house", 2))).await;
    world.pass(seconds(1)).await;
    let revoked_at = world.now();
    assert_eq!(world.run(&ann, Action::RevokeKey { id: key.id }).await, Outcome::KeyRevoked { id: key.id });
    world.pass(seconds(1)).await;
    assert_eq!(refused(world.run(&ann, Action::RevokeKey { id: key.id }).await), Refusal::KeyNotFound);
    assert_eq!(refused(world.run(&ann, Action::RevokeKey { id: Uuid::from_u128(1) }).await), Refusal::KeyNotFound);
    let keys = listed(world).await;
    assert_eq!(keys.iter().map(|k| k.revoked_at).collect::<Vec<_>>(), [Some(revoked_at), None]);
    assert_eq!(keys.iter().map(|k| k.is_live(world.now())).collect::<Vec<_>>(), [false, true]);
}

async fn a_key_ends_at_its_instant(world: &World) {
    let key = ApiKey { expires_at: Some(world.now() + seconds(60)), ..key_for("house", 1) };
    world.run(&agent("ann"), Action::CreateKey(key)).await;
    world.pass(seconds(60) - MOMENT).await;
    assert!(listed(world).await[0].is_live(world.now()));
    world.pass(MOMENT).await;
    assert!(!listed(world).await[0].is_live(world.now()), "it stays listed");
}
