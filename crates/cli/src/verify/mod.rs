//! `coordinator verify`: has a commit verified by the project's policies, and shows what was.

mod actions;
pub mod runner;
mod show;

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use verification::inline::Stop;

use crate::desk::Desk;
use crate::exit::{Exit, Trouble};
use crate::fields::{items, some, text};
use crate::output;
use runner::{LEASE_SECONDS, Ran, Runner};

/// How long to wait before a runner looks again.
const WATCH: Duration = Duration::from_secs(1);
/// How long one question waits for an end.
const WAIT_SECONDS: u32 = 5;

/// What to verify, or what to show.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Verify {
    #[command(subcommand)]
    view: Option<View>,
    #[command(flatten)]
    run: Run,
}

/// What to verify.
#[derive(Debug, clap::Args)]
struct Run {
    /// A branch or commit; default what is checked out here
    #[arg(value_name = "BRANCH|COMMIT")]
    revision: Option<String>,
    /// Only this policy, whatever the commit changes; may be repeated
    #[arg(long, value_name = "NAME")]
    policy: Vec<String>,
    /// Wait also for people, and for programs that accepted
    #[arg(long)]
    wait: bool,
    /// Be a runner: verify what others submit, until Ctrl-C
    #[arg(long, conflicts_with_all = ["revision", "policy", "wait"])]
    watch: bool,
    /// How long a run is ours without a sign of life: if this is killed, another runner has it then
    #[arg(long, value_name = "SECONDS", default_value_t = LEASE_SECONDS, value_parser = clap::value_parser!(u32).range(5..=3600))]
    lease: u32,
}

#[derive(Debug, Subcommand)]
enum View {
    /// Show what was verified of a changeset, tier by tier
    Status {
        /// Its id
        id: String,
    },
    /// List changesets, newest first
    List {
        /// queued, running, passed or failed
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// Only this agent's work
        #[arg(long, value_name = "ID")]
        agent: Option<String>,
        /// At most this many
        #[arg(long, value_name = "NUMBER", default_value_t = 20)]
        limit: u32,
    },
    /// List what must pass for which changes: the policies of coordinator.toml and of the project
    Policies,
    /// Show how verification fares, by agent and by tier
    Metrics,
}

/// Does it.
pub async fn run(desk: &Desk, verify: Verify) -> anyhow::Result<Exit> {
    match verify.view {
        Some(View::Status { id }) => {
            let answer = desk.ask("get_changeset", json!({"changeset_id": id})).await?;
            desk.answer(&answer, |answer| match &answer["changeset"] {
                Value::Null => Ok(output::print(output::printable(text(answer, "message")))?),
                changeset => show::changeset(changeset),
            })
        }
        Some(View::List { state, agent, limit }) => {
            let request = json!({"state": state, "agent_id": agent, "limit": limit});
            let answer = desk.ask("list_changesets", request).await?;
            desk.answer(&answer, show::changesets)
        }
        Some(View::Policies) => {
            let answer = desk.ask("list_verification_policies", json!({})).await?;
            desk.answer(&answer, show::policies)
        }
        Some(View::Metrics) => {
            let answer = desk.ask("verification_metrics", json!({})).await?;
            desk.answer(&answer, show::metrics)
        }
        None => {
            let worktree = ground(desk).await?;
            let (desk, handle) = (desk.clone(), Handle::current());
            // Git and commands are waited for, which would hold up the coordinator here.
            tokio::task::spawn_blocking(move || {
                let runner = Runner::open(desk.clone(), handle, &worktree, verify.run.lease)?;
                if verify.run.watch { watch(&desk, &runner) } else { one(&desk, &runner, &verify.run) }
            })
            .await?
        }
    }
}

/// The repository, where there are policies at all.
async fn ground(desk: &Desk) -> Result<PathBuf, Trouble> {
    let settings = desk.coordinator.settings();
    let refused = |code, message: &str| Trouble::new(Exit::Refused, code, message);
    if desk.coordinator.verification_policies(desk.coordinator.default_project()).await?.all().is_empty() {
        let message = "nothing would be verified: say in coordinator.toml what must pass, as [[verification]] with name, \
                       globs, tier and command, or have an admin put a policy (docs/verification.md)";
        return Err(refused("nothing_verifies", message));
    }
    settings.worktree.clone().ok_or_else(|| refused("no_repository", "this is no git repository"))
}

/// Verifies one commit, as far as that can be done here.
fn one(desk: &Desk, runner: &Runner, run: &Run) -> anyhow::Result<Exit> {
    let head = || runner.git.resolve("HEAD").map_err(runner::git_failed);
    let revision = match &run.revision {
        Some(revision) => revision.clone(),
        None => head()?.map(|id| id.to_string()).unwrap_or_default(),
    };
    let Some(found) = runner.find(&revision)? else {
        let message = format!("there is no branch {revision:?} here or at origin, nor a commit with this full id");
        return Err(Trouble::new(Exit::Refused, "no_such_revision", message).into());
    };
    let policies = runner.policies()?;
    if let Some(unknown) = run.policy.iter().find(|name| policies.named(name).is_none()) {
        let known: Vec<&str> = policies.all().iter().map(|policy| policy.name.as_str()).collect();
        return Err(Trouble::usage(format!("there is no policy {unknown}: there are {}", known.join(", "))).into());
    }
    let only = (!run.policy.is_empty()).then_some(run.policy.as_slice());
    let request = json!({"revision": revision, "trigger": "cli", "policies": only});
    let id = text(&runner.ask("submit_changeset", request)?, "changeset_id").to_owned();
    runner.plan(&id, &found, only)?;
    let quiet = &mut |_: Ran| {};
    runner.work(Some(&id), &Stop::default(), quiet)?;
    let mut changeset = runner.changeset(&id, 0)?;
    while run.wait && is_open(&changeset) {
        runner.follow(quiet)?;
        runner.work(Some(&id), &Stop::default(), quiet)?;
        changeset = runner.changeset(&id, runner.pause(WAIT_SECONDS))?;
    }
    runner.tidy();
    if desk.json {
        output::json(&changeset)?;
    } else {
        show::changeset(&changeset)?;
        if is_open(&changeset) {
            if let Some(why) = runner.cannot_start(&changeset) {
                output::print(why)?;
            }
            output::print(format!("It waits; coordinator verify status {id} tells how it goes on."))?;
        }
    }
    Ok(if text(&changeset, "state") == "passed" { Exit::Done } else { Exit::Refused })
}

/// Verifies what others submit.
fn watch(desk: &Desk, runner: &Runner) -> anyhow::Result<Exit> {
    runner.git.remove_left_worktrees().map_err(runner::git_failed)?;
    let tell = &mut |ran: Ran| {
        let said = if desk.json {
            json!({"policy": ran.policy, "revision": ran.revision, "state": ran.state}).to_string()
        } else {
            output::printable(&format!("{} of {}: {}", ran.policy, ran.revision, ran.state))
        };
        // Nobody may be listening any more, which is no reason to stop.
        let _ = output::print(said);
    };
    loop {
        runner.plan_queued()?;
        runner.follow(tell)?;
        runner.tidy_sometimes();
        if runner.work(None, &Stop::default(), tell)? == 0 {
            std::thread::sleep(WATCH);
        }
    }
}

/// Can anything still come of it?
pub fn is_open(changeset: &Value) -> bool {
    matches!(text(changeset, "state"), "queued" | "running")
}

/// Why a changeset failed, for whoever has to mend it.
pub fn evidence(changeset: &Value) -> String {
    let bad = |run: &&Value| matches!(text(run, "state"), "failed" | "errored" | "timed_out");
    let runs = items(changeset, "runs");
    // Stopped before there was a result, or because another failed.
    let stopped = || runs.iter().find(|run| text(run, "state") == "cancelled" && some(run, "evidence").is_some());
    match runs.iter().find(bad).or_else(stopped) {
        Some(run) => format!("{}: {}", text(run, "policy"), text(run, "evidence")),
        None => text(changeset, "note").to_owned(),
    }
}
