//! Stored API keys.

use coordinator::failure::Failure;
use coordinator::keys::NewKey;
use model::id::Project;

use crate::support::{caller, coordinator, deeds, trail};

fn named(name: &str) -> NewKey {
    NewKey { name: name.into(), ..NewKey::default() }
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked_by_project() {
    let coordinator = coordinator();
    let (admin, house, garden) =
        (caller("admin", None), Project::new("house").unwrap(), Project::new("garden").unwrap());
    let (first, row) = coordinator.create_key(&house, &admin, named("first")).await.unwrap();
    coordinator.create_key(&garden, &admin, named("other")).await.unwrap();
    assert!(first.starts_with("ack_") && first.len() == 68, "{first}");
    let listed = coordinator.keys(&house).await.unwrap();
    assert_eq!((listed.len(), listed[0].name.as_str(), listed[0].id), (1, "first", row.id));
    assert_eq!(coordinator.authenticate(&first).await.unwrap().unwrap().project, Some(house.clone()));

    let elsewhere = coordinator.revoke_key(&garden, &admin, row.id).await.unwrap_err();
    assert_eq!(elsewhere.code(), "key_not_found");
    coordinator.revoke_key(&house, &admin, row.id).await.unwrap();
    assert_eq!(coordinator.authenticate(&first).await.unwrap(), None);
    assert!(coordinator.keys(&house).await.unwrap()[0].revoked_at.is_some());
    assert_eq!(coordinator.revoke_key(&house, &admin, row.id).await.unwrap_err().code(), "key_not_found");
}

#[tokio::test]
async fn making_and_revoking_is_recorded_without_the_key() {
    let coordinator = coordinator();
    let (admin, project) = (caller("admin", None), coordinator.default_project().clone());
    let (secret, row) = coordinator.create_key(&project, &admin, named("n")).await.unwrap();
    coordinator.revoke_key(&project, &admin, row.id).await.unwrap();
    assert_eq!(deeds(&coordinator).await, ["create_key", "revoke_key"]);
    let recorded = format!("{:?}", trail(&coordinator).await);
    assert!(!recorded.contains(&secret) && !recorded.contains(&row.hash), "{recorded}");
}

#[tokio::test]
async fn a_life_beyond_all_dates_is_a_wrong_field() {
    let coordinator = coordinator();
    let (admin, project) = (caller("admin", None), coordinator.default_project().clone());
    for days in [u32::MAX, 4_000_000] {
        let new = NewKey { expires_in_days: Some(days), ..named("n") };
        let failure = coordinator.create_key(&project, &admin, new).await.unwrap_err();
        assert!(
            matches!(&failure, Failure::Invalid { fields, .. } if fields[0].field == "expires_in_days"),
            "{failure:?}"
        );
    }
    assert_eq!(deeds(&coordinator).await, [""; 0]);
}
