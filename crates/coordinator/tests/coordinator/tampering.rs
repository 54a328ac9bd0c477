//! What a superuser of the database changes in the trail is found by whoever kept one checkpoint elsewhere.
//!
//! `COORDINATOR_TAMPERINGS` sets how many changes are tried, `COORDINATOR_SEED` which.

use std::path::PathBuf;
use std::sync::Arc;

use coordinator::audit::checkpoint::{Checkpoint, Purpose};
use coordinator::audit::signing_key::SigningKey;
use coordinator::audit::walk::{Report, verify};
use model::JsonText;
use model::chain::{self, Digest256};
use model::command::{Action, Claim, Command, Outcome, Refusal, Register, Release};
use model::id::{Caller, Project};
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, params};
use serde_json::json;
use store::postgres::{PoolSize, PostgresStore};
use store::sqlite::SqliteStore;
use store::{Clock, Store};
use tempfile::TempDir;
use testing::postgres::Database;
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::support::caller;

const ROWS: i64 = 24;
/// Beside the position, what a row is made of.
const COLUMNS: [&str; 12] = [
    "id",
    "agent_id",
    "agent_type",
    "session_id",
    "operation",
    "parameters",
    "result",
    "duration_ms",
    "success",
    "error_message",
    "created_at",
    "hash",
];

fn project() -> Project {
    Project::new("house").unwrap()
}

/// A trail with rows of many kinds.
async fn fill(store: &dyn Store) {
    for number in 0..ROWS {
        let who = caller(["anna", "bert \u{1f980}"][number as usize % 2], (number % 3 == 0).then_some("s"));
        let action = match number % 4 {
            0 => Action::Register(Register { capabilities: vec![], current_task: None, ttl_seconds: 86_400 }),
            1 => Action::Release(Release { keys: vec!["a".parse_key()], fencing_token: None }),
            2 => Action::Claim(Claim { task_types: None, lease_seconds: 60, waits: false }),
            _ => Action::Refuse(Refusal::IdentityMismatch { message: format!("no\u{e9} {number}") }),
        };
        let action = if who.session_id.is_none() && number % 4 == 0 { Action::Heartbeat } else { action };
        apply(store, &who, action, number).await;
    }
}

trait ParseKey {
    fn parse_key(&self) -> model::key::LockKey;
}

impl ParseKey for str {
    fn parse_key(&self) -> model::key::LockKey {
        model::key::LockKey::parse(self).unwrap()
    }
}

async fn apply(store: &dyn Store, who: &Caller, action: Action, number: i64) -> Outcome {
    let command = Command {
        id: Uuid::now_v7(),
        caller: who.clone(),
        operation: format!("operation_{number}"),
        parameters: JsonText::new(&json!({"n": number, "text": "\u{fffd} it's \"so\""})),
        duration_ms: number as u32,
        limits: model::limits::Limits::NONE,
        approval: None,
        action,
    };
    store.apply(&project(), &[command]).await.unwrap().remove(0)
}

async fn now(store: &dyn Store) -> Report {
    verify(store, &project(), None, None).await.unwrap()
}

/// Small, and the same each time.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        Self(std::env::var("COORDINATOR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x2545_f491_4f6c_dd1d))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    fn position(&mut self) -> i64 {
        1 + self.below(ROWS as usize) as i64
    }
}

fn tries(usual: usize) -> usize {
    std::env::var("COORDINATOR_TAMPERINGS").ok().and_then(|number| number.parse().ok()).unwrap_or(usual)
}

/// A SQLite database whose triggers are gone, and a copy of its trail.
struct Broken {
    store: Arc<dyn Store>,
    raw: Connection,
    _directory: TempDir,
}

impl Broken {
    async fn new() -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path: PathBuf = directory.path().join("db");
        let store = SqliteStore::open(&path, Clock::system()).unwrap();
        fill(&store).await;
        let raw = Connection::open(&path).unwrap();
        raw.execute_batch(
            "pragma synchronous = off; pragma ignore_check_constraints = on;
             drop trigger audit_no_update; drop trigger audit_no_delete; drop trigger audit_no_replace;
             drop trigger audit_seals_fit; drop trigger audit_seals_no_update; drop trigger audit_seals_no_delete;
             create table copy as select * from audit",
        )
        .unwrap();
        Self { store: Arc::new(store), raw, _directory: directory }
    }

    fn restore(&self) {
        self.raw
            .execute_batch("delete from audit; insert into audit select * from copy; delete from audit_seals")
            .unwrap();
    }

    /// Does everything over again that our own program does, after the change.
    async fn hash_anew(&self) {
        let rows = self.store.audit_chain(&project(), 0, 1000).await.unwrap();
        let mut head = Digest256::START;
        for row in rows {
            head = chain::link(&head, &row.row);
            self.raw.execute("update audit set hash = ? where seq = ?", params![head.as_bytes(), row.seq]).unwrap();
        }
    }

    /// Changes one byte, or one bit of a number, of one cell. Answers `false` where nothing can be changed.
    fn edit(&self, seq: i64, column: &str, dice: &mut Dice) -> bool {
        let cell: Cell =
            self.raw.query_row(&format!("select {column} from audit where seq = ?"), [seq], |row| row.get(0)).unwrap();
        let mut change = |bytes: &mut Vec<u8>| match bytes.len() {
            0 => bytes.push(b'x'),
            length => bytes[dice.below(length)] ^= 1 << dice.below(8),
        };
        let (value, how) = match cell {
            Cell::Null => (Cell::Text(String::new()), "?"),
            Cell::Integer(number) => (Cell::Integer(number ^ (1 << dice.below(63))), "?"),
            Cell::Real(_) => return false,
            Cell::Text(text) => {
                let mut bytes = text.into_bytes();
                change(&mut bytes);
                // Need not be UTF-8 any more.
                (Cell::Blob(bytes), "cast(? as text)")
            }
            Cell::Blob(mut bytes) => {
                change(&mut bytes);
                (Cell::Blob(bytes), "?")
            }
        };
        self.raw.execute(&format!("update audit set {column} = {how} where seq = ?"), params![value, seq]).unwrap();
        true
    }

    /// Something that a superuser may do. Answers what it was, or nothing if it left all as it was.
    fn tamper(&self, dice: &mut Dice) -> Option<String> {
        let (one, other) = (dice.position(), dice.position());
        let run = |sql: &str| self.raw.execute_batch(sql).unwrap();
        match dice.below(6) {
            0 | 1 => {
                let column = COLUMNS[dice.below(COLUMNS.len())];
                self.edit(one, column, dice).then(|| format!("edit {column} of {one}"))
            }
            2 if one != other => {
                run(&format!(
                    "update audit set seq = -1 where seq = {one}; update audit set seq = {one} where seq = {other};
                     update audit set seq = {other} where seq = -1"
                ));
                Some(format!("swap {one} and {other}"))
            }
            3 => {
                // In the middle: what is behind the end of a checkpoint is not vouched for.
                run(&format!(
                    "update audit set seq = -seq where seq >= {one}; update audit set seq = 1 - seq where seq < 0;
                     insert into audit select project, {one}, randomblob(16), agent_id, agent_type, session_id, operation,
                         parameters, result, duration_ms, success, error_message, created_at, hash
                     from copy where seq = {other}"
                ));
                Some(format!("insert a copy of {other} at {one}"))
            }
            4 => {
                run(&format!("delete from audit where seq = {one}"));
                if dice.below(2) == 0 {
                    run(&format!("update audit set seq = seq - 1 where seq > {one}"));
                }
                Some(format!("delete {one}"))
            }
            5 => {
                run(&format!("delete from audit where seq >= {one}"));
                Some(format!("cut from {one}"))
            }
            _ => None,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_done_to_the_trail_is_found_given_one_checkpoint() {
    let broken = Broken::new().await;
    let report = now(&*broken.store).await;
    assert_eq!(report.findings, []);
    let checkpoint = report.checkpoint().unwrap();
    assert_eq!(checkpoint.size, ROWS as u64);
    let mut dice = Dice::new();
    let mut done = 0;
    while done < tries(400) {
        let Some(what) = broken.tamper(&mut dice) else { continue };
        // Whoever can do that can hash all anew, too. That alone undoes a change of nothing but a hash.
        let is_hashed_anew = dice.below(2) == 0 && !what.contains(" hash ");
        if is_hashed_anew {
            broken.hash_anew().await;
        }
        let report = verify(&*broken.store, &project(), Some(&checkpoint), None).await.unwrap();
        assert_ne!(report.findings, [], "{what}, hashed anew: {is_hashed_anew}");
        done += 1;
        broken.restore();
    }
    let report = verify(&*broken.store, &project(), Some(&checkpoint), None).await.unwrap();
    assert_eq!(report.findings, [], "and nothing is found where nothing was done");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_matters() {
    let broken = Broken::new().await;
    let mut dice = Dice::new();
    for column in COLUMNS {
        for seq in 1..=ROWS {
            assert!(broken.edit(seq, column, &mut dice));
            let report = now(&*broken.store).await;
            assert!(report.findings.iter().any(|f| f.code == "row_changed" && f.seq == Some(seq)), "{column} of {seq}");
            broken.restore();
        }
    }
    broken.raw.execute_batch("update audit set project = 'garden' where seq = 5").unwrap();
    assert_eq!(now(&*broken.store).await.findings[0].code, "rows_missing");
}

/// What cannot be found without a checkpoint: docs/trust.md says so.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_checkpoint_a_cut_and_a_trail_hashed_anew_pass() {
    let broken = Broken::new().await;
    let checkpoint = now(&*broken.store).await.checkpoint().unwrap();
    broken.raw.execute_batch("delete from audit where seq > 20").unwrap();
    assert_eq!(now(&*broken.store).await.findings, []);
    let report = verify(&*broken.store, &project(), Some(&checkpoint), None).await.unwrap();
    assert_eq!(report.findings[0].code, "rows_cut");
    broken.restore();

    broken.raw.execute_batch("update audit set agent_id = 'eve' where seq = 3").unwrap();
    assert_eq!(now(&*broken.store).await.findings[0].code, "row_changed");
    broken.hash_anew().await;
    assert_eq!(now(&*broken.store).await.findings, []);
    let report = verify(&*broken.store, &project(), Some(&checkpoint), None).await.unwrap();
    assert_eq!(report.findings[0].code, "checkpoint_mismatch");
    broken.restore();

    broken.raw.execute_batch("update audit set agent_id = 'eve' where seq = 1").unwrap();
    broken.hash_anew().await;
    let report = verify(&*broken.store, &project(), Some(&checkpoint), None).await.unwrap();
    assert_eq!(report.findings[0].code, "other_trail");
}

/// Rows go only with a seal that was signed for that: not with a checkpoint that was published, nor with one of another's.
#[tokio::test(flavor = "multi_thread")]
async fn a_seal_that_was_not_signed_for_it_is_found() {
    let broken = Broken::new().await;
    let key = SigningKey::read_or_make(&broken._directory.path().join("key")).unwrap();
    let eve = SigningKey::read_or_make(&broken._directory.path().join("eve")).unwrap();
    let rows = broken.store.audit_chain(&project(), 0, 1000).await.unwrap();
    let mut frontier = model::merkle::Frontier::default();
    rows[..10].iter().for_each(|row| frontier.push(&row.hash.unwrap()));
    let sealed = Checkpoint { trail: rows[0].hash.unwrap(), size: 10, root: frontier.root() };
    let later = now(&*broken.store).await.checkpoint().unwrap();
    for (note, is_found) in [
        (sealed.sign(Purpose::Publication, &key), true),
        (sealed.sign(Purpose::Retention, &eve), true),
        (Checkpoint { root: Digest256::START, ..sealed.clone() }.sign(Purpose::Retention, &key), true),
        (sealed.sign(Purpose::Retention, &key), false),
    ] {
        broken
            .raw
            .execute(
                "insert into audit_seals select 'house', 10, hash, ?, ?, ? from audit where seq = 10",
                params![json!(frontier.peaks()).to_string(), sealed.trail.as_bytes(), note],
            )
            .unwrap();
        broken.raw.execute_batch("delete from audit where seq <= 10").unwrap();
        let report = verify(&*broken.store, &project(), Some(&later), Some(&key.public())).await.unwrap();
        assert_eq!(!report.findings.is_empty(), is_found, "{note}: {:?}", report.findings);
        let report = verify(&*broken.store, &project(), Some(&later), None).await.unwrap();
        assert_eq!(report.findings[0].code, "seal_not_trusted", "without the key");
        broken.restore();
    }
}

/// The same on PostgreSQL, by its superuser.
#[tokio::test(flavor = "multi_thread")]
async fn a_superuser_of_postgres_is_found_too() {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.dsn(), PoolSize { min: 1, max: 2 }).await.unwrap();
    fill(&store).await;
    let (raw, connection) = tokio_postgres::connect(database.dsn(), NoTls).await.unwrap();
    tokio::spawn(connection);
    raw.batch_execute(
        "alter table coordinator.audit disable trigger all; set synchronous_commit = off;
         create table public.copy as select * from coordinator.audit",
    )
    .await
    .unwrap();
    let checkpoint = now(&store).await.checkpoint().unwrap();
    let byte = |column: &str| {
        format!("{column} = overlay({column} placing chr(33 + (ascii(substr({column}, 1, 1)) - 32) % 90) from 1 for 1)")
    };
    let edits = [
        "id = gen_random_uuid()".to_owned(),
        byte("agent_id"),
        byte("agent_type"),
        "session_id = coalesce(session_id, '') || 'x'".into(),
        byte("operation"),
        "parameters = replace(parameters::text, ':', ': ')::json".into(),
        "result = (case when result = 'null' then '1' else 'null' end)::jsonb".into(),
        "duration_ms = duration_ms + 1".into(),
        "success = not success".into(),
        "error_message = coalesce(error_message, '') || 'x'".into(),
        "created_at = created_at + interval '1 microsecond'".into(),
        "created_at = 'infinity'".into(),
        "hash = set_byte(hash, 7, 255 - get_byte(hash, 7))".into(),
    ];
    let mut dice = Dice::new();
    for number in 0..tries(80) {
        let (one, other) = (dice.position(), dice.position());
        let sql = match (edits.get(number), dice.below(5)) {
            (Some(edit), _) => format!("update coordinator.audit set {edit} where seq = {one}"),
            (None, 0) => {
                let edit = &edits[dice.below(edits.len())];
                format!("update coordinator.audit set {edit} where seq = {one}")
            }
            (None, 1) if one != other => format!(
                "update coordinator.audit set seq = -1 where seq = {one};
                 update coordinator.audit set seq = {one} where seq = {other};
                 update coordinator.audit set seq = {other} where seq = -1"
            ),
            (None, 2) => format!(
                "update coordinator.audit set seq = -seq where seq >= {one};
                 update coordinator.audit set seq = 1 - seq where seq < 0;
                 insert into coordinator.audit select project, {one}, gen_random_uuid(), agent_id, agent_type, session_id,
                     operation, parameters, result, duration_ms, success, error_message, created_at, hash
                 from public.copy where seq = {other}"
            ),
            (None, 3) => format!("delete from coordinator.audit where seq = {one}"),
            _ => format!("delete from coordinator.audit where seq >= {one}"),
        };
        let mut anew = "";
        raw.batch_execute(&sql).await.unwrap();
        if dice.below(2) == 0 && !sql.contains("set hash") {
            anew = ", hashed anew";
            raw.batch_execute(
                "do $$ declare entry coordinator.audit; head bytea := decode(repeat('00', 32), 'hex');
                 begin for entry in select * from coordinator.audit order by seq loop
                     head := coordinator.link(head, entry);
                     update coordinator.audit set hash = head where seq = entry.seq;
                 end loop; end $$",
            )
            .await
            .unwrap();
        }
        let report = verify(&store, &project(), Some(&checkpoint), None).await.unwrap();
        assert_ne!(report.findings, [], "{sql}{anew}");
        raw.batch_execute("delete from coordinator.audit; insert into coordinator.audit select * from public.copy")
            .await
            .unwrap();
    }
    let report = verify(&store, &project(), Some(&checkpoint), None).await.unwrap();
    assert_eq!(report.findings, []);
}
