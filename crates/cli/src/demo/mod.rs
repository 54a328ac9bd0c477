//! `coordinator demo`: several agents build a small package at once, one of them is killed half-way, and everything
//! that was promised is checked in the end.
//!
//! - [`project`]: the work; [`git`]: the repository it is done in
//! - [`agent`]: one agent, a process of its own; [`client`]: its MCP connection; [`report`]: what it tells
//! - [`play`]: the run; [`fleet`]: the demo's hold on its agents; [`story`]: what it knows of the run
//! - [`display`], [`picture`]: the run as it goes; [`trail`], [`checks`], [`summary`]: what became of it

pub mod agent;
mod checks;
mod client;
mod display;
mod fleet;
mod git;
mod picture;
mod play;
mod project;
mod report;
mod story;
mod summary;
mod trail;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use self::display::Display;
use self::play::Demo;
use self::summary::Summary;

/// The agents.
const NAMES: [&str; 8] = ["ada", "ben", "cleo", "dan", "eva", "finn", "gus", "hana"];

/// Watch agents work together: one is killed half-way, and everything is checked in the end
///
/// Several agents build a small package in a temporary git repository: real processes that speak MCP to `coordinator
/// mcp`, claim dependent tasks, lock what they edit, commit in work trees of their own and merge into main. One is killed
/// while it holds locks and a task. Exit code 0 when everything that was checked holds.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many agents
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=8))]
    agents: u8,
    /// Keep the repository, and print where it is
    #[arg(long)]
    keep: bool,
    /// Print what was checked as JSON, and the progress to standard error
    #[arg(long)]
    json: bool,
}

/// Runs the demo. A run that could not be carried out proves nothing: that is a failure too.
///
/// # Errors
/// Never: what went wrong is told here.
pub async fn run(args: Args) -> Result<ExitCode> {
    let passed = match carry_out(&args).await {
        Ok(summary) => {
            // Whether anybody reads it or not, the exit code tells.
            let _ = if args.json { summary.print_json() } else { summary.print() };
            summary.passed
        }
        Err(error) => {
            let why = format!("{error:#}");
            let _ = match args.json {
                true => writeln!(std::io::stdout(), "{}", json!({"passed": false, "error": why})),
                false => writeln!(std::io::stderr(), "The demo was not carried out: {why}"),
            };
            false
        }
    };
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn carry_out(args: &Args) -> Result<Summary> {
    let mut directory = tempfile::Builder::new().prefix("coordinator-demo-").tempdir()?;
    directory.disable_cleanup(args.keep);
    let main = git::create(&directory.path().join("main")).await?;
    let mut display = Display::open(args.json);
    // The display before the agents, so that a terminal is given back whatever becomes of them.
    let mut demo = Demo::prepare(&main, directory.path(), &NAMES[..usize::from(args.agents)]).await?;
    let outcome = demo.play(&mut display, &main).await;
    let elapsed = demo.story().started.elapsed();
    display.close();
    if args.keep && outcome.is_err() {
        let _ = writeln!(std::io::stderr(), "The repository is kept: {}", main.path.display());
    }
    let kept = args.keep.then(|| main.path.clone());
    Ok(Summary::of(demo.story(), outcome?, elapsed, kept))
}
