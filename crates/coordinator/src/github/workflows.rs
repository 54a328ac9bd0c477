//! Workflows of GitHub Actions that verify for us: which of GitHub's runs is which of ours, and what came of it.
//!
//! A runner pushes the commit to a branch that is this run's alone and dispatches the workflow on it, so that GitHub's run is
//! known by its branch, whatever GitHub does not tell. That it has ended is heard by webhook or found by asking, whichever is
//! first: the store counts an answer once.

use github::workflows::{Conclusion, Run as Seen, RunStatus};
use github::{Client, Error};
use model::command::{Action, Outcome, Refusal};
use model::verification::{Changeset, ChangesetFilter, ChangesetState, Executor, ReportRun, Run, RunState, Verdict};
use serde_json::json;
use uuid::Uuid;

use super::records::Records;
use super::sync::Interrupted;
use crate::Coordinator;
use crate::failure::Failure;

/// What the branches begin with that commits are verified on.
pub const BRANCHES: &str = "coordinator/verify/";
/// How many changesets of a commit are looked through for a run.
const CHANGESETS_LIMIT: u32 = 200;

/// The branch of a run.
pub fn branch_of(run_id: Uuid) -> String {
    format!("{BRANCHES}{run_id}")
}

/// The run of a branch.
pub fn run_of_branch(branch: &str) -> Option<Uuid> {
    branch.strip_prefix(BRANCHES)?.parse().ok()
}

/// What a run is called that was handed to a workflow: `ci.yml@coordinator/verify/RUN`.
pub fn external_id(workflow: &str, run_id: Uuid) -> String {
    format!("{workflow}@{}", branch_of(run_id))
}

/// The workflow that a run was handed to.
pub fn workflow_of(external_id: &str) -> Option<&str> {
    external_id.split_once('@').map(|(workflow, _)| workflow).filter(|workflow| !workflow.is_empty())
}

/// A run that a workflow has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The policy.
    pub policy: String,
    /// What was verified.
    pub revision: String,
    /// How it ended.
    pub state: RunState,
}

impl Coordinator {
    /// Asks GitHub how the workflows stand that verify for us, and takes in what has ended. To repeat it does no harm.
    ///
    /// # Errors
    /// [`Interrupted`]; what has ended by then is taken in.
    pub async fn read_github_workflows(&self, client: &Client) -> Result<Vec<Ended>, Interrupted> {
        let records = Records { coordinator: self, project: self.default_project() };
        let mut ended = vec![];
        for (changeset, run) in records.handed_over().await? {
            let workflow = run.external_id.as_deref().and_then(workflow_of);
            let (Some(workflow), Some(commit)) = (workflow, changeset.commit.as_deref()) else { continue };
            let seen = match client.dispatched_runs(workflow, &branch_of(run.run_id), commit).await {
                Ok(seen) => seen,
                // Somebody took it away: the policy's time ends the run.
                Err(error) if error.is_missing() => continue,
                Err(error) => return Err(error.into()),
            };
            // Should it have been started twice, the first that ended counts, as with webhooks.
            let over = seen.iter().rev().find(|seen| seen.status == RunStatus::Completed);
            if let Some(seen) = over.or(seen.last()) {
                ended.extend(records.take_in_workflow(&changeset, &run, seen).await?);
            }
        }
        Ok(ended)
    }

    /// The run of ours that this branch of a remote is for, if it is known here.
    ///
    /// # Errors
    /// [`Failure`] when the database does not answer.
    pub async fn run_of_github_branch(&self, branch: &str, commit: &str) -> Result<Option<Run>, Failure> {
        let records = Records { coordinator: self, project: self.default_project() };
        Ok(records.run_on(branch, commit).await?.map(|(_, run)| run))
    }
}

impl Records<'_> {
    /// A workflow's run that has ended somewhere: nothing, if it is none of ours.
    pub(super) async fn workflow_ended(&self, seen: &Seen) -> Result<Option<Ended>, Failure> {
        let branch = seen.head_branch.as_deref().unwrap_or_default();
        match self.run_on(branch, &seen.head_sha).await? {
            Some((changeset, run)) => self.take_in_workflow(&changeset, &run, seen).await,
            None => Ok(None),
        }
    }

    async fn run_on(&self, branch: &str, commit: &str) -> Result<Option<(Changeset, Run)>, Failure> {
        let Some(run_id) = run_of_branch(branch) else { return Ok(None) };
        let filter =
            ChangesetFilter { commit: Some(commit.to_owned()), limit: CHANGESETS_LIMIT, ..ChangesetFilter::default() };
        let changesets = self.coordinator.store().changesets(self.project, &filter).await?;
        let mut runs = changesets.into_iter().filter_map(|changeset| {
            let run = changeset.runs.iter().find(|run| run.run_id == run_id).cloned()?;
            Some((changeset, run))
        });
        Ok(runs.next())
    }

    /// The runs that workflows have.
    async fn handed_over(&self) -> Result<Vec<(Changeset, Run)>, Failure> {
        let mut filter = ChangesetFilter {
            state: Some(ChangesetState::Running),
            limit: CHANGESETS_LIMIT,
            ..ChangesetFilter::default()
        };
        let mut handed = vec![];
        loop {
            let page = self.coordinator.store().changesets(self.project, &filter).await?;
            let is_last = page.len() < CHANGESETS_LIMIT as usize;
            filter.before = page.last().map(|changeset| changeset.seq);
            for changeset in page {
                let runs: Vec<Run> = changeset.runs.iter().filter(|run| is_handed_over(run)).cloned().collect();
                handed.extend(runs.into_iter().map(|run| (changeset.clone(), run)));
            }
            if is_last {
                return Ok(handed);
            }
        }
    }

    /// Takes in how a workflow's run stands, if it is the one that this run was handed to. Tells whether that has ended it.
    async fn take_in_workflow(&self, changeset: &Changeset, run: &Run, seen: &Seen) -> Result<Option<Ended>, Failure> {
        let workflow = run.external_id.as_deref().and_then(workflow_of).filter(|_| is_handed_over(run));
        let (Some(workflow), Some(commit), Some(token)) = (workflow, changeset.commit.as_deref(), run.token) else {
            return Ok(None);
        };
        if !seen.is_of(workflow, &branch_of(run.run_id), commit) {
            return Ok(None);
        }
        let verdict = match (seen.status, seen.conclusion) {
            (RunStatus::Completed, Some(Conclusion::Success)) => Verdict::Passed,
            (RunStatus::Completed, Some(Conclusion::Failure)) => Verdict::Failed,
            (RunStatus::Completed, Some(Conclusion::Cancelled)) => Verdict::Cancelled,
            (RunStatus::Completed, Some(Conclusion::TimedOut)) => Verdict::TimedOut,
            (RunStatus::Completed, Some(Conclusion::Other) | None) => Verdict::Errored,
            // It runs: whoever looks wants to know where.
            _ if run.log_url.is_none() => Verdict::Accepted,
            _ => return Ok(None),
        };
        let what = match verdict {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Cancelled => "was cancelled there",
            Verdict::TimedOut => "took too long there",
            Verdict::Errored => "ended without a result",
            Verdict::Accepted => "runs",
        };
        let report = ReportRun {
            run_id: run.run_id,
            token,
            verdict,
            evidence: Some(format!("{workflow} {what}: {}", seen.html_url)),
            log_url: Some(seen.html_url.clone()),
            external_id: None,
        };
        let parameters = json!({"run_id": run.run_id, "workflow": workflow, "github_run": seen.id});
        let coordinator = self.coordinator;
        let context = coordinator.admin(self.project, &coordinator.itself(), "report_verification", &parameters);
        match context.apply(Action::ReportRun(report)).await? {
            Outcome::RunMoved { state, .. } if verdict != Verdict::Accepted => {
                Ok(Some(Ended { policy: run.policy.clone(), revision: changeset.revision.clone(), state }))
            }
            Outcome::RunMoved { .. } => Ok(None),
            // Somebody was faster.
            Outcome::Refused(
                Refusal::RunNotRunning { .. } | Refusal::RunNotFound { .. } | Refusal::StaleFencingToken { .. },
            ) => Ok(None),
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// Does a workflow have it?
fn is_handed_over(run: &Run) -> bool {
    run.executor == Executor::Github && run.state == RunState::Running && run.external_id.is_some()
}

/// In a pass over everything, what GitHub does not answer is left for the next time.
pub(super) fn left_for_later(interrupted: Interrupted) -> Result<(), Failure> {
    match interrupted {
        Interrupted::Failure(failure) => Err(failure),
        Interrupted::Github(error @ Error::RateLimited { .. }) => {
            tracing::debug!(%error, "workflows are looked at later");
            Ok(())
        }
        Interrupted::Github(error) => {
            tracing::warn!(%error, "could not look at the workflows that verify");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_known_by_its_branch() {
        let run_id = Uuid::from_u128(7);
        assert_eq!(run_of_branch(&branch_of(run_id)), Some(run_id));
        for other in ["coordinator/verify/", "coordinator/verify/main", "agent/ann/1", ""] {
            assert_eq!(run_of_branch(other), None, "{other}");
        }
        assert_eq!(workflow_of(&external_id("ci.yml", run_id)), Some("ci.yml"));
        assert_eq!((workflow_of(""), workflow_of("@x"), workflow_of("job 7")), (None, None, None));
    }
}
