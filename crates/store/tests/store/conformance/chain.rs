//! The trail's chain of hashes, and the removal of its oldest rows.

use model::chain::{self, COLUMNS, ChainedRow, Digest256, Seal};
use model::command::{Action, Outcome, Refusal};
use model::merkle::Frontier;
use rusqlite::Connection;
use serde_json::Value;

use crate::harness::*;

cases!(
    every_row_is_linked_to_the_one_before,
    a_row_is_hashed_as_it_is_shown,
    each_project_has_a_chain_of_its_own,
    the_chain_is_read_in_pages,
    sealed_rows_are_removed_and_the_chain_goes_on,
    a_seal_that_does_not_fit_removes_nothing,
    the_database_lets_only_sealed_rows_go,
    rows_after_what_is_freed_in_a_batch_are_linked,
);

async fn rows(world: &World) -> Vec<ChainedRow> {
    world.store.audit_chain(&world.project, 0, 1000).await.unwrap()
}

/// The head and the tree after the rows, each of which must fit.
fn follow(rows: &[ChainedRow], mut head: Digest256, mut frontier: Frontier) -> (Digest256, Frontier) {
    for row in rows {
        assert_eq!(row.seq as u64, frontier.size() + 1);
        head = chain::link(&head, &row.row);
        assert_eq!(row.hash, Some(head), "row {}", row.seq);
        frontier.push(&head);
    }
    (head, frontier)
}

/// The seal of the first rows.
async fn seal(world: &World, size: usize) -> Seal {
    let rows = rows(world).await;
    let (hash, frontier) = follow(&rows[..size], Digest256::START, Frontier::default());
    Seal {
        size: size as i64,
        hash,
        frontier: frontier.peaks().to_vec(),
        trail: rows[0].hash.unwrap(),
        checkpoint: "signed, it's said\n".into(),
    }
}

async fn do_something(world: &World) {
    let (ann, bob) = (agent_in("ann", "s1"), agent("bob \"ünï\" 🦀"));
    world.run(&ann, register(&["c++"])).await;
    world.run(&ann, acquire(&["src", "docs/日本"])).await;
    world.run(&bob, acquire(&["src/a.rs"])).await;
    world.run(&bob, task()).await;
    world.run(&bob, claim()).await;
    world.run(&bob, Action::Refuse(Refusal::IdentityMismatch { message: "a\nb\t'c' \\ é".into() })).await;
    world.pass(seconds(700)).await;
    world.all(&[]).await;
}

async fn every_row_is_linked_to_the_one_before(world: &World) {
    do_something(world).await;
    let batch = [command(&agent("ann"), acquire(&["x"])), command(&agent("bob"), release(&["x"]))];
    world.all(&batch).await;
    let rows = rows(world).await;
    assert!(rows.len() > 9, "{}", rows.len());
    follow(&rows, Digest256::START, Frontier::default());
    assert_eq!(world.store.audit_seal(&world.project).await.unwrap(), None);
}

async fn rows_after_what_is_freed_in_a_batch_are_linked(world: &World) {
    world.run(&agent_in("ann", "s1"), register(&[])).await;
    world.run(&agent_in("bob", "s2"), register(&[])).await;
    let cid = agent("cid");
    let batch = [command(&cid, acquire(&["a"])), command(&cid, cleanup(0)), command(&cid, release(&["a"]))];
    world.all(&batch).await;
    let rows = rows(world).await;
    let operations: Vec<&str> = rows.iter().map(|row| row.row.text("operation").unwrap()).collect();
    assert_eq!(
        operations[2..],
        ["acquire_lock", "disconnect_session", "disconnect_session", "cleanup_dead_agents", "release_lock"]
    );
    follow(&rows, Digest256::START, Frontier::default());
}

/// What is hashed is what `audit` shows: column for column.
async fn a_row_is_hashed_as_it_is_shown(world: &World) {
    do_something(world).await;
    let shown = world.store.audit_after(&world.project, 0, 1000).await.unwrap();
    for (entry, chained) in shown.into_iter().zip(rows(world).await) {
        let text = |name| chained.row.text(name).map(str::to_owned);
        let json = |name| serde_json::from_str::<Value>(&text(name).unwrap()).unwrap();
        assert_eq!(chained.row.columns().map(|columns| columns.len()), Some(COLUMNS.len()));
        assert_eq!(text("project").as_deref(), Some("house"));
        assert_eq!(text("seq"), Some(entry.seq.to_string()));
        assert_eq!(text("id"), Some(entry.id.to_string()));
        assert_eq!(text("agent_id"), Some(entry.agent_id));
        assert_eq!(text("agent_type"), Some(entry.agent_type));
        assert_eq!(text("session_id"), entry.session_id);
        assert_eq!(text("operation"), Some(entry.operation));
        assert_eq!((json("parameters"), json("result")), (entry.parameters, entry.result));
        assert_eq!(text("duration_ms"), Some(entry.duration_ms.to_string()));
        assert_eq!(text("success"), Some(u8::from(entry.success).to_string()));
        assert_eq!(text("error_message"), entry.error_message);
        assert_eq!(text("created_at"), Some(entry.created_at.as_microsecond().to_string()));
    }
}

async fn each_project_has_a_chain_of_its_own(world: &World) {
    let other = world.in_project("field");
    for n in 0..3 {
        world.take(&agent("ann"), &format!("a{n}")).await;
        other.take(&agent("ann"), &format!("b{n}")).await;
    }
    for world in [world, &other] {
        follow(&rows(world).await, Digest256::START, Frontier::default());
    }
    let projects = world.store.projects().await.unwrap();
    same(projects, &["field", "house"]);
}

async fn the_chain_is_read_in_pages(world: &World) {
    do_something(world).await;
    let all = rows(world).await;
    let page = world.store.audit_chain(&world.project, 2, 3).await.unwrap();
    assert_eq!(page, all[2..5]);
    assert_eq!(world.store.audit_chain(&world.project, 1000, 3).await.unwrap(), []);
}

async fn sealed_rows_are_removed_and_the_chain_goes_on(world: &World) {
    do_something(world).await;
    let before = rows(world).await;
    let first = seal(world, 3).await;
    assert_eq!(world.run(&agent("ann"), Action::PruneAudit(first.clone())).await, Outcome::AuditPruned { rows: 3 });
    assert_eq!(world.store.audit_seal(&world.project).await.unwrap(), Some(first.clone()));
    let after = rows(world).await;
    assert_eq!(after[..after.len() - 1], before[3..]);
    assert_eq!(after.last().unwrap().row.text("operation"), Some("prune_audit"));
    let frontier = Frontier::resume(3, first.frontier.clone()).unwrap();
    let (hash, frontier) = follow(&after, first.hash, frontier);

    // And again, up to the row before the last.
    let size = frontier.size() as i64;
    let frontier = Frontier::resume(3, first.frontier.clone()).unwrap();
    let (before_last, frontier) = follow(&after[..after.len() - 1], first.hash, frontier);
    let second =
        Seal { size: size - 1, hash: before_last, frontier: frontier.peaks().to_vec(), trail: first.trail, ..first };
    let outcome = world.run(&agent("ann"), Action::PruneAudit(second.clone())).await;
    assert_eq!(outcome, Outcome::AuditPruned { rows: size - 4 });
    let left = rows(world).await;
    assert_eq!((left.len(), left[0].seq, left[0].hash), (2, size, Some(hash)), "it goes on where it was");
    world.take(&agent("ann"), "later").await;
    assert_eq!(rows(world).await.last().unwrap().seq, size + 2);
    follow(&rows(world).await, second.hash, frontier);
}

async fn a_seal_that_does_not_fit_removes_nothing(world: &World) {
    do_something(world).await;
    let good = seal(world, 3).await;
    let count = rows(world).await.len() as i64;
    let all = seal(world, count as usize).await;
    for wrong in [
        Seal { size: 2, ..good.clone() },
        Seal { size: 0, ..good.clone() },
        Seal { size: -1, ..good.clone() },
        Seal { size: i64::MAX, ..good.clone() },
        Seal { hash: Digest256::START, ..good.clone() },
        Seal { size: 0, hash: Digest256::START, ..good.clone() },
        Seal { size: count + 5, ..good.clone() },
    ] {
        let size = wrong.size;
        let outcome = world.run(&agent("ann"), Action::PruneAudit(wrong)).await;
        assert_eq!(refused(outcome), Refusal::SealMismatch { size });
    }
    // Now it is no longer of all rows.
    assert_eq!(rows(world).await[..count as usize].len() as i64, all.size);
    assert!(world.run(&agent("ann"), Action::PruneAudit(good.clone())).await.is_success());
    let again = world.run(&agent("ann"), Action::PruneAudit(good)).await;
    assert_eq!(refused(again), Refusal::SealMismatch { size: 3 }, "once");
    assert_eq!(rows(world).await[0].seq, 4);
}

async fn the_database_lets_only_sealed_rows_go(world: &World) {
    do_something(world).await;
    let good = seal(world, 2).await;
    assert!(world.run(&agent("ann"), Action::PruneAudit(good)).await.is_success());
    let before = rows(world).await;
    match &*world.home {
        Home::Memory => {}
        Home::Sqlite(directory) => {
            let raw = Connection::open(directory.path().join("db")).unwrap();
            let false_seal = "insert into audit_seals values ('house', 4, zeroblob(32), '[]', zeroblob(32), '')";
            for statement in [
                "delete from audit",
                "delete from audit where seq = 3",
                "update audit set hash = zeroblob(32)",
                "update audit_seals set size = 1000",
                "delete from audit_seals",
                false_seal,
                &false_seal.replace("insert", "insert or replace"),
                "insert into audit_seals select project, max(seq), hash, '[]', hash, '' from audit",
                "insert or replace into audit_seals select project, size, hash, '[1]', trail, '' from audit_seals",
            ] {
                let error = raw.execute_batch(statement).unwrap_err().to_string();
                assert!(error.contains("append-only"), "{statement}: {error}");
            }
        }
        Home::Postgres(_, raw) => {
            let false_seal = "insert into coordinator.audit_seals
                values ('house', 4, decode(repeat('00', 32), 'hex'), '[]', decode(repeat('00', 32), 'hex'), '')";
            for statement in [
                "delete from coordinator.audit",
                "delete from coordinator.audit where seq = 3",
                "delete from coordinator.audit where seq = 1",
                "update coordinator.audit set hash = decode(repeat('00', 32), 'hex')",
                "update coordinator.audit_seals set size = 1000",
                "delete from coordinator.audit_seals",
                "truncate coordinator.audit_seals",
                "truncate coordinator.audit, coordinator.audit_seals",
                false_seal,
                "insert into coordinator.audit_seals
                     select project, seq, hash, '[]', hash, '' from coordinator.audit order by seq desc limit 1",
                &format!("set session_replication_role = replica; {false_seal}"),
                "set session_replication_role = replica; delete from coordinator.audit where seq = 3",
            ] {
                let error = raw.batch_execute(statement).await.unwrap_err();
                let message = error.as_db_error().unwrap().message();
                assert!(message.contains("append-only"), "{statement}: {message}");
                raw.batch_execute("set session_replication_role = default").await.unwrap();
            }
        }
    }
    assert_eq!(rows(world).await, before);
}

/// Rows that were written before there were hashes get them when the database is brought up to date.
#[tokio::test]
async fn rows_from_before_the_chain_are_linked_in_sqlite() {
    let directory = directory();
    let path = directory.path().join("db");
    let old = Connection::open(&path).unwrap();
    for migration in [
        include_str!("../../../migrations/sqlite/0001_foundation.sql"),
        include_str!("../../../migrations/sqlite/0002_positions.sql"),
        include_str!("../../../migrations/sqlite/0003_handoffs_and_ports.sql"),
    ] {
        old.execute_batch(migration).unwrap();
    }
    for (project, seq) in [("b", 1), ("a", 1), ("a", 2), ("b", 2)] {
        old.execute(
            "insert into audit values (?, ?, randomblob(16), 'ann', 't', null, 'heartbeat', '{}', 'null', 0, 1, null, 7)",
            rusqlite::params![project, seq],
        )
        .unwrap();
    }
    old.execute_batch("pragma application_id = 0x4167436f; pragma user_version = 3").unwrap();
    drop(old);
    let store = store::sqlite::SqliteStore::open(&path, store::Clock::system()).unwrap();
    for name in ["a", "b"] {
        let project = project(name);
        store::Store::apply(&store, &project, &[command(&agent("ann"), acquire(&["src"]))]).await.unwrap();
        let rows = store::Store::audit_chain(&store, &project, 0, 100).await.unwrap();
        assert_eq!(rows.len(), 3);
        follow(&rows, Digest256::START, Frontier::default());
    }
    let raw = Connection::open(&path).unwrap();
    assert!(raw.execute_batch("update audit set seq = 9").is_err(), "the ban on changes is back");
}

/// The same in PostgreSQL, whose migration has its own words for it.
#[tokio::test]
async fn rows_from_before_the_chain_are_linked_in_postgres() {
    let database = testing::postgres::Database::create().await;
    let raw = superuser(&database).await;
    let beginning = "create schema coordinator; create table coordinator.schema_version (
        single boolean primary key default true check (single), version bigint not null, functions text not null,
        changed_at timestamptz not null default clock_timestamp());
        insert into coordinator.schema_version (version, functions) values (3, '')";
    for migration in [
        beginning,
        include_str!("../../../migrations/postgres/0001_foundation.sql"),
        include_str!("../../../migrations/postgres/0002_positions.sql"),
        include_str!("../../../migrations/postgres/0003_handoffs_and_ports.sql"),
        "insert into coordinator.audit
         select p, n, gen_random_uuid(), 'ann', 't', null, 'heartbeat', '{\"a\": 1.0}', '{\"b\": 1.0}', 0, true, null, now()
         from unnest(array['b', 'a']) as p, generate_series(1, 3) as n",
    ] {
        raw.batch_execute(migration).await.unwrap();
    }
    let pool = store::postgres::PoolSize { min: 1, max: 1 };
    let store = store::postgres::PostgresStore::connect(database.dsn(), pool).await.unwrap();
    for name in ["a", "b"] {
        let project = project(name);
        store::Store::apply(&store, &project, &[command(&agent("ann"), acquire(&["src"]))]).await.unwrap();
        let rows = store::Store::audit_chain(&store, &project, 0, 100).await.unwrap();
        assert_eq!(rows.len(), 4);
        follow(&rows, Digest256::START, Frontier::default());
    }
    assert!(raw.batch_execute("update coordinator.audit set seq = 9").await.is_err(), "the ban on changes is back");
}
