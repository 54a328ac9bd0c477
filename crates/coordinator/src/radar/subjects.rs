//! What is looked at, and whose it is.

use std::path::{Path, PathBuf};

use git::refs::Branch;
use git::worktrees::Worktree;
use git::{Error, Git, ObjectId};
use model::id::AgentId;

use crate::local_sessions::{LocalSession, LocalSessions};
use crate::merge_queue::branches::target_name;
use crate::repository::Repository;

/// The most branches and work trees that are looked at: pairs of them grow with the square.
pub const LIMIT: usize = 64;
/// What an agent's branches are called, before its id: `agent/AGENT/TASK`.
const AGENTS_BRANCH: &str = "agent/";

/// Whether it is all committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// What the branch has.
    Committed,
    /// What is in the work tree, on top of what is checked out.
    Uncommitted,
}

/// A branch, or what is in a work tree.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The branch, if it is on one.
    pub branch: Option<String>,
    /// Where it is checked out.
    pub worktree: Option<PathBuf>,
    /// Whether it is all committed.
    pub state: State,
    /// What is there, as a commit.
    pub commit: ObjectId,
    /// What is committed of it.
    pub head: ObjectId,
    /// Whose it is, where that can be told.
    pub owner: Option<AgentId>,
}

impl Subject {
    /// The directory's name, without where it is.
    pub fn directory(&self) -> Option<String> {
        Some(self.worktree.as_deref()?.file_name()?.to_string_lossy().into_owned())
    }

    /// What people call it.
    pub fn name(&self) -> String {
        match (&self.branch, self.directory()) {
            (Some(branch), _) => format!("branch {branch}"),
            (None, Some(directory)) => format!("the work tree {directory}"),
            (None, None) => format!("commit {}", self.head.short()),
        }
    }
}

/// All that is to be looked at, by name.
pub struct Subjects {
    pub subjects: Vec<Subject>,
    /// What the default branch has; nothing in a repository without commits.
    pub base: Option<ObjectId>,
    /// What could not be looked at, in words.
    pub troubles: Vec<String>,
}

/// What is ahead of the branch that others are merged into, the default one unless another is named: branches and what is checked out with no branch; and work trees in which something
/// is uncommitted.
pub fn find(git: &Git, repository: &Repository, target: Option<&str>) -> Result<Subjects, Error> {
    let default = target_name(git, target)?;
    let base = default.as_ref().map(|name| git.resolve(&format!("refs/heads/{name}"))).transpose()?.flatten();
    let upstream = default.as_ref().map(|name| git.resolve(&format!("refs/remotes/origin/{name}"))).transpose()?;
    let merged: Vec<ObjectId> = base.iter().cloned().chain(upstream.flatten()).collect();
    let sessions = LocalSessions::of(repository);
    let mut alive: Vec<LocalSession> = sessions.all().into_iter().filter(|s| sessions.is_alive(s)).collect();
    alive.sort_by_key(|session| std::cmp::Reverse(session.began_at));

    let mut branches = git.branches(&merged)?;
    branches.retain(|branch| Some(&branch.name) != default.as_ref());
    branches.sort_by_key(|branch| std::cmp::Reverse(branch.committed_at));
    let mut troubles = vec![];
    let mut subjects = vec![];
    for tree in git.worktrees()? {
        let owner = || owner(tree.branch.as_deref(), Some(&tree.path), &alive);
        match in_worktree(git, &tree, &merged) {
            Ok(Some((state, commit))) => {
                let head = tree.head.clone().unwrap_or_else(|| commit.clone());
                branches.retain(|branch| Some(&branch.name) != tree.branch.as_ref());
                let (branch, worktree) = (tree.branch.clone(), Some(tree.path.clone()));
                subjects.push(Subject { branch, worktree, state, commit, head, owner: owner() });
            }
            Ok(None) => {}
            Err(error) => {
                troubles.push(format!("what is uncommitted in {} is not known: {error}", tree.path.display()))
            }
        }
    }
    subjects.extend(branches.into_iter().map(|branch| of_branch(branch, &alive)));
    if subjects.len() > LIMIT {
        troubles.push(format!(
            "{} branches were left out: {LIMIT} are looked at, work trees and then the latest branches; delete branches that \
             are done",
            subjects.len() - LIMIT
        ));
        subjects.truncate(LIMIT);
    }
    subjects.sort_by(|one, other| (&one.branch, &one.worktree).cmp(&(&other.branch, &other.worktree)));
    Ok(Subjects { subjects, base, troubles })
}

/// What is in a work tree, if it says more than its branch does.
fn in_worktree(git: &Git, tree: &Worktree, merged: &[ObjectId]) -> Result<Option<(State, ObjectId)>, Error> {
    if let Some(commit) = git.uncommitted(tree)? {
        return Ok(Some((State::Uncommitted, commit)));
    }
    let Some(head) = tree.head.as_ref().filter(|_| tree.branch.is_none()) else { return Ok(None) };
    for base in merged {
        if git.is_ancestor(head, base)? {
            return Ok(None);
        }
    }
    Ok(Some((State::Committed, head.clone())))
}

fn of_branch(branch: Branch, alive: &[LocalSession]) -> Subject {
    Subject {
        owner: owner(Some(&branch.name), branch.worktree.as_deref(), alive),
        branch: Some(branch.name),
        worktree: branch.worktree,
        state: State::Committed,
        commit: branch.commit.clone(),
        head: branch.commit,
    }
}

/// Whom the branch names, else whoever has the latest session in the work tree.
fn owner(branch: Option<&str>, worktree: Option<&Path>, alive: &[LocalSession]) -> Option<AgentId> {
    let named = branch.and_then(|name| name.strip_prefix(AGENTS_BRANCH)?.rsplit_once('/')).map(|(agent, _)| agent);
    if let Some(agent) = named.and_then(|agent| AgentId::new(agent).ok()) {
        return Some(agent);
    }
    let worktree = worktree?;
    alive.iter().find(|session| session.worktree == worktree).map(|session| session.agent_id.clone())
}

#[cfg(test)]
mod tests {
    use model::id::SessionId;

    use super::*;

    #[test]
    fn a_branch_says_whose_it_is_and_else_the_session_in_its_work_tree() {
        let session = |agent: &str, worktree: &str| LocalSession {
            agent_id: AgentId::new(agent).unwrap(),
            agent_type: "codex".into(),
            session_id: SessionId::new("s").unwrap(),
            key: "k".into(),
            client: "codex".into(),
            worktree: worktree.into(),
            process: None,
            began_at: 1,
        };
        let alive = [session("bob", "/w/bob"), session("earlier", "/w/bob")];
        let owner = |branch, tree: Option<&str>| super::owner(branch, tree.map(Path::new), &alive).map(String::from);
        assert_eq!(owner(Some("agent/ada/42"), Some("/w/bob")).as_deref(), Some("ada"));
        assert_eq!(owner(Some("agent/claude@x/1/42"), None).as_deref(), Some("claude@x/1"));
        assert_eq!(owner(Some("agent/ada"), Some("/w/bob")).as_deref(), Some("bob"));
        assert_eq!(owner(None, Some("/w/bob")).as_deref(), Some("bob"));
        assert_eq!(owner(Some("topic"), Some("/w/other")), None);
        assert_eq!(owner(Some("topic"), None), None);
    }
}
