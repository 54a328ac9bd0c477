//! The clients of a run: one process each, killed at random, started again at once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::child::{Launch, Spec, Way};
use super::processes::{Process, Programs};
use super::rng::Rng;

/// How the clients of a run are started.
pub struct Plan<'a> {
    /// The programs.
    pub programs: &'a Programs,
    /// How many clients there are.
    pub count: u32,
    /// Of their random choices.
    pub seed: u64,
    /// How they reach the coordinator.
    pub way: Way,
    /// Where their histories go.
    pub histories: PathBuf,
}

/// The clients.
pub struct Clients<'a> {
    plan: Plan<'a>,
    running: Vec<Process>,
    runs: Vec<u32>,
    killed: u64,
    crashes: Vec<String>,
}

impl<'a> Clients<'a> {
    /// Starts them.
    pub fn start(plan: Plan<'a>) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&plan.histories)?;
        let mut clients =
            Self { running: vec![], runs: vec![0; plan.count as usize], plan, killed: 0, crashes: vec![] };
        for slot in 0..clients.plan.count {
            let client = clients.start_one(slot)?;
            clients.running.push(client);
        }
        Ok(clients)
    }

    fn start_one(&mut self, slot: u32) -> anyhow::Result<Process> {
        let run = &mut self.runs[slot as usize];
        *run += 1;
        let way = match &self.plan.way {
            Way::Stdio { launch, killed } => {
                let log = launch.directory.join(format!("process-{slot}.log"));
                Way::Stdio { launch: Launch { log, ..launch.clone() }, killed: *killed }
            }
            http => http.clone(),
        };
        self.plan.programs.start(&Spec::Worker {
            slot,
            run: *run,
            clients: self.plan.count,
            seed: self.plan.seed,
            way,
            history: self.plan.histories.join(format!("{slot}-{run}.jsonl")),
        })
    }

    /// Kills one of them with `kill -9` and starts it again.
    pub fn kill_one(&mut self, rng: &mut Rng) -> anyhow::Result<()> {
        let slot = rng.below(self.running.len() as u64) as usize;
        self.running[slot].kill()?;
        self.killed += 1;
        self.running[slot] = self.start_one(slot as u32)?;
        Ok(())
    }

    /// Starts again those that ended by themselves, which is a fault of this program.
    pub fn look_after(&mut self) -> anyhow::Result<()> {
        for slot in 0..self.running.len() {
            if self.running[slot].has_ended() {
                self.crashes.push(format!("client {slot} ended by itself"));
                self.running[slot] = self.start_one(slot as u32)?;
            }
        }
        Ok(())
    }

    /// How many were killed.
    pub fn killed(&self) -> u64 {
        self.killed
    }

    /// Lets them finish what they are at; tells what went wrong with them.
    pub fn end(mut self, patience: Duration) -> Vec<String> {
        for client in &mut self.running {
            client.let_go();
        }
        let until = Instant::now() + patience;
        let hung = self.running.iter_mut().filter_map(|client| (!client.wait(until)).then_some(())).count();
        if hung > 0 {
            self.crashes.push(format!("{hung} clients did not end"));
        }
        std::mem::take(&mut self.crashes)
    }
}

impl Drop for Clients<'_> {
    fn drop(&mut self) {
        for client in &mut self.running {
            // Most often it has ended long ago.
            let _ = client.kill();
        }
    }
}

/// Counts answers while they are written.
pub struct Tally {
    directory: PathBuf,
    read: HashMap<PathBuf, u64>,
    /// Answers so far.
    pub answered: u64,
    /// Requests so far that no answer will come to.
    pub unknown: u64,
}

impl Tally {
    /// Of the histories in the directory.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), read: HashMap::new(), answered: 0, unknown: 0 }
    }

    /// Reads what was added.
    pub fn update(&mut self) -> std::io::Result<()> {
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let from = self.read.get(&path).copied().unwrap_or(0);
            if std::fs::metadata(&path)?.len() == from {
                continue;
            }
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(from))?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            // A line that is being written is for the next time.
            let complete = text.rfind('\n').map_or(0, |end| end + 1);
            for line in text[..complete].lines() {
                self.answered += u64::from(line.starts_with("{\"event\":\"answered\""));
                self.unknown += u64::from(line.starts_with("{\"event\":\"unknown\""));
            }
            self.read.insert(path, from + complete as u64);
        }
        Ok(())
    }
}
