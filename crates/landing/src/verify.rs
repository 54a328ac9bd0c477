//! Verifies a commit in a work tree of its own: every policy that its changes need, the cheapest first.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use git::{Git, ObjectId};
use merging::Verdict;
use verification::inline::{Stop, environment};
use verification::policy::Approval;
use verification::{Executor, Inline, Key, Policies, Policy, Results};

/// How long a tool may take to say its version.
const VERSION_LIMIT: Duration = Duration::from_secs(30);
/// So much of the end of an output is told.
const TOLD: usize = 1500;

/// What verifies.
#[derive(Debug, Clone)]
pub struct Verifier {
    /// What must pass.
    pub policies: Policies,
    /// What runs it.
    pub inline: Inline,
    /// What passed before.
    pub results: Results,
    /// Our environment.
    pub variables: BTreeMap<String, String>,
}

impl Verifier {
    /// The policies that nobody can run here, by name.
    pub fn not_runnable(&self) -> Vec<&str> {
        let is_foreign = |policy: &&Policy| policy.executor != Executor::Inline || policy.approval == Approval::Needed;
        self.policies.all().iter().filter(is_foreign).map(|policy| policy.name.as_str()).collect()
    }

    /// Verifies what a commit changes.
    ///
    /// # Errors
    /// [`git::Error`] when git does not work. A failure is a verdict.
    pub(crate) fn verify(
        &self,
        git: &Git,
        base: &ObjectId,
        commit: &ObjectId,
        stop: &Stop,
    ) -> Result<Verdict, git::Error> {
        let changed = git.changed_paths(base, commit)?;
        let needed = self.policies.needed(&changed);
        if needed.is_empty() {
            return Ok(Verdict::Passed);
        }
        let tree = git.temporary_worktree(commit, None)?;
        let id = git.tree_of(commit.as_str())?.map(|id| id.to_string()).unwrap_or_default();
        for policy in needed {
            if let Err(why) = self.run(policy, tree.path(), &id, stop) {
                return Ok(Verdict::Failed(format!("{}: {why}", policy.name)));
            }
        }
        Ok(Verdict::Passed)
    }

    fn run(&self, policy: &Policy, directory: &Path, tree: &str, stop: &Stop) -> Result<(), String> {
        let environment = environment(&policy.environment, |name| self.variables.get(name).cloned())
            .map_err(|missing| format!("it needs {} in the environment", missing.join(", ")))?;
        let mut versions = vec![];
        for command in &policy.versions {
            let said = self.inline.run(command, directory, environment.clone(), VERSION_LIMIT, stop);
            if !said.has_passed() {
                return Err(format!("{} does not say its version: {}", command.join(" "), said.how()));
            }
            versions.push(said.output);
        }
        let key = Key::new(tree, &policy.command, &versions);
        if self.results.has_passed(&key) {
            return Ok(());
        }
        let ended = self.inline.run(&policy.command, directory, environment, policy.timeout, stop);
        if !ended.has_passed() {
            let end = ended.output.char_indices().rev().nth(TOLD).map_or(0, |(at, _)| at);
            return Err(format!("{}\n{}", ended.how(), ended.output[end..].trim_end()));
        }
        // Without it the command runs once more, which is all that is lost.
        let _ = self.results.keep(&key, &format!("{} passed for tree {tree}", policy.name));
        Ok(())
    }
}
