//! A row of steps that says what it does, goes on after a failure, and ends with what each took.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;

/// The steps so far.
#[derive(Default)]
pub struct Steps(Vec<Step>);

struct Step {
    name: String,
    took: Duration,
    succeeded: bool,
}

impl Steps {
    /// Does what the later steps cannot do without.
    pub fn time<T>(&mut self, name: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let start = Instant::now();
        let outcome = work();
        self.0.push(Step { name: name.into(), took: start.elapsed(), succeeded: outcome.is_ok() });
        outcome
    }

    /// Runs a command. A failure is told at the end, after those of the other steps are known too.
    pub fn run(&mut self, command: &mut Command) {
        let name = in_words(command);
        eprintln!("\n==> {name}");
        let start = Instant::now();
        let succeeded = match command.status() {
            Ok(status) => status.success(),
            Err(error) => {
                eprintln!("{error}");
                false
            }
        };
        self.0.push(Step { name, took: start.elapsed(), succeeded });
    }

    /// Prints what each step took, and fails if one of them did.
    pub fn finish(self) -> anyhow::Result<()> {
        eprintln!();
        for Step { name, took, succeeded } in &self.0 {
            eprintln!("{:>8.1} s  {}  {name}", took.as_secs_f32(), if *succeeded { "ok    " } else { "FAILED" });
        }
        let failed = self.0.iter().filter(|step| !step.succeeded).count();
        ensure!(failed == 0, "{failed} of {} steps failed", self.0.len());
        Ok(())
    }
}

fn in_words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
