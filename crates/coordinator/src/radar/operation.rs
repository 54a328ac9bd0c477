//! `branch_conflicts`: what the radar sees.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::subjects::{State, Subject};
use super::{Conflict, FileConflict, Look};
use crate::failure::Failure;
use crate::operation::{Access, BodyIdentity, Context, Operation, Route};

/// The operation's name, under which the coordinator tells of conflicts too.
pub(super) const NAME: &str = "branch_conflicts";

/// Shows which branches would not merge with each other.
pub struct BranchConflicts;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ConflictsRequest {
    /// Only conflicts of this branch
    #[schemars(length(min = 1, max = 1024))]
    branch: Option<String>,
}

/// The conflicts.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct ConflictsAnswer {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    conflicts: Vec<ConflictView>,
    /// Branches and work trees that were looked at.
    branches: usize,
    /// Pairs of them.
    pairs: usize,
    /// Of these, such that change nothing that could meet.
    apart: usize,
    /// Merges that were tried now; the others were known.
    merges: usize,
    /// What could not be looked at, or not yet.
    troubles: Vec<String>,
}

/// Two that do not merge.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ConflictView {
    one: SideView,
    other: SideView,
    files: Vec<FileView>,
    /// To whom it was told now, as it is new.
    told: Vec<String>,
}

/// A branch, or what is in a work tree.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SideView {
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<String>,
    /// The name of the directory it is checked out in.
    #[serde(skip_serializing_if = "Option::is_none")]
    worktree: Option<String>,
    /// Whose it is, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<String>,
    /// What is committed.
    commit: String,
    /// Is there more that is not committed?
    uncommitted: bool,
}

/// A conflict about a file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FileView {
    path: String,
    /// Other names that it has or had.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<String>,
    /// content, binary, directory_file, mode, modify_delete, rename_rename, rename_delete, directory_rename, submodule, other.
    kind: Cow<'static, str>,
    /// What git says.
    message: String,
    /// Where both changed the same.
    hunks: Vec<HunkView>,
}

/// A place where both sides changed the same.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HunkView {
    /// The lines there: 12, 12-14, or after 12.
    one: String,
    other: String,
}

impl Operation for BranchConflicts {
    type Request = ConflictsRequest;
    type Answer = ConflictsAnswer;
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str = "See which branches and uncommitted work would not merge with each other.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/branches/conflicts")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;
    const DETAIL: &'static str = "Looks at the repository that the coordinator runs in: local branches ahead of the default \
        one, and work trees with uncommitted work, as git merge would see them. A branch agent/AGENT/TASK is that agent's, \
        another one is whose session is in its work tree. A new conflict is told to both agents, once.";

    async fn run(context: &Context<'_>, request: ConflictsRequest) -> Result<ConflictsAnswer, Failure> {
        let coordinator = context.coordinator;
        let Some(repository) = coordinator.own_repository(context.project) else {
            return Ok(away(
                "no_repository",
                "this coordinator does not run in the project's repository, so it sees no \
                branches: run `coordinator radar` in a work tree of it"
                    .into(),
            ));
        };
        let (look, told) = match coordinator.look_at_branches(context.project, repository).await? {
            Ok(looked) => looked,
            Err(error) => return Ok(away("git_unavailable", error.to_string())),
        };
        let Look { conflicts, subjects, pairs, apart, merges, troubles, .. } = look;
        let is_of = |side: &Subject| request.branch.is_none() || side.branch == request.branch;
        let shown =
            conflicts.into_iter().zip(told).filter(|(conflict, _)| is_of(&conflict.one) || is_of(&conflict.other));
        Ok(ConflictsAnswer {
            success: true,
            conflicts: shown
                .map(|(Conflict { one, other, files }, told)| ConflictView {
                    one: one.into(),
                    other: other.into(),
                    files: files.into_iter().map(FileView::from).collect(),
                    told: told.into_iter().map(String::from).collect(),
                })
                .collect(),
            branches: subjects,
            pairs,
            apart,
            merges,
            troubles,
            ..ConflictsAnswer::default()
        })
    }
}

/// Nothing can be seen.
fn away(error: &'static str, message: String) -> ConflictsAnswer {
    ConflictsAnswer { error: Some(error), message: Some(message), ..ConflictsAnswer::default() }
}

impl From<Subject> for SideView {
    fn from(subject: Subject) -> Self {
        Self {
            worktree: subject.directory(),
            branch: subject.branch,
            agent_id: subject.owner.map(String::from),
            commit: subject.head.to_string(),
            uncommitted: subject.state == State::Uncommitted,
        }
    }
}

impl From<FileConflict> for FileView {
    fn from(file: FileConflict) -> Self {
        let hunks = file.hunks.into_iter().map(|(one, other)| HunkView { one, other }).collect();
        Self { path: file.path, others: file.others, kind: file.kind, message: file.message, hunks }
    }
}
