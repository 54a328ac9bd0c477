//! Many writers at once, through openers of their own as separate processes have them: never two holders, never two
//! claims, no number twice, no row lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::audit::{AuditEntry, AuditFilter};
use model::command::{Acquire, Command, Complete, Outcome, Wait};
use model::id::Project;
use model::locks::LockMode;
use model::work::{TaskFilter, TaskStatus};
use store::postgres::{PoolSize, PostgresStore};
use store::sqlite::SqliteStore;
use store::{Clock, Store};
use tempfile::TempDir;
use testing::postgres::{Database, Pooler};
use testing::postgrest::Gateway;
use tokio::task::{JoinSet, yield_now};

use crate::harness::*;

/// How many openers there are, each with two workers.
const OPENERS: usize = 4;

/// Several openers of one database, by the real clock.
struct Openers {
    stores: Vec<Arc<dyn Store>>,
    _home: Kept,
}

#[expect(dead_code, reason = "kept until the test ends")]
enum Kept {
    Directory(TempDir),
    Database(Database),
    Pooled(Pooler, Database),
    Postgrest(Gateway, Database),
}

impl Openers {
    fn sqlite() -> Self {
        let directory = directory();
        let open = || SqliteStore::open(&directory.path().join("db"), Clock::system()).unwrap();
        let stores = (0..OPENERS).map(|_| Arc::new(open()) as Arc<dyn Store>).collect();
        Self { stores, _home: Kept::Directory(directory) }
    }

    async fn postgres() -> Self {
        let database = Database::create().await;
        Self { stores: connected(database.dsn()).await, _home: Kept::Database(database) }
    }

    /// Behind PgBouncer, which has fewer connections than there are openers.
    async fn postgres_pooled() -> Self {
        let database = Database::create().await;
        let pooler = Pooler::start(database.dsn(), OPENERS / 2);
        Self { stores: connected(pooler.dsn()).await, _home: Kept::Pooled(pooler, database) }
    }

    async fn postgrest() -> Self {
        let database = Database::create().await;
        connected(database.dsn()).await;
        let gateway = Gateway::start(database.dsn(), &["coordinator_api"]).await;
        let mut stores: Vec<Arc<dyn Store>> = vec![];
        for _ in 0..OPENERS {
            stores.push(Arc::new(PostgresStore::through_postgrest(&bare_postgrest(&gateway)).await.unwrap()));
        }
        Self { stores, _home: Kept::Postgrest(gateway, database) }
    }

    /// Runs `work` once for each worker, all at once.
    async fn each<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        work: impl Fn(usize, Opener) -> F,
    ) -> Vec<T> {
        let mut workers = JoinSet::new();
        for number in 0..2 * OPENERS {
            workers.spawn(work(number, Opener(self.stores[number % OPENERS].clone())));
        }
        workers.join_all().await
    }

    /// The whole trail, oldest first, whose positions must have no gaps.
    async fn trail(&self) -> Vec<AuditEntry> {
        let all = AuditFilter { limit: 100_000, ..AuditFilter::default() };
        let mut trail = self.stores[0].audit(&house(), &all).await.unwrap();
        trail.reverse();
        assert!(trail.iter().map(|e| e.seq).eq(1..=trail.len() as i64), "gaps in the trail");
        trail
    }
}

async fn connected(dsn: &str) -> Vec<Arc<dyn Store>> {
    let mut stores: Vec<Arc<dyn Store>> = vec![];
    for _ in 0..OPENERS {
        stores.push(Arc::new(PostgresStore::connect(dsn, PoolSize { min: 1, max: 2 }).await.unwrap()));
    }
    stores
}

#[derive(Clone)]
struct Opener(Arc<dyn Store>);

impl Opener {
    async fn run(&self, command: Command) -> Outcome {
        self.0.apply(&house(), &[command]).await.unwrap().remove(0)
    }
}

fn house() -> Project {
    project("house")
}

/// Everybody wants the same thing in another spelling, some alone and some shared, some waiting and some asking again.
async fn a_lock_has_one_holder(openers: Openers) {
    const GRANTS: usize = 12;
    const ALONE: usize = 1000;
    let inside = Arc::new(AtomicUsize::new(0));
    let workers = openers.each(|number, opener| {
        let inside = inside.clone();
        async move {
            let who = agent(&format!("worker {number}"));
            let path = ["src", "src/a.rs", "src/**/*.rs", "."][number % 4];
            let mode = if number < 5 { LockMode::Exclusive } else { LockMode::Shared };
            let weight = if mode == LockMode::Exclusive { ALONE } else { 1 };
            let (mut tokens, mut commands) = (vec![], 0);
            while tokens.len() < GRANTS {
                let ticket = ticket((number * GRANTS + tokens.len()) as u128);
                let wait = (number % 3 != 0).then_some(Wait { ticket, last: false });
                match opener.run(command(&who, Acquire { mode, wait, ..acquire(&[path]) })).await {
                    Outcome::Acquired { grants } => {
                        let others = inside.fetch_add(weight, Ordering::SeqCst);
                        assert!(others == 0 || others < ALONE && weight == 1, "{number} is not alone: {others}");
                        yield_now().await;
                        tokens.push(grants[0].fencing_token);
                        inside.fetch_sub(weight, Ordering::SeqCst);
                        let proven = model::command::Release {
                            fencing_token: Some(grants[0].fencing_token),
                            ..release(&[path])
                        };
                        assert!(opener.run(command(&who, proven)).await.is_success());
                        commands += 2;
                    }
                    Outcome::Blocked(_) => {
                        commands += 1;
                        yield_now().await;
                    }
                    Outcome::Waiting(_) => yield_now().await,
                    other => panic!("{other:?}"),
                }
            }
            assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
            (tokens, commands)
        }
    });
    let workers = workers.await;
    let tokens: BTreeSet<i64> = workers.iter().flat_map(|(tokens, _)| tokens).copied().collect();
    assert_eq!(tokens.len(), 2 * OPENERS * GRANTS, "a token twice");
    let trail = openers.trail().await;
    assert_eq!(trail.len(), workers.iter().map(|(_, commands)| commands).sum::<usize>());
    let granted = trail.iter().filter_map(|e| e.result["grants"][0]["fencing_token"].as_i64()).collect::<Vec<_>>();
    assert!(granted.is_sorted_by(|a, b| a < b), "tokens rise in the order of the trail: {granted:?}");
    assert!(openers.stores[1].locks(&house(), None).await.unwrap().is_empty());
    assert!(openers.stores[1].waiters(&house()).await.unwrap().is_empty());
}

/// Everybody submits, and everybody takes what is there until all is done.
async fn a_task_has_one_worker(openers: Openers) {
    const EACH: usize = 10;
    let done = Arc::new(AtomicUsize::new(0));
    let workers = openers.each(|number, opener| {
        let done = done.clone();
        async move {
            let who = agent(&format!("worker {number}"));
            let (mut claims, mut commands) = (vec![], 0);
            for _ in 0..EACH {
                assert!(opener.run(command(&who, task())).await.is_success());
                commands += 1;
            }
            while done.load(Ordering::SeqCst) < 2 * OPENERS * EACH {
                commands += 1;
                match opener.run(command(&who, claim())).await {
                    Outcome::Claimed { task } => {
                        claims.push((task.task_id, task.fencing_token.unwrap()));
                        let proven = Complete { fencing_token: task.fencing_token, ..complete(task.task_id) };
                        assert!(opener.run(command(&who, proven)).await.is_success());
                        commands += 1;
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                    Outcome::NoTask => yield_now().await,
                    other => panic!("{other:?}"),
                }
            }
            (claims, commands)
        }
    });
    let workers = workers.await;
    let claims = || workers.iter().flat_map(|(claims, _)| claims);
    assert_eq!(claims().count(), 2 * OPENERS * EACH);
    assert_eq!(claims().map(|(id, _)| id).collect::<BTreeSet<_>>().len(), 2 * OPENERS * EACH, "a task twice");
    assert_eq!(claims().map(|(_, token)| token).collect::<BTreeSet<_>>().len(), 2 * OPENERS * EACH, "a token twice");
    assert_eq!(openers.trail().await.len(), workers.iter().map(|(_, commands)| commands).sum::<usize>());
    let all = TaskFilter { limit: 1000, ..TaskFilter::default() };
    let tasks = openers.stores[1].tasks(&house(), &all).await.unwrap();
    assert!(tasks.iter().all(|t| t.status == TaskStatus::Completed && t.attempt == 1));
    assert_eq!(tasks.iter().map(|t| t.seq).collect::<BTreeSet<_>>().len(), 2 * OPENERS * EACH, "a number twice");
}

/// The same submission from everybody at once is one task.
async fn a_repeated_submission_is_one_task(openers: Openers) {
    let outcomes = openers.each(|number, opener| async move {
        let once = model::command::Submit { idempotency_key: Some("once".into()), ..task() };
        opener.run(command(&agent(&format!("worker {number}")), once)).await
    });
    let mut ids = BTreeSet::new();
    let mut first = 0;
    for outcome in outcomes.await {
        let Outcome::Submitted { task_id, repeated } = outcome else { panic!("{outcome:?}") };
        ids.insert(task_id);
        first += usize::from(!repeated);
    }
    assert_eq!((ids.len(), first), (1, 1));
}

/// Sixteen sessions of two projects ask at once for what there is room for: each gets a block of its own, and what one
/// gives back another gets.
async fn a_block_of_ports_has_one_session(openers: Openers) {
    const EACH: usize = 2;
    let first_ports: Vec<u16> = (0..2 * OPENERS * EACH).map(|n| 10_000 + 100 * n as u16).collect();
    for _ in 0..3 {
        let first_ports = &first_ports;
        let workers = openers.each(|number, opener| {
            let first_ports = first_ports.clone();
            async move {
                let project = project(["house", "field"][number % 2]);
                let mut got = vec![];
                for nth in 0..EACH {
                    let asked = command(&agent("ann"), ports(&format!("{number}.{nth}"), &first_ports));
                    match opener.0.apply(&project, &[asked]).await.unwrap().remove(0) {
                        Outcome::PortsAllocated { first_port, refreshed: false, .. } => got.push(first_port),
                        other => panic!("{other:?}"),
                    }
                }
                (project, number, got)
            }
        });
        let workers = workers.await;
        let all: BTreeSet<u16> = workers.iter().flat_map(|(_, _, got)| got).copied().collect();
        assert_eq!(all.into_iter().collect::<Vec<_>>(), *first_ports, "each block once");
        assert_eq!(openers.stores[1].port_blocks().await.unwrap().0.len(), first_ports.len());
        for (project, number, _) in workers {
            let given = [0, 1].map(|nth| command(&agent("ann"), release_ports(&format!("{number}.{nth}"))));
            let outcomes = openers.stores[number % OPENERS].apply(&project, &given).await.unwrap();
            assert!(outcomes.iter().all(|o| *o == Outcome::PortsReleased { released: true }), "{outcomes:?}");
        }
    }
}

macro_rules! crowded {
    ($($case:ident),* $(,)?) => { $(
        mod $case {
            use super::Openers;

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn sqlite() {
                super::$case(Openers::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn postgres() {
                super::$case(Openers::postgres().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn postgres_pooled() {
                super::$case(Openers::postgres_pooled().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn postgrest() {
                super::$case(Openers::postgrest().await).await;
            }
        }
    )* };
}
crowded!(
    a_lock_has_one_holder,
    a_task_has_one_worker,
    a_repeated_submission_is_one_task,
    a_block_of_ports_has_one_session,
);
