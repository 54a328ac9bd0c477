//! A fresh store of any engine with a clock that the test sets, and short ways to write commands and read outcomes.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use model::JsonText;
use model::approvals::DecideApproval;
use model::command::{
    Acquire, Action, AllocatePorts, Blocked, Cancel, Claim, Cleanup, Command, Complete, Finish, Grant, Outcome,
    Refusal, Register, Release, SendMessage, Submit, Wait, WriteHandoff,
};
use model::features::{DeregisterFeature, RegisterFeature};
use model::github::PutGithubRecord;
use model::handoffs::Notes;
use model::id::{AgentId, Caller, FeatureId, Project, SessionId};
use model::key::LockKey;
use model::limits::Limits;
use model::locks::{Lock, LockMode};
use model::memories::{EventType, Remember};
use model::merge_queue::{EnqueueMerge, MergeState, MoveMerge};
use model::messages::Audience;
use model::rulebook::{PutRule, RuleKind};
use model::skills::RecordSkillUse;
use model::verification::{ClaimRun, PlanChangeset, RenewRun, ReportRun, SubmitChangeset};
use model::work::{CANCELLED, Task};
use model::working_memory::UpdateWorkingMemory;
use serde_json::json;
use store::memory::MemoryStore;
use store::postgres::{PoolSize, PostgresStore, PostgrestAddress};
use store::sqlite::SqliteStore;
use store::{Clock, Store};
use tempfile::TempDir;
use testing::postgres::{Database, Pooler};
use testing::postgrest::Gateway;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// When every test begins: 2026-01-01T00:00:00Z, in microseconds.
pub const BEGINNING: i64 = 1_767_225_600_000_000;

/// The kinds of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The reference.
    Memory,
    /// The embedded one.
    Sqlite,
    /// The same, opened for a moment, with one connection.
    SqliteBriefly,
    /// The one for teams.
    Postgres,
    /// The same, behind PgBouncer in transaction mode.
    PostgresPooled,
    /// The same, through PostgREST.
    Postgrest,
}

impl Engine {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "SQLite",
            Self::SqliteBriefly => "SQLite, with one connection",
            Self::Postgres => "PostgreSQL",
            Self::PostgresPooled => "PostgreSQL behind PgBouncer",
            Self::Postgrest => "PostgreSQL through PostgREST",
        }
    }
}

/// What a store is kept in, for tests that go behind its back.
pub enum Home {
    /// Nowhere.
    Memory,
    /// The file `db` in a directory of its own.
    Sqlite(TempDir),
    /// A database of its own, and a connection to it as its superuser.
    Postgres(Database, Box<Client>),
}

/// How a store is reached.
enum Way {
    Direct,
    Briefly,
    Pooled(Pooler),
    Postgrest(Gateway),
}

/// Fewer than a store asks for, so that each is handed from one caller to the next.
const POOLED_CONNECTIONS: usize = 2;

/// A store, a project in it, and the time.
pub struct World {
    /// The store.
    pub store: Arc<dyn Store>,
    engine: Engine,
    way: Arc<Way>,
    /// What it is kept in.
    pub home: Arc<Home>,
    /// The project of [`run`](Self::run) and the like.
    pub project: Project,
    now: Arc<AtomicI64>,
}

impl World {
    /// An empty store.
    pub async fn open(engine: Engine) -> Self {
        let now = Arc::new(AtomicI64::new(BEGINNING));
        let home = Arc::new(match engine {
            Engine::Memory => Home::Memory,
            Engine::Sqlite | Engine::SqliteBriefly => Home::Sqlite(directory()),
            Engine::Postgres | Engine::PostgresPooled | Engine::Postgrest => {
                let database = Database::create().await;
                let client = Box::new(superuser(&database).await);
                Home::Postgres(database, client)
            }
        });
        let way = Arc::new(match (&*home, engine) {
            (Home::Postgres(database, _), Engine::PostgresPooled) => {
                Way::Pooled(Pooler::start(database.dsn(), POOLED_CONNECTIONS))
            }
            (Home::Postgres(database, _), Engine::Postgrest) => {
                PostgresStore::connect(database.dsn(), PoolSize { min: 0, max: 1 }).await.unwrap();
                Way::Postgrest(Gateway::start(database.dsn(), &["public", "coordinator_api"]).await)
            }
            (_, Engine::SqliteBriefly) => Way::Briefly,
            _ => Way::Direct,
        });
        let store = open(&home, &way, clock(&now)).await;
        if let Home::Postgres(_, client) = &*home {
            client.batch_execute(&settable_clock()).await.unwrap();
        }
        Self { store, engine, way, home, project: project("house"), now }
    }

    /// The same store and clock, another project.
    pub fn in_project(&self, name: &str) -> Self {
        Self {
            store: self.store.clone(),
            engine: self.engine,
            way: self.way.clone(),
            home: self.home.clone(),
            project: project(name),
            now: self.now.clone(),
        }
    }

    /// What kind of store it is.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Another opener of the same data, as another process would be. `None` where there is none.
    pub async fn reopened(&self) -> Option<Arc<dyn Store>> {
        if matches!(*self.home, Home::Memory) {
            None
        } else {
            Some(open(&self.home, &self.way, clock(&self.now)).await)
        }
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.now.load(Ordering::SeqCst)).unwrap()
    }

    /// Lets time go by.
    pub async fn pass(&self, time: SignedDuration) {
        self.set(self.now() + time).await;
    }

    /// Sets the time.
    pub async fn set(&self, now: Timestamp) {
        self.now.store(now.as_microsecond(), Ordering::SeqCst);
        if let Home::Postgres(_, client) = &*self.home {
            client.batch_execute(&format!("update public.test_clock set at = '{now}'")).await.unwrap();
        }
    }

    /// Applies one command.
    pub async fn run(&self, who: &Caller, what: impl Act) -> Outcome {
        let mut outcomes = self.all(&[command(who, what)]).await;
        assert_eq!(outcomes.len(), 1, "one outcome for one command");
        outcomes.remove(0)
    }

    /// Applies a batch.
    pub async fn all(&self, commands: &[Command]) -> Vec<Outcome> {
        self.store.apply(&self.project, commands).await.unwrap()
    }

    /// All locks of the project.
    pub async fn locks(&self) -> Vec<Lock> {
        self.store.locks(&self.project, None).await.unwrap()
    }

    /// Who holds what: `agent key`, oldest grant first.
    pub async fn held(&self) -> Vec<String> {
        self.locks().await.iter().map(|l| format!("{} {}", l.agent_id, l.key)).collect()
    }

    /// A task that must exist.
    pub async fn task(&self, id: Uuid) -> Task {
        self.store.task(&self.project, id).await.unwrap().expect("the task exists")
    }

    /// Takes a lock that must be free, and tells its token.
    pub async fn take(&self, who: &Caller, key: &str) -> i64 {
        token(self.run(who, acquire(&[key])).await)
    }

    /// Submits a task that must be accepted.
    pub async fn add(&self, task: Submit) -> Uuid {
        match self.run(&agent("boss"), task).await {
            Outcome::Submitted { task_id, repeated: false } => task_id,
            other => panic!("not submitted: {other:?}"),
        }
    }

    /// Claims whatever comes first, and it must be this task.
    pub async fn claims(&self, who: &Caller, id: Uuid) -> Task {
        let task = claimed(self.run(who, claim()).await);
        assert_eq!(task.task_id, id, "another task came first");
        task
    }

    /// Checks that there is nothing to claim.
    #[track_caller]
    pub fn claims_nothing(&self, who: &Caller) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let outcome = self.run(who, claim()).await;
            assert_eq!(outcome, Outcome::NoTask, "at {caller}");
        }
    }
}

fn clock(now: &Arc<AtomicI64>) -> Clock {
    let now = now.clone();
    Clock::new(move || Timestamp::from_microsecond(now.load(Ordering::SeqCst)).unwrap())
}

/// PostgreSQL has its own clock, so the test puts another in its place.
fn settable_clock() -> String {
    format!(
        "set synchronous_commit = off;
         create table public.test_clock (at timestamptz not null);
         insert into public.test_clock select 'epoch'::timestamptz + {BEGINNING} * interval '1 microsecond';
         create or replace function coordinator.clock() returns timestamptz
             language sql volatile as 'select at from public.test_clock';"
    )
}

/// A connection as the database's superuser.
pub async fn superuser(database: &Database) -> Client {
    let (client, connection) = tokio_postgres::connect(database.dsn(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn open(home: &Home, way: &Way, clock: Clock) -> Arc<dyn Store> {
    let pool = PoolSize { min: 1, max: 4 };
    match (home, way) {
        (Home::Memory, _) => Arc::new(MemoryStore::new(clock)),
        (Home::Sqlite(directory), Way::Briefly) => {
            Arc::new(SqliteStore::open_briefly(&directory.path().join("db"), clock).unwrap())
        }
        (Home::Sqlite(directory), _) => Arc::new(SqliteStore::open(&directory.path().join("db"), clock).unwrap()),
        (_, Way::Pooled(pooler)) => Arc::new(PostgresStore::connect(pooler.dsn(), pool).await.unwrap()),
        (_, Way::Postgrest(gateway)) => {
            Arc::new(PostgresStore::through_postgrest(&bare_postgrest(gateway)).await.unwrap())
        }
        (Home::Postgres(database, _), Way::Direct | Way::Briefly) => {
            Arc::new(PostgresStore::connect(database.dsn(), pool).await.unwrap())
        }
    }
}

/// The gateway as a bare PostgREST, and a token that may call the functions.
pub fn bare_postgrest(gateway: &Gateway) -> PostgrestAddress {
    PostgrestAddress { url: gateway.url(), prefix: String::new(), key: Gateway::token("service_role") }
}

/// A directory that goes with its value; in memory where the machine has such a place, as fsync is not what is tested.
pub fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Makes one test of each case and engine, so that a failure names both.
macro_rules! cases {
    ($($case:ident),* $(,)?) => { $(
        mod $case {
            use crate::harness::{Engine, World};

            #[tokio::test]
            async fn memory() {
                super::$case(&World::open(Engine::Memory).await).await;
            }

            #[tokio::test]
            async fn sqlite() {
                super::$case(&World::open(Engine::Sqlite).await).await;
            }

            #[tokio::test]
            async fn sqlite_briefly() {
                super::$case(&World::open(Engine::SqliteBriefly).await).await;
            }

            #[tokio::test]
            async fn postgres() {
                super::$case(&World::open(Engine::Postgres).await).await;
            }

            #[tokio::test]
            async fn postgres_pooled() {
                super::$case(&World::open(Engine::PostgresPooled).await).await;
            }

            #[tokio::test]
            async fn postgrest() {
                super::$case(&World::open(Engine::Postgrest).await).await;
            }
        }
    )* };
}
pub(crate) use cases;

/// So many seconds.
pub fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

/// The shortest time there is.
pub const MOMENT: SignedDuration = SignedDuration::from_micros(1);

/// An agent without a session.
pub fn agent(name: &str) -> Caller {
    Caller { agent_id: AgentId::new(name).unwrap(), agent_type: "claude_code_cli".into(), session_id: None }
}

/// An agent in a session.
pub fn agent_in(name: &str, session: &str) -> Caller {
    Caller { session_id: Some(SessionId::new(session).unwrap()), ..agent(name) }
}

/// A project.
pub fn project(name: &str) -> Project {
    Project::new(name).unwrap()
}

/// A lock key.
pub fn key(text: &str) -> LockKey {
    LockKey::parse(text).unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

/// What becomes an action.
pub trait Act {
    /// The action.
    fn action(self) -> Action;
}

macro_rules! acts {
    ($($request:ident),*) => { $(
        impl Act for $request {
            fn action(self) -> Action {
                Action::$request(self)
            }
        }
    )* };
}
acts!(
    Acquire,
    Release,
    Submit,
    Claim,
    Complete,
    Cancel,
    Finish,
    Register,
    Cleanup,
    WriteHandoff,
    AllocatePorts,
    Remember,
    UpdateWorkingMemory,
    RecordSkillUse,
    PutRule,
    PutGithubRecord,
    RegisterFeature,
    DeregisterFeature,
    EnqueueMerge,
    MoveMerge,
    DecideApproval,
    SubmitChangeset,
    PlanChangeset,
    ClaimRun,
    RenewRun,
    ReportRun
);

impl Act for Action {
    fn action(self) -> Action {
        self
    }
}

/// A command as a door would hand it over.
pub fn command(who: &Caller, what: impl Act) -> Command {
    let action = what.action();
    Command {
        id: Uuid::now_v7(),
        caller: who.clone(),
        operation: operation(&action).into(),
        parameters: JsonText::new(&json!({"asked": operation(&action)})),
        duration_ms: 2,
        limits: Limits::NONE,
        approval: None,
        action,
    }
}

/// The name under which an action is recorded.
pub fn operation(action: &Action) -> &'static str {
    match action {
        Action::Acquire(_) => "acquire_lock",
        Action::Release(_) => "release_lock",
        Action::Submit(_) => "submit_work",
        Action::Claim(_) => "get_work",
        Action::Complete(_) => "complete_work",
        Action::Cancel(_) => "cancel_task",
        Action::Finish(_) => "finish_task",
        Action::Register(_) => "register_session",
        Action::Heartbeat => "heartbeat",
        Action::Cleanup(_) => "cleanup_dead_agents",
        Action::EndSession => "end_session",
        Action::SendMessage(_) => "send_message",
        Action::ReadMessages(_) => "read_messages",
        Action::WriteHandoff(_) => "write_handoff",
        Action::AllocatePorts(_) => "allocate_ports",
        Action::ReleasePorts { .. } => "release_ports",
        Action::Remember(_) => "remember",
        Action::UpdateWorkingMemory(_) => "update_working_memory",
        Action::RecordSkillUse(_) => "record_skill_use",
        Action::PutRule(_) => "put_rule",
        Action::CreateKey(_) => "create_key",
        Action::RevokeKey { .. } => "revoke_key",
        Action::RequestApproval(_) => "request_approval",
        Action::DecideApproval(_) => "decide_approval",
        Action::UseApproval => "use_approval",
        Action::CheckNetwork(_) => "check_network",
        Action::NoteKeyUse { .. } => "note_key_use",
        Action::RegisterFeature(_) => "register_feature",
        Action::DeregisterFeature(_) => "deregister_feature",
        Action::EnqueueMerge(_) => "enqueue_merge",
        Action::MoveMerge(_) => "set_merge_state",
        Action::RemoveMerge { .. } => "remove_from_merge_queue",
        Action::PutGithubRecord(_) => "put_github_record",
        Action::SubmitChangeset(_) => "submit_changeset",
        Action::PlanChangeset(_) => "plan_verification",
        Action::ClaimRun(_) => "claim_verification",
        Action::RenewRun(_) => "renew_verification",
        Action::ReportRun(_) => "report_verification",
        Action::PruneAudit(_) => "prune_audit",
        Action::Refuse(_) => "refused",
    }
}

/// For ten minutes, exclusive, without waiting.
pub fn acquire(keys: &[&str]) -> Acquire {
    let mut keys: Vec<LockKey> = keys.iter().map(|k| key(k)).collect();
    keys.sort();
    keys.dedup();
    Acquire {
        keys,
        mode: LockMode::Exclusive,
        reason: None,
        ttl_seconds: 600,
        feature_id: None,
        fencing_token: None,
        wait: None,
    }
}

/// As [`acquire`], shared.
pub fn share(keys: &[&str]) -> Acquire {
    Acquire { mode: LockMode::Shared, ..acquire(keys) }
}

/// As [`acquire`], waiting under the ticket.
pub fn queue(keys: &[&str], ticket: Uuid) -> Acquire {
    Acquire { wait: Some(Wait { ticket, last: false }), ..acquire(keys) }
}

/// The ticket of that number.
pub fn ticket(number: u128) -> Uuid {
    Uuid::from_u128(0x7000 << 64 | number)
}

/// Without proof.
pub fn release(keys: &[&str]) -> Release {
    Release { keys: acquire(keys).keys, fencing_token: None }
}

/// Of type `build`, priority 5, three attempts, for anyone, at once.
pub fn task() -> Submit {
    Submit {
        task_id: Uuid::now_v7(),
        task_type: "build".into(),
        description: "build it".into(),
        input_data: None,
        priority: 5,
        depends_on: vec![],
        deadline: None,
        max_attempts: 3,
        idempotency_key: None,
        fingerprint: "f".into(),
        required_capability: None,
        assignee: None,
        feature_id: None,
    }
}

/// As [`task`], after others.
pub fn task_after(others: &[Uuid]) -> Submit {
    let mut depends_on = others.to_vec();
    depends_on.sort();
    Submit { depends_on, ..task() }
}

/// Anything, for a minute.
pub fn claim() -> Claim {
    Claim { task_types: None, lease_seconds: 60, waits: false }
}

/// Successfully.
pub fn complete(task_id: Uuid) -> Complete {
    Complete { task_id, success: true, result: None, error_code: None, error_message: None, fencing_token: None }
}

/// Unsuccessfully.
pub fn fail(task_id: Uuid) -> Complete {
    Complete { success: false, error_message: Some("it broke".into()), ..complete(task_id) }
}

/// As an orchestrator does.
pub fn cancel(task_id: Uuid) -> Cancel {
    Cancel { task_id, reason: "no longer needed".into(), result: JsonText::new(&json!({"error_code": CANCELLED})) }
}

/// For five minutes of silence.
pub fn register(capabilities: &[&str]) -> Register {
    Register {
        capabilities: capabilities.iter().map(|c| (*c).to_owned()).collect(),
        current_task: None,
        ttl_seconds: 300,
    }
}

/// Those silent for so long.
pub fn cleanup(silent_seconds: u32) -> Cleanup {
    Cleanup { silent_seconds }
}

/// With nothing but a summary.
pub fn handoff(summary: &str) -> WriteHandoff {
    let notes = Notes { summary: summary.into(), ..Notes::default() };
    WriteHandoff { handoff_id: Uuid::now_v7(), feature_id: None, notes }
}

/// About nothing in particular.
pub fn message(audience: Audience, text: &str) -> SendMessage {
    SendMessage { message_id: Uuid::now_v7(), audience, thread: None, text: text.into() }
}

/// For ten minutes, from one of these.
pub fn ports(session: &str, candidates: &[u16]) -> AllocatePorts {
    let session_id = SessionId::new(session).unwrap();
    AllocatePorts { session_id, candidates: candidates.to_vec(), ttl_seconds: 600 }
}

/// The block of that session.
pub fn release_ports(session: &str) -> Action {
    Action::ReleasePorts { session_id: SessionId::new(session).unwrap() }
}

/// A discovery, found by its words.
pub fn memory(summary: &str) -> Remember {
    let memory = Remember {
        memory_id: Uuid::now_v7(),
        event_type: EventType::Discovery,
        summary: summary.into(),
        details: vec![],
        outcome: None,
        lessons: vec![],
        tags: vec![],
        supersedes: None,
        used: vec![],
        fingerprint: summary.into(),
        terms: Default::default(),
    };
    found_by_its_words(memory)
}

/// The same, found by what it says now.
pub fn found_by_its_words(memory: Remember) -> Remember {
    Remember { terms: memory.found_by(), ..memory }
}

/// Whatever there is.
pub fn rule(kind: RuleKind, name: &str, body: &str) -> PutRule {
    PutRule { kind, name: name.into(), body: Some(body.into()), expected_version: None }
}

/// The id of that name.
pub fn feature_id(name: &str) -> FeatureId {
    FeatureId::new(name).unwrap()
}

/// A feature that claims these keys.
pub fn feature(name: &str, claims: &[&str]) -> RegisterFeature {
    RegisterFeature {
        feature_id: feature_id(name),
        title: None,
        branch_name: None,
        claims: claims.iter().map(|text| key(text)).collect(),
        merge_priority: None,
        metadata: None,
    }
}

/// Moves a feature's entry in the merge queue.
pub fn to(name: &str, state: MergeState) -> MoveMerge {
    MoveMerge { feature_id: feature_id(name), state, checks: None, note: None, commit: None }
}

/// The grants, if it was granted.
#[track_caller]
pub fn granted(outcome: Outcome) -> Vec<Grant> {
    match outcome {
        Outcome::Acquired { grants } => grants,
        other => panic!("not granted: {other:?}"),
    }
}

/// The one grant's token.
#[track_caller]
pub fn token(outcome: Outcome) -> i64 {
    let grants = granted(outcome);
    assert_eq!(grants.len(), 1, "one grant");
    grants[0].fencing_token
}

/// Who was in the way, if it was blocked.
#[track_caller]
pub fn blocked(outcome: Outcome) -> Blocked {
    match outcome {
        Outcome::Blocked(blocked) => blocked,
        other => panic!("not blocked: {other:?}"),
    }
}

/// Who is in the way, if it waits.
#[track_caller]
pub fn waiting(outcome: Outcome) -> Blocked {
    match outcome {
        Outcome::Waiting(blocked) => blocked,
        other => panic!("does not wait: {other:?}"),
    }
}

/// Why it was refused, if it was.
#[track_caller]
pub fn refused(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// The task, if one was claimed.
#[track_caller]
pub fn claimed(outcome: Outcome) -> Task {
    match outcome {
        Outcome::Claimed { task } => *task,
        other => panic!("nothing claimed: {other:?}"),
    }
}

/// Compares texts in order, whatever kind of text they are.
#[track_caller]
pub fn same<A: ToString + Debug, B: AsRef<str> + Debug>(actual: impl IntoIterator<Item = A>, expected: &[B]) {
    let actual: Vec<String> = actual.into_iter().map(|a| a.to_string()).collect();
    let expected: Vec<&str> = expected.iter().map(AsRef::as_ref).collect();
    assert_eq!(actual, expected);
}
