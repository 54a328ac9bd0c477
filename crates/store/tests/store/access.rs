//! Who may do what in a PostgreSQL database besides its owner: call the functions, or nothing.

use store::postgres::{PoolSize, PostgresStore};
use store::{Store, StoreError};
use testing::postgres::Database;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::harness::*;

/// What the roles are asked to do with each table.
const DEEDS: [&str; 5] = [
    "select from {}",
    "insert into {} overriding system value select * from {}",
    "update {} set {column} = {column}",
    "delete from {}",
    "truncate {}",
];

/// A database that is up to date, with a lock in it, and its superuser.
async fn house() -> (Database, Client) {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.dsn(), PoolSize::default()).await.unwrap();
    store.apply(&project("house"), &[command(&agent("ann"), acquire(&["src"]))]).await.unwrap();
    let client = superuser(&database).await;
    (database, client)
}

async fn names(client: &Client, query: &str) -> Vec<String> {
    client.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// All tables and views.
async fn relations(client: &Client) -> Vec<String> {
    let all = "select c.oid::regclass::text from pg_class as c
               where c.relnamespace in ('coordinator'::regnamespace, 'coordinator_api'::regnamespace)
                   and c.relkind in ('r', 'p', 'v', 'm') order by 1";
    let all = names(client, all).await;
    assert!(all.len() >= 9, "{all:?}");
    all
}

/// Runs a statement as the role, and tells why it was refused.
async fn refused_as(client: &Client, role: &str, statement: &str) -> Option<SqlState> {
    client.batch_execute(&format!("set role {role}")).await.unwrap();
    let outcome = client.batch_execute(statement).await;
    client.batch_execute("reset role").await.unwrap();
    outcome.err().map(|error| error.code().unwrap().clone())
}

#[tokio::test]
async fn nobody_but_the_owner_touches_a_table() {
    let (_database, client) = house().await;
    for role in ["anon", "authenticated", "service_role"] {
        for relation in relations(&client).await {
            let column = format!(
                "select attname::text from pg_attribute where attrelid = '{relation}'::regclass and attnum > 0 and attidentity = '' order by attnum"
            );
            let column = names(&client, &column).await.remove(0);
            for deed in DEEDS {
                let statement = deed.replace("{}", &relation).replace("{column}", &column);
                if (role, deed, relation.as_str()) == ("service_role", DEEDS[0], "coordinator.schema_version") {
                    continue;
                }
                let refused = refused_as(&client, role, &statement).await;
                assert_eq!(refused, Some(SqlState::INSUFFICIENT_PRIVILEGE), "{role}: {statement}");
            }
        }
    }
}

#[tokio::test]
async fn anon_calls_nothing_and_service_role_only_the_entries() {
    let (_database, client) = house().await;
    let callable = async |role: &str| {
        let query = format!(
            "select p.oid::regproc::text from pg_proc as p
             where p.pronamespace in ('coordinator'::regnamespace, 'coordinator_api'::regnamespace)
                 and has_function_privilege('{role}', p.oid, 'execute') order by 1"
        );
        names(&client, &query).await
    };
    assert_eq!(callable("anon").await, [] as [&str; 0]);
    assert_eq!(callable("authenticated").await, [] as [&str; 0]);
    let entries = [
        "coordinator.apply",
        "coordinator.read",
        "coordinator_api.apply",
        "coordinator_api.read",
        "coordinator_api.version",
    ];
    assert_eq!(callable("service_role").await, entries);
    for role in ["anon", "authenticated"] {
        for call in ["coordinator_api.version()", "coordinator_api.read('house', '{\"kind\": \"locks\"}')"] {
            let refused = refused_as(&client, role, &format!("select {call}")).await;
            assert_eq!(refused, Some(SqlState::INSUFFICIENT_PRIVILEGE), "{role}: {call}");
        }
    }
}

#[tokio::test]
async fn only_the_entries_run_with_the_owners_rights_and_their_search_path_is_fixed() {
    let (_database, client) = house().await;
    let definers = "select p.oid::regproc::text || ' ' || coalesce(array_to_string(p.proconfig, ' '), '')
                    from pg_proc as p
                    where p.prosecdef
                        and p.pronamespace in ('coordinator'::regnamespace, 'coordinator_api'::regnamespace)
                    order by 1";
    let definers = names(&client, definers).await;
    assert_eq!(definers.len(), 2, "{definers:?}");
    for (definer, name) in definers.iter().zip(["coordinator.apply ", "coordinator.read "]) {
        assert!(definer.starts_with(name), "{definer}");
        assert!(definer.contains("search_path=coordinator, pg_temp"), "{definer}");
    }
}

/// Guides tell people to do so with each schema that PostgREST is to expose.
#[tokio::test]
async fn granting_all_of_the_exposed_schema_opens_nothing() {
    let (_database, client) = house().await;
    client
        .batch_execute(
            "grant usage on schema coordinator_api to anon;
             grant all on all tables in schema coordinator_api to anon;
             grant all on all routines in schema coordinator_api to anon",
        )
        .await
        .unwrap();
    for call in ["version()", "read('house', '{\"kind\": \"locks\"}')", "apply('house', '[]')"] {
        let refused = refused_as(&client, "anon", &format!("select coordinator_api.{call}")).await;
        assert_eq!(refused, Some(SqlState::INSUFFICIENT_PRIVILEGE), "{call}");
    }
}

/// PostgREST prepares its statements, and runs them for whoever comes next on the connection.
#[tokio::test]
async fn a_plan_made_for_one_role_lends_nothing_to_another() {
    let (_database, client) = house().await;
    let calls = "prepare a as select coordinator_api.apply('house', '[]');
                 prepare r as select coordinator_api.read('house', '{\"kind\": \"locks\"}');
                 prepare v as select coordinator_api.version()";
    client.batch_execute(calls).await.unwrap();
    // After five runs a plan is kept.
    for _ in 0..7 {
        client.batch_execute("set role service_role; execute a; execute r; execute v").await.unwrap();
    }
    for statement in ["execute a", "execute r", "execute v"] {
        let refused = refused_as(&client, "anon", statement).await;
        assert_eq!(refused, Some(SqlState::INSUFFICIENT_PRIVILEGE), "{statement}");
    }
}

#[tokio::test]
async fn tables_that_were_granted_by_mistake_show_no_row() {
    let (_database, client) = house().await;
    client
        .batch_execute(
            "grant usage on schema coordinator to anon, authenticated;
             grant all on all tables in schema coordinator to anon, authenticated",
        )
        .await
        .unwrap();
    for role in ["anon", "authenticated"] {
        for table in relations(&client).await {
            client.batch_execute(&format!("set role {role}")).await.unwrap();
            let rows = client.query(&format!("select from {table}"), &[]).await.unwrap();
            client.batch_execute("reset role").await.unwrap();
            assert!(rows.is_empty(), "{role} reads {table}");
        }
    }
}

#[tokio::test]
async fn a_table_that_comes_later_is_guarded_too() {
    let (_database, client) = house().await;
    client
        .batch_execute("create table coordinator.later (x int); grant all on coordinator.later to public, anon")
        .await
        .unwrap();
    client.batch_execute(&PostgresStore::migration_script()).await.unwrap();
    let open = "select c.relname::text from pg_class as c
                where c.relnamespace = 'coordinator'::regnamespace and c.relkind in ('r', 'p')
                    and (not c.relrowsecurity or has_table_privilege('anon', c.oid, 'select'))";
    assert_eq!(names(&client, open).await, [] as [&str; 0]);
}

#[tokio::test]
async fn a_member_of_service_role_needs_no_other_right() {
    let (database, client) = house().await;
    let member = format!("member_of_{}", database.name());
    client.batch_execute(&format!("create role {member} login in role service_role")).await.unwrap();
    let dsn = database.dsn().replace("postgres@", &format!("{member}@"));

    let store = PostgresStore::connect(&dsn, PoolSize::default()).await.unwrap();
    store.apply(&project("house"), &[command(&agent("bob"), acquire(&["docs"]))]).await.unwrap();
    assert_eq!(store.locks(&project("house"), None).await.unwrap().len(), 2);

    client.batch_execute("update coordinator.schema_version set functions = 'those of another version'").await.unwrap();
    let error = PostgresStore::connect(&dsn, PoolSize::default()).await.err().unwrap();
    assert!(matches!(error, StoreError::NotReady(_)), "{error:?}");
    assert!(error.to_string().contains("coordinator migrate"), "{error}");
    drop(store);
    client.batch_execute(&format!("drop role {member}")).await.unwrap();
}

/// Roles belong to the whole server, so these need one to themselves.
mod own_server {
    use testing::postgres::Cluster;
    use tokio_postgres::NoTls;

    use super::*;

    async fn connect(dsn: &str) -> Client {
        let (client, connection) = tokio_postgres::connect(dsn, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    async fn roles(client: &Client) -> Vec<String> {
        names(client, "select rolname::text from pg_roles where rolname in ('anon', 'authenticated', 'service_role')")
            .await
    }

    #[tokio::test]
    async fn the_roles_are_made_by_who_may_and_not_needed_by_who_may_not() {
        let cluster = Cluster::start_with(&[("fsync", "off")]).unwrap();
        let admin = connect(&cluster.dsn("postgres")).await;
        admin.batch_execute("create role plain login").await.unwrap();
        admin.batch_execute("create database plain owner plain").await.unwrap();
        let dsn = cluster.dsn("plain").replace("postgres@", "plain@");

        let store = PostgresStore::connect(&dsn, PoolSize::default()).await.unwrap();
        store.apply(&project("house"), &[command(&agent("ann"), acquire(&["src"]))]).await.unwrap();
        assert_eq!(store.locks(&project("house"), None).await.unwrap().len(), 1);
        assert_eq!(roles(&admin).await, [] as [&str; 0]);

        // Somebody who may make roles migrates another database of this server.
        admin.batch_execute("create database other").await.unwrap();
        PostgresStore::connect(&cluster.dsn("other"), PoolSize::default()).await.unwrap();
        assert_eq!(roles(&admin).await.len(), 3);

        // The first one is opened to them when its owner runs the script.
        let call = "set role service_role; select coordinator_api.read('house', '{\"kind\": \"locks\"}')";
        let before = connect(&cluster.dsn("plain")).await.batch_execute(call).await.unwrap_err();
        assert_eq!(before.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
        connect(&dsn).await.batch_execute(&PostgresStore::migration_script()).await.unwrap();
        connect(&cluster.dsn("plain")).await.batch_execute(call).await.unwrap();
        assert_eq!(store.locks(&project("house"), None).await.unwrap().len(), 1);
    }
}
