//! Pull requests enter and leave the merge queue by label.
//!
//! Each commit of a pull request enters once: whatever becomes of the entry then, be it landed, blocked or taken out by hand,
//! it enters again only when its branch has moved, or its label was taken off and put on again.

use std::collections::BTreeSet;

use github::pulls::ChangedFile;
use github::sighting::{Home, Known, PullStage, PullState, Subject as Seen, Whose};
use model::command::{Action, Outcome};
use model::features::{
    ACTIVE_LIMIT, CLAIMS_LIMIT, DeregisterFeature, Feature, FeatureEnd, FeatureFilter, FeatureStatus, RegisterFeature,
};
use model::id::FeatureId;
use model::key::LockKey;
use model::merge_queue::{EnqueueMerge, MergeScope, MergeState, MoveMerge, QUEUE_LIMIT};
use serde_json::json;

use super::records::{Name, Queued, Refused, Subject};
use super::settle::Desk;
use crate::failure::Failure;
use crate::redact::without_secrets;

/// What a refusal is about.
const PLACE: &str = "merge";
/// What the features are called that are registered for a pull request, before its number.
const OWN: &str = "pull-";

/// Makes the merge queue what the pull request says.
pub async fn follow(
    desk: &Desk<'_>,
    name: &Name,
    state: &PullState,
    before: &Subject,
    after: &mut Subject,
) -> Result<(), Failure> {
    let done = match &state.stage {
        PullStage::Queued if before.queued.as_ref().is_some_and(|queued| queued.sha == state.sha) => {
            blocked(desk, before).await?
        }
        PullStage::Queued => match before.refused.get(PLACE).filter(|_| before.settled) {
            Some(refusal) => Err(refusal.clone()),
            None => match enter(desk, name, state).await? {
                Entered::Yes(queued) => {
                    after.queued = Some(queued);
                    Ok(())
                }
                Entered::No(refusal) => Err(refusal),
                Entered::Later => {
                    after.settled = false;
                    Ok(())
                }
            },
        },
        stage => match &before.queued {
            None => Ok(()),
            Some(queued) => {
                let left = leave(desk, name, queued, stage).await?;
                if left.is_ok() {
                    after.queued = None;
                }
                left
            }
        },
    };
    if let Err(refusal) = done {
        after.refused.insert(PLACE.into(), refusal);
    }
    Ok(())
}

enum Entered {
    Yes(Queued),
    No(Refused),
    /// GitHub is to be asked first, and cannot be now.
    Later,
}

async fn enter(desk: &Desk<'_>, name: &Name, state: &PullState) -> Result<Entered, Failure> {
    let no = |code: &str, message: String| Ok(Entered::No(Refused::new(code, message)));
    if state.home == Home::Fork {
        let message = "it is not in the merge queue: its branch is in a fork, which we do not land from. Push the branch to \
                       this repository";
        return no("branch_in_fork", message.into());
    }
    let agent = match &state.whose {
        Whose::Agent(agent) => agent,
        Whose::Several(names) => {
            return no("several_agents", format!("it has labels for several agents ({}): leave one", names.join(", ")));
        }
        Whose::Nobody => return no("no_agent", "nobody is named whose it is: add a label agent:ID".into()),
    };
    let caller = desk.caller(agent, name);
    let own_id = format!("{OWN}{}", name.name);
    let known = feature_of(desk, &state.branch, &own_id).await?;
    let is_ours = known.as_ref().is_none_or(|feature| feature.feature_id.as_str() == own_id);
    let feature_id = match known.filter(|_| !is_ours) {
        Some(feature) => feature.feature_id,
        None => {
            let files = match files(desk, name, &state.branch).await? {
                Files::Known(files) => files,
                Files::Later => return Ok(Entered::Later),
                Files::Unknown => {
                    let message = "it is not in the merge queue: nobody can say which files it changes. Set GITHUB_TOKEN, or \
                                   register a feature for its branch with register_feature";
                    return no("files_unknown", message.into());
                }
            };
            let feature_id = FeatureId::new(own_id).map_err(|bad| Failure::Internal(bad.to_string()))?;
            let claims: Vec<LockKey> = claims(&files).iter().filter_map(|path| LockKey::parse(path).ok()).collect();
            let texts: Vec<&str> = claims.iter().map(LockKey::as_str).collect();
            let parameters = json!({"feature_id": feature_id, "branch_name": state.branch, "resource_claims": texts});
            let action = Action::RegisterFeature(RegisterFeature {
                feature_id: feature_id.clone(),
                title: Some(without_secrets(&state.title)),
                branch_name: Some(state.branch.clone()),
                claims,
                merge_priority: None,
                metadata: None,
            });
            if let Err(refusal) = desk.act("register_feature", &caller, parameters, name, action).await? {
                return Ok(Entered::No(refusal));
            }
            feature_id
        }
    };
    let parameters = json!({"feature_id": feature_id, "pr_url": state.url});
    let enqueue = EnqueueMerge { feature_id: feature_id.clone(), pr_url: Some(state.url.clone()) };
    let queued = desk.act("enqueue_merge", &caller, parameters, name, Action::EnqueueMerge(enqueue)).await?;
    Ok(match queued {
        Ok(_) => Entered::Yes(Queued {
            sha: state.sha.clone(),
            feature_id: feature_id.into(),
            agent: agent.clone(),
            is_ours,
        }),
        Err(refusal) => Entered::No(refusal),
    })
}

/// Why the entry does not get on, in the words of whoever blocked it.
async fn blocked(desk: &Desk<'_>, before: &Subject) -> Result<Result<(), Refused>, Failure> {
    let Some(queued) = &before.queued else { return Ok(Ok(())) };
    let store = desk.records.coordinator.store();
    let entries = store.merge_entries(desk.records.project, MergeScope::Open, QUEUE_LIMIT).await?;
    let is_blocked = |entry: &&model::merge_queue::MergeEntry| {
        entry.feature_id.as_str() == queued.feature_id && entry.state == MergeState::Blocked
    };
    Ok(match entries.iter().find(is_blocked) {
        None => Ok(()),
        Some(entry) => {
            let note = entry.note.as_deref().unwrap_or("nobody said why");
            let message = format!(
                "it is blocked in the merge queue: {note}. Push what sets that right, or take the label off and put it on again"
            );
            Err(Refused::new("merge_blocked", message))
        }
    })
}

/// Takes it out of the queue, or says that it is merged.
async fn leave(
    desk: &Desk<'_>,
    name: &Name,
    queued: &Queued,
    stage: &PullStage,
) -> Result<Result<(), Refused>, Failure> {
    let store = desk.records.coordinator.store();
    let feature_id = FeatureId::new(queued.feature_id.clone()).map_err(|bad| Failure::Internal(bad.to_string()))?;
    let caller = desk.caller(&queued.agent, name);
    let entries = store.merge_entries(desk.records.project, MergeScope::Open, QUEUE_LIMIT).await?;
    let merged = matches!(stage, PullStage::Merged { .. });
    if entries.iter().any(|entry| entry.feature_id == feature_id) {
        let parameters = json!({"feature_id": feature_id});
        let (operation, action) = match stage {
            PullStage::Merged { commit } => {
                let state = MergeState::Merged;
                let step = MoveMerge {
                    feature_id: feature_id.clone(),
                    state,
                    checks: None,
                    note: Some(format!("{} was merged on GitHub", name.in_words())),
                    commit: commit.clone(),
                };
                ("mark_merged", Action::MoveMerge(step))
            }
            _ => ("remove_from_merge_queue", Action::RemoveMerge { feature_id: feature_id.clone() }),
        };
        match desk.act(operation, &caller, parameters, name, action).await? {
            Ok(_) => {}
            Err(refusal) if refusal.code == "merge_entry_not_found" => {}
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    let is_active = feature(desk, &feature_id).await?.is_some_and(|feature| feature.status == FeatureStatus::Active);
    if !(queued.is_ours && is_active) {
        return Ok(Ok(()));
    }
    let end = if merged { FeatureEnd::Completed } else { FeatureEnd::Cancelled };
    let parameters = json!({"feature_id": feature_id, "status": FeatureStatus::from(end).as_str()});
    let action = Action::DeregisterFeature(DeregisterFeature { feature_id, end });
    Ok(match desk.act("deregister_feature", &caller, parameters, name, action).await? {
        Ok(Outcome::FeatureDeregistered { .. }) => Ok(()),
        Ok(other) => return Err(Failure::unexpected(&other)),
        Err(refusal) if refusal.code == "feature_not_active" => Ok(()),
        Err(refusal) => Err(refusal),
    })
}

/// The active feature that is built on the branch, but for those that were registered for other pull requests.
async fn feature_of(desk: &Desk<'_>, branch: &str, own_id: &str) -> Result<Option<Feature>, Failure> {
    let filter = FeatureFilter { feature_id: None, status: Some(FeatureStatus::Active), limit: ACTIVE_LIMIT };
    let features = desk.records.coordinator.store().features(desk.records.project, &filter).await?;
    let is_of_other = |id: &FeatureId| id.as_str().starts_with(OWN) && id.as_str() != own_id;
    let is_it = |f: &Feature| f.branch_name.as_deref() == Some(branch) && !is_of_other(&f.feature_id);
    Ok(features.into_iter().find(is_it))
}

async fn feature(desk: &Desk<'_>, feature_id: &FeatureId) -> Result<Option<Feature>, Failure> {
    let filter = FeatureFilter { feature_id: Some(feature_id.clone()), status: None, limit: 1 };
    Ok(desk.records.coordinator.store().features(desk.records.project, &filter).await?.into_iter().next())
}

/// What a pull request changes.
enum Files {
    Known(BTreeSet<String>),
    /// GitHub is to be asked, and cannot be now.
    Later,
    /// There is nobody to be asked.
    Unknown,
}

async fn files(desk: &Desk<'_>, name: &Name, branch: &str) -> Result<Files, Failure> {
    if let (Some(client), Some(number)) = (desk.client, name.number()) {
        return Ok(match client.pull_files(number).await {
            Ok(files) => Files::Known(ChangedFile::paths(&files)),
            Err(error) => {
                tracing::warn!(%error, pull = number, "could not ask GitHub what a pull request changes");
                Files::Later
            }
        });
    }
    if desk.records.coordinator.settings().github.token.is_some() {
        return Ok(Files::Later);
    }
    // What was pushed to an agent's branch we have heard.
    let pushed = desk.records.read::<Subject>(&Name::of(&Seen::Branch(branch.to_owned()))).await?;
    Ok(match pushed.map(|stored| stored.value.known) {
        Some(Known::Branch { state }) if !state.files.is_empty() => Files::Known(state.files.into_keys().collect()),
        _ => Files::Unknown,
    })
}

/// At most as many claims as a feature may have: where there are more files, their directories, the deepest first.
fn claims(files: &BTreeSet<String>) -> BTreeSet<String> {
    let mut claims = files.clone();
    while claims.len() > CLAIMS_LIMIT {
        let depth = |path: &String| path.matches('/').count();
        let deepest = claims.iter().map(depth).max().unwrap_or_default();
        if deepest == 0 {
            // So many files at the top: the whole of it.
            return ["**".to_owned()].into();
        }
        let parent = |path: String| match path.rsplit_once('/') {
            Some((parent, _)) if depth(&path) == deepest => parent.to_owned(),
            _ => path,
        };
        claims = claims.into_iter().map(parent).collect();
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(paths: impl IntoIterator<Item = String>) -> BTreeSet<String> {
        paths.into_iter().collect()
    }

    #[test]
    fn many_files_are_claimed_by_their_directories() {
        let few = set((0..CLAIMS_LIMIT).map(|at| format!("src/{at}.rs")));
        assert_eq!(claims(&few), few);
        let deep = (0..500).map(|at| format!("src/{}/deep/{at}.rs", at % 3));
        let many = set(deep.chain(["README.md".to_owned()]));
        let expected = ["README.md", "src/0/deep", "src/1/deep", "src/2/deep"].map(str::to_owned);
        assert_eq!(claims(&many), set(expected));
        assert_eq!(claims(&set((0..500).map(|at| format!("{at}.md")))), set(["**".to_owned()]));
    }
}
