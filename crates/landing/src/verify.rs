//! Verifies a commit in a work tree of its own: every policy that its changes need, the cheapest first.

use git::{Git, ObjectId};
use merging::{EntryId, Verdict};
use model::verification::{Executor, Verdict as Said};
use verification::inline::Stop;
use verification::{Checker, Policies, Policy, Question, Results};

use crate::runner::Error;

/// A commit that is to be verified.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// What it is compared with: the target.
    pub base: ObjectId,
    /// It.
    pub commit: ObjectId,
    /// What is in it, each with the latest commit of its branch.
    pub entries: Vec<(EntryId, ObjectId)>,
}

/// Something that verifies commits, several at once.
pub trait Verify: Send + Sync {
    /// Verifies what a commit changes. What a person is asked has been asked before.
    ///
    /// # Errors
    /// [`Error`] when it cannot be found out at all. A failure is a verdict.
    fn verify(&self, git: &Git, candidate: &Candidate, stop: &Stop) -> Result<Verdict, Error>;
}

/// Verifies here, and remembers in a directory what passed.
#[derive(Debug, Clone)]
pub struct Verifier {
    /// What must pass.
    pub policies: Policies,
    /// What runs it.
    pub checker: Checker,
    /// What passed before.
    pub results: Results,
}

impl Verify for Verifier {
    fn verify(&self, git: &Git, candidate: &Candidate, stop: &Stop) -> Result<Verdict, Error> {
        let Candidate { base, commit, .. } = candidate;
        let changed = git.changed_paths(base, commit)?;
        let needed = self.policies.needed(&changed).into_iter().filter(|policy| policy.executor != Executor::Human);
        let needed: Vec<&Policy> = needed.collect();
        if needed.is_empty() {
            return Ok(Verdict::Passed);
        }
        let worktree = git.temporary_worktree(commit, None)?;
        let tree = git.tree_of(commit.as_str())?.map(|id| id.to_string()).unwrap_or_default();
        for policy in needed {
            let question = Question {
                changeset_id: None,
                run_id: None,
                token: None,
                policy: &policy.name,
                commit: commit.as_str(),
                tree: &tree,
                base: base.as_str(),
                repository: git.common_dir(),
                directory: worktree.path(),
                command: &policy.command,
                timeout_seconds: policy.timeout.as_secs(),
                environment: &policy.environment,
            };
            if let Err(why) = self.run(policy, &question, stop) {
                return Ok(Verdict::Failed(format!("{}: {why}", policy.name)));
            }
        }
        Ok(Verdict::Passed)
    }
}

impl Verifier {
    fn run(&self, policy: &Policy, question: &Question<'_>, stop: &Stop) -> Result<(), String> {
        let ready = self.checker.prepare(policy, question.directory, question.tree, stop)?;
        let key = ready.key.clone();
        if self.results.has_passed(&key) {
            return Ok(());
        }
        let said = self.checker.run(policy, ready, question, stop);
        if said.verdict != Said::Passed {
            return Err(said.evidence);
        }
        // Without it the command runs once more, which is all that is lost.
        let _ = self.results.keep(&key, &format!("{} passed for tree {}", policy.name, question.tree));
        Ok(())
    }
}
