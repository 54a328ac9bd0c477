//! Whether git keeps somebody from committing what another agent has locked: it is tried, in a work tree made for it.

use std::path::Path;
use std::process::Stdio;

use coordinator::Coordinator;
use coordinator::operation::Door;
use coordinator::registry;
use model::id::{AgentId, Caller};
use serde_json::{Value, json};
use setup::Disk;
use tokio::process::Command;
use tokio::time::timeout;

use super::{Finding, PATIENCE};
use crate::exit::Exit;
use crate::init::ground::hooks_directory;

const CHECK: &str = "git guard";
/// Who holds the lock, and who is to be kept out.
const HOLDER: &str = "coordinator-doctor-holder";
const OTHER: &str = "coordinator-doctor";
const MENDED_BY: &str = "coordinator init";

/// Locks a file as one agent and commits it as another. The user's own work tree, index and branches are not touched.
pub async fn check(coordinator: &Coordinator, worktree: &Path) -> Finding {
    let hooks = hooks_directory(worktree).unwrap_or_else(|| worktree.join(".git/hooks"));
    let hook = setup::git_hooks::scripts(&Disk, &hooks).join("pre-commit");
    let hook_text = std::fs::read_to_string(hook).unwrap_or_default();
    if !hook_text.contains("git-guard") {
        return Finding::ok(CHECK, "none is set up; `coordinator init` does it");
    }
    let file = format!("coordinator-doctor-{}", std::process::id());
    let scratch = match tempfile::tempdir() {
        Ok(scratch) => scratch,
        Err(error) => {
            return Finding::warn(CHECK, format!("cannot be tried: {error}"), "make room for temporary files");
        }
    };
    let place = scratch.path().join("work-tree");
    let said = match lock(coordinator, "acquire_lock", &file).await {
        Ok(()) => timeout(PATIENCE * 4, commit(worktree, &place, &hooks, &file)).await,
        Err(why) => Ok(Err(why)),
    };
    let _ = lock(coordinator, "release_lock", &file).await;
    // Git forgets it by itself, should this fail.
    let place = place.to_string_lossy();
    let _ = git(worktree).args(["worktree", "remove", "--force", &place]).output().await;
    match said {
        Ok(Ok(Tried::Refused)) => Finding::ok(CHECK, "a commit of a file that another agent has locked is refused"),
        Ok(Ok(Tried::Committed)) => Finding::fail(
            CHECK,
            Exit::Refused,
            "a commit of a file that another agent has locked goes through",
            MENDED_BY,
        ),
        Ok(Ok(Tried::RefusedByOthers(said))) => {
            let todo = "see to that hook; it runs beside ours";
            Finding::warn(CHECK, format!("another hook refused the commit, so ours was not seen: {said}"), todo)
        }
        Ok(Err(why)) => Finding::warn(CHECK, format!("cannot be tried: {why}"), "see what git says"),
        Err(_) => {
            let todo = "see whether one of the repository's hooks is slow";
            Finding::warn(CHECK, "a commit took too long to be tried", todo)
        }
    }
}

enum Tried {
    Refused,
    RefusedByOthers(String),
    Committed,
}

async fn commit(worktree: &Path, place: &Path, hooks: &Path, file: &str) -> Result<Tried, String> {
    let path = place.to_string_lossy();
    let has_commits = git(worktree).args(["rev-parse", "--verify", "--quiet", "HEAD"]).output().await;
    let has_commits = has_commits.is_ok_and(|output| output.status.success());
    let add: &[&str] = if has_commits { &["--detach", "--no-checkout"] } else { &["--orphan", "-b", file] };
    success(git(worktree).args(["worktree", "add", "--quiet"]).args(add).arg(&*path)).await?;
    if has_commits {
        success(git(place).args(["read-tree", "HEAD"])).await?;
    }
    std::fs::write(place.join(file), "").map_err(|error| error.to_string())?;
    success(git(place).args(["add", "--force", "--", file])).await?;
    // One that is relative would lead into the new work tree, where nothing is.
    let hooks = format!("core.hooksPath={}", hooks.display());
    let mut command = git(place);
    command.args(["-c", &hooks, "-c", "user.name=coordinator doctor", "-c", "user.email=doctor@localhost"]);
    command.args(["commit", "--quiet", "--no-gpg-sign", "-m", "a commit to be refused"]).env("AGENT_ID", OTHER);
    let output = command.output().await.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(match output.status.success() {
        true => Tried::Committed,
        false if said.contains(HOLDER) => Tried::Refused,
        false => Tried::RefusedByOthers(said.lines().last().unwrap_or_default().to_owned()),
    })
}

fn git(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(directory).stdin(Stdio::null()).kill_on_drop(true);
    // Who runs us from a hook must not lend us their index.
    for variable in ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"] {
        command.env_remove(variable);
    }
    command
}

async fn success(command: &mut Command) -> Result<(), String> {
    let output = command.output().await.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(said.trim().to_owned()) }
}

async fn lock(coordinator: &Coordinator, operation: &str, file: &str) -> Result<(), String> {
    let entry = registry::find(operation).ok_or("there are no locks")?;
    let agent_id = AgentId::new(HOLDER).map_err(|error| error.to_string())?;
    let caller = Caller { agent_id, agent_type: "human".into(), session_id: None };
    let mut arguments = json!({"file_path": file});
    if operation == "acquire_lock" {
        arguments["ttl_minutes"] = 1.into();
        arguments["reason"] = "the doctor tries whether git heeds locks".into();
    }
    let project = coordinator.default_project();
    let answer: Value =
        coordinator.call(entry, project, &caller, Door::Cli, arguments).await.map_err(|failure| failure.message())?;
    if answer["success"] == true { Ok(()) } else { Err(answer.to_string()) }
}
