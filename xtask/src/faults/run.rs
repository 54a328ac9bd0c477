//! A run on one engine: clients at work, kills at random, and then the checks.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use testing::postgres::Cluster;

use super::checker;
use super::child::{Launch, Way};
use super::clients::{Clients, Plan, Tally};
use super::clock;
use super::disk::Disk;
use super::history::Histories;
use super::model::Leases;
use super::processes::Programs;
use super::report::Outcome;
use super::rng::Rng;
use super::servers::Servers;
use super::trail::Left;
use super::verdict::{Findings, Kind};

/// Short, so that what the dead hold moves on.
const LEASES: Leases = Leases { session: 2, task: 2 };
/// HTTP clients, and the servers that they share.
const HTTP_CLIENTS: u32 = 64;
const SERVERS: usize = 3;
/// Clients with a process of their own.
const STDIO_CLIENTS: u32 = 16;
/// A client that does not end in this time after it was told to hangs.
const END_LIMIT: Duration = Duration::from_secs(40);
/// How long a process may go on after its client is gone.
const ORPHAN_LIMIT: Duration = Duration::from_secs(10);
/// How often to look around.
const TICK: Duration = Duration::from_millis(10);

/// What every run needs.
pub struct Stage<'a> {
    /// The programs.
    pub programs: &'a Programs,
    /// How long.
    pub seconds: u64,
    /// Of all random choices.
    pub seed: u64,
    /// Where everything of the run is kept.
    pub directory: PathBuf,
    /// Raised when we are to leave.
    pub interrupted: Arc<AtomicBool>,
}

impl Stage<'_> {
    /// An error once we are to leave.
    pub fn check_interrupted(&self) -> anyhow::Result<()> {
        if self.interrupted.load(Ordering::SeqCst) { bail!("interrupted") } else { Ok(()) }
    }

    /// The settings of all processes of the run, beside those of the engine.
    pub fn settings(&self, engine: &[(&str, String)], leases: Leases) -> Vec<(String, String)> {
        let ours = [
            ("COORDINATOR_PROJECT", "faults".to_owned()),
            ("SESSION_TTL_SECONDS", leases.session.to_string()),
            ("TASK_LEASE_SECONDS", leases.task.to_string()),
            ("HOME", self.directory.display().to_string()),
            ("PATH", std::env::var("PATH").unwrap_or_default()),
            ("RUST_LOG", "warn".to_owned()),
        ];
        ours.iter().chain(engine).map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    /// `coordinator mcp` on this file.
    pub fn stdio(&self, file: &Path, leases: Leases) -> Launch {
        let engine = [("DB_BACKEND", "sqlite".to_owned()), ("COORDINATOR_DB", file.display().to_string())];
        Launch {
            program: self.programs.coordinator.clone(),
            arguments: vec!["mcp".into()],
            environment: self.settings(&engine, leases),
            directory: self.directory.clone(),
            log: self.directory.join("process.log"),
        }
    }

    /// What makes `coordinator serve` use this database.
    pub fn postgres(&self, dsn: String, leases: Leases) -> Vec<(String, String)> {
        self.settings(&[("DB_BACKEND", "postgres".to_owned()), ("POSTGRES_DSN", dsn)], leases)
    }

    fn plan(&self, count: u32, way: Way) -> Plan<'_> {
        let histories = self.directory.join("histories");
        Plan { programs: self.programs, count, seed: self.seed, way, histories }
    }
}

/// Who is killed when.
struct Schedule {
    rng: Rng,
    next_client: Instant,
    next_server: Instant,
    database: Option<Instant>,
}

impl Schedule {
    fn new(stage: &Stage<'_>, with_database: bool) -> Self {
        let now = Instant::now();
        let half = Duration::from_millis(stage.seconds * 500);
        Self {
            rng: Rng::new(stage.seed, &[u64::MAX]),
            next_client: now,
            next_server: now,
            database: with_database.then_some(now + half),
        }
    }

    fn is_due(next: &mut Instant, rng: &mut Rng, pause: std::ops::Range<u64>) -> bool {
        let now = Instant::now();
        let is_due = *next <= now;
        if is_due {
            *next = now + Duration::from_millis(rng.within(pause));
        }
        is_due
    }
}

/// Sixty-four clients, three servers, one PostgreSQL.
pub fn postgres(stage: &Stage<'_>) -> anyhow::Result<Outcome> {
    let mut cluster = Cluster::start()?;
    let dsn = cluster.dsn("postgres");
    let mut rng = Rng::new(stage.seed, &[1]);
    let settings = stage.postgres(dsn.clone(), LEASES);
    let mut servers = Servers::start(stage.programs, SERVERS, &settings, &stage.directory, &mut rng)?;
    let way = Way::Http { ports: servers.ports().to_vec() };
    let mut clients = Clients::start(stage.plan(HTTP_CLIENTS, way))?;

    let disk = Disk::watch(&stage.directory)?;
    let mut schedule = Schedule::new(stage, true);
    let mut databases_killed = 0;
    let began = Instant::now();
    let mut progress = Progress::new("postgres", stage);
    while began.elapsed() < Duration::from_secs(stage.seconds) {
        stage.check_interrupted()?;
        sleep(TICK);
        let Schedule { rng, next_client, next_server, database } = &mut schedule;
        if Schedule::is_due(next_client, rng, 50..400) {
            clients.kill_one(rng)?;
        }
        if Schedule::is_due(next_server, rng, 500..2500) {
            servers.kill_one(rng)?;
        }
        if database.take_if(|then| *then <= Instant::now()).is_some() {
            cluster.kill()?;
            cluster.restart()?;
            databases_killed += 1;
        }
        clients.look_after()?;
        progress.tell(clients.killed(), servers.killed())?;
    }
    let mut outcome = Outcome {
        engine: "postgres",
        clients: HTTP_CLIENTS.into(),
        servers: SERVERS as u64,
        seconds: began.elapsed().as_secs(),
        longest_stall: disk.longest_stall(0, clock::monotonic()).as_millis() as u64,
        clients_killed: clients.killed(),
        servers_killed: servers.killed(),
        databases_killed,
        ..Outcome::default()
    };
    let mut troubles = clients.end(END_LIMIT);
    troubles.extend(servers.end());
    let left = Left::in_postgres(&dsn).context("read what is left")?;
    conclude(stage, &mut outcome, left, troubles)?;
    Ok(outcome)
}

/// Sixteen clients, each with a process of its own, one SQLite file.
pub fn sqlite(stage: &Stage<'_>) -> anyhow::Result<Outcome> {
    let file = stage.directory.join("coordinator.db");
    let way = Way::Stdio { launch: stage.stdio(&file, LEASES), killed: true };
    let mut clients = Clients::start(stage.plan(STDIO_CLIENTS, way))?;

    let disk = Disk::watch(&stage.directory)?;
    let mut schedule = Schedule::new(stage, false);
    let began = Instant::now();
    let mut progress = Progress::new("sqlite", stage);
    while began.elapsed() < Duration::from_secs(stage.seconds) {
        stage.check_interrupted()?;
        sleep(TICK);
        let Schedule { rng, next_client, .. } = &mut schedule;
        if Schedule::is_due(next_client, rng, 200..1500) {
            clients.kill_one(rng)?;
        }
        clients.look_after()?;
        progress.tell(clients.killed(), 0)?;
    }
    let mut outcome = Outcome {
        engine: "sqlite",
        clients: STDIO_CLIENTS.into(),
        servers: STDIO_CLIENTS.into(),
        seconds: began.elapsed().as_secs(),
        longest_stall: disk.longest_stall(0, clock::monotonic()).as_millis() as u64,
        clients_killed: clients.killed(),
        ..Outcome::default()
    };
    let mut troubles = clients.end(END_LIMIT);
    // They lost their clients, by kill or in order, and must have ended by themselves.
    let orphans = stage.programs.end_left_behind(ORPHAN_LIMIT);
    troubles.extend(orphans.iter().map(|pid| format!("process {pid} stayed behind when its client was gone")));
    let left = Left::in_sqlite(&file).context("read what is left")?;
    conclude(stage, &mut outcome, left, troubles)?;
    Ok(outcome)
}

fn conclude(stage: &Stage<'_>, outcome: &mut Outcome, left: Left, troubles: Vec<String>) -> anyhow::Result<()> {
    let histories = Histories::read(&stage.directory.join("histories"))?;
    outcome.servers_killed += histories.servers_killed;
    let (mut found, evidence) = checker::check(histories.ops, left, LEASES);
    add_troubles(&mut found, histories.broken.into_iter().chain(histories.crashes).chain(troubles));
    outcome.tell(&evidence);
    let report: Vec<String> = found.iter().map(ToString::to_string).collect();
    std::fs::write(stage.directory.join("findings.txt"), report.join("\n"))?;
    let trail: Vec<String> = evidence.left.trail.iter().map(|row| format!("{row:?}")).collect();
    std::fs::write(stage.directory.join("trail.txt"), trail.join("\n"))?;
    outcome.found = found;
    Ok(())
}

fn add_troubles(found: &mut Findings, troubles: impl Iterator<Item = String>) {
    for trouble in troubles {
        found.add(Kind::Process, trouble);
    }
}

/// One line a second, in a terminal.
struct Progress {
    engine: &'static str,
    tally: Tally,
    began: Instant,
    told: u64,
    is_seen: bool,
}

impl Progress {
    fn new(engine: &'static str, stage: &Stage<'_>) -> Self {
        let tally = Tally::new(&stage.directory.join("histories"));
        Self { engine, tally, began: Instant::now(), told: 0, is_seen: std::io::stderr().is_terminal() }
    }

    fn tell(&mut self, clients_killed: u64, servers_killed: u64) -> anyhow::Result<()> {
        let seconds = self.began.elapsed().as_secs();
        if !self.is_seen || seconds == self.told {
            return Ok(());
        }
        self.told = seconds;
        self.tally.update()?;
        eprint!(
            "\r{} {seconds} s: {} acknowledged, {} unknown, {clients_killed} clients and {servers_killed} servers killed ",
            self.engine, self.tally.answered, self.tally.unknown
        );
        Ok(())
    }
}
