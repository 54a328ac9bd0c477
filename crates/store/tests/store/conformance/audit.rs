//! The audit trail: one row for each command and each thing freed, never changed again.

use model::JsonText;
use model::audit::{AuditEntry, AuditFilter};
use model::command::{Action, Claim, Command, Outcome, Refusal, Submit};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::*;

cases!(
    a_row_tells_who_asked_what_and_what_came_of_it,
    a_refusal_is_recorded_with_its_code,
    every_command_leaves_one_row,
    waiting_leaves_none,
    waiting_for_a_task_leaves_none,
    positions_have_no_gaps,
    a_claim_is_recorded_by_the_tasks_id,
    what_is_freed_is_recorded_under_the_coordinators_name,
    a_cleanup_records_each_session,
    the_trail_is_filtered_and_paged,
    the_trail_can_be_followed,
    parameters_of_any_kind_come_back,
    the_database_refuses_to_change_the_trail,
);

fn everything() -> AuditFilter {
    AuditFilter { limit: 1000, ..AuditFilter::default() }
}

/// The whole trail, oldest first.
async fn trail(world: &World) -> Vec<AuditEntry> {
    let mut entries = world.store.audit(&world.project, &everything()).await.unwrap();
    entries.reverse();
    entries
}

async fn operations(world: &World) -> Vec<String> {
    trail(world).await.into_iter().map(|e| e.operation).collect()
}

async fn a_row_tells_who_asked_what_and_what_came_of_it(world: &World) {
    let parameters =
        json!({"file_path": "./src", "reason": "it's – \"quoted\"", "n": [1, null, true, {"z": 1, "a": 2}]});
    let asked = Command {
        parameters: JsonText::new(&parameters),
        duration_ms: 17,
        ..command(&agent_in("ann", "s1"), acquire(&["src"]))
    };
    let outcome = world.all(std::slice::from_ref(&asked)).await.remove(0);
    let entries = trail(world).await;
    assert_eq!(
        entries,
        [AuditEntry {
            seq: 1,
            id: asked.id,
            agent_id: "ann".into(),
            agent_type: "claude_code_cli".into(),
            session_id: Some("s1".into()),
            operation: "acquire_lock".into(),
            parameters,
            result: serde_json::to_value(&outcome).unwrap(),
            duration_ms: 17,
            success: true,
            error_message: None,
            created_at: world.now(),
        }]
    );
}

async fn a_refusal_is_recorded_with_its_code(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    world.take(&ann, "src").await;
    let mismatch = Action::Refuse(Refusal::IdentityMismatch { message: "the key is ann's".into() });
    for (action, code) in [
        (acquire(&["src"]).action(), "locked_by_other"),
        (release(&["src"]).action(), "lock_not_found_or_not_owner"),
        (claim().action(), "no_tasks_available"),
        (register(&[]).action(), "session_not_found"),
        (mismatch, "identity_mismatch"),
    ] {
        let outcome = world.run(&bob, action).await;
        let entry = trail(world).await.pop().unwrap();
        assert!(!entry.success);
        assert_eq!(entry.error_message.as_deref(), Some(code));
        assert_eq!(entry.agent_id, "bob");
        assert_eq!(entry.result, serde_json::to_value(&outcome).unwrap());
    }
    assert_eq!(trail(world).await.len(), 6);
}

async fn every_command_leaves_one_row(world: &World) {
    let ann = agent_in("ann", "s1");
    let id = world.add(task()).await;
    let key = super::api_keys::key_for("house", 1);
    let commands: Vec<Command> = [
        register(&[]).action(),
        acquire(&["src"]).action(),
        acquire(&["src"]).action(),
        release(&["src"]).action(),
        release(&["src"]).action(),
        task().action(),
        claim().action(),
        Action::Heartbeat,
        complete(id).action(),
        cancel(id).action(),
        cleanup(900).action(),
        Action::CreateKey(key.clone()),
        Action::RevokeKey { id: key.id },
        Action::RevokeKey { id: key.id },
        Action::Refuse(Refusal::TaskNotFound),
    ]
    .map(|action| command(&ann, action))
    .to_vec();
    let outcomes = world.all(&commands).await;
    let entries = trail(world).await.split_off(1);
    assert_eq!(entries.len(), commands.len());
    for ((entry, command), outcome) in entries.iter().zip(&commands).zip(&outcomes) {
        assert_eq!(entry.id, command.id);
        assert_eq!(entry.operation, command.operation);
        assert_eq!(entry.success, outcome.is_success());
        assert_eq!(entry.error_message.as_deref(), outcome.code());
    }
}

async fn waiting_leaves_none(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    world.take(&ann, "src").await;
    for _ in 0..3 {
        waiting(world.run(&bob, queue(&["src"], ticket(1))).await);
        world.pass(seconds(2)).await;
    }
    assert_eq!(operations(world).await, ["acquire_lock"]);
    world.run(&ann, release(&["src"])).await;
    granted(world.run(&bob, queue(&["src"], ticket(1))).await);
    assert_eq!(operations(world).await, ["acquire_lock", "release_lock", "acquire_lock"]);
}

async fn positions_have_no_gaps(world: &World) {
    let ann = agent("ann");
    for round in 0..5 {
        let batch: Vec<Command> = (0..=round)
            .flat_map(|n| {
                let path = format!("{n}");
                [command(&ann, acquire(&[&path])), command(&agent("bob"), queue(&[&path], ticket(n)))]
            })
            .collect();
        world.all(&batch).await;
        world.pass(seconds(600)).await;
        world.all(&[]).await;
        world.locks().await;
    }
    let entries = trail(world).await;
    assert_eq!(entries.iter().map(|e| e.seq).collect::<Vec<_>>(), (1..=entries.len() as i64).collect::<Vec<_>>());
    assert!(entries.is_sorted_by_key(|e| e.created_at));
    assert_eq!(entries.len(), 30, "each grant, and each end");
}

async fn a_claim_is_recorded_by_the_tasks_id(world: &World) {
    let id = world.add(Submit { description: "large".repeat(1000), ..task() }).await;
    let task = world.claims(&agent("bob"), id).await;
    let entry = trail(world).await.pop().unwrap();
    assert_eq!(
        entry.result,
        json!({"kind": "claimed", "task_id": id, "attempt": 1, "fencing_token": task.fencing_token})
    );
    assert!(entry.success);
}

async fn what_is_freed_is_recorded_under_the_coordinators_name(world: &World) {
    let (ann, bob) = (agent_in("ann", "s1"), agent("bob"));
    let (lapsing, overdue) =
        (world.add(task()).await, world.add(Submit { deadline: Some(world.now() + seconds(400)), ..task() }).await);
    world.claims(&bob, lapsing).await;
    world.take(&bob, "docs").await;
    world.run(&ann, register(&[])).await;
    world.run(&ann, acquire(&["src"])).await;
    let before = trail(world).await.len();
    world.pass(seconds(600)).await;
    world.all(&[]).await;
    let entries = trail(world).await.split_off(before);
    let told: Vec<(&str, Value)> = entries.iter().map(|e| (e.operation.as_str(), e.parameters.clone())).collect();
    assert_eq!(
        told,
        [
            (
                "disconnect_session",
                json!({"session_id": "s1", "agent_id": "ann", "locks_released": 1, "tasks_requeued": 0})
            ),
            ("expire_lock", json!({"file_path": "docs", "agent_id": "bob"})),
            ("lapse_claim", json!({"task_id": lapsing, "agent_id": "bob"})),
            ("expire_task", json!({"task_id": overdue})),
        ]
    );
    for entry in &entries {
        assert_eq!((entry.agent_id.as_str(), entry.agent_type.as_str()), ("coordinator", "system"));
        assert_eq!((entry.session_id.as_deref(), entry.duration_ms), (None, 0));
        assert_eq!((entry.success, entry.error_message.as_deref(), &entry.result), (true, None, &Value::Null));
        assert_eq!(entry.created_at, world.now());
    }
    world.all(&[]).await;
    world.locks().await;
    assert_eq!(trail(world).await.len(), before + 4, "once");
}

async fn a_cleanup_records_each_session(world: &World) {
    for (who, id) in [("ann", "s1"), ("bob", "s2")] {
        world.run(&agent_in(who, id), register(&[])).await;
    }
    let outcome = world.run(&agent("cid"), cleanup(0)).await;
    let rows = trail(world).await.split_off(2);
    same(rows.iter().map(|e| &e.operation), &["disconnect_session", "disconnect_session", "cleanup_dead_agents"]);
    assert_eq!(rows[0].parameters["session_id"], "s1");
    assert_eq!(rows[2].result, serde_json::to_value(outcome).unwrap());
}

async fn the_trail_is_filtered_and_paged(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    world.take(&ann, "src").await;
    world.pass(seconds(1)).await;
    let second = world.now();
    world.run(&bob, acquire(&["src"])).await;
    world.run(&bob, release(&["src"])).await;
    world.pass(seconds(1)).await;
    world.run(&ann, release(&["src"])).await;
    let positions = async |filter: AuditFilter| -> Vec<i64> {
        world.store.audit(&world.project, &filter).await.unwrap().iter().map(|e| e.seq).collect()
    };
    assert_eq!(positions(everything()).await, [4, 3, 2, 1]);
    assert_eq!(positions(AuditFilter { agent_id: Some("ann".into()), ..everything() }).await, [4, 1]);
    assert_eq!(positions(AuditFilter { operation: Some("release_lock".into()), ..everything() }).await, [4, 3]);
    assert_eq!(positions(AuditFilter { since: Some(second), ..everything() }).await, [4, 3, 2]);
    assert_eq!(positions(AuditFilter { until: Some(second), ..everything() }).await, [1]);
    assert_eq!(positions(AuditFilter { success: Some(false), ..everything() }).await, [3, 2]);
    assert_eq!(positions(AuditFilter { success: Some(true), ..everything() }).await, [4, 1]);
    assert_eq!(positions(AuditFilter { limit: 2, ..everything() }).await, [4, 3]);
    assert_eq!(positions(AuditFilter { limit: 2, before: Some(3), ..everything() }).await, [2, 1]);
    let both = AuditFilter { agent_id: Some("bob".into()), operation: Some("acquire_lock".into()), ..everything() };
    assert_eq!(positions(both).await, [2]);
    assert_eq!(positions(AuditFilter { agent_id: Some("An".into()), ..everything() }).await, [] as [i64; 0]);
}

async fn parameters_of_any_kind_come_back(world: &World) {
    let all = [
        json!(null),
        json!({}),
        json!([]),
        json!("text"),
        json!(0.1),
        json!(1.0),
        json!(-1.5e-7),
        json!(1e300),
        json!(u64::MAX),
        json!(i64::MIN),
        json!({"": {"'": "\"", "\\": "\u{1f980} \u{e9} \u{7} \u{2028}"}}),
    ];
    for parameters in &all {
        let asked = Command { parameters: JsonText::new(parameters), ..command(&agent("ann"), claim()) };
        world.all(&[asked]).await;
    }
    let told: Vec<Value> = trail(world).await.into_iter().map(|e| e.parameters).collect();
    assert_eq!(told, all);
}

async fn the_database_refuses_to_change_the_trail(world: &World) {
    let bob = agent("bob");
    world.add(task()).await;
    assert!(matches!(world.run(&bob, Claim { ..claim() }).await, Outcome::Claimed { .. }));
    let before = trail(world).await;
    match &*world.home {
        Home::Memory => {}
        Home::Sqlite(directory) => {
            let raw = Connection::open(directory.path().join("db")).unwrap();
            let columns = "project, seq, id, agent_id, agent_type, session_id, operation, parameters, result, duration_ms, \
                           success, error_message, created_at";
            let values = "'house', 1, x'00', 'eve', '', null, 'x', '{}', '{}', 0, 1, null, 0";
            for statement in [
                "update audit set agent_id = 'eve'",
                "update or replace audit set seq = 1",
                "delete from audit",
                "delete from audit where seq = 1",
                &format!("insert or replace into audit ({columns}) values ({values})"),
                &format!("replace into audit ({columns}) values ({values})"),
                &format!("insert into audit ({columns}) values ({values}) on conflict do update set agent_id = 'eve'"),
            ] {
                let error = raw.execute_batch(statement).unwrap_err().to_string();
                assert!(error.contains("append-only"), "{statement}: {error}");
            }
        }
        Home::Postgres(_, raw) => {
            for statement in [
                "update coordinator.audit set agent_id = 'eve'",
                "delete from coordinator.audit",
                "delete from coordinator.audit where false",
                "truncate coordinator.audit",
                "insert into coordinator.audit select * from coordinator.audit
                     on conflict (project, seq) do update set agent_id = 'eve'",
                "merge into coordinator.audit as a using coordinator.audit as b on a.seq = b.seq
                     when matched then delete",
                "set session_replication_role = replica; delete from coordinator.audit",
            ] {
                let error = raw.batch_execute(statement).await.unwrap_err();
                let message = error.as_db_error().unwrap().message();
                assert!(message.contains("append-only"), "{statement}: {message}");
            }
            raw.batch_execute("set session_replication_role = default").await.unwrap();
        }
    }
    assert_eq!(trail(world).await, before);
}

async fn waiting_for_a_task_leaves_none(world: &World) {
    let ann = agent("ann");
    let waiting = Action::Claim(Claim { waits: true, ..claim() });
    assert_eq!(world.run(&ann, waiting.clone()).await, Outcome::NoTaskYet);
    assert_eq!(operations(world).await, [""; 0]);
    world.add(task()).await;
    assert!(matches!(world.run(&ann, waiting).await, Outcome::Claimed { .. }));
    assert_eq!(operations(world).await, ["submit_work", "get_work"]);
}

async fn the_trail_can_be_followed(world: &World) {
    let ann = agent("ann");
    let after = async |position, limit| {
        let rows = world.store.audit_after(&world.project, position, limit).await.unwrap();
        rows.into_iter().map(|row| row.seq).collect::<Vec<_>>()
    };
    assert_eq!(after(0, 10).await, [0; 0]);
    for path in ["a", "b", "c"] {
        world.take(&ann, path).await;
    }
    assert_eq!(after(0, 10).await, [1, 2, 3]);
    assert_eq!(after(0, 2).await, [1, 2]);
    assert_eq!(after(2, 10).await, [3]);
    assert_eq!(after(3, 10).await, [0; 0]);
    // What is due is freed first, so a follower hears of it without anybody else's doing.
    world.pass(seconds(3601)).await;
    assert_eq!(after(3, 10).await, [4, 5, 6]);
}
