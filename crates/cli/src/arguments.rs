//! The command line: every command, what holds for all of them, and which function runs it.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::desk::{at_desk, block_on};
use crate::exit::Exit;
use crate::{
    agents, approvals, audit, bridge, call, demo, doctor, features, git, github, guard, handoffs, hook, init, keys,
    locks, mcp, memory, merge, messages, migrate, network, output, policy, ports, profile, proxy, radar, run, serve,
    status, team, verify, watch, work,
};

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   refused or not to be had: a lock is taken, no task is ready, nothing is found, a port is in use
  2   the command line, its input or the settings are wrong
  3   the database or the server cannot be reached
  70  a defect of the coordinator

You act as AGENT_ID (default: your user name) of type AGENT_TYPE (default: human).
Settings come from flags, then the environment, then coordinator.toml at the top of the work tree.
`coordinator doctor` checks the set-up.";

/// Where `--help` lists what holds for every command, so that a command's own options stand together.
const EVERYWHERE: &str = "Options of every command";

/// Lets several coding agents work on one codebase: locks, a work queue, and a record of it all.
#[derive(Debug, Parser)]
#[command(name = "coordinator", version, after_help = EXIT_CODES, propagate_version = true)]
pub struct Arguments {
    /// What holds for every command.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Debug, Clone, clap::Args)]
pub struct Globals {
    /// Print the answer as JSON and nothing else
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
    /// SQLite file or postgres:// address, instead of the repository's own database
    #[arg(long, global = true, value_name = "DATABASE", help_heading = EVERYWHERE)]
    pub db: Option<String>,
    /// Project, instead of the repository's
    #[arg(long, global = true, value_name = "NAME", help_heading = EVERYWHERE)]
    pub project: Option<String>,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set up your agents, so that they cannot get into each other's way; --undo takes it back
    Init(init::Init),
    /// Show on one screen who is here, what is locked, what is queued and what was refused
    Status,
    /// Lock what you are about to edit
    Lock(locks::Lock),
    /// Give locks back
    Unlock(locks::Unlock),
    /// List locks
    Locks(locks::List),
    /// Submit, list, claim and end tasks
    #[command(subcommand)]
    Work(work::Work),
    /// Remember, recall, and list what works
    #[command(subcommand)]
    Memory(memory::Memory),
    /// List the agents that are here
    Agents(agents::Agents),
    /// Leave a handoff, or read the last one
    #[command(subcommand)]
    Handoff(handoffs::Handoff),
    /// Tell other agents something, and read what they told you
    #[command(subcommand)]
    Message(messages::Message),
    /// Say what is being built and what it will change, and see what meets
    #[command(subcommand)]
    Feature(features::Feature),
    /// Queue finished features, and see what stands in the way of merging them
    #[command(subcommand)]
    Merge(merge::Merge),
    /// Have a commit verified by the project's policies, be a runner, or see what was verified
    Verify(verify::Verify),
    /// Show which branches and uncommitted work would not merge with each other, and tell their agents
    Radar(radar::Radar),
    /// Follow issues, pull requests and branches on GitHub, where agents can reach nothing else
    #[command(subcommand)]
    Github(github::Github),
    /// Get ports of your own for the services you start
    #[command(subcommand)]
    Ports(ports::Ports),
    /// Check the file that names the team's agents
    #[command(subcommand)]
    Team(team::Team),
    /// Read the record of what was done and refused, newest first; verify, sign, prove, export it
    Audit(audit::Audit),
    /// Print what happens, as it happens
    Watch(watch::Watch),
    /// Serve one agent over standard input and output (MCP); agents start this themselves
    Mcp(mcp::Mcp),
    /// Serve agents over HTTP
    Serve(serve::Serve),
    /// Make, list and revoke the keys that open the HTTP server
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Show and change how far agents are trusted, and how much they may do
    #[command(subcommand)]
    Profile(profile::Profile),
    /// Ask, show and change what is permitted
    #[command(subcommand)]
    Policy(policy::Policy),
    /// See what agents were refused and a person may allow, and decide
    #[command(subcommand)]
    Approvals(approvals::Approvals),
    /// Say whether a command may run: what it would destroy, send or give away
    Guard(guard::Check),
    /// Answer an event of a coding agent; its hooks call this
    Hook(hook::Hook),
    /// Decide what git asks in a hook; git calls this
    GitGuard(git::GitGuard),
    /// Make git ask before it commits or pushes what others have locked, or make it stop
    #[command(subcommand)]
    GitHooks(git::GitHooks),
    /// Say which hosts may be reached, and change that
    #[command(subcommand)]
    Network(network::Network),
    /// Be the way out to the network for programs that ask for it, by those rules
    Proxy(proxy::Proxy),
    /// Run a program that can reach nothing but that proxy (Linux)
    Run(run::Run),
    /// The same program, from within
    #[command(name = run::INSIDE, hide = true)]
    RunInside(run::Inside),
    /// Run any operation by its name, with JSON in and JSON out
    Call(call::Call),
    /// Ask a coordinator over HTTP, as cloud agents and skills do: JSON whatever happens
    Bridge(bridge::Bridge),
    /// Check the set-up, and say what to do about what is wrong
    Doctor(doctor::Doctor),
    /// Bring the database's schema up to date; everything but PostgREST does so by itself when it opens one
    Migrate(migrate::Migrate),
    Demo(demo::Args),
    /// One agent of the demo
    #[command(name = demo::agent::SUBCOMMAND, hide = true)]
    DemoAgent(demo::agent::Args),
    /// Print the OpenAPI document of the HTTP server
    Openapi,
    /// Print a completion script for a shell
    Completions {
        /// Which
        shell: Shell,
    },
}

impl Command {
    /// Runs it.
    pub fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let exit = match self {
            Self::Init(init) => init::run(globals, &init),
            Self::Status => at_desk(globals, status::show),
            Self::Lock(lock) => at_desk(globals, async |desk| locks::lock(desk, lock).await),
            Self::Unlock(unlock) => at_desk(globals, async |desk| locks::unlock(desk, unlock).await),
            Self::Locks(list) => at_desk(globals, async |desk| locks::list(desk, list).await),
            Self::Work(work) => at_desk(globals, async |desk| work::run(desk, work).await),
            Self::Memory(memory) => at_desk(globals, async |desk| memory::run(desk, memory).await),
            Self::Agents(agents) => at_desk(globals, async |desk| agents::list(desk, agents).await),
            Self::Handoff(handoff) => at_desk(globals, async |desk| handoffs::run(desk, handoff).await),
            Self::Message(message) => at_desk(globals, async |desk| messages::run(desk, message).await),
            Self::Feature(feature) => at_desk(globals, async |desk| features::run(desk, feature).await),
            Self::Merge(merge) => at_desk(globals, async |desk| merge::run(desk, merge).await),
            Self::Verify(verify) => at_desk(globals, async |desk| verify::run(desk, verify).await),
            Self::Radar(radar) => at_desk(globals, async |desk| radar::run(desk, radar).await),
            Self::Github(github) => at_desk(globals, async |desk| github::run(desk, github).await),
            Self::Ports(ports) => at_desk(globals, async |desk| ports::run(desk, ports).await),
            Self::Team(team) => team::run(globals, team),
            Self::Audit(audit) => audit::run(globals, audit),
            Self::Watch(watch) => at_desk(globals, async |desk| watch::run(desk, watch).await),
            Self::Keys(keys) => at_desk(globals, async |desk| keys::run(desk, keys).await),
            Self::Profile(profile) => at_desk(globals, async |desk| profile::run(desk, profile).await),
            Self::Policy(policy) => at_desk(globals, async |desk| policy::run(desk, policy).await),
            Self::Approvals(approvals) => at_desk(globals, async |desk| approvals::run(desk, approvals).await),
            Self::Guard(check) => guard::run(globals, check),
            Self::Hook(hook) => hook::run(globals, &hook),
            Self::GitGuard(guard) => git::guard(globals, &guard),
            Self::GitHooks(hooks) => git::hooks(globals, &hooks),
            Self::Network(network) => network::run(globals, network),
            Self::Proxy(proxy) => proxy::run(globals, proxy),
            Self::Run(program) => return run::run(globals, program),
            Self::RunInside(inside) => return run::inside(inside),
            Self::Call(call) => call::run(globals, call),
            Self::Bridge(bridge) => bridge::run(globals, bridge),
            Self::Mcp(mcp) => mcp::run(globals, mcp),
            Self::Serve(serve) => serve::run(globals, serve),
            Self::Doctor(doctor) => block_on(doctor::run(globals, &doctor)),
            Self::Migrate(migrate) => migrate::run(globals, migrate),
            Self::Demo(demo) => return block_on(demo::run(demo)),
            Self::DemoAgent(agent) => return block_on(demo::agent::run(agent)),
            Self::Openapi => openapi(),
            Self::Completions { shell } => completions(shell),
        };
        exit.map(ExitCode::from)
    }
}

fn openapi() -> anyhow::Result<Exit> {
    output::json(&http_api::openapi())?;
    Ok(Exit::Done)
}

fn completions(shell: Shell) -> anyhow::Result<Exit> {
    let mut script = vec![];
    clap_complete::generate(shell, &mut Arguments::command(), "coordinator", &mut script);
    output::print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
