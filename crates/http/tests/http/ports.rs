//! The contract of ports. Each test has a part of the machine's ports to itself.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;

use model::ports::PortPlan;
use serde_json::{Value, json};
use store::sqlite::SqliteStore;
use store::{Clock, Store};

use crate::server::{Answer, FREE, Server, fields, has, instant, minutes_until};

/// Blocks right beside each other.
fn plan(base: u16, max_sessions: u16) -> PortPlan {
    PortPlan { base, range: 10, max_sessions, ..PortPlan::default() }
}

async fn server(base: u16, max_sessions: u16) -> Server {
    Server::with(|settings| settings.ports = plan(base, max_sessions)).await
}

async fn allocate(server: &Server, session: &str) -> Answer {
    server.post("/ports/allocate", json!({"session_id": session})).await
}

async fn db_port(server: &Server, session: &str) -> Value {
    allocate(server, session).await.ok()["allocation"]["db_port"].clone()
}

#[tokio::test]
async fn a_session_has_four_ports_and_keeps_them() {
    let server = server(20_000, 2).await;
    let answer = allocate(&server, "session-1").await;
    let allocation = json!({
        "session_id": "session-1", "db_port": 20_000, "rest_port": 20_001, "realtime_port": 20_002, "api_port": 20_003,
        "compose_project_name": "ac-84097828",
    });
    assert_eq!((&answer.ok()["success"], &answer.body["allocation"]), (&json!(true), &allocation));
    assert_eq!(
        answer.body["env_snippet"],
        "export AGENT_COORDINATOR_DB_PORT=20000\nexport AGENT_COORDINATOR_REST_PORT=20001\n\
         export AGENT_COORDINATOR_REALTIME_PORT=20002\nexport API_PORT=20003\n\
         export COMPOSE_PROJECT_NAME=ac-84097828\nexport SUPABASE_URL=http://localhost:20001"
    );
    assert_eq!(minutes_until(&answer.body["expires_at"]), 120);
    let again = allocate(&server, "session-1").await;
    assert_eq!(again.ok()["allocation"], allocation);
    assert!(instant(&again.body["expires_at"]) > instant(&answer.body["expires_at"]), "refreshed");

    assert_eq!(db_port(&server, "session-2").await, 20_010);
    let none = allocate(&server, "session-3").await;
    has(none.ok(), json!({"success": false, "error": "no_ports_available"}));
    assert!(none.body["message"].as_str().unwrap().contains("PORT_ALLOC_MAX_SESSIONS"), "{}", none.body);
    for released in [true, false] {
        let answer = server.post("/ports/release", json!({"session_id": "session-1"})).await;
        has(answer.ok(), json!({"success": true, "released": released}));
    }
    assert_eq!(db_port(&server, "session-3").await, 20_000);
}

#[tokio::test]
async fn the_status_shows_the_project_s_blocks_to_everybody() {
    let server = server(20_100, 3).await;
    db_port(&server, "s1").await;
    let other = server.post("/ports/allocate", json!({"session_id": "s1", "agent_id": "bert"})).project("house").await;
    assert_eq!(other.ok()["allocation"]["db_port"], 20_110, "ports are the machine's");
    let status = server.get("/ports/status").without_key().await;
    has(status.ok(), json!({"success": true, "free": 1}));
    let held = status.body["allocations"].as_array().unwrap();
    assert_eq!(held.len(), 1);
    has(&held[0], json!({"session_id": "s1", "db_port": 20_100, "agent_id": "cloud-agent"}));
    assert!((119..=120).contains(&held[0]["remaining_ttl_minutes"].as_i64().unwrap()), "{}", held[0]);
    assert_eq!(fields(&held[0]).len(), 10);
    let theirs = server.get("/ports/status").project("house").await;
    has(&theirs.ok()["allocations"][0], json!({"agent_id": "bert", "db_port": 20_110}));
}

#[tokio::test]
async fn a_session_has_a_name() {
    let server = server(20_200, 1).await;
    for path in ["/ports/allocate", "/ports/release"] {
        for body in [json!({}), json!({"session_id": ""}), json!({"session_id": " "}), json!({"session_id": "a\tb"})] {
            let answer = server.post(path, body.clone()).await;
            answer.refused(422, "invalid_request");
            assert_eq!(answer.wrong_fields(), ["session_id"], "{path} {body}");
        }
    }
    // A session that another agent registered is a name like any other: skills ask without saying who they are.
    server.post("/agents/register", json!({"agent_id": "anna", "session_id": "s1"})).await.ok();
    assert_eq!(db_port(&server, "s1").await, 20_200);
}

/// Whatever address the other program listens on, and whichever of the four ports it has.
#[tokio::test]
async fn a_port_on_which_somebody_listens_is_skipped() {
    for (at, address) in ["127.0.0.1", "0.0.0.0", "[::1]", "[::]"].into_iter().enumerate() {
        let base = 20_300 + 100 * at as u16;
        // A machine without IPv6 has nobody listening there.
        let Ok(_other) = TcpListener::bind(format!("{address}:{}", base + at as u16)) else { continue };
        let server = server(base, 2).await;
        assert_eq!(db_port(&server, "s1").await, base + 10, "{address}");
        has(allocate(&server, "s2").await.ok(), json!({"success": false, "error": "no_ports_available"}));
    }
}

/// The session's own services listen on its ports by the time it asks again.
#[tokio::test]
async fn a_session_s_own_services_do_not_cost_it_its_ports() {
    let server = server(20_700, 2).await;
    assert_eq!(db_port(&server, "s1").await, 20_700);
    let _own = TcpListener::bind("127.0.0.1:20700").unwrap();
    assert_eq!(db_port(&server, "s1").await, 20_700);
}

/// Sixteen sessions ask two servers on one file at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_servers_never_hand_out_one_block_twice() {
    let home = tempfile::tempdir().unwrap();
    let mut servers = vec![];
    for _ in 0..2 {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&home.path().join("db"), Clock::system()).unwrap());
        servers.push(Arc::new(Server::on_with(store, |settings| settings.ports = plan(20_800, 24)).await));
    }
    sixteen_blocks(&servers, 20_800).await;
}

/// And two on one PostgreSQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_servers_on_postgresql_never_hand_out_one_block_twice() {
    let database = testing::postgres::Database::create().await;
    let mut servers = vec![];
    for _ in 0..2 {
        let pool = store::postgres::PoolSize { min: 1, max: 8 };
        let store = store::postgres::PostgresStore::connect(database.dsn(), pool).await.unwrap();
        servers.push(Arc::new(Server::on_with(Arc::new(store), |settings| settings.ports = plan(21_100, 24)).await));
    }
    sixteen_blocks(&servers, 21_100).await;
}

/// There are a few more than are asked for: a program may listen in one. Half of the sessions are of another project, whose commands do not wait for each other.
async fn sixteen_blocks(servers: &[Arc<Server>], base: u16) {
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..16 {
        let (server, project) = (servers[number % 2].clone(), ["default", "garden"][number / 2 % 2]);
        asking.spawn(async move {
            let asked = json!({"session_id": format!("session {number}")});
            let answer = server.post("/ports/allocate", asked).key(FREE).project(project).await;
            answer.ok()["allocation"]["db_port"].as_u64().unwrap_or_else(|| panic!("{}", answer.body))
        });
    }
    let ports: BTreeSet<u64> = asking.join_all().await.into_iter().collect();
    let blocks: BTreeSet<u64> = (0..24).map(|n| u64::from(base) + 10 * n).collect();
    assert!(ports.len() == 16 && ports.is_subset(&blocks), "sixteen blocks, none twice: {ports:?}");
}
