//! The repository's own chores: `cargo xtask --help`.

mod bench;
mod ci;
mod clients;
mod faults;
mod fuzz_guardrails;
mod mutants;
mod raw;
mod retrieval;
mod steps;
mod test;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// The repository's own chores.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Chore {
    /// Everything that must hold before a change goes in: format, licences, lints, tests. Installs what that needs.
    Test(test::Arguments),
    /// What CI runs.
    Ci,
    /// Puts known bugs into the store and demands that its tests notice each.
    Mutants(mutants::Arguments),
    /// Kills clients, servers and the database at random and checks that nothing was granted twice, lost or misordered.
    Faults(faults::Arguments),
    /// Throws mutated commands at the guard: none may make it panic, or take longer than its length explains.
    FuzzGuardrails(fuzz_guardrails::Arguments),
    /// A child of `faults`.
    #[command(hide = true)]
    FaultsClient(faults::ClientArguments),
    /// Drives the coordinator with others' clients: conformance suite, inspector, Python libraries, agents' command lines.
    Clients(clients::Arguments),
    /// How fast the bare engines are on this machine: the floors that our own figures are held against.
    Raw(raw::Arguments),
    /// How fast we are, as a ratio to the bare engines in the same minute.
    Bench(bench::Arguments),
    /// How well memories are found, and how fast among a hundred thousand.
    Retrieval(retrieval::Arguments),
}

fn main() -> ExitCode {
    match run(&Chore::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: &Chore) -> anyhow::Result<()> {
    std::env::set_current_dir(root())?;
    match chore {
        Chore::Test(arguments) => test::run(arguments),
        Chore::Ci => ci::run(),
        Chore::Mutants(arguments) => mutants::run(arguments),
        Chore::Faults(arguments) => faults::run(arguments),
        Chore::FuzzGuardrails(arguments) => fuzz_guardrails::run(arguments),
        Chore::FaultsClient(arguments) => faults::run_client(arguments),
        Chore::Clients(arguments) => clients::run(arguments),
        Chore::Raw(arguments) => raw::run(arguments),
        Chore::Bench(arguments) => bench::run(arguments),
        Chore::Retrieval(arguments) => retrieval::run(arguments),
    }
}

/// The repository, as cargo tells at run time: a path taken while compiling would be stale once the tree is moved.
fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    manifest.and_then(|directory| directory.parent().map(PathBuf::from)).unwrap_or_else(|| ".".into())
}
