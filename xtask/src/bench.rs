//! `cargo xtask bench`: what the coordinator does, as a ratio to what the bare engine does with the same rows and the same
//! durability on the same machine in the same minute.
//!
//! Ours and the floor take short turns, because a shared disk is not the same for long; what counts is the median of the
//! rounds' ratios. It is no test: it succeeds whatever the figures, and says which goals are not met.

mod chain;
mod hooks;
mod load;
mod programs;
mod stdio;
mod table;

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use testing::postgres::Cluster;

use crate::raw::{Form, PostgresFloor, SqliteFloor, Work};
use crate::tools;
use chain::Link;
pub use programs::again_optimised;
use programs::{Launch, Server};
use table::{Bound, Comparison, Table, median};

/// The numbers of agents, each with a connection of its own.
const CONNECTIONS: [u32; 3] = [1, 8, 32];
/// How many processes are started to see how long that takes.
const STARTS: u32 = 20;
/// How long a server is left alone before its memory is looked at.
const IDLE: Duration = Duration::from_secs(5);

/// How long locks are taken and given back for a trail to verify, in seconds.
const TRAIL_SECONDS: u64 = 20;

/// How long one of them has its turn, in seconds. Only `pgbench`, which is a while getting ready, has the whole round.
const TURN: u64 = 1;

/// An agent that waits for each commit does not make more of them than a loop that does nothing else; one who measures
/// may be off by a tenth.
const ONE_COMMIT_AT_A_TIME: Bound = Bound::AtMost(1.1);
/// Nor does a call take less time than the commit in it.
const NO_LESS_THAN_A_COMMIT: Bound = Bound::AtLeast(0.9);

const LOCK_PAIRS_ON_POSTGRES: Bound = Bound::AtLeast(1.0);
const LOCK_PAIRS_ON_SQLITE_ALONE: Bound = Bound::AtLeast(0.5);
const LOCK_PAIRS_ON_SQLITE_IN_A_CROWD: Bound = Bound::AtLeast(1.5);
const CALL_OVER_COMMIT: Bound = Bound::AtMost(2.0);
const START_MILLISECONDS: Bound = Bound::AtMost(50.0);
const HOOK_MEDIAN_MILLISECONDS: Bound = Bound::AtMost(10.0);
const HOOK_SLOW_MILLISECONDS: Bound = Bound::AtMost(40.0);
const LOCK_PAIRS_CHAINED: Bound = Bound::AtLeast(0.85);
const HASHING_OVER_COMMIT: Bound = Bound::AtMost(0.15);
const VERIFIED_ROWS: Bound = Bound::AtLeast(100_000.0);
const IDLE_MEGABYTES: Bound = Bound::AtMost(20.0);

/// What `cargo xtask bench` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// How many seconds each figure is measured in each round.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// How many ratios to take the median of.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Measures only this.
    #[arg(long)]
    only: Option<Part>,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The server on SQLite.
    Sqlite,
    /// The server on PostgreSQL.
    Postgres,
    /// The process that serves one agent.
    Stdio,
    /// What a server that does nothing keeps in memory.
    Memory,
    /// The hooks of a crowd of agents.
    Hook,
    /// The audit trail's chain of hashes.
    Chain,
}

/// Builds, measures and prints.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        return again_optimised();
    }
    let is_asked = |part| arguments.only.is_none_or(|only| only == part);
    if is_asked(Part::Postgres) || is_asked(Part::Chain) {
        tools::need_postgres()?;
    }
    let version = programs::version();
    let built = programs::build("cli", "coordinator")?;
    // On the disk that the repository is on, whatever the temporary directory is.
    let directory = tempfile::tempdir_in("target")?;
    let directory = &std::path::absolute(directory.path())?;
    // A copy, so that a build in the meantime changes nothing.
    let program = directory.join("coordinator");
    std::fs::copy(built, &program)?;

    let bench = Bench { arguments, program: &program, directory };
    let mut table = Table::default();
    if is_asked(Part::Sqlite) {
        bench.sqlite(&mut table)?;
    }
    if is_asked(Part::Postgres) {
        bench.postgres(&mut table)?;
    }
    if is_asked(Part::Stdio) {
        bench.stdio(&mut table)?;
    }
    if is_asked(Part::Hook) {
        bench.hook(&mut table)?;
    }
    if is_asked(Part::Chain) {
        bench.chain(&mut table)?;
    }
    if is_asked(Part::Memory) {
        bench.memory(&mut table)?;
    }
    println!("Measured: {version}, {} rounds of {} s\n\n{table}", arguments.rounds, arguments.seconds);
    Ok(())
}

struct Bench<'a> {
    arguments: &'a Arguments,
    program: &'a Path,
    directory: &'a Path,
}

impl Bench<'_> {
    fn sqlite(&self, table: &mut Table) -> anyhow::Result<()> {
        let server = self.serve_on_sqlite("sqlite.db")?;
        let mut floor = SqliteFloor::new(self.directory)?;
        for work in [Work::LockPair, Work::TaskCycle] {
            for agents in CONNECTIONS {
                let case = format!("SQLite, {}", in_words(work));
                let [raw, ours] =
                    self.rounds(&format!("{case}, {agents} connections"), self.arguments.seconds, || {
                        let raw = floor.per_second(work, TURN)?;
                        Ok([raw, load::per_second(server.address, work, agents, TURN)?])
                    })?;
                let goal = match (work, agents) {
                    (Work::LockPair, 1) => Some(LOCK_PAIRS_ON_SQLITE_ALONE),
                    (Work::LockPair, 32) => Some(LOCK_PAIRS_ON_SQLITE_IN_A_CROWD),
                    _ => None,
                };
                table.compare(Comparison {
                    case: format!("{case} / a loop of commits"),
                    connections: agents,
                    unit: "",
                    ours: &ours,
                    raw: &raw,
                    goal,
                    possible: (agents == 1).then_some(ONE_COMMIT_AT_A_TIME),
                });
            }
        }
        Ok(())
    }

    fn postgres(&self, table: &mut Table) -> anyhow::Result<()> {
        let cluster = Cluster::start()?;
        let dsn = cluster.dsn("postgres");
        let server = Server::start(&Launch::on_postgres(self.program, &dsn), self.directory)?;
        let seconds = self.arguments.seconds;
        let floor = PostgresFloor::new(&dsn)?;
        for work in [Work::LockPair, Work::TaskCycle] {
            for agents in CONNECTIONS {
                let case = format!("PostgreSQL, {}", in_words(work));
                let [natural, strict, ours] = self.rounds(&format!("{case}, {agents} connections"), 1, || {
                    let natural = floor.per_second(work, Form::Transaction, agents, seconds)?;
                    let strict = floor.per_second(work, Form::Statement, agents, seconds)?;
                    Ok([natural, strict, load::per_second(server.address, work, agents, seconds)?])
                })?;
                let goal = (work == Work::LockPair && agents == 32).then_some(LOCK_PAIRS_ON_POSTGRES);
                let floors = [("natural script", &natural, goal), ("one statement a step (stricter)", &strict, None)];
                for (script, raw, goal) in floors {
                    table.compare(Comparison {
                        case: format!("{case} / pgbench, {script}"),
                        connections: agents,
                        unit: "",
                        ours: &ours,
                        raw,
                        goal,
                        possible: None,
                    });
                }
            }
        }
        Ok(())
    }

    fn stdio(&self, table: &mut Table) -> anyhow::Result<()> {
        let launch = Launch::on_sqlite(self.program, &self.directory.join("stdio.db"));
        let (mut agent, _) = stdio::Agent::start(&launch)?;
        let mut floor = SqliteFloor::new(self.directory)?;
        let case = "MCP stdio, p50 of a call";
        let [raw, ours] = self.rounds(case, self.arguments.seconds, || {
            let raw = median_microseconds(&floor.commit_times(TURN)?);
            Ok([raw, median_microseconds(&agent.call_times(TURN)?)])
        })?;
        table.compare(Comparison {
            case: format!("{case} / of a commit"),
            connections: 1,
            unit: " µs",
            ours: &ours,
            raw: &raw,
            goal: Some(CALL_OVER_COMMIT),
            possible: Some(NO_LESS_THAN_A_COMMIT),
        });
        drop(agent);

        let starts = (0..STARTS).map(|_| Ok(stdio::Agent::start(&launch)?.1)).collect::<anyhow::Result<Vec<_>>>()?;
        let case = "MCP stdio, process start to `initialize` answered";
        table.alone(case, " ms", median_microseconds(&starts) / 1000.0, START_MILLISECONDS);
        Ok(())
    }

    fn hook(&self, table: &mut Table) -> anyhow::Result<()> {
        let seconds = self.arguments.seconds * self.arguments.rounds * 2;
        eprintln!("hooks of {} agents, {seconds} s", hooks::AGENTS);
        let times = hooks::times(self.program, &self.directory.join("hooks"), seconds)?;
        let case = |part| {
            format!("Hook, {} agents on one SQLite file, whole process, {part} of {}", hooks::AGENTS, times.len())
        };
        table.alone(&case("p50"), " ms", hooks::quantile(&times, 0.5), HOOK_MEDIAN_MILLISECONDS);
        table.alone(&case("p99"), " ms", hooks::quantile(&times, 0.99), HOOK_SLOW_MILLISECONDS);
        Ok(())
    }

    fn chain(&self, table: &mut Table) -> anyhow::Result<()> {
        let cluster = Cluster::start()?;
        let dsn = cluster.dsn("postgres");
        let server = Server::start(&Launch::on_postgres(self.program, &dsn), self.directory)?;
        let link = Link::of(&dsn)?;
        for agents in [1, 32] {
            let case = format!("PostgreSQL, lock pairs, chained or not, {agents} connections");
            let [without, with] = self.rounds(&case, self.arguments.seconds, || {
                link.off()?;
                let without = load::per_second(server.address, Work::LockPair, agents, TURN)?;
                link.on()?;
                Ok([without, load::per_second(server.address, Work::LockPair, agents, TURN)?])
            })?;
            table.compare(Comparison {
                case: "PostgreSQL, lock pairs / without the audit chain".into(),
                connections: agents,
                unit: "",
                ours: &with,
                raw: &without,
                goal: Some(LOCK_PAIRS_CHAINED),
                possible: None,
            });
        }
        drop(server);

        let mut floor = SqliteFloor::new(self.directory)?;
        let [commit, hashing] = self.rounds("SQLite, hashing a row", 1, || {
            let commit = median_microseconds(&floor.commit_times(TURN)?);
            Ok([commit, chain::hashing().as_secs_f64() * 1e6])
        })?;
        table.compare(Comparison {
            case: "SQLite, hashing a row / a commit".into(),
            connections: 1,
            unit: " µs",
            ours: &hashing,
            raw: &commit,
            goal: Some(HASHING_OVER_COMMIT),
            possible: None,
        });

        eprintln!("audit verify, on a trail of {TRAIL_SECONDS} s of locking");
        let file = self.directory.join("trail.db");
        let launch = Launch::on_sqlite(self.program, &file);
        let server = Server::start(&launch, self.directory)?;
        load::per_second(server.address, Work::LockPair, 32, TRAIL_SECONDS)?;
        drop(server);
        let runs =
            (0..3).map(|_| chain::verified_per_second(&mut launch.command())).collect::<anyhow::Result<Vec<_>>>()?;
        let case = format!("SQLite, audit verify of {} rows, whole process", runs[0].1);
        let speeds: Vec<f64> = runs.iter().map(|(rows_per_second, _)| *rows_per_second).collect();
        table.alone(&case, " rows/s", median(&speeds), VERIFIED_ROWS);
        Ok(())
    }

    fn memory(&self, table: &mut Table) -> anyhow::Result<()> {
        let server = self.serve_on_sqlite("memory.db")?;
        for (requests, when) in [(0, "that has just started"), (100, "after a hundred requests")] {
            load::times(server.address, Work::LockPair, requests / 2)?;
            sleep(IDLE);
            let megabytes = server.resident_bytes()? as f64 / 1e6;
            table.alone(&format!("SQLite, memory of an idle server {when}"), " MB", megabytes, IDLE_MEGABYTES);
        }
        Ok(())
    }

    fn serve_on_sqlite(&self, file: &str) -> anyhow::Result<Server> {
        Server::start(&Launch::on_sqlite(self.program, &self.directory.join(file)), self.directory)
    }

    /// The figures of each round, side by side: the means of the turns in it.
    fn rounds<const N: usize>(
        &self,
        what: &str,
        turns: u64,
        mut turn: impl FnMut() -> anyhow::Result<[f64; N]>,
    ) -> anyhow::Result<[Vec<f64>; N]> {
        eprintln!("{what}");
        let mut figures = [const { vec![] }; N];
        for _ in 0..self.arguments.rounds {
            let mut sums = [0.0; N];
            for _ in 0..turns {
                for (sum, figure) in sums.iter_mut().zip(turn()?) {
                    *sum += figure;
                }
            }
            for (figures, sum) in figures.iter_mut().zip(sums) {
                figures.push(sum / turns as f64);
            }
        }
        Ok(figures)
    }
}

fn in_words(work: Work) -> &'static str {
    match work {
        Work::LockPair => "lock pairs",
        Work::TaskCycle => "task cycles",
    }
}

fn median_microseconds(times: &[Duration]) -> f64 {
    median(&times.iter().map(|time| time.as_secs_f64() * 1e6).collect::<Vec<_>>())
}
