//! Random command sequences have equal outcomes and leave equal state in every store.
//!
//! A script says what happens in terms of a small world: few agents, sessions, keys and tasks, so that they meet. What
//! depends on the state (a token, the next instant at which something ends) is looked up in the reference while it runs,
//! so that a script stays sensible when parts of it are taken away to find the least that fails.
//!
//! `COORDINATOR_SEQUENCES` sets how many scripts are run, `COORDINATOR_SEED` which.

mod commands;
mod generator;
mod script;
mod soundness;
mod state;

use std::cell::{Cell, RefCell};

use jiff::{SignedDuration, Timestamp};
use model::command::{Command, Freed, Outcome};
use model::id::AgentId;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use self::generator::scripts;
use self::script::{Ask, Script, Step};
use self::state::{Known, differ};
use crate::harness::{self, Engine, World};

/// One run of a script: its project in every store, and what has happened so far.
struct Run {
    /// The reference first.
    worlds: Vec<World>,
    /// Also the reference, given each command in a batch of its own.
    singly: World,
    /// Sets this run's ids apart from those of others.
    number: u128,
    now: Timestamp,
    submitted: Vec<Uuid>,
    remembered: Vec<Uuid>,
    asked: Vec<Uuid>,
    changesets: Vec<Uuid>,
    runs: u128,
    made_keys: Vec<u8>,
    commands: u128,
    answered: usize,
    known: Known,
}

type Checked<T> = Result<T, TestCaseError>;

impl Run {
    async fn script(&mut self, script: &Script) -> Checked<()> {
        self.set(Timestamp::from_microsecond(harness::BEGINNING).unwrap()).await;
        for step in &script.0 {
            match step {
                Step::Pass(micros) => self.set(self.now + SignedDuration::from_micros(*micros)).await,
                Step::PassToTheNextEnd { short } => {
                    if let Some(end) = self.next_end() {
                        let end = if *short { end - harness::MOMENT } else { end };
                        self.set(end.max(self.now)).await;
                    }
                }
                Step::Apply(asks) => self.batch(asks).await?,
            }
        }
        self.compare().await
    }

    async fn set(&mut self, now: Timestamp) {
        self.now = now;
        for world in self.worlds.iter().chain([&self.singly]) {
            world.set(now).await;
        }
    }

    /// The next instant after now at which something ends.
    fn next_end(&self) -> Option<Timestamp> {
        let known = &self.known;
        let tasks = known.tasks.iter().flat_map(|t| [t.lease_expires_at, t.not_before, t.deadline]);
        let others = known.locks.iter().map(|l| l.expires_at);
        let others = others.chain(known.waiters.iter().map(|w| w.expires_at));
        let others = others.chain(known.sessions.iter().map(|s| s.expires_at));
        let others = others.chain(known.port_blocks.iter().map(|b| b.expires_at));
        let open = known.approvals.iter().filter(|a| a.status.is_open());
        let others = others.chain(open.map(|a| a.expires_at));
        let others = others.chain(known.github.iter().filter_map(|record| record.expires_at));
        let runs = known.changesets.iter().flat_map(|c| &c.runs);
        let others = others.chain(runs.filter_map(|run| run.lease_expires_at));
        tasks.flatten().chain(others).filter(|end| *end > self.now).min()
    }

    async fn batch(&mut self, asks: &[Ask]) -> Checked<()> {
        let commands: Vec<Command> = asks.iter().map(|ask| self.command(ask)).collect();
        let expected = outcomes(&self.worlds[0], &commands).await?;
        for world in &self.worlds[1..] {
            let actual = outcomes(world, &commands).await?;
            if actual != expected {
                return Err(differ("outcomes", world.engine().name(), &expected, &actual));
            }
        }
        let mut singly = outcomes(&self.singly, &[]).await?;
        for command in &commands {
            singly.extend(outcomes(&self.singly, std::slice::from_ref(command)).await?);
        }
        let expected: Vec<Outcome> = expected.into_iter().map(without_counts).collect();
        let singly: Vec<Outcome> = singly.into_iter().map(without_counts).collect();
        if singly != expected {
            return Err(differ("outcomes", "one by one", &expected, &singly));
        }
        self.answered += expected.iter().filter(|o| o.is_answer()).count();
        self.look().await?;
        self.check_soundness(&expected)
    }
}

fn agent(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

fn failed(error: store::StoreError) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

async fn outcomes(world: &World, commands: &[Command]) -> Checked<Vec<Outcome>> {
    let name = world.engine().name();
    let outcomes = world.store.apply(&world.project, commands).await;
    outcomes.map_err(|error| TestCaseError::fail(format!("{name}: {error}\nfor {commands:#?}")))
}

/// A clean-up counts what the batch freed, so its counts alone depend on how commands fall into batches.
fn without_counts(outcome: Outcome) -> Outcome {
    if let Outcome::Cleaned { .. } = outcome { Outcome::Cleaned { freed: Freed::default() } } else { outcome }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

/// The stores in which scripts are run, one project a run.
struct Stores {
    worlds: Vec<World>,
    singly: World,
}

impl Stores {
    fn open(runtime: &Runtime, engines: &[Engine]) -> Self {
        let open = |engine: &Engine| runtime.block_on(World::open(*engine));
        Self { worlds: engines.iter().map(open).collect(), singly: open(&Engine::Memory) }
    }
}

/// Runs scripts on these engines, the first of which is the reference.
fn compare(engines: &[Engine]) {
    let sequences = setting("COORDINATOR_SEQUENCES", 150);
    let seed = setting("COORDINATOR_SEED", 1);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let stores = RefCell::new(Stores::open(&runtime, engines));
    let number = Cell::new(0_u128);
    let config =
        Config { cases: sequences as u32, failure_persistence: None, max_shrink_iters: 3000, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let outcome = TestRunner::new_with_rng(config, rng).run(&scripts(), |script| {
        number.set(number.get() + 1);
        let project = format!("it's run {}", number.get());
        let mut stores = stores.borrow_mut();
        // What concerns all projects grows slow with their number.
        if number.get().is_multiple_of(200) {
            *stores = Stores::open(&runtime, engines);
        }
        let mut run = Run {
            worlds: stores.worlds.iter().map(|world| world.in_project(&project)).collect(),
            singly: stores.singly.in_project(&project),
            number: number.get(),
            now: Timestamp::UNIX_EPOCH,
            submitted: vec![],
            remembered: vec![],
            asked: vec![],
            changesets: vec![],
            runs: 0,
            made_keys: vec![],
            commands: 0,
            answered: 0,
            known: Known::default(),
        };
        runtime.block_on(run.script(&script))
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, script)) => {
            panic!("{why}\n\nThe least script that shows it (seed {seed}):\n{script:?}")
        }
        Err(TestError::Abort(why)) => panic!("gave up: {why}"),
    }
}

#[test]
fn postgres_does_what_the_reference_does() {
    compare(&[Engine::Memory, Engine::Postgres]);
}

#[test]
fn sqlite_does_what_the_reference_does() {
    compare(&[Engine::Memory, Engine::Sqlite]);
}
