//! `cargo xtask clients`: drives the coordinator with what others wrote, as their users would. The protocol's conformance
//! suite, its inspector, Python libraries, and the agents' own command lines with a script in the place of their model.

mod agents;
mod conformance;
mod enforcement;
mod ground;
mod inspector;
mod model;
mod python;
mod round_robin;

use std::time::Instant;

use anyhow::ensure;

use crate::tools;
use ground::Ground;

/// What `cargo xtask clients` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only what has this in its name, such as `conformance` or `codex`.
    only: Option<String>,
}

/// Installs what is missing, tries every client, and fails if one of them fails.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let built = tools::cargo().args(["build", "--package", "cli"]).status()?;
    ensure!(built.success(), "the coordinator does not build");
    tokio::runtime::Runtime::new()?.block_on(async {
        let ground = Ground::prepare().await?;
        let mut trials = Trials { only: arguments.only.clone(), failed: 0, count: 0 };
        conformance::run(&ground, &mut trials).await;
        inspector::run(&ground, &mut trials).await;
        python::run(&ground, &mut trials).await;
        agents::run(&ground, &mut trials).await;
        enforcement::run(&ground, &mut trials).await;
        ensure!(trials.count > 0, "nothing has that in its name");
        ensure!(trials.failed == 0, "{} of {} failed", trials.failed, trials.count);
        Ok(())
    })
}

/// What was tried so far.
pub struct Trials {
    only: Option<String>,
    failed: usize,
    count: usize,
}

/// What came of a trial.
pub enum Outcome {
    /// It went well, as these words tell.
    Passed(String),
    /// It could not be tried on this machine.
    Skipped(&'static str),
}

impl Trials {
    /// Tries something, unless it was not asked for, and says at once what came of it.
    pub async fn attempt(&mut self, name: &str, trial: impl Future<Output = anyhow::Result<Outcome>>) {
        if self.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            return;
        }
        self.count += 1;
        let started = Instant::now();
        let outcome = trial.await;
        let took = started.elapsed().as_secs_f32();
        match outcome {
            Ok(Outcome::Passed(how)) => println!("{took:>6.1} s  ok       {name}: {how}"),
            Ok(Outcome::Skipped(why)) => println!("{took:>6.1} s  skipped  {name}: {why}"),
            Err(error) => {
                self.failed += 1;
                println!("{took:>6.1} s  FAILED   {name}: {error:#}");
            }
        }
    }
}
