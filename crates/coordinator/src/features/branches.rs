//! What a feature's branch really changes, and how that differs from what the feature claims.

use std::collections::BTreeMap;

use git::{Error, Git, ObjectId};
use model::command::Refusal;
use model::features::{Drift, drift};
use model::key::LockKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{active, feature_id, find};
use crate::failure::{Details, Failure, in_words};
use crate::merge_queue::branches::target;
use crate::operation::{Access, BodyIdentity, Context, Operation, Route};

/// The most files of a kind that an answer names.
const FILES_LIMIT: usize = 200;

/// A branch and where it is.
pub struct Branch {
    /// Its name.
    pub name: String,
    /// Its latest commit.
    pub commit: ObjectId,
}

/// The branch of this name here, else that of the remote.
pub fn find_branch(git: &Git, name: &str) -> Result<Option<Branch>, Error> {
    let here = git.resolve(&format!("refs/heads/{name}"))?;
    let commit = match here {
        Some(commit) => Some(commit),
        None => git.resolve(&format!("refs/remotes/origin/{name}"))?,
    };
    Ok(commit.map(|commit| Branch { name: name.to_owned(), commit }))
}

/// What the branch changes since it left the target, as lock keys. A file whose name is no key cannot be claimed, and is
/// left out.
pub fn changed_keys(git: &Git, target: &Branch, branch: &Branch) -> Result<Vec<LockKey>, Error> {
    let Some(base) = git.merge_bases(&target.commit, &branch.commit)?.into_iter().next() else { return Ok(vec![]) };
    let changed = git.changed_paths(&base, &branch.commit)?;
    Ok(changed.iter().filter_map(|path| LockKey::parse(path).ok()).collect())
}

/// The coordinator's own repository, where it has one and the caller's project is that repository.
pub fn own_repository(context: &Context<'_>) -> Option<std::path::PathBuf> {
    let is_own = context.project == context.coordinator.default_project();
    context.coordinator.settings().worktree.clone().filter(|_| is_own)
}

/// Runs what asks git on a thread that may wait.
pub async fn on_git<T: Send + 'static>(
    directory: std::path::PathBuf,
    ask: impl FnOnce(&Git) -> Result<T, Error> + Send + 'static,
) -> Result<T, Failure> {
    let asked = tokio::task::spawn_blocking(move || ask(&Git::open(&directory)?)).await;
    match asked {
        Ok(answer) => answer
            .map_err(|error| Failure::Conflict(Details::new("git_failed", format!("git could not answer: {error}")))),
        Err(error) => Err(Failure::Internal(error.to_string())),
    }
}

/// Compares what a branch changes with what its feature claims.
pub struct FeatureDrift;

/// Of which feature.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct DriftRequest {
    #[schemars(length(min = 1, max = 256))]
    feature_id: String,
}

/// How they differ, or why that cannot be told.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DriftAnswer {
    success: bool,
    feature_id: String,
    #[serde(flatten)]
    drift: Option<DriftView>,
    /// `feature_not_found`, `no_branch` or `no_repository`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// How they differ.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DriftView {
    branch_name: String,
    /// What it is compared with.
    target: String,
    changed_files: usize,
    /// Files that it changes and never claimed, the first 200.
    unclaimed_files: Vec<String>,
    /// Those among them that other features claim.
    claimed_by_others: Vec<Taken>,
    /// Its claims on paths under which it changes nothing.
    unused_claims: Vec<String>,
}

/// A file that belongs to others.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Taken {
    file_path: String,
    feature_ids: Vec<String>,
}

impl Operation for FeatureDrift {
    type Request = DriftRequest;
    type Answer = DriftAnswer;
    const NAME: &'static str = "feature_drift";
    const SUMMARY: &'static str = "See which files a branch changes unclaimed, and which claims it never used.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/features/drift/{feature_id}")];
    const IS_LISTED: bool = false;
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;
    const DETAIL: &'static str =
        "Looks at branch_name in the coordinator's own repository, since it left the default branch.";

    async fn run(context: &Context<'_>, request: DriftRequest) -> Result<DriftAnswer, Failure> {
        let feature_id = feature_id(&request.feature_id)?;
        let cannot = |reason, message: String| {
            let feature_id = feature_id.to_string();
            Ok(DriftAnswer { success: false, feature_id, drift: None, reason: Some(reason), message: Some(message) })
        };
        let Some(feature) = find(context, &feature_id).await? else {
            let refusal = Refusal::FeatureNotFound { feature_id: feature_id.clone() };
            return cannot(refusal.code(), in_words(&refusal));
        };
        let Some(name) = feature.branch_name.clone() else {
            return cannot("no_branch", format!("{feature_id} names no branch: register_feature with branch_name"));
        };
        let Some(directory) = own_repository(context) else {
            let message = "the coordinator has no repository of this project to look at: ask one that runs in it";
            return cannot("no_repository", message.into());
        };
        let (asked, into) = (name.clone(), context.coordinator.settings().merge_target.clone());
        let found = on_git(directory, move |git| match (target(git, into.as_deref())?, find_branch(git, &asked)?) {
            (Some(target), Some(branch)) => Ok(Some((changed_keys(git, &target, &branch)?, target.name))),
            _ => Ok(None),
        });
        let Some((changed, target)) = found.await? else {
            let message = format!("{name}, or the branch that it is to be merged into, is not here: push it first");
            return cannot("no_branch", message);
        };
        let drift = DriftView::of(drift(&feature, &changed, &active(context).await?), name, target, changed.len());
        let feature_id = feature_id.to_string();
        Ok(DriftAnswer { success: true, feature_id, drift: Some(drift), reason: None, message: None })
    }
}

impl DriftView {
    fn of(drift: Drift, branch_name: String, target: String, changed_files: usize) -> Self {
        let mut taken: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (file, feature_id) in drift.taken {
            taken.entry(file.to_string()).or_default().push(feature_id.into());
        }
        let texts = |keys: &[LockKey]| keys.iter().take(FILES_LIMIT).map(ToString::to_string).collect();
        let taken = taken.into_iter().take(FILES_LIMIT);
        Self {
            branch_name,
            target,
            changed_files,
            unclaimed_files: texts(&drift.unclaimed),
            claimed_by_others: taken.map(|(file_path, feature_ids)| Taken { file_path, feature_ids }).collect(),
            unused_claims: texts(&drift.unused),
        }
    }
}
