//! What runs in processes of its own: clients, which are killed, and keepers of servers, which kill.
//!
//! A child ends when its standard input does, so that none outlives the run, however that ends.

mod door;
mod http;
mod keeper;
mod puppet;
mod stdio;
mod worker;
mod workload;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

pub use door::Reply;
pub use http::is_healthy;
pub use puppet::{Answer, Hello, Order};

/// What a child is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spec {
    /// Random operations, recorded.
    Worker {
        /// Which of the clients it is: its agent keeps its name when the client is started again.
        slot: u32,
        /// How often it has been started.
        run: u32,
        /// How many clients there are.
        clients: u32,
        /// Of its random choices.
        seed: u64,
        /// How it reaches the coordinator.
        way: Way,
        /// Where its history goes.
        history: PathBuf,
    },
    /// What it is told.
    Puppet {
        /// Its agent.
        agent: String,
        /// Its session.
        session: String,
        /// How it reaches the coordinator.
        way: Way,
    },
    /// Keeps a program running; kills it when told to.
    Keeper(Launch),
}

/// How a client reaches the coordinator.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Through one of several servers, on 127.0.0.1.
    Http {
        /// Their ports; the first one is tried first.
        ports: Vec<u16>,
    },
    /// Through a process of its own.
    Stdio {
        /// The process.
        launch: Launch,
        /// Does the client kill it now and then?
        killed: bool,
    },
}

/// A program and all it needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment, all of it.
    pub environment: Vec<(String, String)>,
    /// Where it runs.
    pub directory: PathBuf,
    /// Where what it says goes.
    pub log: PathBuf,
}

/// The key that opens the servers of a run.
pub const API_KEY: &str = "key-of-the-fault-runs";

/// The type of all clients' agents.
pub const AGENT_TYPE: &str = "claude_code_cli";

/// What the hidden subcommand takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// A [`Spec`] in JSON.
    spec: String,
}

/// Runs a child.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match serde_json::from_str(&arguments.spec)? {
        Spec::Worker { slot, run, clients, seed, way, history } => {
            let identity = Identity { agent: agent(slot), session: format!("session-{slot}-{run}") };
            let place = worker::Place { slot, run, clients, seed };
            worker::run(place, identity, way, &history, &stop_at_end_of_input())
        }
        Spec::Puppet { agent, session, way } => puppet::run(Identity { agent, session }, way),
        Spec::Keeper(launch) => keeper::run(&launch),
    }
}

/// The agent of the client in this slot.
pub fn agent(slot: u32) -> String {
    format!("agent-{slot:02}")
}

/// In whose name a client asks.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The agent.
    pub agent: String,
    /// The session.
    pub session: String,
}

/// A flag that is raised when whoever started us closes our standard input, or is gone.
fn stop_at_end_of_input() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = stop.clone();
    std::thread::spawn(move || {
        // Nothing comes but the end.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        raised.store(true, Ordering::SeqCst);
    });
    stop
}
