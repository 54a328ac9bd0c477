//! `cargo xtask raw`: how many durable commits the bare engines make on this machine, with nothing of ours in the way.
//!
//! Our own figures mean little without these: a benchmark prints its ratio to what was measured here in the same minute.
//! The work is what an operation cannot do without: its rows, its audit row, and a commit that survives power loss. No
//! expiry is looked at, no rule is checked, nothing is announced.

mod postgres;
mod sqlite;

use std::path::PathBuf;

use anyhow::Context;
use testing::postgres::Cluster;

pub use postgres::floor as postgres_floor;
pub use sqlite::floor as sqlite_floor;

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

/// What an engine does in a second.
#[derive(Clone, Copy, Debug)]
pub struct OpsPerSecond {
    /// A lock taken and given back: two commits.
    pub lock_pairs: f64,
    /// A task submitted, claimed and completed: three commits.
    pub task_cycles: f64,
}

/// Prints the figures.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    println!("{:<40} {:>12} {:>13}", "", "lock pairs/s", "task cycles/s");
    for directory in &arguments.directory {
        let floor = sqlite_floor(directory, arguments.seconds)?;
        print(&format!("SQLite in {}", directory.display()), floor);
    }
    let cluster = arguments.dsn.is_none().then(Cluster::start).transpose()?;
    let dsn = arguments.dsn.clone().or_else(|| Some(cluster.as_ref()?.dsn("postgres"))).context("a database")?;
    for clients in &arguments.clients {
        let floor = postgres_floor(&dsn, *clients, arguments.seconds)?;
        print(&format!("PostgreSQL, {clients} clients"), floor);
    }
    Ok(())
}

fn print(what: &str, floor: OpsPerSecond) {
    println!("{what:<40} {:>12.0} {:>13.0}", floor.lock_pairs, floor.task_cycles);
}
