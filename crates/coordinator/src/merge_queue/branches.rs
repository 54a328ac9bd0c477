//! The checks before a merge that look at branches: what git itself would say, without touching anybody's checkout.

use git::commits::{NewCommit, Signature};
use git::merge::{Conflict, Merge};
use git::{Error, Git, ObjectId};
use model::features::Feature;
use model::id::FeatureId;
use model::merge_queue::{CheckName, MergeCheck};

use crate::features::branches::{Branch, changed_keys, find_branch};

/// How many entries ahead are merged in thought.
const AHEAD_LIMIT: usize = 50;
/// How many files or features a reason names.
const NAMED: usize = 5;

/// What the checks look at.
pub struct Question {
    /// What is to be merged.
    pub feature: Feature,
    /// What else is active.
    pub active: Vec<Feature>,
    /// The branch that others are merged into, where the settings name one.
    pub target: Option<String>,
    /// The features ahead of it in the queue that are not blocked, and their branches, in order.
    pub ahead: Vec<(FeatureId, String)>,
}

/// Runs them. Those that make no sense after one that fails are left out.
pub fn checks(git: &Git, question: &Question) -> Result<Vec<MergeCheck>, Error> {
    let Some(name) = &question.feature.branch_name else {
        let reason = "it names no branch: register_feature with branch_name";
        return Ok(vec![failed(CheckName::BranchPresent, reason)]);
    };
    let Some(target) = target(git, question.target.as_deref())? else {
        let reason = match &question.target {
            Some(name) => format!("MERGE_TARGET is {name}, and there is no such branch here: make it, or name another"),
            None => "the repository has no branch that others are merged into: make main".into(),
        };
        return Ok(vec![failed(CheckName::BasedOnTarget, reason)]);
    };
    let Some(branch) = find_branch(git, name)? else {
        let reason = format!("there is no branch {name} here: push it, or register_feature with another branch_name");
        return Ok(vec![failed(CheckName::BranchPresent, reason)]);
    };
    let mut checks = vec![passed(CheckName::BranchPresent, format!("{name} is at {}", short(&branch.commit)))];
    if git.merge_bases(&target.commit, &branch.commit)?.is_empty() {
        let reason = format!("{name} has no commit in common with {}: begin it again from there", target.name);
        checks.push(failed(CheckName::BasedOnTarget, reason));
        return Ok(checks);
    }
    checks.push(passed(CheckName::BasedOnTarget, format!("{name} goes on from the history of {}", target.name)));

    let clean = match git.merge_tree(&target.commit, &branch.commit)? {
        Merge::Clean { .. } => {
            checks.push(passed(CheckName::MergesCleanly, format!("it merges with {} without a conflict", target.name)));
            true
        }
        other => {
            let reason = format!(
                "merging it into {} conflicts in {}: rebase {name} onto {}, resolve it there, and enqueue it again",
                target.name,
                files(&other),
                target.name
            );
            checks.push(failed(CheckName::MergesCleanly, reason));
            false
        }
    };
    // What does not merge with the target itself needs no second reason.
    if clean {
        checks.push(entries_ahead(git, &target, &branch, question)?);
    }
    checks.push(drift(git, &target, &branch, question)?);
    Ok(checks)
}

/// The branch that others are merged into: the one that the settings name, else the repository's default branch.
pub fn target(git: &Git, named: Option<&str>) -> Result<Option<Branch>, Error> {
    match target_name(git, named)? {
        None => Ok(None),
        Some(name) => find_branch(git, &name),
    }
}

/// Its name, whether it is there or not.
pub fn target_name(git: &Git, named: Option<&str>) -> Result<Option<String>, Error> {
    match named {
        Some(name) => Ok(Some(name.to_owned())),
        None => git.default_branch(),
    }
}

/// Merges the entries ahead in thought, each on top of the one before, and then this one. One that does not merge is left
/// out: its own check tells of it.
fn entries_ahead(git: &Git, target: &Branch, branch: &Branch, question: &Question) -> Result<MergeCheck, Error> {
    let mut tip = target.commit.clone();
    let mut merged: Vec<&FeatureId> = vec![];
    for (feature_id, name) in question.ahead.iter().take(AHEAD_LIMIT) {
        let Some(theirs) = find_branch(git, name)? else { continue };
        let Merge::Clean { tree } = git.merge_tree(&tip, &theirs.commit)? else { continue };
        tip = commit(git, &tree, [tip, theirs.commit])?;
        merged.push(feature_id);
        let merge = git.merge_tree(&tip, &branch.commit)?;
        if merge.tree().is_none() {
            let reason = format!(
                "it conflicts with {feature_id}, which is ahead in the queue, in {}: once that is merged, rebase {} onto {} \
                 and enqueue it again",
                files(&merge),
                branch.name,
                target.name
            );
            return Ok(failed(CheckName::MergesWithEntriesAhead, reason));
        }
    }
    let reason = match merged.len() {
        0 => "no entry is ahead of it".into(),
        1 => "it merges with the one entry ahead of it without a conflict".into(),
        n => format!("it merges with the {n} entries ahead of it without a conflict"),
    };
    Ok(passed(CheckName::MergesWithEntriesAhead, reason))
}

fn commit(git: &Git, tree: &ObjectId, parents: [ObjectId; 2]) -> Result<ObjectId, Error> {
    // Always the same, so that the same merges have the same id.
    let nobody = Signature { name: "coordinator".into(), email: "coordinator@localhost".into(), seconds: 0 };
    git.commit_tree(&NewCommit { tree, parents: &parents, message: "in thought", author: &nobody, committer: &nobody })
}

/// Fails for files that another active feature claims. What nobody claims is told, and does no harm.
fn drift(git: &Git, target: &Branch, branch: &Branch, question: &Question) -> Result<MergeCheck, Error> {
    let changed = changed_keys(git, target, branch)?;
    let drift = model::features::drift(&question.feature, &changed, &question.active);
    if let Some((file, other)) = drift.taken.first() {
        let reason = format!(
            "it changes {file}, which it never claimed and {other} claims{}: agree with whoever builds that, and claim it \
             with register_feature, or leave it as it was",
            more(drift.taken.len().saturating_sub(1))
        );
        return Ok(failed(CheckName::Drift, reason));
    }
    let reason = match (drift.unclaimed.len(), drift.unused.len()) {
        (0, 0) => "it changes what it claims".into(),
        (unclaimed, unused) => format!(
            "{unclaimed} files that it changes were never claimed, by nobody else either, and {unused} claims are unused: \
             see feature_drift"
        ),
    };
    Ok(passed(CheckName::Drift, reason))
}

fn more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" ({count} more such)") }
}

/// The files in which a merge conflicts.
fn files(merge: &Merge) -> String {
    let Merge::Conflicted { conflicts, .. } = merge else { return "everything: they have no history in common".into() };
    let describe = |conflict: &Conflict| format!("{} ({})", conflict.path, conflict.kind.as_str());
    let named: Vec<String> = conflicts.iter().take(NAMED).map(describe).collect();
    named.join(", ") + &more(conflicts.len().saturating_sub(NAMED))
}

fn short(commit: &ObjectId) -> &str {
    commit.as_str().get(..12).unwrap_or_default()
}

fn passed(name: CheckName, reason: impl Into<String>) -> MergeCheck {
    MergeCheck { name, passed: true, reason: reason.into() }
}

fn failed(name: CheckName, reason: impl Into<String>) -> MergeCheck {
    MergeCheck { name, passed: false, reason: reason.into() }
}
