//! What the merge queue lands is verified as everything else: as a changeset in the coordinator, with its runs and results.

use std::sync::Mutex;

use coordinator::verification::planning::{self, Against};
use git::{Git, ObjectId};
use landing::{Candidate, Error, QueueError, Verify};
use merging::Verdict;
use serde_json::{Value, json};
use verification::inline::Stop;
use verification::{Executor, Policies, Policy};

use crate::exit::Trouble;
use crate::fields::{items, some, text};
use crate::verify::runner::Runner;
use crate::verify::{evidence, is_open};

/// How long one question waits for a program that accepted.
const WAIT_SECONDS: u32 = 2;

/// Verifies candidates by the coordinator's runs.
pub struct Recorded {
    /// What runs them; one thread at a time asks it to clone itself.
    runner: Mutex<Runner>,
    policies: Policies,
}

impl Recorded {
    /// With this runner.
    pub fn new(runner: Runner, policies: Policies) -> Self {
        Self { runner: Mutex::new(runner), policies }
    }
}

impl Verify for Recorded {
    fn verify(&self, git: &Git, candidate: &Candidate, stop: &Stop) -> Result<Verdict, Error> {
        let runner = self.runner.lock().map(|runner| runner.clone()).map_err(|error| failed(error.to_string()))?;
        let commit = candidate.commit.as_str();
        let found =
            planning::find(git, commit, Against::Commit(&candidate.base))?.ok_or_else(|| Error::Gone(commit.into()))?;
        for (entry, head) in &candidate.entries {
            if let Some(why) = self.unapproved(&runner, head)? {
                return Ok(Verdict::Failed(format!("{entry}: {why}")));
            }
        }
        // People were asked about each entry's own commit, which that has made sure of.
        let needed: Vec<Policy> = self
            .policies
            .needed(&found.changed)
            .into_iter()
            .filter(|policy| policy.executor != Executor::Human)
            .map(|policy| Policy { approval: verification::policy::Approval::NotNeeded, ..policy.clone() })
            .collect();
        if needed.is_empty() {
            return Ok(Verdict::Passed);
        }
        let feature_id = match candidate.entries.as_slice() {
            [(one, _)] => Some(one.as_str()),
            _ => None,
        };
        let request = json!({"revision": commit, "trigger": "merge_queue", "feature_id": feature_id});
        let id = text(&runner.ask("submit_changeset", request).map_err(asked)?, "changeset_id").to_owned();
        runner.plan_with(&id, &found, &needed.iter().collect::<Vec<_>>()).map_err(asked)?;
        loop {
            runner.follow(&mut |_| {}).map_err(asked)?;
            runner.work(Some(&id), stop, &mut |_| {}).map_err(asked)?;
            let changeset = runner.changeset(&id, runner.pause(WAIT_SECONDS)).map_err(asked)?;
            if stop.is_stopped() {
                return Ok(Verdict::Failed("it was stopped".into()));
            }
            match text(&changeset, "state") {
                "passed" => return Ok(Verdict::Passed),
                _ if !is_open(&changeset) => return Ok(Verdict::Failed(evidence(&changeset))),
                // A program or GitHub has accepted, or a runner before us that is gone still has the lease.
                _ => {}
            }
        }
    }
}

impl Recorded {
    /// Why an entry's latest commit may not be landed: somebody may have pushed since people said yes.
    fn unapproved(&self, runner: &Runner, head: &ObjectId) -> Result<Option<String>, Error> {
        if !self.policies.all().iter().any(Policy::asks_a_person) {
            return Ok(None);
        }
        let found = runner.find_here(head.as_str()).map_err(asked)?.ok_or_else(|| Error::Gone(head.to_string()))?;
        let mut people = self.policies.needed(&found.changed).into_iter().filter(|policy| policy.asks_a_person());
        let known = runner.ask("list_changesets", json!({"commit": head.as_str(), "limit": 50})).map_err(asked)?;
        let runs = || items(&known, "changesets").iter().flat_map(|changeset| items(changeset, "runs"));
        let said_yes = |policy: &&Policy| {
            let is_yes = |run: &Value| {
                text(run, "policy") == policy.name
                    && text(run, "state") == "passed"
                    && some(run, "approval_id").is_some()
            };
            runs().any(is_yes)
        };
        Ok(people.find(|policy| !said_yes(policy)).map(|policy| {
            format!(
                "nobody has approved {} for its latest commit {head}: enqueue it again, and people are asked",
                policy.name
            )
        }))
    }
}

fn asked(trouble: Trouble) -> Error {
    failed(trouble.to_string())
}

fn failed(why: String) -> Error {
    Error::Queue(QueueError(why))
}
