//! `coordinator git-guard` and `git-hooks`: the last door, for what no agent's hook saw.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use coordinator::settings::Settings;
use hooks::desk::{Desk, Trouble as Away};
use hooks::git::guard::{caller, commit_msg, pre_commit, pre_push, pre_receive};
use setup::git_hooks::{self, State};
use setup::{Disk, apply};

use crate::arguments::Globals;
use crate::connect::Program;
use crate::desk::block_on;
use crate::exit::{Exit, Trouble};
use crate::init::ground::hooks_directory;
use crate::{output, radar};

/// How long a commit waits for the coordinator.
const PATIENCE: Duration = Duration::from_secs(3);

/// What git asks.
#[derive(Debug, clap::Args)]
pub struct GitGuard {
    /// In which hook
    hook: GitHook,
    /// What git says to the hook
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// The hooks that we have something to say in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GitHook {
    /// May this be committed?
    PreCommit,
    /// Shows in the commit's message under which locks it was made
    CommitMsg,
    /// Looks, in the background, whether what was committed merges with others' branches
    PostCommit,
    /// May this be pushed?
    PrePush,
    /// May this be received?
    PreReceive,
}

/// Decides. Where the coordinator is away git goes on, unless the project is strict.
pub fn guard(globals: &Globals, guard: &GitGuard) -> anyhow::Result<Exit> {
    let settings = globals.settings()?;
    let look = || {
        // A team's server looks for itself.
        let is_ours = settings.radar_interval.is_some() && settings.api_url.is_none();
        if let Some(worktree) = settings.worktree.as_deref().filter(|_| is_ours) {
            radar::in_background(globals, worktree);
        }
    };
    if guard.hook == GitHook::PostCommit {
        look();
        return Ok(Exit::Done);
    }
    let mut input = String::new();
    if matches!(guard.hook, GitHook::PrePush | GitHook::PreReceive) {
        io::stdin().read_to_string(&mut input)?;
    }
    let is_strict = settings.strict;
    let decided = block_on(async {
        let decide = decide(settings.clone(), guard, &input);
        Ok(tokio::time::timeout(PATIENCE, decide)
            .await
            .unwrap_or_else(|_| Err(Away::Away(format!("no answer within {} s", PATIENCE.as_secs())))))
    })?;
    if guard.hook == GitHook::PrePush {
        look();
    }
    match decided {
        Ok(None) => Ok(Exit::Done),
        Ok(Some(refusal)) => {
            output::tell(&refusal);
            Ok(Exit::Refused)
        }
        Err(trouble) => {
            let consequence =
                if is_strict { "this project is strict, so git stops here" } else { "git goes on unguarded" };
            output::tell(format!("coordinator: locks cannot be looked at ({}); {consequence}", trouble.message()));
            Ok(if is_strict { Exit::Unreachable } else { Exit::Done })
        }
    }
}

async fn decide(settings: Settings, guard: &GitGuard, input: &str) -> Result<Option<String>, Away> {
    let env = |name: &str| std::env::var(name).ok();
    let here = std::env::current_dir().map_err(|error| Away::Away(error.to_string()))?;
    let worktree = settings.worktree.clone().unwrap_or_else(|| here.clone());
    let who = caller(&settings, &env).ok_or_else(|| Away::Away("it is not known who commits".into()))?;
    let desk = Desk::open(&settings, who).await?;
    let first = guard.arguments.first().map(String::as_str).unwrap_or_default();
    match guard.hook {
        GitHook::PostCommit => Ok(None),
        GitHook::PreCommit => pre_commit(&desk, &worktree).await,
        GitHook::CommitMsg => {
            let message = here.join(first);
            commit_msg(&desk, &worktree, &message.to_string_lossy()).await.map(|()| None)
        }
        GitHook::PrePush => pre_push(&desk, &worktree, first, input).await,
        GitHook::PreReceive => pre_receive(&desk, &here, input).await,
    }
}

/// What to do with git's hooks.
#[derive(Debug, Subcommand)]
pub enum GitHooks {
    /// Add ours to what is there
    Install(Where),
    /// Take ours out again
    Uninstall(Where),
    /// Say whether git calls us
    Check(Where),
}

/// Where.
#[derive(Debug, clap::Args)]
pub struct Where {
    /// In a repository that others push to: looks at what is received, instead of at what is committed and pushed
    #[arg(long)]
    server: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Does it.
pub fn hooks(globals: &Globals, hooks: &GitHooks) -> anyhow::Result<Exit> {
    let (GitHooks::Install(at) | GitHooks::Uninstall(at) | GitHooks::Check(at)) = hooks;
    let here = std::env::current_dir()?;
    let directory = hooks_directory(&here).ok_or_else(|| Trouble::usage("this is no git repository"))?;
    let names = if at.server { git_hooks::SERVER } else { git_hooks::LOCAL };
    let program = Program::new(globals.to_find_the_same()).shell(&[]);
    let plan = match hooks {
        GitHooks::Install(_) => git_hooks::install(&Disk, &directory, &program, names),
        GitHooks::Uninstall(_) => git_hooks::uninstall(&Disk, &directory, names),
        GitHooks::Check(_) => {
            let states = git_hooks::check(&Disk, &directory, &program, names);
            for (name, state) in &states {
                let state = match state {
                    State::Installed => "installed",
                    State::Outdated => "calls another coordinator: `coordinator git-hooks install` mends it",
                    State::Missing => "missing: `coordinator git-hooks install` adds it",
                };
                output::print(format!("{name}: {state}"))?;
            }
            let is_good = states.iter().all(|(_, state)| *state == State::Installed);
            return Ok(if is_good { Exit::Done } else { Exit::Refused });
        }
    };
    let in_the_way = |path: &Path, why: &str| {
        Trouble::new(Exit::Refused, "git_hook_in_the_way", format!("{}: {why}", path.display()))
    };
    if let Some(problem) = plan.problems.first() {
        return Err(in_the_way(&problem.path, &problem.message).into());
    }
    let edits = plan.edits;
    if edits.is_empty() {
        output::print("There is nothing to change.")?;
    }
    for edit in &edits {
        let what = match (&edit.before, &edit.after) {
            (None, _) => "makes",
            (Some(_), Some(_)) => "changes",
            (Some(_), None) => "removes",
        };
        output::print(format!("{what} {}", edit.path.display()))?;
        if !at.dry_run {
            apply::write(edit).map_err(|why| in_the_way(&edit.path, &why))?;
        }
    }
    Ok(Exit::Done)
}
