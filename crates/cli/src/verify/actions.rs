//! Policies that GitHub Actions runs: the commit is pushed to a branch of the run's own, the workflow is dispatched on it, and
//! how it ended is asked for until it has. Whoever is killed on the way leaves a branch by which the next one goes on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use coordinator::github::sync::Interrupted;
use coordinator::github::workflows::{BRANCHES, Ended, branch_of, external_id, workflow_of};
use git::{Git, ObjectId};
use github::workflows::RunStatus;
use github::{Client, Error, Patience};
use tokio::runtime::Handle;
use uuid::Uuid;
use verification::Policies;
use verification::policy::{COMMIT_INPUT, RUN_INPUT, Workflow};

use crate::desk::Desk;
use crate::exit::Trouble;
use crate::output;

/// How long to wait before GitHub is asked again: longer and longer, since most workflows take minutes.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How often the branches of runs are looked through for those that have ended.
const TIDY: Duration = Duration::from_secs(60);
/// How often a dispatch is tried that GitHub did not answer.
const TRIES: u32 = 4;

/// GitHub Actions, as far as a runner needs them.
#[derive(Clone)]
pub struct Actions {
    desk: Desk,
    handle: Handle,
    git: Git,
    client: Arc<Client>,
    pace: Arc<Mutex<Pace>>,
}

/// When to look next.
struct Pace {
    at: Instant,
    pause: Duration,
    tidy_at: Instant,
}

impl Actions {
    /// With the repository's connection to GitHub.
    ///
    /// # Errors
    /// What is not set, as a sentence.
    pub fn open(desk: &Desk, handle: &Handle, git: &Git) -> Result<Self, String> {
        let connection = desk.coordinator.settings().github.connection()?;
        let client = Client::new(&connection, Patience::default()).map_err(|error| error.to_string())?;
        let now = Instant::now();
        let pace = Pace { at: now, pause: FIRST_PAUSE, tidy_at: now };
        Ok(Self {
            desk: desk.clone(),
            handle: handle.clone(),
            git: git.clone(),
            client: Arc::new(client),
            pace: Arc::new(Mutex::new(pace)),
        })
    }

    /// Starts the workflow for a commit, unless it was started before. Answers what the run is called from then on.
    ///
    /// # Errors
    /// Why it cannot be started, for whoever asked for it.
    pub fn start(&self, workflow: &Workflow, run_id: Uuid, commit: &ObjectId) -> Result<String, String> {
        let Workflow { file, remote, inputs } = workflow;
        let (branch, commit_id) = (branch_of(run_id), commit.as_str());
        self.git
            .publish(remote, &format!("refs/heads/{branch}"), commit)
            .map_err(|error| format!("the commit cannot be pushed to {remote} as {branch}: {error}"))?;
        let mut inputs = inputs.clone();
        inputs.insert(RUN_INPUT.into(), run_id.to_string());
        inputs.insert(COMMIT_INPUT.into(), commit_id.into());
        let refused = |error: Error| {
            format!(
                "{error}\n{file} must be on the default branch and at this commit, with the trigger workflow_dispatch and the \
                 inputs {RUN_INPUT} and {COMMIT_INPUT} (docs/verification.md)"
            )
        };
        let mut tries = 0;
        loop {
            let found = self.handle.block_on(self.client.dispatched_runs(file, &branch, commit_id));
            if !found.map_err(refused)?.is_empty() {
                break;
            }
            match self.handle.block_on(self.client.dispatch_workflow(file, &branch, &inputs)) {
                Ok(()) => break,
                // It may have been started all the same: look again.
                Err(Error::Unreachable(_)) if tries < TRIES => {
                    std::thread::sleep(FIRST_PAUSE / 2 * 2_u32.pow(tries));
                    tries += 1;
                }
                Err(error) => return Err(refused(error)),
            }
        }
        self.look_soon();
        Ok(external_id(file, run_id))
    }

    /// There is something new to look for.
    fn look_soon(&self) {
        if let Ok(mut pace) = self.pace.lock() {
            (pace.at, pace.pause) = (Instant::now() + FIRST_PAUSE, FIRST_PAUSE);
        }
    }

    /// Asks what has ended, if it is time to.
    ///
    /// # Errors
    /// When the coordinator does not work. What GitHub does not answer is said, and asked later.
    pub fn follow(&self) -> Result<Vec<Ended>, Trouble> {
        if let Ok(mut pace) = self.pace.lock() {
            if Instant::now() < pace.at {
                return Ok(vec![]);
            }
            pace.pause = (pace.pause * 3 / 2).min(LONGEST_PAUSE);
            pace.at = Instant::now() + pace.pause;
        }
        self.read()
    }

    /// Asks what has ended.
    ///
    /// # Errors
    /// See [`Self::follow`].
    pub fn read(&self) -> Result<Vec<Ended>, Trouble> {
        match self.handle.block_on(self.desk.coordinator.read_github_workflows(&self.client)) {
            Ok(ended) => Ok(ended),
            Err(Interrupted::Github(error)) => {
                output::complain(&error);
                Ok(vec![])
            }
            Err(Interrupted::Failure(failure)) => Err(failure.into()),
        }
    }

    /// Removes the branches of runs that are over, if it is time to.
    pub fn tidy_sometimes(&self) {
        let is_time = self.pace.lock().is_ok_and(|mut pace| {
            let is_time = Instant::now() >= pace.tidy_at;
            if is_time {
                pace.tidy_at = Instant::now() + TIDY;
            }
            is_time
        });
        if is_time {
            self.tidy();
        }
    }

    /// Removes the branches of runs that are over, and stops what still runs there. What does not work is said: the next one
    /// removes it.
    pub fn tidy(&self) {
        let coordinator = &self.desk.coordinator;
        let policies = match self.handle.block_on(coordinator.verification_policies(coordinator.default_project())) {
            Ok(policies) => policies,
            Err(failure) => return output::complain(failure.message()),
        };
        for remote in remotes(&policies) {
            let below = format!("refs/heads/{}", BRANCHES.trim_end_matches('/'));
            match self.git.remote_refs(&remote, &below) {
                Ok(refs) => refs.iter().for_each(|(name, commit)| {
                    if let Err(why) = self.remove_if_over(&remote, name, commit) {
                        output::complain(format!("{name} stays at {remote} for now: {why}"));
                    }
                }),
                Err(error) => output::complain(format!("{remote} does not tell its branches: {error}")),
            }
        }
    }

    fn remove_if_over(&self, remote: &str, name: &str, commit: &ObjectId) -> Result<(), String> {
        let branch = name.strip_prefix("refs/heads/").unwrap_or(name);
        let known = self.handle.block_on(self.desk.coordinator.run_of_github_branch(branch, commit.as_str()));
        let run = known.map_err(|failure| failure.message().to_owned())?;
        // Another database's may still be under way.
        let Some(run) = run.filter(|run| run.state.is_over()) else { return Ok(()) };
        if let Some(workflow) = run.external_id.as_deref().and_then(workflow_of) {
            let seen = self.handle.block_on(self.client.dispatched_runs(workflow, branch, commit.as_str()));
            for seen in seen.map_err(|error| error.to_string())? {
                if seen.status != RunStatus::Completed {
                    // It may have ended just now.
                    let _ = self.handle.block_on(self.client.cancel_workflow_run(seen.id));
                }
            }
        }
        self.git.unpublish(remote, name).map_err(|error| error.to_string())
    }
}

/// The remotes that commits are pushed to for workflows.
fn remotes(policies: &Policies) -> BTreeSet<String> {
    let workflows = policies.all().iter().filter_map(|policy| policy.workflow.as_ref());
    workflows.map(|workflow| workflow.remote.clone()).collect()
}
