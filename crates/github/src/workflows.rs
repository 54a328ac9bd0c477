//! Workflows of GitHub Actions: started, looked for, looked at, stopped.

use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::client::{Client, Question, encoded};
use crate::error::Result;
use crate::issues::PAGE_SIZE;

/// The event of a run that was dispatched.
const DISPATCHED: &str = "workflow_dispatch";

/// Which run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub u64);

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// It has ended, and [`Run::conclusion`] tells how.
    Completed,
    /// It runs.
    InProgress,
    /// It is to run: `queued`, `requested`, `waiting`, `pending`.
    #[serde(other)]
    Queued,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// All is well.
    Success,
    /// Something is not.
    Failure,
    /// Somebody stopped it.
    Cancelled,
    /// It took too long.
    TimedOut,
    /// Anything else, which is no success: `neutral`, `skipped`, `stale`, `action_required`, `startup_failure`.
    #[serde(other)]
    Other,
}

/// A run of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Run {
    /// Which.
    pub id: RunId,
    /// How far it is.
    pub status: RunStatus,
    /// How it ended.
    #[serde(default)]
    pub conclusion: Option<Conclusion>,
    /// What it is called: its workflow's `run-name`, in which an input of ours can be.
    #[serde(default)]
    pub display_title: String,
    /// The commit it runs on.
    pub head_sha: String,
    /// The branch it runs on.
    #[serde(default)]
    pub head_branch: Option<String>,
    /// What started it: `workflow_dispatch`, `push`.
    pub event: String,
    /// The workflow's file: `.github/workflows/ci.yml`, where GitHub tells.
    #[serde(default)]
    pub path: String,
    /// Where it is to be seen.
    pub html_url: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Run {
    /// Was this workflow dispatched on this branch, for this commit?
    pub fn is_of(&self, workflow: &str, branch: &str, commit: &str) -> bool {
        // A reusable workflow has `@` and a ref behind it.
        let path = self.path.split('@').next().unwrap_or_default();
        let is_it = path.rsplit('/').next() == Some(workflow);
        is_it && self.event == DISPATCHED && self.head_branch.as_deref() == Some(branch) && self.head_sha == commit
    }
}

#[derive(Deserialize)]
struct Runs {
    workflow_runs: Vec<Run>,
}

impl Client {
    /// Starts a workflow that has the trigger `workflow_dispatch`, by the name of its file or its id, on a branch or tag.
    /// GitHub does not tell which run it becomes: look for it with [`Self::dispatched_runs`], by the branch,
    /// where that is dispatched on once.
    ///
    /// # Errors
    /// [`Error`](crate::Error): it may have been started all the same where nobody answered.
    pub async fn dispatch_workflow(
        &self,
        workflow: &str,
        on: &str,
        inputs: &std::collections::BTreeMap<String, String>,
    ) -> Result<()> {
        let path = self.path(&format!("/actions/workflows/{}/dispatches", encoded(workflow)));
        let body = json!({"ref": on, "inputs": inputs});
        self.done(Question {
            method: Method::POST,
            body: Some(&body),
            ..Question::get("start a workflow (actions: write)", path)
        })
        .await
    }

    /// The runs of a workflow that were dispatched on this branch for this commit, newest first.
    ///
    /// # Errors
    /// [`Error`](crate::Error)
    pub async fn dispatched_runs(&self, workflow: &str, branch: &str, commit: &str) -> Result<Vec<Run>> {
        let path = self.path(&format!(
            "/actions/workflows/{}/runs?event={DISPATCHED}&branch={}&head_sha={}&per_page={PAGE_SIZE}",
            encoded(workflow),
            encoded(branch),
            encoded(commit)
        ));
        let mut runs: Runs = self.one(Question::get("list a workflow's runs (actions: read)", path)).await?;
        // What is asked for is not taken on trust.
        runs.workflow_runs.retain(|run| run.is_of(workflow, branch, commit));
        Ok(runs.workflow_runs)
    }

    /// One run.
    ///
    /// # Errors
    /// [`Error`](crate::Error)
    pub async fn workflow_run(&self, run: RunId) -> Result<Run> {
        let path = self.path(&format!("/actions/runs/{}", run.0));
        self.one(Question::get("read a workflow's run (actions: read)", path)).await
    }

    /// Stops a run.
    ///
    /// # Errors
    /// [`Error`](crate::Error)
    pub async fn cancel_workflow_run(&self, run: RunId) -> Result<()> {
        let path = self.path(&format!("/actions/runs/{}/cancel", run.0));
        self.done(Question { method: Method::POST, ..Question::get("stop a workflow's run (actions: write)", path) })
            .await
    }
}
