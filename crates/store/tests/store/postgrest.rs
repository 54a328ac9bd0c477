//! What is said when the way through PostgREST is not open, and that both ways lead to the same state.

use std::time::{Duration, Instant};

use store::postgres::{PoolSize, PostgresStore, PostgrestAddress};
use store::{Store, StoreError};
use testing::postgres::Database;
use testing::postgrest::{Gateway, SECRET_KEY};

use crate::harness::*;

/// What Supabase exposes, and ours.
const EXPOSED: &[&str] = &["public", "graphql_public", "coordinator_api"];

async fn migrated() -> Database {
    let database = Database::create().await;
    PostgresStore::connect(database.dsn(), PoolSize::default()).await.unwrap();
    database
}

async fn not_ready(address: &PostgrestAddress, expected: &str) {
    let error = PostgresStore::through_postgrest(address).await.err().unwrap();
    assert!(matches!(error, StoreError::NotReady(_)), "{error:?}");
    assert!(error.to_string().contains(expected), "{error}");
    assert!(!error.to_string().contains(&address.key), "{error}");
}

#[tokio::test]
async fn it_is_reached_as_supabase_serves_it() {
    let database = migrated().await;
    let gateway = Gateway::start(database.dsn(), EXPOSED).await;
    let direct = PostgresStore::connect(database.dsn(), PoolSize::default()).await.unwrap();
    for (number, key) in [SECRET_KEY.to_owned(), Gateway::token("service_role")].into_iter().enumerate() {
        let supabase = PostgrestAddress { url: gateway.url(), prefix: "/rest/v1".into(), key };
        let store = PostgresStore::through_postgrest(&supabase).await.unwrap();
        store.ping().await.unwrap();
        let asked = command(&agent("ann"), acquire(&[&format!("src/{number}")]));
        store.apply(&project("house"), &[asked]).await.unwrap();
        assert_eq!(store.locks(&project("house"), None).await.unwrap().len(), number + 1);
        assert_eq!(direct.locks(&project("house"), None).await.unwrap().len(), number + 1);
    }
}

#[tokio::test]
async fn a_key_that_is_not_good_enough_is_refused() {
    let database = migrated().await;
    let gateway = Gateway::start(database.dsn(), EXPOSED).await;
    let good = Gateway::token("service_role");
    let forged = format!("{}{}", &good[..good.len() - 4], "AAAA");
    for key in [
        forged,
        Gateway::token_until("service_role", 1),
        Gateway::token("anon"),
        Gateway::token("authenticated"),
        "sb_secret_of-somebody-else".into(),
    ] {
        not_ready(&PostgrestAddress { key, ..bare_postgrest(&gateway) }, "SUPABASE_SERVICE_KEY").await;
    }
}

#[tokio::test]
async fn a_database_that_was_not_migrated_is_told_how_to_be() {
    let database = Database::create().await;
    let address = {
        let gateway = Gateway::start(database.dsn(), EXPOSED).await;
        not_ready(&bare_postgrest(&gateway), "coordinator migrate --print").await;
        superuser(&database).await.batch_execute(&PostgresStore::migration_script()).await.unwrap();
        PostgresStore::through_postgrest(&bare_postgrest(&gateway)).await.unwrap();
        superuser(&database)
            .await
            .batch_execute("update coordinator.schema_version set functions = 'older'")
            .await
            .unwrap();
        not_ready(&bare_postgrest(&gateway), "coordinator migrate --print").await;
        superuser(&database).await.batch_execute("update coordinator.schema_version set version = 999").await.unwrap();
        let error = PostgresStore::through_postgrest(&bare_postgrest(&gateway)).await.err();
        assert!(matches!(error, Some(StoreError::TooNew { found: 999, .. })), "{error:?}");
        bare_postgrest(&gateway)
    };
    // The gateway is gone.
    let error = PostgresStore::through_postgrest(&address).await.err();
    assert!(matches!(error, Some(StoreError::Unreachable(_))), "{error:?}");
}

#[tokio::test]
async fn a_schema_that_is_not_exposed_is_named() {
    let database = migrated().await;
    let gateway = Gateway::start(database.dsn(), &["public", "graphql_public"]).await;
    not_ready(&bare_postgrest(&gateway), "does not expose the schema coordinator_api").await;
}

#[tokio::test]
async fn a_wrong_address_is_named() {
    let database = migrated().await;
    let gateway = Gateway::start(database.dsn(), EXPOSED).await;
    let elsewhere = PostgrestAddress { prefix: "/rest/v2".into(), ..bare_postgrest(&gateway) };
    not_ready(&elsewhere, "SUPABASE_REST_PREFIX").await;
    for url in ["localhost:3000", "ftp://localhost", "http://", "not an address"] {
        not_ready(&PostgrestAddress { url: url.into(), ..bare_postgrest(&gateway) }, "http://").await;
    }
}

#[tokio::test]
async fn an_address_with_https_is_spoken_to_in_tls() {
    let database = migrated().await;
    let gateway = Gateway::start(database.dsn(), EXPOSED).await;
    let encrypted = PostgrestAddress { url: gateway.url().replace("http:", "https:"), ..bare_postgrest(&gateway) };
    let error = PostgresStore::through_postgrest(&encrypted).await.err();
    let understood = |why: &str| why.contains("corrupt message") || why.contains("InvalidContentType");
    assert!(matches!(&error, Some(StoreError::Unreachable(why)) if understood(why)), "{error:?}");
}

#[tokio::test]
async fn a_database_that_is_shut_for_a_while_is_out_of_reach_and_back_again() {
    let database = migrated().await;
    let gateway = Gateway::start(database.dsn(), EXPOSED).await;
    let store = PostgresStore::through_postgrest(&bare_postgrest(&gateway)).await.unwrap();
    let admin = superuser(&database).await;
    admin.batch_execute(&format!("revoke connect on database {} from public", database.name())).await.unwrap();
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity
               where usename = 'authenticator' and datname = current_database()";
    admin.query(cut, &[]).await.unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
    admin.batch_execute(&format!("grant connect on database {} to public", database.name())).await.unwrap();
    // The gateway may still have connections of which it does not know that they are cut.
    let patience = Instant::now() + Duration::from_secs(10);
    while let Err(error) = store.ping().await {
        assert!(matches!(error, StoreError::Unreachable(_)) && Instant::now() < patience, "{error:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
