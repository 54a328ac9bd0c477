//! What a revision is in a repository, and what must pass for it.

use std::collections::BTreeSet;

use git::{Error, Git, ObjectId};
use model::verification::{PATHS_LIMIT, PlanChangeset, PlannedRun};
use uuid::Uuid;
use verification::{Executor, Key, Policies, Policy};

use crate::features::branches::find_branch;
use crate::merge_queue::branches::target;

/// The tree of nothing, which git knows without having it.
const NOTHING: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// A revision, as it is in a repository.
#[derive(Debug, Clone)]
pub struct Found {
    /// The commit.
    pub commit: ObjectId,
    /// Its tree.
    pub tree: ObjectId,
    /// What it is compared with.
    pub base: ObjectId,
    /// What it changes since.
    pub changed: BTreeSet<String>,
}

/// What a commit is compared with.
#[derive(Debug, Clone, Copy)]
pub enum Against<'a> {
    /// This one.
    Commit(&'a ObjectId),
    /// Where it left the target: the branch of this name, else the default one. What is there already, its own parent.
    Target(Option<&'a str>),
}

/// Finds a branch or a commit.
///
/// # Errors
/// [`Error`] when git does not work.
pub fn find(git: &Git, revision: &str, against: Against<'_>) -> Result<Option<Found>, Error> {
    let commit = match find_branch(git, revision)? {
        Some(branch) => Some(branch.commit),
        // Of a commit only its id: no expression of git's, whatever somebody wrote there.
        None => match ObjectId::new(revision) {
            Ok(id) => git.resolve(id.as_str())?,
            Err(_) => None,
        },
    };
    let Some(commit) = commit else { return Ok(None) };
    let Some(tree) = git.tree_of(commit.as_str())? else { return Ok(None) };
    let base = match against {
        Against::Commit(base) => base.clone(),
        Against::Target(named) => left_at(git, &commit, named)?,
    };
    let changed = git.changed_paths(&base, &commit)?;
    Ok(Some(Found { commit, tree, base, changed }))
}

fn left_at(git: &Git, commit: &ObjectId, named: Option<&str>) -> Result<ObjectId, Error> {
    let left = match target(git, named)? {
        Some(target) => git.merge_bases(&target.commit, commit)?.into_iter().next(),
        None => None,
    };
    if let Some(left) = left.filter(|left| left != commit) {
        return Ok(left);
    }
    match git.parents(commit)?.into_iter().next() {
        Some(parent) => Ok(parent),
        None => Ok(ObjectId::new(NOTHING).unwrap_or_else(|_| commit.clone())),
    }
}

/// The plan of a changeset: these policies, as far as what was found needs them.
pub fn plan(changeset_id: Uuid, found: &Found, policies: &[&Policy]) -> PlanChangeset {
    PlanChangeset {
        changeset_id,
        commit: Some(found.commit.to_string()),
        tree: Some(found.tree.to_string()),
        base: Some(found.base.to_string()),
        changed_paths: found.changed.iter().take(PATHS_LIMIT).cloned().collect(),
        changed_total: u32::try_from(found.changed.len()).unwrap_or(u32::MAX),
        runs: policies.iter().map(|policy| planned(policy, found)).collect(),
        trouble: None,
    }
}

/// A changeset of which nothing can be found.
pub fn no_plan(changeset_id: Uuid, trouble: String) -> PlanChangeset {
    PlanChangeset {
        changeset_id,
        commit: None,
        tree: None,
        base: None,
        changed_paths: vec![],
        changed_total: 0,
        runs: vec![],
        trouble: Some(trouble),
    }
}

fn planned(policy: &Policy, found: &Found) -> PlannedRun {
    let is_known = policy.executor == Executor::Human;
    PlannedRun {
        run_id: Uuid::now_v7(),
        policy: policy.name.clone(),
        tier: policy.tier.get(),
        executor: policy.executor,
        timeout_seconds: u32::try_from(policy.timeout.as_secs()).unwrap_or(u32::MAX),
        approval_id: policy.asks_a_person().then(Uuid::now_v7),
        // What people say is about the tree; what programs say also about their versions, which the runner knows.
        key: is_known.then(|| Key::of(policy, found.tree.as_str(), &[]).as_str().to_owned()),
    }
}

/// The policies that a change needs; only those of these names, where some are named.
pub fn needed<'a>(policies: &'a Policies, changed: &BTreeSet<String>, only: Option<&[String]>) -> Vec<&'a Policy> {
    match only {
        // Whoever names one wants it, whatever the change touches.
        Some(names) => policies.all().iter().filter(|policy| names.contains(&policy.name)).collect(),
        None => policies.needed(changed),
    }
}
