//! The checks before a merge that look at what was verified of a branch: its latest commit must not have failed, and the people
//! whom its policies ask must have said yes to it. What machines verify is verified again as it is landed.

use git::Git;
use model::features::Feature;
use model::merge_queue::{CheckName, MergeCheck};
use model::verification::{Changeset, ChangesetFilter, ChangesetState, Executor, Run, RunState, Trigger};
use verification::{Policies, Policy};

use super::planning::{self, Against, Found};
use super::runs::apply_plan;
use super::{Wanted, changeset, owner, submit};
use crate::failure::Failure;
use crate::features::branches::on_git;
use crate::operation::Context;

/// How many changesets of a commit are looked at.
const LOOK_LIMIT: u32 = 50;

/// What is to be merged.
pub struct Question {
    /// The repository.
    pub directory: std::path::PathBuf,
    /// The feature.
    pub feature: Feature,
    /// Its branch.
    pub branch: String,
}

/// Runs them. Where people have to be asked and nobody has, they are asked.
pub async fn checks(context: &Context<'_>, question: Question) -> Result<Vec<MergeCheck>, Failure> {
    let policies = &context.coordinator.verification_policies(context.project).await?;
    if policies.all().is_empty() {
        return Ok(vec![]);
    }
    let branch = question.branch.clone();
    let target = context.coordinator.settings().merge_target.clone();
    let find = move |git: &Git| planning::find(git, &branch, Against::Target(target.as_deref()));
    let found = on_git(question.directory.clone(), find).await?;
    // That it is missing is told by another check.
    let Some(found) = found else { return Ok(vec![]) };
    let mut known = of_commit(context, &found).await?;
    let people: Vec<&Policy> =
        planning::needed(policies, &found.changed, None).into_iter().filter(|policy| policy.asks_a_person()).collect();
    let is_asked = |policy: &&Policy| known.iter().any(|c| c.runs.iter().any(|run| is_answer_to(run, policy)));
    let has_failed = known.first().is_some_and(|latest| latest.state == ChangesetState::Failed);
    if !has_failed && !people.iter().all(is_asked) {
        known.insert(0, ask(context, &question, &found, policies).await?);
    }
    let mut checks = vec![verified(&question.branch, known.first())];
    if !people.is_empty() {
        checks.push(approved(&people, &known));
    }
    Ok(checks)
}

/// What was verified of a commit, newest first.
async fn of_commit(context: &Context<'_>, found: &Found) -> Result<Vec<Changeset>, Failure> {
    let commit = Some(found.commit.to_string());
    let filter = ChangesetFilter { commit, limit: LOOK_LIMIT, ..ChangesetFilter::default() };
    let mut known = context.coordinator.store().changesets(context.project, &filter).await?;
    known.retain(|changeset| changeset.trigger != Trigger::MergeQueue);
    Ok(known)
}

async fn ask(
    context: &Context<'_>,
    question: &Question,
    found: &Found,
    policies: &Policies,
) -> Result<Changeset, Failure> {
    let wanted = Wanted {
        revision: found.commit.to_string(),
        trigger: Trigger::Branch,
        agent_id: owner(&question.branch).unwrap_or_else(|| question.feature.registered_by.clone()),
        feature_id: Some(question.feature.feature_id.clone()),
        task_id: None,
        policies: None,
    };
    let (changeset_id, _) = submit(context, wanted).await?;
    let needed = planning::needed(policies, &found.changed, None);
    apply_plan(context, planning::plan(changeset_id, found, &needed)).await?;
    let made = changeset(context, changeset_id).await?;
    made.ok_or_else(|| Failure::Internal(format!("changeset {changeset_id} was submitted and is not there")))
}

/// Did this run need a person, as the policy says? Else its having passed says nothing about what people think.
fn is_answer_to(run: &Run, policy: &Policy) -> bool {
    run.policy == policy.name && run.approval_id.is_some()
}

fn verified(branch: &str, latest: Option<&Changeset>) -> MergeCheck {
    let (passed, reason) = match latest {
        None => (true, "it is verified as it is landed".into()),
        Some(latest) => match latest.state {
            ChangesetState::Passed => (true, format!("its latest commit passed, as changeset {}", latest.changeset_id)),
            ChangesetState::Queued | ChangesetState::Running => {
                (true, format!("its latest commit is being verified, as changeset {}", latest.changeset_id))
            }
            ChangesetState::Failed => (false, format!("{}; {}", why(latest), way_on(branch))),
        },
    };
    MergeCheck { name: CheckName::Verification, passed, reason }
}

fn way_on(branch: &str) -> String {
    format!("mend it on {branch} and enqueue it again, or have it verified again with coordinator verify {branch}")
}

fn why(failed: &Changeset) -> String {
    let ended = failed.runs.iter().find(|run| run.state.is_bad());
    let Some(run) = ended.or_else(|| failed.runs.iter().find(|run| run.state.ends_all())) else {
        return failed.note.clone().unwrap_or_default();
    };
    let said = run.evidence.as_deref().and_then(|text| text.lines().next()).unwrap_or_default();
    match (run.executor, run.state, &run.runner) {
        (Executor::Human, RunState::Failed, Some(person)) => format!("{person} said no to {}: {said}", run.policy),
        (_, state, _) => format!("{} {} for its latest commit: {said}", run.policy, state.as_str()),
    }
}

/// All people whom the policies ask must have said yes to this commit.
fn approved(people: &[&Policy], known: &[Changeset]) -> MergeCheck {
    let open = people.iter().find_map(|policy| {
        let answers = || known.iter().flat_map(|c| &c.runs).filter(|run| is_answer_to(run, policy));
        if answers().any(|run| run.state == RunState::Passed) {
            return None;
        }
        let waiting = answers().find(|run| run.state == RunState::WaitingApproval);
        Some(match waiting.and_then(|run| run.approval_id) {
            Some(approval_id) => format!(
                "{} waits for a person to decide: coordinator approvals approve {approval_id}, or deny",
                policy.name
            ),
            None => format!(
                "{} asks a person once what comes before has passed: a runner takes that, coordinator verify --watch or \
                 coordinator merge run",
                policy.name
            ),
        })
    });
    let passed = open.is_none();
    let reason = open.unwrap_or_else(|| match people {
        [one] => format!("{} was approved", one.name),
        several => format!("all {} policies that ask people were approved", several.len()),
    });
    MergeCheck { name: CheckName::Approvals, passed, reason }
}
