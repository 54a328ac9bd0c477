//! One agent of the demo: a process of its own that works as a coding agent would, but for a model.
//!
//! It claims a task, locks the modules it is to edit, edits; locks the files that everyone edits as late as it can, takes
//! over what others did to them, edits, commits; merges under the lock for main; releases, completes. A lock is kept
//! until the work done under it is on main, so that whoever gets it next begins with that work: no merge ever conflicts.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::time::sleep;

use super::client::{Client, SessionLost, tell};
use super::git::{TASK_TRAILER, WorkTree};
use super::project::{Edit, Work};
use super::report::Report;

/// The hidden subcommand that runs an agent.
pub const SUBCOMMAND: &str = "demo-agent";
/// The lock under which main is merged into.
pub const MAIN_LOCK: &str = "env:main-branch";

/// How long it takes to write a line.
const LINE_TIME: Duration = Duration::from_millis(45);
/// How long it takes to write a line where one must look twice.
const SHARED_LINE_TIME: Duration = Duration::from_millis(180);
/// How long an agent without work waits until it asks again.
const IDLE_TIME: Duration = Duration::from_millis(300);
/// How long an agent that was dismissed may go on with what it is at.
const LAST_WORDS_TIME: Duration = Duration::from_secs(2);
/// How long an agent that is to be killed waits for it.
const FATE_TIME: Duration = Duration::from_secs(60);

/// Works on the demo's tasks in the current directory, a work tree, until standard input is closed
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The agent's name
    #[arg(long)]
    name: String,
    /// The work tree in which main is checked out
    #[arg(long)]
    main: PathBuf,
}

/// Works until it is told to stop.
///
/// # Errors
/// When git, the coordinator or the demo fails it.
pub async fn run(args: Args) -> Result<ExitCode> {
    let here = std::env::current_dir()?;
    let agent = Agent {
        client: Client::connect(&args.name).await?,
        here: WorkTree::new(here, &args.name),
        main: WorkTree::new(args.main, &args.name),
    };
    let mut dismissed = dismissal();
    let ending = {
        let mut dismissed = dismissed.clone();
        async move {
            // It ends when the sender says so, or is gone.
            let _ = dismissed.wait_for(|dismissed| *dismissed).await;
            sleep(LAST_WORDS_TIME).await;
        }
    };
    tokio::select! {
        done = agent.work(&mut dismissed) => done?,
        () = ending => {}
    }
    agent.client.close().await?;
    Ok(ExitCode::SUCCESS)
}

/// Becomes true when standard input ends: the demo is over, or dead.
fn dismissal() -> watch::Receiver<bool> {
    let (dismiss, dismissed) = watch::channel(false);
    tokio::spawn(async move {
        let mut rest = Vec::new();
        let _ = tokio::io::stdin().read_to_end(&mut rest).await;
        dismiss.send_replace(true);
    });
    dismissed
}

struct Agent {
    client: Client,
    here: WorkTree,
    main: WorkTree,
}

/// A task that is ours until its lease lapses.
struct Task {
    id: String,
    attempt: u64,
    token: Value,
    work: Work,
}

impl Agent {
    /// Does one task after the other until dismissed.
    async fn work(&self, dismissed: &mut watch::Receiver<bool>) -> Result<()> {
        while !*dismissed.borrow() {
            match self.claim().await {
                Ok(Some(task)) => self.work_on(&task).await?,
                Ok(None) => {
                    tell(Report::Idle)?;
                    // Either way we ask again, or go.
                    let _ = tokio::time::timeout(IDLE_TIME, dismissed.changed()).await;
                }
                Err(error) if error.is::<SessionLost>() => self.register().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn claim(&self) -> Result<Option<Task>> {
        let answer = self.client.call("get_work", json!({})).await?;
        if answer["success"] != true {
            return Ok(None);
        }
        let task = Task {
            id: answer["task_id"].as_str().context("a task without an id")?.to_owned(),
            attempt: answer["attempt"].as_u64().unwrap_or(1),
            token: answer["fencing_token"].clone(),
            work: serde_json::from_value(answer["input_data"].clone())?,
        };
        tell(Report::Claimed { task: task.work.name.clone(), attempt: u32::try_from(task.attempt)? })?;
        Ok(Some(task))
    }

    /// Does the task. One that was lost with the session is left to others.
    async fn work_on(&self, task: &Task) -> Result<()> {
        match self.perform(task).await {
            Err(error) if error.is::<SessionLost>() => {
                self.abandon(&task.work).await?;
                tell(Report::Abandoned { task: task.work.name.clone() })?;
                self.register().await
            }
            done => done,
        }
    }

    /// Throws away what was done of a task, and its branch if there is one yet.
    async fn abandon(&self, work: &Work) -> Result<()> {
        self.here.git(&["checkout", "--quiet", "--force", "--detach", "main"]).await?;
        let branch = format!("refs/heads/{}", self.branch(work));
        self.here.git(&["update-ref", "-d", &branch]).await?;
        Ok(())
    }

    async fn register(&self) -> Result<()> {
        self.client.call("register_session", json!({})).await.map(drop)
    }

    async fn perform(&self, task: &Task) -> Result<()> {
        let work = &task.work;
        let (own, shared) = (paths(&work.edits), paths(&work.shared));
        let reason = format!("{}: {}", work.name, work.summary);

        self.client.lock(&own, &reason).await?;
        // Only now: whoever had these locks before us has merged.
        self.begin(work).await?;
        let merged = self.main.merges().await?.into_iter().find(|merge| merge.task_id == task.id);
        let commit = match merged {
            // By another, who died before it could say so.
            Some(merge) => {
                self.release(&own).await?;
                merge.commit
            }
            None => {
                for edit in &work.edits {
                    self.write(edit, LINE_TIME).await?;
                }
                self.client.lock(&shared, &reason).await?;
                self.here.git(&["merge", "--quiet", "--ff-only", "main"]).await?;
                if work.fatal && task.attempt == 1 {
                    return self.meet_fate(work).await;
                }
                for edit in &work.shared {
                    self.write(edit, SHARED_LINE_TIME).await?;
                }
                self.commit(task).await?;
                self.client.lock(&[MAIN_LOCK], &format!("merge {}", work.name)).await?;
                let commit = self.merge(task).await?;
                self.release(&[own.as_slice(), &shared, &[MAIN_LOCK]].concat()).await?;
                commit
            }
        };
        let done = json!({
            "task_id": task.id, "success": true, "fencing_token": task.token, "result": {"commit": commit},
        });
        let answer = self.client.call("complete_work", done).await?;
        if answer["success"] != true {
            bail!("{} was not completed: {answer}", work.name);
        }
        tell(Report::Completed { task: work.name.clone() })
    }

    /// A clean branch from main for the task.
    async fn begin(&self, work: &Work) -> Result<()> {
        self.here.begin_branch(&self.branch(work)).await
    }

    fn branch(&self, work: &Work) -> String {
        format!("{}/{}", self.here.author, work.name)
    }

    /// Appends the lines one by one.
    async fn write(&self, edit: &Edit, pace: Duration) -> Result<()> {
        let mut file = self.open(edit)?;
        let of = edit.lines.len();
        for (written, line) in edit.lines.iter().enumerate() {
            tell(Report::Edits { path: edit.path.clone(), written, of })?;
            sleep(pace).await;
            writeln!(file, "{line}")?;
        }
        tell(Report::Edited { path: edit.path.clone() })
    }

    fn open(&self, edit: &Edit) -> Result<std::fs::File> {
        let path = self.here.path.join(&edit.path);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        Ok(OpenOptions::new().create(true).append(true).open(path)?)
    }

    /// Stops in the middle of a line and waits to be killed: what is to be shown must not depend on a race.
    async fn meet_fate(&self, work: &Work) -> Result<()> {
        let edit = work.shared.first().context("a fatal task edits a shared file")?;
        let line = edit.lines.first().context("with a line")?;
        let mut file = self.open(edit)?;
        tell(Report::Edits { path: edit.path.clone(), written: 0, of: edit.lines.len() })?;
        sleep(SHARED_LINE_TIME).await;
        let half: String = line.chars().take(line.chars().count() / 2).collect();
        write!(file, "{half}")?;
        tell(Report::HalfWay { path: edit.path.clone() })?;
        sleep(FATE_TIME).await;
        bail!("nobody came to kill {}", self.here.author)
    }

    async fn commit(&self, task: &Task) -> Result<()> {
        let message = format!("Add {}: {}\n\n{TASK_TRAILER}{}", task.work.name, task.work.summary, task.id);
        self.here.git(&["add", "--all"]).await?;
        self.here.git(&["commit", "--quiet", "--message", &message]).await?;
        let commit = self.here.git(&["rev-parse", "HEAD"]).await?;
        tell(Report::Committed { commit })
    }

    /// Merges the task's branch. Others may have merged other files since the branch began, never these.
    async fn merge(&self, task: &Task) -> Result<String> {
        tell(Report::Merges)?;
        let message = format!("Merge {} by {}\n\n{TASK_TRAILER}{}", task.work.name, self.here.author, task.id);
        self.main.git(&["merge", "--quiet", "--no-ff", "--message", &message, &self.branch(&task.work)]).await?;
        let commit = self.main.git(&["rev-parse", "HEAD"]).await?;
        tell(Report::Merged { commit: commit.clone() })?;
        Ok(commit)
    }

    async fn release(&self, keys: &[&str]) -> Result<()> {
        let answer = self.client.call("release_lock", json!({"file_paths": keys})).await?;
        if answer["success"] != true {
            bail!("a lock was not ours any more: {answer}");
        }
        Ok(())
    }
}

fn paths(edits: &[Edit]) -> Vec<&str> {
    edits.iter().map(|edit| edit.path.as_str()).collect()
}
