//! The contract of ports.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;

use model::ports::PortPlan;
use serde_json::{Value, json};
use store::sqlite::SqliteStore;
use store::{Clock, Store};
use testing::ports::Range;

use crate::server::{Answer, FREE, Server, fields, has, instant, minutes_until};

/// Blocks right beside each other.
fn plan(base: u16, max_sessions: u16) -> PortPlan {
    PortPlan { base, range: 10, max_sessions, ..PortPlan::default() }
}

/// With ports that no other test has, as long as the second is not dropped: the lowest of them comes third.
async fn server(max_sessions: u16) -> (Server, Range, u16) {
    let range = Range::claim();
    let base = range.base;
    (Server::with(|settings| settings.ports = plan(base, max_sessions)).await, range, base)
}

async fn allocate(server: &Server, session: &str) -> Answer {
    server.post("/ports/allocate", json!({"session_id": session})).await
}

async fn db_port(server: &Server, session: &str) -> Value {
    allocate(server, session).await.ok()["allocation"]["db_port"].clone()
}

#[tokio::test]
async fn a_session_has_four_ports_and_keeps_them() {
    let (server, _ports, base) = server(2).await;
    let answer = allocate(&server, "session-1").await;
    let allocation = json!({
        "session_id": "session-1", "db_port": base, "rest_port": base + 1, "realtime_port": base + 2, "api_port": base + 3,
        "compose_project_name": "ac-84097828",
    });
    assert_eq!((&answer.ok()["success"], &answer.body["allocation"]), (&json!(true), &allocation));
    assert_eq!(
        answer.body["env_snippet"],
        format!(
            "export AGENT_COORDINATOR_DB_PORT={base}\nexport AGENT_COORDINATOR_REST_PORT={rest}\n\
             export AGENT_COORDINATOR_REALTIME_PORT={}\nexport API_PORT={}\n\
             export COMPOSE_PROJECT_NAME=ac-84097828\nexport SUPABASE_URL=http://localhost:{rest}",
            base + 2,
            base + 3,
            rest = base + 1
        )
    );
    assert_eq!(minutes_until(&answer.body["expires_at"]), 120);
    let again = allocate(&server, "session-1").await;
    assert_eq!(again.ok()["allocation"], allocation);
    assert!(instant(&again.body["expires_at"]) > instant(&answer.body["expires_at"]), "refreshed");

    assert_eq!(db_port(&server, "session-2").await, base + 10);
    let none = allocate(&server, "session-3").await;
    has(none.ok(), json!({"success": false, "error": "no_ports_available"}));
    assert!(none.body["message"].as_str().unwrap().contains("PORT_ALLOC_MAX_SESSIONS"), "{}", none.body);
    for released in [true, false] {
        let answer = server.post("/ports/release", json!({"session_id": "session-1"})).await;
        has(answer.ok(), json!({"success": true, "released": released}));
    }
    assert_eq!(db_port(&server, "session-3").await, base);
}

#[tokio::test]
async fn the_status_shows_the_project_s_blocks_to_everybody() {
    let (server, _ports, base) = server(3).await;
    db_port(&server, "s1").await;
    let other = server.post("/ports/allocate", json!({"session_id": "s1", "agent_id": "bert"})).project("house").await;
    assert_eq!(other.ok()["allocation"]["db_port"], base + 10, "ports are the machine's");
    let status = server.get("/ports/status").without_key().await;
    has(status.ok(), json!({"success": true, "free": 1}));
    let held = status.body["allocations"].as_array().unwrap();
    assert_eq!(held.len(), 1);
    has(&held[0], json!({"session_id": "s1", "db_port": base, "agent_id": "cloud-agent"}));
    assert!((119..=120).contains(&held[0]["remaining_ttl_minutes"].as_i64().unwrap()), "{}", held[0]);
    assert_eq!(fields(&held[0]).len(), 10);
    let theirs = server.get("/ports/status").project("house").await;
    has(&theirs.ok()["allocations"][0], json!({"agent_id": "bert", "db_port": base + 10}));
}

#[tokio::test]
async fn a_session_has_a_name() {
    let (server, _ports, base) = server(1).await;
    for path in ["/ports/allocate", "/ports/release"] {
        for body in [json!({}), json!({"session_id": ""}), json!({"session_id": " "}), json!({"session_id": "a\tb"})] {
            let answer = server.post(path, body.clone()).await;
            answer.refused(422, "invalid_request");
            assert_eq!(answer.wrong_fields(), ["session_id"], "{path} {body}");
        }
    }
    // A session that another agent registered is a name like any other: skills ask without saying who they are.
    server.post("/agents/register", json!({"agent_id": "anna", "session_id": "s1"})).await.ok();
    assert_eq!(db_port(&server, "s1").await, base);
}

/// Whatever address the other program listens on, and whichever of the four ports it has.
#[tokio::test]
async fn a_port_on_which_somebody_listens_is_skipped() {
    for (at, address) in ["127.0.0.1", "0.0.0.0", "[::1]", "[::]"].into_iter().enumerate() {
        let (server, _ports, base) = server(2).await;
        // A machine without IPv6 has nobody listening there.
        let Ok(_other) = TcpListener::bind(format!("{address}:{}", base + at as u16)) else { continue };
        assert_eq!(db_port(&server, "s1").await, base + 10, "{address}");
        has(allocate(&server, "s2").await.ok(), json!({"success": false, "error": "no_ports_available"}));
    }
}

/// The session's own services listen on its ports by the time it asks again.
#[tokio::test]
async fn a_session_s_own_services_do_not_cost_it_its_ports() {
    let (server, _ports, base) = server(2).await;
    assert_eq!(db_port(&server, "s1").await, base);
    let _own = TcpListener::bind(("127.0.0.1", base)).unwrap();
    assert_eq!(db_port(&server, "s1").await, base);
}

/// Sixteen sessions ask two servers on one file at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_servers_never_hand_out_one_block_twice() {
    let (home, ports) = (tempfile::tempdir().unwrap(), Range::claim());
    let mut servers = vec![];
    for _ in 0..2 {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&home.path().join("db"), Clock::system()).unwrap());
        servers.push(Arc::new(Server::on_with(store, |settings| settings.ports = plan(ports.base, 16)).await));
    }
    sixteen_blocks(&servers, ports.base).await;
}

/// And two on one PostgreSQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_servers_on_postgresql_never_hand_out_one_block_twice() {
    let (database, ports) = (testing::postgres::Database::create().await, Range::claim());
    let mut servers = vec![];
    for _ in 0..2 {
        let pool = store::postgres::PoolSize { min: 1, max: 8 };
        let store = store::postgres::PostgresStore::connect(database.dsn(), pool).await.unwrap();
        servers
            .push(Arc::new(Server::on_with(Arc::new(store), |settings| settings.ports = plan(ports.base, 16)).await));
    }
    sixteen_blocks(&servers, ports.base).await;
}

/// Half of the sessions are of another project, whose commands do not wait for each other.
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
    assert_eq!(ports, (0..16).map(|n| u64::from(base) + 10 * n).collect(), "sixteen blocks, none twice");
}
