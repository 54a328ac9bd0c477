//! Profiles: what one may do, and for admins, who may do what.

use std::sync::Arc;

use model::rulebook::RuleKind;
use policy::profiles::Source;
use policy::{Assignee, Profile, ResourceKind, Trust};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::authorise::principal;
use crate::failure::{Details, Failure};
use crate::operation::{Access, BodyIdentity, Context, Operation, Route};
use crate::registry;
use crate::rulebook::{PutAnswer, put};

/// The type of a person at the command line, who must be able to undo every rule.
const HUMAN: &str = "human";

/// A profile, as shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProfileView {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_type: Option<String>,
    description: String,
    trust_level: u8,
    /// What its agents may call.
    allowed_operations: Vec<&'static str>,
    blocked_operations: Vec<String>,
    /// Distinct files locked in a session.
    max_file_modifications: Option<u32>,
    /// Calls that change something.
    max_calls_per_hour: Option<u32>,
    max_minutes_per_task: Option<u32>,
}

impl ProfileView {
    fn of(profile: &Profile, trust: Trust) -> Self {
        let may = |action: &policy::Action| profile.lists(action) && trust >= action.level;
        let entries = registry::operations().iter();
        Self {
            name: profile.name.clone(),
            agent_type: None,
            description: profile.description.clone(),
            trust_level: trust.level(),
            allowed_operations: entries.filter(|entry| may(&entry.action)).map(|entry| entry.name).collect(),
            blocked_operations: profile.blocked.iter().map(|p| p.as_str().to_owned()).collect(),
            max_file_modifications: profile.limits.max_file_modifications,
            max_calls_per_hour: profile.limits.max_calls_per_hour,
            max_minutes_per_task: profile.limits.max_minutes_per_task,
        }
    }
}

/// Shows what the caller may do.
pub struct GetMyProfile;

/// Nothing to say.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct MyProfileRequest {}

/// What the caller may do, and why.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MyProfileAnswer {
    success: bool,
    profile: ProfileView,
    /// assignment or default
    source: &'static str,
    reason: &'static str,
}

impl Operation for GetMyProfile {
    type Request = MyProfileRequest;
    type Answer = MyProfileAnswer;
    const NAME: &'static str = "get_my_profile";
    const SUMMARY: &'static str = "See what you may do: trust, operations, limits.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/profiles/me")];

    async fn run(context: &Context<'_>, _: MyProfileRequest) -> Result<MyProfileAnswer, Failure> {
        let rules = context.coordinator.rules(context.project).await?;
        let chosen = rules.profiles.of(context.caller.agent_id.as_str(), &context.caller.agent_type);
        let mut profile = ProfileView::of(&chosen.profile, principal(context).trust());
        profile.agent_type = Some(context.caller.agent_type.clone());
        let source = match chosen.source {
            Source::Assignment => "assignment",
            Source::Default => "default",
        };
        Ok(MyProfileAnswer { success: true, profile, source, reason: chosen.reason.as_str() })
    }
}

/// Shows all profiles.
pub struct ListProfiles;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ListProfilesRequest {
    /// Only this one
    name: Option<String>,
}

/// Profiles, and who has which.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListProfilesAnswer {
    profiles: Vec<ListedProfile>,
    assignments: Vec<AssignmentView>,
}

/// A profile with the text that it is written as.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListedProfile {
    #[serde(flatten)]
    profile: ProfileView,
    /// To be changed and put.
    body: String,
    /// Of the rule that says so; 0 for one that is there from the start.
    version: i64,
}

/// Who has a profile.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AssignmentView {
    /// agent:NAME or type:NAME
    to: String,
    profile: String,
}

impl Operation for ListProfiles {
    type Request = ListProfilesRequest;
    type Answer = ListProfilesAnswer;
    const NAME: &'static str = "list_profiles";
    const SUMMARY: &'static str = "List profiles and to whom they are assigned.";
    const ACCESS: Access = Access::Read;
    const RESOURCE: ResourceKind = ResourceKind::Rule;
    const ROUTES: &'static [Route] = &[Route::get("/profiles")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;
    const IS_LISTED: bool = false;

    async fn run(context: &Context<'_>, request: ListProfilesRequest) -> Result<ListProfilesAnswer, Failure> {
        let rules = context.coordinator.rules(context.project).await?;
        let wanted = |profile: &&&Arc<Profile>| request.name.as_ref().is_none_or(|name| *name == profile.name);
        let listed = |profile: &Arc<Profile>| {
            let rule = rules.of(RuleKind::Profile).find(|rule| rule.name == profile.name);
            ListedProfile {
                profile: ProfileView::of(profile, profile.trust),
                body: rule.and_then(|rule| rule.body.clone()).unwrap_or_else(|| profile.to_text()),
                version: rule.map_or(0, |rule| rule.version),
            }
        };
        let profiles: Vec<_> = rules.profiles.all().iter().filter(wanted).map(|profile| listed(profile)).collect();
        let assignments = rules.profiles.assignments().into_iter();
        let assignments = assignments.filter(|(_, profile)| request.name.as_ref().is_none_or(|name| name == profile));
        Ok(ListProfilesAnswer {
            profiles,
            assignments: assignments
                .map(|(to, profile)| AssignmentView { to: to.to_string(), profile: profile.into() })
                .collect(),
        })
    }
}

/// Makes, changes or removes a profile.
pub struct PutProfile;

/// The profile.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct PutProfileRequest {
    name: String,
    /// TOML, as list_profiles shows it; absent to remove it
    body: Option<String>,
    /// The version you have seen, 0 for none
    expected_version: Option<i64>,
}

impl Operation for PutProfile {
    type Request = PutProfileRequest;
    type Answer = PutAnswer;
    const NAME: &'static str = "put_profile";
    const SUMMARY: &'static str = "Make, change or remove a profile.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Admin;
    const RESOURCE: ResourceKind = ResourceKind::Rule;
    const ROUTES: &'static [Route] = &[Route::post("/profiles")];
    const IS_LISTED: bool = false;

    async fn run(context: &Context<'_>, request: PutProfileRequest) -> Result<PutAnswer, Failure> {
        if let Some(body) = &request.body {
            crate::rulebook::check(context, RuleKind::Profile, &request.name, body)?;
            let profile = Profile::parse(&request.name, body).map_err(|bad| Failure::field("body", bad.to_string()))?;
            known_operations(&profile)?;
            let rules = context.coordinator.rules(context.project).await?;
            // With the profile in place, could a person still put it right?
            let of_people = rules.profiles.of("", HUMAN).profile.name.clone();
            if profile.name == of_people {
                lets_people_mend(&profile)?;
            }
        }
        put(context, RuleKind::Profile, request.name, request.body, request.expected_version).await
    }
}

fn known_operations(profile: &Profile) -> Result<(), Failure> {
    match profile.named_operations().find(|name| registry::find(name).is_none()) {
        Some(unknown) => Err(Failure::field(
            "body",
            format!(
                "there is no operation {unknown}: help lists them, and reads stands for \
                                                        all that change nothing"
            ),
        )),
        None => Ok(()),
    }
}

/// Nobody locks everybody out.
fn lets_people_mend(profile: &Profile) -> Result<(), Failure> {
    let may = |name: &str| {
        let entry = registry::find(name).map(|entry| entry.action);
        entry.is_some_and(|action| profile.lists(&action) && profile.trust >= action.level)
    };
    if ["put_profile", "assign_profile", "put_policy", "roll_back_rule"].into_iter().all(may) {
        return Ok(());
    }
    let message = "people at the command line (type human) have this profile, and could not undo it: leave it trust_level \
                   4 and the operations that change rules";
    Err(Failure::Conflict(Details::new("would_lock_people_out", message)))
}

/// Gives somebody a profile.
pub struct AssignProfile;

/// Who gets which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct AssignProfileRequest {
    /// agent:NAME or type:NAME
    to: String,
    /// The profile's name; absent to take it away
    profile: Option<String>,
}

impl Operation for AssignProfile {
    type Request = AssignProfileRequest;
    type Answer = PutAnswer;
    const NAME: &'static str = "assign_profile";
    const SUMMARY: &'static str = "Give an agent, or all of a type, a profile.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Admin;
    const ROUTES: &'static [Route] = &[Route::post("/profiles/assign")];
    const IS_LISTED: bool = false;

    async fn run(context: &Context<'_>, request: AssignProfileRequest) -> Result<PutAnswer, Failure> {
        let Some(to) = Assignee::parse(&request.to) else {
            return Err(Failure::field("to", "must be agent:NAME or type:NAME"));
        };
        if let Some(name) = &request.profile {
            let rules = context.coordinator.rules(context.project).await?;
            let Some(profile) = rules.profiles.find(name) else {
                return Err(Failure::field("profile", format!("there is no profile {name}: list_profiles shows them")));
            };
            if to == Assignee::Type(HUMAN.into()) {
                lets_people_mend(profile)?;
            }
        }
        put(context, RuleKind::Assignment, request.to, request.profile, None).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_profiles_name_operations_that_there_are() {
        for profile in policy::profile::preconfigured() {
            assert!(known_operations(&profile).is_ok(), "{}", profile.name);
        }
    }

    #[test]
    fn a_reviewer_reads_and_an_implementer_works() {
        let view = |name: &str| {
            let profile = policy::profile::preconfigured().into_iter().find(|p| p.name == name).unwrap();
            ProfileView::of(&profile, profile.trust)
        };
        let reviewer = view("claude_code_web_reviewer").allowed_operations;
        assert!(reviewer.contains(&"check_locks") && reviewer.contains(&"heartbeat"), "{reviewer:?}");
        assert!(!reviewer.contains(&"acquire_lock") && !reviewer.contains(&"remember"), "{reviewer:?}");
        let implementer = view("claude_code_web_implementer");
        assert!(implementer.allowed_operations.contains(&"complete_work"));
        assert!(!implementer.allowed_operations.contains(&"cleanup_dead_agents"));
        assert_eq!(implementer.max_file_modifications, Some(50));
        assert!(view("strands_orchestrator").allowed_operations.contains(&"cleanup_dead_agents"));
        assert!(!view("strands_orchestrator").allowed_operations.contains(&"put_policy"));
        let human = view("human").allowed_operations;
        assert_eq!(human.len(), registry::operations().len());
    }
}
