//! What is pushed to a branch: it is verified, where the coordinator has policies, and it may be others that are merged by it.
//!
//! Each commit is verified once: a push that is told again, or of a commit that somebody had verified before, makes nothing. So does what
//! the merge queue lands, since it was verified as it is.

use github::events::Pushed;
use github::sighting::{Known, Sighting};
use model::command::{Action, Outcome};
use model::github::GithubKind;
use model::id::AgentId;
use model::merge_queue::{MergeScope, MergeState};
use model::verification::{ChangesetFilter, ChangesetState, SubmitChangeset, Trigger};
use serde_json::json;
use uuid::Uuid;

use super::records::{Name, Records};
use super::settle::Desk;
use super::workflows;
use crate::failure::Failure;
use crate::verification::owner;

/// How many queued changesets are looked through for a commit.
const QUEUED_LIMIT: u32 = 500;
/// How many entries of the merge queue are looked at.
const ENTRIES_LIMIT: u32 = 500;

/// What became of a push.
pub(super) enum Became {
    /// A changeset, by its id.
    Submitted(Uuid),
    /// Nothing, and why.
    Nothing(&'static str),
}

/// The branches of agents that this push merges into the default branch.
pub(super) async fn merged(records: Records<'_>, pushed: &Pushed) -> Result<Vec<Sighting>, Failure> {
    if pushed.default_branch.as_ref() != Some(&pushed.branch) {
        return Ok(vec![]);
    }
    let branches = records.subjects_of(GithubKind::Branch).await?;
    let merged = branches.iter().filter_map(|(name, stored)| match &stored.value.known {
        Known::Branch { state } => pushed.merges(&name.name, state.commit()?),
        _ => None,
    });
    Ok(merged.collect())
}

/// Has the commit verified, if it is to be.
pub(super) async fn verify(desk: &Desk<'_>, pushed: &Pushed) -> Result<Became, Failure> {
    let coordinator = desk.records.coordinator;
    let Pushed { branch, commit, pusher, default_branch, .. } = pushed;
    if coordinator.verification_policies(desk.records.project).await?.all().is_empty() {
        return Ok(Became::Nothing("no policy asks for anything to be verified"));
    }
    if branch.starts_with(workflows::BRANCHES) {
        return Ok(Became::Nothing("it is being verified there"));
    }
    if is_known(desk, commit).await? {
        return Ok(Became::Nothing("its commit is verified already"));
    }
    let target = coordinator.settings().merge_target.as_ref().or(default_branch.as_ref());
    if target == Some(branch) && is_landed(desk, commit).await? {
        return Ok(Became::Nothing("the merge queue lands it, as it was verified"));
    }
    // Whose branch it is, else who pushed.
    let Some(agent_id) = owner(branch).or_else(|| AgentId::new(pusher).ok()) else {
        return Ok(Became::Nothing("it is nobody's: neither the branch nor the sender names anybody"));
    };
    let submit = SubmitChangeset {
        changeset_id: Uuid::now_v7(),
        // The branch may move on before anybody looks.
        revision: commit.clone(),
        trigger: Trigger::Branch,
        agent_id: agent_id.clone(),
        feature_id: None,
        task_id: None,
        policies: None,
    };
    let name = Name { kind: GithubKind::Branch, name: branch.clone() };
    let parameters = json!({"revision": commit, "branch": branch});
    let caller = desk.caller(&agent_id, &name);
    match desk.act("submit_changeset", &caller, parameters, &name, Action::SubmitChangeset(submit)).await? {
        Ok(Outcome::ChangesetSubmitted { repeated: true, .. }) => Ok(Became::Nothing("its commit is verified already")),
        Ok(Outcome::ChangesetSubmitted { changeset_id, .. }) => Ok(Became::Submitted(changeset_id)),
        Ok(other) => Err(Failure::unexpected(&other)),
        Err(refused) => {
            tracing::info!(%agent_id, %branch, why = refused.message, "a push is not verified");
            Ok(Became::Nothing("its agent may not have anything verified: the audit trail says why"))
        }
    }
}

/// Was this commit submitted before, or was something found to be it?
async fn is_known(desk: &Desk<'_>, commit: &str) -> Result<bool, Failure> {
    let Records { coordinator, project } = desk.records;
    let planned = ChangesetFilter { commit: Some(commit.to_owned()), limit: 1, ..ChangesetFilter::default() };
    if !coordinator.store().changesets(project, &planned).await?.is_empty() {
        return Ok(true);
    }
    let state = Some(ChangesetState::Queued);
    let queued = ChangesetFilter { state, limit: QUEUED_LIMIT, ..ChangesetFilter::default() };
    let queued = coordinator.store().changesets(project, &queued).await?;
    Ok(queued.iter().any(|changeset| changeset.revision == commit))
}

/// Does the merge queue land this, or has it? It says so only afterwards, so that while it lands something all that comes to
/// the target is taken for that.
async fn is_landed(desk: &Desk<'_>, commit: &str) -> Result<bool, Failure> {
    let Records { coordinator, project } = desk.records;
    let store = coordinator.store();
    let open = store.merge_entries(project, MergeScope::Open, ENTRIES_LIMIT).await?;
    if open.iter().any(|entry| entry.state == MergeState::Merging) {
        return Ok(true);
    }
    let merged = store.merge_entries(project, MergeScope::Merged, ENTRIES_LIMIT).await?;
    Ok(merged.iter().any(|entry| entry.commit.as_deref() == Some(commit)))
}
