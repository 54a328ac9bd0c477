//! `cargo xtask raw`: how many durable commits the bare engines make on this machine, with nothing of ours in the way.
//!
//! Our own figures mean little without these: a benchmark prints its ratio to what was measured here in the same minute.
//! The work is what an operation cannot do without: its rows, its audit row, and a commit that survives power loss. No
//! expiry is looked at, no rule is checked, nothing is announced. The rows are the product's, in its very tables.

mod postgres;
mod rows;
mod sqlite;

use std::path::PathBuf;

use anyhow::Context;
use testing::postgres::Cluster;

pub use postgres::{Floor as PostgresFloor, Form};
pub use sqlite::Floor as SqliteFloor;

use crate::bench;

/// What `cargo xtask raw` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// How long each figure is measured.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Directories to measure SQLite in: another one may be another disk.
    #[arg(long, default_value = "target")]
    directory: Vec<PathBuf>,
    /// Numbers of PostgreSQL clients.
    #[arg(long, default_values_t = [1, 8, 32])]
    clients: Vec<u32>,
    /// A PostgreSQL database to measure in; a throwaway server with `fsync` on if not given.
    #[arg(long)]
    dsn: Option<String>,
}

/// What an engine is asked to do over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A lock taken and given back: two commits.
    LockPair,
    /// A task submitted, claimed and completed: three commits.
    TaskCycle,
}

/// Prints the figures.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        return bench::again_optimised();
    }
    println!("{:<44} {:>12} {:>13}", "", "lock pairs/s", "task cycles/s");
    for directory in &arguments.directory {
        let mut floor = SqliteFloor::new(directory)?;
        print(&format!("SQLite in {}", directory.display()), |work| floor.per_second(work, arguments.seconds))?;
    }
    let cluster = arguments.dsn.is_none().then(Cluster::start).transpose()?;
    let dsn = arguments.dsn.clone().or_else(|| Some(cluster.as_ref()?.dsn("postgres"))).context("a database")?;
    let floor = PostgresFloor::new(&dsn)?;
    for clients in &arguments.clients {
        for (form, in_words) in [(Form::Transaction, "transactions"), (Form::Statement, "single statements")] {
            let what = format!("PostgreSQL, {clients} clients, {in_words}");
            print(&what, |work| floor.per_second(work, form, *clients, arguments.seconds))?;
        }
    }
    Ok(())
}

fn print(what: &str, mut per_second: impl FnMut(Work) -> anyhow::Result<f64>) -> anyhow::Result<()> {
    let (lock_pairs, task_cycles) = (per_second(Work::LockPair)?, per_second(Work::TaskCycle)?);
    println!("{what:<44} {lock_pairs:>12.0} {task_cycles:>13.0}");
    Ok(())
}
