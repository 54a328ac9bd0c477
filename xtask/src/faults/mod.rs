//! `cargo xtask faults`: real processes, really killed, and every record of what they did compared.
//!
//! - [`run`]: clients that lock, submit, claim and complete at random while clients, servers and the database are killed
//!   with `kill -9`; [`checker`] then holds the clients' histories, the audit trail and the final state against each other
//! - [`succession`]: how long the next in line waits after a holder died, and what becomes of a holder that was stopped
//!   and wakes too late
//!
//! Times that are compared between processes are of the monotonic clock, which all processes of a machine share.

mod answers;
mod checker;
mod child;
mod clients;
mod clock;
mod disk;
mod evidence;
mod history;
mod keys;
mod model;
mod order;
mod processes;
mod report;
mod rng;
mod run;
mod servers;
mod succession;
mod trail;
mod verdict;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};

pub use child::{Arguments as ClientArguments, run as run_client};
use processes::Programs;
use report::Outcome;
use run::Stage;

/// What `cargo xtask faults` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// How long the clients of each run work.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Of the random choices. Scheduling is not ours, so a seed repeats a run only roughly.
    #[arg(long)]
    seed: Option<u64>,
    /// Only this.
    #[arg(long)]
    only: Option<Part>,
    /// The `coordinator` to test; built, optimised, if not given.
    #[arg(long)]
    coordinator: Option<PathBuf>,
    /// Keep histories, trails and logs even if nothing was found.
    #[arg(long)]
    keep: bool,
}

/// The most violations that are printed; all are in a file.
const SHOWN: usize = 40;

/// A part of the whole.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// HTTP clients, servers, PostgreSQL.
    Postgres,
    /// MCP clients, SQLite.
    Sqlite,
    /// Who comes after the dead, and when.
    Succession,
}

/// Runs all parts, or one, and fails if anything was found.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut directory = tempfile::Builder::new().prefix("coordinator-faults-").tempdir()?;
    let interrupted = interruption()?;
    let failures = run_parts(arguments, directory.path(), &interrupted);
    let is_good = failures.as_ref().is_ok_and(Vec::is_empty);
    if arguments.keep || !is_good && !interrupted.load(Ordering::SeqCst) {
        directory.disable_cleanup(true);
        println!("\nHistories, trails and logs: {}", directory.path().display());
    }
    let failures = failures?;
    if is_good {
        println!("\nNothing was found.");
        return Ok(());
    }
    println!();
    for failure in failures.iter().take(SHOWN) {
        println!("VIOLATION {failure}");
    }
    bail!("{} violations", failures.len())
}

fn run_parts(arguments: &Arguments, directory: &Path, interrupted: &Arc<AtomicBool>) -> anyhow::Result<Vec<String>> {
    let seed = arguments.seed.unwrap_or_else(|| u64::from(std::process::id()) ^ clock::monotonic());
    println!("seed {seed}");
    let programs = Programs::gather(arguments.coordinator.as_deref(), directory)?;
    let stage = |name: &str| -> anyhow::Result<Stage<'_>> {
        let directory = subdirectory(directory, name)?;
        Ok(Stage { programs: &programs, seconds: arguments.seconds, seed, directory, interrupted: interrupted.clone() })
    };
    let wants = |part| arguments.only.is_none_or(|only| only == part);

    let mut failures: Vec<String> = vec![];
    let mut outcomes: Vec<Outcome> = vec![];
    for (part, name, work) in [
        (Part::Postgres, "postgres", run::postgres as fn(&Stage<'_>) -> anyhow::Result<Outcome>),
        (Part::Sqlite, "sqlite", run::sqlite),
    ] {
        if wants(part) {
            outcomes.push(work(&stage(name)?).with_context(|| name.to_owned())?);
        }
    }
    if !outcomes.is_empty() {
        report::print(&outcomes);
    }
    for outcome in &outcomes {
        failures.extend(outcome.found.iter().map(|finding| format!("{}: {finding}", outcome.engine)));
    }
    if wants(Part::Succession) {
        let whole = arguments.seconds >= 60 || arguments.only == Some(Part::Succession);
        failures.extend(succession::run(&stage("succession")?, whole).context("succession")?);
    }
    let left = programs.end_left_behind(Duration::from_secs(1));
    failures.extend(left.iter().map(|pid| format!("process {pid} stayed behind")));
    Ok(failures)
}

/// A flag that Ctrl-C and a request to end raise, so that children and files are cleaned up on the way out.
fn interruption() -> anyhow::Result<Arc<AtomicBool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let flag = Arc::new(AtomicBool::new(false));
    let raised = flag.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _guard = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        raised.store(true, Ordering::SeqCst);
    });
    Ok(flag)
}

/// The directory of one part of a run.
fn subdirectory(parent: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let directory = parent.join(name);
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}
